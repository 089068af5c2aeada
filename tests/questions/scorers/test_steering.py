"""Which of two descriptions was steered: what is asked, and how far the truth gets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.planted_directions import (
    WORDS,
    by_truth,
    planted_directions,
    shared_calls,
    strongest_of,
)

from autointerp.labs.clamped_texts import LENGTH, OPTIONS, beside, texts_of
from autointerp.questions.scorers import Answered, Tried, scorer
from autointerp.questions.trials import Piece
from autointerp.subjects.interventions import Levers
from bench.scorers import blind_matches

STEERING = scorer("steering")


def test_texts_of_the_unit_and_of_the_random_direction_are_asked_about_in_equal_number(
    make_held_out,
):
    held_out = make_held_out(scorer=STEERING)
    rows = held_out.measured
    rows[1]["tokens"] = []  # the model wrote nothing
    chosen = STEERING.choose(held_out, 12, False)
    (call,) = chosen.calls
    assert [piece.kind for piece in call] == ["steered"] * 11 + ["random direction"] * 11
    assert [piece.truth for piece in call] == [True] * 11 + [False] * 11
    words = {chosen.passages[piece.context][0] for piece in call if piece.truth}
    assert words == {" cat"}


def test_a_unit_that_cannot_be_clamped_or_writes_next_to_nothing_is_not_asked_about(make_held_out):
    reason = "units of planted are no directions in the model, so none can be set"
    held_out = make_held_out(scorer=STEERING)
    silent = [{**row, "tokens": []} for row in held_out.measured]
    for measured, outcome in (
        ([{"outcome": reason}], f"nothing to clamp: {reason}"),
        ([], "too few texts measured"),
        (silent, "too few texts that are not empty"),
    ):
        chosen = STEERING.choose(SimpleNamespace(measured=measured), 12, False)
        assert (chosen.calls, chosen.outcome) == ((), outcome)


def asked(*answers):
    """Answers about the n-th texts, of which the first half were steered."""
    return [
        Answered(Piece(n, 0, 1, None, n < len(answers) / 2, "steered"), None, 0, n, answer)
        for n, answer in enumerate(answers)
    ]


def test_right_of_two_is_the_share_of_steered_texts_that_go_to_the_own_description_alone():
    own = asked(True, True, False, False, True, False, False, False)
    other = asked(True, False, False, True, False, False, True, False)
    figures = STEERING.measure(Tried(own, 1.0, beside={7: other}))
    # Of the four steered ones: both, own, neither, other: (1/2 + 1 + 1/2 + 0) / 4.
    assert figures.more["right of two"] == 0.5
    # The area under the curve of yes and no is the mean of the two shares: own (1/2 + 3/4) / 2,
    # other (1/2 + 3/4) / 2.
    assert figures.score == pytest.approx(0.5)


@pytest.fixture(scope="module")
def calls():
    """Calls about directions of the embedded subject, with their ten strongest tokens as truth."""
    subject, directions = planted_directions()
    effects = subject.model.readout(False, None).effects(directions)
    (batch,) = [next(iter(subject.cut(LENGTH + 1, 12)))]
    prompts = torch.from_numpy(batch.ids)
    chosen = []
    for number, direction in enumerate(directions):
        levers = Levers(lambda x, d=direction: (x @ d)[..., None], direction[None])
        texts = texts_of(
            subject, subject.model, levers, beside(levers, 0, number), prompts, 3.0,
            {**OPTIONS, "seed": 0},
        )  # fmt: skip
        rows = [{**row, "outcome": "ok"} for row in texts]
        chosen.append(STEERING.choose(SimpleNamespace(measured=rows), 12, False))
    return shared_calls(STEERING, chosen, [strongest_of(subject, row, 10) for row in effects])


def test_planted_directions_score_above_nine_tenths_by_the_truth_and_one_half_by_that_of_others(
    calls,
):
    assert {len(trial.candidates) for trial, _ in calls} == {2}
    figures = {
        unit: STEERING.measure(one) for unit, one in blind_matches(by_truth(calls), calls).items()
    }
    assert len(figures) == len(WORDS)
    assert np.mean([one.score for one in figures.values()]) > 0.9
    assert np.mean([one.more["right of two"] for one in figures.values()]) > 0.9
    others = np.mean([one.more["with others"] for one in figures.values()])
    assert others == pytest.approx(0.5, abs=0.05)


def test_a_judge_that_goes_by_how_broken_a_text_is_has_one_half_for_every_unit(calls):
    def repeats(seen, descriptions):
        tokens = [one.tokens for one in seen]
        return [{1, 2} if len(set(t)) < 0.85 * len(t) else set() for t in tokens]

    tried = blind_matches(repeats, calls)
    # It does tell steered texts from the others, which is worth nothing.
    told = [STEERING.measure(one).more["uncorrected"] for one in tried.values()]
    assert np.mean(told) > 0.6
    scores = [STEERING.measure(one).score for one in tried.values()]
    assert scores == pytest.approx([0.5] * len(WORDS))
