"""A subject of known truth: points in clusters of the plane, and an SAE with a feature for each.

What an instrument says of it can be checked: each cluster is known by one feature, and by no axis.
The clusters stand in a circle round their mean, turned so that no axis points at one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from autointerp.errors import BadInput
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.recorded import Recording
from autointerp.subjects.training.sae import (
    Dictionary,
    new_dictionary,
    normalise_rows,
    remove_parallel_gradient,
)

STARTS = 3  # dictionaries that are trained, of which the one with the least error is kept
STEPS = 150
SPREAD = 0.06  # standard deviation of a cluster, in radii of the circle


@dataclass(frozen=True)
class Clusters:
    """Points and the cluster of each.

    Attributes:
        points: [points, 2].
        cluster: [points] from 0.
    """

    points: NDArray[np.float32]
    cluster: NDArray[np.int64]

    @property
    def recording(self) -> Recording:
        """The points as recorded activations, each a document of its own."""
        texts = tuple(f"({x:.2f}, {y:.2f})" for x, y in self.points.tolist())
        return Recording(self.points, np.arange(len(texts) + 1), texts)


def draw_clusters(clusters: int = 8, points: int = 500, seed: int = 0) -> Clusters:
    """Return `points` points of each of the clusters, in random order.

    Raises BadInput for fewer than 3 clusters or more than 16, which would touch, or fewer than
    2,000 points in all.
    """
    if not 3 <= clusters <= 16:
        raise BadInput(f"--clusters {clusters}: give 3 to 16")
    if clusters * points < 2_000:
        raise BadInput(f"--points {points}: {clusters} clusters need {-(-2_000 // clusters)} each")
    rng = np.random.default_rng([seed, 0x636C7573])
    cluster = rng.permutation(np.repeat(np.arange(clusters), points))
    angle = 2 * np.pi * (cluster + 0.5) / clusters
    centre = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    noise = SPREAD * rng.standard_normal(centre.shape)
    return Clusters((centre + noise).astype(np.float32), cluster)


def train_on_points(points: NDArray[np.float32], features: int, seed: int = 0) -> SparseAutoencoder:
    """Return a TopK SAE with one active latent a point, the best of a few dictionaries.

    Each begins with dictionary vectors that are points, drawn where those before leave most error,
    as resampling draws them (Bricken et al. 2023; Arthur & Vassilvitskii 2007, k-means++).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(points)
    best, least = None, np.inf
    for _ in range(STARTS):
        dictionary, error = _trained(x, features, generator)
        if error < least:
            best, least = dictionary, error
    assert best is not None
    return SparseAutoencoder(
        W_enc=best.W_enc.detach(),
        b_enc=best.b_enc.detach(),
        W_dec=best.W_dec.detach(),
        b_dec=best.b_dec.detach(),
        activation="topk",
        k=1,
    )


def _trained(
    x: torch.Tensor, features: int, generator: torch.Generator
) -> tuple[Dictionary, float]:
    dictionary = new_dictionary(x.shape[1], features, x.mean(0), generator)
    with torch.no_grad():
        centred = x - dictionary.b_dec
        left = centred.square().sum(1)  # of each point, by the vectors that there are
        for feature in range(features):
            weights = left.clamp_min(0).square() + 1e-12
            chosen = centred[torch.multinomial(weights, 1, generator=generator)[0]]
            direction = chosen / chosen.norm().clamp_min(1e-8)
            dictionary.W_dec[feature] = direction
            dictionary.W_enc[:, feature] = direction
            along = (centred @ direction).clamp_min(0)
            left = torch.minimum(left, centred.square().sum(1) - along.square())
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=0.01)
    error = torch.tensor(np.inf)
    for _ in range(STEPS):
        pre = (x - dictionary.b_dec) @ dictionary.W_enc + dictionary.b_enc
        value, at = pre.max(1)
        decoded = functional.relu(value)[:, None] * dictionary.W_dec[at] + dictionary.b_dec
        error = (decoded - x).square().mean()
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        remove_parallel_gradient(dictionary.W_dec)
        optimizer.step()
        normalise_rows(dictionary.W_dec)
    return dictionary, float(error.detach())
