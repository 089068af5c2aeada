"""Import units from a file into a run, so that they can be rated without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.text import count


def command(
    file: Annotated[
        Path, typer.Argument(help="File or folder in one of the formats of docs/exchange.md.")
    ],
    run: _options.RunOption,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format of FILE, by name; a name that there is not lists them.",
            show_default="recognised by content",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Name of the units' source.", show_default="the name in the file"),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="tokenizer.json of the model, for files that hold token ids.", show_default=False
        ),
    ] = None,
    each_side: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1000,
            help="Maximum tokens kept on either side of the focus token.",
            show_default="10 for a model's full windows, all for contexts",
        ),
    ] = None,
    explain_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of each unit's contexts for explaining; the rest is for scoring.",
        ),
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
) -> None:
    """Import units from Neuronpedia, delphi, SAEBench, neuron-explainer or a table of contexts.

    Rate them with `autointerp rate --run NAME`. Importing the same file again changes nothing;
    importing another file adds its units to the run.

    Example: autointerp import my_units.parquet --run mine
    """
    from autointerp.exchange import ImportOptions
    from autointerp.exchange._arrival import import_units

    options = ImportOptions(source or "", tokenizer, each_side, seed, explain_share)
    counts = import_units(file, run, form or "", options)
    if counts.seen_before:
        say(f"run '{run}': {file} was imported before, nothing to do")
        return
    units = ", ".join(
        f"{n:,} {source}" + ("" if outcome == "eligible" else f" that never fire ({outcome})")
        for (source, outcome), n in sorted(counts.units.items())
    )
    say(f"run '{run}': {units}; {count(counts.contexts, 'context')}, read as {counts.form}")
    if counts.unlike:
        say(f"note: {counts.unlike}")
    if counts.borrowed_for:
        say(
            f"{counts.borrowed_for:,} of them came without silent contexts: contexts of other "
            "units are used instead, and the report says so"
        )
    say(f"rate them: autointerp rate --run {run}")
