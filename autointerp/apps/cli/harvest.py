"""Harvest units without rating them: by one process, or by many, together or each alone."""

from __future__ import annotations

from pathlib import Path
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
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Read a share of the corpus, 0/N to N-1/N, into a file, and store nothing.",
            show_default="all of it",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Store what the files of all shards hold.")
    ] = False,
    shards: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --shard or --merge: folder of the files.",
            show_default="in the run's",
        ),
    ] = None,
    output: Output = Output(),
) -> None:
    """Harvest units into a run, where `autointerp rate` finds them.

    If it is stopped, the same command resumes at the last shard. Started by torchrun or srun, each
    process reads its share of the corpus, and the result has the same bytes. There, write -n and
    -r: torchrun takes --n and --run for its own options.

    Example: autointerp harvest --subject autointerp.toml -n 200

    On four GPUs: torchrun --nproc-per-node 4 -m autointerp harvest --subject autointerp.toml

    In a job array, each task with --shard I/N and otherwise the same options, and at the end once
    with --merge: the result has the same bytes, too.
    """
    from autointerp.apps.cli._progress import Show
    from autointerp.errors import BadInput
    from autointerp.pipeline.harvest import harvest, harvest_shard, merge_shards
    from autointerp.pipeline.job import Job

    if merge and shard is not None:
        raise BadInput("--merge and --shard: read every shard first, then merge")
    if shards is not None and not merge and shard is None:
        raise BadInput(f"--shards {shards}: give --shard I/N or --merge with it")

    if cache_site is not None and (merge or shard is not None):
        raise BadInput("--cache-site is for one process; leave it out with --shard and --merge")
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
    result: object
    with Show(output) as show:
        if shard is not None:
            result = harvest_shard(job, shard, shards, on=show)
        elif merge:
            result = merge_shards(job, shards, on=show)
        else:
            result = harvest(job, on=show)
    show.say(str(result))
