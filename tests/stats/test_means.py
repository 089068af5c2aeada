import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.means import (
    exact_interval,
    mean,
    mean_difference,
    mean_ends,
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


@given(st.lists(st.integers(1, 5), min_size=2, max_size=30))
def test_on_a_scale_the_interval_of_the_mean_stays_on_it_and_holds_the_mean(scores):
    found = mean(scores, scale=(1, 5))
    assert 1 <= found.low <= found.value <= found.high <= 5
    assert found.low < found.high
    mirrored = mean([6 - score for score in scores], scale=(1, 5))
    assert (mirrored.low, mirrored.high) == pytest.approx((6 - found.high, 6 - found.low))


def test_the_interval_on_a_scale_matches_hand_calculation():
    # 1, 3, 5, 5 on 1 to 5: shares 0, .5, 1, 1, mean .625. One unit over the scale: 5 units, sum
    # 3, mean .6, squares 2.25 + .375 - 5·.36 = .825, v = .825/4/5 = .04125; n' = .24/.04125.
    k = stats.t.ppf(0.975, 4) ** 2 * 0.04125 / 0.24
    centre, half = (0.625 + k / 2) / (1 + k), math.sqrt(k * 0.625 * 0.375 + k * k / 4) / (1 + k)
    found = mean([1, 3, 5, 5], scale=(1, 5))
    assert (found.low, found.high) == pytest.approx(
        (1 + 4 * (centre - half), 1 + 4 * (centre + half))
    )
    with pytest.raises(ValueError, match="leave 1 to 4"):
        mean([1, 5], scale=(1, 4))


def test_near_the_ceiling_the_interval_covers_where_students_does_not():
    rng = np.random.default_rng(0)
    shares = np.array([1, 1, 2, 6, 90]) / 100
    truth, held, students = float(shares @ np.arange(1, 6)), 0, 0
    for _ in range(400):
        scores = rng.choice(5, 20, p=shares) + 1
        found, t = mean(scores, scale=(1, 5)), mean(scores)
        held += found.low <= truth <= found.high
        students += t.low is not None and t.low <= truth <= t.high
    assert held / 400 >= 0.94
    assert students / 400 < 0.8


@pytest.mark.parametrize("mode", [2, 3, 4])
def test_scores_on_one_middle_value_leave_room_for_others_that_so_few_may_lack(mode):
    # 20 units hold none of a share of 16.8 % with probability 2.5 %; if that is all at one end …
    found = mean([mode] * 20, scale=(1, 5))
    assert found.low == pytest.approx(mode - 0.1684 * (mode - 1), abs=1e-3)
    assert found.high == pytest.approx(mode + 0.1684 * (5 - mode), abs=1e-3)


@pytest.mark.parametrize("at_the_end", [0.03, 0.08, 0.12, 0.2])
def test_the_interval_covers_where_nearly_all_scores_are_one_middle_value(at_the_end):
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((4000, 20)) < at_the_end, 5.0, 3.0)
    low, high = mean_ends(scores, 0.025, (1, 5))
    truth = 3 + 2 * at_the_end
    assert ((low <= truth) & (truth <= high)).mean() > 0.93  # 0.78 without room for them


def test_the_difference_of_means_on_a_scale_stays_within_its_gap():
    found = mean_difference([5, 5, 5, 4], [1, 1, 1, 2], scale=(1, 5))
    assert -4 <= found.low < found.value == 3.5 < found.high <= 4
    assert mean_difference([5], [1, 2], scale=(1, 5)).note == "one value shows no spread"
    assert mean([0.7]).note == "one value shows no spread"  # of a concept, too
    assert median([3]).note == "too few for an interval of the median: 1 unit"


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


def test_the_exact_interval_is_clopper_and_pearsons():
    # scipy's own, which is tested against R's binom.test.
    for successes, trials in ((0, 5), (3, 7), (5, 5)):
        theirs = stats.binomtest(successes, trials).proportion_ci(method="exact")
        own = exact_interval(successes, trials)
        assert (own.value, own.low, own.high) == pytest.approx(
            (successes / trials, theirs.low, theirs.high)
        )
    with pytest.raises(TooFewRatings):
        exact_interval(0, 0)
    with pytest.raises(ValueError, match="6 successes in 5"):
        exact_interval(6, 5)
