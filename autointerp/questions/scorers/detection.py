"""Does the unit fire anywhere in this text? As many firing as silent texts.

A call has one text of each kind: among several in which the unit fires, what they share would give
it away to a rater that does not read the description.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    Chosen,
    Figures,
    HeldOut,
    Tried,
    balanced_accuracy,
    in_pairs,
    unmarked,
    unmarked_texts,
)

PER_CALL = 2
TASK = make_task(
    "detection",
    3,
    "In which texts does the unit fire?",
    "judge",
    """
A unit of a language model is a number that the model computes at every token of a text; it fires \
where that number is above zero. You get a description of what one unit responds to, and pieces of \
text. Say for each of them whether the unit fires on at least one token in it, going by the \
description alone.

{shown}

How to judge

- Take the description at its word. Yes: something in the text fits it. No: nothing does.
- Judge each text by itself. Any number of them may be right, all or none included.

{reply}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return unmarked pieces: `count` in which the unit fires, `count` silent ones."""
    shown, hidden, lack = unmarked_texts(held_out, count, hard)
    if lack:
        return Chosen(outcome=lack)
    return Chosen(in_pairs(unmarked(shown), unmarked(hidden), held_out.rng))


def measure(tried: Tried) -> Figures:
    """Return the balanced accuracy."""
    return balanced_accuracy(tried.asked)
