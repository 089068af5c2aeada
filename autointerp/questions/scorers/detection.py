"""Does the unit fire anywhere in this text? As many firing as silent texts.

A call has the descriptions of several units, in random order, and texts of all of them, and asks
for each description which texts fit it. So the texts of a unit are tried with the descriptions of
others at no further cost, and what texts of a unit have in common gives nothing away: a rater that
does not read the descriptions cannot know whose they are.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

from autointerp.questions.forms import LETTERS, make_task
from autointerp.questions.scorers import (
    Chosen,
    Figures,
    HeldOut,
    Tried,
    above_others,
    unmarked,
    unmarked_texts,
)

COUNT = 14
PER_CALL = len(LETTERS)
TOGETHER = True
TASK = make_task(
    "detection",
    4,
    "In which texts does the unit fire?",
    "match",
    """
A unit of a language model fires on some tokens of a text and is silent on the others. You get \
descriptions of what several units respond to, and pieces of text. Say for each description in \
which texts its unit fires on at least one token, going by the description alone.

{shown}

How to judge

- Take a description at its word: a text fits if something in it does.
- Judge each description by itself: several may fit a text, or none.

{reply}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return unmarked pieces: `count` in which the unit fires, `count` silent ones."""
    shown, hidden, lack = unmarked_texts(held_out, count, hard)
    if lack:
        return Chosen(outcome=lack)
    return Chosen(((*unmarked(shown), *unmarked(hidden)),))


def measure(tried: Tried) -> Figures:
    """Return what the own description gets above the others of the call."""
    return above_others(tried)
