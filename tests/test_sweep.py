"""The sweep against separately trained modules, written here with nn.Module and torch.optim only."""

from __future__ import annotations

import contextlib
import inspect
import signal
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from l2lab import progress
from l2lab.engine import CNN, MLP, SweepResult, minibatches, sweep
from l2lab.progress import interruptible

engine = inspect.getmodule(sweep)
DOUBLE = {"dtype": torch.float64, "device": "cpu", "progress": False}
NETS = {"mlp": MLP((6, 7, 3)), "cnn": CNN(1, (3,), 3, 4)}
LAMS, SEEDS, LRS = (0.0, 0.02, 0.3), (0, 5), (0.05, 0.01)


def make_data(network, loss):
    rng = np.random.default_rng(0)

    def split(n):
        X = rng.standard_normal((n, *network.input_shape))
        if loss == "cross_entropy":
            return X, rng.integers(0, network.n_outputs, n)
        return X, rng.standard_normal((n, network.n_outputs))

    return {"train": split(23), "valid": split(9), "test": split(40)}


def handwritten_module(network):
    """The same architecture, spelled out; initialized by the caller's seed."""
    if isinstance(network, MLP):
        a, b, c = network.sizes
        return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c))
    (c,), size = network.channels, network.image_size
    conv, last = nn.Conv2d(network.in_channels, c, 3, padding=1), c * (size // 2) ** 2
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(last, network.n_outputs))


def reference(network, data, loss, lam, seed, lr, *, optimizer, schedule, steps, batches):
    """Train one model as anybody would."""
    torch.manual_seed(seed)
    module = handwritten_module(network).double()
    weights = [p for p in module.parameters() if p.ndim > 1]
    biases = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": lam}, {"params": biases, "weight_decay": 0.0}]
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    optim = kind(groups, lr=lr, **({"momentum": 0.9} if optimizer == "sgd" else {}))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optim, T_max=steps)
    X, y = (torch.as_tensor(a) for a in data["train"])
    for t in range(steps):
        rows = slice(None) if batches is None else batches[t]
        outputs = module(X[rows])
        if loss == "cross_entropy":
            value = F.cross_entropy(outputs, y[rows])
        else:
            value = 0.5 * ((outputs - y[rows]) ** 2).sum(dim=1).mean()
        optim.zero_grad()
        value.backward()
        optim.step()
        if schedule == "cosine":
            cosine.step()
    return module


@pytest.mark.parametrize(
    ("net", "loss"), [("mlp", "cross_entropy"), ("mlp", "squared"), ("cnn", "cross_entropy")]
)
@pytest.mark.parametrize(("schedule", "batch_size"), [("constant", None), ("cosine", 5)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_model_equals_its_separately_trained_twin(net, loss, optimizer, schedule, batch_size):
    """23 rows in batches of 5: the last batch of an epoch has 3 rows. Corners and inner points."""
    network, steps = NETS[net], 12
    data = make_data(network, loss)
    batches = None if batch_size is None else minibatches(23, batch_size, steps, seed=3)
    common = {"optimizer": optimizer, "schedule": schedule, "steps": steps}
    result = sweep(
        network, data, LAMS, seeds=SEEDS, lrs=LRS, batch_size=batch_size, batch_seed=3, **common, **DOUBLE
    )
    assert result.loss == loss
    for l, s, r in [(0, 0, 0), (2, 0, 0), (0, 1, 1), (1, 0, 1), (2, 1, 0)]:
        module = reference(network, data, loss, LAMS[l], SEEDS[s], LRS[r], batches=batches, **common)
        for ours, theirs in zip(result.params.values(), module.parameters(), strict=True):
            torch.testing.assert_close(ours[l, s, r], theirs.detach(), rtol=0, atol=1e-10)
        for key, (X, y) in data.items():
            outputs, y = module(torch.as_tensor(X)).detach(), torch.as_tensor(y)
            if loss == "cross_entropy":
                expected = F.cross_entropy(outputs, y).item()
                accuracy = (outputs.argmax(1) == y).double().mean().item()
                assert result.metrics[f"{key}_accuracy"][l, s, r] == pytest.approx(accuracy, abs=1e-12)
            else:
                expected = 0.5 * (outputs - y).square().sum(1).mean().item()
            assert result.metrics[f"{key}_loss"][l, s, r] == pytest.approx(expected, abs=1e-10)


def test_deep_networks_of_one_output():
    """Float labels of one output, images as flat rows; the metrics are those of the modules at the end."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 64)), rng.standard_normal(30)
    for network in (MLP((64, 6, 5, 1)), CNN(1, (2, 3), 1, 8)):
        args = {"seeds": SEEDS, "lrs": LRS, "batch_size": 7, **DOUBLE}
        result = sweep(network, {"train": (X, y)}, LAMS, steps=11, **args)
        outputs = result.module(2, 1, 0)(torch.as_tensor(X).reshape(30, *network.input_shape))[:, 0]
        loss = 0.5 * (outputs.detach() - torch.as_tensor(y)).square().mean()
        assert result.metrics["train_loss"][2, 1, 0] == pytest.approx(float(loss), abs=1e-12)


def test_training_in_groups_changes_nothing(monkeypatch):
    """A CPU trains only as many models together as fit into its cache; the axes must stay in order."""
    network = NETS["mlp"]
    data = make_data(network, "cross_entropy")
    args = {"seeds": SEEDS, "lrs": LRS, "steps": 9, "batch_size": 6, **DOUBLE}
    whole = sweep(network, data, LAMS, **args)
    monkeypatch.setattr(engine, "CACHE_BYTES", 20_000)  # 12 models in several groups
    assert 1 < engine._models_at_once(network, 12, torch.zeros(1).double(), 6, {"optimizer": "sgd"}) < 12
    monkeypatch.setattr(engine, "EVALUATION_NUMBERS", 1)  # evaluation in many parts
    parts = sweep(network, data, LAMS, **args)
    for name in whole.params:
        torch.testing.assert_close(whole.params[name], parts.params[name], rtol=0, atol=1e-12)
    for key in whole.metrics:
        np.testing.assert_allclose(whole.metrics[key], parts.metrics[key], rtol=0, atol=1e-12)


def test_minibatches_are_shuffled_epochs():
    batches = minibatches(10, 4, 7, seed=1)
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4, 2, 4]
    for epoch in (batches[:3], batches[3:6]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))
    assert not torch.equal(torch.cat(batches[:3]), torch.cat(batches[3:6]))
    again, other = (torch.cat(minibatches(10, 4, 7, seed=seed)) for seed in (1, 2))
    assert torch.equal(torch.cat(batches), again)
    assert not torch.equal(again, other)


def test_shapes_weights_norms_and_modules():
    network = NETS["mlp"]
    data = make_data(network, "cross_entropy")
    result = sweep(network, data, LAMS, seeds=SEEDS, lrs=LRS, steps=8, **DOUBLE)
    assert result.params["0.weight"].shape == (*result.shape, 7, 6) == (3, 2, 2, 7, 6)
    assert "3 λ × 2 seeds × 2 learning rates, 8 steps, on cpu" in repr(result)
    module = result.module(2, 1, 0)
    first, second = (module[i].weight.detach().numpy().ravel() for i in (0, 2))
    np.testing.assert_array_equal(result.weights()[2, 1, 0], np.concatenate([first, second]))
    np.testing.assert_array_equal(result.weights(-1)[2, 1, 0], second)
    both = np.sqrt((first**2).sum() + (second**2).sum())
    np.testing.assert_allclose(result.norms()[2, 1, 0], both, rtol=1e-12)
    nn.init.zeros_(module[0].weight)
    assert np.abs(result.weights(0)[2, 1, 0]).max() > 0  # a copy


def fake_result(**metrics):
    """Only what `best` looks at: 3 λ, learning rates 0.1 and 0.2."""
    metrics = {key: np.array(value, dtype=float) for key, value in metrics.items()}
    axes = np.array([0.0, 0.1, 1.0]), np.arange(2), np.array([0.1, 0.2])
    rest = {"params": {}, "loss": "squared", "steps": 1, "interrupted": False, "seconds": 0.0}
    return SweepResult(MLP((2, 2)), *axes, metrics, device=torch.device("cpu"), **rest)


def test_best():
    nan = np.nan
    loss = [[[3, 4], [3, 4]], [[2, 1], [2, 1.5]], [[1, 0.5], [1, nan]]]  # (L, S, R)
    result = fake_result(valid_loss=loss, valid_accuracy=[[[0.5, 0.9], [0.5, 0.9]]] * 3)
    assert result.best() == (2, 0, 1.0, 0.1, 1.0)  # the smallest loss of all diverged for one seed
    # larger is better; a tie goes to the larger λ
    assert result.best("valid_accuracy")[:4] == (2, 1, 1.0, 0.2)
    with pytest.raises(ValueError, match="was not measured"):
        result.best("test_loss")
    with pytest.raises(ValueError, match="every setting diverged"):
        fake_result(valid_loss=np.full((3, 2, 2), nan)).best()


def test_best_by_the_rule_of_one_standard_error():
    """By hand: seeds (0.9, 1.1) have mean 1, sample standard deviation 0.1·√2 and standard error 0.1."""

    def loss(third, other_lr=5.0):
        own = [[2.0, 2.0], [0.9, 1.1], third]  # (L, S): the best is λ = 0.1
        return np.stack([own, np.full((3, 2), other_lr)], axis=2)

    for third, expected in [
        ([1.0999, 1.0999], 2),  # within one standard error
        ([1.1001, 1.1001], 1),  # just beyond
        ([0.0, 2.19], 2),  # the spread of the best counts, not that of the candidate
        ([np.nan, 1.0], 1),  # diverged
    ]:
        best = fake_result(valid_loss=loss(third)).best(one_standard_error=True)
        assert (best.l, best.r) == (expected, 0)
        assert fake_result(valid_loss=loss(third)).best().l == 1
    # only the learning rate of the best setting counts, although λ = 1 is close at the other one, too
    assert fake_result(valid_loss=loss([3.0, 3.0], other_lr=1.05)).best(one_standard_error=True)[:2] == (1, 0)
    # accuracies are maximized: 0.90 ± 0.01
    accuracy = np.array([[0.89, 0.91], [0.7, 0.8], [0.891, 0.891]])[:, :, None].repeat(2, axis=2)
    best = fake_result(valid_accuracy=accuracy).best("valid_accuracy", one_standard_error=True)
    assert (best.lam, best.value) == (1.0, pytest.approx(0.891))
    with pytest.raises(ValueError, match="at least 2 seeds"):
        fake_result(valid_loss=np.ones((3, 1, 2))).best(one_standard_error=True)


def test_a_diverging_model_is_named_and_leaves_the_others_alone():
    network = MLP((6, 7, 1))
    data = make_data(network, "squared")
    args = {"steps": 200, "batch_size": 5, **DOUBLE}
    with pytest.warns(
        RuntimeWarning, match=r"2 of 4 models diverged.*λ in \[0.0, 0.1\] and learning rates in \[1000.0\]"
    ) as caught:
        result = sweep(network, data, [0, 0.1], lrs=(0.01, 1000.0), **args)
    assert [w.filename for w in caught] == [__file__]
    for values in result.metrics.values():
        assert np.isnan(values[:, :, 1]).all()
        assert np.isfinite(values[:, :, 0]).all()
    alone = sweep(network, data, [0, 0.1], lrs=0.01, **args)
    np.testing.assert_allclose(result.weights()[:, :, :1], alone.weights(), rtol=0, atol=1e-10)


def test_infinite_weights_behind_closed_relus_count_as_diverged():
    """relu(−∞) = 0: the loss alone looks healthy."""
    network = NETS["mlp"]
    X, y = make_data(network, "cross_entropy")["train"]
    data, _ = engine.check_data({"train": (np.abs(X), y)}, network, torch.float64, torch.device("cpu"))
    params = network.init((0, 0), torch.float64)
    params["0.weight"][1] = -torch.inf
    loss = engine._measure(network, data, params)["train_loss"]
    assert np.isnan(loss).tolist() == [False, True]
    data = {"train": (X, y * 1.0), "valid": (1e200 * X, y * 1.0)}  # where squares are infinite
    losses = sweep(MLP((X.shape[1], 1)), data, 0.1, steps=2, **DOUBLE).metrics
    assert np.isnan(losses["valid_loss"]) > np.isnan(losses["train_loss"])


@pytest.fixture
def own_handler():
    """Python's own handler: where the tests run in the background, Ctrl-C is ignored from the start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_second_ctrl_c_interrupts_at_once(own_handler):
    with interruptible() as interrupted:
        assert not interrupted()
        assert signal.getsignal(signal.SIGINT) is not own_handler
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is own_handler
    answers = []

    def ask():
        with interruptible() as interrupted:
            answers.append(interrupted())

    thread = threading.Thread(target=ask)  # which gets no signals
    thread.start()
    thread.join()
    assert answers == [False]


def test_ctrl_c_gives_back_what_there_is(monkeypatch):
    asked = iter([False, False, True])
    monkeypatch.setattr(engine, "interruptible", lambda: contextlib.nullcontext(lambda: next(asked)))
    result = sweep(MLP((6, 3)), make_data(MLP((6, 3)), "squared"), 0.1, steps=9, **DOUBLE)
    assert (result.steps < 9, result.interrupted) == (True, True)


def test_progress_is_silent_unless_somebody_watches(capfd, monkeypatch):
    network = MLP((6, 3))
    data = make_data(network, "cross_entropy")
    sweep(network, data, 0.1, steps=3, device="cpu", progress=True)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(progress, "someone_watches", lambda: True)
    monkeypatch.setattr(engine, "SEGMENT_SECONDS", 0.0)  # an update after every step
    monkeypatch.setattr(progress, "BAR_AFTER_SECONDS", 0.0)
    sweep(network, data, 0.1, steps=500, device="cpu", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "λ sweep" in err
    assert "step/s" in err
    assert not err.endswith("\n")


def test_all_kinds_of_arrays_are_accepted():
    network = MLP((6, 3))
    X, y = make_data(network, "cross_entropy")["train"]
    X.setflags(write=False)
    options = {"steps": 3, "device": "cpu", "progress": False}
    expected = sweep(network, {"train": (X, y)}, [0.1], **options).weights()
    tensors = {"train": (torch.tensor(X, requires_grad=True), torch.tensor(y, dtype=torch.int32))}
    for data, lams in [(tensors, torch.tensor([0.1], dtype=torch.float64)), ({"train": [X, y]}, 0.1)]:
        np.testing.assert_array_equal(expected, sweep(network, data, lams, **options).weights())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lams": [0.1, -0.1]}, "lams must not be negative, got -0.1"),
        ({"lams": []}, "lams must be .* non-empty"),
        ({"lams": "many"}, "lams must be a number"),
        ({"seeds": 0.5}, "seeds must be integers"),
        ({"lrs": [0.1, 0.0]}, "lrs must be positive"),
        ({"optimizer": "adamax"}, "optimizer='adamax' is not known; use one of 'sgd', 'adam', 'adamw'"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"steps": 2.5}, "steps must be an integer"),
        ({"batch_size": 13}, "batch_size=13 is larger than the 12 training rows"),
        ({"network": MLP((5, 3))}, r"X has shape \(12, 4\) and y \(12,\), but MLP.* needs \(n, 5\)"),
        ({"network": MLP((4, 2))}, "integers of shape .* from 0 to 1"),
        ({"X": np.full((12, 4), np.nan)}, "'train' holds NaN"),
        ({"y": np.arange(12) - 1}, "from 0 to 2"),
        ({"y": np.ones((12, 2))}, "y has 2 targets per row, but .* has 3 outputs"),
        ({"data": {"test": (np.ones((2, 4)), np.ones(2, int))}}, "with the key 'train'"),
    ],
)
def test_bad_input_gets_a_clear_error(changes, message):
    args = {"network": MLP((4, 3)), "X": np.eye(12, 4), "y": np.arange(12) % 3, "lams": 0.1, "steps": 2}
    args |= {"device": "cpu", "progress": False} | changes
    X, y = args.pop("X"), args.pop("y")
    with pytest.raises(ValueError, match=message):
        sweep(**({"data": {"train": (X, y)}} | args))
