"""Does the unit fire anywhere in this text? As many firing as silent texts.

A call has one text of each kind: among several in which the unit fires, what they share would give
it away to a rater that does not read the description.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

from dataclasses import replace

from autointerp.questions.contexts import silent_contexts
from autointerp.questions.cuts import cut, look_of, matched_decoys, token_counts
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    Chosen,
    Figures,
    HeldOut,
    Tried,
    balanced_accuracy,
    firing_and_silent,
    in_pairs,
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
    """Return unmarked pieces: `count` in which the unit fires, `count` silent ones.

    The token on which it fires may stand anywhere, as does the one that a silent text is cut
    round, which is like it in kind, length and frequency: else what stands near the middle would
    tell.
    """
    firing, silent, lack = firing_and_silent(held_out, count, hard)
    if lack:
        return Chosen(outcome=lack)
    rng = held_out.rng
    own = held_out.contexts
    shown = [cut(n, own[n], rng, True, "firing", mark=False) for n in firing]
    hidden = [
        cut(n, held_out.hard[n][0], rng, False, why, mark=False)
        for n, why in silent
        if why != "silent"
    ]
    decoys = matched_decoys(
        [look_of(own[p.context], p) for p in shown[len(hidden) :]],
        {n: own[n] for n in silent_contexts(own)},
        token_counts(own.values()),
        rng,
        "silent",
    )
    hidden += [replace(decoy, mark=None) for decoy in decoys if decoy is not None]
    return Chosen(in_pairs(shown, hidden, rng))


def measure(tried: Tried) -> Figures:
    """Return the balanced accuracy."""
    return balanced_accuracy(tried.asked)
