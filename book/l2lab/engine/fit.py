"""A training loop for any module: progress, early stopping, checkpoints, mixed precision.

For many small networks at once, :func:`l2lab.engine.sweep` is faster.
"""

from __future__ import annotations

import math
import os
import pickle
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor, nn

from .. import checks, runtime
from ..layers import (
    L2RegularizationLayer,
    call,
    l2_penalty,
    map_tensors,
    param_groups,
    penalized_parameters,
)
from ..progress import interruptible, progress_bar

__all__ = ["FitResult", "fit"]

# Between two updates of the progress bar, and two looks at whether the loss is still finite.
LOOK_SECONDS = 0.25
# Optimizers that shrink the weights apart from the gradient. Others say so in their groups.
DECOUPLED = tuple(
    getattr(torch.optim, name) for name in ("AdamW", "Adafactor", "Muon") if hasattr(torch.optim, name)
)
# Schedules that count minibatches and not epochs.
PER_STEP = (torch.optim.lr_scheduler.OneCycleLR, torch.optim.lr_scheduler.CyclicLR)


class FitResult(NamedTuple):
    """What :func:`fit` returns.

    `history` has one entry per finished epoch. ``"train_loss"``: mean over the rows while the weights were
    changing, without the penalty. Measured after the epoch: ``"penalty"`` and ``"norm"`` (see :func:`fit`),
    ``"valid_loss"`` and, for classes, ``"valid_accuracy"``. Of the epoch: ``"lr"`` (that of the first
    parameter group) and ``"seconds"``.
    """

    history: dict[str, np.ndarray]
    best_epoch: int  # smallest validation loss; without validation data the last one; −1 if there is none
    stopped: str  # why: "epochs", "patience", "interrupted", "diverged"
    seconds: float  # wall-clock time of the call
    model: nn.Module  # the one that was given, with the weights of `best_epoch`, in evaluation mode

    def __repr__(self) -> str:
        epochs = len(self.history["train_loss"])
        return (
            f"FitResult({type(self.model).__name__}, {epochs} epochs, best {self.best_epoch}, "
            f"stopped by {self.stopped!r}, {self.seconds:.1f} s)"
        )


def fit(
    model: nn.Module,
    train: Any,
    valid: Any = None,
    *,
    criterion: Callable[[Any, Any], Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: Any = None,
    epochs: int = 20,
    batch_size: int = 64,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    amp: bool | str = "auto",
    device: str | torch.device | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FitResult:
    """Train a module.

    The objective is ``criterion`` plus :func:`l2lab.layers.l2_penalty` if the model contains an
    :class:`~l2lab.layers.L2RegularizationLayer`; the optimizer may have a ``weight_decay`` instead.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place and moved to the device.
    train : (X, y) or iterable of (x, y)
        A pair of arrays or tensors with n rows each, which is moved to the device as a whole and gets the
        type of the parameters; or a ``DataLoader`` or any other iterable of batches that can be gone through
        once per epoch; x may be a tuple or a mapping of what the model takes.
    valid : (X, y) or iterable of (x, y), optional
        Validation data of the same kind.
    criterion : callable
        ``criterion(outputs, y)`` gives the mean loss over the rows of a batch, a tensor of shape ().
    optimizer : torch.optim.Optimizer
        Made from the parameters of `model`, see :func:`l2lab.layers.param_groups`. Not LBFGS.
    scheduler : torch.optim.lr_scheduler.LRScheduler, optional
        Stepped after every epoch; ``OneCycleLR`` and ``CyclicLR`` after every minibatch.
    epochs, batch_size : int
        Number of passes through the training data, and rows per batch if the data are arrays.
    patience : int, optional
        Stop after so many epochs without a smaller validation loss. Default: never.
    checkpoint : path-like, optional
        A file that is written after every epoch. If it exists, training goes on from there.
    amp : {"auto"} or bool, default "auto"
        Automatic mixed precision: products in bfloat16. ``"auto"`` uses it on GPUs of CUDA that compute with
        it. Parameters must be float32: torch leaves float64 as it is.
    device : str or torch.device, optional
        Default :func:`l2lab.runtime.pick_device`.
    seed : int, default 0
        Seed of the order of the rows and of everything random in the model, such as dropout. The global
        generators get it, and are put back at the end; what is drawn during validation changes nothing.
    progress : bool, default True
        Show a bar with loss, penalty, ‖w‖ and the remaining time, if somebody watches.

    Returns
    -------
    FitResult
        The history, and the model with its best weights. The first Ctrl-C stops training after the batch, and
        a loss or a weight that is no longer finite does so with a warning; that epoch counts for nothing.

    Notes
    -----
    *Penalty and norm.* ``"penalty"`` is what is added to the loss after the epoch: the sum of the layers'
    penalties and of ½·``weight_decay``·‖w‖² of the optimizer's groups; NaN for AdamW and all others that
    decay apart from the gradient, since no penalty has that gradient. ``"norm"`` is the Euclidean norm of the
    weights that :func:`l2lab.layers.param_groups` chooses: no biases, no normalization layers.

    *Resuming.* Build model, optimizer and scheduler as for the first call, with the same initial weights, and
    call `fit` again with the same arguments; `epochs` alone may be larger. On a CPU the run ends with the
    same bits as one that was never interrupted, also with a ``DataLoader`` without a ``generator`` of its
    own. Arrays are compared with those of the first call; batches and the code of functions are not.
    """
    started = time.perf_counter()
    checks.whole("epochs", epochs, 1)
    checks.whole("batch_size", batch_size, 1)
    if patience is not None:
        checks.whole("patience", patience, 1)
        if valid is None:
            raise ValueError("patience needs a validation loss; give valid=(X, y)")
    _check_optimizer(optimizer, model)
    where = runtime.pick_device(device)
    model.to(where)
    with _kept_generators(where):
        runtime.seed_everything(seed)
        loop = _Loop(
            model=model,
            train=_Batches("train", train, model, where, batch_size, seed),
            valid=None if valid is None else _Batches("valid", valid, model, where, batch_size, None),
            criterion=criterion,
            optimizer=optimizer,
            scheduler=scheduler,
            precision=_precision(amp, where, {p.dtype for p in model.parameters()}),
            device=where,
        )
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None:
            fingerprint = _fingerprint(loop, batch_size=batch_size, patience=patience, seed=seed)
            if path.exists():
                _load(path, fingerprint, loop)
        steps = None if loop.train.length is None else loop.train.length * (epochs - loop.done)
        with interruptible() as interrupted, progress_bar(steps, progress, "training", "batch") as advance:
            stopped = None
            while stopped is None:
                if loop.done >= epochs:
                    stopped = "epochs"
                elif patience is not None and loop.done - 1 - loop.best_epoch >= patience:
                    stopped = "patience"
                else:
                    stopped = loop.epoch(interrupted, advance)
                    if path is not None and stopped is None:
                        _save(path, fingerprint, loop)
        _uncompiled(model).load_state_dict(loop.best)
    model.eval()
    if stopped == "diverged":
        warnings.warn(
            f"training diverged in epoch {loop.done}: loss or weights are not finite; the model has the "
            f"weights of {f'epoch {loop.best_epoch}' if loop.done else 'before the training'}. "
            "Use a smaller learning rate",
            RuntimeWarning,
            stacklevel=2,
        )
    history = {name: np.array(values, dtype=np.float64) for name, values in loop.history.items()}
    return FitResult(history, loop.best_epoch, stopped, time.perf_counter() - started, model)


def _check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise if it cannot train the model; warn if it penalizes what a layer penalizes."""
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("LBFGS needs a closure, which this loop does not have; call its step yourself")
    layers = [module for module in model.modules() if isinstance(module, L2RegularizationLayer)]
    inside = {id(p) for layer in layers for p in penalized_parameters(layer).values()}
    own = {id(p) for p in model.parameters()}
    for group in optimizer.param_groups:
        held = {id(p) for p in group["params"]}
        if not held <= own:
            raise ValueError("the optimizer holds parameters that are not those of model; make it after it")
        if group.get("weight_decay", 0) > 0 and held & inside:
            warnings.warn(
                f"{len(held & inside)} parameters are penalized twice, by an L2RegularizationLayer and by "
                "the optimizer; make the optimizer with weight_decay=0",
                UserWarning,
                stacklevel=3,
            )


def _precision(amp: bool | str, device: torch.device, dtypes: set[torch.dtype]) -> torch.dtype | None:
    """Type of the mixed precision; None is full precision."""
    if amp == "auto":
        amp = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        amp = amp and torch.float64 not in dtypes
    if amp and torch.float64 in dtypes:
        raise ValueError("amp=True does nothing for parameters in float64; convert the model with .float()")
    return torch.bfloat16 if amp else None


def _uncompiled(model: nn.Module) -> nn.Module:
    """Look behind torch.compile, whose name would stand in every key."""
    return getattr(model, "_orig_mod", model)


class _Batches:
    """(X, y) on the device, cut into batches (`seed` None keeps the order), or any iterable of batches."""

    def __init__(
        self, name: str, source: Any, model: nn.Module, device: torch.device, size: int, seed: int | None
    ) -> None:
        self.name, self.source, self.device, self.size, self.seed = name, source, device, size, seed
        is_pair = isinstance(source, tuple | list) and len(source) == 2
        self.is_arrays = is_pair and not isinstance(source[0], tuple | list)
        if not self.is_arrays:
            self.length = len(source) if hasattr(source, "__len__") else None
            return
        X, y = self.source = [_tensor(name, part, model).to(device) for part in source]
        if len(X) != len(y) or not len(X):
            raise ValueError(
                f"{name}: X has shape {tuple(X.shape)} and y {tuple(y.shape)}; X must be (n, ...) with n ≥ 1 "
                "and y must have as many rows"
            )
        self.length = math.ceil(len(X) / size)

    def epoch(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        if not self.is_arrays:
            batch = None
            for batch in self.source:
                yield map_tensors(lambda part: part.to(self.device, non_blocking=True), tuple(batch))
            if batch is None:
                raise ValueError(f"{self.name} gave no batch in epoch {epoch}; give what can be repeated")
            return
        X, y = self.source
        if self.seed is None:
            yield from zip(X.split(self.size), y.split(self.size), strict=True)
            return
        # mixes both numbers, so that (seed, epoch + 1) and (seed + 1, epoch) have nothing in common
        mixed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0])
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(mixed))
        for rows in order.to(self.device).split(self.size):
            yield X[rows], y[rows]

    def fingerprint(self) -> str:
        if self.is_arrays:
            return joblib.hash([part.cpu().numpy() for part in self.source])
        return f"{type(self.source).__name__} of {self.length} batches"


def _tensor(name: str, values: Any, model: nn.Module) -> Tensor:
    # a copy: torch cannot use read-only memory
    values = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    if not values.is_floating_point():
        return values.long()
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values; drop or impute these rows first")
    return values.to(next(model.parameters()).dtype)


# ---- the loop ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Loop:
    """Everything that changes during training, and one epoch of it."""

    model: nn.Module
    train: _Batches
    valid: _Batches | None
    criterion: Callable[[Any, Any], Tensor]
    optimizer: torch.optim.Optimizer
    scheduler: Any
    precision: torch.dtype | None
    device: torch.device

    def __post_init__(self) -> None:
        # All groups but the last are weights, also inside a layer with λ = 0.
        groups = param_groups(self.model, 0.0)[:-1]
        self.weights = [p for group in groups for p in group["params"] if p.requires_grad]
        self.has_layers = any(isinstance(module, L2RegularizationLayer) for module in self.model.modules())
        self.per_step = isinstance(self.scheduler, PER_STEP)
        self.history: dict[str, list[float]] = {"train_loss": []}
        self.best_epoch = -1
        self.keep()

    @property
    def done(self) -> int:
        """Number of finished epochs."""
        return len(self.history["train_loss"])

    def keep(self) -> None:
        """Copy the weights."""
        self.best = {name: v.detach().clone() for name, v in _uncompiled(self.model).state_dict().items()}

    def forward(self, x: Any, y: Any) -> tuple[Any, Tensor]:
        """Return outputs and loss."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            outputs = call(self.model, x)
        if self.precision is not None:
            outputs = map_tensors(
                lambda part: part.to(torch.promote_types(part.dtype, torch.float32)), outputs
            )
        return outputs, self.criterion(outputs, y)

    def penalty(self) -> float:
        """What is added to the loss now."""
        total = float(l2_penalty(self.model).detach()) if self.has_layers else 0.0
        for group in self.optimizer.param_groups:
            decay = float(group.get("weight_decay", 0.0))
            if not decay:
                continue
            if isinstance(self.optimizer, DECOUPLED) or group.get("decoupled_weight_decay"):
                return math.nan
            total += 0.5 * decay * _norm([p for p in group["params"] if p.requires_grad]) ** 2
        return total

    def epoch(self, interrupted: Callable[[], bool], advance: Callable[..., Any]) -> str | None:
        """Train and measure; return why the epoch was not finished, None if it was."""
        started = time.perf_counter()
        lr = float(self.optimizer.param_groups[0]["lr"])
        train_loss, ended_by = self._train(interrupted, advance)
        if ended_by:
            return ended_by
        self.model.eval()
        # what a criterion draws in here must not change the training that follows
        with torch.no_grad(), _kept_generators(self.device):
            row = {"train_loss": train_loss, "penalty": self.penalty(), "norm": _norm(self.weights)}
            row |= self._validate() if self.valid else {}
        loss = row.get("valid_loss", train_loss)
        if not (math.isfinite(train_loss) and math.isfinite(loss) and math.isfinite(row["norm"])):
            return "diverged"
        if self.scheduler is not None and not self.per_step:
            self.scheduler.step()
        # Without validation data nothing speaks against the last epoch.
        if self.best_epoch < 0 or not self.valid or loss < self.history["valid_loss"][self.best_epoch]:
            self.best_epoch = self.done
            self.keep()
        for name, value in (row | {"lr": lr, "seconds": time.perf_counter() - started}).items():
            self.history.setdefault(name, []).append(value)
        return None

    def _train(
        self, interrupted: Callable[[], bool], advance: Callable[..., Any]
    ) -> tuple[float, str | None]:
        self.model.train()
        # The sum stays on the device: to read it after every batch would make a GPU wait. An infinite loss
        # remains visible in it.
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        total = torch.zeros((), dtype=exact, device=self.device)
        rows = unseen = 0
        looked = time.perf_counter()
        for x, y in self.train.epoch(self.done):
            self.optimizer.zero_grad()
            _, loss = self.forward(x, y)
            (loss + l2_penalty(self.model) if self.has_layers else loss).backward()
            self.optimizer.step()
            if self.per_step:
                self.scheduler.step()
            total += loss.detach() * len(y)
            rows, unseen = rows + len(y), unseen + 1
            if interrupted():
                return math.nan, "interrupted"
            if time.perf_counter() - looked > LOOK_SECONDS:
                mean = float(total) / rows
                if not math.isfinite(mean):
                    return mean, "diverged"
                weights = _norm(self.weights)
                advance(unseen, f"loss {mean:.4g}, penalty {self.penalty():.3g}, ‖w‖ {weights:.4g}")
                unseen, looked = 0, time.perf_counter()
        advance(unseen)
        return float(total) / rows, None

    def _validate(self) -> dict[str, float]:
        """Mean loss over the validation rows, and the accuracy if `y` holds class numbers."""
        total = correct = 0.0
        rows = 0
        for x, y in self.valid.epoch(self.done):
            outputs, loss = self.forward(x, y)
            total += float(loss) * len(y)
            rows += len(y)
            if not y.is_floating_point():
                correct += int((outputs.argmax(1) == y).sum())
        accuracy = {} if y.is_floating_point() else {"valid_accuracy": correct / rows}
        return {"valid_loss": total / rows} | accuracy


def _norm(tensors: list[Tensor]) -> float:
    """Euclidean norm of all tensors together."""
    return math.hypot(*(float(torch.linalg.vector_norm(t.detach().abs().float())) for t in tensors))


# ---- checkpoints -------------------------------------------------------------------------------------------


def _generators(device: torch.device) -> dict[str, Any]:
    """States of all global generators, as tensors and numbers that any checkpoint can hold."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global one is meant
    states = {"python": random.getstate(), "numpy": (kind, keys.tolist(), *rest)}
    states["torch"] = torch.get_rng_state()
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_generators(states: Mapping[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def _kept_generators(device: torch.device) -> Iterator[None]:
    """Put the global generators of the CPU and of a device back afterwards."""
    before = _generators(device)
    try:
        yield
    finally:
        _set_generators(before, device)


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers into Python's: a checkpoint holds nothing else, so that it can run no code."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _fingerprint(loop: _Loop, **arguments: Any) -> dict[str, str]:
    """Describe what must be the same for a run to go on, by the names of the arguments of :func:`fit`."""
    model, optimizer, schedule = _uncompiled(loop.model), loop.optimizer, loop.scheduler
    left_out = ("params", "initial_lr")
    groups = [{k: _plain(v) for k, v in g.items() if k not in left_out} for g in optimizer.param_groups]
    return {
        "model (structure)": repr(model),
        "model (initial weights)": joblib.hash([v.cpu().numpy() for v in model.state_dict().values()]),
        "train": loop.train.fingerprint(),
        "valid": str(loop.valid and loop.valid.fingerprint()),
        "criterion": getattr(loop.criterion, "__qualname__", type(loop.criterion).__qualname__),
        "optimizer": f"{type(optimizer).__name__} {groups}",
        "scheduler": f"{type(schedule).__name__} {schedule and _plain(schedule.state_dict())}",
        "amp": str(loop.precision),
        **{name: str(value) for name, value in arguments.items()},
    }


def _parts(loop: _Loop) -> dict[str, Any]:
    """List all that has a state of its own."""
    parts = {"model": _uncompiled(loop.model), "optimizer": loop.optimizer, "scheduler": loop.scheduler}
    return {name: part for name, part in parts.items() if part is not None}


def _save(path: Path, fingerprint: Mapping[str, str], loop: _Loop) -> None:
    """Write a temporary file and rename it: at no time is there half a checkpoint."""
    state = {name: _plain(part.state_dict()) for name, part in _parts(loop).items()}
    state |= {"history": loop.history, "best_epoch": loop.best_epoch, "best": loop.best}
    state |= {"generators": _generators(loop.device), "fingerprint": fingerprint}
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.part")
    with written.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)


def _load(path: Path, fingerprint: Mapping[str, str], loop: _Loop) -> None:
    """Restore everything; leave a file alone that is damaged or of another call."""
    try:
        # only tensors and plain numbers: a checkpoint from elsewhere cannot run code
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["fingerprint"]
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{path} is damaged or no checkpoint of fit ({reason}); delete it or name another file"
        ) from None
    if other := [name for name in fingerprint if found.get(name) != fingerprint[name]]:
        raise ValueError(
            f"checkpoint {path} was written by a call with other arguments: {', '.join(other)}. To go on, "
            "call fit as then, with model, optimizer and scheduler made anew in the same way; to start "
            "again, delete the file or name another one"
        )
    for name, part in _parts(loop).items():
        part.load_state_dict(state[name])
    loop.history, loop.best_epoch, loop.best = state["history"], state["best_epoch"], state["best"]
    _set_generators(state["generators"], loop.device)
