"""Link the first mention of each glossary term on a page, and show its explanation there on hover and focus.

No library does this without marks in the text, which a notebook on Colab would show.  A term is looked for
in the running text of notebooks; a plural counts.  ``term_exceptions`` lists phrases in which the same word
means something else.  The explanation, the glossary's first paragraph up to its references, needs no
JavaScript; ``terms.js`` only lets Escape put it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

PLAIN = (  # a mention in these is not running text, or is a link already
    nodes.reference, nodes.pending, nodes.title, nodes.caption, nodes.literal, nodes.literal_block,
    nodes.math, nodes.math_block, nodes.raw, nodes.term, nodes.table, nodes.image, nodes.comment,
    addnodes.pending_xref,
)  # fmt: skip


class Explanation(nodes.comment):
    """What a term means.  A comment by descent: so the search index leaves it out, page after page."""


class Term(NamedTuple):
    """An entry of the glossary: where it stands, and its explanation."""

    docname: str
    anchor: str
    explanation: list[nodes.Node]


def shortened(paragraph: nodes.paragraph) -> list[nodes.Node]:
    """Copy a paragraph up to the references at its end; links within become words."""
    kept: list[nodes.Node] = []
    for child in paragraph.children:
        if not isinstance(child, addnodes.pending_xref):
            kept.append(child.deepcopy())
        elif child["reftype"] in ("ref", "numref", "eq"):
            break
        else:
            kept.append(nodes.Text(child.astext()))
    if kept and isinstance(kept[-1], nodes.Text):
        words = re.sub(r"[\s:,;(]+$", "", re.sub(r"\bSee( also)?\s*$", "", kept[-1].astext().rstrip()))
        kept[-1] = nodes.Text(words if words.endswith((".", "?", "!")) else f"{words}.")
    return kept


def terms_of(app: Sphinx) -> dict[str, Term]:
    """All terms of all glossaries, by their names in small letters; read once in each process."""
    if not hasattr(app, "book_terms"):
        app.book_terms = {}
        objects = app.env.get_domain("std").get_objects()
        for docname in sorted({entry[3] for entry in objects if entry[2] == "term"}):
            for item in app.env.get_doctree(docname).findall(nodes.definition_list_item):
                paragraph = next(iter(item.findall(nodes.paragraph)), None)
                for term in item.findall(nodes.term):
                    if paragraph is not None and term["ids"]:
                        entry = Term(docname, term["ids"][0], shortened(paragraph))
                        app.book_terms[term.astext().lower()] = entry
    return app.book_terms


def pattern(names: Iterator[str]) -> re.Pattern[str]:
    """What finds any of the terms, the longest first, in the plural too."""
    words = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])({words})(?:s|es)?(?![\w-])", re.IGNORECASE)


def is_running(node: nodes.Node) -> bool:
    """Whether nothing around a node is a link, code or mathematics."""
    while (node := node.parent) is not None:
        if isinstance(node, PLAIN):
            return False
    return True


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace the first mention of each term by a link with the explanation."""
    terms = terms_of(app) if app.builder.format == "html" else {}
    if not terms or not app.env.doc2path(docname).endswith(".ipynb"):
        return
    # All terms, not only those that are left: "lasso" is not to be found in a second "group lasso".
    finder, left = pattern(terms), dict(terms)
    exceptions = pattern(app.config.term_exceptions) if app.config.term_exceptions else re.compile(r"(?!)")
    for paragraph in list(doctree.findall(nodes.paragraph)):
        for text in [text for text in paragraph.findall(nodes.Text) if is_running(text)]:
            words, parts, position = text.astext(), [], 0
            others = [found.span() for found in exceptions.finditer(words)]
            for match in finder.finditer(words):
                if any(begin <= match.start() < end for begin, end in others):
                    continue
                term = left.pop(" ".join(match[1].split()).lower(), None)
                if term:
                    parts.append(nodes.Text(words[position : match.start()]))
                    parts += link(app, docname, term, match[0])
                    position = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(words[position:])])


def html(text: str) -> nodes.raw:
    """A piece of HTML."""
    return nodes.raw("", text, format="html")


def link(app: Sphinx, docname: str, term: Term, words: str) -> list[nodes.Node]:
    """A link to the glossary and, behind it, the explanation."""
    address = f"{app.builder.get_relative_uri(docname, term.docname)}#{term.anchor}"
    opening = f'<span class="term"><a class="reference internal" href="{address}"'
    tip = f"about-{term.anchor}"
    # MathJax is only on pages that have mathematics of their own.
    mathematics = any(isinstance(node, nodes.math) for node in term.explanation)
    if mathematics and not app.env.get_domain("math").has_equations(docname):
        return [html(f"{opening}>"), nodes.Text(words), html("</a></span>")]
    explanation = Explanation("", "", *(node.deepcopy() for node in term.explanation), tip=tip)
    described = html(f'{opening} aria-describedby="{tip}">')
    return [described, nodes.Text(words), html("</a>"), explanation, html("</span>")]


def visit_explanation(writer: Any, node: Explanation) -> None:
    """Open an explanation."""
    writer.body.append(f'<span class="term-tip" role="tooltip" id="{node["tip"]}">')


def depart_explanation(writer: Any, node: Explanation) -> None:
    """Close an explanation."""
    writer.body.append("</span>")


def add_script(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load the script for Escape on pages that have explanations."""
    if doctree is not None and next(iter(doctree.findall(Explanation)), None) is not None:
        app.add_js_file("terms.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_node(Explanation, html=(visit_explanation, depart_explanation))
    app.add_config_value("term_exceptions", [], "env", list)
    app.connect("doctree-resolved", link_terms, priority=800)
    app.connect("html-page-context", add_script)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
