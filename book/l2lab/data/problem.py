"""The `Problem` container, and two ways to make a problem harder: wrong labels and noise columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

Split = tuple[np.ndarray, np.ndarray]
SPLITS = ("train", "valid", "test")

T = TypeVar("T", "Problem", np.ndarray)

# The hash sees every float as a whole number of millionths: fine enough that two different problems never
# agree, coarse enough that the last bits, which depend on the machine's BLAS and libm, never matter. The
# rounding edge is put where fractions never lie (the golden ratio is the number that they approximate worst):
# with 400 rows half of the centred pixels would be exact ties of ordinary rounding.
HASH_UNIT = 1e-6
HASH_EDGE = (3 - 5**0.5) / 2


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """Data with its splits and, where it is known, its truth.

    Parameters
    ----------
    name : str
        Short name, also used in result files.
    task : {"classification", "regression"}
        Decides the loss: cross-entropy, or ½(f − y)².
    splits : dict of str to (X, y)
        Keys ``"train"``, ``"valid"``, ``"test"``. `X` is float64 of shape (n, p); `y` has shape (n,): int64
        class numbers 0 … `n_classes` − 1, or float64 targets.
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
    y_mean, y_scale : float
        A standardized regression target t stands for ``y_mean + y_scale * t`` in the unit of the source.
    source : str
        Where the data come from, and their licence.

    Raises
    ------
    ValueError
        If shapes, names, labels or values do not fit together.
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
    y_mean: float = 0.0
    y_scale: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.task not in ("classification", "regression"):
            raise ValueError(f"task must be 'classification' or 'regression', got {self.task!r}")
        if (self.task == "classification") != (self.n_classes is not None):
            raise ValueError("give n_classes for a classification problem, and only there")
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"splits must have the keys {SPLITS}, got {tuple(self.splits)}")
        p = len(self.feature_names)
        for key, (X, y) in self.splits.items():
            if X.ndim != 2 or X.shape[1] != p or y.shape != (len(X),):
                raise ValueError(f"split {key!r}: X {X.shape} and y {y.shape} do not fit {p} feature names")
            if not len(X):
                raise ValueError(f"split {key!r} is empty; every split needs at least one row")
            if not (np.isfinite(X).all() and np.isfinite(y).all()):
                raise ValueError(
                    f"split {key!r} holds NaN or infinite values; drop or impute these rows first"
                )
            if self.n_classes is not None and (
                y.dtype.kind != "i" or y.min() < 0 or y.max() >= self.n_classes
            ):
                raise ValueError(f"split {key!r}: labels must be integers from 0 to {self.n_classes - 1}")
        for key in ("support", "coef"):
            value = getattr(self, key)
            if value is not None and value.shape != (p,):
                raise ValueError(f"{key} must have shape ({p},), got {value.shape}")

    @property
    def X_train(self) -> np.ndarray:  # noqa: N802
        """Training inputs, shape (n_train, p)."""
        return self.splits["train"][0]

    @property
    def y_train(self) -> np.ndarray:
        """Training targets, shape (n_train,), label noise included."""
        return self.splits["train"][1]

    @property
    def X_valid(self) -> np.ndarray:  # noqa: N802
        """Validation inputs, shape (n_valid, p): for choosing λ."""
        return self.splits["valid"][0]

    @property
    def y_valid(self) -> np.ndarray:
        """Validation targets, shape (n_valid,)."""
        return self.splits["valid"][1]

    @property
    def X_test(self) -> np.ndarray:  # noqa: N802
        """Test inputs, shape (n_test, p): for the final number only."""
        return self.splits["test"][0]

    @property
    def y_test(self) -> np.ndarray:
        """Test targets, shape (n_test,): never noisy on purpose."""
        return self.splits["test"][1]

    @property
    def n_features(self) -> int:
        """Number of columns p."""
        return len(self.feature_names)

    @property
    def clean_train_labels(self) -> np.ndarray:
        """Training labels before label noise, shape (n_train,)."""
        return self.clean_labels.get("train", self.y_train)

    @property
    def flipped(self) -> np.ndarray:
        """Mask of the training rows with a wrong label, shape (n_train,)."""
        return self.y_train != self.clean_train_labels

    @property
    def content_hash(self) -> str:
        """First 16 hex digits of a SHA-256 over the three splits, equal on every machine.

        Hashed are, per split, its name, the shapes, the kind of the values (integer or float) and the values
        as little-endian 64-bit integers, floats in units of 1e-6. The rounding is on purpose: sums and matrix
        products differ in their last bits between machines, and a result file must still match its data. It
        is computed anew at every call, so it tells when someone changed an array in place.
        """
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


def flip_labels(
    y: np.ndarray, fraction: float, n_classes: int, seed: Any = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Replace a fraction of the labels by another class, uniformly drawn.

    Exactly ``round(fraction * n)`` labels change and every one of them is wrong afterwards: "20 % wrong
    labels" means 20 %, not 18 % as when the new label is drawn from all 10 classes.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        Labels 0 … `n_classes` − 1.
    fraction : float
        Share of wrong labels, 0 … 1.
    n_classes : int
        Number of classes, at least 2.
    seed : int or sequence of int, default 0
        Seed of :func:`numpy.random.default_rng`.

    Returns
    -------
    noisy : ndarray of int64, shape (n,)
        New labels; `y` is left as it is.
    flipped : ndarray of bool, shape (n,)
        True where the label is wrong now.

    Raises
    ------
    ValueError
        If `fraction` is outside [0, 1], there are fewer than 2 classes or a label is not one of them.
    """
    y = np.asarray(y)
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of wrong labels must be between 0 and 1, got {fraction!r}")
    if n_classes < 2:
        raise ValueError(
            f"a label can be wrong only if there are at least 2 classes, got n_classes={n_classes}"
        )
    if y.ndim != 1 or y.dtype.kind not in "iu" or (len(y) and (y.min() < 0 or y.max() >= n_classes)):
        raise ValueError(f"y must be a 1-D array of integers from 0 to {n_classes - 1}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[: round(fraction * len(y))]
    noisy = y.astype(np.int64)
    # A step of 1 … C−1 on the circle of classes never leads back to the start.
    noisy[rows] = (noisy[rows] + rng.integers(1, n_classes, len(rows))) % n_classes
    return noisy, noisy != y


def add_noise_features(data: T, k: int, seed: int = 0, *, kind: str = "shuffled") -> T:
    """Append `k` columns that carry no information about the target.

    Parameters
    ----------
    data : Problem or ndarray of shape (n, p)
        What to append to; it is left as it is.
    k : int
        Number of columns, at least 0.
    seed : int, default 0
        Seed; the same seed with a larger `k` keeps the first columns.
    kind : {"shuffled", "gaussian"}
        "shuffled": copies of real columns, each with its rows permuted (within each split, so the training
        mean and variance stay those of the original); every real column is copied once before one is copied
        twice. "gaussian": normal columns, whose standard deviation is the root mean square of the real
        columns' ones.

    Returns
    -------
    Problem or ndarray of shape (n, p + k)
        Of the same type as `data`. In a `Problem`, `support` is False for the new columns (and True for the
        old ones where it was not known), `coef` is 0 there.

    Raises
    ------
    ValueError
        If `k` is negative or not an integer, or `kind` is unknown.
    TypeError
        If `data` is neither a `Problem` nor a two-dimensional array.
    """
    at_least(0, noise_features=k)
    if kind not in ("shuffled", "gaussian"):
        raise ValueError(f"kind of noise features must be 'shuffled' or 'gaussian', got {kind!r}")
    if not isinstance(data, Problem):
        X = np.asarray(data)
        if X.ndim != 2:
            raise TypeError(f"give a Problem or a two-dimensional array, got {type(data).__name__}")
        return np.concatenate([X, _noise_columns(X, X, k, kind, seed, 0)], axis=1)
    if k == 0:
        return data
    before = data.noise.get("noise_features", 0)
    splits = {}
    for part, key in enumerate(SPLITS):
        X, y = data.splits[key]
        noise = _noise_columns(X, data.X_train, k, kind, seed, part + len(SPLITS) * before)
        splits[key] = (np.concatenate([X, noise], axis=1), y)
    support = np.ones(data.n_features, bool) if data.support is None else data.support
    return replace(
        data,
        splits=splits,
        feature_names=(*data.feature_names, *(f"noise {before + j}" for j in range(k))),
        support=np.append(support, np.zeros(k, bool)),
        coef=None if data.coef is None else np.append(data.coef, np.zeros(k)),
        noise={**data.noise, "noise_features": before + k, "noise_kind": kind},
    )


def _noise_columns(
    X: np.ndarray, reference: np.ndarray, k: int, kind: str, seed: int, part: int
) -> np.ndarray:
    n, p = X.shape
    rng = np.random.default_rng((seed, 2, part))
    if kind == "gaussian":
        # Drawn column by column, so that more columns leave the first ones as they are.
        return rng.standard_normal((k, n)).T * np.sqrt(reference.var(axis=0).mean())
    # Every split copies the same columns in the same order: this draw must not depend on `part`.
    order = np.random.default_rng((seed, 3)).permutation(p)
    columns = [rng.permutation(X[:, order[j % p]]) for j in range(k)]
    return np.stack(columns, axis=1) if k else np.empty((n, 0))


def at_least(least: int, **counts: Any) -> None:
    """Check that numbers of things are whole and not too small.

    Parameters
    ----------
    least : int
        Smallest value allowed.
    **counts : int
        Values by the name that the message shall give them.

    Raises
    ------
    ValueError
        If a value is not a whole number or below `least`.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
