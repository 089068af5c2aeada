"""The Document type, and the options that all kinds of corpus share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import CorpusError

Content = str | NDArray[np.integer]

WHOLE = 1 << 28  # files up to 256 MB are hashed completely
SAMPLES = 64
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Options:
    """What the user may have to specify about a corpus because the files do not say it.

    Attributes:
        field: Column or key that holds the text or the token ids; empty for the default one.
        separator: Token id that ends a document in stored tokens.
    """

    field: str = ""
    separator: int | None = None


@dataclass(frozen=True)
class Extent:
    """The size of a corpus, in the unit that can be counted without reading it.

    Attributes:
        unit: `tokens`, `documents`, or `bytes` of the files, what surrounds the text included.
    """

    count: int
    unit: Literal["tokens", "documents", "bytes"]


@dataclass(frozen=True)
class Length:
    """The tokens of a corpus; an estimate from its first documents unless `exact`."""

    tokens: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its place in the corpus, and its text or its token ids.

    Attributes:
        index: From 0, as the corpus is written, whatever the order of reading.
        content: Text, or token ids without special tokens.
    """

    index: int
    content: Content


def files_digest(paths: list[Path]) -> str:
    """Return the sha256 of the files' names and bytes; of 64 megabytes spread over a huge file."""
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}\n".encode())
        with path.open("rb") as file:
            if size <= WHOLE:
                digest.update(hashlib.file_digest(file, "sha256").digest())
                continue
            for sample in range(SAMPLES):
                file.seek(sample * (size - (1 << 20)) // (SAMPLES - 1))
                digest.update(file.read(1 << 20))
    return digest.hexdigest()


def bytes_of(paths: list[Path]) -> Extent | None:
    """Return the bytes of files together; None where one is compressed."""
    if any(path.suffix == ".gz" for path in paths):
        return None
    return Extent(sum(path.stat().st_size for path in paths), "bytes")


def files_with(path: Path, *suffixes: str) -> list[Path]:
    """Return the file itself, or the files in a folder with such a suffix, sorted by path.

    Raises CorpusError for a link to nothing, a pipe or a device among them: a part is missing.
    """
    if path.is_file():
        return [path] if path.name.endswith(suffixes) else []
    if not path.is_dir():
        return []
    named = sorted(p for p in path.rglob("*") if p.name.endswith(suffixes) and not p.is_dir())
    for file in named:
        if not file.is_file():
            raise CorpusError(f"{file} is no file, or a link to none; fetch it again or remove it")
    return named


def token_ids(value: object, where: str) -> NDArray[np.integer]:
    """Return a list of ints as an array. Raises CorpusError naming `where`."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise CorpusError(f"{where}: token ids must be one list of whole numbers")
    if array.size and int(array.min()) < 0:
        raise CorpusError(f"{where}: token id {int(array.min())} is negative")
    if array.size and int(array.max()) > LARGEST_ID:  # as int64 it would be negative
        raise CorpusError(f"{where}: token id {int(array.max())} is of no vocabulary")
    return array.astype(np.int64)
