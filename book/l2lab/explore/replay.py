"""The picture of a `Trainer` for readers without JavaScript: its run, repeated with NumPy.

Linear models on the sparse problem are repeated number by number, with the generator of
``train/problems.js``; for the others the picture says only what would be trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .fallback import encode, use_style
from .panels import PALETTE

__all__ = ["digits_as_bytes", "draw", "replay"]

_DEPTH = {"w": 1, "uv": 2, "uvz": 3}
_TRUTH = np.array([2.0, -1.5, 0.8])  # of the first inputs
_INPUTS = 20
_MASK = 0xFFFFFFFF
_WORDS = {"sgd": "SGD, momentum 0.9", "adam": "Adam, coupled L2", "adamw": "AdamW"}
_MODELS = {"w": "w", "uv": "w = u·v", "uvz": "w = u·v·z", "mlp": "network", "gates": "network, input gates"}


def digits_as_bytes() -> bytes:
    """Return scikit-learn's 3s and 8s: for each one byte that is 1 for an 8, then 64 pixels from 0 to 16."""
    from sklearn.datasets import load_digits

    table = load_digits()
    some = np.isin(table.target, (3, 8))
    return np.c_[table.target == 8, table.data][some].astype(np.uint8).tobytes()


def _uniform(seed: int) -> Iterator[float]:
    """mulberry32, as in ``train/problems.js``."""
    state = (((seed + 1) ^ 0x2545F491) * 0x85EBCA6B) & _MASK
    while True:
        state = (state + 0x6D2B79F5) & _MASK
        t = ((state ^ (state >> 15)) * (1 | state)) & _MASK
        t = ((t + (((t ^ (t >> 7)) * (61 | t)) & _MASK)) & _MASK) ^ t
        yield (t ^ (t >> 14)) / 2**32


def _normals(draws: Iterator[float], n: int) -> np.ndarray:
    def one() -> float:
        radius = math.sqrt(-2 * math.log(1 - next(draws)))
        return radius * math.cos(2 * math.pi * next(draws))

    return np.array([one() for _ in range(n)])


def replay(side: Mapping[str, Any]) -> np.ndarray:
    """Train a linear model on the sparse problem as the browser does.

    Parameters
    ----------
    side : mapping
        Complete settings of one side of a `Trainer`, with data "sparse" and model "w", "uv" or "uvz".

    Returns
    -------
    ndarray of shape (steps + 1, 20)
        The weight of each input after each step.

    Raises
    ------
    ValueError
        If another problem or model is asked for.
    """
    if side["data"] != "sparse" or side["model"] not in _DEPTH:
        raise ValueError(f"only linear models on the sparse problem, not {side['model']} on {side['data']}.")
    n, depth, lam, lr = side["rows"], _DEPTH[side["model"]], side["lam"], side["lr"]
    draws = _uniform(3 * side["seed"])
    X = _normals(draws, n * _INPUTS).reshape(n, _INPUTS)
    y = X[:, : len(_TRUTH)] @ _TRUTH + side["noise"] * _normals(draws, n)
    factors = np.full((depth, _INPUTS), 0.6 if depth > 2 else 0.3)
    factors[-1] = 0.3 * _normals(_uniform(3 * side["seed"] + 1), _INPUTS)
    theta, decayed = np.r_[factors.ravel(), 0.0], np.r_[np.ones(factors.size), 0.0]
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    path = [factors.prod(axis=0)]
    for t in range(1, side["steps"] + 1):
        factors = theta[:-1].reshape(depth, _INPUTS)
        error = X @ factors.prod(axis=0) + theta[-1] - y
        others = np.stack([np.delete(factors, k, axis=0).prod(axis=0) for k in range(depth)])
        grad = np.r_[(others * (error @ X / n)).ravel(), error.mean()]
        if side["opt"] != "adamw":
            grad += lam * decayed * theta
        if side["opt"] == "sgd":
            first = 0.9 * first + grad
            theta = theta - lr * first
        else:
            if side["opt"] == "adamw":
                theta = theta * (1 - lr * lam * decayed)
            first += 0.1 * (grad - first)
            second = 0.999 * second + 0.001 * grad**2
            size = np.sqrt(second / (1 - 0.999**t)) + 1e-8
            theta = theta - lr * first / (1 - 0.9**t) / size
        path.append(theta[:-1].reshape(depth, _INPUTS).prod(axis=0))
    return np.array(path)


def draw(sides: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the weights of each side against time: a PNG, 7.6 inches wide, the same bytes for equal input."""
    with mpl.rc_context():
        use_style()
        fig = Figure(figsize=(7.6, 2.6), dpi=144, layout="constrained")
        FigureCanvasAgg(fig)
        axes = fig.subplots(1, len(sides), sharey=True, squeeze=False)[0]
        for k, (ax, side) in enumerate(zip(axes, sides, strict=True)):
            words = f"{_MODELS[side['model']]}, {_WORDS[side['opt']]}, λ = {side['lam']:g}"
            ax.set_title(f"{'AB'[k]}: {words}" if len(sides) > 1 else words)
            _side(ax, side)
        return encode(fig, 64)


def _side(ax: Axes, side: Mapping[str, Any]) -> None:
    if side["data"] != "sparse" or side["model"] not in _DEPTH:
        words = f"The problem “{side['data']}” is trained\nin a browser with JavaScript."
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    with np.errstate(over="ignore", invalid="ignore"):
        path = replay(side)
    path = path[: int(np.argmin(np.abs(path).max(axis=1) < 1e6)) or None]  # until it diverges
    some = np.unique(np.linspace(0, len(path) - 1, 400).astype(int))
    colors, true = list(PALETTE.values()), len(_TRUTH)
    noise = ax.plot(some, path[some, true:], color=colors[0], lw=0.8, alpha=0.6)
    signal = ax.plot(some, path[some, :true], color=colors[1], lw=1.8)
    alive = np.abs(path[-1]) > 1e-3
    told = f"alive at the end: {alive[:true].sum()} of 3 true, {alive[true:].sum()} of 17 noise"
    ax.set_xlabel(f"step ({told})")
    ax.set_ylabel("weight of each input")
    ax.axhline(0, color="#59636e", lw=0.7)
    shown = {"true inputs": signal[0], "noise inputs": noise[0]}
    edge = side["lam"] ** -_DEPTH[side["model"]] if side["opt"] == "adamw" and side["lam"] else np.inf
    if edge < 1.5 * np.abs(path).max():
        for wall in (-edge, edge):
            shown["AdamW's box"] = ax.axhline(wall, color=colors[2], ls=":", lw=1.4)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.16 * (high - low))  # room for the legend
    ax.legend(shown.values(), shown, ncols=3, loc="upper right")
