"""Take out the scripts with which extensions would reach for another host.

jupyter-book always loads ``sphinx_thebe``, which writes the address of thebe on a content network into every
page, also when no thebe button is wanted.  The book has none: its widgets work without a kernel.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

MARKS = ("thebe", "THEBE_JS_URL")
CONFIGURATION = ("x-thebe-config", "<script>kernelName =")


def is_thebe(script: Any) -> bool:
    """Whether an entry of ``script_files`` belongs to thebe, by its address or by its inline text."""
    body = (getattr(script, "attributes", None) or {}).get("body") or ""
    text = f"{getattr(script, 'filename', None) or ''} {body}"
    return any(mark in text for mark in MARKS)


def drop_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Remove thebe's scripts and style sheet from a page."""
    for key in ("script_files", "css_files"):
        files = context.get(key, [])
        for entry in [e for e in files if is_thebe(e)]:
            files.remove(entry)


def drop_configuration(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remove the blocks in which thebe would find its kernel (one names an example repository)."""
    for block in list(doctree.findall(nodes.raw)):
        if any(mark in block.astext() for mark in CONFIGURATION):
            block.parent.remove(block)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("doctree-resolved", drop_configuration, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)  # after sphinx_thebe has added its own
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
