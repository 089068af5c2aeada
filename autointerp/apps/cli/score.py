"""Score descriptions: how well do they predict where units fire?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autointerp.apps.cli import _options
from autointerp.apps.cli._options import Asking, Output, options


@options
def command(
    run: _options.RunName,
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            help="Scorer; repeat it for several. `autointerp scorers` lists them.",
            show_default="detection, fuzzing, simulation",
        ),
    ] = None,
    rater: Annotated[str, typer.Option(help="Who answers: NAME or NAME:MODEL.")] = "lexical",
    explainer: Annotated[
        str | None,
        typer.Option(
            help="Who wrote the descriptions.",
            show_default="the only explainer; the rater where there is none",
        ),
    ] = None,
    source: _options.SourcesOfRun = None,
    n: _options.UnitsOfRun = None,
    contexts: Annotated[
        int | None,
        typer.Option(
            min=3,
            help="Contexts of each kind, firing and silent, at most; or tokens, or texts.",
            show_default="the scorer's own: 14 (detection, fuzzing), 10 (responsiveness, purity), "
            "50 tokens (logits), 12 texts (steering), 8 texts always (generation), else 20",
        ),
    ] = None,
    permuted: Annotated[
        int,
        typer.Option(
            min=0,
            help="Units of each source whose control takes calls of its own (simulation, intruder, "
            "embedding, surprisal); in the other scorers all units have one at no cost.",
        ),
    ] = 50,
    hard: Annotated[
        bool,
        typer.Option(
            "--hard",
            help="Choose half of the silent contexts so that they look as if the unit fired; "
            "reads the corpus.",
        ),
    ] = False,
    asking: Asking = Asking(),
    batch: _options.Batch = False,
    dry_run: _options.DryRun = False,
    as_json: _options.ForecastAsJson = False,
    output: Output = Output(),
) -> None:
    """Test descriptions on contexts that no explainer has seen; 0.5 is chance, 1 is perfect.

    detection: in which texts does the unit fire? fuzzing: is the right token marked? simulation:
    how strongly does it fire on each token? intruder: which context does not belong (needs no
    description)? embedding: is the description nearer to texts that fire (embed:FOLDER,
    openai-embeddings:MODEL)? surprisal: does it make them less surprising (likelihood:PATH,
    openai-completions:MODEL)?

    What the unit does, measured with the run's model: logits: which tokens does it promote?
    steering: which of two descriptions was steered? generation: does text that the rater writes to
    the description make the unit fire? responsiveness, purity (the same calls): do texts that fit
    make it fire, and does what makes it fire fit?

    Each is also asked with other units' descriptions, where it must fall to 0.5.

    Example: autointerp score main --scorer detection --scorer fuzzing
    """
    _options.check_forecast_json(as_json, dry_run)
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.describe import forecast_score, score
    from autointerp.pipeline.job import SCORERS
    from autointerp.questions.score import Design
    from autointerp.reports.words import interval

    job = asking.job(
        rater,
        run=run,
        sources=tuple(source or ()),
        n=n,
        explainer=explainer,
        scorers=tuple(scorer) if scorer else SCORERS,
        design=Design(contexts, permuted, hard),
        batch=batch,
    )
    with Show(output) as show:
        if not dry_run:
            for result in score(job, show).values():  # what was asked is an event of each
                for name, (own, others) in result.means.items():
                    if own.value is not None:
                        control = f", control {interval(others)}" if others.value else ""
                        show.say(f"{result.scorer}, {name}: {interval(own)}{control}")
            if not batch:
                show.say(f"next: autointerp report {run}")
            return
        expected = forecast_score(job)
        if as_json:
            values = {name: one.as_json() for name, one in expected.items()}
            typer.echo(json.dumps(values, indent=2))
            return
        for name, one in expected.items():
            show.say(f"{name}: {one}")
