"""Files written completely or not at all, and JSON and TOML of others, parsed within bounds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, AnyStr

from autointerp.errors import StorageError

REMEDY = "free some space or choose another place"


def json_value(text: str | bytes) -> Any:
    """Return what a JSON text holds; raises ValueError, for brackets nested too deep as well."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets nested too deep") from None


def toml_table(text: str) -> dict[str, Any]:
    """Return what a TOML text holds.

    Raises TOMLDecodeError, for nesting too deep and numbers of thousands of digits as well.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("brackets or keys nested too deep") from None
    except ValueError as error:  # of Python's numbers and dates
        raise tomllib.TOMLDecodeError(str(error).partition(";")[0]) from None


LONGEST_LINE = 2**26  # characters or bytes: a document, or all contexts of a unit


def bounded_lines(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Yield the lines of a file; raises ValueError for one that memory might not hold."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"a line is longer than {LONGEST_LINE:,} characters")
        yield line


def write_text(path: Path, text: str, remedy: str = REMEDY) -> None:
    """Write `text` as UTF-8; a kill at any moment leaves the old file or the new one.

    Raises StorageError, which ends in `remedy`, if it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"), remedy)


def write_bytes(path: Path, content: bytes, remedy: str = REMEDY) -> None:
    """Write `content`; a kill at any moment leaves the old file or the new one.

    Raises StorageError, which ends in `remedy`, if it cannot be written.
    """
    with partial_file(path, remedy) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def partial_file(path: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """Yield a path beside `path`; the file written there takes its place, or is deleted on error.

    The file is on the disk before it is renamed. A link stays one. Raises StorageError, which ends
    in `remedy`, for any OSError inside.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _unwritten(path, error, remedy) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def partial_folder(path: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it takes the place of `path`, or is deleted on error.

    Raises StorageError, which ends in `remedy`, for any OSError inside.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    except OSError as error:
        raise _unwritten(path, error, remedy) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def plain_name(path: Path) -> Iterator[str]:
    """Yield another name of a file, for libraries that see patterns and columns in names.

    DuckDB expands `*` and `?`, and makes a column of a folder called `source=x`.
    """
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"file{path.suffix if path.suffix.isalnum() else ''}"
        link.symlink_to(path.resolve())
        yield str(link)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritten(path: Path, error: OSError, remedy: str) -> StorageError:
    return StorageError(f"cannot write {path} ({error.strerror or error}); {remedy}")
