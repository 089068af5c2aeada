"""What the ratings cost: calls, tokens, money and time."""

from __future__ import annotations

import pandas as pd

from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.text import dollars

AFTER = "unrated"
TITLE = "Cost and time"


def show(material: Material) -> list[Block]:
    frames = [comparison.cost.assign(run=comparison.run) for comparison in material.comparisons]
    cost = pd.concat(frames, ignore_index=True)
    if cost.empty:
        return []
    several = material.several_runs
    return [
        Prose(
            "A call is counted once and its attempts singly. Cost is known only where the rater "
            "has a price; a dash is not zero."
        ),
        Table(
            name="cost",
            caption="Calls by rater",
            frame=cost,
            headings=[
                *(["run"] if several else []),
                "rater", "calls", "attempts", "errors", "tokens in", "tokens out", "US dollars",
                "latency, median s", "95 % under s", "first to last",
            ],
            rows=[
                [
                    *([row.run] if several else []),
                    row.rater,
                    _whole(row.calls),
                    _whole(row.attempts),
                    _whole(row.errors),
                    _whole(row.tokens_in),
                    _whole(row.tokens_out),
                    _money(row.cost_usd, row.priced < row.attempts, row.charged_usd),
                    _seconds(row.latency_median_s),
                    _seconds(row.latency_p95_s),
                    _span(row.first, row.last),
                ]
                for row in cost.itertuples()
            ],
        ),
    ]  # fmt: skip


def _whole(value: float) -> str:
    return "–" if pd.isna(value) else f"{int(value):,}"


def _money(value: float, partly: bool, charged: float) -> str:
    known = "" if pd.isna(value) else dollars(value).removeprefix("$")
    if not pd.isna(charged):
        most = f"at most {dollars(charged).removeprefix('$')} for calls of unknown cost"
        return f"{known} and {most}" if known else most
    return (known + (" or more: some calls have no price" if partly else "")) if known else "–"


def _seconds(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}"


def _span(first: pd.Timestamp, last: pd.Timestamp) -> str:
    seconds = (last - first).total_seconds()
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
