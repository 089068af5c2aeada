"""What a run holds of known concepts, as `autointerp concepts` stored it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from autointerp.stats.means import exact_interval
from autointerp.stats.results import Statistic
from autointerp.store.run import Run

FOUND = 0.95  # AUROC on held-out text over which a concept counts as found
COLUMNS = (
    "labels, concept, source, picked, k, units, search, auroc, low, high, error, f1, threshold,"
    " tokens_with, tokens_labelled, made_at"
)


@dataclass(frozen=True)
class KnownBySource:
    """How many concepts of one file or list of labels a source knows.

    Attributes:
        found: Share of them whose best unit has an AUROC over `FOUND` on held-out text.
        mean: Of the best units' AUROC; `f1` of the best thresholds' F1.
        probes: Share found by the probe of each number of units.
    """

    source: str
    found: Statistic
    mean: float
    f1: float | None
    probes: dict[int, Statistic]


@dataclass(frozen=True)
class KnownConcepts:
    """Concepts of one file or list of labels, and which units of a run know them.

    Attributes:
        labels: sha256 of what the labels are made by.
        concepts: How many were measured.
        over: AUROC over which a concept counts as found.
        rows: One row a concept, source and way of picking: the rows of the run's table `concept`.
    """

    labels: str
    concepts: int
    over: float
    sources: tuple[KnownBySource, ...]
    rows: pd.DataFrame


def known_concepts_of(run: Run, level: float = 0.95) -> Iterator[KnownConcepts]:
    """Yield what the run holds, labels that were measured first on ahead."""
    frame = run.frame(f"SELECT {COLUMNS} FROM concept ORDER BY made_at, concept, source, picked, k")
    for labels, rows in frame.groupby("labels", sort=False):
        sources = tuple(
            _by_source(str(source), own, level)
            for source, own in rows.groupby("source", sort=False)
        )
        held = rows.drop(columns=["labels", "made_at"]).reset_index(drop=True)
        yield KnownConcepts(
            str(labels), rows.concept.nunique(), FOUND, tuple(sorted(sources, key=_place)), held
        )


def _by_source(source: str, rows: pd.DataFrame, level: float) -> KnownBySource:
    best = rows[rows.picked == "auroc"]
    called = rows[rows.picked == "f1"]
    concepts = best.concept.nunique()

    def share(part: pd.DataFrame) -> Statistic:
        return exact_interval(int((part.auroc > FOUND).sum()), concepts, level)

    return KnownBySource(
        source=source,
        found=share(best),
        mean=float(best.auroc.mean()),
        f1=float(called.f1.mean()) if len(called) else None,
        probes={int(k): share(part) for k, part in rows[rows.picked == "probe"].groupby("k")},
    )


def _place(one: KnownBySource) -> tuple[bool, float]:
    """Return by what sources are ordered: features ahead, then those that know most."""
    return one.source != "features", -one.mean
