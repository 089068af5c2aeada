"""Tokens of a text whose documents are labelled, with the words, numbers and lines they make."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import CorpusError

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class LabelledText:
    """A tokenised text.

    Attributes:
        tokens: [tokens] ids, the documents end to end.
        starts: [documents + 1] offset of each document, and the total.
        texts: [vocabulary] text of each id; those of a document join to its text.
        domain: [documents] what each document is: a language, a kind of prose.
    """

    tokens: Ints
    starts: Ints
    texts: tuple[str, ...]
    domain: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _made(self) -> dict[Callable[[LabelledText], Any], Any]:
        return {}

    def once(self, make: Callable[[LabelledText], T]) -> T:
        """Return `make(self)`, computed the first time that a function is given."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])

    @cached_property
    def document(self) -> Ints:
        """[tokens] document of each token."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @cached_property
    def position(self) -> Ints:
        """[tokens] place of each token in its document."""
        return np.arange(len(self)) - self.starts[self.document]

    @cached_property
    def counts(self) -> Ints:
        """[vocabulary] how often each token occurs."""
        return np.bincount(self.tokens, minlength=len(self.texts))

    @cached_property
    def domains(self) -> list[str]:
        return sorted(set(self.domain))

    def within(self, domains: Collection[str]) -> Mask:
        """Return [tokens] whether the token's document is of one of these domains."""
        return np.array([name in domains for name in self.domain])[self.document]

    # ---------------------------------------------------------------------------- tokens

    def of_vocabulary(self, member: Iterable[bool]) -> Mask:
        """Return [tokens] whether `member` [vocabulary] is true of the token."""
        return np.fromiter(member, dtype=bool, count=len(self.texts))[self.tokens]

    def after(self, holds: Mask, offset: int = 1) -> Mask:
        """Return [tokens] whether `holds` was true `offset` tokens before in the document."""
        shifted = np.zeros_like(holds)
        shifted[offset:] = holds[:-offset]
        return shifted & (self.position >= offset)

    def before(self, holds: Mask) -> Mask:
        """Return [tokens] whether `holds` is true of the next token of the document."""
        shifted = np.zeros_like(holds)
        shifted[:-1] = holds[1:]
        shifted[self.starts[1:] - 1] = False
        return shifted

    def since(self, opens: Mask, ends: Mask) -> Mask:
        """Return [tokens] whether the last of `opens` and `ends` before the token was one of
        `opens`; a document begins as if ended. The marks themselves are left out."""
        place = np.arange(len(self))
        begins = self.position == 0
        last_open = np.maximum.accumulate(np.where(opens, place, -1))
        last_end = np.maximum.accumulate(np.where(ends | (begins & ~opens), place, -1))
        return np.asarray((last_open > last_end) & ~opens & ~ends)

    # ----------------------------------------------------------------------------- lines

    @cached_property
    def breaks(self) -> Mask:
        """[tokens] whether the token breaks a line."""
        return self.of_vocabulary("\n" in text for text in self.texts)

    @cached_property
    def blank_lines(self) -> Mask:
        """[tokens] whether the token leaves a blank line."""
        return self.of_vocabulary(text.count("\n") > 1 for text in self.texts)

    @cached_property
    def line_begins(self) -> Mask:
        """[tokens] whether the token is the first of its line that is not of spaces."""
        blank = self.of_vocabulary(not text.strip() for text in self.texts)
        first = (self.position == 0) | self.after(self.breaks)
        indented = first & blank & ~self.breaks
        return np.asarray((first & ~blank) | (self.after(indented) & ~blank))

    # ------------------------------------------------------------------- words and numbers

    @cached_property
    def _letters(self) -> Mask:
        return np.array([text.strip().isalpha() for text in self.texts])

    @cached_property
    def _digits(self) -> Mask:
        return np.array([text.strip().isdecimal() for text in self.texts])

    def _runs(self, member: Mask) -> tuple[Ints, Ints]:
        """Return first and last places of runs of member tokens that no space divides."""
        spaced = np.array([text[:1].isspace() for text in self.texts])
        here = member[self.tokens]
        continues = here & self.after(here) & ~spaced[self.tokens]
        first = np.flatnonzero(here & ~continues)
        last = np.flatnonzero(here & ~self.before(continues))
        return first, last

    def _joined(self, first: Ints, last: Ints) -> list[str]:
        texts, tokens = self.texts, self.tokens.tolist()
        stripped = [text.strip() for text in texts]
        return [
            stripped[tokens[a]]
            if a == b
            else "".join([texts[t] for t in tokens[a : b + 1]]).strip()
            for a, b in zip(first.tolist(), last.tolist(), strict=True)
        ]

    @cached_property
    def _words(self) -> tuple[Ints, Ints, list[str], Ints]:
        first, last = self._runs(self._letters)
        joined = self._joined(first, last)
        words = sorted(set(joined))
        number = {word: n for n, word in enumerate(words)}
        return first, last, words, np.array([number[word] for word in joined], dtype=np.int64)

    @cached_property
    def words(self) -> list[str]:
        """Every different word, as it is written."""
        return self._words[2]

    @cached_property
    def word_counts(self) -> dict[str, int]:
        """How often each word in lower case occurs."""
        counts: dict[str, int] = {}
        _, _, _, which = self._words
        for word, times in zip(self._lower, np.bincount(which).tolist(), strict=True):
            counts[word] = counts.get(word, 0) + times
        return counts

    @cached_property
    def _lower(self) -> list[str]:
        return [word.lower() for word in self.words]

    @cached_property
    def _written(self) -> dict[str, list[int]]:
        """The places in `words` of each word in lower case."""
        numbers: dict[str, list[int]] = {}
        for number, word in enumerate(self._lower):
            numbers.setdefault(word, []).append(number)
        return numbers

    def _at_words(self, member: Iterable[bool], at: Ints) -> Mask:
        return self._at(np.fromiter(member, dtype=bool, count=len(self.words)), at)

    def _at(self, member: Mask, at: Ints) -> Mask:
        chosen = member[self._words[3]]
        holds = np.zeros(len(self), dtype=bool)
        holds[at[chosen]] = True
        return holds

    def word_ends(self, member: Iterable[bool]) -> Mask:
        """Return [tokens] whether the token is the last of a word for which `member` is true.

        `member` goes along `words`.
        """
        return self._at_words(member, self._words[1])

    def word_begins(self, member: Iterable[bool]) -> Mask:
        """Return [tokens] whether the token is the first of such a word."""
        return self._at_words(member, self._words[0])

    def ends_of(self, lower: Collection[str]) -> Mask:
        """Return [tokens] whether the token ends one of these words, in any case."""
        return self._at(self._are(lower), self._words[1])

    def begins_of(self, lower: Collection[str]) -> Mask:
        """Return [tokens] whether the token begins one of these words, in any case."""
        return self._at(self._are(lower), self._words[0])

    def _are(self, lower: Collection[str]) -> Mask:
        member = np.zeros(len(self.words), dtype=bool)
        for word in lower:
            member[self._written.get(word, [])] = True
        return member

    @cached_property
    def every_word_ends(self) -> Mask:
        """[tokens] whether the token is the last of a word."""
        return self.word_ends(True for _ in self.words)

    @cached_property
    def every_word_begins(self) -> Mask:
        """[tokens] whether the token is the first of a word."""
        return self.word_begins(True for _ in self.words)

    def numbered(self, number: Mapping[str, int]) -> Ints:
        """Return [tokens] the number of the word in lower case that ends there, or -1."""
        of_word = np.fromiter((number.get(word, -1) for word in self._lower), dtype=np.int64)
        numbers = np.full(len(self), -1)
        numbers[self._words[1]] = of_word[self._words[3]]
        return numbers

    @cached_property
    def _after_space(self) -> Mask:
        """[words of the text] whether a space stands before the word, in the document."""
        first = self._words[0]
        spaced = np.array([text[:1] == " " for text in self.texts])[self.tokens[first]]
        return np.asarray(spaced & (self.position[first] > 0))

    def next_word(self, ends: Mask) -> Mask:
        """Return [tokens] whether the token ends a word that follows, a space between, a word
        that ended where `ends` is true."""
        first, last, _, _ = self._words
        follows = ends[first - 1] & self._after_space
        holds = np.zeros(len(self), dtype=bool)
        holds[last[follows]] = True
        return holds

    def previous_word(self, ends: Mask) -> Mask:
        """Return [tokens] whether the token ends a word before such a word."""
        first, last, _, _ = self._words
        chosen = ends[last] & self._after_space
        holds = np.zeros(len(self), dtype=bool)
        holds[first[chosen] - 1] = True
        return holds & self.every_word_ends

    @cached_property
    def _numbers(self) -> tuple[Ints, Ints, list[str]]:
        first, last = self._runs(self._digits)
        return first, last, self._joined(first, last)

    @cached_property
    def numbers(self) -> list[str]:
        """Every number of digits alone, in the order of the text."""
        return self._numbers[2]

    def number_ends(self, member: Iterable[bool]) -> Mask:
        """Return [tokens] whether the token ends a number for which `member` [numbers] is true."""
        last = self._numbers[1]
        holds = np.zeros(len(self), dtype=bool)
        holds[last[np.fromiter(member, dtype=bool, count=len(last))]] = True
        return holds

    def before_numbers(self, marks: Mask) -> Mask:
        """Return [tokens] whether the token ends a number that stands right after a mark."""
        first, last, _ = self._numbers
        chosen = (self.position[first] > 0) & marks[first - 1]
        holds = np.zeros(len(self), dtype=bool)
        holds[last[chosen]] = True
        return holds


def load_labelled_text(path: Path) -> LabelledText:
    """Return the text saved at `path`. Raises CorpusError if there is none that is whole."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            names = file["domains"]
            return LabelledText(
                tokens=file["tokens"].astype(np.int64),
                starts=file["starts"].astype(np.int64),
                texts=tuple(map(str, file["texts"])),
                domain=tuple(str(names[number]) for number in file["domain"]),
            )
    except (BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError) as error:
        raise CorpusError(f"{path} is not whole ({error}); install autointerp again") from None
