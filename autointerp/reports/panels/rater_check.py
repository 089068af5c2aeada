"""Who rated, and how they did on items with known answers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from autointerp.findings.checks import LEAST_AUC, CheckResult
from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Judgement
from autointerp.findings.trust import Trust
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import listed, number, percent, trust_text, what
from autointerp.text import count

AFTER = "scorers"
TITLE = "Raters and their checks"
NEVER = "never"

STATES = {
    "chance": "failed: not shown better than chance",
    "weak": f"failed: under {LEAST_AUC:.2f}",
    "untold": "too few scores to tell",
    "design side": "on the design side",
    "other version": "of another version",
    "other model": "of another model",
}

AGAINST = {
    "rest": "all others",
    "unclean": "several concepts or none",
    "mixtures": "all mixtures",
}


def show(material: Material) -> list[Block]:
    if not any(True for _ in material.judgements):
        return []
    rows = [
        {
            "run": judgement.run,
            "rubric": judgement.rubric,
            "rater": judgement.rater,
            "is": what(judgement),
            "checked": checked(judgement, material.comparison(judgement.run)),
            "controls": controls_text(judgement.trust),
            "controls in full": trust_text(judgement.trust),
        }
        for judgement in material.judgements
    ]
    headings = ["rubric", "rater", "is", "checked", "controls"]
    blocks: list[Block] = [
        Table(
            name="raters",
            caption="Raters",
            frame=pd.DataFrame(rows),
            headings=headings,
            rows=[[row[heading] for heading in headings] for row in rows],
        )
    ]
    blocks += _tables(material)
    unchecked = sorted(
        {j.rater for j in material.judgements if checked(j, material.comparison(j.run)) == NEVER}
    )
    if unchecked:
        blocks.append(
            Prose(
                f"{listed(unchecked)}: never tried on items with known answers. Whether a score "
                "means what its label says is then known from the controls alone."
            )
        )
    return blocks


def _tables(material: Material) -> list[Block]:
    """Return how well the raters told planted units apart, and what panels' members add."""
    checks = {
        (judgement.rubric, judgement.rater): judgement.check
        for judgement in material.judgements
        if judgement.check is not None
    }
    blocks: list[Block] = []
    if checks:
        blocks.append(_aucs(checks))
    if any(check.members for check in checks.values()):
        blocks.append(_members(checks))
    return blocks


def _aucs(checks: Mapping[tuple[str, str], CheckResult]) -> Table:
    rows = [
        (rubric, rater, AGAINST.get(name, name), auc)
        for (rubric, rater), check in checks.items()
        for name, auc in check.auc.items()
    ]
    texts = {(rubric, rater, name): str(auc) for rubric, rater, name, auc in rows}
    return Table(
        name="checks",
        caption="AUC of clean planted units against others, by rater",
        frame=pd.DataFrame(
            [
                (rubric, rater, name, auc.value, auc.low, auc.high)
                for rubric, rater, name, auc in rows
            ],
            columns=["rubric", "rater", "against", "auc", "low", "high"],
        ),
        headings=["clean against", *(f"{rater} on {rubric}" for rubric, rater in checks)],
        rows=[
            [name, *(texts.get((*pair, name), "–") for pair in checks)]
            for name in dict.fromkeys(name for _, _, name, _ in rows)
        ],
        summary=True,
    )


def _members(checks: Mapping[tuple[str, str], CheckResult]) -> Table:
    rows = [
        (rubric, rater, member, added)
        for (rubric, rater), check in checks.items()
        for member, added in (check.members or {}).items()
    ]
    return Table(
        name="panel_members",
        caption="What each member adds to a panel: AUC of clean planted units against several "
        "concepts or none",
        frame=pd.DataFrame(
            [
                (rubric, panel, member, of.weight, of.alone.value, of.without.value, of.gain.value)
                for rubric, panel, member, of in rows
            ],
            columns=["rubric", "panel", "member", "weight", "alone", "without", "gain"],
        ),
        headings=["panel", "member", "weight", "alone", "panel without it", "gain"],
        rows=[
            [panel, member, number(of.weight), str(of.alone), str(of.without), str(of.gain)]
            for _, panel, member, of in rows
        ],
    )


def controls_text(trust: Trust) -> str:
    """Return in a few words whether the controls are in their places, and by what."""
    if trust.state == "broken":
        return "cannot be trusted"
    if trust.state == "unknown":
        ends = dict.fromkeys(one.end for one in trust.controls if one.state == "unknown")
        return f"no {' or '.join(ends)} to tell by"
    sure = all(one.is_sure for one in trust.controls)
    return "floor and ceiling hold" + ("" if sure else " by their means, of too few units")


def checked(judgement: Judgement, comparison: Comparison) -> str:
    """Return how a rater did on items with known answers: the kit, or people's gold items."""
    if judgement.check is not None:
        state = judgement.check_state
        return str(judgement.check) + (f"; {STATES[state]}" if state in STATES else "")
    for gold in comparison.attention:
        if (gold.rater, gold.rubric) == (judgement.rater, judgement.rubric):
            right = "" if gold.pairs_right is None else f", {percent(gold.pairs_right)} pairs right"
            return f"{count(sum(gold.n), 'gold item')}{right}"
    return NEVER
