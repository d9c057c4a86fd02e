"""The Sphinx extensions, each on a tiny project: what reaches the HTML is what is looked at."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

import light_pages
from common import STATE, VIEW
from conftest import ROOT

MODEL = "0123456789abcdef0123456789abcdef"


def png(shade: int) -> str:
    """A tiny picture; different shades give different files."""
    buffer = io.BytesIO()
    Image.new("L", (4, 4), shade).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def figure(shade: int, **mark):
    """The two outputs that l2lab.plots.show makes."""
    data, metadata = {"image/png": png(shade), "text/plain": "<Figure>"}, {"alt": mark.get("alt", "")}
    outputs = [new_output("display_data", data, metadata={"image/png": metadata, "l2lab": mark})]
    if mark.get("caption"):
        data = {"text/markdown": f"*{mark['caption']}*", "text/plain": "<Markdown>"}
        outputs.append(new_output("display_data", data, metadata={"l2lab": {"role": "caption"}}))
    return outputs


def widget():
    """The output of an explorer."""
    view = {"model_id": MODEL, "version_major": 2, "version_minor": 0}
    data = {VIEW: view, "text/plain": "LambdaExplorer()", "image/png": png(9)}
    mark = {"alt": "Three drawings of a slider", "role": "explorer", "name": "w"}
    return new_output("display_data", data, metadata={"l2lab": mark})


def state() -> dict:
    """A widget state as the sidecar has it; the text would end the script if it were not escaped."""
    name = {"model_name": "AnyModel", "model_module": "anywidget", "model_module_version": "~0.11.*"}
    content = {"_esm": "export default {}; // </script><b>", "index": 3}
    return {"version_major": 2, "version_minor": 0, "state": {MODEL: name | {"state": content}}}


SETTINGS = {
    "extensions": ["myst_nb", "notebook_outputs"],
    "nb_execution_mode": "off",
    "numfig": True,
    "nitpicky": True,
    "myst_enable_extensions": ["dollarmath"],
    "mathjax_path": "mathjax.js",
    "nb_ipywidgets_js": {"loader.js": {}},
    "html_theme": "basic",
}


KERNEL = {"name": "python3", "display_name": "Python 3"}
METADATA = {"kernelspec": KERNEL, "language_info": {"name": "python"}}


def sphinx(source: Path, built: Path, **settings) -> str:
    """Build HTML; give what was said."""
    said = io.StringIO()
    with patch_docutils(), docutils_namespace():
        options = {**SETTINGS, **settings}
        Sphinx(source, None, built / "html", built / "d", "html", options, status=None, warning=said).build()
    return said.getvalue()


def parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


class Project:
    """A Sphinx project with one notebook."""

    def __init__(self, folder: Path) -> None:
        self.source, self.built = folder / "source", folder / "built"
        self.source.mkdir()

    def build(self, cells, *, sidecar: dict | None = None, **settings):
        """Build the HTML of a notebook (None: the one that is there); gives the page."""
        if cells is not None:
            nbformat.write(new_notebook(cells=cells, metadata=METADATA), self.source / "index.ipynb")
        if sidecar is not None:
            place = self.source / "results" / "widgets"
            place.mkdir(parents=True, exist_ok=True)
            (place / "index.json").write_text(json.dumps(sidecar))
        said = sphinx(self.source, self.built, **settings)
        assert not said
        return parsed(self.built / "html/index.html")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


TITLE = new_markdown_cell("# Title\n\nSee {numref}`fig-a`.")


class TestFigures:
    def test_caption_label_and_alt_reach_the_page_once(self, project):
        outputs = figure(1, alt="A line\nthat rises", caption="The *loss* for $\\lambda = 1$.", name="fig-a")
        plain = new_output("execute_result", {"text/plain": "2"}, execution_count=1)
        cells = [TITLE, new_code_cell("show(fig)", outputs=outputs), new_code_cell("1 + 1", outputs=[plain])]
        page = project.build(cells)
        (found,) = page.find_all("figure")
        assert found.img["alt"] == "A line that rises"
        assert found.find("em").text == "loss"
        assert found.find("span", class_="math").text == r"\(\lambda = 1\)"
        assert found.find(class_="caption-number").text.strip() == "Fig. 1"
        assert page.find("a", href="#fig-a").text == "Fig. 1"
        assert len(page.find_all("em")) == 1, "the caption for readers of the notebook is not repeated"
        assert page.find_all(class_="cell_output")[-1].text.strip() == "2"

    def test_several_figures_and_a_text_in_one_cell(self, project):
        outputs = [
            new_output("stream", name="stdout", text="before\n"),
            *figure(1, alt="First drawing", caption="First.", name="fig-a"),
            new_output("display_data", {"text/plain": "a table"}),
            *figure(2, alt="Second drawing", caption="Second.", name="fig-b"),
        ]
        cell = new_code_cell("two = figures", outputs=outputs, metadata={"tags": ["hide-output"]})
        page = project.build([TITLE, cell])
        figures = page.find_all("figure")
        assert [f.img["alt"] for f in figures] == ["First drawing", "Second drawing"]
        assert [f.find(class_="caption-text").text.strip(" \n#¶") for f in figures] == ["First.", "Second."]
        assert page.text.count("two = figures") == 1, "the code is shown once"
        assert not any("a table" in f.text for f in figures)
        assert page.text.index("before") < page.text.index("First.") < page.text.index("a table")

    def test_a_pair_shows_the_picture_of_the_theme_and_fetches_no_other(self, project, browser, serve):
        outputs = figure(1, alt="A line that rises", caption="The loss.", name="fig-a", dark=png(200))
        outputs[0].metadata["image/png"] |= {"width": 300, "height": 150}  # tiny ones are fetched at once
        style = {"html_static_path": [str(ROOT / "book/_site/static")], "html_css_files": ["book.css"]}
        page = project.build([TITLE, new_code_cell("show(fig)", outputs=outputs)], **light(), **style)
        (found,) = page.find_all("figure")
        assert len(found.find_all(class_="caption-number")) == 1
        day, night = (image["src"] for image in found.find_all("img"))
        assert {image["alt"] for image in found.find_all("img")} == {"A line that rises"}
        assert (project.built / "html" / night).read_bytes() == base64.b64decode(png(200))

        address = f"{serve(project.built / 'html')}/index.html"
        for scheme, shown, hidden in (("light", day, night), ("dark", night, day)):
            context = browser.new_context(color_scheme=scheme)
            tab, asked = context.new_page(), []
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.goto(address, wait_until="load")
            tab.locator("figure").scroll_into_view_if_needed()
            tab.wait_for_load_state("networkidle")
            assert tab.locator(f"img[src='{shown}']").is_visible()
            assert not tab.locator(f"img[src='{hidden}']").is_visible()
            assert tab.locator("figcaption").is_visible()
            assert any(url.endswith(shown) for url in asked)
            assert not any(url.endswith(hidden) for url in asked)
            tab.emulate_media(media="print")
            tab.add_style_tag(content=(ROOT / "book/_site/static/print.css").read_text("utf-8"))
            assert tab.locator(f"img[src='{day}']").is_visible(), "paper is white"
            assert not tab.locator(f"img[src='{night}']").is_visible()
            context.close()


def test_the_picture_stands_before_the_view_and_the_state_at_the_end(project):
    cells = [new_markdown_cell("# T"), new_code_cell("explorer", outputs=[widget()])]
    page = project.build(cells, sidecar=state())
    view = page.find("script", type=VIEW)
    before = view.find_previous_sibling()
    assert before.name == "div"
    assert "widget-fallback" in before["class"]
    assert before.img["alt"] == "Three drawings of a slider"
    assert (project.built / "html" / before.img["src"]).is_file()
    assert json.loads(view.string)["model_id"] == MODEL
    (script,) = page.find_all("script", type=STATE)
    assert not page.head.find("script", type=STATE)
    assert json.loads(script.string) == state()
    assert not page.find("b"), "the state's text must not end the script element"
    assert page.find("script", src=lambda s: s and "loader.js" in s)
    assert "widgets" not in json.loads((project.source / "index.ipynb").read_text())["metadata"]


THEME = {"extensions": [*SETTINGS["extensions"], "sphinx_book_theme"], "html_theme": "sphinx_book_theme"}


def sources(page: BeautifulSoup) -> list[str]:
    return [script["src"].partition("?")[0] for script in page.find_all("script", src=True)]


def light(*more: str) -> dict:
    """The settings of a project with the theme, with `light_pages` and further extensions."""
    return {**THEME, "extensions": [*THEME["extensions"], "light_pages", *more]}


def test_scripts_that_a_page_does_not_use_go_and_the_others_wait(project):
    cells = [new_markdown_cell("# T\n\n$x$"), new_code_cell("e", outputs=[widget()])]
    loader = {"nb_ipywidgets_js": {"widgets-offline.js": {}}}
    heavy = project.build(
        cells, sidecar=state(), **{**THEME, **loader, "extensions": [*THEME["extensions"], "sphinx_thebe"]}
    )
    marks = (*light_pages.UNUSED, *light_pages.SEARCH)
    unused = [src for src in sources(heavy) if any(mark in src for mark in marks)]
    assert len(unused) == 5, "theme and extensions no longer load them: make the extension shorter"
    assert "unpkg.com" in str(heavy), "thebe no longer asks another host"
    page = project.build(None, **light("sphinx_thebe"), **loader)
    assert "thebe" not in str(page).lower()
    left = [src for src in sources(page) if "first-paint" not in src]
    assert sorted(left) == sorted(src for src in sources(heavy) if src not in unused)
    assert left[-2:] == ["_static/mathjax.js", "_static/widgets-offline.js"]
    assert left[:-2] == [src for src in sources(heavy) if src in left[:-2]], "their order stays"
    assert sources(page).index("_static/first-paint.js") < sources(page).index("_static/mathjax.js")
    for script in page.find_all("script", src=True):
        assert script.has_attr("defer"), script
    inline = "".join(script.string or "" for script in page.find_all("script", src=False))
    assert "DOCUMENTATION_OPTIONS." not in inline
    assert not list((project.built / "html/_static/scripts").glob("fontawesome*"))
    assert "searchindex.js" in sources(parsed(project.built / "html/search.html"))


def test_pictures_have_their_size_and_only_the_first_is_fetched_at_once(project):
    cells = [TITLE, new_code_cell("a", outputs=figure(1, alt="A first picture", caption="One", name="fig-a"))]
    cells.append(new_code_cell("b", outputs=figure(2, alt="A second picture", caption="Two")))
    cells[-1].outputs[0].metadata["image/png"] |= {"width": 300, "height": 150}
    page = project.build(cells, **light())
    first, second = page.find("article").find_all("img")
    assert (first["width"], first["height"]) == ("4", "4"), "as the file says"
    assert not first.has_attr("loading")
    assert second["loading"] == "lazy"
    assert {first["alt"], second["alt"]} == {"A first picture", "A second picture"}


def test_one_style_sheet_with_the_rules_that_can_match(project):
    page = project.build([new_markdown_cell("# T")], **light())
    link = [e["href"] for e in page.find_all("link", rel="stylesheet")]
    assert len(link) == 1
    text = (project.built / "html" / link[0]).read_text("utf-8")
    assert ".bd-article" in text
    assert ".fa-bars" in text, "an icon of the page"
    assert ".fa-dragon" not in text
    assert "@import" not in text
    for file in light_pages.URL.findall(text):
        assert (project.built / "html" / Path(link[0]).parent / file[1].partition("?")[0]).is_file(), file
    fonts = list((project.built / "html/_static").rglob("fa-solid*"))
    assert [font.suffix for font in fonts] == [".woff"]
    assert fonts[0].stat().st_size < 20_000
    shown = TTFont(fonts[0]).getBestCmap()
    assert 0xF0C9 in shown, "the bars"
    assert 0xF6D5 not in shown, "the dragon"


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (".used { a: b }", ".used { a: b }"),
        (".used, .unused { a: b }", ".used { a: b }"),
        ("p:is(.a, :not(.b, .c)), .unused { a: b }", "p:is(.a, :not(.b, .c)) { a: b }"),
        (".unused .used { a: b }", ""),
        ("#unused { a: b }", ""),
        ("p:not(.unused) { a: b }", "p:not(.unused) { a: b }"),
        (".bs-tooltip-auto { a: b }", ".bs-tooltip-auto { a: b }"),
        ("@media print { .unused { a: b } }", ""),
        ("@media print { .used { a: b } .unused { a: b } }", "@media print {.used { a: b } }"),
        ("@keyframes x { from { a: b } }", "@keyframes x { from { a: b } }"),
        (".used { background: url(x.png) }", '.used { background: url("../x.png") }'),
        ('.used { background: url("data:x") }', '.used { background: url("data:x") }'),
    ],
)
def test_pruning_of_style_sheets(tmp_path, rule, kept):
    (tmp_path / "sheet.css").write_text(f'@charset "utf-8";\n/* said */ {rule}')
    found = light_pages.bundle([tmp_path / "sheet.css"], {"used"}, tmp_path / "styles")
    assert "".join(found.split()) == "".join(kept.split())


def test_code_is_marked_up_where_its_colours_differ(project):
    cells = [new_markdown_cell('# T\n\n```python\nx = [y for y in "ab"]  # said\n```')]
    names = ["a11y-high-contrast-light", "a11y-high-contrast-dark"]
    styles = dict(zip(("pygments_light_style", "pygments_dark_style"), names, strict=True))
    page = project.build(cells, **light(), html_theme_options=styles)
    code = page.find("pre")
    assert code.text.strip() == 'x = [y for y in "ab"]  # said'
    marked = {span.text for span in code.find_all("span", class_=True)}
    assert marked == {"=", "for", "in", '"ab"', "# said"}


GLOSSARY = """---
orphan: true
---

# Words

```{glossary}
group lasso
  An estimate. The penalty is $\\lambda\\sum_j\\lVert W_j\\rVert$, unlike the {term}`lasso`: {ref}`here`.

lasso
  Regression with an L1 penalty. See {ref}`here`.

bias
  The constant term.

  A second paragraph.
```
"""


def test_the_first_mention_of_a_term_is_a_link_whose_title_explains_it(project):
    text = """We use the *lasso*. The lasso again. A Group Lasso, then the group lasso.

`bias`, [a bias](words.md), $bias$, biased, un-bias, a nasty bias.

### A bias

Then biases."""
    (project.source / "words.md").write_text(GLOSSARY)
    page = project.build(
        [new_markdown_cell(f"(here)=\n# Title\n\n(there)=\n## Bias\n\n{text}")],
        extensions=[*SETTINGS["extensions"], "terms"],
        term_exceptions=["nasty bias"],
    )
    first, longest, plural = page.select("a.term")
    assert first.parent.name == "em"
    assert (first["href"], first.text) == ("words.html#term-lasso", "lasso")
    assert first["title"] == "Regression with an L1 penalty.", "it ends before its references"
    assert longest.text == "Group Lasso"
    assert longest["title"] == "An estimate.", "a title shows no formula"
    assert plural.text == "biases"
    assert not parsed(project.built / "html/words.html").select("a.term"), "only notebooks have them"
