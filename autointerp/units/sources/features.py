"""The SAE's latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.records import Unit
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import Encoder, SparseAutoencoder
from autointerp.units.sources import Block, Calibration, SiteBatch
from autointerp.units.sources._decoder import dictionary_vectors

ROLE = "studied"
NAMES = ("a feature", "features")
COLOUR = "#1f5fbf"


@dataclass(frozen=True)
class Features:
    sae: Encoder

    @property
    def size(self) -> int:
        return self.sae.d_sae

    def unit(self, number: int) -> Unit:
        return Unit("features", number)

    def note(self, number: int) -> str:
        return ""

    def block(self, numbers: NDArray[np.int64]) -> Block:
        encode = self.sae.encoder(torch.from_numpy(numbers))

        def compute(batch: SiteBatch) -> Tensor:
            return encode(batch.activations).float()  # an SAE may compute in less

        return compute

    @property
    def transcodes(self) -> bool:
        return isinstance(self.sae, SparseAutoencoder) and self.sae.transcodes

    def written(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the dictionary vectors, rows of the decoder."""
        return dictionary_vectors(self.sae, numbers)

    def written_scale(self, x: Tensor) -> Tensor:
        """Return by what [..., 1] the vectors are multiplied where the SAE's input is x."""
        assert isinstance(self.sae, SparseAutoencoder)
        return self.sae.written_scale(x)


def create(subject: Subject, calibration: Calibration, seed: int) -> Features:
    if subject.sae is None:
        raise SubjectError(
            f"subject '{subject.name}' has no SAE, so no features; name one as `sae` in its "
            "settings"
        )
    return Features(subject.sae)
