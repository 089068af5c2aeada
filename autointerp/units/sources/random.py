"""Control: random directions at the site, matched to the features in density by a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.records import Unit
from autointerp.subjects import Subject
from autointerp.units.sources import Block, Calibration, Matched, SiteBatch
from autointerp.units.sources._matched import matched_features

ROLE = "control"
NAMES = ("a random direction", "random directions")
COLOUR = "#5b6572"
SIZE = 512


@dataclass(frozen=True)
class RandomDirections:
    """Unit i fires by max(0, x · direction_i - threshold_i).

    Attributes:
        directions: [d_site, SIZE] unit vectors.
        calibration: Unit i fires there as often as the unit that it is matched with: its
            threshold is the strongest projection that is not to fire.
    """

    directions: Tensor
    calibration: Calibration
    matched: Matched
    size: int = SIZE
    transcodes: bool = False

    def unit(self, number: int) -> Unit:
        return Unit("random", number)

    def note(self, number: int) -> str:
        return f"random direction, density matched to {self._model(number)}"

    def _model(self, number: int) -> str:
        return f"{self.matched.source}/{self.matched.numbers[number]}"

    def thresholds(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the thresholds [len(numbers)]."""
        x = self.calibration.activations
        projections = (x @ self.directions[:, torch.from_numpy(numbers)].to(x.device)).T
        ranked = projections.cpu().numpy()
        places = [len(x) - 1 - min(len(self.matched.firings[n]), len(x) - 1) for n in numbers]
        return np.array(
            [np.partition(row, place)[place] for row, place in zip(ranked, places, strict=True)]
        )

    def block(self, numbers: NDArray[np.int64]) -> Block:
        device = self.calibration.activations.device
        directions = self.directions[:, torch.from_numpy(numbers)].to(device)
        thresholds = torch.from_numpy(self.thresholds(numbers)).to(device)

        def compute(batch: SiteBatch) -> Tensor:
            return (batch.activations @ directions).sub_(thresholds).relu_()

        return compute

    def written(self, numbers: NDArray[np.int64]) -> Tensor:
        return self.directions[:, torch.from_numpy(numbers)].T


def create(subject: Subject, calibration: Calibration, seed: int) -> RandomDirections:
    rng = np.random.default_rng([seed, 0x72616E64])
    directions = rng.standard_normal((subject.d_site, SIZE)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    matched = matched_features(subject, calibration, seed, SIZE)
    return RandomDirections(torch.from_numpy(directions), calibration, matched)
