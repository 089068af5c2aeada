"""Say whether libraries, disk, keys and a rater's server are in order."""

from __future__ import annotations

import typer


def command(
    rater: str = typer.Option(
        None, help="NAME or NAME:MODEL: ask its server once, which may cost a fraction of a cent."
    ),
    base_url: str = typer.Option(
        None, help="Of a server that speaks the rater's protocol.", show_default="the provider's"
    ),
    timeout: float = typer.Option(30.0, min=0.1, help="Seconds to wait for the server."),
) -> None:
    """Check libraries, disk, keys and, with --rater, one call to its server; keys are not shown.

    Example: autointerp doctor --rater anthropic:claude-haiku-4-5
    """
    from autointerp.pipeline.doctor import examine
    from autointerp.raters import RaterOptions, load_rater

    options = RaterOptions(base_url=base_url, timeout_s=timeout)
    judge = load_rater(rater, options) if rater else None
    ill = False
    for finding in examine(judge, options):
        ill = ill or not finding.ok
        mark = "ok" if finding.ok else "!!"
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        typer.echo(f"{mark}  {finding.about:24} {finding.words}{remedy}")
    if ill:
        raise typer.Exit(1)
