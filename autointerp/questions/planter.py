"""Planted units of known grade, made from real text to check raters.

A clean unit follows one concept, a mostly clean one has a fifth of noise. A mixture follows two,
three or five unrelated concepts in equal parts. A drifting unit follows one where it fires strongly
and another where it fires weakly. Noise follows none. The contexts are drawn as a harvest draws
them: the strongest, some in each interval of activation, some at random places; the splits
disjoint by document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autointerp import extensions
from autointerp.errors import CorpusError
from autointerp.questions.kinds import SPARSE, Rule, load_kind
from autointerp.questions.labelled_text import LabelledText, Mask
from autointerp.records import Context, Draw, Split
from autointerp.settings import HarvestSettings

Grade = Literal[
    "clean", "mostly clean", "drift", "mixture of 2", "mixture of 3", "mixture of 5", "noise"
]

CONCEPTS: dict[Grade, int] = {
    "clean": 1, "mostly clean": 1, "drift": 2, "mixture of 2": 2, "mixture of 3": 3,
    "mixture of 5": 5, "noise": 0,
}  # fmt: skip
GRADES = tuple(CONCEPTS)
SINGLE: tuple[Grade, ...] = ("clean", "mostly clean")
MIXTURES: tuple[Grade, ...] = ("mixture of 2", "mixture of 3", "mixture of 5")
SPLITS: tuple[Split, Split] = ("explain", "score")

HEARD = 0.9  # a concept's places on which the unit fires: no real unit is perfect
NOISE_SHARE = 0.2  # of a mostly clean unit's firings
STRONG = 0.5  # share of the peak above which a drifting unit follows its first concept
DENSE: tuple[Grade, ...] = ("mixture of 3", "noise")
DENSE_EVERY = 4  # units of those grades
DENSE_DENSITY = 0.3  # neurons are dense
WEAK = 0.3  # peak of the diffuse part of a dense mixture, the concepts' peak being 1
LEAST_PLACES = 120  # of a concept in each split, so that intervals can be filled
LARGEST_OVERLAP = 0.1  # of two concepts of a unit, as a share of the rarer one's places
TRIES = 300
WINDOW = 127  # tokens of a model window: one peak is kept from each


@dataclass(frozen=True)
class PlantedUnit:
    """A unit of known grade.

    Attributes:
        kinds: Of its concepts, a drifting unit's strong one first; noise has none.
        dense: Whether it fires on 30 % of tokens, as neurons do.
        rule: In words.
    """

    grade: Grade
    kinds: tuple[str, ...]
    dense: bool
    rule: str
    contexts: tuple[Context, ...]


@dataclass(frozen=True)
class Planter:
    """Maker of planted units in a text.

    Attributes:
        kinds: What concepts may be of.
        draws: How many contexts a unit gets in each split, and how wide they are.
    """

    text: LabelledText
    kinds: tuple[str, ...]
    draws: HarvestSettings = field(default_factory=lambda: HarvestSettings(window=WINDOW))

    def concept(
        self, kind: str, rng: np.random.Generator, split: Mask, others: Sequence[Mask] = ()
    ) -> Rule | None:
        """Return a random concept of this kind that holds often enough in both splits.

        `split` [documents] is True where a document serves `score`. None where 300 draws give
        none that is unrelated to `others`.
        """
        score = split[self.text.document]
        module = load_kind(kind)
        for _ in range(TRIES):
            rule = module.rule(self.text, rng)
            if rule is None:
                continue
            extensions.returned(rule, Rule, f"kind '{kind}': rule()")
            times = np.count_nonzero(rule.holds)
            if times / len(self.text) > rule.largest:
                continue
            scored = np.count_nonzero(rule.holds & score)
            if min(scored, times - scored) < LEAST_PLACES:
                continue
            if all(_overlap(rule.holds, other) <= LARGEST_OVERLAP for other in others):
                return rule
        return None

    def _concepts(
        self, first: str | None, count: int, rng: np.random.Generator, split: Mask
    ) -> list[tuple[str, Rule]]:
        """Return unrelated concepts of different kinds, where there are so many kinds."""
        left = [str(kind) for kind in rng.permutation(self.kinds)]
        if first is not None:
            left = [first, *(kind for kind in left if kind != first)]
        chosen: list[tuple[str, Rule]] = []
        for kind in left * count:
            if len(chosen) == count:
                break
            if len(chosen) < len(self.kinds) and any(kind == had for had, _ in chosen):
                continue
            rule = self.concept(kind, rng, split, [rule.holds for _, rule in chosen])
            if rule is not None:
                chosen.append((kind, rule))
            elif kind == first:
                break
        if len(chosen) < count:
            named = first or " or ".join(self.kinds)
            raise CorpusError(
                f"the text of {len(self.text)} tokens gives no concept of {named} that holds "
                f"{LEAST_PLACES} times in each split; plant in more text"
            )
        return chosen

    def unit(
        self,
        grade: Grade,
        rng: np.random.Generator,
        kind: str | None = None,
        dense: bool = False,
    ) -> PlantedUnit:
        """Return a unit of this grade, the first of its concepts of this `kind`.

        A dense unit follows its concepts and fires besides, weakly and at random, on 30 % of
        tokens; one of a single concept is not to be had. Raises CorpusError if the text is too
        short, ValueError if a unit of one concept is to be dense.
        """
        if dense and grade in SINGLE:
            raise ValueError(f"a {grade} unit cannot be dense")
        text = self.text
        split = rng.random(len(text.domain)) < 0.5
        total = len(text)
        concepts = self._concepts(kind, CONCEPTS[grade], rng, split) if CONCEPTS[grade] else []
        # Of what is common in the text a unit hears no more than of what is rare.
        places = [rng.permutation(np.flatnonzero(rule.holds)) for _, rule in concepts]
        places = [place[: max(1, round(HEARD * len(place)))] for place in places]
        if places:
            most = min(len(place) for place in places)  # parts weigh alike
            places = [place[:most] for place in places]
        ruled = sum(len(place) for place in places)
        if dense:
            random = round(DENSE_DENSITY * total)
        elif grade == "noise":
            random = round(np.exp(rng.uniform(np.log(5e-4), np.log(SPARSE))) * total)
            random = max(random, 3 * LEAST_PLACES)
        elif grade == "mostly clean":
            random = round(ruled * NOISE_SHARE / (1 - NOISE_SHARE))
        else:
            random = 0
        places.append(rng.choice(total, min(random, total), replace=False))
        fires = np.unique(np.concatenate(places))
        activations = np.zeros(total, dtype=np.float32)
        # Weak activations are the commonest, as in real units, and every interval is filled.
        activations[fires] = 1e-3 + rng.random(len(fires), dtype=np.float32) ** 2
        if dense and ruled:
            # As in real neurons the diffuse firing is weak, and the concepts show at the top.
            weak = np.setdiff1d(places[-1], np.concatenate(places[:-1]))
            activations[weak] *= WEAK
        if grade == "drift":
            strong, weak = places[0], np.setdiff1d(places[1], places[0])
            activations[strong] = STRONG + (1 - STRONG) * activations[strong]
            activations[weak] *= STRONG
        return PlantedUnit(
            grade=grade,
            kinds=tuple(kind for kind, _ in concepts),
            dense=dense,
            rule="; or ".join(rule.text for _, rule in concepts) or "none",
            contexts=tuple(self._harvest(activations, fires, split, rng)),
        )

    def _harvest(
        self,
        activations: NDArray[np.float32],
        fires: NDArray[np.int64],
        split: Mask,
        rng: np.random.Generator,
    ) -> list[Context]:
        peak = float(activations.max())
        document = self.text.document
        contexts = []
        for part, name in enumerate(SPLITS):
            firing = rng.permutation(fires[split[document[fires]] == part])
            value = activations[firing]
            strongest = firing[np.argsort(-value, kind="stable")]
            # One a window at most, as in the harvest.
            _, first = np.unique(self._window(strongest), return_index=True)
            chosen: list[tuple[Draw, int]] = [
                ("top", int(place)) for place in strongest[np.sort(first)][: self.draws.top]
            ]
            level = np.minimum(self._interval(value, peak), self.draws.intervals)
            for interval in range(1, self.draws.intervals + 1):
                drawn = firing[level == interval][: self.draws.per_interval]
                chosen += [("interval", int(place)) for place in drawn]
            everywhere = np.flatnonzero(split[document] == part)
            anywhere = rng.choice(
                everywhere, min(self.draws.random, len(everywhere)), replace=False
            )
            chosen += [("random", int(place)) for place in anywhere]
            contexts += [self._context(activations, peak, p, draw, name) for draw, p in chosen]
        return contexts

    def _interval(self, value: NDArray[np.float32], peak: float) -> NDArray[np.int64]:
        return (value / peak * self.draws.intervals).astype(np.int64) + 1

    def _window(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number of the model window in which each place stands."""
        return places - self.text.position[places] % self.draws.window

    def _context(
        self, activations: NDArray[np.float32], peak: float, place: int, draw: Draw, split: Split
    ) -> Context:
        text = self.text
        document = int(text.document[place])
        begin = int(self._window(np.array([place]))[0])
        end = min(begin + self.draws.window, int(text.starts[document + 1]))
        low = max(begin, place - self.draws.each_side)
        high = min(end, place + self.draws.each_side + 1)
        shown = activations[low:high]
        value = float(activations[place])
        interval = min(self.draws.intervals, int(value / peak * self.draws.intervals) + 1)
        return Context(
            tokens=tuple(text.texts[index] for index in text.tokens[low:high]),
            activations=tuple(shown.tolist()),
            focus=place - low,
            draw=draw,
            interval=interval if value > 0 else None,
            split=split,
            silent=not shown.any(),
            document=document,
            position=int(text.position[place]),
        )

    def units(self, per_grade: int, seed: int) -> list[PlantedUnit]:
        """Return `per_grade` units of each grade, the kinds in turn; some are dense.

        Fewer of each grade are the first of more.
        """
        units = []
        for number in range(per_grade):
            kind = self.kinds[number % len(self.kinds)]
            for place, grade in enumerate(GRADES):
                rng = np.random.default_rng([seed, number, place])
                wide = grade in DENSE and number % DENSE_EVERY == 0
                units.append(self.unit(grade, rng, kind if CONCEPTS[grade] else None, wide))
        return units


def _overlap(one: Mask, other: Mask) -> float:
    smaller = min(int(np.count_nonzero(one)), int(np.count_nonzero(other)))
    return int(np.count_nonzero(one & other)) / max(1, smaller)
