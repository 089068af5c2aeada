"""An open run as a notebook has it: data frames, findings, figures and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from autointerp.pipeline.events import On, ignore
from autointerp.store import run as store
from autointerp.store.run import RUNS, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from autointerp.findings.across import AcrossRuns
    from autointerp.findings.comparison import Comparison
    from autointerp.reports.write import Report
    from autointerp.settings import RunSettings
    from autointerp.subjects import Subject


class OpenRun(Run):
    """A run, and what its ratings say. Made by `open_run`; use it in a `with` statement.

    `ratings_frame()`, `units_frame()` and `contexts_frame(source)` are data frames with documented
    columns; `frame(query)` is any other query as a data frame.
    """

    def compare(self, level: float | None = None) -> Comparison:
        """Return everything that a report says, as numbers, and leave a line in the run's ledger of
        looks. `level` is that of intervals, the plan's or 0.95 by default. Raises TooFewRatings."""
        from autointerp.findings.comparison import compare

        return compare(self, level)

    def figures(self) -> dict[str, Figure]:
        """Return the report's figures by name, as matplotlib figures. Raises TooFewRatings."""
        from autointerp.reports.panels import Material
        from autointerp.reports.write import assemble, draw_figures

        return draw_figures(assemble(Material((self._look("figures"),), (self,), units_shown=0)))

    def report(self, out: Path | str | None = None) -> Report:
        """Write the report of this run to a folder, reports/RUN by default, and return it."""
        from autointerp.pipeline.report import REPORTS
        from autointerp.reports.panels import Material
        from autointerp.reports.write import write

        folder = REPORTS / self.name if out is None else Path(out)
        return write(Material((self._look("report"),), (self,), units_shown=2_000), folder)

    def _look(self, verb: str) -> Comparison:
        from autointerp.findings.comparison import compare

        return compare(self, verb=verb)


def open_run(
    name: str = "main",
    settings: RunSettings | None = None,
    subject: Subject | None = None,
    folder: Path | str = RUNS,
    read_only: bool = False,
) -> OpenRun:
    """Return the run `name` in `folder`; with `settings` and `subject` it is created if missing.

    One process at a time may write to a run; `read_only` lets several read it. Raises UnknownName
    if there is no such run and no settings, RunMismatch if it was made with other settings or
    another subject, RunLocked if another process has it open, StorageError if it cannot be read or
    written.
    """
    return store.open_as(OpenRun, name, settings, subject, Path(folder), read_only)


def compare(
    run: Run | str = "main",
    level: float | None = None,
    folder: Path | str = RUNS,
    on: On = ignore,
) -> Comparison:
    """Return everything that the ratings of a run say, as numbers; a run is named or open.

    A line is left in the run's ledger of looks, and nothing else is written; where that cannot
    be, `on` is told. It is called with a RunOpened event, too, where the run is opened here.

    Args:
        level: Nominal coverage of intervals; None for the plan's, else 0.95.

    Raises UnknownName if there is no such run, TooFewRatings if it has neither ratings nor
    descriptions nor measurements.
    """
    from autointerp.findings.comparison import compare as compare_run
    from autointerp.pipeline.job import say_opened
    from autointerp.pipeline.looks import open_to_look, say_unrecorded

    if isinstance(run, Run):
        comparison = compare_run(run, level)
    else:
        opened, _ = open_to_look(run, Path(folder))
        with opened:
            say_opened(opened, on)
            comparison = compare_run(opened, level)
    say_unrecorded(comparison, on)
    return comparison


def compare_runs(
    runs: Sequence[Run | str],
    groups: Mapping[str, Sequence[str]] | None = None,
    level: float | None = None,
    folder: Path | str = RUNS,
    on: On = ignore,
) -> AcrossRuns:
    """Return the contrasts of every source of one run with every source of the others.

    Runs are named or open. A line for each contrast is left in the ledgers of its runs, beside
    those of the runs' own, as far as they can be written; `on` is told where none can. Compared are
    runs that the same rater rated on the same rubric; what differs between them, and what is left
    out, is in the result. `groups` are runs that are seeds of one recipe, by a name for it:
    `{"topk": ["a", "b", "c"]}`. `level`: nominal coverage of intervals; None for that of the runs'
    plans, the highest where they differ, else 95 %. For what each run says of itself there is
    `compare`.

    Raises BadInput for fewer than two runs or groups that do not fit them, UnknownName if there is
    no such run, TooFewRatings if one has neither ratings nor descriptions nor
    measurements.
    """
    from autointerp.findings.across import across_runs
    from autointerp.findings.comparison import compare as compare_run
    from autointerp.pipeline.events import RunOpened
    from autointerp.pipeline.looks import open_to_look, say_unrecorded, with_looks_across

    with ExitStack() as stack:
        opened: list[Run] = []
        for run in [runs] if isinstance(runs, str) else runs:
            name = run.name if isinstance(run, Run) else run
            if name in [other.name for other in opened]:
                continue
            if not isinstance(run, Run):
                run = stack.enter_context(open_to_look(name, Path(folder))[0])
                on(RunOpened(name, run.settings.subject.name, is_new=False))
            opened.append(run)
        comparisons = [compare_run(run, level) for run in opened]
        for comparison in comparisons:
            say_unrecorded(comparison, on)
        across = across_runs(comparisons, opened, groups, level)
        with_looks_across(comparisons, opened, across, on)
        return across
