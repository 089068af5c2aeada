"""Scorers of what units do, with true descriptions and with others', on the embedded subject.

`planted` units fire on one word, `promoters` are directions that promote one: both by construction.
`scripted:truth` describes them, writes to descriptions and judges by applying them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autointerp.findings.descriptions import scorer_results_of
from autointerp.pipeline.describe import explain, score
from autointerp.pipeline.job import Job
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.sample import draw_units

UNITS = 40
TOKENS = 200_000
READ = ("generation", "responsiveness", "purity")


def output_side_figures(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the mean score of each scorer with true descriptions, and with others'."""
    n = 12 if quick else UNITS
    settings = RunSettings()
    tokens = TOKENS // 2 if quick else TOKENS
    settings = replace(settings, harvest=replace(settings.harvest, tokens=tokens))
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        subject = load_subject(settings.subject)
        with open_run("planted", settings, subject, runs) as run:
            draw_units(run, subject, {"planted": n, "promoters": n})
        job = Job(n=n, rater="scripted:truth", run="planted", runs=runs)
        fire, write = replace(job, sources=("planted",)), replace(job, sources=("promoters",))
        explain(fire)
        explain(replace(write, logit_effects=True))
        score(replace(fire, scorers=READ, explainer="scripted:truth"))
        score(replace(write, scorers=("steering",), explainer="scripted:truth+logits"))
        with open_run("planted", folder=runs, read_only=True) as run:
            results = scorer_results_of(run)
    for result in results:
        (source,) = (one for one in result.sources.values() if len(one.values))
        for name, mean in (("true", source.scored), ("permuted", source.permuted)):
            assert mean.value is not None
            yield {
                "figure": f"{result.scorer}_{name}",
                "value": round(mean.value, 3),
                "unit": "mean score, chance 0.5",
                "note": f"{mean.n[0]} units of {source.source}, described and judged by "
                f"{result.explainer}; target {'>= 0.9' if name == 'true' else '0.5 +- 0.05'}",
            }
