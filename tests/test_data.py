"""Problems: splits, scaling, spoiled labels, noise columns and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1

from l2lab import data

REAL = {
    data.digits: load_digits,
    data.breast_cancer: load_breast_cancer,
    data.diabetes: lambda: load_diabetes(scaled=False),
}
MADE = [data.sparse_regression, data.ng_classification, data.xor, data.friedman, data.legendre]


@pytest.mark.parametrize("make", [*REAL, *MADE], ids=lambda f: f.__name__)
def test_problem_is_reproducible_and_has_its_types(make):
    problem, again, other = make(), make(), make(seed=1)
    assert problem.content_hash == again.content_hash != other.content_hash
    for X, y in problem.splits.values():
        assert X.dtype == np.float64
        assert y.dtype == (np.int64 if problem.task == "classification" else np.float64)
    assert problem.splits["valid"][0] is problem.X_valid
    assert problem.splits["test"][1] is problem.y_test
    assert f"{problem.n_features} features; train {len(problem.y_train)}, valid" in repr(problem)


# Computed once and written down: a change here means that the data changed, and all stored results with them.
NOISY = {"n_train": 300, "label_noise": 0.2, "noise_features": 64, "noisy_valid": True}
HASHES = [
    (data.digits, {}, "5f02e312c102e3c6"),
    (data.digits, NOISY, "d9ffd2aeffa4324b"),
    (data.breast_cancer, {"noise_features": 30}, "3d8a378157c625b2"),
    (data.breast_cancer, {"n_train": 120, "degree": 2}, "3dffc2b8d564e8eb"),
    (data.diabetes, {"seed": 3}, "3528815adbde9dee"),
    (data.sparse_regression, {"rho": 0.7, "coefs": "uniform"}, "801dfbd9f098be65"),
    (data.sparse_regression, {"n_true": 100, "coefs": "normal"}, "b4e3af25f1de0882"),
    (data.sparse_regression, {"rho": 0.7, "truth_seed": 0, "seed": 3}, "e98724feb58e235a"),
    (data.ng_classification, {"n_irrelevant": 50}, "cc29fe4032ac6868"),
    (data.legendre, {}, "ea1ab638387b4acf"),
    (data.xor, {}, "ca2d2da5181006f4"),
    (data.friedman, {}, "7ccc8be2da2d500a"),
]


@pytest.mark.parametrize(("make", "options", "content_hash"), HASHES)
def test_hashes_are_the_same_on_every_machine(make, options, content_hash):
    assert make(**options).content_hash == content_hash


BAD = np.array([[0.0, np.nan]])


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (data.Problem, ("p", "regression", {"train": (np.ones((2, 3)), np.ones(2))}, "a"), "feature names"),
        (data.Problem, ("p", "regression", {"train": (BAD, np.ones(1))}, ("a", "b")), "NaN"),
        (data.digits, {"n_train": 5000}, "more than the 1077 training rows"),
        (data.digits, {"label_noise": 1.1}, "between 0 and 1"),
        (data.digits, {"fractions": (0.5, 0.5)}, "three positive shares with sum 1"),
        (data.breast_cancer, {"degree": 0}, "degree"),
        (data.sparse_regression, {"n_true": 101}, "cannot matter"),
        (data.sparse_regression, {"rho": 1.0}, "rho must"),
        (data.sparse_regression, {"coefs": "two"}, "coefs"),
        (data.sparse_regression, {"snr": 0}, "snr"),
        (data.xor, {"p": 1}, "p must"),
    ],
)
def test_bad_input_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(*options) if isinstance(options, tuple) else make(**options)


@pytest.mark.parametrize("make", REAL, ids=lambda f: f.__name__)
def test_splits_are_a_stratified_partition_of_the_source(make):
    problem, bunch = make(), REAL[make]()
    X, y = (np.concatenate(parts) for parts in zip(*problem.splits.values(), strict=True))

    def ordered(X, y):
        """Rows in an order, without the scaling, which is affine and increasing per column."""
        rows = np.column_stack([X, y]).astype(float)
        rows = (rows - rows.min(axis=0)) / np.maximum(np.ptp(rows, axis=0), 1e-9)
        return rows[np.lexsort(np.round(rows, 8).T)]

    np.testing.assert_allclose(ordered(X, y), ordered(bunch.data, bunch.target), atol=1e-9)
    sizes = np.array([len(y) for _, y in problem.splits.values()])
    np.testing.assert_allclose(sizes / sizes.sum(), [0.6, 0.2, 0.2], atol=0.003)
    if problem.n_classes:
        shares = [np.bincount(y, minlength=problem.n_classes) / len(y) for _, y in problem.splits.values()]
        np.testing.assert_allclose(shares[1:], [shares[0]] * 2, atol=0.01)


def test_statistics_come_from_training_rows_only():
    for problem in (data.breast_cancer(), data.diabetes(), data.breast_cancer(100)):
        np.testing.assert_allclose(problem.X_train.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(problem.X_train.std(axis=0), 1, rtol=1e-12)
        assert np.abs(problem.X_test.mean(axis=0)).max() > 1e-3
    y, digits = data.diabetes().y_train, data.digits().X_train
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-12)
    assert np.ptp(digits, axis=0).max() == pytest.approx(2)  # pixels 0 … 16, divided by 8


def test_n_train_gives_nested_stratified_sets_and_leaves_validation_and_test():
    full, large, small = data.digits(), data.digits(300), data.digits(100)
    np.testing.assert_array_equal(large.y_valid, full.y_valid)
    # centring differs between sizes, differences of pixels do not
    for one, other in ((small.X_train, large.X_train[:100]), (large.X_test, full.X_test)):
        np.testing.assert_allclose(np.diff(one, axis=0), np.diff(other, axis=0), atol=1e-12)
    for problem, n in ((small, 100), (large, 300)):
        counts = np.bincount(problem.y_train, minlength=10)
        assert counts.sum() == n
        assert np.ptp(counts) <= 2


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 300), st.floats(0, 1), st.integers(0, 2**31))
def test_exactly_the_asked_share_of_labels_is_wrong(n_classes, n, fraction, seed):
    y = np.random.default_rng(1).integers(0, n_classes, n)
    noisy = data.flip_labels(y, fraction, n_classes, seed)
    assert (noisy != y).sum() == round(fraction * n)
    assert 0 <= noisy.min() <= noisy.max() < n_classes


@pytest.mark.parametrize(("noisy_valid", "spoiled"), [(False, ["train"]), (True, ["train", "valid"])])
def test_label_noise_spoils_training_and_validation_labels_alone(noisy_valid, spoiled):
    clean = data.digits()
    noisy = data.digits(label_noise=0.2, noise_features=7, noisy_valid=noisy_valid)
    assert list(noisy.clean_labels) == spoiled
    np.testing.assert_array_equal(noisy.X_train[:, :64], clean.X_train)
    for key, (_, y) in noisy.splits.items():
        right = clean.splits[key][1]
        assert (y != right).sum() == (round(0.2 * len(y)) if key in spoiled else 0)
        np.testing.assert_array_equal(noisy.clean_labels.get(key, right), right)


def test_noise_columns_are_permuted_copies_the_same_in_every_split_and_know_nothing():
    problem = data.breast_cancer(noise_features=30)
    pairs = []
    for X, _ in problem.splits.values():
        real, noise = np.sort(X[:, :30], axis=0).T, np.sort(X[:, 30:], axis=0).T
        pairs.append([np.flatnonzero((real == column).all(axis=1)).item() for column in noise])
    assert pairs[0] == pairs[1] == pairs[2]
    assert sorted(pairs[0]) == list(range(30))  # each real column is copied exactly once
    np.testing.assert_array_equal(problem.support, np.arange(60) < 30)
    assert problem.feature_names[30:32] == ("noise 0", "noise 1")
    correlation = np.abs(np.corrcoef(problem.X_train.T, problem.y_train)[-1, :-1])
    assert correlation[:30].max() > 0.7
    assert correlation[30:].max() < 4 / np.sqrt(len(problem.y_train))


@pytest.mark.parametrize(("n_true", "rho", "snr"), [(3, 0.0, 2.0), (8, 0.6, 5.0), (1, -0.3, 0.5)])
def test_regression_has_the_asked_correlation_and_snr(n_true, rho, snr):
    problem = data.sparse_regression(30, 8, n_true, rho, snr, n_test=200_000)
    i, j = np.indices((8, 8))
    np.testing.assert_allclose(np.cov(problem.X_test.T), rho ** np.abs(i - j), atol=0.015)
    residual = problem.y_test - problem.X_test @ problem.coef
    assert residual.std() == pytest.approx(problem.noise["sigma"], rel=0.01)
    assert (problem.X_test @ problem.coef).var() / residual.var() == pytest.approx(snr, rel=0.03)
    # least squares finds the coefficients: they belong to these columns in this order
    found = np.linalg.lstsq(problem.X_test, problem.y_test, rcond=None)[0]
    np.testing.assert_allclose(found, problem.coef, atol=0.05)


def test_truth_seed_keeps_the_truth_and_draws_new_rows():
    one, two = (data.sparse_regression(20, 30, 5, seed=s, truth_seed=0) for s in (0, 1))
    np.testing.assert_array_equal(one.coef, two.coef)
    assert not np.isin(one.X_train, two.X_train).any()


def test_xor_needs_both_inputs_and_has_one_wrong_label_in_twenty():
    problem = data.xor(20, 4, n_test=200_000)
    X, y = problem.splits["test"]
    assert np.mean((X[:, 0] * X[:, 1] > 0) != y) == pytest.approx(0.05, abs=0.003)
    assert np.abs(np.corrcoef(X.T, y)[-1, :-1]).max() < 0.01  # one input alone says nothing
    assert problem.support.tolist() == [True, True, False, False]


def test_friedman_is_scikit_learns_function():
    problem = data.friedman(30, 7, n_test=20_000)
    u = problem.X_test / np.sqrt(12) + 0.5
    signal = 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2 + 10 * u[:, 3] + 5 * u[:, 4]
    slope, intercept = np.polyfit(signal, problem.y_test, 1)
    y = (problem.y_test - intercept) / slope  # in Friedman's unit
    theirs = make_friedman1(20_000, 7, noise=1.0, random_state=0)[1]  # the same law: equal mean and spread
    assert y.mean() == pytest.approx(theirs.mean(), abs=0.3)
    assert [(y - signal).std(), y.std()] == pytest.approx([1, theirs.std()], rel=0.03)
    assert 0 <= u.min() < u.max() <= 1
    np.testing.assert_allclose([problem.y_train.mean(), problem.y_train.std()], [0, 1], atol=1e-12)
    assert problem.support.tolist() == [True] * 5 + [False] * 2


def test_ng_labels_follow_the_logistic_of_the_relevant_input():
    problem = data.ng_classification(100, 5, n_test=200_000)
    x, y = problem.X_test[:, 0], problem.y_test
    for low in np.arange(-0.4, 0.4, 0.1):
        rows = (x > low) & (x < low + 0.02)
        expected = 1 / (1 + np.exp(-10 * (low + 0.01)))
        assert y[rows].mean() == pytest.approx(expected, abs=4.5 * np.sqrt(0.25 / rows.sum()))
    np.testing.assert_array_equal(problem.coef, 10.0 * problem.support)
    assert np.abs(np.corrcoef(problem.X_test.T, y)[-1, 1:-1]).max() < 0.01
    # the true rule errs as often as it is said to: 4 standard errors
    assert np.mean((x > 0) != y) == pytest.approx(problem.noise["bayes_error"], abs=0.002)
    assert [len(y) for _, y in problem.splits.values()] == [70, 30, 200_000]
    wider = data.ng_classification(100, 60)  # runs can be compared pairwise
    np.testing.assert_array_equal(wider.X_train[:, :6], problem.X_train)
    np.testing.assert_array_equal(wider.y_valid, problem.y_valid)


def test_legendre_columns_and_targets():
    problem = data.legendre(n=20_000, noise=0.3)
    X, y = problem.splits["train"]
    np.testing.assert_allclose(X[:, 2], (3 * X[:, 1] ** 2 - 1) / 2)
    np.testing.assert_allclose(np.mean(X**2, axis=0), 1 / (2 * np.arange(16) + 1), rtol=0.1)
    assert (y - np.sin(3 * X[:, 1])).std() == pytest.approx(0.3, rel=0.02)
    np.testing.assert_array_equal(problem.y_test, np.sin(3 * problem.X_test[:, 1]))
    low = data.legendre(n=20_000, noise=0.3, degree=3)
    np.testing.assert_array_equal(low.X_train, X[:, :4])
    np.testing.assert_array_equal(low.y_train, y)
