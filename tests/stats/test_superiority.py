import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.means import mean
from autointerp.stats.results import as_scores
from autointerp.stats.superiority import (
    brunner_munzel,
    cliffs_delta,
    holm,
    holm_unfinished,
    mann_whitney,
    pairs,
    permutation_test,
    placements,
    superiority,
    superiority_test,
)

# Brunner & Munzel 2000, shoulder-tip pain; scipy's and lawstat's documented example.
PAIN_1 = [1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 1, 1]
PAIN_2 = [3, 3, 4, 3, 1, 2, 3, 1, 1, 5, 4]

scores = st.lists(st.integers(1, 5), min_size=1, max_size=15)


def from_counts(*counts):
    return np.repeat(np.arange(1, 6), counts)


HUMAN = from_counts(4, 4, 6, 4, 30), from_counts(28, 7, 3, 7, 7)
GPT_4 = from_counts(11, 16, 22, 21, 29), from_counts(11, 35, 23, 17, 7)


def by_pairs(first, second):
    wins = [(x > y) + (x == y) / 2 for x, y in itertools.product(first, second)]
    return sum(wins) / len(wins)


@pytest.mark.parametrize(
    ("table", "means", "p"),
    [(HUMAN, (4.08, 2.19), 0.81), (GPT_4, (3.41, 2.72), 0.65)],
    ids=["human", "gpt-4"],
)
def test_founding_tables_give_the_published_means_and_superiority(table, means, p):
    assert tuple(round(mean(group).value, 2) for group in table) == means
    found = superiority(*table)
    assert round(found.value, 2) == p
    assert found.value == pytest.approx(by_pairs(*table))
    assert 0.5 < found.low < found.value < found.high
    assert brunner_munzel(*table).p_value < 0.001


def test_superiority_interval_is_wilsons_at_the_smoothed_effective_size():
    # x = 2, 3 and y = 1, 2: pairs 2>1, 2=2, 3>1, 3>2 give P = 3.5/4. One unit, spread like the
    # mean of both groups, adds 1/4, 1/2, 1/4 on levels 1, 2, 3: x = .25, 1.5, 1.25 and
    # y = 1.25, 1.5, .25 of 3. Placements of x: .625/3, 2/3, 2.875/3, so
    # P' = (.25·.20833 + 1.5·.66667 + 1.25·.95833)/3 = .75; squares .25·.54167² + 1.5·.08333² +
    # 1.25·.20833² = .13802; by symmetry both groups give v = 2·.13802/2/3 = .04601;
    # n' = .75·.25/.04601 = 4.0755; degrees of freedom: the smaller group's own, 1.
    k = 12.706205**2 / 4.0755
    centre, half = (0.875 + k / 2) / (1 + k), math.sqrt(k * 0.875 * 0.125 + k * k / 4) / (1 + k)
    found = superiority([2, 3], [1, 2])
    assert found.value == 0.875
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-4)


@given(scores, scores)
def test_superiority_counts_pairs_and_its_interval_holds_it(first, second):
    found = superiority(first, second)
    assert found.value == pytest.approx(by_pairs(first, second))
    if found.low is None:
        assert found.note
    else:
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.low < found.high


@given(scores, scores)
def test_swapping_the_groups_mirrors_superiority_and_its_interval(first, second):
    one, other = superiority(first, second), superiority(second, first)
    assert one.value == pytest.approx(1 - other.value)
    if one.low is not None:
        assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


@given(scores, scores, st.randoms(use_true_random=False))
def test_order_of_units_and_monotone_scales_leave_superiority_unchanged(first, second, random):
    found = superiority(first, second)
    shuffled = random.sample(first, len(first)), random.sample(second, len(second))
    assert superiority(*shuffled) == found
    assert superiority(np.exp(first), np.exp(second)) == found


@given(scores, scores)
def test_cliffs_delta_is_wins_less_losses(first, second):
    found = cliffs_delta(superiority(first, second))
    every = list(itertools.product(first, second))
    expected = sum((x > y) - (x < y) for x, y in every) / len(every)
    assert found.value == pytest.approx(expected)
    if found.low is not None:
        assert -1 <= found.low <= found.value <= found.high <= 1


def test_superiority_interval_keeps_its_level_at_the_extremes():
    # Near P = 1 the logit interval covers 79 % at 50 units a group. Exact: 0.9856.
    rng = np.random.default_rng(0)
    high, low = np.array([1, 1, 4, 10, 84]) / 100, np.array([84, 10, 4, 1, 1]) / 100
    truth = float(high @ (np.cumsum(low) - low / 2))
    held = 0
    for _ in range(400):
        x, y = from_counts(*rng.multinomial(50, high)), from_counts(*rng.multinomial(50, low))
        found = superiority(x, y)
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.93


def test_complete_separation_has_an_interval_with_a_width():
    found = superiority([4, 4, 5, 5, 5], [1, 1, 2, 2, 3])
    assert found.value == found.high == 1
    assert 0.3 < found.low < 0.9
    assert "above" in found.note


def test_complete_separation_claims_no_more_than_its_units_can_show():
    # If a share q of the first population lies under all of the second, P(superiority) is 1 - q,
    # and 20 units hold none of it with probability (1 - q)^20: 2.5 % at q = 0.168.
    found = superiority([5] * 20, [2] * 20)
    assert found.low == pytest.approx(0.025 ** (1 / 20)) == pytest.approx(0.8316, abs=1e-4)
    assert superiority([5] * 4, [2] * 20).low == pytest.approx(0.3976, abs=1e-4)
    # One pair of 400 lost is no better evidence than none.
    nearly = superiority([5] * 19 + [3], [2] * 19 + [4])
    assert found.low == nearly.low < nearly.value < 1
    mirrored = superiority([2] * 20, [5] * 20)
    assert (mirrored.low, mirrored.high) == pytest.approx((0, 1 - found.low))


def test_equal_ratings_leave_the_interval_and_every_test_undefined():
    same = [3, 3, 3], [3, 3]
    assert superiority(*same).value == 0.5
    assert superiority(*same).low is None
    rng = np.random.default_rng(0)
    for test in (brunner_munzel(*same), mann_whitney(*same), permutation_test(*same, rng)):
        assert test.p_value is None
        assert test.note == "every rating is the same value"


def test_brunner_munzel_equals_scipy_and_the_published_example():
    found = brunner_munzel(PAIN_1, PAIN_2)
    # scipy's sign is that of the second sample; ours of the first.
    assert found.statistic == pytest.approx(-3.1374674823029505)
    assert found.p_value == pytest.approx(0.0057862086661515377)
    for first, second in (HUMAN, GPT_4):
        theirs = stats.brunnermunzel(second, first)
        found = brunner_munzel(first, second)
        assert found.statistic == pytest.approx(theirs.statistic)
        assert found.p_value == pytest.approx(theirs.pvalue)


def test_superiority_and_brunner_munzel_equal_statsmodels():
    nonparametric = pytest.importorskip("statsmodels.stats.nonparametric")
    theirs = nonparametric.rank_compare_2indep(*HUMAN)
    table = placements(*[np.bincount(group, minlength=6)[1:] for group in HUMAN])
    assert superiority(*HUMAN).value == pytest.approx(theirs.prob1)
    assert brunner_munzel(*HUMAN).p_value == pytest.approx(theirs.pvalue)
    assert float(table.freedom) == pytest.approx(theirs.df)


def test_separated_groups_get_the_permutation_p_value_of_brunner_munzel():
    # 10 ways to choose 2 of 5; the observed division and its mirror separate: 2/10.
    found = brunner_munzel([4, 5], [1, 2, 3])
    assert found.statistic is None
    assert found.p_value == pytest.approx(0.2)
    # 1, 2, 2 | 4, 5 mirrored is {1, 2} | {2, 4, 5}: the tie straddles the border, so 1/10.
    assert brunner_munzel([4, 5], [1, 2, 2]).p_value == pytest.approx(0.1)
    exact = permutation_test([4, 5], [1, 2, 2], np.random.default_rng(0))
    assert exact.p_value == pytest.approx(0.1)
    assert exact.statistic is None


def test_separation_of_thousands_of_units_does_not_overflow():
    assert brunner_munzel(np.full(5000, 2), np.full(5000, 1)).p_value == 0.0


def test_mann_whitney_equals_scipy():
    theirs = stats.mannwhitneyu(*GPT_4)
    found = mann_whitney(*GPT_4)
    assert (found.statistic, found.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_exact_permutation_test_equals_scipys_of_the_same_statistic():
    # Sorted 1, 1, 2, 3, 3, 3, 4, 5, 5: a tie straddles every border, so that no division
    # separates them and scipy's statistic is always finite.
    first, second = np.array([3, 5, 4, 3, 5]), np.array([1, 2, 3, 1])

    def statistic(x, y):
        return -stats.brunnermunzel(x, y).statistic

    # Two-sided by |T|, as ours; scipy's own "two-sided" doubles the smaller tail.
    theirs = stats.permutation_test(
        (first, second),
        lambda x, y: abs(statistic(x, y)),
        vectorized=False,
        alternative="greater",
        n_resamples=np.inf,
    )
    found = permutation_test(first, second, np.random.default_rng(0))
    assert found.statistic == pytest.approx(statistic(first, second))
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_random_divisions_come_near_the_exact_p_value():
    first, second = [1, 3, 4, 5, 5, 2], [1, 1, 2, 3, 3, 1]
    exact = permutation_test(first, second, np.random.default_rng(0), resamples=1000)
    drawn = permutation_test(first, second, np.random.default_rng(0), resamples=900)
    assert "all 924" in exact.method  # 12 over 6
    # Standard error of a share near 0.1 of 900 draws: 0.01.
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.04)


def test_permutation_test_depends_on_the_generator_alone():
    one = permutation_test(*GPT_4, np.random.default_rng(7), resamples=500)
    assert one == permutation_test(*GPT_4, np.random.default_rng(7), resamples=500)


@given(scores, scores)
def test_wins_ties_and_losses_count_all_pairs(first, second):
    found = pairs(first, second)
    every = list(itertools.product(first, second))
    assert found.wins.value == pytest.approx(sum(x > y for x, y in every) / len(every))
    assert found.ties.value == pytest.approx(sum(x == y for x, y in every) / len(every))
    assert found.wins.value + found.ties.value + found.losses.value == pytest.approx(1)
    p = found.wins.value + found.ties.value / 2
    assert p == pytest.approx(superiority(first, second).value)
    mirrored = pairs(second, first)
    assert mirrored.wins.value == pytest.approx(found.losses.value)
    if found.wins.low is not None:
        assert found.wins.low <= found.wins.value <= found.wins.high
        assert (mirrored.losses.low, mirrored.losses.high) == pytest.approx(
            (found.wins.low, found.wins.high)
        )


def test_the_founding_tables_win_tie_and_lose_so_often():
    found = pairs(*GPT_4)
    # By hand: ties (11·11 + 16·35 + 22·23 + 21·17 + 29·7)/(99·93) = 1747/9207.
    assert found.ties.value == pytest.approx(1747 / 9207)
    assert found.wins.value == pytest.approx(0.652 - found.ties.value / 2, abs=1e-3)


def test_a_small_group_that_hides_its_spread_has_no_interval():
    # 10 units all but one at the ceiling against 50: Brunner-Munzel rejects 27 % of nulls there.
    found = superiority([5] * 9 + [4], [5] * 45 + [4] * 3 + [1] * 2)
    assert found.low is None
    assert found.note.startswith("too few units for a 95% interval")
    assert superiority([5] * 10, [1] * 49 + [2]).low is not None  # separated: it holds
    assert pairs([1, 2, 3, 4, 5], [1, 2, 3] * 10).ties.low is None


def test_two_groups_with_nearly_every_score_on_one_value_have_no_interval():
    # Where a tenth of the second group is lower P is 0.55, and 50 such units show none, one or two
    # with 11 %: an interval within 0.45 to 0.55 would say that no difference matters.
    for lower in (1, 2):
        found = superiority([5] * 50, [5] * (50 - lower) + [1] * lower)
        assert found.low is None
        assert found.note.startswith("too few units for a 95% interval: nearly all scores")
    assert superiority([5] * 50, [5] * 47 + [1] * 3).low is not None
    assert superiority([5, 5, 5, 5], [5, 5, 5, 1]).low is not None  # 7 of 8 are not nearly all


def test_small_or_unequal_groups_are_tested_by_permutation():
    rng = np.random.default_rng(0)
    assert "permutation" in superiority_test(*[[1, 2, 4, 5] * 5] * 2, rng).method
    assert "permutation" in superiority_test([1, 2, 4] * 20, [1, 2, 5] * 30, rng).method
    large = [1, 2, 4, 5] * 15, [1, 2, 3, 3] * 15
    assert superiority_test(*large, rng) == brunner_munzel(*large)
    ceiling = np.array([1, 1, 2, 6, 90]) / 100
    tests = [
        superiority_test(
            from_counts(*rng.multinomial(10, ceiling)),
            from_counts(*rng.multinomial(50, ceiling)),
            rng,
            199,
        ).p_value
        for _ in range(200)
    ]
    assert np.mean([p is not None and p < 0.05 for p in tests]) <= 0.05


def test_holm_equals_the_hand_calculation_and_skips_what_is_undefined():
    # Sorted .01·3 = .03, .02·2 = .04, .03·1 = .03 raised to .04.
    adjusted = holm({"a": 0.03, "b": None, "c": 0.01, "d": 0.02})
    assert adjusted == pytest.approx({"a": 0.04, "b": None, "c": 0.03, "d": 0.04})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    with pytest.raises(ValueError, match=r"1\.5"):
        holm({"a": 1.5})


def test_tests_that_are_to_come_count_for_holm_and_reject_nothing():
    # a: .01·4 and not ·2, for b at an interim look and two more may be 1; b: .005·4 as it is now.
    adjusted = holm_unfinished({"a": 0.01, "b": 0.005, "c": None}, {"b"}, awaited=2)
    assert adjusted == pytest.approx({"a": 0.04, "b": 0.02, "c": None})
    p_values = {"a": 0.03, "b": None, "c": 0.01, "d": 0.02}
    assert holm_unfinished(p_values, set()) == holm(p_values)


def test_holm_equals_statsmodels():
    # One call: each of theirs collects garbage first, seconds in a large process.
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = [0.3, 0.001, 0.04, 0.04, 1.0, 0.0, 0.011, 0.02]
    theirs = multitest.multipletests(p_values, method="holm")[1]
    assert list(holm(dict(enumerate(p_values))).values()) == pytest.approx(list(theirs))


def test_too_few_scores_are_refused_and_nan_is_not_a_score():
    with pytest.raises(TooFewRatings, match="0 scores"):
        superiority([], [1, 2])
    with pytest.raises(TooFewRatings, match="1 score where at least 2"):
        brunner_munzel([1], [1, 2])
    with pytest.raises(ValueError, match="NaN"):
        superiority([1, math.nan], [2])
    with pytest.raises(ValueError, match="shape"):
        as_scores([[1, 2]])
    with pytest.raises(ValueError, match="level"):
        superiority([1, 2], [1, 2], level=95)
