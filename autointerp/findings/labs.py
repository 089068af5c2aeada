"""What labs measured of a run's units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from autointerp.labs import described_lab
from autointerp.store.run import Run

UNIT_COLUMNS = ("unit_id", "unit", "source")


@dataclass(frozen=True)
class LabRows:
    """The rows of one lab.

    Attributes:
        title: What the lab measures, in its own words; empty if this version has no such lab.
        columns: What each of its columns holds, by name; columns that the lab no longer describes
            have an empty text.
        rows: unit_id, unit (`features/123`), source, and the columns, as JSON values.
    """

    lab: str
    title: str
    columns: Mapping[str, str]
    rows: pd.DataFrame


def lab_rows_of(run: Run) -> Iterator[LabRows]:
    """Yield the rows of each lab that has measured units of the run, by name."""
    for name in run.lab_names():
        title, described = described_lab(name)
        records = run.lab_rows(name)
        stored = dict.fromkeys(key for row in records for key in row if key not in UNIT_COLUMNS)
        columns = {key: described.get(key, "") for key in stored}
        frame = pd.DataFrame(records, columns=[*UNIT_COLUMNS, *columns], dtype=object)
        yield LabRows(name, title, columns, frame)
