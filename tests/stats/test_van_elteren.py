import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import TooFewRatings
from autointerp.stats.superiority import superiority
from autointerp.stats.van_elteren import van_elteren

NAN = math.nan
scores = st.lists(st.integers(1, 5), min_size=2, max_size=12)


@given(scores, scores)
def test_one_rater_gives_the_plain_superiority(first, second):
    found = van_elteren(first, second, ["ann"]).superiority
    plain = superiority(first, second)
    assert found.value == pytest.approx(plain.value)
    assert (found.low, found.high) == (plain.low, plain.high)


def test_the_same_ratings_twice_are_no_more_evidence():
    rng = np.random.default_rng(0)
    x, y = rng.integers(2, 6, 30), rng.integers(1, 5, 30)
    twice = van_elteren(np.stack([x, x], axis=1), np.stack([y, y], axis=1), ["ann", "bob"])
    plain = superiority(x, y)
    assert (twice.superiority.value, twice.superiority.low, twice.superiority.high) == (
        pytest.approx((plain.value, plain.low, plain.high))
    )


def test_raters_who_each_say_the_same_are_not_turned_round_by_their_severity():
    # Each says about ½; the severe one saw most features, the mild one most neurons.
    rng = np.random.default_rng(1)
    features, neurons = np.full((40, 2), NAN), np.full((40, 2), NAN)
    features[:30, 0], features[30:, 1] = rng.integers(1, 4, 30), rng.integers(3, 6, 10)
    neurons[:10, 0], neurons[10:, 1] = rng.integers(1, 4, 10), rng.integers(3, 6, 30)
    averaged = superiority(np.nanmean(features, axis=1), np.nanmean(neurons, axis=1))
    assert averaged.high < 0.5
    found = van_elteren(features, neurons, ["severe", "mild"])
    assert found.superiority.low < 0.5 < found.superiority.high
    assert found.test.p_value > 0.05


def test_weights_are_van_elterens():
    # n1 n2/(n1 + n2 + 1): 2·2/5 and 1·3/5, so 4/7 and 3/7; P 1 and 1/2.
    first = [[5, NAN], [4, NAN], [NAN, 3]]
    second = [[1, NAN], [2, NAN], [NAN, 3], [NAN, 3], [NAN, 3]]
    found = van_elteren(first, second, ["ann", "bob"])
    assert [rater.weight for rater in found.raters] == pytest.approx([4 / 7, 3 / 7])
    assert found.superiority.value == pytest.approx(4 / 7 + 3 / 14)
    assert found.superiority.n == (3, 5)


def test_a_rater_of_one_group_alone_does_not_count():
    first = [[5, 1], [4, 2], [5, 1], [3, 1]]
    second = [[1, NAN], [2, NAN], [3, NAN]]
    found = van_elteren(first, second, ["ann", "bob"])
    assert found.raters[1].superiority is None
    assert found.superiority.value == superiority([5, 4, 5, 3], [1, 2, 3]).value
    with pytest.raises(TooFewRatings, match="no rater"):
        van_elteren([[1, NAN]], [[NAN, 2]], ["ann", "bob"])
    with pytest.raises(ValueError, match="columns"):
        van_elteren([[1, 2]], [[1, 2]], ["ann"])
    assert van_elteren([[3, 3], [3, 3]], [[3, 3], [3, 3]], ["a", "b"]).superiority.low is None


def test_raters_of_whom_none_shows_a_spread_have_no_interval_together():
    # One of 100 units is lower by one rater, another by the other.
    features, neurons = np.full((50, 2), 5.0), np.full((50, 2), 5.0)
    neurons[0, 0] = neurons[1, 1] = 1.0
    found = van_elteren(features, neurons, ["ann", "bob"]).superiority
    assert found.value == pytest.approx(0.51)
    assert found.low is None
    assert found.note.startswith("too few units for a 95% interval")
