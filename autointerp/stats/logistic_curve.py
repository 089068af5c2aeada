"""A logistic curve of yes and no against one number, with its interval.

Source: Cox 1958, JRSS B 20:215; Albert & Anderson 1984, Biometrika 71:1 (separation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.results import Floats, Statistic, as_level, as_scores, too_few

LEAST = 10  # pairs, and `LEAST_OF_EACH` of either answer: with fewer Wald's intervals are wrong
LEAST_OF_EACH = 5
STEPS, ENOUGH = 100, 1e-10
METHOD = "logistic regression by maximum likelihood, Wald interval"


@dataclass(frozen=True)
class LogisticCurve:
    """P(yes) = 1 / (1 + exp(-(intercept + slope x))).

    Attributes:
        slope: Log odds by a step of 1 in x; without a value where there is no finite estimate.
        half: The x at which P(yes) is one half; without an interval where it may lie anywhere.
        intercept: None without a fit.
        covariance: Of intercept and slope, [2, 2]; None without an interval.
    """

    slope: Statistic
    half: Statistic
    intercept: float | None = None
    covariance: npt.NDArray[np.float64] | None = None

    def at(self, x: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return P(yes) at x [n], and the ends of its pointwise interval; NaN without them."""
        x = np.asarray(x, dtype=np.float64)
        nothing = np.full(x.shape, np.nan)
        if self.intercept is None or self.slope.value is None:
            return nothing, nothing, nothing
        line = self.intercept + self.slope.value * x
        if self.covariance is None:
            return np.asarray(scipy.special.expit(line), np.float64), nothing, nothing
        design = np.stack([np.ones_like(x), x])
        error = np.sqrt(np.einsum("in,ij,jn->n", design, self.covariance, design))
        z = float(scipy.stats.norm.isf((1 - self.slope.level) / 2))
        ends = (line, line - z * error, line + z * error)
        middle, low, high = (np.asarray(scipy.special.expit(end), np.float64) for end in ends)
        return middle, low, high


def logistic_curve(x: npt.ArrayLike, yes: npt.ArrayLike, level: float = 0.95) -> LogisticCurve:
    """Return the curve of `yes` [n], 0 or 1, against x [n].

    No curve of fewer than 5 pairs, and where one answer is missing, x is constant, or a value of x
    tells all answers apart: the likelihood then has no maximum. No interval for fewer than 10
    pairs, or 5 of either answer.
    Raises ValueError for arrays of unequal length or answers other than 0 and 1.
    """
    as_level(level)
    xs, ys = as_scores(x, 0), as_scores(yes, 0)
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} numbers and {len(ys)} answers; they must be of the same")
    if not np.isin(ys, (0, 1)).all():
        raise ValueError("an answer is neither 0 nor 1")
    n = (len(xs),)
    if why := _no_curve(xs, ys):
        none = Statistic(None, None, None, n, METHOD, level, why)
        return LogisticCurve(none, none)
    middle, width = float(xs.mean()), float(xs.std())
    design = np.stack([np.ones_like(xs), (xs - middle) / width], axis=1)
    beta = _fitted(design, ys)
    p = scipy.special.expit(design @ beta)
    inner = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    # Back to x as it is: intercept and slope are a linear map of the scaled ones.
    back = np.array([[1.0, -middle / width], [0.0, 1 / width]])
    (intercept, slope), covariance = back @ beta, back @ inner @ back.T
    few = min(ys.sum(), len(ys) - ys.sum())
    if len(xs) < LEAST or few < LEAST_OF_EACH:
        why = f"too few for an interval: {len(xs)} pairs, {int(few)} of the rarer answer"
        return LogisticCurve(
            Statistic(slope, None, None, n, METHOD, level, why),
            Statistic(-intercept / slope, None, None, n, METHOD, level, why),
            float(intercept),
            None,
        )
    z = float(scipy.stats.norm.isf((1 - level) / 2))
    half = z * math.sqrt(covariance[1, 1])
    return LogisticCurve(
        Statistic(slope, slope - half, slope + half, n, METHOD, level),
        _half(intercept, slope, covariance, z, n, level),
        float(intercept),
        covariance,
    )


def _no_curve(x: Floats, y: Floats) -> str:
    if len(x) == 0 or y.min() == y.max():
        return "all answers are the same" if len(x) else "no answers"
    if x.min() == x.max():
        return "the number is the same for all"
    no, yes = x[y == 0], x[y == 1]
    if no.max() <= yes.min() or yes.max() <= no.min():
        return "one value tells all answers apart, so that no curve is the likeliest"
    return too_few(len(x), "pair")


def _fitted(design: Floats, y: Floats) -> Floats:
    """Return the coefficients by Newton's method, halving steps that make it worse."""

    def loss(beta: Floats) -> float:
        line = design @ beta
        return float(np.logaddexp(0, line).sum() - line @ y)

    beta = np.zeros(2)
    for _ in range(STEPS):
        p = scipy.special.expit(design @ beta)
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]), design.T @ (y - p))
        while loss(beta + step) > loss(beta) + ENOUGH:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < ENOUGH:
            break
    return beta


def _half(
    intercept: float, slope: float, covariance: Floats, z: float, n: tuple[int, ...], level: float
) -> Statistic:
    """Return where P(yes) is one half, with Fieller's interval.

    Source: Fieller 1954, JRSS B 16:175.
    """
    value = -intercept / slope
    a = slope**2 - z**2 * covariance[1, 1]
    b = 2 * (intercept * slope - z**2 * covariance[0, 1])
    c = intercept**2 - z**2 * covariance[0, 0]
    method = f"{METHOD.partition(',')[0]}, Fieller's interval"
    if a <= 0:  # a slope of 0 is not ruled out
        return Statistic(value, None, None, n, method, level, "it may lie anywhere")
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    return Statistic(value, low, high, n, method, level)
