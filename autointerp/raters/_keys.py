"""API keys: read from the environment, bound to one address each, removed from stored text."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from autointerp.errors import BadInput

NO_KEY = "none"  # what a local server is sent: the SDKs demand a key
KEY_LIKE = re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_\-]{12,}")
REDACTED = "[key]"


def normal_url(base_url: str) -> str:
    """Return the address to call, without a slash at the end.

    Raises BadInput if it is no http address, or holds a password or a query.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise BadInput(
            f"--base-url {base_url!r} is not an address; give one such as http://127.0.0.1:11434/v1"
        ) from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput(
            "--base-url holds a password or a query; keys come from the environment: "
            "see `autointerp doctor`"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"--base-url {base_url!r}: give one such as http://127.0.0.1:11434/v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{port}" if port else host
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def place_of(url: str) -> str:
    """Return host and port, as in the names of raters on servers of one's own."""
    return urlsplit(url).netloc


def own_variable(url: str) -> str:
    """Return the name of the environment variable that holds the key of a server of one's own.

    Each address has one, so that a provider's key never travels to somebody else's server.
    """
    return "AUTOINTERP_KEY_" + re.sub(r"[^A-Za-z0-9]+", "_", place_of(url)).strip("_").upper()


def find_key(variable: str) -> str | None:
    """Return the key in an environment variable, or None if it is empty."""
    return os.environ.get(variable, "").strip() or None


def redact(text: str, *keys: str | None) -> str:
    """Return `text` without the keys and without words that look like one."""
    for key in keys:
        if key and key != NO_KEY and len(key) >= 4:
            text = text.replace(key, REDACTED)
    return KEY_LIKE.sub(REDACTED, text)
