"""Which of some concepts a dictionary covers, and how that goes with how frequent they are.

A concept is covered if it is the main thing of at least one of the units that fire most strongly
on it. The same judge is asked about units drawn at random, where it must say no.
Source: Templeton et al. 2024, "Scaling Monosemanticity", feature completeness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pandas as pd

from autointerp.findings.json_values import plain
from autointerp.records import Unit
from autointerp.stats.logistic_curve import LogisticCurve, logistic_curve
from autointerp.stats.means import mean, wilson_interval
from autointerp.stats.results import Floats, Statistic
from autointerp.store.run import Run
from autointerp.text import count

Kind = Literal["strongest", "random"]
KINDS: tuple[Kind, Kind] = ("strongest", "random")
FALSE_YES = 0.05  # share of random units of which a judge may say that they are about the concept


@dataclass(frozen=True)
class Judged:
    """A unit that was held against a concept.

    Attributes:
        place: Among the concept's units of its kind, from 1.
        activation: At the concept's last token, the mean over its prompts.
        is_main: Whether the concept is the unit's main thing; None without an answer.
        status: Of the answer; `missing` where there is none.
    """

    unit: Unit
    kind: Kind
    place: int
    activation: float
    description: str | None
    is_main: bool | None
    status: str


@dataclass(frozen=True)
class CoveredConcept:
    """A concept with the units that were held against it.

    Attributes:
        occurrences: In the harvest's part of the corpus, as a whole word.
    """

    name: str
    prompts: tuple[str, ...]
    occurrences: int
    units: tuple[Judged, ...]

    def of(self, kind: Kind) -> tuple[Judged, ...]:
        return tuple(unit for unit in self.units if unit.kind == kind)

    def covered(self, kind: Kind = "strongest") -> bool | None:
        """Whether a unit of the kind is about it; None where none is and an answer is missing, or,
        of the control, where no unit was drawn. No unit that fires on it leaves it uncovered.
        """
        units = self.of(kind)
        if any(unit.is_main for unit in units):
            return True
        if any(unit.is_main is None for unit in units) or (kind == "random" and not units):
            return None
        return False


@dataclass(frozen=True)
class Cover:
    """What a rater says of concepts and the units of a source.

    Attributes:
        tokens: Of the part of the corpus in which the concepts were counted.
        coverage, control: Share of concepts that are covered, by their strongest units and by
            random ones; without a value where no concept has an answer.
        yes: Share of a concept's units, by kind, that are about it, the mean over concepts.
        curve: Coverage against log10 of occurrences in a million tokens, half a one added.
    """

    run: str
    source: str
    rater: str
    tokens: int
    concepts: tuple[CoveredConcept, ...]
    coverage: Statistic
    control: Statistic
    yes: dict[Kind, Statistic]
    curve: LogisticCurve
    notes: tuple[str, ...]

    @property
    def answered(self) -> tuple[CoveredConcept, ...]:
        """The concepts that are known to be covered or not."""
        return tuple(one for one in self.concepts if one.covered() is not None)

    def frequency(self, concept: CoveredConcept) -> float:
        """Return log10 of a concept's occurrences in a million tokens, half a one added."""
        return math.log10((concept.occurrences + 0.5) / max(self.tokens, 1) * 1e6)

    def frame(self) -> pd.DataFrame:
        """Return one row a concept and unit; one without a unit for a concept that has none."""
        rows = []
        for concept in self.concepts:
            about = {
                "concept": concept.name,
                "prompts": " | ".join(concept.prompts),
                "occurrences": concept.occurrences,
                "per_million": 1e6 * concept.occurrences / max(self.tokens, 1),
                "covered": concept.covered(),
            }
            for one in concept.units:
                rows.append(
                    {
                        **about,
                        "kind": one.kind,
                        "place": one.place,
                        "unit": str(one.unit),
                        "activation": one.activation,
                        "description": one.description,
                        "is_main": one.is_main,
                        "status": one.status,
                    }
                )
            if not concept.units:
                rows.append(about)
        columns = ["concept", "prompts", "occurrences", "per_million", "covered", "kind", "place",
                   "unit", "activation", "description", "is_main", "status"]  # fmt: skip
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype({"covered": "boolean", "is_main": "boolean", "place": "Int64"})

    def as_json(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "run": self.run,
            "source": self.source,
            "rater": self.rater,
            "tokens": self.tokens,
            "coverage": plain(self.coverage),
            "control": plain(self.control),
            "yes": {kind: plain(share) for kind, share in self.yes.items()},
            "by_frequency": {
                "slope": plain(self.curve.slope),
                "half_at_log10_per_million": plain(self.curve.half),
            },
            "concepts": [
                {
                    "concept": one.name,
                    "prompts": list(one.prompts),
                    "occurrences": one.occurrences,
                    "covered": one.covered(),
                    "control": one.covered("random"),
                    "units": [
                        {
                            "unit": str(unit.unit),
                            "kind": unit.kind,
                            "place": unit.place,
                            "activation": unit.activation,
                            "description": unit.description,
                            "is_main": unit.is_main,
                            "status": unit.status,
                        }
                        for unit in one.units
                    ],
                }
                for one in self.concepts
            ],
            "notes": list(self.notes),
        }


def cover_of(
    run: str,
    source: str,
    rater: str,
    tokens: int,
    concepts: Sequence[CoveredConcept],
    level: float = 0.95,
) -> Cover:
    """Return what the judgements of concepts say together."""
    made = Cover(
        run,
        source,
        rater,
        tokens,
        tuple(concepts),
        _share([one.covered() for one in concepts], level),
        _share([one.covered("random") for one in concepts], level),
        {
            kind: _mean_share([[unit.is_main for unit in one.of(kind)] for one in concepts], level)
            for kind in KINDS
        },
        logistic_curve([], [], level),
        (),
    )
    answered = made.answered
    x: Floats = np.array([made.frequency(one) for one in answered], dtype=np.float64)
    y: Floats = np.array([float(bool(one.covered())) for one in answered], dtype=np.float64)
    fields = {name: getattr(made, name) for name in Cover.__dataclass_fields__}
    fields |= {"curve": logistic_curve(x, y, level), "notes": tuple(_notes(made))}
    return Cover(**fields)


def covers_of(run: Run, level: float = 0.95) -> Iterator[Cover]:
    """Yield what the run holds of concepts, one a source and rater: all that they were asked of."""
    asked = sorted(
        run.rows("SELECT source, rater, concept, prompts, occurrences, tokens FROM cover_concept")
    )
    units: dict[tuple[str, str, str], list[Judged]] = {}
    for source, rater, concept, idx, sign, *row in sorted(
        run.rows(
            "SELECT source, rater, concept, idx, sign, kind, place, activation, description,"
            " is_main, status FROM cover"
        ),
        key=lambda row: (*row[:3], KINDS.index(row[5]), row[6]),
    ):
        units.setdefault((source, rater, concept), []).append(Judged(Unit(source, idx, sign), *row))
    for (source, rater), rows in groupby(asked, key=lambda row: (row[0], row[1])):
        held = list(rows)
        concepts = [
            CoveredConcept(
                name, tuple(prompts), occurrences, tuple(units.get((source, rater, name), ()))
            )
            for _, _, name, prompts, occurrences, _ in held
        ]
        yield cover_of(run.name, source, rater, max(row[-1] for row in held), concepts, level)


def answers_of(run: Run, rater: str, rubric_digest: str) -> dict[str, tuple[str, int | None]]:
    """Return status and score of each item that a rater was asked, by the item's id."""
    return {
        item: (status, score)
        for item, status, score in run.rows(
            "SELECT item_id, status, score FROM current_rating"
            " WHERE rater = ? AND rubric_digest = ? AND repeat = 0",
            [rater, rubric_digest],
        )
    }


def _share(values: Sequence[bool | None], level: float) -> Statistic:
    known = [value for value in values if value is not None]
    if not known:
        return Statistic(None, None, None, (0,), "Wilson score interval", level, "no answers")
    return wilson_interval(sum(known), len(known), level)


def _mean_share(answers: Sequence[Sequence[bool | None]], level: float) -> Statistic:
    """Return the mean over concepts of the share of yes: units of one concept are not independent.

    Concepts without an answer are left out.
    """
    shares = [
        sum(known) / len(known)
        for units in answers
        if (known := [value for value in units if value is not None])
    ]
    if not shares:
        return Statistic(None, None, None, (0,), "mean over concepts", level, "no answers")
    return mean(shares, level, scale=(0, 1))


def _notes(made: Cover) -> list[str]:
    notes = []
    if lacking := len(made.concepts) - len(made.answered):
        notes.append(
            f"{lacking} of {count(len(made.concepts), 'concept')} have an answer missing and no "
            "unit that is about them; they are left out of the coverage"
        )
    if silent := sum(not one.of("strongest") for one in made.concepts):
        notes.append(
            f"On {silent} of {len(made.concepts)} concepts no unit of {made.source} fires; they "
            "count as not covered"
        )
    control = made.yes["random"]
    if control.value is None:
        notes.append("No random unit was judged, so nothing is known of a judge that says yes")
    elif control.low is not None and control.low > FALSE_YES:
        notes.append(
            f"{made.rater} says of {100 * control.value:.0f} % of random units that they are about "
            "the concept: its yes means little"
        )
    return notes
