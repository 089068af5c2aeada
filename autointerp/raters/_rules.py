"""Short readable rules for where a unit fires, learnt from contexts without a model.

A rule is a few alternatives; an alternative is one to three conditions that hold together. Each
alternative is the best single one that can be found for what those before it do not cover, by
the share of firing positions it covers less the share of silent ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autointerp.raters._evidence import (
    ATTRIBUTES,
    CLOSING,
    Condition,
    Evidence,
    Floats,
    Ints,
    Mask,
)
from autointerp.stats.ranks import auc

OFFSETS: dict[str, tuple[int, ...]] = {
    "text": (0, -1, 1, -2, -3, -4),
    "word": (0, -1, 1, -2, -3, -4),
    "ending3": (0, -1),
    "ending2": (0, -1),
    "beginning3": (0, -1),
    "beginning2": (0, -1),
    "shape": (0, -1, 1, -2),
    "kind": (0, -1, 1),
    "long4": (0,),
    "long8": (0,),
}
# Among rules that cover about as well, the plainest wins: the token itself before its endings,
# what stands here before what stands elsewhere. One chance firing is worth about 0.01.
PRICE = {
    "text": 0.0, "word": 0.001, "ending3": 0.012, "ending2": 0.013, "beginning3": 0.012,
    "beginning2": 0.013, "shape": 0.02, "kind": 0.02, "earlier": 0.03,
    "long4": 0.02, "long8": 0.02, "nearby": 0.03, "inside": 0.02,
}  # fmt: skip
PRICE_OF_DISTANCE = 0.002
FOLDS = 4
LEXICON, LEAST_LEXICON = 16, 4  # words of a passage
LEAST_OFTEN = 3  # contexts that fire, with a word of the lexicon
LEAST_CONTEXTS = 8  # that fire, and that are silent
NEARBY_COUNTS = (1, 2, 3, 5)
CONDITIONS = 3  # in an alternative
BEAM = 6
LEAST_GAIN = 0.02  # of a further condition
LEAST_WORTH = 0.05  # of an alternative
# Silent positions weigh so much more when a found alternative is sharpened: ' the' is rare
# enough that the balanced measure hardly sees whether it must stand after ' of'.
SHARPNESS = 5.0
LARGEST_LOSS = 0.01  # of the balanced measure, to a sharper alternative


@dataclass(frozen=True)
class Alternative:
    """Conditions that hold together.

    Attributes:
        covers: Share of the firing positions, as weighed, where it holds and none before it does.
        alarms: The same share of the silent positions.
    """

    conditions: tuple[Condition, ...]
    covers: float
    alarms: float

    @property
    def confidence(self) -> float:
        """Share of firing positions where it holds, were firing and silence equally common."""
        return (self.covers + 0.01) / (self.covers + self.alarms + 0.02)


Rule = tuple[Alternative, ...]


def price_of(condition: Condition) -> float:
    """Return what a condition costs against plainer ones."""
    return PRICE[condition.attribute] + PRICE_OF_DISTANCE * abs(condition.offset)


class Search:
    """All conditions that occur in the evidence, ready to be summed over."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.columns: list[tuple[str, int]] = []
        self.bases: list[int] = []
        rows, prices, base = [], [], 0
        for attribute in ATTRIBUTES:
            codes, values = evidence.codes(attribute)
            for offset in OFFSETS[attribute]:
                self.columns.append((attribute, offset))
                self.bases.append(base)
                rows.append(codes[evidence.at(offset)] + base)
                price = np.full(len(values), price_of(Condition(attribute, offset, "")))
                price[0] = np.inf
                prices.append(price)
                base += len(values)
        self.slots = np.stack(rows)  # [columns, positions]
        self.size = base
        codes, values = evidence.codes("word")
        self.columns.append(("earlier", 0))
        self.bases.append(base)
        prices.append(np.full(len(values), PRICE["earlier"]))
        prices[-1][0] = np.inf
        self.price = np.concatenate(prices)
        self.masks = passages(evidence)
        for mark in CLOSING:
            self.masks[Condition("inside", 0, mark)] = evidence.inside(mark)
        # First place of each word in each context: from the next one on, `earlier` holds.
        pairs, first = np.unique(
            evidence.context * len(values) + codes[evidence.at(0)], return_index=True
        )
        self.word, self.words = pairs % len(values), len(values)
        self.begins, self.stops = first + 1, evidence.ends[pairs // len(values)]

    def best(
        self, weights: Floats, among: Ints | None, count: int
    ) -> list[tuple[float, Condition]]:
        """Return conditions by the summed weight of the positions where they hold, best first.

        `among` are the positions that have a weight, None for all. Conditions that sum to the
        same are, as a rule, the same in other words: only the plainest of them is returned.
        """
        slots = self.slots if among is None else self.slots[:, among]
        weight = weights if among is None else weights[among]
        sums = np.bincount(slots.ravel(), np.tile(weight, len(slots)), self.size)
        running = np.concatenate([[0.0], np.cumsum(weights)])
        gained = running[self.stops] - running[self.begins]
        sums = np.concatenate([sums, np.bincount(self.word, gained, self.words)])
        worth = sums - self.price
        found = [
            (float(weights[holds].sum()), condition) for condition, holds in self.masks.items()
        ]
        if count == 1:
            slot = int(np.argmax(worth))
            plain = (float(sums[slot]), self._condition(slot))
            return [max([plain, *found], key=lambda one: one[0] - price_of(one[1]))]
        pool = np.argpartition(-worth, min(4 * count, len(worth) - 1))[: 4 * count]
        pool = pool[np.lexsort((pool, -worth[pool]))]
        _, first = np.unique(np.round(sums[pool], 9), return_index=True)
        chosen = pool[np.sort(first)][:count]
        plainest = [(float(sums[slot]), self._condition(int(slot))) for slot in chosen]
        return plainest + found

    def holds(self, condition: Condition) -> Mask:
        """Return where the condition holds; of a passage's words, as the other contexts teach."""
        if condition in self.masks:
            return self.masks[condition]
        return self.evidence.holds(condition)

    def _condition(self, slot: int) -> Condition:
        column = int(np.searchsorted(self.bases, slot, side="right")) - 1
        attribute, offset = self.columns[column]
        values = self.evidence.codes("word" if attribute == "earlier" else attribute)[1]
        return Condition(attribute, offset, values[slot - self.bases[column]] or "")

    def alternative(self, weights: Floats) -> tuple[float, tuple[Condition, ...], Mask]:
        """Return the best alternative with its summed weight and where it holds."""
        best: tuple[float, tuple[Condition, ...], Mask] = (0.0, (), np.zeros(len(weights), bool))
        best_worth = 0.0
        for gain, condition in self.best(weights, None, BEAM):
            conditions, holds = [condition], self.holds(condition)
            while len(conditions) < CONDITIONS:
                inside = np.where(holds, weights, 0.0)
                further, extra = self.best(inside, np.flatnonzero(inside), 1)[0]
                if further < gain + LEAST_GAIN:
                    break
                conditions.append(extra)
                holds = holds & self.holds(extra)
                gain = further
            worth = gain - sum(map(price_of, conditions))
            if worth > best_worth:
                best, best_worth = (gain, tuple(conditions), holds), worth
        return best

    def sharpened(
        self, gain: float, conditions: tuple[Condition, ...], holds: Mask, weights: Floats
    ) -> tuple[tuple[Condition, ...], Mask]:
        """Return the alternative with conditions added that shed alarms and cost no cover."""
        strict = np.where(weights < 0, SHARPNESS * weights, weights)
        worth = float(strict[holds].sum())
        while len(conditions) < CONDITIONS:
            inside = np.where(holds, strict, 0.0)
            further, extra = self.best(inside, np.flatnonzero(inside), 1)[0]
            narrower = holds & self.holds(extra)
            if further < worth + LEAST_GAIN or weights[narrower].sum() < gain - LARGEST_LOSS:
                break
            conditions, holds, worth = (*conditions, extra), narrower, further
        return conditions, holds


def passages(evidence: Evidence) -> dict[Condition, Mask]:
    """Return conditions on the words nearby, and where each holds.

    The words are those that stand in more contexts that fire than in silent ones. Whether the
    condition holds in a context is told by the words that the other folds of contexts give, so
    that a passage is not known by its own words. None where few contexts are silent.
    """
    contexts = len(evidence.ends)
    firing, _ = evidence.weights()
    weight = np.bincount(evidence.context, weights=firing, minlength=contexts)
    silent = weight == 0
    if silent.sum() < LEAST_CONTEXTS or (~silent).sum() < LEAST_CONTEXTS:
        return {}
    codes, values = evidence.codes("word")
    word = codes[evidence.at(0)]
    table = np.zeros((contexts, len(values)), dtype=bool)
    table[evidence.context, word] = True
    table[:, 0] = False
    fold = np.zeros(contexts, dtype=np.int64)
    for part in (silent, ~silent):
        fold[part] = np.arange(part.sum()) % FOLDS

    def lexicon(kept: Mask) -> list[str]:
        share = weight * kept
        inside = share @ table / share.sum()
        outside = (table[silent & kept].sum(axis=0) + 0.5) / ((silent & kept).sum() + 1)
        often = table[~silent & kept].sum(axis=0) >= LEAST_OFTEN
        useful = often & (inside > outside)
        gain = np.zeros(len(values))
        gain[useful] = inside[useful] * np.log(inside[useful] / outside[useful])
        best = np.argsort(-gain, kind="stable")[:LEXICON]
        return [str(values[code]) for code in best if gain[code] > 0]

    words = lexicon(np.ones(contexts, dtype=bool))
    if len(words) < LEAST_LEXICON:
        return {}
    found = {
        Condition("nearby", least, " ".join(words)): np.zeros(len(word), bool)
        for least in NEARBY_COUNTS
    }
    for number in range(FOLDS):
        others = lexicon(fold != number)
        here = (fold == number)[evidence.context]
        for condition, holds in found.items():
            holds[here] = evidence.nearby(others, condition.offset)[here]
    return found


def learn(evidence: Evidence, alternatives: int) -> Rule:
    """Return the rule of at most so many alternatives; empty if nothing separates."""
    firing, silent = evidence.weights()
    search = Search(evidence)
    left = np.ones(len(firing), dtype=bool)
    rule: list[Alternative] = []
    for _ in range(alternatives):
        weights = np.where(left, firing - silent, 0.0)
        gain, conditions, holds = search.alternative(weights)
        if gain < LEAST_WORTH:
            break
        conditions, holds = search.sharpened(gain, conditions, holds, weights)
        new = holds & left
        rule.append(Alternative(conditions, float(firing[new].sum()), float(silent[new].sum())))
        left &= ~holds
    return tuple(rule)


def measure(rule: Rule, evidence: Evidence, alternatives: int) -> list[float]:
    """Return the AUROC of the rule's first one, first two, … alternatives.

    A rule that has fewer alternatives than asked for repeats its last figure; an empty one has
    0.5 throughout.
    """
    firing, silent = evidence.weights()
    fires = evidence.firing
    score = np.zeros(len(firing))
    figures = []
    for alternative in rule:
        new = evidence.where(alternative.conditions) & (score == 0)
        score[new] = alternative.confidence
        figures.append(auc(score[fires], score[~fires], firing[fires], silent[~fires]))
    return figures + [figures[-1] if figures else 0.5] * (alternatives - len(figures))


# ------------------------------------------------------------------------------- in words

SHAPES = {
    "newline": "a line break",
    "spaces": "white space",
    "digits": "digits",
    "bytes": "part of a character",
    "punctuation": "punctuation",
    "mixed": "letters mixed with other signs",
    "accented": "a piece with letters beyond ASCII",
    " accented": "a word with letters beyond ASCII",
    "lower": "a lower-case piece inside a word",
    " lower": "a lower-case word",
    "upper": "a piece in capitals",
    " upper": "a word in capitals",
    "capital": "a capitalised piece",
    " capital": "a capitalised word",
    "space": "white space",
    "letters": "letters",
}


def quoted(text: str) -> str:
    """Return the text in single quotes, line breaks and other controls escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{shown}'"


def described(condition: Condition) -> str:
    """Return what a token must be for the condition to hold."""
    value = quoted(condition.value)
    match condition.attribute:
        case "text":
            return value
        case "word" | "earlier":
            return f"{value} in any case"
        case "ending2" | "ending3":
            return f"a piece ending in {value}"
        case "beginning2" | "beginning3":
            return f"a piece beginning with {value}"
        case "long4" | "long8":
            return f"letters, {condition.value} or more"
        case _:
            return SHAPES[condition.value]


def alternative_in_words(alternative: Alternative) -> str:
    """Return one line such as `' the' after ' of'`."""
    focus = [
        described(c)
        for c in alternative.conditions
        if c.offset == 0 and c.attribute not in ("earlier", "nearby", "inside")
    ]
    words = [" and ".join(focus) or "any token"]
    for condition in sorted(alternative.conditions, key=lambda c: -c.offset):
        if condition.attribute == "nearby":
            listed = ", ".join(map(quoted, condition.value.split(" ")))
            words.append(f"with {condition.offset} of {listed} nearby")
            continue
        if condition.attribute == "inside":
            words.append(f"inside {quoted(condition.value)}")
            continue
        what = described(condition)
        if condition.attribute == "earlier":
            words.append(f"with {what} earlier")
        elif condition.offset == -1:
            words.append(f"after {what}")
        elif condition.offset < 0:
            words.append(f"{-condition.offset} places after {what}")
        elif condition.offset > 0:
            words.append(f"before {what}")
    return " ".join(words)


def rule_in_words(rule: Rule) -> str:
    """Return the rule in words; `Unknown` for the empty rule."""
    return "; or ".join(alternative_in_words(alternative) for alternative in rule) or "Unknown"
