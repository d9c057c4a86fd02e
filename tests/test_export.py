"""The PDF: where links lead, and what Chromium prints of two pages of the book."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

import export

BASE = "https://some-one.github.io/their.book/"
NAMES = ["book/intro", "book/notation"]


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("#t", "#part-one--t"),
        ("two.html", "#part-two"),
        ("../part/two.html#t", "#part-two--t"),
        ("aside.html#t", f"{BASE}part/aside.html#t"),  # not printed
        ("#name:lam=0.1", f"{BASE}part/one.html#name:lam=0.1"),  # moves a slider
        ("https://example.org/x", "https://example.org/x"),
        ("mailto:a@example.org", "mailto:a@example.org"),
    ],
)
def test_links_lead_into_the_document_or_to_the_published_site(address, leads_to):
    assert export.link("part/one", address, {"part/one": {"t"}, "part/two": {"t"}}, BASE) == leads_to


@pytest.fixture(scope="module")
def pdf(browser, site: Path, tmp_path_factory) -> PdfReader:
    """Two pages of the book."""
    out = tmp_path_factory.mktemp("pdf") / "book.pdf"
    context = browser.new_context()
    export.write_pdf(context.new_page(), site, NAMES, out)
    context.close()
    assert not (site / "whole-book.html").exists()
    return PdfReader(out)


def test_what_is_printed(pdf, site):
    article = BeautifulSoup((site / f"{NAMES[0]}.html").read_text("utf-8"), "html.parser").article
    words = " ".join(page.extract_text() for page in pdf.pages)
    assert "⊙" in words, "the formulas are set: w = u ⊙ v"
    for gone in (r"\(", r"\odot", "Download source", "Copy link", "Click to", "Colab logo"):
        assert gone not in words
    assert len(pdf.outline) >= len(NAMES), "headings are bookmarks"
    pictures = sum(len(page.images) for page in pdf.pages)
    assert pictures >= len(article.select("img:not(.only-dark)")) > 0, "the widget is there as a picture"
    assert pdf.root_object["/MarkInfo"]["/Marked"].value is True, "for screen readers"


def test_links_of_the_contents_lead_to_pages(pdf):
    notes = [note.get_object() for page in pdf.pages for note in page.get("/Annots", [])]
    inside = {note["/Dest"].lstrip("/") for note in notes if "/Dest" in note}
    assert {export.key(name) for name in NAMES} <= inside
    assert inside <= {name.lstrip("/") for name in pdf.named_destinations}
