"""`LambdaExplorer`: one slider over λ and any number of panels that are drawn in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from . import fallback
from .panels import Panel
from .widget import Widget, source

__all__ = ["LambdaExplorer"]

_FILES = (
    "base", "axes", "hist", "curves", "paths", "bars", "fit", "pixels", "heatmap", "budget", "geometry",
    "panel", "address", "theme", "controls", "context", "explorer",
)  # fmt: skip


class LambdaExplorer(Widget):
    """Slider over λ with panels drawn client-side.

    In Jupyter and Colab it is an ipywidget that Python can observe. On the book's page the same JavaScript
    runs without kernel or network from the stored widget state. Everywhere else (GitHub, print, no
    JavaScript) a picture of small multiples stands in.

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
    ) -> None:
        grid, panels = _check(lams, panels)
        self._lams, self._panels = grid, panels
        specs, blob = _pack(panels)
        at = len(grid) // 2 if index is None else int(index)
        shown = {"panels": specs, "blob": blob, "w_star": _shared_w_star(panels)}
        super().__init__(name=name, label=label, alt=alt, lams=grid.tolist(), index=at, **shown)
        self._follow()

    def __repr__(self) -> str:
        # no memory address: nbval compares this text
        grid = f"{len(self.lams)} values of λ from {self.lams[0]:g} to {self.lams[-1]:g}"
        return f"LambdaExplorer({self.name!r}, {grid}: {self.alt})"

    def draw_picture(self) -> bytes:
        """Draw small multiples."""
        return fallback.draw(self._lams, self._panels, label=self.label, index=self.index)

    @traitlets.validate("index")
    def _index_on_grid(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self._lams):
            raise ValueError(f"index must be in 0 … {len(self._lams) - 1}, got {proposal['value']}.")
        return proposal["value"]

    @traitlets.observe("index")
    def _follow(self, _change: Any = None) -> None:
        self.set_trait("lam", self.lams[self.index])


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
