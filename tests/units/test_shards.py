"""The same bytes for any number of processes, in any order, and after a kill."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.processes import Forked

from autointerp.errors import BadInput, CorpusError, StorageError
from autointerp.records import HarvestedUnit
from autointerp.settings import RunSettings, load_settings
from autointerp.store.run import open_run
from autointerp.subjects import Subject
from autointerp.units import shards as sharding
from autointerp.units.passes import Wanted, harvest
from autointerp.units.sample import draw_units
from autointerp.units.shards import harvest_shards
from autointerp.units.shares import Share
from autointerp.units.sources.features import create as features
from autointerp.units.sources.neurons import create as neurons
from autointerp.units.stream import calibrate


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 4 * 8 * 32)  # four batches


@pytest.fixture(scope="module")
def settings(tiny_settings: Path) -> RunSettings:
    read = load_settings(str(tiny_settings))
    return replace(read, harvest=replace(read.harvest, rows=8))


@pytest.fixture(scope="module")
def wanted(subject: Subject, settings: RunSettings) -> list[Wanted]:
    calibration = calibrate(subject, settings.harvest, settings.seed)
    numbers = np.arange(30)
    return [
        Wanted("features", features(subject, calibration, 0), numbers, numbers),
        Wanted("neurons", neurons(subject, calibration, 0), numbers[:9], numbers[:9]),
    ]


@pytest.fixture(scope="module")
def whole(subject: Subject, wanted: list[Wanted], settings: RunSettings) -> list[HarvestedUnit]:
    sample = settings.sample
    return harvest(subject, wanted, settings.harvest, settings.seed, sample.min_density,
                   sample.max_density)  # fmt: skip


def everything(*arguments: Any, **options: Any) -> list[HarvestedUnit]:
    found = harvest_shards(*arguments, **options)
    assert found is not None
    return list(found)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_processes_gives_the_same_as_one_pass(
    subject: Subject,
    wanted: list[Wanted],
    settings: RunSettings,
    whole: list[HarvestedUnit],
    tmp_path: Path,
    count: int,
):
    for rank in reversed(range(1, count)):  # in whatever order
        assert harvest_shards(subject, wanted, settings, tmp_path, Share(rank, count)) is None
    assert everything(subject, wanted, settings, tmp_path, Share(0, count)) == whole


def test_another_number_of_processes_goes_on_with_what_is_done(
    subject: Subject,
    wanted: list[Wanted],
    settings: RunSettings,
    whole: list[HarvestedUnit],
    tmp_path: Path,
):
    for rank in (1, 3):  # two of four, then all are killed
        harvest_shards(subject, wanted, settings, tmp_path, Share(rank, 4))
    read: list[int] = []
    harvest_shards(subject, wanted, settings, tmp_path, Share(1, 2), progress=read.append)
    assert read == []  # those of rank 1 of 2 were those of 1 and 3 of 4
    assert everything(subject, wanted, settings, tmp_path) == whole


def test_a_harvest_that_is_stopped_goes_on_from_the_last_shard(
    subject: Subject,
    wanted: list[Wanted],
    settings: RunSettings,
    whole: list[HarvestedUnit],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sharding, "WRITING_SHARE", 0)  # after every shard
    every: list[int] = []
    harvest_shards(subject, wanted, settings, tmp_path / "other", progress=every.append)

    def stop(tokens: int) -> None:
        if tokens == every[-2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harvest_shards(subject, wanted, settings, tmp_path, progress=stop)
    again: list[int] = []
    assert everything(subject, wanted, settings, tmp_path, progress=again.append) == whole
    assert len(again) <= 4  # the batches of one shard, not all of them
    assert again[-1] == every[-1]


def test_a_damaged_checkpoint_is_read_again(
    subject: Subject,
    wanted: list[Wanted],
    settings: RunSettings,
    whole: list[HarvestedUnit],
    tmp_path: Path,
):
    harvest_shards(subject, wanted, settings, tmp_path)
    [path] = tmp_path.glob("*/part-0.npz")
    path.write_bytes(path.read_bytes()[:-100])
    path.with_name("part-5.npz").write_bytes(b"PK\x03\x04")
    assert everything(subject, wanted, settings, tmp_path) == whole


def test_a_damaged_file_of_another_process_is_read_again_and_not_passed_over(
    subject: Subject,
    wanted: list[Wanted],
    settings: RunSettings,
    whole: list[HarvestedUnit],
    tmp_path: Path,
):
    harvest_shards(subject, wanted, settings, tmp_path, Share(1, 2))
    [path] = tmp_path.glob("*/part-1.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # which shards are in it can still be read
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"part-1.npz was damaged, and is deleted; run the same"):
        harvest_shards(subject, wanted, settings, tmp_path, Share(0, 2))
    assert everything(subject, wanted, settings, tmp_path) == whole


def test_a_shard_that_is_in_two_files_is_not_counted_twice(
    subject: Subject, wanted: list[Wanted], settings: RunSettings, tmp_path: Path
):
    harvest_shards(subject, wanted, settings, tmp_path, Share(1, 2))
    [path] = tmp_path.glob("*/part-1.npz")
    path.with_name("part-9.npz").write_bytes(path.read_bytes())
    with pytest.raises(StorageError, match=r"part-9.npz holds what part-1.npz holds, too"):
        harvest_shards(subject, wanted, settings, tmp_path, Share(0, 2))


def test_checkpoints_of_other_units_or_settings_are_not_used(
    subject: Subject, wanted: list[Wanted], settings: RunSettings, tmp_path: Path
):
    keys = {
        sharding.harvest_key(subject, wanted, settings),
        sharding.harvest_key(subject, wanted[:1], settings),
        sharding.harvest_key(subject, wanted, replace(settings, seed=1)),
        sharding.harvest_key(replace(subject, digests={"model": "x"}), wanted, settings),
    }
    assert len(keys) == 4


def test_nothing_is_left_of_checkpoints_once_their_units_are_stored(
    subject: Subject, settings: RunSettings, tmp_path: Path
):
    with open_run("r", settings, subject, tmp_path) as run:
        draw_units(run, subject, {"features": 5})
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "commits", "log.jsonl", "run.duckdb", "run.toml",
    ]  # fmt: skip


def test_a_corpus_too_short_is_refused_in_shards_too(
    subject: Subject, wanted: list[Wanted], settings: RunSettings, tmp_path: Path
):
    short = replace(settings, harvest=replace(settings.harvest, tokens=150))
    with pytest.raises(CorpusError, match="has 150 tokens"):
        harvest_shards(subject, wanted, short, tmp_path)


def stored(runs: Path, name: str) -> str:
    """A digest of all units and contexts, as they were stored."""
    with open_run(name, folder=runs, read_only=True) as run:
        rows = [run.rows(f"SELECT * FROM {t} ORDER BY 1") for t in ("unit", "context")]
    assert len(rows[0]) > 20
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def command(tiny_settings: Path, name: str) -> list[str]:
    words = ["--source", "features", "--source", "neurons", "-n", "8", "--controls", "4", "-r"]
    return ["-m", "autointerp", "harvest", "--subject", str(tiny_settings), *words, name]


@pytest.fixture(scope="module")
def by_one(tiny_settings: Path, tmp_path_factory: Any) -> Path:
    from autointerp.apps.cli import _app as cli

    folder = Path(tmp_path_factory.mktemp("by_one"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["autointerp", *command(tiny_settings, "one")[2:]])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    return folder


@pytest.fixture(scope="module")
def small_batches(by_one: Path, tiny_settings: Path) -> Path:
    """The tiny subject's settings with batches of 8 windows."""
    settings = by_one / "small.toml"
    text = tiny_settings.read_text().replace('= "', f'= "{tiny_settings.parent}/')
    settings.write_text(text.replace("[harvest]", "[harvest]\nrows = 8"))
    return settings


# The command line with shards of one batch, each of which takes a tenth of a second and is noted.
SMALL_SHARDS = """
import os, sys, time
from autointerp.apps.cli import _app as cli
from autointerp.units import shards as sharding
sharding.SHARD_TOKENS, sharding.WRITING_SHARE = 1, 0
read = sharding.at_site
def slowly(*arguments):
    time.sleep(0.1)
    with open("read-by-" + os.environ.get("RANK", "0"), "a") as file:
        file.write(".")
    return read(*arguments)
sharding.at_site = slowly
cli.main()
"""


def torchrun(folder: Path, environment: dict[str, str], *words: str) -> str:
    """Start the command in two processes; what starts these has torch already."""
    launch = ["--standalone", "--nproc-per-node", "2", *words]
    code = "from torch.distributed.run import main; main()"
    process = Forked(code, *launch, cwd=folder, environment=environment)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def test_two_processes_under_torchrun_read_their_shares_and_store_the_bytes_of_one(
    by_one: Path, small_batches: Path, process_environment: dict[str, str]
):
    (by_one / "autointerp_small.py").write_text(SMALL_SHARDS)
    words = ["-m", "autointerp_small", *command(small_batches, "split")[2:]]
    told = torchrun(by_one, process_environment, *words)
    assert "run 'split' holds 8 features, 8 neurons, 4 planted" in told
    read = [len((by_one / f"read-by-{rank}").read_text()) for rank in (0, 1)]
    assert min(read) > 5
    assert abs(read[0] - read[1]) <= 1
    assert stored(by_one / "runs", "split") == stored(by_one / "runs", "one")


def test_a_kill_in_the_middle_leaves_the_same_bytes(
    by_one: Path, small_batches: Path, process_environment: dict[str, str]
):
    words = command(small_batches, "killed")[2:]
    process = Forked(SMALL_SHARDS, *words, cwd=by_one, environment=process_environment)
    part = by_one / "runs" / "killed" / "harvest"
    until = time.monotonic() + 120
    while not list(part.glob("*/part-0.npz")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    [found] = part.glob("*/part-0.npz")
    done = len(np.load(found)["shards"])
    again = Forked(SMALL_SHARDS, *words, cwd=by_one, environment=process_environment)
    assert again.wait() == 0
    assert done >= 1
    assert stored(by_one / "runs", "killed") == stored(by_one / "runs", "one")


def test_the_processes_that_assist_open_no_run(
    command_line: Callable[..., Any],
    tiny_settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from autointerp.units import sample as sampling

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sampling, "_announced", lambda folder: {
        "for": sampling._group(Share(1, 2), load_settings(str(tiny_settings)), {"features": 3}),
        "passes": None,
    })  # fmt: skip
    arguments = ["harvest", "--subject", tiny_settings, "--n", 3, "--controls", 0]
    assert command_line(*arguments).code == 0
    assert not (tmp_path / "runs").exists()


def test_a_process_on_which_something_else_is_installed_does_not_let_the_first_one_wait(
    subject: Subject, wanted: list[Wanted], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
):
    from autointerp.units import sample as sampling

    content = sharding.harvest_content(subject, wanted, settings)
    content["libraries"]["torch"] = "1.0"
    monkeypatch.setattr(sampling, "_announced", lambda folder: {
        "for": sampling._group(Share(1, 2), settings, {"features": 3}),
        "rows": settings.harvest.rows,
        "passes": {"features": [0, 8]},
        "content": {**content, "units": {}},
    })  # fmt: skip
    with pytest.raises(BadInput, match=r"process 1 of 2 reads .* where torch is 1.0, not 2"):
        sampling.assist(Path("none"), subject, settings, {"features": 3}, Share(1, 2))
