"""Single units, for a list to look through: where each fires, and what was said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.store.run import Run
from autointerp.text import whole_characters

if TYPE_CHECKING:
    import pandas as pd

    from autointerp.findings.comparison import Comparison


@dataclass(frozen=True, slots=True)
class ListedContext:
    """A context of a unit that explains it.

    Attributes:
        interval: Of the activation, from 1; 0 for one of the strongest contexts.
        was_shown: Whether a rater or an explainer saw it, drawn as this one or otherwise: many of
            an interval's are among the strongest, too.
    """

    unit_id: int
    tokens: Sequence[str]
    activations: Sequence[float]
    focus: int | None
    interval: int
    was_shown: bool


@dataclass(frozen=True, slots=True)
class StrongContext:
    """One of a unit's strongest contexts that explain it."""

    unit_id: int
    tokens: Sequence[str]
    activations: Sequence[float]
    focus: int | None


@dataclass(frozen=True, slots=True)
class ListedRating:
    """A rating of a unit, whatever became of it."""

    unit_id: int
    rubric_digest: str
    rater: str
    repeat: int
    status: str
    score: float | None
    description: str | None
    rationale: str | None


@dataclass(frozen=True, slots=True)
class ListedDescription:
    """What an explainer said of a unit.

    Attributes:
        promoted, suppressed: Tokens by the unit's effect on the logits, where they were shown to
            the explainer; None where not.
    """

    unit_id: int
    explainer: str
    status: str
    description: str | None
    rationale: str | None
    promoted: Sequence[str] | None
    suppressed: Sequence[str] | None


def listed_units(comparison: Comparison, run: Run) -> pd.DataFrame:
    """Return the units that were asked about, and those passed over to get them; all units of a
    run in which none was.

    Columns of `Comparison.units`, and: run, unit (its name), first_score (by the first rater).
    """
    units = comparison.units
    names = dict(run.rows("SELECT unit_id, unit_label(source, idx, sign, note) FROM unit"))
    described = run.rows("SELECT DISTINCT unit_id FROM explanation")
    asked = sorted({*comparison.scores.unit_id, *(row[0] for row in described)}) or list(
        units.index
    )
    last = units.loc[asked].groupby("source").ord.max()
    beneath = units.ord <= units.source.map(last).fillna(-1)
    kept = units[units.index.isin(asked) | (beneath & (units.outcome != "eligible"))]
    first = comparison.scores.drop_duplicates("unit_id").set_index("unit_id").score
    return kept.assign(
        run=comparison.run,
        unit=[names[unit_id] for unit_id in kept.unit_id],
        first_score=kept.unit_id.map(first),
    ).reset_index(drop=True)


def listed_contexts(run: Run, unit_ids: Sequence[int], top: int) -> Iterator[ListedContext]:
    """Yield the `top` strongest contexts of each unit, then one of each interval of activation."""
    for row in run.rows(
        "WITH shown AS (SELECT unit_id, unnest(contexts) AS context_id FROM key"
        "   WHERE item_id IN (SELECT item_id FROM rating)"
        "  UNION SELECT unit_id, unnest(contexts) FROM explanation),"
        " seen AS (SELECT DISTINCT unit_id, document, position, focus FROM context"
        "  WHERE unit_id IN (SELECT unnest(?::INTEGER[])) AND context_id IN ("
        "   SELECT context_id FROM shown WHERE unit_id IN (SELECT unnest(?::INTEGER[])))),"
        " placed AS (SELECT *, row_number() OVER ("
        "    PARTITION BY unit_id, draw, CASE WHEN draw = 'interval' THEN interval END"
        "    ORDER BY CASE WHEN draw = 'top' THEN -activations[focus + 1] ELSE 0 END, context_id"
        "  ) AS place FROM context"
        "  WHERE unit_id IN (SELECT unnest(?::INTEGER[])) AND draw <> 'random'"
        "  AND split = 'explain')"
        " SELECT unit_id, tokens, activations, focus,"
        " CASE WHEN draw = 'top' THEN 0 ELSE coalesce(interval, 0) END,"
        " seen.unit_id IS NOT NULL"
        " FROM placed LEFT JOIN seen USING (unit_id, document, position, focus)"
        " WHERE place <= CASE draw WHEN 'top' THEN ? ELSE 1 END"
        " ORDER BY unit_id, draw DESC, activations[focus + 1] DESC, context_id",
        [list(unit_ids), list(unit_ids), list(unit_ids), top],
    ):
        unit_id, tokens, activations, focus, *rest = row
        whole, levels, marked = whole_characters(tokens, activations, focus)
        yield ListedContext(unit_id, whole, levels or (), marked, *rest)


def strongest_contexts(run: Run, unit_ids: Sequence[int], top: int) -> Iterator[StrongContext]:
    """Yield the `top` strongest contexts of each unit that explain it, the strongest first.

    Unlike `listed_contexts` it needs no comparison.
    """
    for unit_id, tokens, activations, focus in run.rows(
        "SELECT unit_id, tokens, activations, focus FROM context"
        " WHERE unit_id IN (SELECT unnest(?::INTEGER[])) AND draw = 'top' AND split = 'explain'"
        " QUALIFY row_number() OVER (PARTITION BY unit_id"
        "  ORDER BY activations[focus + 1] DESC, context_id) <= ?"
        " ORDER BY unit_id, activations[focus + 1] DESC, context_id",
        [list(unit_ids), top],
    ):
        whole, levels, marked = whole_characters(tokens, activations, focus)
        yield StrongContext(unit_id, whole, levels or (), marked)


def newest_descriptions(run: Run) -> dict[int, str]:
    """Return the last description of each unit that has one: by an explainer, else by a rater."""
    rated = run.rows(
        "SELECT unit_id, arg_max(description, made_at) FROM unit_rating"
        " WHERE status = 'ok' AND description <> '' GROUP BY unit_id"
    )
    explained = run.rows(
        "SELECT unit_id, arg_max(description, made_at) FROM explanation"
        " WHERE status = 'ok' AND description <> '' GROUP BY unit_id"
    )
    return {**dict(rated), **dict(explained)}


def listed_ratings(run: Run, unit_ids: Sequence[int], repeats: int) -> Iterator[ListedRating]:
    """Yield the ratings of units, at most `repeats` by one rater on one rubric."""
    for row in run.rows(
        "SELECT unit_id, rubric_digest, rater, repeat, status, score, description, rationale"
        " FROM unit_rating WHERE unit_id IN (SELECT unnest(?::INTEGER[])) AND repeat < ?"
        " ORDER BY unit_id, rubric, rater, repeat",
        [list(unit_ids), repeats],
    ):
        yield ListedRating(*row)


def listed_descriptions(run: Run) -> Iterator[ListedDescription]:
    """Yield what explainers said of all units."""
    for row in run.rows(
        "SELECT unit_id, explainer, status, description, rationale, promoted, suppressed"
        " FROM explanation"
        " ORDER BY unit_id, explainer"
    ):
        yield ListedDescription(*row)


def logit_effects(
    comparison: Comparison, run: Run
) -> dict[int, tuple[Sequence[str], Sequence[str]]]:
    """Return the tokens that units promote and suppress, by unit, where they are known: measured
    by the lab, or else shown to an explainer."""
    effects = {
        said.unit_id: (said.promoted, said.suppressed or ())
        for said in listed_descriptions(run)
        if said.promoted
    }
    for lab in comparison.labs:
        if lab.lab == "logit-effects" and {"promoted", "suppressed"} <= set(lab.columns):
            effects |= {
                row.unit_id: (row.promoted, row.suppressed)
                for row in lab.rows.itertuples()
                if isinstance(row.promoted, list) and row.promoted
            }
    return effects


def window_tokens(run: Run) -> int:
    """Return the length of the run's longest stored window in tokens; 0 without contexts."""
    ((longest,),) = run.rows("SELECT coalesce(max(len(tokens)), 0) FROM context")
    return int(longest)


def descriptions_table(run: Run) -> pd.DataFrame:
    """Return one row a unit and explainer, with the tokens that were shown beside its contexts."""
    return run.frame(
        "SELECT unit_label(u.source, u.idx, u.sign, u.note) AS unit, e.explainer, e.status,"
        " e.description, e.rationale, e.promoted, e.suppressed"
        " FROM explanation e JOIN unit u USING (unit_id)"
        " ORDER BY e.explainer, unit_id"
    )
