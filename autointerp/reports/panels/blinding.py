"""Did the blind hold? What raters took the items for, and how often they were right."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from autointerp.findings.blinding import Blinding
from autointerp.questions.guess import GUESSES
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import flat, interval, listed

AFTER = "calibration"
TITLE = "Blinding check"


def show(material: Material) -> list[Block]:
    blindings = [one for comparison in material.comparisons for one in comparison.blinding]
    if not blindings:
        return []
    blocks: list[Block] = [
        Prose(
            "After the last rating each item was asked once more: feature, neuron, control, or "
            "don't know. Bang's index of a source is 0 where it is guessed as chance would, 1 "
            "where it is always told, below 0 where it is taken for another. James' index, of a "
            "source against all others, is 1 where nobody knows, 0.5 at chance, 0 where all is "
            "told; the blind is held to be broken where its interval lies below 0.5."
        )
    ]
    for one in blindings:
        recognised = [s.source for s in one.sources if s.above_chance]
        if recognised:
            blocks.append(
                Prose(
                    f"In run '{one.run}' on {one.rubric}, {one.rater} tells {listed(recognised)} "
                    "better than chance: what it knows of them may have entered the scores.",
                    lead="The blind did not hold.",
                    tone="warning" if one.is_broken else "plain",
                )
            )
    return [*blocks, _table(blindings)]


def _table(blindings: Sequence[Blinding]) -> Table:
    rows: list[dict[str, object]] = []
    cells = []
    for one in blindings:
        everything = [(s.source, s.guesses, s.bang, s.james) for s in one.sources]
        for source, guesses, bang, james in [*everything, ("all", one.guesses, None, one.james)]:
            rows.append(
                {
                    "run": one.run,
                    "rubric": one.rubric,
                    "rater": one.rater,
                    "source": source,
                    **{f"guessed_{guess}": guesses[guess] for guess in GUESSES},
                    **flat("bang", bang),
                    **flat("james", james),
                }
            )
            numbers = [str(guesses[guess]) for guess in GUESSES]
            cells.append([one.rater, source, *numbers, interval(bang), interval(james)])
    headings = ["rater", "source", *(f"said {guess}" for guess in GUESSES), "Bang", "James"]
    return Table("blinding", "What each source was taken for", pd.DataFrame(rows), headings, cells)
