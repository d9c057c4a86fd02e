"""Train one network for every λ, seed and learning rate at once.

All K = L·S·R models see the same minibatches, so they are one network with a leading K axis, and one λ and
one learning rate per copy. Each ends where a separately trained ``torch.optim`` model ends, up to rounding.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks, runtime
from ..progress import interruptible, progress_bar
from .descend import Descent, on_weights
from .descend import schedule as make_schedule
from .networks import CNN, MLP, MLPGradient
from .result import SweepResult
from .splits import Split, check_data, minibatches

__all__ = ["Grid", "descents", "sweep", "warn_of_divergence"]

# Bytes that the copies trained together should need on a CPU. They should stay in a core's own cache:
# measured with `make bench`, see `_models_at_once`.
CACHE_BYTES = 5 * 2**19
# Numbers that an evaluation on a CPU works on at a time; bounds its memory, and is small enough for a cache.
EVALUATION_NUMBERS = 2**19
# Between two looks at Ctrl-C and two updates of the progress bar.
SEGMENT_SECONDS = 0.25


def sweep(
    network: MLP | CNN,
    data: Any,
    lams: float | Iterable[float],
    *,
    seeds: int | Iterable[int] = (0,),
    lrs: float | Iterable[float] = (0.1,),
    optimizer: str = "sgd",
    momentum: float = 0.9,
    steps: int = 400,
    batch_size: int | None = None,
    schedule: str = "constant",
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    batch_seed: int = 0,
    progress: bool = True,
) -> SweepResult:
    """Train a network for every λ, seed and learning rate at once.

    Parameters
    ----------
    network : MLP or CNN
        Specification from :mod:`l2lab.engine`.
    data : Problem or dict of str to (X, y)
        Must have the split ``"train"``; metrics are computed for every split. `X` is (n, ...) and
        finite. Integers in `y` are class numbers 0, 1, …, and the loss is the cross-entropy; floats are
        targets (n,) or (n, n_outputs), and the loss is ½‖f − y‖². Both are averaged over rows.
    lams : float or sequence of float, length L
        Strengths λ ≥ 0 of the penalty (λ/2)·‖w‖². Biases are not penalized.
    seeds : int or sequence of int, length S
        Seeds of the initial weights.
    lrs : float or sequence of float, length R
        Learning rates > 0.
    optimizer : {"sgd", "adam", "adamw"}
        ``"adam"``: the penalty is part of the gradient. ``"adamw"``: weights decay by the factor 1 − lr·λ per
        step apart from the gradient (Loshchilov and Hutter 2019); that does not minimize the objective.
    momentum : float, default 0.9
        For SGD, in [0, 1).
    steps : int, default 400
        Number of updates.
    batch_size : int, optional
        Rows per minibatch, see :func:`minibatches`; default all rows.
    schedule : {"constant", "cosine"}
        Factor on the learning rate: 1, or (1 + cos(π·t/steps))/2 for t = 0 … steps − 1.
    device : str or torch.device, optional
        Default :func:`l2lab.runtime.pick_device`.
    dtype : torch.dtype, default torch.float32
        ``torch.float64`` is exact enough to compare with other programs.
    batch_seed : int, default 0
        Seed of the minibatches, which all models share.
    progress : bool, default True
        Show a bar with the remaining time, if it takes longer than a second and somebody watches.

    Returns
    -------
    SweepResult
        Metrics and parameters. Ctrl-C ends training early and returns what there is.

    Raises
    ------
    ValueError
        If an argument is out of range, or data and network do not fit together.

    Warns
    -----
    RuntimeWarning
        If models diverged; their metrics are NaN. The others are not affected.

    Examples
    --------
    >>> result = sweep(MLP((64, 32, 10)), problem, np.logspace(-4, 0, 9), seeds=range(3), batch_size=32)
    >>> result.metrics["valid_loss"].shape
    (9, 3, 1)
    """
    grid = Grid.check(lams, seeds, lrs)
    rule = {
        "optimizer": optimizer,
        "momentum": checks.number("momentum", momentum, 0, 1),
        "rate": make_schedule(schedule, checks.whole("steps", steps, 1)),
    }
    where = runtime.pick_device(device)
    if where.type == "mps" and dtype == torch.float64:
        warnings.warn("mps has no float64, so the sweep runs on the CPU", RuntimeWarning, stacklevel=2)
        where = torch.device("cpu")
    splits, loss = check_data(data, network, dtype, where)
    n_train = len(splits["train"].X)
    start = time.perf_counter()
    with interruptible() as interrupted:
        batches = None
        if batch_size is not None:
            batches = [rows.to(where) for rows in minibatches(n_train, batch_size, steps, batch_seed)]
        groups = descents(network, grid, splits["train"], batches, rule)
        with progress_bar(steps, progress, "λ sweep", "step") as advance:
            done = _train(groups, steps, interrupted, advance)
        with torch.inference_mode():
            parts = [_measure(network, splits, group.params) for group in groups]
    params = {
        name: torch.cat([group.params[name].detach().cpu() for group in groups]).reshape(*grid.shape, *shape)
        for name, shape in network.shapes.items()
    }
    result = SweepResult(
        network=network,
        **grid._asdict(),
        metrics={key: np.concatenate([p[key] for p in parts]).reshape(grid.shape) for key in parts[0]},
        params=params,
        loss=loss,
        steps=done,
        interrupted=done < steps,
        seconds=time.perf_counter() - start,
        device=where,
    )
    warn_of_divergence(result)
    return result


class Grid(NamedTuple):
    """The three axes; model k = (l·S + s)·R + r, so that (K,) arrays reshape to (L, S, R)."""

    lams: np.ndarray
    seeds: np.ndarray
    lrs: np.ndarray

    @classmethod
    def check(cls, lams: Any, seeds: Any, lrs: Any) -> Grid:
        """Check the arguments of :func:`sweep`."""
        lams = checks.axis("lams", lams, "np.logspace(-4, 0, 9)")
        if (lams < 0).any():
            raise ValueError(f"lams must not be negative, got {lams.min():g}; λ = 0 means no penalty")
        seeds = checks.axis("seeds", seeds, "range(5)")
        if (seeds != np.round(seeds)).any():
            raise ValueError(f"seeds must be integers, got {seeds[seeds != np.round(seeds)][0]:g}")
        lrs = checks.axis("lrs", lrs, "(0.03, 0.1)")
        if (lrs <= 0).any():
            raise ValueError(f"lrs must be positive, got {lrs.min():g}")
        return cls(lams, seeds.astype(np.int64), lrs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, S, R)."""
        return len(self.lams), len(self.seeds), len(self.lrs)

    def models(self) -> list[tuple[float, int, float]]:
        """List (λ, seed, learning rate) of every model."""
        return [(float(a), int(s), float(b)) for a in self.lams for s in self.seeds for b in self.lrs]


# ---- training ----------------------------------------------------------------------------------------------


def descents(
    network: MLP | CNN, grid: Grid, train: Split, batches: list[Tensor] | None, rule: dict[str, Any]
) -> list[Descent]:
    """Prepare the training of all models, in the order of the grid, in groups that are trained together.

    `batches` are the rows of each step (None: all), `rule` holds options of :class:`Descent`.
    """
    models = grid.models()
    largest = max(map(len, batches)) if batches else len(train.X)
    n_groups = math.ceil(len(models) / _models_at_once(network, len(models), train.X, largest, rule))
    return [
        _descent(network, [models[k] for k in part], train, batches, rule)
        for part in np.array_split(np.arange(len(models)), n_groups)
    ]


def _models_at_once(
    network: MLP | CNN, n_models: int, X: Tensor, batch_size: int, rule: dict[str, Any]
) -> int:
    """How many models to train together.

    On a GPU all. On a CPU so many that parameters, optimizer state and activations stay in the cache:
    larger matrix products gain less than memory traffic loses.
    """
    if X.device.type != "cpu":
        return n_models
    n_params = sum(math.prod(shape) for shape in network.shapes.values())
    vectors = 3 if rule["optimizer"] == "sgd" else 7
    each = X.element_size() * (vectors * n_params + batch_size * network.activations_per_sample)
    return min(n_models, max(1, CACHE_BYTES // each))


def _descent(
    network: MLP | CNN,
    models: list[tuple[float, int, float]],
    train: Split,
    batches: list[Tensor] | None,
    rule: dict[str, Any],
) -> Descent:
    """Prepare some models, to be trained together."""
    lams, seeds, lrs = zip(*models, strict=True)
    params = network.init(seeds, train.X.dtype, train.X.device)
    lam, lr = (torch.tensor(values, dtype=torch.float64).to(train.X) for values in (lams, lrs))
    options = rule | {"lr": lr, "lam": on_weights(params, lam)}

    def batch(t: int) -> tuple[Tensor, Tensor]:
        if batches is None:
            return train.X, train.targets
        return train.X.index_select(0, batches[t]), train.targets.index_select(1, batches[t])

    def loss(own: dict[str, Tensor], t: int) -> Tensor:
        x, targets = batch(t)
        outputs = network.forward(own, x).transpose(1, 2)
        if train.labels is None:
            return 0.5 * (outputs - targets).square().sum((1, 2)) / len(x)
        return -(F.log_softmax(outputs, 1) * targets).sum((1, 2)) / len(x)

    plans: dict[int, MLPGradient] = {}

    def gradient(own: dict[str, Tensor], t: int, into: dict[str, Tensor], keep: float) -> None:
        x, targets = batch(t)
        plan = plans.get(len(x))
        if plan is None:
            plan = plans[len(x)] = MLPGradient(network, len(models), len(x), x)
        outputs = plan.forward(own, x)
        # Both losses have the derivative (prediction − target) / B.
        delta = torch.softmax(outputs, 1) if train.labels is not None else outputs
        plan.backward(own, delta.sub_(targets).div_(len(x)), into, keep)

    if isinstance(network, MLP):
        return Descent(params, gradient=gradient, **options)
    return Descent(params, loss, **options)


def _train(
    groups: list[Descent], steps: int, interrupted: Callable[[], bool], advance: Callable[[int], Any]
) -> int:
    """Train, and return the number of steps done.

    The groups take turns, so that all have done the same number of steps whenever training stops.
    """
    done, segment = 0, 1
    while done < steps and not interrupted():
        stop = min(done + segment, steps)
        started = time.perf_counter()
        for group in groups:
            group.run(stop)
        per_step = (time.perf_counter() - started) / (stop - done)
        segment = max(1, min(2 * segment, int(SEGMENT_SECONDS / max(per_step, 1e-9))))
        advance(stop - done)
        done = stop
    return done


def _measure(
    network: MLP | CNN, splits: dict[str, Split], params: dict[str, Tensor]
) -> dict[str, np.ndarray]:
    """Compute the metrics (K,) of all splits."""
    n_models = len(next(iter(params.values())))
    metrics: dict[str, np.ndarray] = {}
    on_cpu = splits["train"].X.device.type == "cpu"
    numbers = EVALUATION_NUMBERS if on_cpu else 128 * EVALUATION_NUMBERS
    for key, split in splits.items():
        loss, correct, row = np.zeros(n_models), np.zeros(n_models), 0
        for part in split.X.split(max(16, int(numbers / (n_models * network.activations_per_sample)))):
            outputs = network.forward(params, part)
            rows = slice(row, row := row + outputs.shape[1])
            if split.labels is None:
                each = 0.5 * (outputs - split.targets.T[rows]).square().sum(2)
            else:
                labels = split.labels[rows].expand(n_models, -1)
                each = F.cross_entropy(outputs.transpose(1, 2), labels, reduction="none")
                correct += (outputs.argmax(2) == labels).sum(1).cpu().numpy()
            loss += each.double().sum(1).cpu().numpy()
        metrics[f"{key}_loss"] = loss / len(split.X)
        if split.labels is not None:
            metrics[f"{key}_accuracy"] = correct / len(split.X)
    # A diverged model predicts nothing, although the largest of NaNs is a class.
    finite = np.isfinite(metrics["train_loss"])
    for value in params.values():
        finite &= torch.isfinite(value).flatten(1).all(1).cpu().numpy()
    return {key: np.where(finite & np.isfinite(value), value, np.nan) for key, value in metrics.items()}


def warn_of_divergence(result: SweepResult) -> None:
    """Name the models that diverged, which NaN marks."""
    lost = np.isnan(result.metrics["train_loss"])
    if not lost.any():
        return
    at_lam, _, at_lr = np.nonzero(lost)
    lams, lrs = np.unique(result.lams[at_lam]).tolist(), np.unique(result.lrs[at_lr]).tolist()
    warnings.warn(
        f"{lost.sum()} of {lost.size} models diverged and have NaN metrics, at λ in {lams} and learning "
        f"rates in {lrs}; use a smaller learning rate there",
        RuntimeWarning,
        stacklevel=3,
    )
