"""Feature selection with weight decay alone.

Each input x_j is multiplied by D − 1 gates before it enters an ordinary network, and plain L2 on the gates
and on the first layer does the rest: at its minimum over all factors with the same product the penalty
(λ/2)(‖W_j‖² + Σ g²) is (λD/2)·‖W_j ∏ g‖^(2/D), which for D ≥ 2 has a spike at 0. So columns die, although the
optimizer knows nothing but ``weight_decay``. :class:`L2GateSelector` trains such networks for all λ and
several folds of the data in one sweep and counts which features survive.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from . import runtime
from .engine.gated import WIDE, GatedNetworks, GatedRecipe, Rows, groups_of

__all__ = ["HALVINGS", "REFIT_DECAYS", "L2GateSelector", "fold_weights", "folds_of"]

T = TypeVar("T")

# A column this far below the threshold for "alive" cannot come back and is no longer computed.
LOST = 1e-2
# Survival counts where at most this share of the features is alive, or so many. While most of them live, it
# is luck who does.
SPARSE, SPARSE_LEAST = 0.2, 5
# λ of the pilot run that finds the interesting range.
PILOT_LAMS = np.logspace(-4, 0.5, 10)
# Weight decay that a refit may use; the better one by cross-validation counts.
REFIT_DECAYS = (1e-3, 1e-2)
# Largest number of features that cross-validation tries.
REFIT_MOST = 256
# So often the learning rate is halved if training diverges, before the user is asked for a smaller one.
HALVINGS = 4


class _DivergedError(ValueError):
    """A run ended with numbers that are not finite."""

    def __init__(self, recipe: GatedRecipe) -> None:
        super().__init__(
            f"training diverged; use a smaller lr than {recipe.lr:g} or gate_lr than {recipe.gate_lr:g}"
        )


def _path(
    data: Rows,
    recipe: GatedRecipe,
    lams: np.ndarray,
    seeds: list[int],
    weights: Tensor,
    lost: float,
    kind: type[GatedNetworks] = GatedNetworks,
    enough: Callable[[np.ndarray], bool] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Relative strength of every feature at the end and early in the run, two arrays (L, S, p).

    Seed s sees the rows with `weights[s]` (S, n).

    With `enough` the largest λ come first, and when it is true of the strengths (K, p) of a group, smaller λ
    are not trained: there every strength is 1.
    """
    all_lams = torch.as_tensor(np.repeat(lams, len(seeds))).to(data.X)
    all_seeds = seeds * len(lams)
    parts: list[Tensor] = []  # (2, models, p)
    for group in reversed(groups_of(len(all_seeds), data.X.shape[1], recipe, data)):
        if enough is not None and parts and enough(parts[0][0].numpy()):
            parts.insert(0, torch.ones(2, int(group[-1]) + 1, data.X.shape[1]).to(parts[0]))
            break
        rows = torch.as_tensor(group % len(seeds), device=weights.device)
        gates = kind(data, recipe, all_lams[group], [all_seeds[k] for k in group], weights[rows])
        gates.run(lost, watch=True)
        parts.insert(0, torch.stack([gates.relative(), gates.early]).cpu())
        if not torch.isfinite(parts[0]).all():
            raise _DivergedError(recipe)
    end, early = torch.cat(parts, dim=1).view(2, len(lams), len(seeds), -1).double().numpy()
    return end, early


def _enough(n_features: int, n_rows: int) -> float:
    """So many features alive are where the path begins: nearly all, or too many for n."""
    return min(0.9 * n_features, max(64.0, n_rows / 2))


def _lam_range(alive: np.ndarray, n_rows: int) -> tuple[float, float]:
    """Range of `PILOT_LAMS` where features die: from :func:`_enough` alive to none."""
    counts = alive.sum(1)
    enough = _enough(alive.shape[1], n_rows)
    nothing, much = np.flatnonzero(counts == 0), np.flatnonzero(counts >= enough)
    high = PILOT_LAMS[nothing[0]] if len(nothing) else PILOT_LAMS[-1]
    low = PILOT_LAMS[0]
    if len(much) and (last := much[-1]) + 1 < len(counts):
        # Wide data go from all to few within one step of the pilot: where `enough` are left is interpolated.
        pair = slice(last, last + 2)
        at = np.interp(-math.log(enough), -np.log(np.maximum(counts[pair], 1)), np.log(PILOT_LAMS[pair]))
        low = float(np.exp(at))
    return (low, high) if low < high else (high / 30, high)


def _sizes(most: int) -> list[int]:
    """Return 1, 2, … and then steps of a fifth, up to `most`."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(most, max(sizes[-1] + 1, int(1.2 * sizes[-1]))))
    return sizes


def _refit_losses(
    data: Rows, recipe: GatedRecipe, order: np.ndarray, sizes: list[int], seeds: list[int], held_out: Tensor
) -> np.ndarray:
    """Loss of each row when the network that did not see it is trained anew on the best features alone.

    Parameters
    ----------
    order : ndarray of int, shape (S, p)
        Features of each fold, best first, found without the rows of that fold.
    held_out : Tensor of bool, shape (S, n)
        Rows of each fold.

    Returns
    -------
    ndarray, shape (len(sizes), n)
        Smallest over `REFIT_DECAYS` on average.
    """
    losses = np.empty((len(sizes), len(REFIT_DECAYS), data.n))
    recipe = recipe._replace(depth=1, steps=max(1, recipe.steps // 2))
    weights = fold_weights(data, held_out)
    # Sizes of the same order of magnitude are trained together, on the columns that any of them needs.
    for part in np.array_split(np.arange(len(sizes)), max(1, len(sizes) // 6)):
        needed = np.unique(order[:, : sizes[part[-1]]])
        narrow = Rows(data.X[:, needed].contiguous(), data.targets, data.weight, data.classes)
        jobs = [(i, j, s) for i in part for j in range(len(REFIT_DECAYS)) for s in range(len(order))]
        masks = np.stack([np.isin(needed, order[s, : sizes[i]]) for i, _, s in jobs])
        masks = torch.as_tensor(masks).to(data.X)
        for group in groups_of(len(jobs), len(needed), recipe, data):
            chosen = [jobs[k] for k in group]
            folds = torch.as_tensor([s for *_, s in chosen], device=weights.device)
            gates = GatedNetworks(
                narrow,
                recipe,
                masks.new_zeros(len(chosen)),
                [seeds[s] for *_, s in chosen],
                weights[folds],
                mask=masks[group],
                outer_decay=masks.new_tensor([REFIT_DECAYS[j] for _, j, _ in chosen]),
            )
            gates.run()
            values = gates.losses(narrow.X, data.targets).cpu().double().numpy()
            for (i, j, s), value in zip(chosen, values, strict=True):
                rows = held_out[s].cpu().numpy()
                losses[i, j, rows] = value[rows]
    share = data.weight.cpu().double().numpy() / data.n
    return losses[np.arange(len(sizes)), (losses @ share).argmin(1)]


def fold_weights(data: Rows, held_out: Tensor) -> Tensor:
    """Leave out the rows of a fold.

    Parameters
    ----------
    data : Rows
        All rows.
    held_out : Tensor of bool, shape (S, n)
        Rows of each fold.

    Returns
    -------
    Tensor, shape (S, n)
        Weights with mean 1.
    """
    weights = data.weight * ~held_out
    return weights / weights.mean(1, keepdim=True)


def folds_of(y: np.ndarray, n_folds: int, classes: bool, rng: np.random.RandomState) -> np.ndarray:
    """Draw the fold of each row; every class is spread evenly over the folds.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Classes or targets.
    n_folds : int
        How many.
    classes : bool
        What `y` holds.
    rng : RandomState
        Draws.

    Returns
    -------
    ndarray of int, shape (n,)
        Numbers from 0.
    """
    shuffled = rng.permutation(len(y))
    if classes:
        shuffled = shuffled[np.argsort(y[shuffled], kind="stable")]
    folds = np.empty(len(y), dtype=int)
    folds[shuffled] = np.arange(len(y)) % n_folds
    return folds


def _merge(X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let equal rows be one with the sum of their weights.

    So a weight of 2 and a repeated row are exactly the same thing, and copies of a row never stand on both
    sides of a split.
    """
    _, first, group = np.unique(np.column_stack([X, y]), axis=0, return_index=True, return_inverse=True)
    return X[first], y[first], np.bincount(group.ravel(), weights=weight)


class L2GateSelector(SelectorMixin, BaseEstimator):
    """Select features by weight decay on input gates.

    A network whose inputs pass through `depth` − 1 gates each is trained by SGD with momentum and plain
    weight decay λ on its first layer and the gates, for a whole path of λ and for several folds of the data,
    all in one batched sweep. A feature is alive while ``‖W_j‖·|∏ g|`` is above 1 % (`threshold`) of the
    largest, or of its initial level if all are small. Its score is the share of λ values and folds that it
    survives, where λ is so large that few features do: a stability selection that costs nothing extra, since
    each fold is one more copy on the batch axis. Features that survive none of these, often because others
    tell the same, are ordered by their strength early in the run, before λ is in force.

    With ``lam="auto"`` the number of features is found by cross-validation: for each fold, networks without
    gates are trained anew on its 1, 2, 3, … best features and judged on the rows that neither they nor their
    ranking have seen. (Only standardization and the range of λ come from all rows.) The smallest number
    within one standard error of the best wins.

    Parameters
    ----------
    n_features_to_select : int or float, optional
        How many features to keep, or which share of them if it is a float in (0, 1]. By default `lam`
        decides.
    lam : "auto" or float, default "auto"
        Weight decay λ. ``"auto"`` finds the range where features die, sweeps `n_lams` values in it and,
        without `n_features_to_select`, chooses. A number keeps what survives this λ in at least half of the
        folds.
    depth : int, default 3
        Number D ≥ 2 of factors of each first-layer column: the column and D − 1 gates. 2 is the group lasso;
        3 or 4 select more sharply.
    hidden : int or tuple of int, default 32
        Units of the hidden layers.
    task : {"auto", "classification", "regression"}
        ``"auto"``: regression if `y` holds floats that are not all whole, or more than 20 different numbers
        and more than a quarter of the rows; else classification.
    n_lams : int, default 12
        Length of the path for ``lam="auto"``.
    n_folds : int, default 5
        Number of folds, at least 2. Each copy of the network trains without one fold.
    one_standard_error : bool, default True
        False takes the number of features with the smallest cross-validated loss.
    threshold : float, default 0.01
        Below this share of the largest strength a feature is dead. Survivors and dead are usually decades
        apart, so its value matters little; exact zeros are only approached.
    steps : int, default 1000
        Updates of each network. Too few cannot kill: see `l2lab.budget`.
    batch_size : int, default 100
        Rows per update (all if there are fewer).
    lr : float, default 0.1
        Learning rate, with a cosine schedule.
    gate_lr : float, default 3.0
        Factor on the learning rate of the gates.
    device : str or torch.device, optional
        Default `l2lab.runtime.pick_device`.
    random_state : int, RandomState or None
        Draws folds, initial weights and batches.

    Attributes
    ----------
    scores_ : ndarray of float, shape (p,)
        Share of the folds and of the sparse part of the path that each feature survives, in [0, 1]; ties are
        broken by the relative strength at the end and in the first quarter of the steps, which add less than
        one step of the path in one fold. The sparse part are the λ at which on average at most a fifth of the
        features live, or five of them. Constant columns have 0.
    support_ : ndarray of bool, shape (p,)
        The selected features.
    lambda_path_ : ndarray, shape (L,)
        The λ values, increasing.
    support_path_ : ndarray of bool, shape (L, p)
        Alive in at least half of the folds.
    survival_path_ : ndarray, shape (L, p)
        Share of the folds in which a feature is alive.
    lam_ : float
        The λ of the path whose `support_path_` has a size closest to that of `support_`; the given one if
        `lam` is a number.
    cv_sizes_ : ndarray of int, shape (M,)
        Numbers of features that were tried by cross-validation; absent if none was needed.
    cv_losses_ : ndarray, shape (M,)
        Their mean loss on rows not seen, like `cv_sizes_`: cross-entropy, or ½(f − y)² for a `y` of variance
        1.
    classes_ : ndarray
        The classes; absent for regression.
    task_ : {"classification", "regression"}
        What was trained.
    n_features_in_ : int
        Number of features seen by :meth:`fit`.
    feature_names_in_ : ndarray of str, shape (p,)
        Their names, if `X` was a data frame.

    Notes
    -----
    Columns are standardized inside, and so is `y` for regression. The factors start balanced, ‖W_j‖ = g on
    average. λ grows from 0 to its value over the first half of the run, so that features form before they are
    put to the test. Biases are not penalized; later layers have a small fixed decay, without which they would
    grow while the gates shrink. At least one feature is always selected unless `lam` is a number.

    Rows of weight 0 are left out and equal rows merged, so integer weights and repeated rows give the same
    result.

    The network is trained to *find* features: it is not kept. Among strongly correlated columns the choice is
    arbitrary and changes with the seed.

    References
    ----------
    C. Kolb, L. Frost, B. Bischl and D. Rügamer, "Differentiable sparsity via D-gating: Simple and versatile
    structured penalization", NeurIPS 2025.

    L. Ziyin and Z. Wang, "spred: Solving L1 penalty with SGD", ICML 2023.

    N. Meinshausen and P. Bühlmann, "Stability selection", Journal of the Royal Statistical Society B 72(4),
    2010.

    Examples
    --------
    >>> import numpy as np
    >>> from l2lab.select import L2GateSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 20))
    >>> y = X[:, 3] * X[:, 7] > 0
    >>> selector = L2GateSelector(n_features_to_select=2, random_state=0).fit(X, y)
    >>> selector.get_support(indices=True)
    array([3, 7])
    """

    # What is trained.
    _kind: type[GatedNetworks] = GatedNetworks

    def __init__(
        self,
        n_features_to_select: int | float | None = None,
        *,
        lam: str | float = "auto",
        depth: int = 3,
        hidden: int | tuple[int, ...] = 32,
        task: str = "auto",
        n_lams: int = 12,
        n_folds: int = 5,
        one_standard_error: bool = True,
        threshold: float = 0.01,
        steps: int = 1000,
        batch_size: int = 100,
        lr: float = 0.1,
        gate_lr: float = 3.0,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.lam = lam
        self.depth = depth
        self.hidden = hidden
        self.task = task
        self.n_lams = n_lams
        self.n_folds = n_folds
        self.one_standard_error = one_standard_error
        self.threshold = threshold
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.gate_lr = gate_lr
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> L2GateSelector:
        """Find the features.

        Parameters
        ----------
        X : array_like or data frame, shape (n, p)
            Inputs; finite numbers.
        y : array_like, shape (n,)
            Classes, or targets.
        sample_weight : array_like, shape (n,), optional
            Weight of each row in the loss, at least 0.

        Returns
        -------
        L2GateSelector
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of range, a value is NaN or infinite, `y` has one class or value only,
            training diverged, or every column is constant.

        Warns
        -----
        UserWarning
            If columns are constant. They are never selected.
        ConvergenceWarning
            If training diverged and is repeated with half the learning rate.
        """
        for name in ("classes_", "cv_sizes_", "cv_losses_"):  # of an earlier fit
            vars(self).pop(name, None)
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        n_select = self._check_parameters(X.shape[1])
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError(f"sample_weight must not be negative, got {weight.min():g}")
        present = weight > 0
        X, code, weight = _merge(X[present], self._encode(y[present]), weight[present])
        varied = self._varied(X)
        rng = check_random_state(self.random_state)
        n_folds = min(self.n_folds, len(X))
        folds = folds_of(code, n_folds, self.task_ == "classification", rng)
        seeds = [int(seed) for seed in rng.randint(2**31 - 1, size=n_folds)]
        recipe = self._recipe(seeds[0])
        data = self._data(X[:, varied], code, weight)
        with torch.inference_mode():
            held_out = torch.as_tensor(folds == np.arange(n_folds)[:, None], device=data.X.device)
            weights = fold_weights(data, held_out)
            lams, strength, early = _with_smaller_steps(
                recipe, lambda recipe: self._sweep(data, recipe, seeds, weights)
            )
            alive = strength > self.threshold
            scores = self._score(strength, early)
            mean = scores.mean(0)
            by_lam = n_select is None and self.lam != "auto"
            if n_select is None and not by_lam:
                n_select = _with_smaller_steps(
                    recipe, lambda recipe: self._choose(data, recipe, scores, seeds, held_out)
                )
        self.lambda_path_ = lams
        self.survival_path_ = _widen(alive.mean(1), varied)
        self.support_path_ = self.survival_path_ >= 0.5
        self.scores_ = _widen(mean, varied)
        if by_lam:
            self.support_ = self.support_path_[0].copy()
        else:
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

    def _check_parameters(self, n_features: int) -> int | None:
        """Check all parameters; return the number of features to select, if it is given."""
        for name, least in (("depth", 2), ("n_lams", 1), ("n_folds", 2), ("steps", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        for name, high in (("lr", math.inf), ("gate_lr", math.inf), ("threshold", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < high:
                raise ValueError(f"{name} must be a number in (0, {high:g}), got {value!r}")
        lam = self.lam
        if lam != "auto" and (
            isinstance(lam, bool | str) or not isinstance(lam, numbers.Real) or not 0 <= lam < math.inf
        ):
            raise ValueError(f"lam must be 'auto' or a number of at least 0, for example 0.01, got {lam!r}")
        if self.task not in ("auto", "classification", "regression"):
            raise ValueError(f"task must be 'auto', 'classification' or 'regression', got {self.task!r}")
        k = self.n_features_to_select
        if k is None:
            return None
        if isinstance(k, numbers.Integral) and not isinstance(k, bool) and 1 <= k <= n_features:
            return int(k)
        if isinstance(k, numbers.Real) and not isinstance(k, numbers.Integral) and 0 < k <= 1:
            return max(1, int(k * n_features))
        raise ValueError(
            f"n_features_to_select must be an integer from 1 to {n_features}, a share in (0, 1] or None, "
            f"got {k!r}"
        )

    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Decide the task; return class numbers, or targets."""
        self.task_ = self.task
        if self.task == "auto":
            many = y.dtype.kind in "biuf" and len(np.unique(y)) > max(20, len(y) / 4)
            continuous = many or type_of_target(y) == "continuous"
            self.task_ = "regression" if continuous else "classification"
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
            UserWarning,
            stacklevel=3,
        )
        return varied

    def _data(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Rows:
        """Standardize, and bring all to the device."""
        device = runtime.pick_device(self.device)
        weight = weight / weight.mean()
        classes = self.task_ == "classification"
        targets = (
            np.eye(len(self.classes_))[:, y.astype(int)] if classes else _standardized(y[:, None], weight).T
        )
        X, targets, weight = (
            torch.as_tensor(np.ascontiguousarray(a), dtype=torch.float32).to(device)
            for a in (_standardized(X, weight), targets, weight)
        )
        return Rows(X, targets, weight, classes)

    def _recipe(self, seed: int) -> GatedRecipe:
        hidden = self.hidden if isinstance(self.hidden, tuple | list) else (self.hidden,)
        if not hidden or any(
            isinstance(h, bool) or not isinstance(h, numbers.Integral) or h < 1 for h in hidden
        ):
            raise ValueError(f"hidden must be units of at least 1, like 32 or (64, 32), got {self.hidden!r}")
        of_all = self.depth, self.steps, self.batch_size, self.lr, self.gate_lr
        return GatedRecipe(tuple(hidden), *of_all, seed)

    def _sweep(
        self, data: Rows, recipe: GatedRecipe, seeds: list[int], weights: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return λ (L,), and the relative strengths at the end and early in the run, (L, S, p).

        Rivals in a benchmark replace this method.
        """
        lost, kind = LOST * self.threshold, self._kind
        if self.lam != "auto":
            lams = np.array([float(self.lam)])
        else:
            pilot = recipe._replace(steps=max(1, recipe.steps // 2))
            n_features = data.X.shape[1]

            def enough(strength: np.ndarray) -> bool:
                return bool((strength > self.threshold).sum(1).max() >= _enough(n_features, data.n))

            stop = enough if n_features > WIDE else None
            strength, _ = _path(data, pilot, PILOT_LAMS, [recipe.seed], data.weight[None], lost, kind, stop)
            lams = np.geomspace(*_lam_range(strength[:, 0] > self.threshold, data.n), self.n_lams)
        return lams, *_path(data, recipe, lams, seeds, weights, lost, kind)

    def _score(self, strength: np.ndarray, early: np.ndarray) -> np.ndarray:
        """Score of every feature in every fold, (S, p), from strengths (L, S, p)."""
        n_features, alive = strength.shape[2], strength > self.threshold
        counts = alive.sum(2).mean(1)
        sparse = counts <= max(SPARSE * n_features, SPARSE_LEAST, counts.min())
        first = early.mean(0)
        # Both strengths lie in [0, 1]; scaled like this they can only order features that survive equally
        # often. The first of them is close to 0 where a feature has not survived at all.
        order = 0.9 * strength[sparse].mean(0) + 0.099 * first / first.max(1, keepdims=True).clip(1e-300)
        return alive[sparse].mean(0) + order / (sparse.sum() * len(first))

    def _choose(
        self, data: Rows, recipe: GatedRecipe, scores: np.ndarray, seeds: list[int], held_out: Tensor
    ) -> int:
        """Choose the number of features by cross-validation."""
        sizes = _sizes(min(scores.shape[1], REFIT_MOST))
        order = np.argsort(-scores, axis=1, kind="stable")
        losses = _refit_losses(data, recipe, order, sizes, seeds, held_out)
        share = data.weight.cpu().double().numpy() / data.n
        mean = losses @ share
        if not np.isfinite(mean).all():
            raise _DivergedError(recipe)
        best = int(mean.argmin())
        limit = mean[best]
        if self.one_standard_error:
            limit += math.sqrt((losses[best] - mean[best]) ** 2 @ share / data.n)
        self.cv_sizes_, self.cv_losses_ = np.array(sizes), mean
        return sizes[int(np.flatnonzero(mean <= limit)[0])]


def _with_smaller_steps(recipe: GatedRecipe, run: Callable[[GatedRecipe], T]) -> T:
    """Run; while training diverges, halve the learning rate and run again."""
    for _ in range(HALVINGS):
        try:
            return run(recipe)
        except _DivergedError:
            smaller = recipe._replace(lr=recipe.lr / 2)
            warnings.warn(
                f"training diverged at lr = {recipe.lr:g} and is repeated at {smaller.lr:g}; "
                "columns are probably strongly correlated. Give this lr to avoid the warning",
                ConvergenceWarning,
                stacklevel=4,
            )
            recipe = smaller
    return run(recipe)


def _standardized(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean 0 and variance 1 of each column; no column is constant."""
    centred = values - np.average(values, axis=0, weights=weight)
    return centred / np.sqrt(np.average(centred**2, axis=0, weights=weight))


def _widen(values: np.ndarray, varied: np.ndarray) -> np.ndarray:
    """Put columns where they were before the constant ones were left out."""
    full = np.zeros((*values.shape[:-1], len(varied)), dtype=values.dtype)
    full[..., varied] = values
    return full
