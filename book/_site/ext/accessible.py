"""Mend the markup in which Sphinx, its theme and extensions fail an accessibility check (axe-core).

Each of these waits for a release of one of them:

- entries of the bibliography have the role ``doc-biblioentry``, which ARIA has withdrawn, inside a list that
  has no items: they become list items;
- the button of folded code has a label that hides what it says ("Show code cell source"): the label goes;
- an empty heading of a table (the corner of one that has headings on two sides) becomes an ordinary cell;
- ``reach.js`` gives the focus back where the theme loses it, and lets the Tab key reach what scrolls.

The logo's landmark and the name of the search are in ``templates/``.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

OLD_ROLE, ROLE = ' role="doc-biblioentry"', ' role="listitem"'
FOLD_LABEL = ' aria-label="Toggle hidden content"'
EMPTY_HEADING = re.compile(r"<th\b[^>]*>\s*(?:<p>\s*</p>)?\s*</th>")


def mend_body(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give bibliography entries a role that fits their list, empty headings none, and folds their words."""
    if doctree is not None:
        body = context["body"].replace(OLD_ROLE, ROLE).replace(FOLD_LABEL, "")
        context["body"] = EMPTY_HEADING.sub("<td></td>", body)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("reach.js")
    app.connect("html-page-context", mend_body)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
