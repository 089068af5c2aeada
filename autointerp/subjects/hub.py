"""A quick check of whether the Hugging Face hub can be reached, without minutes of retries."""

from __future__ import annotations

import re
from functools import cache

# What may be there, and what is in it: owner/name, owner/name/folder.
IN_HUB = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
TIMEOUT_S = 10.0  # of one request, which is not repeated


@cache
def out_of_reach() -> str | None:
    """Return why the hub cannot be asked, in a few words; None if it answers, whatever it says."""
    import httpx2
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx2.head(constants.ENDPOINT, timeout=TIMEOUT_S)
    except httpx2.TransportError as error:
        return " ".join(str(error).split())[:80] or type(error).__name__
    return None


def no_copy(name: str, unreachable: str) -> str:
    """Return what to say of a name that is neither here nor can be asked for."""
    return (
        f"no {name} here, and nothing of that name was fetched from the hub before; it cannot be "
        f"asked now ({unreachable}): correct the path, or go online"
    )
