"""Choice of the contexts to show: no text twice, intervals evenly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from autointerp.records import Context, ContextOutline
from autointerp.subjects.passages import share_passages


def unique_texts(
    contexts: Mapping[int, Context | ContextOutline], numbers: Iterable[int]
) -> list[int]:
    """Return the numbers without those whose text or place in the corpus came before."""
    seen: set[str | tuple[int, int]] = set()
    kept = []
    for number in numbers:
        context = contexts[number]
        marks: set[str | tuple[int, int]] = {
            context.text,
            (context.document, context.position),
        }
        if not seen & marks:
            seen |= marks
            kept.append(number)
    return kept


def held_out(
    contexts: Mapping[int, Context], candidates: Mapping[int, Context]
) -> dict[int, Context]:
    """Return the `candidates` that may try a description of the unit that `contexts` are of.

    Left out are texts that may have served to describe it, and those that share a passage with one
    of them: near copies, from another place or from another unit.
    """
    shown = [context for context in contexts.values() if context.split == "explain"]
    texts = {context.text for context in shown}
    near = share_passages(
        [context.tokens for context in candidates.values()], [context.tokens for context in shown]
    )
    return {
        number: context
        for (number, context), copies in zip(candidates.items(), near.tolist(), strict=True)
        if not copies and context.text not in texts
    }


def by_interval(
    contexts: Mapping[int, Context | ContextOutline],
) -> list[list[int]]:
    """Return the numbers of the contexts drawn within each interval, the strongest first."""
    groups: dict[int, list[int]] = {}
    for number, context in contexts.items():
        if context.draw == "interval" and context.interval is not None:
            groups.setdefault(context.interval, []).append(number)
    return [groups[interval] for interval in sorted(groups, reverse=True)]


def in_turn(lists: Sequence[Sequence[int]]) -> list[int]:
    """Return the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [numbers[place] for place in range(longest) for numbers in lists if place < len(numbers)]


def over_intervals(contexts: Mapping[int, Context], count: int) -> list[int]:
    """Return up to `count` contexts in which the unit fires on the focus token, all intervals
    alike.

    Intervals take turns from the strongest; where their draws run out, the strongest contexts of
    all fill up. Of more intervals than `count`, those taken lie evenly from strong to weak.
    """
    intervals = by_interval(contexts)
    turns = in_turn(intervals)
    if 0 < count < len(intervals):  # the first ones would be the strong ones
        chosen = np.linspace(0, len(intervals) - 1, count).round().astype(int)
        turns = [*(intervals[place][0] for place in chosen), *turns]
    top = [n for n, c in contexts.items() if c.draw == "top" and c.activation > 0]
    return unique_texts(contexts, [*turns, *top])[:count]


def silent_contexts(contexts: Mapping[int, Context]) -> list[int]:
    """Return the random contexts in which the unit is silent on every token, as computed."""
    silent = [
        number
        for number, context in contexts.items()
        if context.draw == "random" and context.silent and not any(context.activations)
    ]
    return unique_texts(contexts, silent)
