"""Two benchmarks: ``python -m l2lab.bench [sweep] [penalty]``.

*sweep*: the sweep against two ways to do without it. The loop trains one ``nn.Module`` after the other with
autograd and ``torch.optim``, as anybody would write it; ``torch.func.vmap`` is what PyTorch offers for many
models of one shape, with the same update for all. All end at the same weights (``tests/test_bench.py``).

How time is measured: one thread; process CPU time on a CPU, since the machine may be shared, and wall-clock
time between synchronizations on a GPU; all ways take turns, and the smallest time of all repetitions
counts. Preparations and metrics are left out on all sides.

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
import math
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from . import runtime
from .engine import CNN, MLP, Descent, minibatches
from .engine.splits import Split, check_data
from .engine.sweep import Grid, descents
from .layers import L2RegularizationLayer, param_groups

__all__ = ["by_loop", "by_sweep", "by_vmap", "main", "measure", "measure_penalty", "penalty_step", "prepare"]

RESULTS = Path(__file__).resolve().parents[1] / "results"
N_ROWS = 512


class Case(NamedTuple):
    """One line of the benchmark."""

    name: str
    network: MLP | CNN
    batch_size: int
    n_models: int
    steps: int
    optimizer: str = "sgd"


SMALL, MEDIUM, LARGE = MLP((64, 32, 10)), MLP((64, 128, 10)), MLP((784, 256, 10))
CNN8 = CNN(1, (8, 16))
CASES = (
    Case("MLP 64-32-10", SMALL, 32, 64, 100),
    Case("MLP 64-128-10", MEDIUM, 64, 64, 30),
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


class Work(NamedTuple):
    """What all three ways train.

    Parameters
    ----------
    case : Case
        Network and optimizer.
    lams : ndarray, shape (K,)
        λ of the models, all of which start from seed 0 with the learning rate 0.01.
    train : Split
        Random data.
    batches : list of Tensor
        Rows of each step.
    """

    case: Case
    lams: np.ndarray
    train: Split
    batches: list[Tensor]


def prepare(case: Case, device: torch.device, dtype: torch.dtype = torch.float32) -> Work:
    """Draw data.

    Parameters
    ----------
    case : Case
        What to train.
    device : torch.device
        Where.
    dtype : torch.dtype
        With which arithmetic.

    Returns
    -------
    Work
        For the functions below.
    """
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(N_ROWS, *case.network.input_shape, generator=generator)
    y = torch.randint(0, case.network.n_outputs, (N_ROWS,), generator=generator)
    splits, _ = check_data({"train": (X, y)}, case.network, dtype, device)
    batches = [rows.to(device) for rows in minibatches(N_ROWS, case.batch_size, case.steps)]
    return Work(case, np.logspace(-5, -1, case.n_models), splits["train"], batches)


def by_loop(work: Work, lam: float) -> nn.Module:
    """Train one model as anybody would.

    Parameters
    ----------
    work : Work
        From :func:`prepare`.
    lam : float
        λ.

    Returns
    -------
    torch.nn.Module
        Trained.
    """
    torch.manual_seed(0)
    module = work.case.network.module().to(work.train.X)
    groups = param_groups(module, lam)
    if work.case.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[work.case.optimizer]
        optimizer = kind(groups, lr=0.01)
    for rows in work.batches:
        loss = F.cross_entropy(module(work.train.X[rows]), work.train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module


def by_vmap(work: Work) -> dict[str, Tensor]:
    """Train all models with ``torch.func.vmap``, with SGD and momentum.

    Parameters
    ----------
    work : Work
        From :func:`prepare`.

    Returns
    -------
    dict of str to Tensor, shape (K, ...)
        Trained parameters.
    """
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


def by_sweep(work: Work) -> list[Descent]:
    """Prepare the sweep.

    Parameters
    ----------
    work : Work
        From :func:`prepare`.

    Returns
    -------
    list of Descent
        Its groups of models.
    """
    case = work.case
    grid = Grid.check(work.lams, 0, 0.01)
    return descents(case.network, grid, work.train, work.batches, {"optimizer": case.optimizer})


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
    work = prepare(case, device)
    groups = by_sweep(work)

    def swept() -> None:
        for group in groups:
            group.done = 0  # once more through the same batches
            group.run(case.steps)

    ways: list[Callable[[], Any]] = [lambda: by_loop(work, 1e-3), swept]
    if case.optimizer == "sgd":
        ways.append(lambda: by_vmap(work))
    loop_seconds, sweep_seconds, *rest = _smallest(ways, device, seconds)
    loop = 1e6 * loop_seconds / case.steps
    batch = 1e6 * sweep_seconds / case.steps / case.n_models
    vmapped = 1e6 * rest[0] / case.steps / case.n_models if rest else None
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
    print(f"{'network':20s}{'batch':>6s}{'K':>4s}{'loop':>9s}{'vmap':>9s}{'sweep':>9s}{'loop/sweep':>12s}"
          f"{'vmap/sweep':>12s}{'floor':>9s}{'sweep/floor':>13s}")  # fmt: skip
    rows = []
    for case in CASES:
        if only not in case.name:
            continue
        row = measure(case, device, rate, seconds)
        rows.append(row)
        vmap_us, by_it = (f"{row[k]:.1f}" if row[k] else "–" for k in ("vmap_us", "ratio_vmap"))
        print(f"{row['case']:20s}{row['batch_size']:6d}{row['K']:4d}{row['loop_us']:9.1f}{vmap_us:>9s}"
              f"{row['sweep_us']:9.1f}{row['ratio']:12.1f}{by_it:>12s}{row['floor_us']:9.1f}"
              f"{row['sweep_over_floor']:13.2f}", flush=True)  # fmt: skip
    if not only:
        what = "training time per model and step: λ sweep with a K axis, a Python loop over λ, and vmap"
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
