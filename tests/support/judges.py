"""Raters that judge as a test says, panels of them, and checks of raters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from autointerp.findings.checks import Auc, CheckResult
from autointerp.questions.kit import KIT, PER_GRADE
from autointerp.questions.planter import GRADES
from autointerp.questions.question import Question
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import AttemptFailed, Lesson, RaterOptions, call_key
from autointerp.raters.panel import Panel, create
from autointerp.records import Item, Reply, Request


@dataclass
class Judge:
    """A rater that gives each item the number that `says` returns; None: it fails.

    Attributes:
        asked: Ids of the items that it was sent, in order.
        cost_usd: Of a call; None where it is not known.
    """

    name: str
    says: Callable[[str], float | None] = lambda item: 0.5
    evidence: Literal["shown", "all"] = "all"
    version: str = "1"
    is_llm: bool = False
    asked: list[str] = field(default_factory=list)
    cost_usd: float | None = 0.0

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        body = {"item": item.id, "version": self.version}
        return Request(call_key("judge", self.name, body, question, repeat), item.id, body, repeat)

    async def send(self, request: Request) -> Reply:
        self.asked.append(request.item)
        value = self.says(request.item)
        if value is None:
            raise AttemptFailed("no verdict", "rejected", transient=False)
        text = json.dumps({"rationale": "so", "description": self.name, "score": 3})
        return Reply(text, latency_s=0.5, cost_usd=self.cost_usd, details={"statistic": value})


def panel_of(*members: Judge, optional: Mapping[str, bool] | None = None) -> Panel:
    """Return a panel of these judges; `optional` names those that may fail."""
    panel = create("lexical,scripted:3", RaterOptions())
    panel.members = members
    panel.optional = tuple(bool((optional or {}).get(member.name)) for member in members)
    panel.name = "panel:" + ",".join(
        "optional:" * may_fail + member.name
        for member, may_fail in zip(members, panel.optional, strict=True)
    )
    panel.spec = panel.name.removeprefix("panel:")
    everything = any(member.evidence == "all" for member in members)
    panel.evidence = "all" if everything else "shown"
    return panel


def lessons(members: int, n: int = 40, seed: int = 0) -> list[Lesson]:
    """Return planted units of which the first member tells much and each later one less."""
    rng = np.random.default_rng(seed)
    told = []
    for place in range(n):
        single = place % 2 == 0
        values = rng.normal(size=members) + single * 2.0 / np.arange(1, members + 1)
        kind = f"kind{place % 5}" if single else ""
        told.append(Lesson(tuple(map(float, values)), (False,) * members, single, kind))
    return told


def taught(panel: Panel, folder: Path, question: Question) -> Panel:
    """Return the panel, its weights learned from `lessons` and kept in the folder."""
    panel.learn(folder, question, lessons(len(panel.members)))
    return panel


def made_check(
    rater: str, auc: float, version: str = "", low: float | None = None, side: str = "test"
) -> CheckResult:
    """Return the check of a rater with this AUC, its interval 0.05 to 1 round it."""
    rubric = load_rubric("interpretability-1-5")
    found = Auc(auc, auc - 0.05 if low is None else low, 1.0)
    return CheckResult(
        rater=rater,
        rubric=rubric.id,
        rubric_digest=rubric.digest,
        kit=KIT,
        side=side,
        per_grade=PER_GRADE,
        made_at="2026-01-01T00:00:00",
        auc=dict.fromkeys(("rest", "unclean", "mixtures", *GRADES[1:]), found),
        auc_expected=Auc(None, None, None),
        spearman=0.5,
        means=dict.fromkeys(GRADES, 3.0),
        kinds={},
        levels={},
        held_back=None,
        agreement=1.0,
        injection_shift=None,
        injection_obeyed=None,
        injection_units=0,
        statuses={"ok": 2 * len(GRADES) * PER_GRADE},
        cost_usd=0.0,
        seconds_per_unit=None,
        version=version,
    )
