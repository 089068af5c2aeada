"""A report in the terminal: warnings, the finding, wins and losses, histograms side by side."""

from __future__ import annotations

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Contrast, Judgement
from autointerp.findings.groups import Group as Scored
from autointerp.reports.answer import answer
from autointerp.reports.look_words import COMMON, look_table, when
from autointerp.reports.panels import Material
from autointerp.reports.panels.across import nested_text
from autointerp.reports.panels.calibration import people_lines
from autointerp.reports.panels.verdict import doubts, pooled_text, verdict
from autointerp.reports.words import label, number, percents, run_finding
from autointerp.reports.write import Report
from autointerp.text import count, visible
from autointerp.units.sources import kind_of

LABEL, CONTROL, GAP = 18, 8, 1
NARROW = 10  # a studied source's column, at least: a bar of 4, and a share
MOST_CONTRASTS = 12


def print_summary(report: Report, console: Console) -> None:
    """Print the report in short, and its place."""
    material = report.material
    for judgement in material.judgements:
        for doubt in doubts(judgement):
            console.print(
                Panel(
                    Text.assemble((visible(doubt.lead) + " ", "bold"), visible(doubt.text)),
                    style="red",
                )
            )
    first_screen = answer(material) if len(list(material.judgements)) > 1 else None
    if first_screen is not None:
        console.print(Padding(Text(visible(first_screen.claim), style="bold"), (1, 0)))
    for judgement in material.judgements:
        console.print(summary(judgement, material, console.width))
    for line in people_lines_of(material):
        console.print(Padding(Text(visible(line), style="dim"), (0, 0, 1, 0)))
    if not any(True for _ in material.judgements):
        for text in report.warnings:
            console.print(Text(visible(text), style="yellow"))
    for line, style in across_lines(material):
        console.print(Text(visible(line), style=style))
    for comparison in material.comparisons:
        if comparison.looks or comparison.plan is not None:
            console.print(looks(comparison, material))
    page = report.page.resolve()
    where = f"[link={page.as_uri()}]{escape(visible(str(report.page)))}[/link]"
    console.print(f"report: {where}", soft_wrap=True)


def people_lines_of(material: Material) -> list[str]:
    """Return what the raters of a run say together, and what people say of its judges."""
    lines = []
    for comparison in material.comparisons:
        lines += [f"All raters. {pooled_text(pooled)}" for pooled in comparison.pooled]
        lines += [line for judged in comparison.calibration for line in people_lines(judged)]
    return lines


def across_lines(material: Material) -> list[tuple[str, str]]:
    """Return what several runs say of one another, a line each with its style."""
    if material.across is None:
        return []
    lines: list[tuple[str, str]] = []
    for judged in material.across.judged:
        if judged.contrasts or judged.nested:
            lines.append((f"across runs · {judged.rubric} · {judged.rater}", "bold dim"))
        lines += [(run_finding(contrast), "bold") for contrast in judged.contrasts[:MOST_CONTRASTS]]
        more = len(judged.contrasts) - MOST_CONTRASTS
        if more > 0:
            lines.append((f"… and {count(more, 'more contrast')} on the page", "dim"))
        lines += [(nested_text(nested), "dim") for nested in judged.nested]
        lines += [(f"not the same in all runs: {d.what}", "yellow")
                  for d in judged.differences if d.weight == "caution"]  # fmt: skip
        lines += [(f"not compared: {out.why}", "yellow") for out in judged.left_out]
    lines += [(f"not compared: {out.why}", "yellow") for out in material.across.left_out]
    return lines


def summary(judgement: Judgement, material: Material, width: int) -> RenderableType:
    """Return one judgement for a terminal of so many columns: the finding, then the histograms."""
    paragraphs = verdict(judgement, material)
    parts: list[RenderableType] = [
        Text(visible(label(judgement, material)), style="bold dim"),
        Text(visible(paragraphs[0].lead), style="bold"),
        Text(visible(paragraphs[0].text), style="dim"),
        *check_lines(judgement),
        *(
            Text(visible(f"{paragraph.lead} {paragraph.text}"), style="yellow")
            for paragraph in paragraphs
            if paragraph.tone == "warning"
        ),
    ]
    if judgement.decisive is not None:
        parts.append(Padding(pairs_bar(judgement.decisive, width), (1, 0, 0, 0)))
    shown, more = fitting(judgement, width)
    rest = [Text(f"… and {count(more, 'more source')} on the page", style="dim")] if more else []
    return Group(*parts, Padding(Group(histograms(judgement, shown, width), *rest), (1, 0)))


def check_lines(judgement: Judgement) -> list[Text]:
    """Return how the rater did on planted units, where it was tried."""
    if judgement.check is None:
        return []
    return [Text(visible(f"{judgement.rater} on planted units: {judgement.check}"), style="dim")]


def looks(comparison: Comparison, material: Material) -> RenderableType:
    """Return a run's plan in a line, and its ledger of looks as a table."""
    plan = comparison.plan
    of = f" of {comparison.run}" if material.several_runs else ""
    line = (
        f"plan{of}: none, undeclared"
        if plan is None
        else f"plan{of}: sha256 {plan.digest}, {when(plan.made_at)}; {plan.stopping}"
    )
    caption, headings, rows = look_table(comparison.looks)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    for heading in headings:
        # Names differ at their ends: those are not cut.
        table.add_column(heading, style="dim", overflow="fold" if heading in COMMON else "ellipsis")
    for row in rows:
        table.add_row(*map(escape, row))
    told: list[RenderableType] = [Text(line, style="dim")]
    if rows:
        told += [Text(caption, style="dim"), table]
    return Padding(Group(*told), (0, 0, 1, 0))


def pairs_bar(contrast: Contrast, width: int) -> RenderableType:
    """Return wins, ties and losses as one bar of three colours, with the shares under it."""
    cells = min(width, 100)
    shares = [share.value or 0.0 for share in
              (contrast.pairs.wins, contrast.pairs.ties, contrast.pairs.losses)]  # fmt: skip
    ends = [round(cells * sum(shares[: place + 1])) for place in range(3)]
    colours = [_colour(contrast.first), "grey50", _colour(contrast.second)]
    bar = Text()
    for begin, end, colour in zip([0, *ends], ends, colours, strict=False):
        bar.append("█" * (end - begin), style=colour)
    wins, ties, losses = percents(shares)
    text = f"{contrast.first} win {wins} · ties {ties} · {contrast.second} win {losses} of pairs"
    return Group(bar, Text(visible(text), style="dim"))


def _colour(source: str) -> str:
    return kind_of(source).colour or "magenta"


def fitting(judgement: Judgement, width: int) -> tuple[list[Scored], int]:
    """Return the groups whose histograms go beside one another in so many columns, and how many of
    the studied ones are left out: the pair that the verdict speaks of comes first."""
    controls = [group for group in judgement.groups.values() if group.is_control]
    pair = (judgement.verdict.first, judgement.verdict.second)
    studied = sorted(
        (group for group in judgement.groups.values() if not group.is_control),
        key=lambda group: group.source not in pair,
    )
    most = max(2, _room(controls, width) // (NARROW + GAP))
    return [*studied[:most], *controls], max(0, len(studied) - most)


def _room(controls: list[Scored], width: int) -> int:
    """Return the columns that labels and controls leave."""
    return width - LABEL - GAP - len(controls) * (CONTROL + GAP)


def histograms(judgement: Judgement, groups: list[Scored], width: int) -> Table:
    """Return the score histograms of groups, same bins, one beside the other."""
    controls = [group for group in groups if group.is_control]
    studied = len(groups) - len(controls)
    wide = min(34, max(NARROW, _room(controls, width) // max(1, studied) - GAP))
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    table.add_column("score", no_wrap=True, width=LABEL)
    for group in groups:
        source, mean = escape(visible(group.source)), _mean(group)
        table.add_column(
            f"[dim]{source}\n{mean[5:]}[/dim]"
            if group.is_control
            else f"{source}, n {group.n}\n[dim]{mean}[/dim]",
            width=wide if not group.is_control else CONTROL,
            overflow="fold",
        )
    shares = {group.source: percents(group.shares) for group in groups}
    for place, (score, text) in enumerate(judgement.scale.levels):
        cells: list[RenderableType] = [
            f"{score} [dim]{escape(visible(_short(text.split(':')[0])))}[/dim]"
        ]
        for group in groups:
            text = (shares[group.source][place] if group.n else "–").rjust(5)
            cells.append(
                Text(text, style="dim")
                if group.is_control
                else _bar(float(group.shares[place]), text, group.source, wide)
            )
        table.add_row(*cells)
    lost = [group.lost for group in groups]
    if any(lost):
        table.add_row("[dim]no score[/dim]", *(f"[dim]{n}[/dim]" for n in lost))
    return table


def _mean(group: Scored) -> str:
    return f"mean {number(group.mean.value)}"


def _bar(share: float, text: str, source: str, width: int) -> RenderableType:
    """Return a bar of `share` of the width, with `text` beside it."""
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(
        Bar(1.0, 0.0, share, width=width - 6, color=_colour(source)),
        Text(text, style="dim"),
    )
    return row


def _short(text: str) -> str:
    """Return the text, cut with an ellipsis where it is too long for the column of labels."""
    most = LABEL - 3
    return text if len(text) <= most else text[: most - 1] + "…"
