"""Several sites and SAEs of a Hugging Face model in one forward pass, each as it is alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_language_models import D_MODEL, VOCABULARY, saved

from autointerp.errors import BadInput
from autointerp.settings import HarvestSettings, RunSettings, SampleSettings, SubjectSettings
from autointerp.store.run import open_run
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import SparseAutoencoder, load_autoencoder
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.load import load_subject
from autointerp.units import shards, together
from autointerp.units.dictionary_figures import stored_figures
from autointerp.units.sample import draw_units
from autointerp.units.site_cache import with_cache
from autointerp.units.sources import SiteBatch
from autointerp.units.sources.features import Features
from autointerp.units.stream import at_sites, quiet_torch, readings
from autointerp.units.together import Member, draw_together

CONTEXTS = (
    "SELECT source, idx, sign, split, draw, interval, document, position, context.tokens,"
    " activations FROM unit JOIN context USING (unit_id) ORDER BY ALL"
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunSettings]:
    folder = tmp_path_factory.mktemp("model")
    saved(folder / "model", "llama")
    rng = np.random.default_rng(1)
    np.save(folder / "tokens.npy", rng.integers(1, VOCABULARY - 4, (80, 40)).astype(np.int32))
    for name, seed in (("a", 0), ("b", 1)):
        weights = torch.randn(D_MODEL, 24, generator=torch.Generator().manual_seed(seed))
        SparseAutoencoder(
            weights, torch.full((24,), -0.1), weights.T.contiguous(), torch.zeros(D_MODEL)
        ).save(folder / f"{name}.safetensors")
    harvest = HarvestSettings(window=40, per_interval=2, random=4, top=4, rows=16)
    made = {}
    for name, sae, site, neurons in (
        ("base", "", "layers.1.mlp", "hidden"),
        ("a", "a", "layers.1.mlp", "hidden"),
        ("b", "b", "layers.0.residual", ""),
    ):
        subject = SubjectSettings(
            model=str(folder / "model"), site=site, neurons=neurons,
            corpus=str(folder / "tokens.npy"), sae=sae and str(folder / f"{sae}.safetensors"),
            check_sae=False,
        )  # fmt: skip
        made[name] = RunSettings(subject, harvest, SampleSettings(1e-4, 1.0))
    return made


SOURCES = {"base": "neurons", "a": "features", "b": "features"}


def test_two_sites_are_read_in_one_forward_pass_and_give_what_each_gives_alone(
    settings: dict[str, RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    forward = HookedLanguageModel._read

    def counted(self, ids, attention, sites):  # type: ignore[no-untyped-def]
        passes.append([site.name for site in sites])
        return forward(self, ids, attention, sites)

    first = load_subject(settings["base"].subject)
    subjects = {
        "base": first,
        **{name: load_subject(settings[name].subject, first) for name in ("a", "b")},
    }
    assert subjects["b"].model.model is first.model.model  # type: ignore[attr-defined]
    runs = {
        name: open_run(name, settings[name], subjects[name], tmp_path / "together")
        for name in settings
    }
    monkeypatch.setattr(HookedLanguageModel, "_read", counted)
    members = [
        Member(runs[name], subjects[name], {SOURCES[name]: 6}, measures=name != "base")
        for name in settings
    ]
    draw_together(members, 500)
    monkeypatch.undo()
    # The three subjects' sites and the hidden neurons beside one of them: each once.
    assert {tuple(sorted(read)) for read in passes if len(read) > 2} == {
        ("layers.0.residual", "layers.1.mlp", "layers.1.mlp.neurons")
    }
    batches = 80 // 16
    assert sum(len(read) == 3 for read in passes) >= batches
    for name, run in runs.items():
        alone = load_subject(settings[name].subject)
        with open_run(name, settings[name], alone, tmp_path / "alone") as other:
            draw_units(other, alone, {SOURCES[name]: 6}, tell=lambda text: None)
            rows = other.rows(CONTEXTS)
            silence = other.rows("SELECT * FROM silence ORDER BY ALL")
        assert run.rows(CONTEXTS) == rows
        assert len(rows) > 50
        assert run.rows("SELECT * FROM silence ORDER BY ALL") == silence
        figures = stored_figures(run)
        assert (figures is None) == (name == "base")
        if figures is not None:
            # A model of random weights predicts random tokens no worse without the site.
            assert figures.loss_recovered.n[0] > 400
        run.close()


def test_caches_of_two_sites_give_what_one_forward_pass_gave(
    settings: dict[str, RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_subject(settings["base"].subject)
    subjects = [first, *(load_subject(settings[name].subject, first) for name in ("a", "b"))]

    def all_batches(cached: list[Subject]) -> list[SiteBatch]:
        with quiet_torch():
            return [
                batch
                for reading in readings(first, settings["base"].harvest)
                for batch in at_sites(cached, reading, 0)
            ]

    with (
        with_cache(first, settings["base"], tmp_path / "base", 10**8, print) as base,
        with_cache(subjects[2], settings["b"], tmp_path / "b", 10**8, print) as other,
    ):
        cached = [base, dataclasses.replace(subjects[1], cache=base.cache), other]
        read = all_batches(cached)
        monkeypatch.setattr(HookedLanguageModel, "_read", None)  # the model cannot be run
        again = all_batches(cached)
    assert len(read) == len(again) > 6
    for one, two in zip(read, again, strict=True):
        assert torch.equal(one.activations[one.kept], two.activations[two.kept])
        assert (one.hidden is None) == (two.hidden is None)
        if one.hidden is not None and two.hidden is not None:
            assert torch.equal(one.hidden[one.kept], two.hidden[two.kept])
    assert sum(one.hidden is not None for one in read) == 2 * len(read) // 3


def test_latents_that_an_saes_figures_need_are_not_computed_again_for_its_units(
    settings: dict[str, RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(batch):  # type: ignore[no-untyped-def]
        raise AssertionError("the columns of units were computed beside all latents")

    subject = load_subject(settings["a"].subject)
    monkeypatch.setattr(Features, "block", lambda self, numbers: refused)
    monkeypatch.setattr(together, "_verify", lambda members, source_of: None)
    with open_run("a", settings["a"], subject, tmp_path) as run:
        draw_together([Member(run, subject, {"features": 6}, measures=True)], 0)
        assert len(run.sampled("features", 6)) == 6
        with pytest.raises(AssertionError, match="beside all latents"):  # by itself it is
            draw_together([Member(run, subject, {"features": 24})], 0)


def test_members_that_begin_windows_otherwise_are_refused(
    settings: dict[str, RunSettings], tmp_path: Path
) -> None:
    other = dataclasses.replace(
        settings["b"], subject=dataclasses.replace(settings["b"].subject, bos="no")
    )
    subjects = [load_subject(settings["a"].subject), load_subject(other.subject)]
    with (
        open_run("a", settings["a"], subjects[0], tmp_path) as one,
        open_run("b", other, subjects[1], tmp_path) as two,
        pytest.raises(BadInput, match=r"begin with BOS and the other was not; set subject\.bos"),
    ):
        draw_together(
            [Member(one, subjects[0], {"features": 2}), Member(two, subjects[1], {"features": 2})],
            0,
        )


def test_an_sae_of_mostly_dead_latents_gives_what_it_has_and_is_not_read_again(
    settings: dict[str, RunSettings], tmp_path: Path
) -> None:
    sae = load_autoencoder(Path(settings["a"].subject.sae))
    bias = torch.full((24,), -1e6)
    bias[:3] = sae.b_enc[:3]
    dataclasses.replace(sae, b_enc=bias).save(tmp_path / "dead.safetensors")
    dead = dataclasses.replace(
        settings["a"],
        subject=dataclasses.replace(settings["a"].subject, sae=str(tmp_path / "dead.safetensors")),
    )
    subject = load_subject(dead.subject)
    said: list[str] = []
    with open_run("dead", dead, subject, tmp_path) as run:
        member = Member(run, subject, {"features": 6}, measures=True)
        draw_together([member], 0, tell=said.append)
        assert len(run.sampled("features", 6)) == 3
        assert member.missing == {}
        figures = stored_figures(run)
    assert figures is not None
    assert figures.dead == 21
    assert any("3 of 6 features asked for" in text for text in said)


def test_a_killed_sweep_goes_on_from_its_last_shard_and_counts_no_token_twice(
    settings: dict[str, RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 1)  # every batch is a shard
    monkeypatch.setattr(shards, "WRITING_SHARE", 0)  # and every shard is saved
    subject = load_subject(settings["a"].subject)
    found, read = [], []
    for name, stops in (("whole", False), ("killed", True)):
        with open_run(name, settings["a"], subject, tmp_path) as run:
            member = Member(run, subject, {"features": 2}, measures=True)
            tokens: list[int] = []

            def progress(label: str, so_far: int, tokens: list[int] = tokens) -> None:
                tokens.append(so_far)
                if stops and len(tokens) == 3:  # noqa: B023 (called within this turn)
                    raise KeyboardInterrupt

            if stops:
                with pytest.raises(KeyboardInterrupt):
                    draw_together([member], 0, progress)
                assert stored_figures(run) is None
            draw_together([member], 0, progress)
            found.append((stored_figures(run), run.rows(CONTEXTS)))
            read.append(len(tokens))
    assert found[0] == found[1]
    # 40 tokens and BOS take a window of 40 and one of 1: 80 of them are read 16 at a time, and the
    # 80 short ones, which have fewer tokens than 16 full ones, in one batch.
    assert read[0] == 6
    # Two batches were saved; the third, in which it was stopped, is read again.
    assert read[1] == read[0] + 1
