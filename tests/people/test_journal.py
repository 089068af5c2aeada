"""What of a journal is read after a full disk, a lost power supply or an edit."""

import json
import os
from pathlib import Path

import pytest

from autointerp.errors import BadInput, StorageError
from autointerp.people.journal import (
    OtherJournals,
    Reading,
    damage_text,
    open_journal,
    read_journal,
    write_session,
)
from autointerp.people.machine import Machine


@pytest.fixture
def written(make_session, journal_of) -> Path:
    """A journal of six scores, 1 to 5 and 1 again."""
    with journal_of(make_session(6)) as journal:
        machine = Machine(journal)
        for score in (1, 2, 3, 4, 5, 1):
            machine.rate(score)
        return journal.path


def scores(read: Reading) -> list[int | None]:
    return [entry.score for entry in read.entries.get("human:ann", [])]


def changed(path: Path, number: int, line: bytes | None) -> Path:
    """Put another line in place of one, from 1; None takes it out."""
    lines = path.read_bytes().split(b"\n")
    lines[number - 1 : number] = [] if line is None else [line]
    path.write_bytes(b"\n".join(lines))
    return path


def line_of(path: Path, number: int) -> bytes:
    return path.read_bytes().split(b"\n")[number - 1]


@pytest.mark.parametrize("kept", [0, 1, 40, 150])
def test_a_line_that_was_cut_off_costs_itself_and_the_rest_is_read(written: Path, kept: int):
    read = read_journal(changed(written, 4, line_of(written, 4)[:kept]))
    assert scores(read) == [1, 2, 4, 5, 1]
    assert (read.torn, read.edited) == ((4,), ())
    assert "1 line was cut off (line 4)" in damage_text(written, read)


def test_a_line_written_behind_one_that_was_cut_off_is_read(written: Path):
    both = line_of(written, 4)[:60] + line_of(written, 5)
    changed(changed(written, 5, None), 4, both)
    read = read_journal(written)
    assert scores(read) == [1, 2, 4, 5, 1]
    assert read.torn == (4,)


def test_a_block_of_zeros_of_a_lost_power_supply_may_hide_several_answers(written: Path):
    changed(changed(written, 4, None), 3, b"\0" * 512)
    read = read_journal(written)
    assert scores(read) == [1, 4, 5, 1]
    assert read.torn == (3,)


def test_an_answer_that_was_edited_is_not_read_and_the_others_are(written: Path):
    read = read_journal(
        changed(written, 3, line_of(written, 3).replace(b'"score":2', b'"score":5'))
    )
    assert scores(read) == [1, 3, 4, 5, 1]
    assert (read.torn, read.edited) == ((), (3,))
    assert "1 line was edited (line 3)" in damage_text(written, read)


def test_where_only_a_link_was_damaged_the_next_line_vouches_for_the_answer(written: Path):
    fields = json.loads(line_of(written, 3))
    fields["chain"] = "0" * 16
    line = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    read = read_journal(changed(written, 3, line))
    assert scores(read) == [1, 2, 3, 4, 5, 1]
    assert read.edited == ()


def test_a_line_that_was_taken_out_is_an_edit_and_costs_the_next_one(written: Path):
    read = read_journal(changed(written, 3, None))
    assert scores(read) == [1, 4, 5, 1]  # who knows to what the third answer belonged
    assert read.edited == (3,)


def test_answers_go_on_behind_a_gap_and_are_read(written: Path, make_session):
    changed(written, 4, line_of(written, 4)[:50])
    with open_journal(written, "human:ann") as journal:
        machine = Machine(journal)
        assert machine.step is not None  # what was cut off is asked again
        assert machine.step.kind == "rating"
        machine.rate(3)
        assert journal.entries[-1].seq == 6
    assert scores(read_journal(written)) == [1, 2, 4, 5, 1, 3]


def test_a_session_that_is_damaged_is_known_by_its_digest(written: Path):
    digest = read_journal(written).digest
    changed(written, 1, line_of(written, 1).replace(b'"focus":8', b'"focus":7', 1))
    with pytest.raises(BadInput, match="was edited: its content does not fit"):
        read_journal(written)
    read = read_journal(written, {digest})
    assert read.session is None
    assert scores(read) == [1, 2, 3, 4, 5, 1]
    with pytest.raises(BadInput, match="was edited"), open_journal(written, "human:ann"):
        pass


def test_a_digest_that_is_damaged_is_computed_again(written: Path):
    digest = read_journal(written).digest
    changed(written, 1, line_of(written, 1).replace(digest.encode(), b"0" * 64))
    assert scores(read_journal(written, {digest})) == [1, 2, 3, 4, 5, 1]


def test_any_flipped_bit_costs_at_most_one_answer(written: Path):
    content = written.read_bytes()
    digest = read_journal(written).digest
    head = content.index(b"\n") + 1
    for place in range(head, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 7
        written.write_bytes(flipped)
        read = read_journal(written, {digest})
        lost = 6 - len(scores(read))
        # A line end that is none joins two lines, and a rater's name that changed is another's.
        assert lost <= (2 if content[place : place + 1] == b"\n" else 1)
        assert not set(scores(read)) - {1, 2, 3, 4, 5}


def test_a_write_that_a_full_disk_cuts_short_is_taken_back_and_said(
    make_session, journal_of, monkeypatch
):
    real = os.write
    room = 100

    def short(handle: int, content: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        done = real(handle, content[:room])
        room -= done
        return done

    with journal_of(make_session(4)) as journal:
        machine = Machine(journal)
        machine.rate(1)
        step, before = machine.step, journal.path.read_bytes()
        with monkeypatch.context() as full:
            full.setattr(os, "write", short)
            for _ in range(2):
                with pytest.raises(StorageError, match="No space left"):
                    machine.rate(2)
        assert machine.step == step
        assert journal.path.read_bytes() == before
        machine.rate(3)
    assert scores(read_journal(journal.path)) == [1, 3]


def test_a_line_that_could_not_be_taken_back_is_taken_back_before_the_next(
    make_session, journal_of, monkeypatch
):
    def full(handle: int, *_: object) -> None:
        raise OSError(28, "No space left on device")

    with journal_of(make_session(4)) as journal:
        machine = Machine(journal)
        machine.rate(1)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            truncate = os.ftruncate
            calls: list[int] = []
            patched.setattr(
                os,
                "ftruncate",
                lambda handle, size: (
                    full(handle) if calls else (calls.append(1), truncate(handle, size))
                ),
            )
            with pytest.raises(StorageError, match="No space left"):
                machine.rate(2)
        machine.rate(3)
    assert scores(read_journal(journal.path)) == [1, 3]


def test_lines_that_cannot_be_read_hinder_no_other_rater(written: Path, make_session):
    changed(written, 3, b"{")
    changed(written, 4, b"{}")
    counts = OtherJournals(written.parent, "human:bob").counts()
    assert sum(counts.values()) == 4


def test_a_session_s_file_has_the_permissions_that_are_asked_for(tmp_path: Path, make_session):
    write_session(tmp_path / "mine" / "a.jsonl", make_session(2), 0o600)
    assert (tmp_path / "mine" / "a.jsonl").stat().st_mode & 0o777 == 0o600
