"""The tiny variant of the study of SmolLM2-135M, end to end: the same steps, other numbers."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from support.pictures import whole_pictures
from support.tiny_language_models import transformers  # noqa: F401, skips where it is missing

from studies.smollm2 import tiny
from studies.smollm2.__main__ import FULL, REPORT, RUNS, STATE, TINY, steps
from studies.steps import Command, Place, Say, conduct


def in_this_process(command: Command, folder: Path, say: Say) -> int:
    """Run a command of the study without the seconds that a process takes to start."""
    from autointerp.apps.cli import _app as cli

    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        if command[0] == "python":
            assert command[1:3] == ("-m", "studies.smollm2.tiny")
            code: Any = tiny.main(list(command[3:]))
        else:
            argv, sys.argv = sys.argv, list(command)
            try:
                cli.main()
            except SystemExit as stopped:
                code = stopped.code
            finally:
                sys.argv = argv
    for line in printed.getvalue().splitlines():
        say(line)
    return int(code or 0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, parser: tuple[Any, Any]) -> Path:
    """The folder of the tiny study, all steps done."""
    folder = tmp_path_factory.mktemp("study")
    with whole_pictures(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("autointerp.apps.cli._app.build_app", parser[0])
        patched.setattr("typer.main.get_command", parser[1])
        conduct(steps(tiny=True), Place(folder, STATE), lambda text: None, run=in_this_process)
    return folder


@pytest.fixture(scope="module")
def found(study: Path) -> dict[str, Any]:
    """What the report says, as JSON."""
    from autointerp.pipeline.report import findings

    return findings(RUNS, study / "runs")


def test_both_variants_take_the_same_steps_and_differ_in_numbers():
    whole, small = ([step.name for step in steps(tiny=size)] for size in (False, True))
    assert [name for name in whole if name in small] == [name for name in small if name in whole]
    left_out = set(whole) - set(small)
    needs_weights = ("likelihood", "detector", "embedding")
    assert all(name.partition("-")[2].startswith(needs_weights) for name in left_out)
    assert (FULL.n, FULL.controls) == (100, 50)
    assert TINY.n < FULL.n


def test_a_second_run_of_the_study_does_nothing(study: Path):
    ran: list[Command] = []

    def note(command: Command, folder: Path, say: Say) -> int:
        ran.append(command)
        return 1

    conduct(steps(tiny=True), Place(study, STATE), lambda text: None, run=note)
    assert ran == []


def test_every_arm_and_control_is_rated_by_every_judge(found: dict[str, Any]):
    first = found["comparisons"][0]
    assert {judgement["rater"] for judgement in first["judgements"]} == {"lexical", "scripted:4"}
    for judgement in first["judgements"]:
        assert set(judgement["groups"]) == {
            "features", "neurons", "untrained", "planted", "random", "shuffled"
        }  # fmt: skip
    for comparison in found["comparisons"][1:]:
        assert set(comparison["judgements"][0]["groups"]) == {"features", "neurons"}


def test_the_plan_came_before_the_first_rating(found: dict[str, Any]):
    for comparison in found["comparisons"]:
        plan = comparison["plan"]
        assert (plan["first"], plan["second"]) == ("features", "neurons")
        of_first_run = comparison["run"] == RUNS[0]
        assert plan["raters"] == list(TINY.judges if of_first_run else TINY.seed_judges)


def test_the_report_is_there_with_its_logs_and_names_no_folder_of_this_machine(study: Path):
    report = study / REPORT
    assert (report / "index.html").is_file()
    kept = {path.name for path in (report / "study").iterdir()}
    assert {"steps.json", "sae-1.json", "untrained.json", "plan.txt", "check-lexical.txt"} <= kept
    measures = json.loads((report / "study" / "sae-1.json").read_text("utf-8"))["measures"]
    assert 0 <= measures["dead_share"] <= 1
    assert measures["l0"] == TINY.k
    assert sum(path.stat().st_size for path in report.rglob("*") if path.is_file()) < 6_000_000
    for path in report.rglob("*"):
        if path.suffix in {".html", ".md", ".json", ".txt", ".csv"}:
            assert str(study) not in path.read_text("utf-8"), path
    for path in report.rglob("*.parquet"):
        assert str(study) not in pandas.read_parquet(path).to_csv(), path
