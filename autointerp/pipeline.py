"""`rate`, from a wish to ratings: each stage does what is missing, so twice is as good as once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autointerp import raters as raters_folder
from autointerp import sources as sources_folder
from autointerp.additions import addition, names_in
from autointerp.blinding import make_items
from autointerp.errors import BadInput, UnknownName
from autointerp.raters import Rater, RaterOptions
from autointerp.rating import RatingCounts, pending_items, rate_items
from autointerp.rubrics import Rubric, load_rubric
from autointerp.sampling import draw_units, sampled
from autointerp.settings import load_settings
from autointerp.store import RUNS, Run, open_run
from autointerp.subjects import load_subject


@dataclass(frozen=True)
class Wish:
    """What is to be rated.

    Attributes:
        sources: Names of sources; `n` units of each.
        controls: Units of each control source that is not in `sources`.
        seed: None for the settings' own.
        runs: Folder of the runs.
    """

    sources: tuple[str, ...]
    n: int = 200
    rubric: str = "interpretability-1-5"
    rater: str = "lexical"
    run: str = "main"
    subject: str = "embedded"
    seed: int | None = None
    controls: int = 50
    repeats: int = 1
    options: RaterOptions = RaterOptions()
    runs: Path = RUNS


def load_rater(name: str, options: RaterOptions) -> Rater:
    """Return the rater written NAME or NAME:MODEL.

    Raises UnknownName, listing the raters there are.
    """
    kind, _, model = name.partition(":")
    rater: Rater = addition(raters_folder, "rater", kind).create(model or None, options)
    return rater


def control_names() -> list[str]:
    """Return the sources that are controls."""
    return [
        name
        for name in names_in(sources_folder)
        if addition(sources_folder, "source", name).IS_CONTROL
    ]


def wanted_units(wish: Wish) -> dict[str, int]:
    """Return the number of units of each source, controls included.

    Raises BadInput for an `n` under 1, UnknownName for a source that is not there.
    """
    if wish.n < 1:
        raise BadInput(f"--n {wish.n}: ask for at least 1 unit")
    for name in wish.sources:
        addition(sources_folder, "source", name)
    wanted = dict.fromkeys(wish.sources, wish.n)
    if wish.controls:
        for name in control_names():
            wanted.setdefault(name, wish.controls)
    return wanted


def rate(wish: Wish, console: Console, dry_run: bool = False) -> RatingCounts:
    """Draw, blind and rate what the wish asks for and the run lacks."""
    wanted = wanted_units(wish)
    rubric = load_rubric(wish.rubric)
    rater = load_rater(wish.rater, wish.options)
    settings = load_settings(wish.subject, wish.seed)
    if dry_run:
        return _dry_run(wish, wanted, rubric, rater, console)
    subject = load_subject(settings.subject)
    with open_run(wish.run, settings, subject, wish.runs) as run:
        with _progress(console, "tokens") as bar:
            task = bar.add_task("harvest", total=None, visible=False)

            def harvested(label: str, tokens: int) -> None:
                bar.update(task, description=f"harvest {label}", completed=tokens, visible=True)

            drawn = draw_units(run, subject, wanted, harvested)
        ids = [
            identifier
            for units in drawn.values()
            for identifier in make_items(run, units, rubric, rater.evidence)
        ]
        with _progress(console, "items") as bar:
            task = bar.add_task(f"rate by {rater.name}", total=None)
            counts = rate_items(
                run,
                sorted(ids),
                rubric,
                rater,
                wish.repeats,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
        run.log("rated", rater=rater.name, rubric=rubric.id, statuses=dict(counts.statuses))
    units = ", ".join(f"{n} {name}" for name, n in wanted.items())
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.statuses.items())) or "nothing new"
    console.print(
        f"run '{wish.run}': {units}; {rater.name} on {rubric.id}: {told}"
        + (f", {counts.before} rated before" if counts.before else "")
    )
    return counts


def _progress(console: Console, what: str) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


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
    console.print(
        f"would harvest {harvest}; would ask {rater.name} about {max(0, calls - rated)} of {calls} "
        f"items on {rubric.id}"
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


__all__ = ["Wish", "load_rater", "pending_items", "rate"]
