"""The Rater protocol, and the types that raters and the engine exchange."""

from __future__ import annotations

import datetime
import hashlib
import json
import shlex
from collections.abc import AsyncIterator, Collection, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from autointerp import extensions
from autointerp.errors import RaterError
from autointerp.questions.question import COMPUTED, Form, Question
from autointerp.raters._prices import Price
from autointerp.records import Item, ItemContext, Reply, Request
from autointerp.settings import check_number, plain_fields

Structured = Literal["json_schema", "tool", "text", "choice"]
STRUCTURED: tuple[Structured, ...] = ("json_schema", "tool", "text", "choice")


@dataclass(frozen=True)
class RaterOptions:
    """Options of a rater beside its name.

    Attributes:
        base_url: Of a compatible server; None for the provider's own.
        timeout_s: Seconds for one attempt, from sending to the last byte.
        max_output_tokens: Upper bound of a reply; a reasoning model's thoughts count.
        price_in, price_out: US dollars per million tokens; None to look the model up.
        seed: For raters that draw at random.
        structured: How to ask for the reply's form; None to find out what the server can do.
            `choice` is no JSON: one token, and the level that had most probability there.
        effort: Of a reasoning model, in the provider's words; None for the provider's default.
    """

    base_url: str | None = None
    timeout_s: float = 120.0
    max_output_tokens: int = 1024
    price_in: float | None = None
    price_out: float | None = None
    seed: int = 0
    structured: Structured | None = None
    effort: str | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in ("timeout_s", "max_output_tokens", "price_in", "price_out", "seed"):
            check_number(name, getattr(self, name))

    @property
    def in_names(self) -> str:
        """Those that decide what a rater is called, as a command gives them, each after a space."""
        given = {"base-url": self.base_url, "structured": self.structured}
        return "".join(f" --{name} {shlex.quote(said)}" for name, said in given.items() if said)


class Rater(Protocol):
    """A judge of items.

    Attributes:
        name: As it stands in the ratings, such as `lexical` or `openai:MODEL`.
        evidence: `shown` if it judges by what the question shows; `all` if its items are to carry
            every context of both splits, silent ones included.
        is_llm: Whether a language model judges; reports say so.
    """

    name: str
    evidence: Literal["shown", "all"]
    is_llm: bool

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Return the call that asks about `item`; pure: the same item gives the same key.

        Raises RaterError for a form of reply that the rater does not give.
        """
        ...

    async def send(self, request: Request) -> Reply:
        """Make one attempt; never retries by itself. `Reply.text` has the question's form.

        Raises AttemptFailed if no reply came, RaterError if none will ever come.
        """
        ...


def version_of(rater: Rater) -> str:
    """Return the version with which a rater's ratings are stored; empty for one that has none.

    A rater whose name does not say all that decides its answers has an attribute `version`: of its
    rules, its weights or its model's file. Other answers have another one; what it rated as
    another version is rated anew, and never mixed without a word.
    """
    version: str = getattr(rater, "version", "")  # asked of each reply; `isinstance` is slow
    return version


@dataclass(frozen=True)
class MemberAnswer:
    """What a member of a composed rater said of an item.

    Attributes:
        value: The number behind its score, `statistic` or `auroc` in its reply's details, else its
            expected score by probabilities, else the score; None without a score.
        is_score: Whether the value is on the rubric's scale: no number was behind the score.
        problem: Why there is none; empty if there is one.
    """

    value: float | None
    is_score: bool = False
    score: int | None = None
    description: str | None = None
    latency_s: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Lesson:
    """A planted unit from which a composed rater learns.

    Attributes:
        values, are_scores: Of each member, as in `MemberAnswer`; NaN without a score.
        single: Whether the unit follows one concept.
        kind: Of its first concept; empty for noise.
    """

    values: tuple[float, ...]
    are_scores: tuple[bool, ...]
    single: bool
    kind: str


@runtime_checkable
class ComposedRater(Protocol):
    """A rater whose answers are made of other raters' answers to the same question.

    The engine asks each member, as the rater that it is, about the same units; `request` and `send`
    are not called.

    Attributes:
        members: The raters.
        optional: Of each, whether an item may be answered without it.
        version: Empty until `prepare` or `learn` was called.
    """

    members: tuple[Rater, ...]
    optional: tuple[bool, ...]
    version: str

    def prepare(self, folder: Path, question: Question) -> None:
        """Read from `folder` what was learned. Raises RaterError, with a remedy, if nothing was."""
        ...

    def learn(self, folder: Path, question: Question, lessons: Sequence[Lesson]) -> None:
        """Learn from planted units, and keep it in `folder`. Raises RaterError for too few."""
        ...

    def probability(self, values: Sequence[float], without: Sequence[int] = ()) -> float:
        """Return what the members' values come to, higher for what is rated higher.

        `without`: numbers of members that are left out.
        """
        ...

    def weights(self) -> tuple[float, ...]:
        """Return the share of each member in the whole."""
        ...

    def compose(
        self, item_id: str, question: Question, repeat: int, answers: Sequence[MemberAnswer]
    ) -> tuple[Request, Reply]:
        """Return the members' answers about an item as one call and its reply; pure."""
        ...


def judges(rater: Rater) -> tuple[Rater, ...]:
    """Return who is asked where a rater is: its members, or the rater itself."""
    return rater.members if isinstance(rater, ComposedRater) else (rater,)


def require_rates(rater: Rater, question: Question) -> None:
    """Raise RaterError or BadInput if the rater, or a member of it, does not rate units so.

    Asked before units are made for it, of an item that shows next to nothing; nothing is sent.
    """
    if question.form == "rate" and question.about == "unit":
        shown = ItemContext((" a",), None, 0, "explain", False)
        for judge in judges(rater):
            returned_request(judge, judge.request(Item("", question.id, (shown,)), question))


def require_keys(rater: Rater) -> None:
    """Raise RaterError if the rater, or a member of it, asks a server whose key is not there."""
    for judge in judges(rater):
        if isinstance(judge, ServedRater):
            judge.require_key()


def returned_request(rater: Rater, value: object) -> Request:
    """Return what a rater's `request` returned. Raises RaterError if it is no request."""
    return extensions.returned(value, Request, f"rater '{rater.name}': request()", RaterError)


def returned_reply(rater: Rater, value: object, call: str = "send()") -> Reply:
    """Return what a rater's `send` returned. Raises RaterError if it is no reply of text."""
    of = f"rater '{rater.name}': {call}"
    reply = extensions.returned(value, Reply, of, RaterError)
    if not isinstance(reply.text, str):
        raise RaterError(
            f"{of} returned a Reply whose text is a value of type {type(reply.text).__name__}; it "
            "must be JSON as text (docs/extending.md)"
        )
    return reply


@dataclass(frozen=True)
class Step:
    """A call of several that a judgement takes; `question` reads its reply."""

    request: Request
    question: Question


Steps = Generator[Step, Reply, Reply]


@runtime_checkable
class SteppedRater(Protocol):
    """A rater whose judgement of an item takes several calls.

    `request` describes the judgement as a whole: under its key the final reply is kept, and it is
    never sent. Each step is a call like any other: stored at its arrival, retried, charged, and
    found in the store when the judgement is taken up again.

    Attributes:
        expected_steps: So many calls an item, for forecasts.
    """

    expected_steps: int

    def steps(self, item: Item, question: Question, repeat: int = 0) -> Steps:
        """Yield the calls one by one, be sent the reply to each, return what they amount to.

        Each reply that is sent can be read by its step's question. The same replies lead to the
        same next step: what was paid for is found by its key.
        """
        ...


@dataclass(frozen=True)
class Finding:
    """One check of `autointerp doctor`. `remedy` is empty where nothing has to be done."""

    ok: bool
    about: str
    words: str
    remedy: str = ""


@runtime_checkable
class CheckedRater(Protocol):
    """A rater that `autointerp doctor` can try."""

    async def check(self) -> list[Finding]:
        """Return what is in order and what is not, found by at most one paid call.

        Raises RaterError if it cannot be asked at all.
        """
        ...


@runtime_checkable
class ServedRater(Protocol):
    """A rater behind a server: opened before the first call, priced, paced by its headers.

    Attributes:
        price: None where the model has no listed price.
        headroom: What the server last said is left of its limits; None if it never did.
        concurrency: Calls in flight at most, unless the user says otherwise.
    """

    price: Price | None
    headroom: Headroom | None
    concurrency: int

    def require_key(self) -> None:
        """Raise RaterError if the rater needs a key that the environment lacks."""
        ...

    async def open(self, remembered: str | None) -> str | None:
        """Connect; return what is to be remembered of the server, or None if there is nothing.

        `remembered` is what an earlier `open` returned: with it nothing is asked again. Raises
        AttemptFailed where another `open` may succeed, RaterError where none will.
        """
        ...

    async def close(self) -> None:
        """Let connections and servers go."""
        ...

    def extent(self, request: Request) -> Extent:
        """Return how large a call is, without making it."""
        ...


@dataclass(frozen=True)
class BatchState:
    """The state of a provider's batch.

    Attributes:
        ended: Nothing more will come; what there is can be read.
        words: The provider's own, for people.
        failure: Why calls without a reply of their own have none; empty if it does not say.
        unmade: Those calls were never made, so that nobody pays for them, if all that came back can
            be read.
    """

    ended: bool
    words: str
    failure: str = ""
    unmade: bool = False


@runtime_checkable
class BatchRater(Protocol):
    """A rater whose server takes many calls at once, for an answer within a day.

    Attributes:
        batch_calls, batch_bytes: The most that a batch may hold.
    """

    batch_calls: int
    batch_bytes: int

    async def submit_batch(self, label: str, requests: Sequence[Request]) -> str:
        """Hand over calls; return the provider's name for them. `label` is ours."""
        ...

    async def find_batch(
        self, label: str, calls: int, since: datetime.datetime, others: Collection[str]
    ) -> str | None:
        """Return the provider's name of a batch that may have arrived before a crash, or None.

        `others` are the names of batches that are none of it.
        """
        ...

    async def batch_state(self, provider_id: str) -> BatchState:
        """Return where a batch stands."""
        ...

    def batch_results(self, provider_id: str) -> AsyncIterator[tuple[str, Reply]]:
        """Yield call keys and replies of a batch that has ended; failed calls say `error`, and
        those that may be billed all the same `perhaps_billed` in their details."""
        ...


@dataclass(frozen=True)
class Extent:
    """How large a call may be: bytes of the prompt, tokens of the reply at most."""

    prompt_bytes: int
    most_tokens_out: int


@dataclass(frozen=True)
class Headroom:
    """What is left of a server's rate limits by its last reply; None where it said nothing.

    Attributes:
        requests, tokens: Left now.
        requests_limit, tokens_limit: When nothing is used.
        requests_reset_s, tokens_reset_s: Seconds until nothing is used again.
    """

    requests: int | None = None
    requests_limit: int | None = None
    requests_reset_s: float | None = None
    tokens: int | None = None
    tokens_limit: int | None = None
    tokens_reset_s: float | None = None


class AttemptFailed(Exception):
    """Raised for an attempt without a reply; the text is one line and holds no key.

    Attributes:
        kind: `busy` (429, 529), `server` (other 5xx, a body that is no JSON), `timeout`,
            `connection`, `rejected` (this request will never be taken) or `fatal` (none will).
        transient: Worth another attempt.
        retry_after_s: Seconds that the server asked to wait.
        perhaps_billed: The server may have done the work.
        text: What came of a reply, if anything did.
    """

    def __init__(
        self,
        message: str,
        kind: Literal["busy", "server", "timeout", "connection", "rejected", "fatal"],
        transient: bool,
        retry_after_s: float | None = None,
        perhaps_billed: bool = False,
        status: int | None = None,
        text: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.transient = transient
        self.retry_after_s = retry_after_s
        self.perhaps_billed = perhaps_billed
        self.status = status
        self.text = text


def call_key(
    provider: str, place: str, body: dict[str, Any], question: Question, repeat: int
) -> str:
    """Return the key under which a call's reply is kept: 64 hex digits.

    `place` is the server's URL, or what else decides who answers, such as a model file's digest.
    """
    content = {
        "provider": provider,
        "base_url": place,
        "body": body,
        "rubric": question.digest,
        "repeat": repeat,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# Which raters give the forms that no text answers.
GIVEN_BY: dict[Form, str] = {
    "embed": "embeddings: --rater embed:FOLDER or openai-embeddings:MODEL gives them",
    "expect": "a model's loss on a text: --rater likelihood:PATH or openai-completions:MODEL "
    "gives it",
}


def require_written(rater: str, question: Question) -> None:
    """Raise RaterError if the question's form is computed: a rater that writes cannot give it."""
    if question.form in COMPUTED:
        raise RaterError(f"{rater}: scorer '{question.id}' needs {GIVEN_BY[question.form]}")


def require_form(rater: str, question: Question, form: Form, scorer: str) -> None:
    """Raise RaterError if the question's form is not the only one that a rater gives."""
    if question.form != form:
        raise RaterError(
            f"{rater} cannot answer '{question.id}'; it answers one scorer: "
            f"autointerp score RUN --scorer {scorer} --rater {rater}"
        )
