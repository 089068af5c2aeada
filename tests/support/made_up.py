"""A run of units that fire on one word each, with contexts of every kind, and no subject."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autointerp.records import Context, HarvestedUnit, Unit, UnitSummary
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run
from autointerp.units.sources import kind_of

WORDS = [" the", " of", " river", " stone", ",", ".", " saw", " old", " 12", " ran", "ing", "\n"]
UNITS = {"features": 4, "neurons": 4, "planted": 2}


def one_context(
    rng: np.random.Generator, number: int, word: str, kind: str, split: str, length: int = 21
) -> Context:
    tokens = [str(token) for token in rng.choice(WORDS, length)]
    levels = [0.0] * length
    focus = length // 2
    if kind != "random":
        tokens[focus] = word
        levels[focus] = 8.0 - number / 16 if kind == "top" else (number % 10 + 0.5) * 0.8
        levels[focus + 2] = levels[focus] / 2
    return Context(
        tokens=tuple(tokens),
        activations=tuple(levels),
        focus=focus,
        draw=kind,  # type: ignore[arg-type]
        interval=None if kind == "random" else 10 if kind == "top" else number % 10 + 1,
        split=split,  # type: ignore[arg-type]
        silent=kind == "random",
        document=number + (1_000 if split == "score" else 0),
        position=focus,
    )


def made_up_run(folder: Path) -> Run:
    """Return a run of units that fire on one word each, with contexts of every kind."""
    rng = np.random.default_rng(5)
    run = open_run("golden", RunSettings(seed=3), None, folder)
    harvested, number = [], 0
    for source, n in UNITS.items():
        for order in range(n):
            contexts = []
            for split in ("explain", "score"):
                for kind, count in (("top", 12), ("interval", 40), ("random", 30)):
                    for _ in range(count):
                        contexts.append(one_context(rng, number, f" w{source}{order}", kind, split))
                        number += 1
            summary = UnitSummary(
                Unit(source, order), 0.01, 1_000_000, 8.0, order, "eligible", (100.0,) * 10
            )
            harvested.append(HarvestedUnit(summary, contexts))
    sizes = {source: (100, kind_of(source)) for source in UNITS}
    run.add_harvest(sizes, harvested)
    pairs = run.rows(  # each word stands in its own unit's contexts alone
        "SELECT c.context_id, u.unit_id, c.unit_id <> u.unit_id FROM context c JOIN unit o"
        " ON o.unit_id = c.unit_id JOIN unit u ON u.source = o.source WHERE c.split = 'score'"
        " AND c.draw = 'interval' QUALIFY row_number() OVER"
        " (PARTITION BY c.unit_id, u.unit_id ORDER BY c.context_id) <= 12"
    )
    for lab in ("promoted-tokens", "clamped-texts"):  # what a subject would have to measure
        for source in UNITS:
            for unit in run.units(source):
                word = f"w{source}{unit.summary.unit.index}"
                run.replace_lab_rows(lab, [unit.unit_id], _lab_rows(lab, unit.unit_id, word))
    names = ("context_id", "unit_id", "silent")
    run.insert("silence", [dict(zip(names, pair, strict=True)) for pair in pairs])
    return run


def _lab_rows(lab: str, unit_id: int, word: str) -> list[dict[str, object]]:
    """Return a unit's rows of a lab that scorers choose from; its word is in its own alone."""
    if lab == "promoted-tokens":
        promoted = [f" {word}{'x' * n}" for n in range(50)]
        drawn = [f"{other}{n}" for n in range(5) for other in WORDS[:10]]
        return [{"unit_id": unit_id, "promoted": promoted, "random": drawn, "outcome": "ok"}]
    return [
        {
            "unit_id": unit_id, "prompt": f"It was {n}", "clamped": name, "value": 4.0,
            "norm": 1.0, "tokens": [own, f" {n}", *WORDS[n % 5 : n % 5 + 4]], "perplexity": 9.0,
            "outcome": "ok",
        }
        for name, own in (("unit", f" {word}"), ("random direction", " old"))
        for n in range(12)
    ]  # fmt: skip
