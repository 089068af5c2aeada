"""Say which units know concepts whose truth is known, by labels of tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.apps.cli._options import Output, options


@options
def command(
    labels: Annotated[
        list[str],
        typer.Argument(
            metavar="LABELS...",
            help="Which tokens have a concept: NAME=re:PATTERN (a regular expression over the "
            "text), FILE.toml (its table [concepts] of such), FILE.py:FUNCTION (a predicate over "
            "a window's tokens), or FILE.parquet:COLUMN (a row a token: document, position).",
        ),
    ],
    run: _options.RunOption = "main",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Source of units; repeat it for several. The first is compared with the others.",
            show_default="features, neurons, random; untrained where the subject has it",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", help="Units of each source that are searched.", show_default="all"
        ),
    ] = None,
    tokens: Annotated[
        str,
        typer.Option(
            help="Tokens of the corpus to read at most, such as 200k; 0 for all that the run read."
        ),
    ] = "200k",
    over: Annotated[
        float, typer.Option(help="AUROC on held-out text over which a concept counts as found.")
    ] = 0.95,
    k: Annotated[
        list[int] | None,
        typer.Option(
            "--k", help="Units of a probe; repeat it for several.", show_default="1, 2, 4 and 8"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the page.", show_default="reports/concepts-RUN"
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the findings as JSON and, without -o, write no page: `sources` (shares "
            "found), `known` (best units, thresholds and probes), `compared`, `concepts`.",
        ),
    ] = False,
    output: Output = Output(),
) -> None:
    """Find the unit that knows each labelled concept, and test it on text that was not searched.

    All units of the sources are searched by AUROC and by F1 on the documents of the split
    `explain`; every figure is of the others. Probes join k units. The share of concepts that are
    found has an exact interval, and stands beside that of neurons and random directions. The rows
    go into the run's table `concept`.

    Example: autointerp concepts 'digit=re:[0-9]+' 'quote=re:"' --run main
    """
    from autointerp.pipeline.asked import check_concepts
    from autointerp.settings import token_count

    sizes = tuple(k or (1, 2, 4, 8))
    at_most = token_count(tokens)
    check_concepts(labels, source or (), n, at_most, over, sizes)
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.concepts import as_text, concepts

    with Show(output) as show:
        made = concepts(
            labels, run, tuple(source or ()), n, at_most, over, sizes, out,
            page=not as_json or out is not None, on=show,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(made.concepts.as_json(), indent=2, allow_nan=False))
        return
    say(as_text(made.concepts))
    say(f"page: {made.page}")
