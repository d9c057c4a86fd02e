"""Networks with a K axis: the same numbers as ordinary modules, and gradients as autograd finds them."""

from __future__ import annotations

import pytest
import torch

from l2lab.engine import CNN, MLP
from l2lab.engine.networks import MLPGradient

NETWORKS = [
    MLP((6, 4)),
    MLP((6, 5, 3)),
    MLP((6, 7, 5, 1)),
    CNN(1, (3,), 5, 4),
    CNN(2, (3, 4), 5, 8),
    CNN(1, (2, 3, 4), 2, 8),
]
SEEDS = (3, 0, 3, 7)


def ids(network):
    return repr(network)


def random_parameters(network, n_models=4):
    """Parameters away from their initial values, so that no two copies are alike."""
    torch.manual_seed(1)
    return {
        name: 0.5 * torch.randn(n_models, *shape, dtype=torch.float64)
        for name, shape in network.shapes.items()
    }


def one_module(network, params, k):
    module = network.module().double()
    module.load_state_dict({name: value[k] for name, value in params.items()})
    return module


@pytest.mark.parametrize("network", NETWORKS, ids=ids)
def test_init_gives_the_numbers_of_a_module_under_the_same_seed(network):
    params = network.init(SEEDS)
    for k, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        state = network.module().state_dict()
        assert list(state) == list(params)
        for name, value in state.items():
            assert torch.equal(params[name][k], value)


def test_init_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    MLP((3, 2)).init(range(4))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("network", NETWORKS, ids=ids)
def test_forward_equals_the_modules(network):
    params = random_parameters(network)
    x = torch.randn(7, *network.input_shape, dtype=torch.float64)
    outputs = network.forward(params, x)
    assert outputs.shape == (4, 7, network.n_outputs)
    for k in range(4):
        torch.testing.assert_close(outputs[k], one_module(network, params, k)(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("keep", [0.0, 0.9])
@pytest.mark.parametrize("n_models", [1, 4])
@pytest.mark.parametrize("network", [n for n in NETWORKS if isinstance(n, MLP)], ids=ids)
def test_handwritten_gradient_equals_autograd(network, n_models, keep):
    """Against the modules, model by model, twice in the same memory."""
    params = random_parameters(network, n_models)
    gradient = MLPGradient(network, n_models, 7, params["0.weight"])
    for _ in range(2):
        x = torch.randn(7, *network.input_shape, dtype=torch.float64)
        delta = torch.randn(n_models, network.n_outputs, 7, dtype=torch.float64)
        into = {name: torch.randn_like(value) for name, value in params.items()}
        before = {name: value.clone() for name, value in into.items()}
        outputs = gradient.forward(params, x).clone()
        gradient.backward(params, delta.clone(), into, keep)
        for k in range(n_models):
            module = one_module(network, params, k)
            expected = module(x)
            torch.testing.assert_close(outputs[k].T, expected, rtol=0, atol=1e-10)
            expected.backward(delta[k].T)
            for name, p in module.named_parameters():
                torch.testing.assert_close(into[name][k] - keep * before[name][k], p.grad, rtol=0, atol=1e-10)


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
        (lambda: CNN(1, ()), "cannot be halved"),
        (lambda: CNN(1, (4, 8), 10, 10), "multiple of 4"),
    ],
)
def test_bad_specifications(build, message):
    with pytest.raises(ValueError, match=message):
        build()
