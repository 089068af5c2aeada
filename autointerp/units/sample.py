"""Which units: uniformly at random, seeded, among those that pass the density filter.

A source's units stand in one seeded random order. The sample of n is the first n of that order
that are eligible; asking for more later goes on where it ended. Those passed over are stored too.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput, TooFewUnits
from autointerp.files import write_text
from autointerp.settings import RunSettings, plain_number
from autointerp.store.run import Run
from autointerp.store.units import StoredUnit
from autointerp.subjects import Subject
from autointerp.units.counts import count_firings
from autointerp.units.draws import random_order
from autointerp.units.first_batches import holding_first_batches
from autointerp.units.held import Place, too_few, unverified
from autointerp.units.others import firing_in, store_silence
from autointerp.units.passes import COLUMNS_AT_ONCE, Wanted, outcome_of
from autointerp.units.shard_files import joined_shards, read_pass, units_in_shards
from autointerp.units.shards import (
    LOOK_AGAIN_S,
    Contents,
    difference,
    forget,
    forget_place,
    harvest_content,
    harvest_key,
    harvest_shards,
)
from autointerp.units.shares import CHECKPOINTS, Share, job_of_environment
from autointerp.units.sources import Block, Calibration, SiteBatch, Source, kind_of, load_source
from autointerp.units.stream import Reading, calibrate, require_both_splits, window_length

CHECKED_TOKENS = 4096  # of the calibration, on which the SAE's latents a token are counted
LOOKED_TOKENS = 50_000  # looked at before a pass, at most, to see how many units it should be about
LOOKED_SHARE = 20  # one token of so many of the pass, at most
LOOKED_UNITS = 512  # of a source, at most
LIKELY = 0.8  # share of units that passes the density filter, where nothing is known of it
LEAST_LIKELY = 0.1  # share of units that is reckoned with, whatever was seen
STEPS = 20  # of a share
LEAST_FIRINGS = 2  # in the tokens looked at, of a unit that just passes the density filter

Report = Callable[[str, int], None]
Tell = Callable[[str], None]


def warn(text: str) -> None:
    """Tell the user through Python's warnings."""
    warnings.warn(text, stacklevel=3)


def draw_units(
    run: Run,
    subject: Subject,
    wanted: dict[str, int],
    progress: Report = lambda label, tokens: None,
    tell: Tell = warn,
    share: Share = Share(),
    shards: Path | None = None,
) -> dict[str, list[StoredUnit]]:
    """Return `wanted[source]` sampled units of each source, harvesting those that are missing.

    All sources that miss units share one pass over the corpus, of which this process reads its
    `share`, the first of as many as call `assist`; with `shards` it reads none, and joins what
    `read_shard` left in that folder. What a pass kept is stored at its end, in one transaction;
    stopped before, the next call goes on from the last shard. Then units are looked at in contexts
    of others of their source, so that silence there is known. What casts doubt on the SAE goes to
    `tell`. Raises TooFewUnits if a source has fewer than are asked for, CorpusError if all
    documents of a new run fall into one split.
    """
    settings = run.settings
    wanted = {name: plain_number(n) for name, n in wanted.items()}
    opened: dict[str, Source] = {}
    missing = too_few(run, wanted)
    if missing:
        (subject,) = holding_first_batches(subject)
        calibration = calibrate(subject, settings.harvest, settings.seed)
        if not run.has_rows("unit"):
            require_both_splits(subject, settings.harvest, settings.seed)
        for doubt in doubts(subject, calibration, window_length(subject, settings.harvest)):
            run.log("doubt", text=doubt)
            tell(doubt)
        for name in missing:
            opened[name] = load_source(name, subject, calibration, settings.seed)
            require_size(name, opened[name], wanted[name], subject)
    likely = {}
    if shards is None:
        held = {name: run.units(name) for name in missing}
        looked_at = first_units(opened, missing, held, settings)
        likely = likely_shares(subject, opened, looked_at, settings)
    checkpoints = run.path / CHECKPOINTS
    stored = False
    try:
        while missing:
            passes = [
                next_units(
                    run.units(name), name, opened[name], n, settings, likely.get(name, LIKELY)
                )
                for name, n in missing.items()
            ]
            if shards is not None:
                passes = _as_in_shards(
                    passes, missing, run, units_in_shards(shards, subject, settings)
                )
            if share.count > 1:
                content = harvest_content(subject, passes, settings)
                _announce(checkpoints, share, settings, wanted, passes, content)
            label = ", ".join(f"{len(want.numbers)} {want.name}" for want in passes)
            if shards is None:
                harvested = harvest_shards(
                    subject,
                    passes,
                    settings,
                    checkpoints,
                    share,
                    lambda tokens, label=label: progress(label, tokens),  # type: ignore[misc]
                    run.note_cut,
                )
                assert harvested is not None
            else:
                harvested = joined_shards(subject, passes, settings, shards, stored, run.note_cut)
            near_copies = run.add_harvest(
                {want.name: (want.source.size, kind_of(want.name)) for want in passes},
                harvested,
            )
            forget(checkpoints)
            if shards is not None:
                forget_place(shards / harvest_key(subject, passes, settings))
            stored = True
            run.log(
                "harvested",
                units={want.name: len(want.numbers) for want in passes},
                near_copies=near_copies,
                tokens=settings.harvest.tokens or "all",
                corpus_goes_on=run.is_cut(),
            )
            missing = too_few(run, wanted)
    finally:
        if share.count > 1:
            _announce(checkpoints, share, settings, wanted, None)  # the others stop
    pending = unverified(run, list(wanted))
    if pending:
        if any(name not in opened for name in pending):
            calibration = calibrate(subject, settings.harvest, settings.seed)
            for name in pending:
                opened.setdefault(name, load_source(name, subject, calibration, settings.seed))
        _verify(run, subject, opened, pending)
    return {name: run.sampled(name, n) for name, n in wanted.items()}


def require_size(name: str, source: Source, n: int, subject: Subject) -> None:
    """Raise TooFewUnits if a source has fewer units than are asked for."""
    if source.size < n:
        raise TooFewUnits(
            f"{_option(name)} {n}: source '{name}' of subject '{subject.name}' has only "
            f"{source.size} units; ask for at most that many"
        )


def _verify(
    run: Run,
    subject: Subject,
    opened: Mapping[str, Source],
    pending: Mapping[str, tuple[list[int], list[Place]]],
) -> None:
    """Store in which contexts of others each unit is silent, for all sources in one reading."""
    blocks = {
        name: blocks_of(run, name, opened[name], units) for name, (units, _) in pending.items()
    }
    places = {name: of_source for name, (_, of_source) in pending.items()}
    widths = {name: len(units) for name, (units, _) in pending.items()}
    for name, firing in firing_in(subject, run.settings, blocks, places, widths).items():
        store_silence(run, pending[name][0], places[name], firing)


def blocks_of(run: Run, name: str, source: Source, units: Sequence[int]) -> list[Block]:
    """Return the columns of units of a run, in blocks."""
    numbers = numbers_of(run, name, source, units)
    parts = range(0, len(numbers), COLUMNS_AT_ONCE)
    return [source.block(numbers[begin : begin + COLUMNS_AT_ONCE]) for begin in parts]


def numbers_of(run: Run, name: str, source: Source, units: Sequence[int]) -> NDArray[np.int64]:
    """Return the numbers in their source of units of a run, [len(units)]."""
    orders = dict(run.rows("SELECT unit_id, ord FROM unit WHERE source = ?", [name]))
    return random_order(run.settings.seed, name, source.size)[[orders[unit] for unit in units]]


def doubts(subject: Subject, calibration: Calibration, window: int = 0) -> list[str]:
    """Return what a person should know of the SAE before trusting it, a sentence each.

    `window` is the length that is harvested, 0 where that is not decided.

    Raises SubjectError if the activations grossly contradict what its files record.
    """
    from autointerp.subjects.formats import check_activations

    loaded = subject.loaded
    if loaded is None:
        return [*subject.notes]
    notes = [*subject.notes]
    if loaded.context_size and window > loaded.context_size:
        notes.append(
            f"windows have {window:,} tokens, those of its training had {loaded.context_size:,}: "
            f"harvest.window = {loaded.context_size} reads it as it was trained"
        )
    x = calibration.activations[:CHECKED_TOKENS].cpu()
    return [*notes, *check_activations(loaded, x)]


def assist(
    folder: Path,
    subject: Subject,
    settings: RunSettings,
    wanted: dict[str, int],
    share: Share,
) -> None:
    """Do this process's share of what the first one announces in the run's folder.

    Returns when the first one has all that is `wanted`. Raises BadInput if this process would read
    something else, since the first one would wait for it in vain.
    """
    (subject,) = holding_first_batches(subject)
    calibration = calibrate(subject, settings.harvest, settings.seed)
    opened: dict[str, Source] = {}
    done: dict[str, Any] | None = None
    while True:
        plan = _announced(folder / CHECKPOINTS)
        if plan is None or plan == done or plan["for"] != _group(share, settings, wanted):
            time.sleep(LOOK_AGAIN_S)
            continue
        if plan["passes"] is None:
            return
        passes = []
        for name, (first, last) in plan["passes"].items():
            if name not in opened:
                opened[name] = load_source(name, subject, calibration, settings.seed)
            order = random_order(settings.seed, name, opened[name].size)
            passes.append(Wanted(name, opened[name], order[first:last], np.arange(first, last)))
        harvest = dataclasses.replace(settings.harvest, rows=plan["rows"])
        own = harvest_content(subject, passes, dataclasses.replace(settings, harvest=harvest))
        if reason := difference(plan["content"], {**own, "units": {}}):
            raise BadInput(
                f"process {share.rank} of {share.count} reads something else than the first one, "
                f"where {reason}; have the same files and installation on all machines"
            )
        harvest_shards(
            subject,
            passes,
            dataclasses.replace(settings, harvest=harvest),
            folder / CHECKPOINTS,
            share,
        )
        done = plan


def read_shard(
    folder: Path,
    subject: Subject,
    settings: RunSettings,
    held: Mapping[str, Sequence[StoredUnit]],
    wanted: Mapping[str, int],
    share: Share,
    progress: Report = lambda label, tokens: None,
    tell: Tell = warn,
) -> tuple[Path, Contents] | None:
    """Read one share of a pass for what is `wanted` beside what the run `held`, into a file.

    Returns the file, and what is in it; None where nothing is missing. The process speaks with no
    other: which units the pass is about follows from the settings and from what the run holds.
    Raises RunLocked if another process reads the same share.
    """
    missing = {
        name: n
        for name, n in wanted.items()
        if sum(unit.summary.outcome == "eligible" for unit in held.get(name, ())) < n
    }
    if not missing:
        return None
    (subject,) = holding_first_batches(subject)
    calibration = calibrate(subject, settings.harvest, settings.seed)
    if not any(held.values()):
        require_both_splits(subject, settings.harvest, settings.seed)
    for doubt in doubts(subject, calibration, window_length(subject, settings.harvest)):
        tell(doubt)
    opened: dict[str, Source] = {}
    for name in missing:
        opened[name] = load_source(name, subject, calibration, settings.seed)
        require_size(name, opened[name], wanted[name], subject)
    likely = likely_shares(subject, opened, first_units(opened, missing, held, settings), settings)
    passes = [
        next_units(held.get(name, ()), name, opened[name], n, settings, likely.get(name, LIKELY))
        for name, n in missing.items()
    ]
    label = ", ".join(f"{len(want.numbers)} {want.name}" for want in passes)
    return read_pass(
        folder, subject, passes, settings, share, lambda tokens: progress(label, tokens), tell
    )


def _option(source: str) -> str:
    """Return the option that says how many units of a source: a control is in a run unasked."""
    return "--n or --controls" if kind_of(source).is_control else "--n"


def _group(share: Share, settings: RunSettings, wanted: Mapping[str, int]) -> list[Any]:
    """Return what the processes that harvest together have in common."""
    return [job_of_environment(), share.count, settings.digest, dict(wanted)]


def _announce(
    folder: Path,
    share: Share,
    settings: RunSettings,
    wanted: Mapping[str, int],
    passes: list[Wanted] | None,
    content: Mapping[str, Any] | None = None,
) -> None:
    """Write, in one step, which units the next pass is about, and of what content; None where all
    is done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranges = passes and {
        want.name: [int(want.orders[0]), int(want.orders[-1]) + 1] for want in passes
    }
    plan = {
        "for": _group(share, settings, wanted),
        "rows": settings.harvest.rows,
        "passes": ranges,
        "content": content and {**content, "units": {}},  # which they are, the ranges say
    }
    write_text(folder / "plan.json", json.dumps(plan))


def _announced(folder: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return plan


def likely_shares(
    subject: Subject,
    sources: Mapping[str, Source],
    looked_at: Mapping[str, NDArray[np.int64]],
    settings: RunSettings,
    read: Callable[[Reading], Mapping[str, SiteBatch]] | None = None,
) -> dict[str, float]:
    """Return which share of each source's units is likely to pass the density filter.

    It is that of the units `looked_at`, on the first tokens. A pass about too few units would have
    to be followed by another one. Nothing is returned where so few tokens say little. `read` is
    that of `count_firings`.
    """
    if not looked_at:
        return {}
    harvest, sample = settings.harvest, settings.sample
    length = subject.length()
    of_pass = min(harvest.tokens or math.inf, math.inf if length is None else length.tokens)
    most = int(min(LOOKED_TOKENS, of_pass // LOOKED_SHARE))
    if most * sample.min_density < LEAST_FIRINGS:
        return {}
    few = dataclasses.replace(harvest, tokens=most)
    fired, tokens = count_firings(subject, sources, few, settings.seed, some=looked_at, read=read)
    shares = {}
    for name, counts in fired.items():
        outcomes = [
            outcome_of(n, n / tokens, sample.min_density, sample.max_density)
            for n in counts.tolist()
        ]
        # In steps, so that processors that round otherwise come to the same passes.
        share = round(STEPS * outcomes.count("eligible") / len(outcomes)) / STEPS
        shares[name] = max(LEAST_LIKELY, share)
    return shares


def first_units(
    sources: Mapping[str, Source],
    wanted: Mapping[str, int],
    held: Mapping[str, Sequence[StoredUnit]],
    settings: RunSettings,
) -> dict[str, NDArray[np.int64]]:
    """Return the units by which `likely_shares` judges each source of which none was drawn yet."""
    return {
        name: random_order(settings.seed, name, sources[name].size)[: min(LOOKED_UNITS, 2 * n)]
        for name, n in wanted.items()
        if not held.get(name)
    }


def _as_in_shards(
    passes: list[Wanted],
    missing: Mapping[str, int],
    run: Run,
    found: Sequence[Mapping[str, Sequence[int]]],
) -> list[Wanted]:
    """Return the passes with as many units as shards were `found` to be about.

    Who read them looked at the first tokens, on a processor that may round otherwise than this one.
    """
    shares = [max(LEAST_LIKELY, step / STEPS) for step in range(1, STEPS + 1)]
    possible = {}
    for want in passes:
        drawn = run.units(want.name)
        several = [
            next_units(drawn, want.name, want.source, missing[want.name], run.settings, share)
            for share in shares
        ]
        possible[want.name] = {len(one.numbers): one for one in several}
    for units in found:
        if units.keys() != possible.keys():
            continue
        same = [possible[want.name].get(len(units[want.name])) for want in passes]
        known = [one for one in same if one is not None]
        if len(known) == len(passes) and all(
            one.numbers.tolist() == list(units[one.name]) for one in known
        ):
            return known
    return passes


def next_units(
    drawn: Sequence[StoredUnit],
    name: str,
    source: Source,
    n: int,
    settings: RunSettings,
    likely: float = LIKELY,
) -> Wanted:
    """Return as many units of the random order as should give the eligible ones that are missing,
    after those that were `drawn`; of the first ones a share is `likely` to be eligible.

    Raises TooFewUnits, with the outcomes of all units, if the order is exhausted.
    """
    outcomes = Counter(unit.summary.outcome for unit in drawn)
    first = len(drawn)
    if first == source.size:
        rest = ", ".join(
            f"{outcomes[name]} {name}" for name in ("dead", "ultralow", "dense") if outcomes[name]
        )
        option, eligible = _option(name), outcomes["eligible"]
        of_rule = "" if kind_of(name).is_control else f" (with a stopping rule --max-n {eligible})"
        remedies = {
            f"ask for {option} {eligible}{of_rule}": eligible,
            "lower sample.min_density": outcomes["ultralow"],
            "raise sample.max_density": outcomes["dense"],
            "read more text": outcomes["dead"],
        }
        raise TooFewUnits(
            f"{option} {n}: only {eligible} of {source.size} {name} pass the density filter "
            f"({rest}); {', or '.join(remedy for remedy, helped in remedies.items() if helped)}"
        )
    # Of a later pass what was drawn says more, and whoever goes on after a stop knows it, too.
    share = (outcomes["eligible"] + 10 * LIKELY) / (first + 10) if first else likely
    count = math.ceil(1.1 * (n - outcomes["eligible"]) / share) + 4
    orders = np.arange(first, min(first + count, source.size))
    return Wanted(name, source, random_order(settings.seed, name, source.size)[orders], orders)
