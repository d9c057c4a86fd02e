"""The real tables that ship with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from .problem import SPLITS, Problem, Split, add_noise_features, at_least, flip_labels


def digits(
    n_train: int | None = None,
    label_noise: float = 0.0,
    noise_features: int = 0,
    seed: int = 0,
    *,
    noisy_valid: bool = False,
    noise_kind: str = "shuffled",
    scale: str = "centred",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
) -> Problem:
    """Handwritten digits: 1797 pictures of 8×8 pixels, 10 classes.

    Parameters
    ----------
    n_train : int, optional
        Keep only so many training rows, all classes in their proportion. Validation and test rows stay the
        same, and a larger training set contains a smaller one.
    label_noise : float, default 0
        Fraction of the training labels that is replaced by another, wrong class.
    noise_features : int, default 0
        Number of columns appended that know nothing of the label, see :func:`add_noise_features`.
    seed : int, default 0
        Draws the split, the wrong labels and the noise columns.
    noisy_valid : bool, default False
        Spoil the validation labels as well. This is the honest setting: who has wrong labels in the training
        set has them in the validation set too. The test labels always stay right.
    noise_kind : {"shuffled", "gaussian"}
        Kind of the noise columns.
    scale : {"centred", "standard"}
        "centred": (pixel − its training mean) / 8, so a pixel of range 0 … 16 spans 2 units. "standard":
        every pixel has variance 1, which blows up the pixels at the rim that are nearly always white.
    fractions : sequence of 3 floats
        Shares of training, validation and test rows.

    Returns
    -------
    Problem
        With `clean_train_labels` and `flipped`; `support` is False for noise columns.

    Raises
    ------
    ValueError
        For fractions that do not sum to 1, counts or noise levels out of range, an unknown kind or scale.
    """
    if scale not in ("centred", "standard"):
        raise ValueError(f"scale must be 'centred' or 'standard', got {scale!r}")
    bunch = load_digits()
    splits = _split(bunch.data, bunch.target, fractions, n_train, seed, stratify=True)
    problem = Problem(
        name="digits",
        task="classification",
        splits=_standardized(splits) if scale == "standard" else _centred(splits, unit=8.0),
        feature_names=tuple(f"pixel {i},{j}" for i in range(8) for j in range(8)),
        n_classes=10,
        source="scikit-learn load_digits (UCI: Alpaydin and Kaynak 1998, CC BY 4.0)",
    )
    problem = _spoil_labels(problem, label_noise, noisy_valid, seed)
    return add_noise_features(problem, noise_features, seed, kind=noise_kind)


def breast_cancer(
    n_train: int | None = None,
    label_noise: float = 0.0,
    noise_features: int = 0,
    seed: int = 0,
    *,
    degree: int = 1,
    noisy_valid: bool = False,
    noise_kind: str = "shuffled",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
) -> Problem:
    """Breast cancer Wisconsin: 569 cell samples, malignant (0) or benign (1).

    The 30 measurements are strongly correlated. Columns are standardized with the training rows.

    Parameters
    ----------
    n_train : int, optional
        Keep only so many training rows, see :func:`digits`.
    label_noise : float, default 0
        Fraction of the training labels that is replaced by the other class.
    noise_features : int, default 0
        Number of columns appended that know nothing of the target.
    seed : int, default 0
        Draws the split, the wrong labels and the noise columns.
    degree : int, default 1
        2 adds the squares of all measurements and the products of all pairs: 495 columns, many of them alike.
    noisy_valid : bool, default False
        Spoil the validation labels as well.
    noise_kind : {"shuffled", "gaussian"}
        Kind of the noise columns, see :func:`add_noise_features`.
    fractions : sequence of 3 floats
        Shares of training, validation and test rows.

    Returns
    -------
    Problem
        Classification, 2 classes.

    Raises
    ------
    ValueError
        As for :func:`digits`, and for a degree below 1.
    """
    at_least(1, degree=degree)
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
    problem = Problem(
        name="breast_cancer",
        task="classification",
        splits=splits,
        feature_names=names,
        n_classes=2,
        source="scikit-learn load_breast_cancer (UCI: Wolberg et al. 1995, CC BY 4.0)",
    )
    problem = _spoil_labels(problem, label_noise, noisy_valid, seed)
    return add_noise_features(problem, noise_features, seed, kind=noise_kind)


def diabetes(
    n_train: int | None = None,
    noise_features: int = 0,
    seed: int = 0,
    *,
    noise_kind: str = "shuffled",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
) -> Problem:
    """Diabetes (Efron et al. 2004): 442 patients, 10 measurements, disease progression after one year.

    Columns and target are standardized with the training rows, so that no intercept is needed; `y_mean` and
    `y_scale` lead back to the original score.

    Parameters
    ----------
    n_train : int, optional
        Keep only so many training rows, see :func:`digits`.
    noise_features : int, default 0
        Number of columns appended that know nothing of the target.
    seed : int, default 0
        Draws the split and the noise columns.
    noise_kind : {"shuffled", "gaussian"}
        Kind of the noise columns, see :func:`add_noise_features`.
    fractions : sequence of 3 floats
        Shares of training, validation and test rows.

    Returns
    -------
    Problem
        Regression.

    Raises
    ------
    ValueError
        As for :func:`digits`.
    """
    bunch = load_diabetes(scaled=False)
    splits = _split(bunch.data, bunch.target, fractions, n_train, seed, stratify=False)
    y_mean, y_scale = float(splits["train"][1].mean()), float(splits["train"][1].std())
    problem = Problem(
        name="diabetes",
        task="regression",
        splits={key: (X, (y - y_mean) / y_scale) for key, (X, y) in _standardized(splits).items()},
        feature_names=tuple(map(str, bunch.feature_names)),
        y_mean=y_mean,
        y_scale=y_scale,
        source="scikit-learn load_diabetes (Efron, Hastie, Johnstone and Tibshirani 2004)",
    )
    return add_noise_features(problem, noise_features, seed, kind=noise_kind)


def _spoil_labels(problem: Problem, fraction: float, noisy_valid: bool, seed: int) -> Problem:
    if fraction == 0:
        return problem
    splits, clean = dict(problem.splits), {}
    for part, key in enumerate(("train", "valid") if noisy_valid else ("train",)):
        X, clean[key] = splits[key]
        splits[key] = (X, flip_labels(clean[key], fraction, problem.n_classes, (seed, 1, part))[0])
    noise = {"label_noise": fraction, "noisy_valid": noisy_valid}
    return replace(problem, splits=splits, clean_labels=clean, noise=noise)


def _split(
    X: np.ndarray,
    y: np.ndarray,
    fractions: Sequence[float],
    n_train: int | None,
    seed: int,
    *,
    stratify: bool,
) -> dict[str, Split]:
    fractions = tuple(float(f) for f in fractions)
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(
            f"fractions must be three positive shares (train, valid, test) with sum 1, got {fractions}"
        )
    y = y.astype(np.int64) if stratify else y.astype(np.float64)

    def cut(rows: np.ndarray, size: float) -> list[np.ndarray]:
        return train_test_split(
            rows, test_size=size, random_state=seed, stratify=y[rows] if stratify else None
        )

    # Validation and test are cut off first: they stay the same whatever n_train is.
    rest, test = cut(np.arange(len(y)), fractions[2])
    train, valid = cut(rest, fractions[1] / (fractions[0] + fractions[1]))
    n_train = len(train) if n_train is None else n_train
    at_least(2, n_train=n_train)
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


# Means and standard deviations come from the training rows alone: validation and test must stay unseen.


def _standardized(splits: dict[str, Split]) -> dict[str, Split]:
    scaler = StandardScaler().fit(splits["train"][0])
    return {key: (scaler.transform(X), y) for key, (X, y) in splits.items()}


def _centred(splits: dict[str, Split], unit: float) -> dict[str, Split]:
    mean = splits["train"][0].mean(axis=0)
    return {key: ((X - mean) / unit, y) for key, (X, y) in splits.items()}
