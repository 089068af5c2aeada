"""Readable text of the token ids of any Hugging Face tokenizer."""

from __future__ import annotations

import json
import re
from typing import Any

from autointerp.subjects.tokenizers import byte_level_alphabet

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_texts(tokenizer: Any, size: int) -> list[str]:
    """Return the text of every id below `size`: a leading space is a space, specials are as named.

    Byte-level BPE, SentencePiece (▁, byte fallback), WordPiece (a word's first piece gets its
    space) and vocabularies of raw bytes are read. Bytes that are not UTF-8 by themselves are
    `\\xNN`; ids without a token, as where an embedding is padded, are "".
    """
    vocabulary: dict[Any, int] = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    added = set(getattr(tokenizer, "added_tokens_decoder", {}))
    kind = _kind(tokenizer, vocabulary)
    alphabet = byte_level_alphabet()
    texts = [""] * size
    for token, index in vocabulary.items():
        if not 0 <= index < size:
            continue
        if isinstance(token, bytes):
            texts[index] = _decoded(token)
        elif index in special or index in added:
            texts[index] = token
        elif kind == "byte-level" and all(character in alphabet for character in token):
            texts[index] = _decoded(bytes(alphabet[character] for character in token))
        elif kind == "wordpiece":
            texts[index] = token[2:] if token.startswith("##") else f" {token}"
        elif byte := BYTE.fullmatch(token):
            texts[index] = _decoded(bytes([int(byte[1], 16)]))
        elif kind == "sentencepiece":
            texts[index] = token.replace("▁", " ")
        else:
            texts[index] = token
    return texts


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", errors="backslashreplace")


def _kind(tokenizer: Any, vocabulary: dict[Any, int]) -> str:
    """Return byte-level, wordpiece, sentencepiece or plain, from the backend or the vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        decoder = json.dumps(json.loads(backend.to_str()).get("decoder"))
        for name, kind in (
            ("ByteLevel", "byte-level"),
            ("WordPiece", "wordpiece"),
            ("Metaspace", "sentencepiece"),
            ("▁", "sentencepiece"),
            ("\\u2581", "sentencepiece"),
        ):
            if name in decoder:
                return kind
    names = [token for token in vocabulary if isinstance(token, str)]
    for start, kind in (("Ġ", "byte-level"), ("##", "wordpiece"), ("▁", "sentencepiece")):
        if any(name.startswith(start) for name in names):
            return kind
    return "plain"
