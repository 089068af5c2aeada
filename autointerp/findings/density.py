"""How far sources differ in density, and mean scores within strata of a source's own units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autointerp.stats.density import density_edges, density_strata
from autointerp.stats.means import mean
from autointerp.stats.results import Floats, Statistic

STRATA = 5
LIKE = 0.5  # standard deviations: sources whose log densities differ by no more are alike


@dataclass(frozen=True)
class StratumMean:
    """The units of one stratum.

    Attributes:
        at: Geometric mean of what the units were stratified by.
        mean: Of their scores.
    """

    at: float
    n: int
    mean: Statistic


def means_by_stratum(
    by: Floats, scores: Floats, level: float = 0.95, scale: tuple[int, int] | None = None
) -> tuple[StratumMean, ...]:
    """Return mean scores within strata of like `by`, lowest first; both are [units].

    `scale`: the lowest and the highest score, None where they are not known.

    Units of which `by` is unknown or 0 do not count; nothing is returned for fewer than
    4 · STRATA of the others.
    """
    has_value = np.nan_to_num(by) > 0
    by, scores = by[has_value], scores[has_value]
    if len(by) < 4 * STRATA:
        return ()
    stratum = density_strata(by, density_edges(by, strata=STRATA))
    return tuple(
        StratumMean(
            at=float(np.exp(np.log(by[stratum == number]).mean())),
            n=int((stratum == number).sum()),
            mean=mean(scores[stratum == number], level, scale=scale),
        )
        for number in np.unique(stratum)
    )


def log_density_gap(first: Floats, second: Floats) -> float | None:
    """Return the difference of the mean log densities of two sources, [units] each, divided by the
    root mean square of their standard deviations.

    Units of which the density is unknown or 0 do not count. None for fewer than two others in
    either; infinite where densities differ and do not vary.
    """
    logs = [np.log10(densities[np.nan_to_num(densities) > 0]) for densities in (first, second)]
    if min(map(len, logs)) < 2:
        return None
    gap = float(logs[0].mean() - logs[1].mean())
    spread = float(np.sqrt((logs[0].var(ddof=1) + logs[1].var(ddof=1)) / 2))
    if spread == 0:
        return 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    return gap / spread
