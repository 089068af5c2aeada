"""Would a second rater agree? Raters with one another, and each with itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.agreement import MOST_REPEATS, ContextsShown, TableAgreement
from autointerp.reports.colours import CELL_DARK, CELL_LIGHT
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import sheet, two_lines
from autointerp.reports.words import flat, interval, listed, number, percent
from autointerp.stats.results import FEWEST, Statistic
from autointerp.text import count

AFTER = "rater-check"
TITLE = "Agreement"
NAME_LETTERS = 24  # of a rater's name beside the matrix, before it is broken or cut


def show(material: Material) -> list[Block]:
    tables = [table for comparison in material.comparisons for table in comparison.agreement]
    watched = [*_attention(material), *_text_asked_for(material)]
    if not tables:
        return watched
    blocks: list[Block] = [Prose(explanation(tables, _repeated(material)))]
    for place, table in enumerate(tables):
        has_kappa = any(pair.kappa.value is not None for pair in table.agreement.pairs)
        if table.of == "raters" and table.units == "studied" and has_kappa:
            suffix = f"-{place + 1}" if len(tables) > 1 else ""
            blocks.append(
                Figure(
                    name=f"agreement{suffix}",
                    caption=f"{table.run} · {table.rubric}. Quadratic kappa of each pair on the "
                    "studied units, controls left out; together "
                    f"alpha {interval(table.agreement.alpha)}.",
                    alt="Matrix of quadratic kappa. "
                    + "; ".join(
                        f"{p.raters[0]} and {p.raters[1]}: {number(p.kappa.value)}"
                        for p in table.agreement.pairs
                    ),
                    draw=lambda table=table: draw(table),  # type: ignore[misc]
                )
            )
    blocks.append(_table(tables))
    people = _people(material)
    return [*blocks, *_unlike(material), *people, *watched]


def explanation(tables: Sequence[TableAgreement], repeated: bool) -> str:
    """Return what the figures are, and which units and ratings they rest on.

    `repeated`: a rater rated some units more than once.
    """
    sentences = [
        "On units that both rated: those that are studied, controls left out, for controls are "
        "easy to agree on."
    ]
    if any(table.units == "controls" for table in tables):
        sentences.append("Agreement on the controls is in rows of its own.")
    sentences.append(
        "Alpha is Krippendorff's for ordinal scores, kappa Cohen's with quadratic weights, "
        "ICC(2,1) absolute agreement of one rater's score of a unit with another's, on the units "
        "that have every rating; intervals resample units."
    )
    if repeated and any(table.of == "raters" for table in tables):
        sentences.append(
            "Between raters, a rater's repeated ratings of a unit are averaged and rounded to the "
            "nearest level first, so this is the agreement of such averages and not of single "
            "ratings."
        )
    sentences.append(
        f"'too few units' stands of fewer than {FEWEST}, of which even full agreement would say "
        "nothing, 'undefined' where all ratings, or for Spearman's rho one rater's, are the same."
    )
    return " ".join(sentences)


def _repeated(material: Material) -> bool:
    return any(judgement.repeats > 1 for judgement in material.judgements)


def _unlike(material: Material) -> list[Block]:
    """Return on which rubrics people were shown fewer contexts of a unit than judges, or than one
    another: agreement counts such ratings all the same."""
    sentences = []
    for comparison in material.comparisons:
        by_rubric: dict[tuple[str, int], dict[str, list[ContextsShown]]] = {}
        for one in comparison.contexts_shown:
            by_rater = by_rubric.setdefault((one.rubric, one.of_rubric), {})
            by_rater.setdefault(one.rater, []).append(one)
        for (rubric, most), by_rater in by_rubric.items():
            shown = [one for several in by_rater.values() for one in several]
            if all(one.contexts == most for one in shown):
                continue
            who = {
                rater: [f"{one.contexts} ({count(one.units, 'unit')})" for one in several]
                for rater, several in by_rater.items()
            }
            people = "; ".join(f"{rater} {listed(numbers)}" for rater, numbers in who.items())
            sentences.append(
                f"{comparison.run}: {rubric} shows judges {count(most, 'context')} of a unit that "
                f"has as many. People were shown {people}. Where two raters saw unlike numbers, "
                "their agreement is of judgements on unlike evidence, and may be lower for that."
            )
    return [Prose(" ".join(sentences))] if sentences else []


def _people(material: Material) -> list[Block]:
    """Return how people agree: with each other, with themselves, and with each model."""
    rows, cells = [], []
    for comparison in material.comparisons:
        for pair in comparison.people:
            named = {"alpha": pair.alpha, "kappa": pair.kappa, "spearman": pair.spearman}
            who = pair.raters[0] if pair.kind == "oneself" else ", ".join(pair.raters)
            row: dict[str, object] = {
                "run": comparison.run,
                "rubric": pair.rubric,
                "of": pair.kind,
                "who": who,
                "units": pair.units,
            }
            for name, statistic in named.items():
                row |= flat(name, statistic)
            rows.append(row)
            if pair.units:
                cells.append(
                    [pair.rubric, pair.kind, who, str(pair.units)]
                    + [_or_undefined(s) for s in named.values()]
                )
    if not rows:
        return []
    caption = "People: first ratings one by one, controls left out; oneself by hidden repeats"
    headings = ["rubric", "of", "who", "units", "alpha", "kappa", "Spearman"]
    caption += _apart(len(rows) - len(cells))
    return [Table("people", caption, pd.DataFrame(rows), headings, cells)]


def _apart(pairs: int) -> str:
    """Return how many pairs a table leaves out, at the end of its caption: in a crowd few of all
    that there are have rated the same."""
    return f". Left out here: {count(pairs, 'pair')} with no unit that both rated" if pairs else ""


def _attention(material: Material) -> list[Block]:
    """Return how each person rated the gold items."""
    rows, cells = [], []
    for comparison in material.comparisons:
        for watched in comparison.attention:
            planted, shuffled = watched.n
            rows.append(
                {"run": comparison.run, "rubric": watched.rubric, "rater": watched.rater}
                | {"planted": watched.planted, "n_planted": planted}
                | {"shuffled": watched.shuffled, "n_shuffled": shuffled}
                | {"pairs_right": watched.pairs_right}
            )
            means = [
                f"{number(watched.planted)} ({planted})",
                f"{number(watched.shuffled)} ({shuffled})",
            ]
            cells.append([watched.rubric, watched.rater, *means, percent(watched.pairs_right)])
    if not rows:
        return []
    caption = (
        "Attention: people's mean on gold items (their number), and the share of pairs in which "
        "the planted one got more; inattention gives 50 %"
    )
    headings = ["rubric", "rater", "planted", "shuffled", "pairs right"]
    return [Table("attention", caption, pd.DataFrame(rows), headings, cells)]


def _text_asked_for(material: Material) -> list[Block]:
    """Return of how many items each person asked for more text than a judge is shown."""
    found = [(c.run, one) for c in material.comparisons for one in c.text_asked_for]
    if not found:
        return []
    rows = [
        {"run": run, "rubric": one.rubric, "rater": one.rater, "items": one.items,
         "asked": one.asked, "share": one.share}
        for run, one in found
    ]  # fmt: skip
    cells = [
        [one.rubric, one.rater, str(one.items), str(one.asked), percent(one.share)]
        for _, one in found
    ]
    caption = (
        "More text: items of which a person asked for more than a judge is shown, in the terminal "
        "or a browser; such a rating rests on more than the judge's"
    )
    headings = ["rubric", "rater", "items answered", "asked for more", "share"]
    return [Table("text-asked-for", caption, pd.DataFrame(rows), headings, cells)]


def draw(table: TableAgreement) -> Drawing:
    """Return the matrix of quadratic kappa."""
    size = len(table.names)
    matrix = np.full((size, size), np.nan)
    for pair in table.agreement.pairs:
        i, j = (table.names.index(name) for name in pair.raters)
        value = np.nan if pair.kappa.value is None else pair.kappa.value
        matrix[i, j] = matrix[j, i] = value
    names = [two_lines(name, NAME_LETTERS) for name in table.names]
    longer = 0.08 * max(0, max(map(len, "\n".join(names).split("\n"))) - 14)
    side = 1.6 + 0.75 * size
    figure = sheet(side + 1.6 + longer, side + longer)
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1.15)
    for i in range(size):
        for j in range(size):
            if i != j:
                value = matrix[i, j]
                text = "–" if np.isnan(value) else number(float(value))
                dark = not np.isnan(value) and value > 0.6
                axes.text(
                    j, i, text, ha="center", va="center", color=CELL_LIGHT if dark else CELL_DARK
                )
    axes.set_xticks(range(size), names, rotation=30, ha="right")
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _table(tables: Sequence[TableAgreement]) -> Table:
    rows, cells = [], []
    for table in tables:
        alone = len(table.names) == 2 and table.agreement.pairs
        whole = (
            [] if alone else [(_all(table), table.agreement.alpha, table.agreement.icc, None, None)]
        )
        pairs = [(f"{p.raters[0]}, {p.raters[1]}", p.alpha, p.icc, p.kappa, p.spearman)
                 for p in table.agreement.pairs]  # fmt: skip
        for who, alpha, icc, kappa, rho in [*whole, *pairs]:
            named = {"alpha": alpha, "icc": icc, "kappa": kappa, "spearman": rho}
            row: dict[str, object] = {
                "run": table.run,
                "rubric": table.rubric,
                "of": table.of,
                "on": table.units,
                "who": who,
                "units": alpha.n[0],
            }
            for name, statistic in named.items():
                row |= flat(name, statistic)
            rows.append(row)
            if alpha.n[0]:
                cells.append(
                    [
                        table.rubric, table.of, table.units, who, str(alpha.n[0]),
                        _or_undefined(alpha), _of_fewer(icc, alpha), _or_undefined(kappa),
                        _or_undefined(rho),
                    ]
                )  # fmt: skip
    return Table(
        name="agreement",
        caption=f"Agreement by pairs{_apart(len(rows) - len(cells))}",
        frame=pd.DataFrame(rows),
        headings=[
            "rubric",
            "of",
            "on",
            "who",
            "units",
            "alpha",
            "ICC(2,1)",
            "kappa",
            "Spearman",
        ],
        rows=cells,
    )


def _or_undefined(statistic: Statistic | None) -> str:
    if statistic is None:
        return ""
    if statistic.value is not None:
        return interval(statistic)
    if not statistic.method or statistic.n[0] < FEWEST:  # none was applied, or it has no value
        return "too few units"
    return "undefined"


def _of_fewer(icc: Statistic, alpha: Statistic) -> str:
    """Return an intraclass correlation, with its units where not all that alpha counts have every
    rating."""
    on = f" on {icc.n[0]}" if icc.value is not None and icc.n != alpha.n else ""
    return f"{_or_undefined(icc)}{on}"


def _all(table: TableAgreement) -> str:
    if table.of == "raters":
        return f"all {len(table.names)} raters"
    which = "first" if len(table.names) == MOST_REPEATS else "all"  # there may be more
    return f"{which} {len(table.names)} repeats"
