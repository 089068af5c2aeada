"""What made something: the code of this package, and the versions of libraries."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Mapping, Sequence
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


@cache
def installation_digest(libraries: Sequence[str], *names: str) -> str | None:
    """Return the sha256 of all that is installed, Python, and this package's files at `names`.

    Of a distribution its name, version and the time when it was installed count. None where the
    code of one of the `libraries` may be other than its version says: an editable installation, or
    a folder that stands before the installed one.
    """
    infos: dict[Path, list[str]] = {}
    installed = []
    for folder in dict.fromkeys(Path(entry).resolve() for entry in sys.path):
        try:
            inside = sorted(folder.glob("*.dist-info")) + sorted(folder.glob("*.egg-info"))
            installed += [f"{info.name} {info.stat().st_mtime_ns}" for info in inside]
        except OSError:
            return None
        infos[folder] = [info.name.lower() for info in inside]
    for library in libraries:
        try:
            spec = importlib.util.find_spec(library)
        except (ImportError, ValueError):  # put in place, or kept away, by a program
            return None
        if spec is None:
            continue
        if spec.origin is None:
            return None
        beside = infos.get(Path(spec.origin).resolve().parents[1], [])
        if not any(name.startswith(f"{library}-") for name in beside):
            return None
    parts = [sys.version, platform.machine(), code_digest(*names), *installed]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def changed_part(made_of: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return the first part of a subject whose digest is not what a run was made of, or None.

    Runs of earlier versions say nothing of the tokenizer.
    """
    for part, digest in now.items():
        if made_of.get(part) != digest and (part != "tokenizer" or part in made_of):
            return part
    return None
