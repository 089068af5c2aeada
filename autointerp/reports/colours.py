"""Colours of pictures and of the page: they differ in lightness as well as in hue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autointerp.units.sources import described_sources, kind_of

INK, MUTED, RULE, PAPER = "#1d2129", "#5f6773", "#d5d9e0", "#ffffff"
OTHERS = ("#7a4fb5", "#12877f", "#b8436b", "#6b7d1e")
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
    """Return the style rules that set the colours of sources, lighter on a dark page."""

    def rules(colours: Mapping[str, str]) -> str:
        return ":root { " + " ".join(f"--c{c[1:]}: {v};" for c, v in colours.items()) + " }\n"

    plain = {colour: colour for colour in palette()}
    light = {colour: _lightened(colour) for colour in palette()}
    dark = f"@media screen and (prefers-color-scheme: dark) {{ {rules(light)}}}\n"
    return rules(plain) + dark


def _lightened(colour: str) -> str:
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + LIGHTENED * (255 - part)):02x}" for part in parts)
