"""Dictionary vectors of an SAE, for the sources whose units are its latents."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import Encoder, SparseAutoencoder


def dictionary_vectors(sae: Encoder, numbers: NDArray[np.int64]) -> Tensor:
    """Return rows of the decoder, [numbers, d_site]. Raises SubjectError if it is not known."""
    if not isinstance(sae, SparseAutoencoder):
        raise SubjectError(f"the decoder of {type(sae).__name__} is not known")
    return sae.W_dec[torch.from_numpy(numbers).to(sae.W_dec.device)]
