"""Units' scores under a scorer, made up."""

import pandas as pd

from autointerp.findings.answers import UnitScore

# What a comparison holds of units that the run's own subject gave.
OF_A_HARVEST = {
    "level": 0.95,
    "units": pd.DataFrame({"source": ["features"], "note": [""]}),
    "imported": pd.DataFrame({"notes": []}),
}


def unit(number: int, permuted: bool, value: float | None, source: str = "features") -> UnitScore:
    """Return what became of one unit under `fuzzing`; no score where `value` is None."""
    return UnitScore(
        number, source, source == "shuffled", "fuzzing", "a", "b", "20 of each kind", permuted,
        value,
        "ok" if value is not None else "too few silent tokens", 10, 9, {"ok": 1, "failed": 1},
    )  # fmt: skip
