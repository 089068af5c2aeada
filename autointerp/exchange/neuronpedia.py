"""Import and export of Neuronpedia's layout: `features|activations|explanations/batch-N.jsonl.gz`.

A line of `activations` has `layer` (the source), `index`, `tokens` and `values`; `features` say
how often a unit fires and how strongly, `explanations` what it was taken for.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from autointerp.errors import BadInput, ExchangeError
from autointerp.exchange import EACH_SIDE, ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._files import check_is_file
from autointerp.exchange._windows import (
    bounded,
    checked,
    is_finite,
    spelling,
    strongest,
    strongest_control,
    window,
    written,
)
from autointerp.files import bounded_lines, json_value, partial_file
from autointerp.store.run import Run
from autointerp.text import count, distinct_names

NOTES = (
    "Activations are those that were exported; negative ones count as silent, and so do those of "
    "control tokens such as <bos>, which its density includes.",
    "Texts are cut round the token that each was chosen for, the strongest where none is named.",
)

BATCH = re.compile(r"batch-([0-9]+)\.jsonl(\.gz)?")
LOOKED_AT = 256  # rows that tell how tokens are written
WANTED = ("frac_nonzero", "maxActApprox", "description", "explanationModelName")
UNITS = 1024  # in a batch, as Neuronpedia writes them
ESCAPE = re.compile(r"(\\\\)(?=u0000)|\\.")  # an escape of JSON; the first is a backslash
LONGEST_ROW = 2**24  # characters
MOST_TOKENS = 2**24  # of a batch, which is in memory as a whole; a thousand units have a tenth
KINDS = ("features", "activations", "explanations")

Known = dict[tuple[str, str], dict[str, Any]]


def recognises(path: Path) -> bool:
    if path.is_dir():
        return bool(_batches(path))
    if not path.is_file():
        return False
    try:
        with _open(path) as file:
            row = json_value(file.readline(LONGEST_ROW))
    except (OSError, EOFError, zlib.error, ValueError):
        return False
    return isinstance(row, dict) and {"index", "tokens", "values"} <= row.keys()


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield the units in the order of their first rows; one batch is in memory at a time.

    `path` is the folder of one source, that of a model with several, or one file of activations.
    Raises ExchangeError if a line is not JSON, lacks a field or holds a wrong value.
    """
    files = [path] if path.is_file() else _batches(path)
    if not files:
        raise ExchangeError(f"{path} holds no activations/batch-N.jsonl.gz")
    seen: set[tuple[str, str]] = set()
    sources: set[str] = set()
    spellings: dict[str, str] = {}
    beside: dict[Path, tuple[Known, Known]] = {}
    for file in files:
        units: dict[tuple[str, str], list[_Row]] = {}
        size = 0
        rows = _rows(file)
        first = list(itertools.islice(rows, LOOKED_AT))
        _spell(first, spellings)
        for number, row in itertools.chain(first, rows):
            where = f"{file}, line {number}"
            key = _key(row, where)
            sources.add(key[0])
            if options.source and len(sources) > 1:
                raise ExchangeError(
                    f"--source {options.source}: {path} has {' and '.join(sorted(sources))}"
                )
            kind = spellings.get(key[0], "")
            made = _context(row, options, kind, where)
            size += len(made.context.tokens) if made.context is not None else 0
            if size > MOST_TOKENS:
                raise ExchangeError(
                    f"{where}: the batch has over {MOST_TOKENS:,} tokens; cut the texts by "
                    "--each-side, or the file in parts"
                )
            units.setdefault(key, []).append(made)
        again = seen & units.keys()
        if again:
            raise ExchangeError(f"{file}: unit {'/'.join(min(again))} was in an earlier batch")
        seen.update(units)
        folder = file.parent.parent
        if folder not in beside:
            beside = {folder: (_beside(file, "features"), _beside(file, "explanations"))}
        facts, said = beside[folder]
        for key, contexts in units.items():
            yield _unit(key, contexts, facts.get(key, {}), said.get(key, {}), options)
    if not seen:
        raise ExchangeError(f"{path} has no activations")


def _spell(rows: Sequence[tuple[int, dict[str, Any]]], spellings: dict[str, str]) -> None:
    """Note how the tokens of each source are written that is new in `rows`."""
    by_source: dict[str, list[list[str]]] = {}
    for _, row in rows:
        tokens, layer = row.get("tokens"), row.get("layer")
        if isinstance(tokens, list) and isinstance(layer, str) and layer not in spellings:
            by_source.setdefault(layer, []).append([t for t in tokens if isinstance(t, str)])
    for layer, lists in by_source.items():
        spellings[layer] = spelling(lists)


def _batches(path: Path) -> list[Path]:
    kind = "activations"
    if path.name == kind:
        return _in_order(path.iterdir())
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    return [
        file
        for folder in folders
        if (folder / kind).is_dir()
        for file in _in_order((folder / kind).iterdir())
    ]


def _in_order(files: Iterable[Path]) -> list[Path]:
    """Return the batches among files of a folder, by number."""
    batches = [(BATCH.fullmatch(file.name), file) for file in files]
    return [file for _, file in sorted((int(name[1]), file) for name, file in batches if name)]


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    mark = "utf-8-sig"  # as editors of Windows begin a text
    return gzip.open(path, "rt", encoding=mark) if zipped else path.open(encoding=mark)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the content of each line."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(bounded_lines(file, path.stat().st_size, LONGEST_ROW), 1):
                if not line.strip():
                    continue
                row = json_value(line, unique=True)
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
    if not isinstance(index, str) or not re.fullmatch(r"[0-9]{1,18}", index):
        raise ExchangeError(f"{where}: index {repr(index)[:60]}; it must be a whole number")
    return layer, index


@dataclass(frozen=True)
class _Row:
    """A row of activations as a context; `control` is the strongest firing on a control token."""

    context: ForeignContext | None
    control: float


def _context(row: dict[str, Any], options: ImportOptions, kind: str, where: str) -> _Row:
    lacking = [name for name in ("tokens", "values") if name not in row]
    if lacking:
        raise ExchangeError(f"{where}: no {' and no '.join(lacking)}")
    tokens, values = checked(row["tokens"], row["values"], where)
    values = [max(0.0, float(value)) for value in values]
    focus = row.get("qualifyingTokenIndex")
    if focus is not None and (type(focus) is not int or not 0 <= focus < len(tokens)):
        raise ExchangeError(
            f"{where}: qualifyingTokenIndex {focus!r} of {count(len(tokens), 'token')}"
        )
    each_side = EACH_SIDE if options.each_side is None else options.each_side
    cut = window(tokens, values, focus, each_side)
    if cut is not None:
        cut = replace(cut, tokens=tuple(written(cut.tokens, kind, cut.focus or 0)))
    return _Row(cut, strongest_control(tokens, values))


def _beside(file: Path, kind: str) -> Known:
    """Return what the batches of another kind say of each unit, joined by layer and index.

    Their numbers are not those of the batches of activations: the exporter sorts features and
    explanations as text, and fills files by count.
    """
    known: Known = {}
    if file.parent.name != "activations":
        return known
    folder = file.parent.parent / kind
    for path in _in_order(folder.iterdir()) if folder.is_dir() else []:
        for line, row in _rows(path):
            key = _key(row, f"{path}, line {line}")
            known.setdefault(key, {name: row[name] for name in WANTED if name in row})
    return known


def _unit(
    key: tuple[str, str],
    rows: list[_Row],
    facts: dict[str, Any],
    said: dict[str, Any],
    options: ImportOptions,
) -> ForeignUnit:
    # 0 is what the exporter writes where it does not know.
    density, peak = (facts.get(name) or 0 for name in ("frac_nonzero", "maxActApprox"))
    if not is_finite(density) or density > 1 or not is_finite(peak):
        raise ExchangeError(
            f"unit {'/'.join(key)}: frac_nonzero is {str(density)[:60]} and maxActApprox "
            f"{str(peak)[:60]}; they must be a share and a number"
        )
    description = said.get("description")
    author = said.get("explanationModelName") or "unknown author"
    contexts = tuple(
        bounded((row.context for row in rows if row.context is not None), f"unit {'/'.join(key)}")
    )
    control = max(row.control for row in rows)
    strongest_text = max((max(c.activations) for c in contexts), default=0.0)
    is_control = control >= strongest_text  # so is the peak that the file gives
    return ForeignUnit(
        options.source or key[0],
        key[1],
        contexts,
        density=float(density) if density > 0 else None,
        peak=float(peak) if peak > 0 and not is_control else None,
        note=f"Neuronpedia: '{description}' ({author})" if description else "",
    )


# -------------------------------------------------------------------------------------- export


# The user that Neuronpedia's own seed makes: in an instance of one's own it is always there.
ACCOUNT = "clkht01d40000jv08hvalcvly"
AUTHOR = "autointerp"


def write(run: Run, folder: Path) -> int:
    """Write the run's units, contexts and the descriptions raters gave; return the contexts.

    One folder a source, as Neuronpedia's importer reads them: `folder/SOURCE/` with release, model,
    sourceset and source.jsonl and `{features,activations,explanations}/batch-N.jsonl.gz`, and
    `folder/config/` with what kinds of explanation there are. The negative half of a signed unit
    is in the source `SOURCE-negative`. Raises StorageError if a file cannot be written, BadInput
    if `folder` is a file, or holds another run's.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"-o {folder} is not a folder; name a new one")
    for other in folder.glob("*/release.jsonl"):
        if f'"{_release(run)}"' not in other.read_text("utf-8", errors="replace"):
            raise BadInput(
                f"-o {folder} holds another run's {other.parent.name}; name a new folder"
            )
    written = 0
    layers = _layers(run)
    folders = _folder_names(layers.values())
    by_batch: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for unit_id, source, sign, *rest in run.rows(
        "SELECT unit_id, source, sign, idx, density, peak FROM unit WHERE outcome = 'eligible'"
        " ORDER BY source, sign DESC, idx"
    ):
        layer = layers[source, sign]
        by_batch.setdefault((layer, rest[0] // UNITS), []).append((unit_id, layer, *rest))
    for layer, name in folders.items():
        for file, rows in _about(run, layer).items():
            _write_lines(rows, folder / name / file)
    for (layer, number), batch in by_batch.items():
        written += _write_batch(run, batch, folder / folders[layer], f"batch-{number}.jsonl.gz")
    for file, rows in _config(run).items():
        if rows:
            _write_lines(rows, folder / "config" / file)
    return written


def _folder_names(layers: Collection[str]) -> dict[str, str]:
    """Return a folder's name for each source, none of them that of `config`."""
    cleaned = {
        layer: re.sub(r"[^\w.-]+", "_", layer, flags=re.ASCII).strip(".") or "_" for layer in layers
    }
    return distinct_names(
        {layer: f"{name}_" if name.lower() == "config" else name for layer, name in cleaned.items()}
    )


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


def model_id(run: Run) -> str:
    """Return the model's name as Neuronpedia allows one: letters, digits, `-` and `_`."""
    last = run.settings.subject.model.rstrip("/").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9_-]+", "-", last).strip("-")[:128] or "model"


def _release(run: Run) -> str:
    return f"autointerp-{run.name}"


def _about(run: Run, layer: str) -> dict[str, list[dict[str, Any]]]:
    """Return what stands beside a source's batches, with all columns that have no default."""
    model, release = model_id(run), _release(run)
    described = f"Units of autointerp's run '{run.name}', source '{layer}'"
    by = {"creatorId": ACCOUNT, "visibility": "PUBLIC"}
    return {
        "release.jsonl": [
            {
                "name": release, "description": f"autointerp run {run.name}",
                "descriptionShort": run.name, "urls": [], "creatorName": AUTHOR,
                "creatorNameShort": AUTHOR, **by,
            }
        ],
        "model.jsonl": [
            {
                "id": model, "displayNameShort": model, "displayName": model,
                "layers": 0, "neuronsPerLayer": 0, "owner": "", "instruct": False,
                "inferenceEnabled": False, **by,
            }
        ],
        "sourceset.jsonl": [
            {
                "modelId": model, "name": layer, "description": described, "type": "",
                "creatorName": AUTHOR, "urls": [], "releaseName": release, "hasDashboards": True,
                **by,
            }
        ],
        "source.jsonl": [
            {
                "id": layer, "modelId": model, "setName": layer, "hasDashboards": True,
                "inferenceEnabled": False, "dataset": run.settings.subject.corpus or None,
                "notes": f"read at {run.settings.subject.site}", **by,
            }
        ],
    }  # fmt: skip


def _config(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Return the kinds of explanation and their models, to which the explanations refer."""
    rows = run.rows(
        "SELECT DISTINCT rubric, rater FROM unit_rating"
        " WHERE description IS NOT NULL AND status = 'ok' ORDER BY ALL"
    )
    rubrics, raters = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    return {
        "explanation_type.jsonl": [
            {
                "name": name, "displayName": name, "description": f"autointerp's rubric {name}",
                "creatorName": AUTHOR, "creatorId": ACCOUNT,
            }
            for name in rubrics
        ],
        "explanation_model_type.jsonl": [
            {
                "name": name, "displayName": name, "description": f"rater {name} of autointerp",
                "creatorName": AUTHOR,
            }
            for name in raters
        ],
    }  # fmt: skip


def _write_batch(run: Run, batch: list[tuple[Any, ...]], folder: Path, name: str) -> int:
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
    # Ids are keys of one table for all runs of all people, and a key that is taken is passed over.
    about = run.about["run"]
    own = hashlib.sha256(f"{about['made']}/{about['settings_digest']}".encode()).hexdigest()[:12]
    for unit_id, layer, index, density, peak in batch:
        named = {"modelId": model_id(run), "layer": layer, "index": str(index)}
        lines["features"].append(
            {
                **named,
                "creatorId": ACCOUNT,
                "sourceSetName": layer,
                "maxActApprox": peak,
                "frac_nonzero": density or 0,
            }
        )
        for number, context in contexts[unit_id].items():
            values = context.activations
            lines["activations"].append(
                {
                    "id": f"{run.name}-{own}-{number}",
                    **named,
                    "creatorId": ACCOUNT,
                    "dataSource": f"autointerp run {run.name}, {context.draw}",
                    "dataIndex": None,
                    "tokens": list(context.tokens),
                    "values": list(values),
                    "maxValue": max(values),
                    "minValue": min(values),
                    "maxValueTokenIndex": strongest(values),
                    "qualifyingTokenIndex": context.focus,
                    "dfaValues": [],
                    "dfaMaxValue": None,
                    "dfaTargetIndex": None,
                    "lossValues": [],
                    "logitContributions": None,
                    "binMin": None,
                    "binMax": None,
                    "binContains": None,
                }
            )
        for item, repeat, rubric, rater, description in descriptions.get(unit_id, []):
            lines["explanations"].append(
                {
                    "id": f"{item}-{own}-{rater}-{repeat}",
                    **named,
                    "authorId": ACCOUNT,
                    "description": description,
                    "typeName": rubric,
                    "explanationModelName": rater,
                }
            )
    for kind, rows in lines.items():
        if rows:
            _write_lines(rows, folder / kind / name)
    return len(lines["activations"])


def _line(row: dict[str, Any]) -> str:
    r"""Return a row as a line of JSON that Neuronpedia's importer does not break.

    It replaces `\u0000`, which PostgreSQL does not store, wherever those six characters stand: in a
    text that has them, and is `\\u0000` in JSON, it would leave half of an escape.
    """
    line = json.dumps(row, ensure_ascii=False)
    if r"\\u0000" not in line:
        return line
    return ESCAPE.sub(lambda found: r"\u005c" if found[1] else found[0], line)


def _write_lines(rows: list[dict[str, Any]], file: Path) -> None:
    check_is_file(file)
    lines = b"".join(_line(row).encode() + b"\n" for row in rows)
    with partial_file(file) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".gz":
            partial.write_bytes(lines)
            return
        # No name and no time in the header: the same run gives the same bytes.
        with partial.open("wb") as raw, gzip.GzipFile("", "wb", 5, raw, mtime=0) as zipped:
            zipped.write(lines)
