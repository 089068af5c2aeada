"""What rating will probably take, said before it is paid: calls, tokens, dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autointerp.engine.batches import open_batches_text
from autointerp.engine.work import pending_work
from autointerp.questions.forms import WRITTEN
from autointerp.questions.question import Question
from autointerp.questions.trials import Trial, trial_item
from autointerp.raters import (
    ComposedRater,
    Price,
    Rater,
    ServedRater,
    SteppedRater,
    returned_request,
)
from autointerp.records import Item, ItemContext, Request
from autointerp.store.run import Run
from autointerp.text import count, dollars

BYTES_PER_TOKEN = 3.6  # of English within JSON
BYTES_PER_CORPUS_TOKEN = 4.5
TOKENS_OUT = 90  # rationale, description, score
TOKENS_OUT_ON_DESCRIPTION = 60  # rationale, score; or rationale, description
TOKENS_OUT_EACH = {"judge": 12, "match": 0.75, "predict": 30}  # of each context
TOKENS_OUT_AHEAD = {"judge": 10, "match": 36, "predict": 10}  # of what stands round these
TOKENS_OUT_WRITTEN = 45 * WRITTEN  # texts of one or two sentences
COMPUTED_OUT_EACH = {"embed": 0, "expect": 2}  # one token after each prompt, which servers demand
LOOKED_AT = 20  # items from which the size of the others is taken
TRIALS_LOOKED_AT = 50  # at least, where there are so many


@dataclass(frozen=True)
class Forecast:
    """What `calls` calls will probably take.

    Attributes:
        rater: Its name.
        units: How many units the calls are about; None where only calls are counted.
        tokens_in, tokens_out: None for a rater that counts no tokens.
        cost_usd: None where no price is known.
        price: By which it was reckoned.
        batch: Whether the price is that of the batch API.
        made_before: How many of `calls` were made already.
        in_batches: What a provider has of the rater's calls, in words; empty where it has nothing.
    """

    rater: str
    calls: int
    units: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    price: Price | None = None
    batch: bool = False
    made_before: int = 0
    in_batches: str = ""

    def __str__(self) -> str:
        if self.units is not None:
            text = self._by_units(self.units)
            return f"{text}; {self.in_batches}" if self.in_batches else text
        calls = count(self.calls, "call")
        if self.tokens_in is None or self.tokens_out is None:
            return calls
        tokens = f"about {self.tokens_in:,} tokens in and {self.tokens_out:,} out"
        return f"{calls}, {tokens}, {self._cost_text()}"

    @property
    def estimate(self) -> Forecast:
        """The forecast itself, as those of other work have one beside what they say of the work."""
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        values = asdict(self)
        if self.price is not None and self.price.as_of is not None:
            values["price"]["as_of"] = self.price.as_of.isoformat()
        return values

    def _cost_text(self) -> str:
        if self.price is None or self.cost_usd is None:
            return "price unknown (--price-in, --price-out)"
        if self.cost_usd == 0 and self.price.tokens_in == 0:
            return "free"
        by = f"list of {self.price.as_of}" if self.price.as_of else "your price"
        return f"about {dollars(self.cost_usd)} ({by}{', batch' if self.batch else ''})"

    def _by_units(self, units: int) -> str:
        """Return what the calls will take, what 1,000 such units would, and how many were made."""
        if not self.calls:
            return "nothing to ask"
        scale = 1000 / max(1, units)
        text = f"{count(self.calls, 'call')} about {count(units, 'unit')}"
        text += f" ({scale * self.calls:,.0f} per 1,000 units)"
        made = f"; {self.made_before:,} of them were asked before" if self.made_before else ""
        if self.tokens_in is None or self.tokens_out is None:
            return f"{text}; {self.rater} costs nothing{made}"
        text += (
            f"; per 1,000 units about {scale * self.tokens_in / 1e6:,.1f}M tokens in, "
            f"{scale * self.tokens_out / 1e6:,.2f}M out"
        )
        if self.cost_usd is None:
            return f"{text}; price unknown (--price-in, --price-out){made}"
        text += f", {dollars(scale * self.cost_usd)}{' by batch' if self.batch else ''}"
        these = "this" if units == 1 else f"these {units}"
        return f"{text} ({these}: {dollars(self.cost_usd)}){made}"


def forecast_calls(
    rater: Rater,
    question: Question,
    calls: int,
    items: Sequence[Item] = (),
    run: Run | None = None,
    batch: bool = False,
    contexts: Sequence[int] = (),
) -> Forecast:
    """Return what `calls` calls about items like `items` will take.

    Without items, one as large as the question allows stands for them. `contexts` are the numbers
    of contexts that calls are about, those of `items` if none are given. Once the rater has
    replied to the same question in `run`, its own replies say how long the next ones will be.
    """
    if isinstance(rater, ComposedRater):
        parts = [
            forecast_calls(
                member,
                question,
                calls,
                items if member.evidence == rater.evidence else (),
                run,
                batch,
                contexts,
            )
            for member in rater.members
        ]
        return _sum(rater.name, parts)
    if not isinstance(rater, ServedRater):
        return Forecast(rater.name, calls)
    items = items or [largest_item(question)]
    contexts = contexts or [len(item.contexts) for item in items]
    requests = [_first_request(rater, item, question) for item in items]
    size = sum(rater.extent(request).prompt_bytes for request in requests) / len(requests)
    each_in = size / BYTES_PER_TOKEN
    each_out = sum(reply_tokens(question, number) for number in contexts) / len(contexts)
    if run is not None and not isinstance(rater, SteppedRater):  # of which a call is a step
        seen = run.mean_tokens(rater.name, question.digest)
        each_in, each_out = seen or (each_in, each_out)
    tokens_in, tokens_out = round(calls * each_in), round(calls * each_out)
    if isinstance(rater, SteppedRater) and _in_steps(question):
        calls *= rater.expected_steps
    price = rater.price
    cost = price.cost_usd(tokens_in, tokens_out, batch=batch) if price else None
    return Forecast(rater.name, calls, None, tokens_in, tokens_out, cost, price, batch)


def _in_steps(question: Question) -> bool:
    """Whether a rater that goes by steps takes several for it; it asks all else in one call."""
    return question.about == "unit" and question.form in ("rate", "describe")


def _first_request(rater: Rater, item: Item, question: Question) -> Request:
    """Return what is sent about an item, or a judgement as a whole where that takes steps."""
    if isinstance(rater, SteppedRater) and not _in_steps(question):
        return next(rater.steps(item, question)).request
    return returned_request(rater, rater.request(item, question))


def _sum(rater: str, parts: Sequence[Forecast]) -> Forecast:
    """Return what the calls of several raters take; those that count no tokens are free."""
    calls = sum(part.calls for part in parts)
    served = [part for part in parts if part.tokens_in is not None]
    if not served:
        return Forecast(rater, calls)
    costs = [part.cost_usd for part in served]
    known = [cost for cost in costs if cost is not None]
    paid = max(served, key=lambda part: part.cost_usd or 0.0)
    return Forecast(
        rater,
        calls,
        None,
        sum(part.tokens_in or 0 for part in served),
        sum(part.tokens_out or 0 for part in served),
        sum(known) if len(known) == len(costs) else None,
        paid.price,
        paid.batch,
    )


def forecast_trials(
    run: Run,
    rater: Rater,
    question: Question,
    trials: Sequence[Trial],
    units: int,
    batch: bool = False,
) -> Forecast:
    """Return what the calls of trials about `units` units will take, those made before included."""
    if not trials:
        return Forecast(rater.name, 0, units)
    seed = run.settings.seed
    ids = {trial.item_id(seed) for trial in trials}
    before = len(trials) - len(pending_work(run, sorted(ids), rater, 1))
    sample = trials[:: max(1, len(trials) // TRIALS_LOOKED_AT)]
    if not isinstance(rater, ServedRater):
        sample = ()
    contexts = run.contexts_numbered(sorted({p.context for t in sample for p in t.pieces}))
    items = [trial_item(trial.item_id(seed), trial, contexts, question) for trial in sample]
    sizes = [len(trial.pieces) for trial in trials]
    expected = forecast_calls(rater, question, len(trials), items, run, batch, sizes)
    in_batches = open_batches_text(run, rater.name)
    return replace(expected, units=units, made_before=before, in_batches=in_batches)


def reply_tokens(question: Question, contexts: int) -> int:
    """Return the tokens that a reply about so many contexts will probably take."""
    if question.form in COMPUTED_OUT_EACH:
        return COMPUTED_OUT_EACH[question.form] * contexts
    if question.form == "write":
        return TOKENS_OUT_WRITTEN
    if question.form in TOKENS_OUT_EACH:
        each = TOKENS_OUT_EACH[question.form] * contexts
        return TOKENS_OUT_AHEAD[question.form] + round(each)
    if question.form != "rate" or question.about == "description":
        return TOKENS_OUT_ON_DESCRIPTION
    return TOKENS_OUT


def largest_item(question: Question) -> Item:
    """Return an item of as many contexts as the question shows, each of full length."""
    shows = question.shows
    length = 2 * shows.each_side + 1
    word = "x" * round(BYTES_PER_CORPUS_TOKEN)
    context = ItemContext(
        tokens=(word,) * length,
        activations=(0.0,) * length if shows.activations == "scaled" else None,
        focus=shows.each_side if shows.mark else None,
        split=shows.split,
        silent=False,
    )
    return Item("0" * 16, question.id, (context,) * shows.contexts)
