"""Let a page show its text first, and load what it needs only.

No library does this: theme and extensions write their tags for the general case, and programs that prune
style sheets run on Node.js.  Measured with Lighthouse's telephone: without it the performance falls from 73
to 33, the largest paint comes after 11.7 s, not 1.8 s, and a page weighs 1.8 MB, not 0.6.  In finished pages
scripts that nothing uses go and the others wait; pictures have their size and come when a reader does; code
is marked up where its colours differ; and one style sheet, with fonts of icons, has what can be shown.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import tinycss2
from fontTools import subset
from PIL import Image
from pygments.formatters import HtmlFormatter
from pygments.styles import get_style_by_name
from pygments.token import STANDARD_TYPES, Generic, Text, _TokenType
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.highlighting import PygmentsBridge
from tinycss2.ast import AtRule, Node, QualifiedRule

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each step

SCRIPT = re.compile(r"[ \t]*<script\b(?P<attributes>[^>]*)>(?P<body>.*?)</script>\n?", re.DOTALL)
SOURCE = re.compile(r'\bsrc="([^"?]*)')
PRELOAD = re.compile(r'[ \t]*<link\b[^>]*rel="preload"[^>]*as="script"[^>]*>\n?')
WAITS = re.compile(r"\b(?:defer|async)\b|type=\"module\"")
UNUSED = ("scripts/fontawesome.js", "thebe")  # a style sheet draws the icons; thebe asks another host
# The first are for an object that a deferred script makes: a list of versions, a search while one types.
UNUSED_INLINE = ("DOCUMENTATION_OPTIONS.", "const THEBE_JS_URL", "kernelName =")
SEARCH = ("_static/searchtools.js", "_static/language_data.js", "searchindex.js")
LAST = ("mathjax", "widgets-offline.js")  # what makes a page come alive that can be read already
IMAGE = re.compile(r"<img\b(?P<attributes>[^>]*?)\s*/?>")
SIZE_STYLE = re.compile(r'\s*style="width: (?P<width>\d+)px;\s*height: (?P<height>\d+)px;?"')
# Where a server names the type of a notebook, a browser would show its JSON rather than save it.
DOWNLOAD = re.compile(r'(<a href="[^"]*") target="_blank"(\s+class="btn btn-sm btn-download-source-button)')
ATTRIBUTE = re.compile(r'\b(src|width|height|loading)="([^"]*)"')
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
LINK = re.compile(
    r'[ \t]*<link\b(?=[^>]*\brel="stylesheet")(?![^>]*\bmedia="print")[^>]*\bhref="(?P<href>[^":]*)"[^>]*>\n?'
)
NAMES = re.compile(r'\b(?:class|id)\s*=\s*"([^"]*)"')
INLINE = re.compile(r"<script\b(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
WORD = re.compile(r"[A-Za-z_][\w-]*")
URL = re.compile(r"url\(\s*(['\"]?)(?!data:|#|/|[a-z]+:)([^'\")]+)\1\s*\)")
IMPORT = re.compile(r"@import\s+(?:url\()?['\"]([^'\":]+)['\"]\)?\s*;")
FONT_FILE = re.compile(r"url\(\s*['\"]?([^'\")]+)\.ttf['\"]?\s*\)")
CONDITIONS = {"media", "supports", "layer", "container"}
BRACKETS = re.compile(r"\[[^\]]*\]|\((?:[^()]|\([^()]*\))*\)")
NAMED = re.compile(r"[.#]((?:[\w-]|\\.)+)")
COMMA = re.compile(r",(?![^()]*(?:\([^()]*\)[^()]*)*\))")  # outside of brackets
STRING = re.compile(r'(?<!url\()"([^"]*)"')
PLACE = Path("_static/styles")  # that of the largest sheet


def use_lean_formatter(app: Sphinx, config: Config) -> None:
    """Let Sphinx mark up code where the two styles of the theme differ from plain text."""
    names = [config.html_theme_options.get(f"pygments_{theme}_style") for theme in ("light", "dark")]
    looks = [get_style_by_name(name).style_for_token for name in names if name]
    plain = {kind for kind in STANDARD_TYPES if looks and all(f(kind) == f(Text) for f in looks)}

    class LeanFormatter(HtmlFormatter):
        """HTML without the elements that nobody sees; a terminal's session stays as it is."""

        def format_unencoded(self, tokensource: Iterable[tuple[_TokenType, str]], outfile: TextIO) -> None:
            lean = ((Text if k in plain and k not in Generic else k, text) for k, text in tokensource)
            super().format_unencoded(lean, outfile)

    PygmentsBridge.html_formatter = LeanFormatter


def sort_scripts(page: str, *, searches: bool) -> str:
    """Take out the scripts that a page does not use, and let the others wait for the text, in their order.

    Mathematics and widgets come last and start after the first paint (``first-paint.js``).
    """
    last: list[str] = []

    def place(match: re.Match[str]) -> str:
        tag, attributes = match[0], match["attributes"]
        if any(mark in attributes for mark in UNUSED) or match["body"].strip().startswith(UNUSED_INLINE):
            return ""
        found = SOURCE.search(attributes)
        if found and found[1].endswith(SEARCH) and not searches:
            return ""
        if found and not WAITS.search(attributes):
            tag = tag.replace("<script", "<script defer", 1)
        if found and any(name in found[1] for name in LAST):
            last.append(tag)
            return ""
        return tag

    page = SCRIPT.sub(place, PRELOAD.sub("", page))
    head, end, tail = page.rpartition("</body>")
    return head + "".join(last) + end + tail


@cache
def picture_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a picture in pixels, or None for what has none."""
    if file.suffix not in PICTURES or not file.is_file():
        return None
    with Image.open(file) as picture:
        return picture.size


def size_pictures(page: str, folder: Path) -> str:
    """Give the pictures of a page in this folder their size, and fetch all but the article's first one late.

    A size that was a style becomes an attribute, which ``max-width`` and ``height: auto`` can overrule.
    """
    start = page.find('<article class="bd-article"')
    first = IMAGE.search(page, start) if start >= 0 else None

    def mend(match: re.Match[str]) -> str:
        attributes, style = SIZE_STYLE.sub("", match["attributes"]), SIZE_STYLE.search(match["attributes"])
        given = dict(ATTRIBUTE.findall(attributes))
        size = style.groups() if style else picture_size((folder / given.get("src", "")).resolve())
        at_once = first and match.start() == first.start() and not re.search("only-(light|dark)", attributes)
        if size and not {"width", "height"} & set(given):
            attributes += f' width="{size[0]}" height="{size[1]}"'
        if size and "loading" not in given and not at_once:
            attributes += ' loading="lazy" decoding="async"'
        return f"<img{attributes} />"

    return IMAGE.sub(mend, page)


def used_names(out: Path, pages: Iterable[str]) -> set[str]:
    """All classes and ids of the pages, and every word of the scripts: it may be one."""
    names: set[str] = set()
    for page in pages:
        names.update(word for value in NAMES.findall(page) for word in value.split())
        names.update(word for script in INLINE.findall(page) for word in WORD.findall(script))  # widgets, too
    for script in out.rglob("*.js"):
        if script.name != "searchindex.js" and "mathjax" not in script.parts:
            names.update(WORD.findall(script.read_text("utf-8", "replace")))
    return names


def read_sheet(file: Path, place: Path) -> str:
    """Return a style sheet with those that it imports, its addresses as seen from another folder."""
    text = file.read_text("utf-8")
    text = URL.sub(lambda m: f'url("{os.path.relpath(file.parent / m[2], place)}")', text)
    text = re.sub(r"@charset[^;]*;", "", text)
    return IMPORT.sub(lambda m: read_sheet((file.parent / m[1]).resolve(), place), text)


def can_match(selector: str, names: set[str]) -> bool:
    """Whether all classes and ids exist that a selector asks for outside of brackets, as of ``:not(…)``.

    Bootstrap puts names with ``bs-`` together.
    """
    asked = NAMED.findall(BRACKETS.sub("", selector))
    return all(name.startswith("bs-") or name.replace("\\", "") in names for name in asked)


def prune(rules: Iterable[Node], names: set[str]) -> list[Node]:
    """Keep the rules of which at least one selector can match, with these selectors."""
    kept: list[Node] = []
    for rule in rules:
        if isinstance(rule, QualifiedRule):
            selectors = COMMA.split(tinycss2.serialize(rule.prelude))
            found = ",".join(selector for selector in selectors if can_match(selector, names))
            if not found:
                continue
            rule.prelude = tinycss2.parse_component_value_list(found)
        elif isinstance(rule, AtRule) and rule.lower_at_keyword in CONDITIONS and rule.content is not None:
            rule.content = prune(tinycss2.parse_rule_list(rule.content, True, True), names)
            if not rule.content:
                continue
        kept.append(rule)
    return kept


def reduce_font(rule: str, characters: str, place: Path) -> str:
    """Let a font rule name a font with these characters only, and write it; a font that is not ours stays."""
    file = FONT_FILE.search(rule)
    if not file:
        return rule
    source = (place / f"{file[1]}.ttf").resolve()
    small = source.with_suffix(".woff")
    options = ["--flavor=woff", "--layout-features=", "--notdef-outline", "--no-hinting"]
    subset.main([str(source), f"--text={characters}", f"--output-file={small}", *options])
    version = hashlib.sha256(small.read_bytes()).hexdigest()[:8]
    return re.sub(r"src:[^;}]*", f'src:url("{file[1]}.woff?v={version}") format("woff")', rule)


def bundle(sheets: Iterable[Path], names: set[str], place: Path) -> str:
    """Make one style sheet of several, for a folder, with the rules that can match; the fonts are written."""
    text = "\n".join(read_sheet(sheet, place) for sheet in sheets)
    rules = prune(tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True), names)
    texts = [tinycss2.serialize([rule]) for rule in rules]
    shown = "".join(sorted({letter for text in texts for letter in "".join(STRING.findall(text))}))
    return "\n".join(reduce_font(t, shown, place) if t.startswith("@font-face") else t for t in texts)


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Rewrite all finished pages, and remove what nothing names any more."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir).resolve()
    place = out / PLACE
    place.mkdir(parents=True, exist_ok=True)
    files = [p for p in out.rglob("*.html") if p.relative_to(out).parts[0] not in ("_static", "mathjax")]
    pages = {file: sort_scripts(file.read_text("utf-8"), searches=file.stem == "search") for file in files}
    names = used_names(out, pages.values())
    bundles: dict[tuple[Path, ...], str] = {}
    for file, page in pages.items():
        links = list(LINK.finditer(page))
        sheets = tuple((file.parent / link["href"].partition("?")[0]).resolve() for link in links)
        if sheets and sheets not in bundles:
            text = bundle(sheets, names, place)
            bundles[sheets] = f"pages-{hashlib.sha256(text.encode()).hexdigest()[:8]}.css"
            (place / bundles[sheets]).write_text(text, "utf-8")
        if sheets:
            address = Path(os.path.relpath(place / bundles[sheets], file.parent)).as_posix()
            first, new = links[0].start(), f'    <link rel="stylesheet" type="text/css" href="{address}" />\n'
            page = page[:first] + new + LINK.sub("", page[first:])
        file.write_text(DOWNLOAD.sub(r"\1 download\2", size_pictures(page, file.parent)), "utf-8")
    unused = [old for sheets in bundles for s in sheets for old in (s, s.with_suffix(".css.map"))]
    for font in (out / "_static").rglob("*.woff"):
        unused += [font.with_suffix(".ttf"), font.with_suffix(".woff2")]
    for file in [*unused, *(out / "_static" / "scripts").glob("fontawesome.js*")]:
        file.unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("first-paint.js", priority=200)  # before MathJax, which reads what it sets
    app.connect("config-inited", use_lean_formatter)
    app.connect("build-finished", lighten, priority=600)  # after those that write pages
    return {"version": "3", "parallel_read_safe": True, "parallel_write_safe": True}
