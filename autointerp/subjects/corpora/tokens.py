"""Tokens: our own npz, or a .npy of rows [documents, tokens], or flat with a separator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from autointerp.errors import CorpusError
from autointerp.subjects.corpora._documents import (
    Content,
    Extent,
    Options,
    files_digest,
    files_with,
    token_ids,
)
from autointerp.subjects.windows import load_documents

SUFFIXES = (".npz", ".npy")
BLOCK = 1 << 20  # tokens searched for a separator at once


def recognises(source: str) -> bool:
    path = Path(source)
    if path.is_file() and path.suffix == ".npz":
        try:
            with ZipFile(path) as archive:
                return {"tokens.npy", "starts.npy"} <= set(archive.namelist())
        except BadZipFile:
            return True  # loading says that it is damaged
    return bool(files_with(path, *SUFFIXES))


def digest(source: str) -> str:
    return files_digest(files_with(Path(source), *SUFFIXES))


def extent(source: str, options: Options) -> Extent | None:
    """Return the number of tokens; None where a file is damaged."""
    tokens = 0
    for path in files_with(Path(source), *SUFFIXES):
        try:
            if path.suffix == ".npz":
                tokens += len(load_documents(path).tokens)
            else:
                tokens += int(np.load(path, mmap_mode="r", allow_pickle=False).size)
        except (CorpusError, ValueError, OSError, EOFError):
            return None  # `read` says what is wrong
    return Extent(tokens, "tokens")


def read(source: str, options: Options) -> Iterator[Content]:
    """Yield the documents. A .npy is mapped, not loaded.

    Raises CorpusError if a file is damaged or holds no whole numbers, or if a flat array comes
    without a separator: its documents could not be separated.
    """
    for path in files_with(Path(source), *SUFFIXES):
        if path.suffix == ".npz":
            documents = load_documents(path)
            yield from (documents[number] for number in range(len(documents)))
            continue
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise CorpusError(f"{path} is not a complete .npy of numbers ({error})") from None
        if not np.issubdtype(array.dtype, np.integer) or array.ndim not in {1, 2}:
            raise CorpusError(
                f"{path} is {array.dtype} {array.shape}; token ids are whole numbers, "
                "[documents, tokens] or flat"
            )
        if array.ndim == 2:
            for row, ids in enumerate(array):
                yield token_ids(ids, f"{path}, row {row}")
        elif options.separator is None:
            raise CorpusError(
                f"{path} is flat: give the token id at which documents end as corpus_separator"
            )
        else:
            yield from _split(array, options.separator, path)


def _split(array: np.ndarray, separator: int, path: Path) -> Iterator[Content]:
    first = 0
    for block in range(0, len(array), BLOCK):
        for end in np.flatnonzero(array[block : block + BLOCK] == separator) + block:
            yield token_ids(array[first:end], f"{path}, token {first}")
            first = int(end) + 1
    yield token_ids(array[first:], f"{path}, token {first}")
