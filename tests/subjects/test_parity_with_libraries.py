"""Our loader against the libraries that write the formats; skipped where they are not installed.

They are heavy and not dependencies: `make test-parity` installs them into an environment of their
own and runs these tests. Last run with sae-lens 6.54.12, transformer-lens 3.9.0, eai-sparsify
1.3.3 and dictionary-learning 0.1.0, beside torch 2.13.0 and transformers 5.23.0 (constraints.txt
pins them). `bench/_formats.py` and `bench/_hooks.py` have the cases; `python -m bench parity`
counts them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_language_models import built, tokenizer

from autointerp.subjects.formats import load_sae
from autointerp.subjects.language_model import HookedLanguageModel
from bench._hooks import FAMILIES, hook_checks, hooked_transformer, tiny_model

pytestmark = pytest.mark.filterwarnings("ignore")

D_IN, D_SAE = 24, 96


def installed(name: str) -> Any:
    """Return a module of a library; skip where it is not installed, fail where it is broken."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name.partition('.')[0]} is not installed; `make test-parity` installs it")
    return importlib.import_module(name)


def inputs() -> torch.Tensor:
    return torch.randn(200, D_IN, generator=torch.Generator().manual_seed(1)) * 3 + 0.5


def randomised(module: torch.nn.Module) -> None:
    """Fill every parameter and per-latent buffer, biases included, with what a training could."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        values = torch.randn(parameter.shape, generator=generator) * 0.3
        parameter.data = values.abs() if "threshold" in name else values


def agrees(path: Path, latents: torch.Tensor, decoded: torch.Tensor | None) -> None:
    loaded = load_sae(path)
    x = inputs()
    ours = loaded.sae.encode(x)
    assert (latents != 0).any()
    torch.testing.assert_close(ours, latents.detach().to_dense(), atol=2e-5, rtol=1e-5)
    columns = torch.tensor([5, 0, 95, 31])
    torch.testing.assert_close(loaded.sae.encode(x, columns), ours[:, columns])
    if decoded is not None:
        torch.testing.assert_close(
            loaded.sae.decode(ours, x), decoded.detach(), atol=5e-5, rtol=1e-5
        )


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_saelens_loads_what_train_sae_stores(activation: Any, tmp_path: Path):
    sae_lens = installed("sae_lens")
    from autointerp.pipeline.train import _store
    from autointerp.subjects.autoencoder import SparseAutoencoder
    from autointerp.subjects.training.recipe import ModelRecord, SaeRecipe

    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    parts = {n: torch.randn(shape, generator=generator) * 0.3 for n, shape in shapes.items()}
    k = 7 if activation == "topk" else None
    sae = SparseAutoencoder(**parts, activation=activation, k=k)
    recipe = SaeRecipe(
        site="layers.1.residual", corpus="t", corpus_digest="d", window=16, bos=True,
        width=D_SAE, activation=activation, k=7,
    )  # fmt: skip
    model = HookedLanguageModel(built("llama"), tokenizer(), "layers.1.residual", "tiny")
    _store(sae, model, ModelRecord("tiny"), recipe, tmp_path)
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path))
    assert theirs.cfg.metadata.hook_name == "blocks.1.hook_resid_post"
    x = inputs()
    agrees(tmp_path, theirs.encode(x), theirs.decode(theirs.encode(x)))


SAELENS = [
    ("standard", {}),
    ("standard", {"apply_b_dec_to_input": False}),
    ("standard", {"normalize_activations": "layer_norm"}),
    ("standard", {"normalize_activations": "constant_norm_rescale"}),
    ("topk", {"k": 7}),
    ("topk", {"k": 7, "rescale_acts_by_decoder_norm": True}),
    ("topk", {"k": 7, "apply_b_dec_to_input": False}),
    ("jumprelu", {}),
    ("jumprelu", {"apply_b_dec_to_input": False, "normalize_activations": "layer_norm"}),
    ("gated", {}),
    ("gated", {"apply_b_dec_to_input": False}),
    ("transcoder", {"d_out": 16, "apply_b_dec_to_input": False}),
    ("skip_transcoder", {"d_out": 16, "apply_b_dec_to_input": False}),
    ("jumprelu_transcoder", {"d_out": D_IN, "apply_b_dec_to_input": False}),
    ("jumprelu_skip_transcoder", {"d_out": D_IN, "apply_b_dec_to_input": False}),
]


@pytest.mark.parametrize(("architecture", "options"), SAELENS)
def test_saelens_saves_what_we_load(
    architecture: str, options: dict[str, Any], tmp_path: Path
) -> None:
    registry = installed("sae_lens.registry")
    sae_class, config_class = registry.get_sae_class(architecture)
    sae = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **options))
    randomised(sae)
    sae.save_model(tmp_path)
    x = inputs()
    agrees(tmp_path, sae.encode(x), sae(x))


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk", "jumprelu", "topk"])
def test_saelens_inference_checkpoints_of_trainings_load(architecture: str, tmp_path: Path) -> None:
    registry = installed("sae_lens.registry")
    saes = installed("sae_lens.saes.sae")
    sae_class, config_class = registry.get_sae_training_class(architecture)
    options: dict[str, Any] = {} if architecture == "jumprelu" else {"k": 6}
    if architecture.startswith("matryoshka"):
        options["matryoshka_widths"] = [32, D_SAE]
    training = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **options))
    randomised(training)
    if hasattr(training, "topk_threshold"):
        training.topk_threshold.fill_(0.8)
    training.save_inference_model(tmp_path)
    library = saes.SAE.load_from_disk(tmp_path)
    x = inputs()
    agrees(tmp_path, library.encode(x), library(x))


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_saelens_reads_its_old_configuration_as_we_do(activation: str, tmp_path: Path) -> None:
    saes = installed("sae_lens.saes.sae")
    registry = installed("sae_lens.registry")
    name = "topk" if activation == "topk" else "standard"
    sae_class, config_class = registry.get_sae_class(name)
    sae = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **({"k": 5} if name == "topk" else {})))
    randomised(sae)
    sae.save_model(tmp_path)
    old = {
        "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu", "model_name": "gpt2",
        "hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": activation,
        "activation_fn_kwargs": {"k": 5} if activation == "topk" else {},
        "normalize_activations": "none", "context_size": 64, "prepend_bos": False,
    }  # fmt: skip
    (tmp_path / "cfg.json").write_text(json.dumps(old))
    library = saes.SAE.load_from_disk(tmp_path)
    agrees(tmp_path, library.encode(inputs()), library(inputs()))


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("transcode", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_sparsify_saves_what_we_load(
    activation: str, transcode: bool, skip: bool, tmp_path: Path
) -> None:
    sparsify = installed("sparsify")
    config = sparsify.SparseCoderConfig(
        activation=activation, num_latents=D_SAE, k=8, transcode=transcode, skip_connection=skip
    )
    coder = sparsify.SparseCoder(D_IN, config)
    randomised(coder)
    folder = tmp_path / "layers.3.mlp"
    coder.save_to_disk(folder)
    x = inputs()
    encoded = coder.encode(x)
    latents = torch.zeros(len(x), D_SAE).scatter_(1, encoded.top_indices, encoded.top_acts)
    decoded = latents @ coder.W_dec + coder.b_dec
    agrees(folder, latents, decoded + x @ coder.W_skip.mT if skip else decoded)


def test_a_sparsify_object_is_adapted() -> None:
    sparsify = installed("sparsify")
    from autointerp.subjects.formats import AdaptedEncoder

    coder = sparsify.SparseCoder(D_IN, sparsify.SparseCoderConfig(num_latents=D_SAE, k=8))
    adapted = AdaptedEncoder(coder)
    assert (adapted.d_in, adapted.d_sae) == (D_IN, D_SAE)
    assert int((adapted.encode(inputs()) > 0).sum(1).max()) <= 8


def dictionaries() -> dict[str, Callable[[Any], torch.nn.Module]]:
    def of(module: str, name: str, *arguments: Any) -> Callable[[Any], torch.nn.Module]:
        def make(_: Any) -> torch.nn.Module:
            found = installed(f"dictionary_learning.{module}")
            made: torch.nn.Module = getattr(found, name)(D_IN, D_SAE, *arguments)
            return made

        return make

    return {
        "AutoEncoder": of("dictionary", "AutoEncoder"),
        "AutoEncoderNew": of("dictionary", "AutoEncoderNew"),
        "GatedAutoEncoder": of("dictionary", "GatedAutoEncoder"),
        "JumpReluAutoEncoder": of("dictionary", "JumpReluAutoEncoder"),
        "AutoEncoderTopK": of("trainers.top_k", "AutoEncoderTopK", 6),
        "BatchTopKSAE": of("trainers.batch_top_k", "BatchTopKSAE", 6),
        "MatryoshkaBatchTopKSAE": of(
            "trainers.matryoshka_batch_top_k", "MatryoshkaBatchTopKSAE", 6, [32, 64]
        ),
    }


@pytest.mark.parametrize("name", list(dictionaries()))
def test_dictionary_learning_saves_what_we_load(name: str, tmp_path: Path) -> None:
    dictionary: Any = dictionaries()[name](None)
    randomised(dictionary)
    if name.endswith("BatchTopKSAE"):
        dictionary.threshold.fill_(0.7)
    torch.save(dictionary.state_dict(), tmp_path / "ae.pt")
    trainer = {"dict_class": name, "layer": 2, "lm_name": "EleutherAI/pythia-70m"}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
    latents = dictionary.encode(inputs())
    agrees(tmp_path, latents, dictionary.decode(latents))


# TransformerBridge's own logits of it differ from the model's, so nothing is compared.
NOT_COMPARED = {"cohere"}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_hook_is_read_where_transformer_lens_has_it(family: str) -> None:
    installed("transformer_lens")
    checks = list(hook_checks(family))
    assert not [check for check in checks if check.outcome == "wrong"]
    right = {check.hook for check in checks if check.outcome == "right"}
    assert len(right) >= 8 or family in NOT_COMPARED
    for check in checks:
        if check.outcome == "refused":
            assert "\n" not in check.detail


def test_no_sae_is_read_otherwise_than_its_own_library_reads_it() -> None:
    for name in ("sae_lens", "sparsify", "dictionary_learning"):
        installed(name)
    from bench._formats import format_checks

    checks = list(format_checks())
    assert not [check for check in checks if check.outcome == "wrong"]
    assert sum(check.outcome == "right" for check in checks) >= 190
    refused = {check.name for check in checks if check.outcome == "refused"}
    # What is refused cannot be reproduced: other architectures, and scales that no file has.
    reasons = ("abstopk", "matching_pursuit", "temporal", "expected_average", "whitening")
    assert not [name for name in refused if not any(reason in name for reason in reasons)]


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "opt"])
def test_what_transformer_lens_centres_is_the_activation_less_its_mean(
    family: str, tmp_path: Path
) -> None:
    installed("transformer_lens")
    from autointerp.subjects.language_model import HookedLanguageModel
    from autointerp.units.in_memory import _Numbers

    model = tiny_model(family)
    model.save_pretrained(tmp_path)
    other = hooked_transformer(family, model, str(tmp_path), center_writing_weights=True)
    ids = torch.randint(1, 290, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, cache = other.run_with_cache(ids)
    for hook, site in {
        "blocks.1.hook_resid_post": "layers.1.residual",
        "blocks.1.hook_resid_pre": "layers.1.input",
        "blocks.1.hook_mlp_out": "layers.1.mlp.added",
        "blocks.1.hook_attn_out": "layers.1.attention.added",
    }.items():
        hooked = HookedLanguageModel(tiny_model(family), _Numbers(model), site)
        assert hooked.architecture.has_layer_norms
        assert hooked.is_in_stream
        ours = hooked.activations(ids, torch.ones_like(ids, dtype=torch.bool))
        centred = ours - ours.mean(-1, keepdim=True)
        torch.testing.assert_close(centred, cache[hook], atol=1e-4, rtol=1e-4)
    assert not HookedLanguageModel(
        tiny_model("llama"), _Numbers(model), "layers.1.residual"
    ).architecture.has_layer_norms
