"""Training of an SAE on any causal language model, and of its untrained twin's."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp import __version__
from autointerp.errors import BadInput, CorpusError, StorageError
from autointerp.files import partial_file, write_text
from autointerp.settings import SubjectSettings
from autointerp.store.tables import save_table
from autointerp.subjects.assembled import (
    begins_with_bos,
    corpus_of,
    note_of_bos,
    tokenizer_at,
)
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.corpora import Corpus
from autointerp.subjects.hooks import hooks_in_layer
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.one_layer import OneLayerTransformer, load_one_layer
from autointerp.subjects.places import RECORD
from autointerp.subjects.pretrained import load_language_model
from autointerp.subjects.training.activations import ActivationWindows
from autointerp.subjects.training.clusters import draw_clusters, train_on_points
from autointerp.subjects.training.events import Measuring, Noted, OnTrainingEvent, ignore
from autointerp.subjects.training.measures import measure
from autointerp.subjects.training.recipe import (
    ModelRecord,
    SaeRecipe,
    TrainingRecord,
    differing,
    read_record,
)
from autointerp.subjects.training.sae import SaeTraining
from autointerp.subjects.training.sae import train_sae as train_one_layer_sae
from autointerp.subjects.training.spliced_measures import SpliceMeasures, measure_spliced
from autointerp.subjects.training.streamed_sae import CHECKPOINT, train_streamed_sae
from autointerp.subjects.untrained import rerandomise, untrained_one_layer, weights_digest
from autointerp.subjects.windows import load_documents

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
    for note in (*corpus.notes, *(note_of_bos(model) if bos else [])):
        on(Noted(note))
    recipe = make_recipe(model.site, corpus.digest, longest, bos)
    weights = ModelRecord(subject.model, subject.revision, subject.dtype, model.digest)
    return _trained(model, corpus, subject, weights, recipe, folder, on)


def train_untrained(
    of: Path,
    folder: Path,
    *,
    seed: int = 0,
    keep_embeddings: bool = False,
    step0: str = "",
    model: str = "",
    corpus: str = "",
    device: str = "cpu",
    on: OnTrainingEvent = ignore,
) -> TrainedSae:
    """Train the SAE of the untrained twin of the model that the SAE in `of` was trained on.

    The recipe is that SAE's, to the letter; only the model's weights differ: drawn again by
    `seed`, or those of the revision `step0`. `model` and `corpus` say where these are now, if they
    were moved; what is read must be the same.

    Raises BadInput if `of` holds no SAE of a trained model, or if model or text are not the same.
    """
    record = read_record(of)
    if record.model.weights != "trained":
        raise BadInput(f"{of} holds an SAE of a twin already; name the trained model's SAE")
    if folder.resolve() == of.resolve():
        raise BadInput(f"-o {folder} is the folder of the trained model's SAE; give another")
    weights = replace(
        record.model,
        weights="step0" if step0 else "rerandomised",
        weights_seed=0 if step0 else seed,
        keeps_embeddings=keep_embeddings,
        revision=step0 or record.model.revision,
    )
    if isinstance(record.recipe, SaeTraining):
        if step0 or model:
            raise BadInput("--step0 and --model are for models of the hub; leave them out")
        return _trained_one_layer(of, record.recipe, weights, folder, corpus, device, on)
    recipe = record.recipe
    subject = SubjectSettings(
        model=model or record.model.name,
        revision=record.model.revision,
        site=recipe.site,
        tokenizer=recipe.tokenizer,
        corpus=corpus or recipe.corpus,
        corpus_field=recipe.corpus_field,
        corpus_separator=recipe.corpus_separator,
        device=device,
        dtype=record.model.dtype,
    )
    text = corpus_of(subject)
    if text.digest != recipe.corpus_digest:
        raise BadInput(
            f"{subject.corpus} is not the text that the SAE in {of} was trained on; give it as "
            "--corpus"
        )
    if step0:
        twin = _model(replace(subject, revision=step0))
    else:
        twin = _model(subject)
        if twin.digest != record.model.digest:
            raise BadInput(
                f"{subject.model} is not the model that the SAE in {of} was trained on; give it as "
                "--model"
            )
        rerandomise(twin.model, seed, keep_embeddings)
        twin.__dict__.pop("digest")  # it was that of the trained weights
    weights = replace(weights, digest=twin.digest)
    return _trained(twin, text, subject, weights, recipe, folder, on)


def _trained_one_layer(
    of: Path,
    recipe: SaeTraining,
    weights: ModelRecord,
    folder: Path,
    corpus: str,
    device: str,
    on: OnTrainingEvent,
) -> TrainedSae:
    trained = load_one_layer(of / "transformer.safetensors", device)
    twin = untrained_one_layer(trained, weights)
    weights = replace(weights, digest=weights_digest(twin))
    if (there := _stored(folder, weights, recipe)) is not None:
        return there
    documents = load_documents(Path(corpus) if corpus else of / "train.npz")
    sae = train_one_layer_sae(twin, documents, recipe, folder, device, on)
    record = one_layer_record(twin, sae, weights, recipe, of, device)
    record.write(folder)
    return TrainedSae(folder, record)


def one_layer_record(
    model: OneLayerTransformer,
    sae: SparseAutoencoder,
    weights: ModelRecord,
    recipe: SaeTraining,
    beside: Path,
    device: str,
) -> TrainingRecord:
    """Return the record of an SAE of the one-layer transformer, measured where `beside` has text
    that was held out."""
    heldout = next((p for n in ("heldout", "corpus") if (p := beside / f"{n}.npz").exists()), None)
    if heldout is None:
        return TrainingRecord(weights, recipe)
    figures = measure(model, sae.to(device), load_documents(heldout), device)
    recovers = figures.loss_zero > figures.loss
    return TrainingRecord(
        weights,
        recipe,
        SpliceMeasures(
            tokens=figures.tokens,
            l0=figures.l0,
            dead_share=figures.dead,
            variance_explained=figures.explained,
            loss_tokens=figures.tokens,
            loss=figures.loss,
            loss_reconstructed=figures.loss_reconstructed,
            loss_zeroed=figures.loss_zero,
            loss_recovered=figures.loss_recovered if recovers else None,
        ).as_json(),
    )


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
    if (there := _stored(folder, weights, recipe)) is not None:
        return there
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


def _stored(
    folder: Path, weights: ModelRecord, recipe: SaeRecipe | SaeTraining
) -> TrainedSae | None:
    """Return what a complete training left in the folder; None where there is none.

    Raises BadInput if it is of another recipe, or of other weights, wherever these come from.
    """
    if not (folder / RECORD).exists():
        return None
    there = read_record(folder)
    places = {"name": "", "revision": ""}
    drawn = [replace(one, digest="", **places) for one in (there.model, weights)]  # type: ignore[arg-type]
    digests = [replace(one, **places) for one in (there.model, weights)]  # type: ignore[arg-type]
    other = differing(there.recipe, recipe) or differing(*drawn) or differing(*digests)
    if other is not None:
        raise BadInput(
            f"{folder} holds an SAE trained with {other}; give the same settings, or another -o"
        )
    return TrainedSae(folder, there, was_there=True)


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
        "sae_lens_version": "6.0.0",  # whose form this is: without it SAELens takes an older one
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


def make_clusters(folder: Path, clusters: int = 8, points: int = 500, seed: int = 0) -> str:
    """Write points in clusters and their SAE into `folder`; return what was made, and the commands
    that go on from there.

    Raises BadInput for numbers out of range, StorageError where it cannot be written.
    """
    drawn = draw_clusters(clusters, points, seed)
    sae = train_on_points(drawn.points, clusters, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder} ({error.strerror}); choose another") from None
    with partial_file(folder / "points.npz") as partial:
        drawn.recording.save(partial)
    with partial_file(folder / "sae.safetensors") as partial:
        sae.save(partial)
    frame = pd.DataFrame(
        {"document": np.arange(len(drawn.cluster)), "position": 0, "cluster": drawn.cluster}
    )
    save_table(frame, folder / "labels")
    write_text(
        folder / "autointerp.toml",
        '[subject]\nmodel = "points.npz"\nsite = "recorded"\nsae = "sae.safetensors"\n',
    )
    subject = shlex.quote(str(folder / "autointerp.toml"))
    labels = shlex.quote(f"{folder / 'labels.parquet'}:cluster")
    return (
        f"{folder}: {len(drawn.cluster):,} points in {clusters} clusters, an SAE of {clusters} "
        f"features\nautointerp harvest --subject {subject} --run points --n 4 --controls 0\n"
        f"autointerp concepts {labels} --run points"
    )
