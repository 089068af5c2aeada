"""The verb `examine`: one unit of a run on the bench, beside controls, and the page of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput
from autointerp.findings.examined import Examined, examined
from autointerp.labs import Row, design_of, load_lab, options_of
from autointerp.labs import probe_sentences as sentences
from autointerp.labs import vocabulary_probe as vocabulary
from autointerp.labs._bench import Bench, open_bench
from autointerp.pipeline.events import Note, On, Probed, Probing, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.pipeline.report import REPORTS
from autointerp.reports.examined import write_examined
from autointerp.reports.write import check_folder
from autointerp.store.run import RUNS, Run, open_run
from autointerp.text import without_surrogates

# What is quick, in turn: after the sentences, before the vocabulary.
ONE_BY_ONE = ("context-ablation", "neuron-alignment", "logit-differences", "neighbours")
CONTROLS = ("random", "neurons", "features")
SAVE_EVERY_S = 10.0  # of a vocabulary, at most so much is lost by a kill


@dataclass(frozen=True)
class OnPage:
    """What was found, and the page of it.

    Attributes:
        page: None where none was asked for.
    """

    examined: Examined
    page: Path | None


def examine(
    unit: str,
    run: str = "main",
    controls: Sequence[str] = (),
    probes: Iterable[str] = (),
    neutral: str = "",
    with_vocabulary: bool = True,
    out: Path | str | None = None,
    page: bool = True,
    runs: Path | str = RUNS,
    on: On = ignore,
) -> OnPage:
    """Measure a unit and its controls by the labs, store the rows and write a page of them.

    What is stored and would come out the same is not measured again, so a call that was stopped
    goes on where it was, in the middle of the vocabulary too.

    Args:
        controls: Names of units that go through the same; empty for those of the run's random
            directions, neurons and features that fire about as often, one each, its own left out.
        probes: Sentences, each read as soon as it comes.
        neutral: The token that replaces others; empty for the corpus's commonest.
        with_vocabulary: Whether the vocabulary is probed, which takes longest.
        out: Folder of the page; None for reports/examine-RUN-UNIT.
        page: Whether a page is written.

    Raises BadInput if there is no such unit, the run has no subject, a sentence has no tokens, or
    `out` holds something else than a report.
    """
    name = unit.replace("/", "-").replace("−", "-")
    place = REPORTS / f"examine-{run}-{name}" if out is None else Path(out)
    with open_run(run, folder=Path(runs)) as opened:
        say_opened(opened, on)
        (unit_id,) = opened.units_called([unit])
        if page:
            check_folder(place)
        others = _controls(opened, unit_id, controls, on)
        _measure(opened, [unit_id, *others], probes, neutral, with_vocabulary, on)
        found = examined(opened, unit_id, others)
    return OnPage(found, write_examined(found, place) if page else None)


def _controls(run: Run, unit_id: int, names: Sequence[str], on: On) -> list[int]:
    """Return the units that a unit is compared with, never itself."""
    if names:
        chosen = run.units_called(names)
        if unit_id in chosen:
            raise BadInput(f"--control {names[chosen.index(unit_id)]}: that is the unit itself")
        return chosen
    (own,) = run.units_numbered([unit_id])
    controls = []
    for source in CONTROLS:
        if source == own.summary.unit.source:
            continue
        eligible = [one for one in run.units(source) if one.summary.outcome == "eligible"]
        if not eligible and source != CONTROLS[0]:
            continue
        if not eligible:
            on(
                Note(
                    f"run '{run.name}' has no units of {source} to stand beside "
                    f"{own.summary.unit}; `autointerp rate --run {run.name} --source {source}` "
                    "adds some"
                )
            )
            continue
        model = f"matched to {own.summary.unit}"
        matched = [one for one in eligible if one.summary.note.endswith(model)]
        distance = {
            one.unit_id: abs(_log(one.summary.density) - _log(own.summary.density))
            for one in eligible
        }
        nearest = min(matched or eligible, key=lambda one: distance[one.unit_id])
        controls.append(nearest.unit_id)
    return controls


def _log(density: float | None) -> float:
    return math.log(max(density or 0.0, 1e-9))


def _measure(
    run: Run,
    units: Sequence[int],
    probes: Iterable[str],
    neutral: str,
    with_vocabulary: bool,
    on: On,
) -> None:
    @cache
    def bench() -> Bench:
        on(Step("opening the subject"))
        return open_bench(run, units, "examine")

    _sentences(run, bench, units, probes, on)  # what cannot be read is refused before the rest
    for lab in ONE_BY_ONE:
        options = options_of(lab, {"neutral": neutral} if lab == "context-ablation" else {})
        lacking = _lacking(run, lab, options, units)
        if lacking:
            on(Step(lab))
        for unit_id in lacking:
            rows = list(load_lab(lab).measure(bench(), unit_id, options))  # type: ignore[attr-defined]
            _store(run, lab, unit_id, rows, options)
    if with_vocabulary:
        options = options_of("vocabulary-probe", {})
        for unit_id in _lacking(run, "vocabulary-probe", options, units):
            _vocabulary(run, bench(), unit_id, options, on)


def _lacking(run: Run, lab: str, options: Mapping[str, Any], units: Sequence[int]) -> list[int]:
    done = run.measured_units(lab, design_of(lab, options, []))
    return [unit_id for unit_id in units if unit_id not in done]


def _store(
    run: Run, lab: str, unit_id: int, rows: Sequence[Row], options: Mapping[str, Any]
) -> None:
    run.replace_lab_rows(lab, [unit_id], rows, design_of(lab, options, []))
    run.log("measured", lab=lab, options=dict(options), units=1, rows=len(rows))


def _sentences(run: Run, bench: Any, units: Sequence[int], probes: Iterable[str], on: On) -> None:
    """Read sentences as they come, for all units; without any, units on their own contexts."""
    lab = "probe-sentences"
    texts: list[str] = []
    rows: dict[int, list[Row]] = {unit_id: [] for unit_id in units}
    peaks = {one.unit_id: one.summary.peak for one in run.units_numbered(units)}
    for probe in probes:
        text = without_surrogates(probe)  # of bytes on the command line that are no text
        texts.append(text)
        reasons = [bench().why_unreadable(unit_id) for unit_id in units]
        if all(reasons):
            raise BadInput(f"--probe {text!r}: {reasons[0]}; leave it out")
        for unit_id in units:
            if bench().why_unreadable(unit_id):
                continue
            row = sentences.sentence(bench(), unit_id, text)
            rows[unit_id].append(row)
            on(Probed(bench().units[unit_id].name, tuple(row["tokens"]),
                      tuple(row["activations"]), peaks[unit_id]))  # fmt: skip
    if not texts:  # what was asked before stays
        held = {row["unit_id"] for row in run.lab_rows(lab)}
        units = [unit_id for unit_id in units if unit_id not in held]
    options = options_of(lab, {"texts": json.dumps(texts, ensure_ascii=False) if texts else ""})
    for unit_id in _lacking(run, lab, options, units):
        own = rows[unit_id] or list(sentences.measure(bench(), unit_id, options))
        _store(run, lab, unit_id, own, options)


def _vocabulary(run: Run, bench: Bench, unit_id: int, options: Mapping[str, Any], on: On) -> None:
    """Try the vocabulary on a unit, from where an earlier call was stopped; keep what is tried."""
    lab, name = "vocabulary-probe", bench.units[unit_id].name
    held = [row for row in run.lab_rows(lab) if row["unit_id"] == unit_id]
    begun = vocabulary.begun_of(held, options["tokens"])
    probes: dict[str, vocabulary.Probe] = {}
    reason = ""
    saved_at = time.monotonic()

    def save() -> None:
        rows = list(vocabulary.rows_of(bench, unit_id, probes.values()))
        run.replace_lab_rows(lab, [unit_id], rows, "", ())

    try:
        for step in vocabulary.steps(bench, unit_id, options, begun):
            if isinstance(step, str):
                reason = step
                break
            probes[step.placing] = step
            done = sum(one.probed for one in probes.values())
            on(Probing(name, done, len(vocabulary.PLACINGS) * step.vocabulary))
            if time.monotonic() - saved_at >= SAVE_EVERY_S:
                save()
                saved_at = time.monotonic()
    except BaseException:
        if probes:
            save()
        raise
    _store(run, lab, unit_id, list(vocabulary.rows_of(bench, unit_id, probes.values(), reason)),
           options)  # fmt: skip
