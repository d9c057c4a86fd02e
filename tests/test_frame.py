"""The frame of the built pages: words that explain themselves, ways to the source, what others are told."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

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


def test_every_chapter_links_words_of_the_glossary_once_each(site):
    glossary = {anchor["id"] for anchor in parsed(site, "book/glossary").select("dt[id]")}
    titles = 0
    for path in chapters():
        terms = parsed(site, f"book/{path.stem}").select("a.term")
        links = [a["href"].split("#")[1] for a in terms]
        assert len(links) >= 8, path.stem
        assert len(links) == len(set(links))
        assert set(links) <= glossary
        titles += sum(a.has_attr("title") for a in terms)
    assert titles > 50, "explanations"


def test_buttons_lead_to_the_page_in_the_repository_or_nowhere(site):
    branch = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["branch"]
    buttons = [a["href"] for a in parsed(site, CHAPTER).select(".article-header-buttons a[href]")]
    away = [a for a in buttons if "github.com" in a or "colab" in a]
    assert all(HOME and HOME.removeprefix("https://github.com/") in a for a in away)
    assert (f"{HOME}/edit/{branch}/{CHAPTER}.ipynb" in away) == bool(HOME)
    assert any("/issues/new?title=" in a and CHAPTER in a for a in away) == bool(HOME)


def test_pages_say_version_date_and_where_their_making_is_told_which_lists_every_notebook(site):
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == l2lab.__version__
    for name in (CHAPTER, "book/api", "book/assignments/02_four_ways"):
        footer = parsed(site, name).select_one("footer.bd-footer-content")
        words = " ".join(footer.text.split())
        assert f"Version {l2lab.__version__}." in words
        assert re.search(r"Last updated on \w+ \d+, \d{4}", words)
        (link,) = footer.select("a[href*='status.html']")
        assert (site / f"{name}.html").parent.joinpath(link["href"]).resolve() == site / "book/status.html"

    page = parsed(site, "book/status")
    assert all(page.select(f"article a[href='{path.stem}.html']") for path in chapters())
    assert "comparison-quick.json" in page.article.text


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


def test_the_bare_address_leads_to_the_first_page(site):
    assert f"url={DOCUMENTS[0]}.html" in (site / "index.html").read_text("utf-8")


def test_the_links_of_404_lead_to_pages(site):
    page = parsed(site, "404")
    assert page.base["href"] == (BASE or "/")
    assert page.find_all("a")
    for link in page.find_all("a"):
        assert (site / link["href"].replace("./", "index.html")).is_file()
