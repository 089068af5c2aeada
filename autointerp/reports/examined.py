"""The page of one unit: where it fires, what moves it, what it is made of, and what it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullLocator

from autointerp.findings.examined import Examined, ExaminedUnit, Shown
from autointerp.reports.colours import INK, MUTED, colour
from autointerp.reports.page import Panel
from autointerp.reports.panels import Block, Figure, Heading, Line, Prose, Table, Texts
from autointerp.reports.style import drawable, headline, plain_axes, sheet
from autointerp.reports.words import listed, number, percent, share, subject_text
from autointerp.reports.write import write_panels
from autointerp.text import ON_PAGE, capital, count, visible, whole_characters

ABLATED = 5  # contexts of the unit whose colours are on the page; of a control:
ABLATED_CONTROL = 2
SHOWN = 10  # rows of a side of a table


def write_examined(found: Examined, out: Path) -> Path:
    """Write the page, its pictures and tables to the folder `out`; return index.html.

    Raises BadInput if `out` holds something else than a report, StorageError if it cannot be
    written.
    """
    unit = found.unit
    heading = f"What does {unit.unit} do?" + (
        f" It is described as “{unit.description}”." if unit.description else ""
    )
    heading = visible(heading, ON_PAGE)
    studied = subject_text(found.subject, brief=True)
    controls = listed(one.unit for one in found.controls)
    beneath = (
        f"Run {found.run}. {capital(studied)}. Fires on "
        f"{share(unit.density)} of {unit.tokens:,} tokens; largest activation "
        f"{number(unit.peak, 3)}."
        + (f" Beside it, in all that follows: {controls}." if controls else " Without a control.")
    )
    write_panels(panels_of(found), out, heading, beneath)
    return out / "index.html"


def panels_of(found: Examined) -> list[Panel]:
    """Return the seven parts of the page."""
    parts = [
        ("contexts", "Where it fires", _contexts),
        ("ablation", "Which tokens make it fire", _ablation),
        ("vocabulary", "The whole vocabulary around it", _vocabulary),
        ("sentences", "Sentences that were tried", _sentences),
        ("neurons", "Is it a few neurons?", _neurons),
        ("logits", "What it does to the next token", _logits),
        ("neighbours", "Its neighbours", _neighbours),
    ]
    panels = [Panel(name, title, tuple(show(found))) for name, title, show in parts]
    return [panel for panel in panels if panel.blocks]


# ------------------------------------------------------------------------------ 1


def _contexts(found: Examined) -> Iterator[Block]:
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
        yield Heading(_named(one))
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
        _coloured(tokens, values or (), one.peak),
        focus,
        number(shown.activations[shown.focus]),
    )


def _coloured(
    tokens: Sequence[str], values: Sequence[float], largest: float
) -> list[tuple[str, int, str]]:
    """Return tokens with the level of their value, -10 to 10 at `largest`, and the value."""
    coloured = []
    for token, value in zip(tokens, values, strict=True):
        level = 0
        if largest > 0 and abs(value) > 0.02 * largest:
            level = max(1, min(10, round(10 * abs(value) / largest))) * (1 if value > 0 else -1)
        coloured.append((visible(token, ON_PAGE), level, number(value, 3) if level else ""))
    return coloured


def draw_activations(found: Examined) -> Drawing:
    """Return bars of firing tokens by interval of activation, one picture a unit."""
    figure = sheet(10, 2.6)
    grid = figure.subplots(1, len(found.units), sharey=True, squeeze=False)[0]
    for axes, one in zip(grid, found.units, strict=True):
        tokens = one.interval_tokens
        axes.bar(np.arange(len(tokens)) + 0.5, tokens, 0.9, color=_colour(one))
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


# ------------------------------------------------------------------------------ 2


def _ablation(found: Examined) -> Iterator[Block]:
    lab = "context-ablation"
    yield from _refusals(found, lab)
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
            f"{one.unit}: without its peak {_percent(_at_distance(one, 'left_out', 0))}, without "
            f"the token before {_percent(_at_distance(one, 'left_out', 1))}"
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
                            _coloured(row["tokens"], row[kind], row["activation"]),
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
                    f"{_percent(_at_distance(one, 'left_out', n))} "
                    f"({_percent(_at_distance(one, 'replaced', n))})"
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
        for kind, face in (("left_out", _colour(one)), ("replaced", "none")):
            points = [
                (-distance, 100 * value)
                for distance in range(reach)
                if (value := _at_distance(one, kind, distance)) is not None
            ]
            if points:
                x, y = zip(*points, strict=True)
                label = one.unit if kind == "left_out" else None
                axes.plot(x, y, color=_colour(one), linewidth=1.2,
                          linestyle="-" if kind == "left_out" else ":")  # fmt: skip
                axes.scatter(
                    x, y, 26, facecolor=face, edgecolor=_colour(one), label=label, zorder=3
                )
    axes.set_xlabel("token, counted from the peak")
    axes.set_ylabel("change, %")
    axes.legend(loc="lower left")
    plain_axes(axes)
    headline(figure, "")
    return figure


# ------------------------------------------------------------------------------ 3

PLACINGS = {
    "prepended": "before the context",
    "appended": "behind the context",
    "alone": "alone",
}


def _vocabulary(found: Examined) -> Iterator[Block]:
    lab = "vocabulary-probe"
    yield from _refusals(found, lab)
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
                    f"{_quoted(own[rank]['token'])} {_signed(own[rank]['change'])}"
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
    return ", ".join(f"{_quoted(row['token'])} {_signed(row['change'])}" for row in own) or "none"


def draw_vocabulary(found: Examined) -> Drawing:
    panels = [("prepended", "rise"), ("prepended", "fall"), ("appended", "rise"), ("alone", "rise")]
    figure = sheet(10, 3.6)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (placing, side) in zip(grid, panels, strict=True):
        for one in reversed(found.units):
            own = one.rows("vocabulary-probe", placing=placing, side=side)[:SHOWN]
            values = [row["change"] / one.peak for row in own] if one.peak > 0 else []
            if one is found.unit:
                axes.barh(range(len(values)), values, 0.75, color=_colour(one))
                axes.set_yticks(range(len(own)), [_drawn(row["token"]) for row in own], fontsize=8)
            else:
                axes.scatter(values, range(len(values)), 12, color=_colour(one), zorder=3)
        axes.set_ylim(SHOWN - 0.5, -0.5)
        axes.set_title(f"{PLACINGS[placing]}: {'rises' if side == 'rise' else 'falls'}")
        axes.axvline(0, color=MUTED, linewidth=0.8)
        plain_axes(axes, "x")
    headline(figure, "")
    return figure


# ------------------------------------------------------------------------------ 4


def _sentences(found: Examined) -> Iterator[Block]:
    lab = "probe-sentences"
    yield from _refusals(found, lab)
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
                        _coloured(row["tokens"], row["activations"], one.peak),
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
            axes.scatter(x, y, 40, color=_colour(one), label=one.unit, zorder=3)
    axes.set_yticks(range(len(shown)), [_brief(text) for text in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-3, None)
    axes.set_xlabel("% of the unit's maximum")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain_axes(axes, "both")
    headline(figure, "")
    return figure


# ------------------------------------------------------------------------------ 5


CHANCE = (("the dictionary", "dictionary_1"), ("random directions", "random_1"))


def _neurons(found: Examined) -> Iterator[Block]:
    lab = "neuron-alignment"
    yield from _refusals(found, lab)
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
                _signed(entry["weight"]),
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
        axes.scatter([row["share_1"]], [8 + 12 * place], 60, color=_colour(one), label=one.unit,
                     zorder=3, clip_on=False)  # fmt: skip
    axes.set_xlabel("share of the squared norm in the largest neuron")
    axes.set_ylabel("directions with less, %")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 103)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain_axes(axes, "both")
    headline(figure, "")
    return figure


# ------------------------------------------------------------------------------ 6


def _logits(found: Examined) -> Iterator[Block]:
    lab = "logit-differences"
    yield from _refusals(found, lab)
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
            + listed(_quoted(row["token"]) for row in one.rows(lab, side="promoted")[:3])
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
                    ", ".join(_quoted(row["token"]) for row in rows if row["side"] == side)
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
                _quoted(row["token"]),
                _signed(row["ablation"]),
                number(row["noise"]),
                _signed(row["lens"], 1),
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
        axes.barh(range(len(rows)), values, 0.75, color=_colour(one))
        noise = [2 * row["noise"] for row in rows]
        axes.errorbar([0] * len(rows), range(len(rows)), xerr=noise, fmt="none", ecolor=MUTED,
                      elinewidth=3, alpha=0.6)  # fmt: skip
        axes.set_yticks(range(len(rows)), [_drawn(row["token"]) for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(one.unit)
        axes.set_xlabel("logit")
        plain_axes(axes, "x")
    headline(figure, "")
    return figure


# ------------------------------------------------------------------------------ 7


def _neighbours(found: Examined) -> Iterator[Block]:
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
                axes.plot([row["rank"] for row in rows], [row[value] for row in rows],
                          color=_colour(one), marker="o", markersize=4, label=one.unit)  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("rank")
        axes.set_ylabel(value)
        axes.set_ylim(0, None)
        plain_axes(axes)
    grid[0].legend()
    headline(figure, "")
    return figure


# ------------------------------------------------------------------------------ words


def _refusals(found: Examined, lab: str) -> Iterator[Block]:
    for one in found.units:
        if reason := one.reason(lab):
            yield Prose(f"{one.unit} was not measured here: {reason}.")


def _named(one: ExaminedUnit) -> str:
    role = " (control)" if one.is_control else ""
    said = f": {one.description}" if one.description else ""
    return visible(f"{one.unit}{role}{said}", ON_PAGE)


def _colour(one: ExaminedUnit) -> str:
    return colour(one.source, [one.source])


def _quoted(token: str | None) -> str:
    return "–" if token is None else f"‘{visible(token, ON_PAGE)}’"


def _drawn(token: str) -> str:
    return f"‘{drawable(token)}’"


def _brief(text: str) -> str:
    shown = drawable(text)
    return shown if len(shown) <= 48 else f"{shown[:47]}…"


def _signed(value: float | None, digits: int = 2) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{_signed(100 * value, 0)} %"
