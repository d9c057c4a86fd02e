"""A sweep cut into shards that run anywhere joblib runs: on the cores of this machine, on dask, on ray.

All models of a sweep are independent of each other: each starts from its own seed and all see the minibatches
of ``batch_seed``. So the grid can be cut into rectangles, and these be trained anywhere, in any order, again.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from .. import __version__, checks, runtime
from .networks import CNN, MLP
from .result import SweepResult
from .sweep import Grid, sweep, warn_of_divergence

__all__ = ["sweep_shards"]

# What a worker sends back and what a shard file holds. No pickles: a file from elsewhere cannot run code.
Arrays = dict[str, np.ndarray]


def sweep_shards(
    network: MLP | CNN,
    data: Any,
    lams: Any,
    *,
    seeds: Any = (0,),
    lrs: Any = (0.1,),
    shards: int = 4,
    folder: str | os.PathLike[str] | None = None,
    **options: Any,
) -> SweepResult:
    """Do a sweep in parts, where :func:`joblib.parallel_config` says; by default here, one after the other.

    Parameters
    ----------
    network, data, lams, seeds, lrs : Any
        As in :func:`l2lab.engine.sweep`.
    shards : int, default 4
        Number of parts, at least. λ is cut first; if there are fewer λ than `shards`, seeds are cut as well.
        Never more parts than λ times seeds. Several parts per worker lose less when a worker is lost.
    folder : path-like, optional
        Every finished part is stored here, under a name that contains a hash of everything it depends on:
        network, data, its λ and seeds, options, versions of torch and l2lab. A later call with the same
        arguments reads what is there and computes the rest. All workers must see this folder.
    **options : Any
        Others of :func:`l2lab.engine.sweep`. No bar is shown; ``joblib.parallel_config(verbose=5)`` reports.

    Returns
    -------
    SweepResult
        As from one call of :func:`l2lab.engine.sweep`, equal up to rounding: models that are trained together
        share matrix products, and their grouping is another one. ``seconds`` is the wall-clock time of this
        call.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C. A sweep of which parts are missing is no result, but stored parts remain.

    Notes
    -----
    Every worker process computes with one thread, and flushes denormal numbers to zero, as
    :func:`l2lab.runtime.setup` does here. The device is chosen here; a worker that lacks it uses its CPU.
    """
    started = time.perf_counter()
    grid = Grid.check(lams, seeds, lrs)
    # numbers of the same value must have the same hash, whatever held them
    splits = getattr(data, "splits", data)
    arguments = options | {
        "network": network,
        "data": {key: (np.asarray(X), np.asarray(y)) for key, (X, y) in splits.items()},
        "lrs": grid.lrs,
        "device": str(runtime.pick_device(options.get("device"))),
        "progress": False,
    }
    rows = _cut(grid, checks.whole("shards", shards, 1))
    pieces = [piece for row in rows for piece in row]
    paths = _paths(folder, arguments, pieces)
    parts = [_load(path) if path is not None and path.exists() else None for path in paths]
    missing = [k for k, part in enumerate(parts) if part is None]
    tasks = (joblib.delayed(_work)(arguments | pieces[k], paths[k], os.getpid()) for k in missing)
    for k, part in zip(missing, joblib.Parallel(batch_size=1)(tasks), strict=True):
        parts[k] = part
    result = _merge(network, grid, parts, len(rows), time.perf_counter() - started)
    warn_of_divergence(result)
    return result


def _cut(grid: Grid, shards: int) -> list[list[dict[str, np.ndarray]]]:
    """Cut the grid into rows of rectangles: along λ, and each row along the seeds."""
    n_lams = min(shards, len(grid.lams))
    n_seeds = min(math.ceil(shards / n_lams), len(grid.seeds))
    return [
        [{"lams": lams, "seeds": seeds} for seeds in np.array_split(grid.seeds, n_seeds)]
        for lams in np.array_split(grid.lams, n_lams)
    ]


def _merge(network: MLP | CNN, grid: Grid, parts: list[Arrays], n_rows: int, seconds: float) -> SweepResult:
    """Put the rectangles together again."""
    rows = np.array_split(np.arange(len(parts)), n_rows)
    about = {name: parts[0].pop(name).item() for name in ("loss", "steps", "device")}
    joined = {
        name: np.concatenate([np.concatenate([parts[k][name] for k in row], 1) for row in rows])
        for name in parts[0]
    }
    params = {name: torch.from_numpy(joined.pop(name)) for name in network.shapes}
    return SweepResult(
        network=network,
        **grid._asdict(),
        metrics=joined,
        params=params,
        interrupted=False,
        seconds=seconds,
        **about | {"device": torch.device(about["device"])},
    )


def _work(arguments: dict[str, Any], path: Path | None, caller: int) -> Arrays:
    """Train one part and store it."""
    if os.getpid() != caller:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    with warnings.catch_warnings():  # said once, of the whole sweep
        warnings.filterwarnings("ignore", r"\d+ of \d+ models diverged", RuntimeWarning)
        result = sweep(**arguments)
    if result.interrupted:
        raise KeyboardInterrupt
    arrays = result.metrics | {name: values.numpy() for name, values in result.params.items()}
    about = {"loss": result.loss, "steps": result.steps, "device": str(result.device)}
    arrays |= {name: np.array(value) for name, value in about.items()}
    if path is not None:
        _store(path, arrays)
    return arrays


def _paths(folder: Any, arguments: dict[str, Any], pieces: list[dict[str, np.ndarray]]) -> list[Path | None]:
    """Name the file of every part by all that its numbers depend on."""
    if folder is None:
        return [None] * len(pieces)
    Path(folder).mkdir(parents=True, exist_ok=True)
    named = arguments | {"network": repr(arguments["network"]), "dtype": str(arguments.get("dtype"))}
    common = [__version__, torch.__version__, named]
    return [Path(folder) / f"part-{joblib.hash([common, piece])[:24]}.npz" for piece in pieces]


def _store(path: Path, arrays: Arrays) -> None:
    """Write a temporary file and rename it: under the name of a part there is never half of it."""
    # two workers may have the same task if one of them was believed to be lost
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    temporary.replace(path)


def _load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
