"""The comparison: methods against independent solvers, and rules that no method can get around."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats
from sklearn.feature_selection import f_regression
from sklearn.linear_model import ElasticNet, Lasso, MultiTaskLasso
from sklearn.metrics import accuracy_score, log_loss, r2_score

from l2lab import data
from l2lab.compare import METHODS, TASKS, compare, judge, methods
from l2lab.compare.recipe import Fit, Recipe, row_losses, train
from l2lab.compare.result import MEASURES, ComparisonResult, paired_difference
from l2lab.compare.tasks import Budget, LearningData, Task
from l2lab.engine import minibatches, schedule

EXACT = Budget(steps=2000, batch_size=1000, hidden=0, dtype=torch.float64)
LAMS = [0.01, 0.05, 0.2, 0.6]


@pytest.fixture(scope="module")
def linear():
    return LearningData(data.sparse_regression(60, 15, 4, rho=0.4, seed=1))


def fitted(recipe, learning, strengths, budget=EXACT):
    """Train a recipe at these strengths; the first layer of a linear model, (K, p)."""
    (fit,) = train(recipe(), np.array(strengths), [learning], budget, [0])
    return fit if budget.hidden else fit.first_layer[:, 0]


def made(recipe, strengths):
    """A recipe on a small problem."""
    method = recipe()
    strengths = torch.tensor(strengths, dtype=torch.float64)
    method.prepare(strengths, [LearningData(data.xor(40, 6))], EXACT, [0])
    return method


TASK = Task("tiny", "tiny", lambda seed: data.xor(60, 6, seed, n_test=200))
SMALL = Budget(n_trials=3, steps=40, hidden=5)
SMALL_EXACT = Budget(steps=60, batch_size=16, hidden=7, dtype=torch.float64)


@pytest.mark.parametrize(
    ("recipe", "reference", "atol"),
    [
        (methods.L1Proximal, lambda lam: Lasso(alpha=lam, tol=1e-10), 1e-4),
        (methods.ElasticNet, lambda lam: ElasticNet(alpha=lam, l1_ratio=0.5, tol=1e-10), 1e-4),
        (methods.L2Gates, lambda lam: Lasso(alpha=lam, tol=1e-10), 2e-3),
        (methods.L1Subgradient, lambda lam: Lasso(alpha=lam, tol=1e-10), 2e-3),
    ],
)
def test_linear_models_are_scikit_learns(linear, recipe, reference, atol):
    assert len(linear.X_train) == 60
    for lam, w in zip(LAMS, fitted(recipe, linear, LAMS), strict=True):
        coef = reference(lam).fit(linear.X_train, linear.y_train).coef_
        np.testing.assert_allclose(w, coef, atol=atol)
        if recipe is methods.L1Proximal:
            np.testing.assert_array_equal(w == 0, coef == 0)


@pytest.mark.parametrize(("recipe", "axis"), [(methods.GroupLassoInputs, 1), (methods.GroupLassoUnits, 2)])
def test_group_lasso_is_scikit_learns(recipe, axis):
    rng = np.random.default_rng(0)
    X, lam, step = rng.standard_normal((50, 8)), 0.3, 0.1
    Y = X[:, :3] @ rng.standard_normal((3, 4)) + 0.1 * rng.standard_normal((50, 4))
    method = made(recipe, [lam])
    weight = torch.zeros(1, *((4, 8) if axis == 1 else (8, 4)), dtype=torch.float64)
    for _ in range(3000):
        W = weight[0] if axis == 1 else weight[0].T  # (tasks, inputs)
        gradient = (W @ torch.tensor(X.T) - torch.tensor(Y.T)) @ torch.tensor(X) / len(X)
        weight = weight - step * (gradient if axis == 1 else gradient.T)
        method.after_step([weight], step)
    reference = MultiTaskLasso(alpha=lam, fit_intercept=False, tol=1e-10).fit(X, Y).coef_
    np.testing.assert_allclose(weight[0] if axis == 1 else weight[0].T, reference, atol=1e-6)
    assert 0 < (reference == 0).all(axis=0).sum() < 8
    method.linear = False  # the second layer must not grow instead
    assert method.decay({})["2.weight"].tolist() == [0.001]


def module(n_features, hidden, n_outputs):
    torch.manual_seed(0)
    layers = torch.nn.Linear(n_features, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, n_outputs)
    return torch.nn.Sequential(*layers).double()


def loop(learning, budget, optimizer, lam, stop=None, ramp=0.0):
    """The same training with modules and optimizers of torch, one model; and its strengths step by step."""
    net = module(learning.n_features, budget.hidden, learning.n_outputs)
    weights, biases = ([getattr(layer, kind) for layer in net[::2]] for kind in ("weight", "bias"))
    if ramp:
        with torch.no_grad():
            for weight, bias in zip(weights, biases, strict=True):
                weight.mul_(6**0.5), bias.zero_()
    opt = optimizer([{"params": weights, "weight_decay": lam}, {"params": biases, "weight_decay": 0.0}])
    X, y = torch.tensor(learning.X_train), torch.tensor(learning.y_train)
    rate = torch.optim.lr_scheduler.LambdaLR(opt, schedule("cosine", budget.steps, warm_up=20))
    strengths = []
    for t, rows in enumerate(minibatches(len(X), budget.batch_size, budget.steps)[:stop]):
        if ramp:
            opt.param_groups[0]["weight_decay"] = lam * min(1, t / (ramp * budget.steps))
        opt.zero_grad()
        F.cross_entropy(net(X[rows]), y[rows]).backward()
        opt.step()
        rate.step()
        norms = net[0].weight.detach().norm(dim=0)
        strengths.append(norms / norms.max())
    return net, strengths


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        (methods.L2, lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9)),
        (methods.AdamWDecay, lambda groups: torch.optim.AdamW(groups, 0.005)),
    ],
)
def test_training_is_that_of_torch_optim(recipe, optimizer):
    learning, lams = LearningData(data.xor(70, 5)), [0.0, 0.01, 0.5]
    fit = fitted(recipe, learning, lams, SMALL_EXACT)
    outputs = fit.outputs(learning.X_valid, [0, 1, 2])
    for lam, first, output in zip(lams, fit.first_layer, outputs, strict=True):
        net, _ = loop(learning, SMALL_EXACT, optimizer, lam)
        np.testing.assert_allclose(first, net[0].weight.detach(), atol=1e-10)
        np.testing.assert_allclose(output, net(torch.tensor(learning.X_valid)).detach(), atol=1e-9)


def test_early_stopping_is_the_same_run_cut_off_and_max_norm_a_projection():
    learning, budget = LearningData(data.xor(70, 5)), SMALL_EXACT
    fit = fitted(methods.EarlyStopping, learning, [7.0, 60.0], budget)
    for stop, first in zip((7, 60), fit.first_layer, strict=True):
        net, _ = loop(learning, budget, lambda groups: torch.optim.SGD(groups, 0.02, momentum=0.9), 0.0, stop)
        np.testing.assert_allclose(first, net[0].weight.detach(), atol=1e-10)
    tight, loose = fitted(methods.MaxNorm, learning, [0.3, 1e6], budget).first_layer
    assert np.linalg.norm(tight, axis=1).max() == pytest.approx(0.3)
    plain = fitted(Recipe, learning, [0.0], budget).first_layer[0]
    np.testing.assert_allclose(loose, plain, atol=1e-12)


def test_a_ramp_lets_the_strength_grow_and_looks_early():
    learning, budget = LearningData(data.xor(70, 5)), replace(SMALL_EXACT, steps=40)
    args = np.array([0.0, 0.1, 0.3]), [learning], budget, [0]
    plain, ramped = (train(methods.L2(), *args, ramp=ramp)[0] for ramp in (0.0, 0.5))
    assert plain.early is None
    sgd = lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9)  # noqa: E731
    net, strengths = loop(learning, budget, sgd, 0.3, ramp=0.5)
    np.testing.assert_allclose(ramped.first_layer[2], net[0].weight.detach(), atol=1e-10)
    np.testing.assert_allclose(ramped.early[2], torch.stack(strengths[:10]).mean(0), atol=1e-10)


def test_dropout_of_a_linear_model_is_a_scaled_ridge():
    # RSS + q/(1 − q)·Σ_j β_j² Σ_i x_ij², exactly, on average over the masks (Wager et al. 2013)
    learning, q = LearningData(data.sparse_regression(60, 6, 3, seed=2)), 0.4
    X, y = learning.X_train, learning.y_train
    ones = np.column_stack([X, np.ones(len(X))])
    penalty = np.diag([*(q / (1 - q) * (X**2).sum(0)), 0.0])  # the intercept is not dropped
    expected = np.linalg.solve(ones.T @ ones + penalty, ones.T @ y)[:-1]
    found = fitted(methods.Dropout, learning, [q] * 24, replace(EXACT, steps=1000)).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert np.abs(np.linalg.lstsq(ones, y, rcond=None)[0][:-1] - expected).max() > 0.2


def test_stochastic_gates_are_those_of_their_paper():
    recipe = made(methods.StochasticGates, [0.3, 2.0])
    params = recipe.parameters([0, 0])
    mu = params["mu"] = torch.randn(2, 1, 6, dtype=torch.float64)
    x, y = torch.zeros(1, 5, 6, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.long)
    penalty = recipe.loss(params, x, y) - Recipe.loss(recipe, params, x, y)
    expected = [lam * stats.norm.cdf(m / 0.5).sum() for lam, m in zip((0.3, 2.0), mu, strict=True)]
    np.testing.assert_allclose(penalty, expected, rtol=1e-12)
    # random in training only
    torch.testing.assert_close(recipe.first_layer(params), mu.clamp(0, 1) * params["0.weight"])
    assert (recipe.first_layer(params, True) != recipe.first_layer(params, True)).any()


def test_input_noise_grows_with_its_strength():
    recipe = made(methods.InputNoise, [0.5, 2.0])  # both copies have the same weights and draws
    spread = recipe.forward(recipe.parameters([0, 0]), torch.zeros(1, 30, 6, dtype=torch.float64)).std(1)
    torch.testing.assert_close(spread[1], 4 * spread[0])


def test_shifted_digits_are_those_of_scipy():
    problem = data.digits(noise_features=6)
    augment = TASKS["digits"].augment(problem)
    x = torch.tensor(problem.X_valid[:60])
    moved = augment(x, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(moved[:, 64:], x[:, 64:])
    torch.testing.assert_close(augment(x, 0.0, torch.Generator()), x)
    mean = 8 * problem.X_train[:, :64].min(axis=0)  # minus the mean of the pixel values 0 … 16
    moves, seen = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], set()
    for before, after in zip(x[:, :64].numpy(), moved[:, :64].numpy(), strict=True):
        before, after = ((8 * v - mean).reshape(8, 8) for v in (before, after))
        np.testing.assert_allclose(before, np.rint(before), atol=1e-9)  # really pixel values
        tried = {by: ndimage.shift(before, by, order=0, mode="nearest") for by in moves}
        shifted = {by for by, image in tried.items() if np.allclose(image, after)}
        assert shifted
        seen |= shifted
    assert len(seen) == 9


def test_filters_keep_the_best_inputs(linear):
    fit = METHODS["univariate"].fit(linear, replace(SMALL, n_trials=4), 0)
    best = np.argsort(-f_regression(linear.X_train, linear.y_train)[0])
    for count, first in zip(fit.strengths, fit.first_layer, strict=True):
        assert set(np.flatnonzero((first != 0).any(axis=0))) == set(best[: int(count)])
    X = np.column_stack([linear.X_train, np.ones(len(linear.X_train))])
    scores = methods.TopInputs.score(X, linear.y_train, 0)
    assert scores[-1] == 0
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("key", METHODS)
def test_every_method_learns_with_and_without_hidden_units(key):
    method, augment = METHODS[key], TASKS["digits"].augment(data.digits())
    problems = [data.digits(120, noise_features=3), data.sparse_regression(60, 8, 2)]
    for problem, hidden in zip(problems, (6, 0), strict=True):
        if hidden == 0 and method.needs:
            continue
        learning, budget = LearningData(problem, augment), replace(SMALL, hidden=hidden)
        fit = method.fit(learning, budget, 0)
        assert fit.first_layer.shape == (3, hidden or 1, problem.n_features)
        assert len(fit.strengths) == 3
        outputs = fit.outputs(learning.X_valid, [0, 1, 2])
        assert outputs.shape == (3, len(learning.X_valid), learning.n_outputs)
        assert np.isfinite(outputs).all()
        np.testing.assert_array_equal(fit.outputs(learning.X_valid, [1])[0], outputs[1])
        assert (fit.unit_effects is None) == (hidden == 0)
        assert key != "none" or (fit.first_layer[0] != fit.first_layer[1]).all()  # it starts anew


def test_unit_effects_are_the_spread_that_a_unit_adds_to_the_output():
    learning = LearningData(data.xor(50, 4))
    budget = replace(SMALL, dtype=torch.float64)
    fit = fitted(Recipe, learning, [0.0], replace(budget, steps=1, lr=1e-12))  # as good as untrained
    effects, net, X = fit.unit_effects(learning.X_train, 0), module(4, 5, 2), torch.tensor(learning.X_train)
    with torch.no_grad():
        full = net(X)
        for unit, effect in enumerate(effects):
            out = net[2].weight[:, unit].clone()
            net[2].weight[:, unit] = 0
            change = full - net(X)
            assert effect == pytest.approx(float(change.std(0, correction=0).norm()), rel=1e-6)
            net[2].weight[:, unit] = out
    assert (fit.unit_effects(np.zeros((9, 4)), 0) == 0).all()  # equal rows: nothing moves


def test_lassonet_runs_or_says_that_it_is_missing(monkeypatch):
    learning = LearningData(data.xor(60, 5))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "lassonet", None)
        with pytest.raises(ImportError, match="pip install lassonet"):
            methods.LassoNetMethod().fit(learning, SMALL, 0)
    pytest.importorskip("lassonet")
    quick = {"n_iters": (10, 3), "path_multiplier": 2, "lambda_start": 1.0}
    fit = methods.LassoNetMethod(**quick).fit(learning, SMALL, 0)
    assert fit.first_layer.shape == (3, 2 + 5, 5)
    assert not fit.first_layer[-1].any()  # its path ends without inputs
    assert fit.outputs(learning.X_valid, [0, 2]).shape == (2, len(learning.X_valid), 2)


class Rigged(methods.Method):
    """Trains fairly, but for a trick."""

    def __init__(self, trick):
        super().__init__("rigged", "rigged", "nothing")
        self.trick = trick

    def fit(self, data, budget, seed):
        return self.trick(data, METHODS["none"].fit(data, budget, seed))


def test_a_method_cannot_change_the_rows():
    problem = data.xor(60, 6)

    def spoil(data, fit):
        data.X_train[0] = 0

    def spoil_behind_the_harness(data, fit):
        problem.X_test[0] += 1
        return fit

    for trick, message in ((spoil, "read-only"), (spoil_behind_the_harness, "changed the data")):
        with pytest.raises(ValueError, match=message):
            compare([Task("t", "t", lambda seed: problem)], [Rigged(trick)], 1, SMALL)


def test_test_rows_change_nothing_but_the_test_metric():
    def flipped(seed):
        made = TASK.problem(seed)
        X, y = made.splits["test"]
        return replace(made, splits={**made.splits, "test": (X, 1 - y)})

    tasks = TASK, replace(TASK, problem=flipped)
    one, two = (compare([task], ["l2_sgd", "gates2", "univariate"], 2, SMALL).records for task in tasks)
    for a, b in zip(one, two, strict=True):
        assert a["metric"] == pytest.approx(1 - b["metric"])
        free = ("metric", "metric_small_removed", "seconds")
        assert {k: v for k, v in a.items() if k not in free} == {k: v for k, v in b.items() if k not in free}


def test_validation_chooses_among_what_has_not_diverged_and_the_harness_computes_it():
    def rigged(*factors):
        """Models that are right on the validation rows by these factors."""

        def trick(data, fit):
            def outputs(X, trials):
                known = len(X) == len(data.X_valid)
                right = np.eye(2)[data.y_valid] if known else np.zeros((len(X), 2))
                return np.stack([right * factors[t] for t in trials])

            return replace(fit, outputs=outputs)

        return compare([TASK], [Rigged(trick)], 1, SMALL).records[0]

    assert rigged(1, 9, 1)["trial"] == 1
    assert rigged(1, 9, 1)["valid_loss"] == pytest.approx(np.log1p(np.exp(-9)), rel=1e-5)
    record = rigged(np.nan, np.nan, 1)
    assert (record["trial"], record["at_edge"]) == (2, True)
    with pytest.raises(ValueError, match="diverged"):
        rigged(*[np.nan] * 3)


def test_a_seed_gives_the_same_result_again_and_in_other_company():
    keys = ["stg", "dropout", "input_noise", "augmentation", "none", "univariate"]
    task = replace(TASK, augment=lambda _: lambda x, q, g: x + q * torch.rand(len(x), 1, generator=g))

    def run(seeds):
        result = compare([task], keys, seeds[::-1], replace(SMALL, dtype=torch.float64))
        return [{k: v for k, v in r.items() if k != "seconds"} for r in result.records if r["seed"] == 4]

    together = run([1, 4])
    assert together == run([1, 4])
    for a, b in zip(together, run([4]), strict=True):
        assert a["selected"] == b["selected"]
        assert a["valid_loss"] == pytest.approx(b["valid_loss"], rel=1e-5)


def test_compare_refuses():
    for call, message in (
        (lambda: compare(["nothing"], ["none"]), "task 'nothing' is not known"),
        (lambda: compare(["xor"], ["none", "none"]), "name of its own"),
        (lambda: compare(["xor"], ["none"], [1, 1]), "seeds"),
        (lambda: Budget(hidden=-1), "hidden"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_numbers_are_those_of_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    outputs, y = rng.standard_normal((2, 30, 3)) * 3, rng.integers(0, 3, 30)
    for value, logits in zip(row_losses(outputs, y, "classification").mean(1), outputs, strict=True):
        exp = np.exp(logits - logits.max(1, keepdims=True))
        assert value == pytest.approx(log_loss(y, exp / exp.sum(1, keepdims=True)), rel=1e-6)
    huge = 1e5 * outputs  # exp of these overflows
    expected = [F.cross_entropy(torch.tensor(o), torch.tensor(y)) for o in huge]
    np.testing.assert_allclose(row_losses(huge, y, "classification").mean(1), expected)
    t, guess = rng.standard_normal((2, 30, 1))
    squared = row_losses(guess[None], t[:, 0], "regression").mean()
    assert squared == pytest.approx(((guess - t) ** 2).mean() / 2)
    assert judge._score(outputs[0], y, "classification") == accuracy_score(y, outputs[0].argmax(1))
    assert judge._score(guess, t[:, 0], "regression") == pytest.approx(r2_score(t, guess))
    first, second = rng.standard_normal((2, 7))
    found = paired_difference(first, second)
    theirs = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert found == pytest.approx(((first - second).mean(), theirs.low, theirs.high, 7))


@pytest.mark.parametrize("has_truth", [True, False])
def test_measures_by_hand(has_truth):
    weight = np.array([[3.0, 0, 0.003, 0], [4.0, 0, 0.004, 0.3]])  # norms 5, 0, 0.005, 0.3
    problem = data.xor(40, 4, n_test=50)  # truth: inputs 0 and 1
    if not has_truth:
        problem = replace(problem, support=None)
    seen = []

    def outputs(X, trials):
        seen.append(X)
        return np.eye(2)[(X[:, 0] > 0).astype(int)][None]

    fit = Fit(np.ones(1), weight[None], outputs, lambda X, trial: np.array([1.0, 1e-4, 0.5]))
    found = judge._measures(fit, 0, LearningData(problem), problem, "m")
    assert found["zeros"] == 3 / 8
    assert (found["n_selected_strict"], found["n_selected"], found["n_selected_loose"]) == (1, 2, 2)
    assert found["selected"] == [0, 3]
    assert found["dead"] == 1 / 3
    assert found["metric"] == np.mean((problem.X_test[:, 0] > 0) == problem.y_test)
    assert len(seen) == 1  # full and reduced inputs in one call
    kept = seen[0][50:].any(axis=0)
    if has_truth:
        # of the two noise inputs, 0.005 is below a tenth of 2.5, and 0.3 is not
        assert (found["noise_ratio"], found["suppressed"]) == (pytest.approx((0.305 / 2) / 2.5), 0.5)
        assert (found["precision"], found["recall"]) == (0.5, 0.5)
        assert found["auc"] == 0.5  # input 0 before both noise inputs, input 1 behind both
        assert kept.tolist() == [True, False, False, True]
    else:
        assert found["noise_ratio"] is None
        assert kept.tolist() == [True, False, False, False]  # a fifth of four inputs
        still = replace(fit, unit_effects=lambda X, trial: np.zeros(3))
        assert judge._measures(still, 0, LearningData(problem), problem, "m")["dead"] == 1


def test_questions_and_values():
    row = {"task": "t", "method": "a", "selected": [0], **dict.fromkeys(MEASURES, 0.5), "suppressed": None}
    records = [{**row, "seed": seed, "zeros": 0.0, "metric": 0.1 * seed} for seed in (2, 1)]
    result = ComparisonResult(records, {"t": "T", "a": "A"}, {"t": 4}, {})
    np.testing.assert_allclose(result.values("t", "a"), [0.1, 0.2])
    assert result.verdict("a") == {"zeros": ([], ["t"]), "inputs": ([], []), "units": (["t"], [])}
    assert result.verdict_table().loc["A"].tolist() == ["no (1)", "–", "yes (1)"]
    table = result.table("t", reference="a", columns=["exact zeros", "suppressed"])
    shown = {"test metric": "0.150 ± 0.071", "minus A": "–", "exact zeros": "0%", "suppressed": "–"}
    assert table.loc["A"].to_dict() == shown
    for refused in (("t", "d"), ("t", "a", "speed")):
        with pytest.raises(ValueError, match=r"not (compared|known)"):
            result.values(*refused)


def test_tasks_share_their_truth_between_seeds():
    for task in TASKS.values():
        one, two = (task.problem(seed) for seed in (0, 1))
        assert one.content_hash != two.content_hash
        np.testing.assert_equal(one.support, two.support)
        assert (one.support is None) == (task.key == "wide"), "only this table has no known truth"
