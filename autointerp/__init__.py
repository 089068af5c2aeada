"""Are these units interpretable, and more so than those?

The public names below load what they need when they are first used, so that `import autointerp`
is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autointerp.pipeline.describe import explain, score
    from autointerp.pipeline.evaluator import Evaluator
    from autointerp.pipeline.harvest import harvest
    from autointerp.pipeline.job import Job
    from autointerp.pipeline.opened import compare, compare_runs, open_run
    from autointerp.pipeline.rate import rate
    from autointerp.pipeline.report import report
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.settings import load_settings
    from autointerp.subjects.load import load_subject
    from autointerp.units.sample import draw_units as sample

__version__ = "0.1.0"

__all__ = [
    "Evaluator",
    "Job",
    "compare",
    "compare_runs",
    "explain",
    "harvest",
    "load_rubric",
    "load_settings",
    "load_subject",
    "open_run",
    "rate",
    "report",
    "sample",
    "score",
]

_HOMES = {
    "Evaluator": "pipeline.evaluator",
    "Job": "pipeline.job",
    "compare": "pipeline.opened",
    "compare_runs": "pipeline.opened",
    "explain": "pipeline.describe",
    "harvest": "pipeline.harvest",
    "load_rubric": "questions.rubric_files",
    "load_settings": "settings",
    "load_subject": "subjects.load",
    "open_run": "pipeline.opened",
    "rate": "pipeline.rate",
    "report": "pipeline.report",
    "sample": "units.sample:draw_units",
    "score": "pipeline.describe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autointerp' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"autointerp.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
