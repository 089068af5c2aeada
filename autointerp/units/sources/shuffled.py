"""Control, the floor: fires at places drawn with no regard to the text, as often as a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.records import Unit
from autointerp.subjects import Subject
from autointerp.units.draws import unit_hash
from autointerp.units.sources import Block, Calibration, Matched, SiteBatch
from autointerp.units.sources._matched import matched_features

ROLE = "floor"
NAMES = ("a shuffled unit", "shuffled units")
COLOUR = "#8b929d"
SIZE = 512
SALT = 0x736866  # bits of its own: those that draw contexts must not decide where it fires


@dataclass(frozen=True)
class Shuffled:
    """Unit i deals the activations of the feature it is matched with to random places.

    Attributes:
        tokens: Calibration tokens, on which the feature's activations were seen.
        offsets: [SIZE] what turns a place's random bits into those of each unit.
    """

    matched: Matched
    tokens: int
    offsets: NDArray[np.uint64]
    size: int = SIZE
    reads_text: ClassVar[bool] = False

    def unit(self, number: int) -> Unit:
        return Unit("shuffled", number)

    def note(self, number: int) -> str:
        model = f"{self.matched.source}/{self.matched.numbers[number]}"
        return f"activations of {model}, dealt to random places"

    def block(self, numbers: NDArray[np.int64]) -> Block:
        def compute(batch: SiteBatch) -> Tensor:
            bits = unit_hash(batch.place_hash, SALT)
            block = np.zeros((*bits.shape, len(numbers)), dtype=np.float32)
            for column, number in enumerate(numbers):
                values = self.matched.firings[number]
                # Uniform numbers; the first len/tokens of their range fires.
                turned = bits + self.offsets[number]
                fires = turned < np.uint64(min(len(values) / self.tokens, 1 - 2**-30) * 2.0**64)
                drawn = (turned[fires] / 2.0**64 * self.tokens).astype(np.int64)
                block[..., column][fires] = values[np.minimum(drawn, len(values) - 1)]
            return torch.from_numpy(block).to(batch.activations.device)

        return compute


def create(subject: Subject, calibration: Calibration, seed: int) -> Shuffled:
    matched = matched_features(subject, calibration, seed, SIZE)
    offsets = unit_hash(np.arange(SIZE, dtype=np.uint64), seed)
    return Shuffled(matched, len(calibration.ids), offsets)
