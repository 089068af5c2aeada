"""How the units that people rated were drawn decides what can be predicted from them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.calibration import Drawn, Shown, calibrations, how_drawn, unlike_draw
from autointerp.findings.comparison import Comparison, compare
from autointerp.findings.groups import UnlikeDraw
from autointerp.findings.looks import Reading, looks_of
from autointerp.reports.panels.calibration import pair_text
from autointerp.stats.sequential import confidence_sequence_multiplier
from autointerp.stats.superiority import superiority

JUDGE = "model:a"


def plans(rows: list[tuple[int, int, str, int, int]]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["unit_id", "plan", "rater", "stratum", "stratum_size"])
    return made.assign(drawn_by="score", stratum_drawn=1, inclusion=0.5, uncertainty=np.nan)


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
        (
            [(1, 1, JUDGE, 5, 2), (2, 1, JUDGE, 5, 2)],
            "speaks for 2 of the 4 units that the judge rated",
        ),
    ],
)
def test_units_of_unknown_probability_predict_nothing(
    rows: list[tuple[int, int, str, int, int]], why: str
):
    assert why in how_drawn(plans(rows), JUDGE, index(1, 2), index(3, 4)).why_not


def test_where_people_rated_all_that_the_judge_did_no_draw_matters():
    assert how_drawn(plans([(1, 1, JUDGE, 5, 2)]), JUDGE, index(1, 2), index()) == Drawn()


def test_the_last_plan_that_drew_all_of_them_is_the_one_that_counts():
    first, second = [(1, 1, JUDGE, 5, 4), (3, 1, JUDGE, 5, 4)], [
        (1, 2, JUDGE, 5, 4), (2, 2, JUDGE, 1, 2)
    ]  # fmt: skip
    drawn = how_drawn(plans(first + second), JUDGE, index(1, 2), index(3, 4, 5, 6))
    assert drawn.strata == (5, 1)
    mixed = how_drawn(plans(first + second), JUDGE, index(2, 3), index(1, 4, 5, 6))
    assert "several draws" in mixed.why_not


def test_units_drawn_by_another_judge_are_said_to_be_so_by_what_it_was():
    rows = plans([(1, 1, "model:b", 5, 2), (2, 1, "model:b", 5, 2)]).assign(drawn_by="uncertainty")
    assert "by the uncertainty of model:b" in how_drawn(rows, JUDGE, index(1, 2), index(3)).why_not


def test_some_were_likelier_to_be_drawn_only_within_a_source():
    source = pd.Series({1: "features", 2: "features", 3: "neurons", 4: "features"})
    rows = plans([(unit, 1, JUDGE, 5, 3) for unit in (1, 2, 3)])
    # Sources are shared out alike, whatever their sizes: that changes nothing within them.
    alike = rows.assign(inclusion=[0.5, 0.5, 0.9])
    assert unlike_draw(alike, index(1, 2, 3), source) is None
    unlike = unlike_draw(rows.assign(inclusion=[0.5, 0.6, 0.9]), index(1, 2, 3), source)
    assert unlike == UnlikeDraw("score", JUDGE)
    beside = unlike_draw(rows.assign(inclusion=[0.5, 0.6, 0.9]), index(1, 2, 4), source)
    assert beside is None  # all three of the features were rated
    more = rows.assign(inclusion=[0.5, 0.6, 0.9], stratum_size=9)
    assert unlike_draw(more, index(1, 2, 4), source) == UnlikeDraw("several", JUDGE)
    assert unlike_draw(rows.assign(inclusion=[0.5, 0.6, 0.9]), index(2, 3), source) is None


def test_units_that_people_cannot_be_asked_about_are_no_part_of_what_is_predicted(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 20, "neurons": 20}, contexts=0) as run:
        both = ("features", "neurons")
        add_all_scores(run, JUDGE, {source: [4, 4, 4, 4, 4] for source in both}, seed=1)
        add_all_scores(run, "human:ann", {source: [1, 2, 2, 2, 1] for source in both})
        whole = compare(run)
        # Units 10 to 19 of the features have fewer contexts: nobody was asked about them.
        units = whole.units
        short = units.unit_id[(units.source == "features") & (units.ord >= 10)].tolist()
        with_all, of_others = (
            next(
                iter(
                    calibrations(
                        "main",
                        whole.judgements,
                        whole.scores,
                        units,
                        whole.plans,
                        lambda *_: Reading("undeclared", 1, (0, 0), 0.95),
                        shown=shown,
                    )
                )
            )
            for shown in ({}, {whole.judgements[0].rubric_digest: Shown(9, tuple(short))})
        )
    assert (with_all.contexts, with_all.left_out) == (None, {})
    assert (of_others.contexts, of_others.left_out) == (9, {"features": 10})
    features, neurons, _ = of_others.predictions
    assert (features.n_both, features.n_judge_only) == (8, 2)
    assert (neurons.n_both, neurons.n_judge_only) == (8, 12)


def judged(folder: Path, people: int) -> Comparison:
    """Return features and neurons that the judge rated, the first few of them people too."""
    with fabricate_run(folder, {"features": 20, "neurons": 20}, contexts=0) as run:
        scores = {"features": [0, 0, 4, 8, 8], "neurons": [8, 8, 4, 0, 0]}
        add_all_scores(run, JUDGE, scores)
        add_all_scores(run, "human:ann", {source: [0, people, 0, 0, 0] for source in scores})
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


def people_and_judge(folder: Path, people: int, judge_agrees: bool = True) -> Comparison:
    """Return units that so many people and the judge rated alike, or the judge at random."""
    scores = [8, 8, 8, 8, 8]
    with fabricate_run(folder, {"features": 40, "neurons": 40, "planted": 40}, contexts=0) as run:
        counts = dict.fromkeys(("features", "neurons", "planted"), scores)
        for person in range(people):
            add_all_scores(run, f"human:p{person}", counts, seed=0)
        add_all_scores(run, JUDGE, counts, seed=0 if judge_agrees else 9)
        return compare(run)


@pytest.mark.parametrize(
    ("people", "agrees", "answer"), [(3, True, "passes"), (3, False, "fails"), (1, True, "too few")]
)
def test_whether_the_judge_may_stand_in_for_people(
    tmp_path: Path, people: int, agrees: bool, answer: str
):
    (one,) = people_and_judge(tmp_path, people, agrees).calibration
    test = one.stand_in
    assert test.answer == answer
    assert test.epsilon == 0.15
    assert {person.units for person in test.people} == {80 if people > 1 else 0}  # no controls
    assert (test.winning_rate is None) == (answer == "too few") == bool(test.note)


def test_superiority_by_people_is_corrected_where_they_rated_some_of_both_sources(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 60, "neurons": 60}, contexts=0) as run:
        add_all_scores(run, JUDGE, {"features": [0, 0, 12, 24, 24], "neurons": [24, 24, 12, 0, 0]})
        add_scores(run, "features", "human:ann", [3, 3, 3, 3, 4])
        (one,) = compare(run).calibration
        assert one.superiority is None  # people saw no neuron
        add_scores(run, "neurons", "human:ann", [5, 5, 3, 1, 1])
        (one,) = compare(run).calibration
    pair = one.superiority
    assert pair is not None
    assert (pair.first, pair.second, pair.n_both) == ("features", "neurons", (16, 15))
    assert pair.n_judge_only == (44, 45)
    people = [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3 + [5] * 4
    others = [1] * 5 + [2] * 5 + [3] * 3 + [4] + [5]
    assert pair.human_only == superiority(people, others)
    assert pair.judge_only.value == pytest.approx(1 - 12 * 12 / 2 / 3600)  # only ties lose
    assert pair.predicted.low is not None
    assert pair.predicted.low < pair.human_only.value < pair.predicted.high


# ------------------------------------------------------------------------------ the ledger


def test_a_prediction_by_people_is_a_look_and_the_next_one_holds_at_both(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40, "neurons": 40}, contexts=0) as run:
        add_scores(run, "features", JUDGE, [2, 6, 8, 12, 12])
        add_scores(run, "neurons", JUDGE, [12, 12, 8, 6, 2], seed=1)
        add_scores(run, "features", "human:ann", [1, 2, 2, 3, 4])
        add_scores(run, "neurons", "human:ann", [4, 3, 2, 2, 1], seed=2)
        (one,) = compare(run).calibration
        by_people = [look for look in looks_of(run) if look.rater.startswith("human:ann with")]
        (same,) = compare(run).calibration
        assert len(by_people) == 1
        add_scores(run, "features", "human:ann", [1, 1, 1, 1, 1], start=12, seed=3)
        add_scores(run, "neurons", "human:ann", [1, 1, 1, 1, 1], start=12, seed=4)
        (two,) = compare(run).calibration
        looks = [look for look in looks_of(run) if look.rater.startswith("human:ann with")]
    first, again, second = one.superiority, same.superiority, two.superiority
    assert first is not None
    assert second is not None
    assert again == first
    assert (by_people[0].n, by_people[0].asked) == ((12, 12), (40, 40))
    assert (by_people[0].low, by_people[0].high) == (first.predicted.low, first.predicted.high)
    assert [look.number for look in looks] == [1, 2]
    assert second.reading is not None
    assert second.reading.number == 2
    # 17 units that people rated in each source
    assert second.reading.multiplier == pytest.approx(float(confidence_sequence_multiplier(17)))
    assert second.predicted.level == 0.95
    assert "confidence sequence" in second.predicted.method
    assert "confidence sequence" in two.predictions[2].predicted.method  # the difference of means
    assert "confidence sequence" not in two.predictions[0].predicted.method
    assert "confidence sequence" not in second.judge_only.method


def test_of_units_that_people_rated_throughout_their_own_mean_stands_without_a_prediction(
    tmp_path: Path,
):
    with fabricate_run(tmp_path, {"features": 10, "planted": 5}, contexts=0) as run:
        add_all_scores(run, JUDGE, {"features": [2, 2, 2, 2, 2], "planted": [0, 0, 0, 0, 5]})
        add_all_scores(run, "human:ann", {"features": [1, 1, 1, 1, 1], "planted": [0, 0, 0, 1, 4]})
        (one,) = compare(run).calibration
    assert one.superiority is None
    (planted,) = [predicted for predicted in one.predictions if predicted.of == "planted"]
    assert planted.predicted.value is None
    assert planted.predicted.note == (
        "people rated 5 of the judge's 5 units, and at least 2 more are needed that the judge "
        "alone has rated; have the judge rate more, or take people's own"
    )
    assert planted.human_only.value == pytest.approx(4.8)


def test_of_two_sources_that_people_rated_throughout_their_own_comparison_stands(tmp_path: Path):
    counts = {"features": [0, 0, 2, 4, 4], "neurons": [4, 4, 2, 0, 0]}
    with fabricate_run(tmp_path, {"features": 12, "neurons": 10}, contexts=0) as run:
        add_all_scores(run, JUDGE, {source: [2, 2, 2, 2, 2] for source in counts})
        add_all_scores(run, "human:ann", counts)
        add_scores(run, "features", "human:ann", [2, 0, 0, 0, 0], start=10)  # that it did not rate
        (one,) = compare(run).calibration
    pair = one.superiority
    assert pair is not None
    features, neurons = [3] * 2 + [4] * 4 + [5] * 4, [1] * 4 + [2] * 4 + [3] * 2
    assert pair.predicted.value is None
    assert pair.human_only == superiority(features, neurons)
    assert pair_text(one).endswith(
        " From people's ratings of the 10 features and 10 neurons that the judge rated too it is "
        "0.98 [0.69, 1.00]."
    )
    (difference,) = [p for p in one.predictions if p.of == "features less neurons"]
    assert difference.predicted.value is None
    assert difference.human_only.value == pytest.approx(4.2 - 1.8)
