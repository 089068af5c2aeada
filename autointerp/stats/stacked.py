"""Several judges as one: a logistic model of their ranks whose weights are never negative.

A judge's value of a unit becomes its rank among reference units, as a normal score. The weights
are drawn towards one another, so that a judge that tells nothing of its own gets no say and two
alike share theirs; how strongly is chosen by cross-validation. The intercept and one weight a judge
are all that is learned, and no judge's better value can make the whole worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.results import Floats

STRENGTHS = (0.003, 0.03, 0.3, 3.0)  # of the pull of weights towards their mean
RIDGE = 0.003  # of their mean towards 0: complete separation leaves it finite

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stack:
    """A learned model.

    Attributes:
        intercept: Of the log odds.
        weights: One a judge, of its normal score; 0 or more.
        strength: Of the pull that cross-validation chose.
    """

    intercept: float
    weights: tuple[float, ...]
    strength: float

    def probability(self, scores: npt.ArrayLike) -> Floats:
        """Return [units] the probability that a unit is one of the first class, both classes taken
        to be equally frequent, from normal scores [units, judges]."""
        odds = self.intercept + np.asarray(scores, dtype=np.float64) @ np.array(self.weights)
        return np.asarray(scipy.special.expit(odds))


def normal_scores(values: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """Return [units] the normal scores of values among reference values.

    Ties have their mean rank; what lies beyond all of the reference is as far out as half a unit.
    Source: van der Waerden 1952, Indag. Math. 14:453.
    """
    known = np.sort(np.asarray(reference, dtype=np.float64))
    new = np.asarray(values, dtype=np.float64)
    below = np.searchsorted(known, new, side="left")
    upto = np.searchsorted(known, new, side="right")
    share = (0.5 * (below + upto) + 0.5) / (len(known) + 1)
    return np.asarray(scipy.special.ndtri(share))


def fit(scores: npt.ArrayLike, first: npt.ArrayLike, strength: float) -> Stack:
    """Return the model of normal scores [units, judges], `first` [units] saying of which class a
    unit is; both classes weigh alike.

    Raises ValueError where a class is empty.
    """
    z = np.asarray(scores, dtype=np.float64)
    positive = np.asarray(first, dtype=bool)
    if positive.all() or not positive.any():
        raise ValueError("both classes are needed")
    share = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    sign = np.where(positive, 1.0, -1.0)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        intercept, weights = parameters[0], parameters[1:]
        margin = sign * (intercept + z @ weights)
        off = weights - weights.mean()
        value = -float(share @ scipy.special.log_expit(margin))
        value += strength / 2 * float(off @ off) + RIDGE / 2 * float(weights @ weights)
        slope = -share * sign * scipy.special.expit(-margin)
        gradient = np.concatenate([[slope.sum()], z.T @ slope + strength * off + RIDGE * weights])
        return value, gradient

    judges = z.shape[1]
    found = scipy.optimize.minimize(
        loss,
        np.concatenate([[0.0], np.full(judges, 1.0 / judges)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None), *[(0.0, None)] * judges],
        options={"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000},
    )
    return Stack(float(found.x[0]), tuple(float(w) for w in found.x[1:]), strength)


def out_of_fold(
    scores: npt.ArrayLike, first: npt.ArrayLike, folds: Sequence[int], strength: float
) -> Floats:
    """Return [units] the probability of each unit by the model of the units of other folds.

    NaN where those lack a class.
    """
    z, positive = np.asarray(scores, dtype=np.float64), np.asarray(first, dtype=bool)
    fold = np.asarray(folds)
    told = np.full(len(z), math.nan)
    for number in np.unique(fold):
        rest, here = fold != number, fold == number
        if positive[rest].any() and not positive[rest].all():
            told[here] = fit(z[rest], positive[rest], strength).probability(z[here])
    return told


def cross_validated(
    scores: npt.ArrayLike, first: npt.ArrayLike, folds: Sequence[int]
) -> tuple[Stack, Floats]:
    """Return the model whose pull predicts units of other folds best, and what was predicted of
    each unit so, [units].

    The measure is the log loss, both classes weighing alike; of equals the strongest pull wins.
    """
    positive = np.asarray(first, dtype=bool)
    best: tuple[float, float, Floats] | None = None
    for strength in sorted(STRENGTHS, reverse=True):
        told = out_of_fold(scores, positive, folds, strength)
        known = ~np.isnan(told)
        losses = -np.log(np.clip(np.where(positive, told, 1 - told), 1e-12, 1))
        parts = [losses[known & of].mean() for of in (positive, ~positive) if (known & of).any()]
        loss = float(np.mean(parts)) if parts else math.inf
        if best is None or loss < best[0] - 1e-9:
            best = (loss, strength, told)
    assert best is not None
    return fit(scores, positive, best[1]), best[2]


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much one score separates two groups better than another, on the same units.

    Attributes:
        value: Difference of the areas under the curves.
        low, high: Its interval; None where a group has fewer than two units.
    """

    value: float
    low: float | None
    high: float | None


def auc_gain(
    first: npt.ArrayLike, second: npt.ArrayLike, over: npt.ArrayLike, level: float = 0.95
) -> Gain:
    """Return AUC(first) - AUC(second), two scores [units] of the same units, `over` [units] saying
    which should have the higher ones.

    The interval is the normal one by the variance of the differences of placements.
    Raises ValueError where a group is empty. Source: DeLong et al. 1988, Biometrics 44:837.
    """
    upper = np.asarray(over, dtype=bool)
    if upper.all() or not upper.any():
        raise ValueError("both groups are needed")

    def placed(scores: npt.ArrayLike) -> tuple[Floats, Floats]:
        values = np.asarray(scores, dtype=np.float64)
        gaps = values[upper][:, None] - values[~upper][None, :]
        beats = (gaps > 0) + 0.5 * (gaps == 0)
        return beats.mean(axis=1), beats.mean(axis=0)

    by_upper, by_lower = (a - b for a, b in zip(placed(first), placed(second), strict=True))
    value = float(by_upper.mean())
    if min(len(by_upper), len(by_lower)) < 2:
        return Gain(value, None, None)
    variance = by_upper.var(ddof=1) / len(by_upper) + by_lower.var(ddof=1) / len(by_lower)
    half = float(scipy.special.ndtri((1 + level) / 2) * math.sqrt(variance))
    return Gain(value, max(-1.0, value - half), min(1.0, value + half))
