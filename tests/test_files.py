import io
import os
import tomllib
from pathlib import Path

import pytest

from autointerp.errors import StorageError
from autointerp.files import (
    bounded_lines,
    json_value,
    partial_file,
    partial_folder,
    toml_table,
    write_bytes,
    write_text,
)

FULL = OSError(28, "No space left on device")


def write_half(path: Path, error: Exception) -> None:
    with partial_file(path, "buy a disk") as partial:
        partial.write_text("half")
        raise error


def make_half(path: Path) -> None:
    with partial_folder(path) as partial:
        (partial / "half").write_text("2")
        raise FULL


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_the_old_one_and_nothing_else_stays(tmp_path: Path):
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "näw\n")
    write_bytes(tmp_path / "b", b"\x00")
    assert (tmp_path / "a.txt").read_bytes() == "näw\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00"
    assert names(tmp_path) == ["a.txt", "b"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "a", ZeroDivisionError())
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_is_one_line_with_the_file_and_the_remedy(tmp_path: Path):
    with pytest.raises(StorageError, match=r"cannot write .*/a \(No space left.*\); buy a disk$"):
        write_half(tmp_path / "a", FULL)
    assert names(tmp_path) == []


def test_a_folder_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path):
    with pytest.raises(StorageError, match="choose another place"):
        write_text(tmp_path / "missing" / "a", "text")


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "to").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "to" / "b")
    write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "to" / "b").read_text() == "text"


def test_the_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("rename"), rename(*paths)))
    write_text(tmp_path / "a", "text")
    assert calls == ["sync", "rename", "sync"]  # the file, its name, the folder


def test_a_folder_takes_the_place_of_the_old_one_or_leaves_it(tmp_path: Path):
    with partial_folder(tmp_path / "out") as partial:
        (partial / "old").write_text("1")
    with pytest.raises(StorageError, match="No space left"):
        make_half(tmp_path / "out")
    assert names(tmp_path / "out") == ["old"]
    with partial_folder(tmp_path / "out") as partial:
        (partial / "new").write_text("3")
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "{", '{"a": ' + "9" * 5000 + "}"]
)
def test_json_that_is_none_or_without_end_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (of the parser, in its own words)
        json_value(text)
    assert json_value(b'{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 20_000, "a = " + "9" * 5_000, "= =", "a = 2020-99-99", "a = {b = " * 20_000],
)
def test_toml_that_is_none_or_without_end_is_one_error(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        toml_table(text)
    assert toml_table("a = 1") == {"a": 1}


def test_a_line_longer_than_memory_might_hold_is_refused_where_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autointerp.files.LONGEST_LINE", 5)
    assert list(bounded_lines(io.StringIO("a\nbcde\nf"))) == ["a\n", "bcde\n", "f"]
    lines = bounded_lines(io.BytesIO(b"a\n" + b"x" * 9))
    assert next(lines) == b"a\n"
    with pytest.raises(ValueError, match="longer than 5"):
        next(lines)
