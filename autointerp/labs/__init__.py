"""Measurements of units that need their model again. A file here is a lab: `autointerp lab NAME`.

A lab module has a first docstring line that `autointerp labs` prints, and

    COLUMNS = {"length": "…"}   what a row holds, by name, with units of measurement; a literal
    run(run, units, options)    → rows of these units: dicts of `unit_id` and all columns, values
                                as JSON has them; a unit may have none, one or several
    OPTIONS = {"tokens": 10}    `--option NAME=VALUE` with defaults; none if left out
    COMPARES_UNITS = True       if rows depend on which other units are asked for; left out if not

Rows are stored as they come, those of a unit once another unit's begin, so all rows of a unit stand
one after another. A lab that reads the corpus before its first row may yield `Read` meanwhile: how
far it is. A lab that was stopped is given the units that are left. One that compares units
is given all of them, and `run(run, units, options, done)` those whose rows are stored.

A lab opens the subject by `autointerp.units.reopen`, which refuses a run that has none. Modules
that several labs share start with an underscore.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from autointerp import extensions
from autointerp.errors import BadInput
from autointerp.store.run import Run

EACH_HAS = ("COLUMNS", "run")  # every file here

Options = Mapping[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """How far a lab has read the corpus.

    Attributes:
        total: Tokens that it will read at most.
    """

    tokens: int
    total: int


class Lab(Protocol):
    """What a module in this folder has; `OPTIONS` and `COMPARES_UNITS` may be left out."""

    COLUMNS: Mapping[str, str]

    @staticmethod
    def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row | Read]:
        """Yield the rows of these units. Raises BadInput if the run has no subject."""


def load_lab(name: str) -> Lab:
    """Return the lab called `name`. Raises UnknownName, listing what there is."""
    return cast(Lab, extensions.load(sys.modules[__name__], "lab", name))


def described_lab(name: str) -> tuple[str, dict[str, str]]:
    """Return a lab's first docstring line and its columns; both empty if there is no such lab.

    Its file is parsed, not imported: who reads a run needs none of its libraries.
    """
    package = sys.modules[__name__]
    if name not in extensions.names(package):
        return "", {}
    columns: dict[str, str] = extensions.constants(package, name, (), needed=["COLUMNS"])["COLUMNS"]
    return dict(extensions.described(package))[name], columns


def options_of(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return all options of a lab: those given, as the types of their defaults, and the defaults.

    Raises BadInput for a name that the lab does not have, or a value of another type.
    """
    defaults: Mapping[str, Any] = getattr(load_lab(name), "OPTIONS", {})
    options = dict(defaults)
    for key, text in given.items():
        if key not in defaults:
            raise BadInput(
                f"--option {key}={text}: lab '{name}' has no option '{key}' "
                f"(it has: {', '.join(defaults) or 'none'})"
            )
        kind = type(defaults[key])
        try:
            options[key] = kind(text)
        except ValueError:
            raise BadInput(
                f"--option {key}={text}: give a value like the default, {defaults[key]!r}"
            ) from None
    return options


def measure(
    module: Lab, run: Run, units: Sequence[int], pending: Sequence[int], options: Options
) -> Iterator[Row | Read]:
    """Return the rows of the `pending` ones among the units that a lab is asked for."""
    if getattr(module, "COMPARES_UNITS", False):
        done = frozenset(units) - frozenset(pending)
        return cast(Any, module).run(run, units, options, done)  # type: ignore[no-any-return]
    return module.run(run, pending, options)


def design_of(name: str, options: Options, units: Sequence[int]) -> str:
    """Return a digest of what a unit's rows depend on: the lab's file, its options and, where it
    compares units, which ones.
    """
    module = load_lab(name)
    file = getattr(module, "__file__", None)
    compared = sorted(units) if getattr(module, "COMPARES_UNITS", False) else []
    content = [Path(file).read_text("utf-8") if file else "", dict(options), compared]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_row(name: str, columns: Collection[str], units: Collection[int], row: Row) -> None:
    """Raise BadInput if a row is none, of another unit, of other columns, or no JSON."""
    extensions.returned(row, dict, f"lab '{name}': run()", verb="yield")
    if set(row) != {"unit_id", *columns}:
        raise BadInput(
            f"lab '{name}' yields a row of {', '.join(sorted(row))}; give unit_id and the COLUMNS, "
            f"{', '.join(columns)}"
        )
    if row["unit_id"] not in units:
        raise BadInput(
            f"lab '{name}' yields a row of unit {row['unit_id']}, which it was not asked for; "
            "leave it out"
        )
    try:
        json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"lab '{name}' yields a row that is no JSON ({error}); use None for what is undefined"
        ) from None
