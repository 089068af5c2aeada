import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.stats.decision import decide, equivalence
from autointerp.stats.results import Statistic


def p(low, high):
    return Statistic((low + high) / 2, low, high, (50, 50), "")


def test_higher_needs_the_adjusted_p_value_and_the_interval():
    assert decide(p(0.55, 0.7), 0.03) == "higher"
    assert decide(p(0.3, 0.45), 0.03) == "lower"
    assert decide(p(0.51, 0.7), 0.085) == "not resolved"  # green today at Holm p = .085
    assert decide(p(0.49, 0.7), 0.03) == "not resolved"
    assert decide(p(0.55, 0.7), None) == "not resolved"


def test_equivalent_is_an_interval_within_the_bounds_significant_or_not():
    assert decide(p(0.47, 0.53), 0.9) == "equivalent"
    assert decide(p(0.51, 0.54), 0.01) == "equivalent"
    assert decide(p(0.44, 0.53), 0.9) == "not resolved"
    assert decide(p(0.44, 0.53), 0.9, equivalence=(0.4, 0.6)) == "equivalent"


def test_without_an_interval_nothing_is_resolved():
    undefined = Statistic(0.5, None, None, (3, 3), "", note="every rating is the same value")
    assert decide(undefined, 0.001) == "not resolved"
    with pytest.raises(ValueError, match="enclose"):
        decide(p(0.4, 0.6), 0.5, equivalence=(0.55, 0.6))
    with pytest.raises(ValueError, match="not between"):
        decide(p(0.4, 0.6), 1.5)


@given(st.floats(0, 0.99), st.floats(0.001, 1), st.floats(0, 1))
def test_swapping_the_groups_mirrors_the_decision(low, width, p_value):
    high = min(1.0, low + width)
    mirrored = {"higher": "lower", "lower": "higher"}
    one, other = decide(p(low, high), p_value), decide(p(1 - high, 1 - low), p_value)
    assert other == mirrored.get(one, one)


def test_equivalence_is_two_one_sided_t_tests():
    rng = np.random.default_rng(0)
    for n in (5, 20, 60):
        for centre in (0.5, 0.52, 0.56):
            scores = rng.normal(centre, 0.05, n)
            theirs = max(
                stats.ttest_1samp(scores, 0.45, alternative="greater").pvalue,
                stats.ttest_1samp(scores, 0.55, alternative="less").pvalue,
            )
            found = equivalence(scores, 0.5, 0.05)
            assert (found.answer == "equivalent") == (theirs < 0.05)


def test_one_unit_or_a_wide_spread_is_too_few_to_tell():
    # Today one unit that is truly at chance is flagged in 43 to 74 %.
    assert equivalence([0.6], 0.5, 0.05, scale=(0, 1)).answer == "too few to tell"
    assert equivalence([0.4, 0.6, 0.5], 0.5, 0.05, scale=(0, 1)).answer == "too few to tell"
    with pytest.raises(ValueError, match="margin"):
        equivalence([0.4, 0.6], 0.5, 0)


def test_a_control_at_chance_is_seldom_called_off_and_a_broken_one_seldom_equivalent():
    rng = np.random.default_rng(0)

    def share(mean, answer, n):
        draws = rng.binomial(40, mean, (400, n)) / 40
        return np.mean([equivalence(d, 0.5, 0.05, scale=(0, 1)).answer == answer for d in draws])

    for n in (1, 2, 3, 10, 50):
        assert share(0.5, "not equivalent", n) <= 0.07
        assert share(0.56, "equivalent", n) <= 0.07
    assert share(0.5, "equivalent", 50) > 0.9
    assert share(0.6, "not equivalent", 50) > 0.9
