"""Rubrics about a description: which contexts a description is judged on, and what came of it.

Each item is one held-out context with one description. Contexts of all intervals of activation,
silent ones, and contexts of other units come mixed; the rater is told neither which is which nor
how strongly the unit fires.

A silent context is one of the unit's own, in which the harvest computed that it is silent. Of a
context of another unit that is not known in general: left out are those in which this unit's own
contexts show it firing, and `findings.answers` tells which of the rest are verified silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from autointerp.questions.contexts import (
    fires_within,
    over_intervals,
    silent_contexts,
    text_of,
    texts_to_explain,
)
from autointerp.questions.explain import Explanation, check_held_out
from autointerp.questions.rubric import Rubric
from autointerp.questions.trials import (
    Described,
    Trial,
    trial_rng,
    whole_context,
)
from autointerp.store.run import Run

CONTROLS = 1 / 3  # of the contexts: half of them silent, half of other units


def specificity_trials(
    run: Run, rubric: Rubric, explained: Sequence[Explanation], count: int
) -> list[Trial]:
    """Return what is asked about each description: `count` contexts at most, one an item.

    A unit that is never silent has no silent contexts, and more firing ones instead. Units that
    were not described are not asked about.
    """
    asked = [one for one in explained if one.says_something]
    peaks = dict(run.rows("SELECT unit_id, peak FROM unit"))
    strangers = _contexts_of_others(run)
    trials: list[Trial] = []
    for begin in range(0, len(asked), 100):
        part = asked[begin : begin + 100]
        held = run.contexts([one.unit_id for one in part])
        for one in part:
            seen = texts_to_explain(held[one.unit_id].values())
            contexts = {
                n: c
                for n, c in held[one.unit_id].items()
                if c.split == "score" and text_of(c) not in seen
            }
            rng = trial_rng(run.settings.seed, one.unit_id, rubric.id)
            wanted = max(1, round(count * CONTROLS / 2)) if count > 2 else 0
            silent = silent_contexts(contexts)
            silent = [silent[place] for place in rng.permutation(len(silent))][:wanted]
            foreign = [o for o in strangers.get(one.source, ()) if o.unit_id != one.unit_id]
            mixed = (foreign[place] for place in rng.permutation(len(foreign)))
            apart = (
                o.number
                for o in mixed
                if not fires_within(contexts.values(), o.document, o.first, o.length)
                and o.text not in seen
            )
            others = list(islice(apart, wanted))
            firing = over_intervals(contexts, count - len(silent) - len(others))
            candidates = {**contexts, **run.contexts_numbered(others)}
            for kind, numbers in (("firing", firing), ("silent", silent), ("other", others)):
                trials += [
                    Trial(
                        rubric.id,
                        rubric.digest,
                        f"{count} contexts",
                        one.unit_id,
                        peaks[one.unit_id],
                        (whole_context(number, candidates[number], None, kind, rubric.shows.mark),),
                        Described(one.explainer, one.unit_id, one.text or ""),
                    )
                    for number in numbers
                ]
    check_held_out(run, trials)
    return trials


@dataclass(frozen=True)
class _Stranger:
    """A held-out context in which another unit fires: its number, and where it stands."""

    unit_id: int
    number: int
    document: int
    first: int
    length: int
    text: str


def _contexts_of_others(run: Run) -> dict[str, list[_Stranger]]:
    """Return source → held-out contexts in which its units fire, of all intervals."""
    by_source: dict[str, list[_Stranger]] = {}
    for source, *place in run.rows(
        "SELECT source, unit_id, context_id, document, position - focus, len(context.tokens),"
        " array_to_string(context.tokens, '')"
        " FROM context JOIN unit USING (unit_id)"
        " WHERE split = 'score' AND draw = 'interval' ORDER BY context_id"
    ):
        by_source.setdefault(source, []).append(_Stranger(*place))
    return by_source
