import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.stats.bounded import mover_difference, wilson_ends
from autointerp.stats.means import wilson_interval
from autointerp.stats.results import Statistic


@given(st.integers(1, 200), st.data())
def test_of_a_share_the_ends_are_wilsons(trials, data):
    successes = data.draw(st.integers(1, trials))
    if successes == trials:
        return
    p = successes / trials
    low, high = wilson_ends(p, p * (1 - p) / trials, 1e9, 0.025)
    found = wilson_interval(successes, trials)
    assert (float(low), float(high)) == pytest.approx((found.low, found.high), abs=1e-6)


@given(st.floats(1, 5), st.floats(1e-6, 4), st.floats(1, 100), st.floats(1e-6, 0.4))
def test_the_ends_stay_on_the_scale_and_hold_the_value(value, variance, freedom, tail):
    low, high = wilson_ends(value, variance, freedom, tail, scale=(1, 5))
    assert 1 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 5


def test_far_from_the_ends_they_are_students():
    low, high = wilson_ends(3.0, 1e-6, 20, 0.025, scale=(1, 5))
    half = stats.t.ppf(0.975, 20) * 1e-3
    assert (float(low), float(high)) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_a_difference_of_shares_has_newcombes_published_interval():
    # Newcombe 1998, table II, (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339.
    found = mover_difference(wilson_interval(56, 70), wilson_interval(48, 80), (70, 80), "MOVER")
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_difference_without_both_intervals_has_none_and_says_why():
    alone = Statistic(1.0, None, None, (1,), "", note="one value shows no spread")
    found = mover_difference(wilson_interval(3, 4), alone, (4, 1), "MOVER")
    assert found.low is None
    assert found.note == "one value shows no spread"
    nothing = Statistic(None, None, None, (0,), "", note="none")
    with pytest.raises(ValueError, match="two estimates"):
        mover_difference(alone, nothing, (1, 0), "MOVER")
    low, high = wilson_ends(np.array([0.0, 1.0]), 0.1, 3, 0.025)
    assert low[0] == 0
    assert high[1] == 1
