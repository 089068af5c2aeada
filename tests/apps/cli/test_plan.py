"""`autointerp plan`: how many units, calls and dollars; and plans that are kept."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.plan import Plan, Stopping, declare
from autointerp.questions.rubric_files import load_rubric
from autointerp.stats.power import plan_units
from autointerp.store.run import open_run


def test_plan_says_units_calls_and_cost(command_line: Callable[..., Any]):
    result = command_line(
        "plan", "--effect", "0.65", "--power", "0.8", "--lost", "0", "--controls", "10",
        "--usd-per-call", "0.01", "--rubric", "interpretability-0-3",
    )  # fmt: skip
    assert result.code == 0, result.err
    units = int(result.out.split()[0])
    assert units == pytest.approx(52, abs=4)
    assert f"{2 * units + 30} calls" in result.out
    assert f"{0.01 * (2 * units + 30):.2f} US dollars" in result.out
    assert command_line("plan", "--effect", "0.99").code == 2
    then = f"--source neurons --n {units} --controls 10 --rubric interpretability-0-3\n"
    assert then in result.out  # the scale that the units were reckoned for
    twice = command_line("plan", "--sources", "3", "--repeats", "2").out
    assert "--source neurons --source NAME --n 59 --repeats 2\n" in twice


def test_a_plan_is_written_printed_and_refused_once_something_was_rated(
    command_line: Callable[..., Any], tmp_path: Path
):
    fabricate_run(
        tmp_path / "runs", {"features": 30, "neurons": 30}, contexts=0, imported=True
    ).close()
    asked = ("plan", "--write", "main", "--rater", "scripted:4", "--until-width", 0.2)
    written = command_line(*asked, "--equivalence", 0.4, 0.6)
    assert written.code == 0, written.err
    digest = re.search(r"^sha256 ([0-9a-f]{64})$", written.out, re.M)[1]
    assert "until the interval's half-width is 0.2 at most" in written.out
    assert "alike within 0.4 to 0.6" in written.out
    as_json = json.loads(command_line(*asked, "--equivalence", 0.4, 0.6, "--json").out)
    assert (as_json["digest"], as_json["run"]) == (digest, "main")  # the same plan, not a second
    with open_run("main", folder=tmp_path / "runs") as run:
        add_scores(run, "features", "scripted:4", [1, 0, 0, 0, 0])
    refused = command_line(*asked)
    assert (refused.code, len(refused.err.splitlines())) == (2, 2)
    assert f"run 'main' has the plan {digest[:12]} and ratings" in refused.err
    shown = command_line("show", "main")
    assert digest[:12] in shown.out


@pytest.fixture
def unrated(tmp_path: Path) -> None:
    """The run `main` of two features and two neurons, of which nothing was rated."""
    units = {"features": 2, "neurons": 2}
    fabricate_run(tmp_path / "runs", units, contexts=0, imported=True).close()


def test_the_next_command_of_a_plan_rates_as_often_as_is_planned(
    command_line: Callable[..., Any], unrated: None
):
    written = command_line("plan", "--write", "main", "--rater", "scripted:4", "--repeats", 2)
    assert "next: autointerp rate --run main --rater scripted:4 --repeats 2\n" in written.out


def test_the_next_command_of_a_person_s_plan_asks_about_the_units_that_are_planned(
    command_line: Callable[..., Any], unrated: None
):
    # A sitting does not read the run's plan: the run may be open elsewhere.
    written = command_line("plan", "--write", "main", "--rater", "human:ann", "--n", 2)
    asked = ("--run", "main", "--rater", "human:ann", "--source", "features", "--source", "neurons")
    assert f"next: autointerp rate {' '.join(asked)} --n 2\n" in written.out
    rule = command_line("plan", "--write", "other", "--rater", "human:ann", "--until-width", 0.1)
    assert "--until-width: a person's ratings are looked at by `report`" in rule.err


def test_a_plan_names_the_rater_that_rate_asks_at_its_server(
    command_line: Callable[..., Any], unrated: None
):
    server = ("--base-url", "http://127.0.0.1:9/v1", "--structured", "choice")
    written = command_line("plan", "--write", "main", "--rater", "openai:m", *server, "--n", 2)
    assert "UTC: openai:m@127.0.0.1:9+choice on" in written.out
    assert f"next: autointerp rate --run main --rater openai:m {' '.join(server)}\n" in written.out
    refused = command_line("plan", "--write", "main", "--rater", "lexical", *server)
    assert (refused.code, "--base-url, --structured: lexical has no" in refused.err) == (2, True)


def test_a_plan_of_several_raters_takes_the_units_that_holm_s_adjustment_asks_for(
    command_line: Callable[..., Any], tmp_path: Path
):
    units = {}
    for run, raters in (("one", ["scripted:1"]), ("three", ["scripted:1", "openai:a", "openai:b"])):
        fabricate_run(
            tmp_path / "runs", {"features": 2, "neurons": 2}, run, contexts=0, imported=True
        ).close()
        named = [part for name in raters for part in ("--rater", name)]
        result = command_line("plan", "--write", run, *named, "--lost", "0.05", "--json")
        units[run] = json.loads(result.out)["stopping"]["n"]
    assert units["one"] == math.ceil(plan_units(0.65, 0.8, 0.05, 5).units / 0.95)
    assert units["three"] == math.ceil(plan_units(0.65, 0.8, 0.05, 5, tests=3).units / 0.95)


def test_a_plan_says_how_much_of_the_corpus_its_run_reads(
    command_line: Callable[..., Any], tiny_settings: Path, tmp_path: Path
):
    asked = ("plan", "--write", "look", "--subject", tiny_settings, "--n", 3)
    written = command_line(*asked, "--tokens", "4.5k", "--json")
    assert written.code == 0, written.err
    assert json.loads(written.out)["tokens"] == 4_500
    kept = command_line("plan", "--write", "look", "--n", 3)  # goes on with the run's own
    assert "from the first 4,500 tokens of the corpus at most" in kept.out
    assert json.loads(written.out)["digest"] in kept.out
    refused = command_line(*asked, "--tokens", "5k")
    assert (refused.code, "give another --run" in refused.err) == (2, True)
    whole = json.loads(command_line(*asked[:2], "all", *asked[3:], "--json").out)
    assert "tokens" not in whole  # so that digests of earlier plans are as they were
    alone = command_line("plan", "--tokens", "4.5k")
    assert (alone.code, "add --write RUN" in alone.err) == (2, True)


def test_the_plan_and_the_ledger_are_printed_under_a_report(
    command_line: Callable[..., Any], tmp_path: Path
):
    rubric = load_rubric("interpretability-1-5")
    with fabricate_run(tmp_path / "runs", {"features": 10, "neurons": 10}, contexts=0) as run:
        stopping = Stopping("fixed", 10)
        plan = declare(
            run, Plan(("model:a",), rubric.id, rubric.digest, "features", "neurons", stopping)
        )
        add_all_scores(run, "model:a", {"features": [0, 1, 2, 3, 4], "neurons": [4, 3, 2, 1, 0]})
    printed = command_line("report").out
    assert f"plan: sha256 {plan.digest}" in printed
    words = " ".join(printed.split())
    assert "probability of superiority (model:a, interpretability-1-5, features – neurons)" in words
    assert re.search(r"1 +2\d{3}-.* UTC +report +10 \+ 10 .* fixed n, stopped", printed)


def test_options_that_no_plan_keeps_are_refused_beside_write(command_line: Callable[..., Any]):
    kept = ("plan", "--write", "main")
    for option in ("--sources", "--controls", "--usd-per-call"):
        refused = command_line(*kept, option, 3)
        assert (refused.code, f"{option} is no part of a plan" in refused.err) == (2, True)
    for said in (("--n", 20), ("--until-width", 0.1)):
        refused = command_line(*kept, *said, "--effect", 0.6)
        assert (refused.code, "says how many units" in refused.err) == (2, True)
    assert not Path("runs").exists()


def test_options_of_a_kept_plan_need_the_run_that_keeps_it(command_line: Callable[..., Any]):
    for option in (("--rater", "lexical"), ("--n", 20), ("--seed", 0), ("--until-clear",),
                   ("--base-url", "http://h/v1"), ("--structured", "choice")):  # fmt: skip
        refused = command_line("plan", *option)
        assert refused.code == 2
        assert f"{option[0]} belongs to a plan that is kept: add --write RUN" in refused.err
