import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.means import (
    mean,
    mean_difference,
    median,
    missing_bounds,
    missing_bounds_superiority,
    score_distribution,
    wilson_interval,
)

TWO_SIGMA = math.erf(math.sqrt(2))  # the level whose normal quantile is 2


@pytest.fixture(scope="module")
def proportion():
    return pytest.importorskip("statsmodels.stats.proportion")


def test_mean_has_students_interval():
    # 1, 2, 3: mean 2, sd 1, se 1/√3, t(2) = 4.30265.
    found = mean([1, 2, 3])
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    theirs = stats.ttest_1samp([1, 4, 4, 5], 0).confidence_interval(0.9)
    found = mean([1, 4, 4, 5], level=0.9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs))


def test_mean_without_spread_has_no_interval_and_says_why():
    assert mean([4]).value == 4
    assert mean([4]).low is None
    assert mean([4, 4]).note == "all ratings agree"
    with pytest.raises(TooFewRatings):
        mean([])


def test_mean_difference_has_welchs_interval():
    x, y = [1, 4, 4, 5, 2], [1, 1, 2, 3]
    theirs = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    found = mean_difference(x, y)
    assert (found.low, found.high) == pytest.approx(tuple(theirs))
    assert mean_difference([1, 1], [2, 2]).note == "the ratings within each group agree"
    assert mean_difference([1], [2, 3]).low is None


@given(st.lists(st.integers(1, 5), min_size=6, max_size=40))
def test_median_lies_within_its_interval_of_two_scores(scores):
    found = median(scores)
    assert found.low <= found.value <= found.high
    assert {found.low, found.high} <= set(scores)


def test_median_interval_has_the_binomial_coverage_of_its_order_statistics():
    # n = 10: 2·P(B ≤ 1) = 2·11/1024 = .021 ≤ .05 < 2·P(B ≤ 2) = .109, so 2nd to 9th.
    assert (median(range(10)).low, median(range(10)).high) == (1, 8)
    # n = 5: even the extremes miss with 2/32 = .0625 > .05.
    assert median([1, 2, 3, 4, 5]).low is None
    assert (median(range(6)).low, median(range(6)).high) == (0, 5)  # 2/64 ≤ .05


def test_wilson_interval_matches_hand_calculation():
    # 8 of 10, z = 2: centre 0.8 + 4/20 = 1.0; spread 2·sqrt(.016 + .01) = .32249; scale 1.4
    found = wilson_interval(8, 10, TWO_SIGMA)
    assert (found.low, found.high) == pytest.approx((0.48394, 0.94464), abs=1e-5)


@given(st.integers(1, 200), st.data())
def test_wilson_interval_equals_statsmodels(proportion, trials, data):
    successes = data.draw(st.integers(0, trials))
    found = wilson_interval(successes, trials)
    theirs = proportion.proportion_confint(successes, trials, method="wilson")
    assert (found.low, found.high) == pytest.approx(theirs, abs=1e-12)
    assert found.low <= found.value <= found.high


def test_wilson_interval_refuses_what_is_no_share():
    with pytest.raises(TooFewRatings):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="3 successes in 2"):
        wilson_interval(3, 2)


def test_dead_and_refused_units_are_in_the_denominator_of_the_distribution():
    shares = score_distribution([1, 3, 3], range(1, 4), {"dead": 6, "refused": 1})
    assert [(s.outcome, s.count) for s in shares] == [
        ("1", 1),
        ("2", 0),
        ("3", 2),
        ("dead", 6),
        ("refused", 1),
    ]
    assert [s.share.value for s in shares] == pytest.approx([0.1, 0, 0.2, 0.6, 0.1])
    assert score_distribution([], [1], {"dead": 2})[1].share.value == 1
    with pytest.raises(ValueError, match=r"\[4.0\]"):
        score_distribution([4], [1, 2, 3])
    with pytest.raises(TooFewRatings):
        score_distribution([], [1, 2])


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=20),
    st.lists(st.integers(1, 5), max_size=10),
)
def test_bounds_hold_the_mean_whatever_the_missing_scores_are(seen, unseen):
    bounds = missing_bounds(seen, len(unseen), 1, 5)
    complete = float(np.mean(seen + unseen))
    assert bounds.worst.value <= complete + 1e-12
    assert bounds.best.value >= complete - 1e-12
    assert bounds.worst.n == (len(seen) + len(unseen),)


def test_bounds_of_superiority_turn_missing_scores_against_and_for_the_first():
    # first 3 + one missing, second 2 + one missing. Worst: {3, 1} against {2, 5}: 3>2 alone,
    # 1/4. Best: {3, 5} against {2, 1}: all four.
    bounds = missing_bounds_superiority([3], [2], (1, 1), 1, 5)
    assert (bounds.worst.value, bounds.best.value) == (0.25, 1)
    assert bounds.missing == (1, 1)
    with pytest.raises(ValueError, match="leave 1 to 5"):
        missing_bounds([6], 1, 1, 5)
    with pytest.raises(ValueError, match="-1 missing"):
        missing_bounds([5], -1, 1, 5)
