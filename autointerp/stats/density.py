"""Two groups compared at like density: where they overlap, and not at all where they do not.

Dense units are cheap to describe, so a difference of scores may be one of densities. Only units
that have units of the other group at their own density can show which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.bounded import wilson_ends
from autointerp.stats.proportional_odds import proportional_odds
from autointerp.stats.results import (
    Floats,
    HypothesisTest,
    Integers,
    Statistic,
    as_level,
    as_scores,
)
from autointerp.stats.superiority import ALL_EQUAL, count_levels, hidden_spread, hides_spread

DensityDecision = Literal["higher", "lower", "not resolved"]

REACH = 0.1  # decades: units whose densities differ by more are not compared
CELLS_A_DECADE = 50
LEAST_KEPT_SHARE = 0.5
LEAST_EFFECTIVE = 20.0
MOST_IMBALANCE = 0.1
MOST_LEVELS = 20
ROWS_AT_ONCE = 500

METHOD = (
    "probability of superiority over pairs within 0.1 decades of density, variance of the "
    "U-statistic's projection, Wilson score interval at the effective n"
)
ORDINAL = "proportional odds, logit, score on group and restricted cubic spline of log density"


@dataclass(frozen=True, slots=True)
class Balance:
    """How alike two groups are in density, before and after the comparison is narrowed.

    Attributes:
        n: Units of each group.
        kept: Units of each that have one of the other within reach.
        effective_n: Units of equal weight that would be as sure as the kept ones.
        support: Lowest and highest density among the kept; None if none is.
        before, after: Mean log10 density of each group, of all units and of the kept, weighted
            by the pairs that they enter; `after` is None if none is kept.
        difference_before, difference_after: Standardised: first less second, over the root of
            the mean of both groups' variances before.
    """

    n: tuple[int, int]
    kept: tuple[int, int]
    effective_n: tuple[float, float]
    support: tuple[float, float] | None
    before: tuple[float, float]
    after: tuple[float, float] | None
    difference_before: float
    difference_after: float | None


@dataclass(frozen=True, slots=True)
class DensityAdjusted:
    """Two groups at like density.

    Attributes:
        superiority: P(first > second) + ½ P(equal) for pairs of like density; undefined where
            refused.
        test: Of `superiority` = ½; it rejects where the interval leaves ½ out.
        odds_ratio: Second opinion: of a higher score in the first group at the same density.
        odds_test: Of `odds_ratio` = 1.
        balance: Which units this speaks of.
        refused: Why nothing is said; empty where something is.
    """

    superiority: Statistic
    test: HypothesisTest
    odds_ratio: Statistic
    odds_test: HypothesisTest
    balance: Balance
    refused: str

    @property
    def decision(self) -> DensityDecision:
        """What may be said at like density: `higher` or `lower` (of the first group) where both
        opinions reject at 1 - level, the same way; one alone may reject by its assumptions."""
        alpha = 1 - self.superiority.level
        p_values = (self.test.p_value, self.odds_test.p_value)
        if any(p is None or p > alpha for p in p_values):
            return "not resolved"
        first, second = self.test.statistic, self.odds_test.statistic
        if first is None or second is None or (first > 0) != (second > 0):
            return "not resolved"
        return "higher" if first > 0 else "lower"

    @property
    def has_one_opinion(self) -> bool:
        """Whether P(superiority) differs from ½ and no regression says more: its scores separate
        the groups, so it has no estimate."""
        alpha = 1 - self.superiority.level
        p = self.test.p_value
        return p is not None and p <= alpha and self.odds_test.p_value is None


def density_adjusted(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    first_density: npt.ArrayLike,
    second_density: npt.ArrayLike,
    level: float = 0.95,
    *,
    second_opinion: bool = True,
) -> DensityAdjusted:
    """Return P(superiority) over pairs of units whose densities are alike, one of each group.

    Pairs within 0.1 decades count alike, others not at all; so the two groups that remain have
    the same densities, whatever their own, and nothing is assumed of how density drives scores.
    Refused where the groups hardly overlap: where fewer than half of either group is kept, the
    kept of either are worth fewer than 20 units, or their densities still differ by more than a
    tenth of a standard deviation. No interval, either, where the kept hide how they spread
    (`superiority.hides_spread`).

    The second opinion is a proportional odds regression of the score on the group and a smooth
    of log density, over the kept units.

    Args:
        first, second: Scores, [units].
        first_density, second_density: Of each unit, above 0, [units].
        second_opinion: Whether to fit the regression, a tenth of a second.

    Raises ValueError if a density is not above 0 (leave dead units out), TooFewRatings if a
    group is empty.
    Source: Heckman, Ichimura & Todd 1998, Rev. Econ. Stud. 65:261 (kernel matching); Crump,
    Hotz, Imbens & Mitnik 2009, Biometrika 96:187 (common support); Austin 2009, Stat. Med.
    28:3083 (standardised differences); McCullagh 1980, JRSS B 42:109 (proportional odds).
    """
    as_level(level)
    x, y = as_scores(first), as_scores(second)
    a, b = _log10(first_density, len(x)), _log10(second_density, len(y))
    cells = [_Cells.of(a, x), _Cells.of(b, y)]
    pairs = _pairs_within_reach(*cells)
    balance = _balance(a, b, cells, pairs)
    n = balance.kept
    refused = _why_not(balance)
    if refused:
        nothing = Statistic(None, None, None, n, METHOD, level, refused)
        no_test = HypothesisTest(None, None, METHOD, refused)
        odds, odds_test = _no_odds(n, level, refused)
        return DensityAdjusted(nothing, no_test, odds, odds_test, balance, refused)
    estimate, test = _estimate(cells, pairs, balance, n, level)
    if not second_opinion:
        odds, odds_test = _no_odds(n, level, "not asked for")
        return DensityAdjusted(estimate, test, odds, odds_test, balance, "")
    kept = [cell.weight[cell.cell] > 0 for cell in _weighted(cells, pairs)]
    odds, odds_test = _proportional_odds((x[kept[0]], y[kept[1]]), (a[kept[0]], b[kept[1]]), level)
    return DensityAdjusted(estimate, test, odds, odds_test, balance, "")


# ------------------------------------------------------------------------------ pairs


@dataclass(frozen=True, slots=True)
class _Cells:
    """Units of one group by density, in steps of 1/50 decade, and score.

    Attributes:
        cell: Of each unit, [units].
        step, score, count: Of each cell, [cells].
        weight: Pairs within reach that the cell's units enter, a unit, [cells].
    """

    cell: Integers
    step: Integers
    score: Floats
    count: Floats
    weight: Floats

    @classmethod
    def of(cls, log_density: Floats, scores: Floats) -> _Cells:
        step = np.floor(log_density * CELLS_A_DECADE).astype(np.int64)
        rows, cell, count = np.unique(
            np.stack([step.astype(np.float64), scores], axis=1),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        return cls(
            cell.ravel(),
            rows[:, 0].astype(np.int64),
            rows[:, 1],
            count.astype(np.float64),
            np.zeros(len(rows)),
        )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs within reach, by cell: how many each unit enters, and how many of these it wins,
    ties half; [cells] of the first group and of the second."""

    entered: tuple[Floats, Floats]
    won: tuple[Floats, Floats]


def _pairs_within_reach(first: _Cells, second: _Cells) -> _Pairs:
    steps = round(REACH * CELLS_A_DECADE)
    entered, won = np.zeros(len(first.step)), np.zeros(len(first.step))
    entered_by, won_by = np.zeros(len(second.step)), np.zeros(len(second.step))
    for start in range(0, len(first.step), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        near = np.abs(first.step[rows, None] - second.step) <= steps
        gap = first.score[rows, None] - second.score
        above = near * ((gap > 0) + 0.5 * (gap == 0))
        entered[rows] = near @ second.count
        won[rows] = above @ second.count
        entered_by += first.count[rows] @ near
        won_by += first.count[rows] @ above
    return _Pairs((entered, entered_by), (won, won_by))


def _weighted(cells: list[_Cells], pairs: _Pairs) -> list[_Cells]:
    return [
        _Cells(group.cell, group.step, group.score, group.count, entered)
        for group, entered in zip(cells, pairs.entered, strict=True)
    ]


def _balance(a: Floats, b: Floats, cells: list[_Cells], pairs: _Pairs) -> Balance:
    spread = float(np.sqrt((a.var() + b.var()) / 2)) or 1.0
    before = (float(a.mean()), float(b.mean()))
    weights = [group.weight[group.cell] for group in _weighted(cells, pairs)]
    kept = (int((weights[0] > 0).sum()), int((weights[1] > 0).sum()))
    gap = (before[0] - before[1]) / spread
    if not kept[0]:
        return Balance((len(a), len(b)), kept, (0.0, 0.0), None, before, None, gap, None)
    after = (float(np.average(a, weights=weights[0])), float(np.average(b, weights=weights[1])))
    inside = np.concatenate([a[weights[0] > 0], b[weights[1] > 0]])
    effective = [float(w.sum() ** 2 / (w**2).sum()) for w in weights]
    return Balance(
        (len(a), len(b)),
        kept,
        (effective[0], effective[1]),
        (float(10 ** inside.min()), float(10 ** inside.max())),
        before,
        after,
        gap,
        (after[0] - after[1]) / spread,
    )


def _why_not(balance: Balance) -> str:
    for kept, n, name in zip(balance.kept, balance.n, ("first", "second"), strict=True):
        if kept < LEAST_KEPT_SHARE * n:
            return (
                f"{kept} of {n} units of the {name} group have a unit not of the {name} group at "
                "their density: the groups hardly overlap"
            )
    least = min(balance.effective_n)
    if least < LEAST_EFFECTIVE:
        return f"units at like density are worth {least:.0f} of equal weight; 20 are needed"
    imbalance = balance.difference_after
    if imbalance is None or abs(imbalance) > MOST_IMBALANCE:
        return f"densities still differ by {imbalance:.2f} standard deviations"
    return ""


def _estimate(
    cells: list[_Cells], pairs: _Pairs, balance: Balance, n: tuple[int, int], level: float
) -> tuple[Statistic, HypothesisTest]:
    total = float(cells[0].count @ pairs.entered[0])
    p = float(cells[0].count @ pairs.won[0]) / total
    variance = 0.0
    for group, entered, won, effective in zip(
        cells, pairs.entered, pairs.won, balance.effective_n, strict=True
    ):
        part = (won - p * entered) / total
        variance += float(group.count @ part**2) * effective / (effective - 1)
    freedom = min(balance.effective_n) - 1
    kept = [
        np.repeat(group.score, (group.count * (entered > 0)).astype(np.int64))
        for group, entered in zip(cells, pairs.entered, strict=True)
    ]
    note = ""
    if variance < 1e-20 or p in (0.0, 1.0):
        note = ALL_EQUAL if p == 0.5 else "completely separated: no spread to judge the error by"
    elif hides_spread(*count_levels(kept[0], kept[1])):
        note = hidden_spread(level)
    if note:
        undefined = Statistic(p, None, None, n, METHOD, level, note)
        return undefined, HypothesisTest(None, None, METHOD, note)
    low, high = wilson_ends(p, variance, freedom, (1 - level) / 2)
    # Wilson's interval leaves out what a test with the variance at that value rejects.
    statistic = (p - 0.5) / np.sqrt(variance * 0.25 / (p * (1 - p)))
    p_value = float(2 * scipy.stats.t.sf(abs(statistic), freedom))
    estimate = Statistic(p, float(low), float(high), n, METHOD, level)
    return estimate, HypothesisTest(float(statistic), p_value, METHOD)


# ------------------------------------------------------------------------------ regression


def _proportional_odds(
    scores: tuple[Floats, Floats], log_density: tuple[Floats, Floats], level: float
) -> tuple[Statistic, HypothesisTest]:
    """Return the odds ratio of a higher score in the first group at the same density."""
    n = (len(scores[0]), len(scores[1]))
    pooled = np.concatenate(scores)
    levels, code = np.unique(pooled, return_inverse=True)
    if len(levels) > MOST_LEVELS:
        levels, code = np.unique(np.rint(pooled), return_inverse=True)
    if not 2 <= len(levels) <= MOST_LEVELS:
        return _no_odds(n, level, f"{len(levels)} distinct scores: no ordinal scale")
    group = np.concatenate([np.ones(n[0]), np.zeros(n[1])])
    design = np.column_stack([group, _spline(np.concatenate(log_density))])
    fit = proportional_odds(code, design)
    if fit is None or abs(fit.slopes[0]) > 10:
        return _no_odds(n, level, "the regression did not converge: scores separate the groups")
    slope, error = float(fit.slopes[0]), float(fit.errors[0])
    z = float(scipy.stats.norm.ppf((1 + level) / 2))
    ends = (float(np.exp(slope - z * error)), float(np.exp(slope + z * error)))
    p_value = float(2 * scipy.stats.norm.sf(abs(slope / error)))
    return (
        Statistic(float(np.exp(slope)), *ends, n, ORDINAL, level),
        HypothesisTest(slope / error, p_value, ORDINAL),
    )


def _no_odds(n: tuple[int, int], level: float, note: str) -> tuple[Statistic, HypothesisTest]:
    return (
        Statistic(None, None, None, n, ORDINAL, level, note),
        HypothesisTest(None, None, ORDINAL, note),
    )


def _spline(values: Floats) -> Floats:
    """Return a restricted cubic spline basis, [values, 1 to 3], scaled; knots at the 5th, 35th,
    65th and 95th percentile. Source: Harrell 2015, Regression Modeling Strategies, 2.4.5."""
    knots = np.unique(np.quantile(values, [0.05, 0.35, 0.65, 0.95]))
    centred = (values - values.mean()) / (values.std() or 1.0)
    if len(knots) < 4:
        return centred[:, None] if np.ptp(values) > 0 else np.zeros((len(values), 0))
    last, before_last = knots[-1], knots[-2]

    def cube(knot: float) -> Floats:
        return np.asarray(np.maximum(values - knot, 0.0) ** 3)

    columns = [centred]
    for knot in knots[:-2]:
        bend = (
            cube(knot)
            - cube(before_last) * (last - knot) / (last - before_last)
            + cube(last) * (before_last - knot) / (last - before_last)
        )
        columns.append(bend / (last - knots[0]) ** 2)
    return np.column_stack(columns)


# ------------------------------------------------------------------------------ strata


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


def _log10(densities: npt.ArrayLike, units: int) -> Floats:
    values = as_scores(densities)
    if len(values) != units:
        raise ValueError(f"{len(values)} densities for {units} scores")
    if not (values > 0).all():
        raise ValueError("a density is 0; leave dead units out and report them as dead")
    return np.asarray(np.log10(values))
