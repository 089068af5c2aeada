"""The verb `cover`: which of some concepts the units of a source are about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.engine.forecast import LOOKED_AT, Forecast, forecast_calls
from autointerp.engine.work import pending_items, rate_items
from autointerp.errors import BadInput
from autointerp.findings.browse import newest_descriptions
from autointerp.findings.cover import (
    KINDS,
    Cover,
    CoveredConcept,
    Judged,
    Kind,
    answers_of,
    cover_of,
)
from autointerp.findings.plan import level_of, plan_of
from autointerp.labs._prompts import token_ids, token_strings
from autointerp.pipeline.asked import asked_concepts, judge_of_concepts
from autointerp.pipeline.events import (
    Forecasted,
    Harvesting,
    Note,
    On,
    Step,
    ignore,
    tell_asking,
)
from autointerp.pipeline.harvest import tokens_of_pass
from autointerp.pipeline.job import Job, Resolved, say_opened
from autointerp.pipeline.report import REPORTS
from autointerp.questions.cover import (
    COVER,
    Concept,
    cover_item,
    shown_contexts,
)
from autointerp.questions.explain import EXPLAIN, explained_contexts
from autointerp.questions.forms import LOUDEST, UNKNOWN
from autointerp.questions.question import Question
from autointerp.raters import Rater, ServedRater
from autointerp.records import Context, Item, ItemContext, Rating, check_person
from autointerp.reports.cover import write_cover
from autointerp.reports.write import check_folder
from autointerp.settings import HarvestSettings
from autointerp.store.run import Run, open_run
from autointerp.subjects import Subject
from autointerp.text import count, whole_characters
from autointerp.units.passes import Wanted, harvest
from autointerp.units.prompts import activations_at, occurrences, token_before
from autointerp.units.reopen import subject_again
from autointerp.units.sources import Source, load_source
from autointerp.units.stream import calibrate, first_is_none, quiet_torch

UNITS = 5  # of each kind, held against a concept

# What a person says of an item: whether the concept is the unit's main thing, None to skip it.
# It raises StopAsking to end.
Ask = Callable[[Item], bool | None]


class StopAsking(Exception):
    """A person ends: what was answered so far is kept."""


@dataclass(frozen=True)
class Covered:
    """What was found, and the page of it.

    Attributes:
        page: None where none was asked for.
    """

    cover: Cover
    page: Path | None


@dataclass(frozen=True)
class CoverForecast:
    """What asking about concepts would take.

    Attributes:
        harvested: Units that the run does not hold, for which the corpus would be read once.
        describe: Of units that have no description; None for a person, who writes none.
        judge: Of whether a concept is a unit's main thing.
    """

    concepts: int
    harvested: int
    describe: Forecast | None
    judge: Forecast

    @property
    def cost_usd(self) -> float | None:
        """What both would cost; None where a price is not known."""
        costs = [one.cost_usd for one in (self.describe, self.judge) if one is not None]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def __str__(self) -> str:
        lines = []
        if self.harvested:
            units = count(self.harvested, "unit")
            lines.append(f"the corpus would be read once for {units} that the run does not hold")
        if self.describe is not None and self.describe.calls:
            lines.append(f"{self.describe.rater} would describe units: {self.describe}")
        asked = str(self.judge) if self.judge.calls else "nothing, all was answered before"
        about = count(self.concepts, "concept")
        lines.append(f"{self.judge.rater} would be asked about {about}: {asked}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        return {
            "concepts": self.concepts,
            "harvested": self.harvested,
            "describe": None if self.describe is None else self.describe.as_json(),
            "judge": self.judge.as_json(),
            "cost_usd": self.cost_usd,
        }


@dataclass(frozen=True)
class _Chosen:
    """A unit that is held against a concept; `number` is its number in the source."""

    number: int
    kind: Kind
    place: int
    activation: float


@dataclass(frozen=True)
class _Evidence:
    """What is shown of a unit.

    Attributes:
        contexts: Those that explain it, of the run's harvest or of one by name.
    """

    description: str | None
    contexts: tuple[Context, ...]
    peak: float


def cover(
    concepts: Path | str,
    job: Job,
    source: str = "features",
    units: int = UNITS,
    random: int = UNITS,
    out: Path | str | None = None,
    page: bool = True,
    on: On = ignore,
    ask: Ask | None = None,
) -> Covered:
    """Say which concepts of a file are the main thing of the units that fire most strongly on them.

    For each concept the `units` units of the source with the largest mean activation at its last
    token are judged by the job's rater, and as many `random` ones, in one blind queue. Units that
    the run does not hold are harvested by name, beside its sample, and described by the rater.
    Answers are stored: what was judged is not asked again.

    Args:
        job: Its run, rater and how that is asked.
        ask: Asks a person, where the rater is one.

    Raises BadInput if the file holds no concepts, the rater cannot judge them, or the run has no
    subject; UnknownName for a source that does not exist.
    """
    listed = asked_concepts(concepts, source, units, random)
    place = REPORTS / f"cover-{job.run}" if out is None else Path(out)
    if page:
        check_folder(place)
    resolved, rater, name = _who(job)
    if rater is not None:
        resolved.require_rater()
    elif ask is None:
        raise BadInput(f"--rater {job.rater}: a person is asked in the terminal alone")
    with open_run(job.run, folder=job.runs) as run:
        say_opened(run, on)
        subject = subject_again(run, "cover")
        opened = _opened(run, subject, source)
        chosen = _chosen(run, subject, source, opened, listed, units, random, on)
        evidence, lacking = _held_evidence(run, source, opened, chosen)
        if lacking:
            evidence |= _harvest_by_name(run, subject, source, opened, lacking, on)
        if rater is not None:
            evidence = _described(run, rater, resolved, evidence, on)
        counts, tokens = occurrences(subject, run.settings.harvest, [one.name for one in listed])
        items = _items(run, opened, chosen, evidence)
        by_id = {item.id: item for item in items.values()}
        if rater is None:
            assert ask is not None
            _ask_person(run, name, by_id, ask)
        else:
            _ask_rater(run, rater, resolved, COVER, by_id, on, "cover")
        answers = answers_of(run, name, COVER.digest)
        made = [
            CoveredConcept(
                concept.name,
                concept.prompts,
                int(occurring),
                tuple(
                    _judged(opened, one, evidence, answers.get(items[concept.name, one.number].id))
                    for one in chosen[concept.name]
                ),
            )
            for concept, occurring in zip(listed, counts, strict=True)
        ]
        found = cover_of(run.name, source, name, tokens, made, level_of(plan_of(run)))
        concepts_said = [
            {
                "concept": one.name,
                "prompts": list(one.prompts),
                "occurrences": one.occurrences,
                "tokens": tokens,
            }
            for one in found.concepts
        ]
        run.replace_cover(source, name, concepts_said, _rows(found))
        run.log("covered", source=source, rater=name, concepts=len(listed))
        for note in found.notes:
            on(Note(note))
    return Covered(found, write_cover(found, place) if page else None)


def forecast_cover(
    concepts: Path | str,
    job: Job,
    source: str = "features",
    units: int = UNITS,
    random: int = UNITS,
    on: On = ignore,
) -> CoverForecast:
    """Return what `cover` would ask and cost; the run's model reads the prompts, and no rater is
    called. What was answered before is not counted.

    Raises what `cover` raises, but for a missing key or price.
    """
    listed = asked_concepts(concepts, source, units, random)
    _, rater, name = _who(job)
    with open_run(job.run, folder=job.runs) as run:
        say_opened(run, on)
        subject = subject_again(run, "cover")
        opened = _opened(run, subject, source)
        chosen = _chosen(run, subject, source, opened, listed, units, random, on)
        evidence, lacking = _held_evidence(run, source, opened, chosen)
        unknown = set(lacking)  # of whom a rater will see what is not known yet
        describe = None
        if rater is not None:
            items = _description_items(run, evidence)
            pending = set(pending_items(run, [one.id for one in items.values()], rater, 0))
            evidence |= _said(run, rater, items, evidence)
            unknown |= {number for number, item in items.items() if item.id in pending}
            describe = forecast_calls(
                rater,
                EXPLAIN,
                len(unknown),
                [item for item in items.values() if item.id in pending][:LOOKED_AT],
                run,
            )
        known = _items(run, opened, chosen, evidence)
        answered = set(answers_of(run, name, COVER.digest))
        settled = {key: item for key, item in known.items() if key[1] not in unknown}
        asked = {item.id for item in settled.values() if item.id not in answered}
        if rater is not None:  # one that failed is asked again
            ids = sorted({item.id for item in settled.values()})
            asked = set(pending_items(run, ids, rater, 0))
        pairs = {(concept, one.number) for concept, of in chosen.items() for one in of}
        calls = len(asked) + sum(number in unknown for _, number in pairs)
        judge = (
            Forecast(name, calls)
            if rater is None
            else forecast_calls(rater, COVER, calls, list(known.values())[:LOOKED_AT], run)
        )
    return CoverForecast(len(listed), len(lacking), describe, judge)


def as_text(found: Cover) -> str:
    """Return the finding as lines for a terminal."""
    lines = []
    for concept in found.concepts:
        covered = {True: "covered", False: "not covered", None: "no answer"}[concept.covered()]
        best = next((one for one in concept.of("strongest") if one.is_main), None)
        by = "" if best is None else f" by {best.unit}: {best.description or 'no description'}"
        lines.append(f"{concept.name}: {covered}{by}")
    lines.append(
        f"{found.source} of '{found.run}' by {found.rater}: {count(len(found.concepts), 'concept')}"
        f", covered {found.coverage}; by random units {found.control}"
    )
    slope = found.curve.slope
    lines.append(
        f"log odds of being covered, for ten times as many occurrences: {slope}"
        if slope.value is not None
        else f"no curve of coverage by frequency: {slope.note}"
    )
    return "\n".join(lines)


# ------------------------------------------------------------------------------ which units


def _who(job: Job) -> tuple[Resolved, Rater | None, str]:
    """Return what the job comes to, the rater, None where it is a person, and the name of either.

    Raises BadInput for a rater that reads no concept.
    """
    resolved = Resolved(job, planned=False)
    if job.by_person:
        return resolved, None, check_person(job.rater)
    rater = judge_of_concepts(resolved)
    return resolved, rater, rater.name


def _opened(run: Run, subject: Subject, source: str) -> Source:
    with quiet_torch():
        calibration = calibrate(subject, run.settings.harvest, run.settings.seed)
        made = load_source(source, subject, calibration, run.settings.seed)
    if not getattr(made, "reads_text", True):
        raise BadInput(
            f"units of {source} do not fire by the text, so no prompt tells which of them is about "
            "a concept; name other units by --source"
        )
    return made


def _chosen(
    run: Run,
    subject: Subject,
    name: str,
    source: Source,
    concepts: Sequence[Concept],
    most: int,
    random: int,
    on: On,
) -> dict[str, list[_Chosen]]:
    """Return by concept the units that fire most strongly on it, and random ones of the run."""
    held = {unit.summary.unit for unit in run.sampled(name, 10**9)}
    numbers = np.array([n for n in range(source.size) if source.unit(n) in held], dtype=np.int64)
    chosen: dict[str, list[_Chosen]] = {}
    for concept in concepts:
        mean = np.mean(
            [
                _at_concept(subject, source, concept, prompt, run.settings.harvest)
                for prompt in concept.prompts
            ],
            axis=0,
        )
        order = np.argsort(-mean, kind="stable")[:most]
        strongest = [int(number) for number in order if mean[number] > run.settings.harvest.fires]
        others = numbers[~np.isin(numbers, strongest)]
        rng = _rng(run.settings.seed, concept.name)
        drawn = rng.choice(others, min(random, len(others)), replace=False).tolist()
        of_kind: dict[Kind, list[int]] = {"strongest": strongest, "random": drawn}
        chosen[concept.name] = [
            _Chosen(int(number), kind, place, float(mean[number]))
            for kind in KINDS
            for place, number in enumerate(of_kind[kind], 1)
        ]
    on(Step(f"{count(len(concepts), 'concept')} read at their last tokens"))
    if random and not len(numbers):
        on(
            Note(
                f"run '{run.name}' holds no {name} to draw a control from; "
                f"`autointerp harvest --run {run.name} --source {name}` makes some"
            )
        )
    return chosen


def _at_concept(
    subject: Subject, source: Source, concept: Concept, prompt: str, settings: HarvestSettings
) -> NDArray[np.float32]:
    """Return the activation of every unit at the concept's last token in a prompt.

    Raises BadInput where that is the first token of all, and counts as none.
    """
    ids = token_ids(subject, prompt)
    first = 0 if subject.bos is None else 1
    texts = token_strings(subject, ids[first:])
    place = first + token_before(texts, concept.end_in(prompt))
    if place == 0 and first_is_none(subject, settings):
        raise BadInput(
            f"concept '{concept.name}': its token is the first of the prompt {prompt!r}, which "
            "counts as none where windows begin without BOS; give a prompt with words before it: "
            f"'{concept.name}: I thought of {concept.name}'"
        )
    return activations_at(subject, source, ids, place)


def _rng(seed: int, concept: str) -> np.random.Generator:
    digest = hashlib.sha256(f"cover/{seed}/{concept}".encode("utf-8", "backslashreplace")).digest()
    return np.random.default_rng(list(digest[:16]))


# ------------------------------------------------------------------------------ what is shown


def _held_evidence(
    run: Run, name: str, source: Source, chosen: Mapping[str, Sequence[_Chosen]]
) -> tuple[dict[int, _Evidence], list[int]]:
    """Return by number what is shown of the chosen units, and those of which nothing is held."""
    numbers = sorted({one.number for units in chosen.values() for one in units})
    ids = {unit.summary.unit: unit for unit in run.units(name)}
    in_run = {
        number: ids[source.unit(number)].unit_id
        for number in numbers
        if source.unit(number) in ids and ids[source.unit(number)].summary.outcome == "eligible"
    }
    said = newest_descriptions(run)
    stored = run.contexts(sorted(in_run.values()))
    asides = run.asides(name)
    evidence: dict[int, _Evidence] = {}
    lacking = []
    for number in numbers:
        unit = source.unit(number)
        if number in in_run:
            contexts = stored[in_run[number]]
            evidence[number] = _Evidence(
                said.get(in_run[number]),
                tuple(contexts[one] for one in explained_contexts(contexts)),
                ids[unit].summary.peak,
            )
        elif unit in asides:
            peak, of_unit = asides[unit]
            evidence[number] = _Evidence(None, tuple(of_unit), peak)
        else:
            lacking.append(number)
    return evidence, lacking


def _items(
    run: Run,
    source: Source,
    chosen: Mapping[str, Sequence[_Chosen]],
    evidence: Mapping[int, _Evidence],
) -> dict[tuple[str, int], Item]:
    """Return by concept and number what a judge sees, of units of which something is held."""
    return {
        (concept, number): _fenced(
            run,
            cover_item(
                run.settings.seed,
                str(source.unit(number)),
                concept,
                evidence[number].description,
                shown_contexts(evidence[number].contexts, evidence[number].peak),
            ),
        )
        for concept, units in chosen.items()
        for number in dict.fromkeys(one.number for one in units)
        if number in evidence
    }


def _harvest_by_name(
    run: Run, subject: Subject, name: str, source: Source, numbers: Sequence[int], on: On
) -> dict[int, _Evidence]:
    """Harvest units that the run's sample does not hold, and keep them beside it; return what is
    shown of them by number.
    """
    wanted = Wanted(name, source, np.array(numbers), np.zeros(len(numbers), np.int64))
    total, exact = tokens_of_pass(run, subject)
    label = f"{len(numbers)} {name} by name"
    harvested = harvest(
        subject,
        [wanted],
        run.settings.harvest,
        run.settings.seed,
        0.0,
        1.0,
        lambda tokens: on(Harvesting(label, tokens, total, exact)),
    )
    kept = []
    for one in harvested:
        contexts = dict(enumerate(one.contexts))
        kept.append([contexts[place] for place in explained_contexts(contexts)])
    run.add_asides(harvested, kept)
    run.log("harvested by name", source=name, units=len(harvested))
    asides = run.asides(name)
    return {
        number: _Evidence(None, tuple(contexts), peak)
        for number in numbers
        for peak, contexts in [asides[source.unit(number)]]
    }


def _described(
    run: Run, rater: Rater, resolved: Resolved, evidence: dict[int, _Evidence], on: On
) -> dict[int, _Evidence]:
    """Return the evidence with a description of every unit, by the rater where there was none."""
    items = _description_items(run, evidence)
    if not items:
        return evidence
    by_id = {item.id: item for item in items.values()}
    _ask_rater(run, rater, resolved, EXPLAIN, by_id, on, "describe")
    return evidence | _said(run, rater, items, evidence)


def _description_items(run: Run, evidence: Mapping[int, _Evidence]) -> dict[int, Item]:
    """Return by number what a rater would describe: units with contexts and no description."""
    items: dict[int, Item] = {}
    for number, one in evidence.items():
        if one.description is None and one.contexts:
            shown = tuple(_explained(context, one.peak) for context in one.contexts)
            text = repr([(c.tokens, c.activations) for c in shown]).encode("utf-8", "replace")
            identifier = hashlib.blake2b(text, digest_size=8).hexdigest()
            items[number] = _fenced(run, Item(f"cover-unit-{identifier}", EXPLAIN.id, shown))
    return items


def _said(
    run: Run, rater: Rater, items: Mapping[int, Item], evidence: Mapping[int, _Evidence]
) -> dict[int, _Evidence]:
    """Return the evidence of these units with the descriptions that the rater has given."""
    said = dict(
        run.rows(
            "SELECT item_id, description FROM current_rating"
            " WHERE rater = ? AND rubric_digest = ? AND status = 'ok' AND description <> ?",
            [rater.name, EXPLAIN.digest, UNKNOWN],
        )
    )
    return {
        number: replace(evidence[number], description=said.get(item.id))
        for number, item in items.items()
    }


def _explained(context: Context, peak: float) -> ItemContext:
    scale = LOUDEST / peak if peak > 0 else 0.0
    levels = tuple(scale * a for a in context.activations)
    tokens, scaled, _ = whole_characters(context.tokens, levels, None)
    return ItemContext(tuple(tokens), scaled, None, "explain", silent=False)


def _fenced(run: Run, item: Item) -> Item:
    fields = {name: getattr(item, name) for name in Item.__dataclass_fields__}
    return Item(**{**fields, "fence": run.fence(item.id)})


# ------------------------------------------------------------------------------ who answers


def _ask_rater(
    run: Run,
    rater: Rater,
    resolved: Resolved,
    question: Question,
    by_id: Mapping[str, Item],
    on: On,
    label: str,
) -> None:
    """Have the rater answer what it has not answered yet, in an order that tells nothing."""
    ids = sorted(by_id)
    pending = pending_items(run, ids, rater, 0)
    if not pending:
        return
    if isinstance(rater, ServedRater):
        examples = [by_id[item] for item in pending[:LOOKED_AT]]
        on(Forecasted(forecast_calls(rater, question, len(pending), examples, run)))
    counts = rate_items(
        run,
        ids,
        question,
        rater,
        1,
        tell_asking(f"{label} by {rater.name}", on),
        resolved.job.policy,
        lambda wanted: [by_id[item] for item in wanted],
    )
    if counts.spent_text:
        on(Note(f"{label} by {rater.name}: {counts.spent_text}"))
    if counts.budget_text:
        on(Note(counts.budget_text))


def _ask_person(run: Run, name: str, by_id: Mapping[str, Item], ask: Ask) -> None:
    """Have a person answer what they have not answered yet; each answer is stored at once."""
    answered = answers_of(run, name, COVER.digest)
    for identifier in sorted(by_id):
        if identifier in answered:
            continue
        try:
            said = ask(by_id[identifier])
        except StopAsking:
            return
        run.add_ratings(
            [
                Rating(
                    identifier,
                    COVER.id,
                    COVER.digest,
                    name,
                    0,
                    "skipped" if said is None else "ok",
                    None if said is None else int(said),
                )
            ]
        )


def _judged(
    source: Source,
    one: _Chosen,
    evidence: Mapping[int, _Evidence],
    answer: tuple[str, int | None] | None,
) -> Judged:
    status, score = answer or ("missing", None)
    return Judged(
        unit=source.unit(one.number),
        kind=one.kind,
        place=one.place,
        activation=one.activation,
        description=evidence[one.number].description,
        is_main=None if score is None else bool(score),
        status=status,
    )


def _rows(found: Cover) -> list[dict[str, Any]]:
    return [
        {
            "concept": concept.name,
            "kind": one.kind,
            "place": one.place,
            "idx": one.unit.index,
            "sign": one.unit.sign,
            "activation": one.activation,
            "description": one.description,
            "status": one.status,
            "is_main": one.is_main,
            "occurrences": concept.occurrences,
            "tokens": found.tokens,
        }
        for concept in found.concepts
        for one in concept.units
    ]
