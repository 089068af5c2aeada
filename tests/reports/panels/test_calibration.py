from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.pipeline.plan_humans import plan_humans
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Rating
from autointerp.reports.panels import Block, Material, Prose, Table, calibration
from autointerp.store.run import Run


def test_it_speaks_of_the_people_who_rated_and_not_of_people(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40, "neurons": 40}, contexts=0) as run:
        add_all_scores(
            run, "model:a", {source: [8, 8, 8, 8, 8] for source in ("features", "neurons")}
        )
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


def texts(folder: Path, people: int) -> tuple[str, dict[str, Table]]:
    with fabricate_run(folder, {"features": 40, "neurons": 40}, contexts=0) as run:
        for source, counts in (("features", [4, 4, 8, 12, 12]), ("neurons", [12, 12, 8, 4, 4])):
            add_scores(run, source, "model:a", counts)
            for person in range(people):
                add_scores(run, source, f"human:p{person}", [4, 4, 4, 4, 4], seed=person)
        blocks = calibration.show(Material((compare(run),), (run,)))
    said = " ".join(f"{b.lead} {b.text}" for b in blocks if isinstance(b, Prose))
    return said, {block.name: block for block in blocks if isinstance(block, Table)}


def test_the_stand_in_test_says_its_answer_its_epsilon_and_why_not(tmp_path: Path):
    said, tables = texts(tmp_path / "three", 3)
    assert "That model:a may stand in for these people is not shown." in said
    assert "A fail does not show that it is worse" in said
    assert "ε = 0.15: fails." in said
    assert tables["stand_in"].summary
    assert tables["stand_in"].rows[0][2] == "fails"
    said, tables = texts(tmp_path / "one", 1)
    assert "Whether model:a may stand in for people is not known." in said
    assert "1 person; at least 2 are needed" in said
    assert tables["stand_in"].rows[0][2].startswith("too few: 1 person")


def test_superiority_by_people_stands_beside_that_of_the_judge(tmp_path: Path):
    said, tables = texts(tmp_path, 2)
    assert (
        "As human:p0 and human:p1 would rate all units, the probability of superiority of features "
        "over neurons, ties halved, is" in said
    )
    assert "rests on 20 features and 20 neurons that people and the judge rated." in said
    assert tables["people_pairs"].summary
    assert tables["people_pairs"].rows[0][1] == "features, neurons"


def test_a_second_look_by_people_says_what_its_intervals_allow_for(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40, "neurons": 40}, contexts=0) as run:
        for source, counts in (("features", [4, 4, 8, 12, 12]), ("neurons", [12, 12, 8, 4, 4])):
            add_scores(run, source, "model:a", counts)
            add_scores(run, source, "human:ann", [3, 3, 3, 3, 3])
        first = " ".join(b.text for b in shown(run) if isinstance(b, Prose))
        add_all_scores(
            run,
            "human:ann",
            {source: [1, 1, 1, 1, 1] for source in ("features", "neurons")},
            start=15,
        )
        second = " ".join(b.text for b in shown(run) if isinstance(b, Prose))
    assert "confidence sequence" not in first
    assert "It is look 2 at ratings of these people with this judge" in second
    assert "Means of a single source are those of one look." in second


def lead_of(folder: Path, judge: list[int], people: list[int]) -> str:
    """Return the panel's first paragraph, where people rated some of the units at random."""
    with fabricate_run(folder, {"features": 60}, contexts=0) as run:
        add_scores(run, "features", "model:a", judge, seed=2)
        add_scores(run, "features", "human:ann", people, seed=2)
        lead, *_ = shown(run)
    assert isinstance(lead, Prose)
    return lead.text


def test_a_prediction_is_called_narrower_only_where_it_is(tmp_path: Path):
    # The first 20 in the same random order: the judge says of each what ann says, or nothing.
    told = [12, 12, 12, 12, 12]
    assert "narrower than that of people's ratings alone in 0 of 1 rows" in lead_of(
        tmp_path / "no", [0, 0, 60, 0, 0], [4, 4, 4, 4, 4]
    )
    with fabricate_run(tmp_path / "yes", {"features": 60}, contexts=0) as run:
        add_scores(run, "features", "model:a", told, seed=2)
        judged = dict(run.rows("SELECT item_id, score FROM rating"))
        rubric = load_rubric("interpretability-1-5")
        add = [Rating(item, rubric.id, rubric.digest, "human:ann", 0, "ok", score)
               for item, score in list(judged.items())[:20]]  # fmt: skip
        run.add_ratings(add)
        lead, *_ = shown(run)
    assert isinstance(lead, Prose)
    assert "narrower than that of people's ratings alone in 1 of 1 rows" in lead.text


def test_units_that_people_cannot_be_shown_alike_are_counted_and_taken_out_of_the_claim(
    tmp_path: Path,
):
    with fabricate_run(tmp_path, {"features": 40, "neurons": 40}, contexts=0) as run:
        for source, counts in (("features", [4, 4, 8, 12, 12]), ("neurons", [12, 12, 8, 4, 4])):
            add_scores(run, source, "model:a", counts)
            add_scores(run, source, "human:ann", [3, 3, 3, 3, 3])
        (whole,) = compare(run).calibration
    short = replace(whole, contexts=9, left_out={"features": 7})
    assert "would rate all units, the probability" in calibration.pair_text(whole)
    assert "would rate all units that have 9 contexts, the" in calibration.pair_text(short)
    assert list(calibration._short([whole])) == []
    (text,) = calibration._short([short])
    assert text == (
        "People were shown at most 9 contexts of each unit on interpretability-1-5; 7 features "
        "that model:a rated have fewer, and of such nothing is predicted."
    )


def shown(run: Run) -> list[Block]:
    return calibration.show(Material((compare(run),), (run,)))


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (None, "0 leaves it out."),
        ("score", "each stratum counts by its size, and λ has no part in a mean."),
        ("uncertainty", "each unit counts by the inverse of its probability."),
    ],
)
def test_how_people_s_units_were_drawn_is_said_of_the_draw_that_was_made(
    tmp_path: Path, by: Literal["score", "uncertainty"] | None, said: str
):
    rubric = load_rubric("interpretability-1-5")
    with fabricate_run(tmp_path, {"features": 40, "neurons": 40}, contexts=0) as run:
        for source, repeat in product(("features", "neurons"), (0, 1)):
            add_scores(run, source, "model:a", [8, 8, 8, 8, 8], repeat=repeat, seed=7 * repeat)
        if by is None:
            add_scores(run, "features", "human:ann", [4, 4, 4, 4, 4])
        else:
            drawn = plan_humans(run, rubric, 40, np.random.default_rng(0), by=by).drawn
            run.add_ratings(
                [
                    Rating(one.item, rubric.id, rubric.digest, "human:ann", 0, "ok", 1 + at % 5)
                    for at, one in enumerate(drawn)
                ]
            )
        lead, *_ = calibration.show(Material((compare(run),), (run,)))
    assert isinstance(lead, Prose)
    assert said in lead.text
    assert lead.text.count("`plan-humans`") == (by is not None)
