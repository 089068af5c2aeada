"""Answers come in: journals and packs → ratings and guesses of a run.

They are read as often as one likes: entries that the run has are skipped, a file that does not
belong to the run is refused. Of a question that a person answered in several sessions the answer
that was given last stands, in whichever order they are read.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput
from autointerp.people.assign import UNDONE, run_identity
from autointerp.people.journal import ANSWERS, Entry, Reading, damage_text, read_journal
from autointerp.records import Rating
from autointerp.store.run import Run
from autointerp.store.tables import now
from autointerp.text import count

Tell = Callable[[str], None]

GIVEN = (*ANSWERS, "guess")  # verbs by which an answer is given or taken back


def ignore(text: str) -> None:
    """Do nothing with a sentence."""


def journals_folder(run_folder: Path) -> Path:
    """Return where the journals of a run's own raters lie."""
    return run_folder / "journals"


def ingest_journals(run: Run, tell: Tell = ignore) -> int:
    """Read the answers in all journals of the run; return how many entries were new.

    A journal that is damaged hinders no other: what can be read of it is, and `tell` is given a
    sentence of the rest.
    """
    new = 0
    for path in sorted(journals_folder(run.path).glob("*.jsonl")):
        try:
            new += _take_in(run, path, read_journal(path, _given_out(run)), tell)
        except BadInput as error:
            tell(f"not read: {error}")
    return new


def ingest(run: Run, path: Path, tell: Tell = ignore) -> int:
    """Read the answers in a journal or pack; return how many entries were new.

    All or nothing. Raises BadInput if the file is of another run, was edited, or contradicts
    answers that the run has. `tell` is given a sentence of lines that were cut off.
    """
    reading = read_journal(path)
    if reading.edited:
        raise BadInput(
            f"{path} was edited: line {reading.edited[0]} does not follow from those before it"
        )
    return _take_in(run, path, reading, tell)


def _given_out(run: Run) -> dict[str, bool]:
    """Return the sessions that the run gave out, by digest, and whether each is a pack."""
    return dict(run.rows("SELECT session_id, is_pack FROM human_session"))


def _take_in(run: Run, path: Path, reading: Reading, tell: Tell) -> int:
    """Store what the run lacks of a journal, and tell what could not be read."""
    digest, session = reading.digest, reading.session
    if digest not in _given_out(run) or (session and session.run != run_identity(run)):
        raise BadInput(
            f"{path} was not made from run '{run.name}'; name the run that it was made from"
        )
    damage = damage_text(path, reading)
    if damage:
        tell(damage)
    names = dict(run.rows("SELECT name, item_id FROM pack_item WHERE session_id = ?", [digest]))
    new: list[tuple[Entry, str]] = []
    with run.turn.lock:  # else another thread may store the same meanwhile
        for rater in sorted(reading.entries):
            new += _unknown(run, path, reading, rater)
        sentences = _store(run, digest, names, new) if new else []
    for sentence in sentences:
        tell(sentence)
    return len(new)


def _unknown(run: Run, path: Path, reading: Reading, rater: str) -> list[tuple[Entry, str]]:
    """Return a rater's entries that the run lacks, each with its link."""
    stored = dict(
        run.rows(
            "SELECT seq, chain FROM human_answer WHERE session_id = ? AND rater = ?",
            [reading.digest, rater],
        )
    )
    unknown = []
    for entry, chain in zip(reading.entries[rater], reading.links[rater], strict=True):
        if entry.seq not in stored:
            unknown.append((entry, chain))
        elif stored[entry.seq] != chain:
            raise BadInput(
                f"{path}: {rater} gave other answers in another copy, which run '{run.name}' has "
                "already; those stand, and nothing of this copy is read: rate one copy only, or "
                "under two names"
            )
    return unknown


@dataclass(frozen=True)
class _Standing:
    """An answer that stands in one session: what it is, and when it was given.

    Attributes:
        is_dated: Whether its own time can be right; else it counts as given when its session was
            made.
    """

    values: dict[str, Any]
    description: str | None
    given: datetime.datetime
    is_dated: bool


Place = tuple[str, str, str, int]  # rater, kind, item, repeat


def _store(
    run: Run, session: str, names: Mapping[str, str], new: list[tuple[Entry, str]]
) -> list[str]:
    """Store entries, and what stands after each; return sentences on questions that the rater
    answered in other sessions, too."""
    ((rubric, rubric_digest, made),) = run.rows(
        "SELECT rubric, rubric_digest, made_at FROM human_session WHERE session_id = ?", [session]
    )
    descriptions = {
        (row[0], row[1], row[2], row[3]): row[4]
        for row in run.rows(
            "SELECT rater, kind, item_id, repeat, text FROM human_answer"
            " WHERE session_id = ? AND verb = 'describe' ORDER BY rater, seq",
            [session],
        )
    }
    elsewhere = _standing_elsewhere(run, session, {entry.rater for entry, _ in new})
    twice: dict[Place, bool] = {}  # whether the times of both answers can be right
    answers, ratings, guesses = [], [], []
    for entry, chain in new:
        item = names.get(entry.item, entry.item)
        row = dataclasses.asdict(entry)
        row |= {"session_id": session, "item_id": item, "chain": chain}
        row["answered_at"] = row.pop("at")
        del row["item"], row["answer"]
        answers.append(row)
        place = (entry.rater, str(entry.kind), item, entry.repeat)
        description = descriptions.get(place) or None
        other = elsewhere.get(place)
        if other is not None and entry.verb in GIVEN:
            given, is_dated = _given(entry.at, made)
            twice[place] = twice.get(place, other.is_dated) and is_dated
            if entry.verb == "undo" or other.given > given:
                entry, description = replace(entry, **other.values), other.description
        if entry.verb == "describe":
            descriptions[place] = entry.text
        elif entry.kind == "rating" and entry.verb in ANSWERS and item:
            rating = _rating(entry, item, rubric, rubric_digest, description)
            ratings.append((rating, _stored_time(entry.at)))
        elif entry.kind == "guess" and entry.verb in ("guess", "undo") and item:
            guess = entry.text if entry.verb == "guess" else None
            guesses.append((item, entry.rater, guess, _stored_time(entry.at)))
    with run.transaction():
        run.insert("human_answer", answers)
        run.insert("rating", run.rating_rows(ratings))
        run.insert("guess", _guess_rows(run, guesses))
    return _twice_texts(twice)


def _standing_elsewhere(run: Run, session: str, raters: Collection[str]) -> dict[Place, _Standing]:
    """Return the answers of raters that stand in other sessions, of several the one that was given
    last, and their descriptions."""
    rows = run.rows(
        "SELECT a.rater, kind, item_id, repeat, verb, score, text, answered_at, ("
        "  SELECT arg_max(d.text, d.seq) FROM human_answer d WHERE d.verb = 'describe'"
        "   AND d.session_id = a.session_id AND d.rater = a.rater AND d.kind = a.kind"
        "   AND d.item_id = a.item_id AND d.repeat = a.repeat"
        " ), made_at FROM (SELECT * FROM human_answer"
        "   WHERE session_id <> ? AND rater IN (SELECT unnest(?::VARCHAR[]))"
        "   AND kind IN ('rating', 'guess') AND item_id <> ''"
        "   AND verb IN (SELECT unnest(?::VARCHAR[]))"
        "   QUALIFY row_number() OVER ("
        "    PARTITION BY session_id, rater, kind, item_id, repeat ORDER BY seq DESC) = 1) a"
        " JOIN human_session USING (session_id) WHERE verb <> 'undo' ORDER BY session_id",
        [session, sorted(raters), list(GIVEN)],
    )
    standing: dict[Place, _Standing] = {}
    for rater, kind, item, repeat, verb, score, text, at, description, made in rows:
        place = (rater, kind, item, repeat)
        values = {"verb": verb, "score": score, "text": text, "at": at}
        one = _Standing(values, description, *_given(at, made))
        if place not in standing or one.given >= standing[place].given:
            standing[place] = one
    return standing


def _given(at: str, made: datetime.datetime) -> tuple[datetime.datetime, bool]:
    """Return when an answer of a session that was `made` then was given, and whether that is its
    own time.

    Times of one session are not compared, its entries have numbers; those of two may be of two
    machines. A time before the session was there, or in the future, is of a clock that was wrong,
    and the answer counts as given when the session was made, by the run's own clock.
    """
    time = _stored_time(at)
    is_dated = made.replace(microsecond=0) <= time <= now()
    return (time if is_dated else made), is_dated


def _twice_texts(twice: Mapping[Place, bool]) -> list[str]:
    """Return for each rater how many questions were answered in several sessions, and what stands;
    `twice`: whether the times of both answers can be right."""
    texts = []
    for rater in sorted({place[0] for place in twice}):
        dated = [is_dated for place, is_dated in twice.items() if place[0] == rater]
        text = (
            f"{rater} answered {count(len(dated), 'question')} in several sittings or packs; of "
            "each the answer that was given last stands"
        )
        if not all(dated):
            text += (
                f". {count(dated.count(False), 'question has an answer', 'questions have answers')}"
                " dated in the future, or before the sitting was made: such an answer counts as "
                "given when its sitting was made"
            )
        texts.append(text)
    return texts


def _rating(
    entry: Entry, item: str, rubric: str, rubric_digest: str, description: str | None
) -> Rating:
    """Return the rating that an entry amounts to; one taken back is superseded by a skip."""
    scored = entry.verb == "score"
    return Rating(
        item=item,
        rubric=rubric,
        rubric_digest=rubric_digest,
        rater=entry.rater,
        repeat=entry.repeat,
        status="ok" if scored else "skipped",
        score=entry.score,
        description=description,
        rationale=None if scored else UNDONE if entry.verb == "undo" else entry.text,
    )


def _stored_time(at: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(at).astimezone(datetime.UTC).replace(tzinfo=None)


def _guess_rows(
    run: Run, guesses: list[tuple[str, str, str | None, datetime.datetime]]
) -> list[dict[str, Any]]:
    """Return the rows of guesses (item, rater, guess, time), each with its next version."""
    versions = {
        (row[0], row[1]): row[2]
        for row in run.rows("SELECT item_id, rater, max(version) FROM guess GROUP BY ALL")
    }
    rows = []
    for item, rater, guess, at in guesses:
        versions[item, rater] = versions.get((item, rater), -1) + 1
        rows.append(
            {
                "item_id": item,
                "rater": rater,
                "version": versions[item, rater],
                "guess": guess,
                "made_at": at,
            }
        )
    return rows


def add_guesses(run: Run, rater: str, guesses: Mapping[str, str]) -> None:
    """Store what a rater took items for, item → guess; for raters that keep no journal."""
    at = now()
    with run.transaction():
        run.insert(
            "guess",
            _guess_rows(run, [(item, rater, g, at) for item, g in guesses.items()]),
        )
