"""Prepare the stored outputs of a notebook for the page (event ``source-read``, files ``*.ipynb`` only).

A committed notebook carries what JupyterLab and GitHub show well.  The page can show more:

1. the state of the widgets, kept in ``results/widgets/`` (inside the file it would make GitHub show
   nothing), goes back into ``metadata.widgets``;
2. an output whose metadata says ``{"l2lab": {"alt": …, "caption": …, "name": …}}`` becomes a numbered figure
   with that caption, that label and that alternative text (myst-nb reads these from the *cell* only);
3. a picture whose metadata holds a second one, for a dark page (``{"l2lab": {"dark": …}}``, base64), becomes
   a pair: the theme shows one of them, ``only-light`` or ``only-dark``, under one number and one caption;
4. an output with ``{"l2lab": {"role": "caption"}}`` repeats the caption below the picture for readers of the
   notebook; the page has the figure's own caption, so it goes.

The paragraph that leads readers of the notebook to Colab and to the page (``repository``) goes too.

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
CODE_HIDDEN = "remove-input"
CODE_TAGS = ("hide-input", "hide-cell", "remove-input")

Json = dict[str, Any]


def sidecar_of(notebook: Path) -> Path:
    """Where the widget state of a notebook is kept: ``results/widgets/`` beside it."""
    return notebook.parent / "results" / "widgets" / f"{notebook.stem}.json"


def label(output: Json) -> Json:
    """What ``l2lab`` wrote into the output's metadata (empty for all other outputs)."""
    return output.get("metadata", {}).get("l2lab", {}) if output.get("output_type") in RICH else {}


def is_picture(output: Json) -> bool:
    """Whether the output is a rich one that holds a picture."""
    return output.get("output_type") in RICH and any(kind in output.get("data", {}) for kind in PICTURES)


def describe(cell: Json, mark: Json) -> None:
    """Write one output's alternative text, caption and label where myst-nb looks: into its cell."""
    mystnb = cell.setdefault("metadata", {}).setdefault("mystnb", {})
    if mark.get("alt"):
        mystnb.setdefault("image", {}).setdefault("alt", " ".join(mark["alt"].split()))
    if mark.get("caption"):
        figure = mystnb.setdefault("figure", {})
        figure.setdefault("caption", mark["caption"])
        if mark.get("name"):
            figure.setdefault("name", mark["name"])


def prepare_cell(cell: Json) -> list[Json]:
    """Replace one cell by the cells that the page needs: one for each described picture.

    myst-nb knows one figure per cell and would give its caption to *every* rich output of it.  So a cell
    with a described picture among other rich outputs is cut: the first piece keeps the code, the others
    show outputs only.

    Parameters
    ----------
    cell : dict
        A notebook cell; it may be changed.

    Returns
    -------
    list of dict
        One cell or more.
    """
    if cell.get("cell_type") != "code":
        return [cell]
    outputs = [out for out in cell.get("outputs", []) if label(out).get("role") != "caption"]
    cell["outputs"] = outputs
    described = [is_picture(out) and bool(label(out)) for out in outputs]
    if not any(described):
        return [cell]

    groups: list[tuple[bool, list[Json]]] = []  # a described picture stands alone, the rest stays together
    for out, alone in zip(outputs, described, strict=True):
        if groups and not alone and not groups[-1][0]:
            groups[-1][1].append(out)
        else:
            groups.append((alone, [out]))
    # Streams put before or after the picture need no cut: myst-nb wraps rich outputs only.
    if sum(out.get("output_type") in RICH for out in outputs) == 1:
        groups = [(True, outputs)]

    pieces = []
    for number, (alone, members) in enumerate(groups):
        piece = cell if number == 0 else copy.deepcopy({**cell, "outputs": []})
        piece["outputs"] = members
        if number:
            tags = [tag for tag in piece.get("metadata", {}).get("tags", []) if tag not in CODE_TAGS]
            piece.setdefault("metadata", {})["tags"] = [*tags, CODE_HIDDEN]
            if "id" in piece:
                piece["id"] = f"{piece['id'][:56]}-{number}"
        pieces.append((piece, alone, members))
    for piece, alone, members in pieces:  # after copying: a description belongs to one piece only
        if alone:
            describe(piece, label(next(out for out in members if is_picture(out))))
    return [piece for piece, _, _ in pieces]


def restore_state(notebook: Json, state: Json) -> None:
    """Put the widget state of the sidecar into the notebook's metadata, with the widgets' source."""
    notebook.setdefault("metadata", {})["widgets"] = {STATE: compact_state(state)}


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
    sidecar = sidecar_of(path)
    if sidecar.exists():
        app.env.note_dependency(str(sidecar))
        restore_state(notebook, json.loads(sidecar.read_text("utf-8")))
    title = notebook["cells"][0]
    if title["cell_type"] == "markdown":
        title["source"] = BANNER.sub("", "".join(title["source"]))
    cells, waiting = [], app.env.temp_data.setdefault(DARK, {})
    for number, cell in enumerate(notebook["cells"], start=1):
        for out in cell.get("outputs", []):
            mark = label(out)
            if mark.get("dark"):
                light = hashlib.sha256(base64.b64decode(out["data"]["image/png"])).hexdigest()
                waiting[light] = base64.b64decode(mark["dark"])
            if is_picture(out) and mark.get("caption") and not mark.get("alt"):
                logger.warning(
                    "cell %d: a figure with a caption but without alternative text; give plots.show an alt=",
                    number,
                    location=docname,
                    type="l2book",
                    subtype="alt",
                )
        cells += prepare_cell(cell)
    notebook["cells"] = cells
    source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", prepare)
    app.add_transform(PairPictures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
