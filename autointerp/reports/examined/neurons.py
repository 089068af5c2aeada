"""Whether a unit is a few neurons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.examined import Examined, ExaminedUnit
from autointerp.reports.colours import INK, MUTED
from autointerp.reports.examined.words import SHOWN, colour_of, refusals, signed
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import number, percent

TITLE = "Is it a few neurons?"
CHANCE = (("the dictionary", "dictionary_1"), ("random directions", "random_1"))


def show(found: Examined) -> Iterator[Block]:
    lab = "neuron-alignment"
    yield from refusals(found, lab)
    measured = [(one, row) for one in found.units for row in one.rows(lab)]
    if not measured:
        yield Prose("Neurons were not looked at.")
        return
    basis = found.subject.hidden or (found.subject.basis.name if found.subject.basis else "neurons")
    yield Prose(
        f"Neurons here: {basis}. A neuron is on where it exceeds the absolute threshold at the "
        "peaks of all of a unit's strongest contexts, and unusual where it exceeds its own 95 % "
        "quantile at all of them. A dictionary that learned the identity has one neuron a feature: "
        "all of the norm in the largest neuron, as for each unit of neurons here."
    )
    with_shares = [(one, row) for one, row in measured if row["share_1"] is not None]
    if with_shares:
        yield Figure(
            name="neurons",
            caption="Share of a direction's squared norm in its largest neuron: the whole "
            "dictionary and random directions, by their deciles, and the units.",
            alt="; ".join(f"{one.unit}: {percent(row['share_1'])}" for one, row in with_shares)
            + ".",
            draw=lambda: draw_neurons(with_shares),
        )
    yield Table(
        "alignment",
        "Neurons that are on, and how much of a direction's squared norm is in its largest ones",
        pd.DataFrame(
            [
                {
                    "unit": one.unit,
                    **{name: row[name] for name in ("share_1", "share_3", "share_10", "examples",
                                                    "on", "unusual")},
                }
                for one, row in measured
            ]
        ),
        ["unit", "on at all peaks", "unusual at all", "largest 1", "largest 3", "largest 10"],
        [
            [
                one.unit,
                "–" if row["on"] is None else f"{row['on']}",
                "–" if row["unusual"] is None else f"{row['unusual']}",
                *(percent(row[f"share_{k}"]) for k in (1, 3, 10)),
            ]
            for one, row in measured
        ]
        + [
            [
                words,
                "–",
                "–",
                "median " + percent(sides[5]),
                "–",
                "–",
            ]
            for words, name in CHANCE
            if (sides := measured[0][1][name])
        ],
        summary=True,
    )  # fmt: skip
    own = [row for one, row in measured if one is found.unit]
    yield Table(
        "neurons",
        f"{found.unit.unit}: its largest neurons, and those that are unusual at all its peaks; "
        "weight: the component times the unit's maximum",
        pd.DataFrame([{"unit": one.unit, **entry} for one, row in measured
                      for entry in row["neurons"]]),
        ["neuron", "weight", "share", "least at peaks", "mean", "its 95 %", "on", "unusual"],
        [
            [
                entry["neuron"],
                signed(entry["weight"]),
                percent(entry["share"], 1),
                number(entry["least"]),
                number(entry["mean"]),
                number(entry["quantile"]),
                "yes" if entry["on"] else "",
                "yes" if entry["unusual"] else "",
            ]
            for row in own
            for entry in row["neurons"][: 2 * SHOWN]
        ],
    )  # fmt: skip


def draw_neurons(measured: Sequence[tuple[ExaminedUnit, Mapping[str, Any]]]) -> Drawing:
    figure = sheet(8, 3)
    axes = figure.subplots()
    first = measured[0][1]
    shares = np.linspace(0, 100, 11)
    if first["dictionary_1"]:
        axes.plot(first["dictionary_1"], shares, color=INK, label="the whole dictionary")
    axes.plot(first["random_1"], shares, color=MUTED, linestyle="--", label="random directions")
    axes.axvline(1, color=MUTED, linewidth=1, linestyle=":", label="identity: one neuron a feature")
    for place, (one, row) in enumerate(measured):
        axes.scatter([row["share_1"]], [8 + 12 * place], 60, color=colour_of(one), label=one.unit,
                     zorder=3, clip_on=False)  # fmt: skip
    axes.set_xlabel("share of the squared norm in the largest neuron")
    axes.set_ylabel("directions with less, %")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 103)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain_axes(axes, "both")
    headline(figure, "")
    return figure
