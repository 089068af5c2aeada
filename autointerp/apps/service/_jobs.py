"""Jobs: runs that go on by themselves, each a child process of the same verbs.

All that is known of a job lies in a folder of its own, so that it survives the server and can be
watched by any process:

    job.json       what was asked, and when
    lock           locked by the child while it lives; the system lets go at any death
    events.jsonl   the events of the verb, one a line; what draws the terminal's bar
    pid            of the child, written by itself
    control.json   what is wanted now: paused, concurrency, budget
    stop           is there once it is to end
    result.json    how it ended
    output.log     whatever else the child printed
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autointerp import extensions
from autointerp.apps import cli as commands
from autointerp.apps.service._tokens import SERVICE, service_folder
from autointerp.engine.control import Limits
from autointerp.errors import BadInput, RunLocked, StorageError, UnknownName
from autointerp.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    held_lock,
    is_locked,
    is_there,
    json_value,
    open_locked,
    unread,
    write_text,
)
from autointerp.records import is_person

if TYPE_CHECKING:
    from autointerp.engine.control import Control
    from autointerp.pipeline.events import Event
    from autointerp.pipeline.job import Job

JOB, EVENTS, CONTROL, RESULT = "job.json", "events.jsonl", "control.json", "result.json"
PID, STOP = "pid", "stop"
STOPPED = "stopped; the same job goes on from here"
STAMP = "%Y%m%d-%H%M%S"
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
State = Literal["running", "paused", "done", "failed", "stopped", "killed"]
ACTIVE = ("running", "paused")
CHUNK = 2**20  # bytes of a log that are read at once
MOST_WATCHED = 100
LOOK_S = 1.0
Verb = Literal["rate", "harvest", "explain", "score"]
OPTIONS = {"sources": "source", "scorers": "scorer"}  # fields whose options are called otherwise


class Child(subprocess.Popen[bytes]):
    """The process of a job. It outlives the server, so Python is not to warn of one that runs on
    when its object goes."""

    def __del__(self) -> None:
        pass


_children: list[Child] = []  # of this process, until they have ended


@dataclass(frozen=True)
class Asked:
    """What a job is to do: the options of the command of the same name, and their meanings."""

    verb: Verb = "rate"
    run: str = "main"
    sources: tuple[str, ...] = ()
    n: int | None = None
    rubric: str = "interpretability-1-5"
    rater: str = "lexical"
    subject: str | None = None
    seed: int | None = None
    tokens: int | None = None
    controls: int = 50
    repeats: int = 1
    guess: bool = False
    explainer: str | None = None
    contexts: int | None = None
    logit_effects: bool = False
    scorers: tuple[str, ...] = ()
    until_width: float | None = None
    until_clear: bool = False
    max_n: int | None = None
    base_url: str | None = None
    budget_usd: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    concurrency: int | None = None
    retries: int = 8
    timeout: float = 120.0
    max_output_tokens: int = 1024
    structured: str | None = None
    effort: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Asked:
        """Return what JSON values ask for."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})

    @property
    def command(self) -> str:
        """The command line that does the same."""
        positional = self.verb in ("explain", "score")
        words = ["autointerp", self.verb] + ([self.run] if positional else ["--run", self.run])
        for name, value in self._given().items():
            option = f"--{OPTIONS.get(name, name).replace('_', '-')}"
            if isinstance(value, bool):
                words.append(option)
            else:
                for part in value if isinstance(value, tuple) else (value,):
                    words += [option, str(part)]
        return shlex.join(words)

    def job(self, runs: Path, control: Control | None = None) -> Job:
        """Return the job for the verb. Raises BadInput for what it cannot be, and for options that
        the command of its name has not."""
        from autointerp.apps.cli._options import Asking
        from autointerp.pipeline.job import DEFAULT_CONTEXTS, SCORERS, Resolved
        from autointerp.questions.score import Design

        given = self._given()
        command = extensions.load(commands, "command", self.verb).command
        known = inspect.signature(command).parameters
        for name in given:
            if OPTIONS.get(name, name) not in known:
                raise BadInput(f"{name}: `autointerp {self.verb}` has no such option; leave it out")
        if is_person(self.rater):
            raise BadInput(f"rater '{self.rater}' is a person; invite them: autointerp invite")
        names = Asking.__dataclass_fields__
        job = Asking(**{name: getattr(self, name) for name in names}).job(
            self.rater,
            runs=runs,
            run=self.run,
            sources=tuple(self.sources),
            n=self.n,
            rubric=self.rubric,
            subject=self.subject,
            seed=self.seed,
            tokens=self.tokens,
            controls=self.controls,
            repeats=self.repeats,
            guess=self.guess,
            explainer=self.explainer,
            contexts=(self.verb == "rate" and self.contexts) or DEFAULT_CONTEXTS,
            design=Design(self.contexts if self.verb == "score" else None),
            logit_effects=self.logit_effects,
            scorers=tuple(self.scorers) or SCORERS,
            until_width=self.until_width,
            until_clear=self.until_clear,
            max_n=self.max_n,
        )
        if self.verb == "rate":
            Resolved(job).refuse_options_of_descriptions()
        return replace(job, policy=replace(job.policy, control=control))

    def _given(self) -> dict[str, Any]:
        """Return what is asked for beside verb and run, where that is not what is meant anyway."""
        unset = type(self)()
        values = {one.name: getattr(self, one.name) for one in fields(self)[2:]}
        return {name: value for name, value in values.items() if value != getattr(unset, name)}


@dataclass(frozen=True)
class JobState:
    """A job as it is now.

    Attributes:
        made_at, ended_at: ISO 8601, UTC; `ended_at` empty while it goes on, or where it was killed.
        pid: Of the child; 0 while it is only just being started.
        text: How it ended, or its last event, in a line.
        limits: What is wanted of it now.
    """

    id: str
    asked: Asked
    made_at: str
    state: State
    pid: int = 0
    ended_at: str = ""
    text: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


class Jobs:
    """The jobs of a folder of runs."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.folder = runs / SERVICE / "jobs"
        self._lock = threading.Lock()
        self._ended: dict[str, JobState] = {}  # nothing changes in them any more

    def place(self, identifier: str) -> Path:
        """Return a job's folder. Raises UnknownName if there is no such job."""
        path = self.folder / identifier
        try:
            if ID.fullmatch(identifier) and is_there(path / JOB):
                return path
        except PermissionError as error:
            raise unread(path, error) from None
        raise UnknownName("job", identifier, None, "`autointerp jobs list` shows all")

    def ids(self) -> list[str]:
        """Return the jobs' ids, the newest first; also those whose folder must not be entered."""
        try:
            names = filter(ID.fullmatch, os.listdir(self.folder))
        except FileNotFoundError:  # no job was ever started
            return []
        return sorted(filter(self._is_job, names), reverse=True)

    def _is_job(self, identifier: str) -> bool:
        try:
            return is_there(self.folder / identifier / JOB)
        except PermissionError:
            return True

    def all(self, run: str = "") -> list[JobState]:
        """Return the jobs, of one run if it is named, the newest first."""
        states, _ = self.readable()
        return [state for state in states if run in ("", state.asked.run)]

    def readable(self) -> tuple[list[JobState], list[str]]:
        """Return the jobs, the newest first, and a line about each whose files cannot be read."""
        states, lines = [], []
        for identifier in self.ids():
            try:
                states.append(self.state(identifier))
            except StorageError as error:
                lines.append(f"job {identifier}: {error}")
            except UnknownName:
                continue  # removed meanwhile
        return states, lines

    def active(self, run: str) -> JobState | None:
        """Return the job that works on a run; None if none does."""
        return next((state for state in self.all(run) if state.is_active), None)

    def state(self, identifier: str) -> JobState:
        """Return a job as it is now. Raises StorageError if its files cannot be read."""
        if identifier in self._ended:
            return self._ended[identifier]
        place = self.place(identifier)
        # The lock first: a child that ends in between has written its result by then.
        alive = is_locked(place / "lock")
        made, made_at = read_asked(place)
        limits = self.limits(place)
        pid = _pid(place)
        if alive:
            text = last_text(place / EVENTS)
            state: State = "paused" if limits.paused else "running"
            return JobState(identifier, made, made_at, state, pid, "", text, limits)
        if not (place / RESULT).exists() and (place / STOP).exists():  # before it could say so
            stopped_at = datetime.fromtimestamp((place / STOP).stat().st_mtime, UTC)
            at = stopped_at.isoformat(timespec="seconds")
            return JobState(identifier, made, made_at, "stopped", pid, at, STOPPED, limits)
        if not (place / RESULT).exists():
            text = "the process was killed; the same job goes on from there"
            return JobState(identifier, made, made_at, "killed", pid, "", text, limits)
        result = read_fields(place / RESULT, "state", "ended_at", "text")
        self._ended[identifier] = JobState(
            identifier, made, made_at, result["state"], pid, result["ended_at"],
            result["text"], limits,
        )  # fmt: skip
        return self._ended[identifier]

    def start(self, asked: Asked, key: str = "") -> tuple[JobState, bool]:
        """Start a job; return it and whether it is new.

        With an idempotency key, the job that was started by the same key, if there is one. Raises
        RunLocked if the run has a job that goes on, BadInput if the key was used for another job.
        """
        asked.job(self.runs)  # what it cannot be is refused before a process starts
        service_folder(self.runs)
        self.folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
        with self._lock, held_lock(self.folder / "start.lock"):
            self.reap()
            if key:
                before = self._started_by(key)
                if before is not None:
                    if before.asked != asked:
                        raise BadInput(
                            f"Idempotency-Key: job {before.id} was started by it with other "
                            "options; give another key"
                        )
                    return before, False
            active = self.active(asked.run)
            if active is not None:
                raise RunLocked(
                    f"run '{asked.run}' has job {active.id}, which goes on; wait for it, or stop it"
                )
            identifier = f"{self._next_stamp()}-{secrets.token_hex(3)}"
            place = self.folder / identifier
            place.mkdir(PRIVATE_FOLDER)
            about = {
                "asked": asdict(asked),
                "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "key": digest_of(key),
            }
            self._spawn(place, about)
        return self.state(identifier), True

    def _next_stamp(self) -> str:
        """Return what the id of a new job begins with: the time, or the second after the newest
        job's where that is later, so that ids have the order of jobs whatever the clock does."""
        now = datetime.now(UTC).replace(microsecond=0)
        for newest in self.ids()[:1]:
            last = datetime.strptime(newest[: -len("-abcdef")], STAMP).replace(tzinfo=UTC)
            now = max(now, last + timedelta(seconds=1))
        return f"{now:{STAMP}}"

    def _spawn(self, place: Path, about: dict[str, Any]) -> None:
        """Start the child of a job; it has the lock of the folder from the beginning on."""
        lock = open_locked(place / "lock")
        assert lock is not None
        output = os.open(place / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        try:
            write_text(place / JOB, json.dumps(about), mode=PRIVATE_FILE)
            _children.append(Child(
                [sys.executable, "-m", "autointerp.apps.service._child", str(place.absolute()),
                 str(self.runs.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C and the end of the server do not reach it
            ))  # fmt: skip
        finally:
            os.close(output)
            os.close(lock)

    def limits(self, place: Path) -> Limits:
        """Return what is wanted of a job now."""
        return FileControl(place).limits()

    def change(self, identifier: str, **changed: Any) -> JobState:
        """Change what is wanted of a job that goes on: paused, concurrency, budget_usd."""
        place = self.place(identifier)
        self._require_active(identifier)
        with held_lock(place / "control.lock"):
            limits = replace(self.limits(place), **changed)
            if limits.budget_usd is not None:
                from autointerp.engine.budget import require_price
                from autointerp.raters import load_rater

                job = self.state(identifier).asked.job(self.runs)
                require_price(load_rater(job.rater, job.options), limits.budget_usd)
            write_text(place / CONTROL, json.dumps(asdict(limits)), mode=PRIVATE_FILE)
        return self.state(identifier)

    def stop(self, identifier: str) -> JobState:
        """Have a job end: calls in flight are waited for, and what was rated is kept."""
        self._require_active(identifier)
        place = self.place(identifier)
        # A child writes its number, then looks for this file: one of the two reaches it.
        write_text(place / STOP, "", mode=PRIVATE_FILE)
        pid = _pid(place)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return self.state(identifier)

    def _require_active(self, identifier: str) -> JobState:
        state = self.state(identifier)
        if not state.is_active:
            raise BadInput(f"job {identifier} is {state.state}; start another one")
        return state

    def _started_by(self, key: str) -> JobState | None:
        digest = digest_of(key)
        for identifier in self.ids():
            try:
                key_digest = read_fields(self.folder / identifier / JOB).get("key")
            except StorageError:
                continue  # by which key it was started nobody knows any more
            if key_digest == digest:
                return self.state(identifier)
        return None

    def reap(self) -> None:
        """Let the system forget the children of this process that have ended."""
        _children[:] = [child for child in _children if child.poll() is None]


class FileControl:
    """What is wanted of a job, as its folder says; read again when the file has changed."""

    def __init__(self, place: Path) -> None:
        self._path = place / CONTROL
        self._seen: tuple[int, int] | None = None
        self._limits = Limits()

    def limits(self) -> Limits:
        """Return what is wanted now."""
        try:
            about = self._path.stat()
        except OSError:
            return self._limits
        seen = about.st_mtime_ns, about.st_ino
        if seen != self._seen:
            with contextlib.suppress(StorageError, TypeError):
                self._limits = Limits(**read_fields(self._path))
                self._seen = seen
        return self._limits


class Tails:
    """The ends of logs that are watched: read once, however many watch. Of one thread.

    Attributes:
        calls: How many processes answer a question now, see `_calls`.
        closing: Whether the server stops, so that streams are to end.
        invited_by: Digests of the idempotency keys by which somebody is being invited now.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.closing = False
        self.invited_by: set[str] = set()
        self._parts: dict[Path, tuple[int, bytes, int]] = {}
        self._active: dict[str, tuple[float, bool]] = {}

    def stream(self, job: str, path: Path, begin: int) -> tuple[bytes, int]:
        """Return the events of a log from a byte on, as a stream has them, and where they end."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return b"", begin
        if size <= begin:
            return b"", begin
        first, encoded, end = self._parts.get(path, (-1, b"", -1))
        if (first, end) != (begin, size):
            with path.open("rb") as file:
                file.seek(begin)
                text = file.read(CHUNK)
            events, end = [], begin
            for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
                end += len(line)
                events.append(f"id: {job}.{end}\ndata: ".encode() + line.rstrip() + b"\n\n")
            encoded = b"".join(events)
            self._parts.pop(path, None)
            self._parts[path] = (begin, encoded, end)
            while len(self._parts) > MOST_WATCHED:
                del self._parts[next(iter(self._parts))]
        return encoded, end

    def is_active(self, jobs: Jobs, job: str) -> bool:
        """Return whether a job goes on, as it was a second ago at most."""
        looked_at, active = self._active.get(job, (float("-inf"), True))
        now = time.monotonic()
        if now - looked_at > LOOK_S:
            active = jobs.state(job).is_active
            self._active = {**dict(list(self._active.items())[-MOST_WATCHED:]), job: (now, active)}
        return active


def event_of(line: Mapping[str, Any]) -> Event | None:
    """Return a logged event as an object that a terminal shows; None for the end of the log."""
    from collections import Counter

    from autointerp.engine.work import Tally
    from autointerp.pipeline import events

    kind, fields = line["kind"], line["fields"]
    if kind == "Ended":
        return None
    if kind == "Asking":
        tally = {**fields["tally"], "statuses": Counter(fields["tally"]["statuses"])}
        return events.Asking(fields["label"], Tally(**tally))
    if kind == "Harvesting":
        names = events.Harvesting.__dataclass_fields__
        return events.Harvesting(**{name: fields[name] for name in names})
    if kind == "Measuring":
        return events.Measuring(**fields)
    if kind == "Note":
        return events.Note(fields["text"])
    if kind == "Waiting":
        return events.Waiting(fields["reason"])
    return events.Step(line["text"])


def last_text(path: Path) -> str:
    """Return the text of the last event in a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65_536))
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(json.loads(line)["text"])
    return ""


def read_fields(path: Path, *names: str) -> dict[str, Any]:
    """Return what a file of a job's holds, of which the fields `names` are texts. Raises
    StorageError if it cannot be read, or lacks one.
    """
    try:
        fields = json_value(path.read_bytes())
    except PermissionError as error:
        raise unread(path, error) from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read ({error}); remove its folder") from None
    if not isinstance(fields, dict):
        raise StorageError(f"{path} holds no job; remove its folder")
    for name in names:
        if not isinstance(fields.get(name), str):
            raise StorageError(f"{path} lacks '{name}'; remove its folder")
    return fields


def read_asked(place: Path) -> tuple[Asked, str]:
    """Return what the job in a folder was asked to do, and when. Raises StorageError if that cannot
    be read, or is of another version.
    """
    about = read_fields(place / JOB, "made_at")
    try:
        return Asked.of(about["asked"]), about["made_at"]
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{place / JOB} is not of this version ({error}); remove its folder"
        ) from None


def _pid(place: Path) -> int:
    """Return the number of a job's process; 0 where it has not written it yet."""
    try:
        return int((place / PID).read_text("ascii"))
    except (OSError, ValueError):
        return 0


def digest_of(key: str) -> str:
    """Return what is stored of an idempotency key; empty for none."""
    return hashlib.sha256(key.encode()).hexdigest() if key else ""
