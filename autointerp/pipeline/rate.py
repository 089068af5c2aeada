"""`rate`, from a wish to ratings: each stage does what is missing, so twice is as good as once."""

from __future__ import annotations

import contextlib
import difflib
import shutil
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from autointerp.apps.cli._progress import rating_bar
from autointerp.engine.batches import BatchCounts, collect_batches, submit_batches
from autointerp.engine.budget import require_price
from autointerp.engine.forecast import LOOKED_AT, forecast_calls
from autointerp.engine.work import (
    RatingCounts,
    RatingPolicy,
    pending_items,
    pending_work,
    rate_items,
    rated_before,
)
from autointerp.errors import BadInput, RunMismatch, UnknownName
from autointerp.extensions import addition, names_in
from autointerp.questions.items import load_items, make_items
from autointerp.questions.question import Question
from autointerp.questions.rubric import Rubric
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import Rater, RaterOptions, ServedRater, load_rater
from autointerp.settings import RunSettings, from_mapping, load_settings
from autointerp.store.run import IMPORTED, RUNS, Run, open_run, read_about, runs_in
from autointerp.subjects import Subject, load_subject
from autointerp.text import count
from autointerp.units import sources as sources_folder
from autointerp.units.sample import assist, draw_units, held_units, sampled
from autointerp.units.shards import local_device, share_of_environment

DEFAULT_N = 200
BESIDE_LABEL = 48  # characters of the bar beside what is harvested


@dataclass(frozen=True)
class Wish:
    """What is to be rated.

    Attributes:
        sources: Names of sources; `n` units of each.
        controls: Units of each control source that is not in `sources`.
        seed: None for the settings' own.
        runs: Folder of the runs.
        policy: How a model is asked: concurrency, budget, retries.
        batch: Hand the calls to the provider's batch API.
    """

    sources: tuple[str, ...]
    n: int = DEFAULT_N
    rubric: str = "interpretability-1-5"
    rater: str = "lexical"
    run: str = "main"
    subject: str = "embedded"
    seed: int | None = None
    controls: int = 50
    repeats: int = 1
    options: RaterOptions = field(default_factory=RaterOptions)
    runs: Path = RUNS
    policy: RatingPolicy = field(default_factory=RatingPolicy)
    batch: bool = False


def control_names() -> list[str]:
    """Return the sources that are controls."""
    return [
        name
        for name in names_in(sources_folder)
        if addition(sources_folder, "source", name).IS_CONTROL
    ]


def asked_for(
    run: str, sources: Sequence[str], n: int | None, runs: Path = RUNS
) -> tuple[tuple[str, ...], int]:
    """Return the sources and the units of each that a command means where it does not say.

    All that an imported run holds; 200 features of another.
    """
    held = imported_units(run, runs)
    if held is None:
        return tuple(dict.fromkeys(sources)) or ("features",), DEFAULT_N if n is None else n
    studied = [name for name, (_, is_control) in held.items() if not is_control]
    most = max((count for count, _ in held.values()), default=1)
    return tuple(dict.fromkeys(sources)) or tuple(studied), most if n is None else n


def imported_units(run: str, runs: Path = RUNS) -> dict[str, tuple[int, bool]] | None:
    """Return how many units of each source an imported run holds, and which are controls.

    None where the run is not imported, or not there.
    """
    if not (runs / run / "run.toml").exists():
        return None
    if read_about(runs / run)["settings"]["subject"]["model"] != IMPORTED:
        return None
    with open_run(run, folder=runs, read_only=True) as opened:
        return held_units(opened)


def run_settings(wish: Wish) -> RunSettings:
    """Return the settings of a wish: of its subject, or of the imported run that it names.

    Raises BadInput if a subject is named beside an imported run, RunMismatch for another seed.
    """
    folder = wish.runs / wish.run
    if imported_units(wish.run, wish.runs) is None:
        return load_settings(wish.subject, wish.seed)
    if wish.subject != Wish.subject:
        raise BadInput(f"--subject {wish.subject}: run '{wish.run}' was imported, and has none")
    settings = from_mapping(RunSettings, read_about(folder)["settings"], str(folder / "run.toml"))
    if wish.seed not in (None, settings.seed):
        raise RunMismatch(
            f"--seed {wish.seed}: run '{wish.run}' was imported with seed {settings.seed}; "
            "leave --seed away"
        )
    return settings


def run_subject(settings: RunSettings) -> Subject | None:
    """Return the subject that the settings name; None for an imported run."""
    return None if settings.subject.model == IMPORTED else load_subject(settings.subject)


def wanted_units(wish: Wish) -> dict[str, int]:
    """Return the number of units of each source, controls included.

    Of an imported run as many as it holds, at most. Raises BadInput for an `n` under 1,
    UnknownName for a source that is not there.
    """
    if wish.n < 1:
        raise BadInput(f"--n {wish.n}: ask for at least 1 unit")
    held = imported_units(wish.run, wish.runs)
    if held is not None:
        for name in wish.sources:
            if name not in held:
                raise UnknownName("source", name, held, f"run '{wish.run}' was imported")
        controls = [name for name, (_, is_control) in held.items() if is_control]
        wanted = dict.fromkeys(wish.sources, wish.n)
        for name in controls if wish.controls else ():
            wanted.setdefault(name, wish.controls)
        return {name: min(n, held[name][0]) for name, n in wanted.items()}
    for name in wish.sources:
        addition(sources_folder, "source", name)
    wanted = dict.fromkeys(wish.sources, wish.n)
    if wish.controls:
        for name in control_names():
            wanted.setdefault(name, wish.controls)
    return wanted


def require_means(wish: Wish, rater: Rater) -> None:
    """Raise what would stop the rater, before a run is made and harvested for it."""
    if wish.run in runs_in(wish.runs):
        return  # perhaps nothing is left to ask
    require_price(rater, wish.policy.budget_usd)
    if isinstance(rater, ServedRater):
        rater.require_key()


def rate(wish: Wish, console: Console, dry_run: bool = False) -> RatingCounts:
    """Draw, blind and rate what the wish asks for and the run lacks."""
    wanted = wanted_units(wish)
    rubric = load_rubric(wish.rubric)
    if rubric.about == "description":
        raise BadInput(
            f"rubric '{rubric.id}' is about descriptions; call `describe.rate_descriptions`"
        )
    rater = load_rater(wish.rater, wish.options)
    settings = run_settings(wish)
    if dry_run:
        return _dry_run(wish, wanted, rubric, rater, console)
    require_means(wish, rater)
    subject = run_subject(settings)
    with run_of(wish, settings, subject, console) as run:
        with _harvest_bar(console) as harvested:
            drawn = draw_units(run, subject, wanted, harvested, _teller(console))
        ids = [
            identifier
            for units in drawn.values()
            for identifier in make_items(run, units, rubric, rater.evidence)
        ]
        counts = ask(run, sorted(ids), rubric, rater, wish, console)
        run.log("rated", rater=rater.name, rubric=rubric.id, statuses=dict(counts.statuses))
        why = _common_failure(run, rubric, rater) if counts.statuses["failed"] else ""
    units = ", ".join(f"{n} {name}" for name, n in wanted.items())
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.statuses.items()))
    console.print(
        f"run '{wish.run}': {units}; {rater.name} on {rubric.id}: {told or 'nothing new'}"
        + (f", {counts.before} rated before" if counts.before else "")
        + (f", {counts.reused} replies found in the store" if counts.reused else "")
        + (f", ${counts.spent_usd:.4f}" if counts.spent_usd else "")
    )
    if why:
        console.print(f"most failed with: {why}", markup=False)
    if counts.stopped == "budget":
        console.print(
            f"stopped: the next call could pass the budget of ${wish.policy.budget_usd:.2f}; "
            "give a larger --budget-usd to go on"
        )
    return counts


def _common_failure(run: Run, rubric: Rubric, rater: Rater) -> str:
    """Return the error that most of the rater's failed ratings have."""
    rows = run.rows(
        "SELECT rationale FROM current_rating WHERE rater = ? AND rubric_digest = ?"
        " AND status = 'failed' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
        [rater.name, rubric.digest],
    )
    return str(rows[0][0] or "") if rows else ""


def harvest(wish: Wish, console: Console) -> None:
    """Harvest what the wish asks for and the run lacks, as one process or as one of a group.

    Of a group, only the first process opens the run.
    """
    wanted = wanted_units(wish)
    settings = run_settings(wish)
    share = share_of_environment()
    device = local_device(settings.subject.device)
    placed = replace(settings, subject=replace(settings.subject, device=device))
    subject = run_subject(placed)
    if share.rank:
        assert subject is not None  # an imported run lacks nothing
        assist(wish.runs / wish.run, subject, settings, wanted, share)
        return
    # The other processes of one harvest look into its folder, so it stays.
    with run_of(wish, settings, subject, console, keep=share.count > 1) as run:
        with _harvest_bar(console) as harvested:
            drawn = draw_units(run, subject, wanted, harvested, _teller(console), share)
        told = ", ".join(f"{len(units)} {name}" for name, units in drawn.items())
        console.print(f"run '{wish.run}' holds {told}")


def open_telling(
    wish: Wish, settings: RunSettings, subject: Subject | None, console: Console
) -> Run:
    """Open the wish's run; say so if it begins, and which one may have been meant instead."""
    there = runs_in(wish.runs)
    run = open_run(wish.run, settings, subject, wish.runs)
    if wish.run not in there:
        close = difflib.get_close_matches(wish.run, there, n=1, cutoff=0.75)
        meant = f"; or did you mean '{close[0]}', which is there?" if close else ""
        console.print(f"new run '{wish.run}'{meant}")
    return run


@contextlib.contextmanager
def run_of(
    wish: Wish,
    settings: RunSettings,
    subject: Subject | None,
    console: Console,
    keep: bool = False,
) -> Iterator[Run]:
    """Open the wish's run; what is refused before a unit is stored leaves no new run behind.

    Else the corrected settings would not be those that the run was made with. `keep` leaves it.
    """
    folder = wish.runs / wish.run
    is_new = not (folder / "run.toml").exists()
    with open_telling(wish, settings, subject, console) as run:
        try:
            yield run
        except BadInput:
            if is_new and not keep and not run.rows("SELECT 1 FROM unit LIMIT 1"):
                run.close()
                shutil.rmtree(folder, ignore_errors=True)
            raise


@contextlib.contextmanager
def _harvest_bar(console: Console) -> Iterator[Callable[[str, int], None]]:
    """Show, while inside, what is harvested and the tokens read."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        TextColumn("{task.completed:,.0f} tokens"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("harvest", total=None, visible=False)

        def harvested(label: str, tokens: int) -> None:
            # Else a narrow terminal would cut the count of tokens.
            short = textwrap.shorten(label, max(12, console.width - BESIDE_LABEL), placeholder=" …")
            bar.update(task, description=f"harvest {short}", completed=tokens, visible=True)

        yield harvested


def _teller(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"note: {text}", highlight=False, markup=False)


def ask(
    run: Run, ids: Sequence[str], rubric: Question, rater: Rater, wish: Wish, console: Console
) -> RatingCounts:
    """Rate what is pending, or hand it to the batch API."""
    work = pending_work(run, ids, rater.name, wish.repeats)
    waiting = len(run.work_in_batches(rater.name))
    if waiting:
        console.print(
            f"{count(waiting, 'call is', 'calls are')} in open batches: "
            f"`autointerp rate --resume --run {wish.run}` collects them"
        )
    policy = wish.policy
    require_price(rater, policy.budget_usd)
    if work and isinstance(rater, ServedRater):
        looked_at = load_items(run, sorted({item for item, _ in work[:LOOKED_AT]}), rubric)
        expected = forecast_calls(rater, rubric, len(work), looked_at, run, wish.batch)
        console.print(f"{rater.name}: {expected}")
    if wish.batch:
        return _hand_over(run, ids, rubric, rater, wish, console)
    with rating_bar(console, f"rate by {rater.name}") as show:
        return rate_items(run, ids, rubric, rater, wish.repeats, show, policy)


def _hand_over(
    run: Run, ids: Sequence[str], rubric: Question, rater: Rater, wish: Wish, console: Console
) -> RatingCounts:
    run.add_rater(rater.name, rater.is_llm)
    is_file = wish.rubric.endswith(".md") or "/" in wish.rubric
    counts = submit_batches(
        run,
        ids,
        rubric,
        rater,
        asked=wish.rater,
        rubric_name=str(Path(wish.rubric).resolve()) if is_file else wish.rubric,
        options=wish.options,
        repeats=wish.repeats,
        budget_usd=wish.policy.budget_usd,
    )
    if counts.calls:
        console.print(
            f"handed over {count(counts.calls, 'call')} in "
            f"{count(counts.batches, 'batch', 'batches')}; "
            f"`autointerp rate --resume --run {wish.run}` collects them, within a day"
        )
    before = rated_before(run, ids, rater.name, wish.repeats)
    return RatingCounts(before, Counter(), stopped=counts.stopped)


def resume(run_name: str, console: Console, runs: Path = RUNS) -> BatchCounts:
    """Collect what the run's batches have brought."""
    with open_run(run_name, folder=runs) as run:
        counts = collect_batches(run, load_rater)
        run.log("collected", calls=counts.calls, statuses=dict(counts.statuses))
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.statuses.items()))
    batches = count(counts.batches, "batch", "batches")
    console.print(f"run '{run_name}': collected {batches}: {told or 'nothing new'}")
    for one in counts.open:
        console.print(f"still open: {one}")
    return counts


def _dry_run(
    wish: Wish, wanted: dict[str, int], rubric: Rubric, rater: Rater, console: Console
) -> RatingCounts:
    """Say what `rate` would do; nothing is made."""
    try:
        with open_run(wish.run, folder=wish.runs, read_only=True) as run:
            there = {name: len(sampled(run, name, n)) for name, n in wanted.items()}
            rated = _rated_before(run, rubric, rater)
    except UnknownName:
        there, rated = dict.fromkeys(wanted, 0), 0
    lacking = {name: n - there[name] for name, n in wanted.items() if n > there[name]}
    harvest = ", ".join(f"{n} {name}" for name, n in lacking.items()) or "nothing"
    calls = sum(wanted.values()) * wish.repeats
    left = max(0, calls - rated)
    console.print(
        f"would harvest {harvest}; would ask {rater.name} about {left} of {calls} items on "
        f"{rubric.id}: {forecast_calls(rater, rubric, left, batch=wish.batch)}"
    )
    return RatingCounts(rated, Counter())


def _rated_before(run: Run, rubric: Rubric, rater: Rater) -> int:
    return int(
        run.rows(
            "SELECT count(*) FROM current_rating WHERE rater = ? AND rubric_digest = ?"
            " AND status <> 'failed'",
            [rater.name, rubric.digest],
        )[0][0]
    )


__all__ = ["Wish", "pending_items", "rate"]
