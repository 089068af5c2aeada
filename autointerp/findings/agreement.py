"""How far people agree: with each other, with themselves, and with each model.

One unit is one item here; what is compared are single ratings, first against first, and for a
rater with oneself the first against the hidden repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from autointerp.errors import TooFewRatings
from autointerp.questions.rubric import Rubric
from autointerp.stats.agreement import krippendorff_alpha, quadratic_kappa, spearman_by_units
from autointerp.stats.results import Floats, Statistic
from autointerp.store.run import Run

Kind = Literal["people", "oneself", "person and model"]


@dataclass(frozen=True)
class RatersAgreement:
    """How two raters agree, or one with oneself.

    Attributes:
        units: Rated by both (or twice).
    """

    kind: Kind
    raters: tuple[str, str]
    units: int
    alpha: Statistic
    kappa: Statistic
    spearman: Statistic


@dataclass(frozen=True)
class Attention:
    """How a person rated the gold items.

    Attributes:
        planted, shuffled: Mean score of each; None where none was rated.
        pairs_right: Share of pairs (planted, shuffled) where the planted one got more, ties
            counting half; 0.5 is what inattention gives. None without pairs.
        n: Planted and shuffled items rated.
    """

    rater: str
    planted: float | None
    shuffled: float | None
    pairs_right: float | None
    n: tuple[int, int]


def agreements(
    run: Run,
    rubric: Rubric,
    rng: np.random.Generator,
    controls: bool = False,
    resamples: int = 1_000,
    level: float = 0.95,
) -> list[RatersAgreement]:
    """Return the agreement of each pair of people, of each with oneself, and with each model.

    Control units are left out unless asked for: they are easy, and flatter the figures.
    Statistics that the data cannot give have the value None and a note.
    """
    scores = _scores(run, rubric, controls)
    people = sorted({rater for rater, _ in scores if is_person(rater)})
    models = sorted({rater for rater, _ in scores if not is_person(rater)})
    pairs: list[tuple[Kind, tuple[str, int], tuple[str, int]]] = []
    pairs += [("people", (a, 0), (b, 0)) for a, b in combinations(people, 2)]
    pairs += [("oneself", (one, 0), (one, 1)) for one in people]
    pairs += [("person and model", (one, 0), (model, 0)) for one in people for model in models]
    found = []
    for kind, first, second in pairs:
        a, b = scores.get(first, {}), scores.get(second, {})
        both = sorted(a.keys() & b.keys())
        if not both and kind == "oneself":
            continue  # no repeats were asked for
        x = np.array([a[unit] for unit in both], dtype=np.float64)
        y = np.array([b[unit] for unit in both], dtype=np.float64)
        found.append(
            RatersAgreement(
                kind, (first[0], second[0]), len(both), *_pair(x, y, rng, resamples, level)
            )
        )
    return found


def attention(run: Run, rubric: Rubric) -> list[Attention]:
    """Return how each person rated the planted and shuffled items."""
    rows = run.rows(
        "SELECT r.rater, u.source, r.score FROM current_rating r JOIN key k USING (item_id)"
        " JOIN unit u USING (unit_id) WHERE r.rubric_digest = ? AND r.status = 'ok'"
        " AND u.source IN ('planted', 'shuffled')",
        [rubric.digest],
    )
    found = []
    for rater in sorted({row[0] for row in rows if is_person(row[0])}):
        gold = {
            name: np.array([row[2] for row in rows if row[:2] == (rater, name)], dtype=np.float64)
            for name in ("planted", "shuffled")
        }
        high, low = gold["planted"], gold["shuffled"]
        right = None
        if len(high) and len(low):
            gaps = np.sign(high[:, None] - low[None, :])
            right = float((gaps + 1).mean() / 2)
        means = [float(one.mean()) if len(one) else None for one in (high, low)]
        found.append(Attention(rater, means[0], means[1], right, (len(high), len(low))))
    return found


def is_person(rater: str) -> bool:
    """Return whether a rater's name is a person's."""
    return rater.partition(":")[0] == "human"


def _scores(run: Run, rubric: Rubric, controls: bool) -> Mapping[tuple[str, int], dict[int, float]]:
    """Return scores by (rater, repeat) and unit: raters with other evidence have other items."""
    rows = run.rows(
        "SELECT r.rater, r.repeat, k.unit_id, r.score FROM current_rating r"
        " JOIN key k USING (item_id) JOIN unit u USING (unit_id)"
        " JOIN source s ON s.source = u.source"
        " WHERE r.rubric_digest = ? AND r.status = 'ok' AND (? OR NOT s.is_control)",
        [rubric.digest, controls],
    )
    scores: dict[tuple[str, int], dict[int, float]] = {}
    for rater, repeat, unit, score in rows:
        scores.setdefault((rater, repeat), {})[unit] = float(score)
    return scores


def _pair(
    x: Floats, y: Floats, rng: np.random.Generator, resamples: int, level: float
) -> tuple[Statistic, Statistic, Statistic]:
    def none(error: TooFewRatings) -> Statistic:
        return Statistic(None, None, None, (len(x),), "", level, str(error))

    both = np.stack([x, y], axis=1)
    try:
        alpha = krippendorff_alpha(both, rng, resamples=resamples, level=level)
    except TooFewRatings as error:
        alpha = none(error)
    try:
        kappa = quadratic_kappa(x, y, rng, resamples=resamples, level=level)
    except TooFewRatings as error:
        kappa = none(error)
    try:
        rho = spearman_by_units(x, y, rng, resamples=resamples, level=level)
    except TooFewRatings as error:
        rho = none(error)
    return alpha, kappa, rho
