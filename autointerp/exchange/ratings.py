"""Export of ratings and of other tables, a row each, as CSV, JSON lines or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autointerp.exchange._files import copy_to_file, quoted
from autointerp.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

TableFormat = Literal["csv", "jsonl", "parquet"]

FORMS: dict[TableFormat, str] = {
    "csv": "FORMAT csv, HEADER",
    "jsonl": "FORMAT json",
    "parquet": "FORMAT parquet",
}

QUERY = """
SELECT {run} AS run, * FROM rating_table
ORDER BY source, index, sign DESC, rubric, rubric_digest, rater, repeat
"""


def write_ratings(run: Run, to: TableFormat, file: Path) -> int:
    """Write the run's ratings to `file`, completely or not at all; return the number of rows.

    `index` is a number in its source, `unit` is as in `features/123` (`neurons/5-` for the
    negative half of a signed neuron). `score` is empty unless `status` is ok; `cost_usd` where no
    price is known. Raises StorageError if the file cannot be written, BadInput if it is a folder
    or a device.
    """
    return copy_to_file(run, QUERY.format(run=quoted(run.name)), file, FORMS[to])


def write_table(run: Run, rows: pd.DataFrame, to: TableFormat, file: Path) -> int:
    """Write rows about units, such as scores, with the run's name and the units'; as
    `write_ratings` does. `rows` has a column `unit_id`."""
    run.connection.register("exported", rows)
    try:
        query = (
            f"SELECT {quoted(run.name)} AS run,"
            " unit_label(u.source, u.idx, u.sign, u.note) AS unit,"
            " u.source, u.idx AS index, u.sign, e.* EXCLUDE (unit_id)"
            " FROM exported e JOIN unit u USING (unit_id)"
        )
        return copy_to_file(run, query, file, FORMS[to])
    finally:
        run.connection.unregister("exported")
