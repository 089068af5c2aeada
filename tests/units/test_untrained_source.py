"""The source `untrained`: latents of the twin, through the harvest that all sources share."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_subject import make_tiny_twin

from autointerp.errors import SubjectError
from autointerp.pipeline.job import sources_by_role
from autointerp.questions.items import load_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.settings import RunSettings, SubjectSettings, read_settings
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.subjects.one_layer import load_one_layer
from autointerp.subjects.untrained import rerandomise, twin_record
from autointerp.units.sources import baseline_of, only_if_named
from autointerp.units.stream import quiet_torch, site_batches

Call = Callable[..., Any]
RUBRIC = load_rubric("interpretability-1-5")


@pytest.fixture(scope="module")
def twin_settings(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_twin(tiny_subject, tmp_path_factory.mktemp("twin") / "untrained")


@pytest.fixture(scope="module")
def rated(twin_settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from autointerp.pipeline.job import Job
    from autointerp.pipeline.rate import rate

    folder = tmp_path_factory.mktemp("runs")
    rate(
        Job(
            run="twins", runs=folder, subject=str(twin_settings), rater="scripted:4",
            sources=("features", "neurons", "untrained"), n=8, controls=4,
        )
    )  # fmt: skip
    return folder


def test_its_units_pass_the_same_harvest(rated: Path, twin_settings: Path):
    settings = read_settings(twin_settings)
    subject = load_subject(settings.subject)
    assert subject.untrained is not None
    twin = subject.untrained()
    with open_run("twins", folder=rated, read_only=True) as run:
        sampled = {name: run.sampled(name, 8) for name in ("features", "neurons", "untrained")}
        assert {name: len(units) for name, units in sampled.items()} == dict.fromkeys(sampled, 8)
        assert not run.sources()["untrained"].is_control
        tokens = {units[0].summary.tokens for units in sampled.values()}
        assert len(tokens) == 1  # the same windows
        with quiet_torch():
            fired = sum(
                (twin.sae.encode(twin.model.activations(batch.ids, batch.kept))[batch.kept] > 1e-5)
                .sum(0)
                .numpy()
                for batch, _, _ in site_batches(subject, settings.harvest, settings.seed)
            )
        for unit in sampled["untrained"]:
            summary = unit.summary
            assert summary.density * summary.tokens == pytest.approx(fired[summary.unit.index])
        # What is silent was computed for it as for the others.
        ((verified,),) = run.rows(
            "SELECT count(*) FROM silence JOIN unit USING (unit_id) WHERE source = 'untrained'"
        )
        assert verified > 0


def test_features_and_neurons_are_what_they_are_without_it(rated: Path, tiny_run: Path):
    query = (
        "SELECT source, idx, sign, density, peak, outcome FROM unit"
        " WHERE source IN ('features', 'neurons')"
    )
    rows = []
    for folder, name in ((rated, "twins"), (tiny_run, "tiny")):
        with open_run(name, folder=folder, read_only=True) as run:
            rows.append(set(run.rows(query)))
    assert rows[0] == rows[1]


def test_nothing_that_a_rater_sees_tells_it(rated: Path):
    with open_run("twins", folder=rated, read_only=True) as run:
        asked = [item for (item,) in run.rows(
            "SELECT item_id FROM key JOIN unit USING (unit_id) WHERE source = 'untrained'"
        )]  # fmt: skip
        items = load_items(run, asked, RUBRIC)
    assert len(items) == 8
    for item in items:
        shown = json.dumps(asdict(replace(item, contexts=()))) + RUBRIC.user(item)
        assert "untrained" not in shown
        assert "trained" not in shown


def test_a_subject_without_a_twin_says_how_to_make_one(command_line: Call, tiny_settings: Path):
    said = command_line(
        "rate", "--subject", tiny_settings, "--source", "untrained", "--n", 4, "--rater",
        "scripted:4", "--run", "x",
    )  # fmt: skip
    assert said.code == 2
    assert "has no untrained twin; make one with `autointerp train untrained FOLDER`" in said.err
    assert not Path("runs/x").exists()


def test_it_takes_part_only_where_it_is_named():
    assert only_if_named("untrained")
    assert "untrained" not in sources_by_role(controls=False)
    assert baseline_of("features") == "untrained"
    assert baseline_of("neurons") is None


def test_a_folder_of_the_trained_models_sae_is_refused(tmp_path: Path, twin_settings: Path):
    record = json.loads((twin_settings.parent / "training.json").read_text())
    record["model"]["weights"] = "trained"
    (tmp_path / "training.json").write_text(json.dumps(record))
    with pytest.raises(SubjectError, match="holds an SAE of the trained model"):
        twin_record(tmp_path, "layers.0.mlp.neurons")
    with pytest.raises(SubjectError, match=r"at layers\.0\.mlp\.neurons, not at layers\.3\.mlp"):
        twin_record(twin_settings.parent, "layers.3.mlp")


def test_the_twin_of_another_model_is_refused(tmp_path: Path, twin_settings: Path):
    folder = tmp_path / "other"
    folder.mkdir()
    record = json.loads((twin_settings.parent / "training.json").read_text())
    record["model"]["weights_seed"] = 6
    (folder / "training.json").write_text(json.dumps(record))
    shutil.copy(twin_settings.parent / "sae.safetensors", folder)
    text = re.sub(r'untrained = ".*"', f'untrained = "{folder}"', twin_settings.read_text())
    (tmp_path / "a.toml").write_text(text)
    subject = load_subject(read_settings(tmp_path / "a.toml").subject)
    assert subject.untrained is not None
    with pytest.raises(SubjectError, match="on the twin of another model"):
        subject.untrained()


def test_a_setting_that_is_not_given_leaves_the_digest_as_it_was():
    # sha256 of the settings before the setting existed
    assert RunSettings().digest == RunSettings(SubjectSettings(untrained="")).digest
    assert RunSettings().digest != RunSettings(SubjectSettings(untrained="x")).digest


# ---------------------------------------------------------------------------- the weights


def test_weights_drawn_again_keep_mean_and_deviation_and_nothing_else(tiny_subject: Path):
    trained = load_one_layer(tiny_subject / "transformer.safetensors")
    twin = load_one_layer(tiny_subject / "transformer.safetensors")
    rerandomise(twin, seed=0, keep_embeddings=False)
    old, new = dict(trained.named_parameters()), dict(twin.named_parameters())
    for name in ("embedding.weight", "up.weight", "unembedding.weight"):
        count = old[name].numel()
        standard_error = float(old[name].std()) / count**0.5
        assert abs(float(new[name].mean() - old[name].mean())) < 5 * standard_error
        assert float(new[name].std() / old[name].std()) == pytest.approx(
            1, abs=5 / (2 * count) ** 0.5
        )
        correlation = np.corrcoef(old[name].flatten().numpy(), new[name].flatten().numpy())[0, 1]
        assert abs(correlation) < 5 / count**0.5
    # A norm's weights are all 1: no deviation, so they stay.
    assert torch.equal(old["norm_mlp.weight"], new["norm_mlp.weight"])


def test_a_tensor_is_drawn_by_seed_and_name_alone(tiny_subject: Path):
    drawn = []
    for seed, keeps in ((3, False), (3, True), (4, False)):
        model = load_one_layer(tiny_subject / "transformer.safetensors")
        rerandomise(model, seed, keeps)
        drawn.append(dict(model.named_parameters()))
    trained = dict(load_one_layer(tiny_subject / "transformer.safetensors").named_parameters())
    assert torch.equal(drawn[0]["up.weight"], drawn[1]["up.weight"])
    assert not torch.equal(drawn[0]["up.weight"], drawn[2]["up.weight"])
    for name in ("embedding.weight", "positions", "unembedding.weight"):
        assert torch.equal(drawn[1][name], trained[name])
        assert name == "positions" or not torch.equal(drawn[0][name], trained[name])
