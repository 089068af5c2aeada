"""API keys: from the environment only, each bound to one address, in no text that is kept."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from autointerp.errors import BadInput

OFFICIAL = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
}
NO_KEY = "none"  # what a local server is sent: the SDKs demand a key
KEY_LIKE = re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_\-]{12,}")
REDACTED = "[key]"


def normal_url(provider: str, base_url: str | None) -> str:
    """Return the address to call, without a slash at the end.

    Raises BadInput if it is no http address, or holds a password or a query.
    """
    if base_url is None:
        return OFFICIAL[provider][0]
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise BadInput(f"--base-url {base_url!r} is not an address") from None
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


def key_variable(provider: str, url: str) -> str:
    """Return the name of the variable that holds this address's key.

    The provider's own address has the usual one; another has one of its own, so that an OpenAI
    key never travels to somebody else's server.
    """
    official, variable = OFFICIAL[provider]
    if url == official:
        return variable
    return "AUTOINTERP_KEY_" + re.sub(r"[^A-Za-z0-9]+", "_", place_of(url)).strip("_").upper()


def find_key(provider: str, url: str) -> str | None:
    """Return this address's key, or None if its variable is empty."""
    return os.environ.get(key_variable(provider, url), "").strip() or None


def redact(text: str, *keys: str | None) -> str:
    """Return `text` without the keys, whatever looks like one included."""
    for key in keys:
        if key and key != NO_KEY and len(key) >= 4:
            text = text.replace(key, REDACTED)
    return KEY_LIKE.sub(REDACTED, text)
