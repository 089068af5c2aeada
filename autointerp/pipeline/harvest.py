"""Harvest: units and their contexts, of a run's subject or of a model in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from autointerp.errors import BadInput
from autointerp.files import PRIVATE_FOLDER, unwritten
from autointerp.pipeline.events import Harvesting, Note, On, ignore
from autointerp.pipeline.job import Job, Resolved, run_for
from autointerp.store.run import checked_path, open_run, require_same_subject, run_exists
from autointerp.text import count, size_text
from autointerp.units.held import too_few
from autointerp.units.shares import CHECKPOINTS, Share, share_of_environment, share_of_text

if TYPE_CHECKING:
    from autointerp.records import HarvestedUnit
    from autointerp.store.run import Run
    from autointerp.store.units import StoredUnit
    from autointerp.subjects import Subject


@dataclass(frozen=True)
class HarvestResult:
    """The eligible units that a run holds of each source that was asked for."""

    run: str
    units: Mapping[str, int]

    def __str__(self) -> str:
        units = ", ".join(f"{n} {name}" for name, n in self.units.items())
        return f"run '{self.run}' holds {units}"


@dataclass(frozen=True)
class ShardResult:
    """What one share of a harvest left.

    Attributes:
        name: `3/8`.
        file: Where it is; None where the run holds all that was asked for.
        parts: Parts of the corpus that are in it, of `total`.
        tokens: Of these parts.
    """

    run: str
    name: str
    file: Path | None
    parts: int = 0
    total: int = 0
    tokens: int = 0

    def __str__(self) -> str:
        if self.file is None:
            return f"run '{self.run}' holds all that was asked for; nothing to read"
        return (
            f"shard {self.name} of run '{self.run}': {self.parts} of "
            f"{count(self.total, 'part')} of the corpus, {count(self.tokens, 'token')}, in "
            f"{self.file}"
        )


@overload
def harvest(what: Job, *, on: On = ignore) -> HarvestResult: ...


@overload
def harvest(what: Any, tokens: Any, *, on: On = ignore, **options: Any) -> list[HarvestedUnit]: ...


def harvest(
    what: Any, tokens: Any = None, *, on: On = ignore, **options: Any
) -> HarvestResult | list[HarvestedUnit]:
    """Harvest what a job asks for and its run lacks, or units of a model in memory.

    `harvest(Job(...))` stores units in the run and returns a HarvestResult. Started by torchrun or
    srun, each process reads its share of the corpus, and only the first opens the run.

    `harvest(model, tokens, sae=…, site=…)` returns the units with their contexts and stores
    nothing; its options are those of `autointerp.units.in_memory.harvest`.
    """
    if isinstance(what, Job):
        if tokens is not None or options:
            raise TypeError("harvest(job) takes nothing else than `on`")
        return _harvest_job(what, on)
    from autointerp.units import in_memory

    return in_memory.harvest(what, tokens, **options)


def harvest_shard(
    job: Job, shard: str, folder: Path | str | None = None, on: On = ignore
) -> ShardResult:
    """Read shard `I/N` of what a job asks for and its run lacks into a file, and store nothing.

    The file stands in the run's folder, or in `folder`, where `merge_shards` takes it from. A
    shard that was stopped resumes. Raises RunLocked if another process reads the shard.
    """
    share = share_of_text(shard)
    checked_path(job.run, job.runs)
    _require_alone(
        f"--shard {shard}",
        "which divide the corpus themselves; leave --shard out, or start one process a shard",
    )
    resolved = Resolved(job, planned=False)
    settings, wanted = resolved.settings, resolved.wanted
    resolved.require_places()
    name = f"{share.rank}/{share.count}"

    held = {}
    if resolved.about is not None:
        with open_run(job.run, settings, folder=job.runs, read_only=True) as run:
            if not resolved.needs_subject(run, wanted):
                return ShardResult(job.run, name, None)
            held = {source: run.units(source) for source in wanted}
    subject = resolved.subject(_local_device(settings.subject.device))
    assert subject is not None  # an imported run needs none
    if resolved.about is not None:
        require_same_subject(job.folder, resolved.about, subject)

    from autointerp.units.sample import read_shard  # imports torch: after all that may be refused

    expected: list[tuple[int | None, bool]] = []

    def progress(label: str, tokens: int) -> None:
        if not expected:
            expected.append(tokens_read(settings.harvest.tokens, subject, share.count))
        on(Harvesting(label, tokens, *expected[0]))

    place = job.folder / CHECKPOINTS if folder is None else Path(folder)
    new = [] if folder else [one for one in (job.folder, job.runs) if not one.exists()]
    if folder is None:
        try:
            job.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(job.folder, error, "choose another folder") from None
    try:
        read = read_shard(
            place,
            subject,
            settings,
            held,
            wanted,
            share,
            progress,
            lambda text: on(Note(text)),
        )
    finally:
        for made in new:
            with contextlib.suppress(OSError):  # it holds a shard, unless that was refused
                made.rmdir()
    if read is None:
        return ShardResult(job.run, name, None)
    file, contents = read
    return ShardResult(job.run, name, file, len(contents.shards), contents.total, contents.tokens)


def merge_shards(job: Job, folder: Path | str | None = None, on: On = ignore) -> HarvestResult:
    """Store what the shards of `harvest_shard` hold, to the same bytes as one process.

    Raises BadInput, naming them, if shards are missing, cut, there twice, or of something else.
    """
    shards = Path(folder or checked_path(job.run, job.runs) / CHECKPOINTS)
    _require_alone("--merge", "and one merges; start one")
    resolved = Resolved(job, planned=False)
    wanted = resolved.wanted
    if not run_exists(job.folder) and not any(shards.glob("*/part-*.npz")):
        raise BadInput(f"{shards} holds no shard; run `autointerp harvest --shard 0/N` … first")
    resolved.require_places()
    subject = None
    if resolved.about is None:
        subject = resolved.subject(_local_device(resolved.settings.subject.device))
    with run_for(resolved, subject, on) as run:
        subject = subject or resolved.subject_for(run, wanted, _local_device)
        drawn = draw(run, subject, wanted, on, shards=shards)
    return HarvestResult(job.run, {name: len(units) for name, units in drawn.items()})


def _local_device(device: str) -> str:
    from autointerp.units.shards import local_device  # imports torch: after all refusals

    return local_device(device)


def _require_alone(option: str, remedy: str) -> None:
    """Raise BadInput where torchrun or srun started more than this process."""
    processes = share_of_environment().count
    if processes > 1:
        raise BadInput(f"{option}: torchrun or srun started {processes} processes, {remedy}")


def _harvest_job(job: Job, on: On) -> HarvestResult:
    resolved = Resolved(job, planned=False)
    wanted = resolved.wanted
    resolved.require_places()

    share = share_of_environment()
    subject = None
    if resolved.about is None or share.count > 1:  # several processes load it at the same time
        subject = resolved.subject(_local_device(resolved.settings.subject.device))
    if share.rank:
        from autointerp.units.sample import assist

        assert subject is not None  # an imported run lacks nothing
        assist(job.folder, subject, resolved.settings, wanted, share)
        return HarvestResult(job.run, wanted)
    # The other processes of one harvest look into its folder, so it stays.
    with run_for(resolved, subject, on, keep=share.count > 1) as run:
        subject = subject or resolved.subject_for(run, wanted, _local_device)
        drawn = draw(run, subject, wanted, on, share, cache=job.cache_bytes)
    return HarvestResult(job.run, {name: len(units) for name, units in drawn.items()})


def draw(
    run: Run,
    subject: Subject | None,
    wanted: Mapping[str, int],
    on: On = ignore,
    share: Share | None = None,
    shards: Path | None = None,
    cache: int | None = None,
) -> dict[str, list[StoredUnit]]:
    """Return the sampled units of each source, harvesting those that the run lacks.

    Without a `subject` those that the run holds are all there are.

    With `shards`, a folder, they come from the files there. `cache`: Bytes that the site's
    activations may take beside the run, and are read from; 0 deletes them. One process alone keeps
    them.
    """
    if cache == 0:
        delete_cache(run, on)
    if subject is None:
        return {name: run.sampled(name, n) for name, n in wanted.items()}

    from autointerp.units.sample import draw_units  # imports torch
    from autointerp.units.site_cache import with_cache

    share = share or Share()
    expected: list[tuple[int | None, bool]] = []  # once a pass begins: the corpus may be large

    def progress(label: str, tokens: int) -> None:
        if not expected:
            expected.append(tokens_of_pass(run, subject, share.count))
        total, exact = expected[0]
        on(Harvesting(label, tokens, total, exact))

    def tell(text: str) -> None:
        on(Note(text))

    def log(text: str) -> None:
        run.log("cache", text=text)
        tell(text)

    if cache and share.count > 1:
        log("--cache-site is for one process; several keep nothing")
    if not cache or share.count > 1 or not too_few(run, wanted):
        return draw_units(run, subject, dict(wanted), progress, tell, share, shards)
    with with_cache(subject, run.settings, run.path, cache, log) as keeping:
        return draw_units(run, keeping, dict(wanted), progress, tell, share, shards)


def delete_cache(run: Run, on: On) -> None:
    """Delete the activations that a run kept, and say so where there were any."""
    from autointerp.units.site_cache import remove_cache

    if freed := remove_cache(run.path):
        text = f"the activations that run '{run.name}' kept are deleted: {size_text(freed)}"
        run.log("cache", text=text)
        on(Note(text))


def tokens_of_pass(
    run: Run, subject: Subject | None, processes: int = 1
) -> tuple[int | None, bool]:
    """Return the tokens that one process reads in a pass of a run, and whether that is exact.

    None where the length of the corpus cannot be known and the settings do not limit it.
    """
    return tokens_read(run.settings.harvest.tokens, subject, processes)


def tokens_read(most: int, subject: Subject | None, processes: int = 1) -> tuple[int | None, bool]:
    """Return the tokens that one process reads in a pass, and whether that is exact.

    `most` tokens are read at all; 0 for no limit. None where the length of the corpus cannot be
    known and nothing limits it.
    """
    length = None if subject is None else subject.length()
    if length is None:
        return (most // processes, True) if most else (None, False)
    if most and most <= length.tokens:
        return most // processes, True
    return length.tokens // processes, length.exact and processes == 1
