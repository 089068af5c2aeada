import numpy as np
import pytest

from bench._ppi_coverage import _latent_correlation, _scores, simulate_coverage


@pytest.mark.parametrize("n", [20, 50, 100])
def test_prediction_powered_intervals_hold_the_truth_and_are_narrower(n):
    # Wanted: coverage >= 94 % at 20, 50, 100, and 20 % narrower at 50, judge of r = 0.7.
    # Over 20,000 replications 95.0 to 96.1 %; a standard error here is 0.35 points.
    found = simulate_coverage(n, np.random.default_rng(n), others=500, replications=4_000)
    assert set(found) == {"features", "neurons", "difference"}
    for coverage in found.values():
        assert coverage.coverage >= 0.94
        assert coverage.replications == 4_000
    if n >= 50:
        assert max(coverage.width_ratio for coverage in found.values()) <= 0.8


def test_an_unrelated_judge_costs_little_width():
    found = simulate_coverage(50, np.random.default_rng(0), correlation=0, replications=1_000)
    assert 1 < found["difference"].width_ratio < 1.05
    assert found["difference"].coverage > 0.93


def test_simulated_judges_have_the_correlation_asked_for():
    human, judge = np.array([4, 4, 6, 4, 30]) / 48, np.array([11, 16, 22, 21, 29]) / 99
    latent = _latent_correlation(human, judge, 0.7)
    shared, own = np.random.default_rng(0).standard_normal((2, 200_000))
    found = np.corrcoef(
        _scores(shared, human), _scores(latent * shared + (1 - latent**2) ** 0.5 * own, judge)
    )[0, 1]
    assert found == pytest.approx(0.7, abs=0.005)


def test_a_correlation_that_the_margins_forbid_is_refused():
    with pytest.raises(ValueError, match=r"0\.99"):
        simulate_coverage(20, np.random.default_rng(0), correlation=0.99, replications=10)
