"""Texts that models wrote to descriptions, and on which units they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autointerp.questions.forms import Task, answers_in
from autointerp.questions.scorers import Answered
from autointerp.questions.trials import Piece, Trial, text_number
from autointerp.records import Context, Reply
from autointerp.store.run import Run

OTHERS = 8  # units whose texts a unit is tried on, beside its own

AnsweredTrials = Sequence[tuple[Trial, str, Reply | None]]


def texts_by_unit(task: Task, trials: AnsweredTrials) -> dict[int, list[str]]:
    """Return the texts that were written to each unit's description."""
    texts: dict[int, list[str]] = {}
    for trial, _, reply in trials:
        written = {} if reply is None else answers_in(task, reply)
        if written:
            texts[trial.unit_id] = list(written.values())
    return texts


def others_by_unit(run: Run, task: Task, trials: AnsweredTrials) -> dict[int, list[int]]:
    """Return for each unit that texts were written for up to `OTHERS` others of its source.

    They come after it in the source's random order, which ends where it begins; what has the same
    description is no other. The first one's texts are the control.
    """
    texts = texts_by_unit(task, trials)
    said = {t.unit_id: t.described.text for t, *_ in trials if t.described is not None}
    rings: dict[str, list[int]] = {}
    for unit_id, source in run.rows("SELECT unit_id, source FROM unit ORDER BY source, ord"):
        if unit_id in texts:
            rings.setdefault(source, []).append(unit_id)
    others = {}
    for ring in rings.values():
        for place, unit_id in enumerate(ring):
            turn = [*ring[place + 1 :], *ring[:place]]
            others[unit_id] = [o for o in turn if said[o] != said[unit_id]][:OTHERS]
    return others


def texts_to_measure(run: Run, task: Task, trials: AnsweredTrials) -> dict[int, list[str]]:
    """Return the texts that each unit is tried on: its own, and those of others."""
    texts = texts_by_unit(task, trials)
    return {
        unit_id: [text for one in (unit_id, *others) for text in texts[one]]
        for unit_id, others in others_by_unit(run, task, trials).items()
    }


def written_groups(
    run: Run, task: Task, trials: AnsweredTrials
) -> dict[tuple[int, bool], list[Answered]]:
    """Return for each unit its activations on texts for its own description and for others', and
    as the control (True) on those for the first of the others and for the rest.
    """
    texts = texts_by_unit(task, trials)
    others = others_by_unit(run, task, trials)
    numbers = sorted({text_number(text) for written in texts.values() for text in written})
    passages = run.contexts_numbered(numbers)
    peaks = run.response_peaks(list(texts))
    groups: dict[tuple[int, bool], list[Answered]] = {
        (trial.unit_id, False): [] for trial, *_ in trials
    }
    for unit_id, beside in others.items():
        measured = peaks[unit_id]
        own = _tried(texts[unit_id], True, measured, passages)
        rest = [_tried(texts[one], False, measured, passages) for one in beside]
        groups[unit_id, False] = [*own, *(one for part in rest for one in part)]
        if len(beside) > 1:
            control = _tried(texts[beside[0]], True, measured, passages)
            groups[unit_id, True] = [*control, *(one for part in rest[1:] for one in part)]
    return groups


def _tried(
    texts: Sequence[str],
    is_own: bool,
    measured: Mapping[int, float],
    passages: Mapping[int, Context],
) -> list[Answered]:
    """Return the texts with what the unit does on them; those on which it was not measured yet are
    not answered."""
    tried = []
    for place, text in enumerate(texts, 1):
        number = text_number(text)
        context = passages.get(number, NOTHING)
        piece = Piece(number, 0, len(context.tokens), None, is_own, "own" if is_own else "other")
        peak = measured.get(number)
        tried.append(Answered(piece, context, 0, place, peak, peak))
    return tried


NOTHING = Context((), (), 0, "random", None, "score", False, -1, 0)
