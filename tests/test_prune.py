"""l2lab.prune: the small network against its parent, and what it costs by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2lab.engine.convnets import ImageClassifier, gate_parts
from l2lab.prune import PARTS, alive, choose_parts, cost, prune

SIZES = {"conv1": 3, "conv2": 4, "conv3": 5, "pooled": 20, "fc1": 6}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ImageClassifier(1, 7, (4, 5, 6, 8), grid=2, hidden=9).double().eval()


@pytest.fixture
def x():
    return torch.randn(3, 1, 19, 26, generator=torch.Generator().manual_seed(1)).double()


def silence(model, keep):
    """Set the weights that read a removed part to 0, in the parent."""
    with torch.no_grad():
        for part, mask in keep.items():
            getattr(model, PARTS[part]).weight[:, ~mask] = 0


@pytest.mark.parametrize("choose", [choose_parts, lambda m, sizes: choose_parts(m, sizes, seed=5)])
def test_the_child_computes_what_the_silenced_parent_computes(model, x, choose):
    keep = choose(model, SIZES)
    assert {part: int(mask.sum()) for part, mask in keep.items()} == SIZES
    child = prune(model, keep)
    assert child.training == model.training
    silence(model, keep)
    assert torch.allclose(child(x), model(x), rtol=0, atol=1e-12)
    assert child.fc1.weight.shape == (6, 20)
    assert child.conv2.weight.shape[:2] == (4, 3)


def test_a_channel_of_conv4_goes_with_its_last_feature(model, x):
    mask = torch.ones(32, dtype=torch.bool)
    mask[8:12] = False  # all four fields of channel 2
    mask[0] = False  # one field of channel 0
    child = prune(model, {"pooled": mask})
    assert child.conv4.weight.shape[0] == 7
    assert child.features.tolist() == list(range(1, 28))
    silence(model, {"pooled": mask})
    assert torch.allclose(child(x), model(x), rtol=0, atol=1e-12)
    mask[0] = True
    assert prune(model, {"pooled": mask}).features is None  # whole channels need no index


def test_dead_gates_are_removed_and_the_outputs_stay(model, x):
    gate_parts(model)
    with torch.no_grad():
        for reader, dead in (("conv2", [1]), ("conv4", [0, 5]), ("fc1", list(range(12))), ("fc2", [2, 3])):
            getattr(model, reader).parametrizations.weight[0].factors[0][dead] = 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    child = prune(model)
    assert not any(isinstance(m, nn.utils.parametrize.ParametrizationList) for m in child.modules())
    assert [len(getattr(child, name).weight) for name in ("conv1", "conv3", "conv4")] == [3, 4, 5]
    assert torch.allclose(child(x), model(x), rtol=0, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_alive_is_relative_to_the_strongest_and_never_empty(model):
    with torch.no_grad():
        model.conv2.weight.mul_(1e-9)  # all weak alike: all alive
        model.conv3.weight[:, 1:].zero_()
        model.fc2.weight.zero_()
    kept = alive(model)
    assert kept["conv1"].all()
    assert kept["conv2"].tolist() == [True, False, False, False, False]
    assert kept["fc1"].tolist() == [True] + [False] * 8


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"conv9": torch.ones(4, dtype=torch.bool)}, "conv9"),
        ({"conv1": torch.ones(3, dtype=torch.bool)}, "mask of 4"),
        ({"fc1": torch.zeros(9, dtype=torch.bool)}, "keep at least one"),
    ],
)
def test_wrong_masks(model, keep, message):
    with pytest.raises(ValueError, match=message):
        prune(model, keep)


def test_cost_counts_by_hand(model):
    result = cost(model.float(), torch.zeros(1, 16, 16), batch_size=2, repeats=2)
    convolutions = [(1, 4, 16), (4, 5, 8), (5, 6, 4), (6, 8, 2)]
    products = sum(9 * n_in * n_out * side**2 for n_in, n_out, side in convolutions) + 32 * 9 + 9 * 7
    assert result.flops == 2 * products
    assert result.parameters == sum((9 * i + 1) * o for i, o, _ in convolutions) + 33 * 9 + 10 * 7
    assert result.milliseconds > 0
