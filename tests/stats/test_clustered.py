"""Intervals over clusters: wider where values of a cluster are alike, and as wide as they say."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.errors import TooFewRatings
from autointerp.stats.clustered import clustered_superiority
from autointerp.stats.ranks import auc
from autointerp.stats.superiority import superiority


def drawn(rng, documents, shared, tokens=10):
    """Return values of two classes whose documents differ by `shared`, and the documents.

    Nine tokens in ten of a document are of its main class.
    """
    document = np.repeat(np.arange(documents), tokens)
    is_over = (np.arange(documents) % 2 == 0)[document] ^ (rng.random(len(document)) < 0.1)
    values = is_over + shared * rng.standard_normal(documents)[document]
    values = values + rng.standard_normal(len(document))
    return values[is_over], values[~is_over], document[is_over], document[~is_over]


def test_with_a_cluster_a_value_it_is_the_interval_of_independent_values():
    rng = np.random.default_rng(0)
    over, under = rng.standard_normal(150) + 1, rng.standard_normal(200)
    own = clustered_superiority(over, under, np.arange(150), 1_000 + np.arange(200))
    plain = superiority(over, under)
    assert own.value == pytest.approx(auc(over, under)) == pytest.approx(plain.value)
    assert (own.low, own.high) == pytest.approx((plain.low, plain.high), abs=0.005)


def test_intervals_cover_where_those_over_values_do_not():
    rng = np.random.default_rng(1)
    truth = auc(*drawn(rng, 20_000, 2.0)[:2])
    hits = {"clusters": 0, "values": 0}
    for _ in range(300):
        over, under, over_in, under_in = drawn(rng, 30, 2.0)
        ours = clustered_superiority(over, under, over_in, under_in)
        plain = superiority(over, under)
        hits["clusters"] += ours.low <= truth <= ours.high
        hits["values"] += plain.low <= truth <= plain.high
    assert 0.91 * 300 <= hits["clusters"] <= 0.995 * 300
    assert hits["values"] < 0.75 * 300


def test_classes_that_are_apart_have_an_interval_below_1():
    documents = np.arange(20)
    apart = clustered_superiority(np.ones(20), np.zeros(20), documents, documents)
    assert apart.value == apart.high == 1
    assert 0.8 < apart.low < 1


def test_the_estimate_of_more_values_may_stand_in_the_middle():
    rng = np.random.default_rng(2)
    over, under, over_in, under_in = drawn(rng, 30, 0.5)
    moved = clustered_superiority(over, under, over_in, under_in, value=0.9)
    assert moved.value == 0.9
    assert moved.low < 0.9 < moved.high


def test_few_clusters_have_no_interval_and_few_values_no_estimate():
    few = clustered_superiority([1, 2, 3], [0, 0, 0], [0, 1, 1], [0, 1, 2])
    assert few.value == 1
    assert few.low is None
    assert "of 2 documents; 5 are needed" in few.note
    with pytest.raises(TooFewRatings):
        clustered_superiority([1], [0, 1], [0], [1, 2])
    with pytest.raises(ValueError, match="a cluster for each value"):
        clustered_superiority([1, 2], [0, 1], [0], [1, 2])
