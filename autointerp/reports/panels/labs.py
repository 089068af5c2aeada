"""What labs measured of units: the first rows of each, and what its columns hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from autointerp.findings.labs import LabRows
from autointerp.reports.panels import Block, Heading, Material, Prose, Table

AFTER = "rater-check"
TITLE = "Labs"
ROWS = 20  # on the page; the table that is saved has all
WIDTH = 120  # characters of a cell on the page


def show(material: Material) -> list[Block]:
    by_lab: dict[str, list[tuple[str, LabRows]]] = {}
    for comparison in material.comparisons:
        for measured in comparison.labs:
            by_lab.setdefault(measured.lab, []).append((comparison.run, measured))
    blocks: list[Block] = []
    for lab in sorted(by_lab):
        blocks += _blocks(lab, by_lab[lab], material.several_runs)
    if not blocks:
        return []
    intro = "Measurements with the model that the run was harvested from, by `autointerp lab`."
    return [Prose(intro), *blocks]


def _blocks(lab: str, runs: Sequence[tuple[str, LabRows]], several: bool) -> list[Block]:
    columns = {name: text for _, one in runs for name, text in one.columns.items()}
    title = next((one.title for _, one in runs if one.title), "This version has no such lab.")
    frame = pd.concat([one.rows.assign(run=run) for run, one in runs], ignore_index=True)
    frame = frame[["run", "unit_id", "unit", "source", *columns]]
    shown = [*(["run"] if several else []), "unit", *columns]
    first = frame.head(ROWS)
    return [
        Heading(lab),
        Prose(title),
        *(Prose(text, lead=f"{name}:") for name, text in columns.items() if text),
        Table(
            name=f"lab_{lab.replace('-', '_')}",
            caption=f"{lab}: the first {len(first):,} of {len(frame):,} rows",
            frame=frame.map(_flat).infer_objects(),
            headings=shown,
            rows=[[_cell(value) for value in row] for row in first[shown].to_numpy().tolist()],
        ),
    ]


def _flat(value: Any) -> Any:
    """Return a value that a column of a table can hold: lists and objects as JSON text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _cell(value: Any) -> str:
    if value is None or value != value:  # no value, or a column that another run lacks
        return "–"
    flat = _flat(value)
    text = f"{flat:.4g}" if isinstance(flat, float) else str(flat)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
