"""Units' scores under a scorer, made up."""

from autointerp.findings.answers import UnitScore


def unit(number: int, permuted: bool, value: float | None, source: str = "features") -> UnitScore:
    """Return what became of one unit under `fuzzing`; no score where `value` is None."""
    return UnitScore(
        number, source, source == "shuffled", "fuzzing", "a", "b", "20 of each kind", permuted,
        value,
        "ok" if value is not None else "too few silent tokens", 10, 9, {"ok": 1, "failed": 1},
    )  # fmt: skip
