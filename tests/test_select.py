"""The selector: its training step, its choices, and scikit-learn's contract."""

from __future__ import annotations

import csv
import gzip
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from l2lab import select
from l2lab.engine import gated, minibatches
from l2lab.engine.gated import GatedNetworks, GatedRecipe, Rows
from l2lab.select import L2GateSelector
from l2lab.studies import contests, tables
from l2lab.studies import selection as study
from l2lab.studies.__main__ import main as studies_main

TINY = {"steps": 20, "n_lams": 3, "n_folds": 2, "hidden": 4, "device": "cpu"}
SMALL = {"steps": 500, "n_lams": 8, "n_folds": 3, "hidden": 24, "device": "cpu"}


def xor(n=400, p=20, seed=0, flips=0.05):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, ((X[:, 1] * X[:, 3] > 0) ^ (rng.random(n) < flips)).astype(int)


FASTEST = TINY | {"steps": 5, "n_lams": 2, "hidden": 2}


@parametrize_with_checks([L2GateSelector(**FASTEST), L2GateSelector(task="regression", **FASTEST)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


# ---- training ----------------------------------------------------------------------------------------------


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


class Reference(torch.nn.Module):
    """What a beginner would write: D − 1 separate gates per input, autograd."""

    def __init__(self, gates, k):
        super().__init__()
        params, depth = gates.params, gates.recipe.depth
        layers = (
            [params[f"{name}.weight"][k] for name in (0, 2)],
            [params[f"{name}.bias"][k] for name in (0, 2)],
        )
        self.weights, self.biases = (
            torch.nn.ParameterList([torch.nn.Parameter(v.clone()) for v in values]) for values in layers
        )
        self.gates = torch.nn.ParameterList([gates.params["gate"][k].clone() for _ in range(depth - 1)])

    def forward(self, x):
        for gate in self.gates:
            x = x * gate
        h = F.linear(x, self.weights[0], self.biases[0]).relu()
        return F.linear(h, self.weights[1], self.biases[1])


@pytest.mark.parametrize(("depth", "p"), [(2, 6), (3, 6), (4, 6), (3, 150), (2, 2000)])
@pytest.mark.parametrize("classes", [True, False])
def test_training_is_that_of_torch_optim_with_weight_decay(classes, depth, p):
    # would catch: a wrong power of the gate, λ on the wrong group or twice, momentum, a bias that decays
    data = problem(classes, p=p)
    recipe = GatedRecipe((5,), depth, steps=60, batch_size=8, lr=0.05, gate_lr=2.0, seed=4)
    lams, seeds = [0.0, 0.05, 0.3], [0, 1, 1]
    weights = torch.stack([data.weight, data.weight, data.weight.flip(0)])
    gates = GatedNetworks(data, recipe, torch.tensor(lams, dtype=torch.float64), seeds, weights)
    models = [Reference(gates, k) for k in range(3)]
    gates.run()
    labels = data.targets.argmax(0)
    shortened = 0
    for k, (model, lam, weight) in enumerate(zip(models, lams, weights, strict=True)):
        groups = [
            {"params": [model.weights[0]]},
            {"params": list(model.gates)},
            {"params": [model.weights[1]]},
            {"params": list(model.biases)},
        ]
        optimizer = torch.optim.SGD(groups, lr=1.0, momentum=gated.MOMENTUM)
        for t, rows in enumerate(minibatches(data.n, 8, recipe.steps, 4)):
            lr = 0.05 * (1 + math.cos(math.pi * t / 60)) / 2 * min(1, (t + 1) / gated.LR_RAMP)
            now = lam * min(1, t / 60 / gated.RAMP)
            passed = torch.stack(list(model.gates)).prod(0).square().sum().item()
            first = lr * min(1, gated.FEW / passed)
            shortened += first < lr
            settings = (first, now), (first * 2, now), (lr, gated.OUTER_DECAY), (lr, 0)
            for group, (group_lr, decay) in zip(optimizer.param_groups, settings, strict=True):
                group["lr"], group["weight_decay"] = group_lr, decay
            out = model(data.X[rows])
            if classes:
                each = F.cross_entropy(out, labels[rows], reduction="none")
            else:
                each = 0.5 * (out[:, 0] - data.targets[0, rows]) ** 2
            optimizer.zero_grad()
            (each * weight[rows]).mean().backward()
            optimizer.step()
        expected = torch.stack(list(model.gates)).prod(0)
        torch.testing.assert_close(gates.product()[k], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(gates.params["0.weight"][k], model.weights[0].detach(), rtol=0, atol=1e-10)
    assert (shortened > 0) == (p > 300)  # with few inputs it is plain SGD


def test_factors_start_balanced_and_the_product_as_usual():
    data = problem(True, p=50)
    recipe = GatedRecipe((400,), 3, 10, 8, 0.05, 1.0, 0)
    gates = GatedNetworks(data, recipe, torch.zeros(2), [0, 1], data.weight.expand(2, -1))
    norm = gates.params["0.weight"].norm(dim=1)
    torch.testing.assert_close(
        norm.mean(1, keepdim=True).expand(2, 50), gates.params["gate"], rtol=1e-6, atol=0
    )
    he = math.sqrt(2 * 400 / 50)  # norm of a column of He's initialization
    assert abs(gates.strength().mean() / he - 1) < 0.02


def test_divergence_is_an_error():
    X, y = xor(60, 5)
    with (
        pytest.warns(ConvergenceWarning, match="repeated at 500000"),
        pytest.raises(ValueError, match="training diverged; use a smaller lr"),
    ):
        L2GateSelector(1, lam=5.0, random_state=0, **(TINY | {"lr": 1e6, "steps": 300})).fit(X, y)


def test_correlated_columns_get_a_smaller_learning_rate():
    """The diabetes table with half-noise copies of its columns diverged at the default lr."""
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    rng = np.random.default_rng(100)
    X = np.hstack([X, 0.5 * X + 0.5 * rng.standard_normal(X.shape)] * 2)
    settings = {"n_lams": 4, "n_folds": 2, "steps": 400, "device": "cpu", "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="columns are probably strongly correlated"):
        found = L2GateSelector(4, lr=0.2, **settings).fit(X, y)
    assert np.isfinite(found.scores_).all()
    assert found.get_support().sum() == 4


def test_forgetting_dead_columns_changes_nothing_that_is_alive():
    # would catch: columns that are mixed up, velocities that belong to others
    X, y = xor(300, 30)
    data = Rows(
        torch.tensor(X), F.one_hot(torch.tensor(y)).T.double().contiguous(), torch.ones(300).double(), True
    )
    recipe = GatedRecipe((16,), 3, steps=400, batch_size=100, lr=0.1, gate_lr=3.0, seed=0)
    args = data, recipe, np.array([0.03, 0.1]), [0, 1], torch.ones(2, 300).double()
    (whole, early), (thinned, same) = select._path(*args, lost=0.0), select._path(*args, lost=1e-5)
    assert (whole[1] < 1e-4).any()  # something was there to be forgotten
    assert (thinned[1] == 0).any()  # and was
    np.testing.assert_array_equal(thinned > 0.01, whole > 0.01)
    np.testing.assert_allclose(thinned, whole, atol=1e-3)
    np.testing.assert_allclose(same, early, atol=1e-6)


def test_early_strength_is_the_mean_over_the_first_quarter():
    data = problem(True)
    recipe = GatedRecipe((5,), 3, steps=40, batch_size=8, lr=0.05, gate_lr=2.0, seed=4)
    args = data, recipe, torch.tensor([0.0, 0.3], dtype=torch.float64), [0, 1], data.weight.expand(2, -1)
    watched, stepped = GatedNetworks(*args), GatedNetworks(*args)
    watched.run(watch=True)
    seen = []
    for t in range(40):
        stepped.descent.run(t + 1)
        seen.append(stepped.relative())
    torch.testing.assert_close(watched.early, torch.stack(seen[:10]).mean(0), rtol=0, atol=1e-14)
    torch.testing.assert_close(watched.relative(), stepped.relative(), rtol=0, atol=0)  # only watched


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
    scores = L2GateSelector()._score(strength, early)
    assert scores.shape == (2, 30)
    step = 1 / 4  # two sparse λ, two folds
    np.testing.assert_allclose(scores[0, 0], 1 + step * (0.9 * 0.7 + 0.099 / 3))
    np.testing.assert_allclose(scores[1, 1], 0.5 + step * (0.9 * 0.25 + 0.099 / 3))
    np.testing.assert_allclose(scores[0, 2], 0.5 + step * (0.9 * 0.1 + 0.099 / 3))
    np.testing.assert_allclose(scores[0, 20:23], step * 0.099 * np.array([1, 8 / 9, 1 / 3]))
    order = np.argsort(-scores.mean(0), kind="stable")
    np.testing.assert_array_equal(order[:5], [0, 1, 2, 20, 21])


def test_columns_that_die_early_are_ranked_by_what_they_did_before():
    """The table's 30 columns are nearly copies, of which few live long; the others must not equal noise."""
    contest = contests.with_extras("breast_cancer", "random", seed=0)
    found = L2GateSelector(30, random_state=0, **SMALL).fit(contest.X, contest.y)
    assert found.support_path_[-4:].any(0).sum() < 15
    assert contest.truth[found.support_].mean() > 0.6  # noise would have 0.5; survival alone has


def test_the_pilot_of_wide_data_stops_when_so_many_live():
    """Smaller λ cannot change where the path begins, and cost most."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(20, 30, generator=generator)
    data = Rows(X, X[:, :1].T.contiguous(), torch.ones(20), False)
    recipe = GatedRecipe((32,), 3, steps=60, batch_size=20, lr=0.1, gate_lr=3.0, seed=0)
    args = data, recipe, select.PILOT_LAMS, [0], torch.ones(1, 20), 0.0, GatedNetworks
    whole, _ = select._path(*args)
    asked = []

    def enough(strength):
        asked.append(len(strength))
        return (strength > 0.01).sum(1).max() >= 20

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "groups_of", lambda n, *_: np.array_split(np.arange(n), 5))
        stopped, _ = select._path(*args, enough)
        patch.setattr(select, "_enough", lambda *_: 20.0)
        ranges = [select._lam_range(strength[:, 0] > 0.01, 20) for strength in (whole, stopped)]
    assert len(asked) == 3
    untrained = (stopped == 1).all(2)[:, 0]
    np.testing.assert_array_equal(untrained, np.arange(10) < 4)
    np.testing.assert_allclose(stopped[~untrained], whole[~untrained], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(*ranges, rtol=1e-3)
    assert ranges[0][0] > select.PILOT_LAMS[4]  # the rest would have been in vain


def test_groups_hold_all_models_once_and_fit_the_cache():
    data = problem(True)
    recipe = GatedRecipe((32,), 3, 10, 8, 0.1, 1.0, 0)
    numbers = {p: gated.groups_of(40, p, recipe, data) for p in (6, 100, 500, 2000, 2001, 10_000)}
    for groups in numbers.values():
        np.testing.assert_array_equal(np.concatenate(groups), np.arange(40))
    # Up to 2000 columns the stored studies hang on these numbers: rounding depends on the grouping.
    assert [len(groups) for groups in numbers.values()] == [1, 2, 8, 40, 8, 8]


# ---- what it finds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finds_an_interaction_without_marginal_effects(seed):
    X, y = xor(seed=seed)
    selector = L2GateSelector(random_state=seed, **SMALL).fit(X, y)
    assert set(selector.get_support(indices=True)) == {1, 3}
    # Not by a hair: both outlive every noise feature on a good part of the path.
    assert selector.scores_[[1, 3]].min() > 1.2 * np.delete(selector.scores_, [1, 3]).max()


def test_the_path_leads_from_many_features_to_none():
    X, y = xor()
    selector = L2GateSelector(2, random_state=0, **SMALL).fit(X, y)
    assert selector.lambda_path_.shape == (8,)
    assert (np.diff(selector.lambda_path_) > 0).all()
    assert selector.support_path_.shape == selector.survival_path_.shape == (8, 20)
    sizes = selector.support_path_.sum(1)
    assert sizes[0] > 10
    assert sizes[-1] <= 2
    np.testing.assert_array_equal(selector.support_path_, selector.survival_path_ >= 0.5)
    # Scores are the share of the sparse part of the path that is survived, up to less than one step of it.
    sparse = selector.survival_path_.sum(1) <= 5
    assert sparse.any()
    assert not sparse.all()
    difference = selector.scores_ - selector.survival_path_[sparse].mean(0)
    assert (difference > 0).all()
    assert (difference < 1 / (sparse.sum() * 3)).all()
    # λ_ names the place on the path where about as many features live.
    assert abs(selector.support_path_[selector.lambda_path_ == selector.lam_].sum() - 2) <= 1


def test_a_given_lambda_decides_alone():
    X, y = xor()
    none = L2GateSelector(lam=0.0, random_state=0, **SMALL).fit(X, y)
    assert none.support_.all()  # without decay nothing dies
    right = L2GateSelector(lam=0.07, random_state=0, **SMALL).fit(X, y)
    assert set(right.get_support(indices=True)) == {1, 3}
    assert right.lam_ == right.lambda_path_[0] == 0.07
    dead = L2GateSelector(lam=3.0, random_state=0, **SMALL).fit(X, y)
    assert not dead.support_.any()
    with pytest.warns(UserWarning, match="No features were selected"):
        assert dead.transform(X).shape == (400, 0)


def test_one_standard_error_takes_no_more_features_than_the_best():
    X, y = make_regression(150, 15, n_informative=5, noise=60.0, random_state=1)
    simple = L2GateSelector(random_state=0, **SMALL).fit(X, y)
    best = L2GateSelector(one_standard_error=False, random_state=0, **SMALL).fit(X, y)
    np.testing.assert_array_equal(simple.cv_losses_, best.cv_losses_)
    assert best.support_.sum() == best.cv_sizes_[best.cv_losses_.argmin()]
    assert simple.support_.sum() <= best.support_.sum()


def test_units_do_not_matter():
    X, y = make_regression(150, 12, n_informative=3, random_state=0)
    scale = np.geomspace(1e-3, 1e3, 12)
    one = L2GateSelector(3, random_state=0, **SMALL).fit(X, y)
    other = L2GateSelector(3, random_state=0, **SMALL).fit(X * scale + 5 * scale, 1e4 * y - 7)
    np.testing.assert_array_equal(one.support_, other.support_)


def test_a_network_never_sees_the_rows_it_is_judged_on():
    # would catch: a leak from held-out rows into the refit
    data = problem(False, n=40)
    held_out = torch.as_tensor(np.arange(40) % 2 == np.arange(2)[:, None])
    order = np.tile(np.arange(6), (2, 1))
    recipe = GatedRecipe((5,), 3, 10, 8, 0.05, 1.0, 0)
    before = select._refit_losses(data, recipe, order, [1, 3, 6], [0, 1], held_out)
    targets = data.targets.clone()
    targets[0, 0] += 0.5  # row 0 is held out in fold 0, together with the other even rows
    after = select._refit_losses(
        Rows(data.X, targets, data.weight, False), recipe, order, [1, 3, 6], [0, 1], held_out
    )
    np.testing.assert_array_equal(after[:, 2::2], before[:, 2::2])
    assert (after[:, 0] != before[:, 0]).all()
    assert (after[:, 1::2] != before[:, 1::2]).all()


# ---- weights, constants, names, pipelines ------------------------------------------------------------------


def test_weights_are_repetitions_and_zero_is_absence():
    X, y = xor(90, 6)
    weight = np.random.default_rng(0).integers(0, 4, 90)
    tiny = L2GateSelector(random_state=0, **TINY)
    weighted = clone(tiny).fit(X, y, sample_weight=weight)
    repeated = clone(tiny).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    plain = clone(tiny).fit(X, y)
    np.testing.assert_array_equal(weighted.scores_, repeated.scores_)
    np.testing.assert_array_equal(weighted.cv_losses_, repeated.cv_losses_)
    assert not np.array_equal(weighted.scores_, plain.scores_)


def test_constant_columns_are_kept_out_with_a_warning():
    X, y = xor(100, 10)
    X[:, [2, 5]] = 3.0, 1e9
    with pytest.warns(UserWarning, match=r"constant are kept out: 2 \(2, 5\)"):
        selector = L2GateSelector(10, random_state=0, **TINY).fit(X, y)
    np.testing.assert_array_equal(np.flatnonzero(~selector.support_), [2, 5])
    assert (selector.scores_[[2, 5]] == 0).all()
    assert selector.support_path_.shape[1] == 10
    with pytest.raises(ValueError, match="every column of X is constant"):
        L2GateSelector(**TINY).fit(np.ones((10, 2)), np.arange(10) % 2)


def test_a_column_that_varies_only_where_the_weight_is_zero_is_constant():
    X, y = xor(60, 5)
    X[:, 2] = 0
    X[0, 2] = 1
    with pytest.warns(UserWarning, match="constant"):
        L2GateSelector(1, random_state=0, **TINY).fit(X, y, sample_weight=np.arange(60) > 0)


# ---- errors ------------------------------------------------------------------------------------------------


def test_bad_data():
    X, y = xor(40, 4)
    selector = L2GateSelector(**TINY)
    for value, word in ((np.nan, "NaN"), (np.inf, "infinity")):
        spoiled = X.copy()
        spoiled[3, 1] = value
        with pytest.raises(ValueError, match=word):
            selector.fit(spoiled, y)
    with pytest.raises(ValueError, match=r"one class \(1\)"):
        selector.fit(X, np.ones(40, dtype=int))
    with pytest.raises(ValueError, match="one class"):  # all rows of the other class are absent
        selector.fit(X, y, sample_weight=(y == 0).astype(float))
    with pytest.raises(ValueError, match="only one value"):
        L2GateSelector(task="regression", **TINY).fit(X, np.full(40, 2.5))
    with pytest.raises(ValueError, match="task='classification'"):
        L2GateSelector(task="regression", **TINY).fit(X, np.array(["a", "b"])[y])
    with pytest.raises(ValueError, match="negative"):
        selector.fit(X, y, sample_weight=-np.ones(40))
    with pytest.raises(ValueError, match="at least one non-zero"):
        selector.fit(X, y, sample_weight=np.zeros(40))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_features_to_select", 0),
        ("n_features_to_select", 5),
        ("n_features_to_select", 1.5),
        ("n_features_to_select", True),
        ("lam", "best"),
        ("lam", -0.1),
        ("lam", math.inf),
        ("depth", 1),
        ("hidden", ()),
        ("hidden", 0),
        ("task", "ranking"),
        ("n_lams", 0),
        ("n_folds", 1),
        ("threshold", 1.0),
        ("steps", 0),
        ("batch_size", 0),
        ("lr", 0),
        ("gate_lr", -1.0),
    ],
)
def test_bad_parameters_are_named(name, value):
    X, y = xor(40, 4)
    with pytest.raises(ValueError, match=name):
        L2GateSelector(**(TINY | {name: value})).fit(X, y)


def test_a_share_of_the_features():
    X, y = xor(40, 8)
    for share, number in ((0.5, 4), (1.0, 8), (0.01, 1)):
        assert L2GateSelector(share, random_state=0, **TINY).fit(X, y).support_.sum() == number


def test_whole_numbers_are_classes_unless_told():
    X, y = xor(60, 4)
    assert L2GateSelector(1, **TINY).fit(X, y).task_ == "classification"
    assert L2GateSelector(1, **TINY).fit(X, y + 0.5 * X[:, 0]).task_ == "regression"
    assert L2GateSelector(1, **TINY).fit(X, np.arange(60) % 25).task_ == "regression"  # too many for classes
    assert L2GateSelector(1, task="classification", **TINY).fit(X, np.arange(60) % 25).classes_.size == 25
    selector = L2GateSelector(**TINY).fit(X, y)
    assert hasattr(selector, "classes_")
    assert hasattr(selector, "cv_losses_")
    selector.set_params(task="regression", n_features_to_select=1).fit(X, y)
    assert selector.task_ == "regression"
    assert not hasattr(selector, "classes_")  # nothing is left of the fit before
    assert not hasattr(selector, "cv_losses_")


# ---- the study that compares it with rivals ----------------------------------------------------------------


@pytest.mark.parametrize("name", contests.PROBLEMS)
def test_contests_are_standardized_and_reproducible(name):
    one, again, other = contests.PROBLEMS[name](0), contests.PROBLEMS[name](0), contests.PROBLEMS[name](1)
    varied = np.ptp(one.X, axis=0) > 0
    np.testing.assert_allclose(one.X.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(one.X[:, varied].std(0), 1)
    assert one.truth.shape == (one.X.shape[1],) == (one.X_test.shape[1],)
    assert 0 < one.k <= one.truth.sum() < one.X.shape[1]
    assert len(one.X) == len(one.y)
    assert len(one.X_test) == len(one.y_test) > 50
    if one.classes:
        assert set(one.y_test) <= set(one.y) == set(range(one.y.max() + 1))
    np.testing.assert_array_equal(one.X, again.X)
    assert not np.array_equal(one.X, other.X)


def test_extra_features_are_what_they_say():
    plain, corrupted, products = (
        contests.with_extras("breast_cancer", kind, seed=0).X for kind in contests.EXTRAS
    )
    for X, least, most in ((plain, 0.0, 0.25), (corrupted, 0.6, 0.8)):
        closest = np.abs(np.corrcoef(X.T)[30:, :30]).max(1)
        assert (closest >= least).all()
        assert (closest <= most).all()
    # A product is the same function of two columns on every row, whatever standardization did to them.
    rng = np.random.default_rng(0)
    first, second = rng.permutation(30), rng.permutation(30)
    X = products[:, :30]
    features = np.stack(
        [X[:, first[0]] * X[:, second[0]], X[:, first[0]], X[:, second[0]], np.ones(len(X))], 1
    )
    residual = np.linalg.lstsq(features, products[:, 30], rcond=None)[1]
    assert residual.sum() < 1e-12 * len(X)


def stochastic_loss(W, mu, b, V, c, noise, x, labels, lam):
    """Loss of STG as in its paper, for autograd."""
    z = (mu + 0.5 * noise).clamp(0, 1)
    h = ((x * z) @ W.T + b).relu()
    open_gates = torch.distributions.Normal(0, 1).cdf(mu / 0.5).sum()
    return F.cross_entropy(h @ V.T + c, labels) + lam * open_gates


def test_stg_takes_the_gradient_of_its_paper():
    data = problem(True)
    recipe = GatedRecipe((5,), 3, steps=10, batch_size=30, lr=0.1, gate_lr=1.0, seed=0)
    gates = study._StochasticGates(
        data, recipe, torch.tensor([0.2], dtype=torch.float64), [0], torch.ones(1, 30, dtype=torch.float64)
    )
    noise = torch.randn(1, 6, generator=gates.noise.clone_state())
    names = ("0.weight", "gate", "0.bias", "2.weight", "2.bias")
    leaves = [gates.params[name][0].clone().requires_grad_() for name in names]
    loss = stochastic_loss(*leaves, noise[0].double(), data.X, data.targets.argmax(0), 0.2)
    W_grad, mu_grad, *_ = torch.autograd.grad(loss, leaves)
    gates.descent.run(1)
    lr = 0.1 / gated.LR_RAMP
    moved = [(old.detach() - gates.params[name][0]) / lr for name, old in zip(names, leaves, strict=True)]
    torch.testing.assert_close(moved[1], mu_grad, rtol=0, atol=1e-7)
    torch.testing.assert_close(moved[0], W_grad + gated.OUTER_DECAY * leaves[0].detach(), rtol=0, atol=1e-7)


def test_the_proximal_rival_reaches_exact_zeros():
    X, y = xor(200, 10)
    rows = torch.tensor(X, dtype=torch.float32), F.one_hot(torch.tensor(y)).T.float().contiguous()
    data = Rows(*rows, torch.ones(200), True)
    recipe = GatedRecipe((8,), 3, 300, 100, 0.1, 1.0, 0)
    strength, _ = select._path(
        data, recipe, np.array([1e-3, 1.0]), [0], torch.ones(1, 200), 0.0, study._ProximalGroups
    )
    assert (strength[0] > 0).all()
    assert (strength[1] == 0).all()


def test_refits_score_good_features_well_and_bad_ones_badly():
    contest = contests.xor(0)
    masks = np.array([contest.truth, np.roll(contest.truth, 5)])
    good, bad = study.evaluate(contest, masks, seed=0, steps=300)
    assert good > 0.88
    assert bad < 0.6


def test_a_refit_that_diverges_is_repeated_with_a_smaller_learning_rate(monkeypatch):
    contest = contests.split_contest(
        *load_diabetes(return_X_y=True), np.ones(10, bool), np.arange(90), np.arange(90, 130), 2
    )
    rates, original = [], study._refit_outputs

    def explode(data, X_test, masks, held_out, recipe):
        rates.append((recipe.lr, len(masks)))
        out = original(data, X_test, masks, held_out, recipe)
        if recipe.lr > 0.03:
            out[masks[:, 3]] = np.nan
        return out

    masks = np.arange(10) < np.array([[2], [5]])
    with torch.inference_mode():
        plain = study.evaluate(contest, masks, seed=0, steps=20)
        monkeypatch.setattr(study, "_refit_outputs", explode)
        mended = study.evaluate(contest, masks, seed=0, steps=20)
        assert rates == [(0.1, 2), (0.05, 1), (0.025, 1)]
        assert mended[0] == plain[0]
        assert np.isfinite(mended[1])
        assert mended[1] != plain[1]
        monkeypatch.setattr(study, "_refit_outputs", lambda *a: np.full((len(a[2]), 1, 40), np.nan))
        with pytest.raises(ValueError, match=r"features \[0, 1\] diverge even at the learning rate 0\.00625"):
            study.evaluate(contest, masks, seed=0, steps=20)


def test_all_methods_of_the_study_run(monkeypatch):
    contest = contests.xor(0)
    cut = replace(
        contest,
        X=contest.X[:60, :6],
        y=contest.y[:60],
        X_test=contest.X_test[:, :6],
        truth=contest.truth[:6],
    )
    monkeypatch.setitem(contests.PROBLEMS, "tiny", lambda seed: cut)
    methods = tuple(name for name in study.METHODS if name not in ("LassoNet", "random forest"))  # slow
    rows = study.run_one("tiny", 0, methods, steps=20)
    assert [row["method"] for row in rows] == list(methods)
    for row in rows:
        assert 0 <= row["f1_auto"] <= 1
        assert 0 <= row["score_at_k"] <= 1
        assert row["path_seconds"] >= 0
        assert 1 <= row["n_auto"] <= 6


class Predictor:
    """Stands for LassoNet: knows two of three columns."""

    def load(self, state):
        self.state = state

    def predict(self, X):
        assert X.shape[1] == 2
        return (X[:, 0] > 0).astype(int)


def test_lassonet_without_refit_gets_the_columns_that_it_was_trained_on():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    X[:20, 0] = 0  # constant on the training rows alone
    y = (X[:, 1] > 0).astype(int)
    contest = contests.split_contest(X, y, np.ones(3, dtype=bool), np.arange(20), np.arange(20, 40), 1)
    rival = study.METHODS["LassoNet"]()
    step = lambda n: SimpleNamespace(selected=torch.arange(3) < n, state_dict=n)  # noqa: E731
    rival.model_, rival.history_ = Predictor(), [step(2), step(1), step(0)]
    center = contest.X_test[:, 1] > 0
    assert rival.score_without_refit(contest) == pytest.approx((center == contest.y_test).mean())
    assert rival.model_.state == 1  # the first network with at most k features


def test_memory_is_that_of_the_call_alone():
    array, growth = study._growth_mb(np.ones, (2**22, 10))
    if growth is None:
        pytest.skip("this system does not tell its memory")
    assert growth == pytest.approx(array.nbytes / 2**20, rel=0.05)


# ---- the study of tables -----------------------------------------------------------------------------------

FAKE = {
    "mice protein": ((96, 5), "mice.csv.gz"),
    "COIL-20": ((144, 6), "coil.npz"),
    "ISOLET": ((120, 5), "isolet.npz"),
    "MADELON": ((80, 5), "madelon.npz"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Tables of the right form, with few columns: column 0 tells the class, in ISOLET the speaker."""
    rng = np.random.default_rng(0)
    for name, (shape, file) in FAKE.items():
        monkeypatch.setitem(
            tables.TABLES, name, replace(tables.TABLES[name], shape=shape, file=file, ks=(2,))
        )
        n, p = shape
        y = np.repeat([0, 1], n // 2)
        X = rng.standard_normal(shape)
        X[:, 0] += 4 * y
        if file.endswith("npz"):
            np.savez(tmp_path / file, X=X.astype(np.float32), y=y + 1)
            continue
        with gzip.open(tmp_path / file, "wt", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["MouseID", *range(p), "Genotype", "Treatment", "Behavior", "class"])
            for i in range(n):  # 8 mice of each class, 6 rows of each mouse
                values = ["" if i % 7 == 0 and j == 1 else X[i, j] for j in range(p)]
                writer.writerow([f"{300 + i // 6}_{i % 6 + 1}", *values, "a", "b", "c", "xy"[y[i]]])
    return tmp_path


def test_families_stay_together(folder):
    for name in FAKE:
        X, y, families, _ = tables.load(name, folder)
        splits = tables.held_out_rows(name, y, families, 0)
        if families is None:
            assert list(splits) == ["random"]
            continue
        random, leak_free = splits.values()
        assert not set(families[leak_free]) & set(families[~leak_free])
        assert set(families[random]) & set(families[~random])
        np.testing.assert_array_equal(np.bincount(y[random]), np.bincount(y[leak_free]))
        assert not np.array_equal(leak_free, list(tables.held_out_rows(name, y, families, 1).values())[1])
    X, _, mice, _ = tables.load("mice protein", folder)
    assert np.isnan(X[::7, 1]).all()
    np.testing.assert_array_equal(mice, np.arange(96) // 6)
    poses = tables.load("COIL-20", folder)[2]
    held = tables.held_out_rows("COIL-20", np.repeat([0, 1], 72), poses, 0)["by pose"]
    np.testing.assert_array_equal(np.diff(np.flatnonzero(np.roll(held[:72], -held[:72].argmin()))), 1)


def test_the_medians_of_test_rows_are_not_used(monkeypatch):
    X = np.arange(12.0).reshape(6, 2)
    X[0, 0] = np.nan
    X[4:, 0] = 1000
    seen = []
    monkeypatch.setattr(tables, "evaluate", lambda contest, *rest: seen.append(contest) or [0.5])
    test = np.arange(6) > 3
    tables.run_split(X, np.array([0, 1, 0, 1, 0, 1]), test, (1,), (), seed=0)
    filled = np.array([4.0, 2, 4, 6])  # median of 2, 4 and 6
    np.testing.assert_allclose(seen[0].X[:, 0], (filled - filled.mean()) / filled.std())


def test_the_study_of_tables_runs(folder, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", folder)
    monkeypatch.setattr(tables, "METHODS", ("L2 gates", "ANOVA"))
    monkeypatch.setattr(tables, "PROFILES", {"quick": (2, 60)})
    monkeypatch.setitem(tables.TABLES, "mice protein", replace(tables.TABLES["mice protein"], lassonet=False))
    studies_main(["tables", "--profile", "quick", "--data-dir", str(folder)])
    result = json.loads((folder / "tables-quick.json").read_text("utf-8"))
    assert result["seeds"] == [100, 101]
    assert len(result["sha256"]["coil.npz"]) == 64
    assert len(result["rows"]) == 2 * 7 * 3
    coil = {(line["split"], line["method"]): line for line in result["summary"] if line["table"] == "COIL-20"}
    ours = coil["by pose", "ANOVA"]
    assert ours["accuracy"] > 0.9
    assert ours["leak"] == pytest.approx(coil["random", "ANOVA"]["accuracy"] - ours["accuracy"], abs=2e-4)


def test_wrong_tables_are_named(folder):
    with pytest.raises(ValueError, match="--data-dir"):
        tables.main("quick")
    with pytest.raises(ValueError, match="profile"):
        tables.main("huge", folder)
    np.savez(folder / "madelon.npz", X=np.ones((3, 2)), y=np.ones(3))
    with pytest.raises(ValueError, match=r"madelon.npz must have \(80, 5\)"):
        tables.load("MADELON", folder)
    np.savez(folder / "madelon.npz", Z=np.ones((3, 2)))
    with pytest.raises(ValueError, match="arrays X and y"):
        tables.load("MADELON", folder)
    (folder / "madelon.npz").unlink()
    with pytest.raises(ValueError, match=r"madelon\.npz is not in"):
        tables.load("MADELON", folder)
    np.savez(folder / "coil.npz", X=np.ones((144, 6)), y=np.tile([0, 1], 72))
    with pytest.raises(ValueError, match="sorted by class"):
        tables.load("COIL-20", folder)


def test_a_study_without_data_takes_no_folder(capsys):
    with pytest.raises(SystemExit):
        studies_main(["selection", "--data-dir", "x"])
    assert "no --data-dir" in capsys.readouterr().err


def test_summary_compares_seed_by_seed():
    base = {
        "problem": "a",
        "n_auto": 2,
        "score_auto": 0.5,
        "f1_at_truth": 1.0,
        "f1_auto": 1.0,
        "path_seconds": 1.0,
    }
    rows = [
        {**base, "method": method, "seed": seed, "score_at_k": 0.9 + 0.01 * seed - loss}
        for seed in range(4)
        for method, loss in (("L2 gates", 0), ("rival", 0.1 + 0.001 * seed))
    ]
    ours, rival = study.summary(rows)
    assert ours["score_at_k"] == pytest.approx(0.915)
    assert rival["score_at_k_advantage"] == pytest.approx(0.1015)
    assert rival["score_at_k_p"] < 1e-3  # paired: the spread over seeds is as large as the difference
    assert rival["f1_auto_p"] == 1
    assert "score_at_k_p" not in ours
