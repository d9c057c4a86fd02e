"""The methods that are compared, each a few lines around the common training loop."""

from __future__ import annotations

import importlib
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import f_classif, f_regression
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor

from ..data import Problem
from ..engine.descend import on_weights
from ..survival import (
    HALVINGS,
    LONGEST,
    PILOT_LAMS,
    SETTLED,
    lam_range,
    smallest_good,
    sparse_part,
    survival_scores,
)
from .recipe import Fit, Leaves, Recipe, row_losses, train
from .tasks import Budget, LearningData

# Methods that act on the first layer alone need a small decay of the others: a ReLU network can make its
# first layer smaller and its second one larger without changing its function, and so escape the penalty.
BASE_DECAY = 1e-3
STG_SIGMA = 0.5
L1_SHARE = 0.5
# How a method ranks inputs: like the selector, see l2lab.select.
RANK_FOLDS, RANK_ALIVE = 5, 0.01
RANK_BUDGET = Budget(n_trials=12, batch_size=100)
RANK_ROUNDS, RANK_RAMP = 5, 0.5
# A network whose largest input is weaker than this has lost all of them.
RANK_LEAST = 1e-3


class Method(ABC):
    """A way to learn from training and validation rows, with one strength to choose.

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
        """Train ``budget.n_trials`` models.

        Parameters
        ----------
        data, budget : LearningData, Budget
            Training and validation rows, and what may be spent.
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
        data, budget, seeds : list of LearningData, Budget, list of int
            One problem per seed, and what may be spent on each.

        Returns
        -------
        list of Fit
            In the order of the seeds.
        """
        return [self.fit(one, budget, seed) for one, seed in zip(data, seeds, strict=True)]

    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, wanted: int | None = None) -> np.ndarray:
        """Rank the inputs, as a rival of :class:`l2lab.select.L2GateSelector`.

        Parameters
        ----------
        X, y : ndarray, shapes (n, p) and (n,)
            Standardized inputs; class numbers 0, 1, …, or standardized targets as floats.
        seed : int
            Draws whatever is random.
        wanted : int, optional
            So many inputs will be used. A method that leaves out the redundant ones, and so settles fewer,
            then looks for more.

        Returns
        -------
        ndarray, shape (p,)
            Scores; larger is better.
        """
        raise ValueError(f"{self.key!r} does not rank inputs")


Strengths = Callable[[Budget, LearningData], np.ndarray]


def _geometric(low: float, high: float) -> Strengths:
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
    needs : tuple of str
        See :class:`Method`.
    restarts : bool, default False
        Start every trial from other weights: how a method without a strength spends its trials.
    """

    def __init__(
        self,
        key: str,
        label: str,
        about: str,
        recipe: type[Recipe],
        grid: Strengths,
        needs: tuple[str, ...] = (),
        restarts: bool = False,
    ) -> None:
        super().__init__(key, label, about, needs)
        self.recipe, self.grid, self.restarts = recipe, grid, restarts
        self.has_strength = not restarts

    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        """Train all trials at once."""
        return self.fit_all([data], budget, [seed])[0]

    def fit_all(self, data: list[LearningData], budget: Budget, seeds: list[int]) -> list[Fit]:
        """Train all trials of all seeds at once."""
        return self._fit_at(self.grid(budget, data[0]), data, budget, seeds)

    def _fit_at(
        self,
        strengths: np.ndarray,
        data: list[LearningData],
        budget: Budget,
        seeds: list[int],
        ramp: float = 0.0,
    ) -> list[Fit]:
        tried = torch.as_tensor(strengths, dtype=budget.dtype)
        recipe = self.recipe().prepare(tried, data, budget, seeds)
        recipe.ramp = ramp
        # Trial 0 of a seed starts from the same weights with every method.
        apart = 10_000 if self.restarts else 0
        starts = [seed + apart * trial for seed in seeds for trial in range(len(tried))]
        return train(recipe, starts, seeds)

    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, wanted: int | None = None) -> np.ndarray:
        """Rank as the selector does, with this penalty for its gates: pilot, path on five folds, survival.

        A path whose sparse part predicts nothing is repeated with more steps. While more inputs are wanted
        than are settled, another round begins without these.
        """
        found, scores = self._survival(X, y, seed)
        settled, rounds = scores > SETTLED, 1
        while found and wanted is not None and settled.sum() < wanted and rounds < RANK_ROUNDS:
            left = np.flatnonzero(~settled)
            found, again = self._survival(X[:, left], y, seed)
            scores += 1
            scores[left], rounds = again, rounds + 1
            if not (again > SETTLED).any():
                break
            settled[left[again > SETTLED]] = True
        return scores / rounds

    def _survival(self, X: np.ndarray, y: np.ndarray, seed: int) -> tuple[bool, np.ndarray]:
        """Whether a path predicts rows that it has not seen, and the survival (p,) of each input."""
        split = KFold if y.dtype.kind == "f" else StratifiedKFold
        folds = list(split(RANK_FOLDS, shuffle=True, random_state=seed).split(X, y))
        least = min(len(rows) for rows, _ in folds)  # networks that are trained together have as many rows
        data = [_training_rows(X[rows[:least]], y[rows[:least]], y) for rows, _ in folds]
        task = data[0].task
        null = np.zeros(len(X))
        for rows, out in folds:
            null[out] = row_losses(_constant(y[rows], len(out), data[0]), y[out], task)
        steps = RANK_BUDGET.steps
        # no fold of one seed starts like a fold of another one
        starts = [int(state) for state in np.random.SeedSequence(seed).generate_state(RANK_FOLDS)]
        while True:
            budget, pilot = replace(RANK_BUDGET, steps=steps), replace(RANK_BUDGET, steps=steps // 2)
            strength = self._strengths(PILOT_LAMS, [_training_rows(X, y, y)], pilot, [seed])[0][:, 0]
            lams = np.geomspace(*lam_range(strength > RANK_ALIVE, len(X)), RANK_BUDGET.n_trials)
            strength, fits = self._strengths(lams, data, budget, starts)
            losses = np.zeros((len(lams), len(X)))
            for (_, out), fit in zip(folds, fits, strict=True):
                losses[:, out] = row_losses(fit.outputs(X[out], list(range(len(lams)))), y[out], task)
            sparse = sparse_part(strength > RANK_ALIVE)
            found = smallest_good(losses[sparse], null, np.full(len(X), 1 / len(X)), len(X))[1]
            if found or steps >= LONGEST * RANK_BUDGET.steps:
                early = np.stack([fit.early for fit in fits], axis=1).astype(np.float64)
                return found, survival_scores(strength, early, RANK_ALIVE).mean(0)
            steps *= 2

    def _strengths(
        self, lams: np.ndarray, data: list[LearningData], budget: Budget, seeds: list[int]
    ) -> tuple[np.ndarray, list[Fit]]:
        """Norms of the inputs as shares of the largest, (L, S, p), 0 where all have died; and the models."""
        for _ in range(HALVINGS + 1):
            fits = self._fit_at(lams, data, budget, seeds, RANK_RAMP)
            layers = np.stack([fit.first_layer for fit in fits], axis=1).astype(np.float64)
            norms = np.linalg.norm(layers, axis=2)
            if np.isfinite(norms).all():
                return norms / norms.max(axis=2, keepdims=True).clip(RANK_LEAST), fits
            budget = replace(budget, lr=budget.lr / 2)
        raise ValueError(f"{self.key!r} diverges even at lr = {2 * budget.lr:g}; look at the scale of y")


def _training_rows(X: np.ndarray, y: np.ndarray, all_y: np.ndarray) -> LearningData:
    """Rows of which nothing is held back; `all_y` holds every class."""
    n_classes = None if y.dtype.kind == "f" else int(all_y.max()) + 1
    task = "regression" if n_classes is None else "classification"
    splits = dict.fromkeys(("train", "valid", "test"), (X, y))
    return LearningData(Problem("rows", task, splits, tuple(map(str, range(X.shape[1]))), n_classes))


def _constant(y: np.ndarray, n: int, data: LearningData) -> np.ndarray:
    """Outputs (n, o) of the best constant: the mean, or the logarithms of the classes' frequencies."""
    if data.task == "regression":
        return np.full((n, 1), y.mean())
    return np.tile(np.log(np.bincount(y, minlength=data.n_outputs) + 1), (n, 1))


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
    """The penalty acts on the first layer only; the second one gets its small decay."""

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
            noise = self._draw(torch.randn, len(self.strengths), *mu.shape[1:]).flatten(0, 1)
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

    def hidden(self, units: Tensor) -> Tensor:
        """Drop a share of the values, which keeps their expectation."""
        keep = _shaped(1 - self.lam)
        draws = self._draw(torch.rand, len(self.strengths), *units.shape[1:]).flatten(0, 1)
        return units * (draws < keep) / keep

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        """Drop the inputs of a linear model."""
        return super().forward(params, self.hidden(self._per_copy(x)) if self.linear else x)


class InputNoise(Recipe):
    """Add normal noise with standard deviation σ to every input of every batch."""

    def forward(self, params: Leaves, x: Tensor) -> Tensor:
        """Add noise, the same draw times each σ."""
        noise = self._per_copy(self._draw(torch.randn, *x.shape[1:]))
        return super().forward(params, self._per_copy(x) + _shaped(self.lam) * noise)


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


class TopInputs(_FirstLayerOnly):
    """Rank the inputs first, then train on the best k of them; k is the strength. Here by the F statistic."""

    @staticmethod
    def score(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
        """Score each input alone; constant columns score 0."""
        varies = np.ptp(X, axis=0) > 0
        scores = np.zeros(X.shape[1])
        scores[varies] = (f_regression if y.dtype.kind == "f" else f_classif)(X[:, varies], y)[0]
        return scores

    def prepare(
        self, strengths: Tensor, data: list[LearningData], budget: Budget, seeds: list[int]
    ) -> Recipe:
        """Rank the inputs of every problem."""
        super().prepare(strengths, data, budget, seeds)
        scores = [self.score(one.X_train, one.y_train, seed) for one, seed in zip(data, seeds, strict=True)]
        ranks = np.argsort(np.argsort(-np.stack(scores), axis=1, kind="stable"), axis=1)  # 0 is the best
        ranks = torch.as_tensor(ranks, dtype=self.lam.dtype)[:, None, :]
        self.mask = (self._per_copy(ranks) < _shaped(self.lam)).to(self.lam.dtype)
        return self

    def first_layer(self, params: Leaves, training: bool = False) -> Tensor:
        """Keep the best k inputs."""
        return params["0.weight"] * self.mask


class TopForestInputs(TopInputs):
    """The same, ranked by the impurity importance of a random forest of 200 trees."""

    @staticmethod
    def score(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
        """Grow the forest on the training rows."""
        forest = RandomForestRegressor if y.dtype.kind == "f" else RandomForestClassifier
        return forest(200, random_state=seed, n_jobs=1).fit(X, y).feature_importances_


class _FilterMethod(NetworkMethod):
    """A network method whose recipe, a :class:`TopInputs`, ranks the inputs beforehand."""

    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, wanted: int | None = None) -> np.ndarray:
        """Give the scores of the recipe."""
        return self.recipe.score(X, y, seed)


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
        super().__init__("lassonet", "LassoNet", f"λ of its path, {seconds:g} s of CPU time", ("units",))
        self.seconds, self.settings = seconds, settings

    def _model(self, task: str, hidden: int, seed: int) -> Any:
        """The package's estimator, if there is the package: no chapter needs it to run."""
        try:
            lassonet = importlib.import_module("lassonet")
        except ImportError as error:
            raise ImportError(
                "the method 'lassonet' needs a package: run `pip install lassonet`, or leave the method out"
            ) from error
        kind = lassonet.LassoNetRegressor if task == "regression" else lassonet.LassoNetClassifier
        settings = {"hidden_dims": (hidden,), "verbose": 0, "device": "cpu", **self.settings}
        return kind(torch_seed=seed, random_state=seed, **settings)

    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, wanted: int | None = None) -> np.ndarray:
        """Score an input by the largest λ that leaves it in, on one path without a time limit."""
        net = self._model("regression" if y.dtype.kind == "f" else "classification", RANK_BUDGET.hidden, seed)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            net.path(X.astype(np.float32), y.copy())
        return net.feature_importances_.double().numpy()

    def fit(self, data: LearningData, budget: Budget, seed: int) -> Fit:
        """Train along the path; an ImportError says that the package is not installed."""
        net = self._model(data.task, budget.hidden, seed)
        start, seen = time.process_time(), []

        def callback(model: Any, history: list[Any]) -> None:
            seen[:] = history
            if time.process_time() - start > self.seconds:
                raise _SpentError

        X_train, X_valid = (X.astype(np.float32) for X in (data.X_train, data.X_valid))
        rows = {"X": X_train, "y": data.y_train.copy(), "X_val": X_valid, "y_val": data.y_valid.copy()}
        complete = True
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*might be too large")
            try:
                net.path(**rows, return_state_dicts=True, callback=callback)
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

        states = [item.state_dict for item in path]
        first = torch.stack([torch.cat([s["skip.weight"], s["layers.0.weight"]]) for s in states])
        notes = {"path_complete": complete, "path_length": len(seen)}
        return Fit(np.array([item.lambda_ for item in path]), first.numpy(), outputs, unit_effects, notes)


# ---- the list ----------------------------------------------------------------------------------------------


def _restarts(budget: Budget, data: LearningData) -> np.ndarray:
    return np.arange(budget.n_trials, dtype=float)


def _stopping_times(budget: Budget, data: LearningData) -> np.ndarray:
    return np.geomspace(min(10, budget.steps), budget.steps, budget.n_trials).round()


def _counts(budget: Budget, data: LearningData) -> np.ndarray:
    return np.geomspace(1, data.n_features, budget.n_trials).round()


def _methods() -> list[Method]:
    N, F = NetworkMethod, _FilterMethod
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
          _geometric(1e-3, 0.5), needs=("units",)),
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
          _geometric(0.02, 1.0), needs=("augment",)),
        N("early", "early stopping", "number of updates", EarlyStopping, _stopping_times),
        N("max_norm", "max-norm", "largest norm of a unit's weights", MaxNorm, _geometric(0.1, 4.0)),
        F("univariate", "univariate F, then network", "number of inputs kept", TopInputs, _counts),
        F("forest", "forest importance, then network", "number of inputs kept", TopForestInputs, _counts),
    ]  # fmt: skip


METHODS: dict[str, Method] = {method.key: method for method in _methods()}
