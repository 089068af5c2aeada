"""The site's activations on a run's disk, so that the next pass over the corpus reads no model.

Beside a run stand `site_cache/activations.f32`, memory-mapped: the activations of kept tokens, one
window behind the other as they were read, and `site_cache/index.npz`: for which model, corpus and
windows they are, where each window begins, and a CRC-32 of it. The index is written last, so what
a killed process added is not taken for read. With hidden neurons beside the site, a row holds both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp import __version__
from autointerp.errors import StorageError
from autointerp.files import PRIVATE_FILE, partial_file, unwritten, write_all
from autointerp.settings import RunSettings
from autointerp.subjects import Subject
from autointerp.text import size_text
from autointerp.units.stream import window_length

FOLDER = "site_cache"
VALUES, INDEX = "activations.f32", "index.npz"
MISSING = -1
# Of an index that is none.
UNREADABLE = (BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError, OSError)

Tell = Callable[[str], None]


def cache_key(subject: Subject, settings: RunSettings) -> str:
    """Return a digest of all that decides the activations: another's are not used."""
    content = {
        "version": __version__,
        "model": subject.digests.get("model"),
        "site": subject.site,
        "hidden": None if subject.hidden is None else subject.hidden.site,
        "dtype": settings.subject.dtype,
        "device": settings.subject.device.partition(":")[0],
        "corpus": subject.digests.get("corpus"),
        "order": [settings.subject.corpus_seed, settings.subject.corpus_separator],
        "field": settings.subject.corpus_field,
        "tokenizer": settings.subject.tokenizer,
        "bos": subject.bos,
        "tokens": settings.harvest.tokens,
        "window": window_length(subject, settings.harvest),
        "mask_first": settings.harvest.mask_first,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def row_bytes(subject: Subject) -> int:
    """Return the bytes that a token takes."""
    return 4 * (subject.d_site + (0 if subject.hidden is None else subject.hidden.d_site))


@contextlib.contextmanager
def with_cache(
    subject: Subject, settings: RunSettings, run: Path, budget: int, tell: Tell
) -> Iterator[Subject]:
    """Yield the subject with its activations kept beside the run; without, where they do not fit.

    What takes how much room goes to `tell` before anything is written; a cache that is damaged, or
    of another model, corpus or setting, is deleted and made again, which goes there too. Raises
    StorageError where the disk cannot take it.
    """
    length = subject.length()
    most = settings.harvest.tokens
    tokens = None if length is None else length.tokens
    if most and (tokens is None or most < tokens):
        tokens = most
    room = size_text(budget)
    if tokens is not None and tokens * row_bytes(subject) > budget:
        tell(
            f"the activations of {tokens:,} tokens at {subject.site} take "
            f"{size_text(tokens * row_bytes(subject))}, more than --cache-site {room}: not kept, "
            "so the model is run in every pass; give more, or fewer --tokens"
        )
        yield subject
        return
    key = cache_key(subject, settings)
    folder, is_others = _folder(run, key)
    takes = f"up to {room}" if tokens is None else size_text(tokens * row_bytes(subject))
    width = row_bytes(subject) // 4
    cache = SiteCache(folder, key, subject.d_site, width, budget, tell, is_others)
    if is_others:
        tell(f"the activations at {subject.site} are read from {folder}")
    elif not cache.is_filled:
        tell(f"the activations at {subject.site} are kept in {folder}, {takes}")
    try:
        yield replace(subject, cache=cache)
    finally:
        cache.close()


def _folder(run: Path, key: str) -> tuple[Path, bool]:
    """Return where a run's activations are kept: its own folder, or where it has none that of
    another run beside it, as of another seed, which is then only read; and whether it is that.
    """
    own = run / FOLDER
    if not (own / INDEX).exists():
        for index in sorted(run.parent.glob(f"*/{FOLDER}/{INDEX}")):
            with contextlib.suppress(*UNREADABLE), np.load(index, allow_pickle=False) as file:
                if file["key"].tobytes().decode() == key:
                    return index.parent, True
    return own, False


def remove_cache(run: Path) -> int:
    """Delete a run's cache; return the bytes that were freed."""
    folder = run / FOLDER
    if not folder.is_dir():
        return 0
    freed = sum(path.stat().st_blocks * 512 for path in folder.iterdir() if path.is_file())
    shutil.rmtree(folder)
    return freed


class SiteCache:
    """Rows of activations by window of the corpus.

    One that is another run's is only read: its index is replaced in one step, and rows are only
    appended, so what is read is whole even while that run goes on.

    Attributes:
        is_filled: Whether it held windows when it was opened.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        d_site: int,
        width: int,
        budget: int,
        tell: Tell,
        is_others: bool = False,
    ) -> None:
        self._is_others = is_others
        self._folder, self._key, self._tell = folder, key, tell
        self._d_site, self._width = d_site, width
        self._most = budget // (4 * width)
        self._begin = np.zeros(0, np.int64)  # [windows] first row of each; MISSING
        self._count = np.zeros(0, np.int64)
        self._crc = np.zeros(0, np.uint32)
        self._sound = np.zeros(0, bool)  # whether its bytes were looked at
        self._rows = 0
        self._values: NDArray[np.float32] | None = None
        self._file: int | None = None
        self._is_full = False
        self._open()
        self.is_filled = self._rows > 0

    def recall(
        self, window: NDArray[np.int64], kept: NDArray[np.bool_]
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return the activations of windows of the corpus, 0 where nothing is `kept`.

        None unless it holds them all.
        """
        counts = kept.sum(axis=1)
        wanted = np.flatnonzero(counts)
        numbers = window[wanted]
        if not len(numbers) or numbers.max() >= len(self._begin):
            return None
        if (self._begin[numbers] == MISSING).any() or (self._count[numbers] < counts[wanted]).any():
            return None
        if not self._are_sound(numbers):
            return None
        starts = np.repeat(self._begin[numbers], counts[wanted])
        inside = np.arange(len(starts)) - np.repeat(
            np.cumsum(counts[wanted]) - counts[wanted], counts[wanted]
        )
        out = torch.zeros(*kept.shape, self._width)
        out[torch.from_numpy(kept)] = torch.from_numpy(self._mapped()[starts + inside])
        if self._width == self._d_site:
            return out, None
        return out[..., : self._d_site], out[..., self._d_site :]

    def keep(
        self,
        window: NDArray[np.int64],
        kept: NDArray[np.bool_],
        x: Tensor,
        hidden: Tensor | None,
    ) -> None:
        """Keep the activations of the windows that it lacks, where they are `kept`."""
        if self._is_full or self._is_others:
            return
        counts = kept.sum(axis=1)
        ends = np.cumsum(counts)
        self._reach(int(window.max(initial=0)) + 1)
        rows = [
            row for row in np.flatnonzero(counts).tolist() if self._count[window[row]] < counts[row]
        ]
        if not rows:
            return
        at = torch.from_numpy(kept).to(x.device)
        values = x[at] if hidden is None else torch.cat([x[at], hidden[at]], -1)
        array = values.float().cpu().numpy()
        parts = [array[ends[row] - counts[row] : ends[row]] for row in rows]
        size = sum(map(len, parts))
        if self._rows + size > self._most:
            self._is_full = True
            self._tell(
                f"--cache-site {size_text(4 * self._width * self._most)} is used up after "
                f"{self._rows:,} tokens; the model is run for the rest in every pass"
            )
            return
        self._write(self._rows, np.concatenate(parts))
        for row, part in zip(rows, parts, strict=True):
            number = int(window[row])
            self._begin[number], self._count[number] = self._rows, len(part)
            self._crc[number] = zlib.crc32(_bytes_of(part))
            self._sound[number] = True
            self._rows += len(part)

    def close(self) -> None:
        """Write what is held where."""
        if self._file is None:
            return
        try:
            os.fsync(self._file)
            with partial_file(self._folder / INDEX) as partial, partial.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    key=np.frombuffer(self._key.encode(), np.uint8),
                    begin=self._begin,
                    count=self._count,
                    crc=self._crc,
                    rows=np.array(self._rows),
                )
        except OSError as error:
            raise self._unwritten(error) from None
        os.close(self._file)
        self._file = None

    def _open(self) -> None:
        try:
            with (self._folder / INDEX).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                key = file["key"].tobytes().decode()
                begin, count, crc = file["begin"], file["count"], file["crc"]
                rows = int(file["rows"])
        except FileNotFoundError:
            self._begin_anew("")
            return
        except UNREADABLE:
            self._begin_anew("its index cannot be read")
            return
        path = self._folder / VALUES
        if key != self._key:
            self._begin_anew("it is of another model, corpus or setting")
        elif not path.exists() or path.stat().st_size < rows * 4 * self._width:
            self._begin_anew(f"{VALUES} is missing or cut")
        else:
            self._begin, self._count, self._crc, self._rows = begin, count, crc, rows
            self._sound = np.zeros(len(begin), bool)

    def _begin_anew(self, why: str) -> None:
        """Forget what the folder holds; say why, if it was something."""
        if why:
            again = "" if self._is_others else " and made again"
            self._tell(f"the activations kept in {self._folder} are not used{again}: {why}")
        self._values = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        for name in () if self._is_others else (VALUES, INDEX):
            (self._folder / name).unlink(missing_ok=True)
        self._begin = np.zeros(0, np.int64)
        self._count, self._crc = np.zeros(0, np.int64), np.zeros(0, np.uint32)
        self._sound = np.zeros(0, bool)
        self._rows, self._is_full = 0, False

    def _are_sound(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether the bytes of windows are those that were written; a cache where they are
        not is begun anew."""
        values = self._mapped()
        for number in numbers[~self._sound[numbers]].tolist():
            begin, count = self._begin[number], self._count[number]
            part = values[begin : begin + count]
            if zlib.crc32(_bytes_of(part)) != self._crc[number]:
                self._begin_anew(f"window {number} is damaged")
                return False
            self._sound[number] = True
        return True

    def _reach(self, windows: int) -> None:
        """Make room in the index for so many windows."""
        more = windows - len(self._begin)
        if more > 0:
            more = max(more, len(self._begin))
            self._begin = np.append(self._begin, np.full(more, MISSING))
            self._count = np.append(self._count, np.zeros(more, np.int64))
            self._crc = np.append(self._crc, np.zeros(more, np.uint32))
            self._sound = np.append(self._sound, np.zeros(more, bool))

    def _write(self, begin: int, values: NDArray[np.float32]) -> None:
        """Write rows to the file. Not through the map: a full disk would end the process."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._file is None:
                self._file = os.open(self._folder / VALUES, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            os.lseek(self._file, begin * 4 * self._width, os.SEEK_SET)
            write_all(self._file, _bytes_of(values), sync=False)
        except OSError as error:
            raise self._unwritten(error) from None

    def _mapped(self) -> NDArray[np.float32]:
        """Return the file's rows."""
        if self._values is None or len(self._values) < self._rows:
            path = self._folder / VALUES
            self._values = np.memmap(path, np.float32, "r", shape=(self._rows, self._width))
        return self._values

    def _unwritten(self, error: OSError) -> StorageError:
        return unwritten(self._folder, error, "free some space, or leave --cache-site out")


def _bytes_of(values: NDArray[np.float32]) -> memoryview:
    """Return the bytes of an array, without a copy where its rows stand together."""
    return np.ascontiguousarray(values).data.cast("B")
