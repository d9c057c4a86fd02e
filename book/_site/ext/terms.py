"""Link the first mention of each glossary term on a page, and show its explanation there on hover and focus.

The texts stay free of markup for it, so that a notebook on Colab reads as plain words.  A term is looked for
in the running text of notebooks, at its first place on the page; a plural counts.  ``term_exceptions`` lists
phrases in which the same word means something else.  The explanation is a copy of the glossary's first
paragraph up to its references.  It shows without JavaScript; ``terms.js`` only lets Escape put it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

PLAIN = (  # a mention in these is not running text, or is a link already
    nodes.reference, nodes.pending, nodes.title, nodes.caption, nodes.literal, nodes.literal_block,
    nodes.math, nodes.math_block, nodes.raw, nodes.term, nodes.table, nodes.image, nodes.comment,
    addnodes.pending_xref,
)  # fmt: skip


class TermLink(nodes.inline):
    """A term with its explanation: children are the words and a :class:`Explanation` or nothing."""


class Explanation(nodes.comment):
    """What a term means.  A comment by descent: so the search index leaves it out, page after page."""


class Term:
    """An entry of the glossary: its name, where it stands, and its explanation as nodes."""

    def __init__(self, name: str, docname: str, anchor: str, explanation: list[nodes.Node]) -> None:
        self.name, self.docname, self.anchor, self.explanation = name, docname, anchor, explanation


def shortened(paragraph: nodes.paragraph) -> list[nodes.Node]:
    """Copy a paragraph up to the references at its end; links within become words."""
    kept: list[nodes.Node] = []
    for child in paragraph.children:
        if isinstance(child, addnodes.pending_xref) and child["reftype"] in ("ref", "numref", "eq"):
            break
        kept.append(
            nodes.Text(child.astext()) if isinstance(child, addnodes.pending_xref) else child.deepcopy()
        )
    if kept and isinstance(kept[-1], nodes.Text):
        words = re.sub(r"[\s:,;(]+$", "", re.sub(r"\bSee( also)?\s*$", "", kept[-1].astext().rstrip()))
        kept[-1] = nodes.Text(words if words.endswith((".", "?", "!")) else f"{words}.")
    return kept


def read_terms(app: Sphinx) -> dict[str, Term]:
    """All terms of all glossaries, by their names in small letters."""
    terms: dict[str, Term] = {}
    entries = [e for e in app.env.get_domain("std").get_objects() if e[2] == "term"]
    for docname in sorted({entry[3] for entry in entries}):
        for item in app.env.get_doctree(docname).findall(nodes.definition_list_item):
            paragraph = next(iter(item.findall(nodes.paragraph)), None)
            for term in item.findall(nodes.term):
                if paragraph is not None and term["ids"]:
                    name = term.astext()
                    terms[name.lower()] = Term(name, docname, term["ids"][0], shortened(paragraph))
    return terms


def terms_of(app: Sphinx) -> dict[str, Term]:
    """The terms, read once in each process."""
    if not hasattr(app, "book_terms"):
        app.book_terms = read_terms(app)
    return app.book_terms


def pattern(names: list[str]) -> re.Pattern[str]:
    """What finds any of the terms, the longest first, in the plural too."""
    words = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])({words})(?:s|es)?(?![\w-])", re.IGNORECASE)


def running_text(doctree: nodes.document) -> Iterator[nodes.Text]:
    """The words of paragraphs that are not links, code or mathematics, in the order of the page."""
    for paragraph in doctree.findall(nodes.paragraph):
        if not any(isinstance(above, PLAIN) for above in ancestors(paragraph)):
            for text in list(paragraph.findall(nodes.Text)):
                if not any(isinstance(above, PLAIN) for above in ancestors(text)):
                    yield text


def ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    """The nodes around a node, from the inside."""
    while (node := node.parent) is not None:
        yield node


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace the first mention of each term by a link with the explanation."""
    if app.builder.format != "html" or not app.env.doc2path(docname).endswith(".ipynb"):
        return
    terms = terms_of(app)
    if not terms:
        return
    # All terms, not only those that are left: "lasso" is not to be found in a second "group lasso".
    finder, left = pattern([term.name for term in terms.values()]), dict(terms)
    mathematics = app.env.get_domain("math").has_equations(docname)
    for text in running_text(doctree):
        parts = replaced(app, text.astext(), finder, left, docname, mathematics)
        if len(parts) > 1:
            text.parent.replace(text, parts)


def replaced(
    app: Sphinx,
    words: str,
    finder: re.Pattern[str],
    left: dict[str, Term],
    docname: str,
    mathematics: bool,
) -> list[nodes.Node]:
    """Cut words at the terms in them that were not mentioned before; ``left`` loses those."""
    parts: list[nodes.Node] = []
    position = 0
    others = [
        found.span()
        for phrase in app.config.term_exceptions
        for found in re.finditer(re.escape(phrase).replace(r"\ ", r"\s+"), words)
    ]
    for match in finder.finditer(words):
        if any(begin <= match.start() < end for begin, end in others):
            continue
        term = left.pop(" ".join(match[1].split()).lower(), None)
        if term is None:
            continue
        link = TermLink(
            "", "", nodes.Text(match[0]), target=app.builder.get_relative_uri(docname, term.docname)
        )
        link["target"] += f"#{term.anchor}"
        # MathJax is only on pages that have mathematics of their own.
        if mathematics or not any(isinstance(node, nodes.math) for node in term.explanation):
            link += Explanation("", "", *(node.deepcopy() for node in term.explanation))
            link["tip"] = f"about-{term.anchor}"
        parts += [nodes.Text(words[position : match.start()]), link]
        position = match.end()
    return [*parts, nodes.Text(words[position:])]


def visit_link(writer: Any, node: TermLink) -> None:
    """Open the link; the words come next."""
    described = f' aria-describedby="{node["tip"]}"' if "tip" in node else ""
    writer.body.append(
        f'<span class="term"><a class="reference internal" href="{node["target"]}"{described}>'
    )


def depart_link(writer: Any, node: TermLink) -> None:
    """Close what is open: the explanation has closed the link."""
    writer.body.append("</span>" if "tip" in node else "</a></span>")


def visit_explanation(writer: Any, node: Explanation) -> None:
    """Close the link and open its explanation."""
    writer.body.append(f'</a><span class="term-tip" role="tooltip" id="{node.parent["tip"]}">')


def depart_explanation(writer: Any, node: Explanation) -> None:
    """Close the explanation."""
    writer.body.append("</span>")


def nothing(writer: Any, node: nodes.Node) -> None:
    """Write the words alone."""


def skip(writer: Any, node: nodes.Node) -> None:
    """Leave the explanation out."""
    raise nodes.SkipNode


def add_script(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load the script for Escape on pages that have explanations."""
    if doctree is not None and next(iter(doctree.findall(Explanation)), None) is not None:
        app.add_js_file("terms.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    other = dict.fromkeys(("latex", "text", "man", "texinfo"), (nothing, nothing))
    app.add_node(TermLink, html=(visit_link, depart_link), **other)
    app.add_node(
        Explanation, html=(visit_explanation, depart_explanation), **dict.fromkeys(other, (skip, None))
    )
    app.add_config_value("term_exceptions", [], "env", list)
    app.connect("doctree-resolved", link_terms, priority=800)
    app.connect("html-page-context", add_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
