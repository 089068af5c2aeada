"""Subjects of Hugging Face models, from settings, with all that can be wrong with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.tiny_language_models import D_MODEL, VOCABULARY, saved
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from autointerp.errors import AutointerpError, CorpusError, SettingsError, SubjectError
from autointerp.settings import HarvestSettings, SubjectSettings
from autointerp.subjects.load import load_sae_alone, load_subject
from autointerp.subjects.windows import TokenisedDocuments
from autointerp.units.sample import doubts
from autointerp.units.stream import calibrate, site_batches

LATENTS = 32


def save_sae(folder: Path, hook: str = "blocks.1.hook_resid_post", **changes: Any) -> Path:
    """Write a SAELens folder."""
    g = torch.Generator().manual_seed(5)
    W_enc = torch.randn(D_MODEL, LATENTS, generator=g)
    weights = {"W_enc": W_enc, "b_enc": torch.zeros(LATENTS), "b_dec": torch.zeros(D_MODEL)}
    folder.mkdir()
    save_file({**weights, "W_dec": W_enc.T.contiguous()}, folder / "sae_weights.safetensors")
    metadata = {"model_name": "tiny", "hook_name": hook, "prepend_bos": True}
    config = {"architecture": "standard", "d_in": D_MODEL, "d_sae": LATENTS,
              "apply_b_dec_to_input": True, "normalize_activations": "none",
              "metadata": {**metadata, **changes}}  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model `tiny`, an SAE `sae` on layers.1.residual, texts and tokens."""
    folder = tmp_path_factory.mktemp("parts")
    saved(folder / "tiny", "gpt_neox")
    save_sae(folder / "sae")
    rng = np.random.default_rng(1)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "dog", "did", "too"]
    with (folder / "corpus.jsonl").open("w") as file:
        for _ in range(60):
            text = " ".join(rng.choice(words, int(rng.integers(20, 60))))
            file.write(json.dumps({"text": text}) + "\n")
    tokens = rng.integers(1, VOCABULARY - 4, 3000).astype(np.uint16)
    TokenisedDocuments(tokens, np.arange(0, 3001, 50)).save(folder / "corpus.npz")
    return folder


@pytest.fixture
def settings(parts: Path) -> SubjectSettings:
    return SubjectSettings(
        model=str(parts / "tiny"),
        site="layers.1.residual",
        sae=str(parts / "sae"),
        corpus=str(parts / "corpus.jsonl"),
    )


def test_a_model_an_sae_and_a_corpus_of_any_kind_make_a_subject(
    settings: SubjectSettings, parts: Path
):
    subject = load_subject(settings)
    assert (subject.d_site, subject.signed, subject.longest) == (D_MODEL, True, 64)
    assert subject.sae is not None
    assert subject.sae.d_sae == LATENTS
    assert subject.special == {0}
    assert subject.begins_with_bos
    assert set(subject.digests) == {"model", "sae", "corpus", "tokenizer"}
    windows = next(subject.cut(16, 8))
    assert (windows.ids[:, 0] == 0).all()
    texts = "".join(subject.token_texts[i] for i in windows.ids[0, 1:])
    assert (parts / "corpus.jsonl").read_text().splitlines()[0].startswith(f'{{"text": "{texts}')

    of_tokens = load_subject(replace(settings, corpus=str(parts / "corpus.npz")))
    assert of_tokens.digests["model"] == subject.digests["model"]
    assert of_tokens.digests["corpus"] != subject.digests["corpus"]
    assert next(of_tokens.cut(51, 1)).attention.all()


def test_documents_may_be_read_in_a_drawn_order_and_keep_their_numbers(settings: SubjectSettings):
    drawn = load_subject(replace(settings, corpus_seed=3))
    order = [int(d) for windows in drawn.cut(64, 8) for d in windows.document]
    assert order != sorted(order)
    assert sorted(set(order)) == list(range(60))


@pytest.mark.parametrize("same", ["layers.1.residual", "layers.2.input", "gpt_neox.layers.1"])
def test_a_site_by_another_name_is_the_same_site(settings: SubjectSettings, same: str):
    assert load_subject(replace(settings, site=same)).d_site == D_MODEL


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"site": "layers.2.residual"}, SubjectError, "was trained at layers.1.residual, not at"),
        ({"site": "layers.1.mlp.neurons"}, SubjectError, "was trained at layers.1.residual, not"),
        ({"site": "layers.1.mlp.neurons", "check_sae": False}, SubjectError, "reads 16 activation"),
        ({"site": "layers.7.mlp"}, SubjectError, "has layers 0 to 2"),
        ({"sae": "nowhere.pt"}, SubjectError, "no SAE at nowhere.pt"),
        ({"model": "./nowhere"}, SubjectError, "no model at ./nowhere; give an existing"),
        ({"corpus": ""}, SettingsError, "names no corpus"),
        ({"corpus": "nowhere.txt"}, CorpusError, "no corpus at nowhere.txt"),
        ({"corpus_field": "body"}, CorpusError, "line 1: no `body`"),
        ({"tokenizer": "nowhere.json"}, SubjectError, "no tokenizer at nowhere.json"),
    ],
)
def test_what_does_not_fit_is_one_line_before_the_first_batch(
    settings: SubjectSettings, changes: dict[str, Any], error: type[AutointerpError], message: str
):
    with pytest.raises(error, match=message) as raised:
        next(load_subject(replace(settings, **changes)).cut(16, 4))
    assert "\n" not in str(raised.value)


def test_an_sae_of_another_model_is_refused_by_hub_id_and_noted_for_a_folder(
    settings: SubjectSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = save_sae(tmp_path / "sae", model_name="pythia-70m-deduped")
    with_other = replace(settings, sae=str(other))
    assert "was trained on pythia-70m-deduped, not on" in load_subject(with_other).notes[-1]

    from autointerp.subjects import assembled
    from autointerp.subjects.pretrained import load_language_model

    def fetched(name: str, site: str, **options: Any) -> Any:
        model = load_language_model(settings.model, site)
        model.name = name
        return model

    monkeypatch.setattr(assembled, "load_language_model", fetched)
    with pytest.raises(SubjectError, match="pythia-70m-deduped, not on EleutherAI/pythia-70m;"):
        load_subject(replace(with_other, model="EleutherAI/pythia-70m"))
    for name in ("EleutherAI/pythia-70m-deduped", "EleutherAI/Pythia-70M-deduped"):
        assert load_subject(replace(with_other, model=name)).notes == ()
    noted = load_subject(replace(with_other, model="EleutherAI/pythia-70m", check_sae=False))
    assert "not on EleutherAI/pythia-70m" in noted.notes[-1]


def test_windows_begin_as_those_of_the_training_did(settings: SubjectSettings, tmp_path: Path):
    without = save_sae(tmp_path / "sae", prepend_bos=False)
    subject = load_subject(replace(settings, sae=str(without)))
    assert not subject.begins_with_bos
    assert next(subject.cut(16, 4)).ids[0, 0] != 0
    # The first token of each window stands for an attention sink: not kept, but counted as place.
    batch, windows, position = next(site_batches(subject, HarvestSettings(window=16, rows=4), 0))
    assert not batch.kept[:, 0].any()
    assert position[:, 1].tolist() == (windows.offset + 1).tolist()
    kept = HarvestSettings(window=16, rows=4, mask_first=False)
    assert next(site_batches(subject, kept, 0))[0].kept[:, 0].all()
    assert load_subject(replace(settings, sae=str(without), bos="yes")).begins_with_bos


def test_a_relu_read_out_of_a_topk_is_doubted_with_its_measured_latents(
    settings: SubjectSettings,
):
    # Half the latents of random directions fire: that is not sparse.
    subject = load_subject(settings)
    calibration = calibrate(subject, HarvestSettings(), seed=0)
    [doubt] = doubts(subject, calibration)
    assert "of 32 latents fire on a token, which is not sparse" in doubt
    assert "a TopK whose k the files do not say" in doubt


def test_a_hook_that_is_no_site_here_is_refused_by_name(settings: SubjectSettings, tmp_path: Path):
    other = save_sae(tmp_path / "sae", hook="blocks.1.attn.hook_q")
    with pytest.raises(SubjectError, match=r"at 'blocks.1.attn.hook_q', which is no site of this"):
        load_subject(replace(settings, sae=str(other)))
    noted = load_subject(replace(settings, sae=str(other), check_sae=False))
    assert "trained at 'blocks.1.attn.hook_q'" in noted.notes[0]


def test_a_revision_that_is_not_the_one_read_is_told(settings: SubjectSettings, tmp_path: Path):
    kwargs = {"revision": "step1000"}
    other = save_sae(tmp_path / "sae", model_from_pretrained_kwargs=kwargs)
    [note] = load_subject(replace(settings, sae=str(other))).notes  # a folder has no revisions
    assert "trained on revision step1000 of the model, not on the newest" in note


def test_windows_that_begin_otherwise_than_the_trainings_are_told(settings: SubjectSettings):
    [note] = load_subject(replace(settings, bos="no")).notes
    assert note == "it was trained on windows that begin with BOS; subject.bos is no"


def test_windows_that_are_longer_than_the_trainings_are_told(
    settings: SubjectSettings, tmp_path: Path
):
    other = save_sae(tmp_path / "sae", context_size=16)
    subject = load_subject(replace(settings, sae=str(other)))
    calibration = calibrate(subject, HarvestSettings(), seed=0)
    told = doubts(subject, calibration, window=64)
    assert "windows have 64 tokens, those of its training had 16: harvest.window = 16" in told[0]
    assert not any("windows have" in text for text in doubts(subject, calibration, window=16))


def test_an_sae_of_a_centred_model_is_read_as_it_was_trained(
    settings: SubjectSettings, tmp_path: Path
):
    kwargs = {"center_writing_weights": True}
    other = save_sae(tmp_path / "sae", model_from_pretrained_kwargs=kwargs)
    plain = load_subject(settings).sae
    centred = load_subject(replace(settings, sae=str(other))).sae
    assert plain is not None
    assert centred is not None
    x = torch.randn(9, D_MODEL, generator=torch.Generator().manual_seed(0)) + 1.0
    torch.testing.assert_close(centred.encode(x), plain.encode(x - x.mean(1, keepdim=True)))
    alone = load_sae_alone(replace(settings, sae=str(other)))  # the decoder is the same
    assert torch.equal(alone.W_dec, centred.W_dec)
    assert load_sae_alone(replace(settings, sae="")) is None


def test_an_sae_that_contradicts_what_its_files_record_stops_the_draw(
    settings: SubjectSettings, tmp_path: Path
):
    other = save_sae(tmp_path / "sae", training_tokens=10_000_000)
    subject = load_subject(replace(settings, sae=str(other)))
    calibration = calibrate(subject, HarvestSettings(), seed=0)
    with pytest.raises(SubjectError, match=r"where the mean misses by 1.*check_sae = false"):
        doubts(subject, calibration)
    unchecked = load_subject(replace(settings, sae=str(other), check_sae=False))
    assert len(doubts(unchecked, calibration)) == 1


def test_a_model_without_bos_is_asked_for_bos_in_vain(
    settings: SubjectSettings, parts: Path, tmp_path: Path
):
    folder = saved(tmp_path / "tiny", "qwen2")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["bos_token"] = None
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    without = replace(settings, model=str(folder))
    assert not load_subject(without).begins_with_bos
    with pytest.raises(SettingsError, match=r"subject.bos = 'yes': the tokenizer of .* has no BOS"):
        load_subject(replace(without, bos="yes"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose tokenizer is a tokenizer.json alone; config.json says that BOS is id 7."""
    folder = saved(tmp_path_factory.mktemp("bare") / "llama", "llama", bos_token_id=7)
    (folder / "tokenizer_config.json").unlink()
    return folder


def test_a_tokenizer_json_alone_leaves_bos_to_the_model_s_configuration(
    settings: SubjectSettings, bare: Path, tmp_path: Path
):
    found = load_subject(replace(settings, model=str(bare), sae=""))
    assert (found.begins_with_bos, found.bos) == (True, 7)
    [note] = found.notes
    assert "say nothing of BOS: windows begin with" in note
    assert note.endswith('"bos_token": null in its tokenizer_config.json, leaves it out')
    none = load_subject(replace(settings, model=str(bare), sae="", bos="no"))
    assert (none.begins_with_bos, none.notes) == (False, ())


def test_a_token_that_the_tokenizer_puts_before_a_text_is_bos(
    settings: SubjectSettings, bare: Path, tmp_path: Path
):
    folder = shutil.copytree(bare, tmp_path / "llama")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    begun = TemplateProcessing(
        single="<|endoftext|> $A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    backend.post_processor = begun
    backend.save(str(folder / "tokenizer.json"))
    found = load_subject(replace(settings, model=str(folder), sae=""))
    assert (found.bos, found.notes) == (0, ())  # and not 7: the tokenizer knows better


@pytest.mark.parametrize("changes", [{"k": 4}, {"subtract_b_dec": "no"}, {"corpus_seed": 1}])
def test_a_setting_that_a_one_layer_model_would_pass_over_is_refused(changes: dict[str, Any]):
    (name,) = changes
    with pytest.raises(SettingsError, match=f"subject.{name} = .*: a one-layer model does not"):
        load_subject(SubjectSettings(**changes))
