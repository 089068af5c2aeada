"""What `/v1` takes and returns: the one place where it is specified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")
NUMBER = 2**31 - 1
MOST_ROWS = 500  # of a page

# Times are stored in UTC, without a zone.
Moment = Annotated[
    datetime, AfterValidator(lambda at: at if at.tzinfo is not None else at.replace(tzinfo=UTC))
]
Stamp = Annotated[  # the same as text, empty for none
    str, AfterValidator(lambda at: f"{at}+00:00" if len(at) == len("2026-01-01T00:00:00") else at)
]
RunName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name of a run.")
]


class Model(BaseModel):
    """The parent of all: nothing that is not named is taken."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Page(Model, Generic[T]):
    """A part of a list.

    `next` is the address of the next part; null at the end.
    """

    items: list[T]
    total: int
    offset: int
    next: str | None = None


class Run(Model):
    """What a run holds, in counts. `problem` says why it cannot be read; empty if it can."""

    run: str
    subject: str
    made: Stamp
    seed: int
    units: Mapping[str, Mapping[str, int]] = Field(description="By source and outcome.")
    asked: Mapping[str, int] = Field(description="Units that a rater was asked about, by source.")
    ratings: Mapping[str, Mapping[str, Mapping[str, int]]] = Field(
        description="By rater, rubric and status."
    )
    answers: Mapping[str, Mapping[str, Mapping[str, int]]] = Field(
        description="To other questions, likewise."
    )
    descriptions: Mapping[str, int] = Field(description="Units described, by explainer.")
    plan: str
    looks: int
    cost_usd: float
    charged_usd: float = Field(description="Of `cost_usd`, at most for calls of unknown cost.")
    problem: str = ""
    notes: list[str] = []


class Judge(Model):
    """A rater on a rubric, and how many units it was asked about."""

    rubric: str
    rubric_digest: str
    rater: str
    units: int


class Unit(Model):
    """A unit in a list, with the score of the list's judge."""

    unit_id: int
    unit: str = Field(description="As in features/12.")
    source: str
    is_control: bool
    outcome: str
    density: float | None = Field(description="Share of tokens on which it fires.")
    peak: float | None
    token: str = Field(description="At its strongest peak.")
    score: float | None
    status: str
    description: str | None


class UnitPage(Page[Unit]):
    """A part of the list of units; `judge` is whose scores stand in it."""

    judge: Judge | None


class ShownContext(Model):
    """A context of a unit. `interval` is of its activation, 0 for one of the strongest."""

    tokens: Sequence[str]
    activations: Sequence[float]
    focus: int | None
    interval: int
    was_shown: bool = Field(description="Whether a rater or an explainer saw it.")


class UnitRating(Model):
    """A rating of one unit, whatever became of it."""

    rubric_digest: str
    rater: str
    repeat: int
    status: str
    score: float | None
    description: str | None
    rationale: str | None


class UnitDescription(Model):
    """What an explainer said of a unit."""

    explainer: str
    status: str
    description: str | None
    rationale: str | None
    promoted: Sequence[str] | None
    suppressed: Sequence[str] | None


class UnitScore(Model):
    """A unit's score under a scorer: 0 to 1, chance 0.5; null unless `outcome` is ok."""

    scorer: str
    explainer: str | None
    rater: str
    design: str
    permuted: bool = Field(description="With another unit's description, as a control.")
    score: float | None
    outcome: str = Field(description="ok, or why there is no score.")
    questions: int
    answered: int
    statuses: Mapping[str, int] = Field(description="Of the calls.")
    more: Mapping[str, float]
    others: Mapping[int, float] = Field(
        description="Of a control in shared calls: what each other description gets on the unit's "
        "texts, by its unit."
    )


class ContextRating(Model):
    """How far a context fits a unit's description, on a rubric that asks for that."""

    rubric: str
    rubric_digest: str
    explainer: str
    rater: str
    kind: str = Field(description="firing, silent, or other: a context of another unit.")
    is_silent: bool = Field(description="Whether the unit is known to be silent in it.")
    interval: int | None = Field(description="Of activation, where the unit fires.")
    activation: float | None = Field(description="10 is the unit's maximum.")
    status: str
    score: int | None


class UnitDetail(Model):
    """Everything that is known of one unit."""

    unit: Unit
    index: int
    sign: int
    note: str
    tokens: int
    interval_tokens: Sequence[float]
    contexts: list[ShownContext]
    ratings: list[UnitRating]
    descriptions: list[UnitDescription]
    scores: list[UnitScore]
    context_ratings: list[ContextRating]
    labs: Mapping[str, Sequence[Mapping[str, Any]]]


class Context(Model):
    """A context as it is stored: tokens, and the unit's activation on each."""

    context_id: int
    unit_id: int
    draw: str
    interval: int | None
    split: str
    silent: bool
    focus: int | None
    document: int
    position: int
    tokens: Sequence[str]
    activations: Sequence[float]


class Item(Model):
    """What raters are asked about."""

    item: str
    rubric: str
    rubric_digest: str
    evidence: str
    unit: str
    unit_id: int
    source: str


class ItemContext(Model):
    tokens: Sequence[str]
    activations: Sequence[float] | None
    focus: int | None


class ShownItem(Model):
    """An item as its rater sees it: a prompt's two parts, and the contexts."""

    item: str
    rubric: str
    evidence: str
    description: str | None
    contexts: list[ItemContext]
    system: str
    user: str


class Rating(Model):
    """A row of the export: a rating with its unit and what its call cost."""

    unit: str
    source: str
    index: int
    sign: int
    is_control: bool
    item: str
    rubric: str
    rubric_digest: str
    rater: str
    repeat: int
    rater_version: str | None
    status: str
    score: int | None
    expected_score: float | None
    unassigned_mass: float | None
    description: str | None
    rationale: str | None
    density: float | None
    peak: float | None
    unit_note: str
    model: str | None
    attempts: int | None
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    made_at: Moment


class Verdict(BaseModel):
    """Everything that a run says: the JSON of `autointerp report --json`, of one run.

    Its form is described in `findings/json_values.py`; `schema` is its number.
    """

    model_config = ConfigDict(extra="allow")

    run: str
    level: float
    looks: list[dict[str, Any]] = Field(description="The ledger of looks, this one in it.")
    judgements: list[dict[str, Any]] = Field(description="One a rubric and rater.")
    notes: list[str] = []


class Session(Model):
    """A person's session in a run.

    Attributes:
        answered: Entries of the journal that stand.
        to_rate: Items that were given out.
    """

    session: str
    rater: str | None
    rubric: str
    is_pack: bool
    to_rate: int
    gold: int
    answered: int
    last_answer: str | None


class Extension(Model):
    """An extension by name, with one line about it."""

    name: str
    description: str


class Check(BaseModel):
    """What a check of a rater on planted units found."""

    model_config = ConfigDict(extra="allow")

    rater: str


class Scale(Model):
    score: int
    label: str


class RubricInfo(Model):
    """A rubric that is shipped."""

    id: str
    version: int
    title: str
    about: str
    digest: str
    scale: list[Scale]


TableForm = Literal["csv", "parquet", "jsonl"]
TableKind = Literal["ratings", "scores", "specificity"]


class NewRun(Model):
    """What a job is to do: the options of the commands rate, harvest, explain and score."""

    verb: Literal["rate", "harvest", "explain", "score"] = "rate"
    run: RunName = "main"
    sources: list[Annotated[str, Field(max_length=100)]] = Field(
        [], max_length=20, description="Empty: the plan's; else features."
    )
    n: int | None = Field(None, ge=1, le=NUMBER, description="Units of each source.")
    rubric: str = Field("interpretability-1-5", max_length=1000)
    rater: str = Field("lexical", max_length=300, description="NAME or NAME:MODEL.")
    subject: str | None = Field(
        None, max_length=1000, description="embedded, or the path of an autointerp.toml."
    )
    seed: int | None = Field(None, ge=0, le=NUMBER)
    tokens: int | None = Field(
        None, ge=0, le=10**12, description="Of the corpus, that a new run reads; 0 for all."
    )
    controls: int = Field(50, ge=0, le=NUMBER, description="Units of each control.")
    repeats: int = Field(1, ge=1, le=100)
    guess: bool = False
    explainer: str | None = Field(None, max_length=300)
    contexts: int | None = Field(
        None, ge=3, le=1000, description="As of the command; left out, what it takes without."
    )
    logit_effects: bool = False
    scorers: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=20)
    until_width: float | None = Field(None, gt=0, lt=1)
    until_clear: bool = False
    max_n: int | None = Field(None, ge=1, le=NUMBER)
    base_url: str | None = Field(None, max_length=1000, pattern=r"^https?://[^@\s]+$")
    budget_usd: float | None = Field(None, ge=0, le=1e9)
    price_in: float | None = Field(None, ge=0, le=1e9)
    price_out: float | None = Field(None, ge=0, le=1e9)
    concurrency: int | None = Field(None, ge=1, le=10_000)
    retries: int = Field(8, ge=0, le=1000)
    timeout: float = Field(120.0, ge=0.1, le=86_400)
    max_output_tokens: int = Field(1024, ge=16, le=10_000_000)
    structured: Literal["json_schema", "tool", "text", "choice"] | None = None
    effort: str | None = Field(None, max_length=100)


class Forecast(Model):
    """What a job would do and cost; `cost_usd` is null where no price is known."""

    text: str
    cost_usd: float | None
    cost: str = Field(description="In words, as everywhere; empty where no price is known.")
    forecast: Mapping[str, Any]


class Limits(Model):
    """What is wanted of a job that goes on; what is left out stays as it is."""

    concurrency: int | None = Field(None, ge=1, le=10_000, description="Calls in flight at most.")
    budget_usd: float | None = Field(
        None, ge=0, le=1e9, description="What the run may cost in all, earlier jobs included."
    )


class LimitsNow(Limits):
    paused: bool


class Job(Model):
    """A job: a run that goes on by itself."""

    id: str
    run: str
    state: Literal["running", "paused", "done", "failed", "stopped", "killed"]
    made_at: str
    ended_at: str
    text: str = Field(description="Its last event, or how it ended.")
    asked: NewRun
    limits: LimitsNow


class JobPage(Page[Job]):
    """A part of the list of jobs.

    `unreadable` has a line about each job whose files cannot be read, of whichever run it was.
    """

    unreadable: list[str]


class Event(Model):
    """An event of a job: `id` names the place in its log, for Last-Event-ID."""

    id: str
    number: int
    at: str
    kind: str
    text: str
    fields: Any


class NewInvitation(Model):
    """Who is invited to rate what: one person by `rater`, or whoever comes by `crowd`."""

    rater: str = Field("", max_length=60, description="Name of one person.")
    crowd: str = Field(
        "", max_length=100, description="Parameter that names whoever comes, as PROLIFIC_PID."
    )
    items: int = Field(60, ge=1, le=100_000, description="Of all sources and controls together.")
    rubric: str = Field("interpretability-1-5", max_length=1000)
    overlap: int | None = Field(None, ge=1, le=10_000, description="Raters of each item.")
    repeat_share: float = Field(0.1, ge=0, le=1, description="Of the items, shown once more.")
    practice: bool = True
    guess: bool = Field(True, description="End by asking what each item was.")
    corpus_text: bool = Field(True, description="Read more of each context; takes the subject.")
    places: int = Field(100, ge=1, le=100_000, description="Of whoever comes, people at most.")
    code: str = Field("", max_length=200, description="Shown when all is answered.")
    return_url: str = Field("", max_length=2000, description="Where people are sent back to.")
    consent: str = Field("", max_length=20_000, description="Text that people agree to first.")
    days: float = Field(30.0, gt=0, le=3650, description="For which the link is valid.")


class Invited(Model):
    """An invitation. Whoever has its link rates under its name."""

    id: str = Field(description="Of its token, by which it is revoked.")
    rater: str
    label: str
    state: Literal["valid", "expired", "revoked"]
    made_at: str
    expires_at: str
    places: int | None = Field(
        description="That were taken by it and are valid, whatever its own state; null where it is "
        "one person's.",
    )


class Invitation(Invited):
    """A new invitation; its link is told once, and stored nowhere."""

    link: str
    asked: str = Field(description="What is asked, in words.")
    controls: int = Field(description="Of the items.")
    notes: list[str]


class TokenInfo(Model):
    """What is known of a token; the token itself is not."""

    id: str
    role: Literal["owner", "viewer", "rater"]
    run: str
    rater: str
    label: str
    state: Literal["valid", "expired", "revoked"]
    made_at: str
    expires_at: str
    revoked_at: str
