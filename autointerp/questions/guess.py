"""The blinding check's question: is this item a feature, a neuron or a control?

People are asked at the end of a session. For a model, ask `guess_rubric` about the same items and
store what `read_guess` makes of the replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from autointerp.questions.rubric import Rubric
from autointerp.records import Reply

Guess = Literal["feature", "neuron", "control", "unknown"]

GUESSES: tuple[Guess, ...] = ("feature", "neuron", "control", "unknown")
LABELS: Mapping[Guess, str] = {
    "feature": "a feature of a sparse autoencoder",
    "neuron": "a neuron",
    "control": "a control: made to look like one of the two",
    "unknown": "cannot be told",
}
TEXT = """\
You are shown where one unit of a language model fires. It is a feature of a sparse autoencoder, \
a neuron, or a control that was made to look like one of the two. Say which, from the contexts \
alone. If you cannot tell, say so: a guess without a reason is worth nothing here.

{shown}

The answers

{scale}

{reply}"""


def guess_rubric(rubric: Rubric) -> Rubric:
    """Return the question of the blinding check about what `rubric` shows.

    Its scores are the places of `GUESSES`, from 1. Never store its replies as ratings.
    """
    return replace(
        rubric,
        id="blinding-check",
        version=1,
        title="Feature, neuron or control?",
        scale=tuple((place, LABELS[guess]) for place, guess in enumerate(GUESSES, 1)),
        asks=(),
        text=TEXT,
    )


def read_guess(question: Rubric, reply: Reply) -> Guess | None:
    """Return the guess in a reply to `guess_rubric`'s question; None where there is none."""
    read = question.read(reply)
    return None if read.score is None else GUESSES[read.score - 1]
