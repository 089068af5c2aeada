"""Steer a model by a unit of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from autointerp.apps.cli import _options, columns_text, say
from autointerp.apps.cli._options import Output, options
from autointerp.errors import BadInput

if TYPE_CHECKING:
    from autointerp.pipeline.lab import LabResult


@options
def command(
    unit: Annotated[
        list[str],
        typer.Argument(
            help="Name of the unit, such as features/12 or neurons/5-; several for a comparison, "
            "as with a control: random/3.",
            metavar="UNIT...",
        ),
    ],
    run: _options.RunOption = "main",
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Text to continue; repeat it for several.", show_default="an empty text"),
    ] = None,
    factor: Annotated[
        str,
        typer.Option(
            help="Multiples of the unit's maximum: numbers and ranges, such as -5,0,5 or -10..10 "
            "(5 values) or -10..10/9 (9 values); 0 ablates it.",
        ),
    ] = "-10..10",
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a completion.")] = 30,
    temperature: Annotated[
        float, typer.Option(min=0, help="Of sampling; 0 takes the likeliest token.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, the same at all factors.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    output: Output = Output(),
) -> None:
    """Complete a prompt with units clamped at multiples of their maximum, and without.

    The model goes on from SAE(x) with the unit clamped, plus the SAE's error, at every position.
    Beside each completion stand its perplexity under the unsteered model and the share of its
    tokens that are the first of their kind: a high perplexity, or a low share, says that the model
    is broken rather than steered. Rows are stored in the run as those of the lab `completions`, in
    place of the unit's earlier ones.

    Example: autointerp steer features/158 random/3 --factor -10..10 --prompt "The king"
    """
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.lab import run_lab

    asked = {
        "prompts": json.dumps(prompt or [""]),
        "factors": factor,
        "tokens": str(tokens),
        "temperature": str(temperature),
        "seed": str(seed),
    }
    with Show(output) as show:
        result = run_lab("completions", run, options=asked, on=show, units=unit, needs_ok=True)
    if all(row["outcome"] != "ok" for row in result.rows):  # as the run already says
        reasons = "; ".join(f"{row['unit']}: {row['outcome']}" for row in result.rows)
        raise BadInput(f"no unit can be steered ({reasons}); name a feature or a neuron that fires")
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        say(_text(result))


def _text(result: LabResult) -> str:
    """Return a table a unit and prompt."""
    blocks: dict[tuple[str, str | None], list[list[str]]] = {}
    for row in result.rows:
        cells = blocks.setdefault((row["unit"], row["prompt"]), [])
        if row["outcome"] != "ok":
            cells.append(["–", "–", "–", row["outcome"]])
            continue
        factor = "none" if row["factor"] is None else f"{row['factor']:g}"
        figures = ["–" if row[n] is None else f"{row[n]:.3g}" for n in ("perplexity", "distinct")]
        cells.append([factor, *figures, json.dumps(row["completion"], ensure_ascii=False)])
    header = ("factor", "perplexity", "distinct", "completion")
    return "\n\n".join(
        f"{unit}" + (f" · {json.dumps(prompt, ensure_ascii=False)}" if prompt else "")
        + f"\n{columns_text(header, cells)}"
        for (unit, prompt), cells in blocks.items()
    )  # fmt: skip
