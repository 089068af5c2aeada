"""Nearest directions and units that fire together, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs._bench import open_bench
from autointerp.labs.neighbours import Counts, measure
from autointerp.store.run import open_run


@pytest.fixture(scope="module")
def bench(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [opened.sampled(s, 1)[0].unit_id for s in ("features", "neurons", "random")]
        yield open_bench(opened, units, "test")


def test_neighbours_are_those_of_numpy(bench):
    options = options_of("neighbours", {"count": "5"})
    sae = bench.subject.sae
    vectors = sae.W_dec.double().numpy()
    firing = (sae.encode(bench.calibration.activations) > 1e-5).numpy()
    for place, unit_id in enumerate(bench.units):
        unit = bench.units[unit_id]
        own = unit.source.written(np.array([unit.number]))[0].double().numpy()
        cosines = vectors @ own / np.linalg.norm(vectors, axis=1) / np.linalg.norm(own)
        if place == 0:
            cosines[unit.number] = -np.inf
        wanted = [f"features/{n}" for n in np.argsort(-cosines)[:5]]
        rows = list(measure(bench, unit_id, options))
        nearest = [row for row in rows if row["kind"] == "nearest"]
        assert [row["neighbour"] for row in nearest] == wanted
        largest = np.sort(cosines)[:-6:-1]
        assert [row["cosine"] for row in nearest] == pytest.approx(largest, abs=1e-5)
    unit = next(iter(bench.units.values()))
    rows = [row for row in measure(bench, unit.unit_id, options) if row["kind"] == "together"]
    mine = firing[:, unit.number]
    assert rows
    assert f"features/{unit.number}" not in {row["neighbour"] for row in rows}
    for row in rows:
        other = firing[:, int(row["neighbour"].partition("/")[2])]
        assert row["phi"] == pytest.approx(np.corrcoef(mine, other)[0, 1])
        assert row["share"] == pytest.approx((mine & other).sum() / mine.sum())
        assert row["usual"] == pytest.approx(other.mean())
        assert row["tokens"] == len(mine)
    phis = [row["phi"] for row in rows]
    assert phis == sorted(phis, reverse=True)


def test_what_never_fires_or_always_does_correlates_with_nothing():
    counts = Counts(10, 4, np.array([0, 10, 4, 4]), np.array([0, 4, 4, 0]))
    # The last fires on 4 of the 6 tokens on which the unit does not: (0 - 16) / 24.
    assert counts.phi().tolist() == pytest.approx([0, 0, 1, -16 / 24])


def test_no_neighbours_are_refused(bench):
    with pytest.raises(BadInput, match="count=0: ask for at least 1"):
        list(measure(bench, next(iter(bench.units)), options_of("neighbours", {"count": "0"})))
