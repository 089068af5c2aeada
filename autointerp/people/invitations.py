"""Open invitations: a session for whoever comes, copied into a journal for each of them."""

from __future__ import annotations

from pathlib import Path

from autointerp.errors import BadInput
from autointerp.files import PRIVATE_FILE, PRIVATE_FOLDER
from autointerp.people.ingest import journals_folder
from autointerp.people.journal import read_journal, write_session
from autointerp.people.seats import sit_down
from autointerp.people.session import Session
from autointerp.records import check_person

INVITATIONS = "invitations"  # a run's folder of sessions for whoever comes


def offer(run_folder: Path, session: Session) -> Path:
    """Write a session for whoever comes; return its file."""
    path = run_folder / INVITATIONS / f"{session.digest[:12]}.jsonl"
    path.parent.mkdir(PRIVATE_FOLDER, exist_ok=True)
    write_session(path, session, PRIVATE_FILE)
    return path


def join(run_folder: Path, invitation: str, rater: str) -> Path:
    """Return the journal of somebody who came by an open invitation; begun where there is none.

    Raises BadInput if there is no such invitation.
    """
    session = read_journal(run_folder / INVITATIONS / Path(invitation).name).session
    if session is None:
        raise BadInput(f"invitation {invitation} is damaged; make another: `autointerp invite`")
    folder = journals_folder(run_folder)
    folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
    return sit_down(folder, check_person(rater), session)


def joined(run_folder: Path, invitation: str) -> int:
    """Return how many people have come by an open invitation."""
    name = invitation.removesuffix(".jsonl")
    return len(list(journals_folder(run_folder).glob(f"*.{name}.jsonl")))
