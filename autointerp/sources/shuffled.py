"""Control, the floor: fires at places drawn with no regard to the text, as often as a feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.records import Unit
from autointerp.sources import Block, Calibration, SiteBatch, matched_features, unit_hash
from autointerp.subjects import Subject

IS_CONTROL = True
SIZE = 512


@dataclass(frozen=True)
class Shuffled:
    """Unit i deals the activations of the feature it is matched with to random places.

    Attributes:
        firings: For each unit the sorted activations of its feature in the calibration tokens.
        tokens: Calibration tokens.
        features: [SIZE] the features.
        seed: Of the places.
    """

    firings: list[NDArray[np.float32]]
    tokens: int
    features: NDArray[np.int64]
    seed: int
    size: int = SIZE

    def unit(self, number: int) -> Unit:
        return Unit("shuffled", number)

    def note(self, number: int) -> str:
        return f"activations of features/{self.features[number]}, dealt to random places"

    def block(self, numbers: NDArray[np.int64]) -> Block:
        def compute(batch: SiteBatch) -> Tensor:
            block = np.zeros((*batch.place_hash.shape, len(numbers)), dtype=np.float32)
            for column, number in enumerate(numbers):
                values = self.firings[number]
                # 64 random bits become a uniform number; the first len/tokens of it fire.
                uniform = unit_hash(batch.place_hash, int(number) + 1) / 2.0**64
                drawn = np.floor(uniform * self.tokens).astype(np.int64)
                fires = drawn < len(values)
                block[..., column][fires] = values[drawn[fires]]
            return torch.from_numpy(block).to(batch.activations.device)

        return compute


def create(subject: Subject, calibration: Calibration, seed: int) -> Shuffled:
    features, firings = matched_features(subject, calibration, seed + 1, SIZE)
    return Shuffled(firings, len(calibration.ids), features, seed)
