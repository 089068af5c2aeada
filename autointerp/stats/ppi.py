"""What humans would say, from a few human ratings and many of a judge (PPI++).

The judge's mean over units that no human rated is corrected by the human-judge difference on the
units that a human did rate: valid however biased the judge is, provided that the rated units
were drawn at random, and narrower than the human ratings alone where the judge is any good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.means import mean, mean_difference
from autointerp.stats.results import Floats, Statistic, as_level, as_scores

METHOD = (
    "PPI++ (Angelopoulos 2023), power-tuned weight, leave-one-out residuals (HC3), t with n - 2"
)
AGREED = "all human ratings agree, so their spread is unknown"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A group's human mean, by prediction-powered inference.

    Attributes:
        mean: With its interval; `n` is (units a human rated, units the judge alone rated).
        power: λ: 0 leaves the judge out, above 0 is how much it counts.
        human_only: The mean of the human ratings alone, Student's t.
        effective_n: Human ratings that would be as sure without a judge; None if undefined.
        correlation: Of human and judge on the units that both rated; None where one is constant.
    """

    mean: Statistic
    power: float
    human_only: Statistic
    effective_n: float | None
    correlation: float | None


@dataclass(frozen=True, slots=True)
class PredictionDifference:
    """Difference of two groups' human means, by prediction-powered inference.

    Attributes:
        difference: First less second, with its interval; `n` is (human first, human second,
            judge alone first, judge alone second).
        human_only: The same from human ratings alone, Welch's t.
        effective_n: Human ratings over both groups that would be as sure without a judge.
    """

    difference: Statistic
    human_only: Statistic
    effective_n: float | None
    first: Prediction
    second: Prediction


@dataclass(frozen=True, slots=True)
class Powered:
    """The estimate's parts for arrays of any leading shape [...]: `freedom` goes with t."""

    value: Floats
    variance: Floats
    power: Floats
    freedom: int


def power_mean(
    human: Floats, judge: Floats, judge_only: Floats, power: float | None = None
) -> Powered:
    """Return PPI++'s estimate and variance; `human` and `judge` [..., n], `judge_only` [..., N].

    λ = cov(human, judge) / ((1 + n/N) var(judge)), not below 0, is the weight that the rated
    units show to be best. It is estimated, so with few of them the residuals it leaves are too
    small and the plain interval too narrow (coverage 90 to 92 % at n = 20). Here each residual
    is the one that its unit would have had, had λ and the mean been found without it (an HC3
    or jackknife variance), weighed with the unit's true part in the estimate, which grows with
    the distance of the judge's mean on rated units from that on the others; and t has n - 2
    degrees of freedom.

    Source: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453 (PPI++); MacKinnon & White 1985,
    J. Econometrics 29:305 (HC3); Cochran 1977, Sampling Techniques, 12.6 (double sampling).
    """
    n, others = human.shape[-1], judge_only.shape[-1]
    y = human - human.mean(axis=-1, keepdims=True)
    f = judge - judge.mean(axis=-1, keepdims=True)
    squares = (f * f).sum(axis=-1)
    constant = squares < 1e-12
    squares = np.where(constant, 1.0, squares)
    slope = np.where(constant, 0.0, (f * y).sum(axis=-1) / squares)
    if power is None:
        share = 1 / (1 + n / others)
        weight = np.maximum(slope * share, 0.0)
        fitted = np.where(weight > 0, share, 0.0)  # how far the weight follows the rated units
    else:
        weight = np.full(slope.shape, float(power))
        fitted = np.zeros(slope.shape)
    gap = judge_only.mean(axis=-1) - judge.mean(axis=-1)
    value = human.mean(axis=-1) + weight * gap
    part = 1 / n + (fitted * gap / squares)[..., None] * f
    leverage = 1 / n + (fitted / squares)[..., None] * f * f
    residual = (y - weight[..., None] * f) / np.maximum(1 - leverage, 1e-9)
    variance = ((part * residual) ** 2).sum(axis=-1)
    variance = variance + weight**2 * judge_only.var(axis=-1, ddof=1) / others
    return Powered(value, variance, weight, n - 2)


def predict_mean(
    human: npt.ArrayLike,
    judge: npt.ArrayLike,
    judge_only: npt.ArrayLike,
    *,
    power: float | None = None,
    level: float = 0.95,
) -> Prediction:
    """Return the mean human rating of a group that is mostly rated by a judge.

    Args:
        human, judge: Ratings of the same units, drawn at random from the group, [n].
        judge_only: The judge's ratings of the other units, [N].
        power: λ; None finds the best, see `power_mean`.

    Where all human ratings agree the interval is undefined. Measured coverage and width are in
    `calibration.simulate_coverage`.

    Raises TooFewRatings for fewer than 3 human ratings or 2 others.
    Source: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453.
    """
    as_level(level)
    y, f, rest = _group(human, judge, judge_only)
    powered = power_mean(y, f, rest, power)
    value, variance = float(powered.value), float(powered.variance)
    n = (len(y), len(rest))
    correlation = None
    if np.ptp(y) > 0 and np.ptp(f) > 0:
        correlation = float(np.corrcoef(y, f)[0, 1])
    only = mean(y, level)
    if np.ptp(y) == 0 or variance <= 0:
        note = AGREED if np.ptp(y) == 0 else "no spread is left once the judge is known"
        undefined = Statistic(value, None, None, n, METHOD, level, note)
        return Prediction(undefined, float(powered.power), only, None, correlation)
    half = float(stats.t.ppf((1 + level) / 2, powered.freedom)) * math.sqrt(variance)
    return Prediction(
        Statistic(value, value - half, value + half, n, METHOD, level),
        float(powered.power),
        only,
        float(y.var(ddof=1)) / variance,
        correlation,
    )


def predict_difference(
    first: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    *,
    level: float = 0.95,
) -> PredictionDifference:
    """Return the difference of two groups' mean human ratings, first less second.

    Each group is (human, judge, judge_only) as in `predict_mean` and has its own λ: a judge may
    read features better than neurons. Variances add; t has Satterthwaite's degrees of freedom.
    Undefined interval where all human ratings of either group agree.

    Raises TooFewRatings if a group has fewer than 3 human ratings or 2 others.
    Source: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453; Welch 1947.
    """
    groups = [_group(*first), _group(*second)]
    parts = [predict_mean(*group, level=level) for group in groups]
    powered = [power_mean(*group) for group in groups]
    only = mean_difference(groups[0][0], groups[1][0], level)
    n = tuple(len(group[0]) for group in groups) + tuple(len(group[2]) for group in groups)
    value = float(powered[0].value - powered[1].value)
    if any(part.mean.low is None for part in parts):
        note = "in one group: " + "; ".join(part.mean.note for part in parts if part.mean.note)
        undefined = Statistic(value, None, None, n, METHOD, level, note)
        return PredictionDifference(undefined, only, None, parts[0], parts[1])
    variance = np.array([float(part.variance) for part in powered])
    freedom = variance.sum() ** 2 / (variance**2 / [part.freedom for part in powered]).sum()
    half = float(stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(variance.sum()))
    alone = sum(float(human.var(ddof=1)) / len(human) for human, _, _ in groups)
    return PredictionDifference(
        Statistic(value, value - half, value + half, n, METHOD, level),
        only,
        (n[0] + n[1]) * alone / float(variance.sum()),
        parts[0],
        parts[1],
    )


def _group(
    human: npt.ArrayLike, judge: npt.ArrayLike, judge_only: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    y, f, rest = as_scores(human), as_scores(judge), as_scores(judge_only)
    if len(y) != len(f):
        raise ValueError(f"{len(y)} human and {len(f)} judge ratings; they must pair by unit")
    if len(y) < 3:
        raise TooFewRatings(f"{len(y)} human ratings where at least 3 are needed; rate more")
    if len(rest) < 2:
        raise TooFewRatings(
            f"{len(rest)} units rated by the judge alone where at least 2 are needed"
        )
    return y, f, rest
