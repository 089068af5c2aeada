"""Means over pairs of units, where each unit is tried as one of the pair and as the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np


def pair_design_effect(rows: Mapping[int, Mapping[int, float]]) -> float:
    """Return by how much the variance of the mean of the rows' means exceeds what rows show that
    have nothing in common; at least 1.

    `rows`: by unit, the values of its pairs with others, by the other. Two pairs that share a unit
    on whichever side go up and down together: a description that suits any text lifts the values of
    all units that it is tried on, which these, taken one by one, do not show.

    1 for fewer than 3 rows, or where all rows have the same mean.
    Source: Fafchamps & Gubert 2007, J. Dev. Econ. 83:326; Aronow, Samii & Assenova 2015, Polit.
    Anal. 23:564.
    """
    kept = {unit: row for unit, row in rows.items() if row}
    n = len(kept)
    if n < 3:
        return 1.0
    means = np.array([np.mean(list(row.values())) for row in kept.values()])
    apart = float(means.var(ddof=1)) / n
    if apart <= 1e-15:
        return 1.0
    mean = float(means.mean())
    part = {
        (unit, other): (value - mean) / (n * len(row))
        for unit, row in kept.items()
        for other, value in row.items()
    }
    of_unit: defaultdict[int, float] = defaultdict(float)
    for (unit, other), error in part.items():
        of_unit[unit] += error
        of_unit[other] += error
    # A pair shares both units with itself and with its reverse, and is to count once.
    twice = sum(error * (error + part.get(pair[::-1], 0.0)) for pair, error in part.items())
    together = (sum(total**2 for total in of_unit.values()) - twice) * n / (n - 1)
    return max(1.0, together / apart)
