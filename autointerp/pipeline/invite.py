"""Invite people to rate in a browser: a session of the units that a run holds, begun as a journal.

The run's database is open here, and never while somebody rates.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import BadInput
from autointerp.files import PRIVATE_FOLDER
from autointerp.people.assign import (
    TRAINED_ON,
    TRAINING_EACH,
    contexts_text,
    most_gold,
    plan_session,
    register,
)
from autointerp.people.ingest import ingest_journals, journals_folder
from autointerp.people.invitations import offer
from autointerp.people.seats import sit_down
from autointerp.people.session import Part, Sitting, parts_of
from autointerp.pipeline.events import Note, On, ignore
from autointerp.pipeline.sit import read_again
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import check_person
from autointerp.store.run import RUNS, Run, open_run
from autointerp.units.sources import kind_of


@dataclass(frozen=True)
class Invitation:
    """A session that waits for its rater, or for whoever comes.

    Attributes:
        session: Name of the journal, or of the invitation's file, in the run's folder.
        rater: Empty for whoever comes.
        asked: Questions of each part.
        gold: Control units among those to be rated.
    """

    run: str
    session: str
    rater: str
    asked: Mapping[Part, int]
    gold: int


def invite(
    run_name: str,
    rater: str | None,
    items: int,
    rubric: str = "interpretability-1-5",
    sitting: Sitting | None = None,
    corpus_text: bool = True,
    runs: Path = RUNS,
    on: On = ignore,
) -> Invitation:
    """Make the session of a person, or of whoever comes (`rater` None), over units of a run.

    Args:
        items: Items to rate, controls among them, of all sources that the run holds, evenly.
        corpus_text: Read more of each context from the corpus; it takes the subject.

    Raises BadInput if the run holds no units, TooFewUnits if nothing is left for the rater.
    """
    if items < 1:
        raise BadInput(f"--items {items}: ask for at least 1 item")
    sitting = sitting or Sitting()
    question = load_rubric(rubric)
    if question.about == "description":
        raise BadInput(f"rubric '{question.id}' is about descriptions; people rate units")
    if rater is not None:
        check_person(rater)
    with open_run(run_name, folder=runs) as run:
        ingest_journals(run, lambda text: on(Note(text)))
        wanted = spread(run, items, sitting.practice)
        read = None
        if corpus_text and run.is_imported:
            on(Note("the run has no corpus to read again: contexts are shown as it holds them"))
        elif corpus_text:
            read = read_again(run, on)
        seed = str(run.settings.seed) if rater else secrets.token_hex(16)
        planned = plan_session(run, question, wanted, sitting, rater, seed, read)
        register(run, planned, rater)
        note = contexts_text(planned)
        if note:
            on(Note(note))
        session = planned.session
        journals_folder(run.path).mkdir(PRIVATE_FOLDER, exist_ok=True)
        if rater:
            path = sit_down(journals_folder(run.path), rater, session)
        else:
            path = offer(run.path, session)
        run.log("invited", rater=rater or "", rubric=question.id, left_out=planned.left_out)
    return Invitation(run_name, path.name, rater or "", parts_of(session), planned.gold)


def spread(run: Run, items: int, practises: bool = True) -> dict[str, int]:
    """Return units of each source that the run holds, `items` in all where it holds as many.

    Of each control as many as a sitting takes at most, the rest of all studied sources evenly.
    Raises BadInput if the run holds none that are studied.
    """
    held = {name: units for name, units in run.held_units().items() if units[0]}
    studied = {name: n for name, (n, control) in held.items() if not control}
    controls = {name: n for name, (n, control) in held.items() if control}
    if practises:  # some controls are for practice
        controls = {
            name: max(1, n - TRAINING_EACH) if kind_of(name, True).role in TRAINED_ON else n
            for name, n in controls.items()
        }
    if not studied:
        raise BadInput(f"run '{run.name}' holds no units; rate some first: `autointerp rate`")
    most = items // (2 * len(controls)) if controls else 0  # half of a small sitting at most
    for ordinary in range(min(items, sum(studied.values())), 0, -1):
        gold = {name: min(n, most_gold(ordinary), most) for name, n in controls.items()}
        if ordinary + sum(gold.values()) <= items:
            break
    return evenly(studied, ordinary) | gold


def evenly(held: Mapping[str, int], total: int) -> dict[str, int]:
    """Return how many of each to take, `total` in all, as evenly as what is held allows."""
    taken = dict.fromkeys(held, 0)
    while sum(taken.values()) < min(total, sum(held.values())):
        name = min((n for n in held if taken[n] < held[n]), key=lambda n: taken[n])
        taken[name] += 1
    return taken
