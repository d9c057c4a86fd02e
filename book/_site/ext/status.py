"""How the book was made: the directives of the page of that name, and a line in the footer.

``{execution-status}`` is a table of the notebooks: when their stored outputs were made, how long that took
and on what, from the record that ``make execute`` keeps.  ``{stored-studies}`` is a table of the files in
``results/``.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RECORD = "execution.json"
FOOTER = '<p>Version {version}. <a href="{address}">How this book was made and checked</a>.</p>'


def version(book: Path) -> str:
    """The version of the package, which is that of the book."""
    text = (book / "l2lab" / "__init__.py").read_text("utf-8")
    return re.search(r'__version__ = "([^"]+)"', text)[1]


def as_table(head: Iterable[str], rows: Iterable[Iterable[Any]], title: str) -> list[str]:
    """Lines of a Markdown table with a title."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(list(head))]
    lines += [f"| {' | '.join(str(value) for value in row)} |" for row in rows]
    return [f"```{{table}} {title}", "", *lines, "```"]


def torch_of(record: dict[str, Any]) -> str:
    """The version of torch without the mark of its CUDA build."""
    return record.get("torch", "–").partition("+")[0]


class Table(SphinxDirective, ABC):
    """A table that is made of stored records."""

    def folder(self) -> Path:
        """The folder of the book: that of the page."""
        return Path(self.env.doc2path(self.env.docname)).parent

    @abstractmethod
    def lines(self) -> list[str]:
        """The table in Markdown."""

    def note(self, path: Path) -> None:
        """The page depends on this file."""
        self.env.note_dependency(str(path))

    def run(self) -> list[nodes.Node]:
        """Parse the table where the directive stands."""
        node = nodes.Element()
        self.state.nested_parse(StringList(self.lines(), source=self.env.docname), 0, node)
        return node.children


class ExecutionStatus(Table):
    """The notebooks and the run that made their outputs."""

    def lines(self) -> list[str]:
        """One row for each notebook, in the order of their names."""
        path = self.folder() / "results" / RECORD
        self.note(path)
        rows = []
        for name, run in sorted(json.loads(path.read_text("utf-8")).items(), key=lambda item: item[0]):
            known = [run.get(key, "–") for key in ("date", "seconds", "profile", "device")]
            rows.append([f"{{doc}}`{Path(name).stem}`", *known, torch_of(run)])
        head = ("notebook", "executed", "seconds", "profile", "device", "torch")
        return as_table(head, rows, "The run that made the stored outputs of each notebook")


class StoredStudies(Table):
    """The measurements that notebooks read instead of repeating them."""

    def lines(self) -> list[str]:
        """One row for each file of results."""
        rows = []
        for path in sorted((self.folder() / "results").glob("*.json")):
            self.note(path)
            study = json.loads(path.read_text("utf-8"))
            if "what" in study:
                seeds = len(study["seeds"]) if "seeds" in study else "–"
                what = f"{study['what']} (`{path.name}`)"
                rows.append([what, seeds, study["date"], study["machine"], torch_of(study)])
        head = ("study", "seeds", "measured", "machine", "torch")
        return as_table(head, rows, "Stored studies")


def add_to_footer(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Say the version on every page, and where it is told how the book was made."""
    page = app.config.book_status_page
    if page in app.env.all_docs:
        line = FOOTER.format(version=app.config.book_version, address=context["pathto"](page))
        context["theme_extra_footer"] = (context.get("theme_extra_footer") or "") + line


def read_version(app: Sphinx, config: Any) -> None:
    """Take the version from the package, unless the configuration names one."""
    if not config.book_version:
        config.book_version = version(Path(__file__).resolve().parents[2])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_config_value("book_version", "", "html")
    app.add_config_value("book_status_page", "book/status", "html")
    app.add_directive("execution-status", ExecutionStatus)
    app.add_directive("stored-studies", StoredStudies)
    app.connect("config-inited", read_version)
    app.connect("html-page-context", add_to_footer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
