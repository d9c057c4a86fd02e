"""From λ to a time and back, and the study of how λ is chosen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from l2lab import budget
from l2lab.studies import choosing
from test_budget import trained


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_in_one_timescale_the_optimizer_divides_a_weight_by_e(rule):
    lam = budget.lam_of_timescale(50, 1e-3, n=95, batch_size=10, optimizer=rule)
    tau = budget.timescale(lam, 1e-3, optimizer=rule)
    assert tau == pytest.approx(50 * 10)  # ten batches, the last one smaller
    assert trained(lam, [1e-3] * round(tau), 0.9, rule)[-1] == pytest.approx(math.exp(-1), rel=0.03)


def test_weights_of_adamw_are_a_moving_average_over_the_timescale():
    lr, lam, steps = 0.01, 0.5, 100
    gradients = torch.randn(steps, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # the updates do not depend on the weight
    updates = np.diff(trained(0.0, [lr] * steps, 0.9, "adamw", gradients)) / lr
    share = 1 / budget.timescale(lam, lr, optimizer="adamw")
    average = [1.0]
    for update in updates:
        average.append((1 - share) * average[-1] + share * update / lam)
    np.testing.assert_allclose(trained(lam, [lr] * steps, 0.9, "adamw", gradients), average, atol=1e-12)


def test_a_plan_agrees_with_the_run_that_it_plans():
    plan = budget.decay_plan(0.04, 0.01, 200, 20, 30, optimizer="sgd", schedule="constant")
    assert (plan.steps, plan.box, plan.warnings) == (300, math.inf, ())
    assert plan.timescale_epochs == pytest.approx(plan.timescale / 10)
    assert plan.budget == pytest.approx(plan.steps / plan.timescale)
    assert trained(0.04, [0.01] * 300)[-1] == pytest.approx(plan.share_left, rel=0.05)
    assert budget.decay_plan(4.0, 0.01, 200, 20, 30, optimizer="adamw").box == 0.25


@pytest.mark.parametrize(
    ("lam", "settings", "words"),
    [
        (1e-4, {"optimizer": "adamw"}, ["too short"]),
        (60.0, {"optimizer": "sgd", "lr": 0.1}, ["diverges", "one epoch"]),
        (0.1, {"optimizer": "sgd", "lr": 0.1}, ["swing", "one epoch"]),
        (9.0, {"optimizer": "adamw", "fan_in": 64}, ["tight"]),
        (0.0, {"optimizer": "adamw", "fan_in": 64}, []),
    ],
)
def test_a_plan_warns_of_what_cannot_work(lam, settings, words):
    plan = budget.decay_plan(lam, **{"lr": 0.01, "n": 200, "batch_size": 20, "epochs": 30, **settings})
    assert len(plan.warnings) == len(words)
    assert all(word in text for word, text in zip(words, plan.warnings, strict=True))


def test_the_remedy_in_the_warning_works():
    plan = budget.decay_plan(0.1, 0.001, 200, 20, 30, optimizer="adamw")
    needed = float(plan.warnings[0].split("λ = ")[1].split(",")[0])
    assert trained(needed, [0.001] * plan.steps, 0.9, "adamw")[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 201}, {"batch_size": 0}, {"epochs": 0}, {"n": 1.5}, {"lr": 0}, {"fan_in": 0}],
)
def test_bad_plans_are_refused(wrong):
    with pytest.raises(ValueError):
        budget.decay_plan(0.1, **{"lr": 0.01, "n": 200, "batch_size": 20, "epochs": 30, **wrong})


def test_the_best_lam_is_that_of_a_parabola():
    lams = np.logspace(-3, 1, 9)
    assert choosing.best_lam(lams, (np.log(lams) - np.log(0.04)) ** 2) == pytest.approx(0.04)
    assert choosing.best_lam(lams, np.arange(9.0)) == lams[0]
    assert choosing.best_lam(lams, [9, 8, 7, 6, 5, np.nan, np.nan, np.nan, np.nan]) == pytest.approx(lams[4])


def test_slopes_are_fitted_where_a_penalty_helps():
    lams = np.logspace(-3, 1, 9)

    def row(n, power, deep):
        losses = [2 - deep * np.exp(-((np.log(lams) - np.log(9 * n**power)) ** 2)) for _ in range(2)]
        return {"axis": "n", "value": n, "valid_loss": np.array(losses).tolist()}

    rows = [row(n, -0.5, deep=1.0) for n in (100, 400, 1600)] + [row(10_000, 3, deep=0.1)]
    assert choosing.helps(rows[0]["valid_loss"]) > choosing.HELPS > choosing.helps(rows[-1]["valid_loss"])
    assert choosing.slopes(rows, "n", lams) == pytest.approx([-0.5, -0.5], abs=0.05)
    assert np.isnan(choosing.slopes(rows[-1:], "n", lams)).all()


def test_each_way_to_choose_looks_at_its_own_runs():
    train = [[0.5, 0.1, None]] * 10
    valid = np.full((10, 3), 9.0)
    valid[0] = [1.0, 5.0, np.nan]  # at λ = 0 the smaller rate looks better
    valid[4, 1], valid[5, 1], valid[8, 0], valid[1, 0] = 0.2, 0.3, 0.1, 0.9
    valid[4, 0] = 0.15
    followed = {choice: choosing.follow(choice, "adamw", train, valid) for choice in choosing.CHOICES}
    assert followed == {
        "default": (1, 0, 3),
        "recipe": (4, 1, 3 + 5 + 2),  # 5 is the best of 1, 3, 5, 7, 9, and 4 its neighbour
        "with step 6": (4, 0, 3 + 5 + 2 + 2),
        "rate by validation": (1, 0, 3 + 5 + 1),
        "full grid": (8, 0, 30),
    }
    with pytest.raises(ValueError, match="full grid"):
        choosing.follow("luck", "adamw", train, valid)


def test_a_tiny_study_writes_what_the_chapter_reads(tmp_path, monkeypatch):
    small = {
        "REPETITIONS": {"quick": 2}, "AXES": {"n": (100, 200)}, "BASE": {**choosing.BASE, "epochs": 1},
        "MODULUS": 7, "HIDDEN": 16, "GROK_LAMS": (3.0, 2.0, 0.0), "GROK_LRS": (),
        "TASKS": dict(list(choosing.TASKS.items())[-1:]),
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(choosing, name, value)
    choosing.main("quick", tmp_path)
    stored = json.loads((tmp_path / "choosing-quick.json").read_text("utf-8"))
    assert [len(stored[part]) for part in ("scale", "when", "recipe", "grokking")] == [8, 8, 4, 6]
    assert np.shape(stored["scale"][0]["valid_loss"]) == (2, len(choosing.LAMS["adamw"]))
    assert {row["optimizer"] for row in stored["when"]} == {"adamw", "sgd"}
    assert all(row["memorized"] and row["memorized"] <= row["steps"] for row in stored["grokking"])
    with pytest.raises(ValueError, match="quick"):
        choosing.main("huge", tmp_path)
