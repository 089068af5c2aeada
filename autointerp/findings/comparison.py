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

from autointerp.errors import BadInput, TooFewRatings
from autointerp.findings import checks
from autointerp.findings.agreement import (
    Attention,
    ContextsShown,
    RatersAgreement,
    TableAgreement,
    TextAskedFor,
    agreements,
    attention,
    between_raters,
    contexts_shown,
    people_rubrics,
    text_asked_for,
    within_raters,
)
from autointerp.findings.answers import unit_scores
from autointerp.findings.attributed import Attributed, attributions_of
from autointerp.findings.blinding import Blinding, blindings
from autointerp.findings.calibration import Calibration, calibrations, unlike_draw
from autointerp.findings.cover import Cover, covers_of
from autointerp.findings.descriptions import (
    ScorerResult,
    SpecificityResult,
    scorer_results,
    specificity_results_of,
)
from autointerp.findings.groups import (
    Contrast,
    Group,
    Judgement,
    make_contrasts,
    make_groups,
)
from autointerp.findings.importance import Use, uses
from autointerp.findings.json_values import json_values
from autointerp.findings.known import KnownConcepts, known_concepts_of
from autointerp.findings.labs import LabRows, lab_rows_of
from autointerp.findings.looks import (
    Compared,
    Estimate,
    Look,
    Reading,
    looks_of,
    take_look,
    take_look_across,
)
from autointerp.findings.mapped import Mapped, maps_of
from autointerp.findings.matched import MatchedRun, matches_of
from autointerp.findings.plan import Plan, level_of, plan_of, primary_pair
from autointerp.findings.rater_effects import RaterModel, rater_models
from autointerp.findings.rows import (
    Explained,
    costs_of,
    explained_of,
    held_tables,
    human_plans,
    imported_files,
    models_of,
    observed_scale,
    open_key,
    scales_of,
    score_errors_of,
    short_of_contexts,
    shown_to_people,
    statuses_of,
    units_of,
    versions_of,
)
from autointerp.findings.subject import SubjectFacts, about_elsewhere, subject_facts
from autointerp.findings.trust import trust, verdict
from autointerp.records import SourceKind, is_person, without_panels
from autointerp.stats.decision import EQUIVALENT
from autointerp.stats.results import HypothesisTest, Statistic
from autointerp.stats.superiority import cliffs_delta, holm_unfinished
from autointerp.stats.van_elteren import RaterSuperiority, van_elteren
from autointerp.store.run import Run
from autointerp.units.sources import source_kinds

ALL_RATERS = "all raters"
NO_TEST = HypothesisTest(None, None, "", "scorers are compared by the interval alone")
NO_POOLED_TEST = "after several looks, see whether the interval leaves ½ out"


@dataclass(frozen=True)
class Pooled:
    """The primary pair within each rater of a rubric, and combined over the raters.

    Attributes:
        raters: Whose estimates are combined.
        by_rater: Each rater's own, with its weight.
        left_out: Raters that fail their controls or their check: never combined.
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
class Comparison:
    """All that a run's ratings say.

    Attributes:
        about: The run's run.toml, as `about_elsewhere` gives it.
        subject: What was studied: model, site, SAE, corpus.
        plan: What was declared before the first rating; None where nothing was.
        level: Nominal coverage of the intervals about ratings.
        looks: The ledger: every comparison of two sources on ratings that were new to it, the
            present ones included.
        sources: What each source of units says of itself: role, names, colour.
        judgements: One a rubric and rater: its groups, contrasts, controls, check and verdict.
        pooled: The primary pair within each rater of a rubric, combined over them.
        agreement: Of the raters of each rubric with one another, and of each with its repeats.
        people: How people agree: with each other, with themselves, with each model.
        attention: How each person rated the gold items.
        text_asked_for: Of how many items each person asked for more text than a judge is shown.
        contexts_shown: How many contexts of a unit each person was shown, one a number of them.
        rater_effects: Severity and spread of raters, and drift of people, one a rubric.
        calibration: People's means and P(superiority), predicted from a judge's ratings, and
            whether the judge may stand in for them.
        blinding: What raters took the items for.
        scorers: How well descriptions predict firing, by scorer.
        specificity: How well descriptions fit contexts, by interval of activation.
        explained: Who described units.
        labs: What labs measured of units, one a lab.
        attributions: Which units logit differences come from, one a prompt and pair of tokens.
        known: Which units know concepts of known truth, one a file or list of labels.
        covers: Which concepts of a list units are about, one a source and rater.
        matches: How the run's features are found in the dictionaries of other runs, one a run.
        maps: How far the run's maps may be trusted, one a map.
        use: Mean scores per unit of use, one a rubric and rater; empty where the lab `importance`
            has measured no unit.
        cost: One row a rater that was called: attempts, calls, errors, tokens_in, tokens_out,
            cost_usd, priced (attempts that have a price, or were refused), charged_usd (at most,
            for calls that may be billed at a cost that is not known; NaN for none), waited_s,
            latency_median_s, latency_p95_s, first, last.
        imported: One row a file that units came from: file, form, units, contexts, sha256, notes.
        units: One row a unit: unit_id, source, idx, sign, density, tokens, peak, outcome, note,
            interval_tokens, token (at the peak of most strongest contexts, with its share),
            single_token.
        scores: One row a unit, rubric and rater: score (mean of repeats, NaN without one),
            repeats, ok, outcome (`ok` or what became of it), description (the first given).
        plans: One row a unit that `plan-humans` drew: unit_id, rubric_digest, plan, rater (the
            judge), drawn_by (`score` or `uncertainty` of the judge), stratum (the judge's score),
            stratum_size (units of that score; of the source where drawn by uncertainty),
            stratum_drawn, inclusion (probability of the draw), uncertainty, contexts (that each
            has at least; NaN in a run of before).
    """

    run: str
    about: dict[str, Any]
    subject: SubjectFacts
    plan: Plan | None
    level: float
    looks: tuple[Look, ...]
    sources: dict[str, SourceKind]
    judgements: tuple[Judgement, ...]
    pooled: tuple[Pooled, ...]
    agreement: tuple[TableAgreement, ...]
    people: tuple[RatersAgreement, ...]
    attention: tuple[Attention, ...]
    text_asked_for: tuple[TextAskedFor, ...]
    contexts_shown: tuple[ContextsShown, ...]
    rater_effects: tuple[RaterModel, ...]
    calibration: tuple[Calibration, ...]
    blinding: tuple[Blinding, ...]
    scorers: tuple[ScorerResult, ...]
    specificity: tuple[SpecificityResult, ...]
    explained: tuple[Explained, ...]
    labs: tuple[LabRows, ...]
    attributions: tuple[Attributed, ...]
    known: tuple[KnownConcepts, ...]
    covers: tuple[Cover, ...]
    matches: tuple[MatchedRun, ...]
    maps: tuple[Mapped, ...]
    use: tuple[Use, ...]
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
    def primary(self) -> tuple[str, str]:
        """The two sources that are compared before all others: the plan's, else features and
        neurons."""
        return primary_pair(self.plan)

    @property
    def explainers(self) -> list[str]:
        """Who described units, sorted."""
        return sorted({asked.explainer for asked in self.explained})

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; see `findings.json_values` for its form."""
        return json_values(self)


def compare(run: Run, level: float | None = None, verb: str = "compare") -> Comparison:
    """Return what the ratings of a run say, and leave a line in its ledger of looks.

    Without judgements where no unit was rated, but units were described, descriptions tried, or
    units measured: by labs, attributions, concepts, covers, matches or maps.
    Nothing else is written; a run that cannot be written to is compared all the same, and its
    looks say that they are not recorded.

    Args:
        level: Nominal coverage of intervals; None for the plan's, else 95 %.
        verb: Who looks, for the ledger.

    Raises TooFewRatings if there is neither a rating nor a description nor a measurement.
    """
    if level is not None and not 0 < level < 1:
        raise BadInput(f"level {level}: give the coverage of intervals, such as 0.95")
    open_key(run)
    scores = run.frame("SELECT * FROM unit_score ORDER BY rubric, rubric_digest, rater, unit_id")
    # What was said of concepts and units, by `cover`, is no rating of a unit.
    others = "SELECT 1 FROM rating WHERE NOT starts_with(item_id, 'cover-') LIMIT 1"
    held = held_tables(run)
    labs = tuple(lab_rows_of(run)) if "lab" in held else ()
    plan = plan_of(run)
    level = level if level is not None else level_of(plan)
    known = tuple(known_concepts_of(run, level)) if "concept" in held else ()
    attributions = tuple(attributions_of(run)) if "attributed" in held else ()
    covers = tuple(covers_of(run, level)) if "cover_concept" in held else ()
    matches = tuple(matches_of(run)) if "match_side" in held else ()
    maps = tuple(maps_of(run)) if "map_source" in held else ()
    measured = bool(labs or attributions or known or covers or matches or maps)
    if scores.empty and not measured and not run.rows(others):
        raise TooFewRatings(
            f"run '{run.name}' has no ratings, descriptions or measurements; `autointerp rate "
            f"--run {run.name}` rates its units"
        )
    units = units_of(run)
    statuses = statuses_of(run)
    versions, models = versions_of(run), models_of(run)
    score_errors = score_errors_of(run)
    scales = scales_of(run)
    llm_raters = run.llm_raters()
    seed = run.settings.seed
    equivalence = plan.equivalence if plan else EQUIVALENT
    pair = primary_pair(plan)
    family = _tests(scores, units)
    plans, short = human_plans(run), short_of_contexts(run) if "human_session" in held else {}
    reads_all = set(
        run.rows(
            "SELECT DISTINCT i.rubric_digest, r.rater FROM rating r JOIN item i USING (item_id)"
            " WHERE i.evidence = 'all'"
        )
    )
    judgements = []
    looks: list[Look] = []
    for (rubric, digest, rater), part in scores.groupby(["rubric", "rubric_digest", "rater"]):
        scale = scales.get(digest) or observed_scale(part)
        scored = pd.Index(part.unit_id[part.score.notna()])
        scored = scored[~units.is_control.loc[scored].to_numpy(bool)]
        rng = np.random.default_rng([seed, *rater.encode(), *digest.encode()])
        groups = dict(make_groups(part, units, scale, level))
        contrasts = tuple(make_contrasts(groups, scale, rng, level, equivalence, pair, family))
        trusted = trust(groups, scale)
        of_version = versions.get((digest, rater), {})
        answered_by = models.get((digest, rater), models.get(("", rater), ()))
        check = checks.latest_check(rater, digest, run.path.parent, list(of_version), answered_by)
        judgement = Judgement(
            run=run.name,
            rubric=rubric,
            rubric_digest=digest,
            rater=rater,
            is_llm=llm_raters.get(rater),
            scale=scale,
            repeats=int(part.repeats.max()),
            statuses=statuses.get((digest, rater), {}),
            groups=groups,
            contrasts=contrasts,
            trust=trusted,
            verdict=verdict(groups, contrasts, trusted, declared=False),  # after adjustment
            check=check,
            check_state=None
            if is_person(rater) or rater.startswith("scripted")
            else checks.check_state(check, list(of_version), answered_by),
            versions=tuple(of_version.items()),
            models=answered_by if len(answered_by) > 1 else (),
            score_errors=score_errors.get((digest, rater)),
            drawn=unlike_draw(plans[plans.rubric_digest == digest], scored, units.source)
            if is_person(rater)
            else None,
            reads_all=(digest, rater) in reads_all,
            short=short.get((digest, rater), {}),
        )
        if judgement.decisive is not None:
            decisive = judgement.decisive
            compared = _compared(judgement, decisive)
            reading, look = take_look(run, compared, plan, level, verb, decisive.test)
            looks.append(look)
            as_read = []
            for contrast in contrasts:
                own = reading
                if contrast is not decisive:
                    if groups[contrast.first].is_control or groups[contrast.second].is_control:
                        as_read.append(contrast)
                        continue
                    compared = _compared(judgement, contrast)
                    own, look = _look_beside(run, compared, contrast.test, reading, verb)
                    looks.append(look)
                as_read.append(_as_read(contrast, groups, own))
            judgement = replace(judgement, contrasts=tuple(as_read), reading=reading)
        judgements.append(judgement)
    judgements = list(_adjusted(judgements, plan))
    scorers = []
    for result in scorer_results(unit_scores(run), pair, level):
        if result.contrast is not None:
            compared = _compared_scores(result)
            reading, look = take_look(run, compared, None, level, verb, NO_TEST)
            looks.append(look)
            result = replace(result, contrast=reading.interval(*compared.scores), reading=reading)
        scorers.append(result)

    def look_by_people(compared: Compared, estimate: Estimate) -> Reading:
        reading, look = take_look_across([run], compared, None, level, verb, estimate)
        looks.append(look)
        return reading

    sat = "human_session" in held
    shown = shown_to_people(run, scales, scores, plans, sat)
    by_people = tuple(
        calibrations(run.name, judgements, scores, units, plans, look_by_people, level, shown, pair)
    )
    rubrics = people_rubrics(judgements)
    return Comparison(
        run=run.name,
        about=about_elsewhere(run),
        subject=subject_facts(run),
        plan=plan,
        level=level,
        looks=(*looks_of(run), *(look for look in looks if not look.recorded)),
        sources=source_kinds(run),
        judgements=tuple(judgements),
        pooled=tuple(_pooled(judgements, scores, units, level, pair)),
        agreement=(
            *between_raters(run.name, judgements, scores, units, level),
            *within_raters(run, judgements, units, level),
        ),
        people=tuple(pair for rubric in rubrics for pair in agreements(run, rubric, level=level)),
        attention=tuple(watched for rubric in rubrics for watched in attention(run, rubric)),
        text_asked_for=tuple(one for rubric in rubrics for one in text_asked_for(run, rubric)),
        contexts_shown=tuple(one for rubric in rubrics for one in contexts_shown(run, rubric)),
        rater_effects=tuple(rater_models(run, judgements, units, level, pair)),
        calibration=by_people,
        blinding=tuple(blindings(run, judgements, level)) if "guess" in held else (),
        scorers=tuple(scorers),
        specificity=tuple(specificity_results_of(run, level)) if "probe" in held else (),
        explained=tuple(explained_of(run)) if "probe" in held else (),
        labs=labs,
        attributions=attributions,
        known=known,
        covers=covers,
        matches=matches,
        maps=maps,
        use=tuple(uses(run, judgements, level)) if "lab" in held else (),
        cost=costs_of(run),
        imported=imported_files(run),
        units=units,
        scores=scores,
        plans=plans,
    )


# ------------------------------------------------------------------------------ the run


def _compared(judgement: Judgement, contrast: Contrast) -> Compared:
    """Return the scores of a contrast's two sources."""
    first, second = (judgement.groups[name] for name in (contrast.first, contrast.second))
    return Compared(
        rubric=judgement.rubric,
        rubric_digest=judgement.rubric_digest,
        rater=judgement.rater,
        first=first.source,
        second=second.source,
        unit_ids=(first.unit_ids, second.unit_ids),
        scores=(first.scores, second.scores),
        asked=(first.asked, second.asked),
        repeats=judgement.repeats,
    )


def _look_beside(
    run: Run, compared: Compared, test: HypothesisTest, reading: Reading, verb: str
) -> tuple[Reading, Look]:
    """Return how a look at another pair than the verdict's may be read, and its line of the ledger.

    No plan declares it. It is as wide as the looks at it make it, and at least as wide as those at
    the verdict's pair (`reading`), which shares its scores and may have ended the rating.
    """

    def widest(own: Reading) -> Reading:
        return max(reading, own, key=lambda one: one.tail_level)

    def estimate(own: Reading) -> tuple[Statistic, float | None]:
        wide = widest(own)
        return wide.interval(*compared.scores), wide.test(test, *compared.scores).p_value

    own, look = take_look_across([run], compared, None, reading.level, verb, estimate)
    return replace(widest(own), interim=reading.interim), look


def _compared_scores(result: ScorerResult) -> Compared:
    """Return what a scorer's contrast compares: the scores of descriptions, in their order."""
    first, second = result.sources[result.first], result.sources[result.second]
    of = "" if result.explainer is None else f" of {result.explainer}'s descriptions"
    return Compared(
        rubric=f"{result.scorer}{of}",
        rubric_digest=f"{result.scorer}/{result.explainer or ''}/{result.design}",
        rater=result.rater,
        first=first.source,
        second=second.source,
        unit_ids=(np.arange(len(first.values)), np.arange(len(second.values))),
        scores=(first.values, second.values),
        asked=(len(first.values) + first.missing, len(second.values) + second.missing),
        repeats=1,
    )


def _as_read(contrast: Contrast, groups: Mapping[str, Group], reading: Reading) -> Contrast:
    """Return the contrast with the interval and the p-value that hold at this look."""
    scores = groups[contrast.first].scores, groups[contrast.second].scores
    p = reading.interval(*scores)
    return replace(
        contrast,
        superiority=p,
        delta=cliffs_delta(p),
        test=reading.test(contrast.test, *scores),
        interim=reading.interim,
    )


def _tests(scores: pd.DataFrame, units: pd.DataFrame) -> int:
    """Return the number of pairs of sources that raters rated, each rater and rubric for itself."""
    source_of = dict(zip(units.unit_id.tolist(), units.source.tolist(), strict=True))
    sources: dict[tuple[str, str], set[str]] = {}
    rated = (scores[name].tolist() for name in ("rubric_digest", "rater", "unit_id"))
    for digest, rater, unit_id in zip(*rated, strict=True):
        sources.setdefault((digest, rater), set()).add(source_of[unit_id])
    return sum(len(names) * (len(names) - 1) // 2 for names in sources.values())


def awaited_raters(plan: Plan | None, judgements: Sequence[Judgement]) -> tuple[str, ...]:
    """Return the raters of a plan of which the declared pair has no scores to compare yet; none
    where no rating follows the plan."""
    if plan is None or not any(j.reading is not None and j.reading.declared for j in judgements):
        return ()
    here = {
        judgement.rater
        for judgement in judgements
        if judgement.rubric_digest == plan.rubric_digest and judgement.primary is not None
    }
    return tuple(rater for rater in plan.raters if rater not in here)


def is_planned(plan: Plan | None, judgement: Judgement) -> bool:
    """Whether the plan names the rater and the rubric, whether or not all else was followed."""
    return (
        plan is not None
        and judgement.rater in plan.raters
        and judgement.rubric_digest == plan.rubric_digest
    )


def _adjusted(judgements: Sequence[Judgement], plan: Plan | None) -> Iterator[Judgement]:
    """Put in Holm's p-values, and the verdicts that follow from them.

    The primary tests of the plan's raters are one family, those that have not rated yet among
    them: a rater that is added later takes no declared finding away. The primary test of one that
    no plan names is adjusted among all primary tests, and all other tests are a family.
    """
    p_values: dict[bool, dict[tuple[int, str, str], float | None]] = {True: {}, False: {}}
    planned: dict[tuple[int, str, str], float | None] = {}
    interim = set()
    for place, judgement in enumerate(judgements):
        for contrast in judgement.contrasts:
            at = (place, contrast.first, contrast.second)
            p_values[contrast.primary][at] = contrast.test.p_value
            if contrast.primary and is_planned(plan, judgement):
                planned[at] = contrast.test.p_value
            if contrast.interim:
                interim.add(at)
    awaited = {True: len(awaited_raters(plan, judgements)), False: 0}
    adjusted = {
        primary: holm_unfinished(family, interim, awaited[primary])
        for primary, family in p_values.items()
    }
    adjusted[True] |= holm_unfinished(planned, interim, awaited[True])
    for place, judgement in enumerate(judgements):
        contrasts = tuple(
            replace(
                contrast, holm_p=adjusted[contrast.primary][place, contrast.first, contrast.second]
            )
            for contrast in judgement.contrasts
        )
        declared = judgement.reading is not None and judgement.reading.declared
        yield replace(
            judgement,
            contrasts=contrasts,
            verdict=verdict(judgement.groups, contrasts, judgement.trust, declared),
        )


def _pooled(
    judgements: Sequence[Judgement],
    scores: pd.DataFrame,
    units: pd.DataFrame,
    level: float,
    pair: tuple[str, str],
) -> Iterator[Pooled]:
    """Yield the primary pair over the raters of a rubric, where several rated two units of both
    sources: fewer are no comparison.

    Its interval is as wide, and its p as large, as the looks at the raters' own make them.
    """
    readings = {(j.rubric_digest, j.rater): j.reading for j in judgements}
    trusted = {(j.rubric_digest, j.rater): j.trust.state for j in judgements}
    fails = {(j.rubric_digest, j.rater): j.fails for j in judgements}
    for (rubric, digest), part in scores.groupby(["rubric", "rubric_digest"]):
        if part.rater.nunique() < 2:
            continue
        table = part.pivot(index="unit_id", columns="rater", values="score")
        source = units.source.loc[table.index]
        first, second = (table[source == name] for name in pair)
        both = [r for r in table if min(first[r].count(), second[r].count()) >= 2]
        raters = without_panels(both)
        if len(raters) < 2:
            continue
        kept = [rater for rater in raters if not fails[digest, rater]]
        if kept:
            own = [reading for rater in kept if (reading := readings[digest, rater]) is not None]
            widest = max(own, key=lambda reading: reading.tail_level, default=None)
            wide = widest.tail_level if widest is not None else level
            combined = van_elteren(first[kept].to_numpy(), second[kept].to_numpy(), kept, wide)
            estimate, test, by_rater = combined.superiority, combined.test, combined.raters
            if widest is not None and widest.multiplier is not None:
                method = f"{estimate.method}; {widest.method}"
                estimate = replace(estimate, level=level, method=method)
                test = replace(test, p_value=None, note=NO_POOLED_TEST)
                by_rater = tuple(
                    replace(
                        one, superiority=one.superiority and replace(one.superiority, level=level)
                    )
                    for one in by_rater
                )
        else:
            why = "every rater fails its controls or its check"
            estimate = Statistic(None, None, None, (0, 0), "", level, why)
            test, by_rater = HypothesisTest(None, None, "", why), ()
        yield Pooled(
            rubric=rubric,
            raters=tuple(kept),
            by_rater=by_rater,
            left_out=tuple(rater for rater in raters if rater not in kept),
            unchecked=tuple(rater for rater in kept if trusted[digest, rater] == "unknown"),
            first=pair[0],
            second=pair[1],
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
    for use in comparison.use:
        for one in use.sources:
            add("mean_by_use", [one.source], use.rubric, use.rater, one.by_use)
        if use.first is not None and use.second is not None:
            pair = (use.first, use.second)
            add("mean_difference_by_use", pair, use.rubric, use.rater, use.difference)
    for pooled in comparison.pooled:
        pair = (pooled.first, pooled.second)
        add("p_superiority", pair, pooled.rubric, ALL_RATERS, pooled.superiority)
    return rows
