"""A subject whose activations were recorded elsewhere: of a board game, of images, of points.

One .npz file holds them: `activations` [rows, width], and, where they are wanted, `starts`
[documents + 1] offsets of documents (else each row is a document of its own) and `texts` [rows],
what is shown for a row. Each row is a token, its number the token's id. What the model does after
the site is not known, so its units cannot be steered, ablated or attributed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import SettingsError, SubjectError
from autointerp.files import check_archive
from autointerp.settings import SubjectSettings
from autointerp.subjects import Subject, file_digest
from autointerp.subjects.assembled import sae_digest, sae_of
from autointerp.subjects.corpora import Document, stream_windows
from autointerp.subjects.corpora._documents import Length
from autointerp.subjects.places import no_recording
from autointerp.subjects.readout import Readout

SITE = "recorded"
SUFFIX = ".npz"
LONGEST = 1_024  # rows of a document in one window


@dataclass(frozen=True)
class Recording:
    """Activations, row by row, as documents.

    Attributes:
        activations: [rows, width] float32, all finite.
        starts: [documents + 1] offset of each document, and the rows.
        texts: What is shown for each row.
    """

    activations: NDArray[np.float32]
    starts: NDArray[np.int64]
    texts: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        with path.open("wb") as file:  # to a path numpy adds a suffix
            np.savez(
                file,
                activations=self.activations,
                starts=self.starts,
                texts=np.array(self.texts),
            )


@dataclass(frozen=True)
class RecordedSite:
    """A table of activations in the place of a model: a row for each token id."""

    table: Tensor

    def activations(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return the rows [rows, tokens, width] of ids [rows, tokens], 0 on padding."""
        return self.table[ids] * attention[..., None]

    def readout(self, transcodes: bool = False, writes: str | None = None) -> Readout:
        """Raise SubjectError: no logits follow from what was recorded."""
        raise SubjectError("activations were recorded without their model, so there are no logits")


def load_recording(path: Path) -> Recording:
    """Return the recording at `path`.

    Raises SubjectError if the file is missing, truncated, not of this form, or has an activation
    that is not finite.
    """
    try:
        check_archive(path)
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            given = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise no_recording(path) from None
    except (BadZipFile, zlib.error, KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise SubjectError(f"{path} is not a complete npz ({error}); write it again") from None
    activations = given.get("activations")
    if activations is None or activations.ndim != 2 or not activations.size:
        raise SubjectError(f"{path} is to hold `activations`, an array [rows, width]")
    if activations.dtype.kind in "fiu":
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            activations = np.ascontiguousarray(activations, np.float32)
    if activations.dtype.kind != "f" or not np.isfinite(activations).all():
        raise SubjectError(f"{path}: an activation is not a finite number; correct it")
    rows = len(activations)
    starts = given.get("starts", np.arange(rows + 1))
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or len(starts) < 2:
        raise SubjectError(f"{path}: `starts` is to be whole numbers [documents + 1]")
    starts = starts.astype(np.int64)
    if starts[0] != 0 or starts[-1] != rows or (np.diff(starts) < 0).any():
        raise SubjectError(f"{path}: `starts` is to rise from 0 to its {rows:,} rows")
    texts = given.get("texts")
    if texts is None:
        shown = tuple(f"row {row}" for row in range(rows))
    elif texts.shape != (rows,) or texts.dtype.kind != "U":
        raise SubjectError(f"{path}: `texts` is to hold a text for each of its {rows:,} rows")
    else:
        shown = tuple(texts.tolist())
    return Recording(activations, starts, shown)


def recorded_subject(settings: SubjectSettings) -> Subject:
    """Return the subject of an .npz file of activations, with the SAE that the settings name.

    Raises SubjectError if either is broken or they do not fit, SettingsError for a setting that
    recorded activations do not take.
    """
    if settings.site != SITE:
        raise SettingsError(
            f"subject.site = '{settings.site}': recorded activations have one site; write "
            f"site = '{SITE}'"
        )
    path = Path(settings.model)
    recording = load_recording(path)
    loaded = sae_of(settings)
    width = recording.activations.shape[1]
    if loaded is not None and loaded.sae.d_in != width:
        raise SubjectError(
            f"{loaded.path} reads {loaded.sae.d_in} activations, {path} has {width}; give an SAE "
            "of these activations"
        )
    digests = {"model": file_digest(path)}
    digests["corpus"] = digests["model"]
    if loaded is not None:
        is_alone = loaded.path.is_file() and not loaded.beside
        digests["sae"] = file_digest(loaded.path) if is_alone else sae_digest(loaded)
    starts = recording.starts

    def documents() -> list[Document]:
        return [
            Document(number, np.arange(starts[number], starts[number + 1]))
            for number in range(len(starts) - 1)
            if starts[number] < starts[number + 1]
        ]

    return Subject(
        name=path.stem,
        model=RecordedSite(torch.from_numpy(recording.activations).to(settings.device)),
        site=SITE,
        d_site=width,
        signed=bool((recording.activations < 0).any()),
        sae=None if loaded is None else loaded.sae.to(settings.device),
        special=frozenset(),
        token_texts=recording.texts,
        cut=lambda length, rows: stream_windows(
            documents(), lambda texts: [], length, None, 0, rows
        ),
        longest=int(min(LONGEST, np.diff(starts).max())),
        device=settings.device,
        digests=digests,
        begins_with_bos=True,  # no first token of a window is a sink of attention
        loaded=loaded,
        notes=() if loaded is None else loaded.notes,
        length=lambda: Length(len(recording.texts), exact=True),
    )
