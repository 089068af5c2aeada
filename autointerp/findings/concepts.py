"""Known concepts: which unit knows each, by held-out text, and which share of them any unit knows.

Units are searched on the documents of the split `explain`; every figure is of those of `score`, so
that a search among thousands of units cannot pay by chance. A source with more units has more to
choose from, and that is said beside: what is found where all sources may search as many.
Sources: Gurnee et al. 2023, "Finding Neurons in a Haystack: Case Studies with Sparse Probing";
Karvonen et al. 2024, "Measuring Progress in Dictionary Learning for Language Model
Interpretability with Board Game Models" (concepts of known truth).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autointerp.findings.json_values import plain
from autointerp.findings.known import FOUND
from autointerp.settings import HarvestSettings
from autointerp.stats.binned import best_of_fewer, binned_auc, binned_f1
from autointerp.stats.clustered import clustered_superiority
from autointerp.stats.logistic import sparse_probes
from autointerp.stats.means import exact_interval, mean
from autointerp.stats.paired import PairedDifference, sign_flip_test
from autointerp.stats.results import Floats, Integers, Statistic
from autointerp.subjects import Subject

if TYPE_CHECKING:  # reading a run needs no torch
    from autointerp.units.concepts import Candidates, Counts, Drawn, FirstReading
    from autointerp.units.labels import Labels

LEAST = 10  # tokens with and without a concept, on either side of the split
SIZES = (1, 2, 4, 8)  # units of the sparse probes
POOL = 32  # units of a source that a probe chooses from

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Concept:
    """A concept and its tokens.

    Attributes:
        tokens_with, tokens_labelled: On the side that is searched, and on that which is tested.
        outcome: `ok`, or why it is not measured.
    """

    name: str
    tokens_with: tuple[int, int]
    tokens_labelled: tuple[int, int]
    outcome: str = "ok"

    @property
    def share(self) -> float | None:
        """Share of the labelled tokens on the tested side that have it."""
        return self.tokens_with[1] / self.tokens_labelled[1] if self.tokens_labelled[1] else None


@dataclass(frozen=True)
class BestUnit:
    """The unit that comes first in the search, and what it does on held-out text.

    Attributes:
        unit: Such as `features/12`.
        search, search_error: AUROC where it was searched, and by how much bins can have moved it.
        auroc: On held-out text, of all its tokens; the interval is over documents.
        error: By how much bins can have moved `auroc`.
    """

    unit: str
    search: float
    search_error: float
    auroc: Statistic
    error: float


@dataclass(frozen=True)
class Threshold:
    """The unit whose firing above a threshold has the highest F1 in the search.

    Attributes:
        threshold: Activation above which the concept is called; -1 where it always is.
        search, f1: Where it was searched, and on held-out text; both exact.
    """

    unit: str
    threshold: float
    search: float
    f1: float


@dataclass(frozen=True)
class Probe:
    """A logistic regression on `k` units, fitted where units are searched.

    Attributes:
        units: The one that matters most first.
        auroc: On held-out tokens that were drawn; the interval is over documents.
        f1: Likewise, at the threshold that is best where it was fitted.
    """

    k: int
    units: tuple[str, ...]
    auroc: Statistic
    f1: float


@dataclass(frozen=True)
class Known:
    """What a source knows of a concept.

    Attributes:
        equal: Mean AUROC, and `equal_found` the probability that it is found, where as many units
            are searched as the smallest source has: the mean over all such choices.
        probes: By size; empty where none can be fitted.
    """

    concept: str
    source: str
    best: BestUnit
    threshold: Threshold
    equal: float
    equal_found: float
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class SourceSummary:
    """How many concepts a source knows.

    Attributes:
        searched: Units.
        found: Share of concepts whose best unit has an AUROC over `Concepts.over` on held-out text.
        equal_found: The same where as many units are searched as the smallest source has.
        mean: Of the best units' AUROC.
        f1: Mean of the best thresholds' F1.
        probes: Share found by the probe of each size.
    """

    source: str
    searched: int
    found: Statistic
    equal_found: float
    mean: float
    f1: float
    probes: dict[int, Statistic]


@dataclass(frozen=True)
class SourcesCompared:
    """AUROC of the best units of one source less those of another, over the same concepts.

    Attributes:
        probes: The same of the probes, by size.
    """

    first: str
    second: str
    best: PairedDifference
    probes: dict[int, PairedDifference]


@dataclass(frozen=True)
class Concepts:
    """Labels against the units of a run's sources.

    Attributes:
        given: The labels, as they were asked for; `digest` is the sha256 of what makes them.
        over: AUROC from which a concept counts as found.
        equal: Units of each source in what is said of equal numbers: those of the smallest.
        tokens: Read, on the side that is searched and on the other.
        known: By concept, then source; concepts that are measured only.
    """

    run: str
    given: tuple[str, ...]
    digest: str
    over: float
    equal: int
    tokens: tuple[int, int]
    concepts: tuple[Concept, ...]
    known: tuple[Known, ...]
    sources: tuple[SourceSummary, ...]
    compared: tuple[SourcesCompared, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def measured(self) -> tuple[Concept, ...]:
        return tuple(one for one in self.concepts if one.outcome == "ok")

    def of(self, concept: str, source: str) -> Known:
        """Return what a source knows of a concept that was measured."""
        return next(o for o in self.known if (o.concept, o.source) == (concept, source))

    def as_json(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {name: plain(value) for name, value in vars(self).items()}

    def frame(self) -> pd.DataFrame:
        """Return one row a concept, source and way of picking: the rows of the table `concept`."""
        counts = {one.name: one for one in self.concepts}
        rows = []
        for one in self.known:
            concept = counts[one.concept]
            shared = {
                "concept": one.concept,
                "source": one.source,
                "tokens_with": concept.tokens_with[1],
                "tokens_labelled": concept.tokens_labelled[1],
            }
            best, threshold = one.best, one.threshold
            rows.append(
                {**shared, "picked": "auroc", "k": 1, "units": [best.unit], "search": best.search,
                 **_ends(best.auroc), "error": best.error, "f1": None, "threshold": None}
            )  # fmt: skip
            rows.append(
                {**shared, "picked": "f1", "k": 1, "units": [threshold.unit],
                 "search": threshold.search, "auroc": None, "low": None, "high": None,
                 "error": None, "f1": threshold.f1, "threshold": threshold.threshold}
            )  # fmt: skip
            rows += [
                {**shared, "picked": "probe", "k": probe.k, "units": list(probe.units),
                 "search": None, **_ends(probe.auroc), "error": 0.0, "f1": probe.f1,
                 "threshold": None}
                for probe in one.probes
            ]  # fmt: skip
        return pd.DataFrame(rows, dtype=object)


def _ends(statistic: Statistic) -> dict[str, float | None]:
    return {"auroc": statistic.value, "low": statistic.low, "high": statistic.high}


def measure_concepts(
    run: str,
    subject: Subject,
    candidates: Sequence[Candidates],
    labels: Labels,
    given: Sequence[str],
    settings: HarvestSettings,
    seed: int,
    over: float = FOUND,
    sizes: Sequence[int] = SIZES,
    level: float = 0.95,
    progress: Progress = lambda label, tokens: None,
) -> Concepts:
    """Return what the candidates know of the labels; the corpus is read twice.

    Raises what `units.concepts.first_reading` raises.
    """
    from autointerp.units.concepts import first_reading, second_reading

    scores = {one.name: _Scores(len(labels.concepts), len(one.numbers)) for one in candidates}
    read = first_reading(
        subject, candidates, labels, settings, seed,
        lambda name, places, counts: scores[name].take(labels, places, counts), progress,
    )  # fmt: skip
    concepts = _concepts(labels, read)
    ok = [place for place, concept in enumerate(concepts) if concept.outcome == "ok"]
    pools = {
        one.name: [
            scores[one.name].pool(place) if place in ok else np.zeros(0, np.int64)
            for place in range(len(concepts))
        ]
        for one in candidates
    }
    chosen = {
        one.name: (one.source, [one.numbers[pool] for pool in pools[one.name]])
        for one in candidates
    }
    active = second_reading(subject, chosen, read.drawn, settings, seed, progress) if ok else {}
    equal = min((len(one.numbers) for one in candidates), default=0)
    known = []
    for place in ok:
        for one in candidates:
            known.append(
                _known(
                    concepts[place], one, scores[one.name], place, equal, over,
                    pools[one.name][place],
                    [active[one.name][side][place] for side in (0, 1)],
                    [read.drawn[side][place] for side in (0, 1)],
                    sizes, level,
                )
            )  # fmt: skip
    summaries = tuple(_summary(one, known, over, sizes, level) for one in candidates) if ok else ()
    return Concepts(
        run=run,
        given=tuple(given),
        digest=labels.digest,
        over=over,
        equal=equal,
        tokens=read.tokens,
        concepts=concepts,
        known=tuple(known),
        sources=summaries,
        compared=_compared([one.name for one in candidates], known, sizes, seed, level)
        if ok
        else (),
        notes=_notes(concepts),
    )


class _Scores:
    """Figures of all units of a source by concept, [concepts, units] each."""

    def __init__(self, concepts: int, units: int) -> None:
        shape = (concepts, units)
        self.auroc = np.full((2, *shape), np.nan)
        self.error = np.full((2, *shape), np.nan)
        self.f1 = np.zeros((2, *shape))
        self.threshold = np.zeros(shape)

    def take(self, labels: Labels, places: Integers, counts: Counts) -> None:
        """Take in the counts of the units at these places."""
        for concept, group in enumerate(labels.groups):
            f1 = []
            for side in (0, 1):
                true = counts.with_concept[side, concept]
                false = counts.without(side, concept, group)
                value, error = binned_auc(true, false)
                self.auroc[side, concept, places] = value
                self.error[side, concept, places] = error
                f1.append(binned_f1(true, false))
            edge = f1[0].argmax(axis=-1)
            at = np.arange(len(places))
            for side in (0, 1):
                self.f1[side, concept, places] = f1[side][at, edge]
            lower = counts.edges[at, np.clip(edge - 1, 0, None)]
            self.threshold[concept, places] = np.where(edge == 0, -1.0, lower)

    def pool(self, concept: int) -> Integers:
        """Return the places of the units that probes choose from, that of the best unit first."""
        search = self.auroc[0, concept]
        order = np.argsort(-np.abs(search - 0.5), kind="stable")
        best = int(np.argmax(search))
        return np.array([best, *order[order != best][: POOL - 1]], dtype=np.int64)


def _concepts(labels: Labels, read: FirstReading) -> tuple[Concept, ...]:
    made = []
    for place, name in enumerate(labels.concepts):
        true = read.tokens_with[:, place].tolist()
        labelled = read.tokens_labelled[:, place].tolist()
        outcome = "ok"
        for side, word in ((0, "searched"), (1, "held-out")):
            for count, kind in ((true[side], "with"), (labelled[side] - true[side], "without")):
                if count < LEAST and outcome == "ok":
                    outcome = f"{count} {word} tokens {kind} it; {LEAST} are needed"
        made.append(Concept(name, (true[0], true[1]), (labelled[0], labelled[1]), outcome))
    return tuple(made)


def _known(
    concept: Concept,
    candidates: Candidates,
    scores: _Scores,
    place: int,
    equal: int,
    over: float,
    pool: Integers,
    active: Sequence[Floats],
    drawn: Sequence[Drawn],
    sizes: Sequence[int],
    level: float,
) -> Known:
    def name(at: int) -> str:
        return str(candidates.source.unit(int(candidates.numbers[at])))

    search, test = scores.auroc[0, place], scores.auroc[1, place]
    best = int(pool[0])
    truth, document = drawn[1].truth, drawn[1].document
    own = active[1][:, 0]
    auroc = clustered_superiority(
        own[truth], own[~truth], document[truth], document[~truth], level,
        value=float(test[best]),
    )  # fmt: skip
    called = int(np.argmax(scores.f1[0, place]))
    order = np.argsort(-search, kind="stable")
    return Known(
        concept=concept.name,
        source=candidates.name,
        best=BestUnit(
            name(best),
            float(search[best]),
            float(scores.error[0, place, best]),
            auroc,
            float(scores.error[1, place, best]),
        ),
        threshold=Threshold(
            name(called),
            float(scores.threshold[place, called]),
            float(scores.f1[0, place, called]),
            float(scores.f1[1, place, called]),
        ),
        equal=best_of_fewer(order, test, equal),
        equal_found=best_of_fewer(order, test > over, equal),
        probes=tuple(_probes(concept, [name(at) for at in pool], active, drawn, sizes, level)),
    )


def _probes(
    concept: Concept,
    names: Sequence[str],
    active: Sequence[Floats],
    drawn: Sequence[Drawn],
    sizes: Sequence[int],
    level: float,
) -> list[Probe]:
    """Return a probe of each size, fitted with either class weighing the same; that of one unit is
    the best unit, which stands first.
    """
    varies = np.ptp(active[0], axis=0) > 0
    if not varies.any():
        return []
    truth = [one.truth for one in drawn]
    weights = np.where(truth[0], 1 / truth[0].sum(), 1 / (~truth[0]).sum())
    fitted = sparse_probes(active[0], truth[0], weights, sizes)
    if 1 in fitted and varies[0]:
        fitted |= sparse_probes(active[0][:, :1], truth[0], weights, (1,))
    probes = []
    for size, probe in fitted.items():
        search, test = (probe.scores(one) for one in active)
        documents = drawn[1].document
        own = truth[1]
        # So much stands each drawn token for, that shares are as in the text.
        stands = [
            np.where(
                truth[side],
                concept.tokens_with[side] / truth[side].sum(),
                (concept.tokens_labelled[side] - concept.tokens_with[side]) / (~truth[side]).sum(),
            )
            for side in (0, 1)
        ]
        threshold = _best_threshold(search, truth[0], stands[0])
        probes.append(
            Probe(
                size,
                tuple(names[column] for column in probe.columns),
                clustered_superiority(
                    test[own], test[~own], documents[own], documents[~own], level
                ),
                _f1(test > threshold, own, stands[1]),
            )
        )
    return probes


def _best_threshold(scores: Floats, truth: Any, weights: Floats) -> float:
    """Return the score above which calling a token true has the highest F1."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum((weights * truth)[order])
    called = np.cumsum(weights[order])
    last = np.append(ranked[1:] < ranked[:-1], True)  # of equal scores all are called or none
    f1 = np.where(last, 2 * hits / (called + hits[-1]), 0.0)
    at = int(np.argmax(f1))
    return float((ranked[at] + ranked[at + 1]) / 2) if at + 1 < len(ranked) else -np.inf


def _f1(called: Any, truth: Any, weights: Floats) -> float:
    hits = float(weights[called & truth].sum())
    return 2 * hits / float(weights[called].sum() + weights[truth].sum())


def _summary(
    candidates: Candidates,
    known: Sequence[Known],
    over: float,
    sizes: Sequence[int],
    level: float,
) -> SourceSummary:
    own = [one for one in known if one.source == candidates.name]
    values = np.array([one.best.auroc.value for one in own], np.float64)
    return SourceSummary(
        source=candidates.name,
        searched=len(candidates.numbers),
        found=exact_interval(int((values > over).sum()), len(own), level),
        equal_found=float(np.mean([one.equal_found for one in own])),
        mean=float(values.mean()),
        f1=float(np.mean([one.threshold.f1 for one in own])),
        probes={
            size: exact_interval(
                sum((_of_size(one, size) or 0) > over for one in own), len(own), level
            )
            for size in sizes
        },
    )


def _of_size(known: Known, size: int) -> float | None:
    return next((probe.auroc.value for probe in known.probes if probe.k == size), None)


def _compared(
    names: Sequence[str], known: Sequence[Known], sizes: Sequence[int], seed: int, level: float
) -> tuple[SourcesCompared, ...]:
    """Return the first source against each of the others."""
    first, *others = names
    rng = np.random.default_rng([seed, 0x636F6E63])

    def gaps(of: Callable[[Known], float | None], second: str) -> PairedDifference | None:
        pairs = [[of(one) for one in known if one.source == name] for name in (first, second)]
        both = [(x, y) for x, y in zip(*pairs, strict=True) if x is not None and y is not None]
        if not both:
            return None
        differences = [x - y for x, y in both]
        average = mean(differences, level)
        if average.low is not None and average.high is not None:  # no two AUROC are farther apart
            average = replace(average, low=max(-1.0, average.low), high=min(1.0, average.high))
        return PairedDifference(average, sign_flip_test(differences, rng))

    compared = []
    for second in others:
        best = gaps(lambda one: one.best.auroc.value, second)
        assert best is not None
        probes = {size: gaps(partial(_of_size, size=size), second) for size in sizes}
        compared.append(
            SourcesCompared(
                first, second, best, {k: gap for k, gap in probes.items() if gap is not None}
            )
        )
    return tuple(compared)


def _notes(concepts: Sequence[Concept]) -> tuple[str, ...]:
    notes = []
    lost = [one for one in concepts if one.outcome != "ok"]
    if lost:
        named = "; ".join(f"{one.name}: {one.outcome}" for one in lost[:5])
        more = f"; and {len(lost) - 5:,} more" if len(lost) > 5 else ""
        notes.append(
            f"{len(lost):,} of {len(concepts):,} concepts are not measured ({named}{more})"
        )
    return tuple(notes)
