"""A Hugging Face dataset, streamed: `owner/name[:config][@split]`, or a folder of save_to_disk."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from autointerp.errors import CorpusError, install_hint
from autointerp.subjects.corpora._documents import (
    Content,
    Extent,
    Options,
    files_digest,
    files_with,
    token_ids,
)
from autointerp.subjects.hub import no_copy, out_of_reach

NAME = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w.-]+)?)(:(?P<config>[\w.-]+))?(@(?P<split>.+))?")
FILES = {".txt", ".md", ".text", ".jsonl", ".ndjson", ".json", ".gz", ".parquet", ".npy", ".npz"}
USUAL = ("text", "content", "tokens", "input_ids")


def recognises(source: str) -> bool:
    path = Path(source)
    if path.exists():
        saved = ("dataset_info.json", "dataset_dict.json")
        return path.is_dir() and any((path / name).is_file() for name in saved)
    # A lone word is more likely a mistyped file; a dataset of one word takes a config or split.
    is_named = bool(NAME.fullmatch(source)) and bool(re.search(r"[/:@]", source))
    return is_named and path.suffix not in FILES


def digest(source: str) -> str:
    """Return a hash of the saved files, or of the name: a hub's data are taken to stay."""
    if Path(source).exists():
        return files_digest(files_with(Path(source), ".arrow", ".json"))
    return hashlib.sha256(source.encode()).hexdigest()


def extent(source: str, options: Options) -> Extent | None:
    """Return None: a stream does not say how long it is."""
    return None


def read(source: str, options: Options) -> Iterator[Content]:
    """Yield a document a row, in order.

    Raises CorpusError if `datasets` is not installed, there is no such dataset or column, or a
    value is missing, naming its row.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise CorpusError(f"'{source}' needs datasets: {install_hint('datasets')}") from None
    try:
        rows = _opened(datasets, source)
        for number, row in enumerate(rows):
            yield _content(row, f"{source}, row {number}", options.field)
    except (OSError, ValueError, ConnectionError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorpusError(f"cannot read the dataset '{source}': {reason}") from None


def _opened(datasets: Any, source: str) -> Iterable[dict[str, Any]]:
    if Path(source).exists():
        saved = datasets.load_from_disk(str(Path(source).resolve()))
        if hasattr(saved, "keys"):
            raise CorpusError(f"{source} holds the splits {', '.join(saved)}; give one's folder")
        rows: Iterable[dict[str, Any]] = saved
        return rows
    if unreachable := out_of_reach():  # `datasets` would retry for half a minute
        raise CorpusError(no_copy(source, unreachable))
    match = NAME.fullmatch(source)
    assert match is not None
    named, split = (match["name"], match["config"]), match["split"] or "train"
    streamed: Iterable[dict[str, Any]] = datasets.load_dataset(*named, split=split, streaming=True)
    return streamed


def _content(row: dict[str, Any], where: str, field: str) -> Content:
    names = (field,) if field else USUAL
    name = next((name for name in names if name in row), None)
    if name is None:
        raise CorpusError(f"{where}: no column {' or '.join(names)} (columns: {', '.join(row)})")
    value = row[name]
    if isinstance(value, str):
        return value
    if value is None:
        raise CorpusError(f"{where}: `{name}` is null")
    return token_ids(value, where)
