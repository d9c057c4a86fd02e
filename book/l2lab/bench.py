"""Benchmarks of the sweep and of the penalty: ``make bench``, or ``python -m l2lab.bench penalty`` for one.

One thread; process CPU time on a CPU, since the machine may be shared, and wall-clock time between
synchronizations on a GPU. All ways take turns in many short repetitions, so that a disturbance hits all.
Results go to ``book/results/bench-<device type>.json`` and ``book/results/penalty-<device type>.json``.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from . import checks, runtime
from .engine import CNN, MLP, Descent, minibatches
from .engine.splits import Split, check_data
from .engine.sweep import Grid, descents
from .layers import L2RegularizationLayer, param_groups
from .studies.record import RESULTS, provenance, write

__all__ = ["main", "measure", "measure_penalty", "penalty_step"]

N_ROWS = 512


class Case(NamedTuple):
    """A network and how it is trained."""

    name: str
    network: MLP | CNN
    batch_size: int
    n_models: int = 1
    steps: int = 1
    optimizer: str = "sgd"


SMALL, LARGE, CNN8 = MLP((64, 32, 10)), MLP((784, 256, 10)), CNN(1, (8, 16))
CASES = (
    Case("MLP 64-32-10", SMALL, 32, 64, 100),
    Case("MLP 64-128-10", MLP((64, 128, 10)), 64, 64, 30),
    Case("MLP 64-256-256-10", MLP((64, 256, 256, 10)), 64, 16, 20),
    Case("MLP 64-32-10", SMALL, 32, 1, 300),
    Case("MLP 64-32-10", SMALL, 32, 8, 300),
    Case("MLP 64-32-10, Adam", SMALL, 32, 64, 100, "adam"),
    Case("MLP 64-32-10, AdamW", SMALL, 32, 64, 100, "adamw"),
    Case("MLP 784-256-10", LARGE, 128, 8, 10),
    Case("MLP 784-256-10", LARGE, 128, 32, 5),
    Case("CNN 1-8-16, 16×16", CNN8, 32, 8, 20),
    Case("CNN 3-32-64, 32×32", CNN(3, (32, 64), 10, 32), 64, 4, 2),
)
PENALTY_CASES = (
    Case("MLP 64-64-64-10", MLP((64, 64, 64, 10)), 64),
    Case("MLP 784-512-512-10", MLP((784, 512, 512, 10)), 128),
    Case("CNN 1-8-16, 16×16", CNN8, 32),
)
# Ways to write the penalty, and how the table calls them.
PENALTY_WAYS = {
    "none": "no penalty",
    "weight_decay": "weight_decay of the optimizer",
    "gradient": "torch._foreach_add_ on the gradients",
    "naive": "sum of (w**2).sum() in the loss",
    "layer": "L2RegularizationLayer.fit_and_backward",
}
PENALTY_LAM, PENALTY_LR = 1e-3, 0.01
REPETITIONS = 150
# One repetition lasts about so long: short, since other programs disturb a long one more often than not.
REPETITION_SECONDS = 0.01


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    getattr(torch, device.type).synchronize()
    return time.perf_counter()


def _turns(
    functions: Sequence[Callable[[], Any]], device: torch.device, repetitions: int = 3, seconds: float = 0.0
) -> np.ndarray:
    """Run the functions in turns, so often and so long at least; return seconds, (repetitions, functions)."""
    for function in functions:  # libraries prepare themselves in a first run
        function()
    times, start = [], time.perf_counter()
    while len(times) < repetitions or time.perf_counter() - start < seconds:
        times.append([])
        for function in functions:
            begin = _clock(device)
            function()
            times[-1].append(_clock(device) - begin)
    return np.array(times)


def _gemm_rate(device: torch.device) -> float:
    """Floating point operations per second of a large float32 matrix product."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    out = torch.empty_like(a)
    return 2 * n**3 / _turns([lambda: torch.mm(a, b, out=out)], device, seconds=1.0).min()


# ---- the sweep ---------------------------------------------------------------------------------------------


class _Work(NamedTuple):
    """What all three ways train; all models start from seed 0 with the learning rate 0.01."""

    case: Case
    lams: np.ndarray
    train: Split
    batches: list[Tensor]


def _prepare(case: Case, device: torch.device, dtype: torch.dtype = torch.float32) -> _Work:
    """Draw data and batches."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(N_ROWS, *case.network.input_shape, generator=generator)
    y = torch.randint(0, case.network.n_outputs, (N_ROWS,), generator=generator)
    splits, _ = check_data({"train": (X, y)}, case.network, dtype, device)
    batches = [rows.to(device) for rows in minibatches(N_ROWS, case.batch_size, case.steps)]
    return _Work(case, np.logspace(-5, -1, case.n_models), splits["train"], batches)


def _by_loop(work: _Work, lam: float) -> nn.Module:
    """Train one model as anybody would: an ``nn.Module``, autograd and ``torch.optim``."""
    torch.manual_seed(0)
    module = work.case.network.module().to(work.train.X)
    groups = param_groups(module, lam)
    sgd = partial(torch.optim.SGD, momentum=0.9)
    rules = {"sgd": sgd, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = rules[work.case.optimizer](groups, lr=0.01)
    for rows in work.batches:
        loss = F.cross_entropy(module(work.train.X[rows]), work.train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module


def _by_vmap(work: _Work) -> dict[str, Tensor]:
    """Train all models with ``torch.func.vmap``, with SGD and momentum."""
    X, y = work.train.X, work.train.labels
    module = work.case.network.module().to(X)
    params = work.case.network.init([0] * len(work.lams), X.dtype, X.device)
    lam = torch.as_tensor(work.lams).to(X)
    shaped = {name: lam.view(-1, *[1] * (value.ndim - 1)) for name, value in params.items()}
    velocity = {name: torch.zeros_like(value) for name, value in params.items()}

    def loss(own: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(module, own, (x,)), labels)

    gradients = vmap(grad(loss), in_dims=(0, None, None))
    with torch.no_grad():
        for rows in work.batches:
            for name, g in gradients(params, X[rows], y[rows]).items():
                v = velocity[name].mul_(0.9).add_(g)
                if name.endswith("weight"):
                    v.addcmul_(params[name], shaped[name])
                params[name].sub_(v, alpha=0.01)
    return params


def _by_sweep(work: _Work) -> list[Descent]:
    """Prepare the sweep: its groups of models."""
    case = work.case
    grid = Grid.check(work.lams, 0, 0.01)
    return descents(case.network, grid, work.train, work.batches, {"optimizer": case.optimizer})


def measure(case: Case, device: torch.device, rate: float, seconds: float = 4.0) -> dict[str, Any]:
    """Measure one case: the smallest times of all repetitions, without preparations and metrics.

    The floor is the time for the floating point operations of the matrix products alone, at the rate of one
    large product. On a CPU the sweep cannot be faster than that, so the loop divided by the floor is a bound
    on the ratio (though none for a library that reaches a higher rate in convolutions).

    Parameters
    ----------
    case, device : Case, torch.device
        What to train, and where.
    rate : float
        Floating point operations per second of a large matrix product.
    seconds : float, default 4
        How long to repeat.

    Returns
    -------
    dict
        Times are in µs per model and step.
    """
    work = _prepare(case, device)
    groups = _by_sweep(work)

    def swept() -> None:
        for group in groups:
            group.done = 0  # once more through the same batches
            group.run(case.steps)

    ways: list[Callable[[], Any]] = [lambda: _by_loop(work, 1e-3), swept]
    if case.optimizer == "sgd":
        ways.append(lambda: _by_vmap(work))
    loop, *together = 1e6 * _turns(ways, device, seconds=seconds).min(axis=0) / case.steps
    batch, *rest = (float(us) / case.n_models for us in together)
    vmapped = rest[0] if rest else None
    floor = 1e6 * case.network.flops_per_sample * case.batch_size / rate
    return {
        "case": case.name,
        "optimizer": case.optimizer,
        "batch_size": case.batch_size,
        "K": case.n_models,
        "models_at_once": math.ceil(case.n_models / len(groups)),
        "loop_us": round(loop, 2),
        "vmap_us": None if vmapped is None else round(vmapped, 2),
        "sweep_us": round(batch, 2),
        "ratio": round(loop / batch, 2),
        "ratio_vmap": None if vmapped is None else round(vmapped / batch, 2),
        "floor_us": round(floor, 2),
        "sweep_over_floor": round(batch / floor, 2),
        "loop_over_floor": round(loop / floor, 2),
    }


# ---- the penalty -------------------------------------------------------------------------------------------


def penalty_step(case: Case, way: str, device: torch.device) -> tuple[nn.Module, Callable[[], None]]:
    """Prepare one way to train with the penalty.

    Parameters
    ----------
    case, way, device : Case, str, torch.device
        Network and batch, a key of ``PENALTY_WAYS``, and where to train.

    Returns
    -------
    module : torch.nn.Module
        The network; the same initial weights for every way.
    step : callable
        Does one update with SGD and momentum on one batch, always the same.
    """
    torch.manual_seed(0)
    module = case.network.module().to(device)
    x = torch.randn(case.batch_size, *case.network.input_shape, device=device)
    y = torch.randint(0, case.network.n_outputs, (case.batch_size,), device=device)
    groups = param_groups(module, PENALTY_LAM if way == "weight_decay" else 0.0)
    optimizer = torch.optim.SGD(groups, lr=PENALTY_LR, momentum=0.9)
    weights = groups[0]["params"]
    values = [w.detach() for w in weights]
    layer = L2RegularizationLayer(module, PENALTY_LAM)
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        if way == "layer":
            layer.fit_and_backward(x, y, criterion)
        else:
            loss = criterion(module(x), y)
            if way == "naive":
                loss = loss + PENALTY_LAM / 2 * sum((w**2).sum() for w in weights)
            loss.backward()
        if way == "gradient":
            torch._foreach_add_([w.grad for w in weights], values, alpha=PENALTY_LAM)
        optimizer.step()

    return module, step


def measure_penalty(case: Case, device: torch.device, repetitions: int = REPETITIONS) -> list[dict[str, Any]]:
    """Measure what the penalty costs in a training step, for four ways to write it that make the same update.

    Parameters
    ----------
    case, device : Case, torch.device
        What to train, and where.
    repetitions : int, default 150
        How often all ways take their turn.

    Returns
    -------
    list of dict
        One per way: smallest and median time of a step in µs; the ratio of the smallest times to no penalty,
        and the median of the ratios to no penalty within a turn.
    """
    steps = [penalty_step(case, way, device)[1] for way in PENALTY_WAYS]
    once = _turns(steps[:1], device, repetitions=1)[0, 0]
    count = max(1, round(REPETITION_SECONDS / max(once, 1e-6)))
    ways = [lambda step=step: [step() for _ in range(count)] for step in steps]
    times = 1e6 * _turns(ways, device, repetitions) / count
    smallest, median = times.min(axis=0), np.median(times, axis=0)
    ratios = np.median(times / times[:, :1], axis=0)
    return [
        {
            "case": case.name,
            "batch_size": case.batch_size,
            "way": way,
            "described": described,
            "steps_per_repetition": count,
            "min_us": round(float(smallest[k]), 1),
            "median_us": round(float(median[k]), 1),
            "min_ratio": round(float(smallest[k] / smallest[0]), 3),
            "median_ratio": round(float(ratios[k]), 3),
        }
        for k, (way, described) in enumerate(PENALTY_WAYS.items())
    ]


# ---- the command -------------------------------------------------------------------------------------------


def _write(name: str, what: str, device: torch.device, **content: Any) -> None:
    """Write a result file with everything that a measurement depends on."""
    result = {"what": what, **provenance(), "device": device.type, "machine": runtime.processor_name(device)}
    result["threads"] = torch.get_num_threads()
    result["clock"] = "process CPU time" if device.type == "cpu" else "wall-clock time, synchronized"
    path = RESULTS / f"{name}-{device.type}.json"
    write(path, result | content)
    print(f"wrote {path.name}")


def _print(row: dict[str, Any], keys: Sequence[str]) -> None:
    cells = ("–" if row[key] is None else row[key] for key in keys)
    print(f"{row['case']:22s}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def _sweep(device: torch.device) -> None:
    rate = _gemm_rate(device)
    print(f"large matrix product: {rate / 1e9:.0f} GFLOP/s; times in µs per model and step")
    keys = ("batch_size", "K", "loop_us", "vmap_us", "sweep_us", "ratio", "ratio_vmap", "floor_us")
    _print({"case": "network"} | {key: key for key in keys}, keys)
    rows = []
    for case in CASES:
        rows.append(measure(case, device, rate))
        _print(rows[-1], keys)
    what = "training time per model and step: λ sweep with a K axis, a Python loop over λ, and vmap"
    _write("bench", what, device, gemm_gflops=round(rate / 1e9, 1), rows=rows)


def _penalty(device: torch.device) -> None:
    print("cost of the penalty; times in µs per step, ratios to no penalty")
    keys = ("batch_size", "way", "min_us", "median_us", "min_ratio", "median_ratio")
    _print({"case": "network"} | {key: key for key in keys}, keys)
    rows = []
    for case in PENALTY_CASES:
        for row in measure_penalty(case, device, REPETITIONS):
            rows.append(row)
            _print(row, keys)
    note = "other programs may have been running; ratios compare steps that took turns"
    made = {"optimizer": "SGD, momentum 0.9", "lam": PENALTY_LAM, "repetitions": REPETITIONS}
    what = "training time per step with the L2 penalty written in several ways, relative to no penalty"
    _write("penalty", what, device, note=note, **made, rows=rows)


def main(parts: Sequence[str] = ()) -> None:
    """Run the benchmarks, print tables and write the result files.

    Parameters
    ----------
    parts : sequence of str
        "sweep" or "penalty"; by default both.
    """
    known = {"sweep": _sweep, "penalty": _penalty}
    for part in parts:
        checks.one_of("part", part, known)
    device = runtime.setup().device
    for part in parts or known:
        known[part](device)


if __name__ == "__main__":
    main(sys.argv[1:])
