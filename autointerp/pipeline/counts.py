"""Count on how many of a run's tokens each feature of its dictionary fires."""

from __future__ import annotations

from autointerp.errors import BadInput
from autointerp.findings.match import FEATURES
from autointerp.pipeline.events import Harvesting, On, ignore
from autointerp.pipeline.harvest import tokens_of_pass
from autointerp.store.run import Run
from autointerp.units.counts import count_firings
from autointerp.units.reopen import subject_again
from autointerp.units.sources.features import Features


def count_features(run: Run, option: str, on: On = ignore) -> None:
    """Count every feature on the tokens of the run's harvest and store it, unless it was done.

    Raises BadInput if the run has no subject or no SAE.
    """
    if run.has_firings(FEATURES):
        return
    subject = subject_again(run, option)
    if subject.sae is None:
        raise BadInput(f"{option}: run '{run.name}' has no SAE; name a run of features")
    source = Features(subject.sae)
    total, exact = tokens_of_pass(run, subject)
    fires, tokens = count_firings(
        subject,
        source,
        run.settings.harvest,
        run.settings.seed,
        lambda read: on(Harvesting(f"{source.size:,} features, counted", read, total, exact)),
    )
    units = [source.unit(number) for number in range(source.size)]
    run.replace_firings(FEATURES, units, fires, tokens)
    run.log("counted", source=FEATURES, units=source.size, tokens=tokens)
