"""Steps of a study, each a few commands, done once and in order; a second run does what is missing.

A step that is done leaves DONE/NAME.json with its commands and what it took, and LOGS/NAME.txt with
what they printed. It is done again after its file is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from autointerp.files import write_text

ROOT = Path(__file__).resolve().parent.parent
Command = tuple[str, ...]
Say = Callable[[str], None]
Run = Callable[[Command, Path, Say], int]  # runs a command in a folder, returns its exit code


class StepFailed(Exception):
    """A step did not end as it should; the message is one line with a remedy."""


@dataclass(frozen=True)
class Step:
    """One step of a study.

    Attributes:
        what: In one line.
        commands: Their arguments; `autointerp` and `python` are those of this environment.
        makes: Files or folders that are there afterwards, relative to the study's folder.
        files: Written before the commands: contents by relative path.
        then: Called afterwards with the study's folder, for what no command does.
    """

    name: str
    what: str
    commands: tuple[Command, ...] = ()
    makes: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    then: Callable[[Path], None] | None = None

    @property
    def content(self) -> list[str]:
        """What a step must have done to count as done: commands and files, as text."""
        written = [f"{path}:\n{text}" for path, text in sorted(self.files.items())]
        return [*written, *(shlex.join(command) for command in self.commands)]


@dataclass(frozen=True)
class Place:
    """Where a study is made: all its paths are relative to `folder`."""

    folder: Path
    state: str  # such as build/smollm2

    def stamp(self, step: Step) -> Path:
        return self.folder / self.state / "done" / f"{step.name}.json"

    def log(self, step: Step) -> Path:
        return self.folder / self.state / "logs" / f"{step.name}.txt"


def is_done(step: Step, place: Place) -> bool:
    """Return whether a step is done. Raises StepFailed if it was done by other commands."""
    stamp = place.stamp(step)
    if not stamp.is_file():
        return False
    done = json.loads(stamp.read_text("utf-8"))
    if done["content"] != step.content:
        raise StepFailed(
            f"step '{step.name}' was done by other commands than it has now; remove {stamp} to do "
            "it again, and those of later steps that use what it made"
        )
    gone = [path for path in step.makes if not (place.folder / path).exists()]
    if gone:
        raise StepFailed(f"step '{step.name}' is done, and {gone[0]} is gone; remove {stamp}")
    return True


def do(step: Step, place: Place, say: Say, run: Run) -> None:
    """Do a step and leave its stamp; raises StepFailed if a command fails."""
    for path, text in step.files.items():
        target = place.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        say(f"# {path}\n{text.rstrip()}")
    log = place.log(step)
    log.parent.mkdir(parents=True, exist_ok=True)
    before, began = _cpu_s(), time.monotonic()
    with log.open("w", encoding="utf-8") as kept:
        for command in step.commands:
            say(f"$ {shlex.join(command)}")
            kept.write(f"$ {shlex.join(command)}\n")

            def tell(line: str) -> None:
                kept.write(line + "\n")
                say(line)

            code = run(command, place.folder, tell)
            if code:
                raise StepFailed(
                    f"step '{step.name}': `{shlex.join(command)}` ended with {code}; see {log}, "
                    "then run the study again: it resumes here"
                )
    for path in step.makes:
        if not (place.folder / path).exists():
            raise StepFailed(f"step '{step.name}' ended well and did not make {path}")
    if step.then is not None:
        step.then(place.folder)
    stamp = place.stamp(step)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    took = {
        "content": step.content,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": round(time.monotonic() - began, 1),  # of the last try, if there were several
        "cpu_s": round(_cpu_s() - before, 1),
    }
    write_text(stamp, json.dumps(took, indent=1) + "\n")
    say(f"{step.name}: done in {took['wall_s']:,} s, {took['cpu_s']:,} s of CPU")


def run_process(command: Command, folder: Path, say: Say) -> int:
    """Run a command in `folder`, pass on the lines that it prints, and return its exit code."""
    program = {"autointerp": [sys.executable, "-m", "autointerp"], "python": [sys.executable]}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with subprocess.Popen(
        [*program[command[0]], *command[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip("\n"))
    return process.returncode


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def conduct(
    steps: Sequence[Step],
    place: Place,
    say: Say,
    last: str | None = None,
    only: bool = False,
    run: Run = run_process,
) -> None:
    """Do what is missing, in order, up to the step `last`, or `only` that. Raises StepFailed."""
    names = [step.name for step in steps]
    if last is not None and last not in names:
        raise StepFailed(f"step '{last}' is none of {', '.join(names)}")
    if only:
        steps = [step for step in steps if step.name == last]
    place.folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        if is_done(step, place):
            say(f"{step.name}: done before")
        else:
            say(f"\n== {step.name}: {step.what}")
            do(step, place, say, run)
        if step.name == last:
            return


def listing(steps: Sequence[Step], place: Place) -> str:
    """Return the steps with their commands, and what those took that are done."""
    lines = []
    for step in steps:
        stamp = place.stamp(step)
        took = ""
        if stamp.is_file():
            done = json.loads(stamp.read_text("utf-8"))
            took = f"  (done {done['finished']}, {done['cpu_s']:,} s of CPU)"
        lines.append(f"{step.name}: {step.what}{took}")
        lines += [f"    {shlex.join(command)}" for command in step.commands]
    return "\n".join(lines)


def main(
    program: str,
    what: str,
    make: Callable[[bool], Sequence[Step]],
    state: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse a study's command line, conduct it, and return the exit code.

    Args:
        make: Returns the steps, of the tiny variant if its argument is true.
        state: Where stamps and logs are, relative to the study's folder.
    """
    parser = argparse.ArgumentParser(prog=program, description=what)
    parser.add_argument("step", nargs="?", help="last step to do (default: all steps)")
    parser.add_argument("--only", metavar="STEP", help="do this step and none before it")
    parser.add_argument("--tiny", action="store_true", help="the same steps, small: minutes")
    parser.add_argument("--list", action="store_true", help="print steps and commands, do nothing")
    parser.add_argument(
        "--folder",
        type=Path,
        help=f"folder of the study; its files are in {state}, runs/ and reports/ there "
        "(default: the current one, and build/tiny with --tiny)",
    )
    options = parser.parse_args(arguments)
    if options.step and options.only:
        parser.error(f"{options.step} and --only {options.only}: give one of them")
    folder = options.folder or Path("build/tiny" if options.tiny else ".")
    place = Place(folder, state)
    steps = make(options.tiny)
    if options.list:
        print(listing(steps, place))
        return 0
    try:
        last = options.only or options.step
        conduct(steps, place, lambda text: print(text, flush=True), last, bool(options.only))
    except StepFailed as failed:
        print(f"{program}: {failed}", file=sys.stderr)
        return 2
    return 0
