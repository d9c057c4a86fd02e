"""The one training loop of the comparison: all methods, all strengths at once, each changing one thing.

A network has one hidden layer or none, and there are K = S·T copies of it: T strengths on each of S seeds,
seed after seed. The copies of one seed start from the same weights and see the same minibatches of the same
problem. What distinguishes the methods is written down in a :class:`Recipe`: each of its hooks does nothing
unless a method overrides it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Problem
from ..engine import MLP, minibatches

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Budget:
    """What every method gets, and none may exceed.

    Parameters
    ----------
    n_trials : int, default 8
        Models that a method trains, one per strength; validation chooses among them.
    steps : int, default 1000
        Updates of each model.
    batch_size : int, default 64
        Rows per minibatch, or all rows if there are fewer.
    hidden : int, default 32
        Units of the hidden layer; 0 for a linear model.
    lr : float, default 0.1
        Learning rate of SGD with momentum 0.9, with a warm-up over 20 steps and a cosine to 0 after it.
    adam_lr : float, default 0.005
        Learning rate of AdamW, same schedule.
    dtype : torch.dtype, default torch.float32
        Type of the arithmetic.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    n_trials: int = 8
    steps: int = 1000
    batch_size: int = 64
    hidden: int = 32
    lr: float = 0.1
    adam_lr: float = 0.005
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for name, least in (("n_trials", 1), ("steps", 1), ("batch_size", 1), ("hidden", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        for name in ("lr", "adam_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")


MOMENTUM = 0.9
WARM_UP = 20
BETAS, EPS = (0.9, 0.999), 1e-8

Augment = Callable[[Tensor, float, torch.Generator], Tensor]


class LearningData:
    """What a method gets to see of a problem: training and validation rows, and no test rows.

    The arrays are copies that cannot be written to, so one method can neither reach the test rows through
    them nor leave changed data to the next one.

    Parameters
    ----------
    problem : Problem
        The whole problem.
    augment : callable, optional
        ``augment(x, strength, generator)`` returns a changed copy of a batch whose labels still hold.

    Attributes
    ----------
    task : {"classification", "regression"}
        Decides the loss.
    n_outputs : int
        Outputs of a network: classes, or 1.
    X_train, y_train, X_valid, y_valid : ndarray
        The rows, as in :class:`l2lab.data.Problem`.
    augment : callable or None
        As given.
    """

    def __init__(self, problem: Problem, augment: Augment | None = None) -> None:
        def locked(array: np.ndarray) -> np.ndarray:
            copy = array.copy()
            copy.setflags(write=False)
            return copy

        self.task = problem.task
        self.n_outputs = problem.n_classes or 1
        self.X_train, self.y_train = locked(problem.X_train), locked(problem.y_train)
        self.X_valid, self.y_valid = locked(problem.X_valid), locked(problem.y_valid)
        self.augment = augment

    @property
    def n_features(self) -> int:
        """Number of columns p."""
        return self.X_train.shape[1]


def losses(outputs: np.ndarray, y: np.ndarray, task: str) -> np.ndarray:
    """Compute the mean loss of several models: cross-entropy, or ½(f − y)².

    Parameters
    ----------
    outputs : ndarray, shape (T, n, o)
        Logits, or predictions with o = 1.
    y : ndarray, shape (n,)
        Class numbers, or targets.
    task : {"classification", "regression"}
        Which of the two.

    Returns
    -------
    ndarray, shape (T,)
        One loss per model.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    if task == "regression":
        return 0.5 * ((outputs[..., 0] - y) ** 2).mean(axis=1)
    top = outputs.max(axis=2, keepdims=True)
    log_sum = np.log(np.exp(outputs - top).sum(axis=2)) + top[..., 0]
    return (log_sum - outputs[:, np.arange(len(y)), y]).mean(axis=1)


@dataclass(frozen=True)
class Fit:
    """The T models that a method has trained on one problem.

    Parameters
    ----------
    strengths : ndarray, shape (T,)
        What was tried.
    first_layer : ndarray, shape (T, units, p)
        Effective weights of the first layer, gates and masks included: what an input is multiplied by.
    outputs : callable
        ``outputs(X, trials)`` gives (len(trials), n, o): logits or predictions for the rows of `X`.
    unit_effects : callable, optional
        ``unit_effects(X, trial)`` gives for each hidden unit how much it moves the output over the rows of
        `X`, shape (units,). None if there are no hidden units.
    notes : dict, optional
        What the result file should remember.
    """

    strengths: np.ndarray
    first_layer: np.ndarray
    outputs: Callable[[np.ndarray, list[int]], np.ndarray]
    unit_effects: Callable[[np.ndarray, int], np.ndarray] | None = None
    notes: dict[str, object] = field(default_factory=dict)


class Recipe:
    """What a method changes in the common loop. Without any change: SGD without a penalty.

    Attributes
    ----------
    optimizer : {"sgd", "adamw"}
        Which of the two update rules.
    lr_factor : float
        Factor on the learning rate of the budget.
    strengths : Tensor, shape (T,)
        From :meth:`start` on.
    lam : Tensor, shape (K, 1, 1)
        The strength of every copy, to multiply (K, o, i).
    generators : list of torch.Generator, length S
        For all random numbers that the method itself draws: one per seed, so that the result of a seed does
        not depend on the other ones.
    """

    optimizer = "sgd"
    lr_factor = 1.0
    strengths: Tensor
    lam: Tensor
    generators: list[torch.Generator]

    def start(self, strengths: Tensor, seeds: list[int]) -> Recipe:
        """Take the strengths and the seeds.

        Parameters
        ----------
        strengths : Tensor, shape (T,)
            What is tried.
        seeds : list of int, length S
            Seeds of the generators.

        Returns
        -------
        Recipe
            Itself.
        """
        self.strengths = strengths
        self.generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
        self.lam = strengths.repeat(len(seeds))[:, None, None]
        return self

    def draw(self, kind: Callable[..., Tensor], *shape: int) -> Tensor:
        """Draw random numbers, every seed from its own generator.

        Parameters
        ----------
        kind : callable
            ``torch.rand`` or ``torch.randn``.
        *shape : int
            Shape for one seed.

        Returns
        -------
        Tensor, shape ``(S, *shape)``
            Of the type of the strengths.
        """
        return torch.stack([kind(shape, generator=g, dtype=self.lam.dtype) for g in self.generators])

    def per_copy(self, values: Tensor) -> Tensor:
        """Repeat what the copies of a seed have in common.

        Parameters
        ----------
        values : Tensor, shape (S, ...)
            One entry per seed.

        Returns
        -------
        Tensor, shape (K, ...)
            One entry per copy.
        """
        return values.repeat_interleave(len(self.strengths), dim=0)

    def prepare(self, data: list[LearningData], budget: Budget, seeds: list[int]) -> None:
        """Look at the problems before training starts.

        Parameters
        ----------
        data : list of LearningData, length S
            One problem per seed.
        budget : Budget
            Says how many hidden units there are.
        seeds : list of int, length S
            Seeds for whatever is random in it.
        """

    def extra(self, p: int) -> Parameters:
        """Make trainable parameters besides weights and biases.

        Parameters
        ----------
        p : int
            Number of inputs.

        Returns
        -------
        dict of str to Tensor, shape (K, 1, p)
            By name; none by default.
        """
        return {}

    def inputs(self, x: Tensor) -> Tensor:
        """Change a training batch.

        Parameters
        ----------
        x : Tensor, shape (S, B, p)
            The batch of every seed, to be left as it is.

        Returns
        -------
        Tensor, shape (S, B, p) or (K, B, p)
            The second if the copies of a seed differ.
        """
        return x

    def hidden(self, h: Tensor) -> Tensor:
        """Change the hidden activations of a training batch.

        Parameters
        ----------
        h : Tensor, shape (K, units, B)
            After the ReLU.

        Returns
        -------
        Tensor, shape (K, units, B)
            Differentiable.
        """
        return h

    def first_weight(self, weight: Tensor, extra: Parameters, training: bool) -> Tensor:
        """Make the effective weight of the first layer.

        Parameters
        ----------
        weight : Tensor, shape (K, units, p)
            As stored.
        extra : dict of str to Tensor
            From :meth:`extra`.
        training : bool
            False once training is over: nothing may be random then.

        Returns
        -------
        Tensor, shape (K, units, p)
            What the inputs are multiplied by.
        """
        return weight

    def penalty_gradient(self, name: str, value: Tensor, first: bool) -> Tensor | None:
        """Compute the gradient of the penalty for one parameter.

        Parameters
        ----------
        name : str
            Name of the parameter; weights end with "weight".
        value : Tensor, shape (K, ...)
            The parameter.
        first : bool
            True for the weight of the first layer.

        Returns
        -------
        Tensor or None
            Of the same shape; None for no penalty.
        """
        return None

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        """Do a proximal step or a projection, in place.

        Parameters
        ----------
        weights : list of Tensor, shapes (K, o, i)
            Of all layers, first layer first.
        lr : float
            How far a constant gradient moves a weight per step: lr / (1 − momentum).
        """

    def decay(self, name: str) -> Tensor | None:
        """Say how much AdamW decays a parameter.

        Parameters
        ----------
        name : str
            Name of the parameter.

        Returns
        -------
        Tensor or None, shape (K, 1, 1)
            λ; None for no decay.
        """
        return None

    def is_training(self, step: int) -> Tensor | None:
        """Say which copies still learn.

        Parameters
        ----------
        step : int
            Number of updates done before.

        Returns
        -------
        Tensor or None, shape (K,)
            1 or 0; None for all.
        """
        return None


def learning_rates(lr: float, steps: int) -> list[float]:
    """Return the schedule: linear warm-up over 20 steps times a cosine from 1 to 0.

    Parameters
    ----------
    lr : float
        Its largest value.
    steps : int
        Number of updates.

    Returns
    -------
    list of float
        One learning rate per update.
    """
    return [
        lr * 0.5 * (1 + math.cos(math.pi * t / steps)) * min(1.0, (t + 1) / WARM_UP) for t in range(steps)
    ]


class Model:
    """K networks with one hidden layer or none, and the recipe that says how they are trained.

    Parameters
    ----------
    params : dict of str to Tensor, shape (K, ...)
        Weights and biases by name, from :meth:`l2lab.networks.MLP.init`.
    extra : dict of str to Tensor
        From :meth:`Recipe.extra`.
    recipe : Recipe
        What the method changes.
    task : {"classification", "regression"}
        Decides the loss.
    """

    def __init__(self, params: Parameters, extra: Parameters, recipe: Recipe, task: str) -> None:
        self.params, self.extra, self.recipe, self.task = params, extra, recipe, task

    @property
    def trainable(self) -> Parameters:
        """All parameters by name."""
        return {**self.params, **self.extra}

    @property
    def weights(self) -> list[Tensor]:
        """Weights of the layers, without biases, first layer first."""
        return [value for name, value in self.params.items() if name.endswith("weight")]

    def effective(self, training: bool = False) -> Tensor:
        """Effective weights of the first layer.

        Parameters
        ----------
        training : bool
            True for those of one training step, if they are random.

        Returns
        -------
        Tensor, shape (K, units, p)
            Differentiable.
        """
        return self.recipe.first_weight(self.weights[0], self.extra, training)

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Tensor | None]:
        """Compute the outputs of all copies.

        Parameters
        ----------
        x : Tensor, shape (S, B, p)
            Inputs, the same for all copies of a seed.
        training : bool
            Whether the recipe may change inputs and activations.

        Returns
        -------
        outputs : Tensor, shape (K, B, o)
            Differentiable.
        hidden : Tensor or None, shape (K, units, B)
            Activations of the hidden units, if there are some.
        """
        biases = [value for name, value in self.params.items() if name.endswith("bias")]
        weight = self.effective(training)
        x = self.recipe.inputs(x) if training else x
        # copies that share their batch are stacked: one wide product per batch instead of many small ones
        first = weight.reshape(len(x), -1, weight.shape[2]) @ x.transpose(1, 2)
        h = first.view(*weight.shape[:2], -1) + biases[0][:, :, None]
        if len(biases) == 1:
            return h.transpose(1, 2), None
        h = h.relu()
        h = self.recipe.hidden(h) if training else h
        return torch.baddbmm(biases[1][:, :, None], self.weights[1], h).transpose(1, 2), h

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Sum over the copies of the mean loss on a batch, so that each gets its own gradient unscaled.

        Parameters
        ----------
        outputs : Tensor, shape (K, B, o)
            From :meth:`forward`.
        y : Tensor, shape (K, B)
            Targets.

        Returns
        -------
        Tensor
            A number.
        """
        if self.task == "regression":
            return 0.5 * (outputs[..., 0] - y).square().mean(1).sum()
        return F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]

    def part(self, copies: slice) -> Model:
        """Return some of the copies, for evaluation.

        Parameters
        ----------
        copies : slice
            Which of the K.

        Returns
        -------
        Model
            With their effective first layer written out, so that it no longer depends on the recipe.
        """
        params = {name: value[copies] for name, value in self.params.items()}
        params[next(iter(params))] = self.effective()[copies]
        return Model(params, {}, Recipe(), self.task)


def train(
    data: list[LearningData], budget: Budget, recipe: Recipe, starts: list[int], batch_seeds: list[int]
) -> list[Fit]:
    """Train T copies on each of S problems with a recipe.

    Parameters
    ----------
    data : list of LearningData, length S
        Problems of equal size; training rows are all that is used.
    budget : Budget
        Steps, batch size, learning rate.
    recipe : Recipe
        What the method changes; started and prepared.
    starts : list of int, length K
        Seeds of the initial weights.
    batch_seeds : list of int, length S
        Seeds of the minibatches.

    Returns
    -------
    list of Fit, length S
        T trained models for each problem.
    """
    sizes = (data[0].n_features, *((budget.hidden,) if budget.hidden else ()), data[0].n_outputs)
    params = MLP(sizes).init(starts, dtype=budget.dtype)
    model = Model(params, recipe.extra(data[0].n_features), recipe, data[0].task)
    for value in model.trainable.values():
        value.requires_grad_()
    X = torch.stack([torch.tensor(one.X_train, dtype=budget.dtype) for one in data])
    y = torch.stack([torch.tensor(one.y_train) for one in data])
    y = y.to(budget.dtype) if model.task == "regression" else y
    size = min(budget.batch_size, X.shape[1])
    batches = zip(*(minibatches(X.shape[1], size, budget.steps, seed) for seed in batch_seeds), strict=True)
    which = torch.arange(len(data))[:, None]
    names, values = list(model.trainable), list(model.trainable.values())
    moments = [torch.zeros_like(value) for value in values]
    squares = [torch.zeros_like(value) for value in values]
    adam = recipe.optimizer == "adamw"
    schedule = learning_rates(recipe.lr_factor * (budget.adam_lr if adam else budget.lr), budget.steps)
    first = model.weights[0]
    for step, (batch, lr) in enumerate(zip(batches, schedule, strict=True)):
        rows = torch.stack(batch)
        outputs, _ = model.forward(X[which, rows], training=True)
        grads = torch.autograd.grad(model.loss(outputs, recipe.per_copy(y[which, rows])), values)
        learns = recipe.is_training(step)
        with torch.no_grad():
            for name, value, grad, moment, square in zip(names, values, grads, moments, squares, strict=True):
                penalty = recipe.penalty_gradient(name, value, value is first)
                grad = grad if penalty is None else grad + penalty
                if adam:
                    moment.lerp_(grad, 1 - BETAS[0])
                    square.lerp_(grad.square(), 1 - BETAS[1])
                    if (decay := recipe.decay(name)) is not None:
                        value.mul_((1 - lr * decay).clamp(min=0))
                    scale = (square / (1 - BETAS[1] ** (step + 1))).sqrt_().add_(EPS)
                    update = moment / (1 - BETAS[0] ** (step + 1)) / scale
                else:
                    update = moment.mul_(MOMENTUM).add_(grad)
                if learns is not None:
                    update = update * learns.view(-1, *[1] * (value.ndim - 1))
                value.sub_(update, alpha=lr)
            recipe.after_step(model.weights, lr if adam else lr / (1 - MOMENTUM))
    for value in model.trainable.values():
        value.requires_grad_(False)
    T = len(recipe.strengths)
    strengths = recipe.strengths.numpy().astype(float)
    return [_fit(model.part(slice(s * T, (s + 1) * T)), strengths, budget.dtype) for s in range(len(data))]


def _fit(model: Model, strengths: np.ndarray, dtype: torch.dtype) -> Fit:
    def forward(X: np.ndarray) -> tuple[Tensor, Tensor | None]:
        return model.forward(torch.tensor(X, dtype=dtype)[None])

    def outputs(X: np.ndarray, trials: list[int]) -> np.ndarray:
        return forward(X)[0][trials].numpy()

    def unit_effects(X: np.ndarray, trial: int) -> np.ndarray:
        # a unit that never changes, because it is always off or its weights are 0, is only a bias
        return (forward(X)[1][trial].std(1, correction=0) * model.weights[1][trial].norm(dim=0)).numpy()

    return Fit(strengths, model.weights[0].numpy(), outputs, unit_effects if len(model.weights) > 1 else None)
