"""Labels of tokens, read four ways, against the tokens that they are to fall on."""

from __future__ import annotations

import re

import duckdb
import numpy as np
import pytest
from support.processes import printed

from autointerp.errors import BadInput
from autointerp.settings import HarvestSettings
from autointerp.units.labels import check_labels, open_labels
from autointerp.units.stream import readings


@pytest.fixture(scope="module")
def reading(subject):
    return next(readings(subject, HarvestSettings(rows=32)))


def kept_texts(subject, reading):
    return [subject.token_texts[i] for i in reading.windows.ids[reading.kept]]


def labelled(subject, reading, *given):
    with open_labels(given, subject) as labels:
        return labels, labels.of(reading)


def test_an_expression_labels_the_tokens_that_its_matches_touch(subject, reading):
    labels, found = labelled(subject, reading, r"number=re:\d+ times", "re:zz?")
    assert labels.concepts == ("number", "zz?")
    assert found.known.all()
    texts = kept_texts(subject, reading)
    touched = {texts[i] for i in np.flatnonzero(found.truth[:, 0])}
    assert " times" in touched
    assert all(text.strip().isdigit() or text in (" ", " times", " tim") for text in touched)
    # Where a window holds the match whole, each " times" is one.
    times = [text == " times" for text in texts]
    assert found.truth[times, 0].mean() > 0.9
    assert not found.truth[:, 1].any()


def test_what_a_match_touches_is_as_the_characters_say(subject, reading):
    _, found = labelled(subject, reading, "x=re:e t")
    truth = iter(found.truth[:, 0].tolist())
    for ids, inside in zip(reading.windows.ids, reading.kept, strict=True):
        tokens = [subject.token_texts[i] for i in ids[inside]]
        text = "".join(tokens)
        marked = {
            at + k for at in range(len(text)) if text[at:].startswith("e t") for k in range(3)
        }
        begin = 0
        for token in tokens:
            own = range(begin, begin + len(token))
            assert next(truth) == any(at in marked for at in own)
            begin += len(token)


def test_a_file_of_expressions_and_one_of_functions(subject, reading, tmp_path):
    (tmp_path / "c.toml").write_text("[concepts]\ncat = ' cat'\nThe = '^The'\n")
    (tmp_path / "p.py").write_text(
        "import os\n"
        "def is_cat(tokens):\n    return [token == ' cat' for token in tokens]\n"
        "def after_the(tokens):\n"
        "    return [None] + [before == ' the' for before in tokens[:-1]]\n"
        "def _helper(tokens):\n    return []\n"
    )
    labels, found = labelled(subject, reading, str(tmp_path / "c.toml"), str(tmp_path / "p.py"))
    assert labels.concepts == ("cat", "The", "is_cat", "after_the")
    assert labels.groups == (0, 0, 1, 2)
    texts = kept_texts(subject, reading)
    assert found.truth[:, 2].tolist() == [text == " cat" for text in texts]
    assert (found.truth[:, 0] >= found.truth[:, 2]).all()
    # The first token of each window is not labelled.
    assert (~found.known[:, 2]).sum() == len(reading.kept)
    _, one = labelled(subject, reading, f"{tmp_path / 'p.py'}:is_cat")
    assert (one.truth[:, 0] == found.truth[:, 2]).all()


def test_tables_of_tokens_and_of_documents_label_the_same(subject, reading, tmp_path):
    rows, tokens = np.nonzero(reading.kept)
    document = reading.windows.document[rows]
    position = reading.position[rows, tokens]
    texts = np.array(kept_texts(subject, reading), dtype=object)
    is_cat, first = texts == " cat", np.array([text.strip()[:1] or None for text in texts])
    with duckdb.connect() as connection:
        import pandas as pd

        frame = pd.DataFrame(
            {"document": document, "position": position, "cat": is_cat, "first": first}
        )
        connection.register("frame", frame.sample(frac=1, random_state=0))
        connection.execute(f"COPY frame TO '{tmp_path / 'by_token.parquet'}' (FORMAT parquet)")
        connection.execute(
            "COPY (SELECT document, list(cat ORDER BY position) AS cat,"
            ' list("first" ORDER BY position) AS "first" FROM frame GROUP BY document)'
            f" TO '{tmp_path / 'by_document.parquet'}' (FORMAT parquet)"
        )
    labels, by_token = labelled(subject, reading, str(tmp_path / "by_token.parquet"))
    other, by_document = labelled(subject, reading, str(tmp_path / "by_document.parquet"))
    values = sorted({one for one in first if one})
    assert labels.concepts == other.concepts == ("cat", *(f"first={v}" for v in values))
    assert by_token.truth[:, 0].tolist() == is_cat.tolist()
    for place, value in enumerate(values):
        assert by_token.truth[:, 1 + place].tolist() == [one == value for one in first]
    assert by_token.known[:, 1].tolist() == [bool(one) for one in first]
    assert (by_token.truth == by_document.truth).all()
    assert (by_token.known == by_document.known).all()
    assert labels.digest != other.digest
    # A token without a row is not labelled.
    duckdb.execute(
        f"COPY (SELECT * FROM '{tmp_path / 'by_token.parquet'}' WHERE position % 2 = 0)"
        f" TO '{tmp_path / 'half.parquet'}' (FORMAT parquet)"
    )
    _, half = labelled(subject, reading, f"{tmp_path / 'half.parquet'}:cat")
    assert half.known[:, 0].tolist() == (position % 2 == 0).tolist()
    assert half.truth[:, 0].tolist() == (is_cat & (position % 2 == 0)).tolist()


def test_a_list_that_ends_before_its_document_is_refused_with_the_place(subject, reading, tmp_path):
    document = int(reading.windows.document[0])
    duckdb.execute(
        f"COPY (SELECT {document} AS document, [true, false] AS cat)"
        f" TO '{tmp_path / 'short.parquet'}' (FORMAT parquet)"
    )
    with (
        open_labels([str(tmp_path / "short.parquet")], subject) as labels,
        pytest.raises(BadInput, match=f"document {document} has 2 labels and, as .* at least 3 "),
    ):
        labels.of(reading)


PARQUET = {
    "none.parquet": ("SELECT 1 AS document, 0 AS position", "no column of labels"),
    "float.parquet": ("SELECT 1 AS document, 0 AS position, 0.5 AS x", "true and false, texts or"),
    "flat.parquet": ("SELECT 1 AS document, true AS x", "a row is a document"),
    "alone.parquet": ("SELECT 1 AS position, true AS x", "`position` but no `document`"),
    "text.parquet": ("SELECT 'a' AS document, 0 AS position, true AS x", "give whole numbers"),
    "twice.parquet": (
        "SELECT 1 AS document, 0 AS position, true AS x FROM range(2)",
        "labels document 1, position 0 twice",
    ),
    "below.parquet": ("SELECT -1 AS document, 0 AS position, true AS x", "no place in a corpus"),
    "uneven.parquet": ("SELECT [true] AS x, [true, false] AS y", "lists of several lengths"),
    "many.parquet": (
        "SELECT 1 AS document, range AS position, range AS x FROM range(1001)",
        "more than 1,000 values",
    ),
    "null.parquet": (
        "SELECT 1 AS document, 0 AS position, NULL::VARCHAR AS x",
        "holds no label",
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_table_that_is_none_of_labels_is_refused(subject, tmp_path, name):
    query, message = PARQUET[name]
    duckdb.execute(f"COPY ({query}) TO '{tmp_path / name}' (FORMAT parquet)")
    with pytest.raises(BadInput, match=message), open_labels([str(tmp_path / name)], subject):
        pass


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.toml", "x = 1", r"one table \[concepts\]"),
        ("a.toml", "[concepts]\nx = 3", "'x' is 3"),
        ("a.toml", "[concepts", "cannot be read as TOML"),
        ("a.toml", "[concepts]\nx = '('", "'x' is no regular expression"),
        ("a.py", "def f(", "cannot be imported"),
        ("a.py", "x = 1", "has no public function"),
        ("a.py", "raise SystemExit(0)", "cannot be imported"),  # which would end the command
        ("a.parquet", "PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_malformed_is_refused(subject, tmp_path, file, content, message):
    (tmp_path / file).write_text(content)
    with pytest.raises(BadInput, match=message), open_labels([str(tmp_path / file)], subject):
        pass


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return []", "returned 0 values for"),
        ("return ['yes' for _ in tokens]", "returned 'yes'"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("return None", "TypeError"),
        ("raise SystemExit", "SystemExit"),
        ("return [float('nan') for _ in tokens]", "returned nan; return True, False or None"),
        ("import numpy; return numpy.ones((len(tokens), 2))", r"returned array\(\[1., 1.\]\);"),
        ("import pandas; return [pandas.NA for _ in tokens]", "returned <NA>;"),
    ],
)
def test_a_function_that_gives_no_truth_values_is_refused(
    subject, reading, tmp_path, body, message
):
    (tmp_path / "a.py").write_text(f"def f(tokens):\n    {body}\n")
    with (
        open_labels([f"{tmp_path / 'a.py'}:f"], subject) as labels,
        pytest.raises(BadInput, match=message),
    ):
        labels.of(reading)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no labels"),
        (["words"], "write NAME=re:PATTERN"),
        (["there/is/none.toml"], "no file of labels"),
        (["a=re:x", "a=re:y"], "two concepts are called 'a'"),
        (["a=re:["], "no regular expression"),
        (["a=re:x{" + "9" * 30 + "}"], "no regular expression"),
        (["a=re:" + "(" * 5000], "brackets nested too deep"),
    ],
)
def test_labels_of_no_form_are_refused(subject, given, message):
    with pytest.raises(BadInput, match=message), open_labels(given, subject):
        pass


def test_a_column_or_function_that_is_not_there_is_refused_with_those_that_are(subject, tmp_path):
    duckdb.execute(
        f"COPY (SELECT 1 AS document, 0 AS position, true AS x) TO '{tmp_path / 'a.parquet'}'"
    )
    (tmp_path / "a.py").write_text("def f(tokens):\n    return tokens\n")
    for given, message in (("a.parquet:y", r"no column 'y' \(it has: x\)"),
                           ("a.py:g", r"no function 'g' \(it has: f\)")):  # fmt: skip
        with pytest.raises(BadInput, match=message), open_labels([str(tmp_path / given)], subject):
            pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no labels"),
        (["digit=re:["], "'digit' is no regular expression"),
        (["digit"], "write NAME=re:PATTERN"),
        (["no.parquet:column"], "no file of labels at no.parquet"),
    ],
)
def test_what_is_wrong_with_labels_is_seen_without_a_subject(given, said):
    with pytest.raises(BadInput, match=re.escape(said)):
        check_labels(given)
    check_labels(["digit=re:[0-9]"])


def test_labels_can_be_checked_where_torch_cannot_be_imported():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from autointerp.units.labels import check_labels; check_labels(['digit=re:[0-9]'])"
    )
    assert printed(code) == ""
