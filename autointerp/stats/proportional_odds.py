"""Proportional odds: an ordinal regression, logit P(score at most level j) = cut_j - x·slope.

Fitted by Newton's method with the exact Hessian, which takes a few passes over the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from autointerp.stats.results import Floats, Integers

STEPS = 50
CLOSE = 1e-8  # largest change of a parameter at the end


@dataclass(frozen=True)
class ProportionalOdds:
    """A fit.

    Attributes:
        slopes: [columns] of the design: by how much a unit of it raises the log odds of a higher
            level.
        errors: [columns] standard errors, from the information observed.
    """

    slopes: Floats
    errors: Floats


def proportional_odds(levels: Integers, design: Floats) -> ProportionalOdds | None:
    """Return the fit of levels 0 to K - 1, [scores], each of which occurs, on [scores, columns].

    None if there is no maximum, as where a column separates the levels, or it cannot be told from
    the others. Source: McCullagh 1980, J. R. Stat. Soc. B 42:109.
    """
    counts = np.bincount(levels)
    cuts, columns = len(counts) - 1, design.shape[1]
    if cuts < 1 or not counts.all():
        raise ValueError(f"levels must be 0 to {cuts}, and each of them must occur")
    at_cut = np.vstack([np.eye(cuts), np.zeros(cuts)])  # the last level has no upper cut
    upper = np.hstack([at_cut[levels], -design])
    lower = np.hstack([np.roll(at_cut, 1, axis=0)[levels], -design])
    is_last, is_first = levels == cuts, levels == 0
    below = np.cumsum(counts)[:-1] / len(levels)
    parameters = np.concatenate([scipy.special.logit(below), np.zeros(columns)])

    def bounds(parameters: Floats) -> tuple[Floats, Floats]:
        high = np.where(is_last, np.inf, upper @ parameters)
        low = np.where(is_first, -np.inf, lower @ parameters)
        return high, low

    def loss(parameters: Floats) -> float:
        high, low = bounds(parameters)
        share = scipy.special.expit(high) - scipy.special.expit(low)
        return -float(np.log(share).sum()) if (share > 0).all() else float("inf")

    now = loss(parameters)
    information = np.zeros((cuts + columns, cuts + columns))
    for _ in range(STEPS):
        high, low = map(scipy.special.expit, bounds(parameters))
        share = high - low
        slope_high, slope_low = high * (1 - high) / share, low * (1 - low) / share
        gradient = upper.T @ slope_high - lower.T @ slope_low
        both = (upper * (slope_high * slope_low)[:, None]).T @ lower
        information = (
            (upper * (slope_high * (slope_high - 1 + 2 * high))[:, None]).T @ upper
            + (lower * (slope_low * (slope_low + 1 - 2 * low))[:, None]).T @ lower
            - both
            - both.T
        )
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError:
            return None
        then = loss(parameters + step)
        while not then <= now + 1e-9 and np.abs(step).max() > CLOSE:
            step = step / 2
            then = loss(parameters + step)
        parameters, now = parameters + step, then
        if not np.isfinite(parameters).all():
            return None
        if np.abs(step).max() <= CLOSE:
            break
    else:
        return None
    try:
        variances = np.diag(np.linalg.inv(information))[cuts:]
    except np.linalg.LinAlgError:
        return None
    if not (variances > 0).all():
        return None
    return ProportionalOdds(parameters[cuts:], np.sqrt(variances))
