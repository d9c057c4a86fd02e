"""Problems whose truth is known, because we wrote it."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.integrate import trapezoid

from .problem import SPLITS, Problem, at_least


def sparse_regression(
    n: int = 200,
    p: int = 100,
    n_true: int = 10,
    rho: float = 0.0,
    snr: float = 2.0,
    seed: int = 0,
    *,
    kind: str | None = None,
    coefs: str = "unit",
    n_valid: int | None = None,
    n_test: int = 2000,
    truth_seed: int | None = None,
) -> Problem:
    """Linear regression y = Xw + ε in which only `n_true` of `p` inputs matter.

    The columns of X are normal with mean 0 and variance 1 and no intercept is needed. ``n_true=p`` gives the
    dense truth, in which every input matters.

    Parameters
    ----------
    n : int, default 200
        Number of training rows.
    p : int, default 100
        Number of inputs.
    n_true : int, default 10
        Number of inputs with a non-zero coefficient, 0 … p, at random places.
    rho : float, default 0
        Correlation of the inputs, −1 < rho < 1.
    snr : float, default 2
        Signal-to-noise ratio wᵀΣw / σ², with Σ the covariance of an input row.
    seed : int, default 0
        Draws inputs, coefficients and noise.
    kind : {"iid", "ar", "equi"}, optional
        Correlation of inputs i and j: none, rho^|i−j| (autoregressive), or rho for every pair (needs rho ≥
        0). By default "iid" if ``rho == 0`` and else "ar".
    coefs : {"unit", "uniform", "normal"}
        Non-zero coefficients: ±1; a random sign times U(0.3, 1.5); or N(0, 1).
    n_valid : int, optional
        Number of validation rows; by default n // 3, i.e. a quarter of what the learner has.
    n_test : int, default 2000
        Number of test rows.
    truth_seed : int, optional
        Draws the coefficients apart from the rows, so that samples with different `seed` share one truth:
        needed where selected sets are compared between samples. By default `seed` draws both.

    Returns
    -------
    Problem
        Regression, with `support`, `coef` and ``noise["sigma"]``, the standard deviation of ε.

    Raises
    ------
    ValueError
        For counts, `rho`, `snr`, `kind` or `coefs` out of range.

    Notes
    -----
    With ``n_true=0`` there is no signal and σ = 1.
    """
    at_least(1, n=n)
    n_valid = max(1, n // 3) if n_valid is None else n_valid
    at_least(1, p=p, n_valid=n_valid, n_test=n_test)
    at_least(0, n_true=n_true)
    if n_true > p:
        raise ValueError(f"n_true={n_true} inputs cannot matter if there are only p={p}")
    if not snr > 0:
        raise ValueError(f"the signal-to-noise ratio snr must be positive, got {snr!r}")
    kind = kind or ("ar" if rho else "iid")
    covariance = _covariance(p, rho, kind)
    rng = np.random.default_rng(seed)
    truth = rng if truth_seed is None else np.random.default_rng((truth_seed, 0))
    support = np.zeros(p, bool)
    support[truth.permutation(p)[:n_true]] = True
    signs = truth.choice([-1.0, 1.0], n_true)
    if coefs == "unit":
        values = signs
    elif coefs == "uniform":
        values = signs * truth.uniform(0.3, 1.5, n_true)
    elif coefs == "normal":
        values = truth.standard_normal(n_true)
    else:
        raise ValueError(f"coefs must be 'unit', 'uniform' or 'normal', got {coefs!r}")
    coef = np.zeros(p)
    coef[support] = values
    sigma = float(np.sqrt(coef @ covariance @ coef / snr)) or 1.0
    root = np.linalg.cholesky(covariance)
    splits = {}
    for key, rows in zip(SPLITS, (n, n_valid, n_test), strict=True):
        X = rng.standard_normal((rows, p)) @ root.T
        splits[key] = (X, X @ coef + sigma * rng.standard_normal(rows))
    return Problem(
        "sparse_regression",
        "regression",
        splits,
        _names(p),
        support=support,
        coef=coef,
        noise={"sigma": sigma, "snr": snr, "rho": rho, "kind": kind},
        source="made by l2lab.data.sparse_regression",
    )


def ng_classification(
    n_samples: int = 100,
    n_irrelevant: int = 0,
    seed: int = 0,
    *,
    n_relevant: int = 1,
    strength: float = 10.0,
    valid_fraction: float = 0.3,
    n_test: int = 2000,
) -> Problem:
    """One relevant input among many irrelevant ones: the experiment of Ng (2004).

    The inputs are independent standard normal; P(y = 1 | x) = 1 / (1 + exp(−θᵀx)) where θ is `strength` /
    √`n_relevant` for the relevant inputs (the first columns) and 0 for all others. With one relevant input
    this is θ₁ = 10.

    Parameters
    ----------
    n_samples : int, default 100
        Rows that the learner has, training and validation together (Ng's m).
    n_irrelevant : int, default 0
        Number of irrelevant inputs. With the same seed, more of them leave the other columns and the labels
        as they are, so that runs can be compared pairwise.
    seed : int, default 0
        Draws inputs and labels.
    n_relevant : int, default 1
        Number of relevant inputs.
    strength : float, default 10
        Length of θ.
    valid_fraction : float, default 0.3
        Share of `n_samples` that is held out for choosing λ, as the paper does.
    n_test : int, default 2000
        Number of test rows.

    Returns
    -------
    Problem
        Two classes, with `support`, `coef` and ``noise["bayes_error"]``: the error rate of the true θ.

    Raises
    ------
    ValueError
        For counts, strength or fraction out of range.

    References
    ----------
    A. Y. Ng, "Feature selection, L1 vs. L2 regularization, and rotational invariance", ICML 2004.
    """
    at_least(2, n_samples=n_samples)
    at_least(1, n_relevant=n_relevant, n_test=n_test)
    at_least(0, n_irrelevant=n_irrelevant)
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength!r}")
    if not 0 < valid_fraction < 1:
        raise ValueError(f"valid_fraction must lie between 0 and 1, got {valid_fraction!r}")
    n_valid = min(max(round(valid_fraction * n_samples), 1), n_samples - 1)
    theta = strength / np.sqrt(n_relevant)
    splits = {}
    for i, (key, rows) in enumerate(zip(SPLITS, (n_samples - n_valid, n_valid, n_test), strict=True)):
        truth, junk = np.random.default_rng((seed, 0, i)), np.random.default_rng((seed, 1, i))
        relevant = truth.standard_normal((rows, n_relevant))
        y = truth.random(rows) < 1 / (1 + np.exp(-theta * relevant.sum(axis=1)))
        irrelevant = junk.standard_normal((n_irrelevant, rows)).T
        splits[key] = (np.concatenate([relevant, irrelevant], axis=1), y.astype(np.int64))
    p = n_relevant + n_irrelevant
    support = np.arange(p) < n_relevant
    return Problem(
        "ng_classification",
        "classification",
        splits,
        _names(p),
        2,
        support=support,
        coef=np.where(support, theta, 0.0),
        noise={"bayes_error": _bayes_error(strength)},
        source="made by l2lab.data.ng_classification after Ng (2004)",
    )


def xor(
    n: int = 480,
    p: int = 50,
    seed: int = 0,
    *,
    flips: float = 0.05,
    n_valid: int | None = None,
    n_test: int = 2000,
) -> Problem:
    """Two classes that only the product of the first two inputs can tell apart.

    The inputs are independent standard normal and y = 1 where x₁x₂ > 0. Alone, neither of the two knows
    anything of y: whatever looks at one input at a time, or at a linear function of them, must fail.

    Parameters
    ----------
    n : int, default 480
        Number of training rows.
    p : int, default 50
        Number of inputs, of which 2 matter.
    seed : int, default 0
        Draws inputs and flips.
    flips : float, default 0.05
        Probability that a label is the wrong one, in all splits: no rule can be right more often than 1 −
        `flips`.
    n_valid : int, optional
        Number of validation rows; by default n // 4.
    n_test : int, default 2000
        Number of test rows.

    Returns
    -------
    Problem
        Two classes, with `support` and ``noise["flips"]``.

    Raises
    ------
    ValueError
        For counts or `flips` out of range.
    """
    at_least(1, n=n)
    n_valid = max(1, n // 4) if n_valid is None else n_valid
    at_least(1, n_valid=n_valid, n_test=n_test)
    at_least(2, p=p)
    if not 0 <= flips < 0.5:
        raise ValueError(f"flips must be a probability below 0.5, got {flips!r}")
    rng = np.random.default_rng(seed)
    splits = {}
    for key, rows in zip(SPLITS, (n, n_valid, n_test), strict=True):
        X = rng.standard_normal((rows, p))
        splits[key] = (X, ((X[:, 0] * X[:, 1] > 0) ^ (rng.random(rows) < flips)).astype(np.int64))
    return Problem(
        "xor",
        "classification",
        splits,
        _names(p),
        2,
        support=np.arange(p) < 2,
        noise={"flips": flips},
        source="made by l2lab.data.xor",
    )


def friedman(
    n: int = 400,
    p: int = 100,
    seed: int = 0,
    *,
    sigma: float = 1.0,
    n_valid: int | None = None,
    n_test: int = 2000,
) -> Problem:
    """Friedman's curved function of five inputs among `p`.

    With u uniform on [0, 1]ᵖ, y = 10 sin(πu₁u₂) + 20(u₃ − ½)² + 10u₄ + 5u₅ + ε. The columns of X are the u,
    shifted and scaled to mean 0 and variance 1; y is standardized with the training rows.

    Parameters
    ----------
    n : int, default 400
        Number of training rows, at least 2.
    p : int, default 100
        Number of inputs, of which 5 matter.
    seed : int, default 0
        Draws inputs and noise.
    sigma : float, default 1
        Standard deviation of ε, in the unit of y before it is standardized. The signal has 4.9.
    n_valid : int, optional
        Number of validation rows; by default n // 4.
    n_test : int, default 2000
        Number of test rows.

    Returns
    -------
    Problem
        Regression, with `support` and ``noise["sigma"]``; `y_mean` and `y_scale` lead back to y.

    Raises
    ------
    ValueError
        For counts or `sigma` out of range.

    References
    ----------
    J. H. Friedman, "Multivariate adaptive regression splines", Annals of Statistics 19, 1991.
    """
    at_least(2, n=n)
    n_valid = max(1, n // 4) if n_valid is None else n_valid
    at_least(1, n_valid=n_valid, n_test=n_test)
    at_least(5, p=p)
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be a finite number of at least 0, got {sigma!r}")
    rng = np.random.default_rng(seed)
    splits = {}
    for key, rows in zip(SPLITS, (n, n_valid, n_test), strict=True):
        u = rng.random((rows, p))
        signal = (
            10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2 + 10 * u[:, 3] + 5 * u[:, 4]
        )
        splits[key] = ((u - 0.5) * np.sqrt(12), signal + sigma * rng.standard_normal(rows))
    y_mean, y_scale = float(splits["train"][1].mean()), float(splits["train"][1].std())
    return Problem(
        "friedman",
        "regression",
        {key: (X, (y - y_mean) / y_scale) for key, (X, y) in splits.items()},
        _names(p),
        support=np.arange(p) < 5,
        noise={"sigma": sigma},
        y_mean=y_mean,
        y_scale=y_scale,
        source="made by l2lab.data.friedman after Friedman (1991)",
    )


def legendre(
    n: int = 20,
    degree: int = 15,
    noise: float = 0.2,
    seed: int = 0,
    *,
    orthonormal: bool = False,
    n_valid: int | None = None,
    n_test: int = 400,
) -> Problem:
    """Draw the classical picture of overfitting: noisy points on sin 3x, fitted by polynomials.

    x is uniform on (−1, 1), y = sin 3x + `noise` · ε, and the columns of `X` are the Legendre polynomials
    P₀ … P_degree at x. Column 1 is P₁(x) = x itself (√3·x if `orthonormal`).

    Parameters
    ----------
    n : int, default 20
        Number of training points.
    degree : int, default 15
        Highest degree; `X` has ``degree + 1`` columns, the constant P₀ among them.
    noise : float, default 0.2
        Standard deviation of the noise in y.
    seed : int, default 0
        Draws points and noise. The same seed with another `degree` gives the same points.
    orthonormal : bool, default False
        False: the standard polynomials, P_k(1) = 1, whose variance under uniform x is 1/(2k+1), so a penalty
        charges high degrees more. True: √(2k+1)·P_k, variance 1 for every degree.
    n_valid : int, optional
        Number of (noisy) validation points, by default `n`.
    n_test : int, default 400
        Number of test points: an even grid from −1 to 1 with the noise-free sin 3x as target, so the test
        error is the distance to the truth and its picture a smooth curve.

    Returns
    -------
    Problem
        Regression.

    Raises
    ------
    ValueError
        For counts or noise out of range.
    """
    n_valid = n if n_valid is None else n_valid
    at_least(1, n=n, n_valid=n_valid)
    at_least(2, n_test=n_test)
    at_least(0, degree=degree)
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise is a standard deviation and must not be negative, got {noise!r}")
    rng = np.random.default_rng(seed)
    splits = {}
    for key, rows in (("train", n), ("valid", n_valid)):
        x = rng.uniform(-1, 1, rows)
        y = legendre_truth(x) + noise * rng.standard_normal(rows)
        splits[key] = (legendre_features(x, degree, orthonormal=orthonormal), y)
    x = np.linspace(-1, 1, n_test)
    splits["test"] = (legendre_features(x, degree, orthonormal=orthonormal), legendre_truth(x))
    return Problem(
        "legendre",
        "regression",
        splits,
        tuple(f"P{k}" for k in range(degree + 1)),
        noise={"sigma": noise},
        source="made by l2lab.data.legendre",
    )


def legendre_features(x: np.ndarray, degree: int, *, orthonormal: bool = False) -> np.ndarray:
    """Evaluate the Legendre polynomials P₀ … P_degree, for instance on a grid for drawing.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Points in [−1, 1].
    degree : int
        Highest degree.
    orthonormal : bool, default False
        Scale P_k by √(2k+1), so that its variance under uniform x is 1.

    Returns
    -------
    ndarray of shape (n, degree + 1)
        The design matrix of :func:`legendre`.

    Raises
    ------
    ValueError
        If `degree` is negative, or a point lies outside [−1, 1], where the polynomials explode.
    """
    at_least(0, degree=degree)
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or not (np.abs(x) <= 1).all():
        raise ValueError("x must be a 1-D array of points between -1 and 1; rescale it first")
    return legvander(x, degree) * (np.sqrt(2 * np.arange(degree + 1) + 1) if orthonormal else 1.0)


def legendre_truth(x: np.ndarray) -> np.ndarray:
    """Return the function behind :func:`legendre`, sin 3x.

    Parameters
    ----------
    x : ndarray
        Points, any shape.

    Returns
    -------
    ndarray
        Its values, same shape.
    """
    return np.sin(3 * np.asarray(x, dtype=np.float64))


def _covariance(p: int, rho: float, kind: str) -> np.ndarray:
    if not -1 < rho < 1:
        raise ValueError(f"the correlation rho must lie strictly between -1 and 1, got {rho!r}")
    if kind == "iid":
        if rho:
            raise ValueError(f"independent inputs have no correlation: leave out rho={rho} or use kind='ar'")
        return np.eye(p)
    if kind == "ar":
        return rho ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    if kind == "equi":
        if rho < 0:
            raise ValueError(
                f"more than two inputs cannot all be correlated negatively: use rho >= 0, not {rho}"
            )
        return np.full((p, p), rho) + (1 - rho) * np.eye(p)
    raise ValueError(f"kind must be 'iid', 'ar' or 'equi', got {kind!r}")


def _bayes_error(strength: float) -> float:
    # θᵀx is normal with standard deviation `strength`; the best guess errs with probability 1/(1+exp|θᵀx|).
    z = np.linspace(0, 12, 20001)
    density = np.exp(-(z**2) / 2) * np.sqrt(2 / np.pi)
    return float(trapezoid(density / (1 + np.exp(strength * z)), z))


def _names(p: int) -> tuple[str, ...]:
    return tuple(f"x{j + 1}" for j in range(p))
