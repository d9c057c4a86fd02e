"""Link the first mention of each glossary term in a notebook; the link's title is the explanation.

No library does this without marks in the text, which a notebook on Colab would show.  A plural counts.
``term_exceptions`` lists phrases in which the same word means something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

PLAIN = (  # a mention in these is not running text, or is a link already
    nodes.reference, nodes.pending, nodes.title, nodes.caption, nodes.literal, nodes.literal_block,
    nodes.math, nodes.math_block, nodes.raw, nodes.term, nodes.table, nodes.image, nodes.comment,
    addnodes.pending_xref,
)  # fmt: skip


def explanation(item: nodes.definition_list_item) -> str:
    """The sentences that begin an entry and have no formula, which a title cannot show, and no reference."""
    words = ""
    for child in next(iter(item.findall(nodes.paragraph))).children:
        kind = child.attributes.get("reftype") if isinstance(child, nodes.Element) else None
        if isinstance(child, nodes.math) or kind in ("ref", "numref", "eq"):
            break
        words += child.astext()
    return re.sub(r"\s+", " ", re.match(r"(?s)(?:.*[.?!](?=\s|$))?", words)[0])


def terms_of(app: Sphinx) -> dict[str, tuple[str, str, str]]:
    """Page, anchor and explanation of all terms, by their names in small letters."""
    if not hasattr(app, "book_terms"):  # read once in each process
        app.book_terms = {}
        objects = app.env.get_domain("std").get_objects()
        for docname in sorted({entry[3] for entry in objects if entry[2] == "term"}):
            for item in app.env.get_doctree(docname).findall(nodes.definition_list_item):
                for term in (term for term in item.findall(nodes.term) if term["ids"]):
                    entry = docname, term["ids"][0], explanation(item)
                    app.book_terms[term.astext().lower()] = entry
    return app.book_terms


def pattern(names: Iterable[str]) -> re.Pattern[str]:
    """What finds any of the terms, the longest first, in the plural too."""
    words = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])({words or '(?!)'})(?:s|es)?(?![\w-])", re.IGNORECASE)


def is_running(node: nodes.Node) -> bool:
    """Whether nothing around a node is a link, code or mathematics."""
    while (node := node.parent) is not None:
        if isinstance(node, PLAIN):
            return False
    return True


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace the first mention of each term by a link."""
    if app.builder.format != "html" or not app.env.doc2path(docname).endswith(".ipynb"):
        return
    # All terms, not only those that are left: "lasso" is not to be found in a second "group lasso".
    left = dict(terms_of(app))
    finder, exceptions = pattern(left), pattern(app.config.term_exceptions)
    for paragraph in list(doctree.findall(nodes.paragraph)):
        for text in [text for text in paragraph.findall(nodes.Text) if is_running(text)]:
            words, parts, position = text.astext(), [], 0
            others = [found.span() for found in exceptions.finditer(words)]
            for match in finder.finditer(words):
                meant = not any(begin <= match.start() < end for begin, end in others)
                term = left.pop(" ".join(match[1].split()).lower(), None) if meant else None
                if term:
                    address = f"{app.builder.get_relative_uri(docname, term[0])}#{term[1]}"
                    options = {"internal": True, "refuri": address, "classes": ["term"]}
                    title = {"reftitle": term[2]} if term[2] else {}
                    parts.append(nodes.Text(words[position : match.start()]))
                    parts.append(nodes.reference(match[0], match[0], **options, **title))
                    position = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(words[position:])])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_config_value("term_exceptions", [], "env", list)
    app.connect("doctree-resolved", link_terms, priority=800)
    return {"version": "3", "parallel_read_safe": True, "parallel_write_safe": True}
