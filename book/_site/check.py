"""Check the built pages without a browser, for what Sphinx does not see: ``python book/_site/check.py``.

Nothing is loaded from another host; links lead somewhere, those to the position of a slider too; a widget has
its state and a picture, an image its words; no path of this machine is left over; and a page with all that it
loads at first stays light (compressed, as servers send it).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from common import SITE, STATE, VIEW, say

MAX_BYTES = 650_000
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data"}
NAMING = {"canonical", "author", "license", "search", "index", "next", "prev"}  # a link that loads nothing
ELSEWHERE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
EXPLORER_LINK = re.compile(r"([a-z][a-z0-9-]*):lam=[0-9.e+-]+(?:[,;].*)?")
PACKED = {".woff", ".png", ".jpg", ".webp"}
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])(?:/(?:home|root|Users|tmp|work|workspace|builds|mnt)/|[A-Z]:\\\\?Users\\)[\w.-]+"
)
FILE_NAME = re.compile(r"[0-9a-f]{16,}|\.(?:png|svg|jpe?g|gif|webp)$|^image$", re.IGNORECASE)


def loaded(soup: BeautifulSoup) -> Iterator[tuple[Tag, str]]:
    """All elements that make the browser fetch something, with the address."""
    for tag, attribute in LOADS.items():
        for element in soup.find_all(tag, attrs={attribute: True}):
            yield element, element[attribute]
    for element in soup.find_all("link", href=True):
        if set(element.get("rel") or ()) - NAMING:
            yield element, element["href"]


def target(page: Path, address: str) -> Path:
    """The file that an address within the site means."""
    path = unquote(urlsplit(address).path)
    file = (page.parent / path).resolve() if path else page
    return file / "index.html" if file.is_dir() else file


def states(soup: BeautifulSoup) -> dict[str, dict]:
    """The widget models of a page, by id."""
    scripts = soup.find_all("script", type=STATE)
    return {key: model for script in scripts for key, model in json.loads(script.string)["state"].items()}


@cache
def size(file: Path) -> int:
    """Bytes that travel for a file: gzip for texts, as they are for packed formats."""
    data = file.read_bytes()
    return len(data) if file.suffix in PACKED else len(gzip.compress(data, 6))


def weight(page: Path, soup: BeautifulSoup) -> int:
    """Bytes of a page with the scripts, styles and images that it loads at first."""
    at_first = [a for e, a in loaded(soup) if e.get("loading") != "lazy" and not ELSEWHERE.match(a)]
    return sum(size(file) for file in {page, *(target(page, a) for a in at_first)} if file.is_file())


def about_links(page: Path, soups: dict[Path, BeautifulSoup], ids: dict[Path, set[str]]) -> Iterator[str]:
    """What is loaded is there, on this host, and each link inside the site has a page and an anchor."""
    for element, address in loaded(soups[page]):
        if re.match(r"(?:https?:)?//", address):
            yield f"<{element.name}> loads from another host: {address}"
        elif not ELSEWHERE.match(address) and not target(page, address).is_file():
            yield f"<{element.name}> loads a file that is not there: {address}"
    for address in (element["href"] for element in soups[page].find_all("a", href=True)):
        if ELSEWHERE.match(address):
            continue
        file, anchor = target(page, address), unquote(urlsplit(address).fragment)
        setting = EXPLORER_LINK.fullmatch(anchor)  # "#digits:lam=0.03" moves a slider; more may follow
        if not file.is_file():
            yield f"a link leads nowhere: {address}"
        elif setting:
            if setting[1] not in {model["state"].get("name") for model in states(soups[file]).values()}:
                yield f"a link to an explorer that is not there: {address}"
        elif anchor and file in ids and anchor not in ids[file]:
            yield f"a link to an anchor that is not there: {address}"


def about_contents(page: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Images have their words, widgets their state and a picture, and the page is light and of no machine."""
    for image in soup.find_all("img"):
        alt, ornament = image.get("alt", "").strip(), image.get("role") == "presentation"
        if (not alt and not ornament) or FILE_NAME.search(alt):
            yield f"an image whose alternative text says nothing: {image.get('src')} {alt!r}"
    known = states(soup)
    for view in soup.find_all("script", type=VIEW):
        if json.loads(view.string)["model_id"] not in known:
            yield "a widget without state: run `make execute`, commit results/widgets/"
        before = view.find_previous_sibling()
        if not (before and "widget-fallback" in before.get("class", []) and before.find("img")):
            yield "a widget without a static picture"
    for found in sorted(set(MACHINE_PATH.findall(page.read_text("utf-8")))):
        yield f"a path of the building machine: {found}"
    if weight(page, soup) > MAX_BYTES:
        yield f"loads {weight(page, soup) / 1e3:.0f} kB, more than {MAX_BYTES / 1e3:.0f}"


def report(site: Path) -> int:
    """Print what is wrong with the pages of a site, and what the heaviest weighs; count the problems."""
    site = site.resolve()
    files = [p for p in sorted(site.rglob("*.html")) if p.parent.name not in ("_static", "mathjax")]
    soups = {file: BeautifulSoup(file.read_text("utf-8"), "html.parser") for file in files}
    ids = {page: {element["id"] for element in soup.find_all(id=True)} for page, soup in soups.items()}
    problems = 0
    for page, soup in soups.items():
        for problem in (*about_links(page, soups, ids), *about_contents(page, soup)):
            say(f"PROBLEM {page.relative_to(site)}: {problem}")
            problems += 1
    heaviest, name = max((weight(page, soup), page.stem) for page, soup in soups.items())
    say(f"{len(soups)} pages, {problems} problems; the heaviest, {name}: {heaviest / 1e3:.0f} kB")
    return problems


if __name__ == "__main__":
    raise SystemExit(bool(report(SITE)))
