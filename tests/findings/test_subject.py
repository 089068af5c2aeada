"""What a run says of its subject: only what is known."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.fabricate import fabricate_run

from autointerp.findings.subject import SubjectFacts, about_elsewhere, subject_facts
from autointerp.reports.words import subject_text
from autointerp.store.run import open_run
from autointerp.subjects.sites import basis_of


def test_the_facts_of_a_run_come_from_its_settings_and_its_units(tiny_run, tiny_run_name):
    with open_run(tiny_run_name, folder=tiny_run, read_only=True) as run:
        facts = subject_facts(run)
        ((density, drawn),) = run.rows(
            "SELECT avg(density), count(*) FROM unit WHERE source = 'features'"
        )
    assert facts.site == "layers.0.mlp.neurons"
    assert facts.basis is not None
    assert facts.basis.are_neurons
    assert facts.latents == 64  # see the top of tests/conftest.py
    assert facts.active == pytest.approx(64 * density)
    assert facts.drawn == drawn
    assert facts.sae
    assert facts.tokens is not None
    assert facts.tokens > 1_000


def test_what_is_not_known_is_none_and_no_number_that_stands_for_it(tmp_path: Path):
    unknown = {"neurons": float("nan")}
    with fabricate_run(tmp_path, {"neurons": 2}, density=unknown) as run:
        facts = subject_facts(run)
    assert facts.tokens is None  # stored as 0
    assert (facts.latents, facts.active, facts.dead_share) == (None, None, None)


def test_dead_latents_count_for_the_share_and_for_the_active_ones(tmp_path: Path):
    excluded = {"features": {"dead": 2}}
    with fabricate_run(tmp_path, {"features": 6}, excluded=excluded, contexts=0) as run:
        run.connection.execute("UPDATE unit SET density = 0 WHERE outcome = 'dead'")
        run.connection.execute("UPDATE unit SET density = 0.1 WHERE outcome <> 'dead'")
        facts = subject_facts(run)
    # 124 latents in `fabricate_run`: 124 · (6 · 0.1 + 2 · 0) / 8
    assert facts.active == pytest.approx(124 * 0.075)
    assert facts.dead_share == 0.25


def test_units_of_files_have_no_site_though_the_settings_name_a_default(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 2}) as run:
        run.about["settings"]["subject"]["model"] = "imported"
        assert (subject_facts(run).site, subject_facts(run).model) == ("", "")
        run.about["provenance"] = {"note": "published elsewhere"}
        assert subject_facts(run).tokens is None


def test_doubts_of_the_harvest_are_facts_once_each(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 2}) as run:
        for _ in range(2):
            run.log("doubt", text="the SAE explains little")
        run.log("rated", rater="a")
        with (run.path / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write('{"event": "dou')
        assert subject_facts(run).doubts == ("the SAE explains little",)


def test_hidden_neurons_beside_the_site_are_neurons_and_the_sites_own_axes_are_none():
    axes = SubjectFacts(site="layers.3.mlp", basis=basis_of("layers.3.mlp"))
    assert axes.neurons == axes.basis
    assert not axes.neurons.are_neurons
    hidden = replace(axes, hidden="layers.3.mlp.neurons")
    assert hidden.neurons.are_neurons
    text = subject_text(replace(hidden, model="org/m"))
    assert "site layers.3.mlp (axes of the MLP's output)" in text
    assert "neurons of layers.3.mlp.neurons, read in the same pass" in text


def test_the_settings_of_a_run_say_where_its_neurons_were_read(tmp_path: Path):
    with fabricate_run(tmp_path, {"neurons": 2}) as run:
        subject = run.about["settings"]["subject"]
        subject.update(model="org/m", site="layers.3.residual", neurons="hidden")
        assert subject_facts(run).hidden == "layers.3.mlp.neurons"
        subject.update(neurons="")
        assert subject_facts(run).hidden == ""


def test_a_path_beside_the_runs_is_told_without_the_folders_of_this_machine(tmp_path: Path):
    with fabricate_run(tmp_path / "runs", {"features": 2}) as run:
        subject = run.about["settings"]["subject"]
        assert run.path.parent == tmp_path / "runs"
        subject.update(
            model=str(tmp_path / "build" / "m.gguf"), sae="org/sae", corpus="/elsewhere/text.jsonl"
        )
        facts = subject_facts(run)
        assert (facts.model, facts.sae) == ("build/m.gguf", "org/sae")
        assert facts.corpus == "/elsewhere/text.jsonl"
        assert about_elsewhere(run)["settings"]["subject"]["model"] == "build/m.gguf"
        assert subject["model"] == str(tmp_path / "build" / "m.gguf")  # what opens the run again
