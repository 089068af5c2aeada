"""Is the right token marked? The unit fires in every text; half of the marks stand elsewhere.

A false mark stands on a token on which the unit is silent, as like as can be to a token on which it
fires: of the same kind, length and frequency, and as often the longest or the commonest of what is
shown. That is cut so that right and wrong marks stand at the same places: the place tells nothing.

A call has the descriptions and texts of several units, as in detection: that right marks of a unit
repeat a token says nothing of whose unit it is.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

from autointerp.questions.contexts import over_intervals
from autointerp.questions.cuts import cut, focus_text, look_of, matched_decoys, token_counts
from autointerp.questions.forms import LETTERS, make_task
from autointerp.questions.scorers import (
    LEAST,
    Chosen,
    Figures,
    HeldOut,
    Tried,
    above_others,
)

COUNT = 14
PER_CALL = len(LETTERS)
TOGETHER = True
TASK = make_task(
    "fuzzing",
    3,
    "Is the marked token one on which the unit fires?",
    "match",
    """
A unit of a language model fires on some tokens of a text and is silent on the others. You get \
descriptions of what several units respond to, and pieces of text with one token marked in \
each. Say for each description in which texts its unit fires on the marked token, going by the \
description alone.

{shown}

How to judge

- Only the marked token counts: it fits or not, even if another token of the text would.
- Judge each description by itself: several may fit a text, or none.

{reply}""",
    mark=True,
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return up to `count` rightly and as many wrongly marked contexts; one context has one mark.

    With `hard`, false marks stand on tokens on which the unit fires elsewhere, where there are.
    """
    rng = held_out.rng
    contexts = held_out.contexts
    firing = over_intervals(contexts, 2 * count)
    if len(firing) < 2 * LEAST:
        return Chosen(outcome="too few firing contexts")
    # Turns go from strong to weak: every other one keeps both halves over all intervals.
    right = [cut(n, contexts[n], rng, True, "right", mark=True) for n in firing[::2]]
    wrong = matched_decoys(
        [look_of(contexts[p.context], p) for p in right],
        {n: contexts[n] for n in firing[1::2]},
        token_counts(contexts.values()),
        rng,
        "wrong",
        frozenset(focus_text(contexts[n]) for n in firing) if hard else frozenset(),
    )
    pairs = [(mark, decoy) for mark, decoy in zip(right, wrong, strict=True) if decoy is not None]
    if len(pairs) < LEAST:
        return Chosen(outcome="too few silent tokens")
    return Chosen((tuple(piece for pair in pairs for piece in pair),))


def measure(tried: Tried) -> Figures:
    """Return what the own description gets above the others of the call."""
    return above_others(tried)
