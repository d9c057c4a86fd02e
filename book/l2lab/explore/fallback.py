"""The picture that stands in where widgets do not run: small multiples of the same panels.

Drawings at one λ are repeated at four values of λ; drawings along λ appear once, with the four marked.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from ..budget import decay_plan, remaining_share
from .geometry import box_2d, lasso_2d, ridge_2d
from .panels import PALETTE, Panel

__all__ = ["INK", "MUTED", "draw", "encode", "figure"]

_COLORS = list(PALETTE.values())
INK, MUTED = "#1f2328", "#59636e"
_DASHES: tuple[object, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), "-")


def draw(lams: np.ndarray, panels: Sequence[Panel], *, label: str, index: int) -> bytes:
    """Draw the panels of a `LambdaExplorer` as a PNG; the grid position `index` is among those shown."""
    n = len(lams)
    shown = sorted({0, round((n - 1) / 3), round(2 * (n - 1) / 3), n - 1})
    if 0 < index < n - 1 and len(shown) > 2:  # the nearest inner one moves there
        near = min(shown[1:-1], key=lambda i: abs(i - index))
        shown[shown.index(near)] = index
    framed = [p for p in panels if p.kind in _AT]
    along = [p for p in panels if p.kind in _ALONG]
    pairs = [along[k : k + 2] for k in range(0, len(along), 2)]
    heights = [2.1] * len(framed) + [2.4] * len(pairs)
    with mpl.rc_context():
        fig = figure(sum(heights))
        rows = fig.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for row, panel in zip(rows, framed, strict=False):
            _frames(row, panel, lams, shown, "λ" if len(label) > 9 else label)
        for row, pair in zip(rows[len(framed) :], pairs, strict=True):
            for ax, panel in zip(row.subplots(1, len(pair), squeeze=False)[0], pair, strict=True):
                ax.set_title(panel.title, weight="bold", loc="left")
                _ALONG[panel.kind](ax, panel, lams, shown)
                if panel.kind != "calculator":
                    ax.set_xlabel(label)
                if any(ax.get_legend_handles_labels()):
                    ax.legend()
        return encode(fig)


def figure(height: float) -> Figure:
    """Give an empty figure, 7.6 inches wide, whose look does not depend on the reader's settings."""
    mpl.rcdefaults()
    mpl.rc("font", size=8)
    mpl.rc("text", color=INK)
    mpl.rc("axes", labelcolor=MUTED, edgecolor="#9aa2ab", axisbelow=True, titlesize=8.5)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc(("xtick", "ytick"), color=MUTED, labelsize=7)
    mpl.rc("legend", framealpha=0.8, edgecolor="none", fontsize=7.5)
    fig = Figure(figsize=(7.6, height), dpi=144, layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def encode(fig: Figure) -> bytes:
    """Return a figure as a PNG of few colours, which is small."""
    fig.get_layout_engine().execute(fig)  # to about ten digits, which differ from call to call
    fig.set_layout_engine("none")
    for ax in fig.axes:
        ax.set_position(np.round(ax.get_position(original=True).bounds, 4))
    fig.canvas.draw()
    image = Image.fromarray(np.ascontiguousarray(np.asarray(fig.canvas.buffer_rgba())[..., :3]))
    # this palette keeps the colours of small marks
    image = image.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, dpi=(144, 144))
    return buffer.getvalue()


def _frames(row: SubFigure, panel: Panel, lams: np.ndarray, shown: Sequence[int], sign: str) -> None:
    """One panel at several λ, side by side with common axes."""
    row.suptitle(panel.title, x=0.01, ha="left", size=8.5, weight="bold")
    axes = row.subplots(1, len(shown), sharex=True, sharey=True)
    for ax, i in zip(axes, shown, strict=True):
        ax.set_title(f"{sign} = {lams[i]:.3g}")
        _AT[panel.kind](ax, panel, i, lams)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3))
        ax.set(xlabel=panel.spec.get("xlabel", ""), ylabel=panel.spec.get("ylabel", ""))
        ax.label_outer()
    handles, names = axes[0].get_legend_handles_labels()
    if handles:
        row.legend(handles, names, ncols=len(names), loc="upper right")


def _hist(ax: Axes, p: Panel, i: int, lams: np.ndarray) -> None:
    edges, counts = np.array(p.spec["edges"]), p.arrays["counts"]
    zeros = p.arrays.get("zeros", np.zeros(len(counts), int))
    ax.set_yscale("log", nonpositive="clip")
    ax.stairs(counts[i], edges, fill=True, color=_COLORS[0])
    ax.stairs(counts[0], edges, color=MUTED, lw=0.6)
    if "zeros" in p.arrays:
        at, width = 1.25 * edges[0] - 0.25 * edges[-1], 0.1 * (edges[-1] - edges[0])
        ax.bar(at, zeros[i], width, color=_COLORS[1], label="exactly 0")
        number = {"ha": "center", "va": "bottom", "size": 7, "color": _COLORS[1]}
        ax.text(at, max(zeros[i], 0.7), f"{zeros[i]:,}", **number)
    ax.set_ylim(0.6, 3.0 * max(counts.max(), zeros.max(), 2))


def _bars(ax: Axes, p: Panel, i: int, lams: np.ndarray) -> None:
    y = p.arrays["y"][i]
    zero = 1 + np.flatnonzero(y == 0)
    ax.bar(1 + np.arange(len(y)), y, width=0.75, color=_COLORS[0])
    ax.plot(zero, 0 * zero, "o", ms=3, mfc="white", mec=_COLORS[1])
    ax.axhline(0, color=MUTED, lw=0.7)
    ax.set_ylim(p.spec["ylim"])
    told = {"ha": "right", "va": "top", "size": 7, "transform": ax.transAxes}
    ground = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    ax.text(1, 1, f"{len(zero)} exactly 0", bbox=ground, **told)


def _fit(ax: Axes, p: Panel, i: int, lams: np.ndarray) -> None:
    x, points = p.spec["x"], np.array(p.spec["points"]).reshape(-1, 2)
    data, fit, truth = p.spec["names"]
    if p.spec["truth"] is not None:
        ax.plot(x, p.spec["truth"], color=MUTED, ls=_DASHES[1], lw=1.2, label=truth)
    ax.plot(*points.T, "o", ms=3, color=INK, mec="white", mew=0.4, label=data)
    ax.plot(x, p.spec["offset"] + p.spec["step"] * p.arrays["y"][i], color=_COLORS[0], label=fit)
    ax.set_ylim(p.spec["ylim"])


def _field(ax: Axes, p: Panel, i: int, lams: np.ndarray) -> None:
    t = p.arrays["code"][i] / 127.5 - 1.0  # undoes the square root of field_panel
    margin = t * np.abs(t)
    ramp = LinearSegmentedColormap.from_list("lx", [_COLORS[0], "#ffffff", _COLORS[1]])
    look = {"cmap": ramp, "vmin": -2, "vmax": 2, "origin": "lower", "aspect": "auto"}
    ax.imshow(margin, extent=p.spec["extent"], **look)
    if margin.min() < 0 < margin.max():
        ax.contour(margin, [0], extent=p.spec["extent"], colors=INK, linewidths=1.3)
    for name, color in zip(p.spec["classes"], _COLORS, strict=False):
        ax.plot([], [], "s", color=color, alpha=0.5, label=name)


def _pixels(ax: Axes, p: Panel, i: int, lams: np.ndarray) -> None:
    y = p.arrays["y"]
    ramp = LinearSegmentedColormap.from_list("lx", ["#ffffff", _COLORS[0]])
    ax.imshow(y[i], cmap=ramp, vmin=0, vmax=y.max())
    rows, columns = np.divmod(p.spec["marks"], y.shape[2])
    ax.plot(columns, rows, "x", ms=4, color=INK, label=p.spec["mark"])
    ax.set(xticks=[], yticks=[])


_BODIES = {"l2": (ridge_2d, 2, 0), "l1": (lasso_2d, 1, 1), "linf": (box_2d, np.inf, 2)}


def _geometry(ax: Axes, p: Panel, i: int, lams: np.ndarray) -> None:
    hessian, w_star, reach = np.array(p.spec["hessian"]), np.array(p.spec["w_star"]), p.spec["extent"]
    u = np.linspace(-reach, reach, 121)
    plane = np.stack(np.meshgrid(u, u), axis=-1)

    def distance(w: np.ndarray) -> np.ndarray:
        return np.sqrt(np.einsum("...i,ij,...j", w - w_star, hessian, w - w_star))

    ax.contour(u, u, distance(plane), 6, colors="#c9ced4", linewidths=0.7)
    for norm in p.spec["norms"]:
        solve, order, k = _BODIES[norm]
        path = np.array([solve(hessian, w_star, float(lam)) for lam in lams])
        radius = np.linalg.norm(path[i], order) if norm != "linf" else 1 / max(lams[i], 1e-9)
        look = {"colors": _COLORS[k], "linewidths": 1.1}
        for values, level, dash in (
            (np.linalg.norm(plane, order, axis=-1), radius, "-"), (distance(plane), distance(path[i]), "--"),
        ):  # fmt: skip
            if values.min() < level < values.max():
                ax.contour(u, u, values, [level], linestyles=dash, **look)
        ax.plot(*path.T, color=_COLORS[k], lw=1.2, alpha=0.6)
        ax.plot(*path[i], "o", ms=4.5, color=_COLORS[k])
    ax.plot(*w_star, "+", ms=8, mew=1.8, color=INK)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def _lam_axis(ax: Axes, lams: np.ndarray, shown: Sequence[int]) -> np.ndarray:
    """Make the horizontal axis one over log λ; give the place of each λ, 0 standing at the left."""
    x = lams.copy()
    if x[0] == 0:
        x[0] = x[1] * (x[1] / x[-1]) ** 0.1 if len(x) > 2 else x[1] / 10
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        ax.annotate("0", (x[0], 0), (0, -4), va="top", ha="center", color=MUTED, size=7, **place)
    ax.set(xscale="log", xlim=(x[0] / 1.2, 1.2 * x[-1]))
    for i in shown:
        ax.axvline(x[i], color=MUTED, lw=0.5, ls=":")
    return x


def _curves(ax: Axes, p: Panel, lams: np.ndarray, shown: Sequence[int]) -> None:
    x, best = _lam_axis(ax, lams, shown), p.spec.get("best")
    y = (100 if p.spec["percent"] else 1) * p.arrays["y"].astype(float)
    colors = [_COLORS[k - 1] for k in p.spec["colors"]]
    for k, name in enumerate(p.spec["names"]):
        ax.fill_between(x, *y[k, 1:], color=colors[k], alpha=0.16, lw=0)
        ax.plot(x, y[k, 0], color=colors[k], ls=_DASHES[k % len(_DASHES)], label=name)
    if best:
        j, at = best["series"], best["at"]
        ax.plot(x[at], y[j, 0, at], "o", mfc="white", mec=colors[j], label=best["label"])
    ax.set_yscale("log" if p.spec["logy"] else "linear")
    ax.set(ylim=p.spec["ylim"], ylabel=p.spec["ylabel"] + (" (%)" if p.spec["percent"] else ""))


def _paths(ax: Axes, p: Panel, lams: np.ndarray, shown: Sequence[int]) -> None:
    x, group = _lam_axis(ax, lams, shown), np.array(p.spec["group"])
    for k in reversed(range(len(p.spec["names"]))):  # the first group on top
        color, few = _COLORS[p.spec["colors"][k] - 1], (group == k).sum() < 9
        lines = ax.plot(x, p.arrays["y"][:, group == k], color=color, lw=1.3 if few else 0.7)
        lines[0].set_label(p.spec["names"][k])
    ax.axhline(0, color=MUTED, lw=0.7)
    ax.set(ylim=p.spec["ylim"], ylabel=p.spec["ylabel"])


def _heatmap(ax: Axes, p: Panel, lams: np.ndarray, shown: Sequence[int]) -> None:
    low, high = p.spec["zlim"]
    mesh = ax.imshow(p.arrays["z"].T, cmap="cividis", vmin=low, vmax=high, origin="lower", aspect="auto")
    ax.figure.colorbar(mesh, ax=ax, label=p.spec["zlabel"])
    ax.plot(*p.spec["at"], "*", ms=9, mfc="white", mec="black", label="best of all")
    ax.set_xticks(shown, [f"{lams[i]:.2g}" for i in shown])
    every = slice(None, None, -(-len(p.spec["ys"]) // 8))
    rows = np.arange(len(p.spec["ys"]))
    ax.set_yticks(rows[every], [f"{v:.3g}" for v in p.spec["ys"][every]])
    ax.set_ylabel(p.spec["ylabel"])


def _calculator(ax: Axes, p: Panel, lams: np.ndarray, shown: Sequence[int]) -> None:
    run = {key: p.spec[key] for key in ("lr", "momentum", "schedule", "optimizer")}
    for k, i in enumerate(shown):
        plan = decay_plan(lams[i], **p.spec)
        share = np.abs(remaining_share(lams[i], steps=plan.steps, **run)).clip(1e-12, 1e6)
        name = f"λ = {lams[i]:.2g}, τ = {plan.timescale_epochs:.3g} epochs, B = {plan.budget:.3g}"
        ax.plot(share, color=_COLORS[k], ls=_DASHES[k], label=name)
    for level in (1e-3, 1e-6):
        ax.axhline(level, color=MUTED, lw=0.7)
    ax.set(yscale="log", ylim=(1e-8, 1.6), xlabel="step", ylabel="share that is left")


_AT = {
    "hist": _hist, "bars": _bars, "fit": _fit, "field": _field, "pixels": _pixels, "geometry": _geometry,
}  # fmt: skip
_ALONG = {"curves": _curves, "paths": _paths, "heatmap": _heatmap, "calculator": _calculator}
