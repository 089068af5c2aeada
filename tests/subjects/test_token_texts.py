from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from autointerp.subjects.token_texts import token_texts

transformers = pytest.importorskip("transformers")


def wrapped(backend: Tokenizer, **special: str) -> Any:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def test_byte_level_tokens_are_decoded_and_halves_of_characters_escaped() -> None:
    # é is C3 A9 in UTF-8, Ã and © in the byte-level alphabet.
    backend = Tokenizer(models.BPE({"<s>": 0, "Ġthe": 1, "Ã©": 2, "Ã": 3, "Ċ": 4}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.decoder = decoders.ByteLevel()
    texts = token_texts(wrapped(backend, bos_token="<s>"), 7)
    assert texts == ["<s>", " the", "é", "\\xc3", "\n", "", ""]


def test_sentencepiece_tokens_have_spaces_and_bytes() -> None:
    backend = Tokenizer(models.Unigram([("<s>", 0.0), ("▁the", -1.0), ("<0xC3>", -2.0), ("s", -3)]))
    backend.decoder = decoders.Metaspace()
    assert token_texts(wrapped(backend, bos_token="<s>"), 4) == ["<s>", " the", "\\xc3", "s"]
    # Llama's: no Metaspace, but a Replace of ▁ in the decoder.
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    assert token_texts(wrapped(backend, bos_token="<s>"), 4) == ["<s>", " the", "\\xc3", "s"]


def test_wordpiece_tokens_begin_a_word_with_a_space() -> None:
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "play": 1, "##ing": 2}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    assert token_texts(wrapped(backend, unk_token="[UNK]"), 3) == ["[UNK]", " play", "ing"]


def test_a_vocabulary_of_bytes_or_without_a_backend_is_read() -> None:
    def slow(vocabulary: dict[Any, int]) -> Any:
        return SimpleNamespace(get_vocab=lambda: vocabulary, all_special_ids=[])

    assert token_texts(slow({b"the": 0, b"\xff": 1}), 2) == ["the", "\\xff"]
    assert token_texts(slow({"▁the": 0, "a": 1}), 2) == [" the", "a"]
    assert token_texts(slow({"Ġthe": 0, "a": 1}), 2) == [" the", "a"]
    assert token_texts(slow({"the": 0, "a": 1}), 2) == ["the", "a"]
