"""The command line: every file in `commands/` is a command of the same name.

A command module has either a function `command` or, with subcommands, a Typer `app`. It imports
what is heavy inside its functions, so that `autointerp --help` stays quick. `SENTENCES` names its
parameters whose texts are no names, so that they may be of any bytes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import typer

from autointerp import __version__, extensions
from autointerp.apps import cli as commands
from autointerp.apps._faults import fault_text
from autointerp.errors import AutointerpError, BadInput
from autointerp.settings import check_number
from autointerp.text import visible

STOPPED = "stopped; the same command goes on from here"
STOPPED_CODE = 128 + signal.SIGINT
STORAGE_TROUBLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENXIO,
    errno.ENODEV,
    errno.EINVAL,
}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


Version = typer.Option(
    False, "--version", is_eager=True, callback=_print_version, help="Print the version."
)


def build_app() -> typer.Typer:
    """Return the application with one command for each module in `commands/`."""
    app = typer.Typer(
        name="autointerp",
        help="Are these units interpretable, and more so than those?",
        epilog="Example: autointerp rate --source features --n 200",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def main_options(version: bool = Version) -> None: ...

    for name in extensions.names(commands):
        module = extensions.load(commands, "command", name)
        if hasattr(module, "app"):
            for info in module.app.registered_commands:
                info.callback = _checked(info.callback, module)
            app.add_typer(module.app, name=name, short_help=module.__doc__)
        else:
            extensions.require(module, ["command"])
            # The whole first sentence: left to itself, the list cuts it at 45 characters.
            summary = (module.command.__doc__ or "").partition("\n")[0]
            app.command(name, short_help=summary)(_checked(module.command, module))
    return app


def _checked(command: Callable[..., None], module: ModuleType) -> Callable[..., None]:
    """Return the command, which refuses names that no file of its own can hold, and numbers that
    are infinite, none, or below 0.

    Whether a rater, a run or a budget would use them does not matter: a limit that is none would
    be one that somebody relies on. A default may be such a number.
    """
    if hasattr(command, "is_checked"):
        return command
    sentences: tuple[str, ...] = getattr(module, "SENTENCES", ())
    defaults = {name: one.default for name, one in inspect.signature(command).parameters.items()}

    @functools.wraps(command)
    def checked(**values: Any) -> None:
        _check_names({name: of for name, of in values.items() if name not in sentences})
        for name, value in values.items():
            is_count = name == "n" and isinstance(value, int) and value < 0  # says so itself
            if value != defaults.get(name) and not is_count:
                check_number(f"--{name.strip('_').replace('_', '-')}", value)
        command(**values)

    checked.is_checked = True  # type: ignore[attr-defined]
    return checked


def _check_names(values: Mapping[str, Any]) -> None:
    """Raise BadInput where the current folder is gone, or a name is not UTF-8.

    DuckDB, TOML and JSON take no other names.
    """
    try:
        names = [os.getcwd()]
    except FileNotFoundError:
        raise BadInput("the current folder is gone; change to another one") from None
    for value in values.values():
        names += [str(one) for one in (value if isinstance(value, list) else [value])]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BadInput(f"'{name}' is not UTF-8; rename it, or choose another place") from None


def main() -> None:
    """Run the command line: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C.

    SIGTERM and SIGHUP stop it likewise: 143 and 129.

    Errors that the user can fix are one line on stderr; any other exception is a bug and keeps its
    traceback.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # text of a corpus that the terminal cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        with _stopped_by_signals() as received:
            try:
                code = _run()
            except KeyboardInterrupt:  # at its very end
                code = STOPPED_CODE
        if code == STOPPED_CODE and received:
            code = 128 + received[0]
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
        code = 1
    except OSError as error:
        if error.errno not in STORAGE_TROUBLE:
            raise
        _close_stdout()
        code = _fail(_storage_text(error), 1)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Have nothing read and written where a stream was closed by who started the command.

    The next file that is opened, such as a database, would be the stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """Have SIGTERM and SIGHUP stop a command as Ctrl-C does; yield those that came."""
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    taken = []
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # What is ignored stays so (nohup), and only the main thread may take a signal.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                signal.signal(number, stop)
                taken.append(number)
    try:
        yield received
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _run() -> int:
    """Run the command that the arguments name; return the exit code."""
    try:
        code: int | None = build_app()(prog_name="autointerp", standalone_mode=False)
    except AutointerpError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _show_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(STOPPED, STOPPED_CODE)
    except Exception as error:
        if not _was_interrupted(error):
            raise
        return _fail(STOPPED, STOPPED_CODE)
    if code == STOPPED_CODE:  # Typer has caught the KeyboardInterrupt
        return _fail(STOPPED, STOPPED_CODE)
    return code or 0


def _fail(text: str, code: int) -> int:
    """Print one line on stderr; return the exit code."""
    with contextlib.suppress(OSError):  # nobody listens any more
        print("autointerp: " + visible(" ".join(text.split())), file=sys.stderr)
    return code


def _show_usage(error: typer.TyperException) -> int:
    """Print what is wrong with the arguments, or the help where there were none; return 2."""
    message = error.format_message()
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is not None and message == context.get_help():
        print(message)
        return error.exit_code
    refused: list[Any] = getattr(error.__cause__, "errors", list)()  # of pydantic
    parameter: Any = getattr(error, "param", None)
    if refused and parameter is not None:
        name = parameter.get_error_hint().split(" / ")[0].strip("'")
        value = refused[0]["input"]
        message = f"{name} {value}: {fault_text(refused[0]).removeprefix(f'{value!r} ')}"
    command = context.command_path if context else "autointerp"
    return _fail(f"{message.rstrip('.')}; see `{command} --help`", error.exit_code)


def _storage_text(error: OSError) -> str:
    what = f"'{str(error.filename)[:200]}'" if error.filename else "the output"
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return f"{what} is no path that can be used ({error.strerror}); choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"cannot read or write {what} ({error.strerror}); change its permissions or choose "
            "another place, then give the same command again"
        )
    return (
        f"cannot write {what} ({error.strerror}); free some space or choose another place, "
        "then give the same command again"
    )


def _close_stdout() -> None:
    """Send what stdout cannot take into nothing, where the interpreter flushes it at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _was_interrupted(error: Exception) -> bool:
    """Whether Ctrl-C came in the middle of a query, which DuckDB reports as an exception of its
    own, or as a RuntimeError where it notices the signal before the query does.
    """
    duckdb: ModuleType | None = sys.modules.get("duckdb")
    if duckdb is None:
        return False
    noticed = type(error) is RuntimeError and str(error) == "Query interrupted"
    return noticed or isinstance(error, duckdb.InterruptException)
