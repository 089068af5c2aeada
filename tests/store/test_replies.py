"""Replies in a file of lines, and what a kill or a damage leaves of it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import StorageError
from autointerp.records import Rating, Reply, Request
from autointerp.settings import RunSettings
from autointerp.store.ratings import came_record, sent_record
from autointerp.store.replies import (
    FILE,
    Record,
    ReplyJournal,
    is_left,
    line_of,
    read_replies,
    record_in,
)
from autointerp.store.run import Run, open_run


def came(n: int, sent: int | None = None, usd: float = 0.0, cost: float | None = None) -> Record:
    reply = Reply(f"reply {n}", cost_usd=cost)
    rating = Rating(f"item{n}", "rubric", "digest", "m", 0, "ok", n, call_key=f"key{n}")
    return came_record("m", (Request(f"key{n}", f"item{n}", {}), 0, reply), rating, sent, usd)


def sent(n: int, usd: float = 0.25) -> Record:
    return sent_record("m", Request(f"key{n}", f"item{n}", {}), usd)


def scores(run: Run) -> list[int]:
    return [score for (score,) in run.rows("SELECT score FROM current_rating ORDER BY item_id")]


def put(to: Run | ReplyJournal, records: list[Record]) -> None:
    for record in records:
        to.write_reply(record) if isinstance(to, Run) else to.write(record)


def kill(run: Run, folder: Path) -> None:
    """Close the database as a kill would not, and put the file of replies back."""
    left = (run.path / FILE).read_bytes()
    run.close()
    (folder / "one" / FILE).write_bytes(left)


@given(st.dictionaries(st.text(max_size=5), st.none() | st.text() | st.integers(), max_size=4))
def test_a_line_gives_its_record_back_and_nothing_where_a_bit_is_flipped(record: Record):
    line = line_of(record)
    assert line.count(b"\n") == 1
    assert record_in(line[:-1]) == record
    for place in range(len(line) - 1):
        flipped = bytearray(line[:-1])
        flipped[place] ^= 1
        assert record_in(bytes(flipped)) is None


def test_records_are_written_at_once_and_synced_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []
    write, sync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda *a: (order.append("write"), write(*a))[1])
    monkeypatch.setattr(os, "fsync", lambda *a: (order.append("sync"), sync(*a))[1])
    journal = ReplyJournal(tmp_path / FILE)
    order.clear()
    put(journal, [came(1), came(2)])
    journal.sync()
    assert order == ["write", "write", "sync"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    read = read_replies(tmp_path / FILE)
    assert read.journal == journal.identity
    assert [record["seq"] for record in read.records] == [0, 1]
    journal.remove()
    assert not (tmp_path / FILE).exists()


def test_a_file_is_left_by_a_killed_process_only_where_nobody_here_writes_it(tmp_path: Path):
    assert not is_left(tmp_path / FILE)
    journal = ReplyJournal(tmp_path / FILE)
    assert not is_left(tmp_path / FILE)
    journal.close()
    assert is_left(tmp_path / FILE)
    journal.remove()
    assert not is_left(tmp_path / FILE)


def test_a_cut_at_any_place_costs_the_line_that_it_cuts(tmp_path: Path):
    journal = ReplyJournal(tmp_path / FILE)
    put(journal, [came(n) for n in range(1, 4)])
    journal.close()
    content = (tmp_path / FILE).read_bytes()
    head = content.index(b"\n") + 1
    for end in range(len(content) + 1):
        (tmp_path / FILE).write_bytes(content[:end])
        read = read_replies(tmp_path / FILE)
        assert len(read.records) == content[head:end].count(b"\n")
        assert read.damaged == ()


def test_a_full_disk_leaves_the_file_as_it_was_and_it_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = ReplyJournal(tmp_path / FILE)
    put(journal, [came(1)])
    before = (tmp_path / FILE).read_bytes()
    write = os.write

    def short(handle: int, content: bytes) -> int:
        if len(content) < 100:
            raise OSError(28, "No space left on device")
        return write(handle, content[: len(content) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", short)
        with pytest.raises(StorageError, match=r"replies\.jsonl \(No space left.*free some space"):
            put(journal, [came(2)])
    assert (tmp_path / FILE).read_bytes() == before
    put(journal, [came(3)])
    assert [r["call"]["call_key"] for r in read_replies(tmp_path / FILE).records] == [
        "key1",
        "key3",
    ]


def test_what_was_written_and_not_taken_in_comes_with_the_next_opening(run: Run, tmp_path: Path):
    put(run, [came(1), came(2)])
    run.take_in_replies()
    put(run, [came(3)])
    assert scores(run) == [1, 2]
    kill(run, tmp_path)
    for _ in range(2):
        with open_run("one", folder=tmp_path, read_only=True) as again:
            assert scores(again) == [1, 2, 3]
            assert again.rows("SELECT max(version) FROM rating") == [(0,)]
    assert not (tmp_path / "one" / FILE).exists()


def test_nothing_is_taken_in_twice_even_where_the_journal_does_not_say_which_it_is(
    run: Run, tmp_path: Path
):
    again = came_record("m", None, Rating("item9", "rubric", "digest", "m", 0, "ok", 5))
    put(run, [came(1), again, came(2)])
    run.take_in_replies()
    kill(run, tmp_path)
    file = tmp_path / "one" / FILE
    first, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(first[:-9] + b"#" + first[-8:] + b"\n" + rest)
    with open_run("one", folder=tmp_path) as opened:
        assert scores(opened) == [1, 2, 5]
        assert opened.rows("SELECT max(version), count(*) FROM rating") == [(0, 3)]
        assert "1 line of replies.jsonl cannot be read (line 1)" in opened.notes[0]
    assert (tmp_path / "one" / "replies.damaged-1.jsonl").exists()


def test_a_damaged_line_costs_itself_alone_and_is_told(run: Run, tmp_path: Path):
    put(run, [came(1), came(2), came(3)])
    kill(run, tmp_path)
    file = tmp_path / "one" / FILE
    file.write_bytes(file.read_bytes().replace(b"reply 2", b"reply 7"))
    with open_run("one", folder=tmp_path) as opened:
        assert scores(opened) == [1, 3]
        assert "(line 3), and the replies there are lost" in opened.notes[0]


def test_what_a_failing_database_did_not_take_in_is_taken_in_by_the_next_call(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    put(run, [came(1)])
    with monkeypatch.context() as patched:
        patched.setattr(Run, "rating_rows", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(StorageError):
            run.take_in_replies()
    put(run, [came(2)])
    run.take_in_replies()
    assert scores(run) == [1, 2]


def test_a_call_without_a_reply_stays_charged_until_it_is_settled(run: Run, tmp_path: Path):
    put(run, [sent(1), sent(2), sent(3), sent(3)])
    # The first was answered for 0.01; the second timed out; of two sendings of the third nothing
    # came: 0.01 + 3 · 0.25.
    put(run, [came(1, sent=0, cost=0.01), {**came(2, sent=1, usd=0.25), "rating": None}])
    run.take_in_replies()
    assert run.spent_usd() == pytest.approx(0.26)
    kill(run, tmp_path)
    for _ in range(2):
        with open_run("one", folder=tmp_path) as opened:
            assert opened.spent_usd() == pytest.approx(0.76)


def test_replies_of_a_run_that_cannot_be_written_are_not_passed_over(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(run, [came(1)])
    kill(run, tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="copy the run to a folder that can be written"):
        open_run("one", folder=tmp_path, read_only=True)


def test_a_kill_while_the_file_was_made_leaves_a_run_that_opens(run: Run, tmp_path: Path):
    run.close()
    for content in (b"", b'{"crc":"0'):
        (tmp_path / "one" / FILE).write_bytes(content)
        with open_run("one", RunSettings(), folder=tmp_path) as opened:
            assert opened.notes == ()
        assert not (tmp_path / "one" / FILE).exists()
