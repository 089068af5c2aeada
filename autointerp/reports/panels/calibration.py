"""What people would say of all units, from their ratings of some and a judge's of all (PPI++)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from autointerp.findings.calibration import Calibration, PredictedMean
from autointerp.findings.groups import PRIMARY
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import CELL_DARK, CELL_LIGHT, MUTED, headline, sheet
from autointerp.reports.words import flat, interval, number
from autointerp.stats.results import Statistic

AFTER = "agreement"
TITLE = "Calibration: people and judges"


def show(material: Material) -> list[Block]:
    found = [one for comparison in material.comparisons for one in comparison.calibration]
    if not found:
        return []
    blocks: list[Block] = [
        Prose(
            "The judge's mean over all units is put right by the difference between people and "
            "judge on the units that both rated (prediction-powered inference). It holds however "
            "biased the judge is, provided that the units people rated were drawn at random; it "
            "is narrower than people's ratings alone where the judge is any good. λ is the weight "
            "that the judge gets: 0 leaves it out. Where `plan-humans` drew the units by the "
            "judge's score, each stratum counts by its size, and λ has no part in it."
        )
    ]
    rows = [(one, predicted) for one in found for predicted in one.predictions]
    for place, one in enumerate(found):
        blocks.append(
            Figure(
                name="calibration" + (f"-{place + 1}" if len(found) > 1 else ""),
                caption=f"{one.rubric}: {one.judge} against {', '.join(one.humans)} on the units "
                "that both rated. The number of units in each cell; on the diagonal they agree.",
                alt=_alt(one),
                draw=lambda one=one: draw(one),  # type: ignore[misc]
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
                    one.judge,
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
                for one, predicted in rows
            ],
        )
    )  # fmt: skip
    return blocks


def draw(one: Calibration) -> Drawing:
    """Return for each source how often each pair of scores was given."""
    names = [name for name in one.counts if name in PRIMARY] or list(one.counts)[:3]
    levels = one.levels
    figure = sheet(3.6 * len(names) + 0.6, 3.7)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        counts = one.counts[name]
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
        axes.set_title(f"{name}, {one.both[name]} units")
        axes.set_xlabel(one.judge)
    figure.axes[0].set_ylabel("people")
    headline(figure, "", f"{one.rubric}, run {one.run}")
    return figure


def _row(one: Calibration, predicted: PredictedMean) -> dict[str, object]:
    return {
        "run": one.run,
        "rubric": one.rubric,
        "judge": one.judge,
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


def interval_or_why(found: Statistic) -> str:
    """Return a statistic with its interval, or the reason why there is none."""
    return found.note if found.value is None else interval(found)


def _alt(one: Calibration) -> str:
    shares = [
        f"{name}: {one.alike[name]} of {n} units scored alike" for name, n in one.both.items()
    ]
    return "Counts of people's scores against the judge's. " + "; ".join(shares) + "."
