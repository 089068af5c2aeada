"""Readable text of the token ids of any tokenizer, alone and side by side.

A vocabulary of bytes cuts characters: 今 is three tokens, none of which is a text. Side by side
they are. The character then stands at the token in which it begins, and the other tokens of it are
empty, so that the texts of tokens, put together, are the text.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from autointerp.text import is_control_token

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
WORD_END = "</w>"  # of a word's last piece, in vocabularies such as that of the first GPT
AT_SPACES = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")  # and lose them


class TokenTexts(Sequence[str]):
    """The text of each token id alone; bytes that are not UTF-8 by themselves are `\\xNN`.

    Attributes:
        broken: The bytes of the ids that are no text alone: parts of characters.
    """

    def __init__(self, texts: Sequence[str | bytes]) -> None:
        self.broken: dict[int, bytes] = {}
        self._texts: list[str] = []
        for index, text in enumerate(texts):
            if isinstance(text, str):
                self._texts.append(text)
                continue
            try:
                self._texts.append(text.decode("utf-8"))
            except UnicodeDecodeError:
                self.broken[index] = text
                self._texts.append(_escaped(text))

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._texts[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._texts == list(other)

    __hash__ = None  # type: ignore[assignment]

    def joined(self, ids: Sequence[int], focus: int) -> list[str]:
        """Return the text of each of some tokens that stand side by side; see the top of the file.

        `focus` is never empty unless it continues a character that is shown.
        """
        return joined_texts([self.broken.get(i, self._texts[i]) for i in ids], focus)


def joined_texts(pieces: Sequence[str | bytes], focus: int) -> list[str]:
    """Return the texts of pieces that stand side by side, of which some are parts of characters.

    Bytes that make up no character are `\\xNN`; at either end, where a character was cut, they are
    left out, unless they are all there is of `focus`.
    """
    texts: list[str] = []
    place = 0
    while place < len(pieces):
        piece = pieces[place]
        if isinstance(piece, str):
            texts.append(piece)
            place += 1
            continue
        end = place
        while end < len(pieces) and isinstance(pieces[end], bytes):
            end += 1
        run = tuple(p for p in pieces[place:end] if isinstance(p, bytes))
        shown, first_cut = _run(run, place == 0, end == len(pieces))
        texts += shown
        own = focus - place
        if 0 <= own < len(run) and not shown[own] and (own >= first_cut or not any(shown[:own])):
            texts[focus] = _escaped(run[own])
        place = end
    return texts


@functools.lru_cache(maxsize=100_000)
def _run(run: tuple[bytes, ...], begins: bool, ends: bool) -> tuple[tuple[str, ...], int]:
    """Return the texts of neighbouring parts of characters; `begins` and `ends` are of a window.

    And from which on they are parts of a character that the window's end cuts.
    """
    raw = b"".join(run)
    owner = [place for place, part in enumerate(run) for _ in part]
    texts = [""] * len(run)
    at = 0
    while at < len(raw):
        character, size = _character(raw, at)
        is_cut_before = begins and not texts[0] and at < 3 and raw[at] & 0xC0 == 0x80
        is_cut_after = ends and not character and _is_begun(raw[at:])
        if is_cut_after:
            return tuple(texts), owner[at]
        if not is_cut_before:
            texts[owner[at]] += character or _escaped(raw[at : at + 1])
        at += size
    return tuple(texts), len(run)


def _character(raw: bytes, at: int) -> tuple[str, int]:
    """Return the character that begins at a byte, and its bytes; "" and 1 if none does."""
    for size in range(1, 5):
        try:
            return raw[at : at + size].decode("utf-8"), min(size, len(raw) - at)
        except UnicodeDecodeError:
            continue
    return "", 1


def _is_begun(raw: bytes) -> bool:
    """Return whether bytes are the beginning of a character, and not all of it."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start == 0 and error.reason == "unexpected end of data"
    return False


def _escaped(raw: bytes) -> str:
    return raw.decode("utf-8", errors="backslashreplace")


def token_texts(tokenizer: Any, size: int) -> TokenTexts:
    """Return the text of every id below `size`: a leading space is a space, specials are as named.

    Byte-level BPE, SentencePiece (▁, byte fallback), WordPiece and whole words (a word's first
    piece gets its space), BPE with </w> (its last piece does) and vocabularies of raw bytes are
    read. Added tokens of spaces only are spaces. Ids without a token, as where an embedding is
    padded, are "".
    """
    vocabulary: dict[Any, int] = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    added = set(getattr(tokenizer, "added_tokens_decoder", {}))
    kind = _kind(tokenizer, vocabulary)
    texts: list[str | bytes] = [""] * size
    for token, index in vocabulary.items():
        if not 0 <= index < size:
            continue
        if isinstance(token, bytes) or index in special or is_control_token(token):
            texts[index] = token
        elif index in added and not BYTE.fullmatch(token):
            texts[index] = token.replace("▁", " ") if kind == "sentencepiece" else token
        else:
            texts[index] = vocabulary_text(token, kind)
    return TokenTexts(texts)


def vocabulary_text(token: str, kind: str) -> str | bytes:
    """Return what a token of a vocabulary of this kind stands for; see `token_texts`."""
    alphabet = byte_level_alphabet()
    if kind == "byte-level" and token and all(character in alphabet for character in token):
        return bytes(alphabet[character] for character in token)
    if kind == "wordpiece":
        return token[2:] if token.startswith("##") else f" {token}"
    if kind == "words":
        return f" {token}"
    if kind == "word-end" and token.endswith(WORD_END):
        return token.removesuffix(WORD_END) + " "
    if byte := BYTE.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace("▁", " ") if kind == "sentencepiece" else token


@functools.cache
def byte_level_alphabet() -> Mapping[str, int]:
    """Return the byte that each character of a byte-level BPE's vocabulary stands for.

    Source: Radford et al. 2019, GPT-2, `bytes_to_unicode`.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def _kind(tokenizer: Any, vocabulary: dict[Any, int]) -> str:
    """Return how a vocabulary is written, from the backend or the vocabulary itself: byte-level,
    wordpiece, sentencepiece, word-end, words or plain.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        written = json.loads(backend.to_str())
        decoder = json.dumps(written.get("decoder"))
        for name, kind in (
            ("ByteLevel", "byte-level"),
            ("WordPiece", "wordpiece"),
            ("BPEDecoder", "word-end"),
            ("Metaspace", "sentencepiece"),
            ("▁", "sentencepiece"),
            ("\\u2581", "sentencepiece"),
        ):
            if name in decoder:
                return kind
        cut = written.get("pre_tokenizer") or {}
        cuts = {step.get("type") for step in cut.get("pretokenizers", [cut])}
        if written["model"].get("type") == "WordLevel" and cuts.intersection(AT_SPACES):
            return "words"
    names = [token for token in vocabulary if isinstance(token, str)]
    for start, kind in (("Ġ", "byte-level"), ("##", "wordpiece"), ("▁", "sentencepiece")):
        if any(name.startswith(start) for name in names):
            return kind
    return "word-end" if any(name.endswith(WORD_END) for name in names) else "plain"
