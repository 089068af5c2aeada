"""Mean scores within strata of a source's own units, by density or by peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autointerp.stats.matched import density_edges, density_strata
from autointerp.stats.means import mean
from autointerp.stats.results import Floats, Statistic

STRATA = 5


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


def means_by_stratum(by: Floats, scores: Floats, level: float = 0.95) -> tuple[StratumMean, ...]:
    """Return mean scores within strata of like `by`, lowest first; both are [units].

    Units of which `by` is unknown or 0 do not count; nothing is returned for fewer than
    4 · STRATA of the others.
    """
    known = np.nan_to_num(by) > 0
    by, scores = by[known], scores[known]
    if len(by) < 4 * STRATA:
        return ()
    stratum = density_strata(by, density_edges(by, strata=STRATA))
    return tuple(
        StratumMean(
            at=float(np.exp(np.log(by[stratum == number]).mean())),
            n=int((stratum == number).sum()),
            mean=mean(scores[stratum == number], level),
        )
        for number in np.unique(stratum)
    )
