"""Training of an SAE on any causal language model, and of its untrained twin's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autointerp import __version__
from autointerp.errors import BadInput, CorpusError
from autointerp.files import partial_file, write_text
from autointerp.settings import SubjectSettings
from autointerp.subjects.assembled import begins_with_bos, corpus_of, tokenizer_at
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.corpora import Corpus
from autointerp.subjects.hooks import hooks_in_layer
from autointerp.subjects.language_model import HookedLanguageModel, load_language_model
from autointerp.subjects.training.activations import ActivationWindows
from autointerp.subjects.training.events import Measuring, OnTrainingEvent, ignore
from autointerp.subjects.training.recipe import (
    RECORD,
    ModelRecord,
    SaeRecipe,
    TrainingRecord,
    differing,
    read_record,
)
from autointerp.subjects.training.splicing import measure_spliced
from autointerp.subjects.training.streamed_sae import CHECKPOINT, train_streamed_sae

WEIGHTS = "sae_weights.safetensors"
LONGEST_WINDOW = 1024  # where none is asked for, as in a harvest


@dataclass(frozen=True)
class TrainedSae:
    """An SAE's folder, and what is recorded in it."""

    folder: Path
    record: TrainingRecord
    was_there: bool = False


def train_sae(
    subject: SubjectSettings,
    make_recipe: Callable[[str, str, int, bool], SaeRecipe],
    window: int,
    folder: Path,
    on: OnTrainingEvent = ignore,
) -> TrainedSae:
    """Train an SAE on the model, site and corpus of `subject`, and store it in `folder`.

    `make_recipe(site, corpus digest, window, begins with BOS)` gives the recipe, once the model is
    known. A training that was stopped goes on where it was; one that is complete is only read.

    Raises BadInput if the folder holds an SAE of another recipe or model.
    """
    corpus = corpus_of(subject)
    model = _model(subject)
    longest = min(window or LONGEST_WINDOW, model.context_length)
    bos = begins_with_bos(subject.bos, None, model)
    recipe = make_recipe(model.site, corpus.digest, longest, bos)
    weights = ModelRecord(subject.model, subject.revision, subject.dtype, model.digest)
    return _trained(model, corpus, subject, weights, recipe, folder, on)


def _model(subject: SubjectSettings) -> HookedLanguageModel:
    model = load_language_model(
        subject.model,
        subject.site,
        device=subject.device,
        dtype=subject.dtype,
        device_map=subject.device_map or None,
        revision=subject.revision or None,
        trust_remote_code=subject.trust_remote_code,
    )
    if subject.tokenizer:
        model.tokenizer = tokenizer_at(subject.tokenizer)
    return model


def _trained(
    model: HookedLanguageModel,
    corpus: Corpus,
    subject: SubjectSettings,
    weights: ModelRecord,
    recipe: SaeRecipe,
    folder: Path,
    on: OnTrainingEvent,
) -> TrainedSae:
    """Train by a recipe, measure and store; return at once what is complete already."""
    if (folder / RECORD).exists():
        there = read_record(folder)
        other = differing(there.recipe, recipe) or differing(
            replace(there.model, name="", revision=""), replace(weights, name="", revision="")
        )
        if other is not None:
            raise BadInput(
                f"{folder} holds an SAE trained with {other}; give the same settings, or another -o"
            )
        return TrainedSae(folder, there, was_there=True)
    # The measuring text is opened first: that it is missing must not be found out at the end.
    other_text = bool(recipe.heldout)
    measured_on = corpus_of(replace(subject, corpus=recipe.heldout)) if other_text else corpus
    heldout = ActivationWindows(
        model, measured_on, recipe.window, recipe.bos, None if other_text else True
    )
    _check_heldout(heldout)
    training = ActivationWindows(
        model, corpus, recipe.window, recipe.bos, None if other_text else False
    )
    sae = train_streamed_sae(training, recipe, {"model": weights.digest}, folder, on)
    figures = measure_spliced(
        heldout, sae, recipe.seed, on_read=lambda done, total: on(Measuring(done, total))
    )
    _store(sae, model, weights, recipe, folder)
    record = TrainingRecord(weights, recipe, figures.as_json())
    record.write(folder)  # last: it says that the rest is complete
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return TrainedSae(folder, record)


def _check_heldout(heldout: ActivationWindows) -> None:
    """Raise CorpusError now where there is no text to measure on."""
    if next(heldout.windows(0), None) is None:
        raise CorpusError(
            f"no document of {heldout.corpus.source} is held out to measure on: one in 50 is, by "
            "its content; give --heldout with other text"
        )


def _hook(model: HookedLanguageModel) -> str | None:
    """Return the TransformerLens hook of the model's site, None where it has none."""
    layer = re.search(r"\.(\d+)(\.|$)", model.site)
    hooks = hooks_in_layer(int(layer[1])) if layer else {}
    plainest_first = sorted(hooks, key=lambda hook: hook.count("."))
    return next((hook for hook in plainest_first if model.is_at(hooks[hook])), None)


def _store(
    sae: SparseAutoencoder,
    model: HookedLanguageModel,
    weights: ModelRecord,
    recipe: SaeRecipe,
    folder: Path,
) -> None:
    """Write the SAE as SAELens does since version 6: cfg.json and safetensors."""
    with partial_file(folder / WEIGHTS) as partial:
        sae.save(partial)
    hook = _hook(model)
    metadata: dict[str, Any] = {
        "model_name": Path(weights.name).name if Path(weights.name).exists() else weights.name,
        "hook_name" if hook else "hf_hook_name": hook or model.site,
        "context_size": recipe.window,
        "prepend_bos": recipe.bos,
        "autointerp_version": __version__,
        "training_tokens": recipe.steps * recipe.batch,
    }
    if weights.revision:
        metadata["model_from_pretrained_kwargs"] = {"revision": weights.revision}
    config: dict[str, Any] = {
        "architecture": "topk" if recipe.activation == "topk" else "standard",
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }
    if recipe.activation == "topk":
        config |= {"k": recipe.k, "rescale_acts_by_decoder_norm": False}
    write_text(folder / "cfg.json", json.dumps(config, indent=2) + "\n")
