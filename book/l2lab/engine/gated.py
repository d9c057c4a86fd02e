"""Networks whose inputs pass through gates, K at once: what :mod:`l2lab.select` trains.

Weight decay on gates and first layer switches inputs off; the update is that of
:class:`l2lab.engine.Descent`, the gradient that of :class:`~l2lab.engine.networks.MLPGradient` with the chain
rule of the gates around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .descend import Descent, Leaves, minibatches, on_weights, ramp, schedule
from .networks import MLP, MLPGradient
from .sweep import CACHE_BYTES

__all__ = ["GatedNetworks", "GatedRecipe", "Rows", "groups_of"]

MOMENTUM = 0.9
# The later layers decay a little. Without that they would grow while the gates shrink, and the product that
# the network computes could escape the penalty (a ReLU network is homogeneous).
OUTER_DECAY = 1e-3
# λ grows linearly from 0 during this share of the run: features must form before they are put to the test.
RAMP = 0.5
# Steps over which the learning rate grows to its value.
LR_RAMP = 20
# Up to so many open inputs the learning rate needs no care.
FEW = 100
# Look for columns that are dead in all models after every so many steps.
LOOK = 25
# During this share of the run, before λ is in force, strengths are averaged over so many looks.
EARLY, EARLY_LOOKS = 0.25, 10
GPU_BYTES = 2**31
# With more columns than this the rows of a batch, which are gathered and packed for all models at once, cost
# more than the cache saves. Then so many models are trained together on a CPU, whatever they need.
WIDE = 2000
WIDE_GROUP = 5
# Numbers that an evaluation works on at a time.
EVALUATION_NUMBERS = 2**21


@dataclass(frozen=True)
class Rows:
    """Standardized rows on the device."""

    X: Tensor  # inputs, (n, p)
    targets: Tensor  # one-hot classes, or the standardized target, (outputs, n)
    weight: Tensor  # of the rows, with mean 1, (n,)
    classes: bool  # what the targets are

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.X)


class GatedRecipe(NamedTuple):
    """How a network is trained."""

    hidden: tuple[int, ...]  # units of the hidden layers
    depth: int  # factors D of a first-layer column: the column and D − 1 gates
    steps: int
    batch_size: int
    lr: float
    gate_lr: float  # factor on lr for gates
    seed: int  # of the batches


def _initial(network: MLP, seeds: list[int], fan_in: Tensor, like: Tensor) -> dict[str, Tensor]:
    """He initialization, where model k has `fan_in[k]` inputs that count; biases are 0."""
    drawn: dict[int, dict[str, Tensor]] = {}
    for seed in set(seeds):
        generator = torch.Generator().manual_seed(seed)
        drawn[seed] = {
            name: torch.randn(shape, generator=generator) * (math.sqrt(2 / shape[1]) if len(shape) > 1 else 0)
            for name, shape in network.shapes.items()
        }
    params = {name: torch.stack([drawn[seed][name] for seed in seeds]).to(like) for name in network.shapes}
    params["0.weight"] *= (network.n_inputs / fan_in).sqrt()[:, None, None]
    return params


class GatedNetworks:
    """K networks behind gates, trained by SGD with momentum on a shared stream of batches.

    All D − 1 gates of a feature start equal and see the same gradient and the same decay, so they stay equal:
    one number g per feature, used D − 1 times, is all that must be stored. With D = 1 and a mask the same
    code trains ordinary networks on subsets of the features.
    """

    def __init__(
        self,
        rows: Rows,
        recipe: GatedRecipe,
        lams: Tensor,  # of first layer and gates, (K,)
        seeds: list[int],  # of the initial weights
        weights: Tensor,  # of every row in every model, with mean 1, (K, n)
        mask: Tensor | None = None,  # which features a network sees, instead of gates, (K, p)
        outer_decay: Tensor | None = None,  # λ of all other weights, (K,)
        without: Tensor | None = None,  # which features a network with gates must do without, (K, p)
    ) -> None:
        like = rows.X
        n_models, p = len(seeds), like.shape[1]
        self.rows, self.recipe, self.lams, self.weights = rows, recipe, lams, weights
        self.network = MLP((p, *recipe.hidden, len(rows.targets)))
        fan_in = torch.full((n_models,), float(p)).to(like) if mask is None else mask.sum(1).clamp_min(1)
        if without is not None:
            fan_in = (p - without.sum(1)).to(like)
        self.params = _initial(self.network, seeds, fan_in, like)
        self.outer_decay = like.new_full((n_models,), OUTER_DECAY) if outer_decay is None else outer_decay
        self.mask = None if mask is None else mask.to(like)
        if mask is None:
            self.add_gates()
        strength = self.strength()
        if without is not None:
            # A product whose factors are all 0 has no gradient: it stays there.
            self.params["gate"][without] = 0
            self.params["0.weight"].mul_(~without[:, None])
            strength = strength[~without]
        self.level = float(strength.mean())
        self.columns = torch.arange(p, device=like.device)
        self.X = rows.X
        size = min(recipe.batch_size, rows.n)
        self.batches = [b.to(like.device) for b in minibatches(rows.n, size, recipe.steps, recipe.seed)]
        self.grads = {name: torch.empty_like(self.params[name]) for name in self.network.shapes}
        self.plans: dict[int, MLPGradient] = {}
        self.early = torch.zeros(n_models, p).to(like)
        self.lr = {name: like.new_full((n_models,), recipe.lr) for name in self.params}
        grows = ramp(0, RAMP * recipe.steps) if mask is None else ramp(0, 0)
        self.descent = Descent(
            self.params,
            gradient=self.gradient,
            lr=self.lr,
            lam=self.decay(),
            momentum=MOMENTUM,
            rate=schedule("cosine", recipe.steps, warm_up=LR_RAMP),
            share=dict.fromkeys(("0.weight", "gate"), grows),
        )

    def add_gates(self) -> None:
        """Start with ‖W_j‖ = g on average, without changing the product.

        That is where decay leads anyway, and with many inputs it keeps the first steps from being too long.
        """
        W, depth = self.params["0.weight"], self.recipe.depth
        level = W.norm(dim=1).mean(1, keepdim=True) ** (1 / depth)
        self.params["gate"] = level.expand(len(W), W.shape[2]).clone()
        W /= level[:, :, None] ** (depth - 1)

    def decay(self) -> Leaves:
        """Say what is penalized: λ (K,) by parameter."""
        small = on_weights(self.params, self.outer_decay)
        return small if self.mask is not None else small | {"0.weight": self.lams, "gate": self.lams}

    def product(self) -> Tensor:
        """Compute the factor of each input, the product of its gates or the mask: (K, p)."""
        return self.params["gate"] ** (self.recipe.depth - 1) if self.mask is None else self.mask

    def factor(self) -> Tensor:
        """Compute :meth:`product` for a training step, and set the learning rates.

        The curvature grows with the number of inputs that pass the gates, Σ (∏ g)²; beyond `FEW` of them the
        steps of first layer and gates become shorter in proportion.
        """
        product = self.product()
        lr = self.lr["0.weight"]
        lr.copy_(self.recipe.lr * FEW / product.square().sum(1).clamp_min(FEW))
        if self.mask is None:
            torch.mul(lr, self.recipe.gate_lr, out=self.lr["gate"])
        return product

    def gate_gradient(self, by_factor: Tensor) -> Tensor:
        """Continue the chain rule from the factors (K, p) to one of the equal gates."""
        return by_factor.mul_(self.params["gate"] ** (self.recipe.depth - 2))

    def gradient(self, params: Leaves, t: int, into: Leaves, keep: float) -> None:
        """Compute ``into = keep * into + gradient``, see :class:`l2lab.engine.Descent`."""
        rows, factor = self.batches[t], self.factor()
        if len(rows) not in self.plans:
            self.plans[len(rows)] = MLPGradient(self.network, len(factor), len(rows), self.X)
        plan, grads, seen = self.plans[len(rows)], self.grads, self.seen(factor)
        outputs = plan.forward(seen, self.X.index_select(0, rows))
        outputs = torch.softmax(outputs, 1) if self.rows.classes else outputs
        share = (self.weights[:, rows] / len(rows))[:, None]
        plan.backward(seen, (outputs - self.rows.targets.index_select(1, rows)) * share, grads)
        inner = grads["0.weight"]  # with respect to W ∏ g
        if "gate" in params:
            into["gate"].mul_(keep).add_(self.gate_gradient((inner * params["0.weight"]).sum(1)))
        inner.mul_(factor[:, None])
        for name, g in grads.items():
            into[name].mul_(keep).add_(g)

    def seen(self, factor: Tensor) -> Leaves:
        """Multiply the factors into the first layer: parameters of ordinary networks."""
        plain = {name: self.params[name] for name in self.grads}
        return plain | {"0.weight": plain["0.weight"] * factor[:, None]}

    def run(self, lost: float = 0.0, watch: bool = False) -> None:
        """Train; from time to time drop the columns whose strength is below `lost` in all models.

        `lost` is a share of the reference. With `watch`, `early` (K, p) becomes the mean relative strength
        during the first part of the run (a part of it, if there are too few steps for all looks).
        """
        steps = self.recipe.steps
        looks = max(1, round(EARLY * steps / EARLY_LOOKS))
        for t in range(steps):
            self.descent.run(t + 1)
            if watch and t / steps < EARLY and t % looks == looks - 1:
                self.early += self.relative() / EARLY_LOOKS
            if lost and t % LOOK == LOOK - 1:
                self.forget(lost)

    def forget(self, lost: float) -> None:
        """Drop columns that are dead in all models."""
        strength = self.strength()
        keep = (strength > lost * self.reference(strength)).any(0)
        # Moving memory costs as much as a few steps; and a network without inputs has no gradient.
        if keep.sum() > 0.9 * len(keep):
            return
        keep[strength.amax(0).argmax()] = True
        self.X, self.columns = self.X[:, keep].contiguous(), self.columns[keep]
        for leaves in (self.params, self.descent.moment):
            for name in ("0.weight", "gate"):
                leaves[name] = leaves[name][..., keep].contiguous()
        self.grads["0.weight"] = torch.empty_like(self.params["0.weight"])
        self.network = MLP((int(keep.sum()), *self.network.sizes[1:]))
        self.plans.clear()

    def strength(self) -> Tensor:
        """Compute how strongly each input that is left acts, ‖W_j‖·|∏ g|: (K, p)."""
        return self.params["0.weight"].norm(dim=1) * self.product().abs()

    def reference(self, strength: Tensor) -> Tensor:
        """Choose what a strength is compared with: the largest of its model, or the level at the start."""
        return strength.amax(1, keepdim=True).clamp_min(self.level)

    def relative(self) -> Tensor:
        """Compute the strength of all p features as a share of the reference; 0 for dropped columns."""
        strength = self.strength()
        full = strength.new_zeros(len(strength), self.rows.X.shape[1])
        full[:, self.columns] = strength / self.reference(strength)
        return full

    def outputs(self, X: Tensor) -> Tensor:
        """Compute outputs (K, outputs, n) for rows with the columns that are left."""
        seen = self.seen(self.product())
        # So few rows at a time that memory stays bounded.
        numbers = len(self.lams) * self.network.activations_per_sample
        parts = X.split(max(16, EVALUATION_NUMBERS // numbers))
        return torch.cat([self.network.forward(seen, x).transpose(1, 2) for x in parts], dim=2)

    def losses(self, X: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of every row: (K, n)."""
        outputs = self.outputs(X)
        if self.rows.classes:
            return -(torch.log_softmax(outputs, 1) * targets).sum(1)
        return 0.5 * (outputs - targets).square().sum(1)


def groups_of(n_models: int, n_inputs: int, recipe: GatedRecipe, rows: Rows) -> list[np.ndarray]:
    """Decide which of n models to train together; neighbours in λ share their dead columns."""
    outputs, size = len(rows.targets), rows.X.element_size()
    each = size * (4 * n_inputs * recipe.hidden[0] + 2 * recipe.batch_size * (sum(recipe.hidden) + outputs))
    on_cpu = rows.X.device.type == "cpu"
    least = WIDE_GROUP if on_cpu and n_inputs > WIDE else 1
    limit = (CACHE_BYTES if on_cpu else GPU_BYTES) // each
    return np.array_split(np.arange(n_models), math.ceil(n_models / max(least, limit)))
