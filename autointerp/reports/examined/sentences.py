"""Sentences that were tried on a unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.examined import Examined
from autointerp.reports.examined.words import SHOWN, brief, colour_of, coloured, refusals
from autointerp.reports.panels import Block, Figure, Line, Prose, Table, Texts
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import listed, number, percent
from autointerp.text import ON_PAGE, visible

TITLE = "Sentences that were tried"


def show(found: Examined) -> Iterator[Block]:
    lab = "probe-sentences"
    yield from refusals(found, lab)
    texts = list(dict.fromkeys(row["text"] for one in found.units for row in one.rows(lab)))
    if not texts:
        yield Prose("No sentence was tried; `autointerp examine UNIT --probe TEXT` tries one.")
        return
    own = any(row["own"] for one in found.units for row in one.rows(lab))
    yield Prose(
        (
            "No sentence was given, so each unit is read on its own strongest context, cut off "
            "from what stood before it there. `autointerp examine UNIT --probe TEXT` tries yours. "
            if own
            else "Each sentence is read by itself. "
        )
        + "Colours are shares of the unit's maximum in the run."
    )
    yield Figure(
        name="sentences",
        caption="The largest activation in each sentence, as a share of the unit's maximum.",
        alt="; ".join(
            f"{one.unit}: {listed(percent(row['share']) for row in one.rows(lab)[:SHOWN])}"
            for one in found.units
            if one.rows(lab)
        )
        + ".",
        draw=lambda: draw_sentences(found, texts),
    )
    for one in found.units:
        if one.rows(lab):
            yield Texts(
                f"{one.unit}: activations on every token",
                [
                    Line(
                        str(place),
                        coloured(row["tokens"], row["activations"], one.peak),
                        None,
                        number(row["largest"]),
                    )
                    for place, row in enumerate(one.rows(lab), 1)
                ],
            )
    yield Table(
        "sentences",
        "The largest activation in each sentence, as a share of the unit's maximum",
        pd.DataFrame(
            [
                {
                    "unit": one.unit, "text": row["text"], "place": place, "token": token,
                    "activation": value,
                }
                for one in found.units
                for row in one.rows(lab)
                for place, (token, value) in enumerate(
                    zip(row["tokens"], row["activations"], strict=True)
                )
            ]
        ),
        ["sentence", *(one.unit for one in found.units)],
        [
            [
                visible(text, ON_PAGE),
                *(
                    next((percent(row["share"]) for row in one.rows(lab, text=text)), "–")
                    for one in found.units
                ),
            ]
            for text in texts
        ],
        summary=True,
    )  # fmt: skip


def draw_sentences(found: Examined, texts: Sequence[str]) -> Drawing:
    shown = list(texts)[:20]
    figure = sheet(8, 1.2 + 0.32 * len(shown))
    axes = figure.subplots()
    for one in found.units:
        shares = {row["text"]: row["share"] or 0.0 for row in one.rows("probe-sentences")}
        points = [(100 * shares[text], n) for n, text in enumerate(shown) if text in shares]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, 40, color=colour_of(one), label=one.unit, zorder=3)
    axes.set_yticks(range(len(shown)), [brief(text) for text in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-3, None)
    axes.set_xlabel("% of the unit's maximum")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain_axes(axes, "both")
    headline(figure, "")
    return figure
