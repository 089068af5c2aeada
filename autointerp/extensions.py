"""Folders that are added to by adding a file: the file's name is the name on the command line."""

from __future__ import annotations

import ast
import importlib
import keyword
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from autointerp.errors import UnknownName


def names_in(package: ModuleType) -> list[str]:
    """Return the names of the modules in `package`, as written on the command line, sorted.

    Modules whose name starts with an underscore are not additions.
    """
    return _names(package.__path__)


def addition(package: ModuleType, kind: str, name: str) -> ModuleType:
    """Return the module called `name` in `package`, imported.

    Raises UnknownName, listing what there is, if there is no such file.
    """
    if name not in names_in(package):
        raise UnknownName(kind, name, names_in(package))
    return importlib.import_module(f"{package.__name__}.{_module(name)}")


def described(room: str) -> list[tuple[str, str]]:
    """Return the name and the docstring's first line of each addition in a room of the package.

    The files are read, not imported: a list of raters must not load every rater's libraries.
    """
    folder = Path(__file__).parent / room
    return [(name, _first_line(folder, _module(name))) for name in _names([str(folder)])]


def _names(path: Iterable[str]) -> list[str]:
    found = (module.name for module in pkgutil.iter_modules(path))
    return sorted(
        name.removesuffix("_").replace("_", "-") for name in found if not name.startswith("_")
    )


def _module(name: str) -> str:
    """Return the module of a name; one that Python keeps for itself ends in an underscore."""
    module = name.replace("-", "_")
    return f"{module}_" if keyword.iskeyword(module) else module


def _first_line(folder: Path, module: str) -> str:
    file = folder / f"{module}.py"
    if not file.exists():
        file = folder / module / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
