"""What descriptions are worth: each scorer by source, beside its permuted control."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.descriptions import CHANCE, TOLERANCE, ScorerResult, SourceScore
from autointerp.reports.colours import INK, MUTED, colour
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.panels._silence import assumed_silence
from autointerp.reports.style import headline, plain_axes, sheet, shortened
from autointerp.reports.words import (
    SUPERIORITY,
    counted,
    flat,
    interval,
    level_text,
    listed,
    number,
    percents,
    plural,
)
from autointerp.stats.decision import EquivalenceAnswer
from autointerp.text import capital

AFTER = "specificity"
TITLE = "What descriptions predict"
NAME_LETTERS = 36  # of a source's name beside the picture
ANSWERS: dict[EquivalenceAnswer, str] = {
    "equivalent": "yes",
    "not equivalent": "no",
    "too few to tell": "too few to tell",
}


def show(material: Material) -> list[Block]:
    results = [
        (comparison.run, result)
        for comparison in material.comparisons
        for result in comparison.scorers
    ]
    if not results:
        return []
    several = material.several_runs
    many = len({result.design for _, result in results}) > 1

    def label(run: str, result: ScorerResult, scorer: bool = True) -> str:
        return _label(result, run if several else "", scorer, many)

    blocks: list[Block] = [
        Prose(
            "A description is tried on contexts that its writer never saw: which texts fire "
            "(detection), whether the right token is marked (fuzzing), how strongly each token "
            "fires (simulation), whether the description is nearer to texts that fire (embedding) "
            "and makes them less surprising to a model (surprisal). 0.5 is chance and what “all” "
            "or “none” scores, 1 is perfect. "
            "Hollow marks are the control: the same contexts with other units' descriptions, "
            "which should be at 0.5 (for the intruder, contexts that have no unit in common). In "
            "detection and fuzzing a score is 0.5 and what a unit's own description gets above "
            "this control, cut at 0 and 1. The control "
            f"counts as at chance where an equivalence test (TOST) puts its mean within {CHANCE} ± "
            f"{TOLERANCE}; with few units the answer is “too few to tell”. Each control is tested "
            "by itself: of those at chance up to one in 20 is held not to be. Intervals are "
            f"at {level_text(material)}, over units; where units share calls, the control's allows "
            "for descriptions that are tried on several."
        ),
        *_output_side({result.scorer for _, result in results}),
        *assumed_silence(material),
    ]
    for run, result in results:
        for source in result.broken:
            permuted = result.sources[source].permuted
            blocks.append(
                Prose(
                    f"{label(run, result)}: with {_control(result)} "
                    f"{source} still score {interval(permuted)}, not 0.5. Either the scorer is "
                    f"broken, or {_otherwise(result)}; its scores cannot be taken at face value.",
                    lead="Not at chance.",
                    tone="warning",
                )
            )
        if result.noise is not None:
            blocks.append(
                Prose(
                    f"{label(run, result)}: shuffled units fire with no "
                    f"regard to the text and still score {interval(result.noise)}, not 0.5. The "
                    "scorer separates contexts in which units fire from others without the units; "
                    "its scores cannot be taken at face value.",
                    lead="Not at chance.",
                    tone="warning",
                )
            )
        if result.too_few:
            units = listed(
                f"{name} ({result.sources[name].permuted.n[0]})" for name in result.too_few
            )
            blocks.append(
                Prose(
                    f"{label(run, result)}: with {_control(result)}, too few units were tried to "
                    f"tell whether these are at {CHANCE} ± {TOLERANCE}: {units}."
                )
            )
        lost = result_losses(result)
        if lost:
            blocks.append(Prose(f"{label(run, result)}: {lost}"))
    answers = {(run, r.explainer or None, r.rater, r.design) for run, r in results}
    for place, key in enumerate(sorted(answers, key=str)):
        shown = [r for run, r in results if (run, r.explainer, r.rater, r.design) == key]
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
                [_row(run, r, c) for run, r in results for c in r.sources.values()]
            ),
            headings=[
                "scorer", "source", "units", "score", "worst case", "best case", "permuted",
                "at chance", "Unknown at 0.5", "no score", "answered", "beside it",
            ],
            rows=[
                [label(run, r), *_cells(c)]
                for run, r in results
                for c in r.sources.values()
            ],
            summary=True,
        )
    )  # fmt: skip
    for run, result in results:
        if result.contrast is not None:
            blocks.append(Prose(f"{label(run, result)}: {contrast_text(result)}"))
    return blocks


OUTPUT_SIDE = {
    "responsiveness": "whether the unit fires more strongly on texts of the corpus that fit the "
    "description than on those that do not (responsiveness)",
    "purity": "how far what fits comes first where texts are ordered by the unit's activation "
    "(purity)",
    "generation": "whether texts that a model writes to the description make the unit fire more "
    "strongly than texts for other units' (generation)",
    "logits": "which tokens the unit promotes, ranks 11 to 60 by logit weight against as many at "
    "random (logits)",
    "steering": "which of two descriptions was steered, from what the model writes with the unit "
    "clamped against texts under a random direction of equal norm (steering)",
}


def _output_side(scorers: set[str]) -> list[Block]:
    """Return what scorers ask that try a description on what a unit does."""
    asked = [words for name, words in OUTPUT_SIDE.items() if name in scorers]
    if not asked:
        return []
    return [
        Prose(
            f"Other scorers try it with the model: {listed(asked)}. Their hollow marks are other "
            "descriptions on the very same tokens and texts, above which a score is counted as in "
            "detection; of generation, texts for another unit's description."
        )
    ]


def contrast_text(result: ScorerResult) -> str:
    """Return how descriptions of the two sources compare, and what units without a score could
    change."""
    assert result.contrast is not None
    assert result.pairs is not None
    assert result.bounds is not None
    pair = result.first, result.second
    first, second = (plural(name)[0] for name in pair)
    wins, ties, losses = percents(share.value for share in result.pairs.shares)
    text = (
        f"the description of {first} scores higher than that of {second} in "
        f"{wins} of pairs, the same in {ties}, lower in {losses}: "
        f"{SUPERIORITY} {interval(result.contrast)}{_look(result)}."
    )
    if not any(result.bounds.missing):
        return text
    lacking = listed(
        f"{counted(n, name)} ({_why(result.sources[name])})"
        for name, n in zip(pair, result.bounds.missing, strict=True)
        if n
    )
    return (
        f"{text} Without a score are {lacking}; whatever they would have scored, it lies between "
        f"{number(result.bounds.worst.value)} and {number(result.bounds.best.value)}."
    )


def _look(result: ScorerResult) -> str:
    """Return which look it is where the interval allows for several; empty where it does not."""
    reading = result.reading
    if reading is None or reading.multiplier is None:
        return ""
    return (
        f" (look {reading.number}, undeclared, so with the interval of a confidence sequence, "
        f"{reading.multiplier:.2f} standard errors)"
    )


def _control(result: ScorerResult) -> str:
    return "permuted descriptions" if result.explainer else "contexts of no unit in common"


def _otherwise(result: ScorerResult) -> str:
    if result.explainer:
        return "descriptions of this source fit one another's units"
    return "contexts in which units fire differ from silent ones whatever the unit"


def result_losses(result: ScorerResult) -> str:
    """Return in a sentence what became of calls that brought nothing; empty if all did."""
    if not result.lost:
        return ""
    counts = listed(f"{n:,} {status}" for status, n in result.lost.items())
    return f"of its calls {counts}; what they asked about is missing from the scores, not wrong."


def _label(result: ScorerResult, run: str, scorer: bool, design: bool) -> str:
    """Return a label that distinguishes a result from others; its design in full if `design`."""
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
            name = shortened(source, NAME_LETTERS)
            labels.append(name if row else f"{result.scorer}: {name}")
            source_score = result.sources.get(source)
            if source_score is None:
                continue
            ink = colour(source, studied)
            for score, hollow in ((source_score.permuted, True), (source_score.scored, False)):
                if score.value is None:
                    continue
                if score.low is not None and score.high is not None:
                    axes.plot([score.low, score.high], [at, at], color=ink, linewidth=1.6)
                axes.plot(
                    [score.value], [at], "o", color=ink, markersize=9 if hollow else 6,
                    markerfacecolor="white" if hollow else ink,  # both are seen in one place
                )  # fmt: skip
            if source_score.scored.value is None:
                axes.text(
                    CHANCE + 0.01, at, _why(source_score), va="center", fontsize=8, color=MUTED
                )
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
        return "filled: own description; hollow: other units'"
    return "filled: contexts of one unit and an intruder; hollow: of no unit in common"


def _why(source_score: SourceScore) -> str:
    return ", ".join(f"{n} {why}" for why, n in source_score.outcomes.items()) or "no score"


def finding(results: list[ScorerResult]) -> str:
    """Return the picture's headline: the scores of what is studied, or else of the controls."""
    for controls in (False, True):
        parts: list[str] = []
        names: list[str] = []
        for result in results:
            values = {
                name: source_score.scored.value
                for name, source_score in result.sources.items()
                if source_score.is_control is controls and source_score.scored.value is not None
            }
            if values:
                parts.append(
                    f"{result.scorer} {listed(number(value) for value in values.values())}"
                )
                names = [f"{name}*" if controls else name for name in values]
        if parts:
            return f"{capital(listed(names))}: {', '.join(parts)}"
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


def _cells(source_score: SourceScore) -> list[str]:
    shown = {
        "spearman": "Spearman",
        "spearman, weighted": "weighted",
        "explained variance": "variance explained",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "found": "found",
        "mean, firing": "mean where it fires",
        "mean, silent": "where silent",
        "accuracy": "accuracy",
        "activation, fitting": "share of the largest activation where it fits",
        "activation, rest": "elsewhere",
        "average precision": "average precision",
        "activation, own": "share of the largest activation on its texts",
        "activation, others": "on others'",
        "right of two": "right of two",
    }
    return [
        source_score.source + ("*" if source_score.is_control else ""),
        str(len(source_score.values)),
        interval(source_score.scored),
        number(source_score.bounds.worst.value if source_score.bounds else None),
        number(source_score.bounds.best.value if source_score.bounds else None),
        interval(source_score.permuted),
        ANSWERS[source_score.permuted_at_chance.answer] if source_score.permuted_at_chance else "–",
        number(source_score.with_unknown.value),
        _why(source_score) if source_score.outcomes else "0",
        f"{source_score.answered:,} of {source_score.questions:,}",
        ", ".join(
            f"{words} {number(source_score.more[name])}"
            for name, words in shown.items()
            if name in source_score.more
        ),
    ]


def _row(run: str, result: ScorerResult, source_score: SourceScore) -> dict[str, object]:
    return {
        "run": run,
        "scorer": result.scorer,
        "explainer": result.explainer,
        "rater": result.rater,
        "design": result.design,
        "source": source_score.source,
        "is_control": source_score.is_control,
        "units": len(source_score.values),
        **flat("score", source_score.scored),
        "score_median": source_score.median,
        **flat("permuted", source_score.permuted),
        "permuted_units": source_score.permuted.n[0],
        "permuted_at_chance": source_score.permuted_at_chance.answer
        if source_score.permuted_at_chance
        else None,
        "score_worst": source_score.bounds.worst.value if source_score.bounds else None,
        "score_best": source_score.bounds.best.value if source_score.bounds else None,
        "with_unknown": source_score.with_unknown.value,
        "questions": source_score.questions,
        "answered": source_score.answered,
        "no_score": ", ".join(f"{n} {why}" for why, n in source_score.outcomes.items()),
        "calls": ", ".join(f"{n} {status}" for status, n in source_score.statuses.items()),
        **source_score.more,
    }
