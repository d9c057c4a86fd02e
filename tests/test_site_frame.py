"""What others are told about the built book: descriptions, addresses, cards, the list of pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from PIL import Image

import repository
from test_site import DOCUMENTS

HOME = repository.home()  # empty until `make address`
BASE = repository.pages(HOME) if HOME else ""


def head(site: Path, name: str) -> BeautifulSoup:
    text = (site / name).read_text("utf-8")
    return BeautifulSoup(text.partition("</head>")[0] + "</head></html>", "html.parser")


def meta(page: BeautifulSoup, name: str) -> str:
    """The content of the one ``<meta>`` of this name."""
    (found,) = page.find_all("meta", attrs={"property" if name.startswith("og:") else "name": name})
    return found["content"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_page_has_a_description_in_words_its_address_and_the_card(site, name):
    page = head(site, f"{name}.html")
    text = meta(page, "description")
    assert text == meta(page, "og:description")
    assert 20 < len(text) <= 160
    assert not re.search(r"[\\$<>{}]|&\w+;|Colab", text), f"no plain words: {text}"
    assert meta(page, "og:url") == f"{BASE}{name}.html"
    canonical = [link["href"] for link in page.find_all("link", rel="canonical")]
    assert canonical == ([f"{BASE}{name}.html"] if HOME else [])
    assert meta(page, "og:image") == f"{BASE}_static/card.png"
    assert meta(page, "twitter:card") == "summary_large_image"


def test_descriptions_differ(site):
    assert len({meta(head(site, f"{name}.html"), "description") for name in DOCUMENTS}) == len(DOCUMENTS)


@pytest.mark.skipif(not HOME, reason="the book has no address yet: make address")
def test_the_sitemap_is_the_table_of_contents(site):
    addresses = [loc.text for loc in ET.parse(site / "sitemap.xml").findall(".//{*}loc")]
    assert sorted(addresses) == sorted(f"{BASE}{name}.html" for name in DOCUMENTS)


def test_the_bare_address_leads_to_the_first_page_and_has_its_card(site):
    start = head(site, "index.html")
    assert start.find("meta", attrs={"http-equiv": "refresh"})["content"] == f"0; url={DOCUMENTS[0]}.html"
    for name in ("description", "og:title", "og:url", "og:image", "twitter:card"):
        assert meta(start, name) == meta(head(site, f"{DOCUMENTS[0]}.html"), name)


def test_the_card_has_the_size_that_the_pages_say(site):
    page = head(site, f"{DOCUMENTS[0]}.html")
    with Image.open(site / "_static" / "card.png") as image:
        assert [str(side) for side in image.size] == [
            meta(page, f"og:image:{k}") for k in ("width", "height")
        ]


def test_the_links_of_404_lead_to_pages(site):
    page = BeautifulSoup((site / "404.html").read_text("utf-8"), "html.parser")
    assert page.base["href"] == (BASE or "/")
    assert page.find_all("a")
    for link in page.find_all("a"):
        assert (site / link["href"].replace("./", "index.html")).is_file()


def test_buttons_lead_to_the_repository_or_nowhere(site):
    page = BeautifulSoup((site / f"{DOCUMENTS[1]}.html").read_text("utf-8"), "html.parser")
    buttons = [a["href"] for a in page.select(".article-header-buttons a[href]")]
    away = [a for a in buttons if "github.com" in a or "colab" in a]
    assert all(HOME and HOME.removeprefix("https://github.com/") in a for a in away)
    assert bool(away) == bool(HOME)
