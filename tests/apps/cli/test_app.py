"""The command line as a user meets it: help, lists, exit codes, bad input, kills and locks."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer.main
from rich.console import Console
from support.closed import close_folder
from support.fabricate import fabricate_run
from support.processes import Forked
from support.tiny_subject import tiny_run_units

from autointerp.apps.cli import _app as cli
from autointerp.apps.cli import readable_json, say
from autointerp.apps.cli._options import Output
from autointerp.apps.cli._progress import Show
from autointerp.errors import AutointerpError, RaterError, StorageError
from autointerp.people.journal import open_journal
from autointerp.people.machine import Machine
from autointerp.pipeline.events import Note, Waiting
from autointerp.settings import RunSettings
from autointerp.store.run import open_run

Call = Callable[..., Any]


@cache
def all_commands() -> list[tuple[str, ...]]:
    """Return every command and subcommand, as words."""
    import typer.main

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))

    return list(walk(typer.main.get_command(cli.build_app()), ()))


@pytest.fixture
def rate(command_line: Call, tiny_settings: Path) -> Call:
    """Call `rate` on the tiny subject, with few units, quick to rate."""

    def call(*arguments: object, subject: Path = tiny_settings, n: object = 4) -> Any:
        return command_line(
            "rate", "--subject", subject, "--rater", "scripted:4", "--controls", 0, "--n", n,
            *arguments,
        )  # fmt: skip

    return call


def after_its_beginning(told: str) -> str:
    """Return what was printed without the line that says that a run begins, if it does."""
    return re.sub(r"^new run '.*\n", "", told)


def one_line(result: Any) -> str:
    """Return what a failed command printed on stderr, after checking that it is one line."""
    told = after_its_beginning(result.err)
    assert told.count("\n") == 1, result.err
    assert told.startswith("autointerp: "), result.err
    assert result.out == ""
    return str(told).removeprefix("autointerp: ").rstrip("\n")


# ------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(command_line: Call, words: tuple[str]):
    told = command_line(*words, "--help")
    assert told.code == 0
    name = " ".join(("autointerp", *words))
    is_group = any(longer[: len(words)] == words for longer in all_commands() if longer != words)
    if is_group:
        assert "Commands:" in told.out
    else:
        example = told.out.partition("Example: ")[2]
        assert example.startswith(name), f"`{name} --help` has no example"
    # Every option says what it is for: two spaces, then words, on its own line or the next.
    for option in told.out.partition("Options:")[2].split("\n  -")[1:]:
        assert len(option.split()) > 2, f"`{name} --help`: -{option}"


def test_help_without_arguments_names_every_command(command_line: Call):
    told = command_line()
    assert told.code == 2
    for word in ("rate", "report", "export", "runs", "show", "rubrics", "raters", "sources"):
        assert f"\n  {word}" in told.out


def test_the_version_is_printed(command_line: Call):
    import autointerp

    assert command_line("--version").out == f"{autointerp.__version__}\n"


# ------------------------------------------------------------------------------------ lists


def test_sources_and_raters_are_listed_with_what_they_are(command_line: Call):
    told = command_line("sources").out.splitlines()
    assert [line.split()[0] for line in told[1:]] == sorted(line.split()[0] for line in told[1:])
    assert any(line.split() == ["features", "The", "SAE's", "latents."] for line in told)
    assert "scripted" in command_line("raters").out


def test_rubrics_are_listed_with_their_scale(command_line: Call):
    told = command_line("rubrics").out
    assert "interpretability-1-5" in told
    assert "1 to 5" in told


def test_runs_are_listed_with_units_and_ratings(
    command_line: Call, own_runs: Path, tiny_run_name: str
):
    header, line = command_line("runs").out.splitlines()
    assert header.split() == ["RUN", "SUBJECT", "MADE", "UNITS", "RATINGS"]
    assert line.startswith(f"{tiny_run_name}  ")
    assert ", ".join(f"{n} {name}" for name, n in tiny_run_units().items()) in line
    assert line.endswith(f"scripted:4: {sum(tiny_run_units().values())} ok")


def test_units_that_nobody_was_asked_about_are_listed_as_such(command_line: Call, tmp_path: Path):
    fabricate_run(tmp_path / "runs", {"features": 3, "neurons": 2}).close()
    assert "none asked of 3 features, 2 neurons  none" in command_line("runs").out
    assert command_line("pack", "main", "-o", "for-ann.pack").code == 0  # asks nobody yet
    assert "none asked of 3 features, 2 neurons  none" in command_line("runs").out


def test_a_run_that_must_not_be_read_is_named_by_every_command(
    command_line: Call, own_runs: Path, monkeypatch: pytest.MonkeyPatch
):
    (own_runs / "locked").mkdir()
    close_folder(monkeypatch, own_runs / "locked")
    said = "runs/locked cannot be read (Permission denied); let yourself read it: `chmod"
    assert said in command_line("runs").out
    for command in (["report", "locked"], ["rate", "--run", "locked"]):
        assert said in command_line(*command).err
    assert "locked" in command_line("report", "lock").err  # among the runs that are known


def test_a_damaged_run_does_not_hide_the_others(command_line: Call, own_runs: Path):
    (own_runs / "broken").mkdir()
    (own_runs / "broken" / "run.toml").write_text("[run")
    told = command_line("runs")
    assert told.code == 0
    assert "run.toml cannot be read" in told.out
    assert f"scripted:4: {sum(tiny_run_units().values())} ok" in told.out


def test_where_there_is_no_run_the_list_says_how_to_make_one(command_line: Call):
    assert "`autointerp rate` makes one" in command_line("runs").out


# ------------------------------------------------------------------------------------- show


def test_show_prints_what_the_rater_was_sent(
    command_line: Call, own_runs: Path, tiny_run_name: str
):
    from autointerp.questions.items import load_items
    from autointerp.questions.rubric_files import load_rubric

    with open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        identifier = run.rows("SELECT min(item_id) FROM item")[0][0]
        rubric = load_rubric("interpretability-1-5")
        (item,) = load_items(run, [identifier], rubric)
    told = command_line("show", tiny_run_name, identifier[:8])
    assert told.out == f"{rubric.system()}\n\n{rubric.user(item)}\n"
    for word in ("features", "neurons", "planted", "random/"):
        assert word not in told.out


def test_show_prints_every_context_of_an_item_that_carries_them_all(
    command_line: Call, own_runs: Path, tiny_run_name: str
):

    from autointerp.questions.items import make_items
    from autointerp.questions.rubric_files import load_rubric

    with open_run(tiny_run_name, folder=own_runs) as run:
        units = run.sampled("features", 1)
        (item,) = make_items(run, units, load_rubric("interpretability-1-5"), "all")
        places = {
            (context.document, context.position)
            for context in run.contexts([units[0].unit_id])[units[0].unit_id].values()
        }
    lines = [json.loads(line) for line in command_line("show", "tiny", item).out.splitlines()]
    assert len(lines) == len(places)
    assert {line["split"] for line in lines} == {"explain", "score"}
    assert max(max(line["activations"]) for line in lines) == 10
    assert all((max(line["activations"]) == 0) == line["silent"] for line in lines)


def test_show_names_an_item_that_is_not_there_or_not_alone(command_line: Call, own_runs: Path):
    told = one_line(command_line("show", "tiny", "zz"))
    assert told.startswith("no item of run 'tiny' has an id that starts with 'zz'")
    assert told.endswith("`autointerp export tiny --to csv` lists those that were rated, as `item`")
    units = sum(tiny_run_units().values())
    assert f"{units} ids begin with it" in one_line(command_line("show", "tiny", ""))
    with open_run("new", RunSettings(), folder=own_runs):
        pass
    assert one_line(command_line("show", "new", "zz")).startswith("run 'new' has no items")


def test_show_prints_an_item_of_a_user_s_own_rubric_without_its_file(
    command_line: Call, rate: Call, tmp_path: Path
):
    from autointerp.questions.rubric_files import rubrics_folder

    text = (rubrics_folder() / "interpretability-0-3.md").read_text()
    rubric = tmp_path / "mine.md"
    rubric.write_text(text.replace('id = "interpretability-0-3"', 'id = "mine"'))
    assert rate("--rubric", rubric, "--rater", "scripted:3").code == 0
    with open_run("main", folder=tmp_path / "runs", read_only=True) as run:
        item = run.rows("SELECT min(item_id) FROM item")[0][0]
    with_file = command_line("show", "main", item, "--rubric", rubric)
    assert with_file.code == 0
    rubric.write_text(rubric.read_text() + "\nAnd more.\n")
    told = one_line(command_line("show", "main", item, "--rubric", rubric))
    assert f"that is not {rubric}" in told
    rubric.unlink()
    assert command_line("show", "main", item) == with_file


# ------------------------------------------------------------------------------- rate, again


def test_rate_twice_does_nothing_the_second_time(rate: Call, tmp_path: Path):
    assert "4 ok" in rate().err
    with open_run("main", folder=tmp_path / "runs", read_only=True) as run:
        before = run.rows("SELECT count(*) FROM call"), run.rows("SELECT count(*) FROM unit")
    assert "4 rated before" in rate().err
    with open_run("main", folder=tmp_path / "runs", read_only=True) as run:
        assert before == (
            run.rows("SELECT count(*) FROM call"),
            run.rows("SELECT count(*) FROM unit"),
        )


def test_asking_for_more_units_adds_only_the_missing_ones(rate: Call, tmp_path: Path):
    rate(n=4)
    told = rate(n=6)
    assert "2 ok" in told.err
    assert "4 rated before" in told.err


def test_a_dry_run_makes_nothing(rate: Call, tmp_path: Path):
    told = rate("--dry-run")
    assert told.code == 0
    assert not (tmp_path / "runs").exists()


# -------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command 'nonsense'; see `autointerp --help`"),
        (["rate", "--nonsense"], "No such option: --nonsense"),
        (["rate", "--n", "many"], "--n many: must be a whole number; see `autointerp rate --help`"),
        (["rate", "--n", "0"], "--n 0: ask for at least 1 unit"),
        (["rate", "--n", "-3"], "--n -3: ask for at least 1 unit"),
        (["rate", "--source", "featurs"], "unknown source 'featurs'; did you mean 'features'?"),
        (["rate", "--rater", "lexicl"], "unknown rater 'lexicl'"),
        (["rate", "--rater", "scripted"], "give a score, as in scripted:4"),
        (["rate", "--rubric", "interp"], "unknown rubric 'interp'"),
        (["rate", "--rubric", "not-there.md"], "no rubric at not-there.md"),
        (["rate", "--subject", "not-there.toml"], "unknown subject 'not-there.toml'"),
        (["rate", "--seed", "-1"], "--seed -1"),
        (["rate", "--batch"], "scripted:4 has no batch API; leave out --batch"),
        (["rate", "--run", "a/b"], "unknown run 'a/b'"),
        (["show", "nowhere", "abc"], "unknown run 'nowhere' (known: none)"),
        (["export", "nowhere", "--to", "csv"], "unknown run 'nowhere' (known: none)"),
        (["report", "nowhere"], "unknown run 'nowhere'"),
        (["export", "main", "--to", "xml"], "--to xml: is not one of 'csv', 'parquet'"),
        (["rate", "--until-width", "wide"], "--until-width wide: must be a number;"),
        (["invite", "main", "--items", "0"], "--items 0: must be at least 1;"),
        (["invite", "main", "--repeat-share", "3"], "--repeat-share 3: must be at most 1;"),
        (["export", "main"], "Missing option '--to'"),
        (["export", "main", "--to", "parquet"], "name a file with -o FILE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_that_names_the_value_and_exits_with_2(
    command_line: Call, tiny_settings: Path, tmp_path: Path, arguments: list[str], told: str
):
    rest = (
        [] if "--subject" in arguments or arguments[0] != "rate" else ["--subject", tiny_settings]
    )
    controls = (
        ["--rater", "scripted:4"] if arguments[0] == "rate" and "--rater" not in arguments else []
    )
    result = command_line(arguments[0], *rest, *controls, *arguments[1:])
    assert told in one_line(result)
    assert result.code == 2
    assert not (tmp_path / "runs").exists(), "half-written"


@pytest.mark.parametrize(
    ("n", "told"),
    [
        (65, "--n 65: source 'features' of subject '.*' has only 64 units"),
        (
            64,
            r"--n 64: only 60 of 64 features pass the density filter \(4 dead\); ask for --n 60 "
            r"\(with a stopping rule --max-n 60\)",
        ),
    ],
)
def test_more_units_than_there_are_say_how_many_there_are(rate: Call, n: int, told: str):
    import re

    result = rate(n=n)
    assert result.code == 2
    assert re.match(told, one_line(result))
    assert rate(n=60).code == 0, "the next run goes on"


@pytest.fixture
def own_subject(tiny_subject: Path, tmp_path: Path) -> Path:
    """A copy of the tiny subject that a test may damage."""
    return Path(shutil.copytree(tiny_subject, tmp_path / "subject"))


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    "name", ["transformer.safetensors", "sae.safetensors", "tokenizer.json", "corpus.npz"]
)
@pytest.mark.parametrize("damage", [cut_in_half, Path.unlink], ids=["truncated", "missing"])
def test_a_broken_part_of_the_subject_is_named_and_nothing_is_made(
    rate: Call, own_subject: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
):
    whole = (own_subject / name).read_bytes()
    damage(own_subject / name)
    result = rate(subject=own_subject / "autointerp.toml")
    assert name in one_line(result)
    assert result.code == 2
    assert not (tmp_path / "runs").exists()
    (own_subject / name).write_bytes(whole)
    assert rate(subject=own_subject / "autointerp.toml").code == 0, "the next run goes on"


def test_text_for_a_one_layer_model_is_told_from_a_damaged_file_of_tokens(
    rate: Call, own_subject: Path
):
    (own_subject / "corpus.npz").write_text("The cat sat on the mat.\n")
    result = rate(subject=own_subject / "autointerp.toml")
    assert result.code == 2
    assert "autointerp train tokens" in one_line(result)


def test_a_corpus_that_is_too_short_says_how_short(rate: Call, own_subject: Path):
    import numpy as np

    from autointerp.subjects.windows import TokenisedDocuments

    tokens = np.full(500, 70, dtype=np.uint16)
    TokenisedDocuments(tokens, np.array([0, 500])).save(own_subject / "corpus.npz")
    result = rate(subject=own_subject / "autointerp.toml")
    assert result.code == 2
    assert "500 tokens; at least 2000 are needed" in one_line(result)


def test_a_malformed_settings_file_is_named_with_the_line(
    rate: Call, own_subject: Path, tmp_path: Path
):
    settings = own_subject / "autointerp.toml"
    settings.write_text("[subject]\nmodel = transformer\n")
    result = rate(subject=settings)
    assert result.code == 2
    assert "line 2" in one_line(result)
    settings.write_text('[subject]\nmodel = "transformer.safetensors"\ncolour = "red"\n')
    assert "unknown key 'subject.colour'" in one_line(rate(subject=settings))
    assert not (tmp_path / "runs").exists()


def test_another_subject_or_seed_under_the_same_run_names_the_difference(rate: Call):
    assert rate().code == 0
    result = rate("--seed", 5)
    assert result.code == 2
    assert "run 'main' was made with other settings: seed is 5, not 0" in one_line(result)
    assert rate("--seed", 5, "--run", "other").code == 0


# ----------------------------------------------------------------------------------- storage


def test_a_file_in_place_of_the_folder_of_runs_is_one_line(rate: Call, tmp_path: Path):
    (tmp_path / "runs").write_text("in the way")
    result = rate()
    assert result.code == 1
    assert "cannot make the run's folder runs/main" in one_line(result)
    assert (tmp_path / "runs").read_text() == "in the way"
    (tmp_path / "runs").unlink()
    assert rate().code == 0


@pytest.mark.parametrize("to", ["csv", "jsonl", "parquet"])
def test_an_export_that_cannot_be_written_is_one_line_and_leaves_nothing(
    command_line: Call, own_runs: Path, tmp_path: Path, to: str
):
    result = command_line("export", "tiny", "--to", to, "-o", tmp_path / "not" / "there")
    assert result.code == 1
    assert f"cannot write {tmp_path / 'not' / 'there'}" in one_line(result)
    result = command_line("export", "tiny", "--to", to, "-o", tmp_path)
    assert result.code == 2
    assert f"-o {tmp_path} is a folder" in one_line(result)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from autointerp.apps.cli._app import main
main()
"""


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    rate: Call, tmp_path: Path, tiny_settings: Path, process_environment: dict[str, str]
):
    # A limit on the size of files stands for the full disk: the same failing write.
    arguments = ["rate", "--subject", tiny_settings, "--rater", "scripted:4", "--n", 4]
    arguments += ["--controls", 0]
    process = Forked(LIMITED, 100_000, *arguments, cwd=tmp_path, environment=process_environment)
    _, err = process.communicate()
    assert process.returncode == 1, err
    assert after_its_beginning(err).count("\n") == 1, err
    assert "cannot write" in err
    assert "free some space" in err
    assert rate().code == 0


def test_a_locked_database_names_the_process_that_holds_it(
    command_line: Call, own_runs: Path, process_environment: dict[str, str]
):
    code = (
        "import sys; from autointerp.store.run import open_run\n"
        "with open_run('tiny'): print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=own_runs.parent,
        env=process_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    result = command_line("lab", "logit-effects", "tiny")
    holder.communicate()
    assert result.code == 1
    assert f"run 'tiny' is in use by process {holder.pid}; wait until that" in one_line(result)
    assert "--run" not in result.err
    assert command_line("export", "tiny", "--to", "csv").code == 0


def test_what_only_reads_a_run_reads_it_while_another_process_writes(
    command_line: Call, own_runs: Path, process_environment: dict[str, str], tmp_path: Path
):
    quiet = command_line("export", "tiny", "--to", "csv").out
    pack = command_line("pack", "tiny", "-o", "for-ann.pack", "--n", 4)
    assert pack.code == 0, pack.err
    with open_journal(tmp_path / "for-ann.pack", "human:ann") as journal:
        machine = Machine(journal)
        while machine.step is not None and machine.step.kind == "training":
            machine.rate(3)
            machine.go_on()
        machine.rate(3)
    code = (
        "import sys; from autointerp.store.run import open_run\n"
        "with open_run('tiny'): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=own_runs.parent,
        env=process_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        exported = command_line("export", "tiny", "--to", "csv")
        shown, listed = command_line("show", "tiny"), command_line("runs")
        reported = command_line("report", "tiny", "-o", "out")
        taken = command_line("ingest", "tiny", "for-ann.pack")
        wrong = command_line("ingest", "tiny", own_runs / "tiny" / "run.toml")
        holder.communicate()
    for read in (exported, shown, reported, taken):
        assert read.code == 0, read.err
        assert "writes run 'tiny'" in read.err
    assert exported.out == quiet
    assert "scripted:4" in listed.out
    assert wrong.code == 2
    assert "takes in answers" in taken.err
    # What was looked at and what came home is in the run once it is free.
    assert command_line("report", "tiny", "-o", "out").code == 0
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert run.rows("SELECT count(*) FROM current_rating WHERE rater = 'human:ann'") == [(1,)]
        assert len(run.stored_looks()) >= 1
    assert "nothing new" in command_line("ingest", "tiny", "for-ann.pack").out


# ------------------------------------------------------------------------------ kill, Ctrl-C


SLOW = """
import asyncio, sys
from pathlib import Path
from autointerp.raters.scripted import Scripted
from autointerp.apps.cli._app import main
send = Scripted.send
async def slow_send(self, request):
    with Path("sent").open("a") as file:
        file.write("x")
    await asyncio.sleep(0.02)
    return await send(self, request)
Scripted.send = slow_send
main()
"""


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["Ctrl-C", "kill -9"],
)
def test_a_rating_stopped_in_the_middle_goes_on_where_it_was(
    rate: Call,
    tmp_path: Path,
    tiny_settings: Path,
    process_environment: dict[str, str],
    sent: signal.Signals,
    code: int,
):
    repeats = 40  # of 4 items: 160 ratings
    arguments = ["rate", "--subject", tiny_settings, "--rater", "scripted:4", "--n", 4]
    arguments += ["--controls", 0, "--repeats", repeats]
    process = Forked(SLOW, *arguments, cwd=tmp_path, environment=process_environment)
    deadline = time.monotonic() + 120
    while not ((tmp_path / "sent").exists() and (tmp_path / "sent").stat().st_size >= 100):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(sent)
    _, err = process.communicate()
    assert process.returncode == code, err
    if sent is signal.SIGINT:
        told = after_its_beginning(err)
        assert told == "autointerp: stopped; the same command goes on from here\n"
    with open_run("main", folder=tmp_path / "runs") as run:
        (kept,) = run.rows("SELECT count(*) FROM current_rating")[0]
        assert run.rows("SELECT count(*) FROM rating WHERE status <> 'ok'") == [(0,)]
    assert 0 < kept < 4 * repeats
    told = rate("--repeats", repeats)
    assert told.code == 0
    assert f"{4 * repeats - kept} ok" in told.err
    assert f"{kept} rated before" in told.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_end_stops_a_command_as_ctrl_c_does(
    command_line: Call, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
):
    def stopped() -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("autointerp.pipeline.summary.summarise_runs", stopped)
    result = command_line("runs")
    assert (result.code, result.out) == (code, "")
    assert result.err == "autointerp: stopped; the same command goes on from here\n"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_refused_rating_leaves_what_was_in_the_folder_of_its_name(
    command_line: Call, tmp_path: Path, tiny_settings: Path
):
    (tmp_path / "runs" / "n").mkdir(parents=True)
    (tmp_path / "runs" / "n" / "notes.txt").write_text("somebody's")
    result = command_line("rate", "-n", "99999", "--run", "n", "--subject", tiny_settings)
    assert result.code == 2
    assert [path.name for path in (tmp_path / "runs" / "n").iterdir()] == ["notes.txt"]


def test_one_damaged_run_hinders_no_other(command_line: Call, own_runs: Path, tiny_run_name: str):
    for name in ("torn", "gone", "text"):
        shutil.copytree(own_runs / tiny_run_name, own_runs / name)
    file = own_runs / "torn" / "run.duckdb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    (own_runs / "gone" / "run.duckdb").unlink()
    (own_runs / "text" / "run.toml").write_text("settings = 3\n")
    for name in ("torn", "gone", "text"):
        for verb in (("export", name, "--to", "csv"), ("report", name), ("show", name)):
            result = command_line(*verb)
            told = [line for line in result.err.splitlines() if not line.startswith("run '")]
            assert (result.code, len(told)) == (1, 1)
            assert told[0].startswith("autointerp: runs/")
    listed = command_line("runs")
    assert listed.code == 0
    assert listed.out.count("\n") == 5  # the heads, and four runs
    assert command_line("show", tiny_run_name).code == 0


def test_ctrl_c_during_the_harvest_leaves_a_run_that_goes_on(
    rate: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from autointerp.units import sample as sampling

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sampling, "harvest_shards", interrupted)
        result = rate()
    assert result.code == 130
    assert one_line(result) == "stopped; the same command goes on from here"
    assert "4 ok" in rate().err


# ------------------------------------------------------------------------- what main catches


def raising(error: BaseException) -> Callable[[], Any]:
    def app(**_: object) -> None:
        raise error

    return lambda: app


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (AutointerpError("two\nlines"), 1, "two lines"),
        (StorageError("the disk"), 1, "the disk"),
        (OSError(28, "No space left on device", "x.bin"), 1, "cannot write 'x.bin' (No space left"),
        (OSError(30, "Read-only file system", "y"), 1, "cannot write 'y' (Read-only file system)"),
        (PermissionError(13, "Permission denied", "z"), 1, "cannot read or write 'z' (Permission"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_the_user_can_mend_is_one_line(
    command_line: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
):
    monkeypatch.setattr(cli, "build_app", raising(error))
    result = command_line("x")
    assert one_line(result).startswith(told)
    assert result.code == code


def test_an_interrupted_query_counts_as_ctrl_c(command_line: Call, monkeypatch: pytest.MonkeyPatch):
    import duckdb

    monkeypatch.setattr(cli, "build_app", raising(duckdb.InterruptException("Interrupted!")))
    assert command_line("x").code == 130
    monkeypatch.setattr(cli, "build_app", raising(RuntimeError("Query interrupted")))
    assert command_line("x").code == 130


@pytest.mark.parametrize("error", [ValueError("a defect"), FileNotFoundError(2, "No such file")])
def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception):
    monkeypatch.setattr(cli, "build_app", raising(error))
    monkeypatch.setattr(sys, "argv", ["autointerp"])
    with pytest.raises(type(error)):
        cli.main()


@pytest.mark.parametrize("target", ["| head -n 1", "> /dev/full", "<&- >&- 2>&-"])
def test_a_reader_that_stops_a_full_disk_on_stdout_and_no_stream_at_all_leave_no_traceback(
    own_runs: Path, process_environment: dict[str, str], target: str
):
    command = f"'{sys.executable}' -m autointerp export tiny --to jsonl {target}"
    told = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        cwd=own_runs.parent,
        env=process_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in told.stderr
    assert "Exception ignored" not in told.stderr
    if "&" in target:
        assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    elif ">" in target:
        assert told.returncode == 1
        assert told.stderr == (
            "autointerp: cannot write the output (No space left on device); free some space or "
            "choose another place, then give the same command again\n"
        )


def test_without_stderr_an_error_is_not_written_to_stdout(
    own_runs: Path, process_environment: dict[str, str]
):
    command = f"'{sys.executable}' -m autointerp show nobody --json 2>&-"
    told = subprocess.run(
        ["bash", "-c", command], cwd=own_runs.parent, env=process_environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stdout) == (2, "")


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_name_that_is_not_utf_8_is_one_line(
    command_line: Call, own_runs: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    name = os.fsdecode(b"caf\xe9")  # Latin-1
    if place == "folder":
        monkeypatch.chdir(own_runs.rename(own_runs.with_name(name)))
    result = command_line("export", "tiny", "--to", "csv", "-o", name if place == "file" else "a")
    assert result.code == 2
    assert one_line(result).endswith(
        r"caf\u{dce9}' is not UTF-8; rename it, or choose another place"
    )


def test_a_folder_that_is_gone_is_one_line(
    command_line: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = command_line("runs")
    monkeypatch.chdir(tmp_path)
    assert (result.code, one_line(result)) == (
        2,
        "the current folder is gone; change to another one",
    )


# ----------------------------------------------------------------------------------- export


COLUMNS = [
    "run",
    "unit",
    "source",
    "index",
    "sign",
    "rubric",
    "rubric_digest",
    "rater",
    "repeat",
    "status",
    "score",
    "expected_score",
    "description",
    "rationale",
    "density",
    "cost_usd",
]


def test_an_export_has_one_row_for_each_rating_and_the_promised_columns(
    command_line: Call, own_runs: Path
):
    told = command_line("export", "tiny", "--to", "csv")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert len(rows) == 28
    assert set(COLUMNS) <= set(rows[0])
    assert {row["source"] for row in rows} == {
        "features",
        "neurons",
        "planted",
        "random",
        "shuffled",
    }
    assert all(row["unit"] == f"{row['source']}/{row['index']}" for row in rows)
    assert {(row["run"], row["rater"], row["score"]) for row in rows} == {
        ("tiny", "scripted:4", "4")
    }


def test_the_three_formats_hold_the_same_rows(command_line: Call, own_runs: Path, tmp_path: Path):
    import duckdb

    tables = {}
    for to, reader in (
        ("csv", "read_csv('{}', all_varchar = true)"),
        ("jsonl", "read_json('{}', format = 'newline_delimited')"),
        ("parquet", "read_parquet('{}')"),
    ):
        file = tmp_path / f"ratings.{to}"
        told = command_line("export", "tiny", "--to", to, "-o", file)
        rows = f"{file}: 28 rows of run 'tiny', subject transformer.safetensors\n"
        assert told.err == rows
        columns = "unit, rater, status, score::VARCHAR, description, rubric_digest"
        tables[to] = duckdb.sql(f"SELECT {columns} FROM {reader.format(file)}").fetchall()
    assert tables["csv"] == tables["jsonl"] == tables["parquet"]


def test_an_export_replaces_an_older_file_and_leaves_no_other(
    command_line: Call, own_runs: Path, tmp_path: Path
):
    (tmp_path / "ratings.csv").write_text("old")
    command_line("export", "tiny", "--to", "csv", "-o", tmp_path / "ratings.csv")
    assert (tmp_path / "ratings.csv").read_text().startswith("run,unit,source,index,sign,")
    assert sorted(os.listdir(tmp_path)) == ["ratings.csv", "runs"]


def test_awkward_text_survives_every_text_format(command_line: Call, own_runs: Path):
    from autointerp.records import Rating

    awkward = 'a "quoted", comma;\nnew line\ttab = é 漢字 \u202e'
    with open_run("tiny", folder=own_runs) as run:
        item, rubric, digest = run.rows("SELECT item_id, rubric, rubric_digest FROM item LIMIT 1")[
            0
        ]
        run.add_ratings([Rating(item, rubric, digest, "awkward", 0, "ok", 1, awkward)])
        run.add_ratings([Rating(item, rubric, digest, "silent", 0, "unparsed", None)])
    rows = csv.DictReader(io.StringIO(command_line("export", "tiny", "--to", "csv").out))
    found = {row["rater"]: row for row in rows}
    assert found["awkward"]["description"] == awkward
    assert (found["silent"]["status"], found["silent"]["score"]) == ("unparsed", "")
    lines = command_line("export", "tiny", "--to", "jsonl").out.splitlines()
    told = {row["rater"]: row for row in map(json.loads, lines)}
    assert told["awkward"]["description"] == awkward
    assert told["silent"]["score"] is None


# ------------------------------------------------------------------------- escape sequences

SPOOF = "\x1b[2J\x1b]0;title\x07 red \x9b31m \u202e back"


def obeyed(text: str) -> set[str]:
    """Return the characters in a text that a terminal obeys."""
    return {c for c in text if (unicodedata.category(c) == "Cc" and c != "\n") or c == "\u202e"}


def test_an_error_reaches_the_terminal_without_escape_sequences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> NoReturn:
        raise RaterError(f"the server says {SPOOF}")

    monkeypatch.setattr(cli, "build_app", lambda: lambda **_: fails())
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert "the server says" in told
    assert not obeyed(told)


def test_what_commands_say_holds_no_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"label {SPOOF}\nnext line")
    said = capsys.readouterr().out
    assert said.count("\n") == 2
    assert not obeyed(said)
    shown = readable_json({"text": SPOOF + " caf\u00e9 \u4eca"})
    assert not obeyed(shown)
    assert "caf\u00e9 \u4eca" in shown
    assert json.loads(shown)["text"] == SPOOF + " caf\u00e9 \u4eca"


def test_events_reach_the_terminal_without_escape_sequences() -> None:
    screen = io.StringIO()
    with Show(Output(), Console(file=screen, markup=False)) as show:
        show(Note(SPOOF))
        show(Waiting(SPOOF))
    assert not obeyed(screen.getvalue())


def numbers_of_commands() -> list[tuple[str, str]]:
    """Every option of every command that takes a number: the command and the option."""
    found = []

    def look(words: str, command: Any) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            look(f"{words} {name}".strip(), inner)
        for parameter in () if hasattr(command, "commands") else command.params:
            kind = parameter.type_descriptor.annotation
            option = max(parameter.opts, key=len)
            if kind in (int, float) and option.startswith("-"):
                found.append((words, option))

    look("", typer.main.get_command(cli.build_app()))
    return found


def test_no_number_is_below_0_infinite_or_none_whatever_would_use_it(command_line: Call):
    options = numbers_of_commands()
    assert len(options) > 60
    # One of each: those of a kind share what parses them.
    for words, option in [
        ("check-rater scripted:3", "--price-in"), ("rate", "--budget-usd"),
        ("rate", "--until-width"), ("plan", "--effect"), ("init", "--input-scale"),
    ]:  # fmt: skip
        assert (words.split()[0], option) in options
        for value in ("nan", "inf", "-1", "1e999"):
            result = command_line(*words.split(), f"{option}={value}")
            assert (result.code, option in result.err) == (2, True), (words, option, value)
    for option in ("--n", "--seed", "--concurrency"):
        for value in ("-1", str(2**63)):
            result = command_line("rate", f"{option}={value}")
            assert (result.code, option in result.err) == (2, True)


def test_a_command_that_bears_a_builtin_s_name_takes_it_from_no_code_of_the_package(command_line):
    # An imported command is a name in its package: `map`, once `autointerp map` was looked at.
    from autointerp.apps.cli import columns_text
    from autointerp.apps.cli import map as command

    assert callable(command.command)
    assert columns_text(("a", "b"), [("1", "22")]) == "a  b\n1  22"
