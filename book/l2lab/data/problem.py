"""The `Problem` container, and wrong labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Split = tuple[np.ndarray, np.ndarray]
SPLITS = ("train", "valid", "test")

# The hash sees every float as a whole number of millionths, so that the last bits, which depend on the
# machine's BLAS and libm, never matter. The rounding edge is put where fractions never lie (they approximate
# the golden ratio worst): with 400 rows half of the centred pixels would be ties of rounding.
HASH_UNIT = 1e-6
HASH_EDGE = (3 - 5**0.5) / 2


def _part(split: str, index: int, doc: str) -> property:
    return property(lambda self: self.splits[split][index], doc=doc)


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """Data with its splits and, where it is known, its truth; a ValueError if shapes do not fit.

    Parameters
    ----------
    name : str
        Short name, also used in result files.
    task : {"classification", "regression"}
        Decides the loss: cross-entropy, or ½(f − y)².
    splits : dict of str to (X, y)
        Keys ``"train"``, ``"valid"``, ``"test"``. `X` is float64 of shape (n, p); `y` has shape (n,): int64
        class numbers 0 … `n_classes` − 1, or float64 targets. The test labels are never noisy on purpose.
    feature_names : tuple of str
        One name per column of `X`.
    n_classes : int, optional
        Number of classes; None for regression.
    support : ndarray of bool, shape (p,), optional
        True for the features that really matter (known truth), or that are not added noise.
    coef : ndarray of float, shape (p,), optional
        True coefficients of a linear model, in units of the columns of `X`.
    clean_labels : dict of str to ndarray, optional
        The labels before label noise, for every split that has some.
    noise : dict, optional
        What was made worse on purpose, and by how much.
    """

    name: str
    task: str
    splits: Mapping[str, Split]
    feature_names: tuple[str, ...]
    n_classes: int | None = None
    support: np.ndarray | None = None
    coef: np.ndarray | None = None
    clean_labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    noise: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        p = len(self.feature_names)
        for key, (X, y) in self.splits.items():
            if X.ndim != 2 or X.shape[1] != p or y.shape != (len(X),) or not len(X):
                raise ValueError(f"split {key!r}: X {X.shape} and y {y.shape} do not fit {p} feature names")
            if not (np.isfinite(X).all() and np.isfinite(y).all()):
                raise ValueError(f"split {key!r} holds NaN or infinite values; drop these rows first")
        if self.support is not None and self.support.shape != (p,):
            raise ValueError(f"support must have shape ({p},), got {self.support.shape}")

    X_train = _part("train", 0, "Training inputs, shape (n_train, p).")
    y_train = _part("train", 1, "Training targets, shape (n_train,), label noise included.")
    X_valid = _part("valid", 0, "Validation inputs, shape (n_valid, p): for choosing λ.")
    y_valid = _part("valid", 1, "Validation targets, shape (n_valid,).")
    X_test = _part("test", 0, "Test inputs, shape (n_test, p): for the final number only.")
    y_test = _part("test", 1, "Test targets, shape (n_test,).")

    n_features = property(lambda self: len(self.feature_names), doc="Number of columns p.")

    @property
    def content_hash(self) -> str:
        """First 16 hex digits of a SHA-256 over the splits, floats in millionths: equal on every machine."""
        digest = hashlib.sha256()
        for key in SPLITS:
            for array in self.splits[key]:
                digest.update(f"{key}{array.shape}{'i' if array.dtype.kind in 'iub' else 'f'}".encode())
                whole = array if array.dtype.kind in "iub" else np.floor(array / HASH_UNIT + HASH_EDGE)
                digest.update(np.ascontiguousarray(whole).astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{key} {len(self.splits[key][1])}" for key in SPLITS)
        what = self.task if self.n_classes is None else f"{self.n_classes} classes"
        return f"Problem({self.name}: {what}, {self.n_features} features; {sizes}; hash {self.content_hash})"


def standardized_targets(splits: dict[str, Split]) -> dict[str, Split]:
    """Give the targets of the training rows mean 0 and variance 1, and the others the same change."""
    mean, scale = float(splits["train"][1].mean()), float(splits["train"][1].std())
    return {key: (X, (y - mean) / scale) for key, (X, y) in splits.items()}


def flip_labels(y: np.ndarray, fraction: float, n_classes: int, seed: Any = 0) -> np.ndarray:
    """Replace a fraction of the labels by another class, uniformly drawn.

    Exactly ``round(fraction * n)`` labels change and every one of them is wrong afterwards: "20 % wrong
    labels" means 20 %, not 18 % as when the new label is drawn from all 10 classes.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        Labels 0 … `n_classes` − 1; left as they are.
    fraction : float
        Share of wrong labels, 0 … 1.
    n_classes : int
        Number of classes, at least 2.
    seed : int or sequence of int, default 0
        For :func:`numpy.random.default_rng`.

    Returns
    -------
    ndarray of int64, shape (n,)
        New labels.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of wrong labels must be between 0 and 1, got {fraction!r}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[: round(fraction * len(y))]
    noisy = y.astype(np.int64)
    # A step of 1 … C−1 on the circle of classes never leads back to the start.
    noisy[rows] = (noisy[rows] + rng.integers(1, n_classes, len(rows))) % n_classes
    return noisy
