"""The real tables that ship with scikit-learn; arguments out of range raise a ValueError."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from .. import checks
from .problem import SPLITS, Problem, Split, flip_labels, standardized_targets

FRACTIONS = (0.6, 0.2, 0.2)


def digits(
    n_train: int | None = None,
    label_noise: float = 0.0,
    noise_features: int = 0,
    seed: int = 0,
    *,
    noisy_valid: bool = False,
    fractions: Sequence[float] = FRACTIONS,
) -> Problem:
    """Handwritten digits: 1797 pictures of 8×8 pixels, 10 classes (UCI: Alpaydin and Kaynak 1998, CC BY 4.0).

    Columns are (pixel − its training mean) / 8, so a pixel of range 0 … 16 spans 2 units.

    Parameters
    ----------
    n_train : int, optional
        Keep only so many training rows, all classes in their proportion; a larger set contains a smaller one.
    label_noise : float, default 0
        Fraction of the training labels that is replaced by another, wrong class.
    noise_features : int, default 0
        Number of columns appended that know nothing of the label: copies of real columns with their rows
        permuted within each split. More columns keep the first ones.
    seed : int, default 0
        Draws the split, the wrong labels and the noise columns.
    noisy_valid : bool, default False
        Spoil the validation labels as well.
    fractions : sequence of 3 floats
        Shares of training, validation and test rows.

    Returns
    -------
    Problem
        With `clean_labels` where there is label noise; `support` is False for noise columns.
    """
    bunch = load_digits()
    splits = _split(bunch.data, bunch.target, fractions, n_train, seed, stratify=True)
    mean = splits["train"][0].mean(axis=0)
    splits = {key: ((X - mean) / 8.0, y) for key, (X, y) in splits.items()}
    names = tuple(f"pixel {i},{j}" for i in range(8) for j in range(8))
    problem = Problem("digits", "classification", splits, names, n_classes=10)
    if label_noise:
        splits, clean = dict(problem.splits), {}
        for part, key in enumerate(("train", "valid") if noisy_valid else ("train",)):
            X, clean[key] = splits[key]
            splits[key] = (X, flip_labels(clean[key], label_noise, 10, (seed, 1, part)))
        problem = replace(problem, splits=splits, clean_labels=clean, noise={"label_noise": label_noise})
    return _with_noise_columns(problem, noise_features, seed)


def breast_cancer(
    n_train: int | None = None,
    noise_features: int = 0,
    seed: int = 0,
    *,
    degree: int = 1,
    fractions: Sequence[float] = FRACTIONS,
) -> Problem:
    """Breast cancer Wisconsin: 569 cell samples, malignant (0) or benign (1).

    From UCI (Wolberg et al. 1995, CC BY 4.0). The 30 measurements are strongly correlated; columns are
    standardized with the training rows.

    Parameters
    ----------
    n_train, noise_features, seed : int
        As for :func:`digits`.
    degree : int, default 1
        2 adds the squares of all measurements and the products of all pairs: 495 columns, many of them alike.
    fractions : sequence of float
        Shares of training, validation and test rows.

    Returns
    -------
    Problem
        Classification, 2 classes.
    """
    checks.whole("degree", degree, 1)
    bunch = load_breast_cancer()
    splits = _standardized(_split(bunch.data, bunch.target, fractions, n_train, seed, stratify=True))
    names = tuple(map(str, bunch.feature_names))
    if degree > 1:
        powers = PolynomialFeatures(degree, include_bias=False).fit(splits["train"][0])
        splits = _standardized({key: (powers.transform(X), y) for key, (X, y) in splits.items()})
        names = tuple(
            " · ".join(name for name, power in zip(names, row, strict=True) for _ in range(power))
            for row in powers.powers_
        )
    problem = Problem("breast_cancer", "classification", splits, names, n_classes=2)
    return _with_noise_columns(problem, noise_features, seed)


def diabetes(seed: int = 0) -> Problem:
    """Diabetes (Efron et al. 2004): 442 patients, 10 measurements, disease progression after one year.

    Columns and target are standardized with the training rows, so that no intercept is needed.

    Parameters
    ----------
    seed : int, default 0
        Draws the split.

    Returns
    -------
    Problem
        Regression.
    """
    bunch = load_diabetes(scaled=False)
    splits = _standardized(_split(bunch.data, bunch.target, FRACTIONS, None, seed, stratify=False))
    splits = standardized_targets(splits)
    return Problem("diabetes", "regression", splits, tuple(map(str, bunch.feature_names)))


def _split(
    X: np.ndarray, y: np.ndarray, fractions: Sequence[float], n_train: int | None, seed: int, stratify: bool
) -> dict[str, Split]:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must be three positive shares with sum 1, got {fractions}")
    y = y.astype(np.int64 if stratify else np.float64)

    def cut(rows: np.ndarray, share: float) -> list[np.ndarray]:
        classes = y[rows] if stratify else None
        return train_test_split(rows, test_size=share, random_state=seed, stratify=classes)

    # Validation and test are cut off first: they stay the same whatever n_train is.
    rest, test = cut(np.arange(len(y)), fractions[2])
    train, valid = cut(rest, fractions[1] / (fractions[0] + fractions[1]))
    n_train = len(train) if n_train is None else checks.whole("n_train", n_train, 2)
    if n_train > len(train):
        raise ValueError(f"n_train={n_train} is more than the {len(train)} training rows; change `fractions`")
    # In this order every class is spread evenly, so that any first rows are a stratified sample.
    place = np.empty(len(train))
    rng = np.random.default_rng((seed, 0))
    classes = y[train] if stratify else np.zeros(len(train))
    for c in np.unique(classes):
        rows = np.flatnonzero(classes == c)
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    train = train[np.argsort(place, kind="stable")][:n_train]
    return {key: (X[i].astype(np.float64), y[i]) for key, i in zip(SPLITS, (train, valid, test), strict=True)}


def _standardized(splits: dict[str, Split]) -> dict[str, Split]:
    """Scale with the training rows alone: validation and test must stay unseen."""
    scaler = StandardScaler().fit(splits["train"][0])
    return {key: (scaler.transform(X), y) for key, (X, y) in splits.items()}


def _with_noise_columns(problem: Problem, k: int, seed: int) -> Problem:
    """Append shuffled columns; every real column is copied once before one is copied twice."""
    checks.whole("noise_features", k, 0)
    if k == 0:
        return problem
    p = problem.n_features
    order = np.random.default_rng((seed, 3)).permutation(p)  # the same in every split
    splits = {}
    for part, key in enumerate(SPLITS):
        rng = np.random.default_rng((seed, 2, part))
        X, y = problem.splits[key]
        noise = [rng.permutation(X[:, order[j % p]]) for j in range(k)]
        splits[key] = (np.column_stack([X, *noise]), y)
    names = (*problem.feature_names, *(f"noise {j}" for j in range(k)))
    spoilt = {**problem.noise, "noise_features": k}
    return replace(problem, splits=splits, feature_names=names, support=np.arange(p + k) < p, noise=spoilt)
