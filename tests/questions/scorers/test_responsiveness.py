"""Do texts that fit make the unit fire, and does what makes it fire fit? One set of answers."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from autointerp.questions.scorers import Answered, Tried, scorer
from autointerp.questions.scorers.purity import purity
from autointerp.questions.scorers.responsiveness import responsiveness
from autointerp.questions.trials import Piece
from autointerp.stats.ranks import average_precision

BOTH = ("responsiveness", "purity")


@functools.cache
def piece(number):
    return Piece(number, 0, 1, None, None, "random")


def asked(answers, levels):
    return [
        Answered(piece(n), None, 0, n, answer, level)
        for n, (answer, level) in enumerate(zip(answers, levels, strict=True))
    ]


def test_half_of_the_texts_fire_in_a_unit_and_half_are_drawn_at_random(make_held_out):
    module = scorer("responsiveness")
    held_out = make_held_out()
    (call,) = module.choose(held_out, 10, False).calls
    assert [piece.kind for piece in call] == ["firing"] * 10 + ["random"] * 10
    assert all(piece.truth is True and piece.mark is None for piece in call[:10])
    intervals = [held_out.contexts[piece.context].interval for piece in call[:10]]
    assert sorted(intervals) == list(range(1, 11))


def test_responsiveness_is_the_area_under_the_curve_of_activations_on_what_fits():
    # 3 and 0 fit, 1 and 0 do not: 3 beats both, 0 ties one and loses one. 2.5 of 4.
    figures = responsiveness(asked([True, False, True, False], [3.0, 1.0, 0.0, 0.0]), 4.0)
    assert figures.score == 2.5 / 4
    assert figures.more["share that fits"] == 0.5
    assert figures.more["fires on what fits"] == 0.5
    assert figures.more["activation, fitting"] == 1.5 / 4


def test_purity_is_average_precision_with_one_half_at_that_of_a_random_order():
    # In order of activation: fits, does not, fits: (1 + 2/3) / 2. At random of the three orders of
    # two among three: (1 + 1) / 2, (1 + 2/3) / 2 and (1/2 + 2/3) / 2, in the mean 29/36.
    found, chance = 5 / 6, (1 + 5 / 6 + 7 / 12) / 3
    figures = purity(asked([True, False, True], [3.0, 2.0, 1.0]))
    assert figures.more["average precision"] == pytest.approx(found)
    assert figures.score == pytest.approx(0.5 + 0.5 * (found - chance) / (1 - chance))
    assert purity(asked([True, True, False], [3.0, 2.0, 1.0])).score == pytest.approx(1)


def test_a_description_of_one_of_two_reasons_is_responsive_and_impure():
    # It fires on a, strongly, and on b, weakly or strongly; the description is of a alone.
    of_a = [True] * 10 + [False] * 10 + [False] * 80
    weak_b = asked(of_a, [2.0] * 10 + [1.0] * 10 + [0.0] * 80)
    strong_b = asked(of_a, [1.0] * 10 + [2.0] * 10 + [0.0] * 80)
    assert purity(weak_b).score == pytest.approx(1)
    assert purity(strong_b).score < 0.8
    # What fits is above all that does not, or above 80 of the 90.
    assert responsiveness(weak_b, 2.0).score == 1
    assert responsiveness(strong_b, 2.0).score == pytest.approx(80 / 90)


@pytest.mark.parametrize("measure", [purity, lambda asked: responsiveness(asked, 1.0)])
def test_what_fits_everything_or_nothing_has_one_half_and_no_answers_have_none(measure):
    for answer in (True, False, 0.3, 0.9):
        assert measure(asked([answer] * 4, [2.0, 1.0, 0.0, 0.0])).score == 0.5
    for answers, levels in (([None] * 2, [1.0, 0.0]), ([True, False], [None, None])):
        figures = measure(asked(answers, levels))
        assert (figures.score, figures.outcome) == (None, "no answers on texts that were measured")


@pytest.mark.parametrize("name", BOTH)
def test_a_judge_that_finds_out_which_texts_belong_together_has_one_half(name):
    # It knows which of 160 texts make one unit fire, and can but guess whose description is whose.
    rng = np.random.default_rng(3)
    module = scorer(name)
    scores = []
    for _ in range(600):
        unit = rng.permutation(8)[0]
        owners = np.repeat(np.arange(8), 20)
        fires = (owners == unit) & (np.arange(160) % 2 == 0)
        levels = np.where(fires, rng.random(160), 0.0)
        guessed = rng.permutation(8)  # cluster -> description
        answers = {d: (guessed[owners] == d) & (np.arange(160) % 2 == 0) for d in range(8)}
        tried = {d: asked(answer.tolist(), levels.tolist()) for d, answer in answers.items()}
        own = tried.pop(unit)
        scores.append(module.measure(Tried(own, 1.0, beside=tried)).score)
    # Nearly all or nothing, once in eight: a standard error of about 0.012.
    assert np.mean(scores) == pytest.approx(0.5, abs=3 * np.std(scores) / 600**0.5)


@pytest.mark.parametrize(
    ("levels", "relevant"),
    [
        ([3, 2, 1, 0], [1, 0, 1, 0]),
        ([1, 1, 1, 0], [0, 1, 1, 1]),
        ([2, 2, 1, 1, 1], [1, 0, 1, 0, 1]),
        ([0, 0, 0, 0, 0], [1, 0, 0, 1, 0]),
        ([5], [1]),
    ],
)
def test_average_precision_of_ties_is_the_mean_over_the_orders_that_they_may_have(levels, relevant):
    def of_order(order):
        hits = [relevant[place] for place in order]
        return np.mean([np.mean(hits[: n + 1]) for n, hit in enumerate(hits) if hit])

    orders = [
        order
        for order in itertools.permutations(range(len(levels)))
        if [levels[place] for place in order] == sorted(levels, reverse=True)
    ]
    expected = np.mean([of_order(order) for order in orders])
    assert average_precision(levels, relevant) == pytest.approx(expected)


def test_average_precision_without_anything_relevant_is_undefined():
    assert np.isnan(average_precision([1.0, 2.0], [False, False]))
