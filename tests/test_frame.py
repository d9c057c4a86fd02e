"""The frame of the built pages: words that explain themselves, ways to the source, what others are told."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

import l2lab
import repository
from common import chapters
from conftest import ROOT
from site_pages import DOCUMENTS

CHAPTER = "book/04_selection"
HOME = repository.home()  # empty until `make address`
BASE = repository.pages(HOME) if HOME else ""


@cache
def parsed(site: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser")


def meta(page: BeautifulSoup, name: str) -> str:
    """The content of the one ``<meta>`` of this name."""
    (found,) = page.find_all("meta", attrs={"property" if name.startswith("og:") else "name": name})
    return found["content"]


# ---- words of the glossary --------------------------------------------------------------------------------


def test_every_chapter_links_words_of_the_glossary_once_each(site):
    glossary = {anchor["id"] for anchor in parsed(site, "book/glossary").select("dt[id]")}
    for path in chapters():
        links = [a["href"].split("#")[1] for a in parsed(site, f"book/{path.stem}").select(".term > a")]
        assert len(links) >= 8, path.stem
        assert len(links) == len(set(links))
        assert set(links) <= glossary


def test_an_explanation_shows_on_hover_and_focus_and_escape_puts_it_away(page, site_url):
    page.goto(f"{site_url}/{CHAPTER}.html")
    term = page.locator(".term", has_text="decay budget").first
    tip, link = term.locator(".term-tip"), term.locator("a")
    assert not tip.is_visible()
    link.hover()
    assert tip.is_visible()
    tip.hover(position={"x": 5, "y": 5})
    assert tip.is_visible()
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    link.focus()
    assert tip.is_visible()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.keyboard.press("Tab")
    link.focus()
    assert tip.is_visible(), "it comes back when one comes back"


def test_no_explanation_is_wider_than_a_narrow_page(page, site_url):
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto(f"{site_url}/{CHAPTER}.html")
    boxes = page.evaluate("""() => [...document.querySelectorAll('.term')].map(term => {
        term.querySelector('a').focus();
        const box = term.querySelector('.term-tip').getBoundingClientRect();
        return [box.left, box.right, box.height] })""")
    assert len(boxes) >= 8
    for left, right, height in boxes:
        assert 0 <= left <= right <= 320
        assert height > 20


# ---- the source, and how the page was made ----------------------------------------------------------------


def test_buttons_lead_to_the_page_in_the_repository_or_nowhere(site):
    branch = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["branch"]
    buttons = [a["href"] for a in parsed(site, CHAPTER).select(".article-header-buttons a[href]")]
    away = [a for a in buttons if "github.com" in a or "colab" in a]
    assert all(HOME and HOME.removeprefix("https://github.com/") in a for a in away)
    assert (f"{HOME}/edit/{branch}/{CHAPTER}.ipynb" in away) == bool(HOME)
    assert any("/issues/new?title=" in a and CHAPTER in a for a in away) == bool(HOME)


def test_every_page_says_version_date_and_where_its_making_is_told(site):
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == l2lab.__version__
    for name in (CHAPTER, "book/api", "book/assignments/02_four_ways"):
        footer = parsed(site, name).select_one("footer.bd-footer-content")
        words = " ".join(footer.text.split())
        assert f"Version {l2lab.__version__}." in words
        assert re.search(r"Last updated on \w+ \d+, \d{4}", words)
        (link,) = footer.select("a[href*='status.html']")
        assert (site / f"{name}.html").parent.joinpath(link["href"]).resolve() == site / "book/status.html"


def test_the_status_page_lists_every_notebook_and_every_study(site):
    page = parsed(site, "book/status")
    text = page.select_one("article").text
    for path in chapters():
        assert page.select(f"article a[href='{path.stem}.html']"), path.stem
    for path in (ROOT / "book" / "results").glob("*.json"):
        if "what" in json.loads(path.read_text()):
            assert path.name in text


# ---- what others are told ----------------------------------------------------------------------------------


def test_pages_have_a_description_in_words_their_address_and_the_card(site):
    texts = set()
    for name in DOCUMENTS:
        head = (site / f"{name}.html").read_text("utf-8").partition("</head>")[0]
        page = BeautifulSoup(head, "html.parser")
        text = meta(page, "description")
        texts.add(text)
        assert text == meta(page, "og:description")
        assert 20 < len(text) <= 160
        assert not re.search(r"[\\$<>{}]|&\w+;|Colab", text), f"no plain words: {text}"
        assert meta(page, "og:url") == f"{BASE}{name}.html"
        canonical = [link["href"] for link in page.find_all("link", rel="canonical")]
        assert canonical == ([f"{BASE}{name}.html"] if HOME else [])
        assert meta(page, "og:image") == f"{BASE}_static/card.png"
        assert meta(page, "twitter:card") == "summary_large_image"
    assert len(texts) == len(DOCUMENTS), "they differ"
    with Image.open(site / "_static" / "card.png") as image:
        assert [str(side) for side in image.size] == [
            meta(page, f"og:image:{k}") for k in ("width", "height")
        ]


def test_the_first_page_describes_the_book_to_catalogues_as_the_citation_and_the_pages_do(site):
    found = [parsed(site, name).select("script[type='application/ld+json']") for name in DOCUMENTS]
    assert [len(scripts) for scripts in found] == [1] + [0] * (len(DOCUMENTS) - 1)
    book = json.loads(found[0][0].string)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (book["@context"], book["@type"]) == ("https://schema.org", "LearningResource")
    assert cited["title"].startswith(book["name"])
    assert parsed(site, DOCUMENTS[0]).h1.text.startswith(book["name"])
    assert book["description"] == cited["abstract"]
    assert book["version"] == cited["version"] == l2lab.__version__
    assert [who["name"] for who in book["author"]] == [
        who.get("name") or f"{who['given-names']} {who['family-names']}" for who in cited["authors"]
    ]
    assert [address.split("/")[-1] for address in book["license"]] == [f"{x}.html" for x in cited["license"]]
    assert book["keywords"] == cited["keywords"]
    assert book["inLanguage"] == parsed(site, DOCUMENTS[0]).html["lang"]
    assert book["educationalLevel"] in cited["abstract"]
    plan = parsed(site, "book/course_plan")
    goals = [row.td.text.strip() for row in plan.select("#learning-goals-and-where-they-are-tested tbody tr")]
    assert len(goals) >= 15
    assert book["teaches"] == goals
    words = " ".join(parsed(site, f"book/{path.stem}").text for path in chapters())
    minutes = [int(number) for number in re.findall(r"Time: (\d+) minutes to read", words)]
    assert len(minutes) >= 8
    assert book["timeRequired"] == f"PT{sum(minutes)}M"
    assert book.get("url", "") == BASE


@pytest.mark.skipif(not HOME, reason="the book has no address yet: make address")
def test_the_sitemap_is_the_table_of_contents(site):
    addresses = [loc.text for loc in ET.parse(site / "sitemap.xml").findall(".//{*}loc")]
    assert sorted(addresses) == sorted(f"{BASE}{name}.html" for name in DOCUMENTS)


def test_the_bare_address_leads_to_the_first_page_and_has_its_card(site):
    start, first = parsed(site, "index"), parsed(site, DOCUMENTS[0])
    assert start.find("meta", attrs={"http-equiv": "refresh"})["content"] == f"0; url={DOCUMENTS[0]}.html"
    for name in ("description", "og:title", "og:url", "og:image", "twitter:card"):
        assert meta(start, name) == meta(first, name)


def test_the_links_of_404_lead_to_pages(site):
    page = parsed(site, "404")
    assert page.base["href"] == (BASE or "/")
    assert page.find_all("a")
    for link in page.find_all("a"):
        assert (site / link["href"].replace("./", "index.html")).is_file()
