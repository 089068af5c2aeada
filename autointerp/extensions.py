"""Folders that grow by adding a file: the file's name is the name on the command line."""

from __future__ import annotations

import ast
import importlib
import keyword
import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from autointerp.errors import UnknownName


def names(package: ModuleType) -> list[str]:
    """Return the names of the modules in `package`, as written on the command line, sorted.

    Modules whose name starts with an underscore are not extensions.
    """
    return sorted(
        _name(module.name)
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    )


def load(package: ModuleType, kind: str, name: str) -> ModuleType:
    """Return the module called `name` in `package`, imported.

    Raises UnknownName, which calls it a `kind` and lists what there is, if there is no such file.
    """
    if not _is_file(package, name) and name not in names(package):
        raise UnknownName(kind, name, names(package))
    return importlib.import_module(f"{package.__name__}.{_module(name)}")


def described(package: ModuleType) -> list[tuple[str, str]]:
    """Return the name and the docstring's first line of each extension in `package`.

    The files are parsed, not imported: a list of raters must not load every rater's libraries.
    """
    return [
        (name, (ast.get_docstring(_parsed(package, name)) or "").partition("\n")[0])
        for name in names(package)
    ]


def constants(package: ModuleType, name: str, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the literal values that the file of an extension gives to the `wanted` names.

    The file is parsed, not imported; what it does not assign at its top level is left out.
    """
    return {
        target.id: ast.literal_eval(statement.value)
        for statement in _parsed(package, name).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and target.id in wanted
    }


def _parsed(package: ModuleType, name: str) -> ast.Module:
    module = _module(name)
    files = [
        Path(folder, *parts)
        for folder in package.__path__
        for parts in ((f"{module}.py",), (module, "__init__.py"))
    ]
    file = next(file for file in files if file.exists())
    return ast.parse(file.read_text(encoding="utf-8"))


def _is_file(package: ModuleType, name: str) -> bool:
    """Return whether a file or folder of `package` has the name, without listing all of them.

    False says nothing: the name may be spelt with capitals, and the module compiled.
    """
    module = _module(name)
    return (
        module.isidentifier()
        and not module.startswith("_")
        and name == _name(module) == name.lower()
        and any(
            os.path.isfile(os.path.join(folder, *parts))
            for folder in package.__path__
            for parts in ((f"{module}.py",), (module, "__init__.py"))
        )
    )


def _name(module: str) -> str:
    return module.removesuffix("_").replace("_", "-")


def _module(name: str) -> str:
    """Return the module of a name; one that Python keeps for itself ends in an underscore."""
    module = name.replace("-", "_")
    return f"{module}_" if keyword.iskeyword(module) else module
