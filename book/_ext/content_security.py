"""Give every page a Content-Security-Policy: what the browser may load and run there.

The policy stands in a ``<meta>`` of each page, since a static host lets nobody set headers.  It allows files
of the site itself and nothing else, with three exceptions:

- *Inline scripts* (the theme sets the colours before the first paint; extensions set options) run if the
  policy holds the hash of their text.  The hashes are taken from the finished files.  The scripts stay in the
  pages, since their order among the scripts with a file matters, and a file for each would cost eight
  requests.
- *Inline styles* are allowed: MathJax writes its style sheet and widths into the page, and so do widgets.
- *Scripts from* ``blob:`` are allowed on pages with widget state: a widget's module is imported from its
  stored source.  Only a script that runs already can make such an address.

``eval`` is forbidden everywhere.  So are handlers in attributes (``onclick=…``): those that the theme writes
go, and ``_static/site.js`` listens instead.

A policy in a page cannot say ``frame-ancestors``; whoever can set headers should send it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

sys.path.append(str(Path(__file__).resolve().parents[1] / "_tools"))  # after all others: it shadows nothing

from check_site import STATE, pages_of, runs, script_hash
from site_frame import BUILDERS

# What is named nowhere here falls back on default-src; base-uri and form-action do not, so they are named.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",  # icons in style sheets, pictures in stored outputs
    "font-src": "'self'",
    "connect-src": "'self'",  # the search reads the pages that it has found
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",  # the search box
}
SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL | re.IGNORECASE)
TYPE = re.compile(r"""\btype\s*=\s*["']?([^"'\s>]*)""", re.IGNORECASE)
SOURCE = re.compile(r"\bsrc\s*=", re.IGNORECASE)
# The character set has to stand within the first kilobyte; the policy must stand before all that it governs.
HEAD = re.compile(r"<head[^>]*>(?:\s*<meta charset=[^>]*>)?", re.IGNORECASE)
HANDLER = re.compile(r'(<button) onclick="(?:window\.print|toggleFullScreen)\(\)"')


def inline_scripts(page: str) -> Iterator[tuple[str, str]]:
    """Yield type and text of the scripts of a page that have no file."""
    for attributes, text in SCRIPT.findall(page):
        if not SOURCE.search(attributes):
            kind = TYPE.search(attributes)
            yield kind[1] if kind else "", text


def policy(page: str) -> str:
    """Return the policy of a page.

    Parameters
    ----------
    page : str
        The finished HTML.

    Returns
    -------
    str
        Directives, with the hashes of the page's own inline scripts.
    """
    inline = list(inline_scripts(page))
    hashes = dict.fromkeys(script_hash(text) for kind, text in inline if runs(kind))
    blob = ["blob:"] if any(kind == STATE for kind, _ in inline) else []
    directives = POLICY | {"script-src": " ".join([POLICY["script-src"], *hashes, *blob])}
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def secure(page: str) -> str:
    """Return a finished page with its policy, and without the theme's handlers in attributes.

    Raises
    ------
    ValueError
        If the page has no head for the policy.
    """
    page = HANDLER.sub(r"\1", page)
    start = HEAD.search(page)
    if not start:
        raise ValueError("a page without <head> has no place for its Content-Security-Policy")
    tag = f'\n    <meta http-equiv="Content-Security-Policy" content="{policy(page)}">'
    return page[: start.end()] + tag + page[start.end() :]


def secure_pages(app: Sphinx, error: Exception | None) -> None:
    """Write the policy into all pages."""
    if error or app.builder.name not in BUILDERS:
        return
    for path in pages_of(Path(app.outdir)):
        text = path.read_text("utf-8")
        if "Content-Security-Policy" in text.partition("</head>")[0]:
            continue  # kept from an earlier build
        try:
            path.write_text(secure(text), "utf-8")
        except ValueError as problem:
            raise ExtensionError(f"{path.relative_to(app.outdir)}: {problem}") from problem


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("site.js", loading_method="defer")
    app.connect("build-finished", secure_pages, priority=900)  # after those that still change or add pages
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
