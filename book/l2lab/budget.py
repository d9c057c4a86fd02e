"""The decay budget: how far weight decay alone shrinks a weight that the data do not support.

A weight without gradient from the data is multiplied by about 1 − lr·λ in every step. After the whole run
e^(−B) of it is left, with the budget B = λ Σ lr_t / (1 − momentum) for SGD and B = λ Σ lr_t for AdamW. In all
functions `lam` is the ``weight_decay`` of the optimizer, `lr` the learning rate of the first step, `momentum`
that of SGD (AdamW pays no attention to it), and what lies outside its range raises a ValueError.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import checks

__all__ = [
    "DecayPlan", "decay_budget", "decay_limits", "decay_plan", "lam_needed", "lam_of_timescale", "lrs_of",
    "remaining_share", "timescale",
]  # fmt: skip

Schedule = Literal["constant", "cosine", "linear"]
Optimizer = Literal["sgd", "adamw"]


def lrs_of(schedule: Schedule, lr: float, steps: int) -> np.ndarray:
    """Learning rate of every step.

    Parameters
    ----------
    schedule : {"constant", "cosine", "linear"}
        ``lr``, ``lr`` · ½ (1 + cos(π t / steps)) or ``lr`` · (1 − t / steps) in step t = 0, 1, …
    lr, steps : float, int
        Learning rate of the first step, and number of steps.

    Returns
    -------
    ndarray of shape (steps,)
        Never zero.
    """
    checks.one_of("schedule", schedule, ("constant", "cosine", "linear"))
    checks.number("lr", lr, 0, math.inf, open_low=True)
    done = np.arange(checks.whole("steps", steps, 1)) / steps
    if schedule == "constant":
        return np.full(steps, float(lr))
    return lr * (0.5 * (1 + np.cos(np.pi * done)) if schedule == "cosine" else 1 - done)


def decay_budget(
    lam: ArrayLike,
    lr: float,
    steps: int,
    momentum: float = 0.9,
    schedule: Schedule = "constant",
    optimizer: Optimizer = "sgd",
) -> float | np.ndarray:
    """Budget B of a run: e^(−B) of an unsupported weight is left at its end.

    Parameters
    ----------
    lam : float or array-like
        λ, at least 0.
    lr, steps, momentum, schedule : float, int, float, str
        The run; the schedule is one of `lrs_of`.
    optimizer : {"sgd", "adamw"}
        With SGD (λ/2)‖w‖² is part of the objective, so momentum collects its gradient and acts like a
        learning rate 1/(1 − momentum) times as large. AdamW shrinks the weights apart from the gradient.

    Returns
    -------
    float or ndarray
        B, of the shape of ``lam``.

    Notes
    -----
    e^(−B) is the limit of small steps. What is really left (`remaining_share`) has the logarithm −B (1 + ε)
    with ε ≈ lr·λ (1 + μ) / (2 (1 − μ)²) − μ / ((1 − μ)·steps) for SGD with momentum μ and constant learning
    rate (μ = 0 for AdamW). Beyond the first of the `decay_limits` the formula does not hold.
    """
    lams = _lams(lam)
    reach = lrs_of(schedule, lr, steps).sum() / (1 - _momentum(momentum, optimizer))
    return float(lams * reach) if lams.ndim == 0 else lams * reach


def remaining_share(
    lam: ArrayLike,
    lr: float,
    steps: int,
    momentum: float = 0.9,
    schedule: Schedule = "constant",
    optimizer: Optimizer = "sgd",
) -> np.ndarray:
    """Follow an unsupported weight step by step, exactly as ``torch.optim`` does.

    Parameters
    ----------
    lam, lr, steps, momentum, schedule, optimizer : float or array-like, float, int, float, str, str
        As for `decay_budget`.

    Returns
    -------
    ndarray of shape (..., steps + 1)
        w_t / w_0 after t = 0, 1, …, steps steps, behind the axes of ``lam``. Negative values mean that the
        weight has swung past zero; beyond the second of the `decay_limits` they grow, at last to NaN.
    """
    lams, mu = _lams(lam), _momentum(momentum, optimizer)
    w, v = np.ones_like(lams), np.zeros_like(lams)
    out = [w]
    with np.errstate(over="ignore", invalid="ignore"):
        for rate in lrs_of(schedule, lr, steps):
            v = mu * v + lams * w
            w = w - rate * v
            out.append(w)
    return np.stack(out, axis=-1)


def lam_needed(
    share: ArrayLike,
    lr: float,
    steps: int,
    momentum: float = 0.9,
    schedule: Schedule = "constant",
    optimizer: Optimizer = "sgd",
) -> float | np.ndarray:
    """Find the λ whose budget leaves a given share of an unsupported weight.

    Parameters
    ----------
    share : float or array-like
        What should be left at the end, in (0, 1]; 1e-3 is the usual "dead".
    lr, steps, momentum, schedule, optimizer : float, int, float, str, str
        As for `decay_budget`.

    Returns
    -------
    float or ndarray
        λ with e^(−B) = ``share``, of its shape; to be trusted below the first of the `decay_limits`.
    """
    left = np.asarray(share, dtype=np.float64)
    if not np.all((left > 0) & (left <= 1)):
        raise ValueError(f"share must lie in (0, 1], got {share!r}.")
    lams = -np.log(left) / decay_budget(1.0, lr, steps, momentum, schedule, optimizer)
    return float(lams) if lams.ndim == 0 else lams


def decay_limits(lr: float, momentum: float = 0.9, optimizer: Optimizer = "sgd") -> tuple[float, float]:
    """Give the λ from which decay alone swings around zero, and the λ from which it diverges.

    Parameters
    ----------
    lr, momentum, optimizer : float, float, str
        As for `decay_budget`, with a constant learning rate.

    Returns
    -------
    swings, diverges : float
        (1 − √μ)² / lr and 2 (1 + μ) / lr with the momentum μ (0 for AdamW; Polyak 1964). Between them the
        weight overshoots zero, and the envelope of its swings shrinks by √μ per step, however large λ is.
    """
    mu = _momentum(momentum, optimizer)
    return (1 - math.sqrt(mu)) ** 2 / lr, 2 * (1 + mu) / lr


def timescale(lam: float, lr: float, momentum: float = 0.9, optimizer: Optimizer = "sgd") -> float:
    """Give the timescale τ of the decay: in so many steps it divides an unsupported weight by e.

    Parameters
    ----------
    lam, lr, momentum, optimizer : float, float, float, str
        As for `decay_budget`, with a constant learning rate. λ = 0 never forgets: τ is infinite.

    Returns
    -------
    float
        (1 − momentum) / (lr·λ) steps for SGD, 1 / (lr·λ) for AdamW, whose weights are a moving average of
        its updates over so many steps (Wang and Aitchison, ICML 2025).
    """
    per_step = decay_budget(float(lam), lr, 1, momentum, "constant", optimizer)
    return 1 / per_step if per_step else math.inf


def lam_of_timescale(
    epochs: float, lr: float, n: int, batch_size: int, momentum: float = 0.9, optimizer: Optimizer = "sgd"
) -> float:
    """Find the λ whose timescale is so many epochs.

    Parameters
    ----------
    epochs : float
        Timescale τ.
    lr, n, batch_size, momentum, optimizer : float, int, int, float, str
        As for `decay_plan`.

    Returns
    -------
    float
        λ = (1 − momentum) / (lr·τ·steps per epoch), with momentum 0 for AdamW.
    """
    tau = checks.number("epochs", epochs, 0, math.inf, open_low=True) * _steps_per_epoch(n, batch_size)
    return timescale(1.0, lr, momentum, optimizer) / tau


class DecayPlan(NamedTuple):
    """What a λ means in a planned run, see `decay_plan`."""

    steps: int  # updates of the whole run
    timescale: float  # τ at the first learning rate, in steps
    timescale_epochs: float
    budget: float  # B
    share_left: float  # what decay alone leaves of a weight, e^(−B)
    box: float  # 1/λ for AdamW: where it comes to rest, no weight is larger; infinite for SGD and λ = 0
    warnings: tuple[str, ...]  # what in the plan will not work, in whole sentences


def decay_plan(
    lam: float,
    lr: float,
    n: int,
    batch_size: int,
    epochs: float,
    momentum: float = 0.9,
    schedule: Schedule = "constant",
    optimizer: Optimizer = "sgd",
    fan_in: int | None = None,
) -> DecayPlan:
    """Translate λ into steps, epochs, budget and box before a run, and say what will not work.

    Parameters
    ----------
    lam, lr : float, float
        As for `decay_budget`.
    n, batch_size, epochs : int, int, float
        Training rows, rows per minibatch, and passes over the rows.
    momentum, schedule, optimizer : float, str, str
        As for `decay_budget`.
    fan_in : int, optional
        Inputs of a layer, to warn where AdamW's box is smaller than the weights with which it starts.

    Returns
    -------
    DecayPlan
        The plan.
    """
    per_epoch = _steps_per_epoch(n, batch_size)
    steps = checks.number("epochs", epochs, 0, math.inf, open_low=True) * per_epoch
    steps = max(1, math.floor(steps + 0.5))
    tau = timescale(lam, lr, momentum, optimizer)
    B = float(decay_budget(float(lam), lr, steps, momentum, schedule, optimizer))
    swings, diverges = decay_limits(lr, momentum, optimizer)
    warnings = []
    if lam >= diverges:
        warnings.append(f"The decay alone diverges: λ must be below {diverges:.3g} at this learning rate.")
    elif lam > swings:
        warnings.append(f"Weights swing around zero: the formulas hold for λ up to {swings:.3g}.")
    if lam and math.exp(-B) > 0.5:
        needed = lam_needed(0.5, lr, steps, momentum, schedule, optimizer)
        warnings.append(
            f"The run is too short for this λ: decay alone leaves {math.exp(-B):.0%} of a weight. "
            f"To halve it takes λ = {needed:.3g}, or {math.log(2) / B:.3g} times the steps."
        )
    if tau < per_epoch:
        warnings.append("The weights forget within one epoch: rows seen early in it hardly count at its end.")
    box = 1 / lam if lam and optimizer == "adamw" else math.inf
    if fan_in is not None and box < (start := checks.whole("fan_in", fan_in, 1) ** -0.5):
        warnings.append(
            f"The box is tight: where AdamW comes to rest, no weight is larger than {box:.3g}, but a layer "
            f"with {fan_in} inputs starts in PyTorch with weights of up to {start:.3g}."
        )
    return DecayPlan(steps, tau, tau / per_epoch, B, math.exp(-B), box, tuple(warnings))


def _steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches per epoch; the last may be smaller."""
    if checks.whole("batch_size", batch_size, 1) > checks.whole("n", n, 1):
        raise ValueError(f"batch_size={batch_size} is larger than the {n} training rows; use at most {n}")
    return math.ceil(n / batch_size)


def _lams(lam: ArrayLike) -> np.ndarray:
    lams = np.asarray(lam, dtype=np.float64)
    if not np.all((lams >= 0) & (lams < np.inf)):
        raise ValueError(f"lam must be finite and at least 0, got {lam!r}.")
    return lams


def _momentum(momentum: float, optimizer: str) -> float:
    """Momentum that acts on the decay."""
    momentum = checks.number("momentum", momentum, 0, 1)
    return momentum if checks.one_of("optimizer", optimizer, ("sgd", "adamw")) == "sgd" else 0.0
