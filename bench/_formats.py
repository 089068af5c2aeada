"""SAEs that other libraries write, and what those libraries compute of them, beside ours."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

D_IN, D_SAE = 24, 96
DTYPES = ("float32", "bfloat16", "float16")

Write = Callable[[Path], "Written"]


@dataclass(frozen=True)
class Written:
    """An SAE on disk.

    Attributes:
        path: What is given to `load_sae`.
        latents: What its library encodes `inputs()` to: [tokens, latents].
        flags: What has to be said of it besides.
        factor: What the library multiplies all latents by, where it gives them on another scale.
    """

    path: Path
    latents: Tensor
    flags: dict[str, Any]
    factor: float = 1.0


@dataclass(frozen=True)
class FormatCheck:
    """One SAE: `right`, `refused` or `wrong`."""

    library: str
    name: str
    outcome: str
    detail: str = ""


class NotOffered(Exception):
    """A combination of settings that the library itself does not have."""


def inputs() -> Tensor:
    """Return activations [200, D_IN] with a mean that is not 0."""
    return torch.randn(200, D_IN, generator=torch.Generator().manual_seed(1)) * 3 + 0.5


def randomised(module: torch.nn.Module) -> None:
    """Fill every parameter, biases included, with what a training could; thresholds over 0."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        values = torch.randn(parameter.shape, generator=generator) * 0.3
        values = values.abs() if "threshold" in name and "log" not in name else values
        parameter.data = values.to(parameter.dtype)


def format_checks() -> Iterator[FormatCheck]:
    """Yield a check of each SAE of each library that is installed."""
    for library, cases in (
        ("SAELens", saelens()),
        ("SAELens, published", published()),
        ("sparsify", sparsify()),
        ("dictionary_learning", dictionary_learning()),
    ):
        for name, write in cases:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(NotOffered):
                    yield checked(library, name, write, Path(folder))


@torch.no_grad()
def checked(library: str, name: str, write: Write, folder: Path) -> FormatCheck:
    """Return whether our reading of an SAE encodes as its library does."""
    from autointerp.errors import SubjectError
    from autointerp.subjects.formats import Flags, load_sae

    written = write(folder)
    try:
        loaded = load_sae(written.path, flags=Flags(**written.flags))
    except SubjectError as error:
        return FormatCheck(library, name, "refused", str(error))
    ours = loaded.sae.encode(inputs()) * written.factor
    theirs = written.latents.detach().to_dense().float()
    if ours.shape != theirs.shape:
        return FormatCheck(library, name, "wrong", f"{ours.shape} against {theirs.shape}")
    if not bool((theirs != 0).any()):
        raise ValueError(f"{library} {name}: no latent fires, so nothing is compared")
    close = torch.allclose(ours, theirs, atol=2e-4, rtol=2e-4)
    detail = "" if close else f"off by {float((ours - theirs).abs().max()):.3g}"
    return FormatCheck(library, name, "right" if close else "wrong", detail)


def saelens() -> Iterator[tuple[str, Write]]:
    """Yield SAELens' architectures with the settings that they share, and their trainings."""
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

    norms = (
        "none", "layer_norm", "constant_norm_rescale", "expected_average_only_in",
        "covariance_whitening",
    )  # fmt: skip
    for architecture in sorted(SAE_CLASS_REGISTRY):
        transcodes = "transcoder" in architecture
        fields = SAE_CLASS_REGISTRY[architecture][1].__dataclass_fields__
        variants: list[dict[str, Any]] = [{}]
        if "rescale_acts_by_decoder_norm" in fields:
            variants = [{"k": 7, "rescale_acts_by_decoder_norm": r} for r in (False, True)]
        if architecture == "temporal":
            variants = [{"n_heads": 2, "bottleneck_factor": 2}]
        if transcodes:
            variants = [{"d_out": 16}, {"d_out": D_IN}]
        for options, norm, subtract, dtype in itertools.product(
            variants, norms, (True, False), DTYPES
        ):
            if (dtype != "float32" and (norm != "none" or subtract)) or (transcodes and subtract):
                continue
            whole = {
                **options, "normalize_activations": norm, "apply_b_dec_to_input": subtract,
                "dtype": dtype,
            }  # fmt: skip
            name = f"{architecture} {_short(whole)}"
            yield name, _saelens_writer(SAE_CLASS_REGISTRY[architecture], whole)
    for architecture in sorted(SAE_TRAINING_CLASS_REGISTRY):
        if architecture not in ("temporal",):
            yield f"{architecture} inference of a training", _saelens_inference(architecture)


def _short(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _saelens_writer(classes: Any, options: dict[str, Any]) -> Write:
    def write(folder: Path) -> Written:
        from sae_lens import SAE

        sae_class, config_class = classes
        try:
            config = config_class(d_in=D_IN, d_sae=D_SAE, **options)
        except ValueError as error:
            raise NotOffered(str(error)) from None
        sae = sae_class(config)
        randomised(sae)
        sae.save_model(folder)
        library = SAE.load_from_disk(folder, dtype="float32")
        return Written(folder, library.encode(inputs()[None]).to_dense()[0], {})

    return write


def _saelens_inference(architecture: str) -> Write:
    def write(folder: Path) -> Written:
        from sae_lens import SAE
        from sae_lens.registry import get_sae_training_class

        sae_class, config_class = get_sae_training_class(architecture)
        names = config_class.__dataclass_fields__
        options: dict[str, Any] = {"k": 6} if "k" in names else {}
        if "matryoshka_widths" in names:
            options["matryoshka_widths"] = [32, D_SAE]
        training = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **options))
        randomised(training)
        if hasattr(training, "topk_threshold"):
            training.topk_threshold.fill_(0.8)
        training.save_inference_model(folder)
        return Written(folder, SAE.load_from_disk(folder).encode(inputs()), {})

    return write


def sparsify() -> Iterator[tuple[str, Write]]:
    """Yield sparsify's coders."""
    from sparsify import SparseCoder, SparseCoderConfig

    for activation, transcode, skip, normalised, dtype in itertools.product(
        ("topk", "groupmax"), (False, True), (False, True), (False, True), DTYPES
    ):

        def write(
            folder: Path,
            activation: Any = activation,
            transcode: bool = transcode,
            skip: bool = skip,
            normalised: bool = normalised,
            dtype: str = dtype,
        ) -> Written:
            config = SparseCoderConfig(
                activation=activation, num_latents=D_SAE, k=8, transcode=transcode,
                skip_connection=skip, normalize_decoder=normalised,
            )  # fmt: skip
            coder = SparseCoder(D_IN, config, dtype=getattr(torch, dtype))
            randomised(coder)
            place = folder / "layers.3.mlp"
            coder.save_to_disk(place)
            encoded = SparseCoder.load_from_disk(place).float().encode(inputs())
            latents = torch.zeros(len(inputs()), D_SAE)
            return Written(place, latents.scatter_(1, encoded.top_indices, encoded.top_acts), {})

        yield f"{activation} transcode={transcode} skip={skip} {dtype} {normalised}", write


def dictionary_learning() -> Iterator[tuple[str, Write]]:
    """Yield dictionary_learning's classes, BatchTopK with and without a calibrated threshold."""
    from dictionary_learning import dictionary
    from dictionary_learning.trainers import batch_top_k, matryoshka_batch_top_k, top_k

    classes: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "AutoEncoder": (dictionary.AutoEncoder, ()),
        "AutoEncoderNew": (dictionary.AutoEncoderNew, ()),
        "GatedAutoEncoder": (dictionary.GatedAutoEncoder, ()),
        "JumpReluAutoEncoder": (dictionary.JumpReluAutoEncoder, ()),
        "AutoEncoderTopK": (top_k.AutoEncoderTopK, (6,)),
        "BatchTopKSAE": (batch_top_k.BatchTopKSAE, (6,)),
        "MatryoshkaBatchTopKSAE": (
            matryoshka_batch_top_k.MatryoshkaBatchTopKSAE, (6, [32, 64]),
        ),
    }  # fmt: skip
    for (name, (make, arguments)), dtype, wrapped in itertools.product(
        classes.items(), DTYPES, (False, True)
    ):

        def write(
            folder: Path,
            name: str = name,
            make: Any = make,
            arguments: Any = arguments,
            dtype: str = dtype,
            wrapped: bool = wrapped,
        ) -> Written:
            made = make(D_IN, D_SAE, *arguments)
            randomised(made)
            if hasattr(made, "threshold") and made.threshold.dim() == 0:
                made.threshold.fill_(0.7)
            kept = {
                n: t.to(getattr(torch, dtype)) if t.is_floating_point() else t
                for n, t in made.state_dict().items()
            }
            made.load_state_dict({n: t.to(made.state_dict()[n].dtype) for n, t in kept.items()})
            if wrapped:
                kept = {"step": torch.tensor(5), "state_dict": kept}
            torch.save(kept, folder / "ae.pt")
            trainer = {
                "trainer_class": "Trainer", "dict_class": name, "activation_dim": D_IN,
                "dict_size": D_SAE, "lr": 1e-3, "steps": 1000, "warmup_steps": 10, "seed": 0,
                "layer": 2, "lm_name": "EleutherAI/pythia-70m", "device": "cuda:0",
                "submodule_name": "resid_post_layer_2", "threshold_beta": 0.999,
                **({"k": 6} if arguments else {}),
            }  # fmt: skip
            buffer = {"d_submodule": D_IN, "io": "out", "n_ctxs": 300, "ctx_len": 128}
            config = {"trainer": trainer, "buffer": buffer}
            (folder / "config.json").write_text(json.dumps(config))
            return Written(folder, made.encode(inputs()), {})

        yield f"{name} {dtype}{' in a checkpoint' if wrapped else ''}", write


def published() -> Iterator[tuple[str, Write]]:
    """Yield the layouts that SAELens converts on their way from the hub, without the hub."""
    g = torch.Generator().manual_seed(4)
    W, D = (torch.randn(shape, generator=g) * 0.3 for shape in ((D_IN, D_SAE), (D_SAE, D_IN)))
    D = D / D.norm(dim=1, keepdim=True)
    b, bd = torch.randn(D_SAE, generator=g) * 0.3, torch.randn(D_IN, generator=g) * 0.3
    threshold, skip = torch.rand(D_SAE, generator=g), torch.randn(D_IN, D_IN, generator=g)
    large = {"W_enc": W, "W_dec": D, "b_enc": b, "b_dec": bd, "threshold": threshold}
    small = {name.lower(): tensor for name, tensor in large.items()}
    linear = {
        "encoder.weight": W.T, "encoder.bias": b, "decoder.weight": D.T, "decoder.bias": bd,
    }  # fmt: skip
    goodfire = {name.replace(".", "_linear."): tensor for name, tensor in linear.items()}
    qwen = {"W_enc": W.T, "W_dec": D.T, "b_enc": b, "b_dec": bd}

    def npz(file: Path) -> None:
        file.parent.mkdir(parents=True)
        np.savez(file, **{name: tensor.numpy() for name, tensor in large.items()})

    def gemma_2(root: Path) -> Written:
        repo, folder = "google/gemma-scope-2b-pt-res", "layer_5/width_16k/average_l0_30"
        npz(root / repo / folder / "params.npz")
        return _converted(root, repo, folder, "gemma_2", {"d_sae": D_SAE, "d_in": D_IN})

    def gemma_2_embedding(root: Path) -> Written:
        repo, folder = "google/gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6"
        npz(root / repo / folder / "params.npz")
        return _converted(root, repo, folder, "gemma_2", {"d_sae": D_SAE, "d_in": D_IN})

    def gemma_2_transcoder(root: Path) -> Written:
        repo, folder = "google/gemma-scope-2b-pt-transcoders", "layer_5/width_16k/average_l0_30"
        npz(root / repo / folder / "params.npz")
        sizes = {"d_sae": D_SAE, "d_in": D_IN, "d_out": D_IN}
        return _converted(root, repo, folder, "gemma_2_transcoder", sizes)

    def gemma_3(part: str, extra: dict[str, Tensor], decoder: Tensor = D) -> Write:
        def write(root: Path) -> Written:
            repo = "google/gemma-scope-2-1b-pt"
            folder = f"{part}/layer_5_width_16k_l0_small{'_affine' if extra else ''}"
            file = root / repo / folder / "params.safetensors"
            if part == "clt":
                file = root / repo / f"{folder}.safetensors"
            _save({**small, "w_dec": decoder, **extra}, file)
            written = _converted(root, repo, folder, "gemma_3", {"d_sae": D_SAE})
            return Written(file, written.latents, {})

        return write

    def llama_scope(root: Path) -> Written:
        repo, folder = "fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L1R-8x"
        place = root / repo / folder
        _save(linear, place / "checkpoints" / "final.safetensors")
        config = {
            "d_model": D_IN, "d_sae": D_SAE, "hook_point_in": "blocks.1.hook_resid_post",
            "hook_point_out": "blocks.1.hook_resid_post", "act_fn": "jumprelu",
            "jump_relu_threshold": 0.2, "norm_activation": "dataset-wise", "top_k": 50,
            "dataset_average_activation_norm": {"in": 3.0, "out": 3.0}, "use_decoder_bias": True,
            "sparsity_include_decoder_norm": True, "apply_decoder_bias_to_pre_encoder": False,
            "expansion_factor": D_SAE / D_IN, "l1_coefficient": 8e-5,
        }  # fmt: skip
        (place / "hyperparams.json").write_text(json.dumps(config))
        scale = D_IN**0.5 / 3.0
        written = _converted(root, repo, folder, "llama_scope", {"dtype": "float32"}, scale)
        # SAELens gives latents on the scale of the normalised inputs.
        return Written(place, written.latents, {}, factor=scale)

    def llama_scope_r1(root: Path) -> Written:
        repo, folder = "fnlp/Llama-Scope-R1-Distill", "800M-Slimpajama/L1R"
        place = root / repo / folder
        _save({**linear, "log_jumprelu_threshold": threshold.log()}, place / SAELENS_WEIGHTS)
        config = {
            "sae_type": "sae", "d_model": D_IN, "expansion_factor": D_SAE // D_IN,
            "hook_point_in": "blocks.1.hook_resid_post", "act_fn": "jumprelu",
            "hook_point_out": "blocks.1.hook_resid_post", "norm_activation": "dataset-wise",
            "sparsity_include_decoder_norm": True,
        }  # fmt: skip
        (place / "config.json").write_text(json.dumps(config))
        written = _converted(root, repo, folder, "llama_scope_r1_distill", {}, 0.5)
        return Written(place, written.latents, {"input_scale": 0.5})

    def qwen_scope(root: Path) -> Written:
        repo = "Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50"
        file = root / repo / "layer3.sae.pt"
        file.parent.mkdir(parents=True)
        torch.save(qwen, file)
        sizes = {"d_in": D_IN, "d_sae": D_SAE}
        written = _converted(root, repo, file.name, "qwen_scope", sizes)
        return Written(file, written.latents, {})

    def deepseek_r1(root: Path) -> Written:
        file = root / "deepseek/DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
        file.parent.mkdir(parents=True)
        torch.save(linear, file)
        sizes = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32"}
        written = _converted(root, "deepseek", file.name, "deepseek_r1", sizes)
        return Written(file, written.latents, {"subtract_b_dec": False})

    def good_fire(root: Path) -> Written:
        repo, name = "Goodfire/Llama-3.1-8B-Instruct-SAE-l19", "Llama-3.1-8B-Instruct-SAE-l19.pth"
        file = root / repo / name
        file.parent.mkdir(parents=True)
        torch.save(goodfire, file)
        written = _converted(root, repo, name, "goodfire", {"d_in": D_IN, "d_sae": D_SAE})
        return Written(file, written.latents, {"subtract_b_dec": False})

    def circuit_tracer(root: Path) -> Written:
        repo, name = "mwhanna/qwen3-0.6b-transcoders-lowl0", "layer_3.safetensors"
        file = root / repo / name
        tensors = {"W_enc": W.T, "W_dec": D, "b_enc": b, "b_dec": bd}
        _save(tensors, file)
        said = "model_name: Qwen/Qwen3-0.6B\nfeature_input_hook: mlp.hook_in\n"
        (file.parent / "config.yaml").write_text(said + "feature_output_hook: hook_mlp_out\n")
        values = {"d_model": D_IN, "d_feature": D_SAE, "batch_size": 4096}
        text = "".join(f"{key}:\n  value: {value}\n" for key, value in values.items())
        (file.parent / "wandb-config.yaml").write_text(text)
        written = _converted(root, repo, name, "mwhanna_transcoder", {})
        return Written(file, written.latents, {})

    def cross_layer(root: Path) -> Written:
        repo = "mntss/clt-gemma-2-2b-426k"
        file = root / repo / "W_enc_3.safetensors"
        _save({"W_enc_3": W.T, "b_enc_3": b, "b_dec_3": bd}, file)
        decoders = torch.stack([D, D * 2], dim=1)
        _save({"W_dec_3": decoders}, file.with_name("W_dec_3.safetensors"))
        said = "model_name: google/gemma-2-2b\nfeature_input_hook: hook_resid_mid\n"
        (file.parent / "config.yaml").write_text(said + "feature_output_hook: hook_mlp_out\n")
        written = _converted(root, repo, "3", "mntss_clt_layer_transcoder", {})
        return Written(file, written.latents, {})

    yield "Gemma Scope", gemma_2
    yield "Gemma Scope, embedding", gemma_2_embedding
    yield "Gemma Scope, transcoder", gemma_2_transcoder
    for part in ("resid_post", "attn_out", "mlp_out", "transcoder"):
        yield f"Gemma Scope 2, {part}", gemma_3(part, {})
    yield "Gemma Scope 2, affine", gemma_3("transcoder", {"affine_skip_connection": skip})
    yield "Gemma Scope 2, clt", gemma_3("clt", {}, torch.stack([D, D], dim=1))
    yield "Llama Scope", llama_scope
    yield "Llama Scope R1", llama_scope_r1
    yield "Qwen-Scope", qwen_scope
    yield "DeepSeek R1", deepseek_r1
    yield "Goodfire", good_fire
    yield "circuit-tracer transcoder", circuit_tracer
    yield "circuit-tracer cross-layer transcoder", cross_layer


SAELENS_WEIGHTS = "sae_weights.safetensors"


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def _converted(
    root: Path, repo: str, folder: str, name: str, overrides: dict[str, Any], scale: float = 0.0
) -> Written:
    """Return what SAELens makes of a published layout that lies at `root`/`repo`/`folder`."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders

    loader = loaders.NAMED_PRETRAINED_SAE_LOADERS[name]

    def fetched(repo_id: str, filename: str, subfolder: str = "", **_: Any) -> str:
        file = root / repo_id / subfolder / filename
        if not file.is_file():
            raise loaders.EntryNotFoundError(f"no {file}")
        return str(file)

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        return {n: list(t.shape) for n, t in load_file(root / repo_id / filename).items()}

    def convert(path: Any, device: str = "cpu", cfg_overrides: Any = None) -> Any:
        loaded = loader(
            repo_id=repo, folder_name=folder, device="cpu", force_download=False,
            cfg_overrides=overrides,
        )  # fmt: skip
        return loaded[0], loaded[1]

    with (
        mock.patch.object(loaders, "hf_hub_download", fetched),
        mock.patch.object(loaders, "get_safetensors_tensor_shapes", shapes),
    ):
        sae = SAE.load_from_disk(root, converter=convert, dtype="float32")
    if scale:
        sae.fold_activation_norm_scaling_factor(scale)
    return Written(root / repo / folder, sae.encode(inputs()), {})
