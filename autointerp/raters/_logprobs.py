"""What a reply's log probabilities say: mean scores and activations, and which texts fit."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from autointerp.questions.forms import LETTERS, LOUDEST
from autointerp.questions.replies import answer_start

ROUNDED_UP = 1e-3  # a log probability over 0 by rounding

# In JSON a quotation mark inside a text is escaped, so these match a key and never a text.
SCORE = re.compile(rb'(?<!\\)"score"\s*:\s*"?(-?\d+)')
LEAST_SHARE = 5e-4  # of a probability that is kept
LETTER = re.compile(rb"[A-Za-z]")
MATCHES = re.compile(rb'(?<!\\)"([1-9])"\s*:\s*"([A-Za-z]?(?:[ ,]+[A-Za-z])*)"')
ACTIVATION = re.compile(rb'(?<!\\)"activation"\s*:\s*"?(\d+)')


def tokens_of(logprobs: object) -> list[dict[str, Any]] | None:
    """Return the tokens in a choice's `logprobs`, or None where they are not all there.

    A token has `token` (text), perhaps `bytes`, and `alternatives`: pairs of text and log
    probability. Alternatives that are null, or of another form, are left out and cost nothing else.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    tokens = []
    for given in content:
        text = given.get("token") if isinstance(given, dict) else None
        if not isinstance(text, str):
            return None
        spelled = given.get("bytes")
        is_bytes = isinstance(spelled, list) and all(
            type(byte) is int and 0 <= byte < 256 for byte in spelled
        )
        alternatives, is_whole = _alternatives(given.get("top_logprobs"))
        if not is_whole and text not in [alternative for alternative, _ in alternatives]:
            alternatives = []  # a mean without the one that was chosen says nothing of the reply
        tokens.append(
            {
                "token": text,
                "bytes": spelled if is_bytes else None,
                "alternatives": alternatives or _alternatives([given])[0],
            }
        )
    return tokens


def _alternatives(top: object) -> tuple[list[tuple[str, float]], bool]:
    """Return pairs of text and log probability, and whether none had to be left out.

    `top` is a list of objects, or a mapping from text to log probability.
    """
    if isinstance(top, dict):
        pairs = list(top.items())
    elif isinstance(top, list):
        pairs = [
            (one.get("token"), one.get("logprob")) if isinstance(one, dict) else (None, None)
            for one in top
        ]
    else:
        return [], True
    kept = [
        (text, float(logprob))
        for text, logprob in pairs
        if isinstance(text, str)
        and isinstance(logprob, int | float)
        and not isinstance(logprob, bool)
        and -math.inf < logprob <= ROUNDED_UP
    ]
    return kept, len(kept) == len(pairs)


def score_alternatives(text: str, tokens: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the alternatives at the token in which the score's digits begin.

    `tokens` are those of `tokens_of`. The place is sought in what they spell after the model's
    reasoning, byte by byte: servers trim the text, and split characters over tokens. The result has
    `before`, the characters of that token ahead of the digits, and `top`, pairs of text and log
    probability. None if tokens and text do not give the same score.
    """
    pieces = [_spelled(token) for token in tokens]
    spelled, meant = _first(SCORE, b"".join(pieces)), _first(SCORE, text.encode("utf-8", "replace"))
    if spelled is None or meant is None or spelled[1] != meant[1]:
        return None
    offset, end = spelled.start(1), 0
    for token, piece in zip(tokens, pieces, strict=True):
        begin, end = end, end + len(piece)
        if end > offset:
            if not token["alternatives"]:
                return None
            return {
                "before": piece[: offset - begin].decode("utf-8", "replace"),
                "top": [list(alternative) for alternative in token["alternatives"]],
            }
    return None


def _spelled(token: dict[str, Any]) -> bytes:
    """Return a token's bytes; some servers give its text alone."""
    spelled = token["bytes"]
    return bytes(spelled) if spelled is not None else token["token"].encode("utf-8", "replace")


def _first(pattern: re.Pattern[bytes], text: bytes) -> re.Match[bytes] | None:
    return pattern.search(text, answer_start(text))


def expected_score(
    alternatives: dict[str, Any], scores: Sequence[int]
) -> tuple[float | None, float]:
    """Return the mean score by probability, and the probability that went to no score.

    The mean is None if no alternative counts.
    """
    mass = score_masses(alternatives, scores)
    total = sum(mass.values())
    if total <= 0:
        return None, 1.0
    return sum(score * share for score, share in mass.items()) / total, max(0.0, 1.0 - total)


def likeliest_score(alternatives: dict[str, Any], scores: Sequence[int]) -> int | None:
    """Return the score with most probability, the lower of two; None if no alternative counts."""
    mass = score_masses(alternatives, scores)
    return min(mass, key=lambda score: (-mass[score], score), default=None)


def score_masses(alternatives: dict[str, Any], scores: Sequence[int]) -> dict[int, float]:
    """Return the probability of each score that has any.

    An alternative counts for a score if it spells it, and could not go on to spell another.
    """
    spelled = [str(score) for score in scores]
    mass: dict[int, float] = {}
    for text, logprob in alternatives["top"]:
        before = alternatives["before"] if alternatives["before"].strip() else ""
        if not text.startswith(before):
            continue
        rest = text[len(before) :].lstrip()
        digits = re.match(r"-?\d+", rest)
        if digits is None or digits[0] not in spelled:
            continue
        open_end = digits.end() == len(rest)
        if open_end and any(s != digits[0] and s.startswith(digits[0]) for s in spelled):
            continue
        mass[int(digits[0])] = mass.get(int(digits[0]), 0.0) + math.exp(logprob)
    return {score: share for score, share in mass.items() if share > 0}


def expected_activations(text: str, tokens: Sequence[dict[str, Any]]) -> list[float] | None:
    """Return the mean activation by probability at each `"activation"` of a reply, in its order.

    They are sought in what `tokens` spell, as in `score_alternatives`. The token that was chosen
    stands for the number that was written, of which it may be the first digit. Where half of the
    probability or more went to no activation it is the number that was written. None if the reply
    has none, or its tokens do not spell it.
    """
    pieces = [_spelled(token) for token in tokens]
    spelled, written_text = b"".join(pieces), text.encode("utf-8", "replace")
    matches = list(ACTIVATION.finditer(spelled, answer_start(spelled)))
    meant = ACTIVATION.findall(written_text, answer_start(written_text))
    if not matches or [match[1] for match in matches] != meant:
        return None
    starts = [0, *itertools.accumulate(map(len, pieces))]
    means = []
    for match in matches:
        place = bisect.bisect_right(starts, match.start(1)) - 1
        before = pieces[place][: match.start(1) - starts[place]].decode("utf-8", "replace")
        written = {tokens[place]["token"]: f"{before}{int(match[1])},"}
        alternatives = [
            [written.get(text, text), logprob] for text, logprob in tokens[place]["alternatives"]
        ]
        mean, lost = expected_score({"before": before, "top": alternatives}, range(LOUDEST + 1))
        means.append(float(match[1]) if mean is None or lost > 0.5 else mean)
    return means


def listed_alternatives(
    text: str, tokens: Sequence[dict[str, Any]], key: str
) -> list[list[list[Any]]] | None:
    """Return the alternatives at each entry of a list of 0 and 1 under `key` in a reply.

    Pairs of text and log probability, what a token spells ahead of the entry taken off. None if
    the reply has no such list, or its tokens do not spell it.
    """
    pattern = re.compile(rb'(?<!\\)"' + re.escape(key).encode() + rb'"\s*:\s*\[([\s01,]*)\]')
    pieces = [_spelled(token) for token in tokens]
    spelled, meant = (
        _first(pattern, b"".join(pieces)),
        _first(pattern, text.encode("utf-8", "replace")),
    )
    if spelled is None or meant is None or spelled[1].split(b",") != meant[1].split(b","):
        return None
    starts = [0, *itertools.accumulate(map(len, pieces))]
    entries = []
    for digit in re.finditer(rb"[01]", spelled[1]):
        offset = spelled.start(1) + digit.start()
        place = bisect.bisect_right(starts, offset) - 1
        before = pieces[place][: offset - starts[place]].decode("utf-8", "replace")
        entries.append(
            [
                [other[len(before) :], logprob]
                for other, logprob in tokens[place]["alternatives"]
                if other.startswith(before)
            ]
        )
    return entries


# --------------------------------------------------------------------------- lists of letters


def expected_matches(
    text: str, tokens: Sequence[dict[str, Any]]
) -> dict[str, dict[str, float]] | None:
    """Return for each description's list of letters the probability of every letter, by its key.

    A list in ascending order is a row of decisions, whether to list this text, made one after
    another. At each place of the reply the alternatives say which letter comes next, or that none
    does: the probability of a letter is its share of what had not passed it over. It is known for
    every letter, for each is either listed or passed over at some place. Letters that are not in
    the result were given no probability. Lists that are out of order are left out; None if the
    reply has no list, or its tokens do not spell it.
    """
    pieces = [_spelled(token) for token in tokens]
    spelled, written = b"".join(pieces), text.encode("utf-8", "replace")
    lists = list(MATCHES.finditer(spelled, answer_start(spelled)))
    meant = MATCHES.findall(written, answer_start(written))
    if not lists or [match.groups() for match in lists] != meant:
        return None
    starts = [0, *itertools.accumulate(map(len, pieces))]

    def token_at(place: int) -> int:
        return bisect.bisect_right(starts, place) - 1

    def alternatives_at(place: int) -> list[tuple[str, float]]:
        """Return what may stand from `place` on in its token, with the probability of each."""
        number = token_at(place)
        before = pieces[number][: place - starts[number]].decode("utf-8", "replace")
        return [
            (alternative[len(before) :], math.exp(min(logprob, 0.0)))
            for alternative, logprob in tokens[number]["alternatives"]
            if alternative.startswith(before)
        ]

    found = {}
    for match in lists:
        places = [match.start(2) + letter.start() for letter in LETTER.finditer(match[2])]
        listed = [LETTERS.index(chr(spelled[place])) for place in places]
        if listed != sorted(set(listed)):
            continue
        likely: dict[str, float] = {}
        before, begin = -1, match.start(2)
        for chosen, place in zip([*listed, len(LETTERS)], [*places, match.end(2)], strict=True):
            # What parts letters may be a token of its own: then the letter is the next one's.
            parted = [] if token_at(place) == token_at(begin) else alternatives_at(place)
            likely |= _decided(_next_letter(alternatives_at(begin), parted), before, chosen)
            before, begin = chosen, place + 1
        found[match[1].decode()] = {
            letter: round(share, 4) for letter, share in likely.items() if share >= LEAST_SHARE
        }
    return found or None


def _next_letter(
    alternatives: Sequence[tuple[str, float]], parted: Sequence[tuple[str, float]]
) -> dict[int, float]:
    """Return the probability of each letter, by its number, to come next; of none at -1.

    `parted`: what may come behind an alternative that only parts letters.
    """
    likely: dict[int, float] = {}
    weight, open_end = 1.0, 0.0
    for some in (alternatives, parted):
        for text, share in some:
            rest = text.lstrip(" ,")
            if not rest:
                open_end += share
            elif rest[0] == '"':
                likely[-1] = likely.get(-1, 0.0) + weight * share
            elif rest[0] in LETTERS and rest[1:2] in ("", " ", ",", '"'):
                number = LETTERS.index(rest[0])
                likely[number] = likely.get(number, 0.0) + weight * share
        weight = open_end
    return likely


def _decided(likely: Mapping[int, float], before: int, chosen: int) -> dict[str, float]:
    """Return the probability of each letter behind `before` up to the one chosen.

    Those behind it are decided on at the next place.
    """
    left = sum(share for number, share in likely.items() if number == -1 or number > before)
    shares = {}
    for number in range(before + 1, min(chosen, len(LETTERS) - 1) + 1):
        share = likely.get(number, 0.0)
        shares[LETTERS[number]] = min(1.0, share / left) if left > 0 else float(number == chosen)
        left -= share
    return shares
