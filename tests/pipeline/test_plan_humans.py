"""How unsure a judge is of a unit, and what people rate next."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import TooFewRatings
from autointerp.findings.comparison import compare
from autointerp.pipeline.plan_humans import plan_humans, score_spread, uncertainty_of
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import Run

RUBRIC = load_rubric("interpretability-1-5")
SCORES = [4, 4, 4, 4, 4]
JUDGE = "model:a"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with fabricate_run(tmp_path / "runs", {"features": 20, "neurons": 20}, contexts=0) as opened:
        for source in ("features", "neurons"):
            add_scores(opened, source, JUDGE, SCORES)
        yield opened


def repeat(run: Run, rater: str = JUDGE, number: int = 1) -> None:
    for source in ("features", "neurons"):
        add_scores(run, source, rater, SCORES, repeat=number, seed=7)


def scores(run: Run, rater: str, unit: int) -> list[int]:
    rows = run.rows("SELECT score FROM unit_rating WHERE rater = ? AND unit_id = ?", [rater, unit])
    return [row[0] for row in rows]


def test_a_judge_that_rated_once_and_alone_says_not_how_sure_it_is(run: Run):
    with pytest.raises(TooFewRatings, match=r"of 0 of 40 units.*--repeats 2, or by a second"):
        uncertainty_of(run, RUBRIC, JUDGE)
    with pytest.raises(TooFewRatings, match="let it rate first"):
        uncertainty_of(run, RUBRIC, "model:none")


def test_a_judge_that_says_the_same_twice_is_not_told_to_say_it_again(run: Run):
    for source in ("features", "neurons"):
        add_scores(run, source, JUDGE, SCORES, repeat=1)
    with pytest.raises(TooFewRatings) as refused:
        uncertainty_of(run, RUBRIC, JUDGE)
    assert "repeated ratings of a unit: 0 for each of 40 units" in str(refused.value)
    assert str(refused.value).endswith("rate by a second model, or draw by the score")


def test_repeats_come_before_other_judges_and_give_the_spread_of_each_unit(run: Run):
    repeat(run, "model:b", 0)
    unsure = uncertainty_of(run, RUBRIC, JUDGE)
    assert unsure.measure == "judges"
    unit = next(iter(unsure.by_unit))
    both = scores(run, JUDGE, unit) + scores(run, "model:b", unit)
    assert unsure.by_unit[unit] == pytest.approx(np.std(both, ddof=1))
    repeat(run)
    unsure = uncertainty_of(run, RUBRIC, JUDGE)
    assert unsure.measure == "repeats"
    assert unsure.by_unit[unit] == pytest.approx(np.std(scores(run, JUDGE, unit), ddof=1))


def test_people_are_no_judges(run: Run):
    repeat(run, "human:ann", 0)
    with pytest.raises(TooFewRatings, match="not known"):
        uncertainty_of(run, RUBRIC, JUDGE)


def test_token_probabilities_give_the_spread_of_the_score(run: Run):
    # Half on 2 and half on 4: mean 3, standard deviation 1.
    top = [["2", math.log(0.5)], ["4", math.log(0.5)]]
    details = json.dumps({"score_token": {"before": "", "top": top}})
    run.connection.execute("UPDATE call SET details = ?", [details])
    unsure = uncertainty_of(run, RUBRIC, JUDGE)
    assert unsure.measure == "probabilities"
    assert list(unsure.by_unit.values()) == pytest.approx([1] * 40)


@pytest.mark.parametrize(
    ("top", "spread"),
    [
        ({"5": 1.0}, 0.0),
        ({"1": 0.5, "5": 0.5}, 2.0),
        ({"1": 0.1, "2": 0.3, "x": 0.6}, math.sqrt(0.25 * 0.75)),  # of what went to scores
        ({"x": 1.0}, None),
    ],
)
def test_the_spread_is_of_the_probability_that_went_to_scores(
    top: dict[str, float], spread: float | None
):
    alternatives = {"before": "", "top": [[text, math.log(p)] for text, p in top.items()]}
    made = score_spread(alternatives, RUBRIC.scores)
    assert made == (None if spread is None else pytest.approx(spread))


def test_what_is_drawn_by_uncertainty_is_kept_and_predicted_from(run: Run):
    repeat(run)
    plan = plan_humans(run, RUBRIC, 24, np.random.default_rng(0), by="uncertainty")
    assert plan.uncertainty is not None
    assert {one.source for one in plan.drawn} == {"features", "neurons"}
    kept = run.rows("SELECT item_id, inclusion, drawn_by, uncertainty FROM human_plan")
    assert {row[0]: row[1] for row in kept} == {one.item: one.inclusion for one in plan.drawn}
    assert {row[2] for row in kept} == {"uncertainty"}
    likelier = max(plan.drawn, key=lambda one: one.inclusion)
    surest = min(plan.drawn, key=lambda one: one.inclusion)
    assert likelier.uncertainty > surest.uncertainty
    rate_planned(run, [one.item for one in plan.drawn])
    (judged,) = compare(run).calibration
    for predicted in judged.predictions:
        assert predicted.predicted.low is not None, predicted.predicted.note
        assert "inverse probabilities" in predicted.predicted.method
    assert judged.superiority is not None
    assert judged.superiority.predicted.low is not None


def rate_planned(run: Run, items: list[str]) -> None:
    from autointerp.records import Rating

    judge = dict(
        run.rows("SELECT item_id, score FROM rating WHERE rater = ? AND repeat = 0", [JUDGE])
    )
    run.add_ratings(
        [
            Rating(item, RUBRIC.id, RUBRIC.digest, "human:ann", 0, "ok", max(1, judge[item] - 1))
            for item in items
        ]
    )


def test_half_a_plan_that_people_rated_is_a_random_half(run: Run):
    repeat(run)
    plan = plan_humans(run, RUBRIC, 24, np.random.default_rng(0), by="uncertainty")
    features = [one for one in plan.drawn if one.source == "features"]
    rate_planned(run, [one.item for one in plan.drawn if one.source == "neurons"])
    rate_planned(run, [one.item for one in features[:6]])
    (judged,) = compare(run).calibration
    by_source = {p.of: p for p in judged.predictions}
    assert by_source["features"].n_both == 6
    assert by_source["features"].predicted.value is not None
    assert by_source["features"].predicted.low is None  # fewer than 10
    assert by_source["neurons"].predicted.low is not None


def test_units_that_the_judge_rated_after_the_draw_leave_no_prediction(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 20, "neurons": 20}, contexts=0) as run:
        for number in (0, 1):
            for source in ("features", "neurons"):
                add_scores(run, source, JUDGE, [3, 3, 3, 3, 3], repeat=number, seed=number)
        plan = plan_humans(run, RUBRIC, 24, np.random.default_rng(0), by="uncertainty")
        rate_planned(run, [one.item for one in plan.drawn])
        add_scores(run, "features", JUDGE, [1, 1, 1, 1, 1], start=15)
        (judged,) = compare(run).calibration
    assert "than when people's were drawn" in judged.predictions[0].predicted.note
    assert judged.superiority is not None
    assert "than when people's were drawn" in judged.superiority.predicted.note


def test_a_run_of_before_reads_its_plans_as_drawn_by_score(run: Run):
    plan_humans(run, RUBRIC, 12, np.random.default_rng(0))
    for column in ("drawn_by", "uncertainty"):
        run.connection.execute(f"ALTER TABLE human_plan DROP COLUMN {column}")
    plans = compare(run).plans
    assert set(plans.drawn_by) == {"score"}
    assert plans.inclusion.between(0, 1).all()


def test_the_command_says_by_what_it_drew(run: Run, command_line: Callable[..., Any]):
    repeat(run)
    run.close()
    result = command_line("plan-humans", "--n", "10", "--by", "uncertainty")
    assert result.code == 0, result.err
    assert "drawn by its uncertainty: the spread of its repeated ratings" in result.out
    values = json.loads(
        command_line("plan-humans", "--n", "10", "--by", "uncertainty", "--json").out
    )
    assert (values["by"], values["uncertainty"], values["items"]) == ("uncertainty", "repeats", 10)
    assert values["strata"][0]["least probability"] > 0
    by_score = json.loads(command_line("plan-humans", "--n", "10", "--json").out)
    assert by_score["uncertainty"] is None
