"""Two benchmarks: ``python -m l2lab.bench [sweep] [penalty]``.

*sweep*: the sweep against a Python loop over λ. The loop trains one ``nn.Module`` after the other with
autograd and ``torch.optim``, as anybody would write it. Both do the same arithmetic
(``tests/test_sweep.py`` shows that they end at the same weights).

How time is measured: one thread; process CPU time on a CPU, since the machine may be shared, and wall-clock
time between synchronizations on a GPU; loop and sweep take turns, and the smallest time of all repetitions
counts. Preparations and metrics are left out on both sides.

The floor is the time for the floating point operations of the matrix products alone, at the rate that one
large product reaches on the same machine. On a CPU the sweep cannot be faster than that, so the loop
divided by the floor is a bound on the ratio. It is no bound for a library that reaches a higher rate in
convolutions.

*penalty*: what the L2 penalty costs in a training step, for four ways to write it that make the same update.
All ways take turns, many short repetitions each, so that a disturbance hits all of them. Compared are the
smallest times, and the times within a turn, of which the median counts: other programs may be running.

Results go to ``book/results/bench-<device type>.json`` and ``book/results/penalty-<device type>.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import runtime
from .layers import L2RegularizationLayer, param_groups
from .networks import CNN, MLP
from .sweep import _check_data, _Grid, _is_weight, _Job, _make_shards, _Rule, minibatches

__all__ = ["main", "measure", "measure_penalty", "penalty_step"]

RESULTS = Path(__file__).resolve().parents[1] / "results"
N_ROWS = 512


class Case(NamedTuple):
    """One line of the benchmark; `target` is the ratio that issue and book promise, on a CPU."""

    name: str
    network: MLP | CNN
    batch_size: int
    n_models: int
    steps: int
    target: float = 1.0
    optimizer: str = "sgd"


SMALL, MEDIUM, LARGE = MLP((64, 32, 10)), MLP((64, 128, 10)), MLP((784, 256, 10))
CNN4, CNN8, CNN16 = CNN(1, (4, 8)), CNN(1, (8, 16)), CNN(1, (16, 32))
CASES = (
    Case("MLP 64-32-10", SMALL, 32, 1, 300),
    Case("MLP 64-32-10", SMALL, 32, 8, 300),
    Case("MLP 64-32-10", SMALL, 32, 32, 100),
    Case("MLP 64-32-10", SMALL, 32, 64, 100, 25),
    Case("MLP 64-32-10, Adam", SMALL, 32, 64, 100, 1, "adam"),
    Case("MLP 64-32-10, AdamW", SMALL, 32, 64, 100, 1, "adamw"),
    Case("MLP 64-128-10", MEDIUM, 64, 8, 100),
    Case("MLP 64-128-10", MEDIUM, 64, 32, 50),
    Case("MLP 64-128-10", MEDIUM, 64, 64, 50, 8),
    Case("MLP 784-256-10", LARGE, 128, 1, 20),
    Case("MLP 784-256-10", LARGE, 128, 8, 10),
    Case("MLP 784-256-10", LARGE, 128, 32, 5),
    Case("MLP 784-512-512-10", MLP((784, 512, 512, 10)), 128, 4, 5),
    Case("CNN 1-4-8, 16×16", CNN4, 16, 16, 50, 6),
    Case("CNN 1-4-8, 16×16", CNN4, 16, 64, 20, 6),
    Case("CNN 1-8-16, 16×16", CNN8, 32, 8, 20),
    Case("CNN 1-8-16, 16×16", CNN8, 32, 16, 20),
    Case("CNN 1-16-32, 16×16", CNN16, 64, 1, 10),
    Case("CNN 1-16-32, 16×16", CNN16, 64, 8, 8, 2),
    Case("CNN 3-32-64, 32×32", CNN(3, (32, 64), 10, 32), 64, 4, 2),
)


class PenaltyCase(NamedTuple):
    """One network of the benchmark of the penalty."""

    name: str
    network: MLP | CNN
    batch_size: int


PENALTY_CASES = (
    PenaltyCase("MLP 64-64-64-10", MLP((64, 64, 64, 10)), 64),
    PenaltyCase("MLP 784-512-512-10", MLP((784, 512, 512, 10)), 128),
    PenaltyCase("CNN 1-8-16, 16×16", CNN8, 32),
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


def _smallest(functions: list[Callable[[], Any]], device: torch.device, seconds: float) -> list[float]:
    """Run the functions in turns for some seconds, at least three times each; return the smallest times."""
    best = [float("inf")] * len(functions)
    for function in functions:  # libraries prepare themselves in a first run
        function()
    repetition, start = 0, time.perf_counter()
    while repetition < 3 or time.perf_counter() - start < seconds:
        for k, function in enumerate(functions):
            begin = _clock(device)
            function()
            best[k] = min(best[k], _clock(device) - begin)
        repetition += 1
    return best


def gemm_rate(device: torch.device) -> float:
    """Measure the rate of a large float32 matrix product.

    Parameters
    ----------
    device : torch.device
        Where.

    Returns
    -------
    float
        Floating point operations per second.
    """
    n = 1024 if device.type == "cpu" else 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    out = torch.empty_like(a)
    (seconds,) = _smallest([lambda: torch.mm(a, b, out=out)], device, 1.0)
    return 2 * n**3 / seconds


def _job(case: Case, device: torch.device) -> _Job:
    """Prepare what sweep() prepares, with random data."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(N_ROWS, *case.network.input_shape, generator=generator)
    y = torch.randint(0, case.network.n_outputs, (N_ROWS,), generator=generator)
    grid = _Grid.check(np.logspace(-5, -1, case.n_models), 0, 0.01)
    rule = _Rule.check(case.optimizer, 0.9, (0.9, 0.999), 1e-8, "constant", case.steps)
    splits, loss = _check_data({"train": (X, y)}, case.network, None, torch.float32, device)
    batches = [rows.to(device) for rows in minibatches(N_ROWS, case.batch_size, case.steps)]
    return _Job(case.network, grid, rule, loss, splits, batches, torch.float32, device)


def train_one(case: Case, job: _Job, lam: float) -> None:
    """Train one model of the loop.

    Parameters
    ----------
    case : Case
        Network and optimizer.
    job : _Job
        Data and minibatches.
    lam : float
        λ; biases are not penalized.
    """
    train = job.splits["train"]
    module = case.network.module().to(job.device)
    named = list(module.named_parameters())
    groups = [
        {"params": [p for name, p in named if _is_weight(name)], "weight_decay": lam},
        {"params": [p for name, p in named if not _is_weight(name)], "weight_decay": 0.0},
    ]
    if case.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[case.optimizer](groups, lr=0.01)
    for rows in job.batches:
        loss = F.cross_entropy(module(train.X[rows]), train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def measure(case: Case, device: torch.device, rate: float, seconds: float = 4.0) -> dict[str, Any]:
    """Measure one case.

    Parameters
    ----------
    case : Case
        What to train.
    device : torch.device
        Where.
    rate : float
        From :func:`gemm_rate`.
    seconds : float, default 4
        How long to repeat.

    Returns
    -------
    dict
        Times are in µs per model and step.
    """
    job = _job(case, device)
    shards = _make_shards(job, "batched", case.batch_size)

    def batched() -> None:
        with torch.inference_mode():
            for shard in shards:
                shard.run(0, case.steps)

    loop_seconds, sweep_seconds = _smallest([lambda: train_one(case, job, 1e-3), batched], device, seconds)
    loop = 1e6 * loop_seconds / case.steps
    batch = 1e6 * sweep_seconds / case.steps / case.n_models
    floor = 1e6 * case.network.flops_per_sample * case.batch_size / rate
    return {
        "case": case.name,
        "optimizer": case.optimizer,
        "batch_size": case.batch_size,
        "K": case.n_models,
        "models_at_once": max(shard.n_models for shard in shards),
        "loop_us": round(loop, 2),
        "sweep_us": round(batch, 2),
        "ratio": round(loop / batch, 2),
        "target": case.target if device.type == "cpu" else round(0.8 * case.n_models, 1),
        "floor_us": round(floor, 2),
        "sweep_over_floor": round(batch / floor, 2),
        "loop_over_floor": round(loop / floor, 2),
    }


def penalty_step(case: PenaltyCase, way: str, device: torch.device) -> tuple[nn.Module, Callable[[], None]]:
    """Prepare one way to train with the penalty.

    Parameters
    ----------
    case : PenaltyCase
        Network and batch.
    way : str
        A key of ``PENALTY_WAYS``.
    device : torch.device
        Where.

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


def measure_penalty(
    case: PenaltyCase, device: torch.device, repetitions: int = REPETITIONS
) -> list[dict[str, Any]]:
    """Measure all ways for one network.

    Parameters
    ----------
    case : PenaltyCase
        What to train.
    device : torch.device
        Where.
    repetitions : int, default 150
        How often all ways take their turn.

    Returns
    -------
    list of dict
        One per way: smallest and median time of a step in µs; the ratio of the smallest times to no penalty,
        and the median of the ratios to no penalty within a turn.
    """
    steps = {way: penalty_step(case, way, device)[1] for way in PENALTY_WAYS}
    for step in steps.values():  # libraries prepare themselves in a first run
        for _ in range(3):
            step()
    begin = _clock(device)
    steps["none"]()
    count = max(1, round(REPETITION_SECONDS / max(_clock(device) - begin, 1e-6)))
    times: dict[str, list[float]] = {way: [] for way in steps}
    for _ in range(repetitions):
        for way, step in steps.items():
            begin = _clock(device)
            for _ in range(count):
                step()
            times[way].append(1e6 * (_clock(device) - begin) / count)
    none = np.array(times["none"])
    return [
        {
            "case": case.name,
            "batch_size": case.batch_size,
            "way": way,
            "described": PENALTY_WAYS[way],
            "steps_per_repetition": count,
            "min_us": round(min(own), 1),
            "median_us": round(float(np.median(own)), 1),
            "min_ratio": round(min(own) / min(none), 3),
            "median_ratio": round(float(np.median(np.divide(own, none))), 3),
        }
        for way, own in times.items()
    ]


def _write(name: str, what: str, device: torch.device, **content: Any) -> None:
    """Write a result file with everything that a measurement depends on."""
    result = {
        "what": what,
        "date": date.today().isoformat(),
        "device": device.type,
        "machine": runtime.processor_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "clock": "process CPU time" if device.type == "cpu" else "wall-clock time, synchronized",
        **content,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device.type}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path.name}")


def _bench_sweep(device: torch.device, only: str, seconds: float) -> None:
    rate = gemm_rate(device)
    print(f"large matrix product: {rate / 1e9:.0f} GFLOP/s; times in µs per model and step")
    print(f"{'network':22s}{'batch':>6s}{'K':>4s}{'loop':>9s}{'sweep':>9s}{'ratio':>7s}{'target':>8s}"
          f"{'floor':>9s}{'sweep/floor':>13s}{'loop/floor':>12s}")  # fmt: skip
    rows = []
    for case in CASES:
        if only not in case.name:
            continue
        row = measure(case, device, rate, seconds)
        rows.append(row)
        print(f"{row['case']:22s}{row['batch_size']:6d}{row['K']:4d}{row['loop_us']:9.1f}{row['sweep_us']:9.1f}"
              f"{row['ratio']:7.1f}{row['target']:8.1f}{row['floor_us']:9.1f}{row['sweep_over_floor']:13.2f}"
              f"{row['loop_over_floor']:12.1f}", flush=True)  # fmt: skip
    if not only:
        what = "training time per model and step: λ sweep with a K axis against a Python loop over λ"
        _write("bench", what, device, gemm_gflops=round(rate / 1e9, 1), rows=rows)


def _bench_penalty(device: torch.device, only: str) -> None:
    print("cost of the penalty; times in µs per step, ratios to no penalty")
    print(f"{'network':22s}{'batch':>6s}  {'way':42s}{'min':>9s}{'median':>9s}{'of mins':>9s}{'median':>9s}")
    rows = []
    for case in PENALTY_CASES:
        if only not in case.name:
            continue
        for row in measure_penalty(case, device):
            rows.append(row)
            print(f"{row['case']:22s}{row['batch_size']:6d}  {row['described']:42s}{row['min_us']:9.1f}"
                  f"{row['median_us']:9.1f}{row['min_ratio']:9.2f}{row['median_ratio']:9.2f}")  # fmt: skip
    if not only:
        what = "training time per step with the L2 penalty written in several ways, relative to no penalty"
        _write(
            "penalty",
            what,
            device,
            note="other programs may have been running; ratios compare steps that took turns",
            optimizer="SGD, momentum 0.9",
            lam=PENALTY_LAM,
            repetitions=REPETITIONS,
            rows=rows,
        )


def main(argv: list[str] | None = None) -> None:
    """Run the benchmarks, print tables and write the result files.

    Parameters
    ----------
    argv : list of str, optional
        Command line; ``--help`` explains it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m l2lab.bench",
        description="Sweep against a loop over λ, and the cost of the penalty per training step.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="'sweep', 'penalty' or both (default both)", default=[]
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="time per case of the sweep (default 4)")
    parser.add_argument(
        "--only", default="", help="run only cases with this in their name, and write no file"
    )
    arguments = parser.parse_args(argv)
    unknown = set(arguments.parts) - {"sweep", "penalty"}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not a part; use sweep, penalty or nothing for both")
    device = runtime.setup().device
    if "sweep" in arguments.parts or not arguments.parts:
        _bench_sweep(device, arguments.only, arguments.seconds)
    if "penalty" in arguments.parts or not arguments.parts:
        _bench_penalty(device, arguments.only)


if __name__ == "__main__":
    main()
