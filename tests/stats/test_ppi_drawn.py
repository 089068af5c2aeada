"""People's units drawn with unequal probabilities: the draw, and what is estimated from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import TooFewRatings
from autointerp.stats.ppi_drawn import (
    draw_with_probabilities,
    inclusion_probabilities,
    predict_difference_drawn,
    predict_mean_drawn,
    predict_superiority_drawn,
    unsure_sizes,
)
from autointerp.stats.ppi_superiority import predict_superiority
from autointerp.stats.superiority import superiority

SCALE = (1.0, 5.0)
UNSURE = st.lists(st.floats(0, 10), min_size=1, max_size=40)


@given(UNSURE, st.data())
def test_probabilities_sum_to_the_draw_and_none_is_0_or_above_1(unsure, data):
    n = data.draw(st.integers(0, len(unsure)))
    pi = inclusion_probabilities(unsure_sizes(unsure), n)
    assert pi.sum() == pytest.approx(n)
    assert ((pi >= 0) & (pi <= 1)).all()
    assert n == 0 or (pi > 0).all()
    order = np.argsort(unsure, kind="stable")
    assert (np.diff(pi[order]) >= -1e-12).all()  # the less sure, the likelier


@given(UNSURE, st.data())
def test_as_many_different_units_are_drawn_as_were_asked_for(unsure, data):
    n = data.draw(st.integers(0, len(unsure)))
    pi = inclusion_probabilities(unsure_sizes(unsure), n)
    drawn = draw_with_probabilities(pi, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == n


def test_a_unit_of_which_the_judge_is_sure_is_drawn_less_often_by_a_known_factor():
    # u = 0 and 2, mean square 2: sizes sqrt(2) and sqrt(6), a factor of sqrt(3).
    sizes = unsure_sizes([0.0, 2.0] * 10)
    assert sizes[1] / sizes[0] == pytest.approx(3**0.5)
    assert set(unsure_sizes([0.0, 0.0])) == {1.0}
    assert len(set(unsure_sizes([0.7, 0.7, 0.7]))) == 1


def test_units_that_would_be_drawn_twice_are_all_drawn_and_the_rest_share_what_is_left():
    pi = inclusion_probabilities([100.0, 1.0, 1.0, 2.0], 2)
    assert list(pi) == pytest.approx([1, 0.25, 0.25, 0.5])
    assert list(inclusion_probabilities([5.0, 1.0], 2)) == [1, 1]


def test_the_draw_has_the_probabilities_that_it_says():
    rng = np.random.default_rng(1)
    pi = inclusion_probabilities([1.0, 1.0, 2.0, 4.0, 8.0, 2.0, 1.0], 3)
    hits = np.zeros(len(pi))
    for _ in range(4_000):
        hits[draw_with_probabilities(pi, rng)] += 1
    assert hits / 4_000 == pytest.approx(pi, abs=0.03)  # four standard errors


@pytest.mark.parametrize(("size", "n"), [([0.0, 1.0], 1), ([1.0], 2), ([np.nan, 1.0], 1)])
def test_sizes_that_are_none_are_refused(size, n):
    with pytest.raises(ValueError, match="sizes that must be"):
        inclusion_probabilities(size, n)


def rated(n: int, units: int, centre: float, seed: int):
    """Return a group of which the judge is unsure of every other unit, and how it was drawn."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(centre, 1.2, units)
    unsure = np.where(np.arange(units) % 2, 0.3, 1.5)
    human = np.clip(np.rint(quality), 1, 5)
    judge = np.clip(np.rint(quality + 0.6 + unsure * rng.standard_normal(units)), 1, 5)
    pi = inclusion_probabilities(unsure_sizes(unsure), n)
    at = draw_with_probabilities(pi, rng)
    return (human[at], judge[at], judge, pi[at]), human


def test_a_judge_that_says_nothing_leaves_the_weighted_mean_of_people():
    (human, judge, every, pi), _ = rated(20, 100, 3, 0)
    made = predict_mean_drawn(
        human, np.full_like(judge, 3), np.full_like(every, 3), pi, scale=SCALE
    )
    assert made.mean.value == pytest.approx(np.average(human, weights=1 / pi))
    assert made.power == 0


def test_equal_probabilities_give_what_a_random_subset_gives():
    (human, judge, every, _), _ = rated(30, 200, 3, 1)
    (other, by_judge, all_of_it, _), _ = rated(25, 150, 2.5, 2)
    first = (human, judge, every, np.full(30, 30 / 200))
    second = (other, by_judge, all_of_it, np.full(25, 25 / 150))
    drawn = predict_superiority_drawn(first, second)

    def rest(part, whole):  # the judge's scores of the units that people did not rate
        left = list(whole)
        for score in part:
            left.remove(score)
        return np.array(left)

    plain = predict_superiority(
        (human, judge, rest(judge, every)), (other, by_judge, rest(by_judge, all_of_it))
    )
    assert drawn.superiority.value == pytest.approx(plain.superiority.value, abs=1e-9)
    width = [s.high - s.low for s in (drawn.superiority, plain.superiority)]
    assert width[0] == pytest.approx(width[1], rel=0.2)
    assert drawn.human_only.value == pytest.approx(superiority(human, other).value)


def test_everybody_rated_is_the_mean_of_everybody():
    _, human = rated(10, 60, 3, 3)
    judge = np.clip(human + 1, 1, 5)
    made = predict_mean_drawn(human, judge, judge, np.ones(60), scale=SCALE)
    assert made.mean.value == pytest.approx(human.mean())
    assert made.mean.low < human.mean() < made.mean.high  # of units such as these


def test_intervals_cover_what_people_would_say_of_all_units_and_unweighted_ones_do_not():
    rng = np.random.default_rng(4)
    held, unweighted = [], []
    for _ in range(300):
        units = 400
        unsure = rng.random(units) < 0.3  # people give these low scores, and they are drawn more
        human = np.where(unsure, rng.integers(1, 3, units), rng.integers(3, 6, units)).astype(float)
        judge = np.clip(human + rng.integers(-1, 2, units) * (1 + unsure), 1, 5)
        pi = inclusion_probabilities(unsure_sizes(np.where(unsure, 2.0, 0.2)), 40)
        at = draw_with_probabilities(pi, rng)
        truth = 0.3 * 1.5 + 0.7 * 4
        for weight, kept in ((pi[at], held), (np.full(40, 0.1), unweighted)):
            made = predict_mean_drawn(human[at], judge[at], judge, weight, scale=SCALE).mean
            kept.append(made.low <= truth <= made.high)
    assert np.mean(held) >= 0.92
    assert np.mean(unweighted) < np.mean(held) - 0.1


def test_few_or_unfit_ratings_have_a_reason():
    group, _ = rated(9, 60, 3, 5)
    assert "9 rated by people" in predict_mean_drawn(*group, scale=SCALE).mean.note
    other, _ = rated(20, 60, 2, 6)
    assert "in a group" in predict_superiority_drawn(group, other).superiority.note
    assert predict_difference_drawn(other, other, scale=SCALE).difference.value == 0
    with pytest.raises(TooFewRatings):
        predict_mean_drawn([1, 2], [1, 2], [1, 2, 3], [0.5, 0.5], scale=SCALE)
    with pytest.raises(ValueError, match="above 0"):
        predict_mean_drawn([1, 2, 3], [1, 2, 3], [1, 2, 3], [0, 0.5, 0.5], scale=SCALE)
    with pytest.raises(ValueError, match="probabilities"):
        predict_mean_drawn([1, 2, 3], [1, 2, 3], [1, 2, 3], [0.5, 0.5], scale=SCALE)
    flat = predict_mean_drawn(
        np.full(12, 3), np.full(12, 3), np.full(40, 3), np.full(12, 0.3), scale=SCALE
    )
    assert flat.mean.low is None
