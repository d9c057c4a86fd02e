"""How a method of the comparison trains: one network, all strengths and seeds at once.

A network has one hidden layer or none, and there are K = S·T copies of it: T strengths on each of S seeds.
The copies of one seed start from the same weights and see the same minibatches of the same problem. What
distinguishes the methods is a :class:`Recipe`; what they share is :class:`l2lab.engine.Descent`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import MLP, Descent, minibatches, schedule
from .tasks import Budget, LearningData

MOMENTUM = 0.9
WARM_UP = 20
# During this share of a run with a ramp, norms are averaged over so many looks; as in the selector.
EARLY, EARLY_LOOKS = 0.25, 10

Leaves = dict[str, Tensor]


@dataclass(frozen=True)
class Fit:
    """The T models that a method has trained on one problem.

    Attributes
    ----------
    strengths : ndarray, shape (T,)
        What was tried.
    first_layer : ndarray, shape (T, units, p)
        Effective weights of the first layer, gates and masks included: what an input is multiplied by.
    outputs : callable
        ``outputs(X, trials)`` gives (len(trials), n, o): logits or predictions for the rows of `X`.
    unit_effects : callable or None
        ``unit_effects(X, trial)`` gives how much each hidden unit moves the output over the rows of `X`.
    early : ndarray, shape (T, p), or None
        With a ramp of λ: norm of each input's weights as a share of the largest, mean over the first quarter
        of the run.
    """

    strengths: np.ndarray
    first_layer: np.ndarray
    outputs: Callable[[np.ndarray, list[int]], np.ndarray]
    unit_effects: Callable[[np.ndarray, int], np.ndarray] | None = None
    early: np.ndarray | None = None


def row_losses(outputs: np.ndarray, y: np.ndarray, task: str) -> np.ndarray:
    """Compute the loss of every row, cross-entropy or ½(f − y)², (..., n) from outputs (..., n, o)."""
    outputs = np.asarray(outputs, dtype=np.float64)
    if task == "regression":
        return 0.5 * (outputs[..., 0] - y) ** 2
    top = outputs.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(outputs - top).sum(axis=-1)) + top[..., 0]
    return log_sum - outputs[..., np.arange(len(y)), y]


def _first_units(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """First layer of all copies, before the ReLU: (K, units, B) from (K, units, p) and (S or K, B, p)."""
    # copies that share their batch are stacked: one wide product per batch instead of many small ones
    first = weight.reshape(len(x), -1, weight.shape[2]) @ x.transpose(1, 2)
    return first.view(*weight.shape[:2], -1) + bias[:, :, None]


def _outputs(params: Leaves, units: Tensor) -> Tensor:
    """Outputs (K, B, o) from what the first layer gives, (K, units, B); after the ReLU, if that is hidden."""
    if "2.weight" not in params:
        return units.transpose(1, 2)
    return torch.baddbmm(params["2.bias"][:, :, None], params["2.weight"], units).transpose(1, 2)


class Recipe:
    """How a network is trained. As it stands: SGD without a penalty; a method overrides what it changes.

    It gets T `strengths`, the `data` of S problems of equal size, the `budget` and S `seeds`; `starts` are
    seeds of the K = S·T initial weights, and `units` the activations of the hidden layer, (K, units, B).

    A proximal step or a projection is a method ``after_step(weights, lr)``: it gets the weights of the
    layers, (K, o, i), first layer first, and how far a constant gradient moves a weight per step (for SGD the
    learning rate divided by 1 − momentum), and works in place.

    The methods get `params`, all that is trained: tensors (K, ...) by the names of
    :class:`l2lab.engine.MLP`, by which autograd differentiates what they return; `x`, the inputs of a batch,
    (S, B, p) for every seed or (K, B, p) for every copy, to be left as they are; and `y`, targets, (K, B).
    Once training is over `training` is False, and nothing may be random.

    Attributes
    ----------
    optimizer, lr_factor : {"sgd", "adamw"}, float
        The update rule, and a factor on the learning rate of the budget.
    strength, lr : Tensor, shape (K,)
        Strength of every copy, and its learning rate before the schedule.
    linear : bool
        Whether there is no hidden layer.
    """

    optimizer = "sgd"
    lr_factor = 1.0
    after_step: Callable[[list[Tensor], float], None] | None = None

    def prepare(self, strengths: Tensor, data: list[LearningData], budget: Budget, seeds: list[int]) -> None:
        """Take what is to be trained; what a seed draws must not depend on the other seeds."""
        self.strengths, self.data, self.budget = strengths, data, budget
        self.strength = strengths.repeat(len(seeds))
        lr = self.lr_factor * (budget.lr if self.optimizer == "sgd" else budget.adam_lr)
        self.lr = torch.full_like(self.strength, lr)
        self.linear = budget.hidden == 0
        self.generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]

    def _draw(self, kind: Callable[..., Tensor], *shape: int) -> Tensor:
        """Draw numbers (S, *shape) of a kind like ``torch.rand``, every seed from its own generator."""
        return torch.stack([kind(shape, generator=g, dtype=self.strength.dtype) for g in self.generators])

    def _per_copy(self, values: Tensor) -> Tensor:
        """Repeat what the copies of a seed have in common: (K, ...) from (S, ...)."""
        return values.repeat_interleave(len(self.strengths), dim=0)

    def parameters(self, starts: list[int]) -> Leaves:
        """Draw all that is trained."""
        one = self.data[0]
        hidden = () if self.linear else (self.budget.hidden,)
        return MLP((one.n_features, *hidden, one.n_outputs)).init(starts, self.strength.dtype)

    def decay(self, params: Leaves) -> Leaves:
        """Give λ, (K,), of the parameters that are penalized by (λ/2)‖w‖²; with AdamW, decoupled decay."""
        return {}

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        """Make the effective weight of the first layer, (K, units, p): what the inputs are multiplied by."""
        return params["0.weight"]

    def hidden(self, units: Tensor) -> Tensor:
        """Change the activations of the hidden layer in a training step."""
        return units

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        """Compute the outputs in a training step, logits or predictions, (K, B, o)."""
        units = _first_units(self.first_layer(params, training=True), params["0.bias"], x)
        return _outputs(params, units if self.linear else self.hidden(units.relu()))

    def loss(self, params: Leaves, x: Tensor, y: Tensor) -> Tensor:
        """Compute the mean loss on a batch, (K,), with what is penalized other than by (λ/2)‖w‖²."""
        outputs = self.forward(params, x)
        if self.data[0].task == "regression":
            return 0.5 * (outputs[..., 0] - y).square().mean(1)
        each = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none")
        return each.view(y.shape).mean(1)


def train(
    recipe: Recipe, strengths: np.ndarray, data: list[LearningData], budget: Budget, seeds: list[int],
    restarts: bool = False, ramp: float = 0.0,
) -> list[Fit]:  # fmt: skip
    """Train a model for each of T strengths on each of S problems, from equal weights unless it `restarts`.

    During the share `ramp` of the run the strength grows from 0. Such a run starts like the selector's, with
    the variance of He's initialization and biases of 0.
    """
    recipe.prepare(torch.as_tensor(strengths, dtype=budget.dtype), data, budget, seeds)
    dtype, T = budget.dtype, len(strengths)
    # Trial 0 of a seed starts from the same weights with every method.
    starts = [seed + (10_000 if restarts else 0) * trial for seed in seeds for trial in range(T)]
    X = torch.stack([torch.tensor(one.X_train, dtype=dtype) for one in data])
    y = torch.stack([torch.tensor(one.y_train) for one in data])
    y = y.to(dtype) if data[0].task == "regression" else y
    size = min(budget.batch_size, X.shape[1])
    each = [minibatches(X.shape[1], size, budget.steps, seed) for seed in seeds]
    which = torch.arange(len(data))[:, None]
    params = recipe.parameters(starts)
    if ramp:
        for name, value in params.items():  # torch draws weights with a sixth of He's variance
            value *= math.sqrt(6) if name.endswith("weight") else 0 if name.endswith("bias") else 1
    weights = [params[name] for name in ("0.weight", "2.weight") if name in params]
    rate = schedule("cosine", budget.steps, warm_up=WARM_UP)
    reach = float(recipe.lr[0]) / (1 - MOMENTUM if recipe.optimizer == "sgd" else 1)

    full, looks, early = recipe.strength.clone(), max(1, round(EARLY * budget.steps / EARLY_LOOKS)), []

    def loss(leaves: Leaves, t: int) -> Tensor:
        if ramp:
            recipe.strength.copy_(full * min(1.0, t / (ramp * budget.steps)))
        rows = torch.stack([batches[t] for batches in each])
        return recipe.loss(leaves, X[which, rows], recipe._per_copy(y[which, rows]))

    def after(leaves: Leaves, t: int) -> None:
        if recipe.after_step:
            recipe.after_step(weights, reach * rate(t))
        if ramp and t < EARLY * budget.steps and t % looks == looks - 1:
            norms = recipe.first_layer(params).detach().norm(dim=1)
            early.append(norms / norms.amax(1, keepdim=True).clamp_min(1e-30))

    rule = {"optimizer": recipe.optimizer, "momentum": MOMENTUM, "rate": rate}
    rule["after"] = after if recipe.after_step or ramp else None
    Descent(params, loss, lr=recipe.lr, lam=recipe.decay(params), **rule).run(budget.steps)
    recipe.strength.copy_(full)
    plain = {name: value for name, value in params.items() if name.startswith(("0.", "2."))}
    plain |= {"0.weight": recipe.first_layer(params).detach()}
    tried = recipe.strengths.numpy().astype(float)
    seen = torch.stack(early).mean(0) if early else None
    own = [slice(s * T, (s + 1) * T) for s in range(len(data))]
    return [
        _fit({name: value[k] for name, value in plain.items()}, tried, None if seen is None else seen[k])
        for k in own
    ]


def _fit(params: Leaves, strengths: np.ndarray, early: Tensor | None) -> Fit:
    weight, linear = params["0.weight"], "2.weight" not in params

    def units(X: np.ndarray) -> Tensor:
        found = _first_units(weight, params["0.bias"], torch.tensor(X, dtype=weight.dtype)[None])
        return found if linear else found.relu()

    def outputs(X: np.ndarray, trials: list[int]) -> np.ndarray:
        return _outputs(params, units(X))[trials].numpy()

    def unit_effects(X: np.ndarray, trial: int) -> np.ndarray:
        # a unit that never changes, because it is always off or its weights are 0, is only a bias
        return (units(X)[trial].std(1, correction=0) * params["2.weight"][trial].norm(dim=0)).numpy()

    early = None if early is None else early.numpy()
    return Fit(strengths, weight.numpy(), outputs, None if linear else unit_effects, early)
