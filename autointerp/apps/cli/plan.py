"""Say how many units are needed, and what rating them takes."""

from __future__ import annotations

import typer


def command(
    effect: float = typer.Option(
        0.65, help="P(a unit of one source outscores one of the other) to be found."
    ),
    power: float = typer.Option(0.8, help="Chance of finding it."),
    alpha: float = typer.Option(0.05, help="Two-sided level of the test."),
    rubric: str = typer.Option("interpretability-1-5", help="A rubric's id, or the path of one."),
    sources: int = typer.Option(2, min=2, help="Sources to be rated with so many units each."),
    controls: int = typer.Option(50, min=0, help="Units of each of the three controls."),
    repeats: int = typer.Option(1, min=1, help="Times each unit is rated."),
    lost: float = typer.Option(0.05, min=0, max=0.9, help="Share expected to give no score."),
    usd_per_call: float = typer.Option(
        None, min=0, help="Price of a rating; `rate --dry-run` estimates it.", show_default=False
    ),
) -> None:
    """Print the units per source, the calls and the cost that an effect takes to be found.

    Example: autointerp plan --effect 0.65 --power 0.8
    """
    import math

    from autointerp.questions.rubric_files import load_rubric
    from autointerp.stats.power import plan_units

    scale = load_rubric(rubric).scores
    plan = plan_units(effect, power, alpha, len(scale))
    asked = math.ceil(plan.units / (1 - lost))
    calls = (asked * sources + 3 * controls) * repeats
    cost = f", about {calls * usd_per_call:,.2f} US dollars" if usd_per_call is not None else ""
    typer.echo(
        f"{plan.units} scored units per source find P(superiority) = {effect:g} with power "
        f"{plan.power:.2f} (Brunner-Munzel, two-sided, alpha {alpha:g}, scale of {len(scale)} "
        f"levels).\n"
        f"Ask about {asked} per source, as {100 * lost:g} % may give no score: "
        f"{calls:,} calls for {sources} sources and {controls} units of each control"
        f"{f', {repeats} times each' if repeats > 1 else ''}{cost}.\n"
        f"Then: autointerp rate --source features --source neurons --n {asked}\n"
        f"Assumed: {plan.assumption}."
    )
