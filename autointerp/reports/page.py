"""Panels → one HTML page that asks for nothing from outside: pictures, script and units inside."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp import __version__
from autointerp.findings.groups import PRIMARY
from autointerp.reports.panels import Block, Material, UnitBrowser
from autointerp.store.tables import now

PAGE = Path(__file__).parent / "assets"
SCRIPTS = (
    "vendor/preact-10.29.8.umd.js",
    "vendor/preact-hooks-10.29.8.umd.js",
    "browser.js",
)
POINT_PX = 1.38
# Colours of the house style that follow the reader's theme on the page.
THEMED = {
    "#1d2129": "var(--ink)",
    "#5f6773": "var(--muted)",
    "#d5d9e0": "var(--rule)",
    "#ffffff": "var(--paper)",
    "#1f5fbf": "var(--features)",
    "#e08a1e": "var(--neurons)",
    "#4a8f5c": "var(--planted)",
    "#8b929d": "var(--random)",
    "#aab0ba": "var(--shuffled)",
    "#7a4fb5": "var(--other0)",
    "#12877f": "var(--other1)",
    "#b8436b": "var(--other2)",
    "#6b7d1e": "var(--other3)",
}


@dataclass(frozen=True)
class Panel:
    """A panel that has something to say of these runs."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def all_blocks(panels: Sequence[Panel]) -> list[Block]:
    """Return the blocks of all panels, in the order of the page."""
    return [block for panel in panels for block in panel.blocks]


def html(material: Material, panels: Sequence[Panel], drawings: Mapping[str, str]) -> str:
    """Return the page; `drawings` are SVGs by name, see `themed`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined
    )
    script = page_script()
    packed: dict[str, str] = {}
    for block in all_blocks(panels):
        if isinstance(block, UnitBrowser):
            packed["index"] = pack(block.index)
            packed.update({str(n): pack(page) for n, page in enumerate(block.pages)})
    return environment.get_template("page.html").render(
        title=title(material),
        subtitle=subtitle(material),
        version=__version__,
        made=now().strftime("%-d %B %Y"),
        panels=[
            {
                "name": panel.name,
                "title": panel.title,
                "blocks": [(type(block).__name__, block) for block in panel.blocks],
            }
            for panel in panels
        ],
        drawings={name: Markup(svg) for name, svg in drawings.items()},
        style=Markup((PAGE / "page.css").read_text("utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        packed=packed,
    )


def page_script() -> str:
    """Return the page's one script. Its hash stands in the page's policy, so no other can run."""
    parts = [(PAGE / name).read_text("utf-8") for name in SCRIPTS]
    return "\n".join(re.sub(r"^//# sourceMappingURL=.*$", "", part, flags=re.M) for part in parts)


def pack(values: Any) -> str:
    """Return JSON values as gzip in base64: small, and nothing in it can end a script element."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = gzip.compress(text.encode("utf-8", "backslashreplace"), 6, mtime=0)
    return base64.b64encode(packed).decode()


def title(material: Material) -> str:
    """Return the heading of the page: the question that it answers."""
    runs = [comparison.run for comparison in material.comparisons]
    sources = list(dict.fromkeys(s for j in material.judgements for s in j.sources))
    if sources[:2] == list(PRIMARY):
        return f"Are the features more interpretable than the neurons? {' + '.join(runs)}"
    return f"How interpretable are these units? {' + '.join(runs)}"


def subtitle(material: Material) -> str:
    """Return what stands under the heading: runs, raters, explainers."""
    raters = dict.fromkeys(judgement.rater for judgement in material.judgements)
    described = sorted({name for one in material.comparisons for name in one.explainers})
    made = ", ".join(
        c.run if c.provenance else f"{c.run} of {c.about['run']['made'][:10]}"
        for c in material.comparisons
    )
    rated = f"Rated by {', '.join(raters)}." if raters else "No unit was rated."
    return f"Run {made}. {rated}" + (f" Described by {', '.join(described)}." if described else "")


def themed(svg: str, name: str) -> str:
    """Return an SVG to stand in the page: its colours follow the theme, its ids are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"#[0-9a-f]{6}\b(?![^<]*\bbase64)", lambda m: THEMED.get(m[0], m[0]), svg)
    prefix = re.sub(r"\W", "_", name)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{prefix}-", svg)
    opening = re.sub(r' (width|height)="[^"]+"', "", svg[: svg.index(">")])
    box = re.search(r'viewBox="0 0 ([\d.]+) ', opening)
    if box:  # as wide as it was drawn, and on a phone no narrower than can be read
        width = float(box[1]) * POINT_PX
        opening += f' style="max-width: {width:.0f}px; min-width: {min(640.0, width):.0f}px"'
    return opening + svg[svg.index(">") :]
