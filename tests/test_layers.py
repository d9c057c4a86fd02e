"""The L2 layer against torch.optim's weight decay and closed forms; gates against scikit-learn's lasso."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import Lasso, MultiTaskLasso
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils import parametrize
from torch.optim.optimizer import _global_optimizer_pre_hooks

from l2lab import layers
from l2lab.layers import (
    L2RegularizationLayer,
    gate,
    gate_strength,
    gate_values,
    l2_penalty,
    param_groups,
    penalized_parameters,
    ungate,
)

CRITERION = nn.CrossEntropyLoss()


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))


def cnn():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 3 * 3, 3),
    )


MODELS = {"mlp": (mlp, (6,)), "cnn": (cnn, (2, 6, 6))}


def batch(shape=(6,), n=16, dtype=torch.float64):
    return torch.randn(n, *shape, dtype=dtype), torch.randint(0, 3, (n,))


def squares(*tensors):
    """Σ‖w‖² by NumPy in float64."""
    return sum(float((t.detach().numpy().astype(np.complex128).__abs__() ** 2).sum()) for t in tensors)


class Objective(nn.Module):
    """Loss and penalty in one forward pass, for what can only call forward."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).sum() + self.layer.get_l2_regularizer()


# ---- the penalty -------------------------------------------------------------------------------------------


class Everything(nn.Module):
    """One of each kind of parameter."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)
        self.batch, self.layer, self.group = nn.BatchNorm1d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4)
        self.instance, self.rms = nn.InstanceNorm1d(4, affine=True), nn.RMSNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.recurrent = nn.LSTM(4, 3, bidirectional=True)
        self.bilinear, self.embedding = nn.Bilinear(2, 3, 4), nn.Embedding(5, 4)
        self.importance = nn.Parameter(torch.randn(7))  # a vector, and a weight all the same
        self.unbiased = nn.Parameter(torch.randn(2))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))


EVERYTHING_PENALIZED = {
    "conv.weight",
    "attention.in_proj_weight",
    "attention.out_proj.weight",
    "recurrent.weight_ih_l0",
    "recurrent.weight_hh_l0",
    "recurrent.weight_ih_l0_reverse",
    "recurrent.weight_hh_l0_reverse",
    "bilinear.weight",
    "embedding.weight",
    "importance",
    "unbiased",
    "normed.parametrizations.weight.original0",
    "normed.parametrizations.weight.original1",
}


def test_weights_are_all_but_biases_and_normalization_layers():
    module = Everything()
    found = penalized_parameters(module)
    assert set(found) == EVERYTHING_PENALIZED
    named = dict(module.named_parameters())
    assert all(found[name] is named[name] for name in found)
    assert list(found) == [name for name in named if name in found]


def test_a_parametrized_bias_stays_a_bias_and_a_parametrized_norm_stays_a_norm():
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    parametrize.register_parametrization(module[0], "bias", nn.Tanh())
    parametrize.register_parametrization(module[1], "weight", nn.Tanh())
    assert list(penalized_parameters(module)) == ["0.weight"]


def test_the_penalty_is_half_lambda_times_the_sum_of_squares():
    module = Everything()
    named = dict(module.named_parameters())
    layer = L2RegularizationLayer(module, 0.3)
    expected = 0.15 * squares(*(named[name] for name in EVERYTHING_PENALIZED))
    penalty = layer.get_l2_regularizer()
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(expected, rel=1e-6)
    everything = L2RegularizationLayer(module, 0.3, penalize="all")
    assert everything.get_l2_regularizer().item() == pytest.approx(0.15 * squares(*named.values()), rel=1e-6)
    assert everything.get_l2_regularizer() > penalty


def test_the_gradient_is_lambda_times_the_weight():
    layer = L2RegularizationLayer(mlp().double(), 0.3)
    layer.get_l2_regularizer().backward()
    for name, parameter in layer.module.named_parameters():
        if name.endswith("weight"):
            torch.testing.assert_close(parameter.grad, 0.3 * parameter.detach(), rtol=1e-14, atol=0)
        else:
            assert parameter.grad is None


def test_a_rule_of_ones_own_sees_names_of_the_module_and_parameters():
    seen = {}

    def rule(name, parameter):
        seen[name] = parameter
        return name == "2.bias"

    module = mlp()
    layer = L2RegularizationLayer(
        nn.Sequential(nn.Linear(6, 6), L2RegularizationLayer(module, 2.0, penalize=rule)), 1.0
    )
    named = dict(module.named_parameters())
    assert seen.keys() == named.keys()
    assert all(seen[name] is named[name] for name in named)
    assert set(penalized_parameters(layer)) == {"module.0.weight", "module.1.module.2.bias"}
    expected = 0.5 * squares(layer.module[0].weight) + squares(module[2].bias)
    assert layer.get_l2_regularizer().item() == pytest.approx(expected)


def test_a_rule_may_be_any_callable_object():
    @dataclass  # cannot be hashed
    class Only:
        name: str

        def __call__(self, name, parameter):
            return np.bool_(name == self.name)

    assert list(penalized_parameters(mlp(), Only("2.bias"))) == ["2.bias"]


def test_frozen_parameters_are_constants_and_not_penalized():
    module = mlp()
    layer = L2RegularizationLayer(module, 0.2)
    module[0].requires_grad_(False)
    assert layer.get_l2_regularizer().item() == pytest.approx(
        0.1 * squares(module[2].weight, module[4].weight)
    )
    assert "0.weight" not in penalized_parameters(module)
    module[0].requires_grad_(True)
    assert "0.weight" in penalized_parameters(module)


def test_a_zero_penalty_when_all_is_frozen_or_lambda_is_zero():
    layer = L2RegularizationLayer(mlp(), 0.0)
    assert layer.get_l2_regularizer().item() == 0
    layer.lam = 1.0
    assert layer.get_l2_regularizer() > 0
    layer.requires_grad_(False)
    assert layer.get_l2_regularizer().item() == 0


# ---- the same as weight decay ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("model", MODELS)
def test_training_with_the_layer_is_training_with_weight_decay(model, optimizer):
    make, shape = MODELS[model]
    ours = L2RegularizationLayer(make().double(), 0.03)
    theirs = copy.deepcopy(ours.module)
    start = copy.deepcopy(ours.module)

    def build(parameters):
        if optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
        return torch.optim.Adam(parameters, lr=0.01)

    # Decay by hand, without our own param_groups: weights are what has two axes or more in these networks.
    many = [p for p in theirs.parameters() if p.ndim > 1]
    one = [p for p in theirs.parameters() if p.ndim == 1]
    reference = build([{"params": many, "weight_decay": 0.03}, {"params": one, "weight_decay": 0.0}])
    plain = build(ours.parameters())
    x, y = batch(shape, n=96)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(120):
            rows = slice(16 * (step % 6), 16 * (step % 6) + 16)
            plain.zero_grad()
            result = ours.fit_and_backward(x[rows], y[rows], CRITERION)
            plain.step()
            reference.zero_grad()
            loss = CRITERION(theirs(x[rows]), y[rows])
            loss.backward()
            reference.step()
            assert result.loss.item() == pytest.approx(loss.item(), abs=1e-9)
    for a, b, c in zip(ours.module.parameters(), theirs.parameters(), start.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-10
        assert (a - c).abs().max() > 1e-3  # it did train
    for a, b in zip(ours.module.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_param_groups_make_the_same_trajectory(model):
    make, shape = MODELS[model]
    ours = L2RegularizationLayer(make().double(), 0.03)
    theirs = copy.deepcopy(ours)
    a = torch.optim.SGD(ours.parameters(), lr=0.05, momentum=0.9)
    b = torch.optim.SGD(theirs.param_groups(), lr=0.05, momentum=0.9)
    x, y = batch(shape)
    for _ in range(100):
        a.zero_grad()
        ours.fit_and_backward(x, y, CRITERION)
        a.step()
        b.zero_grad()
        CRITERION(theirs(x), y).backward()
        b.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (p - q).abs().max() < 1e-10


def ids(parameters):
    return [id(p) for p in parameters]


@pytest.mark.parametrize("make", [mlp, cnn, Everything])
@pytest.mark.parametrize(
    "penalize", ["weights", "all", lambda name, p: p.ndim > 1], ids=["weights", "all", "function"]
)
def test_param_groups_are_disjoint_and_complete(make, penalize):
    module = make()
    decayed, rest = param_groups(module, 0.02, penalize)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.02, 0.0)
    both = ids(decayed["params"] + rest["params"])
    assert len(both) == len(set(both))
    assert set(both) == set(ids(module.parameters()))
    assert set(ids(decayed["params"])) == set(ids(penalized_parameters(module, penalize).values()))
    torch.optim.SGD([decayed, rest], lr=0.1)


def test_param_groups_of_nested_layers_have_one_group_per_lambda():
    inner, exempt = L2RegularizationLayer(nn.Linear(6, 4), 0.5), L2RegularizationLayer(nn.Linear(4, 4), 0.0)
    model = nn.Sequential(inner, exempt, nn.Linear(4, 3))
    layer = L2RegularizationLayer(model, 0.1)
    for groups in (layer.param_groups(), param_groups(model, 0.1), param_groups(layer, 7.0)):
        found = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
        assert len(found) == sum(len(g["params"]) for g in groups) == 6
        decays = [found[id(part.weight)] for part in (inner.module, exempt.module, model[2])]
        assert decays == [0.5, 0.0, 0.1]
        assert all(found[id(p)] == 0 for name, p in model.named_parameters() if name.endswith("bias"))


def test_frozen_parameters_stand_in_the_group_where_they_would_train():
    module = mlp()
    module[0].weight.requires_grad_(False)
    decayed, _ = param_groups(module, 0.1)
    assert id(module[0].weight) in ids(decayed["params"])


# ---- layers in layers, shared parameters -------------------------------------------------------------------


class Custom(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.scale = nn.Parameter(torch.tensor([1.5]))
        self.absent = None
        self.register_parameter("none", None)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return self.scale * x


def test_each_parameter_is_counted_once_with_the_innermost_lambda():
    a, b, c, d = (nn.Linear(3, 3) for _ in range(4))
    deepest = L2RegularizationLayer(c, 0.7)
    middle = L2RegularizationLayer(Custom(b, nn.Sequential(nn.ReLU(), deepest)), 0.05)
    exempt = L2RegularizationLayer(d, 0.0)
    layer = L2RegularizationLayer(nn.Sequential(a, nn.ModuleDict({"m": middle})["m"], exempt), 0.2)
    scale = middle.module.scale
    expected = 0.5 * (0.2 * squares(a.weight) + 0.05 * squares(b.weight, scale) + 0.7 * squares(c.weight))
    assert layer.get_l2_regularizer().item() == pytest.approx(expected)
    assert middle.get_l2_regularizer().item() == pytest.approx(expected - 0.1 * squares(a.weight))
    assert exempt.get_l2_regularizer().item() == 0
    layer.get_l2_regularizer().backward()
    torch.testing.assert_close(c.weight.grad, 0.7 * c.weight.detach())
    assert d.weight.grad is None  # exempt: costs nothing, touches nothing
    assert len(penalized_parameters(layer)) == 4


def test_a_layer_directly_in_a_layer():
    inner = L2RegularizationLayer(nn.Linear(3, 2), 0.5)
    outer = L2RegularizationLayer(inner, 0.1)
    assert torch.equal(outer.get_l2_regularizer(), inner.get_l2_regularizer())


def test_changing_lambda_of_an_inner_layer_changes_the_outer_penalty():
    inner = L2RegularizationLayer(nn.Linear(3, 2), 0.5)
    outer = L2RegularizationLayer(nn.Sequential(nn.Linear(3, 3), inner), 0.1)
    before = outer.get_l2_regularizer().item()
    inner.lam = 1.5
    assert outer.get_l2_regularizer().item() == pytest.approx(before + 0.5 * squares(inner.module.weight))


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def test_shared_parameters_are_counted_once():
    model = tied()
    layer = L2RegularizationLayer(model, 0.4)
    assert layer.get_l2_regularizer().item() == pytest.approx(0.2 * squares(model[0].weight))
    assert list(penalized_parameters(model)) == ["0.weight"]
    assert len(param_groups(model, 0.4)[0]["params"]) == 1
    twice = nn.Linear(4, 4)  # a shared module
    assert list(penalized_parameters(nn.Sequential(twice, nn.ReLU(), twice))) == ["0.weight"]


def test_a_shared_parameter_under_two_lambdas_is_an_error():
    model = tied()
    two = nn.Sequential(L2RegularizationLayer(model[0], 0.1), L2RegularizationLayer(model[2], 0.2))
    with pytest.raises(
        ValueError, match=r"0\.module\.weight and 1\.module\.weight are one shared tensor.*0\.1 .*0\.2"
    ):
        l2_penalty(two)
    with pytest.raises(ValueError, match="same λ"):
        L2RegularizationLayer(two, 0.1)
    with pytest.raises(ValueError, match="same λ"):  # exempt here, penalized there
        L2RegularizationLayer(nn.Sequential(L2RegularizationLayer(model[0], 0.0), model[2]), 0.2)
    with pytest.raises(ValueError, match="same λ"):
        penalized_parameters(model, lambda name, p: name == "0.weight")
    whole = nn.Linear(4, 4)  # a shared module, not only a shared tensor
    with pytest.raises(ValueError, match="same λ"):
        l2_penalty(nn.Sequential(L2RegularizationLayer(whole, 0.1), L2RegularizationLayer(whole, 0.2)))
    two[1].lam = 0.1
    assert l2_penalty(two).item() == pytest.approx(0.05 * squares(model[0].weight))


def test_l2_penalty_sums_over_the_layers_of_a_model():
    a, b = L2RegularizationLayer(nn.Linear(3, 3), 0.1), L2RegularizationLayer(nn.Linear(3, 2), 0.2)
    model = nn.Sequential(a, nn.Linear(3, 3), b)
    expected = a.get_l2_regularizer() + b.get_l2_regularizer()
    torch.testing.assert_close(l2_penalty(model), expected)
    torch.testing.assert_close(l2_penalty(a), a.get_l2_regularizer())
    nested = nn.Sequential(L2RegularizationLayer(nn.Sequential(a, nn.Linear(3, 3)), 0.5), b)
    expected = nested[0].get_l2_regularizer() + b.get_l2_regularizer()
    torch.testing.assert_close(l2_penalty(nested), expected)
    # Outside of all layers nothing is said about a parameter, so sharing it with one inside is no conflict.
    model[1].weight = a.module.weight
    torch.testing.assert_close(l2_penalty(model), a.get_l2_regularizer() + b.get_l2_regularizer())
    with pytest.raises(ValueError, match="wrap the parts"):
        l2_penalty(mlp())


# ---- fit_and_backward --------------------------------------------------------------------------------------


def test_forward_is_the_module():
    layer = L2RegularizationLayer(cnn(), 10.0)
    x, _ = batch((2, 6, 6), dtype=torch.float32)
    layer.eval()
    assert torch.equal(layer(x), layer.module(x))
    attention = L2RegularizationLayer(nn.MultiheadAttention(4, 2, batch_first=True), 1.0)
    q = torch.randn(2, 3, 4)
    output, weights = attention(q, q, value=q, need_weights=False)
    assert torch.equal(output, attention.module(q, q, q, need_weights=False)[0])
    assert weights is None


def test_fit_and_backward_adds_the_gradient_and_leaves_the_rest_alone():
    layer = L2RegularizationLayer(mlp().double(), 0.3)
    before = copy.deepcopy(layer.state_dict())
    x, y = batch()
    result = layer.fit_and_backward(x, y, CRITERION)
    reference = copy.deepcopy(layer.module)
    reference.zero_grad()
    output = reference(x)
    loss = CRITERION(output, y)
    penalty = 0.15 * sum((p**2).sum() for name, p in reference.named_parameters() if "weight" in name)
    (loss + penalty).backward()
    assert not any(value.requires_grad for value in result)
    torch.testing.assert_close(result.loss, loss.detach())
    torch.testing.assert_close(result.penalty, penalty.detach())
    torch.testing.assert_close(result.output, output.detach())
    for ours, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-15)
    layer.fit_and_backward(x, y, CRITERION)  # accumulates
    for ours, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, 2 * theirs.grad, rtol=1e-12, atol=1e-15)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_fit_and_backward_keeps_the_mode_and_other_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5))

        def forward(self, x):
            return {"logits": self.part(x)}

    layer = L2RegularizationLayer(Two(), 0.1).eval()
    x, y = batch(dtype=torch.float32)
    result = layer.fit_and_backward(x, y, lambda output, y: CRITERION(output["logits"], y))
    assert not layer.training
    assert torch.equal(result.output["logits"], layer(x)["logits"])


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (nn.CrossEntropyLoss, r"write CrossEntropyLoss\(\)"),
        (None, "criterion must be a function"),
        (nn.CrossEntropyLoss(reduction="none"), r"shape \(16,\).*reduction='mean'"),
        (lambda output, y: output[:1].sum(1), r"shape \(1,\)"),
        (lambda output, y: output.sum().item(), "got float"),
        (lambda output, y: output.detach().sum(), "depends on no trainable"),
    ],
)
def test_a_bad_criterion_is_explained(criterion, message):
    layer = L2RegularizationLayer(mlp(), 0.1)
    with pytest.raises(ValueError, match=message):
        layer.fit_and_backward(*batch(dtype=torch.float32), criterion)
    assert all(p.grad is None for p in layer.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_there_is_a_penalty_but_no_training(mode):
    layer = L2RegularizationLayer(mlp(), 0.1)
    expected = layer.get_l2_regularizer().item()
    with mode():
        assert layer.get_l2_regularizer().item() == expected
        with pytest.raises(RuntimeError, match="switched off"):
            layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)


def test_training_needs_something_trainable():
    layer = L2RegularizationLayer(mlp(), 0.1).requires_grad_(False)
    with pytest.raises(ValueError, match="unfreeze"):
        layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)


# ---- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lam", [-1e-9, float("nan"), float("inf"), True, "0.1", None, torch.tensor([1.0, 2.0]), 1j]
)
def test_lambda_must_be_a_finite_number_of_at_least_zero(lam):
    with pytest.raises(ValueError, match="finite number of at least 0"):
        L2RegularizationLayer(mlp(), lam)
    with pytest.raises(ValueError, match="finite number of at least 0"):
        param_groups(mlp(), lam)
    layer = L2RegularizationLayer(mlp(), 0.25)
    with pytest.raises(ValueError, match="finite number of at least 0"):
        layer.lam = lam
    assert layer.lam == 0.25


@pytest.mark.parametrize("lam", [0, 1, np.float32(0.5), np.float64(0.5), np.int64(2)])
def test_lambda_may_be_any_real_number(lam):
    layer = L2RegularizationLayer(mlp(), lam)
    assert type(layer.lam) is float
    assert layer.lam == lam


def test_the_print_shows_lambda_and_the_rule():
    assert "lam=0.001, penalize='weights'" in repr(L2RegularizationLayer(mlp(), 1e-3))

    def mine(name, parameter):
        return True

    assert "penalize=mine" in repr(L2RegularizationLayer(mlp(), 1e-3, penalize=mine))


def test_bad_modules_are_explained():
    for call in (
        lambda m: L2RegularizationLayer(m, 0.1),
        lambda m: param_groups(m, 0.1),
        penalized_parameters,
        l2_penalty,
        gate,
        gate_values,
        ungate,
    ):
        with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got list"):
            call([nn.Linear(2, 2)])
    with pytest.raises(ValueError, match="no parameters"):
        L2RegularizationLayer(nn.ReLU(), 0.1)
    with pytest.raises(ValueError, match=r"leaves out every parameter \(module\.weight, module\.bias\)"):
        L2RegularizationLayer(nn.BatchNorm1d(3), 0.1)
    with pytest.raises(ValueError, match="leaves out every"):
        param_groups(mlp(), 0.1, lambda name, p: False)
    with pytest.raises(ValueError, match="'weight' is not known"):
        L2RegularizationLayer(mlp(), 0.1, penalize="weight")
    for call in (lambda m: L2RegularizationLayer(m, 0.1), lambda m: gate(m[0])):
        with pytest.raises(ValueError, match="has no shape yet: pass one batch"):
            call(nn.Sequential(nn.LazyLinear(3)))
    lazy = nn.Sequential(nn.LazyLinear(3))
    lazy(torch.randn(2, 4))
    assert L2RegularizationLayer(lazy, 0.1).get_l2_regularizer() > 0


# ---- saving, moving, copying, compiling --------------------------------------------------------------------


def test_state_dict_round_trip_with_a_prefix_and_without_lambda():
    layer, other = L2RegularizationLayer(cnn(), 0.1), L2RegularizationLayer(cnn(), 0.2)
    state = layer.state_dict()
    assert set(state) == {f"module.{name}" for name in layer.module.state_dict()}
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert other.lam == 0.2
    torch.testing.assert_close(other.get_l2_regularizer(), 2 * layer.get_l2_regularizer())


def is_matrix(name, parameter):
    return parameter.ndim > 1


@pytest.mark.parametrize("penalize", ["all", is_matrix])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(duplicate, penalize):
    layer = L2RegularizationLayer(mlp(), 0.1, penalize=penalize)
    layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)  # what is remembered must not be copied
    other = duplicate(layer)
    assert (other.lam, other.penalize) == (0.1, penalize)
    assert torch.equal(other.get_l2_regularizer(), layer.get_l2_regularizer())
    with torch.no_grad():
        other.module[0].weight.mul_(3)
    other.lam = 1.0
    assert layer.lam == 0.1
    assert other.get_l2_regularizer() > 10 * layer.get_l2_regularizer()
    assert not {id(p) for p in other.parameters()} & {id(p) for p in layer.parameters()}


def test_moving_and_replacing_parameters_is_noticed():
    layer = L2RegularizationLayer(mlp(), 0.1)
    assert layer.get_l2_regularizer().dtype == torch.float32
    layer.double()
    assert layer.get_l2_regularizer().dtype == torch.float64
    layer.module[0].weight = nn.Parameter(torch.full((8, 6), 10.0, dtype=torch.float64))
    assert layer.get_l2_regularizer() > 0.05 * 4800
    layer.to("meta")
    assert layer.get_l2_regularizer().device.type == "meta"


def test_a_split_model_has_its_penalty_on_the_device_of_the_first_parameter():
    # "meta" stands for a second device: mixing it with the CPU without a transfer is an error, too.
    layer = L2RegularizationLayer(nn.Sequential(nn.Linear(3, 3, device="meta"), nn.Linear(3, 3)), 0.1)
    assert layer.get_l2_regularizer().device.type == "meta"


def test_mixed_precisions_are_summed_in_the_best_of_them():
    layer = L2RegularizationLayer(nn.Sequential(nn.Linear(3, 3).bfloat16(), nn.Linear(3, 3).double()), 0.2)
    penalty = layer.get_l2_regularizer()
    assert penalty.dtype == torch.float64
    expected = 0.1 * squares(layer.module[0].weight.double(), layer.module[1].weight)
    assert penalty.item() == pytest.approx(expected, rel=1e-6)
    penalty.backward()
    assert layer.module[0].weight.grad.dtype == torch.bfloat16


def test_the_layer_compiles_in_one_graph():
    layer = L2RegularizationLayer(nn.Sequential(mlp(), L2RegularizationLayer(nn.Linear(3, 3), 0.5)), 0.1)
    objective = Objective(layer)
    x, y = batch(dtype=torch.float32)
    expected = objective(x)
    gradients = torch.autograd.grad(expected, list(layer.parameters()))
    torch._dynamo.reset()
    compiled = torch.compile(objective, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    for ours, theirs in zip(
        torch.autograd.grad(compiled(x), list(layer.parameters())), gradients, strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    reference = copy.deepcopy(layer)
    layer.compile(backend="eager", fullgraph=True)  # in place: fit_and_backward runs the compiled forward
    a, b = layer.fit_and_backward(x, y, CRITERION), reference.fit_and_backward(x, y, CRITERION)
    torch.testing.assert_close(a.loss + a.penalty, b.loss + b.penalty)
    wrapped = L2RegularizationLayer(
        torch.compile(reference, backend="eager"), 7.0
    )  # the inner λ holds through it
    torch.testing.assert_close(wrapped.get_l2_regularizer(), b.penalty)


def test_functional_call_gets_the_penalty_of_the_tensors_in_place():
    layer = L2RegularizationLayer(mlp(), 0.1)
    objective = Objective(layer)
    x, _ = batch(dtype=torch.float32)
    doubled = {name: 2 * p.detach() for name, p in objective.named_parameters()}  # plain tensors, no gradient
    expected = functional_call(layer, {k.removeprefix("layer."): v for k, v in doubled.items()}, x).sum()
    value = functional_call(objective, doubled, x)
    torch.testing.assert_close(value - expected, 4 * layer.get_l2_regularizer().detach())
    gradient = grad(lambda params: functional_call(objective, params, x))(doubled)
    only_loss = grad(lambda params: functional_call(objective.layer, params, x).sum())(
        {name.removeprefix("layer."): value for name, value in doubled.items()}
    )
    name = "module.2.weight"
    torch.testing.assert_close(gradient[f"layer.{name}"] - only_loss[name], 0.1 * doubled[f"layer.{name}"])


def test_an_ensemble_under_vmap_has_one_penalty_per_member():
    members = [Objective(L2RegularizationLayer(mlp(), 0.1)) for _ in range(3)]
    x, _ = batch(dtype=torch.float32)
    values = vmap(lambda p, b: functional_call(members[0], (p, b), x))(*stack_module_state(members))
    torch.testing.assert_close(values, torch.stack([m(x) for m in members]))


def test_replicas_of_data_parallel_use_their_own_tensors():
    # What nn.parallel.replicate does per device: modules without parameters, tensors as attributes.
    layer = L2RegularizationLayer(mlp(), 0.1)
    replicas = {m: m._replicate_for_data_parallel() for m in layer.modules()}
    for module, replica in replicas.items():
        for name, child in module._modules.items():
            replica._modules[name] = replicas[child]
        replica._former_parameters = {}
        for name, parameter in module._parameters.items():
            setattr(replica, name, 3 * parameter)  # no leaf, as a broadcast copy
            replica._former_parameters[name] = getattr(replica, name)
    replica = replicas[layer]
    assert not list(replica.parameters())
    penalty = replica.get_l2_regularizer()
    torch.testing.assert_close(penalty, 9 * layer.get_l2_regularizer())
    penalty.backward()
    weight = layer.module[0].weight
    torch.testing.assert_close(weight.grad, 0.9 * weight.detach())


# ---- number formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "value"), [(torch.float16, 300.0), (torch.bfloat16, 1.0078125)])
def test_half_precision_is_summed_in_float32(dtype, value):
    # 300² is infinite in float16; (1 + 2⁻⁷)² and a sum of 1000 terms have no exact bfloat16.
    module = nn.Linear(1000, 1).to(dtype)
    nn.init.constant_(module.weight, value)
    penalty = L2RegularizationLayer(module, 2.0).get_l2_regularizer()
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(1000 * value**2, rel=1e-6)


class Exact(nn.Module):
    """A part of a model that opts out of autocast, so that its backward pass must be exact as well."""

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(6, 6)

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.part(x).tanh()


def test_autocast_touches_neither_the_penalty_nor_the_backward_pass():
    layer = L2RegularizationLayer(nn.Sequential(Exact(), mlp()), 0.1)
    outside = copy.deepcopy(layer)
    x, y = batch(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer.fit_and_backward(x, y, CRITERION)
    assert result.output.dtype == torch.bfloat16
    assert result.penalty.dtype == torch.float32
    assert torch.equal(result.penalty, outside.get_l2_regularizer())
    with torch.autocast("cpu", dtype=torch.bfloat16):  # torch's own recipe: backward outside of autocast
        objective = CRITERION(outside(x), y) + outside.get_l2_regularizer()
    objective.backward()
    for ours, theirs in zip(layer.parameters(), outside.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_a_scaler_scales_loss_and_penalty_once():
    layer = L2RegularizationLayer(mlp(), 0.1)
    plain = copy.deepcopy(layer)
    x, y = batch(dtype=torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    result = layer.fit_and_backward(x, y, CRITERION, scaler=scaler)
    expected = plain.fit_and_backward(x, y, CRITERION)
    torch.testing.assert_close(result.loss + result.penalty, expected.loss + expected.penalty)
    for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, 1024 * theirs.grad, rtol=1e-5, atol=1e-6)
    scaler.step(optimizer)
    torch.optim.SGD(plain.parameters(), lr=0.5).step()
    for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_complex_weights_are_penalized_by_their_magnitude():
    class Rotation(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, dtype=torch.complex128))

    layer = L2RegularizationLayer(Rotation(), 0.4)
    weight = layer.module.weight
    penalty = layer.get_l2_regularizer()
    assert penalty.item() == pytest.approx(0.2 * squares(weight))
    penalty.backward()
    expected = weight.detach().clone().requires_grad_()
    (0 * expected.real.sum()).backward()
    optimizer = torch.optim.SGD([expected], lr=1.0, weight_decay=0.4)
    optimizer.step()
    torch.testing.assert_close(weight.detach() - weight.grad, expected.detach())


def test_sparse_gradients_of_an_embedding_become_dense_unless_it_is_exempt():
    embedding = nn.Embedding(10, 3, sparse=True)
    layer = L2RegularizationLayer(embedding, 0.2)
    tokens = torch.tensor([1, 1, 4])
    layer.fit_and_backward(tokens, None, lambda output, y: output.sum())
    expected = 0.2 * embedding.weight.detach()
    expected[1] += 2
    expected[4] += 1
    torch.testing.assert_close(embedding.weight.grad.to_dense(), expected)
    embedding.weight.grad = None
    layer.lam = 0.0
    layer.fit_and_backward(tokens, None, lambda output, y: output.sum())
    assert embedding.weight.grad.is_sparse


# ---- a penalty that is counted twice -----------------------------------------------------------------------


def one_step(layer, optimizer):
    optimizer.zero_grad()
    layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)
    optimizer.step()


def quiet(function, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(*args)


def test_weight_decay_on_top_of_the_layer_warns_once_per_optimizer():
    layer = L2RegularizationLayer(mlp(), 0.1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.05)
    message = r"module\.0\.weight and 2 more: penalized twice.*weight_decay=0\.05 of SGD.*weight_decay=0"
    with pytest.warns(UserWarning, match=message) as record:
        one_step(layer, optimizer)
    assert len(record) == 1
    assert record[0].filename == __file__
    quiet(one_step, layer, optimizer)
    with pytest.warns(UserWarning, match=r"weight_decay=0\.01 of AdamW"):  # its default
        one_step(layer, torch.optim.AdamW(layer.parameters()))


def test_weight_decay_elsewhere_does_not_warn():
    layer = L2RegularizationLayer(mlp(), 0.1)
    biases = [p for p in layer.parameters() if p.ndim == 1]
    weights = [p for p in layer.parameters() if p.ndim == 2]
    groups = [{"params": biases, "weight_decay": 0.3}, {"params": weights, "weight_decay": 0.0}]
    quiet(one_step, layer, torch.optim.SGD(groups, lr=0.1))
    layer.lam = 0.0
    quiet(one_step, layer, torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.3))
    layer.lam = 0.1
    layer.module[0].requires_grad_(False)
    frozen = torch.optim.SGD(layer.module[0].parameters(), lr=0.1, weight_decay=0.3)
    quiet(one_step, layer, frozen)


def test_after_its_step_the_layer_may_be_trained_by_weight_decay():
    layer = L2RegularizationLayer(mlp(), 0.1)
    x, y = batch(dtype=torch.float32)
    quiet(one_step, layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    optimizer = torch.optim.SGD(layer.param_groups(), lr=0.1)
    optimizer.zero_grad()
    (CRITERION(layer(x), y)).backward()
    layer.get_l2_regularizer()  # looking at the penalty is no training
    quiet(optimizer.step)
    with pytest.warns(UserWarning, match="twice"):
        one_step(layer, optimizer)


def test_accumulated_gradients_and_weight_decay_set_later_are_noticed():
    layer = L2RegularizationLayer(mlp(), 0.1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    quiet(one_step, layer, optimizer)
    optimizer.param_groups[0]["weight_decay"] = 0.1
    layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)
    layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)
    with pytest.warns(UserWarning, match="twice"):
        optimizer.step()


def test_the_watch_keeps_nothing_alive_and_is_set_up_once():
    layer = L2RegularizationLayer(mlp(), 0.1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.05)
    with pytest.warns(UserWarning, match="twice"):
        one_step(layer, optimizer)
    layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)
    assert list(_global_optimizer_pre_hooks.values()).count(layers._before_step) == 1
    assert len(layers._penalized_gradients) >= 3
    watched = [weakref.ref(optimizer), weakref.ref(layer.module[0].weight)]
    del layer, optimizer
    gc.collect()
    assert [reference() for reference in watched] == [None, None]
    gc.collect()
    assert len(layers._penalized_gradients) == 0
    assert len(layers._warned) == 0


def test_a_compiled_optimizer_step_still_works():
    layer = L2RegularizationLayer(mlp(), 0.1)
    other = copy.deepcopy(layer)
    a, b = (torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (layer, other))
    torch._dynamo.reset()
    compiled = torch.compile(a.step, backend="eager")
    x, y = batch(dtype=torch.float32)
    for _ in range(3):
        for module, optimizer, step in ((layer, a, compiled), (other, b, b.step)):
            optimizer.zero_grad()
            module.fit_and_backward(x, y, CRITERION)
            step()
    for p, q in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)


# ---- gates -------------------------------------------------------------------------------------------------

LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "conv1d": (lambda: nn.Conv1d(4, 3, 2), (4, 5)),
    "conv2d": (lambda: nn.Conv2d(4, 3, 2), (4, 5, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2), (3, 5, 5)),
}


def shake(module):
    """Move all parameters, so that no two gates are alike."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_effective_weight_is_the_product(layer, dim, depth):
    make, shape = LAYERS[layer]
    module = make().double()
    x = torch.randn(2, *shape, dtype=torch.float64)
    before, weight = module(x), module.weight
    assert gate(module, dim=dim, depth=depth) is module
    assert torch.equal(module(x), before)
    original, factors = module.parametrizations.weight.original, module.parametrizations.weight[0].factors
    assert original is weight  # an optimizer that knows it need not be told
    shake(module)
    W, product = original.detach().numpy(), np.prod([g.detach().numpy() for g in factors], axis=0)
    assert len(factors) == depth - 1
    axis = None if dim is None else dim % W.ndim
    assert product.shape == (W.shape if dim is None else (W.shape[axis],))
    expected = W * product if dim is None else np.moveaxis(np.moveaxis(W, axis, -1) * product, -1, axis)
    np.testing.assert_allclose(module.weight.detach().numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(gate_values(module).numpy(), product, rtol=1e-14)
    others = tuple(i for i in range(W.ndim) if i != axis)
    strength = abs(expected) if dim is None else np.sqrt((W**2).sum(others)) * abs(product)
    np.testing.assert_allclose(gate_strength(module).numpy(), strength, rtol=1e-13)
    assert not gate_strength(module).requires_grad
    assert not gate_values(module).requires_grad
    after = module(x)
    assert ungate(module) is module
    assert torch.equal(module(x), after)
    assert module.weight is weight
    assert {name for name, _ in module.named_parameters()} == {"weight", "bias"}
    assert type(module) is type(make())


def test_a_gate_of_dim_one_scales_an_input_and_of_dim_zero_an_output():
    x = torch.randn(2, 4, 5, 5)
    for dim in (0, 1):
        module = nn.Conv2d(4, 3, 2, bias=False)
        weight = module.weight.detach().clone()
        shake(gate(module, dim=dim))
        weight = module.parametrizations.weight.original
        g = gate_values(module)[:, None, None]
        plain = torch.nn.functional.conv2d(x if dim == 0 else x * g, weight)
        torch.testing.assert_close(module(x), plain * g if dim == 0 else plain)


def test_gate_values_are_no_view_into_the_gates():
    module = gate(nn.Linear(3, 2))
    gate_values(module).zero_()
    assert gate_values(module).tolist() == [1, 1, 1]


def test_init_and_type_of_the_gates():
    module = gate(nn.Linear(3, 2).double(), depth=3, init=-0.5)
    assert gate_values(module).tolist() == [0.25] * 3
    assert gate_values(module).dtype == torch.float64
    assert all(
        isinstance(g, nn.Parameter) and g.requires_grad for g in module.parametrizations.weight[0].factors
    )


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: gate(nn.Linear(3, 2)), {}, "gated already"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)), {}, "parametrized already"),
        (mlp, {}, r"has no parameter 'weight' of its own \(it has: none\).*model\[0\]"),
        (lambda: nn.Linear(3, 2), {"name": "w"}, r"it has: weight, bias"),
        (lambda: nn.Linear(3, 2, bias=False), {"name": "bias", "dim": 0}, "no parameter 'bias'"),
        (lambda: nn.Linear(3, 2), {"dim": 2}, r"dim=2 is no axis.*\(2, 3\)"),
        (lambda: nn.Linear(3, 2), {"dim": -3}, "no axis"),
        (lambda: nn.Linear(3, 2), {"dim": 1.0}, "no axis"),
        (lambda: nn.Linear(3, 2), {"name": "bias"}, "dim=1 is no axis of 'bias'"),
        (lambda: nn.Linear(3, 2), {"depth": 1}, "depth must be an integer of at least 2"),
        (lambda: nn.Linear(3, 2), {"depth": 2.0}, "depth must be"),
        (lambda: nn.Linear(3, 2), {"init": 0}, "init must be"),
        (lambda: nn.Linear(3, 2), {"init": float("nan")}, "init must be"),
        (lambda: nn.Conv2d(4, 4, 3, groups=2), {}, "groups=2"),
        (lambda: nn.LSTM(3, 2), {"name": "weight_ih_l0"}, "cannot be gated"),
    ],
)
def test_misuse_of_gates_is_explained(make, arguments, message):
    module = make()
    before = list(dict(module.named_parameters()))
    with pytest.raises(ValueError, match=message):
        gate(module, **arguments)
    assert list(dict(module.named_parameters())) == before


@pytest.mark.parametrize("function", [gate_values, gate_strength, ungate])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(3, 2), lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))]
)
def test_reading_gates_where_there_are_none(function, make):
    with pytest.raises(ValueError, match=r"not gated; call gate\(module, 'weight'\)"):
        function(make())


def test_ungating_a_deep_copy_leaves_the_original_alone():
    # torch.nn.utils.parametrize keeps `weight` in the class, which copies share.
    module = shake(gate(gate(nn.Linear(4, 3)), "bias", dim=0))
    x = torch.randn(2, 4)
    expected = module(x)
    other = copy.deepcopy(module)
    ungate(other)
    assert torch.equal(module(x), expected)
    assert torch.equal(other(x), expected)
    third = gate(copy.deepcopy(other), dim=0, depth=3)
    assert torch.equal(other(x), expected)
    assert torch.equal(third(x), expected)
    ungate(ungate(module), "bias")
    assert type(module) is nn.Linear
    assert torch.equal(module(x), expected)
    assert torch.equal(copy.deepcopy(third)(x), expected)
    assert "parametrizations.bias.original" in dict(other.named_parameters())


def test_gates_are_saved_in_the_state_dict_and_compile():
    model = nn.Sequential(shake(gate(nn.Linear(4, 3), depth=3)), nn.ReLU(), nn.Linear(3, 2))
    other = nn.Sequential(gate(nn.Linear(4, 3), depth=3), nn.ReLU(), nn.Linear(3, 2))
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(model(x), other(x))
    torch._dynamo.reset()
    objective = Objective(L2RegularizationLayer(model, 0.1))
    compiled = torch.compile(objective, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), objective(x))


@pytest.mark.parametrize("dim", [0, 1, None])
def test_the_penalty_falls_on_the_factors_and_not_on_the_product(dim):
    model = nn.Sequential(shake(gate(nn.Linear(4, 3), dim=dim, depth=3)), nn.Linear(3, 2))
    layer = L2RegularizationLayer(model, 0.2)
    inner = model[0].parametrizations.weight
    factors = [inner.original, *inner[0].factors]
    assert layer.get_l2_regularizer().item() == pytest.approx(
        0.1 * squares(*factors, model[1].weight), rel=1e-6
    )
    decayed, rest = param_groups(model, 0.2)
    assert set(ids(decayed["params"])) == {*ids(factors), id(model[1].weight)}
    assert set(ids(rest["params"])) == {id(model[0].bias), id(model[1].bias)}


def test_all_factors_of_a_gated_scale_or_bias_are_penalized():
    model = nn.Sequential(gate(nn.Linear(4, 3), "bias", dim=0), gate(nn.BatchNorm1d(3), dim=None))
    assert set(penalized_parameters(model)) == {
        "0.weight",
        "0.parametrizations.bias.original",
        "0.parametrizations.bias.0.factors.0",
        "1.parametrizations.weight.original",
        "1.parametrizations.weight.0.factors.0",
    }


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("dim", [1, None])
def test_at_a_fixed_product_the_least_penalty_is_the_group_norm_to_the_power_two_over_depth(dim, depth):
    """Hoff 2017, Kolb et al. 2025: the minimum over the factors is depth/2·Σ c^(2/depth)."""
    module = gate(nn.Linear(3, 2, bias=False).double(), dim=dim, depth=depth)
    W = torch.tensor([[0.3, -2.0, 1.1], [0.7, 0.4, -0.9]], dtype=torch.float64)
    layer = L2RegularizationLayer(module, 1.0)
    original, factors = module.parametrizations.weight.original, module.parametrizations.weight[0].factors
    shape = factors[0].shape

    def penalty(logs):
        scales = torch.tensor(logs).exp().reshape(depth - 1, *shape)
        with torch.no_grad():
            for factor, scale in zip(factors, scales, strict=True):
                factor.copy_(scale)
            original.copy_(W / scales.prod(0))
        torch.testing.assert_close(module.weight, W)
        return layer.get_l2_regularizer().item()

    best = minimize(penalty, np.full((depth - 1) * factors[0].numel(), 0.3), method="BFGS")
    c = W.norm(dim=0) if dim == 1 else W.abs()
    expected = depth / 2 * float((c ** (2 / depth)).sum())
    assert best.fun == pytest.approx(expected, rel=1e-7)
    assert penalty(np.full((depth - 1) * factors[0].numel(), 0.3)) > expected + 0.01


def regression(n_outputs, n=60, p=10):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(n, p)) @ (np.eye(p) + 0.3 * generator.normal(size=(p, p)))
    truth = np.zeros((p, n_outputs))
    truth[:4] = generator.normal(size=(4, n_outputs)) * 1.5
    return X, X @ truth + 0.5 * generator.normal(size=(n, n_outputs))


def train_gated(X, Y, lam, dim, steps=800):
    """Full-batch SGD with weight decay on all factors, nothing else."""
    module = gate(nn.Linear(X.shape[1], Y.shape[1], bias=False).double(), dim=dim)
    optimizer = torch.optim.SGD(param_groups(module, lam), lr=0.05, momentum=0.9)
    X, Y = torch.tensor(X), torch.tensor(Y)
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * (module(X) - Y).square().sum(1).mean()).backward()
        optimizer.step()
    return module


def test_one_gate_per_weight_and_weight_decay_reach_the_lasso():
    X, Y = regression(1)
    lam = 0.4
    lasso = Lasso(alpha=lam, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y[:, 0]).coef_
    assert 0 < (lasso == 0).sum() < len(lasso)
    assert (lasso < 0).any()
    module = train_gated(X, Y, lam, dim=None)
    np.testing.assert_allclose(module.weight.detach().numpy()[0], lasso, atol=1e-6)
    assert (gate_strength(module).numpy()[0][lasso == 0] < 1e-6).all()


def test_one_gate_per_input_and_weight_decay_reach_the_group_lasso():
    X, Y = regression(3)
    lam = 0.8
    group = MultiTaskLasso(alpha=lam, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y).coef_
    dead = (group == 0).all(axis=0)
    assert 0 < dead.sum() < len(dead)
    module = train_gated(X, Y, lam, dim=1)
    W = module.weight.detach().numpy()
    np.testing.assert_allclose(W, group, atol=1e-6)
    assert (gate_strength(module).numpy() < 1e-6).tolist() == dead.tolist()
    # The conditions of Karush, Kuhn and Tucker of the group lasso itself.
    gradient = (W @ X.T - Y.T) @ X / len(X)
    norms = np.linalg.norm(W, axis=0)
    np.testing.assert_allclose(gradient[:, ~dead], -lam * W[:, ~dead] / norms[~dead], atol=1e-6)
    assert (np.linalg.norm(gradient[:, dead], axis=0) <= lam + 1e-6).all()
    # Balanced at the minimum: both factors carry the square root.
    np.testing.assert_allclose(gate_values(module).numpy()[~dead] ** 2, norms[~dead], atol=1e-6)


def test_plain_weight_decay_without_gates_selects_nothing():
    X, Y = regression(1)
    module = nn.Linear(10, 1, bias=False).double()
    optimizer = torch.optim.SGD(param_groups(module, 0.4), lr=0.05, momentum=0.9)
    for _ in range(800):
        optimizer.zero_grad()
        (0.5 * (module(torch.tensor(X)) - torch.tensor(Y)).square().sum(1).mean()).backward()
        optimizer.step()
    ridge = np.linalg.solve(X.T @ X + len(X) * 0.4 * np.eye(10), X.T @ Y)[:, 0]
    np.testing.assert_allclose(module.weight.detach().numpy()[0], ridge, atol=1e-8)
    assert (abs(ridge) > 1e-3).all()
