"""A Hugging Face model, an SAE and documents, checked against each other and put together."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch

from autointerp.errors import SettingsError, SubjectError
from autointerp.settings import SubjectSettings
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import Encoder, SparseAutoencoder
from autointerp.subjects.corpora import Corpus, Document, open_corpus, stream_windows
from autointerp.subjects.corpora import Options as CorpusOptions
from autointerp.subjects.corpora._documents import files_digest
from autointerp.subjects.formats import Flags, LoadedAutoencoder, load_sae
from autointerp.subjects.hub import no_copy, out_of_reach
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.pretrained import load_language_model
from autointerp.subjects.token_cache import cached_documents
from autointerp.subjects.tokenizers import load_tokenizer, vocabulary_digest
from autointerp.subjects.untrained import load_twin, twin_digest, twin_record

# Names that libraries of SAEs use for a model, and the hub's.
ALIASES = {"gpt2-small": "gpt2"}


def assemble(
    settings: SubjectSettings, beside: Subject | None = None, tokens: Path | None = None
) -> Subject:
    """Return the subject of a Hugging Face model; that of `beside` is used again, if it is given.

    `tokens` is the folder where the token ids of texts are kept; None keeps none.

    Raises SubjectError, SettingsError or CorpusError if a part is missing, broken or does not fit
    the others; every check that needs no batch runs here.
    """
    if not settings.corpus:
        raise SettingsError(
            "[subject] names no corpus; give text, JSONL, Parquet, tokens or a dataset's hub id"
        )
    corpus = corpus_of(settings)
    loaded = sae_of(settings)
    if beside is not None and isinstance(beside.model, HookedLanguageModel):
        model = beside.model.elsewhere(settings.site, settings.neurons == "hidden")
    else:
        model = load_language_model(
            settings.model,
            settings.site,
            device=settings.device,
            dtype=settings.dtype,
            device_map=settings.device_map or None,
            revision=settings.revision or None,
            hidden=settings.neurons == "hidden",
            trust_remote_code=settings.trust_remote_code,
        )
        if settings.tokenizer:
            model.tokenizer = tokenizer_at(settings.tokenizer)
    notes = [*model.notes, *corpus.notes]
    if begins_with_bos(settings.bos, loaded, model):
        notes += note_of_bos(model)
    if loaded is not None:
        notes += check_fit(loaded, model, settings.check_sae, settings.revision)
        notes += _of_bos(settings.bos, loaded, model)
        loaded = dataclasses.replace(loaded, sae=as_trained(loaded, model))
    digests = {
        "model": model.digest,
        "corpus": corpus.digest,
        "tokenizer": vocabulary_digest(model.token_texts),
    }
    if loaded is not None:
        digests["sae"] = sae_digest(loaded)
    if model.hidden is not None:
        where = f"{model.digest}/{model.hidden.site}"
        digests["neurons"] = hashlib.sha256(where.encode()).hexdigest()
    untrained = None
    if settings.untrained:
        folder = Path(settings.untrained)
        twin_record(folder, model.site)  # what it is must not be found out after a harvest
        digests["untrained"] = twin_digest(folder)
        untrained = cache(lambda: load_twin(folder, settings, model))
    documents: Callable[[], Iterable[Document]] = corpus.documents
    if tokens is not None:
        documents = cached_documents(corpus, model.tokenizer, model.tokenise, tokens)
    subject = subject_of(
        model,
        documents,
        sae=None if loaded is None else loaded.sae,
        bos=begins_with_bos(settings.bos, loaded, model),
        digests=digests,
    )
    return dataclasses.replace(
        subject,
        loaded=loaded,
        notes=tuple(notes),
        length=lambda: corpus.length(model.tokenise),
        untrained=untrained,
    )


def subject_of(
    model: HookedLanguageModel,
    documents: Callable[[], Iterable[Document]],
    *,
    sae: Encoder | None,
    bos: bool,
    digests: dict[str, str],
) -> Subject:
    """Return the subject of a loaded model and of documents that can be read again and again."""
    probe = torch.zeros(1, 2, dtype=torch.long)
    device = str(model.activations(probe, probe == 0).device)  # under a device map, the site's own
    special = model.special_ids
    bos_id = model.bos if bos else None
    return Subject(
        name=model.name,
        model=model,
        site=model.site,
        d_site=model.d_site,
        signed=model.signed,
        sae=sae.to(device) if sae is not None else None,
        special=special if bos_id is None else special | {bos_id},
        token_texts=model.token_texts,
        cut=lambda length, rows: stream_windows(
            documents(), model.tokenise, length, bos_id, model.pad, rows,
            vocabulary=model.vocabulary,
        ),
        longest=model.context_length,
        device=device,
        digests=digests,
        begins_with_bos=bos_id is not None,
        hidden=model.hidden,
        read_both=None if model.hidden is None else model.with_hidden,
        tokenise=model.tokenise,
        bos=bos_id,
    )  # fmt: skip


def corpus_of(settings: SubjectSettings) -> Corpus:
    """Return the corpus that the settings name. Raises CorpusError if there is none."""
    separator = None if settings.corpus_separator < 0 else settings.corpus_separator
    return open_corpus(
        settings.corpus,
        seed=None if settings.corpus_seed < 0 else settings.corpus_seed,
        options=CorpusOptions(settings.corpus_field, separator),
    )


def sae_of(settings: SubjectSettings) -> LoadedAutoencoder | None:
    """Return the SAE that the settings name, or None. Raises SubjectError if it is broken."""
    if not settings.sae:
        return None
    flags = Flags(
        subtract_b_dec={"yes": True, "no": False}.get(settings.subtract_b_dec),
        input_scale=settings.input_scale or None,
        k=settings.k or None,
        layout=settings.sae_layout or None,
        strict=settings.check_sae,
    )
    return load_sae(settings.sae, settings.sae_format or None, flags)


def tokenizer_at(place: str) -> Any:
    """Return the tokenizer in a tokenizer.json or a folder. Raises SubjectError if it is none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if place.endswith(".json"):
        backend = load_tokenizer(Path(place)).backend
        return cast(Any, PreTrainedTokenizerFast)(tokenizer_object=backend)
    unreachable = None if Path(place).is_dir() else out_of_reach()
    try:
        return AutoTokenizer.from_pretrained(
            place, local_files_only=bool(unreachable), trust_remote_code=False
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if unreachable:
            raise SubjectError(f"no tokenizer: {no_copy(place, unreachable)}") from None
        reason = " ".join(str(error).split())[:150]
        raise SubjectError(
            f"{place} is not a tokenizer ({reason}); give a tokenizer.json or a tokenizer's folder"
        ) from None


def begins_with_bos(bos: str, loaded: LoadedAutoencoder | None, model: HookedLanguageModel) -> bool:
    """Return whether windows begin with BOS.

    Raises SettingsError if the setting asks for it and the tokenizer has none.
    """
    if bos == "yes" and model.bos is None:
        raise SettingsError(
            f"subject.bos = 'yes': the tokenizer of {model.name} has no BOS; use auto or no"
        )
    if bos == "auto" and loaded is not None and loaded.prepend_bos is not None:
        return loaded.prepend_bos and model.bos is not None
    return bos != "no" and model.bos is not None


def note_of_bos(model: HookedLanguageModel) -> list[str]:
    """Return a note where windows begin with a BOS that the tokenizer says nothing of."""
    if model.bos is None or model.tokenizer_says_bos:
        return []
    return [
        f"the files of the tokenizer of {model.name} say nothing of BOS: windows begin with "
        f"{model.token_texts[model.bos]}, the bos_token_id of the model's configuration; "
        'subject.bos = "no", or "bos_token": null in its tokenizer_config.json, leaves it out'
    ]


def _of_bos(bos: str, loaded: LoadedAutoencoder, model: HookedLanguageModel) -> list[str]:
    """Return a note where windows do not begin as those of the SAE's training did."""
    if loaded.prepend_bos is None or begins_with_bos(bos, loaded, model) == loaded.prepend_bos:
        return []
    trained = "with" if loaded.prepend_bos else "without"
    why = f"subject.bos is {bos}" if bos != "auto" else f"the tokenizer of {model.name} has none"
    return [f"it was trained on windows that begin {trained} BOS; {why}"]


def as_trained(loaded: LoadedAutoencoder, model: HookedLanguageModel) -> SparseAutoencoder:
    """Return the SAE for this model's activations, where it was trained on a processed model's.

    TransformerLens can take from all that is written into the residual stream its mean over the
    axes, which changes nothing for a model of layer norms; then the encoder does so here.
    """
    if loaded.centres and model.architecture.has_layer_norms and model.is_in_stream:
        return loaded.sae.centred()
    return loaded.sae


def check_fit(
    loaded: LoadedAutoencoder, model: HookedLanguageModel, strict: bool, revision: str = ""
) -> list[str]:
    """Return notes on how an SAE fits this model, a sentence each.

    Raises SubjectError if its width is not the site's, or, if `strict`, if its files record
    another site, model or revision, or a model that TransformerLens had changed at this site.
    """
    remedy = "; correct the settings, or set subject.check_sae = false"
    notes = [*loaded.notes]

    def contradicts(text: str, note: str) -> None:
        if strict:
            raise SubjectError(f"{loaded.path} was trained {text}{remedy}")
        notes.append(note)

    other = other_site(loaded, model)
    if other is not None:
        is_hook = loaded.site is not None and str(loaded.hook).startswith("blocks.")
        said = f" (its files say {loaded.hook})" if is_hook else ""
        contradicts(
            f"at {other}, not at {model.site}{said}",
            f"it was trained at {other}, and is read at {model.site}",
        )
    model.check_width(loaded.sae.d_in, str(loaded.path))
    if loaded.model is not None and not same_model(loaded.model, model.name):
        mismatch = f"on {loaded.model}, not on {model.name}"
        if Path(model.name).exists():  # a folder may be called anything
            notes.append(f"{loaded.path} was trained {mismatch}")
        else:
            contradicts(mismatch, f"{loaded.path} was trained {mismatch}")
    if loaded.revision and loaded.revision != (revision or "main"):
        mismatch = f"on revision {loaded.revision} of the model, not on {revision or 'the newest'}"
        if Path(model.name).exists():
            notes.append(f"{loaded.path} was trained {mismatch}")
        else:
            contradicts(mismatch, f"{loaded.path} was trained {mismatch}")
    if model.site.endswith("attention.heads"):
        changes = {"fold_value_biases", "refactor_factored_attn_matrices"} & {*loaded.processed}
        if changes:
            what = f"on heads that TransformerLens had changed ({', '.join(sorted(changes))})"
            contradicts(what, f"it was trained {what}")
    return notes


def other_site(loaded: LoadedAutoencoder, model: HookedLanguageModel) -> str | None:
    """Return where the SAE was trained, if its files record that and it is not the model's site."""
    if loaded.site is not None:
        if model.is_at(loaded.site):
            return None
        return model.name_of(loaded.site)
    if loaded.hook is not None:
        return f"'{loaded.hook}', which is no site of this version"
    layer = re.search(r"\.(\d+)(\.|$)", model.site)
    if loaded.layer is None or layer is None or int(layer[1]) == loaded.layer:
        return None
    return f"layer {loaded.layer}"


def same_model(name: str, other: str) -> bool:
    """Return whether two names are of the same model, the owner on the hub and the case aside."""

    def short(name: str) -> str:
        last = name.rstrip("/").rsplit("/", 1)[-1].lower()
        return ALIASES.get(last, last)

    return short(name) == short(other)


def sae_digest(loaded: LoadedAutoencoder) -> str:
    """Return the sha256 of the files that an SAE was read from."""
    path = loaded.path
    files: Sequence[Path] = [path] if path.is_file() else sorted(path.iterdir())
    return files_digest([*(file for file in files if file.is_file()), *loaded.beside])
