"""How long a corpus is, before it is read: exact where it is counted, else a fair estimate."""

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from autointerp.subjects.corpora import open_corpus

TEXTS = [f"word {n} and " + "more " * (n % 7) for n in range(1_000)]
TOKENS = sum(len(text.split()) for text in TEXTS)


def words(texts: list[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


def write(folder: Path, kind: str) -> Path:
    file = folder / f"corpus.{kind}"
    rows = [json.dumps({"text": text}) for text in TEXTS]
    if kind == "jsonl":
        file.write_text("\n".join(rows))
    elif kind == "jsonl.gz":
        file.write_bytes(gzip.compress("\n".join(rows).encode()))
    elif kind == "txt":
        file.write_text("\n\n".join(TEXTS))
    elif kind == "parquet":
        duckdb.execute("CREATE OR REPLACE TABLE t AS SELECT unnest(?::VARCHAR[]) AS text", [TEXTS])
        duckdb.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    else:
        np.save(file, np.ones((10, 50), dtype=np.int64))
    return file


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_a_corpus_of_text_is_estimated_from_its_first_documents(tmp_path: Path, kind: str):
    length = open_corpus(write(tmp_path, kind)).length(words)
    assert length is not None
    assert not length.exact
    # Blank lines between documents count as text: 2 bytes beside about 26.
    assert length.tokens == pytest.approx(TOKENS, rel=0.1)


def test_what_surrounds_the_text_makes_an_estimate_a_little_long(tmp_path: Path):
    length = open_corpus(write(tmp_path, "jsonl")).length(words)
    assert length is not None
    assert TOKENS <= length.tokens <= 2 * TOKENS  # `{"text": ""}` weighs as much as short texts


def test_tokens_are_counted_and_compressed_files_are_not_known(tmp_path: Path):
    length = open_corpus(write(tmp_path, "npy")).length(words)
    assert length is not None
    assert (length.tokens, length.exact) == (500, True)
    assert open_corpus(write(tmp_path, "jsonl.gz")).length(words) is None


def test_few_documents_are_counted(tmp_path: Path):
    folder = tmp_path / "rows.parquet"
    duckdb.execute("CREATE OR REPLACE TABLE u AS SELECT 'one two three' AS text FROM range(5)")
    duckdb.execute(f"COPY u TO '{folder}' (FORMAT parquet)")
    length = open_corpus(folder).length(words)
    assert length is not None
    assert (length.tokens, length.exact) == (15, True)
