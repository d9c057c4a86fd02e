"""How the book was made: two tables of stored records on one page, and a line in the footer of all.

``{{runs}}`` on that page stands for the notebooks: when their stored outputs were made, how long that took
and on what, as ``make execute`` has recorded it; ``{{studies}}`` for the measurements in ``results/``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from l2lab import __version__

PAGE = "book/status"
FOOTER = f'<p>Version {__version__}. <a href="{{}}">How this book was made and checked</a>.</p>'


def table(*rows: list[Any]) -> str:
    """A table in Markdown, whose first row is its head."""
    head, *body = ([str(cell).partition("+cu")[0] for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the tables into the page."""
    if docname != PAGE:
        return
    results = Path(app.env.doc2path(docname)).parent / "results"
    records = {path.name: json.loads(path.read_text("utf-8")) for path in sorted(results.glob("*.json"))}
    kept = ["seconds", "profile", "device", "torch"]
    runs = [
        [f"{{doc}}`{name.removesuffix('.ipynb')}`", *(run.get(key, "–") for key in ("date", *kept))]
        for name, run in sorted(records["execution.json"].items())
    ]
    studies = [
        [f"{s['what']} (`{name}`)", len(s.get("seeds", ())) or "–", s["date"], s["machine"], s["torch"]]
        for name, s in records.items()
        if "what" in s
    ]
    runs = table(["notebook", "executed", *kept], *runs)
    studies = table(["study", "seeds", "measured", "machine", "torch"], *studies)
    source[0] = source[0].replace("{{runs}}", runs).replace("{{studies}}", studies)


def add_to_footer(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say the version on every page, and where it is told how the book was made."""
    line = FOOTER.format(context["pathto"](PAGE))
    context["theme_extra_footer"] = (context.get("theme_extra_footer") or "") + line


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", fill)
    app.connect("html-page-context", add_to_footer)
    return {"version": "3", "parallel_read_safe": True, "parallel_write_safe": True}
