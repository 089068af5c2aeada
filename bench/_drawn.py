"""A judge that is sure of some units and not of others, and people who rate a few of its units.

Scores are drawn from the founding tables. Of each unit there is a quality; people's score follows
it, the judge's three ratings follow it closely on most units and hardly on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from autointerp.errors import TooFewRatings
from autointerp.people.plans import draw_by_uncertainty, draw_for_people
from autointerp.stats.ppi import predict_mean_stratified
from autointerp.stats.ppi_drawn import predict_mean_drawn, predict_superiority_drawn
from autointerp.stats.results import Floats, Statistic
from autointerp.stats.superiority import superiority_of_counts
from bench._ppi_coverage import HUMAN, JUDGE

UNITS = 500
SCALE = (1.0, 5.0)
SCORES = np.arange(1.0, 6.0)
UNSURE = 0.3  # share of units
SURE_TIE, UNSURE_TIE = 0.95, 0.3  # correlation of quality and a single rating of the judge
EVEN_TIE = 0.8  # of all units, where the judge is as sure of each


@dataclass(frozen=True)
class Measured:
    """Coverage and mean width of the interval, and the share of samples with one."""

    coverage: float
    width: float
    said: float


def measure(
    n: int, rng: np.random.Generator, replications: int, *, tells: bool = True
) -> dict[str, Measured]:
    """Return what intervals hold by draw: `uncertainty` and `score` (means of features and of
    neurons, `n` people's ratings each), and `superiority` by uncertainty.

    `tells`: whether the judge's uncertainty tells units apart; else it is noise.
    """
    kept: dict[str, list[tuple[bool, float] | None]] = {}
    truth = float(superiority_of_counts(HUMAN["features"], HUMAN["neurons"]))
    for _ in range(replications):
        groups = []
        for name in HUMAN:
            people, judge = _unit_scores(name, rng, tells)
            mean = float(np.average(SCORES, weights=HUMAN[name]))
            items = {f"{place:03}": ("group", int(judge[place, 0])) for place in range(UNITS)}
            unsure = {f"{place:03}": float(judge[place].std(ddof=1)) for place in range(UNITS)}
            drawn = draw_by_uncertainty(items, unsure, n, rng)
            at = [int(one.item) for one in drawn]
            by_judge = judge.mean(axis=1)
            group = (people[at], by_judge[at], by_judge, np.array([d.inclusion for d in drawn]))
            groups.append(group)
            _keep(kept, "uncertainty", predict_mean_drawn(*group, scale=SCALE).mean, mean)
            strata = [(int(one.item), one.score) for one in draw_for_people(items, n, rng)]
            sizes = {int(s): int((judge[:, 0] == s).sum()) for s in np.unique(judge[:, 0])}
            try:
                by_score = predict_mean_stratified(
                    people[[unit for unit, _ in strata]], [s for _, s in strata], sizes,
                    scale=SCALE,
                ).mean  # fmt: skip
                _keep(kept, "score", by_score, mean)
            except TooFewRatings:
                kept.setdefault("score", []).append(None)
        _keep(kept, "superiority", predict_superiority_drawn(*groups).superiority, truth)
    return {name: _measured(rows) for name, rows in kept.items()}


def _unit_scores(name: str, rng: np.random.Generator, tells: bool) -> tuple[Floats, Floats]:
    """Return people's scores, [units], and three of the judge, [units, 3]."""
    quality = rng.standard_normal((UNITS, 1))
    unsure = rng.random((UNITS, 1)) < UNSURE
    tie = np.where(unsure, UNSURE_TIE, SURE_TIE) if tells else np.full((UNITS, 1), EVEN_TIE)
    read = tie * quality + np.sqrt(1 - tie**2) * rng.standard_normal((UNITS, 3))
    return _cut(quality[:, 0], HUMAN[name]), _cut(read, JUDGE[name])


def _cut(latent: Floats, table: tuple[int, ...]) -> Floats:
    cuts = scipy.stats.norm.ppf(np.cumsum(table)[:-1] / sum(table))
    return np.asarray(1 + np.searchsorted(cuts, latent), np.float64)


def _keep(
    kept: dict[str, list[tuple[bool, float] | None]], name: str, made: Statistic, truth: float
) -> None:
    row = None
    if made.low is not None and made.high is not None:
        row = (made.low <= truth <= made.high, made.high - made.low)
    kept.setdefault(name, []).append(row)


def _measured(rows: list[tuple[bool, float] | None]) -> Measured:
    said = [row for row in rows if row is not None]
    held, width = np.array(said, dtype=np.float64).mean(axis=0)
    return Measured(float(held), float(width), len(said) / len(rows))
