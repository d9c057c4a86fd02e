"""The same λ in other words: conversions between the conventions of libraries, books and papers.

Everybody writes "λ", "alpha" or "weight decay", and hardly two mean the same: with or without the ½, mean or
sum over the samples, as a number that grows or one that falls. This book minimizes

    (1/n)·Σ ℓ_i + (λ/2)·‖w‖²

with ℓ = ½(f − y)² for regression and the cross-entropy for classification. :func:`convert` goes from any
convention to any other, and :func:`markdown_table` shows them side by side. Each row is tested by a fit with
the library that it names, or with its written formula where the library is none of our dependencies (Keras).
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CONVENTIONS", "Convention", "Row", "convert", "markdown_table", "table"]

# What a conversion may depend on besides the value, in words for messages.
CONTEXT = {
    "n": "the number of training samples",
    "batch_size": "the number of samples in a minibatch",
    "lr": "the learning rate (with a schedule: the value that the schedule multiplies)",
    "noise_var": "σ², the variance of the noise in y (1 for the cross-entropy)",
}
WHOLE_NUMBERS = ("n", "batch_size")


@dataclass(frozen=True)
class Convention:
    """One way to write the penalty.

    Every conversion in use is a factor or a reciprocal: λ = factor·value, or λ = factor/value where a larger
    value means a weaker penalty.

    Parameters
    ----------
    name : str
        Key in :data:`CONVENTIONS`.
    where : str
        Who writes it so (Markdown).
    setting : str
        What the number is called there.
    objective : str
        What is minimized (LaTeX, without dollar signs); for decoupled decay, what the decay does in a step.
        ℓ_i is the loss of a sample as this book writes it, r_i = f(x_i) − y_i.
    formula : str
        λ of this book as a formula of the setting (LaTeX); empty for decoupled decay.
    needs : tuple of {"n", "batch_size", "lr", "noise_var"}
        What the conversion depends on besides the value.
    factor : callable, optional
        Takes what `needs` names, by keyword, and returns the factor. Without it the factor is 1.
    decreasing : bool
        True if a larger value is a weaker penalty. Such a value may be infinite (no penalty), but not 0.
    decoupled : bool
        True for AdamW: no objective with an L2 penalty belongs to it.
    loss : {"any", "squared", "cross-entropy"}
        For which loss the row holds.
    note : str
        What else goes wrong here.
    """

    name: str
    where: str
    setting: str
    objective: str
    formula: str
    needs: tuple[str, ...] = ()
    factor: Callable[..., float] | None = field(default=None, repr=False)
    decreasing: bool = False
    decoupled: bool = False
    loss: str = "any"
    note: str = field(default="", repr=False)

    def to_lam(self, value: Any, **context: float | None) -> float | np.ndarray:
        """Return the λ of this book.

        Parameters
        ----------
        value : float or array_like
            The setting in this convention.
        **context : float
            What `needs` names; see :func:`convert`.

        Returns
        -------
        float or ndarray
            λ, of the shape of `value`.

        Raises
        ------
        ValueError
            As :func:`convert`; always if the convention is decoupled.
        """
        return _convert(value, self, CONVENTIONS["l2lab"], context)

    def from_lam(self, lam: Any, **context: float | None) -> float | np.ndarray:
        """Return the setting that means the λ of this book.

        Parameters
        ----------
        lam : float or array_like
            λ, at least 0.
        **context : float
            What `needs` names; see :func:`convert`.

        Returns
        -------
        float or ndarray
            The setting in this convention, of the shape of `lam`.

        Raises
        ------
        ValueError
            As :func:`convert`; always if the convention is decoupled.
        """
        return _convert(lam, CONVENTIONS["l2lab"], self, context)


# Shorthand for the table below. Formulas have no "|", which would end a cell of a Markdown table, and no
# backslash before punctuation, which some Markdown readers take for an escape.
_NORM = r"\lVert w\rVert^2"
_BATCH = r"\sum_{i\in\mathrm{batch}} \ell_i"
_MEAN = r"\frac{1}{n}\sum_i \ell_i"
_MSE = r"\frac{1}{n}\sum_i r_i^2"
_HALF_MSE = r"\frac{1}{2n}\sum_i r_i^2"

_ROWS = (
    Convention(
        name="l2lab",
        where="this book",
        setting="lam",
        objective=rf"{_MEAN} + \frac{{\lambda}}{{2}}{_NORM}",
        formula=r"\lambda",
    ),
    Convention(
        name="sgd",
        where="PyTorch `SGD(weight_decay)`, loss averaged",
        setting="weight_decay",
        objective=rf"{_MEAN} + \frac{{\mathrm{{wd}}}}{{2}}{_NORM}",
        formula=r"\mathrm{wd}",
        note="PyTorch decays all parameters that the optimizer is given, biases too.",
    ),
    Convention(
        name="adam",
        where="PyTorch `Adam(weight_decay)`, loss averaged",
        setting="weight_decay",
        objective=rf"{_MEAN} + \frac{{\mathrm{{wd}}}}{{2}}{_NORM}",
        formula=r"\mathrm{wd}",
        note="The same minimizer as with SGD. The way there differs: Adam rescales the gradient of the "
        "penalty together with that of the loss, so that a run which is stopped early ends elsewhere.",
    ),
    Convention(
        name="sum_loss",
        where='PyTorch, `reduction="sum"`, all n samples in one batch',
        setting="weight_decay",
        objective=rf"\sum_i \ell_i + \frac{{\mathrm{{wd}}}}{{2}}{_NORM}",
        formula=r"\mathrm{wd}/n",
        needs=("n",),
        factor=lambda n: 1 / n,
    ),
    Convention(
        name="sum_loss_minibatch",
        where='PyTorch, `reduction="sum"`, minibatches of B',
        setting="weight_decay",
        objective=rf"{_BATCH} + \frac{{\mathrm{{wd}}}}{{2}}{_NORM}",
        formula=r"\mathrm{wd}/B",
        needs=("batch_size",),
        factor=lambda batch_size: 1 / batch_size,
        note="A last minibatch that is smaller than B is penalized more.",
    ),
    Convention(
        name="no_half_penalty",
        where="penalty by hand, `loss + lam * (w**2).sum()`, loss averaged",
        setting="lam",
        objective=rf"{_MEAN} + \lambda'{_NORM}",
        formula=r"2\lambda'",
        factor=lambda: 2.0,
    ),
    Convention(
        name="mse_no_half",
        where="PyTorch `MSELoss()`, one output, with `weight_decay`",
        setting="weight_decay",
        objective=rf"{_MSE} + \frac{{\mathrm{{wd}}}}{{2}}{_NORM}",
        formula=r"\mathrm{wd}/2",
        factor=lambda: 0.5,
        loss="squared",
        note="Dive into Deep Learning, weight decay, concise version. `MSELoss` averages over outputs as "
        "well: with k outputs λ is k/2 times wd.",
    ),
    Convention(
        name="d2l_scratch",
        where="Dive into Deep Learning, weight decay from scratch",
        setting="lambd",
        objective=rf"{_HALF_MSE} + \frac{{\lambda'}}{{2}}{_NORM}",
        formula=r"\lambda'",
        loss="squared",
        note="The concise version in the same chapter (PyTorch) has no ½ in the loss: the same number is "
        "half the penalty there.",
    ),
    Convention(
        name="keras_l2",
        where="Keras `regularizers.L2(l2)`, cross-entropy",
        setting="l2",
        objective=rf"{_MEAN} + \mathrm{{l2}} \cdot {_NORM}",
        formula=r"2 \cdot \mathrm{l2}",
        factor=lambda: 2.0,
        loss="cross-entropy",
        note="Tested against the documented formula, not against the library.",
    ),
    Convention(
        name="keras_l2_mse",
        where='Keras `regularizers.L2(l2)`, `loss="mse"`, one output',
        setting="l2",
        objective=rf"{_MSE} + \mathrm{{l2}} \cdot {_NORM}",
        formula=r"\mathrm{l2}",
        loss="squared",
        note="Loss and penalty both lack the ½, and the two cancel. Tested against the documented formula, "
        "not against the library.",
    ),
    Convention(
        name="ridge",
        where="scikit-learn `Ridge(alpha)`",
        setting="alpha",
        objective=rf"\sum_i r_i^2 + \mathrm{{alpha}} \cdot {_NORM}",
        formula=r"\mathrm{alpha}/n",
        needs=("n",),
        factor=lambda n: 1 / n,
        loss="squared",
    ),
    Convention(
        name="logistic_C",
        where="scikit-learn `LogisticRegression(C)`",
        setting="C",
        objective=rf"C\sum_i \ell_i + \frac{{1}}{{2}}{_NORM}",
        formula=r"1/(nC)",
        needs=("n",),
        factor=lambda n: 1 / n,
        decreasing=True,
        loss="cross-entropy",
        note='The default is C = 1, not "no penalty"; that is C = ∞. The solver "liblinear" penalizes the '
        "intercept as well.",
    ),
    Convention(
        name="sgd_classifier",
        where='scikit-learn `SGDClassifier(loss="log_loss", alpha)`',
        setting="alpha",
        objective=rf"{_MEAN} + \frac{{\mathrm{{alpha}}}}{{2}}{_NORM}",
        formula=r"\mathrm{alpha}",
        loss="cross-entropy",
        note="alpha also sets the step size of the default schedule.",
    ),
    Convention(
        name="sgd_regressor",
        where="scikit-learn `SGDRegressor(alpha)`",
        setting="alpha",
        objective=rf"{_HALF_MSE} + \frac{{\mathrm{{alpha}}}}{{2}}{_NORM}",
        formula=r"\mathrm{alpha}",
        loss="squared",
    ),
    Convention(
        name="elastic_net",
        where="scikit-learn `ElasticNet(alpha, l1_ratio=0)`",
        setting="alpha",
        objective=rf"{_HALF_MSE} + \frac{{\mathrm{{alpha}}}}{{2}}{_NORM}",
        formula=r"\mathrm{alpha}",
        loss="squared",
        note="In general the L2 part of the elastic net is λ = alpha·(1 − l1_ratio).",
    ),
    Convention(
        name="mlp_classifier",
        where="scikit-learn `MLPClassifier(alpha)`, minibatches of B",
        setting="alpha",
        objective=rf"\frac{{1}}{{B}}{_BATCH} + \frac{{\mathrm{{alpha}}}}{{2B}}{_NORM}",
        formula=r"\mathrm{alpha}/B",
        needs=("batch_size",),
        factor=lambda batch_size: 1 / batch_size,
        loss="cross-entropy",
        note='B is min(200, n) by default, and n with solver="lbfgs". A last minibatch that is smaller '
        "than B is penalized more.",
    ),
    Convention(
        name="lambda_over_n",
        where="Nielsen, Neural Networks and Deep Learning, `lmbda`",
        setting="lmbda",
        objective=rf"{_MEAN} + \frac{{\lambda'}}{{2n}}{_NORM}",
        formula=r"\lambda'/n",
        needs=("n",),
        factor=lambda n: 1 / n,
    ),
    Convention(
        name="gaussian_prior",
        where="Bayes: prior $w \\sim N(0, \\tau^2 I)$, noise of variance $\\sigma^2$",
        setting="τ²",
        objective=rf"\frac{{1}}{{2\sigma^2}}\sum_i r_i^2 + \frac{{1}}{{2\tau^2}}{_NORM}",
        formula=r"\sigma^2/(n\tau^2)",
        needs=("n", "noise_var"),
        factor=lambda n, noise_var: noise_var / n,
        decreasing=True,
        note="The value is the variance τ², not τ. For the cross-entropy, which is the negative "
        "log-likelihood as it stands, noise_var=1.",
    ),
    Convention(
        name="adamw",
        where="PyTorch `AdamW(weight_decay)`",
        setting="weight_decay",
        objective=r"w \leftarrow (1 - \mathrm{lr} \cdot \mathrm{wd}) \cdot w",
        formula="",
        decoupled=True,
    ),
    Convention(
        name="adamw_paper",
        where="AdamW in the paper of Loshchilov and Hutter",
        setting="λ'",
        objective=r"w \leftarrow (1 - \eta_t\lambda') \cdot w",
        formula="",
        needs=("lr",),
        factor=lambda lr: 1 / lr,
        decoupled=True,
        note="η_t is the multiplier of the schedule (1 without one), not the learning rate: λ' = lr·wd.",
    ),
)

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
    n : int, optional
        Number of training samples. This and what follows is asked for only where a convention needs it.
    batch_size : int, optional
        Number of samples in a minibatch.
    lr : float, optional
        Learning rate; with a schedule, the value that the schedule multiplies.
    noise_var : float, optional
        σ², the variance of the noise in y; 1 for the cross-entropy.

    Returns
    -------
    float or ndarray
        The setting in the convention `target`, of the shape of `value`.

    Raises
    ------
    ValueError
        If a name is unknown, the value is not a number in the range of its convention, something that the
        conversion needs is missing or not positive, the result leaves the range of the floating-point
        numbers, or one convention is decoupled weight decay and the other is not.

    Notes
    -----
    Decoupled weight decay (AdamW) is no L2 penalty: with an adaptive optimizer, no coefficient in the
    objective gives the same steps (Loshchilov and Hutter, 2019). What can be compared is the decay per step,
    lr times ``weight_decay``. So the two AdamW conventions convert into each other, but not into any λ.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    Examples
    --------
    >>> convert(1.0, "ridge", "l2lab", n=1000)
    0.001
    >>> convert([0.01, 0.0], "l2lab", "logistic_C", n=1000)
    array([0.1, inf])
    """
    context = {"n": n, "batch_size": batch_size, "lr": lr, "noise_var": noise_var}
    return _convert(value, _named("source", source), _named("target", target), context)


class Row(NamedTuple):
    """One line of :func:`table`.

    Parameters
    ----------
    name : str
        Key in :data:`CONVENTIONS`.
    where : str
        Who writes it so (Markdown).
    objective : str
        What is minimized (LaTeX, without dollar signs).
    formula : str
        λ of this book as a formula of the setting (LaTeX); empty for decoupled decay.
    setting : str
        What the number is called there.
    value : float or None
        The number that means the asked λ; None for decoupled decay.
    """

    name: str
    where: str
    objective: str
    formula: str
    setting: str
    value: float | None


def table(
    n: int = 1000, lam: float = 0.01, *, batch_size: int | None = None, noise_var: float = 1.0
) -> list[Row]:
    """List all conventions with the number that each writes for the same λ.

    Parameters
    ----------
    n : int, default 1000
        Number of training samples.
    lam : float, default 0.01
        λ of this book.
    batch_size : int, optional
        Number of samples in a minibatch; min(200, n) by default, as in scikit-learn's ``MLPClassifier``.
    noise_var : float, default 1.0
        σ² of the Bayesian row.

    Returns
    -------
    list of Row
        In the order of :data:`CONVENTIONS`.

    Raises
    ------
    ValueError
        As :func:`convert`.
    """
    context = {"n": n, "batch_size": _batch_size(n, batch_size), "noise_var": noise_var}
    lam = float(_strength(lam, CONVENTIONS["l2lab"]))
    return [
        Row(
            row.name,
            row.where,
            row.objective,
            row.formula,
            row.setting,
            None if row.decoupled else row.from_lam(lam, **context),
        )
        for row in _ROWS
    ]


def markdown_table(
    n: int = 1000, lam: float = 0.01, *, batch_size: int | None = None, noise_var: float = 1.0
) -> str:
    """Write :func:`table` as a Markdown table with formulas between dollar signs.

    Parameters
    ----------
    n : int, default 1000
        Number of training samples.
    lam : float, default 0.01
        λ of this book.
    batch_size : int, optional
        B, the number of samples in a minibatch; min(200, n) by default.
    noise_var : float, default 1.0
        σ² of the Bayesian row.

    Returns
    -------
    str
        A head and one line per convention; columns: where, what is minimized, λ of this book in
        terms of that setting, and the number to write there for the given λ, `n`, `batch_size` and
        `noise_var`.

    Raises
    ------
    ValueError
        As :func:`convert`.
    """
    rows = table(n, lam, batch_size=batch_size, noise_var=noise_var)
    lines = [
        "| Where | What is minimized | our λ | number |",
        "|---|---|---|---|",
    ]
    for row in rows:
        if row.value is None:
            formula, value = "none", "none"
        else:
            formula, value = f"${row.formula}$", f"{row.value:g}"
        lines.append(f"| {row.where} | ${row.objective}$ | {formula} | {value} |")
    return "\n".join(lines) + "\n"


def _batch_size(n: int, batch_size: int | None) -> int:
    _checked({"n": n})
    return min(200, n) if batch_size is None else batch_size


def _named(role: str, name: Any) -> Convention:
    if isinstance(name, str) and name in CONVENTIONS:
        return CONVENTIONS[name]
    near = difflib.get_close_matches(str(name), CONVENTIONS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(CONVENTIONS)}"
    raise ValueError(f"{role}={name!r} is no known convention; {hint}")


def _convert(
    value: Any, source: Convention, target: Convention, context: dict[str, float | None]
) -> float | np.ndarray:
    if source.decoupled != target.decoupled:
        name = source.name if source.decoupled else target.name
        raise ValueError(
            f"{name!r} is decoupled weight decay: it shrinks the weights beside the gradient step and does "
            "not minimize mean loss + (λ/2)‖w‖², so no λ corresponds to it. Compare the decay per step, lr * "
            "weight_decay, or use an optimizer with an L2 penalty ('sgd', 'adam')"
        )
    context = _checked(context)
    factors = []
    for row in (source, target):
        missing = [key for key in row.needs if key not in context]
        if missing:
            wanted = " and ".join(f"{key}=…, {CONTEXT[key]}" for key in missing)
            raise ValueError(f"{row.name!r} cannot be converted without more: pass {wanted}")
        factors.append(row.factor(**{key: context[key] for key in row.needs}) if row.factor else 1.0)
    strength = _strength(value, source)
    # No penalty is C = ∞, so a division by 0 is meant; what over- or underflows is refused below.
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        lam = factors[0] / strength if source.decreasing else factors[0] * strength
        result = factors[1] / lam if target.decreasing else lam / factors[1]
    no_penalty = np.isinf(strength) if source.decreasing else strength == 0
    if not (no_penalty | (np.isfinite(result) & (result > 0))).all():
        raise ValueError(f"{value!r} is too small or too large to be converted to {target.name!r}")
    return float(result) if result.ndim == 0 else result


def _strength(value: Any, row: Convention) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.size == 0:
        raise ValueError(
            f"{row.setting} of {row.name!r} must be a number or an array of numbers, got {value!r}"
        )
    array = array.astype(np.float64)
    if row.decreasing:
        if not (array > 0).all():  # catches NaN as well
            raise ValueError(
                f"{row.setting} of {row.name!r} must be above 0 (infinity means no penalty), got {value!r}"
            )
    elif not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{row.setting} of {row.name!r} must be finite and at least 0, got {value!r}")
    return array


def _checked(context: dict[str, float | None]) -> dict[str, float]:
    # What was given, without what was not; each a positive number.
    given = {key: value for key, value in context.items() if value is not None}
    for key, value in given.items():
        if key not in CONTEXT:
            raise ValueError(f"{key!r} plays no part in a conversion; known are {', '.join(CONTEXT)}")
        whole = key in WHOLE_NUMBERS
        kind = numbers.Integral if whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < np.inf:
            wanted = "a whole number of at least 1" if whole else "a finite number above 0"
            raise ValueError(f"{key} ({CONTEXT[key]}) must be {wanted}, got {value!r}")
    return given
