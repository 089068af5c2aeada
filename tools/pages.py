"""Write docs/commands.md, docs/settings.md and docs/openapi.json from the code: `make docs`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import tempfile
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from autointerp import settings
from autointerp.apps.cli._app import build_app
from autointerp.apps.service._app import Address, service_at
from autointerp.apps.service._app import build_app as build_service
from autointerp.settings import CHOICES, KINDS, RunSettings

DOCS = Path(__file__).parents[1] / "docs"
ENTRY = re.compile(r"    (?P<name>\w+)(?: \((?P<unit>[^)]+)\))?: (?P<text>.+)")
PLACEHOLDERS = {int: "INTEGER", float: "NUMBER", Path: "PATH"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table as lines."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in lines]


def code(value: object) -> str:
    """Return a value as code, or nothing for an empty one."""
    return f"`{value}`" if str(value) else ""


# ------------------------------------------------------------------------------- commands


def commands_page() -> str:
    """Return every command with its arguments, options and defaults, as Markdown."""
    root = typer.main.get_command(build_app())
    commands = list(walk(root, "autointerp"))
    lines = [
        "# Commands",
        "",
        "Written by `make docs` from the help texts in `autointerp/apps/cli`; change those.",
        "",
        "Options of `autointerp` itself:",
        "",
        *options_table(root),
        "",
        *table(
            ["Command", "What it does"],
            [
                [f"[`{name}`](#{anchor(name)})", paragraphs(command.help)[0]]
                for name, command in commands
            ],
        ),
    ]
    for name, command in commands:
        lines += ["", f"## {name}", ""]
        for paragraph in paragraphs(command.help):
            if paragraph.startswith("Example: "):
                lines += ["```", paragraph.removeprefix("Example: "), "```", ""]
            else:
                lines += [paragraph, ""]
        lines += options_table(command)
    return "\n".join(lines).rstrip("\n") + "\n"


def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Yield each command below `command` that can be run, with the words that run it."""
    for name, inner in getattr(command, "commands", {}).items():
        if inner.hidden:
            continue
        if not hasattr(inner, "commands"):
            yield f"{words} {name}", inner
        yield from walk(inner, f"{words} {name}")


def anchor(heading: str) -> str:
    """Return the link target of a heading."""
    return heading.lower().replace(" ", "-")


def paragraphs(text: str | None) -> list[str]:
    """Return the paragraphs of a help text, each on one line."""
    return [" ".join(part.split()) for part in (text or "").split("\n\n")] or [""]


def options_table(command: Any) -> list[str]:
    """Return the table of a command's arguments and options, or nothing where it has none."""
    rows = [
        [flags(option), default(option), " ".join((option.help or "").split())]
        for option in command.params
        if not getattr(option, "hidden", False)
    ]
    return table(["Option", "Default", "Meaning"], rows) if rows else []


def flags(option: Any) -> str:
    """Return how an option is written, as code: `--source TEXT`, `-s TEXT`."""
    if option.opts[0] == option.name:
        return code(option.metavar or option.name.upper())
    if getattr(option, "is_flag", False):
        return ", ".join(map(code, [*option.opts, *option.secondary_opts]))
    annotation = option.type_descriptor.annotation
    kind = (typing.get_args(annotation) or (annotation,))[0]  # `list[str]`, `int | None`
    placeholder = option.metavar or PLACEHOLDERS.get(kind, "TEXT")
    return ", ".join(code(f"{name} {placeholder}") for name in option.opts)


def default(option: Any) -> str:
    """Return an option's default: in words where the command says so, else the value as code."""
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    value = option.default
    if not option.show_default or value is None or value is False or value in ([], ()):
        return ""
    return code(value)


# ------------------------------------------------------------------------------- settings


def settings_page() -> str:
    """Return every key of autointerp.toml with type, default, unit and meaning, as Markdown."""
    lines = [
        "# Settings",
        "",
        "Every key of `autointerp.toml`; all are optional. Written by `make docs` from "
        "`autointerp/settings.py`; change that. Unknown keys, wrong types and values out of "
        "range are errors.",
        "",
        "`autointerp init` writes the file. `run.toml` in a run's folder records all of them.",
    ]
    top = attribute_docs(RunSettings)
    lines += ["", "## Top of the file", "", *keys_table(RunSettings(), "")]
    for field in dataclasses.fields(RunSettings):
        section = getattr(RunSettings(), field.name)
        if dataclasses.is_dataclass(section):
            assert top[field.name]
            about = paragraphs(type(section).__doc__)[0]
            lines += ["", f"## [{field.name}]", "", about, "", *keys_table(section, field.name)]
    return "\n".join(lines) + "\n"


def keys_table(section: Any, name: str) -> list[str]:
    """Return the table of a settings dataclass's keys, those that are tables left out."""
    docs = attribute_docs(type(section))
    rows = []
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            continue
        unit, meaning = docs[field.name]
        shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else value
        rows.append(
            [
                code(field.name),
                allowed(name, field.name, type(value)),
                code(f'"{shown}"' if isinstance(value, str) else shown),
                unit,
                meaning,
            ]
        )
    return table(["Key", "Type", "Default", "Unit", "Meaning"], rows)


def allowed(section: str, key: str, kind: type) -> str:
    """Return what a key's value may be."""
    place = (section, key)
    if place in CHOICES:
        return " or ".join(code(f'"{choice}"') for choice in CHOICES[place])
    words = KINDS[kind].removeprefix("a ")
    if place in settings.POSITIVE:
        return f"{words}, at least 1"
    if place in settings.AT_LEAST_ZERO:
        return f"{words}, at least 0"
    if place in settings.SHARES:
        return f"{words} from 0 to 1"
    return words


def attribute_docs(kind: type) -> dict[str, tuple[str, str]]:
    """Return unit and meaning of each attribute of a dataclass, from its docstring.

    An entry is `name (unit): meaning`, the unit left out where there is none. Raises ValueError,
    naming the first field without an entry.
    """
    _, _, listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    entries: dict[str, tuple[str, str]] = {}
    name = ""
    for line in listed.splitlines():
        if entry := ENTRY.fullmatch(line):
            name = entry["name"]
            entries[name] = (entry["unit"] or "", entry["text"])
        elif line.strip():
            unit, text = entries[name]
            entries[name] = (unit, f"{text} {line.strip()}")
    for field in dataclasses.fields(kind):
        if field.name not in entries:
            raise ValueError(f"{kind.__name__}.{field.name} is not documented in the docstring")
    return entries


def openapi_page() -> str:
    """Return the specification of `/v1`, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        app = build_service(service_at(Path(folder), Address()))
        return json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"


PAGES = {"commands.md": commands_page, "settings.md": settings_page, "openapi.json": openapi_page}


if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page(), encoding="utf-8")
        print(f"docs/{file}")
