"""The same λ in other words: conversions between the conventions of libraries, books and papers.

Each row of the table is tested by a fit with the library that it names, or with its written formula where the
library is none of our dependencies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from . import checks

__all__ = ["CONVENTIONS", "Convention", "convert", "markdown_table"]

Context = Mapping[str, float]


class Convention(NamedTuple):
    """One way to write the penalty: λ = factor·value, or factor/value where a larger value penalizes less."""

    name: str
    where: str  # who writes it so (Markdown)
    # What is minimized (LaTeX); for decoupled decay, what the decay does in a step. ℓ_i is the loss of a
    # sample as this book writes it, r_i = f(x_i) − y_i.
    objective: str
    formula: str  # λ of this book as a formula of the setting (LaTeX)
    # Gets what the conversion depends on besides the value, by the names of the arguments of `convert`.
    factor: Callable[[Context], float] = lambda context: 1.0
    decreasing: bool = False  # a larger value, up to infinity, is a weaker penalty
    decoupled: bool = False  # AdamW: no objective with an L2 penalty belongs to it


# Shorthand for the table below. Formulas have no "|", which would end a cell of a Markdown table, and no
# backslash before punctuation, which some Markdown readers take for an escape.
_NORM = r"\lVert w\rVert^2"
_BATCH = r"\sum_{i\in\mathrm{batch}} \ell_i"
_MEAN = r"\frac{1}{n}\sum_i \ell_i"
_MSE = r"\frac{1}{n}\sum_i r_i^2"
_HALF_MSE = r"\frac{1}{2n}\sum_i r_i^2"
_WD, _ALPHA, _L2, _PRIME = r"\mathrm{wd}", r"\mathrm{alpha}", r"\mathrm{l2}", r"\lambda'"


def _half(strength: str, below: str = "2") -> str:
    return rf"\frac{{{strength}}}{{{below}}}{_NORM}"


def _per_sample(context: Context) -> float:
    return 1 / context["n"]


def _per_batch(context: Context) -> float:
    return 1 / context["batch_size"]


_ROWS = (
    Convention("l2lab", "this book", _MEAN + " + " + _half(r"\lambda"), r"\lambda"),
    # PyTorch decays all parameters that the optimizer is given, biases too.
    Convention("sgd", "PyTorch `SGD(weight_decay)`, loss averaged", f"{_MEAN} + {_half(_WD)}", _WD),
    # The same minimizer; but Adam rescales the gradient of the penalty together with that of the loss, so a
    # run that is stopped early ends elsewhere.
    Convention("adam", "PyTorch `Adam(weight_decay)`, loss averaged", f"{_MEAN} + {_half(_WD)}", _WD),
    Convention("sum_loss", 'PyTorch, `reduction="sum"`, all n samples in one batch',
               rf"\sum_i \ell_i + {_half(_WD)}", f"{_WD}/n", _per_sample),
    # Here and below, a last minibatch that is smaller than B is penalized more.
    Convention("sum_loss_minibatch", 'PyTorch, `reduction="sum"`, minibatches of B',
               f"{_BATCH} + {_half(_WD)}", f"{_WD}/B", _per_batch),
    Convention("no_half_penalty", "penalty by hand, `loss + lam * (w**2).sum()`, loss averaged",
               rf"{_MEAN} + \lambda'{_NORM}", r"2\lambda'", lambda _: 2.0),
    # Dive into Deep Learning, concise version. MSELoss averages over outputs as well: with k outputs λ is k/2
    # times wd.
    Convention("mse_no_half", "PyTorch `MSELoss()`, one output, with `weight_decay`",
               f"{_MSE} + {_half(_WD)}", f"{_WD}/2", lambda _: 0.5),
    Convention("d2l_scratch", "Dive into Deep Learning, weight decay from scratch",
               f"{_HALF_MSE} + {_half(_PRIME)}", _PRIME),
    Convention("keras_l2", "Keras `regularizers.L2(l2)`, cross-entropy",
               rf"{_MEAN} + {_L2} \cdot {_NORM}", rf"2 \cdot {_L2}", lambda _: 2.0),
    # Loss and penalty both lack the ½, and the two cancel.
    Convention("keras_l2_mse", 'Keras `regularizers.L2(l2)`, `loss="mse"`, one output',
               rf"{_MSE} + {_L2} \cdot {_NORM}", _L2),
    Convention("ridge", "scikit-learn `Ridge(alpha)`",
               rf"\sum_i r_i^2 + {_ALPHA} \cdot {_NORM}", f"{_ALPHA}/n", _per_sample),
    # The default is C = 1, not "no penalty"; that is C = ∞. The solver "liblinear" penalizes the intercept.
    Convention("logistic_C", "scikit-learn `LogisticRegression(C)`",
               rf"C\sum_i \ell_i + {_half('1')}", "1/(nC)", _per_sample, decreasing=True),
    # alpha also sets the step size of the default schedule.
    Convention("sgd_classifier", 'scikit-learn `SGDClassifier(loss="log_loss", alpha)`',
               f"{_MEAN} + {_half(_ALPHA)}", _ALPHA),
    Convention("sgd_regressor", "scikit-learn `SGDRegressor(alpha)`",
               f"{_HALF_MSE} + {_half(_ALPHA)}", _ALPHA),
    # In general the L2 part of the elastic net is λ = alpha·(1 − l1_ratio).
    Convention("elastic_net", "scikit-learn `ElasticNet(alpha, l1_ratio=0)`",
               f"{_HALF_MSE} + {_half(_ALPHA)}", _ALPHA),
    # B is min(200, n) by default, and n with solver="lbfgs".
    Convention("mlp_classifier", "scikit-learn `MLPClassifier(alpha)`, minibatches of B",
               rf"\frac{{1}}{{B}}{_BATCH} + {_half(_ALPHA, '2B')}", f"{_ALPHA}/B", _per_batch),
    Convention("lambda_over_n", "Nielsen, Neural Networks and Deep Learning, `lmbda`",
               f"{_MEAN} + {_half(_PRIME, '2n')}", f"{_PRIME}/n", _per_sample),
    # The value is the variance τ², not τ. The cross-entropy is the negative log-likelihood as it stands, so
    # noise_var=1 there.
    Convention("gaussian_prior", r"Bayes: prior $w \sim N(0, \tau^2 I)$, noise of variance $\sigma^2$",
               r"\frac{1}{2\sigma^2}\sum_i r_i^2 + " + _half("1", r"2\tau^2"), r"\sigma^2/(n\tau^2)",
               lambda context: context["noise_var"] / context["n"], decreasing=True),
    Convention("adamw", "PyTorch `AdamW(weight_decay)`",
               rf"w \leftarrow (1 - \mathrm{{lr}} \cdot {_WD}) \cdot w", "", decoupled=True),
    # η_t is the multiplier of the schedule (1 without one), not the learning rate: λ' = lr·wd.
    Convention("adamw_paper", "AdamW in the paper of Loshchilov and Hutter",
               r"w \leftarrow (1 - \eta_t\lambda') \cdot w", "",
               lambda context: 1 / context["lr"], decoupled=True),
)  # fmt: skip

#: All conventions by name, in the order of the table.
#:
#: :meta hide-value:
CONVENTIONS: dict[str, Convention] = {row.name: row for row in _ROWS}


def convert(
    value: Any,
    source: str,
    target: str,
    *,
    n: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    noise_var: float | None = None,
) -> float | np.ndarray:
    """Convert the strength of an L2 penalty from one convention to another.

    Two settings correspond if they have the same minimizer; the two objectives may differ by a factor.
    Between the conventions of different losses (``"ridge"`` and ``"logistic_C"``, say) the λ of this book is
    what stays the same.

    Parameters
    ----------
    value : float or array_like
        The setting in the convention `source`: at least 0, and finite. Where a larger value is a weaker
        penalty (``"logistic_C"``, ``"gaussian_prior"``) it is above 0 and may be infinite: no penalty.
    source, target : str
        Keys of :data:`CONVENTIONS`.
    n, batch_size : int, optional
        Training samples, and those in a minibatch. These and the next are asked for only where needed.
    lr, noise_var : float, optional
        Learning rate (with a schedule, the value that it multiplies), and the variance σ² of the noise in y
        (1 for the cross-entropy).

    Returns
    -------
    float or ndarray
        The setting in the convention `target`, of the shape of `value`.

    Notes
    -----
    Decoupled weight decay (AdamW) is no L2 penalty: with an adaptive optimizer, no coefficient in the
    objective gives the same steps (Loshchilov and Hutter, ICLR 2019). So the two AdamW conventions convert
    into each other, but not into any λ.

    Examples
    --------
    >>> convert(1.0, "ridge", "l2lab", n=1000)
    0.001
    >>> convert([0.01, 0.0], "l2lab", "logistic_C", n=1000)
    array([0.1, inf])
    """
    old = CONVENTIONS[checks.one_of("source", source, CONVENTIONS)]
    new = CONVENTIONS[checks.one_of("target", target, CONVENTIONS)]
    if old.decoupled != new.decoupled:
        raise ValueError(
            f"{(old if old.decoupled else new).name!r} is decoupled weight decay: it shrinks the weights "
            "beside the gradient step and does not minimize mean loss + (λ/2)‖w‖², so no λ corresponds to "
            "it. Compare the decay per step, lr * weight_decay, or use an optimizer with an L2 penalty"
        )
    given = {"n": n, "batch_size": batch_size, "lr": lr, "noise_var": noise_var}
    context = {key: number for key, number in given.items() if number is not None}
    for key, number in context.items():
        checks.number(key, number, 0, np.inf, open_low=True)
    strength = np.asarray(value, dtype=np.float64)
    allowed = strength > 0 if old.decreasing else np.isfinite(strength) & (strength >= 0)
    if not allowed.all():
        wanted = "above 0 (infinity means no penalty)" if old.decreasing else "finite and at least 0"
        raise ValueError(f"the value of {source!r} must be {wanted}, got {value!r}")
    try:
        factors = old.factor(context), new.factor(context)
    except KeyError as error:
        raise ValueError(f"{source!r} to {target!r} cannot be converted without {error.args[0]}=…") from None
    # No penalty is C = ∞, so a division by 0 is meant.
    with np.errstate(divide="ignore"):
        lam = factors[0] / strength if old.decreasing else factors[0] * strength
        result = factors[1] / lam if new.decreasing else lam / factors[1]
    return float(result) if result.ndim == 0 else result


def markdown_table(n: int = 1000, lam: float = 0.01) -> str:
    """Write all conventions as a Markdown table with formulas between dollar signs.

    Parameters
    ----------
    n, lam : int, float
        Training samples (minibatches have min(200, n), as in scikit-learn's ``MLPClassifier``), and our λ.

    Returns
    -------
    str
        Where, what is minimized, our λ in terms of that setting, and the number to write, with σ² = 1.
    """
    lines = ["| Where | What is minimized | our λ | number |", "|---|---|---|---|"]
    for row in _ROWS:
        formula, number = "none", "none"
        if not row.decoupled:
            formula = f"${row.formula}$"
            number = f"{convert(lam, 'l2lab', row.name, n=n, batch_size=min(200, n), noise_var=1.0):g}"
        lines.append(f"| {row.where} | ${row.objective}$ | {formula} | {number} |")
    return "\n".join(lines) + "\n"
