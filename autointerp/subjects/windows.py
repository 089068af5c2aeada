"""Documents cut into the windows that a model reads: one document a window, never two."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import CorpusError
from autointerp.files import check_archive


@dataclass(frozen=True)
class TokenisedDocuments:
    """Documents as token ids, end to end.

    Attributes:
        tokens: [total] ids without special tokens.
        starts: [documents + 1] offset of each document, and the total.
    """

    tokens: NDArray[np.integer]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        return self.tokens[self.starts[document] : self.starts[document + 1]]

    def save(self, path: Path) -> None:
        """Write a compressed npz file."""
        np.savez_compressed(path, tokens=self.tokens, starts=self.starts)


def no_tokens(path: Path) -> CorpusError:
    """Return the error for a file of tokens that is not there."""
    return CorpusError(f"no corpus at {path}; make one with `autointerp train tokens`")


def load_documents(path: Path) -> TokenisedDocuments:
    """Return the documents saved at `path`.

    Raises CorpusError if the file is missing, truncated or not of this form.
    """
    try:
        check_archive(path)
        with path.open("rb") as raw:
            if raw.read(2) != b"PK":
                raise CorpusError(
                    f"{path} is no npz of `tokens` and `starts`, which is what a one-layer model "
                    "reads; make one of text with its tokenizer: `autointerp train tokens`"
                )
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            documents = TokenisedDocuments(file["tokens"], file["starts"])
    except FileNotFoundError:
        raise no_tokens(path) from None
    except (BadZipFile, zlib.error, KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise CorpusError(
            f"{path} is not a complete npz of `tokens` and `starts` ({error}); fetch it again"
        ) from None
    tokens, starts = documents.tokens, documents.starts
    if any(part.ndim != 1 or part.dtype.kind not in "iu" for part in (tokens, starts)):
        raise CorpusError(f"{path}: `tokens` and `starts` must be lists of whole numbers")
    ends = starts.astype(np.int64)
    if not len(ends) or ends[0] or ends[-1] != len(tokens) or (np.diff(ends) < 0).any():
        raise CorpusError(f"{path}: `starts` does not fit its {len(tokens)} tokens")
    for token in (int(tokens.min()), int(tokens.max())) if len(tokens) else ():
        if not 0 <= token < 2**63:
            raise CorpusError(f"{path}: token id {token} is of no vocabulary")
    return TokenisedDocuments(tokens, ends)


@dataclass(frozen=True)
class Windows:
    """A batch of windows, ready for a model.

    Attributes:
        ids: [rows, length] token ids; each row is BOS, then tokens of one document, then padding.
        attention: [rows, length] False on padding.
        document: [rows] index of the row's document.
        offset: [rows] index in the document of the row's first token after BOS.
        content: [rows] hash of the row's document: copies of a document have the same.
    """

    ids: NDArray[np.int64]
    attention: NDArray[np.bool_]
    document: NDArray[np.int64]
    offset: NDArray[np.int64]
    content: NDArray[np.uint64]


def content_hash(ids: NDArray[np.integer]) -> int:
    """Return a 64-bit hash of a document's token ids, which does not depend on their dtype."""
    raw = np.ascontiguousarray(ids, dtype="<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def cut_windows(
    documents: TokenisedDocuments,
    length: int,
    bos: int,
    pad: int,
    rows: int,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Windows]:
    """Yield batches of at most `rows` windows over documents `first` to `last`, in order.

    A window holds BOS and up to `length` - 1 tokens, so windows of a document do not overlap.
    """
    last = len(documents) if last is None else last
    stride = length - 1
    sizes = np.diff(documents.starts[first : last + 1])
    counts = -(-sizes // stride)
    document = np.repeat(np.arange(first, last), counts)
    offset = (np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)) * stride
    starts = documents.starts[document] + offset
    sizes_here = np.minimum(documents.starts[document + 1] - starts, stride)
    reach = np.arange(stride)
    for batch in range(0, len(document), rows):
        part = slice(batch, batch + rows)
        inside = reach < sizes_here[part, None]
        where = np.where(inside, starts[part, None] + reach, 0)
        ids = np.full((len(where), length), bos, dtype=np.int64)
        ids[:, 1:] = np.where(inside, documents.tokens[where], pad)
        attention = np.ones(ids.shape, dtype=bool)
        attention[:, 1:] = inside
        here, row_of = np.unique(document[part], return_inverse=True)
        content = np.array([content_hash(documents[number]) for number in here], dtype=np.uint64)
        yield Windows(ids, attention, document[part], offset[part], content[row_of])
