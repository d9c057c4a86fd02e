"""The L2 layer against torch.optim's weight decay and closed forms; gates against the group lasso."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
import torchvision
from sklearn.linear_model import MultiTaskLasso
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim.optimizer import _global_optimizer_pre_hooks
from torch.utils._pytree import tree_leaves

from l2lab import layers
from l2lab.layers import L2RegularizationLayer, gate, l2_penalty, param_groups, penalized_parameters

CRITERION = nn.CrossEntropyLoss()


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))


def cnn():
    parts = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*parts)


def batch(shape=(6,), n=16, dtype=torch.float64):
    return torch.randn(n, *shape, dtype=dtype), torch.randint(0, 3, (n,))


def squares(*tensors):
    """Σ‖w‖² by NumPy in float64."""
    return sum(float((t.detach().numpy().astype(np.float64) ** 2).sum()) for t in tensors)


def ids(parameters):
    return [id(p) for p in parameters]


class Everything(nn.Module):
    """One of each kind of parameter."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)
        self.batch, self.layer, self.group = nn.BatchNorm1d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4)
        self.instance, self.rms = nn.InstanceNorm1d(4, affine=True), nn.RMSNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.recurrent = nn.LSTM(4, 3)
        self.bilinear, self.embedding = nn.Bilinear(2, 3, 4), nn.Embedding(5, 4)
        self.slope = nn.PReLU(3)  # its "weight" is a part of the activation
        self.importance = nn.Parameter(torch.randn(7))  # a vector, and a weight all the same
        self.unbiased = nn.Parameter(torch.randn(2))


EVERYTHING_PENALIZED = {"conv.weight", "bilinear.weight", "embedding.weight", "importance", "unbiased"}
EVERYTHING_PENALIZED |= {"attention.in_proj_weight", "attention.out_proj.weight"}
EVERYTHING_PENALIZED |= {"recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}


def test_weights_are_all_but_biases_and_normalization_layers():
    module = Everything()
    found, named = penalized_parameters(module), dict(module.named_parameters())
    assert set(found) == EVERYTHING_PENALIZED
    assert all(found[name] is named[name] for name in found)
    assert not penalized_parameters(nn.ModuleList([nn.BatchNorm3d(4), nn.SyncBatchNorm(4)]))
    layer = L2RegularizationLayer(module, 0.3)
    expected = 0.15 * squares(*(named[name] for name in EVERYTHING_PENALIZED))
    assert layer.get_l2_regularizer().shape == ()
    assert layer.get_l2_regularizer().item() == pytest.approx(expected, rel=1e-6)
    everything = L2RegularizationLayer(module, 0.3, penalize="all")
    assert everything.get_l2_regularizer().item() == pytest.approx(0.15 * squares(*named.values()), rel=1e-6)


def test_a_rule_of_one_s_own_knows_what_torch_does_not():
    def only_the_first(module, name):
        return name == "weight" and module.in_features == 3

    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    layer = L2RegularizationLayer(model, 0.2, penalize=only_the_first)
    assert layer.get_l2_regularizer().item() == pytest.approx(0.1 * squares(layer.module[0].weight), rel=1e-6)
    assert [len(group["params"]) for group in layer.param_groups()] == [1, 3]


def test_frozen_parameters_are_constants_and_not_penalized():
    module = mlp()
    layer = L2RegularizationLayer(module, 0.2)
    module[0].requires_grad_(False)
    expected = 0.1 * squares(module[2].weight, module[4].weight)
    assert layer.get_l2_regularizer().item() == pytest.approx(expected)
    assert layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)[1].item() == pytest.approx(expected)
    assert "0.weight" not in penalized_parameters(module)
    assert id(module[0].weight) in ids(param_groups(module, 0.1)[0]["params"])  # where it would train
    layer.lam = 0.0
    assert layer.get_l2_regularizer().item() == 0


@pytest.mark.parametrize(("dtype", "value"), [(torch.float16, 300.0), (torch.bfloat16, 1.0078125)])
def test_half_precision_is_summed_in_float32(dtype, value):
    # 300² is infinite in float16; (1 + 2⁻⁷)² and a sum of 1000 terms have no exact bfloat16.
    module = nn.Linear(1000, 1).to(dtype)
    nn.init.constant_(module.weight, value)
    penalty = L2RegularizationLayer(module, 2.0).get_l2_regularizer()
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(1000 * value**2, rel=1e-6)


def test_training_with_the_layer_is_training_with_weight_decay():
    ours = L2RegularizationLayer(cnn().double(), 0.03)
    theirs, start = copy.deepcopy(ours.module), copy.deepcopy(ours.module)
    # Decay by hand, without our own param_groups: weights are what has two axes or more in this network.
    many = [p for p in theirs.parameters() if p.ndim > 1]
    one = [p for p in theirs.parameters() if p.ndim == 1]
    groups = [{"params": many, "weight_decay": 0.03}, {"params": one, "weight_decay": 0.0}]
    reference, plain = (torch.optim.Adam(params, lr=0.01) for params in (groups, ours.parameters()))
    x, y = batch((2, 6, 6), n=96)
    for step in range(60):
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
    module = Everything()
    for penalize in ("weights", "all"):
        chosen = penalized_parameters(module).values() if penalize == "weights" else module.parameters()
        decayed, rest = param_groups(module, 0.02, penalize)
        assert ids(decayed["params"]) == ids(chosen)
        assert sorted(ids(decayed["params"] + rest["params"])) == sorted(ids(module.parameters()))
    (group,) = param_groups(nn.BatchNorm1d(3), 0.1)  # without weights
    assert (group["weight_decay"], len(group["params"])) == (0, 2)


def test_each_parameter_is_counted_once_with_the_innermost_lambda():
    a, b, c, d = (nn.Linear(3, 3) for _ in range(4))
    deepest = L2RegularizationLayer(c, 0.7)
    middle = L2RegularizationLayer(nn.Sequential(b, nn.Sequential(nn.ReLU(), deepest)), 0.05)
    exempt = L2RegularizationLayer(d, 0.0)
    layer = L2RegularizationLayer(nn.Sequential(a, nn.ModuleDict({"m": middle})["m"], exempt), 0.2)
    expected = 0.5 * (0.2 * squares(a.weight) + 0.05 * squares(b.weight) + 0.7 * squares(c.weight))
    assert layer.get_l2_regularizer().item() == pytest.approx(expected)
    assert middle.get_l2_regularizer().item() == pytest.approx(expected - 0.1 * squares(a.weight))
    assert exempt.get_l2_regularizer().item() == 0
    layer.get_l2_regularizer().backward()
    torch.testing.assert_close(c.weight.grad, 0.7 * c.weight.detach())
    assert d.weight.grad is None  # exempt: costs nothing, touches nothing
    assert len(penalized_parameters(layer)) == 3
    deepest.lam = 1.7
    assert layer.get_l2_regularizer().item() == pytest.approx(expected + 0.5 * squares(c.weight))
    # Outside of all layers nothing is said about a parameter, so sharing it with one inside is no conflict.
    outside = nn.Linear(3, 3)
    outside.weight = a.weight
    torch.testing.assert_close(l2_penalty(nn.Sequential(layer, outside)), layer.get_l2_regularizer())


def test_a_shared_parameter_under_two_lambdas_is_an_error():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    two = nn.Sequential(L2RegularizationLayer(model[0], 0.1), L2RegularizationLayer(model[2], 0.2))
    message = r"0\.module\.weight and 1\.module\.weight are one shared tensor.*0\.1 .*0\.2"
    with pytest.raises(ValueError, match=message):
        l2_penalty(two)
    with pytest.raises(ValueError, match="same λ"):  # exempt here, penalized there
        L2RegularizationLayer(nn.Sequential(L2RegularizationLayer(model[0], 0.0), model[2]), 0.2)
    two[1].lam = 0.1
    assert l2_penalty(two).item() == pytest.approx(0.05 * squares(model[0].weight))


class Tied(nn.Module):
    """Reads and writes words with one matrix."""

    def __init__(self):
        super().__init__()
        self.read, self.write = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.write.weight = self.read.weight

    def forward(self, words):
        return {"scores": self.write(self.read(words))}


class Complex(nn.Module):
    """Multiplies by complex numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4, dtype=torch.complex128))

    def forward(self, *, signal):
        return (signal.to(self.weight.dtype) @ self.weight).abs()


def rows(*shape):
    return torch.randn(*shape, dtype=torch.float64)


MODULES = {  # module, inputs, what the loss looks at
    "resnet": (lambda: torchvision.models.resnet18(num_classes=3), rows(2, 3, 32, 32), lambda out: out),
    "lstm": (lambda: nn.LSTM(4, 3), (rows(5, 2, 4), (rows(1, 2, 3), rows(1, 2, 3))), lambda out: out[0]),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), rows(5, 2, 4), lambda out: out),
    "tied": (Tied, torch.randint(9, (6,)), lambda out: out["scores"]),
    "lazy": (lambda: nn.LazyLinear(3), rows(6, 4), lambda out: out),
    "complex": (Complex, {"signal": rows(6, 5)}, lambda out: out),
    "compiled": (lambda: torch.compile(mlp(), backend="eager"), rows(6, 6), lambda out: out),
}


@pytest.mark.parametrize("name", MODULES)
def test_any_module_and_signature_gets_the_gradient_of_loss_and_penalty(name):
    make, inputs, look = MODULES[name]
    layer = L2RegularizationLayer(make().double(), 0.3)
    result = layer.fit_and_backward(inputs, None, lambda out, _: look(out).square().mean())
    assert len(tree_leaves(result)) >= 3
    assert not any(t.requires_grad for t in tree_leaves(result))
    torch.testing.assert_close(result.penalty, layer.get_l2_regularizer().detach())
    assert result[1].item() == pytest.approx(0.15 * squares(*map(abs, penalized_parameters(layer).values())))
    first = [None if p.grad is None else p.grad.clone() for p in layer.parameters()]
    layer.lam = 0.0  # the gradients of both calls add up
    layer.fit_and_backward(inputs, None, lambda out, _: look(out).square().mean())
    chosen = set(ids(penalized_parameters(layer.module).values()))
    assert chosen
    for parameter, grad in zip(layer.parameters(), first, strict=True):
        pull = 0.3 * parameter.detach() if id(parameter) in chosen else torch.zeros_like(parameter)
        if grad is not None:
            torch.testing.assert_close(2 * grad - parameter.grad, pull, rtol=1e-9, atol=1e-12)


def test_a_hook_sees_the_whole_gradient_and_what_the_loss_does_not_reach_decays():
    layer, seen = L2RegularizationLayer(mlp().double(), 0.3), []
    layer.module[4].weight.register_hook(lambda g: seen.append(g.clone()))
    x, _ = batch()
    hidden = lambda out, _: layer.module[:2](x).square().mean()  # noqa: E731 - not through the last layers
    layer.fit_and_backward(x, None, hidden)
    torch.testing.assert_close(seen, [0.3 * layer.module[4].weight.detach()])
    torch.testing.assert_close(layer.module[2].weight.grad, 0.3 * layer.module[2].weight.detach())
    layer.zero_grad()
    del layer.module[4]  # without a hook, and with a tree that has changed
    layer.fit_and_backward(x, None, hidden)
    torch.testing.assert_close(layer.module[2].weight.grad, 0.3 * layer.module[2].weight.detach())
    words = L2RegularizationLayer(nn.Embedding(9, 4, sparse=True), 0.3)
    words.fit_and_backward(torch.tensor([1]), None, lambda out, _: out.sum())
    torch.testing.assert_close(words.module.weight.grad[2:], 0.3 * words.module.weight.detach()[2:])


def test_a_new_lambda_compiles_nothing_anew():
    counter = CompileCounter()
    layer = L2RegularizationLayer(mlp().double(), 0.1)
    x, y = batch()
    compiled = torch.compile(lambda: CRITERION(layer(x), y) + l2_penalty(layer), backend=counter)
    for lam in (0.1, 0.2, 0.3, 0.4):
        layer.lam = lam
        torch.testing.assert_close(compiled(), CRITERION(layer(x), y) + l2_penalty(layer))
    assert counter.frame_count == 1


def _train(layer, step):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        step()
        optimizer.step()


def _one_of_two(rank, folder):
    """Train on every second row, as one of two processes."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    x, y = (rows[rank::2] for rows in batch())
    net = mlp().double()
    nets = net, copy.deepcopy(net)
    outside = L2RegularizationLayer(nn.parallel.DistributedDataParallel(nets[0]), 0.3)
    _train(outside, lambda: outside.fit_and_backward(x, y, CRITERION))
    inside = nn.parallel.DistributedDataParallel(L2RegularizationLayer(nets[1], 0.3))
    _train(inside, lambda: (CRITERION(inside(x), y) + l2_penalty(inside)).backward())
    torch.save([[*net.parameters()] for net in nets], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_that_average_gradients_train_as_one_with_all_rows(tmp_path):
    other = torch.multiprocessing.get_context("spawn").Process(target=_one_of_two, args=(1, tmp_path))
    other.start()
    _one_of_two(0, tmp_path)
    other.join()
    torch.manual_seed(0)
    x, y = batch()
    layer = L2RegularizationLayer(mlp().double(), 0.3)
    _train(layer, lambda: layer.fit_and_backward(x, y, CRITERION))
    for rank in (0, 1):
        for found in torch.load(tmp_path / f"{rank}.pt"):
            torch.testing.assert_close(found, [*layer.module.parameters()], rtol=0, atol=1e-12)


def test_the_state_and_copies_are_those_of_a_module():
    layer, other = L2RegularizationLayer(cnn(), 0.1), L2RegularizationLayer(cnn(), 0.2)
    assert set(layer.state_dict()) == {"strength", *(f"module.{name}" for name in layer.module.state_dict())}
    stream = io.BytesIO()
    torch.save(layer.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert other.lam == 0.1
    torch.testing.assert_close(other.get_l2_regularizer(), layer.get_l2_regularizer())
    former = {name: value for name, value in layer.state_dict().items() if name != "strength"}
    nested = nn.Sequential(L2RegularizationLayer(cnn(), 0.2))
    nested.load_state_dict({f"0.{name}": value for name, value in former.items()})  # strict, and λ stays
    torch.testing.assert_close(l2_penalty(nested), 2 * layer.get_l2_regularizer())
    layer.half().float()
    assert (layer.lam, layer.strength.item(), layer.strength.dtype) == (0.1, 0.1, torch.float64)
    assert layer.to("meta").to_empty(device="cpu").strength.item() == 0.1
    layer.fit_and_backward(*batch((2, 6, 6), dtype=torch.float32), CRITERION)
    third = copy.deepcopy(layer)  # what is remembered is not copied
    third.lam = 1.0
    assert layer.lam == 0.1
    assert not set(ids(third.parameters())) & set(ids(layer.parameters()))
    assert "lam=0.1, penalize='weights'" in repr(layer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: L2RegularizationLayer(mlp(), -1e-9), "lam must be in"),
        (lambda: param_groups(mlp(), float("nan")), "lam must be in"),
        (lambda: setattr(L2RegularizationLayer(mlp(), 1.0), "lam", float("inf")), "lam must be in"),
        (lambda: L2RegularizationLayer(mlp(), 0.1, penalize="weight"), "'weight' is not known"),
        (lambda: L2RegularizationLayer(nn.ReLU(), 0.1), "nothing to penalize"),
        (lambda: L2RegularizationLayer(nn.BatchNorm1d(3), 0.1), "module.weight', 'module.bias"),
        (lambda: l2_penalty(mlp()), "wrap what is to be penalized"),
        (lambda: L2RegularizationLayer(mlp(), 0.1).fit_and_backward(0, 0, nn.MSELoss), r"write MSELoss\(\)"),
        (lambda: gate(gate(nn.Linear(3, 2))), "gated already"),
        (lambda: gate(mlp()), r"gate\(model\[0\]\)"),
        (lambda: gate(nn.Linear(3, 2), dim=2), r"dim=2 is no axis.*\(2, 3\)"),
        (lambda: gate(nn.Linear(3, 2), depth=1), "depth must be an integer of at least 2"),
        (lambda: layers.gate_strength(nn.Linear(3, 2)), "is not gated"),
    ],
)
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def one_step(layer, optimizer):
    optimizer.zero_grad()
    layer.fit_and_backward(*batch(dtype=torch.float32), CRITERION)
    optimizer.step()


@pytest.mark.filterwarnings("error")
def test_weight_decay_on_top_of_the_layer_warns_where_the_step_is_and_elsewhere_not():
    layer = L2RegularizationLayer(mlp(), 0.1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.05)
    message = r"module\.0\.weight and 2 more: penalized twice.*weight_decay=0\.05 of SGD.*weight_decay=0"
    with pytest.warns(UserWarning, match=message) as record:
        one_step(layer, optimizer)
    assert [w.filename for w in record] == [__file__]
    layer.module[0].weight.register_hook(lambda g: None)  # autograd adds the penalty then
    with pytest.warns(UserWarning, match=r"weight_decay=0\.01 of AdamW"):  # its default
        one_step(layer, torch.optim.AdamW(layer.parameters()))
    biases = [p for p in layer.parameters() if p.ndim == 1]
    weights = [p for p in layer.parameters() if p.ndim == 2]
    groups = [{"params": biases, "weight_decay": 0.3}, {"params": weights, "weight_decay": 0.0}]
    one_step(layer, torch.optim.SGD(groups, lr=0.1))
    layer.lam = 0.0
    one_step(layer, torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.3))


@pytest.mark.filterwarnings("error")
def test_the_warning_goes_with_the_gradient():
    """After its step the layer may be trained by weight decay."""
    layer = L2RegularizationLayer(mlp(), 0.1)
    x, y = batch(dtype=torch.float32)
    one_step(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    optimizer = torch.optim.SGD(layer.param_groups(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()  # what is thrown away does not count
        CRITERION(layer(x), y).backward()
        layer.get_l2_regularizer()  # looking at the penalty is no training
        optimizer.step()
        layer.fit_and_backward(x, y, CRITERION)
    with pytest.warns(UserWarning, match="twice"):
        optimizer.step()
    assert list(_global_optimizer_pre_hooks.values()).count(layers._before_step) == 1
    for parameter in layer.parameters():  # one that a hook uses up
        parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    layer.fit_and_backward(x, y, CRITERION)
    optimizer.step()


@pytest.mark.parametrize(("dim", "depth"), [(0, 4), (1, 2), (None, 3)])
def test_the_effective_weight_is_the_product(dim, depth):
    module = nn.Conv2d(4, 3, 2).double()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    before, weight = module(x), module.weight
    assert gate(module, dim=dim, depth=depth) is module
    assert torch.equal(module(x), before)
    original, factors = module.parametrizations.weight.original, module.parametrizations.weight[0].factors
    assert original is weight  # an optimizer that knows it need not be told
    with torch.no_grad():  # so that no two gates are alike
        for parameter in module.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    W, product = original.detach().numpy(), np.prod([g.detach().numpy() for g in factors], axis=0)
    assert len(factors) == depth - 1
    assert product.shape == (W.shape if dim is None else (W.shape[dim],))
    expected = W * product if dim is None else np.moveaxis(np.moveaxis(W, dim, -1) * product, -1, dim)
    np.testing.assert_allclose(module.weight.detach().numpy(), expected, rtol=1e-14)
    others = tuple(i for i in range(W.ndim) if i != dim)
    strength = abs(expected) if dim is None else np.sqrt((W**2).sum(others)) * abs(product)
    np.testing.assert_allclose(layers.gate_strength(module).numpy(), strength, rtol=1e-13)
    # the penalty falls on the factors and not on the product
    penalty = L2RegularizationLayer(module, 0.2).get_l2_regularizer().item()
    assert penalty == pytest.approx(0.1 * squares(original, *factors))
    decayed, rest = param_groups(module, 0.2)
    assert set(ids(decayed["params"])) == set(ids([original, *factors]))
    assert ids(rest["params"]) == [id(module.bias)]


def test_one_gate_per_input_and_weight_decay_reach_the_group_lasso():
    """Full-batch SGD with weight decay on all factors, nothing else."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 10)) @ (np.eye(10) + 0.3 * generator.normal(size=(10, 10)))
    truth = np.zeros((10, 3))
    truth[:4] = generator.normal(size=(4, 3)) * 1.5
    Y = X @ truth + 0.5 * generator.normal(size=(60, 3))
    group = MultiTaskLasso(alpha=0.8, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y).coef_
    dead = (group == 0).all(axis=0)
    assert 0 < dead.sum() < len(dead)
    module = gate(nn.Linear(10, 3, bias=False).double(), dim=1)
    optimizer = torch.optim.SGD(param_groups(module, 0.8), lr=0.05, momentum=0.9)
    inputs, targets = torch.tensor(X), torch.tensor(Y)
    for _ in range(800):
        optimizer.zero_grad()
        (0.5 * (module(inputs) - targets).square().sum(1).mean()).backward()
        optimizer.step()
    np.testing.assert_allclose(module.weight.detach().numpy(), group, atol=1e-6)
    assert (layers.gate_strength(module).numpy() < 1e-6).tolist() == dead.tolist()
    # Balanced at the minimum: both factors carry the square root.
    gates = module.parametrizations.weight[0].factors[0].detach().numpy()
    np.testing.assert_allclose(gates[~dead] ** 2, np.linalg.norm(group, axis=0)[~dead], atol=1e-6)
