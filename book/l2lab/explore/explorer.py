"""`LambdaExplorer`: one slider over λ and any number of panels that are drawn in the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from . import fallback
from .panels import Panel
from .widget import Widget, source

__all__ = ["Control", "LambdaExplorer"]

_FILES = (
    "base", "axes", "hist", "curves", "paths", "bars", "fit", "field", "pixels", "heatmap", "calculator",
    "geometry", "panel", "address", "theme", "controls", "context", "explorer",
)  # fmt: skip


@dataclass(frozen=True)
class Control:
    """A choice besides λ that makes the explorer retrain in a live kernel.

    Parameters
    ----------
    options : sequence
        At least two values to choose from: numbers, strings or bools.
    value : object, optional
        The value at the start. By default the first option.
    label : str, optional
        What the reader sees. By default the name of the control.
    """

    options: Sequence[Any]
    value: Any = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.value is None:
            object.__setattr__(self, "value", self.options[0])
        if self.value not in self.options:
            raise ValueError(f"value {self.value!r} is not among the options {self.options}.")


class LambdaExplorer(Widget):
    """Slider over λ with panels drawn client-side.

    In Jupyter and Colab it is an ipywidget that Python can observe and that can retrain. On the book's page
    the same JavaScript runs without kernel or network from the stored widget state. Everywhere else (GitHub,
    print, no JavaScript) a picture of small multiples stands in.

    Parameters
    ----------
    lams : array-like of shape (L,)
        The grid: finite, non-negative, strictly increasing, at least two values. The first may be 0.
    panels : sequence of Panel
        What is drawn, from `hist_panel`, `curves_panel` and so on, each with L as first axis.
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
    controls : mapping of str to Control or sequence, optional
        Further choices, by name of the argument of ``compute``. A sequence stands for a `Control` of it.
    compute : callable, optional
        Called as ``compute(**choice)`` when the reader changes a control in a live kernel. Returns the new
        panels, or a pair (lams, panels). What it raises is shown in the widget.

    Attributes
    ----------
    index, lam : int, float
        Position on the grid, and the value of λ there. ``explorer.observe(f, names="lam")`` calls ``f``
        whenever it changes.
    w_star : list of float
        The optimum that geometry panels share; dragging it in the browser changes it here.

    Raises
    ------
    ValueError
        If the grid, a panel, the name or the alternative text does not fit; the message says how.

    Notes
    -----
    On the static page, ``<a href="#name:lam=0.03">`` sets the explorer to the nearest λ and scrolls to it.
    With geometry panels the address can also hold w*: ``#name:lam=0.03,w=1.2:0.4``.

    Examples
    --------
    >>> import numpy as np
    >>> from l2lab.explore import LambdaExplorer, curves_panel
    >>> lams = np.logspace(-4, 0, 5)
    >>> LambdaExplorer(lams, [curves_panel({"train": lams, "test": 1 - lams})], name="toy",
    ...                alt="Training loss rises, test loss falls.")
    LambdaExplorer('toy', 5 values of λ from 0.0001 to 1: Training loss rises, test loss falls.)
    """

    _esm = source(*(f"js/{name}.js" for name in _FILES))

    index = traitlets.Int(0).tag(sync=True)
    w_star = traitlets.List(traitlets.Float()).tag(sync=True)
    panels = traitlets.List(traitlets.Dict()).tag(sync=True)
    blob = traitlets.Bytes(b"").tag(sync=True)
    controls = traitlets.List(traitlets.Dict()).tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    lam = traitlets.Float(read_only=True)

    def __init__(
        self,
        lams: ArrayLike,
        panels: Sequence[Panel],
        *,
        name: str,
        alt: str,
        label: str = "λ",
        index: int | None = None,
        controls: Mapping[str, Control | Sequence[Any]] | None = None,
        compute: Callable[..., Any] | None = None,
    ) -> None:
        if bool(controls) != (compute is not None):
            raise ValueError("controls and compute go together: give both or neither.")
        self._compute = None
        given = {key: c if isinstance(c, Control) else Control(c) for key, c in (controls or {}).items()}
        grid, panels = _check(lams, panels)
        self._controls, self._lams, self._panels = given, grid, panels
        specs, blob = _pack(panels)
        menus = [{"name": k, "label": c.label or k, "options": list(c.options)} for k, c in given.items()]
        at = len(grid) // 2 if index is None else int(index)
        shown = {"index": at, "panels": specs, "blob": blob, "w_star": _shared_w_star(panels)}
        shown["choice"] = {key: c.value for key, c in given.items()}
        super().__init__(name=name, label=label, alt=alt, lams=grid.tolist(), controls=menus, **shown)
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

    def draw_picture(self) -> bytes:
        """Draw small multiples."""
        return fallback.draw(self._lams, self._panels, label=self.label, index=self.index)

    @traitlets.validate("index")
    def _index_on_grid(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self._lams):
            raise ValueError(f"index must be in 0 … {len(self._lams) - 1}, got {proposal['value']}.")
        return proposal["value"]

    @traitlets.validate("choice")
    def _choice_among_options(self, proposal: Any) -> dict[str, Any]:
        given = proposal["value"]
        if set(given) != set(self._controls):
            raise ValueError(f"choice must have the keys {list(self._controls)}, got {list(given)}.")
        # JSON makes 1 of 1.0: hand the option itself to compute
        return {key: c.options[list(c.options).index(given[key])] for key, c in self._controls.items()}

    @traitlets.observe("index", "lams")
    def _follow(self, _change: Any = None) -> None:
        if self.index < len(self.lams):
            self.set_trait("lam", self.lams[self.index])

    @traitlets.observe("choice")
    def _retrain(self, _change: Any) -> None:
        if self._compute is None:
            return
        self.error, self.busy = "", True
        try:
            answer = self._compute(**self.choice)
            grid, panels = _check(*(answer if isinstance(answer, tuple) else (self._lams, answer)))
            specs, blob = _pack(panels)
        except Exception as err:
            # shown to the reader: a widget that silently keeps the old picture would lie
            self.error = f"{type(err).__name__}: {err}"
        else:
            near = _nearest(grid, self.lam)
            self._lams, self._panels, self._picture = grid, panels, None
            # one message to the browser, and observers in Python see the new state whole
            with self.hold_sync(), self.hold_trait_notifications():
                self.lams, self.panels, self.blob, self.index = grid.tolist(), specs, blob, near
        finally:
            self.busy = False


def _check(lams: ArrayLike, panels: Sequence[Panel]) -> tuple[np.ndarray, list[Panel]]:
    grid = np.asarray(lams, dtype=np.float64)
    rising = grid.ndim == 1 and len(grid) > 1 and np.isfinite(grid).all() and np.all(np.diff(grid) > 0)
    if not rising or grid[0] < 0:
        raise ValueError("lams must be at least two finite numbers that increase strictly, none negative.")
    if isinstance(panels, Panel) or not panels:
        raise ValueError("panels must be a list of at least one panel.")
    for p in panels:
        if p.n_lams not in (None, len(grid)):
            raise ValueError(f"panel {p.title!r} has {p.n_lams} entries along λ, the grid {len(grid)}.")
    _shared_w_star(panels)
    return grid, list(panels)


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
    specs, blob = [], bytearray()
    for p in panels:
        arrays = {}
        for key, a in p.arrays.items():
            blob += bytes(-len(blob) % 8)
            arrays[key] = {"dtype": a.dtype.name, "shape": list(a.shape), "offset": len(blob)}
            blob += a.tobytes()
        specs.append({"kind": p.kind, "title": p.title, **p.spec, "arrays": arrays})
    return specs, bytes(blob)
