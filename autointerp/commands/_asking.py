"""How a rater is asked: options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from autointerp.pipeline import Wish

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
DRY_RUN = typer.Option(
    False, "--dry-run", help="Say what would be asked and what it would cost, and stop."
)


def wish(
    run: str,
    rater: str,
    base_url: str | None,
    batch: bool,
    budget_usd: float | None,
    price_in: float | None,
    price_out: float | None,
    concurrency: int | None,
) -> Wish:
    """Return the wish that these options make."""
    from autointerp.pipeline import Wish
    from autointerp.raters import RaterOptions
    from autointerp.rating import RatingPolicy

    return Wish(
        sources=(),
        rater=rater,
        run=run,
        options=RaterOptions(base_url=base_url, price_in=price_in, price_out=price_out),
        policy=RatingPolicy(concurrency=concurrency, budget_usd=budget_usd),
        batch=batch,
    )
