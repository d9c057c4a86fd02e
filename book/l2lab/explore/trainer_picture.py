"""The picture of a `Trainer` for readers without JavaScript: its run, repeated with NumPy.

Linear models on the sparse problem are repeated number by number, with the generator of
``train/problems.js``; for the others the picture says only what would be trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from .fallback import MUTED, encode, figure
from .panels import PALETTE

__all__ = ["digits_as_bytes", "draw", "replay"]

_DEPTH = {"w": 1, "uv": 2, "uvz": 3}
_MASK = 0xFFFFFFFF


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
    """Train a linear model on the sparse problem as the browser does, with the settings of one side.

    Given back is the weight of each input after each step, of shape (steps + 1, 20).
    """
    n, depth, lam, lr = side["rows"], _DEPTH[side["model"]], side["lam"], side["lr"]
    draws = _uniform(3 * side["seed"])
    X = _normals(draws, n * 20).reshape(n, 20)
    y = X[:, :3] @ [2.0, -1.5, 0.8] + side["noise"] * _normals(draws, n)
    factors = np.full((depth, 20), 0.6 if depth > 2 else 0.3)
    factors[-1] = 0.3 * _normals(_uniform(3 * side["seed"] + 1), 20)
    theta, decayed = np.r_[factors.ravel(), 0.0], np.r_[np.ones(factors.size), 0.0]
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    path = [factors.prod(axis=0)]
    for t in range(1, side["steps"] + 1):
        factors = theta[:-1].reshape(depth, 20)
        error = X @ factors.prod(axis=0) + theta[-1] - y
        others = np.stack([np.delete(factors, k, axis=0).prod(axis=0) for k in range(depth)])
        grad = np.r_[(others * (error @ X / n)).ravel(), error.mean()]
        if side["opt"] == "adamw":
            theta = theta * (1 - lr * lam * decayed)
        else:
            grad += lam * decayed * theta
        if side["opt"] == "sgd":
            first = 0.9 * first + grad
            theta = theta - lr * first
        else:
            first += 0.1 * (grad - first)
            second = 0.999 * second + 0.001 * grad**2
            size = np.sqrt(second / (1 - 0.999**t)) + 1e-8
            theta = theta - lr * first / (1 - 0.9**t) / size
        path.append(theta[:-1].reshape(depth, 20).prod(axis=0))
    return np.array(path)


def draw(sides: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the weights of each side against time, a PNG."""
    with rc_context():
        fig = figure(2.6)
        for ax, side in zip(fig.subplots(1, len(sides), squeeze=False)[0], sides, strict=True):
            ax.set_title("{data}, {model}, {opt}, λ = {lam:g}".format_map(side))
            if side["data"] == "sparse" and side["model"] in _DEPTH:
                _side(ax, side)
            else:
                ax.text(0.5, 0.5, "is trained in a browser with JavaScript", ha="center")
                ax.set_axis_off()
        return encode(fig)


def _side(ax: Axes, side: Mapping[str, Any]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        path = replay(side)
    path = path[: int(np.argmin(np.abs(path).max(axis=1) < 1e6)) or None]  # until it diverges
    some = np.unique(np.linspace(0, len(path) - 1, 400).astype(int))
    blue, red, green, *_ = PALETTE.values()
    ax.plot(some, path[some, 3:], color=blue, lw=0.8, alpha=0.6)[0].set_label("noise inputs")
    ax.plot(some, path[some, :3], color=red, lw=1.8)[0].set_label("true inputs")
    true, noise = (int((np.abs(part) > 1e-3).sum()) for part in (path[-1, :3], path[-1, 3:]))
    ax.set_xlabel(f"step (alive at the end: {true} of 3 true, {noise} of 17 noise)")
    ax.set_ylabel("weight of each input")
    ax.axhline(0, color=MUTED, lw=0.7)
    edge = side["lam"] ** -_DEPTH[side["model"]] if side["opt"] == "adamw" and side["lam"] else np.inf
    if edge < 1.5 * np.abs(path).max():
        ax.axhline(edge, color=green, ls=":", lw=1.4, label="AdamW's box")
        ax.axhline(-edge, color=green, ls=":", lw=1.4)
    ax.margins(y=0.15)  # room for the legend
    ax.legend(ncols=3, loc="upper right")
