"""What descriptions are worth: each scorer by source, beside its permuted control."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.descriptions import CHANCE, ScorerResult, SourceScore
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import INK, MUTED, colour, headline, plain_axes, sheet
from autointerp.reports.words import flat, interval, listed, number

AFTER = "specificity"
TITLE = "What descriptions predict"


def show(material: Material) -> list[Block]:
    found = [(one.run, result) for one in material.comparisons for result in one.scorers]
    if not found:
        return []
    several = material.several_runs
    many = len({result.design for _, result in found}) > 1

    def label(run: str, result: ScorerResult, scorer: bool = True) -> str:
        return _label(result, run if several else "", scorer, many)

    blocks: list[Block] = [
        Prose(
            "A description is tried on contexts that its writer never saw: which texts fire "
            "(detection), whether the right token is marked (fuzzing), how strongly each token "
            "fires (simulation). 0.5 is chance and what “all” or “none” scores, 1 is perfect. "
            "Hollow marks are the control: the same contexts with another unit's description, "
            "which must be at 0.5 (for the intruder, contexts that have no unit in common). "
            "Intervals are at 95 %, Student's t over units."
        )
    ]
    for run, result in found:
        for source in result.broken:
            permuted = result.sources[source].permuted
            blocks.append(
                Prose(
                    f"{label(run, result)}: with {_control(result)} "
                    f"{source} still score {interval(permuted)}, not 0.5. Either the scorer is "
                    f"broken, or {_otherwise(result)}; its scores must not be taken at their face.",
                    lead="Not at chance.",
                    tone="warning",
                )
            )
        if result.noise is not None:
            blocks.append(
                Prose(
                    f"{label(run, result)}: shuffled units fire with no "
                    f"regard to the text and still score {interval(result.noise)}, not 0.5. The "
                    "scorer tells the contexts in which units fire from others without the units; "
                    "its scores must not be taken at their face.",
                    lead="Not at chance.",
                    tone="warning",
                )
            )
        lost = result_losses(result)
        if lost:
            blocks.append(Prose(f"{label(run, result)}: {lost}"))
    answers = {(run, r.explainer or None, r.rater, r.design) for run, r in found}
    for place, key in enumerate(sorted(answers, key=str)):
        shown = [r for run, r in found if (run, r.explainer, r.rater, r.design) == key]
        suffix = f"-{place + 1}" if len(answers) > 1 else ""
        blocks.append(
            Figure(
                name=f"scorers{suffix}",
                caption=f"{label(key[0], shown[0], scorer=False)}. {_marks(shown).capitalize()}.",
                alt=_alt(shown),
                draw=lambda shown=shown: draw(shown),  # type: ignore[misc]
            )
        )
    blocks.append(
        Table(
            name="scorers",
            caption="Scores of descriptions",
            frame=pd.DataFrame(
                [_row(run, r, c) for run, r in found for c in r.sources.values()]
            ),
            headings=[
                "scorer", "source", "units", "score", "permuted", "Unknown at 0.5", "no score",
                "answered", "beside it",
            ],
            rows=[
                [label(run, r), *_cells(c)]
                for run, r in found
                for c in r.sources.values()
            ],
            summary=True,
        )
    )  # fmt: skip
    for run, result in found:
        if result.contrast is not None:
            blocks.append(
                Prose(
                    f"{label(run, result)}: P(a feature's description scores "
                    f"higher than a neuron's) is {interval(result.contrast)}, ties halved."
                )
            )
    return blocks


def _control(result: ScorerResult) -> str:
    return "permuted descriptions" if result.explainer else "contexts of no unit in common"


def _otherwise(result: ScorerResult) -> str:
    if result.explainer:
        return "descriptions of this source fit one another's units"
    return "any firing context can be told from a silent one"


def result_losses(result: ScorerResult) -> str:
    """Return in a sentence what became of calls that brought nothing; empty if all did."""
    if not result.lost:
        return ""
    counts = listed(f"{n:,} {status}" for status, n in result.lost.items())
    return f"of its calls {counts}; what they asked about is missing from the scores, not wrong."


def _label(result: ScorerResult, run: str, scorer: bool, design: bool) -> str:
    """Return what tells a result from others; its design in full if `design`, else where hard."""
    parts = [run, result.scorer if scorer else ""]
    if result.explainer and result.explainer != result.rater:
        parts.append(f"described by {result.explainer}, judged by {result.rater}")
    else:
        parts.append(result.rater)
    if design:
        parts.append(result.design)
    elif "hard" in result.design:
        parts.append("hard")
    return " · ".join(part for part in parts if part)


def draw(results: list[ScorerResult]) -> Drawing:
    """Return the scores by scorer and source, own and permuted."""
    sources = list(dict.fromkeys(name for r in results for name in r.sources))
    figure = sheet(10, 1.3 + 0.22 * (len(sources) + 1) * len(results))
    axes = figure.subplots()
    axes.axvline(CHANCE, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ticks, labels = [], []
    studied = [
        name
        for name in sources
        if not any(r.sources[name].is_control for r in results if name in r.sources)
    ]
    for place, result in enumerate(results):
        for row, source in enumerate(sources):
            at = place * (len(sources) + 1) + row
            ticks.append(at)
            labels.append(source if row else f"{result.scorer}: {source}")
            one = result.sources.get(source)
            if one is None:
                continue
            ink = colour(source, studied)
            for found, hollow in ((one.permuted, True), (one.scored, False)):
                if found.value is None:
                    continue
                if found.low is not None and found.high is not None:
                    axes.plot([found.low, found.high], [at, at], color=ink, linewidth=1.6)
                axes.plot(
                    [found.value], [at], "o", color=ink, markersize=9 if hollow else 6,
                    markerfacecolor="white" if hollow else ink,  # both are seen in one place
                )  # fmt: skip
            if one.scored.value is None:
                axes.text(CHANCE + 0.01, at, _why(one), va="center", fontsize=8, color=MUTED)
    axes.set_yticks(ticks, labels, fontsize=8.5, color=INK)
    axes.set_ylim(len(results) * (len(sources) + 1) - 1.2, -0.8)
    axes.set_xlim(min(0.3, axes.get_xlim()[0]), 1.02)
    axes.set_xlabel("score; 0.5 is chance")
    plain_axes(axes, "x")
    headline(figure, finding(results), _marks(results))
    return figure


def _marks(results: list[ScorerResult]) -> str:
    """Return what filled and hollow marks are; results of one picture are alike in it."""
    if results[0].explainer:
        return "filled: own description; hollow: another unit's"
    return "filled: contexts of one unit and an intruder; hollow: of no unit in common"


def _why(one: SourceScore) -> str:
    return ", ".join(f"{n} {why}" for why, n in one.outcomes.items()) or "no score"


def finding(results: list[ScorerResult]) -> str:
    """Return the picture's headline: the scores of what is studied, or else of the controls."""
    for controls in (False, True):
        parts: list[str] = []
        names: list[str] = []
        for result in results:
            values = {
                name: one.scored.value
                for name, one in result.sources.items()
                if one.is_control is controls and one.scored.value is not None
            }
            if values:
                parts.append(
                    f"{result.scorer} {listed(number(value) for value in values.values())}"
                )
                names = [f"{name}*" if controls else name for name in values]
        if parts:
            return f"{listed(names).capitalize()}: {', '.join(parts)}"
    return "No description has a score"


def _alt(results: list[ScorerResult]) -> str:
    return " ".join(
        f"{result.scorer}: "
        + "; ".join(
            f"{name} {interval(c.scored)}, permuted {interval(c.permuted)}"
            for name, c in result.sources.items()
        )
        + "."
        for result in results
    )


def _cells(one: SourceScore) -> list[str]:
    shown = {
        "spearman": "Spearman",
        "spearman, weighted": "weighted",
        "explained variance": "variance explained",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "found": "found",
    }
    return [
        one.source + ("*" if one.is_control else ""),
        str(len(one.values)),
        interval(one.scored),
        interval(one.permuted),
        number(one.with_unknown.value),
        _why(one) if one.outcomes else "0",
        f"{one.answered:,} of {one.questions:,}",
        ", ".join(
            f"{words} {number(one.more[name])}" for name, words in shown.items() if name in one.more
        ),
    ]


def _row(run: str, result: ScorerResult, one: SourceScore) -> dict[str, object]:
    return {
        "run": run,
        "scorer": result.scorer,
        "explainer": result.explainer,
        "rater": result.rater,
        "design": result.design,
        "source": one.source,
        "is_control": one.is_control,
        "units": len(one.values),
        **flat("score", one.scored),
        "score_median": one.median,
        **flat("permuted", one.permuted),
        "permuted_units": one.permuted.n[0],
        "permuted_at_chance": one.is_at_chance,
        "with_unknown": one.with_unknown.value,
        "questions": one.questions,
        "answered": one.answered,
        "no_score": ", ".join(f"{n} {why}" for why, n in one.outcomes.items()),
        "calls": ", ".join(f"{n} {status}" for status, n in one.statuses.items()),
        **one.more,
    }
