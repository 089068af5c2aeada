"""Import of SAEBench's autointerp results: `*_eval_results.json`, a latent an entry.

`eval_result_unstructured` has for each latent its explanation, score and a log. The log's first
table lists the texts that the explainer saw, firing tokens between << and >>, with the largest
activation of each; the second lists those that were scored, unmarked. Source:
github.com/adamkarvonen/SAEBench, `sae_bench/evals/autointerp/main.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._windows import bounded, is_finite
from autointerp.exchange.features_md import WORDS
from autointerp.files import json_value
from autointerp.text import is_control_token

NOTES = (
    "The file gives the largest activation of each text; it stands for all of its marked tokens. "
    "The tokens beside them are words and punctuation marks, not the model's tokens.",
    "Its random texts were not run by the model: that the latent is silent in them is assumed.",
)
LARGEST = 1 << 27  # bytes; in memory it takes three times as many
ROW = re.compile(r"│\s*(-?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|nan|inf))?\s*│(.*)│\s*")
MARKED = re.compile(r"<<(.*?)>>(?!>)", re.DOTALL)


def recognises(path: Path) -> bool:
    if path.is_dir():
        first = next(iter(sorted(path.rglob("*_eval_results.json"))), None)
        return first is not None and recognises(first)
    if not path.is_file() or path.suffix != ".json":
        return False
    with path.open("rb") as file:
        return re.search(rb'"eval_type_id"\s*:\s*"autointerp"', file.read(1 << 16)) is not None


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield the latents in the order of the file; sources are called RELEASE/ID, as SAEs are.

    Raises ExchangeError if the file holds no logs, or an entry is not of the form.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*_eval_results.json"))
    if options.source and len(files) > 1:
        raise ExchangeError(f"--source {options.source}: {path} has {len(files)} SAEs")
    for file in files:
        yield from _units(file, options)


def _units(file: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    if file.stat().st_size > LARGEST:
        raise ExchangeError(f"{file} is larger than {LARGEST >> 20} MB; results never are")
    try:
        results = json_value(file.read_bytes(), unique=True)
    except ValueError as error:
        raise ExchangeError(f"{file}: not JSON ({error})") from None
    if not isinstance(results, dict) or results.get("eval_type_id") != "autointerp":
        raise ExchangeError(f"{file}: not an autointerp result of SAEBench")
    latents = results.get("eval_result_unstructured")
    if not isinstance(latents, dict) or not latents:
        raise ExchangeError(
            f"{file} has no eval_result_unstructured, so neither texts nor descriptions; results "
            "that SAEBench writes itself have it"
        )
    # An id alone is that of an SAE in every release, and "custom_sae" of all that have none.
    names = [results.get(f"sae_lens_{part}") for part in ("release_id", "id")]
    source = options.source or "/".join(str(name) for name in names if name) or "features"
    for name, entry in latents.items():
        where = f"{file}, latent {name}"
        if not re.fullmatch(r"[0-9]{1,18}", name) or not isinstance(entry, dict):
            raise ExchangeError(f"{where}: not a number with an object")
        contexts = tuple(bounded(_contexts(entry, options, where), where))
        yield ForeignUnit(source, name, contexts, note=_note(entry))


def _note(entry: dict[str, Any]) -> str:
    text, score = entry.get("explanation"), entry.get("score")
    if not isinstance(text, str) or not text:
        return ""
    value = f", score {score:.2f}" if is_finite(score) else ""
    return f"SAEBench: '{text}'{value}"


def _contexts(
    entry: dict[str, Any], options: ImportOptions, where: str
) -> Iterator[ForeignContext]:
    logs = entry.get("logs")
    if not isinstance(logs, str):
        raise ExchangeError(f"{where}: no logs, which hold the texts")
    explained, _, scored = logs.replace("\r\n", "\n").partition("\nScoring phase\n")
    shown = list(_rows(explained, marks=0))
    if not shown:
        raise ExchangeError(
            f"{where}: its logs hold no table of texts as SAEBench prints it; import results as "
            "SAEBench wrote them"
        )
    for strength, _, text in shown:
        if not is_finite(strength):
            raise ExchangeError(f"{where}: a text's largest activation is {strength}")
        context = _firing(text, strength, options.each_side)
        if context is not None:
            yield context
    for strength, (is_active, _), text in _rows(scored, marks=2):
        if not is_active.strip() and strength == 0:
            tokens = WORDS.findall(text)
            if tokens:
                middle = len(tokens) // 2
                yield _cut(tokens, [0.0] * len(tokens), middle, options.each_side)


def _rows(log: str, marks: int) -> Iterator[tuple[float, list[str], str]]:
    """Yield the number that a row begins with, its next `marks` cells, and its text.

    The table breaks a text at carriage returns; lines after the first have no number.
    """
    rows: list[tuple[float, list[str], list[str]]] = []
    is_inside = False
    for line in log.split("\n"):  # texts hold what `splitlines` would cut at
        row = ROW.fullmatch(line)
        cells = row[2].split("│", marks) if row is not None else []
        if row is None or len(cells) <= marks:
            is_inside = False
            continue
        if row[1] is not None:
            rows.append((float(row[1]), cells[:marks], []))
            is_inside = True
        if is_inside:
            rows[-1][2].append(cells[marks][1:].rstrip())
    for number, before, lines in rows:
        yield number, before, "\r".join(lines).strip().replace("↵", "\n")


def _firing(text: str, strength: float, each_side: int | None) -> ForeignContext | None:
    """Return a text with its marked tokens; None where none of them is text."""
    tokens: list[str] = []
    activations: list[float] = []
    at = 0
    marks = []
    for mark in MARKED.finditer(text):
        before = WORDS.findall(text[at : mark.start()])
        tokens += before
        activations += [0.0] * len(before)
        if mark[1] and not is_control_token(mark[1].strip()):
            marks.append(len(tokens))
            tokens.append(mark[1])
            activations.append(strength)
        at = mark.end()
    after = WORDS.findall(text[at:])
    tokens += after
    activations += [0.0] * len(after)
    if not marks or strength <= 0:
        return None
    # The token that a text was chosen for stands in the middle of it.
    focus = min(marks, key=lambda place: abs(2 * place - len(tokens)))
    return _cut(tokens, activations, focus, each_side)


def _cut(
    tokens: list[str], activations: list[float], focus: int, each_side: int | None
) -> ForeignContext:
    first = 0 if each_side is None else max(0, focus - each_side)
    last = len(tokens) if each_side is None else focus + each_side + 1
    return ForeignContext(tuple(tokens[first:last]), tuple(activations[first:last]), focus - first)
