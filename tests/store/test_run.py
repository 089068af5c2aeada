import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import BadInput, RunLocked, RunMismatch, StorageError, UnknownName
from autointerp.records import Rating
from autointerp.settings import RunSettings, load_settings
from autointerp.store.ratings import came_record
from autointerp.store.run import Run, open_run, runs_in
from autointerp.store.tables import read_commits


def rating(item: str, score: int | None = 3, status: str = "ok", repeat: int = 0) -> Rating:
    return Rating(item, "rubric", "digest", "rater", repeat, status, score)  # type: ignore[arg-type]


def scores(run: Run) -> list[tuple[str, int | None]]:
    return run.rows("SELECT item_id, score FROM current_rating ORDER BY item_id")


ONE_RATING_AT_A_TIME = """
import itertools, sys
from pathlib import Path
from autointerp.records import Rating
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
with open_run("killed", RunSettings(), folder=Path(sys.argv[1])) as run:
    for number in itertools.count():
        run.add_ratings([Rating(f"{number:06}", "rubric", "digest", "rater", 0, "ok", 1)])
        print(number, flush=True)
"""


def test_kill_9_loses_no_rating_that_was_acknowledged(
    tmp_path: Path, process_environment: dict[str, str]
):
    child = subprocess.Popen(
        [sys.executable, "-c", ONE_RATING_AT_A_TIME, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=process_environment,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 40:
            child.send_signal(signal.SIGKILL)
            break
    acknowledged = [int(line), *map(int, child.stdout.read().split())]
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    with open_run("killed", folder=tmp_path) as run:
        kept = [int(item) for item, _ in scores(run)]
    assert kept[: acknowledged[-1] + 1] == list(range(acknowledged[-1] + 1))
    assert len(kept) <= acknowledged[-1] + 2  # at most the one in hand


HOLDER = """
import sys
from pathlib import Path
from autointerp.store.run import open_run
with open_run("tiny", folder=Path(sys.argv[1]), read_only=sys.argv[2] == "read"):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(own_runs: Path, process_environment: dict[str, str]):
    """Another process that holds the run open for writing."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(own_runs), "write"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=process_environment,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    yield child
    child.communicate()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_run_that_another_process_holds_is_named_with_that_process(
    own_runs: Path, holder: subprocess.Popen[bytes], tiny_run_name: str, read_only: bool
):
    with pytest.raises(RunLocked) as raised:
        open_run(tiny_run_name, folder=own_runs, read_only=read_only)
    assert str(raised.value) == (
        f"run 'tiny' is in use by process {holder.pid}; wait until that has ended, or stop "
        "it: what it has done is kept, and the same command goes on from there"
    )


def test_a_run_that_this_process_writes_is_read_beside_that(own_runs: Path, tiny_run_name: str):
    with open_run(tiny_run_name, folder=own_runs) as run:
        run.add_ratings([rating("one", 1)])
        with open_run(tiny_run_name, folder=own_runs, read_only=True) as reader:
            assert ("one", 1) in scores(reader)


def test_a_run_that_this_process_only_reads_is_not_written_and_why_is_said(
    own_runs: Path, tiny_run_name: str
):
    with (
        open_run(tiny_run_name, folder=own_runs, read_only=True),
        pytest.raises(StorageError, match="is open in this process to be read alone"),
    ):
        open_run(tiny_run_name, folder=own_runs)


def test_replies_that_this_process_is_writing_are_left_to_it(own_runs: Path, tiny_run_name: str):
    record = came_record("rater", None, rating("one", 1), None, 0.0)
    with open_run(tiny_run_name, folder=own_runs) as run:
        run.write_reply(record)
        with open_run(tiny_run_name, folder=own_runs) as other:  # as a notebook looks meanwhile
            assert other.rows("SELECT 1 FROM rating WHERE item_id = 'one'") == []
            with pytest.raises(RunLocked, match="by another thread of this process"):
                other.write_reply(dict(record))
        assert (run.path / "replies.jsonl").exists()
        run.take_in_replies()
    with open_run(tiny_run_name, folder=own_runs) as run:
        assert run.rows("SELECT count(*) FROM rating WHERE item_id = 'one'") == [(1,)]


def test_all_who_write_a_run_in_one_process_count_its_transactions_together(
    own_runs: Path, tiny_run_name: str, monkeypatch: pytest.MonkeyPatch
):
    with (
        open_run(tiny_run_name, folder=own_runs) as run,
        open_run(tiny_run_name, folder=own_runs) as other,
    ):
        before = read_commits(run.path)
        for number in range(3):
            run.remember("number", str(number))
        other.remember("other", "1")
        assert read_commits(run.path) == before + 4
        run.remember("number", "3")
        # As a kill between a COMMIT and its number beside the database leaves it.
        monkeypatch.setattr("autointerp.store.tables.write_commits", lambda *_: None)
        other.remember("other", "2")
    with open_run(tiny_run_name, folder=own_runs) as run:  # which is no damage
        assert (run.recall("number"), run.recall("other")) == ("3", "2")


def test_threads_write_one_run_one_after_the_other(own_runs: Path, tiny_run_name: str):
    """Two transactions at once, each counting itself, are a conflict to DuckDB: it was told as a
    full disk."""
    with (
        open_run(tiny_run_name, folder=own_runs) as run,
        open_run(tiny_run_name, folder=own_runs) as other,
    ):
        thread = threading.Thread(target=other.remember, args=("other", "1"))
        with run.transaction():
            run.execute("INSERT INTO about VALUES ('one', '1')")
            thread.start()
            thread.join(0.1)  # it may be done by now, if nothing makes it wait
        thread.join()
        assert (run.recall("one"), run.recall("other")) == ("1", "1")


def run_script(
    script: str, folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own; its argument is a folder."""
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


IN_A_NOTEBOOK = """
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

ipython = ModuleType("IPython")  # as DuckDB looks for a notebook
ipython.get_ipython = lambda: SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = ipython
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
open_run("r", RunSettings(), folder=Path(sys.argv[1])).close()
"""


def test_a_run_opens_in_a_notebook_that_has_no_bars(
    tmp_path: Path, process_environment: dict[str, str]
):
    said = run_script(IN_A_NOTEBOOK, tmp_path, process_environment)
    assert (said.returncode, said.stderr) == (0, "")


def test_two_readers_do_not_hinder_each_other(tiny_run: Path, tiny_run_name: str):
    with (
        open_run(tiny_run_name, folder=tiny_run, read_only=True) as one,
        open_run(tiny_run_name, folder=tiny_run, read_only=True) as other,
    ):
        assert one.rows("SELECT count(*) FROM unit") == other.rows("SELECT count(*) FROM unit")


def test_a_run_opened_again_with_its_own_settings_is_the_same(run: Run, tmp_path: Path):
    run.close()
    settings = dataclasses.replace(
        RunSettings(), harvest=dataclasses.replace(RunSettings().harvest, rows=3)
    )
    with open_run("one", settings, folder=tmp_path) as again:
        assert again.settings == RunSettings()


def test_other_settings_under_the_same_name_name_the_difference(run: Run, tmp_path: Path):
    run.close()
    with pytest.raises(RunMismatch) as raised:
        open_run("one", load_settings("embedded", seed=7), folder=tmp_path)
    assert str(raised.value) == (
        "run 'one' was made with other settings: seed is 7, not 0; "
        f"give this work another --run, or remove {tmp_path / 'one'}"
    )


def test_what_a_run_was_made_of_and_is_not_there_any_more_is_named(tmp_path: Path) -> None:
    toml = tmp_path / "autointerp.toml"
    toml.write_text('[subject]\nmodel = "m.gguf"\nsae = "sae.safetensors"\ncorpus = "c.txt"\n')
    for name in ("m.gguf", "sae.safetensors", "c.txt"):
        (tmp_path / name).touch()
    open_run("one", load_settings(str(toml)), folder=tmp_path / "runs").close()
    (tmp_path / "sae.safetensors").unlink()
    with pytest.raises(RunMismatch) as raised:
        open_run("one", load_settings(str(toml)), folder=tmp_path / "runs")
    assert str(raised.value) == (
        f"run 'one' was made of {tmp_path.resolve() / 'sae.safetensors'} (subject.sae), which is "
        "not there any more; put it back, or give this work another --run, or remove "
        f"{tmp_path / 'runs' / 'one'}"
    )


@pytest.mark.parametrize("part", ["model", "sae", "corpus"])
def test_another_file_behind_the_same_settings_is_named(
    own_runs: Path, tiny_settings: Path, tiny_run_name: str, part: str
):
    from autointerp.subjects.load import load_subject

    settings = load_settings(str(tiny_settings))
    subject = load_subject(settings.subject)
    other = dataclasses.replace(subject, digests={**subject.digests, part: "0" * 64})
    with pytest.raises(RunMismatch, match=f"was made with another {part}; give this work another"):
        open_run(tiny_run_name, settings, other, own_runs)


def test_an_unknown_run_lists_the_ones_there_are_and_says_how_to_make_it(tiny_run: Path):
    with pytest.raises(UnknownName) as raised:
        open_run("tinny", folder=tiny_run)
    assert str(raised.value) == (
        "unknown run 'tinny'; did you mean 'tiny'? (known: tiny); "
        "`autointerp rate --run tinny` makes one"
    )


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "-x", "a b", "a\n"])
def test_a_name_that_is_no_plain_folder_name_is_refused_before_anything_is_made(
    tmp_path: Path, name: str
):
    with pytest.raises(UnknownName, match="a name is up to 100 ASCII letters"):
        open_run(name, RunSettings(), folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_folder_got_a_name_that_no_run_has_says_what_to_do(tmp_path: Path):
    open_run("one", RunSettings(), folder=tmp_path).close()
    (tmp_path / "one").rename(tmp_path / "größer")
    with pytest.raises(BadInput, match=r"a letter or digit first; rename its folder .*/größer$"):
        open_run("größer", folder=tmp_path)


def test_a_file_in_place_of_the_folder_of_runs_is_named(tmp_path: Path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError, match=r"cannot make the run's folder .*runs/one \("):
        open_run("one", RunSettings(), folder=tmp_path / "runs")


def test_a_kill_before_the_database_was_made_leaves_a_run_that_opens(run: Run, tmp_path: Path):
    run.close()
    (tmp_path / "one" / "run.duckdb").unlink()
    for read_only in (True, False):
        with open_run("one", folder=tmp_path, read_only=read_only) as again:
            assert again.rows("SELECT count(*) FROM unit") == [(0,)]


def test_a_kill_while_run_toml_was_written_leaves_no_run(tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.toml.partial").write_text("[run")
    assert runs_in(tmp_path) == []
    with open_run("one", RunSettings(), folder=tmp_path) as run:
        assert run.settings == RunSettings()
    assert runs_in(tmp_path) == ["one"]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("run.toml", b"[run", "run.toml cannot be read"),
        ("run.duckdb", b"no database" * 2000, "run.duckdb is damaged"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    run: Run, tmp_path: Path, file: str, content: bytes, told: str
):
    run.close()
    (tmp_path / "one" / file).write_bytes(content)
    with pytest.raises(StorageError, match=told) as raised:
        open_run("one", folder=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_database_that_is_cut_is_damaged_however_it_is_opened_next(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40}):
        pass
    file = tmp_path / "main" / "run.duckdb"
    content = file.read_bytes()
    for length in (300_000, len(content) // 2):
        file.write_bytes(content[:length])
        kept = []  # as a caller that tries otherwise keeps what it was told
        for read_only in (False, True, False):
            with pytest.raises(StorageError, match=r"run\.duckdb is damaged") as raised:
                open_run("main", folder=tmp_path, read_only=read_only)
            kept.append(raised)


def test_what_a_run_was_made_with_is_in_its_toml(tiny_run: Path, tiny_run_name: str):
    with open_run(tiny_run_name, folder=tiny_run, read_only=True) as run:
        about = run.about
    assert about["run"]["name"] == "tiny"
    assert {"model", "sae", "corpus"} <= set(about["digests"])
    assert {"python", "autointerp", "torch", "duckdb"} <= set(about["versions"])
    assert about["run"]["settings_digest"] == run.settings.digest


FILLED = """
import resource, sys
from pathlib import Path
from autointerp.errors import StorageError
from autointerp.records import Rating
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
with open_run("full", RunSettings(), folder=Path(sys.argv[1])) as run:
    run.add_ratings([Rating("first", "rubric", "digest", "rater", 0, "ok", 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with open_run("full", RunSettings(), folder=Path(sys.argv[1])) as run:
        for n in range(15):
            text = "".join(chr(33 + (i * i * 7 + n) % 90) for i in range(20_000))
            run.add_ratings([Rating(f"{n}", text, "digest", "rater", 0, "ok", 1, text)])
except StorageError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_named_and_what_was_kept_before_is_still_there(
    tmp_path: Path, process_environment: dict[str, str]
):
    # A limit on the size of files stands for the full disk: the same failing write.
    told = run_script(FILLED, tmp_path, process_environment)
    assert told.returncode == 0, told.stderr
    assert "cannot write" in told.stdout
    assert "free some space" in told.stdout
    assert told.stdout.count("\n") == 1
    with open_run("full", RunSettings(), folder=tmp_path) as run:
        assert scores(run)[-1] == ("first", 1)
        run.add_ratings([rating("after", 2)])
    assert os.path.getsize(tmp_path / "full" / "run.duckdb") > 0


UNWRITTEN = """
import os, resource, sys
from pathlib import Path
from autointerp.errors import StorageError
from autointerp.store.run import open_run
folder = Path(sys.argv[1])
size = os.path.getsize(folder / "left" / "run.duckdb")
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    with open_run("left", folder=folder) as run:
        run.execute("CHECKPOINT")
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_no_damage_where_a_kill_left_a_log_to_be_taken_in(
    tmp_path: Path, process_environment: dict[str, str]
):
    with open_run("killed", RunSettings(), folder=tmp_path) as run:
        run.connection.execute("CHECKPOINT")
        run.add_ratings([rating(f"{n}", 3) for n in range(20)])
        shutil.copytree(tmp_path / "killed", tmp_path / "left")  # what a kill would leave
    told = run_script(UNWRITTEN, tmp_path, process_environment)
    assert told.stdout.startswith(f"cannot write {tmp_path / 'left' / 'run.duckdb'} ("), told
    assert "free some space" in told.stdout
    with open_run("left", folder=tmp_path) as run:
        assert len(scores(run)) == 20


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder of a run that a kill left with three ratings in its write-ahead log alone."""
    with open_run("one", RunSettings(), folder=tmp_path):
        pass
    with open_run("one", folder=tmp_path) as run:
        for number in range(3):
            run.add_ratings([rating(f"item{number}", number + 1)])
        shutil.copytree(run.path, tmp_path / "killed")
    return tmp_path / "killed"


def test_a_write_ahead_log_is_taken_in_where_it_is_whole(killed: Path):
    with open_run("killed", folder=killed.parent) as run:
        assert len(scores(run)) == 3


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99, None])
def test_a_write_ahead_log_that_is_cut_or_gone_is_said_and_not_passed_over(
    killed: Path, share: float | None, read_only: bool
):
    log = killed / "run.duckdb.wal"
    if share is None:
        log.unlink()
    else:
        log.write_bytes(log.read_bytes()[: int(share * log.stat().st_size)])
    with pytest.raises(StorageError, match=r"lacks the last [1-3] of 3 transactions") as raised:
        open_run("killed", folder=killed.parent, read_only=read_only)
    assert "`autointerp doctor killed`" in str(raised.value)


def test_a_flipped_bit_in_the_log_is_said(killed: Path):
    log = killed / "run.duckdb.wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with pytest.raises(StorageError, match=r"is damaged|lacks the last"):
        open_run("killed", folder=killed.parent)


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("with_settings", [True, False])
def test_a_run_in_use_whose_database_is_missing_or_empty_is_no_new_run(
    run: Run, tmp_path: Path, empty: bool, with_settings: bool
):
    run.add_ratings([rating("a")])
    run.close()
    file = tmp_path / "one" / "run.duckdb"
    file.write_bytes(b"") if empty else file.unlink()
    for read_only in (True, False):
        with pytest.raises(StorageError, match=r"run\.duckdb is missing or empty, but the run has"):
            open_run(
                "one",
                RunSettings() if with_settings else None,
                folder=tmp_path,
                read_only=read_only,
            )
    assert not file.exists() or not file.stat().st_size


@pytest.mark.parametrize("used", ["log.jsonl", "journals/human-ann.jsonl", "replies.jsonl"])
def test_any_trace_of_use_tells_a_damaged_run_from_a_new_one(tmp_path: Path, run: Run, used: str):
    run.close()
    for name in ("run.duckdb", "commits"):
        (run.path / name).unlink(missing_ok=True)
    (run.path / used).parent.mkdir(exist_ok=True)
    (run.path / used).write_text("{}\n")
    with pytest.raises(StorageError, match="is missing or empty"):
        open_run("one", folder=tmp_path)


def test_a_run_without_its_run_toml_is_listed_and_no_new_one_takes_its_place(
    run: Run, tmp_path: Path
):
    run.add_ratings([rating("a")])
    run.close()
    (tmp_path / "one" / "run.toml").unlink()
    size = (tmp_path / "one" / "run.duckdb").stat().st_size
    assert runs_in(tmp_path) == ["one"]
    for settings in (None, RunSettings()):
        with pytest.raises(StorageError, match=r"run\.toml is missing, but run\.duckdb is there"):
            open_run("one", settings, folder=tmp_path)
    assert (tmp_path / "one" / "run.duckdb").stat().st_size == size


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text.replace("[settings", "[other"), r"no table \[settings\]"),
        (lambda text: text.replace("[digests]", ""), r"no table \[digests\]"),
        (lambda text: text.replace("settings_digest", "x"), r"\[run\] lacks settings_digest"),
        (lambda text: "run = 3\n", r"no table \[run\]"),
        (lambda text: "", r"no table \[run\]"),
        (lambda text: text.replace('model = "embedded"', "model = 3"), "lacks model"),
        (lambda text: text + "a = " + "[" * 5000, "cannot be read"),
        (lambda text: text + "a = " + "9" * 5000, "cannot be read"),
    ],
)
def test_a_run_toml_that_is_not_whole_is_one_line(run: Run, tmp_path: Path, edit, told: str):
    run.close()
    file = tmp_path / "one" / "run.toml"
    file.write_text(edit(file.read_text()))
    with pytest.raises(StorageError, match=told) as raised:
        open_run("one", RunSettings(), folder=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_flipped_bit_in_the_database_is_one_line_wherever_it_shows(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40}):
        pass
    file = tmp_path / "main" / "run.duckdb"
    content = file.read_bytes()
    told = []
    for place in range(0, len(content), len(content) // 40):
        flipped = bytearray(content)
        flipped[place] ^= 4
        file.write_bytes(flipped)
        try:
            with open_run("main", folder=tmp_path, read_only=True) as run:
                for table in ("unit", "context", "item", "key", "rating", "source"):
                    run.rows(f"SELECT * FROM {table}")
        except StorageError as error:
            told.append(str(error))
    assert len(told) > 5  # elsewhere are free blocks
    assert all("run.duckdb is damaged" in line for line in told)


def test_runs_are_their_owner_s_alone(run: Run, tmp_path: Path):
    run.log("seen")
    run.add_ratings([rating("a")])
    run.close()
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "one").iterdir()}
    assert modes == dict.fromkeys(("run.toml", "run.duckdb", "log.jsonl", "commits"), 0o600)


def test_what_is_discarded_is_what_this_opening_made(tmp_path: Path):
    with open_run("new", RunSettings(), folder=tmp_path / "runs") as run:
        run.log("seen")
        run.discard()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")
    with open_run("there", RunSettings(), folder=tmp_path) as run:
        run.discard()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes.txt"]
    with open_run("kept", RunSettings(), folder=tmp_path):
        pass
    with open_run("kept", RunSettings(), folder=tmp_path) as run:
        run.log("seen")
        run.discard()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["run.duckdb", "run.toml"]


TINY_DISK = """
import os, sys
from pathlib import Path
from autointerp.errors import AutointerpError
from autointerp.records import Rating
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
if os.system(f"mount -t tmpfs -o size=4m tmpfs {sys.argv[1]}"):
    sys.exit(77)
os.chdir(sys.argv[1])
assert os.statvfs(".").f_blocks * os.statvfs(".").f_frsize == 4 * 2**20
def fill():
    with open("fill", "wb", buffering=0) as file:
        try:
            for _ in range(8 * 2**10): file.write(b"0" * 1024)  # twice as much as there is
        except OSError: pass
def rate(name):
    try:
        with open_run("full", RunSettings(), folder=Path(".")) as run:
            run.add_ratings([Rating(name, "rubric", "digest", "rater", 0, "ok", 1, "x" * 50000)])
        print("kept")
    except AutointerpError as error:
        print(error)
rate("first"); fill(); rate("second"); rate("third"); os.unlink("fill"); rate("fourth")
"""


def test_every_start_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    tmp_path: Path, process_environment: dict[str, str]
):
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: a small disk cannot be mounted")
    told = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", TINY_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**process_environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    if told.returncode in (1, 77) and "kept" not in told.stdout:
        pytest.skip(f"a small disk cannot be mounted here: {told.stderr[-200:]}")
    first, second, third, fourth = told.stdout.splitlines()
    assert (first, fourth) == ("kept", "kept")
    for line in (second, third):
        assert "cannot write full/run.duckdb" in line
        assert "No space left on device" in line
        assert "free some space" in line


def test_a_run_says_what_it_holds(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 4, "planted": 2}, name="a-b") as run:
        assert repr(run) == (
            f"<run 'a-b' in {tmp_path / 'a-b'}: 4 features, 2 planted (control); no ratings>"
        )
        add_scores(run, "features", "human:ann", [1, 1, 1, 0, 0], missing={"skipped": 1})
        assert repr(run).endswith("; human:ann: 3 ok, 1 skipped>")
        shown = run._repr_html_()
        assert "<td>features</td><td>4</td><td>studied</td>" in shown
        assert "<td>human:ann</td><td>3 ok, 1 skipped</td>" in shown
    assert repr(run) == f"<run 'a-b' in {tmp_path / 'a-b'}, closed>"
    assert run._repr_html_() == f"&lt;run &#x27;a-b&#x27; in {tmp_path / 'a-b'}, closed&gt;"


def test_each_run_has_a_secret_from_which_the_codes_of_its_fences_come(tmp_path: Path) -> None:
    codes = []
    for name in ("one", "other"):
        with open_run(name, RunSettings(), folder=tmp_path) as run:
            codes.append([run.fence(item) for item in ("a", "b")])
        with open_run(name, folder=tmp_path, read_only=True) as again:
            assert [again.fence(item) for item in ("a", "b")] == codes[-1]
    assert len({code for both in codes for code in both}) == 4
    with open_run("one", folder=tmp_path) as old:
        del old.about["run"]["fence"]  # as a run of an earlier version has it
        assert old.fence("a") == ""
