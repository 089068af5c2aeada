"""Who rated, and how they did on items with known answers."""

from __future__ import annotations

import pandas as pd

from autointerp.findings.checks import LEAST_AUC
from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Judgement
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import listed, percent, trust_text, what
from autointerp.text import count

AFTER = "scorers"
TITLE = "Raters and their checks"
NEVER = "never"

STATES = {
    "chance": "failed: not better than chance",
    "weak": f"failed: under {LEAST_AUC:.2f}",
    "untold": "too few scores to tell",
    "design side": "on the design side",
    "other version": "of another version",
}

SAID = {
    "held": "floor and ceiling hold",
    "broken": "cannot be trusted",
    "unknown": "no floor or ceiling to tell by",
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
            "controls": SAID[judgement.trust.state],
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
