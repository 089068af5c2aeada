"""Which part of a context is shown, and what is marked in it, so that the place tells nothing.

A context stands round the token for which it was drawn, its focus, which would be in the middle
nearly always. Shown is a part of it, with the focus at a random place. A mark on a silent token
stands at a place drawn in the same way, and on a token like those on which the unit fires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import ceil, log2
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

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
    return min(len(context.tokens), ceil(SHOWN * len(context.tokens)))


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
    places = offsets(context)
    place = places[int(rng.integers(len(places)))]
    first = context.focus - place
    marked = context.focus if mark else None
    last = first + shown_length(context)
    return Piece(number, whole_first(context, first), last, marked, truth, kind)


def silent_texts(context: Context) -> dict[int, list[str]]:
    """Return the silent tokens that could be marked, by their place in what is shown."""
    firsts = range(len(context.tokens) - shown_length(context) + 1)
    is_silent = silent_tokens(context)
    return {
        place: [context.tokens[first + place] for first in firsts if is_silent[first + place]]
        for place in offsets(context)
    }


@lru_cache(maxsize=1 << 16)  # asked again and again about the tokens of one vocabulary
def shape_of(token: str) -> str:
    """Return what kind of token it is: a word, a piece of one, a number, a sign."""
    word = token.strip()
    if not word:
        return "space"
    if word.isalpha():
        return "word" if token[:1].isspace() else "piece"
    return "number" if word.isdigit() else "sign"


def token_counts(contexts: Iterable[Context]) -> Counter[str]:
    """Return how often tokens stand in those contexts that were drawn at random."""
    counts: Counter[str] = Counter()
    for context in contexts:
        if context.draw == "random":
            counts.update(context.tokens)
    return counts


# -------------------------------------------------------------------------- matched decoys

# How much a difference weighs, in letters of length; another place is the last resort.
KIND, IN_TEXT, PLACE, LIKED = 8.0, 10.0, 1e3, 1e4

KINDS = {kind: number for number, kind in enumerate(("word", "piece", "number", "sign", "space"))}


class Look(NamedTuple):
    """What can be told of a token in what is shown of a context, whatever the unit.

    Attributes:
        place: Of the token in what is shown.
        longest, repeated: Whether no other token that is shown is longer, or occurs more often.
    """

    text: str
    place: int
    longest: bool
    repeated: bool


def look_of(context: Context, piece: Piece) -> Look:
    """Return what can be told of the focus token of a piece."""
    first = piece.last - shown_length(context)  # `piece.first` may be where a character begins
    place = context.focus - first
    looks = _looks_in(context.tokens, shown_length(context))
    text = context.tokens[context.focus]
    return Look(text, place, bool(looks.longest[first, place]), bool(looks.repeated[first, place]))


class Looks(NamedTuple):
    """What can be told of a context's tokens in each part of it that may be shown.

    Attributes:
        longest, repeated: As of `Look`; [begins of the part, places in it].
    """

    longest: NDArray[np.bool_]
    repeated: NDArray[np.bool_]


@lru_cache(maxsize=1 << 12)  # asked again and again about the contexts of one unit
def _looks_in(tokens: tuple[str, ...], size: int) -> Looks:
    """Return what tells of tokens where `size` of them are shown."""
    lengths = np.array([len(token.strip()) for token in tokens])
    last_place = {token: place for place, token in enumerate(tokens)}
    names = np.array([last_place[token] for token in tokens])
    begins = np.arange(len(tokens) - size + 1)[:, None]
    shown = begins + np.arange(size)
    # How often each token stands before each place; the difference of two: between them.
    before = np.zeros((len(tokens), len(tokens) + 1), np.int32)
    (names[:, None] == names).cumsum(axis=1, out=before[:, 1:])
    times = before[shown, begins + size] - before[shown, begins]
    of_shown = lengths[shown]
    longest = of_shown == of_shown.max(axis=1, keepdims=True)
    return Looks(longest, times == times.max(axis=1, keepdims=True))


def matched_decoys(
    models: Sequence[Look],
    contexts: Mapping[int, Context],
    counts: Counter[str],
    rng: np.random.Generator,
    kind: str,
    liked: frozenset[str] = frozenset(),
) -> list[Piece | None]:
    """Return for each model a piece with a silent token marked that looks like it, at its place.

    Each context serves one model; all together they are as alike as can be (an assignment of
    least cost), so that no rule on what a token looks like tells models from decoys. Tokens of
    `liked` are taken before others. None for a model that no silent token is left for.
    """
    of_context = {number: _silent_marks(context, rng) for number, context in contexts.items()}
    marks = [marks for marks in of_context.values() if len(marks[0])]
    numbers = [number for number, marks in of_context.items() if len(marks[0])]
    chosen: list[Piece | None] = [None] * len(models)
    if not marks or not models:
        return chosen
    firsts, places = (np.concatenate(parts) for parts in zip(*marks, strict=True))
    begins = np.cumsum([0, *(len(of_one) for of_one, _ in marks)])
    told = [_told(contexts[n], *of_one, counts) for n, of_one in zip(numbers, marks, strict=True)]
    cost = _distances(_told_of(models, counts), np.concatenate(told, axis=1))
    if liked:
        is_liked = [
            contexts[number].tokens[mark] in liked
            for number, (first, place) in zip(numbers, marks, strict=True)
            for mark in (first + place).tolist()
        ]
        cost -= LIKED * np.array(is_liked)
    best = np.minimum.reduceat(cost, begins[:-1], axis=1)
    for row, column in zip(*scipy.optimize.linear_sum_assignment(best), strict=True):
        begin, end = begins[column], begins[column + 1]
        candidate = begin + int(cost[row, begin:end].argmin())
        first, place = int(firsts[candidate]), int(places[candidate])
        number = numbers[column]
        context = contexts[number]
        last = first + shown_length(context)
        chosen[row] = Piece(number, whole_first(context, first), last, first + place, False, kind)
    return chosen


def _silent_marks(
    context: Context, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the silent tokens of a context at a place of a focus, in random order: where the part
    shown begins, and their places in it."""
    firsts = rng.permutation(len(context.tokens) - shown_length(context) + 1)
    places = np.asarray(offsets(context))
    is_silent = np.array(silent_tokens(context))
    rows, columns = np.nonzero(is_silent[firsts[:, None] + places])
    return firsts[rows], places[columns]


Told = NDArray[np.float64]  # [6, tokens]: length, how frequent, kind, longest, repeated, place


def _told_of(looks: Sequence[Look], counts: Counter[str]) -> Told:
    """Return what can be told of models."""
    texts, places, longest, repeated = zip(*looks, strict=True)
    return np.array([*_alone(texts, counts), longest, repeated, places], np.float64)


def _told(
    context: Context, firsts: NDArray[np.int64], places: NDArray[np.int64], counts: Counter[str]
) -> Told:
    """Return what can be told of silent tokens of a context, see `_silent_marks`."""
    looks = _looks_in(context.tokens, shown_length(context))
    alone = np.array(_alone(context.tokens, counts), np.float64)[:, firsts + places]
    longest, repeated = looks.longest[firsts, places], looks.repeated[firsts, places]
    return np.array([*alone, longest, repeated, places], np.float64)


def _alone(texts: Sequence[str], counts: Counter[str]) -> tuple[list[float], ...]:
    """Return what tokens tell by themselves: length, how frequent, kind."""
    return (
        [len(text.strip()) for text in texts],
        [log2(1 + counts[text]) for text in texts],
        [KINDS[shape_of(text)] for text in texts],
    )


def _distances(models: Told, candidates: Told) -> NDArray[np.float64]:
    """Return [models, candidates] how far they are apart, in letters of length."""
    length, frequency, *others = zip(models[:, :, None], candidates, strict=True)
    distances = np.abs(np.subtract(*length))
    distances += np.abs(np.subtract(*frequency)) / 2
    for (one, other), weight in zip(others, (KIND, IN_TEXT, IN_TEXT, PLACE), strict=True):
        distances += weight * (one != other)
    return np.asarray(distances)
