"""Measures against scikit-learn, closed forms and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import Ridge
from sklearn.metrics import precision_recall_fscore_support

from l2lab.measures import (
    calibration,
    effective_rank,
    exact_zeros,
    ridge_path,
    stability,
    support_scores,
    weight_histogram,
)

LAMS = np.array([0.0, 1e-4, 0.01, 0.3, 5.0])


def table(n, p, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)) @ rng.standard_normal((p, p)), rng.standard_normal(n)


def test_exact_zeros_have_no_tolerance():
    w = np.array([[0.0, -0.0, 1e-300, 5e-324], [1, 2, 3, 0]])
    assert exact_zeros(w) == 3
    assert isinstance(exact_zeros(w), int)
    np.testing.assert_array_equal(exact_zeros(w, axis=1), [2, 1])
    assert exact_zeros(torch.tensor([0.0, 1.0, 0.0])) == 2


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
        elements=st.floats(-100, 100, width=32) | st.just(0.0),  # denormals included
    ),
    st.none() | st.lists(st.floats(-3, 3), min_size=2, max_size=9, unique=True).map(sorted),
)
def test_no_weight_is_lost(weights, edges):
    edges, counts, zeros = weight_histogram(weights, edges, bins=7)
    rows = 1 if weights.ndim == 1 else len(weights)
    assert counts.shape == (rows, len(edges) - 1)
    assert zeros.shape == (rows,)
    np.testing.assert_array_equal(counts.sum(axis=1) + zeros, weights.size // rows)


def test_histogram_puts_each_weight_where_it_belongs():
    w = np.array([[-9.0, -0.6, -0.1, 0.0, 0.1], [0.6, 0.9, 7.0, 0.0, -0.0]])
    edges, counts, zeros = weight_histogram(w, edges=[-1, -0.5, 0, 0.5, 1])
    np.testing.assert_array_equal(counts, [[2, 1, 1, 0], [0, 0, 0, 3]])  # −9 and 7 in the bins at the ends
    np.testing.assert_array_equal(zeros, [1, 2])
    np.testing.assert_array_equal(edges, [-1, -0.5, 0, 0.5, 1])


@pytest.mark.parametrize("w", [np.float32(1e-45), 5e-324, 1e-200, 1e200])
def test_histogram_of_dying_and_exploding_weights(w):
    edges, counts, zeros = weight_histogram(np.array([w, -w, 0]), bins=5)
    assert counts.sum() == 2
    assert zeros == [1]
    assert (np.diff(edges) > 0).all()


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(bool, (3, 6)), hnp.arrays(bool, 6))
def test_support_scores_are_those_of_scikit_learn(selected, truth):
    scores = support_scores(selected, truth)
    for i, row in enumerate(selected):
        wanted = precision_recall_fscore_support(
            truth, row, average="binary", pos_label=True, zero_division=0
        )[:3]
        if not row.any() and not truth.any():
            wanted = (1, 1, 1)
        np.testing.assert_allclose([scores.precision[i], scores.recall[i], scores.f1[i]], wanted)
        single = support_scores(row, truth)
        np.testing.assert_allclose(single, [v[i] for v in scores])
        assert isinstance(single.f1, float)
        assert single.n_selected == row.sum()


def test_stability_of_two_sets_by_hand():
    # p̂ = (1, ½, ½, 0), s² = 2·p̂(1 − p̂) = (0, ½, ½, 0), mean ¼; k̄/p = ½, so Φ = 1 − ¼ / ¼ = 0
    value = stability([[True, True, False, False], [True, False, True, False]])
    assert value.nogueira == pytest.approx(0)
    assert value.jaccard == pytest.approx(1 / 3)
    assert stability(np.tile(np.arange(30) < 4, (6, 1))) == (1, 1)
    nothing = stability(np.zeros((3, 5), bool))
    assert np.isnan(nothing.nogueira)
    assert nothing.jaccard == 1


def test_stability_of_sets_of_one_size_is_the_mean_of_kunchevas_index():
    rng = np.random.default_rng(1)
    p, k = 20, 6
    selected = np.stack([rng.permutation(np.arange(p) < k) for _ in range(7)])
    pairs = [(selected[i] & selected[j]).sum() for i in range(7) for j in range(i)]
    kuncheva = np.mean([(r - k**2 / p) / (k - k**2 / p) for r in pairs])
    assert stability(selected).nogueira == pytest.approx(kuncheva)


@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 40), (15, 15)])
def test_ridge_path_is_scikit_learns_and_solves_the_normal_equations(n, p):
    X, y = table(n, p)
    W = ridge_path(X, y, LAMS)
    assert W.shape == (len(LAMS), p)
    for lam, w in zip(LAMS[1:], W[1:], strict=True):
        np.testing.assert_allclose(
            w, np.linalg.solve(X.T @ X + n * lam * np.eye(p), X.T @ y), rtol=1e-7, atol=1e-10
        )
        reference = Ridge(alpha=n * lam, fit_intercept=False, solver="svd").fit(X, y).coef_
        np.testing.assert_allclose(w, reference, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(W[0], np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-7, atol=1e-10)


def test_ridge_without_penalty_is_the_smallest_solution_also_for_equal_columns():
    X, y = table(20, 4)
    X = np.column_stack([X, X[:, 0]])  # a copy: infinitely many least-squares solutions
    w = ridge_path(X, y, 0.0)[0]
    assert w[0] == pytest.approx(w[4])
    np.testing.assert_allclose(w, np.linalg.pinv(X) @ y, rtol=1e-8)
    np.testing.assert_allclose(w, ridge_path(X, y, 1e-12)[0], rtol=1e-6)
    assert not ridge_path(np.zeros((3, 2)), np.ones(3), [0, 1]).any()


def test_effective_rank_counts_equal_directions():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    # Orthonormal columns without a mean: k directions of equal variance.
    columns = np.linalg.qr(np.hstack([np.ones((200, 1)), rng.standard_normal((200, 7))]))[0][:, 1:]
    assert effective_rank(columns @ basis[:7]) == pytest.approx(7, abs=1e-9)
    assert effective_rank(np.arange(40) + columns @ basis[:7]) == pytest.approx(7, abs=1e-9)
    x, shares = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]]), np.array([0.2, 0.8])  # variances 1 : 4
    assert effective_rank(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert effective_rank(np.ones((5, 3))) == 0.0


def test_calibration_by_hand():
    p = np.array([[0.95, 0.05], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55]])
    result = calibration(p, [0, 1, 1, 1], bins=2)
    np.testing.assert_array_equal(result.counts, [0, 4])
    assert np.isnan(result.accuracy[0])
    assert result.accuracy[1] == 0.75
    assert result.confidence[1] == pytest.approx(0.75)
    assert result.ece == pytest.approx(0)
    fine = calibration(p, [0, 1, 1, 1], bins=10)
    np.testing.assert_array_equal(fine.counts, [0, 0, 0, 0, 0, 1, 1, 0, 0, 2])
    assert fine.ece == pytest.approx((abs(0.925 - 0.5) * 2 + 0.45 + 0.4) / 4)
    assert calibration([[1, 0]], [0]).counts.tolist() == [0] * 9 + [1]  # sure of it
    # gaps whose plain mean is another one than that over the rows
    assert calibration(p, [0, 1, 1, 0], bins=10).ece == pytest.approx((0.425 * 2 + 0.55 + 0.4) / 4)


X = np.ones((3, 2))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (exact_zeros, ([np.nan, 1],), "diverged"),
        (weight_histogram, ([np.inf],), "diverged"),
        (weight_histogram, ([],), "non-empty"),
        (weight_histogram, ([1.0], [1, 0]), "increas"),
        (support_scores, ([0.0, 1.2], [True, False]), "coef != 0"),
        (support_scores, ([True], [True, False]), "length of truth"),
        (stability, ([[1, 0], [0, 1]],), "coef != 0"),
        (stability, ([[True, False]],), "at least 2 rows"),
        (calibration, ([[0.5, 0.6]], [0]), "softmax"),
        (ridge_path, (X, np.ones(3), [0.1, -1]), "at least 0"),
        (ridge_path, (X, np.ones(3), [[0.1]]), "1-D"),
        (ridge_path, (np.full((3, 2), np.inf), np.ones(3), 0.1), "infinite"),
        (ridge_path, (X, np.ones(4), 0.1), "are needed"),
    ],
)
def test_bad_input_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
