"""Plain text: a folder of .txt files, a document each, or one file of several documents.

In one file, documents end at a line `<|endoftext|>`, or, where there is none in the first
megabyte, at blank lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autointerp.errors import CorpusError
from autointerp.subjects.corpora._documents import (
    Content,
    Extent,
    Options,
    bytes_of,
    files_digest,
    files_with,
)

SUFFIXES = (".txt",)
END = "<|endoftext|>"


def recognises(source: str) -> bool:
    return bool(_files(source))


def digest(source: str) -> str:
    return files_digest(_files(source))


def extent(source: str, options: Options) -> Extent | None:
    """Return the bytes of the files."""
    return bytes_of(_files(source))


def read(source: str, options: Options) -> Iterator[Content]:
    """Yield the documents in the order of the file, or of the files' names.

    Raises CorpusError, naming file and line, where the bytes are not UTF-8.
    """
    paths = _files(source)
    if Path(source).is_dir():
        for path in paths:
            yield "".join(_lines(path))
        return
    (path,) = paths
    with path.open("rb") as file:
        has_ends = END.encode() in file.read(1 << 20)
    held: list[str] = []
    for line in _lines(path):
        ends = END in line if has_ends else not line.strip()
        if not ends:
            held.append(line)
            continue
        before, *after = line.split(END) if has_ends else [""]
        for piece in [before, *after[:-1]]:
            yield "".join([*held, piece]).strip("\n")
            held = []
        held = [after[-1]] if after and after[-1].strip() else []
    yield "".join(held).strip("\n")


def _files(source: str) -> list[Path]:
    """Return the .txt files of a folder, or a file that is .txt, .md or without a suffix."""
    path = Path(source)
    if path.is_file():
        return [path] if path.suffix in {*SUFFIXES, ".md", ".text", ""} else []
    return files_with(path, *SUFFIXES)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines, each with the line feed alone at its end that Windows writes two for."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1 and 4 * line.count(b"\0") > len(line):  # Latin letters of two bytes
                raise CorpusError(f"{path}, line 1: UTF-16, not UTF-8; convert the file")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                yield text[:-2] + "\n" if text.endswith("\r\n") else text
            except UnicodeDecodeError:
                raise CorpusError(f"{path}, line {number}: not UTF-8; convert the file") from None
