"""Units on the bench: read again they do what they did in the harvest, at every site and SAE."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_language_models import saved
from support.tiny_subject import tiny_texts

from autointerp.labs import load_lab, options_of
from autointerp.labs._bench import open_bench
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import rate
from autointerp.store.run import open_run
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.pretrained import load_language_model

LATENTS = 24
KINDS: dict[str, dict[str, Any]] = {
    "relu": {},
    "topk": {"activation": "topk", "k": 6},
    "jumprelu": {"activation": "jumprelu", "threshold": torch.full((LATENTS,), 0.2)},
    "gated": {
        "activation": "gated",
        "b_gate": torch.linspace(-0.3, 0.3, LATENTS),
        "r_mag": torch.linspace(-0.2, 0.2, LATENTS),
    },
}
LABS = ("context-ablation", "vocabulary-probe", "probe-sentences", "neuron-alignment",
        "logit-differences", "neighbours")  # fmt: skip


def test_a_unit_does_in_its_contexts_read_again_what_it_did_in_the_harvest(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = [u.unit_id for s in ("features", "neurons", "random") for u in run.sampled(s, 3)]
        bench = open_bench(run, units, "test")
        for unit_id in units:
            windows = bench.windows(unit_id, 5)
            assert windows
            strongest = [window.context.activation for window in windows]
            assert strongest == sorted(strongest, reverse=True)
            assert bench.why_unreadable(unit_id) == ""
            for window in windows:
                assert window.ids[0] == bench.subject.bos
                texts = [bench.subject.token_texts[i] for i in window.ids[window.first :]]
                assert "".join(texts) == "".join(window.shown)
                (again,) = bench.activations(unit_id, torch.tensor([window.ids]), last=True)
                assert float(again) == pytest.approx(window.context.activation, rel=1e-4)


def test_a_unit_that_is_dealt_to_places_of_the_corpus_is_refused_by_every_lab_but_neighbours(
    tiny_run,
):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        (unit,) = (one.unit_id for one in run.sampled("shuffled", 1))
        for lab in LABS[:-1]:
            (row,) = load_lab(lab).run(run, [unit], options_of(lab, {}))
            assert row["outcome"].startswith("units of shuffled "), lab
        rows = list(load_lab("neighbours").run(run, [unit], options_of("neighbours", {})))
    assert "different spaces" in rows[0]["outcome"]
    assert {row["kind"] for row in rows[1:]} == {"together"}  # where it fires is known


@pytest.mark.parametrize(
    ("kind", "site", "architecture"),
    [
        ("relu", "layers.1.residual", "llama"),
        ("topk", "layers.1.mlp", "gpt_neox"),
        ("jumprelu", "layers.1.attention", "gpt2"),
        ("gated", "layers.1.mlp.neurons", "qwen2"),
    ],
)
def test_every_lab_measures_features_neurons_and_random_directions_of_a_hugging_face_model(
    tmp_path, kind, site, architecture
):
    folder = saved(tmp_path / "model", architecture)
    width = load_language_model(str(folder), site).d_site
    generator = torch.Generator().manual_seed(3)
    W_enc = torch.randn(width, LATENTS, generator=generator)
    sae = SparseAutoencoder(
        W_enc, torch.zeros(LATENTS), W_enc.T.contiguous(), torch.zeros(width), **KINDS[kind]
    )
    sae.save(tmp_path / "sae.safetensors")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n\n".join(tiny_texts(60)))
    settings = tmp_path / "autointerp.toml"
    settings.write_text(
        f'[subject]\nmodel = "{folder}"\nsite = "{site}"\nsae = "{tmp_path / "sae.safetensors"}"\n'
        f'corpus = "{texts}"\ncheck_sae = false\n[harvest]\nwindow = 24\n'
        "[sample]\nmax_density = 1\n"
    )
    rate(Job(("features", "neurons", "random"), 2, rater="scripted:4", run="hf",
             subject=str(settings), controls=0, runs=tmp_path / "runs"))  # fmt: skip
    with open_run("hf", folder=tmp_path / "runs", read_only=True) as run:
        sources = ("features", "neurons", "random")
        units = {u.unit_id: s for s in sources for u in run.sampled(s, 1)}
        assert len(units) == 3
        bench = open_bench(run, list(units), "test")
        for lab in LABS:
            options = options_of(lab, {})
            rows = [row for unit in units for row in load_lab(lab).measure(bench, unit, options)]
            fine = {units[row["unit_id"]] for row in rows if row["outcome"] == "ok"}
            assert fine == set(sources), (lab, [row["outcome"] for row in rows])
