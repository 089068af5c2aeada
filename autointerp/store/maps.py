"""Layouts of units' directions: kept, since they take minutes to make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.store.tables import Tables, now

COLUMNS = ("x", "y", "near", "cosines", "is_exact")


class Maps(Tables):
    """Rows of the tables `map_point`, one a point of a layout, and `map_source`, one a source."""

    def add_map(self, digest: str, rows: Sequence[dict[str, Any]]) -> None:
        """Store the points of a layout, in order; one of the same digest is replaced.

        A row holds the table's columns but `digest`, `place` and `made_at`.
        """
        made_at = now()
        with self.transaction():
            self.execute("DELETE FROM map_point WHERE digest = ?", [digest])
            self.insert(
                "map_point",
                [
                    {"digest": digest, "place": place, **row, "made_at": made_at}
                    for place, row in enumerate(rows)
                ],
            )

    def replace_map_sources(self, digest: str, rows: Sequence[dict[str, Any]]) -> None:
        """Store what a map says of its sources, in order, in place of what there was.

        A row holds the table's columns but `digest`, `place` and `made_at`.
        """
        made_at = now()
        with self.transaction():
            self.execute("DELETE FROM map_source WHERE digest = ?", [digest])
            self.insert(
                "map_source",
                [
                    {"digest": digest, "place": place, **row, "made_at": made_at}
                    for place, row in enumerate(rows)
                ],
            )

    def map_points(self, digest: str) -> list[tuple[Any, ...]]:
        """Return x, y, near, cosines and is_exact of each point of a layout; none if there is no
        such layout.
        """
        return self.rows(
            f"SELECT {', '.join(COLUMNS)} FROM map_point WHERE digest = ? ORDER BY place", [digest]
        )
