"""Is the right token marked? The unit fires in every text; half of the marks stand elsewhere.

A false mark stands on a token on which the unit is silent, of the same kind as those on which it
fires where there is one (a word for a word). What is shown is cut so that right and wrong marks
stand at the same places: the place tells nothing.

Source: EleutherAI, "Open Source Automated Interpretability for Sparse Autoencoder Features".
"""

from __future__ import annotations

import numpy as np

from autointerp.questions.contexts import over_intervals
from autointerp.questions.cuts import (
    cut,
    focus_text,
    offsets,
    shape_of,
    shown_length,
    silent_tokens,
    whole_first,
)
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    LEAST,
    Chosen,
    Figures,
    HeldOut,
    Tried,
    balanced_accuracy,
    in_calls,
)
from autointerp.questions.trials import Piece
from autointerp.records import Context

PER_CALL = 10
TASK = make_task(
    "fuzzing",
    1,
    "Is the marked token one on which the unit fires?",
    "judge",
    """
A unit of a language model is a number that the model computes at every token of a text; it fires \
where that number is above zero. You get a description of what one unit responds to, and pieces of \
text with one token marked in each. Say for each whether the unit fires on the marked token, going \
by the description alone.

{shown}

How to judge

- Only the marked token counts, in its text. Yes: it fits the description. No: it does not, even \
if another token of the text would.
- Judge each by itself. Any number of the marks may be right, all or none included.

{reply}""",
    mark=True,
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return up to `count` rightly and as many wrongly marked contexts; one context has one mark.

    With `hard`, false marks stand on tokens on which the unit fires elsewhere, where there are.
    """
    rng = held_out.rng
    firing = over_intervals(held_out.contexts, 2 * count)
    if len(firing) < 2 * LEAST:
        return Chosen(outcome="too few firing contexts")
    texts = {focus_text(held_out.contexts[n]) for n in firing}
    liked = texts | {shape_of(text) for text in texts} if hard else set(map(shape_of, texts))
    # Turns go from strong to weak: every other one keeps both halves over all intervals.
    wrong: list[Piece] = []
    right: list[Piece] = []
    for number in firing:
        context = held_out.contexts[number]
        if len(wrong) < len(right):
            piece = false_mark(number, context, liked, rng)
            if piece is not None:
                wrong.append(piece)
                continue
            if len(right) > len(wrong):
                continue  # every token fires, or no other place is like the focus
        right.append(cut(number, context, rng, True, "right", mark=True))
    if len(wrong) < LEAST:
        return Chosen(outcome="too few silent tokens")
    pieces = [*right[: len(wrong)], *wrong]
    return Chosen(in_calls(pieces, PER_CALL, rng))


def false_mark(
    number: int, context: Context, liked: set[str], rng: np.random.Generator
) -> Piece | None:
    """Return the context with a silent token marked, its place drawn as for a right mark.

    `liked` are the kinds of token, or the very tokens, that are taken before others. None if no
    silent token can stand there.
    """
    shown = shown_length(context)
    starts = len(context.tokens) - shown + 1
    is_silent = silent_tokens(context)
    for place in rng.permutation(np.array(offsets(context))):
        silent = [start + int(place) for start in range(starts) if is_silent[start + int(place)]]
        if not silent:
            continue
        same = [token for token in silent if context.tokens[token] in liked]
        alike = [token for token in silent if shape_of(context.tokens[token]) in liked]
        mark = int(rng.choice(np.array(same or alike or silent)))
        first = mark - int(place)
        begins = whole_first(context, first)
        return Piece(number, begins, first + shown, mark, False, "wrong")
    return None


def measure(tried: Tried) -> Figures:
    """Return the balanced accuracy."""
    return balanced_accuracy(tried.asked)
