"""Harvest units without rating them: by one process, or by many under torchrun or srun."""

from __future__ import annotations

from typing import Annotated

import typer

from autointerp.apps.cli import _options
from autointerp.apps.cli._options import Output, options


@options
def command(
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Source of units; repeat it for several.",
            show_default="features",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", min=1, help="Units of each source.", show_default="200"),
    ] = None,
    run: _options.RunOption = "main",
    subject: _options.Subject = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw.", show_default="0")] = None,
    tokens: _options.Tokens = None,
    cache_site: _options.CacheSite = None,
    controls: Annotated[int, typer.Option(min=0, help="Units of each control; 0 means none.")] = 50,
    output: Output = Output(),
) -> None:
    """Harvest units into a run, where `autointerp rate` finds them.

    If it is stopped, the same command resumes at the last shard. Started by torchrun or srun, each
    process reads its share of the corpus, and the result has the same bytes. There, write -n and
    -r: torchrun takes --n and --run for its own options.

    Example: autointerp harvest --subject autointerp.toml -n 200

    On four GPUs: torchrun --nproc-per-node 4 -m autointerp harvest --subject autointerp.toml
    """
    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.harvest import harvest
    from autointerp.pipeline.job import Job

    job = Job(
        sources=tuple(source or ()),
        n=n,
        run=run,
        subject=subject,
        seed=seed,
        tokens=tokens,
        cache_site=cache_site,
        controls=controls,
    )
    with Show(output) as show:
        result = harvest(job, on=show)
    show.say(str(result))
