from __future__ import annotations

import numpy as np
import pytest

from autointerp.units.draws import (
    interval_of,
    place_hash,
    random_order,
    split_of,
    unit_hash,
    unit_salts,
)


def test_the_random_order_is_a_permutation_of_seed_and_source_alone() -> None:
    order = random_order(1, "features", 50)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() == random_order(1, "features", 50).tolist()
    assert order.tolist() != random_order(2, "features", 50).tolist()
    assert order.tolist() != random_order(1, "neurons", 50).tolist()


def test_every_unit_is_as_likely_to_be_sampled() -> None:
    # 2,000 orders of 20 units, the first 5 taken: each is expected 500 times, spread 19.4.
    counts = np.zeros(20)
    for seed in range(2000):
        counts[random_order(seed, "features", 20)[:5]] += 1
    assert abs(counts - 500).max() < 4.5 * 19.4


def test_bits_of_a_place_are_a_function_of_seed_and_place_alone() -> None:
    document, position = np.array([0, 0, 5]), np.array([0, 1, 0])
    bits = place_hash(7, document, position)
    assert bits.dtype == np.uint64
    assert len(set(bits.tolist())) == 3
    assert place_hash(7, document[::-1], position[::-1]).tolist() == bits[::-1].tolist()
    assert (place_hash(8, document, position) != bits).all()


def test_one_round_of_splitmix64_gives_the_generator_s_first_number() -> None:
    # Steele, Lea and Flood 2014: state 0 steps by the golden gamma to 0xE220A8397B1DCDAF.
    assert unit_hash(np.zeros(1, np.uint64), 1).tolist() == [0xE220A8397B1DCDAF]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_documents_are_explained_in_the_share_that_was_asked_for(share: float) -> None:
    split = split_of(3, np.arange(20_000, dtype=np.uint64), share)
    # Bernoulli: standard deviation of the mean is at most 0.5 / sqrt(20,000) = 0.0035
    assert abs((split == 0).mean() - share) < 0.015


def test_units_of_two_sources_have_salts_of_their_own() -> None:
    salts = {*unit_salts("features", np.arange(9), 0), *unit_salts("neurons", np.arange(9), 0)}
    assert len(salts) == 18


def test_intervals_are_equal_widths_from_zero_to_the_peak_and_hold_the_peak() -> None:
    values = np.array([0.0, 0.99, 1.0, 9.99, 10.0], np.float32)
    assert interval_of(values, np.full(5, 10.0), 10).tolist() == [0, 0, 1, 9, 9]
