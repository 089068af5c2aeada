"""Whether text that is written to a description makes the unit fire."""

from __future__ import annotations

import pytest

from autointerp.questions.forms import WRITTEN, answers_in
from autointerp.questions.scorers import Answered, Tried, scorer
from autointerp.questions.trials import Piece
from autointerp.records import Item, Reply

GENERATION = scorer("generation")


def tried(own, others, scale=2.0):
    """A unit's largest activations on texts for its own description and for others'."""
    return Tried(
        [
            Answered(Piece(-1, 0, 1, None, is_own, "own" if is_own else "other"), None, 0, 0, a, a)
            for is_own, levels in ((True, own), (False, others))
            for a in levels
        ],
        scale,
    )


def test_the_score_is_the_probability_that_it_fires_more_strongly_on_its_own_texts():
    figures = GENERATION.measure(tried([2.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]))
    # 2 beats all four; 1 beats three and ties one; 0 ties three and loses one: 4 + 3.5 + 1.5 of 12.
    assert figures.score == pytest.approx(9 / 12)
    # The means, 1 and 0.25, as shares of the largest activation in the corpus.
    assert figures.more == {"activation, own": 0.5, "activation, others": 0.125}


def test_a_unit_that_fires_on_no_text_at_all_scores_one_half():
    assert GENERATION.measure(tried([0.0] * 8, [0.0] * 64)).score == 0.5


def test_without_texts_that_were_measured_there_is_no_score():
    for own, others in (([], [0.0]), ([1.0], []), ([None], [0.0])):
        figures = GENERATION.measure(tried(own, others))
        assert figures.score is None
        assert figures.outcome.startswith("no answers: no text of")


def test_the_prompt_has_the_description_and_no_text_and_says_how_many_to_write():
    task = GENERATION.TASK
    shown = task.user(Item("0" * 16, "generation", (), 'the word "cat"', fence="abc"))
    assert shown.splitlines() == [
        "<<<quoted abc", '{"description": "the word \\"cat\\""}', "quoted abc>>>",
    ]  # fmt: skip
    assert f"Write {WRITTEN} short texts" in task.system()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{"texts": [" a cat ", "two"]}', ["a cat", "two"]),
        ('{"texts": ["one", "", "  ", "two"]}', ["one", "two"]),
        ('{"texts": ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}', list("12345678")),
        ('{"texts": ["", " "]}', None),
        ('{"texts": "one"}', None),
        ('{"texts": [{"text": "one"}]}', None),
        ('{"text": ["one"]}', None),
    ],
)
def test_blank_texts_and_those_beyond_what_was_asked_for_are_left_out(text, written):
    reply = Reply(text)
    read = GENERATION.TASK.read(reply)
    answers = list(answers_in(GENERATION.TASK, reply).values())
    assert (read.status, read.score) == (("ok", len(written)) if written else ("unparsed", None))
    assert answers == (written or [])
