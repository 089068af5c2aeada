"""Which tokens make a unit fire: each is left out, and replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.examined import Examined, ExaminedUnit
from autointerp.reports.colours import MUTED
from autointerp.reports.examined.words import colour_of, coloured, refusals, signed_percent
from autointerp.reports.panels import Block, Figure, Line, Prose, Table, Texts
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import number
from autointerp.text import ON_PAGE, visible

TITLE = "Which tokens make it fire"

ABLATED = 5  # contexts of the unit whose colours are on the page; of a control:
ABLATED_CONTROL = 2


def show(found: Examined) -> Iterator[Block]:
    lab = "context-ablation"
    yield from refusals(found, lab)
    if not any(one.rows(lab) for one in found.units):
        yield Prose("Contexts were not ablated.")
        return
    neutral = next(row["neutral"] for one in found.units for row in one.rows(lab))
    yield Prose(
        "Each token of a context is left out in turn, and the activation at the peak is read "
        "again. Blue: it falls without the token, which made it fire; amber: it rises. A token is "
        "left out, not zeroed, so what follows moves forward by one position, the peak too, and is "
        "followed there; where the peak itself is left out, the token that then ends the text is "
        f"looked at. Replacing by {visible(repr(neutral), ON_PAGE)} keeps all positions. BOS and "
        "what stands before the context stay; what stands behind the peak cannot change it."
    )
    reach = max(len(row["tokens"]) for one in found.units for row in one.rows(lab))
    yield Figure(
        name="ablation",
        caption="Mean change of the activation at the peak, as a share of it, by the token's "
        "distance from the peak: left out (filled) and replaced (hollow).",
        alt="; ".join(
            f"{one.unit}: without its peak {signed_percent(_at_distance(one, 'left_out', 0))}, "
            f"without the token before {signed_percent(_at_distance(one, 'left_out', 1))}"
            for one in found.units
            if one.rows(lab)
        )
        + ".",
        draw=lambda: draw_ablation(found, reach),
    )
    for one in found.units:
        rows = one.rows(lab)[: ABLATED if one is found.unit else ABLATED_CONTROL]
        for kind, words in (("left_out", "left out"), ("replaced", "replaced")):
            if rows:
                yield Texts(
                    f"{one.unit}: each token {words}",
                    [
                        Line(
                            str(place),
                            coloured(row["tokens"], row[kind], row["activation"]),
                            len(row["tokens"]) - 1,
                            number(row["activation"]),
                        )
                        for place, row in enumerate(rows, 1)
                    ],
                )
    distances = range(min(reach, 6))
    yield Table(
        "ablation",
        "Mean change of the activation at the peak where the token so far before it is left out; "
        "replaced in brackets",
        pd.DataFrame(
            [
                {
                    "unit": one.unit, "context": row["context"], "distance": len(row["tokens"]) - 1
                    - place, "token": token, "activation": row["activation"],
                    "left_out": row["left_out"][place], "replaced": row["replaced"][place],
                }
                for one in found.units
                for row in one.rows(lab)
                for place, token in enumerate(row["tokens"])
            ]
        ),
        ["unit", *("peak" if n == 0 else f"{n} before" for n in distances)],
        [
            [
                one.unit,
                *(
                    f"{signed_percent(_at_distance(one, 'left_out', n))} "
                    f"({signed_percent(_at_distance(one, 'replaced', n))})"
                    for n in distances
                ),
            ]
            for one in found.units
            if one.rows(lab)
        ],
        summary=True,
    )  # fmt: skip


def _at_distance(one: ExaminedUnit, kind: str, distance: int) -> float | None:
    """Return the mean change, as a share of the activation, at a distance from the peak."""
    shares = [
        row[kind][len(row["tokens"]) - 1 - distance] / row["activation"]
        for row in one.rows("context-ablation")
        if len(row["tokens"]) > distance and row["activation"] > 0
    ]
    return sum(shares) / len(shares) if shares else None


def draw_ablation(found: Examined, reach: int) -> Drawing:
    figure = sheet(8, 3.2)
    axes = figure.subplots()
    axes.axhline(0, color=MUTED, linewidth=0.8)
    for one in found.units:
        for kind, face in (("left_out", colour_of(one)), ("replaced", "none")):
            points = [
                (-distance, 100 * value)
                for distance in range(reach)
                if (value := _at_distance(one, kind, distance)) is not None
            ]
            if points:
                x, y = zip(*points, strict=True)
                label = one.unit if kind == "left_out" else None
                axes.plot(x, y, color=colour_of(one), linewidth=1.2,
                          linestyle="-" if kind == "left_out" else ":")  # fmt: skip
                axes.scatter(
                    x, y, 26, facecolor=face, edgecolor=colour_of(one), label=label, zorder=3
                )
    axes.set_xlabel("token, counted from the peak")
    axes.set_ylabel("change, %")
    axes.legend(loc="lower left")
    plain_axes(axes)
    headline(figure, "")
    return figure
