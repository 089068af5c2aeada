"""How well judges tell planted units apart on the kit's test side, and what a judgement costs.

The cost is the forecast (`score --dry-run`) on a run of the embedded subject with descriptions of
`lexical`: true and other descriptions together.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.findings.checks import CheckResult
from autointerp.pipeline.check import check_rater
from autointerp.pipeline.describe import explain, forecast_score
from autointerp.pipeline.job import Job
from autointerp.questions.kit import PER_GRADE, kit_units
from autointerp.questions.planter import GRADES
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions
from autointerp.raters.lexical import create
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.sample import draw_units

PRICED = "anthropic:claude-haiku-4-5"
UNITS = {"features": 100, "neurons": 100, "planted": 50, "random": 50, "shuffled": 50}


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of `lexical`, and the price of scoring 1,000 units."""
    kit_units(PER_GRADE, "test")  # made once, not timed
    with tempfile.TemporaryDirectory() as folder:
        result, rating = _timed_check(Path(folder))
        # The second check finds all ratings stored, so it costs what the figures cost.
        _, overhead = _timed_check(Path(folder))
    ratings = sum(result.statuses.values())
    note = f"{len(GRADES) * PER_GRADE} planted units, kit {result.kit}, {result.side} side"
    for name, group in (("test", "unclean"), ("mixtures", "mixtures")):
        auc = result.auc[group]
        yield {
            "figure": f"lexical_auc_{name}",
            "value": None if auc.value is None else round(auc.value, 3),
            "unit": "AUC",
            "note": f"clean against {group}, 1-5 scores, {auc}; {note}",
        }
    yield {
        "figure": "lexical_ms_per_unit",
        "value": round(1000 * (rating - overhead) / ratings, 2),
        "unit": "ms",
        "note": f"CPU time of a rating, storing it included, over {ratings} ratings; {note}",
    }
    with tempfile.TemporaryDirectory() as folder:
        yield from prices(Path(folder))


def prices(runs: Path) -> Iterator[dict[str, Any]]:
    """Yield what scoring 1,000 units of the embedded subject costs by forecast, and its calls."""
    settings = RunSettings()
    subject = load_subject(settings.subject)
    with open_run("priced", settings, subject, runs) as run:
        draw_units(run, subject, UNITS)
    most = max(UNITS.values())
    explain(Job(run="priced", runs=runs, rater="lexical", n=most))
    names = ("detection", "fuzzing")
    forecasts = forecast_score(
        Job(run="priced", runs=runs, rater=PRICED, explainer="lexical", n=most, scorers=names)
    )
    for name, one in forecasts.items():
        assert one.units is not None
        assert one.cost_usd is not None
        assert one.price is not None
        note = (
            f"{one.calls} calls about {one.units} units of the embedded subject, described by "
            f"lexical, own and other descriptions together; {PRICED} at ${one.price.tokens_in:g} "
            f"and ${one.price.tokens_out:g} a million tokens"
        )
        yield {
            "figure": f"{name}_usd_per_1000",
            "value": round(1000 * one.cost_usd / one.units, 2),
            "unit": "US dollars per 1,000 units",
            "note": note,
        }
        if name == "detection":
            yield {
                "figure": "calls_per_unit",
                "value": round(one.calls / one.units, 3),
                "unit": "calls of detection a unit",
                "note": note,
            }


def _timed_check(runs: Path) -> tuple[CheckResult, float]:
    """Return the result of a check of `lexical`, and the CPU seconds that it took."""
    rubric = load_rubric("interpretability-1-5")
    begin = time.process_time()
    result = check_rater(create(None, RaterOptions()), rubric, runs=runs)
    return result, time.process_time() - begin
