"""The verb `report`: runs → comparisons → a page, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput
from autointerp.findings.across import across_runs
from autointerp.findings.comparison import compare, estimate_rows
from autointerp.people.ingest import ingest_journals
from autointerp.pipeline.events import Note, On, ignore
from autointerp.pipeline.job import say_opened
from autointerp.pipeline.looks import open_to_look, say_unrecorded, with_looks_across
from autointerp.reports.panels import Material
from autointerp.reports.write import Report, check_folder, write
from autointerp.store.run import RUNS, Run
from autointerp.text import count

REPORTS = Path("reports")


def report(
    runs: Sequence[str] | str = "main",
    out: Path | str | None = None,
    units_shown: int = 2_000,
    folder: Path | str = RUNS,
    on: On = ignore,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Write the report of one run, or of several and their contrasts, and return it.

    What people have rated since is taken in first; the estimates, and a line in the ledger of
    looks, are stored in each run, where it can be written.

    Args:
        out: Folder to write; None for reports/RUN, or reports/RUN+RUN.
        units_shown: Units at most that the page itself carries; where there are more, all are in
            files beside it; 0 for none.
        on: Called with each event: a note of answers that came in.
        groups: Runs that are seeds of one recipe, by a name for it; see `findings.across`.

    Raises UnknownName if a run is not there, TooFewRatings if nothing was asked or measured in it,
    BadInput if `out` holds something else than a report or a group does not fit the runs,
    StorageError if it cannot be written.
    """
    names = _names(runs)
    place = REPORTS / "+".join(names) if out is None else Path(out)
    check_folder(place)
    with _compared(names, units_shown, Path(folder), on, groups) as material:
        return write(material, place)


def findings(
    runs: Sequence[str] | str = "main",
    folder: Path | str = RUNS,
    on: On = ignore,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return what `report` would say as JSON values, and write no page.

    An object with two keys: `comparisons`, one a run, in the form of `findings.json_values`, and
    `across`, what the runs say of one another (null for one run), in that of `findings.across`.
    Raises as `report` does.
    """
    with _compared(_names(runs), 0, Path(folder), on, groups) as material:
        return as_json(material)


def as_json(material: Material) -> dict[str, Any]:
    """Return the comparisons behind a report as JSON values."""
    return {
        "comparisons": [comparison.as_json() for comparison in material.comparisons],
        "across": None if material.across is None else material.across.as_json(),
    }


def _names(runs: Sequence[str] | str) -> list[str]:
    """Return the names of runs, each once; a single name may be given as it is."""
    names = [runs] if isinstance(runs, str) else list(dict.fromkeys(runs))
    if not names:
        raise BadInput("no run is named; name one or more")
    return names


@contextmanager
def _compared(
    names: Sequence[str],
    units_shown: int,
    folder: Path,
    on: On,
    groups: Mapping[str, Sequence[str]] | None,
) -> Iterator[Material]:
    """Open runs, take in what people have rated since, compare, and store the estimates."""
    if groups and len(names) < 2:
        raise BadInput("a group joins several runs, and one is reported; name the others too")
    opened: list[Run] = []
    try:
        comparisons = []
        for name in names:
            run, writable = open_to_look(name, folder)
            opened.append(run)
            say_opened(run, on)
            if writable:
                new = ingest_journals(run, lambda text: on(Note(text)))
                if new:
                    on(Note(f"run '{name}': {count(new, 'new answer')} of people taken in"))
            comparison = compare(run, verb="report")
            say_unrecorded(comparison, on)
            if writable:
                run.replace_estimates(estimate_rows(comparison))
            comparisons.append(comparison)
        across = None
        if len(names) > 1:
            across = across_runs(comparisons, opened, groups, verb="report")
            comparisons = with_looks_across(comparisons, opened, across, on)
        yield Material(tuple(comparisons), tuple(opened), units_shown, across)
    finally:
        for run in opened:
            run.close()
