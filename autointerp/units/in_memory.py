"""A harvest from objects in memory: a model in a training loop, its tokens, its SAE."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import BadInput, CorpusError, SubjectError
from autointerp.records import HarvestedUnit
from autointerp.settings import HarvestSettings, SampleSettings, plain_number
from autointerp.subjects import Subject
from autointerp.subjects.assembled import as_trained, check_fit, subject_of
from autointerp.subjects.autoencoder import Encoder, SparseAutoencoder
from autointerp.subjects.checkpoints import unwrapped
from autointerp.subjects.corpora import Document
from autointerp.subjects.formats import (
    AdaptedEncoder,
    LoadedAutoencoder,
    check_activations,
    load_sae,
)
from autointerp.subjects.hooks import site_of_hook
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.units.first_batches import holding_first_batches
from autointerp.units.passes import Wanted
from autointerp.units.passes import harvest as harvest_units
from autointerp.units.sources import load_source
from autointerp.units.stream import calibrate

CHECKED_TOKENS = 4096  # of the calibration, on which the SAE is held against its files
_MEASURING = threading.RLock()  # held by the thread that measures
Tokens = Any  # a tensor or array [rows, tokens], or a sequence of those of one dimension


def harvest(
    model: Any,
    tokens: Tokens,
    *,
    sae: Any = None,
    site: str = "",
    neurons: str = "",
    units: Mapping[str, int | Sequence[int]] | None = None,
    tokenizer: Any = None,
    attention: Any = None,
    bos: bool | None = None,
    settings: HarvestSettings = HarvestSettings(),
    seed: int = 0,
    min_density: float = 0.0,
    max_density: float = 1.0,
) -> list[HarvestedUnit]:
    """Return units of a model in memory, each with its density, outcome and contexts.

    The model and the SAE are left as they were: neither training mode nor gradients change.

    Args:
        model: A Hugging Face causal LM, or a `HookedLanguageModel`.
        tokens: Token ids: [rows, tokens], a row a document, or a sequence of documents.
        sae: An object with `.encode(x) -> [..., latents]`, a SparseAutoencoder, or the path or hub
            id of one; None for none.
        site: Where activations are read, such as `layers.3.mlp`; a `HookedLanguageModel` has one.
        neurons: `hidden` for the hidden neurons of the site's layer as the source `neurons`; empty
            for the axes of the site. A `HookedLanguageModel` says it by itself.
        units: Of each source, the numbers of the units or how many to draw; by default 200
            features, or 200 neurons where there is no SAE.
        tokenizer: For the tokens' texts; without one they are `<id>`.
        attention: [rows, tokens] False on padding, on either side; without it, ids at either end
            of a row that are the tokenizer's padding are taken for that.
        bos: Whether windows begin with BOS; None for whether there is one.

    Raises SubjectError if site, model and SAE do not fit together, or what an SAE's files record is
    contradicted (load it with `Flags(strict=False)` to read it all the same); CorpusError if there
    are fewer than 2,000 tokens or ids beyond the vocabulary; BadInput for units that are not there,
    and for densities between which none can be.
    """
    SampleSettings(min_density, max_density)  # raises where nothing could pass
    seed = plain_number(seed)
    with left_as_found(model, sae):
        subject, documents = subject_in_memory(
            model,
            tokens,
            sae=sae,
            site=site,
            neurons=neurons,
            tokenizer=tokenizer,
            attention=attention,
            bos=bos,
        )
        if not settings.window:
            settings = replace(settings, window=fitting_window(subject, documents))
        (subject,) = holding_first_batches(subject)
        calibration = calibrate(subject, settings, seed)
        if subject.loaded is not None:
            check_activations(subject.loaded, calibration.activations[:CHECKED_TOKENS].cpu())
        wanted = []
        for name, which in (units or {"neurons" if sae is None else "features": 200}).items():
            source = load_source(name, subject, calibration, seed)
            wanted.append(Wanted(name, source, *_numbers(name, which, source.size, seed)))
        return harvest_units(subject, wanted, settings, seed, min_density, max_density)


def subject_in_memory(
    model: Any,
    tokens: Tokens,
    *,
    sae: Any = None,
    site: str = "",
    neurons: str = "",
    tokenizer: Any = None,
    attention: Any = None,
    bos: bool | None = None,
) -> tuple[Subject, list[NDArray[np.int64]]]:
    """Return model, tokens and SAE as a subject without digests, and its documents.

    Arguments are those of `harvest`.

    Call it, and use what it returns, within `left_as_found`. Raises as `harvest` does.
    """
    sae = unwrapped(sae)
    hooked = _hooked(unwrapped(model), tokenizer, site, neurons)
    documents = _documents(tokens, attention, hooked)
    loaded = _loaded(sae, hooked)
    encoder = _encoder(sae if loaded is None else loaded.sae, hooked)
    return replace(_subject(hooked, documents, encoder, bos), loaded=loaded), documents


def fitting_window(subject: Subject, documents: Sequence[NDArray[np.int64]]) -> int:
    """Return the length of windows of which no row is padded beyond the longest document."""
    longest = max((len(ids) for ids in documents), default=0) + subject.begins_with_bos
    return max(2, min(longest, subject.longest, 1024))


def _hooked(model: Any, tokenizer: Any, site: str, neurons: str) -> HookedLanguageModel:
    if neurons not in ("", "hidden"):
        raise BadInput(f"neurons={neurons!r}: give 'hidden', or leave it out")
    if isinstance(model, HookedLanguageModel):
        if neurons and model.hidden is None:
            raise BadInput("neurons='hidden': make the HookedLanguageModel with hidden=True")
        if site and not model.is_at(site):
            raise SubjectError(f"site '{site}': the model given is read at {model.site}")
        return model
    if not site:
        raise SubjectError("no site: give where to read, such as site='layers.3.mlp'")
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "get_input_embeddings"):
        raise SubjectError(f"{type(model).__name__} is no model: give a Hugging Face causal LM")
    # What accelerate keeps on the disk is there while it is needed.
    if not hasattr(model, "hf_device_map") and any(p.is_meta for p in model.parameters()):
        raise SubjectError(
            f"{type(model).__name__} has weights on the device meta, which have no values: load "
            "them first"
        )
    return HookedLanguageModel(
        model, tokenizer or _Numbers(model), site, hidden=neurons == "hidden"
    )


class _Numbers:
    """Stands for a tokenizer where there is none: tokens are shown as their numbers."""

    def __init__(self, model: Any) -> None:
        size = int(model.get_input_embeddings().weight.shape[0])
        bos = getattr(model.config, "bos_token_id", None)
        self.bos_token_id = bos if isinstance(bos, int) and 0 <= bos < size else None
        self.all_special_ids = [] if self.bos_token_id is None else [self.bos_token_id]
        self._vocabulary = {f"<{index}>": index for index in range(size)}

    def get_vocab(self) -> dict[str, int]:
        return self._vocabulary


def _loaded(sae: Any, model: HookedLanguageModel) -> LoadedAutoencoder | None:
    """Return an SAE of files, held against the model that is read; None for another object."""
    if isinstance(sae, str | Path):
        sae = load_sae(sae)
    if not isinstance(sae, LoadedAutoencoder):
        return None
    check_fit(sae, model, sae.strict)
    return replace(sae, sae=as_trained(sae, model))


def _encoder(sae: Any, model: HookedLanguageModel) -> Encoder | None:
    if sae is None:
        return None
    _check_hook(sae, model)
    own = isinstance(sae, SparseAutoencoder | AdaptedEncoder)
    encoder: Encoder = sae if own else _adapted(sae, model)
    model.check_width(encoder.d_in)
    return encoder


def _check_hook(sae: Any, model: HookedLanguageModel) -> None:
    """Raise SubjectError if an object of SAELens says that it belongs to another site."""
    config = getattr(sae, "cfg", None)
    for holder in (getattr(config, "metadata", None), config):
        hook = getattr(holder, "hook_name", None)
        site = site_of_hook(hook)[0] if isinstance(hook, str) else None
        if site is not None and not model.is_at(site):
            raise SubjectError(
                f"{type(sae).__name__} was trained at {model.name_of(site)} ({hook}), not at "
                f"{model.site}; give that site"
            )


def _adapted(sae: Any, model: HookedLanguageModel) -> AdaptedEncoder:
    """Return the object as an encoder, its width taken for the site's where it says none."""
    try:
        return AdaptedEncoder(sae)
    except (SubjectError, RuntimeError, ValueError):
        if not callable(getattr(sae, "encode", None)):
            raise
    try:
        return AdaptedEncoder(sae, d_in=model.d_site)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise SubjectError(
            f"{type(sae).__name__} cannot encode the {model.d_site} activations of {model.site} "
            f"({reason})"
        ) from None


def _subject(
    model: HookedLanguageModel,
    documents: list[NDArray[np.int64]],
    encoder: Encoder | None,
    bos: bool | None,
) -> Subject:
    if bos and model.bos is None:
        raise BadInput("bos=True: the model's tokenizer has no BOS")
    return subject_of(
        model,
        lambda: [Document(index, ids) for index, ids in enumerate(documents)],
        sae=encoder,
        bos=model.bos is not None if bos is None else bos,
        digests={},
    )


def _documents(
    tokens: Tokens, attention: Any, model: HookedLanguageModel
) -> list[NDArray[np.int64]]:
    """Return the documents' ids without padding."""
    rows = [_array(row) for row in tokens]
    if attention is not None:
        masks = [_array(row).astype(bool) for row in attention]
        if [len(row) for row in rows] != [len(mask) for mask in masks]:
            raise CorpusError("attention is not of the same shape as tokens")
        return [row[mask] for row, mask in zip(rows, masks, strict=True)]
    padding = getattr(model.tokenizer, "pad_token_id", None)
    if padding is None:
        return rows
    kept = [np.flatnonzero(row != padding) for row in rows]
    return [
        row[where[0] : where[-1] + 1] if len(where) else row[:0]
        for row, where in zip(rows, kept, strict=True)
    ]


def _array(row: Any) -> NDArray[np.int64]:
    array = row.detach().cpu().numpy() if torch.is_tensor(row) else np.asarray(row)
    is_whole = array.dtype == bool or np.issubdtype(array.dtype, np.integer)
    if array.ndim != 1 or (array.size and not is_whole):
        raise CorpusError(
            f"tokens are whole numbers [rows, tokens] or a list of documents; a row is "
            f"{array.dtype} of {array.ndim} dimensions"
        )
    if array.size and array.min() < 0:
        raise CorpusError(f"token id {array.min()} is negative")
    return array.astype(np.int64)


def _numbers(
    name: str, which: int | Sequence[int], size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return unit numbers and their orders: those given, or as many drawn without replacement."""
    which = plain_number(which)
    if isinstance(which, bool | float | str):
        raise BadInput(f"units: {which!r} {name}; give how many, or a list of numbers")
    if isinstance(which, int):
        if which < 1:
            raise BadInput(f"units: {which} {name}; ask for at least 1")
        drawn = np.random.default_rng([seed, *name.encode()]).permutation(size)[:which]
        return drawn, np.arange(len(drawn))
    numbers = np.asarray(list(which), dtype=np.int64)
    wrong = numbers[(numbers < 0) | (numbers >= size)]
    if not len(numbers) or len(wrong):
        problem = f"{wrong[0]} is not from 0 to {size - 1}" if len(wrong) else "none is named"
        raise BadInput(f"units: of {name}, {problem}")
    if len(set(numbers.tolist())) < len(numbers):
        raise BadInput(f"units: of {name}, one is named twice")
    return numbers, np.arange(len(numbers))


@contextlib.contextmanager
def left_as_found(model: Any, sae: Any) -> Iterator[None]:
    """Put back training mode and gradients of a model, hooked or not, and of an SAE's modules, and
    the state of global generators of random numbers; autocast is off meanwhile.

    What is measured is then the same within a training loop and outside of it. One thread at a time
    measures: the hooks of two would catch each other's activations, and what the second found and
    put back would be the modes of the first.
    """
    with _MEASURING:
        held = getattr(sae, "__dict__", {}).values()  # of a wrapper that is no module itself
        whole = model.model if isinstance(model, HookedLanguageModel) else model
        objects = [one for one in (whole, sae, *held) if isinstance(one, torch.nn.Module)]
        modules = [module for one in objects for module in one.modules()]
        modes = [(module, module.training) for module in modules]
        gradients = [(p, p.requires_grad) for module in modules for p in module.parameters(False)]
        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()
        state_gpu = torch.cuda.get_rng_state_all() if on_gpu else []
        try:
            for one in objects:
                one.eval()
            with contextlib.ExitStack() as stack:
                for kind in ("cpu", "cuda") if on_gpu else ("cpu",):
                    stack.enter_context(torch.autocast(kind, enabled=False))
                yield
        finally:
            random.setstate(state[0])
            np.random.set_state(state[1])
            torch.set_rng_state(state[2])
            if on_gpu:
                torch.cuda.set_rng_state_all(state_gpu)
            for module, mode in modes:
                module.training = mode
            for parameter, wants in gradients:
                parameter.requires_grad_(wants)
