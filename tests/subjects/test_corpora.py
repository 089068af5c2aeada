from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import shutil
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from support import bombs

from autointerp.errors import BadInput, CorpusError, UnknownName
from autointerp.subjects import corpora
from autointerp.subjects.corpora import (
    Document,
    Options,
    hugging_face,
    open_corpus,
    stream_windows,
    tokenised,
)
from autointerp.subjects.windows import TokenisedDocuments, cut_windows


def contents(source: Path | str, **options: Any) -> list[Any]:
    found = open_corpus(source, options=Options(**options)).documents()
    return [d.content if isinstance(d.content, str) else d.content.tolist() for d in found]


def written(path: Path, *lines: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def parquet(path: Path, query: str) -> Path:
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


def test_a_text_file_is_cut_at_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\nline\n\n\n two é\n")
    assert contents(tmp_path / "a.txt") == ["one\nline", " two é"]


def test_a_text_file_with_end_marks_is_cut_there_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nstill one\n<|endoftext|>\ntwo<|endoftext|>three\n")
    assert contents(tmp_path / "a.txt") == ["one\n\nstill one", "two", "three"]


def test_an_end_mark_inside_a_line_leaves_the_lines_before_it_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo<|endoftext|>three\n\nfour<|endoftext|>\n")
    assert contents(tmp_path / "a.txt") == ["one\ntwo", "three\n\nfour"]


def test_a_folder_of_text_files_has_a_document_a_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("two\n\nparagraphs")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "README.md").write_text("not a document")
    assert contents(tmp_path) == ["one", "two\n\nparagraphs"]


def test_jsonl_holds_text_or_tokens_and_may_be_gzipped(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"text": "one"}, {"tokens": [3, 4]}, {"text": " "})
    assert contents(path) == ["one", [3, 4]]
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert contents(packed) == ["one", [3, 4]]
    assert contents(written(tmp_path / "c.jsonl", {"body": "x"}), field="body") == ["x"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not valid JSON"),
        ("[1]", "line 2: not an object"),
        ('{"body": "x"}', r"line 2: no `text` or .* \(keys: body\)"),
        ('{"text": 3}', "line 2: `text` is neither"),
        ('{"text": "x", "text": "y"}', r"line 2: not valid JSON \(key 'text' is there twice\)"),
        ('{"text": "x", "of": {"a": 1, "a": 1}}', "line 2: not valid JSON \\(key 'a' is there"),
        ('{"tokens": [1.5]}', "line 2: token ids must be"),
        ('{"tokens": [-1]}', "line 2: token id -1 is negative"),
    ],
)
def test_a_malformed_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "one"}}\n{line}\n')
    with pytest.raises(CorpusError, match=rf"a\.jsonl, {message}"):
        contents(path)


def test_a_cut_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n' * 5000)[:-20])
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz, after line \d+: the file is damaged"):
        contents(path)


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n\ntwo \xff\n")
    with pytest.raises(CorpusError, match=r"a\.txt, line 3: not UTF-8"):
        contents(tmp_path / "a.txt")


def test_parquet_rows_come_in_order(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", "SELECT i, 'text ' || i AS text FROM range(3000) t(i)")
    assert contents(path) == [f"text {i}" for i in range(3000)]
    ids = parquet(tmp_path / "b.parquet", "SELECT [i, 7] AS input_ids FROM range(2) t(i)")
    assert contents(ids) == [[0, 7], [1, 7]]


def test_parquet_without_a_clear_column_lists_the_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", "SELECT 'x' AS title, 'y' AS body")
    with pytest.raises(CorpusError, match="columns: title VARCHAR, body VARCHAR"):
        contents(path)
    assert contents(path, field="body") == ["y"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("[{'role': 'user', 'content': 'x'}]", "STRUCT"),
        ("[[1, 2], [3]]", r"INTEGER\[\]\[\]"),
        ("['x']", "VARCHAR"),
    ],
)
def test_a_parquet_column_of_other_lists_is_refused_by_its_type(
    value: str, kind: str, tmp_path: Path
) -> None:
    path = parquet(tmp_path / "a.parquet", f"SELECT {value} AS text")
    with pytest.raises(CorpusError, match=f"column text is of type {kind}.*must be texts or lists"):
        contents(path)


def test_a_missing_parquet_value_is_named_by_row(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", "SELECT unnest(['x', NULL]) AS text")
    with pytest.raises(CorpusError, match="row 2: `text` is null"):
        contents(path)


def test_a_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(CorpusError, match=r"a\.parquet") as error:
        contents(tmp_path / "a.parquet")
    assert "\n" not in str(error.value)


def test_token_arrays_keep_their_documents(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([[1, 2], [3, 4]], dtype=np.uint16))
    assert contents(tmp_path / "rows.npy") == [[1, 2], [3, 4]]
    np.save(tmp_path / "flat.npy", np.array([5, 6, 0, 7, 0], dtype=np.uint16))
    assert contents(tmp_path / "flat.npy", separator=0) == [[5, 6], [7]]
    with pytest.raises(CorpusError, match=r"flat\.npy is flat: give the token id at which"):
        contents(tmp_path / "flat.npy")
    TokenisedDocuments(np.arange(5), np.array([0, 2, 2, 5])).save(tmp_path / "ours.npz")
    assert contents(tmp_path / "ours.npz") == [[0, 1], [2, 3, 4]]
    np.save(tmp_path / "floats.npy", np.ones((2, 2)))
    with pytest.raises(CorpusError, match="token ids are whole numbers"):
        contents(tmp_path / "floats.npy")


@pytest.mark.parametrize(
    ("tokens", "starts", "message"),
    [
        ([1, 2, 3], [1, 3], "`starts` does not fit its 3 tokens"),
        ([1, 2, 3], [-1, 3], "`starts` does not fit"),
        ([1, 2, 3], [], "must be lists of whole numbers"),
        ([1, 2, 3], np.array([], np.int64), "`starts` does not fit"),
        ([1, 2, 3], np.array([0, 2, 1, 3], np.uint64), "`starts` does not fit"),
        ([1, 2, 3], [0.0, 3.0], "must be lists of whole numbers"),
        ([1.5, 2, 3], [0, 3], "must be lists of whole numbers"),
        ([[1, 2, 3]], [0, 1], "must be lists of whole numbers"),
        ([1, -2, 3], [0, 3], "token id -2 is of no vocabulary"),
        (np.array([1, 2**63], np.uint64), [0, 2], f"token id {2**63} is of no vocabulary"),
    ],
)
def test_a_file_of_tokens_that_is_no_list_of_documents_is_refused(
    tokens: Any, starts: Any, message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", tokens=tokens, starts=starts)
    with pytest.raises(CorpusError, match=message):
        contents(tmp_path / "a.npz")


def test_a_token_id_that_would_turn_negative_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, 2**63]], np.uint64))
    with pytest.raises(CorpusError, match=f"row 0: token id {2**63} is of no vocabulary"):
        contents(tmp_path / "a.npy")


def test_a_separator_at_the_edge_of_a_block_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.subjects.corpora.tokens.BLOCK", 3)
    np.save(tmp_path / "a.npy", np.array([1, 2, 0, 0, 3, 4, 5, 0]))
    assert contents(tmp_path / "a.npy", separator=0) == [[1, 2], [3, 4, 5]]


def test_a_hugging_face_dataset_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load_dataset(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        calls.append((args, kwargs))
        return [{"text": "one"}, {"text": "two"}]

    fake = types.ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr(hugging_face, "out_of_reach", lambda: None)
    assert contents("owner/name:part@validation") == ["one", "two"]
    assert contents("owner/name") == ["one", "two"]
    assert calls == [
        (("owner/name", "part"), {"split": "validation", "streaming": True}),
        (("owner/name", None), {"split": "train", "streaming": True}),
    ]


def test_rows_of_a_streamed_and_of_a_saved_dataset_are_read_by_the_library_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets: Any = pytest.importorskip("datasets")
    rows = [{"text": f"document {number}", "other": number} for number in range(5)]
    written(tmp_path / "named" / "train.jsonl", *rows)
    stream = datasets.load_dataset

    def load_dataset(name: str, config: str | None, **options: Any) -> Any:
        # The library takes a folder where it takes a name of the hub's.
        streamed = stream(str(tmp_path / "named"), config, **options)
        assert isinstance(streamed, datasets.IterableDataset)
        return streamed

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hugging_face, "out_of_reach", lambda: None)
    expected = [row["text"] for row in rows]
    assert contents("owner/name") == expected
    assert open_corpus("owner/name", seed=1).kind == "hugging-face"
    with pytest.raises(CorpusError, match=r"row 0: no column body \(columns: text, other\)"):
        contents("owner/name", field="body")
    with pytest.raises(CorpusError, match=r"cannot read the dataset 'owner/name@held': .*held"):
        contents("owner/name@held")

    tokens = datasets.Dataset.from_list([{"input_ids": [1, 2, 3]}, {"input_ids": [4]}])
    tokens.save_to_disk(tmp_path / "saved")
    assert contents(tmp_path / "saved") == [[1, 2, 3], [4]]
    empty = datasets.Dataset.from_list([{"text": "one"}, {"text": None}])
    datasets.DatasetDict(train=empty).save_to_disk(tmp_path / "splits")
    with pytest.raises(CorpusError, match="holds the splits train; give one's folder"):
        contents(tmp_path / "splits")
    with pytest.raises(CorpusError, match="row 1: `text` is null"):
        contents(tmp_path / "splits" / "train")


def test_a_dataset_out_of_reach_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("datasets")  # whose `load_dataset` nobody calls
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr(hugging_face, "out_of_reach", lambda: "no network")
    with pytest.raises(CorpusError, match=r"no owner/name here.* asked now \(no network\)"):
        contents("owner/name")


@pytest.mark.parametrize("name", ["corpora/none.jsonl", "a/b.parquet", "a/b.txt", "a/b.npy"])
def test_a_mistyped_file_is_not_taken_for_a_dataset(name: str) -> None:
    with pytest.raises(CorpusError, match=f"no corpus at {name}"):
        open_corpus(name)


def test_a_folder_of_two_kinds_says_what_to_do(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", {"text": "one"})
    (tmp_path / "b.txt").write_text("two")
    with pytest.raises(CorpusError, match="could be jsonl or text; keep files of one kind"):
        open_corpus(tmp_path)


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        ("b.TXT", r"b.TXT would be left out \(.txt of the folder are read\); rename it"),
        ("in/b.text", "b.text would be left out .*; rename it, or move it away"),
        ("b.txt.gz", "b.txt.gz would be left out .*; unpack it, or move it away"),
        ("b.jsonl.zst", "b.jsonl.zst would be left out .*; unpack it"),
        ("b.tar.gz", "b.tar.gz would be left out .*; unpack it"),
        ("b.zip", "b.zip would be left out .*; unpack it"),
    ],
)
def test_a_file_of_a_folder_that_would_be_left_out_is_refused(
    beside: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.txt").write_text("one")
    for other in ("README.md", "labels.csv.gz", "a.txt.gz"):  # of no kind, or there already
        (tmp_path / other).write_text("no part of it")
    assert contents(tmp_path) == ["one"]
    (tmp_path / beside).write_text("two")
    with pytest.raises(CorpusError, match=why):
        open_corpus(tmp_path)


def test_a_file_that_stands_there_packed_too_is_not_read_twice(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", {"text": "one"})
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "two"}'))
    assert contents(tmp_path) == ["one", "two"]
    (tmp_path / "b.jsonl").write_text('{"text": "two"}')
    with pytest.raises(CorpusError, match=r"b.jsonl.gz would be read beside b.jsonl; remove one"):
        open_corpus(tmp_path)


def test_a_dataset_without_the_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match="needs datasets: pip install"):
        contents("owner/name")


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus at"):
        open_corpus(tmp_path / "none.txt")
    (tmp_path / "a.xyz").write_text("x")
    known = r"not a corpus of a supported kind .* by its suffix, .*\.jsonl\.gz.*\.txt.*: rename"
    with pytest.raises(CorpusError, match=known):
        open_corpus(tmp_path / "a.xyz")
    with pytest.raises(UnknownName, match="unknown kind of corpus 'csv'"):
        open_corpus(tmp_path / "a.xyz", kind="csv")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(CorpusError, match="holds no document"):
        contents(tmp_path / "empty.txt")


def test_the_seed_alone_decides_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "SHUFFLED", 4)
    path = written(tmp_path / "a.jsonl", *({"text": f"{i}"} for i in range(20)))
    plain = open_corpus(path)
    one, same, other = (
        [(d.index, d.content) for d in plain.shuffled(seed).documents()] for seed in (1, 1, 2)
    )
    assert one == same != other
    assert sorted(one) == [(i, f"{i}") for i in range(20)]
    assert [d.index for d in plain.documents()] == list(range(20))


def test_the_digest_tells_other_content(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"text": "one"})
    before = open_corpus(path).digest
    assert open_corpus(path, seed=3).digest == before
    written(path, {"text": "two"})
    assert open_corpus(path).digest != before


def numbers(texts: list[str]) -> list[list[int]]:
    """Tokenise "7 8 9" as [7, 8, 9]."""
    return [[int(word) for word in text.split()] for text in texts]


def documents(*sizes: int) -> list[Document]:
    first = 10
    made = []
    for index, size in enumerate(sizes):
        made.append(Document(index, " ".join(str(first + i) for i in range(size))))
        first += size
    return made


def test_streamed_windows_equal_windows_cut_from_the_whole() -> None:
    sizes = (1, 7, 3, 8, 4, 90, 2)
    whole = TokenisedDocuments(
        np.arange(10, 10 + sum(sizes)), np.cumsum([0, *sizes]).astype(np.int64)
    )
    expected = list(cut_windows(whole, 5, bos=0, pad=1, rows=4))
    found = list(stream_windows(documents(*sizes), numbers, 5, bos=0, pad=1, rows=4))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("ids", "attention", "document", "offset"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_without_bos_a_window_is_all_text() -> None:
    (found,) = stream_windows(documents(5), numbers, 3, bos=None, pad=1, rows=4)
    assert found.ids.tolist() == [[10, 11, 12], [13, 14, 1]]


def test_a_stored_bos_is_not_doubled() -> None:
    stored = [Document(0, np.array([0, 5, 6]))]
    (found,) = stream_windows(stored, numbers, 4, bos=0, pad=1, rows=4)
    assert found.ids.tolist() == [[0, 5, 6, 1]]


def test_a_tokenizer_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(CorpusError, match="document 0 holds token id 7, the model's vocabulary"):
        list(tokenised([Document(0, "a b")], lambda texts: [[1, 7] for _ in texts], None, 7))


def test_a_token_beyond_the_vocabulary_is_refused() -> None:
    stored = [Document(0, np.array([5, 300]))]
    with pytest.raises(CorpusError, match=r"document 0 holds token id 300.*has 256"):
        list(stream_windows(stored, numbers, 4, bos=0, pad=1, rows=4, vocabulary=256))


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.jsonl"
        path.write_text('{"text": "1 2 3 4 5 6 7 8 9"}\n' * lines)
        stream = stream_windows(open_corpus(path).documents(), numbers, 8, 0, 1, rows=16)
        tracemalloc.start()
        for _ in stream:
            pass
        (_, most) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)  # imports and caches
    assert peak(2000) < 1.2 * peak(200)


# --------------------------------------------------------------------- text and paths as they come


def test_a_bos_written_in_the_text_is_not_doubled() -> None:
    read = [Document(0, "<s> a b"), Document(1, "a <s> b"), Document(2, "<s><s> a")]

    def ids(texts: list[str]) -> list[list[int]]:
        return [[0 if t == "<s>" else 5 for t in re.findall(r"<s>|\w", text)] for text in texts]

    found = [ids.tolist() for _, ids in tokenised(read, ids, bos=0)]
    assert found == [[5, 5], [5, 0, 5], [5]]
    assert [i.tolist() for _, i in tokenised(read, ids)] == [[0, 5, 5], [5, 0, 5], [0, 0, 5]]


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a \\ud83d b"}\n{"text": "\\ud83d\\ude00"}\n')
    assert contents(path) == ["a \N{REPLACEMENT CHARACTER} b", "😀"]
    length = open_corpus(path).length(lambda texts: [list(t.encode()) for t in texts])
    assert length is not None


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbfone\n\ntwo")
    assert contents(tmp_path / "c.txt") == ["one", "two"]
    (tmp_path / "c.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}')
    assert contents(tmp_path / "c.jsonl") == ["one"]


ODD = [
    "a[b]", "a*", "q?", "it's", "new\nline", "~", "-x", "%41", "{a,b}", "text=other", "a b", "ü猫",
    "$HOME", "a;b", 'a"b', "a\\b", "#", "s3:", "file:", "..x",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_a_path_whatever_its_characters(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(name)  # relative, as it is given on a command line
    folder.mkdir()
    other = tmp_path / "ab"  # what a pattern would find
    other.mkdir(exist_ok=True)
    plain = parquet(tmp_path / "plain.parquet", "SELECT 'mine' AS text")
    wrong = parquet(tmp_path / "wrong.parquet", "SELECT 'wrong' AS text")
    for place in (other, tmp_path / "a1"):
        place.mkdir(exist_ok=True)
        shutil.copy(wrong, place / "c.parquet")
    shutil.copy(plain, folder / "c.parquet")
    assert contents(folder / "c.parquet") == ["mine"]
    assert contents(folder) == ["mine"]
    assert open_corpus(folder).length(lambda texts: [[1] for _ in texts]) is not None
    (folder / "c.parquet").unlink()
    (folder / f"{name}.jsonl").write_text('{"text": "mine"}')
    assert contents(folder / f"{name}.jsonl") == ["mine"]


def test_rows_of_tokens_are_cut_at_the_separator_too(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([[1, 2, 9, 3], [4, 9, 9, 5]]))
    found = contents(tmp_path / "rows.npy", separator=9)
    assert found == [[1, 2], [3], [4], [5]]
    (tmp_path / "t.jsonl").write_text('{"tokens": [1, 9, 2]}\n{"text": "9 stays"}')
    found = contents(tmp_path / "t.jsonl", separator=9)
    assert found == [[1], [2], "9 stays"]


READ_CORPUS = """
import sys
from autointerp.errors import CorpusError
from autointerp.subjects.corpora import open_corpus
try:
    print(sum(1 for _ in open_corpus(sys.argv[1]).documents()))
except CorpusError as error:
    print(error)
"""


def test_parquet_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(
    tmp_path: Path,
) -> None:
    file = tmp_path / "c.parquet"
    file.write_bytes(bombs.TEXTS)
    said, peak_mb = bombs.peak_of(READ_CORPUS, file)
    assert said.startswith(f"{file}, from row 1: 2,048 rows of 2,048 MB are more than can be read")
    assert peak_mb < 1024  # a vector of it would be 2 GB, and it was 4.2 GB of memory


def test_gzip_of_more_than_text_can_be_is_refused_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl.gz"
    line = json.dumps({"text": "a" * 2**16}).encode() + b"\n"
    file.write_bytes(bombs.gzipped_lines(line, 512))
    documents = open_corpus(file).documents()
    bound = max(2**28, 200 * file.stat().st_size)
    assert bound < 2**29
    whole = bound // len(line)  # lines within it
    assert sum(1 for _ in itertools.islice(documents, whole)) == whole
    with pytest.raises(CorpusError, match=r"unpack to more than \d+ MB, which no text of that"):
        next(documents)


def test_rows_of_a_parquet_file_are_read_in_order_whatever_their_number(tmp_path: Path) -> None:
    file = tmp_path / "c.parquet"
    duckdb.sql(f"COPY (SELECT 'text ' || i AS text FROM range(5000) t(i)) TO '{file}'")
    found = [document.content for document in open_corpus(file).documents()]
    assert found == [f"text {i}" for i in range(5000)]


def test_lines_may_end_as_windows_ends_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\nline\r\n\r\ntwo\r\n")
    assert contents(tmp_path / "a.txt") == ["one\nline", "two"]


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_text_of_two_bytes_a_letter_is_refused_without_its_mark_too(
    tmp_path: Path, coding: str
) -> None:
    (tmp_path / "a.txt").write_bytes("the cat\n\nsat".encode(coding))
    with pytest.raises(CorpusError, match="line 1: UTF-16, not UTF-8; convert the file"):
        contents(tmp_path / "a.txt")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_part_of_a_folder_that_is_not_there_is_not_passed_over(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "a.jsonl", {"text": "one"})
    part = tmp_path / "b.jsonl"
    part.symlink_to("nothing") if kind == "link" else os.mkfifo(part)
    with pytest.raises(CorpusError, match="is no file, or a link to none"):
        contents(tmp_path)


def test_a_column_that_is_no_text_is_named_with_its_type(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", "SELECT 5 AS text")
    with pytest.raises(CorpusError, match="column text is of type INTEGER; it must be texts"):
        contents(path)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda *_: None, r"read\(\) returned None; it must return"),
        (lambda *_: "text", "returned one text; it must yield texts"),
        (lambda *_: [None], "yielded None; a document must be text, or token ids"),
        (lambda *_: [{"text": "a"}], "yielded a value of type dict; a document"),
        (lambda *_: [["a", "b"]], "yielded a value of type list; a document"),
        (
            lambda *_: [np.array(["a", "b"])],
            "yielded an array of <U1 with 1 dim",
        ),
        (lambda *_: [np.array([1.0])], "yielded an array of float64 with 1"),
        (lambda *_: [np.array([[1]])], "yielded an array of int64 with 2"),
    ],
)
def test_a_kind_of_corpus_that_yields_odd_documents_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any, words: str
) -> None:
    corpus = open_corpus(written(tmp_path / "a.jsonl", {"text": "a"}))
    monkeypatch.setattr(corpora.jsonl, "read", read)
    with pytest.raises(CorpusError, match=rf"kind of corpus 'jsonl': .*{words}"):
        list(corpus.documents())


@pytest.mark.parametrize(
    ("name", "text", "is_text"),
    [
        ("b.csv", "id,text\n1,a\n", True),
        ("b.csv", '"text"\n"a"\n', True),
        ("b.csv", "file,licence\na.txt,MIT\n", False),
        ("b.csv", "id,context\n1,text\n", False),
        ("b.tsv", "id\tcontent\n", True),
        ("b.json", '[{"id": 1, "text": "a"}]', True),
        ("b.json", '{"text": "a"}\n{"text": "b"}\n', True),
        ("metadata.json", '{"features": {"text": {"dtype": "string"}}}', False),
        ("b.md", "# A chapter", True),
        ("README.md", "# The data", False),
        ("b.html", "<p>text</p>", False),
    ],
)
def test_text_of_a_folder_that_is_of_no_kind_is_said_to_be_left_out(
    tmp_path: Path, name: str, text: str, is_text: bool
) -> None:
    (tmp_path / "a.txt").write_text("a document")
    (tmp_path / name).write_text(text)
    corpus = open_corpus(tmp_path)
    assert [document.content for document in corpus.documents()] == ["a document"]
    said = f"of {tmp_path} only .txt is read; text that is left out: {name}"
    assert corpus.notes == ((said,) if is_text else ())


def test_a_token_id_below_0_is_refused() -> None:
    with pytest.raises(CorpusError, match="document 3 holds token id -2, below 0"):
        list(tokenised([Document(3, np.array([1, -2]))], list))


@pytest.mark.parametrize("function", ["digest", "extent"])
def test_a_kind_of_corpus_that_says_something_odd_of_itself_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    corpus = open_corpus(written(tmp_path / "a.jsonl", {"text": "a"}))
    monkeypatch.setattr(corpora.jsonl, function, lambda *_: 3)
    with pytest.raises(BadInput, match=rf"jsonl': {function}\(\) returned a value of type int"):
        _ = corpus.digest, corpus.length(list)
