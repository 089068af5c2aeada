"""Which concepts units cover, and contexts of units that are not in the run's sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.records import Context, HarvestedUnit, Unit
from autointerp.store.tables import Tables, now


class Covers(Tables):
    """Rows of the tables `cover_concept`, `cover`, `aside` and `aside_context`."""

    def replace_cover(
        self,
        source: str,
        rater: str,
        concepts: Sequence[dict[str, Any]],
        rows: Sequence[dict[str, Any]],
    ) -> None:
        """Store what a rater said of concepts and units of a source, in place of what it said of
        these concepts before.

        Rows hold the columns of `cover_concept` and `cover` but `source`, `rater` and `made_at`.
        """
        by = {"source": source, "rater": rater, "made_at": now()}
        names = [row["concept"] for row in concepts]
        with self.transaction():
            for table, new in (("cover_concept", concepts), ("cover", rows)):
                self.execute(
                    f"DELETE FROM {table} WHERE source = ? AND rater = ?"
                    " AND concept IN (SELECT unnest(?::VARCHAR[]))",
                    [source, rater, names],
                )
                self.insert(table, [{**by, **row} for row in new])

    def add_asides(self, units: Sequence[HarvestedUnit], kept: Sequence[Sequence[Context]]) -> None:
        """Store units that were harvested by name, outside the sample, with contexts to show."""
        made_at = now()
        with self.transaction():
            self.insert(
                "aside",
                [
                    {
                        "source": one.summary.unit.source,
                        "idx": one.summary.unit.index,
                        "sign": one.summary.unit.sign,
                        "peak": one.summary.peak,
                        "density": one.summary.density,
                        "made_at": made_at,
                    }
                    for one in units
                ],
                ignore=True,
            )
            self.insert(
                "aside_context",
                [
                    {
                        "source": one.summary.unit.source,
                        "idx": one.summary.unit.index,
                        "sign": one.summary.unit.sign,
                        "place": place,
                        "draw": context.draw,
                        "interval": context.interval,
                        "focus": context.focus,
                        "document": context.document,
                        "position": context.position,
                        "tokens": list(context.tokens),
                        "activations": list(context.activations),
                    }
                    for one, contexts in zip(units, kept, strict=True)
                    for place, context in enumerate(contexts)
                ],
                ignore=True,
            )

    def asides(self, source: str) -> dict[Unit, tuple[float, list[Context]]]:
        """Return peak and contexts of the units of a source that were harvested by name."""
        held: dict[Unit, tuple[float, list[Context]]] = {
            Unit(source, idx, sign): (peak, [])
            for name, idx, sign, peak in self.rows("SELECT source, idx, sign, peak FROM aside")
            if name == source
        }
        columns = "idx, sign, tokens, activations, focus, draw, interval, document, position"
        if held:
            for idx, sign, tokens, activations, focus, draw, interval, *place in self.rows(
                f"SELECT {columns} FROM aside_context WHERE source = ? ORDER BY idx, sign, place",
                [source],
            ):
                context = Context(
                    tuple(tokens), tuple(activations), focus, draw, interval, "explain", False,
                    *place,
                )  # fmt: skip
                held[Unit(source, idx, sign)][1].append(context)
        return held
