"""Problems whose right answer is known, on which selectors are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import datasets

__all__ = [
    "PROBLEMS",
    "Contest",
    "digits",
    "friedman",
    "linear",
    "madelon",
    "split_contest",
    "with_extras",
    "xor",
]

EXTRAS = ("random", "corrupted", "second_order")
TABLES = ("breast_cancer", "digits", "diabetes")


@dataclass(frozen=True)
class Contest:
    """A problem whose right answer is known.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Training inputs, standardized.
    y : ndarray, shape (n,)
        Classes 0, 1, …, or targets, standardized.
    X_test : ndarray, shape (m, p)
        Test inputs, standardized by the training rows.
    y_test : ndarray, shape (m,)
        Classes or targets of the test rows, standardized by the training rows.
    truth : ndarray of bool, shape (p,)
        The features that matter, or that were there before others were added.
    k : int
        Number of features at which methods are compared.
    classes : bool
        Whether `y` holds classes.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    truth: np.ndarray
    k: int
    classes: bool


def split_contest(
    X: np.ndarray, y: np.ndarray, truth: np.ndarray, train: np.ndarray, test: np.ndarray, k: int
) -> Contest:
    """Split a table and standardize it by its training rows.

    Parameters
    ----------
    X : ndarray, shape (N, p)
        Inputs.
    y : ndarray, shape (N,)
        Class numbers, if whole or bool, else targets.
    truth : ndarray of bool, shape (p,)
        The features that matter.
    train, test : ndarray of int
        Their rows.
    k : int
        Number of features at which methods are compared.

    Returns
    -------
    Contest
        The problem. Columns that are constant on the training rows stay in.
    """
    n, rows, classes = len(train), np.concatenate([train, test]), y.dtype.kind in "biu"
    X, y = X[rows], y[rows]
    spread = X[:n].std(0)
    X = (X - X[:n].mean(0)) / np.where(spread > 0, spread, 1)
    y = y.astype(np.int64) if classes else (y - y[:n].mean()) / y[:n].std()
    return Contest(X[:n], y[:n], X[n:], y[n:], truth, k, classes)


def _contest(
    X: np.ndarray, y: np.ndarray, truth: np.ndarray, n: int, seed: int, k: int | None = None
) -> Contest:
    """Shuffle, and split after n rows."""
    rows = np.random.default_rng([seed, 1]).permutation(len(X))
    return split_contest(X, y, truth, rows[:n], rows[n:], k or int(truth.sum()))


def xor(seed: int) -> Contest:
    """Two of 50 features decide by their signs together, each alone says nothing; 5 % of labels are wrong.

    Parameters
    ----------
    seed : int
        Draws everything.

    Returns
    -------
    Contest
        With 600 rows.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2600, 50))
    y = (X[:, 0] * X[:, 1] > 0) ^ (rng.random(2600) < 0.05)
    return _contest(X, y, np.arange(50) < 2, 600, seed)


def friedman(seed: int) -> Contest:
    """Friedman's first function: 5 of 100 features, with an interaction and a parabola.

    Parameters
    ----------
    seed : int
        Draws everything.

    Returns
    -------
    Contest
        With 500 rows.
    """
    X, y = datasets.make_friedman1(2500, 100, noise=1.0, random_state=seed)
    return _contest(X, y, np.arange(100) < 5, 500, seed)


def linear(seed: int) -> Contest:
    """Sparse linear regression: 10 of 100 features with coefficients ±1, signal-to-noise ratio 2.

    Parameters
    ----------
    seed : int
        Draws everything.

    Returns
    -------
    Contest
        With 200 rows.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2200, 100))
    y = X[:, :10] @ rng.choice([-1.0, 1.0], 10) + math.sqrt(5) * rng.standard_normal(2200)
    return _contest(X, y, np.arange(100) < 10, 200, seed)


def madelon(seed: int) -> Contest:
    """Clusters on the corners of a cube in 5 of 100 dimensions, as in MADELON.

    Parameters
    ----------
    seed : int
        Draws everything.

    Returns
    -------
    Contest
        With 1000 rows.
    """
    X, y = datasets.make_classification(
        3000,
        100,
        n_informative=5,
        n_redundant=0,
        n_clusters_per_class=8,
        class_sep=1.5,
        flip_y=0.01,
        shuffle=False,
        random_state=seed,
    )
    return _contest(X, y, np.arange(100) < 5, 1000, seed)


def digits(seed: int) -> Contest:
    """Digits with 64 more columns: the pixels, each shuffled over the rows. Compared at 20 features.

    Pixels at the edge are hardly ever on, so even a perfect selector does not want all that count as true.

    Parameters
    ----------
    seed : int
        Draws noise and split.

    Returns
    -------
    Contest
        With 800 rows.
    """
    X, y = datasets.load_digits(return_X_y=True)
    noise = np.random.default_rng(seed).permuted(X, axis=0)
    return _contest(np.hstack([X, noise]), y, np.arange(128) < 64, 800, seed, k=20)


def with_extras(table: str, kind: str, seed: int) -> Contest:
    """Double the features of a table, as in the benchmark of Cherepanova et al.

    Parameters
    ----------
    table : {"breast_cancer", "digits", "diabetes"}
        Data that come with scikit-learn, the last with targets and not classes; 80 % of the rows are for
        training, at most 1000.
    kind : {"random", "corrupted", "second_order"}
        As many features again: normal noise; half a feature and half noise; products of two features.
    seed : int
        Draws features and split.

    Returns
    -------
    Contest
        `k` is the number of features that the table had.

    References
    ----------
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
    return _contest(np.hstack([X, extra]), y, np.arange(2 * p) < p, min(1000, int(0.8 * n)), seed)


def _table(name: str, kind: str) -> Callable[[int], Contest]:
    return lambda seed: with_extras(name, kind, seed)


PROBLEMS: dict[str, Callable[[int], Contest]] = {
    "xor": xor,
    "friedman": friedman,
    "linear": linear,
    "madelon": madelon,
    "digits": digits,
    **{f"{name} + {kind}": _table(name, kind) for name in TABLES for kind in EXTRAS},
}
