"""Make files of the built site, in ``_build/dist``: the pages as a zip, and as one PDF that Chromium prints.

Jupyter Book's ``pdfhtml`` waits for no formula, opens no solution and writes no bookmarks.  Here the articles
of all pages stand one after the other, without what only a screen has: links lead from page to page.
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from string import Template
from urllib.parse import unquote, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

import chromium
from common import BUILD, ROOT, SITE, say, stop
from l2lab import __version__
from repository import home, pages

NOWHERE = "https://localhost/"  # as long as the book is not published
NAME = f"l2-book-{__version__}"
# Folded code is printed nowhere (the notebooks have it).
ON_SCREEN = "script, button, .headerlink, details.hide, .widget-live, .toctree-wrapper, .only-dark"
DOCUMENT = Template("""\
<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head><meta charset="utf-8"><title>$title</title>
$head
</head>
<body class="whole-book">
<header class="title-page"><p class="title">$title</p><p class="author">$author</p>
<p>Version $version</p>$licences$address
<p class="how">Here all solutions and answers are open, and each slider shows a few of its positions.
Code that the pages fold away is left out; the notebooks have it.</p></header>
<nav class="chapters"><h1>Contents</h1>$contents</nav>
<main class="bd-content">$body</main>
</body></html>
""")


def key(name: str, anchor: str = "") -> str:
    """Return the id, in the document, of a page or of an anchor in it."""
    return re.sub(r"\W", "-", name) + (f"--{anchor}" if anchor else "")


def link(name: str, address: str, ids: dict[str, set[str]], published: str) -> str:
    """Return where a link of a page leads in the document, or on the published site if it leaves that."""
    target = urljoin(f"{published}{name}.html", address)
    parts = urlsplit(target)
    other = unquote(parts.path).removeprefix(urlsplit(published).path).removesuffix(".html")
    if target.startswith(published) and other in ids and unquote(parts.fragment) in {"", *ids[other]}:
        return f"#{key(other, unquote(parts.fragment))}"
    return target


def prepare(article: Tag, name: str, ids: dict[str, set[str]], published: str) -> str:
    """Let an article stand beside others, on paper."""
    for extra in article.select(ON_SCREEN):
        extra.decompose()
    for element in article.find_all(id=True):
        element["id"] = key(name, element["id"])
    for element in article.find_all("a", href=True):
        element["href"] = link(name, element["href"], ids, published)
        if element["href"].startswith(NOWHERE):
            del element["href"]  # its words stay
    for element in article.find_all("img"):
        element["src"] = urljoin(f"{name}.html", element["src"])
        del element["loading"]
    for element in article.find_all("details"):
        element["open"] = ""
    article["id"] = key(name)
    return str(article)


def document(site: Path, names: list[str]) -> str:
    """Put pages of a site (their names without ``.html``) one after the other into one HTML document."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    published = pages(home()) if home() else NOWHERE
    read = {name: BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser") for name in names}
    articles = {name: page.select_one("article.bd-article") for name, page in read.items()}
    ids = {name: {element["id"] for element in a.find_all(id=True)} for name, a in articles.items()}
    titles = {name: html.escape(article.h1.get_text().rstrip("#")) for name, article in articles.items()}
    name, first = next(pair for pair in read.items() if pair[1].select('script[src*="mathjax"]'))
    head = first.find_all("script", string=re.compile(r"window\.MathJax\s*="))
    for element in first.select("link[rel~=stylesheet], script[src*=mathjax], script[src*=first-paint]"):
        where = "href" if element.name == "link" else "src"
        element[where] = urljoin(f"{name}.html", element[where])
        head.append(element)
    pages_at = f'<p>The pages, with sliders that move: <a href="{published}">{published}</a></p>'
    return DOCUMENT.substitute(
        title=html.escape(config["title"]), author=html.escape(config["author"]), version=__version__,
        licences=config["html"]["extra_footer"], address=pages_at * (published != NOWHERE),
        head="\n".join(map(str, head)),
        contents="".join(f'<p><a href="#{key(name)}">{title}</a></p>' for name, title in titles.items()),
        body="\n".join(prepare(article, name, ids, published) for name, article in articles.items()),
    )  # fmt: skip


def write_pdf(page: object, site: Path, names: list[str], out: Path) -> None:
    """Print pages of a site as one PDF, in a page of Playwright's."""
    source = site / "whole-book.html"  # there, so that what it loads is found
    source.write_text(document(site, names), "utf-8")
    page.goto(source.as_uri(), wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise.then(() => document.fonts.ready).then(() => null)")
    page.pdf(path=out, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    source.unlink()


def main() -> None:
    """Write both files."""
    from playwright.sync_api import sync_playwright

    if not (SITE / "index.html").is_file():
        stop("The book is not built yet: make book")
    out = BUILD / "dist"
    out.mkdir(parents=True, exist_ok=True)
    shutil.make_archive(str(out / f"{NAME}-html"), "zip", SITE)
    toc = (ROOT / "_toc.yml").read_text("utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.install(), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(600_000)
        write_pdf(page, SITE, re.findall(r"(?m)^\s*(?:root|- file): (\S+)", toc), out / f"{NAME}.pdf")
        browser.close()
    say(f"Written: {out.relative_to(ROOT)}/{NAME}-html.zip and {NAME}.pdf")


if __name__ == "__main__":
    main()
