"""Prepare the stored outputs of a notebook for the page: what myst-nb knows of a *cell* only, or not at all.

1. the state of the widgets, kept in ``results/widgets/`` (inside the file it would make GitHub show nothing),
   goes back into ``metadata.widgets``;
2. an output whose metadata says ``{"l2lab": {"alt": …, "caption": …, "name": …}}`` becomes a numbered figure;
3. with ``{"l2lab": {"dark": …}}``, a second picture in base64, a pair: the theme shows one of them, under one
   number and one caption;
4. an output with ``{"l2lab": {"role": "caption"}}`` repeats the caption for readers of the notebook, and the
   paragraph of ``repository`` leads them to the page: on the page both go.

The notebook file itself is never changed.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from l2lab.explore import compact_state

logger = logging.getLogger(__name__)

STATE = "application/vnd.jupyter.widget-state+json"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif")
RICH = ("display_data", "execute_result")
DARK = "l2lab_dark"  # where a page's dark pictures wait, by the name under which myst-nb stores the light one
BANNER = re.compile(r"(?m)^> Run this notebook \[on Colab\].*\n\n")
CODE_TAGS = ("hide-input", "hide-cell", "remove-input")

Json = dict[str, Any]


def label(output: Json) -> Json:
    """What ``l2lab`` wrote into the output's metadata (empty for all other outputs)."""
    return output.get("metadata", {}).get("l2lab", {}) if output["output_type"] in RICH else {}


def described(output: Json) -> Json:
    """What ``l2lab`` says of a picture; empty for all that is none."""
    return label(output) if any(kind in output.get("data", {}) for kind in PICTURES) else {}


def describe(cell: Json, mark: Json) -> None:
    """Write one output's alternative text, caption and label where myst-nb looks: into its cell."""
    mystnb = cell["metadata"].setdefault("mystnb", {})
    if mark.get("alt"):
        mystnb.setdefault("image", {}).setdefault("alt", " ".join(mark["alt"].split()))
    for key in ("caption", "name"):
        if mark.get("caption") and mark.get(key):
            mystnb.setdefault("figure", {}).setdefault(key, mark[key])


def prepare_cell(cell: Json) -> list[Json]:
    """Replace one cell by the cells that the page needs: one for each described picture.

    myst-nb knows one figure per cell and would give its caption to *every* rich output of it.  So a cell
    with a described picture among other rich outputs is cut: the first piece keeps the code, the others
    show outputs only.
    """
    if cell["cell_type"] != "code":
        return [cell]
    outputs = [out for out in cell["outputs"] if label(out).get("role") != "caption"]
    groups: list[list[Json]] = [[]]
    several = sum(out["output_type"] in RICH for out in outputs) > 1
    for out in outputs:
        if several and groups[-1] and (described(out) or described(groups[-1][-1])):
            groups.append([])
        groups[-1].append(out)
    pieces = [{**copy.deepcopy(cell), "outputs": members} for members in groups]
    for number, piece in enumerate(pieces):
        if number:
            tags = [tag for tag in piece["metadata"].get("tags", []) if tag not in CODE_TAGS]
            piece["metadata"]["tags"] = [*tags, "remove-input"]
            if "id" in piece:
                piece["id"] = f"{piece['id'][:56]}-{number}"
        for out in piece["outputs"]:
            describe(piece, described(out))
    return pieces


class PairPictures(SphinxTransform):
    """Put the picture for a dark page behind the one for a light page."""

    default_priority = 500  # before Sphinx collects images, at 880

    def apply(self, **kwargs: Any) -> None:
        """Visit all pictures of the page."""
        waiting = self.env.temp_data.get(DARK, {})
        for light in list(self.document.findall(nodes.image)):
            address = Path(light["uri"])
            if address.stem not in waiting:
                continue
            dark = light.deepcopy()
            dark["uri"] = address.with_stem(f"{address.stem}-dark").as_posix()
            light["classes"].append("only-light")
            dark["classes"].append("only-dark")
            _, place = self.env.relfn2path(dark["uri"])
            Path(place).write_bytes(waiting[address.stem])
            light.parent.insert(light.parent.index(light) + 1, dark)


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change what Sphinx has read of a notebook, as the module's text says."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    notebook["metadata"].pop("widgets", None)  # what Colab and JupyterLab keep there may lack the state
    sidecar = path.parent / "results" / "widgets" / f"{path.stem}.json"
    if sidecar.exists():
        app.env.note_dependency(str(sidecar))
        notebook["metadata"]["widgets"] = {STATE: compact_state(json.loads(sidecar.read_text("utf-8")))}
    title = notebook["cells"][0]
    title["source"] = BANNER.sub("", "".join(title["source"]))
    waiting = app.env.temp_data.setdefault(DARK, {})
    for number, cell in enumerate(notebook["cells"], start=1):
        for out in cell.get("outputs", []):
            mark = described(out)
            if "dark" in mark:
                light = hashlib.sha256(base64.b64decode(out["data"]["image/png"])).hexdigest()
                waiting[light] = base64.b64decode(mark["dark"])
            if mark.get("caption") and not mark.get("alt"):
                said = f"cell {number}: a figure with a caption but without alternative text (alt=)"
                logger.warning(said, location=docname, type="l2book", subtype="alt")
    notebook["cells"] = [piece for cell in notebook["cells"] for piece in prepare_cell(cell)]
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", prepare)
    app.add_transform(PairPictures)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
