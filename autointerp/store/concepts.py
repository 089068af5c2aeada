"""What the units of a run's sources know of labelled concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.store.tables import Tables, now


class Concepts(Tables):
    """Rows of the table `concept`."""

    def replace_concepts(
        self, labels: str, sources: Sequence[str], rows: Sequence[dict[str, Any]]
    ) -> None:
        """Store what these sources know of `labels`, a digest, in place of what there was.

        A row holds the table's columns but `labels` and `made_at`.
        """
        made_at = now()
        with self.transaction():
            self.execute(
                "DELETE FROM concept WHERE labels = ? AND source IN (SELECT unnest(?::VARCHAR[]))",
                [labels, list(sources)],
            )
            self.insert("concept", [{"labels": labels, **row, "made_at": made_at} for row in rows])
