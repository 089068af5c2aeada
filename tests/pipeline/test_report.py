"""The verb and the command: pages, JSON, and what the run keeps."""

from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import BadInput, UnknownName
from autointerp.pipeline.report import findings, report
from autointerp.store.run import open_run


def make_runs(folder: Path, name: str = "main") -> Path:
    """Make a run with controls in their places; return the folder of runs."""
    sources = {"features": 12, "neurons": 12, "planted": 6, "shuffled": 6}
    with fabricate_run(folder / "runs", sources, name) as run:
        add_scores(run, "features", "model:a", [0, 1, 2, 4, 4], missing={"refused": 1})
        add_scores(run, "neurons", "model:a", [4, 4, 2, 1, 0], missing={"unparsed": 1})
        add_scores(run, "planted", "model:a", [0, 0, 0, 0, 6])
        add_scores(run, "shuffled", "model:a", [6, 0, 0, 0, 0])
    return folder / "runs"


def test_the_estimates_are_kept_in_the_run_and_a_run_that_cannot_be_written_is_read(
    tmp_path: Path,
):
    runs = make_runs(tmp_path)
    report(["main"], tmp_path / "out", folder=runs)
    with open_run("main", folder=runs, read_only=True) as run:
        (stored,) = run.rows(
            "SELECT value FROM estimate WHERE name = 'mean' AND groups = ['features']"
        )
    assert stored[0] == 44 / 11


def test_no_run_is_none_to_report(tmp_path: Path):
    with pytest.raises(BadInput, match="name one or more"):
        report([], tmp_path / "out", folder=tmp_path)


def test_an_unknown_run_is_named(tmp_path: Path):
    with pytest.raises(UnknownName, match="unknown run 'nowhere'"):
        findings(["nowhere"], tmp_path / "runs")
