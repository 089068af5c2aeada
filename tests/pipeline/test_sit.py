"""The whole way, from the command line to the run: processes, pseudo-terminals and kill -9."""

import errno
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.processes import printed

from autointerp.engine.forecast import Forecast
from autointerp.errors import RunLocked
from autointerp.people.journal import OtherJournals, open_journal, read_journal
from autointerp.people.machine import Machine
from autointerp.people.packs import make_pack, units_to_pack
from autointerp.people.session import Sitting
from autointerp.pipeline.sit import SitForecast
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import open_run

RATE_PACK = (
    "import sys; from pathlib import Path; from autointerp.apps.terminal.sit import asker;"
    "from autointerp.pipeline.sit_pack import rate_pack;"
    "print(rate_pack(Path(sys.argv[1]), sys.argv[2], asker('--plain' in sys.argv)))"
)


@pytest.fixture
def pack(own_runs: Path, tiny_run_name: str, tmp_path: Path) -> Path:
    """A pack of the tiny run."""
    path = tmp_path / "ann.pack"
    with open_run(tiny_run_name, folder=own_runs) as run:
        make_pack(run, load_rubric("interpretability-1-5"), units_to_pack(run), Sitting(), path)
    return path


def read_until(handle: int, words: str, seconds: float = 60) -> str:
    """Read from a pseudo-terminal until its screen has said `words`."""
    seen = ""
    until = time.monotonic() + seconds
    while words not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen):
        assert time.monotonic() < until, f"no {words!r} in {seen[-2000:]!r}"
        if select.select([handle], [], [], 0.2)[0]:
            try:
                seen += os.read(handle, 65536).decode("utf-8", "replace")
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                break
    return seen


def test_a_session_runs_in_a_real_terminal_and_survives_kill_9(pack: Path):
    process, handle = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", NO_COLOR="1")
        os.environ.pop("COLUMNS", None)
        os.execv(sys.executable, [sys.executable, "-c", RATE_PACK, str(pack), "human:ann"])
    try:
        termios.tcsetwinsize(handle, (24, 80))
        read_until(handle, "Enter to go on")
        os.write(handle, b"\r")
        seen = read_until(handle, "practice 1 of 4")
        os.write(handle, b"2")
        seen += read_until(handle, "Practice only")
        os.write(handle, b"\r")
        seen += read_until(handle, "practice 2 of 4")
        assert not re.search(r"\x1b\[[0-9;]*(3[1-7]|4[1-7]|38;|48;)[0-9;]*m", seen)  # no colour
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(handle)
    entries = read_journal(pack).entries["human:ann"]
    assert [(entry.kind, entry.score) for entry in entries] == [("training", 2)]


def test_kill_9_after_any_answer_loses_none(pack: Path, process_environment: dict[str, str]):
    given = 0
    for answers in (1, 3):
        command = [sys.executable, "-c", RATE_PACK, str(pack), "human:ann", "--plain"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=process_environment,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            asked = 0
            for line in process.stdout:
                if line.startswith("Answer,") and asked == answers:
                    break  # the next item is shown, so the answer before is safe
                if line.startswith(("Answer,", "Enter to go on")):
                    asked += line.startswith("Answer,")
                    process.stdin.write("3\n" if line.startswith("Answer,") else "\n")
                    process.stdin.flush()
            process.kill()
            process.wait()
        given += answers
        assert len(read_journal(pack).entries["human:ann"]) == given


def test_a_journal_that_somebody_rates_is_refused_to_a_second_window(pack: Path):
    with (
        open_journal(pack, "human:ann"),
        pytest.raises(RunLocked, match="another window"),
        open_journal(pack, "human:ann"),
    ):
        pass
    with open_journal(pack, "human:ann"):
        pass


def rate(command_line, tiny_settings, name, *more, answers="", monkeypatch):
    """Rate as plain lines; `answers` is what is typed."""
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    arguments = ["rate", "--rater", name, "--run", "tiny", "--subject", tiny_settings]
    return command_line(*arguments, "--n", 4, "--controls", 2, "--plain", *more)


def journal_in(runs: Path, name: str) -> Path:
    (path,) = (runs / "tiny" / "journals").glob(f"human-{name}.*.jsonl")
    return path


@pytest.fixture
def sit(own_runs, command_line, tiny_settings, monkeypatch):
    """Call `rate --plain` on a copy of the tiny run with answers typed."""

    def call(name: str, *more: object, answers: str = ""):
        return rate(
            command_line, tiny_settings, name, *more, answers=answers, monkeypatch=monkeypatch
        )

    return call


def test_people_rate_all_sources_mixed_and_the_answers_are_in_the_run(sit, own_runs):
    told = sit("human:ann", "--mix", "--guess", answers="1\n\n" * 4 + "4\n" * 200)
    assert told.code == 0, told.err
    assert "all done" in told.err
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        counts = dict(
            run.rows(
                "SELECT source, count(*) FROM current_rating JOIN key USING (item_id)"
                " JOIN unit USING (unit_id) WHERE rater = 'human:ann' AND repeat = 0 GROUP BY 1"
            )
        )
        guessed = run.rows("SELECT count(*) FROM current_guess WHERE rater = 'human:ann'")[0][0]
        practised = run.rows(
            "SELECT count(*) FROM human_answer JOIN current_rating USING (item_id, rater)"
            " WHERE kind = 'training'"
        )[0][0]
        repeats = run.rows(
            "SELECT count(*) FROM current_rating WHERE rater = 'human:ann' AND repeat = 1"
        )[0][0]
        kept, left_out = run.rows("SELECT to_rate, left_out FROM human_session")[0]
    # --source defaults to features; with --mix neurons come too, 4 of each, and 2 of each control,
    # but for
    # units of the tiny corpus that have fewer contexts than the others and would stand out.
    wished = {"features": 4, "neurons": 4, "planted": 2, "random": 2, "shuffled": 2}
    missing = json.loads(left_out)
    assert counts == {name: n - missing.get(name, 0) for name, n in wished.items()}
    assert sum(missing.values()) <= 2
    assert guessed == kept == sum(counts.values())
    assert practised == 0  # practice is kept, and never a rating
    assert repeats == 1  # a tenth of 12 to 14


def test_a_sitting_goes_on_where_it_stopped_without_the_database(sit, own_runs, monkeypatch):
    def locked(*_: object, **__: object) -> None:
        raise RunLocked("run 'tiny' is in use by process 1")

    first = sit("human:ann", answers="1\n\n1\n\n1\n\n1\n\n4\n4\nq\n")
    assert "2 rated" in first.err
    with monkeypatch.context() as patch:  # somebody else holds the run
        patch.setattr("autointerp.pipeline.sit.open_run", locked)
        second = sit("human:ann", answers="5\nq\n")
    assert second.code == 0
    assert "your answers are safe in" in second.err
    assert "Welcome back." in second.out
    third = sit("human:ann", answers="q\n")
    assert third.code == 0
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        scores = run.rows("SELECT score FROM current_rating WHERE rater = 'human:ann'")
    assert sorted(scores) == [(4,), (4,), (5,)]


def test_a_larger_wish_asks_only_what_is_new_and_practises_no_more(sit, own_runs):
    sit("human:ann", answers="1\n\n" * 4 + "4\n" * 200)
    told = sit("human:ann", "--n", 6, answers="4\n" * 200)
    assert told.code == 0, told.err
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        features, repeated = run.rows(
            "SELECT count(*) FILTER (repeat = 0), count(*) FILTER (version > 0)"
            " FROM rating JOIN key USING (item_id) JOIN unit USING (unit_id)"
            " WHERE rater = 'human:ann' AND source = 'features'"
        )[0]
    assert 5 <= features <= 6  # one may have too few contexts
    assert repeated == 0
    assert "for practice" not in told.out


def test_two_raters_at_once_do_not_lock_each_other_out(sit, own_runs):
    for name in ("ann", "bob"):
        sit(f"human:{name}", "--overlap", 1, "--mix", answers="q\n")
    paths = [journal_in(own_runs, name) for name in ("ann", "bob")]

    def rate_all(path: Path, name: str) -> None:
        others = OtherJournals(path.parent, name)
        with open_journal(path, name) as journal:
            machine = Machine(journal, rated_by_others=others.counts)
            while machine.step is not None:
                if machine.step.kind == "guess":
                    machine.guess("unknown")
                else:
                    machine.rate(3)
                    machine.go_on()

    # The run is anybody's meanwhile.
    with open_run("tiny", folder=own_runs), ThreadPoolExecutor(2) as raters:
        list(raters.map(rate_all, paths, ["human:ann", "human:bob"]))
    for name in ("ann", "bob"):
        assert sit(f"human:{name}", "--overlap", 1, "--mix", answers="").code == 0
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        rows = run.rows(
            "SELECT is_control, count(DISTINCT item_id), count(*) FROM current_rating"
            " JOIN key USING (item_id) JOIN unit USING (unit_id) JOIN source USING (source)"
            " WHERE starts_with(rater, 'human') AND repeat = 0 GROUP BY 1 ORDER BY 1"
        )
    (_, ordinary, ratings), (_, gold, gold_ratings) = rows
    assert 7 <= ordinary <= 8  # one may have too few contexts
    assert (
        ordinary <= ratings <= ordinary + 2
    )  # one each, but for what both had before them at the same moment
    assert gold_ratings == 2 * gold  # gold is everybody's


def test_each_rater_has_an_order_of_their_own(sit, own_runs):
    for name in ("ann", "bob"):
        sit(f"human:{name}", answers="1\n\n" * 4 + "4\n" * 9 + "q\n")
    orders = []
    for name in ("ann", "bob"):
        entries = read_journal(journal_in(own_runs, name)).entries[f"human:{name}"]
        orders.append([entry.item for entry in entries if entry.kind == "rating"])
    assert orders[0] != orders[1]


def test_a_pack_goes_out_is_rated_and_comes_home(command_line, own_runs, monkeypatch):
    import io

    told = command_line("pack", "tiny", "-o", "for-ann.pack", "--n", 4)
    assert told.code == 0, told.err
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n\n" * 4 + "4\n" * 200))
    shutil.move(own_runs, own_runs.with_name("elsewhere"))  # no run where it is rated
    rated = command_line("rate", "--pack", "for-ann.pack", "--rater", "human:ann", "--plain")
    assert rated.code == 0, rated.err
    assert "autointerp ingest" in rated.err
    shutil.move(own_runs.with_name("elsewhere"), own_runs)
    first = command_line("ingest", "tiny", "for-ann.pack")
    assert first.code == 0, first.err
    assert "new answers" in first.out
    assert "nothing new" in command_line("ingest", "tiny", "for-ann.pack").out


def test_people_rate_what_plan_humans_drew(sit, command_line, own_runs):
    told = command_line("plan-humans", "--n", 6, "--run", "tiny")
    assert told.code == 0, told.err
    assert "6 items, to calibrate scripted:4" in told.out
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        held = run.held_units()
        by_source = run.rows("SELECT source, count(*) FROM human_plan GROUP BY 1 ORDER BY 1")
    asked = sit("human:ann", "--planned", "--n", 30, "--dry-run")
    drawn = ", ".join(f"{n} {name}" for name, n in by_source)
    assert f"{drawn}, 2 planted, 2 random, 2 shuffled at most, mixed;" in asked.err
    answers = "1\n\n" * 4 + "4\n" * 200
    assert sit("human:ann", "--planned", "--n", 30, answers=answers).code == 0
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert run.held_units() == held  # no more of the sources, of which nothing else is asked
        rated, planned = run.rows(
            "SELECT count(*), count(p.item_id) FROM current_rating r"
            " JOIN key USING (item_id) JOIN unit USING (unit_id) JOIN source USING (source)"
            " LEFT JOIN human_plan p USING (item_id)"
            " WHERE r.rater = 'human:ann' AND repeat = 0 AND NOT is_control"
        )[0]
    assert rated == planned == 6  # none with fewer contexts than people are shown was drawn


def test_a_plan_goes_on_with_no_sitting_of_before(sit, command_line):
    assert sit("human:ann", "--mix", "--guess", answers="q\n").code == 0  # begun, and left
    assert command_line("plan-humans", "--n", 6, "--run", "tiny").code == 0
    told = sit("human:ann", "--planned", answers="q\n")
    assert told.code == 0, told.err
    assert "begun with other sources" not in told.err


def test_a_planned_sitting_that_leaves_parts_out_is_another_and_asks_only_what_is_left(
    sit, command_line
):
    assert command_line("plan-humans", "--n", 6, "--run", "tiny").code == 0
    begun = sit("human:ann", "--planned", answers="1\n\n" * 4 + "4\n4\nq\n")
    assert begun.err.endswith("human:ann: 2 rated, 0 skipped; 11 questions left: the same command "
                              "continues from here\n")  # fmt: skip
    bare = ("--planned", "--no-practice", "--repeat-share", "0")
    assert "10 questions: 10 items to rate." in sit("human:ann", *bare, answers="q\n").err
    assert "11 questions: 10 items to rate, 1 of" in sit("human:ann", "--planned").err


def test_a_dry_run_says_what_a_person_would_be_asked(sit):
    told = sit("human:ann", "--mix", "--dry-run")
    assert told.code == 0
    assert "4 features, 4 neurons, 2 planted, 2 random, 2 shuffled at most, mixed" in told.err


def test_whatever_rate_would_ask_about_its_forecast_has_an_estimate():
    calls = Forecast("human:ann", 4 + 2 + 1)
    assert SitForecast("human:ann", {"features": 4}, 2, 1, guesses=0).estimate == calls
    assert calls.estimate is calls  # of descriptions


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rater", "human:../x"), "letters, digits"),
        (("--rater", "human:ann", "--repeats", "2"), "--repeat-share"),
        (("--rater", "human:ann", "--repeats", "2", "--dry-run"), "--repeat-share"),
        (("--rubric", "specificity-0-3", "--dry-run"), "is about descriptions; people rate units"),
        (("--rater", "human:ann", "--planned"), "plan-humans"),
        (("--rater", "human:ann", "--overlap", "0"), "overlap"),
    ],
)
def test_wishes_that_cannot_be_are_refused_with_a_remedy(sit, arguments, words):
    told = sit("human:zed", *arguments)
    assert told.code == 2
    assert words in told.err


def test_a_pack_is_rated_without_torch_or_a_database_and_lines_without_a_screen():
    heavy = "textual torch duckdb pandas"
    code = (
        "import autointerp.apps.terminal.sit, autointerp.pipeline.sit_pack, sys;"
        f"print(*(name for name in {heavy.split()} if name in sys.modules))"
    )
    assert printed(code).split() == []


def test_parts_can_be_left_out_and_the_count_is_said_before(sit, own_runs):
    whole = sit("human:ann", "--mix", "--guess", "--dry-run")
    assert "4 for practice" in whole.err
    assert "quick guesses at the end" in whole.err
    bare = ("--no-practice", "--repeat-share", 0, "--controls", 0)
    told = sit("human:ann", *bare, "--dry-run")
    assert "would ask human:ann 4 questions: 4 features at most. Parts" in told.err
    told = sit("human:ann", *bare, answers="3\n" * 50)
    assert told.code == 0, told.err
    assert "4 questions: 4 items to rate. Parts are left out by" in told.err
    (path,) = (own_runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    entries = read_journal(path).entries["human:ann"]
    assert [entry.kind for entry in entries] == ["rating"] * 4
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        sources = run.rows(
            "SELECT DISTINCT source FROM current_rating JOIN key USING (item_id)"
            " JOIN unit USING (unit_id) WHERE rater = 'human:ann'"
        )
    assert sources == [("features",)]


def test_what_is_asked_is_what_comes(sit, own_runs):
    """`--n 4 --controls 3`: 4 features, 3 of each of the three controls, a tenth of 13 once more,
    and practice, which is announced and can be left out; no other sources, no guesses."""
    told = sit("human:ann", "--controls", 3, "--dry-run")
    assert "18 questions: 4 for practice; 4 features, 3 planted, 3 random, 3 shuffled" in told.err
    assert "1 of them once more" in told.err
    assert "guess" not in told.err.partition("Parts are left out")[0]
    told = sit("human:ann", "--controls", 3, answers="1\n\n" * 4 + "4\n" * 200)
    assert "all done" in told.err
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        counts = dict(
            run.rows(
                "SELECT source, count(*) FROM current_rating JOIN key USING (item_id)"
                " JOIN unit USING (unit_id) WHERE rater = 'human:ann' AND repeat = 0 GROUP BY 1"
            )
        )
        left_out = json.loads(run.rows("SELECT left_out FROM human_session")[0][0])
    wished = {"features": 4, "planted": 3, "random": 3, "shuffled": 3}
    assert counts == {name: n - left_out.get(name, 0) for name, n in wished.items()}


def test_a_sitting_of_an_earlier_version_goes_on_by_the_same_command(sit, own_runs):
    """Mixed with all sources and guesses was what a command without options asked."""
    first = sit("human:ann", "--mix", "--guess", answers="1\n\n" * 4 + "4\nq\n")
    assert first.code == 0, first.err
    again = sit("human:ann", answers="4\nq\n")
    assert "goes on with a sitting" in again.err
    assert "Welcome back." in again.out
    assert len(read_journal(journal_in(own_runs, "ann")).entries["human:ann"]) == 6


def test_a_report_says_of_how_many_items_a_person_asked_for_more_text(
    sit, own_runs, tmp_path, command_line
):
    answers = "1\n\n" * 4 + "m\n4\n" + "4\n" * 200
    assert "all done" in sit("human:ann", "--repeat-share", 0, answers=answers).err
    told = command_line("report", "tiny", "-o", tmp_path / "out")
    assert told.code == 0, told.err
    table = (tmp_path / "out" / "tables" / "text-asked-for.csv").read_text().splitlines()
    fields = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    assert (fields["rater"], fields["asked"]) == ("human:ann", "1")
    assert 9 <= int(fields["items"]) <= 10  # 4 features and 2 of each control; one may be left out
    assert "asked for more than a judge is shown" in (tmp_path / "out" / "index.html").read_text()


def test_more_of_a_context_reaches_into_the_corpus(sit, own_runs):
    told = sit("human:ann", answers="m\nq\n")
    assert told.code == 0, told.err
    session = read_journal(journal_in(own_runs, "ann")).session
    assert session.around.keys() == session.by_id.keys()
    widest = max(len(b) + len(a) for texts in session.around.values() for b, a in texts)
    shown = max(len("".join(c.tokens)) for item in session.items for c in item.contexts)
    assert widest > shown / 2  # a window of 32 tokens; the items show 17 at most
    entries = read_journal(journal_in(own_runs, "ann")).entries["human:ann"]
    assert [entry.verb for entry in entries] == ["widen"]
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert run.rows("SELECT verb FROM human_answer") == [("widen",)]
        assert run.rows("SELECT count(*) FROM rating WHERE is_person(rater)") == [(0,)]
