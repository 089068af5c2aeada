"""Nearest dictionary vectors of a run's features in the dictionary of another run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.store.tables import Tables, now


class Matches(Tables):
    """Rows of the table `match`, one a feature that has a direction."""

    def replace_match(self, other: str, rows: Sequence[dict[str, Any]]) -> None:
        """Store the match with the run `other` in place of what there was of it.

        A row holds the table's columns but `other` and `made_at`.
        """
        made_at = now()
        with self.transaction():
            self.execute("DELETE FROM match WHERE other = ?", [other])
            self.insert("match", [{"other": other, **row, "made_at": made_at} for row in rows])
