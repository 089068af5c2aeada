"""The mean that the people who rated some units would give all of them (PPI++)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from autointerp.findings.calibration import Calibration, PredictedMean
from autointerp.findings.plan import PRIMARY
from autointerp.reports.colours import MUTED
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import CELL_DARK, CELL_LIGHT, headline, sheet
from autointerp.reports.words import flat, interval, listed, number
from autointerp.stats.results import Statistic

AFTER = "agreement"
TITLE = "Calibration: people and judges"


def show(material: Material) -> list[Block]:
    judges = [judged for comparison in material.comparisons for judged in comparison.calibration]
    if not judges:
        return []
    people = list(dict.fromkeys(name for judged in judges for name in judged.humans))
    blocks: list[Block] = [
        Prose(
            "The judge's mean over all units is corrected by the difference between people and "
            "judge on the units that both rated (prediction-powered inference). It predicts the "
            f"mean that {listed(people)} would give all units, and not what other people would: "
            "how people differ from one another is not in the interval. It holds however "
            "biased the judge is, provided that the units people rated were drawn at random; it "
            "is narrower than people's ratings alone where the judge is any good. λ is the weight "
            "that the judge gets: 0 leaves it out. Where `plan-humans` drew the units by the "
            "judge's score, each stratum counts by its size, and λ has no part in it."
        )
    ]
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
    return blocks


def draw(judged: Calibration) -> Drawing:
    """Return for each source how often each pair of scores was given."""
    names = [name for name in judged.counts if name in PRIMARY] or list(judged.counts)[:3]
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
