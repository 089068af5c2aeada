"""The neighbours of a unit: by direction, and by firing on the same tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.examined import Examined
from autointerp.reports.examined.words import colour_of
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import number, share
from autointerp.text import ON_PAGE, visible

TITLE = "Its neighbours"


def show(found: Examined) -> Iterator[Block]:
    lab = "neighbours"
    for kind, words in (("nearest", "nearest units"), ("together", "units that fire together")):
        for one in found.units:
            if reason := one.reason(lab, kind=kind):
                yield Prose(f"{one.unit} has no {words}: {reason}.")
    if not any(one.rows(lab) for one in found.units):
        return
    yield Prose(
        "The nearest directions by cosine, and the units that fire on the same tokens, by the "
        "correlation of firing (phi) on the first tokens of the corpus."
    )
    yield Figure(
        name="neighbours",
        caption="Cosines of the nearest directions, and phi of those that fire together, by rank.",
        alt="; ".join(
            f"{one.unit}: nearest cosine {number(rows[0]['cosine'])}"
            for one in found.units
            if (rows := one.rows(lab, kind="nearest"))
        )
        + ".",
        draw=lambda: draw_neighbours(found),
    )
    frame = pd.DataFrame(
        [{**{k: v for k, v in row.items() if k not in {"unit_id", "source", "outcome"}},
          "description": found.descriptions.get(row["neighbour"])}
         for one in found.units for row in one.rows(lab)]
    )  # fmt: skip
    for kind, name, caption in (
        ("nearest", "nearest", "nearest by cosine"),
        ("together", "together", "fire on the same tokens"),
    ):
        listed_rows = [
            (one, row)
            for one in found.units
            for row in one.rows(lab, kind=kind)
            if one is found.unit or row["rank"] <= 3
        ]
        if not listed_rows:
            continue
        yield Table(
            f"neighbours_{name}",
            f"{found.unit.unit} and the units that {caption}"
            if kind == "together"
            else f"{found.unit.unit} and its {caption}; of each control the first 3",
            frame[frame.kind == kind].drop(columns="kind"),
            ["unit", "neighbour", "cosine"]
            + (["phi", "of its tokens", "of all"] if kind == "together" else [])
            + ["description"],
            [
                [
                    one.unit,
                    row["neighbour"],
                    number(row["cosine"]),
                    *(
                        [number(row["phi"]), share(row["share"]), share(row["usual"])]
                        if kind == "together"
                        else []
                    ),
                    visible(found.descriptions.get(row["neighbour"], ""), ON_PAGE),
                ]
                for one, row in listed_rows
            ],
        )


def draw_neighbours(found: Examined) -> Drawing:
    figure = sheet(8, 2.8)
    grid = figure.subplots(1, 2, squeeze=False)[0]
    for axes, kind, value, title in (
        (grid[0], "nearest", "cosine", "nearest"),
        (grid[1], "together", "phi", "fire together"),
    ):
        for one in found.units:
            rows = one.rows("neighbours", kind=kind)
            if rows:
                ranks, values = ([row[key] for row in rows] for key in ("rank", value))
                colour = colour_of(one)
                axes.plot(ranks, values, color=colour, marker="o", markersize=4, label=one.unit)
        axes.set_title(title)
        axes.set_xlabel("rank")
        axes.set_ylabel(value)
        axes.set_ylim(0, None)
        plain_axes(axes)
    grid[0].legend()
    headline(figure, "")
    return figure
