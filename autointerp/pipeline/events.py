"""What happens while a verb works, as objects; terminal, notebook and service show them.

A verb takes `on`, a function that is called with each event. `str(event)` is one line for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.text import count, dollars

if TYPE_CHECKING:
    from autointerp.engine.forecast import Forecast
    from autointerp.engine.work import Tally
    from autointerp.stats.results import Statistic
    from autointerp.stats.sequential import Stop


@dataclass(frozen=True)
class Event:
    """The parent of all events."""


On = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing with an event: the default of every verb."""


@dataclass(frozen=True)
class RunOpened(Event):
    """A run was opened.

    Attributes:
        subject: The model's name or path, or `imported`.
        is_new: Whether this call created it.
        similar: Name of an existing run with a similar name; empty if there is none.
        by_default: Whether nobody has named the new run's subject, so that it is the embedded one.
    """

    run: str
    subject: str
    is_new: bool
    similar: str = ""
    by_default: bool = False

    def __str__(self) -> str:
        meant = f"; did you mean '{self.similar}', which exists?" if self.similar else ""
        return opened_text(self.run, self.subject, self.is_new, self.by_default) + meant


def opened_text(run: str, subject: str, is_new: bool, by_default: bool) -> str:
    """Return which run is meant and what it is of, in words."""
    text = f"{'new ' * is_new}run '{run}', subject {subject}"
    if by_default:
        text += ", the small model that comes with autointerp, since nothing names another"
    return text


@dataclass(frozen=True)
class Note(Event):
    """Something that the user should know, though the work continues."""

    text: str

    def __str__(self) -> str:
        return f"note: {self.text}"


@dataclass(frozen=True)
class Step(Event):
    """A stage began or ended."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Waiting(Event):
    """The verb waits: for what another process has to release, or for a server."""

    reason: str

    def __str__(self) -> str:
        return f"waiting: {self.reason}"


@dataclass(frozen=True)
class Harvesting(Event):
    """The corpus is being read.

    Attributes:
        label: The units that are harvested, such as `200 features, 50 random`.
        tokens: Tokens read so far.
        total: Tokens that the pass will read; None where the corpus's length is not known.
        exact: Whether `total` was counted; else it is an estimate from the first documents.
        verb: What it is read for.
    """

    label: str
    tokens: int
    total: int | None = None
    exact: bool = False
    verb: str = "harvest"

    @property
    def amount(self) -> str:
        """`1,000 of 5,000 tokens`; `of about` where the total is an estimate."""
        of = "" if self.total is None else f" of {'' if self.exact else 'about '}{self.total:,}"
        return f"{self.tokens:,}{of} tokens"

    def __str__(self) -> str:
        return f"{self.verb} {self.label}: {self.amount}"


@dataclass(frozen=True)
class Forecasted(Event):
    """What the calls that follow will probably take."""

    forecast: Forecast

    def __str__(self) -> str:
        return f"{self.forecast.rater}: {self.forecast}"


@dataclass(frozen=True)
class Asking(Event):
    """A rater is being asked; `tally` counts what came back so far."""

    label: str
    tally: Tally

    @property
    def spent(self) -> str:
        """What was spent, and how many calls have no known price; the tokens where none has."""
        tally = self.tally
        if not tally.calls or tally.unpriced == tally.calls:
            return f"{tally.tokens_in + tally.tokens_out:,} tokens" if tally.tokens_in else ""
        unknown = f" and {count(tally.unpriced, 'call')} of unknown price" if tally.unpriced else ""
        return f"{dollars(tally.spent_usd)}{unknown}"

    def __str__(self) -> str:
        done = f"{self.label}: {self.tally.done:,} of {count(self.tally.total, 'item')}"
        return ", ".join(filter(None, (done, self.spent)))


def tell_asking(label: str, on: On) -> Callable[[Tally], None]:
    """Return what an engine calls with its tally: it becomes events for `on`."""

    def tell(tally: Tally) -> None:
        on(Waiting(tally.waiting) if tally.waiting else Asking(label, tally))

    return tell


@dataclass(frozen=True)
class Looked(Event):
    """Two sources were compared while rating goes on, by a stopping rule.

    Attributes:
        number: Of this rater's looks at them.
        n: Units of each source that were asked about.
        interval: Of P(first > second), ties halved, as the look may read it.
        stop: Whether the rule stops here, and why or why not.
    """

    number: int
    first: str
    second: str
    n: int
    interval: Statistic
    stop: Stop

    def __str__(self) -> str:
        estimate = f"probability of superiority, {self.first} over {self.second}, {self.interval}"
        return f"look {self.number} at {self.n} a source: {estimate}; {self.stop.why}"


@dataclass(frozen=True)
class Measuring(Event):
    """A lab measures units; `done` of `total` have rows so far."""

    lab: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.lab}: {self.done:,} of {count(self.total, 'unit')}"


@dataclass(frozen=True)
class Ablating(Event):
    """Units of a source are set to 0, one at one position at a time; `done` of `total` so far."""

    source: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"ablating {self.source}: {self.done:,} of {count(self.total, 'activation')}"


@dataclass(frozen=True)
class Probing(Event):
    """Tokens of the vocabulary are tried on a unit; `done` of `total` so far."""

    unit: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"vocabulary on {self.unit}: {self.done:,} of {count(self.total, 'token')}"


@dataclass(frozen=True)
class Probed(Event):
    """A sentence was read for a unit.

    Attributes:
        peak: The unit's maximum in the run, in the units of `activations`.
    """

    unit: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: float

    def __str__(self) -> str:
        marked = (
            f"{token}[{value:.3g}]" if value > 0 else token
            for token, value in zip(self.tokens, self.activations, strict=True)
        )
        return f"{self.unit}: {''.join(marked)}"


@dataclass(frozen=True)
class HandedOver(Event):
    """Calls were submitted to a provider's batch API."""

    run: str
    calls: int
    batches: int

    def __str__(self) -> str:
        return (
            f"submitted {count(self.calls, 'call')} in "
            f"{count(self.batches, 'batch', 'batches')}; "
            f"`autointerp rate --resume --run {self.run}` collects them, within a day"
        )
