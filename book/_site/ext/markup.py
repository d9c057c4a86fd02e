"""Mend the markup that Sphinx, its theme and extensions make: widgets, and what fails an accessibility check.

myst-nb renders one MIME type of an output bundle, for a widget a bare ``<script>``: without JavaScript a
reader would see nothing.  So the picture of the bundle is put in front, in ``<div class="widget-fallback">``,
which the loader (``widgets-offline.js``) hides once the widget stands; and the state, often more than 100 kB,
moves from ``<head>`` to the end of the body, so that the text is painted before it is parsed.

For the keyboard ``reach.js`` gives the focus back where the theme loses it, and lets the Tab key reach what
scrolls; the landmark of the logo and the name of the search are in ``templates/``.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
# ARIA has withdrawn the role of entries of the bibliography, which stand in a list without items.
OLD_ROLE, ROLE = ' role="doc-biblioentry"', ' role="listitem"'
# It hides what the button of folded code says ("Show code cell source").
FOLD_LABEL = ' aria-label="Toggle hidden content"'
# The corner of a table that has headings on two sides.
EMPTY_HEADING = re.compile(r"<th\b[^>]*>\s*(?:<p>\s*</p>)?\s*</th>")


class KeepPicture(SphinxPostTransform):
    """Put the picture of a widget's output bundle in front of the widget view."""

    default_priority = 3  # myst-nb's SelectMimeType, which drops all but one MIME type, has 4
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Visit every output bundle of the page."""
        for bundle in list(self.document.findall(nodes.container)):
            by_type = {part.get("mime_type"): part for part in bundle.children if bundle.get("nb_element")}
            if VIEW not in by_type:
                continue
            if "image/png" not in by_type:
                said = "a widget without a picture: readers without scripts would see nothing"
                logger.warning(said, location=self.env.docname, type="l2book", subtype="fallback")
                continue
            box = nodes.container(classes=["widget-fallback"])
            box += by_type["image/png"].children
            by_type[VIEW].insert(0, box)


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give bibliography entries a role, empty headings none, folds their words; move the state of widgets."""
    if doctree is not None:
        body = context["body"].replace(OLD_ROLE, ROLE).replace(FOLD_LABEL, "")
        context["body"] = EMPTY_HEADING.sub("<td></td>", body)
    scripts = context.get("script_files", [])
    for script in [s for s in scripts if getattr(s, "attributes", {}).get("type") == STATE]:
        context["body"] += f'<script type="{STATE}">{script.attributes["body"]}</script>\n'
        scripts.remove(script)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("reach.js")
    app.add_post_transform(KeepPicture)
    app.connect("html-page-context", mend, priority=900)  # after myst-nb has added its scripts
    return {"version": "3", "parallel_read_safe": True, "parallel_write_safe": True}
