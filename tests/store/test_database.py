"""Databases of earlier versions: read as they are, or brought up to date."""

from pathlib import Path

import duckdb
import pytest
from support.fabricate import add_scores, fabricate_run, make_older

from autointerp.findings.comparison import compare
from autointerp.store.run import open_run
from autointerp.units.sources import source_kinds


def make_old(file: Path) -> None:
    """Take out of a run's file what an earlier schema did not have."""
    with duckdb.connect(str(file)) as connection:
        make_older(connection, "VIEW unit_guess", "VIEW unit_rating", "VIEW unit_item")
        connection.execute("DROP MACRO is_person; DROP MACRO unit_name")
        connection.execute("CREATE TABLE old AS SELECT source, size, is_control FROM source")
        connection.execute("DROP TABLE source; ALTER TABLE old RENAME TO source")


@pytest.mark.parametrize("read_only", [True, False])
def test_a_run_of_the_earlier_schema_is_read_with_its_views_and_kinds(
    tmp_path: Path, read_only: bool
):
    with fabricate_run(tmp_path, {"features": 4, "planted": 2, "mine": 1}) as run:
        add_scores(run, "features", "human:ann", [1, 1, 1, 0, 1])
    make_old(tmp_path / "main" / "run.duckdb")
    with open_run("main", folder=tmp_path, read_only=read_only) as run:
        assert run.rows(
            "SELECT source, count(*) FROM unit_rating WHERE is_person(rater) GROUP BY 1"
        ) == [("features", 4)]
        assert run.rows("SELECT count(*) FROM unit_guess") == [(0,)]
        assert [source.kind for source in run.sources().values()] == [None, None, None]
        kinds = source_kinds(run)
    assert {name: kind.role for name, kind in kinds.items()} == {
        "features": "studied",
        "mine": "studied",
        "planted": "ceiling",
    }
    assert kinds["mine"].names == ("a unit of mine", "mine")
    assert kinds["planted"].names == ("a planted unit", "planted units")


def test_a_run_older_than_a_view_s_tables_is_read_without_the_view(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 2}):
        pass
    make_old(tmp_path / "main" / "run.duckdb")
    with duckdb.connect(str(tmp_path / "main" / "run.duckdb")) as connection:
        make_older(connection, "VIEW current_guess", "TABLE guess")
    with open_run("main", folder=tmp_path, read_only=True) as run:
        assert run.rows("SELECT count(*) FROM unit_rating") == [(0,)]


def test_a_run_that_lacks_tables_of_today_is_read_as_one_without_rows_in_them(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 4}) as run:
        add_scores(run, "features", "model:a", [1, 1, 1, 0, 1])
    with duckdb.connect(str(tmp_path / "main" / "run.duckdb")) as connection:
        tables = ("probe", "unprobed", "lab", "batch", "charge", "rater", "rubric", "human_plan")
        views = ("VIEW explanation", "VIEW current_batch")
        make_older(connection, *views, *(f"TABLE {table}" for table in tables))
    with open_run("main", folder=tmp_path, read_only=True) as run:
        assert run.spent_usd() >= 0
        assert (run.open_batches(), run.lab_names(), run.llm_raters()) == ([], [], {})
        assert run.rubric_contents() == {}
        assert run.rows("SELECT count(*) FROM explanation") == [(0,)]
        assert compare(run).judgements
