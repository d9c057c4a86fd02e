"""The frame of the built pages: words that explain themselves, ways to the source, version and record."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

import l2lab
from common import chapters

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
CHAPTER = "book/04_selection"


def parsed(site: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser")


# ---- words of the glossary --------------------------------------------------------------------------------


@pytest.fixture
def term(page, site_url):
    """A word of the glossary on a page of its own."""
    page.goto(f"{site_url}/{CHAPTER}.html")
    return page.locator(".term", has_text="decay budget").first


def test_every_chapter_links_words_of_the_glossary_once_each(site):
    glossary = {anchor["id"] for anchor in parsed(site, "book/glossary").select("dt[id]")}
    for path in chapters():
        links = [a["href"].split("#")[1] for a in parsed(site, f"book/{path.stem}").select(".term > a")]
        assert len(links) >= 8, path.stem
        assert len(links) == len(set(links))
        assert set(links) <= glossary


def test_an_explanation_shows_on_hover_and_stays_under_the_pointer(page, term):
    tip = term.locator(".term-tip")
    assert not tip.is_visible()
    term.locator("a").hover()
    assert tip.is_visible()
    tip.hover(position={"x": 5, "y": 5})
    assert tip.is_visible()
    page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_an_explanation_shows_on_focus_and_escape_puts_it_away(page, term):
    tip, link = term.locator(".term-tip"), term.locator("a")
    link.focus()
    assert tip.is_visible()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.keyboard.press("Tab")
    link.focus()
    assert tip.is_visible(), "it comes back when one comes back"


@pytest.mark.parametrize("width", [320, 1280])
def test_no_explanation_is_wider_than_the_page(browser, site_url, width):
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    page.goto(f"{site_url}/{CHAPTER}.html")
    boxes = page.evaluate("""() => [...document.querySelectorAll('.term')].map(term => {
        term.querySelector('a').focus();
        const box = term.querySelector('.term-tip').getBoundingClientRect();
        return [box.left, box.right, box.height] })""")
    context.close()
    assert len(boxes) >= 8
    for left, right, height in boxes:
        assert left >= 0
        assert right <= width
        assert height > 20


# ---- the source, and how the page was made ----------------------------------------------------------------


@pytest.mark.skipif(not REPOSITORY["url"], reason="the book has no address yet: make address")
def test_edit_and_issue_links_lead_to_the_page_in_the_repository(site):
    page = parsed(site, CHAPTER)
    links = [a["href"] for a in page.select(".article-header-buttons a[href]")]
    url, branch = REPOSITORY["url"], REPOSITORY["branch"]
    assert f"{url}/edit/{branch}/{CHAPTER}.ipynb" in links
    assert any(link.startswith(f"{url}/issues/new?title=") and CHAPTER in link for link in links)


def test_every_page_says_version_date_and_where_its_making_is_told(site):
    for name in [*(f"book/{path.stem}" for path in chapters()), "book/api", "book/assignments/02_four_ways"]:
        footer = parsed(site, name).select_one("footer.bd-footer-content")
        words = " ".join(footer.text.split())
        assert f"Version {l2lab.__version__}." in words
        assert re.search(r"Last updated on \w+ \d+, \d{4}", words)
        (link,) = footer.select("a[href*='status.html']")
        assert (site / f"{name}.html").parent.joinpath(link["href"]).resolve() == site / "book/status.html"


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == l2lab.__version__


def test_the_status_page_lists_every_notebook_and_every_study(site):
    page = parsed(site, "book/status")
    text = page.select_one("article").text
    for path in chapters():
        assert page.select(f"article a[href='{path.stem}.html']"), path.stem
    for path in (ROOT / "book" / "results").glob("*.json"):
        if "what" in json.loads(path.read_text()):
            assert path.name in text
