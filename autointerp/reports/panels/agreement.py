"""Would a second rater agree? Raters with one another, and each with itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.agreement import agreements, attention
from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Scale, nearest_level
from autointerp.questions.rubric import Rubric
from autointerp.records import is_person
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import CELL_DARK, CELL_LIGHT, sheet
from autointerp.reports.words import interval, number, percent
from autointerp.stats.agreement import (
    Agreement,
    agreement,
    intraclass_correlation,
    krippendorff_alpha,
)
from autointerp.stats.results import Floats, Statistic
from autointerp.store.run import Run

ORDER = 55
TITLE = "Agreement"

MANY_UNITS = 3_000
MOST_REPEATS = 5


@dataclass(frozen=True)
class Agreed:
    """How columns of ratings agree; a column is a rater, or a repeat of one."""

    run: str
    rubric: str
    of: str
    names: tuple[str, ...]
    found: Agreement


def show(material: Material) -> list[Block]:
    found = []
    for comparison, run in zip(material.comparisons, material.runs, strict=True):
        found += [*between_raters(comparison), *within_raters(comparison, run)]
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
                    f"alpha {interval(one.found.alpha)}.",
                    alt="Matrix of quadratic kappa. "
                    + "; ".join(
                        f"{p.raters[0]} and {p.raters[1]}: {number(p.kappa.value)}"
                        for p in one.found.pairs
                    ),
                    draw=lambda one=one: draw(one),  # type: ignore[misc]
                )
            )
    blocks.append(_table(found))
    people = _people(material)
    return [*blocks, *people, *watched]


def _rubrics(comparison: Comparison) -> list[Rubric]:
    """Return the rubrics that people have rated on, as far as they are at hand."""
    found = {j.rubric_digest: j.scale.rubric for j in comparison.judgements if is_person(j.rater)}
    return [rubric for rubric in found.values() if rubric is not None]


def _people(material: Material) -> list[Block]:
    """Return how people agree: with each other, with themselves, and with each model."""
    rows, cells = [], []
    for comparison, run in zip(material.comparisons, material.runs, strict=True):
        for rubric in _rubrics(comparison):
            for one in agreements(run, rubric, np.random.default_rng(0)):
                named = {"alpha": one.alpha, "kappa": one.kappa, "spearman": one.spearman}
                who = one.raters[0] if one.kind == "oneself" else ", ".join(one.raters)
                rows.append(
                    {"run": run.name, "rubric": rubric.id, "of": one.kind, "who": who}
                    | {"units": one.units}
                    | {
                        f"{name}{end}": getattr(s, attribute)
                        for name, s in named.items()
                        for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
                    }
                )
                cells.append(
                    [rubric.id, one.kind, who, str(one.units)]
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
    for comparison, run in zip(material.comparisons, material.runs, strict=True):
        for rubric in _rubrics(comparison):
            for one in attention(run, rubric):
                planted, shuffled = one.n
                rows.append(
                    {"run": run.name, "rubric": rubric.id, "rater": one.rater}
                    | {"planted": one.planted, "n_planted": planted}
                    | {"shuffled": one.shuffled, "n_shuffled": shuffled}
                    | {"pairs_right": one.pairs_right}
                )
                means = [
                    f"{number(one.planted)} ({planted})",
                    f"{number(one.shuffled)} ({shuffled})",
                ]
                cells.append([rubric.id, one.rater, *means, percent(one.pairs_right)])
    if not rows:
        return []
    caption = (
        "Attention: people's mean on gold items (their number), and the share of pairs in which "
        "the planted one got more; inattention gives 50 %"
    )
    headings = ["rubric", "rater", "planted", "shuffled", "pairs right"]
    return [Table("attention", caption, pd.DataFrame(rows), headings, cells)]


def between_raters(comparison: Comparison) -> Iterator[Agreed]:
    """Yield the agreement of the raters of each rubric that several rated."""
    scales = {j.rubric_digest: j.scale for j in comparison.judgements}
    for (rubric, digest), part in comparison.scores.groupby(["rubric", "rubric_digest"]):
        table = part.pivot(index="unit_id", columns="rater", values="score")
        table = table.dropna(axis=1, how="all")
        if table.shape[1] < 2 or (table.notna().sum(axis=1) > 1).sum() < 2:
            continue
        ratings = _on_levels(table.to_numpy(np.float64), scales[digest])
        names = tuple(map(str, table.columns))
        yield Agreed(comparison.run, rubric, "raters", names, _agreement(ratings, names))


def within_raters(comparison: Comparison, run: Run) -> Iterator[Agreed]:
    """Yield the agreement of each rater with itself over its repeats, all together."""
    for judgement in comparison.judgements:
        if judgement.repeats < 2:
            continue
        rows = run.frame(
            "SELECT unit_id, repeat, score FROM rated WHERE rubric_digest = ? AND rater = ?"
            " AND score IS NOT NULL AND repeat < ?",
            [judgement.rubric_digest, judgement.rater, MOST_REPEATS],
        )
        table = rows.pivot(index="unit_id", columns="repeat", values="score")
        if table.shape[1] < 2 or (table.notna().sum(axis=1) > 1).sum() < 2:
            continue
        ratings = table.to_numpy(np.float64)
        names = tuple(f"repeat {place + 1}" for place in table.columns)
        of = f"{judgement.rater} with itself"
        resamples = 1_000 if len(ratings) <= MANY_UNITS else 200
        alpha = krippendorff_alpha(ratings, np.random.default_rng(0), resamples=resamples)
        complete = ratings[~np.isnan(ratings).any(axis=1)]
        icc = (
            intraclass_correlation(complete, np.random.default_rng(0), resamples=resamples)
            if len(complete) > 1
            else Statistic(None, None, None, (0,), "", note="no unit has all repeats")
        )
        yield Agreed(comparison.run, judgement.rubric, of, names, Agreement(alpha, icc, ()))


def _agreement(ratings: Floats, names: Sequence[str]) -> Agreement:
    resamples = 1_000 if len(ratings) <= MANY_UNITS else 200
    return agreement(ratings, names, np.random.default_rng(0), resamples=resamples)


def _on_levels(ratings: Floats, scale: Scale) -> Floats:
    levels = nearest_level(np.nan_to_num(ratings.ravel()), scale.scores).reshape(ratings.shape)
    return np.where(np.isnan(ratings), np.nan, levels)


def draw(one: Agreed) -> Drawing:
    """Return the matrix of quadratic kappa."""
    size = len(one.names)
    matrix = np.full((size, size), np.nan)
    for pair in one.found.pairs:
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


def _table(found: Sequence[Agreed]) -> Table:
    rows, cells = [], []
    for one in found:
        alone = len(one.names) == 2 and one.found.pairs
        whole = [] if alone else [(_all(one), one.found.alpha, one.found.icc, None, None)]
        pairs = [(f"{p.raters[0]}, {p.raters[1]}", p.alpha, p.icc, p.kappa, p.spearman)
                 for p in one.found.pairs]  # fmt: skip
        for who, alpha, icc, kappa, rho in [*whole, *pairs]:
            named = {"alpha": alpha, "icc": icc, "kappa": kappa, "spearman": rho}
            rows.append(
                {
                    "run": one.run,
                    "rubric": one.rubric,
                    "of": one.of,
                    "who": who,
                    "units": alpha.n[0],
                    **{
                        f"{name}{end}": getattr(s, attribute) if s else None
                        for name, s in named.items()
                        for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
                    },
                }
            )
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


def _all(one: Agreed) -> str:
    return f"all {len(one.names)} {'raters' if one.of == 'raters' else 'repeats'}"
