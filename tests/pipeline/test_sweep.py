"""A sweep of three SAEs: each run is what it would be alone, and the corpus is read once."""

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from support.tiny_sweep import make_saes, sweep_text, table

from autointerp import Job, harvest
from autointerp.engine.forecast import Forecast
from autointerp.errors import BadInput, RunMismatch, StorageError
from autointerp.findings import sweep as sweep_module
from autointerp.findings.looks import looks_of
from autointerp.findings.sweep import sweep_findings
from autointerp.findings.sweep_plan import SweepPlan, plan_path
from autointerp.pipeline.events import Harvesting
from autointerp.pipeline.sweep import as_text, forecast_sweep, sweep, write_sweep_plan
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions, load_rater
from autointerp.reports.look_words import read_as
from autointerp.reports.sweep import draw, heading, write_sweep
from autointerp.stats.results import Statistic
from autointerp.store.run import open_run, run_exists, runs_in
from autointerp.subjects import load
from autointerp.subjects.one_layer import OneLayerSite
from autointerp.units.dictionary_figures import stored_figures

CONTEXTS = (
    "SELECT source, idx, sign, outcome, density, split, draw, interval, document, position,"
    " context.tokens, activations FROM unit JOIN context USING (unit_id) ORDER BY ALL"
)


@pytest.fixture(scope="module")
def tables(tiny_subject):
    """The [[sae]] tables: two seeds of one recipe, and a smaller SAE, which joins later."""
    return (
        table("full", str(tiny_subject / "sae.safetensors"), "wide")
        + table("again", "again.safetensors", "wide"),
        table("small", "small.safetensors"),
    )


@pytest.fixture(scope="module")
def swept(tiny_subject, tables, tmp_path_factory):
    """Folder, runs, the first sweep of two SAEs, the second of three, and the windows' rows that
    each of the two put through the model."""
    folder = tmp_path_factory.mktemp("sweep")
    make_saes(tiny_subject, folder)
    runs, file = folder / "runs", folder / "sweep.toml"
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        forward = OneLayerSite.activations

        def counted(self, ids, attention):
            rows[-1] += len(ids)
            return forward(self, ids, attention)

        patch.setattr(OneLayerSite, "activations", counted)
        results = []
        for text in (tables[0], tables[0] + tables[1]):
            file.write_text(sweep_text(tiny_subject, text, 'reference = "full"'))
            rows.append(0)
            results.append(sweep(file, folder / "page", runs=runs))
        forecast = forecast_sweep(file, runs=runs)
    return folder, runs, results, rows, forecast


def test_a_forecast_by_a_listed_price_is_written_as_json(swept):
    *_, forecast = swept
    listed = load_rater("openai:gpt-4o-mini", RaterOptions()).price
    estimate = Forecast("openai:gpt-4o-mini", 1, None, 900, 60, 0.1, listed)
    values = json.loads(json.dumps(replace(forecast, estimate=estimate).as_json()))
    assert values["estimate"]["price"]["as_of"] == listed.as_of.isoformat()
    assert values["items"] == forecast.items


def test_each_run_holds_what_a_harvest_of_it_alone_holds(swept, tiny_subject, tmp_path):
    folder, runs, *_ = swept
    for name, source in (("small", "features"), ("neurons", "neurons")):
        with open_run(f"tiny.{name}", folder=runs, read_only=True) as run:
            settings = run.settings
            together = run.rows(CONTEXTS)
            silent = run.rows("SELECT * FROM silence ORDER BY ALL")
        sae = f'sae = "{settings.subject.sae}"' if settings.subject.sae else ""
        alone = tmp_path / "alone.toml"
        alone.write_text(sweep_text(tiny_subject, "").split("\n\n", 1)[1].replace(
            "[subject]", f"[subject]\n{sae}"))  # fmt: skip
        harvest(Job(sources=(source,), n=6, run=name, subject=str(alone),
                    controls=4 if source == "neurons" else 0, runs=tmp_path))  # fmt: skip
        with open_run(name, folder=tmp_path, read_only=True) as run:
            by_itself = run.rows(CONTEXTS)
            assert [row[:-1] for row in by_itself] == [row[:-1] for row in together]
            # Latents of all of an SAE, not of its units alone: other products, up to rounding.
            strengths = [
                np.concatenate([row[-1] for row in rows]) for rows in (by_itself, together)
            ]
            np.testing.assert_allclose(*strengths, rtol=1e-5, atol=1e-6)
            assert len(together) > 50
            assert run.rows("SELECT * FROM silence ORDER BY ALL") == silent
    assert (folder / "page" / "tables" / "sweep.csv").is_file()


def test_a_new_sae_joins_without_reading_the_others_again(swept):
    _, runs, (first, second), rows, forecast = swept
    # Calibration, the pass and the look at silence: three readings at most, for two SAEs and the
    # neurons at first (whose units may take a second pass), for one SAE then.
    assert rows[1] <= rows[0]
    before = {one.sae.name: one for one in first.sweep.results}
    for one in second.sweep.results:
        if one.sae.name != "small":
            assert one.figures == before[one.sae.name].figures
            assert one.interpretability == before[one.sae.name].interpretability
    assert second.statuses == {"ok": 6}
    assert sorted(runs_in(runs)) == ["tiny.again", "tiny.full", "tiny.neurons", "tiny.small"]
    assert (forecast.missing, forecast.measured, forecast.left) == ({}, 0, 0)


def test_a_sweep_in_which_all_is_drawn_loads_nothing_and_finds_an_sae_that_changed(
    swept, tmp_path, monkeypatch
):
    folder, runs, *_ = swept
    shutil.copytree(runs, tmp_path / "runs")
    loaded = []
    load_subject = load.load_subject

    def counted(settings, *more):
        loaded.append(settings.sae)
        return load_subject(settings, *more)

    monkeypatch.setattr(load, "load_subject", counted)
    again = sweep(folder / "sweep.toml", runs=tmp_path / "runs", page=False)
    assert (again.statuses, loaded) == ({}, [])
    small, other = folder / "small.safetensors", folder / "again.safetensors"
    content = small.read_bytes()
    try:
        small.write_bytes(other.read_bytes())
        with pytest.raises(RunMismatch, match=r"'tiny\.small' was made with another sae"):
            sweep(folder / "sweep.toml", runs=tmp_path / "runs", page=False)
    finally:
        small.write_bytes(content)
    assert set(loaded) == {str(small)}


def test_with_a_cache_of_the_site_a_new_sae_runs_the_model_no_more(
    swept, tiny_subject, tables, tmp_path, monkeypatch
):
    make_saes(tiny_subject, tmp_path)
    runs, file = tmp_path / "runs", tmp_path / "sweep.toml"
    full = table("full", str(tiny_subject / "sae.safetensors"), "wide")
    said = []
    read = OneLayerSite.activations

    def unread(self, ids, attention):
        raise AssertionError("the model was run")

    for text, activations in ((full, read), (full + tables[1], unread)):
        plain = sweep_text(tiny_subject, text).replace("loss_tokens = 2000", "loss_tokens = 0")
        file.write_text(plain)
        monkeypatch.setattr(OneLayerSite, "activations", activations)
        sweep(file, runs=runs, cache_site="10M", page=False, on=lambda e: said.append(str(e)))
    forecast = forecast_sweep(file, runs=tmp_path / "none", cache_site="10M")
    assert "activations would be kept, in 10 MB at most" in str(forecast)
    assert any("activations at" in text and "are kept in" in text for text in said)
    found = []
    for folder in (runs, swept[1]):
        with open_run("tiny.small", folder=folder, read_only=True) as run:
            found.append(run.rows(CONTEXTS))
    assert found[0] == found[1]
    assert (runs / "tiny.neurons" / "site_cache").is_dir()
    sweep(file, runs=runs, cache_site=0, page=False)
    assert not list(runs.glob("*/site_cache"))


def test_controls_and_neurons_are_rated_once_for_the_site(swept):
    _, runs, *_ = swept
    held = {}
    for name in runs_in(runs):
        with open_run(name, folder=runs, read_only=True) as run:
            held[name] = {row[0] for row in run.rows("SELECT DISTINCT source FROM unit")}
    assert {name for name, sources in held.items() if "neurons" in sources} == {"tiny.neurons"}
    assert held["tiny.full"] == held["tiny.small"] == {"features"}
    assert {"random", "shuffled", "planted"} <= held["tiny.neurons"]


def test_seeds_are_one_arm_and_the_family_is_recipes_against_neurons_and_reference(swept):
    *_, (_, second), _, _ = swept
    across = second.sweep.across
    assert across is not None, second.sweep.fails
    (judged,) = across.judged
    pairs = {(c.first.label, c.second.label) for c in judged.contrasts}
    assert pairs == {
        ("features of recipe wide", "neurons of tiny.neurons"),
        ("features of tiny.small", "neurons of tiny.neurons"),
        ("features of tiny.small", "features of recipe wide"),
    }
    assert across.family == 3
    # Holm: the smallest p is multiplied by the size of the family, the others by at most that.
    raw = sorted(c.test.p_value for c in judged.contrasts)
    adjusted = sorted(c.holm_p for c in judged.contrasts)
    assert adjusted[0] == pytest.approx(min(1, 3 * raw[0]))
    wide = next(c.first for c in judged.contrasts if c.first.name == "recipe wide")
    assert sorted(wide.runs) == ["tiny.again", "tiny.full"]


def test_each_contrast_is_in_the_ledgers_of_its_runs(swept):
    _, runs, *_ = swept
    with open_run("tiny.small", folder=runs, read_only=True) as run:
        looks = [(look.first, look.second) for look in looks_of(run) if look.verb == "sweep"]
    assert any("neurons of tiny.neurons" in pair for pair in looks)


def test_figures_are_stored_with_the_counts_that_match_takes(swept, tiny_subject):
    _, runs, (_, second), *_ = swept
    with open_run("tiny.full", folder=runs, read_only=True) as run:
        found = stored_figures(run)
        assert run.has_firings("features")
        counts = run.firing_counts("features")
    assert found is not None
    assert found == second.sweep.results[0].figures
    assert found.width == 64
    assert sum(fires == 0 for fires, _ in counts.values()) == found.dead
    # Latents that fire on a token, from the counts: the same sum the other way.
    assert sum(fires for fires, _ in counts.values()) / found.tokens == pytest.approx(
        found.l0.value
    )


def test_an_sae_is_beaten_by_those_that_are_at_least_as_good_on_both(swept):
    *_, (_, second), _, _ = swept
    by_name = {one.sae.name: one for one in second.sweep.results}
    for one in by_name.values():
        for axis, sign in (("l0", -1), ("width", -1), ("loss_recovered", 1)):

            def at(other, axis=axis, sign=sign):
                value = getattr(other.figures, axis)
                most = 1 if axis == "loss_recovered" else np.inf
                return sign * min(getattr(value, "value", value), most)

            expected = {
                name
                for name, other in by_name.items()
                if other is not one
                and other.interpretability.value >= one.interpretability.value
                and at(other) >= at(one)
                and (other.interpretability.value, at(other)) != (one.interpretability.value,
                                                                  at(one))
            }  # fmt: skip
            assert set(one.beaten_by[axis]) == expected


def found_again(found, saes, folder, plan=None):
    """Return what a sweep of these SAEs finds in runs of `folder` that are there."""
    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(open_run(name, folder=folder, read_only=True))
            for sae in saes
            for name in (sae.run, sae.baseline)
        }
        return sweep_findings(
            found.name, saes, runs, found.rater, load_rubric(found.rubric).digest, found.rubric,
            found.reference, plan=plan,
        )  # fmt: skip


def test_a_loss_recovered_above_1_is_no_better_than_1(swept, monkeypatch):
    _, folder, (_, second), *_ = swept
    best, *_, worst = sorted(second.sweep.results, key=lambda one: -one.interpretability.value)
    assert best.interpretability.value > worst.interpretability.value
    recovered = {best.sae.run: 1.0, worst.sae.run: 1.07}

    def figures(run):
        held = stored_figures(run)
        loss = replace(held.loss_recovered, value=recovered.get(run.name, 0.5))
        return replace(held, loss_recovered=loss)

    monkeypatch.setattr(sweep_module, "stored_figures", figures)
    again = found_again(second.sweep, [one.sae for one in second.sweep.results], folder)
    by_name = {one.sae.name: one.beaten_by["loss_recovered"] for one in again.results}
    assert best.sae.name in by_name[worst.sae.name]  # as good an axis, and a better score
    assert not by_name[best.sae.name]


def test_an_sae_is_beaten_by_none_of_another_site(swept):
    _, folder, (_, second), *_ = swept
    found = second.sweep
    assert any(any(one.beaten_by.values()) for one in found.results)
    saes = [replace(one.sae, site=one.sae.name) for one in found.results]
    apart = found_again(found, saes, folder)
    assert not any(any(one.beaten_by.values()) for one in apart.results)
    lines = [len(draw(one, ["l0"]).axes[0].get_lines()) for one in (found, apart)]
    assert lines[0] < lines[1]


def test_nothing_is_decided_of_a_recipe_before_all_its_planned_seeds_are_rated(swept, tmp_path):
    """A budget that ends in the first block leaves a seed without a rating, and another whole."""
    _, folder, (_, second), *_ = swept
    found, copied = second.sweep, shutil.copytree(folder, tmp_path / "runs")
    saes = [one.sae for one in found.results]
    plan = SweepPlan(
        "tiny", tuple((sae.name, sae.recipe, sae.site) for sae in saes), "full", found.rater,
        found.rubric, load_rubric(found.rubric).digest, 6, 4, 0, {},
    )  # fmt: skip

    def interim():
        again = found_again(found, saes, copied, plan)
        return again, {
            (str(c.first.name), c.second.source): c.reading.interim
            for judged in again.across.judged
            for c in judged.contrasts
        }

    whole, asked = interim()
    assert set(asked.values()) == {""}
    assert "decided" not in heading(whole)
    with open_run("tiny.again", folder=copied) as run:
        run.execute("UPDATE rating SET status = 'failed', score = NULL, expected_score = NULL")
    assert set(interim()[1].values()) == {""}  # all were asked about
    with open_run("tiny.again", folder=copied) as run:
        run.execute("DELETE FROM rating")
    early, asked = interim()
    assert asked == {
        ("tiny.full", "neurons"): "not at its declared n yet (6 of 12 units of an arm)",
        ("tiny.small", "features"): "not at its declared n yet (6 of 12 units of an arm)",
        ("tiny.small", "neurons"): "",
    }
    assert heading(early).endswith(
        "of 2 arms score higher than neurons; of 1 nothing is decided yet."
    )
    lines = as_text(replace(second, sweep=early)).splitlines()
    said = [line for line in lines if "nothing is decided, not at its declared n yet" in line]
    assert len(said) == 2


def test_text_json_and_page_name_every_sae(swept):
    folder, _, (_, second), *_ = swept
    text = as_text(second)
    values = json.loads(json.dumps(second.sweep.as_json(), allow_nan=False))
    page = (folder / "page" / "index.html").read_text()
    summary = (folder / "page" / "summary.md").read_text()
    for one in second.sweep.results:
        assert f"{one.sae.name}: score" in text
        assert one.sae.name in summary
        assert one.sae.name in page
    assert [one["sae"]["name"] for one in values["results"]] == ["full", "again", "small"]
    assert values["across"]["judged"][0]["contrasts"]
    assert "budget" not in text
    assert "could exceed the budget of $2.00" in as_text(replace(second, budget_usd=2.0))


def test_the_page_says_why_a_figure_has_no_interval(swept, tmp_path):
    _, _, (_, second), *_ = swept
    results = [
        replace(one, figures=replace(one.figures, loss_recovered=Statistic(
            0.9, None, None, (2000,), "jackknife", note="its denominator is 0 somewhere")))
        if one.sae.name != "small" else one
        for one in second.sweep.results
    ]  # fmt: skip
    write_sweep(replace(second.sweep, results=tuple(results)), tmp_path / "page")
    said = "full and again: loss recovered without an interval, for its denominator is 0 somewhere."
    assert said in (tmp_path / "page" / "index.html").read_text()


def test_a_judge_that_fails_its_controls_compares_nothing(swept, tiny_subject, tables, tmp_path):
    folder, runs, *_ = swept
    file = folder / "constant.toml"
    own = sweep_text(tiny_subject, tables[0]).replace('"lexical"', '"scripted:4"')
    own = own.replace("controls = 4", "controls = 5")  # fewer say nothing of a rater
    file.write_text(own)
    copied = shutil.copytree(runs, tmp_path / "runs")
    found = sweep(file, page=False, runs=copied)
    assert found.sweep.fails
    assert found.sweep.across is None
    assert "nothing is compared" in as_text(found)


def test_a_copy_of_an_sae_is_no_second_seed(swept, tiny_subject, tables, tmp_path):
    folder, runs, *_ = swept
    copied = shutil.copytree(runs, tmp_path / "runs")
    shutil.copy(folder / "again.safetensors", folder / "copy.safetensors")
    file = folder / "copied.toml"
    file.write_text(sweep_text(tiny_subject, tables[0] + table("more", "copy.safetensors", "wide")))
    with pytest.raises(BadInput, match="'again' and 'more' are one and the same SAE"):
        sweep(file, page=False, runs=copied)
    assert not run_exists(copied / "tiny.more")


def test_a_sweep_of_other_settings_under_the_same_name_is_refused(swept, tiny_subject, tables):
    folder, runs, *_ = swept
    file = folder / "other.toml"
    file.write_text(sweep_text(tiny_subject, tables[0]).replace("top = 8", "top = 9"))
    with pytest.raises(RunMismatch, match=r"harvest\.top is 9, not 8; give the sweep"):
        sweep(file, page=False, runs=runs)


def test_a_forecast_says_too_that_the_runs_have_other_settings(swept, tiny_subject, tables):
    folder, runs, *_ = swept
    file = folder / "other.toml"
    file.write_text(sweep_text(tiny_subject, tables[0]).replace("top = 8", "top = 9"))
    with pytest.raises(RunMismatch, match=r"harvest\.top is 9, not 8; give the sweep"):
        forecast_sweep(file, runs=runs)


def test_a_forecast_counts_the_units_that_are_asked_for_and_not_yet_answered(
    swept, tiny_subject, tables, tmp_path
):
    folder, runs, *_ = swept
    copied = shutil.copytree(runs, tmp_path / "runs")
    with open_run("tiny.full", folder=copied) as run:
        (item,) = run.rows("SELECT min(item_id) FROM current_rating")[0]
        run.execute("UPDATE rating SET status = 'failed', score = NULL WHERE item_id = ?", [item])
    assert forecast_sweep(folder / "sweep.toml", runs=copied).left == 1
    # Of 6 units of each run 5 are asked for; of one run that is not there yet none is rated.
    text = sweep_text(tiny_subject, tables[0] + table("new", "again.safetensors"))
    file = folder / "five.toml"
    file.write_text(text.replace("n = 6", "n = 5"))
    assert forecast_sweep(file, runs=runs).left == 5


def test_a_loss_that_was_not_asked_for_is_measured_once_it_is_asked_for(
    swept, tiny_subject, tables, tmp_path
):
    _, _, (first, _), *_ = swept
    make_saes(tiny_subject, tmp_path)
    file, runs = tmp_path / "sweep.toml", tmp_path / "runs"
    text = sweep_text(tiny_subject, tables[0])
    file.write_text(text.replace("loss_tokens = 2000", "loss_tokens = 0"))
    without = sweep(file, page=False, runs=runs)
    assert {one.figures.loss_recovered.note for one in without.sweep.results} == {"not asked for"}
    file.write_text(text)
    forecast = forecast_sweep(file, runs=runs)
    assert (forecast.missing, forecast.measured, forecast.spliced) == ({}, 0, 2)
    assert "would measure the loss recovered of 2 SAEs anew" in str(forecast)
    asked = sweep(file, page=False, runs=runs)
    assert [one.figures for one in asked.sweep.results] == [
        one.figures for one in first.sweep.results
    ]
    assert forecast_sweep(file, runs=runs).spliced == 0
    file.write_text(text.replace("loss_tokens = 2000", "loss_tokens = 1000"))
    told = []
    fewer = sweep(file, page=False, runs=runs, on=told.append)
    read = [event for event in told if isinstance(event, Harvesting)]
    assert (read[-1].tokens, read[-1].total) == (1000, 1000)
    for one, other in zip(fewer.sweep.results, first.sweep.results, strict=True):
        assert one.figures.loss_recovered.n[0] < other.figures.loss_recovered.n[0]
        assert one.figures.l0 == other.figures.l0


def test_people_and_rubrics_about_descriptions_are_refused(swept, tiny_subject, tables):
    folder, runs, *_ = swept
    file = folder / "person.toml"
    for old, new, message in (
        ('"lexical"', '"human:me"', "is a person; name a judge"),
        ('"lexical"', '"lexical"\nrubric = "specificity-0-3"', "is about descriptions"),
    ):
        file.write_text(sweep_text(tiny_subject, tables[0]).replace(old, new))
        with pytest.raises(BadInput, match=message):
            forecast_sweep(file, runs=runs)


def test_the_forecast_says_what_is_missing_and_makes_nothing(swept, tiny_subject, tables, tmp_path):
    folder, *_ = swept
    found = forecast_sweep(folder / "sweep.toml", runs=tmp_path / "none")
    # 6 of each SAE and of the neurons, 4 of each of three controls.
    assert sum(found.missing.values()) == found.items == found.left == 6 * 4 + 4 * 3
    assert (found.saes, found.measured, found.sites, found.twins) == (3, 3, 1, 0)
    assert "one forward pass for 1 site, 3 SAEs encoded whole" in str(found)
    assert not (tmp_path / "none").exists()


# ----------------------------------------------------------------------- the sweep's plan


def test_one_plan_is_hashed_before_the_first_rating_and_shown(tiny_subject, tables, tmp_path):
    make_saes(tiny_subject, tmp_path)
    file, runs = tmp_path / "sweep.toml", tmp_path / "runs"
    file.write_text(sweep_text(tiny_subject, tables[0]))
    first = write_sweep_plan(file, tokens="4k", runs=runs)
    assert not [name for name in runs_in(runs) if run_exists(runs / name)]  # no model was loaded
    assert write_sweep_plan(file, tokens="4k", runs=runs) == first
    plan = write_sweep_plan(file, tokens=5000, runs=runs)  # supersedes it: nothing was rated
    assert plan.digest != first.digest
    assert forecast_sweep(file, runs=runs).tokens == 5000
    result = sweep(file, tmp_path / "page", runs=runs)  # reads what the plan says
    assert result.sweep.plan == plan
    assert result.sweep.deviations == ()
    assert 4000 < result.sweep.results[0].figures.tokens <= 5000
    shown = (tmp_path / "page" / "index.html").read_text()
    assert plan.digest in shown
    assert "Undeclared." not in shown
    assert plan.digest in as_text(result)
    assert result.sweep.as_json()["plan"]["digest"] == plan.digest
    for name in runs_in(runs):  # each member's ledger says which plan declared the look
        with open_run(name, folder=runs, read_only=True) as run:
            looks = [look for look in looks_of(run) if look.is_across]
        assert {(look.rule, look.plan) for look in looks} == {("fixed", plan.digest)}
    assert "plan declares with a fixed n" in shown
    assert read_as(looks[0]) == f"fixed n, plan {plan.digest[:12]}"
    log = (runs / "tiny.full" / "log.jsonl").read_text()
    assert plan.digest in log
    with pytest.raises(BadInput, match="has ratings; a plan is written before the first one"):
        write_sweep_plan(_with_n(file, tmp_path), runs=runs)
    assert write_sweep_plan(file, runs=runs) == plan
    with pytest.raises(RunMismatch, match=r"--tokens 6k: run 'tiny\..*' reads the first 5,000"):
        sweep(file, page=False, runs=runs, tokens="6k")
    file.write_text(
        sweep_text(tiny_subject, tables[0].replace("again.safetensors", "small.safetensors"))
    )
    swapped = "SAE 'again' is another file, or is harvested with other settings"
    assert sweep(file, page=False, rates=False, runs=runs).sweep.deviations == (swapped,)
    file.write_text(sweep_text(tiny_subject, tables[0] + tables[1]).replace("n = 6", "n = 5"))
    later = sweep(file, page=False, rates=True, runs=runs)
    assert later.sweep.deviations == ("SAE 'small' joined later", "n is 5, not 6")
    readings = [c.reading for judged in later.sweep.across.judged for c in judged.contrasts]
    assert {(r.rule, r.deviations) for r in readings} == {("undeclared", later.sweep.deviations)}
    stored = plan_path("tiny", runs)
    stored.write_text(stored.read_text().replace('"n": 6', '"n": 5'))
    altered = sweep(file, page=False, rates=False, runs=runs)
    assert any("changed after it was stored" in text for text in altered.sweep.deviations)
    stored.write_text("{}")
    with pytest.raises(StorageError, match="is no plan of a sweep"):
        sweep(file, page=False, rates=False, runs=runs)


def _with_n(file, folder):
    other = folder / "other.toml"
    other.write_text(file.read_text().replace("n = 6", "n = 7"))
    return other
