"""The rivals of the selector, which rank inputs by ``rank(X, y, seed, wanted)``; larger scores are better.

`X` (n, p) holds standardized inputs, `y` class numbers 0, 1, …, or standardized targets as floats; `wanted`
is how many inputs will be used, which matters only to those that leave out the redundant ones.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
from sklearn.model_selection import KFold, StratifiedKFold

from .. import survival
from ..compare import Budget, Fit, LearningData, Recipe
from ..compare.methods import lassonet
from ..compare.recipe import row_losses, train
from ..data import Problem

__all__ = ["by_chance", "by_lassonet", "by_mutual_information", "by_survival"]

# Like the selector, see l2lab.select.
FOLDS, ALIVE, ROUNDS, RAMP = 5, 0.01, 5, 0.5
BUDGET = Budget(n_trials=12, batch_size=100)
# A network whose largest input is weaker than this has lost all of them.
LEAST = 1e-3
# Columns with so few values are categories for mutual information.
FEW_VALUES = 10


def by_mutual_information(X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    """Rank by scikit-learn's estimate of the mutual information of each input alone."""
    information = mutual_info_regression if y.dtype.kind == "f" else mutual_info_classif
    discrete = np.array([len(np.unique(column)) <= FEW_VALUES for column in X.T])
    return information(X, y, discrete_features=discrete, random_state=seed)


def by_chance(X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    """Rank by lot."""
    return np.random.default_rng([seed, 3]).random(X.shape[1])


def by_lassonet(X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    """Score an input by the largest λ that leaves it in, on one path."""
    net = lassonet("regression" if y.dtype.kind == "f" else "classification", BUDGET.hidden, seed)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        net.path(X.astype(np.float32), y.copy())
    return net.feature_importances_.double().numpy()


def by_survival(recipe: type[Recipe], X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    """Rank as the selector does, with this penalty for its gates: pilot, path on five folds, survival.

    A path whose sparse part predicts nothing is repeated with more steps. While more inputs are wanted than
    are settled, another round begins without these.
    """
    found, scores = _survival(recipe, X, y, seed)
    settled, rounds = scores > survival.SETTLED, 1
    while found and settled.sum() < wanted and rounds < ROUNDS:
        left = np.flatnonzero(~settled)
        found, again = _survival(recipe, X[:, left], y, seed)
        scores += 1
        scores[left], rounds = again, rounds + 1
        if not (again > survival.SETTLED).any():
            break
        settled[left[again > survival.SETTLED]] = True
    return scores / rounds


def _survival(recipe: type[Recipe], X: np.ndarray, y: np.ndarray, seed: int) -> tuple[bool, np.ndarray]:
    """Whether a path predicts rows that it has not seen, and the survival (p,) of each input."""
    split = KFold if y.dtype.kind == "f" else StratifiedKFold
    folds = list(split(FOLDS, shuffle=True, random_state=seed).split(X, y))
    least = min(len(rows) for rows, _ in folds)  # networks that are trained together have as many rows
    data = [_training_rows(X[rows[:least]], y[rows[:least]], y) for rows, _ in folds]
    task = data[0].task
    null = np.zeros(len(X))
    for rows, out in folds:
        null[out] = row_losses(_constant(y[rows], len(out), data[0]), y[out], task)
    steps = BUDGET.steps
    # no fold of one seed starts like a fold of another one
    starts = [int(state) for state in np.random.SeedSequence(seed).generate_state(FOLDS)]
    while True:
        budget, pilot = replace(BUDGET, steps=steps), replace(BUDGET, steps=steps // 2)
        strength = _strengths(recipe, survival.PILOT_LAMS, [_training_rows(X, y, y)], pilot, [seed])[0][:, 0]
        lams = np.geomspace(*survival.lam_range(strength > ALIVE, len(X)), BUDGET.n_trials)
        strength, fits = _strengths(recipe, lams, data, budget, starts)
        losses = np.zeros((len(lams), len(X)))
        for (_, out), fit in zip(folds, fits, strict=True):
            losses[:, out] = row_losses(fit.outputs(X[out], list(range(len(lams)))), y[out], task)
        sparse = survival.sparse_part(strength > ALIVE)
        found = survival.smallest_good(losses[sparse], null, np.full(len(X), 1 / len(X)), len(X))[1]
        if found or steps >= survival.LONGEST * BUDGET.steps:
            early = np.stack([fit.early for fit in fits], axis=1).astype(np.float64)
            return found, survival.survival_scores(strength, early, ALIVE).mean(0)
        steps *= 2


def _strengths(
    recipe: type[Recipe], lams: np.ndarray, data: list[LearningData], budget: Budget, seeds: list[int]
) -> tuple[np.ndarray, list[Fit]]:
    """Norms of the inputs as shares of the largest, (L, S, p), 0 where all have died; and the models."""
    for _ in range(survival.HALVINGS + 1):
        fits = train(recipe(), lams, data, budget, seeds, ramp=RAMP)
        layers = np.stack([fit.first_layer for fit in fits], axis=1).astype(np.float64)
        norms = np.linalg.norm(layers, axis=2)
        if np.isfinite(norms).all():
            return norms / norms.max(axis=2, keepdims=True).clip(LEAST), fits
        budget = replace(budget, lr=budget.lr / 2)
    raise ValueError(f"{recipe.__name__} diverges even at lr = {2 * budget.lr:g}; look at the scale of y")


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
