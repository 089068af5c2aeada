import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.bootstrap import (
    bootstrap_mean,
    bootstrap_superiority,
)
from autointerp.stats.means import mean
from autointerp.stats.resample import resample
from autointerp.stats.superiority import superiority

NAN = math.nan


def generator(seed=0):
    return np.random.default_rng(seed)


def ends(statistic):
    return statistic.low, statistic.high


def test_bootstrap_of_many_units_comes_near_students_interval():
    scores = generator().integers(1, 6, 2_000)
    for weights in (None, np.linspace(1, 1.0001, 2_000)):  # few cells, and one cell a unit
        found = bootstrap_mean(scores, generator(), weights=weights, resamples=4_000)
        # sd 1.41/√2000 = .032; the ends of 4,000 resamples wander by about .001.
        assert ends(found) == pytest.approx(ends(mean(scores)), abs=0.005)


def test_repeats_of_one_unit_do_not_count_as_units():
    scores = generator().integers(1, 6, 200)
    once = bootstrap_mean(scores, generator())
    tenfold = bootstrap_mean(np.repeat(scores[:, None], 10, axis=1), generator())
    assert ends(tenfold) == pytest.approx(ends(once))
    assert tenfold.n == (200,)


def test_bca_equals_scipys():
    scores = np.array([1, 1, 1, 1, 2, 1, 1, 3, 1, 5, 1, 2, 1, 1, 4])
    theirs = stats.bootstrap(
        (scores,), np.mean, n_resamples=20_000, method="BCa", rng=generator()
    ).confidence_interval
    found = bootstrap_mean(scores, generator(), resamples=20_000, ends="bca")
    # Ends lie on a grid of 1/15; scipy's acceleration is by jackknife, the same to 1/n.
    assert ends(found) == pytest.approx(tuple(theirs), abs=0.07)
    percentile = bootstrap_mean(scores, generator(), resamples=20_000)
    assert found.high > percentile.high  # skewed to the right


def test_bca_of_superiority_equals_scipys():
    x, y = np.array([1, 3, 4, 5, 5, 2, 4, 5]), np.array([1, 1, 2, 3, 3, 1, 5, 2, 2])

    def statistic(a, b):
        return ((a[:, None] > b) + (a[:, None] == b) / 2).mean()

    theirs = stats.bootstrap(
        (x, y), statistic, n_resamples=2_000, method="BCa", vectorized=False, rng=generator()
    ).confidence_interval
    found = bootstrap_superiority(x, y, generator(), resamples=20_000, ends="bca")
    assert ends(found) == pytest.approx(tuple(theirs), abs=0.03)


def test_bootstrap_of_superiority_comes_near_the_closed_form():
    x, y = generator(1).integers(1, 6, 400), generator(2).integers(1, 4, 300)
    odds = bootstrap_superiority(x, y, generator(), resamples=4_000)
    assert odds.value == pytest.approx(superiority(x, y).value)
    assert ends(odds) == pytest.approx(ends(superiority(x, y)), abs=0.01)


def test_weights_make_units_count_more():
    found = bootstrap_mean([1, 4, 4], generator(), weights=[2, 1, 1])
    assert found.value == 2.5
    with pytest.raises(ValueError, match="positive"):
        bootstrap_mean([1, 4], generator(), weights=[1, 0])


def test_resampling_raters_adds_their_differences_to_the_interval():
    # Three raters who differ by a constant: units alone show none of it.
    units = generator().integers(2, 4, 300)[:, None]
    ratings = units + np.array([-1.0, 0.0, 1.0])
    alone = bootstrap_mean(ratings, generator())
    both = bootstrap_mean(ratings, generator(), raters_too=True)
    # Variance of the mean of 3 drawn of -1, 0, 1: (2/3)/3, so sd .471 and ends about ±.67-1.
    assert alone.high - alone.low < 0.15
    assert 1.2 < both.high - both.low < 2.1
    assert both.value == pytest.approx(alone.value)


def test_shared_raters_cancel_in_a_contrast_of_the_groups():
    # The same constant shifts hit both groups: the difference does not see them.
    x = generator(1).integers(2, 5, 300)[:, None] + np.array([-1.0, 0.0, 1.0])
    y = generator(2).integers(1, 4, 300)[:, None] + np.array([-1.0, 0.0, 1.0])
    alone = bootstrap_superiority(x, y, generator())
    both = bootstrap_superiority(x, y, generator(), raters_too=True, resamples=500)
    assert ends(both) == pytest.approx(ends(alone), abs=0.03)


def test_missing_ratings_leave_units_that_have_others():
    ratings = np.array([[1, NAN], [2, 4], [NAN, NAN], [5, 5]])
    found = bootstrap_mean(ratings, generator())
    assert found.value == pytest.approx((1 + 3 + 5) / 3)
    assert found.n == (3,)
    both = bootstrap_superiority(
        ratings, ratings[::-1], generator(), raters_too=True, resamples=100
    )
    assert both.value == 0.5
    assert 0 <= both.low <= 0.5 <= both.high <= 1


def test_no_spread_gives_no_interval():
    assert bootstrap_mean([3, 3, 3], generator()).note == "resamples show no spread"
    assert bootstrap_superiority([3, 3], [1, 1], generator()).low is None
    assert bootstrap_mean([3, 3, 3], generator(), ends="bca").low is None


def test_misuse_is_refused():
    with pytest.raises(TooFewRatings, match="no unit"):
        bootstrap_mean([NAN, NAN], generator())
    with pytest.raises(TooFewRatings, match="one rater"):
        bootstrap_mean([1, 2], generator(), raters_too=True)
    with pytest.raises(ValueError, match="percentile"):
        bootstrap_mean([[1, 2], [2, 3]], generator(), raters_too=True, ends="bca")
    with pytest.raises(ValueError, match="at least 100"):
        bootstrap_mean([1, 2], generator(), resamples=10)
    with pytest.raises(ValueError, match="columns must be shared"):
        bootstrap_superiority([[1, 2]], [[1, 2, 3]], generator(), raters_too=True)
    with pytest.raises(ValueError, match="shape"):
        bootstrap_mean(np.zeros((2, 2, 2)), generator())


def test_few_cells_and_single_units_are_drawn_from_the_same_distribution():
    # 60 units on 2 cells (multinomial) and on 60 cells (one by one): the share of cell 0.
    grouped = resample(lambda d: d[0][:, 0] / 60, [np.array([20, 40])], generator(), 5_000)
    single = resample(
        lambda d: d[0][:, :20].sum(axis=1) / 60, [np.ones(60, int)], generator(), 5_000
    )
    # sd sqrt(2/9/60) = .0609
    for values in (grouped, single):
        assert values.mean() == pytest.approx(1 / 3, abs=0.004)
        assert values.std() == pytest.approx(0.0609, abs=0.003)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=10),
    st.lists(st.integers(1, 5), min_size=2, max_size=10),
    st.sampled_from(["percentile", "bca"]),
)
def test_intervals_hold_their_estimates(first, second, kind):
    found = bootstrap_superiority(first, second, generator(), resamples=100, ends=kind)
    assert found.low is None or found.low <= found.value <= found.high


def test_ten_thousand_units_with_three_raters_are_quick():
    ratings = generator().integers(1, 6, (10_000, 3)).astype(float)
    start = time.process_time()
    bootstrap_superiority(ratings, ratings[::-1], generator())
    bootstrap_mean(ratings, generator(), ends="bca")
    assert time.process_time() - start < 1
