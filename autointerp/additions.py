"""Folders that are added to by adding a file: the file's name is the name on the command line."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from autointerp.errors import UnknownName


def names_in(package: ModuleType) -> list[str]:
    """Return the names of the modules in `package`, as written on the command line, sorted.

    Modules whose name starts with an underscore are not additions.
    """
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def addition(package: ModuleType, kind: str, name: str) -> ModuleType:
    """Return the module called `name` in `package`, imported.

    Raises UnknownName, listing what there is, if there is no such file.
    """
    if name not in names_in(package):
        raise UnknownName(kind, name, names_in(package))
    return importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}")
