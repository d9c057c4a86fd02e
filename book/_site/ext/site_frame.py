"""What sphinxext-opengraph and sphinx-sitemap do not know: the address of the site, and what a page is about.

- The address comes from ``repository: url:`` in ``_config.yml``, so that a fork's book points to itself.  As
  long as there is none, no button leads to a repository or to Colab, and no sitemap is made.
- The description of a page is its first paragraph of running text.  The library would begin with the first
  cell, with formulas as they are written.
"""

from __future__ import annotations

import html
import sys
import textwrap
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

sys.path.append(str(Path(__file__).resolve().parents[1]))  # after all others: it shadows nothing

from repository import ADDRESS, pages

REPOSITORY_BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")
UNSPOKEN = (nodes.raw, nodes.image, nodes.footnote_reference, nodes.comment)


def set_address(app: Sphinx, config: Config) -> None:
    """Tell Sphinx and the extensions where the site is published; a ``baseurl`` of one's own wins."""
    options = config.html_theme_options
    repository = options.get("repository_url") or ""
    if not repository:
        options.update(dict.fromkeys(REPOSITORY_BUTTONS, False), launch_buttons={})
    elif not ADDRESS.fullmatch(repository):
        raise ConfigError(f"repository: url: in _config.yml is {repository!r}: run make address")
    base = config.html_baseurl or (pages(repository) if repository else "")
    config.html_baseurl = config.ogp_site_url = base and base.rstrip("/") + "/"


def first_words(doctree: nodes.document) -> str:
    """Return the first paragraph of running text, at most 160 characters of it, or nothing."""
    for paragraph in doctree.findall(nodes.paragraph):
        copy = paragraph.deepcopy()
        for part in list(copy.findall(lambda node: isinstance(node, UNSPOKEN))):
            part.parent.remove(part)
        words = copy.astext().strip()
        if isinstance(paragraph.parent, nodes.section) and words:
            return textwrap.shorten(words, 160, placeholder="…", break_on_hyphens=False)
    return ""


def describe(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say what a page is about, unless its author has."""
    words = html.escape(first_words(doctree)) if doctree else ""
    if words and 'name="description"' not in context["metatags"]:
        context["metatags"] += f'<meta name="description" content="{words}" />\n'
        context["meta"] = {**(context["meta"] or {}), "og:description": words}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", set_address)
    app.connect("html-page-context", describe, priority=400)  # before the library adds its tags
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
