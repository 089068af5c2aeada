"""What the verdict says, and does not say in the opposite case."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.comparison import Comparison, compare
from autointerp.people.plans import plan_humans
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Rating
from autointerp.reports.against import objections
from autointerp.reports.page import subtitle, title
from autointerp.reports.panels import Material, Prose, verdict
from autointerp.store.run import Run

HIGH, LOW, FLAT = [0, 0, 5, 10, 15], [15, 10, 5, 0, 0], [6, 6, 6, 6, 6]
CONTROLS = {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]}


MADE: dict[str, Material] = {}  # by what was asked: runs that are alike are made once


def material(
    folder: Path, scores: Mapping[str, list[int]], site: str = "", **made: Any
) -> Material:
    asked = repr((scores, site, made))
    if asked not in MADE:
        units = {source: sum(counts) for source, counts in scores.items()}
        with fabricate_run(folder, units, contexts=0, **made) as run:
            add_all_scores(run, "model:a", scores)
            MADE[asked] = of(run, site)
    return MADE[asked]


def of(run: Run, site: str = "") -> Material:
    if site:
        run.about["settings"]["subject"]["site"] = site
    return Material((compare(run),), (run,))


def paragraphs(shown: Material) -> list[Prose]:
    return [block for block in verdict.show(shown) if isinstance(block, Prose)]


def text_of(shown: Material) -> str:
    return " ".join(f"{block.lead} {block.text}" for block in paragraphs(shown))


def test_green_is_for_a_resolved_difference_with_controls_in_place_and_not_for_a_null(
    tmp_path: Path,
):
    def tones(name: str, scores: Mapping[str, list[int]]) -> list[str]:
        return [b.tone for b in paragraphs(material(tmp_path / name, scores))]

    assert "good" in tones("higher", {"features": HIGH, "neurons": LOW, **CONTROLS})
    assert "good" not in tones("null", {"features": FLAT, "neurons": FLAT, **CONTROLS})
    assert "good" not in tones("unchecked", {"features": HIGH, "neurons": LOW})
    many = {"features": [200] * 5, "neurons": [200] * 5, **CONTROLS}
    assert "good" not in tones("alike", many)


def test_missing_scores_that_could_take_the_answer_back_are_a_warning_on_every_face(
    tmp_path: Path,
):
    scores, tones = {"features": HIGH, "neurons": LOW}, {}
    for refused in (0, 30):
        name = tmp_path / str(refused)
        units = {source: sum(counts) + refused for source, counts in scores.items()}
        missing = {source: {"refused": refused} for source in scores}
        with fabricate_run(name, units, contexts=0) as run:
            add_all_scores(run, "model:a", scores, missing=missing)
            shown = of(run)
        (told,) = [block for block in paragraphs(shown) if block.lead == "The conditions."]
        tones[refused] = told.tone
    # Warnings are printed in the terminal, too.
    assert tones == {0: "plain", 30: "warning"}
    assert "30 features and 30 neurons have no score" in told.text


def test_the_title_fits_the_outcome(tmp_path: Path):
    pairs = {
        "They score higher.": (HIGH, LOW),
        "They score lower.": (LOW, HIGH),
        "no difference is resolved": (FLAT, FLAT),
        "no difference that matters": ([200] * 5, [200] * 5),
    }
    for place, (expected, (features, neurons)) in enumerate(pairs.items()):
        scores = {"features": features, "neurons": neurons, **CONTROLS}
        assert expected in title(material(tmp_path / str(place), scores))


def test_features_alone_are_not_headed_by_a_comparison_with_neurons(tmp_path: Path):
    heading = title(material(tmp_path, {"features": HIGH, **CONTROLS}))
    assert heading == "How interpretable are the features?"
    heading = title(material(tmp_path / "neurons", {"neurons": HIGH, **CONTROLS}))
    assert heading == "How interpretable are the neurons?"
    heading = title(material(tmp_path / "own", {"mine": HIGH, **CONTROLS}))
    assert heading == "How interpretable are the units of 'mine'?"


def test_a_rater_that_fails_its_controls_gives_no_answer_in_the_title(tmp_path: Path):
    scores = {"features": HIGH, "neurons": LOW, "planted": [6, 0, 0, 0, 0]}
    heading = title(material(tmp_path, scores))
    assert heading == "Are the features more interpretable than the neurons?"


def test_a_control_is_spoken_of_only_beside_the_source_that_it_is_like_in_density(tmp_path: Path):
    scores = {"features": HIGH, "neurons": LOW, "random": [6, 6, 6, 6, 6]}
    density = {"features": 0.005, "neurons": 0.3, "random": 0.005}
    text = text_of(material(tmp_path / "features", scores, density=density))
    assert "of like density, the probability of superiority of features is" in text
    assert "of like density, the probability of superiority of neurons is" not in text
    density["random"] = 0.3
    text = text_of(material(tmp_path / "neurons", scores, density=density))
    assert "of like density, the probability of superiority of features is" not in text
    assert "of like density, the probability of superiority of neurons is" in text


def test_the_adjustment_for_density_says_what_it_rests_on_or_why_there_is_none(tmp_path: Path):
    scores = {"features": [10] * 5, "neurons": [10] * 5}
    near = text_of(material(tmp_path / "near", scores, density={"features": 0.01, "neurons": 0.01}))
    assert "At like density the probability of superiority is" in near
    assert "of 50 features and" in near
    assert "the two together do not resolve which scores higher" in near
    assert "No adjustment" not in near
    clear = {"features": [2, 4, 10, 16, 18], "neurons": [18, 16, 10, 4, 2]}
    near = text_of(material(tmp_path / "up", clear, density={"features": 0.01, "neurons": 0.01}))
    assert "There, features score higher, by both." in near
    far = text_of(material(tmp_path / "far", scores, density={"features": 1e-4, "neurons": 0.3}))
    assert "No adjustment for density: " in far
    assert "the groups hardly overlap" in far
    assert "At like density" not in far


def test_axes_that_are_no_neurons_are_called_what_they_are(tmp_path: Path):
    scores = {"features": HIGH, "neurons": LOW, **CONTROLS}
    shown = material(tmp_path / "axes", scores, site="layers.3.mlp")
    warnings = [block for block in paragraphs(shown) if block.lead == "Not neurons."]
    assert "axes of the MLP's output" in warnings[0].text
    assert "layers.3.mlp.neurons" in warnings[0].text
    assert "the axes of the MLP's output?" in title(shown)
    plain = material(tmp_path / "neurons", scores)
    assert "Not neurons." not in text_of(plain)
    assert "the neurons?" in title(plain)
    only_features = material(tmp_path / "one", {"features": HIGH}, site="layers.3.mlp")
    assert "Not neurons." not in text_of(only_features)


def test_the_header_says_what_was_studied(tmp_path: Path):
    shown = material(tmp_path, {"features": HIGH, "neurons": LOW})
    assert "site layers.0.mlp.neurons (neurons of the MLP)" in subtitle(shown)
    assert "1,000,000 tokens read" in text_of(shown)
    unknown = {"features": float("nan"), "neurons": float("nan")}
    shown = material(tmp_path / "no", {"features": HIGH, "neurons": LOW}, density=unknown)
    assert "tokens read" not in text_of(shown)


def test_a_doubt_about_a_rater_counts_the_controls_that_it_rests_on(tmp_path: Path):
    scores = {"features": HIGH, "neurons": LOW, "planted": [5, 0, 0, 0, 0]}
    (doubt,) = [b for b in paragraphs(material(tmp_path, scores)) if "cannot be" in b.lead]
    assert "This rests on 5 control units." in doubt.text
    assert "say nothing" not in doubt.text


def two_raters(folder: Path, broken: bool) -> Comparison:
    units = {"features": 30, "neurons": 30, "planted": 6, "shuffled": 6}
    with fabricate_run(folder, units, contexts=0) as run:
        for rater in ("model:a", "model:b"):
            add_all_scores(run, rater, {"features": HIGH, "neurons": LOW})
            fails = broken and rater == "model:b"
            add_all_scores(
                run,
                rater,
                {
                    "planted": [6, 0, 0, 0, 0] if fails else CONTROLS["planted"],
                    "shuffled": CONTROLS["shuffled"],
                },
            )
        return compare(run)


def test_raters_left_out_of_the_combination_are_named_and_the_others_are_not(tmp_path: Path):
    (pooled,) = two_raters(tmp_path / "broken", broken=True).pooled
    text = verdict.pooled_text(pooled)
    assert "Left out, for they fail their controls or their check: model:b." in text
    assert "there is nothing to combine" in text
    (pooled,) = two_raters(tmp_path / "held", broken=False).pooled
    text = verdict.pooled_text(pooled)
    assert "Left out" not in text
    assert "combined (van Elteren) it is" in text
    assert "Too few controls" not in text


def test_a_person_s_units_that_were_not_drawn_alike_are_said_to_be_so(tmp_path: Path):
    rubric = load_rubric("interpretability-1-5")
    told = {}
    for by in ("alike", "score"):
        with fabricate_run(tmp_path / by, {"features": 40, "neurons": 40}, contexts=0) as run:
            for source, counts in (("features", [1, 3, 6, 12, 18]), ("neurons", [18, 12, 6, 3, 1])):
                add_scores(run, source, "model:a", counts)
                if by == "alike":
                    add_scores(run, source, "human:ann", [4, 4, 4, 4, 4])
            if by == "score":
                drawn = plan_humans(run, rubric, 40, np.random.default_rng(0)).items
                ratings = [
                    Rating(one.item, rubric.id, rubric.digest, "human:ann", 0, "ok", one.score)
                    for one in drawn
                ]
                run.add_ratings(ratings)
            shown = of(run)
        told[by] = text_of(shown)
        leads = [one.lead for one in objections(shown)]
        assert ("Not drawn alike." in leads) == (by == "score")
    assert "Not drawn alike" not in told["alike"]
    assert (
        "Not drawn alike. human:ann rated units that `plan-humans` drew by the scores of model:a, "
        "some more often than others." in told["score"]
    )


def test_units_that_a_person_was_not_asked_about_are_counted(tmp_path: Path):
    shown = material(tmp_path, {"features": HIGH, "neurons": LOW})
    (judgement,) = shown.judgements
    assert judgement.decisive is not None
    said = " ".join(verdict._conditions(judgement, judgement.decisive))
    assert "Not asked about" not in said
    short = replace(judgement, short={"features": 5, "planted": 2})
    said = " ".join(verdict._conditions(short, judgement.decisive))
    assert (
        "Not asked about, for they have fewer contexts than people are shown: 5 features." in said
    )


def test_a_look_is_called_the_rater_s_where_several_rated(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 30, "neurons": 30}, contexts=0) as run:
        add_all_scores(run, "model:a", {"features": HIGH, "neurons": LOW})
        assert "the first look at these two sources." in text_of(of(run))
        add_all_scores(run, "model:b", {"features": HIGH, "neurons": LOW})
        assert "first look at these two sources by this rater's scores." in text_of(of(run))
