import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.stats.cosines import STEP, nearest, partners, unit_length


def random_vectors(seed: int, n: int, width: int):
    return unit_length(np.random.default_rng(seed).standard_normal((n, width)))


sizes = st.integers(1, 150)


@given(st.integers(0, 1000), sizes, sizes, st.integers(1, 20), st.integers(1, 500))
def test_the_nearest_are_those_of_the_whole_product_whatever_the_block(seed, n, m, k, block):
    left, right = random_vectors(seed, n, 3), random_vectors(seed + 1, m, 3)
    product = left.astype(np.float64) @ right.T.astype(np.float64)
    near = nearest(left, right, k, block)
    k = min(k, m)
    assert near.index.shape == near.cosine.shape == (n, k)
    # Largest first, each column once, and the values are the product's own.
    assert near.cosine == pytest.approx(-np.sort(-product, axis=1)[:, :k], abs=1e-6)
    assert near.cosine == pytest.approx(np.take_along_axis(product, near.index, 1), abs=1e-6)
    assert all(len(set(row)) == k for row in near.index.tolist())
    assert near.back_cosine == pytest.approx(product.max(axis=0), abs=1e-6)
    assert product[near.back_index, np.arange(m)] == pytest.approx(product.max(axis=0), abs=1e-6)


def test_equal_cosines_are_in_order_of_place():
    right = unit_length([[0, 1], [1, 0], [1, 0], [1, 0]])
    assert nearest(unit_length([[2, 0]]), right, 3).index.tolist() == [[1, 2, 3]]


def test_partners_differ_from_the_nearest_where_two_want_the_same():
    # Both of `left` are nearest to (1, 0), at cosines of 1 and 0.8. Given to the first, the second
    # has (0, 1) at 0.6: together 1.6. The other way it is 0.8 + 0.
    left, right = unit_length([[1, 0], [0.8, 0.6]]), unit_length([[1, 0], [0, 1]])
    near = nearest(left, right, 2)
    assert near.index[:, 0].tolist() == [0, 0]
    found = partners(left, right, near)
    assert found.is_exact
    assert found.index.tolist() == [0, 1]
    assert found.cosine == pytest.approx([1, 0.6])


@given(st.integers(0, 1000), st.integers(1, 16), st.integers(1, 16))
def test_with_all_pairs_as_candidates_an_auction_comes_within_its_step_of_the_best_sum(seed, n, m):
    # In the positive orthant every cosine is above 0, so that a partner is never worse than none.
    rng = np.random.default_rng(seed)
    left, right = unit_length(rng.random((n, 4)) + 0.01), unit_length(rng.random((m, 4)) + 0.01)
    near = nearest(left, right, 16)
    best, sparse = partners(left, right, near), partners(left, right, near, exact=0)
    assert best.is_exact
    assert not sparse.is_exact
    for found in (best, sparse):
        has = found.index >= 0
        assert len(set(found.index[has].tolist())) == has.sum()
        cosines = (left[has] * right[found.index[has]]).sum(axis=1)
        assert found.cosine[has] == pytest.approx(cosines, abs=1e-6)
        assert np.isnan(found.cosine[~has]).all()
    assert (best.index >= 0).sum() == min(n, m)
    lacks = np.nansum(best.cosine, dtype=float) - np.nansum(sparse.cosine, dtype=float)
    assert -1e-5 < lacks <= STEP * min(n, m) + 1e-5


def test_a_shuffled_copy_is_found_again_by_both_methods():
    left = random_vectors(0, 200, 12)
    order = np.random.default_rng(1).permutation(200)
    near = nearest(left, left[order], 16)
    for exact in (200 * 200, 0):
        found = partners(left, left[order], near, exact)
        assert order[found.index].tolist() == list(range(200))
        assert found.cosine == pytest.approx(np.ones(200), abs=1e-6)


def test_a_vector_whose_candidates_are_taken_has_no_partner():
    # Three copies of one direction, and one place for it.
    left, right = unit_length([[1, 0]] * 3), unit_length([[1, 0], [-1, 0]])
    found = partners(left, right, nearest(left, right, 1), exact=0)
    assert sorted(found.index.tolist()) == [-1, -1, 0]


@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_lengths_do_not_count_however_large_or_small(scale):
    assert unit_length([[3 * scale, 4 * scale]])[0] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("vectors", [[[0, 0]], [[np.nan, 1]], [[np.inf, 1]], [1, 2]])
def test_what_has_no_direction_is_refused(vectors):
    with pytest.raises(ValueError, match=r"finite|shape"):
        unit_length(vectors)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="no vectors"):
        nearest(np.zeros((0, 2), np.float32), unit_length([[1, 0]]))
