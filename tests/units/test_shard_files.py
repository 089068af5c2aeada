"""Shares of a harvest read apart and joined: the bytes of one process, or what is amiss."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadInput, RunLocked
from autointerp.files import open_locked
from autointerp.settings import RunSettings, load_settings
from autointerp.store.run import open_run
from autointerp.subjects import Subject
from autointerp.units import sample
from autointerp.units import shards as sharding
from autointerp.units.sample import draw_units, read_shard
from autointerp.units.shares import Share

WANTED = {"features": 6, "neurons": 3}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 4 * 8 * 32)  # four batches
    monkeypatch.setattr(sharding, "WRITING_SHARE", 0)  # saved after every shard


@pytest.fixture(scope="module")
def settings(tiny_settings: Path) -> RunSettings:
    read = load_settings(str(tiny_settings))
    return replace(read, harvest=replace(read.harvest, rows=8, tokens=6_000))


def stored(runs: Path, name: str) -> str:
    """A digest of all units and contexts, as they were stored."""
    with open_run(name, folder=runs, read_only=True) as run:
        rows = [run.rows(f"SELECT * FROM {t} ORDER BY ALL") for t in ("unit", "context", "silence")]
        is_cut = run.is_cut()
    assert all(rows)
    return hashlib.sha256(repr((rows, is_cut)).encode()).hexdigest()


@pytest.fixture(scope="module")
def runs_of_one(subject: Subject, settings: RunSettings, tmp_path_factory: Any) -> Path:
    runs = Path(tmp_path_factory.mktemp("by_one"))
    with open_run("r", settings, subject, runs) as run:
        draw_units(run, subject, WANTED)
    return runs


@pytest.fixture(scope="module")
def by_one(runs_of_one: Path) -> str:
    return stored(runs_of_one, "r")


@pytest.fixture(scope="module")
def three(subject: Subject, settings: RunSettings, tmp_path_factory: Any) -> Path:
    """A folder with the files of three shards."""
    folder = Path(tmp_path_factory.mktemp("three"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sharding, "SHARD_TOKENS", 4 * 8 * 32)
        for rank in (2, 0, 1):
            read_shard(folder, subject, settings, {}, WANTED, Share(rank, 3))
    return folder


@pytest.fixture
def shards(three: Path, tmp_path: Path) -> Path:
    """A copy of these."""
    return Path(shutil.copytree(three, tmp_path / "shards"))


def merge(shards: Path, subject: Subject, settings: RunSettings) -> str:
    """Join the files in a run beside them, and return the digest of what is stored."""
    with open_run("r", settings, subject, shards.parent / "runs") as run:
        draw_units(run, subject, WANTED, shards=shards)
    return stored(shards.parent / "runs", "r")


def test_three_shards_read_apart_give_the_bytes_of_one_process(
    shards: Path, subject: Subject, settings: RunSettings, by_one: str
):
    assert merge(shards, subject, settings) == by_one
    assert list(shards.iterdir()) == []  # what they held is stored


def test_more_shards_than_the_corpus_has_parts_give_the_same_bytes(
    subject: Subject, settings: RunSettings, by_one: str, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 1 << 18)  # one part
    for rank in (1, 0):
        read = read_shard(tmp_path / "shards", subject, settings, {}, WANTED, Share(rank, 2))
        assert read is not None
        assert len(read[1].shards) == 1 - rank
    assert merge(tmp_path / "shards", subject, settings) == by_one


def test_a_shard_that_was_stopped_resumes_and_until_then_it_is_named(
    shards: Path, subject: Subject, settings: RunSettings, by_one: str
):
    [part] = shards.glob("*/part-1.npz")
    tokens = int(np.load(part)["tokens"])
    part.unlink()

    def stop(label: str, tokens: int) -> None:
        if np.load(part)["shards"].size if part.exists() else False:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_shard(shards, subject, settings, {}, WANTED, Share(1, 3), stop)
    with pytest.raises(BadInput, match=r"part-1.npz is of a shard that was stopped.*--shard 1/3"):
        merge(shards, subject, settings)
    again: list[int] = []
    read = read_shard(
        shards, subject, settings, {}, WANTED, Share(1, 3), lambda label, n: again.append(n)
    )
    assert read is not None
    assert len(again) == 5  # batches of parts 4 (four) and 7 (one); those of part 1 were kept
    assert read[1].tokens == tokens
    assert merge(shards, subject, settings) == by_one


def without_one(shards: Path) -> None:
    next(shards.glob("*/part-1.npz")).unlink()


def without_two(shards: Path) -> None:
    without_one(shards)
    next(shards.glob("*/part-2.npz")).unlink()


def cut(shards: Path) -> None:
    [part] = shards.glob("*/part-1.npz")
    part.write_bytes(part.read_bytes()[:-50])


def with_a_turned_bit(shards: Path) -> None:
    [part] = shards.glob("*/part-1.npz")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def empty(shards: Path) -> None:
    next(shards.glob("*/part-1.npz")).write_bytes(b"")


def all_cut(shards: Path) -> None:
    """None says any more which units they are about, so they are looked for elsewhere."""
    for part in shards.glob("*/part-*.npz"):
        part.write_bytes(part.read_bytes()[:-50])
    next(shards.iterdir()).rename(shards / "0123456789abcdef")


def twice(shards: Path) -> None:
    [part] = shards.glob("*/part-1.npz")
    shutil.copy(part, part.with_name("part-7.npz"))


def of_nothing(shards: Path) -> None:
    shutil.rmtree(shards)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (without_one, r"lacks shard 1/3; run --shard 1/3, then --merge$"),
        (without_two, r"lacks shard 1/3, 2/3; run --shard 1/3 and the others, then --merge$"),
        (cut, r"part-1.npz is cut or damaged; run --shard 1/N once more"),
        (with_a_turned_bit, r"part-1.npz is cut or damaged; run --shard 1/N once more"),
        (empty, r"part-1.npz is cut or damaged; run --shard 1/N once more"),
        (all_cut, r"part-0.npz is cut or damaged; run --shard 0/N once more"),
        (twice, r"part-7.npz holds what part-1.npz holds, too; delete one of them$"),
        (of_nothing, r"holds no shard of this harvest; run --shard 0/N to N-1/N first$"),
    ],
)
def test_what_is_amiss_with_shards_is_named_in_one_line(
    fault: Callable[[Path], None],
    message: str,
    shards: Path,
    subject: Subject,
    settings: RunSettings,
):
    fault(shards)
    with pytest.raises(BadInput, match=message) as caught:
        merge(shards, subject, settings)
    assert "\n" not in str(caught.value)


def noted(path: Path, old: str, new: str) -> None:
    """Rewrite what a file says it was made of."""
    with np.load(path) as file:
        arrays = dict(file)
    made_of = str(arrays["made_of"])
    assert made_of.count(old) == 1
    arrays["made_of"] = np.array(made_of.replace(old, new))
    np.savez(path, **arrays)


def test_shards_of_other_settings_units_subjects_or_code_are_refused_by_name(
    shards: Path, subject: Subject, settings: RunSettings
):
    def refused(match: str, **others: Any) -> None:
        with pytest.raises(BadInput, match=match):
            merge(shards, others.get("subject", subject), others.get("settings", settings))
        shutil.rmtree(shards.parent / "runs")

    refused("does not belong to this harvest: seed is 0, not 1", settings=replace(settings, seed=1))
    rows = replace(settings, harvest=replace(settings.harvest, rows=16))
    refused("harvest.rows is 8, not 16", settings=rows)
    other = replace(subject, digests={**subject.digests, "sae": "x"})
    refused("its sae is another one", subject=other)
    [part] = shards.glob("*/part-1.npz")
    noted(part, sharding.code_digest(*sharding.DECIDES), "0" * 64)
    refused(r"part-1.npz does not belong to this harvest: the code of autointerp is another")
    torch = f'"torch": "{sharding.version_of("torch")}"'
    noted(part, "0" * 64, sharding.code_digest(*sharding.DECIDES))
    noted(part, torch, '"torch": "1.0"')
    refused(r"part-1.npz does not belong to this harvest: torch is 1.0, not")
    noted(part, '"torch": "1.0"', torch)
    with np.load(part) as file:
        arrays = {name: array for name, array in file.items() if name != "made_of"}
    np.savez(part, **arrays)  # as an earlier version wrote it
    refused("part-1.npz does not belong to this harvest: it does not say what it was made of")


def test_another_number_of_shards_reads_what_is_left(
    shards: Path, subject: Subject, settings: RunSettings, by_one: str
):
    without_two(shards)
    read = read_shard(shards, subject, settings, {}, WANTED, Share(1, 2))
    assert read is not None
    with pytest.raises(BadInput, match=r"holds files of 2 and of 3 shards, and .* --shard 0/1"):
        merge(shards, subject, settings)
    read_shard(shards, subject, settings, {}, WANTED, Share(0, 1))
    assert merge(shards, subject, settings) == by_one


@pytest.mark.parametrize("looks", [True, False])
def test_units_that_are_still_missing_after_a_merge_take_the_shards_once_more(
    subject: Subject,
    settings: RunSettings,
    runs_of_one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    looks: bool,
):
    if not looks:
        monkeypatch.setattr(sample, "LOOKED_SHARE", 10**9)
    with open_run("r", folder=runs_of_one, read_only=True) as run:
        densities = sorted(unit.summary.density for unit in run.units("features"))
    least = densities[3 * len(densities) // 4]  # a quarter passes, so 6 of 13 features do not
    few = replace(settings, sample=replace(settings.sample, min_density=least))
    shards = tmp_path / "shards"
    rounds = 0
    while True:
        held: dict[str, Any] = {}
        if (tmp_path / "runs").exists():
            with open_run("r", folder=tmp_path / "runs", read_only=True) as run:
                held = {name: run.units(name) for name in WANTED}
        for rank in (0, 1):
            read_shard(shards, subject, few, held, WANTED, Share(rank, 2))
        try:
            found = merge(shards, subject, few)
        except BadInput as error:
            assert "run every shard once more, then --merge" in str(error)  # noqa: PT017
            rounds += 1
            assert rounds < 9
            continue
        break
    assert (rounds == 0) == looks  # what the first tokens say of the others is right here
    with open_run("one", few, subject, tmp_path / "runs") as run:
        draw_units(run, subject, WANTED)
    assert found == stored(tmp_path / "runs", "one")
    with open_run("r", folder=tmp_path / "runs", read_only=True) as run:
        held = {name: run.units(name) for name in WANTED}
    assert read_shard(shards, subject, few, held, WANTED, Share(0, 2)) is None


def test_a_merge_takes_the_units_that_its_shards_are_about_wherever_they_were_read(
    subject: Subject,
    settings: RunSettings,
    runs_of_one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    shards = tmp_path / "shards"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sample, "likely_shares", lambda *_: {"features": 0.35, "neurons": 1.0})
        for rank in (0, 1):
            assert read_shard(shards, subject, settings, {}, WANTED, Share(rank, 2)) is not None
    damaged = shards / "0123456789abcdef"
    damaged.mkdir()
    (damaged / "part-0.npz").write_bytes(b"PK")  # of another harvest: no matter
    merge(shards, subject, settings)
    with (
        open_run("r", folder=runs_of_one, read_only=True) as one,
        open_run("r", folder=tmp_path / "runs", read_only=True) as merged,
    ):
        for name, n in WANTED.items():
            ours, theirs = ([u.summary for u in run.sampled(name, n)] for run in (merged, one))
            assert ours == theirs
        assert len(merged.units("features")) > len(one.units("features"))


def test_a_shard_that_another_process_reads_is_refused(
    shards: Path, subject: Subject, settings: RunSettings
):
    [part] = shards.glob("*/part-1.npz")
    handle = open_locked(part.with_name(".part-1.lock"))
    assert handle is not None
    with pytest.raises(RunLocked, match="shard 1/3 is being read by another process"):
        read_shard(shards, subject, settings, {}, WANTED, Share(1, 3))
