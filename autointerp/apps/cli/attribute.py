"""Say which units a logit difference comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from autointerp.apps.cli import _options, columns_text, say
from autointerp.apps.cli._options import Output, options
from autointerp.errors import BadInput

if TYPE_CHECKING:
    from autointerp.pipeline.attribute import Attribution


@options
def command(
    prompt: Annotated[str, typer.Option(help="Text after which two logits are compared.")],
    run: _options.RunOption = "main",
    target: Annotated[
        str | None,
        typer.Option(
            help='The token whose logit counts, such as " great".',
            show_default="the likeliest next token",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help='The token whose logit is taken from it, such as " small".',
            show_default="the likeliest other token",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Source of units; repeat it for several, such as the control `random`.",
            show_default="features; neurons where the run has none",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Rows to print of each source.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Print all effects as JSON.")] = False,
    output: Output = Output(),
) -> None:
    """Measure what each active unit, at each position of a prompt, adds to a logit difference.

    To first order (activation x gradient along the unit's direction) and exactly (the difference
    less that with the unit at 0 there), for all units of the source, in the run or not; with their
    ranks and correlation, and the descriptions that the run holds. All of it is stored in the run
    and shown by its report; the run's units have rows of the lab `attribution`, in place of their
    earlier ones. Where no token is named, the same two are compared in all sources.

    If it is stopped, the same command resumes.

    Example: autointerp attribute --prompt "John was" --target " great" --against " small"
    """
    _options.require_runs(run)
    for option, token in (("--target", target), ("--against", against)):
        if token == "":
            raise BadInput(f"{option} '': give a token, or leave it out for the likeliest")

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.attribute import attribute

    with Show(output) as show:
        result = attribute(prompt, target or "", against or "", run, tuple(source or ()), on=show)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        say(_text(result, top))


def _text(result: Attribution, top: int) -> str:
    """Return what was compared, then a table a source."""
    pair = f"logit of {json.dumps(result.target)} less that of {json.dumps(result.against)}"
    blocks = [f"{pair}, after {json.dumps(result.prompt, ensure_ascii=False)}"]
    for one in result.sources:
        figures = [
            f"{name} {'–' if value is None else f'{value:.2f}'}"
            for name, value in (("Pearson", one.pearson), ("Spearman", one.spearman))
        ]
        blocks.append(
            f"{one.source}: {len(one.effects):,} active; attribution and ablation correlate by "
            f"{', '.join(figures)}; {one.stored:,} of units of the run are stored"
        )
        rows = [
            [
                f"{effect.ablation:+.4f} ({effect.ablation_rank})",
                f"{effect.attribution:+.4f} ({effect.attribution_rank})",
                f"{effect.position} {json.dumps(effect.token, ensure_ascii=False)}",
                f"{effect.activation:.3g}",
                effect.unit,
                effect.description,
            ]
            for effect in one.effects[:top]
        ]
        header = ("ablation (rank)", "attribution (rank)", "token", "activation", "unit", "")
        if rows:
            blocks.append(columns_text(header, rows))
    return "\n".join(blocks)
