"""A run's plan, and the ledger of looks at its ratings: both only ever grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autointerp.store.tables import Tables

LOOK_COLUMNS = (
    "made_at, verb, rubric, rubric_digest, rater, first, second, number, n, asked, value, low,"
    " high, p, level, method, rule, stopped, stopping, digest, plan"
)


class Looks(Tables):
    """What a run holds of plans and looks."""

    def add_plan(self, digest: str, made_at: str, content: Mapping[str, Any]) -> None:
        """Store a plan; it supersedes the earlier ones, which stay."""
        row = {
            "plan": self.next_id("plan", "plan"),
            "digest": digest,
            "made_at": made_at,
            "content": json.dumps(content, sort_keys=True),
        }
        with self.transaction():
            self.insert("plan", [row])

    def stored_plans(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return digest, time and content of each plan, the last one last."""
        rows = sorted(self.rows_if_there("plan", "plan, digest, made_at, content"))
        return [(digest, made_at, json.loads(content)) for _, digest, made_at, content in rows]

    def add_look(self, row: Mapping[str, Any]) -> None:
        """Store a look: the columns `LOOK_COLUMNS` by name."""
        with self.transaction():
            self.insert("look", [{"look": self.next_id("look", "look"), **row}])

    def stored_looks(self) -> list[dict[str, Any]]:
        """Return the looks in their order, columns by name; none of a run older than the ledger."""
        names = ["look", *LOOK_COLUMNS.replace(" ", "").split(",")]
        rows = sorted(self.rows_if_there("look", ", ".join(names)), key=lambda row: row[0])
        return [dict(zip(names, row, strict=True)) for row in rows]

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written to the run through this connection."""
        return bool(
            self.rows(
                "SELECT readonly FROM duckdb_databases() WHERE database_name = current_database()"
            )[0][0]
        )
