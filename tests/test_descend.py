"""The one update against torch.optim in float64: what a copy learns is what a module alone would learn."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from l2lab.engine import Descent, ramp, schedule
from l2lab.engine.descend import on_weights

K, STEPS = 3, 25
LAM = torch.tensor([0.0, 0.03, 0.5], dtype=torch.float64)
LR = torch.tensor([0.05, 0.02, 0.01], dtype=torch.float64)
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, 1.0, momentum=0.8),
    "adam": lambda groups: torch.optim.Adam(groups, 1.0),
    "adamw": lambda groups: torch.optim.AdamW(groups, 1.0),
}


def problem():
    torch.manual_seed(0)
    X, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    nets = [
        torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)) for _ in range(K)
    ]
    nets = [net.double() for net in nets]
    params = {
        n: torch.stack([dict(net.named_parameters())[n].detach() for net in nets])
        for n in nets[0].state_dict()
    }

    def loss(p, t):
        rows = torch.arange(t, t + 8) % 20
        h = torch.tanh(X[rows] @ p["0.weight"].mT + p["0.bias"][:, None])
        out = h @ p["2.weight"].mT + p["2.bias"][:, None]
        each = F.cross_entropy(out.flatten(0, 1), y[rows].repeat(K), reduction="none")
        return each.view(K, -1).mean(1)

    return X, y, nets, params, loss


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_copy_is_trained_as_by_torch_optim(optimizer):
    """λ, learning rates per copy and part, schedule and ramp at once, and a hook after the step."""
    X, y, nets, params, loss = problem()
    rate, share = schedule("cosine", STEPS, warm_up=4), ramp(5, 15)
    lr = {name: LR * (3 if name == "2.weight" else 1) for name in params}

    def shorten(p, t):  # a projection
        p["0.weight"].clamp_(-0.3, 0.3)

    Descent(
        params, loss, lr=lr, lam=on_weights(params, LAM), optimizer=optimizer, momentum=0.8,
        rate=rate, share=share, after=shorten,
    ).run(STEPS)  # fmt: skip
    assert ramp(0, 0)(0) == 1  # no ramp
    assert on_weights({"gate": 0, "mu": 0}, LAM) == {}  # what has another name does not decay by itself
    for k, net in enumerate(nets):
        optim = OPTIMIZERS[optimizer]([{"params": [p], "name": n} for n, p in net.named_parameters()])
        for t in range(STEPS):
            for group in optim.param_groups:
                name = group["name"]
                group["lr"] = float(lr[name][k]) * rate(t)
                group["weight_decay"] = float(LAM[k]) * share(t) if name.endswith("weight") else 0.0
            rows = torch.arange(t, t + 8) % 20
            optim.zero_grad()
            F.cross_entropy(net(X[rows]), y[rows]).backward()
            optim.step()
            net[0].weight.data.clamp_(-0.3, 0.3)
        for name, value in net.named_parameters():
            torch.testing.assert_close(params[name][k], value.detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "rmsprop"}, "'sgd', 'adam', 'adamw'"),
        ({"lr": torch.ones(2)}, "lr of 0.weight must be one number or 3"),
        ({"lr": {"0.weight": 0.1}}, "lr must name every parameter"),
        ({"lam": {"gate": 0.1}}, "lam"),
    ],
)
def test_wrong_arguments(change, message):
    *_, params, loss = problem()
    options = {"loss": loss, "lr": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        Descent(params, **options).run(1)
