"""Planted units in a file, so that a kit is planted once and not by each check.

A file's name has the digest of all that decides what is planted: the text, the seed, the draws, the
number of units, and the code that plants. A file that cannot be read, or is of something else, is
made anew; a disk that takes none costs the time, and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from autointerp.errors import StorageError
from autointerp.files import PRIVATE_FOLDER, json_value, write_bytes
from autointerp.questions.planter import PlantedUnit
from autointerp.records import DRAWS, SPLITS, Context

FORM = 1  # of the file
CODE = ("planter.py", "labelled_text.py", "kinds/*.py")  # that decides what is planted
UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile)


def code_digest() -> str:
    """Return a digest of the code that plants units."""
    folder = Path(str(resources.files("autointerp.questions")))
    files = sorted(path for pattern in CODE for path in folder.glob(pattern))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def stored_units(
    folder: Path, name: str, digest: str, make: Callable[[], Sequence[PlantedUnit]]
) -> tuple[PlantedUnit, ...]:
    """Return the units in `folder` that are of this digest; made and kept there if they are not.

    Files of the same `name` and of another digest are removed: nothing reads them again.
    """
    path = folder / f"{name}-{digest[:16]}.npz"
    with contextlib.suppress(*UNREADABLE):
        return unpacked(path.read_bytes(), digest)
    units = tuple(make())
    with contextlib.suppress(StorageError, OSError):
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        write_bytes(path, packed(units, digest))
        for other in folder.glob(f"{name}-*.npz"):
            if other != path:
                other.unlink(missing_ok=True)
    return units


def packed(units: Sequence[PlantedUnit], digest: str) -> bytes:
    """Return the content of a file of planted units."""
    contexts = [context for unit in units for context in unit.contexts]
    vocabulary: dict[str, int] = {}
    tokens = [vocabulary.setdefault(t, len(vocabulary)) for c in contexts for t in c.tokens]
    head = {
        "form": FORM,
        "digest": digest,
        "texts": list(vocabulary),
        "units": [
            {**_fields(unit), "kinds": list(unit.kinds), "contexts": len(unit.contexts)}
            for unit in units
        ],
    }
    columns = [
        [
            len(context.tokens),
            context.focus,
            DRAWS.index(context.draw),
            0 if context.interval is None else context.interval,
            SPLITS.index(context.split),
            context.silent,
            context.document,
            context.position,
        ]
        for context in contexts
    ]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        # Bytes, for an array of texts drops the zeros at their ends.
        head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
        columns=np.array(columns, dtype=np.int32).reshape(-1, 8),
        tokens=np.array(tokens, dtype=np.int32),
        activations=np.array([a for c in contexts for a in c.activations], dtype=np.float32),
    )
    return file.getvalue()


def _fields(unit: PlantedUnit) -> dict[str, object]:
    return {field.name: getattr(unit, field.name) for field in dataclasses.fields(unit)}


def unpacked(content: bytes, digest: str) -> tuple[PlantedUnit, ...]:
    """Return the units in a file's content.

    Raises ValueError, or another of `UNREADABLE`, where it is damaged or of another digest.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        head = json_value(file["head"].tobytes())
        columns, ids = file["columns"].tolist(), file["tokens"].tolist()
        activations = file["activations"].tolist()
    if (head["form"], head["digest"]) != (FORM, digest):
        raise ValueError("planted otherwise")
    tokens = [head["texts"][number] for number in ids]
    contexts, place = [], 0
    for length, focus, draw, interval, split, silent, document, position in columns:
        contexts.append(
            Context(
                tokens=tuple(tokens[place : place + length]),
                activations=tuple(activations[place : place + length]),
                focus=focus,
                draw=DRAWS[draw],
                interval=interval or None,
                split=SPLITS[split],
                silent=bool(silent),
                document=document,
                position=position,
            )
        )
        place += length
    units, begin = [], 0
    for fields in head["units"]:
        end = begin + fields["contexts"]
        fields |= {"kinds": tuple(fields["kinds"]), "contexts": tuple(contexts[begin:end])}
        units.append(PlantedUnit(**fields))
        begin = end
    return tuple(units)
