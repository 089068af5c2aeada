"""Several runs: every source of one against every source of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.across import AcrossRuns, Judged, NestedContrast, RunContrast
from autointerp.findings.conditions import Difference
from autointerp.findings.looks import Reading
from autointerp.reports.colours import INK, MUTED, RULE, colour
from autointerp.reports.look_words import DIGEST
from autointerp.reports.panels import Block, Figure, Heading, Material, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet, two_lines
from autointerp.reports.words import (
    SUPERIORITY,
    flat,
    interval,
    listed,
    number,
    p_value,
    percent,
    percents,
    run_finding,
)
from autointerp.stats.nested import LEAST_RUNS
from autointerp.stats.results import Statistic
from autointerp.text import count

AFTER = "verdict"
TITLE = "Across runs"
MOST_ROWS = 40
NAME_LETTERS = 64  # of a row, before it is broken or cut
OVER = {"units": "these runs", "runs": "runs like these"}


def show(material: Material) -> list[Block]:
    across = material.across
    if across is None:
        return []
    blocks: list[Block] = []
    if across.contrasts_are_there:
        blocks.append(Prose(_introduction(across)))
    several = len(across.judged) > 1
    for place, judged in enumerate(across.judged):
        if several:
            blocks.append(Heading(f"{judged.rater} on {judged.rubric}"))
        blocks += judge_blocks(judged, f"-{place + 1}" if several else "", across.sweep_plans)
    left_out = [(judged.rater, out) for judged in across.judged for out in judged.left_out]
    left_out += [("", out) for out in across.left_out]
    if left_out:
        blocks.append(
            Table(
                name="not_compared",
                caption="Not compared",
                frame=pd.DataFrame(
                    [
                        {"rater": rater, "runs": ", ".join(out.runs), "why": out.why}
                        for rater, out in left_out
                    ]
                ),
                headings=["runs", "why"],
                rows=[[listed(out.runs), out.why] for _, out in left_out],
                summary=True,
            )
        )
    if not across.contrasts_are_there:
        blocks.insert(
            0,
            Prose(
                "No source of one run can be compared with one of another; the reasons are below, "
                "and each run is reported for itself.",
                lead="Nothing to compare across runs.",
                tone="warning",
            ),
        )
    return blocks


def _introduction(across: AcrossRuns) -> str:
    groups = "; ".join(f"{name}: {listed(runs)}" for name, runs in across.groups.items())
    text = (
        "Each source of one run is compared with each of the others, where the same rater rated "
        "both on the same rubric and was shown as much. The p-values of all "
        f"{count(across.family, 'contrast')} across runs are adjusted together (Holm)."
    )
    if not groups:
        return (
            f"{text} Each estimate speaks of these runs: of another dictionary of the same recipe "
            "it says nothing. Runs that are seeds of one recipe are joined by `--group`."
        )
    return (
        f"{text} Runs of one recipe: {groups}. Their units are nested in runs: from "
        f"{LEAST_RUNS} runs on, the interval is taken over runs and speaks of runs like these; "
        "below that, over units, and it speaks of these runs."
    )


def _level(judged: Judged) -> str:
    """Return the level of the intervals across runs."""
    levels = [contrast.superiority.level for contrast in judged.contrasts]
    levels += [nested.within.such.level for nested in judged.nested]
    return percent(levels[0])


def judge_blocks(judged: Judged, suffix: str = "", sweep_plans: Sequence[str] = ()) -> list[Block]:
    """Return what one rater says across runs: cautions, a forest plot, tables.

    `sweep_plans`: digests of plans that declare contrasts of these runs, and are not followed here.
    """
    blocks: list[Block] = []
    for difference in judged.differences:
        if difference.weight == "caution":
            lead = f"Not the same in all runs: {difference.what}."
            blocks.append(Prose(_values(difference) + ".", lead=lead, tone="warning"))
    if judged.contrasts or judged.nested:
        blocks.append(
            Figure(
                name="across_runs" + suffix,
                caption=f"{judged.rater} on {judged.rubric}. The {SUPERIORITY}, ties halved, with "
                f"its {_level(judged)} interval where one is known; 0.5 is no difference. Above, "
                "sources of different runs; below, the two sources within each run, and combined."
                + _cut(judged),
                alt=_alt(judged),
                draw=lambda: draw(judged),
            )
        )
    if judged.contrasts:
        blocks.append(_table(judged, suffix))
        blocks += _looks(judged, sweep_plans)
    blocks += [Prose(nested_text(nested), lead=_lead(nested)) for nested in judged.nested]
    if judged.nested:
        blocks.append(_nested_table(judged, suffix))
    if judged.differences:
        blocks.append(
            Table(
                name="runs_differ" + suffix,
                caption="What differs between the runs",
                frame=pd.DataFrame(
                    [
                        {"what": d.what, "run": run, "value": value, "weight": d.weight}
                        for d in judged.differences
                        for run, value in d.by_run.items()
                    ]
                ),
                headings=["what", *judged.runs],
                rows=[
                    [d.what, *(d.by_run.get(run, "") for run in judged.runs)]
                    for d in judged.differences
                ],
                summary=True,
            )
        )
    return blocks


def _looks(judged: Judged, sweep_plans: Sequence[str]) -> list[Block]:
    """Return which looks these are, who declared them, and what their intervals allow for."""
    readings = [contrast.reading for contrast in judged.contrasts]
    unrecorded = sum(not reading.recorded for reading in readings)
    again = [reading for reading in readings if reading.multiplier is not None]
    interim = dict.fromkeys(reading.interim for reading in readings if reading.interim)
    sentences = [f"Each contrast is a line there, {_declared(readings)}."]
    elsewhere = [contrast.elsewhere for contrast in judged.contrasts if contrast.elsewhere]
    if elsewhere:
        plans = listed(digest[:DIGEST] for digest in dict.fromkeys(elsewhere))
        sentences.append(
            f"{len(elsewhere)} of them {'is' if len(elsewhere) == 1 else 'are'} declared by a "
            f"sweep's plan ({plans}), which adjusts p for all of its contrasts and not for those "
            "of this page: `autointerp sweep FILE --no-rate` reads them so."
        )
    elif sweep_plans:
        plans = listed(digest[:DIGEST] for digest in sweep_plans)
        sentences.append(
            f"These runs are of a sweep whose plan ({plans}) declares a fixed n, which this page "
            "does not wait for: `autointerp sweep FILE --no-rate` reads them by it."
        )
    if again:
        wide = max(reading.multiplier or 0 for reading in again)
        most = max(reading.number for reading in again)
        sentences.append(
            f"{len(again)} of these {len(readings)} had a look before, on other ratings (up to "
            f"{most} looks in the ledgers of the runs). Their {SUPERIORITY} and p-values are those "
            f"of an asymptotic confidence sequence (up to {wide:.2f} standard errors in place of "
            f"{again[0].ordinary:.2f}), which hold at all looks; the other columns are those of "
            "one look."
        )
    elif all(reading.declared for reading in readings):
        sentences.append("The intervals are those of one look.")
    else:
        sentences.append(
            "This is the first look at each of these ratings, and the intervals are those of one "
            "look."
        )
    if interim:
        sentences.append(f"Nothing is decided where it is {listed(interim)}.")
    if unrecorded:
        sentences.append(
            f"{count(unrecorded, 'look').capitalize()} could not be recorded: no run concerned can "
            "be written."
        )
    tone: Literal["plain", "warning"] = "warning" if again or interim else "plain"
    return [Prose(" ".join(sentences), lead="In the runs' ledgers.", tone=tone)]


def _declared(readings: Sequence[Reading]) -> str:
    """Return who declared looks across runs, as the end of a sentence."""
    declared = sum(reading.declared for reading in readings)
    if declared == len(readings):
        return "which the sweep's plan declares with a fixed n"
    if declared:
        return f"{declared} of {len(readings)} as the sweep's plan declares them"
    if any(reading.deviations for reading in readings):
        return "which deviates from the sweep's plan"
    return "which no run's plan declares"


def _values(difference: Difference) -> str:
    runs_of: dict[str, list[str]] = {}
    for run, value in difference.by_run.items():
        runs_of.setdefault(value, []).append(run)
    return "; ".join(f"{value} in {listed(runs)}" for value, runs in runs_of.items())


def _table(judged: Judged, suffix: str) -> Table:
    return Table(
        name="across_runs" + suffix,
        caption="Sources of different runs",
        frame=pd.DataFrame([_row(judged, contrast) for contrast in judged.contrasts]),
        headings=[
            "first", "second", "units", "wins", "ties", "losses", SUPERIORITY, "p", "Holm p",
            "so the first is", "of", "at like density", "whatever the missing", "look",
        ],
        rows=[_cells(contrast) for contrast in judged.contrasts],
        summary=True,
    )  # fmt: skip


def _cells(contrast: RunContrast) -> list[str]:
    over = dict.fromkeys(OVER[one] for one in contrast.over)
    return [
        contrast.first.label,
        contrast.second.label,
        f"{contrast.first.units}, {contrast.second.units}",
        *percents(share.value for share in contrast.pairs.shares),
        interval(contrast.superiority),
        p_value(contrast.test.p_value),
        p_value(contrast.holm_p),
        contrast.outcome,
        listed(over),
        _at_like_density(contrast),
        _whatever(contrast),
        str(contrast.reading.number),
    ]


def _at_like_density(contrast: RunContrast) -> str:
    if contrast.adjusted is None:
        return ""
    return "refused" if contrast.adjusted.refused else interval(contrast.adjusted.superiority)


def _whatever(contrast: RunContrast) -> str:
    """Return between which values the estimate lies, whatever units without a score would have."""
    if contrast.bounds is None or not any(contrast.bounds.missing):
        return ""
    worst, best = contrast.bounds.worst.value, contrast.bounds.best.value
    return f"{number(worst)} to {number(best)}"


def _row(judged: Judged, contrast: RunContrast) -> dict[str, object]:
    row: dict[str, object] = {"rater": judged.rater, "rubric": judged.rubric}
    for name, arm in (("first", contrast.first), ("second", contrast.second)):
        row |= {
            name: arm.name,
            f"{name}_source": arm.source,
            f"{name}_runs": ", ".join(arm.runs),
            f"{name}_units": arm.units,
            f"{name}_mean": arm.mean,
        }
    row |= flat("superiority", contrast.superiority)
    for name in ("wins", "ties", "losses"):
        row |= flat(name, getattr(contrast.pairs, name))
    return row | {
        "p": contrast.test.p_value,
        "holm_p": contrast.holm_p,
        "outcome": contrast.outcome,
        "over_first": contrast.over[0],
        "over_second": contrast.over[1],
        **flat("p_like_density", contrast.adjusted.superiority if contrast.adjusted else None),
        "density_refused": contrast.adjusted.refused if contrast.adjusted else None,
        "worst": contrast.bounds.worst.value if contrast.bounds else None,
        "best": contrast.bounds.best.value if contrast.bounds else None,
        "look": contrast.reading.number,
    }


# ------------------------------------------------------------------------------ within runs


def _lead(nested: NestedContrast) -> str:
    return f"Within the runs of {nested.name}." if nested.name else "Within each run."


def nested_text(nested: NestedContrast) -> str:
    """Return the primary pair within runs: each, these together, and runs such as these."""
    these, such = nested.within.these, nested.within.such
    each = listed(
        f"{own.rater} {interval(own.superiority)}" for own in these.raters if own.superiority
    )
    text = (
        f"{SUPERIORITY.capitalize()} of {nested.first} over {nested.second}, ties halved: {each}. "
        "Combined within runs "
        f"(van Elteren) {interval(these.superiority)}, for these runs."
    )
    if such.low is None:
        text += f" Nothing is said of other runs of the recipe: {such.note}."
    else:
        text += f" For runs such as these, each counted alike: {interval(such)}."
    if nested.within.between is not None:
        text += (
            f" Between runs it varies by {number(nested.within.between)} (standard deviation "
            "beyond what units explain)."
        )
    return text


def _nested_table(judged: Judged, suffix: str) -> Table:
    rows: list[dict[str, object]] = []
    cells = []
    for nested in judged.nested:
        within = nested.within
        named: list[tuple[str, Statistic | None, float | None]] = [
            (own.rater, own.superiority, own.weight) for own in within.these.raters
        ]
        named.append(("combined, these runs", within.these.superiority, None))
        named.append(("runs such as these", within.such, None))
        for of, statistic, weight in named:
            row: dict[str, object] = {
                "group": nested.name,
                "of": of,
                "first": nested.first,
                "second": nested.second,
                "weight": weight,
                "between": within.between,
            }
            rows.append(row | flat("superiority", statistic))
            cells.append([nested.name or "all runs", of, interval(statistic), percent(weight)])
    return Table(
        name="within_runs" + suffix,
        caption=f"{judged.nested[0].first} against {judged.nested[0].second} within runs",
        frame=pd.DataFrame(rows),
        headings=["group", "run", SUPERIORITY, "weight"],
        rows=cells,
        summary=True,
    )


# ------------------------------------------------------------------------------ the picture


def draw(judged: Judged) -> Drawing:
    """Return the forest of contrasts: across runs, then within runs and combined."""
    rows: list[tuple[str, Statistic | None, str, str]] = []
    for contrast in judged.contrasts[:MOST_ROWS]:
        name = f"{contrast.first.label} against {contrast.second.label}"
        rows.append((name, contrast.superiority, colour(contrast.first.source), "o"))
    for nested in judged.nested:
        title = f"{nested.first} against {nested.second}"
        group = f" ({nested.name})" if nested.name else ""
        for own in nested.within.these.raters[:MOST_ROWS]:
            rows.append((f"{title}, {own.rater}", own.superiority, colour(nested.first), "s"))
        these, such = nested.within.these.superiority, nested.within.such
        rows.append((f"{title}, combined{group}", these, INK, "D"))
        if such.low is not None:
            rows.append((f"{title}, runs such as these{group}", such, INK, "D"))
    figure = sheet(10, 1.4 + 0.36 * len(rows))
    axes = figure.subplots()
    for at, (_, statistic, ink, marker) in enumerate(rows):
        if statistic is None or statistic.value is None:
            continue
        if statistic.low is not None and statistic.high is not None:
            axes.plot([statistic.low, statistic.high], [at, at], color=ink, linewidth=1.8)
        axes.plot([statistic.value], [at], marker, color=ink, markersize=6)
        axes.text(
            1.02, at, interval(statistic), transform=axes.get_yaxis_transform(), va="center",
            fontsize=8.5, color=INK,
        )  # fmt: skip
    between = len(judged.contrasts[:MOST_ROWS])
    if 0 < between < len(rows):
        axes.axhline(between - 0.5, color=RULE, linewidth=1)
    axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(
        range(len(rows)), [two_lines(name, NAME_LETTERS) for name, *_ in rows], fontsize=8.5
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel(SUPERIORITY)
    plain_axes(axes, "x")
    one = judged.contrasts[0] if len(judged.contrasts) == 1 else None
    text = (
        run_finding(one)
        if one
        else f"{count(len(judged.contrasts), 'contrast')} across {len(judged.runs)} runs"
        if judged.contrasts
        else f"{judged.nested[0].first} against {judged.nested[0].second} within runs"
    )
    headline(figure, text, f"{judged.rater} on {judged.rubric}, runs {listed(judged.runs)}")
    return figure


def _cut(judged: Judged) -> str:
    more = len(judged.contrasts) - MOST_ROWS
    return f" {count(more, 'more contrast')} in the table alone." if more > 0 else ""


def _alt(judged: Judged) -> str:
    across = [f"{run_finding(contrast)}" for contrast in judged.contrasts[:MOST_ROWS]]
    within = [
        f"{nested.first} against {nested.second} within {listed(nested.runs)}: "
        f"{interval(nested.within.these.superiority)}"
        for nested in judged.nested
    ]
    return "Forest plot. " + ". ".join([*across, *within]) + "."
