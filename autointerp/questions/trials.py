"""Trials: one blind call about one unit each; the true answers stay in the run.

A rater sees a trial as an item: pieces of text and perhaps a description. Whose text it is, where
the unit fires and whether the description was written for this unit is in the run alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from autointerp.questions.forms import LOUDEST
from autointerp.questions.question import Question
from autointerp.records import Context, Item, ItemContext, LogitEffects
from autointerp.store.run import Run
from autointerp.store.tables import now
from autointerp.text import whole_characters


@dataclass(frozen=True)
class Piece:
    """A piece of a context as a rater is asked about it, and what is true of it.

    Attributes:
        context: The context's number in the run; below 0 of a passage, see `passage_number`.
        first, last: Tokens shown: from `first` up to, without, `last`.
        mark: Index in the complete context of the marked token; None for none.
        truth: The right answer; None where it is the activations themselves.
        kind: Why it is asked about, such as `firing` or `silent`.
    """

    context: int
    first: int
    last: int
    mark: int | None
    truth: bool | None
    kind: str


@dataclass(frozen=True)
class Described:
    """A description: who wrote it, of which unit."""

    explainer: str
    unit_id: int
    text: str


@dataclass(frozen=True)
class Trial:
    """Pieces that a rater is asked about in one call.

    Attributes:
        unit_id: Whose firing is asked about; the first of `owners` where several are.
        described: The description that is shown; None for none.
        permuted: A control whose right answers are chance: the description is another unit's,
            or the contexts have no unit in common.
        design: How contexts were chosen, in words; results of different designs stay apart.
        effects: The unit's logit effects, where they are shown.
        owners: Of each piece, the unit whose firing `truth` is about; empty where all are
            `unit_id`'s.
        candidates: Descriptions of several units, in the order shown, of which each is tried on
            every piece.
    """

    task: str
    task_digest: str
    design: str
    unit_id: int
    scale: float
    pieces: tuple[Piece, ...]
    described: Described | None = None
    permuted: bool = False
    effects: LogitEffects | None = None
    owners: tuple[int, ...] = ()
    candidates: tuple[Described, ...] = ()

    def item_id(self, seed: int) -> str:
        """Return an opaque id: a keyed hash of all that the trial is."""
        key = hashlib.sha256(f"autointerp/{seed}".encode()).digest()
        fields = dict(vars(self))
        fields["questions"] = fields.pop("pieces")  # so that stored ids stay valid
        if self.effects is None:
            del fields["effects"]
        if not self.candidates:
            del fields["owners"], fields["candidates"]
        text = json.dumps(fields, sort_keys=True, default=_fields)
        return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()


def _fields(part: Piece | Described | LogitEffects) -> dict[str, Any]:
    """Return a part of a trial as JSON takes it."""
    return asdict(part) if isinstance(part, LogitEffects) else vars(part)


def passage_number(tokens: Sequence[str]) -> int:
    """Return the number of a text that is no context: below 0, a digest of its tokens."""
    digest = hashlib.blake2b(json.dumps(list(tokens)).encode(), digest_size=8).digest()
    return -1 - int.from_bytes(digest, "big") % 2**62


def text_number(text: str) -> int:
    """Return the number of a text that units are measured on, however it is cut into tokens."""
    return passage_number([text])


def piece_text(piece: Piece, context: Context) -> str:
    """Return the text that a piece shows."""
    return "".join(context.tokens[piece.first : piece.last])


def whole_context(
    number: int, context: Context, truth: bool | None, kind: str, mark: bool
) -> Piece:
    """Return a whole context as a piece, its focus token marked if `mark`."""
    return Piece(number, 0, len(context.tokens), context.focus if mark else None, truth, kind)


def trial_rng(seed: int, unit_id: int, task: str) -> np.random.Generator:
    """Return the randomness of a unit's trials: the same for every explainer and rater."""
    return np.random.default_rng([seed, unit_id, *task.encode()])


# -------------------------------------------------------------------------------- storage
# In the database a trial is a row of the table `probe`; runs hold it under that name.


def add_trials(run: Run, trials: Sequence[Trial]) -> list[str]:
    """Store trials that are not there yet; return the ids of all, in their order."""
    seed = run.settings.seed
    ids = [trial.item_id(seed) for trial in trials]
    at = now()
    with run.transaction():
        for begin in range(0, len(trials), 5_000):
            part = slice(begin, begin + 5_000)
            rows = [
                _row(identifier, trial) | {"made_at": at}
                for identifier, trial in zip(ids[part], trials[part], strict=True)
            ]
            run.insert("probe", rows, ignore=True)
    return ids


def _row(identifier: str, trial: Trial) -> dict[str, object]:
    asked, candidates = trial.pieces, trial.candidates
    described = candidates[0] if candidates else trial.described
    explainer = described.explainer if described else None
    return {
        "item_id": identifier,
        "task": trial.task,
        "task_digest": trial.task_digest,
        "design": trial.design,
        "unit_id": trial.unit_id,
        "explainer": explainer,
        "described": trial.described.unit_id if trial.described else None,
        "description": trial.described.text if trial.described else None,
        "permuted": trial.permuted,
        "scale": trial.scale,
        "contexts": [p.context for p in asked],
        "firsts": [p.first for p in asked],
        "lasts": [p.last for p in asked],
        "marks": [-1 if p.mark is None else p.mark for p in asked],
        "truths": [p.truth for p in asked],
        "kinds": [p.kind for p in asked],
        "promoted": None if trial.effects is None else list(trial.effects.promoted),
        "suppressed": None if trial.effects is None else list(trial.effects.suppressed),
        "owners": list(trial.owners) or None,
        "candidates": [one.unit_id for one in candidates] or None,
        "candidate_texts": [one.text for one in candidates] or None,
    }


QUERY = (
    "SELECT item_id, task, task_digest, design, unit_id, scale, contexts, firsts, lasts, marks,"
    " truths, kinds, explainer, described, description, permuted, promoted, suppressed, owners,"
    " candidates, candidate_texts FROM probe"
)

COLUMNS = 21  # of `QUERY`


def trial_of(row: Sequence[Any]) -> tuple[str, Trial]:
    """Return the id and the trial in a row that begins with `QUERY`."""
    identifier, task, digest, design, unit_id, scale, *columns = row[:12]
    explainer, described, text, permuted, promoted, suppressed = row[12:18]
    owners, candidates, texts = row[18:COLUMNS]
    pieces = tuple(
        Piece(context, first, last, None if mark < 0 else mark, truth, kind)
        for context, first, last, mark, truth, kind in zip(*columns, strict=True)
    )
    written = None if text is None else Described(explainer, described, text)
    effects = None if promoted is None else LogitEffects(tuple(promoted), tuple(suppressed))
    beside = tuple(
        Described(explainer, unit, text)
        for unit, text in zip(candidates or (), texts or (), strict=True)
    )
    return identifier, Trial(
        task, digest, design, unit_id, scale, pieces, written, permuted, effects,
        tuple(owners or ()), beside,
    )  # fmt: skip


def load_trials(run: Run, item_ids: Sequence[str], question: Question) -> list[Item]:
    """Return trials as the rater sees them, in the order of `item_ids`."""
    rows = run.rows(f"{QUERY} WHERE item_id IN (SELECT unnest(?::VARCHAR[]))", [list(item_ids)])
    trials = dict(map(trial_of, rows))
    contexts = run.contexts_numbered(
        sorted({p.context for trial in trials.values() for p in trial.pieces})
    )
    return [
        replace(trial_item(one, trials[one], contexts, question), fence=run.fence(one))
        for one in item_ids
    ]


def trial_item(
    identifier: str, trial: Trial, contexts: dict[int, Context], question: Question
) -> Item:
    """Return a trial as the rater sees it."""
    activations = question.shows.activations == "scaled"
    return Item(
        id=identifier,
        rubric=question.id,
        contexts=tuple(
            _shown(piece, contexts[piece.context], trial.scale if activations else None)
            for piece in trial.pieces
        ),
        description=trial.described.text if trial.described else None,
        effects=trial.effects,
        descriptions=tuple(one.text for one in trial.candidates),
    )


def _shown(piece: Piece, context: Context, scale: float | None) -> ItemContext:
    shown = slice(piece.first, piece.last)
    levels = None
    if scale is not None:
        levels = tuple(LOUDEST * a / scale for a in context.activations[shown])
    mark = None if piece.mark is None else piece.mark - piece.first
    tokens, levels, mark = whole_characters(context.tokens[shown], levels, mark)
    return ItemContext(
        tokens=tokens,
        activations=levels,
        focus=mark,
        split=context.split,
        silent=False,  # what is true is not the rater's to know
    )
