"""Problems whose right answer is known, on which selectors are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn import datasets

from ..data import Problem

__all__ = ["PROBLEMS", "split_table"]

EXTRAS = ("random", "corrupted", "second_order")
TABLES = ("breast_cancer", "digits", "diabetes")
# Share of the rows for learning on which the refit validates.
VALID = 0.25


def split_table(
    name: str, X: np.ndarray, y: np.ndarray, support: np.ndarray | None, learn: np.ndarray, test: np.ndarray
) -> Problem:
    """Split a table and standardize it by the rows for learning; the last quarter of these is for validation.

    Parameters
    ----------
    name : str
        Of the problem.
    X, y : ndarray, shapes (N, p) and (N,)
        Inputs; class numbers, if whole or bool, else targets.
    support : ndarray of bool, shape (p,), or None
        The features that matter.
    learn, test : ndarray of int
        Their rows.

    Returns
    -------
    Problem
        Columns that are constant on the rows for learning stay in.
    """
    classes = y.dtype.kind in "biu"
    # Rounding gives a constant column a tiny spread, which would make its test rows huge.
    spread = np.where(np.ptp(X[learn], axis=0) > 0, X[learn].std(0), 1)
    X = (X - X[learn].mean(0)) / spread
    y = y.astype(np.int64) if classes else (y - y[learn].mean()) / y[learn].std()
    train, valid = np.split(learn, [len(learn) - round(VALID * len(learn))])
    splits = {key: (X[rows], y[rows]) for key, rows in (("train", train), ("valid", valid), ("test", test))}
    names = tuple(str(j) for j in range(X.shape[1]))
    if classes:
        return Problem(name, "classification", splits, names, int(y.max()) + 1, support)
    return Problem(name, "regression", splits, names, support=support)


def _problem(name: str, X: np.ndarray, y: np.ndarray, n_true: int, n: int, seed: int) -> Problem:
    """Shuffle, and split after n rows; the first columns are true."""
    rows = np.random.default_rng([seed, 1]).permutation(len(X))
    return split_table(name, X, y, np.arange(X.shape[1]) < n_true, rows[:n], rows[n:])


def _xor(seed: int) -> Problem:
    """Two of 50 features decide by their signs together, each alone says nothing; 5 % of labels are wrong."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2600, 50))
    y = (X[:, 0] * X[:, 1] > 0) ^ (rng.random(2600) < 0.05)
    return _problem("xor", X, y, 2, 600, seed)


def _friedman(seed: int) -> Problem:
    """Friedman's first function: 5 of 100 features, with an interaction and a parabola."""
    X, y = datasets.make_friedman1(2500, 100, noise=1.0, random_state=seed)
    return _problem("friedman", X, y, 5, 500, seed)


def _linear(seed: int) -> Problem:
    """Sparse linear regression: 10 of 100 features with coefficients ±1, signal-to-noise ratio 2."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2200, 100))
    y = X[:, :10] @ rng.choice([-1.0, 1.0], 10) + math.sqrt(5) * rng.standard_normal(2200)
    return _problem("linear", X, y, 10, 200, seed)


def _madelon(seed: int) -> Problem:
    """Clusters on the corners of a cube in 5 of 100 dimensions, as in MADELON."""
    clusters = {"n_informative": 5, "n_redundant": 0, "n_clusters_per_class": 8, "class_sep": 1.5}
    X, y = datasets.make_classification(3000, 100, flip_y=0.01, shuffle=False, random_state=seed, **clusters)
    return _problem("madelon", X, y, 5, 1000, seed)


def _digits(seed: int) -> Problem:
    """Digits with 64 more columns: the pixels, each shuffled over the rows."""
    X, y = datasets.load_digits(return_X_y=True)
    noise = np.random.default_rng(seed).permuted(X, axis=0)
    return _problem("digits", np.hstack([X, noise]), y, 64, 800, seed)


def _with_extras(table: str, kind: str, seed: int) -> Problem:
    """Double the features of a table: by normal noise, by copies that are half noise, or by products of two.

    80 % of the rows, at most 1000, are for learning.

    V. Cherepanova et al., "A performance-driven benchmark for feature selection in tabular deep learning",
    NeurIPS 2023, Datasets and Benchmarks.
    """
    X, y = getattr(datasets, f"load_{table}")(return_X_y=True)
    X = X[:, X.std(0) > 0]
    X = (X - X.mean(0)) / X.std(0)
    rng = np.random.default_rng(seed)
    n, p = X.shape
    first, second = rng.permutation(p), rng.permutation(p)
    if kind == "random":
        extra = rng.standard_normal((n, p))
    elif kind == "corrupted":
        extra = 0.5 * X[:, first] + 0.5 * rng.standard_normal((n, p))
    else:
        extra = X[:, first] * X[:, second]
    return _problem(f"{table} + {kind}", np.hstack([X, extra]), y, p, min(1000, int(0.8 * n)), seed)


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "xor": _xor,
    "friedman": _friedman,
    "linear": _linear,
    "madelon": _madelon,
    "digits": _digits,
    **{f"{name} + {kind}": partial(_with_extras, name, kind) for name in TABLES for kind in EXTRAS},
}
