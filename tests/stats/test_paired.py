import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.stats.paired import paired_difference, sign_flip_test


def generator():
    return np.random.default_rng(0)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_few_units_get_the_share_of_all_sign_patterns(gaps):
    sums = [
        sum(s * g for s, g in zip(signs, gaps, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(gaps))
    ]
    expected = np.mean([abs(total) >= abs(sum(gaps)) for total in sums])
    assert sign_flip_test(gaps, generator()).p_value == pytest.approx(expected)


def test_many_units_come_near_the_paired_t_test():
    gaps = generator().normal(0.4, 1, 60)
    theirs = stats.ttest_1samp(gaps, 0).pvalue
    assert sign_flip_test(gaps, generator()).p_value == pytest.approx(theirs, abs=0.01)


def test_pairs_show_a_difference_that_unpaired_intervals_hide():
    # Units differ by far more than the gap of about half a point that each of them shows.
    units = np.linspace(0, 2.4, 20)
    found = paired_difference(units + [0.4, 0.6] * 10, units, generator(), scale=(0, 3))
    assert found.test.p_value < 0.001
    assert found.difference.value == pytest.approx(0.5)
    assert found.difference.low > 0


def test_no_difference_at_all_is_no_evidence():
    assert sign_flip_test([0, 0, 0], generator()).p_value == 1
    with pytest.raises(ValueError, match="same units"):
        paired_difference([1, 2], [1], generator(), scale=(0, 3))


def test_the_sign_flip_test_keeps_its_level():
    rng = generator()
    rejected = np.mean(
        [sign_flip_test(rng.normal(size=10), rng).p_value <= 0.05 for _ in range(1000)]
    )
    assert rejected <= 0.07  # 0.05, standard error 0.007
