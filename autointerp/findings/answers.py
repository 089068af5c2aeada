"""Replies about descriptions → a score a unit under each scorer, a rating a context under a rubric.

Only what was asked about the present descriptions counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pandas as pd

from autointerp import extensions
from autointerp.findings.written import texts_to_measure, written_groups
from autointerp.questions.explain import EXPLAINING, explanations
from autointerp.questions.forms import LETTERS, Task, answers_in
from autointerp.questions.scorers import (
    Answered,
    Figures,
    Scorer,
    Tried,
    mean_of_others,
    needs_responses,
    scorer,
    scorer_names,
    separation,
)
from autointerp.questions.trials import COLUMNS, QUERY, Trial, piece_text, text_number, trial_of
from autointerp.records import Context, Reply, Status
from autointerp.store.run import Run


@dataclass(frozen=True)
class UnitScore:
    """What became of one unit under one scorer.

    Attributes:
        permuted: With another unit's description, or contexts of no unit in common.
        score: 0 to 1, chance 0.5; None unless `outcome` is `ok`.
        outcome: `ok`, or why there is no score: `unknown` (the explainer found nothing to say),
            `not explained`, `too few silent contexts`, `no answers …`, …
        questions, answered: Contexts asked about, and those that an answer came for.
        statuses: Of the calls; `pending` were not made yet.
        others: Of a control in shared calls: what each other description gets on the unit's texts,
            by its unit; `score` is their mean.
    """

    unit_id: int
    source: str
    is_control: bool
    scorer: str
    explainer: str | None
    rater: str
    design: str
    permuted: bool
    score: float | None
    outcome: str
    questions: int = 0
    answered: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ContextRating:
    """One context's rating against one description.

    Attributes:
        kind: `firing`, `silent`, or `other`: a context of another unit of the source.
        is_silent: Whether the run holds this unit's activation on every token of the context, and
            it is 0 on each; of `other`, usually not known, and then False.
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
    is_silent: bool
    interval: int | None
    activation: float | None
    status: Status | str
    score: int | None


# ------------------------------------------------------------------------------- scorers


def unit_scores(run: Run, unit_id: int | None = None) -> list[UnitScore]:
    """Return the scores of all units, or of one, under all scorers, and what became of those
    without one.

    Answers to an earlier version of a scorer, which asked otherwise, are left out.
    """
    scores: list[UnitScore] = []
    if not run.has_rows("probe"):
        return scores
    asked = run.rows(
        "SELECT DISTINCT p.task, p.task_digest, p.design, p.explainer, r.rater FROM probe p"
        " JOIN current_rating r USING (item_id)"
        " WHERE p.task <> 'explain' AND r.repeat = 0 ORDER BY ALL"
    )
    readers: dict[
        tuple[str, str], list[str]
    ] = {}  # of the answers to a task: scorers may share one
    for name in scorer_names():
        task = scorer(name).TASK
        readers.setdefault((task.id, task.digest), []).append(name)
    explainers = {row[3] for row in asked}
    undescribed = {explainer: _undescribed(run, explainer) for explainer in explainers}
    present = {explainer: _descriptions(run, explainer) for explainer in explainers}
    units = {
        row[0]: row[1:]
        for row in run.rows(
            "SELECT unit_id, source, is_control, peak, density, interval_tokens"
            " FROM unit JOIN source USING (source) WHERE outcome = 'eligible'"
            " AND (?::INTEGER IS NULL OR unit_id = ?)",
            [unit_id, unit_id],
        )
    }
    for task_id, digest, design, explainer, rater in asked:
        for name in readers.get((task_id, digest), ()):
            without = _unasked(run, name, design) | undescribed[explainer]
            # What is measured on written texts is compared with those of others.
            about = None if scorer(name).TASK.form == "write" else unit_id
            trials = _answered_trials(
                run, name, design, explainer, rater, present[explainer], about
            )
            scores += _scores(
                run, (name, design, explainer, rater), trials, units, without, unit_id
            )
    return scores


def _scores(
    run: Run,
    of: tuple[str, str, str | None, str],
    trials: Sequence[AnsweredTrial],
    units: Mapping[int, Sequence[Any]],
    without: Mapping[int, str],
    only: int | None = None,
) -> Iterator[UnitScore]:
    """Yield the scores of units, or of one, from the trials that a rater answered.

    Args:
        of: The scorer, the design, the explainer, the rater.
        units: By number: source, whether it is a control, peak, density, tokens by interval.
        without: Why units had nothing to be asked about.
    """
    name, design, explainer, rater = of
    module = scorer(name)
    contexts = run.contexts_numbered(
        sorted({p.context for trial, *_ in trials for p in trial.pieces})
    )
    groups: dict[tuple[int, bool], list[Answered]] = {}
    beside: dict[int, dict[int, list[Answered]]] = {}  # unit → other unit of the call → answers
    statuses: dict[tuple[int, bool], Counter[str]] = {}
    numbers: Counter[tuple[int, bool]] = Counter()
    peaks: dict[int, dict[int, float]] = {}
    if needs_responses(module):
        peaks = run.response_peaks(
            sorted({owner for trial, *_ in trials for owner in trial.owners})
        )
    if module.TASK.form == "write":
        groups = written_groups(run, module.TASK, trials)
    for trial, status, reply in trials:
        key = trial.unit_id, trial.permuted
        statuses.setdefault(key, Counter())[status] += 1  # of a shared call, with one unit alone
        if module.TASK.form == "write":
            continue
        if not trial.candidates:
            groups.setdefault(key, []).extend(
                _read(module.TASK, trial, numbers[key], reply, contexts)
            )
            numbers[key] += 1
            continue
        matched = _matched(module.TASK, trial, reply, contexts)
        if needs_responses(module):
            matched = _on_every_text(trial, matched, peaks)
        for owner, described, answered in matched:
            own = groups.setdefault((owner, False), [])
            others = beside.setdefault(owner, {})
            (own if owner == described else others.setdefault(described, [])).append(answered)
    if only is not None:  # calls are shared with other units
        groups = {key: answers for key, answers in groups.items() if key[0] == only}
        beside = {only: beside[only]} if only in beside else {}
    for unit_id, others in beside.items():
        groups[unit_id, True] = [answered for asked in others.values() for answered in asked]
    for (unit_id, permuted), asked in sorted(groups.items(), key=lambda pair: pair[0]):
        source, is_control, peak, density, intervals = units[unit_id]
        others = beside.get(unit_id, {})
        tried = Tried(asked, peak, density, tuple(intervals), others)
        figures = _figures(name, module, tried)
        if permuted and others:
            alone = Tried(groups[unit_id, False], peak, density, tuple(intervals), others)
            measured = _figures(name, module, alone)
            beaten = measured.more.get("with others")
            figures = (
                mean_of_others(tried, separation)
                if beaten is None
                else Figures(beaten, others=measured.others)
            )
        yield UnitScore(
            unit_id, source, is_control, name, explainer, rater, design, permuted,
            figures.score, figures.outcome, len(asked),
            sum(answered.answer is not None for answered in asked),
            dict(statuses.get((unit_id, permuted), {})), figures.more,
            figures.others if permuted else {},
        )  # fmt: skip
    for unit_id, outcome in sorted(without.items()):
        if (unit_id, False) not in groups and unit_id in units:
            source, is_control, *_ = units[unit_id]
            yield UnitScore(
                unit_id, source, is_control, name, explainer, rater, design, False, None, outcome
            )


def _figures(name: str, module: Scorer, tried: Tried) -> Figures:
    return extensions.returned(module.measure(tried), Figures, f"scorer '{name}': measure()")


AnsweredTrial = tuple[Trial, str, Reply | None]  # with the call's status and its reply


def _answered_trials(
    run: Run,
    name: str,
    design: str,
    explainer: str | None,
    rater: str,
    present: Collection[tuple[int, str | None]],
    about: int | None = None,
) -> list[AnsweredTrial]:
    """Return the trials about present descriptions; with `about`, those of calls about one unit.

    `present` is `_descriptions`: joined to it in SQL, the rest would take twice as long.
    """
    rows = run.rows(
        f"WITH asked AS ({QUERY}) SELECT a.*, r.status, c.reply, c.details FROM asked a"
        " LEFT JOIN current_rating r ON r.item_id = a.item_id AND r.rater = ? AND r.repeat = 0"
        " LEFT JOIN (SELECT call_key, arg_max(reply, attempt) AS reply,"
        "  arg_max(details, attempt) AS details FROM call WHERE stop = 'end' GROUP BY call_key"
        " ) c ON c.call_key = r.call_key"
        " WHERE a.task = ? AND a.task_digest = ? AND a.design = ?"
        " AND a.explainer IS NOT DISTINCT FROM ?"
        " AND (?::INTEGER IS NULL OR a.unit_id = ? OR list_contains(a.owners, ?))"
        " ORDER BY a.unit_id, a.item_id",
        [
            rater,
            scorer(name).TASK.id,
            scorer(name).TASK.digest,
            design,
            explainer,
            about,
            about,
            about,
        ],
    )
    trials: list[AnsweredTrial] = []
    for row in rows:
        _, trial = trial_of(row)
        shown = (trial.described,) if trial.described else trial.candidates
        if any((one.unit_id, one.text) not in present for one in shown):
            continue
        status, text, details = row[COLUMNS:]
        reply = None
        if status == "ok":
            reply = Reply(text, details=json.loads(details) if details else {})
        trials.append((trial, status or "pending", reply))
    return trials


def _descriptions(run: Run, explainer: str | None) -> set[tuple[int, str | None]]:
    """Return the units that an explainer described, each with what it says of them now."""
    query = "SELECT unit_id, description FROM explanation WHERE explainer = ?"
    return {(unit_id, text) for unit_id, text in run.rows(query, [explainer])}


def texts_of(run: Run, name: str, design: str, explainer: str, rater: str) -> dict[int, list[str]]:
    """Return the texts on which units are to be measured, for what a rater answered to a scorer
    whose figures need that, by unit.
    """
    task = scorer(name).TASK
    present = _descriptions(run, explainer)
    trials = _answered_trials(run, name, design, explainer, rater, present)
    if task.form == "write":
        return texts_to_measure(run, task, trials)
    numbers = sorted({piece.context for trial, *_ in trials for piece in trial.pieces})
    contexts = run.contexts_numbered(numbers)
    texts: dict[int, list[str]] = {}
    for trial, _, reply in trials:
        shown = [piece_text(piece, contexts[piece.context]) for piece in trial.pieces]
        for owner in sorted(set(trial.owners)) if reply is not None else ():
            texts.setdefault(owner, []).extend(shown)
    return texts


def _read(
    task: Task,
    trial: Trial,
    call: int,
    reply: Reply | None,
    contexts: Mapping[int, Context],
) -> Iterator[Answered]:
    answers = {} if reply is None else answers_in(task, reply)
    if task.form == "choose" and 1 <= next(iter(answers), 0) <= len(trial.pieces):
        answers = {place: place in answers for place in range(1, len(trial.pieces) + 1)}
    elif task.form == "choose":
        answers = {}  # a context that does not exist was chosen
    if task.form == "predict" and reply is not None:
        answers = _expected(answers, reply.details.get("expected_activations"))
    for place, piece in enumerate(trial.pieces, 1):
        yield Answered(piece, contexts[piece.context], call, place, answers.get(place))


def _matched(
    task: Task, trial: Trial, reply: Reply | None, contexts: Mapping[int, Context]
) -> Iterator[tuple[int, int, Answered]]:
    """Yield the unit of a piece, the unit of a description, and the answer about the two."""
    answers = {} if reply is None else answers_in(task, reply)
    expected = {} if reply is None else reply.details.get("expected_matches") or {}
    for number, described in enumerate(trial.candidates, 1):
        listed, likely = answers.get(number), expected.get(str(number))
        for place, (owner, piece) in enumerate(zip(trial.owners, trial.pieces, strict=True), 1):
            answer: bool | float | None = None if listed is None else place in listed
            if listed is not None and likely is not None:
                answer = likely.get(LETTERS[place - 1], 0.0)
            answered = Answered(piece, contexts[piece.context], 0, place, answer)
            yield owner, described.unit_id, answered


def _on_every_text(
    trial: Trial,
    matched: Iterable[tuple[int, int, Answered]],
    peaks: Mapping[int, Mapping[int, float]],
) -> Iterator[tuple[int, int, Answered]]:
    """Yield each answer about a description and a text for every unit that the call is about, with
    what that unit does on the text; None if it was not measured yet.
    """
    owners = sorted(set(trial.owners))
    for _, described, answered in matched:
        number = text_number(piece_text(answered.piece, answered.context))
        for owner in owners:
            peak = peaks[owner].get(number)
            yield owner, described, replace(answered, activation=peak)


def _expected(
    answers: dict[int, dict[int, float]], expected: list[float] | None
) -> dict[int, dict[int, float]]:
    """Return the answers with activations by probability, where the rater gave as many.

    Both stand in the order of the reply.
    """
    if expected is None or len(expected) != sum(map(len, answers.values())):
        return answers
    left = iter(expected)
    return {context: {token: next(left) for token in levels} for context, levels in answers.items()}


def _unasked(run: Run, name: str, design: str) -> dict[int, str]:
    """Return unit → why a scorer had nothing to ask about it."""
    return dict(
        run.rows(
            "SELECT unit_id, outcome FROM unprobed WHERE task = ? AND design = ?",
            [scorer(name).TASK.id, design],
        )
    )


def _undescribed(run: Run, explainer: str | None) -> dict[int, str]:
    """Return unit → why it has no description that could be tried."""
    return {
        one.unit_id: f"not explained: {one.status}" if one.status != "ok" else "unknown"
        for one in (explanations(run, explainer) if explainer is not None else ())
        if one.status != "ok" or not one.says_something
    }


# --------------------------------------------------------------------------- descriptions

# Whether unit o.unit_id is silent in context c, which is another unit's: windows of its own from
# the same document cover c, and it is silent in all that overlap c.
SILENT = (
    "(SELECT coalesce(bool_and(w.silent), false)"
    " AND coalesce(bool_or(w.position - w.focus <= c.position - c.focus"
    "  AND w.position - w.focus + len(w.tokens) >= c.position - c.focus + len(c.tokens)), false)"
    " FROM context w WHERE w.unit_id = o.unit_id AND w.document = c.document"
    " AND w.position - w.focus < c.position - c.focus + len(c.tokens)"
    " AND c.position - c.focus < w.position - w.focus + len(w.tokens))"
)
# The same as computed where the run holds that, else as its own windows show.
SILENCE = (
    "coalesce((SELECT v.silent FROM silence v WHERE v.unit_id = o.unit_id"
    f" AND v.context_id = c.context_id), {SILENT})"
)


def context_ratings(run: Run, unit_id: int | None = None) -> list[ContextRating]:
    """Return all ratings of contexts against present descriptions, or those of one unit, and what
    is pending.

    A context that several designs chose counts once.
    """
    if not run.has_rows("probe"):
        return []
    rows = run.rows(
        "WITH one AS ("
        "  SELECT p.*, p.contexts[1] AS context_id, p.kinds[1] AS kind FROM probe p"
        "  JOIN explanation e ON e.unit_id = p.described AND e.explainer = p.explainer"
        "   AND e.description = p.description"
        "  WHERE NOT list_contains(?::VARCHAR[], p.task)"
        "   AND (?::INTEGER IS NULL OR p.unit_id = ?)"
        "), asked AS ("
        "  SELECT DISTINCT one.task_digest, one.explainer, r.rater FROM one"
        "  JOIN current_rating r USING (item_id)"
        ") SELECT u.unit_id, u.source, s.is_control, o.task, o.task_digest, o.explainer, a.rater,"
        f"  o.kind, CASE o.kind WHEN 'firing' THEN false WHEN 'silent' THEN c.silent"
        f"  ELSE {SILENCE}"
        "  END, CASE WHEN o.kind = 'firing' THEN c.interval END,"
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
        [[*(task.id for task in EXPLAINING), *scorer_names()], unit_id, unit_id],
    )
    return [ContextRating(*row) for row in rows]


# -------------------------------------------------------------------------------- tables


def scores_table(run: Run) -> pd.DataFrame:
    """Return the units' scores under scorers, one row each; `more` is JSON."""
    return _table(UnitScore, unit_scores(run))


def specificity_table(run: Run) -> pd.DataFrame:
    """Return the ratings of contexts against descriptions, one row each."""
    return _table(ContextRating, context_ratings(run))


def _table(kind: type[UnitScore] | type[ContextRating], rows: Sequence[Any]) -> pd.DataFrame:
    """Return dataclasses as a frame without what the unit itself says; mappings are JSON."""
    without = ("source", "is_control", "others")
    names = [one.name for one in fields(kind) if one.name not in without]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    for name in {"statuses", "more"} & set(names):
        columns[name] = [json.dumps(dict(value), sort_keys=True) for value in columns[name]]
    return pd.DataFrame(columns)
