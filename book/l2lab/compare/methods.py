"""The methods that are compared, each a few lines around the common training loop."""
# ruff: noqa: D102 (a recipe says it in its first line; what a method of it is for, says Recipe)

from __future__ import annotations

import importlib
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import f_classif, f_regression
from torch import Tensor

from ..engine.descend import on_weights
from .recipe import Fit, Leaves, Recipe, train
from .tasks import Budget, LearningData

# Methods that act on the first layer alone need a small decay of the others: a ReLU network can make its
# first layer smaller and its second one larger without changing its function, and so escape the penalty.
BASE_DECAY = 1e-3
STG_SIGMA = 0.5
L1_SHARE = 0.5


class Method(ABC):
    """A way to learn from training and validation rows, with one strength to choose.

    It trains on `data` within a `budget`, once for a `seed` or for several `seeds`; a seed draws weights,
    minibatches and the method's own random numbers.

    Parameters
    ----------
    key, label : str
        Short name, used in result files; name in tables.
    about : str
        What the strength is and what it acts on.
    needs : tuple of str
        What the task must have: ``"units"`` in a hidden layer, ``"augment"``.
    """

    has_strength = True

    def __init__(self, key: str, label: str, about: str, needs: tuple[str, ...] = ()) -> None:
        self.key, self.label, self.about, self.needs = key, label, about, needs

    def __repr__(self) -> str:
        return f"Method({self.key}: {self.about})"

    @abstractmethod
    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        """Train ``budget.n_trials`` models."""

    def fit_all(self, data: list[LearningData], budget: Budget, seeds: list[int]) -> list[Fit]:
        """Do the same for several seeds, each with its data: one by one, unless a method can do it at once.

        What is learned for one seed must not depend on the rows of another one, which may be its test rows.
        """
        return [self.fit(one, budget, seed) for one, seed in zip(data, seeds, strict=True)]


Strengths = Callable[[Budget, LearningData], np.ndarray]


def _three_decades(high: float) -> Strengths:
    return lambda budget, data: np.geomspace(high / 1000, high, budget.n_trials)


class NetworkMethod(Method):
    """A method that is a recipe for the common training loop.

    Parameters
    ----------
    key, label, about : str
        See :class:`Method`.
    recipe, grid : type, callable
        Class of the :class:`~l2lab.compare.Recipe`; ``grid(budget, data)`` gives the strengths (n_trials,).
    needs : tuple of str
        See :class:`Method`.
    restarts : bool, default False
        Start every trial from other weights: how a method without a strength spends its trials.
    """

    def __init__(
        self, key: str, label: str, about: str, recipe: type[Recipe], grid: Strengths,
        needs: tuple[str, ...] = (), restarts: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(key, label, about, needs)
        self.recipe, self.grid, self.restarts = recipe, grid, restarts
        self.has_strength = not restarts

    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        return self.fit_all([data], budget, [seed])[0]

    def fit_all(self, data: list[LearningData], budget: Budget, seeds: list[int]) -> list[Fit]:
        return train(self.recipe(), self.grid(budget, data[0]), data, budget, seeds, restarts=self.restarts)


# ---- penalties ---------------------------------------------------------------------------------------------


def _shaped(lam: Tensor) -> Tensor:
    """(K,) numbers that multiply (K, o, i)."""
    return lam[:, None, None]


class L2(Recipe):
    """Penalize λ/2·‖w‖² on all weights, in the gradient."""

    def decay(self, params: Leaves) -> Leaves:
        return on_weights(params, self.strength)


class AdamWDecay(L2):
    """Decoupled decay of all weights, apart from the gradient."""

    optimizer = "adamw"


class L1Subgradient(Recipe):
    """Penalize ``λ·|w|`` on all weights by the subgradient λ·sign(w), which autograd takes for it."""

    def loss(self, params: Leaves, x: Tensor, y: Tensor) -> Tensor:
        return super().loss(params, x, y) + sum(
            lam * params[name].abs().sum((1, 2)) for name, lam in on_weights(params, self.strength).items()
        )


class L1Proximal(Recipe):
    """Penalize ``λ·|w|`` on all weights, by soft thresholding after each update.

    The threshold is λ·lr / (1 − momentum): only then do the points where training rests satisfy the
    conditions of the lasso, since a constant gradient moves a weight by lr / (1 − momentum) times itself.
    """

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        most = _shaped(lr * self.strength)
        for weight in weights:
            # the amount beyond the threshold keeps its sign, all else becomes exactly 0
            weight.sub_(torch.clamp(weight, -most, most))


class ElasticNet(L1Proximal):
    """Penalize ``λ·(½·|w| + ¼·w²)`` on all weights: half as L1 by its proximal step, half as L2."""

    def decay(self, params: Leaves) -> Leaves:
        return on_weights(params, (1 - L1_SHARE) * self.strength)

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        super().after_step(weights, lr * L1_SHARE)


class _FirstLayerOnly(Recipe):
    """The penalty acts on the first layer only; the second one gets its small decay."""

    def decay(self, params: Leaves) -> Leaves:
        return {} if self.linear else {"2.weight": torch.full_like(self.strength, BASE_DECAY)}


def _shrink_groups(weight: Tensor, threshold: Tensor, dim: int) -> None:
    norms = weight.norm(dim=dim, keepdim=True)
    weight.mul_((1 - threshold / norms.clamp_min(1e-30)).clamp_min(0))


class GroupLassoInputs(_FirstLayerOnly):
    """Penalize λ·Σ_j‖w_j‖ over the columns of the first layer, one per input, by its proximal step."""

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        _shrink_groups(weights[0], _shaped(lr * self.strength), dim=1)


class GroupLassoUnits(_FirstLayerOnly):
    """Penalize λ·Σ_k‖w_k‖ over the rows of the first layer, one per unit, by its proximal step."""

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        _shrink_groups(weights[0], _shaped(lr * self.strength), dim=2)


class L2Gates(_FirstLayerOnly):
    """Penalize λ/2·‖·‖² on the first layer and on gates that its inputs are multiplied with.

    With one gate per input the penalty is, once both factors are in balance, a group lasso on the inputs;
    with two gates it is the ⅔-th power of the norm.
    """

    gates: tuple[str, ...] = ("gate0",)

    def parameters(self, starts: list[int]) -> Leaves:
        params = super().parameters(starts)
        ones = torch.ones_like(params["0.weight"][:, :1])
        return params | {name: ones.clone() for name in self.gates}

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        return math.prod((params[name] for name in self.gates), start=params["0.weight"])

    def decay(self, params: Leaves) -> Leaves:
        return super().decay(params) | dict.fromkeys(("0.weight", *self.gates), self.strength)


class L2TwoGates(L2Gates):
    """The same with two gates per input: three factors."""

    gates = ("gate0", "gate1")


class StochasticGates(Recipe):
    """Gates clip(μ + ½ε, 0, 1) with normal ε, drawn once per step; λ·ΣP(gate > 0) is penalized (STG)."""

    def parameters(self, starts: list[int]) -> Leaves:
        params = super().parameters(starts)
        return params | {"mu": torch.full_like(params["0.weight"][:, :1], 0.5)}

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        mu = params["mu"]
        if training:
            noise = self._draw(torch.randn, len(self.strengths), *mu.shape[1:]).flatten(0, 1)
            mu = mu + STG_SIGMA * noise
        return params["0.weight"] * mu.clamp(0, 1)

    def decay(self, params: Leaves) -> Leaves:
        return on_weights(params, torch.full_like(self.strength, BASE_DECAY))

    def loss(self, params: Leaves, x: Tensor, y: Tensor) -> Tensor:
        is_open = torch.special.ndtr(params["mu"] / STG_SIGMA)
        return super().loss(params, x, y) + self.strength * is_open.sum((1, 2))


# ---- noise, stopping, constraints --------------------------------------------------------------------------


class Dropout(Recipe):
    """Set hidden activations to 0 with probability q, and divide the others by 1 − q.

    A linear model has no hidden units; there the inputs are dropped.
    """

    def hidden(self, units: Tensor) -> Tensor:
        keep = _shaped(1 - self.strength)
        draws = self._draw(torch.rand, len(self.strengths), *units.shape[1:]).flatten(0, 1)
        return units * (draws < keep) / keep

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        return super().forward(params, self.hidden(self._per_copy(x)) if self.linear else x)


class InputNoise(Recipe):
    """Add normal noise with standard deviation σ to every input of every batch."""

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        noise = self._per_copy(self._draw(torch.randn, *x.shape[1:]))
        return super().forward(params, self._per_copy(x) + _shaped(self.strength) * noise)


class Augmentation(Recipe):
    """Change each row, with the probability that is the strength, in a way that keeps its label."""

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        changed = [
            one.augment(rows, float(q), generator)
            for rows, one, generator in zip(x, self.data, self.generators, strict=True)
            for q in self.strengths
        ]
        return super().forward(params, torch.stack(changed))


class EarlyStopping(Recipe):
    """Stop after so many updates: the strength. Validation chooses among the stopping times.

    The learning rate is a fifth of the other methods' one, because the time to stop is what is tuned: with
    large steps a network can be past its best time after a few of them.
    """

    lr_factor = 0.2
    done = 0

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        self.done += 1
        self.lr[self.strength <= self.done] = 0


class MaxNorm(Recipe):
    """After each update, shorten the incoming weights of every unit to the length c, if they are longer."""

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        for weight in weights:
            norms = weight.norm(dim=2, keepdim=True).clamp_min(1e-30)
            weight.mul_((_shaped(self.strength) / norms).clamp(max=1))


# ---- reference: rank first, then train on the best --------------------------------------------------------


class TopInputs(_FirstLayerOnly):
    """Rank the inputs first, then train on the best k of them; k is the strength. Here by the F statistic."""

    @staticmethod
    def score(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
        """Score each input alone; constant columns score 0."""
        varies = np.ptp(X, axis=0) > 0
        scores = np.zeros(X.shape[1])
        scores[varies] = (f_regression if y.dtype.kind == "f" else f_classif)(X[:, varies], y)[0]
        return scores

    def prepare(self, strengths: Tensor, data: list[LearningData], budget: Budget, seeds: list[int]) -> None:
        super().prepare(strengths, data, budget, seeds)
        scores = [self.score(one.X_train, one.y_train, seed) for one, seed in zip(data, seeds, strict=True)]
        ranks = np.argsort(np.argsort(-np.stack(scores), axis=1, kind="stable"), axis=1)  # 0 is the best
        ranks = torch.as_tensor(ranks, dtype=self.strength.dtype)[:, None, :]
        self.mask = (self._per_copy(ranks) < _shaped(self.strength)).to(self.strength.dtype)

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        return params["0.weight"] * self.mask


class TopForestInputs(TopInputs):
    """The same, ranked by the impurity importance of a random forest of 200 trees."""

    @staticmethod
    def score(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
        """Grow the forest on the training rows."""
        forest = RandomForestRegressor if y.dtype.kind == "f" else RandomForestClassifier
        return forest(200, random_state=seed, n_jobs=1).fit(X, y).feature_importances_


# ---- LassoNet ----------------------------------------------------------------------------------------------


def lassonet(task: str, hidden: int, seed: int, **settings: Any) -> Any:
    """Make the package's estimator, if there is the package: no chapter needs it to run."""
    try:
        package = importlib.import_module("lassonet")
    except ImportError as error:
        raise ImportError(
            "the method 'lassonet' needs a package: run `pip install lassonet`, or leave the method out"
        ) from error
    kind = package.LassoNetRegressor if task == "regression" else package.LassoNetClassifier
    settings = {"hidden_dims": (hidden,), "verbose": 0, "device": "cpu", **settings}
    return kind(torch_seed=seed, random_state=seed, **settings)


class LassoNetMethod(Method):
    """LassoNet by its authors' package and with its defaults, but for the number of hidden units.

    Validation rows stop the training as the package wants it, and choose among `n_trials` models spread
    evenly over the path. `settings` are other arguments of ``LassoNetClassifier``.

    I. Lemhadri, F. Ruan, L. Abraham and R. Tibshirani, "LassoNet: a neural network with feature sparsity",
    Journal of Machine Learning Research 22(127), 2021.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__("lassonet", "LassoNet", "λ of its path", ("units",))
        self.settings = settings

    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        net = lassonet(data.task, budget.hidden, seed, **self.settings)
        X_train, X_valid = (X.astype(np.float32) for X in (data.X_train, data.X_valid))
        rows = {"X": X_train, "y": data.y_train.copy(), "X_val": X_valid, "y_val": data.y_valid.copy()}
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*might be too large")
            path = net.path(**rows, return_state_dicts=True)
        chosen = np.unique(np.linspace(0, len(path) - 1, budget.n_trials).round().astype(int))
        path = [path[i] for i in np.resize(chosen, budget.n_trials)]
        states = [item.state_dict for item in path]

        def outputs(X: np.ndarray, trials: list[int]) -> np.ndarray:
            result = []
            for trial in trials:
                net.model.load_state_dict(states[trial])
                net.model.eval()
                with torch.no_grad():
                    result.append(net.model(torch.tensor(X, dtype=torch.float32)).numpy())
            return np.stack(result)

        def unit_effects(X: np.ndarray, trial: int) -> np.ndarray:
            state, x = states[trial], torch.tensor(X, dtype=torch.float32)
            hidden = (x @ state["layers.0.weight"].T + state["layers.0.bias"]).relu()
            return (hidden.std(0, correction=0) * state["layers.1.weight"].norm(dim=0)).numpy()

        first = torch.stack([torch.cat([s["skip.weight"], s["layers.0.weight"]]) for s in states])
        return Fit(np.array([item.lambda_ for item in path]), first.numpy(), outputs, unit_effects)


# ---- the list ----------------------------------------------------------------------------------------------


def _restarts(budget: Budget, data: LearningData) -> np.ndarray:
    return np.arange(budget.n_trials, dtype=float)


def _probabilities(budget: Budget, data: LearningData) -> np.ndarray:
    odds = _three_decades(20.0)(budget, data)  # the penalty on a linear model is proportional to q / (1 − q)
    return odds / (1 + odds)


def _stopping_times(budget: Budget, data: LearningData) -> np.ndarray:
    return np.geomspace(max(1, budget.steps / 1000), budget.steps, budget.n_trials).round()


def _counts(budget: Budget, data: LearningData) -> np.ndarray:
    return np.geomspace(1, data.n_features, budget.n_trials).round()


# Equal numbers of strengths are equally dense only if they span equally much.
_N, _G = NetworkMethod, _three_decades
_METHODS: list[Method] = [
    _N("none", "none (holdout alone)", "restart, chosen on the holdout rows", Recipe, _restarts,
      restarts=True),
    _N("l2_sgd", "L2 (SGD)", "λ on all weights", L2, _G(0.5)),
    _N("l2_adamw", "L2 (AdamW)", "decoupled λ on all weights", AdamWDecay, _G(50.0)),
    _N("l1_sub", "L1, subgradient", "λ on all weights", L1Subgradient, _G(0.15)),
    _N("l1_prox", "L1, proximal", "λ on all weights", L1Proximal, _G(0.15)),
    _N("elastic", "elastic net", "λ on all weights, half of it L1", ElasticNet, _G(0.3)),
    _N("group_inputs", "group lasso on inputs", "λ on the columns of the first layer", GroupLassoInputs,
      _G(0.5)),
    _N("group_units", "group lasso on units", "λ on the rows of the first layer", GroupLassoUnits,
      _G(0.7), needs=("units",)),
    _N("gates2", "L2 on one gate per input", "λ on first layer and gates", L2Gates, _G(0.3)),
    _N("gates3", "L2 on two gates per input", "λ on first layer and gates", L2TwoGates, _G(0.2)),
    _N("stg", "stochastic gates", "λ on the probability of open gates", StochasticGates, _G(0.1)),
    _N("dropout", "dropout", "probability, hidden units (inputs if linear)", Dropout, _probabilities),
    _N("input_noise", "input noise", "standard deviation", InputNoise, _G(10.0)),
    _N("augmentation", "data augmentation", "probability of a changed row", Augmentation, _G(1.0),
      needs=("augment",)),
    _N("early", "early stopping", "number of updates", EarlyStopping, _stopping_times),
    _N("max_norm", "max-norm", "largest norm of a unit's weights", MaxNorm, _G(30.0)),
    _N("univariate", "univariate F, then network", "number of inputs kept", TopInputs, _counts),
    _N("forest", "forest importance, then network", "number of inputs kept", TopForestInputs, _counts),
]  # fmt: skip
METHODS: dict[str, Method] = {method.key: method for method in _METHODS}
