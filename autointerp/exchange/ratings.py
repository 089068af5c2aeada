"""One row per rating, as CSV, JSON lines or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from autointerp.exchange._files import copy_to_file, quoted
from autointerp.store.run import Run

TableFormat = Literal["csv", "jsonl", "parquet"]

FORMS: dict[TableFormat, str] = {
    "csv": "FORMAT csv, HEADER",
    "jsonl": "FORMAT json",
    "parquet": "FORMAT parquet",
}

# The latest version of each rating; what its call cost is summed over the attempts.
QUERY = """
SELECT
    {run} AS run,
    r.unit,
    r.source,
    r.idx AS index,
    r.sign,
    r.is_control,
    r.item_id AS item,
    r.rubric,
    r.rubric_digest,
    r.rater,
    r.repeat,
    r.status,
    r.score,
    r.expected_score,
    r.unassigned_mass,
    r.description,
    r.rationale,
    u.density,
    u.peak,
    u.note AS unit_note,
    c.model,
    c.attempts,
    c.tokens_in,
    c.tokens_out,
    c.cost_usd,
    r.made_at
FROM unit_rating r
JOIN unit u USING (unit_id)
LEFT JOIN (
    SELECT
        call_key,
        count(*) AS attempts,
        arg_max(model, attempt) AS model,
        sum(tokens_in)::BIGINT AS tokens_in,
        sum(tokens_out)::BIGINT AS tokens_out,
        sum(cost_usd) AS cost_usd
    FROM call GROUP BY call_key
) c ON c.call_key = r.call_key
ORDER BY r.source, r.idx, r.sign DESC, r.rubric, r.rubric_digest, r.rater, r.repeat
"""


def write_ratings(run: Run, to: TableFormat, file: Path) -> int:
    """Write the run's ratings to `file`, completely or not at all; return the number of rows.

    `index` is a number in its source, `unit` is as in `features/123` (`neurons/5-` for the
    negative half of a signed neuron). `score` is empty unless `status` is ok; `cost_usd` where no
    price is known. Raises StorageError if the file cannot be written, BadInput if it is a folder
    or a device.
    """
    return copy_to_file(run, QUERY.format(run=quoted(run.name)), file, FORMS[to])
