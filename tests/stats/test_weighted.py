import numpy as np
import pytest

from autointerp.stats.means import mean
from autointerp.stats.weighted import weighted_mean


def test_equal_probabilities_give_the_plain_mean_and_students_interval():
    scores = [1, 4, 4, 5, 2]
    plain = mean(scores)
    found = weighted_mean(scores, [0.2] * 5)
    assert (found.value, found.low, found.high) == pytest.approx(
        (plain.value, plain.low, plain.high)
    )


def test_rare_units_count_by_the_units_they_stand_for():
    # One unit in 2 scored 1, one in 4 scored 4: (1·2 + 4·4)/(2 + 4) = 3; with N = 8: 18/8.
    assert weighted_mean([1, 4], [0.5, 0.25]).value == pytest.approx(3)
    assert weighted_mean([1, 4], [0.5, 0.25], population=8).value == pytest.approx(2.25)


def test_strata_take_their_differences_out_of_the_interval():
    # Within strata variance 0.5 each. 2 of 10 and 2 of 30 drawn: weights 5 and 15, shares 1/4
    # and 3/4: mean 1.5/4 + 4.5·3/4 = 3.75, variance (1/16 + 9/16)·0.5/2 = .15625, 2 df.
    found = weighted_mean([1, 2, 4, 5], [0.2, 0.2, 1 / 15, 1 / 15], strata=["a", "a", "b", "b"])
    assert found.value == pytest.approx(3.75)
    assert found.high - found.value == pytest.approx(4.302653 * 0.15625**0.5)
    # Of those very units: times 1 - 1/5 and 1 - 1/15.
    of_these = weighted_mean(
        [1, 2, 4, 5], [0.2, 0.2, 1 / 15, 1 / 15], strata=["a", "a", "b", "b"], finite=True
    )
    variance = 0.8 * 0.25 / 16 + 14 / 15 * 0.25 * 9 / 16
    assert of_these.high - of_these.value == pytest.approx(4.302653 * variance**0.5)


def test_horvitz_thompson_is_unbiased_under_unequal_sampling():
    rng = np.random.default_rng(3)
    population = np.repeat([1.0, 5.0], [900, 100])
    pi = np.where(population == 1, 0.02, 0.3)
    draws = rng.random((2000, 1000)) < pi
    estimates = (draws * population / pi).sum(axis=1) / 1000
    found = weighted_mean(population[draws[0]], pi[draws[0]], population=1000)
    assert found.value == pytest.approx(estimates[0])
    # se of one estimate: sqrt(900·1·.98/.02 + 100·25·.7/.3)/1000 = .22; of the mean .005.
    assert estimates.mean() == pytest.approx(1.4, abs=0.02)


def test_what_has_no_spread_has_no_interval_and_says_why():
    assert weighted_mean([1], [0.5]).note == "no stratum has two units"
    assert weighted_mean([2, 2], [0.5, 0.1]).note == "all ratings agree"
    census = weighted_mean([1, 2], [1, 1], finite=True)
    assert census.note == "every unit of the population was rated"
    assert census.value == 1.5


def test_a_stratum_of_one_unit_borrows_the_spread_of_the_others():
    found = weighted_mean([1, 3, 2], [0.1] * 3, strata=["a", "a", "b"])
    # parts y/3, spread (1/3)²·2 within a; three units of that: variance 3·2/9 = 2/3, 1 df.
    assert found.high - found.value == pytest.approx(12.7062 * (2 / 3) ** 0.5, rel=1e-5)


def test_malformed_samples_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        weighted_mean([1, 2], [0, 1])
    with pytest.raises(ValueError, match="1 inclusion probabilities for 2"):
        weighted_mean([1, 2], [1])
    with pytest.raises(ValueError, match="1 strata for 2"):
        weighted_mean([1, 2], [1, 1], strata=["a"])
