"""Import and export of Neuronpedia's layout: `features|activations|explanations/batch-N.jsonl.gz`.

A line of `activations` has `layer` (the source), `index`, `tokens` and `values`; `features` say
how often a unit fires and how strongly, `explanations` what it was taken for.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from autointerp.errors import BadInput, ExchangeError
from autointerp.exchange import EACH_SIDE, ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._files import check_is_file
from autointerp.exchange._windows import checked, strongest, window
from autointerp.files import bounded_lines, json_value, partial_file
from autointerp.store.run import Run
from autointerp.text import distinct_names

NOTES = (
    "Activations are those that were exported; negative ones count as silent.",
    "Texts are cut round the token that each was chosen for, the strongest where none is named.",
)

BATCH = re.compile(r"batch-(\d+)\.jsonl(\.gz)?")
SUFFIXES = (".jsonl", ".jsonl.gz")
UNITS = 1024  # in a batch, as Neuronpedia writes them
KINDS = ("features", "activations", "explanations")

Known = dict[tuple[str, str], dict[str, Any]]


def recognises(path: Path) -> bool:
    if path.is_dir():
        return bool(_batches(path, "activations"))
    if not path.is_file():
        return False
    try:
        with _open(path) as file:
            row = json_value(file.readline(1 << 24))
    except (OSError, EOFError, zlib.error, ValueError):
        return False
    return isinstance(row, dict) and {"index", "tokens", "values"} <= row.keys()


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield the units in the order of their first rows; one batch is in memory at a time.

    `path` is the folder of one source, that of a model with several, or one file of activations.
    Raises ExchangeError if a line is not JSON, lacks a field or holds a wrong value.
    """
    files = [path] if path.is_file() else _batches(path, "activations")
    if not files:
        raise ExchangeError(f"{path} holds no activations/batch-N.jsonl.gz")
    seen: set[tuple[str, str]] = set()
    sources: set[str] = set()
    for file in files:
        units: dict[tuple[str, str], list[ForeignContext]] = {}
        for number, row in _rows(file):
            where = f"{file}, line {number}"
            key = _key(row, where)
            sources.add(key[0])
            if options.source and len(sources) > 1:
                raise ExchangeError(
                    f"--source {options.source}: {path} has {' and '.join(sorted(sources))}"
                )
            units.setdefault(key, []).append(_context(row, options, where))
        again = seen & units.keys()
        if again:
            raise ExchangeError(f"{file}: unit {'/'.join(min(again))} was in an earlier batch")
        seen.update(units)
        facts = _beside(file, "features")
        said = _beside(file, "explanations")
        for key, contexts in units.items():
            yield _unit(key, contexts, facts.get(key, {}), said.get(key, {}), options)
    if not seen:
        raise ExchangeError(f"{path} has no activations")


def _batches(path: Path, kind: str) -> list[Path]:
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    if path.name == kind:
        files = list(path.iterdir())
    else:
        files = [file for folder in folders for file in folder.glob(f"{kind}/batch-*")]
    batches = [(BATCH.fullmatch(file.name), file) for file in files]
    placed = [(str(file.parent), int(name[1]), file) for name, file in batches if name]
    return [file for _, _, file in sorted(placed)]


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if zipped else path.open(encoding="utf-8")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the content of each line."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(bounded_lines(file), 1):
                if not line.strip():
                    continue
                row = json_value(line)
                if not isinstance(row, dict):
                    raise ExchangeError(f"{path}, line {number}: not a JSON object")
                yield number, row
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ExchangeError(f"{path}, after line {number}: cannot be read ({error})") from None
    except ValueError as error:
        raise ExchangeError(f"{path}, line {number}: not JSON lines ({error})") from None


def _key(row: dict[str, Any], where: str) -> tuple[str, str]:
    """Return layer and index, which say what unit a row is about."""
    layer, index = row.get("layer"), row.get("index")
    if not isinstance(layer, str) or not layer:
        raise ExchangeError(f"{where}: layer {layer!r}; it must be a text")
    if type(index) is int:
        index = str(index)
    if not isinstance(index, str) or not re.fullmatch(r"\d+", index):
        raise ExchangeError(f"{where}: index {index!r}; it must be a whole number")
    return layer, index


def _context(row: dict[str, Any], options: ImportOptions, where: str) -> ForeignContext:
    lacking = [name for name in ("tokens", "values") if name not in row]
    if lacking:
        raise ExchangeError(f"{where}: no {' and no '.join(lacking)}")
    tokens, values = checked(row["tokens"], row["values"], where)
    values = [max(0.0, float(value)) for value in values]
    focus = row.get("qualifyingTokenIndex")
    if focus is None:
        focus = strongest(values)
    elif type(focus) is not int or not 0 <= focus < len(tokens):
        raise ExchangeError(f"{where}: qualifyingTokenIndex {focus!r} of {len(tokens)} tokens")
    each_side = EACH_SIDE if options.each_side is None else options.each_side
    return window([token.replace("▁", " ") for token in tokens], values, focus, each_side)


def _beside(file: Path, kind: str) -> Known:
    """Return the first row about each unit in the batch of another kind, where there is one."""
    first_rows: Known = {}
    if file.parent.name != "activations":
        return first_rows
    number = BATCH.fullmatch(file.name)
    for suffix in SUFFIXES:
        path = file.parent.parent / kind / f"batch-{number[1] if number else 0}{suffix}"
        if path.exists():
            for line, row in _rows(path):
                first_rows.setdefault(_key(row, f"{path}, line {line}"), row)
    return first_rows


def _unit(
    key: tuple[str, str],
    contexts: list[ForeignContext],
    facts: dict[str, Any],
    said: dict[str, Any],
    options: ImportOptions,
) -> ForeignUnit:
    density, peak = facts.get("frac_nonzero"), facts.get("maxActApprox")
    description = said.get("description")
    author = said.get("explanationModelName") or "unknown author"
    return ForeignUnit(
        options.source or key[0],
        key[1],
        tuple(contexts),
        # 0 is what the exporter writes where it does not know.
        density=float(density) if isinstance(density, (int, float)) and density > 0 else None,
        peak=float(peak) if isinstance(peak, (int, float)) and peak > 0 else None,
        note=f"Neuronpedia: '{description}' ({author})" if description else "",
    )


# -------------------------------------------------------------------------------------- export


def write(run: Run, folder: Path) -> int:
    """Write the run's units, contexts and the descriptions raters gave; return the contexts.

    One folder a source: `folder/SOURCE/{features,activations,explanations}/batch-N.jsonl.gz`.
    The negative half of a signed unit is in the source `SOURCE-negative`. Raises StorageError if
    a file cannot be written, BadInput if `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"-o {folder} is not a folder; name a new one")
    model = run.settings.subject.model
    written = 0
    layers = _layers(run)
    folders = distinct_names(
        {layer: re.sub(r"[^\w.-]+", "_", layer).strip(".") or "_" for layer in layers.values()}
    )
    by_batch: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for unit_id, source, sign, *rest in run.rows(
        "SELECT unit_id, source, sign, idx, density, peak FROM unit WHERE outcome = 'eligible'"
        " ORDER BY source, sign DESC, idx"
    ):
        layer = layers[source, sign]
        by_batch.setdefault((layer, rest[0] // UNITS), []).append((unit_id, layer, *rest))
    for (layer, number), batch in by_batch.items():
        name = f"batch-{number}.jsonl.gz"
        written += _write_batch(run, model, batch, folder / folders[layer], name)
    return written


def _layers(run: Run) -> dict[tuple[str, int], str]:
    """Return what each source is called in the files, and its negative half; all are distinct."""
    halves = run.rows(
        "SELECT DISTINCT source, sign FROM unit WHERE outcome = 'eligible'"
        " ORDER BY sign DESC, source"
    )
    layers: dict[tuple[str, int], str] = {}
    for source, sign in halves:
        layer = source if sign > 0 else f"{source}-negative"
        while layer in layers.values():  # a source may be called so
            layer += "-half"
        layers[source, sign] = layer
    return layers


def _write_batch(
    run: Run, model: str, batch: list[tuple[Any, ...]], folder: Path, name: str
) -> int:
    unit_ids = [unit[0] for unit in batch]
    contexts = run.contexts(unit_ids)
    descriptions: dict[int, list[tuple[Any, ...]]] = {}
    for unit_id, item, repeat, rubric, rater, description in run.rows(
        "SELECT unit_id, item_id, repeat, rubric, rater, description FROM unit_rating"
        " WHERE description IS NOT NULL AND status = 'ok'"
        " AND unit_id IN (SELECT unnest(?::INTEGER[]))"
        " ORDER BY unit_id, rater, rubric, repeat",
        [unit_ids],
    ):
        descriptions.setdefault(unit_id, []).append((item, repeat, rubric, rater, description))
    lines: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for unit_id, layer, index, density, peak in batch:
        named = {"modelId": model, "layer": layer, "index": str(index)}
        lines["features"].append(
            {**named, "sourceSetName": layer, "maxActApprox": peak, "frac_nonzero": density or 0}
        )
        for number, context in contexts[unit_id].items():
            values = context.activations
            lines["activations"].append(
                {
                    "id": f"{run.name}-{number}",
                    **named,
                    "dataSource": f"autointerp run {run.name}, {context.draw}",
                    "tokens": list(context.tokens),
                    "values": list(values),
                    "maxValue": max(values),
                    "minValue": min(values),
                    "maxValueTokenIndex": strongest(values),
                    "qualifyingTokenIndex": context.focus,
                    "dfaValues": [],
                    "dfaMaxValue": None,
                    "dfaTargetIndex": None,
                    "binMin": None,
                    "binMax": None,
                    "binContains": None,
                }
            )
        for item, repeat, rubric, rater, description in descriptions.get(unit_id, []):
            lines["explanations"].append(
                {
                    "id": f"{item}-{rater}-{repeat}",
                    **named,
                    "description": description,
                    "typeName": rubric,
                    "explanationModelName": rater,
                }
            )
    for kind, rows in lines.items():
        if rows:
            _write_lines(rows, folder / kind / name)
    return len(lines["activations"])


def _write_lines(rows: list[dict[str, Any]], file: Path) -> None:
    check_is_file(file)
    with partial_file(file) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        # No name and no time in the header: the same run gives the same bytes.
        with partial.open("wb") as raw, gzip.GzipFile("", "wb", 5, raw, mtime=0) as zipped:
            for row in rows:
                zipped.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
