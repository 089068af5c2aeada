"""Rubrics about a description: which contexts a description is judged on, and what came of it.

Each item is one held-out context with one description. Contexts of all intervals of activation,
silent ones, and contexts of other units come mixed; the rater is told neither which is which nor
how strongly the unit fires.

In a silent context, the unit's own, and in one of another unit it is silent, as computed. A run
that does not hold that of the contexts of others, such as an imported one, has none of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.questions.contexts import (
    held_out,
    over_intervals,
    silent_contexts,
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
    design = f"{count} contexts"
    kept = _others_asked_about(run, rubric, design)
    trials: list[Trial] = []
    for begin in range(0, len(asked), 100):
        part = asked[begin : begin + 100]
        held = run.contexts([one.unit_id for one in part])
        elsewhere = run.silent_elsewhere(list(held))
        for one in part:
            own = held[one.unit_id]
            contexts = held_out(own, {n: c for n, c in own.items() if c.split == "score"})
            rng = trial_rng(run.settings.seed, one.unit_id, rubric.id)
            wanted = max(1, round(count * CONTROLS / 2)) if count > 2 else 0
            silent = silent_contexts(contexts)
            silent = [silent[place] for place in rng.permutation(len(silent))][:wanted]
            foreign = [number for _, number in elsewhere[one.unit_id]]
            # More than wanted: a text that may have served to describe the unit is passed over.
            mixed = [foreign[place] for place in rng.permutation(len(foreign))][: 2 * wanted]
            mixed = kept.get(one.unit_id, mixed)
            apart = held_out(own, run.contexts_numbered(mixed))
            others = [n for n in mixed if n in apart][:wanted]
            firing = over_intervals(contexts, count - len(silent) - len(others))
            candidates = {**contexts, **run.contexts_numbered(others)}
            for kind, numbers in (("firing", firing), ("silent", silent), ("other", others)):
                trials += [
                    Trial(
                        rubric.id,
                        rubric.digest,
                        design,
                        one.unit_id,
                        peaks[one.unit_id],
                        (whole_context(number, candidates[number], None, kind, rubric.shows.mark),),
                        Described(one.explainer, one.unit_id, one.text or ""),
                    )
                    for number in numbers
                ]
    check_held_out(run, trials)
    return trials


def _others_asked_about(run: Run, rubric: Rubric, design: str) -> dict[int, list[int]]:
    """Return by unit the contexts of others that it was asked about before, in their order.

    It keeps them when the run learns of more contexts in which it is silent.
    """
    kept: dict[int, list[int]] = {}
    for unit_id, number in run.rows(
        "SELECT DISTINCT unit_id, contexts[1] AS number FROM probe"
        " WHERE task = ? AND task_digest = ? AND design = ? AND kinds[1] = 'other' ORDER BY ALL",
        [rubric.id, rubric.digest, design],
    ):
        kept.setdefault(unit_id, []).append(number)
    return kept
