"""Would a second rater agree? Raters with one another, and each with itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.agreement import TableAgreement
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import CELL_DARK, CELL_LIGHT, sheet
from autointerp.reports.words import flat, interval, number, percent
from autointerp.stats.results import Statistic

AFTER = "rater-check"
TITLE = "Agreement"


def show(material: Material) -> list[Block]:
    found = [one for comparison in material.comparisons for one in comparison.agreement]
    watched = _attention(material)
    if not found:
        return watched
    blocks: list[Block] = [
        Prose(
            "On units that both rated. Alpha is Krippendorff's for ordinal scores, kappa Cohen's "
            "with quadratic weights, ICC(2,1) absolute agreement of single ratings; intervals "
            "resample units. Repeats of a unit are averaged and taken to the nearest level first. "
            "'undefined' stands where all ratings agree on one value."
        )
    ]
    for place, one in enumerate(found):
        if one.of == "raters" and len(one.names) > 1:
            suffix = f"-{place + 1}" if len(found) > 1 else ""
            blocks.append(
                Figure(
                    name=f"agreement{suffix}",
                    caption=f"{one.run} · {one.rubric}. Quadratic kappa of each pair; together "
                    f"alpha {interval(one.agreement.alpha)}.",
                    alt="Matrix of quadratic kappa. "
                    + "; ".join(
                        f"{p.raters[0]} and {p.raters[1]}: {number(p.kappa.value)}"
                        for p in one.agreement.pairs
                    ),
                    draw=lambda one=one: draw(one),  # type: ignore[misc]
                )
            )
    blocks.append(_table(found))
    people = _people(material)
    return [*blocks, *people, *watched]


def _people(material: Material) -> list[Block]:
    """Return how people agree: with each other, with themselves, and with each model."""
    rows, cells = [], []
    for comparison in material.comparisons:
        for one in comparison.people:
            named = {"alpha": one.alpha, "kappa": one.kappa, "spearman": one.spearman}
            who = one.raters[0] if one.kind == "oneself" else ", ".join(one.raters)
            row: dict[str, object] = {
                "run": comparison.run,
                "rubric": one.rubric,
                "of": one.kind,
                "who": who,
                "units": one.units,
            }
            for name, statistic in named.items():
                row |= flat(name, statistic)
            rows.append(row)
            cells.append(
                [one.rubric, one.kind, who, str(one.units)]
                + [_or_undefined(s) for s in named.values()]
            )
    if not rows:
        return []
    caption = "People: first ratings one by one, controls left out; oneself by hidden repeats"
    headings = ["rubric", "of", "who", "units", "alpha", "kappa", "Spearman"]
    return [Table("people", caption, pd.DataFrame(rows), headings, cells)]


def _attention(material: Material) -> list[Block]:
    """Return how each person rated the gold items."""
    rows, cells = [], []
    for comparison in material.comparisons:
        for one in comparison.attention:
            planted, shuffled = one.n
            rows.append(
                {"run": comparison.run, "rubric": one.rubric, "rater": one.rater}
                | {"planted": one.planted, "n_planted": planted}
                | {"shuffled": one.shuffled, "n_shuffled": shuffled}
                | {"pairs_right": one.pairs_right}
            )
            means = [
                f"{number(one.planted)} ({planted})",
                f"{number(one.shuffled)} ({shuffled})",
            ]
            cells.append([one.rubric, one.rater, *means, percent(one.pairs_right)])
    if not rows:
        return []
    caption = (
        "Attention: people's mean on gold items (their number), and the share of pairs in which "
        "the planted one got more; inattention gives 50 %"
    )
    headings = ["rubric", "rater", "planted", "shuffled", "pairs right"]
    return [Table("attention", caption, pd.DataFrame(rows), headings, cells)]


def draw(one: TableAgreement) -> Drawing:
    """Return the matrix of quadratic kappa."""
    size = len(one.names)
    matrix = np.full((size, size), np.nan)
    for pair in one.agreement.pairs:
        i, j = (one.names.index(name) for name in pair.raters)
        value = np.nan if pair.kappa.value is None else pair.kappa.value
        matrix[i, j] = matrix[j, i] = value
    side = 1.6 + 0.75 * size
    figure = sheet(side + 1.6, side)
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1.15)
    for i in range(size):
        for j in range(size):
            if i != j:
                value = matrix[i, j]
                text = "undefined" if np.isnan(value) else number(float(value))
                dark = not np.isnan(value) and value > 0.6
                axes.text(
                    j, i, text, ha="center", va="center", color=CELL_LIGHT if dark else CELL_DARK
                )
    axes.set_xticks(range(size), one.names, rotation=30, ha="right")
    axes.set_yticks(range(size), one.names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _table(found: Sequence[TableAgreement]) -> Table:
    rows, cells = [], []
    for one in found:
        alone = len(one.names) == 2 and one.agreement.pairs
        whole = [] if alone else [(_all(one), one.agreement.alpha, one.agreement.icc, None, None)]
        pairs = [(f"{p.raters[0]}, {p.raters[1]}", p.alpha, p.icc, p.kappa, p.spearman)
                 for p in one.agreement.pairs]  # fmt: skip
        for who, alpha, icc, kappa, rho in [*whole, *pairs]:
            named = {"alpha": alpha, "icc": icc, "kappa": kappa, "spearman": rho}
            row: dict[str, object] = {
                "run": one.run,
                "rubric": one.rubric,
                "of": one.of,
                "who": who,
                "units": alpha.n[0],
            }
            for name, statistic in named.items():
                row |= flat(name, statistic)
            rows.append(row)
            cells.append(
                [one.rubric, one.of, who, str(alpha.n[0])]
                + [_or_undefined(s) for s in named.values()]
            )
    return Table(
        name="agreement",
        caption="Agreement by pairs",
        frame=pd.DataFrame(rows),
        headings=[
            "rubric",
            "of",
            "who",
            "units",
            "alpha",
            "ICC(2,1)",
            "kappa",
            "Spearman",
        ],
        rows=cells,
    )


def _or_undefined(found: Statistic | None) -> str:
    if found is None:
        return ""
    return "undefined" if found.value is None else interval(found)


def _all(one: TableAgreement) -> str:
    return f"all {len(one.names)} {'raters' if one.of == 'raters' else 'repeats'}"
