import duckdb
import pytest

from autointerp.store.run import Run


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


def test_inserting_no_rows_does_nothing(run: Run):
    run.insert("about", [])
    assert run.rows("SELECT * FROM about") == []


def test_the_next_number_of_an_empty_table_is_0_and_else_one_past_the_largest(run: Run):
    assert run.next_id("unit", "unit_id") == 0
    run.insert("pack_item", [{"session_id": "s", "name": "n", "item_id": "7"}])
    assert run.next_id("pack_item", "item_id::INTEGER") == 8


def test_a_table_that_an_old_run_lacks_has_no_rows(run: Run):
    run.connection.execute("DROP TABLE rubric")
    assert run.rows_if_there("rubric", "digest") == []
    assert run.rubric_contents() == {}
