"""A figure in the colours of a dark page.

Every colour that a figure was drawn in has a counterpart: the house colours by a table, all others by turning
their lightness around, so that paper becomes ground, ink becomes light and a pale band a dim one.  Pictures
(photographs, digits, maps in viridis or magma) keep their colours, and so does what is drawn on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.colors import ListedColormap, to_hex, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

GROUND = "#121212"  # that of the site's dark theme
# Light house colour: its counterpart. Those that the λ explorer has too are the same there.
PAIRS: dict[str, str] = {
    "#0072b2": "#56b4e9",  # blue
    "#c84e00": "#f28c4c",  # vermillion
    "#009e73": "#3cc79a",  # green
    "#a8538a": "#e08fbe",  # purple
    "#9a6b00": "#e3b341",  # gold
    "#2a8fc7": "#b3dcf7",  # sky
    "#1f2328": "#e6edf3",  # black
    "#8a9099": "#8d97a3",  # grey
    "#6e7681": "#8d97a3",  # frames
    "#ffffff": GROUND,
}
# Björn Ottosson's Oklab, whose first coordinate is the lightness that one sees.
_TO_LMS = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_TO_LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip


def counterparts(colors: Any) -> np.ndarray:
    """Return the dark page's counterparts of n colours, whatever Matplotlib takes, as RGBA (n, 4).

    The opacity is that of the given colours.
    """
    return np.reshape([(*_turned(*rgb), a) for *rgb, a in to_rgba_array(colors).tolist()], (-1, 4))


@contextmanager
def dark_colours(fig: Figure) -> Iterator[Figure]:
    """Give a figure that was drawn once, so that its ticks exist, the colours of a dark page for a while."""
    done: list[tuple[Artist, str, Any]] = []
    try:
        for artist in _artists(fig):
            # all at once: a marker may have the colour of its line until it is given one
            for name, old, new in list(_changes(artist)):
                done.append((artist, name, old))
                artist.set(**{name: new})
        yield fig
    finally:
        for artist, name, old in reversed(done):
            artist.set(**{name: old})


@cache
def _turned(*color: float) -> tuple[float, ...]:
    if pair := PAIRS.get(to_hex(color)):
        return to_rgb(pair)
    # White (lightness 1) goes to that of the ground, 0.18, and the ink (0.25) to a light grey, 0.87.
    rgb = np.array(color)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    lab[0] = np.minimum(1.10 - 0.92 * lab[0], 0.95)
    linear = np.clip((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0, 1)
    return tuple(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


def _artists(fig: Figure) -> Iterator[Artist]:
    kept = set()
    for ax in fig.findobj(Axes):
        if any(_is_picture(part) for part in [*ax.images, *ax.collections]):
            kept.update(map(id, [*ax.images, *ax.collections, *ax.lines, *ax.patches, *ax.texts]))
    for artist in fig.findobj():
        if id(artist) in kept:
            continue
        yield artist
        if isinstance(artist, Text):  # Matplotlib does not count its box and arrow among its children
            yield from filter(None, (artist.get_bbox_patch(), getattr(artist, "arrow_patch", None)))


def _changes(artist: Artist) -> Iterator[tuple[str, Any, Any]]:
    if _fades_into_paper(artist):
        cmap = artist.get_cmap()
        turned = ListedColormap(counterparts(cmap(np.arange(cmap.N))))
        yield "cmap", cmap, turned.with_extremes(bad=counterparts(cmap.get_bad())[0])
        return
    names: tuple[str, ...] = ()
    if isinstance(artist, Text):
        names = ("color",)
    elif isinstance(artist, Line2D):
        names = ("color", "markerfacecolor", "markeredgecolor")
    elif isinstance(artist, Patch) or (isinstance(artist, Collection) and artist.get_array() is None):
        names = ("facecolor", "edgecolor")
    for name in names:
        value = getattr(artist, f"get_{name}")()
        if to_rgba_array(value)[:, 3:].any():  # what is invisible may have an opacity of its own: leave it
            colors = counterparts(value)
            yield name, value, (colors if isinstance(artist, Collection) else colors[0])


def _fades_into_paper(artist: Artist) -> bool:
    # A map of colours with white in it; but a grey image is a picture.
    array = artist.get_array() if isinstance(artist, AxesImage | Collection) else None
    if array is None or array.ndim > 2:
        return False
    rgb = artist.get_cmap()([0.0, 0.5, 1.0])[:, :3]
    grey = np.ptp(rgb, axis=1).max() < 0.02
    return rgb.min(axis=1).max() > 0.9 and not (grey and isinstance(artist, AxesImage))


def _is_picture(artist: Artist) -> bool:
    covers = isinstance(artist, AxesImage | QuadMesh) or getattr(artist, "filled", False)
    return covers and not _fades_into_paper(artist)
