"""Mend the markup in which Sphinx, its theme and extensions fail an accessibility check (axe-core).

- Entries of the bibliography have the role ``doc-biblioentry``, which ARIA has withdrawn, inside a list that
  has no items: they become list items.
- ``reach.js`` gives the focus back where the theme loses it, and lets the Tab key reach what scrolls.

The logo's landmark is in ``_templates/navbar-logo.html``.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

OLD_ROLE, ROLE = ' role="doc-biblioentry"', ' role="listitem"'


def mend_citations(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the entries of a bibliography a role that fits their list."""
    if doctree is not None:
        context["body"] = context["body"].replace(OLD_ROLE, ROLE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("reach.js")
    app.connect("html-page-context", mend_citations)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
