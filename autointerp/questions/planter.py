"""Planted units of known grade, made from real text to check raters.

A clean unit follows one rule, a mostly clean one has a fifth of noise, a mixture follows three
unrelated rules in equal parts, noise follows none. The contexts are drawn as a harvest draws
them: the strongest, some in each interval of activation, some at random places; the splits
disjoint by document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import CorpusError
from autointerp.records import Context, Draw, Split
from autointerp.settings import HarvestSettings
from autointerp.subjects.windows import TokenisedDocuments

Grade = Literal["clean", "mostly clean", "mixture", "noise"]
Kind = Literal["token", "affix", "context", "topic"]
Mask = NDArray[np.bool_]

GRADES: tuple[Grade, ...] = ("clean", "mostly clean", "mixture", "noise")
KINDS: tuple[Kind, ...] = ("token", "affix", "context", "topic")
SPLITS: tuple[Split, Split] = ("explain", "score")

HEARD = 0.9  # a rule's places on which the unit fires: no real unit is perfect
NOISE_SHARE = 0.2  # of a mostly clean unit's firings
LARGEST_DENSITY = 0.02  # of a unit that is not dense
DENSE_DENSITY = 0.3  # neurons are dense
WEAK = 0.3  # peak of the diffuse part of a dense mixture, the rules' peak being 1
LEAST_PLACES = 120  # of a rule in each split, so that intervals can be filled
LEXICON = 20  # words of a topic
TRIES = 200
WINDOW = 127  # tokens of a model window: one peak is kept from each


@dataclass(frozen=True)
class Rule:
    """A rule for where a unit fires.

    Attributes:
        text: The rule in words.
        holds: [tokens] whether it holds at each token of the corpus.
    """

    kind: Kind
    text: str
    holds: Mask


@dataclass(frozen=True)
class PlantedUnit:
    """A unit of known grade.

    Attributes:
        kinds: Of its rules; noise has none.
        dense: Whether it fires on 30 % of tokens, as neurons do.
        rule: In words.
    """

    grade: Grade
    kinds: tuple[Kind, ...]
    dense: bool
    rule: str
    contexts: tuple[Context, ...]


@dataclass(frozen=True)
class Planter:
    """Maker of planted units in a corpus.

    Attributes:
        texts: [vocabulary] text of each token id.
        draws: How many contexts a unit gets in each split, and how wide they are.
    """

    documents: TokenisedDocuments
    texts: Sequence[str]
    draws: HarvestSettings = field(default_factory=lambda: HarvestSettings(window=WINDOW))

    @cached_property
    def _tokens(self) -> NDArray[np.int64]:
        return self.documents.tokens.astype(np.int64)

    @cached_property
    def _document(self) -> NDArray[np.int64]:
        """[tokens] document of each token."""
        return np.repeat(np.arange(len(self.documents)), np.diff(self.documents.starts))

    @cached_property
    def _position(self) -> NDArray[np.int64]:
        """[tokens] place of each token in its document."""
        return np.arange(len(self._tokens)) - self.documents.starts[self._document]

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return np.bincount(self._tokens, minlength=len(self.texts))

    @cached_property
    def _words(self) -> list[str]:
        """[vocabulary] the token's word in lower case; empty if it is not of letters only."""
        stripped = [text.strip() for text in self.texts]
        return [word.lower() if word.isalpha() else "" for word in stripped]

    @cached_property
    def _variants(self) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for index, word in enumerate(self._words):
            if len(word) >= 2 and self._counts[index]:
                groups.setdefault(word, []).append(index)
        return groups

    @cached_property
    def _word_list(self) -> list[str]:
        return sorted(self._variants)

    @cached_property
    def _content(self) -> Mask:
        """[vocabulary] begins a word of four letters or more that is not among the commonest."""
        common = np.argsort(-self._counts, kind="stable")[: max(10, len(self.texts) // 20)]
        content = np.array(
            [
                len(word) >= 4 and text[:1] == " "
                for word, text in zip(self._words, self.texts, strict=True)
            ]
        )
        content[common] = False
        return content

    def _among(self, ids: Sequence[int] | NDArray[np.int64]) -> Mask:
        """Return [tokens] whether the token is one of `ids`."""
        member = np.zeros(len(self.texts), dtype=bool)
        member[np.asarray(ids, dtype=np.int64)] = True
        return member[self._tokens]

    def _after(self, holds: Mask, offset: int = 1) -> Mask:
        """Return [tokens] whether `holds` was true `offset` tokens before in the document."""
        shifted = np.zeros_like(holds)
        shifted[offset:] = holds[:-offset]
        return shifted & (self._position >= offset)

    def _a_word(self, rng: np.random.Generator) -> str:
        return self._word_list[int(rng.integers(len(self._word_list)))]

    # ------------------------------------------------------------------------------- rules

    def rule(self, kind: Kind, rng: np.random.Generator, split: Mask) -> Rule:
        """Return a random rule of this kind that holds often enough in both splits.

        `split` [documents] is True where a document serves `score`.
        Raises CorpusError if the corpus gives none in 200 tries.
        """
        make: dict[Kind, Callable[[np.random.Generator], Rule | None]] = {
            "token": self._token_rule,
            "affix": self._affix_rule,
            "context": self._context_rule,
            "topic": self._topic_rule,
        }
        score = split[self._document]
        for _ in range(TRIES):
            rule = make[kind](rng)
            if rule is None or rule.holds.mean() > LARGEST_DENSITY:
                continue
            if min((rule.holds & score).sum(), (rule.holds & ~score).sum()) >= LEAST_PLACES:
                return rule
        raise CorpusError(
            f"the corpus of {len(self._tokens)} tokens gives no {kind} rule that holds "
            f"{LEAST_PLACES} times in each split; plant in more text"
        )

    def _token_rule(self, rng: np.random.Generator) -> Rule:
        word = self._a_word(rng)
        return Rule("token", f"'{word}'", self._among(self._variants[word]))

    def _affix_rule(self, rng: np.random.Generator) -> Rule | None:
        word, length = self._a_word(rng), int(rng.integers(2, 4))
        at_end = bool(rng.integers(2))
        affix = word[-length:] if at_end else word[:length]
        ids = [
            index
            for other, variants in self._variants.items()
            if (other.endswith(affix) if at_end else other.startswith(affix))
            for index in variants
        ]
        counts = self._counts[ids]
        if len(ids) < 6 or counts.max() > counts.sum() / 2:  # one token in fact
            return None
        text = f"words that {'end' if at_end else 'begin'} with '{affix}'"
        return Rule("affix", text, self._among(ids))

    def _context_rule(self, rng: np.random.Generator) -> Rule:
        word = self._a_word(rng)
        before = self._among(self._variants[word])
        if rng.integers(2):
            offset = int(rng.integers(1, 3))
            text = f"any token {'' if offset == 1 else f'{offset} places '}after '{word}'"
            return Rule("context", text, self._after(before, offset))
        followers = self._tokens[np.flatnonzero(self._after(before))]
        if not len(followers):
            return Rule("context", "nothing", np.zeros_like(before))
        token = int(followers[rng.integers(len(followers))])
        text = f"{self.texts[token]!r} after '{word}'"
        return Rule("context", text, self._after(before) & self._among([token]))

    def _topic_rule(self, rng: np.random.Generator) -> Rule | None:
        """Return content words in passages that hold three words of a topic's lexicon."""
        candidates = np.flatnonzero(self._content & (self._counts >= LEAST_PLACES // 4))
        if not len(candidates):
            return None
        seed = int(candidates[rng.integers(len(candidates))])
        passage = np.cumsum(self._position % 100 == 0) - 1  # a hundred tokens of one document
        seeded = np.zeros(passage[-1] + 1, dtype=bool)
        seeded[passage[self._tokens == seed]] = True
        inside = np.bincount(self._tokens[seeded[passage]], minlength=len(self.texts))
        share = inside / max(1, inside.sum())
        overall = self._counts / self._counts.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(self._content & (inside >= 4), share * np.log(share / overall), 0)
        lexicon = np.argsort(-gain, kind="stable")[:LEXICON]
        lexicon = lexicon[gain[lexicon] > 0]
        if len(lexicon) < LEXICON // 2:
            return None
        named = self._among(lexicon)
        total = np.concatenate([[0], np.cumsum(named)])
        ends = np.arange(len(named)) + 1
        near = total[ends] - total[np.maximum(ends - 30, ends - 1 - self._position)]
        names = ", ".join(self.texts[index].strip() for index in lexicon[:4])
        return Rule("topic", f"talk of {names}", (near >= 3) & self._content[self._tokens])

    # ------------------------------------------------------------------------------- units

    def unit(
        self,
        grade: Grade,
        rng: np.random.Generator,
        kinds: Sequence[Kind] = KINDS,
        dense: bool = False,
    ) -> PlantedUnit:
        """Return a unit of this grade whose rules are of random `kinds`.

        A dense mixture follows three rules and fires besides, weakly and at random, on 30 % of
        tokens; a dense clean unit is not to be had. Raises CorpusError if the corpus is too
        short, ValueError if a clean unit is to be dense.
        """
        if dense and grade in ("clean", "mostly clean"):
            raise ValueError(f"a {grade} unit cannot be dense")
        split = rng.random(len(self.documents)) < 0.5
        total = len(self._tokens)
        count = {"clean": 1, "mostly clean": 1, "mixture": 3, "noise": 0}[grade]
        rules = [self.rule(kinds[int(rng.integers(len(kinds)))], rng, split) for _ in range(count)]
        places = [rng.permutation(np.flatnonzero(rule.holds)) for rule in rules]
        places = [place[: max(1, round(HEARD * len(place)))] for place in places]
        if places:
            most = min(len(place) for place in places)  # parts weigh alike
            places = [place[:most] for place in places]
        ruled = sum(len(place) for place in places)
        if dense:
            random = round(DENSE_DENSITY * total)
        elif grade == "noise":
            random = round(np.exp(rng.uniform(np.log(5e-4), np.log(LARGEST_DENSITY))) * total)
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
            # As in real neurons the diffuse firing is weak, and the rules show at the top.
            weak = np.setdiff1d(places[-1], np.concatenate(places[:-1]))
            activations[weak] *= WEAK
        return PlantedUnit(
            grade=grade,
            kinds=tuple(rule.kind for rule in rules),
            dense=dense,
            rule="; or ".join(rule.text for rule in rules) or "none",
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
        contexts = []
        for part, name in enumerate(SPLITS):
            firing = rng.permutation(fires[split[self._document[fires]] == part])
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
            everywhere = np.flatnonzero(split[self._document] == part)
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
        return places - self._position[places] % self.draws.window

    def _context(
        self, activations: NDArray[np.float32], peak: float, place: int, draw: Draw, split: Split
    ) -> Context:
        document = int(self._document[place])
        begin = int(self._window(np.array([place]))[0])
        end = min(begin + self.draws.window, int(self.documents.starts[document + 1]))
        low = max(begin, place - self.draws.each_side)
        high = min(end, place + self.draws.each_side + 1)
        shown = activations[low:high]
        value = float(activations[place])
        interval = min(self.draws.intervals, int(value / peak * self.draws.intervals) + 1)
        return Context(
            tokens=tuple(self.texts[index] for index in self._tokens[low:high]),
            activations=tuple(shown.tolist()),
            focus=place - low,
            draw=draw,
            interval=interval if value > 0 else None,
            split=split,
            silent=not shown.any(),
            document=document,
            position=int(self._position[place]),
        )

    def units(self, per_grade: int, seed: int, dense_share: float = 0.25) -> list[PlantedUnit]:
        """Return `per_grade` units of each grade, kinds in turn; some mixtures and noise dense."""
        units = []
        for number in range(per_grade):
            for place, grade in enumerate(GRADES):
                rng = np.random.default_rng([seed, number, place])
                single = grade in ("clean", "mostly clean")
                kinds = (KINDS[number % len(KINDS)],) if single else KINDS
                dense = not single and number < round(dense_share * per_grade)
                units.append(self.unit(grade, rng, kinds, dense))
        return units
