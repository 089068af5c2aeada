"""Import of the records of OpenAI's neuron-explainer: `LAYER/NEURON.json`, a neuron a file.

A record has `neuron_id`, and texts with an activation a token: `most_positive_activation_records`,
`random_sample` and `random_sample_by_quantile`. Explanations are `LAYER/NEURON.jsonl` beside them,
joined by the neuron's layer and number. Source: github.com/openai/automated-interpretability,
`neuron_explainer/activations/activations.py` and `explanations/explanations.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autointerp.errors import ExchangeError
from autointerp.exchange import EACH_SIDE, ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._windows import bounded, checked, is_finite, spelling, window, written

NOTES = (
    "Activations are those that were recorded; negative ones count as silent.",
    "Texts are cut round their strongest token.",
)
RECORDS = "most_positive_activation_records"
LARGEST = 1 << 26  # bytes of a record; those that were published have some 100 kB

Neuron = tuple[int, int]  # layer and number


def recognises(path: Path) -> bool:
    if path.is_dir():
        first = next((file for file in sorted(path.rglob("*.json")) if file.stem.isdecimal()), None)
        return first is not None and recognises(first)
    if not path.is_file() or path.suffix != ".json" or path.stat().st_size > LARGEST:
        return False
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"neuron_id", RECORDS} <= record.keys()


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield a neuron a file, by layer and number; sources are called `neurons-layer-N`.

    Raises ExchangeError if a file is no record, or a text's tokens and activations do not fit.
    """
    files = [path] if path.is_file() else _records(path)
    if not files:
        raise ExchangeError(f"{path} holds no LAYER/NEURON.json of neuron-explainer")
    said = _explanations(path if path.is_dir() else path.parent)
    layers: set[int] = set()
    for file in files:
        record = _json(file, file.read_bytes())
        layer, number = _neuron(record, str(file))
        layers.add(layer)
        if options.source and len(layers) > 1:
            raise ExchangeError(f"--source {options.source}: {path} has layers {sorted(layers)}")
        yield ForeignUnit(
            options.source or f"neurons-layer-{layer}",
            str(number),
            tuple(bounded(_contexts(record, options, str(file)), str(file))),
            note=said.get((layer, number), ""),
        )


def _records(path: Path) -> list[Path]:
    """Return the records in a folder, by layer and number."""
    files = [
        file
        for file in path.rglob("*.json")
        if file.stem.isdecimal() and "explanations" not in file.relative_to(path).parts
    ]

    def place(file: Path) -> tuple[int, int, str]:
        layer = file.parent.name
        return (int(layer) if layer.isdecimal() else -1, int(file.stem), str(file))

    return sorted(files, key=place)


def _json(file: Path, raw: bytes, line: int = 0) -> dict[str, Any]:
    where = f"{file}, line {line}" if line else str(file)
    if len(raw) > LARGEST:
        raise ExchangeError(f"{where}: {len(raw):,} bytes; a record has at most {LARGEST:,}")
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ExchangeError(f"{where}: not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ExchangeError(f"{where}: not a JSON object")
    return record


def _neuron(record: dict[str, Any], where: str) -> Neuron:
    neuron = record.get("neuron_id")
    names = ("layer_index", "neuron_index")
    if not isinstance(neuron, dict) or not all(
        type(neuron.get(name)) is int and neuron[name] >= 0 for name in names
    ):
        raise ExchangeError(f"{where}: neuron_id must have {' and '.join(names)}, whole numbers")
    return int(neuron["layer_index"]), int(neuron["neuron_index"])


def _contexts(
    record: dict[str, Any], options: ImportOptions, where: str
) -> Iterator[ForeignContext]:
    quantiles = record.get("random_sample_by_quantile") or []
    if not isinstance(quantiles, list):
        raise ExchangeError(f"{where}: random_sample_by_quantile must be a list of lists")
    groups = [record.get(RECORDS), record.get("random_sample"), *quantiles]
    texts: list[tuple[list[str], list[float]]] = []
    for group in groups:
        if group is None:
            continue
        if not isinstance(group, list) or not all(isinstance(text, dict) for text in group):
            raise ExchangeError(f"{where}: activation records must be lists of objects")
        for number, text in enumerate(group):
            place = f"{where}, text {number}"
            texts.append(checked(text.get("tokens"), text.get("activations"), place))
    kind = spelling([tokens for tokens, _ in texts])
    each_side = EACH_SIDE if options.each_side is None else options.each_side
    for tokens, activations in texts:
        cut = window(tokens, [max(0.0, float(a)) for a in activations], None, each_side)
        if cut is not None:
            yield replace(cut, tokens=tuple(written(cut.tokens, kind, cut.focus or 0)))


def _explanations(folder: Path) -> dict[Neuron, str]:
    """Return a note on the first explanation of each neuron under `folder` or beside it."""
    said: dict[Neuron, str] = {}
    places = [place / "explanations" for place in (folder, *folder.parents[:2])]
    root = next((place for place in places if place.is_dir()), folder)
    for file in sorted(root.rglob("*.jsonl")):
        if not file.stem.isdecimal():
            continue
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            results = _json(file, line, number)
            scored = results.get("scored_explanations")
            if "neuron_id" not in results or not isinstance(scored, list) or not scored:
                continue
            neuron = _neuron(results, f"{file}, line {number}")
            first = scored[0] if isinstance(scored[0], dict) else {}
            simulated = first.get("scored_simulation")
            score = simulated.get("ev_correlation_score") if isinstance(simulated, dict) else None
            value = f", score {score:.2f}" if is_finite(score) else ""
            if isinstance(first.get("explanation"), str):
                text = first["explanation"].strip()
                said.setdefault(neuron, f"neuron-explainer: '{text}'{value}")
    return said
