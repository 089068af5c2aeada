import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.stats.dyadic import pair_design_effect
from autointerp.stats.means import mean


def test_three_units_by_hand():
    # Row means 1, 0, .5, of mean .5: variance of the three .25, and .25/3 of their mean.
    # Each pair's part of the mean, its distance from .5 over 6:
    #   1-2 .5, 1-3 .5, 2-1 -.5, 2-3 -.5, 3-1 .5, 3-2 -.5, so all 1/12 but for the sign.
    # By unit: 1 +.5 +.5 -.5 +.5 = 1; 2 -.5 -.5 +.5 -.5 = -1; 3 +.5 -.5 +.5 -.5 = 0 (over 6).
    # Squares 2/36; taken off: 6 of 1/144 with themselves, and 1-2 with 2-1 (-), 1-3 with 3-1 (+),
    # 2-3 with 3-2 (+), twice each: 8/144. Times 3/2: 0. So no less than 1 is said.
    rows = {1: {2: 1.0, 3: 1.0}, 2: {1: 0.0, 3: 0.0}, 3: {1: 1.0, 2: 0.0}}
    assert pair_design_effect(rows) == 1.0
    # Descriptions alone differ: 1 gets 1 on either, 2 and 3 get 0. Row means 0, .5, .5 of mean 1/3.
    # Parts over 6: -1/3 at 1-2, 1-3, 2-3, 3-2; 2/3 at 2-1, 3-1. By unit: 1 -2/3 + 4/3 = 2/3;
    # 2 -1/3 +2/3 -1/3 -1/3 = -1/3; 3 the same. Squares 6/9. Taken off: 4/9 + 2 * 4/9 with
    # themselves; with reverses 2 (-2/9) + 2 (-2/9) + 2/9 = -6/9. 6/9 - 12/9 + 6/9 = 0.
    rows = {1: {2: 0.0, 3: 0.0}, 2: {1: 1.0, 3: 0.0}, 3: {1: 1.0, 2: 0.0}}
    assert pair_design_effect(rows) == 1.0


def test_pairs_of_two_that_share_a_call_count_as_one():
    # Both of a pair have the same value, so 20 rows are worth 10: twice the variance.
    values = np.random.default_rng(0).random(10)
    rows = {unit: {unit ^ 1: float(values[unit // 2])} for unit in range(20)}
    apart = np.repeat(values, 2).var(ddof=1) / 20
    together = values.var(ddof=0) / 10 * 20 / 19
    assert pair_design_effect(rows) == pytest.approx(together / apart)
    assert pair_design_effect(rows) == pytest.approx(2, abs=0.01)


@given(
    st.dictionaries(
        st.integers(0, 8),
        st.dictionaries(st.integers(0, 8), st.floats(0, 1), max_size=8),
        max_size=8,
    )
)
def test_it_is_at_least_1_and_finite(rows):
    effect = pair_design_effect(rows)
    assert 1 <= effect < np.inf


def test_intervals_hold_where_descriptions_suit_all_texts_more_or_less():
    rng = np.random.default_rng(1)
    units, together = 48, 8
    held, naive = [], []
    for _ in range(300):
        of_description = rng.normal(0, 0.15, units)
        rows = {
            unit: {
                other: 0.5 + of_description[other] + rng.normal(0, 0.05)
                for other in range(unit - unit % together, unit - unit % together + together)
                if other != unit
            }
            for unit in range(units)
        }
        values = [float(np.mean(list(row.values()))) for row in rows.values()]
        for kept, effect in ((held, pair_design_effect(rows)), (naive, 1.0)):
            found = mean(values, scale=(0, 1), design_effect=effect)
            kept.append(found.low <= 0.5 <= found.high)
    # The standard error of a share of 300 at 95 % is 1.3 %.
    assert np.mean(held) >= 0.92
    assert np.mean(naive) < 0.9
