"""Widget states as the book's page gets them."""

from __future__ import annotations

from typing import Any

from .explorer import LambdaExplorer, script_of
from .trainer import Trainer

__all__ = ["compact_state"]

_OWN = "l2lab.explore."  # how the names of these widgets' classes begin


def compact_state(state: dict[str, Any]) -> dict[str, Any]:
    """Prepare a stored widget state for the book's page: each widget's source once, and the current one.

    This adds to the first model of each class the JavaScript for the kinds of panels that the page shows, and
    the style; the page's loader ``widgets-offline.js`` takes both from there for the other models. So a page
    shows the current front end without running its notebook again.

    Parameters
    ----------
    state : dict
        Content of ``application/vnd.jupyter.widget-state+json``, which has the models under "state". Not
        changed.

    Returns
    -------
    dict
        The same structure; models of other packages are left as they are.
    """
    models = {key: {**model, "state": dict(model["state"])} for key, model in state["state"].items()}
    own = [m["state"] for m in models.values() if m["state"].get("_anywidget_id", "").startswith(_OWN)]
    kinds = {panel["kind"] for traits in own for panel in traits.get("panels", [])}
    given = set()
    for traits in own:
        which = traits["_anywidget_id"]
        trains = which.endswith(".Trainer")
        sources = {"_esm": Trainer._esm if trains else script_of(kinds), "_css": LambdaExplorer._css}
        for key in sources:
            traits.pop(key, None)
        if which not in given:
            traits.update(sources)
        given.add(which)
    return {**state, "state": models}
