"""`LambdaExplorer`: one slider over λ and any number of panels that are drawn in the browser.

The same object works in three hosts. In Jupyter and Colab it is an ipywidget (through anywidget) that Python
can observe and that can retrain. On the book's static page the same JavaScript runs without kernel or network
from the stored widget state. Everywhere else (GitHub, print, no JavaScript) a picture of small multiples
stands in.
"""

from __future__ import annotations

import base64
import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from . import fallback as _fallback
from .panels import Panel

__all__ = ["Control", "LambdaExplorer", "compact_state"]

_HERE = Path(__file__).parent
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_MIN_ALT = 20


def _source(name: str) -> str:
    """Read a front-end file without indentation, blank lines and whole-line comments.

    Every widget instance carries its source in the page, so bytes count. The files are written such that this
    is safe: no string spans lines.
    """
    lines = (line.strip() for line in (_HERE / name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@dataclass(frozen=True)
class Control:
    """A choice besides λ that makes the explorer retrain in a live kernel.

    Parameters
    ----------
    options : sequence
        Values to choose from: numbers, strings or bools.
    value : object, optional
        The value at the start. By default the first option.
    label : str, optional
        What the reader sees. By default the name of the control.
    kind : {"menu", "slider"}
        A drop-down menu, or a slider through the options in their order.
    """

    options: Sequence[Any]
    value: Any = None
    label: str | None = None
    kind: Literal["menu", "slider"] = "menu"

    def __post_init__(self) -> None:
        options = [v.item() if isinstance(v, np.generic) else v for v in self.options]
        if len(options) < 2 or not all(isinstance(v, (bool, int, float, str)) for v in options):
            raise ValueError("a control needs at least two options, each a number, string or bool.")
        if self.kind not in ("menu", "slider"):
            raise ValueError(f"kind must be 'menu' or 'slider', got {self.kind!r}.")
        value = options[0] if self.value is None else self.value
        if value not in options:
            raise ValueError(f"value {value!r} is not among the options {options}.")
        object.__setattr__(self, "options", tuple(options))
        object.__setattr__(self, "value", options[options.index(value)])


class LambdaExplorer(anywidget.AnyWidget):
    """Slider over λ with panels drawn client-side.

    Parameters
    ----------
    lams : array-like of shape (L,)
        The grid: finite, non-negative, strictly increasing, at least two values. The first may be 0.
    panels : sequence of Panel, or None
        What is drawn, from `hist_panel`, `curves_panel` and so on, each with L as first axis. None asks
        ``compute``.
    name : str
        Identifies the explorer in the page and in its address (``#name:lam=0.03``): a lower-case letter, then
        letters, digits and hyphens. Unique within a page.
    alt : str
        What the picture shows, for those who do not see it (at least 20 characters).
    label : str
        What λ is called above the slider and on the axes, for example "λ (weight decay)". The read-out leaves
        out what stands in brackets.
    index : int, optional
        Position on the grid at the start. By default the middle.
    fallback : {"auto"}, Figure, bytes or None
        The picture for hosts without widgets: drawn from the panels, given, or none.
    controls : mapping of str to Control or sequence, optional
        Further choices, by name of the argument of ``compute``. A plain sequence stands for a menu.
    compute : callable, optional
        Called as ``compute(**choice)`` when the reader changes a control in a live kernel. Returns the new
        panels, or a pair (lams, panels). What it raises is shown in the widget.

    Attributes
    ----------
    index : int
        Position on the grid (synchronized with the browser).
    lam : float
        The value of λ there; read-only. ``explorer.observe(f, names="lam")`` calls ``f`` whenever it changes.
    w_star : list of float
        The optimum that geometry panels share; dragging it in the browser changes it here.
    choice : dict
        The current values of the controls.
    busy : bool
        Whether ``compute`` is running.
    error : str
        What ``compute`` raised last, or "".

    Raises
    ------
    ValueError
        If the grid, a panel, the name or the alternative text does not fit; the message says how.

    Notes
    -----
    On the static page, ``<a href="#name:lam=0.03">`` sets the explorer to the nearest λ and scrolls to it.
    With geometry panels the address can also hold w*: ``#name:lam=0.03,w=1.2:0.4``. Several explorers are
    separated by ";". In a live notebook the address is left alone.

    Examples
    --------
    >>> import numpy as np
    >>> from l2lab.explore import LambdaExplorer, curves_panel
    >>> lams = np.logspace(-4, 0, 5)
    >>> LambdaExplorer(lams, [curves_panel({"train": lams, "test": 1 - lams})], name="toy",
    ...                alt="Training loss rises, test loss falls.")
    LambdaExplorer('toy', 5 values of λ from 0.0001 to 1: Training loss rises, test loss falls.)
    """

    _esm = _source("explorer.js")
    _css = _source("explorer.css")

    name = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode("λ").tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    lams = traitlets.List(traitlets.Float()).tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    w_star = traitlets.List(traitlets.Float()).tag(sync=True)
    panels = traitlets.List(traitlets.Dict()).tag(sync=True)
    blob = traitlets.Bytes(b"").tag(sync=True)
    controls = traitlets.List(traitlets.Dict()).tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    lam = traitlets.Float(read_only=True)

    # IPython asks this first; ipywidgets 7 (Colab) defines it and would leave out the picture
    _ipython_display_ = None

    def __init__(
        self,
        lams: ArrayLike | None,
        panels: Sequence[Panel] | None,
        *,
        name: str,
        alt: str,
        label: str = "λ",
        index: int | None = None,
        fallback: Literal["auto"] | Figure | bytes | None = "auto",
        controls: Mapping[str, Control | Sequence[Any]] | None = None,
        compute: Callable[..., Any] | None = None,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"name must be a lower-case letter, then letters, digits and hyphens; got {name!r}."
            )
        if not isinstance(alt, str) or len(alt.strip()) < _MIN_ALT:
            raise ValueError(
                f"alt must say in at least {_MIN_ALT} characters what the figure shows; got {alt!r}."
            )
        if bool(controls) != (compute is not None):
            raise ValueError("controls and compute go together: give both or neither.")
        self._compute = None
        self._controls = {
            str(k): c if isinstance(c, Control) else Control(c) for k, c in (controls or {}).items()
        }
        choice = {k: c.value for k, c in self._controls.items()}
        if panels is None:
            if compute is None:
                raise ValueError("panels may be None only if compute is given.")
            lams, panels = _answer(compute(**choice), lams)
        grid, panels = _check(lams, panels)
        if index is None:
            index = len(grid) // 2
        if not 0 <= int(index) < len(grid):
            raise ValueError(f"index must be in 0 … {len(grid) - 1}, got {index}.")
        self._lams, self._panels = grid, panels
        self._auto = isinstance(fallback, str) and fallback == "auto"
        self._picture = None if self._auto else _png(fallback)
        specs, blob = _pack(panels)
        super().__init__(
            name=name,
            label=str(label),
            alt=alt.strip(),
            lams=grid.tolist(),
            index=int(index),
            panels=specs,
            blob=blob,
            w_star=_shared_w_star(panels),
            choice=choice,
            controls=[
                {"name": k, "label": c.label or k, "kind": c.kind, "options": list(c.options)}
                for k, c in self._controls.items()
            ],
        )
        self._follow()
        # only now: the first value of `choice`, too, is announced as a change
        self._compute = compute

    def __repr__(self) -> str:
        # no memory address: nbval compares this text
        grid = f"{len(self.lams)} values of λ from {self.lams[0]:g} to {self.lams[-1]:g}"
        return f"LambdaExplorer({self.name!r}, {grid}: {self.alt})"

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser says.

        A message may have been on its way while ``compute`` put a shorter grid in place, so its index is cut
        to the grid instead of refused.
        """
        if "index" in sync_data:
            last = len(self.lams) - 1
            sync_data = {**sync_data, "index": min(max(int(sync_data["index"]), 0), last)}
        super().set_state(sync_data)

    def fallback_png(self) -> bytes | None:
        """Return the picture for hosts without widgets.

        Returns
        -------
        bytes or None
            A PNG, the same bytes whenever the data are the same; None if the explorer was made with
            ``fallback=None``.
        """
        if self._auto and self._picture is None:
            self._picture = _fallback.draw(self._lams, self._panels, label=self.label, index=self.index)
        return self._picture

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        own = super()._repr_mimebundle_(**kwargs)
        # anywidget's own metadata carries what Colab needs to find its widget manager
        if isinstance(own, tuple):
            data, meta = dict(own[0]), dict(own[1])
        else:
            data, meta = dict(own or {}), {}
        data["text/plain"] = repr(self)
        meta["l2lab"] = {"alt": self.alt, "role": "explorer", "name": self.name}
        if picture := self.fallback_png():
            data["image/png"] = base64.b64encode(picture).decode("ascii")
            meta["image/png"] = {"alt": self.alt}
        return data, meta

    @traitlets.validate("index")
    def _index_on_grid(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self._lams):
            raise traitlets.TraitError(
                f"index must be in 0 … {len(self._lams) - 1}, got {proposal['value']}."
            )
        return proposal["value"]

    @traitlets.validate("choice")
    def _choice_among_options(self, proposal: Any) -> dict[str, Any]:
        given = proposal["value"]
        if set(given) != set(self._controls):
            raise traitlets.TraitError(
                f"choice must have the keys {list(self._controls)}, got {list(given)}."
            )
        chosen = {}
        for key, control in self._controls.items():
            if given[key] not in control.options:
                raise traitlets.TraitError(
                    f"{key} must be one of {list(control.options)}, got {given[key]!r}."
                )
            # JSON makes 1 of 1.0: hand the option itself to compute
            chosen[key] = control.options[control.options.index(given[key])]
        return chosen

    @traitlets.observe("index", "lams")
    def _follow(self, _change: Any = None) -> None:
        if self.lams and self.index < len(self.lams):
            self.set_trait("lam", self.lams[self.index])

    @traitlets.observe("choice")
    def _retrain(self, _change: Any) -> None:
        if self._compute is None:
            return
        self.error, self.busy = "", True
        try:
            grid, panels = _check(*_answer(self._compute(**self.choice), self._lams))
            specs, blob = _pack(panels)
        except Exception as err:
            # shown to the reader: a widget that silently keeps the old picture would lie
            self.error = f"{type(err).__name__}: {err}"
        else:
            near = _nearest(grid, self.lam)
            self._lams, self._panels = grid, panels
            if self._auto:
                self._picture = None
            # one message to the browser, and observers in Python see the new state whole
            with self.hold_sync(), self.hold_trait_notifications():
                self.lams, self.panels, self.blob, self.index = grid.tolist(), specs, blob, near
                if not self.w_star:
                    self.w_star = _shared_w_star(panels)
        finally:
            self.busy = False


# traitlets' __new__(*args, **kwargs) would hide the arguments from help(), Shift+Tab in Jupyter and the pages
_init = inspect.signature(LambdaExplorer.__init__)
LambdaExplorer.__signature__ = _init.replace(parameters=list(_init.parameters.values())[1:])


def compact_state(state: dict[str, Any]) -> dict[str, Any]:
    """Leave out repeated sources from a stored widget state, for the book's own page.

    Every instance of an anywidget stores its whole JavaScript (``_esm``) and style (``_css``). This keeps
    them in the first model of each class (``_anywidget_id``) and drops them from later models that have the
    same text. The page's loader ``widgets-offline.js`` takes what is missing from the first model with the
    same ``_anywidget_id``; other hosts (nbconvert, html-manager) do not, so write the compact form only into
    the built page and keep the stored one as ipywidgets made it.

    Parameters
    ----------
    state : dict
        Content of ``application/vnd.jupyter.widget-state+json``:
        ``{"version_major": 2, "version_minor": 0, "state": {model_id: {...}}}``. Not changed.

    Returns
    -------
    dict
        The same structure; models that nothing refers to any more are not removed.

    Raises
    ------
    ValueError
        If ``state`` has no "state" entry.
    """
    if not isinstance(state, Mapping) or not isinstance(state.get("state"), Mapping):
        raise ValueError(
            'not a widget state: expected {"version_major": 2, ..., "state": {model_id: {...}}}.'
        )
    first: dict[str, Mapping[str, Any]] = {}
    models = {}
    for model_id, model in state["state"].items():
        traits = model.get("state", {})
        if key := traits.get("_anywidget_id"):
            known = first.setdefault(key, traits)
            if known is not traits:
                repeated = {k for k in ("_esm", "_css") if k in traits and traits[k] == known.get(k)}
                model = {**model, "state": {k: v for k, v in traits.items() if k not in repeated}}
        models[model_id] = model
    return {**state, "state": models}


def _check(lams: ArrayLike | None, panels: Sequence[Panel]) -> tuple[np.ndarray, list[Panel]]:
    if lams is None:
        raise ValueError("lams is missing: give the grid, or let compute return (lams, panels).")
    try:
        grid = np.asarray(lams, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise ValueError("lams must be an array of numbers.") from err
    if grid.ndim != 1 or len(grid) < 2:
        raise ValueError(f"lams must be one-dimensional with at least two values, got shape {grid.shape}.")
    if not np.isfinite(grid).all():
        raise ValueError("lams holds NaN or infinite values.")
    if grid[0] < 0:
        raise ValueError(f"λ must not be negative, got {grid[0]:g}.")
    if np.any(np.diff(grid) <= 0):
        raise ValueError(
            "lams must increase strictly: sort the grid and what lies along it, drop duplicates."
        )
    if isinstance(panels, Panel) or not len(panels):
        raise ValueError("panels must be a list of at least one panel.")
    for p in panels:
        if not isinstance(p, Panel):
            raise ValueError(f"panels must come from hist_panel, curves_panel …, got {type(p).__name__}.")
        if p.n_lams is not None and p.n_lams != len(grid):
            raise ValueError(
                f"panel {p.title!r} ({p.kind}) has {p.n_lams} entries along λ, "
                f"but the grid has {len(grid)} values."
            )
    _shared_w_star(panels)
    return grid, list(panels)


def _answer(result: Any, lams: ArrayLike | None) -> tuple[ArrayLike | None, Sequence[Panel]]:
    """Split what compute returned: panels, or (lams, panels)."""
    if isinstance(result, tuple) and len(result) == 2 and not isinstance(result[0], Panel):
        return result
    if isinstance(result, (list, tuple)):
        return lams, result
    raise ValueError(f"compute must return a list of panels or (lams, panels), got {type(result).__name__}.")


def _shared_w_star(panels: Sequence[Panel]) -> list[float]:
    stars = {tuple(p.spec["w_star"]) for p in panels if p.kind == "geometry"}
    if len(stars) > 1:
        raise ValueError(f"all geometry panels of an explorer share w_star, got {sorted(stars)}.")
    return list(stars.pop()) if stars else []


def _nearest(grid: np.ndarray, lam: float) -> int:
    """Index of the grid value nearest to λ on the log scale (0 only for 0)."""
    if lam <= 0:
        return 0
    start = 1 if grid[0] == 0 else 0
    return start + int(np.abs(np.log(grid[start:] / lam)).argmin())


def _pack(panels: Sequence[Panel]) -> tuple[list[dict[str, Any]], bytes]:
    """Put all arrays into one buffer, aligned to 8 bytes; the JSON part only says where they are."""
    specs, parts, pos = [], [], 0
    for p in panels:
        arrays = {}
        for key, a in p.arrays.items():
            raw = np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<"), copy=False).tobytes()
            pad = -pos % 8
            pos += pad
            arrays[key] = {"dtype": a.dtype.name, "shape": list(a.shape), "offset": pos}
            parts += [b"\0" * pad, raw]
            pos += len(raw)
        specs.append({"kind": p.kind, "title": p.title, **p.spec, "arrays": arrays})
    return specs, b"".join(parts)


def _png(picture: Figure | bytes | None) -> bytes | None:
    if picture is None:
        return None
    if isinstance(picture, bytes):
        if not picture.startswith(b"\x89PNG"):
            raise ValueError("fallback bytes must be a PNG picture.")
        return picture
    if not isinstance(picture, Figure):
        raise ValueError(f"fallback must be 'auto', a Figure, PNG bytes or None, got {picture!r}.")
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=144, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
