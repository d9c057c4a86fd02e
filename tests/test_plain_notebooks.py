"""Plain Markdown in notebooks: what the page makes of it, and which mistakes stop the build."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import notebook_outputs
import plain_notebooks
from common import BOOK, chapters
from test_ext import METADATA, figure, parsed, sphinx

ALL = [*chapters(), *sorted(BOOK.glob("assignments/**/*.ipynb"))]
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
# What MyST alone understands; roles stand before a code span, so they are looked for with those in place.
ROLE = re.compile(r"\{[a-z][\w:+.-]*\}`")
MARKS = re.compile(
    r"""^\([\w-]+\)=[ ]*$ | ^[`:~]{3,}\s*\{ | ^:[\w-]+:(?=\s) | ^\+\+\+ | ^%[ ] | \$\$[ ]*\([\w-]+\)
    | \{%|\{\{ | \[\]\( | <(?:project|myst|inv|path): """,
    re.MULTILINE | re.VERBOSE,
)


def markdown_of(path: Path) -> list[str]:
    cells = nbformat.read(path, 4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", ALL, ids=lambda path: "-".join(path.relative_to(BOOK).parts))
def test_nothing_that_only_myst_understands(path):
    for text in markdown_of(path):
        assert not ROLE.search(text), ROLE.search(text)
        assert not MARKS.search(CODE.sub("code", text)), MARKS.search(CODE.sub("code", text))
        assert not re.search(r"^(```|~~~)\{", text, re.MULTILINE), "a directive"


@pytest.mark.parametrize(
    ("plain", "read"),
    [
        ('<a id="sec-x"></a>\n\n## T', "(sec-x)=\n\n## T"),
        ("[T](b.ipynb#sec-x)", "[T](#sec-x)"),
        ("[`f()`](api.md#l2lab.a.f)", "[`f()`](#l2lab.a.f)"),
        ("[`a`](api.md#module-l2lab.a)", "[`a`](#l2lab.a)"),
        ("[T](b.ipynb) [p](#name:lam=1)", "[T](b.ipynb) [p](#name:lam=1)"),
        ("[T](https://other.org/b.html#sec-x)", "[T](https://other.org/b.html#sec-x)"),
        ("`[T](b.ipynb#sec-x)`", "`[T](b.ipynb#sec-x)`"),
        ("```\n[T](b.ipynb#sec-x)\n```", "```\n[T](b.ipynb#sec-x)\n```"),
        ("[Ng (2004)](references.md#ng2004)", "{cite:t}`ng2004`"),
        ("([A, 2001](references.md#a); [B, 2002](references.md#b))", "{cite:p}`a,b`"),
        ("> **Not a box.** Words.", "> **Not a box.** Words."),
    ],
)
def test_marks_of_one_line(plain, read):
    assert plain_notebooks.Reader("book/a").markdown(plain) == read


def test_formulas_and_code_in_a_summary():
    html = plain_notebooks.Reader("a").markdown("<summary>A. $a<b$, by `f(x)`, for 5 $ or 6</summary> $x$")
    summary = BeautifulSoup(html, "html.parser").summary
    assert summary.find("span", class_="math").text == r"\(a<b\)"
    assert summary.code.text == "f(x)"
    assert summary.text.endswith("for 5 $ or 6")
    assert html.endswith(" $x$")


FIRST = """<a id="ch-a"></a>

# First

> **Objectives.** You can
>
> - see $x$.

<a id="eq-one"></a>

$$
x = 1 \\tag{1.1}
$$

See [the figure](#sec-a), [(1.1)](#eq-one), [Figure 1.1](#fig-a), [Exercise 1.1](#ex-a).

<a id="sec-a"></a>

## Section

<a id="ex-a"></a>

**Exercise 1.1 (easy) — Add.**

What is *one* and one?"""
SOLUTION = "# @title Solution to Exercise 1.1: code\n1 + 1"
ANSWER = "<details>\n<summary>Solution to Exercise 1.1: answer</summary>\n\nIt is **two**.\n\n</details>"
SECOND = """# Second

[Section](first.ipynb#sec-a), [(1.1)](first.ipynb#eq-one), [Figure 1.1](first.ipynb#fig-a),
[Exercise 1.1](first.ipynb#ex-a), [First](first.ipynb), [Ng (2004)](references.md#ng2004) or
([Ng, 2004](references.md#ng2004))."""


@pytest.fixture
def build(tmp_path):
    """Build a small book; give its pages and what was said."""

    def build(first: str = FIRST, second: str = SECOND) -> tuple[BeautifulSoup, BeautifulSoup, str]:
        shown = new_code_cell("show", outputs=figure(1, alt="A line", caption="A line.", name="fig-a"))
        folded = new_code_cell(SOLUTION, metadata={"tags": ["hide-cell"]})
        cells = [new_markdown_cell(first), folded, new_markdown_cell(ANSWER), shown]
        for name, content in (("first", cells), ("second", [new_markdown_cell(second)])):
            nbformat.write(new_notebook(cells=content, metadata=METADATA), tmp_path / f"{name}.ipynb")
        (tmp_path / "index.md").write_text(
            "# T\n\n```{toctree}\n:numbered:\nfirst\nsecond\nreferences\n```\n"
        )
        (tmp_path / "references.md").write_text("# R\n\n```{bibliography}\n```\n")
        (tmp_path / "r.bib").write_text("@misc{ng2004, author={Ng, A}, title={T}, year={2004}}\n")
        settings = {
            "extensions": ["myst_nb", "sphinxcontrib.bibtex", "plain_notebooks", "notebook_outputs"],
            "bibtex_bibfiles": ["r.bib"],
            "bibtex_reference_style": "author_year",
            "bibtex_cite_id": "{key}",
        }
        said = sphinx(tmp_path, tmp_path / "out", **settings)
        return *(parsed(tmp_path / f"out/html/{name}.html") for name in ("first", "second")), said

    return build


def test_the_page_makes_more_of_it(build):
    first, second, said = build()
    assert said == ""
    assert first.find("div", class_="tip").find("p", class_="admonition-title").text == "Objectives"
    assert first.find(id="eq-one").find_next(class_="math")["id"] == "equation-eq-one"
    exercise = first.find(id="ex-a")
    assert exercise.p.text == "Exercise 1.1 (easy) — Add"
    assert exercise.em.text == "one"
    solution = first.find("details", class_="solution")
    assert solution.summary.text == "Solution to Exercise 1.1"
    assert solution.pre.text.strip() == "1 + 1"
    assert solution.strong.text == "two"
    assert len(first.find_all("details")) == 1
    links = [(a.text, a["href"]) for a in second.select(".body p a[href]")]
    assert links[:5] == [
        ("Section", "first.html#sec-a"),
        ("(1.1)", "first.html#equation-eq-one"),
        ("Figure 1.1", "first.html#fig-a"),
        ("Exercise 1.1", "first.html#ex-a"),
        ("First", "first.html"),
    ]
    assert {href for _, href in links[5:]} == {"references.html#ng2004"}


MISTAKES = {  # a link that is wrong, and what is said of it
    "[a](first.ipynb#sec-b)": "target not found: 'sec-b'",
    "[a](third.ipynb#sec-a)": "sec-a stands in first, not in third",
    "[a](third.ipynb)": "target not found: 'third.ipynb'",
    "[a](#sec-a)": "sec-a stands in first, not in second",
    "[a](first.ipynb#eq-two)": "target not found: 'eq-two'",
    "[a](first.ipynb#fig-b)": "target not found: 'fig-b'",
    "[f](api.md#l2lab.f)": "target not found: 'l2lab.f'",
    "[Ng (2004)](references.md#ng2005)": "ng2005",
    "[his paper](references.md#ng2004)": "local id not found",
    "[(1.2)](first.ipynb#eq-one)": "a link to eq-one, number 1.1, says '(1.2)'",
    "[Figure 2](first.ipynb#fig-a)": "a link to fig-a, number 1.1, says 'Figure 2'",
    "[Exercise 1.2](first.ipynb#ex-a)": "a link to ex-a, number 1.1, says 'Exercise 1.2'",
}


def test_a_mistake_in_a_link_or_a_number_is_a_warning(build):
    first = FIRST.replace(r"\tag{1.1}", r"\tag{1.3}")
    said = build(first=first, second="\n\n".join([SECOND, *MISTAKES]))[2]
    assert "eq-one says (1.3), the page (1.1)" in said
    assert [expected for expected in MISTAKES.values() if expected not in said] == []


def saved_again(notebook: dict) -> None:
    """What Colab, VS Code and JupyterLab change when they save a notebook."""
    notebook["nbformat_minor"] = 0
    notebook["metadata"] |= {"colab": {"provenance": [], "toc_visible": True}, "accelerator": "GPU"}
    notebook["metadata"]["widgets"] = {notebook_outputs.STATE: {"0123": {"model_name": "SliderModel"}}}
    notebook["metadata"]["kernelspec"] = {"name": "x", "display_name": ".venv"}
    for cell in notebook["cells"]:
        cell["metadata"] |= {"id": cell.pop("id"), "vscode": {"languageId": "python"}, "trusted": True}
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
        cell["metadata"]["tags"] = cell["metadata"].get("tags", [])[::-1]
        if cell["cell_type"] == "code":
            cell["metadata"] |= {"outputId": "6c2d", "colab": {"base_uri": "https://localhost:8080/"}}
            cell["metadata"]["execution"] = {"iopub.execute_input": "2026-11-28T20:00:00.000000Z"}


def read_again(path: Path, notebook: dict) -> dict:
    """What the page gets of a notebook."""
    env = SimpleNamespace(doc2path=lambda name: str(path), metadata={"book/x": {}}, temp_data={})
    app, source = SimpleNamespace(env=env), [json.dumps(notebook)]
    plain_notebooks.read_page(app, "book/x", source)
    notebook_outputs.prepare(app, "book/x", source)
    return json.loads(source[0])


@pytest.mark.parametrize("path", [chapters()[0], *ALL[-1:]], ids=lambda path: path.stem)
def test_a_notebook_that_other_programs_have_saved_gives_the_same_page(path):
    notebook = json.loads(path.read_text("utf-8"))
    expected = read_again(path, notebook)
    changed = copy.deepcopy(notebook)
    saved_again(changed)
    nbformat.validate(nbformat.from_dict(changed))
    found = read_again(path, changed)
    nbformat.validate(nbformat.from_dict(found))
    assert found["metadata"].get("widgets") == expected["metadata"].get("widgets")
    for one, other in zip(found["cells"], expected["cells"], strict=True):
        for key in ("cell_type", "source", "outputs"):
            assert one.get(key) == other.get(key)
        assert set(one["metadata"].get("tags", ())) == set(other["metadata"].get("tags", ()))
