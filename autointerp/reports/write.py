"""Comparisons → a report: panels, put together; their pictures and tables as files; a summary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autointerp import extensions
from autointerp.errors import BadInput, UnknownName
from autointerp.files import partial_folder, restore_folder
from autointerp.reports import panels as panels_folder
from autointerp.reports.page import (
    UNITS,
    Panel,
    all_blocks,
    html,
    subtitle,
    themed,
    title,
    units_files,
)
from autointerp.reports.panels import (
    Answer,
    Block,
    Figure,
    Heading,
    Material,
    Prose,
    Table,
    UnitBrowser,
)
from autointerp.reports.words import CODE
from autointerp.store.tables import save_table
from autointerp.text import ON_PAGE, visible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing


PAGE = "index.html"
OWN = re.compile(
    r"index\.html|summary\.md|units(/(index|\d+)\.js)?|figures/[^/]+\.(svg|png|pdf)|tables/[^/]+\.(csv|parquet)"
)


@dataclass(frozen=True)
class Report:
    """A report as it was written.

    Attributes:
        page: index.html.
        warnings: What must be known before anything else, one line each.
        figures: The pictures by name, for a notebook to show.
        tables: The tables by name.
    """

    folder: Path
    page: Path
    material: Material
    panels: tuple[Panel, ...]
    warnings: tuple[str, ...]
    figures: Mapping[str, Drawing] = field(repr=False)
    tables: Mapping[str, pd.DataFrame] = field(repr=False)


def assemble(material: Material) -> tuple[Panel, ...]:
    """Return the panels that have something to say, in the order of the page."""
    modules = {
        name: extensions.load(panels_folder, "panel", name)
        for name in extensions.names(panels_folder)
    }
    panels = []
    for name in in_order({name: module.AFTER for name, module in modules.items()}):
        shown = modules[name].show(material)
        shown = list(shown) if isinstance(shown, tuple | Iterator) else shown
        blocks = tuple(extensions.returned(shown, list, f"panel '{name}': show()"))
        for block in blocks:
            if not isinstance(block, Block):
                raise BadInput(
                    f"panel '{name}': show() returned a list with a value of type "
                    f"{type(block).__name__}; it must hold blocks, such as Prose "
                    "(docs/extending.md)"
                )
        if blocks:
            panels.append(Panel(name, modules[name].TITLE, blocks))
    return tuple(panels)


def in_order(after: Mapping[str, str]) -> list[str]:
    """Return the names of panels in the order of the page.

    A panel stands right behind the one that it names. Where several name the same one, those with
    fewer panels behind them come first, then it goes by name.

    Args:
        after: Panel → the panel that it stands behind; empty for the first.

    Raises UnknownName if there is no such panel, BadInput if panels stand behind one another in a
    circle.
    """
    behind: dict[str, list[str]] = {}
    for name, other in after.items():
        if other and other not in after:
            raise UnknownName("panel", other, after, f"panel '{name}' is to stand behind it")
        behind.setdefault(other, []).append(name)

    def run_of(name: str) -> list[str]:
        runs = sorted((run_of(other) for other in behind.get(name, ())), key=lambda r: (len(r), r))
        return [name, *(later for run in runs for later in run)]

    placed = run_of("")[1:]
    circle = sorted(set(after) - set(placed))
    if circle:
        pairs = ", ".join(f"'{name}' behind '{after[name]}'" for name in circle)
        raise BadInput(f"panels stand behind one another in a circle: {pairs}; change an AFTER")
    return placed


def draw_figures(panels: Sequence[Panel]) -> dict[str, Drawing]:
    """Return the pictures of panels by name, drawn and not written."""
    from autointerp.reports.style import house_style

    drawings = {}
    for block in all_blocks(panels):
        if isinstance(block, Figure):
            with house_style(block.name):
                drawings[block.name] = block.draw()
    return drawings


# ------------------------------------------------------------------------------ files


def check_folder(out: Path) -> None:
    """Raise BadInput if a report cannot go to `out`: a file, or a folder of other things."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give -o a folder")
    if out.is_dir() and any(out.iterdir()) and not _is_report(out):
        raise BadInput(f"{out} holds other things than a report; give -o a folder of its own")


def _is_report(folder: Path) -> bool:
    """Return whether a folder is a report, or what a kill has left of one."""
    if not (folder / PAGE).exists():
        files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
        return all(_is_own(file) for file in files)
    try:
        with (folder / PAGE).open(encoding="utf-8") as page:
            return 'name="generator" content="autointerp' in page.read(2_000)
    except (OSError, UnicodeDecodeError):
        return False


def _is_own(path: Path) -> bool:
    """Return whether a file of a report's folder, named in it, is one that reports write."""
    return OWN.fullmatch(path.as_posix()) is not None


def write(material: Material, out: Path) -> Report:
    """Write the report to the folder `out` and return it.

    Everything is written beside the place where it belongs, then put there in one move; a former
    report is replaced, and other files that lie in its folder are kept. Raises BadInput if `out`
    holds something else, StorageError if it cannot be written.
    """
    panels = assemble(material)
    blocks = all_blocks(panels)
    figures = write_panels(panels, out, title(material), subtitle(material))
    tables = {block.name: block.frame for block in blocks if isinstance(block, Table)}
    warnings = tuple(
        f"{block.lead} {block.text}".strip()
        for block in blocks
        if isinstance(block, Prose) and block.tone == "warning"
    )
    return Report(out, out / PAGE, material, panels, warnings, figures, tables)


def write_panels(
    panels: Sequence[Panel], out: Path, heading: str, beneath: str
) -> dict[str, Drawing]:
    """Write panels to the folder `out` as `write` does; return the pictures by name."""
    from autointerp.reports.style import house_style, save

    remedy = "free some space or give another folder by -o"
    restore_folder(out)
    check_folder(out)
    blocks = all_blocks(panels)
    tables = {block.name: block.frame for block in blocks if isinstance(block, Table)}
    figures, drawings = draw_figures(panels), {}
    shown = {block.name: block for block in blocks if isinstance(block, Figure)}
    with partial_folder(out, _is_own, remedy) as partial:
        for part in ("figures", "tables"):
            (partial / part).mkdir()
        for name, figure in figures.items():
            with house_style(name):
                picture = shown[name]
                svg = save(figure, partial / "figures" / name, picture.caption, picture.alt)
            drawings[name] = themed(svg, name)
        for name, frame in tables.items():
            save_table(frame, partial / "tables" / name)
        for block in blocks:
            if isinstance(block, UnitBrowser) and block.whole is not None:
                (partial / UNITS).mkdir()
                for name, text in units_files(block):
                    (partial / UNITS / name).write_text(text, encoding="ascii")
        (partial / "summary.md").write_text(markdown(heading, beneath, panels), encoding="utf-8")
        (partial / PAGE).write_text(html(heading, beneath, panels, drawings), encoding="utf-8")
    return figures


# ------------------------------------------------------------------------------ summaries


def markdown(heading: str, beneath: str, panels: Sequence[Panel]) -> str:
    """Return the summary to paste: the verdict and the main tables."""
    lines = [f"# {_escaped(heading)}", "", _escaped(beneath), ""]
    for panel in panels:
        for block in panel.blocks:
            if panel.name == "verdict" and isinstance(block, Heading):
                lines += [f"## {_escaped(block.text)}", ""]
            elif isinstance(block, Answer):
                lines += [f"**{_escaped(block.claim)}**", "", f"{_escaped(block.heading)}:", ""]
                lines += [
                    f"- **{_escaped(lead)}** {_escaped(text)}" for lead, text in block.against
                ]
                lines += [""]
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
    if text == "---":
        return text
    text = visible(text.replace("\n", " "), ON_PAGE)
    parts = CODE.split(text)  # what lies between spans, and every second one a span
    parts[::2] = [
        re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", part.replace("&", "&amp;")) for part in parts[::2]
    ]
    return "".join(parts)
