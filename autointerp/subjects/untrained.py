"""The untrained twin of a model: the same architecture with weights that were never trained.

What an SAE finds in it cannot have been learnt by the model, so it is what features are compared
with. Source: Heap, Lawson, Farnik, Aitchison 2025, "Automated Interpretability Metrics Do Not
Distinguish Trained and Random Transformers", arXiv 2501.17727: parameters drawn again, with and
without the embeddings, and the checkpoint of step 0.
"""

from __future__ import annotations

import copy
import hashlib
import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autointerp.errors import SubjectError
from autointerp.settings import SubjectSettings
from autointerp.subjects import SiteModel, file_digest
from autointerp.subjects.autoencoder import Encoder, load_autoencoder
from autointerp.subjects.formats import load_sae
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.one_layer import OneLayerSite, OneLayerTransformer
from autointerp.subjects.places import RECORD, SAE
from autointerp.subjects.pretrained import load_language_model
from autointerp.subjects.training.recipe import (
    ModelRecord,
    TrainingRecord,
    read_record,
)


@dataclass(frozen=True)
class UntrainedTwin:
    """A twin that can be read at the site, and the SAE that was trained on it."""

    model: SiteModel
    sae: Encoder


@torch.no_grad()
def rerandomise(model: nn.Module, seed: int, keep_embeddings: bool) -> None:
    """Draw each parameter again, from a normal distribution of its own mean and standard deviation.

    Norms and biases are drawn too, as in the paper's code. What a tensor gets depends on `seed` and
    its name alone: neither on the others, nor on device or data type.
    """
    kept = set(map(id, _embeddings(model))) if keep_embeddings else set()
    for name, parameter in model.named_parameters():
        if id(parameter) in kept:
            continue
        values = parameter.detach().double().cpu()
        # In float32, so that the order in which threads add up does not show.
        mean, deviation = np.float32(values.mean()), np.float32(values.std(correction=0))
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        drawn = rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
        parameter.copy_(torch.from_numpy(np.asarray(drawn * deviation + mean)))


def _embeddings(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the parameters of embeddings: of tokens and positions, and of the unembedding."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield module.weight
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if isinstance(head, nn.Module):
        yield from head.parameters()
    for name, parameter in model.named_parameters():
        if "embed" in name.lower() or name.rpartition(".")[2] == "positions":
            yield parameter


def untrained_one_layer(trained: OneLayerTransformer, weights: ModelRecord) -> OneLayerTransformer:
    """Return the twin of the one-layer transformer."""
    twin = copy.deepcopy(trained)
    rerandomise(twin, weights.weights_seed, weights.keeps_embeddings)
    return twin


def weights_digest(model: nn.Module) -> str:
    """Return the sha256 of names, shapes and values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def untrained_language_model(
    settings: SubjectSettings, site: str, weights: ModelRecord
) -> HookedLanguageModel:
    """Return the twin of the model that the settings name, made as `weights` says."""
    is_step0 = weights.weights == "step0"
    model = load_language_model(
        settings.model,
        site,
        device=settings.device,
        dtype=weights.dtype,
        device_map=settings.device_map or None,
        revision=(weights.revision if is_step0 else settings.revision) or None,
        trust_remote_code=settings.trust_remote_code,
    )
    if not is_step0:
        rerandomise(model.model, weights.weights_seed, weights.keeps_embeddings)
    return model


def twin_record(folder: Path, site: str) -> TrainingRecord:
    """Return the record of the twin in `folder`, whose SAE must be of `site`.

    Raises SubjectError if it holds none, or one of a trained model or of another site.
    """
    record = read_record(folder)
    if record.model.weights == "trained":
        raise SubjectError(
            f"{folder} holds an SAE of the trained model; make the twin's with "
            f"`autointerp train untrained {shlex.quote(str(folder))}`, and name its folder"
        )
    recorded = record.site
    if recorded != site:
        raise SubjectError(
            f"{folder} holds an SAE of the twin at {recorded}, not at {site}; train one there"
        )
    return record


def twin_digest(folder: Path) -> str:
    """Return the sha256 of a twin's SAE and of how twin and SAE were made."""
    weights = next(
        path
        for name in ("sae_weights.safetensors", SAE, RECORD)
        if (path := folder / name).exists()
    )
    parts = [file_digest(weights), file_digest(folder / RECORD)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


@torch.inference_mode(mode=False)  # loaded when it is first read, and used for gradients later
def load_twin(
    folder: Path, settings: SubjectSettings, trained: HookedLanguageModel
) -> UntrainedTwin:
    """Return the twin in `folder` of the model that the settings name, which is loaded once more.

    Raises SubjectError if the twin that is made is not the one that the SAE was trained on.
    """
    record = twin_record(folder, trained.site)
    model = untrained_language_model(settings, trained.site, record.model)
    _check_same(model.digest, record, folder)
    model.tokenizer = trained.tokenizer
    sae = load_sae(str(folder)).sae
    model.check_width(sae.d_in, str(folder))
    probe = torch.zeros(1, 2, dtype=torch.long)
    device = model.activations(probe, probe == 0).device
    return UntrainedTwin(model, sae.to(str(device)))


@torch.inference_mode(mode=False)
def load_one_layer_twin(
    folder: Path, trained: OneLayerTransformer, site: str, device: str
) -> UntrainedTwin:
    """Return the twin in `folder` of the one-layer transformer.

    Raises SubjectError if it is not the one that the SAE was trained on.
    """
    record = twin_record(folder, site)
    twin = untrained_one_layer(trained, record.model)
    _check_same(weights_digest(twin), record, folder)
    sae = load_autoencoder(folder / SAE, device)
    if sae.d_in != trained.config.d_mlp:
        raise SubjectError(
            f"{folder} reads {sae.d_in} activations, the site has {trained.config.d_mlp}; "
            "give an SAE of this model's twin"
        )
    return UntrainedTwin(OneLayerSite(twin), sae)


def _check_same(digest: str, record: TrainingRecord, folder: Path) -> None:
    if digest != record.model.digest:
        raise SubjectError(
            f"{folder} was trained on the twin of another model than the subject's "
            f"({record.model.name}); make it again with `autointerp train untrained`"
        )
