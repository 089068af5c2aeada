"""The page of known concepts: which source knows them, by which units, and how surely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.concepts import POOL, Concepts, Known
from autointerp.reports.colours import MUTED, RULE, colour
from autointerp.reports.page import Panel
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import flat, interval, listed, number, p_value, percent, share
from autointerp.reports.write import write_panels
from autointerp.text import capital, count

SHOWN = 100  # concepts on the page; the tables have all
NAMED = 40  # concepts whose names fit into the picture
NAME = 28  # characters of a name in the picture


def write_concepts(found: Concepts, descriptions: Mapping[str, str], out: Path) -> Path:
    """Write the page, its picture and tables to the folder `out`; return index.html.

    `descriptions` are those that the run holds, by the unit's name. Raises BadInput if `out` holds
    something else than a report, StorageError if it cannot be written.
    """
    panels = [
        Panel("concepts", "Which source knows the concepts", tuple(_sources(found))),
        Panel("units", "The unit that knows each concept", tuple(_units(found, descriptions))),
        Panel("probes", "Few units together", tuple(_probes(found))),
        Panel("method", "How this was measured", tuple(_method(found))),
    ]
    first = found.sources[0]
    heading = (
        f"{capital(first.source)} of '{found.run}' know "
        f"{round((first.found.value or 0) * len(found.measured)):,} of "
        f"{count(len(found.measured), 'concept')} by a unit each"
    )
    others = [f"{one.source} {interval(one.found)}" for one in found.sources[1:]]
    beneath = (
        f"{first.source} {interval(first.found)}"
        + (f", {', '.join(others)}" if others else "")
        + f". A concept is known where the best unit's AUROC is over {found.over:g} on text that "
        "was not searched."
    )
    write_panels([panel for panel in panels if panel.blocks], out, heading, beneath)
    return out / "index.html"


def _sources(found: Concepts) -> Iterator[Block]:
    for note in found.notes:
        yield Prose(f"{note}.", tone="warning")
    smallest = listed(one.source for one in found.sources if one.searched == found.equal)
    yield Figure(
        name="concepts",
        caption="AUROC of each source's best unit on held-out text"
        + (
            f", with its {percent(found.sources[0].found.level)} interval over documents."
            if len(found.measured) <= NAMED
            else ", concepts of each source from the best known on."
        )
        + f" Dashed: {found.over:g}, from which a concept counts as known.",
        alt=". ".join(
            f"{one.source}: {percent(one.found.value)} of the concepts found, mean AUROC "
            f"{number(one.mean, 3)}"
            for one in found.sources
        )
        + ".",
        draw=lambda: draw(found),
    )
    sizes = list(found.sources[0].probes)
    yield Table(
        name="sources",
        caption=f"Share of {count(len(found.measured), 'concept')} that a single unit knows "
        f"(exact {percent(found.sources[0].found.level)} interval over concepts), "
        f"that where all sources may search {found.equal:,} units, as {smallest} "
        "have, and those that a probe of k units knows",
        frame=pd.DataFrame(
            [
                {
                    "source": one.source,
                    "units": one.searched,
                    **flat("found", one.found),
                    "found_at_equal_numbers": one.equal_found,
                    "mean_auroc": one.mean,
                    "mean_f1": one.f1,
                    **{
                        key: value
                        for k, share in one.probes.items()
                        for key, value in flat(f"found_by_{k}", share).items()
                    },
                }
                for one in found.sources
            ]
        ),
        headings=[
            "source", "units", "found", "at equal numbers", "mean AUROC", "mean F1",
            *(f"k = {k}" for k in sizes),
        ],
        rows=[
            [
                one.source,
                f"{one.searched:,}",
                interval(one.found),
                number(one.equal_found),
                number(one.mean, 3),
                number(one.f1),
                *(interval(one.probes[k]) for k in sizes),
            ]
            for one in found.sources
        ],
        summary=True,
    )  # fmt: skip
    if found.compared:
        yield Table(
            name="compared",
            caption=f"AUROC of the best unit of {found.compared[0].first} less that of another "
            "source, over the same concepts, and of probes; p by flipped signs",
            frame=pd.DataFrame(
                [
                    {
                        "first": pair.first,
                        "second": pair.second,
                        "k": k,
                        **flat("difference", one.difference),
                        "p": one.test.p_value,
                    }
                    for pair in found.compared
                    for k, one in ((0, pair.best), *pair.probes.items())
                ]
            ),
            headings=["less", "best unit", "p", *(f"k = {k}" for k in sizes)],
            rows=[
                [
                    pair.second,
                    interval(pair.best.difference),
                    p_value(pair.best.test.p_value),
                    *(
                        interval(pair.probes[k].difference) if k in pair.probes else "–"
                        for k in sizes
                    ),
                ]
                for pair in found.compared
            ],
            summary=True,
        )


def draw(found: Concepts) -> Drawing:
    """Return the AUROC of the best units by concept, or, of many concepts, in falling order."""
    names = [one.name for one in found.measured]
    sources = [one.source for one in found.sources]
    few = len(names) <= NAMED
    figure = sheet(10, 1.6 + 0.3 * len(names) if few else 4.5)
    axes = figure.subplots()
    if few:
        first = {one.concept: one for one in found.known if one.source == sources[0]}
        names.sort(key=lambda name: first[name].best.auroc.value or 0)
        for place, source in enumerate(sources):
            shift = (place - (len(sources) - 1) / 2) * 0.18
            for at, name in enumerate(names):
                auroc = found.of(name, source).best.auroc
                ink = colour(source, sources)
                if auroc.low is not None and auroc.high is not None:
                    axes.plot([auroc.low, auroc.high], [at - shift] * 2, color=ink, linewidth=1.2)
                axes.plot(
                    [auroc.value or 0], [at - shift], "o", color=ink, markersize=5,
                    label=source if at == 0 else None,
                )  # fmt: skip
        axes.set_yticks(
            range(len(names)),
            [name if len(name) <= NAME else f"{name[: NAME - 1]}…" for name in names],
        )
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.axvline(found.over, color=MUTED, linestyle="--", linewidth=1)
        axes.axvline(0.5, color=RULE, linewidth=1)
        axes.set_xlabel("AUROC on held-out text")
        plain_axes(axes, "x")
    else:
        for source in sources:
            values = sorted(
                (one.best.auroc.value or 0 for one in found.known if one.source == source),
                reverse=True,
            )
            shares = np.arange(1, len(values) + 1) / len(values)
            axes.step(shares, values, where="pre", color=colour(source, sources), label=source)
        axes.axhline(found.over, color=MUTED, linestyle="--", linewidth=1)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the concepts")
        axes.set_ylabel("AUROC on held-out text")
        plain_axes(axes)
    figure.legend(loc="outside upper right", ncols=len(sources), fontsize=9.5)
    headline(figure, "")
    return figure


def _units(found: Concepts, descriptions: Mapping[str, str]) -> Iterator[Block]:
    concepts = {one.name: one for one in found.concepts}
    sources = [one.source for one in found.sources]

    def described(known: Known) -> str:
        return descriptions.get(known.best.unit, "")

    yield Prose(
        "The unit that came first by AUROC on the searched text, and what it does on the other. "
        "F1 is that of the unit and threshold which came first by F1; calling every token would "
        "have 2 p / (1 + p), with p the share of tokens that have the concept."
    )
    has_any = any(described(known) for known in found.known)
    rows = []
    for concept in found.measured[:SHOWN]:
        for place, source in enumerate(sources):
            known = found.of(concept.name, source)
            rows.append(
                [
                    concept.name if place == 0 else "",
                    share(concept.share) if place == 0 else "",
                    known.best.unit,
                    number(known.best.search, 3),
                    interval(known.best.auroc, 3),
                    number(known.threshold.f1),
                    known.threshold.unit,
                    *([described(known)] if has_any else []),
                ]
            )
    yield Table(
        name="concepts",
        caption=f"{count(len(found.measured), 'concept')}"
        + (f", the first {SHOWN} here and all in tables/concepts.csv" if len(found.measured) > SHOWN
           else ""),
        frame=pd.DataFrame(
            [
                {
                    "concept": one.concept,
                    "source": one.source,
                    "tokens_with": concepts[one.concept].tokens_with[1],
                    "tokens_labelled": concepts[one.concept].tokens_labelled[1],
                    "unit": one.best.unit,
                    "description": descriptions.get(one.best.unit),
                    "auroc_searched": one.best.search,
                    "error_searched": one.best.search_error,
                    **flat("auroc", one.best.auroc),
                    "error": one.best.error,
                    "auroc_at_equal_numbers": one.equal,
                    "found_at_equal_numbers": one.equal_found,
                    "f1_unit": one.threshold.unit,
                    "f1_threshold": one.threshold.threshold,
                    "f1_searched": one.threshold.search,
                    "f1": one.threshold.f1,
                }
                for one in found.known
            ]
        ),
        headings=[
            "concept", "tokens", "best unit", "searched", "held out", "F1", "unit by F1",
            *(["description"] if has_any else []),
        ],
        rows=rows,
    )  # fmt: skip


def _probes(found: Concepts) -> Iterator[Block]:
    records = [
        {
            "concept": known.concept,
            "source": known.source,
            "k": probe.k,
            **flat("auroc", probe.auroc),
            "f1": probe.f1,
            "units": ", ".join(probe.units),
        }
        for known in found.known
        for probe in known.probes
    ]
    if not records:
        return
    sizes = list(found.sources[0].probes)
    yield Prose(
        "A logistic regression on k units of one source, fitted on the searched text and tested "
        "on the other. Where it knows more than the best unit, the concept is spread over several."
    )
    yield Table(
        name="probes",
        caption="AUROC of probes on held-out text",
        frame=pd.DataFrame(records),
        headings=["concept", "source", "best unit", *(f"k = {k}" for k in sizes)],
        rows=[
            [
                concept.name if place == 0 else "",
                source.source,
                number(known.best.auroc.value, 3),
                *(number({p.k: p.auroc.value for p in known.probes}.get(k), 3) for k in sizes),
            ]
            for concept in found.measured[:SHOWN]
            for place, source in enumerate(found.sources)
            for known in [found.of(concept.name, source.source)]
        ],
    )


def _method(found: Concepts) -> Iterator[Block]:
    errors = [one.best.error for one in found.known]
    yield Prose(
        f"{found.tokens[0]:,} tokens of the documents of the split 'explain' were searched, and "
        f"{found.tokens[1]:,} of the others tested, so that no figure here gains from the search "
        f"among many units. Labels: {listed(found.given)}."
    )
    yield Prose(
        "Activations were counted in bins, one of them silence, so that memory does not depend on "
        f"the corpus; that can have moved a held-out AUROC by {number(max(errors), 4)} at most, "
        f"and by {number(float(np.mean(errors)), 4)} on average. F1 is exact. Intervals of a "
        "concept are over documents, of the tokens that were drawn of it; those of shares are over "
        "the concepts, and speak of concepts like these."
    )
    yield Prose(
        f"A probe chooses from the {POOL} units of a source whose AUROC is farthest from 0.5 on "
        "the searched text, fits all of them, and keeps half at a time, those with the largest "
        "coefficients; of a source that has fewer than k it has all. That of one unit is the best "
        "unit; its sign is fitted too, and the area falls below 0.5 where the strongest "
        "activations go against the order of the others."
    )
    lost = [one for one in found.concepts if one.outcome != "ok"]
    if lost:
        yield Table(
            name="not_measured",
            caption=f"{count(len(lost), 'concept')} not measured",
            frame=pd.DataFrame(
                [
                    {
                        "concept": one.name,
                        "searched": one.tokens_with[0],
                        "held_out": one.tokens_with[1],
                        "why": one.outcome,
                    }
                    for one in lost
                ]
            ),
            headings=["concept", "tokens searched", "held out", "why"],
            rows=[
                [one.name, f"{one.tokens_with[0]:,}", f"{one.tokens_with[1]:,}", one.outcome]
                for one in lost[:SHOWN]
            ],
        )
