"""Make files of the built site: ``python book/_tools/export.py zip`` and ``… pdf``.

- *zip*: the site in one archive that is opened without a server.  The same site gives the same bytes.
- *pdf*: the pages of the table of contents, one after the other, as one document that Chromium prints at
  once, so that links between chapters lead to pages, headings become bookmarks, and the structure that
  screen readers need is kept.  Solutions and answers are open, code that the pages fold away is left out,
  and widgets show the picture that readers without JavaScript see.

Both need the site (``make book``); the PDF needs what the tests need (``make test`` installs it).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import html
import os
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

import check_site
import chromium
from common import BOOK, BUILD, ROOT, SITE, say, stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DIST = BUILD / "dist"
NAME = "l2-book"
VERSION = re.compile(r'(?m)^__version__ = "([^"]+)"$')

# ---- the book and its parts --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edition:
    """What a title page says.

    Attributes
    ----------
    title, author, version : str
        As ``_config.yml`` and the package give them.
    date : datetime.datetime
        Of the last commit, or what ``SOURCE_DATE_EPOCH`` says; in UTC.
    licences : str
        HTML of the lines at the foot of each page.
    """

    title: str
    author: str
    version: str
    date: datetime.datetime
    licences: str

    @property
    def day(self) -> str:
        """The date in words."""
        return f"{self.date.day} {self.date:%B %Y}"


@dataclass(frozen=True)
class Part:
    """A part of the table of contents: its caption (the first has none) and the names of its pages."""

    caption: str
    names: tuple[str, ...]


def edition_date() -> datetime.datetime:
    """Return the date of the text: the same each time that the same text is exported."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        command = ["git", "log", "-1", "--format=%ct"]
        try:
            seconds = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        except OSError:  # no git
            seconds = ""
    if not seconds:
        stop("When was this text written? It is no git checkout; say SOURCE_DATE_EPOCH=$(date +%s).")
    try:
        return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    except ValueError:
        stop(f"SOURCE_DATE_EPOCH={seconds!r} is no number of seconds since 1970.")


def read_edition() -> Edition:
    """Return what the configuration, the package and the history say about this edition."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    version = VERSION.search((BOOK / "l2lab" / "__init__.py").read_text("utf-8"))[1]
    return Edition(config["title"], config["author"], version, edition_date(), config["html"]["extra_footer"])


def files_in(node: Any) -> Iterator[str]:
    """Yield the pages below a node of ``_toc.yml``, in their order."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "file":
                yield value
            elif isinstance(value, list):
                yield from files_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from files_in(item)


def read_parts() -> list[Part]:
    """Return the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    named = [Part(part.get("caption", ""), tuple(files_in(part))) for part in toc["parts"]]
    return [Part("", (toc["root"],)), *named]


def need_site(site: Path) -> None:
    """End with a message if the site is not built."""
    if not (site / "index.html").is_file():
        stop("The book is not built yet: make book")


# ---- the archive -------------------------------------------------------------------------------------------

INSTRUCTIONS = Template("""\
$title
Version $version, $day

TO READ: unpack this archive and open index.html in a browser. No server and no network is needed.

Pages opened as files have text, pictures, formulas, sliders, both themes and the search. One thing differs
from the same pages on a server: the search lists titles without the sentences around the words, since
browsers do not let a page opened as a file read others. (Tried with Chromium and Firefox.)

TO PUBLISH: copy the folder to any static host, at any address; nothing has to be set up.$links

LICENCES: $licences
""")


def plain(markup: str) -> str:
    """Return the words of a piece of HTML on one line."""
    return " ".join(BeautifulSoup(markup, "html.parser").get_text().split())


def published_address(site: Path) -> str:
    """Return the address for which the site was built, with a slash at its end; empty if it has none."""
    search = BeautifulSoup((site / "search.html").read_text("utf-8"), "html.parser")
    link = search.find("link", rel="canonical")
    return link["href"].removesuffix("search.html") if link else ""


def write_zip(site: Path, out: Path, edition: Edition) -> Path:
    """Pack a site into an archive: one folder, sorted, with one time for all files.

    Parameters
    ----------
    site : pathlib.Path
        Folder with the built HTML.
    out : pathlib.Path
        The archive; it is replaced.
    edition : Edition
        Gives the folder's name, the instructions and the time.

    Returns
    -------
    pathlib.Path
        The archive.
    """
    words = vars(edition) | {"day": edition.day, "address": published_address(site)}
    words["links"] = f" The links of\n404.html lead to {words['address']}" if words["address"] else ""
    words["licences"] = plain(edition.licences)
    contents = {"README.txt": INSTRUCTIONS.substitute(words).encode()}
    for path in site.rglob("*"):
        if path.is_file() and path.name != ".buildinfo":  # Sphinx's own memory
            contents[path.relative_to(site).as_posix()] = path.read_bytes()
    folder = f"{NAME}-{edition.version}"
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(contents.items()):
            info = zipfile.ZipInfo(f"{folder}/{name}", edition.date.timetuple()[:6])
            info.create_system = 3  # so that the next line means permissions, on any system
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return out


# ---- one document of all pages -----------------------------------------------------------------------------

BOOK_PAGE = Template("""\
<!DOCTYPE html>
<html lang="$lang" data-theme="light" data-mode="light">
<head>
<meta charset="utf-8">
<title>$title</title>
$head
</head>
<body class="whole-book">
<header class="title-page">
<p class="title">$title</p>
<p class="author">$author</p>
<p>Version $version, $day</p>
<div class="licences">$licences</div>
$pages
<p class="how">In this edition all solutions and answers are open, and each slider shows a few of its
positions. Code that the pages fold away is left out; the notebooks have it.</p>
</header>
<nav class="chapters">
<h1>Contents</h1>
$contents
</nav>
<main class="bd-content">
$body
</main>
</body>
</html>
""")
PAGES = '<p>The pages, with sliders that move: <a href="{0}">{0}</a></p>'
# What only a page on a screen has.  Folded code is printed nowhere (the notebooks have it).
ON_SCREEN = "script, button, .headerlink, details.hide, .widget-live, .toctree-wrapper"
REFERRING = ("for", "headers", "aria-labelledby", "aria-describedby", "aria-controls")


class Merger:
    """Puts pages of a site one after the other into one document.

    Parameters
    ----------
    site : pathlib.Path
        Folder with the built HTML.
    names : list of str
        The pages, in order, without ``.html``.
    """

    def __init__(self, site: Path, names: list[str]) -> None:
        self.site = site.resolve()
        self.address = published_address(site)
        self.pages = {name: self.read(name) for name in names}
        self.articles = {name: page.select_one("article.bd-article") for name, page in self.pages.items()}
        self.ids = {name: {e["id"] for e in a.find_all(id=True)} for name, a in self.articles.items()}

    def read(self, name: str) -> BeautifulSoup:
        """Parse a page."""
        path = self.site / f"{name}.html"
        if not path.is_file():
            stop(f"{name} stands in the table of contents and not in the site; build it anew: make book")
        return BeautifulSoup(path.read_text("utf-8"), "html.parser")

    @staticmethod
    def key(name: str, anchor: str = "") -> str:
        """Return the id, in the document, of a page or of an anchor in it."""
        return re.sub(r"\W", "-", name) + (f"--{anchor}" if anchor else "")

    def title(self, name: str) -> str:
        """Return a page's title as HTML, formulas included, without links and ids."""
        title = BeautifulSoup(str(self.articles[name].find("h1")), "html.parser").h1
        for extra in title.select(".headerlink"):
            extra.decompose()
        for link in title.find_all(["a", "span"], id=True):
            del link["id"]
        return title.decode_contents().strip()

    def head(self) -> str:
        """Return the style sheets of the pages, and the typesetter if one of them has formulas."""
        found: dict[str, None] = {}
        for name, page in self.pages.items():
            for link in page.head.find_all("link", rel="stylesheet"):
                link["href"] = self.file(name, link["href"])
                found[str(link)] = None
        for name, page in self.pages.items():
            engine = page.find("script", src=re.compile("mathjax"))  # at the end, where it waits for the text
            if engine:
                settings = page.find("script", string=re.compile(r"window\.MathJax\s*="))
                engine["src"] = self.file(name, engine["src"])
                found |= {str(settings or ""): None, str(engine): None}
                break
        return "\n".join(found)

    def file(self, name: str, address: str) -> str:
        """Return the address of a file that a page loads."""
        return ((self.site / name).parent / unquote(urlsplit(address).path)).resolve().as_uri()

    def link(self, name: str, address: str) -> str | None:
        """Return where a link of a page leads in the document, or on the published site if there is one."""
        if not check_site.is_local(address):
            return address
        parts = urlsplit(address)
        site = self.address or "https://localhost/"
        base = f"{site}{quote(name)}.html"
        target = unquote(urlsplit(urljoin(base, address)).path).removeprefix(urlsplit(site).path)
        other, anchor = target.removesuffix(".html"), unquote(parts.fragment)
        if other in self.articles and (not anchor or anchor in self.ids[other]):
            return f"#{self.key(other, anchor)}"
        return urljoin(base, address) if self.address else None  # also a link that moves a slider

    def article(self, name: str) -> Tag:
        """Return a page's article, ready to stand beside others."""
        article = self.articles[name]
        for extra in article.select(ON_SCREEN):
            extra.decompose()
        for element in article.find_all(True):
            if element.get("id"):
                element["id"] = self.key(name, element["id"])
            for attribute in REFERRING:
                if element.get(attribute):
                    value = element[attribute]
                    ids = value if isinstance(value, list) else value.split()
                    element[attribute] = " ".join(self.key(name, one) for one in ids)
            if element.name == "a" and element.get("href"):
                if (target := self.link(name, element["href"])) is None:
                    del element["href"]  # its words stay
                else:
                    element["href"] = target
            if element.name == "img":
                element["src"] = self.file(name, element["src"])
                del element["loading"]
            if element.name == "details":
                element["open"] = ""
        article["id"] = self.key(name)
        return article

    def contents(self, parts: list[Part]) -> str:
        """Return the list of chapters; a page number goes into each ``<span class="page">``."""
        lines = []
        for part in parts:
            if part.caption:
                lines.append(f"<p>{html.escape(part.caption)}</p>")
            items = (
                f'<li><a href="#{self.key(name)}"><span class="name">{self.title(name)}</span>'
                f'<span class="page" data-key="{self.key(name)}">000</span></a></li>'
                for name in part.names
            )
            lines.append(f"<ul>{''.join(items)}</ul>")
        return "\n".join(lines)

    def document(self, parts: list[Part], edition: Edition) -> str:
        """Return the whole document as HTML."""
        first = next(iter(self.pages.values()))
        contents, head = self.contents(parts), self.head()
        return BOOK_PAGE.substitute(
            lang=first.html.get("lang", "en"),
            title=html.escape(edition.title),
            author=html.escape(edition.author),
            version=edition.version,
            day=edition.day,
            licences=edition.licences,
            pages=PAGES.format(self.address) if self.address else "",
            head=head,
            contents=contents,
            body="\n".join(str(self.article(name)) for name in self.pages),
        )


# ---- the PDF -----------------------------------------------------------------------------------------------

PRINT = {"prefer_css_page_size": True, "print_background": True, "outline": True, "tagged": True}
SET_NUMBERS = """numbers => { for (const e of document.querySelectorAll('.chapters .page'))
  e.textContent = numbers[e.dataset.key] ?? '000'; }"""
HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
  .map(e => e.textContent.trim().replace(/\\s+/g, ' '))"""


def page_numbers(pdf: Path, keys: list[str]) -> dict[str, int]:
    """Return the page, counted from one, on which each anchor of a printed document stands."""
    import pikepdf

    with pikepdf.open(pdf) as printed:
        places = {name.removeprefix("/"): place for name, place in printed.Root.get("/Dests", {}).items()}
        missing = [key for key in keys if key not in places]
        if missing:
            stop(f"The printed document has no place for {', '.join(missing)}; did Chromium print all of it?")
        return {key: pikepdf.Page(places[key][0]).index + 1 for key in keys}


def print_document(page: Page, document: Path, out: Path, keys: list[str]) -> list[str]:
    """Print a document with page numbers in its table of contents.

    The first print tells the numbers; the second has them.

    Returns
    -------
    list of str
        The document's headings, in their order.
    """
    page.emulate_media(media="print", color_scheme="light")
    numbers: dict[str, int] = {}
    for _ in range(3):
        # Loaded anew: printed again, a page is now and then divided at other places.
        page.goto(document.as_uri(), wait_until="load", timeout=300_000)
        page.evaluate("() => window.MathJax?.startup?.promise.then(() => null)")
        page.evaluate("() => document.fonts.ready.then(() => null)")
        page.evaluate(SET_NUMBERS, numbers)
        page.pdf(path=out, **PRINT)
        found = page_numbers(out, keys)
        if found == numbers:
            break
        numbers = found
    else:
        stop("The page numbers of the table of contents do not settle.")
    return page.evaluate(HEADINGS)


def bookmarks(items: list[Any]) -> Iterator[Any]:
    """Yield bookmarks and those below them, in the order of the pages."""
    for item in items:
        yield item
        yield from bookmarks(item.children)


def finish_pdf(path: Path, edition: Edition, headings: list[str]) -> int:
    """Put right what Chromium says about a PDF, and pack it; return the number of pages.

    The metadata become those of the title page.  Bookmarks get the words of their headings: Chromium repeats
    those of headings at the top of a page.  Packed objects take half of the space, since each word of the
    structure for screen readers is an object.
    """
    import pikepdf

    moment = f"D:{edition.date:%Y%m%d%H%M%S}Z"
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        with pdf.open_outline() as outline:
            marks = list(bookmarks(outline.root))
            if len(marks) != len(headings):
                stop(f"The PDF has {len(marks)} bookmarks for {len(headings)} headings.")
            for mark, words in zip(marks, headings, strict=True):
                mark.title = words
        pdf.trailer["/Info"] = pdf.make_indirect(
            pikepdf.Dictionary(
                Title=edition.title,
                Author=edition.author,
                Subject=f"Version {edition.version}. {plain(edition.licences)}",
                CreationDate=moment,
                ModDate=moment,
            )
        )
        pdf.Root.PageMode = pikepdf.Name.UseOutlines
        pages = len(pdf.pages)
        pdf.save(path, object_stream_mode=pikepdf.ObjectStreamMode.generate, deterministic_id=True)
    return pages


@contextlib.contextmanager
def started_browser() -> Iterator[Browser]:
    """Start Chromium, or say what is missing."""
    try:
        import pikepdf  # noqa: F401
        from playwright.sync_api import sync_playwright
    except ImportError as missing:
        stop(f"The PDF needs {missing.name}: pip install -r requirements-test.txt")
    path = chromium.find()
    if path is None:
        stop("The PDF needs Chromium, and none was found: python book/_tools/chromium.py")
    # As root (in a container) Chromium has no sandbox to offer.
    arguments = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def write_pdf(browser: Browser, site: Path, out: Path, parts: list[Part], edition: Edition) -> int:
    """Print pages of a site as one PDF.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
        A Chromium.
    site : pathlib.Path
        Folder with the built HTML.
    out : pathlib.Path
        The file; it is replaced.
    parts : list of Part
        The pages in their order.
    edition : Edition
        What the title page says.

    Returns
    -------
    int
        The number of pages.
    """
    names = [name for part in parts for name in part.names]
    merger = Merger(site, names)
    out.parent.mkdir(parents=True, exist_ok=True)
    document = out.with_suffix(".print.html")
    document.write_text(merger.document(parts, edition), "utf-8")
    page = browser.new_page()
    headings = print_document(page, document, out, [merger.key(name) for name in names])
    page.close()
    document.unlink()
    return finish_pdf(out, edition, headings)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make an archive or a PDF of the built book.")
    parser.add_argument("what", choices=["zip", "pdf"])
    what = parser.parse_args().what
    need_site(SITE)
    edition, began = read_edition(), time.monotonic()
    if what == "zip":
        out = write_zip(SITE, DIST / f"{NAME}-{edition.version}-html.zip", edition)
        amount = f"{len(zipfile.ZipFile(out).namelist())} files"
    else:
        out = DIST / f"{NAME}-{edition.version}.pdf"
        with started_browser() as browser:
            amount = f"{write_pdf(browser, SITE, out, read_parts(), edition)} pages"
    size, seconds = out.stat().st_size / 1e6, time.monotonic() - began
    say(f"{out.relative_to(ROOT)}: {amount}, {size:.1f} MB ({seconds:.0f} s)")


if __name__ == "__main__":
    main()
