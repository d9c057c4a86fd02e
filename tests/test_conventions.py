"""Conversions of λ: each row is fitted with what it names and compared with our own minimizer."""

from __future__ import annotations

import doctest
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier
from torch import nn

from l2lab import conventions
from l2lab.conventions import CONVENTIONS, convert, markdown_table
from l2lab.engine import MLP, sweep
from l2lab.measures import ridge_path

LAM = 0.37
NOISE_VAR = 0.6
L2 = [name for name, row in CONVENTIONS.items() if not row.decoupled]
NEED_N = {"sum_loss", "ridge", "logistic_C", "lambda_over_n", "gaussian_prior"}


def problem(loss, n=24, p=4):
    """Well-conditioned inputs; for regression all centred, so that a bias plays no part."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, p))
    X -= X.mean(axis=0)
    y = X @ np.array([2.0, -1.0, 0.5, 1.5]) + rng.standard_normal(n)
    if loss == "squared":
        return X, y - y.mean()
    labels = (y > 0.4).astype(int)
    labels[:4] = 1 - labels[:4]  # no plane separates the classes, so that λ = 0 has a minimizer
    return X, labels


def minimizer(loss, X, y, lam):
    """Weights that minimize mean loss + (λ/2)‖w‖²; the bias of the logistic regression is free."""
    if loss == "squared":
        return ridge_path(X, y, lam)[0]
    Z = np.column_stack([X, np.ones(len(X))])
    penalty = np.diag([lam] * X.shape[1] + [0.0])
    v = np.zeros(Z.shape[1])
    for _ in range(50):  # Newton
        p = 1 / (1 + np.exp(-Z @ v))
        gradient = Z.T @ (p - y) / len(y) + penalty @ v
        v = v - np.linalg.solve((Z.T * (p * (1 - p))) @ Z / len(y) + penalty, gradient)
    assert np.abs(gradient).max() < 1e-12
    return v[:-1]


def half_mse(f, y, **options):
    return 0.5 * F.mse_loss(f, y, **options)


half_sum = partial(half_mse, reduction="sum")


def descend(
    X, y, loss, penalty, weight_decay, optimizer=torch.optim.SGD, bias=False, lr=0.25, steps=500, batch=None
):
    """Train a linear model in float64, decaying the weights only; returns the weights."""
    X, y = torch.tensor(X), torch.tensor(y, dtype=torch.float64)
    w = torch.zeros(X.shape[1], dtype=torch.float64, requires_grad=True)
    b = torch.zeros((), dtype=torch.float64, requires_grad=bias)
    groups = [{"params": [w], "weight_decay": weight_decay}, {"params": [b], "weight_decay": 0.0}]
    optim = optimizer(groups if bias else groups[:1], lr=lr)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optim, steps)
    for _ in range(steps):
        for rows in torch.arange(len(X)).split(batch or len(X)):
            optim.zero_grad()
            (loss(X[rows] @ w + b, y[rows]) + penalty * (w**2).sum()).backward()
            optim.step()
        if optimizer != torch.optim.SGD:
            cosine.step()
    return w.detach().numpy()


def with_sweep(lam, X, y, batch):
    options = {"dtype": torch.float64, "device": "cpu", "progress": False, "momentum": 0.0}
    result = sweep(MLP((X.shape[1], 1)), {"train": (X, y[:, None])}, [lam], lrs=0.25, steps=500, **options)
    return result.weights().ravel()


def with_nielsens_rule(lmbda, X, y, batch):
    w, eta, n = np.zeros(X.shape[1]), 0.25, len(X)
    for _ in range(500):
        w = (1 - eta * lmbda / n) * w - eta / n * X.T @ (X @ w - y)
    return w


def with_gaussian_process(prior_var, X, y, batch):
    # A prior on w is a linear kernel. The posterior mean at the unit vectors is that of w.
    kernel = ConstantKernel(prior_var, "fixed") * DotProduct(0.0, "fixed")
    process = GaussianProcessRegressor(kernel, alpha=NOISE_VAR, optimizer=None).fit(X, y)
    return process.predict(np.eye(X.shape[1]))


def with_elastic_net(alpha, X, y, batch):
    with warnings.catch_warnings():  # "without L1 there are better solvers"
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        model = ElasticNet(alpha=alpha, l1_ratio=0, fit_intercept=False, tol=1e-13, max_iter=10_000)
        return model.fit(X, y).coef_


def with_sgd(kind, **options):
    def fit(alpha, X, y, batch):
        model = kind(alpha=alpha, max_iter=3000, tol=None, average=True, random_state=0, **options)
        return model.fit(X, y).coef_.ravel()

    return fit


def with_mlp(alpha, X, y, batch):
    options = {"solver": "sgd", "batch_size": batch, "shuffle": False, "random_state": 0, "tol": 0.0}
    options |= {"learning_rate_init": 0.5, "momentum": 0.0, "max_iter": 600, "n_iter_no_change": 9999}
    model = MLPClassifier((), alpha=alpha, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y).coefs_[0].ravel()


def with_logistic(C, X, y, batch):
    model = LogisticRegression(C=C, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    return model.fit(X, y).coef_.ravel()


def with_descent(loss, penalty=0, per=None, **options):
    """Descend with `weight_decay`, or with penalty·‖w‖² in the loss; a sum of losses needs small steps."""

    def fit(v, X, y, batch):
        own = dict(options)
        if per is not None:
            own |= {"lr": 0.25 / (len(X) if per == "n" else batch), "batch": None if per == "n" else batch}
        return descend(X, y, loss, penalty * v if penalty else 0, 0 if penalty else v, **own)

    return fit


# name: (loss, fit(value, X, y, batch) -> weights, relative tolerance)
FITS = {
    "l2lab": ("squared", with_sweep, 1e-8),
    "sgd": ("squared", with_descent(half_mse), 1e-8),
    "adam": ("squared", with_descent(half_mse, optimizer=torch.optim.Adam, lr=0.1, steps=800), 1e-6),
    "sum_loss": ("squared", with_descent(half_sum, per="n"), 1e-8),
    "sum_loss_minibatch": ("squared", with_descent(half_sum, per="batch"), 1e-8),
    "no_half_penalty": ("squared", with_descent(half_mse, 1.0), 1e-8),
    "mse_no_half": ("squared", with_descent(nn.MSELoss(), lr=0.12), 1e-8),
    "d2l_scratch": ("squared", with_descent(half_mse, 0.5), 1e-8),
    "keras_l2": ("cross-entropy", with_descent(nn.BCEWithLogitsLoss(), 1.0, lr=1.0, bias=True), 1e-8),
    "keras_l2_mse": ("squared", with_descent(nn.MSELoss(), 1.0, lr=0.12), 1e-8),
    "ridge": ("squared", lambda a, X, y, _: Ridge(alpha=a, fit_intercept=False).fit(X, y).coef_, 1e-10),
    "logistic_C": ("cross-entropy", with_logistic, 1e-6),
    "sgd_classifier": ("cross-entropy", with_sgd(SGDClassifier, loss="log_loss"), 0.03),
    "sgd_regressor": ("squared", with_sgd(SGDRegressor, fit_intercept=False), 0.03),
    "elastic_net": ("squared", with_elastic_net, 1e-6),
    "mlp_classifier": ("cross-entropy", with_mlp, 1e-6),
    "lambda_over_n": ("squared", with_nielsens_rule, 1e-8),
    "gaussian_prior": ("squared", with_gaussian_process, 1e-8),
}


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("name", L2)
def test_the_converted_setting_has_our_minimizer(name):
    """Where a convention needs n, the same setting on twice the data is half our λ."""
    loss, fit, tolerance = FITS[name]
    X, y = problem(loss)
    value = convert(LAM, "l2lab", name, n=len(X), batch_size=len(X), noise_var=NOISE_VAR)
    # Minibatches stay as large as they were: each holds the first data set once.
    w = fit(value, np.tile(X, (2, 1)), np.tile(y, 2), len(X))
    expected = LAM / 2 if name in NEED_N else LAM
    assert distance(w, minimizer(loss, X, y, expected)) < tolerance
    # What goes wrong most often is far outside: a lost or doubled ½.
    for wrong in (expected / 2, expected * 2):
        assert distance(w, minimizer(loss, X, y, wrong)) > max(3 * tolerance, 0.05)
    lam = convert(value, name, "l2lab", n=2 * len(X), batch_size=len(X), noise_var=NOISE_VAR)
    assert lam == pytest.approx(expected)


def test_no_penalty_is_an_infinite_C():
    X, y = problem("cross-entropy")
    assert convert(0.0, "l2lab", "logistic_C", n=len(X)) == math.inf
    assert convert(math.inf, "logistic_C", "l2lab", n=len(X)) == 0.0
    assert convert(0, "ridge", "gaussian_prior", n=5, noise_var=2.0) == math.inf
    assert distance(with_logistic(math.inf, X, y, None), minimizer("cross-entropy", X, y, 0.0)) < 1e-6


def test_adamw_of_pytorch_follows_the_paper_after_conversion():
    X, y = problem("squared")
    base, steps, decay, (beta1, beta2), eps = 0.05, 40, 0.02, (0.9, 0.999), 1e-8
    multiplier = [0.5 * (1 + math.cos(math.pi * t / steps)) for t in range(steps)]

    # The paper's update: the schedule multiplies step and decay, the learning rate only the step.
    w, m, v = np.full(4, 3.0), 0.0, 0.0
    for t, eta in enumerate(multiplier, start=1):
        g = X.T @ (X @ w - y) / len(X)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        step = base * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        w = w - eta * (step + decay * w)

    theirs = torch.full((4,), 3.0, dtype=torch.float64, requires_grad=True)
    wd = convert(decay, "adamw_paper", "adamw", lr=base)
    assert wd == pytest.approx(0.4)
    optim = torch.optim.AdamW([theirs], lr=base, betas=(beta1, beta2), eps=eps, weight_decay=wd)
    schedule = torch.optim.lr_scheduler.LambdaLR(optim, lambda t: multiplier[min(t, steps - 1)])
    for _ in range(steps):
        optim.zero_grad()
        half_mse(torch.tensor(X) @ theirs, torch.tensor(y)).backward()
        optim.step()
        schedule.step()
    np.testing.assert_allclose(theirs.detach(), w, rtol=1e-9)
    assert convert(wd, "adamw", "adamw_paper", lr=base) == pytest.approx(decay)


names = st.sampled_from(L2)
context = {"n": st.integers(1, 10**9), "batch_size": st.integers(1, 10**5), "noise_var": st.floats(1e-6, 1e6)}
contexts = st.fixed_dictionaries(context)


@settings(deadline=None, max_examples=60)
@given(st.floats(1e-9, 1e9), names, names, names, contexts)
def test_there_and_back_and_by_a_detour(value, a, b, c, context):
    there = convert(value, a, b, **context)
    assert isinstance(there, float)
    assert convert(there, b, a, **context) == pytest.approx(value, rel=1e-13)
    assert convert(there, b, c, **context) == pytest.approx(convert(value, a, c, **context), rel=1e-13)
    together = convert(np.array([[value, 2 * value]]), a, b, **context)
    assert together.shape == (1, 2)
    assert together[0, 0] == there
    opposite = CONVENTIONS[a].decreasing != CONVENTIONS[b].decreasing
    assert (together[0, 0] > together[0, 1]) == opposite


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.1, "rigde", "l2lab"), {"n": 5}, "source='rigde' is not known"),
        ((0.1, "adamw", "sgd"), {"lr": 0.1}, "is decoupled weight decay: .* no λ corresponds to it"),
        ((0.1, "ridge", "adamw_paper"), {"n": 9, "lr": 0.1}, "no λ corresponds to it"),
        ((0.1, "l2lab", "logistic_c"), {"n": 5}, "target='logistic_c' is not known"),
        ((-0.1, "sgd", "l2lab"), {}, "'sgd' must be finite and at least 0"),
        (([0.1, math.nan], "sgd", "l2lab"), {}, "finite and at least 0"),
        ((0.0, "logistic_C", "l2lab"), {"n": 5}, "'logistic_C' must be above 0"),
        ((0.1, "ridge", "l2lab"), {}, "without n="),
        ((0.1, "l2lab", "mlp_classifier"), {"n": 50}, "without batch_size="),
        ((0.1, "ridge", "l2lab"), {"n": 0}, "n must be"),
        ((0.1, "l2lab", "gaussian_prior"), {"n": 5, "noise_var": math.nan}, "noise_var must be"),
    ],
)
def test_bad_input_is_refused_with_a_reason(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        convert(*arguments, **options)


@pytest.mark.parametrize("name", L2)
def test_the_printed_formula_is_the_factor(name):
    """Evaluates the LaTeX of the column "λ of this book" with numbers."""
    text, value = CONVENTIONS[name].formula, 0.45
    products = {r"\cdot": "*", r"2\lambda'": "2*v", r"n\tau^2": "n*v", "nC": "n*v", r"\sigma^2": "s"}
    names = (r"\mathrm{wd}", r"\mathrm{alpha}", r"\mathrm{l2}", r"\lambda'", r"\lambda")
    for latex, python in (products | dict.fromkeys(names, "v")).items():
        text = text.replace(latex, python)
    found = eval(text, {"__builtins__": {}}, {"v": value, "n": 7, "B": 3, "s": 0.3})
    assert convert(value, name, "l2lab", n=7, batch_size=3, noise_var=0.3) == pytest.approx(found)


def test_the_table_says_what_to_write_for_the_same_lambda():
    lines = markdown_table(n=50, lam=0.01).splitlines()[2:]
    numbers = dict(zip(CONVENTIONS, (line.rsplit("|", 2)[1].strip() for line in lines), strict=True))
    wanted = {"ridge": "0.5", "logistic_C": "2", "gaussian_prior": "2", "sum_loss_minibatch": "0.5"}
    assert {name: numbers[name] for name in wanted} == wanted
    assert {numbers[name] for name in ("adamw", "adamw_paper")} == {"none"}
    assert "1/(nC)$ | inf |" in markdown_table(lam=0.0)
    assert "/B$ | 200 |" in markdown_table(5000, 1.0)  # the batch of scikit-learn: min(200, n)


def test_the_examples_of_the_docstring():
    assert doctest.testmod(conventions)[:2] == (0, 2)
