"""An open run in a notebook: frames, findings, figures, report."""

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from support.fabricate import add_scores, fabricate_run

import autointerp
from autointerp.errors import BadInput, UnknownName


def test_an_open_run_gives_frames_findings_and_figures(tiny_run: Path, tiny_run_name: str):
    with autointerp.open_run(tiny_run_name, folder=tiny_run, read_only=True) as run:
        assert "28" in repr(run)
        assert "<table" in run._repr_html_()
        ratings = run.ratings_frame()
        assert len(ratings) == 28
        assert set(ratings.status) == {"ok"}
        assert {"features", "neurons"} <= set(run.units_frame().source)
        contexts = run.contexts_frame("features")
        assert (contexts.tokens.str.len() == contexts.activations.str.len()).all()
        figures = run.figures()
        assert "scores" in figures
        assert all(isinstance(figure, Figure) for figure in figures.values())
        (judgement,) = run.compare().judgements
        assert judgement.rater == "scripted:4"


def test_a_comparison_is_of_a_name_or_of_an_open_run(own_runs: Path, tiny_run_name: str):
    events: list[object] = []
    named = autointerp.compare(tiny_run_name, folder=own_runs, on=events.append)
    with autointerp.open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        assert autointerp.compare(run).as_json() == named.as_json()
    assert [str(event) for event in events] == ["run 'tiny', subject transformer.safetensors"]
    with pytest.raises(UnknownName, match="known: tiny"):
        autointerp.compare("nothing", folder=own_runs)
    for asked, words in (
        ({"run": own_runs / tiny_run_name}, "give its name"),
        ({"run": tiny_run_name, "level": 95}, "level 95: give the coverage of intervals"),
    ):
        with pytest.raises(BadInput, match=words):
            autointerp.compare(**asked, folder=own_runs)
    with pytest.raises(BadInput, match="two or more"):
        autointerp.compare_runs(tiny_run_name, folder=own_runs)


def test_a_report_of_one_run_by_name(own_runs: Path, tiny_run_name: str, tmp_path: Path):
    made = autointerp.report(tiny_run_name, tmp_path / "out", folder=own_runs)
    assert made.page.read_text().startswith("<!doctype html>")
    assert set(made.figures) >= {"scores"}
    with autointerp.open_run(tiny_run_name, folder=own_runs) as run:
        again = run.report(tmp_path / "again")
    assert set(again.tables) == set(made.tables)


def test_runs_are_compared_open_or_by_name_and_each_once(
    own_runs: Path, tiny_run_name: str, tmp_path: Path
):
    shutil.copytree(own_runs / tiny_run_name, own_runs / "again")
    with autointerp.open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        with pytest.raises(BadInput, match="two or more"):
            autointerp.compare_runs([run, tiny_run_name], folder=own_runs)
        across = autointerp.compare_runs([run, "again", "again"], folder=own_runs)
    assert across.runs == (tiny_run_name, "again")
    (judged,) = across.judged
    whys = [out.why for out in judged.left_out]
    assert whys == [
        f"{source} of {tiny_run_name} and of again are the same units of the same model"
        for source in ("features", "neurons")
    ]


def test_beside_a_reader_a_comparison_is_made_and_says_that_the_look_is_not_recorded(
    tmp_path: Path,
):
    with fabricate_run(tmp_path, {"features": 5, "neurons": 5}, contexts=0) as run:
        add_scores(run, "features", "model:a", [0, 1, 1, 1, 2])
        add_scores(run, "neurons", "model:a", [2, 1, 1, 1, 0])
    events: list[object] = []
    with autointerp.open_run("main", folder=tmp_path, read_only=True):
        comparison = autointerp.compare("main", folder=tmp_path, on=events.append)
    assert [look.recorded for look in comparison.looks] == [False]
    assert "is not in its ledger" in str(events[-1])
    events.clear()
    comparison = autointerp.compare("main", folder=tmp_path, on=events.append)
    assert [look.recorded for look in comparison.looks] == [True]
    assert len(events) == 1  # that the run was opened
