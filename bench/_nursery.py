"""Commands forked from one process that has imported what they need: a start costs milliseconds.

`python -m autointerp` spends three seconds of CPU on imports before it does anything; a command
that is started to be killed spends them for nothing. What a fork does after that is the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

ROOT = Path(__file__).parents[1]
MOST_BYTES = 1 << 16  # of a request: the folder and the arguments as JSON
MODULES = ("duckdb", "openai", "torch", "transformers", "scipy.stats", "rich.live")

ENVIRONMENT = {
    "NO_COLOR": "1",
    "COLUMNS": "200",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


class Started:
    """A command that runs: as much of `subprocess.Popen` as is asked of it.

    Attributes:
        pid: Of the command's process.
        returncode: As `Popen`'s: below 0 if it was killed, None while it runs.
        stdin, stdout: Its ends of pipes, or None where it has none.
    """

    def __init__(self, status: IO[str], pipes: tuple[IO[str], IO[str]] | None) -> None:
        self._status = status
        self.pid = int(status.readline())
        self._pidfd = -1
        with contextlib.suppress(ProcessLookupError):  # it has ended
            self._pidfd = os.pidfd_open(self.pid)
        self.stdin, self.stdout = pipes or (None, None)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if selector.select(0):
                    self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._status.readline())
            self._status.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)
        return self.returncode

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.returncode is None and self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def communicate(self) -> None:
        """Close its pipes and wait for its end."""
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.wait()


class Nursery:
    """The process that forks commands; a context manager that ends it.

    `package`: The folder whose `autointerp` it imports. `environment`: Instead of this process's.
    """

    def __init__(self, package: Path = ROOT, environment: Mapping[str, str] = os.environ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench._nursery", str(theirs.fileno())],
                cwd=package,
                pass_fds=[theirs.fileno()],
                env={**environment, **ENVIRONMENT, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait()

    def start(
        self, folder: Path, *arguments: str, has_pipes: bool = False, log: Path | None = None
    ) -> Started:
        """Start the command line in a folder.

        Args:
            folder: Where it runs.
            arguments: After `autointerp`; or `-m` and another module, as after `python`.
            has_pipes: Give it pipes as standard input and output.
            log: Where its standard error goes, at the end of what is there; nowhere by default.
        """
        status, its_status = os.pipe()
        fds, ours = [its_status], ()
        null = os.open(os.devnull, os.O_RDWR)
        its_input, its_output, its_errors = null, null, null
        if has_pipes:
            its_input, into = os.pipe()
            out, its_output = os.pipe()
            ours = (into, out)
        if log is not None:
            its_errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fds += [its_input, its_output, its_errors]
        request = json.dumps([str(folder), arguments]).encode()
        socket.send_fds(self._control, [request], fds)
        for fd in {*fds, null}:
            os.close(fd)
        pipes = (os.fdopen(ours[0], "w"), os.fdopen(ours[1])) if ours else None
        return Started(os.fdopen(status), pipes)


# ------------------------------------------------------------------------- the process itself


def serve(control: socket.socket) -> None:
    """Fork a command for each request, and tell of each its process id and its end."""
    running: dict[int, tuple[int, int]] = {}  # by pidfd: its process id, and where to tell
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is control:
                    request, fds, _, _ = socket.recv_fds(control, MOST_BYTES, 4)
                    if not request:
                        return
                    status, *streams = fds
                    folder, arguments = json.loads(request)
                    child = os.fork()
                    if child == 0:
                        selector.close()
                        control.close()
                        for _, others in running.values():
                            os.close(others)
                        os.close(status)
                        _become(folder, arguments, streams)
                    pidfd = os.pidfd_open(child)
                    os.write(status, f"{child}\n".encode())
                    running[pidfd] = (child, status)
                    selector.register(pidfd, selectors.EVENT_READ)
                    for fd in streams:
                        os.close(fd)
                else:
                    pidfd = int(key.fd)
                    child, status = running.pop(pidfd)
                    selector.unregister(pidfd)
                    os.close(pidfd)
                    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    with contextlib.suppress(BrokenPipeError):
                        os.write(status, f"{code}\n".encode())
                    os.close(status)


def _become(folder: str, arguments: Sequence[str], streams: Sequence[int]) -> None:
    """Run the command line in place of this fork; does not return."""
    code = 0
    try:
        os.setsid()
        for target, source in enumerate(streams):
            os.dup2(source, target)
        for source in streams:
            os.close(source)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
        os.chdir(folder)
        if arguments[:1] == ["-m"]:
            sys.argv = list(arguments[1:])
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["autointerp", *arguments]
            from autointerp.apps.cli import _app

            _app.main()
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:  # noqa: BLE001 (as the interpreter does)
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _import_all() -> None:
    """Import the whole program and what its commands import when they need it."""
    import importlib
    import pkgutil

    import autointerp

    for name in MODULES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(autointerp.__path__, "autointerp."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    from autointerp.apps.cli import _app

    _app.build_app()


if __name__ == "__main__":
    _import_all()
    serve(socket.socket(fileno=int(sys.argv[1])))
