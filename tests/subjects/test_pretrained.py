"""Language models loaded from folders and files: whole, broken, and not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_language_models import (
    D_MODEL,
    built,
    hooked,
    saved,
    tokenizer,
    window,
)

from autointerp.errors import SubjectError
from autointerp.subjects.pretrained import load_language_model, look_at_language_model

transformers = pytest.importorskip("transformers")


def test_a_saved_model_loads_from_its_folder_in_the_dtype_asked_for(tmp_path: Path) -> None:
    model = built("gpt_neox")
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    found = load_language_model(str(tmp_path), "layers.1.mlp")
    ids, attention = window()
    expected = hooked(model, "layers.1.mlp").activations(ids, attention)
    torch.testing.assert_close(found.activations(ids, attention), expected)
    half = load_language_model(str(tmp_path), "layers.1.mlp", dtype="bfloat16")
    near = half.activations(ids, attention)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, expected, atol=0.05, rtol=0.1)
    assert found.tokenise(["the cat"]) == [tokenizer()("the cat")["input_ids"]]
    assert found.context_length == 64


@pytest.mark.parametrize("load", [load_language_model, look_at_language_model])
def test_the_decoder_of_an_encoder_decoder_is_not_read_alone(load: Any, tmp_path: Path) -> None:
    sizes = {f"{part}_{name}": 2 for part in ("encoder", "decoder")
             for name in ("layers", "attention_heads")}  # fmt: skip
    config = transformers.BartConfig(
        vocab_size=20, d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, **sizes
    )
    whole = transformers.BartForConditionalGeneration(config)
    whole.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    has_encoder = "of type 'bart' has an encoder, and its decoder reads what that writes"
    with pytest.raises(SubjectError, match=has_encoder):
        load(str(tmp_path), "layers.1.residual")
    with pytest.raises(SubjectError, match=has_encoder):
        hooked(whole, "layers.1.residual")
    decoder = transformers.BartForCausalLM(config)  # trained as a language model of its own
    assert hooked(decoder, "layers.1.residual").d_site == 8


def test_a_model_whose_files_are_broken_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path / "tiny", "llama")
    weights, config = folder / "model.safetensors", folder / "config.json"
    weights_bytes, config_text = weights.read_bytes(), config.read_text()

    def refused() -> str:
        with pytest.raises(SubjectError, match="cannot load model") as error:
            load_language_model(str(folder), "layers.1.mlp")
        assert "\n" not in str(error.value)
        assert capfd.readouterr().err == ""  # no table of transformers' beside it
        return str(error.value)

    capfd.readouterr()
    weights.write_bytes(weights_bytes[: len(weights_bytes) // 2])
    assert "damaged or incomplete" in refused()
    weights.write_bytes(weights_bytes)
    lacking = load_file(weights)
    del lacking["model.layers.1.mlp.down_proj.weight"]
    save_file(lacking, weights, metadata={"format": "pt"})
    assert "lack 1 weight, such as model.layers.1.mlp.down_proj.weight" in refused()
    weights.write_bytes(weights_bytes)
    config.write_text(config_text.replace(f'"hidden_size": {D_MODEL}', '"hidden_size": 32'))
    assert "not of the sizes that config.json says" in refused()
    config.write_text("{")
    assert "not a valid JSON file" in refused()


def test_files_without_the_unembedding_are_one_model_and_give_no_logits(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path / "tiny", "llama")
    weights, config = folder / "model.safetensors", folder / "config.json"
    assert not json.loads(config.read_text())["tie_word_embeddings"]
    body = {name: value for name, value in load_file(weights).items() if name != "lm_head.weight"}
    save_file(body, weights, metadata={"format": "pt"})
    one, again = (load_language_model(str(folder), "layers.1.residual") for _ in range(2))
    assert one.digest == again.digest  # transformers draws another unembedding each time
    ids = torch.tensor([[3, 4, 5]])
    attention = torch.ones_like(ids, dtype=torch.bool)
    assert one.activations(ids, attention).equal(again.activations(ids, attention))
    for ask in (
        lambda: one.logits(ids, attention),
        lambda: one.next_logits(ids),
        lambda: one.elsewhere("layers.0.mlp").readout(),
    ):
        with pytest.raises(SubjectError, match=r"have no unembedding \(lm_head.weight\)"):
            ask()


def test_weights_that_the_architecture_does_not_use_are_noted(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path / "tiny", "llama")
    weights = folder / "model.safetensors"
    assert load_language_model(str(folder), "layers.1.mlp").notes == ()
    more = load_file(weights)
    more["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(more, weights, metadata={"format": "pt"})
    assert load_language_model(str(folder), "layers.1.mlp").notes == ()
    more["model.layers.0.self_attn.q_proj.bias"] = torch.ones(D_MODEL)
    save_file(more, weights, metadata={"format": "pt"})
    (note,) = load_language_model(str(folder), "layers.1.mlp").notes
    assert note.startswith(
        "1 weight in the model's files, such as model.layers.0.self_attn.q_proj.bias, is not used"
    )


def test_a_model_that_looks_ahead_is_noted(tmp_path: Path) -> None:
    """As Gemma 3 does where it was made to embed texts."""
    ahead = saved(tmp_path / "ahead", "gemma3_text", use_bidirectional_attention=True)
    (note,) = load_language_model(str(ahead), "layers.1.residual").notes
    assert note.startswith("activations of a token depend on the tokens behind it")
    plain = saved(tmp_path / "plain", "gemma3_text")
    assert load_language_model(str(plain), "layers.1.residual").notes == ()


def test_a_device_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SubjectError, match="device 'cuda:0': torch finds no CUDA device; give cpu"):
        load_language_model(str(tmp_path), "layers.1.mlp", device="cuda:0")


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="cannot load model") as error:
        load_language_model(str(tmp_path / "none"), "layers.1.mlp")
    assert "\n" not in str(error.value)


@pytest.mark.weights
def test_a_gguf_file_is_read_at_a_site() -> None:
    gguf = Path(os.environ["AUTOINTERP_WEIGHTS"]).absolute()  # as `make test-weights` sets it
    looked = look_at_language_model(str(gguf), "layers.3.mlp.neurons")
    model = load_language_model(str(gguf), "layers.3.mlp.neurons")
    assert looked.d_site == model.d_site
    ids = torch.tensor([model.tokenise(["The capital of France is Paris. The capital of"])[0]])
    attention = torch.ones_like(ids, dtype=torch.bool)
    assert model.activations(ids, attention).shape == (*ids.shape, model.d_site)
    # A trained model predicts English far better than the ln 49,152 = 10.8 nats of a guess.
    logits = model.logits(ids, attention)[0, 5:-1]
    assert float(torch.nn.functional.cross_entropy(logits, ids[0, 6:])) < 6


@pytest.mark.parametrize("load", [load_language_model, look_at_language_model])
def test_a_gguf_file_that_is_missing_or_is_none_is_one_line(load: Any, tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"no GGUF file at nowhere\.gguf"):
        load("nowhere.gguf", "layers.0.mlp")
    file = tmp_path / "empty.gguf"
    file.write_bytes(b"nothing")
    with pytest.raises(SubjectError, match=r"empty\.gguf"):
        load(str(file), "layers.0.mlp")
