"""Which context does not belong? Four in which the unit fires and one where it is silent.

No description is needed. The intruder stands at each of the five places equally often, so that
always choosing one of them is right in one of five: (1 + (share - 1/5) / (4/5)) / 2 is the score,
0.5 by chance. Five contexts in which the unit fires are drawn; the intruder takes the place of the
fifth and looks like it: its text is about as long, and its mark stands at the same place on a token
of the same kind, length and frequency. Contexts of which no silent context has such a token are not
shown, unless too few are left: among them the intruder would stand out by its looks. The control
takes the five from different units, in which this one is silent: what can be told apart then gives
the intruder away without the unit. A unit has the same five in all calls of its control, each taken
for the fifth equally often, and no other unit has them: so its score is its own, and an interval on
the units' scores holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from autointerp.questions.contexts import over_intervals, silent_contexts
from autointerp.questions.cuts import (
    cut,
    focus_text,
    look_of,
    matched_decoys,
    offsets,
    shape_of,
    silent_texts,
    token_counts,
)
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import LEAST, Chosen, Figures, HeldOut, Tried
from autointerp.questions.trials import Piece
from autointerp.records import Context

SIZE = 5
COUNT = 20
PER_CALL = SIZE
NEAREST = 3  # silent contexts most like the fifth, of which one is taken
LETTERS = 4  # that a different token counts for
NEAR = 12  # letters by which two texts may differ, different tokens counted in
NEEDS_OTHERS = True  # for the control
TASK = make_task(
    "intruder",
    5,
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
    (control_rng,) = rng.spawn(1)  # the unit's own calls do not depend on whether it has a control
    rounds = max(1, min(count, len(firing) // (SIZE - 1), len(silent)) // SIZE) * SIZE
    others = [n for n, c in held_out.others.items() if c.draw == "interval"]
    pool = Pool.of({number: contexts[number] for number in silent}, contexts.values())
    firing = pool.matched(firing, contexts)
    others = sorted(pool.matched(others, held_out.others)[:SIZE])
    calls, control = [], []
    for number in range(rounds):
        own = _drawn(firing, contexts, rng)
        fellows = [cut(n, c, rng, False, "fellow", mark=True) for n, c in own[: SIZE - 1]]
        calls.append(_placed(fellows, pool.like(own[-1], rng), number % SIZE))
        if len(others) == SIZE:
            strange = _in_turn(others, held_out.others, number, control_rng)
            strangers = [
                cut(n, c, control_rng, False, "other", mark=True) for n, c in strange[: SIZE - 1]
            ]
            control.append(_placed(strangers, pool.like(strange[-1], control_rng), number % SIZE))
    return Chosen(tuple(calls), tuple(control))


def _in_turn(
    numbers: Sequence[int], contexts: Mapping[int, Context], call: int, rng: np.random.Generator
) -> list[tuple[int, Context]]:
    """Return five contexts in random order but for the last: each in one of five calls, and over
    25 calls once at each place of the intruder."""
    last = (call + call // SIZE) % SIZE
    rest = [numbers[(last + 1 + step) % SIZE] for step in rng.permutation(SIZE - 1)]
    return [(number, contexts[number]) for number in (*rest, numbers[last])]


def _drawn(
    numbers: Sequence[int], contexts: Mapping[int, Context], rng: np.random.Generator
) -> list[tuple[int, Context]]:
    """Return five contexts in random order; the last is one of the four where there are no more."""
    places = rng.permutation(len(numbers))[:SIZE]
    drawn = [(numbers[place], contexts[numbers[place]]) for place in places]
    return drawn if len(drawn) == SIZE else [*drawn, drawn[int(rng.integers(len(drawn)))]]


@dataclass(frozen=True)
class Pool:
    """Silent contexts of a unit, of which one is like another context.

    Attributes:
        offered: By context and place in what is shown: kinds and lengths of the silent tokens that
            could be marked there.
        counts: How often tokens stand in random contexts.
        sizes: Of the contexts, see `_size`.
    """

    contexts: Mapping[int, Context]
    offered: Mapping[tuple[int, int], frozenset[tuple[str, int]]]
    counts: Counter[str]
    sizes: Mapping[int, tuple[int, int]]

    @classmethod
    def of(cls, contexts: Mapping[int, Context], every: Iterable[Context]) -> Pool:
        """Return the pool of silent `contexts` of a unit, which has `every` context."""
        offered = {
            (number, place): frozenset(map(_alike, texts))
            for number, context in contexts.items()
            for place, texts in silent_texts(context).items()
        }
        sizes = {number: _size(context) for number, context in contexts.items()}
        return cls(contexts, offered, token_counts(every), sizes)

    def matched(self, numbers: Sequence[int], contexts: Mapping[int, Context]) -> list[int]:
        """Return the numbers of those contexts that have one like them wherever they are cut; all,
        if fewer than a call needs have."""
        kept = []
        for number in numbers:
            size, alike = _size(contexts[number]), _alike(focus_text(contexts[number]))
            near = [n for n, other in self.sizes.items() if _apart(other, size) <= NEAR]
            if all(
                any(alike in self.offered.get((n, place), ()) for n in near)
                for place in offsets(contexts[number])
            ):
                kept.append(number)
        return kept if len(kept) >= SIZE else list(numbers)

    def like(self, model: tuple[int, Context], rng: np.random.Generator) -> Piece:
        """Return a silent context of about the model's length, with a mark like the model's."""
        number, context = model
        look = look_of(context, cut(number, context, rng, False, "model", mark=True))
        alike = _alike(look.text)
        size = _size(context)
        far = {}
        for n, other in self.sizes.items():
            is_alike = alike in self.offered.get((n, look.place), ())
            far[n] = _apart(other, size) + NEAR * (not is_alike)
        shuffled = rng.permutation(np.array(list(self.contexts))).tolist()
        near = sorted(shuffled, key=far.__getitem__)[:NEAREST]
        # Of one context alone: among several the one with the most different words would be taken.
        chosen = near[int(rng.integers(len(near)))]
        of_one = {chosen: self.contexts[chosen]}
        (piece,) = matched_decoys([look], of_one, self.counts, rng, "intruder")
        assert piece is not None  # a silent context has a silent token
        return replace(piece, truth=True)


@lru_cache(maxsize=1 << 16)
def _alike(text: str) -> tuple[str, int]:
    """Return what tokens share that are taken for alike: kind and length."""
    return shape_of(text), len(text.strip())


def _size(context: Context) -> tuple[int, int]:
    """Return how many letters a text has, and how many different tokens."""
    return sum(map(len, context.tokens)), len(set(context.tokens))


def _apart(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Return how different two texts are in size."""
    return abs(one[0] - other[0]) + LETTERS * abs(one[1] - other[1])


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
