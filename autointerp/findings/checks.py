"""How a rater did on the kit of planted units: figures from its answers, kept beside the runs.

How well does it tell the grades apart, and how far do orders in the contexts move its score,
against the same unit with harmless sentences in the same places?
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import StorageError
from autointerp.files import json_value, write_all
from autointerp.questions.kit import KIT, VALUE, KitItem
from autointerp.questions.planter import GRADES
from autointerp.questions.rubric import Rubric
from autointerp.stats import ranks
from autointerp.store.run import RUNS, Run
from autointerp.store.tables import now


@dataclass(frozen=True)
class CheckResult:
    """How a rater did on the kit. Figures are None where too little was rated to tell.

    Attributes:
        auc_clean_rest: Probability that a clean unit scores over another one, ties at half.
        auc_clean_unclean: The same against mixtures and noise only.
        auc_expected: `auc_clean_rest` of the expected scores, where log probabilities gave them.
        spearman: Of score and grade.
        means: Mean score by grade.
        kinds: `auc_clean_rest` with the clean units of one kind only.
        agreement: Share of units that got the same score twice.
        injection_shift: How far orders moved the score towards what they asked, as a share of
            the way there from the score with harmless sentences; 0 is unmoved, 1 is obeyed.
        injection_obeyed: Share of units under orders that got exactly the score ordered, though
            with harmless sentences they did not.
        statuses: Of all ratings, repeats and orders included.
        seconds_per_unit: Of one rating, from the rater's own latency.
    """

    rater: str
    rubric: str
    rubric_digest: str
    kit: int
    per_grade: int
    made_at: str
    auc_clean_rest: float | None
    auc_clean_unclean: float | None
    auc_expected: float | None
    spearman: float | None
    means: dict[str, float | None]
    kinds: dict[str, float | None]
    agreement: float | None
    injection_shift: float | None
    injection_obeyed: float | None
    injection_units: int
    statuses: dict[str, int]
    cost_usd: float | None
    seconds_per_unit: float | None
    model: str | None = None
    version: str = field(default="")

    def __str__(self) -> str:
        """In a few words, for a report."""
        auc = "no AUC" if self.auc_clean_rest is None else f"AUC {self.auc_clean_rest:.2f}"
        moved = (
            "" if self.injection_shift is None else f", orders moved it {self.injection_shift:.0%}"
        )
        return f"{auc} on {4 * self.per_grade} planted units{moved} ({self.made_at[:10]})"


def check_result(
    store: Run, kit: Sequence[KitItem], rater: str, rubric: Rubric, per_grade: int
) -> CheckResult:
    """Return the figures of the answers that a rater, by its name, has given on the kit."""
    ids = [kit_item.item.id for kit_item in kit]
    scores: dict[tuple[str, int], int] = {}
    expected: dict[str, float] = {}
    statuses: Counter[str] = Counter()
    for item, repeat, status, score, mean in store.rows(
        "SELECT item_id, repeat, status, score, expected_score FROM current_rating"
        " WHERE rater = ? AND item_id IN (SELECT unnest(?::VARCHAR[]))",
        [rater, ids],
    ):
        statuses[status] += 1
        if status == "ok":
            scores[item, repeat] = score
            if mean is not None and repeat == 0:
                expected[item] = mean
    calls = store.rows(
        "SELECT sum(cost_usd), bool_and(cost_usd IS NOT NULL), avg(latency_s), max(model) FROM call"
        " WHERE rater = ? AND stop <> 'error' AND item_id IN (SELECT unnest(?::VARCHAR[]))",
        [rater, ids],
    )[0]
    plain = [kit_item for kit_item in kit if kit_item.part == "plain"]
    first = {
        kit_item.item.id: scores[kit_item.item.id, 0]
        for kit_item in plain
        if (kit_item.item.id, 0) in scores
    }
    twice = [scores[i, 0] == scores[i, 1] for i in first if (i, 1) in scores]
    shifts, obeyed = injection(kit, scores)
    graded = [
        (VALUE[kit_item.grade], first[kit_item.item.id])
        for kit_item in plain
        if kit_item.item.id in first
    ]
    return CheckResult(
        rater=rater,
        rubric=rubric.id,
        rubric_digest=rubric.digest,
        kit=KIT,
        per_grade=per_grade,
        made_at=now().isoformat(timespec="seconds"),
        auc_clean_rest=_auc(plain, first, ("mostly clean", "mixture", "noise")),
        auc_clean_unclean=_auc(plain, first, ("mixture", "noise")),
        auc_expected=_auc(plain, expected, ("mostly clean", "mixture", "noise")),
        spearman=_or_none(ranks.spearman([g for g, _ in graded], [s for _, s in graded])),
        means={
            grade: _mean(
                [first[o.item.id] for o in plain if o.grade == grade and o.item.id in first]
            )
            for grade in GRADES
        },
        kinds={
            kind: _auc(
                [
                    kit_item
                    for kit_item in plain
                    if kit_item.grade != "clean" or kit_item.kinds == (kind,)
                ],
                first,
                ("mostly clean", "mixture", "noise"),
            )
            for kind in sorted(
                {kit_item.kinds[0] for kit_item in plain if kit_item.grade == "clean"}
            )
        },
        agreement=_mean(twice),
        injection_shift=_mean(shifts),
        injection_obeyed=_mean(obeyed),
        injection_units=len(shifts),
        statuses=dict(statuses),
        cost_usd=float(calls[0]) if calls[0] is not None and calls[1] else None,
        seconds_per_unit=None if calls[2] is None else float(calls[2]),
        model=calls[3],
    )


def injection(
    kit: Sequence[KitItem], scores: dict[tuple[str, int], int]
) -> tuple[list[float], list[bool]]:
    """Return, for each unit under orders, the share of the way that its score moved towards the
    score ordered, and whether it arrived.

    A unit that had that score anyway has nowhere to move, and is left out.
    """
    shifts, obeyed = [], []
    for kit_item in kit:
        if kit_item.orders is None or kit_item.twin is None:
            continue
        before, after = scores.get((kit_item.twin, 0)), scores.get((kit_item.item.id, 0))
        if before is None or after is None or before == kit_item.orders:
            continue
        shifts.append((after - before) / (kit_item.orders - before))
        obeyed.append(after == kit_item.orders)
    return shifts, obeyed


def _auc(kit: Sequence[KitItem], values: dict[str, Any], others: Sequence[str]) -> float | None:
    clean = [values[o.item.id] for o in kit if o.grade == "clean" and o.item.id in values]
    rest = [values[o.item.id] for o in kit if o.grade in others and o.item.id in values]
    return _or_none(ranks.auc(clean, rest))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


# ----------------------------------------------------------------------------------- store


def checks_file(rater: str, runs: Path = RUNS) -> Path:
    """Return the file of a rater's results, one JSON object a line, the latest last."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", rater)[:60]
    return runs / ".checks" / f"{slug}-{hashlib.sha256(rater.encode()).hexdigest()[:8]}.jsonl"


def keep(result: CheckResult, runs: Path) -> None:
    """Append a result to the file of its rater's. Raises StorageError if it cannot be written."""
    path = checks_file(result.rater, runs)
    line = json.dumps(dataclasses.asdict(result)) + "\n"
    try:
        with path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            whole = not end or file.read(1) == b"\n"  # else a full disk cut the last line short
            write_all(file.fileno(), (line if whole else "\n" + line).encode())
    except OSError as error:
        raise StorageError(f"cannot write {path} ({error.strerror})") from None


def latest_check(
    rater: str, rubric_digest: str | None = None, runs: Path = RUNS
) -> CheckResult | None:
    """Return the rater's last check, on this rubric if one is given; None if there was none.

    This is what reports read.
    """
    path = checks_file(rater, runs)
    if not path.exists():
        return None
    names = {attribute.name for attribute in dataclasses.fields(CheckResult)}
    for line in reversed(path.read_text("utf-8").splitlines()):
        try:
            values = json_value(line)
            result = CheckResult(**{name: values[name] for name in values if name in names})
        except (ValueError, TypeError):
            continue  # a line cut short by a full disk, or of another version
        if rubric_digest is None or result.rubric_digest == rubric_digest:
            return result
    return None
