"""What a comparison reads of a run: units, ratings and who gave them, costs, and people's plans."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autointerp.errors import RubricError
from autointerp.findings.calibration import Shown
from autointerp.findings.groups import Scale, ScoreErrors
from autointerp.questions.rubric import rubric_from
from autointerp.questions.rubric_files import list_rubrics
from autointerp.records import is_person
from autointerp.store.run import Run

# What most runs hold nothing of; to ask for it takes long all the same.
SELDOM = (
    "attributed", "concept", "cover_concept", "guess", "human_session", "lab", "map_source",
    "match_side", "probe",
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """Units of one source that an explainer was asked to describe.

    Attributes:
        task: The question's id.
        with_effects: Units that were shown by their effects on the logits too.
        most_contexts: Contexts shown of a unit, at most.
    """

    explainer: str
    task: str
    source: str
    units: int
    with_effects: int
    most_contexts: int


def open_key(run: Run) -> None:
    """Put ratings beside their units, in the tables `rated` and `unit_score`, for the rest of the
    run's connection."""
    run.execute(
        "CREATE OR REPLACE TEMP TABLE rated AS"
        " SELECT unit_id, rubric, rubric_digest, rater, repeat, status, score, description,"
        " rater_version"
        " FROM current_rating JOIN key USING (item_id)"
    )
    run.execute(
        "CREATE OR REPLACE TEMP TABLE unit_score AS"
        " SELECT unit_id, rubric, rubric_digest, rater, avg(score)::DOUBLE AS score,"
        " count(*)::INTEGER AS repeats, count(score)::INTEGER AS ok,"
        " CASE WHEN count(score) > 0 THEN 'ok' ELSE arg_max(status, repeat) END AS outcome,"
        " arg_min(description, repeat) AS description"
        " FROM rated GROUP BY unit_id, rubric, rubric_digest, rater"
    )


def units_of(run: Run) -> pd.DataFrame:
    """Return the units of the run, indexed by unit_id, with the token of their peaks.

    A unit is explained by a single token where the same one, case and spaces round it aside,
    stands at the peak of all of its strongest contexts, 20 of them if so many are stored
    (SEEDS §2).
    """
    return run.frame(
        "WITH strongest AS ("
        "  SELECT unit_id, coalesce(nullif(lower(trim(shown)), ''), shown)"
        "    AS token, row_number() OVER ("
        "    PARTITION BY unit_id ORDER BY activations[focus + 1] DESC, context_id) AS place"
        "  FROM (SELECT unit_id, context_id, activations, focus,"
        "    CASE WHEN tokens[focus + 1] <> '' THEN tokens[focus + 1]"  # else within a character
        "    ELSE coalesce([t for t in tokens[1:focus + 1] if t <> ''][-1], '') END AS shown"
        "    FROM context WHERE draw = 'top')"
        "), counted AS ("
        "  SELECT unit_id, token, count(*) AS times FROM strongest WHERE place <= 20 GROUP BY ALL"
        "), peak_token AS ("
        "  SELECT unit_id, arg_max(token, (times, token)) AS token,"
        "    max(times) / sum(times) AS token_share FROM counted GROUP BY unit_id"
        ") SELECT u.unit_id, u.source, s.is_control, u.idx, u.sign, u.ord, u.outcome, u.density,"
        " u.tokens, u.peak, u.interval_tokens, u.note, p.token, p.token_share,"
        " (p.token_share = 1)::DOUBLE AS single_token"
        " FROM unit u JOIN source s USING (source) LEFT JOIN peak_token p USING (unit_id)"
        " ORDER BY u.unit_id"
    ).set_index("unit_id", drop=False)


def held_tables(run: Run) -> set[str]:
    """Return those of the tables `SELDOM` that hold anything, by one query for all."""
    one_each = " UNION ALL ".join(f"(SELECT '{table}' FROM {table} LIMIT 1)" for table in SELDOM)
    return {table for (table,) in run.rows(one_each)}


def statuses_of(run: Run) -> dict[tuple[str, str], dict[str, int]]:
    """Return by rubric's digest and rater how many ratings have each status, `ok` first."""
    statuses: dict[tuple[str, str], dict[str, int]] = {}
    for digest, rater, status, n in run.rows(
        "SELECT rubric_digest, rater, status, count(*) FROM rated"
        " GROUP BY rubric_digest, rater, status ORDER BY status <> 'ok', status"
    ):
        statuses.setdefault((digest, rater), {})[status] = n
    return statuses


def versions_of(run: Run) -> dict[tuple[str, str], dict[str | None, int]]:
    """Return the versions of raters that gave their scores, with how many, by rubric's digest and
    rater."""
    versions: dict[tuple[str, str], dict[str | None, int]] = {}
    for digest, rater, version, n in run.rows(
        "SELECT rubric_digest, rater, rater_version, count(*) FROM rated"
        " WHERE status = 'ok' AND NOT is_person(rater) GROUP BY ALL ORDER BY ALL"
    ):
        versions.setdefault((digest, rater), {})[version] = n
    return versions


def models_of(run: Run) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the models that servers said they answered with, by rubric's digest and rater; with ""
    as the digest those of a rater that has one for all that it was asked."""
    # By names alone first: nearly always each has one model, and a million calls need no join.
    named = run.rows(
        "SELECT rater, min(model), max(model) FROM call WHERE stop <> 'error'"
        " AND model IS NOT NULL AND model <> rater GROUP BY rater"
    )
    models: dict[tuple[str, str], tuple[str, ...]] = {
        ("", rater): (first,) for rater, first, last in named if first == last
    }
    if len(models) == len(named):
        return models
    by_question = {
        (digest, rater): tuple(names)
        for digest, rater, names in run.rows(
            "SELECT r.rubric_digest, r.rater, list_sort(list(DISTINCT c.model)) AS models"
            " FROM unit_rating r JOIN call c USING (call_key)"
            " WHERE r.status = 'ok' AND c.stop <> 'error' AND c.model IS NOT NULL"
            " AND c.model <> c.rater GROUP BY ALL"
        )
    }
    return {**models, **by_question}


def score_errors_of(run: Run) -> dict[tuple[str, str], ScoreErrors]:
    """Return by rubric's digest and rater how sure raters are of scores, as their replies say."""
    told = "contains(c.details::VARCHAR, '\"scores_within\"')"
    if not run.rows(f"SELECT 1 FROM call c WHERE {told} LIMIT 1"):
        return {}
    return {
        (digest, rater): ScoreErrors(int(units), float(mean), int(unsettled))
        for digest, rater, units, mean, unsettled in run.rows(
            "SELECT rubric_digest, rater, count(DISTINCT unit_id), avg(error),"
            " count(DISTINCT unit_id) FILTER (low <> high) FROM ("
            "  SELECT r.rubric_digest, r.rater, r.unit_id,"
            "  try_cast(c.details ->> '$.standard_error' AS DOUBLE) AS error,"
            "  c.details ->> '$.scores_within[0]' AS low,"
            "  c.details ->> '$.scores_within[1]' AS high"
            "  FROM unit_rating r JOIN call c USING (call_key)"
            "  WHERE r.status = 'ok' AND c.stop <> 'error'"
            f"  AND {told}"
            " ) WHERE error IS NOT NULL GROUP BY ALL"
        )
    }


def scales_of(run: Run) -> dict[str, Scale]:
    """Return the scale of each rubric that the run holds or that is shipped, by digest."""
    try:
        rubrics = list_rubrics()
    except RubricError:
        rubrics = []
    rubrics += map(rubric_from, run.rubric_contents().values())
    return {rubric.digest: Scale(rubric.scale, rubric) for rubric in rubrics}


def observed_scale(scores: pd.DataFrame) -> Scale:
    seen = scores.score.dropna()
    low, high = (int(np.floor(seen.min())), int(np.ceil(seen.max()))) if len(seen) else (0, 1)
    return Scale(tuple((score, "") for score in range(low, max(high, low + 1) + 1)), None)


def explained_of(run: Run) -> Iterator[Explained]:
    for row in run.rows(
        "SELECT explainer, task, u.source, count(*), count(promoted), max(len(contexts))"
        " FROM explanation JOIN unit u USING (unit_id) GROUP BY ALL ORDER BY ALL"
    ):
        yield Explained(*row)


def costs_of(run: Run) -> pd.DataFrame:
    return run.frame(
        "SELECT rater, count(*) AS attempts, count(DISTINCT call_key) AS calls,"
        " count(*) FILTER (stop = 'error') AS errors,"
        " sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,"
        " sum(cost_usd) AS cost_usd,"
        " count(*) FILTER (cost_usd IS NOT NULL OR stop = 'error') AS priced,"
        " any_value(charged_usd) AS charged_usd, sum(latency_s) AS waited_s,"
        " quantile_cont(latency_s, 0.5) AS latency_median_s,"
        " quantile_cont(latency_s, 0.95) AS latency_p95_s,"
        " min(made_at) AS first, max(made_at) AS last"
        " FROM call LEFT JOIN (SELECT rater, sum(usd) AS charged_usd FROM charge GROUP BY rater)"
        " USING (rater) GROUP BY rater ORDER BY rater"
    )


def human_plans(run: Run) -> pd.DataFrame:
    """Return the units that `plan-humans` drew; a run of before drew all by the judge's score."""
    plans = run.frame(
        "SELECT k.unit_id, p.* FROM human_plan p JOIN key k USING (item_id) ORDER BY plan, unit_id"
    )
    if "drawn_by" not in plans:  # a file that could not be brought up to date
        plans = plans.assign(drawn_by=None, uncertainty=np.nan)
    if "contexts" not in plans:
        plans = plans.assign(contexts=np.nan)
    plans = plans.assign(drawn_by=plans.drawn_by.fillna("score"), stratum=plans.score)
    return plans[
        ["unit_id", "rubric_digest", "plan", "rater", "drawn_by", "stratum", "stratum_size",
         "stratum_drawn", "inclusion", "uncertainty", "contexts"]
    ]  # fmt: skip


def short_of_contexts(run: Run) -> dict[tuple[str, str], dict[str, int]]:
    """Return by rubric's digest and person: units that had fewer contexts than a sitting showed of
    each, by source, the most of all sittings."""
    short: dict[tuple[str, str], dict[str, int]] = {}
    for digest, rater, counts in run.rows(
        "SELECT DISTINCT s.rubric_digest, a.rater, s.left_out FROM human_session s"
        " JOIN human_answer a USING (session_id) WHERE a.kind = 'rating' ORDER BY ALL"
    ):
        most = short.setdefault((digest, rater), {})
        for source, n in json.loads(counts).items():
            most[source] = max(n, most.get(source, 0))
    return short


def shown_to_people(
    run: Run, scales: Mapping[str, Scale], scores: pd.DataFrame, plans: pd.DataFrame, sat: bool
) -> dict[str, Shown]:
    """Return by rubric's digest how many contexts people were shown of each unit, the most of all
    sittings (where people `sat`) and draws, and the rated units that have fewer."""
    numbers: dict[str, int] = {}
    if sat:
        numbers = dict(
            run.rows(
                "SELECT rubric_digest, max(contexts) FROM human_session WHERE session_id IN"
                " (SELECT session_id FROM human_answer WHERE kind = 'rating') GROUP BY 1"
            )
        )
    by_people = scores[scores.rater.map(is_person).astype(bool)]
    for digest, part in by_people.groupby("rubric_digest"):
        drawn = plans[(plans.rubric_digest == digest) & plans.unit_id.isin(part.unit_id)]
        if drawn.contexts.notna().any():
            numbers[digest] = max(numbers.get(digest, 0), int(drawn.contexts.max()))
    shown = {}
    for digest, number in numbers.items():
        scale = scales.get(digest)
        shows = scale.rubric.shows if scale is not None and scale.rubric is not None else None
        rows = run.rows(
            "WITH held AS (SELECT unit_id, count(*) AS n FROM context"
            "  WHERE split = ? AND list_contains(?::VARCHAR[], draw) GROUP BY 1),"
            " made AS (SELECT unit_id, len(contexts) AS n FROM unit_item"
            "  WHERE rubric_digest = ? AND evidence = 'shown')"
            " SELECT unit_id FROM (SELECT DISTINCT unit_id FROM rated WHERE rubric_digest = ?)"
            " LEFT JOIN held USING (unit_id) LEFT JOIN made USING (unit_id)"
            " WHERE coalesce(made.n, held.n, 0) < ? ORDER BY 1",
            [
                shows.split if shows else "",
                list(shows.draws) if shows else [],
                digest,
                digest,
                number if shows else 0,
            ],
        )
        shown[digest] = Shown(number, tuple(row[0] for row in rows))
    return shown


def imported_files(run: Run) -> pd.DataFrame:
    """Return the files that units came from; no row where they were harvested."""
    return run.frame(
        "SELECT file, form, units, contexts, sha256, notes FROM imported WHERE ?"
        " ORDER BY made_at, file",
        [run.is_imported],
    )
