"""Texts are tokenised once, by whoever comes first, and the ids are the same as without files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_language_models import tokenizer as tiny_tokenizer

from autointerp.subjects import token_cache as caching
from autointerp.subjects.corpora import Document, open_corpus, stream_windows, tokenised
from autointerp.subjects.token_cache import TokenCache, cached_documents
from autointerp.subjects.tokenizers import tokenizer_digest

TEXTS = [f"document {'x' * (7 * n % 40)} {n}" for n in range(60)]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "FIRST_CHARACTERS", 20)
    monkeypatch.setattr(caching, "MOST_CHARACTERS", 100)


class Tokeniser:
    """Ids that are code points; counts the texts."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, texts: list[str]) -> list[list[int]]:
        self.texts += len(texts)
        return [[ord(character) for character in text] for text in texts]


def cache_of(folder: Path, texts: list[Any], tokenise: Any = None) -> TokenCache:
    documents = [Document(3 * number, text) for number, text in enumerate(texts)]
    return TokenCache(folder, {"of": "these"}, lambda: documents, tokenise or Tokeniser())


def ids_of(documents: Any) -> list[tuple[int, list[int]]]:
    return [(index, ids.tolist()) for index, ids in tokenised(documents, Tokeniser())]


def contents(cache: TokenCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(cache.place.glob("*.tokens"))}


texts_or_ids = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(st.integers(0, 2**40), max_size=9).map(lambda ids: np.array(ids, dtype=np.int64)),
)


@given(st.lists(texts_or_ids, min_size=1, max_size=25), st.integers(0, 25))
def test_ids_read_twice_are_those_of_the_texts_wherever_the_first_reading_ended(
    tmp_path_factory: pytest.TempPathFactory, texts: list[Any], ended: int
):
    folder = tmp_path_factory.mktemp("cache")
    plain = [Document(3 * number, text) for number, text in enumerate(texts)]
    list(islice(cache_of(folder, texts).documents(), ended))
    for _ in range(2):
        assert ids_of(cache_of(folder, texts).documents()) == ids_of(plain)


def test_each_text_is_tokenised_once_and_a_look_at_the_first_takes_few(tmp_path: Path):
    tokenise = Tokeniser()
    next(iter(cache_of(tmp_path, TEXTS, tokenise).documents()))
    assert tokenise.texts == 2  # of 11 and 18 characters: the first file has 20 at least
    for _ in range(2):
        list(cache_of(tmp_path, TEXTS, tokenise).documents())
    assert tokenise.texts == len(TEXTS)


def test_processes_that_read_at_once_divide_the_texts_and_leave_the_bytes_of_one(tmp_path: Path):
    list(cache_of(tmp_path / "one", TEXTS).documents())
    both_are_at_it = threading.Barrier(2, timeout=30)

    class Slow(Tokeniser):
        def __call__(self, texts: list[str]) -> list[list[int]]:
            if not self.texts:  # each is inside of its first file at the same time
                both_are_at_it.wait()
            return super().__call__(texts)

    slow = [Slow(), Slow()]
    read: list[Any] = [None, None]

    def run(number: int) -> None:
        read[number] = ids_of(cache_of(tmp_path / "two", TEXTS, slow[number]).documents())

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    expected = ids_of(Document(3 * number, text) for number, text in enumerate(TEXTS))
    assert read == [expected, expected]
    assert min(one.texts for one in slow) > 0
    assert sum(one.texts for one in slow) == len(TEXTS)
    assert contents(cache_of(tmp_path / "two", [])) == contents(cache_of(tmp_path / "one", []))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def with_a_turned_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def without_its_head(path: Path) -> None:
    path.write_bytes(path.read_bytes()[30:])


def of_another_place(path: Path) -> None:
    path.write_bytes(path.with_name("000003.tokens").read_bytes())


def of_nothing(path: Path) -> None:
    path.write_bytes(b"")


def of_nonsense(path: Path) -> None:
    path.write_bytes(caching.MAGIC + b'{"tokens": -3, "documents": "x"}\n')


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damage",
    [cut, with_a_turned_bit, without_its_head, of_another_place, of_nothing, of_nonsense, gone],
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_file_is_made_again_and_no_other(
    damage: Callable[[Path], None], number: int, tmp_path: Path
):
    cache = cache_of(tmp_path, TEXTS)
    expected = ids_of(cache.documents())
    before = contents(cache)
    damage(cache.path(number))
    tokenise = Tokeniser()
    assert ids_of(cache_of(tmp_path, TEXTS, tokenise).documents()) == expected
    assert contents(cache) == before
    assert 0 < tokenise.texts < 20


def test_a_lock_that_a_killed_process_left_holds_nobody_up(tmp_path: Path):
    cache = cache_of(tmp_path, TEXTS)
    cache.place.mkdir()
    (cache.place / ".000000.tokens.lock").touch()
    assert len(list(cache.documents())) == len(TEXTS)


def test_where_nothing_can_be_written_the_texts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(caching.os, "access", lambda path, mode: False)
    expected = ids_of(Document(3 * number, text) for number, text in enumerate(TEXTS))
    assert ids_of(cache_of(tmp_path / "x", TEXTS).documents()) == expected
    assert not (tmp_path / "x").exists()


def windows(documents: Callable[[], Iterator[Document]], tokenise: Any) -> list[Any]:
    batches = stream_windows(documents(), tokenise, 8, bos=1, pad=0, rows=4)
    return [[value.tolist() for value in vars(batch).values()] for batch in batches]


def test_windows_of_a_corpus_are_the_same_from_the_files_and_anything_else_takes_other_files(
    tmp_path: Path,
):
    (tmp_path / "a.txt").write_text("\n\n".join(TEXTS))
    corpus = open_corpus(tmp_path / "a.txt")
    tokenizer = tiny_tokenizer()
    folder = tmp_path / "tokens"

    def tokenise(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def never(texts: list[str]) -> list[list[int]]:
        raise AssertionError("tokenised again")

    expected = windows(corpus.documents, tokenise)
    assert windows(cached_documents(corpus, tokenizer, tokenise, folder), tokenise) == expected
    assert windows(cached_documents(corpus, tokenizer, never, folder), never) == expected
    assert len(list(folder.iterdir())) == 1
    drawn = replace(corpus, seed=3)
    found = windows(cached_documents(drawn, tokenizer, tokenise, folder), tokenise)
    assert found == windows(drawn.documents, tokenise)
    assert found != expected
    other = tiny_tokenizer()
    other.add_tokens(["document"])
    list(cached_documents(corpus, other, tokenise, folder)())
    (tmp_path / "a.txt").write_text("\n\n".join(TEXTS).replace("x", "y"))
    list(cached_documents(open_corpus(tmp_path / "a.txt"), tokenizer, tokenise, folder)())
    assert len(list(folder.iterdir())) == 4


def test_stored_ids_and_tokenizers_of_unknown_content_leave_no_files(tmp_path: Path):
    np.save(tmp_path / "ids.npy", np.arange(50, dtype=np.int64).reshape(5, 10))
    stored = open_corpus(tmp_path / "ids.npy")
    documents = cached_documents(stored, tiny_tokenizer(), Tokeniser(), tmp_path / "tokens")
    assert ids_of(documents()) == ids_of(stored.documents())
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    text = open_corpus(tmp_path / "a.txt")
    assert tokenizer_digest(object()) is None
    assert ids_of(cached_documents(text, object(), Tokeniser(), tmp_path / "tokens")()) == [
        (0, [111, 110, 101]),
        (1, [116, 119, 111]),
    ]
    assert not (tmp_path / "tokens").exists()
