"""Seeded draws: which units come first, which places count, which split a document is in.

Every draw is a function of the seed and of a name, a place or a text alone, so no batch size,
process or order of reading changes it. What is drawn for evidence follows the text and not its
place: equal texts have equal bits, so they count once and lie on one side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_order(seed: int, source: str, size: int) -> NDArray[np.int64]:
    """Return the source's unit numbers in its random order."""
    return np.random.default_rng([seed, *source.encode()]).permutation(size)


def unit_hash(place_hash: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Return fresh random bits for each place and `salt`, by one round of splitmix64."""
    with np.errstate(over="ignore"):
        z = place_hash + np.uint64((salt * 0x9E3779B97F4A7C15) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def place_hash(
    seed: int, document: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return 64 random bits of each place in the corpus: a function of seed and place alone."""
    with np.errstate(over="ignore"):
        mixed = unit_hash(document.astype(np.uint64), seed * 2 + 1)
        return unit_hash(mixed + position.astype(np.uint64), 0)


def split_of(seed: int, content: NDArray[np.uint64], explain_share: float) -> NDArray[np.int64]:
    """Return 0 (`explain`) or 1 (`score`) for each document, by the hash of what it holds.

    Documents are disjoint by construction, and so are copies of one, wherever they stand.
    """
    uniform = unit_hash(content.astype(np.uint64), seed * 2 + 2) / 2.0**64
    return (uniform >= explain_share).astype(np.int64)


def unit_salts(source: str, numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return 64 random bits of each unit: half turn the priorities of its interval draws."""
    name = int.from_bytes(source.encode()[:7], "little")
    return unit_hash(numbers.astype(np.uint64), name + seed)


def interval_of(
    value: NDArray[np.float32], peak: NDArray[np.float64], intervals: int
) -> NDArray[np.int64]:
    """Return which of the equal intervals from 0 to `peak` a value is in, from 0."""
    return np.minimum((value / peak * intervals).astype(np.int64), intervals - 1)
