"""How often does the prediction-powered interval hold the truth, and how wide is it? Simulated.

The truth is the founding experiments': human ratings fall on 1 to 5 as the human table says, the
judge's as GPT-4's does (so the judge is biased, and differently so for features and neurons),
tied to each other by a Gaussian copula of a given correlation of the ratings themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats  # type: ignore[import-untyped]

from autointerp.stats.ppi import Powered, power_mean
from autointerp.stats.results import Floats

HUMAN = {"features": (4, 4, 6, 4, 30), "neurons": (28, 7, 3, 7, 7)}
JUDGE = {"features": (11, 16, 22, 21, 29), "neurons": (11, 35, 23, 17, 7)}
SCORES = np.arange(1.0, 6.0)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a simulation found.

    Attributes:
        target: `features` or `neurons` (their means) or `difference`.
        n: Human ratings a group.
        coverage: Share of the intervals that held the true human value.
        human_only_coverage: The same for Student's (Welch's) t on the human ratings alone.
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
    found, powered, alone, truths = {}, [], [], []
    for group in HUMAN:
        human_shares = np.array(HUMAN[group]) / sum(HUMAN[group])
        judge_shares = np.array(JUDGE[group]) / sum(JUDGE[group])
        latent = _latent_correlation(human_shares, judge_shares, correlation)
        shared = rng.standard_normal((replications, n))
        own = rng.standard_normal((replications, n))
        human = _scores(shared, human_shares)
        judge = _scores(latent * shared + np.sqrt(1 - latent**2) * own, judge_shares)
        rest = 1.0 + rng.choice(5, size=(replications, others), p=judge_shares)
        powered.append(power_mean(human, judge, rest))
        alone.append(Powered(human.mean(1), human.var(1, ddof=1) / n, np.zeros(1), n - 1))
        truths.append(float(human_shares @ SCORES))
        found[group] = _compare(group, n, powered[-1], alone[-1], truths[-1], level)
    found["difference"] = _compare(
        "difference", n, _less(powered), _less(alone), truths[0] - truths[1], level
    )
    return found


@dataclass(frozen=True, slots=True)
class _Contrast:
    value: Floats
    variance: Floats
    freedom: Floats


def _less(groups: list[Powered]) -> _Contrast:
    a, b = groups
    variance = a.variance + b.variance
    freedom = variance**2 / (a.variance**2 / a.freedom + b.variance**2 / b.freedom)
    return _Contrast(a.value - b.value, variance, freedom)


def _compare(
    target: str,
    n: int,
    powered: Powered | _Contrast,
    alone: Powered | _Contrast,
    truth: float,
    level: float,
) -> Coverage:
    shares, widths = [], []
    for estimate in (powered, alone):
        half = stats.t.ppf((1 + level) / 2, estimate.freedom) * np.sqrt(estimate.variance)
        shares.append(float((np.abs(estimate.value - truth) <= half).mean()))
        widths.append(float(half.mean()))
    return Coverage(target, n, len(powered.value), shares[0], shares[1], widths[0] / widths[1])


def _scores(latent: Floats, shares: Floats) -> Floats:
    cuts = stats.norm.ppf(np.cumsum(shares)[:-1])
    return 1.0 + np.searchsorted(cuts, latent)


def _latent_correlation(human: Floats, judge: Floats, correlation: float) -> float:
    """Return the Gaussian copula's correlation that gives the ratings that of `correlation`.

    Raises ValueError if these margins cannot be correlated so well.
    """
    z = stats.norm.ppf((np.arange(4_000) + 0.5) / 4_000)  # equal weights
    human_scores = _scores(z, human)
    cuts = stats.norm.ppf(np.cumsum(judge)[:-1])
    spread = np.sqrt(_variance(human) * _variance(judge))

    def excess(latent: float) -> float:
        above = stats.norm.sf((cuts - latent * z[:, None]) / np.sqrt(1 - latent**2))
        expected = 1 + above.sum(axis=1)  # of the judge's score, given z
        covariance = (human_scores * expected).mean() - (human @ SCORES) * (judge @ SCORES)
        return float(covariance / spread - correlation)

    if not correlation >= 0 or excess(0.9999) < 0:
        raise ValueError(f"ratings with these margins cannot have a correlation of {correlation}")
    return float(optimize.brentq(excess, -1e-3, 0.9999))


def _variance(shares: Floats) -> float:
    return float(shares @ SCORES**2 - (shares @ SCORES) ** 2)
