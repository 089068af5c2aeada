"""Did the blind hold? What raters took the items for, and how often they were right."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from autointerp.findings.blinding import Blinding
from autointerp.questions.guess import GUESSES
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import by_chance_text, flat, interval, listed, p_value
from autointerp.stats.results import FEWEST
from autointerp.text import count

AFTER = "calibration"
TITLE = "Blinding check"


def show(material: Material) -> list[Block]:
    blindings = [
        blinding for comparison in material.comparisons for blinding in comparison.blinding
    ]
    if not blindings:
        return []
    blocks: list[Block] = [
        Prose(
            "After the last rating each item was asked once more: feature, neuron, control, or "
            "don't know. A source counts as recognised where its own arm is named more often of it "
            "than of sources of other arms (Fisher's exact test, one-sided, adjusted for the "
            "number of sources, 5 %): a rater who guesses, or always says the same, is wrongly "
            "held to recognise one in 5 % of runs at most. Bang's and James' indices describe how "
            "the answers fell and decide nothing: Bang's is 1 too if a rater says the same of "
            "everything, on the source that this fits. Neither is given "
            f"of fewer than {FEWEST} answers." + by_chance_text(blindings)
        )
    ]
    blocks += [
        Prose(text, lead=lead, tone="warning" if blinding.is_broken else "plain")
        for blinding in blindings
        for lead, text in [conclusion(blinding)]
    ]
    return [*blocks, _table(blindings)]


def conclusion(blinding: Blinding) -> tuple[str, str]:
    """Return what the guesses of a rater show, as a lead and a sentence."""
    where = f"In run '{blinding.run}' on {blinding.rubric}, {blinding.rater}"
    if blinding.is_broken:
        return "The blind did not hold.", (
            f"{where} recognises {listed(blinding.recognised)}: what it takes them for may have "
            "entered the scores."
        )
    answers = count(blinding.answers, "answer")
    if not blinding.can_tell:
        return "Nothing to recognise.", (
            f"{where} was asked about sources of one arm only ({answers})."
        )
    return "No source is recognised.", (
        f"{where} is not shown to recognise any source ({answers}); that does not show that it "
        "cannot."
    )


def _table(blindings: Sequence[Blinding]) -> Table:
    rows: list[dict[str, object]] = []
    cells = []
    for blinding in blindings:
        everything = [(s.source, s.guesses, s.p_value, s.bang, s.james) for s in blinding.sources]
        total = ("all", blinding.guesses, None, None, blinding.james)
        for source, guesses, p, bang, james in [*everything, total]:
            rows.append(
                {
                    "run": blinding.run,
                    "rubric": blinding.rubric,
                    "rater": blinding.rater,
                    "source": source,
                    **{f"guessed_{guess}": guesses[guess] for guess in GUESSES},
                    "recognised_p": p,
                    **flat("bang", bang),
                    **flat("james", james),
                }
            )
            numbers = [str(guesses[guess]) for guess in GUESSES]
            cells.append(
                [blinding.rater, source, *numbers, p_value(p), interval(bang), interval(james)]
            )
    headings = ["rater", "source", *(f"said {guess}" for guess in GUESSES)]
    headings += ["recognised, p", "Bang", "James"]
    return Table("blinding", "What each source was taken for", pd.DataFrame(rows), headings, cells)
