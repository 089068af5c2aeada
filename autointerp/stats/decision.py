"""What may be said: higher, lower, equivalent, or not resolved; and whether a mean is at a value.

Pure rules over intervals and p-values. What is declared here is what reports put into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy.typing as npt

from autointerp.stats.bounded import Scale
from autointerp.stats.means import mean
from autointerp.stats.results import Statistic, as_level, as_scores

Decision = Literal["higher", "lower", "equivalent", "not resolved"]
EquivalenceAnswer = Literal["equivalent", "not equivalent", "too few to tell"]

EQUIVALENT = (0.45, 0.55)


def decide(
    superiority: Statistic,
    adjusted_p: float | None,
    equivalence: tuple[float, float] = EQUIVALENT,
    alpha: float = 0.05,
) -> Decision:
    """Return what a contrast may be called, for its first group.

    In this order:
    `equivalent` where the whole interval of P(superiority) lies within the `equivalence` bounds:
    any difference is smaller than what was declared to matter, significant or not;
    `higher` (`lower`) where the p-value, adjusted for all tests of its family, is at most `alpha`
    and the interval lies wholly above (below) ½;
    `not resolved` otherwise, and where there is no interval or no p-value.

    Complete separation needs no exception: its interval lies to one side of ½.

    Raises ValueError if the bounds do not enclose ½ or the p-value is not one.
    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657 (by the interval at `level`,
    stricter than at 1 - 2 alpha); Holm 1979 for the adjustment.
    """
    low_bound, high_bound = equivalence
    if not 0 <= low_bound < 0.5 < high_bound <= 1:
        raise ValueError(f"equivalence bounds {equivalence} do not enclose 0.5")
    if adjusted_p is not None and not 0 <= adjusted_p <= 1:
        raise ValueError(f"p-value {adjusted_p} is not between 0 and 1")
    low, high = superiority.low, superiority.high
    if low is None or high is None:
        return "not resolved"
    if low_bound <= low and high <= high_bound:
        return "equivalent"
    if adjusted_p is None or adjusted_p > alpha:
        return "not resolved"
    if low > 0.5:
        return "higher"
    return "lower" if high < 0.5 else "not resolved"


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether a mean is as good as a value.

    Attributes:
        answer: `too few to tell` is one.
        mean: With its interval at 1 - 2 alpha, which decides on equivalence.
        target, margin: Equivalent means within target ± margin.
        n: Units.
    """

    answer: EquivalenceAnswer
    mean: Statistic
    target: float
    margin: float
    n: int


def equivalence(
    scores: npt.ArrayLike,
    target: float,
    margin: float,
    *,
    scale: Scale | None = None,
    alpha: float = 0.05,
    design_effect: float = 1.0,
) -> Equivalence:
    """Return whether the mean of `scores`, [units], equals `target` to within `margin` (TOST).

    `equivalent` where both one-sided tests reject at `alpha`, that is, where the interval at
    1 - 2 alpha lies within target ± margin; `not equivalent` where the interval at 1 - alpha
    leaves the target out and the estimate lies beyond the margin; `too few to tell` otherwise,
    and always for fewer than 3 units. `design_effect` as in `mean`.

    Raises TooFewRatings if there are none, ValueError for a margin of 0 or less.
    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657.
    """
    as_level(1 - 2 * alpha)
    if margin <= 0:
        raise ValueError(f"margin {margin} is not above 0")
    x = as_scores(scores)
    inner = mean(x, 1 - 2 * alpha, scale=scale, design_effect=design_effect)
    outer = mean(x, 1 - alpha, scale=scale, design_effect=design_effect)
    answer: EquivalenceAnswer = "too few to tell"
    if len(x) >= 3 and inner.low is not None and inner.high is not None:
        assert outer.low is not None
        assert outer.high is not None
        if target - margin <= inner.low and inner.high <= target + margin:
            answer = "equivalent"
        elif abs(float(x.mean()) - target) > margin and not outer.low <= target <= outer.high:
            answer = "not equivalent"
    return Equivalence(answer, inner, target, margin, len(x))
