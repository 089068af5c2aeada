"""Harvest units without rating them: by one process, or by many under torchrun or srun."""

from __future__ import annotations

import typer


def command(
    source: list[str] = typer.Option(
        ["features"], "--source", "-s", help="Where units come from; repeat for several."
    ),
    n: int = typer.Option(200, "--n", "-n", min=1, help="Units of each source."),
    run: str = typer.Option("main", "--run", "-r", help="Name of the run: runs/NAME."),
    subject: str = typer.Option("embedded", help="embedded, or the path of an autointerp.toml."),
    seed: int = typer.Option(None, help="Of all that is drawn.", show_default="0"),
    controls: int = typer.Option(50, min=0, help="Units of each control; 0 for none."),
) -> None:
    """Harvest units into a run, where `autointerp rate` finds them.

    Stopped, the same command goes on from the last shard. Started by torchrun or srun, each
    process reads its share of the corpus; the bytes that come out are the same. There, write -n and
    -r: torchrun takes --n and --run for its own options.

    Example: autointerp harvest --subject autointerp.toml -n 200

    On four GPUs: torchrun --nproc-per-node 4 -m autointerp harvest --subject autointerp.toml
    """
    from rich.console import Console

    from autointerp.pipeline.rate import Wish, harvest

    wish = Wish(tuple(dict.fromkeys(source)), n, run=run, subject=subject, seed=seed,
                controls=controls)  # fmt: skip
    harvest(wish, Console(stderr=True, markup=False, emoji=False))
