"""How raters differ: how severe each is, how far it spreads, and whether people drift.

Beside the probability of superiority within each rater, which no severity can move, this says what
the raters are like, and what the sources differ by once raters are taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from autointerp.findings.groups import Judgement
from autointerp.findings.plan import PRIMARY
from autointerp.records import is_person, without_panels
from autointerp.stats.rater_effects import Drift, RaterEffects, drift, rater_effects
from autointerp.store.run import Run

MOST_RATINGS = 4_000


@dataclass(frozen=True)
class RaterModel:
    """The raters of one rubric, on the first rating of each studied unit.

    Attributes:
        raters: That rated on it.
        failing: Of these, those that fail their controls or their check. Their severity is in
            `effects`, but its odds ratio of the sources is of the others alone.
        compared_by: Those on whose scores the odds ratio rests.
        units: Studied units that were rated.
        is_part: Whether the model rests on a random part of them, for they have more than
            `MOST_RATINGS` first ratings.
        effects: Severity and spread of each; None where one alone rated.
        drift: Of each person who rated in sessions, all sources and controls, by name.
        first, second: The sources of the odds ratio: the primary pair.
        level: Nominal coverage of the intervals.
    """

    run: str
    rubric: str
    rubric_digest: str
    raters: tuple[str, ...]
    failing: tuple[str, ...]
    compared_by: tuple[str, ...]
    units: int
    is_part: bool
    effects: RaterEffects | None
    drift: dict[str, Drift]
    first: str
    second: str
    level: float


def rater_models(
    run: Run,
    judgements: Sequence[Judgement],
    units: pd.DataFrame,
    level: float = 0.95,
    primary: tuple[str, str] = PRIMARY,
) -> Iterator[RaterModel]:
    """Yield a model of each rubric that several raters rated on, or a person.

    Reads the table `rated` that `compare` makes; `units` are those of a `Comparison`.
    """
    of_rubric: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        of_rubric.setdefault(judgement.rubric_digest, []).append(judgement)
    for digest, own in of_rubric.items():
        raters = tuple(without_panels(sorted(judgement.rater for judgement in own)))
        drifts = dict(_drifts(run, digest, [rater for rater in raters if is_person(rater)], level))
        if len(raters) < 2 and not drifts:
            continue
        table = _first_ratings(run, digest, units)
        failing = tuple(sorted(one.rater for one in own if one.fails and one.rater in raters))
        table = table[without_panels(table)]
        part = _part(table)
        effects = _effects(part, units, level, primary) if len(raters) > 1 else None
        by_kept = effects
        if effects is not None and failing:
            kept = part.drop(columns=list(failing), errors="ignore").dropna(how="all")
            many = len(kept.columns) > 1
            by_kept = _effects(kept, units, level, primary) if many else None
            effects = replace(effects, odds_ratio=by_kept.odds_ratio if by_kept else None)
        compared_by = tuple(effect.rater for effect in by_kept.raters) if by_kept else ()
        if effects is not None or drifts:
            is_part = len(part) < len(table)
            yield RaterModel(
                run.name, own[0].rubric, digest, raters, failing, compared_by, len(table), is_part,
                effects, drifts, *primary, level,
            )  # fmt: skip


def _first_ratings(run: Run, digest: str, units: pd.DataFrame) -> pd.DataFrame:
    """Return the first ratings of studied units, [units, raters], NaN where missing."""
    rows = run.frame(
        "SELECT unit_id, rater, score FROM rated"
        " WHERE rubric_digest = ? AND repeat = 0 AND score IS NOT NULL ORDER BY ALL",
        [digest],
    )
    table = rows.pivot(index="unit_id", columns="rater", values="score").sort_index(axis=1)
    return table[~units.is_control.loc[table.index].astype(bool)]


def _part(table: pd.DataFrame) -> pd.DataFrame:
    """Return a random part of the units where there are more ratings than the model needs."""
    share = MOST_RATINGS / max(1, int(table.notna().sum().sum()))
    if share >= 1:
        return table
    # Units stand in the random order of their sources.
    return table.iloc[np.linspace(0, len(table) - 1, round(share * len(table))).astype(int)]


def _effects(
    table: pd.DataFrame, units: pd.DataFrame, level: float, primary: tuple[str, str]
) -> RaterEffects:
    sources = list(units.source.loc[table.index])
    names = list(map(str, table))
    return rater_effects(table.to_numpy(np.float64), sources, names, primary, level)


def _drifts(
    run: Run, digest: str, people: Sequence[str], level: float
) -> Iterator[tuple[str, Drift]]:
    """Yield each person's drift; the order of answers counts, repeats among them, no times.

    A unit that was rated in several sittings has the score of each at its place there.
    """
    if not people or not run.has_rows("human_answer"):
        return
    rows = run.frame(
        "WITH answered AS ("
        "  SELECT rater, session_id, item_id, repeat, max(seq) AS seq,"
        "   arg_max(verb, seq) AS verb, arg_max(score, seq) AS score FROM human_answer"
        "  WHERE kind = 'rating' AND verb IN ('score', 'skip', 'undo') AND item_id <> ''"
        "  GROUP BY ALL"
        "), placed AS ("
        "  SELECT *, row_number() OVER session - 1 AS place,"
        "   count(*) OVER (PARTITION BY rater, session_id) AS answers"
        "  FROM answered WHERE verb = 'score'"
        "  WINDOW session AS (PARTITION BY rater, session_id ORDER BY seq)"
        ") SELECT p.rater, p.place / (p.answers - 1) AS position, p.score, i.source"
        " FROM placed p JOIN unit_item i USING (item_id)"
        " WHERE p.repeat = 0 AND p.answers > 1 AND i.rubric_digest = ?"
        " ORDER BY p.rater, p.session_id, p.place",
        [digest],
    )
    for person in people:
        own = rows[rows.rater == person]
        if len(own):
            position = own.position.to_numpy(np.float64)
            yield person, drift(own.score.to_numpy(), position, list(own.source), level)
