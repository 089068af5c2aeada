"""The mean that the people who rated some units would give all of them (PPI++)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from autointerp.findings.calibration import Calibration, PredictedMean, PredictedPair
from autointerp.reports.colours import CELL_DARK, CELL_LIGHT, MUTED
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import headline, sheet
from autointerp.reports.words import (
    SUPERIORITY,
    counted,
    flat,
    interval,
    listed,
    number,
    percent,
    plural,
)
from autointerp.stats.alternative_annotator import LEAST_UNITS
from autointerp.stats.ppi import STRATIFIED
from autointerp.stats.ppi_drawn import METHOD as DRAWN
from autointerp.stats.results import Statistic
from autointerp.text import count

AFTER = "agreement"
TITLE = "Calibration: people and judges"


def show(material: Material) -> list[Block]:
    judges = [judged for comparison in material.comparisons for judged in comparison.calibration]
    if not judges:
        return []
    people = list(dict.fromkeys(name for judged in judges for name in judged.humans))
    text = " ".join([_lead(people), *_draws(judges), *_compared(judges), *_short(judges)])
    blocks: list[Block] = [Prose(text)]
    failing = [
        f"{one.rater}: {one.fails}"
        for one in material.judgements
        if one.rater in people and one.fails
    ]
    if failing:
        text = (
            f"{'; '.join(failing)}. What is predicted here is what they would say, with that, and "
            "they are among those whom a judge is set beside."
        )
        blocks.append(Prose(text, lead="People who fail.", tone="warning"))
    rows = [(judged, predicted) for judged in judges for predicted in judged.predictions]
    for place, judged in enumerate(judges):
        blocks.append(
            Figure(
                name="calibration" + (f"-{place + 1}" if len(judges) > 1 else ""),
                caption=f"{judged.rubric}: {judged.judge} against {', '.join(judged.humans)} on "
                "the units that both rated. The number of units in each cell; on the diagonal they "
                "agree.",
                alt=_alt(judged),
                draw=lambda judged=judged: draw(judged),  # type: ignore[misc]
            )
        )
    blocks.append(
        Table(
            name="calibration",
            caption="People's mean, by prediction",
            frame=pd.DataFrame([_row(*row) for row in rows]),
            headings=[
                "judge", "of", "rated by both", "by the judge alone", "people's mean, predicted",
                "from people alone", "judge's mean", "λ", "correlation", "worth so many ratings",
            ],
            rows=[
                [
                    judged.judge,
                    predicted.of,
                    str(predicted.n_both),
                    str(predicted.n_judge_only),
                    interval_or_why(predicted.predicted),
                    interval(predicted.human_only),
                    number(predicted.judge_mean),
                    number(predicted.power),
                    number(predicted.correlation),
                    number(predicted.effective_n, 0),
                ]
                for judged, predicted in rows
            ],
        )
    )  # fmt: skip
    blocks += [Prose(pair_text(judged), lead=_pair_lead(judged)) for judged in judges
               if judged.superiority is not None]  # fmt: skip
    pairs = [judged for judged in judges if judged.superiority is not None]
    if pairs:
        blocks.append(_pair_table(pairs))
    blocks += [Prose(stand_in_text(judged), lead=_stand_in_lead(judged)) for judged in judges]
    blocks.append(_stand_in_table(judges))
    return blocks


def _lead(people: list[str]) -> str:
    return (
        "The judge's mean over all units is corrected by the difference between people and judge "
        "on the units that both rated (prediction-powered inference). It predicts the mean that "
        f"{listed(people)} would give all units, and not what other people would: how people "
        "differ from one another is not in the interval. Where several rated a unit, their mean "
        "stands for them, and where one did, that one's score. It holds however biased the judge "
        "is, provided that the units people rated were drawn at random, with probabilities that "
        "are known. λ is the weight that the judge gets: 0 leaves it out."
    )


def _draws(judges: list[Calibration]) -> Iterator[str]:
    """Yield how people's units were drawn, and what follows, as far as it was so."""
    methods = {p.predicted.method for judged in judges for p in judged.predictions}
    if any(STRATIFIED in method for method in methods):
        yield (
            "`plan-humans` drew units by the judge's score: each stratum counts by its size, and λ "
            "has no part in a mean."
        )
    if any(DRAWN in method for method in methods):
        yield (
            "`plan-humans` drew more of the units of which the judge was taken to be unsure: each "
            "unit counts by the inverse of its probability."
        )


def _compared(judges: list[Calibration]) -> Iterator[str]:
    """Yield how often a prediction is surer than people's ratings alone."""
    both = [
        (width(predicted.predicted), width(predicted.human_only))
        for judged in judges
        for predicted in judged.predictions
    ]
    widths = [(mine, alone) for mine, alone in both if mine is not None and alone is not None]
    if widths:
        narrower = sum(mine < alone for mine, alone in widths)
        yield (
            f"The interval is narrower than that of people's ratings alone in {narrower} of "
            f"{len(widths)} rows below that have both."
        )


def width(statistic: Statistic) -> float | None:
    """Return the width of an interval; None where there is none."""
    if statistic.low is None or statistic.high is None:
        return None
    return statistic.high - statistic.low


def _short(judges: list[Calibration]) -> Iterator[str]:
    """Yield of which units nothing is predicted, for people were not asked about such."""
    for judged in judges:
        counts = [counted(n, name) for name, n in judged.left_out.items()]
        if counts and judged.contexts is not None:
            yield (
                f"People were shown at most {count(judged.contexts, 'context')} of each unit on "
                f"{judged.rubric}; {listed(counts)} that {judged.judge} rated have fewer, and of "
                "such nothing is predicted."
            )


# --------------------------------------------------------------- superiority, by people


def _pair_lead(judged: Calibration) -> str:
    return f"By people, with {judged.judge}."


def people_lines(judged: Calibration) -> list[str]:
    """Return for a terminal what people's ratings make of a judge's, and whether it may stand in
    for them."""
    lines = [] if judged.superiority is None else [f"{_pair_lead(judged)} {pair_text(judged)}"]
    return [*lines, f"{_stand_in_lead(judged)} {stand_in_text(judged)}"]


def pair_text(judged: Calibration) -> str:
    """Return the primary pair's probability of superiority, corrected by people."""
    pair = judged.superiority
    assert pair is not None
    of = f"{SUPERIORITY} of {plural(pair.first)[1]} over {plural(pair.second)[1]}"
    n_first, n_second = pair.n_both
    both = f"{counted(n_first, pair.first)} and {counted(n_second, pair.second)}"
    if pair.predicted.value is None:
        own = ""
        if pair.human_only.value is not None:
            value = interval(pair.human_only)
            own = f" From people's ratings of the {both} that the judge rated too it is {value}."
        return f"No {of} by people is predicted: {pair.predicted.note}.{own}"
    alone = (
        interval(pair.human_only)
        if pair.human_only.value is not None
        else f"none ({pair.human_only.note})"
    )
    why = f" It has no interval: {pair.predicted.note}." if pair.predicted.low is None else ""
    return (
        f"As {listed(judged.humans)} would rate {_all_units(judged)}, the {of}, ties halved, is "
        f"{interval(pair.predicted)}; by the judge alone {interval(pair.judge_only)}, from "
        f"people's ratings alone {alone}. It rests on {both} that people and the judge rated."
        f"{why}{_look(pair)}"
    )


def _all_units(judged: Calibration) -> str:
    """Return what a prediction speaks of: all units, or those that people can be asked about."""
    if not judged.left_out or judged.contexts is None:
        return "all units"
    return f"all units that have {count(judged.contexts, 'context')}"


def _look(pair: PredictedPair) -> str:
    """Return which look this is, and what its intervals allow for."""
    reading = pair.reading
    if reading is None or reading.multiplier is None:
        return ""
    return (
        f" It is look {reading.number} at ratings of these people with this judge, and no plan "
        "declares it: the predicted one, people's own and the difference of means have the "
        f"intervals of an asymptotic confidence sequence ({reading.multiplier:.2f} standard errors "
        f"in place of {reading.ordinary:.2f}), which hold at all looks. Means of a single source "
        "are those of one look."
    )


def _pair_table(judges: list[Calibration]) -> Table:
    rows: list[dict[str, object]] = []
    cells = []
    for judged in judges:
        pair = judged.superiority
        assert pair is not None
        row: dict[str, object] = {
            "run": judged.run,
            "rubric": judged.rubric,
            "judge": judged.judge,
            "first": pair.first,
            "second": pair.second,
            "n_both_first": pair.n_both[0],
            "n_both_second": pair.n_both[1],
            "power_first": pair.power[0] if pair.power else None,
            "power_second": pair.power[1] if pair.power else None,
            "note": pair.predicted.note,
        }
        for name in ("predicted", "human_only", "judge_only"):
            row |= flat(name, getattr(pair, name))
        rows.append(row)
        cells.append(
            [
                judged.judge,
                f"{pair.first}, {pair.second}",
                f"{pair.n_both[0]}, {pair.n_both[1]}",
                interval_or_why(pair.predicted),
                interval(pair.human_only),
                interval(pair.judge_only),
            ]
        )
    return Table(
        name="people_pairs",
        caption="Probability of superiority, as people would rate all units",
        frame=pd.DataFrame(rows),
        headings=["judge", "pair", "rated by both", "predicted", "people alone", "judge alone"],
        rows=cells,
        summary=True,
    )


# ------------------------------------------------------------------------------ stand in


def _stand_in_lead(judged: Calibration) -> str:
    return {
        "passes": f"{judged.judge} may stand in for these people.",
        "fails": f"That {judged.judge} may stand in for these people is not shown.",
        "too few": f"Whether {judged.judge} may stand in for people is not known.",
    }[judged.stand_in.answer]


def stand_in_text(judged: Calibration) -> str:
    """Return the alternative annotator test in words: passes, fails, or too few."""
    test = judged.stand_in
    name = f"Alternative annotator test on {judged.rubric}, ε = {number(test.epsilon)}"
    if test.winning_rate is None or test.advantage is None:
        return f"{name}: too few: {test.note}."
    counted = [person for person in test.people if person.p_value is not None]
    won = [person.person for person in counted if person.won]
    left_out = [person.person for person in test.people if person.p_value is None]
    rest = (
        f" {listed(left_out)} rated fewer than {LEAST_UNITS} units that another rated too, and "
        "stay out."
        if left_out
        else ""
    )
    numbers = {person.units for person in counted}
    units = f"the {numbers.pop()} units" if len(numbers) == 1 else "units"
    if judged.drawn is not None:
        rest = f"{rest} Each unit counts alike here, though some were likelier to be drawn."
    weak = (
        " A fail does not show that it is worse: beside three people and 60 units, a judge that is "
        "as good as they are fails more often than not."
        if test.answer == "fails"
        else ""
    )
    shown = f"{len(won)} of {len(counted)} {'person' if len(counted) == 1 else 'people'}"
    return (
        f"{name}: {test.answer}. Each person is set beside the judge, both measured by the other "
        f"people. Against {shown} the judge is shown to come as near to the others as the person "
        "does, less ε, which is what its cost is held to be worth (p ≤ 0.05, adjusted); half of "
        "them or more is a pass. On average it is as near or nearer on "
        f"{percent(test.advantage)} of {units} that both rated.{weak}{rest}"
    )


def _stand_in_table(judges: list[Calibration]) -> Table:
    rows, cells = [], []
    for judged in judges:
        test = judged.stand_in
        rows += [
            {
                "run": judged.run,
                "rubric": judged.rubric,
                "judge": judged.judge,
                "answer": test.answer,
                "winning_rate": test.winning_rate,
                "advantage": test.advantage,
                "epsilon": test.epsilon,
                "person": person.person,
                "units": person.units,
                "judge_share": person.judge_share,
                "person_share": person.person_share,
                "p": person.p_value,
                "adjusted": person.adjusted,
                "won": person.won,
                "note": test.note,
            }
            for person in test.people
        ]
        cells.append(
            [
                judged.judge,
                judged.rubric,
                test.answer + (f": {test.note}" if test.note else ""),
                percent(test.winning_rate),
                percent(test.advantage),
                number(test.epsilon),
            ]
        )
    return Table(
        name="stand_in",
        caption="May the judge stand in for people? Alternative annotator test",
        frame=pd.DataFrame(rows),
        headings=["judge", "rubric", "answer", "winning rate", "as near or nearer", "ε"],
        rows=cells,
        summary=True,
    )


def draw(judged: Calibration) -> Drawing:
    """Return for each source how often each pair of scores was given."""
    names = [name for name in judged.counts if name in judged.primary] or list(judged.counts)[:3]
    levels = judged.levels
    figure = sheet(3.6 * len(names) + 0.6, 3.7)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        counts = judged.counts[name]
        axes.imshow(counts, cmap="Blues", origin="lower", vmin=0, vmax=max(1, counts.max()) * 1.25)
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j]:
                dark = counts[i, j] > 0.6 * counts.max()
                ink = CELL_LIGHT if dark else CELL_DARK
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=ink)
        for k in range(len(levels)):
            axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, edgecolor=MUTED))
        axes.set_xticks(range(len(levels)), [str(level) for level in levels])
        axes.set_yticks(range(len(levels)), [str(level) for level in levels])
        axes.tick_params(length=0)
        axes.set_title(f"{name}, {judged.both[name]} units")
        axes.set_xlabel(judged.judge)
    figure.axes[0].set_ylabel("people")
    headline(figure, "", f"{judged.rubric}, run {judged.run}")
    return figure


def _row(judged: Calibration, predicted: PredictedMean) -> dict[str, object]:
    return {
        "run": judged.run,
        "rubric": judged.rubric,
        "judge": judged.judge,
        "of": predicted.of,
        "n_both": predicted.n_both,
        "n_judge_only": predicted.n_judge_only,
        "judge_mean": predicted.judge_mean,
        "power": predicted.power,
        "correlation": predicted.correlation,
        "effective_n": predicted.effective_n,
        **flat("predicted", predicted.predicted),
        "predicted_text": interval_or_why(predicted.predicted),
        **flat("human_only", predicted.human_only),
        "human_only_text": interval(predicted.human_only),
    }


def interval_or_why(statistic: Statistic) -> str:
    """Return a statistic with its interval, or the reason why there is none."""
    return statistic.note if statistic.value is None else interval(statistic)


def _alt(judged: Calibration) -> str:
    shares = [
        f"{name}: {judged.alike[name]} of {n} units scored alike" for name, n in judged.both.items()
    ]
    return "Counts of people's scores against the judge's. " + "; ".join(shares) + "."
