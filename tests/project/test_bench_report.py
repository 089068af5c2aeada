"""The run that `python -m bench report` measures fits the store's tables."""

from pathlib import Path

from autointerp.findings.comparison import compare
from autointerp.store.run import open_run
from bench.report import fabricate


def test_the_measured_run_can_be_compared(tmp_path: Path):
    fabricate(tmp_path, "small", units=50, raters=2, repeats=2)
    with open_run("small", folder=tmp_path) as run:
        found = compare(run)
    assert [judgement.rater for judgement in found.judgements] == ["model:0", "model:1"]
    assert {name: group.asked for name, group in found.judgements[0].groups.items()} == {
        "features": 20, "neurons": 20, "planted": 3, "random": 3, "shuffled": 3,
    }  # fmt: skip
