"""Two groups compared within strata of something that drives cheap results, such as density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.means import mean_difference
from autointerp.stats.results import (
    Floats,
    HypothesisTest,
    Integers,
    Statistic,
    as_level,
    as_scores,
)
from autointerp.stats.superiority import count_levels, placements, superiority

Weighting = Literal["overlap", "van_elteren", "first", "second", "pooled"]


@dataclass(frozen=True, slots=True)
class Stratum:
    """One stratum; `superiority` and `difference` are None where it is unmatched.

    Attributes:
        label: As given; from `density_strata`, its number from 0.
        n: Units of each group in it.
        weight: Its share of the combined estimates, 0 where it is unmatched.
    """

    label: int
    n: tuple[int, int]
    weight: float
    superiority: Statistic | None
    difference: Statistic | None


@dataclass(frozen=True, slots=True)
class MatchedContrast:
    """Two groups compared within strata.

    Attributes:
        superiority: Weighted mean of the strata's P(first > second) + ½ P(equal).
        difference: Weighted mean of their differences of means.
        test: Of `superiority` = ½.
        unmatched: Units of each group in strata that hold none of the other.
        weighting: In words.
    """

    superiority: Statistic
    difference: Statistic
    test: HypothesisTest
    strata: tuple[Stratum, ...]
    unmatched: tuple[int, int]
    weighting: str


WEIGHTINGS: dict[Weighting, str] = {
    "overlap": "overlap: n1 n2 / (n1 + n2), most where the groups overlap most",
    "van_elteren": "van Elteren: n1 n2 / (n1 + n2 + 1), locally best for ranks",
    "first": "standardised to the first group: n1",
    "second": "standardised to the second group: n2",
    "pooled": "standardised to both groups together: n1 + n2",
}


def density_edges(*densities: npt.ArrayLike, strata: int = 5) -> Floats:
    """Return the inner edges, [at most strata - 1], that split all groups' log densities evenly.

    Fewer edges come back where many densities are equal.

    Raises ValueError if a density is not above 0 (a dead unit has no log density: leave it out)
    or `strata` is not positive; TooFewRatings if there are none.
    """
    if strata < 1:
        raise ValueError(f"{strata} strata; at least 1 is needed")
    pooled = as_scores(np.concatenate([as_scores(group, 0) for group in densities]))
    if not (pooled > 0).all():
        raise ValueError("a density is 0; leave dead units out and report them as dead")
    shares = np.arange(1, strata) / strata
    return np.asarray(10 ** np.unique(np.quantile(np.log10(pooled), shares)))


def density_strata(densities: npt.ArrayLike, edges: npt.ArrayLike) -> Integers:
    """Return each unit's stratum, [units], from 0 for the sparsest; an edge opens the next."""
    inner = np.asarray(edges, dtype=np.float64)
    return np.asarray(np.searchsorted(inner, as_scores(densities, 0), side="right"), np.int64)


def matched_contrast(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    first_strata: npt.ArrayLike,
    second_strata: npt.ArrayLike,
    weighting: Weighting = "overlap",
    level: float = 0.95,
) -> MatchedContrast:
    """Return P(superiority) and the difference of means, compared only within strata.

    A stratum that lacks one group is listed with weight 0 and its units counted as unmatched.
    The weights are the user's choice and taken as fixed. Variances are DeLong's a stratum; a
    group of one unit in a stratum borrows the spread of its group in the other strata. Intervals
    use t with Satterthwaite's degrees of freedom, P(superiority) on the logit scale.
    Where no stratum holds both groups, everything is undefined and says so.

    Args:
        first, second: Scores, [units].
        first_strata, second_strata: Integer label of each unit's stratum, [units].

    Raises TooFewRatings if a group is empty.
    Source: van Elteren 1960, Bull. Int. Stat. Inst. 37:351; Kawaguchi, Koch & Wang 2011,
    Stat. Biopharm. Res. 3:195; Li, Morgan & Zaslavsky 2018, JASA 113:390 (overlap weights).
    """
    as_level(level)
    x, y = as_scores(first), as_scores(second)
    x_label, y_label = np.asarray(first_strata), np.asarray(second_strata)
    if x_label.shape != x.shape or y_label.shape != y.shape:
        raise ValueError("each score needs the label of its stratum")
    labels = np.unique(np.concatenate([x_label, y_label]))
    groups = [(x[x_label == label], y[y_label == label]) for label in labels]
    sizes = [(len(a), len(b)) for a, b in groups]
    matched = [min(size) > 0 for size in sizes]
    raw = np.array([_weight(weighting, *size) if min(size) else 0.0 for size in sizes])
    weights = raw / raw.sum() if raw.any() else raw
    strata = tuple(
        Stratum(
            int(label),
            (len(a), len(b)),
            float(weight),
            superiority(a, b, level) if both else None,
            mean_difference(a, b, level) if both else None,
        )
        for label, (a, b), weight, both in zip(labels, groups, weights, matched, strict=True)
    )
    unmatched = (
        sum(size[0] for size, both in zip(sizes, matched, strict=True) if not both),
        sum(size[1] for size, both in zip(sizes, matched, strict=True) if not both),
    )
    n = (len(x) - unmatched[0], len(y) - unmatched[1])
    method = "strata combined with fixed weights, DeLong variances, t"
    test_method = f"stratified Brunner-Munzel, two-sided, weights {weighting}"
    if not raw.any():
        note = "no stratum holds units of both groups"
        nothing = Statistic(None, None, None, n, method, level, note)
        test = HypothesisTest(None, None, test_method, note)
        return MatchedContrast(nothing, nothing, test, strata, unmatched, WEIGHTINGS[weighting])

    held = [pair for pair, both in zip(groups, matched, strict=True) if both]
    weight = weights[np.array(matched)]
    tables = [placements(*count_levels(a, b)) for a, b in held]
    size = np.array([[len(a), len(b)] for a, b in held])
    p = float(weight @ np.array([float(table.p) for table in tables]))
    gap = float(weight @ np.array([a.mean() - b.mean() for a, b in held]))
    p_parts = np.array([[float(table.first), float(table.second)] for table in tables])
    gap_parts = np.array(
        [[g.var(ddof=1) / len(g) if len(g) > 1 else math.inf for g in pair] for pair in held]
    )
    p_spread = _combined(weight, p_parts, size)
    gap_spread = _combined(weight, gap_parts, size)

    if p_spread is None or p in (0.0, 1.0):
        note = "within strata the groups are completely separated, all equal, or single units"
        odds = Statistic(p, None, None, n, method + " on the logit scale", level, note)
        test = HypothesisTest(None, None, test_method, note)
    else:
        error, freedom = p_spread
        half = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * error / (p * (1 - p))
        low, high = (
            float(scipy.special.expit(scipy.special.logit(p) + side * half)) for side in (-1, 1)
        )
        odds = Statistic(p, low, high, n, method + " on the logit scale", level)
        statistic = (p - 0.5) / error
        test = HypothesisTest(
            statistic, float(2 * scipy.stats.t.sf(abs(statistic), freedom)), test_method
        )
    if gap_spread is None:
        none = "the ratings within each group and stratum agree, or there is one of each"
        difference = Statistic(gap, None, None, n, method, level, none)
    else:
        half = float(scipy.stats.t.ppf((1 + level) / 2, gap_spread[1])) * gap_spread[0]
        difference = Statistic(gap, gap - half, gap + half, n, method, level)
    return MatchedContrast(odds, difference, test, strata, unmatched, WEIGHTINGS[weighting])


def _weight(weighting: Weighting, first: int, second: int) -> float:
    if weighting == "overlap":
        return first * second / (first + second)
    if weighting == "van_elteren":
        return first * second / (first + second + 1)
    return {"first": first, "second": second, "pooled": first + second}[weighting]


def _combined(weight: Floats, parts: Floats, size: Integers) -> tuple[float, float] | None:
    """Return the combined standard error and its degrees of freedom; None where it is 0 or no
    group has two units in any stratum.

    `parts` are the variances that each stratum and group adds, [strata, 2], infinite for a
    group of one unit; `size` the units, [strata, 2].
    """
    freedom = np.maximum(size - 1, 0)
    if (freedom.sum(axis=0) == 0).any():
        return None
    single = size == 1
    known = np.where(single, 0.0, parts)
    pooled = (known * size * freedom).sum(axis=0) / freedom.sum(axis=0)  # spread of one unit
    filled = weight[:, None] ** 2 * np.where(single, pooled, known)
    variance = filled.sum()
    if variance <= 0:
        return None
    # A borrowed variance is as well known as what it was borrowed from.
    certainty = np.where(single, freedom.sum(axis=0), np.maximum(freedom, 1))
    return float(np.sqrt(variance)), float(variance**2 / (filled**2 / certainty).sum())
