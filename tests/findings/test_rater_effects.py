"""Raters of a run beside one another, from first ratings of studied units; drift from sessions."""

from pathlib import Path

import numpy as np
import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.findings.rater_effects import rater_models
from autointerp.reports.panels import Figure, Material, Prose, Table, rater_effects
from autointerp.store.run import Run

SOURCES = {"features": 40, "neurons": 40, "planted": 40}


def rated(folder: Path, raters: dict[str, list[int]]) -> Run:
    run = fabricate_run(folder, SOURCES, contexts=0)
    for place, (rater, counts) in enumerate(raters.items()):
        given = dict.fromkeys(SOURCES, counts)
        if len(raters) > 1:
            given["planted"] = [0, 0, 0, 0, 40]  # so that the ceiling holds
        add_all_scores(run, rater, given, seed=place)
    return run


def session(run: Run, rater: str, sources: tuple[str, ...] = tuple(SOURCES)) -> None:
    """Write that a person rated all items in one session, low scores rather towards its end."""
    rows = run.rows(
        "SELECT item_id, score FROM unit_rating WHERE rater = ? AND list_contains(?, source)"
        " ORDER BY score + 4 * (hash(item_id) % 100) / 100 DESC, item_id",
        [rater, list(sources)],
    )
    run.insert(
        "human_answer",
        [
            {
                "session_id": "s", "rater": rater, "seq": seq, "kind": "rating", "verb": "score",
                "item_id": item, "repeat": 0, "score": score, "text": None, "seconds": 1.0,
                "answered_at": "2026-01-01T00:00:00Z", "chain": "",
            }
            for seq, (item, score) in enumerate(rows)
        ],
    )  # fmt: skip


SEVERE, LENIENT = [16, 12, 8, 3, 1], [1, 3, 8, 12, 16]


def test_the_severe_rater_is_found_on_studied_units_alone(tmp_path: Path):
    with rated(tmp_path, {"human:mild": LENIENT, "human:hard": SEVERE}) as run:
        (model,) = compare(run).rater_effects
    assert model.effects is not None
    assert model.effects.units == 80  # planted units stay out
    assert model.effects.ratings == 160
    severity = {effect.rater: effect.severity for effect in model.effects.raters}
    assert severity["human:hard"].low > 0 > severity["human:mild"].high
    assert severity["human:hard"].value == pytest.approx(-severity["human:mild"].value)
    assert model.effects.odds_ratio is not None
    assert model.effects.odds_ratio.low < 1 < model.effects.odds_ratio.high
    assert model.drift == {}


def test_a_rater_that_fails_has_a_severity_and_no_say_on_the_sources(tmp_path: Path):
    high, low = [1, 3, 8, 12, 16], [16, 12, 8, 3, 1]
    with rated(tmp_path, {"model:a": LENIENT, "model:b": LENIENT}) as run:
        for place, source in enumerate(SOURCES):
            # Fails: planted units at the bottom; its neurons are high and its features low.
            add_scores(run, source, "model:c", high if source == "neurons" else low, seed=place)
        comparison = compare(run)
        (model,) = comparison.rater_effects
        blocks = rater_effects.show(Material((comparison,), (run,)))
    assert model.effects is not None
    assert model.failing == ("model:c",)
    assert len(model.effects.raters) == 3
    # The two that are left gave both sources the same scores.
    assert model.effects.odds_ratio.low < 1 < model.effects.odds_ratio.high
    text = " ".join(block.text for block in blocks if isinstance(block, Prose))
    assert "by model:a and model:b alone; model:c fails its controls or its check." in text


def test_only_raters_of_which_the_model_holds_scores_are_said_to_compare_the_sources(
    tmp_path: Path,
):
    with rated(tmp_path, {"model:a": LENIENT, "model:b": LENIENT}) as run:
        for place, source in enumerate(SOURCES):
            add_scores(run, source, "model:c", LENIENT[::-1], seed=place)  # fails its controls
        add_scores(run, "features", "model:d", [0] * 5, missing={"refused": 5})
        add_scores(run, "features", "model:e", [1, 1, 1, 1, 1])  # of too few units
        comparison = compare(run)
        (model,) = comparison.rater_effects
        blocks = rater_effects.show(Material((comparison,), (run,)))
    assert model.raters == ("model:a", "model:b", "model:c", "model:d", "model:e")
    assert model.compared_by == ("model:a", "model:b")
    text = " ".join(block.text for block in blocks if isinstance(block, Prose))
    assert "by model:a and model:b alone; model:c fails its controls or its check." in text


def test_repeats_do_not_count_twice(tmp_path: Path):
    with rated(tmp_path, {"model:a": LENIENT, "model:b": SEVERE}) as run:
        (before,) = compare(run).rater_effects
        add_all_scores(run, "model:a", dict.fromkeys(("features", "neurons"), SEVERE), repeat=1)
        (after,) = compare(run).rater_effects
    assert after.effects == before.effects


def test_one_rater_is_beside_nobody_and_a_person_may_still_drift(tmp_path: Path):
    with rated(tmp_path, {"human:ann": LENIENT}) as run:
        assert compare(run).rater_effects == ()
        session(run, "human:ann")
        comparison = compare(run)
        (model,) = comparison.rater_effects
        blocks = rater_effects.show(Material((comparison,), (run,)))
    assert model.effects is None
    moved = model.drift["human:ann"]
    assert moved.ratings == 120
    assert moved.odds_ratio.high < 0.2
    text = " ".join(b.text for b in blocks if isinstance(b, Prose))
    assert "human:ann: scores fall from the first to the last of 120 ratings" in text


def test_an_answer_given_again_stands_where_it_was_given_last(tmp_path: Path):
    with rated(tmp_path, {"human:ann": LENIENT}) as run:
        session(run, "human:ann", ("features",))
        row = run.frame("SELECT * FROM human_answer WHERE seq = 0").to_dict("records")[0]
        run.insert("human_answer", [row | {"seq": 40}])
        comparison = compare(run)
        models = list(rater_models(run, comparison.judgements, comparison.units))
    assert models[0].drift["human:ann"].ratings == 40  # and not 41


def test_a_unit_rated_in_two_sittings_has_the_score_of_each_at_its_place(tmp_path: Path):
    """The second sitting rises as the first falls, so that nothing moves on the whole."""
    with rated(tmp_path, {"human:ann": LENIENT}) as run:
        session(run, "human:ann", ("features",))
        answers = run.frame("SELECT * FROM human_answer")
        again = answers.assign(session_id="t", score=6 - answers.score)
        run.insert("human_answer", again.to_dict("records"))
        comparison = compare(run)
        (model,) = rater_models(run, comparison.judgements, comparison.units)
        taken_back = again.iloc[:1].assign(verb="undo", seq=40).to_dict("records")
        run.insert("human_answer", [taken_back[0] | {"score": None}])
        (fewer,) = rater_models(run, comparison.judgements, comparison.units)
    moved = model.drift["human:ann"]
    assert moved.ratings == 80
    assert moved.odds_ratio.value == pytest.approx(1, abs=0.01)
    assert fewer.drift["human:ann"].ratings == 79


def test_the_panel_draws_severity_and_says_what_it_rests_on(tmp_path: Path):
    raters = {"human:mild": LENIENT, "human:hard": SEVERE, "scripted:4": [0, 0, 0, 40, 0]}
    with rated(tmp_path, raters) as run:
        blocks = rater_effects.show(Material((compare(run),), (run,)))
    text = " ".join(b.text for b in blocks if isinstance(b, Prose))
    assert "160 first ratings of 80 studied units" in text
    assert "Left out" in text
    assert "scripted:4" in text
    (figure,) = (b for b in blocks if isinstance(b, Figure))
    labels = [tick.get_text() for tick in figure.draw().axes[0].get_yticklabels()]
    assert labels == ["human:mild", "human:hard"]
    (table,) = (b for b in blocks if isinstance(b, Table))
    assert np.isfinite(table.frame.severity_low).all()


def test_raters_of_different_units_are_not_compared(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 40, "neurons": 4}, contexts=0) as run:
        add_scores(run, "features", "model:a", [4, 4, 4, 4, 4])
        add_scores(run, "features", "model:b", [4, 4, 4, 4, 4], start=20)
        comparison = compare(run)
        blocks = rater_effects.show(Material((comparison,), (run,)))
    (model,) = comparison.rater_effects
    assert model.effects is not None
    assert model.effects.raters == ()
    (said,) = blocks
    assert "too few" in said.text


def test_of_many_units_a_random_part_is_modelled_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("autointerp.findings.rater_effects.MOST_RATINGS", 120)  # of 160
    with rated(tmp_path, {"human:mild": LENIENT, "human:hard": SEVERE}) as run:
        comparison = compare(run)
        blocks = rater_effects.show(Material((comparison,), (run,)))
    (model,) = comparison.rater_effects
    assert model.effects is not None
    assert (model.units, model.effects.units) == (80, 60)
    assert "60 studied units (a random part of 80)" in blocks[0].text
