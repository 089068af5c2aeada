"""How often does the prediction-powered interval hold the truth, and how wide is it? Simulated.

The truth is the founding experiments': human ratings fall on 1 to 5 as the human table says, the
judge's as GPT-4's does (so the judge is biased, and differently so for features and neurons),
tied to each other by a Gaussian copula of a given correlation of the ratings themselves.

`python -m bench ppi` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from autointerp.stats.bounded import wilson_ends
from autointerp.stats.means import mean_ends
from autointerp.stats.ppi import power_mean
from autointerp.stats.results import Floats

HUMAN = {"features": (4, 4, 6, 4, 30), "neurons": (28, 7, 3, 7, 7)}
JUDGE = {"features": (11, 16, 22, 21, 29), "neurons": (11, 35, 23, 17, 7)}
SCORES = np.arange(1.0, 6.0)
SCALE = (1.0, 5.0)
CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a simulation found.

    Attributes:
        target: `features` or `neurons` (their means) or `difference`.
        n: Human ratings a group.
        coverage: Share of the intervals that held the true human value.
        human_only_coverage: The same from the human ratings alone.
        width_ratio: Mean width over that of the human-only interval.
    """

    target: str
    n: int
    replications: int
    coverage: float
    human_only_coverage: float
    width_ratio: float


def simulate_coverage(
    n: int,
    rng: np.random.Generator,
    *,
    others: int = 1_000,
    correlation: float = 0.7,
    replications: int = 2_000,
    level: float = 0.95,
) -> dict[str, Coverage]:
    """Return coverage and width for the mean of features, of neurons, and their difference.

    Args:
        n: Human ratings a group; `others` is the units that the judge alone rates.
        correlation: Pearson's, of human and judge ratings within a group.
        replications: The standard error of a coverage of 95 % is 0.5 points at 2,000.
    """
    tallies = [
        _simulate(n, rng, others, correlation, min(CHUNK, replications - start), level)
        for start in range(0, replications, CHUNK)
    ]
    coverage = {}
    for target in ("features", "neurons", "difference"):
        held, held_alone, width, width_alone = (
            float(part) for part in np.concatenate([t[target] for t in tallies], axis=1).mean(1)
        )
        coverage[target] = Coverage(target, n, replications, held, held_alone, width / width_alone)
    return coverage


def _simulate(
    n: int,
    rng: np.random.Generator,
    others: int,
    correlation: float,
    replications: int,
    level: float,
) -> dict[str, Floats]:
    """Return, for each target, whether the interval held the truth, whether the human-only one
    did, and both half widths: [4, replications]."""
    tally: dict[str, Floats] = {}
    estimates: list[_Estimates] = []
    for group in HUMAN:
        human_shares = np.asarray(np.array(HUMAN[group]) / sum(HUMAN[group]), np.float64)
        judge_shares = np.asarray(np.array(JUDGE[group]) / sum(JUDGE[group]), np.float64)
        latent = _latent_correlation(human_shares, judge_shares, correlation)
        shared = rng.standard_normal((replications, n))
        own = rng.standard_normal((replications, n))
        human = _scores(shared, human_shares)
        judge = _scores(latent * shared + np.sqrt(1 - latent**2) * own, judge_shares)
        powered = power_mean(
            human, judge, _scores(rng.standard_normal((replications, others)), judge_shares)
        )
        freedom = float(powered.freedom)
        estimates.append(
            _Estimates.of(powered.value, powered.variance, freedom, human, level, human_shares)
        )
        tally[group] = estimates[-1].tally()
    tally["difference"] = _difference(estimates[0], estimates[1]).tally()
    return tally


@dataclass(frozen=True, slots=True)
class _Estimates:
    """Prediction-powered first, then human-only; arrays are [2, replications]."""

    value: Floats
    low: Floats
    high: Floats
    truth: float

    @classmethod
    def of(
        cls,
        value: Floats,
        variance: Floats,
        freedom: float,
        human: Floats,
        level: float,
        shares: Floats,
    ) -> _Estimates:
        tail = (1 - level) / 2
        inside = np.clip(value, *SCALE)
        low, high = wilson_ends(inside, variance, freedom, tail, scale=SCALE)
        low_alone, high_alone = mean_ends(human, tail, SCALE)
        return cls(
            np.stack([inside, human.mean(axis=1)]),
            np.stack([low, low_alone]),
            np.stack([high, high_alone]),
            float(shares @ SCORES),
        )

    def tally(self) -> Floats:
        covered = (self.low <= self.truth) & (self.truth <= self.high)
        return np.concatenate([covered, (self.high - self.low) / 2])


def _difference(first: _Estimates, second: _Estimates) -> _Estimates:
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return _Estimates(value, value - below, value + above, first.truth - second.truth)


def _scores(latent: Floats, shares: Floats) -> Floats:
    cuts = scipy.stats.norm.ppf(np.cumsum(shares)[:-1])
    return np.asarray(1 + np.searchsorted(cuts, latent), np.float64)


def _latent_correlation(human: Floats, judge: Floats, correlation: float) -> float:
    """Return the Gaussian copula's correlation that gives the ratings that of `correlation`.

    Raises ValueError if these margins cannot be correlated so well.
    """
    z = scipy.stats.norm.ppf((np.arange(4_000) + 0.5) / 4_000)  # equal weights
    human_scores = _scores(z, human)
    cuts = scipy.stats.norm.ppf(np.cumsum(judge)[:-1])
    spread = np.sqrt(_variance(human) * _variance(judge))

    def excess(latent: float) -> float:
        above = scipy.stats.norm.sf((cuts - latent * z[:, None]) / np.sqrt(1 - latent**2))
        expected = 1 + above.sum(axis=1)  # of the judge's score, given z
        covariance = (human_scores * expected).mean() - (human @ SCORES) * (judge @ SCORES)
        return float(covariance / spread - correlation)

    if not correlation >= 0 or excess(0.9999) < 0:
        raise ValueError(f"ratings with these margins cannot have a correlation of {correlation}")
    return float(scipy.optimize.brentq(excess, -1e-3, 0.9999))


def _variance(shares: Floats) -> float:
    return float(shares @ SCORES**2 - (shares @ SCORES) ** 2)
