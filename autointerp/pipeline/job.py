"""What a verb is asked to do, and what follows from it: settings, question, rater, units."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.engine.budget import require_price
from autointerp.engine.loop import RatingPolicy
from autointerp.errors import BadInput, RunMismatch, UnknownName
from autointerp.findings.plan import PRIMARY, Plan, Stopping, in_order, plan_of, until
from autointerp.people.session import Sitting
from autointerp.pipeline.events import Note, On, RunOpened, ignore, opened_text
from autointerp.questions.question import Question
from autointerp.questions.rubric import Rubric
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.score import Design
from autointerp.raters import (
    ComposedRater,
    Rater,
    RaterOptions,
    load_rater,
    require_keys,
    require_rates,
    require_used,
)
from autointerp.records import is_person
from autointerp.settings import (
    RunSettings,
    byte_count,
    check_count,
    first_difference,
    from_mapping,
    load_settings,
    plain_fields,
    token_count,
)
from autointerp.store.run import (
    CHECKS,
    IN_MEMORY,
    RUNS,
    TOKENS,
    WITHOUT_SUBJECT,
    Run,
    open_run,
    read_about,
    require_same_subject,
    run_exists,
    runs_in,
)
from autointerp.store.snapshots import open_to_read
from autointerp.subjects.part_files import PartFiles, look_at_parts
from autointerp.subjects.places import require_places
from autointerp.text import first_tokens
from autointerp.units.held import is_drawn
from autointerp.units.sources import described_sources, kind_of, only_if_named
from autointerp.units.subject_record import is_unchanged, keep_record

if TYPE_CHECKING:
    from autointerp.subjects import Subject

DEFAULT_N = 200
DEFAULT_CONTROLS = 50
DEFAULT_CONTEXTS = 30
SETTINGS_FILE = "autointerp.toml"
EMBEDDED = "embedded"
SCORERS = ("detection", "fuzzing", "simulation")
LEAST = {"n": 1, "controls": 0, "repeats": 1, "contexts": 3, "seed": 0}  # of what a job may ask for
ASKED_ALONE = Sitting(mixed=False, guess=False)  # a person is asked what the job names


@dataclass(frozen=True)
class Job:
    """What `rate`, `harvest`, `explain` and `score` are asked to do.

    Attributes:
        sources: Names of sources, a tuple or one name. Empty means features for a new run, and
            every source that the run holds where `explain`, `score` or an imported run is meant.
        n: Units of each source; None means 200, and all of an imported or explained run.
        rubric: Id of a shipped rubric, or the path of a file.
        rater: NAME or NAME:MODEL; `human:NAME` for a person.
        run: Name of the run in the folder `runs`.
        subject: `embedded`, or the path of an autointerp.toml. None means the subject of the run
            where it exists, else ./autointerp.toml where that exists, else `embedded`.
        seed: Seed of every draw; None means the settings' own.
        tokens: Tokens of the corpus that a new run reads, from its start, such as 250000 or "100k";
            0 means all, None the settings' own.
        cache_site: Bytes of disk, such as "2G", that the site's activations may take beside the
            run, so that a later pass over the corpus reads no model; 0 deletes what is kept, None
            neither keeps nor reads it.
        controls: Units of each control source that is not in `sources`; 0 means none.
        repeats: Times that each item is rated.
        options: How the rater is reached: server, reply length, prices.
        policy: How it is asked: concurrency, budget, retries.
        batch: Submit the calls to the provider's batch API.
        guess: Ask a model, too, whether each rated item is a feature, a neuron or a control.
        sitting: How a person rates.
        explainer: Whose descriptions are rated or scored; None means the only explainer's, or the
            rater's own where there are no descriptions yet.
        contexts: Contexts at most on which a description is rated.
        logit_effects: Show the explainer which tokens a unit promotes and suppresses.
        scorers: Names of scorers.
        design: How scorers choose contexts and controls.
        until_width: Rate two sources in batches until the half-width of the interval of
            P(superiority) is this at most; None for a fixed n.
        until_clear: Rate two sources in batches until that interval leaves ½ out.
        max_n: With either, units of each source at most; `until_width` can do without.
        runs: Folder of the runs.
    """

    sources: tuple[str, ...] | str = ()
    n: int | None = None
    rubric: str = "interpretability-1-5"
    rater: str = "lexical"
    run: str = "main"
    subject: str | None = None
    seed: int | None = None
    tokens: int | str | None = None
    cache_site: int | str | None = None
    controls: int = DEFAULT_CONTROLS
    repeats: int = 1
    options: RaterOptions = field(default_factory=RaterOptions)
    policy: RatingPolicy = field(default_factory=RatingPolicy)
    batch: bool = False
    guess: bool = False
    sitting: Sitting = ASKED_ALONE
    explainer: str | None = None
    contexts: int = DEFAULT_CONTEXTS
    logit_effects: bool = False
    scorers: tuple[str, ...] = SCORERS
    design: Design = field(default_factory=Design)
    until_width: float | None = None
    until_clear: bool = False
    max_n: int | None = None
    runs: Path = RUNS

    def __post_init__(self) -> None:
        plain_fields(self)
        names = (self.sources,) if isinstance(self.sources, str) else self.sources
        object.__setattr__(self, "sources", tuple(dict.fromkeys(names)))
        object.__setattr__(self, "runs", Path(self.runs))
        for name in ("rubric", "subject"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        if isinstance(self.scorers, str):
            raise BadInput(f"scorers={self.scorers!r}: give a tuple of names, such as {SCORERS}")
        object.__setattr__(self, "scorers", tuple(self.scorers))
        if isinstance(self.n, int) and self.n < 1:
            raise BadInput(f"--n {self.n}: ask for at least 1 unit")
        require_used(self.rater, self.options)
        if self.by_person:
            given = {"budget-usd": self.policy.budget_usd, "concurrency": self.policy.concurrency,
                     "batch": self.batch or None}  # fmt: skip
            for name, value in given.items():
                if value is not None:
                    raise BadInput(f"--{name}: {self.rater} is a person; leave it out")
            if self.until is not None:
                raise BadInput(
                    f"{self.until_option}: a person's ratings are looked at by `report`; give --n "
                    "instead"
                )
        for name, least in LEAST.items():
            number = getattr(self, name)
            if number is not None:
                check_count(f"--{name} {number!r}", number, least)
        if self.tokens is not None:
            object.__setattr__(self, "tokens", token_count(self.tokens))
        if self.cache_site is not None:
            object.__setattr__(self, "cache_site", byte_count(self.cache_site))
        if self.until is not None and self.n is not None:
            raise BadInput(
                f"--n {self.n}: with --until-width or --until-clear the rule says how many; "
                "--max-n limits it"
            )

    @property
    def until(self) -> Stopping | None:
        """The stopping rule that is asked for; None for a fixed n."""
        return until(self.until_width, self.until_clear, self.max_n)

    @property
    def until_option(self) -> str:
        """The option by which a stopping rule is asked for."""
        return "--until-clear" if self.until_clear else "--until-width"

    @property
    def cache_bytes(self) -> int | None:
        """What `cache_site` says, in bytes."""
        assert not isinstance(self.cache_site, str)
        return self.cache_site

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runs / self.run

    @property
    def by_person(self) -> bool:
        """Whether a person is to answer."""
        return is_person(self.rater)


class Resolved:
    """A job with everything that follows from it, each read once.

    `planned`: whether the run's plan says what the job leaves open. Not where several processes
    work on one run, or a person does beside others: reading the plan opens the run.
    """

    def __init__(self, job: Job, planned: bool = True) -> None:
        self.job = job
        self._reads_plan = planned and not job.by_person
        self._parts: PartFiles | None = None  # of the subject, before it was loaded

    @cached_property
    def about(self) -> dict[str, Any] | None:
        """The run's run.toml; None where the run does not exist."""
        return read_about(self.job.folder) if run_exists(self.job.folder) else None

    @cached_property
    def plan(self) -> Plan | None:
        """The run's plan; None where it has none, or where it is not to be read."""
        if self.about is None or not self._reads_plan:
            return None
        with open_to_read(self.job.run, self.job.runs) as run:
            return plan_of(run)

    @cached_property
    def pair(self) -> tuple[str, str]:
        """The two sources that are compared before all others: the plan's, else the first two that
        are named, else features and neurons."""
        if self.plan is not None:
            return self.plan.first, self.plan.second
        named = self._named
        if len(named) < 2:
            return PRIMARY
        first, second = in_order({name: kind_of(name).is_control for name in named})[:2]
        return first, second

    @cached_property
    def stopping(self) -> Stopping | None:
        """The rule by which units are rated in batches, so that one looks and goes on; None to
        rate as many as are asked for. Of the plan where the job asks for nothing in particular.

        Raises BadInput where the sources are not those that a rule compares.
        """
        job, asked = self.job, self.job.until
        if asked is None and (self._named or job.n or job.batch):
            return None
        plan = self.plan
        if asked is None:
            follows = plan is not None and plan.stopping.rule != "fixed"
            return plan.stopping if plan is not None and follows else None
        if (
            plan is not None
            and job.max_n is None
            and (asked.rule, asked.half_width) == (plan.stopping.rule, plan.stopping.half_width)
        ):
            asked = plan.stopping
        if len(self._named) > 2 or not set(self._named) <= set(self.pair):
            raise BadInput(
                f"--source {' --source '.join(self._named)}: a stopping rule compares two sources, "
                f"here {' and '.join(self.pair)}; leave --source out"
                + ("" if plan is not None else ", or name two")
            )
        if self.is_imported:  # what it holds is all there is
            held = [self.held[name][0] for name in self.pair if name in self.held]
            asked = replace(asked, n=min(asked.n, *held)) if held else asked
        return asked

    @property
    def _named(self) -> tuple[str, ...]:
        assert isinstance(self.job.sources, tuple)
        return self.job.sources

    @cached_property
    def is_imported(self) -> bool:
        """Whether the run's units come from files or from memory, so that there is no subject."""
        model = None if self.about is None else self.about["settings"]["subject"]["model"]
        return model in WITHOUT_SUBJECT

    @property
    def _made(self) -> str:
        """How a run without a subject came by its units."""
        assert self.about is not None
        is_from_memory = self.about["settings"]["subject"]["model"] == IN_MEMORY
        return "harvested from memory" if is_from_memory else "imported"

    @cached_property
    def held(self) -> dict[str, tuple[int, bool]]:
        """Eligible units of each source of an imported run, and whether it is a control."""

        with open_to_read(self.job.run, self.job.runs) as run:
            return run.held_units()

    @property
    def by_default(self) -> bool:
        """Whether the run is to be made, and nobody has named its subject: the embedded one."""
        is_named = self.job.subject is not None or default_subject() != EMBEDDED
        return self.about is None and not is_named

    @property
    def new(self) -> str:
        """Which run would be made, and of what, in words; empty where it is there."""
        if self.about is not None:
            return ""
        return opened_text(self.job.run, self.settings.subject.name, True, self.by_default)

    @cached_property
    def settings(self) -> RunSettings:
        """Settings of the subject, or of the run that exists.

        Raises BadInput if a subject or tokens are named beside an imported run, RunMismatch for
        another seed or other tokens.
        """
        job = self.job
        if self.about is None:
            loaded = load_settings(job.subject or default_subject(), job.seed)
            return loaded if job.tokens is None else _reading(loaded, job.tokens)
        stored = from_mapping(RunSettings, self.about["settings"], str(job.folder / "run.toml"))
        if self.is_imported and job.subject is not None:
            raise BadInput(
                f"--subject {job.subject}: run '{job.run}' was {self._made} and has no subject; "
                "leave --subject out"
            )
        if self.is_imported and job.tokens is not None:
            raise BadInput(
                f"--tokens {job.tokens}: run '{job.run}' was {self._made} and reads no corpus; "
                "leave --tokens out"
            )
        held = stored.harvest.tokens
        if job.tokens not in (None, held):
            assert isinstance(job.tokens, int)
            raise RunMismatch(
                f"--tokens {job.tokens}: run '{job.run}' reads {first_tokens(held)}; "
                "leave --tokens out, or give another --run"
            )
        if job.subject is not None:
            named = load_settings(job.subject, stored.seed if job.seed is None else job.seed)
            return _reading(named, held)  # said when it was begun, perhaps not in the file
        if job.seed not in (None, stored.seed):
            raise RunMismatch(
                f"--seed {job.seed}: run '{job.run}' was made with seed {stored.seed}; "
                "leave --seed out, or give another --run"
            )
        return stored

    @cached_property
    def question(self) -> Rubric:
        """The rubric."""
        return load_rubric(self.job.rubric)

    def refuse_options_of_descriptions(self) -> None:
        """Raise BadInput for what a rating under a rubric about units has no use for: whose
        descriptions, or on how many contexts each."""
        job = self.job
        given = {"explainer": job.explainer, "contexts": job.contexts}
        unset = {"explainer": None, "contexts": DEFAULT_CONTEXTS}
        for name in given:
            if given[name] != unset[name] and self.question.about != "description":
                raise BadInput(
                    f"--{name}: for rubrics about descriptions, and '{job.rubric}' is about units; "
                    "leave it out"
                )

    @cached_property
    def rater(self) -> Rater:
        """The rater, not opened."""
        return load_rater(self.job.rater, self.job.options)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The studied sources: those named, the pair of the plan or of the stopping rule, or
        features; every one that an imported run holds."""
        if self.stopping is not None:
            return self.pair
        if self._named:
            return self._named
        if self.plan is not None:
            return self.pair
        if not self.is_imported:
            return ("features",)
        return tuple(name for name, (_, is_control) in self.held.items() if not is_control)

    @cached_property
    def n(self) -> int:
        """Units of each source: as asked or planned, at most where a rule stops before, or 200, or
        as many as an imported run holds at most."""
        if self.job.n is not None:
            return self.job.n
        if self.stopping is not None:
            return self.stopping.n
        if self.plan is not None and self.plan.stopping.rule == "fixed":
            return self.plan.stopping.n
        if not self.is_imported:
            return DEFAULT_N
        return max((size for size, _ in self.held.values()), default=1)

    @cached_property
    def wanted(self) -> dict[str, int]:
        """Units of each source, controls included; of an imported run as many as it holds.

        Raises UnknownName for a source that does not exist.
        """
        wanted = dict.fromkeys(self.sources, self.n)
        if self.is_imported:
            for name in self.sources:
                if name not in self.held:
                    raise UnknownName(
                        "source", name, self.held, f"run '{self.job.run}' was {self._made}"
                    )
            controls = [name for name, (_, is_control) in self.held.items() if is_control]
        else:
            for name in self.sources:
                if name not in described_sources():
                    raise UnknownName("source", name, described_sources())
            controls = sources_by_role(controls=True)
        if self.job.controls:
            for name in controls:
                wanted.setdefault(name, self.job.controls)
        if self.is_imported:
            return {name: min(n, self.held[name][0]) for name, n in wanted.items()}
        return wanted

    def require_places(self) -> None:
        """Raise where a file that the subject's settings name is not there, before torch loads."""
        if not self.is_imported:
            require_places(self.settings.subject)

    def subject(self, device: str | None = None) -> Subject | None:
        """Load the subject, on `device` if it is given; None for an imported run."""
        if self.is_imported:
            return None
        from autointerp.subjects.load import load_subject

        settings = self.settings.subject
        self._parts = look_at_parts(settings)
        if device is not None:
            settings = replace(settings, device=device)
        return load_subject(settings, tokens=self.job.runs / TOKENS)

    def subject_for(
        self, run: Run, wanted: Mapping[str, int], place: Callable[[str], str] | None = None
    ) -> Subject | None:
        """Return the subject for drawing what is `wanted` of the job's run, which is open.

        None for an imported run, and for one that holds all of it if the files of its subject are
        those that it was made of: then neither the model nor torch is loaded. `place` returns the
        device of this process for that of the settings.

        Raises RunMismatch if the subject is another one than the run's.
        """
        if not self.needs_subject(run, wanted):
            return None
        subject = self.subject(place and place(self.settings.subject.device))
        assert subject is not None
        require_same_subject(run.path, run.about, subject)
        self.keep_record(run, subject)
        return subject

    def needs_subject(self, run: Run, wanted: Mapping[str, int]) -> bool:
        """Return whether the subject has to be loaded: to draw what is `wanted` and the job's run
        lacks, or to see whether it is the one that the run was made of."""
        if self.is_imported:
            return False
        require_places(self.settings.subject)
        return not (is_drawn(run, wanted) and is_unchanged(run))

    def keep_record(self, run: Run, subject: Subject) -> None:
        """Keep in the run by which files its subject, as this job loaded it, is known again."""
        keep_record(run, self._parts, subject)

    def require_rater(self) -> None:
        """Raise what would stop the rater, before units are harvested for it."""
        require_price(self.rater, self.job.policy.budget_usd)
        self.prepare_rater(self.question)
        require_keys(self.rater)

    def prepare_rater(self, question: Question) -> None:
        """Have a rater that is asked `question`, if made of others, read what its check learned.

        Raises RaterError where it or a member does not rate units so, or it was not checked;
        BadInput where calls are to be submitted to a batch API that it lacks.
        """
        require_rates(self.rater, question)  # before a panel is sent to a check
        if self.job.batch:
            from autointerp.engine.batches import batch_rater

            batch_rater(self.rater)
        if isinstance(self.rater, ComposedRater):
            self.rater.prepare(self.job.runs / CHECKS, self.question)


def _reading(settings: RunSettings, tokens: int | str) -> RunSettings:
    """Return the settings with so many tokens to be read."""
    return replace(settings, harvest=replace(settings.harvest, tokens=token_count(tokens)))


def default_subject() -> str:
    """Return ./autointerp.toml where it exists, else `embedded`."""
    return SETTINGS_FILE if Path(SETTINGS_FILE).is_file() else EMBEDDED


def sources_by_role(controls: bool) -> list[str]:
    """Return the names of the control sources, or of the studied ones, without those that take
    part only where they are named."""
    return [
        name
        for name, kind in described_sources().items()
        if kind.is_control == controls and not only_if_named(name)
    ]


def open_job(resolved: Resolved, subject: Subject | None, on: On = ignore) -> Run:
    """Open the job's run, creating it if it is missing, and say which run and subject it is."""
    job = resolved.job
    existing = runs_in(job.runs)
    run = open_run(job.run, resolved.settings, subject, job.runs)
    if subject is not None:
        resolved.keep_record(run, subject)
    is_new = job.run not in existing
    close = difflib.get_close_matches(job.run, existing, n=1, cutoff=0.75) if is_new else []
    say_opened(run, on, is_new, close[0] if close else "", resolved.by_default)
    if run.settings.harvest.tokens:
        on(Note(f"run '{run.name}' reads {first_tokens(run.settings.harvest.tokens)} at most"))
    if resolved.about is not None and job.subject is not None and job.tokens is None:
        named = load_settings(job.subject).harvest.tokens
        if named not in (0, run.settings.harvest.tokens):
            on(
                Note(
                    f"run '{run.name}' keeps what it reads: harvest.tokens = {named} in "
                    f"{job.subject} holds for a new --run"
                )
            )
    if resolved.about is not None and not resolved.is_imported and job.subject is None:
        _say_if_settings_changed(resolved, on)
    return run


def _say_if_settings_changed(resolved: Resolved, on: On) -> None:
    """Say so where ./autointerp.toml differs from what the run was made with."""
    if not Path(SETTINGS_FILE).is_file():
        return
    here = load_settings(SETTINGS_FILE, resolved.settings.seed)
    if resolved.job.tokens is not None:  # said again: nothing to wonder at
        here = _reading(here, resolved.job.tokens)
    if here.subject.model != resolved.settings.subject.model:
        return  # another subject: the event names the run's own
    difference = first_difference(here, resolved.settings)
    if difference:
        on(
            Note(
                f"run '{resolved.job.run}' keeps the settings that it was made with: in "
                f"{SETTINGS_FILE} {difference}; a new --run takes the new ones"
            )
        )


def open_existing(resolved: Resolved, on: On = ignore) -> Run:
    """Open the job's run, which must exist, and say which subject it has."""
    job = resolved.job
    run = open_run(job.run, folder=job.runs)
    say_opened(run, on)
    return run


def say_opened(
    run: Run, on: On, is_new: bool = False, similar: str = "", by_default: bool = False
) -> None:
    """Say which run and subject were opened, and what opening it brought to light."""
    on(RunOpened(run.name, run.settings.subject.name, is_new, similar, by_default))
    for note in run.notes:
        on(Note(note))


@contextlib.contextmanager
def run_for(
    resolved: Resolved, subject: Subject | None, on: On = ignore, keep: bool = False
) -> Iterator[Run]:
    """Open the job's run; one that is created here and refused before a unit is stored is removed.

    Otherwise corrected settings would not be those of the run. What was in its folder before
    stays. `keep` leaves all of it.
    """
    with open_job(resolved, subject, on) as run:
        try:
            yield run
        except BadInput:
            if resolved.about is None and not keep and not run.has_rows("unit"):
                run.discard()
            raise
