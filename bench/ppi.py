"""Whether the intervals of prediction-powered inference hold what they promise, in simulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from autointerp.stats.calibration import simulate_coverage

REPLICATIONS = 20_000


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
