import numpy as np
import pytest

from autointerp.stats.means import mean
from autointerp.stats.weighted import effective_units, weighted_mean


def test_rare_units_count_by_the_units_they_stand_for():
    # One unit in 2 scored 1, one in 4 scored 4: (1·2 + 4·4)/(2 + 4) = 3.
    assert weighted_mean([1, 4], [1 / 0.5, 1 / 0.25], (1, 5)).value == pytest.approx(3)


@pytest.mark.parametrize("n", [30, 60])
def test_intervals_by_the_inverse_of_the_probability_cover_where_it_goes_with_the_score(n):
    rng = np.random.default_rng(2)
    population = np.repeat([1.0, 2.0, 4.0, 5.0], 500)
    chance = np.repeat([0.3, 0.5, 0.8, 1.0], 500)
    chance *= n / chance.sum()
    places = [rng.choice(len(population), size=n, replace=False, p=chance / n) for _ in range(400)]
    found = [weighted_mean(population[at], 1 / chance[at], (1, 5)) for at in places]
    # The mean of all is 3; of those drawn, which score higher, it is over 3.4.
    assert np.mean([one.low <= 3 <= one.high for one in found]) >= 0.92
    assert np.mean([mean(population[at], scale=(1, 5)).low <= 3 for at in places]) < 0.6


def test_a_mean_by_use_is_the_ratio_of_the_totals():
    found = weighted_mean([1, 5, 3] * 10, [1, 2, 0] * 10, (1, 5))
    assert found.value == pytest.approx(11 / 3)
    assert effective_units([1, 2, 0]) == pytest.approx(9 / 5)
    assert effective_units([0, 0]) == 0


def test_a_mean_by_use_of_alike_units_is_the_plain_mean():
    scores = np.random.default_rng(0).integers(1, 6, 80)
    found, plain = weighted_mean(scores, np.full(80, 0.3), (1, 5)), mean(scores, scale=(1, 5))
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
    found = [weighted_mean(*drawn(n), (1, 5)) for _ in range(400)]
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
        weighted_mean(scores, weights, (1, 5))


def test_where_few_units_outweigh_the_others_no_interval_is_given():
    found = weighted_mean([5] + [1] * 99, [1e6] + [1] * 99, (1, 5))
    assert found.value == pytest.approx(5, abs=0.001)
    assert found.low is None
    assert "as much as 1.0 units of one weight" in found.note
