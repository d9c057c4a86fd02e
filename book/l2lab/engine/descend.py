"""The one place where parameters of a study or sweep are updated.

K copies of a network are a dictionary of tensors (K, ...), its *leaves*. A loss gives one number per copy;
since copies share nothing, the gradient of their sum is the gradient of each. Every update is the one that
``torch.optim`` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..budget import lrs_of

__all__ = ["OPTIMIZERS", "Descent", "minibatches", "on_weights", "ramp", "schedule"]

OPTIMIZERS = ("sgd", "adam", "adamw")
# Of Adam and AdamW, as in torch.optim.
BETAS, EPS = (0.9, 0.999), 1e-8

Leaves = dict[str, Tensor]
Loss = Callable[[Leaves, int], Tensor]
Gradient = Callable[[Leaves, int, Leaves, float], None]
Share = Callable[[int], float]


def _always(t: int) -> float:
    """The factor of a constant learning rate or a constant λ."""
    return 1.0


def schedule(
    kind: str, steps: int, *, warm_up: float = 0.0, cool_down: float = 0.0
) -> Callable[[int], float]:
    """Make the factor on the learning rate.

    Parameters
    ----------
    kind, steps : str, int
        As in :func:`l2lab.budget.lrs_of`.
    warm_up, cool_down : float, default 0
        In step t the factor is at most (t + 1)/warm_up and at most (steps − t − 1)/cool_down times that.

    Returns
    -------
    callable
        ``factor(t)``; also right for ``torch.optim.lr_scheduler.LambdaLR``.
    """
    t = np.arange(1, steps + 1)
    limit = np.ones(steps)
    if warm_up:
        limit = np.minimum(limit, t / warm_up)
    if cool_down:
        limit = np.minimum(limit, (steps - t) / cool_down)
    factors = (lrs_of(kind, 1.0, steps) * limit).tolist()  # type: ignore[arg-type]
    # LambdaLR asks once more after the last step
    return lambda t: factors[min(t, steps - 1)]


def ramp(start: float, end: float) -> Callable[[int], float]:
    """Make the factor on λ that is 0 until a step and 1 from a later one on, linear between them.

    Parameters
    ----------
    start, end : float
        The two steps.

    Returns
    -------
    callable
        ``factor(t)``.
    """
    return lambda t: 1.0 if t >= end else 0.0 if t <= start else (t - start) / (end - start)


def minibatches(n: int, batch_size: int, steps: int, seed: int = 0) -> list[Tensor]:
    """Draw the rows of each minibatch: shuffled epochs, whose last batch may be smaller.

    Parameters
    ----------
    n, batch_size, steps : int
        Training rows, rows per batch (at most `n`), and number of batches.
    seed : int, default 0
        Seed of the shuffling; the global generator is not used.

    Returns
    -------
    list of Tensor of int64
        `steps` index tensors.
    """
    checks.whole("batch_size", batch_size, 1)
    checks.whole("steps", steps, 1)
    if batch_size > n:
        raise ValueError(
            f"batch_size={batch_size} is larger than the {n} training rows; use batch_size=None for all"
        )
    generator = torch.Generator().manual_seed(seed)
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += torch.randperm(n, generator=generator).split(batch_size)
    return batches[:steps]


def on_weights(params: Mapping[str, Any], lam: Tensor) -> dict[str, Tensor]:
    """Apply λ, (K,), to all weights and to no bias: the argument `lam` of :class:`Descent`."""
    return {name: lam for name in params if name.endswith("weight")}


class Descent:
    """K copies of a network on the way down.

    The objective of a copy is its loss + Σ (λ/2)‖w‖² over the parameters that `lam` names. Tensors in `lr`
    and `lam` that have the type of the parameters are not copied: whoever changes them in place changes the
    steps that follow.

    Parameters
    ----------
    params : dict of str to Tensor, shape (K, ...)
        Initial parameters, which are changed in place.
    loss : callable, optional
        ``loss(params, t)`` gives the loss of every copy in step t, (K,), for autograd.
    lr, lam : float or Tensor of shape (K,); for lam a dict of these, for lr it may be one
        Learning rate of every copy or, in a dict, of every parameter; λ of the parameters that decay.
    optimizer : {"sgd", "adam", "adamw"}
        ``"adam"``: the penalty is part of the gradient. ``"adamw"``: weights are multiplied by 1 − lr·λ apart
        from the gradient (Loshchilov and Hutter 2019), which does not minimize the objective.
    momentum : float, default 0.9
        Of SGD.
    rate, share : callable, optional
        Factors on all learning rates (see :func:`schedule`) and all λ (see :func:`ramp`) in step t; for λ
        also a dict with those of some parameters.
    after : callable, optional
        ``after(params, t)`` is called after every update, without gradients: a proximal step, for instance.
    gradient : callable, optional
        ``gradient(params, t, into, keep)`` computes ``into = keep * into + gradient`` of the loss in place.
        It is used instead of autograd, and no `loss` is needed.

    Attributes
    ----------
    params, moment, done : dict of str to Tensor, dict of str to Tensor, int
        The leaves; the momentum of SGD or first moment of Adam; the number of steps done.
    """

    def __init__(
        self,
        params: Leaves,
        loss: Loss | None = None,
        *,
        lr: float | Tensor | Mapping[str, float | Tensor],
        lam: Mapping[str, float | Tensor] | None = None,
        optimizer: str = "sgd",
        momentum: float = 0.9,
        rate: Callable[[int], float] = _always,
        share: Share | Mapping[str, Share] = _always,
        after: Callable[[Leaves, int], Any] | None = None,
        gradient: Gradient | None = None,
    ) -> None:
        checks.one_of("optimizer", optimizer, OPTIMIZERS)
        named = dict(lr) if isinstance(lr, Mapping) else dict.fromkeys(params, lr)
        if set(named) != set(params) or not set(lam or {}) <= set(params):
            raise ValueError(f"lr must name every parameter and lam some of them: {list(params)}")
        self.params, self.loss, self.optimizer, self.after = params, loss, optimizer, after
        self.momentum, self.rate = momentum, rate
        shares = share if isinstance(share, Mapping) else dict.fromkeys(params, share)
        self.share = {name: shares.get(name, _always) for name in lam or {}}
        self.gradient = gradient or self._by_autograd
        self.lr = {name: _per_copy(f"lr of {name}", named[name], value) for name, value in params.items()}
        self.lam = {name: _per_copy(f"lam of {name}", v, params[name]) for name, v in (lam or {}).items()}
        mean, self.moment = _zeros(params)
        if optimizer != "sgd":
            square, _ = _zeros(params)
            g, self.grads = _zeros(params)
            work, self.work = _zeros(params)
            # what is the same for all copies is done in one go for all leaves
            self.flat = g, mean, square, work
        self.done = 0

    def _by_autograd(self, params: Leaves, t: int, into: Leaves, keep: float) -> None:
        """Compute ``into = keep * into + gradient`` of the loss."""
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        with torch.enable_grad():
            total = self.loss(leaves, t).sum()
        for own, g in zip(into.values(), torch.autograd.grad(total, list(leaves.values())), strict=True):
            own.mul_(keep).add_(g) if keep else own.copy_(g)

    @torch.no_grad()
    def run(self, stop: int) -> None:
        """Go on until so many steps are done.

        Parameters
        ----------
        stop : int
            Number of steps, counted from the start.
        """
        step = self._sgd if self.optimizer == "sgd" else self._adam
        while self.done < stop:
            t = self.done
            step(t, self.rate(t))
            self.done += 1
            if self.after is not None:
                self.after(self.params, t)

    def _sgd(self, t: int, rate: float) -> None:
        self.gradient(self.params, t, self.moment, self.momentum)
        for name, value in self.params.items():
            if name in self.lam:
                self.moment[name].addcmul_(value, self.lam[name], value=self.share[name](t))
            value.addcmul_(self.moment[name], self.lr[name], value=-rate)

    def _adam(self, t: int, rate: float) -> None:
        self.gradient(self.params, t, self.grads, 0.0)
        (beta1, beta2), decoupled = BETAS, self.optimizer == "adamw"
        for name, lam in self.lam.items():
            value, share = self.params[name], self.share[name](t)
            if decoupled:
                value.addcmul_(value, lam * self.lr[name], value=-rate * share)
            else:
                self.grads[name].addcmul_(value, lam, value=share)
        g, mean, square, work = self.flat
        mean.lerp_(g, 1 - beta1)
        square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        torch.sqrt(square, out=work).mul_((1 - beta2 ** (t + 1)) ** -0.5).add_(EPS)
        torch.div(mean, work, out=work)
        for name, value in self.params.items():
            value.addcmul_(self.work[name], self.lr[name], value=-rate / (1 - beta1 ** (t + 1)))


def _zeros(like: Leaves) -> tuple[Tensor, Leaves]:
    """One long vector of zeros, and the same memory cut into leaves."""
    flat = torch.cat([value.flatten() for value in like.values()]).zero_()
    parts = flat.split([value.numel() for value in like.values()])
    return flat, {name: part.view(v.shape) for part, (name, v) in zip(parts, like.items(), strict=True)}


def _per_copy(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """View (K,) numbers so that they multiply a leaf (K, ...)."""
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if value.ndim > 1 or (value.ndim and len(value) not in (1, len(like))):
        raise ValueError(f"{name} must be one number or {len(like)}, got shape {tuple(value.shape)}")
    # a view: who changes the numbers that were given changes what the next step uses
    return value.view(-1, *[1] * (like.ndim - 1))
