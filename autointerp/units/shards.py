"""A harvest in shards: by any number of processes, each of which may be killed at any time.

A shard is a run of batches, the same ones however many processes there are: process r of n reads
the shards r, r + n, r + 2n, … and writes what it keeps of them, with their numbers, into a file of
its own. Nothing is exchanged while they read. The sketches are bottom-k (see `reservoirs`), so
putting the files together gives the same bytes, whichever process read what.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp import __version__
from autointerp.files import partial_file
from autointerp.records import HarvestedUnit
from autointerp.settings import RunSettings
from autointerp.subjects import Subject
from autointerp.units.columns import Columns
from autointerp.units.passes import Part, Progress, Wanted, harvested_units, parts_of, take_in
from autointerp.units.reservoirs import Buffered, Entries
from autointerp.units.stream import Reading, at_site, quiet_torch, readings, window_length

SHARD_TOKENS = 1 << 18  # padding included
WRITING_SHARE = 20  # a checkpoint is written when reading took so many times as long as writing
LOOK_AGAIN_S = 0.2


@dataclass(frozen=True)
class Share:
    """One of `count` processes that harvest together, numbered from 0."""

    rank: int = 0
    count: int = 1


def share_of_environment(environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share that torchrun (RANK, WORLD_SIZE) or srun (SLURM_PROCID) gave this process.

    In a batch script outside of srun, where SLURM_NTASKS is set but nobody else runs, all of it.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return Share(int(environment["RANK"]), int(environment["WORLD_SIZE"]))
    if "SLURM_PROCID" in environment and "SLURM_STEP_ID" in environment:
        count = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS", "1")
        return Share(int(environment["SLURM_PROCID"]), int(count))
    return Share()


def local_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the accelerator of this process where several share a machine: cuda → cuda:N."""
    local = environment.get("LOCAL_RANK") or environment.get("SLURM_LOCALID")
    if device != "cuda" or local is None or not torch.cuda.is_available():
        return device
    return f"cuda:{int(local) % torch.cuda.device_count()}"


def job_of_environment(environment: Mapping[str, str] = os.environ) -> str:
    """Return what tells this group of processes from an earlier one; the same in all of them."""
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    return "/".join(environment.get(name, "") for name in names)


def harvest_key(subject: Subject, wanted: list[Wanted], settings: RunSettings) -> str:
    """Return a name for all that decides what shards hold: checkpoints of another are not used."""
    content = {
        "version": __version__,
        "settings": settings.digest,
        "rows": settings.harvest.rows,
        "subject": subject.digests,
        "batches": "by length",
        "units": {want.name: want.numbers.tolist() for want in wanted},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def harvest_shards(
    subject: Subject,
    wanted: list[Wanted],
    settings: RunSettings,
    folder: Path,
    share: Share = Share(),
    progress: Progress = lambda tokens: None,
    on_cut: Callable[[], None] = lambda: None,
) -> Iterator[HarvestedUnit] | None:
    """Return every wanted unit, made one by one, going on where an earlier call was stopped.

    Checkpoints stand under `folder`, one file a process; `forget` deletes them. Processes other
    than the first do their share and return None; the first waits for the rest. `on_cut` is called
    where the corpus goes on after the tokens that are to be read.

    Raises CorpusError if the corpus has fewer than 2,000 tokens.
    """
    place = folder / harvest_key(subject, wanted, settings)
    parts = parts_of(wanted, settings.harvest, settings.seed)

    def take(reading: Reading, is_first: bool) -> int:
        batch = at_site(subject, reading, settings.seed)
        return take_in(parts, batch, reading, settings.harvest, settings.seed, is_first)

    tokens = read_shards(subject, settings, place, Kept(parts), take, share, progress, on_cut)
    if tokens is None:
        return None
    least, most = settings.sample.min_density, settings.sample.max_density
    return harvested_units(subject, parts, tokens, least, most)


def read_shards(
    subject: Subject,
    settings: RunSettings,
    place: Path,
    kept: Kept,
    take: Callable[[Reading, bool], int],
    share: Share = Share(),
    progress: Progress = lambda tokens: None,
    on_cut: Callable[[], None] = lambda: None,
) -> int | None:
    """Read this process's shards of the corpus; return the tokens of all, None if not the first.

    `take` is given each reading, and whether it is the first, and returns its tokens; what it keeps
    is in `kept`, which goes to the checkpoints in the folder `place` and comes from them. `on_cut`
    is called where the corpus goes on after the tokens that are to be read.
    """
    place.mkdir(parents=True, exist_ok=True)
    own = Checkpoint(place / f"part-{share.rank}.npz")
    own.load(kept)
    others = _done_by_others(own)
    length = window_length(subject, settings.harvest)
    per_shard = max(1, SHARD_TOKENS // (settings.harvest.rows * length))
    reading_shard, shards = -1, 0
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings.harvest)):
            shard = number // per_shard
            shards = shard + 1
            if reading.goes_on:
                on_cut()
            if shard != reading_shard and reading_shard >= 0:
                own.finish(reading_shard, kept)
                reading_shard = -1
            if shard % share.count != share.rank or shard in own.shards or shard in others:
                continue
            reading_shard = shard
            own.tokens += take(reading, own.tokens == 0)
            progress(own.tokens)
        if reading_shard >= 0:
            own.finish(reading_shard, kept)
    own.save(kept)
    if share.rank:
        return None
    tokens = own.tokens
    while not own.shards | _done_by_others(own) >= set(range(shards)):
        time.sleep(LOOK_AGAIN_S)
    for path in _parts_in(place):
        if path != own.path:
            other = Checkpoint(path)
            other.load(kept)
            tokens += other.tokens
    return tokens


def forget(folder: Path) -> None:
    """Delete the checkpoints under `folder`: what they held is stored."""
    for place in folder.glob("*/"):
        for file in (*place.glob("part-*.npz"), *place.glob(".part-*.npz.*.partial")):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else is in it
            place.rmdir()
    with contextlib.suppress(OSError):  # not there, or others look there for what is to be done
        folder.rmdir()


class Sums(Protocol):
    """What a reading adds up beside what is kept for units: arrays that sum."""

    def state(self) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True)
class Kept:
    """All that a reading keeps: of units, and sums beside them."""

    parts: list[Part]
    sums: Sequence[Sums] = ()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays."""
        return {
            **{
                f"{number}.{name}": array
                for number, part in enumerate(self.parts)
                for name, array in state_of(part.columns).items()
            },
            **{
                f"sums.{number}.{name}": array
                for number, sums in enumerate(self.sums)
                for name, array in sums.state().items()
            },
        }

    def absorb(self, file: Mapping[str, NDArray[Any]]) -> None:
        """Add what a file of `state` holds. Raises KeyError, and adds nothing, if a part lacks."""
        states = [
            {name: file[f"{number}.{name}"] for name in STATE} for number in range(len(self.parts))
        ]
        added = [
            [(array, file[f"sums.{number}.{name}"]) for name, array in sums.state().items()]
            for number, sums in enumerate(self.sums)
        ]
        for part, state in zip(self.parts, states, strict=True):
            absorb(part.columns, state)
        for array, more in (pair for pairs in added for pair in pairs):
            array += more


class Checkpoint:
    """What one process has kept of which shards, in a file that is never half written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards: set[int] = set()
        self.tokens = 0
        self._is_saved = True
        self._written_at = -1e9
        self._writing_s = 0.0

    def load(self, kept: Kept) -> None:
        """Add what the file holds, if it is there, to what is `kept`.

        A damaged file is deleted: the shards in it are read again.
        """
        try:
            with self.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                shards, tokens = set(file["shards"].tolist()), int(file["tokens"])
                kept.absorb(file)
        except FileNotFoundError:
            return
        except (BadZipFile, ValueError, KeyError, EOFError):
            self.path.unlink()
            return
        self.shards, self.tokens = shards, tokens

    def finish(self, shard: int, kept: Kept) -> None:
        """Note that a shard is read, and save that, unless saving would take too much time."""
        self.shards.add(shard)
        self._is_saved = False
        if time.monotonic() - self._written_at >= WRITING_SHARE * self._writing_s:
            self.save(kept)

    def save(self, kept: Kept) -> None:
        """Write the file again if something was added since."""
        if self._is_saved:
            return
        began = time.monotonic()
        state = kept.state()
        with partial_file(self.path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                shards=np.array(sorted(self.shards)),
                tokens=np.array(self.tokens),
                **state,
            )
        self._is_saved = True
        self._written_at = time.monotonic()
        self._writing_s = self._written_at - began


RESERVOIRS = ("top", "levels", "random")
STATE = ("fired", *(f"{name}.{f.name}" for name in RESERVOIRS for f in fields(Entries)))


def state_of(columns: Columns) -> dict[str, NDArray[Any]]:
    """Return all that the columns keep, as arrays."""
    state: dict[str, NDArray[Any]] = {"fired": columns.fired.numpy()}
    for name in RESERVOIRS:
        reservoir: Buffered = getattr(columns, name)
        reservoir.compact()
        for field in fields(Entries):
            state[f"{name}.{field.name}"] = getattr(reservoir.kept, field.name)
    return state


def absorb(columns: Columns, state: Mapping[str, NDArray[Any]]) -> None:
    """Add what other columns of the same units kept: exact, whatever the order."""
    columns.fired += torch.from_numpy(state["fired"])
    for name in RESERVOIRS:
        reservoir: Buffered = getattr(columns, name)
        reservoir.add(Entries(*(state[f"{name}.{field.name}"] for field in fields(Entries))))
        reservoir.compact()


def _parts_in(place: Path) -> list[Path]:
    return sorted(place.glob("part-*.npz"))


def _done_by_others(own: Checkpoint) -> set[int]:
    """Return the shards in the files of other processes, of this group or of an earlier one."""
    done: set[int] = set()
    for path in _parts_in(own.path.parent):
        if path != own.path:
            try:
                with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    done.update(file["shards"].tolist())
            except (FileNotFoundError, BadZipFile, ValueError, KeyError, EOFError):
                continue
    return done
