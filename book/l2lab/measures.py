"""From weights and data to the numbers that the book talks about.

Values that are not finite, and shapes that do not fit, raise a ValueError.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


def exact_zeros(weights: Any, axis: int | tuple[int, ...] | None = None) -> int | np.ndarray:
    """Count the weights that are exactly 0, without a tolerance.

    Parameters
    ----------
    weights, axis : array_like (a tensor on the CPU, too), int or tuple of int or None
        Weights, and the axes to count over; by default all of them.

    Returns
    -------
    int or ndarray of int
        Number of zeros, −0.0 included.
    """
    count = (_finite("weights", weights) == 0).sum(axis=axis)
    return int(count) if axis is None else count


def weight_histogram(
    weights: Any, edges: Any = None, bins: int = 61
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count weights in bins, one row per λ, with the exact zeros kept apart.

    Parameters
    ----------
    weights : array_like, shape (L, ...) or (n,)
        Weights for each of L values of λ; all further axes are pooled. A one-dimensional array is one row.
    edges : array_like, shape (bins + 1,), optional
        Increasing bin edges; a weight outside is counted in the bin at that end. By default they reach evenly
        from −m to m, where m is the largest magnitude.
    bins : int, default 61
        Number of bins if `edges` is not given. An odd number puts 0 in the middle of a bin.

    Returns
    -------
    edges, counts, zeros : ndarray, shapes (bins + 1,), (L, bins) and (L,)
        Bin edges, the number of weights that are *not* zero in each bin, and of those that are exactly zero.
    """
    w = np.atleast_2d(_finite("weights", weights)).astype(np.float64)
    w = w.reshape(len(w), -1)
    if edges is None:
        reach = np.abs(w).max()
        reach = reach if reach > 1e-300 else 1.0  # denormal numbers cannot be cut into bins
        edges = np.linspace(-reach, reach, bins + 1)
    edges = np.asarray(edges)
    counts = np.stack([np.histogram(np.clip(row[row != 0], edges[0], edges[-1]), edges)[0] for row in w])
    return edges, counts, (w == 0).sum(axis=1)


class SupportScores(NamedTuple):
    """How well a set of selected features matches the true one; each field is a number or an array (...)."""

    precision: Any  # share of the selected features that are true
    recall: Any  # share of the true features that are selected
    f1: Any  # harmonic mean of the two
    n_selected: Any


def support_scores(selected: Any, truth: Any) -> SupportScores:
    """Compare selected features with the true ones.

    Parameters
    ----------
    selected, truth : array_like of bool, shapes (..., p) and (p,)
        True where a feature is selected, for instance ``coefs != 0``, and where it matters.

    Returns
    -------
    SupportScores
        A share of nothing counts as 0, but selecting nothing where nothing is true is a perfect answer.
    """
    selected, truth = _mask(selected), _mask(truth)
    if truth.ndim != 1 or selected.ndim < 1 or selected.shape[-1] != len(truth):
        raise ValueError(f"selected {selected.shape} must end with the length of truth {truth.shape}")
    hits, chosen, true = (selected & truth).sum(-1), selected.sum(-1), truth.sum()
    perfect = (chosen == 0) & (true == 0)
    precision, recall, f1 = (
        np.where(perfect, 1.0, a / np.maximum(b, 1))
        for a, b in ((hits, chosen), (hits, true), (2 * hits, chosen + true))
    )
    if selected.ndim == 1:
        return SupportScores(float(precision), float(recall), float(f1), int(chosen))
    return SupportScores(precision, recall, f1, chosen)


class Stability(NamedTuple):
    """How much selected sets agree, see :func:`stability`."""

    nogueira: float  # agreement beyond chance: 1 for equal sets, 0 on average for sets drawn at random
    jaccard: float  # mean over all pairs of (features in both) / (features in either)


def stability(selected: Any) -> Stability:
    """Measure how much the sets agree that a selector chose on several samples.

    Parameters
    ----------
    selected : array_like of bool, shape (M, p)
        One row per sample (seed, bootstrap, fold), at least 2; True where a feature is selected.

    Returns
    -------
    Stability
        `nogueira` is NaN if nothing or everything is selected in all rows: such a selector makes no choice.
        A pair of empty sets counts 1 in `jaccard`.

    References
    ----------
    S. Nogueira, K. Sechidis and G. Brown, "On the stability of feature selection algorithms", Journal of
    Machine Learning Research 18(174), 2018, definition 4.
    """
    selected = _mask(selected)
    if selected.ndim != 2 or len(selected) < 2 or not selected.shape[1]:
        raise ValueError(f"selected must have shape (M, p) with at least 2 rows, got {selected.shape}")
    share = selected.mean()
    spread = selected.var(axis=0, ddof=1).mean()
    nogueira = 1 - spread / (share * (1 - share)) if 0 < share < 1 else np.nan
    first, second = np.triu_indices(len(selected), k=1)
    both = (selected[first] & selected[second]).sum(axis=1)
    either = (selected[first] | selected[second]).sum(axis=1)
    return Stability(float(nogueira), float(np.where(either, both / np.maximum(either, 1), 1.0).mean()))


def effective_rank(features: Any) -> float:
    """Count the directions in which the features (n, d) vary, with small ones counted in part.

    It is exp(H), where H is the entropy of the shares of variance of the principal components: k if k
    directions vary equally and the others not at all, 0 if nothing varies (after Roy and Vetterli, EUSIPCO
    2007, who take the shares of the singular values and not of their squares).
    """
    values = _finite("features", features).astype(np.float64)
    variances = np.linalg.svd(values - values.mean(axis=0), compute_uv=False) ** 2
    if variances.sum() <= 1e-24 * max(1.0, (values**2).sum()):
        return 0.0
    shares = variances / variances.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


class Calibration(NamedTuple):
    """How well confidence tells accuracy, bin by bin; NaN in empty bins."""

    confidence: np.ndarray  # mean probability of the predicted class
    accuracy: np.ndarray  # share of right predictions
    counts: np.ndarray  # number of predictions
    ece: float  # expected calibration error: mean of abs(accuracy − confidence) over the predictions


def calibration(probabilities: Any, y: Any, bins: int = 10) -> Calibration:
    """Compare the confidence of a classifier with its accuracy, bin by bin (Guo et al., ICML 2017).

    Of n rows `probabilities` are (n, C), the true classes `y` (n,); the result has arrays (bins,).
    """
    p, y = _finite("probabilities", probabilities).astype(np.float64), np.asarray(y)
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("each row of probabilities must be at least 0 and sum to 1; apply softmax to logits")
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(place, confidence, bins) / counts
        accuracy = np.bincount(place, right, bins) / counts
    gaps = np.abs(accuracy - mean_confidence)[counts > 0]
    return Calibration(mean_confidence, accuracy, counts, float(gaps @ counts[counts > 0] / len(y)))


def ridge_path(X: Any, y: Any, lams: Any) -> np.ndarray:
    """Ridge coefficients w = (XᵀX + nλI)⁻¹Xᵀy for all λ, without intercept.

    They minimize ½·mean((Xw − y)²) + ½λ‖w‖², as scikit-learn's ``Ridge(alpha=n * lam, fit_intercept=False)``.

    Parameters
    ----------
    X, y : array_like, shapes (n, p) and (n,)
        Inputs and targets.
    lams : array_like, shape (L,), or float
        Values of λ, at least 0. λ = 0 gives the least-squares solution of smallest norm.

    Returns
    -------
    ndarray, shape (L, p)
        One row of coefficients per λ.
    """
    X, y = _finite("X", X).astype(np.float64), _finite("y", y)
    lams = np.atleast_1d(_finite("λ", lams)).astype(np.float64)
    if lams.ndim != 1 or (lams < 0).any():
        raise ValueError(f"λ must be a number of at least 0 or a 1-D array of such, got {lams}")
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(f"X (n, p) and y (n,) are needed, got {X.shape} and {y.shape}")
    # With X = U diag(s) Vᵀ, w = V diag(s / (s² + nλ)) Uᵀy.
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    # Directions of rounding noise (NumPy's rank rule) count as absent, so that λ = 0 means the solution of
    # smallest norm and not a division by nearly 0.
    present = s > s[0] * max(X.shape) * np.finfo(s.dtype).eps
    power = np.where(present, s**2, 0.0)
    factors = power / np.where(present, power + len(X) * lams[:, None], 1.0)
    return (factors * (U.T @ y / np.where(s > 0, s, 1.0))) @ Vt


def _finite(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise ValueError(f"{name} must be a non-empty array of real numbers")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} must not hold NaN or infinite values; after training they mean that it diverged"
        )
    return array


def _mask(values: Any) -> np.ndarray:
    mask = np.asarray(values)
    if mask.dtype != bool:
        raise ValueError("selected features and the truth are boolean masks; write `coef != 0`")
    return mask
