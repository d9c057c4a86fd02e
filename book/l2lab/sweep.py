"""Train one network for every λ, seed and learning rate at once.

All K = L·S·R models see the same minibatches, so they are one network with a leading K axis
(:mod:`l2lab.networks`) with one λ and one learning rate per copy. The objective of each is

    mean loss + (λ/2)·‖w‖²,

with w all weights but no bias. Each copy ends where a separately trained ``torch.optim`` model ends, up to
rounding.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import runtime
from .measures import weight_histogram
from .networks import CNN, MLP
from .progress import interruptible, progress_bar

__all__ = ["Best", "SweepResult", "minibatches", "sweep"]

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
LOSSES = ("cross_entropy", "squared")
METHODS = ("auto", "batched", "loop")

# Bytes that the copies trained together should need on a CPU. They should stay in a core's own cache:
# measured with `make bench`, see `_models_at_once`.
CACHE_BYTES = 5 * 2**19
# Numbers that an evaluation on a CPU works on at a time; bounds its memory, and is small enough for a cache.
EVALUATION_NUMBERS = 2**19
# Between two looks at Ctrl-C and two updates of the progress bar.
SEGMENT_SECONDS = 0.25


class Best(NamedTuple):
    """The best setting of a sweep, see :meth:`SweepResult.best`.

    Parameters
    ----------
    l, r : int
        Positions on the axes λ and learning rate.
    lam, lr : float
        Their values.
    value : float
        The metric, averaged over the seeds.
    """

    l: int  # noqa: E741 - the same letter as everywhere in this module
    r: int
    lam: float
    lr: float
    value: float


@dataclass(frozen=True)
class SweepResult:
    """What :func:`sweep` returns: arrays along λ (L), seed (S) and learning rate (R).

    Parameters
    ----------
    network : MLP or CNN
        What was trained.
    lams, seeds, lrs : ndarray, shapes (L,), (S,), (R,)
        The grid.
    metrics : dict of str to ndarray, shape (L, S, R)
        After the last step: ``"train_loss"``, ``"train_accuracy"`` and the same for every other split.
        Losses are without the penalty; accuracies are there for the cross-entropy only. NaN marks models
        that diverged.
    history : dict of str to ndarray, shape (T, L, S, R)
        The same metrics after ``history_steps`` steps.
    history_steps : ndarray of int, shape (T,)
        Always begins with 0 and ends with ``steps``.
    params : dict of str to Tensor, shape (L, S, R, ...)
        Final parameters on the CPU.
    loss : {"cross_entropy", "squared"}
        The loss.
    steps : int
        Steps that were done.
    interrupted : bool
        True if Ctrl-C ended training early; everything else then describes the state at that time.
    seconds : float
        Wall-clock time of training and evaluation.
    device : torch.device
        Where it was trained.
    method : {"batched", "loop"}
        How it was trained.
    """

    network: MLP | CNN
    lams: np.ndarray
    seeds: np.ndarray
    lrs: np.ndarray
    metrics: dict[str, np.ndarray]
    history: dict[str, np.ndarray]
    history_steps: np.ndarray
    params: dict[str, Tensor] = field(repr=False)
    loss: str
    steps: int
    interrupted: bool
    seconds: float
    device: torch.device
    method: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, S, R)."""
        return len(self.lams), len(self.seeds), len(self.lrs)

    def __repr__(self) -> str:
        n_lams, n_seeds, n_lrs = self.shape
        stopped = " (interrupted)" if self.interrupted else ""
        return (
            f"SweepResult({self.network}, {n_lams} λ × {n_seeds} seeds × {n_lrs} learning rates, "
            f"{self.steps} steps{stopped}, {self.method} on {self.device}, {self.seconds:.1f} s)"
        )

    def _weight_names(self, layer: int | str | None) -> list[str]:
        names = [name for name in self.params if _is_weight(name)]
        if layer is None:
            return names
        if isinstance(layer, str):
            name = layer if layer.endswith(".weight") else f"{layer}.weight"
            if name in names:
                return [name]
        elif not isinstance(layer, bool) and -len(names) <= layer < len(names):
            return [names[layer]]
        raise ValueError(f"layer={layer!r} does not exist; use None, 0 … {len(names) - 1} or one of {names}")

    def weights(self, layer: int | str | None = None) -> np.ndarray:
        """Return the entries of the weight matrices, without biases.

        Parameters
        ----------
        layer : int or str, optional
            One layer by position (negative numbers count from the end) or name; default all.

        Returns
        -------
        ndarray, shape (L, S, R, n)
            The n entries, layer after layer.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        return torch.cat([self.params[name].flatten(3) for name in self._weight_names(layer)], dim=3).numpy()

    def norms(self, layer: int | str | None = None) -> np.ndarray:
        """Return the Euclidean norm ‖w‖ of :meth:`weights`.

        Parameters
        ----------
        layer : int or str, optional
            As in :meth:`weights`.

        Returns
        -------
        ndarray of float64, shape (L, S, R)
            Norms.
        """
        return np.linalg.norm(self.weights(layer).astype(np.float64), axis=-1)

    def histogram(
        self, edges: np.ndarray | None = None, bins: int = 61, layer: int | str | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count the weights in bins for every λ, seeds and learning rates together.

        Parameters
        ----------
        edges : ndarray, shape (bins + 1,), optional
            Bin edges; see :func:`l2lab.measures.weight_histogram` for the default.
        bins : int, default 61
            Number of bins if `edges` is not given.
        layer : int or str, optional
            As in :meth:`weights`.

        Returns
        -------
        edges : ndarray, shape (bins + 1,)
            Bin edges.
        counts : ndarray of int, shape (L, bins)
            Number of weights that are not zero.
        zeros : ndarray of int, shape (L,)
            Number of exact zeros.
        """
        return weight_histogram(self.weights(layer), edges=edges, bins=bins)

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

        Raises
        ------
        IndexError
            If a position is outside of the grid.
        """
        module = self.network.module()
        state = {name: value[l, s, r] for name, value in self.params.items()}
        module.to(next(iter(state.values())).dtype).load_state_dict(state)
        return module

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs of all models (logits for the cross-entropy).

        Parameters
        ----------
        X : array_like or Tensor, shape (n, ...)
            Inputs; images may also be given as flat rows.

        Returns
        -------
        ndarray, shape (L, S, R, n, n_outputs)
            Outputs.

        Raises
        ------
        ValueError
            If the shape does not fit the network, or a value is not finite.
        """
        dtype = next(iter(self.params.values())).dtype
        inputs = _inputs("X", X, self.network, dtype, torch.device("cpu"))
        params = {name: value.flatten(0, 2) for name, value in self.params.items()}
        with torch.inference_mode():
            outputs = torch.cat(
                [part.transpose(1, 2).clone() for part in _outputs(self.network, params, inputs)], 1
            )
        return outputs.reshape(*self.shape, len(inputs), -1).numpy()

    def best(self, metric: str = "valid_loss", one_standard_error: bool = False) -> Best:
        """Return the setting whose metric is best on average over the seeds.

        Parameters
        ----------
        metric : str, default "valid_loss"
            A key of ``metrics``. Losses are minimized, accuracies maximized.
        one_standard_error : bool, default False
            True takes, at the learning rate of the best setting, the largest λ whose mean is not worse than
            the best mean by more than the standard error of the best mean over the seeds (sample standard
            deviation divided by √S): the simplest model that cannot be told from the best one.

        Returns
        -------
        Best
            Named tuple ``(l, r, lam, lr, value)``: positions on the λ and learning-rate axes, their values
            and the mean metric. Settings with a diverged seed are passed over; a tie goes to the larger λ.

        Raises
        ------
        ValueError
            If there is no such metric, all settings diverged, or the rule of one standard error is asked
            for with a single seed.

        References
        ----------
        L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees", Wadsworth,
        1984, section 3.4.3.

        T. Hastie, R. Tibshirani and J. Friedman, "The Elements of Statistical Learning", 2nd ed., Springer,
        2009, section 7.10.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric={metric!r} was not measured; there are {sorted(self.metrics)}")
        values = self.metrics[metric]
        n_seeds = values.shape[1]
        if one_standard_error and n_seeds < 2:
            raise ValueError(
                "one_standard_error=True needs the spread over at least 2 seeds, and this sweep has one; "
                "sweep with seeds=range(5)"
            )
        mean = values.mean(axis=1)
        if np.isnan(mean).all():
            raise ValueError(
                f"every setting diverged, so none is best by {metric!r}; use smaller learning rates"
            )
        sign = -1 if metric.endswith("accuracy") else 1
        candidates = [
            (sign * mean[i, j], -self.lams[i], j, i)
            for i, j in np.ndindex(*mean.shape)
            if not np.isnan(mean[i, j])
        ]
        *_, r, i = min(candidates)
        if one_standard_error:
            limit = sign * mean[i, r] + values[i, :, r].std(ddof=1) / math.sqrt(n_seeds)
            # the second entry of a candidate is −λ, so the smallest has the largest λ
            *_, i = min((less, score, k) for score, less, j, k in candidates if j == r and score <= limit)
        return Best(i, r, float(self.lams[i]), float(self.lrs[r]), float(mean[i, r]))


def minibatches(n: int, batch_size: int, steps: int, seed: int = 0) -> list[Tensor]:
    """Draw the rows of each minibatch: shuffled epochs without replacement.

    Every row is used once per epoch. If `batch_size` does not divide `n`, the last batch of each epoch is
    smaller.

    Parameters
    ----------
    n : int
        Number of training rows.
    batch_size : int
        Rows per batch, from 1 to `n`.
    steps : int
        Number of batches.
    seed : int, default 0
        Seed of the shuffling; the global generator is not used.

    Returns
    -------
    list of Tensor of int64
        `steps` index tensors.

    Raises
    ------
    ValueError
        If `batch_size` or `steps` is out of range.
    """
    _whole("batch_size", batch_size, 1)
    _whole("steps", steps, 1)
    if batch_size > n:
        raise ValueError(
            f"batch_size={batch_size} is larger than the {n} training rows; use batch_size=None for all"
        )
    generator = torch.Generator().manual_seed(seed)
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += torch.randperm(n, generator=generator).split(batch_size)
    return batches[:steps]


def sweep(
    network: MLP | CNN,
    data: Any,
    lams: float | Iterable[float],
    *,
    seeds: int | Iterable[int] = (0,),
    lrs: float | Iterable[float] = (0.1,),
    optimizer: str = "sgd",
    momentum: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    steps: int = 400,
    batch_size: int | None = None,
    schedule: str = "constant",
    loss: str | None = None,
    record_every: int | None = None,
    method: str = "auto",
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    batch_seed: int = 0,
    progress: bool = True,
) -> SweepResult:
    """Train a network for every λ, seed and learning rate at once.

    Parameters
    ----------
    network : MLP or CNN
        Specification from :mod:`l2lab.networks`.
    data : Problem or dict of str to (X, y)
        Must have the split ``"train"``; metrics are computed for every split. `X` is (n, ...) and
        finite; `y` holds class numbers 0, 1, … (integers) or targets (n,) or (n, n_outputs) (floats). NumPy
        arrays or tensors.
    lams : float or sequence of float, length L
        Strengths λ ≥ 0 of the penalty (λ/2)·‖w‖². Biases are not penalized.
    seeds : int or sequence of int, length S
        Seeds of the initial weights.
    lrs : float or sequence of float, length R
        Learning rates > 0.
    optimizer : {"sgd", "adam", "adamw"}
        ``"sgd"``: with momentum. ``"adam"``: the penalty is part of the gradient. ``"adamw"``: weights
        decay by the factor 1 − lr·λ per step apart from the gradient [1]_; this does not minimize the
        objective above.
    momentum : float, default 0.9
        For SGD, in [0, 1).
    betas : (float, float), default (0.9, 0.999)
        For Adam and AdamW, in [0, 1).
    eps : float, default 1e-8
        For Adam and AdamW, > 0.
    steps : int, default 400
        Number of updates.
    batch_size : int, optional
        Rows per minibatch, see :func:`minibatches`; default all rows.
    schedule : {"constant", "cosine"}
        Factor on the learning rate: 1, or (1 + cos(π·t/steps))/2 for t = 0 … steps − 1.
    loss : {"cross_entropy", "squared"}, optional
        Default by the type of `y`: integers mean cross-entropy, floats ½‖f − y‖²; both averaged over rows.
    record_every : int, optional
        Measure all metrics after every so many steps; default only before the first and after the last step.
    method : {"auto", "batched", "loop"}
        ``"loop"`` trains separate modules with ``torch.optim``: the slow reference. ``"batched"`` trains
        all at once; on a CPU in groups that fit into its cache, one by one if a network is large, so that it
        was never slower than the loop in any benchmark. So ``"auto"`` is ``"batched"``.
    device : str or torch.device, optional
        Default :func:`l2lab.runtime.pick_device`.
    dtype : torch.dtype, default torch.float32
        ``torch.float64`` is exact enough to compare with other programs.
    batch_seed : int, default 0
        Seed of the minibatches, which all models share.
    progress : bool, default True
        Show a bar with the remaining time, if it takes longer than a second and somebody watches: in a
        terminal or a live notebook. Notebooks executed by a program get none.

    Returns
    -------
    SweepResult
        Metrics, histories and parameters. Ctrl-C ends training early and returns what there is.

    Raises
    ------
    ValueError
        If an argument is out of range, or data and network do not fit together.

    Warns
    -----
    RuntimeWarning
        If models diverged; their metrics are NaN. The others are not affected.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> result = sweep(MLP((64, 32, 10)), problem, np.logspace(-4, 0, 9), seeds=range(3), batch_size=32)
    >>> result.metrics["valid_loss"].shape
    (9, 3, 1)
    """
    if not isinstance(network, MLP | CNN):
        raise ValueError(f"network must be an MLP or CNN of l2lab.networks, got {type(network).__name__}")
    grid = _Grid.check(lams, seeds, lrs)
    rule = _Rule.check(optimizer, momentum, betas, eps, schedule, _whole("steps", steps, 1))
    _one_of("method", method, METHODS)
    if record_every is not None:
        _whole("record_every", record_every, 1)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    where = runtime.pick_device(device)
    if where.type == "mps" and dtype == torch.float64:
        warnings.warn("mps has no float64, so the sweep runs on the CPU", RuntimeWarning, stacklevel=2)
        where = torch.device("cpu")
    splits, loss = _check_data(data, network, loss, dtype, where)
    n_train = len(splits["train"].X)
    start = time.perf_counter()
    with interruptible() as interrupted:
        batches = None
        if batch_size is not None:
            batches = [rows.to(where) for rows in minibatches(n_train, batch_size, steps, batch_seed)]
        job = _Job(network, grid, rule, loss, splits, batches, dtype, where)
        shards = _make_shards(job, method, batch_size or n_train)
        recorder = _Recorder(job, shards)
        record_at = sorted({steps, *range(0, steps, record_every or steps)})
        with progress_bar(steps, progress, "λ sweep", "step") as advance:
            done = _train(shards, record_at, recorder, interrupted, advance)
    params = {
        name: torch.cat([shard.parameters()[name].detach().cpu() for shard in shards])
        .reshape(*grid.shape, *shape)
        .clone()
        for name, shape in network.shapes.items()
    }
    history = recorder.history()
    result = SweepResult(
        network=network,
        lams=grid.lams,
        seeds=grid.seeds,
        lrs=grid.lrs,
        metrics={name: values[-1].copy() for name, values in history.items()},
        history=history,
        history_steps=np.array(recorder.steps),
        params=params,
        loss=loss,
        steps=done,
        interrupted=done < steps,
        seconds=time.perf_counter() - start,
        device=where,
        method="loop" if method == "loop" else "batched",
    )
    _warn_of_divergence(result)
    return result


# --------------------------------------------------------------------------------------------------
# Checking the arguments
# --------------------------------------------------------------------------------------------------


def _is_weight(name: str) -> bool:
    """Only weights are penalized; everything else is a bias."""
    return name.endswith("weight")


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, known))}")
    return value


def _number(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> float:
    """Check low ≤ value < high (low < value if `open_low`)."""
    if not (low <= value < high) or (open_low and value == low):
        raise ValueError(f"{name} must be in {'(' if open_low else '['}{low:g}, {high:g}), got {value!r}")
    return float(value)


def _axis(name: str, values: Any, example: str) -> np.ndarray:
    """Turn a number or a sequence into a 1-D float array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    elif not isinstance(values, np.ndarray) and isinstance(values, Iterable):
        values = list(values)
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or a sequence of numbers, got {values!r}") from None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a number or a non-empty 1-D sequence, for example {example}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array


class _Grid(NamedTuple):
    """The three axes. Model k = (l·S + s)·R + r, so that (K,) arrays reshape to (L, S, R)."""

    lams: np.ndarray
    seeds: np.ndarray
    lrs: np.ndarray

    @classmethod
    def check(cls, lams: Any, seeds: Any, lrs: Any) -> _Grid:
        lams = _axis("lams", lams, "np.logspace(-4, 0, 9)")
        if (lams < 0).any():
            raise ValueError(f"lams must not be negative, got {lams.min():g}; λ = 0 means no penalty")
        seeds = _axis("seeds", seeds, "range(5)")
        if (seeds != np.round(seeds)).any():
            raise ValueError(f"seeds must be integers, got {seeds[seeds != np.round(seeds)][0]:g}")
        lrs = _axis("lrs", lrs, "(0.03, 0.1)")
        if (lrs <= 0).any():
            raise ValueError(f"lrs must be positive, got {lrs.min():g}")
        return cls(lams, seeds.astype(np.int64), lrs)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.lams), len(self.seeds), len(self.lrs)

    def models(self) -> list[tuple[float, int, float]]:
        """(λ, seed, learning rate) of every model k."""
        return [(float(a), int(s), float(b)) for a in self.lams for s in self.seeds for b in self.lrs]


@dataclass(frozen=True)
class _Rule:
    """Optimizer and schedule."""

    optimizer: str
    momentum: float
    betas: tuple[float, float]
    eps: float
    schedule: str
    steps: int

    @classmethod
    def check(cls, optimizer: Any, momentum: Any, betas: Any, eps: Any, schedule: Any, steps: int) -> _Rule:
        if len(tuple(betas)) != 2:
            raise ValueError(f"betas must be two numbers, for example (0.9, 0.999), got {betas!r}")
        return cls(
            _one_of("optimizer", optimizer, OPTIMIZERS),
            _number("momentum", momentum, 0, 1),
            tuple(_number("betas", beta, 0, 1) for beta in betas),
            _number("eps", eps, 0, math.inf, open_low=True),
            _one_of("schedule", schedule, SCHEDULES),
            steps,
        )

    def factor(self, t: int) -> float:
        """Factor on the learning rate in step t, counted from 0."""
        return 1.0 if self.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * t / self.steps))

    def scalars(self) -> np.ndarray:
        """All numbers that change from step to step, shape (steps, 3).

        With the factor c of the schedule: −c; and for Adam −c / (1 − β₁ᵗ) and 1 / √(1 − β₂ᵗ), t = 1, 2, …
        """
        t = np.arange(1, self.steps + 1)
        c = np.array([self.factor(k) for k in range(self.steps)])
        first, second = (1 - beta**t for beta in self.betas)
        return np.stack([-c, -c / first, 1 / np.sqrt(second)], axis=1)


class _Split(NamedTuple):
    """One split on the device. `labels` (n,) for the cross-entropy, else None; `targets` (n_outputs, n)."""

    X: Tensor
    labels: Tensor | None
    targets: Tensor


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"data must be numbers, got an array of type {array.dtype}")
    return torch.from_numpy(np.array(array))  # a copy: torch cannot use read-only memory


def _inputs(name: str, X: Any, network: MLP | CNN, dtype: torch.dtype, device: torch.device) -> Tensor:
    X = _tensor(X)
    if (
        X.ndim < 2
        or math.prod(X.shape[1:]) != network.n_inputs
        or (X.ndim > 2 and X.shape[1:] != network.input_shape)
    ):
        raise ValueError(
            f"{name} has shape {tuple(X.shape)}, but {network} needs "
            f"(n, {', '.join(map(str, network.input_shape))}); change the network or the features"
        )
    if len(X) == 0:
        raise ValueError(f"{name} has no rows")
    X = X.to(device=device, dtype=dtype).reshape(len(X), *network.input_shape)
    if not torch.isfinite(X).all():
        raise ValueError(f"{name} holds NaN or infinite values; drop or impute these rows first")
    return X.contiguous()


def _check_data(
    data: Any, network: MLP | CNN, loss: str | None, dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, _Split], str]:
    """Bring all splits to the device; return them and the loss."""
    n_classes = getattr(data, "n_classes", None)
    raw = getattr(data, "splits", data)
    if not isinstance(raw, Mapping) or "train" not in raw:
        raise ValueError(
            "data must be a Problem or a dict {'train': (X, y), ...} with at least the key 'train'"
        )
    splits: dict[str, _Split] = {}
    for key, pair in raw.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"split {key!r} must be a pair (X, y)")
        X, y = _inputs(f"X of split {key!r}", pair[0], network, dtype, device), _tensor(pair[1]).to(device)
        if len(y.shape) == 0 or len(y) != len(X):
            raise ValueError(
                f"split {key!r}: X has {len(X)} rows and y has shape {tuple(y.shape)}; they must agree"
            )
        if loss is None:  # "train" need not be first in the dict, but all splits have the same kind of y
            loss = "squared" if y.is_floating_point() else "cross_entropy"
        _one_of("loss", loss, LOSSES)
        if loss == "cross_entropy":
            labels = _labels(key, y, network.n_outputs, n_classes)
            splits[key] = _Split(X, labels, F.one_hot(labels, network.n_outputs).T.to(dtype).contiguous())
        else:
            targets = y.to(dtype).reshape(len(y), -1)
            if targets.shape[1] != network.n_outputs:
                raise ValueError(
                    f"split {key!r}: y has {targets.shape[1]} targets per row, but {network} has "
                    f"{network.n_outputs} outputs; they must agree"
                )
            if not torch.isfinite(targets).all():
                raise ValueError(f"y of split {key!r} holds NaN or infinite values; drop these rows first")
            splits[key] = _Split(X, None, targets.T.contiguous())
    return splits, loss


def _labels(key: str, y: Tensor, n_outputs: int, n_classes: int | None) -> Tensor:
    if y.ndim != 1 or y.is_floating_point():
        raise ValueError(
            f"split {key!r}: the cross-entropy needs integer class numbers of shape (n,), got {y.dtype} of "
            f"shape {tuple(y.shape)}; convert y, or use loss='squared'"
        )
    y = y.long()
    top = int(y.max())
    if int(y.min()) < 0:
        raise ValueError(f"split {key!r}: class numbers must be 0, 1, …, got {int(y.min())}")
    if top >= n_outputs or (n_classes is not None and n_classes != n_outputs):
        raise ValueError(
            f"the network has {n_outputs} outputs, but the data have {n_classes or top + 1} classes; "
            "the last size of the network must be the number of classes"
        )
    return y


# --------------------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """All that shards need to know."""

    network: MLP | CNN
    grid: _Grid
    rule: _Rule
    loss: str
    splits: dict[str, _Split]
    batches: list[Tensor] | None
    dtype: torch.dtype
    device: torch.device


class _BatchedShard:
    """Models trained together: one contiguous vector of parameters, laid out name by name as (K, ...).

    The optimizers work on the whole vector, so that a step costs a handful of elementwise operations
    however many layers there are. λ and learning rate are vectors of the same length; λ is 0 at biases.
    """

    def __init__(self, job: _Job, models: list[tuple[float, int, float]]) -> None:
        self.job = job
        self.n_models = len(models)
        lams, seeds, lrs = zip(*models, strict=True)
        initial = job.network.init(seeds, job.dtype, job.device)
        lam = torch.tensor(lams, dtype=job.dtype, device=job.device)
        lr = torch.tensor(lrs, dtype=job.dtype, device=job.device)

        def flat(value: Any) -> Tensor:
            return torch.cat(
                [value(name).expand(initial[name].flatten(1).shape).flatten() for name in initial]
            )

        self.values = torch.cat([v.flatten() for v in initial.values()])
        self.params = _named_views(self.values, initial)
        lam_flat = flat(lambda name: (lam if _is_weight(name) else torch.zeros_like(lam))[:, None])
        lr_flat = flat(lambda name: lr[:, None])
        update = _SGD if job.rule.optimizer == "sgd" else _Adam
        self.optimizer = update(job.rule, lam_flat, lr_flat)
        self.grads = _named_views(self.optimizer.gradient, initial)
        # SGD gets lr times the gradient (see there): it is cheapest to scale the small derivative of the
        # outputs.
        self.delta_scale = (
            lr[:, None, None] if job.rule.optimizer == "sgd" else torch.ones_like(lr)[:, None, None]
        )
        self.scalars = torch.tensor(job.rule.scalars(), dtype=job.dtype, device=job.device)
        self.plans: dict[int, Any] = {}

    def parameters(self) -> dict[str, Tensor]:
        """(K, ...) tensors on the device."""
        return self.params

    def run(self, start: int, stop: int) -> None:
        """Do the steps start … stop − 1."""
        train = self.job.splits["train"]
        for t in range(start, stop):
            if self.job.batches is None:
                x, targets = train.X, train.targets
            else:
                rows = self.job.batches[t]
                x, targets = train.X.index_select(0, rows), train.targets.index_select(1, rows)
            plan = self.plans.get(len(x)) or self._plan(len(x))
            plan(x, targets, self.scalars[t])

    def _plan(self, batch_size: int) -> Any:
        """Prepare a step for batches of this size."""
        plan = _Step(self, batch_size)
        if self.job.device.type == "cuda":
            plan = _GraphedStep(plan, self.job, batch_size)
        self.plans[batch_size] = plan
        return plan


def _named_views(values: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut one long vector into tensors."""
    parts = values.split([v.numel() for v in like.values()])
    return {name: part.view(v.shape) for part, (name, v) in zip(parts, like.items(), strict=True)}


class _Step:
    """One update of all models of a shard on one batch."""

    def __init__(self, shard: _BatchedShard, batch_size: int) -> None:
        job = shard.job
        self.shard = shard
        self.gradient = job.network.gradient(shard.n_models, batch_size, job.dtype, job.device)
        self.scale = shard.delta_scale / batch_size
        self.softmax = job.loss == "cross_entropy"

    def __call__(self, x: Tensor, targets: Tensor, scalars: Tensor) -> None:
        shard = self.shard
        outputs = self.gradient.forward(shard.params, x)
        # Both losses have the derivative (prediction − target) / B.
        delta = torch.softmax(outputs, 1) if self.softmax else outputs
        delta.sub_(targets).mul_(self.scale)
        self.gradient.backward(shard.params, delta, shard.grads, shard.optimizer.keep)
        shard.optimizer.update(shard.values, scalars)


class _GraphedStep:
    """A step recorded as a CUDA graph and replayed, used on cuda.

    Small networks leave a GPU idle between launches; a replay launches the whole step at once. If the
    recording fails, the step runs without.
    """

    def __init__(self, step: _Step, job: _Job, batch_size: int) -> None:
        train = job.splits["train"]
        self.step = step
        self.inputs = (
            torch.zeros_like(train.X[:batch_size]),
            torch.zeros_like(train.targets[:, :batch_size]),
            torch.ones(3, dtype=job.dtype, device=job.device),
        )
        shard = step.shard
        state = [shard.values, *shard.optimizer.state()]
        saved = [tensor.clone() for tensor in state]
        self.graph: torch.cuda.CUDAGraph | None = None
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(
                side
            ):  # libraries set themselves up in a first run, which cannot be recorded
                step(*self.inputs)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step(*self.inputs)
            self.graph = graph
        except RuntimeError as error:
            warnings.warn(f"no CUDA graph, training goes on without: {error}", RuntimeWarning, stacklevel=2)
        for tensor, value in zip(state, saved, strict=True):
            tensor.copy_(value)

    def __call__(self, *inputs: Tensor) -> None:
        if self.graph is None:
            self.step(*inputs)
            return
        for static, value in zip(self.inputs, inputs, strict=True):
            static.copy_(value)
        self.graph.replay()


class _SGD:
    """SGD with momentum for one λ and learning rate per parameter.

    ``torch.optim.SGD`` computes v ← μv + g + λw and w ← w − c·lr·v, with the factor c of the schedule. Here
    u = lr·v is kept instead: u ← μu + lr·g + (lr·λ)w and w ← w − c·u. Then the matrix product that computes
    the gradient can add it to μu right away, and λ and lr need one vector together.
    """

    def __init__(self, rule: _Rule, lam: Tensor, lr: Tensor) -> None:
        self.keep = rule.momentum
        self.gradient = torch.zeros_like(lam)  # u
        self.decay = lam * lr

    def state(self) -> list[Tensor]:
        return [self.gradient]

    def update(self, values: Tensor, scalars: Tensor) -> None:
        self.gradient.addcmul_(values, self.decay)
        values.addcmul_(self.gradient, scalars[0])


class _Adam:
    """Adam (penalty in the gradient) or AdamW (decoupled decay) for one λ and learning rate per parameter."""

    keep = 0.0

    def __init__(self, rule: _Rule, lam: Tensor, lr: Tensor) -> None:
        self.rule, self.lr = rule, lr
        self.decoupled = rule.optimizer == "adamw"
        self.decay = lam * lr if self.decoupled else lam
        self.gradient, self.mean, self.square, self.work = (torch.zeros_like(lam) for _ in range(4))

    def state(self) -> list[Tensor]:
        return [self.mean, self.square]

    def update(self, values: Tensor, scalars: Tensor) -> None:
        (beta1, beta2), (factor, mean_factor, root_factor) = self.rule.betas, scalars.unbind()
        gradient, work = self.gradient, self.work
        if self.decoupled:
            values.addcmul_(values, torch.mul(self.decay, factor, out=work))
        else:
            gradient.addcmul_(values, self.decay)
        self.mean.lerp_(gradient, 1 - beta1)
        self.square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        torch.sqrt(self.square, out=work).mul_(root_factor).add_(self.rule.eps)
        torch.div(self.mean, work, out=work).mul_(self.lr)
        values.addcmul_(work, mean_factor)


class _LoopShard:
    """One model, trained as a beginner would: ``nn.Module``, autograd and ``torch.optim``."""

    def __init__(self, job: _Job, models: list[tuple[float, int, float]]) -> None:
        ((lam, seed, lr),) = models
        self.job, self.rule = job, job.rule
        self.module = job.network.module().to(device=job.device, dtype=job.dtype)
        initial = job.network.init([seed], job.dtype, job.device)
        self.module.load_state_dict({name: value[0] for name, value in initial.items()})
        named = list(self.module.named_parameters())
        groups = [
            {"params": [p for name, p in named if _is_weight(name)], "weight_decay": lam},
            {"params": [p for name, p in named if not _is_weight(name)], "weight_decay": 0.0},
        ]
        if job.rule.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=lr, momentum=job.rule.momentum)
        else:
            kind = torch.optim.Adam if job.rule.optimizer == "adam" else torch.optim.AdamW
            self.optimizer = kind(groups, lr=lr, betas=job.rule.betas, eps=job.rule.eps)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, job.rule.factor)

    def parameters(self) -> dict[str, Tensor]:
        return {name: p.detach()[None] for name, p in self.module.named_parameters()}

    def run(self, start: int, stop: int) -> None:
        train = self.job.splits["train"]
        truth = train.labels if self.job.loss == "cross_entropy" else train.targets.T
        for t in range(start, stop):
            rows = slice(None) if self.job.batches is None else self.job.batches[t]
            outputs, y = self.module(train.X[rows]), truth[rows]
            loss = (
                F.cross_entropy(outputs, y)
                if train.labels is not None
                else 0.5 * (outputs - y).square().sum(1).mean()
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()


_Shard = _BatchedShard | _LoopShard


def _models_at_once(job: _Job, batch_size: int) -> int:
    """How many models to train together.

    On a GPU all. On a CPU so many that parameters, optimizer state and activations stay in the cache:
    larger matrix products gain less than memory traffic loses.
    """
    n_models = len(job.grid.models())
    if job.device.type != "cpu":
        return n_models
    size = torch.empty((), dtype=job.dtype).element_size()
    n_params = sum(math.prod(shape) for shape in job.network.shapes.values())
    vectors = 3 if job.rule.optimizer == "sgd" else 7
    each = size * (vectors * n_params + batch_size * job.network.activations_per_sample)
    return min(n_models, max(1, CACHE_BYTES // each))


def _make_shards(job: _Job, method: str, batch_size: int) -> list[_Shard]:
    models = job.grid.models()
    if method == "loop":
        return [_LoopShard(job, [model]) for model in models]
    n_shards = math.ceil(len(models) / _models_at_once(job, batch_size))
    with torch.inference_mode():
        return [
            _BatchedShard(job, [models[k] for k in part])
            for part in np.array_split(np.arange(len(models)), n_shards)
        ]


def _train(
    shards: list[_Shard],
    record_at: list[int],
    recorder: _Recorder,
    interrupted: Callable[[], bool],
    advance: Callable[[int], Any],
) -> int:
    """Train and record at the given steps; return the number of steps done.

    The shards take turns, so that all have done the same number of steps whenever training stops.
    """
    done, segment = 0, 1
    recorder.record(done)
    for target in record_at[1:]:
        while done < target and not interrupted():
            stop = min(done + segment, target)
            started = time.perf_counter()
            for shard in shards:
                with torch.inference_mode(isinstance(shard, _BatchedShard)):
                    shard.run(done, stop)
            per_step = (time.perf_counter() - started) / (stop - done)
            segment = max(1, min(2 * segment, int(SEGMENT_SECONDS / max(per_step, 1e-9))))
            advance(stop - done)
            done = stop
        if recorder.steps[-1] != done:
            recorder.record(done)
    return done


# --------------------------------------------------------------------------------------------------
# Measuring
# --------------------------------------------------------------------------------------------------


def _outputs(network: MLP | CNN, params: dict[str, Tensor], X: Tensor) -> Iterator[Tensor]:
    """Yield outputs (K, n_outputs, rows) for consecutive rows, so few that memory stays bounded.

    Each is overwritten by the next.
    """
    n_models = len(next(iter(params.values())))
    numbers = EVALUATION_NUMBERS if X.device.type == "cpu" else 128 * EVALUATION_NUMBERS
    rows = max(16, int(numbers / (n_models * network.activations_per_sample)))
    plans: dict[int, Any] = {}
    for part in X.split(rows):
        if len(part) not in plans:
            plans[len(part)] = network.gradient(n_models, len(part), X.dtype, X.device)
        yield plans[len(part)].forward(params, part)


class _Recorder:
    """Collect the metrics of all splits during training."""

    def __init__(self, job: _Job, shards: list[_Shard]) -> None:
        self.job, self.shards = job, shards
        self.steps: list[int] = []
        self.rows: list[dict[str, np.ndarray]] = []

    def record(self, step: int) -> None:
        """Measure all models now."""
        with torch.inference_mode():
            parts = [self._measure(shard.parameters()) for shard in self.shards]
        shape = self.job.grid.shape
        self.rows.append(
            {key: np.concatenate([part[key] for part in parts]).reshape(shape) for key in parts[0]}
        )
        self.steps.append(step)

    def _measure(self, params: dict[str, Tensor]) -> dict[str, np.ndarray]:
        n_models = len(next(iter(params.values())))
        metrics: dict[str, np.ndarray] = {}
        for key, split in self.job.splits.items():
            loss = np.zeros(n_models)
            correct = np.zeros(n_models)
            row = 0
            for outputs in _outputs(self.job.network, params, split.X):
                rows = slice(row, row := row + outputs.shape[2])
                if split.labels is None:
                    loss += (
                        0.5 * (outputs - split.targets[:, rows]).square().sum((1, 2)).double().cpu().numpy()
                    )
                    continue
                labels = split.labels[rows].expand(n_models, -1)
                loss += F.cross_entropy(outputs, labels, reduction="none").double().sum(1).cpu().numpy()
                correct += (outputs.max(1).indices == labels).sum(1).cpu().numpy()
            metrics[f"{key}_loss"] = loss / len(split.X)
            if split.labels is not None:
                metrics[f"{key}_accuracy"] = correct / len(split.X)
        # A diverged model predicts nothing, although the largest of NaNs is a class.
        finite = np.isfinite(metrics["train_loss"])
        for value in params.values():
            finite &= torch.isfinite(value).flatten(1).all(1).cpu().numpy()
        return {key: np.where(finite & np.isfinite(value), value, np.nan) for key, value in metrics.items()}

    def history(self) -> dict[str, np.ndarray]:
        """Metrics (T, L, S, R)."""
        return {key: np.stack([row[key] for row in self.rows]) for key in self.rows[0]}


def _warn_of_divergence(result: SweepResult) -> None:
    lost = np.isnan(result.metrics["train_loss"])
    if not lost.any():
        return
    pairs = sorted(
        {(float(result.lrs[r]), float(result.lams[i])) for i, _, r in zip(*np.nonzero(lost), strict=True)}
    )
    named = "; ".join(f"λ = {lam:g}, lr = {lr:g}" for lr, lam in pairs[:5]) + (
        "; …" if len(pairs) > 5 else ""
    )
    warnings.warn(
        f"{lost.sum()} of {lost.size} models diverged and have NaN metrics ({named}); "
        "use a smaller learning rate there",
        RuntimeWarning,
        stacklevel=3,
    )
