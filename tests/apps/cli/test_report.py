"""`autointerp report`: the summary in the terminal, or all figures as JSON."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.pipeline.report import findings


def make_runs(folder: Path, name: str = "main") -> Path:
    """Make a run with controls in their places; return the folder of runs."""
    sources = {"features": 12, "neurons": 12, "planted": 6, "shuffled": 6}
    with fabricate_run(folder / "runs", sources, name) as run:
        add_scores(run, "features", "model:a", [0, 1, 2, 4, 4], missing={"refused": 1})
        add_scores(run, "neurons", "model:a", [4, 4, 2, 1, 0], missing={"unparsed": 1})
        add_all_scores(run, "model:a", {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]})
    return folder / "runs"


def test_the_command_prints_the_finding_the_histograms_and_the_place(
    command_line: Callable[..., Any], tmp_path: Path
):
    make_runs(tmp_path)
    result = command_line("report")
    assert result.code == 0, result.err
    assert "Features score higher than neurons: probability of superiority 0.91" in result.out
    assert re.search(r"features win \d+ % · ties \d+ % · neurons win \d+ % of pairs", result.out)
    assert re.search(r"5 clearly interp.*36 %.*0 %", result.out)  # 4 of 11
    assert "planted" in result.out
    assert "reports/main/index.html" in result.out
    assert (tmp_path / "reports" / "main" / "index.html").exists()


def test_a_source_without_a_score_has_no_shares(command_line: Callable[..., Any], tmp_path: Path):
    with fabricate_run(tmp_path / "runs", {"features": 2, "planted": 1}, contexts=0) as run:
        add_scores(run, "features", "human:ann", [0, 0, 0, 1, 1])
        add_scores(run, "planted", "human:ann", [0, 0, 0, 0, 0], missing={"skipped": 1})
    line = next(one for one in command_line("report").out.splitlines() if "4 mostly" in one)
    assert "50 %" in line
    assert line.rstrip().endswith("–")


def test_many_sources_are_not_squeezed_until_neither_names_nor_shares_can_be_read(
    command_line: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    scores = {f"neurons-layer-{layer}": [0, 0, 3, 3, 4] for layer in range(12)}
    units = dict.fromkeys(scores, 10)
    with fabricate_run(tmp_path / "runs", units, contexts=0, imported=True) as run:
        add_all_scores(run, "model:a", scores)
    out = command_line("report").out
    line = next(line for line in out.splitlines() if line.startswith("5 clearly"))
    # 80 columns: 19 of a label, and 11 a source, so five of twelve.
    assert line.count("40 %") == 5
    assert "… and 7 more sources on the page" in out


def test_with_people_the_terminal_says_the_answer_and_whether_the_judge_may_stand_in(
    command_line: Callable[..., Any], tmp_path: Path
):
    with fabricate_run(tmp_path / "runs", {"features": 40, "neurons": 40}, contexts=0) as run:
        add_all_scores(
            run, "model:a", {"features": [4, 4, 8, 12, 12], "neurons": [12, 12, 8, 4, 4]}
        )
        for person in ("human:ann", "human:bob"):
            add_all_scores(run, person, {"features": [2, 3, 4, 5, 6], "neurons": [6, 5, 4, 3, 2]})
    result = command_line("report")
    assert result.code == 0, result.err
    assert "Features score higher than neurons" in result.out.split("interpretability-1-5 ·")[0]
    assert "is taken within each rater" in result.out
    assert "As human:ann and human:bob would rate all units" in result.out
    assert "Alternative annotator test on interpretability-1-5, ε = 0.15: " in result.out
    values = json.loads(command_line("report", "--json").out)
    (judged,) = values["comparisons"][0]["calibration"]
    assert judged["stand_in"]["answer"] in ("passes", "fails")
    assert judged["stand_in"]["epsilon"] == 0.15


def test_as_json_the_figures_are_all_that_is_printed_and_no_page_is_written(
    command_line: Callable[..., Any], tmp_path: Path
):
    runs = make_runs(tmp_path)
    result = command_line("report", "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values == findings(["main"], runs)
    (comparison,) = values["comparisons"]
    assert comparison["run"] == "main"
    assert comparison["judgements"][0]["groups"]["features"]["mean"]["value"] == 44 / 11
    assert not (tmp_path / "reports").exists()


def test_as_json_with_a_folder_both_are_made(command_line: Callable[..., Any], tmp_path: Path):
    make_runs(tmp_path, "one")
    make_runs(tmp_path, "two")
    result = command_line("report", "one", "two", "--json", "-o", "page")
    assert [c["run"] for c in json.loads(result.out)["comparisons"]] == ["one", "two"]
    assert (tmp_path / "page" / "index.html").exists()


def test_the_help_names_every_key_of_the_json(command_line: Callable[..., Any], tmp_path: Path):
    (comparison,) = findings(["main"], make_runs(tmp_path))["comparisons"]
    told = " ".join(re.sub(r"[│╭╮╰╯─]", " ", command_line("report", "--help").out).split())
    flags = {"primary", "provenance", "explainers"}  # what follows from other keys
    assert all(re.search(rf"\b{key}\b", told) for key in set(comparison) - flags)
