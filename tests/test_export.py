"""The archive and the PDF: tiny pages for the rules, three pages of the book for what Chromium prints."""

from __future__ import annotations

import datetime
import os
import re
import zipfile
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

import export
from conftest import ROOT
from test_site import DOCUMENTS

BASE = "https://example.org/book/"
EDITION = export.Edition(
    "A & B", "Ann", "1.2.3", datetime.datetime(2024, 2, 3, 4, 5, 6, tzinfo=datetime.UTC), "<p>Free</p>"
)
PAGE = """<html lang="en"><head><link rel="canonical" href="{base}{name}.html">
<link rel="stylesheet" href="{up}_static/a.css?v=1">
<script>window.MathJax = {{}}</script><script src="{up}vendor/mathjax/tex.js"></script></head>
<body><nav>Aside</nav><article class="bd-article"><h1 id="t">{title}<a class="headerlink" href="#t">#</a></h1>
{body}</article></body></html>"""


def write(site: Path, name: str, body: str = "<p>Words</p>", title: str = "T") -> None:
    path = site / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    up = "../" * name.count("/")
    path.write_text(PAGE.format(base=BASE, name=name, up=up, title=title, body=body), "utf-8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two chapters with the same ids, and pages that are no chapters."""
    site = tmp_path / "html"
    for name in ("index", "search", "part/aside"):
        write(site, name)
    write(site, "part/one", title='One <span class="math">\\(x\\)</span>')
    write(site, "part/two")
    return site


def merged(site: Path, body: str) -> BeautifulSoup:
    """The document of two chapters, of which the first has this body."""
    write(site, "part/one", body)
    parts = [export.Part("", ("part/one",)), export.Part("More", ("part/two",))]
    text = export.Merger(site, ["part/one", "part/two"]).document(parts, EDITION)
    return BeautifulSoup(text, "html.parser")


class TestDocument:
    def test_ids_are_unique_and_what_refers_to_them_follows(self, small):
        page = merged(small, '<p id="a">x</p><label for="a">y</label><i aria-labelledby="a t">z</i>')
        ids = [e["id"] for e in page.find_all(id=True)]
        assert len(set(ids)) == len(ids)
        assert page.label["for"] == "part-one--a"
        assert page.i["aria-labelledby"] == "part-one--a part-one--t"

    @pytest.mark.parametrize(
        ("address", "leads_to"),
        [
            ("#t", "#part-one--t"),
            ("two.html", "#part-two"),
            ("two.html#t", "#part-two--t"),
            ("../part/two.html#t", "#part-two--t"),
            ("aside.html#t", f"{BASE}part/aside.html#t"),  # no chapter
            ("../_sources/part/one.md", f"{BASE}_sources/part/one.md"),
            ("#name:lam=0.1", f"{BASE}part/one.html#name:lam=0.1"),  # moves a slider
            ("https://example.org/x", "https://example.org/x"),
            ("mailto:a@example.org", "mailto:a@example.org"),
        ],
    )
    def test_links_lead_into_the_document_or_to_the_published_site(self, small, address, leads_to):
        page = merged(small, f'<p><a id="here" href="{address}">x</a></p>')
        assert page.find(id="part-one--here")["href"] == leads_to

    def test_solutions_are_open_and_what_only_screens_have_is_gone(self, small):
        page = merged(
            small,
            "<details class='quiz-right'><summary>A</summary>Because</details>"
            "<details class='hide'><summary>Code</summary>folded</details>"
            "<button>Copy</button><script type='application/json'>{}</script>"
            "<div class='widget-fallback'><img loading='lazy' src='../_images/w%201.png'></div>",
        )
        assert page.find("details", class_="quiz-right").has_attr("open")
        for gone in ("folded", "Copy", "Aside", "#</a>", "application/json", "loading"):
            assert gone not in str(page.main), gone
        assert page.find("img")["src"] == (small / "_images" / "w 1.png").as_uri()

    def test_style_and_typesetter_are_taken_over_once(self, small):
        head = merged(small, "<p>x</p>").head
        assert [e["href"] for e in head.find_all("link")] == [(small / "_static/a.css").as_uri()]
        assert [e.get("src") for e in head.find_all("script")] == [
            None,
            (small / "vendor/mathjax/tex.js").as_uri(),
        ]

    def test_title_page_and_contents(self, small):
        page = merged(small, "<p>x</p>")
        words = page.header.get_text(" ")
        for expected in ("A & B", "Ann", "Version 1.2.3, 3 February 2024", "Free", BASE):
            assert expected in words
        links = page.find("nav", class_="chapters").find_all("a")
        assert [a["href"] for a in links] == ["#part-one", "#part-two"]
        assert all(page.find(id=a["href"][1:]) for a in links)

    def test_a_missing_page_is_named(self, small, capsys):
        with pytest.raises(SystemExit):
            export.Merger(small, ["part/gone"])
        assert "part/gone" in capsys.readouterr().err


class TestEdition:
    def test_is_that_of_configuration_and_package(self):
        edition = export.read_edition()
        assert f'title: "{edition.title}"' in (ROOT / "_config.yml").read_text("utf-8")
        assert re.search(rf"(?m)^version: {re.escape(edition.version)}$", (ROOT / "CITATION.cff").read_text())

    def test_date_can_be_told(self, monkeypatch):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
        assert export.edition_date() == datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC)

    def test_a_date_that_is_none_is_refused(self, monkeypatch, capsys):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
        with pytest.raises(SystemExit):
            export.edition_date()
        assert "'today' is no number of seconds" in capsys.readouterr().err

    def test_the_parts_hold_the_whole_table_of_contents(self):
        assert [name for part in export.read_parts() for name in part.names] == DOCUMENTS

    def test_without_a_site_it_says_what_to_do(self, tmp_path, capsys):
        with pytest.raises(SystemExit):
            export.need_site(tmp_path)
        assert "make book" in capsys.readouterr().err


class TestArchive:
    def test_holds_the_whole_site_and_how_to_open_it(self, small, tmp_path):
        (small / ".nojekyll").touch()
        (small / ".buildinfo").write_text("config: 1")
        out = export.write_zip(small, tmp_path / "out" / "a.zip", EDITION)
        with zipfile.ZipFile(out) as archive:
            listed = archive.namelist()
            names = set(listed)
            assert listed == sorted(names), "the order of a folder differs from machine to machine"
            told = archive.read("l2-book-1.2.3/README.txt").decode()
            for name in names - {"l2-book-1.2.3/README.txt"}:
                assert archive.read(name) == (small / name.removeprefix("l2-book-1.2.3/")).read_bytes()
        kept = {p.relative_to(small).as_posix() for p in small.rglob("*") if p.is_file()} - {".buildinfo"}
        assert names == {f"l2-book-1.2.3/{name}" for name in kept | {"README.txt"}}
        assert "index.html" in told
        assert BASE in told
        assert "$" not in told

    def test_the_same_site_gives_the_same_bytes(self, small, tmp_path):
        first = export.write_zip(small, tmp_path / "1.zip", EDITION).read_bytes()
        copy = tmp_path / "copy"
        for path in sorted(small.rglob("*.html"), reverse=True):  # written in another order, at another time
            target = copy / path.relative_to(small)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(0o600)
            os.utime(target, (10**9, 10**9))
        assert export.write_zip(copy, tmp_path / "2.zip", EDITION).read_bytes() == first


# ---- what Chromium prints ----------------------------------------------------------------------------------

INTRO, NOTATION, ASSIGNMENT = "book/intro", "book/notation", "book/assignments/01_ridge_by_hand"
PRINTED = [export.Part("", (INTRO,)), export.Part("Rest", (NOTATION, ASSIGNMENT))]


@pytest.fixture(scope="module")
def pdf(browser, site: Path, tmp_path_factory) -> PdfReader:
    """Three pages of the book."""
    out = tmp_path_factory.mktemp("pdf") / "book.pdf"
    export.write_pdf(browser, site, out, PRINTED, EDITION)
    assert [path.name for path in out.parent.iterdir()] == ["book.pdf"]
    return PdfReader(out)


@pytest.fixture(scope="module")
def texts(pdf: PdfReader) -> list[str]:
    """The words on each page."""
    return [page.extract_text() for page in pdf.pages]


def headings(site: Path, name: str, level: str) -> list[str]:
    article = BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser").article
    for link in article.select(".headerlink"):
        link.decompose()
    return [" ".join(h.get_text().split()) for h in article.find_all(level)]


def test_each_chapter_is_a_bookmark_and_its_sections_are_below(pdf, site):
    chapters = [mark for mark in pdf.outline if not isinstance(mark, list)]
    names = [INTRO, NOTATION, ASSIGNMENT]
    assert [mark.title for mark in chapters] == ["Contents", *(headings(site, n, "h1")[0] for n in names)]
    below = [mark for mark in pdf.outline if isinstance(mark, list)]
    for name, marks in zip(names, below, strict=True):
        assert [m.title for m in marks if not isinstance(m, list)] == headings(site, name, "h2")


def test_the_contents_give_the_pages_on_which_the_bookmarks_stand(pdf, texts):
    chapters = [mark for mark in pdf.outline if not isinstance(mark, list)][1:]
    for mark in chapters:
        number = pdf.get_destination_page_number(mark)
        assert re.search(rf"{re.escape(mark.title)}\s*{number + 1}\b", texts[1]), mark.title
        assert texts[number].split(None, 1)[0] == str(number + 1), "the page's own number, drawn first"
        assert texts[number].split(None, 1)[1].startswith(mark.title)


def test_formulas_are_typeset_and_nothing_of_the_screen_is_left(texts):
    words = " ".join(texts)
    assert "⊙" in words  # w = u ⊙ v
    assert not re.search(r"\\\(|\\\[|\\odot", words), "TeX as it was written"
    for button in (
        "Download source",
        "Print to PDF",
        "Fullscreen",
        "Copy link",
        "Click to",
        "Search",
        "Colab logo",
    ):
        assert button not in words, button


def test_the_widget_is_there_as_a_picture(pdf, site):
    article = BeautifulSoup((site / f"{INTRO}.html").read_text("utf-8"), "html.parser").article
    assert article.select(".widget-fallback img")
    marks = [mark for mark in pdf.outline if not isinstance(mark, list)]
    first, last = (pdf.get_destination_page_number(mark) for mark in marks[1:3])
    printed = sum(len(pdf.pages[number].images) for number in range(first, last))
    assert printed == len(article.find_all("img"))


def test_links_lead_to_pages_and_to_the_published_site(pdf, site):
    inside, outside = set(), set()
    for page in pdf.pages:
        for note in (note.get_object() for note in page.get("/Annots", [])):
            if "/A" in note:
                outside.add(note["/A"]["/URI"])
            elif "/Dest" in note:
                inside.add(note["/Dest"].lstrip("/"))
    assert {"book-intro", "book-notation"} <= inside
    assert inside <= {name.lstrip("/") for name in pdf.named_destinations}
    address = export.published_address(site)
    if not address:  # what is not printed here can be read nowhere else
        assert not [link for link in outside if "glossary" in link]
        return
    assert [link for link in outside if link.startswith(f"{address}book/glossary.html#")], "not printed here"
    assert not [link for link in outside if not link.startswith(("https://", "http://"))]


def test_the_file_says_what_it_is(pdf):
    assert (pdf.metadata.title, pdf.metadata.author) == ("A & B", "Ann")
    assert pdf.metadata.creation_date == EDITION.date
    assert pdf.metadata.producer is None, "the browser's name and version change"
    assert pdf.root_object["/Lang"] == "en"
    assert pdf.root_object["/MarkInfo"]["/Marked"].value is True
