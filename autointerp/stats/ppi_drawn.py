"""Prediction-powered inference where people's units were drawn with unequal probabilities.

Units on which the judge is unsure tell more of how people and judge differ, so they are drawn more
often; each counts by the inverse of its probability, and no unit's is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autointerp.errors import TooFewRatings
from autointerp.stats.bounded import Scale, mover_difference, wilson_ends
from autointerp.stats.ppi import AGREED, Powered, Prediction, PredictionDifference, difference_of
from autointerp.stats.ppi_superiority import LEAST_HUMAN, PredictedSuperiority
from autointerp.stats.results import Floats, Statistic, as_level, as_scores, too_few
from autointerp.stats.superiority import superiority
from autointerp.stats.weighted import weighted_mean
from autointerp.text import count

METHOD = (
    "PPI++ by inverse probabilities (Zrnic & Candès 2024), power-tuned, leave-one-out "
    "residuals (HC3), Wilson score interval at the effective n"
)

Group = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]


def unsure_sizes(uncertainty: npt.ArrayLike) -> Floats:
    """Return in proportion to what units should be drawn, from the judge's uncertainty on each.

    sqrt(u² + mean u²): what a unit's own uncertainty does not show is taken to be as much again as
    is typical, so a unit on which the judge is sure is drawn too, though less often. Units that are
    all alike, or all sure, are drawn alike.

    Raises ValueError if an uncertainty is negative or not finite.
    Source: Neyman's allocation, by a predicted spread: Särndal, Swensson & Wretman 1992, 12.2;
    Zrnic & Candès 2024, arXiv 2403.03208.
    """
    u = as_scores(uncertainty)
    if (u < 0).any():
        raise ValueError("an uncertainty is negative")
    sizes = np.sqrt(u**2 + (u**2).mean())
    return np.asarray(sizes if sizes.any() else np.ones(len(u)))


def inclusion_probabilities(size: npt.ArrayLike, n: int) -> Floats:
    """Return the probability with which each unit is drawn, in proportion to `size`, [units].

    They sum to `n`. Units whose probability would exceed 1 are all drawn, and the rest share what
    is left.

    Raises ValueError if a size is not above 0 or `n` lies outside 0 to the number of units.
    Source: Särndal, Swensson & Wretman 1992, 3.6.
    """
    sizes = np.asarray(size, dtype=np.float64)
    if not 0 <= n <= len(sizes) or not ((sizes > 0) & np.isfinite(sizes)).all():
        raise ValueError(f"{n} of {len(sizes)} units, with sizes that must be above 0 and finite")
    whole = np.zeros(len(sizes), dtype=bool)
    while True:
        rest = n - int(whole.sum())
        free = sizes[~whole].sum()
        probability = np.where(whole, 1.0, rest * sizes / free if free > 0 else 0.0)
        over = ~whole & (probability >= 1 - 1e-12)
        if not over.any():
            return np.asarray(probability)
        whole |= over


def draw_with_probabilities(probability: npt.ArrayLike, rng: np.random.Generator) -> list[int]:
    """Return places drawn with exactly these probabilities, as many as they sum to.

    Systematic, along a random order. Source: Madow 1949, Ann. Math. Stat. 20:333; Hartley & Rao
    1962, Ann. Math. Stat. 33:350 (random order).
    """
    pi = np.asarray(probability, dtype=np.float64)
    order = rng.permutation(len(pi))
    upto = np.cumsum(pi[order])
    n = round(float(pi.sum()))
    marks = (rng.random() + np.arange(n)) * (upto[-1] / n if n else 1.0)
    places = np.searchsorted(upto, marks, side="right")
    return sorted(int(order[min(place, len(pi) - 1)]) for place in places)


def powered_drawn(human: Floats, judge: Floats, judge_all: Floats, probability: Floats) -> Powered:
    """Return PPI++'s estimate and variance for units drawn with known probabilities.

    The weighted mean of people's ratings, plus λ times the gap between the judge's mean over all
    units and its weighted mean on those that people rated. λ is the slope that leaves the design
    the least to err by. The variance has two parts: of the draw, from leave-one-out residuals, and
    of the units, as of a sample of `judge_all`'s size.
    """
    n, units = len(human), len(judge_all)
    weight = 1 / probability
    share = weight / weight.sum()
    unsure = (1 - probability) * weight**2  # what a residual adds to the error of the draw
    if unsure.sum() <= 0:  # every unit was drawn
        unsure = np.ones(n)
    y = human - share @ human
    f = judge - share @ judge
    centre_y, centre_f = (float(unsure @ part / unsure.sum()) for part in (y, f))
    squares = float(unsure @ (f - centre_f) ** 2)
    slope = 0.0
    if squares > 1e-12:
        slope = max(0.0, float(unsure @ ((f - centre_f) * (y - centre_y))) / squares)
    gap = float(judge_all.mean() - share @ judge)
    fitted = unsure * (f - centre_f) / squares if slope > 0 else np.zeros(n)
    value = float(share @ human) + slope * gap
    leverage = np.minimum(share + fitted * f, 1 - 1e-9)
    residual = (y - slope * f) / (1 - leverage)
    draw = (1 - probability) * ((share + gap * fitted) * residual) ** 2
    whole = float(share @ y**2) * n / (n - 1)
    variance = float(draw.sum()) + whole / units
    # Satterthwaite's, with the fourth moment of a normal residual.
    freedom = 3 * float(draw.sum()) ** 2 / float((draw**2).sum()) - 2 if draw.any() else n - 2
    return Powered(
        np.asarray(value),
        np.asarray(variance),
        np.asarray(slope),
        max(2, min(n - 2, round(freedom))),
    )


def predict_mean_drawn(
    human: npt.ArrayLike,
    judge: npt.ArrayLike,
    judge_all: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    scale: Scale,
    level: float = 0.95,
) -> Prediction:
    """Return the mean human rating of a group whose rated units were drawn with known
    probabilities.

    Args:
        human, judge: Ratings of the units that people rated, [n].
        judge_all: The judge's ratings of all units from which these were drawn, [N].
        probability: With which each was drawn, [n].

    No interval below `LEAST_HUMAN` human ratings, or where they all agree.
    Raises TooFewRatings for fewer than 3 human ratings.
    Source: Zrnic & Candès 2024, arXiv 2403.03208 (active statistical inference).
    """
    as_level(level)
    y, f, every, pi = group_drawn((human, judge, judge_all, probability))
    powered = powered_drawn(y, f, every, pi)
    value, variance = float(powered.value), float(powered.variance)
    n = (len(y), len(every) - len(y))
    only = weighted_mean(y, 1 / pi, scale, level)
    correlation = None
    if not too_few(len(y)) and np.ptp(y) > 0 and np.ptp(f) > 0:
        correlation = float(np.corrcoef(y, f)[0, 1])
    inside = min(max(value, scale[0]), scale[1])
    note = ""
    if len(y) < LEAST_HUMAN:
        note = f"too few units for a {level:.0%} interval: {len(y)} rated by people"
    elif np.ptp(y) == 0 or variance <= 0:
        note = AGREED
    elif inside in scale:
        note = "the judge moves the estimate to the end of the scale, where its error is not known"
    if note:
        undefined = Statistic(inside, None, None, n, METHOD, level, note)
        return Prediction(undefined, float(powered.power), only, None, correlation)
    low, high = wilson_ends(inside, variance, powered.freedom, (1 - level) / 2, scale=scale)
    made = Statistic(inside, float(low), float(high), n, METHOD, level)
    effective = spread_drawn(y, pi) / variance
    return Prediction(made, float(powered.power), only, effective, correlation)


def spread_drawn(human: Floats, probability: Floats) -> float:
    """Return the variance of single ratings over the group, each counted by the inverse of its
    unit's probability."""
    share = 1 / probability / (1 / probability).sum()
    return float(share @ (human - share @ human) ** 2) * len(human) / (len(human) - 1)


def predict_difference_drawn(
    first: Group, second: Group, *, scale: Scale, level: float = 0.95
) -> PredictionDifference:
    """Return the difference of two groups' mean human ratings, each drawn with known
    probabilities; each group is (human, judge, judge_all, probability).

    Raises TooFewRatings as `predict_mean_drawn` does.
    """
    groups = [group_drawn(first), group_drawn(second)]
    parts = [predict_mean_drawn(*group, scale=scale, level=level) for group in groups]
    variance = sum(float(powered_drawn(*group).variance) for group in groups)
    alone = sum(spread_drawn(y, pi) / len(y) for y, _, _, pi in groups)
    n = (*(part.mean.n[0] for part in parts), *(part.mean.n[1] for part in parts))
    only = mover_difference(parts[0].human_only, parts[1].human_only, n[:2], "MOVER; as means")
    return difference_of(parts[0], parts[1], n, only, alone, variance, f"MOVER; {METHOD}")


def predict_superiority_drawn(
    first: Group, second: Group, *, level: float = 0.95
) -> PredictedSuperiority:
    """Return P(superiority) as people would rate all units, where those that they rated were drawn
    with known probabilities; each group is (human, judge, judge_all, probability).

    As `predict_superiority`, with each person's rating weighted by the inverse of its probability.
    `human_only` is weighted likewise and has no interval.

    Raises TooFewRatings if a group has fewer than 3 human ratings.
    """
    as_level(level)
    groups = [group_drawn(first), group_drawn(second)]
    value, variance, parts, people = superiority_drawn(groups[0], groups[1])
    n = (*(len(g[0]) for g in groups), *(len(g[2]) - len(g[0]) for g in groups))
    inside = min(max(value, 0.0), 1.0)
    alone = Statistic(people, None, None, n[:2], METHOD, level, "weighted by the draw")
    unweighted = superiority(groups[0][0], groups[1][0], level)
    judge_only = superiority(groups[0][2], groups[1][2], level)
    power = (float(parts[0].power), float(parts[1].power))
    fewest = min(n[:2])
    note = ""
    if fewest < LEAST_HUMAN:
        note = f"too few units for a {level:.0%} interval: {fewest} rated by people in a group"
    elif inside in (0.0, 1.0) or variance <= 0 or unweighted.low is None:
        note = "people's ratings leave no spread to judge the error by"
    if note:
        undefined = Statistic(inside, None, None, n, METHOD, level, note)
        return PredictedSuperiority(undefined, alone, judge_only, power)
    freedom = min(part.freedom for part in parts)
    low, high = wilson_ends(inside, variance, freedom, (1 - level) / 2)
    made = Statistic(inside, float(low), float(high), n, METHOD, level)
    return PredictedSuperiority(made, alone, judge_only, power)


def superiority_drawn(
    first: Sequence[Floats], second: Sequence[Floats]
) -> tuple[float, float, tuple[Powered, Powered], float]:
    """Return the estimate, its variance, both groups' parts, and the weighted estimate of people
    alone; each group is (human, judge, judge_all, probability)."""
    parts, shares = [], []
    for own, other in ((first, second), (second, first)):
        weight = 1 / other[3]
        share = 1 / own[3] / (1 / own[3]).sum()
        human = _placements(own[0], other[0], weight)
        even = np.ones(len(other[2]))
        judge, every = (_placements(own[k], other[2], even) for k in (1, 2))
        parts.append(powered_drawn(human, judge, every, own[3]))
        shares.append(float(share @ human))
    a, b = parts
    value = shares[0] + (float(a.value) - shares[0]) - (float(b.value) - shares[1])
    return value, float(a.variance + b.variance), (a, b), shares[0]


def _placements(own: Floats, other: Floats, weight: Floats) -> Floats:
    """Return the weighted share of `other` that each of `own` beats, ties half."""
    order = np.argsort(other, kind="stable")
    ascending = other[order]
    upto = np.concatenate([[0.0], np.cumsum(weight[order])])
    below = upto[np.searchsorted(ascending, own, side="left")]
    equal = upto[np.searchsorted(ascending, own, side="right")]
    return np.asarray((below + equal) / 2 / upto[-1])


def group_drawn(group: Group) -> tuple[Floats, Floats, Floats, Floats]:
    """Return a group as arrays; raises ValueError where they do not fit, TooFewRatings below 3."""
    y, f, every, pi = (as_scores(part) for part in group)
    if not len(y) == len(f) == len(pi):
        raise ValueError(f"{len(y)} human ratings, {len(f)} of the judge, {len(pi)} probabilities")
    if len(every) < len(y):
        raise ValueError(f"{len(every)} units in all and {len(y)} of them rated by people")
    if not ((pi > 0) & (pi <= 1)).all():
        raise ValueError("inclusion probabilities must be above 0 and at most 1")
    if len(y) < 3:
        raise TooFewRatings(
            f"{count(len(y), 'human rating')} where at least 3 are needed; rate more"
        )
    return y, f, every, pi
