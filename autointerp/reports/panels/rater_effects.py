"""How severe each rater is, how far it spreads its scores, and whether people drift."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.rater_effects import RaterModel
from autointerp.reports.colours import INK, MUTED
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet, two_lines
from autointerp.reports.words import equals, flat, interval, listed, number, p_value, percent
from autointerp.stats.rater_effects import LEAST_SHARED
from autointerp.text import count

AFTER = "agreement"
TITLE = "Raters beside one another"
NAME_LETTERS = 36  # of a rater's name beside a picture, before it is broken or cut


def show(material: Material) -> list[Block]:
    models = [model for comparison in material.comparisons for model in comparison.rater_effects]
    several = len(models) > 1
    blocks: list[Block] = []
    for place, model in enumerate(models):
        suffix = f"-{place + 1}" if several else ""
        lead = f"{model.run} · {model.rubric}." if several else ""
        if model.effects is not None:
            blocks.append(Prose(effects_text(model), lead=lead))
        if model.effects is not None and model.effects.raters:
            blocks.append(
                Figure(
                    name="rater_effects" + suffix,
                    caption=f"{model.run} · {model.rubric}. Severity of each rater beside the mean "
                    "rater, in log odds of a lower score, with its "
                    f"{percent(model.level)} interval; to the right "
                    "stand those who give lower scores to the same units.",
                    alt=_alt(model),
                    draw=lambda model=model: draw(model),  # type: ignore[misc]
                )
            )
            blocks.append(_table(model, suffix))
        if model.drift:
            blocks += [Prose(drift_text(model), lead="Drift."), _drift_table(model, suffix)]
    return blocks


def effects_text(model: RaterModel) -> str:
    """Return what the model is and what it rests on, or why there is none."""
    effects = model.effects
    assert effects is not None
    left_out = (
        f" Left out, with fewer than {LEAST_SHARED} units that another rated too or a single score "
        f"for all: {listed(effects.left_out)}."
        if effects.left_out
        else ""
    )
    if not effects.raters:
        return f"Nothing is said of how severe raters are: {effects.note}.{left_out}"
    ratio = effects.odds_ratio
    first, second = model.first, model.second
    by = f", by {listed(model.compared_by)} alone" if model.failing else ""
    if model.failing and ratio is None:
        taken_out = (
            f" What {first} and {second} differ by is not taken from it: {listed(model.failing)} "
            f"{_fail(model)}, and fewer than two raters are left."
        )
    elif ratio is None:
        taken_out = ""
    elif ratio.low is None:
        taken_out = f" What {first} and {second} differ by is not known here: {ratio.note}."
    else:
        taken_out = (
            f" With the raters taken out, the odds of a higher score are {interval(ratio)} times "
            f"as large for {first} as for {second}{by}"
            + (f"; {listed(model.failing)} {_fail(model)}." if by else ".")
        )
    return (
        f"A cumulative logit model of {count(effects.ratings, 'first rating')} of "
        f"{count(effects.units, 'studied unit')}{_of(model)}: thresholds that all raters share, a "
        "severity and a spread of each, and an effect of each unit, normal about its source "
        f"(standard deviation {number(effects.unit_sd)} in log odds). Severity moves all of a "
        "rater's scores down; spread above 1 pulls them to the ends of the scale, below 1 to its "
        "middle. The mean is that of the scores that it would give all of these units. Units that "
        "one rater alone saw count as far as they went to raters at random. It speaks of these "
        "raters."
        f"{taken_out}{left_out}"
    )


def _fail(model: RaterModel) -> str:
    if len(model.failing) == 1:
        return "fails its controls or its check"
    return "fail their controls or their check"


def _of(model: RaterModel) -> str:
    assert model.effects is not None
    return f" (a random part of {model.units:,})" if model.is_part else ""


def _table(model: RaterModel, suffix: str) -> Table:
    assert model.effects is not None
    raters = model.effects.raters
    return Table(
        name="rater_effects" + suffix,
        caption="Severity and spread",
        frame=pd.DataFrame(
            [
                {
                    "run": model.run,
                    "rubric": model.rubric,
                    "rater": effect.rater,
                    "units": effect.units,
                    **flat("severity", effect.severity),
                    **flat("spread", effect.spread),
                    "mean": effect.mean,
                }
                for effect in raters
            ]
        ),
        headings=["rater", "units", "severity, log odds", "spread", "mean score of these units"],
        rows=[
            [
                effect.rater,
                str(effect.units),
                interval(effect.severity),
                interval(effect.spread),
                number(effect.mean),
            ]
            for effect in raters
        ],
    )


def drift_text(model: RaterModel) -> str:
    """Return whether scores move over each person's session, in words."""
    parts = []
    for person, moved in model.drift.items():
        ratio, p = moved.odds_ratio, moved.test.p_value
        if ratio.value is None or p is None:
            parts.append(f"{person}: not known, {ratio.note}.")
            continue
        way = (
            "no movement is resolved"
            if ratio.low is None or ratio.high is None or ratio.low <= 1 <= ratio.high
            else "scores rise"
            if ratio.low > 1
            else "scores fall"
        )
        parts.append(
            f"{person}: {way} from the first to the last of {count(moved.ratings, 'rating')}, odds "
            f"of a higher score times {interval(ratio)} (p {equals(p_value(p))})."
        )
    return " ".join(
        [
            "Order in a session is random, so units at its end are like those at its beginning; "
            "the score is regressed on the place in the session, by source.",
            *parts,
        ]
    )


def _drift_table(model: RaterModel, suffix: str) -> Table:
    return Table(
        name="drift" + suffix,
        caption="Drift over a session",
        frame=pd.DataFrame(
            [
                {
                    "run": model.run,
                    "rubric": model.rubric,
                    "rater": person,
                    "ratings": moved.ratings,
                    **flat("odds_ratio", moved.odds_ratio),
                    "p": moved.test.p_value,
                    "note": moved.odds_ratio.note,
                }
                for person, moved in model.drift.items()
            ]
        ),
        headings=["rater", "ratings", "odds ratio, end over beginning", "p"],
        rows=[
            [
                person,
                str(moved.ratings),
                interval(moved.odds_ratio),
                p_value(moved.test.p_value),
            ]
            for person, moved in model.drift.items()
        ],
    )


def draw(model: RaterModel) -> Drawing:
    """Return the severity of each rater, the most lenient on top."""
    assert model.effects is not None
    raters = sorted(model.effects.raters, key=lambda effect: effect.severity.value or 0.0)
    figure = sheet(10, 1.5 + 0.4 * len(raters))
    axes = figure.subplots()
    for at, effect in enumerate(raters):
        severity = effect.severity
        if severity.low is not None and severity.high is not None:
            axes.plot([severity.low, severity.high], [at, at], color=INK, linewidth=1.8)
        if severity.value is not None:
            axes.plot([severity.value], [at], "o", color=INK, markersize=6)
        axes.text(
            1.02, at, f"spread {interval(effect.spread)}", transform=axes.get_yaxis_transform(),
            va="center", fontsize=8.5, color=INK,
        )  # fmt: skip
    axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(
        range(len(raters)), [two_lines(e.rater, NAME_LETTERS) for e in raters], fontsize=8.5
    )
    axes.set_ylim(len(raters) - 0.4, -0.6)
    axes.set_xlabel("severity beside the mean rater, log odds of a lower score")
    plain_axes(axes, "x")
    headline(figure, "How severe each rater is", f"{model.rubric}, run {model.run}")
    return figure


def _alt(model: RaterModel) -> str:
    assert model.effects is not None
    each = [f"{e.rater}: severity {interval(e.severity)}" for e in model.effects.raters]
    return "Severity of raters. " + "; ".join(each) + "."
