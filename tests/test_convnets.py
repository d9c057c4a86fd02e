"""l2lab.engine.convnets: the network on images of any size, and training for all λ against torch.optim."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from l2lab.engine import convnets, minibatches
from l2lab.engine.convnets import ImageClassifier, gate_parts, random_shift, train_all


def network(seed=0, **options):
    torch.manual_seed(seed)
    return ImageClassifier(1, 5, (3, 4, 4, 6), grid=2, hidden=7, **options).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(22, 1, 12, 12, generator=generator).double()
    return X, torch.randint(5, (22,), generator=generator)


def test_padding_changes_nothing():
    sizes = [(9, 20), (16, 7), (1, 1), (13, 13)]
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, *size, generator=generator).double() + 0.5 for size in sizes]
    x, mask = torch.zeros(4, 1, 16, 20).double(), torch.zeros(4, 1, 16, 20).double()
    for k, (image, (h, w)) in enumerate(zip(images, sizes, strict=True)):
        x[k, :, :h, :w], mask[k, :, :h, :w] = image, 1
    model = network()
    with torch.no_grad():
        for layer in (model.conv1, model.conv2, model.conv3, model.conv4):
            layer.bias.uniform_(0.1, 0.5)  # what leaks into the padding without the mask
    alone = torch.cat([model(image[None]) for image in images])
    assert torch.allclose(model(x, mask), alone, rtol=0, atol=1e-12)
    assert (model(x) - alone).abs().max() > 1e-2


def by_torch_optim(model, X, y, lam, epochs, seed, fixed=None, gate_lr=1.0, ramp=(0.0, 0.0)):
    """The same with an ordinary optimizer, one group per kind of parameter."""
    groups = []
    for name, parameter in model.named_parameters():
        gate = ".factors." in name
        own = (fixed or {}).get(name)
        penalized = gate or (parameter.ndim > 1 and own is None)
        groups.append({"params": [parameter], "lr": 0.0, "own": own, "penalized": penalized, "gate": gate})
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    steps = epochs * math.ceil(len(X) / 8)
    for t, rows in enumerate(minibatches(len(X), 8, steps, seed), start=1):
        share = t / steps
        ramped = 1.0 if share >= ramp[1] else max(0.0, (share - ramp[0]) / (ramp[1] - ramp[0]))
        for group in optimizer.param_groups:
            group["weight_decay"] = group["own"] or (lam * ramped if group["penalized"] else 0.0)
            rate = 0.02 * min(1, share / convnets.WARM_UP, (1 - share) / convnets.COOL_DOWN)
            group["lr"] = rate * (gate_lr if group["gate"] else 1)
        optimizer.zero_grad()
        F.cross_entropy(model(X[rows]), y[rows]).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("gated", [False, True])
def test_training_is_sgd(data, gated):
    X, y = data
    options = {"fixed": {"conv1.weight": 3e-3}, "gate_lr": 4.0, "ramp": (0.2, 0.6)} if gated else {}
    models = [network(seed) for seed in (0, 1, 2)]
    if gated:
        models = [gate_parts(model) for model in models]
    lams = [0.0, 0.01, 0.1]
    pairs = zip(copy.deepcopy(models), lams, strict=True)
    expected = [by_torch_optim(model, X, y, lam, 4, 9, **options) for model, lam in pairs]
    train_all(models, X, y, lams, epochs=4, batch_size=8, lr=0.02, seed=9, device="cpu", **options)
    for model, other in zip(models, expected, strict=True):
        assert not model.training
        for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, rtol=0, atol=1e-12), name
    assert not torch.allclose(models[0].fc2.weight, models[2].fc2.weight)


def test_together_is_the_same_as_one_by_one(data):
    """What a GPU does: the losses of all copies are one computation."""
    X, y = data
    models, rows = [gate_parts(network(s)) for s in (0, 1)], [torch.arange(8)]
    params, loss = convnets._copies(models, X, y, rows, None, 0)
    alone = [F.cross_entropy(model(X[:8]), y[:8]) for model in models]
    torch.testing.assert_close(loss(params, 0), torch.stack(alone), rtol=0, atol=1e-12)


def test_augmentation_is_used_and_repeatable(data):
    X, y = data
    runs = [
        train_all([network()], X, y, [0.0], epochs=2, seed=4, device="cpu", augment=augment)[0]
        for augment in (random_shift, random_shift, None)
    ]
    assert torch.equal(runs[0].fc1.weight, runs[1].fc1.weight)
    assert not torch.equal(runs[0].fc1.weight, runs[2].fc1.weight)


def test_shifts_keep_shape_and_reach_the_edges():
    x = torch.arange(25.0).view(1, 1, 5, 5)
    generator = torch.Generator().manual_seed(0)
    seen = {tuple(random_shift(x, generator, 1)[0, 0, 2].tolist()) for _ in range(200)}
    assert len(seen) == 18  # 3 × 3 shifts, mirrored or not
    assert (10.0, 11.0, 12.0, 13.0, 14.0) in seen
    assert (14.0, 13.0, 12.0, 11.0, 10.0) in seen


def test_divergence_is_said(data):
    X, y = data
    with pytest.warns(RuntimeWarning, match=r"diverged for λ = \[1000000\.0\]"):
        train_all([network(), network()], X, y, [1e6, 0.0], epochs=100, lr=0.01, device="cpu")


def test_wrong_arguments(data):
    with pytest.raises(ValueError, match="one λ for each model, got 1 for 2"):
        train_all([network(), network()], *data, [0.1])
    with pytest.raises(ValueError, match="conv7"):
        train_all([network()], *data, [0.1], fixed={"conv7.weight": 0.1})
