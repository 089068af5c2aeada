from pathlib import Path

from support.fabricate import add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.reports.panels import Material, Prose, calibration


def test_it_speaks_of_the_people_who_rated_and_not_of_people(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40, "neurons": 40}, contexts=0) as run:
        for source in ("features", "neurons"):
            add_scores(run, source, "model:a", [8, 8, 8, 8, 8])
        assert calibration.show(Material((compare(run),), (run,))) == []
        add_scores(run, "features", "human:ann", [2, 2, 2, 2, 2])
        add_scores(run, "features", "human:bob", [2, 2, 2, 2, 2], seed=1)
        text = " ".join(
            block.text
            for block in calibration.show(Material((compare(run),), (run,)))
            if isinstance(block, Prose)
        )
    assert "the mean that human:ann and human:bob would give all units" in text
    assert "not what other people would" in text
