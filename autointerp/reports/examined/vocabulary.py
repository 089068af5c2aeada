"""The whole vocabulary around a unit: each token before its context, behind it and alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.examined import Examined, ExaminedUnit
from autointerp.reports.colours import MUTED
from autointerp.reports.examined.words import SHOWN, colour_of, drawn, quoted, refusals, signed
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import listed
from autointerp.text import count

TITLE = "The whole vocabulary around it"
PLACINGS = {
    "prepended": "before the context",
    "appended": "behind the context",
    "alone": "alone",
}


def show(found: Examined) -> Iterator[Block]:
    lab = "vocabulary-probe"
    yield from refusals(found, lab)
    rows = {
        one.unit: [row for row in one.labs.get(lab, ()) if row["placing"]] for one in found.units
    }
    if not any(rows.values()):
        yield Prose("The vocabulary was not probed.")
        return
    first = next(row for held in rows.values() for row in held)
    yield Prose(
        f"Each of {first['vocabulary']:,} tokens of the vocabulary stands once before the unit's "
        "strongest context, once behind it, and once alone. Looked at is the last token of the "
        "text: with a token before the context it is the peak; with one behind, that token, "
        "against the peak; alone, that token, from 0."
    )
    for one in found.units:
        stopped = {row["placing"]: row["probed"] for row in rows[one.unit]
                   if row["probed"] < row["vocabulary"]}  # fmt: skip
        if stopped:
            parts = listed(f"{placing} {n:,}" for placing, n in stopped.items())
            yield Prose(
                f"The probe of {one.unit} was stopped: {parts} of {first['vocabulary']:,} tokens.",
                "Not whole.", "warning",
            )  # fmt: skip
    yield Figure(
        name="vocabulary",
        caption="The largest changes of the last token's activation, as a share of the unit's "
        "maximum; dots: those of the controls at the same rank.",
        alt=". ".join(
            f"{one.unit}: alone {count(_risen_alone(one), 'token')} of "
            f"{first['vocabulary']:,} make it fire"
            for one in found.units
            if rows[one.unit]
        )
        + ".",
        draw=lambda: draw_vocabulary(found),
    )
    yield Table(
        "vocabulary_counts",
        "How many tokens of the vocabulary change a unit, and the strongest of them",
        pd.DataFrame(
            [
                {
                    "unit": one.unit, "placing": placing, "risen": own[0]["risen"],
                    "fallen": own[0]["fallen"], "probed": own[0]["probed"],
                    "text": own[0]["text"], "activation": own[0]["activation"],
                }
                for one in found.units
                for placing in PLACINGS
                if (own := [row for row in rows[one.unit] if row["placing"] == placing])
            ]
        ),
        ["unit", "token", "rise", "fall", "strongest rise", "strongest fall"],
        [
            [
                one.unit,
                PLACINGS[placing],
                f"{own[0]['risen']:,}",
                f"{own[0]['fallen']:,}",
                _strongest(own, "rise"),
                "–" if placing == "appended" else _strongest(own, "fall"),
            ]
            for one in found.units
            for placing in PLACINGS
            if (own := [row for row in rows[one.unit] if row["placing"] == placing])
        ],
        summary=True,
    )  # fmt: skip
    sides = [("prepended", "rise"), ("prepended", "fall"), ("appended", "rise"), ("alone", "rise")]
    best = [
        [row for row in rows[found.unit.unit] if (row["placing"], row["side"]) == side][:SHOWN]
        for side in sides
    ]
    yield Table(
        "vocabulary",
        f"{found.unit.unit}: the tokens that change it most",
        pd.DataFrame(
            [
                {k: v for k, v in row.items() if k not in {"unit_id", "source"}}
                for held in rows.values()
                for row in held
            ]
        ),
        ["rank", *(f"{PLACINGS[placing]}: {side}s" for placing, side in sides)],
        [
            [
                str(rank + 1),
                *(
                    f"{quoted(own[rank]['token'])} {signed(own[rank]['change'])}"
                    if rank < len(own)
                    else ""
                    for own in best
                ),
            ]
            for rank in range(max(map(len, best)))
        ],
    )


def _risen_alone(one: ExaminedUnit) -> int:
    return next(
        (row["risen"] for row in one.labs.get("vocabulary-probe", ()) if row["placing"] == "alone"),
        0,
    )


def _strongest(rows: Sequence[Mapping[str, Any]], side: str) -> str:
    own = [row for row in rows if row["side"] == side and row["rank"] <= 3]
    return ", ".join(f"{quoted(row['token'])} {signed(row['change'])}" for row in own) or "none"


def draw_vocabulary(found: Examined) -> Drawing:
    panels = [("prepended", "rise"), ("prepended", "fall"), ("appended", "rise"), ("alone", "rise")]
    figure = sheet(10, 3.6)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (placing, side) in zip(grid, panels, strict=True):
        for one in reversed(found.units):
            own = one.rows("vocabulary-probe", placing=placing, side=side)[:SHOWN]
            values = [row["change"] / one.peak for row in own] if one.peak > 0 else []
            if one is found.unit:
                axes.barh(range(len(values)), values, 0.75, color=colour_of(one))
                axes.set_yticks(range(len(own)), [drawn(row["token"]) for row in own], fontsize=8)
            else:
                axes.scatter(values, range(len(values)), 12, color=colour_of(one), zorder=3)
        axes.set_ylim(SHOWN - 0.5, -0.5)
        axes.set_title(f"{PLACINGS[placing]}: {'rises' if side == 'rise' else 'falls'}")
        axes.axvline(0, color=MUTED, linewidth=0.8)
        plain_axes(axes, "x")
    headline(figure, "")
    return figure
