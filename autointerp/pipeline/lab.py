"""A lab measures units of a run, with the model that the run was harvested from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput
from autointerp.labs import Row, check_row, load_lab, options_of
from autointerp.pipeline.events import Measuring, On, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.questions.explain import eligible_units
from autointerp.store.run import RUNS, open_run
from autointerp.text import count


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
) -> LabResult:
    """Have a lab measure units of a run, store its rows and return them.

    Of each source the first `n` of its random order are measured: those that were rated, or all
    that were harvested where none was. Empty `sources` means all of the run. The lab's earlier
    rows of these units are replaced when it has finished. Raises UnknownName for a lab that does
    not exist, BadInput if the run has no subject or no such units.
    """
    module, chosen = load_lab(lab), options_of(lab, options or {})
    if n is not None and n < 1:
        raise BadInput(f"--n {n}: ask for at least 1 unit")
    names = (sources,) if isinstance(sources, str) else sources
    with open_run(run, folder=Path(runs)) as opened:
        say_opened(opened, on)
        units = list(eligible_units(opened, names, n))
        on(Step(f"{lab} measures {count(len(units), 'unit')}"))
        asked, measured = set(units), set[int]()
        rows = []
        for row in module.run(opened, units, chosen):
            check_row(lab, module.COLUMNS, asked, row)
            rows.append(row)
            if row["unit_id"] not in measured:
                measured.add(row["unit_id"])
                on(Measuring(lab, len(measured), len(units)))
        opened.replace_lab_rows(lab, units, rows)
        opened.log("measured", lab=lab, options=chosen, units=len(units), rows=len(rows))
        records = tuple(row for row in opened.lab_rows(lab) if row["unit_id"] in asked)
    return LabResult(run, lab, module.COLUMNS, len(units), records)
