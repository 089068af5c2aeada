"""Texts that resemble a unit's firing contexts and in which it stays silent.

Candidates are held-out contexts of the other units that are asked for, of the same source. The
subject reads the corpus once more, so that silence in them is computed and not assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.labs import Options, Row
from autointerp.questions.cuts import focus_text
from autointerp.records import Context
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.units.held import Place
from autointerp.units.others import firing_in
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.sources import Block, Source

Mask = NDArray[np.bool_]

PER_UNIT = 30  # contexts that a unit offers as candidates, and hard ones of each kind that it gets
USUAL_TOKENS = 5  # a unit's commonest firing tokens

COLUMNS = {
    "context": "number of the context in the run",
    "why": "`same token`: one of the unit's usual firing tokens is in it; `neighbour`: the unit "
    "that fires most often together with it fires there",
    "token": "the token on which the unit fires that the context was drawn for",
    "text": "the context",
}


COMPARES_UNITS = True


def run(
    run: Run, units: Sequence[int], options: Options, done: Collection[int] = ()
) -> Iterator[Row]:
    """Yield one row a unit and hard context; a unit without any has none."""
    for chosen in _by_source(run, units, "lab hard-negatives", done):
        for unit_id, contexts in chosen.items():
            if unit_id in done:
                continue
            for number, (context, why) in contexts.items():
                yield {
                    "unit_id": unit_id,
                    "context": number,
                    "why": why,
                    "token": focus_text(context),
                    "text": "".join(context.tokens),
                }


@dataclass(frozen=True)
class Firing:
    """Activations of a source's units in candidate texts.

    Attributes:
        units: Of the columns.
        candidates: Numbers of the contexts, of the rows; `owners` are the units they are of.
        anywhere: [candidates, units] fires on some token of the context.
        at_focus: [candidates, units] fires on the token for which it was drawn.
    """

    units: tuple[int, ...]
    candidates: tuple[int, ...]
    owners: NDArray[np.int64]
    anywhere: Mask
    at_focus: Mask


def hard_contexts(run: Run, unit_ids: Sequence[int]) -> dict[int, dict[int, tuple[Context, str]]]:
    """Return, by unit, contexts in which it is silent though they look otherwise, and why.

    `same token`: one of its usual firing tokens stands there. `neighbour`: the unit that fires
    most often together with it does, there. Raises RunMismatch if the subject is not the run's.
    """
    chosen_by_unit: dict[int, dict[int, tuple[Context, str]]] = {}
    for chosen in _by_source(run, unit_ids, "--hard"):
        chosen_by_unit |= chosen
    return chosen_by_unit


def _by_source(
    run: Run, unit_ids: Sequence[int], option: str, done: Collection[int] = ()
) -> Iterator[dict[int, dict[int, tuple[Context, str]]]]:
    """Yield the hard contexts of each source's units, but for sources of which all are `done`."""
    subject = subject_again(run, option)
    for name, source, units in sources_again(run, subject, unit_ids):
        if not set(units) <= set(done):
            yield _chosen(run, firing_in_candidates(run, subject, name, source, units))


def firing_in_candidates(
    run: Run, subject: Subject, name: str, source: Source, units: Sequence[int]
) -> Firing:
    """Return where units fire in the held-out contexts of one another."""
    rows = run.rows(
        "SELECT context_id, unit_id, document, position, focus, len(tokens) FROM context"
        " WHERE split = 'score' AND draw <> 'random'"
        " AND unit_id IN (SELECT unnest(?::INTEGER[])) QUALIFY row_number()"
        " OVER (PARTITION BY unit_id ORDER BY draw, context_id) <= ? ORDER BY context_id",
        [list(units), PER_UNIT],
    )
    places = [
        Place(number, document, position, position - focus, length)
        for number, _, document, position, focus, length in rows
    ]
    block: Block = source.block(numbers_again(run, name, source, units))
    if not places:
        nothing = np.zeros((0, len(units)), dtype=bool)
        return Firing(tuple(units), (), np.zeros(0, dtype=np.int64), nothing, nothing)
    firing = firing_in(subject, run.settings, {name: [block]}, {name: places}, {name: len(units)})[
        name
    ]
    return Firing(
        tuple(units),
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows], dtype=np.int64),
        firing.anywhere | ~firing.is_read[:, None],  # what was not read is not called silent
        firing.at_focus,
    )


def _chosen(run: Run, firing: Firing) -> dict[int, dict[int, tuple[Context, str]]]:
    contexts = run.contexts_numbered(firing.candidates)
    texts = [set(contexts[number].tokens) for number in firing.candidates]
    usual: dict[int, Counter[str]] = {}
    for number, owner in zip(firing.candidates, firing.owners.tolist(), strict=True):
        context = contexts[number]
        usual.setdefault(owner, Counter())[focus_text(context)] += 1
    chosen_by_unit: dict[int, dict[int, tuple[Context, str]]] = {}
    for column, unit in enumerate(firing.units):
        silent = ~firing.anywhere[:, column] & (firing.owners != unit)
        tokens = {text for text, _ in usual.get(unit, Counter()).most_common(USUAL_TOKENS)}
        neighbour = _neighbour(firing, column)
        chosen: dict[int, tuple[Context, str]] = {}
        counts: Counter[str] = Counter()
        for place in np.flatnonzero(silent).tolist():
            if texts[place] & tokens:
                why = "same token"
            elif firing.owners[place] == neighbour:
                why = "neighbour"
            else:
                continue
            if counts[why] < PER_UNIT:
                counts[why] += 1
                number = firing.candidates[place]
                chosen[number] = (contexts[number], why)
        chosen_by_unit[unit] = chosen
    return chosen_by_unit


def _neighbour(firing: Firing, column: int) -> int | None:
    """Return the other unit in the largest share of whose firing this one fires too."""
    best, share = None, 0.0
    for owner in np.unique(firing.owners).tolist():
        if owner == firing.units[column]:
            continue
        together = float(firing.at_focus[firing.owners == owner, column].mean())
        if together > share:
            best, share = owner, together
    return best
