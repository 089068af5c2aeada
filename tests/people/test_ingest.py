"""Journals come in: one that is damaged hinders no other."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autointerp.people import ingest as ingest_module
from autointerp.people.assign import plan_session, register
from autointerp.people.ingest import ingest, ingest_journals, journals_folder
from autointerp.people.journal import open_journal, write_session
from autointerp.people.machine import Machine
from autointerp.people.packs import units_to_pack
from autointerp.people.session import Sitting
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import Run, open_run

RUBRIC = load_rubric("interpretability-1-5")
PEOPLE = ("human:ann", "human:bob")


@pytest.fixture
def run(own_runs: Path, tiny_run_name: str) -> Iterator[Run]:
    """The tiny run, and a journal of five answers of each of two people."""
    with open_run(tiny_run_name, folder=own_runs) as opened:
        for rater in PEOPLE:
            planned = plan_session(opened, RUBRIC, units_to_pack(opened), Sitting(), rater, "0")
            register(opened, planned, rater)
            write_session(journal_of(opened, rater), planned.session)
            with open_journal(journal_of(opened, rater), rater) as journal:
                machine = Machine(journal)
                while machine.counts["score"] < 5:
                    machine.rate(3)
                    machine.go_on()
        yield opened


def journal_of(run: Run, rater: str) -> Path:
    return journals_folder(run.path) / f"{rater.replace(':', '-')}.jsonl"


def rated(run: Run) -> dict[str, int]:
    return dict(run.rows("SELECT rater, count(*) FROM rating WHERE is_person(rater) GROUP BY 1"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def test_a_journal_that_is_none_is_named_and_the_others_are_read(run: Run):
    journal_of(run, "human:ann").write_bytes(b"\0" * 100)
    told: list[str] = []
    assert ingest_journals(run, told.append) > 0
    assert rated(run) == {"human:bob": 5}
    (sentence,) = told
    assert sentence.startswith(f"not read: {journal_of(run, 'human:ann')} is not a session")


def test_a_damaged_session_does_not_cost_the_answers_below_it(run: Run):
    flip(journal_of(run, "human:ann"), 700)
    told: list[str] = []
    ingest_journals(run, told.append)
    assert rated(run) == {"human:ann": 5, "human:bob": 5}
    assert told == [
        f"{journal_of(run, 'human:ann')}: its session, in line 1, is damaged; the other answers "
        "are read"
    ]


def test_an_answer_that_was_edited_is_left_out_and_read_once_it_is_restored(run: Run):
    path = journal_of(run, "human:ann")
    content = path.read_bytes()
    place = content.rindex(b'"score":3')
    path.write_bytes(content[:place] + content[place:].replace(b'"score":3', b'"score":5'))
    told: list[str] = []
    ingest_journals(run, told.append)
    assert rated(run) == {"human:ann": 4, "human:bob": 5}
    assert "1 line was edited" in told[0]
    path.write_bytes(content)
    assert ingest_journals(run, told.append) == 1
    assert rated(run) == {"human:ann": 5, "human:bob": 5}


def test_a_line_that_was_cut_off_is_told_and_is_no_edit(run: Run):
    path = journal_of(run, "human:ann")
    lines = path.read_bytes().split(b"\n")
    lines[-3] = lines[-3][:30]
    path.write_bytes(b"\n".join(lines))
    told: list[str] = []
    ingest(run, path, told.append)
    assert rated(run) == {"human:ann": 4}
    assert "1 line was cut off" in told[0]


def test_threads_that_read_one_journal_at_once_store_it_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    """Both took the answers for new, and the second ended in DuckDB's error of a key."""
    path = journal_of(run, "human:ann")
    read: list[int] = []
    with open_run(run.name, folder=run.path.parent) as other:
        second = threading.Thread(target=lambda: read.append(ingest(other, path)))
        store = ingest_module._store

        def store_while_another_reads(*arguments: Any) -> list[str]:
            monkeypatch.undo()
            second.start()
            second.join(0.1)  # it may be done by now, if nothing makes it wait
            return store(*arguments)

        monkeypatch.setattr(ingest_module, "_store", store_while_another_reads)
        assert ingest(run, path) > 0
        second.join()
    assert read == [0]
    assert rated(run) == {"human:ann": 5}
