"""Panels → a report: one page, its pictures and tables as files, a summary to paste."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp import __version__, extensions
from autointerp.errors import BadInput
from autointerp.files import partial_folder
from autointerp.findings.comparison import compare, estimate_rows
from autointerp.people.ingest import ingest_journals
from autointerp.questions.explain import explainers
from autointerp.reports import panels as panels_folder
from autointerp.reports.panels import Block, Figure, Heading, Material, Prose, Table, UnitBrowser
from autointerp.store.run import RUNS, Run, open_run
from autointerp.store.tables import now, save_table

REPORTS = Path("reports")
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


@dataclass(frozen=True)
class Report:
    """A report as it was written.

    Attributes:
        page: index.html.
        warnings: What must be known before anything else, one line each.
    """

    folder: Path
    page: Path
    material: Material
    panels: tuple[Panel, ...]
    warnings: tuple[str, ...]


def report(
    runs: Sequence[str],
    out: Path | None = None,
    units_shown: int = 2_000,
    folder: Path = RUNS,
) -> Report:
    """Write the report of one run, or of several side by side, and return it.

    The estimates are stored in each run as well, where it can be written.

    Args:
        out: Folder to write; None for reports/RUN, or reports/RUN+RUN.
        units_shown: Units at most whose contexts the page carries.

    Raises UnknownName if a run is not there, TooFewRatings if nothing was asked in it, BadInput if
    `out` holds something else than a report, StorageError if it cannot be written.
    """
    names = list(dict.fromkeys(runs))
    out = out or REPORTS / "+".join(names)
    _check_out(out)
    opened = [_open(name, folder) for name in names]
    try:
        comparisons = []
        for run, writable in opened:
            if writable:
                ingest_journals(run)  # what people rated since
            comparison = compare(run)
            if writable:
                run.replace_estimates(estimate_rows(comparison))
            comparisons.append(comparison)
        material = Material(tuple(comparisons), tuple(run for run, _ in opened), units_shown)
        shown = assemble(material)
        return _write(out, material, shown)
    finally:
        for run, _ in opened:
            run.close()


def assemble(material: Material) -> tuple[Panel, ...]:
    """Return the panels that have something to say, in the order of the page."""
    found = []
    for name in extensions.names(panels_folder):
        module = extensions.load(panels_folder, "panel", name)
        blocks = tuple(module.show(material))
        if blocks:
            found.append((module.ORDER, Panel(name, module.TITLE, blocks)))
    return tuple(panel for _, panel in sorted(found, key=lambda pair: (pair[0], pair[1].name)))


def _open(name: str, folder: Path) -> tuple[Run, bool]:
    """Return a run and whether it can be written; a run on a read-only disk is still read."""
    file = folder / name / "run.duckdb"
    writable = not file.exists() or (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))
    return open_run(name, folder=folder, read_only=not writable), writable


# ------------------------------------------------------------------------------ files


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give -o a folder")
    if out.is_dir() and any(out.iterdir()) and not _is_report(out):
        raise BadInput(f"{out} holds other things than a report; give -o a folder of its own")


def _is_report(folder: Path) -> bool:
    try:
        with (folder / "index.html").open(encoding="utf-8") as page:
            return 'name="generator" content="autointerp' in page.read(2_000)
    except (OSError, UnicodeDecodeError):
        return False


def _write(out: Path, material: Material, panels: tuple[Panel, ...]) -> Report:
    """Write everything beside the place where it belongs, then put it there in one move."""
    with partial_folder(out, "free some space or give another folder by -o") as partial:
        for part in ("figures", "tables"):
            (partial / part).mkdir()
        drawings = {
            block.name: _draw(block, partial / "figures")
            for block in _blocks(panels)
            if isinstance(block, Figure)
        }
        for block in _blocks(panels):
            if isinstance(block, Table):
                save_table(block.frame, partial / "tables" / block.name)
        (partial / "summary.md").write_text(markdown(material, panels), encoding="utf-8")
        (partial / "index.html").write_text(_page(material, panels, drawings), encoding="utf-8")
    warnings = tuple(
        f"{block.lead} {block.text}".strip()
        for block in _blocks(panels)
        if isinstance(block, Prose) and block.tone == "warning"
    )
    return Report(out, out / "index.html", material, panels, warnings)


def _blocks(panels: Sequence[Panel]) -> list[Block]:
    return [block for panel in panels for block in panel.blocks]


def _draw(figure: Figure, folder: Path) -> str:
    """Save a picture as PNG and SVG; return the SVG as the page carries it."""
    from autointerp.reports.style import house_style, save

    with house_style(figure.name):
        svg = save(figure.draw(), folder / figure.name)
    return themed(svg, figure.name)


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


# ------------------------------------------------------------------------------ the page


def _page(material: Material, panels: Sequence[Panel], drawings: dict[str, str]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined
    )
    script = page_script()
    packed: dict[str, str] = {}
    for block in _blocks(panels):
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
    runs = [comparison.run for comparison in material.comparisons]
    sources = list(dict.fromkeys(s for j in material.judgements for s in j.sources))
    if sources[:2] == ["features", "neurons"]:
        return f"Are the features more interpretable than the neurons? {' + '.join(runs)}"
    return f"How interpretable are these units? {' + '.join(runs)}"


def subtitle(material: Material) -> str:
    raters = dict.fromkeys(judgement.rater for judgement in material.judgements)
    described = sorted({name for run in material.runs for name in explainers(run)})
    made = ", ".join(
        c.run if c.provenance else f"{c.run} of {c.about['run']['made'][:10]}"
        for c in material.comparisons
    )
    told = f"Run {made}."
    told += f" Rated by {', '.join(raters)}." if raters else " No unit was rated."
    return told + (f" Described by {', '.join(described)}." if described else "")


# ------------------------------------------------------------------------------ summaries


def markdown(material: Material, panels: Sequence[Panel]) -> str:
    """Return the summary to paste: the verdict and the main tables."""
    lines = [f"# {title(material)}", "", subtitle(material), ""]
    for panel in panels:
        for block in panel.blocks:
            if panel.name == "verdict" and isinstance(block, Heading):
                lines += [f"## {_escaped(block.text)}", ""]
            elif panel.name == "verdict" and isinstance(block, Prose):
                lead = f"**{_escaped(block.lead)}** " if block.lead else ""
                lines += [lead + _escaped(block.text), ""]
            elif isinstance(block, Table) and block.summary:
                lines += [_escaped(block.caption) + ":", "", *_markdown_table(block), ""]
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    rows = [table.headings, ["---"] * len(table.headings), *table.rows]
    return ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", text) if text != "---" else text
