"""Problems: splits, scaling, spoiled labels, noise columns and known truths."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from l2lab import data

REAL = [data.digits, data.breast_cancer, data.diabetes]
MADE = [data.sparse_regression, data.ng_classification, data.xor, data.friedman, data.legendre]


# ---------------------------------------------------------------- every problem


@pytest.mark.parametrize("make", REAL + MADE, ids=lambda f: f.__name__)
def test_problem_is_complete_and_reproducible(make):
    problem, again, other = make(), make(), make(seed=1)
    assert problem.content_hash == again.content_hash != other.content_hash
    for X, y in problem.splits.values():
        assert X.dtype == np.float64
        assert y.dtype == (np.int64 if problem.task == "classification" else np.float64)
    assert problem.splits["valid"][0] is problem.X_valid
    assert problem.splits["test"][1] is problem.y_test
    assert problem.source


# Computed once and written down: a change here means that the data changed, and with them every stored
# result.
HASHES = [
    (data.digits, {}, "5f02e312c102e3c6"),
    (
        data.digits,
        {"n_train": 300, "label_noise": 0.2, "noise_features": 64, "noisy_valid": True},
        "d9ffd2aeffa4324b",
    ),
    (data.breast_cancer, {"noise_features": 20, "noise_kind": "gaussian"}, "4c118042833c5218"),
    (data.diabetes, {"n_train": 100, "seed": 3}, "11e1474cb0741fe6"),
    (data.sparse_regression, {"rho": 0.7, "coefs": "uniform"}, "801dfbd9f098be65"),
    (data.sparse_regression, {"n_true": 100, "rho": 0.5, "kind": "equi"}, "8d1d91a92df50622"),
    (data.ng_classification, {"n_irrelevant": 50}, "cc29fe4032ac6868"),
    (data.legendre, {"orthonormal": True}, "6d6232a8ea6ba000"),
    (data.sparse_regression, {"rho": 0.7, "truth_seed": 0, "seed": 3}, "e98724feb58e235a"),
    (data.xor, {}, "ca2d2da5181006f4"),
    (data.friedman, {}, "7ccc8be2da2d500a"),
]


@pytest.mark.parametrize(
    ("make", "options", "content_hash"), HASHES, ids=lambda v: getattr(v, "__name__", None)
)
def test_hashes_are_the_same_on_every_machine(make, options, content_hash):
    assert make(**options).content_hash == content_hash


def test_hash_ignores_last_bits_and_sees_everything_else():
    problem = data.sparse_regression(20, 5, 2)
    X, y = problem.splits["train"]

    def hash_with(X, y):
        return replace(problem, splits={**problem.splits, "train": (X, y)}).content_hash

    assert hash_with(X * (1 + 1e-15), y) == problem.content_hash
    assert hash_with(X, y + 1e-15) == problem.content_hash
    table = data.digits(400)  # multiples of 1/3200: half of them are ties of ordinary rounding to 1e-6
    nudged = {key: (np.nextafter(X, np.inf), y) for key, (X, y) in table.splits.items()}
    assert replace(table, splits=nudged).content_hash == table.content_hash
    moved = X.copy()
    moved[3, 2] += 1e-5
    assert hash_with(moved, y) != problem.content_hash
    assert hash_with(X[::-1], y[::-1]) != problem.content_hash  # the order of rows decides the minibatches
    swapped = {**problem.splits, "valid": problem.splits["test"], "test": problem.splits["valid"]}
    assert replace(problem, splits=swapped).content_hash != problem.content_hash
    zero = np.zeros_like(X)
    assert hash_with(zero, y) == hash_with(-zero, y)  # −0.0 is 0


def test_repr_is_short_and_tells_sizes_and_hash():
    problem = data.digits(300)
    text = repr(problem)
    assert len(text) < 120
    for part in ("digits", "10 classes", "64 features", "train 300", "valid 360", "test 360"):
        assert part in text
    assert problem.content_hash in text


def test_problem_is_frozen():
    with pytest.raises(FrozenInstanceError):
        data.legendre().name = "other"


BAD_PROBLEMS = [
    ({"task": "clustering"}, "classification' or 'regression"),
    ({"n_classes": 3}, "n_classes"),
    ({"splits": {}}, "keys"),
    ({"feature_names": ("a",)}, "feature names"),
    ({"support": np.ones(3, bool)}, "support must have shape"),
    ({"coef": np.ones((5, 1))}, "coef must have shape"),
]


@pytest.mark.parametrize(("change", "message"), BAD_PROBLEMS, ids=lambda v: str(v)[:20])
def test_problem_refuses_what_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        replace(data.sparse_regression(20, 5, 2), **change)


def test_problem_refuses_nan_and_unknown_labels():
    problem = data.ng_classification(30, 2)
    X, y = problem.splits["valid"]
    for bad, message in (
        ((X[:0], y[:0]), "empty"),
        ((np.where(X > 1, np.nan, X), y), "NaN"),
        ((X, y + 1), "0 to 1"),
        ((X, y * 1.0), "integers"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(problem, splits={**problem.splits, "valid": bad})


# ---------------------------------------------------------------- real tables


def raw(make):
    loader = {data.digits: load_digits, data.breast_cancer: load_breast_cancer}.get(make)
    return loader() if loader else load_diabetes(scaled=False)


@pytest.mark.parametrize("make", REAL, ids=lambda f: f.__name__)
def test_splits_are_a_partition_of_the_source(make):
    problem, bunch = make(), raw(make)
    if make is data.digits:
        undo = np.array([8.0, 0.0])  # back to pixels, up to the mean
    X = np.concatenate([problem.splits[k][0] for k in problem.splits])
    y = np.concatenate([problem.splits[k][1] for k in problem.splits])
    assert X.shape == bunch.data.shape
    # Undo the scaling with the training statistics of the source rows: recover every row exactly once.
    wanted = bunch.data
    if make is data.digits:
        back = X * undo[0]
        back = np.rint(back - back.min(axis=0) + wanted.min(axis=0))
    else:
        # affine and increasing per column: ranks and relative distances decide the rows
        low, high = wanted.min(axis=0), wanted.max(axis=0)
        back = (X - X.min(axis=0)) / np.ptp(X, axis=0) * (high - low) + low
    target = y if problem.task == "classification" else problem.y_mean + problem.y_scale * y
    got = np.column_stack([back, target])
    expected = np.column_stack([wanted, bunch.target]).astype(float)

    def order(rows):
        return rows[np.lexsort(np.round(rows, 6).T)]

    np.testing.assert_allclose(order(got), order(expected), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("make", REAL, ids=lambda f: f.__name__)
def test_sizes_are_60_20_20_and_stratified(make):
    problem = make()
    sizes = np.array([len(problem.splits[k][1]) for k in ("train", "valid", "test")])
    np.testing.assert_allclose(sizes / sizes.sum(), [0.6, 0.2, 0.2], atol=0.003)
    if problem.n_classes:
        shares = [np.bincount(y, minlength=problem.n_classes) / len(y) for _, y in problem.splits.values()]
        np.testing.assert_allclose(shares[1:], [shares[0]] * 2, atol=0.01)


def test_statistics_come_from_training_rows_only():
    for problem in (data.breast_cancer(), data.diabetes(), data.breast_cancer(100)):
        np.testing.assert_allclose(problem.X_train.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(problem.X_train.std(axis=0), 1, rtol=1e-12)
        assert np.abs(problem.X_test.mean(axis=0)).max() > 1e-3
        assert np.abs(problem.X_valid.std(axis=0) - 1).max() > 1e-3
    assert abs(data.diabetes().y_train.mean()) < 1e-12
    assert abs(data.diabetes().y_train.std() - 1) < 1e-12


def test_digit_scales():
    centred, standard = data.digits(), data.digits(scale="standard")
    np.testing.assert_allclose(centred.X_train.mean(axis=0), 0, atol=1e-12)
    assert np.ptp(centred.X_train, axis=0).max() == pytest.approx(2)  # pixels 0 … 16, divided by 8
    spread = standard.X_train.std(axis=0)
    assert np.all(np.isclose(spread, 1) | (spread == 0))  # some pixels are always white
    assert np.abs(standard.X_train).max() > 10 > np.abs(centred.X_train).max()


def test_n_train_gives_nested_stratified_sets_and_leaves_validation_and_test():
    full, large, small = data.digits(), data.digits(300), data.digits(100)
    assert len(large.y_train) == 300
    for key in ("valid", "test"):
        np.testing.assert_array_equal(large.splits[key][1], full.splits[key][1])
    # centring differs between sizes, differences of pixels do not
    np.testing.assert_allclose(
        np.diff(small.X_train, axis=0), np.diff(large.X_train, axis=0)[:99], atol=1e-12
    )
    np.testing.assert_allclose(np.diff(large.X_test, axis=0), np.diff(full.X_test, axis=0), atol=1e-12)
    for problem in (small, large):
        counts = np.bincount(problem.y_train, minlength=10)
        assert np.ptp(counts) <= 2
    assert np.bincount(data.digits(10).y_train, minlength=10).min() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 0}, "n_train"),
        ({"n_train": 2.5}, "whole number"),
        ({"n_train": True}, "whole number"),
        ({"n_train": 5000}, "more than the 1077 training rows"),
        ({"label_noise": -0.1}, "between 0 and 1"),
        ({"label_noise": 1.1}, "between 0 and 1"),
        ({"noise_features": -1}, "noise_features"),
        ({"noise_features": 3, "noise_kind": "pink"}, "'shuffled' or 'gaussian'"),
        ({"scale": "minmax"}, "'centred' or 'standard'"),
        ({"fractions": (0.5, 0.5)}, "three positive shares"),
        ({"fractions": (0.7, 0.2, 0.2)}, "sum 1"),
        ({"fractions": (1.2, -0.4, 0.2)}, "positive"),
    ],
    ids=str,
)
def test_bad_options_of_a_table(options, message):
    with pytest.raises(ValueError, match=message):
        data.digits(**options)


# ---------------------------------------------------------------- wrong labels


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 300), st.floats(0, 1), st.integers(0, 2**31))
def test_exactly_the_asked_share_of_labels_is_wrong(n_classes, n, fraction, seed):
    y = np.random.default_rng(1).integers(0, n_classes, n)
    before = y.copy()
    noisy, flipped = data.flip_labels(y, fraction, n_classes, seed)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(flipped, noisy != y)
    assert flipped.sum() == round(fraction * n)
    assert noisy.min() >= 0
    assert noisy.max() < n_classes


def test_wrong_labels_are_spread_evenly_over_the_other_classes():
    noisy, _ = data.flip_labels(np.full(9000, 3), 1.0, 10, seed=0)
    counts = np.bincount(noisy, minlength=10)
    assert counts[3] == 0
    others = np.delete(counts, 3)
    assert ((others - 1000) ** 2 / 1000).sum() < 26.1  # χ² with 8 degrees of freedom, p = .001


@pytest.mark.parametrize(
    ("y", "fraction", "n_classes", "message"),
    [
        ([0, 1], np.nan, 2, "between 0 and 1"),
        ([0, 0], 0.5, 1, "at least 2 classes"),
        ([0, 2], 0.5, 2, "integers from 0 to 1"),
        ([0.0, 1.0], 0.5, 2, "integers"),
        ([[0, 1]], 0.5, 2, "1-D"),
    ],
)
def test_flip_labels_refuses(y, fraction, n_classes, message):
    with pytest.raises(ValueError, match=message):
        data.flip_labels(np.array(y), fraction, n_classes)


def test_label_noise_of_a_problem():
    clean, noisy, honest = (
        data.digits(),
        data.digits(label_noise=0.2),
        data.digits(label_noise=0.2, noisy_valid=True),
    )
    assert not clean.flipped.any()
    np.testing.assert_array_equal(clean.clean_train_labels, clean.y_train)
    assert noisy.flipped.sum() == round(0.2 * len(noisy.y_train))
    np.testing.assert_array_equal(noisy.clean_train_labels, clean.y_train)
    np.testing.assert_array_equal(noisy.X_train, clean.X_train)
    np.testing.assert_array_equal(noisy.y_valid, clean.y_valid)
    np.testing.assert_array_equal(honest.y_train, noisy.y_train)
    assert (honest.y_valid != clean.y_valid).sum() == round(0.2 * len(clean.y_valid))
    np.testing.assert_array_equal(honest.clean_labels["valid"], clean.y_valid)
    for problem in (noisy, honest):
        np.testing.assert_array_equal(problem.y_test, clean.y_test)
    assert honest.noise["label_noise"] == 0.2


def test_label_noise_and_noise_features_do_not_disturb_each_other():
    both, labels = data.digits(label_noise=0.2, noise_features=7), data.digits(label_noise=0.2)
    np.testing.assert_array_equal(both.y_train, labels.y_train)
    np.testing.assert_array_equal(both.X_train[:, :64], labels.X_train)
    np.testing.assert_array_equal(both.clean_train_labels, labels.clean_train_labels)


# ---------------------------------------------------------------- noise columns


def test_shuffled_columns_are_permuted_copies_and_know_nothing():
    problem = data.breast_cancer(noise_features=30)
    for X, _ in problem.splits.values():
        real, noise = np.sort(X[:, :30], axis=0).T, np.sort(X[:, 30:], axis=0).T
        # each real column is copied exactly once, up to the order of its rows
        np.testing.assert_array_equal(real[np.lexsort(real.T)], noise[np.lexsort(noise.T)])
    np.testing.assert_array_equal(problem.support, np.arange(60) < 30)
    assert problem.feature_names[30:32] == ("noise 0", "noise 1")

    def correlation(columns):
        return np.abs(np.corrcoef(columns.T, problem.y_train)[-1, :-1])

    assert correlation(problem.X_train[:, :30]).max() > 0.7
    assert correlation(problem.X_train[:, 30:]).max() < 4 / np.sqrt(len(problem.y_train))


def test_every_split_copies_the_same_column_into_the_same_place():
    problem = data.digits(noise_features=64)
    for j in range(64, 128):
        source = [np.all(np.sort(problem.X_train[:, i]) == np.sort(problem.X_train[:, j])) for i in range(64)]
        match = [np.all(np.sort(problem.X_test[:, i]) == np.sort(problem.X_test[:, j])) for i in range(64)]
        assert (np.array(source) & np.array(match)).any()


def test_gaussian_columns_have_the_scale_of_the_real_ones():
    problem = data.digits(noise_features=50, noise_kind="gaussian")
    real, noise = problem.X_train[:, :64], problem.X_train[:, 64:]
    assert noise.std() == pytest.approx(np.sqrt(real.var(axis=0).mean()), rel=0.02)
    assert np.abs(np.corrcoef(noise.T) - np.eye(50)).max() < 0.17


@pytest.mark.parametrize("kind", ["shuffled", "gaussian"])
def test_more_noise_keeps_the_first_columns(kind):
    few, many = (data.diabetes(noise_features=k, noise_kind=kind) for k in (3, 25))
    np.testing.assert_array_equal(few.X_train, many.X_train[:, :13])
    assert np.unique(many.X_train, axis=1).shape == many.X_train.shape  # also when columns are copied again


def test_noise_features_of_an_array_and_of_a_problem_with_truth():
    X = np.arange(12.0).reshape(6, 2)
    wide = data.add_noise_features(X, 3, seed=5)
    assert wide.shape == (6, 5)
    np.testing.assert_array_equal(wide[:, :2], X)
    assert data.add_noise_features(X, 0).shape == (6, 2)
    problem = data.sparse_regression(50, 6, 2)
    twice = data.add_noise_features(data.add_noise_features(problem, 2, kind="gaussian"), 2, kind="gaussian")
    assert twice.support.sum() == 2
    np.testing.assert_array_equal(twice.coef, np.append(problem.coef, np.zeros(4)))
    assert twice.noise["noise_features"] == 4
    assert len(set(twice.feature_names)) == 10
    assert np.abs(np.corrcoef(twice.X_train.T) - np.eye(10)).max() < 0.6  # the second two are new ones
    with pytest.raises(TypeError, match="two-dimensional"):
        data.add_noise_features(np.arange(3.0), 1)


# ---------------------------------------------------------------- known truth


@pytest.mark.parametrize(("kind", "rho"), [("iid", 0.0), ("ar", 0.7), ("ar", -0.5), ("equi", 0.8)])
def test_inputs_have_the_asked_correlation(kind, rho):
    p = 8
    X = data.sparse_regression(10, p, 3, rho, kind=kind, n_test=200_000).X_test
    i, j = np.indices((p, p))
    wanted = {"iid": np.eye(p), "ar": rho ** np.abs(i - j), "equi": np.where(i == j, 1.0, rho)}[kind]
    np.testing.assert_allclose(np.cov(X.T), wanted, atol=0.015)


@pytest.mark.parametrize(("n_true", "rho", "snr"), [(3, 0.0, 2.0), (8, 0.6, 5.0), (1, -0.3, 0.5)])
def test_truth_predicts_with_the_asked_snr(n_true, rho, snr):
    problem = data.sparse_regression(30, 8, n_true, rho, snr, n_test=200_000)
    residual = problem.y_test - problem.X_test @ problem.coef
    assert residual.std() == pytest.approx(problem.noise["sigma"], rel=0.01)
    assert (problem.X_test @ problem.coef).var() / residual.var() == pytest.approx(snr, rel=0.03)
    # least squares finds the coefficients: they belong to these columns in this order
    found = np.linalg.lstsq(problem.X_test, problem.y_test, rcond=None)[0]
    np.testing.assert_allclose(found, problem.coef, atol=0.05)


def test_coefficients_and_support():
    unit, uniform = data.sparse_regression(n_true=40), data.sparse_regression(n_true=40, coefs="uniform")
    normal, dense = data.sparse_regression(n_true=40, coefs="normal"), data.sparse_regression(n_true=100)
    for problem in (unit, uniform, normal, dense):
        np.testing.assert_array_equal(problem.support, problem.coef != 0)
    assert set(np.unique(unit.coef)) == {-1.0, 0.0, 1.0}
    sizes = np.abs(uniform.coef[uniform.support])
    assert sizes.min() >= 0.3
    assert sizes.max() <= 1.5
    assert set(np.sign(uniform.coef)) == {-1, 0, 1}
    assert np.abs(normal.coef).max() > 1.5
    assert dense.support.all()
    assert not data.sparse_regression(n_true=0).coef.any()
    assert [len(unit.splits[k][1]) for k in unit.splits] == [200, 66, 2000]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_true": 101}, "cannot matter"),
        ({"n_true": -1}, "n_true"),
        ({"n": 0}, "n must"),
        ({"p": 0}, "p must"),
        ({"rho": 1.0}, "strictly between"),
        ({"rho": -1.5}, "strictly between"),
        ({"rho": np.nan}, "strictly between"),
        ({"rho": 0.5, "kind": "iid"}, "no correlation"),
        ({"rho": -0.5, "kind": "equi"}, "negatively"),
        ({"kind": "block"}, "'iid', 'ar' or 'equi'"),
        ({"coefs": "two"}, "'unit', 'uniform' or 'normal'"),
        ({"snr": 0}, "snr"),
        ({"n_test": 0}, "n_test"),
        ({"n_valid": -3}, "n_valid"),
    ],
    ids=str,
)
def test_bad_options_of_a_regression(options, message):
    with pytest.raises(ValueError, match=message):
        data.sparse_regression(**options)


def test_truth_seed_keeps_the_truth_and_draws_new_rows():
    one, two = (data.sparse_regression(20, 30, 5, seed=s, truth_seed=0, coefs="normal") for s in (0, 1))
    np.testing.assert_array_equal(one.coef, two.coef)
    assert not np.isin(one.X_train, two.X_train).any()
    other = data.sparse_regression(20, 30, 5, seed=0, truth_seed=1, coefs="normal")
    assert (one.coef != other.coef).any()


def test_xor_needs_both_inputs_and_has_the_asked_flips():
    problem = data.xor(20, 4, flips=0.1, n_test=200_000)
    X, y = problem.splits["test"]
    assert np.mean((X[:, 0] * X[:, 1] > 0) != y) == pytest.approx(0.1, abs=0.003)
    signs = X > 0
    for j in range(4):  # one input alone says nothing
        assert abs(np.corrcoef(X[:, j], y)[0, 1]) < 0.01
        assert y[signs[:, j]].mean() == pytest.approx(0.5, abs=0.01)
    assert problem.support.tolist() == [True, True, False, False]
    assert [len(problem.splits[k][1]) for k in problem.splits] == [20, 5, 200_000]


def test_friedman_is_scikit_learns_function():
    from sklearn.datasets import make_friedman1

    problem = data.friedman(30, 7, sigma=0.0, n_test=500)
    u = problem.X_test / np.sqrt(12) + 0.5
    y = problem.y_mean + problem.y_scale * problem.y_test
    expected = 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2 + 10 * u[:, 3] + 5 * u[:, 4]
    np.testing.assert_allclose(y, expected)
    theirs = make_friedman1(500, 7, random_state=0)[1]  # the same law: equal mean and spread
    assert y.mean() == pytest.approx(theirs.mean(), abs=1)
    assert y.std() == pytest.approx(theirs.std(), rel=0.15)
    assert u.min() >= 0
    assert u.max() <= 1
    assert problem.X_test.std() == pytest.approx(1, rel=0.02)
    assert problem.support.tolist() == [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (data.xor, {"p": 1}, "p must"),
        (data.xor, {"n": 0}, "n must"),
        (data.xor, {"flips": 0.5}, "flips"),
        (data.xor, {"n_test": 0}, "n_test"),
        (data.friedman, {"p": 4}, "p must"),
        (data.friedman, {"n": 1}, "n must"),
        (data.friedman, {"sigma": -1}, "sigma"),
        (data.friedman, {"sigma": np.nan}, "sigma"),
        (data.friedman, {"n_valid": 0}, "n_valid"),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_bad_options_of_xor_and_friedman(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_ng_labels_follow_the_logistic_of_the_relevant_input():
    problem = data.ng_classification(100, 5, n_test=200_000)
    x, y = problem.X_test[:, 0], problem.y_test
    for low in np.arange(-0.4, 0.4, 0.1):
        rows = (x > low) & (x < low + 0.02)
        expected = 1 / (1 + np.exp(-10 * (low + 0.01)))
        assert y[rows].mean() == pytest.approx(expected, abs=4.5 * np.sqrt(0.25 / rows.sum()))
    np.testing.assert_array_equal(problem.coef, [10, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(problem.support, [True] + [False] * 5)
    assert np.abs(np.corrcoef(problem.X_test.T, y)[-1, 1:-1]).max() < 0.01
    # the true rule errs as often as it is said to: 4 standard errors
    assert np.mean((x > 0) != y) == pytest.approx(problem.noise["bayes_error"], abs=0.002)


def test_ng_with_several_relevant_inputs_is_as_hard():
    problem = data.ng_classification(100, 2, n_relevant=3, n_test=100_000)
    assert np.linalg.norm(problem.coef) == pytest.approx(10)
    wrong = np.mean((problem.X_test @ problem.coef > 0) != problem.y_test)
    assert wrong == pytest.approx(problem.noise["bayes_error"], abs=0.003)


def test_ng_pairs_runs_and_holds_out_a_part():
    few, many = data.ng_classification(100, 3, seed=4), data.ng_classification(100, 60, seed=4)
    assert [len(few.splits[k][1]) for k in few.splits] == [70, 30, 2000]
    for key in few.splits:
        np.testing.assert_array_equal(few.splits[key][0], many.splits[key][0][:, :4])
        np.testing.assert_array_equal(few.splits[key][1], many.splits[key][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 1}, "n_samples"),
        ({"n_irrelevant": -1}, "n_irrelevant"),
        ({"n_relevant": 0}, "n_relevant"),
        ({"strength": 0}, "strength"),
        ({"valid_fraction": 1.0}, "valid_fraction"),
        ({"n_test": 0}, "n_test"),
    ],
    ids=str,
)
def test_bad_options_of_ng(options, message):
    with pytest.raises(ValueError, match=message):
        data.ng_classification(**options)


def test_legendre_columns():
    # Gauss–Legendre quadrature integrates these products exactly.
    x, weight = np.polynomial.legendre.leggauss(20)
    k = np.arange(16)
    for orthonormal, diagonal in ((False, 1 / (2 * k + 1)), (True, np.ones(16))):
        F = data.legendre_features(x, 15, orthonormal=orthonormal)
        np.testing.assert_allclose(F.T @ (F * weight[:, None] / 2), np.diag(diagonal), atol=1e-13)
    np.testing.assert_allclose(data.legendre_features(np.ones(1), 15), 1)
    problem = data.legendre()
    x = problem.X_train[:, 1]
    np.testing.assert_allclose(problem.X_train, data.legendre_features(x, 15))
    np.testing.assert_allclose(problem.X_train[:, 2], (3 * x**2 - 1) / 2)
    assert problem.feature_names == tuple(f"P{k}" for k in range(16))


def test_legendre_targets():
    problem = data.legendre(n=20_000, noise=0.3)
    error = problem.y_train - np.sin(3 * problem.X_train[:, 1])
    assert error.std() == pytest.approx(0.3, rel=0.02)
    np.testing.assert_array_equal(problem.y_test, data.legendre_truth(problem.X_test[:, 1]))
    assert problem.X_test[[0, -1], 1].tolist() == [-1, 1]
    low, high = data.legendre(degree=3), data.legendre(degree=15)
    np.testing.assert_array_equal(low.X_train, high.X_train[:, :4])
    np.testing.assert_array_equal(low.y_valid, high.y_valid)


def test_legendre_shows_the_u_curve():
    """The overfitting picture of the book: a wide U, best near λ = .02, over 50 data sets."""
    from l2lab.measures import ridge_path

    lams = np.logspace(-10, 2, 40)
    errors = []
    for seed in range(50):
        problem = data.legendre(seed=seed)
        W = ridge_path(problem.X_train, problem.y_train, lams)
        errors.append(((problem.X_test @ W.T - problem.y_test[:, None]) ** 2).mean(axis=0))
    median = np.median(errors, axis=0)
    assert 0.015 < median.min() < 0.045
    assert 1e-3 < lams[median.argmin()] < 0.3
    assert median[0] > 100
    assert median[-1] > 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must"),
        ({"degree": -1}, "degree"),
        ({"noise": -0.1}, "negative"),
        ({"noise": np.nan}, "negative"),
        ({"n_test": 1}, "n_test"),
    ],
    ids=str,
)
def test_bad_options_of_legendre(options, message):
    with pytest.raises(ValueError, match=message):
        data.legendre(**options)


@pytest.mark.parametrize("x", [[1.5], [np.nan], [[0.5]]], ids=str)
def test_legendre_features_refuses_points_outside(x):
    with pytest.raises(ValueError, match="between -1 and 1"):
        data.legendre_features(np.array(x), 3)


def test_products_of_a_table():
    plain = data.breast_cancer(120, seed=3)
    wide = data.breast_cancer(120, seed=3, degree=2)
    assert wide.X_train.shape == (120, 495)  # 30 + 30 · 31 / 2
    assert len(set(wide.feature_names)) == 495
    np.testing.assert_allclose(wide.X_train.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(wide.X_train.std(0), 1, atol=1e-4)
    # The first columns are the measurements, a product is named by its factors, and the rows are the same.
    assert wide.feature_names[:30] == plain.feature_names
    np.testing.assert_allclose(wide.X_test[:, :30], plain.X_test, atol=1e-5)
    np.testing.assert_array_equal(wide.y_test, plain.y_test)
    first, second = plain.feature_names[0], plain.feature_names[4]
    column = wide.X_test[:, wide.feature_names.index(f"{first} · {second}")]
    product = (plain.X_test[:, 0] * plain.X_test[:, 4]).astype(np.float64)
    assert np.corrcoef(column, product)[0, 1] == pytest.approx(1, abs=1e-6)
    assert f"{first} · {first}" in wide.feature_names


def test_degree_1_changes_nothing_and_0_is_an_error():
    plain, same = data.breast_cancer(seed=1), data.breast_cancer(seed=1, degree=1)
    np.testing.assert_array_equal(plain.X_train, same.X_train)
    assert plain.feature_names == same.feature_names
    with pytest.raises(ValueError, match="degree"):
        data.breast_cancer(degree=0)
