"""The units of a run as a list that the database searches, filters, sorts and pages.

For a copy of a run (`store.snapshots`): two tables are made in it once, so that a page of 100,000
units takes milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from autointerp.errors import BadInput, UnknownName
from autointerp.findings.answers import ContextRating, UnitScore, context_ratings, unit_scores
from autointerp.findings.browse import (
    ListedContext,
    ListedDescription,
    ListedRating,
    listed_contexts,
)
from autointerp.records import Outcome, Status
from autointerp.store.snapshots import Snapshot
from autointerp.text import whole_characters

Sort = Literal["", "unit", "score", "density", "peak", "description"]
SORTS: dict[str, str] = {
    "": "u.source, u.ord, u.unit_id",
    "unit": "u.source {side}, u.idx {side}, u.sign DESC",
    "score": "s.score {side} NULLS LAST, u.unit_id",
    "density": "u.density {side} NULLS LAST, u.unit_id",
    "peak": "u.peak {side}, u.unit_id",
    "description": "coalesce(s.description, u.description) {side} NULLS LAST, u.unit_id",
}
NOT_ASKED = "not asked"  # the status of a unit that a judge has no rating of
MOST_WORDS = 12
WORD = re.compile(r'"([^"]+)"|([^\s"]+)')

UNITS = """
CREATE TABLE IF NOT EXISTS listed_unit AS
WITH peaks AS (
    SELECT unit_id, arg_max(tokens[focus + 1], activations[focus + 1]) AS token
    FROM context WHERE draw = 'top' GROUP BY unit_id
), said AS (
    SELECT unit_id, description FROM unit_rating WHERE description IS NOT NULL
    UNION SELECT unit_id, description FROM explanation WHERE description IS NOT NULL
), described AS (
    SELECT unit_id, string_agg(description, chr(10) ORDER BY description) AS texts
    FROM said GROUP BY unit_id
), explained AS (
    SELECT unit_id, arg_min(description, explainer) AS description
    FROM explanation WHERE status = 'ok' GROUP BY unit_id
)
SELECT u.unit_id, unit_label(u.source, u.idx, u.sign, u.note) AS unit, u.source, s.is_control,
    u.idx, u.sign, u.ord, u.outcome, u.tokens, u.peak, coalesce(p.token, '') AS token,
    CASE WHEN u.tokens > 0 OR u.density > 0 THEN u.density END AS density, e.description,
    lower(concat_ws(chr(10), unit_label(u.source, u.idx, u.sign, u.note), p.token, d.texts))
        AS haystack
FROM unit u JOIN source s ON s.source = u.source
LEFT JOIN peaks p USING (unit_id) LEFT JOIN described d USING (unit_id)
LEFT JOIN explained e USING (unit_id)
ORDER BY u.unit_id
"""
SCORES = """
CREATE TABLE IF NOT EXISTS listed_score AS
SELECT unit_id, rubric, rubric_digest, rater, avg(score)::DOUBLE AS score,
    count(*)::INTEGER AS ratings,
    CASE WHEN count(score) > 0 THEN 'ok' ELSE arg_max(status, repeat) END AS status,
    arg_min(description, repeat) AS description
FROM unit_rating GROUP BY unit_id, rubric, rubric_digest, rater
ORDER BY rubric_digest, rater, unit_id
"""


@dataclass(frozen=True)
class Judge:
    """A rater on a rubric; `units` is how many it was asked about."""

    rubric: str
    rubric_digest: str
    rater: str
    units: int


@dataclass(frozen=True)
class Filters:
    """Which units to list, and in which order.

    Attributes:
        source, outcome: As in the list; empty for all.
        rater, rubric: Whose scores stand beside the units; empty for those with most units.
        status: Of that judge's rating: ok, unparsed, …, or `not asked`; empty for all.
        low, high: Scores, to the nearest whole number.
        least_density, most_density: Share of tokens on which a unit fires, from and below.
        is_density_unknown: Units of which that share is not known, and no others.
        query: Words that must all occur in the name, the token of the peak or a description;
            several between quotes are one.
        in_contexts: Look for them in the contexts too.
        is_descending: The order turned round; what is missing stands last.
    """

    source: str = ""
    outcome: str = ""
    rater: str = ""
    rubric: str = ""
    status: str = ""
    low: float | None = None
    high: float | None = None
    least_density: float | None = None
    most_density: float | None = None
    is_density_unknown: bool = False
    query: str = ""
    in_contexts: bool = False
    sort: Sort = ""
    is_descending: bool = False


@dataclass(frozen=True)
class ListedUnit:
    """A unit in the list.

    Attributes:
        outcome: eligible, dead, …
        density: Share of tokens on which it fires; None if unknown.
        token: At its strongest peak.
        score, status: Of the list's judge; None and `not asked` where it has no rating.
        description: By the judge, else by an explainer; None without one.
    """

    unit_id: int
    unit: str
    source: str
    is_control: bool
    outcome: str
    density: float | None
    peak: float
    token: str
    score: float | None
    status: str
    description: str | None


@dataclass(frozen=True)
class UnitList:
    """A page of the list: `units` from the place `offset` of `total` that were found."""

    judge: Judge | None
    total: int
    offset: int
    units: tuple[ListedUnit, ...]


@dataclass(frozen=True)
class UnitDetail:
    """Everything that is known of one unit.

    Attributes:
        note: What is special about it, such as its name in a file.
        interval_tokens: Tokens on which it fires, by interval of activation.
        contexts: The strongest ones, then one of each interval.
        scores: Of its descriptions under scorers, and what became of those without one.
        context_ratings: How far contexts fit its descriptions, on rubrics that ask for that.
        labs: Rows of labs by lab; those that measure whole sources (match, map, concepts, cover)
            among them, and what raters took the unit for.
    """

    unit: ListedUnit
    index: int
    sign: int
    note: str
    tokens: int
    interval_tokens: tuple[float, ...]
    contexts: tuple[ListedContext, ...]
    ratings: tuple[ListedRating, ...]
    descriptions: tuple[ListedDescription, ...]
    scores: tuple[UnitScore, ...]
    context_ratings: tuple[ContextRating, ...]
    labs: Mapping[str, Sequence[Mapping[str, Any]]]


def prepare(run: Snapshot) -> None:
    """Make the two tables in a copy, where they are not there yet."""
    run.execute(UNITS)
    run.execute(SCORES)


def judges(run: Snapshot) -> list[Judge]:
    """Return who rated units on which rubric, those with most units first."""
    return [
        Judge(*row)
        for row in run.rows(
            "SELECT rubric, rubric_digest, rater, count(*) AS units FROM listed_score"
            " GROUP BY ALL ORDER BY units DESC, rubric, rater, rubric_digest"
        )
    ]


def list_units(run: Snapshot, filters: Filters, limit: int, offset: int = 0) -> UnitList:
    """Return `limit` units from the place `offset` on.

    Raises UnknownName for a rater or rubric that rated nothing and for a source, outcome or status
    that there is not, BadInput for too many words.
    """
    judge = _judge(run, filters)
    joined = (
        " FROM listed_unit u LEFT JOIN listed_score s ON s.unit_id = u.unit_id"
        " AND s.rubric_digest = ? AND s.rater = ?"
    )
    conditions, values = _conditions(filters)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    given = [judge.rubric_digest if judge else "", judge.rater if judge else "", *values]
    order = SORTS[filters.sort].format(side="DESC" if filters.is_descending else "ASC")
    by_score = any("s." in condition for condition in conditions)
    ((total,),) = run.rows(
        f"SELECT count(*){joined if by_score else ' FROM listed_unit u'}{where}",
        given if by_score else values,
    )
    if not total:
        _require_names(run, filters)
    rows = run.rows(
        "SELECT u.unit_id, u.unit, u.source, u.is_control, u.outcome, u.density, u.peak, u.token,"
        " s.score, coalesce(s.status, 'not asked'), coalesce(s.description, u.description)"
        f"{joined}{where} ORDER BY {order} LIMIT ? OFFSET ?",
        [*given, limit, offset],
    )
    return UnitList(judge, int(total), offset, tuple(ListedUnit(*row) for row in rows))


def _judge(run: Snapshot, filters: Filters) -> Judge | None:
    """Return whose scores stand in the list. Raises UnknownName where nobody is meant."""
    all_judges = judges(run)
    for kind, name, known in (
        ("rater", filters.rater, {judge.rater for judge in all_judges}),
        ("rubric", filters.rubric, {judge.rubric for judge in all_judges}),
    ):
        if name and name not in known:
            raise UnknownName(kind, name, known, f"these have rated units of run '{run.name}'")
    for judge in all_judges:
        if filters.rater in ("", judge.rater) and filters.rubric in ("", judge.rubric):
            return judge
    if all_judges and (filters.rater or filters.rubric):
        raise BadInput(f"rater '{filters.rater}' has no ratings on rubric '{filters.rubric}'")
    return None


def _require_names(run: Snapshot, filters: Filters) -> None:
    """Raise UnknownName for a filter that names what no unit of the run has, nor could have."""
    units = f"units of run '{run.name}' have these"
    for kind, name, always in (
        ("source", filters.source, ()),
        ("outcome", filters.outcome, get_args(Outcome)),
    ):
        known = {value for (value,) in run.rows(f"SELECT DISTINCT {kind} FROM listed_unit")}
        known |= set(always)
        if name and name not in known:
            raise UnknownName(kind, name, known, units)
    if filters.status and filters.status not in (*get_args(Status), NOT_ASKED):
        raise UnknownName("status", filters.status, [*get_args(Status), NOT_ASKED])


def _conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    """Return the conditions of a list, and their values in order."""
    conditions: list[str] = []
    values: list[Any] = []
    for column, value in (("u.source", filters.source), ("u.outcome", filters.outcome)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    if filters.status:
        conditions.append("coalesce(s.status, 'not asked') = ?")
        values.append(filters.status)
    for condition, bound in (
        ("floor(s.score + 0.5) >= ?", filters.low),
        ("floor(s.score + 0.5) <= ?", filters.high),
        ("u.density >= ?", filters.least_density),
        ("u.density < ?", filters.most_density),
    ):
        if bound is not None:
            conditions.append(condition)
            values.append(bound)
    if filters.is_density_unknown:
        conditions.append("u.density IS NULL")
    for word in words_of(filters.query):
        found = "contains(u.haystack, ?)"
        values.append(word)
        if filters.in_contexts:
            found = (
                f"({found} OR u.unit_id IN (SELECT unit_id FROM context"
                " WHERE contains(lower(array_to_string(tokens, '')), ?)))"
            )
            values.append(word)
        conditions.append(found)
    return conditions, values


def words_of(query: str) -> list[str]:
    """Return the words of a search, in lower case; several between quotes are one.

    Raises BadInput for more than are looked for at once.
    """
    words = [(quoted or word).lower() for quoted, word in WORD.findall(query)]
    if len(words) > MOST_WORDS:
        raise BadInput(f"a search for {len(words)} words; give {MOST_WORDS} at most")
    return words


def unit_detail(run: Snapshot, unit_id: int, top: int = 10, repeats: int = 10) -> UnitDetail:
    """Return what is known of a unit, `top` of its strongest contexts among it.

    Raises UnknownName if there is no such unit.
    """
    _require_unit(run, unit_id)
    found = _units_numbered(run, unit_id)
    ((index, sign, note, tokens, intervals),) = run.rows(
        "SELECT idx, sign, note, tokens, interval_tokens FROM unit WHERE unit_id = ?", [unit_id]
    )
    measured: dict[str, list[Mapping[str, Any]]] = {}
    for lab, row in run.lab_rows_of_unit(unit_id):
        measured.setdefault(lab, []).append(row)
    return UnitDetail(
        unit=found[0],
        index=index,
        sign=sign,
        note=note,
        tokens=tokens,
        interval_tokens=tuple(intervals),
        contexts=tuple(listed_contexts(run, [unit_id], top)),
        ratings=tuple(_ratings(run, unit_id, repeats)),
        descriptions=tuple(_descriptions(run, unit_id)),
        scores=tuple(unit_scores(run, unit_id)),
        context_ratings=tuple(context_ratings(run, unit_id)),
        labs={**measured, **_whole_sources(run, found[0], index, sign)},
    )


def _require_unit(run: Snapshot, unit_id: int) -> None:
    if not run.rows("SELECT 1 FROM unit WHERE unit_id = ?", [unit_id]):
        raise UnknownName("unit", str(unit_id), None, "the list of units has their numbers")


NEAR = 5  # units beside one on a map, at most
# What tables of other things than units hold of one, `me`: a name for it, the table, the rows.
WHOLE: tuple[tuple[str, str, str], ...] = (
    (
        "match",
        "match",
        "SELECT {run: other, nearest: 'features/' || nearest, cosine: round(cosine::DOUBLE, 4),"
        " partner: 'features/' || partner, partner_cosine: round(partner_cosine::DOUBLE, 4)}"
        " FROM match JOIN me USING (idx) WHERE me.source = 'features' AND me.sign = 1"
        " ORDER BY other",
    ),
    (
        "map",
        "map_point",
        "SELECT {near: q.source || '/' || q.idx || CASE WHEN q.sign < 0 THEN '-' ELSE '' END,"
        " cosine: round(h.cosine::DOUBLE, 4)} FROM (SELECT p.digest, unnest(p.near) AS place,"
        " unnest(p.cosines) AS cosine, generate_subscripts(p.near, 1) AS nth"
        " FROM (SELECT * FROM map_point JOIN me USING (source, idx, sign)"
        " ORDER BY made_at DESC, digest LIMIT 1) p) h"
        f" JOIN map_point q USING (digest, place) WHERE h.nth <= {NEAR} ORDER BY h.nth",
    ),
    (
        "concepts",
        "concept",
        "SELECT {concept: concept, picked: picked, k: k, auroc: round(auroc, 4),"
        " low: round(low, 4), high: round(high, 4), f1: round(f1, 4)}"
        " FROM concept, me WHERE list_contains(units, me.unit)"
        " ORDER BY k, coalesce(auroc, f1) DESC, concept",
    ),
    (
        "cover",
        "cover",
        "SELECT {concept: concept, kind: kind, activation: round(activation, 4),"
        " description: description, rater: rater, status: status, is_main: is_main}"
        " FROM cover JOIN me USING (source, idx, sign) ORDER BY concept, rater, place",
    ),
    (
        "taken for",
        "guess",
        "SELECT {rubric: rubric, rater: rater, guess: guess} FROM unit_guess"
        " WHERE unit_id = (SELECT unit_id FROM me) AND guess IS NOT NULL ORDER BY rubric, rater",
    ),
)
ME = (
    "WITH me AS (SELECT ? AS source, ?::INTEGER AS idx, ?::INTEGER AS sign, ? AS unit,"
    " ?::INTEGER AS unit_id) "
)


def _whole_sources(
    run: Snapshot, unit: ListedUnit, index: int, sign: int
) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return what tables that are not of single units hold of one, by name; those that hold nothing
    of it, or are not there, are left out, and so are columns that are empty."""
    known = [unit.source, index, sign, unit.unit, unit.unit_id]
    held: dict[str, Sequence[Mapping[str, Any]]] = {}
    for name, table, question in WHOLE:
        rows = [row for (row,) in run.rows(ME + question, known)] if run.has_rows(table) else []
        filled = {key for row in rows for key, value in row.items() if value is not None}
        if rows:
            held[name] = [{key: row[key] for key in row if key in filled} for row in rows]
    return held


def _units_numbered(run: Snapshot, unit_id: int) -> list[ListedUnit]:
    rows = run.rows(
        "SELECT unit_id, unit, source, is_control, outcome, density, peak, token, NULL, '',"
        " description FROM listed_unit WHERE unit_id = ?",
        [unit_id],
    )
    return [ListedUnit(*row) for row in rows]


def _ratings(run: Snapshot, unit_id: int, repeats: int) -> Iterator[ListedRating]:
    for row in run.rows(
        "SELECT unit_id, rubric_digest, rater, repeat, status, score, description, rationale,"
        " rubric FROM unit_rating WHERE unit_id = ? AND repeat < ? ORDER BY rubric, rater, repeat",
        [unit_id, repeats],
    ):
        yield ListedRating(*row[:-1])


def _descriptions(run: Snapshot, unit_id: int) -> Iterator[ListedDescription]:
    for row in run.rows(
        "SELECT unit_id, explainer, status, description, rationale, promoted, suppressed"
        " FROM explanation WHERE unit_id = ? ORDER BY explainer",
        [unit_id],
    ):
        yield ListedDescription(*row)


@dataclass(frozen=True)
class StoredContext:
    """A context as the run holds it: tokens, and the unit's activation on each."""

    context_id: int
    unit_id: int
    draw: str
    interval: int | None
    split: str
    silent: bool
    focus: int | None
    document: int
    position: int
    tokens: Sequence[str]
    activations: Sequence[float]


def list_contexts(
    run: Snapshot, unit_id: int | None, split: str, draw: str, limit: int, offset: int
) -> tuple[int, list[StoredContext]]:
    """Return how many contexts there are, and `limit` of them from the place `offset` on.

    Raises UnknownName for a unit that is not there.
    """
    conditions, values = ["true"], []
    for column, value in (("unit_id", unit_id), ("split", split or None), ("draw", draw or None)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    where = " AND ".join(conditions)
    ((total,),) = run.rows(f"SELECT count(*) FROM context WHERE {where}", values)
    if not total and unit_id is not None:
        _require_unit(run, unit_id)
    contexts = []
    names = StoredContext.__dataclass_fields__
    for row in run.rows(
        "SELECT context_id, unit_id, draw, interval, split, silent, focus, document, position,"
        f" tokens, activations FROM context WHERE {where} ORDER BY context_id LIMIT ? OFFSET ?",
        [*values, limit, offset],
    ):
        *about, focus, document, position, tokens, activations = row
        whole, levels, marked = whole_characters(tokens, activations, focus)
        rest = (marked, document, position, list(whole), list(levels or ()))
        fields: dict[str, Any] = dict(zip(names, (*about, *rest), strict=True))
        contexts.append(StoredContext(**fields))
    return int(total), contexts
