"""What was declared before the first rating, and every look at the ratings since."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from autointerp.findings.comparison import Comparison
from autointerp.findings.looks import Look
from autointerp.reports.look_words import look_table, plan_rows
from autointerp.reports.panels import Block, Material, Prose, Table

AFTER = "sources"
TITLE = "Plan and looks"


def show(material: Material) -> list[Block]:
    blocks = [_plan(comparison, material) for comparison in material.comparisons]
    looks = _by_runs(material)
    if not looks:
        return [block for block in blocks if isinstance(block, Table)]
    several = material.several_runs
    caption, headings, rows = look_table([look for _, look in looks])
    return [
        *blocks,
        Table(
            name="looks",
            caption=caption,
            frame=pd.DataFrame(
                [
                    {"run": run, **asdict(look), "n": _pair(look.n), "asked": _pair(look.asked)}
                    for run, look in looks
                ]
            ),
            headings=[*(["run"] if several else []), *headings],
            rows=[
                [*([run] if several else []), *row]
                for (run, _), row in zip(looks, rows, strict=True)
            ],
            summary=True,
        ),
    ]


def _by_runs(material: Material) -> list[tuple[str, Look]]:
    """Return the looks with the runs whose ledgers hold them: one across runs stands in several."""
    holding: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Look] = {}
    for comparison in material.comparisons:
        for place, look in enumerate(comparison.looks):
            own = "" if look.is_across else f"{comparison.run} {place}"
            holding.setdefault((look.digest, own), []).append(comparison.run)
            first.setdefault((look.digest, own), look)
    return [(", ".join(runs), first[key]) for key, runs in holding.items()]


def _pair(n: tuple[int, int]) -> str:
    return f"{n[0]}+{n[1]}"


def _plan(comparison: Comparison, material: Material) -> Block:
    of = f"Run '{comparison.run}'" if material.several_runs else "This run"
    if comparison.plan is None:
        return Prose(f"{of} is undeclared: it has no plan.")
    rows = plan_rows(comparison.plan)
    return Table(
        name=f"plan-{comparison.run}" if material.several_runs else "plan",
        caption=f"The plan of run '{comparison.run}'",
        frame=pd.DataFrame(rows, columns=["what", "value"]),
        headings=["what", "value"],
        rows=rows,
        summary=True,
    )
