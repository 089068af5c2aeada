"""How a rater is asked: options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from autointerp.pipeline.rate import Wish

BASE_URL = typer.Option(
    None, help="Of a server that speaks the rater's protocol.", show_default="the provider's"
)
BATCH = typer.Option(
    False, "--batch", help="Hand the work to the provider's batch API, at half the price."
)
BUDGET_USD = typer.Option(
    None, min=0, help="What the run may cost in all.", show_default="no limit"
)
PRICE_IN = typer.Option(
    None, help="US dollars per million tokens read.", show_default="from the list"
)
PRICE_OUT = typer.Option(
    None, help="US dollars per million tokens written.", show_default="from the list"
)
CONCURRENCY = typer.Option(
    None, min=1, help="Calls in flight at most.", show_default="the rater's own"
)
RETRIES = typer.Option(8, min=0, help="Times a call that brought no reply is made again.")
TIMEOUT = typer.Option(120.0, min=0.1, help="Seconds for one attempt.")
MAX_OUTPUT_TOKENS = typer.Option(1024, min=16, help="Of a reply.")
STRUCTURED = typer.Option(
    None,
    help="How a reply's form is asked for: json_schema, tool or text.",
    show_default="what the server can do",
)
EFFORT = typer.Option(
    None, help="Of a reasoning model, in its provider's words.", show_default="its own"
)
DRY_RUN = typer.Option(
    False, "--dry-run", help="Say what would be asked and what it would cost, and stop."
)


def wish(
    run: str,
    rater: str,
    *,
    base_url: str | None,
    batch: bool,
    budget_usd: float | None,
    price_in: float | None,
    price_out: float | None,
    concurrency: int | None,
    retries: int,
    timeout: float,
    max_output_tokens: int,
    structured: str | None,
    effort: str | None,
    seed: int | None = None,
) -> Wish:
    """Return the wish that these options make."""
    from autointerp.engine.retry import RetryPolicy
    from autointerp.engine.work import RatingPolicy
    from autointerp.pipeline.rate import Wish
    from autointerp.raters import RaterOptions

    options = RaterOptions(
        base_url=base_url,
        timeout_s=timeout,
        max_output_tokens=max_output_tokens,
        price_in=price_in,
        price_out=price_out,
        seed=seed or 0,
        structured=cast(Any, structured),
        effort=effort,
    )
    policy = RatingPolicy(RetryPolicy(retries=retries), concurrency, budget_usd)
    return Wish(
        sources=(), rater=rater, run=run, seed=seed, options=options, policy=policy, batch=batch
    )
