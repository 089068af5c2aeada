"""How often intervals of mean scores by use cover, on units whose use and scores are made up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from autointerp.stats.weighted import weighted_mean

SAMPLES = 1_000
TRUTH = 400_000  # units whose mean by use counts as the population's
CUTS = (-1.0, -0.3, 0.3, 1.0)  # of a latent variable, into scores 1 to 5
# Units, standard deviation of log use, correlation of log use and the latent variable of a score.
CASES = (
    (40, 0.5, 0.7), (40, 1.0, 0.7), (40, 1.5, 0.7), (40, 1.5, -0.7), (100, 0.5, 0.0),
    (100, 1.0, 0.7), (100, 1.5, 0.0), (100, 1.5, 0.7), (100, 2.0, 0.7), (100, 2.0, -0.7),
    (300, 1.0, 0.7), (300, 2.0, 0.7), (300, 2.5, 0.7),
)  # fmt: skip


def use_figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the lowest coverage of 95 % intervals over the cases, among those that are given."""
    samples = SAMPLES // 10 if quick else SAMPLES
    rng = np.random.default_rng(0)

    def drawn(n: int, deviation: float, r: float) -> tuple[Any, Any]:
        z, other = rng.standard_normal((2, n))
        latent = r * z + math.sqrt(1 - r * r) * other
        return 1.0 + np.searchsorted(CUTS, latent), np.exp(deviation * z)

    shares, given = [], []
    for case in CASES:
        scores, use = drawn(TRUTH, *case[1:])
        truth = float(scores @ use / use.sum())
        found = [weighted_mean(*drawn(*case), (1, 5)) for _ in range(samples)]
        held = [one.low <= truth <= (one.high or 0) for one in found if one.low is not None]
        shares.append(float(np.mean(held)))
        given.append(len(held) / samples)
    worst = int(np.argmin(shares))
    n, deviation, r = CASES[worst]
    yield {
        "figure": "by_use_coverage",
        "value": round(shares[worst], 3),
        "unit": "share of 95 % intervals, lowest of all cases",
        "note": f"{n} units, log use with a standard deviation of {deviation:g}, r {r:g} with "
        f"scores, interval given in {100 * given[worst]:.0f} % of {samples:,} samples; the median "
        f"of {len(CASES)} cases is {np.median(shares):.3f}; target >= 0.94",
    }
