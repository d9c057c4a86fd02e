"""The one look of the book's static pictures; curves differ in line style and marker as well as in colour."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from PIL import Image

from l2lab.dark import GROUND, dark_colours

# After Okabe and Ito (2008), with the light hues darkened until a thin line is legible on white.
COLORS: dict[str, str] = {
    "blue": "#0072B2",
    "vermillion": "#C84E00",
    "green": "#009E73",
    "purple": "#A8538A",
    "gold": "#9A6B00",
    "sky": "#2A8FC7",
    "black": "#1F2328",
    "grey": "#8A9099",
}
_CYCLE = ("blue", "vermillion", "green", "purple", "gold", "sky", "black")
_LINES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (3, 1)), "-")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Curves that occur in every chapter always look the same.
_KNOWN = {"train": 0, "training": 0, "test": 1, "valid": 2, "validation": 2, "ridge": 0, "lasso": 1}

DPI = 144
CSS_DPI = 96
MIN_ALT = 20


def use_style() -> None:
    """Set the house style for all following figures."""
    mpl.rcdefaults()
    mpl.rc("figure", figsize=(7.2, 3.6), dpi=DPI)
    mpl.rc("figure.constrained_layout", use=True, w_pad=0.06, h_pad=0.06)
    mpl.rc("axes", titlesize=10.5, titleweight="bold", titlelocation="left")
    mpl.rc("axes", edgecolor="#6E7681", labelcolor=COLORS["black"], grid=True, axisbelow=True)
    mpl.rc("axes", prop_cycle=cycler(color=[COLORS[c] for c in _CYCLE], linestyle=_LINES))
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc(("xtick", "ytick"), labelsize=9, color="#4A5058")
    mpl.rc("legend", fontsize=9, title_fontsize=9, framealpha=0.85, edgecolor="none", handlelength=2.6)
    mpl.rc("text", color=COLORS["black"])
    mpl.rc("grid", color="#E3E6EA", linewidth=0.7)
    mpl.rc("lines", linewidth=1.9, markersize=4.5)


def show(fig: Figure, *, alt: str, caption: str, name: str | None = None) -> None:
    """Show a figure with its text alternative and its caption, and close it.

    In a notebook this makes two outputs: the picture, with all that the pages need in its metadata, and the
    caption. In plain Python the figure is only closed.

    Parameters
    ----------
    fig, alt : Figure, str
        The figure, and what a reader who does not see it must know, in at least 20 characters.
    caption, name : str
        Caption, Markdown allowed, and label for references: small letters, digits, ``-`` and ``_``.
    """
    alt, caption = " ".join(alt.split()), " ".join(caption.split())
    if len(alt) < MIN_ALT:
        raise ValueError(f"alt must say in at least {MIN_ALT} characters what the picture shows, got {alt!r}")
    if not caption:
        raise ValueError("give a caption: one sentence that says what the reader should see")
    if name is not None and not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ValueError(f"name must be a lower-case letter, then letters, digits, '-', '_', got {name!r}")
    light, dark = pictures(fig)
    width, height = (round(inches * CSS_DPI) for inches in fig.get_size_inches())
    plt.close(fig)
    if get_ipython() is None:
        return
    about = {"image/png": {"alt": alt, "width": width, "height": height}}
    about["l2lab"] = {"alt": alt, "caption": caption, "name": name, "dark": dark}
    display({"image/png": light, "text/plain": alt}, metadata=about, raw=True)
    repeated = {"text/markdown": f"*{caption}*", "text/plain": caption}
    display(repeated, metadata={"l2lab": {"role": "caption"}}, raw=True)


def pictures(fig: Figure) -> tuple[str, str]:
    """Draw a figure, which keeps its colours, for a light page and a dark one: two PNG files in base64."""
    fig.set_dpi(DPI)
    light = _png(fig, "white")
    layout = fig.get_layout_engine()
    fig.set_layout_engine("none")  # what has its place already keeps it
    with dark_colours(fig):
        dark = _png(fig, GROUND)
    fig.set_layout_engine(layout)
    return light, dark


def lam_axis(ax: Axes, lams: Any, *, label: str = "λ") -> np.ndarray:
    """Make the x axis a logarithmic λ axis, on which λ = 0 has a place of its own behind a break.

    Parameters
    ----------
    ax : Axes
        Axes to change.
    lams : array_like, shape (L,)
        Values of λ, increasing, at least 0, at least one of them positive.
    label : str, default "λ"
        Axis label.

    Returns
    -------
    ndarray, shape (L,)
        Where to draw each λ.
    """
    lams = np.asarray(lams, dtype=np.float64)
    rising = lams.ndim == 1 and np.isfinite(lams).all() and (np.diff(lams) > 0).all()
    if not rising or not len(lams) or lams[0] < 0 or lams[-1] == 0:
        raise ValueError("lams must be finite numbers of at least 0 that increase, one of them positive")
    positive = lams[lams > 0]
    low, high = np.log10(positive[0]), np.log10(positive[-1])
    gap = max(0.14 * (high - low), 0.3)
    ticks = 10.0 ** np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
    if len(ticks) < 2:
        ticks = np.unique([positive[0], positive[-1]])
    step = -(-len(ticks) // 8)
    ticks = ticks[::-1][::step][::-1]
    zero = 10.0 ** (low - gap)
    left = low - (1.3 * gap if lams[0] == 0 else 0.2 * gap)
    ax.set(xscale="log", xlim=(10.0**left, 10.0 ** (high + 0.2 * gap)), xlabel=label)
    ax.xaxis.set_major_locator(FixedLocator([zero, *ticks] if lams[0] == 0 else ticks))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: "0" if lams[0] == 0 and x < positive[0] * 0.99 else _number(x))
    )
    ax.xaxis.set_minor_locator(NullLocator())
    if lams[0] == 0:
        _axis_break(ax, 10.0 ** (low - 0.55 * gap))
    return np.where(lams > 0, lams, zero)


def u_curve(
    ax: Axes, lams: Any, curves: Mapping[str, Any], *, ylabel: str | None = None, legend: bool | str = True
) -> None:
    """Draw quantities against λ: medians, with a band from the smallest to the largest seed.

    Parameters
    ----------
    ax : Axes
        Axes to draw in.
    lams : array_like, shape (L,)
        Values of λ, see :func:`lam_axis`.
    curves : dict of str to array_like, shape (L,) or (L, S)
        One entry per curve; S is the number of seeds. "train", "valid" and "test" keep their looks
        everywhere.
    ylabel, legend : str, bool or str
        Label of the y axis; whether to draw the legend, or where, as in ``ax.legend(loc=...)``.
    """
    x = lam_axis(ax, lams)
    first = int(np.asarray(lams)[0] == 0)
    looks = _looks(list(curves))
    seeds = 1
    for name, values in curves.items():
        values = np.asarray(values, dtype=np.float64)
        if values.ndim not in (1, 2) or len(values) != len(x):
            raise ValueError(f"curve {name!r} must have shape ({len(x)}[, seeds]), got {values.shape}")
        values = values.reshape(len(x), -1)
        middle, low, high = np.median(values, axis=1), values.min(axis=1), values.max(axis=1)
        ax.plot(x[first:], middle[first:], label=name, markevery=max(1, len(x) // 8), **looks[name])
        if first:  # λ = 0 stands apart, so its value is a point of its own
            ax.plot(x[:1], middle[:1], **looks[name] | {"linestyle": "none"})
        if values.shape[1] > 1:
            seeds, color = values.shape[1], looks[name]["color"]
            ax.fill_between(x[first:], low[first:], high[first:], color=color, alpha=0.16, linewidth=0)
            if first:
                ax.vlines(x[0], low[0], high[0], color=color, alpha=0.3, linewidth=6)
    if ylabel:
        ax.set_ylabel(ylabel)
    if legend:
        title = f"median and min–max of {seeds} seeds" if seeds > 1 else None
        ax.legend(loc="best" if legend is True else legend, title=title, alignment="left")


def weight_histogram(
    ax: Axes,
    edges: Any,
    counts: Any,
    *,
    zeros: int | None = None,
    label: str | None = None,
    color: str = COLORS["blue"],
    top: float | None = None,
) -> None:
    """Draw a histogram of weights with a logarithmic count axis; the exact zeros have a bar apart.

    Parameters
    ----------
    ax : Axes
        Axes to draw in.
    edges, counts : array_like, shapes (bins + 1,) and (bins,)
        From :func:`l2lab.measures.weight_histogram`.
    zeros : int, optional
        Number of weights that are exactly 0; it is written above its bar, also if it is 0.
    label, color, top : str, str, float
        Title of the panel, colour, and upper end of the count axis, to make panels comparable.
    """
    edges, counts = np.asarray(edges, dtype=np.float64), np.asarray(counts)
    if edges.shape != (counts.size + 1,):
        raise ValueError(f"counts must have shape (bins,), edges (bins + 1,): {counts.shape}, {edges.shape}")
    floor, span = 0.6, edges[-1] - edges[0]
    top = top or 3.0 * max(counts.max(), zeros or 0, 3)
    ax.set_yscale("log", nonpositive="clip")
    ax.stairs(counts, edges, fill=True, baseline=floor, color=color, linewidth=0)
    ax.set(xlabel="weight", ylabel="number of weights", ylim=(floor, top))
    if label:
        ax.set_title(label)
    ax.grid(axis="x", visible=False)
    if zeros is None:
        ax.set_xlim(edges[0], edges[-1])
        return
    bar, right = edges[-1] + 0.18 * span, edges[-1] + 0.33 * span
    ax.axvspan(edges[-1] + 0.03 * span, right, color="#F0F2F4", linewidth=0, zorder=0)
    red = COLORS["vermillion"]
    if zeros:
        look = {"color": red, "hatch": "////", "edgecolor": "white", "linewidth": 0}
        ax.bar(bar, zeros - floor, 0.08 * span, bottom=floor, **look)
    look = {"color": red, "fontsize": 9, "fontweight": "bold", "ha": "center", "va": "bottom"}
    place = (bar, max(zeros, floor))
    ax.annotate(f"{zeros:,}", place, xytext=(0, 2), textcoords="offset points", **look)
    ticks = MaxNLocator(4).tick_values(edges[0], edges[-1])
    ticks = [t for t in ticks if edges[0] <= t <= edges[-1] - 0.1 * span]
    ax.set_xlim(edges[0], right)
    ax.set_xticks([*ticks, bar], [*(f"{t:g}".replace("-", "−") for t in ticks), "= 0"])


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    # Known names take their place in the cycle; the others take what is left, in order.
    taken = {_KNOWN[n] for n in names if n in _KNOWN}
    free = itertools.cycle([k for k in range(len(_CYCLE)) if k not in taken] or [0])
    places = [_KNOWN[name] if name in _KNOWN else next(free) for name in names]
    looks = [{"color": COLORS[_CYCLE[k]], "linestyle": _LINES[k], "marker": _MARKERS[k]} for k in places]
    return dict(zip(names, looks, strict=True))


def _number(x: float) -> str:
    k = np.log10(x)
    return f"$10^{{{round(k)}}}$" if abs(k - round(k)) < 1e-6 else f"{x:.2g}"


def _axis_break(ax: Axes, x: float) -> None:
    # Two strokes over a white gap in the axis line: the scale is interrupted here.
    at = ax.get_xaxis_transform()
    gap = {"markersize": 7, "color": "white", "markeredgecolor": "white", "markeredgewidth": 5}
    stroke = [(-1, -1.6), (1, 1.6)]
    ax.plot([x], [0], transform=at, marker=stroke, linestyle="none", clip_on=False, zorder=4, **gap)
    look = {"ha": "center", "va": "center", "fontsize": 9, "color": "#4A5058"}
    look |= {"xycoords": at, "textcoords": "offset points", "zorder": 5, "annotation_clip": False}
    for shift in (-2.4, 2.4):
        ax.annotate("/", (x, 0), xytext=(shift, 0), **look)


def _png(fig: Figure, ground: str) -> str:
    # 256 colours are plenty for a chart and make the file a third. Saving again with Pillow also drops the
    # version that Matplotlib writes into it, so the same figure gives the same bytes.
    # A canvas draws once where savefig draws twice.
    buffer, canvas, paper = io.BytesIO(), FigureCanvasAgg(fig), fig.get_facecolor()
    fig.set_facecolor(ground)
    canvas.draw()
    fig.set_facecolor(paper)
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image = image.quantize(256, dither=Image.Dither.NONE)
    image.save(buffer, format="png", optimize=True, dpi=(DPI, DPI))
    return base64.b64encode(buffer.getvalue()).decode()
