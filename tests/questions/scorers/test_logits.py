"""Which tokens a unit promotes: what is asked, and how far the truth gets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.planted_directions import (
    WORDS,
    by_truth,
    planted_directions,
    shared_calls,
    strongest_of,
)

from autointerp.labs.promoted_tokens import promoted
from autointerp.questions.scorers import scorer
from autointerp.questions.trials import passage_number
from bench.scorers import blind_matches

LOGITS = scorer("logits")


def test_all_hundred_tokens_are_asked_about_and_fewer_over_all_ranks(make_held_out):
    held_out = make_held_out(scorer=LOGITS)
    (call,) = LOGITS.choose(held_out, 50, False).calls
    assert [piece.truth for piece in call] == [True] * 50 + [False] * 50
    chosen = LOGITS.choose(held_out, 10, False)
    asked = [chosen.passages[piece.context] for piece in chosen.calls[0]]
    assert asked == [
        (f" {word}{n}",) for word in ("cat", "dog") for n in (0, 5, 10, 15, 20, 25, 30, 35, 40, 45)
    ]
    assert all(number == passage_number(tokens) for number, tokens in chosen.passages.items())


def test_more_than_there_are_asks_about_what_there_is(make_held_out):
    (call,) = LOGITS.choose(make_held_out(scorer=LOGITS), 500, False).calls
    assert len(call) == 100


def test_a_unit_without_logit_effects_is_not_asked_about(make_held_out):
    held_out = make_held_out()
    reason = "they are no directions in the model"
    row = {"promoted": [], "random": [], "outcome": reason}
    for measured, outcome in (
        ([row], f"no logit effects: {reason}"),
        ([], "too few tokens measured"),
    ):
        object.__setattr__(held_out, "measured", measured)
        chosen = LOGITS.choose(held_out, 50, False)
        assert (chosen.calls, chosen.outcome) == ((), outcome)


@pytest.fixture(scope="module")
def calls():
    """Calls about directions of the embedded subject, with their 60 strongest tokens as truth."""
    subject, directions = planted_directions()
    effects = subject.model.readout(False, None).effects(directions)
    chosen = []
    for number, row in enumerate(effects):
        measured = [promoted(row, subject, np.random.default_rng(number))]
        chosen.append(LOGITS.choose(SimpleNamespace(measured=measured), 50, False))
    return shared_calls(LOGITS, chosen, [strongest_of(subject, row, 60) for row in effects])


def test_planted_directions_score_above_nine_tenths_by_the_truth_and_one_half_by_that_of_others(
    calls,
):
    tried = blind_matches(by_truth(calls), calls)
    figures = {unit: LOGITS.measure(one) for unit, one in tried.items()}
    assert len(figures) == len(WORDS)
    for figure, least, most in (("accuracy", 0.9, 1), ("with others", 0.45, 0.55)):
        assert least < np.mean([one.more[figure] for one in figures.values()]) <= most
    assert np.mean([one.score for one in figures.values()]) > 0.9


def test_published_accuracy_stands_beside_the_score_as_the_share_of_right_answers(calls):
    def every_other(seen, descriptions):
        return [{1, 2, 3, 4} if place % 2 else set() for place in range(len(seen))]

    for one in blind_matches(every_other, calls).values():
        right = np.mean([asked.answer == asked.piece.truth for asked in one.asked])
        assert LOGITS.measure(one).more["accuracy"] == pytest.approx(right)
