"""Count on how many of a run's tokens each unit of its sources fires, in the sample or not."""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.pipeline.events import Harvesting, On, ignore
from autointerp.pipeline.harvest import tokens_of_pass
from autointerp.store.run import Run
from autointerp.units.counts import count_firings
from autointerp.units.first_batches import holding_first_batches
from autointerp.units.reopen import subject_again
from autointerp.units.sources import load_source
from autointerp.units.stream import calibrate, quiet_torch


def count_units(run: Run, sources: Sequence[str], option: str, on: On = ignore) -> None:
    """Count every unit of the sources on the tokens of the run's harvest, and store it.

    Sources that were counted are not counted again. Raises BadInput if the run has no subject,
    SubjectError if the subject has no such source.
    """
    lacking = [name for name in sources if not run.has_firings(name)]
    if not lacking:
        return
    (subject,) = holding_first_batches(subject_again(run, option))
    settings, seed = run.settings.harvest, run.settings.seed
    with quiet_torch():
        calibration = calibrate(subject, settings, seed)
        opened = {name: load_source(name, subject, calibration, seed) for name in lacking}
    label = ", ".join(f"{source.size:,} {name}" for name, source in opened.items())
    total, exact = tokens_of_pass(run, subject)
    counts, tokens = count_firings(
        subject,
        opened,
        settings,
        seed,
        lambda read: on(Harvesting(f"{label}, counted", read, total, exact)),
    )
    for name, source in opened.items():
        units = [source.unit(number) for number in range(source.size)]
        run.replace_firings(name, units, counts[name], tokens)
    run.log("counted", sources=lacking, tokens=tokens)
