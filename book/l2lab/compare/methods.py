"""The methods that are compared, each a few lines around the common training loop."""

from __future__ import annotations

import importlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import f_classif, f_regression
from torch import Tensor

from ..engine import on_weights
from .recipe import Fit, Leaves, Recipe, first_units, outputs_of, train
from .tasks import Budget, LearningData

# Methods that act on the first layer alone need a small decay of the others: a ReLU network can make its
# first layer smaller and its second one larger without changing its function, and so escape the penalty.
BASE_DECAY = 1e-3
STG_SIGMA = 0.5
L1_SHARE = 0.5


class Method(ABC):
    """A way to learn from training and validation rows, with one strength to choose.

    Parameters
    ----------
    key : str
        Short name, used in result files.
    label : str
        Name in tables.
    about : str
        What the strength is and what it acts on.
    """

    has_strength = True

    def __init__(self, key: str, label: str, about: str) -> None:
        self.key, self.label, self.about = key, label, about

    def __repr__(self) -> str:
        return f"Method({self.key}: {self.about})"

    def applies(self, data: LearningData, budget: Budget) -> bool:
        """Tell whether the method makes sense for these data and this network.

        Parameters
        ----------
        data : LearningData
            The problem.
        budget : Budget
            Says how many hidden units there are.

        Returns
        -------
        bool
            False leaves it out.
        """
        return True

    @abstractmethod
    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        """Train ``budget.n_trials`` models.

        Parameters
        ----------
        data : LearningData
            Training and validation rows.
        budget : Budget
            What may be spent.
        seed : int
            Seed of weights, minibatches and the method's own random numbers.

        Returns
        -------
        Fit
            One model per trial.
        """

    def fit_all(self, data: list[LearningData], budget: Budget, seeds: list[int]) -> list[Fit]:
        """Do the same for several seeds: one by one, unless a method can do it at once.

        What is learned for one seed must not depend on the rows of another one, which may be its test rows.

        Parameters
        ----------
        data : list of LearningData, length S
            One problem per seed.
        budget : Budget
            What may be spent on each.
        seeds : list of int, length S
            Seeds.

        Returns
        -------
        list of Fit, length S
            In the order of the seeds.
        """
        return [self.fit(one, budget, seed) for one, seed in zip(data, seeds, strict=True)]


Grid = Callable[[Budget, LearningData], np.ndarray]


def _geometric(low: float, high: float) -> Grid:
    return lambda budget, data: np.geomspace(low, high, budget.n_trials)


class NetworkMethod(Method):
    """A method that is a recipe for the common training loop.

    Parameters
    ----------
    key, label, about : str
        See :class:`Method`.
    recipe : type
        Class of the :class:`~l2lab.compare.Recipe`.
    grid : callable
        ``grid(budget, data)`` gives the strengths, an array (n_trials,).
    restarts : bool, default False
        Start every trial from other weights: how a method without a strength spends its trials.
    needs_augment : bool, default False
        The method applies only to data that say how to change a row.
    needs_units : bool, default False
        The method applies only to networks with a hidden layer.
    """

    def __init__(
        self,
        key: str,
        label: str,
        about: str,
        recipe: type[Recipe],
        grid: Grid,
        *,
        restarts: bool = False,
        needs_augment: bool = False,
        needs_units: bool = False,
    ) -> None:
        super().__init__(key, label, about)
        self.recipe, self.grid = recipe, grid
        self.restarts, self.needs_augment, self.needs_units = restarts, needs_augment, needs_units
        self.has_strength = not restarts

    def applies(self, data: LearningData, budget: Budget) -> bool:
        """Tell whether the method makes sense here; see :class:`Method`."""
        return (data.augment is not None or not self.needs_augment) and (
            budget.hidden > 0 or not self.needs_units
        )

    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        """Train all trials at once; see :class:`Method`."""
        return self.fit_all([data], budget, [seed])[0]

    def fit_all(self, data: list[LearningData], budget: Budget, seeds: list[int]) -> list[Fit]:
        """Train all trials of all seeds at once; see :class:`Method`."""
        strengths = torch.as_tensor(self.grid(budget, data[0]), dtype=budget.dtype)
        recipe = self.recipe().prepare(strengths, data, budget, seeds)
        # Trial 0 of a seed starts from the same weights with every method.
        apart = 10_000 if self.restarts else 0
        starts = [seed + apart * trial for seed in seeds for trial in range(len(strengths))]
        return train(recipe, starts, seeds)


# ---- penalties ---------------------------------------------------------------------------------------------


def _shaped(lam: Tensor) -> Tensor:
    """(K,) numbers that multiply (K, o, i)."""
    return lam[:, None, None]


class L2(Recipe):
    """Penalize λ/2·‖w‖² on all weights, in the gradient."""

    def decay(self, params: Leaves) -> Leaves:
        """λ on all weights."""
        return on_weights(params, self.lam)


class AdamWDecay(L2):
    """Decoupled decay of all weights, apart from the gradient."""

    optimizer = "adamw"


class L1Subgradient(Recipe):
    """Penalize ``λ·|w|`` on all weights by the subgradient λ·sign(w), which autograd takes for it."""

    def loss(self, params: Leaves, x: Tensor, y: Tensor) -> Tensor:
        """Add the penalty to the loss."""
        return super().loss(params, x, y) + sum(
            lam * params[name].abs().sum((1, 2)) for name, lam in on_weights(params, self.lam).items()
        )


class L1Proximal(Recipe):
    """Penalize ``λ·|w|`` on all weights, by soft thresholding after each update.

    The threshold is λ·lr / (1 − momentum): only then do the points where training rests satisfy the
    conditions of the lasso, since a constant gradient moves a weight by lr / (1 − momentum) times itself.
    """

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        """Soft thresholding."""
        most = _shaped(lr * self.lam)
        for weight in weights:
            # the amount beyond the threshold keeps its sign, all else becomes exactly 0
            weight.sub_(torch.clamp(weight, -most, most))


class ElasticNet(L1Proximal):
    """Penalize ``λ·(½·|w| + ¼·w²)`` on all weights: half as L1 by its proximal step, half as L2."""

    def decay(self, params: Leaves) -> Leaves:
        """The L2 part."""
        return on_weights(params, (1 - L1_SHARE) * self.lam)

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        """Soft thresholding with the L1 part."""
        super().after_step(weights, lr * L1_SHARE)


class _FirstLayerOnly(Recipe):
    """Gives the layer after the first one its small decay."""

    def decay(self, params: Leaves) -> Leaves:
        return {} if self.linear else {"2.weight": torch.full_like(self.lam, BASE_DECAY)}


def _shrink_groups(weight: Tensor, threshold: Tensor, dim: int) -> None:
    norms = weight.norm(dim=dim, keepdim=True)
    weight.mul_((1 - threshold / norms.clamp_min(1e-30)).clamp_min(0))


class GroupLassoInputs(_FirstLayerOnly):
    """Penalize λ·Σ_j‖w_j‖ over the columns of the first layer, one per input, by its proximal step."""

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        """Shorten every column."""
        _shrink_groups(weights[0], _shaped(lr * self.lam), dim=1)


class GroupLassoUnits(_FirstLayerOnly):
    """Penalize λ·Σ_k‖w_k‖ over the rows of the first layer, one per unit, by its proximal step."""

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        """Shorten every row."""
        _shrink_groups(weights[0], _shaped(lr * self.lam), dim=2)


class L2Gates(_FirstLayerOnly):
    """Penalize λ/2·‖·‖² on the first layer and on gates that its inputs are multiplied with.

    With one gate per input the penalty is, once both factors are in balance, a group lasso on the inputs;
    with two gates it is the ⅔-th power of the norm.
    """

    gates: tuple[str, ...] = ("gate0",)

    def parameters(self, starts: list[int]) -> Leaves:
        """Gates of 1 besides the weights."""
        params = super().parameters(starts)
        ones = torch.ones_like(params["0.weight"][:, :1])
        return params | {name: ones.clone() for name in self.gates}

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        """Multiply weights and gates."""
        return math.prod((params[name] for name in self.gates), start=params["0.weight"])

    def decay(self, params: Leaves) -> Leaves:
        """λ on the first layer and the gates."""
        return super().decay(params) | dict.fromkeys(("0.weight", *self.gates), self.lam)


class L2TwoGates(L2Gates):
    """The same with two gates per input: three factors."""

    gates = ("gate0", "gate1")


class StochasticGates(Recipe):
    """Gates clip(μ + ½ε, 0, 1) with normal ε, drawn once per step; λ·ΣP(gate > 0) is penalized (STG)."""

    def parameters(self, starts: list[int]) -> Leaves:
        """Centres μ besides the weights, ½ at the start."""
        params = super().parameters(starts)
        return params | {"mu": torch.full_like(params["0.weight"][:, :1], 0.5)}

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        """Multiply with random gates in training, with clip(μ, 0, 1) afterwards."""
        mu = params["mu"]
        if training:
            noise = self.draw(torch.randn, len(self.strengths), *mu.shape[1:]).flatten(0, 1)
            mu = mu + STG_SIGMA * noise
        return params["0.weight"] * mu.clamp(0, 1)

    def decay(self, params: Leaves) -> Leaves:
        """Give all weights their small decay."""
        return on_weights(params, torch.full_like(self.lam, BASE_DECAY))

    def loss(self, params: Leaves, x: Tensor, y: Tensor) -> Tensor:
        """Add the expected number of open gates."""
        is_open = torch.special.ndtr(params["mu"] / STG_SIGMA)
        return super().loss(params, x, y) + self.lam * is_open.sum((1, 2))


# ---- noise, stopping, constraints --------------------------------------------------------------------------


class Dropout(Recipe):
    """Set hidden activations to 0 with probability q, and divide the others by 1 − q.

    A linear model has no hidden units; there the inputs are dropped.
    """

    def drop(self, values: Tensor) -> Tensor:
        """Drop a share of the values.

        Parameters
        ----------
        values : Tensor, shape (K, a, b)
            Inputs or activations.

        Returns
        -------
        Tensor, shape (K, a, b)
            With the same expectation.
        """
        keep = _shaped(1 - self.lam)
        draws = self.draw(torch.rand, len(self.strengths), *values.shape[1:]).flatten(0, 1)
        return values * (draws < keep) / keep

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        """Drop inputs of a linear model, else hidden activations."""
        if self.linear:
            return super().forward(params, self.drop(self.per_copy(x)))
        return outputs_of(params, self.drop(first_units(params["0.weight"], params["0.bias"], x).relu()))


class InputNoise(Recipe):
    """Add normal noise with standard deviation σ to every input of every batch."""

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        """Add noise, the same draw times each σ."""
        noise = self.per_copy(self.draw(torch.randn, *x.shape[1:]))
        return super().forward(params, self.per_copy(x) + _shaped(self.lam) * noise)


class Augmentation(Recipe):
    """Change each row, with the probability that is the strength, in a way that keeps its label."""

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        """Change the batch of every copy."""
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
        """Hold the copies whose time has come."""
        self.done += 1
        self.lr[self.lam <= self.done] = 0


class MaxNorm(Recipe):
    """After each update, shorten the incoming weights of every unit to the length c, if they are longer."""

    def after_step(self, weights: list[Tensor], lr: float) -> None:
        """Project."""
        for weight in weights:
            norms = weight.norm(dim=2, keepdim=True).clamp_min(1e-30)
            weight.mul_((_shaped(self.lam) / norms).clamp(max=1))


# ---- reference: rank first, then train on the best --------------------------------------------------------


def univariate_scores(data: LearningData, seed: int) -> np.ndarray:
    """Score each input alone by its F statistic on the training rows.

    Parameters
    ----------
    data : LearningData
        The problem.
    seed : int
        Not used: the score is not random.

    Returns
    -------
    ndarray, shape (p,)
        Larger is better; constant columns score 0.
    """
    score = f_regression if data.task == "regression" else f_classif
    varies = np.ptp(data.X_train, axis=0) > 0
    scores = np.zeros(data.n_features)
    scores[varies] = score(data.X_train[:, varies], data.y_train)[0]
    return scores


def forest_scores(data: LearningData, seed: int) -> np.ndarray:
    """Score inputs by the impurity importance of a random forest of 200 trees, grown on the training rows.

    Parameters
    ----------
    data : LearningData
        The problem.
    seed : int
        Seed of the forest.

    Returns
    -------
    ndarray, shape (p,)
        Larger is better.
    """
    forest = RandomForestRegressor if data.task == "regression" else RandomForestClassifier
    return forest(200, random_state=seed, n_jobs=1).fit(data.X_train, data.y_train).feature_importances_


class TopInputs(_FirstLayerOnly):
    """Rank the inputs first, then train on the best k of them; k is the strength."""

    score: Callable[[LearningData, int], np.ndarray] = staticmethod(univariate_scores)

    def prepare(
        self, strengths: Tensor, data: list[LearningData], budget: Budget, seeds: list[int]
    ) -> Recipe:
        """Rank the inputs of every problem."""
        super().prepare(strengths, data, budget, seeds)
        scores = np.stack([self.score(one, seed) for one, seed in zip(data, seeds, strict=True)])
        ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)  # 0 is the best
        ranks = torch.as_tensor(ranks, dtype=self.lam.dtype)[:, None, :]
        self.mask = (self.per_copy(ranks) < _shaped(self.lam)).to(self.lam.dtype)
        return self

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        """Keep the best k inputs."""
        return params["0.weight"] * self.mask


class TopForestInputs(TopInputs):
    """The same, ranked by a random forest."""

    score = staticmethod(forest_scores)


# ---- LassoNet ----------------------------------------------------------------------------------------------


class _SpentError(Exception):
    """The time for a LassoNet path is over."""


class LassoNetMethod(Method):
    """LassoNet by its authors' package, at the settings that they recommend, within a time limit.

    These are the package's defaults (path multiplier 1.02, hierarchy M = 10, at most 1000 epochs for the
    dense model and 100 per λ, patience 100 and 10, Adam then SGD with their learning rates, whole batches);
    the number of hidden units is that of the other methods. Validation rows stop the training as the package
    wants it, and choose among `n_trials` models spread evenly over the path. A path that the limit cuts off
    is used as far as it came, and the notes say so.

    Parameters
    ----------
    seconds : float, default 60
        Limit in process CPU seconds for one path.
    **settings : object
        Other arguments of ``LassoNetClassifier``, to be reported with the result.

    References
    ----------
    I. Lemhadri, F. Ruan, L. Abraham and R. Tibshirani, "LassoNet: a neural network with feature sparsity",
    Journal of Machine Learning Research 22(127), 2021.
    """

    def __init__(self, seconds: float = 60.0, **settings: Any) -> None:
        super().__init__("lassonet", "LassoNet", f"λ of its path, {seconds:g} s of CPU time")
        self.seconds, self.settings = seconds, settings

    def applies(self, data: LearningData, budget: Budget) -> bool:
        """Tell whether there is a hidden layer, which LassoNet needs."""
        return budget.hidden > 0

    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        """Train along the path; see :class:`Method`.

        Raises
        ------
        ImportError
            If the package is not installed.
        """
        try:
            lassonet = importlib.import_module("lassonet")  # optional: no chapter needs it to run
        except ImportError as error:
            raise ImportError(
                "the method 'lassonet' needs a package: run `pip install lassonet`, or leave the method out"
            ) from error
        kind = lassonet.LassoNetRegressor if data.task == "regression" else lassonet.LassoNetClassifier
        settings = {"hidden_dims": (budget.hidden,), "verbose": 0, "device": "cpu", **self.settings}
        net = kind(torch_seed=seed, random_state=seed, **settings)
        start, seen = time.process_time(), []

        def callback(model: Any, history: list[Any]) -> None:
            seen[:] = history
            if time.process_time() - start > self.seconds:
                raise _SpentError

        X, X_valid = data.X_train.astype(np.float32), data.X_valid.astype(np.float32)
        complete = True
        with torch.random.fork_rng(devices=[]):
            try:
                net.path(
                    X,
                    data.y_train.copy(),
                    X_val=X_valid,
                    y_val=data.y_valid.copy(),
                    return_state_dicts=True,
                    callback=callback,
                )
            except _SpentError:
                complete = False
        chosen = np.unique(np.linspace(0, len(seen) - 1, budget.n_trials).round().astype(int))
        path = [seen[i] for i in np.resize(chosen, budget.n_trials)]

        def outputs(X: np.ndarray, trials: list[int]) -> np.ndarray:
            result = []
            for trial in trials:
                net.model.load_state_dict(path[trial].state_dict)
                net.model.eval()
                with torch.no_grad():
                    result.append(net.model(torch.tensor(X, dtype=torch.float32)).numpy())
            return np.stack(result)

        def unit_effects(X: np.ndarray, trial: int) -> np.ndarray:
            state = path[trial].state_dict
            x = torch.tensor(X, dtype=torch.float32)
            hidden = (x @ state["layers.0.weight"].T + state["layers.0.bias"]).relu()
            return (hidden.std(0, correction=0) * state["layers.1.weight"].norm(dim=0)).numpy()

        first = [
            torch.cat([item.state_dict["skip.weight"], item.state_dict["layers.0.weight"]]) for item in path
        ]
        return Fit(
            np.array([item.lambda_ for item in path]),
            torch.stack(first).numpy(),
            outputs,
            unit_effects,
            {"path_complete": complete, "path_length": len(seen)},
        )


# ---- the list ----------------------------------------------------------------------------------------------


def _restarts(budget: Budget, data: LearningData) -> np.ndarray:
    return np.arange(budget.n_trials, dtype=float)


def _stopping_times(budget: Budget, data: LearningData) -> np.ndarray:
    return np.geomspace(min(10, budget.steps), budget.steps, budget.n_trials).round()


def _counts(budget: Budget, data: LearningData) -> np.ndarray:
    return np.geomspace(1, data.n_features, budget.n_trials).round()


def _network_methods() -> list[NetworkMethod]:
    N = NetworkMethod
    return [
        N("none", "none (holdout alone)", "restart, chosen on the holdout rows", Recipe, _restarts,
          restarts=True),
        N("l2_sgd", "L2 (SGD)", "λ on all weights", L2, _geometric(1e-4, 1.0)),
        N("l2_adamw", "L2 (AdamW)", "decoupled λ on all weights", AdamWDecay, _geometric(3e-3, 30.0)),
        N("l1_sub", "L1, subgradient", "λ on all weights", L1Subgradient, _geometric(1e-4, 0.3)),
        N("l1_prox", "L1, proximal", "λ on all weights", L1Proximal, _geometric(1e-4, 0.3)),
        N("elastic", "elastic net", "λ on all weights, half of it L1", ElasticNet, _geometric(1e-4, 0.6)),
        N("group_inputs", "group lasso on inputs", "λ on the columns of the first layer", GroupLassoInputs,
          _geometric(1e-3, 0.5)),
        N("group_units", "group lasso on units", "λ on the rows of the first layer", GroupLassoUnits,
          _geometric(1e-3, 0.5), needs_units=True),
        N("gates2", "L2 on one gate per input", "λ on first layer and gates", L2Gates,
          _geometric(1e-3, 0.3)),
        N("gates3", "L2 on two gates per input", "λ on first layer and gates", L2TwoGates,
          _geometric(1e-3, 0.1)),
        N("stg", "stochastic gates", "λ on the probability of open gates", StochasticGates,
          _geometric(3e-4, 0.3)),
        N("dropout", "dropout", "probability, hidden units (inputs if linear)", Dropout,
          _geometric(0.05, 0.8)),
        N("input_noise", "input noise", "standard deviation", InputNoise, _geometric(0.02, 2.0)),
        N("augmentation", "data augmentation", "probability of a changed row", Augmentation,
          _geometric(0.02, 1.0), needs_augment=True),
        N("early", "early stopping", "number of updates", EarlyStopping, _stopping_times),
        N("max_norm", "max-norm", "largest norm of a unit's weights", MaxNorm, _geometric(0.1, 4.0)),
        N("univariate", "univariate F, then network", "number of inputs kept", TopInputs, _counts),
        N("forest", "forest importance, then network", "number of inputs kept", TopForestInputs, _counts),
    ]  # fmt: skip


METHODS: dict[str, Method] = {method.key: method for method in _network_methods()}
