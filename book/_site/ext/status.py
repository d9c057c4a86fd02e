"""How the book was made: two tables of stored records, and a line in the footer.

``{execution-status}`` lists the notebooks: when their stored outputs were made, how long that took and on
what, from the record that ``make execute`` keeps; ``{stored-studies}`` the measurements in ``results/``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from l2lab import __version__

STATUS_PAGE = "book/status"
FOOTER = f'<p>Version {__version__}. <a href="{{}}">How this book was made and checked</a>.</p>'


def torch_of(record: dict[str, Any]) -> str:
    """The version of torch without the mark of its CUDA build."""
    return record.get("torch", "–").partition("+")[0]


class ExecutionStatus(SphinxDirective):
    """The notebooks and the run that made their outputs, in the order of their names."""

    title = "The run that made the stored outputs of each notebook"
    head = ("notebook", "executed", "seconds", "profile", "device", "torch")

    def rows(self, records: dict[str, Any]) -> list[list[Any]]:
        """One row for each notebook."""
        kept = ("date", "seconds", "profile", "device")
        return [
            [f"{{doc}}`{Path(name).stem}`", *(run.get(key, "–") for key in kept), torch_of(run)]
            for name, run in sorted(records["execution.json"].items())
        ]

    def run(self) -> list[nodes.Node]:
        """Write the table of the records beside the page in Markdown, and parse it where the directive is."""
        records = {}
        for path in sorted((Path(self.env.doc2path(self.env.docname)).parent / "results").glob("*.json")):
            self.env.note_dependency(str(path))
            records[path.name] = json.loads(path.read_text("utf-8"))
        table = [self.head, ["---"] * len(self.head), *self.rows(records)]
        lines = [f"| {' | '.join(map(str, cells))} |" for cells in table]
        text = [f"```{{table}} {self.title}", "", *lines, "```"]
        node = nodes.Element()
        self.state.nested_parse(StringList(text, source=self.env.docname), 0, node)
        return node.children


class StoredStudies(ExecutionStatus):
    """The measurements that notebooks read instead of repeating them."""

    title = "Stored studies"
    head = ("study", "seeds", "measured", "machine", "torch")

    def rows(self, records: dict[str, Any]) -> list[list[Any]]:
        """One row for each file of results."""
        studies = {f"{study['what']} (`{name}`)": study for name, study in records.items() if "what" in study}
        return [
            [what, len(s["seeds"]) if "seeds" in s else "–", s["date"], s["machine"], torch_of(s)]
            for what, s in studies.items()
        ]


def add_to_footer(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say the version on every page, and where it is told how the book was made."""
    if STATUS_PAGE in app.env.all_docs:
        line = FOOTER.format(context["pathto"](STATUS_PAGE))
        context["theme_extra_footer"] = (context.get("theme_extra_footer") or "") + line


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("execution-status", ExecutionStatus)
    app.add_directive("stored-studies", StoredStudies)
    app.connect("html-page-context", add_to_footer)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
