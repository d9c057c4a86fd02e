"""What sphinxext-opengraph and sphinx-sitemap do not know: the address of the site, and what a page is about.

- The address comes from ``repository: url:`` in ``_config.yml``, so that a fork's book points to itself.  As
  long as there is none, no button leads to a repository or to Colab, and no sitemap is made.
- The description of a page is its first paragraph of running text.  The library would begin with the badge of
  Colab and the first cell, with formulas as they are written.
- ``index.html`` gets the tags of the first page: people share the bare address.
- The first page describes the book to catalogues of teaching material, in the words of schema.org.
"""

from __future__ import annotations

import html
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

sys.path.append(str(Path(__file__).resolve().parents[1]))  # after all others: it shadows nothing

from common import BOOK, ROOT, chapters
from l2lab import __version__
from repository import ADDRESS, pages

REPOSITORY_BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")
# The last: words of the glossary.
UNSPOKEN = (nodes.raw, nodes.image, nodes.footnote_reference, nodes.comment)
START = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{book}</title>
<meta http-equiv="refresh" content="0; url={first}">
{tags}</head>
<body><main><h1><a href="{first}">{book}</a></h1></main></body></html>
"""
PARTS_OF_A_NAME = ("given-names", "name-particle", "family-names", "name-suffix", "name")  # in CITATION.cff
TAGS = re.compile(r'<meta (?:name="description"|name="twitter:|property="og:)[^>]*>')


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
        first = next(iter(copy.findall(nodes.reference)), nodes.reference())
        words, badge = copy.astext().strip(), first.astext() if "://" in first.get("refuri", "") else "\0"
        if isinstance(paragraph.parent, nodes.section) and words and not words.startswith(badge):
            return textwrap.shorten(words, 160, placeholder="…", break_on_hyphens=False)
    return ""


def learning_resource(config: Config) -> dict[str, Any]:
    """Describe the book as a `LearningResource`_, from what stands elsewhere: nothing is said twice.

    The goals are those of the course plan, and the time is the sum of what the chapters take to read.

    .. _LearningResource: https://schema.org/LearningResource
    """
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    goals = (BOOK / "course_plan.md").read_text("utf-8").partition("(sec-goals)=")[2]
    texts = "\n".join(path.read_text("utf-8") for path in chapters())
    described = {
        "@context": "https://schema.org",
        "@type": "LearningResource",
        "name": config.html_title,
        "description": cited["abstract"],
        "author": [
            {
                "@type": "Organization" if "name" in who else "Person",
                "name": " ".join(who[part] for part in PARTS_OF_A_NAME if part in who),
            }
            for who in cited["authors"]
        ],
        "version": __version__,
        "license": [f"https://spdx.org/licenses/{name}.html" for name in cited["license"]],
        "keywords": cited["keywords"],
        "inLanguage": config.language,
        "isAccessibleForFree": True,
        "learningResourceType": ["textbook", "interactive notebook", "assignment"],
        "educationalLevel": "master's level",
        "teaches": re.findall(r"(?m)^\| ([^|]+?) \|", goals)[1:],  # below the head of the table
        "timeRequired": f"PT{sum(map(int, re.findall(r'Time:.. ([0-9]+) minutes to read', texts)))}M",
    }
    return described | ({"url": config.html_baseurl} if config.html_baseurl else {})


def describe(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say what a page is about, unless its author has."""
    words = first_words(doctree) if doctree else ""
    if words and 'name="description"' not in context["metatags"]:
        context["metatags"] += f'<meta name="description" content="{html.escape(words)}" />\n'
        context["meta"] = {**(context["meta"] or {}), "og:description": html.escape(words)}
    if pagename == app.config.root_doc:
        text = json.dumps(learning_resource(app.config), ensure_ascii=False).replace("<", "\\u003c")
        context["metatags"] += f'<script type="application/ld+json">{text}</script>\n'


def write_start(app: Sphinx, error: Exception | None) -> None:
    """Let the bare address lead to the first page."""
    if not error and app.builder.format == "html" and app.config.root_doc != "index":
        first = app.builder.get_target_uri(app.config.root_doc)
        head = (Path(app.outdir) / first).read_text("utf-8").partition("</head>")[0]
        page = START.format(
            book=html.escape(app.config.html_title), first=first, tags="\n".join(TAGS.findall(head))
        )
        (Path(app.outdir) / "index.html").write_text(page, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", set_address)
    app.connect("html-page-context", describe, priority=400)  # before the library adds its tags
    app.connect("build-finished", write_start)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
