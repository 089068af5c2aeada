from pathlib import Path

import duckdb
import pytest
from support import bombs

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange.contexts import OPTIONAL, read, recognises

ROWS = """
    ('7', 'mine', 0, ['the', ' cat'], [0.0, 1.5]),
    ('3-', 'yours', 0, ['a'], [2.0]),
    ('7', 'mine', 1, ['the', ' dog', ' ran'], [0.0, 0.0, 0.0])
"""
COLUMNS = "unit, source, context, tokens, activations"


def write(path: Path, select: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def table(path: Path, rows: str = ROWS, columns: str = COLUMNS, select: str = "*") -> Path:
    return write(path, f"SELECT {select} FROM (VALUES {rows}) AS t({columns})")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "contexts.parquet"


AS_FLOATS = "* REPLACE (activations::FLOAT[] AS activations)"


def test_units_come_in_the_order_of_their_first_rows_each_with_all_its_rows(file: Path):
    table(file, select=AS_FLOATS)
    units = list(read(file, ImportOptions()))
    assert [(unit.source, unit.name) for unit in units] == [("mine", "7"), ("yours", "3-")]
    assert [context.tokens for context in units[0].contexts] == [
        ("the", " cat"),
        ("the", " dog", " ran"),
    ]
    assert units[0].contexts[0].focus == 1  # the strongest
    assert units[0].contexts[1].focus == 1  # the middle one of a silent window
    assert units[0].contexts[0].split is None
    assert units[0].density is None


def test_windows_are_whole_unless_they_are_to_be_cut(file: Path):
    table(file, "('1', 's', 0, ['a', 'b', 'c', 'd', 'e'], [0, 0, 0, 4, 0])", select=AS_FLOATS)
    assert next(read(file, ImportOptions())).contexts[0].tokens == tuple("abcde")
    assert next(read(file, ImportOptions(each_side=1))).contexts[0].tokens == tuple("cde")


def test_optional_columns_are_taken_over(file: Path):
    table(
        file,
        "('1', 's', 0, ['a', 'b'], [1, 2], 'score', 'interval', 0, 4, 9, 5, 0.25::DOUBLE, 100,"
        " 3.5::DOUBLE, 'called X')",
        f"{COLUMNS}, split, draw, focus, interval, document, position, density, tokens_read, peak,"
        " note",
        AS_FLOATS,
    )
    (unit,) = read(file, ImportOptions())
    (context,) = unit.contexts
    assert (context.split, context.draw, context.focus) == ("score", "interval", 0)
    assert (context.interval, context.place) == (4, (9, 5))
    assert (unit.density, unit.tokens, unit.peak, unit.note) == (0.25, 100, 3.5, "called X")


def test_optional_columns_of_nulls_are_as_good_as_none(file: Path):
    # As pandas writes a column of None: of a type of its own.
    nulls = ", ".join(f"NULL::VARCHAR AS {name}" for name in OPTIONAL)
    (unit,) = read(write(file, f"{one()}, {nulls}"), ImportOptions())
    assert unit == ForeignUnit("s", "1", (ForeignContext(("a", "b"), (0.0, 1.0), 1),))


def test_a_parquet_file_is_recognised_by_its_first_bytes(file: Path, tmp_path: Path):
    assert recognises(table(file))
    assert not recognises(tmp_path)
    (tmp_path / "text.parquet").write_text("PAR0")
    assert not recognises(tmp_path / "text.parquet")


PEAK_NAN = ", 'nan'::DOUBLE AS peak"


def one(tokens: str = "['a', 'b']", activations: str = "[0, 1]::FLOAT[]", more: str = "") -> str:
    return (
        f"SELECT '1' AS unit, 's' AS source, 0 AS context, {tokens} AS tokens,"
        f" {activations} AS activations{more}"
    )


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (
            "SELECT '1' AS unit, 's' AS source, 0 AS context",
            "has no column tokens, activations (columns: unit, source, context)",
        ),
        (
            one().replace("'1' AS unit", "1 AS unit"),
            "column unit is of type INTEGER; it must be string",
        ),
        (
            one("'a b'"),
            "column tokens is of type VARCHAR; it must be list<string>",
        ),
        (
            one(activations="['0', '1']"),
            "column activations is of type VARCHAR[]; it must be list<float>",
        ),
        (one(more=", 1 AS split"), "column split is of type INTEGER; it must be string"),
        (one() + " WHERE false", "has no rows"),
        (
            one().replace("'s' AS source", "NULL::VARCHAR AS source"),
            "row 1: unit, source or context is null",
        ),
        (one("NULL::VARCHAR[]"), "tokens must be a list of texts"),
        (one("['a', NULL]"), "tokens must be a list of texts, none of them null"),
        (one(more=", -1 AS tokens_read"), "tokens_read -1; it must be 0 or more"),
        (one(activations="NULL::FLOAT[]"), "activations must be a list of finite numbers"),
        (one(activations="[0, NULL]::FLOAT[]"), "activations must be a list of finite numbers"),
        (one(activations="[0, 'nan'::FLOAT]"), "activations must be a list of finite numbers"),
        (one(activations="[0, 'inf'::FLOAT]"), "activations must be a list of finite numbers"),
        (one("['a']"), "unit '1' of source 's', context 0: 1 token and 2 activations"),
        (one("[]::VARCHAR[]", "[]::FLOAT[]"), "0 tokens; a window has 1 to 65,535"),
        (one(activations="[0, -1]::FLOAT[]"), "activation -1; give 0 where the unit is silent"),
        (f"{one()} UNION ALL {one()}", "context 0 is there twice"),
        (one(more=", 'test' AS split"), "split 'test'; it is explain or score"),
        (
            one(more=", NULL AS split") + " UNION SELECT '2', 's', 0, ['a'], [1], 'score'",
            "split None; it is explain or score",
        ),
        (one(more=", 'best' AS draw"), "draw 'best'; it is top or interval or random"),
        (one(more=", 2 AS focus"), "focus 2 of 2 tokens; it counts from 0"),
        (one(more=", 0 AS interval"), "interval 0; it must be from 1 to 255"),
        (one(more=", 1 AS document"), "columns document and position go together"),
        (
            one(more=", -1 AS document, 0 AS position"),
            "document and position must be whole numbers",
        ),
        (one(more=", 0.0::DOUBLE AS density"), "density 0.0; it must be a share above 0"),
        (one(more=", 'nan'::DOUBLE AS density"), "density is NaN; leave it null where"),
        (one(more=", 0.0::DOUBLE AS peak"), "peak 0.0; it must be above 0"),
        (
            f"{one(more=', 0.5::DOUBLE AS density')} UNION ALL "
            f"{one(more=', 0.1::DOUBLE AS density').replace('0 AS context', '1 AS context')}",
            "its rows disagree on density",
        ),
        (  # a NaN is no other's equal, so these "disagreed"
            f"{one(more=PEAK_NAN)} UNION ALL {one(more=PEAK_NAN).replace('0 AS c', '1 AS c')}",
            "peak is NaN; leave it null where it is not known",
        ),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(file: Path, select: str, message: str):
    write(file, select)
    with pytest.raises(ExchangeError) as refused:
        list(read(file, ImportOptions()))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_file_is_refused(file: Path):
    table(file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ExchangeError, match=r"contexts\.parquet"):
        list(read(file, ImportOptions()))


def test_a_source_cannot_be_named_where_the_rows_name_theirs(file: Path):
    with pytest.raises(ExchangeError, match="name their sources"):
        list(read(table(file), ImportOptions(source="other")))


def test_control_tokens_neither_fire_nor_are_shown(file: Path):
    rows = """
        ('1', 's', 0, ['<bos>', ' a', ' cat', '<|endoftext|>', ' b'], [5000.0, 0.0, 2.0, 9.0, 1.0]),
        ('1', 's', 1, ['<s>', '</s>'], [3.0, 0.0])
    """
    table(file, rows, select=AS_FLOATS)
    (unit,) = read(file, ImportOptions())
    (context,) = unit.contexts
    assert (context.tokens, context.activations) == ((" a", " cat"), (0.0, 2.0))
    assert context.focus == 1


def test_tokens_in_a_vocabulary_s_spelling_become_texts(file: Path):
    rows = "('1', 's', 0, ['Ġthe', 'Ġcat', 'âĢĻ', 's', 'Ċ'], [0.0, 2.0, 0, 0, 0])"
    table(file, rows, select=AS_FLOATS)
    assert next(read(file, ImportOptions())).contexts[0].tokens == (" the", " cat", "’", "s", "\n")


@pytest.mark.parametrize("name", ["a[b]", "a*", "q?", "it's", "source=x", "new\nline", "a\\b"])
def test_a_path_is_a_path_whatever_its_characters(tmp_path: Path, name: str):
    folder = tmp_path / name
    folder.mkdir()
    (tmp_path / "ab").mkdir()
    table(tmp_path / "ab" / "c.parquet", "('9', 'wrong', 0, ['x'], [2.0])", select=AS_FLOATS)
    table(tmp_path / "c.parquet", select=AS_FLOATS)
    (tmp_path / "c.parquet").rename(folder / "c.parquet")
    assert {unit.source for unit in read(folder / "c.parquet", ImportOptions())} == {
        "mine",
        "yours",
    }


READ_TABLE = """
import sys
from pathlib import Path
from autointerp.errors import ExchangeError
from autointerp.exchange import ImportOptions
from autointerp.exchange.contexts import read
try:
    print(sum(len(unit.contexts) for unit in read(Path(sys.argv[1]), ImportOptions())))
except ExchangeError as error:
    print(error)
"""
ONE_ROW = "SELECT '0' AS unit, 'f' AS source, range::INTEGER AS context,"


@pytest.mark.parametrize(
    ("select", "message"),
    [
        # 3 * 1,000,000 tokens in 3 rows; the same in 60,000 rows of a thousand.
        (
            f"{ONE_ROW} ['t' FOR _ IN range(1000000)] AS tokens,"
            " [1.0::FLOAT FOR _ IN range(1000000)] AS activations FROM range(3)",
            "its contexts have over 2,097,152 tokens; give fewer or shorter ones",
        ),
        (
            f"{ONE_ROW} ['t' FOR _ IN range(1000)] AS tokens,"
            " [1.0::FLOAT FOR _ IN range(1000)] AS activations FROM range(40000)",
            "bytes unpack to more than 305 MB, which no text of that size does",
        ),
        (
            f"{ONE_ROW} [repeat('t', 1000000)] AS tokens, [1.0::FLOAT] AS activations"
            " FROM range(80)",
            "its contexts are over 64 MB of text; give fewer or shorter ones",
        ),
    ],
)
def test_a_small_table_of_much_text_is_refused_in_a_few_hundred_megabytes(
    tmp_path: Path, select: str, message: str
):
    file = tmp_path / "x.parquet"
    duckdb.sql(f"COPY ({select}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
    assert file.stat().st_size < 2**20
    said, peak_mb = bombs.peak_of(READ_TABLE, file)
    assert message in said
    assert peak_mb < 450  # 50 of them are Python, numpy and duckdb


def test_a_table_that_unpacks_to_gigabytes_is_refused_in_one_line(tmp_path):
    file = tmp_path / "x.parquet"
    file.write_bytes(bombs.CONTEXTS)
    said, peak_mb = bombs.peak_of(READ_TABLE, file)
    assert "unpacks to more than 256 MB of memory and, on the disk, 200 times its size" in said
    assert "\n" not in said
    assert peak_mb < 450


@pytest.mark.parametrize("by", ["context DESC, unit", "hash(unit), context", "unit, context"])
def test_rows_may_stand_in_any_order_and_units_come_as_they_first_stand(tmp_path: Path, by: str):
    rows = (
        "SELECT u::VARCHAR AS unit, 's' AS source, c::INTEGER AS context,"
        " ['a' || u, 'b' || c] AS tokens, [1 + c, 0]::FLOAT[] AS activations"
        " FROM range(30) AS a(u), range(4) AS b(c)"
    )
    path = write(tmp_path / "rows.parquet", f"SELECT * FROM ({rows}) ORDER BY {by}")
    first = [name for (name,) in duckdb.sql(f"SELECT unit FROM ({rows}) ORDER BY {by}").fetchall()]
    units = list(read(path, ImportOptions()))
    assert [unit.name for unit in units] == list(dict.fromkeys(first))
    for unit in units:
        assert [c.tokens for c in unit.contexts] == [(f"a{unit.name}", f"b{n}") for n in range(4)]
