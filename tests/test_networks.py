"""Networks with a K axis: the same numbers as ordinary modules, and gradients as autograd finds them."""

from __future__ import annotations

import pytest
import torch

from l2lab.engine import CNN, MLP
from l2lab.engine.networks import MLPGradient

NETWORKS = [MLP((6, 4)), MLP((6, 5, 3)), MLP((6, 7, 5, 1)), CNN(1, (3,), 5, 4), CNN(1, (2, 3, 4), 2, 8)]
SEEDS = (3, 0, 3, 7)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_copies_are_the_modules_of_their_seeds(network):
    torch.manual_seed(1)
    x, expected = torch.randn(7, *network.input_shape, dtype=torch.float64), torch.rand(3)
    torch.manual_seed(1)
    torch.randn(7, *network.input_shape, dtype=torch.float64)
    params = network.init(SEEDS, torch.float64)
    assert torch.equal(torch.rand(3), expected)  # the global generator is left alone
    outputs = network.forward(params, x)
    for k, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        module = network.module().double()
        for name, value in module.state_dict().items():
            assert torch.equal(params[name][k], value)
        torch.testing.assert_close(outputs[k], module(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("keep", [0.0, 0.9])
@pytest.mark.parametrize("network", NETWORKS[:3], ids=repr)
def test_handwritten_gradient_equals_autograd(network, keep):
    """Twice in the same memory."""
    torch.manual_seed(1)
    params = {
        name: (0.5 * torch.randn(4, *shape, dtype=torch.float64)).requires_grad_()
        for name, shape in network.shapes.items()
    }
    gradient = MLPGradient(network, 4, 7, params["0.weight"])
    for _ in range(2):
        x = torch.randn(7, *network.input_shape, dtype=torch.float64)
        delta = torch.randn(4, network.n_outputs, 7, dtype=torch.float64)
        into = {name: torch.randn_like(value) for name, value in params.items()}
        before = {name: value.clone() for name, value in into.items()}
        with torch.no_grad():
            outputs = gradient.forward(params, x).clone()
            gradient.backward(params, delta.clone(), into, keep)
        expected = network.forward(params, x).transpose(1, 2)
        torch.testing.assert_close(outputs, expected.detach(), rtol=0, atol=1e-10)
        grads = torch.autograd.grad(expected, list(params.values()), delta)
        for name, grad in zip(params, grads, strict=True):
            torch.testing.assert_close(into[name] - keep * before[name], grad, rtol=0, atol=1e-10)


def test_flops_of_products():
    """2mn for outputs, for the gradient of weights, and, behind the first layer, for that of inputs."""
    assert MLP((64, 32, 10)).flops_per_sample == 4 * 64 * 32 + 6 * 32 * 10
    convolutions = 4 * 9 * 3 * 5 * 8**2, 6 * 9 * 5 * 7 * 4**2
    assert CNN(3, (5, 7), 10, 8).flops_per_sample == sum(convolutions) + 6 * (7 * 2**2) * 10


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MLP((4,)), "inputs and outputs"),
        (lambda: MLP((4, 2.5)), "integer of at least 1"),
        (lambda: CNN(1, (4, 8), 10, 10), "multiple of 4"),
    ],
)
def test_bad_specifications(build, message):
    with pytest.raises(ValueError, match=message):
        build()
