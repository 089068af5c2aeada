import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.errors import TooFewRatings
from autointerp.stats.density import density_adjusted, density_edges, density_strata


def arms(gap, n, slope, seed=0):
    """Return scores and densities of two arms `gap` decades apart, driven by density alone."""
    rng = np.random.default_rng(seed)
    logs = [
        np.clip(-2 + side * gap / 2 + 0.6 * rng.standard_normal(n), -4, -0.3) for side in (-1, 1)
    ]
    scores = [
        np.clip(np.round(3 - slope * (log + 2) + rng.standard_normal(n)), 1, 5) for log in logs
    ]
    return *scores, *(10**log for log in logs)


def test_density_edges_split_the_pooled_log_densities_evenly():
    # Pooled 1e-4 … 1e-1: the median of the logs is -2.5.
    edges = density_edges([1e-4, 1e-3], [1e-2, 1e-1], strata=2)
    assert edges == pytest.approx([10**-2.5])
    assert density_strata([1e-4, 10**-2.5, 0.5], edges).tolist() == [0, 1, 1]


def test_equal_densities_make_fewer_strata():
    assert len(density_edges([0.1] * 10, strata=5)) == 1
    assert len(density_edges([0.1, 0.2], strata=1)) == 0


def test_a_dead_unit_has_no_density_stratum():
    with pytest.raises(ValueError, match="dead"):
        density_edges([0.1, 0.0])
    with pytest.raises(TooFewRatings):
        density_edges([])
    with pytest.raises(ValueError, match="0 strata"):
        density_edges([0.1], strata=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.6))
def test_the_estimate_is_the_share_of_pairs_at_like_density(seed, gap):
    x, y, a, b = arms(gap, 60, 1.0, seed)
    found = density_adjusted(x, y, a, b, second_opinion=False)
    steps = [np.floor(np.log10(density) * 50) for density in (a, b)]
    near = [
        (x[i] > y[j]) + (x[i] == y[j]) / 2
        for i, j in itertools.product(range(60), range(60))
        if abs(steps[0][i] - steps[1][j]) <= 5
    ]
    if not found.refused:
        assert found.superiority.value == pytest.approx(np.mean(near))
        assert found.superiority.low <= found.superiority.value <= found.superiority.high
        assert abs(found.balance.difference_after) <= 0.1
        leaves_out = not found.superiority.low <= 0.5 <= found.superiority.high
        assert (found.test.p_value < 0.05) == leaves_out


def test_arms_two_decades_apart_are_refused_with_the_reason():
    for seed in range(20):
        found = density_adjusted(*arms(2.0, 200, 1.0, seed))
        assert "hardly overlap" in found.refused
        assert found.superiority.value is None
        assert found.test.p_value is None
        assert found.odds_test.note == found.refused
        assert found.balance.difference_before < -2


def test_like_arms_are_all_kept_and_said_to_be_alike():
    found = density_adjusted(*arms(0.0, 200, 1.0))
    assert found.refused == ""
    assert min(found.balance.kept) > 190
    assert abs(found.balance.difference_after) < 0.02
    assert found.superiority.low < 0.5 < found.superiority.high
    assert found.odds_ratio.low < 1 < found.odds_ratio.high
    low, high = found.balance.support
    assert 1e-4 <= low < high <= 0.51


def test_both_opinions_find_a_real_difference_that_density_hides():
    # The first arm scores higher at every density, but is the denser one.
    x, y, a, b = arms(-1.0, 300, 1.0)
    found = density_adjusted(np.minimum(x + 1, 5), y, a, b)
    assert found.superiority.low > 0.5
    assert found.odds_ratio.low > 1
    assert found.odds_test.p_value < 0.01
    assert found.decision == "higher"
    assert density_adjusted(y, np.minimum(x + 1, 5), b, a).decision == "lower"
    alone = density_adjusted(np.minimum(x + 1, 5), y, a, b, second_opinion=False)
    assert alone.test.p_value < 0.05
    assert alone.decision == "not resolved"  # one opinion does not decide


def test_at_like_density_too_a_ceiling_that_one_unit_leaves_has_no_interval():
    densities = np.logspace(-3, -2, 40)
    found = density_adjusted([5] * 40, [5] * 39 + [1], densities, densities)
    assert not found.refused
    assert found.superiority.value == pytest.approx(0.51, abs=0.01)
    assert found.superiority.low is None
    assert found.superiority.note.startswith("too few units for a 95% interval")
    assert found.decision == "not resolved"


def test_the_odds_ratio_is_the_one_that_made_the_scores():
    # Logistic latent scores, shifted by log 3 in the first arm, whatever the density.
    rng = np.random.default_rng(4)
    logs = rng.normal(-2, 0.5, (2, 1500))
    latent = rng.logistic(size=(2, 1500)) - logs
    latent[0] += np.log(3)
    x, y = np.digitize(latent, [0, 1.5, 3, 4.5]) + 1.0
    found = density_adjusted(x, y, *10**logs)
    assert found.odds_ratio.low < 3 < found.odds_ratio.high
    assert found.odds_ratio.high / found.odds_ratio.low < 1.5


def test_no_overlap_and_no_spread_say_so():
    x = np.arange(40) % 5 + 1
    apart = density_adjusted(x, x, np.full(40, 1e-4), np.full(40, 0.1))
    assert apart.refused.startswith("0 of 40 units of the first group")
    assert apart.balance.support is None
    same = density_adjusted(np.full(40, 3), np.full(40, 3), np.full(40, 0.1), np.full(40, 0.1))
    assert same.superiority.note == "every rating is the same value"
    assert same.odds_ratio.value is None
    few = density_adjusted(x[:10], x[:10], np.full(10, 0.1), np.full(10, 0.1))
    assert "worth 10 of equal weight" in few.refused
    with pytest.raises(ValueError, match="dead"):
        density_adjusted([1], [1], [0.0], [0.1])
    with pytest.raises(ValueError, match="2 densities"):
        density_adjusted([1], [1], [0.1, 0.2], [0.1])
