"""One sitting from the command line: find or make the session, rate, bring the answers home.

The run's database is open before and after, never while somebody rates.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from autointerp.apps.terminal.sit import report, run_sitting
from autointerp.errors import BadInput, RunLocked, SubjectError, TooFewUnits
from autointerp.extensions import addition, names_in
from autointerp.people.assign import (
    fewer_contexts_text,
    ingest_journals,
    journals_folder,
    latest_plan,
    most_gold,
    plan_session,
    register,
    with_training,
)
from autointerp.people.journal import OtherJournals, open_journal, write_session
from autointerp.people.machine import Machine
from autointerp.people.session import Sitting, check_person, digest_of
from autointerp.pipeline.rate import (
    Wish,
    imported_units,
    open_telling,
    run_settings,
    run_subject,
    wanted_units,
)
from autointerp.questions.rubric import Rubric
from autointerp.questions.rubric_files import load_rubric
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run
from autointerp.subjects import Subject
from autointerp.units import sources as sources_folder
from autointerp.units.sample import draw_units, held_units

PATIENCE_S = 20.0  # for another process to let the run go


def rate_by_person(wish: Wish, sitting: Sitting, console: Console) -> None:
    """Let the person `wish.rater` rate what the wish asks for, mixed with all other sources."""
    rater = check_person(wish.rater)
    if wish.repeats > 1:
        raise BadInput(f"--repeats {wish.repeats}: for people say --repeat-share, from 0 to 1")
    rubric = load_rubric(wish.rubric)
    if rubric.about == "description":
        raise BadInput(f"rubric '{rubric.id}' is about descriptions; people rate units")
    settings = run_settings(wish)
    folder = wish.runs / wish.run
    path = journal_path(folder, wish, sitting, rubric, settings)
    if not path.exists() or sitting.planned:
        path = _make_session(wish, sitting, rubric, settings, path, console)
    else:
        _bring_home(wish)
    others = OtherJournals(journals_folder(folder), rater)
    with open_journal(path, rater) as journal:
        before = len(journal.entries)
        machine = Machine(journal, rated_by_others=others.counts)
        run_sitting(machine, sitting.plain)
        new = len(journal.entries) - before
    problem = _bring_home(wish)
    if problem:
        console.print(
            f"your answers are safe in {path}, and are read into the run next time ({problem})",
            markup=False,
        )
    report(machine, new, console)


def journal_path(
    folder: Path, wish: Wish, sitting: Sitting, rubric: Rubric, settings: RunSettings
) -> Path:
    """Return the journal of a wish: the same wish goes on where it stopped, another begins anew."""
    asked = {
        "rubric": rubric.digest,
        "sources": sorted(wish.sources),
        "n": wish.n,
        "controls": wish.controls,
        "settings": settings.digest,
        "overlap": sitting.overlap,
        "repeat_share": sitting.repeat_share,
    }
    name = wish.rater.replace(":", "-")
    return journals_folder(folder) / f"{name}.{digest_of(asked)[:12]}.jsonl"


def _make_session(
    wish: Wish,
    sitting: Sitting,
    rubric: Rubric,
    settings: RunSettings,
    path: Path,
    console: Console,
) -> Path:
    """Draw what is missing, choose the items, write the session; return its path."""
    subject = run_subject(settings)
    asked = wanted_units(wish)  # before the run is open: of an imported one it asks the run
    with open_patiently(wish, settings, subject, console) as run:
        ingest_journals(run)
        if sitting.planned:
            plan = digest_of(sorted(latest_plan(run, rubric)))[:12]
            path = path.with_name(f"{wish.rater.replace(':', '-')}.plan-{plan}.jsonl")
            if path.exists():
                return path
        wanted = draw_mixed(wish, asked, run, subject, console)
        planned = plan_session(run, rubric, wanted, sitting, wish.rater, str(settings.seed))
        register(run, planned, wish.rater)
        write_session(path, planned.session)
        run.log("session", rater=wish.rater, rubric=rubric.id, left_out=planned.left_out)
        note = fewer_contexts_text(planned.left_out)
        if note:
            console.print(note, markup=False)
        if not planned.session.training and not planned.gold:
            console.print("no gold items: the run has no controls (--controls 0)", markup=False)
    return path


def studied_sources() -> list[str]:
    """Return the sources that are no controls."""
    return [
        name
        for name in names_in(sources_folder)
        if not addition(sources_folder, "source", name).IS_CONTROL
    ]


def dry_sitting(wish: Wish, console: Console) -> None:
    """Say what a person would be asked; nothing is made."""
    rater = check_person(wish.rater)
    asked = wanted_units(wish)
    imported = imported_units(wish.run, wish.runs) is not None
    studied = list(asked) if imported else studied_sources()
    gold = most_gold(len(studied) * wish.n)
    told = [f"{asked.get(name, wish.n)} {name}" for name in studied]
    told += [f"{min(n, gold)} {name}" for name, n in asked.items() if name not in studied]
    console.print(
        f"would ask {rater} about {', '.join(told)} at most, mixed; then once more about each, "
        "for the blinding check",
        markup=False,
    )


def draw_mixed(
    wish: Wish, asked: dict[str, int], run: Run, subject: Subject | None, console: Console
) -> dict[str, int]:
    """Draw the units that are missing; return those to rate, by source.

    Every source that is no control takes part, asked for or not: a rater who knows that all units
    are features is not blind. Where a source cannot be had, those asked for stand alone.
    """
    studied = studied_sources()
    if subject is None:
        studied = [name for name, (_, control) in held_units(run).items() if not control]
    mixed = {**dict.fromkeys(studied, wish.n), **asked}
    with console.status("harvest") as status:

        def harvested(label: str, tokens: int) -> None:
            status.update(f"harvest {label}: {tokens} tokens")

        try:
            draw_units(run, subject, with_training(mixed), harvested)
        except (SubjectError, TooFewUnits) as error:
            if mixed.keys() == asked.keys():
                raise
            console.print(f"sources are not mixed: {error}", markup=False)
            draw_units(run, subject, with_training(asked), harvested)
            return asked
    return mixed


def open_patiently(
    wish: Wish, settings: RunSettings, subject: Subject | None, console: Console
) -> Run:
    """Open the run, waiting a while for another process to let it go."""
    give_up = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            return open_telling(wish, settings, subject, console)
        except RunLocked as error:
            if time.monotonic() > give_up:
                raise
            if not told:
                console.print(f"waiting: {error}", markup=False)
                told = True
            time.sleep(0.2)


def _bring_home(wish: Wish) -> str:
    """Read all journals into the run; return why that cannot be now, empty if it could."""
    try:
        with open_run(wish.run, folder=wish.runs) as run:
            ingest_journals(run)
    except RunLocked as error:
        return str(error)
    return ""
