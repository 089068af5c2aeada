"""Did the blind hold? What raters took the items for, and how often they were right."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from autointerp.findings.blinding import Blinding, blinding_of, guessers
from autointerp.questions.guess import GUESSES
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import interval, listed
from autointerp.stats.results import Statistic

ORDER = 58
TITLE = "Blinding check"


def show(material: Material) -> list[Block]:
    found = list(_blindings(material))
    if not found:
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
    for run, rubric, one in found:
        told = [s.source for s in one.sources if _above_chance(s.bang)]
        if told:
            blocks.append(
                Prose(
                    f"In run '{run}' on {rubric}, {one.rater} tells {listed(told)} better than "
                    "chance: what it knows of them may have entered the scores.",
                    lead="The blind did not hold.",
                    tone="warning" if _broken(one) else "plain",
                )
            )
    return [*blocks, _table(found)]


def _broken(one: Blinding) -> bool:
    """Return whether all sources together are told; where no answer differs, by the index alone."""
    upper = one.james.value if one.james.high is None else one.james.high
    return upper is not None and upper < 0.5


def _above_chance(bang: Statistic) -> bool:
    lower = bang.value if bang.low is None else bang.low
    return lower is not None and lower > 0


def _blindings(material: Material) -> Iterator[tuple[str, str, Blinding]]:
    for comparison, run in zip(material.comparisons, material.runs, strict=True):
        for digest, rubric in {j.rubric_digest: j.rubric for j in comparison.judgements}.items():
            for rater in guessers(run, digest):
                yield run.name, rubric, blinding_of(run, digest, rater)


def _table(found: list[tuple[str, str, Blinding]]) -> Table:
    rows: list[dict[str, object]] = []
    cells = []
    for run, rubric, one in found:
        counts = {g: sum(s.guesses[g] for s in one.sources) for g in GUESSES}
        everything = [(s.source, s.guesses, s.bang, s.james) for s in one.sources]
        for source, guesses, bang, james in [*everything, ("all", counts, None, one.james)]:
            rows.append(
                {"run": run, "rubric": rubric, "rater": one.rater, "source": source}
                | {f"guessed_{guess}": guesses[guess] for guess in GUESSES}
                | _flat("bang", bang)
                | _flat("james", james)
            )
            numbers = [str(guesses[guess]) for guess in GUESSES]
            cells.append([one.rater, source, *numbers, interval(bang), interval(james)])
    headings = ["rater", "source", *(f"said {guess}" for guess in GUESSES), "Bang", "James"]
    return Table("blinding", "What each source was taken for", pd.DataFrame(rows), headings, cells)


def _flat(name: str, found: Statistic | None) -> dict[str, object]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
