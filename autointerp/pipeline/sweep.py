"""The verb `sweep`: many SAEs of one model, harvested together, rated in one order, reported."""

from __future__ import annotations

import copy
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.engine.budget import budget_text
from autointerp.engine.forecast import Forecast, forecast_calls
from autointerp.engine.loop import RatingPolicy
from autointerp.errors import BadInput, RunMismatch
from autointerp.findings.sweep import Sweep, sweep_findings
from autointerp.findings.sweep_plan import SweepPlan, declare_sweep, stored_plan
from autointerp.findings.swept import FEATURES, NEURONS
from autointerp.pipeline.ask import ask_pending
from autointerp.pipeline.events import Harvesting, Note, On, Step, ignore
from autointerp.pipeline.harvest import delete_cache, tokens_of_pass
from autointerp.pipeline.job import Job, Resolved, say_opened, sources_by_role
from autointerp.pipeline.looks import open_to_look
from autointerp.pipeline.report import REPORTS
from autointerp.pipeline.sweep_file import SweepFile, read_sweep, require_seeds, require_swept
from autointerp.pipeline.until import not_pending
from autointerp.questions.items import make_items
from autointerp.raters import RaterOptions
from autointerp.records import is_person
from autointerp.reports.sweep import write_sweep
from autointerp.reports.write import check_folder
from autointerp.settings import (
    RunSettings,
    SubjectSettings,
    byte_count,
    first_difference,
    token_count,
)
from autointerp.store.run import RUNS, TOKENS, Run, open_run, read_about, run_exists
from autointerp.store.snapshots import open_to_read
from autointerp.subjects.part_files import look_at_parts
from autointerp.subjects.places import require_places, require_sae
from autointerp.subjects.provenance import changed_part
from autointerp.text import count, first_tokens, size_text, statuses_text
from autointerp.units.dictionary_figures import REMEMBERED, lacks_loss
from autointerp.units.held import is_exhausted, left_to_draw, unverified
from autointerp.units.subject_record import is_unchanged, keep_record

if TYPE_CHECKING:
    from autointerp.subjects import Subject

BLOCK = 64  # units that are asked about before the next run has its turn
UNIT_KB = 80  # what a unit keeps at most while it is harvested (docs/scale.md)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found, and where it stands.

    Attributes:
        statuses: Ratings of this call.
        budget_usd: The budget that stopped the rating; None if it did not.
        page: None where none was asked for.
    """

    sweep: Sweep
    statuses: Mapping[str, int]
    budget_usd: float | None
    page: Path | None


@dataclass(frozen=True)
class SweepForecast:
    """What a sweep would do.

    Attributes:
        missing: Units that would be harvested, by run.
        measured: SAEs whose own figures would be measured; `spliced` more whose loss recovered is
            of other tokens than are asked for would have that alone measured.
        sites: Sites that one forward pass would read.
        twins: Untrained models that would read the same windows, each in a pass of its own.
        sae_mb: Size of the files of the SAEs that would be read, as far as they are here.
        units_mb: What the units keep at most while they are harvested.
        items: Units to rate; `left` of them have no rating yet.
        tokens: Of the corpus that are read at most; 0 for all.
        cache_bytes: What the sites' activations may take beside the runs; 0 keeps none.
    """

    name: str
    saes: int
    missing: Mapping[str, int]
    measured: int
    sites: int
    twins: int
    sae_mb: float
    units_mb: float
    rater: str
    rubric: str
    items: int
    left: int
    estimate: Forecast
    tokens: int = 0
    cache_bytes: int = 0
    spliced: int = 0

    def __str__(self) -> str:
        lines = [f"sweep '{self.name}': {count(self.saes, 'SAE')}"]
        if self.tokens:
            lines[0] += f", from {first_tokens(self.tokens)}"
        if self.missing or self.measured:
            units = count(sum(self.missing.values()), "unit")
            lines += [
                f"would harvest {units} of {count(len(self.missing), 'run')} in one reading of the "
                f"corpus: one forward pass for {count(self.sites, 'site')}, "
                f"{count(self.measured, 'SAE')} encoded whole for their own figures",
                f"memory beside the model: SAEs of {self.sae_mb:,.0f} MB on disk, units at most "
                f"{self.units_mb:,.0f} MB",
            ]
            if self.cache_bytes:
                room = size_text(self.cache_bytes)
                lines.append(f"the sites' activations would be kept, in {room} at most")
        else:
            lines.append("would harvest nothing")
        if self.spliced:
            lines.append(f"would measure the loss recovered of {count(self.spliced, 'SAE')} anew")
        if self.twins:
            twins = count(self.twins, "untrained twin")
            lines.append(f"{twins} would read the same windows, each in a pass of its own")
        lines.append(
            f"would ask {self.rater} about {self.left} of {self.items} units on {self.rubric}, of "
            f"all runs in one order: {self.estimate}"
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        return {**asdict(self), "estimate": self.estimate.as_json()}


def write_sweep_plan(
    path: Path | str,
    tokens: int | str | None = None,
    rater: str = "",
    rubric: str = "",
    n: int | None = None,
    runs: Path | str = RUNS,
    options: RaterOptions = RaterOptions(),
) -> SweepPlan:
    """Write the plan of a sweep beside its runs, before the first rating, and return it.

    It is that of the whole sweep: its SAEs, its judge, its units, and the family of contrasts that
    p is adjusted for. The same plan is not written twice; another one supersedes it while nothing
    was rated. What is given beside the file must be what the file says.

    Raises BadInput once something was rated, or for what is no plan.
    """
    folder = Path(runs)
    asked = _reading(read_sweep(Path(path), folder), tokens, folder, follows_plan=False)
    for option, given, said in (
        ("--rater", rater, asked.rater), ("--rubric", rubric, asked.rubric), ("--n", n, asked.n)
    ):  # fmt: skip
        if given and given != said:
            raise BadInput(f"{option} {given}: {path} says {said}; change it there")
    resolved = _judge(asked, options, RatingPolicy(), folder)
    with ExitStack() as stack:
        held = [
            stack.enter_context(open_run(name, folder=folder, read_only=True))
            for name in asked.settings
            if run_exists(folder / name)
        ]
        return declare_sweep(_plan(asked, resolved), folder, held)


def _plan(asked: SweepFile, resolved: Resolved) -> SweepPlan:
    """Return what a sweep declares as it is asked for."""
    first = next(iter(asked.settings.values()))
    return SweepPlan(
        name=asked.name,
        saes=tuple((sae.name, sae.recipe, sae.site) for sae in asked.saes),
        reference=asked.reference,
        rater=resolved.rater.name,
        rubric=resolved.question.id,
        rubric_digest=resolved.question.digest,
        n=asked.n,
        controls=asked.controls,
        tokens=first.harvest.tokens,
        settings={name: settings.digest for name, settings in asked.settings.items()},
    )


def _deviations(plan: SweepPlan, asked: SweepFile, resolved: Resolved) -> tuple[str, ...]:
    """Return in what a sweep as it is asked for differs from its plan."""
    as_planned = _with_tokens(asked, plan.tokens).settings
    digests = {name: settings.digest for name, settings in as_planned.items()}
    return plan.deviations(_plan(asked, resolved), digests)


def _with_tokens(asked: SweepFile, tokens: int) -> SweepFile:
    """Return a sweep that reads so many tokens."""
    settings = {
        name: replace(one, harvest=replace(one.harvest, tokens=tokens))
        for name, one in asked.settings.items()
    }
    return replace(asked, settings=settings)


def _reading(
    asked: SweepFile, tokens: int | str | None, folder: Path, follows_plan: bool = True
) -> SweepFile:
    """Return a sweep that reads so many tokens; None for what its runs or its plan read, else what
    the file says.

    Raises RunMismatch where a run of it reads another number.
    """
    held = {
        name: int(read_about(folder / name)["settings"]["harvest"]["tokens"])
        for name in asked.settings
        if run_exists(folder / name)
    }
    said = None if tokens is None else token_count(tokens)
    for name, has in held.items():
        if said is not None and has != said:
            raise RunMismatch(
                f"--tokens {tokens}: run '{name}' reads {first_tokens(has)}; leave --tokens "
                "out, or give the sweep another name"
            )
    plan = stored_plan(asked.name, folder) if follows_plan else None
    if said is None and held:
        said = next(iter(held.values()))
    elif said is None and plan is not None:
        said = plan.tokens
    return asked if said is None else _with_tokens(asked, said)


def sweep(
    path: Path | str,
    out: Path | str | None = None,
    options: RaterOptions = RaterOptions(),
    policy: RatingPolicy = RatingPolicy(),
    rates: bool = True,
    page: bool = True,
    runs: Path | str = RUNS,
    on: On = ignore,
    tokens: int | str | None = None,
    cache_site: int | str | None = None,
) -> SweepResult:
    """Harvest, rate and report what a sweep.toml asks for; what is there is not made again.

    Args:
        out: Folder of the page; None for reports/sweep-NAME.
        rates: Whether the judge is asked; if not, the ratings that are there are reported.
        page: Whether a page is written.
        tokens: Of the corpus that new runs read, from its start, such as 250000 or "100k"; None for
            those that the sweep's runs or its plan read, else the file's.
        cache_site: Bytes of disk, such as "2G", that the activations of the sites may take beside
            the runs of their neurons, each site an equal part, so that an SAE that joins runs the
            model no more; 0 deletes them, None keeps and reads none.

    Raises BadInput for what cannot be done as asked, RunMismatch where a run of that name was made
    with other settings or files, TooFewRatings where nothing was rated.
    """
    folder = Path(runs)
    cache = None if cache_site is None else byte_count(cache_site)
    asked = _reading(read_sweep(Path(path), folder), tokens, folder)
    place = REPORTS / f"sweep-{asked.name}" if out is None else Path(out)
    if page:
        check_folder(place)
    resolved = _judge(asked, options, policy, folder)
    plan = stored_plan(asked.name, folder)
    deviations = () if plan is None else _deviations(plan, asked, resolved)
    if deviations:
        on(Note(f"sweep '{asked.name}' is not as it was planned: {'; '.join(deviations)}"))
    statuses: Counter[str] = Counter()
    budget_usd = None
    if rates:
        require_swept(asked, folder)
        resolved.require_rater()
        with _opened(asked, folder, cache, on) as opened:
            if _rate(asked, opened, resolved, statuses, on):
                budget_usd = resolved.job.policy.budget_usd
    lacking = [name for name in asked.settings if not run_exists(folder / name)]
    if lacking:
        raise BadInput(
            f"sweep '{asked.name}' has no run '{lacking[0]}' yet; `autointerp sweep "
            f"{shlex.quote(str(path))}` without --no-rate makes it"
        )
    with ExitStack() as stack:
        looked = {}
        for name in asked.settings:
            run, _ = open_to_look(name, folder)
            looked[name] = stack.enter_context(run)
        question = resolved.question
        found = sweep_findings(
            asked.name,
            asked.saes,
            looked,
            resolved.rater.name,
            question.digest,
            question.id,
            asked.reference,
            plan=plan,
            deviations=deviations,
        )
    return SweepResult(found, statuses, budget_usd, write_sweep(found, place) if page else None)


def forecast_sweep(
    path: Path | str,
    options: RaterOptions = RaterOptions(),
    policy: RatingPolicy = RatingPolicy(),
    runs: Path | str = RUNS,
    tokens: int | str | None = None,
    cache_site: int | str | None = None,
) -> SweepForecast:
    """Return what `sweep` would do and what it would cost; nothing is made or asked."""
    folder = Path(runs)
    asked = _reading(read_sweep(Path(path), folder), tokens, folder)
    require_swept(asked, folder)
    for settings in asked.settings.values():
        if settings.subject.sae:
            require_sae(settings.subject.sae)
    resolved = _judge(asked, options, policy, folder)
    resolved.prepare_rater(resolved.question)
    missing: dict[str, int] = {}
    measured: list[str] = []
    rated = items = 0
    spliced = 0
    for name, settings in asked.settings.items():
        wanted = _wanted(asked, name)
        lacks, is_measured, mine = sum(wanted.values()), False, sum(wanted.values())
        if run_exists(folder / name):
            with open_to_read(name, folder) as run:
                _require_settings(run, settings)
                units = {source: run.sampled(source, n) for source, n in wanted.items()}
                held = {source: len(of) for source, of in units.items()}
                has_more = {s for s in wanted if not is_exhausted(run, s)}
                lacks = sum(wanted[source] - held[source] for source in has_more)
                mine = sum(held.values()) + lacks
                is_measured = run.recall(REMEMBERED) is not None
                spliced += is_measured and lacks_loss(run, asked.loss_tokens)
                asked_of = [*chain.from_iterable(units.values())]
                rated += not_pending(run, resolved, asked_of, resolved.job.repeats)
        items += mine
        if lacks:
            missing[name] = lacks
        if asked.wanted[name] == FEATURES and not is_measured:
            measured.append(name)
    read = {name: asked.settings[name].subject for name in {*missing, *measured}}
    left = max(0, items - rated)
    return SweepForecast(
        name=asked.name,
        saes=len(asked.saes),
        missing=missing,
        measured=len(measured),
        spliced=spliced,
        sites=len({subject.site for subject in read.values()}),
        twins=sum(asked.wanted[name] not in (FEATURES, NEURONS) for name in read),
        sae_mb=sum(map(_size_mb, {subject.sae for subject in read.values() if subject.sae})),
        units_mb=sum(missing.values()) * UNIT_KB / 1000,
        rater=resolved.rater.name,
        rubric=resolved.question.id,
        items=items,
        left=left,
        estimate=forecast_calls(resolved.rater, resolved.question, left),
        tokens=next(iter(asked.settings.values())).harvest.tokens,
        cache_bytes=0 if cache_site is None else byte_count(cache_site),
    )


def _size_mb(place: str) -> float:
    path = Path(place)
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _judge(asked: SweepFile, options: RaterOptions, policy: RatingPolicy, folder: Path) -> Resolved:
    """Return the judge and its question. Raises BadInput for what a sweep does not ask."""
    if is_person(asked.rater):
        raise BadInput(
            f"{asked.path}: rater = '{asked.rater}' is a person; name a judge, and let people rate "
            f"single runs: autointerp rate --run {asked.saes[0].run} --rater {asked.rater}"
        )
    job = Job(
        n=asked.n,
        rubric=asked.rubric,
        rater=asked.rater,
        run=asked.saes[0].run,
        options=options,
        policy=policy,
        runs=folder,
    )
    resolved = Resolved(job, planned=False)
    if resolved.question.about != "unit":
        raise BadInput(
            f"{asked.path}: rubric = '{asked.rubric}' is about descriptions; a sweep rates units"
        )
    return resolved


def _wanted(asked: SweepFile, name: str) -> dict[str, int]:
    """Return how many units of each source a run is to hold; controls stand beside the neurons."""
    source = asked.wanted[name]
    wanted = {source: asked.n}
    if source == NEURONS and asked.controls:
        wanted |= dict.fromkeys(sources_by_role(controls=True), asked.controls)
    return wanted


# ------------------------------------------------------------------------------- the runs


@contextmanager
def _opened(asked: SweepFile, folder: Path, cache: int | None, on: On) -> Iterator[dict[str, Run]]:
    """Open the runs of a sweep, with all that they are to hold; runs that lack it are harvested.

    `cache`: Bytes that the sites' activations may take; 0 deletes them.
    """
    with ExitStack() as stack:
        opened: dict[str, Run] = {}
        for name, settings in asked.settings.items():
            if run_exists(folder / name):
                run = stack.enter_context(open_run(name, folder=folder))
                say_opened(run, on)
                _require_settings(run, settings)
                opened[name] = run
        if cache == 0:
            for run in opened.values():
                delete_cache(run, on)
        lacking = [name for name in asked.settings if _lacks(asked, name, opened.get(name))]
        _require_unchanged([run for name, run in opened.items() if name not in lacking], folder, on)
        if lacking:
            _harvest(asked, lacking, opened, folder, stack, cache, on)
        yield {name: opened[name] for name in asked.settings}


def _lacks(asked: SweepFile, name: str, run: Run | None) -> bool:
    """Return whether a run lacks units, its SAE's figures, or where its units are silent."""
    if run is None:
        return True
    wanted = _wanted(asked, name)
    return (
        bool(left_to_draw(run, wanted))
        or (
            asked.wanted[name] == FEATURES
            and (run.recall(REMEMBERED) is None or lacks_loss(run, asked.loss_tokens))
        )
        or bool(unverified(run, list(wanted)))
    )


def _require_unchanged(runs: Sequence[Run], folder: Path, on: On) -> None:
    """Raise RunMismatch where the subject of a run that lacks nothing is not what it was.

    Subjects are loaded where their files leave a doubt, one SAE at a time.
    """
    doubtful = [run for run in runs if not is_unchanged(run)]
    if not doubtful:
        return
    from autointerp.subjects.load import load_subject

    on(Step(f"loading {count(len(doubtful), 'subject')} to see whether they are what they were"))
    first: Subject | None = None
    for run in doubtful:
        settings = run.settings.subject
        require_places(settings)
        before = look_at_parts(settings)
        subject = load_subject(settings, first, folder / TOKENS)
        _require_same(run, subject)
        keep_record(run, before, subject)
        first = first or replace(subject, sae=None, loaded=None)


def _harvest(
    asked: SweepFile,
    lacking: list[str],
    opened: dict[str, Run],
    folder: Path,
    stack: ExitStack,
    cache: int | None,
    on: On,
) -> None:
    """Harvest what runs lack in one reading of the corpus; the new ones are put into `opened`."""
    from autointerp.units.together import Member, draw_together

    on(Step(f"sweep '{asked.name}': loading {count(len(lacking), 'subject')} of one model"))
    parts = {name: look_at_parts(asked.settings[name].subject) for name in lacking}
    subjects = _subjects({name: asked.settings[name] for name in lacking}, folder / TOKENS)
    held = {name: run.about["digests"] for name, run in opened.items()}
    read = {name: subject.digests for name, subject in subjects.items()}
    require_seeds(
        asked.path,
        asked.saes,
        {name: (of.get("sae", ""), of.get("untrained", "")) for name, of in (held | read).items()},
    )
    new: list[Run] = []
    try:
        for name in lacking:
            if name in opened:
                _require_same(opened[name], subjects[name])
                continue
            run = open_run(name, asked.settings[name], subjects[name], folder)
            opened[name] = stack.enter_context(run)
            new.append(run)
            say_opened(run, on, is_new=True)
        first = opened[lacking[0]]
        for run in opened.values():
            _require_one_model(first, run)
        for name in lacking:
            keep_record(opened[name], parts[name], subjects[name])
        total, exact = tokens_of_pass(first, subjects[lacking[0]])
        spliced = asked.loss_tokens if total is None else min(total, asked.loss_tokens)
        with _with_caches(asked, subjects, opened, cache, on) as keeping:
            members = [
                Member(
                    opened[name],
                    keeping[name],
                    _wanted(asked, name),
                    measures=asked.wanted[name] == FEATURES and _is_dictionary(keeping[name]),
                )
                for name in lacking
            ]
            draw_together(
                members,
                asked.loss_tokens,
                lambda label, tokens: on(Harvesting(label, tokens, total, exact)),
                lambda text: on(Note(text)),
                lambda label, tokens: on(Harvesting(label, tokens, spliced, exact)),
            )
    except BadInput:
        for run in new:
            if not run.has_rows("unit"):
                run.discard()
        raise


@contextmanager
def _with_caches(
    asked: SweepFile,
    subjects: Mapping[str, Subject],
    opened: Mapping[str, Run],
    cache: int | None,
    on: On,
) -> Iterator[Mapping[str, Subject]]:
    """Yield the subjects, those of a site with its activations kept beside the run of its neurons.

    Sites have equal parts of `cache` bytes. What takes how much is said before.
    """
    from autointerp.units.site_cache import with_cache

    if not cache:
        yield subjects
        return
    beside = {sae.site: opened[sae.baseline] for sae in asked.saes}
    keeping = dict(subjects)
    with ExitStack() as stack:
        for site, run in beside.items():
            names = [name for name in subjects if asked.settings[name].subject.site == site]
            if not names:
                continue

            def tell(text: str, run: Run = run) -> None:
                run.log("cache", text=text)
                on(Note(text))

            room = cache // len(beside)
            first = with_cache(subjects[names[0]], run.settings, run.path, room, tell)
            kept = stack.enter_context(first).cache
            keeping |= {name: replace(subjects[name], cache=kept) for name in names}
        yield keeping


def _is_dictionary(subject: Subject) -> bool:
    from autointerp.subjects.autoencoder import SparseAutoencoder

    return isinstance(subject.sae, SparseAutoencoder)


def _subjects(settings: Mapping[str, RunSettings], tokens: Path) -> dict[str, Subject]:
    """Load the subjects, the model once; equal settings are one subject.

    `tokens`: Folder of the corpus's token ids.
    """
    from autointerp.subjects.load import load_subject

    loaded: dict[SubjectSettings, Subject] = {}
    first: Subject | None = None
    for one in settings.values():
        if one.subject not in loaded:
            loaded[one.subject] = load_subject(one.subject, first, tokens)
            first = first or loaded[one.subject]
    return {name: loaded[one.subject] for name, one in settings.items()}


def _require_settings(run: Run, settings: RunSettings) -> None:
    difference = first_difference(settings, run.settings)
    if difference is not None:
        raise RunMismatch(
            f"run '{run.name}' was made with other settings: {difference}; give the sweep or the "
            f"SAE another name, or remove {run.path}"
        )


def _require_same(run: Run, subject: Subject) -> None:
    part = changed_part(run.about["digests"], subject.digests)
    if part is not None:
        raise RunMismatch(
            f"run '{run.name}' was made with another {part}; give the sweep another name, or "
            f"remove {run.path}"
        )


def _require_one_model(first: Run, other: Run) -> None:
    for part in ("model", "corpus"):
        if first.about["digests"].get(part) != other.about["digests"].get(part):
            raise RunMismatch(
                f"runs '{first.name}' and '{other.name}' were made with different {part} files; a "
                "sweep has one: give this one another name"
            )


# --------------------------------------------------------------------------------- rating


def _rate(
    asked: SweepFile,
    opened: Mapping[str, Run],
    resolved: Resolved,
    statuses: Counter[str],
    on: On,
) -> bool:
    """Ask the judge about all units of all runs; return whether the budget ended it."""
    plan = stored_plan(asked.name, resolved.job.runs)
    declared = {
        "sweep": asked.name,
        "plan": None if plan is None else plan.digest,
        "rater": resolved.rater.name,
        "rubric": resolved.question.id,
        "n": asked.n,
        "reference": asked.reference,
        "saes": [sae.name for sae in asked.saes],
    }
    wanted = {name: _wanted(asked, name) for name in opened}
    return rate_in_one_order(wanted, opened, resolved, statuses, on, "sweep", declared)


def rate_in_one_order(
    wanted: Mapping[str, Mapping[str, int]],
    opened: Mapping[str, Run],
    resolved: Resolved,
    statuses: Counter[str],
    on: On,
    event: str,
    declared: Mapping[str, Any],
) -> bool:
    """Ask the judge about units of several runs in one order; return whether the budget ended it.

    `wanted` are each run's sources and how many of them, by the run's name; `event` and what is
    `declared` go to the log of each. Items are named by hashes, so their order says nothing of the
    run. It is cut into blocks, and of each block every run is asked its part: a judge that drifts
    drifts for all of them.
    """
    rater, question = resolved.rater, resolved.question
    queue: list[tuple[str, str]] = []
    for name, run in opened.items():
        for source, n in wanted[name].items():
            units = run.sampled(source, n)
            queue += [(item, name) for item in make_items(run, units, question, rater.evidence)]
    queue.sort()
    on(Step(f"{rater.name}: {count(len(queue), 'unit')} of {len(opened)} runs in one order"))
    budget = resolved.job.policy.budget_usd
    logged: set[str] = set()
    for begin in range(0, len(queue), BLOCK * len(opened)):
        block = queue[begin : begin + BLOCK * len(opened)]
        for name, run in opened.items():
            ids = [item for item, of in block if of == name]
            if not ids:
                continue
            if name not in logged:
                run.log(event, **declared)
                logged.add(name)
            one = copy.copy(resolved)
            elsewhere = sum(other.committed_usd() for other in opened.values() if other is not run)
            left = None if budget is None else max(0.0, budget - elsewhere)
            policy = replace(resolved.job.policy, budget_usd=left)
            one.job = replace(resolved.job, run=name, policy=policy)
            counts = ask_pending(run, ids, question, one, on, expected=0)
            statuses.update(counts.statuses)
            if counts.stopped == "budget":
                return True
    return False


# ---------------------------------------------------------------------------------- words


def as_text(result: SweepResult) -> str:
    """Return the findings as lines for a terminal."""
    found = result.sweep
    lines = []
    if found.plan is not None:
        lines.append(f"planned {found.plan.made_at} UTC, sha256 {found.plan.digest}")
    lines += [f"not as planned: {text}" for text in found.deviations]
    if result.statuses:
        lines.append(f"{found.rater} on {found.rubric}: {statuses_text(Counter(result.statuses))}")
    if result.budget_usd is not None:
        lines.append(budget_text(result.budget_usd))
    for one in found.results:
        figures = one.figures
        parts = [f"score {one.interpretability or 'unknown'}"]
        if figures is not None:
            parts += [
                f"L0 {figures.l0}",
                f"dead {figures.dead:,} of {figures.width:,}",
                f"variance explained {figures.variance_explained}",
                f"loss recovered {figures.loss_recovered}",
            ]
        lines.append(f"{one.sae.name}: " + "; ".join(parts))
    for run, why in found.fails.items():
        lines.append(f"nothing is compared: in run '{run}' {why}")
    if found.across is not None:
        for judged in found.across.judged:
            for c in judged.contrasts:
                p = "unknown" if c.holm_p is None else f"{c.holm_p:.3g}"
                early = f"; nothing is decided, {c.reading.interim}" if c.reading.interim else ""
                lines.append(
                    f"{c.first.label} against {c.second.label}: {c.superiority}, p {p} (Holm, "
                    f"{found.across.family}){early}"
                )
            lines += [f"not compared: {out.why}" for out in judged.left_out]
    return "\n".join(lines)


def as_json(result: SweepResult) -> dict[str, Any]:
    """Return the findings as JSON values."""
    return result.sweep.as_json()
