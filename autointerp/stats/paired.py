"""Two scores of the same units, such as a description's and its control's: is one higher?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autointerp.stats.bounded import Scale
from autointerp.stats.means import mean
from autointerp.stats.results import HypothesisTest, Statistic, as_scores

MOST_EXACT = 14  # 2**14 sign patterns


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First less second on the same units.

    Attributes:
        difference: Mean of the units' differences.
        test: Of no difference, by flipped signs; two-sided.
    """

    difference: Statistic
    test: HypothesisTest


def paired_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    scale: Scale,
    resamples: int = 9_999,
    level: float = 0.95,
) -> PairedDifference:
    """Return first - second on the same units, [units] each, with a sign-flip permutation test.

    Without a difference each unit's could as well have the other sign: the p-value is the share
    of sign patterns whose mean is as far from 0; over all of them for up to 14 units that differ
    (the test is then exact), else over `resamples` drawn ones, the observed counted among them.

    Args:
        scale: Lowest and highest score of either; the difference then lies within ± their gap.

    Raises TooFewRatings if there are none, ValueError if they are not of the same units.
    Source: Fisher 1935, The Design of Experiments, section 21; Phipson & Smyth 2010, Stat. Appl.
    Genet. Mol. Biol. 9:39.
    """
    x, y = as_scores(first), as_scores(second)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} scores; they must be of the same units")
    gaps = x - y
    span = scale[1] - scale[0]
    difference = mean(gaps, level, scale=(-span, span))
    return PairedDifference(difference, sign_flip_test(gaps, rng, resamples))


def sign_flip_test(
    differences: npt.ArrayLike, rng: np.random.Generator, resamples: int = 9_999
) -> HypothesisTest:
    """Return the two-sided sign-flip test of `differences`, [units]; see `paired_difference`.

    The statistic is their mean. Where all are 0 nothing speaks against none: p is 1.
    """
    gaps = as_scores(differences)
    moved = gaps[gaps != 0]
    value = float(gaps.mean())
    if len(moved) <= MOST_EXACT:
        bits = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        sums = (1 - 2 * bits) @ moved
        p_value = float((np.abs(sums) >= abs(moved.sum()) - 1e-9).mean())
        return HypothesisTest(value, p_value, f"sign flips, all {len(sums)} patterns")
    hits = 1
    for start in range(0, resamples, 1_000):
        size = min(1_000, resamples - start)
        sums = (1 - 2 * rng.integers(0, 2, size=(size, len(moved)))) @ moved
        hits += int((np.abs(sums) >= abs(moved.sum()) - 1e-9).sum())
    return HypothesisTest(value, hits / (resamples + 1), f"sign flips, {resamples} random patterns")
