"""Colours of pictures and of the page: they differ in lightness as well as in hue."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autointerp.units.sources import described_sources, kind_of

INK, MUTED, RULE, PAPER = "#1d2129", "#5f6773", "#d5d9e0", "#ffffff"
# On coloured cells: these two keep their colour in the dark theme, as the cells do.
CELL_DARK, CELL_LIGHT = "#1d2128", "#fefefe"
OTHERS = (
    "#7a4fb5", "#12877f", "#b8436b", "#6b7d1e", "#8a5a2b", "#2aa5d6", "#ea8fb0", "#a5bf3f",
)  # fmt: skip
UNKNOWN = "#8b929d"
# The ink of the house style, which the style sheet sets for each theme.
INKS = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)"}
LIGHTENED = 0.35  # share of white in a source's colour on a dark page
HEX = re.compile(r"#[0-9a-f]{6}")


def colour(source: str, sources: Sequence[str] = ()) -> str:
    """Return a source's colour, the same in every picture of a report.

    `sources` are those of the report that are studied: those without a colour of their own share
    out `OTHERS`.
    """
    own = kind_of(source).colour
    if own:
        return own
    others = [name for name in sources if not kind_of(name).colour]
    return OTHERS[others.index(source) % len(OTHERS)] if source in others else UNKNOWN


def ink_on(colour: str) -> str:
    """Return the ink that can be read on a source's colour, in either theme: white where it has
    4.5 times the contrast that WCAG asks of text, else one that stays dark."""
    return PAPER if _contrast(colour, PAPER) >= 4.5 else CELL_DARK


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two `#rrggbb`, 1 to 21. Source: WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def palette() -> list[str]:
    """Return the colours of sources, as `#rrggbb`: their own, and those that pictures choose."""
    own = [kind.colour for kind in described_sources().values() if HEX.fullmatch(kind.colour)]
    return list(dict.fromkeys([*own, *OTHERS, UNKNOWN]))


def on_page(colour: str) -> str:
    """Return the CSS value of a picture's colour on the page, where it follows the theme."""
    if colour in INKS:
        return INKS[colour]
    return f"var(--c{colour[1:]})" if colour in palette() else colour


def colours_css() -> str:
    """Return the style rule that sets the colours of sources, lighter on a dark page."""
    rules = " ".join(
        f"--c{colour[1:]}: light-dark({colour}, {_lightened(colour)});" for colour in palette()
    )
    return f":root {{ {rules} }}\n"


def _lightened(colour: str) -> str:
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + LIGHTENED * (255 - part)):02x}" for part in parts)
