"""Whether scorers tell a true description from another unit's, on units of known rule."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autointerp.findings.descriptions import scorer_results_of
from autointerp.pipeline.describe import score
from autointerp.pipeline.job import Job
from autointerp.questions.score import Design
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.sample import draw_units

UNITS = 60
TOKENS = 400_000
SCORERS = ("detection", "fuzzing", "simulation", "intruder")


def figures() -> Iterator[dict[str, Any]]:
    """Yield each scorer's mean for true descriptions and for permuted ones; chance is 0.5."""
    settings = RunSettings()
    settings = replace(settings, harvest=replace(settings.harvest, tokens=TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        subject = load_subject(settings.subject)
        with open_run("planted", settings, subject, runs) as run:
            draw_units(run, subject, {"planted": UNITS})
        score(
            Job(
                n=UNITS,
                rater="scripted:truth",
                run="planted",
                runs=runs,
                scorers=SCORERS,
                design=Design(count=20, permuted=UNITS),
            )
        )
        with open_run("planted", folder=runs, read_only=True) as run:
            results = scorer_results_of(run)
    for result in results:
        planted = result.sources["planted"]
        for name, found in (("true", planted.scored), ("permuted", planted.permuted)):
            yield {
                "figure": f"{result.scorer}_{name}",
                "value": None if found.value is None else round(found.value, 4),
                "unit": "score, 0 to 1, chance 0.5",
                "note": f"mean of {found.n[0]} planted units of the embedded subject, "
                f"scripted:truth, {result.design}"
                + (
                    f", interval {found.low:.3f} to {found.high:.3f}"
                    if found.low and found.high
                    else ""
                ),
            }
