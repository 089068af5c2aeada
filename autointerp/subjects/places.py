"""Whether what a subject's settings name is there: asked before anything heavy is imported."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path

from autointerp.errors import SettingsError, SubjectError
from autointerp.settings import DEVICE, SubjectSettings
from autointerp.subjects.corpora import open_corpus
from autointerp.subjects.hub import IN_HUB
from autointerp.subjects.windows import no_tokens

HUB_MODEL = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*")
EMBEDDED = Path(__file__).parent / "embedded"
SAE = "sae.safetensors"  # what `autointerp train` writes, and beside it:
RECORD = "training.json"


def sae_file(path: Path) -> Path:
    """Return the file of an SAE that `autointerp train` made, by that file or its folder."""
    return path / SAE if path.is_dir() else path


def require_places(settings: SubjectSettings, is_whole: bool = True) -> None:
    """Raise where a file or folder that the settings name is not there; names of the hub pass.

    Nothing is read: what is in the files is looked at where they are loaded. Settings that are not
    `is_whole` may lack a corpus still. Raises SubjectError, CorpusError or SettingsError with the
    words of the loading.
    """
    require_device(settings.device)
    is_recorded = settings.model.endswith(".npz")
    if is_one_layer(settings.model):
        if settings.model != "embedded":
            require_weights(Path(settings.model))
        if settings.sae and not Path(settings.sae).exists():
            raise no_trained_sae(Path(settings.sae))
        if settings.corpus and not Path(settings.corpus).exists():
            raise no_tokens(Path(settings.corpus))
    else:
        if is_recorded:
            require_recording(Path(settings.model))
        elif settings.corpus or is_whole:
            _require_corpus(settings.corpus)
        if settings.sae:
            require_sae(settings.sae)
        if settings.model and not is_recorded:
            _require_model(settings.model)
    if settings.untrained:
        require_record(Path(settings.untrained))


def is_one_layer(model: str) -> bool:
    """Return whether a model is one of `autointerp train transformer`."""
    return model == "embedded" or model.endswith("transformer.safetensors")


def require_device(name: str, said: str = "") -> None:
    """Raise SettingsError for a device that the installed torch or this system cannot have.

    Whether there is one that they could have, `check_device` asks torch. `said`: How the user named
    it, if not in the settings.
    """
    torch = version("torch")
    if not DEVICE.fullmatch(name):
        raise _no_device(name, "devices are cpu, cuda, cuda:N and mps", said)
    if name == "mps" and sys.platform != "darwin":
        raise _no_device(name, "it is one of macOS", said)
    if name.startswith("cuda") and torch.endswith("+cpu"):
        raise _no_device(name, f"torch {torch} is built for processors alone", said)


def check_device(name: str, said: str = "") -> None:
    """Raise SettingsError for a device that torch does not find; this imports torch."""
    require_device(name, said)
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).strip().splitlines()[0][:120] if str(error).strip() else "unknown"
        raise _no_device(name, why, said) from None


def _no_device(name: str, why: str, said: str) -> SettingsError:
    where = said or f"subject.device = '{name}'"
    return SettingsError(f"{where}: this machine does not have it ({why}); write 'cpu'")


def require_sae(path: str) -> None:
    """Raise SubjectError for what is neither a file or folder nor a name of the hub."""
    if not Path(path).exists() and not IN_HUB.fullmatch(path):
        raise SubjectError(f"no SAE at {path}; give an existing file or folder, or a hub id")


def _require_corpus(source: str) -> None:
    if not source:
        raise SettingsError(
            "[subject] names no corpus; give text, JSONL, Parquet, tokens or a dataset's hub id"
        )
    if not Path(source).exists():
        open_corpus(source)


def _require_model(name: str) -> None:
    if not Path(name).exists() and not HUB_MODEL.fullmatch(name):
        raise SubjectError(f"no model at {name}; give an existing folder or file, or a hub id")


def require_weights(path: Path) -> None:
    """Raise SubjectError where the one-layer transformer's weights are not there."""
    if not path.exists():
        raise no_weights(path)


def require_recording(path: Path) -> None:
    """Raise SubjectError where a file of recorded activations is not there."""
    if not path.exists():
        raise no_recording(path)


def require_record(folder: Path) -> None:
    """Raise SubjectError for a folder that `autointerp train` did not make."""
    if not (folder / RECORD).exists():
        raise no_record(folder)


def no_trained_sae(path: Path) -> SubjectError:
    """Return the error for an SAE of the one-layer transformer that is not there."""
    return SubjectError(f"no SAE at {path}; train one with `autointerp train sae`")


def no_weights(path: Path) -> SubjectError:
    """Return the error for weights of the one-layer transformer that are not there."""
    return SubjectError(f"no weights at {path}; train them with `autointerp train transformer`")


def no_recording(path: Path) -> SubjectError:
    """Return the error for a file of recorded activations that is not there."""
    return SubjectError(f"no recorded activations at {path}; give an existing .npz")


def no_record(folder: Path) -> SubjectError:
    """Return the error for a folder that `autointerp train` did not make."""
    return SubjectError(
        f"{folder} holds no {RECORD}, so no SAE of `autointerp train`; name its folder"
    )
