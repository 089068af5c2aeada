"""Replies in a file at their arrival, on the disk within milliseconds; the database follows.

A file of lines beside the database. A line is one record with its checksum: a call that is about
to be sent, with the most that it can cost, or what came of one. What is written outlives the
process; what is synced, a power cut as well. The database keeps, in the
transaction that takes records in, the place up to which it has them, so that no kill makes it take
one twice or miss one. The file goes when the run is closed and the database is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autointerp.errors import RunLocked, StorageError
from autointerp.files import PRIVATE_FILE, sync_folder, write_all

FILE = "replies.jsonl"
FORMAT = 1
BEFORE = len(b'{"crc":"01234567","record":')  # the record in its line

Record = dict[str, Any]

_written_here: set[Path] = set()  # files that this process is writing
_beginning_or_ending = threading.Lock()  # held while a file and its place in the set come or go


def is_left(path: Path) -> bool:
    """Return whether a killed process left the file: it is there, and not being written here."""
    with _beginning_or_ending:
        return path.exists() and path.resolve() not in _written_here


class ReplyJournal:
    """The open file of one run; one thread may write while another syncs.

    Attributes:
        next: Number of the record to be written next.
    """

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises StorageError where it cannot be written, RunLocked where another thread writes it.
        """
        self.path = path
        self.identity = secrets.token_hex(8)
        self.next = 0
        self._end = 0
        self._is_whole = True  # nothing stands behind the end, as a failed write may leave it
        try:
            with _beginning_or_ending:
                self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
                _written_here.add(path.resolve())
        except FileExistsError:
            raise RunLocked(
                f"run '{path.parent.name}' is being asked about by another thread of this process; "
                "wait until that has ended, and call again"
            ) from None
        except OSError as error:
            raise self._unwritten(error) from None
        head = {"autointerp": FORMAT, "journal": self.identity}
        try:
            self._write(line_of(head))
            self.sync()
        except StorageError:
            self.remove()
            raise
        sync_folder(path.parent)

    def write(self, record: Record) -> None:
        """Number a record and write it; a kill from now on does not lose it.

        Raises StorageError, and leaves the file as it was, where it cannot be written.
        """
        record["seq"] = self.next
        self._write(line_of(record))
        self.next += 1

    def sync(self) -> None:
        """Have all that was written on the disk. Raises StorageError if that fails."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise self._unwritten(error) from None

    def _write(self, content: bytes) -> None:
        try:
            if not self._is_whole:
                os.ftruncate(self._handle, self._end)
                os.lseek(self._handle, self._end, os.SEEK_SET)
            self._is_whole = False
            write_all(self._handle, content, sync=False)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._end)
            raise self._unwritten(error) from None
        self._is_whole = True
        self._end += len(content)

    def _unwritten(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write {self.path} ({error.strerror}); all replies before are kept: "
            "free some space, then run the same command again"
        )

    def close(self) -> None:
        """Let go of the file, which stays."""
        with _beginning_or_ending:
            self._end_writing()

    def remove(self) -> None:
        """Close and delete the file: the database has all that is in it."""
        with _beginning_or_ending:
            self._end_writing()
            self.path.unlink(missing_ok=True)

    def _end_writing(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._handle)
        _written_here.discard(self.path.resolve())


@dataclass(frozen=True)
class Recovered:
    """What a file of replies holds.

    Attributes:
        journal: Its identity; empty where the first line cannot be read.
        records: In the order in which they were written.
        damaged: Lines that cannot be read, from 1; a last line that was cut off is none.
    """

    journal: str
    records: tuple[Record, ...] = field(repr=False)
    damaged: tuple[int, ...] = ()

    def unsettled(self) -> list[Record]:
        """Return the calls that were sent and of which nothing came."""
        came = {record["sent"] for record in self.records if record["kind"] == "came"}
        return [one for one in self.records if one["kind"] == "sent" and one["seq"] not in came]


def line_of(record: Record) -> bytes:
    """Return a record as a line: a JSON object of its checksum and itself."""
    return _checked(json.dumps(record, separators=(",", ":")).encode()) + b"\n"


def record_in(line: bytes) -> Record | None:
    """Return the record in a line, or None where the line is not as it was written."""
    text = line[BEFORE:-1]
    if line != _checked(text):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _checked(text: bytes) -> bytes:
    return b'{"crc":"%08x","record":%s}' % (zlib.crc32(text), text)


def read_replies(path: Path) -> Recovered:
    """Return what a file of replies holds, as far as it can be read.

    Raises StorageError if the file cannot be read at all.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path} ({error.strerror}); restore it") from None
    whole = content.rpartition(b"\n")[0]
    records, damaged, journal = [], [], ""
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        record = record_in(line)
        if record is None:
            damaged.append(number)
        elif number == 1:
            journal = str(record.get("journal", ""))
        elif record.get("kind") in ("sent", "came") and isinstance(record.get("seq"), int):
            records.append(record)
        else:
            damaged.append(number)
    return Recovered(journal, tuple(records), tuple(damaged))
