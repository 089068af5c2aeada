from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.questions import kit
from autointerp.questions.kit import kit_units
from autointerp.questions.kit_store import packed, stored_units, unpacked
from autointerp.questions.planter import GRADES, PlantedUnit
from autointerp.records import DRAWS, SPLITS, Context

DIGEST, OTHER = "d" * 64, "e" * 64
TEXTS = st.text(max_size=4)  # zeros at the end and lone characters of all planes among them
FLOATS = st.floats(0, 1e4, width=32)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    window = draw(st.lists(st.tuples(TEXTS, FLOATS), min_size=1, max_size=4))
    return Context(
        tokens=tuple(text for text, _ in window),
        activations=tuple(value for _, value in window),
        focus=draw(st.integers(0, len(window) - 1)),
        draw=draw(st.sampled_from(DRAWS)),
        interval=draw(st.none() | st.integers(1, 10)),
        split=draw(st.sampled_from(SPLITS)),
        silent=draw(st.booleans()),
        document=draw(st.integers(0, 10**6)),
        position=draw(st.integers(0, 10**6)),
    )


UNITS = st.builds(
    PlantedUnit,
    grade=st.sampled_from(GRADES),
    kinds=st.lists(TEXTS, max_size=3).map(tuple),
    dense=st.booleans(),
    rule=TEXTS,
    contexts=st.lists(contexts(), max_size=3).map(tuple),
)


@given(st.lists(UNITS, max_size=3))
def test_units_come_back_as_they_were(units: list[PlantedUnit]):
    assert unpacked(packed(units, DIGEST), DIGEST) == tuple(units)


def unit(rule: str) -> PlantedUnit:
    window = Context((" a\0", ""), (0.5, 0.0), 0, "top", 3, "score", False, 1, 2)
    return PlantedUnit("clean", ("token",), False, rule, (window,))


class Maker:
    """Counts how often it is asked for units."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> list[PlantedUnit]:
        self.made += 1
        return [unit("a rule")]


def test_units_are_made_once_and_then_read(tmp_path: Path):
    make = Maker()
    first = stored_units(tmp_path / "kit", "test-17", DIGEST, make)
    assert stored_units(tmp_path / "kit", "test-17", DIGEST, make) == first == (unit("a rule"),)
    assert make.made == 1


def test_units_of_another_digest_are_made_anew_and_the_old_file_goes(tmp_path: Path):
    make = Maker()
    stored_units(tmp_path, "test-17", DIGEST, make)
    stored_units(tmp_path, "test-4", DIGEST, make)
    stored_units(tmp_path, "test-17", OTHER, make)
    assert make.made == 3
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == [f"test-17-{OTHER[:16]}.npz", f"test-4-{DIGEST[:16]}.npz"]


@pytest.mark.parametrize("content", [b"", b"not a file of arrays", None, packed([], OTHER)])
def test_a_file_that_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes | None):
    make = Maker()
    stored_units(tmp_path, "test-17", DIGEST, make)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert stored_units(tmp_path, "test-17", DIGEST, make) == (unit("a rule"),)
    assert make.made == 2
    assert path.read_bytes() == whole


def test_a_place_that_takes_no_file_costs_the_time_alone(tmp_path: Path):
    (tmp_path / "kit").write_text("a file stands where the folder should")
    make = Maker()
    assert stored_units(tmp_path / "kit", "test-17", DIGEST, make) == (unit("a rule"),)


def test_kits_of_another_side_size_version_or_code_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[str, str]] = []

    def store(folder: Path, name: str, digest: str, make: object) -> tuple[PlantedUnit, ...]:
        asked.append((name, digest))
        return ()

    monkeypatch.setattr(kit, "stored_units", store)
    kit_units.cache_clear()
    kit_units(17, "test", tmp_path)
    kit_units(17, "design", tmp_path)
    kit_units(4, "test", tmp_path)
    monkeypatch.setattr(kit, "KIT", kit.KIT + 1)
    kit_units.cache_clear()
    kit_units(17, "test", tmp_path)
    monkeypatch.setattr(kit, "code_digest", lambda: "of other code")
    kit_units.cache_clear()
    kit_units(17, "test", tmp_path)
    kit_units.cache_clear()
    assert [name for name, _ in asked] == ["test-17", "design-17", "test-4", "test-17", "test-17"]
    assert len({digest for _, digest in asked}) == 5
