"""Marked places in contexts: where a unit fires and where it is silent, drawn by seed.

A silent place is taken, as far as there is one, on a token that looks like the token of a firing
place (case, digits, punctuation), so that looks alone do not tell them apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autointerp.raters._evidence import shape_of
from autointerp.text import CONTROL

PIECES = 4  # of a word, on either side of a token
MATCHED_EVERY = 2  # silent places of which one is matched in looks, the others are drawn from all

Context = dict[str, Any]  # `split`, `tokens`, `activations`, `focus`, as a request's body has them


@dataclass(frozen=True)
class Mark:
    """A token of a context.

    Attributes:
        context: Its number among those given.
        level: The unit's activation there, 0 to 10.
    """

    context: int
    tokens: tuple[str, ...]
    place: int
    level: float

    @property
    def fires(self) -> bool:
        return self.level > 0

    @property
    def token(self) -> str:
        return self.tokens[self.place]

    @property
    def word(self) -> str:
        """The word that the token is a piece of; the token itself where it is no part of one."""
        if not self.token.strip().isalnum():
            return _flat(self.token).strip() or json.dumps(self.token)[1:-1]
        low = high = self.place
        while self.place - low < PIECES and low and _joined(self.tokens[low - 1], self.tokens[low]):
            low -= 1
        while high - self.place < PIECES and high + 1 < len(self.tokens):
            if not _joined(self.tokens[high], self.tokens[high + 1]):
                break
            high += 1
        return _flat("".join(self.tokens[low : high + 1])).strip()

    def text(self, before: int, after: int) -> str:
        """Return the token and its neighbours, on one line."""
        low = max(0, self.place - before)
        return _flat("".join(self.tokens[low : self.place + 1 + after])).strip()


def _joined(left: str, right: str) -> bool:
    """Return whether two tokens stand within one word."""
    return left[-1:].isalnum() and right[:1].isalnum()


def _flat(text: str) -> str:
    """Return the text on one line, its control tokens spelled out as text."""
    flat = " ".join(text.split()) if text.strip() else ""
    return CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", flat)


def firing_marks(contexts: Sequence[Context], rng: np.random.Generator) -> list[Mark]:
    """Return one mark for each context whose focus fires, taken in turn from each level of
    activation, so that any first part covers the whole range."""
    levels: dict[int, list[Mark]] = {}
    for number in rng.permutation(len(contexts)):
        context = contexts[number]
        tokens, place = tuple(context["tokens"]), context["focus"]
        if place is not None and context["activations"][place] > 0:
            mark = Mark(int(number), tokens, place, context["activations"][place])
            levels.setdefault(int(np.ceil(mark.level)), []).append(mark)
    marks = []
    while any(levels.values()):
        for level in sorted(levels, reverse=True):
            if levels[level]:
                marks.append(levels[level].pop())
    return marks


def silent_marks(
    contexts: Sequence[Context], like: Sequence[Mark], rng: np.random.Generator
) -> list[Mark]:
    """Return as many silent marks as there are in `like`, or all that there are if fewer.

    Places in contexts that are silent throughout come first, then silent ones beside firings; no
    context gives two before each has given one.
    """
    wholly: list[list[Mark]] = []
    partly: list[list[Mark]] = []
    for number in rng.permutation(len(contexts)):
        context = contexts[number]
        levels = np.array(context["activations"])
        tokens = tuple(context["tokens"])
        places = np.flatnonzero((levels <= 0) & np.array([bool(t.strip()) for t in tokens]))
        marks = [Mark(int(number), tokens, int(p), 0.0) for p in rng.permutation(places)]
        if marks:
            (partly if np.any(levels > 0) else wholly).append(marks)
    pool = wholly if 2 * len(wholly) >= len(like) else [*wholly, *partly]
    chosen: list[Mark] = []
    for turn, mark in enumerate(like):
        pool = [marks for marks in pool if marks]
        if not pool:
            break
        marks, place = pool[0], 0
        if turn % MATCHED_EVERY == 0:
            shape = shape_of(mark.token)
            alike = (
                (marks, place)
                for marks in pool
                for place, other in enumerate(marks)
                if shape_of(other.token) == shape and other.token != mark.token
            )
            marks, place = next(alike, (marks, place))
        chosen.append(marks.pop(place))
        pool = [other for other in pool if other is not marks] + [marks]  # each in turn
    return chosen
