"""Mend the markup in which Sphinx, its theme and extensions fail an accessibility check (axe-core).

``reach.js`` gives the focus back where the theme loses it, and lets the Tab key reach what scrolls; the
landmark of the logo and the name of the search are in ``templates/``.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

# ARIA has withdrawn the role of entries of the bibliography, which stand in a list without items.
OLD_ROLE, ROLE = ' role="doc-biblioentry"', ' role="listitem"'
# It hides what the button of folded code says ("Show code cell source").
FOLD_LABEL = ' aria-label="Toggle hidden content"'
# The corner of a table that has headings on two sides.
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
