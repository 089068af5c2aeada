"""Whether the Hugging Face hub can be reached, without minutes of retries; what is here of it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# What may be there, and what is in it: owner/name, owner/name/folder.
IN_HUB = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
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


def snapshot_here(repository: str, revision: str = "") -> tuple[str, Path] | None:
    """Return the commit and the folder that loading a repository of the hub would read now.

    None where nothing was fetched, where the hub has a newer commit of the revision, or where it
    can be reached and does not say. Nothing is fetched.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    commit = revision = revision or "main"
    if not COMMIT.fullmatch(revision):
        try:
            commit = (place / "refs" / revision).read_text("utf-8").strip()
        except (OSError, ValueError):
            return None
        if out_of_reach() is None and newest_commit(repository, revision) != commit:
            return None
    folder = place / "snapshots" / commit
    return (commit, folder) if folder.is_dir() else None


def newest_commit(repository: str, revision: str) -> str | None:
    """Return the commit that the hub has of a revision now; None where it does not say."""
    import httpx2
    from huggingface_hub import HfApi

    try:
        about = HfApi().model_info(repository, revision=revision, timeout=TIMEOUT_S)
    except (httpx2.HTTPError, OSError, ValueError):
        return None
    return about.sha
