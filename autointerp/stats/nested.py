"""P(superiority) of units that are nested in runs: seeds of one recipe are not one large sample.

Units of a run share its dictionary. An interval over units alone speaks of these very runs; one
over runs speaks of others of the same recipe, and needs at least `LEAST_RUNS` of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats.bounded import wilson_ends
from autointerp.stats.results import (
    Floats,
    HypothesisTest,
    Integers,
    Statistic,
    as_level,
    as_scores,
)
from autointerp.stats.superiority import ALL_EQUAL, Of, Pairs, hidden_spread, hides_spread
from autointerp.stats.van_elteren import Combined, van_elteren
from autointerp.text import count

Over = Literal["units", "runs"]

LEAST_RUNS = 3
METHOD = (
    "probability of superiority, each run of an arm weighted alike; an arm of 3 runs or more "
    "varies by runs, one of fewer by its units (Obuchowski 1997); Wilson at the effective n"
)
OVER_RUNS = (
    "mean over runs of probability of superiority within each, variance between runs and of units "
    "that runs share, never less than units show; Wilson at the effective n, t with runs - 1"
)
SEPARATED = "every score of one arm is above every score of the other, so the error is not known"


@dataclass(frozen=True, slots=True)
class Arm:
    """The scores of one source in the runs of one recipe.

    Attributes:
        scores: Of each run, [units].
        units: What each unit is, likewise: a unit that several runs rated has one name in all.
    """

    scores: tuple[Floats, ...]
    units: tuple[Sequence[Hashable], ...]

    def __post_init__(self) -> None:
        if not self.scores or list(map(len, self.scores)) != list(map(len, self.units)):
            raise ValueError("an arm needs runs, and a name for each of their units")

    @property
    def distinct(self) -> int:
        """Units, each counted once however many runs rated it."""
        return len({unit for names in self.units for unit in names})

    @property
    def varies_by(self) -> Over:
        """`runs` where there are enough that hold units of their own, else `units`."""
        total = sum(map(len, self.units))
        return "runs" if len(self.scores) >= LEAST_RUNS and self.distinct == total else "units"


@dataclass(frozen=True, slots=True)
class ArmsCompared:
    """One arm against another.

    Attributes:
        superiority: `n` counts the units of each arm once.
        pairs: Wins, ties and losses of the first arm.
        test: Of `superiority` = ½.
        over: What the error of each arm was taken over.
    """

    superiority: Statistic
    pairs: Pairs
    test: HypothesisTest
    over: tuple[Over, Over]


@dataclass(frozen=True, slots=True)
class WithinRuns:
    """P(superiority) within each of several runs, combined.

    Attributes:
        these: Of these runs (van Elteren); its `raters` are the runs.
        such: Of runs such as these, each weighted alike. Without an interval below `LEAST_RUNS`.
        between: Standard deviation of P between runs, beyond what units explain; None for one run.
    """

    these: Combined
    such: Statistic
    between: float | None


def compare_arms(first: Arm, second: Arm, level: float = 0.95) -> ArmsCompared:
    """Return P(first > second) + ½ P(equal) for a run of each arm drawn at random, and a unit of
    each run.

    The arms must not hold the same units. An arm of `LEAST_RUNS` runs or more adds the variance
    between its runs' mean placements, with t on runs less one, but never less than its units
    show; one of fewer runs adds that of its units, and the estimate speaks of these runs. No
    interval where an arm's error is over units and these hide how they spread
    (`superiority.hides_spread`).

    Raises TooFewRatings if a run has fewer than two units.
    Source: Obuchowski 1997, Biometrics 53:567; Roy, Harrar & Konietschke 2019, Stat. Med. 38:2214
    (rank procedures for clustered data).
    """
    as_level(level)
    of_arm = [[as_scores(scores, 2) for scores in arm.scores] for arm in (first, second)]
    levels = np.unique(np.concatenate([s for arm in of_arm for s in arm]))
    at = [[np.searchsorted(levels, s) for s in arm] for arm in of_arm]
    shares = [np.stack([np.bincount(a, minlength=len(levels)) / len(a) for a in arm]) for arm in at]
    n = (first.distinct, second.distinct)
    over = (first.varies_by, second.varies_by)
    counts = [np.bincount(np.concatenate(arm), minlength=len(levels)) for arm in at]
    hidden = "units" in over and bool(hides_spread(counts[0], counts[1]))

    def estimate(of: Of) -> tuple[Statistic, float, float, float]:
        beaten = _beaten(shares[1].mean(axis=0), of)
        beating = _beaten(shares[0].mean(axis=0), _MIRROR[of])
        if of == "superiority":
            beating = 1 - beating
        value = float(shares[0].mean(axis=0) @ beaten)
        both = (shares[0].mean(axis=0) + shares[1].mean(axis=0)) / 2
        one = _spread(first, at[0], shares[0], beaten, both)
        other = _spread(second, at[1], shares[1], beating, both)
        variance = one[0] + other[0]
        spread = one[0] ** 2 / one[1] + other[0] ** 2 / other[1]
        freedom = variance**2 / spread if spread > 0 else 1.0
        if over == ("units", "units"):  # as in `superiority`: few units show too little spread
            freedom = min(freedom, one[1], other[1])
        inside = min(max(value, 0.0), 1.0)
        note = ""
        if len(levels) == 1:
            note = ALL_EQUAL
        elif of == "superiority" and inside in (0.0, 1.0):
            note = SEPARATED
        elif hidden:
            note = hidden_spread(level)
        if note:
            return Statistic(inside, None, None, n, METHOD, level, note), variance, freedom, value
        low, high = wilson_ends(inside, variance, freedom, (1 - level) / 2)
        made = Statistic(inside, float(low), float(high), n, METHOD, level)
        return made, variance, freedom, value

    p, variance, freedom, value = estimate("superiority")
    shares_of = [estimate(of)[0] for of in ("wins", "ties", "losses")]
    if p.note:
        test = HypothesisTest(None, None, METHOD, p.note)
    else:
        statistic = (value - 0.5) / variance**0.5
        p_value = float(2 * scipy.stats.t.sf(abs(statistic), freedom))
        test = HypothesisTest(statistic, p_value, METHOD)
    return ArmsCompared(p, Pairs(*shares_of), test, over)


_MIRROR: dict[Of, Of] = {
    "superiority": "superiority",
    "wins": "losses",
    "ties": "ties",
    "losses": "wins",
}


def _beaten(shares: Floats, of: Of) -> Floats:
    """Return the share of an arm that a unit at each level beats, ties with or loses to."""
    upto = np.cumsum(shares)
    if of == "ties":
        return shares
    if of == "wins":
        return np.asarray(upto - shares)
    if of == "losses":
        return np.asarray(1 - upto)
    return np.asarray(upto - shares / 2)


def _spread(
    arm: Arm, at: Sequence[Integers], shares: Floats, place: Floats, both: Floats
) -> tuple[float, float]:
    """Return the variance that an arm adds, and its degrees of freedom.

    One unit is added to each run, spread like both arms: see `superiority.smoothed_levels`.
    """
    runs = len(at)
    means = shares @ place
    totals: dict[Hashable, float] = {}
    added = 0.0
    for names, codes, mean in zip(arm.units, at, means, strict=True):
        size = len(codes) + 1
        scale = 1 / (runs * np.sqrt(size * (size - 1)))
        for unit, part in zip(names, scale * (place[codes] - mean), strict=True):
            totals[unit] = totals.get(unit, 0.0) + float(part)
        added += float(scale**2 * (both @ (place - mean) ** 2))
    by_units = float(sum(total**2 for total in totals.values())) + added
    if arm.varies_by == "units":
        return by_units, float(max(1, len(totals) - 1))
    return max(float(means.var(ddof=1)) / runs, by_units), float(runs - 1)


# ------------------------------------------------------------------------------ within runs


def within_runs(
    first: Floats, second: Floats, runs: Sequence[str], level: float = 0.95
) -> WithinRuns:
    """Return P(first > second) within each run, combined over runs.

    Args:
        first, second: [units, runs], NaN where a run did not rate a unit. A unit that several
            runs rated is one row.

    Raises TooFewRatings if no run rated units of both.
    Source: van Elteren 1960; for runs such as these, the mean of the runs' own with t, as in
    Hartung & Knapp 2001, Stat. Med. 20:1771, with equal weights.
    """
    these = van_elteren(first, second, runs, level)
    held = [k for k, part in enumerate(these.raters) if part.superiority is not None]
    own = np.array([float(these.raters[k].superiority.value or 0) for k in held])  # type: ignore[union-attr]
    n = these.superiority.n
    total = len(held)
    value = float(own.mean())
    if total < 2:
        return WithinRuns(these, Statistic(value, None, None, n, OVER_RUNS, level, "one run"), None)
    parts = [_influence(first[:, k], second[:, k]) for k in held]
    sides = [np.stack([part[side] for part in parts], axis=1) for side in (0, 1)]
    by_run = sum((side**2).sum(axis=0) for side in sides)
    whole = sum(float((side.sum(axis=1) ** 2).sum()) for side in sides)
    shared = max(0.0, whole - float(np.sum(by_run)))  # covariances of the runs' estimates
    scatter = float(own.var(ddof=1))
    between = max(0.0, scatter - float(np.mean(by_run)) + shared / (total * (total - 1)))
    tau = float(np.sqrt(between))
    if total < LEAST_RUNS:
        few = count(total, "run")
        note = f"{few}; at least {LEAST_RUNS} are needed to speak of others like them"
        return WithinRuns(these, Statistic(value, None, None, n, OVER_RUNS, level, note), tau)
    variance = max(scatter / total + shared / total**2, whole / total**2)
    if variance <= 0 or value in (0.0, 1.0):
        undefined = Statistic(value, None, None, n, OVER_RUNS, level, "the runs show no spread")
        return WithinRuns(these, undefined, tau)
    low, high = wilson_ends(value, variance, total - 1, (1 - level) / 2)
    return WithinRuns(these, Statistic(value, float(low), float(high), n, OVER_RUNS, level), tau)


def _influence(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return what each unit adds to the error of one run's P, 0 for those that it did not rate."""
    x, y = first[~np.isnan(first)], second[~np.isnan(second)]
    if min(len(x), len(y)) < 2:
        raise TooFewRatings(
            f"a run has {count(min(len(x), len(y)), 'unit')} of a source; 2 are needed"
        )
    pairs = [(first, x, y, 1.0), (second, y, x, -1.0)]
    parts = []
    for column, own, other, sign in pairs:
        ascending = np.sort(other)
        below = np.searchsorted(ascending, own, "left") + np.searchsorted(ascending, own, "right")
        place = below / 2 / len(other)
        part = np.zeros(len(column))
        part[~np.isnan(column)] = sign * (place - place.mean()) / np.sqrt(len(own) * (len(own) - 1))
        parts.append(part)
    return parts[0], parts[1]
