"""`autointerp harvest` in shards, as a job array calls it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autointerp.store.run import open_run
from autointerp.units import shards as sharding

WORDS = ("-s", "features", "-s", "neurons", "-n", 4, "--controls", 3, "--tokens", 4000)


def rows(runs: Path, name: str) -> list[Any]:
    with open_run(name, folder=runs, read_only=True) as run:
        return [run.rows(f"SELECT * FROM {t} ORDER BY ALL") for t in ("unit", "context", "silence")]


def test_shards_and_a_merge_store_what_one_command_stores_and_rate_takes_it(
    command_line: Callable[..., Any],
    tiny_settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 1)  # a shard a batch
    asked = ("harvest", "--subject", tiny_settings, *WORDS)
    assert command_line(*asked, "-r", "one").code == 0
    for shard in ("1/2", "0/2"):
        read = command_line(*asked, "-r", "split", "--shard", shard)
        assert read.code == 0
        assert f"shard {shard} of run 'split': " in read.err + read.out
    place = tmp_path / "runs" / "split"
    assert [path.name for path in place.iterdir()] == ["harvest"]  # no run is made, for two would
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place, *place.rglob("part-*"))]
    assert modes == [0o700, 0o600, 0o600]
    merged = command_line(*asked, "-r", "split", "--merge")
    assert merged.code == 0, merged.err
    assert "run 'split' holds 4 features, 4 neurons, 3 " in merged.err + merged.out
    assert rows(tmp_path / "runs", "split") == rows(tmp_path / "runs", "one")
    assert not (place / "harvest").exists()
    again = command_line(*asked, "-r", "split", "--shard", "0/2")
    assert "run 'split' holds all that was asked for; nothing to read" in again.err + again.out
    rated = command_line("rate", "-r", "split", *WORDS[:8], "--rater", "scripted:4")
    assert rated.code == 0, rated.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "2/2"), "--shard 2/2: shards are numbered from 0, so the last one is 1/2"),
        (("--shard", "1"), "--shard 1: write I/N, such as 3/8, of shards 0/8 to 7/8"),
        (("--shard", "0/0"), "--shard 0/0: N is to be from 1 to 100,000"),
        (("--shard", "0/2", "--merge"), "--merge and --shard: read every shard first, then merge"),
        (("--shards", "x"), "--shards x: give --shard I/N or --merge with it"),
        (("--shard", "0/2", "-s", "features", "-n", 10**6), "-n 1000000: "),
        (("--shard", "0/2", "-r", "../x"), "unknown run '../x'"),
        (("--merge", "-r", "../x"), "unknown run '../x'"),
        (("--merge",), "runs/main/harvest holds no shard; run `autointerp harvest --shard 0/N`"),
        (("--merge", "--shards", "x"), "x holds no shard; run `autointerp harvest --shard 0/N`"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    command_line: Callable[..., Any],
    tiny_settings: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
):
    refused = command_line("harvest", "--subject", tiny_settings, *words)
    assert refused.code == 2
    assert message in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [("--shard", "0/2"), ("--merge",)])
def test_a_shard_or_a_merge_is_not_divided_once_more_by_torchrun(
    command_line: Callable[..., Any],
    tiny_settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    refused = command_line("harvest", "--subject", tiny_settings, *words)
    assert refused.code == 2
    assert f"{' '.join(words)}: torchrun or srun started 4 processes" in refused.err
