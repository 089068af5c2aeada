"""Measure units of a run by a lab."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autointerp.apps.cli import _options
from autointerp.apps.cli._options import Output, options
from autointerp.errors import BadInput


@options
def command(
    lab: Annotated[str, typer.Argument(help="Name of the lab; `autointerp labs` lists them.")],
    run: _options.RunName,
    source: _options.SourcesOfRun = None,
    n: _options.UnitsOfRun = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, an option of the lab; repeat it for several. A name that it does "
            "not have lists those that it has.",
            show_default="the lab's",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    output: Output = Output(),
) -> None:
    """Measure units of a run with the model that it was harvested from; the rows are stored.

    `autointerp report` shows them beside the ratings. Units that it has measured with the same
    options are not measured again; with others, their rows are replaced.

    Example: autointerp lab logit-effects main --source features --n 20
    """
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.lab import run_lab

    pairs = {}
    for text in option or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"--option {text}: write it as NAME=VALUE")
        pairs[name] = value
    with Show(output) as show:
        result = run_lab(lab, run, tuple(source or ()), n, pairs, on=show)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        show.say(str(result))
