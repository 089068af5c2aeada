"""Passages that texts share: ten tokens in a row, alike in both.

Case, and the white space round a token, make no difference, and tokens of white space alone do not
count, so a copy is found however it was indented and wherever a window of it begins.
Source: Brown et al. 2020, "Language models are few-shot learners", appendix C (shared n-grams of
8 to 13 words, by which copies of test texts are found in a training corpus).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from autointerp.text import count

PASSAGE = 10  # tokens in a row; a window of the usual size has 21
BASE = np.uint64(0x9E3779B97F4A7C15)


@lru_cache(maxsize=1 << 17)
def _word(text: str) -> int:
    word = text.strip().casefold().encode("utf-8", "surrogatepass")
    if not word:
        return 0
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little") or 1


def words_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return 64 bits of each token's text without its case; 0 for white space alone."""
    return np.fromiter(map(_word, texts), np.uint64)


def passages(
    words: NDArray[np.uint64], row: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return 64 bits of each passage, and the row that it is in.

    `words` [tokens] are those of texts one behind the other, `row` [tokens] the text of each.
    """
    is_word = words > 0
    words, row = words[is_word], row[is_word]
    size = max(0, len(words) - PASSAGE + 1)
    bits = np.zeros(size, np.uint64)
    for place in range(PASSAGE):
        bits = bits * BASE + words[place : place + size]
    bits = (bits ^ (bits >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    whole = row[:size] == row[PASSAGE - 1 :][:size]
    return (bits ^ (bits >> np.uint64(29)))[whole], row[:size][whole]


def passages_of(
    texts: Sequence[Sequence[str]],
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return 64 bits of each passage of texts, given as their tokens, and the text it is in."""
    lengths = [len(text) for text in texts]
    words = words_of(token for text in texts for token in text)
    return passages(words, np.repeat(np.arange(len(texts)), lengths))


def share_passages(
    texts: Sequence[Sequence[str]], others: Sequence[Sequence[str]]
) -> NDArray[np.bool_]:
    """Return which of the texts have a passage of one of the `others`; all given as tokens."""
    bits, row = passages_of(texts)
    shared = np.zeros(len(texts), dtype=bool)
    shared[row[np.isin(bits, passages_of(others)[0])]] = True
    return shared


def near_copies_text(contexts: int) -> str:
    """Return what a report says of contexts that were left out, in a sentence."""
    return (
        f"{count(contexts, 'context was', 'contexts were')} left out of one of the two splits, of "
        f"`explain` and `score`, since they share {PASSAGE} tokens in a row with one of the other: "
        "no description is tried on what its writer saw."
    )
