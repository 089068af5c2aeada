"""Does the unit fire anywhere in this text? As many firing as silent texts, mixed.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

from autointerp.questions.cuts import cut
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    Chosen,
    Figures,
    HeldOut,
    Tried,
    balanced_accuracy,
    firing_and_silent,
    in_calls,
)

PER_CALL = 10
TASK = make_task(
    "detection",
    2,
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
    """Return unmarked pieces: `count` in which the unit fires, `count` silent ones.

    The token on which it fires may stand anywhere, as does the one that a silent text is cut
    round: in the middle, what kind of token stands there would tell.
    """
    firing, silent, lack = firing_and_silent(held_out, count, hard)
    if lack:
        return Chosen(outcome=lack)
    hard_contexts = {number: context for number, (context, _) in held_out.hard.items()}
    contexts = {**hard_contexts, **held_out.contexts}
    pieces = [cut(n, contexts[n], held_out.rng, True, "firing", mark=False) for n in firing]
    pieces += [cut(n, contexts[n], held_out.rng, False, why, mark=False) for n, why in silent]
    return Chosen(in_calls(pieces, PER_CALL, held_out.rng))


def measure(tried: Tried) -> Figures:
    """Return the balanced accuracy."""
    return balanced_accuracy(tried.asked)
