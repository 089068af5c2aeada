"""Rubrics about a description: which contexts a description is judged on, and what came of it.

Each item is one held-out context with one description. Contexts of all intervals of activation,
silent ones, and contexts of other units come mixed; the rater is told neither which is which nor
how strongly the unit fires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autointerp.questions.contexts import over_intervals, silent_contexts
from autointerp.questions.explain import EXPLAINING, Explanation, check_held_out
from autointerp.questions.rubric import Rubric
from autointerp.questions.scorers import scorer_names
from autointerp.questions.trials import (
    Described,
    Trial,
    trial_rng,
    whole_context,
)
from autointerp.records import Status
from autointerp.store.run import Run

CONTROLS = 1 / 3  # of the contexts: half of them silent, half of other units


@dataclass(frozen=True)
class ContextRating:
    """One context's rating against one description.

    Attributes:
        kind: `firing`, `silent`, or `other`: a context of another unit of the source.
        interval: Of the activation, from 1; None unless `kind` is `firing`.
        activation: On the marked token, 10 being the unit's maximum; None where it is another's.
        score: None unless `status` is ok; `pending` is not asked yet.
    """

    unit_id: int
    source: str
    is_control: bool
    rubric: str
    rubric_digest: str
    explainer: str
    rater: str
    kind: str
    interval: int | None
    activation: float | None
    status: Status | str
    score: int | None


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
            contexts = {n: c for n, c in held[one.unit_id].items() if c.split == "score"}
            rng = trial_rng(run.settings.seed, one.unit_id, rubric.id)
            wanted = max(1, round(count * CONTROLS / 2)) if count > 2 else 0
            silent = silent_contexts(contexts)
            silent = [silent[place] for place in rng.permutation(len(silent))][:wanted]
            others = [
                number for unit, number in strangers.get(one.source, ()) if unit != one.unit_id
            ]
            others = [others[place] for place in rng.permutation(len(others))][:wanted]
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


def _contexts_of_others(run: Run) -> dict[str, list[tuple[int, int]]]:
    """Return source → pairs of unit and held-out context in which it fires, of all intervals."""
    by_source: dict[str, list[tuple[int, int]]] = {}
    for source, unit_id, number in run.rows(
        "SELECT source, unit_id, context_id FROM context JOIN unit USING (unit_id)"
        " WHERE split = 'score' AND draw = 'interval' ORDER BY context_id"
    ):
        by_source.setdefault(source, []).append((unit_id, number))
    return by_source


def context_ratings(run: Run) -> list[ContextRating]:
    """Return all ratings of contexts against present descriptions, and what is pending.

    A context that several designs chose counts once.
    """
    rows = run.rows(
        "WITH one AS ("
        "  SELECT p.*, p.contexts[1] AS context_id, p.kinds[1] AS kind FROM probe p"
        "  JOIN explanation e ON e.unit_id = p.described AND e.explainer = p.explainer"
        "   AND e.description = p.description"
        "  WHERE NOT list_contains(?::VARCHAR[], p.task)"
        "), asked AS ("
        "  SELECT DISTINCT one.task_digest, one.explainer, r.rater FROM one"
        "  JOIN current_rating r USING (item_id)"
        ") SELECT u.unit_id, u.source, s.is_control, o.task, o.task_digest, o.explainer, a.rater,"
        "  o.kind, CASE WHEN o.kind = 'firing' THEN c.interval END,"
        "  CASE WHEN o.kind <> 'other' THEN c.activations[c.focus + 1] * 10 / o.scale END,"
        "  coalesce(r.status, 'pending'), r.score"
        " FROM one o JOIN asked a ON a.task_digest = o.task_digest AND a.explainer = o.explainer"
        " JOIN unit u USING (unit_id) JOIN source s ON s.source = u.source"
        " JOIN context c USING (context_id)"
        " LEFT JOIN current_rating r ON r.item_id = o.item_id AND r.rater = a.rater"
        "  AND r.repeat = 0"
        " QUALIFY row_number() OVER (PARTITION BY o.unit_id, o.task_digest, o.explainer, a.rater,"
        "  o.context_id ORDER BY r.status IS NULL, o.item_id) = 1"
        " ORDER BY u.unit_id, o.item_id",
        [[*(task.id for task in EXPLAINING), *scorer_names()]],
    )
    return [ContextRating(*row) for row in rows]
