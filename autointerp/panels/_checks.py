"""What is known of raters beside these runs."""

from __future__ import annotations


def latest_check(rater: str) -> str | None:
    """Return what the latest check of a rater found, in a few words; None if there was none.

    Nothing checks raters yet, so this is always None.
    """
    return None
