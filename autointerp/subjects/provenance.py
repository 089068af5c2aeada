"""What made something: the code of this package, and the versions of libraries."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache
def code_digest(*names: str) -> str:
    """Return the sha256 of Python files of this package, given by their paths or folders in it."""
    digest = hashlib.sha256()
    for name in names:
        place = PACKAGE / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{file.relative_to(PACKAGE).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def version_of(library: str) -> str | None:
    """Return the version of a library; None where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
