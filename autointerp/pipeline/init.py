"""What `init` does: look at the parts of a subject, say what they are, write its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w

from autointerp.errors import BadInput, MissingSetting, SubjectError
from autointerp.files import require_new, write_text
from autointerp.pipeline.events import Note, On, Step
from autointerp.settings import SubjectSettings, from_mapping
from autointerp.subjects.assembled import (
    begins_with_bos,
    check_fit,
    corpus_of,
    note_of_bos,
    sae_of,
)
from autointerp.subjects.corpora import tokenised
from autointerp.subjects.formats import LoadedAutoencoder
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.load import load_subject
from autointerp.subjects.pretrained import look_at_language_model
from autointerp.subjects.sites import Basis, basis_of
from autointerp.subjects.untrained import twin_record
from autointerp.text import count

Ask = Callable[[str], str]


def initialise(
    given: SubjectSettings, output: Path, force: bool, ask: Ask | None, on: On
) -> SubjectSettings:
    """Inspect what is `given`, say what it is, `ask` for what is missing, write the settings.

    Returns the settings as they were written. A setting that was not given is empty. Nothing is
    written unless all parts fit together. Raises BadInput, naming the option, for what is missing
    where nobody can be asked; SubjectError or CorpusError for parts that do not fit.
    """
    require_new(output, force)
    given, loaded = _sae(given, ask, on)
    given = _filled(given, "model", loaded.model if loaded else None, ask, on)
    if given.model == "embedded" or given.model.endswith("transformer.safetensors"):
        given = replace(given, site=given.site or SubjectSettings.site)
        subject = load_subject(given)
        _look_at_twin(given, subject.site, on)
        width = f"{subject.d_site:,} neurons"
        on(Step(f"model: the one-layer transformer; site: {subject.site}, {width}"))
        write_settings(given, output)
        return given
    recorded = loaded.site if loaded else None
    if not given.site and not recorded and loaded and loaded.hook:
        on(Note(f"the SAE was trained at '{loaded.hook}', which is not a site of this version"))
    is_recorded = bool(recorded and not given.site)
    if not is_recorded:
        given = _filled(given, "site", None, ask, on)
    model = look_at_language_model(
        given.model,
        given.site or str(recorded),
        given.revision or None,
        hidden=bool(given.neurons) or None,
    )
    if is_recorded:  # by the name that it has in this model
        given = _filled(given, "site", model.site, ask, on)
    on(
        Step(
            f"model: {type(model.model).__name__}, {len(model.architecture.layers)} layers, "
            f"vocabulary {model.vocabulary:,}, context {model.context_length:,}"
        )
    )
    signed = "both signs" if model.signed else "none negative"
    basis = basis_of(model.site)
    on(Step(f"site: {model.site}, {model.d_site:,} activations, {signed}; {basis.name}"))
    given = _with_neurons(given, model, basis, ask, on)
    if loaded is not None:
        for note in check_fit(loaded, model, given.check_sae, given.revision):
            on(Note(f"{note}"))
    _look_at_twin(given, model.site, on)
    has_bos = begins_with_bos("auto", loaded, model)
    on(
        Step(
            "windows: begin with BOS"
            if has_bos
            else "windows: begin without BOS; their first token, an attention sink, is left out"
        )
    )
    for note in note_of_bos(model) if has_bos else []:
        on(Note(note))
    given = _filled(given, "corpus", None, ask, on)
    _look_at_corpus(given, model, on)
    write_settings(given, output)
    return given


def _with_neurons(
    given: SubjectSettings, model: HookedLanguageModel, basis: Basis, ask: Ask | None, on: On
) -> SubjectSettings:
    """Say what the source `neurons` is; at axes that are no neurons, ask which are meant."""
    hidden = model.hidden
    if basis.are_neurons:
        return given
    if hidden is None:
        on(Note(f"the units of source 'neurons' are {basis.name} here, and no neurons"))
        return given
    which = f"{hidden.d_site:,} of {hidden.site}"
    if not given.neurons and ask is not None:
        answer = ask(f"neurons: hidden for the {which}, or site for {basis.name}")
        if answer not in ("hidden", "site"):
            raise BadInput(f"--neurons: '{answer}' is not a valid answer; give hidden or site")
        given = replace(given, neurons="" if answer == "site" else answer)
    if given.neurons:
        on(Step(f"neurons: the {which}, read in the same pass as the site"))
    else:
        on(
            Note(
                f"the units of source 'neurons' are {basis.name} here, and no neurons; for the "
                f"{which} give --neurons hidden"
            )
        )
    return given


def _sae(
    given: SubjectSettings, ask: Ask | None, on: On
) -> tuple[SubjectSettings, LoadedAutoencoder | None]:
    """Return the SAE, if there is one, and what had to be asked to load it."""
    try:
        loaded = sae_of(given)
    except MissingSetting as error:
        option = f"--{error.setting.replace('_', '-')}"
        if ask is None or getattr(given, error.setting):
            raise BadInput(f"{option}: {error}") from None
        return _sae(_answered(given, error.setting, option, ask(str(error))), ask, on)
    if loaded is not None:
        sae = loaded.sae
        kind = sae.activation + (f" of k {sae.k}" if sae.k else "")
        trained = ", ".join(filter(None, [loaded.model, loaded.site or loaded.hook]))
        on(
            Step(
                f"SAE: {loaded.format}, {kind}, {sae.d_in:,} → {sae.d_sae:,} latents"
                + (
                    f", trained on {trained}"
                    if trained
                    else "; its files name neither model nor site"
                )
            )
        )
    return given, loaded


def _answered(given: SubjectSettings, setting: str, option: str, answer: str) -> SubjectSettings:
    """Return the settings with an answer in them. Raises BadInput if it is none to the question."""
    read = type(getattr(given, setting))
    try:
        value = read(answer)
    except ValueError:
        value = read()
    if not value:
        raise BadInput(f"{option}: '{answer}' is not a valid answer")
    from_mapping(SubjectSettings, {setting: value}, option, "subject")
    return _with(given, setting, value)


def _filled(
    given: SubjectSettings, name: str, recorded: str | None, ask: Ask | None, on: On
) -> SubjectSettings:
    if getattr(given, name):
        return given
    if recorded:
        on(Step(f"{name}: {recorded}, as the SAE's files say"))
        return _with(given, name, recorded)
    if ask is None:
        raise BadInput(f"--{name}: the files do not say it; give it")
    answer = ask(name)
    if not answer:
        raise BadInput(f"--{name} must not be empty")
    return _with(given, name, answer)


def _with(given: SubjectSettings, name: str, value: Any) -> SubjectSettings:
    changed: dict[str, Any] = {name: value}
    return replace(given, **changed)


def _look_at_twin(given: SubjectSettings, site: str, on: On) -> None:
    """Tell what the untrained twin is, where one is given. Raises SubjectError."""
    if given.untrained:
        model = twin_record(Path(given.untrained), site).model
        on(Step(f"untrained twin: weights {model.weights}, seed {model.weights_seed}"))


def _look_at_corpus(given: SubjectSettings, model: HookedLanguageModel, on: On) -> None:
    """Tell the corpus's kind and how its first document begins. Raises CorpusError."""
    corpus = corpus_of(given)
    for note in corpus.notes:
        on(Note(note))
    stream = tokenised(corpus.documents(), model.tokenise, model.bos, model.vocabulary)
    _, ids = next(stream, (0, []))
    if not len(ids):
        raise SubjectError(
            f"the tokenizer of '{given.model}' makes no token of any document in {corpus.source}: "
            "its files are missing or another model's; put tokenizer.json into the model's folder"
        )
    start = "".join(model.token_texts[index] for index in ids[:12])
    on(
        Step(
            f"corpus: {corpus.kind}; its first document has {count(len(ids), 'token')}: {start!r} …"
        )
    )


def write_settings(given: SubjectSettings, output: Path) -> None:
    """Write, in one step, a TOML file of what differs from the defaults.

    Paths inside the file's folder are written relative to it, others whole.
    """
    blank = asdict(SubjectSettings())
    table: dict[str, Any] = {
        name: value
        for name, value in asdict(given).items()
        if value != blank[name] or name in ("model", "site")
    }
    for name in ("model", "sae", "untrained", "corpus"):
        if name in table and Path(table[name]).exists():
            table[name] = _written(Path(table[name]), output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, tomli_w.dumps({"subject": table}))


def _written(path: Path, folder: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
