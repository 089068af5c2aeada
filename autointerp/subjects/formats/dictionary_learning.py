"""dictionary_learning: ae.pt, or a file of checkpoints, and config.json of a trainer's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.formats._cross_layer import crosscoder
from autointerp.subjects.formats._recorded import Recorded, refused
from autointerp.subjects.formats._tensors import (
    TORCH_SUFFIXES,
    Flags,
    LoadedAutoencoder,
    encoder_and_decoder,
    json_keys,
    latents_a_token,
    need,
    read_json,
    read_torch,
    table,
)
from autointerp.subjects.hooks import probable_site

CROSSCODERS = {"CrossCoder", "BatchTopKCrossCoder", "CrossCoderBatchTopK"}
# class: activation, whether the decoder bias is taken from the input, and its name
CLASSES: dict[str, tuple[Activation, bool, str]] = {
    "AutoEncoder": ("relu", True, "bias"),
    "AutoEncoderNew": ("relu", False, "decoder.bias"),
    "GatedAutoEncoder": ("gated", True, "decoder_bias"),
    "JumpReluAutoEncoder": ("jumprelu", False, "b_dec"),
    "AutoEncoderTopK": ("topk", True, "b_dec"),
    "BatchTopKSAE": ("batchtopk", True, "b_dec"),
    "MatryoshkaBatchTopKSAE": ("batchtopk", True, "b_dec"),
}


def _places(path: Path) -> tuple[Path, Path]:
    """Return the configuration and the weights that a folder or a file in it stands for."""
    if path.is_dir():
        return path / "config.json", path / "ae.pt"
    if path.suffix not in TORCH_SUFFIXES:
        return _places(path.parent)
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return folder / "config.json", path


def recognises(path: Path) -> bool:
    where, file = _places(path)
    if not file.is_file() or "trainer" not in json_keys(where):
        return False
    trainer = read_json(where)["trainer"]
    return file.name == "ae.pt" or (isinstance(trainer, dict) and "dict_class" in trainer)


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE and what config.json says of its training.

    Raises SubjectError if a tensor is missing, a file truncated, or the class or another recorded
    setting unknown.
    """
    where, file = _places(path)
    folder = where.parent
    config = read_json(where)
    whole = Recorded({k: v for k, v in config.items() if k not in ("trainer", "buffer")}, where)
    trainer = Recorded(table(config["trainer"], "trainer", where), where)
    name = trainer.text("dict_class")
    if name in CROSSCODERS:
        raise SubjectError(crosscoder(where, f"dict_class {name}"))
    if name not in CLASSES:
        raise SubjectError(
            f"{where}: dict_class '{name}' is not supported (known: {', '.join(CLASSES)})"
        )
    activation, subtract, bias = CLASSES[name]
    tensors, said = read_torch(file)
    beside = Recorded(said, file)
    repeated = [
        key for key, value in said.items()
        if not torch.is_tensor(value) and trainer.values.get(key) == value
    ]  # fmt: skip
    beside.take(*repeated)  # as a backup does
    square = "W_enc" in tensors
    parts: dict[str, Any] = {}
    if activation == "gated":
        parts["b_enc"], parts["b_gate"], parts["r_mag"] = need(
            tensors, file, "mag_bias", "gate_bias", "r_mag"
        )
    else:
        (parts["b_enc"],) = need(tensors, file, "b_enc" if square else "encoder.bias")
    (parts["b_dec"],) = need(tensors, file, bias)
    matrices = ("W_enc", "W_dec") if square else ("encoder.weight", "decoder.weight")
    parts["W_enc"], parts["W_dec"] = encoder_and_decoder(
        tensors, file, len(parts["b_enc"]), *matrices
    )
    their_k = trainer.take("k")
    numbers = tensors["k"].flatten().tolist() if "k" in tensors else None
    own_k = numbers[0] if numbers is not None and len(numbers) == 1 else numbers
    if own_k is not None and their_k is not None and own_k != their_k:
        raise SubjectError(f"{where} says k {their_k}, {file.name} {own_k}; correct one")
    k = their_k if own_k is None else own_k
    subtracts = trainer.flag("apply_b_dec_to_input")
    if activation == "jumprelu" and subtracts is not None:
        subtract = subtracts
    elif subtracts not in (None, subtract):
        raise SubjectError(f"{where}: a {name} with apply_b_dec_to_input {subtracts} is unknown")
    notes = []
    if activation == "jumprelu":
        (parts["threshold"],) = need(tensors, file, "threshold")
    if activation == "batchtopk":
        (threshold,) = need(tensors, file, "threshold")
        if threshold.numel() != 1:
            raise SubjectError(f"{file}: threshold is {tuple(threshold.shape)}, not one number")
        if threshold >= 0:
            parts["threshold"] = threshold
        else:
            activation = "topk"
            notes.append(
                "its BatchTopK threshold was never calibrated (-1): read as TopK with the same k, "
                "where dictionary_learning itself would read it as ReLU"
            )
    if "dict_class" in repeated and (norm := beside.number("norm_factor")) is not None:
        # A backup is of inputs divided by it; what is saved otherwise has it in its biases.
        scaled = {"b_enc", "b_dec", "b_gate", "threshold"} & parts.keys()
        parts |= {part: parts[part] * norm for part in scaled}
        notes.append("a backup of a training that did not come to its end")
    if name == "AutoEncoder" and not _is_unit_length(parts["W_dec"]):
        notes.append(
            "its decoder vectors are not of length 1: activations are as stored, where "
            "dictionary_learning's loader multiplies those of each latent by its vector's length"
        )
    if name == "AutoEncoderTopK" and "threshold" in tensors:
        tensors["threshold"]  # of another way to encode, which is not the class's own
    if activation == "topk" or k is not None:
        k = latents_a_token(k, flags, where)
    sae = SparseAutoencoder(**parts, subtract_b_dec=subtract, activation=activation, k=k)
    sizes = {"activation_dim": sae.d_in, "dict_size": sae.d_sae}
    for key, size in sizes.items():
        if trainer.whole(key) not in (None, size):
            raise SubjectError(
                f"{where} says {key} {trainer.whole(key)}, the tensors have {size}; fetch the "
                "files of one SAE"
            )
    trainer.take("norm_factor")  # folded into the biases when it was saved
    hook, layer = trainer.text("submodule_name"), trainer.whole("layer")
    buffer = Recorded(table(config.get("buffer"), "buffer", where), where)
    if "layer" in buffer and "io" not in buffer:  # its HeadActivationBuffer
        raise SubjectError(
            f"{where}: trained on one attention head alone, and a site here has all heads; choose "
            "an SAE of all heads"
        )
    if buffer.take("io", default="out") not in ("out", "in"):
        raise SubjectError(
            f"{where}: trained to map a module's input to its output (io {buffer.take('io')}), a "
            "transcoder, which this format does not tell apart; pass the object to "
            "autointerp.harvest"
        )
    kept = (whole, trainer, buffer, beside, tensors)
    left = [said for part in kept for said in part.left_over()]
    return LoadedAutoencoder(
        sae,
        "dictionary_learning",
        folder,
        model=trainer.text("lm_name"),
        site=_site(hook, layer, buffer.take("io")),
        hook=hook,
        layer=layer,
        context_size=buffer.whole("ctx_len"),
        l0=None if sae.k is None else float(sae.k),
        notes=(*notes, *refused(left, folder, flags.strict)),
        has_training=trainer.has_training,
        beside=() if file == folder / "ae.pt" else (file,),
    )


def _is_unit_length(W_dec: torch.Tensor) -> bool:
    """Return whether the rows of a decoder, [d_sae, d_out], have length 1."""
    lengths = W_dec.float().norm(dim=1)
    return bool(torch.allclose(lengths, torch.ones_like(lengths)))


def _site(hook: str | None, layer: int | None, io: Any) -> str | None:
    """Return the site of a submodule's name, such as `resid_post_layer_8` or a module's path."""
    if hook is None or io == "in":
        return None
    probable = probable_site(hook)
    if probable is None and layer is not None and hook.startswith("resid_post"):
        return f"layers.{layer}.residual"
    return probable
