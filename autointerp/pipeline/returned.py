"""A pack comes home: its answers are merged into the run that it was made from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import RunLocked
from autointerp.files import PRIVATE_FILE, PRIVATE_FOLDER, write_bytes
from autointerp.people.ingest import ingest, journals_folder
from autointerp.pipeline.events import Note, On, ignore
from autointerp.store.run import RUNS, open_run
from autointerp.store.snapshots import borrow


@dataclass(frozen=True)
class Returned:
    """What a pack brought.

    Attributes:
        new: Answers that the run did not have.
        waits: Whether they lie among the run's journals, for another process writes it: the next
            command that takes in people's answers has them.
    """

    run: str
    subject: str
    new: int
    waits: bool = False


def take_back(run_name: str, file: Path, runs: Path = RUNS, on: On = ignore) -> Returned:
    """Merge a pack's answers into its run, or put them by while another process writes the run.

    Raises BadInput if the file is of another run, was edited or contradicts answers that the run
    has, UnknownName if there is no such run.
    """

    def tell(text: str) -> None:
        on(Note(text))

    try:
        with open_run(run_name, folder=runs) as run:
            new = ingest(run, file, tell)
            run.log("ingested", file=str(file), new=new)
            return Returned(run_name, run.settings.subject.name, new)
    except RunLocked:
        with borrow(run_name, runs) as copy:
            tell(copy.notes[0])
            new = ingest(copy, file, tell)  # what the run itself would refuse is refused
            subject, path = copy.settings.subject.name, copy.path
        content = file.read_bytes()
        folder = journals_folder(path)
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
        name = f"returned-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
        write_bytes(folder / name, content, mode=PRIVATE_FILE)
        return Returned(run_name, subject, new, waits=True)
