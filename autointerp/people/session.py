"""What a person is to rate, in which order, and what is hidden among it.

A session holds items as they are shown, and nothing that tells what they are. Its order follows
from it and the rater's name, so that it can be paused and resumed at any point, and a pack
can be rated by people whose names nobody knew when it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as of_class
from functools import cached_property
from typing import Any, Literal

import numpy as np

from autointerp.errors import BadInput
from autointerp.questions.question import Shows
from autointerp.questions.rubric import Rubric
from autointerp.records import Item, ItemContext
from autointerp.settings import plain_fields

StepKind = Literal["training", "rating", "guess"]
Part = Literal["practice", "ratings", "repeats", "guesses"]
Around = tuple[str, str]  # the text before what a context shows, and the text after it

LEAST_GAP = 20  # items between an item and its hidden repeat, where there are as many
MOST_LEVELS = 99  # of a scale, for people: two digits name them


@dataclass(frozen=True)
class Sitting:
    """How a person chooses to rate.

    Attributes:
        overlap: Each item is rated by so many people; None for everybody.
        repeat_share: Share of the items that come up once more, 0 to 1.
        planned: Rate what `plan-humans` drew last.
        mixed: Ask about every studied source that the run can have, not only those named.
        practice: Begin with items whose answers are shown.
        guess: End with the blinding check.
        gold: Units of each control; None for a few, see `assign.most_gold`.
    """

    overlap: int | None = None
    repeat_share: float = 0.1
    planned: bool = False
    mixed: bool = True
    practice: bool = True
    guess: bool = True
    gold: int | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        if self.overlap is not None and self.overlap < 1:
            raise BadInput(f"--overlap {self.overlap}: each item needs at least 1 rater")
        if not 0 <= self.repeat_share <= 1:
            raise BadInput(f"--repeat-share {self.repeat_share}: a share from 0 to 1")


@dataclass(frozen=True)
class Training:
    """A gold item to begin with: its answer is shown, and never counted."""

    item: str
    score: int
    why: str


@dataclass(frozen=True)
class Step:
    """One thing to be answered: a training item, a rating, or the guess of the blinding check."""

    kind: StepKind
    item: str
    repeat: int = 0

    @property
    def part(self) -> Part:
        """The part of a sitting that it belongs to, which a rater may leave out as a whole."""
        if self.kind == "rating":
            return "repeats" if self.repeat else "ratings"
        return "practice" if self.kind == "training" else "guesses"


@dataclass(frozen=True)
class Session:
    """Everything that a sitting needs; it stands on its own, without run, model or key.

    Attributes:
        run: Identity of the run that it was made from.
        items: As shown, and no more than is shown.
        to_rate: Items to be rated, of all sources and gold among them.
        to_guess: Items of the blinding check: those, and earlier ones that were never guessed.
        always: Items that everybody rates, whatever the overlap.
        contexts: Contexts that every item shows.
        seed: Of the raters' orders.
        around: By item, the text round each context beyond what is shown, for who asks for more;
            empty where there is none.
        rated: By item, the people who had rated it in packs when the session was made, of whom no
            journal tells; empty without an overlap.
    """

    run: str
    rubric: Rubric
    items: tuple[Item, ...]
    to_rate: tuple[str, ...]
    to_guess: tuple[str, ...]
    training: tuple[Training, ...] = ()
    always: tuple[str, ...] = ()
    overlap: int | None = None
    repeat_share: float = 0.1
    contexts: int = 0
    seed: str = ""
    around: Mapping[str, tuple[Around, ...]] = field(default_factory=dict)
    rated: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """sha256 of all that the session holds."""
        return digest_of(session_fields(self))

    @cached_property
    def by_id(self) -> Mapping[str, Item]:
        return {item.id: item for item in self.items}


def canonical(fields: Any) -> str:
    """Return JSON that is the same for the same content, in ASCII and on one line."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(fields: Any) -> str:
    """Return the sha256 of JSON values."""
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


# ------------------------------------------------------------------------------------ order


def steps_for(session: Session, rater: str) -> tuple[Step, ...]:
    """Return all that `rater` is asked, in order: training, ratings and repeats, guesses.

    The order is the rater's own: seeded by session and name, all sources mixed.
    """
    rng = np.random.default_rng(
        list(hashlib.sha256(f"{session.seed}/{session.digest}/{rater}".encode()).digest())
    )
    rated = [session.to_rate[i] for i in rng.permutation(len(session.to_rate))]
    ratings = with_repeats(rated, session.repeat_share, rng)
    guessed = [session.to_guess[i] for i in rng.permutation(len(session.to_guess))]
    return (
        *(Step("training", training.item) for training in session.training),
        *ratings,
        *(Step("guess", item) for item in guessed),
    )


def parts_of(session: Session) -> Counter[Part]:
    """Return how many questions of each part a session has, whoever rates it."""
    return Counter(step.part for step in steps_for(session, ""))


def gap_of(n: int) -> int:
    """Return how many ratings lie at least between an item and its repeat, of `n` items."""
    return min(LEAST_GAP, n // 3)


def with_repeats(order: Sequence[str], share: float, rng: np.random.Generator) -> list[Step]:
    """Return the ratings of `order` with a share of the items coming up once more, later.

    At least `LEAST_GAP` items lie between the two, or a third of them all where there are few.
    """
    n = len(order)
    gap = gap_of(n)
    candidates = np.arange(max(0, n - gap))
    chosen = rng.permutation(candidates)[: int(n * share + 0.5)]
    after: dict[int, list[str]] = {}
    for place in sorted(int(one) for one in chosen):
        after.setdefault(int(rng.integers(place + gap, n)), []).append(order[place])
    steps = []
    for place, item in enumerate(order):
        steps.append(Step("rating", item))
        steps += [Step("rating", repeated, 1) for repeated in after.get(place, ())]
    return steps


def answer_keys(rubric: Rubric) -> dict[str, int]:
    """Return the score that each answer gives: its number, or its place where scores are negative.

    Where there are answers of two digits, none is complete before Enter: see `typed_in_full`.
    Raises BadInput for a scale with more levels than two digits can name.
    """
    if len(rubric.scores) > MOST_LEVELS:
        raise BadInput(
            f"rubric '{rubric.id}' has {len(rubric.scores)} levels; people can name {MOST_LEVELS}"
        )
    if all(0 <= score <= MOST_LEVELS for score in rubric.scores):
        return {str(score): score for score in rubric.scores}
    return {str(place): score for place, score in enumerate(rubric.scores, 1)}


def typed_in_full(keys: Mapping[str, int]) -> bool:
    """Return whether an answer is typed and then given by Enter; else one key gives it."""
    return any(len(key) > 1 for key in keys)


# ----------------------------------------------------------------------------- what is shown


def shown_item(item: Item, rubric: Rubric) -> Item:
    """Return the item with no more than the rubric shows: what else it carries stays behind."""
    shows = rubric.shows
    contexts = [c for c in item.contexts if c.split == shows.split][: shows.contexts]
    return Item(
        item.id,
        item.rubric,
        tuple(_shown_context(context, shows) for context in contexts),
        item.description if shows.description else None,
    )


def _shown_context(context: ItemContext, shows: Shows) -> ItemContext:
    first, last = 0, len(context.tokens)
    if context.focus is not None:
        first = max(0, context.focus - shows.each_side)
        last = context.focus + shows.each_side + 1
    scaled = shows.activations == "scaled" and context.activations is not None
    return ItemContext(
        tokens=context.tokens[first:last],
        # Rounded as in prompts: a person sees no more digits than a model.
        activations=tuple(float(round(a)) for a in (context.activations or ())[first:last])
        if scaled
        else None,
        focus=context.focus - first if context.focus is not None and shows.mark else None,
        split=shows.split,
        silent=False,  # not shown, so not carried
    )


def text_beside(item: Item, rubric: Rubric) -> tuple[Around, ...]:
    """Return for each context that `shown_item` shows the text of its own that it leaves out."""
    shows = rubric.shows
    contexts = [c for c in item.contexts if c.split == shows.split][: shows.contexts]
    beside = []
    for context in contexts:
        shown = _shown_context(context, shows)
        first = 0
        if context.focus is not None:
            first = max(0, context.focus - shows.each_side)
        last = first + len(shown.tokens)
        beside.append(("".join(context.tokens[:first]), "".join(context.tokens[last:])))
    return tuple(beside)


def matched(
    items: Collection[Item], number: int | None = None
) -> tuple[int, list[Item], list[Item]]:
    """Return the number of contexts that all items shall show, those items, and those left out.

    A unit that fires rarely may have fewer contexts than the rubric asks for, and features are
    the rarer: the number would tell the source. So it is one number for all: the largest that
    nine in ten items have, which is the rubric's wherever the corpus is long enough, so that
    people judge the very items that models judge. Items with more lose their weakest contexts;
    those with fewer are left out, and counted. A draw that was made for people decides on the
    `number` itself.
    """
    if not items:
        return 0, [], []
    number = number or shown_alike([len(item.contexts) for item in items])
    kept = [replace(i, contexts=i.contexts[:number]) for i in items if len(i.contexts) >= number]
    return number, kept, [item for item in items if len(item.contexts) < number]


def shown_alike(counts: Collection[int]) -> int:
    """Return the largest number of contexts that nine in ten items have, at least 1, from how many
    each has."""
    return max(1, sorted(counts)[len(counts) // 10])


# ----------------------------------------------------------------------------- as JSON values


def session_fields(session: Session) -> dict[str, Any]:
    """Return the session as JSON values.

    Without `around` or `rated` where it is empty: the digest of a session that was made before
    there was such a field stays what it was.
    """
    # Not `asdict` of the whole: it would copy each token of each context, and a server opens many.
    fields: dict[str, Any] = {one.name: getattr(session, one.name) for one in of_class(session)}
    fields["rubric"] = asdict(session.rubric)
    fields["training"] = tuple(asdict(one) for one in session.training)
    for name in ("around", "rated"):
        if not fields[name]:
            del fields[name]
    fields["items"] = [
        {
            "id": item.id,
            "description": item.description,
            "contexts": [
                {"tokens": list(c.tokens), "activations": c.activations, "focus": c.focus}
                for c in item.contexts
            ],
        }
        for item in session.items
    ]
    return fields


def session_from(fields: Mapping[str, Any]) -> Session:
    """Return the session in JSON values.

    Raises KeyError, TypeError or ValueError if they are not those of a session.
    """
    rubric = Rubric(
        **{
            **{name: _tuples(value) for name, value in fields["rubric"].items()},
            "shows": Shows(**{n: _tuples(v) for n, v in fields["rubric"]["shows"].items()}),
        }
    )
    plain = {name: _tuples(value) for name, value in fields.items()}
    return Session(
        **{
            **plain,
            "rubric": rubric,
            "items": tuple(_item_from(item, rubric) for item in fields["items"]),
            "training": tuple(Training(**one) for one in fields["training"]),
            "around": {name: _tuples(texts) for name, texts in fields.get("around", {}).items()},
        }
    )


def _item_from(fields: Mapping[str, Any], rubric: Rubric) -> Item:
    contexts = [
        ItemContext(
            tokens=tuple(c["tokens"]),
            activations=None if c["activations"] is None else tuple(c["activations"]),
            focus=c["focus"],
            split=rubric.shows.split,
            silent=False,
        )
        for c in fields["contexts"]
    ]
    return Item(fields["id"], rubric.id, tuple(contexts), fields["description"])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def renamed(session: Session, names: Mapping[str, str]) -> Session:
    """Return the session with its items called otherwise, in the new names' order."""

    def of(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(names[item] for item in items))

    items = [replace(item, id=names[item.id]) for item in session.items]
    return replace(
        session,
        items=tuple(sorted(items, key=lambda item: item.id)),
        to_rate=of(session.to_rate),
        to_guess=of(session.to_guess),
        always=of(session.always),
        training=tuple(replace(one, item=names[one.item]) for one in session.training),
        around={names[item]: session.around[item] for item in sorted(session.around)},
        rated={names[item]: session.rated[item] for item in sorted(session.rated)},
    )
