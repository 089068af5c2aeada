"""Folders that grow by adding a file: the file's name is the name on the command line."""

from __future__ import annotations

import ast
import importlib
import keyword
import os
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from autointerp.errors import AutointerpError, BadInput, UnknownName

T = TypeVar("T")


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

    Raises UnknownName, which calls it a `kind` and lists what there is, if there is no such file;
    BadInput, which names the file, if it lacks what the package says that each has (`EACH_HAS`).
    """
    if not _is_file(package, name) and name not in names(package):
        raise UnknownName(kind, name, names(package))
    module = importlib.import_module(f"{package.__name__}.{_module(name)}")
    require(module, getattr(package, "EACH_HAS", ()))
    return module


def require(module: ModuleType, members: Sequence[str]) -> None:
    """Raise BadInput, which names the file of an extension, if it lacks one of these members."""
    lacking = [name for name in members if not hasattr(module, name)]
    if lacking:
        raise BadInput(f"{module.__file__} has no {', '.join(lacking)}; see docs/extending.md")


def described(package: ModuleType) -> list[tuple[str, str]]:
    """Return the name and the docstring's first line of each extension in `package`.

    The files are parsed, not imported: a list of raters must not load every rater's libraries.
    """
    return [
        (name, (ast.get_docstring(_parsed(package, name)) or "").partition("\n")[0])
        for name in names(package)
    ]


def constants(
    package: ModuleType, name: str, wanted: Sequence[str], needed: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the literal values that the file of an extension gives to `wanted` and `needed` names.

    The file is parsed, not imported; what it does not assign at its top level is left out.

    Raises BadInput, which names the file, for a `needed` one that is left out, and for a value that
    is known only when the file runs.
    """
    found: dict[str, Any] = {}
    for target, value in _assigned(_parsed(package, name)):
        if target in (*wanted, *needed):
            try:
                found[target] = ast.literal_eval(value)
            except ValueError:
                raise BadInput(
                    f"{_file(package, name)} computes {target}, which is read without running it; "
                    "write its value out"
                ) from None
    for one in needed:
        if one not in found:
            raise BadInput(f"{_file(package, name)} assigns no {one}; see docs/extending.md")
    return found


def _assigned(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield each name that a module assigns at its top level, and what."""
    for statement in module.body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                yield from ((one.id, value) for one in targets if isinstance(one, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _parsed(package: ModuleType, name: str) -> ast.Module:
    file = _file(package, name)
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def _file(package: ModuleType, name: str) -> Path:
    module = _module(name)
    files = [
        Path(folder, *parts)
        for folder in package.__path__
        for parts in ((f"{module}.py",), (module, "__init__.py"))
    ]
    return next(file for file in files if file.exists())


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


def returned(
    value: object,
    wanted: type[T],
    call: str,
    error: type[AutointerpError] = BadInput,
    verb: str = "return",
) -> T:
    """Return what a function of an extension returned, or with `verb` yielded.

    Raises an error, which names the `call` and what it is to return, where that is something else.
    """
    if isinstance(value, wanted):
        return value
    module = "" if wanted.__module__ == "builtins" else f"{wanted.__module__}."
    raise error(_odd(value, call, f"{module}{wanted.__qualname__}", verb))


def with_members(value: T, names: Sequence[str], call: str, wanted: str) -> T:
    """Return what a function of an extension returned, which has all these members.

    Raises BadInput, likewise, where it lacks one.
    """
    if all(hasattr(value, name) for name in names):
        return value
    raise BadInput(_odd(value, call, f"{wanted}, with {', '.join(names)}"))


def _odd(value: object, call: str, wanted: str, verb: str = "return") -> str:
    held = "None" if value is None else f"a value of type {type(value).__name__}"
    return f"{call} {verb}ed {held}; it must {verb} {wanted} (docs/extending.md)"
