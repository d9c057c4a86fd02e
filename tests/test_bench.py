"""The benchmark of the penalty: does it compare what it says, and what does it write."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from l2lab import bench
from l2lab.engine import CNN, MLP

CASES = (bench.PenaltyCase("MLP", MLP((6, 7, 3)), 5), bench.PenaltyCase("CNN", CNN(1, (2,), 3, 4), 4))
CPU = torch.device("cpu")


@pytest.mark.parametrize("network", [MLP((6, 7, 3)), CNN(1, (2,), 3, 4)], ids=repr)
def test_loop_vmap_and_sweep_train_the_same_models(network):
    """Otherwise their times could not be compared."""
    work = bench.prepare(bench.Case("tiny", network, 8, 3, 20), CPU, torch.float64)
    (group,), vmapped = bench.by_sweep(work), bench.by_vmap(work)
    group.run(20)
    for k, lam in enumerate(work.lams):
        for name, value in bench.by_loop(work, lam).named_parameters():
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


def test_the_result_file_holds_all_rows_and_the_circumstances(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "PENALTY_CASES", CASES)
    monkeypatch.setattr(bench, "REPETITIONS", 3)
    monkeypatch.setattr(bench, "REPETITION_SECONDS", 0.001)
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench.runtime, "setup", lambda: SimpleNamespace(device=CPU))  # leaves torch as it is
    bench.main(["penalty", "--only", "CNN"])
    assert not list(tmp_path.iterdir())
    bench.main(["penalty"])
    assert [p.name for p in tmp_path.iterdir()] == ["penalty-cpu.json"]
    assert "L2RegularizationLayer.fit_and_backward" in capsys.readouterr().out


def test_the_committed_file_is_of_these_cases():
    result = json.loads((bench.RESULTS / "penalty-cpu.json").read_text("utf-8"))
    assert {"what", "date", "machine", "torch", "clock", "threads"} <= set(result)
    assert [(row["case"], row["way"]) for row in result["rows"]] == [
        (case.name, way) for case in bench.PENALTY_CASES for way in bench.PENALTY_WAYS
    ]
    for row in result["rows"]:
        assert 0 < row["min_us"] <= row["median_us"]
        if row["way"] == "none":
            assert row["min_ratio"] == row["median_ratio"] == 1


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["everything"])
    assert "use sweep, penalty or nothing for both" in capsys.readouterr().err
