"""Are these units interpretable, and more so than those?

The public names below load what they need when they are first used, so that `import autointerp`
is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autointerp.comparing import compare
    from autointerp.objects import harvest
    from autointerp.pipeline import Wish, rate
    from autointerp.reporting import report
    from autointerp.rubrics import load_rubric
    from autointerp.sampling import draw_units as sample
    from autointerp.settings import load_settings
    from autointerp.store import open_run
    from autointerp.subjects import load_subject

__version__ = "0.1.0"

__all__ = [
    "Wish",
    "compare",
    "harvest",
    "load_rubric",
    "load_settings",
    "load_subject",
    "open_run",
    "rate",
    "report",
    "sample",
]

_HOMES = {
    "Wish": "pipeline",
    "compare": "comparing",
    "harvest": "objects",
    "load_rubric": "rubrics",
    "load_settings": "settings",
    "load_subject": "subjects",
    "open_run": "store",
    "rate": "pipeline",
    "report": "reporting",
    "sample": "sampling.draw_units",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autointerp' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(".")
    return getattr(importlib.import_module(f"autointerp.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
