"""Who rated, and whether anybody tried them on known answers."""

from __future__ import annotations

import pandas as pd

from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import listed, trust_text, what

AFTER = "scorers"
TITLE = "Raters and their checks"

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
            "checked": str(judgement.check or "never"),
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
    unchecked = sorted({j.rater for j in material.judgements if j.check is None})
    if unchecked:
        blocks.append(
            Prose(
                f"{listed(unchecked)}: never tried on items with known answers. Whether a score "
                "means what its label says is then known from the controls alone."
            )
        )
    return blocks
