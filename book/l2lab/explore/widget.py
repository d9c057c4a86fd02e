"""What explorer and trainer share: their source, their words, their output, their state on a page."""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

__all__ = ["Widget", "compact_state", "source"]

_HERE = Path(__file__).parent
_MIN_ALT = 20


def source(*files: str) -> str:
    """Join front-end files without indentation, blank lines and whole-line comments.

    The source goes into every page with a widget, so bytes count. No string in these files spans lines.
    """
    text = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in files)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


class Widget(anywidget.AnyWidget):
    """A widget with a name, words and a picture for hosts without widgets."""

    _css = source("explorer.css")

    name = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode("λ").tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    lams = traitlets.List(traitlets.Float()).tag(sync=True)

    # IPython asks this first; ipywidgets 7 (Colab) defines it and would leave out the picture
    _ipython_display_ = None
    _picture: bytes | None = None
    draw_picture: Callable[[], bytes]  # the subclass draws the picture, a PNG

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # traitlets' __new__(*args, **kwargs) would hide the arguments from help(), Shift+Tab and the pages
        own = inspect.signature(cls.__init__)
        cls.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])

    def __init__(self, *, name: str, alt: str, **values: Any) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"name must be a lower-case letter, then letters, digits, '-'; got {name!r}.")
        if len(alt.strip()) < _MIN_ALT:
            raise ValueError(f"alt must say in at least {_MIN_ALT} characters what is shown; got {alt!r}.")
        super().__init__(name=name, alt=alt.strip(), **values)

    def fallback_png(self) -> bytes:
        """Return the picture for hosts without widgets, a PNG."""
        if self._picture is None:
            self._picture = self.draw_picture()
        return self._picture

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        own = super()._repr_mimebundle_(**kwargs)
        # anywidget's own metadata carries what Colab needs to find its widget manager
        data, meta = map(dict, own) if isinstance(own, tuple) else (dict(own or {}), {})
        data["text/plain"] = repr(self)
        data["image/png"] = base64.b64encode(self.fallback_png()).decode("ascii")
        meta["image/png"] = {"alt": self.alt}
        meta["l2lab"] = {"alt": self.alt, "role": "explorer", "name": self.name}
        return data, meta


def compact_state(state: dict[str, Any]) -> dict[str, Any]:
    """Put the current front end, once for each class, into a stored widget state for the book's page.

    The page's loader ``widgets-offline.js`` takes the JavaScript and the style of the first model of a class
    for all of them. So a page shows the current front end without running its notebook again.

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
    waiting = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in Widget.__subclasses__()}
    own, models = set(waiting), {}
    for key, model in state["state"].items():
        traits, which = dict(model["state"]), model["state"].get("_anywidget_id")
        if which in own:
            traits = {k: v for k, v in traits.items() if k not in ("_esm", "_css")}
        if which in waiting:
            kind = waiting.pop(which)
            traits |= {"_esm": kind._esm, "_css": kind._css}
        models[key] = {**model, "state": traits}
    return {**state, "state": models}
