"""Say how many units are needed, and what rating them takes."""

from __future__ import annotations

from typing import Annotated

import typer

from autointerp.apps.cli import _options, say


def command(
    effect: Annotated[
        float,
        typer.Option(help="P(a unit of one source outscores one of the other) to be detected."),
    ] = 0.65,
    power: Annotated[float, typer.Option(help="Chance of detecting it.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Two-sided level of the test.")] = 0.05,
    rubric: _options.RubricName = "interpretability-1-5",
    sources: Annotated[
        int, typer.Option(min=2, help="Sources that are rated, with so many units each.")
    ] = 2,
    controls: Annotated[int, typer.Option(min=0, help="Units of each of the three controls.")] = 50,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each unit is rated.")] = 1,
    lost: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of ratings expected to give no score.")
    ] = 0.05,
    usd_per_call: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Price of a rating in US dollars; `rate --dry-run` estimates it.",
            show_default=False,
        ),
    ] = None,
    as_json: _options.AsJson = False,
) -> None:
    """Print the units per source, the calls and the cost that it takes to detect an effect.

    Example: autointerp plan --effect 0.65 --power 0.8
    """
    import json
    import math
    from dataclasses import asdict

    from autointerp.questions.rubric_files import load_rubric
    from autointerp.stats.power import plan_units

    scale = load_rubric(rubric).scores
    plan = plan_units(effect, power, alpha, len(scale))
    asked = math.ceil(plan.units / (1 - lost))
    calls = (asked * sources + 3 * controls) * repeats
    cost_usd = None if usd_per_call is None else calls * usd_per_call
    if as_json:
        fields = {
            **asdict(plan),
            "rubric": rubric,
            "units_to_ask": asked,
            "sources": sources,
            "controls": 3 * controls,
            "repeats": repeats,
            "calls": calls,
            "cost_usd": cost_usd,
        }
        typer.echo(json.dumps(fields, indent=2))
        return
    cost = f", about {cost_usd:,.2f} US dollars" if cost_usd is not None else ""
    say(
        f"{plan.units} scored units per source find P(superiority) = {effect:g} with power "
        f"{plan.power:.2f} (Brunner-Munzel, two-sided, alpha {alpha:g}, scale of {len(scale)} "
        f"levels).\n"
        f"Ask about {asked} per source, as {100 * lost:g} % may give no score: "
        f"{calls:,} calls for {sources} sources and {controls} units of each control"
        f"{f', {repeats} times each' if repeats > 1 else ''}{cost}.\n"
        f"Then: autointerp rate --source features --source neurons --n {asked}\n"
        f"Assumed: {plan.assumption}."
    )
