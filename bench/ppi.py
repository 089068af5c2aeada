"""Whether the intervals of prediction-powered inference hold what they promise, in simulation, and
what people's time is worth by how their units are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import _drawn
from bench._ppi_coverage import simulate_coverage

REPLICATIONS = 20_000
DRAWS = 1_000


def figures() -> Iterator[dict[str, Any]]:
    """Yield the coverage by number of human ratings, and the width against human-only."""
    for n in (20, 50, 100):
        by_target = simulate_coverage(n, np.random.default_rng(n), replications=REPLICATIONS)
        least = min(by_target.values(), key=lambda target: target.coverage)
        note = (
            f"{REPLICATIONS:,} replications, nominal 0.95, judge of correlation 0.7, 1,000 units "
            "rated by the judge alone, the founding tables as margins"
        )
        yield {
            "figure": f"ppi_coverage_n{n}",
            "value": round(float(least.coverage), 4),
            "unit": "share",
            "note": f"the least of features, neurons and their difference ({least.target}); {note}",
        }
        if n == 50:
            yield {
                "figure": "ppi_width_ratio",
                "value": round(float(by_target["difference"].width_ratio), 3),
                "unit": "ratio",
                "note": f"width over the human-only interval of the difference, n = 50; {note}",
            }
    yield from _by_uncertainty()


def _by_uncertainty() -> Iterator[dict[str, Any]]:
    n = 40
    for figure, tells, world in (
        ("ppi_uncertainty_width_ratio", True, f"unsure of {_drawn.UNSURE:.0%} of the units"),
        ("ppi_uncertainty_width_ratio_even", False, "as sure of each unit as of the others"),
    ):
        by_draw = _drawn.measure(n, np.random.default_rng(n), DRAWS, tells=tells)
        ratio = by_draw["uncertainty"].width / by_draw["score"].width
        yield {
            "figure": figure,
            "value": round(ratio, 3),
            "unit": "ratio",
            "note": "width of the interval of people's mean, drawn by the judge's uncertainty over "
            f"drawn by its score, {n} of {_drawn.UNITS} units; a judge {world}; worth "
            f"{1 - ratio**2:.0%} of people's ratings; coverage "
            f"{by_draw['uncertainty'].coverage:.3f} and {by_draw['score'].coverage:.3f}; "
            f"{DRAWS:,} replications of features and of neurons",
        }
