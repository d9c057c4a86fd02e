"""What a published site needs around its pages: descriptions and cards in the heads, files at the root.

- Every page gets a description (its first paragraph), the address under which it is published, and the tags
  of Open Graph and Twitter, from which other sites make a preview.
- ``sitemap.xml`` lists all documents, and ``robots.txt`` names it.
- ``404.html`` is what GitHub Pages shows at any address that does not exist.  It stands alone: no scripts, no
  style sheet, and links that work at any depth.
- ``index.html`` leads to the first page, if that has another name, and has its tags: the bare address is the
  one that people share.

Addresses are absolute.  They come from ``repository: url:`` in ``_config.yml``, so that a fork's book points
to itself; ``html: baseurl:``, if given, wins (a domain of one's own).  They are only named: nothing is loaded
from there.  As long as there is neither, only descriptions and the start page are made, and without a
repository no button leads to one or to Colab.
"""

from __future__ import annotations

import html
import re
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path
from string import Template
from typing import Any

from docutils import nodes
from markupsafe import Markup
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError
from sphinx.util import logging

sys.path.append(str(Path(__file__).resolve().parents[1] / "_tools"))  # after all others: it shadows nothing

from set_repository import ADDRESS, pages

logger = logging.getLogger(__name__)

BUILDERS = ("html", "dirhtml")
LONGEST = 160  # characters of a description that search engines show
CARD = "card.png"
CARD_SIZE = (1200, 630)
CARD_ALT = (
    "The book's title beside two histograms of 100 weights on a logarithmic axis. With L2 on the weights "
    "there is one heap; with L2 on three factors of each weight the histogram splits in two."
)
REPOSITORY_BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")
UNSPOKEN = (nodes.raw, nodes.image, nodes.footnote_reference, nodes.comment, nodes.system_message)
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"  # the name of the format, not an address to load

# The links are whole addresses: relative ones would depend on the depth at which the reader went astray.
NOT_FOUND = Template("""\
<!DOCTYPE html>
<html lang="$lang">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Page not found – $book</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --text: #1f2328; --link: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181e; --text: #ced6dd; --link: #7cb8f2; } }
body { background: var(--ground); color: var(--text); font: 1.125rem/1.6 system-ui, sans-serif; margin: 0; }
main { box-sizing: border-box; margin: 0 auto; max-width: 40rem; padding: 18vh 1.5rem 3rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; }
a { color: var(--link); }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 3px; }
</style>
</head>
<body>
<main>
<h1>This page does not exist</h1>
<p>The address may be misspelled, or the page may have moved.</p>
<ul>
<li><a href="$home">Start page: $book</a></li>
<li><a href="$search">Search the book</a></li>
</ul>
</main>
</body>
</html>
""")
START = Template("""\
<!DOCTYPE html>
<html lang="$lang">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=$first">
<title>$book</title>
$canonical
$tags
</head>
<body>
<main>
<h1>$book</h1>
<p><a href="$first">Read the book</a></p>
</main>
</body>
</html>
""")
TAGS = re.compile(r'<meta (?:name="description"|name="twitter:|property="og:)[^>]*>')


def set_address(app: Sphinx, config: Config) -> None:
    """Give Sphinx the address of the published site, if there is one, from which it makes canonical links.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    config : sphinx.config.Config
        The configuration; ``html_baseurl`` gets a slash at its end.  Without a repository its buttons go.

    Raises
    ------
    sphinx.errors.ConfigError
        If the repository is not one on GitHub.
    """
    options = config.html_theme_options
    repository = options.get("repository_url") or ""
    if not repository:
        options.update(dict.fromkeys(REPOSITORY_BUTTONS, False), launch_buttons={})
    elif not ADDRESS.fullmatch(repository):
        raise ConfigError(
            f"repository: url: in _config.yml is {repository!r}; it must be https://github.com/OWNER/NAME: "
            "run make address"
        )
    base = config.html_baseurl or (pages(repository) if repository else "")
    config.html_baseurl = base and base.rstrip("/") + "/"


def check_card(app: Sphinx) -> None:
    """Warn if the picture that every page names as its card is missing."""
    folders = [Path(app.confdir) / folder for folder in app.config.html_static_path]
    if app.builder.name in BUILDERS and not any((folder / CARD).is_file() for folder in folders):
        logger.warning(
            "no %s in html_static_path: put the card of the book there (%d×%d pixels)",
            CARD,
            *CARD_SIZE,
            type="l2book",
            subtype="card",
        )


def plain_text(node: nodes.Element) -> str:
    """Return the words of a node on one line, without pictures, raw HTML and footnote marks."""
    node = node.deepcopy()
    for part in list(node.findall(lambda n: isinstance(n, UNSPOKEN))):
        if part.parent is not None:
            part.parent.remove(part)
    return " ".join(node.astext().split())


def shorten(text: str, longest: int = LONGEST) -> str:
    """Cut a text at a word, with an ellipsis, if it is longer than a number of characters."""
    return textwrap.shorten(text, longest, placeholder="…", break_on_hyphens=False)


def own_description(doctree: nodes.document) -> str:
    """Return the description that the page's author has written (``html_meta`` in MyST), or nothing."""
    metas = doctree.findall(nodes.meta)
    return next((meta["content"] for meta in metas if meta.get("name") == "description"), "")


def first_words(doctree: nodes.document) -> str:
    """Return a page's first paragraph of running text, shortened; empty if there is none.

    Parameters
    ----------
    doctree : docutils.nodes.document
        The resolved page.  Paragraphs in boxes, quotes, lists, captions and API entries are no running text.

    Returns
    -------
    str
        At most 160 characters on one line.
    """
    paragraphs = (
        plain_text(paragraph)
        for paragraph in doctree.findall(nodes.paragraph)
        if isinstance(paragraph.parent, nodes.section | nodes.document)
    )
    return shorten(next(filter(None, paragraphs), ""))


def tag(key: str, name: str, content: str | int) -> str:
    """Return one ``<meta>`` element."""
    return f'<meta {key}="{name}" content="{html.escape(str(content))}" />'


def add_tags(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Write description, canonical address and cards into the head of a page."""
    if app.builder.name not in BUILDERS:
        return
    base, book = app.config.html_baseurl, app.config.html_title
    title = Markup(context.get("title") or book).striptags()
    written = own_description(doctree) if doctree else ""  # Sphinx has already put it into the head
    found = first_words(doctree) if doctree else ""
    description = written or found or shorten(" – ".join(dict.fromkeys([title, book])))
    address = context["pageurl"] = base and base + app.builder.get_target_uri(pagename)
    is_part = doctree is not None and pagename != app.config.root_doc
    tags = [
        tag("property", "og:site_name", book),
        tag("property", "og:type", "article" if is_part else "website"),
        tag("property", "og:title", title),
        tag("property", "og:description", description),
    ]
    if base:
        tags += [
            tag("property", "og:url", address),
            tag("property", "og:image", f"{base}_static/{CARD}"),
            tag("property", "og:image:width", CARD_SIZE[0]),
            tag("property", "og:image:height", CARD_SIZE[1]),
            tag("property", "og:image:alt", CARD_ALT),
            tag("name", "twitter:card", "summary_large_image"),
        ]  # Twitter reads the others from og:…
    if not written:
        tags.insert(0, tag("name", "description", description))
    context["metatags"] = "\n    ".join([context.get("metatags") or "", *tags, ""])


def write_root_files(app: Sphinx, error: Exception | None) -> None:
    """Write the files at the root, from all documents, not only those just built."""
    if error or app.builder.name not in BUILDERS:
        return
    base, out, address_of = app.config.html_baseurl, Path(app.outdir), app.builder.get_target_uri
    words = {
        "lang": app.config.language.replace("_", "-"),
        "book": app.config.html_title,
        "home": base,
        "search": base + address_of("search"),
        "first": address_of(app.config.root_doc),
        "canonical": base and f'<link rel="canonical" href="{base}{address_of(app.config.root_doc)}">',
    }
    words = {name: word if name == "canonical" else html.escape(word) for name, word in words.items()}
    if base:
        urls = ET.Element("urlset", xmlns=SITEMAP)
        for document in sorted(app.env.found_docs):
            ET.SubElement(ET.SubElement(urls, "url"), "loc").text = base + address_of(document)
        ET.indent(urls)
        ET.ElementTree(urls).write(out / "sitemap.xml", encoding="utf-8", xml_declaration=True)
        (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\n\nSitemap: {base}sitemap.xml\n", "utf-8")
        (out / "404.html").write_text(NOT_FOUND.substitute(words), "utf-8")
    if app.config.root_doc != "index":
        first = Path(app.builder.get_outfilename(app.config.root_doc)).read_text("utf-8")
        tags = "\n".join(TAGS.findall(first.partition("</head>")[0]))
        (out / "index.html").write_text(START.substitute(words, tags=tags), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", set_address)
    app.connect("builder-inited", check_card)
    app.connect("html-page-context", add_tags, priority=900)  # after those that change title and metatags
    app.connect("build-finished", write_root_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
