import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.errors import BadInput
from autointerp.stats.results import Statistic
from autointerp.stats.sequential import (
    boundaries,
    confidence_sequence_multiplier,
    crossing_probability,
    fixed_share,
    narrow_enough,
    narrow_multiplier,
    repeated_interval,
    repeated_p_value,
    sequence_p_value,
    sign_is_clear,
    size_of,
    spent,
    units_for_width,
)
from autointerp.stats.superiority import superiority

QUARTERS = [0.25, 0.5, 0.75, 1.0]


def even(looks):
    return [look / looks for look in range(1, looks + 1)]


@pytest.mark.parametrize(
    ("looks", "published"), [(2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)]
)
def test_pococks_published_boundaries_spend_five_percent(looks, published):
    # Jennison & Turnbull 2000, table 2.1, alpha 0.05.
    crossed = crossing_probability(even(looks), [published] * looks)
    assert crossed == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize(
    ("looks", "published"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040), (10, 2.087)]
)
def test_obrien_and_flemings_published_boundaries_spend_five_percent(looks, published):
    # Jennison & Turnbull 2000, table 2.3, alpha 0.05: c·sqrt(K/k) at look k.
    multipliers = [published * math.sqrt(looks / look) for look in range(1, looks + 1)]
    assert crossing_probability(even(looks), multipliers) == pytest.approx(0.05, abs=2e-4)


def test_looking_again_at_p_below_5_percent_errs_as_armitage_found():
    # Armitage, McPherson & Rowe 1969, table 2: 0.083 for 2 looks, 0.142 for 5, 0.193 for 10.
    for looks, published in ((2, 0.083), (5, 0.142), (10, 0.193)):
        assert crossing_probability(even(looks), [1.96] * looks) == pytest.approx(
            published, abs=6e-4
        )


def test_spending_boundaries_are_the_published_ones():
    # Lan & DeMets' functions at four looks, alpha 0.05, as in Reboussin et al. 2000 (ld98).
    assert boundaries(QUARTERS, spending="O'Brien-Fleming") == pytest.approx(
        [4.3326, 2.9631, 2.3590, 2.0141], abs=2e-4
    )
    assert boundaries(QUARTERS, spending="Pocock") == pytest.approx(
        [2.3683, 2.3675, 2.3582, 2.3500], abs=2e-4
    )


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True))
def test_any_looks_spend_what_is_due_by_the_last(looks):
    fractions = [look / 20 for look in sorted(looks)]
    for spending in ("power 2", "Pocock", "O'Brien-Fleming"):
        crossed = crossing_probability(fractions, boundaries(fractions, spending=spending))
        assert crossed == pytest.approx(float(spent(fractions[-1], 0.05, spending)), abs=2e-5)


def test_the_first_boundary_is_the_normal_quantile_of_what_is_spent():
    # power 2 spends .05·.25 = .0125 at half: z(.00625) = 2.4977.
    assert boundaries([0.5])[0] == pytest.approx(2.4977, abs=1e-4)
    assert boundaries([1.0])[0] == pytest.approx(1.95996, abs=1e-4)
    assert spent([0, 0.5, 1, 2]) == pytest.approx([0, 0.0125, 0.05, 0.05])


def test_the_confidence_sequences_multiplier_matches_hand_calculation():
    # alpha .05: rho² = (5.99146 + ln 6.99146)/100 = .079361; n = 100: nρ² = 7.9361,
    # c² = 8.9361/7.9361·ln(8.9361/.0025) = 9.2126.
    assert float(confidence_sequence_multiplier(100)) == pytest.approx(9.2126**0.5, abs=1e-3)
    around = confidence_sequence_multiplier(np.array([50, 100, 200])) / np.sqrt([50, 100, 200])
    assert (np.diff(around) < 0).all()


def test_a_repeated_interval_with_one_look_is_the_ordinary_one():
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 6, 40), rng.integers(1, 5, 40)
    ordinary, repeated = superiority(x, y), repeated_interval(x, y, 1.959964)
    assert (repeated.value, repeated.low, repeated.high) == pytest.approx(
        (ordinary.value, ordinary.low, ordinary.high), abs=1e-6
    )
    wider = repeated_interval(x, y, 3.0)
    assert wider.low < repeated.low
    assert wider.high > repeated.high
    assert repeated_interval([3, 3], [3, 3], 2.0).low is None
    assert repeated_interval([3], [4], 2.0).note == "too few units for a 95% interval"


def an_interval(low, high, n):
    return Statistic((low + high) / 2, low, high, (n, n), "")


def test_no_look_before_twenty_units_a_source_may_stop():
    for rule in (sign_is_clear, lambda interval: narrow_enough(interval, 0.4)):
        assert not rule(an_interval(0.8, 0.9, 19)).stop
        assert "19 units" in rule(an_interval(0.8, 0.9, 19)).why
        assert rule(an_interval(0.8, 0.9, 20)).stop


def test_rules_stop_when_their_word_is_kept():
    assert sign_is_clear(an_interval(0.2, 0.4, 50)).stop
    assert not sign_is_clear(an_interval(0.4, 0.6, 50)).stop
    held_back = narrow_enough(an_interval(0.4, 0.6, 50), 0.1)
    assert not held_back.stop
    assert held_back.why == "half-width 0.1000; with 50 units a source at most 0.0990"
    assert narrow_enough(an_interval(0.4, 0.6006, 50), 0.1).why == "half-width 0.1003, above 0.1"
    assert narrow_enough(an_interval(0.41, 0.59, 50), 0.1).stop
    undefined = Statistic(0.5, None, None, (30, 30), "", note="every rating is the same value")
    assert narrow_enough(undefined, 0.1).why == "every rating is the same value"
    assert not sign_is_clear(undefined).stop


def test_a_ceiling_that_one_unit_leaves_is_not_narrow_enough_to_stop():
    # 0.525 by one of 40: an interval of half-width 0.05 would stop `--until-width 0.1` at once.
    found = repeated_interval([5] * 20, [5] * 19 + [1], 2.0)
    assert found.value == pytest.approx(0.525)
    assert not narrow_enough(found, 0.1).stop
    assert "nearly all scores" in narrow_enough(found, 0.1).why


def test_what_is_no_plan_is_refused():
    for fractions in ([], [0.5, 0.5], [0.0, 1.0], [0.5, 1.5]):
        with pytest.raises(BadInput, match="must ascend"):
            boundaries(fractions)
    with pytest.raises(BadInput, match="1 looks and 2"):
        crossing_probability([1.0], [2.0, 2.0])
    with pytest.raises(BadInput, match="above 0"):
        confidence_sequence_multiplier(0)
    with pytest.raises(BadInput, match="not above 0"):
        repeated_interval([1, 2], [1, 2], 0)
    with pytest.raises(BadInput, match="half-width"):
        narrow_enough(an_interval(0.4, 0.6, 50), 0.6)


# ------------------------------------------------------------------------------ p, and savings


def test_a_repeated_p_value_is_alpha_just_at_the_boundary():
    looks = [0.2, 0.5, 0.8]
    for alpha in (0.01, 0.05, 0.2):
        edge = float(boundaries(looks, alpha)[-1])
        assert repeated_p_value(edge, looks) == pytest.approx(alpha, rel=1e-3)
        assert repeated_p_value(-edge, looks) == pytest.approx(alpha, rel=1e-3)
    # One look that has all the information: the ordinary two-sided p of 1.96.
    assert repeated_p_value(1.959964, [1.0]) == pytest.approx(0.05, rel=1e-3)
    assert repeated_p_value(0.0, looks) == 1
    assert 0 < repeated_p_value(40.0, looks) <= 1.001e-9


def test_a_sequences_p_value_is_alpha_just_where_its_multiplier_is():
    for n in (20, 100, 1_000):
        c = float(confidence_sequence_multiplier(n))
        assert sequence_p_value(c, n) == pytest.approx(0.05)
        assert sequence_p_value(-c, n) == pytest.approx(0.05)
    assert sequence_p_value(0.0, 50) == 1
    assert sequence_p_value(4.0, 50) < sequence_p_value(3.5, 50)
    with pytest.raises(BadInput, match="above 0"):
        sequence_p_value(1.0, 0)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_size_of_a_difference_is_the_multiplier_that_reaches_one_half(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(1, 6, 30), rng.integers(1, 5, 25)
    size = size_of(x, y)
    interval = repeated_interval(x, y, max(size, 1e-3))
    if size > 0:
        near = interval.low if interval.value > 0.5 else interval.high
        assert near == pytest.approx(0.5, abs=1e-4)
    assert size_of(y, x) == pytest.approx(size, abs=1e-4)
    assert size_of([3, 3], [3, 3]) == 0


@pytest.mark.parametrize(("looks", "published"), [(2, 1.110), (5, 1.229)])
def test_looks_by_pocock_need_more_units_by_the_published_factor(looks, published):
    # Jennison & Turnbull 2000, table 2.2, alpha 0.05, power 0.8.
    multipliers = [{2: 2.178, 5: 2.413}[looks]] * looks
    assert 1 / fixed_share(even(looks), multipliers) == pytest.approx(published, abs=2e-3)


@pytest.mark.parametrize(("looks", "published"), [(2, 1.008), (5, 1.028)])
def test_looks_by_obrien_and_fleming_need_more_units_by_the_published_factor(looks, published):
    # Jennison & Turnbull 2000, table 2.4, alpha 0.05, power 0.8.
    constant = {2: 1.977, 5: 2.040}[looks]
    multipliers = [constant * math.sqrt(looks / look) for look in range(1, looks + 1)]
    assert 1 / fixed_share(even(looks), multipliers) == pytest.approx(published, abs=2e-3)
    assert fixed_share([1.0], [1.959964]) == pytest.approx(1, abs=1e-4)
    with pytest.raises(BadInput, match="power"):
        fixed_share([1.0], [1.96], power=0.01)


def test_no_scores_make_an_interval_wider_than_the_units_for_a_width_allow():
    # Of all scores, P = ½ of a two-point scale one source of which does not vary is worst.
    assert units_for_width(0.1) == 100  # (2 / 0.1)² / 4
    assert narrow_multiplier(0.05) == 2
    assert narrow_multiplier(0.01) == pytest.approx(2 * 2.575829 / 1.959964)
    x, y = np.repeat([0, 2], 50), np.ones(100)
    worst = repeated_interval(x, y, 2.0)
    assert (worst.high - worst.low) / 2 == pytest.approx(0.1, abs=0.004)
    with pytest.raises(BadInput, match="half-width"):
        units_for_width(0.5)
