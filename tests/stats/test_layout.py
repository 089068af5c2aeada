import sys

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.stats.cosines import unit_length
from autointerp.stats.layout import (
    Layout,
    LayoutParameters,
    best_of,
    digest_of,
    kept_neighbours,
    lay_out,
)

GROUPS, EACH, WIDTH = 12, 25, 32


@pytest.fixture(scope="module")
def vectors():
    """300 directions in 12 groups, in no order; row n is of group n % 12."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((GROUPS, WIDTH), dtype=np.float32)
    noise = 0.3 * rng.standard_normal((GROUPS * EACH, WIDTH), dtype=np.float32)
    return unit_length(centres[np.arange(GROUPS * EACH) % GROUPS] + noise)


@pytest.fixture(scope="module")
def layout(vectors):
    return lay_out(vectors)


def test_groups_of_directions_are_groups_on_the_map(layout):
    distances = np.linalg.norm(layout.points[:, None] - layout.points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    group = np.arange(len(distances)) % GROUPS
    # 24 others of its own group, 275 of other groups: by chance one in 12 would be of its own.
    assert (group[distances.argmin(axis=1)] == group).mean() > 0.98


def test_the_nearest_are_those_of_all_pairs_without_the_vector_itself(layout, vectors):
    products = vectors @ vectors.T
    np.fill_diagonal(products, -np.inf)
    wanted = np.sort(products, axis=1)[:, ::-1][:, :15]
    assert layout.is_exact
    assert layout.index.shape == (300, 15)
    assert layout.cosine == pytest.approx(wanted, abs=1e-5)
    assert (layout.index != np.arange(300)[:, None]).all()


def test_the_same_vectors_and_seed_have_the_same_layout_and_another_seed_another(layout, vectors):
    again = lay_out(vectors, LayoutParameters())
    assert (again.points == layout.points).all()
    other = lay_out(vectors, LayoutParameters(seed=1))
    assert not np.allclose(other.points, layout.points)


def test_of_what_a_search_proposes_the_nearest_are_taken_by_exact_cosines():
    # At 0, 10, 20, 40 and 80 degrees; the search proposes the vector itself, or leaves a place.
    angles = np.radians([0, 10, 20, 40, 80])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    candidates = np.array([[0, 4, 2, 1], [3, 1, 0, -1], [4, 3, 2, 0], [2, 4, 3, 1], [-1, 3, 1, 0]])
    index, cosine = best_of(vectors, candidates, 2)
    # The second has 0 at 10 degrees and 3 at 30; the third 3 and 0, both at 20, in their order.
    assert index.tolist() == [[1, 2], [0, 3], [3, 0], [2, 1], [3, 1]]
    degrees = [[10, 20], [10, 30], [20, 20], [20, 30], [40, 70]]
    assert cosine == pytest.approx(np.cos(np.radians(degrees)), abs=1e-6)


def test_equal_vectors_are_neighbours_and_none_is_its_own():
    vectors = unit_length(np.repeat(np.eye(3, dtype=np.float32), 10, axis=0))
    layout = lay_out(vectors, LayoutParameters(neighbours=4))
    assert (layout.index // 10 == np.arange(30)[:, None] // 10).all()
    assert (layout.index != np.arange(30)[:, None]).all()
    assert np.isfinite(layout.points).all()


def test_fewer_vectors_than_neighbours_are_laid_out_too():
    vectors = unit_length(np.random.default_rng(0).standard_normal((6, 4)))
    layout = lay_out(vectors)
    assert layout.index.shape == (6, 5)
    assert np.isfinite(layout.points).all()


def test_kept_neighbours_are_all_where_the_map_is_the_space_and_few_where_it_is_not():
    # Points on a line: the two nearest of each are known.
    points = np.stack([np.arange(5.0), np.zeros(5)], axis=1).astype(np.float32)
    index = np.array([[1, 2], [0, 2], [1, 3], [2, 4], [3, 2]])
    line = Layout(points, index, np.zeros(index.shape, np.float32), True)
    assert kept_neighbours(line).tolist() == [1.0] * 5
    # The first is moved behind the last: its nearest are 4 and 3 now, and none is kept.
    points = points.copy()
    points[0] = (5.5, 0)
    moved = Layout(points, index, np.zeros(index.shape, np.float32), True)
    assert kept_neighbours(moved)[0] == 0


def test_the_key_of_a_layout_depends_on_vectors_and_every_parameter(vectors):
    keys = [
        digest_of(vectors, LayoutParameters()),
        digest_of(vectors[::-1], LayoutParameters()),
        digest_of(vectors, LayoutParameters(neighbours=10)),
        digest_of(vectors, LayoutParameters(spread=0.2)),
        digest_of(vectors, LayoutParameters(seed=1)),
    ]
    assert len(set(keys)) == 5
    assert digest_of(vectors.copy(), LayoutParameters()) == keys[0]


@pytest.mark.parametrize(
    "parameters",
    [
        {"neighbours": 1}, {"neighbours": 201}, {"spread": -0.1}, {"spread": 1.5},
        {"spread": float("nan")}, {"seed": -1}, {"seed": 2**32},
    ],
)  # fmt: skip
def test_parameters_that_make_no_layout_are_refused(parameters):
    (name,) = parameters
    with pytest.raises(BadInput, match=f"--{name} .* give"):
        LayoutParameters(**parameters)


def test_too_few_vectors_are_refused():
    with pytest.raises(BadInput, match=r"4 vectors with a direction: a map takes at least 5"):
        lay_out(unit_length(np.eye(4)))


def test_vectors_of_one_direction_are_refused_and_those_of_two_lie_in_two_places():
    with pytest.raises(BadInput, match="all 30 vectors have one direction"):
        lay_out(unit_length(np.ones((30, 8))))
    two = np.repeat(np.eye(8)[:2], 20, axis=0)  # on one line: their second component is 0
    points = lay_out(unit_length(two)).points
    assert np.isfinite(points).all()
    # The 15 nearest of each are of its own kind, so nothing draws the two together.
    near, far = points[:20], points[20:]
    assert np.linalg.norm(near.mean(0) - far.mean(0)) > np.linalg.norm(near.std(0))


def test_without_umap_the_command_that_adds_it_is_said(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(BadInput, match=r"needs umap-learn .*: pip install .*\[map\]"):
        lay_out(vectors)


def test_torch_keeps_its_number_of_threads(vectors, monkeypatch):
    threads = torch.get_num_threads()

    def umap():
        torch.set_num_threads(threads + 1)  # as numba does when it starts its own
        raise BadInput("stopped")

    monkeypatch.setattr("autointerp.stats.layout._umap", umap)
    with pytest.raises(BadInput, match="stopped"):
        lay_out(vectors)
    assert torch.get_num_threads() == threads
