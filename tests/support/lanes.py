"""Which tests are slow: those that start a process, a server or a browser, or harvest a subject.

Nobody keeps a list. A test is slow if its function, its fixtures or the functions of its module
that these call mention one of `SLOW`; so a new test is in the right lane when it is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

# Modules, fixtures and functions.
SLOW = (
    "autointerp.apps.terminal.screen",
    "bench.device",  # makes language models
    "bench.scorers",  # hundreds of units
    "command_line",
    "make_kit",  # plants units in the embedded corpus
    "playwright",
    "pytester",
    "subprocess",
    "support.browser",
    "support.fabricate",  # a run on disk, rated and reported
    "support.loopback",
    "support.processes",
    "support.tiny_language_models",
    "tiny_subject",
    "transformers",
)


def is_slow(item: pytest.Function) -> bool:
    """Return whether the test, one of its fixtures, or what they call mentions one of `SLOW`."""
    if any(name in SLOW for name in item.fixturenames):
        return True
    fixtures = [
        definition.func
        for name in item.fixturenames
        for definition in item._fixtureinfo.name2fixturedefs.get(name, ())
    ]
    return any(
        mentioned == slow or mentioned.startswith(f"{slow}.")
        for function in (item.function, *fixtures)
        for mentioned in mentions(function, set())
        for slow in SLOW
    )


def mentions(function: Callable[..., Any], seen: set[int]) -> Iterator[str]:
    """Yield the modules that a function uses, itself or by functions of its module and support."""
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    for name in names_in(function.__code__):
        yield name  # `import a.b` within the function
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            yield value.__name__
        elif value is not None:
            home = getattr(value, "__module__", None) or type(value).__module__
            yield home
            if home == function.__module__:
                yield from mentions(value, seen)


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the global names and imported modules of a function and of those within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)
