"""Hashes of the texts round tokens: equal texts have equal hashes, wherever they stand.

A hash is a polynomial in the text's bytes, modulo 2^64, over random coefficients for the 256
bytes. The polynomial of a window is the difference of two prefix sums of its row, so every token's
window costs the same few operations, however wide it is, and however its text was cut into tokens.
Source: Karp and Rabin 1987, "Efficient randomized pattern-matching algorithms".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.units.draws import unit_hash

BASE = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2^64
INVERSE = pow(BASE, -1, 2**64)


@dataclass(frozen=True)
class TokenHashes:
    """The polynomial of each token's text, by token id.

    Attributes:
        value: [vocabulary] of the text's bytes.
        length: [vocabulary] of the text, in bytes.
    """

    value: NDArray[np.uint64]
    length: NDArray[np.int64]


def token_hashes(texts: Sequence[str]) -> TokenHashes:
    """Return the hashes of a vocabulary; an id without a text stands for a text of its own."""
    encoded = [
        (text or f"\0{index}").encode("utf-8", "surrogatepass") for index, text in enumerate(texts)
    ]
    length = np.array([len(raw) for raw in encoded], dtype=np.int64)
    coefficients = unit_hash(np.arange(256, dtype=np.uint64), 1)
    starts = np.cumsum(length) - length
    joined = np.frombuffer(b"".join(encoded), np.uint8)
    inside = np.arange(len(joined)) - np.repeat(starts, length)
    terms = coefficients[joined] * _powers(BASE, int(length.max(initial=1)))[inside]
    value = np.add.reduceat(terms, starts) if len(starts) else np.zeros(0, np.uint64)
    return TokenHashes(value, length)


def window_hashes(
    hashes: TokenHashes, ids: NDArray[np.int64], kept: NDArray[np.bool_], each_side: int, seed: int
) -> NDArray[np.uint64]:
    """Return 64 random bits of the text round each token of `ids` [rows, tokens].

    The text is that of up to `each_side` tokens on either side, up to the next token that is not
    `kept`. The bits mean nothing where a token is not kept.
    """
    first, last = spans(kept, each_side)
    some = np.where(kept, ids, 0)
    size = np.where(kept, hashes.length[some], 0)
    ends = np.cumsum(size, axis=1)
    begins = ends - size
    longest = int(ends.max(initial=0)) + 1
    terms = np.where(kept, hashes.value[some] * _powers(BASE, longest)[begins], np.uint64(0))
    sums = np.cumsum(terms, axis=1, dtype=np.uint64)
    before = np.where(
        first > 0, np.take_along_axis(sums, np.maximum(first - 1, 0), axis=1), np.uint64(0)
    )
    start = np.take_along_axis(begins, first, axis=1)
    polynomial = (np.take_along_axis(sums, last, axis=1) - before) * _powers(INVERSE, longest)[
        start
    ]
    length = np.take_along_axis(ends, last, axis=1) - start
    return unit_hash(unit_hash(polynomial, seed * 2 + 1) + length.astype(np.uint64), 0)


def spans(kept: NDArray[np.bool_], each_side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last token [rows, tokens] of the window round each token.

    A window ends at a token that is not kept: what stands beyond it is another text.
    """
    place = np.broadcast_to(np.arange(kept.shape[1]), kept.shape)
    run_first = np.maximum.accumulate(np.where(kept, 0, place + 1), axis=1)
    backward = np.where(kept, kept.shape[1] - 1, place - 1)[:, ::-1]
    run_last = np.minimum.accumulate(backward, axis=1)[:, ::-1]
    # A token that is not kept has no window; itself will do.
    first = np.minimum(np.maximum(run_first, place - each_side), place)
    last = np.maximum(np.minimum(run_last, place + each_side), place)
    return first, last


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)
