"""JSON lines, plain or gzipped: an object a line, with `text` or with token ids in `tokens`."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast
from zlib import error as ZlibError

from autointerp.errors import CorpusError
from autointerp.files import bounded_lines, json_value
from autointerp.subjects.corpora._documents import (
    Content,
    Extent,
    Options,
    bytes_of,
    files_digest,
    files_with,
    token_ids,
)

SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
TEXTS = ("text", "content")
TOKENS = ("tokens", "input_ids")


def recognises(source: str) -> bool:
    return bool(files_with(Path(source), *SUFFIXES))


def digest(source: str) -> str:
    return files_digest(files_with(Path(source), *SUFFIXES))


def extent(source: str, options: Options) -> Extent | None:
    """Return the bytes of the files; None where they are compressed."""
    return bytes_of(files_with(Path(source), *SUFFIXES))


def read(source: str, options: Options) -> Iterator[Content]:
    """Yield a document a line. Raises CorpusError, naming file and line, for any other line."""
    for path in files_with(Path(source), *SUFFIXES):
        with _opened(path) as lines:
            number = 0
            packed = path.stat().st_size if path.suffix == ".gz" else None
            try:
                for number, line in enumerate(bounded_lines(lines, packed), 1):
                    if number == 1:
                        line = line.removeprefix(codecs.BOM_UTF8)
                    if line.strip():
                        yield _document(line, f"{path}, line {number}", options.field)
            except (EOFError, OSError, ZlibError, ValueError) as error:
                raise CorpusError(
                    f"{path}, after line {number}: the file is damaged ({error})"
                ) from None


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _document(line: bytes, where: str, field: str) -> Content:
    try:
        row = json_value(line, unique=True)
    except ValueError as error:
        raise CorpusError(f"{where}: not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: not an object with a string `text`")
    names = (field,) if field else (*TEXTS, *TOKENS)
    name = next((name for name in names if name in row), None)
    if name is None:
        raise CorpusError(
            f"{where}: no `{'` or `'.join(names)}` (keys: {', '.join(map(str, row))})"
        )
    value = row[name]
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return token_ids(value, where)
    raise CorpusError(f"{where}: `{name}` is neither a string nor a list of token ids")
