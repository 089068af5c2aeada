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
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp import __version__
from autointerp.errors import SettingsError, StorageError
from autointerp.files import PRIVATE_FILE, PRIVATE_FOLDER, partial_file
from autointerp.records import HarvestedUnit
from autointerp.settings import RunSettings, first_difference, from_mapping
from autointerp.subjects import Subject
from autointerp.subjects.provenance import code_digest, version_of
from autointerp.units.columns import Columns
from autointerp.units.passes import (
    Part,
    Progress,
    Wanted,
    harvested_units,
    parts_of,
    places_of,
    take_in,
)
from autointerp.units.reservoirs import Buffered, Entries
from autointerp.units.shares import Share
from autointerp.units.stream import Reading, at_site, quiet_torch, readings, window_length

SHARD_TOKENS = 1 << 18  # padding included
WRITING_SHARE = 20  # a checkpoint is written when reading took so many times as long as writing
LOOK_AGAIN_S = 0.2
DECIDES = ("units", "subjects", "text.py")  # code that decides what shards hold
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
# What reading a file raises that is cut or damaged.
DAMAGE = (
    BadZipFile, zlib.error, struct.error, ValueError, KeyError, TypeError, EOFError, RuntimeError,
)  # fmt: skip


def local_device(device: str) -> str:
    """Return the accelerator of this process where several share a machine: cuda → cuda:N."""
    local = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID")
    if device != "cuda" or local is None or not torch.cuda.is_available():
        return device
    return f"cuda:{int(local) % torch.cuda.device_count()}"


def harvest_content(
    subject: Subject, wanted: list[Wanted], settings: RunSettings
) -> dict[str, Any]:
    """Return all that decides what shards hold: those of another content are not used."""
    return {
        "version": __version__,
        "code": code_digest(*DECIDES),
        "libraries": {name: version_of(name) for name in LIBRARIES},
        "settings": {**asdict(settings), "digest": settings.digest},
        "rows": settings.harvest.rows,
        "subject": subject.digests,
        "batches": "by length",
        "units": {want.name: want.numbers.tolist() for want in wanted},
    }


def harvest_key(subject: Subject, wanted: list[Wanted], settings: RunSettings) -> str:
    """Return a name for all that decides what shards hold."""
    return key_of(harvest_content(subject, wanted, settings))


def key_of(content: Mapping[str, Any]) -> str:
    """Return the name of what decides; settings that change no result do not."""
    decides = {**content, "settings": content["settings"]["digest"]}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def difference(made: Mapping[str, Any], content: Mapping[str, Any]) -> str | None:
    """Return in what a shard's content differs from another one, first what a user decides."""
    wanted = json.loads(json.dumps(content))
    if {name: type(value) for name, value in made.items()} != {
        name: type(value) for name, value in wanted.items()
    } or "digest" not in made["settings"]:
        return "it does not say what it was made of, or another version made it"
    if key_of(made) == key_of(wanted):
        return None
    if made["settings"]["digest"] != wanted["settings"]["digest"]:
        return _setting_that_differs(made["settings"], wanted["settings"])
    if made["rows"] != wanted["rows"]:
        return f"harvest.rows is {made['rows']}, not {wanted['rows']}"
    for part in sorted({*made["subject"], *wanted["subject"]}):
        if made["subject"].get(part) != wanted["subject"].get(part):
            return f"its {part} is another one"
    for source in sorted({*made["units"], *wanted["units"]}):
        if made["units"].get(source) != wanted["units"].get(source):
            has, lacks = (len(one["units"].get(source, ())) for one in (made, wanted))
            return f"it is about {has} units of {source}, not {lacks}, or about others"
    for library in sorted({*made["libraries"], *wanted["libraries"]}):
        old, new = made["libraries"].get(library), wanted["libraries"].get(library)
        if old != new:
            return f"{library} is {old}, not {new}"
    return f"the code of autointerp is another one (version {made['version']})"


def _setting_that_differs(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    try:
        made, wanted = (
            from_mapping(RunSettings, {k: v for k, v in of.items() if k != "digest"}, "a shard")
            for of in (one, other)
        )
    except SettingsError:
        return "it was made with other settings"
    return first_difference(made, wanted) or "it was made with other settings"


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
    parts = parts_of(wanted, settings.harvest, settings.seed)
    content = harvest_content(subject, wanted, settings)
    tokens = read_shards(
        subject,
        settings,
        folder / key_of(content),
        Kept(parts),
        taking(subject, parts, settings),
        share,
        progress,
        on_cut,
        content,
    )
    if tokens is None:
        return None
    least, most = settings.sample.min_density, settings.sample.max_density
    return harvested_units(subject, parts, tokens, least, most)


def taking(
    subject: Subject, parts: list[Part], settings: RunSettings
) -> Callable[[Reading, bool], int]:
    """Return what takes a reading of the subject at its site into the parts."""

    def take(reading: Reading, is_first: bool) -> int:
        batch = at_site(subject, reading, settings.seed)
        take_in(parts, batch, places_of(reading, settings.harvest, settings.seed, is_first))
        return int(reading.kept.sum())

    return take


def make_folder(place: Path) -> None:
    """Make the folder of checkpoints. Raises StorageError if it cannot be made."""
    try:
        place.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make {place} ({error.strerror or error}); choose another folder"
        ) from None


def read_shards(
    subject: Subject,
    settings: RunSettings,
    place: Path,
    kept: Kept,
    take: Callable[[Reading, bool], int],
    share: Share = Share(),
    progress: Progress = lambda tokens: None,
    on_cut: Callable[[], None] = lambda: None,
    content: Mapping[str, Any] | None = None,
) -> int | None:
    """Read this process's shards of the corpus; return the tokens of all, None if not the first.

    `take` is given each reading, and whether it is the first, and returns its tokens; what it keeps
    is in `kept`, which goes to the checkpoints in the folder `place` and comes from them. `on_cut`
    is called where the corpus goes on after the tokens that are to be read. `content` is what
    decides what is kept, noted in the checkpoint.
    """
    own = read_share(subject, settings, place, kept, take, share, progress, content)
    if own.goes_on:
        on_cut()
    if share.rank:
        return None
    while not own.shards | _done_by_others(own) >= set(range(own.total)):
        time.sleep(LOOK_AGAIN_S)
    return own.tokens + add_parts(kept, own)


def read_share(
    subject: Subject,
    settings: RunSettings,
    place: Path,
    kept: Kept,
    take: Callable[[Reading, bool], int],
    share: Share = Share(),
    progress: Progress = lambda tokens: None,
    content: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Read this process's shards of the corpus, but for those in files of others; return its file.

    Raises StorageError if the folder `place` cannot be made or written.
    """
    make_folder(place)
    own = Checkpoint(part_path(place, share.rank), share.count, json.dumps(content or {}))
    own.load(kept)
    others = _done_by_others(own)
    length = window_length(subject, settings.harvest)
    per_shard = max(1, SHARD_TOKENS // (settings.harvest.rows * length))
    reading_shard, shards, goes_on = -1, 0, False
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings.harvest)):
            shard = number // per_shard
            shards = shard + 1
            goes_on |= reading.goes_on
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
    own.close(shards, goes_on, kept)
    return own


def add_parts(kept: Kept, own: Checkpoint) -> int:
    """Add to what is kept what the files beside `own` hold, and return their tokens.

    Raises StorageError if one is damaged that is needed, or a shard is in two of them.
    """
    tokens = 0
    in_file = dict.fromkeys(own.shards, own.path)
    damaged = []
    for path in parts_in(own.path.parent):
        if path == own.path:
            continue
        part = Checkpoint(path)
        part.load(kept)
        if not path.exists():
            damaged.append(path)
        for shard in part.shards:
            if shard in in_file:
                raise StorageError(
                    f"{path} holds what {in_file[shard].name} holds, too; delete one of them and "
                    "run the same command again"
                )
        in_file.update(dict.fromkeys(part.shards, path))
        tokens += part.tokens
    if damaged and len(in_file) < own.total:
        raise StorageError(
            f"{damaged[0]} was damaged, and is deleted; run the same command again: it reads what "
            "was in it"
        )
    return tokens


def part_path(place: Path, rank: int) -> Path:
    """Return the file of a process."""
    return place / f"part-{rank}.npz"


def forget(folder: Path) -> None:
    """Delete the checkpoints under `folder`: what they held is stored."""
    for place in folder.glob("*/"):
        forget_place(place)
    with contextlib.suppress(OSError):  # not there, or others look there for what is to be done
        folder.rmdir()


def forget_place(place: Path) -> None:
    """Delete the checkpoints in one folder."""
    for file in (*parts_in(place), *place.glob(".part-*.npz.*.partial"), *place.glob("*.lock")):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else is in it
        place.rmdir()


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


@dataclass(frozen=True)
class Contents:
    """What a checkpoint says of itself.

    Attributes:
        shards: Of the corpus, those that are in it.
        tokens: Of these shards.
        count: Processes among which the corpus was divided when it was written.
        total: Shards of the corpus; -1 as long as the process had not read its share.
        goes_on: Whether the corpus has more tokens than were to be read.
        made_of: What decides what shards hold, as JSON.
    """

    shards: frozenset[int]
    tokens: int
    count: int
    total: int
    goes_on: bool
    made_of: str

    @property
    def is_whole(self) -> bool:
        """Whether the process had read its share."""
        return self.total >= 0


def contents_of(file: Mapping[str, NDArray[Any]]) -> Contents:
    """Return what an open checkpoint says of itself. Raises KeyError or ValueError if it does not.

    One written by an earlier version does not say how many shards there are.
    """
    return Contents(
        frozenset(file["shards"].tolist()),
        int(file["tokens"]),
        int(file["count"]) if "count" in file else 1,
        int(file["total"]) if "total" in file else -1,
        bool(file["goes_on"]) if "goes_on" in file else False,
        str(file["made_of"]) if "made_of" in file else "{}",
    )


def arrays_in(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in a checkpoint, every byte of which was checked.

    Raises FileNotFoundError if it is not there, StorageError if it cannot be read, one of `DAMAGE`
    if it is cut or damaged.
    """
    try:
        with path.open("rb") as raw:
            with ZipFile(raw) as archive:
                if damaged := archive.testzip():
                    raise BadZipFile(damaged)
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot read {path} ({error.strerror or error}); correct that, or delete it"
        ) from None


class Checkpoint:
    """What one process has kept of which shards, in a file that is never half written."""

    def __init__(self, path: Path, count: int = 1, made_of: str = "{}") -> None:
        self.path = path
        self.shards: set[int] = set()
        self.tokens = 0
        self.count = count
        self.total = -1
        self.goes_on = False
        self.made_of = made_of
        self._is_saved = True
        self._written_at = -1e9
        self._writing_s = 0.0

    @property
    def contents(self) -> Contents:
        """What its file says of itself once it is saved."""
        return Contents(
            frozenset(self.shards), self.tokens, self.count, self.total, self.goes_on, self.made_of
        )

    def load(self, kept: Kept) -> None:
        """Add what the file holds, if it is there, to what is `kept`.

        A damaged file is deleted: the shards in it are read again.
        """
        try:
            arrays = arrays_in(self.path)
            contents = contents_of(arrays)
            kept.absorb(arrays)
        except FileNotFoundError:
            return
        except DAMAGE:
            self.path.unlink()
            return
        self.shards, self.tokens = set(contents.shards), contents.tokens

    def finish(self, shard: int, kept: Kept) -> None:
        """Note that a shard is read, and save that, unless saving would take too much time."""
        self.shards.add(shard)
        self._is_saved = False
        if time.monotonic() - self._written_at >= WRITING_SHARE * self._writing_s:
            self.save(kept)

    def close(self, total: int, goes_on: bool, kept: Kept) -> None:
        """Note that the share is read, and how many shards the corpus has, and save that."""
        self.total, self.goes_on = total, goes_on
        self._is_saved = False
        self.save(kept)

    def save(self, kept: Kept) -> None:
        """Write the file again if something was added since."""
        if self._is_saved:
            return
        began = time.monotonic()
        state = kept.state()
        with partial_file(self.path, mode=PRIVATE_FILE) as partial, partial.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                shards=np.array(sorted(self.shards), dtype=np.int64),
                tokens=np.array(self.tokens),
                count=np.array(self.count),
                total=np.array(self.total),
                goes_on=np.array(self.goes_on),
                made_of=np.array(self.made_of),
                **state,
            )
        self._is_saved = True
        self._written_at = time.monotonic()
        self._writing_s = self._written_at - began


RESERVOIRS = ("top", "levels", "random")
STATE = ("fired", *(f"{name}.{f.name}" for name in RESERVOIRS for f in fields(Entries)))


def state_of(columns: Columns) -> dict[str, NDArray[Any]]:
    """Return all that the columns keep, as arrays."""
    state: dict[str, NDArray[Any]] = {"fired": columns.fired}
    for name in RESERVOIRS:
        reservoir: Buffered = getattr(columns, name)
        reservoir.compact()
        for field in fields(Entries):
            state[f"{name}.{field.name}"] = getattr(reservoir.kept, field.name)
    return state


def absorb(columns: Columns, state: Mapping[str, NDArray[Any]]) -> None:
    """Add what other columns of the same units kept: exact, whatever the order."""
    columns.fired += state["fired"]
    for name in RESERVOIRS:
        reservoir: Buffered = getattr(columns, name)
        reservoir.add(Entries(*(state[f"{name}.{field.name}"] for field in fields(Entries))))
        reservoir.compact()


def parts_in(place: Path) -> list[Path]:
    """Return the checkpoints in a folder."""
    return sorted(place.glob("part-*.npz"))


def _done_by_others(own: Checkpoint) -> set[int]:
    """Return the shards in the files of other processes, of this group or of an earlier one."""
    done: set[int] = set()
    for path in parts_in(own.path.parent):
        if path != own.path:
            try:
                with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    done.update(file["shards"].tolist())
            except (FileNotFoundError, *DAMAGE):
                continue
    return done
