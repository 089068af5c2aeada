"""Units measured on texts that scorers ask about or ask for, with the run's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autointerp.errors import SubjectError
from autointerp.pipeline.events import Measuring, On, Step, ignore
from autointerp.questions.trials import text_number
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.text import count


def subject_for_texts(run: Run, option: str) -> Subject:
    """Return the run's subject, for texts that `option` has measured.

    Raises as `subject_again`, and SubjectError if it has no tokenizer of texts.
    """
    from autointerp.units.reopen import subject_again  # imports torch

    subject = subject_again(run, option)
    if subject.tokenise is None:
        raise SubjectError(
            f"{option} has units measured on texts, and '{subject.name}' has no tokenizer of any; "
            "name another scorer"
        )
    return subject


def pending_texts(run: Run, wanted: Mapping[int, Sequence[str]]) -> dict[int, dict[int, str]]:
    """Return, by unit, the texts on which it was not measured yet, by their numbers."""
    stored = run.response_peaks(list(wanted))
    pending: dict[int, dict[int, str]] = {}
    for unit_id, asked in wanted.items():
        left = {text_number(text): text for text in asked}
        left = {number: text for number, text in left.items() if number not in stored[unit_id]}
        if left:
            pending[unit_id] = left
    return pending


def measure_texts(
    run: Run, subject: Subject, wanted: Mapping[int, Sequence[str]], label: str, on: On = ignore
) -> int:
    """Measure units, by id, on texts on which they were not measured yet, store their activations
    on every token, and return how many pairs of a unit and a text were pending.
    """
    pending = pending_texts(run, wanted)
    pairs = sum(map(len, pending.values()))
    if not pending:
        return 0

    from autointerp.units.reopen import numbers_again, sources_again  # imports torch
    from autointerp.units.responses import responses

    on(Step(f"{label} measures {count(len(pending), 'unit')} on texts"))
    done = 0
    for name, source, units in sources_again(run, subject, list(pending)):
        numbers = numbers_again(run, name, source, units)
        texts = {number: text for unit in units for number, text in pending[unit].items()}
        keys = list(texts)
        read: set[int] = set()
        settings = run.settings
        for batch in responses(
            subject, source, numbers, list(texts.values()), settings.harvest, settings.seed
        ):
            passages, rows = {}, []
            for place, tokens, block in zip(
                batch.places, batch.tokens, batch.activations, strict=True
            ):
                number = keys[place]
                read.add(number)
                passages[number] = tokens
                rows += [
                    {"context_id": number, "unit_id": unit, "activations": values.tolist()}
                    for unit, values in zip(units, block, strict=True)
                    if number in pending[unit]
                ]
            run.add_passages(passages)
            run.add_responses(rows)
        unread = [number for number in keys if number not in read]  # of no tokens
        run.add_passages(dict.fromkeys(unread, ()))
        run.add_responses(
            [
                {"context_id": number, "unit_id": unit, "activations": []}
                for unit in units
                for number in unread
                if number in pending[unit]
            ]
        )
        done += len(units)
        on(Measuring(label, done, len(pending)))
    run.log("measured", scorer=label, units=len(pending), pairs=pairs)
    return pairs
