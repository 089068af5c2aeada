"""SAEs and hooks of other libraries beside ours: `make test-parity` makes the environment.

Run it there: `.parity-venv/bin/python -m bench parity`.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

LIBRARIES = ("sae_lens", "sparsify", "dictionary_learning", "transformer_lens")


def figures() -> Iterator[dict[str, Any]]:
    """Yield how many SAEs and hooks are read as their own libraries read them."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        note = f"{', '.join(missing)} not installed; `make test-parity` makes an environment"
        for name in ("formats_right", "formats_refused", "formats_wrong", "hooks_right",
                     "hooks_refused", "hooks_wrong"):  # fmt: skip
            yield {"figure": name, "value": None, "unit": _unit(name), "note": note}
        return
    from bench._formats import format_checks
    from bench._hooks import FAMILIES, hook_checks

    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        formats = [*format_checks()]
        hooks = [check for family in FAMILIES for check in hook_checks(family)]
    of_formats = Counter(check.outcome for check in formats)
    libraries = Counter(check.library for check in formats if check.outcome == "right")
    listed = ", ".join(f"{count} {name}" for name, count in libraries.items())
    wrong = "; ".join(f"{c.library} {c.name}: {c.detail}" for c in formats if c.outcome == "wrong")
    notes = {
        "right": f"latents equal within 2e-4 on 200 activations: {listed}",
        "refused": "by a line that names the setting",
        "wrong": wrong or "none",
    }
    for outcome, note in notes.items():
        yield _figure(f"formats_{outcome}", of_formats[outcome], note)
    of_hooks = Counter(check.outcome for check in hooks)
    families = {check.family for check in hooks if check.outcome == "right"}
    wrong = "; ".join(
        f"{c.family} {c.library} {c.hook}: {c.detail}" for c in hooks if c.outcome == "wrong"
    )
    notes = {
        "right": f"activations equal within 1e-4: {len(families)} architectures and variants, "
        "HookedTransformer and TransformerBridge",
        "refused": "by a line that says why; TransformerLens has them",
        "wrong": wrong or "none",
    }
    for outcome, note in notes.items():
        yield _figure(f"hooks_{outcome}", of_hooks[outcome], note)


def _figure(name: str, value: int, note: str) -> dict[str, Any]:
    return {"figure": name, "value": value, "unit": _unit(name), "note": note}


def _unit(name: str) -> str:
    return name.partition("_")[0] if name.startswith("hooks") else "SAEs"
