"""People in a report: agreement, attention, guesses, and ratings that a plan drew."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.blinding import blinding_from
from autointerp.people.ingest import add_guesses
from autointerp.people.plans import plan_humans
from autointerp.pipeline.report import report
from autointerp.questions.guess import GUESSES
from autointerp.questions.rubric_files import load_rubric
from autointerp.reports.panels.blinding import conclusion
from autointerp.reports.words import by_chance_text
from autointerp.reports.write import Report

RUBRIC = load_rubric("interpretability-1-5")


def table(made: Report, name: str) -> pd.DataFrame:
    return pd.read_csv(made.folder / "tables" / f"{name}.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("people")
    units = {"features": 10, "neurons": 10, "planted": 5, "shuffled": 5}
    with fabricate_run(folder / "runs", units) as run:
        for rater, seed in (("human:ann", 0), ("human:bob", 0), ("model:a", 1)):
            add_all_scores(
                run, rater, {"features": [1, 1, 2, 2, 4], "neurons": [4, 2, 2, 1, 1]}, seed=seed
            )
            add_all_scores(run, rater, {"planted": [0, 0, 0, 0, 5], "shuffled": [5, 0, 0, 0, 0]})
        add_scores(run, "features", "human:ann", [1, 1, 2, 2, 4], repeat=1, seed=0)
        items = run.rows("SELECT k.item_id, u.source FROM key k JOIN unit u USING (unit_id)")
        arms = {"features": "feature", "neurons": "neuron"}
        right = {item: arms.get(source, "control") for item, source in items}
        add_guesses(run, "human:ann", right)
        add_guesses(run, "human:bob", dict.fromkeys(right, "unknown"))
    return report(["main"], folder / "out", folder=folder / "runs")


def test_a_report_shows_how_people_agree_with_each_other_themselves_and_models(made: Report):
    found = table(made, "people").set_index(["of", "who"])
    assert found.loc[("people", "human:ann, human:bob"), "alpha"] == 1  # the same seed
    assert found.loc[("oneself", "human:ann"), "kappa"] == 1
    assert found.loc[("person and model", "human:ann, model:a"), "alpha"] < 1


def test_a_report_shows_people_s_attention_on_gold_items(made: Report):
    found = table(made, "attention").set_index("rater")
    assert found.loc["human:ann", ["planted", "shuffled", "pairs_right"]].tolist() == [5, 1, 1]


def test_a_report_shows_the_blinding_indices_and_warns_where_the_blind_is_broken(made: Report):
    found = table(made, "blinding").set_index(["rater", "source"])
    assert found.loc[("human:ann", "features"), "bang"] == 1
    assert found.loc[("human:ann", "all"), "james"] == 0
    assert found.loc[("human:bob", "neurons"), "bang"] == 0
    assert found.loc[("human:bob", "all"), "james"] == 1
    (panel,) = [panel for panel in made.panels if panel.name == "blinding"]
    texts = {getattr(block, "text", ""): getattr(block, "tone", "") for block in panel.blocks}
    assert any("human:ann recognises" in text and texts[text] == "warning" for text in texts)
    assert any("human:bob is not shown to recognise" in text for text in texts)
    assert not any("human:bob recognises" in text for text in texts)


def test_a_rater_who_always_says_the_same_is_not_held_to_recognise_anything():
    sources = {"features": 40, "neurons": 40, "random": 40}
    arms = {"features": "feature", "neurons": "neuron", "random": "control"}
    always = {name: {**dict.fromkeys(GUESSES, 0), "feature": n} for name, n in sources.items()}
    same = blinding_from("human:ann", always, arms)  # type: ignore[arg-type]
    assert same.sources[0].bang.value == 1  # the index alone would say so
    assert conclusion(same)[0] == "No source is recognised."
    knows = {name: {**dict.fromkeys(GUESSES, 0), arms[name]: n} for name, n in sources.items()}
    right = blinding_from("human:ann", knows, arms)  # type: ignore[arg-type]
    lead, text = conclusion(right)
    assert lead == "The blind did not hold."
    assert "recognises features, neurons and random" in text
    alone = blinding_from("human:ann", {"features": knows["features"]}, arms)  # type: ignore[arg-type]
    assert conclusion(alone)[0] == "Nothing to recognise."


def test_how_many_raters_chance_would_hold_to_recognise_a_source_is_said_of_several():
    sources = {"features": 40, "neurons": 40}
    arms = {"features": "feature", "neurons": "neuron"}
    tables = {name: {**dict.fromkeys(GUESSES, 0), "unknown": n} for name, n in sources.items()}
    asked = blinding_from("human:ann", tables, arms)  # type: ignore[arg-type]
    alone = blinding_from("human:bob", {"features": tables["features"]}, arms)  # type: ignore[arg-type]
    assert by_chance_text([asked, alone]) == ""  # nothing could be recognised by the second
    assert by_chance_text([asked] * 24) == (
        " Each of 24 raters is tested by itself: if all guessed, up to 1.2 of them would be held "
        "to recognise a source on average."
    )


def test_people_s_mean_weighs_the_strata_that_a_plan_drew(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 60, "neurons": 60}) as run:
        add_all_scores(
            run, "model:a", {source: [40, 0, 0, 0, 20] for source in ("features", "neurons")}
        )
        plan_humans(run, RUBRIC, 20, np.random.default_rng(0), "model:a")
        judged = run.rows("SELECT p.item_id, p.score FROM human_plan p ORDER BY p.item_id")
        run.insert(
            "rating",
            [
                {"item_id": item, "rubric": RUBRIC.id, "rubric_digest": RUBRIC.digest}
                | {"rater": "human:ann", "repeat": 0, "version": 0, "status": "ok"}
                # Where the judge gives 1, people give 1 and 2 in turn; where 5, 4.
                | {"score": 4 if score == 5 else 1 + place % 2, "made_at": "2026-01-01"}
                for place, (item, score) in enumerate(judged)
            ],
        )
    made = report(["main"], tmp_path / "out", folder=tmp_path)
    found = table(made, "calibration").set_index("of").loc["features"]
    scores = {1: [], 5: []}
    for place, (item, score) in enumerate(judged):
        scores[score].append((item, 4 if score == 5 else 1 + place % 2))
    with_source = dict(_sources(tmp_path))
    low = [s for item, s in scores[1] if with_source[item] == "features"]
    # One that the judge gave 5 shows a text twice, so it has fewer contexts than people are shown.
    assert found.predicted == pytest.approx((40 * np.mean(low) + 19 * 4) / 59)
    assert np.isnan(found.power)


def _sources(folder: Path) -> list[tuple[str, str]]:
    from autointerp.store.run import open_run

    with open_run("main", folder=folder, read_only=True) as run:
        return run.rows("SELECT item_id, source FROM human_plan")
