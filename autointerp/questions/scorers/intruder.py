"""Which context does not belong? Four in which the unit fires and one where it is silent.

No description is needed. The intruder stands at each of the five places equally often, so that
always choosing one of them is right in one of five: (1 + (share - 1/5) / (4/5)) / 2 is the score,
0.5 by chance. Five contexts in which the unit fires are drawn; the intruder takes the place of the
fifth and looks like it: its text is about as long, and its mark stands at the same place on a token
of the same kind, length and frequency. The control takes the five from different units, in which
this one is silent: what can be told apart then gives the intruder away without the unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autointerp.questions.contexts import over_intervals, silent_contexts
from autointerp.questions.cuts import cut, look_of, matched_decoys, token_counts
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import LEAST, Chosen, Figures, HeldOut, Tried
from autointerp.questions.trials import Piece
from autointerp.records import Context

SIZE = 5
COUNT = 20
PER_CALL = SIZE
NEAREST = 3  # silent contexts most like the fifth, of which one is taken
LETTERS = 4  # that a different token counts for
NEEDS_OTHERS = True  # for the control
TASK = make_task(
    "intruder",
    3,
    "Which context does not belong?",
    "choose",
    """
A unit of a language model is a number that the model computes at every token of a text; it fires \
where that number is above zero. You get five contexts with one token marked in each. In four of \
them one and the same unit fires on the marked token; in one of them it is silent. Find that one.

{shown}

How to judge

- Look for what four marked tokens, or the texts round them, have in common: form, grammar, \
meaning, subject, kind of text, what stands just before. The one that lacks it is the intruder.
- There is exactly one. If you cannot tell, choose the likeliest.

{reply}""",
    description=False,
    mark=True,
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return up to `count` questions of five contexts, in whole rounds of five; see above."""
    contexts = held_out.contexts
    firing = over_intervals(contexts, (SIZE - 1) * count)
    silent = silent_contexts(contexts)
    if len(firing) < SIZE - 1:
        return Chosen(outcome="too few firing contexts")
    if len(silent) < LEAST:
        return Chosen(outcome="too few silent contexts")
    rng = held_out.rng
    rounds = max(1, min(count, len(firing) // (SIZE - 1), len(silent)) // SIZE) * SIZE
    others = [n for n, c in held_out.others.items() if c.draw == "interval"]
    pool = {number: contexts[number] for number in silent}
    counts = token_counts(contexts.values())
    calls, control = [], []
    for number in range(rounds):
        own = _drawn(firing, contexts, rng)
        intruder = _like(own[-1], pool, counts, rng)
        fellows = [cut(n, c, rng, False, "fellow", mark=True) for n, c in own[: SIZE - 1]]
        calls.append(_placed(fellows, intruder, number % SIZE))
        if len(others) >= SIZE:
            strange = _drawn(others, held_out.others, rng)
            intruder = _like(strange[-1], pool, counts, rng)
            strangers = [cut(n, c, rng, False, "other", mark=True) for n, c in strange[: SIZE - 1]]
            control.append(_placed(strangers, intruder, number % SIZE))
    return Chosen(tuple(calls), tuple(control))


def _drawn(
    numbers: Sequence[int], contexts: Mapping[int, Context], rng: np.random.Generator
) -> list[tuple[int, Context]]:
    """Return five contexts in random order; the last is one of the four where there are no more."""
    places = rng.permutation(len(numbers))[:SIZE]
    drawn = [(numbers[place], contexts[numbers[place]]) for place in places]
    return drawn if len(drawn) == SIZE else [*drawn, drawn[int(rng.integers(len(drawn)))]]


def _like(
    model: tuple[int, Context],
    pool: Mapping[int, Context],
    counts: Counter[str],
    rng: np.random.Generator,
) -> Piece:
    """Return a silent context of about the model's length, with a mark like the model's."""
    number, context = model
    look = look_of(context, cut(number, context, rng, False, "model", mark=True))
    far = {n: _apart(other, context) for n, other in pool.items()}
    near = sorted(rng.permutation(np.array(list(pool))).tolist(), key=far.__getitem__)[:NEAREST]
    # Of one context alone: among several the one with the most different words would be taken.
    chosen = near[int(rng.integers(len(near)))]
    (piece,) = matched_decoys([look], {chosen: pool[chosen]}, counts, rng, "intruder")
    assert piece is not None  # a silent context has a silent token
    return replace(piece, truth=True)


def _apart(one: Context, other: Context) -> float:
    """Return how different two texts are in length and in the number of their different tokens."""
    lengths = [sum(map(len, context.tokens)) for context in (one, other)]
    different = [len(set(context.tokens)) for context in (one, other)]
    return abs(lengths[0] - lengths[1]) + LETTERS * abs(different[0] - different[1])


def _placed(fellows: list[Piece], intruder: Piece, place: int) -> tuple[Piece, ...]:
    return (*fellows[:place], intruder, *fellows[place:])


def measure(tried: Tried) -> Figures:
    """Return the share of intruders found, set to 0.5 at chance."""
    calls: dict[int, list[bool]] = {}
    for one in tried.asked:
        if one.answer is not None:
            calls.setdefault(one.call, []).append(bool(one.answer and one.piece.truth))
    if not calls:
        return Figures(None, "no answers")
    share = sum(any(chosen) for chosen in calls.values()) / len(calls)
    chance = 1 / SIZE
    return Figures((1 + (share - chance) / (1 - chance)) / 2, "ok", {"found": share})
