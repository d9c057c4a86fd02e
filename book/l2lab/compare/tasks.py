"""The tasks on which methods are compared: a problem per seed, a network, a budget, a metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import checks, data
from ..data import Problem


@dataclass(frozen=True)
class Budget:
    """What every method gets, and none may exceed.

    Parameters
    ----------
    n_trials, steps : int
        Models that a method trains, one per strength, of which validation chooses; updates of each model.
    batch_size, hidden : int
        Rows per minibatch, or all rows if there are fewer; units of the hidden layer, 0 for a linear model.
    lr, adam_lr : float
        Learning rates of SGD with momentum 0.9 and of AdamW, with a warm-up over 20 steps and a cosine to 0
        after it.
    dtype : torch.dtype
        Type of the arithmetic.
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
            checks.whole(name, getattr(self, name), least)
        for name in ("lr", "adam_lr"):
            checks.number(name, getattr(self, name), 0, math.inf, open_low=True)

    def as_dict(self) -> dict[str, Any]:
        """All fields, as they fit into a file."""
        return {**asdict(self), "dtype": str(self.dtype)}


Augment = Callable[[Tensor, float, torch.Generator], Tensor]


class LearningData:
    """What a method gets to see of a problem: training and validation rows, and no test rows.

    The arrays `X_train`, `y_train`, `X_valid` and `y_valid` are copies that cannot be written to: one method
    can neither reach the test rows through them nor leave changed data to the next one.

    Parameters
    ----------
    problem, augment : Problem, callable
        All of it; ``augment(x, strength, generator)`` changes a batch so that its labels still hold.
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


@dataclass(frozen=True)
class Task:
    """A problem that can be drawn anew for every seed, and what all methods use on it.

    Parameters
    ----------
    key, label : str
        Short name, used in result files; name in tables.
    problem : callable
        ``problem(seed)`` gives the :class:`~l2lab.data.Problem`. Column j must mean the same for every seed.
    settings : dict, optional
        Fields of the `common` :class:`~l2lab.compare.Budget` that differ here, for all methods:
        ``{"hidden": 0}`` makes the model linear.
    augment : callable, optional
        ``augment(problem)`` gives the `augment` of :class:`~l2lab.compare.LearningData`.
    """

    key: str
    label: str
    problem: Callable[[int], Problem]
    settings: dict[str, Any] = field(default_factory=dict)
    augment: Callable[[Problem], Augment] | None = None

    def budget(self, common: Budget) -> Budget:
        """Return the budget that is common to all tasks with the settings of this one."""
        return replace(common, **self.settings)


def _shift_digits(problem: Problem) -> Augment:
    """Move an image of 8 × 8 pixels by up to one in each direction; edges repeat, noise columns stay."""
    # The columns are centred one by one, so black is a different number in each of them: a centred image must
    # not be moved, only the picture that it stands for. Every pixel is black in some training image.
    black = torch.tensor(problem.X_train[:, :64].min(axis=0))

    def augment(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        zero = black.to(x.dtype)
        image = (x[:, :64] - zero).view(-1, 8, 8)
        moved = torch.rand(len(x), generator=generator) < strength
        by = torch.randint(-1, 2, (2, len(x), 1), generator=generator) * moved[:, None]
        place = (torch.arange(8) + by).clamp(0, 7)  # (2, B, 8): from which row and column
        rows = torch.arange(len(x))[:, None, None]
        image = image[rows, place[0][:, :, None], place[1][:, None, :]]
        return torch.cat([image.flatten(1) + zero, x[:, 64:]], dim=1)

    return augment


def _linear(**options: Any) -> Callable[[int], Problem]:
    """Linear problems with one truth for all seeds, y in units of its true standard deviation."""

    def problem(seed: int) -> Problem:
        made = data.sparse_regression(seed=seed, truth_seed=0, **options)
        # equal for all seeds, and without it one grid of strengths would not do for all tasks
        scale = made.noise["sigma"] * np.sqrt(1 + made.noise["snr"])
        splits = {key: (X, y / scale) for key, (X, y) in made.splits.items()}
        return replace(made, splits=splits, coef=made.coef / scale)

    return problem


# Small learning rates where columns are many and alike: there the loss is steep along their common direction.
# Batches that divide the rows: a last batch of a few rows is as steep.
_TASKS = [
    Task("linear_iid", "linear, 10 of 100 inputs", _linear(),
         {"hidden": 0, "lr": 0.05, "batch_size": 50}),
    Task("linear_ar", "linear, correlated, 10 of 100", _linear(rho=0.7),
         {"hidden": 0, "lr": 0.03, "batch_size": 50}),
    Task("linear_dense", "linear, all 100 inputs", _linear(n_true=100, coefs="normal"),
         {"hidden": 0, "lr": 0.05, "batch_size": 50}),
    Task("xor", "XOR, 2 of 50 inputs", lambda seed: data.xor(seed=seed)),
    Task("friedman", "Friedman, 5 of 100 inputs", lambda seed: data.friedman(seed=seed),
         {"lr": 0.05, "batch_size": 80}),
    Task("digits", "digits, 64 pixels + 64 noise", lambda seed: data.digits(noise_features=64, seed=seed),
         augment=_shift_digits),
    Task("breast_cancer", "breast cancer, 30 + 30 noise",
         lambda seed: data.breast_cancer(noise_features=30, seed=seed)),
    Task("wide", "breast cancer, 495 products, 120 rows",
         lambda seed: data.breast_cancer(120, degree=2, seed=seed, fractions=(0.4, 0.2, 0.4)),
         {"lr": 0.02, "batch_size": 60}),
]  # fmt: skip
TASKS: dict[str, Task] = {task.key: task for task in _TASKS}
