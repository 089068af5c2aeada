"""Loading of a subject from its settings."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from autointerp.errors import CorpusError, SettingsError, SubjectError
from autointerp.files import check_readable_twice
from autointerp.settings import SubjectSettings
from autointerp.subjects import Subject, file_digest
from autointerp.subjects.corpora._documents import Length
from autointerp.subjects.places import (
    EMBEDDED,
    SAE,
    check_device,
    is_one_layer,
    no_trained_sae,
    require_places,
    sae_file,
)

if TYPE_CHECKING:
    from autointerp.subjects.autoencoder import Encoder
    from autointerp.subjects.formats import LoadedAutoencoder

ONE_LAYER_TAKES = (
    "model", "site", "sae", "check_sae", "untrained", "tokenizer", "corpus", "device",
)  # fmt: skip
RECORDED_TAKES = (
    "model", "site", "sae", "sae_format", "subtract_b_dec", "input_scale", "k", "sae_layout",
    "check_sae", "device",
)  # fmt: skip


def load_subject(
    settings: SubjectSettings, beside: Subject | None = None, tokens: Path | None = None
) -> Subject:
    """Return the subject that the settings name.

    `beside`: One of the same model, corpus and device, whose model is used again, at whatever site.
    `tokens`: Folder where the token ids of a corpus of text are kept, so that it is tokenised once.

    Raises SubjectError or CorpusError if a part is missing, broken or does not fit the others,
    SettingsError for a device that this machine does not have.
    """
    if not isinstance(settings, SubjectSettings):
        raise SettingsError(
            f"{type(settings).__name__} is no table [subject]: give load_settings(PATH).subject"
        )
    for name in ("model", "sae", "tokenizer", "corpus"):
        try:
            check_readable_twice(Path(getattr(settings, name)))
        except OSError as error:
            raise SettingsError(f"subject.{name}: {error.filename} is {error.strerror}") from None
    require_places(settings)
    check_device(settings.device)
    if is_one_layer(settings.model):
        _check_taken(settings, ONE_LAYER_TAKES, "a one-layer model does")
    if settings.model == "embedded":
        return _one_layer_subject("embedded", _embedded(settings), beside)
    if is_one_layer(settings.model):
        return _one_layer_subject(str(Path(settings.model).parent.name), settings, beside)
    if settings.model.endswith(".npz"):
        _check_taken(settings, RECORDED_TAKES, "recorded activations do")
        from autointerp.subjects.recorded import recorded_subject

        return recorded_subject(settings)
    from autointerp.subjects.assembled import assemble

    return assemble(settings, beside, tokens)


def load_sae_alone(settings: SubjectSettings) -> Encoder | None:
    """Return the SAE of the subject that the settings name, without its model; None for none.

    Its encoder is that of its files, which `assemble` fits to some models; its decoder is the
    subject's. Raises SubjectError if it is missing or broken.
    """
    if is_one_layer(settings.model):
        loaded = _one_layer_sae(_embedded(settings) if settings.model == "embedded" else settings)
    else:
        from autointerp.subjects.assembled import sae_of

        loaded = sae_of(settings)
    return None if loaded is None else loaded.sae


def _embedded(settings: SubjectSettings) -> SubjectSettings:
    """Return the settings with the paths of the embedded subject's parts."""
    return SubjectSettings(
        model=str(EMBEDDED / "transformer.safetensors"),
        sae=settings.sae or str(EMBEDDED / SAE),
        tokenizer=str(EMBEDDED / "tokenizer.json"),
        corpus=settings.corpus or str(EMBEDDED / "corpus.npz"),
        check_sae=settings.check_sae,
        untrained=settings.untrained,
        device=settings.device,
    )


def _check_taken(settings: SubjectSettings, taken: tuple[str, ...], what: str) -> None:
    """Raise SettingsError for a setting that this kind of subject would pass over."""
    for name, usual in asdict(SubjectSettings()).items():
        value = getattr(settings, name)
        if name not in taken and value != usual:
            raise SettingsError(f"subject.{name} = {value!r}: {what} not take it; leave it out")


def _one_layer_subject(
    name: str, settings: SubjectSettings, beside: Subject | None = None
) -> Subject:
    from autointerp.subjects.one_layer import OneLayerSite, load_one_layer
    from autointerp.subjects.tokenizers import load_tokenizer, vocabulary_digest
    from autointerp.subjects.untrained import load_one_layer_twin, twin_digest, twin_record
    from autointerp.subjects.windows import cut_windows, load_documents

    if settings.site != "layers.0.mlp.neurons":
        raise SubjectError(
            f"site '{settings.site}': a one-layer model has one site; write layers.0.mlp.neurons"
        )
    model_path = Path(settings.model)
    paths = {
        "tokenizer": Path(settings.tokenizer or model_path.parent / "tokenizer.json"),
        "corpus": Path(settings.corpus),
    }
    if not settings.corpus:
        raise SettingsError("[subject] names no corpus; give the path of a tokens file")
    if beside is not None and isinstance(beside.model, OneLayerSite):
        model = beside.model.transformer
    else:
        model = load_one_layer(model_path, settings.device)
    tokenizer = load_tokenizer(paths["tokenizer"])
    if tokenizer.size != model.config.vocabulary:
        raise SubjectError(
            f"{paths['tokenizer']} has {tokenizer.size} tokens, {model_path} "
            f"{model.config.vocabulary}: give files of one training run"
        )
    loaded = _one_layer_sae(settings)
    if loaded is not None and loaded.sae.d_in != model.config.d_mlp:
        raise SubjectError(
            f"{loaded.path} reads {loaded.sae.d_in} activations, the site has "
            f"{model.config.d_mlp}; give an SAE of this model"
        )
    documents = load_documents(paths["corpus"])
    if len(documents.tokens) and int(documents.tokens.max()) >= model.config.vocabulary:
        raise CorpusError(
            f"{paths['corpus']} holds token ids beyond the model's vocabulary; "
            "tokenise it with this model's tokenizer"
        )
    digests = {"model": file_digest(model_path)}
    if loaded is not None:
        digests["sae"] = file_digest(loaded.path)
    digests["corpus"] = file_digest(paths["corpus"])
    if paths["tokenizer"].parent != EMBEDDED:  # the package's own is what it is
        digests["tokenizer"] = vocabulary_digest(tokenizer.texts)
    twin = _twin_folder(name, settings)
    if twin is not None:
        twin_record(twin, settings.site)
        if settings.untrained:
            digests["untrained"] = twin_digest(twin)
    return Subject(
        name=name,
        model=OneLayerSite(model),
        site=settings.site,
        d_site=model.config.d_mlp,
        signed=False,
        sae=None if loaded is None else loaded.sae.to(settings.device),
        special=frozenset({0, 1}),
        token_texts=tokenizer.texts,
        cut=lambda length, rows: cut_windows(documents, length, bos=0, pad=1, rows=rows),
        longest=model.config.context,
        device=settings.device,
        digests=digests,
        loaded=loaded,
        notes=() if loaded is None else loaded.notes,
        length=lambda: Length(len(documents.tokens), exact=True),
        tokenise=tokenizer.tokenise,
        bos=0,
        untrained=None
        if twin is None
        else cache(lambda: load_one_layer_twin(twin, model, settings.site, settings.device)),
    )


def _one_layer_sae(settings: SubjectSettings) -> LoadedAutoencoder | None:
    """Return the SAE of a one-layer model, None for none. Raises SubjectError if it is broken."""
    from autointerp.subjects.formats import Flags, load_sae

    if not settings.sae:
        return None
    file = sae_file(Path(settings.sae))
    if not file.exists():
        raise no_trained_sae(file)
    return load_sae(file, "autointerp", Flags(strict=settings.check_sae))


def _twin_folder(name: str, settings: SubjectSettings) -> Path | None:
    """Return the folder of the untrained twin; of the embedded subject its own."""
    if settings.untrained:
        return Path(settings.untrained)
    own = Path(settings.model).parent / "untrained"
    return own if name == "embedded" and own.is_dir() else None
