"""Evidence for lexical rules: positions, and conditions on the tokens around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

ATTRIBUTES = (
    "text", "word", "ending3", "ending2", "beginning3", "beginning2", "shape", "kind", "long4",
    "long8",
)  # fmt: skip
REACH = 4  # the farthest neighbour, in tokens
CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">", '"': '"', "`": "`"}
NEARBY = 10  # tokens on either side that are nearby


@dataclass(frozen=True)
class Condition:
    """A test that the token `offset` places on has this attribute.

    The attribute `earlier` holds where the word `value` stands anywhere before in the window;
    `nearby` where, of the words of `value`, divided by spaces, at least `offset` occurrences
    stand within ten tokens; `inside` where the bracket or quotation mark `value` was opened
    before in the window, and not closed.
    """

    attribute: str
    offset: int
    value: str


def shape_of(text: str) -> str:
    """Return what a token looks like; a leading space marks tokens that begin a word."""
    word = text.strip()
    if not word:
        return "newline" if "\n" in text else "spaces"
    if word.isdigit():
        return "digits"
    if word.startswith("\\x"):
        return "bytes"
    if not any(character.isalnum() for character in word):
        return "punctuation"
    if not word.isalpha():
        return "mixed"
    lead = " " if text[:1] == " " else ""
    if not word.isascii():
        return f"{lead}accented"
    if word.islower():
        return f"{lead}lower"
    return f"{lead}upper" if word.isupper() and len(word) > 1 else f"{lead}capital"


KINDS = {"newline": "space", "spaces": "space", "digits": "digits", "punctuation": "punctuation"}


@lru_cache(maxsize=1 << 17)
def attributes_of(text: str) -> tuple[str | None, ...]:
    """Return the values of `ATTRIBUTES` of a token, None where it has none."""
    word = text.strip().lower()
    letters = word.isalpha()
    shape = shape_of(text)
    return (
        text,
        word if letters else None,
        word[-3:] if letters and len(word) >= 3 else None,
        word[-2:] if letters and len(word) >= 2 else None,
        word[:3] if letters and len(word) >= 3 else None,
        word[:2] if letters and len(word) >= 2 else None,
        shape,
        "letters" if letters else KINDS.get(shape),
        "4" if letters and len(word) >= 4 else None,
        "8" if letters and len(word) >= 8 else None,
    )


class Evidence:
    """Every position of some contexts: the unit's activation there and the tokens round it.

    Positions are numbered context by context; arrays over them are [positions].
    """

    def __init__(
        self, tokens: Sequence[Sequence[str]], activations: Sequence[Sequence[float]]
    ) -> None:
        sizes = np.array([len(window) for window in tokens], dtype=np.int64)
        width = int(sizes.max(initial=0))
        vocabulary: dict[str, int] = {"": 0}
        ids = [vocabulary.setdefault(t, len(vocabulary)) for window in tokens for t in window]
        self.valid: Mask = np.arange(width) < sizes[:, None]
        self.grid: Ints = np.zeros((len(sizes), REACH + width + REACH), dtype=np.int64)
        self.grid[:, REACH : REACH + width][self.valid] = ids
        self.width = width
        self.ends: Ints = np.cumsum(sizes)
        self.context: Ints = np.repeat(np.arange(len(sizes)), sizes)
        self.activation: Floats = np.array(
            [a for window in activations for a in window], dtype=np.float64
        )
        self.firing: Mask = self.activation > 0
        self._attributes = [attributes_of(token) for token in vocabulary]
        self._attributes[0] = (None,) * len(ATTRIBUTES)
        self._codes: dict[str, tuple[Ints, list[str | None]]] = {}

    def at(self, offset: int) -> Ints:
        """Return the token ids `offset` places on; 0 outside the window."""
        begin = REACH + offset
        cells: Ints = self.grid[:, begin : begin + self.width][self.valid]
        return cells

    def codes(self, attribute: str) -> tuple[Ints, list[str | None]]:
        """Return [vocabulary] a number for the attribute of each token id, and what it means.

        Number 0 is "none".
        """
        if attribute not in self._codes:
            place = ATTRIBUTES.index(attribute)
            numbers: dict[str | None, int] = {None: 0}
            codes = [numbers.setdefault(row[place], len(numbers)) for row in self._attributes]
            self._codes[attribute] = np.array(codes, dtype=np.int64), list(numbers)
        return self._codes[attribute]

    def holds(self, condition: Condition) -> Mask:
        """Return where the condition holds."""
        if condition.attribute == "nearby":
            return self.nearby(condition.value.split(" "), condition.offset)
        if condition.attribute == "inside":
            return self.inside(condition.value)
        attribute = "word" if condition.attribute == "earlier" else condition.attribute
        codes, values = self.codes(attribute)
        if condition.value not in values:
            return np.zeros(len(self.firing), dtype=bool)
        code = values.index(condition.value)
        if condition.attribute != "earlier":
            mask: Mask = codes[self.at(condition.offset)] == code
            return mask
        named = codes[self.grid[:, REACH - 1 : REACH - 1 + self.width]] == code
        earlier: Mask = np.logical_or.accumulate(named, axis=1)[self.valid]
        return earlier

    def nearby(self, words: Collection[str], least: int) -> Mask:
        """Return where at least so many occurrences of the words stand nearby, on other tokens."""
        codes, values = self.codes("word")
        member = np.isin(np.array(values, dtype=object), list(words))
        named = member[codes[self.grid[:, REACH : REACH + self.width]]]
        total = np.pad(np.cumsum(named, axis=1), ((0, 0), (1, 0)))
        place = np.arange(self.width)
        low, high = np.maximum(place - NEARBY, 0), np.minimum(place + NEARBY + 1, self.width)
        near = np.asarray(total[:, high] - total[:, low] - named >= least)
        return np.asarray(near[self.valid])

    def inside(self, mark: str) -> Mask:
        """Return where the mark was opened before in the window and not closed."""
        texts = [text or "" for text in self.codes("text")[1]]
        cells = self.grid[:, REACH : REACH + self.width]
        # A tab, a word and a bracket may be one token: what it opens and closes is counted.
        closing = CLOSING[mark]
        if closing == mark:
            depth = np.array([text.count(mark) for text in texts])[cells]
            open_marks = np.cumsum(depth, axis=1) - depth
            state = open_marks % 2 == 1
        else:
            steps = np.array([text.count(mark) - text.count(closing) for text in texts])[cells]
            total = np.cumsum(steps, axis=1)
            before = total - steps
            lowest = np.minimum.accumulate(np.minimum(before, 0), axis=1)
            state = before - lowest > 0
        return np.asarray(state)[self.valid]

    def where(self, conditions: Sequence[Condition]) -> Mask:
        """Return where all the conditions hold."""
        all_hold: Mask = np.logical_and.reduce([self.holds(c) for c in conditions])
        return all_hold

    def weights(self) -> tuple[Floats, Floats]:
        """Return the weights of firing and of silent positions, each summing to 1.

        The firing ones weigh alike in sum over each interval of activation (equal widths from 0
        to 10), however many were drawn there, so that a unit is judged over its whole range and
        a dense unit as a sparse one; an interval of fewer than 4 positions weighs less.
        """
        levels, least = 10, 4
        level = np.clip(np.ceil(self.activation), 0, levels).astype(np.int64)
        counts = np.bincount(level, minlength=levels + 1)
        firing = np.where(self.firing, 1 / np.maximum(counts, least)[level], 0.0)
        silent = (~self.firing).astype(np.float64)
        return firing / firing.sum(), silent / silent.sum()


def score_of(statistic: float, scores: Sequence[int], low: float, high: float) -> int:
    """Return the level for an AUROC on a scale of any length, in ascending order.

    The lowest level lies under `low`, the highest from `high`; the k - 2 others split what is
    between into equal parts. On two levels the middle divides them.
    """
    if statistic >= high:
        return scores[-1]
    if statistic < low:
        return scores[0]
    share = (statistic - low) / (high - low)
    if len(scores) == 2:
        return scores[int(share >= 0.5)]
    return scores[1 + min(len(scores) - 3, int(share * (len(scores) - 2)))]
