"""Rate units: harvest, sample, blind and rate whatever of it is missing."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    source: list[str] = typer.Option(
        ["features"], "--source", "-s", help="Where units come from; repeat for several."
    ),
    n: int = typer.Option(200, "--n", "-n", help="Units of each source."),
    rubric: str = typer.Option("interpretability-1-5", help="A rubric's id, or the path of one."),
    rater: str = typer.Option("lexical", help="NAME or NAME:MODEL; see `autointerp raters`."),
    run: str = typer.Option("main", help="Name of the run: runs/NAME."),
    subject: str = typer.Option("embedded", help="embedded, or the path of an autointerp.toml."),
    seed: int = typer.Option(None, help="Of all that is drawn.", show_default="0"),
    controls: int = typer.Option(
        50, min=0, help="Units of each control rated beside them; 0 for none."
    ),
    repeats: int = typer.Option(1, min=1, help="Times each item is rated."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be done, and stop."),
) -> None:
    """Rate units of one or several sources, blind, controls among them.

    Whatever is missing is made first; what is there is not made again.

    Example: autointerp rate --source features --n 200
    """
    from rich.console import Console

    from autointerp.pipeline import Wish, rate

    rate(
        Wish(
            sources=tuple(dict.fromkeys(source)),
            n=n,
            rubric=rubric,
            rater=rater,
            run=run,
            subject=subject,
            seed=seed,
            controls=controls,
            repeats=repeats,
        ),
        Console(stderr=True),
        dry_run=dry_run,
    )
