"""A sweep cut into shards that run anywhere joblib runs: on the cores of this machine, on dask, on ray.

All models of a sweep are independent of each other: each starts from its own seed and all see the minibatches
of ``batch_seed``. So the grid can be cut into rectangles of λ and seeds, and the parts can be trained in any
order, on any machine, and again after a machine was lost. Where they run is decided outside::

    with joblib.parallel_config(backend="loky", n_jobs=2):
        result = sweep_shards(network, problem, lams, seeds=range(5))

With ``distributed.Client(...)`` running, ``backend="dask"`` uses its workers; ``backend="ray"`` works after
``ray.util.joblib.register_ray()``. Without any configuration the shards run here, one after the other.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch

from .. import __version__, checks, runtime
from ..progress import progress_bar
from .networks import CNN, MLP
from .result import SweepResult
from .splits import check_data
from .sweep import Grid, sweep, warn_of_divergence

__all__ = ["sweep_shards"]

# What a worker sends back and what a shard file holds. No pickles: a file from elsewhere cannot run code.
Arrays = dict[str, np.ndarray]


def sweep_shards(
    network: MLP | CNN,
    data: Any,
    lams: Any,
    *,
    shards: int = 4,
    folder: str | os.PathLike[str] | None = None,
    **options: Any,
) -> SweepResult:
    """Do a sweep in parts, where :func:`joblib.parallel_config` says.

    Parameters
    ----------
    network : MLP or CNN
        As in :func:`l2lab.engine.sweep`, like the next two.
    data : Problem or dict of str to (X, y)
        Data with the split ``"train"``.
    lams : float or sequence of float, length L
        Strengths λ ≥ 0 of the penalty.
    shards : int, default 4
        Number of parts, at least. λ is cut first; if there are fewer λ than `shards`, seeds are cut as well.
        Never more parts than λ times seeds. Several parts per worker lose less when a worker is lost.
    folder : path-like, optional
        Every finished part is stored here, under a name that contains a hash of everything it depends on:
        network, data, its λ and seeds, options, versions of torch and l2lab. A later call with the same
        arguments reads what is there and computes the rest. All workers must see this folder.
    **options : Any
        Of :func:`l2lab.engine.sweep`. The bar of `progress` counts parts.

    Returns
    -------
    SweepResult
        As from one call of :func:`l2lab.engine.sweep`, equal up to rounding: models that are trained together
        share matrix products, and their grouping is another one. ``seconds`` is the wall-clock time of this
        call.

    Raises
    ------
    ValueError, TypeError
        As in :func:`l2lab.engine.sweep`, before anything is distributed if possible; `shards` not positive.
    KeyboardInterrupt
        After Ctrl-C. A sweep of which parts are missing is no result, but stored parts remain.

    Warns
    -----
    RuntimeWarning
        If a stored part is damaged; it is computed again. If models diverged, as in
        :func:`l2lab.engine.sweep`.

    Notes
    -----
    Every worker computes with one thread, and flushes denormal numbers to zero if this process does
    (:func:`l2lab.runtime.setup`); both remain set in the worker. The device is chosen here, so that
    ``L2LAB_DEVICE`` need not be known to the workers; one that lacks the device uses its CPU.

    Examples
    --------
    >>> with joblib.parallel_config(backend="loky", n_jobs=2):
    ...     result = sweep_shards(MLP((64, 32, 10)), problem, np.logspace(-4, 0, 9), seeds=range(3), shards=6)
    >>> result.metrics["valid_loss"].shape
    (9, 3, 1)
    """
    started = time.perf_counter()
    checks.whole("shards", shards, 1)
    arguments = _arguments(network, data, lams, options)
    progress = arguments.pop("progress")
    pieces = _cut(arguments, shards)
    paths: list[Path | None] = [None] * len(pieces)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = _paths(Path(folder), arguments, pieces)
    parts = list(map(_load, paths))
    missing = [k for k, part in enumerate(parts) if part is None]
    setting = _Setting.of_this_process()
    threads = torch.get_num_threads()
    try:
        with progress_bar(len(missing), progress, "λ sweep", "shard") as advance:
            tasks = (joblib.delayed(_work)(arguments | pieces[k], setting, paths[k]) for k in missing)
            done = _Parallel(advance)(tasks)
    finally:
        torch.set_num_threads(threads)  # the worker may have been this process
    for k, part in zip(missing, done, strict=True):
        parts[k] = part
    result = _merge(arguments, parts, time.perf_counter() - started)
    warn_of_divergence(result)
    return result


# ---- cutting and merging -----------------------------------------------------------------------------------


def _arguments(network: Any, data: Any, lams: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Check what can be checked here, and bring everything into the form that is hashed and sent."""
    bound = inspect.signature(sweep).bind(network, data, lams, **options)
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    if not isinstance(network, MLP | CNN):
        raise ValueError(f"network must be an MLP or CNN of l2lab.engine, got {type(network).__name__}")
    grid = Grid.check(lams, arguments["seeds"], arguments["lrs"])
    splits, arguments["loss"] = check_data(
        data, network, arguments["loss"], arguments["dtype"], torch.device("cpu")
    )
    raw = getattr(data, "splits", data)
    arguments["data"] = {key: tuple(_array(part) for part in raw[key]) for key in splits}
    arguments["device"] = str(runtime.pick_device(arguments["device"]))
    return arguments | {"lams": grid.lams, "seeds": grid.seeds, "lrs": grid.lrs}


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _cut(arguments: dict[str, Any], shards: int) -> list[dict[str, np.ndarray]]:
    """Cut the grid into rectangles of λ and seeds, seeds fastest."""
    lams, seeds = arguments["lams"], arguments["seeds"]
    n_lams = min(shards, len(lams))
    n_seeds = min(math.ceil(shards / n_lams), len(seeds))
    return [
        {"lams": part, "seeds": some}
        for part in np.array_split(lams, n_lams)
        for some in np.array_split(seeds, n_seeds)
    ]


def _merge(arguments: dict[str, Any], parts: list[Arrays], seconds: float) -> SweepResult:
    """Put the rectangles together again."""
    n_seeds = len(arguments["seeds"])
    rows, row = [], []
    for part in parts:
        row.append(part)
        if sum(len(p["seeds"]) for p in row) == n_seeds:
            rows.append(row)
            row = []

    def joined(name: str, axis: int) -> np.ndarray:
        return np.concatenate([np.concatenate([p[name] for p in row], axis + 1) for row in rows], axis)

    names = [name.partition("/")[::2] for name in parts[0]]
    history = {name: joined(f"history/{name}", 1) for kind, name in names if kind == "history"}
    about = json.loads(str(parts[0]["about"]))
    return SweepResult(
        network=arguments["network"],
        lams=arguments["lams"],
        seeds=arguments["seeds"],
        lrs=arguments["lrs"],
        metrics={name: values[-1].copy() for name, values in history.items()},
        history=history,
        history_steps=parts[0]["history_steps"],
        params={
            name: torch.from_numpy(joined(f"params/{name}", 0)) for kind, name in names if kind == "params"
        },
        loss=about["loss"],
        steps=about["steps"],
        interrupted=False,
        seconds=seconds,
        device=torch.device(about["device"]),
    )


# ---- in a worker -------------------------------------------------------------------------------------------


class _Setting(NamedTuple):
    """What :func:`l2lab.runtime.setup` has set here, since numbers depend on it."""

    flushes_denormals: bool
    deterministic: int

    @classmethod
    def of_this_process(cls) -> _Setting:
        smaller = torch.tensor(1e-310, dtype=torch.float64) * 0.5  # torch does not tell, so it is tried
        return cls(float(smaller) == 0, torch.get_deterministic_debug_mode())

    def apply(self) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(self.flushes_denormals)
        torch.set_deterministic_debug_mode(self.deterministic)


def _work(arguments: dict[str, Any], setting: _Setting, path: Path | None) -> Arrays:
    """Train one part and store it."""
    setting.apply()
    with warnings.catch_warnings():  # said once, of the whole sweep
        warnings.filterwarnings("ignore", r"\d+ of \d+ models diverged", RuntimeWarning)
        result = sweep(**arguments, progress=False)
    if result.interrupted:
        raise KeyboardInterrupt
    about = {
        "loss": result.loss,
        "steps": result.steps,
        "device": str(result.device),
    }
    arrays = {
        "about": np.array(json.dumps(about)),
        "lams": result.lams,
        "seeds": result.seeds,
        "history_steps": result.history_steps,
        **{f"history/{name}": values for name, values in result.history.items()},
        **{f"params/{name}": values.numpy() for name, values in result.params.items()},
    }
    if path is not None:
        _store(path, arrays)
    return arrays


class _Parallel(joblib.Parallel):
    """Moves our bar, with every backend."""

    def __init__(self, advance: Callable[[int], Any]) -> None:
        super().__init__(batch_size=1)
        self.advance, self.shown = advance, 0

    def print_progress(self) -> None:
        """Called by joblib whenever a task is done."""
        self.advance(self.n_completed_tasks - self.shown)
        self.shown = self.n_completed_tasks


# ---- stored parts ------------------------------------------------------------------------------------------


def _paths(folder: Path, arguments: dict[str, Any], pieces: list[dict[str, np.ndarray]]) -> list[Path]:
    """Name the file of every part by all that its numbers depend on."""
    named = {
        name: value for name, value in arguments.items() if name not in ("lams", "seeds", "network", "dtype")
    }
    common = [__version__, torch.__version__, repr(arguments["network"]), str(arguments["dtype"]), named]
    return [folder / f"shard-{joblib.hash([common, piece])[:24]}.npz" for piece in pieces]


def _store(path: Path, arrays: Arrays) -> None:
    """Write a temporary file and rename it: under the name of a part there is never half of it."""
    # two workers may have the same task if one of them was believed to be lost
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _load(path: Path | None) -> Arrays | None:
    """Read a part; None if it is not there or damaged."""
    if path is None or not path.exists():
        return None
    try:
        # reading compares the checksums; np.load alone would leave a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(
            f"{path} is damaged and is computed again ({str(error).splitlines()[0]})",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
