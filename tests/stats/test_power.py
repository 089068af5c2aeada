import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import BadInput
from autointerp.stats.power import plan_units, power_of_units, rating_model
from autointerp.stats.superiority import placements, superiority_ends, superiority_of_counts


def simulated_power(first, second, effect, levels, shares=None, tests=1, replications=8_000):
    rng = np.random.default_rng(0)
    upper, lower = rating_model(max(effect, 1 - effect), levels, shares)
    if effect < 0.5:
        upper, lower = lower, upper
    tables = (
        rng.multinomial(first, upper, replications),
        rng.multinomial(second, lower, replications),
    )
    table = placements(*tables)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (table.p - 0.5) / np.sqrt(table.variance)
        critical = stats.t.ppf(1 - 0.025 / tests, table.freedom)
    _, low, high = superiority_ends(*tables, 0.025)
    rejects = np.abs(statistic) > np.nan_to_num(critical)
    return float((rejects & ((low > 0.5) | (high < 0.5))).mean())


@pytest.mark.parametrize(
    ("effect", "levels", "tests", "units"),
    [(0.6, 4, 1, 122), (0.65, 4, 1, 54), (0.7, 4, 1, 30), (0.75, 5, 1, 20), (0.85, 5, 1, 10),
     (0.7, 4, 3, 37)],
)  # fmt: skip
def test_planned_units_reach_the_power_in_simulation(effect, levels, tests, units):
    """Test and interval must both leave ½ out: with 8 units, for an effect of 0.85, the test alone
    does in 85 %, both in 72 %."""
    plan = plan_units(effect, levels=levels, tests=tests)
    assert plan.units == units
    # A standard error of 80 % of 8,000 is 0.45 points.
    reached = simulated_power(units, units, effect, levels, tests=tests)
    assert plan.power - 0.015 <= reached <= plan.power + 0.045


@pytest.mark.parametrize(
    ("first", "second", "effect", "shares"),
    [(60, 30, 0.68, None), (40, 40, 0.35, (28, 7, 3, 7, 7)), (25, 75, 0.3, None)],
)
def test_power_for_given_units_is_that_of_the_simulation(first, second, effect, shares):
    found = power_of_units(first, second, effect, levels=5, shares=shares)
    assert found == pytest.approx(simulated_power(first, second, effect, 5, shares), abs=0.02)


def test_many_levels_come_near_the_known_size_without_ties():
    # Two normals at P = .6 are 0.3583 apart; the variance of a placement there is .0804
    # (a little under 1/12), so (1.96 + .8416)²·2·.0804/.01 = 126, with t a unit or two more;
    # Noether, with 1/12, gives 131.
    assert 120 <= plan_units(0.6, levels=200).units <= 131


def test_one_unit_fewer_does_not_reach_the_power():
    plan = plan_units(0.62, power=0.9)
    assert power_of_units(plan.units, plan.units, 0.62) == plan.power >= 0.9
    assert power_of_units(plan.units - 1, plan.units - 1, 0.62) < 0.9


@settings(max_examples=25)
@given(st.floats(0.55, 0.8), st.integers(2, 10))
def test_the_model_has_the_effect_asked_for(effect, levels):
    upper, lower = rating_model(effect, levels) if effect < 1 - 0.5 / levels else (None, None)
    if upper is not None:
        assert float(superiority_of_counts(upper, lower)) == pytest.approx(effect)
        assert upper.sum() == pytest.approx(1)


def test_larger_effects_need_fewer_units_and_direction_does_not_matter():
    needed = [plan_units(effect).units for effect in (0.55, 0.6, 0.7, 0.8)]
    assert needed == sorted(needed, reverse=True)
    assert plan_units(0.35).units == plan_units(0.65).units


def test_impossible_plans_are_refused_in_one_line():
    with pytest.raises(BadInput, match=r"0\.5"):
        plan_units(0.5)
    with pytest.raises(BadInput, match=r"below 0\.875"):
        plan_units(0.9, levels=4)  # the lowest source already reaches the top with ¼: 1 - ¼/2
    with pytest.raises(BadInput, match="power"):
        plan_units(0.6, power=1)
    with pytest.raises(BadInput, match="alpha 2"):
        power_of_units(10, 10, 0.6, alpha=2)
    with pytest.raises(BadInput, match="two in each"):
        power_of_units(1, 10, 0.6)
    with pytest.raises(BadInput, match="levels"):
        plan_units(0.6, levels=1)
    with pytest.raises(BadInput, match="shares"):
        plan_units(0.6, shares=(1, 2))
    with pytest.raises(BadInput, match="more than 10000000"):
        plan_units(0.5001)
