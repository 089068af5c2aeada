"""How raters differ: severity and spread of each, and drift, by a cumulative logit model.

P(score <= k) = F(c + d_k / spread_j - quality_i + severity_j), F the logistic function: thresholds
d_k that all raters share, drawn together or apart by a rater's spread, and moved by its severity.
A unit's quality is normal about the mean of its source. No library that is kept has this model;
without spread and unit effect it is that of statsmodels' OrderedModel, with them R's `clmm`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats.results import Floats, HypothesisTest, Integers, Statistic, as_level
from autointerp.text import count

NODES = 31  # of Gauss-Hermite quadrature over a unit's quality
LEAST_SHARED = 20  # units that a rater shares with another
LEAST_DRIFT = 30  # ratings of a person
LARGEST_ERROR = 10.0  # of a log odds: beyond it the scores separate, and no error is known
METHOD = "cumulative logit, normal unit effect by Gauss-Hermite quadrature, Wald with t"
DRIFT = "cumulative logit (proportional odds) of the score on position and source, Wald with t"
SEPARATE = "the scores separate what is compared, so the error is not known"


@dataclass(frozen=True, slots=True)
class RaterEffect:
    """One rater beside the others.

    Attributes:
        units: That it rated.
        severity: By how much its log odds of a lower score exceed those of the mean rater.
        spread: How far it pulls scores to the scale's ends: 1 like the mean rater, above 1 more
            often the ends, below 1 more often the middle.
        mean: The mean score that it would give all of these units.
    """

    rater: str
    units: int
    severity: Statistic
    spread: Statistic
    mean: float


@dataclass(frozen=True, slots=True)
class RaterEffects:
    """A model of who rated what.

    Attributes:
        raters: That the model compares; empty where it could not be fitted, and `note` says why.
        left_out: Raters with fewer than `LEAST_SHARED` units that another rated too, or a single
            score for all.
        units, ratings: That it rests on.
        unit_sd: Standard deviation of the units' quality within a source, in log odds.
        odds_ratio: Odds of a higher score of the first group's units over the second's, whoever
            rated them; None unless both are there.
        log_likelihood: Of the fit.
    """

    raters: tuple[RaterEffect, ...]
    left_out: tuple[str, ...]
    units: int
    ratings: int
    unit_sd: float | None
    odds_ratio: Statistic | None
    log_likelihood: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether a person's scores move over a session.

    Attributes:
        odds_ratio: Odds of a higher score at the session's end over those at its beginning.
        test: That it is 1.
    """

    ratings: int
    odds_ratio: Statistic
    test: HypothesisTest


@dataclass(frozen=True, slots=True)
class OrderedFit:
    """A fitted model: parameters by part, and the covariance of all of them together.

    Attributes:
        thresholds: c + d_k of the mean rater, [levels - 1].
        severity, log_spread: Of each rater, summing to 0, [raters].
        beta: Of the columns of the design, [columns].
        sigma: Standard deviation of the unit effect, 0 without one.
        covariance: Of the free parameters; None where they are not all determined.
        maps: How `severity`, `log_spread` and `beta` follow from the free parameters.
    """

    thresholds: Floats
    severity: Floats
    log_spread: Floats
    beta: Floats
    sigma: float
    log_likelihood: float
    covariance: Floats | None
    maps: tuple[Floats, Floats, Floats]

    def error(self, part: int) -> Floats | None:
        """Return the standard errors of severity (0), log spread (1) or beta (2)."""
        if self.covariance is None:
            return None
        rows = self.maps[part]
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", rows, self.covariance, rows)))


def rater_effects(
    scores: npt.ArrayLike,
    groups: Sequence[Hashable],
    names: Sequence[str],
    pair: tuple[Hashable, Hashable] | None = None,
    level: float = 0.95,
) -> RaterEffects:
    """Return severity and spread of each rater, from scores [units, raters], NaN where missing.

    Args:
        scores: One rating of a unit by a rater; no means of repeats.
        groups: Of each unit, such as its source: groups differ in their mean quality.
        names: Of the raters.
        pair: Groups of the odds ratio, first and second.

    Units that a rater shares with no other tell of it too, as far as units went to raters at
    random. Spread is the mean rater's, 1, where all scores lie on three levels or fewer.

    Raises ValueError where the shapes do not fit.
    Source: McCullagh 1980, J. R. Stat. Soc. B 42:109; Linacre 1989, Many-facet Rasch Measurement;
    Christensen 2019, R package `ordinal` (clmm).
    """
    as_level(level)
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(names) or len(table) != len(groups):
        raise ValueError(
            f"scores {table.shape}, {len(groups)} groups, {len(names)} names do not fit"
        )
    kept = _comparable(table)
    left_out = tuple(name for name, keep in zip(names, kept, strict=True) if not keep)
    table = table[:, kept]
    rated = np.asarray((~np.isnan(table)).any(axis=1), dtype=np.bool_)
    table, labels = table[rated], [g for g, keep in zip(groups, rated, strict=True) if keep]
    who = [name for name, keep in zip(names, kept, strict=True) if keep]
    unit, rater = np.nonzero(~np.isnan(table))
    counted = (len(table), len(unit))
    if len(who) < 2:
        note = (
            f"too few: fewer than two raters have {LEAST_SHARED} units that another rated too, "
            "and more than one score"
        )
        return RaterEffects((), left_out, *counted, None, None, None, note)
    names_of_groups = list(dict.fromkeys(labels))
    design = np.array([[label == g for g in names_of_groups[1:]] for label in labels], np.float64)
    design = design.reshape(len(labels), len(names_of_groups) - 1)
    levels, y = np.unique(table[unit, rater], return_inverse=True)
    fit = fit_ordered(y, unit, rater, design[unit], len(who), spread=len(levels) > 3)
    z = _multiplier(counted[0], level)
    severity, log_spread = fit.error(0), fit.error(1)
    means = _expected_means(fit, levels, design)
    effects = []
    for k, name in enumerate(who):
        n = (int((rater == k).sum()),)
        effects.append(
            RaterEffect(
                name,
                n[0],
                _wald(fit.severity[k], severity, k, z, n, level),
                _wald(fit.log_spread[k], log_spread, k, z, n, level, odds=True),
                means[k],
            )
        )
    ratio = None
    if pair is not None and all(group in names_of_groups for group in pair):
        ratio = _odds_ratio(fit, [names_of_groups.index(g) for g in pair], z, counted[:1], level)
    return RaterEffects(tuple(effects), left_out, *counted, fit.sigma, ratio, fit.log_likelihood)


def drift(
    scores: npt.ArrayLike,
    position: npt.ArrayLike,
    groups: Sequence[Hashable],
    level: float = 0.95,
) -> Drift:
    """Return how one person's scores, [ratings], move with their position in the session.

    Args:
        position: 0 for the first of a session, 1 for the last, [ratings].
        groups: Of each rating's unit: its source.

    The order of a session is random, so the units at its end are like those at its beginning.
    No estimate below `LEAST_DRIFT` ratings, or where all scores are the same.
    Raises ValueError where the shapes do not fit.
    """
    as_level(level)
    y, at = np.asarray(scores, np.float64), np.asarray(position, np.float64)
    if not len(y) == len(at) == len(groups):
        raise ValueError(f"{len(y)} scores, {len(at)} positions, {len(groups)} groups")
    n = len(y)
    levels, codes = np.unique(y, return_inverse=True)
    note = ""
    if n < LEAST_DRIFT:
        note = f"{count(n, 'rating')}; at least {LEAST_DRIFT} are needed"
    elif len(levels) < 2 or np.ptp(at) == 0:
        note = "all scores are the same" if len(levels) < 2 else "all were rated at one position"
    if note:
        undefined = Statistic(None, None, None, (n,), DRIFT, level, note)
        return Drift(n, undefined, HypothesisTest(None, None, DRIFT, note))
    others = list(dict.fromkeys(groups))[1:]
    sources = [[group == other for other in others] for group in groups]
    design = np.column_stack([at, np.array(sources, np.float64).reshape(n, len(others))])
    one = np.zeros(n, dtype=np.int64)
    fit = fit_ordered(codes, np.arange(n), one, design, 1, spread=False, unit_effect=False)
    z = _multiplier(n, level)
    error = fit.error(2)
    ratio = _wald(fit.beta[0], error, 0, z, (n,), level, odds=True, method=DRIFT)
    if ratio.low is None or error is None:
        return Drift(n, ratio, HypothesisTest(None, None, DRIFT, ratio.note))
    statistic = float(fit.beta[0] / error[0])
    p = float(2 * scipy.special.stdtr(n - 1, -abs(statistic)))
    return Drift(n, ratio, HypothesisTest(statistic, p, DRIFT))


def _multiplier(n: int, level: float) -> float:
    """Return how many standard errors an interval reaches: t on as many units, less one."""
    return float(scipy.special.stdtrit(n - 1, (1 + level) / 2))


def _comparable(table: Floats) -> npt.NDArray[np.bool_]:
    """Return which raters share enough units with another that is kept too, and vary."""
    there = ~np.isnan(table)
    kept = np.array(
        [len(np.unique(table[there[:, k], k])) > 1 for k in range(table.shape[1])], dtype=bool
    )
    while True:
        others = [
            there[:, kept & (np.arange(len(kept)) != k)].any(axis=1) for k in range(len(kept))
        ]
        shared = np.array([(there[:, k] & others[k]).sum() for k in range(len(kept))])
        still = kept & (shared >= LEAST_SHARED)
        if (still == kept).all():
            return kept
        kept = still


def _wald(
    value: float,
    errors: Floats | None,
    place: int,
    z: float,
    n: tuple[int, ...],
    level: float,
    *,
    odds: bool = False,
    method: str = METHOD,
) -> Statistic:
    made = float(np.exp(min(value, 700.0)) if odds else value)
    if errors is None or not errors[place] < LARGEST_ERROR:
        return Statistic(made, None, None, n, method, level, SEPARATE)
    low, high = value - z * errors[place], value + z * errors[place]
    if odds:
        low, high = np.exp(low), np.exp(high)
    return Statistic(made, float(low), float(high), n, method, level)


def _odds_ratio(
    fit: OrderedFit, places: Sequence[int], z: float, n: tuple[int, ...], level: float
) -> Statistic:
    """Return the odds ratio of two groups, of which the first of the design has no column."""
    contrast = np.zeros(len(fit.beta))
    for place, sign in zip(places, (1, -1), strict=True):
        if place > 0:
            contrast[place - 1] += sign
    errors = None
    if fit.covariance is not None:
        row = contrast @ fit.maps[2]
        errors = np.sqrt(np.array([row @ fit.covariance @ row]))
    return _wald(float(contrast @ fit.beta), errors, 0, z, n, level, odds=True)


def _expected_means(fit: OrderedFit, levels: Floats, design: Floats) -> list[float]:
    """Return the mean score that each rater would give all units of the design."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    centre = fit.thresholds.mean()
    quality = (design @ fit.beta)[:, None] + fit.sigma * nodes
    means = []
    for severity, log_spread in zip(fit.severity, fit.log_spread, strict=True):
        cuts = centre + np.exp(-log_spread) * (fit.thresholds - centre) + severity
        below = scipy.special.expit(cuts - quality[..., None])  # [units, nodes, levels - 1]
        # The mean is the lowest level plus each step, times the probability of being above it.
        above = ((1 - below) * np.diff(levels)).sum(axis=-1)
        means.append(float(levels[0] + (above @ weights).mean()))
    return means


# ------------------------------------------------------------------------------ the fit


def fit_ordered(
    y: Integers,
    unit: Integers,
    rater: Integers,
    design: Floats,
    raters: int,
    *,
    spread: bool = True,
    unit_effect: bool = True,
) -> OrderedFit:
    """Return the maximum likelihood fit of ratings, [ratings] each.

    Args:
        y: Levels from 0, each of which occurs.
        unit, rater: Numbers of both, from 0.
        design: Columns of known effects on quality, [ratings, columns].
        spread: Whether raters differ in spread.
        unit_effect: Whether units have a quality of their own.

    Raises TooFewRatings for a single level.
    """
    count = int(y.max()) + 1
    if count < 2:
        raise TooFewRatings("every rating is the same; rate more")
    problem = _Problem(y, unit, rater, design, raters, spread and count > 3, unit_effect, count)
    start = problem.start()
    found = scipy.optimize.minimize(
        problem.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    free = np.asarray(found.x, dtype=np.float64)
    parts = problem.parts(free)
    severity, log_spread, beta = problem.maps
    return OrderedFit(
        thresholds=parts.thresholds,
        severity=severity @ free,
        log_spread=log_spread @ free,
        beta=beta @ free,
        sigma=parts.sigma,
        log_likelihood=-float(found.fun),
        covariance=problem.covariance(free),
        maps=(severity, log_spread, beta),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    thresholds: Floats
    gaps: Floats
    sigma: float


class _Problem:
    """The likelihood; free parameters are, in order: the first threshold, logs of the gaps between
    thresholds, severities and log spreads of all raters but the last, beta, log sigma."""

    def __init__(
        self,
        y: Integers,
        unit: Integers,
        rater: Integers,
        design: Floats,
        raters: int,
        spread: bool,
        unit_effect: bool,
        levels: int,
    ) -> None:
        # Ratings of one level by one rater at one design share their probabilities: each such cell
        # is computed once, and `counts` has how often each unit holds it, [units, cells].
        columns = np.column_stack([y, rater, design])
        cells, cell = np.unique(columns, axis=0, return_inverse=True)
        self.y, self.rater = cells[:, 0].astype(np.int64), cells[:, 1].astype(np.int64)
        self.design = cells[:, 2:]
        _, row = np.unique(unit, return_inverse=True)
        self.counts = scipy.sparse.csr_array(
            (np.ones(len(y)), (row, cell.ravel())), shape=(row.max() + 1, len(cells))
        )
        self.held = self.counts.T.tocsr()
        self.ends_above = np.flatnonzero(self.y < levels - 1)  # cells with a threshold above them
        self.ends_below = np.flatnonzero(self.y > 0)
        self.thresholds = np.concatenate([self.y[self.ends_above], self.y[self.ends_below] - 1])
        self.share = np.bincount(y, minlength=levels) / len(y)
        self.raters = raters
        self.cuts = levels - 1
        self.free_spread = raters - 1 if spread else 0
        self.unit_effect = unit_effect
        at = np.cumsum([self.cuts, raters - 1, self.free_spread, design.shape[1]])
        self.places = [slice(a, b) for a, b in zip([0, *at[:-1]], at, strict=True)]
        self.size = int(at[-1]) + unit_effect
        if unit_effect:
            nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
            self.nodes, self.log_weights = nodes, np.log(weights / weights.sum())
        else:
            self.nodes, self.log_weights = np.zeros(1), np.zeros(1)
        self.maps = self._maps()

    def _maps(self) -> tuple[Floats, Floats, Floats]:
        """Return severity, log spread and beta as matrices on the free parameters."""
        to_zero = np.vstack([np.eye(self.raters - 1), -np.ones((1, self.raters - 1))])
        severity = np.zeros((self.raters, self.size))
        severity[:, self.places[1]] = to_zero
        log_spread = np.zeros((self.raters, self.size))
        if self.free_spread:
            log_spread[:, self.places[2]] = to_zero
        beta = np.zeros((self.design.shape[1], self.size))
        beta[:, self.places[3]] = np.eye(self.design.shape[1])
        return severity, log_spread, beta

    def start(self) -> Floats:
        share = np.cumsum(self.share)[:-1]
        cuts = 1.5 * scipy.special.logit(np.clip(share, 1e-3, 1 - 1e-3))
        free = np.zeros(self.size)
        free[0] = cuts[0]
        free[1 : self.cuts] = np.log(np.maximum(np.diff(cuts), 1e-2))
        return free

    def parts(self, free: Floats) -> _Parts:
        gaps = np.exp(np.clip(free[1 : self.cuts], -30, 30))
        thresholds = free[0] + np.concatenate([[0.0], np.cumsum(gaps)])
        sigma = float(np.exp(np.clip(free[-1], -30, 10))) if self.unit_effect else 0.0
        return _Parts(thresholds, gaps, sigma)

    def loss(self, free: Floats) -> tuple[float, Floats]:
        """Return minus the log likelihood, and its gradient."""
        parts = self.parts(free)
        severity, log_spread, beta = (m @ free for m in self.maps)
        centre = parts.thresholds.mean()
        apart = parts.thresholds - centre
        stretch = np.exp(-np.clip(log_spread, -30, 30))[self.rater]
        shift = severity[self.rater] - self.design @ beta
        ends = np.concatenate([[-np.inf], apart, [np.inf]])
        with np.errstate(invalid="ignore"):
            upper = centre + stretch * ends[self.y + 1] + shift
            lower = centre + stretch * ends[self.y] + shift
        step = parts.sigma * self.nodes
        u, low = upper[:, None] - step, lower[:, None] - step
        above, below = scipy.special.expit(u), scipy.special.expit(low)
        # Where both lie above the middle, the difference of the other tails is exact.
        p = np.where(low > 0, scipy.special.expit(-low) - scipy.special.expit(-u), above - below)
        p = np.maximum(p, 1e-300)
        joint = self.counts @ np.log(p) + self.log_weights
        total = _log_sums(joint)
        posterior = self.held @ np.exp(joint - total[:, None])  # summed over a cell's ratings
        du = posterior * above * (1 - above) / p
        dl = posterior * below * (1 - below) / p
        by_upper, by_lower = du.sum(axis=1), dl.sum(axis=1)
        slope = by_upper - by_lower  # of the log likelihood in the shift, a cell each
        gradient = np.zeros(self.size)
        # Thresholds: their mean moves all, the rest is stretched by the rater's spread.
        pulls = np.concatenate(
            [(by_upper * stretch)[self.ends_above], -(by_lower * stretch)[self.ends_below]]
        )
        cuts = np.bincount(self.thresholds, pulls, self.cuts)
        pulled = cuts.sum()  # what the mean of the thresholds takes from it
        by_threshold = cuts + (slope.sum() - pulled) / self.cuts
        gradient[0] = by_threshold.sum()
        gradient[1 : self.cuts] = parts.gaps * (by_threshold.sum() - np.cumsum(by_threshold)[:-1])
        by_severity = np.bincount(self.rater, slope, self.raters)
        gradient[self.places[1]] = by_severity[:-1] - by_severity[-1]
        if self.free_spread:
            finite = np.concatenate([[0.0], apart, [0.0]])
            pull = -stretch * (by_upper * finite[self.y + 1] - by_lower * finite[self.y])
            by_spread = np.bincount(self.rater, pull, self.raters)
            gradient[self.places[2]] = by_spread[:-1] - by_spread[-1]
        gradient[self.places[3]] = -(slope @ self.design)
        if self.unit_effect:
            gradient[-1] = -((du - dl) @ self.nodes).sum() * parts.sigma
        return -float(total.sum()), -gradient

    def covariance(self, free: Floats) -> Floats | None:
        """Return the inverse of the observed information; None where it is not positive.

        A unit effect of 0 lies at the edge of what is possible and is taken as known.
        """
        size = self.size - 1 if self.unit_effect and self.parts(free).sigma < 0.05 else self.size
        step = 1e-4
        rows = []
        for place in range(size):
            moved = np.zeros(self.size)
            moved[place] = step
            rows.append((self.loss(free + moved)[1] - self.loss(free - moved)[1])[:size])
        information = np.array(rows) / (2 * step)
        information = (information + information.T) / 2
        values = np.linalg.eigvalsh(information)
        if not values[0] > 1e-9 * max(1.0, values[-1]):
            return None
        covariance = np.zeros((self.size, self.size))
        covariance[:size, :size] = np.linalg.inv(information)
        return covariance


def _log_sums(values: Floats) -> Floats:
    """Return log(sum(exp(values))) of each row, to the bit as `scipy.special.logsumexp`.

    That asks first what kind of arrays it has, which takes most of its time here.
    """
    largest = values.max(axis=1, keepdims=True)
    is_largest = values == largest
    with np.errstate(divide="ignore", invalid="ignore"):
        others = np.exp(np.where(is_largest, -np.inf, values) - largest).sum(axis=1)
        times = is_largest.sum(axis=1, dtype=np.float64)
        return np.asarray(np.log1p(others / times) + np.log(times) + largest[:, 0])
