"""Sources, units and contexts of a run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.errors import BadInput
from autointerp.records import (
    Context,
    ContextOutline,
    Draw,
    HarvestedUnit,
    SourceKind,
    Split,
    Unit,
    UnitSummary,
    columns_of,
)
from autointerp.store.tables import Tables, now

NEAR_COPIES = "near copies left out"
CUT = "the corpus goes on after what was read"
UNIT_COLUMNS = (
    "unit_id, source, idx, sign, density, tokens, peak, ord, outcome, interval_tokens, note"
)
CONTEXT_COLUMNS = (
    "context_id, tokens, activations, focus, draw, interval, split, silent, document, position"
)


@dataclass(frozen=True)
class StoredUnit:
    """A harvested unit with its number in the run."""

    unit_id: int
    summary: UnitSummary


@dataclass(frozen=True)
class StoredSource:
    """A source that a run holds units of.

    Attributes:
        size: Units that there are in it.
        kind: None where the run was made by a version that did not keep it.
    """

    name: str
    size: int
    is_control: bool
    kind: SourceKind | None


class Units(Tables):
    """What a run holds of units."""

    def add_harvest(
        self, sources: Mapping[str, tuple[int, SourceKind]], harvested: Iterable[HarvestedUnit]
    ) -> int:
        """Store units and their contexts, all or nothing; `sources` gives sizes and kinds.

        Returns how many contexts were left out as near copies; the run remembers their total.
        """
        units: list[dict[str, Any]] = []
        contexts: dict[str, list[Any]] = {}
        near_copies = 0
        with self.transaction():
            next_unit = self.next_id("unit", "unit_id")
            next_context = self.next_id("context", "context_id")
            self.insert(
                "source",
                [source_row(name, size, kind) for name, (size, kind) in sources.items()],
                ignore=True,
            )
            for unit_id, one in enumerate(harvested, next_unit):
                units.append(unit_row(unit_id, one.summary))
                near_copies += one.near_copies
                if len(one.contexts):
                    columns = columns_of(one.contexts)
                    columns["unit_id"] = [unit_id] * len(one.contexts)
                    for name, values in columns.items():
                        contexts.setdefault(name, []).extend(values)
                held = len(contexts.get("unit_id", ()))
                if held >= 20_000:  # held at once, however many there are
                    self._insert_contexts(next_context, units, contexts)
                    next_context += held
                    units, contexts = [], {}
            self._insert_contexts(next_context, units, contexts)
            if near_copies:
                self.execute(
                    "INSERT OR REPLACE INTO about VALUES (?, ?)",
                    [NEAR_COPIES, str(self.near_copies() + near_copies)],
                )
        return near_copies

    def _insert_contexts(
        self, first: int, units: list[dict[str, Any]], contexts: dict[str, list[Any]]
    ) -> None:
        """Store units and their contexts, numbered from `first`."""
        self.insert("unit", units)
        if contexts:
            numbers = list(range(first, first + len(contexts["unit_id"])))
            self.insert_columns("context", {"context_id": numbers, **contexts})

    def near_copies(self) -> int:
        """Return how many contexts the harvests left out of one split, copies of the other's."""
        rows = self.rows("SELECT value FROM about WHERE name = ?", [NEAR_COPIES])
        return int(rows[0][0]) if rows else 0

    def note_cut(self) -> None:
        """Remember that the corpus has more tokens than the settings had read."""
        self.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [CUT, "yes"])

    def is_cut(self) -> bool:
        """Whether a harvest stopped at the settings' tokens, and the corpus goes on."""
        return bool(self.rows("SELECT 1 FROM about WHERE name = ?", [CUT]))

    def replace_source(self, name: str, size: int, kind: SourceKind) -> None:
        """Store a source; an earlier row of the same name is replaced."""
        row = source_row(name, size, kind)
        self.execute(
            f"INSERT OR REPLACE INTO source ({', '.join(row)}) VALUES"
            f" ({', '.join('?' * len(row))})",
            list(row.values()),
        )

    def sources(self) -> dict[str, StoredSource]:
        """Return the run's sources by name, sorted.

        `autointerp.units.sources.source_kinds` fills in the kinds that an old run lacks.
        """
        return {
            name: StoredSource(
                name,
                size,
                is_control,
                None if role is None else SourceKind(role, (one, several), colour),
            )
            for name, size, is_control, role, one, several, colour in self.rows(
                "SELECT source, size, is_control, role, one, several, colour FROM source"
                " ORDER BY source"
            )
        }

    def units(self, source: str) -> list[StoredUnit]:
        """Return the harvested units of a source in its random order."""
        return self._units("source = ? ORDER BY ord", [source])

    def sampled(self, source: str, n: int) -> list[StoredUnit]:
        """Return the first `n` eligible units of the source's order that the run holds."""
        return self._units("source = ? AND outcome = 'eligible' ORDER BY ord LIMIT ?", [source, n])

    def eligible_in_turn(self) -> list[tuple[int, str, int]]:
        """Return unit_id, source and place in its random order, from 1, of eligible units.

        Those that were rated; where none was, those that a rater was to be asked about; where
        there are none of those either, all that were harvested.
        """
        return self.rows(
            "WITH asked AS (SELECT unit_id, item_id FROM key JOIN item USING (item_id)),"
            " rated AS (SELECT DISTINCT unit_id FROM asked JOIN rating USING (item_id))"
            " SELECT unit_id, source, row_number() OVER (PARTITION BY source ORDER BY ord) AS place"
            " FROM unit WHERE outcome = 'eligible' AND CASE"
            "  WHEN EXISTS (FROM rated) THEN unit_id IN (FROM rated)"
            "  WHEN EXISTS (FROM asked) THEN unit_id IN (SELECT unit_id FROM asked)"
            "  ELSE true END ORDER BY source, ord"
        )

    def units_numbered(self, unit_ids: Sequence[int]) -> list[StoredUnit]:
        """Return units by the run's own numbers, in their order."""
        condition = "unit_id IN (SELECT unnest(?::INTEGER[])) ORDER BY unit_id"
        return self._units(condition, [list(unit_ids)])

    def units_called(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of the units that are called so: `features/12`, `neurons/5-`.

        Raises BadInput for a name that no unit of the run has, or that several have.
        """
        held: dict[str, list[int]] = {}
        for unit_id, *labels in self.rows(
            "SELECT unit_id, unit_label(source, idx, sign, note), unit_name(source, idx, sign)"
            " FROM unit ORDER BY unit_id"
        ):
            for label in dict.fromkeys(labels):
                held.setdefault(label, []).append(unit_id)
        chosen: list[int] = []
        for name in names:
            units = held.get(name.replace("−", "-"), [])
            if len(units) != 1:
                why = f"{len(units)} units are called so" if units else "the run holds no such unit"
                close = difflib.get_close_matches(name, held, n=3, cutoff=0) or ["none"]
                raise BadInput(
                    f"unit '{name}': {why}; `autointerp report {self.path.name}` lists those that "
                    f"it holds, such as {', '.join(close)}"
                )
            chosen += units
        return list(dict.fromkeys(chosen))

    def unit_named(self, unit_id: int) -> str:
        """Return a unit's name, such as `features/12`."""
        query = "SELECT unit_label(source, idx, sign, note) FROM unit WHERE unit_id = ?"
        ((label,),) = self.rows(query, [unit_id])
        return str(label)

    def held_units(self) -> dict[str, tuple[int, bool]]:
        """Return, by source, how many eligible units the run holds and whether it is a control."""
        return {
            source: (int(count), bool(is_control))
            for source, is_control, count in self.rows(
                "SELECT s.source, s.is_control, count(u.unit_id) FILTER (u.outcome = 'eligible')"
                " FROM source s LEFT JOIN unit u USING (source) GROUP BY ALL ORDER BY s.source"
            )
        }

    def _units(self, condition: str, parameters: Sequence[Any]) -> list[StoredUnit]:
        return [
            StoredUnit(
                row[0],
                UnitSummary(
                    Unit(row[1], row[2], row[3]),
                    density=row[4],
                    tokens=row[5],
                    peak=row[6],
                    order=row[7],
                    outcome=row[8],
                    interval_tokens=tuple(row[9]),
                    note=row[10],
                ),
            )
            for row in self.rows(f"SELECT {UNIT_COLUMNS} FROM unit WHERE {condition}", parameters)
        ]

    def by_source(self, unit_ids: Sequence[int]) -> dict[str, list[int]]:
        """Return these units by source, both in the order of the units' numbers."""
        by_source: dict[str, list[int]] = {}
        for name, unit_id in self.rows(
            "SELECT source, unit_id FROM unit WHERE unit_id IN (SELECT unnest(?::INTEGER[]))"
            " ORDER BY unit_id",
            [list(unit_ids)],
        ):
            by_source.setdefault(name, []).append(unit_id)
        return by_source

    def contexts(self, unit_ids: Sequence[int]) -> dict[int, dict[int, Context]]:
        """Return the contexts of units, by unit and by the contexts' own numbers."""
        by_unit: dict[int, dict[int, Context]] = {unit_id: {} for unit_id in unit_ids}
        for unit_id, number, tokens, activations, *rest in self.rows(
            f"SELECT unit_id, {CONTEXT_COLUMNS} FROM context"
            " WHERE unit_id IN (SELECT unnest(?::INTEGER[])) ORDER BY context_id",
            [list(unit_ids)],
        ):
            by_unit[unit_id][number] = Context(tuple(tokens), tuple(activations), *rest)
        return by_unit

    def context_outlines(
        self, unit_ids: Sequence[int], of: tuple[Split, Sequence[Draw]] | None = None
    ) -> dict[int, dict[int, ContextOutline]]:
        """Return what a choice among the contexts of units looks at, by unit and number.

        A fifteenth of the time of `contexts` where `of` names a split and draws: those alone.
        """
        by_unit: dict[int, dict[int, ContextOutline]] = {unit_id: {} for unit_id in unit_ids}
        of_these, values = "", []
        if of is not None:
            of_these = " AND split = ? AND draw IN (SELECT unnest(?::VARCHAR[]))"
            values = [of[0], list(of[1])]
        for unit_id, number, *fields in self.rows(
            "SELECT unit_id, context_id, array_to_string(tokens, ''), activations[focus + 1],"
            " draw, interval, split, document, position FROM context"
            f" WHERE unit_id IN (SELECT unnest(?::INTEGER[])){of_these} ORDER BY context_id",
            [list(unit_ids), *values],
        ):
            by_unit[unit_id][number] = ContextOutline._make(fields)
        return by_unit

    def silent_elsewhere(self, unit_ids: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        """Return by unit the contexts of others in which it is silent, as computed: owner, number.

        Empty where the run does not hold that, such as an imported one.
        """
        elsewhere: dict[int, list[tuple[int, int]]] = {unit_id: [] for unit_id in unit_ids}
        for unit_id, owner, number in self.rows(
            "SELECT s.unit_id, c.unit_id, c.context_id FROM silence s JOIN context c"
            " USING (context_id) WHERE s.silent AND c.unit_id <> s.unit_id"
            " AND s.unit_id IN (SELECT unnest(?::INTEGER[])) ORDER BY ALL",
            [list(unit_ids)],
        ):
            elsewhere[unit_id].append((owner, number))
        return elsewhere

    def contexts_numbered(self, numbers: Sequence[int]) -> dict[int, Context]:
        """Return contexts by their own numbers, whatever units they were drawn for.

        Numbers below 0 are of passages, which stand in no document, and on whose tokens no
        activation is stored.
        """
        contexts = {
            number: Context(tuple(tokens), tuple(activations), *rest)
            for number, tokens, activations, *rest in self.rows(
                f"SELECT {CONTEXT_COLUMNS} FROM context"
                " WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
                [list(numbers)],
            )
        }
        passages = [number for number in numbers if number < 0]
        if passages:
            for number, tokens in self.rows(
                "SELECT context_id, tokens FROM passage"
                " WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
                [passages],
            ):
                silent = (0.0,) * len(tokens)
                contexts[number] = Context(
                    tuple(tokens), silent, 0, "random", None, "score", False, -1, 0
                )
        return contexts

    def add_passages(self, passages: Mapping[int, Sequence[str]]) -> None:
        """Store texts that are no contexts, as their tokens, by number; what is there stays."""
        if not passages:
            return
        made_at = now()
        rows = [
            {"context_id": number, "tokens": list(tokens), "made_at": made_at}
            for number, tokens in passages.items()
        ]
        with self.transaction():
            self.insert("passage", rows, ignore=True)

    def add_responses(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store activations of units on passages: rows of `context_id`, `unit_id`, `activations`;
        what is there stays.
        """
        with self.transaction():
            self.insert("response", rows, ignore=True)

    def response_peaks(self, unit_ids: Sequence[int]) -> dict[int, dict[int, float]]:
        """Return each unit's largest activation on the passages on which it was measured, by
        number; 0 on one without tokens.
        """
        peaks: dict[int, dict[int, float]] = {unit_id: {} for unit_id in unit_ids}
        for unit_id, number, peak in self.rows(
            "SELECT unit_id, context_id, coalesce(list_max(activations), 0) FROM response"
            " WHERE unit_id IN (SELECT unnest(?::INTEGER[])) ORDER BY ALL",
            [list(unit_ids)],
        ):
            peaks[unit_id][number] = peak
        return peaks


def source_row(name: str, size: int, kind: SourceKind) -> dict[str, Any]:
    """Return the row of `source` that a source is."""
    one, several = kind.names
    return {
        "source": name,
        "size": size,
        "is_control": kind.is_control,
        "role": kind.role,
        "one": one,
        "several": several,
        "colour": kind.colour,
    }


def unit_row(unit_id: int, summary: UnitSummary) -> dict[str, Any]:
    """Return the row of `unit` that a unit is."""
    return {
        "unit_id": unit_id,
        "source": summary.unit.source,
        "idx": summary.unit.index,
        "sign": summary.unit.sign,
        "ord": summary.order,
        "outcome": summary.outcome,
        "density": summary.density,
        "tokens": summary.tokens,
        "peak": summary.peak,
        "interval_tokens": list(summary.interval_tokens),
        "note": summary.note,
    }


def context_row(context_id: int, unit_id: int, context: Context) -> dict[str, Any]:
    """Return the row of `context` that a context is."""
    return {
        "context_id": context_id,
        "unit_id": unit_id,
        "draw": context.draw,
        "interval": context.interval,
        "split": context.split,
        "silent": context.silent,
        "focus": context.focus,
        "document": context.document,
        "position": context.position,
        "tokens": list(context.tokens),
        "activations": list(context.activations),
    }
