"""How the units that people rated were drawn decides what can be predicted from them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.findings.calibration import how_drawn
from autointerp.findings.comparison import Comparison, compare

JUDGE = "model:a"


def plans(rows: list[tuple[int, int, str, int, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["unit_id", "plan", "rater", "stratum", "stratum_size"])


def index(*units: int) -> pd.Index:
    return pd.Index(units)


def test_units_that_no_plan_drew_are_a_random_part():
    assert how_drawn(plans([]), JUDGE, index(1, 2), index(3)).why_not == ""
    other = plans([(9, 1, JUDGE, 5, 1)])
    assert how_drawn(other, JUDGE, index(1, 2), index(3)).strata == ()


def test_a_plan_gives_each_unit_its_stratum():
    drawn = how_drawn(
        plans([(1, 1, JUDGE, 5, 4), (2, 1, JUDGE, 1, 2)]), JUDGE, index(2, 1), index(3, 4, 5, 6)
    )
    assert drawn.strata == (1, 5)
    assert drawn.sizes == {1: 2, 5: 4}
    assert drawn.why_not == ""


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([(1, 1, JUDGE, 5, 2), (2, 2, JUDGE, 5, 2)], "several draws"),
        ([(1, 1, JUDGE, 5, 2)], "several draws"),  # unit 2 was not planned
        ([(1, 1, "model:b", 5, 2), (2, 1, "model:b", 5, 2)], "by the scores of model:b"),
        ([(1, 1, JUDGE, 5, 2), (2, 1, JUDGE, 5, 2)], "no unit of some of the judge's scores"),
    ],
)
def test_units_of_unknown_probability_predict_nothing(
    rows: list[tuple[int, int, str, int, int]], why: str
):
    assert why in how_drawn(plans(rows), JUDGE, index(1, 2), index(3, 4)).why_not


def judged(folder: Path, people: int) -> Comparison:
    """Return features and neurons that the judge rated, the first few of them people too."""
    with fabricate_run(folder, {"features": 20, "neurons": 20}, contexts=0) as run:
        for source, scores in (("features", [0, 0, 4, 8, 8]), ("neurons", [8, 8, 4, 0, 0])):
            add_scores(run, source, JUDGE, scores)
            add_scores(run, source, "human:ann", [0, people, 0, 0, 0])
        return compare(run)


def test_counts_of_pairs_and_predictions_are_findings(tmp_path: Path):
    (one,) = judged(tmp_path, 6).calibration
    assert (one.judge, one.humans, one.levels) == (JUDGE, ("human:ann",), (1, 2, 3, 4, 5))
    assert {name: counts.shape for name, counts in one.counts.items()} == {
        "features": (5, 5),
        "neurons": (5, 5),
    }
    assert one.both == {"features": 6, "neurons": 6}
    # People gave 2 throughout: what they and the judge scored alike stands at (2, 2).
    assert one.alike == {name: counts[1, 1] for name, counts in one.counts.items()}
    features, neurons, difference = one.predictions
    assert (features.of, neurons.of) == ("features", "neurons")
    assert difference.of == "features less neurons"
    assert (features.n_both, features.n_judge_only) == (6, 14)
    assert difference.n_both == 12
    assert difference.judge_mean == pytest.approx(features.judge_mean - neurons.judge_mean)
    assert features.human_only.value == 2


def test_too_few_ratings_give_a_reason_and_no_number(tmp_path: Path):
    (one,) = judged(tmp_path, 1).calibration
    for predicted in one.predictions:
        assert predicted.predicted.value is None
        assert predicted.predicted.note
        assert np.isfinite(predicted.judge_mean)
