"""The picture that stands in where widgets do not run: small multiples of the same panels.

Drawings at one λ are repeated at four values of λ; drawings along λ appear once, with the four marked. Only
the arrays that go to the browser are used, so the picture cannot show anything else than the widget does.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from PIL import Image

from ..budget import decay_budget, decay_limits, remaining_share
from .geometry import box_2d, lasso_2d, ridge_2d
from .panels import PALETTE, Panel

__all__ = ["draw", "encode", "use_style"]

_COLORS = list(PALETTE.values())
_DASHES: tuple[object, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), "-")
_INK, _MUTED, _GRID = "#1f2328", "#59636e", "#e3e6ea"
# the stops of heatmap.js: close to cividis, even in lightness and the same for all kinds of colour vision
_RAMP = LinearSegmentedColormap.from_list("lx", ["#00224e", "#414d6b", "#7c7b78", "#bcaf6f", "#fde737"], 24)
_WIDTH, _LEFT, _RIGHT, _DPI = 7.6, 0.62, 0.14, 144  # all but the last in inches
_ROOMY = {"heatmap", "budget"}  # these have a row for themselves: colour bar or legend stand beside them
_HEIGHTS = {"geometry": 1.55, "field": 1.3, "pixels": 1.55}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(lams: np.ndarray, panels: Sequence[Panel], *, label: str, index: int) -> bytes:
    """Draw small multiples of the panels of a `LambdaExplorer`, the grid position `index` among them.

    Given back is a PNG of few colours, 7.6 inches wide at 144 dots per inch. Equal input gives equal bytes.
    """
    shown = _positions(len(lams), index)
    framed = [p for p in panels if p.kind in _FRAMED]
    pairs: list[list[Panel]] = []
    for p in panels:
        if p.kind in _FRAMED:
            continue
        if pairs and len(pairs[-1]) == 1 and not _ROOMY & {p.kind, pairs[-1][0].kind}:
            pairs[-1].append(p)
        else:
            pairs.append([p])
    below = {"hist": 0.3}  # two lines of words
    rows = [_Row(len(shown), _HEIGHTS.get(p.kind, 1.2), 0.5, below.get(p.kind, 0.22)) for p in framed]
    rows += [_Row(len(pair), 1.8, 0.28, 0.26, gap=0.75) for pair in pairs]
    height = sum(row.height for row in rows)
    scene = _Scene(lams, label, shown if framed else [], index)
    with mpl.rc_context():
        use_style()
        fig = Figure(figsize=(_WIDTH, height), dpi=_DPI)
        FigureCanvasAgg(fig)
        top = height
        for row, content in zip(rows, [*framed, *pairs], strict=True):
            axes = row.axes(fig, top)
            if isinstance(content, Panel):
                fig.text(0.1 / _WIDTH, (top - 0.16) / height, content.title, weight="bold", va="center")
                _frames(axes, content, scene)
            else:
                for ax, panel in zip(axes, content, strict=True):
                    ax.set_title(panel.title)
                    ax.grid(axis="y")
                    _ALONG[panel.kind](ax, panel, scene)
            top -= row.height
        # maps need more colours for their ramps
        return encode(fig, 64 + (144 if {p.kind for p in panels} & {"heatmap", "pixels"} else 0))


def encode(fig: Figure, colors: int) -> bytes:
    """Return a figure with its canvas as a PNG of so many colours: equal figures give equal bytes."""
    fig.canvas.draw()
    rgb = np.asarray(fig.canvas.buffer_rgba())[..., :3]
    # few flat colours: a palette makes the picture two to three times smaller without visible loss; one that
    # spans all colours keeps those of small marks
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image = image.quantize(colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, dpi=(_DPI, _DPI))
    return buffer.getvalue()


def use_style() -> None:
    """Set Matplotlib's defaults, whatever the reader has, and the look of these pictures."""
    mpl.rcdefaults()
    mpl.rc("font", size=8.5)
    mpl.rc("text", color=_INK)
    mpl.rc("axes", labelcolor=_MUTED, edgecolor="#9aa2ab", labelsize=8.5, axisbelow=True)
    mpl.rc("axes", titlesize=9, titlelocation="left", titleweight="bold")
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc(("xtick", "ytick"), color=_MUTED, labelsize=7.5)
    mpl.rc("grid", color=_GRID, linewidth=0.6)
    mpl.rc("lines", linewidth=1.6)
    # no line runs through a legend
    mpl.rc("legend", framealpha=1.0, edgecolor="none", borderpad=0.15, fontsize=8)


@dataclass(frozen=True)
class _Row:
    """One row of axes, laid out in inches (a layout engine would shift with every label)."""

    columns: int
    plot: float
    above: float
    below: float
    gap: float = 0.2

    @property
    def height(self) -> float:
        return self.above + self.plot + self.below + 0.22

    def axes(self, fig: Figure, top: float) -> list[Axes]:
        """Add the axes; ``top`` is the upper edge of the row."""
        total = fig.get_figheight()
        width = (_WIDTH - _LEFT - _RIGHT - (self.columns - 1) * self.gap) / self.columns
        bottom = (top - self.above - self.plot) / total
        left = (_LEFT + k * (width + self.gap) for k in range(self.columns))
        return [fig.add_axes((x / _WIDTH, bottom, width / _WIDTH, self.plot / total)) for x in left]


@dataclass(frozen=True)
class _Scene:
    """What a drawing needs to know besides its panel."""

    lams: np.ndarray
    label: str
    shown: Sequence[int]  # positions on the grid that are marked along λ
    at: int  # the position of a drawing at one λ


def _lam_axis(ax: Axes, scene: _Scene) -> np.ndarray:
    """Make a horizontal axis over log λ, with room for λ = 0 at the left, and return the place of each λ."""
    logs = np.log10(scene.lams[scene.lams > 0])
    zero = len(logs) < len(scene.lams)
    x = np.r_[logs[0] - 0.09 * (np.ptp(logs) or 1.0), logs] if zero else logs
    pad = 0.02 * (np.ptp(x) or 1.0)
    ax.set_xlim(x[0] - pad, x[-1] + pad)
    low, high = int(np.ceil(logs[0] - 1e-9)), int(np.floor(logs[-1] + 1e-9))
    ticks = list(range(low, high + 1, max(1, -(-(high - low + 1) // 7))))
    names = [_power(k) for k in ticks]
    if len(ticks) < 2:
        ticks, names = [logs[0], logs[-1]], [f"{10 ** logs[k]:.2g}" for k in (0, -1)]
    ax.set_xticks([x[0], *ticks] if zero else ticks, ["0", *names] if zero else names)
    ax.set_xlabel(scene.label)
    for i in scene.shown:
        ax.axvline(x[i], color=_MUTED, lw=0.7, ls=(0, (2, 2)), zorder=1)
    return x


def _positions(n: int, index: int) -> list[int]:
    """Up to four positions from the first to the last; the nearest inner one moves to ``index``."""
    at = np.unique(np.rint(np.linspace(0, n - 1, 4)).astype(int))
    if len(at) > 2 and 0 < index < n - 1:
        at[1 + int(np.abs(at[1:-1] - index).argmin())] = index
    return [int(i) for i in at]


def _power(k: int) -> str:
    return {0: "1", 1: "10"}.get(k, "10" + str(k).translate(_SUPERSCRIPT))


def _lam_text(lam: float, label: str) -> str:
    short = re.sub(r" *\(.*\)$", "", label)  # "λ (weight decay)" is written λ, "λ / λ*" stays
    sign = short if re.fullmatch(r"λ.{0,9}", short) else "λ"
    if lam == 0 or 1e-3 <= lam < 1e4:
        return f"{sign} = {float(f'{lam:.3g}'):g}"
    mantissa, exponent = f"{lam:.1e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return f"{sign} = {power}" if mantissa == "1.0" else f"{sign} = {mantissa}·{power}"


def _frames(axes: Sequence[Axes], panel: Panel, scene: _Scene) -> None:
    """One panel at several λ, side by side with common axes."""
    for ax, i in zip(axes, scene.shown, strict=True):
        title = _lam_text(scene.lams[i], scene.label)
        ax.set_title(title, fontweight="normal", fontsize=8.5, loc="center", pad=4)
        _FRAMED[panel.kind](ax, panel, replace(scene, at=i))
        ax.xaxis.labelpad, ax.yaxis.labelpad = 2, 2
        if ax is not axes[0]:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    handles = {name: h for h, name in zip(*axes[0].get_legend_handles_labels(), strict=True) if name}
    if handles:  # in the line of the title, at the right
        inches = axes[-1].get_position().height * axes[-1].figure.get_figheight()
        place = {"loc": "lower right", "bbox_to_anchor": (1.02, 1 + 0.21 / inches), "borderaxespad": 0}
        look = {"ncols": len(handles), "handlelength": 1.7, "borderpad": 0, "markerscale": 1.6}
        axes[-1].legend(handles.values(), handles, **look, **place)


def _hist(ax: Axes, p: Panel, scene: _Scene) -> None:
    edges, counts, zeros = np.array(p.spec["edges"]), p.arrays["counts"], p.arrays.get("zeros")
    top = max(int(counts.max()), int(zeros.max()) if zeros is not None else 1, 2)
    ax.set_yscale("log")
    ax.set_ylim(0.6, top * 3)
    ax.stairs(np.maximum(counts[scene.at], 1e-9), edges, fill=True, color=_COLORS[0], baseline=1e-9)
    ax.stairs(np.maximum(counts[0], 1e-9), edges, color=_MUTED, lw=0.6, baseline=1e-9)
    _few_ticks(ax, edges[0], edges[-1])
    if zeros is not None:
        width, n = edges[-1] - edges[0], int(zeros[scene.at])
        at = edges[0] - 0.2 * width
        ax.bar(at, max(n, 1e-9), width=0.09 * width, color=_COLORS[1], bottom=1e-9)
        number = {"ha": "center", "va": "bottom", "fontsize": 7, "color": _COLORS[1]}
        ax.text(at, max(n, 0.7) * 1.15, f"{n:,}", **number)
        # the first number must not meet the words at its left
        ticks = [at, *(t for t in ax.get_xticks() if t > edges[0] + 0.08 * width)]
        ax.set_xticks(ticks, ["exact\nzero", *(_plain(t) for t in ticks[1:])])
        ax.set_xlim(edges[0] - 0.4 * width, edges[-1])
    ax.grid(axis="y")
    ax.set(xlabel=p.spec["xlabel"], ylabel="count (log)")


def _bars(ax: Axes, p: Panel, scene: _Scene) -> None:
    y = p.arrays["y"][scene.at]
    at, zero = np.arange(len(y)), y == 0
    ax.bar(at, y, width=0.75, color=_COLORS[0])
    ax.plot(at[zero], y[zero], "o", ms=3.2, mfc="white", mec=_COLORS[1], mew=0.9, clip_on=False, zorder=3)
    ax.axhline(0, color=_MUTED, lw=0.7)
    ax.set_xticks([])
    # below the axis: inside, the number would stand on the bars
    below = f"{p.spec['xlabel']}\n{int(zero.sum())} exactly 0".strip()
    ax.set(ylim=p.spec["ylim"], xlabel=below, ylabel=p.spec["ylabel"])


def _fit(ax: Axes, p: Panel, scene: _Scene) -> None:
    x, points = np.array(p.spec["x"]), np.array(p.spec["points"]).reshape(-1, 2)
    data, fit, truth = p.spec["names"]
    if p.spec["truth"] is not None:
        ax.plot(x, p.spec["truth"], color=_MUTED, ls=_DASHES[1], lw=1.2, label=truth)
    ax.plot(*points.T, "o", ms=3.2, color=_INK, mec="white", mew=0.4, label=data)
    ax.plot(x, p.spec["offset"] + p.spec["step"] * p.arrays["y"][scene.at], color=_COLORS[0], label=fit)
    _few_ticks(ax, x[0], x[-1])
    ax.grid(axis="y")
    ax.set(ylim=p.spec["ylim"], xlabel=p.spec["xlabel"], ylabel=p.spec["ylabel"])


def _field(ax: Axes, p: Panel, scene: _Scene) -> None:
    t = p.arrays["code"][scene.at] / 127.5 - 1.0  # undoes the square root of field_panel
    prob = 0.5 + 0.5 * t * np.abs(t)
    x0, x1, y0, y1 = p.spec["extent"]
    xs, ys = np.linspace(x0, x1, prob.shape[1]), np.linspace(y0, y1, prob.shape[0])
    ramp = LinearSegmentedColormap.from_list("lx", ["#8fc1e3", "#ffffff", "#f0b48c"])
    ax.contourf(xs, ys, prob, levels=np.linspace(0, 1, 9), cmap=ramp)
    if prob.min() < 0.5 < prob.max():
        ax.contour(xs, ys, prob, levels=[0.5], colors=_INK, linewidths=1.3)
    for name, marker, color in zip(p.spec["classes"], "os", _COLORS[:2], strict=True):
        ax.plot([], [], marker, ms=3, color=color, mec="white", mew=0.4, label=name)
    _few_ticks(ax, x0, x1)
    ax.set(ylim=(y0, y1), xlabel=p.spec["xlabel"], ylabel=p.spec["ylabel"])


def _pixels(ax: Axes, p: Panel, scene: _Scene) -> None:
    y = p.arrays["y"]
    ramp = LinearSegmentedColormap.from_list("lx", ["#ffffff", _COLORS[0]], 48)
    ax.imshow(y[scene.at], cmap=ramp, vmin=0, vmax=y.max())
    rows, columns = np.divmod(p.spec["marks"], y.shape[2])
    ax.plot(columns, rows, "x", ms=4, color=_INK, label=p.spec["mark"])
    ax.set(xticks=[], yticks=[])


# solver, mark, colour
_BODIES = {"l2": (ridge_2d, "o", 0), "l1": (lasso_2d, "D", 1), "linf": (box_2d, "^", 2)}


def _geometry(ax: Axes, p: Panel, scene: _Scene) -> None:
    hessian, w_star, reach = np.array(p.spec["hessian"]), np.array(p.spec["w_star"]), p.spec["extent"]
    lam = float(scene.lams[scene.at])
    values, vectors = np.linalg.eigh(hessian)
    u = np.linspace(0, 2 * np.pi, 121)
    circle = np.stack([np.cos(u), np.sin(u)])

    def ellipse(radius: float) -> np.ndarray:
        return w_star[:, None] + vectors @ (radius / np.sqrt(values)[:, None] * circle)

    top = np.sqrt(w_star @ hessian @ w_star) or 1.0
    for r in (0.25, 0.5, 0.75, 1.0, 1.25):
        ax.plot(*ellipse(r * top), color="#c9ced4", lw=0.7)
    for norm in p.spec["norms"]:
        solve, marker, k = _BODIES[norm]
        w, color = solve(hessian, w_star, lam), _COLORS[k]
        if norm == "l2":
            shape = np.linalg.norm(w) * circle
        elif norm == "l1":
            shape = np.abs(w).sum() * np.array([[1, 0, -1, 0], [0, 1, 0, -1]])
        else:  # at λ = 0 the box is larger than any picture
            shape = np.array([[1, 1, -1, -1], [-1, 1, 1, -1]]) / max(lam, 1e-3 / reach)
        ax.add_patch(Polygon(shape.T, closed=True, fc=color + "22", ec=color, lw=1.1))
        d = w - w_star
        ax.plot(*ellipse(np.sqrt(d @ hessian @ d)), color=color, lw=0.9, ls=_DASHES[1])
        path = np.array([solve(hessian, w_star, float(v)) for v in scene.lams])
        ax.plot(*path.T, color=color, lw=1.2, alpha=0.6)
        ax.plot(*w, marker, ms=4.5, color=color, mec="white", mew=0.6, zorder=4)
    ax.plot(*w_star, "+", ms=8, mew=1.8, color=_INK)
    ax.axhline(0, color=_MUTED, lw=0.6)
    ax.axvline(0, color=_MUTED, lw=0.6)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="w₁", ylabel="w₂")


def _curves(ax: Axes, p: Panel, scene: _Scene) -> None:
    x, best = _lam_axis(ax, scene), p.spec.get("best")
    scale = 100.0 if p.spec["percent"] else 1.0
    y = scale * p.arrays["y"].astype(float)
    colors = [_COLORS[k - 1] for k in p.spec["colors"]]
    for k, name in enumerate(p.spec["names"]):
        if p.spec["band"][k]:
            ax.fill_between(x, *y[k, 1:], color=colors[k], alpha=0.16, lw=0)
        ax.plot(x, y[k, 0], color=colors[k], ls=_DASHES[k % len(_DASHES)], label=name)
    if best:
        j, at = best["series"], best["at"]
        ax.plot(x[at], y[j, 0, at], "o", ms=6.5, mfc="white", mec=colors[j], mew=1.5, label=best["label"])
    if p.spec["logy"]:
        ax.set_yscale("log")
        _plain_log(ax, p.arrays["y"])
    if p.spec["ylim"]:
        ax.set_ylim(*(scale * v for v in p.spec["ylim"]))
    ax.set_ylabel(p.spec["ylabel"] + (" (%)" if p.spec["percent"] else ""))
    ax.legend()


def _paths(ax: Axes, p: Panel, scene: _Scene) -> None:
    x, group = _lam_axis(ax, scene), np.array(p.spec["group"])
    sizes = np.bincount(group)
    for k in reversed(range(len(p.spec["names"]))):  # the first group on top
        crowd = len(sizes) > 1 and sizes[k] > 8 and sizes[k] == sizes.max()  # recedes, as in paths.js
        style = {"ls": "-", "lw": 0.8, "alpha": 0.6} if crowd else {"ls": _DASHES[k], "lw": 1.3}
        lines = ax.plot(x, p.arrays["y"][:, group == k], color=_COLORS[p.spec["colors"][k] - 1], **style)
        lines[0].set_label(p.spec["names"][k])
    ax.axhline(0, color=_MUTED, lw=0.7)
    if p.spec["ylim"]:
        ax.set_ylim(*p.spec["ylim"])
    ax.set_ylabel(p.spec["ylabel"])
    if any(p.spec["names"]):
        ax.legend(reverse=True)


def _heatmap(ax: Axes, p: Panel, scene: _Scene) -> None:
    z, ys = p.arrays["z"].astype(float), p.spec["ys"]
    x = _lam_axis(ax, replace(scene, shown=[]))
    columns, rows = np.arange(len(z)), np.arange(len(ys))
    # all cells are equally wide, also where the grid is uneven or begins with 0
    ax.set_xticks(np.interp(ax.get_xticks(), x, columns), [t.get_text() for t in ax.get_xticklabels()])
    ax.set_xlim(-0.5, len(z) - 0.5)
    every = slice(None, None, -(-len(ys) // 8))
    ax.set_yticks(rows[every], [f"{v:.3g}" for v in ys[every]], fontsize=7)
    ax.grid(False)
    low, high = p.spec["zlim"]
    mesh = ax.pcolormesh(columns, rows, z.T, cmap=_RAMP, vmin=low, vmax=high)
    place = ax.get_position()
    ax.set_position((place.x0 + 0.1 / _WIDTH, place.y0, place.width - 0.95 / _WIDTH, place.height))
    side = ax.figure.add_axes((place.x1 - 0.73 / _WIDTH, place.y0, 0.13 / _WIDTH, place.height))
    bar = ax.figure.colorbar(mesh, cax=side)
    bar.outline.set_visible(False)
    bar.set_label(p.spec["zlabel"], color=_MUTED)
    ax.plot(*p.spec["at"], "*", ms=9, mfc="white", mec="black", mew=0.8, label="best of all")
    for color, width in (("white", 3.2), (_INK, 1.4)):
        frame = {"fc": "none", "ec": color, "lw": width, "clip_on": False, "zorder": 3}
        ax.add_patch(Rectangle((scene.at - 0.5, -0.5), 1, len(ys), **frame))
    ax.set(xlabel=scene.label, ylabel=p.spec["ylabel"])
    # in the line of the title, which is at the left
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=6, borderpad=0.2, handletextpad=0.1)


def _budget(ax: Axes, p: Panel, scene: _Scene) -> None:
    run, lams, T = p.spec, scene.lams, p.spec["steps"]
    budgets = decay_budget(lams, **run)
    stable = lams < decay_limits(run["lr"], run["momentum"], run["optimizer"])[1]
    told = np.flatnonzero((budgets > 0.2) & (budgets < 50) & stable)  # the others lie on an axis
    some = told if len(told) > 1 else np.flatnonzero(stable)
    ax.set_yscale("log")
    steps = np.unique(np.rint(np.linspace(0, T, 401)).astype(int))
    five = np.unique(np.rint(np.linspace(0, len(some) - 1, 5)).astype(int))
    for k, i in enumerate(some[five] if len(some) else []):
        share = np.abs(remaining_share(lams[i], **run))
        # a swinging weight passes zero: what counts is the largest share from a step on
        share = np.maximum.accumulate(share[::-1])[::-1][steps]
        name = f"{_lam_text(lams[i], scene.label)}, B = {float(f'{budgets[i]:.2g}'):g}"
        ax.plot(steps, np.maximum(share, 1e-12), color=_COLORS[k], ls=_DASHES[k], label=name)
    for level, name in ((1e-3, "1/1000"), (1e-6, "10⁻⁶")):
        ax.axhline(level, color=_MUTED, lw=0.7)
        ax.text(T, level * 1.3, name, ha="right", va="bottom", fontsize=7, color=_MUTED)
    ax.set_ylim(1e-8, 1.6)
    decades = (0, -2, -4, -6, -8)
    ax.set_yticks([10.0**k for k in decades], [_power(k) for k in decades])
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    _few_ticks(ax, 0, T)
    ax.set(xlabel="step", ylabel="share that is left")
    place = ax.get_position()
    ax.set_position((place.x0, place.y0, place.width - 1.75 / _WIDTH, place.height))
    if len(some):
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
    else:
        ax.text(1.04, 0.9, "diverges at\nevery λ shown", transform=ax.transAxes, va="top")


def _few_ticks(ax: Axes, low: float, high: float) -> None:
    """Ticks so short that those of neighbouring columns do not meet."""
    ax.set_xlim(low, high)
    ticks = mpl.ticker.MaxNLocator(3).tick_values(low, high)
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    ax.set_xticks(ticks, [_plain(t) for t in ticks])


def _plain(v: float) -> str:
    return f"{v:g}".replace("-", "−")


def _plain_log(ax: Axes, values: np.ndarray) -> None:
    """Ticks 1, 2, 5 with plain numbers where the range is short, powers of ten where it is long."""
    decades = np.log10(float(values.max()) / float(values.min()))
    ax.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    if decades < 4:
        ax.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _pos: f"{v:g}"))
    ax.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())


_FRAMED = {
    "hist": _hist, "bars": _bars, "fit": _fit, "field": _field, "pixels": _pixels, "geometry": _geometry,
}  # fmt: skip
_ALONG = {"curves": _curves, "paths": _paths, "heatmap": _heatmap, "budget": _budget}
