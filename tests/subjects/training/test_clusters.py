"""Points whose clusters are known: each has a feature of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.subjects.training.clusters import draw_clusters, train_on_points


@pytest.mark.parametrize("clusters", [3, 8])
def test_each_feature_fires_on_one_cluster_and_each_cluster_has_one(clusters):
    drawn = draw_clusters(clusters, 700, seed=1)
    sae = train_on_points(drawn.points, clusters, seed=1)
    fires = sae.encode(torch.from_numpy(drawn.points)).numpy() > 0
    shares = np.array([fires[drawn.cluster == one].mean(0) for one in range(clusters)])
    assert sorted(shares.argmax(1)) == list(range(clusters))
    assert (shares.max(1) > 0.99).all()
    assert np.sort(shares, axis=1)[:, :-1].max() < 0.01


def test_the_same_seed_gives_the_same_points_and_the_same_sae():
    one, other = (draw_clusters(4, 500, seed=2) for _ in range(2))
    assert (one.points == other.points).all()
    assert (draw_clusters(4, 500, seed=3).points != one.points).any()
    saes = [train_on_points(one.points, 4, seed=2) for _ in range(2)]
    assert torch.equal(saes[0].W_dec, saes[1].W_dec)
    assert saes[0].W_dec.norm(dim=1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize(("clusters", "points"), [(2, 5_000), (17, 5_000), (8, 249)])
def test_numbers_that_make_no_such_subject_are_refused(clusters, points):
    with pytest.raises(BadInput):
        draw_clusters(clusters, points)
