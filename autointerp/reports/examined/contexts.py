"""Where a unit fires: its strongest contexts, and one of each interval of activation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullLocator

from autointerp.findings.examined import Examined, ExaminedUnit, Shown
from autointerp.reports.examined.words import colour_of, coloured, named
from autointerp.reports.panels import Block, Figure, Heading, Line, Prose, Table, Texts
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import number, share
from autointerp.text import ON_PAGE, count, visible, whole_characters

TITLE = "Where it fires"


def show(found: Examined) -> Iterator[Block]:
    yield Prose(
        "The strongest contexts of each unit among the documents of the split 'explain', then one "
        "drawn at random from each interval of activation there: strong examples alone make a unit "
        "look cleaner than it is. The deeper the colour, the stronger the activation there; the "
        "framed token is the peak. A unit's maximum may be in the other documents."
    )
    yield Figure(
        name="activations",
        caption="Tokens of the corpus by the unit's activation there, in ten equal intervals from "
        "0 to its maximum; logarithmic.",
        alt="; ".join(
            f"{one.unit}: {count(round(sum(one.interval_tokens[5:])), 'token')} of "
            f"{round(sum(one.interval_tokens)):,} in the upper half"
            for one in found.units
        )
        + ".",
        draw=lambda: draw_activations(found),
    )
    for one in found.units:
        yield Heading(named(one))
        if not one.strongest and not one.uniform:
            yield Prose("The run holds no context on which it fires.")
            continue
        yield Texts(
            f"{one.unit}: strongest contexts",
            [_context(one, shown, str(place)) for place, shown in enumerate(one.strongest, 1)],
        )
        width = one.peak / max(1, len(one.interval_tokens))
        yield Texts(
            f"{one.unit}: one context from each interval of activation",
            [
                _context(
                    one,
                    shown,
                    f"{number((shown.interval - 1) * width)}–{number(shown.interval * width)}",
                )
                for shown in reversed(one.uniform)
            ],
        )  # fmt: skip
    rows = [
        {
            "unit": one.unit,
            "kind": "uniform" if shown.interval else "strongest",
            "interval": shown.interval or None,
            "activation": shown.activations[shown.focus],
            "token": shown.tokens[shown.focus],
            "text": "".join(shown.tokens),
        }
        for one in found.units
        for shown in (*one.strongest, *one.uniform)
    ]
    if rows:
        yield Table("contexts", "", pd.DataFrame(rows))
    yield Table(
        "units",
        "The units on the bench",
        pd.DataFrame(
            {
                "unit": [one.unit for one in found.units],
                "density": [one.density for one in found.units],
                "peak": [one.peak for one in found.units],
                "note": [one.note for one in found.units],
                "description": [one.description for one in found.units],
            }
        ),
        ["unit", "fires on", "maximum", "note", "description"],
        [
            [
                one.unit,
                share(one.density),
                number(one.peak, 3),
                visible(one.note, ON_PAGE),
                visible(one.description, ON_PAGE),
            ]
            for one in found.units
        ],
        summary=True,
    )


def _context(one: ExaminedUnit, shown: Shown, label: str) -> Line:
    tokens, values, focus = whole_characters(shown.tokens, shown.activations, shown.focus)
    return Line(
        label,
        coloured(tokens, values or (), one.peak),
        focus,
        number(shown.activations[shown.focus]),
    )


def draw_activations(found: Examined) -> Drawing:
    """Return bars of firing tokens by interval of activation, one picture a unit."""
    figure = sheet(10, 2.6)
    grid = figure.subplots(1, len(found.units), sharey=True, squeeze=False)[0]
    for axes, one in zip(grid, found.units, strict=True):
        tokens = one.interval_tokens
        axes.bar(np.arange(len(tokens)) + 0.5, tokens, 0.9, color=colour_of(one))
    fires = any(sum(one.interval_tokens) for one in found.units)
    for axes, one in zip(grid, found.units, strict=True):
        if fires:  # where all bars are 0, none has a logarithm
            axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
        axes.set_ylim(0.5, None)
        axes.set_title(one.unit)
        axes.set_xlabel("activation, tenths of its maximum")
        plain_axes(axes)
    grid[0].set_ylabel("tokens")
    headline(figure, "")
    return figure
