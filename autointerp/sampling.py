"""Which units: uniformly at random, seeded, among those that pass the density filter.

A source's units stand in one seeded random order. The sample of n is the first n of that order
that are eligible; asking for more later goes on where it ended. Those passed over are stored too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autointerp import sources as sources_folder
from autointerp.additions import addition
from autointerp.errors import TooFewUnits
from autointerp.harvesting import Wanted, calibrate, harvest
from autointerp.settings import RunSettings
from autointerp.sources import Source
from autointerp.store import Run, StoredUnit
from autointerp.subjects import Subject

Report = Callable[[str, int], None]


def random_order(seed: int, source: str, size: int) -> NDArray[np.int64]:
    """Return the source's unit numbers in its random order."""
    return np.random.default_rng([seed, *source.encode()]).permutation(size)


def sampled(run: Run, source: str, n: int) -> list[StoredUnit]:
    """Return the first `n` eligible units of the source's order that the run holds."""
    return [unit for unit in run.units(source) if unit.summary.outcome == "eligible"][:n]


def held_units(run: Run) -> dict[str, tuple[int, bool]]:
    """Return how many eligible units of each source the run holds, and whether it is a control."""
    return {
        source: (int(count), bool(is_control))
        for source, is_control, count in run.rows(
            "SELECT s.source, s.is_control, count(u.unit_id) FILTER (u.outcome = 'eligible')"
            " FROM source s LEFT JOIN unit u USING (source) GROUP BY ALL ORDER BY s.source"
        )
    }


def draw_units(
    run: Run,
    subject: Subject | None,
    wanted: dict[str, int],
    progress: Report = lambda label, tokens: None,
) -> dict[str, list[StoredUnit]]:
    """Return `wanted[source]` sampled units of each source, harvesting those that are missing.

    All sources that miss units share one pass over the corpus. What a pass found is stored at its
    end, in one transaction. Raises TooFewUnits if a source has fewer than are asked for; where
    there is no `subject`, as in an imported run, those that the run holds are all there are.
    """
    if subject is None:
        return {name: sampled(run, name, n) for name, n in wanted.items()}
    settings = run.settings
    opened: dict[str, Source] = {}
    missing = {name: n for name, n in wanted.items() if len(sampled(run, name, n)) < n}
    if missing:
        calibration = calibrate(subject, settings.harvest, settings.seed)
        for name in missing:
            module = addition(sources_folder, "source", name)
            opened[name] = module.create(subject, calibration, settings.seed)
            if opened[name].size < wanted[name]:
                raise TooFewUnits(
                    f"--n {wanted[name]}: source '{name}' of subject '{subject.name}' has only "
                    f"{opened[name].size} units; ask for at most that many"
                )
    while missing:
        passes = [
            _next_units(run, name, opened[name], n, settings) for name, n in missing.items()
        ]
        label = ", ".join(f"{len(want.numbers)} {want.name}" for want in passes)
        harvested = harvest(
            subject,
            passes,
            settings.harvest,
            settings.seed,
            settings.sample.min_density,
            settings.sample.max_density,
            lambda tokens, label=label: progress(label, tokens),  # type: ignore[misc]
        )
        run.add_harvest(
            {
                want.name: (
                    want.source.size,
                    bool(addition(sources_folder, "source", want.name).IS_CONTROL),
                )
                for want in passes
            },
            harvested,
        )
        run.log("harvested", units={want.name: len(want.numbers) for want in passes})
        missing = {name: n for name, n in wanted.items() if len(sampled(run, name, n)) < n}
    return {name: sampled(run, name, n) for name, n in wanted.items()}


def _next_units(run: Run, name: str, source: Source, n: int, settings: RunSettings) -> Wanted:
    """Return as many units of the random order as should give the eligible ones that are missing.

    Raises TooFewUnits, with the fate of all units, if the order is exhausted.
    """
    drawn = run.units(name)
    fates = Counter(unit.summary.outcome for unit in drawn)
    first = len(drawn)
    if first == source.size:
        told = ", ".join(f"{fates[fate]} {fate}" for fate in ("dead", "ultralow", "dense") if fates[fate])
        raise TooFewUnits(
            f"--n {n}: only {fates['eligible']} of {source.size} {name} pass the density filter "
            f"({told}); ask for --n {fates['eligible']}, or lower sample.min_density"
        )
    share = (fates["eligible"] + 8) / (first + 10)
    count = math.ceil(1.1 * (n - fates["eligible"]) / share) + 4
    orders = np.arange(first, min(first + count, source.size))
    return Wanted(name, source, random_order(settings.seed, name, source.size)[orders], orders)
