"""Ratings + key → all that a run says, in numbers: `compare` returns it, `as_json` prints it.

Which source is scored higher, by how much, and how sure are we? Can the rater be trusted, do
raters agree, did the blind hold, and what are the descriptions worth?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from autointerp.errors import RubricError, TooFewRatings
from autointerp.findings import checks
from autointerp.findings.agreement import (
    Attention,
    RatersAgreement,
    TableAgreement,
    agreements,
    attention,
    between_raters,
    people_rubrics,
    within_raters,
)
from autointerp.findings.blinding import Blinding, blindings
from autointerp.findings.calibration import Calibration, calibrations
from autointerp.findings.descriptions import (
    ScorerResult,
    SpecificityResult,
    scorer_results_of,
    specificity_results_of,
)
from autointerp.findings.groups import PRIMARY, Judgement, Scale, make_contrasts, make_groups
from autointerp.findings.json_values import json_values
from autointerp.findings.labs import LabRows, lab_rows_of
from autointerp.findings.subject import SubjectFacts, subject_facts
from autointerp.findings.trust import trust, verdict
from autointerp.questions.rubric import rubric_from
from autointerp.questions.rubric_files import list_rubrics
from autointerp.records import SourceKind
from autointerp.stats.decision import EQUIVALENT
from autointerp.stats.results import HypothesisTest, Statistic
from autointerp.stats.superiority import holm
from autointerp.stats.van_elteren import RaterSuperiority, van_elteren
from autointerp.store.run import Run
from autointerp.units.sources import source_kinds

ALL_RATERS = "all raters"


@dataclass(frozen=True)
class Pooled:
    """The primary pair within each rater of a rubric, and combined over the raters.

    Attributes:
        raters: Whose estimates are combined.
        by_rater: Each rater's own, with its weight.
        left_out: Raters whose controls are not where they must be: never combined.
        unchecked: Raters that are combined though they rated too few controls to be checked.
        superiority: Combined probability of superiority; the units are what is counted. It speaks
            of these raters. Value None where no rater is left; the note says so.
        test: Of `superiority` = ½.
    """

    rubric: str
    raters: tuple[str, ...]
    by_rater: tuple[RaterSuperiority, ...]
    left_out: tuple[str, ...]
    unchecked: tuple[str, ...]
    first: str
    second: str
    superiority: Statistic
    test: HypothesisTest


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


@dataclass(frozen=True)
class Comparison:
    """All that a run's ratings say.

    Attributes:
        about: The run's run.toml.
        subject: What was studied: model, site, SAE, corpus.
        sources: What each source of units says of itself: role, names, colour.
        judgements: One a rubric and rater: its groups, contrasts, controls, check and verdict.
        pooled: The primary pair within each rater of a rubric, combined over them.
        agreement: Of the raters of each rubric with one another, and of each with its repeats.
        people: How people agree: with each other, with themselves, with each model.
        attention: How each person rated the gold items.
        calibration: People's means, predicted from a judge's ratings.
        blinding: What raters took the items for.
        scorers: How well descriptions predict firing, by scorer.
        specificity: How well descriptions fit contexts, by interval of activation.
        explained: Who described units.
        labs: What labs measured of units, one a lab.
        cost: One row a rater that was called: attempts, calls, errors, tokens_in, tokens_out,
            cost_usd, priced (attempts that have a price), waited_s, latency_median_s,
            latency_p95_s, first, last.
        imported: One row a file that units came from: file, form, units, contexts, sha256, notes.
        units: One row a unit: unit_id, source, idx, sign, density, tokens, peak, outcome, note,
            interval_tokens, token (at the peak of most strongest contexts, with its share),
            single_token.
        scores: One row a unit, rubric and rater: score (mean of repeats, NaN without one),
            repeats, ok, outcome (`ok` or what became of it), description (the first given).
        plans: One row a unit that `plan-humans` drew: unit_id, rubric_digest, plan, rater (the
            judge), stratum (by the judge's score), stratum_size.
    """

    run: str
    about: dict[str, Any]
    subject: SubjectFacts
    sources: dict[str, SourceKind]
    judgements: tuple[Judgement, ...]
    pooled: tuple[Pooled, ...]
    agreement: tuple[TableAgreement, ...]
    people: tuple[RatersAgreement, ...]
    attention: tuple[Attention, ...]
    calibration: tuple[Calibration, ...]
    blinding: tuple[Blinding, ...]
    scorers: tuple[ScorerResult, ...]
    specificity: tuple[SpecificityResult, ...]
    explained: tuple[Explained, ...]
    labs: tuple[LabRows, ...]
    cost: pd.DataFrame
    imported: pd.DataFrame
    units: pd.DataFrame
    scores: pd.DataFrame
    plans: pd.DataFrame

    @property
    def provenance(self) -> str:
        """Where ratings came from that autointerp did not take itself; empty for its own."""
        return str(self.about.get("provenance", {}).get("note", ""))

    @property
    def declared(self) -> bool:
        """Whether run.toml named the primary test before anything was rated."""
        return _declared(self.about)

    @property
    def explainers(self) -> list[str]:
        """Who described units, sorted."""
        return sorted({asked.explainer for asked in self.explained})

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; see `findings.json_values` for its form."""
        return json_values(self)


def compare(run: Run, level: float = 0.95) -> Comparison:
    """Return what the ratings of a run say; nothing is written.

    Without judgements where no unit was rated, but units were described or descriptions tried.
    Raises TooFewRatings if there is nothing of either.
    """
    _open_key(run)
    scores = run.frame("SELECT * FROM unit_score ORDER BY rubric, rubric_digest, rater, unit_id")
    if scores.empty and not run.rows("SELECT 1 FROM rating LIMIT 1"):
        raise TooFewRatings(
            f"run '{run.name}' has no ratings; `autointerp rate --run {run.name}` makes some"
        )
    units = _units(run)
    statuses = run.frame(
        "SELECT rubric_digest, rater, status, count(*) AS n FROM rated GROUP BY ALL"
    )
    scales = _scales(run)
    llm_raters = run.llm_raters()
    seed = run.settings.seed
    equivalence = _equivalence(run.about)
    judgements = []
    for (rubric, digest, rater), part in scores.groupby(["rubric", "rubric_digest", "rater"]):
        scale = scales.get(digest) or _observed_scale(part)
        of_rater = statuses[(statuses.rubric_digest == digest) & (statuses.rater == rater)]
        rng = np.random.default_rng([seed, *rater.encode(), *digest.encode()])
        groups = dict(make_groups(part, units, scale, level))
        contrasts = tuple(make_contrasts(groups, scale, rng, level, equivalence))
        trusted = trust(groups, scale)
        judgements.append(
            Judgement(
                run=run.name,
                rubric=rubric,
                rubric_digest=digest,
                rater=rater,
                is_llm=llm_raters.get(rater),
                scale=scale,
                repeats=int(part.repeats.max()),
                statuses={row.status: int(row.n) for row in of_rater.itertuples()},
                groups=groups,
                contrasts=contrasts,
                trust=trusted,
                verdict=verdict(groups, contrasts, trusted, declared=False),  # after adjustment
                check=checks.latest_check(rater, digest, run.path.parent),
            )
        )
    judgements = list(_adjusted(judgements, _declared(run.about)))
    plans = run.frame(
        "SELECT i.unit_id, p.rubric_digest, p.plan, p.rater, p.score AS stratum,"
        " p.stratum_size FROM human_plan p JOIN unit_item i USING (item_id)"
        " ORDER BY plan, unit_id"
    )
    rubrics = people_rubrics(judgements)
    return Comparison(
        run=run.name,
        about=run.about,
        subject=subject_facts(run),
        sources=source_kinds(run),
        judgements=tuple(judgements),
        pooled=tuple(_pooled(judgements, scores, units, level)),
        agreement=(
            *between_raters(run.name, judgements, scores, units),
            *within_raters(run, judgements, units),
        ),
        people=tuple(pair for rubric in rubrics for pair in agreements(run, rubric)),
        attention=tuple(watched for rubric in rubrics for watched in attention(run, rubric)),
        calibration=tuple(calibrations(run.name, judgements, scores, units, plans)),
        blinding=tuple(blindings(run, judgements)),
        scorers=tuple(scorer_results_of(run)),
        specificity=tuple(specificity_results_of(run)),
        explained=tuple(_explained(run)),
        labs=tuple(lab_rows_of(run)),
        cost=_cost(run),
        imported=_imported(run),
        units=units,
        scores=scores,
        plans=plans,
    )


# ------------------------------------------------------------------------------ the key


def _open_key(run: Run) -> None:
    """Put ratings and contexts beside their units, for the rest of the run's connection.

    Tables `rated` and `unit_score`; views `said` (ratings whole) and `shown` (contexts seen).
    """
    run.execute(
        "CREATE OR REPLACE TEMP VIEW shown AS"
        " SELECT unit_id, unnest(contexts) AS context_id FROM unit_item"
        " UNION SELECT unit_id, unnest(contexts) FROM explanation"
    )
    run.execute("CREATE OR REPLACE TEMP VIEW said AS SELECT * FROM unit_rating")
    run.execute(
        "CREATE OR REPLACE TEMP TABLE rated AS"
        " SELECT unit_id, rubric, rubric_digest, rater, repeat, status, score, description"
        " FROM unit_rating"
    )
    run.execute(
        "CREATE OR REPLACE TEMP TABLE unit_score AS"
        " SELECT unit_id, rubric, rubric_digest, rater, avg(score)::DOUBLE AS score,"
        " count(*)::INTEGER AS repeats, count(score)::INTEGER AS ok,"
        " CASE WHEN count(score) > 0 THEN 'ok' ELSE arg_max(status, repeat) END AS outcome,"
        " arg_min(description, repeat) AS description"
        " FROM rated GROUP BY unit_id, rubric, rubric_digest, rater"
    )


def _units(run: Run) -> pd.DataFrame:
    """Return the units of the run, indexed by unit_id, with the token of their peaks.

    A unit is explained by a single token where the same one, case and spaces round it aside,
    stands at the peak of all of its strongest contexts, 20 of them if so many are stored
    (SEEDS §2).
    """
    return run.frame(
        "WITH strongest AS ("
        "  SELECT unit_id, coalesce(nullif(lower(trim(tokens[focus + 1])), ''), tokens[focus + 1])"
        "    AS token, row_number() OVER ("
        "    PARTITION BY unit_id ORDER BY activations[focus + 1] DESC, context_id) AS place"
        "  FROM context WHERE draw = 'top'"
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


def _scales(run: Run) -> dict[str, Scale]:
    """Return the scale of each rubric that the run holds or that is shipped, by digest."""
    try:
        rubrics = list_rubrics()
    except RubricError:
        rubrics = []
    rubrics += map(rubric_from, run.rubric_contents().values())
    return {rubric.digest: Scale(rubric.scale, rubric) for rubric in rubrics}


def _observed_scale(scores: pd.DataFrame) -> Scale:
    seen = scores.score.dropna()
    low, high = (int(np.floor(seen.min())), int(np.ceil(seen.max()))) if len(seen) else (0, 1)
    return Scale(tuple((score, "") for score in range(low, max(high, low + 1) + 1)), None)


def _explained(run: Run) -> Iterator[Explained]:
    for row in run.rows(
        "SELECT explainer, task, u.source, count(*), count(promoted), max(len(contexts))"
        " FROM explanation JOIN unit u USING (unit_id) GROUP BY ALL ORDER BY ALL"
    ):
        yield Explained(*row)


def _cost(run: Run) -> pd.DataFrame:
    return run.frame(
        "SELECT rater, count(*) AS attempts, count(DISTINCT call_key) AS calls,"
        " count(*) FILTER (stop = 'error') AS errors,"
        " sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,"
        " sum(cost_usd) AS cost_usd, count(cost_usd) AS priced, sum(latency_s) AS waited_s,"
        " quantile_cont(latency_s, 0.5) AS latency_median_s,"
        " quantile_cont(latency_s, 0.95) AS latency_p95_s,"
        " min(made_at) AS first, max(made_at) AS last"
        " FROM call GROUP BY rater ORDER BY rater"
    )


def _imported(run: Run) -> pd.DataFrame:
    """Return the files that units came from; no row where they were harvested."""
    return run.frame(
        "SELECT file, form, units, contexts, sha256, notes FROM imported WHERE ?"
        " ORDER BY made_at, file",
        [run.is_imported],
    )


# ------------------------------------------------------------------------------ the run


def _declared(about: Mapping[str, Any]) -> bool:
    return bool(about["analysis"].get("declared_before_rating", True))


def _equivalence(about: Mapping[str, Any]) -> tuple[float, float]:
    """Return the equivalence bounds that run.toml names, or those of this version."""
    low, high = about["analysis"].get("equivalence", EQUIVALENT)
    return float(low), float(high)


def _adjusted(judgements: Sequence[Judgement], declared: bool) -> Iterator[Judgement]:
    """Put in Holm's p-values, and the verdicts that follow from them.

    The primary tests of the run are one family, the others another.
    """
    p_values: dict[bool, dict[tuple[int, str, str], float | None]] = {True: {}, False: {}}
    for place, judgement in enumerate(judgements):
        for contrast in judgement.contrasts:
            p_values[contrast.primary][place, contrast.first, contrast.second] = (
                contrast.test.p_value
            )
    adjusted = {primary: holm(family) for primary, family in p_values.items()}
    for place, judgement in enumerate(judgements):
        contrasts = tuple(
            replace(
                contrast, holm_p=adjusted[contrast.primary][place, contrast.first, contrast.second]
            )
            for contrast in judgement.contrasts
        )
        yield replace(
            judgement,
            contrasts=contrasts,
            verdict=verdict(judgement.groups, contrasts, judgement.trust, declared),
        )


def _pooled(
    judgements: Sequence[Judgement], scores: pd.DataFrame, units: pd.DataFrame, level: float
) -> Iterator[Pooled]:
    """Yield the primary pair over the raters of a rubric, where several rated both sources."""
    trusted = {(j.rubric_digest, j.rater): j.trust.state for j in judgements}
    for (rubric, digest), part in scores.groupby(["rubric", "rubric_digest"]):
        table = part.pivot(index="unit_id", columns="rater", values="score")
        source = units.source.loc[table.index]
        first, second = (table[source == name] for name in PRIMARY)
        raters = [r for r in table if first[r].notna().any() and second[r].notna().any()]
        if len(raters) < 2:
            continue
        kept = [rater for rater in raters if trusted[digest, rater] != "broken"]
        if kept:
            combined = van_elteren(first[kept].to_numpy(), second[kept].to_numpy(), kept, level)
            estimate, test, by_rater = combined.superiority, combined.test, combined.raters
        else:
            why = "the controls of every rater are not where they must be"
            estimate = Statistic(None, None, None, (0, 0), "", level, why)
            test, by_rater = HypothesisTest(None, None, "", why), ()
        yield Pooled(
            rubric=rubric,
            raters=tuple(kept),
            by_rater=by_rater,
            left_out=tuple(rater for rater in raters if rater not in kept),
            unchecked=tuple(rater for rater in kept if trusted[digest, rater] == "unknown"),
            first=PRIMARY[0],
            second=PRIMARY[1],
            superiority=estimate,
            test=test,
        )


# ------------------------------------------------------------------------------ storage


def estimate_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the estimates as rows of the table `estimate`."""
    rows = []

    def add(
        name: str, groups: Sequence[str], rubric: str, rater: str, estimate: Statistic | None
    ) -> None:
        if estimate is not None:
            rows.append(
                {
                    "name": name,
                    "groups": list(groups),
                    "rubric": rubric,
                    "rater": rater,
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "level": estimate.level,
                    "n": list(estimate.n),
                    "method": estimate.method,
                    "note": estimate.note,
                }
            )

    for judgement in comparison.judgements:
        for group in judgement.groups.values():
            add("mean", [group.source], judgement.rubric, judgement.rater, group.mean)
            add("median", [group.source], judgement.rubric, judgement.rater, group.median)
        for contrast in judgement.contrasts:
            pair = (contrast.first, contrast.second)
            add("p_superiority", pair, judgement.rubric, judgement.rater, contrast.superiority)
            for name in ("wins", "ties", "losses"):
                share = getattr(contrast.pairs, name)
                add(name, pair, judgement.rubric, judgement.rater, share)
            add("cliffs_delta", pair, judgement.rubric, judgement.rater, contrast.delta)
            add("mean_difference", pair, judgement.rubric, judgement.rater, contrast.difference)
            adjusted = contrast.adjusted.superiority if contrast.adjusted else None
            add("p_superiority_like_density", pair, judgement.rubric, judgement.rater, adjusted)
            add(
                "p_superiority_several_tokens",
                pair,
                judgement.rubric,
                judgement.rater,
                contrast.several_tokens,
            )
    for pooled in comparison.pooled:
        pair = (pooled.first, pooled.second)
        add("p_superiority", pair, pooled.rubric, ALL_RATERS, pooled.superiority)
    return rows
