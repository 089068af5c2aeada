"""Which units. A file here is a source: `--source NAME`.

A source module has `create(subject, calibration, seed)`, which returns a `Source`, a constant
`IS_CONTROL`, and a first docstring line that `autointerp sources` prints. Every source, control or
not, is columns of one matrix: given a batch of the site, it returns a block [rows, tokens, units].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import CorpusError
from autointerp.records import Unit
from autointerp.subjects import Subject


@dataclass(frozen=True)
class SiteBatch:
    """A forward pass at the site.

    Attributes:
        activations: [rows, tokens, d_site] float32; zero where not kept.
        ids: [rows, tokens] token ids, on the same device.
        kept: [rows, tokens] False on padding and special tokens.
        place_hash: [rows, tokens] 64 random bits that depend on seed, document and position
            alone, so that what is drawn with them does not depend on batches.
    """

    activations: Tensor
    ids: Tensor
    kept: Tensor
    place_hash: NDArray[np.uint64]


LEAST_FIRINGS = 5

Block = Callable[[SiteBatch], Tensor]


class Source(Protocol):
    """Units of one kind, numbered from 0 to `size` - 1."""

    size: int

    def unit(self, number: int) -> Unit:
        """Return the unit's index and sign."""
        ...

    def block(self, numbers: NDArray[np.int64]) -> Block:
        """Return the function that computes the columns [rows, tokens, len(numbers)]."""
        ...

    def note(self, number: int) -> str:
        """Return what is known of the unit beside its number, for the report; may be empty."""
        ...


@runtime_checkable
class Directed(Protocol):
    """A source each of whose units is a direction that it adds to the model's activations.

    Attributes:
        transcodes: The directions are added where a transcoder writes, not where it reads.
    """

    @property
    def transcodes(self) -> bool: ...

    def written(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the directions [len(numbers), width].

        Raises SubjectError if they are not known.
        """
        ...


@dataclass(frozen=True)
class Calibration:
    """The first tokens of the corpus at the site: what controls are matched to.

    Attributes:
        activations: [tokens, d_site] at kept tokens.
        ids: [tokens] token ids.
    """

    activations: Tensor
    ids: Tensor
    matched: dict[tuple[int, int], Matched] = field(default_factory=dict, repr=False)

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Occurrences of each token id."""
        return np.bincount(self.ids.cpu().numpy())


@dataclass(frozen=True)
class Matched:
    """Features that controls are matched to.

    Attributes:
        features: [count] their numbers.
        firings: The sorted activations of each on the calibration tokens on which it fires.
    """

    features: NDArray[np.int64]
    firings: list[NDArray[np.float32]]


def matched_features(subject: Subject, calibration: Calibration, seed: int, count: int) -> Matched:
    """Return `count` features drawn at random among those that fire often enough to match.

    Features are drawn without replacement; only where there are too few do they recur. Without an
    SAE the site's own columns stand in. Raises CorpusError if none fires often enough.
    """
    known = calibration.matched
    if (seed, count) not in known:
        x = calibration.activations
        width = subject.d_site if subject.sae is None else subject.sae.d_sae
        order = np.random.default_rng([seed, 0x6D61]).permutation(width)
        features: list[int] = []
        firings: list[NDArray[np.float32]] = []
        for begin in range(0, width, 512):
            numbers = torch.from_numpy(order[begin : begin + 512]).to(x.device)
            encoded = (
                x[:, numbers] if subject.sae is None else subject.sae.encode(x, numbers)
            ).T.cpu()
            able = np.flatnonzero((encoded > 1e-5).sum(1).numpy() >= LEAST_FIRINGS)
            for row in able[: count - len(features)]:
                values = encoded[row].numpy()
                features.append(int(order[begin + row]))
                firings.append(np.sort(values[values > 1e-5]))
            if len(features) == count:
                break
        if not features:
            raise CorpusError("no feature fires often enough in the corpus to match controls to")
        again = np.resize(np.arange(len(features)), count)
        known[seed, count] = Matched(np.array(features)[again], [firings[i] for i in again])
    return known[seed, count]


def unit_hash(place_hash: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Return fresh random bits for each place and `salt`, by one round of splitmix64."""
    with np.errstate(over="ignore"):
        z = place_hash + np.uint64((salt * 0x9E3779B97F4A7C15) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
