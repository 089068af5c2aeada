"""The verb behind `plan-humans`: how unsure a judge is of each unit, and what people rate next."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autointerp.errors import TooFewRatings
from autointerp.people.plans import Drawn, busiest
from autointerp.people.plans import plan_humans as draw
from autointerp.questions.rubric import Rubric
from autointerp.raters import expected_score
from autointerp.store.run import Run

By = Literal["score", "uncertainty"]
Measure = Literal["repeats", "probabilities", "judges"]

MEASURES: dict[Measure, str] = {
    "repeats": "the spread of its repeated ratings of a unit",
    "probabilities": "the spread of its score by the reply's token probabilities",
    "judges": "the spread of the judges' mean scores of a unit",
}


@dataclass(frozen=True)
class Uncertainty:
    """How unsure a judge is of units, as a standard deviation in scores.

    Attributes:
        measure: What it was taken from.
        by_unit: Of every unit that the judge rated and of which it is known.
    """

    measure: Measure
    by_unit: Mapping[int, float]


@dataclass(frozen=True)
class HumanPlan:
    """What people should rate next.

    Attributes:
        rater: That it calibrates.
        uncertainty: How unsure it is of the units; None where they were drawn by its score.
        contexts: That people are shown of each unit.
        left_out: Units with fewer, which were not drawn.
    """

    rater: str
    drawn: tuple[Drawn, ...]
    uncertainty: Uncertainty | None
    contexts: int
    left_out: int


def plan_humans(
    run: Run,
    rubric: Rubric,
    n: int,
    rng: np.random.Generator,
    rater: str | None = None,
    by: By = "score",
) -> HumanPlan:
    """Draw, store and return what people should rate next, to calibrate a rater.

    By `score`, units are drawn within strata of the rater's score; by `uncertainty`, those of
    which it is less sure are drawn more often. Raises as `people.plans.plan_humans` does, and
    TooFewRatings where the rater's uncertainty cannot be told.
    """
    rater = rater or busiest(run, rubric)
    unsure = uncertainty_of(run, rubric, rater) if by == "uncertainty" else None
    made = draw(run, rubric, n, rng, rater, unsure.by_unit if unsure else None)
    return HumanPlan(made.rater, made.items, unsure, made.contexts, made.left_out)


def uncertainty_of(run: Run, rubric: Rubric, rater: str) -> Uncertainty:
    """Return how unsure a rater is of the studied units, by the first of these that the run holds
    for all that it rated: its repeats, its token probabilities, the disagreement of the judges.

    A measure that is 0 for every unit tells none from another and is passed over.
    Raises TooFewRatings if the run holds none.
    """
    rated = {
        row[0]
        for row in run.rows(
            "SELECT DISTINCT unit_id FROM unit_rating WHERE rater = ? AND rubric_digest = ?"
            " AND status = 'ok' AND repeat = 0 AND NOT is_control",
            [rater, rubric.digest],
        )
    }
    if not rated:
        raise TooFewRatings(f"{rater} has rated nothing on {rubric.id}; let it rate first")
    makers = {
        "repeats": _by_repeats,
        "probabilities": _by_probabilities,
        "judges": _by_judges,
    }
    missing = []
    # A rater that gave one score twice would give it again.
    remedies: dict[Measure, str] = {"repeats": "with --repeats 2", "judges": "by a second model"}
    for measure, words in MEASURES.items():
        by_unit = makers[measure](run, rubric, rater)
        if rated <= by_unit.keys() and any(by_unit[unit] > 0 for unit in rated):
            return Uncertainty(measure, {unit: by_unit[unit] for unit in rated})
        known = len(rated & by_unit.keys())
        missing.append(
            f"{words}: 0 for each of {known} units"
            if known == len(rated)
            else f"{words}: known of {known} of {len(rated)} units"
        )
        if known == len(rated):
            remedies.pop(measure, None)
    asked = ", or ".join(remedies.values())
    raise TooFewRatings(
        f"how sure {rater} is of a unit is not known ({'; '.join(missing)}); "
        f"{f'rate {asked}, or ' if asked else ''}draw by the score"
    )


def _by_repeats(run: Run, rubric: Rubric, rater: str) -> dict[int, float]:
    return dict(
        run.rows(
            "SELECT unit_id, stddev_samp(score) FROM unit_rating WHERE rater = ?"
            " AND rubric_digest = ? AND status = 'ok' GROUP BY unit_id HAVING count(*) > 1",
            [rater, rubric.digest],
        )
    )


def _by_judges(run: Run, rubric: Rubric, rater: str) -> dict[int, float]:
    """Return the spread of the mean scores of all raters that are no people."""
    return dict(
        run.rows(
            "WITH each AS (SELECT unit_id, rater, avg(score) AS score FROM unit_rating"
            "  WHERE rubric_digest = ? AND status = 'ok' AND NOT is_person(rater) GROUP BY ALL)"
            " SELECT unit_id, stddev_samp(score) FROM each GROUP BY unit_id"
            " HAVING count(*) > 1 AND list_contains(list(rater), ?)",
            [rubric.digest, rater],
        )
    )


def _by_probabilities(run: Run, rubric: Rubric, rater: str) -> dict[int, float]:
    """Return the spread of the first rating's score, where its call kept the alternatives."""
    rows = run.rows(
        "SELECT r.unit_id, arg_max(c.details, c.attempt) FROM unit_rating r"
        " JOIN call c USING (call_key) WHERE r.rater = ? AND r.rubric_digest = ?"
        " AND r.status = 'ok' AND r.repeat = 0 AND c.stop = 'end' GROUP BY r.unit_id",
        [rater, rubric.digest],
    )
    spreads = {}
    for unit, details in rows:
        alternatives = json.loads(details or "{}").get("score_token")
        if alternatives:
            spread = score_spread(alternatives, rubric.scores)
            if spread is not None:
                spreads[int(unit)] = spread
    return spreads


def score_spread(alternatives: dict[str, object], scores: tuple[int, ...]) -> float | None:
    """Return the standard deviation of the score by token probabilities; None if none counts."""
    mean, lost = expected_score(alternatives, scores)
    if mean is None or lost >= 1:
        return None
    # Probability of each score is what is lost without it.
    masses = []
    for score in scores:
        others = [other for other in scores if other != score]
        masses.append(max(0.0, expected_score(alternatives, others)[1] - lost))
    total = sum(masses)
    if total <= 0:
        return None
    square = sum(m * (s - mean) ** 2 for m, s in zip(masses, scores, strict=True)) / total
    return math.sqrt(square)
