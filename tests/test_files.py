import io
import os
import resource
import shutil
import threading
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bombs

from autointerp.errors import StorageError
from autointerp.files import (
    bounded_lines,
    check_archive,
    check_readable_twice,
    json_value,
    partial_file,
    partial_folder,
    restore_folder,
    toml_table,
    write_all,
    write_bytes,
    write_text,
)

DEAD = 2**22 + 1  # above the largest number that Linux gives a process

FULL = OSError(28, "No space left on device")


def write_half(path: Path, error: Exception) -> None:
    with partial_file(path, "buy a disk") as partial:
        partial.write_text("half")
        raise error


def is_old(path: Path) -> bool:
    return path.name != "notes"


def make_half(path: Path) -> None:
    with partial_folder(path, is_old) as partial:
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


def by_torch(file: Path) -> None:
    import torch

    torch.save(torch.zeros(10_000), file)


def by_safetensors(file: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"zeros": np.zeros(10_000)}, file)


def by_tokenizers(file: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    Tokenizer(BPE({f"{n}": n for n in range(10_000)}, [])).save(str(file))


@pytest.mark.parametrize("save", [by_torch, by_safetensors, by_tokenizers])
def test_so_is_a_full_disk_for_which_a_library_has_an_error_of_its_own(
    tmp_path: Path, save: Callable[[Path], None]
):
    # A limit on the size of files stands for the full disk: the same failing write.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    told = r"cannot write .*/a \(File too large\); buy a disk$"
    try:
        with (
            pytest.raises(StorageError, match=told),
            partial_file(tmp_path / "a", "buy a disk") as file,
        ):
            save(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
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
    with partial_folder(tmp_path / "out", is_old) as partial:
        (partial / "old").write_text("1")
    with pytest.raises(StorageError, match="No space left"):
        make_half(tmp_path / "out")
    assert names(tmp_path / "out") == ["old"]
    with partial_folder(tmp_path / "out", is_old) as partial:
        (partial / "new").write_text("3")
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_a_short_write_is_followed_by_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, content[:3]))
    handle = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    write_all(handle, b"0123456789")
    os.close(handle)
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_disk_that_takes_nothing_more_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "write", lambda handle, content: 0)
    handle = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        write_all(handle, b"0")
    os.close(handle)


def test_a_private_file_is_never_readable_by_others(tmp_path: Path):
    with partial_file(tmp_path / "a", mode=0o600) as partial:
        assert partial.stat().st_mode & 0o777 == 0o600
        partial.write_text("secret")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_files_of_others_stay_in_a_folder_that_is_replaced(tmp_path: Path):
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "notes").write_text("mine")
    (out / "notes").symlink_to("nowhere")
    (out / "old").write_text("1")
    with partial_folder(out, is_old) as partial:
        (partial / "new").write_text("2")
    assert names(out) == ["deep", "new", "notes"]
    assert (out / "deep" / "notes").read_text() == "mine"
    assert (out / "notes").is_symlink()


class Killed(BaseException):
    """In place of a kill: nothing is cleared away after it."""


@pytest.mark.parametrize("steps", range(4))
def test_a_kill_at_any_step_of_a_replacement_leaves_a_folder_that_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
):
    """Steps: the old one renamed, the new one renamed, the old one removed."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "page").write_text("old")
    (out / "notes").write_text("mine")
    done = 0

    def step(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            if done == steps < 3:
                raise Killed
            done += 1
            return real(*arguments, **options)

        return counted

    with (
        monkeypatch.context() as patched,
        pytest.raises(Killed) if steps < 3 else nullcontext(),
        partial_folder(out, is_old) as partial,
    ):
        (partial / "page").write_text("new")
        patched.setattr(Path, "replace", step(Path.replace))
        patched.setattr(shutil, "rmtree", step(shutil.rmtree))
    restore_folder(out)
    assert (out / "page").read_text() == ("old" if steps < 2 else "new")
    assert names(out) == ["notes", "page"]
    assert names(tmp_path) == ["out"]


def test_two_threads_may_write_one_file_at_once(tmp_path: Path):
    with partial_file(tmp_path / "out") as mine:
        thread = threading.Thread(target=write_text, args=(tmp_path / "out", "theirs"))
        thread.start()
        thread.join()
        mine.write_text("mine")
    assert (tmp_path / "out").read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_what_a_dead_process_left_is_cleared_away_and_nothing_else(tmp_path: Path):
    for name in (".out.{}.partial", ".out.more.{}.former", ".out.x.partial", "out.{}.partial"):
        (tmp_path / name.format(DEAD)).mkdir()
    (tmp_path / f".out.{os.getppid()}.partial").mkdir()  # of a process that lives
    restore_folder(tmp_path / "out")
    assert names(tmp_path) == sorted(
        [
            f".out.more.{DEAD}.former",
            ".out.x.partial",
            f"out.{DEAD}.partial",
            f".out.{os.getppid()}.partial",
        ]
    )


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


def test_a_line_longer_than_memory_might_hold_is_refused_where_it_is_read() -> None:
    assert list(bounded_lines(io.StringIO("a\nbcde\nf"), longest=5)) == ["a\n", "bcde\n", "f"]
    lines = bounded_lines(io.BytesIO(b"a\n" + b"x" * 9), longest=5)
    assert next(lines) == b"a\n"
    with pytest.raises(ValueError, match="longer than 5"):
        next(lines)


def test_an_archive_that_unpacks_to_more_than_its_size_can_mean_is_refused(tmp_path):
    file = tmp_path / "x.npz"
    file.write_bytes(bombs.zipped("tokens.npy", b"", 300))
    with pytest.raises(ValueError, match="unpack to more than 300 MB"):
        check_archive(file)
    file.write_bytes(bombs.zipped("tokens.npy", b"", 200))  # small enough for any ratio
    check_archive(file)
    file.write_bytes(b"no archive")
    check_archive(file)


def test_what_cannot_be_read_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="neither a file nor a folder"):
            check_readable_twice(path)
    check_readable_twice(tmp_path)
    check_readable_twice(tmp_path / "nothing")
