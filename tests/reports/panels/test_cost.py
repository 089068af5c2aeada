"""What a page says of the cost of calls that have a price, none, or one that is not known."""

from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.reports.panels import Material, Table, cost
from autointerp.store.tables import now

BUSY = "UPDATE call SET stop = 'error', cost_usd = NULL, error = '429' WHERE call_key = '{}'"
UNCOUNTED = "UPDATE call SET cost_usd = NULL WHERE call_key = '{}'"


@pytest.mark.parametrize(
    ("change", "charged", "said"),
    [
        ("", 0.0, "0.0080"),
        (BUSY, 0.0, "0.0060"),  # refused, and so not billed
        (UNCOUNTED, 0.0, "0.0060 or more: some calls have no price"),
        (UNCOUNTED, 0.05, "0.0060 and at most 0.05 for calls of unknown cost"),
        ("UPDATE call SET cost_usd = NULL", 0.0, "–"),
        ("UPDATE call SET cost_usd = NULL", 0.2, "at most 0.20 for calls of unknown cost"),
    ],
)
def test_a_cost_is_said_with_what_is_not_known_of_it(
    tmp_path: Path, change: str, charged: float, said: str
) -> None:
    with fabricate_run(tmp_path, {"features": 4}, contexts=0) as run:
        add_scores(run, "features", "openai:m", [1, 1, 1, 1, 0])
        ((key,),) = run.rows("SELECT min(call_key) FROM call")
        run.execute(change.format(key) or "SELECT 1")
        if charged:
            half = {"journal": "j", "rater": "openai:m", "call_key": key, "usd": charged / 2}
            run.insert("charge", [{**half, "seq": seq, "made_at": now()} for seq in (0, 1)])
        _, table = cost.show(Material((compare(run),), (run,)))
    assert isinstance(table, Table)
    assert dict(zip(table.headings, table.rows[0], strict=True))["US dollars"] == said
