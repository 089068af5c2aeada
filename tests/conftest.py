"""What tests share: a subject so small that the whole line runs in about a second.

Fixtures, widest first:

    tiny_subject     session: a folder with a one-layer transformer (16 wide, 32 neurons, windows of
                     32 tokens), an SAE of 64 features, a BPE tokenizer, 100 documents of about
                     6,500 tokens together, and an `autointerp.toml`; never write into it.
    tiny_settings    session: the path of that `autointerp.toml`, as `--subject` takes it.
    tiny_run         session: the folder of runs in which `tiny_run_name` was rated by `scripted:4`:
                     8 features, 8 neurons, 4 units of each control. Read it; to write, take:
    own_runs         a copy of that folder for one test.
    truth_run        session: the same run, described and scored by `scripted:truth`; read it.
    chromium         module: a headless browser (playwright's); skips the test where there is none.
                     Pages of their own: `support.browser.Watched(chromium, url, ready)`.
    command_line     calls the command line in this process, in an empty current folder, and
                     returns the exit code, stdout and stderr: `command_line("runs")`.

A test that must start a process of its own takes `process_environment`, and `Forked` of
`support.processes` where the process need not begin in a fresh interpreter.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before torch and numpy are imported
# Read once, at import: the Hub is not asked for anything, and draws no bars on stderr.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

import gc
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from support.empty_database import copy_empty_database
from support.lanes import is_slow
from support.pictures import leave_out_pictures
from support.tiny_subject import make_tiny_subject

if TYPE_CHECKING:
    from support.loopback.server import LoopbackServer

# The same examples each time; for new ones: `pytest --hypothesis-profile=default`.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

TINY_RUN_NAME = "tiny"


@dataclass(frozen=True)
class CommandResult:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.hookimpl(tryfirst=True)  # so that what is undone last is undone after pytest's own
def pytest_configure(config: pytest.Config) -> None:
    """Leave garbage uncollected while modules are imported: there is hardly any."""
    gc.disable()
    config.add_cleanup(gc.unfreeze)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect garbage again in the process that hands tests to others: it imports none."""
    if session.config.pluginmanager.hasplugin("dsession"):
        gc.enable()


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: it stays until the end.

    There are a million objects, and each full collection would look at them for half a second.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, which `make test-fast` leaves out."""
    for item in items:
        if isinstance(item, pytest.Function) and is_slow(item):
            item.add_marker("slow")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Do once what few tests look at; see `support/pictures.py` and `support/empty_database.py`."""
    leave_out_pictures(item.path)
    copy_empty_database(item.path)


@pytest.fixture(scope="session")
def tiny_subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny subject; see the top of this file."""
    folder = tmp_path_factory.mktemp("tiny_subject")
    make_tiny_subject(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_subject: Path) -> Path:
    """The tiny subject's autointerp.toml."""
    return tiny_subject / "autointerp.toml"


@pytest.fixture(scope="session")
def tiny_run_name() -> str:
    """The name of the run in `tiny_run` and `own_runs`."""
    return TINY_RUN_NAME


@pytest.fixture(scope="session")
def tiny_run(tiny_settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that holds one, rated; open it with `open_run(..., read_only=True)`."""
    from autointerp import Job, rate

    folder = tmp_path_factory.mktemp("tiny_run") / "runs"
    job = Job(
        sources=("features", "neurons"),
        n=8,
        rater="scripted:4",
        run=TINY_RUN_NAME,
        subject=str(tiny_settings),
        controls=4,
        runs=folder,
    )
    rate(job)
    return folder


@pytest.fixture
def own_runs(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_run` that the test may write to: `runs` in its own `tmp_path`."""
    return Path(shutil.copytree(tiny_run, tmp_path / "runs"))


@pytest.fixture(scope="session")
def truth_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `tiny_run`, described and scored by `scripted:truth`; read it only."""
    from support.scored import scored

    runs = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("truth") / "runs"))
    scored(runs)
    return runs


@pytest.fixture(scope="module")  # while it runs, nothing else can run an event loop here
def chromium() -> Iterator[Any]:
    """A headless browser; see the top of this file."""
    from support.browser import launched

    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def parser() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """What builds the program and its parser, once for all tests: each time takes 50 ms."""
    import typer.main

    from autointerp.apps.cli import _app as cli

    return cache(cli.build_app), cache(typer.main.get_command)


@pytest.fixture
def command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parser: tuple[Callable[[], Any], Callable[[Any], Any]],
) -> Callable[..., CommandResult]:
    """Call the command line in this process; the current folder is the test's `tmp_path`."""
    import typer.main

    from autointerp.apps.cli import _app as cli

    monkeypatch.setattr(cli, "build_app", parser[0])
    monkeypatch.setattr(typer.main, "get_command", parser[1])

    def call(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["autointerp", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        code = stopped.value.code
        return CommandResult(code if isinstance(code, int) else 0, printed.out, printed.err)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # lines are not wrapped
    return call


@pytest.fixture(scope="session")
def process_environment() -> dict[str, str]:
    """The environment for a process of its own: one thread, no colours, a plain terminal."""
    return {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A provider on loopback."""
    from support.loopback.server import LoopbackServer

    with LoopbackServer() as serving:
        yield serving
