import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autointerp.stats.ranks import auc, spearman


def test_auc_counts_pairs_and_halves_ties():
    # pairs over (3, 2) and (2, 1): 3>2, 3>1, 2=2, 2>1: 3.5 of 4
    assert auc([3, 2], [2, 1]) == 3.5 / 4
    assert auc([2.0, 1.0], [1.0, 0.0]) == 3.5 / 4
    # Firing 2 and 1, silent 1 and 0: pairs 2>1, 2>0, 1=1, 1>0 give (1 + 1 + ½ + 1)/4.
    assert auc([2.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]) == pytest.approx(0.875)


def test_auc_of_an_empty_group_is_undefined():
    assert math.isnan(auc([], [1]))
    assert math.isnan(auc([1], []))


def test_auc_of_groups_that_do_not_overlap_is_exactly_one_or_zero():
    # 12 · (1/12) is not 1 in floating point; counts are.
    assert auc(range(12, 24), range(12)) == 1.0
    assert auc(range(12), range(12, 24)) == 0.0


def test_weighted_auc_equals_the_sum_over_pairs():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 4, 30).astype(float)
    firing, silent = rng.random(30), rng.random(30)
    firing, silent = firing / firing.sum(), silent / silent.sum()
    pairs = sum(
        firing[i] * silent[j] * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
        for i, j in itertools.product(range(30), repeat=2)
    )
    assert auc(score, score, firing, silent) == pytest.approx(pairs)


def test_auc_is_mann_whitneys_u_over_the_pairs():
    rng = np.random.default_rng(1)
    over, under = rng.integers(0, 5, 17), rng.integers(0, 5, 23)
    u = stats.mannwhitneyu(over, under).statistic
    assert auc(over, under) == u / (17 * 23)


def test_spearman_is_pearson_of_mean_ranks():
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: cov 4.5/..., r = 4.5 / sqrt(4.5 · 5) = 0.94868
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.948683)


def test_spearman_is_undefined_where_nothing_varies():
    assert math.isnan(spearman([1, 1], [1, 2]))
    assert math.isnan(spearman([1], [2]))
    assert math.isnan(spearman([], []))
    assert math.isnan(spearman([1, 2, 2], [1, 2, 2], [0, 1, 1]))  # what varies has no weight


def test_perfect_order_is_exactly_one():
    assert spearman([1, 2, 3, 4], [2, 4, 6, 8]) == pytest.approx(1, abs=1e-15)
    assert spearman([1, 2, 3, 4], [8, 6, 4, 2]) == pytest.approx(-1, abs=1e-15)


def test_weights_by_hand_make_silence_win():
    # x: 0 0 0 | 1 and y: 0 1 1 | 1 with weights 1 1 1 | 0.03. Ranks of x over the total 3.03:
    # 1.5 three times, then 3.015; of y: 0.5, then (1 + 2.03/2) = 2.015 three times.
    x, y, w = (
        np.array([1.5, 1.5, 1.5, 3.015]),
        np.array([0.5, 2.015, 2.015, 2.015]),
        [1, 1, 1, 0.03],
    )
    a, b = x - np.average(x, weights=w), y - np.average(y, weights=w)
    expected = np.average(a * b, weights=w) / math.sqrt(
        np.average(a * a, weights=w) * np.average(b * b, weights=w)
    )
    assert spearman([0, 0, 0, 1], [0, 1, 1, 1], w) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=30))
@settings(deadline=None)
def test_with_equal_weights_it_is_scipys_rho(pairs):
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) and np.ptp(y):
        expected = stats.spearmanr(x, y).statistic
        assert spearman(x, y) == pytest.approx(expected, abs=1e-9)
        assert spearman(x, y, np.full(len(x), 7.0)) == pytest.approx(expected, abs=1e-9)
    else:
        assert math.isnan(spearman(x, y))


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3)), min_size=3, max_size=12
    )
)
@settings(deadline=None)
def test_a_weight_of_k_is_k_copies(rows):
    x, y, w = np.array(rows, dtype=float).T
    copies = np.repeat(np.arange(len(x)), w.astype(int))
    assert spearman(x, y, w) == pytest.approx(spearman(x[copies], y[copies]), abs=1e-9, nan_ok=True)
