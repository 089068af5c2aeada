"""Files written completely or not at all, locks, and JSON and TOML of others within bounds."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import threading
import tomllib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, AnyStr

from autointerp.errors import BadInput, StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

REMEDY = "free some space or choose another place"
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700  # of runs and journals: their owner's alone


def json_value(text: str | bytes, unique: bool = False) -> Any:
    """Return what a JSON text holds.

    Raises ValueError, for brackets nested too deep as well, and with `unique` for a key that an
    object has twice, of which a parser takes the last.
    """
    try:
        if not unique:
            return json.loads(text)
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        return UNIQUE.decode(text)
    except RecursionError:
        raise ValueError("brackets nested too deep") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"key '{twice[:60]}' is there twice")
    return values


# Made once: it is a cycle of references, of which `json.loads` with a hook leaves one each time.
UNIQUE = json.JSONDecoder(object_pairs_hook=_unique_keys)


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


def check_readable_twice(path: Path) -> None:
    """Raise OSError for a pipe, a socket or a device: reading it may last for ever."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "neither a file nor a folder; copy it into a file", str(path))


LONGEST_LINE = 2**26  # characters or bytes: a document, or all contexts of a unit
MOST_RATIO = 200  # of what a file unpacks to and its size; text has 3 to 20
SURE_BYTES = 2**28  # whatever the ratio


def check_unpacked(unpacked: int, packed: int) -> None:
    """Raise ValueError if so many bytes are more than a file of `packed` bytes can mean."""
    if unpacked > max(SURE_BYTES, MOST_RATIO * packed):
        raise ValueError(
            f"its {packed:,} bytes unpack to more than {unpacked >> 20:,} MB, which no text of "
            f"that size does (over {MOST_RATIO} to 1); unpack it yourself and see what it holds"
        )


def check_archive(path: Path) -> None:
    """Raise ValueError if a zip archive unpacks to more than its size can mean.

    Raises BadZipFile or OSError if it cannot be read. What is no archive passes.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        check_unpacked(unpacked, path.stat().st_size)


def bounded_lines(
    file: IO[AnyStr], packed: int | None = None, longest: int = LONGEST_LINE
) -> Iterator[AnyStr]:
    """Yield the lines of a file, of `packed` bytes before it was unpacked.

    Raises ValueError for a line that memory might not hold, and where the lines together are more
    than that size can mean.
    """
    total = 0
    while line := file.readline(longest + 1):
        if len(line) > longest:
            raise ValueError(f"a line is longer than {longest:,} characters")
        total += len(line)
        if packed is not None:
            check_unpacked(total, packed)
        yield line


def require_new(path: Path, force: bool) -> None:
    """Raise BadInput for a file that is there already, unless it may be overwritten."""
    if path.exists() and not force:
        raise BadInput(f"{path} exists; give --force to overwrite it, or another -o")


def require_place(path: Path, option: str) -> None:
    """Raise BadInput where no file can stand at `path`: said before long work, not after it."""
    if path.is_dir():
        raise BadInput(f"{option} {path}: it is a folder; name a file")
    if not path.parent.is_dir():
        raise BadInput(f"{option} {path}: there is no folder {path.parent}; make it first")


def write_text(path: Path, text: str, remedy: str = REMEDY, mode: int | None = None) -> None:
    """Write `text` as UTF-8; a kill at any moment leaves the old file or the new one.

    `mode` are the file's permissions, the system's default if None. Raises StorageError, which
    ends in `remedy`, if it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"), remedy, mode)


def write_bytes(path: Path, content: bytes, remedy: str = REMEDY, mode: int | None = None) -> None:
    """Write `content`; a kill at any moment leaves the old file or the new one.

    Raises StorageError, which ends in `remedy`, if it cannot be written.
    """
    with partial_file(path, remedy, mode) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def partial_file(path: Path, remedy: str = REMEDY, mode: int | None = None) -> Iterator[Path]:
    """Yield a path beside `path`; the file written there takes its place, or is deleted on error.

    The file is on the disk before it is renamed. A link stays one. Raises StorageError, which ends
    in `remedy`, for any OSError inside, and for another's error where the disk takes no more.
    """
    target = path.resolve()
    writer = f"{os.getpid()}.{threading.get_native_id()}"
    partial = target.with_name(f".{target.name}.{writer}.partial")
    try:
        if mode is not None:
            partial.touch(mode)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        raise unwritten(path, error, remedy) from None
    except Exception:
        if refused := _refusal(partial):
            raise unwritten(path, refused, remedy) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _refusal(file: Path) -> OSError | None:
    """Return why a file takes no more bytes, None if it does.

    torch, safetensors and tokenizers raise errors of their own where a disk is full.
    """
    try:
        with file.open("ab", buffering=0) as more:
            write_all(more.fileno(), bytes(2**20))
    except OSError as error:
        return error
    return None


def write_all(handle: int, content: bytes | memoryview, sync: bool = True) -> None:
    """Write every byte at the file's position, and with `sync` have it on the disk after that.

    A disk that takes a part takes the rest or raises OSError: a write may be short without one.
    """
    rest = memoryview(content)
    while rest:
        written = os.write(handle, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]
    if sync:
        os.fsync(handle)


@contextlib.contextmanager
def partial_folder(
    path: Path, is_own: Callable[[Path], bool], remedy: str = REMEDY
) -> Iterator[Path]:
    """Yield an empty folder beside `path`, which takes its place, or is deleted on error.

    The old folder is renamed first, and removed last, so that a kill at any moment leaves one that
    is whole; `restore_folder` brings it back. Of the old folder's files those that are not
    `is_own`, given as paths in it, are kept.

    Raises StorageError, which ends in `remedy`, for any OSError inside.
    """
    path = path.resolve()
    partial = _beside(path, "partial")
    try:
        restore_folder(path)
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            _keep_foreign(path, partial, is_own)
            former = _beside(path, "former")
            path.replace(former)
            partial.replace(path)
            sync_folder(path.parent)
            shutil.rmtree(former, ignore_errors=True)
        else:
            partial.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        raise unwritten(path, error, remedy) from None
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


def restore_folder(path: Path) -> None:
    """Bring back the folder that a kill took from its place, and clear away what kills left.

    What a living process writes at this moment is let alone. Raises StorageError if the folder
    cannot be brought back.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        return
    ours = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.(partial|former)")
    former: list[Path] = []
    left: list[Path] = []
    for place in path.parent.iterdir():
        made = ours.fullmatch(place.name)
        if made is not None and not _is_alive(int(made[1])):
            (former if made[2] == "former" else left).append(place)
    if former and not path.exists():
        newest = max(former, key=lambda place: place.stat().st_mtime)
        try:
            newest.replace(path)
        except OSError as error:
            raise unwritten(path, error) from None
        former.remove(newest)
    for place in [*former, *left]:
        shutil.rmtree(place, ignore_errors=True)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{kind}")


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False  # this process writes one folder at a time
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _keep_foreign(old: Path, new: Path, is_own: Callable[[Path], bool]) -> None:
    """Put into a new folder the files of the old one that are not its own, as links or copies."""
    for file in sorted(old.rglob("*")):
        place = file.relative_to(old)
        if is_own(place) or (new / place).exists():
            continue
        if file.is_dir() and not file.is_symlink():
            (new / place).mkdir(parents=True, exist_ok=True)
            continue
        (new / place).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, new / place, follow_symlinks=False)
        except OSError:  # a file system without links
            shutil.copy2(file, new / place, follow_symlinks=False)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_there(path: Path) -> bool:
    """Return whether a file is there. Raises PermissionError where nobody can tell, for its folder
    must not be entered: some versions of Python take that for a no."""
    try:
        path.stat()
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False
    return True


def unread(path: Path, error: PermissionError) -> StorageError:
    """Return the error of a file or folder that must not be read."""
    return StorageError(
        f"{path} cannot be read ({error.strerror}); let yourself read it: `chmod -R u+rwX {path}`"
    )


def unwritten(path: Path, error: OSError, remedy: str = REMEDY) -> StorageError:
    """Return the error of a file that cannot be written, which ends in `remedy`."""
    return StorageError(f"cannot write {path} ({error.strerror or error}); {remedy}")


def open_locked(path: Path, wait: bool = False) -> int | None:
    """Return the handle of a file that this process has locked; None if another one has.

    Closing it, or the death of the process, releases it. With `wait` it is waited for.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        raise StorageError(
            f"cannot open {path} ({error.strerror}); choose a folder that can be written"
        ) from None
    if fcntl is None:
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, waiting for it."""
    handle = open_locked(path, wait=True)
    assert handle is not None
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def tried_lock(path: Path) -> Iterator[bool | None]:
    """Yield whether this process holds the lock of a file, which is removed after that; None on a
    file system without locks."""
    try:
        handle = open_locked(path)
    except OSError:
        yield None
        return
    try:
        yield handle is not None
    finally:
        if handle is not None:
            path.unlink(missing_ok=True)
            os.close(handle)


def is_locked(path: Path) -> bool:
    """Return whether a living process has locked a file."""
    if not path.exists():
        return False
    handle = open_locked(path)
    if handle is None:
        return True
    os.close(handle)
    return False


def writer_of(path: Path) -> int | None:
    """Return the process that has a file locked for writing, as DuckDB locks a database; None where
    none has, or where the system does not say. No lock is taken."""
    if fcntl is None or not hasattr(fcntl, "F_GETLK") or sys.platform != "linux":
        return None
    form = "hhqqi4x"  # struct flock: type, whence, start, length, process
    asked = struct.pack(form, fcntl.F_RDLCK, 0, 0, 0, 0)
    try:
        with path.open("rb") as file:
            kind, _, _, _, process = struct.unpack(form, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return None
    return int(process) if kind == fcntl.F_WRLCK else None
