"""Say which of a list of concepts a run's units are about, and how that goes with frequency."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.apps.cli._options import Asking, Output, options

if TYPE_CHECKING:
    from autointerp.records import Item


@options
def command(
    concepts: Annotated[
        Path,
        typer.Argument(
            metavar="CONCEPTS",
            help="Text file: `NAME: PROMPT | PROMPT` a line, or NAME alone; # begins a comment.",
        ),
    ],
    run: _options.RunOption = "main",
    source: Annotated[
        str, typer.Option("--source", "-s", help="Whose units, all of them, harvested or not.")
    ] = "features",
    rater: Annotated[
        str, typer.Option(help="Who judges: a language model, or human:NAME in the terminal.")
    ] = "human",
    units: Annotated[
        int, typer.Option(min=1, help="Strongest units that are judged for each concept.")
    ] = 5,
    random: Annotated[
        int, typer.Option(min=0, help="Random units that are judged for each, as a control.")
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the page.", show_default="reports/cover-RUN"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the findings as JSON and, without -o, write no page: `coverage`, "
            "`control`, `by_frequency`, `concepts` with their units and answers. With --dry-run: "
            "the forecast.",
        ),
    ] = False,
    asking: Asking = Asking(),
    dry_run: _options.DryRun = False,
    output: Output = Output(),
) -> None:
    """Say which of a list of concepts a run's units are about, and how that goes with frequency.

    For each concept the units that fire most strongly on its last token, the mean over its prompts,
    are judged: is the concept the main thing that the unit responds to? Random units of the run are
    judged in the same queue, where the answer must be no. Units that the run has not harvested are
    read from the corpus, kept beside its sample, and described by the rater. Printed are the share
    of covered concepts and a logistic curve of it by how often a concept occurs in the corpus.

    Example: autointerp cover concepts.txt --rater anthropic:MODEL
    """
    from autointerp.pipeline.asked import asked_concepts, judge_of_concepts
    from autointerp.pipeline.job import Resolved

    asked_concepts(concepts, source, units, random)
    job = asking.job(rater, run=run)
    if not job.by_person:
        judge_of_concepts(Resolved(job, planned=False))
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.cover import as_text, cover, forecast_cover

    with Show(output) as show:
        if dry_run:
            expected = forecast_cover(concepts, job, source, units, random, show)
            if as_json:
                typer.echo(json.dumps(expected.as_json(), indent=2))
            else:
                show.say(str(expected))
            return
        made = cover(
            concepts,
            job,
            source,
            units,
            random,
            out,
            page=not as_json or out is not None,
            on=show,
            ask=_ask if job.by_person else None,
        )
    if as_json:
        typer.echo(json.dumps(made.cover.as_json(), indent=2, allow_nan=False))
        return
    say(as_text(made.cover))
    say(f"page: {made.page}")


def _ask(item: Item) -> bool | None:
    """Ask a person about a concept and a unit. Raises StopAsking where they end."""
    from autointerp.pipeline.cover import StopAsking
    from autointerp.text import visible

    lines = ["", f"description: {visible(item.description or 'none')}"]
    for context in item.contexts:
        focus = context.focus if context.focus is not None else len(context.tokens)
        before, after = "".join(context.tokens[:focus]), "".join(context.tokens[focus + 1 :])
        token = "".join(context.tokens[focus : focus + 1])
        lines.append(f"  {visible(before[-60:])} [{visible(token)}] {visible(after[:40])}")
    lines.append(f"concept: {visible(item.descriptions[0])}")
    typer.echo("\n".join(lines), err=True)
    while True:
        try:
            said = input("the main thing of this unit? y yes, n no, s skip, q quit: ")
        except EOFError:
            raise StopAsking from None
        answer = said.strip().lower()[:1]
        if answer == "q":
            raise StopAsking
        if answer in ("y", "n", "s"):
            return {"y": True, "n": False, "s": None}[answer]
