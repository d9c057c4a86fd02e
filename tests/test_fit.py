"""The training loop against a loop spelled out here, and against being killed, interrupted and damaged."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l2lab.engine import FitResult, fit
from l2lab.layers import L2RegularizationLayer, param_groups

training = importlib.import_module("l2lab.engine.fit")
LAM, LR = 0.05, 0.1


def make_data(n=37, p=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, (X @ rng.standard_normal((p, classes)) + rng.standard_normal((n, classes))).argmax(1)


TRAIN, VALID = make_data(), make_data(23, seed=1)


def make_model(dropout=0.0, double=False, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)]
    model = nn.Sequential(*layers)
    return model.double() if double else model


KINDS = {
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9),
    "plain": lambda groups, lr: torch.optim.SGD(groups, lr=lr),
    "adam": lambda groups, lr: torch.optim.Adam(groups, lr=lr),
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr),
    "lbfgs": lambda groups, lr: torch.optim.LBFGS(groups, lr=lr),
}


def call(
    model=None, *, train=TRAIN, valid=VALID, optimizer="sgd", scheduler=None, groups=None, lr=LR, **changes
):
    """Fit with all objects made anew, as a program that is started again does."""
    model = make_model() if model is None else model
    optim = KINDS[optimizer](param_groups(model, LAM) if groups is None else groups(model), lr)
    options = {"criterion": nn.CrossEntropyLoss(), "epochs": 4, "batch_size": 8, "device": "cpu"}
    options |= {"optimizer": optim, "scheduler": scheduler(optim) if scheduler else None, "progress": False}
    return fit(model, train, valid, **(options | changes))


def assert_equal(a: FitResult, b: FitResult):
    """Bit for bit, but for the time."""
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), name
    assert a.history.keys() == b.history.keys()
    for name in a.history.keys() - {"seconds"}:
        np.testing.assert_array_equal(a.history[name], b.history[name], err_msg=name)
    assert (a.best_epoch, a.stopped) == (b.best_epoch, b.stopped)


@pytest.mark.parametrize("how", ["sgd", "adam", "adamw", "layer"])
def test_equals_a_loop_spelled_out(how):
    """Same batches, losses, penalties and weights in float64; the last batch of an epoch is smaller."""
    epochs, cosine = 3, functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=3)
    model, twin, kind, groups = make_model(double=True), make_model(double=True), how, None
    if how == "layer":
        model, kind, groups = L2RegularizationLayer(model, LAM), "sgd", nn.Module.parameters
    result = call(model, optimizer=kind, groups=groups, scheduler=cosine, epochs=epochs, seed=5, valid=None)

    weights = [p for p in twin.parameters() if p.ndim > 1]
    others = [p for p in twin.parameters() if p.ndim == 1]
    twin_groups = [{"params": weights, "weight_decay": LAM}, {"params": others, "weight_decay": 0.0}]
    optim = KINDS[kind](twin_groups, LR)
    X, y = torch.tensor(TRAIN[0]), torch.tensor(TRAIN[1])
    expected = {"train_loss": [], "norm": [], "penalty": [], "lr": []}
    for epoch in range(epochs):
        key = np.random.SeedSequence([5, epoch]).generate_state(1, np.uint64)[0]
        order = torch.randperm(37, generator=torch.Generator().manual_seed(int(key)))
        assert sorted(order.tolist()) == list(range(37))
        lr = LR * (1 + np.cos(np.pi * epoch / epochs)) / 2
        losses = []
        for rows in (order[k : k + 8] for k in range(0, 37, 8)):
            for group in optim.param_groups:
                group["lr"] = lr
            optim.zero_grad()
            loss = nn.functional.cross_entropy(twin(X[rows]), y[rows], reduction="sum")
            losses.append(loss.item())
            (loss / len(rows)).backward()
            optim.step()
        square = sum(w.detach().square().sum().item() for w in weights)
        expected["train_loss"].append(sum(losses) / 37)
        expected["norm"].append(square**0.5)
        expected["penalty"].append(LAM / 2 * square if how != "adamw" else np.nan)
        expected["lr"].append(lr)
    for name, values in expected.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-6 if name == "norm" else 1e-5)
    for ours, theirs in zip(result.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert (result.best_epoch, result.stopped) == (2, "epochs")


def test_validation_is_measured_in_evaluation_mode():
    """Batch statistics and dropout are off; the mean is over rows, not over batches."""
    result = call(make_model(dropout=0.5, double=True), epochs=3)
    names = ("train_loss", "penalty", "norm", "valid_loss", "valid_accuracy", "lr", "seconds")
    assert set(result.history) == set(names)
    assert not result.model.training
    outputs, y, best = result.model(torch.tensor(VALID[0])), torch.tensor(VALID[1]), result.best_epoch
    loss = nn.functional.cross_entropy(outputs, y).item()
    assert result.history["valid_loss"][best] == result.history["valid_loss"].min()
    assert result.history["valid_loss"][best] == pytest.approx(loss, rel=1e-9)
    assert result.history["valid_accuracy"][best] == (outputs.argmax(1) == y).double().mean().item()
    assert all(values.shape == (3,) for values in result.history.values())
    assert "3 epochs" in repr(result)


def test_same_seed_same_bits_and_the_caller_s_generators_are_left_alone():
    def state():
        return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002

    def noisy(outputs, y):
        """Draw a number in validation, as a metric that samples does."""
        if not outputs.requires_grad:
            torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
        return nn.functional.cross_entropy(outputs, y)

    model = make_model(dropout=0.5)
    before = state()
    first = call(model)
    assert state() == before
    random.random(), np.random.rand(), torch.rand(3)  # noqa: NPY002
    assert_equal(first, call(make_model(dropout=0.5), criterion=noisy))
    other = call(make_model(dropout=0.5), seed=1)
    assert not torch.equal(first.model[0].weight, other.model[0].weight)


@pytest.mark.filterwarnings("error")  # torch tells when the schedule goes first
def test_a_schedule_that_counts_minibatches_is_stepped_by_them(tmp_path):
    """Five minibatches an epoch; resumed, too."""
    cycle = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.3, total_steps=20)
    whole = call(scheduler=cycle)
    twin = torch.optim.SGD(make_model().parameters(), lr=LR, momentum=0.9)
    schedule, expected = cycle(twin), []
    for _ in range(20):
        expected.append(twin.param_groups[0]["lr"])
        twin.step()
        schedule.step()
    assert whole.history["lr"].tolist() == expected[::5]
    call(scheduler=cycle, epochs=2, checkpoint=tmp_path / "run.pt")
    assert_equal(call(scheduler=cycle, checkpoint=tmp_path / "run.pt"), whole)


def run_script(losses, change=lambda model, loss: loss, **options):
    """Train one weight that counts epochs; validation losses are given, `change` gets those of training."""
    model, script = nn.Linear(1, 1, bias=False), iter(losses)
    nn.init.zeros_(model.weight)

    def criterion(outputs, y):
        if model.training:
            return change(model, -outputs.mean())  # with lr = 1 and inputs 1, the weight grows by 1 an epoch
        return torch.tensor(next(script))

    data = (np.ones((4, 1)), np.ones((4, 1)))
    rest = {"groups": lambda m: m.parameters(), "lr": 1.0, "epochs": len(losses)} | options
    return call(model, train=data, valid=data, criterion=criterion, optimizer="plain", **rest)


def test_patience_counts_epochs_since_the_best_and_restores_it():
    for losses, patience, stopped, n_epochs, best in (
        ([5.0, 4.0, 4.5, 3.0, 3.5, 3.0, 9.0, 1.0], 3, "patience", 7, 3),  # equal is no improvement
        ([5.0, 4.0, 4.5, 3.0, 3.5], 3, "epochs", 5, 3),
        ([5.0, 6.0, 7.0], None, "epochs", 3, 0),
    ):
        result = run_script(losses, patience=patience)
        assert (result.stopped, len(result.history["valid_loss"])) == (stopped, n_epochs)
        assert (result.best_epoch, result.model.weight.item()) == (best, best + 1)


@pytest.mark.parametrize("where", ["training", "validation", "weights"])
def test_divergence_stops_and_keeps_the_best(where):
    """In the third epoch the loss, the validation loss or the weights become infinite or NaN."""
    calls = []

    def bad(model, loss):
        calls.append(1)
        if len(calls) == 3 and where == "weights":
            model.weight.register_hook(lambda g: g * torch.inf)
        return loss * (torch.inf if len(calls) == 3 and where == "training" else 1)

    losses = [3.0, 2.0, np.nan if where == "validation" else 1.0, 0.5]
    with pytest.warns(RuntimeWarning, match="diverged in epoch 2.*weights of epoch 1.*smaller"):
        result = run_script(losses, bad)
    assert (result.stopped, result.best_epoch, result.model.weight.item()) == ("diverged", 1, 2)
    assert len(result.history["valid_loss"]) == 2


def test_ctrl_c_ends_after_the_batch_and_keeps_the_best():
    third = lambda model: model.weight.item() == 2 and signal.raise_signal(signal.SIGINT)  # noqa: E731
    result = run_script([3.0, 2.0, 1.0], lambda model, loss: third(model) or loss)
    assert (result.stopped, result.best_epoch, result.model.weight.item()) == ("interrupted", 1, 2)


class Killing(nn.CrossEntropyLoss):
    """Kills the training in a minibatch; before that it keeps what is in the folder of the checkpoint."""

    def __init__(self, at=None, path=None):
        super().__init__()
        self.batches, self.at, self.path = 0, at, path

    def forward(self, outputs, y):
        self.batches += outputs.requires_grad  # training, not validation
        if self.batches == self.at:
            (self.left,) = (path.read_bytes() for path in self.path.parent.iterdir())
            raise SystemExit
        return super().forward(outputs, y)


def long_run(criterion, checkpoint=None):
    """Shuffling, dropout, batch statistics, Adam's moments and a schedule: all of it must survive."""
    data = TensorDataset(torch.tensor(TRAIN[0], dtype=torch.float32), torch.tensor(TRAIN[1]))
    options = {"optimizer": "adam", "epochs": 6, "lr": 0.03, "patience": 5, "checkpoint": checkpoint}
    options["scheduler"] = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=6)
    loader = DataLoader(data, batch_size=8, shuffle=True)
    return call(make_model(dropout=0.4), train=loader, criterion=criterion, **options)


def test_killed_in_the_middle_of_an_epoch_and_resumed_gives_the_same_bits(tmp_path):
    path = tmp_path / "run.pt"
    criterion = Killing(13, path)
    with pytest.raises(SystemExit):
        long_run(criterion, path)
    path.write_bytes(criterion.left)  # a killed process writes nothing more
    assert len(torch.load(path, weights_only=True)["history"]["train_loss"]) == 2
    resumed, whole = long_run(Killing(), path), long_run(Killing())
    assert len(resumed.history["train_loss"]) == 6
    assert_equal(resumed, whole)


def test_a_finished_run_is_read_and_may_be_made_longer(tmp_path):
    path = tmp_path / "new" / "folder" / "run.pt"
    first, again = (call(checkpoint=path, epochs=2) for _ in range(2))
    assert_equal(first, again)
    assert again.history["seconds"].tolist() == first.history["seconds"].tolist()  # read, not done again
    assert_equal(call(checkpoint=path, epochs=5), call(epochs=5))
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]


def test_numbers_of_numpy_and_a_compiled_model_fit_into_a_checkpoint(tmp_path):
    """A checkpoint holds plain numbers, and the names of the parameters without torch.compile's prefix."""
    path, lr = tmp_path / "run.pt", np.float64(0.1)
    cosine = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=np.int64(4))
    compiled = torch.compile(make_model(), backend="eager")
    call(compiled, lr=lr, scheduler=cosine, checkpoint=path, epochs=2)
    resumed, whole = call(lr=lr, scheduler=cosine, checkpoint=path), call(scheduler=cosine)
    assert_equal(resumed, whole)


MISMATCHES = {
    "batch_size": {"batch_size": 9},
    "patience": {"patience": 7},
    "seed": {"seed": 1},
    "optimizer": {"lr": 0.2},
    "scheduler": {"scheduler": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1)},
    "criterion": {"criterion": nn.functional.cross_entropy},
    "train": {"train": (TRAIN[0] + 1e-3, TRAIN[1])},
    "valid": {"valid": None},
    "amp": {"amp": True},
    "model (initial weights)": {"model": make_model(seed=1)},
    "model (structure)": {"model": make_model(dropout=0.1)},
}


def test_a_checkpoint_of_other_arguments_or_an_unsound_one_is_refused_and_kept(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "run.pt"
    call(checkpoint=path, epochs=1)
    content = path.read_bytes()
    for name, changes in MISMATCHES.items():
        with pytest.raises(ValueError, match=r"run\.pt was written by a call with other arguments") as error:
            call(checkpoint=path, epochs=2, **changes)
        assert f"other arguments: {name}. To go on" in str(error.value)
        assert path.read_bytes() == content
    files = [path.read_bytes()[:-100], b"", b"nonsense"]
    for state in ({"weights": torch.zeros(2)}, {"fingerprint": Evil()}):
        torch.save(state, path)
        files.append(path.read_bytes())
    for content in files:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.pt is damaged or no checkpoint of fit"):
            call(checkpoint=path, epochs=2)
        assert path.read_bytes() == content
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("amp", "kind", "has_bf16", "expected"),
    [
        ("auto", "cpu", True, None),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, None),
        (False, "cuda", True, None),
        (True, "cpu", False, torch.bfloat16),
    ],
)
def test_choice_of_the_precision(amp, kind, has_bf16, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert training._precision(amp, torch.device(kind), {torch.float32}) == expected
    # autocast leaves float64 alone
    assert training._precision("auto", torch.device(kind), {torch.float64}) is None


class Named(nn.Sequential):
    def forward(self, *, rows):
        return super().forward(rows)


def test_arrays_and_batches_of_them_and_inputs_by_name_are_the_same():
    """In mixed precision, too."""
    X, y = (torch.tensor(part) for part in TRAIN)
    batches = [(X[k : k + 8].float(), y[k : k + 8]) for k in range(0, 37, 8)]
    plain = call(train=batches, valid=TRAIN, epochs=2, amp=True)
    assert_equal(call(train=batches, valid=batches, epochs=2, amp=True), plain)
    by_name = [({"rows": x}, labels) for x, labels in batches]
    assert_equal(call(Named(*make_model()), train=by_name, valid=by_name, epochs=2, amp=True), plain)


@pytest.mark.filterwarnings("error")
def test_penalty_of_both_kinds_and_warning_of_the_double_one():
    model = nn.Sequential(L2RegularizationLayer(nn.Linear(6, 8), 0.2), nn.Linear(8, 3))
    groups = lambda m: [  # noqa: E731
        {"params": m[0].parameters(), "weight_decay": 0.0},
        {"params": m[1].parameters(), "weight_decay": 0.4},
    ]
    result = call(model, groups=groups, epochs=1)
    first, second = model[0].module.weight, list(model[1].parameters())
    expected = 0.1 * first.square().sum() + 0.2 * sum(p.square().sum() for p in second)
    assert result.history["penalty"][0] == pytest.approx(expected.item(), rel=1e-5)
    with pytest.warns(UserWarning, match="1 parameters are penalized twice") as caught:
        call(model, groups=lambda m: param_groups(m[0], 0.1), epochs=1)
    assert caught[0].filename == __file__
    # ‖w‖ counts weights whatever their λ, and no biases
    free = L2RegularizationLayer(nn.Linear(6, 3), 0.0)
    result = call(free, groups=lambda m: m.parameters(), epochs=1)
    assert result.history["norm"][0] == pytest.approx(free.module.weight.norm().item(), rel=1e-6)
    assert result.history["penalty"][0] == 0


def decaying_optimizers():
    """All of torch.optim that have a weight decay, but for those whose decay is the same both ways."""
    for name, kind in vars(torch.optim).items():
        known = inspect.signature(kind).parameters if isinstance(kind, type) else ()
        if "weight_decay" in known and name not in ("SGD", "ASGD"):
            yield name, {}
        if "decoupled_weight_decay" in known:
            yield name, {"decoupled_weight_decay": True}


@pytest.mark.parametrize(("name", "options"), list(decaying_optimizers()))
def test_the_penalty_is_nan_where_the_decay_is_apart_from_the_gradient(name, options):
    """Asked of the steps: without a gradient of the loss, a decay apart from it just shrinks the weights."""
    model = nn.Linear(6, 3, bias=False)
    before = model.weight.detach().clone()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.01, weight_decay=0.1, **options)
    rest = {"batch_size": 8, "epochs": 2, "device": "cpu", "progress": False}  # ten steps
    result = fit(model, TRAIN, criterion=lambda out, y: 0 * out.sum(), optimizer=optimizer, **rest)
    only_shrunk = torch.allclose(model.weight, (1 - 0.01 * 0.1) ** 10 * before, rtol=1e-5, atol=0)
    assert np.isnan(result.history["penalty"][0]) == only_shrunk


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"patience": 2, "valid": None}, "patience needs a validation loss"),
        ({"device": "gpu"}, "is not a device"),
        ({"model": make_model(double=True), "amp": True}, r"float64; convert the model with \.float\(\)"),
        ({"optimizer": "lbfgs", "groups": lambda m: list(m.parameters())}, "LBFGS needs a closure"),
        ({"groups": lambda m: make_model().parameters()}, "parameters that are not those of model"),
        ({"train": []}, "train gave no batch"),
        ({"valid": (VALID[0][:5], VALID[1])}, r"valid: X has shape \(5, 6\) and y \(23,\)"),
        ({"train": (np.full((9, 6), np.nan), np.zeros(9, int))}, "train holds NaN"),
    ],
)
def test_bad_input_gets_a_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**({"epochs": 1} | changes))
