"""Problems whose truth is known, because we wrote it; arguments out of range raise a ValueError."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.integrate import trapezoid

from .. import checks
from .problem import SPLITS, Problem, standardized_targets

NG_STRENGTH = 10.0  # length of θ in the experiment of Ng
XOR_FLIPS = 0.05  # probability that a label of `xor` is the wrong one


def sparse_regression(
    n: int = 200,
    p: int = 100,
    n_true: int = 10,
    rho: float = 0.0,
    snr: float = 2.0,
    seed: int = 0,
    *,
    coefs: str = "unit",
    n_test: int = 2000,
    truth_seed: int | None = None,
) -> Problem:
    """Linear regression y = Xw + ε in which only `n_true` of `p` inputs matter.

    The columns of X are normal with mean 0 and variance 1 and no intercept is needed. ``n_true=p`` gives the
    dense truth, in which every input matters. There are n // 3 validation rows.

    Parameters
    ----------
    n, p, n_true : int, default 200, 100 and 10
        Numbers of training rows, of inputs, and of those with a non-zero coefficient, at random places.
    rho : float, default 0
        The correlation of the inputs i and j is rho^|i−j|; −1 < rho < 1.
    snr : float, default 2
        Signal-to-noise ratio wᵀΣw / σ², with Σ the covariance of an input row. Without signal σ = 1.
    seed : int, default 0
        Draws inputs, coefficients and noise.
    coefs : {"unit", "uniform", "normal"}
        Non-zero coefficients: ±1; a random sign times U(0.3, 1.5); or N(0, 1).
    n_test : int, default 2000
        Number of test rows.
    truth_seed : int, optional
        Draws the coefficients apart from the rows, so that samples with different `seed` share one truth.

    Returns
    -------
    Problem
        Regression, with `support`, `coef` and ``noise["sigma"]``, the standard deviation of ε.
    """
    if not 0 <= n_true <= p:
        raise ValueError(f"n_true={n_true} inputs cannot matter if there are p={p}")
    checks.number("rho", rho, -1, 1, open_low=True)
    checks.number("snr", snr, 0, np.inf, open_low=True)
    covariance = float(rho) ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    rng = np.random.default_rng(seed)
    truth = rng if truth_seed is None else np.random.default_rng((truth_seed, 0))
    support = np.zeros(p, bool)
    support[truth.permutation(p)[:n_true]] = True
    signs = truth.choice([-1.0, 1.0], n_true)
    if checks.one_of("coefs", coefs, ("unit", "uniform", "normal")) == "unit":
        values = signs
    elif coefs == "uniform":
        values = signs * truth.uniform(0.3, 1.5, n_true)
    else:
        values = truth.standard_normal(n_true)
    coef = np.zeros(p)
    coef[support] = values
    sigma = float(np.sqrt(coef @ covariance @ coef / snr)) or 1.0
    root = np.linalg.cholesky(covariance)
    splits = {}
    for key, rows in _sizes(n, n // 3, n_test):
        X = rng.standard_normal((rows, p)) @ root.T
        splits[key] = (X, X @ coef + sigma * rng.standard_normal(rows))
    noise = {"sigma": sigma, "snr": snr}
    return Problem("sparse_regression", "regression", splits, _names(p), None, support, coef, noise=noise)


def ng_classification(
    n_samples: int = 100, n_irrelevant: int = 0, seed: int = 0, *, n_test: int = 2000
) -> Problem:
    """One relevant input among many irrelevant ones: the experiment of Ng (ICML 2004).

    The inputs are independent standard normal and P(y = 1 | x) = 1 / (1 + exp(−10·x₁)). As in the paper, 30 %
    of the samples are held out for choosing λ.

    Parameters
    ----------
    n_samples : int, default 100
        Rows that the learner has, training and validation together (Ng's m), at least 2.
    n_irrelevant : int, default 0
        Number of irrelevant inputs. With the same seed, more of them leave the other columns and the labels
        as they are, so that runs can be compared pairwise.
    seed, n_test : int, default 0 and 2000
        Draws inputs and labels; number of test rows.

    Returns
    -------
    Problem
        Two classes, with `support`, `coef` and ``noise["bayes_error"]``: the error rate of the true θ.
    """
    splits = {}
    n_valid = min(round(0.3 * n_samples), n_samples - 1)
    for i, (key, rows) in enumerate(_sizes(n_samples - max(n_valid, 1), n_valid, n_test)):
        truth, junk = np.random.default_rng((seed, 0, i)), np.random.default_rng((seed, 1, i))
        relevant = truth.standard_normal(rows)
        y = truth.random(rows) < 1 / (1 + np.exp(-NG_STRENGTH * relevant))
        irrelevant = junk.standard_normal((n_irrelevant, rows)).T
        splits[key] = (np.column_stack([relevant, irrelevant]), y.astype(np.int64))
    support = np.arange(1 + n_irrelevant) < 1
    # 10·x₁ is normal with standard deviation 10; the best guess errs with probability 1/(1 + exp|10·x₁|).
    z = np.linspace(0, 12, 20001)
    density = np.exp(-(z**2) / 2) * np.sqrt(2 / np.pi)
    bayes_error = float(trapezoid(density / (1 + np.exp(NG_STRENGTH * z)), z))
    coef, noise = np.where(support, NG_STRENGTH, 0.0), {"bayes_error": bayes_error}
    names = _names(1 + n_irrelevant)
    return Problem("ng_classification", "classification", splits, names, 2, support, coef, noise=noise)


def xor(n: int = 480, p: int = 50, seed: int = 0, *, n_test: int = 2000) -> Problem:
    """Two classes that only the product of the first two inputs can tell apart.

    The inputs are independent standard normal and y = 1 where x₁x₂ > 0. Alone, neither of the two knows
    anything of y: whatever looks at one input at a time, or at a linear function of them, must fail. One
    label in twenty is wrong in all splits, so no rule can be right more often than 95 %.

    Parameters
    ----------
    n, p : int, default 480 and 50
        Numbers of training rows, with n // 4 validation rows, and of inputs, of which 2 matter.
    seed, n_test : int, default 0 and 2000
        Draws inputs and wrong labels; number of test rows.

    Returns
    -------
    Problem
        Two classes, with `support`.
    """
    checks.whole("p", p, 2)
    rng = np.random.default_rng(seed)
    splits = {}
    for key, rows in _sizes(n, n // 4, n_test):
        X = rng.standard_normal((rows, p))
        splits[key] = (X, ((X[:, 0] * X[:, 1] > 0) ^ (rng.random(rows) < XOR_FLIPS)).astype(np.int64))
    return Problem("xor", "classification", splits, _names(p), 2, support=np.arange(p) < 2)


def friedman(n: int = 400, p: int = 100, seed: int = 0, *, n_test: int = 2000) -> Problem:
    """Friedman's curved function (Annals of Statistics 19, 1991) of five inputs among `p`.

    With u uniform on [0, 1]ᵖ, y = 10 sin(πu₁u₂) + 20(u₃ − ½)² + 10u₄ + 5u₅ + ε, where ε has standard
    deviation 1 and the rest 4.9. The columns of X are the u, shifted and scaled to mean 0 and variance 1; y
    is standardized with the training rows.

    Parameters
    ----------
    n, p : int, default 400 and 100
        Numbers of training rows, with n // 4 validation rows, and of inputs, of which 5 matter.
    seed, n_test : int, default 0 and 2000
        Draws inputs and noise; number of test rows.

    Returns
    -------
    Problem
        Regression, with `support`.
    """
    checks.whole("p", p, 5)
    rng = np.random.default_rng(seed)
    splits = {}
    for key, rows in _sizes(n, n // 4, n_test):
        u = rng.random((rows, p))
        signal = 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2
        signal = signal + 10 * u[:, 3] + 5 * u[:, 4]
        splits[key] = ((u - 0.5) * np.sqrt(12), signal + rng.standard_normal(rows))
    splits = standardized_targets(splits)
    return Problem("friedman", "regression", splits, _names(p), support=np.arange(p) < 5)


def legendre(n: int = 20, degree: int = 15, noise: float = 0.2, seed: int = 0) -> Problem:
    """Draw the classical picture of overfitting: noisy points on sin 3x, fitted by polynomials.

    x is uniform on (−1, 1), y = sin 3x + `noise` · ε, and the columns of `X` are the Legendre polynomials
    P₀ … P_degree at x, among them the constant P₀ and P₁(x) = x itself. The variance of P_k under uniform x
    is 1/(2k+1), so a penalty charges high degrees more.

    Parameters
    ----------
    n, degree, noise : int, int and float, default 20, 15 and 0.2
        Number of training points, and of (noisy) validation points; highest degree; noise in y.
    seed : int, default 0
        Draws points and noise. The same seed with another `degree` gives the same points.

    Returns
    -------
    Problem
        Regression. The test rows are an even grid of 400 points from −1 to 1 with the noise-free sin 3x as
        target, so the test error is the distance to the truth.
    """
    checks.number("noise", noise, 0, np.inf)
    rng = np.random.default_rng(seed)
    splits = {}
    for key in ("train", "valid"):
        x = rng.uniform(-1, 1, n)
        splits[key] = (legvander(x, degree), np.sin(3 * x) + noise * rng.standard_normal(n))
    x = np.linspace(-1, 1, 400)
    splits["test"] = (legvander(x, degree), np.sin(3 * x))
    names = tuple(f"P{k}" for k in range(degree + 1))
    return Problem("legendre", "regression", splits, names, noise={"sigma": noise})


def _sizes(n_train: int, n_valid: int, n_test: int) -> list[tuple[str, int]]:
    return list(zip(SPLITS, (n_train, max(1, n_valid), n_test), strict=True))


def _names(p: int) -> tuple[str, ...]:
    return tuple(f"x{j + 1}" for j in range(p))
