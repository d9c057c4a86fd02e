r"""Read the plain Markdown of notebooks as what it means: MyST has only marks that other programs show.

CONTRIBUTING lists the marks: places, equations, figures, exercises, solutions, boxes, citations and links in
what JupyterLab, Colab, VS Code and GitHub draw.  When all is read, each link must lead into the file that it
names, and the number of an equation, a figure or an exercise that a notebook says must be the one that the
page shows.  In pages that are no notebooks, links alone are read.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from html import escape, unescape
from typing import Any

from docutils.nodes import make_id
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)

BOXES = {"Objectives": "tip", "Prerequisites and time": "note", "Note": "note", "Warning": "warning"}
OURS = re.compile(r"(?:sec|ch|eq|fig|ex)-[\w-]+|(?:module-)?l2lab[\w.]*")  # other fragments are left to MyST
CODE = r"^(?P<fence>```+|~~~+).*?^(?P=fence)|`[^`\n]+`"
LINK = re.compile(
    rf"{CODE}|\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<file>[^()#\s]*)(?:#(?P<label>[^()\s]+))?\)",
    re.DOTALL | re.MULTILINE,
)
CITED = r"\[[^\[\]]+, \d{4}\]\([^()#\s]*references\.\w+#\w+\)"
CITATIONS = re.compile(rf"\({CITED}(?:;\s+{CITED})*\)")
KEY = re.compile(r"#(\w+)\)")
TARGET = re.compile(r'^<a id="(?P<label>[\w-]+)"></a>[ \t]*$', re.MULTILINE)
EQUATION = re.compile(
    r'^<a id="(?P<label>eq-[\w-]+)"></a>\s*'
    r"\$\$(?P<math>(?:(?!\$\$).)*?)\s*\\tag\{(?P<number>[^}]*)\}\s*\$\$$",
    re.DOTALL | re.MULTILINE,
)
EXERCISE = re.compile(
    r'^<a id="(?P<label>ex-[\w-]+)"></a>\s*\*\*(?P<title>Exercise (?P<number>[\d.]+) [^*\n]*?)\.?\*\*\n'
    r"(?P<body>.*?)(?=^#+ |^<|\Z)",
    re.DOTALL | re.MULTILINE,
)
BOX = re.compile(rf"^> \*\*(?P<title>{'|'.join(BOXES)})\.\*\*(?P<body>.*(?:\n>.*)*)", re.MULTILINE)
SUMMARY = re.compile(r"(<summary[^>]*>)(.*?)(</summary>)", re.DOTALL)
INLINE = re.compile(r"\$(?P<math>[^$\n]+)\$|`(?P<code>[^`\n]+)`")
SOLUTION = re.compile(r"# *@title (Solution [^:\n]*[^:\s])[^\n]*\n+")
OPENING = re.compile(r"\s*<details>\s*<summary>[^\n]*</summary>\s*")
FENCE = "``````"

Json = dict[str, Any]


class Reader:
    """The plain marks of one page: what MyST understands instead, its links and the numbers that it says."""

    def __init__(self, docname: str) -> None:
        self.docname = docname
        self.links: list[tuple[str, str, str]] = []  # document, label, text
        self.numbers: dict[str, str] = {}  # label of an equation or exercise -> number

    def link(self, found: re.Match[str]) -> str:
        """Turn a link into a reference or a citation, unless it leads out of the book."""
        text, label, file = found["text"], found["label"], found["file"]
        if text is None or (file and not re.fullmatch(r"[^:]+\.(ipynb|md)", file)):
            return found[0]
        name = posixpath.join(posixpath.dirname(self.docname), posixpath.splitext(file)[0])
        document = posixpath.normpath(name) if file else self.docname
        if posixpath.basename(document) == "references" and re.search(r" \(\d{4}\)$", text):
            return f"{{cite:t}}`{label}`"
        if not OURS.fullmatch(label or ""):
            return found[0]
        label = label.removeprefix("module-")
        self.links.append((document, label, text))
        return f"[{text}](#{label})"

    def references(self, text: str) -> str:
        """Read citations and links."""
        text = CITATIONS.sub(lambda m: f"{{cite:p}}`{','.join(KEY.findall(m[0]))}`", text)
        return LINK.sub(self.link, text)

    def equation(self, found: re.Match[str]) -> str:
        """Label an equation; the page numbers it. The id is for links from elsewhere: Sphinx has another."""
        label = found["label"]
        self.numbers[label] = found["number"]
        return f'<div id="{label}"></div>\n\n$${found["math"]}\n$$ ({label})'

    def exercise(self, found: re.Match[str]) -> str:
        """Put an exercise into a box."""
        self.numbers[found["label"]] = found["number"]
        options = f":class: exercise\n:name: {found['label']}"
        return f"{FENCE}{{admonition}} {found['title']}\n{options}\n\n{found['body'].strip()}\n{FENCE}\n\n"

    def markdown(self, text: str) -> str:
        """Read a Markdown cell."""
        text = self.references(text)
        text = EXERCISE.sub(self.exercise, EQUATION.sub(self.equation, text))
        text = TARGET.sub(lambda m: "" if m["label"].startswith("fig-") else f"({m['label']})=", text)
        text = BOX.sub(box, text)
        return SUMMARY.sub(lambda m: m[1] + INLINE.sub(typeset, m[2]) + m[3], text)


def box(found: re.Match[str]) -> str:
    """Turn a quotation into a box."""
    body = re.sub(r"(?m)^> ?", "", found["body"]).strip()
    return f"{FENCE}{{admonition}} {found['title']}\n:class: {BOXES[found['title']]}\n\n{body}\n{FENCE}\n"


def typeset(found: re.Match[str]) -> str:
    """Turn one piece of inline math or code into HTML."""
    if found["math"] is not None:
        return rf'<span class="math notranslate nohighlight">\({escape(unescape(found["math"]))}\)</span>'
    return f'<code class="docutils literal notranslate">{escape(unescape(found["code"]))}</code>'


def fold_solutions(cells: list[Json]) -> Iterator[Json]:
    """Join the code of a solution and the words after it in one fold; ``source`` is a text."""

    def raw(text: str) -> Json:
        name = {"id": f"{cell['id'][:56]}-fold"} if "id" in cell else {}
        return {"cell_type": "markdown", "metadata": {}, "source": text, **name}

    inside = False
    for cell in cells:
        title = SOLUTION.match(cell["source"]) if cell["cell_type"] == "code" else None
        if title:
            if not inside:
                yield raw(f'<details class="solution"><summary>{title[1]}</summary>\n')
            inside = True
            tags = cell["metadata"].get("tags", [])
            cell["metadata"]["tags"] = [tag for tag in tags if tag != "hide-cell"]
            cell["source"] = cell["source"][title.end() :]
        elif inside:
            inside = False
            words = OPENING.match(cell["source"])
            if words:
                cell["source"] = cell["source"][words.end() :]
            else:
                yield raw("</details>")
        elif cell["cell_type"] == "markdown":
            solution = r'<details class="solution">\1<summary>Solution'
            cell["source"] = re.sub(r"<details>(\s*)<summary>Solution", solution, cell["source"])
        yield cell
    if inside:
        yield raw("</details>")


def read_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change what Sphinx has read of a page, as the module's text says."""
    reader = Reader(docname)
    if not app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = reader.references(source[0])
    else:
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
            cell.setdefault("metadata", {})
        notebook["cells"] = list(fold_solutions(notebook["cells"]))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = reader.markdown(cell["source"])
        source[0] = json.dumps(notebook)
    app.env.metadata[docname]["plain_links"] = reader.links
    app.env.metadata[docname]["plain_numbers"] = reader.numbers


def place_of(env: BuildEnvironment, label: str) -> tuple[str, str]:
    """The document that has a label, and the number that the page shows there (empty: none)."""
    equations, std = env.get_domain("math").equations, env.get_domain("std")
    if label in equations:
        docname, kind, anchor = equations[label][0], "displaymath", make_id(f"equation-{label}")
    else:
        found = env.get_domain("py").objects.get(label)
        docname, anchor = (found.docname, "") if found else std.anonlabels.get(label, ("", ""))
        kind = "figure"
    number = env.toc_fignumbers.get(docname, {}).get(kind, {}).get(anchor, ())
    return docname, ".".join(map(str, number))


def check_pages(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of links into the wrong file and of numbers that the page does not show."""
    said = {name: n for data in env.metadata.values() for name, n in data.get("plain_numbers", {}).items()}
    for docname, data in env.metadata.items():
        for label, number in data.get("plain_numbers", {}).items():
            shown = place_of(env, label)[1]
            if shown and number != shown:
                logger.warning("%s says (%s), the page (%s)", label, number, shown, location=docname)
        for document, label, text in data.get("plain_links", ()):
            place, shown = place_of(env, label)
            if place and place != document:
                logger.warning("%s stands in %s, not in %s", label, place, document, location=docname)
            shown = shown or said.get(label, "")
            if shown and re.findall(r"\d+(?:\.\d+)*", text) not in ([shown], []):
                logger.warning("a link to %s, number %s, says %r", label, shown, text, location=docname)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", read_page, priority=400)  # before outputs are taken apart
    app.connect("env-check-consistency", check_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
