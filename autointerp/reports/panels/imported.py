"""Where units came from that were not harvested here, and what their files did not say."""

from __future__ import annotations

import pandas as pd

from autointerp.reports.panels import Block, Material, Prose, Table

AFTER = "blinding"
TITLE = "Imported units"


def show(material: Material) -> list[Block]:
    files = [
        (comparison.run, row)
        for comparison in material.comparisons
        for row in comparison.imported.itertuples(index=False)
    ]
    if not files:
        return []
    blocks: list[Block] = [
        Prose(
            "These units and contexts were read from files: no model was run, and what the files "
            "do not say, such as how often a unit fires, is unknown here. Where a file does not "
            "say what explains and what scores, its contexts were dealt out in turn, the strongest "
            "first."
        ),
        Table(
            name="imported",
            caption="Files that the units came from",
            frame=pd.DataFrame(
                [{"run": n, **row._asdict(), "notes": " ".join(row.notes)} for n, row in files]
            ),
            headings=[*(["run"] if material.several_runs else []),
                      "file", "form", "units", "contexts", "sha256"],
            rows=[
                [*([name] if material.several_runs else []),
                 row.file, row.form, f"{row.units:,}", f"{row.contexts:,}", f"{row.sha256[:16]}…"]
                for name, row in files
            ],
        ),
    ]  # fmt: skip
    for name, row in files:
        lead = f"{row.file}" if not material.several_runs else f"{name}, {row.file}"
        blocks.extend(Prose(note, lead=f"{lead}:", tone="warning") for note in row.notes)
    return blocks
