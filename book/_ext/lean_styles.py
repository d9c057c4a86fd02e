"""One style sheet for all pages, with the rules and the icons that they use.

The theme and the extensions bring a dozen style sheets, 550 kB: they hold all of Bootstrap and the names of
two thousand icons, whose fonts weigh another 300 kB.  Most of the rules can never match, and the browser
paints nothing before it has read them all.  After the build

1. the sheets of a page, in their order and with what they import, become one;
2. a selector goes if it asks for a class or an id that no page and no script of the site names;
3. each font of icons keeps the characters that the remaining rules can show.

A style sheet for paper stays as it is: no page on a screen waits for it, and the book as one document
(``export.py``) needs rules that no page needs.

A name in a script counts as used, since the script may set it; so do the names that Bootstrap puts together
(``bs-…``).
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger
from tinycss2.ast import AtRule, Node, QualifiedRule

logger = getLogger(__name__)
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each step

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
PUT_TOGETHER = ("bs-",)
PLACE = Path("_static/styles")  # that of the largest sheet


def used_names(out: Path, pages: Iterable[str]) -> set[str]:
    """All classes and ids of the pages, and every word of the scripts."""
    names = set()
    for page in pages:
        for value in NAMES.findall(page):
            names.update(value.split())
        for script in INLINE.findall(page):  # the source of the widgets is in one
            names.update(WORD.findall(script))
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


def wanted(selector: list[Node], names: set[str]) -> bool:
    """Whether all classes and ids that a selector asks for exist; those inside ``:not(…)`` need not."""
    previous = None
    for token in selector:
        is_class = token.type == "ident" and previous is not None and previous == "."
        named = (is_class or token.type == "hash") and not token.value.startswith(PUT_TOGETHER)
        if named and token.value not in names:
            return False
        previous = token
    return True


def split_selectors(prelude: list[Node]) -> Iterator[list[Node]]:
    """Cut a list of selectors at its commas."""
    selector: list[Node] = []
    for token in prelude:
        if token == ",":
            yield selector
            selector = []
        else:
            selector.append(token)
    yield selector


def prune(rules: Iterable[Node], names: set[str]) -> list[Node]:
    """Keep the rules of which at least one selector can match, with these selectors."""
    kept: list[Node] = []
    for rule in rules:
        if isinstance(rule, QualifiedRule):
            selectors = [s for s in split_selectors(rule.prelude) if wanted(s, names)]
            if not selectors:
                continue
            comma = tinycss2.parse_component_value_list(",")
            rule.prelude = [t for k, s in enumerate(selectors) for t in ([*comma, *s] if k else s)]
        elif isinstance(rule, AtRule) and rule.lower_at_keyword in CONDITIONS and rule.content is not None:
            rule.content = prune(tinycss2.parse_rule_list(rule.content, True, True), names)
            if not rule.content:
                continue
        kept.append(rule)
    return kept


def shown_characters(tokens: Iterable[Node]) -> set[str]:
    """All characters in the strings of these rules."""
    found: set[str] = set()
    for token in tokens:
        if token.type == "string":
            found.update(token.value)
        for part in ("prelude", "content", "arguments"):
            found |= shown_characters(getattr(token, part, None) or ())
    return found


def reduce_font(file: Path, characters: Iterable[str]) -> bytes:
    """Return a font with these characters only, in the format WOFF."""
    font = TTFont(file, recalcTimestamp=False)
    options = subset.Options(layout_features=[], notdef_outline=True, hinting=False)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes={ord(c) for c in characters})
    cutter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    return buffer.getvalue()


def reduce_fonts(rules: list[Node], place: Path) -> None:
    """Let the font rules name a font with only the characters that the rules can show, and write it."""
    characters = shown_characters(rules)
    for rule in rules:
        if not (isinstance(rule, AtRule) and rule.lower_at_keyword == "font-face"):
            continue
        text = tinycss2.serialize(rule.content)
        file = FONT_FILE.search(text)
        if not file:
            continue
        source = (place / f"{file[1]}.ttf").resolve()
        small = reduce_font(source, characters)
        source.with_suffix(".woff").write_bytes(small)
        version = hashlib.sha256(small).hexdigest()[:8]
        address = f'src:url("{file[1]}.woff?v={version}") format("woff")'
        rule.content = tinycss2.parse_component_value_list(re.sub(r"src:[^;]*", address, text))


def bundle(sheets: Iterable[Path], names: set[str], place: Path) -> str:
    """Make one style sheet of several.

    Parameters
    ----------
    sheets : iterable of pathlib.Path
        The sheets in their order.
    names : set of str
        Classes and ids that can occur.
    place : pathlib.Path
        Folder in which the new sheet will lie.

    Returns
    -------
    str
        The rules that can match, without comments.  The fonts that they name are written.
    """
    text = "\n".join(read_sheet(sheet, place) for sheet in sheets)
    rules = prune(tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True), names)
    reduce_fonts(rules, place)
    return "\n".join(tinycss2.serialize([rule]) for rule in rules)


def unite(app: Sphinx, error: Exception | None) -> None:
    """Give all finished pages the one style sheet, and remove what nothing names any more."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir).resolve()
    place = out / PLACE
    place.mkdir(parents=True, exist_ok=True)
    files = [p for p in out.rglob("*.html") if p.relative_to(out).parts[0] not in ("_static", "vendor")]
    pages = {file: file.read_text("utf-8") for file in files}
    names = used_names(out, pages.values())
    bundles: dict[tuple[Path, ...], str] = {}
    for file, page in pages.items():
        links = list(LINK.finditer(page))
        sheets = tuple((file.parent / link["href"].partition("?")[0]).resolve() for link in links)
        if not sheets:
            continue
        if missing := [sheet.name for sheet in sheets if not sheet.is_file()]:
            logger.warning("no style sheet %s", ", ".join(missing), location=file.name, type="l2book")
            continue
        if sheets not in bundles:
            text = bundle(sheets, names, place)
            bundles[sheets] = f"pages-{hashlib.sha256(text.encode()).hexdigest()[:8]}.css"
            (place / bundles[sheets]).write_text(text, "utf-8")
        address = os.path.relpath(place / bundles[sheets], file.parent)
        new = f'    <link rel="stylesheet" type="text/css" href="{Path(address).as_posix()}" />\n'
        first = links[0].start()
        file.write_text(page[:first] + new + LINK.sub("", page[first:]), "utf-8")
    for sheet in {sheet for sheets in bundles for sheet in sheets}:
        sheet.unlink(missing_ok=True)
        sheet.with_suffix(".css.map").unlink(missing_ok=True)
    for font in (out / "_static").rglob("*.woff"):
        for heavy in (".ttf", ".woff2"):
            font.with_suffix(heavy).unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("build-finished", unite, priority=600)  # after those that write pages
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
