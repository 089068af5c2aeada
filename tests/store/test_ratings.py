import datetime

import duckdb
import pytest

from autointerp.records import Rating
from autointerp.store.run import Run


def rating(item: str, score: int | None = 3, status: str = "ok", repeat: int = 0) -> Rating:
    return Rating(item, "rubric", "digest", "rater", repeat, status, score)  # type: ignore[arg-type]


def scores(run: Run) -> list[tuple[str, int | None]]:
    return run.rows("SELECT item_id, score FROM current_rating ORDER BY item_id")


def test_a_later_rating_supersedes_an_earlier_one_and_both_are_kept(run: Run):
    run.add_ratings([rating("a", None, "failed"), rating("b", 2)])
    run.add_ratings([rating("a", 5)])
    assert scores(run) == [("a", 5), ("b", 2)]
    assert run.rows("SELECT status, version FROM rating WHERE item_id = 'a' ORDER BY version") == [
        ("failed", 0),
        ("ok", 1),
    ]


def test_repeats_stand_beside_each_other(run: Run):
    run.add_ratings([rating("a", 1), rating("a", 2, repeat=1)])
    assert run.rows("SELECT repeat, version, score FROM current_rating ORDER BY repeat") == [
        (0, 0, 1),
        (1, 0, 2),
    ]


def test_the_database_itself_refuses_a_score_without_the_status_ok(run: Run):
    run.add_ratings([rating("a", 1)])
    with pytest.raises(duckdb.ConstraintException), run.transaction():
        run.connection.execute("UPDATE rating SET status = 'failed'")
    assert scores(run) == [("a", 1)]


def test_rows_of_ratings_carry_the_time_at_which_each_was_made(run: Run):
    run.add_ratings([rating("a", 1)])
    then = datetime.datetime(2026, 1, 1)
    rows = run.rating_rows([(rating("a", 2), then), (rating("a", 3), then), (rating("b", 4), then)])
    assert [(row["item_id"], row["version"], row["score"]) for row in rows] == [
        ("a", 1, 2),
        ("a", 2, 3),
        ("b", 0, 4),
    ]
    assert {row["made_at"] for row in rows} == {then}


def test_people_are_told_from_other_raters_by_name(run: Run):
    names = ["human", "human:ann", "humans", "lexical", "openai:human"]
    for item, name in enumerate(names):
        run.add_ratings([Rating(f"{item}", "rubric", "digest", name, 0, "ok", 1)])
    assert run.rows("SELECT rater FROM rating WHERE is_person(rater) ORDER BY 1") == [
        ("human",),
        ("human:ann",),
    ]
