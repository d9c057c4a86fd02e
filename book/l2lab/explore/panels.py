"""Panels of the λ explorer: what is drawn, as compact arrays with λ as first axis.

A panel is data, not a drawing. Each function below checks its input, reduces it to the smallest arrays that
still show the same picture (8- or 16-bit integers, 32-bit floats) and returns a `Panel`; ``js/<kind>.js``
draws it in the browser and ``fallback.py`` draws it with Matplotlib. Nothing here knows torch. How a kind is
added stands in ``js/panel.js``. What does not fit raises a ValueError that says what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..budget import decay_budget

__all__ = [
    "PALETTE",
    "Panel",
    "bars_panel",
    "budget_panel",
    "curves_panel",
    "field_panel",
    "fit_panel",
    "geometry_panel",
    "heatmap_panel",
    "hist_panel",
    "paths_panel",
]

#: Colours by name, in the order in which series and groups take them. Okabe-Ito hues, dark enough for labels:
#: each one reaches a contrast of 4.5 : 1 on white. ``explorer.css`` repeats them (a test compares).
PALETTE: dict[str, str] = {
    "blue": "#0072b2",
    "vermillion": "#bf4a00",
    "green": "#007a57",
    "purple": "#9c4a7f",
    "gold": "#8a6000",
    "grey": "#5c6670",
}
_NAMES = tuple(PALETTE)

# What occurs in every chapter always looks the same (as in `l2lab.plots`).
_KNOWN = {
    "train": "blue",
    "training": "blue",
    "test": "vermillion",
    "valid": "green",
    "validation": "green",
    "ridge": "blue",
    "lasso": "vermillion",
    "true": "blue",
    "noise": "grey",
}


_MAX_STEPS = 1_000_000

# What `geometry_panel` draws: whose solution, and on which body.
_BODIES = {"l2": ("ridge", "the L2 ball"), "l1": ("lasso", "the L1 diamond"), "linf": ("AdamW", "the box")}


@dataclass(frozen=True, eq=False)
class Panel:
    """One drawing along λ.

    Attributes
    ----------
    kind : str
        Which drawing: "hist", "curves", "paths", "bars", "fit", "field", "heatmap", "geometry" or "budget".
    title : str
        Short heading above the drawing.
    spec : dict
        JSON-serializable part: labels, colours, limits.
    arrays : dict of str to ndarray
        The numbers, as sent to the browser. See ``along`` for which of them have λ as first axis.
    n_lams : int or None
        Length of the λ axis; None if the panel is computed in the browser for whatever grid it is given.
    """

    kind: str
    title: str
    spec: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    n_lams: int | None = None


def hist_panel(
    edges: ArrayLike,
    counts: ArrayLike,
    zeros: ArrayLike | None = None,
    *,
    title: str = "Weights",
    xlabel: str = "weight",
    noun: str = "weights",
) -> Panel:
    """Histogram of weights on a log-count axis, with that of the first λ behind it as an outline.

    Parameters
    ----------
    edges : array-like of shape (bins + 1,)
        Bin edges, increasing.
    counts : array-like of int, shape (L, bins)
        Numbers of weights per bin *without* the exact zeros, one row per λ.
    zeros : array-like of int, shape (L,), optional
        Numbers of weights that are exactly zero, drawn apart at the left. None draws no such bar.
    title, xlabel : str
        Heading, and label of the horizontal axis.
    noun : str
        What is counted, in the plural.

    Returns
    -------
    Panel
    """
    e = _numbers(edges, "edges", 1)
    c = _counts(counts, "counts", 2)
    if len(e) != c.shape[1] + 1:
        raise ValueError(
            f"edges must have one entry more than counts has columns, got {len(e)} and {c.shape[1]}."
        )
    if np.any(np.diff(e) <= 0):
        raise ValueError("edges must increase strictly.")
    arrays = {"counts": _smallest(c)}
    if zeros is not None:
        z = _counts(zeros, "zeros", 1)
        if len(z) != len(c):
            raise ValueError(f"zeros must have one entry per row of counts, got {len(z)} and {len(c)}.")
        arrays["zeros"] = _smallest(z)
    spec = {"edges": _short(e), "xlabel": xlabel, "noun": noun}
    return Panel("hist", _title(title), spec, arrays, len(c))


def curves_panel(
    series: Mapping[str, ArrayLike],
    *,
    title: str = "Loss along λ",
    ylabel: str = "",
    logy: bool = False,
    percent: bool = False,
    best: str | None = None,
    ylim: tuple[float, float] | None = None,
) -> Panel:
    """Curves against λ with a cursor, labelled at their ends.

    Parameters
    ----------
    series : mapping of str to array-like of shape (L,) or (L, S)
        One curve each. With a second axis (seeds), the curve is the mean over it and a band goes from the
        smallest to the largest value. Known names (train, validation, test, ridge, lasso) have colours of
        their own.
    title, ylabel : str
        Heading, and label of the vertical axis.
    logy : bool
        Whether the vertical axis is logarithmic; all values must then be positive.
    percent : bool
        Whether values are fractions to be written as percentages.
    best : str, optional
        The series whose best λ, that of its smallest mean, is marked; for example ``"validation"``.
    ylim : (float, float), optional
        Limits of the vertical axis; what lies outside is clipped.

    Returns
    -------
    Panel
    """
    if not series:
        raise ValueError("series must hold at least one curve.")
    names = [str(k) for k in series]
    rows, n = [], None
    for name, values in series.items():
        v = np.asarray(values)
        v = _numbers(v, f"series {name!r}", 2 if v.ndim == 2 else 1)
        if n is None:
            n = len(v)
        elif len(v) != n:
            raise ValueError(f"all series must have the same length, got {n} and {len(v)} ({name!r}).")
        if v.ndim == 1:
            v = v[:, None]
        rows.append(np.stack([v.mean(axis=1), v.min(axis=1), v.max(axis=1)]))
    values = np.stack(rows)
    if logy and values.min() <= 0:
        raise ValueError("logy=True needs positive values; drop logy or the values that are not positive.")
    spec: dict[str, Any] = {
        "names": names,
        "ylabel": ylabel,
        "logy": bool(logy),
        "percent": bool(percent),
        "band": [bool(np.ptp(r, axis=0).max() > 0) for r in rows],
        "spread": "band: smallest to largest",
        "colors": _colors(names),
        "ylim": _limits(ylim, "ylim"),
    }
    if best is not None:
        if best not in names:
            raise ValueError(f"best must name one of the series {names}, got {best!r}.")
        j = names.index(best)
        spec["best"] = {"series": j, "at": int(values[j, 0].argmin()), "label": f"best λ by {best}"}
    return Panel("curves", _title(title), spec, {"y": values.astype(np.float32)}, n)


def paths_panel(
    coefs: ArrayLike,
    *,
    groups: Sequence[Any] | None = None,
    title: str = "Coefficient paths",
    ylabel: str = "coefficient",
    ylim: tuple[float, float] | None = None,
    notes: Sequence[str] | None = None,
) -> Panel:
    """Coefficients against λ, coloured by group, with the number of nonzero ones.

    Parameters
    ----------
    coefs : array-like of shape (L, p)
        Coefficients. Exact zeros stay exact: they are counted in the read-out.
    groups : sequence of p labels, optional
        The group of each coefficient, for example "true" and "noise". A bool array means true/noise.
    title, ylabel : str
        Heading, and label of the vertical axis.
    ylim : (float, float), optional
        Limits of the vertical axis; what lies outside is clipped.
    notes : sequence of L str, optional
        One more sentence for the read-out at each λ.

    Returns
    -------
    Panel
    """
    c = _numbers(coefs, "coefs", 2)
    spec = {"ylabel": ylabel, "noun": "coefficients", "ylim": _limits(ylim, "ylim")}
    spec |= {"notes": _notes(notes, len(c)), **_grouped(groups, c.shape[1])}
    return Panel("paths", _title(title), spec, {"y": _float32(c)}, len(c))


def bars_panel(
    values: ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    title: str = "Coefficients",
    ylabel: str = "coefficient",
    xlabel: str = "",
    noun: str = "coefficients",
    ylim: tuple[float, float] | None = None,
) -> Panel:
    """Coefficients at one λ as bars; an exact zero is drawn as a hollow ring on the axis.

    Parameters
    ----------
    values : array-like of shape (L, p)
        Coefficients.
    labels : sequence of p str, optional
        Names under the bars.
    title, ylabel, xlabel : str
        Heading and labels of the axes.
    noun : str
        What is counted, in the plural.
    ylim : (float, float), optional
        Limits of the vertical axis; what lies outside is clipped.

    Returns
    -------
    Panel
    """
    v = _numbers(values, "values", 2)
    p = v.shape[1]
    if labels is not None and len(labels) != p:
        raise ValueError(f"labels must have one entry per column of values ({p}), got {len(labels)}.")
    spec = {
        "labels": None if labels is None else [str(x) for x in labels],
        "ylabel": ylabel,
        "xlabel": xlabel,
        "noun": noun,
        "ylim": _limits(ylim, "ylim"),
    }
    return Panel("bars", _title(title), spec, {"y": _float32(v)}, len(v))


def fit_panel(
    x: ArrayLike,
    y: ArrayLike,
    points: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    *,
    title: str = "Fitted function",
    xlabel: str = "x",
    ylabel: str = "y",
    names: tuple[str, str, str] = ("data", "fit", "truth"),
    ylim: tuple[float, float] | None = None,
) -> Panel:
    """Draw data points and the fitted function at one λ.

    Parameters
    ----------
    x : array-like of shape (nx,)
        Where the function is evaluated, increasing.
    y : array-like of shape (L, nx)
        The fitted function.
    points : array-like of shape (n, 2), optional
        Training data (x, y).
    truth : array-like of shape (nx,), optional
        A function at ``x`` to compare with; the read-out then gives the root mean square distance to it.
    title, xlabel, ylabel : str
        Heading and labels of the axes.
    names : (str, str, str)
        What points, function and truth are called in the legend and the read-out.
    ylim : (float, float), optional
        Limits of the vertical axis. By default those of points and truth (else of the function at the largest
        λ) with a margin of a quarter: an overfitted function may leave the frame.

    Returns
    -------
    Panel
    """
    xs, ys = _numbers(x, "x", 1), _numbers(y, "y", 2)
    if ys.shape[1] != len(xs):
        raise ValueError(f"y must have one column per entry of x ({len(xs)}), got {ys.shape[1]}.")
    if len(xs) < 2 or np.any(np.diff(xs) <= 0):
        raise ValueError("x must increase strictly and have at least two entries.")
    pts = np.empty((0, 2)) if points is None else _numbers(points, "points", 2)
    if pts.shape[1] != 2:
        raise ValueError(f"points must have two columns (x, y), got {pts.shape[1]}.")
    tr = None if truth is None else _numbers(truth, "truth", 1)
    if tr is not None and len(tr) != len(xs):
        raise ValueError(f"truth must have one entry per entry of x ({len(xs)}), got {len(tr)}.")
    if len(names) != 3:
        raise ValueError(f"names must be three: for points, function and truth; got {names!r}.")
    limits = _limits(ylim, "ylim")
    if limits is None:
        seen = np.concatenate([pts[:, 1], [] if tr is None else tr])
        seen = seen if len(seen) else ys[-1]
        room = 0.25 * float(np.ptp(seen)) or 1.0
        limits = [float(seen.min()) - room, float(seen.max()) + room]
    # 16 bits over three times the frame: finer than a pixel inside it; what is farther out is clipped anyway
    low, span = limits[0] - (limits[1] - limits[0]), 3 * (limits[1] - limits[0])
    q = np.clip(np.rint((ys - low) / span * 65535), 0, 65535).astype(np.uint16)
    spec = {
        "x": _short(xs),
        "names": [str(v) for v in names],
        "points": _short(pts, 4),
        "truth": None if tr is None else _short(tr),
        # the distance is taken before rounding and clipping
        "rms": None if tr is None else _short(np.sqrt(np.mean((ys - tr) ** 2, axis=1)), 3),
        "xlabel": xlabel,
        "ylabel": ylabel,
        "ylim": limits,
        "offset": low,
        "step": span / 65535,
    }
    return Panel("fit", _title(title), spec, {"y": q}, len(ys))


def field_panel(
    prob: ArrayLike,
    extent: Sequence[float],
    points: ArrayLike | None = None,
    *,
    title: str = "Decision boundary",
    xlabel: str = "x₁",
    ylabel: str = "x₂",
    classes: tuple[str, str] = ("class 0", "class 1"),
    notes: Sequence[str] | None = None,
) -> Panel:
    """Probability of class 1 over the plane, with the boundary at one half.

    Parameters
    ----------
    prob : array-like of shape (L, H, W)
        Probabilities in [0, 1]; row 0 is the lowest, and values are at the corners of an even grid over
        ``extent``.
    extent : (xmin, xmax, ymin, ymax)
        The region covered.
    points : array-like of shape (n, 3), optional
        Data (x, y, class), class 0 or 1. The read-out counts those on the wrong side.
    title, xlabel, ylabel : str
        Heading and labels of the axes.
    classes : (str, str)
        Names of the classes.
    notes : sequence of L str, optional
        One more sentence for the read-out at each λ.

    Returns
    -------
    Panel
    """
    f = _numbers(prob, "prob", 3)
    if f.min() < 0 or f.max() > 1:
        raise ValueError(f"prob must lie in [0, 1], got values from {f.min():g} to {f.max():g}.")
    if min(f.shape[1:]) < 2:
        raise ValueError(f"prob needs at least 2 × 2 grid points per λ, got {f.shape[1]} × {f.shape[2]}.")
    box = _numbers(extent, "extent", 1)
    if len(box) != 4 or box[0] >= box[1] or box[2] >= box[3]:
        raise ValueError(f"extent must be (xmin, xmax, ymin, ymax) with min < max, got {list(extent)}.")
    pts = np.empty((0, 3)) if points is None else _numbers(points, "points", 2)
    if pts.shape[1] != 3 or not np.isin(pts[:, 2], (0, 1)).all():
        raise ValueError("points must have three columns: x, y, and a class that is 0 or 1.")
    if len(classes) != 2:
        raise ValueError(f"classes must be two names, got {len(classes)}.")
    # One byte per point, finest where the eye looks: near the boundary, p = 1/2. A linear code would turn the
    # boundary into stairs where the probability is almost flat.
    margin = 2 * f - 1
    code = np.rint(127.5 + 127.5 * np.sign(margin) * np.sqrt(np.abs(margin)))
    code = np.where(margin > 0, np.maximum(code, 128), np.minimum(code, 127)).astype(np.uint8)
    spec = {
        "extent": _short(box),
        "points": _short(pts, 4),
        "classes": [str(c) for c in classes],
        "xlabel": xlabel,
        "ylabel": ylabel,
        "notes": _notes(notes, len(f)),
    }
    return Panel("field", _title(title), spec, {"code": code}, len(f))


def geometry_panel(
    hessian: ArrayLike,
    w_star: ArrayLike,
    *,
    norms: Sequence[Literal["l2", "l1", "linf"]] = ("l2", "l1"),
    extent: float | None = None,
    title: str | None = None,
) -> Panel:
    """Solve for two weights in the browser: loss contours, ball, diamond or box, and where they touch.

    The loss is ½ (w − w*)ᵀ H (w − w*). With ½ λ ‖w‖₂² added its minimum is (H + λI)⁻¹ H w*; with λ ‖w‖₁ added
    it is found exactly by comparing the stationary points of all sign patterns. "linf" adds nothing but keeps
    ``|w₁|`` and ``|w₂|`` below 1/λ, as full-batch AdamW does. The reader can drag w*; all geometry panels of
    one explorer share it, and one λ moves all bodies.

    Parameters
    ----------
    hessian : array-like of shape (2, 2)
        Symmetric positive definite matrix H.
    w_star : array-like of shape (2,)
        Minimum of the loss without penalty, at the start.
    norms : sequence of {"l2", "l1", "linf"}
        Which bodies are drawn: ridge's ball, the lasso's diamond, AdamW's box.
    extent : float, optional
        Both axes run from −extent to extent. By default 1.4 times the larger entry of ``w_star``.
    title : str, optional
        Heading. By default it names the bodies.

    Returns
    -------
    Panel

    References
    ----------
    Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*, 2nd ed., 2009, figure 3.11.
    Xie and Li, *Implicit bias of AdamW: ℓ∞-norm constrained optimization*, ICML 2024.
    """
    h, w = _numbers(hessian, "hessian", 2), _numbers(w_star, "w_star", 1)
    if h.shape != (2, 2) or not np.allclose(h, h.T) or np.linalg.eigvalsh(h).min() <= 0:
        raise ValueError("hessian must be a symmetric positive definite 2 × 2 matrix.")
    if w.shape != (2,):
        raise ValueError(f"w_star must have two entries, got {w.size}.")
    chosen = list(norms)
    if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(_BODIES):
        raise ValueError(f"norms must name each of {', '.join(_BODIES)} at most once, got {norms!r}.")
    reach = float(extent) if extent is not None else 1.4 * float(np.abs(w).max()) or 1.0
    if not np.isfinite(reach) or np.abs(w).max() > reach:
        raise ValueError(f"extent must be a number of at least {np.abs(w).max():g}, got {extent!r}.")
    owners, shapes = zip(*(_BODIES[norm] for norm in chosen), strict=True)
    heading = title or f"{', '.join(owners)}{' in two weights' if len(chosen) > 1 else ': ' + shapes[0]}"
    spec = {"hessian": h.tolist(), "w_star": w.tolist(), "norms": chosen, "extent": reach}
    return Panel("geometry", _title(heading[:1].upper() + heading[1:]), spec)


def heatmap_panel(
    values: ArrayLike,
    ys: ArrayLike,
    *,
    title: str,
    ylabel: str = "learning rate",
    zlabel: str = "test accuracy",
    zlim: tuple[float, float] | None = None,
) -> Panel:
    """Map of a quantity over λ and a second parameter; the slider frames the column of its λ.

    A star marks the largest value of the map, a ring that of the column.

    Parameters
    ----------
    values : array-like of shape (L, R)
        The quantity; NaN where training diverged (drawn as a crossed cell and named in the read-out).
    ys : array-like of shape (R,)
        The second parameter: positive and increasing, in roughly equal ratios, as all rows are equally high.
    title : str
        Heading.
    ylabel, zlabel : str
        Names of the second parameter and of the quantity; the read-out leaves out what stands in brackets.
    zlim : (float, float), optional
        Limits of the colours; what lies outside takes the colour of the end. By default those of the values.

    Returns
    -------
    Panel
    """
    with np.errstate(over="ignore"):
        z = _numbers(values, "values", 2, nan=True).astype(np.float32)
    rows = _numbers(ys, "ys", 1)
    if z.shape[1] != len(rows):
        raise ValueError(f"values must have one column per entry of ys ({len(rows)}), got {z.shape[1]}.")
    if rows[0] <= 0 or np.any(np.diff(rows) <= 0):
        raise ValueError("ys must be positive and increase strictly: sort it and the columns of values.")
    if np.isinf(z).any() or np.isnan(z).all():
        raise ValueError("values must hold finite numbers, and NaN (not infinity) where training diverged.")
    limits = _limits(zlim, "zlim")
    if limits is None:
        low, high = float(np.nanmin(z)), float(np.nanmax(z))
        room = 0.0 if high > low else 0.5 * abs(high) or 0.5
        limits = [low - room, high + room]
    at = [int(k) for k in np.unravel_index(np.nanargmax(z), z.shape)]
    spec = {"ys": _short(rows), "ylabel": ylabel, "zlabel": zlabel, "at": at, "zlim": limits}
    return Panel("heatmap", _title(title), spec, {"z": z}, len(z))


def budget_panel(
    *,
    lr: float = 0.1,
    steps: int = 1000,
    momentum: float = 0.9,
    schedule: Literal["constant", "cosine", "linear"] = "constant",
    optimizer: Literal["sgd", "adamw"] = "sgd",
    title: str = "Decay budget of an unsupported weight",
) -> Panel:
    """Compute in the browser how much of a weight without gradient is left after a run with weight decay.

    The reader sets λ with the slider and the run with fields in the panel. Drawn are the share that is left,
    followed step by step as ``torch.optim`` does, and e^(−B) with the budget B of
    `l2lab.budget.decay_budget`; the read-out gives both, the steps from which less than 10⁻³ and 10⁻⁶ is
    left, and the λ that reaches 10⁻³ in the given steps.

    Parameters
    ----------
    lr : float
        Learning rate of the first step, at the start.
    steps : int
        Number of steps at the start, at most a million.
    momentum : float
        Momentum of SGD at the start, in [0, 1). Without effect for AdamW.
    schedule : {"constant", "cosine", "linear"}
        How the learning rate falls, at the start; see `l2lab.budget.lrs_of`.
    optimizer : {"sgd", "adamw"}
        The optimizer at the start.
    title : str
        Heading.

    Returns
    -------
    Panel
    """
    decay_budget(0.0, lr, steps, momentum, schedule, optimizer)  # checks all of them
    if steps > _MAX_STEPS:
        raise ValueError(f"steps must be at most {_MAX_STEPS:,}: the browser follows each one; got {steps}.")
    spec = {
        "lr": float(lr),
        "steps": int(steps),
        "momentum": float(momentum),
        "schedule": schedule,
        "optimizer": optimizer,
    }
    return Panel("budget", _title(title), spec)


def _numbers(value: ArrayLike, name: str, ndim: int, nan: bool = False) -> np.ndarray:
    """Finite float64 array with ``ndim`` axes, none of them empty; anything may be in it if ``nan``."""
    try:
        a = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise ValueError(f"{name} must be an array of numbers.") from err
    if a.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {a.shape}.")
    if a.size == 0 and name != "points":
        raise ValueError(f"{name} must not be empty, got shape {a.shape}.")
    if not nan and not np.isfinite(a).all():
        raise ValueError(f"{name} holds NaN or infinite values; leave out the λ at which training diverged.")
    return a


def _counts(value: ArrayLike, name: str, ndim: int) -> np.ndarray:
    a = _numbers(value, name, ndim)
    if a.min() < 0 or np.any(a != np.rint(a)) or a.max() >= 2**32:
        raise ValueError(f"{name} must hold whole numbers from 0 to 2³² − 1.")
    return a


def _smallest(a: np.ndarray) -> np.ndarray:
    return a.astype(np.min_scalar_type(int(a.max())) if a.max() < 2**16 else np.uint32)


def _float32(a: np.ndarray) -> np.ndarray:
    """Round to float32 without turning a tiny number into an exact zero (zeros are counted)."""
    b = a.astype(np.float32)
    lost = (b == 0) & (a != 0)
    b[lost] = np.copysign(np.finfo(np.float32).tiny, a[lost])
    return b


def _short(a: np.ndarray, digits: int = 6) -> list:
    """Nested list of floats with few significant digits: JSON is text."""
    return np.vectorize(lambda v: float(f"{v:.{digits}g}"), otypes=[float])(a).tolist() if a.size else []


def _title(title: str) -> str:
    if not isinstance(title, str) or not title.strip():
        raise ValueError("title must be a non-empty string.")
    return title.strip()


def _notes(notes: Sequence[str] | None, n: int) -> list[str] | None:
    if notes is None:
        return None
    if isinstance(notes, str) or len(notes) != n:
        raise ValueError(f"notes must be a sequence of {n} strings, one per λ.")
    return [str(x) for x in notes]


def _limits(ylim: tuple[float, float] | None, name: str) -> list[float] | None:
    if ylim is None:
        return None
    a = _numbers(ylim, name, 1)
    if len(a) != 2 or a[0] >= a[1]:
        raise ValueError(f"{name} must be (low, high) with low < high, got {ylim!r}.")
    return a.tolist()


def _colors(names: Sequence[str]) -> list[int]:
    """Numbers (1 …) of palette colours; names without one of their own take the free ones in order."""
    known = [_KNOWN.get(name.lower()) for name in names]
    own = [c if c and c not in known[:k] else None for k, c in enumerate(known)]
    free = [c for c in PALETTE if c not in own]
    chosen = [c or (free.pop(0) if free else _NAMES[k % len(_NAMES)]) for k, c in enumerate(own)]
    return [_NAMES.index(c) + 1 for c in chosen]


def _grouped(groups: Sequence[Any] | None, p: int) -> dict[str, Any]:
    if groups is None:
        labels = [""] * p
    else:
        g = np.asarray(groups)
        if g.ndim != 1 or len(g) != p:
            raise ValueError(f"groups must have one entry per column ({p}), got shape {g.shape}.")
        labels = [("true" if v else "noise") for v in g] if g.dtype == bool else [str(v) for v in g]
    names = list(dict.fromkeys(labels))
    if set(names) == {"true", "noise"}:
        names = ["true", "noise"]
    if len(names) > len(_NAMES):
        raise ValueError(f"at most {len(_NAMES)} groups can be told apart, got {len(names)}.")
    return {"names": names, "group": [names.index(v) for v in labels], "colors": _colors(names)}
