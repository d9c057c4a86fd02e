"""Check a built site without a browser: ``python book/_site/check.py [SITE]``.

A page must not load anything from another host; a widget must have its state and a picture; an image must
have alternative text that a person wrote; links inside the site must lead somewhere; no path of the building
machine may be left over; and a page with all that it loads at first must stay below 1.5 MB (compressed, as
servers send it).
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from common import SITE, say

MAX_BYTES = 1_500_000
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
EXPLORER_LINK = re.compile(r"([a-z][a-z0-9-]*):lam=[0-9.e+-]+")
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}
# <link rel=…> that only name an address; all others make the browser fetch it.
NAMING = {"canonical", "author", "license", "search", "index", "next", "prev", "alternate", "me"}
CSS_URL = re.compile(r"(?:url\(\s*|@import\s+)['\"]?([^'\")\s]+)")
REACHES = re.compile(r"(?:import\s*\(|from\s+|fetch\s*\(|\.src\s*=|_URL\s*=)\s*['\"](?:https?:)?//")
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
ALREADY_PACKED = {".woff", ".woff2", ".png", ".jpg", ".jpeg", ".gif", ".webp"}
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])(?:/(?:home|root|Users|tmp|work|workspace|builds|mnt)/|[A-Z]:\\\\?Users\\)[\w.-]+"
)
HASH_LIKE = re.compile(
    r"[0-9a-f]{16,}|\.(?:png|svg|jpe?g|gif|webp)$|^(?:image|figure|picture|logo)$", re.IGNORECASE
)


@dataclass
class Report:
    """What a check has seen.

    Attributes
    ----------
    problems : list of str
        One line each; empty for a good site.
    weights : dict
        Page -> bytes that it loads at first, compressed.
    widgets : int
        Number of widget views.
    images : int
        Number of images.
    """

    problems: list[str] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)
    widgets: int = 0
    images: int = 0

    def text(self) -> str:
        """The report as lines for a console."""
        lines = [f"  {page}: {size / 1e6:.2f} MB" for page, size in sorted(self.weights.items())]
        lines = ["Pages with all that they load (compressed):", *lines] if lines else []
        lines += [f"PROBLEM {line}" for line in self.problems]
        return "\n".join(
            [
                *lines,
                f"{len(self.weights)} pages, {self.widgets} widgets, {self.images} images, "
                f"{len(self.problems)} problems",
            ]
        )


def is_foreign(address: str | None) -> bool:
    """Whether an address leads to another host."""
    return bool(re.match(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", address or "", re.IGNORECASE))


def is_local(address: str) -> bool:
    """Whether an address leads into the site (not ``mailto:``, ``data:``, another host)."""
    return not is_foreign(address) and not re.match(r"[a-z][a-z0-9+.-]*:", address, re.IGNORECASE)


def loaded(soup: BeautifulSoup) -> Iterator[tuple[Tag, str]]:
    """All elements that make the browser fetch something, with the address."""
    for tag, attribute in LOADS.items():
        for element in soup.find_all(tag):
            if element.get(attribute):
                yield element, element[attribute]
    for element in soup.find_all(["img", "source"], srcset=True):
        for part in element["srcset"].split(","):
            yield element, part.split()[0]
    for element in soup.find_all("link", href=True):
        if set(element.get("rel") or ()) - NAMING:
            yield element, element["href"]


def pages_of(site: Path) -> list[Path]:
    """Return the pages of a site, without the HTML files that libraries bring."""
    return [
        p for p in sorted(site.rglob("*.html")) if p.relative_to(site).parts[0] not in ("_static", "mathjax")
    ]


def css_addresses(text: str) -> list[str]:
    """All addresses that a style sheet fetches."""
    return [u for u in CSS_URL.findall(CSS_COMMENT.sub("", text)) if not u.startswith(("data:", "#"))]


class SiteCheck:
    """One walk over a site."""

    def __init__(self, site: Path, max_bytes: int = MAX_BYTES) -> None:
        self.site = site.resolve()
        self.max_bytes = max_bytes
        self.report = Report()
        self.soups: dict[Path, BeautifulSoup] = {}
        self.ids: dict[Path, set[str]] = {}
        self.explorers: dict[Path, set[str]] = {}
        self.sizes: dict[Path, int] = {}

    def problem(self, page: Path, text: str) -> None:
        """Note a problem of a file."""
        self.report.problems.append(f"{page.relative_to(self.site).as_posix()}: {text}")

    def target(self, page: Path, address: str) -> Path:
        """The file that a local address means."""
        path = unquote(urlsplit(address).path)
        if not path:
            return page
        file = (page.parent / path).resolve()
        return file / "index.html" if file.is_dir() else file

    def state(self, soup: BeautifulSoup) -> dict[str, Any]:
        """The widget models of a page, by id."""
        models: dict[str, Any] = {}
        for script in soup.find_all("script", type=STATE):
            models |= json.loads(script.string or "{}").get("state", {})
        return models

    def size(self, file: Path) -> int:
        """Bytes that travel for a file: gzip for texts, as they are for packed formats."""
        if file not in self.sizes:
            data = file.read_bytes()
            self.sizes[file] = len(data) if file.suffix in ALREADY_PACKED else len(gzip.compress(data, 6))
        return self.sizes[file]

    def run(self) -> Report:
        """Read all pages and style sheets, then look at them."""
        pages = pages_of(self.site)
        if not pages:
            self.report.problems.append(f"{self.site.name}: no page at all; was the book built?")
        for page in pages:
            soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
            self.soups[page] = soup
            self.ids[page] = {e["id"] for e in soup.find_all(id=True)} | {
                e["name"] for e in soup.find_all("a", attrs={"name": True})
            }
            states = [model.get("state", {}) for model in self.state(soup).values()]
            self.explorers[page] = {state.get("name") for state in states if "panels" in state}
        for page, soup in self.soups.items():
            self.foreign(page, soup)
            self.links(page, soup)
            self.images(page, soup)
            self.widgets(page, soup)
            self.machine_paths(page)
            self.weight(page, soup)
        for sheet in sorted(self.site.rglob("*.css")):
            for address in css_addresses(sheet.read_text("utf-8", "replace")):
                if is_foreign(address):
                    self.problem(sheet, f"the style sheet loads {address}")
        return self.report

    def foreign(self, page: Path, soup: BeautifulSoup) -> None:
        """Nothing is loaded from another host, and what is loaded exists."""
        for element, address in loaded(soup):
            if is_foreign(address):
                self.problem(page, f"<{element.name}> loads from another host: {address}")
            elif address.startswith("/"):
                self.problem(page, f"<{element.name}> loads from the top of the host: {address}")
            elif is_local(address) and not self.target(page, address).is_file():
                self.problem(page, f"<{element.name}> loads a file that is not there: {address}")
        styles = [e.string or "" for e in soup.find_all("style")] + [
            e["style"] for e in soup.find_all(style=True)
        ]
        for text in styles:
            for address in css_addresses(text):
                if is_foreign(address):
                    self.problem(page, f"a style loads from another host: {address}")
        for script in soup.find_all("script", src=False):
            if "json" not in script.get("type", "") and REACHES.search(script.string or ""):
                self.problem(page, "an inline script names an address on another host to load from")

    def links(self, page: Path, soup: BeautifulSoup) -> None:
        """Each link inside the site has a page and an anchor at its end."""
        for element in soup.find_all("a", href=True):
            address = element["href"]
            if not is_local(address):
                continue
            if address.startswith("/"):
                self.problem(page, f"a link from the top of the host, where the site need not be: {address}")
                continue
            file, anchor = self.target(page, address), unquote(urlsplit(address).fragment)
            if not file.is_file():
                self.problem(page, f"a link leads nowhere: {address}")
            elif setting := EXPLORER_LINK.fullmatch(anchor):  # "#digits:lam=0.03" moves a slider
                if setting[1] not in self.explorers.get(file, ()):
                    self.problem(page, f"a link to an explorer that is not there: {address}")
            elif anchor and file in self.ids and anchor not in self.ids[file]:
                self.problem(page, f"a link to an anchor that is not there: {address}")

    def images(self, page: Path, soup: BeautifulSoup) -> None:
        """Each image says in words what it shows; an empty text is for ornaments that say so."""
        for image in soup.find_all("img"):
            self.report.images += 1
            alt, source = image.get("alt"), image.get("src", "")
            if alt is None:
                self.problem(page, f"an image without alternative text: {source}")
            elif not alt.strip():
                if image.get("role") != "presentation" and image.get("aria-hidden") != "true":
                    self.problem(page, f"an image with empty alternative text: {source}")
            elif HASH_LIKE.search(alt.strip()) or alt.strip() == source:
                self.problem(page, f"an image whose alternative text is a file name: {alt}")

    def widgets(self, page: Path, soup: BeautifulSoup) -> None:
        """Each widget has its state in the page and a picture before it."""
        state = self.state(soup)
        for view in soup.find_all("script", type=VIEW):
            self.report.widgets += 1
            model = json.loads(view.string or "{}").get("model_id")
            if model not in state:
                self.problem(
                    page, f"a widget without state ({model}): run `make execute`, commit results/widgets/"
                )
            before = view.find_previous_sibling()
            if not (
                isinstance(before, Tag)
                and "widget-fallback" in before.get("class", [])
                and before.find("img")
            ):
                self.problem(page, f"a widget without a static picture ({model})")

    def machine_paths(self, page: Path) -> None:
        """No path of the machine that built or executed is left over."""
        for found in sorted(set(MACHINE_PATH.findall(page.read_text("utf-8")))):
            self.problem(page, f"a path of the building machine: {found}")

    def weight(self, page: Path, soup: BeautifulSoup) -> None:
        """The page with its scripts, styles and images stays light."""
        files = {page}
        for element, address in loaded(soup):
            if is_local(address) and element.get("loading") != "lazy":
                files.add(self.target(page, address))
        total = sum(self.size(f) for f in files if f.is_file())
        self.report.weights[page.relative_to(self.site).as_posix()] = total
        if total > self.max_bytes:
            self.problem(page, f"loads {total / 1e6:.2f} MB, more than {self.max_bytes / 1e6:.2f} MB")


def check(site: Path, max_bytes: int = MAX_BYTES) -> Report:
    """Check a site.

    Parameters
    ----------
    site : pathlib.Path
        Folder with the built HTML.
    max_bytes : int
        Limit for a page with all that it loads at first, compressed.

    Returns
    -------
    Report
        Problems, weights and counts.
    """
    return SiteCheck(site, max_bytes).run()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Check a built site without a browser.")
    parser.add_argument("site", nargs="?", type=Path, default=SITE)
    report = check(parser.parse_args().site)
    say(report.text())
    raise SystemExit(bool(report.problems))


if __name__ == "__main__":
    main()
