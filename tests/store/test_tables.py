import csv
import datetime
import gc
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from autointerp.errors import BadInput
from autointerp.store.run import Run
from autointerp.store.tables import save_table


def test_a_transaction_that_fails_leaves_nothing_behind(run: Run):
    row = {"name": "a", "value": "1"}

    def write() -> None:
        with run.transaction():
            run.insert("about", [row])
            run.insert("about", [row])  # the key is taken

    with pytest.raises(duckdb.ConstraintException):
        write()
    assert run.rows("SELECT * FROM about") == []


def test_after_a_failed_transaction_the_next_one_is_kept(run: Run):
    with pytest.raises(KeyboardInterrupt), run.transaction():
        raise KeyboardInterrupt
    with run.transaction():
        run.insert("about", [{"name": "a", "value": "1"}])
    assert run.rows("SELECT * FROM about") == [("a", "1")]


def test_with_ignore_a_known_key_keeps_its_first_row(run: Run):
    run.insert("about", [{"name": "a", "value": "1"}])
    run.insert("about", [{"name": "a", "value": "2"}, {"name": "b", "value": "3"}], ignore=True)
    assert run.rows("SELECT * FROM about ORDER BY name") == [("a", "1"), ("b", "3")]


@pytest.mark.parametrize(("few", "some"), [(40, 40), (0, 40), (0, 0)])
def test_few_rows_some_and_many_are_stored_alike(
    run: Run, few: int, some: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.store.tables.FEW", few)
    monkeypatch.setattr("autointerp.store.tables.SOME", some)
    run.connection.execute(
        "CREATE TABLE kinds (name TEXT, number DOUBLE, whole BIGINT, list REAL[], flag BOOLEAN,"
        " made_at TIMESTAMP, bytes BLOB, said JSON, texts TEXT[], never TEXT[], on_day TIMESTAMP)"
    )
    at = datetime.datetime(2026, 1, 2, 3, 4, 5)
    rows = [
        {"name": "all", "number": np.float32(0.5), "whole": np.int64(3),
         "list": np.array([0.5, 1.5], np.float32), "flag": np.True_, "made_at": at,
         "bytes": b"\0\1", "said": '{"a": 1}', "texts": ["x", None], "never": None,
         "on_day": None},
        {"name": "plain", "number": 2, "whole": 4, "list": [1, 2.5], "flag": False,
         "texts": []},
        {"name": "none", "number": float("nan"), "whole": None, "list": []},
    ]  # fmt: skip
    run.insert("kinds", rows)
    assert run.rows("SELECT * FROM kinds") == [
        ("all", 0.5, 3, [0.5, 1.5], True, at, b"\0\1", '{"a": 1}', ["x", None], None, None),
        ("plain", 2.0, 4, [1.0, 2.5], False, None, None, None, [], None, None),
        ("none", None, None, [], None, None, None, None, None, None, None),
    ]


def test_columns_that_are_arrays_or_lists_are_stored_and_known_keys_are_left(run: Run) -> None:
    run.insert("silence", [{"context_id": 1, "unit_id": 7, "silent": False}])
    columns = {
        "context_id": np.array([1, 2]), "unit_id": [7, 7], "silent": np.array([True, True])
    }  # fmt: skip
    run.insert_columns("silence", columns, ignore=True)
    assert run.rows("SELECT * FROM silence ORDER BY ALL") == [(1, 7, False), (2, 7, True)]


def test_inserting_no_rows_does_nothing(run: Run):
    run.insert("about", [])
    assert run.rows("SELECT * FROM about") == []


def test_the_next_number_of_an_empty_table_is_0_and_else_one_past_the_largest(run: Run):
    assert run.next_id("unit", "unit_id") == 0
    run.insert("pack_item", [{"session_id": "s", "name": "n", "item_id": "7"}])
    assert run.next_id("pack_item", "item_id::INTEGER") == 8


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, cell: str) -> None:
    frame = pd.DataFrame({"text": [cell, "plain", "-0.5", None], "number": [-1.5, 2.0, 3.0, 4.0]})
    save_table(frame, tmp_path / "cells")
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["'" + cell, "plain", "-0.5", ""]
    assert [float(row["number"]) for row in rows] == [-1.5, 2.0, 3.0, 4.0]
    assert pd.read_parquet(tmp_path / "cells.parquet")["text"][0] == cell  # as it is


def test_what_was_inserted_is_let_go_before_its_transaction_ends(run: Run):
    def frames() -> int:
        gc.collect()
        return sum(type(one) is pd.DataFrame for one in gc.get_objects())

    before = frames()
    with run.transaction():
        for begin in (0, 100):
            run.insert("about", [{"name": str(begin + n), "value": "x"} for n in range(100)])
        assert frames() == before  # an import of 100,000 units inserts hundreds of them
    assert run.rows("SELECT count(*) FROM about WHERE value = 'x'") == [(200,)]


@pytest.mark.parametrize(
    "query", ["DELETE FROM about", "SELECT 1; DELETE FROM about", "SET threads = 1", ""]
)
def test_a_data_frame_is_read_by_one_select_and_nothing_is_written(run: Run, query: str):
    run.insert("about", [{"name": "a", "value": "1"}])
    with pytest.raises(BadInput, match="by one SELECT"):
        run.frame(query)
    assert run.frame("FROM about").name.tolist() == ["a"]
    with pytest.raises(duckdb.Error, match="nothing"):
        run.frame("SELECT * FROM nothing")


def test_a_run_that_is_closed_is_said_to_be(run: Run):
    run.close()
    for ask in (run.frame, run.rows, run.execute):
        with pytest.raises(BadInput, match=rf"run '{run.name}' is closed; open it again"):
            ask("SELECT 1")
