import numpy as np
import pytest

from autointerp.stats.means import mean
from autointerp.stats.weighted import effective_units, mean_by_use, weighted_mean


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


def test_a_mean_by_use_is_the_ratio_of_the_totals():
    found = mean_by_use([1, 5, 3] * 10, [1, 2, 0] * 10, (1, 5))
    assert found.value == pytest.approx(11 / 3)
    assert effective_units([1, 2, 0]) == pytest.approx(9 / 5)
    assert effective_units([0, 0]) == 0


def test_a_mean_by_use_of_alike_units_is_the_plain_mean():
    scores = np.random.default_rng(0).integers(1, 6, 80)
    found, plain = mean_by_use(scores, np.full(80, 0.3), (1, 5)), mean(scores, scale=(1, 5))
    assert (found.value, found.low, found.high) == pytest.approx(
        (plain.value, plain.low, plain.high), abs=0.01
    )


@pytest.mark.parametrize(("n", "deviation"), [(40, 1.0), (100, 1.5), (300, 2.0)])
def test_intervals_of_means_by_use_cover_where_used_units_score_higher(n, deviation):
    rng = np.random.default_rng(1)

    def drawn(n):
        z = rng.standard_normal(n)
        latent = 0.7 * z + 0.7 * rng.standard_normal(n)
        return np.clip(np.round(3 + 1.2 * latent), 1, 5), np.exp(deviation * z)

    scores, use = drawn(500_000)
    truth = (scores * use).sum() / use.sum()
    found = [mean_by_use(*drawn(n), (1, 5)) for _ in range(400)]
    held = [one for one in found if one.low is not None]
    assert len(held) > 300
    # Of 400 at 95 % three standard errors are 3 %.
    assert np.mean([one.low <= truth <= one.high for one in held]) >= 0.92
    # The plain mean's interval speaks of something else.
    assert np.mean([mean(drawn(n)[0], scale=(1, 5)).high >= truth for _ in range(100)]) < 0.5


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        ([1, 2], [1], "a weight of at least 0"),
        ([1, 2], [1, -1], "a weight of at least 0"),
        ([1, 2], [0, 0], "a weight of at least 0"),
        ([1, 6], [1, 1], "leave 1 to 5"),
    ],
)
def test_weights_and_scores_that_mean_nothing_are_refused(scores, weights, message):
    with pytest.raises(ValueError, match=message):
        mean_by_use(scores, weights, (1, 5))


def test_where_few_units_outweigh_the_others_no_interval_is_given():
    found = mean_by_use([5] + [1] * 99, [1e6] + [1] * 99, (1, 5))
    assert found.value == pytest.approx(5, abs=0.001)
    assert found.low is None
    assert "as much as 1.0 units of one weight" in found.note
