"""What a unit does to the next token."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.examined import Examined
from autointerp.reports.colours import MUTED
from autointerp.reports.examined.words import colour_of, drawn, quoted, refusals, signed
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import listed, number

TITLE = "What it does to the next token"


def show(found: Examined) -> Iterator[Block]:
    lab = "logit-differences"
    yield from refusals(found, lab)
    if not any(one.rows(lab) for one in found.units):
        yield Prose("Logits were not compared.")
        return
    yield Prose(
        "What the unit adds to the logit of the token that comes next, at the peaks of its "
        "strongest contexts: the logit less that with the unit at 0 there, less the mean over "
        "the vocabulary. The noise is the standard deviation of the same for random directions "
        "of equal norm. The direct path (logit lens) leaves out all that later layers do, and is "
        "in standard deviations over random directions."
    )
    yield Figure(
        name="logits",
        caption="Tokens whose logits a unit changes most by ablation; the grey bar is twice its "
        "noise to either side.",
        alt="; ".join(
            f"{one.unit}: "
            + listed(quoted(row["token"]) for row in one.rows(lab, side="promoted")[:3])
            for one in found.units
            if one.rows(lab)
        )
        + ".",
        draw=lambda: draw_logits(found),
    )
    yield Table(
        "logit_sizes",
        "The largest change of any token's logit, and that of the median random direction of equal "
        "norm",
        pd.DataFrame(
            [{"unit": one.unit, "largest": rows[0]["largest"][0], "random": rows[0]["largest"][1],
              "contexts": rows[0]["contexts"]}
             for one in found.units if (rows := one.rows(lab))]
        ),
        ["unit", "largest", "random direction", "contexts", "promotes", "suppresses"],
        [
            [
                one.unit,
                number(rows[0]["largest"][0]),
                number(rows[0]["largest"][1]),
                f"{rows[0]['contexts']}",
                *(
                    ", ".join(quoted(row["token"]) for row in rows if row["side"] == side)
                    for side in ("promoted", "suppressed")
                ),
            ]
            for one in found.units
            if (rows := one.rows(lab))
        ],
        summary=True,
    )  # fmt: skip
    yield Table(
        "logits",
        f"{found.unit.unit}: by ablation, with the direct path beside it",
        pd.DataFrame(
            [{k: v for k, v in row.items() if k not in {"unit_id", "source", "largest", "outcome"}}
             for one in found.units for row in one.rows(lab)]
        ),
        ["token", "ablation", "noise", "direct path", "rank there"],
        [
            [
                quoted(row["token"]),
                signed(row["ablation"]),
                number(row["noise"]),
                signed(row["lens"], 1),
                "–" if row["lens_rank"] is None else f"{row['lens_rank']:,}",
            ]
            for row in found.unit.rows(lab)
        ],
    )  # fmt: skip


def draw_logits(found: Examined) -> Drawing:
    shown = [one for one in found.units if one.rows("logit-differences")]
    figure = sheet(10, 4.2)
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, one in zip(grid, shown, strict=True):
        up = one.rows("logit-differences", side="promoted")[:8]
        down = one.rows("logit-differences", side="suppressed")[:8]
        rows = [*up, *reversed(down)]
        values = [row["ablation"] for row in rows]
        axes.barh(range(len(rows)), values, 0.75, color=colour_of(one))
        noise = [2 * row["noise"] for row in rows]
        axes.errorbar([0] * len(rows), range(len(rows)), xerr=noise, fmt="none", ecolor=MUTED,
                      elinewidth=3, alpha=0.6)  # fmt: skip
        axes.set_yticks(range(len(rows)), [drawn(row["token"]) for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(one.unit)
        axes.set_xlabel("logit")
        plain_axes(axes, "x")
    headline(figure, "")
    return figure
