"""Sources against each other over the same concepts."""

from __future__ import annotations

import pytest

from autointerp.findings.concepts import BestUnit, Known, Threshold, _compared
from autointerp.stats.results import Statistic


def known(concept: str, source: str, auroc: float) -> Known:
    area = Statistic(auroc, auroc, auroc, (1, 1), "exact", 0.95)
    best = BestUnit(f"{source}/0", auroc, 0.0, area, 0.0)
    return Known(concept, source, best, Threshold(f"{source}/0", 0.0, 0.5, 0.5), auroc, 0.0, ())


def test_an_interval_of_differences_ends_where_two_areas_cannot_be_farther_apart():
    areas = {"cat": (1.0, 0.1), "the": (0.5, 0.6)}
    rows = [
        known(concept, source, area)
        for concept, pair in areas.items()
        for source, area in zip(("features", "neurons"), pair, strict=True)
    ]
    (found,) = _compared(["features", "neurons"], rows, (), seed=0, level=0.95)
    # Student's t of 0.9 and -0.1: 0.4 ± 12.7 * 0.5.
    difference = found.best.difference
    assert difference.value == pytest.approx(0.4)
    assert (difference.low, difference.high) == (-1, 1)
