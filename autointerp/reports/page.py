"""Panels → one HTML page that asks for nothing from outside: pictures, script and units inside."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp import __version__
from autointerp.findings.across import AcrossRuns
from autointerp.findings.groups import Judgement
from autointerp.findings.plan import PRIMARY
from autointerp.reports.colours import HEX, colours_css, on_page
from autointerp.reports.panels import Answer, Block, Material, PointMap, UnitBrowser
from autointerp.reports.words import CODE, plural, studied_pair, subject_text
from autointerp.stats.decision import Decision
from autointerp.store.tables import now
from autointerp.text import capital
from autointerp.units.sources import described_sources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = Path(__file__).parent / "assets"
SCRIPTS = (
    "vendor/preact-10.29.8.umd.js",
    "vendor/preact-hooks-10.29.8.umd.js",
    "page.js",
    "browser.js",
)
MAP_SCRIPTS = ("page.js", "map.js")  # of a page with a map, which has no list of units
UNITS = "units"  # folder of files beside the page, each a script that hands over packed values
POINT_PX = 1.38
READABLE_PX = 640  # a wide picture is never shown narrower: its letters would be too small
UNBROKEN = re.compile(
    r"(?:\d+ / )+\d+(?: %)?|\[[^\[\]]{1,24}\]|[\d.,−]*\d (?:%|s|min|h)(?!\w)|&lt; [\d.]*\d"
    r"|\b[\w.]+/\d+-?(?![\w/.])|\b1 in \d[\d,]*"
)


@dataclass(frozen=True)
class Panel:
    """A panel that has something to say of these runs."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def all_blocks(panels: Sequence[Panel]) -> list[Block]:
    """Return the blocks of all panels, in the order of the page; an answer's figure follows it."""
    blocks: list[Block] = []
    for panel in panels:
        for block in panel.blocks:
            blocks.append(block)
            if isinstance(block, Answer):
                blocks.append(block.figure)
    return blocks


@dataclass(frozen=True)
class Served:
    """Addresses of a page that a server gives, where a file would carry the content itself.

    Attributes:
        script: Of `page_script`.
        run, units: Of the run's page, and of its list of units.
    """

    script: str
    run: str
    units: str


def html(
    heading: str,
    beneath: str,
    panels: Sequence[Panel],
    drawings: Mapping[str, str],
    served: Served | None = None,
) -> str:
    """Return the page under a heading; `drawings` are SVGs by name, see `themed`.

    It is a file that needs nothing else, unless it is `served`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["unbroken"] = lambda text: Markup(unbroken(text))
    question, reply = in_two(heading)
    blocks = all_blocks(panels)
    has_map = any(isinstance(block, PointMap) for block in blocks)
    script = page_script(MAP_SCRIPTS if has_map else SCRIPTS)
    packed: dict[str, str] = {}
    has_files = served is None and any(
        isinstance(block, UnitBrowser) and block.whole is not None for block in blocks
    )
    for block in blocks:
        if isinstance(block, UnitBrowser) and served is None:
            packed["index"] = pack(block.index)
            packed.update({str(n): pack(page) for n, page in enumerate(block.pages)})
        if isinstance(block, PointMap):
            kinds = {name: column.dtype.str for name, column in block.columns.items()}
            packed["index"] = pack({**block.index, "columns": kinds})
            packed.update({f"column-{n}": pack_numbers(c) for n, c in block.columns.items()})
            packed.update({str(n): pack(page) for n, page in enumerate(block.pages)})
    return environment.get_template("page.html").render(
        title=heading,
        question=question,
        reply=reply,
        subtitle=beneath,
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
        style=Markup((PAGE / "page.css").read_text("utf-8") + colours_css()),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        packed=packed,
        served=served,
        beside=UNITS if has_files else "",
    )


def in_two(heading: str) -> tuple[str, str]:
    """Return a heading's question and its answer; the whole of one that has no such parts."""
    parts = re.fullmatch(r"(.+?[?:]) (.+\..*)", heading)
    return (parts[1], parts[2]) if parts else (heading, "")


def unbroken(text: str) -> str:
    """Return text as HTML in which no line breaks inside an interval, or before a unit.

    Commands between backticks are set as code.
    """
    from markupsafe import escape

    parts = [str(escape(part)) for part in CODE.split(text)]  # every second one is a command
    parts[::2] = [UNBROKEN.sub(r'<span class="nb">\g<0></span>', part) for part in parts[::2]]
    parts[1::2] = [f"<code>{part.strip('`')}</code>" for part in parts[1::2]]
    return "".join(parts)


def page_script(names: Sequence[str] = SCRIPTS) -> str:
    """Return the page's one script. Its hash stands in the page's policy, so no other can run."""
    parts = [(PAGE / name).read_text("utf-8") for name in names]
    return "\n".join(re.sub(r"^//# sourceMappingURL=.*$", "", part, flags=re.M) for part in parts)


def pack(values: Any) -> str:
    """Return JSON values as gzip in base64: small, and nothing in it can end a script element."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = gzip.compress(text.encode("utf-8", "backslashreplace"), 6, mtime=0)
    return base64.b64encode(packed).decode()


def units_files(browser: UnitBrowser) -> Iterator[tuple[str, str]]:
    """Yield the files that a list of units has beside the page, by name, one at a time.

    They are scripts, since a page that is opened from a disk may read nothing else beside it.
    """
    yield "index.js", f'autointerpUnits("index","{pack(browser.whole)}");\n'
    for number, page in enumerate(browser.beside):
        yield f"{number}.js", f'autointerpUnits("{number}","{pack(page)}");\n'


def pack_numbers(values: NDArray[np.number[Any]]) -> str:
    """Return numbers as gzip in base64, their bytes in the order of the array."""
    return base64.b64encode(gzip.compress(values.tobytes(), 6, mtime=0)).decode()


def title(material: Material) -> str:
    """Return the heading of the page: what was asked of these runs, or what came out."""
    several = [comparison.run for comparison in material.comparisons]
    runs = f" {' + '.join(several)}" if len(several) > 1 else ""  # one is in the subtitle
    judgements = list(material.judgements)
    contrasts = [pair for j in judgements if (pair := studied_pair(j)) is not None]
    pairs = {(contrast.first, contrast.second) for contrast in contrasts}
    held = not any(judgement.fails for judgement in judgements)
    if not pairs and material.across is not None and material.across.family:
        return _title_across(material.across, held)
    if len(pairs) != 1:
        return f"How interpretable are {_studied(judgements, material)}?{runs}"
    held = held and not any(contrast.interim for contrast in contrasts)
    outcomes = {contrast.outcome for contrast in contrasts}
    first, second = (_units_of(name, material) for name in pairs.pop())
    if held and len(outcomes) == 1 and len(contrasts) == len(judgements):
        heading = HEADINGS[outcomes.pop()].format(first=first, second=second)
        fails = [j.baseline for j in judgements if j.baseline and not j.survives_baseline]
        if fails:
            untrained = _units_of(fails[0].second, material)
            alike = all(baseline.outcome == "equivalent" for baseline in fails)
            but = "about as high as" if alike else "that is not shown against"
            heading = f"{heading.rstrip('.')}, but {but} the {untrained}."
        return f"{capital(heading)}{runs}"
    return f"Are the {first} more interpretable than the {second}?{runs}"


def _title_across(across: AcrossRuns, held: bool) -> str:
    """Return the heading of runs that hold the two sides of a contrast between them."""
    contrasts = [contrast for judged in across.judged for contrast in judged.contrasts]
    if len({(c.first.label, c.second.label) for c in contrasts}) > 1:
        return f"Which of these units are more interpretable? {' + '.join(across.runs)}"
    first, second = contrasts[0].first.label, contrasts[0].second.label
    outcomes = {contrast.outcome for contrast in contrasts}
    if held and len(outcomes) == 1:
        heading = HEADINGS[outcomes.pop()].format(first=first, second=second)
        return capital(heading).replace("Are the ", "Are ").replace(" than the ", " than ")
    return f"Are {first} more interpretable than {second}?"


def _studied(judgements: Sequence[Judgement], material: Material) -> str:
    """Return what the units of a report are called: by their source where there is only one."""
    sources = {name for judgement in judgements for name in judgement.sources}
    if len(sources) != 1:
        return "these units"
    (only,) = sources
    if only not in described_sources():  # named by whoever made it: `mine` is no plural
        return f"the units of '{only}'"
    return f"the {_units_of(only, material)}"


# By the outcome of the contrasts, where all raters and runs agree on it.
HEADINGS: dict[Decision, str] = {
    "higher": "Are the {first} more interpretable than the {second}? They score higher.",
    "lower": "Are the {first} more interpretable than the {second}? They score lower.",
    "equivalent": "{first} and {second}: no difference that matters.",
    "not resolved": "{first} against {second}: no difference is resolved.",
}


def _units_of(source: str, material: Material) -> str:
    """Return what the units of a source are called in a heading: neurons only where they are."""
    bases = {comparison.subject.neurons for comparison in material.comparisons}
    (basis,) = bases if len(bases) == 1 else (None,)
    if source == PRIMARY[1] and basis is not None and not basis.are_neurons:
        return basis.name
    return plural(source)[1]


def subtitle(material: Material) -> str:
    """Return what stands under the heading: runs, subjects, raters, explainers."""
    raters = dict.fromkeys(judgement.rater for judgement in material.judgements)
    described = sorted(
        {name for comparison in material.comparisons for name in comparison.explainers}
    )
    made = ", ".join(
        c.run if c.provenance else f"{c.run} of {c.about['run']['made'][:10]}"
        for c in material.comparisons
    )
    rated = f"Rated by {', '.join(raters)}." if raters else "No unit was rated."
    subjects = dict.fromkeys(
        text
        for comparison in material.comparisons
        if (text := subject_text(comparison.subject, brief=True))
    )
    studied = "".join(f" {capital(text)}." for text in together(list(subjects)))
    explained = f" Described by {', '.join(described)}." if described else ""
    return f"Run {made}. {rated}{explained}{studied}"


def together(subjects: Sequence[str]) -> Sequence[str]:
    """Return the subjects as one where they begin alike, such as several SAEs of one model."""
    parts = [text.split("; ") for text in subjects]
    columns = zip(*parts, strict=False)
    alike = [same[0] for same in takewhile(lambda same: len(set(same)) == 1, columns)]
    rests = ["; ".join(one[len(alike) :]) for one in parts]
    if len(subjects) < 2 or not alike or not all(rests):
        return subjects
    return ["; ".join([*alike, ", ".join(rests)])]


def themed(svg: str, name: str) -> str:
    """Return an SVG to stand in the page: its colours follow the theme, its ids are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(rf"{HEX.pattern}\b(?![^<]*\bbase64)", lambda m: on_page(m[0]), svg)
    prefix = re.sub(r"\W", "_", name)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{prefix}-", svg)
    svg = svg.replace('"title description"', f'"{prefix}-title {prefix}-description"', 1)
    opening = re.sub(r' (width|height)="[^"]+"', "", svg[: svg.index(">")])
    box = re.search(r'viewBox="0 0 ([\d.]+) ', opening)
    if box:  # as wide as it was drawn, and on a phone no narrower than can be read
        width = float(box[1]) * POINT_PX
        least = READABLE_PX if width > READABLE_PX else 0
        opening += f' style="max-width: {width:.0f}px; min-width: {least}px"'
    return opening + svg[svg.index(">") :]
