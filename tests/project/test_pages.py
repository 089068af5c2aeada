"""The generated files of docs/ are what `make docs` writes, and cover everything."""

import dataclasses
from dataclasses import dataclass

import pytest
import typer.main

from autointerp.apps.cli._app import build_app
from autointerp.settings import RunSettings
from tools.pages import DOCS, PAGES, attribute_docs, commands_page, flags, settings_page, walk


@pytest.mark.parametrize("file", sorted(PAGES))
def test_a_generated_page_is_current(file: str):
    assert (DOCS / file).read_text("utf-8") == PAGES[file](), "run `make docs`"


def test_every_command_and_every_option_is_on_the_page():
    page = commands_page()
    commands = list(walk(typer.main.get_command(build_app()), "autointerp"))
    assert len(commands) > 20
    for name, command in commands:
        _, _, section = page.partition(f"\n## {name}\n")
        section = section.partition("\n## ")[0]
        assert section, name
        for option in command.params:
            if option.opts[0].startswith("-"):
                assert all(f"`{flag}" in section for flag in option.opts), (name, option.opts)
            else:
                assert f"| {flags(option)} |" in section, (name, option.name)


def test_every_option_has_a_meaning():
    for line in commands_page().splitlines():
        if line.startswith("| `"):
            assert line.removesuffix(" |").split(" | ")[-1].strip(), line


def test_every_key_of_every_table_is_on_the_page_with_its_default():
    page = settings_page()
    for field in dataclasses.fields(RunSettings()):
        section = getattr(RunSettings(), field.name)
        if not dataclasses.is_dataclass(section):
            continue
        _, _, rows = page.partition(f"\n## [{field.name}]\n")
        for key in dataclasses.fields(section):
            assert f"\n| `{key.name}` |" in rows
    assert "| `fires` | number, at least 0 | `1e-05` | activation |" in page
    assert '| `bos` | `"auto"` or `"yes"` or `"no"` | `"auto"` |' in page


def test_units_and_continued_lines_of_a_docstring_are_read():
    @dataclass
    class Example:
        """Return nothing.

        Attributes:
            wait (seconds): How long
                to wait.
            name: What it is called.
        """

        wait: float
        name: str

    assert attribute_docs(Example) == {
        "wait": ("seconds", "How long to wait."),
        "name": ("", "What it is called."),
    }


def test_a_field_without_documentation_is_named():
    @dataclass
    class Example:
        """Nothing is said of the field."""

        wait: float

    with pytest.raises(ValueError, match=r"Example\.wait is not documented"):
        attribute_docs(Example)
