"""The chapters as they are committed: executed once, in order, without error, and complete.

That their cells still give these outputs is tested by nbval, which ``make test`` runs over the same files.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

import execute
from common import VIEW, chapters, sidecar_of
from conftest import ROOT

NOTEBOOKS = chapters()
CHAPTERS = [path for path in NOTEBOOKS if re.match(r"\d\d_", path.name)]
MAX_LINES = 40

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, 4)


def code_cells(path: Path) -> list[tuple[int, nbformat.NotebookNode]]:
    """Code cells with their number in the notebook, from 1."""
    return [(k, cell) for k, cell in enumerate(read(path).cells, start=1) if cell.cell_type == "code"]


def rich_outputs(path: Path):
    """All display outputs: cell number and output."""
    for number, cell in code_cells(path):
        for output in cell.outputs:
            if "data" in output:
                yield number, output


def markdown(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


@each_notebook
def test_it_was_executed_in_order_and_is_in_the_form_that_execute_writes(path):
    raw = json.loads(path.read_text("utf-8"))
    nbformat.validate(nbformat.from_dict(raw))
    assert (raw["nbformat"], raw["nbformat_minor"]) == (4, 5)
    assert raw["metadata"]["kernelspec"] == execute.KERNEL
    assert raw["metadata"]["language_info"] == {"name": "python"}
    counts = [cell.execution_count for _, cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "run: make execute"
    for number, cell in code_cells(path):
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            assert output.output_type != "error" or may_raise, f"cell {number}: {output.get('ename')}"
            assert output.get("name") != "stderr", f"cell {number} wrote to stderr: {output.text[:200]}"


@each_notebook
def test_nothing_of_this_run_or_machine_is_stored(path):
    notebook = read(path)
    assert "widgets" not in notebook.metadata, "with them inside, GitHub shows nothing: run make execute"
    assert not [k for k, cell in enumerate(notebook.cells, 1) if "execution" in cell.metadata]
    outputs = json.dumps([cell.outputs for _, cell in code_cells(path)])
    assert not re.search(r"object at 0x[0-9a-f]+", outputs), "an address in an output differs in each run"


@each_notebook
def test_every_picture_shows_something_and_says_what(path):
    seen, names = set(), []
    for number, output in rich_outputs(path):
        mark = output.metadata.get("l2lab", {})
        if "image/png" not in output.data:
            continue
        image = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("L")
        low, high = image.getextrema()
        assert high - low > 100, f"cell {number}: nothing is drawn"
        assert image.width >= 300, f"cell {number}: {image.size}"
        alt = mark.get("alt") or output.metadata.get("image/png", {}).get("alt") or ""
        assert min(len(alt), 4 * len(alt.split())) >= 20, f"cell {number}: {alt!r}"
        assert alt not in seen, f"cell {number}: the same text for two pictures: {alt!r}"
        seen.add(alt)
        if mark.get("role") != "explorer":
            assert len(mark.get("caption", "")) >= 20, f"cell {number}: show it with l2lab.plots.show"
            names += [mark["name"]] if mark.get("name") else []
    assert seen, "a notebook without a picture"
    assert len(set(names)) == len(names), names


@each_notebook
def test_every_widget_has_its_state_and_a_picture(path):
    shown = []
    for number, output in rich_outputs(path):
        if VIEW in output.data:
            assert "image/png" in output.data, f"cell {number}: a widget without a fallback picture"
            shown.append(output.data[VIEW]["model_id"])
    sidecar = sidecar_of(path)
    assert sidecar.exists() == bool(shown), "run make execute"
    state = json.loads(sidecar.read_text("utf-8"))["state"] if shown else {}
    assert set(execute.reachable(state, shown)) == set(state), "the sidecar is not that of this notebook"
    for record in state.values():  # the page adds the JavaScript; what is stored with it would grow old
        assert not {"_esm", "_css"} & set(record["state"])


@each_notebook
def test_the_first_code_cell_is_that_of_all_notebooks_and_not_shown(path):
    _, first = code_cells(path)[0]
    assert first.source == code_cells(NOTEBOOKS[0])[0][1].source
    assert first.metadata["tags"] == ["remove-cell"]
    assert not first.outputs


# Runs the cell four times: at home, on Colab without l2lab and without an address, then with one, then with
# l2lab. Prints what it said, raised and did.
FIRST_CELL_SCRIPT = """\
import contextlib, importlib.util, io, json, re, sys, types
from IPython.core.interactiveshell import InteractiveShell
shell, did = InteractiveShell.instance(), []
shell.register_magic_function(lambda line: did.append(line), magic_name="pip")
colab = types.ModuleType("google.colab")
colab.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: did.append("widgets"))
find = importlib.util.find_spec
without_l2lab = lambda name, *rest: None if name == "l2lab" else find(name, *rest)
cases = (False, without_l2lab, ""), (True, without_l2lab, ""), (True, without_l2lab, "a/b"), (True, find, "")
for on_colab, finder, address in cases:
    if on_colab:
        sys.modules["google.colab"] = colab
    importlib.util.find_spec = finder
    did.clear()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        done = shell.run_cell(re.sub('BOOK = ".*?"', f'BOOK = "https://github.com/{address}"' if address
                                     else 'BOOK = ""', sys.argv[1]))
    raised = str(done.error_in_exec or "")
    print(json.dumps(["" if raised else said.getvalue(), raised, did]))
"""


def test_the_first_code_cell_prepares_colab_and_does_nothing_elsewhere(tmp_path):
    _, first = code_cells(NOTEBOOKS[0])[0]
    script = [sys.executable, "-c", FIRST_CELL_SCRIPT, first.source]
    env = os.environ | {"L2LAB_DEVICE": "cpu", "PYTHONPATH": str(ROOT / "book")}
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    elsewhere, unpublished, colab, again = map(json.loads, done.stdout.splitlines())
    assert elsewhere == ["", "", []]
    assert unpublished == ["", "l2lab is missing: this copy is not published yet.", []], "it installs nothing"
    line, raised, (install, widgets) = colab
    assert not raised
    assert install.startswith("install -q")
    assert install.endswith('"l2lab @ git+https://github.com/a/b"')
    assert "--no-deps" in install, "without it, pip may replace what Colab ships"
    assert not re.search(r"--upgrade|-U\b|==|--force", install)
    assert widgets == "widgets", "without its widget manager, Colab shows no explorer"
    assert re.fullmatch(r"Python \d[^\n]* torch \d[^\n]* device cpu[^\n]*\n", line)
    assert again == [line, "", ["widgets"]], "a second time nothing is installed"


@each_notebook
def test_cells_are_short_and_use_the_package_and_not_its_inside(path):
    inside = re.compile(r"(?m)^\s*(from|import)\s+l2lab[\w.]*\._|from l2lab[\w.]* import _")
    for number, cell in code_cells(path):
        assert not inside.search(cell.source), f"cell {number}"
        assert 0 < len(cell.source.splitlines()) <= MAX_LINES, f"cell {number}: plumbing belongs into l2lab"


@each_chapter
def test_the_frame_is_complete_and_in_order(path):
    places = []
    for part in ("objectives", "prerequisites", "takeaways", "exercises", "quiz", "references"):
        label = re.compile(rf"(?im)^(#+ .*\b{part}\b|> \*\*[^*\n]*\b{part}\b[^*\n]*\.\*\*)")
        found = label.search(markdown(path))
        assert found, f"no part called {part}"
        places.append(found.start())
    assert places == sorted(places)


@each_chapter
def test_at_least_four_numbered_exercises_each_with_a_folded_solution(path):
    cells = read(path).cells
    head = r'(?m)^<a id="ex-[\w-]+"></a>\n\n\*\*Exercise (\d+\.\d+) \([\w, ]+\) — [^*\n]+[.?!]\*\*$'
    found = re.findall(head, markdown(path))
    assert len(found) >= 4
    earlier = [p for p in CHAPTERS if p.name[:2] == path.name[:2] and p < path]  # pages of the same chapter
    first = 1 + sum(markdown(p).count("**Exercise") for p in earlier)
    assert found == [f"{int(path.name[:2])}.{k}" for k in range(first, first + len(found))]
    assert markdown(path).count("**Exercise") == len(found)
    solved, title = [], re.compile(r"# @title Solution to Exercise ([\d.]+): code\n")
    answer = r"(?s)<details>\n<summary>Solution to Exercise ([\d.]+)(: answer)?</summary>\n\n.*\n\n</details>"
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            started = title.match(cell.source)
            folded = cell.metadata.get("cellView"), cell.metadata.get("jupyter")
            expected = ("form", {"outputs_hidden": True, "source_hidden": True}) if started else (None, None)
            assert folded == expected, cell.source[:60]
            assert ("hide-cell" in cell.metadata.get("tags", [])) == bool(started), cell.source[:60]
        elif "<summary>Solution" in cell.source:
            (number, after_code) = re.fullmatch(answer, cell.source).groups()
            assert bool(title.match(before.source)) == bool(after_code), number
            solved.append(number)
    assert solved == found


ANSWER = r'(?s)<details class="quiz-(right|wrong)">\s*<summary>(.+?)</summary>(.*?)</details>'


@each_chapter
def test_at_least_five_questions_with_one_right_and_explained_answers(path):
    quiz = re.split(r"(?m)^## Quiz", markdown(path))[1]
    quiz = re.split(r"(?m)^## ", quiz)[0]
    questions = re.split(r"(?m)^\*\*\d+\. ", quiz)[1:]
    assert len(questions) >= 5
    for number, question in enumerate(questions, start=1):
        answers = re.findall(ANSWER, question)
        kinds = [kind for kind, _, _ in answers]
        assert kinds.count("right") == 1, f"question {number}"
        assert kinds.count("wrong") >= 1, f"question {number}"
        letters = [summary.strip()[:2] for _, summary, _ in answers]
        assert letters == [f"{letter}." for letter in "ABCDEFG"[: len(letters)]], f"question {number}"
        for _, summary, explanation in answers:
            assert len(explanation.split()) >= 6, f"question {number}, {summary}: not explained"
            assert explanation.startswith("\n\n"), f"question {number}: Markdown needs an empty line"
        assert question.count("<details") == question.count("</details>") == len(answers)

    assert len(set(re.findall(r'quiz-right">\s*<summary>\s*(\w)', quiz))) > 1, "always the same letter"


NUMBER = re.compile(r"(?<![\w.])(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
# Code, formulas, link targets, years, and the numbers of equations, sections and items of a list.
NO_RESULT = re.compile(
    r"(?s)```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|<[^>]+>|\]\([^)]*\)|\(\d+\.\d+\)|\b(?:19|20)\d\d\b|§[\d.]+"
    r"|\b(?:[Ee]xercise|[Ff]igure|[Ss]ection|[Cc]hapters?) [\d.]+|\d+ minutes|(?m:^\s*\d+\. )|\*\*\d+\. "
)
# What no cell prints: facts about data and papers, arithmetic of an answer, settings of a trainer, seeds.
ELSEWHERE = {
    "01_principles": "442 6.6",
    "02_formula": "1.69",
    "02_optimizers": "0.0026 450,000",
    "04_selection": "617 1024 1080",
    "06_images": "10,368 144 18,432 20,736 202 321 35,000 41,472",
    "07_choosing": "2,800 512 850",
    "intro": "2.7 2.8",
    "playground": "0.05 1000",
}


@each_notebook
def test_a_number_in_the_prose_stands_in_an_output_or_in_the_code(path):
    """But small whole numbers; to the digits given, or as a share, in percent, or as what is missing to 1."""
    said = "\n".join(cell.source for _, cell in code_cells(path))
    for output in (output for _, cell in code_cells(path) for output in cell.outputs):
        said += "\n" + (output.get("text") or str(output.get("data", {}).get("text/plain")))
    known = {float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\.\d+", said)}
    known |= {form for n in known for form in (100 * n, n / 100, 1 - n, 100 - 100 * n)}
    unknown = set()
    for number in NUMBER.findall(NO_RESULT.sub(" ", markdown(path))):
        value, places = float(number.replace(",", "")), len(number.partition(".")[2])
        close = any(abs(value - other) <= 0.5 * 10**-places + 1e-9 for other in known)
        if not close and (places or value > 20):
            unknown.add(number.rstrip(","))
    assert unknown == set(ELSEWHERE.get(path.stem, "").split())
