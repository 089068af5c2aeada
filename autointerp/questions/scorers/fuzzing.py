"""Is the right token marked? The unit fires in every text; half of the marks stand elsewhere.

A false mark stands on a token on which the unit is silent, as like as can be to a token on which it
fires: of the same kind, length and frequency, and as often the longest or the commonest of what is
shown. That is cut so that right and wrong marks stand at the same places: the place tells nothing.

A call has one text. Among several, right marks repeat a token, and a token that repeats is right
even where another is marked: a rater would need no description.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

from autointerp.questions.contexts import over_intervals
from autointerp.questions.cuts import cut, focus_text, look_of, matched_decoys, token_counts
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    LEAST,
    Chosen,
    Figures,
    HeldOut,
    Tried,
    alone,
    balanced_accuracy,
)

PER_CALL = 1
TASK = make_task(
    "fuzzing",
    2,
    "Is the marked token one on which the unit fires?",
    "judge",
    """
A unit of a language model is a number that the model computes at every token of a text; it fires \
where that number is above zero. You get a description of what one unit responds to, and a piece \
of text with one token marked in it. Say whether the unit fires on the marked token, going by the \
description alone.

{shown}

How to judge

- Only the marked token counts, in its text. Yes: it fits the description. No: it does not, even \
if another token of the text would.

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
    return Chosen(alone([piece for pair in pairs for piece in pair], rng))


def measure(tried: Tried) -> Figures:
    """Return the balanced accuracy."""
    return balanced_accuracy(tried.asked)
