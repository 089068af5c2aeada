"""Which units. A file here is a source: `--source NAME`.

A source module has `create(subject, calibration, seed)`, which returns a `Source`, a constant
`IS_CONTROL`, and a first docstring line that `autointerp sources` prints. Every source, control or
not, is columns of one matrix: given a batch of the site, it returns a block [rows, tokens, units].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


@dataclass(frozen=True)
class Calibration:
    """The first tokens of the corpus at the site: what controls are matched to.

    Attributes:
        activations: [tokens, d_site] at kept tokens.
        ids: [tokens] token ids.
    """

    activations: Tensor
    ids: Tensor

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Occurrences of each token id."""
        return np.bincount(self.ids.cpu().numpy())


def matched_features(
    subject: Subject, calibration: Calibration, seed: int, count: int, min_firings: int = 5
) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Return `count` features drawn at random, and each one's sorted firing activations.

    Only features that fire at least `min_firings` times in the calibration tokens are drawn.
    Where the subject has no SAE, its neurons stand in.
    """
    rng = np.random.default_rng([seed, 0x6D61])
    x = calibration.activations
    if subject.sae is None:
        encoded = torch.relu(x)
    else:
        encoded = torch.cat([subject.sae.encode(part) for part in x.split(8192)])
    fires = (encoded > 1e-5).sum(0).cpu().numpy()
    able = np.flatnonzero(fires >= min_firings)
    if not len(able):
        raise ValueError("no feature fires often enough in the calibration tokens")
    chosen = rng.choice(able, size=count, replace=len(able) < count)
    columns = encoded[:, torch.from_numpy(chosen).to(encoded.device)].cpu().numpy()
    return chosen, [np.sort(column[column > 1e-5]) for column in columns.T]


def unit_hash(place_hash: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Return fresh random bits for each place and `salt`, by one round of splitmix64."""
    with np.errstate(over="ignore"):
        z = place_hash + np.uint64((salt * 0x9E3779B97F4A7C15) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
