"""Control: random directions at the site, matched to the features in density by a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.records import Unit
from autointerp.sources import Block, Calibration, SiteBatch, matched_features
from autointerp.subjects import Subject

IS_CONTROL = True
SIZE = 512


@dataclass(frozen=True)
class RandomDirections:
    """Unit i fires by max(0, x · direction_i - threshold_i).

    Attributes:
        directions: [d_site, SIZE] unit vectors.
        thresholds: [SIZE] quantiles of the projections in the calibration tokens, so that unit i
            fires as often there as the feature that it was matched with.
        features: [SIZE] those features.
    """

    directions: Tensor
    thresholds: Tensor
    features: NDArray[np.int64]
    size: int = SIZE

    def unit(self, number: int) -> Unit:
        return Unit("random", number)

    def note(self, number: int) -> str:
        return f"random direction, density matched to features/{self.features[number]}"

    def block(self, numbers: NDArray[np.int64]) -> Block:
        columns = torch.from_numpy(numbers).to(self.directions.device)
        directions, thresholds = self.directions[:, columns], self.thresholds[columns]

        def compute(batch: SiteBatch) -> Tensor:
            return (batch.activations @ directions).sub_(thresholds).relu_()

        return compute


def create(subject: Subject, calibration: Calibration, seed: int) -> RandomDirections:
    rng = np.random.default_rng([seed, 0x72616E64])
    directions = rng.standard_normal((subject.d_site, SIZE)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    on_device = torch.from_numpy(directions).to(calibration.activations.device)
    features, firings = matched_features(subject, calibration, seed, SIZE)
    projections = (calibration.activations @ on_device).sort(dim=0, descending=True).values
    counts = torch.tensor([len(values) for values in firings], device=projections.device)
    # The threshold is the strongest projection that is not to fire.
    thresholds = projections.gather(0, counts.clamp_max(len(projections) - 1)[None])[0]
    return RandomDirections(on_device, thresholds, features)
