import subprocess
import sys
from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import StorageError, UnknownName
from autointerp.findings.comparison import compare
from autointerp.records import Rating
from autointerp.settings import RunSettings
from autointerp.store.database import DATABASE
from autointerp.store.looks import PENDING
from autointerp.store.run import open_run
from autointerp.store.snapshots import open_snapshot, state_key
from autointerp.store.tables import write_commits

WRITER = """
import itertools, sys
from pathlib import Path
from autointerp.records import Rating
from autointerp.store.run import open_run
with open_run("busy", folder=Path(sys.argv[1])) as run:
    for number in itertools.count():
        run.add_ratings([
            Rating(f"{number:06}-{i}", "rubric", "digest", "rater", 0, "ok", 1, "x" * 3000)
            for i in range(20)
        ])
        if number % 5 == 4:
            run.execute("CHECKPOINT")
        print(number, flush=True)
"""


def test_a_snapshot_of_a_run_that_is_written_has_all_that_was_acknowledged_before(
    tmp_path: Path, process_environment: dict[str, str]
):
    with open_run("busy", RunSettings(), folder=tmp_path):
        pass
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=process_environment,
    )
    assert child.stdout is not None
    try:
        for turn, line in enumerate(child.stdout):
            with open_snapshot("busy", tmp_path / "copies" / str(turn), tmp_path) as snapshot:
                rows = snapshot.rows("SELECT count(*), max(substr(item_id, 1, 6)::INT) FROM rating")
            ((count, last),) = rows
            assert last >= int(line)
            assert count == 20 * (last + 1)  # whole transactions, and none is missing between
            if turn == 8:
                break
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_run_that_is_read_by_a_snapshot_can_be_written(tmp_path: Path):
    with open_run("main", RunSettings(), folder=tmp_path):
        pass
    with open_snapshot("main", tmp_path / "copy", tmp_path) as snapshot:
        with open_run("main", folder=tmp_path) as run:
            run.add_ratings([Rating("i", "rubric", "digest", "rater", 0, "ok", 1)])
        assert snapshot.rows("SELECT count(*) FROM rating") == [(0,)]


def test_a_look_at_a_snapshot_is_in_the_runs_own_ledger_once(tmp_path: Path):
    fabricate_run(tmp_path, {"features": 6, "neurons": 6})
    with open_run("main", folder=tmp_path) as run:
        add_scores(run, "features", "judge", [0, 0, 1, 2, 3])
        add_scores(run, "neurons", "judge", [3, 2, 1, 0, 0])
    before = (tmp_path / "main" / "commits").read_bytes()
    for place in ("one", "two"):  # the same scores again are the same look
        with open_snapshot("main", tmp_path / place, tmp_path) as snapshot:
            (seen,) = compare(snapshot, verb="serve").looks
            assert (seen.number, seen.verb, seen.recorded) == (1, "serve", True)
    assert (tmp_path / "main" / "commits").read_bytes() == before
    with open_run("main", folder=tmp_path) as run:
        assert [row["verb"] for row in run.stored_looks()] == ["serve"]
        assert not (tmp_path / "main" / PENDING).exists()


def test_the_key_changes_with_the_run_and_with_peoples_answers(tmp_path: Path):
    with open_run("main", RunSettings(), folder=tmp_path) as run:
        run.add_ratings([Rating("i", "rubric", "digest", "rater", 0, "ok", 1)])
    path = tmp_path / "main"
    first = state_key(path)
    assert state_key(path) == first
    (path / "journals").mkdir()
    (path / "journals" / "human-ann.jsonl").write_text("x\n")
    second = state_key(path)
    with open_run("main", folder=tmp_path) as run:
        run.add_ratings([Rating("j", "rubric", "digest", "rater", 0, "ok", 1)])
    assert len({first, second, state_key(path)}) == 3


def test_another_thread_reads_by_a_cursor_of_its_own(tmp_path: Path):
    with open_run("main", RunSettings(), folder=tmp_path):
        pass
    with open_snapshot("main", tmp_path / "copy", tmp_path) as snapshot:
        other = snapshot.cursor()
        assert other.rows("SELECT count(*) FROM unit_rating") == [(0,)]
        other.connection.close()
        assert snapshot.rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("all", "run.duckdb is missing or empty, but the run has been in use"),
        ("some", "run.duckdb lacks the last 7 of 8 transactions"),
        ("header", "run.duckdb is damaged"),
    ],
)
def test_a_copy_of_a_run_that_has_lost_something_is_refused_as_the_run_is(
    tmp_path: Path, lost: str, said: str
):
    with open_run("main", RunSettings(), folder=tmp_path) as run:
        run.add_ratings([Rating("i", "rubric", "digest", "rater", 0, "ok", 1)])
    path = tmp_path / "main"
    if lost == "all":
        (path / DATABASE).unlink()
    elif lost == "some":  # one transaction is there
        write_commits(path, 8)
    else:
        (path / DATABASE).write_bytes(b"x" * 20_000)
    with pytest.raises(StorageError) as of_run:
        open_run("main", folder=tmp_path)
    with pytest.raises(StorageError) as of_copy:
        open_snapshot("main", tmp_path / "copy" / "main.3", tmp_path)
    for error in (of_run, of_copy):
        assert str(error.value).startswith(f"{path}/{said}")
        assert "`autointerp doctor main`" in str(error.value)


def test_nobody_is_asked_through_a_copy(tmp_path: Path):
    with open_run("main", RunSettings(), folder=tmp_path):
        pass
    with (
        open_snapshot("main", tmp_path / "copy", tmp_path) as snapshot,
        pytest.raises(StorageError, match="through a copy"),
    ):
        snapshot.write_reply({})


def test_what_is_no_run_is_named(tmp_path: Path):
    with pytest.raises(UnknownName, match="unknown run 'none'"):
        open_snapshot("none", tmp_path / "copy", tmp_path)
    with pytest.raises(UnknownName, match="a name is up to 100"):
        open_snapshot("../x", tmp_path / "copy", tmp_path)
