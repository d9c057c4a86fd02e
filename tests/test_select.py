"""The selector: its training step, its choices, and scikit-learn's contract."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from l2lab import select, survival
from l2lab.engine import gated, minibatches
from l2lab.engine.gated import GatedNetworks, GatedRecipe, Rows
from l2lab.select import L2GateSelector

TINY = {"steps": 20, "n_lams": 3, "n_folds": 2, "hidden": 4, "device": "cpu"}
SMALL = {"steps": 500, "n_lams": 8, "n_folds": 3, "hidden": 24, "device": "cpu"}


def xor(n=400, p=20, seed=0, flips=0.05):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, ((X[:, 1] * X[:, 3] > 0) ^ (rng.random(n) < flips)).astype(int)


@parametrize_with_checks([L2GateSelector(**TINY | {"steps": 5, "n_lams": 2, "hidden": 2})])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def problem(classes, *, n=30, p=6, seed=0):
    """Float64 data with unequal weights."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=generator, dtype=torch.float64)
    if classes:
        targets = F.one_hot((X[:, 0] > 0).long() + (X[:, 1] > 0).long(), 3).T.double()
    else:
        targets = (X[:, :1] * X[:, 1:2]).T
    weight = torch.rand(n, generator=generator, dtype=torch.float64) + 0.5
    return Rows(X, targets.contiguous(), weight / weight.mean(), classes)


@pytest.mark.parametrize(("classes", "depth", "p"), [(1, 2, 6), (0, 3, 6), (1, 4, 150), (0, 2, 2000)])
def test_training_is_that_of_torch_optim_with_weight_decay(classes, depth, p):
    # would catch: a wrong power of the gate, λ on the wrong group or twice, momentum, a bias that decays
    data = problem(bool(classes), p=p)
    recipe = GatedRecipe((5,), depth, steps=40, batch_size=8, lr=0.05, gate_lr=2.0, seed=4)
    lams, seeds = [0.0, 0.05, 0.3], [0, 1, 1]
    weights = torch.stack([data.weight, data.weight, data.weight.flip(0)])
    gates = GatedNetworks(data, recipe, torch.tensor(lams, dtype=torch.float64), seeds, weights)
    start = {name: value.clone() for name, value in gates.params.items()}

    def own(k, *names):
        return [start[name][k].clone().requires_grad_() for name in names]

    level = gates.strength().mean().item()
    gates.run(watch=True)
    labels, shortened = data.targets.argmax(0), 0
    for k, (lam, weight) in enumerate(zip(lams, weights, strict=True)):  # what a beginner would write
        (W,), factors, (V,) = own(k, "0.weight"), own(k, *["gate"] * (depth - 1)), own(k, "2.weight")
        b, c = own(k, "0.bias", "2.bias")
        groups = [{"params": part} for part in ([W], factors, [V], [b, c])]
        optimizer, seen = torch.optim.SGD(groups, lr=1.0, momentum=gated.MOMENTUM), []
        for t, rows in enumerate(minibatches(data.n, 8, recipe.steps, 4)):
            lr = 0.05 * (1 + math.cos(math.pi * t / 40)) / 2 * min(1, (t + 1) / gated.LR_RAMP)
            now = lam * min(1, t / 40 / gated.RAMP)
            gate = torch.stack(factors).prod(0)
            passed = gate.square().sum().item()
            first = lr * min(1, gated.FEW / passed)
            shortened += first < lr
            settings = (first, now), (first * 2, now), (lr, gated.OUTER_DECAY), (lr, 0)
            for group, (group_lr, decay) in zip(optimizer.param_groups, settings, strict=True):
                group["lr"], group["weight_decay"] = group_lr, decay
            out = F.linear(F.linear(data.X[rows] * gate, W, b).relu(), V, c)
            if classes:
                each = F.cross_entropy(out, labels[rows], reduction="none")
            else:
                each = 0.5 * (out[:, 0] - data.targets[0, rows]) ** 2
            optimizer.zero_grad()
            (each * weight[rows]).mean().backward()
            optimizer.step()
            strength = torch.stack(factors).prod(0).abs() * W.norm(dim=0)
            seen.append(strength / strength.max().clamp_min(level))
        found = [gates.product()[k], gates.params["0.weight"][k], gates.early[k]]
        expected = [torch.stack(factors).prod(0), W, torch.stack(seen[:10]).mean(0)]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert (shortened > 0) == (p > 300)  # with few inputs it is plain SGD


def test_divergence_is_an_error():
    X, y = xor(60, 5)
    with (
        pytest.warns(ConvergenceWarning, match="repeated at 500000"),
        pytest.raises(ValueError, match="training diverged; use a smaller lr"),
    ):
        L2GateSelector(1, random_state=0, **(TINY | {"lr": 1e6, "steps": 300})).fit(X, y)


def test_forgetting_dead_columns_changes_nothing_that_is_alive():
    # would catch: columns that are mixed up, velocities that belong to others
    X, y = xor(300, 30)
    targets = F.one_hot(torch.tensor(y)).T.double().contiguous()
    data = Rows(torch.tensor(X), targets, torch.ones(300).double(), True)
    recipe = GatedRecipe((16,), 3, steps=400, batch_size=100, lr=0.1, gate_lr=3.0, seed=0)
    args = data, recipe, np.array([0.03, 0.1]), select._Folds([0, 1], torch.zeros(2, 300).double(), 300)
    (whole, early, _), (thinned, same, _) = (select._path(*args, lost=lost) for lost in (0.0, 1e-5))
    assert (whole[1] < 1e-4).any()  # something was there to be forgotten
    assert (thinned[1] == 0).any()  # and was
    np.testing.assert_array_equal(thinned > 0.01, whole > 0.01)
    np.testing.assert_allclose(thinned, whole, atol=1e-3)
    np.testing.assert_allclose(same, early, atol=1e-6)


def test_scores_by_hand():
    # Three λ, two folds, thirty features. At the first λ more than a fifth of them live: it must not count.
    strength = np.zeros((3, 2, 30))
    strength[0, :, 10:] = 0.5
    strength[1, 0, :3] = 1.0, 0.6, 0.2
    strength[1, 1, :2] = 1.0, 0.5
    strength[2, :, 0] = 0.4
    early = np.full((3, 2, 30), 0.1)
    early[:, :, 20] = 0.3
    early[0, 0, 21] = 0.6  # 0.2667 on average
    scores = survival.survival_scores(strength, early, 0.01)
    assert scores.shape == (2, 30)
    step = 1 / 4  # two sparse λ, two folds
    np.testing.assert_allclose(scores[0, 0], 1 + step * (0.9 * 0.7 + 0.099 / 3))
    np.testing.assert_allclose(scores[1, 1], 0.5 + step * (0.9 * 0.25 + 0.099 / 3))
    np.testing.assert_allclose(scores[0, 2], 0.5 + step * (0.9 * 0.1 + 0.099 / 3))
    np.testing.assert_allclose(scores[0, 20:23], step * 0.099 * np.array([1, 8 / 9, 1 / 3]))
    order = np.argsort(-scores.mean(0), kind="stable")
    np.testing.assert_array_equal(order[:5], [0, 1, 2, 20, 21])


def test_a_model_is_better_than_nothing_by_two_standard_errors():
    share, null = np.full(100, 0.01), np.ones(100)
    noise = np.tile([-1.0, 1.0], 50)  # its mean has the standard error 0.1
    for gain, found in ((0.19, False), (0.21, True)):
        losses = np.stack([null - gain + 0.05 + noise, null - gain + noise, null + noise])
        first, better, mean = survival.smallest_good(losses, null, share, 100)
        assert (first, better) == (0, found)
        np.testing.assert_allclose(mean, [1.05 - gain, 1 - gain, 1])
    losses[0] += 0.06  # now more than one standard error above the best
    assert survival.smallest_good(losses, null, share, 100)[:2] == (1, True)
    assert survival.smallest_good(np.full((2, 100), np.nan), null, share, 100)[:2] == (0, False)


def test_the_losses_of_a_path_are_those_of_rows_not_seen():
    data = problem(True, n=24)
    held_out = torch.as_tensor(np.arange(24) % 3 == np.arange(3)[:, None]).double()
    recipe, lams = GatedRecipe((5,), 3, 30, 8, 0.05, 1.0, 0), np.array([1e-3, 0.05])
    path = select._path(data, recipe, lams, select._Folds([4, 5, 6], held_out, 24), 0.0)
    for fold, seed in enumerate([4, 5, 6]):
        weights = select._fold_weights(data, held_out[fold : fold + 1])
        for k, lam in enumerate(lams):
            gates = GatedNetworks(data, recipe, torch.tensor([lam]).double(), [seed], weights)
            gates.run()
            rows = held_out[fold].bool()
            alone = gates.losses(data.X, data.targets)[0, rows]
            np.testing.assert_allclose(path.losses[k, rows], alone, rtol=1e-6)


def test_a_network_without_some_features_is_one_that_never_had_them():
    data = problem(False, n=24)
    without = torch.tensor([[False, True, False, True, False, False]])
    recipe = GatedRecipe((5,), 3, 40, 8, 0.05, 1.0, 0)
    gates = GatedNetworks(data, recipe, torch.tensor([1e-3]), [0], torch.ones(1, 24), without=without)
    gates.run()
    assert (gates.relative()[without] == 0).all()
    assert (gates.relative()[~without] > 0).all()
    shuffled = replace(data, X=torch.where(without, data.X.flip(0), data.X))
    torch.testing.assert_close(gates.outputs(shuffled.X), gates.outputs(data.X), rtol=0, atol=0)


def test_a_path_that_predicts_nothing_is_repeated_with_more_steps():
    """The sign of a product of three: in half of the steps no sparse network learns it."""
    X = np.random.default_rng(1).standard_normal((1500, 30))
    y = X[:, :3].prod(1) > 0
    selector = L2GateSelector(3, device="cpu", random_state=1).fit(X, y)
    np.testing.assert_array_equal(selector.get_support(indices=True), [0, 1, 2])


def test_later_rounds_find_what_the_first_leaves_out():
    """Twelve nearly equal columns: the first round needs a few of them, and twelve are wanted."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 40))
    X[:, :12] = X[:, :1] + 0.5 * X[:, :12]
    y = X[:, :3].mean(1) + rng.standard_normal(300)
    one, five = (L2GateSelector(12, rounds=n, random_state=0, **SMALL).fit(X, y) for n in (1, 5))
    assert five.support_[:12].sum() > one.support_[:12].sum()
    assert five.scores_.max() < 1.1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", [1, 3])
def test_rounds_end_where_nothing_is_left(seed):
    """A fold that has settled all six columns would go on without inputs, others with a noise column."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 6))
    y = X[:, 0] + 0.5 * X[:, -1] + 0.5 * rng.standard_normal(120)
    settings = {"device": "cpu", "steps": 200, "n_lams": 8, "hidden": 8}
    assert L2GateSelector(6, random_state=seed, **settings).fit(X, y).support_.all()


def test_an_even_effect_is_found_and_no_noise_with_it():
    """x² has no linear effect: folds that miss it made the number of features that of all columns."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((600, 20))
    y = 3 * X[:, 0] + X[:, 1] ** 2 + 0.5 * rng.standard_normal(600)
    selector = L2GateSelector(random_state=1, device="cpu").fit(X, y)
    np.testing.assert_array_equal(selector.get_support(indices=True), [0, 1])


def test_the_pilot_of_wide_data_stops_when_so_many_live():
    """Smaller λ cannot change where the path begins, and cost most."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(20, 30, generator=generator)
    data = Rows(X, X[:, :1].T.contiguous(), torch.ones(20), False)
    recipe = GatedRecipe((32,), 3, steps=60, batch_size=20, lr=0.1, gate_lr=3.0, seed=0)
    args = data, recipe, survival.PILOT_LAMS, select._Folds([0], torch.zeros(1, 20), 20), 0.0
    whole = select._path(*args).end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "groups_of", lambda n, *_: np.array_split(np.arange(n), 5))
        stopped = select._path(*args, enough=lambda end: (end > 0.01).sum(1).max() >= 20).end
        patch.setattr(survival, "enough_alive", lambda *_: 20.0)
        ranges = [survival.lam_range(strength[:, 0] > 0.01, 20) for strength in (whole, stopped)]
    untrained = (stopped == 1).all(2)[:, 0]
    np.testing.assert_array_equal(untrained, np.arange(10) < 4)
    np.testing.assert_allclose(stopped[~untrained], whole[~untrained], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(*ranges, rtol=1e-3)
    assert ranges[0][0] > survival.PILOT_LAMS[4]  # the rest would have been in vain


def test_groups_hold_all_models_once_and_fit_the_cache():
    data = problem(True)
    recipe = GatedRecipe((32,), 3, 10, 8, 0.1, 1.0, 0)
    numbers = {p: gated.groups_of(40, p, recipe, data) for p in (6, 100, 500, 2000, 2001, 10_000)}
    for groups in numbers.values():
        np.testing.assert_array_equal(np.concatenate(groups), np.arange(40))
    # The stored studies hang on these numbers: rounding depends on the grouping.
    assert [len(groups) for groups in numbers.values()] == [1, 2, 8, 40, 8, 8]


def test_finds_an_interaction_without_marginal_effects_in_any_unit():
    X, y = xor()
    scale = np.geomspace(1e-3, 1e3, 20)
    found, other = (L2GateSelector(random_state=0, **SMALL).fit(Z, y) for Z in (X, X * scale + 5 * scale))
    assert set(found.get_support(indices=True)) == set(other.get_support(indices=True)) == {1, 3}
    np.testing.assert_array_equal(found.support_path_, found.survival_path_ >= 0.5)
    assert ((found.survival_path_ > 0) & (found.survival_path_ < 0.5)).any()
    missing = np.abs(found.support_path_.sum(1) - 2)
    assert missing[found.lambda_path_ == found.lam_] == missing.min()
    # Not by a hair: both outlive every noise feature on a good part of the path.
    assert found.scores_[[1, 3]].min() > 1.2 * np.delete(found.scores_, [1, 3]).max()


def test_a_network_never_sees_the_rows_it_is_judged_on(monkeypatch):
    # would catch: a leak from held-out rows into the refit
    data = problem(False, n=40)
    held_out = torch.as_tensor(np.arange(40) % 2 == np.arange(2)[:, None]).double()
    order = np.tile(np.arange(6), (2, 1))
    rest = GatedRecipe((5,), 3, 10, 8, 0.05, 1.0, 0), order, [1, 3, 6], select._Folds([0, 1], held_out, 40)
    before, targets = select._refit_losses(data, *rest), data.targets.clone()
    targets[0, 0] += 0.5  # row 0 is held out in fold 0, together with the other even rows
    after = select._refit_losses(replace(data, targets=targets), *rest)
    np.testing.assert_array_equal(after[:, 2::2], before[:, 2::2])
    assert (after != before)[:, [0, *range(1, 40, 2)]].all()
    means, decays = [], select.REFIT_DECAYS
    for decay in decays:
        monkeypatch.setattr(select, "REFIT_DECAYS", (decay,))
        means.append(select._refit_losses(data, *rest) @ data.weight.numpy())
    np.testing.assert_allclose(before @ data.weight.numpy(), np.min(means, axis=0))


@pytest.mark.parametrize(
    ("cells", "labels", "right"),
    [([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], [0, 1]), (np.eye(4), [0, 0, 1, 0], [2])],
    ids=["xor", "one-hot"],
)
def test_discrete_columns_with_wrong_labels(cells, labels, right):
    """A fold that held out the one label of a cell would teach the network the other."""
    X, y = np.repeat(np.array(cells, dtype=float), 100, axis=0), np.repeat(labels, 100)
    y[::5] ^= 1
    selector = L2GateSelector(random_state=0, **SMALL).fit(X, y)
    assert selector.get_support(indices=True).tolist() == right
    entropy = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert abs(selector.cv_losses_[len(right) - 1] - entropy) < 0.03


def test_noise_is_not_selected_from():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 6)), rng.integers(2, size=200)
    selector = L2GateSelector(random_state=0, **SMALL)
    with pytest.warns(UserWarning, match="no feature was found: .* without any feature it is 0"):
        selector.fit(X, y)
    assert not selector.support_.any()
    assert selector.cv_null_loss_ == pytest.approx(math.log(2), abs=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selector.set_params(n_features_to_select=2, **TINY).fit(X, y)
    assert selector.support_.sum() == 2
    assert not hasattr(selector, "cv_null_loss_")


def test_rows_of_a_group_are_held_out_together():
    """Columns that tell the patients apart, but nothing about other patients, must not be found."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 10)
    X = rng.standard_normal((40, 8))[patient] + 0.01 * rng.standard_normal((400, 8))
    y = rng.integers(2, size=40)[patient]
    selector = L2GateSelector(random_state=0, **SMALL)
    assert selector.fit(X, y).support_.any()
    with pytest.warns(UserWarning, match="no feature was found"):
        assert not selector.fit(X, y, groups=patient).support_.any()


def test_constant_columns_are_kept_out_with_a_warning_and_few_rows_are_told():
    X, y = xor(100, 10)
    with pytest.warns(UserWarning, match="hold 2 different rows"):
        L2GateSelector(1, **TINY).fit(X[[0, 0, 1]], [0, 0, 1])
    X[:, [2, 5]] = 3.0, 1e9
    with pytest.warns(UserWarning, match=r"constant are kept out: 2 \(2, 5\)"):
        selector = L2GateSelector(10, random_state=0, **TINY).fit(X, y)
    np.testing.assert_array_equal(np.flatnonzero(~selector.support_), [2, 5])
    assert (selector.scores_[[2, 5]] == 0).all()
    assert selector.support_path_.shape[1] == 10


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({"n_features_to_select": 5}, {}, "n_features_to_select"),
        ({"depth": 1}, {}, "depth"),
        ({"hidden": 0}, {}, "hidden"),
        ({"task": "ranking"}, {}, "task"),
        ({"threshold": 1.0}, {}, "threshold"),
        ({"lr": 0}, {}, "lr"),
        ({}, {"X": np.ones((40, 2))}, "every column of X is constant"),
        ({}, {"y": np.ones(40, dtype=int)}, r"one class \(1\)"),
        ({"task": "regression"}, {"y": np.full(40, 2.5)}, "only one value"),
        ({"task": "regression"}, {"y": np.array(["a", "b"])[np.arange(40) % 2]}, "task='classification'"),
        ({}, {"groups": np.arange(39)}, r"each of the 40 rows, got \(39,\)"),
        ({}, {"groups": np.zeros(40)}, "only one group"),
    ],
)
def test_refuses(settings, change, message):
    X, y = xor(40, 4)
    with pytest.raises(ValueError, match=message):
        L2GateSelector(**(TINY | settings)).fit(**({"X": X, "y": y} | change))


def test_copies_of_a_row_are_one_row_with_a_weight():
    # would catch: copies on both sides of a split, and scores that depend on the order of the rows
    X, y = xor(90, 6)
    twice = np.random.default_rng(0).permutation(np.arange(180) % 90)
    plain, doubled = (L2GateSelector(random_state=0, **TINY).fit(X[i], y[i]) for i in (np.arange(90), twice))
    np.testing.assert_array_equal(plain.scores_, doubled.scores_)
    np.testing.assert_array_equal(plain.cv_losses_, doubled.cv_losses_)


def test_whole_numbers_are_classes_unless_told():
    X, y = xor(60, 4)
    tiny = L2GateSelector(1, **TINY)
    for target in (y + 0.5 * X[:, 0], np.arange(60) % 25, X[:, 0].astype(object)):  # 25: too many for classes
        assert tiny.fit(X, target).task_ == "regression"
    with pytest.warns(UserWarning, match="25 different whole numbers, which are taken as a target"):
        assert tiny.fit(*xor(200, 4)[:1], np.arange(200) % 25).task_ == "regression"
    assert tiny.fit(X, np.array(["a", "b"], dtype=object)[y]).task_ == "classification"
    selector = L2GateSelector(**TINY).fit(X, y)
    assert selector.task_ == "classification"
    assert hasattr(selector, "cv_losses_")
    selector.set_params(task="regression", n_features_to_select=1).fit(X, y)
    assert not hasattr(selector, "classes_")  # nothing is left of the fit before
    assert not hasattr(selector, "cv_losses_")
