"""What labs measured of a run's units."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from autointerp.store.tables import Tables, now


class Labs(Tables):
    """Rows of labs; the values of a row are JSON."""

    def replace_lab_rows(
        self,
        lab: str,
        unit_ids: Sequence[int],
        rows: Sequence[Mapping[str, Any]],
        design: str = "",
        measured: Collection[int] | None = None,
    ) -> None:
        """Store a lab's rows in place of all that it had of these units, all or nothing.

        A row holds `unit_id` and the values of the lab's columns. The units `measured`, by default
        all, count as such under `design`.
        """
        made_at = now()
        stored = [
            {
                "lab": lab,
                "unit_id": row["unit_id"],
                "place": place,
                "row": json.dumps({name: one for name, one in row.items() if name != "unit_id"}),
                "made_at": made_at,
            }
            for place, row in enumerate(rows)
        ]
        units = [
            {"lab": lab, "unit_id": unit_id, "design": design, "made_at": made_at}
            for unit_id in (unit_ids if measured is None else measured)
        ]
        with self.transaction():
            for table in ("lab", "lab_unit"):
                self.execute(
                    f"DELETE FROM {table} WHERE lab = ?"
                    " AND unit_id IN (SELECT unnest(?::INTEGER[]))",
                    [lab, list(unit_ids)],
                )
            self.insert("lab", stored)
            self.insert("lab_unit", units)

    def add_ablated(
        self, design: str, source: str, ablated: Mapping[tuple[int, int], float]
    ) -> None:
        """Store logit differences of an attribution that is under way, by number and position;
        those of another design, which was stopped, go.
        """
        rows = [
            {"design": design, "source": source, "number": number, "position": position,
             "difference": difference}
            for (number, position), difference in ablated.items()
        ]  # fmt: skip
        with self.transaction():
            self.execute("DELETE FROM ablated WHERE design <> ?", [design])
            self.insert("ablated", rows)

    def ablated(self, design: str, source: str) -> dict[tuple[int, int], float]:
        """Return what an attribution of this design that was stopped has of a source."""
        return {
            (number, position): difference
            for number, position, difference in self.rows(
                "SELECT number, position, difference FROM ablated WHERE design = ? AND source = ?",
                [design, source],
            )
        }

    def drop_ablated(self) -> None:
        """Delete what is kept of attributions under way."""
        self.execute("DELETE FROM ablated")

    def replace_attributed(
        self,
        question: str,
        source: str,
        about: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Store what an attribution found of a source in place of what there was of this question.

        `about` and `rows` hold the columns of `attributed` and `attributed_unit` but `question`,
        `source`, `active` and `made_at`.
        """
        key = {"question": question, "source": source}
        with self.transaction():
            for table in ("attributed", "attributed_unit"):
                self.execute(
                    f"DELETE FROM {table} WHERE question = ? AND source = ?", [question, source]
                )
            self.insert("attributed", [{**key, **about, "active": len(rows), "made_at": now()}])
            self.insert("attributed_unit", [{**key, **row} for row in rows])

    def measured_units(self, lab: str, design: str) -> set[int]:
        """Return the units that a lab has measured under this design, with rows or without."""
        rows = self.rows("SELECT unit_id FROM lab_unit WHERE lab = ? AND design = ?", [lab, design])
        return {unit_id for (unit_id,) in rows}

    def lab_names(self) -> list[str]:
        """Return the labs that have rows, sorted."""
        return [lab for (lab,) in self.rows("SELECT DISTINCT lab FROM lab ORDER BY lab")]

    def lab_rows(self, lab: str) -> list[dict[str, Any]]:
        """Return a lab's rows: unit_id, unit (`features/123`), source, and the lab's columns.

        Units stand in the random order of their source, a unit's rows as the lab gave them.
        """
        if lab not in self.lab_names():
            return []
        return [
            {"unit_id": unit_id, "unit": unit, "source": source, **json.loads(row)}
            for unit_id, unit, source, row in self.rows(
                "SELECT unit_id, unit_label(u.source, u.idx, u.sign, u.note), u.source, l.row"
                " FROM lab l JOIN unit u USING (unit_id) WHERE l.lab = ?"
                " ORDER BY u.source, u.ord, l.place",
                [lab],
            )
        ]

    def lab_rows_of_unit(self, unit_id: int) -> list[tuple[str, dict[str, Any]]]:
        """Return what labs measured of a unit: the lab's name and a row's columns."""
        return [
            (lab, json.loads(row))
            for lab, row in self.rows(
                "SELECT lab, row FROM lab WHERE unit_id = ? ORDER BY lab, place", [unit_id]
            )
        ]
