"""The decay budget against weights that torch.optim really shrinks, in float64 and without gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from l2lab.budget import decay_budget, decay_limits, lam_needed, lrs_of, remaining_share

SCHEDULES = ["constant", "cosine", "linear"]


def trained(lam, lrs, momentum=0.9, optimizer="sgd", gradients=None) -> np.ndarray:
    """A weight of torch.optim from 1 on, with these learning rates, and gradients or none from the data."""
    w = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    if optimizer == "sgd":
        opt = torch.optim.SGD([w], lr=1.0, momentum=momentum, weight_decay=lam)
    else:
        opt = torch.optim.AdamW([w], lr=1.0, betas=(momentum, 0.999), weight_decay=lam)
    seen = [w.item()]
    for t, lr in enumerate(lrs):
        opt.param_groups[0]["lr"] = float(lr)
        w.grad = torch.zeros_like(w) if gradients is None else gradients[t].clone()
        opt.step()
        seen.append(w.item())
    return np.array(seen)


def test_learning_rates_are_those_of_torch_schedulers() -> None:
    for schedule, make in (
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 40)),
    ):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
        scheduler, lrs = make(opt), []
        for _ in range(40):
            lrs.append(opt.param_groups[0]["lr"])
            opt.step()
            scheduler.step()
        np.testing.assert_allclose(lrs_of(schedule, 0.2, 40), lrs, rtol=1e-9)


class TestRemainingShare:
    """Step by step there is no approximation, so only rounding is allowed."""

    @pytest.mark.parametrize("schedule", SCHEDULES)
    @pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adamw", 0.9)])
    @pytest.mark.parametrize("lam", [0.01, 3.0])
    def test_same_as_torch(self, lam: float, optimizer: str, momentum: float, schedule: str) -> None:
        reference = trained(lam, lrs_of(schedule, 0.1, 200), momentum, optimizer)
        share = remaining_share(lam, 0.1, 200, momentum, schedule, optimizer)
        np.testing.assert_allclose(share, reference, rtol=1e-9, atol=1e-15)

    def test_many_lambdas_at_once(self) -> None:
        lams = np.array([[0.0, 0.01], [0.1, 1.0]])
        share = remaining_share(lams, 0.1, 50)
        assert share.shape == (2, 2, 51)
        np.testing.assert_array_equal(share[1, 0], remaining_share(0.1, 0.1, 50))
        assert np.all(share[0, 0] == 1)


class TestBudget:
    @pytest.mark.parametrize(("lam", "steps"), [(2e-3, 1000), (5e-3, 4000), (1e-4, 300), (2e-3, 200)])
    def test_what_is_left_with_the_stated_error(self, lam: float, steps: int) -> None:
        B, share = decay_budget(lam, 0.1, steps), remaining_share(lam, 0.1, steps)[-1]
        stated = 0.1 * lam * 1.9 / (2 * 0.1**2) - 0.9 / (0.1 * steps)
        assert -math.log(share) / B - 1 == pytest.approx(stated, abs=0.015)
        assert abs(stated) > 0.001

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_needed_lambda_is_the_inverse(self, schedule: str) -> None:
        lams = lam_needed([1e-3, 1e-6, 1.0], 0.1, 500, 0.9, schedule)
        np.testing.assert_allclose(np.exp(-decay_budget(lams, 0.1, 500, 0.9, schedule)), [1e-3, 1e-6, 1.0])
        assert isinstance(lam_needed(1e-3, 0.1, 500), float)
        assert isinstance(decay_budget(0.1, 0.1, 10), float)


class TestLimits:
    @pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
    def test_swings_and_divergence_begin_where_stated(self, momentum: float) -> None:
        swings, limit = decay_limits(0.1, momentum)
        below, above = (np.abs(trained(f * limit, np.full(600, 0.1), momentum)) for f in (0.97, 1.03))
        assert below[-10:].max() < 0.1
        assert above[-10:].max() > 10
        assert np.all(remaining_share(0.98 * swings, 0.1, 500, momentum) >= 0)
        assert np.any(remaining_share(1.02 * swings, 0.1, 500, momentum) < 0)
        assert decay_limits(0.1, momentum, "adamw") == decay_limits(0.1, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lam": [0.1, np.nan]}, "lam must be"),
        ({"lr": 0}, "lr must be"),
        ({"steps": 10.0}, "steps must be"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"schedule": "step"}, "use one of 'constant'"),
        ({"optimizer": "adam"}, "use one of 'sgd', 'adamw'"),
    ],
)
def test_bad_input(change: dict, message: str) -> None:
    for function in (decay_budget, remaining_share):
        with pytest.raises(ValueError, match=message):
            function(**{"lam": 0.1, "lr": 0.1, "steps": 10, **change})


def test_bad_share() -> None:
    for share in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="share must"):
            lam_needed(share, 0.1, 10)
