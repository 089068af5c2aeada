import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from autointerp.stats.ratios import of_sums


def mean(sums):
    return float(sums["total"] / sums["tokens"]) if sums["tokens"] else math.nan


def test_the_interval_of_a_mean_over_equal_groups_is_students():
    # One token a group: the jackknife's variance of a mean is s²/n, Student's own.
    values = np.array([2.0, 5.0, 4.0, 9.0])
    found = of_sums({"total": values, "tokens": np.ones(4)}, mean, "tokens")
    assert found.value == pytest.approx(5.0)
    reach = t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((5 - reach, 5 + reach))
    assert found.n == (4,)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=9), st.integers(1, 4))
def test_groups_without_tokens_change_nothing(values, empty):
    counts = np.ones(len(values))
    alone = of_sums({"total": np.array(values), "tokens": counts}, mean, "tokens")
    more = {
        "total": np.array([*values, *[0.0] * empty]),
        "tokens": np.array([*counts, *[0.0] * empty]),
    }
    assert of_sums(more, mean, "tokens") == alone


def test_what_is_undefined_says_why_and_one_group_gives_no_interval():
    none = of_sums({"total": np.zeros(3), "tokens": np.zeros(3)}, mean, "tokens", undefined="why")
    assert (none.value, none.low, none.note) == (None, None, "why")
    one = of_sums({"total": np.array([3.0, 0]), "tokens": np.array([2.0, 0])}, mean, "tokens")
    assert (one.value, one.low) == (1.5, None)
    assert "one group" in one.note


def test_the_interval_covers_the_mean_of_documents_that_differ():
    # 400 corpora of 64 documents whose means differ: 95 % is 380, and 3 standard errors of a
    # binomial are 13; tokens taken for independent would cover far fewer.
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        document = rng.normal(0, 1, 64)
        tokens = rng.integers(5, 50, 64).astype(float)
        total = tokens * document + rng.normal(0, np.sqrt(tokens))
        found = of_sums({"total": total, "tokens": tokens}, mean, "tokens")
        covered += found.low <= 0 <= found.high
    assert 380 - 13 <= covered <= 380 + 13
