"""Harvest: units and their contexts, of a run's subject or of a model in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from autointerp.pipeline.events import Harvesting, Note, On, ignore
from autointerp.pipeline.job import Job, Resolved, run_for
from autointerp.subjects.places import require_places
from autointerp.text import size_text

if TYPE_CHECKING:
    from autointerp.records import HarvestedUnit
    from autointerp.store.run import Run
    from autointerp.store.units import StoredUnit
    from autointerp.subjects import Subject
    from autointerp.units.shards import Share


@dataclass(frozen=True)
class HarvestResult:
    """The eligible units that a run holds of each source that was asked for."""

    run: str
    units: Mapping[str, int]

    def __str__(self) -> str:
        units = ", ".join(f"{n} {name}" for name, n in self.units.items())
        return f"run '{self.run}' holds {units}"


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


def _harvest_job(job: Job, on: On) -> HarvestResult:
    resolved = Resolved(job, planned=False)
    wanted = resolved.wanted
    if not resolved.is_imported:
        require_places(resolved.settings.subject)

    from autointerp.units.sample import assist  # imports torch: after all that may be refused
    from autointerp.units.shards import local_device, share_of_environment

    share = share_of_environment()
    subject = resolved.subject(local_device(resolved.settings.subject.device))
    if share.rank:
        assert subject is not None  # an imported run lacks nothing
        assist(job.folder, subject, resolved.settings, wanted, share)
        return HarvestResult(job.run, wanted)
    # The other processes of one harvest look into its folder, so it stays.
    with run_for(resolved, subject, on, keep=share.count > 1) as run:
        drawn = draw(run, subject, wanted, on, share, job.cache_bytes)
    return HarvestResult(job.run, {name: len(units) for name, units in drawn.items()})


def draw(
    run: Run,
    subject: Subject | None,
    wanted: Mapping[str, int],
    on: On = ignore,
    share: Share | None = None,
    cache: int | None = None,
) -> dict[str, list[StoredUnit]]:
    """Return the sampled units of each source, harvesting those that the run lacks.

    `cache`: Bytes that the site's activations may take beside the run, and are read from; 0 deletes
    them. One process alone keeps them.
    """
    from autointerp.units.sample import draw_units
    from autointerp.units.shards import Share
    from autointerp.units.site_cache import remove_cache, with_cache

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

    if cache == 0 and (freed := remove_cache(run.path)):
        log(f"the activations that run '{run.name}' kept are deleted: {size_text(freed)}")
    if cache and share.count > 1:
        log("--cache-site is for one process; several keep nothing")
    lacks = any(len(run.sampled(name, n)) < n for name, n in wanted.items())
    if not cache or subject is None or share.count > 1 or not lacks:
        return draw_units(run, subject, dict(wanted), progress, tell, share)
    with with_cache(subject, run.settings, run.path, cache, log) as keeping:
        return draw_units(run, keeping, dict(wanted), progress, tell, share)


def tokens_of_pass(
    run: Run, subject: Subject | None, processes: int = 1
) -> tuple[int | None, bool]:
    """Return the tokens that one process reads in a pass, and whether that is exact.

    None where the length of the corpus cannot be known and the settings do not limit it.
    """
    most = run.settings.harvest.tokens
    length = None if subject is None else subject.length()
    if length is None:
        return (most // processes, True) if most else (None, False)
    if most and most <= length.tokens:
        return most // processes, True
    return length.tokens // processes, length.exact and processes == 1
