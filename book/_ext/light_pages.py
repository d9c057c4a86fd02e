"""Let a page show its text first, and load what it needs only.

The theme and the extensions write their tags for the general case.  In the finished pages

- scripts that nothing on the page uses go: Font Awesome's icons as a script of 540 kB (the style sheet draws
  them, also without JavaScript), and the index of the search on every page but the one that searches;
- all other scripts wait until the text stands (``defer``); mathematics and widgets come last and start after
  the first paint (``first-paint.js``);
- pictures say how large they are, so that nothing moves when they arrive, and shrink in proportion on a
  narrow page; all but the first are fetched when the reader comes near, and of a pair for a light and a dark
  page the one that is shown.  Without JavaScript browsers fetch all of them at once;
- the button that downloads a page's source does so (``download``): where a server names the type of a
  notebook the browser would show its JSON.

The order of the scripts stays as it was within both groups.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

SCRIPT = re.compile(r'[ \t]*<script\b(?P<attributes>[^>]*\bsrc="(?P<src>[^"]*)"[^>]*)></script>\n?')
PRELOAD = re.compile(r'[ \t]*<link\b[^>]*rel="preload"[^>]*as="script"[^>]*>\n?')
WAITS = re.compile(r"\b(?:defer|async)\b|type=\"module\"")
ICONS = "scripts/fontawesome.js"
SEARCH = ("_static/searchtools.js", "_static/language_data.js", "searchindex.js")
LAST = ("mathjax", "widgets-offline.js")  # what makes a page come alive that can be read already
# Assigned to an object that a deferred script makes. The first serves the theme's list of versions, the
# second is its search while one types; the book has neither, and undefined counts as false.
UNUSED_OPTIONS = ("DOCUMENTATION_OPTIONS.pagename =", "DOCUMENTATION_OPTIONS.search_as_you_type = false")
IMAGE = re.compile(r"<img\b(?P<attributes>[^>]*?)\s*/?>")
SIZE_STYLE = re.compile(r'\s*style="width: (?P<width>\d+)px;\s*height: (?P<height>\d+)px;?"')
ATTRIBUTE = re.compile(r'\b(?P<name>src|width|height|loading)="(?P<value>[^"]*)"')
DOWNLOAD = re.compile(r'(<a href="[^"]*") target="_blank"(\s+class="btn btn-sm btn-download-source-button)')
ARTICLE = '<article class="bd-article"'


def drop_unused_options(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Remove the inline scripts that would need a script which is now deferred."""
    scripts = context.get("script_files", [])
    for script in list(scripts):
        body = (getattr(script, "attributes", None) or {}).get("body") or ""
        if body.startswith(UNUSED_OPTIONS):
            scripts.remove(script)


def sort_scripts(page: str, *, searches: bool) -> str:
    """Take out the scripts that a page does not use, and let the others wait for its text.

    Parameters
    ----------
    page : str
        The HTML.
    searches : bool
        Whether the page is the one that searches.

    Returns
    -------
    str
        The HTML with the other scripts deferred, those in `LAST` at the end of the body.
    """
    last: list[str] = []

    def place(match: re.Match[str]) -> str:
        source = match["src"].partition("?")[0]
        if ICONS in source or (source.endswith(SEARCH) and not searches):
            return ""
        tag = match[0]
        if not WAITS.search(match["attributes"]):
            tag = tag.replace("<script", "<script defer", 1)
        if any(name in source for name in LAST):
            last.append(tag)
            return ""
        return tag

    page = SCRIPT.sub(place, PRELOAD.sub("", page))
    head, end, tail = page.rpartition("</body>")
    return head + "".join(last) + end + tail


@cache
def picture_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a picture in pixels, or None for a format without pixels."""
    if file.suffix not in (".png", ".jpg", ".jpeg", ".gif", ".webp") or not file.is_file():
        return None
    with Image.open(file) as picture:
        return picture.size


def size_pictures(page: str, folder: Path) -> str:
    """Give the pictures of a page their size, and fetch all but the article's first one late.

    Parameters
    ----------
    page : str
        The HTML.
    folder : pathlib.Path
        Where the page lies; the addresses of its pictures start there.

    Returns
    -------
    str
        The HTML; a size that was a style is an attribute now, which ``max-width`` and ``height: auto`` in a
        style sheet overrule.
    """
    start, first = page.find(ARTICLE), True

    def mend(match: re.Match[str]) -> str:
        nonlocal first
        attributes = match["attributes"]
        given = {found["name"]: found["value"] for found in ATTRIBUTE.finditer(attributes)}
        style, extra = SIZE_STYLE.search(attributes), ""
        if style:
            attributes, size = SIZE_STYLE.sub("", attributes), (style["width"], style["height"])
        else:
            size = picture_size((folder / given.get("src", "")).resolve())
        if size and "width" not in given and "height" not in given:
            extra += f' width="{size[0]}" height="{size[1]}"'
        in_article = match.start() > start >= 0
        alone = "only-light" not in attributes and "only-dark" not in attributes
        if size and "loading" not in given and not (in_article and first and alone):
            extra += ' loading="lazy" decoding="async"'
        first = first and not in_article
        return f"<img{attributes}{extra} />"

    return IMAGE.sub(mend, page)


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Rewrite all finished pages, and remove the icon script."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for file in out.rglob("*.html"):
        if file.relative_to(out).parts[0] in ("_static", "vendor"):
            continue
        page = file.read_text("utf-8")
        lighter = sort_scripts(page, searches=file.stem == "search")
        lighter = size_pictures(lighter, file.parent)
        lighter = DOWNLOAD.sub(r"\1 download\2", lighter)
        if lighter != page:
            file.write_text(lighter, "utf-8")
    for file in (out / "_static" / "scripts").glob("fontawesome.js*"):
        file.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("first-paint.js", priority=200)  # before MathJax, which reads what it sets
    app.connect("html-page-context", drop_unused_options, priority=900)  # after the theme has added them
    app.connect("build-finished", lighten)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
