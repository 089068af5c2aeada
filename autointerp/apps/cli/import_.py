"""Bring units from a file into a run, so that they can be rated without a model."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    file: Path = typer.Argument(..., help="A file or folder; docs/exchange.md says which."),
    run: str = typer.Option(..., "--run", help="Name of the run: runs/NAME."),
    form: str = typer.Option(
        None,
        "--format",
        help="contexts, delphi, features-md or neuronpedia.",
        show_default="recognised by content",
    ),
    source: str = typer.Option(
        "", help="What to call the units' source.", show_default="the file's own name for it"
    ),
    tokenizer: Path = typer.Option(
        None, help="A tokenizer.json, where a file holds token ids.", show_default=False
    ),
    each_side: int = typer.Option(
        None,
        min=0,
        max=1000,
        help="Tokens kept on either side of the peak.",
        show_default="10 of a model's whole windows, all of what is contexts already",
    ),
    explain_share: float = typer.Option(
        0.5,
        min=0,
        max=1,
        help="Of each unit's contexts, for explaining; the rest scores what was explained.",
    ),
    seed: int = typer.Option(0, min=0, help="Of all that is drawn."),
) -> None:
    """Bring units in from a contexts table, features.md, delphi's cache or a Neuronpedia export.

    Rate them then with `autointerp rate --run NAME`. The same file again does nothing; another
    file adds its units to the run.

    Example: autointerp import my_units.parquet --run mine
    """
    from autointerp.exchange import ImportOptions
    from autointerp.exchange._arrival import import_units

    options = ImportOptions(source, tokenizer, each_side, seed, explain_share)
    counts = import_units(file, run, form or "", options)
    if counts.seen_before:
        typer.echo(f"run '{run}': {file} is in it already")
        return
    units = ", ".join(
        f"{n:,} {source}" + ("" if outcome == "eligible" else f" that never fire ({outcome})")
        for (source, outcome), n in sorted(counts.units.items())
    )
    typer.echo(f"run '{run}': {units}; {counts.contexts:,} contexts, read as {counts.form}")
    if counts.borrowed_for:
        typer.echo(
            f"{counts.borrowed_for:,} of them came without silent contexts: those of other units "
            "stand in, and the report says so"
        )
    typer.echo(f"rate them: autointerp rate --run {run}")
