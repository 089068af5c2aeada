"""Rankings from counts, against the values that were counted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.stats.binned import best_of_fewer, binned_auc, binned_f1
from autointerp.stats.ranks import auc


def test_the_area_of_counts_is_that_of_the_values_where_a_bin_holds_one_value():
    over, under = [3, 3, 0, 1], [0, 0, 0, 1, 2]
    value, error = binned_auc([1, 1, 0, 2], [3, 1, 1, 0])
    assert value == pytest.approx(auc(over, under))
    # Pairs in a bin other than bin 0: one in bin 1, of 4 x 5; half of it.
    assert error == pytest.approx(0.5 * 1 / 20)


@given(
    st.lists(st.floats(0, 8), min_size=1, max_size=40),
    st.lists(st.floats(0, 8), min_size=1, max_size=40),
)
def test_the_stated_error_bounds_what_binning_changes(over, under):
    def counts(values):
        # Bin 0 holds zeros alone; bins 1 to 8 are (0, 1], (1, 2], ...
        return np.bincount(np.ceil(values).astype(int), minlength=9)

    value, error = binned_auc(counts(over), counts(under))
    assert abs(value - auc(over, under)) <= error + 1e-12


def test_an_empty_class_has_no_area_and_an_f1_of_0():
    value, error = binned_auc([[0, 0], [1, 1]], [[1, 1], [1, 1]])
    assert np.isnan(value).tolist() == [True, False]
    assert np.isnan(error).tolist() == [True, False]
    assert binned_f1([0, 0], [1, 1]).tolist() == [0, 0]


def test_f1_at_every_edge_is_that_of_the_decision():
    over, under = np.array([0, 1, 2, 2]), np.array([0, 0, 1, 1, 2])
    f1 = binned_f1(np.bincount(over, minlength=3), np.bincount(under, minlength=3))
    for edge in range(3):
        hits, false = (over >= edge).sum(), (under >= edge).sum()
        precision, recall = hits / (hits + false), hits / len(over)
        assert f1[edge] == pytest.approx(2 * precision * recall / (precision + recall))


def test_the_best_of_fewer_is_the_mean_over_all_subsets():
    rng = np.random.default_rng(1)
    search, values = rng.random(6), rng.random(6)
    order = np.argsort(-search)
    for chosen in range(1, 7):
        subsets = itertools.combinations(range(6), chosen)
        by_hand = [values[max(subset, key=lambda one: search[one])] for subset in subsets]
        assert best_of_fewer(order, values, chosen) == pytest.approx(np.mean(by_hand))
    with pytest.raises(ValueError, match="7 of 6 candidates"):
        best_of_fewer(order, values, 7)


def test_the_best_of_few_among_very_many_does_not_overflow():
    values = np.zeros(100_000)
    values[0] = 1
    assert best_of_fewer(np.arange(100_000), values, 512) == pytest.approx(512 / 100_000)
