"""Benchmarks of the sweep and of the penalty: ``make bench`` writes what chapter 5 shows of them.

One CPU thread and its CPU time; all ways take turns, so that a disturbance hits all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from . import runtime
from .engine import CNN, MLP, Descent, minibatches
from .engine.sweep import Grid, check_data, descents
from .layers import L2RegularizationLayer, param_groups
from .studies.record import RESULTS, provenance, write

__all__ = ["main", "measure_penalty"]


class Case(NamedTuple):
    """A network and how it is trained."""

    name: str
    network: MLP | CNN
    batch_size: int
    n_models: int = 1
    steps: int = 1


CASES = (
    Case("MLP 64-32-10", MLP((64, 32, 10)), 32, 64, 100),
    Case("MLP 64-128-10", MLP((64, 128, 10)), 64, 64, 30),
    Case("MLP 64-256-256-10", MLP((64, 256, 256, 10)), 64, 16, 20),
    Case("MLP 784-256-10", MLP((784, 256, 10)), 128, 32, 5),
    Case("CNN 3-32-64, 32×32", CNN(3, (32, 64), 10, 32), 64, 4, 2),
)
PENALTY_CASES = (
    Case("MLP 64-64-64-10", MLP((64, 64, 64, 10)), 64),
    Case("MLP 784-512-512-10", MLP((784, 512, 512, 10)), 128),
    Case("CNN 1-8-16, 16×16", CNN(1, (8, 16)), 32),
)
# Ways to write the penalty, and how the table calls them.
PENALTY_WAYS = {
    "none": "no penalty",
    "weight_decay": "weight_decay of the optimizer",
    "gradient": "torch._foreach_add_ on the gradients",
    "naive": "sum of (w**2).sum() in the loss",
    "layer": "L2RegularizationLayer.fit_and_backward",
}
N_ROWS, LAM, LR, CPU = 512, 1e-3, 0.01, torch.device("cpu")
# How often all ways take their turn, and about how long one repetition lasts: short, since other programs
# disturb a long one more often than not.
REPETITIONS, REPETITION_SECONDS = 150, 0.01


def _turns(ways: Sequence[Callable[[], Any]], repetitions: int) -> np.ndarray:
    """Run all ways in turns; return seconds, (repetitions, ways)."""
    for way in ways:  # libraries prepare themselves in a first run
        way()
    times = np.empty((repetitions, len(ways)))
    for row in times:
        for k, way in enumerate(ways):
            begin = time.process_time()
            way()
            row[k] = time.process_time() - begin
    return times


def _ways(
    case: Case, dtype: torch.dtype = torch.float32
) -> tuple[Callable[[float], nn.Module], Callable[[], dict[str, Tensor]], list[Descent]]:
    """Prepare a loop for one λ, vmap and a sweep for all, on the same batches from the same first weights."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(N_ROWS, *case.network.input_shape, generator=generator)
    y = torch.randint(0, case.network.n_outputs, (N_ROWS,), generator=generator)
    train = check_data({"train": (X, y)}, case.network, dtype, CPU)[0]["train"]
    batches = minibatches(N_ROWS, case.batch_size, case.steps)
    grid = Grid.check(np.logspace(-5, -1, case.n_models), 0, LR)

    def loop(lam: float) -> nn.Module:
        torch.manual_seed(0)
        module = case.network.module().to(train.X)
        optimizer = torch.optim.SGD(param_groups(module, lam), lr=LR, momentum=0.9)
        for rows in batches:
            optimizer.zero_grad()
            F.cross_entropy(module(train.X[rows]), train.labels[rows]).backward()
            optimizer.step()
        return module

    def vmapped() -> dict[str, Tensor]:
        module = case.network.module().to(train.X)
        params = case.network.init([0] * case.n_models, dtype, CPU)
        lams = torch.as_tensor(np.logspace(-5, -1, case.n_models)).to(train.X)
        velocity = {name: torch.zeros_like(value) for name, value in params.items()}

        def loss(own: dict[str, Tensor], rows: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(module, own, (train.X[rows],)), train.labels[rows])

        gradients = vmap(grad(loss), in_dims=(0, None))
        for rows in batches:
            for name, gradient in gradients(params, rows).items():
                v = velocity[name].mul_(0.9).add_(gradient)
                if name.endswith("weight"):
                    v.addcmul_(params[name], lams.view(-1, *[1] * (v.ndim - 1)))
                params[name].sub_(v, alpha=LR)
        return params

    return loop, vmapped, descents(case.network, grid, train, batches, {"optimizer": "sgd"})


def _gemm_rate(n: int = 1024) -> float:
    """Floating point operations per second of a large matrix product."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / _turns([lambda: torch.mm(a, b)], 20).min()


def _measure(case: Case, rate: float) -> dict[str, Any]:
    """Measure µs per model and step, without preparations and metrics: the smallest of all repetitions.

    The floor is the time of the floating point operations alone, at the rate of a large matrix product.
    """
    loop, vmapped, groups = _ways(case)

    def swept() -> None:
        for group in groups:
            group.done = 0  # once more through the same batches
            group.run(case.steps)

    turns = math.ceil(REPETITIONS / 10)
    times = 1e6 * _turns([lambda: loop(LAM), vmapped, swept], turns).min(axis=0) / case.steps
    us = dict(zip(("loop_us", "vmap_us", "sweep_us"), times / (1, case.n_models, case.n_models), strict=True))
    us["floor_us"] = 1e6 * case.network.flops_per_sample * case.batch_size / rate
    ratios = {"ratio": us["loop_us"] / us["sweep_us"], "ratio_vmap": us["vmap_us"] / us["sweep_us"]}
    ratios["sweep_over_floor"] = us["sweep_us"] / us["floor_us"]
    about = {"case": case.name, "batch_size": case.batch_size, "K": case.n_models}
    return about | {name: round(float(value), 2) for name, value in {**us, **ratios}.items()}


def _penalty_step(case: Case, way: str) -> tuple[nn.Module, Callable[[], None]]:
    """Prepare a network, and one update of it with SGD on a batch that is always the same."""
    torch.manual_seed(0)
    module = case.network.module()
    x = torch.randn(case.batch_size, *case.network.input_shape)
    y = torch.randint(0, case.network.n_outputs, (case.batch_size,))
    groups = param_groups(module, LAM if way == "weight_decay" else 0.0)
    optimizer = torch.optim.SGD(groups, lr=LR, momentum=0.9)
    weights = groups[0]["params"]
    values = [w.detach() for w in weights]
    layer, criterion = L2RegularizationLayer(module, LAM), nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        if way == "layer":
            layer.fit_and_backward(x, y, criterion)
        else:
            loss = criterion(module(x), y)
            if way == "naive":
                loss = loss + LAM / 2 * sum((w**2).sum() for w in weights)
            loss.backward()
        if way == "gradient":
            torch._foreach_add_([w.grad for w in weights], values, alpha=LAM)
        optimizer.step()

    return module, step


def measure_penalty(case: Case, repetitions: int = REPETITIONS) -> list[dict[str, Any]]:
    """Measure what the penalty costs in a training step, for four ways to write it that make the same update.

    Parameters
    ----------
    case, repetitions : Case, int
        What to train, and how often all ways take their turn.

    Returns
    -------
    list of dict
        One per way: median time of a step in µs, and the median of the ratios to no penalty within a turn.
    """
    steps = [_penalty_step(case, way)[1] for way in PENALTY_WAYS]
    count = max(1, round(REPETITION_SECONDS / max(_turns(steps[:1], 1).min(), 1e-6)))
    ways = [lambda step=step: [step() for _ in range(count)] for step in steps]
    times = 1e6 * _turns(ways, repetitions) / count
    medians = np.median(times, axis=0).round(1), np.median(times / times[:, :1], axis=0).round(3)
    about = {"case": case.name, "batch_size": case.batch_size}
    return [
        about | {"described": described, "median_us": us, "median_ratio": ratio}
        for described, us, ratio in zip(PENALTY_WAYS.values(), *map(np.ndarray.tolist, medians), strict=True)
    ]


def _write(name: str, what: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows and write them with all that a measurement depends on."""
    print(pd.DataFrame(rows).to_string(index=False))
    about = {"what": what, **provenance(), "device": "cpu", "clock": "process CPU time"}
    about |= {"machine": runtime.processor_name(), "threads": torch.get_num_threads()}
    about |= {"optimizer": "SGD, momentum 0.9", "repetitions": REPETITIONS}
    write(RESULTS / f"{name}-cpu.json", about | {"rows": rows})


def main() -> None:
    """Run the benchmarks, print tables and write ``bench-cpu.json`` and ``penalty-cpu.json``."""
    runtime.setup()
    what = "training time in µs per model and step: λ sweep with a K axis, vmap, and a Python loop over λ"
    rate = _gemm_rate()
    _write("bench", what, [_measure(case, rate) for case in CASES])
    what = "training time in µs per step with the L2 penalty written in several ways; ratios to no penalty"
    _write("penalty", what, [row for case in PENALTY_CASES for row in measure_penalty(case)])


if __name__ == "__main__":
    main()
