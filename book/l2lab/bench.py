"""Benchmark of the sweep against a Python loop over λ: ``python -m l2lab.bench``.

The loop trains one ``nn.Module`` after the other with autograd and ``torch.optim``, as anybody would write
it. Both do the same arithmetic (``tests/test_sweep.py`` shows that they end at the same weights).

How time is measured: one thread; process CPU time on a CPU, since the machine may be shared, and wall-clock
time between synchronizations on a GPU; loop and sweep take turns, and the smallest time of all repetitions
counts. Preparations and metrics are left out on both sides.

The floor is the time for the floating point operations of the matrix products alone, at the rate that one
large product reaches on the same machine. On a CPU the sweep cannot be faster than that, so the loop
divided by the floor is a bound on the ratio. It is no bound for a library that reaches a higher rate in
convolutions.

Results go to ``book/results/bench-<device type>.json``.
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

from . import runtime
from .networks import CNN, MLP
from .sweep import _check_data, _Grid, _is_weight, _Job, _make_shards, _Rule, minibatches

__all__ = ["main", "measure"]

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


def _machine(device: torch.device) -> str:
    """Name the processor, not the computer."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark, print a table and write the result file.

    Parameters
    ----------
    argv : list of str, optional
        Command line; ``--help`` explains it.
    """
    parser = argparse.ArgumentParser(prog="python -m l2lab.bench", description="Sweep against a loop over λ.")
    parser.add_argument("--seconds", type=float, default=4.0, help="time per case (default 4)")
    parser.add_argument(
        "--only", default="", help="run only cases with this in their name, and write no file"
    )
    arguments = parser.parse_args(argv)
    device = runtime.setup().device
    rate = gemm_rate(device)
    print(f"large matrix product: {rate / 1e9:.0f} GFLOP/s; times in µs per model and step")
    print(f"{'network':22s}{'batch':>6s}{'K':>4s}{'loop':>9s}{'sweep':>9s}{'ratio':>7s}{'target':>8s}"
          f"{'floor':>9s}{'sweep/floor':>13s}{'loop/floor':>12s}")  # fmt: skip
    rows = []
    for case in CASES:
        if arguments.only not in case.name:
            continue
        row = measure(case, device, rate, arguments.seconds)
        rows.append(row)
        print(f"{row['case']:22s}{row['batch_size']:6d}{row['K']:4d}{row['loop_us']:9.1f}{row['sweep_us']:9.1f}"
              f"{row['ratio']:7.1f}{row['target']:8.1f}{row['floor_us']:9.1f}{row['sweep_over_floor']:13.2f}"
              f"{row['loop_over_floor']:12.1f}", flush=True)  # fmt: skip
    if arguments.only:
        return
    result = {
        "what": "training time per model and step: λ sweep with a K axis against a Python loop over λ",
        "date": date.today().isoformat(),
        "device": device.type,
        "machine": _machine(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "clock": "process CPU time" if device.type == "cpu" else "wall-clock time, synchronized",
        "gemm_gflops": round(rate / 1e9, 1),
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"bench-{device.type}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
