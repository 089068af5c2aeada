"""What is held against an answer, and what is not in the opposite case."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.fabricate import add_all_scores, add_scores, fabricate_run
from support.judges import made_check

from autointerp.findings.checks import keep
from autointerp.findings.comparison import compare
from autointerp.findings.plan import Plan, Stopping, declare
from autointerp.questions.rubric_files import load_rubric
from autointerp.reports.against import objections
from autointerp.reports.panels import Material

HIGH, LOW = [0, 0, 5, 10, 15], [15, 10, 5, 0, 0]
CONTROLS = {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]}
BOTH = {"features": HIGH, "neurons": LOW, **CONTROLS}


FOUND: dict[str, dict[str, str]] = {}  # by what was asked: runs that are alike are made once


def against(
    folder: Path,
    scores: Mapping[str, list[int]],
    rater: str = "model:a",
    site: str = "",
    missing: Mapping[str, dict[Any, int]] | None = None,
    **made: Any,
) -> dict[str, str]:
    """Return the objections to a run, lead → text, in their order."""
    asked, is_new = repr((scores, rater, site, missing, made)), not folder.exists()
    if asked in FOUND and is_new:  # what is in a folder, such as a check, makes another case
        return FOUND[asked]
    missing = missing or {}
    units = {
        source: sum(counts) + sum(missing.get(source, {}).values())
        for source, counts in scores.items()
    }
    with fabricate_run(folder, units, contexts=0, **made) as run:
        add_all_scores(run, rater, scores, missing=missing)
        if site:
            run.about["settings"]["subject"]["site"] = site
        found = {one.lead: one.text for one in objections(Material((compare(run),), (run,)))}
    return FOUND.setdefault(asked, found) if is_new else found


def test_a_rater_that_fails_its_controls_comes_before_everything_else(tmp_path: Path):
    scores = {**BOTH, "planted": [6, 0, 0, 0, 0]}
    found = against(tmp_path / "failed", scores, site="layers.3.mlp")
    assert next(iter(found)) == "The rater fails its controls."
    assert "'planted'" in found["The rater fails its controls."]
    assert "'shuffled'" not in found["The rater fails its controls."]
    assert "The rater fails its controls." not in against(tmp_path / "held", BOTH)


def test_controls_that_were_not_rated_are_missed_where_they_were_not(tmp_path: Path):
    few = against(tmp_path / "few", {"features": HIGH, "neurons": LOW})
    assert "was not rated" in few["The controls say too little."]
    assert "The controls say too little." not in against(tmp_path / "all", BOTH)


def test_a_rule_or_a_script_is_held_against_the_answer_and_a_language_model_is_not(tmp_path: Path):
    found = against(tmp_path / "rule", BOTH, "lexical")
    assert found["The rater."] == "lexical is a fixed rule on words and no language model."
    assert "The rater." not in against(tmp_path / "model", BOTH)
    assert "The rater." not in against(tmp_path / "person", BOTH, "human:ann")


def test_axes_that_are_no_neurons_are_named_where_they_were_rated(tmp_path: Path):
    found = against(tmp_path / "axes", BOTH, site="layers.3.mlp")
    assert "axes of the MLP's output" in found["Not neurons."]
    assert "Not neurons." not in against(tmp_path / "hidden", BOTH, site="layers.3.mlp.neurons")
    alone = {"features": HIGH, **CONTROLS}
    assert "Not neurons." not in against(tmp_path / "alone", alone, site="layers.3.mlp")


def test_a_corpus_that_was_cut_is_held_against_it_and_a_whole_one_is_not(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 30, "neurons": 30}, contexts=0) as run:
        add_all_scores(run, "model:a", {"features": HIGH, "neurons": LOW})
        run.execute("UPDATE unit SET tokens = 100000")
        whole = {one.lead for one in objections(Material((compare(run),), (run,)))}
        run.note_cut()
        little = {one.lead: one.text for one in objections(Material((compare(run),), (run,)))}
        run.execute("UPDATE unit SET tokens = 2000000")
        much = {one.lead: one.text for one in objections(Material((compare(run),), (run,)))}
    assert not whole & {"Little text.", "Part of the corpus."}
    assert little["Little text."].startswith("Only the first 100,000 tokens of the corpus were")
    assert little["Little text."].endswith("judged on little text.")
    assert much["Part of the corpus."].startswith("Only the first 2,000,000 tokens of the corpus")
    assert "Little text." not in much


def test_density_is_held_against_it_where_it_is_unlike_unknown_or_changes_the_answer(
    tmp_path: Path,
):
    far = against(tmp_path / "far", BOTH, density={"features": 1e-4, "neurons": 0.3})
    assert far["Density."].startswith("No comparison at like density")
    unknown = {"features": float("nan"), "neurons": float("nan")}
    assert "not known" in against(tmp_path / "unknown", BOTH, density=unknown)["Density."]
    like = {"features": 0.01, "neurons": 0.01}
    clear = {"features": [2, 4, 10, 16, 18], "neurons": [18, 16, 10, 4, 2], **CONTROLS}
    assert "Density." not in against(tmp_path / "like", clear, density=like)
    apart = {"features": [0, 0, 0, 0, 30], "neurons": [30, 1, 0, 0, 1], **CONTROLS}
    text = against(tmp_path / "apart", apart, density=like)["Density."]
    assert text.startswith("At like density the difference has no second opinion: 0.9")


def test_missing_scores_count_only_where_they_could_turn_the_answer(tmp_path: Path):
    lost = {"features": {"refused": 30}, "neurons": {"refused": 30}}
    assert "anywhere from" in against(tmp_path / "many", BOTH, missing=lost)["Missing scores."]
    few = {"features": {"refused": 1}}
    assert "Missing scores." not in against(tmp_path / "few", BOTH, missing=few)


def test_a_ceiling_that_hardly_a_unit_leaves_is_held_against_the_answer(tmp_path: Path):
    ceiling = {"features": [0, 0, 0, 0, 50], "neurons": [1, 0, 0, 0, 49], **CONTROLS}
    text = against(tmp_path, ceiling)["Hardly a spread."]
    assert text.startswith("50 features and 50 neurons were rated: too few units for a 95%")


def test_what_could_end_that_two_sources_score_alike_is_held_against_it(tmp_path: Path):
    alike = {"features": [0, 0, 0, 0, 200], "neurons": [4, 0, 0, 0, 196], **CONTROLS}
    lost = {"features": {"refused": 40}}
    found = against(tmp_path / "lost", alike, missing=lost)
    # 40 of 240 features at 1 would win 0, tie 4 in 200: 5/6 · 0.51 + 1/6 · 0.01 = 0.4267.
    assert "anywhere from 0.43 to 0.51" in found["Missing scores."]
    assert "Missing scores." not in against(tmp_path / "none", alike)


def test_a_control_that_scores_as_high_is_held_against_it(tmp_path: Path):
    like = {"features": 0.005, "neurons": 0.3, "random": 0.005}
    found = against(tmp_path / "same", {**BOTH, "random": HIGH}, density=like)
    assert "random directions of like density" in found["A control may come as far."]
    top = [0, 0, 0, 0, 60]
    found = against(tmp_path / "more", {**BOTH, "random": top}, density=like)
    assert "are not shown to score higher" in found["A control comes as far."]
    found = against(tmp_path / "below", {**BOTH, "random": LOW}, density=like)
    assert not any(lead.startswith("A control") for lead in found)
    # A control that fires far more often is no control of these units.
    found = against(tmp_path / "unlike", {**BOTH, "random": HIGH}, density={**like, "random": 0.3})
    text = " ".join(text for lead, text in found.items() if lead.startswith("A control"))
    assert "features are not shown" not in text.lower()


def test_units_left_out_by_the_filter_are_counted_where_there_are_any(tmp_path: Path):
    excluded = {"features": {"dense": 3, "dead": 2}}
    found = against(tmp_path / "some", BOTH, excluded=excluded)
    assert "5 of 65 units drawn" in found["Some units are left out."]
    assert "Some units are left out." not in against(tmp_path / "none", BOTH)


def test_raters_of_the_plan_that_have_not_rated_yet_are_named(tmp_path: Path):
    rubric = load_rubric("interpretability-1-5")
    raters = ("model:a", "model:b", "model:c")
    stopping = Stopping("fixed", 30)
    plan = Plan(raters, rubric.id, rubric.digest, "features", "neurons", stopping)
    with fabricate_run(tmp_path, {"features": 30, "neurons": 30}, contexts=0) as run:
        declare(run, plan)
        add_all_scores(run, "model:a", {"features": HIGH, "neurons": LOW})
        found = {one.lead: one.text for one in objections(Material((compare(run),), (run,)))}
    assert found["Not at its end yet."].startswith("By the plan model:b and model:c still have to")


def test_a_comparison_that_nobody_declared_is_said_to_be_undeclared(tmp_path: Path):
    pair = {"features": HIGH, "random": LOW, **CONTROLS}
    assert "Undeclared." not in against(tmp_path / "alone", pair)  # nothing is compared
    other = {"features": HIGH, "untrained": LOW, **CONTROLS}
    found = against(tmp_path / "other", other)
    assert "before the first rating" in found["Undeclared."]


def test_few_units_are_named_as_such(tmp_path: Path):
    found = against(tmp_path, {"features": [0, 0, 1, 1, 1], "neurons": [1, 1, 1, 0, 0]})
    assert found["Few units."] == "3 features and 3 neurons were rated."


def test_a_reason_is_not_given_twice_before_another_is_given_once(tmp_path: Path):
    units = {source: sum(counts) for source, counts in BOTH.items()}
    with fabricate_run(
        tmp_path, units, contexts=0, density={"features": 1e-4, "neurons": 0.3}
    ) as run:
        for rater in ("model:a", "model:b"):
            add_all_scores(run, rater, BOTH)
        found = objections(Material((compare(run),), (run,)))
    leads = [one.lead for one in found]
    first = leads[: len(set(leads))]
    assert len(first) == len(set(first))
    # What holds for every rater is said once, and of none in particular.
    (density,) = [one.text for one in found if one.lead == "Density."]
    assert density.startswith("No comparison at like density")


def test_a_reason_against_one_rater_of_two_names_it(tmp_path: Path):
    units = {source: sum(counts) for source, counts in BOTH.items()}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        for rater in ("model:a", "model:b"):
            for source, counts in BOTH.items():
                if (rater, source) != ("model:b", "planted"):
                    add_scores(run, source, rater, counts)
        found = objections(Material((compare(run),), (run,)))
    (lacking,) = [one.text for one in found if one.lead == "The controls say too little."]
    assert lacking.startswith("model:b: ")


def test_a_check_that_another_model_answered_is_held_against_the_answer(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 6, "neurons": 6}, contexts=0) as run:
        for source in ("features", "neurons"):
            add_scores(run, source, "openai:m", [1, 1, 1, 1, 2], version="", model="m-2025-06")
        (tmp_path / ".checks").mkdir()

        def leads() -> dict[str, str]:
            return {one.lead: one.text for one in objections(Material((compare(run),), (run,)))}

        check = made_check("openai:m", 0.9)
        keep(dataclasses.replace(check, model="m-2025-01"), tmp_path)
        assert "was checked, m-2025-01 answered" in leads()["Another model was checked."]
        keep(dataclasses.replace(check, model="m-2025-06"), tmp_path)
        assert "Another model was checked." not in leads()
        keep(dataclasses.replace(check, model="m-2025-01"), tmp_path)  # later, of another model
        assert "Another model was checked." not in leads()


def test_of_a_reason_with_other_figures_for_each_rater_the_first_counts_the_others(tmp_path: Path):
    units = {source: sum(counts) for source, counts in BOTH.items()}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        add_all_scores(run, "model:a", BOTH)
        for rater, fewer in (("model:b", "planted"), ("model:c", "shuffled")):
            add_all_scores(run, rater, {**BOTH, fewer: [2, 0, 0, 0, 0]})
        found = objections(Material((compare(run),), (run,)))
    first, second = [one.text for one in found if one.lead == "The controls say too little."]
    assert first.startswith("model:b: ")
    assert first.endswith(". 1 more rating likewise.")
    assert second.startswith("model:c: The control 'shuffled' has only 2 scored units")
    assert "likewise" not in second


def test_ratings_of_several_versions_or_models_are_held_against_the_answer(tmp_path: Path):
    def found(name: str, *ways: dict[str, str]) -> dict[str, str]:
        with fabricate_run(tmp_path / name, {"features": 6, "neurons": 6}, contexts=0) as run:
            for source, way in zip(("features", "neurons"), ways, strict=True):
                add_scores(run, source, "openai:m", [1, 1, 1, 1, 2], **way)  # type: ignore[arg-type]
            if name == "uncounted":
                run.execute("UPDATE call SET tokens_in = NULL, tokens_out = NULL")
            return {one.lead: one.text for one in objections(Material((compare(run),), (run,)))}

    mixed = found("versions", {"version": "1"}, {"version": "2"})
    assert "6 by version 1 and 6 by version 2" in mixed["Several versions of the rater are mixed."]
    models = found("models", {"model": "m-2025-01"}, {"model": "m-2025-06"})
    assert "m-2025-01 and m-2025-06" in models["Several models answered to one name."]
    uncounted = found("uncounted", {"model": "m-2025-01"}, {"model": "m-2025-06"})
    assert "Several models answered to one name." in uncounted
    of_steps = {"model": "openai:m"}  # a judgement of several calls bears the rater's own name
    for name, way, other in (
        ("one", {"version": "1", "model": "m"}, {"version": "1", "model": "m"}),
        ("none", {}, {}),
        ("steps", of_steps, {"model": "m"}),
    ):
        leads = found(name, way, other)
        assert not [lead for lead in leads if lead.startswith("Several")]
    # What was not kept is not said to be another one.
    assert "Several versions of the rater are mixed." not in found("old", {}, {"version": "1"})


def test_a_judge_that_failed_its_check_is_held_against_the_answer_before_one_that_had_none(
    tmp_path: Path,
):
    unchecked = against(tmp_path / "never", BOTH, "openai:m")
    assert "check-rater openai:m" in unchecked["The rater was never checked."]
    (tmp_path / "failed" / ".checks").mkdir(parents=True)
    keep(made_check("openai:m", 0.62), tmp_path / "failed")
    failed = against(tmp_path / "failed", BOTH, "openai:m")
    assert "under 0.70" in failed["The rater failed its check."]
    assert list(failed).index("The rater failed its check.") == 0
    (tmp_path / "passed" / ".checks").mkdir(parents=True)
    keep(made_check("openai:m", 0.97), tmp_path / "passed")
    assert not [lead for lead in against(tmp_path / "passed", BOTH, "openai:m") if "check" in lead]


def test_raters_that_do_not_count_do_not_make_the_others_agree_little(tmp_path: Path):
    counts = {"features": [6, 6, 6, 6, 6], "neurons": [6, 6, 6, 6, 6], **CONTROLS}
    told = {}
    for name, seeds in (("alike", (1, 1)), ("unlike", (1, 2))):
        with fabricate_run(
            tmp_path / name, {n: sum(c) for n, c in counts.items()}, contexts=0
        ) as run:
            for rater, seed in zip(("model:a", "model:b"), seeds, strict=True):
                add_all_scores(run, rater, counts, seed=seed)
            add_all_scores(
                run,
                "model:wrong",
                {source: [6, 6, 6, 6, 6] for source in ("features", "neurons")},
                seed=9,
            )
            add_all_scores(
                run, "model:wrong", {"planted": [6, 0, 0, 0, 0], "shuffled": [0, 0, 0, 0, 6]}
            )
            found = objections(Material((compare(run),), (run,)))
        told[name] = {one.lead: one.text for one in found}
    assert "The rater fails its controls." in told["alike"]
    assert "Raters agree little." not in told["alike"]
    assert told["unlike"]["Raters agree little."].startswith("Alpha of model:a and model:b ")
