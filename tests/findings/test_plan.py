"""What is declared, its digest, and in what a rating differs from it."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import BadInput, StorageError
from autointerp.findings.plan import Plan, Stopping, declare, is_rated, plan_of, until
from autointerp.store.run import Run

PLAN = Plan(("model:a",), "rubric", "digest", "features", "neurons", Stopping("fixed", 50))


@pytest.fixture
def run(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 4, "neurons": 4}, contexts=0) as opened:
        yield opened


def test_a_plan_is_kept_with_the_sha256_of_its_canonical_json_and_its_time(run: Run):
    stored = declare(run, PLAN)
    ((digest, made_at, content),) = run.stored_plans()
    declared = {**content, "made_at": made_at}
    text = json.dumps(declared, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert stored.digest == digest == hashlib.sha256(text.encode()).hexdigest()
    assert plan_of(run) == stored
    assert not plan_of(run).altered
    assert content["stopping"] == {"rule": "fixed", "n": 50, "half_width": None}


def test_another_plan_supersedes_it_while_nothing_was_rated_and_the_same_one_is_not_kept_twice(
    run: Run,
):
    first = declare(run, PLAN)
    assert declare(run, PLAN) == first
    other = dataclasses.replace(PLAN, alpha=0.01)
    assert plan_of(run) == first
    assert declare(run, other).alpha == 0.01
    assert plan_of(run).alpha == 0.01
    assert [content["alpha"] for _, _, content in run.stored_plans()] == [0.05, 0.01]


@pytest.mark.parametrize("missing", [None, {"failed": 1}])
def test_no_plan_is_written_once_a_rating_exists_even_one_that_failed(run: Run, missing):
    first = declare(run, PLAN)
    counts = [0] * 5 if missing else [1, 0, 0, 0, 0]
    add_scores(run, "neurons", "model:b", counts, missing=missing)
    assert is_rated(run)
    assert declare(run, PLAN) == first  # the same is no new plan
    with pytest.raises(BadInput, match=f"has the plan {first.digest[:12]} and ratings"):
        declare(run, dataclasses.replace(PLAN, repeats=2))
    assert len(run.stored_plans()) == 1


def test_a_plan_that_was_changed_afterwards_is_known_by_its_digest(run: Run):
    declare(run, PLAN)
    run.connection.execute("UPDATE plan SET content = replace(content, '0.05', '0.5')")
    with pytest.raises(StorageError, match="holds a plan that cannot be read"):
        plan_of(run)
    run.connection.execute(
        "UPDATE plan SET content = replace(content, '\"alpha\": 0.5', '\"alpha\": 0.1')"
    )
    plan = plan_of(run)
    assert plan.altered
    texts = plan.deviations("model:a", "rubric", "digest", {"features": 50}, 1)
    assert texts == ("the plan was changed after it was stored: its digest is another",)


def test_what_differs_from_the_plan_is_said_clause_by_clause():
    followed = ("model:a", "rubric", "digest", {"features": 50, "neurons": 20, "random": 90}, 1)
    assert PLAN.deviations(*followed) == ()
    assert PLAN.deviations(*followed, stopping=PLAN.stopping) == ()
    width = Stopping("width", 60, 0.1)
    texts = PLAN.deviations("model:b", "rubric", "other", {"neurons": 51}, 2, width)
    assert texts == (
        "the rater is model:b, not model:a",
        "the rubric is rubric, with another text, not rubric",
        "51 units of a source are asked about, not 50",
        "units are rated 2 times, not once",
        f"one stops by another rule ({width})",
    )
    people = dataclasses.replace(PLAN, raters=("human:ann",))  # hidden repeats are their check
    assert people.deviations("human:ann", "rubric", "digest", {}, 2) == ()


def test_options_make_a_rule_or_are_refused():
    assert until() is None
    # (2 / 0.1)² / 4 = 100 units whatever the scores, and a quarter more for those without one.
    assert until(0.1) == Stopping("width", 125, 0.1)
    assert until(0.1, max_n=60) == Stopping("width", 60, 0.1)
    assert until(clear=True, max_n=400) == Stopping("clear", 400)
    for options, words in (
        ({"half_width": 0.1, "clear": True}, "are two rules"),
        ({"clear": True}, "needs --max-n"),
        ({"max_n": 40}, "goes with --until"),
        ({"half_width": 0.5}, "from 0 to 0.5"),
        ({"half_width": -0.1}, "from 0 to 0.5"),
        ({"clear": True, "max_n": 19}, "--max-n 19: nothing stops before 20"),
    ):
        with pytest.raises(BadInput, match=words):
            until(**options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"raters": ()}, "at least one rater"),
        ({"second": "features"}, "features twice"),
        ({"alpha": 0.0}, "--alpha 0"),
        ({"alpha": 0.5}, "--alpha 0.5"),
        ({"equivalence": (0.5, 0.6)}, "must enclose 0.5"),
        ({"equivalence": (0.4, 1.1)}, "must enclose 0.5"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(change, words):
    with pytest.raises(BadInput, match=words):
        dataclasses.replace(PLAN, **change)


@given(
    st.sampled_from(["raters", "rubric", "rubric_digest", "first", "repeats", "alpha", "made_at"]),
    st.integers(3, 40),
)
def test_every_part_of_a_plan_is_in_its_digest(name, value):
    other = {
        "raters": (f"model:{value}",),
        "repeats": value,
        "alpha": value / 100,
    }.get(name, f"x{value}")
    changed = dataclasses.replace(PLAN, **{name: other})
    assert (changed.digest == PLAN.digest) == (getattr(PLAN, name) == other)
