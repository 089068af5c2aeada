"""Rate units: harvest, sample, blind and rate whatever of it is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from autointerp.apps.cli import _options as _asking


def command(
    source: list[str] = typer.Option(
        [],
        "--source",
        "-s",
        help="Where units come from; repeat for several.",
        show_default="features; of an imported run, all it holds",
    ),
    n: int = typer.Option(
        None,
        "--n",
        "-n",
        help="Units of each source.",
        show_default="200; of an imported run, all it holds",
    ),
    rubric: str = typer.Option("interpretability-1-5", help="A rubric's id, or the path of one."),
    rater: str = typer.Option("lexical", help="NAME or NAME:MODEL; see `autointerp raters`."),
    run: str = typer.Option("main", help="Name of the run: runs/NAME."),
    subject: str = typer.Option("embedded", help="embedded, or the path of an autointerp.toml."),
    seed: int = typer.Option(None, help="Of all that is drawn.", show_default="0"),
    controls: int = typer.Option(
        50, min=0, help="Units of each control rated beside them; 0 for none."
    ),
    repeats: int = typer.Option(1, min=1, help="Times each item is rated."),
    base_url: str = _asking.BASE_URL,
    batch: bool = _asking.BATCH,
    resume: bool = typer.Option(
        False, "--resume", help="Collect what the run's batches have brought, and stop."
    ),
    budget_usd: float = _asking.BUDGET_USD,
    price_in: float = _asking.PRICE_IN,
    price_out: float = _asking.PRICE_OUT,
    concurrency: int = _asking.CONCURRENCY,
    retries: int = _asking.RETRIES,
    timeout: float = _asking.TIMEOUT,
    max_output_tokens: int = _asking.MAX_OUTPUT_TOKENS,
    structured: str = _asking.STRUCTURED,
    effort: str = _asking.EFFORT,
    dry_run: bool = _asking.DRY_RUN,
    overlap: int = typer.Option(
        None, min=1, help="People: each item is rated by so many.", show_default="by everybody"
    ),
    repeat_share: float = typer.Option(
        0.1, min=0, max=1, help="People: share of the items that come up once more, unannounced."
    ),
    plain: bool = typer.Option(False, "--plain", help="People: lines instead of a screen."),
    planned: bool = typer.Option(
        False, "--planned", help="People: rate what `autointerp plan-humans` drew last."
    ),
    pack: Path = typer.Option(
        None, help="People: rate this file of `autointerp pack`.", show_default=False
    ),
    guess: bool = typer.Option(
        False,
        "--guess",
        help="Models: ask of each rated item, too, whether it is a feature, a neuron or a control.",
    ),
    explainer: str = typer.Option(
        None,
        help="Rubrics about a description: whose.",
        show_default="the only one's; the rater's own where there are none yet",
    ),
    contexts: int = typer.Option(
        30, min=3, max=1000, help="Rubrics about a description: contexts of each unit, at most."
    ),
) -> None:
    """Rate units of one or several sources, blind, controls among them.

    Whatever is missing is made first; what is there is not made again.

    Example: autointerp rate --source features --n 200
    """
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False)  # names are shown as they are
    if pack is not None:
        from autointerp.apps.terminal.sit import rate_pack

        return rate_pack(pack, rater, plain, console)

    from autointerp.errors import BadInput
    from autointerp.pipeline.rate import asked_for, rate
    from autointerp.pipeline.rate import resume as collect

    if resume:
        collect(run, console)
        return None
    sources, most = asked_for(run, source, n)
    asking = _asking.wish(
        run,
        rater,
        base_url=base_url,
        batch=batch,
        budget_usd=budget_usd,
        price_in=price_in,
        price_out=price_out,
        concurrency=concurrency,
        retries=retries,
        timeout=timeout,
        max_output_tokens=max_output_tokens,
        structured=structured,
        effort=effort,
        seed=seed,
    )
    wish = replace(
        asking,
        sources=sources,
        n=most,
        rubric=rubric,
        subject=subject,
        controls=controls,
        repeats=repeats,
    )
    if rater.partition(":")[0] == "human":  # nothing is open while people rate
        from autointerp.people.session import Sitting
        from autointerp.pipeline.sit import dry_sitting, rate_by_person

        if dry_run:
            return dry_sitting(wish, console)
        return rate_by_person(wish, Sitting(overlap, plain, repeat_share, planned), console)
    from autointerp.questions.rubric_files import load_rubric

    if load_rubric(rubric).about == "description":
        from autointerp.pipeline.describe import Choice, rate_descriptions

        if guess:
            raise BadInput(f"--guess asks what units are; rubric '{rubric}' is about descriptions")
        choice = Choice(tuple(source), n, explainer, with_controls=controls > 0)
        rate_descriptions(wish, choice, console, contexts, dry_run)
        return None
    rate(wish, console, dry_run=dry_run)
    if guess and not dry_run:
        from autointerp.pipeline.guess import guess_by_model

        guess_by_model(wish, console)
    return None
