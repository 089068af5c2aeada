"""P(superiority) by people, from their ratings of some units and a judge's of all (PPI++)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autointerp.stats.bounded import wilson_ends
from autointerp.stats.ppi import Powered, power_mean, rated_at_random
from autointerp.stats.results import Floats, Statistic, as_level
from autointerp.stats.superiority import superiority

METHOD = (
    "PPI++ on the U-statistic probability of superiority, power-tuned a group, leave-one-out "
    "residuals (HC3), Wilson score interval at the effective n"
)
LEAST_HUMAN = 10


@dataclass(frozen=True, slots=True)
class PredictedSuperiority:
    """P(first > second) + ½ P(equal) of people's ratings, by prediction-powered inference.

    Attributes:
        superiority: `n` is (human first, human second, judge alone first, judge alone second).
        human_only: From people's ratings alone.
        judge_only: From the judge's ratings of all units, as if it were a person.
        power: λ of each group: 0 leaves the judge out.
    """

    superiority: Statistic
    human_only: Statistic
    judge_only: Statistic
    power: tuple[float, float]


def predict_superiority(
    first: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    *,
    level: float = 0.95,
) -> PredictedSuperiority:
    """Return P(superiority) as people would rate all units, from their ratings of some.

    Each group is (human, judge, judge_only): human and judge of the same units, [n], drawn at
    random from the group, and the judge's of the others, [N]. A unit's placement is the share of
    the other group that it beats; P is the mean of the people's placements, corrected in each
    group by λ times the gap between the judge's placements on the units that people did not rate
    and on those that they did. To first order the corrected mean is that of independent units,
    so its variance is that of `power_mean` in each group.

    Interval undefined below `LEAST_HUMAN` human ratings a group, where it does not cover, and
    where people's ratings separate the groups or all agree.

    Raises TooFewRatings if a group has fewer than 3 human ratings or 2 others.
    Source: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453 (PPI++); Hoeffding 1948, Ann. Math.
    Stat. 19:293 (projection of a U-statistic).
    """
    as_level(level)
    groups = [rated_at_random(*first), rated_at_random(*second)]
    value, variance, parts = superiority_powered(groups[0], groups[1])
    p, spread = float(value), float(variance)
    freedom = min(part.freedom for part in parts)
    by_judge = [np.concatenate([judge, rest]) for _, judge, rest in groups]
    judge_only = superiority(by_judge[0], by_judge[1], level)
    human_only = superiority(groups[0][0], groups[1][0], level)
    n = (*(len(group[0]) for group in groups), *(len(group[2]) for group in groups))
    inside = min(max(p, 0.0), 1.0)
    power = (float(parts[0].power), float(parts[1].power))
    fewest = min(len(group[0]) for group in groups)
    note = ""
    if fewest < LEAST_HUMAN:
        note = f"too few units for a {level:.0%} interval: {fewest} rated by people in a group"
    elif inside in (0.0, 1.0) or spread <= 0 or human_only.low is None:
        note = "people's ratings leave no spread to judge the error by"
    if note:
        undefined = Statistic(inside, None, None, n, METHOD, level, note)
        return PredictedSuperiority(undefined, human_only, judge_only, power)
    low, high = wilson_ends(inside, spread, freedom, (1 - level) / 2)
    return PredictedSuperiority(
        Statistic(inside, float(low), float(high), n, METHOD, level),
        human_only,
        judge_only,
        power,
    )


def superiority_powered(
    first: tuple[Floats, Floats, Floats], second: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, tuple[Powered, Powered]]:
    """Return the estimate, its variance and both groups' parts, for groups of [..., n] and
    [..., N] as in `predict_superiority`."""
    parts = []
    for own, other in ((first, second), (second, first)):
        judged = np.concatenate([other[1], other[2]], axis=-1)
        parts.append(
            power_mean(
                _placements(own[0], other[0]),
                _placements(own[1], judged),
                _placements(own[2], judged),
            )
        )
    a, b = parts
    # Both means of people's placements are P, the second's seen from the other side.
    human = _placements(first[0], second[0]).mean(axis=-1)
    value = human + (a.value - human) - (b.value - (1 - human))
    return value, a.variance + b.variance, (a, b)


def _placements(own: Floats, other: Floats) -> Floats:
    """Return the share of `other`, [..., m], that each of `own`, [..., n], beats, ties half."""
    if own.ndim == 1:
        ascending = np.sort(other)
        below = np.searchsorted(ascending, own, side="left")
        upto = np.searchsorted(ascending, own, side="right")
        return np.asarray((below + upto) / 2 / len(other))
    difference = own[..., :, None] - other[..., None, :]
    return np.asarray(((difference > 0) + 0.5 * (difference == 0)).mean(axis=-1))
