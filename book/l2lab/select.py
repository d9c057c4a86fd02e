"""Feature selection with weight decay alone.

Each input x_j is multiplied by D − 1 gates, with plain L2 on the gates and the first layer. At its minimum
over all factors with the same product the penalty (λ/2)(‖W_j‖² + Σ g²) is (λD/2)·‖W_j ∏ g‖^(2/D): for D ≥ 2
it has a spike at 0, so columns die, although the optimizer knows nothing but ``weight_decay``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from . import checks, runtime, survival
from .engine.gated import WIDE, GatedNetworks, GatedRecipe, Rows, groups_of

__all__ = ["L2GateSelector"]

# A column this far below the threshold for "alive" cannot come back and is no longer computed.
LOST = 1e-2
# Weight decay that a refit may use; the better one by cross-validation counts.
REFIT_DECAYS = (1e-3, 1e-2)
# Largest number of features that cross-validation tries.
REFIT_MOST = 256
# Whole numbers with more different values than this are a target and no classes.
MOST_CLASSES = 20
# With fewer observations a selection says nothing.
FEW_ROWS = 10
# Rows with equal inputs, so many for each fold, are a cell of discrete data, and not copies of one row.
CELL = 2


class _DivergedError(ValueError):
    """A run ended with numbers that are not finite."""

    def __init__(self, recipe: GatedRecipe) -> None:
        super().__init__(
            f"training diverged; use a smaller lr than {recipe.lr:g} or gate_lr than {recipe.gate_lr:g}"
        )


class _Path(NamedTuple):
    """What a path of L values of λ tells, in S folds."""

    end: np.ndarray  # relative strength of every feature at the end, (L, S, p)
    early: np.ndarray  # and early in the run, (L, S, p)
    losses: np.ndarray  # of each row, by the networks that have not seen it, (L, n)


class _Folds(NamedTuple):
    """Seeds of S folds, the share (S, n) of each row that they hold out, and the number of observations."""

    seeds: list[int]
    held_out: Tensor
    n_observed: float


def _path(
    data: Rows, recipe: GatedRecipe, lams: np.ndarray, folds: _Folds, lost: float,
    without: np.ndarray | None = None, enough: Callable[[np.ndarray], bool] | None = None,
) -> _Path:  # fmt: skip
    """Train the path; fold s does not see the features `without[s]` (S, p).

    The largest λ come first; once `enough` is true of the strengths (K, p) of a group, smaller λ are not
    trained: there every strength is 1.
    """
    seeds, held_out = folds.seeds, folds.held_out
    all_lams = torch.as_tensor(np.repeat(lams, len(seeds))).to(data.X)
    weights = _fold_weights(data, held_out)
    parts: list[Tensor] = []  # (2, models, p)
    losses = np.zeros((len(lams), data.n))
    for group in reversed(groups_of(len(all_lams), data.X.shape[1], recipe, data)):
        if enough is not None and parts and enough(parts[0][0].numpy()):
            parts.insert(0, torch.ones(2, int(group[-1]) + 1, data.X.shape[1]).to(parts[0]))
            break
        of_group = group % len(seeds)
        rows = torch.as_tensor(of_group, device=weights.device)
        kept_out = None if without is None else torch.as_tensor(without[of_group], device=weights.device)
        own = [seeds[s] for s in of_group]
        gates = GatedNetworks(data, recipe, all_lams[group], own, weights[rows], without=kept_out)
        gates.run(lost, watch=True)
        parts.insert(0, torch.stack([gates.relative(), gates.early]).cpu())
        if not torch.isfinite(parts[0]).all():
            raise _DivergedError(recipe)
        if len(seeds) > 1:
            each = _numpy(held_out[rows] * gates.losses(gates.X, data.targets))
            np.add.at(losses, group // len(seeds), each)
    end, early = torch.cat(parts, dim=1).view(2, len(lams), len(seeds), -1).double().numpy()
    return _Path(end, early, losses)


def _refit_losses(
    data: Rows, recipe: GatedRecipe, order: np.ndarray, sizes: list[int], folds: _Folds
) -> np.ndarray:
    """Loss (sizes, n) of each row when the network that did not see it is trained anew on the best features.

    `order` (S, p) are the features that each fold uses, best first. Of the `REFIT_DECAYS` the one that is
    best on average counts.
    """
    losses = np.zeros((len(sizes), len(REFIT_DECAYS), data.n))
    recipe = recipe._replace(depth=1, steps=max(1, recipe.steps // 2))
    weights, held_out = _fold_weights(data, folds.held_out), _numpy(folds.held_out)
    # Sizes of the same order of magnitude are trained together, on the columns that any of them needs.
    for part in np.array_split(np.arange(len(sizes)), max(1, len(sizes) // 6)):
        needed = np.unique(order[:, : sizes[part[-1]]])
        narrow = Rows(data.X[:, needed].contiguous(), data.targets, data.weight, data.classes)
        jobs = [(i, j, s) for i in part for j in range(len(REFIT_DECAYS)) for s in range(len(order))]
        masks = np.stack([np.isin(needed, order[s, : sizes[i]]) for i, _, s in jobs])
        masks = torch.as_tensor(masks).to(data.X)
        for group in groups_of(len(jobs), len(needed), recipe, data):
            chosen = [jobs[k] for k in group]
            own = [s for *_, s in chosen]
            gates = GatedNetworks(
                narrow, recipe, masks.new_zeros(len(chosen)), [folds.seeds[s] for s in own], weights[own],
                mask=masks[group], outer_decay=masks.new_tensor([REFIT_DECAYS[j] for _, j, _ in chosen]),
            )  # fmt: skip
            gates.run()
            for (i, j, s), value in zip(chosen, _numpy(gates.losses(narrow.X, data.targets)), strict=True):
                rows = held_out[s] > 0
                losses[i, j, rows] += held_out[s, rows] * value[rows]
    return losses[np.arange(len(sizes)), (losses @ _share(data)).argmin(1)]


def _fold_weights(data: Rows, held_out: Tensor) -> Tensor:
    """Weights (S, n) with mean 1 that leave out the share `held_out` (S, n) of each row, fold by fold."""
    weights = data.weight * (1 - held_out)
    return weights / weights.mean(1, keepdim=True)


def _null_losses(data: Rows, held_out: Tensor) -> np.ndarray:
    """Loss (n,) of each row by the mean of the others, or by the frequencies of their classes."""
    kept = _numpy(data.weight * (1 - held_out))  # (S, n)
    targets, out = _numpy(data.targets), _numpy(held_out)
    if data.classes:  # one row more of each class: none has probability 0
        frequency = (kept @ targets.T + 1) / (kept.sum(1, keepdims=True) + len(targets))
        each = -np.log(frequency) @ targets
    else:
        each = 0.5 * (kept @ targets.T / kept.sum(1, keepdims=True) - targets) ** 2
    return (out * each).sum(0)


def _numpy(values: Tensor) -> np.ndarray:
    return values.cpu().double().numpy()


def _share(data: Rows) -> np.ndarray:
    """Weight of each row in a mean, (n,)."""
    return _numpy(data.weight) / data.n


def _folds_of(y: np.ndarray, n_folds: int, classes: bool, rng: np.random.RandomState) -> np.ndarray:
    """Draw the fold of each row, (n,); every class is spread evenly over the folds."""
    shuffled = rng.permutation(len(y))
    if classes:
        shuffled = shuffled[np.argsort(y[shuffled], kind="stable")]
    folds = np.empty(len(y), dtype=int)
    folds[shuffled] = np.arange(len(y)) % n_folds
    return folds


def _held_out(
    folds: np.ndarray, weight: np.ndarray, cell: np.ndarray, n_folds: int, grouped: bool
) -> tuple[np.ndarray, float]:
    """Share (S, n) of each row that a fold holds out, and how many observations there are.

    Rows of a cell, which have equal inputs (or one group), must not be parted: a network that has seen one
    label of a cell and is judged on the other would learn the opposite of the truth. A few rows go into one
    fold together. Where a cell is large, as in discrete data, every fold holds out an equal share of it.
    """
    first = np.unique(cell, return_index=True)[1]
    held_out = (folds[first][cell] == np.arange(n_folds)[:, None]).astype(float)
    large = (np.bincount(cell, weight) >= CELL * n_folds)[cell] & (not grouped)
    held_out[:, large] = 1 / n_folds
    return held_out, float(np.where(large, weight, 1.0).sum())


def _merge(X: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Let equal rows be one with their number as its weight; return X, y, weight and the cell of each row.

    A cell are the rows with equal inputs, or of one group.
    """
    parts = [X, y] if groups is None else [X, y, groups]
    _, first, weight = np.unique(np.column_stack(parts), axis=0, return_index=True, return_counts=True)
    kind = X[first] if groups is None else groups[first, None]
    cell = np.unique(kind, axis=0, return_inverse=True)[1].reshape(-1)
    return X[first], y[first], weight.astype(np.float64), cell


class L2GateSelector(SelectorMixin, BaseEstimator):
    """Select features by weight decay on input gates.

    A network whose inputs pass through `depth` − 1 gates each is trained by SGD with momentum and plain
    weight decay λ on its first layer and the gates, for a whole path of λ and for several folds of the data,
    all in one batched sweep. A feature is alive while ``‖W_j‖·|∏ g|`` is above 1 % (`threshold`) of the
    largest, or of its initial level if all are small. Its score is the share of λ values and folds that it
    survives, where λ is so large that few features do: a stability selection that costs nothing extra, since
    each fold is one more copy on the batch axis. Features that survive none of these, often because others
    tell the same, are ordered by their strength early in the run, before λ is in force.

    Where no sparse network of the path predicts the rows that its fold has held out, the path is repeated
    with twice as many steps. And where more features are wanted than the path has settled, because many tell
    the same, another round begins without the settled ones (`rounds`).

    By default the number of features is found by cross-validation: for each fold, networks without gates are
    trained anew on its 1, 2, 3, … best features and judged on the rows that neither they nor their ranking
    have seen. (Only standardization and the range of λ come from all rows.) The smallest number within one
    standard error of the best wins, unless the best is no better than no feature at all, by two standard
    errors: then none is selected. The ranking of one fold is noisy, and a noisy ranking asks for too many
    features; so the same is done with the ranking by all folds, and if that asks for fewer, it is heard.

    Parameters
    ----------
    n_features_to_select : int, optional
        How many features to keep.
    depth : int, default 3
        Number D ≥ 2 of factors of each first-layer column: the column and D − 1 gates. 2 is the group lasso;
        3 or 4 select more sharply.
    hidden : int, default 32
        Units of the hidden layer.
    task : {"auto", "classification", "regression"}
        ``"auto"``: regression if `y` holds numbers that are not all whole, or more than 20 different ones.
    n_lams, n_folds, rounds : int
        Length of the path of λ; number of folds, at least 2; rounds at most.
    threshold : float, default 0.01
        Below this share of the largest strength a feature is dead. Survivors and dead are usually decades
        apart, so its value matters little; exact zeros are only approached.
    steps, batch_size : int
        Updates of each network, and rows of each (all if there are fewer). Too few updates cannot kill: see
        `l2lab.budget`.
    lr, gate_lr : float
        Learning rate, with a cosine schedule, and the factor on it for the gates.
    device : str or torch.device, optional
        Default `l2lab.runtime.pick_device`.
    random_state : int, RandomState or None
        Draws folds, initial weights and batches.

    Attributes
    ----------
    scores_ : ndarray of float, shape (p,)
        Share of the folds and of the sparse part of the path (the λ at which on average at most a fifth of
        the features live, or five of them) that each feature survives. Ties are broken by the strength at the
        end and early in the run, so that a score may exceed 1 by less than one step of the path in one fold.
        After R rounds a feature that was settled in round r has (R − r + its share then) / R.
    support_ : ndarray of bool, shape (p,)
        The selected features; constant columns never are.
    lambda_path_ : ndarray, shape (L,)
        The λ values, increasing.
    survival_path_, support_path_ : ndarray, shape (L, p)
        In the first round: share of the folds in which a feature is alive, and whether it is at least half.
    lam_ : float
        The λ of the path whose `support_path_` has a size closest to that of `support_`.
    cv_sizes_, cv_losses_ : ndarray, shape (M,)
        Numbers of features that were tried by cross-validation, and their mean loss on rows not seen:
        cross-entropy, or ½(f − y)² for a `y` of variance 1. Absent if `n_features_to_select` was given.
    cv_null_loss_ : float
        The same of no feature at all: of the mean of the other rows, or of their class frequencies.
    classes_, task_ : ndarray, {"classification", "regression"}
        The classes, absent for regression; and what was trained.

    Notes
    -----
    Columns are standardized inside, and so is `y` for regression. λ grows from 0 to its value over the first
    half of the run, so that features form before they are put to the test. Biases are not penalized; later
    layers have a small fixed decay, without which they would grow while the gates shrink. Among strongly
    correlated columns the choice is arbitrary and changes with the seed.

    References
    ----------
    C. Kolb, L. Frost, B. Bischl and D. Rügamer, "Differentiable sparsity via D-gating: Simple and versatile
    structured penalization", NeurIPS 2025.

    L. Ziyin and Z. Wang, "spred: Solving L1 penalty with SGD", ICML 2023.

    N. Meinshausen and P. Bühlmann, "Stability selection", J. R. Statist. Soc. B 72(4), 2010.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 20))
    >>> y = X[:, 3] * X[:, 7] > 0
    >>> selector = L2GateSelector(n_features_to_select=2, random_state=0).fit(X, y)
    >>> selector.get_support(indices=True)
    array([3, 7])
    """

    def __init__(
        self,
        n_features_to_select: int | None = None,
        *,
        depth: int = 3,
        hidden: int = 32,
        task: str = "auto",
        n_lams: int = 12,
        n_folds: int = 5,
        rounds: int = 5,
        threshold: float = 0.01,
        steps: int = 1000,
        batch_size: int = 100,
        lr: float = 0.1,
        gate_lr: float = 3.0,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.depth = depth
        self.hidden = hidden
        self.task = task
        self.n_lams = n_lams
        self.n_folds = n_folds
        self.rounds = rounds
        self.threshold = threshold
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.gate_lr = gate_lr
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> L2GateSelector:
        """Find the features.

        Parameters
        ----------
        X, y : array_like or data frame, shapes (n, p) and (n,)
            Inputs, finite numbers; classes, or targets.
        groups : array_like, shape (n,), optional
            Rows that belong together, such as those of one patient; they are held out together. By default
            rows with equal inputs are, unless there are so many of them that the data are discrete.

        Returns
        -------
        L2GateSelector
            Itself.

        Warns
        -----
        UserWarning
            If columns are constant, no feature was found, fewer than 10 rows differ, or whole numbers in `y`
            are taken as a target.
        ConvergenceWarning
            If training diverged and is repeated with half the learning rate.
        """
        for name in ("classes_", "cv_sizes_", "cv_losses_", "cv_null_loss_"):  # of an earlier fit
            vars(self).pop(name, None)
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        self._check_parameters(X.shape[1])
        known = groups is not None
        X, code, weight, cell = _merge(X, self._encode(y), self._group_numbers(groups, len(X)))
        varied = self._varied(X)
        rng = check_random_state(self.random_state)
        n_folds = min(self.n_folds, cell.max() + 1 if known else len(X))
        folds = _folds_of(code, n_folds, self.task_ == "classification", rng)
        if known:
            folds = _folds_of(np.arange(cell.max() + 1), n_folds, False, rng)[cell]
        held_out, n_observed = _held_out(folds, weight, cell, n_folds, known)
        if n_observed < FEW_ROWS:
            few = f"X and y hold {n_observed:g} different rows; a selection from so few says nothing"
            warnings.warn(few, UserWarning, stacklevel=2)
        seeds = [int(seed) for seed in rng.randint(2**31 - 1, size=n_folds)]
        of_all = self.depth, self.steps, self.batch_size, self.lr, self.gate_lr
        recipe = GatedRecipe((self.hidden,), *of_all, seeds[0])
        data = self._data(X[:, varied], code, weight)
        with torch.inference_mode():
            folds = _Folds(seeds, torch.as_tensor(held_out).to(data.X), n_observed)
            lams, path, scores, n_select = self._search_with_smaller_steps(data, recipe, folds)
        if not n_select:
            warnings.warn(
                "no feature was found: the best network has a cross-validated loss of "
                f"{self.cv_losses_.min():.3g}, and without any feature it is {self.cv_null_loss_:.3g}. "
                "None is selected; give n_features_to_select to get the first ones of the ranking",
                UserWarning, stacklevel=2,
            )  # fmt: skip
        mean = scores.mean(0)
        self.lambda_path_ = lams
        self.survival_path_ = _widen((path.end > self.threshold).mean(1), varied)
        self.support_path_ = self.survival_path_ >= 0.5
        self.scores_ = _widen(mean, varied)
        best = np.flatnonzero(varied)[np.argsort(-mean, kind="stable")[:n_select]]
        self.support_ = np.isin(np.arange(len(varied)), best)
        distance = np.abs(self.support_path_.sum(1) - self.support_.sum())
        self.lam_ = float(lams[np.flatnonzero(distance == distance.min())[-1]])
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _check_parameters(self, n_features: int) -> None:
        for name, least in (("depth", 2), ("n_folds", 2)):
            checks.whole(name, getattr(self, name), least)
        for name in ("hidden", "n_lams", "rounds", "steps", "batch_size"):
            checks.whole(name, getattr(self, name), 1)
        for name, high in (("lr", math.inf), ("gate_lr", math.inf), ("threshold", 1.0)):
            checks.number(name, getattr(self, name), 0, high, open_low=True)
        checks.one_of("task", self.task, ("auto", "classification", "regression"))
        k = self.n_features_to_select
        if k is not None and checks.whole("n_features_to_select", k, 1) > n_features:
            raise ValueError(f"n_features_to_select must be at most {n_features}, one per column, got {k}")

    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Decide the task; return class numbers, or targets."""
        if y.dtype == object:  # a column of a data frame, often
            y = np.array(y.tolist())
        self.task_ = self.task
        if self.task == "auto":
            values = len(np.unique(y)) if y.dtype.kind in "biuf" else 0
            continuous = values > MOST_CLASSES or type_of_target(y) == "continuous"
            self.task_ = "regression" if continuous else "classification"
            if MOST_CLASSES < values <= len(y) / 4 and type_of_target(y) != "continuous":
                warnings.warn(
                    f"y has {values} different whole numbers, which are taken as a target; give "
                    "task='classification' if they are classes, or task='regression' to avoid this warning",
                    UserWarning, stacklevel=3,
                )  # fmt: skip
        if self.task_ == "regression":
            type_of_target(y, raise_unknown=True)
            if y.dtype.kind in "US":
                raise ValueError(f"regression needs numbers as y, got {y.dtype}; use task='classification'")
            y = y.astype(np.float64)
            if (y == y[0]).all():
                raise ValueError(f"y has only one value ({y[0]:g}), so no feature can explain it; check y")
            return y
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has only one class ({self.classes_.tolist()[0]!r}), so there is nothing to tell apart; "
                "give rows of at least two classes, or use task='regression' for a numeric y"
            )
        return code

    @staticmethod
    def _group_numbers(groups: Any, n: int) -> np.ndarray | None:
        if groups is None:
            return None
        groups = np.asarray(groups)
        if groups.shape != (n,):
            raise ValueError(f"groups must have one entry for each of the {n} rows, got {groups.shape}")
        numbers = np.unique(groups, return_inverse=True)[1]
        if not numbers.any():
            raise ValueError("there is only one group, so no other could be held out; leave groups away")
        return numbers

    def _varied(self, X: np.ndarray) -> np.ndarray:
        """Which columns are not constant, (p,)."""
        varied = X.min(0) < X.max(0)
        if varied.all():
            return varied
        names = getattr(self, "feature_names_in_", np.arange(X.shape[1]))[~varied]
        named = ", ".join(map(str, names[:5])) + (", …" if len(names) > 5 else "")
        if not varied.any():
            raise ValueError(f"every column of X is constant ({named}), so there is nothing to select")
        warnings.warn(
            f"columns that are constant are kept out: {len(names)} ({named}); drop them, or ignore this",
            UserWarning, stacklevel=3,
        )  # fmt: skip
        return varied

    def _data(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Rows:
        """Standardize, and bring all to the device."""
        device = runtime.pick_device(self.device)
        weight = weight / weight.mean()
        if classes := self.task_ == "classification":
            targets = np.eye(len(self.classes_))[:, y.astype(int)]
        else:
            targets = _standardized(y[:, None], weight).T
        X, targets, weight = (
            torch.as_tensor(np.ascontiguousarray(a), dtype=torch.float32).to(device)
            for a in (_standardized(X, weight), targets, weight)
        )
        return Rows(X, targets, weight, classes)

    def _search_with_smaller_steps(
        self, data: Rows, recipe: GatedRecipe, folds: _Folds
    ) -> tuple[np.ndarray, _Path, np.ndarray, int]:
        """Search; while training diverges, halve the learning rate and search again."""
        for _ in range(survival.HALVINGS):
            try:
                return self._search(data, recipe, folds)
            except _DivergedError:
                smaller = recipe._replace(lr=recipe.lr / 2)
                warnings.warn(
                    f"training diverged at lr = {recipe.lr:g} and is repeated at {smaller.lr:g}; "
                    "strongly correlated columns are the usual cause. Give this lr to avoid the warning",
                    ConvergenceWarning, stacklevel=3,
                )  # fmt: skip
                recipe = smaller
        return self._search(data, recipe, folds)

    def _search(
        self, data: Rows, recipe: GatedRecipe, folds: _Folds
    ) -> tuple[np.ndarray, _Path, np.ndarray, int]:
        """Return λ and path of the first round, the scores (S, p) of all rounds, and how many are selected.

        Where no sparse network on the path predicts the rows that it has not seen, it may have had too few
        steps to find what is there: the run is repeated with twice as many, up to `LONGEST` times as many.
        """
        null, longest = _null_losses(data, folds.held_out), survival.LONGEST * recipe.steps

        def signal(path: _Path) -> bool:
            """Whether a sparse network of the path predicts rows that it has not seen."""
            sparse = survival.sparse_part(path.end > self.threshold)
            return survival.smallest_good(path.losses[sparse], null, _share(data), folds.n_observed)[1]

        lams, path = self._sweep(data, recipe, folds)
        while not (found := signal(path)) and recipe.steps < longest:
            recipe = recipe._replace(steps=2 * recipe.steps)
            lams, path = self._sweep(data, recipe, folds)
        scores = survival.survival_scores(path.end, path.early, self.threshold)
        wanted, settled, rounds = self.n_features_to_select, scores > survival.SETTLED, 1
        if wanted is None:
            wanted = self._choose(data, recipe, scores, folds, null)
        while found and rounds < self.rounds and wanted > np.median(settled.sum(1)):
            if settled.all(1).any() or (settled.mean(0) > 0.5).all():  # nothing is left to look at
                break
            later = self._sweep(data, recipe, folds, settled)[1]
            found = signal(later)
            again = survival.survival_scores(later.end, later.early, self.threshold)
            scores = np.where(settled, scores + 1, again)
            settled, before, rounds = settled | (again > survival.SETTLED), settled, rounds + 1
            if (settled == before).all():
                break
        if rounds > 1 and self.n_features_to_select is None:
            wanted = self._choose(data, recipe, scores, folds, null)
        return lams, path, scores / rounds, wanted

    def _sweep(
        self, data: Rows, recipe: GatedRecipe, folds: _Folds, without: np.ndarray | None = None
    ) -> tuple[np.ndarray, _Path]:
        """Find the range of λ with a pilot on all rows, and train the path; return λ and path."""
        lost, pilot_data = LOST * self.threshold, data
        if without is not None:  # what most folds do without
            left = torch.as_tensor(without.mean(0) <= 0.5, device=data.X.device)
            pilot_data = Rows(data.X[:, left].contiguous(), data.targets, data.weight, data.classes)
        n_features = pilot_data.X.shape[1]

        def enough(strength: np.ndarray) -> bool:
            return bool((strength > self.threshold).sum(1).max() >= survival.enough_alive(n_features, data.n))

        pilot = recipe._replace(steps=max(1, recipe.steps // 2))
        whole = _Folds([recipe.seed], folds.held_out.new_zeros(1, data.n), data.n)
        stop = enough if n_features > WIDE else None
        strength = _path(pilot_data, pilot, survival.PILOT_LAMS, whole, lost, enough=stop).end
        lams = np.geomspace(*survival.lam_range(strength[:, 0] > self.threshold, data.n), self.n_lams)
        return lams, _path(data, recipe, lams, folds, lost, without)

    def _choose(
        self, data: Rows, recipe: GatedRecipe, scores: np.ndarray, folds: _Folds, null: np.ndarray
    ) -> int:
        """Choose the number of features by cross-validation; 0 if they do not help.

        A fold's own ranking has not seen the rows that judge, but it is noisier than the mean of all, and a
        noisy one wants more features. The mean has seen them, and so wants more as well where columns are
        many. What both ask for counts: the smaller number.
        """
        sizes = survival.candidate_sizes(max(1, min(scores.shape[1], REFIT_MOST, data.n // 2)))
        order = np.argsort(-scores, axis=1, kind="stable")
        losses, share = _refit_losses(data, recipe, order, sizes, folds), _share(data)
        chosen, found, mean = survival.smallest_good(losses, null, share, folds.n_observed)
        if not np.isfinite(mean).all():
            raise _DivergedError(recipe)
        self.cv_sizes_, self.cv_losses_ = np.array(sizes), mean
        self.cv_null_loss_ = float(null @ share)
        if not found:
            return 0
        if chosen > 0:
            order = np.tile(np.argsort(-scores.mean(0), kind="stable"), (len(scores), 1))
            losses = _refit_losses(data, recipe, order, sizes[: chosen + 1], folds)
            chosen = survival.smallest_good(losses, null, share, folds.n_observed)[0]
        return sizes[chosen]


def _standardized(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean 0 and variance 1 of each column; no column is constant."""
    centred = values - np.average(values, axis=0, weights=weight)
    return centred / np.sqrt(np.average(centred**2, axis=0, weights=weight))


def _widen(values: np.ndarray, varied: np.ndarray) -> np.ndarray:
    """Put columns where they were before the constant ones were left out."""
    full = np.zeros((*values.shape[:-1], len(varied)), dtype=values.dtype)
    full[..., varied] = values
    return full
