"""Problems whose right answer is known, on which selectors are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn import datasets

from ..data import Problem

__all__ = ["KINDS", "PROBLEMS", "RESPLIT", "parity"]

N_TEST = 2000
# Share of labels that are wrong.
FLIPPED = 0.05
# Share of the rows for learning on which the refit validates.
VALID = 0.25


def _rng(seed: int, *name: str) -> np.random.Generator:
    """A stream for each problem: equal seeds must not mean equal numbers in two problems."""
    return np.random.default_rng([seed, *",".join(name).encode()])


def _problem(
    name: str, X: np.ndarray, y: np.ndarray, n_true: int, n: int, rng: np.random.Generator
) -> Problem:
    """Shuffle rows and columns, of which the first are true; n rows are for learning, the others for testing.

    A quarter of the n rows is for validation, and all is standardized by them; columns that are constant
    there stay in. A `y` of whole numbers or bool holds classes. Methods that give equal scores put columns in
    order; in a random one they gain nothing by that.
    """
    rows, columns = rng.permutation(len(X)), rng.permutation(X.shape[1])
    X, learn = X[:, columns], rows[:n]
    classes = y.dtype.kind in "biu"
    # Rounding gives a constant column a tiny spread, which would make its test rows huge.
    spread = np.where(np.ptp(X[learn], axis=0) > 0, X[learn].std(0), 1)
    X = (X - X[learn].mean(0)) / spread
    y = y.astype(np.int64) if classes else (y - y[learn].mean()) / y[learn].std()
    parts = np.split(rows, [n - round(VALID * n), n])
    splits = {key: (X[part], y[part]) for key, part in zip(("train", "valid", "test"), parts, strict=True)}
    names = tuple(str(j) for j in range(X.shape[1]))
    task, n_classes = ("classification", int(y.max()) + 1) if classes else ("regression", None)
    return Problem(name, task, splits, names, n_classes, columns < n_true)


def _rows(n_train: int) -> int:
    """Rows for learning of which so many remain for training."""
    return round(n_train / (1 - VALID))


def _linear(seed: int, rho: float = 0.0) -> Problem:
    """10 of 100 features with coefficients ±1, signal-to-noise ratio 2; correlation ρ^|i−j| of i and j.

    With ρ > 0 the true features are every tenth, and their neighbours tell nearly the same.
    """
    rng, n, p = _rng(seed, "linear", str(rho)), _rows(200), 100
    X = rng.standard_normal((n + N_TEST, p))
    for j in range(1, p):
        X[:, j] = rho * X[:, j - 1] + math.sqrt(1 - rho**2) * X[:, j]
    signal = X[:, ::10] @ rng.choice([-1.0, 1.0], 10)
    y = signal + signal.std() / math.sqrt(2) * rng.standard_normal(len(X))
    first = np.argsort(np.arange(p) % 10 > 0, kind="stable")
    return _problem("linear", X[:, first], y, 10, n, rng)


def _friedman(seed: int) -> Problem:
    """Friedman's first function: 5 of 100 features, with an interaction and a parabola."""
    rng, n = _rng(seed, "friedman"), _rows(500)
    X, y = datasets.make_friedman1(n + N_TEST, 100, noise=1.0, random_state=int(rng.integers(2**31)))
    return _problem("friedman", X, y, 5, n, rng)


def parity(seed: int, n_train: int, p: int, k: int) -> Problem:
    """Draw signs whose product decides: any fewer than `k` of the `p` features say nothing."""
    rng, n = _rng(seed, "parity", str(n_train), str(p), str(k)), _rows(n_train)
    X = rng.standard_normal((n + N_TEST, p))
    y = (X[:, :k].prod(1) > 0) ^ (rng.random(len(X)) < FLIPPED)
    return _problem("parity", X, y, k, n, rng)


def _clusters(seed: int) -> Problem:
    """Clusters on the corners of a cube in 5 of 100 dimensions, as in MADELON; 15 mixtures count as true."""
    rng, n = _rng(seed, "clusters"), _rows(1000)
    about = {"n_informative": 5, "n_redundant": 15, "n_clusters_per_class": 8, "class_sep": 1.5}
    about |= {"flip_y": 0.01, "shuffle": False, "random_state": int(rng.integers(2**31))}
    X, y = datasets.make_classification(n + N_TEST, 100, **about)
    return _problem("clusters", X, y, 20, n, rng)


def _even(seed: int) -> Problem:
    """x₁² + 1.5·|x₂| + cos 2x₃ + x₄ + noise: of 50 features 4 matter, and 3 of them have no linear effect."""
    rng, n = _rng(seed, "even"), _rows(600)
    X = rng.standard_normal((n + N_TEST, 50))
    y = X[:, 0] ** 2 + 1.5 * np.abs(X[:, 1]) + np.cos(2 * X[:, 2]) + X[:, 3]
    return _problem("even effects", X, y + 0.5 * rng.standard_normal(len(X)), 4, n, rng)


def _index(seed: int) -> Problem:
    """Of 60 features 3 matter, and only their sum does: sin 1.5(x₁ + x₂ + x₃) + noise."""
    rng, n = _rng(seed, "index"), _rows(600)
    X = rng.standard_normal((n + N_TEST, 60))
    y = np.sin(1.5 * X[:, :3].sum(1)) + 0.3 * rng.standard_normal(len(X))
    return _problem("single index", X, y, 3, n, rng)


def _heavy(seed: int) -> Problem:
    """Heavy tails (Student's t, 2 degrees, cut at ±10): tanh x₁ − tanh x₂ + tanh x₃ + noise, 3 of 60."""
    rng, n = _rng(seed, "heavy"), _rows(400)
    X = rng.standard_t(2, (n + N_TEST, 60)).clip(-10, 10)
    y = np.tanh(X[:, :3]) @ [1.0, -1.0, 1.0] + 0.5 * rng.standard_normal(len(X))
    return _problem("heavy tails", X, y, 3, n, rng)


def _dense(seed: int) -> Problem:
    """Linear in half of 60 features, in blocks of 5 with correlation 0.8; 6 of 12 blocks are true."""
    rng, n = _rng(seed, "dense"), _rows(400)
    block = np.repeat(rng.standard_normal((n + N_TEST, 12)), 5, axis=1)
    X = math.sqrt(0.8) * block + math.sqrt(0.2) * rng.standard_normal(block.shape)
    signal = X[:, :30] @ rng.standard_normal(30)
    y = signal + signal.std() / math.sqrt(2) * rng.standard_normal(len(X))
    return _problem("dense", X, y, 30, n, rng)


def _discrete(seed: int) -> Problem:
    """30 columns of 0 and 1: the sum of three and whether two others differ decide together."""
    rng, n = _rng(seed, "discrete"), _rows(400)
    B = rng.integers(0, 2, (n + N_TEST, 30))
    y = (B[:, :3].sum(1) + 2 * (B[:, 3] != B[:, 4]) > 2) ^ (rng.random(len(B)) < FLIPPED)
    return _problem("discrete", B.astype(np.float64), y, 5, n, rng)


def _copies(seed: int) -> Problem:
    """Linear in 5 of 40 features, each of which has a copy with correlation 0.9, which is not true."""
    rng, n = _rng(seed, "copies"), _rows(400)
    X = rng.standard_normal((n + N_TEST, 40))
    X[:, 5:10] = 0.9 * X[:, :5] + math.sqrt(1 - 0.9**2) * X[:, 5:10]
    y = X[:, :5] @ rng.choice([-1.0, 1.0], 5) + rng.standard_normal(len(X))
    return _problem("copies", X, y, 5, n, rng)


def _wide(seed: int) -> Problem:
    """Two classes, 100 rows, and 1000 features of which 5 matter, linearly."""
    rng, n = _rng(seed, "wide"), _rows(100)
    X = rng.standard_normal((n + N_TEST, 1000))
    y = X[:, :5] @ rng.choice([-1.0, 1.0], 5) + 0.5 * rng.standard_normal(len(X)) > 0
    return _problem("wide", X, y, 5, n, rng)


def _with_extras(table: str, kind: str, seed: int) -> Problem:
    """Double the features of a table, by noise, half-noisy copies, products or shuffled copies.

    80 % of the rows, at most 1000, are for learning. The features of the table count as true, all of them.

    V. Cherepanova et al., "A performance-driven benchmark for feature selection in tabular deep learning",
    NeurIPS 2023, Datasets and Benchmarks.
    """
    X, y = getattr(datasets, f"load_{table}")(return_X_y=True)
    X = X[:, X.std(0) > 0]
    X = (X - X.mean(0)) / X.std(0)
    rng = _rng(seed, table, kind)
    n, p = X.shape
    first, second = rng.permutation(p), rng.permutation(p)
    if kind == "random":
        extra = rng.standard_normal((n, p))
    elif kind == "corrupted":
        extra = 0.5 * X[:, first] + 0.5 * rng.standard_normal((n, p))
    elif kind == "second order":
        extra = X[:, first] * X[:, second]
    else:
        extra = rng.permuted(X, axis=0)
    return _problem(f"{table} + {kind}", np.hstack([X, extra]), y, p, min(1000, int(0.8 * n)), rng)


def _tables(kind: str, *names: str) -> dict[str, Callable[[int], Problem]]:
    return {f"{name.replace('_', ' ')} + {kind}": partial(_with_extras, name, kind) for name in names}


# kind -> problem -> drawn by a seed. A kind counts once in a summary, whatever the number of its problems.
KINDS: dict[str, dict[str, Callable[[int], Problem]]] = {
    "linear": {"linear": _linear, "linear, correlated": partial(_linear, rho=0.7)},
    "Friedman": {"Friedman": _friedman},
    "parity": {
        "XOR, 200 features": partial(parity, n_train=400, p=200, k=2),
        "3-way parity": partial(parity, n_train=1500, p=30, k=3),
    },
    "clusters": {"clusters with mixtures": _clusters},
    "even effects": {"even effects": _even},
    "single index": {"single index": _index},
    "heavy tails": {"heavy tails": _heavy},
    "dense": {"dense": _dense},
    "discrete": {"discrete": _discrete},
    "noisy copies": {"noisy copies": _copies},
    "wide": {"wide": _wide},
    "table + random": _tables("random", "breast_cancer", "diabetes"),
    "table + corrupted": _tables("corrupted", "breast_cancer", "diabetes"),
    "table + second order": _tables("second order", "breast_cancer", "diabetes"),
    "table + shuffled": _tables("shuffled", "digits"),
}
PROBLEMS: dict[str, Callable[[int], Problem]] = {
    name: draw for problems in KINDS.values() for name, draw in problems.items()
}
# Their rows are the same for every seed but for the split: the spread says nothing of other tables.
RESPLIT = tuple(name for kind, names in KINDS.items() if kind.startswith("table") for name in names)
