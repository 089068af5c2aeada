"""Nearest dictionary vectors of a run's features in the dictionary of another run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.store.tables import Tables, now


class Matches(Tables):
    """Rows of the tables `match` (one a feature that has a direction), `match_side` (one another
    run) and `match_score` (one a rubric and rater)."""

    def replace_match(
        self,
        other: str,
        rows: Sequence[dict[str, Any]],
        side: dict[str, Any],
        scores: Sequence[dict[str, Any]],
    ) -> None:
        """Store the match with the run `other` in place of what there was of it.

        Rows hold the columns of their tables but `other` and `made_at`.
        """
        made_at = now()
        with self.transaction():
            for table in ("match", "match_side", "match_score"):
                self.execute(f"DELETE FROM {table} WHERE other = ?", [other])
            self.insert("match", [{"other": other, **row, "made_at": made_at} for row in rows])
            self.insert("match_side", [{"other": other, **side, "made_at": made_at}])
            self.insert("match_score", [{"other": other, **row} for row in scores])
