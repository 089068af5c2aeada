"""A person rates: find or make the session, ask, store the answers in the run.

The run's database is open before and after, never while somebody rates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autointerp.engine.forecast import Forecast
from autointerp.errors import BadInput, RunLocked, StorageError, SubjectError, TooFewUnits
from autointerp.files import PRIVATE_FILE, PRIVATE_FOLDER
from autointerp.people.assign import (
    TRAINED_ON,
    TRAINING_EACH,
    Place,
    ReadAround,
    contexts_text,
    latest_plan,
    most_gold,
    plan_session,
    planned_units,
    register,
    with_training,
)
from autointerp.people.ingest import ingest_journals, journals_folder
from autointerp.people.journal import OtherJournals, open_journal, write_session
from autointerp.people.machine import Machine, parts_text
from autointerp.people.session import Around, Sitting, digest_of
from autointerp.pipeline.events import Note, On, Step, ignore
from autointerp.pipeline.harvest import draw
from autointerp.pipeline.job import Resolved, open_job, sources_by_role
from autointerp.pipeline.patience import patiently
from autointerp.pipeline.sit_pack import Ask, SitResult, result_of
from autointerp.pipeline.until import deviations, say_deviations
from autointerp.records import check_person
from autointerp.store.run import Run, open_run
from autointerp.store.snapshots import open_to_read
from autointerp.subjects import Subject
from autointerp.text import count, first_tokens
from autointerp.units.sources import kind_of

LEAVE_OUT = (
    "Parts are left out by --no-practice, --controls 0 and --repeat-share 0; --mix asks about "
    "sources that are not named, too, and --guess at the end what each item was"
)


@dataclass(frozen=True)
class SitForecast:
    """What a person would be asked, at most.

    Attributes:
        units: Units of each source, mixed.
        practice, repeats, guesses: Questions beside one for each unit.
        tokens: Tokens of the corpus that are read at most; 0 for all.
        new: What a run would be of that is not there yet, in words; empty of one that is.
        deviations: In what the rating would differ from the run's plan, a line each.
    """

    rater: str
    units: Mapping[str, int]
    practice: int
    repeats: int
    guesses: int
    tokens: int = 0
    new: str = ""
    deviations: tuple[str, ...] = ()

    @property
    def questions(self) -> int:
        """All that would be asked."""
        return sum(self.units.values()) + self.practice + self.repeats + self.guesses

    @property
    def estimate(self) -> Forecast:
        """As many calls as questions: a person counts no tokens."""
        return Forecast(self.rater, self.questions)

    def __str__(self) -> str:
        units = ", ".join(f"{n} {name}" for name, n in self.units.items())
        parts = [
            f"{self.practice} for practice" if self.practice else "",
            f"{units} at most{', mixed' if len(self.units) > 1 else ''}",
            f"{self.repeats} of them once more" if self.repeats else "",
            f"{self.guesses} quick guesses at the end" if self.guesses else "",
            f"from {first_tokens(self.tokens)} at most" if self.tokens else "",
        ]
        text = (
            (f"{self.new}: " if self.new else "")
            + f"would ask {self.rater} {count(self.questions, 'question')}: "
            f"{'; '.join(part for part in parts if part)}. {LEAVE_OUT}"
        )
        return "\n".join([text, *self.deviations])

    def as_json(self) -> dict[str, object]:
        """Return the forecast as JSON values."""
        return {**asdict(self), "units": dict(self.units), "questions": self.questions}


def rate_by_person(resolved: Resolved, ask: Ask, on: On = ignore) -> SitResult:
    """Let the person `job.rater` rate what the job asks for, mixed with all other sources."""
    job, rater = resolved.job, _person(resolved)
    path = journal_path(resolved)
    earlier = journal_path(resolved, replace(job.sitting, mixed=True, guess=True))
    if not path.exists() and earlier.exists() and not job.sitting.planned:
        path = earlier
        on(Note("this goes on with a sitting that was begun with other sources and guesses"))
    if not path.exists() or job.sitting.planned:
        path = _make_session(resolved, path, on)
    else:
        _ingest(resolved, on)
    others = OtherJournals(journals_folder(job.folder), rater)
    with open_journal(path, rater) as journal:
        before = len(journal.entries)
        machine = Machine(journal, rated_by_others=others.counts)
        if machine.step is not None:
            on(Note(f"{parts_text(machine.parts, machine.declined)}. {LEAVE_OUT}"))
        ask(machine)
        answers = len(journal.entries) - before
    return result_of(machine, answers, _ingest(resolved, on), path)


def _person(resolved: Resolved) -> str:
    """Return who is asked. Raises BadInput for what no person can be asked."""
    job = resolved.job
    rater = check_person(job.rater)
    if job.repeats > 1:
        raise BadInput(f"--repeats {job.repeats}: for people say --repeat-share, from 0 to 1")
    if resolved.question.about == "description":
        raise BadInput(f"rubric '{resolved.question.id}' is about descriptions; people rate units")
    return rater


def journal_path(resolved: Resolved, sitting: Sitting | None = None) -> Path:
    """Return the journal of a job, or of the job with another `sitting`: the same job continues it,
    another one has its own."""
    job = resolved.job
    sitting = sitting or job.sitting
    asked = {
        "rubric": resolved.question.digest,
        "sources": sorted(resolved.sources),
        "n": resolved.n,
        "controls": job.controls,
        "settings": resolved.settings.digest,
        "overlap": sitting.overlap,
        "repeat_share": sitting.repeat_share,
    }
    for name in ("mixed", "practice", "guess"):  # journals from before these keep their names
        if not getattr(sitting, name):
            asked[name] = False
    name = job.rater.replace(":", "-")
    return journals_folder(job.folder) / f"{name}.{digest_of(asked)[:12]}.jsonl"


def _make_session(resolved: Resolved, path: Path, on: On) -> Path:
    """Draw what is missing, choose the items, write the session; return its path."""
    job, rubric = resolved.job, resolved.question
    subject = resolved.subject()
    wanted = resolved.wanted  # before the run is open: of an imported one it asks the run
    with open_patiently(resolved, subject, on) as run:
        ingest_journals(run, lambda text: on(Note(text)))
        if job.sitting.planned:
            plan = digest_of(sorted(latest_plan(run, rubric)[0]))[:12]
            path = path.with_name(f"{path.stem}.plan-{plan}.jsonl")
            if path.exists():
                return path
        mixed = draw_mixed(resolved, wanted, run, subject, on)
        chosen = planned_units(run, rubric) if job.sitting.planned else {}
        say_deviations(run, resolved, on, {**mixed, **chosen})
        planned = plan_session(
            run,
            rubric,
            mixed,
            job.sitting,
            job.rater,
            str(resolved.settings.seed),
            None if subject is None else reader_of(subject, run, on),
        )
        register(run, planned, job.rater)
        journals_folder(run.path).mkdir(PRIVATE_FOLDER, exist_ok=True)
        write_session(path, planned.session, PRIVATE_FILE)
        run.log("session", rater=job.rater, rubric=rubric.id, left_out=planned.left_out)
        note = contexts_text(planned)
        if note:
            on(Note(note))
        if not planned.session.training and not planned.gold:
            on(Note("no gold items: the run has no controls (--controls 0)"))
    return path


def forecast_sitting(resolved: Resolved) -> SitForecast:
    """Return what a person would be asked; nothing is made. Raises as `rate_by_person` does."""
    rater = _person(resolved)
    wanted = resolved.wanted
    sitting = resolved.job.sitting
    named = [name for name in wanted if not _is_control(resolved, name)]
    if sitting.planned:
        with open_to_read(resolved.job.run, resolved.job.runs) as run:
            units = planned_units(run, resolved.question)
    else:
        others = sources_by_role(controls=False) if sitting.mixed else []
        studied = named if resolved.is_imported else list(dict.fromkeys([*others, *named]))
        units = {name: wanted.get(name, resolved.n) for name in studied}
    deviate: tuple[str, ...] = ()
    if resolved.about is not None:
        with open_to_read(resolved.job.run, resolved.job.runs) as run:
            deviate = deviations(run, resolved, units)
    gold = most_gold(sum(units.values())) if sitting.gold is None else sitting.gold
    units |= {name: min(n, gold) for name, n in wanted.items() if name not in named}
    items = sum(units.values())
    trained = sum(kind_of(name).role in TRAINED_ON for name in units) if sitting.practice else 0
    return SitForecast(
        rater,
        units,
        practice=TRAINING_EACH * trained,
        repeats=int(items * sitting.repeat_share + 0.5),
        guesses=items if sitting.guess else 0,
        tokens=resolved.settings.harvest.tokens,
        new=resolved.new,
        deviations=deviate,
    )


def _is_control(resolved: Resolved, name: str) -> bool:
    """Return whether a source of a job is a control; an imported run says so of its own."""
    return resolved.held[name][1] if resolved.is_imported else kind_of(name).is_control


def read_again(run: Run, on: On = ignore) -> ReadAround:
    """Return what reads the text round a run's contexts, once the subject is loaded again for it.

    Raises BadInput for an imported run, which has no corpus, as `subject_again` does.
    """
    from autointerp.units.reopen import subject_again

    return reader_of(subject_again(run, "--corpus-text"), run, on)


def reader_of(subject: Subject, run: Run, on: On = ignore) -> ReadAround:
    """Return what reads the text round a run's contexts from the subject's corpus."""

    def read(places: Collection[Place]) -> Mapping[Place, Around]:
        from autointerp.units.surroundings import read_surroundings

        on(Step(f"reading the text round {count(len(places), 'context')}"))
        return read_surroundings(subject, run.settings.harvest, places)

    return read


def draw_mixed(
    resolved: Resolved,
    wanted: Mapping[str, int],
    run: Run,
    subject: Subject | None,
    on: On = ignore,
) -> dict[str, int]:
    """Draw the units that are missing; return those to rate, by source.

    With `Sitting.mixed` every studied source takes part, asked for or not: a rater who knows that
    all units are features is not blind. Where a source cannot be had, those asked for stand alone.
    What `plan-humans` drew is there already: of `Sitting.planned` controls alone may be missing.
    """
    if resolved.job.sitting.planned:
        controls = {name: n for name, n in wanted.items() if _is_control(resolved, name)}
        draw(run, subject, with_training(controls), on, cache=resolved.job.cache_bytes)
        return controls
    studied = sources_by_role(controls=False)
    if subject is None:
        studied = [name for name, (_, control) in run.held_units().items() if not control]
    if not resolved.job.sitting.mixed:
        studied = []
    mixed = {**dict.fromkeys(studied, resolved.n), **wanted}
    try:
        draw(run, subject, with_training(mixed), on, cache=resolved.job.cache_bytes)
    except (SubjectError, TooFewUnits) as error:
        if mixed.keys() == wanted.keys():
            raise
        on(Note(f"sources are not mixed: {error}"))
        draw(run, subject, with_training(dict(wanted)), on, cache=resolved.job.cache_bytes)
        return dict(wanted)
    return mixed


def open_patiently(resolved: Resolved, subject: Subject | None, on: On = ignore) -> Run:
    """Open the run, waiting a while for another process to close it."""
    return patiently(lambda: open_job(resolved, subject, on), on)


def _ingest(resolved: Resolved, on: On) -> str:
    """Read all journals into the run; return why that is not possible now, empty if it was."""
    try:
        with open_run(resolved.job.run, folder=resolved.job.runs) as run:
            ingest_journals(run, lambda text: on(Note(text)))
    except (RunLocked, StorageError) as error:
        return str(error)
    return ""
