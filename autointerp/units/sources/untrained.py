"""Latents of an SAE trained by the same recipe on the same model with untrained weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.records import Unit
from autointerp.subjects import SiteModel, Subject
from autointerp.subjects.autoencoder import Encoder, SparseAutoencoder
from autointerp.units.sources import Block, Calibration, SiteBatch
from autointerp.units.sources._decoder import dictionary_vectors

ROLE = "studied"
NAMES = ("an untrained feature", "untrained features")
COLOUR = "#8a4fa8"
ONLY_IF_NAMED = True
BASELINE_OF = "features"


@dataclass(frozen=True)
class UntrainedFeatures:
    """The twin reads the windows that the subject's model reads, in a forward pass of its own."""

    sae: Encoder
    own_model: SiteModel

    @property
    def size(self) -> int:
        return self.sae.d_sae

    def unit(self, number: int) -> Unit:
        return Unit("untrained", number)

    def note(self, number: int) -> str:
        return ""

    def block(self, numbers: NDArray[np.int64]) -> Block:
        encode = self.sae.encoder(torch.from_numpy(numbers))

        def compute(batch: SiteBatch) -> Tensor:
            return encode(batch.untrained).float()

        return compute

    def own_written(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the dictionary vectors, directions in the twin."""
        return dictionary_vectors(self.sae, numbers)

    def own_scale(self, x: Tensor) -> Tensor:
        """Return by what [..., 1] the vectors are multiplied where the SAE's input is x."""
        assert isinstance(self.sae, SparseAutoencoder)
        return self.sae.written_scale(x)


def create(subject: Subject, calibration: Calibration, seed: int) -> UntrainedFeatures:
    if subject.untrained is None:
        raise SubjectError(
            f"subject '{subject.name}' has no untrained twin; make one with `autointerp train "
            "untrained FOLDER`, FOLDER being that of its SAE, and name it as `untrained` in its "
            "settings"
        )
    twin = subject.untrained()
    return UntrainedFeatures(twin.sae, twin.model)
