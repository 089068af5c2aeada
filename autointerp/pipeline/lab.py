"""A lab measures units of a run, with the model that the run was harvested from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput
from autointerp.extensions import returned
from autointerp.labs import Read, Row, check_row, design_of, load_lab, measure, options_of
from autointerp.labs._refusals import none_measured
from autointerp.pipeline.events import Harvesting, Measuring, On, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.questions.explain import eligible_units
from autointerp.store.run import RUNS, Run, open_run
from autointerp.text import count

SAVE_EVERY_S = 0.5  # at most so much of a lab's time is lost by a kill, and a unit


@dataclass(frozen=True)
class LabResult:
    """What a lab measured.

    Attributes:
        columns: What each column holds, by name.
        units: Units that it was asked for.
        rows: Records of those that it has rows for: unit_id, unit (`features/123`), source, and
            the columns, as JSON values.
    """

    run: str
    lab: str
    columns: Mapping[str, str]
    units: int
    rows: tuple[Row, ...]

    @property
    def without(self) -> int:
        """Units that the lab has no row for."""
        return self.units - len({row["unit_id"] for row in self.rows})

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "run": self.run,
            "lab": self.lab,
            "columns": dict(self.columns),
            "units": self.units,
            "without": self.without,
            "rows": list(self.rows),
        }

    def __str__(self) -> str:
        lack = f", {self.without} without a row" if self.without else ""
        return (
            f"run '{self.run}': {self.lab} has {count(len(self.rows), 'row')} on "
            f"{count(self.units, 'unit')}{lack}"
        )


def run_lab(
    lab: str,
    run: str = "main",
    sources: tuple[str, ...] | str = (),
    n: int | None = None,
    options: Mapping[str, str] | None = None,
    runs: Path | str = RUNS,
    on: On = ignore,
    units: Sequence[str] = (),
    needs_ok: bool = False,
) -> LabResult:
    """Have a lab measure units of a run, store its rows and return them.

    Of each source the first `n` of its random order are measured: those that were rated, or all
    that were harvested where none was. Empty `sources` means all of the run. `units`, by name
    (`features/12`), are measured instead, rated or not. Rows are stored as
    the lab goes, a unit's at once; units that it has measured in the same way, with the same
    options and the same file, are not measured again, and earlier rows of the others are replaced
    with the first that is stored. With `needs_ok`, units none of which can be measured are an error
    and nothing is stored. Raises UnknownName for a lab that does not exist, BadInput if
    the run has no subject or no such units.
    """
    load_lab(lab)
    chosen = options_of(lab, options or {})
    if n is not None and n < 1:
        raise BadInput(f"--n {n}: ask for at least 1 unit")
    names = (sources,) if isinstance(sources, str) else sources
    with open_run(run, folder=Path(runs)) as opened:
        say_opened(opened, on)
        asked = opened.units_called(units) if units else list(eligible_units(opened, names, n))
        records = measured(opened, lab, asked, chosen, on, needs_ok)
    return LabResult(run, lab, load_lab(lab).COLUMNS, len(asked), records)


def measured(
    run: Run,
    lab: str,
    units: Sequence[int],
    options: Mapping[str, Any],
    on: On = ignore,
    needs_ok: bool = False,
) -> tuple[Row, ...]:
    """Have a lab measure the units of an open run that it has not measured so yet, store the rows,
    and return those of all.

    Raises what the lab raises; then the units before are stored, if one of them was measured. With
    `needs_ok`, BadInput where none of the units can be.
    """
    module = load_lab(lab)
    asked = set(units)
    design = design_of(lab, options, units)
    done = run.measured_units(lab, design) & asked
    pending = [unit for unit in units if unit not in done]
    if done:
        goes_on = " and goes on" if pending else ""
        on(Step(f"{lab} has {count(len(done), 'unit')} already{goes_on}"))
    if pending:
        on(Step(f"{lab} measures {count(len(pending), 'unit')}"))
        rows = measure(module, run, units, pending, options)
        returned(rows, Iterable, f"lab '{lab}': run()")  # type: ignore[type-abstract]
        label = count(len(pending), "unit")
        keeper = _Keeper(run, lab, design, pending)
        try:
            for row in rows:
                if isinstance(row, Read):
                    on(Harvesting(label, row.tokens, row.total, exact=True, verb=lab))
                    continue
                check_row(lab, module.COLUMNS, asked, row)
                if keeper.add(row):
                    on(Measuring(lab, len(done) + len(keeper.begun), len(units)))
            if needs_ok and keeper.reasons and not keeper.has_ok and not done:
                reasons = {run.unit_named(unit): why for unit, why in keeper.reasons.items()}
                raise none_measured(f"lab {lab}: no unit can be measured", reasons, "name others")
            keeper.finish()
        finally:
            keeper.save()  # whole units, whatever stopped the lab
        run.log("measured", lab=lab, options=dict(options), units=len(pending), rows=keeper.rows)
    return tuple(row for row in run.lab_rows(lab) if row["unit_id"] in asked)


class _Keeper:
    """Rows of a lab on their way into the run: a unit's are stored together, soon after its last.

    Attributes:
        begun: Units that have rows, stored or not.
        reasons: Why units could not be measured, by unit.
        has_ok: Whether one was. Until then nothing is stored, as a lab that can measure no unit is
            refused in the end.
        rows: Rows that are stored.
    """

    def __init__(self, run: Run, lab: str, design: str, pending: Sequence[int]) -> None:
        self.run, self.lab, self.design = run, lab, design
        self.begun: set[int] = set()
        self.reasons: dict[int, str] = {}
        self.has_ok = False
        self.rows = 0
        self._is_done = False
        self._asked = list(pending)
        self._pending = list(pending)  # whose earlier rows go with the first that is stored
        self._of_unit: list[Row] = []
        self._whole: list[Row] = []
        self._measured: list[int] = []
        self._saved_at = time.monotonic()

    def add(self, row: Row) -> bool:
        """Take a row in; return whether it is its unit's first. Raises BadInput if its unit's rows
        do not stand together.
        """
        unit_id = row["unit_id"]
        if (outcome := row.get("outcome", "ok")) == "ok":
            self.has_ok = True
        else:
            self.reasons[unit_id] = outcome
        if self._of_unit and self._of_unit[0]["unit_id"] == unit_id:
            self._of_unit.append(row)
            return False
        if unit_id in self.begun:
            raise BadInput(
                f"lab '{self.lab}' yields rows of unit {unit_id} apart; give all rows of a unit "
                "one after another, so that what is stored is whole"
            )
        self._end_unit()
        self.begun.add(unit_id)
        self._of_unit = [row]
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self.save()
        return True

    def finish(self) -> None:
        """Note that the lab is done: units of which it gave no rows have none."""
        self._is_done = True
        self._end_unit()
        self._measured += [unit_id for unit_id in self._asked if unit_id not in self.begun]

    def save(self) -> None:
        """Store whole units; nothing where there is none, or none was measured yet."""
        if self._measured and (self.has_ok or self._is_done):
            self.run.replace_lab_rows(
                self.lab, self._pending or self._measured, self._whole, self.design, self._measured
            )
            self.rows += len(self._whole)
            self._pending, self._whole, self._measured = [], [], []
            self._saved_at = time.monotonic()

    def _end_unit(self) -> None:
        if self._of_unit:
            self._measured.append(self._of_unit[0]["unit_id"])
            self._whole += self._of_unit
            self._of_unit = []
