"""The benchmarks compare ways to do the same, and write what chapter 5 reads."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from l2lab import bench
from l2lab.engine import CNN, MLP

CASES = (bench.Case("MLP", MLP((6, 7, 3)), 5, 3, 20), bench.Case("CNN", CNN(1, (2,), 3, 4), 4, 3, 20))
CPU = torch.device("cpu")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loop_vmap_and_sweep_train_the_same_models(case):
    """Otherwise their times could not be compared."""
    work = bench._prepare(case, CPU, torch.float64)
    (group,), vmapped = bench._by_sweep(work), bench._by_vmap(work)
    group.run(20)
    for k, lam in enumerate(work.lams):
        for name, value in bench._by_loop(work, lam).named_parameters():
            for params in (group.params, vmapped):
                torch.testing.assert_close(params[name][k], value.detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_ways_make_the_same_update(case):
    """Otherwise their times could not be compared."""
    ended, decayed = {}, {}
    for way in bench.PENALTY_WAYS:
        module, step = bench.penalty_step(case, way, CPU)
        for _ in range(20):
            step()
        ended[way] = torch.cat([p.detach().flatten() for p in module.parameters()])
    for way in set(bench.PENALTY_WAYS) - {"none"}:
        torch.testing.assert_close(ended[way], ended["weight_decay"], rtol=0, atol=2e-6)
        decayed[way] = (ended[way] - ended["none"]).abs().max().item()
    assert min(decayed.values()) > 1e-4  # far more than rounding


def test_the_files_hold_what_the_stored_ones_hold(tmp_path, monkeypatch):
    stored = bench.RESULTS
    for name, value in (
        ("CASES", CASES),
        ("PENALTY_CASES", CASES),
        ("REPETITIONS", 3),
        ("RESULTS", tmp_path),
    ):
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "REPETITION_SECONDS", 0.001)
    monkeypatch.setattr(bench, "_gemm_rate", lambda device: 1e11)
    measure = bench.measure
    monkeypatch.setattr(bench, "measure", lambda *arguments: measure(*arguments, seconds=0))
    monkeypatch.setattr(bench.runtime, "setup", lambda: SimpleNamespace(device=CPU))  # leaves torch as it is
    bench.main()
    for file in ("bench-cpu.json", "penalty-cpu.json"):
        new, old = (json.loads((folder / file).read_text("utf-8")) for folder in (tmp_path, stored))
        assert set(old) <= set(new)
        assert set(old["rows"][0]) <= set(new["rows"][0]) | {"target"}  # which a former version wrote
        for row in new["rows"]:
            assert all(value > 0 for value in row.values() if isinstance(value, float))
