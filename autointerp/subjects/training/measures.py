"""Measures of an SAE: loss recovered, L0, dead share, densities of features and neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autointerp.errors import CorpusError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.one_layer import OneLayerTransformer
from autointerp.subjects.windows import TokenisedDocuments, cut_windows

BOS_ID, PAD_ID = 0, 1


@dataclass(frozen=True)
class TrainingMeasures:
    """Figures over `tokens` held-out tokens (BOS and padding left out).

    Attributes:
        loss, loss_reconstructed, loss_zero: Cross-entropy in nats a token, with the MLP's neurons
            as they are, replaced by the SAE's reconstruction, and zeroed.
        l0: Mean number of features that fire on a token.
        dead: Share of features that never fire on these tokens.
        explained: 1 - (squared error / variance) of the reconstruction.
        feature_density, neuron_density: [features], [neurons] share of tokens with activation
            over 1e-5 (SEEDS §1).
    """

    tokens: int
    loss: float
    loss_reconstructed: float
    loss_zero: float
    l0: float
    dead: float
    explained: float
    feature_density: NDArray[np.float64]
    neuron_density: NDArray[np.float64]

    @property
    def loss_recovered(self) -> float:
        """Loss recovered, (L_zero - L_reconstructed) / (L_zero - L): 1 for identity, 0 for zeros.

        Source: Bricken et al. 2023, "Towards Monosemanticity", §Evaluating.
        """
        return loss_recovered(self.loss, self.loss_reconstructed, self.loss_zero)


def loss_recovered(loss: float, reconstructed: float, zero: float) -> float:
    """Return the share of the loss lost by zeroing that the reconstruction wins back."""
    if zero == loss:
        raise ValueError("zeroing the site does not change the loss: nothing to recover")
    return (zero - reconstructed) / (zero - loss)


FIRES = 1e-5


@torch.no_grad()
def measure(
    model: OneLayerTransformer,
    sae: SparseAutoencoder,
    documents: TokenisedDocuments,
    device: str,
    max_tokens: int = 300_000,
) -> TrainingMeasures:
    """Return the measures over the first `max_tokens` tokens of the documents, or all if fewer.

    Raises CorpusError if there is no token at all.
    """
    losses = np.zeros(3)
    tokens = 0
    fired = torch.zeros(sae.d_sae, dtype=torch.float64, device=device)
    neurons_fired = torch.zeros(sae.d_in, dtype=torch.float64, device=device)
    squares, error = 0.0, 0.0
    total = torch.zeros(sae.d_in, dtype=torch.float64, device=device)
    for batch in cut_windows(documents, model.config.context, BOS_ID, PAD_ID, rows=32):
        ids = torch.from_numpy(batch.ids).to(device)
        kept = torch.from_numpy(batch.attention).to(device)
        kept[:, 0] = False
        residual = model.residual_before_mlp(ids)
        neurons = model.neurons(residual)
        x = neurons[kept]
        features = sae.encode(x)
        decoded = sae.decode(features)
        reconstructed = neurons.clone()
        reconstructed[kept] = decoded
        zeroed = neurons * ~kept[..., None]  # at the same tokens as the reconstruction
        for place, put in enumerate((neurons, reconstructed, zeroed)):
            losses[place] += _summed_loss(model.logits(residual, put), ids)
        tokens += len(x)
        fired += (features > FIRES).sum(0)
        neurons_fired += (x > FIRES).sum(0)
        total += x.sum(0)
        squares += float(x.double().square().sum())
        error += float((x - decoded).double().square().sum())
        if tokens >= max_tokens:
            break
    if not tokens:
        raise CorpusError("no tokens to measure on; give a held-out corpus with text")
    variance = squares - float((total**2).sum()) / tokens
    predicted = losses / tokens
    feature_density = (fired / tokens).cpu().numpy()
    return TrainingMeasures(
        tokens=tokens,
        loss=float(predicted[0]),
        loss_reconstructed=float(predicted[1]),
        loss_zero=float(predicted[2]),
        l0=float(feature_density.sum()),
        dead=float((feature_density == 0).mean()),
        explained=1 - error / variance,
        feature_density=feature_density,
        neuron_density=(neurons_fired / tokens).cpu().numpy(),
    )


def _summed_loss(logits: Tensor, ids: Tensor) -> float:
    return float(
        functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD_ID, reduction="sum"
        )
    )
