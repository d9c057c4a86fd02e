"""Panels of the λ explorer: what is drawn, as compact arrays with λ as first axis.

``js/<kind>.js`` draws them in the browser and ``fallback.py`` with Matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..budget import decay_plan

__all__ = [
    "PALETTE", "Panel", "bars_panel", "calculator_panel", "curves_panel", "field_panel", "fit_panel",
    "geometry_panel", "heatmap_panel", "hist_panel", "paths_panel", "pixels_panel",
]  # fmt: skip

#: Colours by name, in the order in which series take them. Okabe-Ito hues, dark enough for labels: each one
#: reaches a contrast of 4.5 : 1 on white. ``explorer.css`` repeats them (a test compares).
PALETTE: dict[str, str] = {
    "blue": "#0072b2",
    "vermillion": "#bf4a00",
    "green": "#007a57",
    "purple": "#9c4a7f",
    "gold": "#8a6000",
    "grey": "#5c6670",
}
_NAMES = list(PALETTE)
# What occurs in every chapter always looks the same (as in `l2lab.plots`).
_KNOWN = {"train": 1, "training": 1, "test": 2, "valid": 3, "validation": 3, "ridge": 1, "lasso": 2}


@dataclass(frozen=True, eq=False)
class Panel:
    """One drawing along λ, as data: the smallest arrays that show it.

    Attributes
    ----------
    kind, title : str
        Which drawing, and the heading above it.
    spec : dict
        What is JSON: labels, colours, limits.
    arrays : dict of str to ndarray
        The numbers, as sent to the browser.
    n_lams : int or None
        Length of the λ axis; None if the browser computes the panel for whatever grid it is given.
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
    title, xlabel, noun : str
        Heading, label of the horizontal axis, and what is counted, in the plural.

    Returns
    -------
    Panel
    """
    e, arrays = _numbers(edges, "edges", 1), {"counts": _counts(counts, "counts", 2)}
    n, bins = arrays["counts"].shape
    _require(len(e) == bins + 1, f"edges must have one entry more than the {bins} columns of counts.")
    _require(np.all(np.diff(e) > 0), "edges must increase strictly.")
    if zeros is not None:
        arrays["zeros"] = _counts(zeros, "zeros", 1)
        _require(len(arrays["zeros"]) == n, f"zeros must have one entry per row of counts ({n}).")
    return Panel("hist", title, {"edges": _short(e), "xlabel": xlabel, "noun": noun}, arrays, n)


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
    rows = []
    for name, given in series.items():
        v = _numbers(given, f"series {name!r}", np.ndim(given) if np.ndim(given) == 2 else 1)
        v = v.reshape(len(v), -1)
        rows.append(np.stack([v.mean(axis=1), v.min(axis=1), v.max(axis=1)]))
    lengths = sorted({row.shape[1] for row in rows})
    _require(len(lengths) == 1, f"series must hold curves of the same length, got lengths {lengths}.")
    values, names = np.stack(rows), list(series)
    _require(not logy or values.min() > 0, "logy=True needs positive values.")
    spec: dict[str, Any] = {"names": names, "ylabel": ylabel, "logy": logy, "percent": percent}
    spec |= {"band": [bool(np.ptp(r, axis=0).max() > 0) for r in rows], "spread": "band: smallest to largest"}
    spec |= {"colors": _colors(names), "ylim": _limits(ylim, "ylim")}
    if best is not None:
        _require(best in names, f"best must name one of the series {names}, got {best!r}.")
        j = names.index(best)
        spec["best"] = {"series": j, "at": int(values[j, 0].argmin()), "label": f"best λ by {best}"}
    return Panel("curves", title, spec, {"y": values.astype(np.float32)}, lengths[0])


def paths_panel(
    coefs: ArrayLike,
    *,
    groups: ArrayLike | None = None,
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
    groups : array-like of bool, shape (p,), optional
        Which coefficients are "true"; the others are "noise".
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
    n, p = c.shape
    spec = {"ylabel": ylabel, "noun": "coefficients", "ylim": _limits(ylim, "ylim")}
    spec["notes"] = _notes(notes, n)
    if groups is None:
        spec |= {"names": [""], "group": [0] * p, "colors": [1]}
    else:
        true = np.asarray(groups)
        fits = true.dtype == bool and true.shape == (p,)
        _require(fits, f"groups must hold one bool per column of coefs ({p}).")
        colors = [_NAMES.index(name) + 1 for name in ("blue", "grey")]
        spec |= {"names": ["true", "noise"], "group": (~true).astype(int).tolist(), "colors": colors}
    return Panel("paths", title, spec, {"y": _float32(c)}, n)


def bars_panel(
    values: ArrayLike,
    *,
    ylim: tuple[float, float],
    labels: Sequence[str] | None = None,
    title: str = "Coefficients",
    ylabel: str = "coefficient",
    xlabel: str = "",
    noun: str = "coefficients",
) -> Panel:
    """Coefficients at one λ as bars; an exact zero is drawn as a hollow ring on the axis.

    Parameters
    ----------
    values : array-like of shape (L, p)
        Coefficients.
    ylim : (float, float)
        Limits of the vertical axis; what lies outside is clipped.
    labels : sequence of p str, optional
        Names under the bars.
    title, ylabel, xlabel, noun : str
        Heading, labels of the axes, and what is counted, in the plural.

    Returns
    -------
    Panel
    """
    v = _numbers(values, "values", 2)
    names = None if labels is None else [str(label) for label in labels]
    fits = names is None or len(names) == v.shape[1]
    _require(fits, f"labels must have one entry per column of values ({v.shape[1]}).")
    limits = _limits(ylim, "ylim")
    spec = {"labels": names, "ylabel": ylabel, "xlabel": xlabel, "noun": noun, "ylim": limits}
    return Panel("bars", title, spec, {"y": _float32(v)}, len(v))


def fit_panel(
    x: ArrayLike,
    y: ArrayLike,
    points: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    *,
    ylim: tuple[float, float],
    title: str = "Fitted function",
    xlabel: str = "x",
    ylabel: str = "y",
    names: tuple[str, str, str] = ("data", "fit", "truth"),
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
    ylim : (float, float)
        Limits of the vertical axis: an overfitted function may leave them.
    title, xlabel, ylabel : str
        Heading and labels of the axes.
    names : (str, str, str)
        What points, function and truth are called in the legend and the read-out.

    Returns
    -------
    Panel
    """
    xs, ys = _numbers(x, "x", 1), _numbers(y, "y", 2)
    _require(ys.shape[1] == len(xs), f"y must have one column per entry of x ({len(xs)}), got {ys.shape[1]}.")
    _require(np.all(np.diff(xs) > 0), "x must increase strictly.")
    pts = np.empty((0, 2)) if points is None else _numbers(points, "points", 2)
    _require(pts.shape[1] == 2, f"points must have two columns (x, y), got {pts.shape[1]}.")
    tr = None if truth is None else _numbers(truth, "truth", 1)
    _require(tr is None or len(tr) == len(xs), f"truth must have one entry per entry of x ({len(xs)}).")
    low, high = _limits(ylim, "ylim")
    # 16 bits over three times the frame: finer than a pixel inside it; what is farther out is clipped anyway
    offset, span = low - (high - low), 3 * (high - low)
    q = np.clip(np.rint((ys - offset) / span * 65535), 0, 65535).astype(np.uint16)
    # the distance is taken before rounding and clipping
    rms = None if tr is None else _short(np.sqrt(np.mean((ys - tr) ** 2, axis=1)), 3)
    spec = {"x": _short(xs), "names": list(names), "points": _short(pts, 4)}
    spec |= {"truth": None if tr is None else _short(tr), "rms": rms, "xlabel": xlabel, "ylabel": ylabel}
    spec |= {"ylim": [low, high], "offset": offset, "step": span / 65535}
    return Panel("fit", title, spec, {"y": q}, len(ys))


def field_panel(
    prob: ArrayLike,
    extent: Sequence[float],
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
    f, box = _numbers(prob, "prob", 3), _numbers(extent, "extent", 1)
    _require(f.min() >= 0 and f.max() <= 1, f"prob must lie in [0, 1], got {f.min():g} to {f.max():g}.")
    _require(min(f.shape[1:]) > 1, f"prob needs at least 2 × 2 grid points per λ, got {f.shape[1:]}.")
    fits = len(box) == 4 and box[0] < box[1] and box[2] < box[3]
    _require(fits, f"extent must be (xmin, xmax, ymin, ymax) with min < max, got {extent!r}.")
    # One byte per point, finest where the eye looks: near the boundary, p = 1/2. A linear code would turn the
    # boundary into stairs where the probability is almost flat.
    margin = 2 * f - 1
    code = np.rint(127.5 + 127.5 * np.sign(margin) * np.sqrt(np.abs(margin)))
    code = np.where(margin > 0, np.maximum(code, 128), np.minimum(code, 127)).astype(np.uint8)
    spec = {"extent": _short(box), "classes": list(classes), "notes": _notes(notes, len(f))}
    return Panel("field", title, {**spec, "xlabel": xlabel, "ylabel": ylabel}, {"code": code}, len(f))


def pixels_panel(values: ArrayLike, marks: ArrayLike, *, title: str) -> Panel:
    """Draw a norm per pixel as a map at one λ, in one scale of colours for all λ.

    Parameters
    ----------
    values : array-like of shape (L, H, W)
        The norms, at least 0; row 0 is at the top.
    marks : array-like of bool, shape (H, W)
        Constant pixels, which get a cross; the read-out compares their mean with that of the others.
    title : str
        Heading.

    Returns
    -------
    Panel
    """
    v, at = _numbers(values, "values", 3), np.asarray(marks, dtype=bool)
    _require(v.min() >= 0, f"values must be at least 0, got {v.min():g}.")
    _require(at.shape == v.shape[1:], f"marks must have the shape {v.shape[1:]}, got {at.shape}.")
    _require(at.any() and not at.all(), "marks must hold some of the pixels, not none and not all.")
    spec = {"marks": np.flatnonzero(at).tolist(), "unit": "norm", "mark": "constant"}
    return Panel("pixels", title, spec, {"y": v.astype(np.float32)}, len(v))


def geometry_panel(
    hessian: ArrayLike,
    w_star: ArrayLike,
    *,
    norms: Sequence[Literal["l2", "l1", "linf"]] = ("l2", "l1"),
    title: str = "Two weights",
) -> Panel:
    """Solve for two weights in the browser: loss contours, ball, diamond or box, and where they touch.

    The loss is ½ (w − w*)ᵀ H (w − w*), the solutions are those of `ridge_2d`, `lasso_2d` and `box_2d`. The
    reader can drag w*, which all geometry panels of one explorer share.

    Parameters
    ----------
    hessian : array-like of shape (2, 2)
        Symmetric positive definite matrix H.
    w_star : array-like of shape (2,)
        Minimum of the loss without penalty, at the start. Its larger entry sets the scale of the axes.
    norms : sequence of {"l2", "l1", "linf"}
        Which bodies are drawn: ridge's ball, the lasso's diamond, AdamW's box.
    title : str
        Heading.

    Returns
    -------
    Panel

    References
    ----------
    Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*, 2nd ed., 2009, figure 3.11.
    """
    h, w = _numbers(hessian, "hessian", 2), _numbers(w_star, "w_star", 1)
    fits = h.shape == (2, 2) and np.allclose(h, h.T) and np.linalg.eigvalsh(h).min() > 0
    _require(fits, "hessian must be a symmetric positive definite 2 × 2 matrix.")
    _require(w.shape == (2,), f"w_star must have two entries, got {w.size}.")
    fits = len(norms) and set(norms) <= {"l2", "l1", "linf"}
    _require(fits, f"norms must be some of 'l2', 'l1' and 'linf', got {norms!r}.")
    reach = 1.4 * float(np.abs(w).max()) or 1.0
    spec = {"hessian": h.tolist(), "w_star": w.tolist(), "norms": list(norms), "extent": reach}
    return Panel("geometry", title, spec)


def heatmap_panel(
    values: ArrayLike,
    ys: ArrayLike,
    *,
    title: str,
    zlim: tuple[float, float],
    ylabel: str = "learning rate",
    zlabel: str = "test accuracy",
) -> Panel:
    """Map of a quantity over λ and a second parameter; the slider frames the column of its λ.

    A star marks the largest value of the map, a ring that of the column.

    Parameters
    ----------
    values : array-like of shape (L, R)
        The quantity.
    ys : array-like of shape (R,)
        The second parameter: increasing, in roughly equal ratios, as all rows are equally high.
    title : str
        Heading.
    zlim : (float, float)
        Limits of the colours; what lies outside takes the colour of the end.
    ylabel, zlabel : str
        Names of the second parameter and of the quantity; the read-out leaves out what stands in brackets.

    Returns
    -------
    Panel
    """
    z, rows = _numbers(values, "values", 2).astype(np.float32), _numbers(ys, "ys", 1)
    _require(z.shape[1] == len(rows), f"values must have one column per entry of ys ({len(rows)}).")
    _require(np.all(np.diff(rows) > 0), "ys must increase strictly: sort it and the columns of values.")
    at = [int(k) for k in np.unravel_index(z.argmax(), z.shape)]
    spec = {"ys": _short(rows), "ylabel": ylabel, "zlabel": zlabel, "at": at, "zlim": _limits(zlim, "zlim")}
    return Panel("heatmap", title, spec, {"z": z}, len(z))


def calculator_panel(
    *,
    lr: float = 0.1,
    n: int = 1000,
    batch_size: int = 50,
    epochs: float = 50,
    momentum: float = 0.9,
    schedule: Literal["constant", "cosine", "linear"] = "constant",
    optimizer: Literal["sgd", "adamw"] = "sgd",
    fan_in: int | None = None,
    title: str = "A planned run",
) -> Panel:
    """Compute in the browser what a λ means in a planned run, as `l2lab.budget.decay_plan` does.

    The reader sets the run in the panel, and λ by the slider, as a number (Python sees the nearest one of
    the slider) or by a timescale in epochs. Told are timescale, budget, box, λ as others write it, and the
    warnings of the plan. Drawn are the share that is left of a weight without gradient, step by step, and
    e^(−B). The address of a page holds the plan: ``#name:lam=0.04,lr=0.1,n=200,batch_size=20,epochs=60``.

    Parameters
    ----------
    lr, n, batch_size, epochs, momentum, schedule, optimizer, fan_in : number or str
        The run at the start, as in `l2lab.budget.decay_plan`; at most a million steps.
    title : str
        Heading.

    Returns
    -------
    Panel
    """
    run = {"lr": lr, "n": n, "batch_size": batch_size, "epochs": epochs, "momentum": momentum}
    run |= {"schedule": schedule, "optimizer": optimizer, "fan_in": fan_in}
    steps = decay_plan(0.0, **run).steps  # checks all of them
    _require(steps <= 1_000_000, f"the browser follows at most 1,000,000 steps, got {steps:,}.")
    return Panel("calculator", title, run)


def _require(fits: bool, message: str) -> None:
    if not fits:
        raise ValueError(message)


def _numbers(value: ArrayLike, name: str, ndim: int) -> np.ndarray:
    """Finite float64 array with ``ndim`` axes, none of them empty."""
    try:
        a = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise ValueError(f"{name} must be an array of numbers.") from err
    _require(a.ndim == ndim and a.size, f"{name} must have {ndim} axes, none of them empty; got {a.shape}.")
    _require(np.isfinite(a).all(), f"{name} holds NaN or infinite values; leave out the λ that diverged.")
    return a


def _counts(value: ArrayLike, name: str, ndim: int) -> np.ndarray:
    """Whole numbers, in the smallest integers that hold them."""
    a = _numbers(value, name, ndim)
    whole = a.min() >= 0 and a.max() < 2**32 and np.all(a == np.rint(a))
    _require(whole, f"{name} must hold whole numbers from 0 to 2³² − 1.")
    return a.astype(np.min_scalar_type(int(a.max())))


def _float32(a: np.ndarray) -> np.ndarray:
    """Round to float32 without turning a tiny number into an exact zero (zeros are counted)."""
    b = a.astype(np.float32)
    lost = (b == 0) & (a != 0)
    b[lost] = np.copysign(np.finfo(np.float32).tiny, a[lost])
    return b


def _short(a: np.ndarray, digits: int = 6) -> list:
    """Nested list of floats with few significant digits: JSON is text."""
    return np.vectorize(lambda v: float(f"{v:.{digits}g}"), otypes=[float])(a).tolist() if a.size else []


def _notes(notes: Sequence[str] | None, n: int) -> list[str] | None:
    _require(notes is None or len(notes) == n, f"notes must be {n} strings, one per λ.")
    return None if notes is None else list(notes)


def _limits(limits: tuple[float, float] | None, name: str) -> list[float] | None:
    if limits is None:
        return None
    a = _numbers(limits, name, 1)
    _require(len(a) == 2 and a[0] < a[1], f"{name} must be (low, high) with low < high, got {limits!r}.")
    return a.tolist()


def _colors(names: Sequence[str]) -> list[int]:
    """Numbers (1 …) of palette colours; names without one of their own take the free ones in order."""
    known = [_KNOWN.get(name) for name in names]
    own = [c if c not in known[:k] else None for k, c in enumerate(known)]
    free = [c for c in range(1, len(_NAMES) + 1) if c not in own]
    return [c or (free.pop(0) if free else k % len(_NAMES) + 1) for k, c in enumerate(own)]
