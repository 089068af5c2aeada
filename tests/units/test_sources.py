"""What every file in units/sources keeps to, whichever there are."""

import re
from typing import get_args

import pytest
from support.processes import printed

from autointerp import extensions
from autointerp.errors import BadInput
from autointerp.records import Role
from autointerp.units import sources
from autointerp.units.sources import described_sources, kind_of

NAMES = extensions.names(sources)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_says_its_role_its_names_and_perhaps_its_colour(name: str):
    kind = described_sources()[name]
    assert kind.role in get_args(Role)
    one, several = kind.names
    assert re.match(r"an? \w", one)
    assert several != one
    assert not several.startswith(("a ", "an "))
    assert kind.colour == "" or re.fullmatch(r"#[0-9a-f]{6}", kind.colour)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_source_says_is_what_its_module_holds(name: str):
    module = extensions.load(sources, "source", name)
    kind = described_sources()[name]
    assert (kind.role, kind.names) == (module.ROLE, module.NAMES)
    assert callable(module.create)


def test_there_is_something_to_study_a_ceiling_and_a_floor():
    roles = {kind.role for kind in described_sources().values()}
    assert {"studied", "ceiling", "floor"} <= roles


def test_a_source_from_elsewhere_is_studied_unless_it_is_stored_as_a_control():
    assert kind_of("experts").role == "studied"
    assert kind_of("experts").names == ("a unit of experts", "experts")
    assert kind_of("experts", is_control=True).is_control


def test_sources_are_described_without_loading_torch(process_environment: dict[str, str]):
    code = (
        "import sys; from autointerp.units.sources import described_sources;"
        "print(len(described_sources()), 'torch' in sys.modules)"
    )
    assert printed(code, process_environment).split() == [str(len(NAMES)), "False"]


@pytest.mark.parametrize("constants", [("contrl", ("a", "b")), ("control", "pairs")])
def test_a_source_of_another_role_or_one_name_is_refused(monkeypatch, constants):
    def said(*arguments, **more):
        return dict(zip(("ROLE", "NAMES"), constants, strict=True))

    monkeypatch.setattr(extensions, "constants", said)
    with pytest.raises(BadInput, match=r"ROLE must be one of studied, .* and NAMES two texts"):
        described_sources.__wrapped__()
