"""Which units a logit difference comes from; nothing where no prompt was asked about."""

from __future__ import annotations

import json

import pandas as pd

from autointerp.findings.attributed import Attributed, AttributedSource
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import number
from autointerp.stats.results import FEWEST

AFTER = "labs"
TITLE = "Attributions"
ROWS = 10  # of each source on the page; the table that is saved has those that the finding has
WIDTH = 60  # characters of a prompt, or of a description, on the page

Found = list[tuple[str, Attributed, AttributedSource]]


def show(material: Material) -> list[Block]:
    found = [
        (c.run, one, source)
        for c in material.comparisons
        for one in c.attributions
        for source in one.sources
    ]
    if not found:
        return []
    several = material.several_runs
    return [
        Prose(
            "What each active unit, at each position of a prompt, adds to the difference of two "
            "logits after it (`autointerp attribute`): to first order, activation x gradient, and "
            "exactly, by setting the unit to 0 there. Ranks are by size without sign, among all "
            "active units of the source. Units that nothing carries to the last token have 0 by "
            "both, and count in the correlations. Fewer than "
            f"{FEWEST} active ones give none."
        ),
        _sources(found, several),
        _units(found, several),
    ]


def _sources(found: Found, several: bool) -> Table:
    return Table(
        name="attributions",
        caption="How far the first order agrees with ablation, over units and positions",
        frame=pd.DataFrame(
            [
                {
                    "run": run,
                    "prompt": one.prompt,
                    "target": one.target,
                    "against": one.against,
                    "source": source.source,
                    "active": source.active,
                    "pearson": source.pearson,
                    "spearman": source.spearman,
                }
                for run, one, source in found
            ]
        ),
        headings=[
            *(["run"] if several else []),
            "prompt", "logit of", "less that of", "source", "active", "Pearson", "Spearman",
        ],
        rows=[
            [
                *([run] if several else []),
                _quoted(one.prompt),
                _quoted(one.target),
                _quoted(one.against),
                source.source,
                f"{source.active:,}",
                number(source.pearson),
                number(source.spearman),
            ]
            for run, one, source in found
        ],
        summary=True,
    )  # fmt: skip


def _units(found: Found, several: bool) -> Table:
    frame = pd.concat(
        [
            source.rows.assign(
                run=run, prompt=one.prompt, target=one.target, against=one.against,
                source=source.source,
            )
            for run, one, source in found
        ],
        ignore_index=True,
    )  # fmt: skip
    first = ["run", "prompt", "target", "against", "source"]
    frame = frame[[*first, *(name for name in frame if name not in first)]]
    shown = frame[frame.ablation_rank <= ROWS]
    many = len({(run, one.prompt, one.target, one.against) for run, one, _ in found}) > 1
    return Table(
        name="attributed_units",
        caption=f"The units of largest ablation, at most {ROWS} of each source",
        frame=frame,
        headings=[
            *(["run"] if several else []),
            *(["prompt", "logit of", "less that of"] if many else []),
            "unit", "token", "ablation", "attribution", "its rank", "description",
        ],
        rows=[
            [
                *([row.run] if several else []),
                *([_quoted(row.prompt), _quoted(row.target), _quoted(row.against)] if many else []),
                row.unit,
                f"{row.position} {_quoted(row.token)}",
                f"{row.ablation:+.4f}",
                f"{row.attribution:+.4f}",
                f"{row.attribution_rank:,}",
                _short(row.description or ""),
            ]
            for row in shown.itertuples()
        ],
    )  # fmt: skip


def _quoted(text: str) -> str:
    return json.dumps(_short(text), ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
