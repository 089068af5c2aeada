from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from autointerp.subjects.token_texts import TokenTexts, joined_texts, token_texts
from autointerp.text import whole_characters

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


def test_pieces_that_end_a_word_end_with_a_space() -> None:
    backend = Tokenizer(models.BPE({"<unk>": 0, "play": 1, "ing</w>": 2, "a</w>": 3}, []))
    backend.decoder = decoders.BPEDecoder()
    tokenizer = wrapped(backend, unk_token="<unk>")
    assert token_texts(tokenizer, 4) == ["<unk>", "play", "ing ", "a "]
    assert tokenizer.decode([1, 2, 3]) == "playing a"
    slow = SimpleNamespace(get_vocab=lambda: {"play": 0, "ing</w>": 1}, all_special_ids=[])
    assert token_texts(slow, 2) == ["play", "ing "]


def test_words_that_were_cut_at_spaces_begin_with_one() -> None:
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "cat": 2}, unk_token="<unk>"))
    assert token_texts(wrapped(backend, unk_token="<unk>"), 3) == ["<unk>", "the", "cat"]
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = wrapped(backend, unk_token="<unk>")
    assert token_texts(tokenizer, 3) == ["<unk>", " the", " cat"]
    assert tokenizer.decode(tokenizer("the cat")["input_ids"]) == "the cat"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits()]
    )
    assert token_texts(wrapped(backend, unk_token="<unk>"), 3) == ["<unk>", " the", " cat"]


def test_a_vocabulary_of_bytes_or_without_a_backend_is_read() -> None:
    def slow(vocabulary: dict[Any, int]) -> Any:
        return SimpleNamespace(get_vocab=lambda: vocabulary, all_special_ids=[])

    assert token_texts(slow({b"the": 0, b"\xff": 1}), 2) == ["the", "\\xff"]
    assert token_texts(slow({"▁the": 0, "a": 1}), 2) == [" the", "a"]
    assert token_texts(slow({"Ġthe": 0, "a": 1}), 2) == [" the", "a"]
    assert token_texts(slow({"the": 0, "a": 1}), 2) == ["the", "a"]


def pieces_of(raw: bytes, cuts: list[int]) -> list[str | bytes]:
    """Bytes cut at some places, each part a text if it is one."""
    edges = [0, *sorted({cut for cut in cuts if cut < len(raw)} - {0}), len(raw)]
    texts = TokenTexts([raw[a:b] for a, b in pairwise(edges) if b > a])
    return [texts.broken.get(index, text) for index, text in enumerate(texts)]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.text(
    "今我猫😀é“” aмс", min_size=1, max_size=12
)


@given(text=TEXT, cuts=st.lists(st.integers(0, 40)), focus=st.integers(0, 40))
def test_the_texts_of_tokens_put_together_are_the_text(
    text: str, cuts: list[int], focus: int
) -> None:
    pieces = pieces_of(text.encode(), cuts)
    focus %= len(pieces)
    texts = joined_texts(pieces, focus)
    assert "".join(texts) == text
    assert len(texts) == len(pieces)
    levels = [float(place) for place in range(len(pieces))]
    tokens, activations, marked = whole_characters(texts, levels, focus)
    assert "".join(tokens) == text
    assert all(tokens)
    assert marked is not None
    assert activations is not None
    # The mark stands on what has a byte of the focus token, the level is the largest of its parts.
    before = len("".join(tokens[:marked]).encode())
    begins = [len(b"".join(_raw(p) for p in pieces[:n])) for n in range(len(pieces) + 1)]
    assert before < begins[focus + 1]
    assert begins[focus] < before + len(tokens[marked].encode())
    assert max(activations) == levels[-1]


def _raw(piece: str | bytes) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece


@given(
    text=TEXT, cuts=st.lists(st.integers(0, 40)), first=st.integers(0, 9), last=st.integers(1, 9)
)
def test_a_window_shows_whole_characters_of_the_text_and_an_escape_at_a_mark_alone(
    text: str, cuts: list[int], first: int, last: int
) -> None:
    pieces = pieces_of(text.encode(), cuts)
    window = pieces[first % len(pieces) :][:last]
    for focus, piece in enumerate(window):
        texts = joined_texts(window, focus)
        others = "".join(texts[:focus]) + "".join(texts[focus + 1 :])
        if "\\x" not in text:
            assert "\\x" not in others
        shown = "".join(texts)
        assert shown in text or texts[focus].startswith("\\x")
        if texts[focus].startswith("\\x"):
            assert isinstance(piece, bytes)


def test_a_character_over_three_tokens_stands_at_the_first() -> None:
    raw = "今".encode()
    parts = [bytes([byte]) for byte in raw]
    assert joined_texts([" a", *parts, "b"], 2) == [" a", "今", "", "", "b"]
    assert joined_texts([*parts[1:], "b"], 2) == ["", "", "b"]  # its first byte is outside
    assert joined_texts([*parts[1:], "b"], 1) == ["", "\\x8a", "b"]
    assert joined_texts(["a", parts[0]], 0) == ["a", ""]
    assert joined_texts(["a", parts[0]], 1) == ["a", "\\xe4"]
    assert joined_texts(["a", b"\xff", "b"], 0) == ["a", "\\xff", "b"]  # no character anywhere
    # GPT-2 cuts \u201c behind its space and two bytes.
    assert joined_texts([b" \xe2\x80", b"\x9c", "yes"], 0) == [" “", "", "yes"]
    # A token may end one character and begin the next.
    both = "今我".encode()
    assert joined_texts([both[:2], both[2:4], both[4:]], 0) == ["今", "我", ""]


def test_added_tokens_of_spaces_are_spaces() -> None:
    from tokenizers import AddedToken, normalizers

    names = ["<bos>", "▁", "▁▁▁▁", "if", "▁x"]
    backend = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    backend.add_tokens([AddedToken("▁▁▁▁", special=False)])
    texts = token_texts(wrapped(backend, bos_token="<bos>"), len(names))
    assert texts == ["<bos>", " ", "    ", "if", " x"]


def test_a_byte_that_was_added_to_the_vocabulary_is_a_byte() -> None:
    backend = Tokenizer(models.BPE({"▁the": 0}, [], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    backend.add_special_tokens(["<0x78>", "<0xC3>"])  # as training with a byte fallback needs them
    tokenizer = wrapped(backend)
    assert token_texts(tokenizer, 3) == [" the", "x", "\\xc3"]
    assert tokenizer.decode([1]) == "x"
