"""What crosses from one room to the next.

Frozen dataclasses without behaviour beyond their own invariants: see `docs/how_it_works.md`
for the order in which they arise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from autointerp.errors import BadInput

Split = Literal["explain", "score"]
Draw = Literal["top", "interval", "random"]
Role = Literal["studied", "ceiling", "floor", "control"]
Status = Literal["ok", "unparsed", "refused", "failed", "skipped"]

Outcome = Literal["eligible", "dead", "ultralow", "dense"]

SPLITS: tuple[Split, Split] = ("explain", "score")
ASSUMED_SILENT = "assumed silent"  # in a unit's note: its silent contexts were not computed
DRAWS: tuple[Draw, ...] = ("top", "interval", "random")
PERSON = re.compile(r"human(:[A-Za-z0-9][A-Za-z0-9._-]{0,39})?")


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One column of a source: `sign` is -1 for the negative half of a signed activation."""

    source: str
    index: int
    sign: int = 1

    def __str__(self) -> str:
        return f"{self.source}/{self.index}{'' if self.sign > 0 else '-'}"


@dataclass(frozen=True, slots=True)
class SourceKind:
    """What a source says of itself.

    Attributes:
        role: `studied`, or a control: `ceiling` (meant to be rated highest), `floor` (lowest) or
            `control` (in between, at chance).
        names: One unit and several in a sentence, such as `("a feature", "features")`.
        colour: In every picture, as `#rrggbb`; empty for one that the picture chooses.
    """

    role: Role
    names: tuple[str, str]
    colour: str = ""

    @property
    def is_control(self) -> bool:
        return self.role != "studied"


@dataclass(frozen=True, slots=True)
class UnitSummary:
    """What the harvest knows of a unit beside its contexts.

    Attributes:
        density: Share of unmasked tokens on which the unit fires, 0 to 1; None where the file
            that the unit was imported from does not say.
        tokens: Unmasked tokens that were read; 0 likewise.
        peak: The largest activation, in the subject's own units; 0 if it never fired.
        order: Place in the seeded random order of its source, from 0; the sample of n units is
            the first n eligible ones.
        outcome: `eligible` (has contexts), `dead` (never fired), `ultralow` (fires, but under
            the density filter) or `dense` (over it).
        interval_tokens: Tokens on which it fires, by interval of activation; exact where few,
            else estimated from the reservoirs.
    """

    unit: Unit
    density: float | None
    tokens: int
    peak: float
    order: int
    outcome: Outcome
    interval_tokens: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """A window of one document round one token, and the unit's activation on each token.

    Attributes:
        tokens: The window's tokens as text. A character that is cut over tokens stands at the
            first of them, the others are ""; bytes that are not UTF-8 are written `\\xNN`.
        activations: One a token, in the subject's own units; 0 where the unit is silent.
        focus: Index in `tokens` of the token for which the window was drawn.
        draw: Why it is here: among the strongest, drawn at random within an interval of
            activation value, or drawn at random from all tokens.
        interval: 1 to K, the interval of the focus token's activation (equal widths from 0 to
            the unit's maximum); None where the unit is silent on the focus token.
        split: Raters that explain see `explain`; what scores an explanation sees `score`.
            No document is in both.
        silent: The unit is silent on every token of the window, as computed, not assumed; but
            where an imported file has no silent contexts, others' stand in, and the unit's note
            says so.
        document: Index of the document in the corpus.
        position: Index of the focus token in its document.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    focus: int
    draw: Draw
    interval: int | None
    split: Split
    silent: bool
    document: int
    position: int

    @property
    def activation(self) -> float:
        """The unit's activation on the focus token."""
        return self.activations[self.focus]

    @property
    def text(self) -> str:
        """What a reader would see of it."""
        return "".join(self.tokens)


class ContextOutline(NamedTuple):
    """What decides whether a context is shown, without its tokens and their activations.

    The fields are those of `Context` that bear the same names.
    """

    text: str
    activation: float
    draw: Draw
    interval: int | None
    split: Split
    document: int
    position: int


@dataclass(frozen=True, slots=True)
class HarvestedUnit:
    """A unit with the contexts that were kept of it; none unless it is eligible.

    Attributes:
        near_copies: Contexts left out of one split since they share a passage with the other.
    """

    summary: UnitSummary
    contexts: Sequence[Context] = field(default_factory=list)
    near_copies: int = 0


@runtime_checkable
class ContextColumns(Protocol):
    """Contexts that are held as columns, so that they can be stored without an object each."""

    def columns(self) -> dict[str, list[Any]]:
        """Return the fields of `Context` by name, each a list with a value a context."""


def columns_of(contexts: Sequence[Context]) -> dict[str, list[Any]]:
    """Return contexts as columns: the fields of `Context` by name, each a value a context."""
    if isinstance(contexts, ContextColumns):
        return contexts.columns()
    return {
        name: [getattr(context, name) for context in contexts] for name in Context.__match_args__
    }


@dataclass(frozen=True, slots=True)
class ItemContext:
    """A context as a rater may see it: nothing of the unit but its activations scaled 0–10.

    Attributes:
        tokens: Of the context, those of one character as one: see `text.whole_characters`.
        activations: Scaled so that the unit's maximum is 10; None where the rubric hides them.
        focus: Index of the token that is marked; None if the rubric marks none.
        split: Which part it serves; prompts show only what their rubric asks for.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...] | None
    focus: int | None
    split: Split
    silent: bool


@dataclass(frozen=True, slots=True)
class LogitEffects:
    """Tokens that a unit makes likelier next, and less likely, by its direct effect on the logits.

    The strongest first, and no figures: their size would tell sources apart.
    """

    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """What a rater sees, and all that it sees.

    Attributes:
        fence: Code round what is quoted, from the run's secret; empty for one that comes of the id.
        descriptions: Of several units, where the question is which texts fit which.
    """

    id: str
    rubric: str
    contexts: tuple[ItemContext, ...]
    description: str | None = None
    effects: LogitEffects | None = None
    fence: str = ""
    descriptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A call fully described: equal requests have equal keys and are paid once.

    Attributes:
        key: sha256 of the canonical JSON of rater, body, rubric digest and repeat.
        item: Id of the item that is asked about.
        body: What is sent, as JSON values.
        repeat: From 0.
    """

    key: str
    item: str
    body: dict[str, Any]
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, before it is read as a score.

    Attributes:
        text: The raw reply.
        stop: `end` for a complete reply, `length` if cut short, `refusal` if refused,
            `error` if none came; then `error` says why.
        latency_s: Seconds from sending to the last byte.
        cost_usd: None where no price is known.
    """

    text: str
    stop: Literal["end", "length", "refusal", "error"] = "end"
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    error: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rating:
    """One judgement of one item. `score` is None unless `status` is ok.

    `rater_version`: what else than its name decides a rater's answers, such as its rules or its
    model file; empty for a rater that has none, None where it was not kept.
    """

    item: str
    rubric: str
    rubric_digest: str
    rater: str
    repeat: int
    status: Status
    score: int | None
    description: str | None = None
    rationale: str | None = None
    expected_score: float | None = None
    unassigned_mass: float | None = None
    call_key: str | None = None
    rater_version: str | None = None

    def __post_init__(self) -> None:
        if (self.score is None) == (self.status == "ok"):
            raise ValueError(f"status {self.status} does not go with score {self.score}")


def rater_kind(name: str) -> str:
    """Return the rater's file of a rater's name: `openai` of `openai:MODEL`."""
    return name.partition(":")[0]


def is_person(rater: str) -> bool:
    """Whether a rater's name is a person's: `human` or `human:NAME`."""
    return rater == "human" or rater.startswith("human:")


def members_of(rater: str) -> tuple[str, ...]:
    """Return the names of the raters that make up a panel, by its name; none for another rater."""
    kind, _, members = rater.partition(":")
    if kind != "panel":
        return ()
    return tuple(member.removeprefix("optional:") for member in members.split(","))


def without_panels(raters: Iterable[str]) -> list[str]:
    """Return the raters in their order, but for panels of which a member is among them: what the
    two say is partly the same, and no second opinion."""
    names = list(raters)
    return [name for name in names if not set(members_of(name)) & set(names)]


def check_person(name: str) -> str:
    """Return `name`; raises BadInput unless it is `human` or `human:NAME`."""
    if not PERSON.fullmatch(name):
        raise BadInput(
            f"rater '{name}' names no person; give human or human:NAME, NAME being up to 40 "
            "ASCII letters, digits, '.', '_' and '-'"
        )
    return name


def storable(text: str) -> str:
    """Return `text` with lone surrogates, which no file can hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
