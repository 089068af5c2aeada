"""Corpora as streams of documents. Every file here reads one kind and recognises it.

A kind is a module with `recognises(source) -> bool`, `read(source, options)` that yields each
document's text or token ids, `digest(source)`, and `extent(source, options)`: how much there is,
as far as that can be counted without reading it, else None. Order, budget and windows are
implemented here, once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from autointerp import extensions
from autointerp.errors import CorpusError
from autointerp.subjects import corpora
from autointerp.subjects.corpora._documents import Document, Extent, Length, Options
from autointerp.subjects.windows import Windows, content_hash
from autointerp.text import without_surrogates

__all__ = ["Corpus", "Document", "Options", "open_corpus", "stream_windows", "tokenised"]

Tokenise = Callable[[list[str]], list[list[int]]]

EACH_HAS = ("recognises", "read", "digest", "extent")  # every file here
AT_ONCE = 64  # texts tokenised together
SAMPLED = 256  # documents from which the length of a corpus is estimated
ABOUT = ("readme", "license", "changelog", "contributing", "citation", "datacard")
# A column, or a key of the first object, that `jsonl` and `parquet` take for text.
HEADER = re.compile(rb'[^\r\n]*?(?:^|[,;\t])\s*"?(?:text|content)"?\s*(?:[,;\t\r\n]|$)')
OBJECT = re.compile(rb'\s*\[?\s*\{[^{}]*"(?:text|content)"\s*:\s*"')
HOLDS_TEXT = {".csv": HEADER, ".tsv": HEADER, ".json": OBJECT}
SHOWN = 5
SHUFFLED = 10_000  # documents among which the next is drawn
PACKED = (".gz", ".zst", ".bz2", ".xz", ".lz4", ".zip")  # of which JSON lines may be .gz


@dataclass(frozen=True)
class Corpus:
    """A stream of documents that can be read again from the start.

    Attributes:
        source: Path or name.
        kind: The file in this folder that reads it.
        seed: Draws the order of documents; None for the order in which they are written.
        options: What the user had to specify about it.
        notes: What a person should know of it, a sentence each.
    """

    source: str
    kind: str
    seed: int | None = None
    options: Options = field(default_factory=Options)
    notes: tuple[str, ...] = ()

    def documents(self) -> Iterator[Document]:
        """Yield the documents that are not empty, in an order that depends on the seed alone.

        U+FFFD stands in for lone surrogates, which scraped text has and no tokenizer takes.

        Memory holds 10,000 documents where the order is drawn, one otherwise.
        Raises CorpusError if something is malformed, naming where, or if there is no document.
        """
        read = _kind(self.kind).read(self.source, self.options)
        call = f"kind of corpus '{self.kind}': read()"
        extensions.returned(read, Iterable, call, CorpusError)  # type: ignore[type-abstract]
        if isinstance(read, str):
            raise CorpusError(f"{call} returned one text; it must yield texts, one a document")
        cleaned = (
            without_surrogates(c) if isinstance(c, str) else _ids(c, f"{call} yielded")
            for c in read
        )
        parts = (part for content in cleaned for part in _parted(content, self.options.separator))
        documents = (Document(i, content) for i, content in enumerate(parts) if _holds(content))
        first = next(documents, None)
        if first is None:
            raise CorpusError(f"{self.source} holds no document; give a corpus with text")
        yield from _drawn(_chain(first, documents), self.seed)

    @property
    def digest(self) -> str:
        """The sha256 of what is read; the order is not part of it."""
        digest = _kind(self.kind).digest(self.source)
        return extensions.returned(digest, str, f"kind of corpus '{self.kind}': digest()")

    def length(self, tokenise: Tokenise) -> Length | None:
        """Return how many tokens the corpus has; None where they cannot be counted or estimated.

        Where only documents or bytes can be counted, the first documents say how many tokens one
        has.
        """
        extent = _kind(self.kind).extent(self.source, self.options)
        if extent is None:
            return None
        extensions.returned(extent, Extent, f"kind of corpus '{self.kind}': extent()")
        if extent.unit == "tokens":
            return Length(extent.count, exact=True)
        first = list(islice(replace(self, seed=None).documents(), SAMPLED))
        tokens = sum(len(ids) for _, ids in tokenised(first, tokenise))
        size = len(first)
        if extent.unit == "bytes":
            if any(not isinstance(document.content, str) for document in first):
                return None  # bytes of written numbers say little of how many there are
            size = sum(len(str(document.content).encode()) for document in first)
        if len(first) < SAMPLED and extent.unit == "documents":
            return Length(tokens, exact=True)
        return Length(round(extent.count * tokens / max(1, size)), exact=False)

    def shuffled(self, seed: int) -> Corpus:
        """Return the same corpus in an order drawn by `seed`."""
        return replace(self, seed=seed)


def open_corpus(
    source: str | Path,
    kind: str | None = None,
    seed: int | None = None,
    options: Options = Options(),
) -> Corpus:
    """Return the corpus at a path, or of a dataset's name; `kind` forces how it is read.

    Raises CorpusError if there is no such file, no kind or more than one recognises it, or a folder
    holds text that would not be read or be read twice; UnknownName if there is no such kind.
    """
    source = str(source)
    path = Path(source)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CorpusError(f"{source} is neither a file nor a folder; copy it into a file first")
    modules: dict[str, ModuleType] = {}
    if kind is None:
        modules = {name: _kind(name) for name in extensions.names(corpora)}
        kinds = [name for name, module in modules.items() if module.recognises(source)]
        if len(kinds) > 1:
            raise CorpusError(
                f"{source} could be {' or '.join(kinds)}; keep files of one kind in a folder, or "
                "give one file"
            )
        if not kinds and not Path(source).exists():
            raise CorpusError(f"no corpus at {source}; give an existing path or a dataset's hub id")
        if not kinds:
            suffixes = [s for module in modules.values() for s in getattr(module, "SUFFIXES", ())]
            raise CorpusError(
                f"{source} is not a corpus of a supported kind (kinds: {', '.join(modules)}); "
                f"a file is known by its suffix, {', '.join(suffixes)}: rename or convert it"
            )
        (kind,) = kinds
    read: tuple[str, ...] = tuple(getattr(_kind(kind), "SUFFIXES", ()))
    held = sorted(path.rglob("*")) if read and path.is_dir() else []
    if modules:  # it was not said how all is to be read
        _require_all_read(held, read, modules.values())
    return Corpus(source, kind, seed, options, _left_out(path, held, read))


def _require_all_read(
    held: Sequence[Path], read: tuple[str, ...], modules: Iterable[ModuleType]
) -> None:
    """Raise CorpusError where a folder holds more of a corpus than is `read`, or a file twice.

    What is of no kind, such as a README.md or a labels.csv.gz, is left out, and so is a packed copy
    of a file that is read; an archive may hold anything.
    """
    known = tuple(s for module in modules for s in getattr(module, "SUFFIXES", ()))
    for path in held:
        is_packed = path.suffix.lower() in PACKED
        bare = path.with_suffix("") if is_packed else path
        has_twin = is_packed and bare.name.endswith(read) and bare.is_file()
        if path.name.endswith(read):
            if has_twin:
                raise CorpusError(f"{path} would be read beside {bare.name}; remove one of the two")
            continue
        is_archive = is_packed and bare.suffix.lower() in ("", ".tar")
        is_text = bare.name.lower().endswith((*known, ".text"))
        if (is_archive or is_text) and not has_twin and path.is_file():
            raise CorpusError(
                f"{path} would be left out ({', '.join(read)} of the folder are read); "
                f"{'unpack' if is_packed else 'rename'} it, or move it away"
            )


def _left_out(folder: Path, held: Sequence[Path], read: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note on files that are not read and hold text in the form of a corpus, if any; a
    README.md and metadata hold none."""
    beside = [
        str(path.relative_to(folder))
        for path in held
        if not path.name.endswith(read) and path.is_file() and _may_hold_text(path)
    ]
    if not beside:
        return ()
    listed = ", ".join(beside[:SHOWN]) + (", …" if len(beside) > SHOWN else "")
    return (f"of {folder} only {', '.join(read)} is read; text that is left out: {listed}",)


def _may_hold_text(path: Path) -> bool:
    """Return whether a file that is of no kind holds documents, by its first bytes."""
    suffix = path.suffix.lower()
    if suffix == ".md":
        return path.stem.lower() not in ABOUT
    if suffix not in HOLDS_TEXT:
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return HOLDS_TEXT[suffix].match(file.read(1 << 12)) is not None
    return False


def _kind(name: str) -> ModuleType:
    return extensions.load(corpora, "kind of corpus", name)


def _ids(value: object, yielded: str) -> NDArray[np.integer]:
    """Return token ids as a kind of corpus yielded them. Raises CorpusError if they are none."""
    if isinstance(value, np.ndarray):
        if value.ndim == 1 and (np.issubdtype(value.dtype, np.integer) or not len(value)):
            return value
        held = f"an array of {value.dtype} with {value.ndim} dimensions"
    else:
        held = "None" if value is None else f"a value of type {type(value).__name__}"
    raise CorpusError(
        f"{yielded} {held}; a document must be text, or token ids as an array of integers with one "
        "dimension (docs/extending.md)"
    )


def _parted(
    content: str | NDArray[np.integer], separator: int | None
) -> Iterator[str | NDArray[np.integer]]:
    """Yield the documents in stored ids, which end at the separator."""
    if separator is None or isinstance(content, str):
        yield content
        return
    first = 0
    for end in np.flatnonzero(content == separator).tolist():
        yield content[first:end]
        first = end + 1
    yield content[first:]


def _holds(content: str | NDArray[np.integer]) -> bool:
    return bool(content.strip()) if isinstance(content, str) else len(content) > 0


def _chain(first: Document, rest: Iterator[Document]) -> Iterator[Document]:
    yield first
    yield from rest


def _drawn(documents: Iterator[Document], seed: int | None) -> Iterator[Document]:
    """Yield the documents, each drawn from a buffer that the stream refills."""
    if seed is None:
        yield from documents
        return
    rng = np.random.default_rng(seed)
    held = list(islice(documents, SHUFFLED))
    for document in documents:
        place = int(rng.integers(len(held)))
        yield held[place]
        held[place] = document
    for place in rng.permutation(len(held)):
        yield held[place]


def tokenised(
    documents: Iterable[Document],
    tokenise: Tokenise,
    bos: int | None = None,
    vocabulary: int | None = None,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (index, token ids) of each document that has a token, in order.

    A BOS with which a document begins, stored or written out in its text, is taken off: windows
    bring their own.

    Raises CorpusError if an id is beyond the model's `vocabulary`.
    """
    stream = iter(documents)
    while batch := list(islice(stream, AT_ONCE)):
        texts = [document.content for document in batch if isinstance(document.content, str)]
        encoded = iter(tokenise(texts) if texts else [])
        for document in batch:
            if isinstance(document.content, str):
                ids = np.asarray(next(encoded), dtype=np.int64)
            else:
                ids = document.content.astype(np.int64)
            while bos is not None and len(ids) and ids[0] == bos:
                ids = ids[1:]
            if len(ids) and ids.min() < 0:
                raise CorpusError(f"document {document.index} holds token id {ids.min()}, below 0")
            if vocabulary is not None and len(ids) and ids.max() >= vocabulary:
                raise CorpusError(
                    f"document {document.index} holds token id {ids.max()}, the model's "
                    f"vocabulary has {vocabulary}: it was made with another model's tokenizer; "
                    "give this model's tokenizer, or the text"
                )
            if len(ids):
                yield document.index, ids


def stream_windows(
    documents: Iterable[Document],
    tokenise: Tokenise,
    length: int,
    bos: int | None,
    pad: int,
    rows: int,
    *,
    vocabulary: int | None = None,
) -> Iterator[Windows]:
    """Yield batches of at most `rows` windows over the documents, in order.

    A window is BOS, unless `bos` is None, and then the next tokens of one document, so windows of
    a document do not overlap; what is left of the row is padding. Memory holds one batch and the
    documents tokenised together.

    Raises ValueError if a window has no room for a token, CorpusError if a token id is beyond the
    `vocabulary`.
    """
    before = 0 if bos is None else 1
    stride = length - before
    if stride < 1:
        raise ValueError(f"a window of {length} tokens has no room for a token of text")
    ids = np.full((rows, length), pad, dtype=np.int64)
    attention = np.zeros((rows, length), dtype=bool)
    document = np.zeros(rows, dtype=np.int64)
    offset = np.zeros(rows, dtype=np.int64)
    hashes = np.zeros(rows, dtype=np.uint64)
    filled = 0
    for index, content in tokenised(documents, tokenise, bos, vocabulary):
        hashed = content_hash(content)
        for start in range(0, len(content), stride):
            piece = content[start : start + stride]
            size = before + len(piece)
            if bos is not None:
                ids[filled, 0] = bos
            ids[filled, before:size] = piece
            attention[filled, :size] = True
            document[filled], offset[filled], hashes[filled] = index, start, hashed
            filled += 1
            if filled == rows:
                yield Windows(ids, attention, document, offset, hashes)
                ids = np.full((rows, length), pad, dtype=np.int64)
                attention = np.zeros((rows, length), dtype=bool)
                document, offset = np.zeros_like(document), np.zeros_like(offset)
                hashes = np.zeros_like(hashes)
                filled = 0
    if filled:
        yield Windows(
            ids[:filled], attention[:filled], document[:filled], offset[:filled], hashes[:filled]
        )
