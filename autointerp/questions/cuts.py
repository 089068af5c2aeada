"""Which part of a context is shown, and what is marked in it, so that the place tells nothing.

A context stands round the token for which it was drawn, its focus, which would be in the middle
nearly always. Shown is a part of it, with the focus at a random place. A mark on a silent token
stands at a place drawn in the same way, and on a token like those on which the unit fires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from autointerp.questions.trials import Piece
from autointerp.records import Context
from autointerp.text import whole_characters

SHOWN = 2 / 3  # of a context


def focus_text(context: Context) -> str:
    """Return the text of the token for which the context was drawn: the whole character."""
    tokens, _, focus = whole_characters(context.tokens, None, context.focus)
    assert focus is not None
    return tokens[focus]


def whole_first(context: Context, first: int) -> int:
    """Return `first`, or where the character begins that it would cut."""
    while first > 0 and not context.tokens[first]:
        first -= 1
    return first


def silent_tokens(context: Context) -> list[bool]:
    """Return whether the unit is silent on each token: on all of its character, and it is one."""
    silent = [activation == 0 for activation in context.activations]
    if "" in context.tokens:
        begins = [place for place, token in enumerate(context.tokens) if token]
        for begin, end in zip(begins, [*begins[1:], len(silent)], strict=True):
            is_silent = all(silent[begin:end])
            silent[begin:end] = [is_silent] + [False] * (end - begin - 1)
    return silent


def shown_length(context: Context) -> int:
    """Return how many tokens of a context are shown."""
    return min(len(context.tokens), int(np.ceil(SHOWN * len(context.tokens))))


def offsets(context: Context) -> range:
    """Return the places in what is shown at which the focus token may stand."""
    length = len(context.tokens)
    shown = shown_length(context)
    return range(max(0, context.focus - (length - shown)), min(context.focus, shown - 1) + 1)


def cut(
    number: int,
    context: Context,
    rng: np.random.Generator,
    truth: bool | None,
    kind: str,
    mark: bool,
) -> Piece:
    """Return a piece of the context, its focus token at a random place, marked if `mark`."""
    place = int(rng.choice(np.array(offsets(context))))
    first = context.focus - place
    marked = context.focus if mark else None
    last = first + shown_length(context)
    return Piece(number, whole_first(context, first), last, marked, truth, kind)


def shape_of(token: str) -> str:
    """Return what kind of token it is: a word, a piece of one, a number, a sign."""
    word = token.strip()
    if not word:
        return "space"
    if word.isalpha():
        return "word" if token[:1].isspace() else "piece"
    return "number" if word.isdigit() else "sign"


@dataclass(frozen=True)
class Decoys:
    """Silent tokens to mark that look, one by one, like tokens on which the unit fires.

    Attributes:
        models: Texts of tokens on which it fires; each decoy is made like one of them.
        counts: How often tokens stand in contexts drawn at random: their frequency.
    """

    models: Sequence[str]
    counts: Counter[str]

    def mark(
        self, number: int, context: Context, rng: np.random.Generator, truth: bool, kind: str
    ) -> Piece:
        """Return a piece of a silent context, one token marked, its place drawn as a focus's is."""
        shown = shown_length(context)
        model = self.models[int(rng.integers(len(self.models)))]
        place = int(rng.choice(np.array(offsets(context))))
        firsts = rng.permutation(len(context.tokens) - shown + 1).tolist()
        first = min(firsts, key=lambda first: self._unlike(context.tokens[first + place], model))
        begins = whole_first(context, first)
        return Piece(number, begins, first + shown, first + place, truth, kind)

    def _unlike(self, token: str, model: str) -> tuple[bool, float]:
        """Return how far a token is from a model: in kind, then in length and frequency."""
        rarer = log2(1 + self.counts[token]) - log2(1 + self.counts[model])
        longer = len(token.strip()) - len(model.strip())
        return shape_of(token) != shape_of(model), abs(rarer) / 2 + abs(longer)


def decoys_like(firing: Iterable[Context], everywhere: Iterable[Context]) -> Decoys:
    """Return decoys like the focus tokens of `firing`.

    `everywhere` are contexts of any kind; those drawn at random tell what is frequent.
    """
    counts: Counter[str] = Counter()
    for context in everywhere:
        if context.draw == "random":
            counts.update(context.tokens)
    return Decoys([focus_text(context) for context in firing], counts)
