"""Token ids of a corpus of text, kept in mapped files so that each text is tokenised once.

The files stand in a folder named after all that decides what is in them: corpus, order, tokenizer,
code. A file holds the next documents of the corpus, the first ones few, so that a look at the first
tokens costs little. Whoever needs a file that is not there makes it; processes that want the same
one share the work: one makes it, and the others make those that come next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import StorageError
from autointerp.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    partial_file,
    tried_lock,
    unwritten,
    write_text,
)
from autointerp.subjects.corpora import Corpus
from autointerp.subjects.corpora._documents import WHOLE, Document
from autointerp.subjects.provenance import code_digest, version_of
from autointerp.subjects.tokenizers import tokenizer_digest

FIRST_CHARACTERS, MOST_CHARACTERS = 1 << 18, 1 << 22  # of the texts in one file
TOGETHER = 512  # texts tokenised together
AHEAD = 256  # files that a process looks ahead for one that nobody makes
LOOK_AGAIN_S = 0.02
DECIDES = ("subjects/corpora", "subjects/token_cache.py", "text.py")  # code that decides the ids
MAGIC = b"autointerp tokens 1\n"
REMEDY = "free some space; the folder holds copies that can be deleted at any time"

Tokenise = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class Segment:
    """Some documents of a corpus that stand one behind the other.

    Attributes:
        ids: [tokens] int32, without special tokens.
        starts: [documents + 1] offset of each document, and the tokens.
        index: [documents] their places in the corpus.
        is_last: No document comes after them.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    index: NDArray[np.int64]
    is_last: bool

    def documents(self) -> Iterator[Document]:
        """Yield them, their content being their ids."""
        starts = self.starts.tolist()
        for row, number in enumerate(self.index.tolist()):
            yield Document(number, self.ids[starts[row] : starts[row + 1]])


@dataclass(frozen=True)
class TokenCache:
    """Documents of a corpus as token ids, from files in a folder.

    Attributes:
        folder: Folder of the caches, made where it is missing.
        about: All that decides what the ids are.
        texts: Yields the documents, as text, from the start.
        tokenise: Returns the ids of texts.
    """

    folder: Path
    about: dict[str, Any]
    texts: Callable[[], Iterable[Document]]
    tokenise: Tokenise

    @cached_property
    def key(self) -> str:
        """The name of all that decides."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def place(self) -> Path:
        """The folder of the files."""
        return self.folder / self.key

    @cached_property
    def is_writable(self) -> bool:
        """Whether files can be kept: not beside runs that this user may only read."""
        there = next(path for path in (self.place, *self.place.absolute().parents) if path.exists())
        return os.access(there, os.W_OK)

    def documents(self) -> Iterator[Document]:
        """Yield the documents, those of text as their token ids.

        Documents that are stored as ids are yielded as they are, with those that stand round them,
        and are kept in no file, as all are where none can be written. A damaged file is made again.
        Raises StorageError if a file cannot be written, and what the corpus raises.
        """
        reader = _Reader(self.texts)
        number = 0
        while True:
            segment = self._existing(number) or self._made(number, reader)
            if isinstance(segment, Segment):
                yield from segment.documents()
                is_last = segment.is_last
            else:
                documents, is_last = segment
                yield from documents
            if is_last:
                return
            number += 1

    def path(self, number: int) -> Path:
        """Return the file of so many'th documents."""
        return self.place / f"{number:06d}.tokens"

    def _made(self, number: int, reader: _Reader) -> Segment | tuple[list[Document], bool]:
        """Return a segment that this process or another one makes now."""
        if not self.is_writable:
            return self._make(number, reader)
        self._make_folder()
        while True:
            with _lock(self.path(number)) as is_ours:
                if is_ours is not False:
                    # Made by another one since it was looked for, perhaps.
                    return self._existing(number) or self._make(number, reader)
            self._make_a_later_one(number, reader)
            if segment := self._existing(number):
                return segment

    def _make_a_later_one(self, number: int, reader: _Reader) -> None:
        """Make a later segment that nobody makes; wait a little if there is none."""
        for later in range(number + 1, number + AHEAD):
            if reader.count is not None and later >= reader.count:
                break
            if self.path(later).exists():
                continue
            with _lock(self.path(later)) as is_ours:
                if is_ours is not False and not self.path(later).exists():
                    self._make(later, reader)
                    return
        time.sleep(LOOK_AGAIN_S)

    def _make(self, number: int, reader: _Reader) -> Segment | tuple[list[Document], bool]:
        documents, is_last = reader.read(number)
        if not all(isinstance(document.content, str) for document in documents):
            return documents, is_last
        ids: list[NDArray[np.int32]] = []
        for begin in range(0, len(documents), TOGETHER):
            texts = [str(document.content) for document in documents[begin : begin + TOGETHER]]
            ids.extend(np.asarray(one, dtype=np.int32) for one in self.tokenise(texts))
        sizes = np.array([len(one) for one in ids], dtype=np.int64)
        segment = Segment(
            np.concatenate(ids) if ids else np.zeros(0, np.int32),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
            np.array([document.index for document in documents], dtype=np.int64),
            is_last,
        )
        if documents and self.is_writable:
            self._write(number, segment)
        return segment

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            self.place.mkdir(PRIVATE_FOLDER, exist_ok=True)
        except OSError as error:
            raise unwritten(self.place, error, "choose a folder that can be written") from None

    def _write(self, number: int, segment: Segment) -> None:
        if number == 0:
            about = json.dumps(self.about, indent=1) + "\n"
            write_text(self.place / "about.json", about, REMEDY, PRIVATE_FILE)
        payload = (segment.ids, segment.starts, segment.index)
        header = {
            "key": self.key,
            "number": number,
            "tokens": len(segment.ids),
            "documents": len(segment.index),
            "is_last": segment.is_last,
            "digest": _digest(payload),
        }
        with (
            partial_file(self.path(number), REMEDY, PRIVATE_FILE) as partial,
            partial.open("wb") as file,
        ):
            head = MAGIC + json.dumps(header).encode()
            file.write(head + b" " * (-(len(head) + 1) % 8) + b"\n")  # ids at a multiple of 8
            for array in payload:
                file.write(_padded(array))

    def _existing(self, number: int) -> Segment | None:
        """Return a segment from its file; None where there is none, or a damaged one."""
        path = self.path(number)
        try:
            with path.open("rb") as file:
                if file.readline() != MAGIC:
                    return None
                header = json.loads(file.readline(4096))
                begin = file.tell()
                size = os.fstat(file.fileno()).st_size
            tokens, documents = int(header["tokens"]), int(header["documents"])
            lengths = (-(-4 * tokens // 8) * 8, 8 * (documents + 1), 8 * documents)
            if (header["key"], header["number"]) != (self.key, number) or (
                size != begin + sum(lengths) or tokens < 0 or documents < 1
            ):
                return None
            mapped = np.memmap(path, np.uint8, "r", begin)
            ids = mapped[: 4 * tokens].view(np.int32)
            starts = mapped[lengths[0] : lengths[0] + lengths[1]].view(np.int64)
            index = mapped[lengths[0] + lengths[1] :].view(np.int64)
            if _digest((ids, starts, index)) != header["digest"]:
                return None
            return Segment(ids, starts, index, bool(header["is_last"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None
        except OSError as error:
            raise StorageError(
                f"cannot read {path} ({error.strerror or error}); delete {self.place}"
            ) from None


class _Reader:
    """The texts of a corpus in segments, whose ends depend on the texts alone.

    Attributes:
        count: Segments of the corpus, once it was read to its end.
    """

    def __init__(self, texts: Callable[[], Iterable[Document]]) -> None:
        self._texts = texts
        self._stream: Iterator[Document] | None = None
        self._next: Document | None = None
        self._number = 0
        self.count: int | None = None

    def read(self, number: int) -> tuple[list[Document], bool]:
        """Return a segment's documents, and whether they are the last; none beyond the last."""
        if self._stream is None or number < self._number:
            self._stream, self._number = iter(self._texts()), 0
            self._next = next(self._stream, None)
        while self._number < number:
            self._take()
            if self._next is None:
                break
        if self._number < number:
            return [], True
        return self._take(), self._next is None

    def _take(self) -> list[Document]:
        most = min(MOST_CHARACTERS, FIRST_CHARACTERS << min(self._number, 30))
        assert self._stream is not None
        documents: list[Document] = []
        size = 0
        while self._next is not None and size < most:
            documents.append(self._next)
            size += len(self._next.content)
            self._next = next(self._stream, None)
        self._number += 1
        if self._next is None:
            self.count = self._number
        return documents


def cached_documents(
    corpus: Corpus, tokenizer: Any, tokenise: Tokenise, folder: Path
) -> Callable[[], Iterable[Document]]:
    """Return what yields the documents of a corpus, its texts as ids from files under `folder`.

    It yields the texts themselves where nothing tells this tokenizer from another one.
    """
    named = tokenizer_digest(tokenizer)
    if named is None:
        return corpus.documents
    about = {
        "corpus": corpus.digest,
        "large files": _changed_at(Path(corpus.source)),
        "kind": corpus.kind,
        "seed": corpus.seed,
        "options": asdict(corpus.options),
        "tokenizer": named,
        "code": code_digest(*DECIDES),
        "libraries": {name: version_of(name) for name in ("tokenizers", "transformers")},
    }
    cache = TokenCache(folder, about, corpus.documents, tokenise)

    def documents() -> Iterable[Document]:
        if not cache.path(0).exists():
            first = next(iter(corpus.documents()))
            if not isinstance(first.content, str):  # tokenised already
                return corpus.documents()
        return cache.documents()

    return documents


def _changed_at(source: Path) -> list[tuple[str, int]]:
    """Return when files were changed whose digest is that of samples, in nanoseconds."""
    if not source.exists():
        return []
    files = [source] if source.is_file() else [f for f in source.rglob("*") if f.is_file()]
    found = [(file.name, file.stat()) for file in files]
    return sorted((name, one.st_mtime_ns) for name, one in found if one.st_size > WHOLE)


def _lock(path: Path) -> contextlib.AbstractContextManager[bool | None]:
    """Return the lock of a file that is made; without locks (None) all make it, and the same."""
    return tried_lock(path.with_name(f".{path.name}.lock"))


def _digest(arrays: Sequence[NDArray[Any]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _padded(array: NDArray[Any]) -> bytes:
    raw = array.tobytes()
    return raw + b"\0" * (-len(raw) % 8)
