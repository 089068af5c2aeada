"""Rate units: harvest, sample, blind and rate whatever of it is missing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.apps.cli._options import Asking, Output, Until, options

OF_PEOPLE = ("overlap", "repeat_share", "mix", "planned", "practice", "plain", "mouse")
OF_BATCHES = ("resume", "forget", "run", "batch", "quiet", "verbose")
OF_PACKS = ("pack", "rater", "plain", "mouse", "quiet", "verbose")


@options
def command(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Source of units; repeat it for several.",
            show_default="the plan's; else features; all sources of an imported run",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            help="Units of each source.",
            show_default="the plan's; else 200; all units of an imported run",
        ),
    ] = None,
    until: Until = Until(),
    rubric: _options.RubricName = "interpretability-1-5",
    rater: Annotated[
        str, typer.Option(help="NAME or NAME:MODEL; `autointerp raters` lists them.")
    ] = "lexical",
    run: _options.RunOption = "main",
    subject: _options.Subject = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw.", show_default="0")] = None,
    tokens: _options.Tokens = None,
    cache_site: _options.CacheSite = None,
    controls: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Units of each control rated beside them; 0 means none.",
            show_default="50; for people a tenth of the units, at least 2",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each item is rated.")] = 1,
    asking: Asking = Asking(),
    batch: _options.Batch = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Collect replies of the run's batches, then stop.")
    ] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="With --resume: give up this batch, which cannot be collected any more; its calls "
            "count as spent at the most that they can cost, and are made again.",
            show_default=False,
        ),
    ] = None,
    dry_run: _options.DryRun = False,
    as_json: _options.ForecastAsJson = False,
    guess: Annotated[
        bool,
        typer.Option(
            "--guess/--no-guess",
            help="At the end ask whether each rated item was a feature, a neuron or a control.",
        ),
    ] = False,
    explainer: Annotated[
        str | None,
        typer.Option(
            help="Rubrics about descriptions: who wrote them.",
            show_default="the only explainer; the rater where there is none",
        ),
    ] = None,
    contexts: Annotated[
        int,
        typer.Option(
            min=3, max=1000, help="Rubrics about descriptions: contexts of each unit, at most."
        ),
    ] = 30,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=1, help="People: raters of each item.", show_default="every person rates all"
        ),
    ] = None,
    repeat_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="People: share of the items that are shown again, unannounced."
        ),
    ] = 0.1,
    plain: Annotated[
        bool, typer.Option("--plain", help="People: lines instead of a full screen.")
    ] = False,
    mouse: Annotated[
        bool,
        typer.Option("--mouse", help="People: levels and keys can be clicked, the wheel scrolls."),
    ] = False,
    mix: Annotated[
        bool,
        typer.Option(
            "--mix/--no-mix",
            help="People: mix in the studied sources that --source does not name.",
        ),
    ] = False,
    practice: _options.Practice = True,
    planned: Annotated[
        bool,
        typer.Option("--planned", help="People: rate what `autointerp plan-humans` drew last."),
    ] = False,
    pack: Annotated[
        Path | None,
        typer.Option(help="People: rate this file of `autointerp pack`.", show_default=False),
    ] = None,
    output: Output = Output(),
) -> None:
    """Rate units of one or several sources, blind, with controls among them.

    Whatever is missing is made first; what exists is not made again. A person is asked about the
    sources that are named, mixed; name features and neurons, or --mix, for blind ratings: who knows
    that all units are features is not blind.

    With --until-width or --until-clear two sources are rated in batches, features and neurons
    unless two others are named, with a look at the comparison after each, until the rule stops.

    With --tokens a new run reads only the beginning of the corpus, and its report says so.

    Example: autointerp rate --source features --n 200
    """
    given = _options.given(context)
    if pack is not None:
        return _rate_pack(pack, rater, plain, mouse, given)

    from autointerp.apps.cli._progress import Show
    from autointerp.apps.terminal.sit import asker
    from autointerp.engine.forecast import Forecast
    from autointerp.errors import BadInput
    from autointerp.people.session import Sitting
    from autointerp.pipeline.job import DEFAULT_CONTROLS
    from autointerp.pipeline.rate import collect, forecast, rate
    from autointerp.records import is_person

    _options.check_forecast_json(as_json, dry_run)
    if forget and not resume:
        raise BadInput("--forget goes with --resume, which collects batches")
    asked = [option for name, option in given.items() if name not in OF_BATCHES]
    if resume and asked:
        raise BadInput(
            f"{', '.join(asked)}: --resume collects batches as they were submitted; leave it out"
        )
    if not is_person(rater):
        of_people = [option for name, option in given.items() if name in OF_PEOPLE]
        if of_people:
            raise BadInput(f"{', '.join(of_people)}: for people, and {rater} is none; leave it out")
    with Show(output) as show:
        if resume:
            show.say(str(collect(run, on=show, forget=forget or ())))
            return None
        job = asking.job(
            rater,
            sources=tuple(source or ()),
            n=n,
            rubric=rubric,
            run=run,
            subject=subject,
            seed=seed,
            tokens=tokens,
            cache_site=cache_site,
            controls=DEFAULT_CONTROLS if controls is None else controls,
            repeats=repeats,
            batch=batch,
            guess=guess,
            explainer=explainer,
            contexts=contexts,
            sitting=Sitting(
                overlap,
                repeat_share,
                planned,
                mixed=mix,
                practice=practice,
                guess=guess,
                gold=controls,
            ),
            **until.fields(),
        )
        if dry_run:
            expected = forecast(job)
            if as_json:
                say(json.dumps(expected.as_json(), indent=2))
            else:
                of_descriptions = isinstance(expected, Forecast)
                show.say(f"{rubric}: {expected}" if of_descriptions else str(expected))
            return None
        result = rate(job, show, asker(plain, mouse))
    show.say(str(result))
    return None


def _rate_pack(pack: Path, rater: str, plain: bool, mouse: bool, given: Mapping[str, str]) -> None:
    """Let a person rate a pack, with nothing loaded but what that takes.

    Raises BadInput for options of what is asked, which was decided when the pack was made.
    """
    from autointerp.apps.terminal.sit import asker
    from autointerp.errors import BadInput
    from autointerp.pipeline.sit_pack import rate_pack

    decided = [one for name, one in given.items() if name not in OF_PACKS]
    if decided:
        raise BadInput(
            f"{', '.join(decided)}: what a pack asks was decided when it was made; leave it out"
        )
    result = rate_pack(pack, rater, asker(plain, mouse))
    say(str(result), err=True)
    if not result.left:
        name = shlex.quote(pack.name)
        say(f"send {pack} back; its owner reads it with: autointerp ingest RUN {name}", err=True)
