"""Blind items from contexts; the key from item to unit is stored apart.

An item shows text and activations scaled to the unit's own maximum. Source, index, layer, density
and absolute activations stay behind; ids come from a keyed hash, and the order of items mixes all
sources. Swapping the sources of two units leaves every byte that a rater sees the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from autointerp.questions.contexts import by_interval, in_turn, unique_texts
from autointerp.questions.question import Question
from autointerp.questions.rubric import Rubric
from autointerp.questions.trials import load_trials
from autointerp.records import Context, ContextOutline, Item, ItemContext
from autointerp.store.ratings import KeyedItem
from autointerp.store.run import Run
from autointerp.store.units import StoredUnit
from autointerp.text import whole_characters

Evidence = Literal["shown", "all"]


def item_id(seed: int, unit_id: int, rubric_digest: str, evidence: str) -> str:
    """Return an opaque id; it hides the unit's number behind a keyed hash."""
    key = hashlib.sha256(f"autointerp/{seed}".encode()).digest()
    text = f"{unit_id}/{rubric_digest}/{evidence}"
    return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()


def choose_contexts(
    contexts: Mapping[int, Context | ContextOutline],
    rubric: Rubric,
    evidence: Evidence,
    opaque: str,
) -> list[int]:
    """Return the numbers of the contexts that the item shows, in the order shown.

    `shown`: what the rubric asks for, its draws in turn and intervals in turn from the strongest,
    then sorted strongest first. `all`: every context of both splits, in an order that the item's
    id decides. No text is shown twice.
    """
    if evidence == "all":
        chosen = unique_texts(contexts, contexts)
        order = np.random.default_rng(int(opaque, 16)).permutation(len(chosen))
        return [chosen[place] for place in order]
    shows = rubric.shows
    lists = []
    for draw in shows.draws:
        drawn = {n: c for n, c in contexts.items() if c.draw == draw and c.split == shows.split}
        lists.append(in_turn(by_interval(drawn)) if draw == "interval" else list(drawn))
    chosen = unique_texts(contexts, in_turn(lists))[: shows.contexts]
    return sorted(chosen, key=lambda number: (-contexts[number].activation, number))


def blind(context: Context, scale: float, activations: bool, mark: bool) -> ItemContext:
    """Return the context as a rater may see it, activations scaled so that `scale` becomes 10."""
    tokens, levels, focus = whole_characters(
        context.tokens,
        tuple(10 * a / scale for a in context.activations) if activations else None,
        context.focus if mark else None,
    )
    return ItemContext(
        tokens=tokens,
        activations=levels,
        focus=focus,
        split=context.split,
        silent=context.silent,
    )


def make_items(
    run: Run, units: Sequence[StoredUnit], rubric: Rubric, evidence: Evidence
) -> list[str]:
    """Make and store the items of units under a rubric; return their ids in mixed order.

    Items that exist already are left as they are.
    """
    run.add_rubric(rubric.digest, rubric.id, rubric.content)
    seed = run.settings.seed
    ids = {unit.unit_id: item_id(seed, unit.unit_id, rubric.digest, evidence) for unit in units}
    stored = {row[0] for row in run.rows("SELECT item_id FROM item")}
    new = [unit for unit in units if ids[unit.unit_id] not in stored]
    for begin in range(0, len(new), 200):
        part = new[begin : begin + 200]
        contexts = run.context_outlines(
            [unit.unit_id for unit in part],
            None if evidence == "all" else (rubric.shows.split, rubric.shows.draws),
        )
        run.add_items(
            [
                KeyedItem(
                    item_id=ids[unit.unit_id],
                    rubric=rubric.id,
                    rubric_digest=rubric.digest,
                    evidence=evidence,
                    ord=int(ids[unit.unit_id], 16) >> 2,
                    unit_id=unit.unit_id,
                    scale=unit.summary.peak,
                    contexts=tuple(
                        choose_contexts(contexts[unit.unit_id], rubric, evidence, ids[unit.unit_id])
                    ),
                )
                for unit in part
            ]
        )
    return sorted(ids.values())


def items_beside(
    run: Run, item_ids: Sequence[str], rubric: Rubric, evidence: Evidence
) -> dict[str, str]:
    """Return, by item, the item that shows the same unit to raters of this evidence.

    What is lacking is made. An item of this evidence stands for itself.
    """
    rows = run.rows(
        "SELECT item_id, unit_id, evidence FROM unit_item"
        " WHERE item_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY item_id",
        [list(item_ids)],
    )
    others = {unit_id for _, unit_id, shown in rows if shown != evidence}
    make_items(run, run.units_numbered(sorted(others)), rubric, evidence)
    seed = run.settings.seed
    return {
        name: item_id(seed, unit_id, rubric.digest, evidence) if unit_id in others else name
        for name, unit_id, _ in rows
    }


def load_items(run: Run, item_ids: Sequence[str], question: Question) -> list[Item]:
    """Return items as the rater sees them, in the order of `item_ids`.

    The key is read here only to find the contexts; nothing of it goes into an item.
    """
    if question.form != "rate" or question.about == "description":
        return load_trials(run, item_ids, question)
    rows = {
        row[0]: row[1:]
        for row in run.rows(
            "SELECT item_id, evidence, description, scale, contexts FROM unit_item"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[]))",
            [list(item_ids)],
        )
    }
    contexts = run.contexts_numbered(
        sorted({number for *_, numbers in rows.values() for number in numbers})
    )
    items = []
    for identifier in item_ids:
        evidence, description, scale, numbers = rows[identifier]
        everything = evidence == "all"
        shown = [
            blind(
                contexts[number],
                scale,
                activations=everything or question.shows.activations == "scaled",
                mark=everything or question.shows.mark,
            )
            for number in numbers
        ]
        items.append(
            Item(identifier, question.id, tuple(shown), description, fence=run.fence(identifier))
        )
    return items
