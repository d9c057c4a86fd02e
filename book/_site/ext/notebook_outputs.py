"""Prepare the stored outputs of a notebook for the page: what myst-nb knows of a *cell* only, or not at all.

1. the state of the widgets, kept in ``results/widgets/`` (inside the file it would make GitHub show nothing),
   goes back into ``metadata.widgets``, and on the page to the end: the text is painted before it is parsed;
2. the picture of a widget's output bundle, of which myst-nb renders one MIME type, is put in front of it: the
   loader (``widgets-offline.js``) hides it once the widget stands;
3. an output whose metadata says ``{"l2lab": {"alt": …, "caption": …, "name": …}}`` becomes a numbered figure;
   with ``{"l2lab": {"dark": …}}``, a second picture in base64, a pair, of which the theme shows one;
4. an output with ``{"l2lab": {"role": "caption"}}`` repeats the caption for readers of the notebook: it goes;
5. what fails an accessibility check is mended; for the keyboard ``reach.js`` gives the focus back where the
   theme loses it.  The landmark of the logo and the name of the search are in ``templates/``.

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
from sphinx.transforms.post_transforms import SphinxPostTransform

from l2lab.explore import compact_state

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif")
RICH = ("display_data", "execute_result")
DARK = "l2lab_dark"  # where a page's dark pictures wait, by the name under which myst-nb stores the light one
CODE_TAGS = ("hide-input", "hide-cell", "remove-input")
# ARIA has withdrawn the role of entries of the bibliography, which stand in a list without items.
OLD_ROLE, ROLE = ' role="doc-biblioentry"', ' role="listitem"'
# It hides what the button of folded code says ("Show code cell source").
FOLD_LABEL = ' aria-label="Toggle hidden content"'
# The corner of a table that has headings on two sides.
EMPTY_HEADING = re.compile(r"<th\b[^>]*>\s*(?:<p>\s*</p>)?\s*</th>")

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
            if address.stem in waiting:
                dark = light.deepcopy()
                dark["uri"] = address.with_stem(f"{address.stem}-dark").as_posix()
                light["classes"].append("only-light")
                dark["classes"].append("only-dark")
                Path(self.env.relfn2path(dark["uri"])[1]).write_bytes(waiting[address.stem])
                light.parent.insert(light.parent.index(light) + 1, dark)


class KeepPicture(SphinxPostTransform):
    """Put the picture of a widget's output bundle in front of the widget view."""

    default_priority = 3  # myst-nb's SelectMimeType, which drops all but one MIME type, has 4
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Visit every output bundle of the page."""
        for bundle in list(self.document.findall(nodes.container)):
            by_type = {part.get("mime_type"): part for part in bundle.children if bundle.get("nb_element")}
            if VIEW in by_type and "image/png" in by_type:
                by_type[VIEW].insert(0, nodes.container(classes=["widget-fallback"]))
                by_type[VIEW][0] += by_type["image/png"].children


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change what Sphinx has read of a notebook, as the module's text says."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    notebook["metadata"].pop("widgets", None)  # what Colab and JupyterLab keep there may lack the state
    sidecar = path.parent / "results" / "widgets" / f"{path.stem}.json"
    if sidecar.exists():
        notebook["metadata"]["widgets"] = {STATE: compact_state(json.loads(sidecar.read_text("utf-8")))}
    waiting = app.env.temp_data.setdefault(DARK, {})
    for out in (out for cell in notebook["cells"] for out in cell.get("outputs", [])):
        mark = described(out)
        if "dark" in mark:
            light = hashlib.sha256(base64.b64decode(out["data"]["image/png"])).hexdigest()
            waiting[light] = base64.b64decode(mark["dark"])
    notebook["cells"] = [piece for cell in notebook["cells"] for piece in prepare_cell(cell)]
    source[0] = json.dumps(notebook)


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give bibliography entries a role, empty headings none, folds their words; move the state of widgets."""
    if doctree is not None:
        body = context["body"].replace(OLD_ROLE, ROLE).replace(FOLD_LABEL, "")
        context["body"] = EMPTY_HEADING.sub("<td></td>", body)
    scripts = context.get("script_files", [])
    for script in [s for s in scripts if getattr(s, "attributes", {}).get("type") == STATE]:
        context["body"] += f'<script type="{STATE}">{script.attributes["body"]}</script>\n'
        scripts.remove(script)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_js_file("reach.js")
    app.connect("source-read", prepare)
    app.add_transform(PairPictures)
    app.add_post_transform(KeepPicture)
    app.connect("html-page-context", mend, priority=900)  # after myst-nb has added its scripts
    return {"version": "3", "parallel_read_safe": True, "parallel_write_safe": True}
