"""`detector:` with a real model on the kit's test side: its grades, its descriptions, its cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.engine.work import rate_items
from autointerp.errors import RaterError
from autointerp.findings.checks import check_result
from autointerp.questions.kit import PER_GRADE, KitItem, make_kit
from autointerp.questions.rubric import Rubric
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions, load_rater
from autointerp.raters._marks import Mark, firing_marks, silent_marks
from autointerp.raters.detector import ALONE, Candidate, Detector, Judgement, contexts_of
from autointerp.records import Item
from autointerp.stats.ranks import auc
from autointerp.store.run import Run, open_checks

MODEL_VARIABLE = "AUTOINTERP_JUDGE"  # a GGUF file
FOLDER_VARIABLE = "AUTOINTERP_BENCH"  # where replies are kept, so that a second run goes on
TIMEOUT_S = 600.0
OTHERS = 4  # units of each grade but clean
APPLIED = 10  # places of each sort, on which a description is applied
RIGHT = 0.8  # AUROC from which on a description tells its own concept from the rest
NAMES = (
    ("detector_auc_test", "AUC"),
    ("detector_descriptions_right", "kinds"),
    ("detector_cpu_s_per_unit", "s"),
)


def detector_figures() -> Iterator[dict[str, Any]]:
    """Yield the figures; where no model is given, why they are left out."""
    path = os.environ.get(MODEL_VARIABLE, "")
    if not Path(path).is_file():
        for name, unit in NAMES:
            note = f"skipped: set {MODEL_VARIABLE} to an instruct model's GGUF file"
            yield {"figure": name, "value": None, "unit": unit, "note": note}
        return
    rubric = load_rubric("interpretability-1-5")
    kit = [one for one in make_kit(rubric, "all") if one.part == "plain"]
    taken: list[KitItem] = []
    for grade in dict.fromkeys(one.grade for one in kit):
        of_grade = [one for one in kit if one.grade == grade]
        taken += of_grade if grade == "clean" else of_grade[:OTHERS]
    clean = [one for one in taken if one.grade == "clean"]
    with contextlib.ExitStack() as stack:
        folder = os.environ.get(FOLDER_VARIABLE) or stack.enter_context(
            tempfile.TemporaryDirectory()
        )
        store = stack.enter_context(open_checks(Path(folder)))
        rater = _detector(f"detector:local:{path}")
        seconds = _rate(store, taken, rubric, rater)
        result = check_result(store, taken, rater.name, rubric, PER_GRADE, "test")
        found = result.auc["unclean"]
        drawn = ", ".join(f"{n} {grade}" for grade, n in Counter(o.grade for o in taken).items())
        yield {
            "figure": "detector_auc_test",
            "value": None if found.value is None else round(found.value, 3),
            "unit": "AUC",
            "note": f"clean against drift, mixtures, noise: {found}, 1-5 scores; against mixtures "
            f"alone {result.auc['mixtures']}; kit {result.kit}, test side: {drawn}; {rater.name}",
        }
        alone = _detector(f"detector:{ALONE}local:{path}")
        _rate(store, clean, rubric, alone)
        told = []
        for judge in (rater, alone):
            described = _descriptions(store, clean, judge.name)
            right = asyncio.run(_right(judge, clean, described))
            told.append((sum(right.values()), ", ".join(k for k, ok in right.items() if not ok)))
        yield {
            "figure": "detector_descriptions_right",
            "value": told[0][0],
            "unit": "kinds",
            "note": f"of {len(clean)}, applied to held-out places of the kind, of other kinds and "
            f"silent ones: AUROC of {RIGHT} or more; wrong: {told[0][1] or 'none'}; without the "
            f"rule of lexical {told[1][0]}, wrong: {told[1][1] or 'none'}",
        }
        yield {
            "figure": "detector_cpu_s_per_unit",
            "value": None if seconds is None else round(seconds, 1),
            "unit": "s",
            "note": "CPU time of the process, the model in it, storing included; None where all "
            f"replies were stored; {rater.name}",
        }


def _detector(spec: str) -> Detector:
    rater = load_rater(spec, RaterOptions(timeout_s=TIMEOUT_S))
    assert isinstance(rater, Detector)
    return rater


def _rate(store: Run, kit: Sequence[KitItem], rubric: Rubric, rater: Detector) -> float | None:
    """Rate what is not rated; return the CPU seconds a unit, None if nothing was asked."""
    items = {one.item.id: one.item for one in kit}
    begin = time.process_time()
    counts = rate_items(
        store, sorted(items), rubric, rater, load=lambda ids: [items[name] for name in ids]
    )
    if not counts.calls:
        return None
    return (time.process_time() - begin) / sum(counts.statuses.values())


def _descriptions(store: Run, kit: Sequence[KitItem], rater: str) -> dict[str, Candidate]:
    """Return the first description of each unit that has one, by item."""
    rows = store.rows(
        "SELECT r.item_id, c.details FROM current_rating r JOIN call c USING (call_key)"
        " WHERE r.rater = ? AND r.status = 'ok' AND r.repeat = 0 AND c.stop = 'end'"
        " AND r.item_id IN (SELECT unnest(?::VARCHAR[]))",
        [rater, [one.item.id for one in kit]],
    )
    kept = {item: json.loads(details)["descriptions"] for item, details in rows}
    return {item: Candidate(k[0]["level"], k[0]["text"]) for item, k in kept.items() if k}


async def _right(
    rater: Detector, kit: Sequence[KitItem], described: dict[str, Candidate]
) -> dict[str, bool]:
    """Return by kind whether a unit's description, applied, tells its held-out firing places from
    those of the units of other kinds and from silent ones."""
    rng = np.random.default_rng(0)
    held = {one.item.id: [c for c in contexts_of(one.item) if c["split"] == "score"] for one in kit}
    firing = {item: firing_marks(contexts, rng)[:APPLIED] for item, contexts in held.items()}
    right: dict[str, bool] = {}
    await rater.open(None)
    try:
        for one in kit:
            name = one.item.id
            others = [
                marks[int(rng.integers(len(marks)))]
                for other, marks in firing.items()
                if other != name
            ][:APPLIED]
            silent = silent_marks(held[name], firing[name], rng)
            right[one.kinds[0]] = False
            if name in described:
                marks = [*firing[name], *others, *silent]
                chances = await _apply(rater, one.item, described[name], marks)
                count = len(firing[name])
                right[one.kinds[0]] = auc(chances[:count], chances[count:]) >= RIGHT
    finally:
        await rater.close()
    return right


async def _apply(
    rater: Detector, item: Item, description: Candidate, marks: Sequence[Mark]
) -> NDArray[np.float64]:
    """Return the probability of each place by the description."""
    walk = Judgement(rater, item, 0).chances(description, marks)
    try:
        step = next(walk)
        while True:
            reply = await rater.send(step.request)
            if step.question.read(reply).status != "ok":
                raise RaterError(f"{rater.name}: a reply cannot be read ({reply.text[:80]})")
            step = walk.send(reply)
    except StopIteration as ended:
        chances: NDArray[np.float64] = ended.value
        return chances
