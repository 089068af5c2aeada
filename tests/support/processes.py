"""Processes of their own that begin with everything imported: torch alone takes seconds of CPU.

They are forked from a process that only imports, so no thread and no lock of the tests is in them.
Whether a command starts in a fresh interpreter is tested elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "torch",
    "pandas",
    "scipy.stats",
    "autointerp.apps.cli._app",
    "autointerp.pipeline.rate",
)


class Forked:
    """A process that runs Python code; has what the tests use of `subprocess.Popen`.

    `code` finds `arguments` in `sys.argv`, as after `python -c`. What it prints goes to files.
    """

    def __init__(
        self, code: str, *arguments: object, cwd: Path, environment: Mapping[str, str]
    ) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._printed = [self._folder / name for name in ("out", "err")]
        for path in self._printed:
            path.touch()
        argv = ["-c", *map(str, arguments)]
        self._process = _server().Process(
            target=_become, args=(code, argv, str(cwd), dict(environment), self._printed)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code. Raises AssertionError after `timeout` seconds."""
        self._process.join(timeout)
        assert self.returncode is not None, f"process {self.pid} still runs"
        if self._folder.exists():
            self._text = [path.read_text("utf-8") for path in self._printed]
            shutil.rmtree(self._folder)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it printed on stdout and stderr."""
        self.wait(timeout)
        out, err = self._text
        return out, err

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> Any:
    """Start the process that is forked; it ends with the tests."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        forkserver.ensure_running()
    return context


def _become(
    code: str, argv: list[str], folder: str, environment: dict[str, str], printed: list[Path]
) -> None:
    for number, path in enumerate(printed, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", 1)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, "")
    sys.argv = argv
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def printed(
    code: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """Return what code prints in a fresh interpreter."""
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout
