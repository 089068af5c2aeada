"""What rating will probably take, said before it is paid: calls, tokens, dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autointerp.questions.forms import Task
from autointerp.questions.rubric import Rubric
from autointerp.raters import Rater, ServedRater
from autointerp.raters._prices import Price
from autointerp.records import Item, ItemContext
from autointerp.store.run import Run

BYTES_PER_TOKEN = 3.6  # of English within JSON
BYTES_PER_CORPUS_TOKEN = 4.5
TOKENS_OUT = 90  # rationale, description, score
TOKENS_OUT_ON_DESCRIPTION = 60  # rationale, score; or rationale, description
TOKENS_OUT_EACH = {"judge": 12, "predict": 30}  # of each context
LOOKED_AT = 20  # items from which the size of the others is taken


@dataclass(frozen=True)
class WorkEstimate:
    """What `calls` calls will probably take.

    Attributes:
        tokens_in, tokens_out: None for a rater that counts no tokens.
        cost_usd: None where no price is known.
        price: By which it was reckoned.
    """

    calls: int
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    price: Price | None = None
    batch: bool = False

    def __str__(self) -> str:
        calls = f"{self.calls:,} calls"
        if self.tokens_in is None or self.tokens_out is None:
            return calls
        tokens = f"about {self.tokens_in:,} tokens in and {self.tokens_out:,} out"
        return f"{calls}, {tokens}, {self._cost_text()}"

    def _cost_text(self) -> str:
        if self.price is None or self.cost_usd is None:
            return "price unknown (--price-in, --price-out)"
        if self.cost_usd == 0 and self.price.tokens_in == 0:
            return "free"
        by = f"list of {self.price.as_of}" if self.price.as_of else "your price"
        return f"about ${self.cost_usd:.2f} ({by}{', batch' if self.batch else ''})"


def estimate_work(
    rater: Rater,
    rubric: Rubric,
    calls: int,
    items: Sequence[Item] = (),
    run: Run | None = None,
    batch: bool = False,
) -> WorkEstimate:
    """Return what `calls` calls about items like `items` will take.

    Without items, one as large as the rubric allows stands for them. Once the rater has replied
    to the same question in `run`, its own replies say how long the next ones will be.
    """
    if not isinstance(rater, ServedRater):
        return WorkEstimate(calls)
    items = items[:LOOKED_AT] or [largest_item(rubric)]
    requests = [rater.request(item, rubric) for item in items]
    size = sum(rater.extent(request).prompt_bytes for request in requests) / len(requests)
    each_in = size / BYTES_PER_TOKEN
    each_out = sum(reply_tokens(rubric, len(item.contexts)) for item in items) / len(items)
    if run is not None:
        seen = run.mean_tokens(rater.name, rubric.digest)
        each_in, each_out = seen or (each_in, each_out)
    tokens_in, tokens_out = round(calls * each_in), round(calls * each_out)
    price = rater.price
    cost = price.cost_usd(tokens_in, tokens_out, batch=batch) if price else None
    return WorkEstimate(calls, tokens_in, tokens_out, cost, price, batch)


def reply_tokens(rubric: Rubric, contexts: int) -> int:
    """Return the tokens that a reply about so many contexts will probably take."""
    if isinstance(rubric, Task) and rubric.form in TOKENS_OUT_EACH:
        return 10 + TOKENS_OUT_EACH[rubric.form] * contexts
    if isinstance(rubric, Task) or rubric.shows.description:
        return TOKENS_OUT_ON_DESCRIPTION
    return TOKENS_OUT


def largest_item(rubric: Rubric) -> Item:
    """Return an item of as many contexts as the rubric shows, each of full length."""
    shows = rubric.shows
    length = 2 * shows.each_side + 1
    word = "x" * round(BYTES_PER_CORPUS_TOKEN)
    context = ItemContext(
        tokens=(word,) * length,
        activations=(0.0,) * length if shows.activations == "scaled" else None,
        focus=shows.each_side if shows.mark else None,
        split=shows.split,
        silent=False,
    )
    return Item("0" * 16, rubric.id, (context,) * shows.contexts)
