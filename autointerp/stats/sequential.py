"""Looking at ratings more than once: boundaries, repeated intervals and stopping rules.

Each rule spends the same error over all its looks, however many there are:
`until clear` by Lan-DeMets boundaries with repeated intervals, `until narrow` by intervals
little wider than one look's (Chow & Robbins), undeclared looks by an asymptotic confidence
sequence.
Boundaries are multipliers of the standard error, as 1.96 is for one look at 95 %.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import BadInput
from autointerp.stats.results import Floats, Statistic, as_scores
from autointerp.stats.superiority import (
    ALL_EQUAL,
    count_levels,
    hidden_spread,
    hides_spread,
    superiority_ends,
)
from autointerp.text import count

Spending = Literal["power 2", "O'Brien-Fleming", "Pocock"]

LEAST_A_SOURCE = 20  # before it, no look may stop
NARROW = 2.0  # multiplier of `until narrow` at 5 %: 1.96 at the stop misses in up to 5.2 %
MANY_POINTS = 2_001  # of a density, at most; without a limit they grow as looks get closer
STOPPED_EARLY = (
    "stopped because the sign was clear, so the estimate is too far from ½, by up to 0.03 on "
    "average; the interval allows for it"
)


def spent(fraction: npt.ArrayLike, alpha: float = 0.05, spending: Spending = "power 2") -> Floats:
    """Return the two-sided error spent when `fraction` of all information is in, [...].

    `power 2` spends alpha · t², between the other two, which spend as O'Brien & Fleming's (late)
    and Pocock's (evenly) boundaries do.

    Source: Lan & DeMets 1983, Biometrika 70:659; Kim & DeMets 1987, Biometrika 74:149.
    """
    t = np.clip(np.asarray(fraction, dtype=np.float64), 0.0, 1.0)
    if spending == "power 2":
        return np.asarray(alpha * t**2)
    if spending == "Pocock":
        return np.asarray(alpha * np.log1p((math.e - 1) * t))
    # Two one-sided functions of alpha / 2 each.
    quantile = float(scipy.stats.norm.isf(alpha / 4))
    with np.errstate(divide="ignore"):
        return np.asarray(4 * scipy.stats.norm.sf(quantile / np.sqrt(t)))


def boundaries(
    fractions: Sequence[float], alpha: float = 0.05, spending: Spending = "power 2"
) -> Floats:
    """Return the two-sided boundary at each look, [looks], as a multiplier of the standard error.

    Found look by look, by numerical integration over the paths that have not crossed before, so
    that looks need be neither evenly spaced nor planned in number.

    Args:
        fractions: Information at each look as a share of the most that there may be: units over
            `max_n`; ascending, above 0, at most 1.

    Raises BadInput if they are not.
    Source: Armitage, McPherson & Rowe 1969, JRSS A 132:235; Lan & DeMets 1983.
    """
    return np.array(_boundaries(tuple(_fractions(fractions).tolist()), alpha, spending))


@functools.lru_cache(maxsize=512)  # each look asks for those before it, too
def _boundaries(times: tuple[float, ...], alpha: float, spending: Spending) -> tuple[float, ...]:
    edges: list[float] = []
    paths: _Paths | None = None
    before = 0.0
    for time, total in zip(times, spent(times, alpha, spending).tolist(), strict=True):
        due = max(total - before, 1e-12)
        before = total
        if paths is None:
            edge = float(scipy.stats.norm.isf(due / 2)) * math.sqrt(time)
        else:
            edge = _edge(paths, time, due)
        edges.append(edge / math.sqrt(time))
        paths = _inside(paths, time, edge)
    return tuple(edges)


def crossing_probability(fractions: Sequence[float], multipliers: Sequence[float]) -> float:
    """Return the chance that a null statistic crosses the two-sided boundaries at some look.

    With 1.96 at every look, what comes of looking again and again; with published boundaries,
    their alpha. Raises BadInput as `boundaries` does.
    """
    times = _fractions(fractions)
    if len(times) != len(multipliers):
        raise BadInput(f"{len(times)} looks and {len(multipliers)} boundaries")
    crossed = 0.0
    paths: _Paths | None = None
    for time, multiplier in zip(times, multipliers, strict=True):
        edge = multiplier * math.sqrt(time)
        crossed += _outside(paths, time, edge)
        paths = _inside(paths, time, edge)
    return crossed


def confidence_sequence_multiplier(
    n: npt.ArrayLike, n_star: float = 100.0, alpha: float = 0.05
) -> Floats:
    """Return the multiplier of the standard error at n units that holds at all looks, [...].

    c² = ((nρ² + 1) / (nρ²)) · log((nρ² + 1) / alpha²), with ρ² = (-2 log alpha +
    log(1 - 2 log alpha)) / n_star (7.94 / n_star at 5 %), narrowest near `n_star` units. It
    needs no plan: neither the number of looks nor the largest n.

    Raises BadInput if n or n_star is not above 0.
    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Ann. Stat. 52:2613, theorem 2.2.
    """
    units = _check_units(n, n_star)
    scaled = units * _tuned(n_star, alpha)
    return np.asarray(np.sqrt((scaled + 1) / scaled * np.log((scaled + 1) / alpha**2)))


def repeated_interval(
    first: npt.ArrayLike, second: npt.ArrayLike, multiplier: float, alpha: float = 0.05
) -> Statistic:
    """Return P(superiority) with the interval of one look of several, [units] of scores each.

    The interval of `superiority`, whose t stands at the tail probability of the `multiplier`
    (Brunner-Munzel's t scale). With the multipliers of `boundaries` or
    `confidence_sequence_multiplier`, all looks' intervals hold the truth together with
    probability 1 - alpha, so any look may be the last.

    Raises TooFewRatings if a group is empty, BadInput if the multiplier is not above 0.
    Source: Jennison & Turnbull 1989, JRSS B 51:305.
    """
    if multiplier <= 0:
        raise BadInput(f"multiplier {multiplier} is not above 0")
    counts = count_levels(as_scores(first), as_scores(second))
    n = (int(counts[0].sum()), int(counts[1].sum()))
    level, method = 1 - alpha, f"repeated interval, {multiplier:.3f} standard errors on t's scale"
    value, low, high = (
        float(x) for x in superiority_ends(*counts, scipy.stats.norm.sf(multiplier))
    )
    if len(counts[0]) == 1:
        return Statistic(value, None, None, n, method, level, ALL_EQUAL)
    if min(n) < 2:
        note = f"too few units for a {level:.0%} interval"
        return Statistic(value, None, None, n, method, level, note)
    if hides_spread(*counts):
        return Statistic(value, None, None, n, method, level, hidden_spread(level))
    return Statistic(value, low, high, n, method, level)


def narrow_multiplier(alpha: float = 0.05) -> float:
    """Return the multiplier of `until narrow` at `alpha`: `NARROW` at 5 %, in proportion else."""
    normal = scipy.stats.norm
    return float(NARROW * normal.isf(alpha / 2) / normal.isf(0.025))


# ------------------------------------------------------------------------------ p-values


def size_of(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the multiplier at which `repeated_interval` just reaches ½: how far P(superiority) of
    two groups of scores, [units] each, is from it, in standard errors on t's scale.

    0 where it is ½ or every score is the same. Raises TooFewRatings if a group is empty.
    """
    counts = count_levels(as_scores(first), as_scores(second))
    value = float(superiority_ends(*counts, 0.5)[0])
    if value == 0.5:
        return 0.0

    def beyond(multiplier: float) -> float:
        _, low, high = superiority_ends(*counts, scipy.stats.norm.sf(multiplier))
        return float(low - 0.5) if value > 0.5 else float(0.5 - high)

    largest = 37.0  # the last whose tail is a normal number
    if beyond(largest) >= 0:
        return largest
    return float(scipy.optimize.brentq(beyond, 0.0, largest, xtol=1e-6))


def repeated_p_value(
    statistic: float, fractions: Sequence[float], spending: Spending = "power 2"
) -> float:
    """Return the p-value at the last of several looks: the least alpha at which it is a crossing.

    At most alpha just where the repeated interval at 1 - alpha leaves the null out, so it may
    stand in a family of tests (Holm).

    Args:
        statistic: In standard errors, either sign.
        fractions: As of `boundaries`; the last is the present look.

    Raises BadInput as `boundaries` does.
    Source: Jennison & Turnbull 2000, Group Sequential Methods, section 9.5 (repeated p-values).
    """
    size = abs(statistic)

    def excess(log_alpha: float) -> float:
        return float(boundaries(fractions, math.exp(log_alpha), spending)[-1]) - size

    lowest, highest = math.log(1e-9), math.log(0.999)
    if excess(highest) >= 0:
        return 1.0
    if excess(lowest) <= 0:
        return math.exp(lowest)
    return math.exp(float(scipy.optimize.brentq(excess, lowest, highest, xtol=1e-4)))


def sequence_p_value(statistic: float, n: float, n_star: float = 100.0) -> float:
    """Return the p-value at n units that holds at all looks: the least alpha at which the
    confidence sequence tuned at 5 % for `n_star` units leaves the null out.

    Raises BadInput if n or n_star is not above 0.
    Source: Waudby-Smith et al. 2024, theorem 2.2, solved for alpha with ρ² held.
    """
    _check_units(n, n_star)
    scaled = n * _tuned(n_star, 0.05)
    log_p = 0.5 * math.log1p(scaled) - statistic**2 * scaled / (2 * (scaled + 1))
    return math.exp(min(0.0, log_p))


# ------------------------------------------------------------------------------ what looks save


def fixed_share(
    fractions: Sequence[float],
    multipliers: Sequence[float] | Floats,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the fixed n that has the same power as looks up to `max_n`, as a share of `max_n`.

    The looks cross at `multipliers`, such as `boundaries` gives. At the effect which they find
    with `power`, one test with so many units finds it with that `power` too; the share hardly
    depends on it.

    Raises BadInput as `boundaries` does, or if `power` is not between alpha and 1.
    Source: Jennison & Turnbull 2000, section 2.2 (the inflation factor is its inverse).
    """
    if not alpha < power < 1:
        raise BadInput(f"power {power} is not between alpha ({alpha}) and 1")
    times = _fractions(fractions)
    paths: _Paths | None = None
    for time, multiplier in zip(times, multipliers, strict=True):
        paths = _inside(paths, time, multiplier * math.sqrt(time))
    assert paths is not None
    last = paths

    def lacking(drift: float) -> float:
        # Girsanov: the density of a path under a drift is that without one, times this.
        weights = np.exp(drift * last.at - drift**2 * last.time / 2)
        return power - (1 - float(last.mass @ weights))

    drift = float(scipy.optimize.brentq(lacking, 0.0, 20.0))
    fixed = float(scipy.stats.norm.isf(alpha / 2) + scipy.stats.norm.isf(1 - power))
    return (fixed / drift) ** 2


def units_for_width(half_width: float, alpha: float = 0.05) -> int:
    """Return the units a source whose interval has this half-width at most, whatever the scores.

    For no P(superiority) of two groups of n has a variance above P (1 - P) / n ≤ 1 / (4 n).

    Raises BadInput if `half_width` is not between 0 and 0.5.
    Source: Birnbaum & Klose 1957, Ann. Math. Stat. 28:933.
    """
    _check_width(half_width)
    return math.ceil((narrow_multiplier(alpha) / half_width) ** 2 / 4)


# ------------------------------------------------------------------------------ rules


@dataclass(frozen=True, slots=True)
class Stop:
    """Whether a look may be the last.

    Attributes:
        stop: Whether it may.
        why: In a few words, either way.
    """

    stop: bool
    why: str


def narrow_enough(interval: Statistic, half_width: float) -> Stop:
    """Return whether an interval is as narrow as was planned: then it may be the last.

    The interval is `repeated_interval` with the multiplier `NARROW`, at every look and at the
    stop. Not before `LEAST_A_SOURCE` units a source. The half-width says nothing of the sign, so
    coverage suffers little from stopping by it; the variance has 1/n added, as Chow & Robbins do,
    and the multiplier makes up for the rest.

    Raises BadInput if `half_width` is not between 0 and 0.5.
    Source: Chow & Robbins 1965, Ann. Math. Stat. 36:457.
    """
    _check_width(half_width)
    fewest = min(interval.n)
    if fewest < LEAST_A_SOURCE:
        few = count(fewest, "unit")
        return Stop(False, f"{few} a source; at least {LEAST_A_SOURCE} before a stop")
    if interval.low is None or interval.high is None:
        return Stop(False, interval.note)
    half = (interval.high - interval.low) / 2
    allowed = half_width / math.sqrt(1 + 1 / fewest)
    if half <= allowed:
        return Stop(True, f"half-width {half:.3f}, at most {half_width:g}")
    if half <= half_width:
        units = count(fewest, "unit")
        return Stop(False, f"half-width {half:.4f}; with {units} a source at most {allowed:.4f}")
    return Stop(False, f"half-width {half:.4f}, above {half_width:g}")


def sign_is_clear(interval: Statistic) -> Stop:
    """Return whether a repeated interval leaves ½ out; see `repeated_interval`.

    Not before `LEAST_A_SOURCE` units a source.
    """
    fewest = min(interval.n)
    if fewest < LEAST_A_SOURCE:
        few = count(fewest, "unit")
        return Stop(False, f"{few} a source; at least {LEAST_A_SOURCE} before a stop")
    if interval.low is None or interval.high is None:
        return Stop(False, interval.note)
    if interval.low > 0.5 or interval.high < 0.5:
        return Stop(True, "the interval leaves ½ out")
    return Stop(False, "the interval holds ½")


# --------------------------------------------------------------------------- integration


def _check_units(n: npt.ArrayLike, n_star: float) -> Floats:
    units = np.asarray(n, dtype=np.float64)
    if not (units > 0).all() or n_star <= 0:
        raise BadInput(f"units {units.tolist()}, tuned for {n_star}; both must be above 0")
    return units


def _tuned(n_star: float, alpha: float) -> float:
    """Return ρ², with which the confidence sequence is narrowest near `n_star` units."""
    log = -2 * math.log(alpha)
    return (log + math.log(1 + log)) / n_star


def _check_width(half_width: float) -> None:
    if not 0 < half_width < 0.5:
        raise BadInput(f"half-width {half_width} is not between 0 and 0.5")


@dataclass(frozen=True, slots=True)
class _Paths:
    """Density of the paths that have not crossed, at a time: of the score process B(t), whose
    increments are normal with variance their length.

    Attributes:
        at, mass: Values of B, [points], and the probability at each.
    """

    time: float
    at: Floats
    mass: Floats


def _fractions(fractions: Sequence[float]) -> Floats:
    times = np.asarray(fractions, dtype=np.float64)
    ascending = (np.diff(times, prepend=0.0) > 0).all()
    if times.ndim != 1 or not len(times) or not ascending or times[-1] > 1 + 1e-12:
        raise BadInput(f"fractions {list(fractions)} must ascend from above 0 to at most 1")
    return times


def _outside(paths: _Paths | None, time: float, edge: float) -> float:
    """Return the probability that paths inside so far are beyond ± `edge` at `time`."""
    if paths is None:
        return float(2 * scipy.stats.norm.sf(edge / math.sqrt(time)))
    spread = math.sqrt(time - paths.time)
    above = scipy.special.ndtr((paths.at - edge) / spread)
    below = scipy.special.ndtr((-edge - paths.at) / spread)
    return float((above + below) @ paths.mass)


def _edge(paths: _Paths, time: float, due: float) -> float:
    highest = 12 * math.sqrt(time)
    return float(scipy.optimize.brentq(lambda b: _outside(paths, time, b) - due, 1e-6, highest))


def _inside(paths: _Paths | None, time: float, edge: float) -> _Paths:
    """Return the paths that are within ± `edge` at `time`, by Simpson's rule.

    Points stand a quarter of an increment's standard deviation apart, where `MANY_POINTS` do.
    """
    gap = time if paths is None else time - paths.time
    points = int(min(MANY_POINTS, max(201, 2 * math.ceil(4 * edge / math.sqrt(gap)) + 1)))
    at = np.linspace(-edge, edge, points)
    step = np.full(points, 2.0)
    step[1::2] = 4.0
    step[[0, -1]] = 1.0
    step *= (at[1] - at[0]) / 3
    if paths is None:
        density = np.exp(-(at**2) / (2 * time)) / math.sqrt(2 * math.pi * time)
    else:
        kernel = np.exp(-((at[:, None] - paths.at) ** 2) / (2 * gap))
        density = kernel @ paths.mass / math.sqrt(2 * math.pi * gap)
    return _Paths(time, at, density * step)
