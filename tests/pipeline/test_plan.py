"""The verb that declares: what it takes over from a job, and when it is too late."""

import dataclasses
from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import BadInput, RunMismatch, UnknownName
from autointerp.findings.plan import Stopping, plan_of
from autointerp.pipeline.job import Job, Resolved
from autointerp.pipeline.plan import write_plan
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import open_run

UNITS = {"features": 30, "neurons": 30, "random": 30}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    fabricate_run(tmp_path, UNITS, contexts=0, imported=True).close()
    return tmp_path


def test_a_plan_takes_over_the_job_and_all_raters(runs: Path):
    job = Job(("random", "neurons"), n=25, repeats=2, runs=runs)
    plan = write_plan(job, ["openai:m", "lexical", "lexical"], 0.01, (0.4, 0.6))
    assert (plan.first, plan.second) == ("neurons", "random")  # in the order of reports
    assert plan.raters == ("openai:m", "lexical")
    assert plan.stopping == Stopping("fixed", 25)
    assert (plan.alpha, plan.equivalence, plan.repeats) == (0.01, (0.4, 0.6), 2)
    assert plan.rubric_digest == load_rubric(plan.rubric).digest
    with open_run("main", folder=runs, read_only=True) as run:
        assert plan_of(run) == plan


def test_what_the_job_leaves_open_is_the_plans(runs: Path):
    write_plan(Job(("neurons", "random"), n=25, runs=runs))
    resolved = Resolved(Job(runs=runs))
    assert (resolved.sources, resolved.n, resolved.stopping) == (("neurons", "random"), 25, None)
    assert resolved.wanted["neurons"] == 25
    named = Resolved(Job("features", n=5, runs=runs))
    assert (named.sources, named.n) == (("features",), 5)
    person = Resolved(Job(rater="human:ann", runs=runs))  # beside others, without opening the run
    assert person.plan is None


def test_a_plan_makes_a_run_that_is_rated_later(tiny_settings: Path, tmp_path: Path):
    plan = write_plan(Job(n=8, run="new", subject=str(tiny_settings), runs=tmp_path))
    assert Resolved(Job(run="new", runs=tmp_path)).plan == plan
    with pytest.raises(RunMismatch):
        write_plan(Job(n=8, run="new", seed=5, runs=tmp_path))


def test_a_plan_comes_before_the_first_rating(runs: Path):
    first = write_plan(Job(n=25, runs=runs))
    with open_run("main", folder=runs) as run:
        add_scores(run, "features", "model:a", [1, 0, 0, 0, 0])
    assert write_plan(Job(n=25, runs=runs)) == first
    with pytest.raises(BadInput, match="a plan is written before the first one"):
        write_plan(Job(n=26, runs=runs))


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"sources": ("features",)}, BadInput, "a plan compares two"),
        ({"sources": ("features", "neurons", "random")}, BadInput, "a plan compares two"),
        ({"sources": ("features", "latents")}, UnknownName, "unknown source 'latents'"),
        ({"rubric": "specificity-0-3"}, BadInput, "is about descriptions"),
        ({"rater": "nobody:m"}, UnknownName, "unknown rater"),
        ({"n": 1}, BadInput, "--n 1"),
        ({"until_clear": True, "max_n": 4}, BadInput, "nothing stops before 20"),
    ],
)
def test_what_is_no_plan_is_refused(runs: Path, fields, error, words):
    with pytest.raises(error, match=words):
        write_plan(dataclasses.replace(Job(runs=runs), **fields))
    with open_run("main", folder=runs, read_only=True) as run:
        assert plan_of(run) is None
