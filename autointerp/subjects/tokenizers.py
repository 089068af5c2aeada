"""Readable text of the token ids of a `tokenizers` tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autointerp.errors import SubjectError
from autointerp.subjects.token_texts import TokenTexts, vocabulary_text
from autointerp.text import without_surrogates


@dataclass(frozen=True)
class ReadableTokenizer:
    """A `tokenizers.Tokenizer` and the text of each of its tokens."""

    backend: Any

    @property
    def size(self) -> int:
        return int(self.backend.get_vocab_size())

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""
        encoded = self.backend.encode_batch(
            [without_surrogates(text) for text in texts], add_special_tokens=False
        )
        return [list(one.ids) for one in encoded]

    @cached_property
    def texts(self) -> TokenTexts:
        """The text of every token id; bytes that are not UTF-8 by themselves are `\\xNN`."""
        texts: list[str | bytes] = [""] * self.size
        special = {token.content for token in self.backend.get_added_tokens_decoder().values()}
        for token, index in self.backend.get_vocab().items():
            texts[index] = token if token in special else vocabulary_text(token, "byte-level")
        return TokenTexts(texts)


def load_tokenizer(path: Path) -> ReadableTokenizer:
    """Return the tokenizer in a `tokenizer.json`.

    Raises SubjectError if the file is missing or malformed.
    """
    from tokenizers import Tokenizer

    if not path.exists():
        raise SubjectError(f"no tokenizer at {path}; train one with `autointerp train tokenizer`")
    try:
        return ReadableTokenizer(Tokenizer.from_file(str(path)))
    except Exception as error:  # noqa: BLE001, the library raises nothing narrower
        raise SubjectError(
            f"{path} is not a tokenizer.json ({error}); fetch or train it again"
        ) from None


def vocabulary_digest(texts: Sequence[str]) -> str:
    """Return the sha256 of a vocabulary's texts, by id: the same in every version of a library."""
    said = "\0".join([str(len(texts)), *texts])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Return the sha256 of all that a transformers tokenizer does to a text; None where it is not
    known, as of one that is written in Python.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        return None
    splits = getattr(tokenizer, "split_special_tokens", False)
    said = f"{type(tokenizer).__name__} {splits}\n{backend.to_str()}"
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()
