"""Train one network for every λ, seed and learning rate at once.

All K = L·S·R models see the same minibatches, so they are one network with a leading K axis, and one λ and
one learning rate per copy. Each ends where a separately trained ``torch.optim`` model ends, up to rounding.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks, runtime
from ..progress import interruptible, progress_bar
from .descend import Descent, minibatches, on_weights
from .descend import schedule as make_schedule
from .networks import CNN, MLP, MLPGradient

__all__ = ["Best", "Grid", "SweepResult", "check_data", "descents", "sweep"]

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
    seeds, lrs : numbers or sequences of them, lengths S and R
        Seeds of the initial weights, and learning rates.
    optimizer, momentum : str, float
        As in :class:`Descent`.
    steps : int, default 400
        Number of updates.
    batch_size : int, optional
        Rows per minibatch, see :func:`minibatches`; default all rows.
    schedule : {"constant", "cosine", "linear"}
        Of the learning rate, see :func:`l2lab.budget.lrs_of`.
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
        Metrics and parameters. Ctrl-C ends training early and returns what there is. A model that diverged
        has NaN metrics and is named in a warning; the others are not affected.
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
    axes = tuple(map(len, grid))
    params = {
        name: torch.cat([group.params[name].detach().cpu() for group in groups]).reshape(*axes, *shape)
        for name, shape in network.shapes.items()
    }
    result = SweepResult(
        network=network,
        **grid._asdict(),
        metrics={key: np.concatenate([p[key] for p in parts]).reshape(axes) for key in parts[0]},
        params=params,
        loss=loss,
        steps=done,
        interrupted=done < steps,
        seconds=time.perf_counter() - start,
        device=where,
    )
    _warn_of_divergence(result)
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
        seeds = checks.axis("seeds", seeds, "range(5)")
        lrs = checks.axis("lrs", lrs, "(0.03, 0.1)")
        if (lams < 0).any():
            raise ValueError(f"lams must not be negative, got {lams.min():g}; λ = 0 means no penalty")
        if (seeds != np.round(seeds)).any():
            raise ValueError(f"seeds must be integers, got {seeds}")
        if (lrs <= 0).any():
            raise ValueError(f"lrs must be positive, got {lrs.min():g}")
        return cls(lams, seeds.astype(np.int64), lrs)


# ---- rows --------------------------------------------------------------------------------------------------


class Split(NamedTuple):
    """One split on the device."""

    X: Tensor  # inputs, (n, ...)
    labels: Tensor | None  # classes, for the cross-entropy, (n,)
    targets: Tensor  # targets, or one-hot classes, (n_outputs, n)


def check_data(
    data: Any, network: MLP | CNN, dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, Split], str]:
    """Bring all splits of a Problem or dict, "train" among them, to the device, and tell the loss.

    Integers in `y` mean ``"cross_entropy"``, floats ``"squared"``. Raises a ValueError if the data do not fit
    the network, or a value is not finite.
    """
    raw = getattr(data, "splits", data)
    if not isinstance(raw, Mapping) or "train" not in raw:
        raise ValueError("data must be a Problem or a dict {'train': (X, y), ...} with the key 'train'")
    splits = {key: _split(key, *pair, network, dtype, device) for key, pair in raw.items()}
    return splits, "squared" if splits["train"].labels is None else "cross_entropy"


def _split(key: str, X: Any, y: Any, network: MLP | CNN, dtype: torch.dtype, device: torch.device) -> Split:
    # copies: torch cannot use read-only memory
    X, y = (v.detach() if isinstance(v, Tensor) else torch.from_numpy(np.array(v)) for v in (X, y))
    X, y = X.to(device=device, dtype=dtype), y.to(device)
    if X.ndim < 2 or math.prod(X.shape[1:]) != network.n_inputs or len(X) == 0 or len(X) != len(y):
        raise ValueError(
            f"split {key!r}: X has shape {tuple(X.shape)} and y {tuple(y.shape)}, but {network} needs "
            f"(n, {', '.join(map(str, network.input_shape))}) with n ≥ 1, and as many rows of y"
        )
    X = X.reshape(len(X), *network.input_shape).contiguous()  # images may be flat rows
    labels = None
    if y.is_floating_point():
        targets = y.to(dtype).reshape(len(y), -1)
    elif y.ndim != 1 or int(y.min()) < 0 or int(y.max()) >= network.n_outputs:
        raise ValueError(
            f"split {key!r}: classes must be integers of shape (n,) from 0 to {network.n_outputs - 1}, "
            f"one for each output of {network}"
        )
    else:
        labels = y.long()
        targets = F.one_hot(labels, network.n_outputs).to(dtype)
    if targets.shape[1] != network.n_outputs:
        raise ValueError(
            f"split {key!r}: y has {targets.shape[1]} targets per row, but {network} has {network.n_outputs} "
            "outputs; they must agree"
        )
    if not (torch.isfinite(X).all() and torch.isfinite(targets).all()):
        raise ValueError(f"split {key!r} holds NaN or infinite values; drop or impute these rows first")
    return Split(X, labels, targets.T.contiguous())


# ---- training ----------------------------------------------------------------------------------------------


def descents(
    network: MLP | CNN, grid: Grid, train: Split, batches: list[Tensor] | None, rule: dict[str, Any]
) -> list[Descent]:
    """Prepare the training of all models, in the order of the grid, in groups that are trained together.

    `batches` are the rows of each step (None: all), `rule` holds options of :class:`Descent`.
    """
    models = list(itertools.product(*(axis.tolist() for axis in grid)))
    largest = max(map(len, batches)) if batches else len(train.X)
    n_groups = math.ceil(len(models) / _models_at_once(network, len(models), train.X, largest, rule))
    return [
        _descent(network, [models[k] for k in part], train, batches, rule)
        for part in np.array_split(np.arange(len(models)), n_groups)
    ]


def _models_at_once(
    network: MLP | CNN, n_models: int, X: Tensor, batch_size: int, rule: dict[str, Any]
) -> int:
    """How many models to train together."""
    # On a CPU so many that parameters, optimizer state and activations stay in the cache: larger matrix
    # products gain less than memory traffic loses.
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
    """Train in turns, so that all have done the same number of steps at the end; return that number."""
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


def _warn_of_divergence(result: SweepResult) -> None:
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


# ---- what it gives back ------------------------------------------------------------------------------------


class Best(NamedTuple):
    """The best setting of a sweep: positions on the axes λ and learning rate, their values, mean metric."""

    l: int  # noqa: E741 - the same letter as everywhere in this module
    r: int
    lam: float
    lr: float
    value: float


class SweepResult(NamedTuple):
    """What :func:`sweep` returns: arrays along λ (L), seed (S) and learning rate (R).

    `metrics`, (L, S, R), were computed after the last step: ``"train_loss"`` (without the penalty),
    ``"train_accuracy"`` (for classes) and the same for every other split. NaN marks models that diverged.
    """

    network: MLP | CNN
    lams: np.ndarray  # (L,)
    seeds: np.ndarray  # (S,)
    lrs: np.ndarray  # (R,)
    metrics: dict[str, np.ndarray]
    params: dict[str, Tensor]  # final ones, (L, S, R, ...), on the CPU
    loss: str  # "cross_entropy" or "squared"
    steps: int  # that were done
    interrupted: bool  # whether Ctrl-C ended training early
    seconds: float  # wall-clock time of training and evaluation
    device: torch.device  # where it was trained

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, S, R)."""
        return len(self.lams), len(self.seeds), len(self.lrs)

    def __repr__(self) -> str:
        n_lams, n_seeds, n_lrs = self.shape
        stopped = " (interrupted)" if self.interrupted else ""
        return (
            f"SweepResult({self.network}, {n_lams} λ × {n_seeds} seeds × {n_lrs} learning rates, "
            f"{self.steps} steps{stopped}, on {self.device}, {self.seconds:.1f} s)"
        )

    def weights(self, layer: int | None = None) -> np.ndarray:
        """Return the entries of the weight matrices, without biases.

        Parameters
        ----------
        layer : int, optional
            One layer by position; default all.

        Returns
        -------
        ndarray, shape (L, S, R, n)
            The n entries, layer after layer.
        """
        names = [name for name in self.params if name.endswith("weight")]
        chosen = names if layer is None else [names[layer]]
        return torch.cat([self.params[name].flatten(3) for name in chosen], dim=3).numpy()

    def norms(self) -> np.ndarray:
        """Return the Euclidean norm ‖w‖ of :meth:`weights`, float64 of shape (L, S, R)."""
        return np.linalg.norm(self.weights().astype(np.float64), axis=-1)

    def module(self, l: int = 0, s: int = 0, r: int = 0) -> nn.Module:  # noqa: E741
        """Return one trained model as an ordinary module.

        Parameters
        ----------
        l, s, r : int
            Position on the axes λ, seed and learning rate.

        Returns
        -------
        torch.nn.Module
            On the CPU, with its own copy of the parameters.
        """
        module = self.network.module()
        state = {name: value[l, s, r] for name, value in self.params.items()}
        module.to(next(iter(state.values())).dtype).load_state_dict(state)
        return module

    def best(self, metric: str = "valid_loss", one_standard_error: bool = False) -> Best:
        """Return the setting whose metric is best on average over the seeds.

        Parameters
        ----------
        metric : str, default "valid_loss"
            A key of ``metrics``. Losses are minimized, accuracies maximized.
        one_standard_error : bool, default False
            True takes, at the learning rate of the best setting, the largest λ whose mean is not worse than
            the best mean by more than its standard error over the seeds (Hastie et al. 2009, section 7.10).

        Returns
        -------
        Best
            Settings with a diverged seed are passed over; a tie goes to the larger λ.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric={metric!r} was not measured; there are {sorted(self.metrics)}")
        values = self.metrics[metric]
        n_seeds = values.shape[1]
        if one_standard_error and n_seeds < 2:
            raise ValueError("one_standard_error=True needs at least 2 seeds: sweep with seeds=range(5)")
        mean = values.mean(axis=1)
        if np.isnan(mean).all():
            raise ValueError(f"every setting diverged, so none is best by {metric!r}; use smaller lrs")
        sign = -1 if metric.endswith("accuracy") else 1
        places = np.argwhere(~np.isnan(mean)).tolist()
        candidates = [(sign * mean[i, j], -self.lams[i], j, i) for i, j in places]
        *_, r, i = min(candidates)
        if one_standard_error:
            limit = sign * mean[i, r] + values[i, :, r].std(ddof=1) / math.sqrt(n_seeds)
            # the second entry of a candidate is −λ, so the smallest has the largest λ
            *_, i = min((less, score, k) for score, less, j, k in candidates if j == r and score <= limit)
        return Best(i, r, float(self.lams[i]), float(self.lrs[r]), float(mean[i, r]))
