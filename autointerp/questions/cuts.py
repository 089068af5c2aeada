"""Which part of a context is shown, and what is marked in it, so that the place tells nothing.

A context stands round the token for which it was drawn, its focus, which would be in the middle
nearly always. Shown is a part of it, with the focus at a random place. A mark on a silent token
stands at a place drawn in the same way, and on a token like those on which the unit fires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import log2
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


LookFields = tuple[str, int, bool, bool]  # of a `Look`: candidates are made by the thousand


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
    (look,) = _looks_in(context)(first, [context.focus - first])
    return Look(*look)


def _looks_in(context: Context) -> Callable[[int, Iterable[int]], list[LookFields]]:
    """Return what tells of the tokens at some places, where the part shown begins at `first`."""
    lengths = [len(token.strip()) for token in context.tokens]
    size = shown_length(context)

    def looks(first: int, places: Iterable[int]) -> list[LookFields]:
        shown = context.tokens[first : first + size]
        counts = Counter(shown)
        longest, most = max(lengths[first : first + size]), max(counts.values())
        return [
            (
                shown[place],
                place,
                lengths[first + place] == longest,
                counts[shown[place]] == most,
            )
            for place in places
        ]

    return looks


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
    candidates: list[tuple[LookFields, int]] = []
    begins, numbers = [], []
    for number, context in contexts.items():
        silent = _silent_marks(context, rng)
        if silent:
            begins.append(len(candidates))
            numbers.append(number)
            candidates += silent
    chosen: list[Piece | None] = [None] * len(models)
    if not candidates or not models:
        return chosen
    cost = _distances(models, [look for look, _ in candidates], counts)
    if liked:
        cost -= LIKED * np.array([look[0] in liked for look, _ in candidates])
    best = np.minimum.reduceat(cost, begins, axis=1)
    for row, column in zip(*scipy.optimize.linear_sum_assignment(best), strict=True):
        of_context = slice(begins[column], [*begins, len(candidates)][column + 1])
        (_, place, _, _), first = candidates[begins[column] + int(cost[row, of_context].argmin())]
        number = numbers[column]
        context = contexts[number]
        last = first + shown_length(context)
        chosen[row] = Piece(number, whole_first(context, first), last, first + place, False, kind)
    return chosen


def _silent_marks(context: Context, rng: np.random.Generator) -> list[tuple[LookFields, int]]:
    """Return the silent tokens of a context at a place of a focus, in random order, each with where
    the part shown begins."""
    is_silent, looks, places = silent_tokens(context), _looks_in(context), offsets(context)
    marks = []
    for first in rng.permutation(len(context.tokens) - shown_length(context) + 1).tolist():
        silent = [place for place in places if is_silent[first + place]]
        marks += [(look, first) for look in looks(first, silent)]
    return marks


def _distances(
    models: Sequence[LookFields], looks: Sequence[LookFields], counts: Counter[str]
) -> NDArray[np.float64]:
    """Return [models, looks] how far they are apart, in letters of length."""

    kinds = {kind: place for place, kind in enumerate(("word", "piece", "number", "sign", "space"))}

    def told(some: Sequence[LookFields]) -> NDArray[np.float64]:
        """Return [6, looks]: the length, how frequent, the kind, longest, repeated, the place."""
        told_of = {
            text: (len(text.strip()), log2(1 + counts[text]), kinds[shape_of(text)])
            for text in {look[0] for look in some}
        }
        rows = [
            (*told_of[text], longest, repeated, place) for text, place, longest, repeated in some
        ]
        return np.array(rows, float).T

    length, frequency, kind, longest, repeated, place = np.abs(
        told(models)[:, :, None] - told(looks)[:, None, :]
    )
    distances = (
        length
        + frequency / 2
        + KIND * (kind > 0)
        + IN_TEXT * longest
        + IN_TEXT * repeated
        + PLACE * (place > 0)
    )
    return np.asarray(distances)
