"""How many units are needed? Sample size, and power of what calls one source higher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from autointerp.errors import BadInput
from autointerp.stats.results import Floats
from autointerp.stats.superiority import superiority_ends, superiority_of_counts
from autointerp.text import count

MAX_UNITS = 10_000_000
MAX_SHIFT = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Units per source, and what they buy.

    Attributes:
        units: Rated units needed in each of two sources.
        effect: P(superiority) to be found, as asked.
        power: Chance of finding it with that many, at least what was asked for.
        alpha: Two-sided, of the test and of the interval.
        levels: Scores on the scale.
        assumption: The model of the ratings, in words.
    """

    units: int
    effect: float
    power: float
    alpha: float
    levels: int
    assumption: str


def plan_units(
    effect: float,
    power: float = 0.8,
    alpha: float = 0.05,
    levels: int = 4,
    shares: Sequence[float] | None = None,
    tests: int = 1,
) -> Plan:
    """Return the units per source with which `effect` is found with `power`.

    Solves `power_of_units` for equal groups: about (t_α/2 + t_β)² (σ1² + σ2²) / (P - ½)², with
    σ² the variances of the placements under `rating_model`, which have the ties in them
    (Noether's formula without ties: 131, 58, 33 per source for 0.60, 0.65, 0.70).
    On a 0-3 scale: 122, 54 and 30. Units that are refused or unparsed come on top.

    Raises BadInput if a value is out of range.
    Source: Noether 1987, JASA 82:645; Happ, Bathke & Brunner 2019, Stat. Med. 38:363.
    """
    if not alpha < power < 1:
        raise BadInput(f"power {power} is not between alpha ({alpha}) and 1")
    low, high = 2, 4
    while power_of_units(high, high, effect, alpha, levels, shares, tests) < power:
        low, high = high, high * 2
        if high > MAX_UNITS:
            raise BadInput(f"effect {effect} needs more than {MAX_UNITS} units; ask for a larger")
    while low < high:
        middle = (low + high) // 2
        if power_of_units(middle, middle, effect, alpha, levels, shares, tests) >= power:
            high = middle
        else:
            low = middle + 1
    reached = power_of_units(low, low, effect, alpha, levels, shares, tests)
    return Plan(low, effect, reached, alpha, levels, _assumption(levels, shares))


def power_of_units(
    first: int,
    second: int,
    effect: float,
    alpha: float = 0.05,
    levels: int = 4,
    shares: Sequence[float] | None = None,
    tests: int = 1,
) -> float:
    """Return the chance that `first` and `second` units show which source is higher.

    Both are asked for, as `decision.decide` does: the two-sided Brunner-Munzel test at alpha over
    `tests` (Holm's adjustment, where none of the others rejects) and the interval of
    P(superiority) at 1 - alpha, which is the wider with few units. The estimate must exceed the
    effect at which they are just met; as the estimated variance shrinks while the estimate grows,
    that effect is found with the variance that goes with it, not with that of `effect`. Within 4
    points of simulation from 10 units a source on. The chance of a result the wrong way round is
    left out. Arguments as in `plan_units`; effects below ½ mean that the second source is the
    higher.

    Raises BadInput if a value is out of range, among them fewer than two units.
    """
    if min(first, second) < 2:
        raise BadInput(f"{first} and {count(second, 'unit')}; the test needs two in each source")
    if not 0 < alpha < 1:
        raise BadInput(f"alpha {alpha} is not between 0 and 1")
    upper, lower = rating_model(max(effect, 1 - effect), levels, shares)
    sizes = (first, second) if effect > 0.5 else (second, first)
    asked = _sampling(upper, lower, sizes)

    def excess(shift: float) -> float:
        higher = _shifted(lower, shift)
        shifted = _sampling(higher, lower, sizes)
        critical = float(scipy.stats.t.ppf(1 - alpha / tests / 2, shifted.freedom))
        _, low, _ = superiority_ends(sizes[0] * higher, sizes[1] * lower, alpha / 2)
        return min(shifted.p - 0.5 - critical * shifted.error, float(low) - 0.5)

    if excess(MAX_SHIFT) < 0:  # not even complete separation would be significant
        return 0.0
    border = _shifted(lower, float(scipy.optimize.brentq(excess, 0, MAX_SHIFT)))
    least = float(superiority_of_counts(border, lower))
    return float(scipy.stats.t.cdf((asked.p - least) / asked.error, asked.freedom))


def rating_model(
    effect: float, levels: int = 4, shares: Sequence[float] | None = None
) -> tuple[Floats, Floats]:
    """Return the shares of the scores of a higher and a lower source, [levels] each.

    Both are one normal variable cut at the same places; the lower source's falls on the scores
    in equal `shares` unless they are given, and the higher's is shifted until
    P(superiority) is `effect`.

    Raises BadInput if `effect` is not above ½ or more than such ratings can show.
    """
    if levels < 2:
        raise BadInput(f"a scale of {levels} levels; at least 2 are needed")
    lower = np.full(levels, 1 / levels) if shares is None else np.asarray(shares, np.float64)
    if len(lower) != levels or not (lower > 0).all():
        raise BadInput(f"shares {shares} must be positive, one for each of {levels} levels")
    lower = lower / lower.sum()
    most = 1 - float(lower[-1]) / 2
    if not 0.5 < effect < most - 1e-6:
        raise BadInput(
            f"effect {effect}: the probability of superiority to be found must be above 0.5 and "
            f"below {most:.3f}, the most that this scale can show"
        )

    def excess(shift: float) -> float:
        return float(superiority_of_counts(_shifted(lower, shift), lower)) - effect

    return _shifted(lower, float(scipy.optimize.brentq(excess, 0, 20))), lower


@dataclass(frozen=True, slots=True)
class _Sampling:
    """P(superiority), its standard error and Satterthwaite's degrees of freedom."""

    p: float
    error: float
    freedom: float


def _sampling(upper: Floats, lower: Floats, sizes: tuple[int, int]) -> _Sampling:
    p = float(superiority_of_counts(upper, lower))
    a = float(upper @ (np.cumsum(lower) - lower / 2 - p) ** 2) / sizes[0]
    b = float(lower @ (np.cumsum(upper) - upper / 2 - 1 + p) ** 2) / sizes[1]
    freedom = (a + b) ** 2 / (a**2 / (sizes[0] - 1) + b**2 / (sizes[1] - 1))
    return _Sampling(p, math.sqrt(a + b), freedom)


def _shifted(lower: Floats, shift: float) -> Floats:
    """Return the shares, [levels], of the lower source's normal variable moved up by `shift`."""
    cuts = scipy.stats.norm.ppf(np.cumsum(lower)[:-1])
    return np.diff(np.concatenate([[0.0], scipy.stats.norm.cdf(cuts - shift), [1.0]]))


def _assumption(levels: int, shares: Sequence[float] | None) -> str:
    fall = "equally often" if shares is None else "in shares " + ":".join(f"{s:g}" for s in shares)
    return (
        f"scores are a normal variable cut into {levels} levels, which the lower source uses "
        f"{fall}; the higher source is shifted"
    )
