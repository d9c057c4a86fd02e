"""The benchmarks compare ways to do the same, and write what chapter 5 reads."""

from __future__ import annotations

import json

import pytest
import torch

from l2lab import bench
from l2lab.engine import CNN, MLP

CASES = (bench.Case("MLP", MLP((6, 7, 3)), 5, 3, 20), bench.Case("CNN", CNN(1, (2,), 3, 4), 4, 3, 20))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_ways_do_the_same(case):
    """Otherwise their times could not be compared."""
    loop, vmapped, (group,) = bench._ways(case, torch.float64)
    group.run(20)
    together = vmapped()
    for k, lam in enumerate((1e-5, 1e-3, 1e-1)):
        for name, value in loop(lam).named_parameters():
            for params in (group.params, together):
                torch.testing.assert_close(params[name][k], value.detach(), rtol=0, atol=1e-10)
    ended = {}
    for way in bench.PENALTY_WAYS:
        module, step = bench._penalty_step(case, way)
        for _ in range(20):
            step()
        ended[way] = torch.cat([p.detach().flatten() for p in module.parameters()])
    for way in set(bench.PENALTY_WAYS) - {"none"}:
        torch.testing.assert_close(ended[way], ended["weight_decay"], rtol=0, atol=2e-6)
        assert (ended[way] - ended["none"]).abs().max() > 1e-4  # far more than rounding


def test_the_files_hold_what_the_chapter_reads(tmp_path, monkeypatch):
    small = {"CASES": CASES, "PENALTY_CASES": CASES, "REPETITIONS": 3, "REPETITION_SECONDS": 0.001}
    for name, value in (small | {"RESULTS": tmp_path}).items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench.runtime, "setup", lambda: None)  # leaves torch as it is
    monkeypatch.setattr(bench.measure_penalty, "__defaults__", (3,))
    bench.main()
    read = {"bench": {"K", "loop_us", "vmap_us", "sweep_us", "floor_us"}, "penalty": {"median_ratio"}}
    for name, wanted in read.items():
        file = json.loads((tmp_path / f"{name}-cpu.json").read_text("utf-8"))
        assert {"date", "machine"} <= set(file)
        for row in file["rows"]:
            assert wanted | {"case"} <= set(row)
            assert all(value > 0 for value in row.values() if isinstance(value, float))
