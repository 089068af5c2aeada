"""What humans would say, from a few human ratings and many of a judge (PPI++).

The judge's mean over units that no human rated is corrected by the human-judge difference on the
units that a human did rate: valid however biased the judge is, provided that the rated units
were drawn at random, and narrower than the human ratings alone where the judge is any good.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autointerp.errors import TooFewRatings
from autointerp.stats.bounded import Scale, mover_difference, wilson_ends
from autointerp.stats.means import mean, mean_difference
from autointerp.stats.results import Floats, Statistic, as_level, as_scores, too_few
from autointerp.stats.weighted import weighted_mean
from autointerp.text import count

METHOD = (
    "PPI++ (Angelopoulos 2023), power-tuned weight, leave-one-out residuals (HC3), Wilson score "
    "interval at the effective n, t with n - 2"
)
DIFFERENCE = "MOVER of two PPI++ intervals"
STRATIFIED = (
    "stratified by the judge's score, weighted by stratum sizes (Cochran 1977, 12.2), pooled "
    "spread counts once a stratum, Wilson score interval at the effective n, Satterthwaite's t"
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
        correlation: Of human and judge on the units that both rated; None of fewer than 5, and
            where one is constant.
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
    scale: Scale,
    power: float | None = None,
    level: float = 0.95,
) -> Prediction:
    """Return the mean human rating of a group that is mostly rated by a judge.

    Args:
        human, judge: Ratings of the same units, drawn at random from the group, [n].
        judge_only: The judge's ratings of the other units, [N].
        scale: Lowest and highest rating that could be; the interval stays on it.
        power: λ; None finds the best, see `power_mean`.

    Where all human ratings agree the interval is undefined. Measured coverage and width are in
    `calibration.simulate_coverage`.

    Raises TooFewRatings for fewer than 3 human ratings or 2 others.
    Source: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453.
    """
    as_level(level)
    y, f, rest = rated_at_random(human, judge, judge_only)
    powered = power_mean(y, f, rest, power)
    value, variance = float(powered.value), float(powered.variance)
    n = (len(y), len(rest))
    correlation = None
    if not too_few(len(y)) and np.ptp(y) > 0 and np.ptp(f) > 0:
        correlation = float(np.corrcoef(y, f)[0, 1])
    only = mean(y, level, scale=scale)
    if np.ptp(y) == 0 or variance <= 0:
        note = AGREED if np.ptp(y) == 0 else "no spread is left once the judge is known"
        undefined = Statistic(value, None, None, n, METHOD, level, note)
        return Prediction(undefined, float(powered.power), only, None, correlation)
    return Prediction(
        _on_scale(value, variance, powered.freedom, n, METHOD, level, scale),
        float(powered.power),
        only,
        float(y.var(ddof=1)) / variance,
        correlation,
    )


def predict_difference(
    first: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    *,
    scale: Scale,
    level: float = 0.95,
) -> PredictionDifference:
    """Return the difference of two groups' mean human ratings, first less second.

    Each group is (human, judge, judge_only) as in `predict_mean` and has its own λ: a judge may
    read features better than neurons. The interval is made from those of both means.
    Undefined interval where all human ratings of either group agree.

    Raises TooFewRatings if a group has fewer than 3 human ratings or 2 others.
    Source: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453; Zou & Donner 2008.
    """
    groups = [rated_at_random(*first), rated_at_random(*second)]
    parts = [predict_mean(*group, scale=scale, level=level) for group in groups]
    variance = sum(float(power_mean(*group).variance) for group in groups)
    alone = sum(float(human.var(ddof=1)) / len(human) for human, _, _ in groups)
    n = (*(len(group[0]) for group in groups), *(len(group[2]) for group in groups))
    only = mean_difference(groups[0][0], groups[1][0], level, scale=scale)
    return difference_of(parts[0], parts[1], n, only, alone, variance, DIFFERENCE)


def predict_mean_stratified(
    human: npt.ArrayLike,
    strata: Sequence[Hashable],
    sizes: Mapping[Hashable, int],
    *,
    scale: Scale,
    level: float = 0.95,
) -> Prediction:
    """Return the mean human rating of a group whose rated units were drawn by the judge's score.

    The strata are levels of the judge's score, of which people rated more or fewer than their
    share. Each stratum's human mean counts by the stratum's size: 1/π weighting. As the judge is
    constant within strata, weighted PPI is the same for every λ, and is this; `power` is 1.

    Args:
        human: [n].
        strata: The stratum of each, [n].
        sizes: Units in each stratum, rated or not; they make up the group.

    The variance is that of double sampling: of the group's own units as a sample, S²/N, and of
    the rated ones within strata. A stratum's spread counts one pooled deviation beside its own,
    for two ratings that happen to agree do not show that all would; the sum counts 1 + 2/n fold,
    for few ratings of skewed scores show too little spread; t has Satterthwaite's degrees of
    freedom, units less strata at most.

    Raises TooFewRatings for fewer than 3 ratings, or a stratum without any.
    Source: Cochran 1977, Sampling Techniques, 12.2; Fisch et al. 2024, arXiv 2406.04291
    (stratified PPI).
    """
    as_level(level)
    y = as_scores(human)
    estimate = _stratified(y, strata, sizes)
    total = sum(sizes.values())
    n = (len(y), total - len(y))
    pi = [strata.count(stratum) / sizes[stratum] for stratum in strata]
    only = weighted_mean(y, 1 / np.array(pi), scale, level)
    if np.ptp(y) == 0:
        undefined = Statistic(estimate.value, None, None, n, STRATIFIED, level, AGREED)
        return Prediction(undefined, 1.0, only, None, None)
    predicted = _on_scale(
        estimate.value, estimate.variance, estimate.freedom, n, STRATIFIED, level, scale
    )
    return Prediction(predicted, 1.0, only, estimate.spread / estimate.variance, None)


def predict_difference_stratified(
    first: tuple[npt.ArrayLike, Sequence[Hashable], Mapping[Hashable, int]],
    second: tuple[npt.ArrayLike, Sequence[Hashable], Mapping[Hashable, int]],
    *,
    scale: Scale,
    level: float = 0.95,
) -> PredictionDifference:
    """Return the difference of two groups' mean human ratings, each drawn by strata.

    Each group is (human, strata, sizes) as in `predict_mean_stratified`. `human_only` is the
    difference of the weighted means without the strata.

    Raises TooFewRatings as `predict_mean_stratified` does.
    """
    parts = [predict_mean_stratified(*group, scale=scale, level=level) for group in (first, second)]
    estimates = [_stratified(as_scores(group[0]), *group[1:]) for group in (first, second)]
    n = (*(part.mean.n[0] for part in parts), *(part.mean.n[1] for part in parts))
    only = mover_difference(parts[0].human_only, parts[1].human_only, n[:2], "MOVER; as means")
    alone = sum(part.spread / count for part, count in zip(estimates, n, strict=False))
    variance = sum(part.variance for part in estimates)
    return difference_of(parts[0], parts[1], n, only, alone, variance, f"MOVER; {STRATIFIED}")


def difference_of(
    first: Prediction,
    second: Prediction,
    n: tuple[int, ...],
    human_only: Statistic,
    alone: float,
    variance: float,
    method: str,
) -> PredictionDifference:
    """Return the difference; `alone` is its variance from people's ratings only."""
    notes = "; ".join(part.mean.note for part in (first, second) if part.mean.note)
    note = f"in one group: {notes}" if notes else ""
    difference = mover_difference(first.mean, second.mean, n, method, note)
    sure = None if difference.low is None else (n[0] + n[1]) * alone / variance
    return PredictionDifference(difference, human_only, sure, first, second)


def _on_scale(
    value: float,
    variance: float,
    freedom: float,
    n: tuple[int, ...],
    method: str,
    level: float,
    scale: Scale,
) -> Statistic:
    """Return the estimate with Wilson's interval; an estimate off the scale is moved to its end."""
    inside = min(max(value, scale[0]), scale[1])
    if inside in scale:
        note = "the judge moves the estimate to the end of the scale, where its error is not known"
        return Statistic(inside, None, None, n, method, level, note)
    low, high = wilson_ends(inside, variance, freedom, (1 - level) / 2, scale=scale)
    return Statistic(inside, float(low), float(high), n, method, level)


@dataclass(frozen=True, slots=True)
class _Stratified:
    """`spread` is the variance of single human ratings over the group."""

    value: float
    variance: float
    spread: float
    freedom: float


def _stratified(
    y: Floats, strata: Sequence[Hashable], sizes: Mapping[Hashable, int]
) -> _Stratified:
    if len(strata) != len(y):
        raise ValueError(f"{len(strata)} strata for {len(y)} ratings")
    if len(y) < 3:
        raise TooFewRatings(
            f"{count(len(y), 'human rating')} where at least 3 are needed; rate more"
        )
    groups = {stratum: y[[label == stratum for label in strata]] for stratum in sizes}
    empty = [str(stratum) for stratum, scores in groups.items() if not len(scores)]
    if empty:
        raise TooFewRatings(f"people rated no unit that the judge gave {', '.join(empty)}")
    size = np.array([sizes[stratum] for stratum in groups], dtype=np.float64)
    each = np.array([len(scores) for scores in groups.values()], dtype=np.float64)
    share = size / size.sum()
    centre = np.array([scores.mean() for scores in groups.values()])
    squares = np.array([((scores - scores.mean()) ** 2).sum() for scores in groups.values()])
    within = len(y) - len(groups)
    pooled = squares.sum() / within if within else float(y.var(ddof=1))
    spreads = (squares + pooled) / each  # each - 1 own deviations and a pooled one
    value = float(share @ centre)
    part = share**2 * (1 - each / size) * spreads / each
    whole = float(share @ [((scores - value) ** 2).mean() for scores in groups.values()])
    whole *= len(y) / (len(y) - 1)
    variance = float(part.sum()) + whole / size.sum()
    variance *= 1 + 2 / len(y)  # few ratings of skewed scores show too little spread
    terms = (part**2 / each).sum() + (whole / size.sum()) ** 2 / (len(y) - 1)
    freedom = variance**2 / terms if terms > 0 else float(len(y) - 1)
    return _Stratified(value, variance, whole, min(freedom, float(max(1, within))))


def rated_at_random(
    human: npt.ArrayLike, judge: npt.ArrayLike, judge_only: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return a group's ratings as arrays: people's and the judge's of some units, and the judge's
    of the others.

    Raises TooFewRatings if there are fewer than 3 human ratings or 2 others.
    """
    y, f, rest = (as_scores(ratings, 0) for ratings in (human, judge, judge_only))
    if len(y) != len(f):
        raise ValueError(f"{len(y)} human and {len(f)} judge ratings; they must pair by unit")
    if len(y) < 3:
        raise TooFewRatings(
            f"people rated {len(y)} of the judge's {len(y) + len(rest)} units, and at least 3 are "
            "needed; have people rate more"
        )
    if len(rest) < 2:
        raise TooFewRatings(
            f"people rated {len(y)} of the judge's {len(y) + len(rest)} units, and at least 2 more "
            "are needed that the judge alone has rated; have the judge rate more, or take people's "
            "own"
        )
    return y, f, rest
