"""API keys: read from the environment, bound to one address each, removed from stored text."""

from __future__ import annotations

import base64
import functools
import os
import re
from urllib.parse import urlsplit

from autointerp.errors import BadInput, RaterError

NO_KEY = "none"  # what a local server is sent: the SDKs demand a key
KEY_LIKE = re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_\-]{12,}")
REDACTED = "[key]"
UNWRITTEN = re.compile(r"[^!-~]|[<>\"{}|\\^`]")  # in an address: blanks, controls, beyond ASCII
HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.%]*"
)
USUAL_PATH = "/v1"
OWN_ADDRESS = re.compile(r"@(?=https?://)")  # before it, in MODEL@URL
LONGEST_URL = 2_000
SHORTEST_KEY = 4  # a shorter one is a word like others


def normal_url(base_url: str) -> str:
    """Return the address to call, without a slash at the end.

    Raises BadInput if it is no http address, or holds a password or a query.
    """
    example = "give one such as http://127.0.0.1:11434/v1"
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise BadInput(f"--base-url {base_url!r} is not an address; {example}") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput(
            "--base-url holds a password or a query; keys come from the environment: "
            "see `autointerp doctor`"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"--base-url {base_url!r}: {example}")
    odd = UNWRITTEN.search(base_url)
    if odd or not HOST.fullmatch(parts.hostname) or len(base_url) > LONGEST_URL:
        raise BadInput(
            f"--base-url {base_url[:200]!r} holds what no address may"
            + (f" ({odd[0]!r})" if odd else "")
            + "; write other characters as xn--… in the host and %… in the path"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{port}" if port else host
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def place_of(url: str) -> str:
    """Return what the names of raters on servers of one's own say of the address: host and port,
    and the path unless it is the usual one, since a gateway has a path for each model behind it."""
    parts = urlsplit(url)
    return parts.netloc + ("" if parts.path == USUAL_PATH else parts.path)


def own_variable(url: str) -> str:
    """Return the name of the environment variable that holds the key of a server of one's own.

    Each host and port has one, so that a provider's key never travels to somebody else's server.
    """
    place = urlsplit(url).netloc
    return "AUTOINTERP_KEY_" + re.sub(r"[^A-Za-z0-9]+", "_", place).strip("_").upper()


def find_key(variable: str) -> str | None:
    """Return the key in an environment variable, or None if it is empty.

    Raises RaterError for one that no header can hold; it is not shown.
    """
    key = os.environ.get(variable, "").strip()
    if re.search(r"[^!-~]", key):
        raise RaterError(
            f"{variable} holds a blank or a character that no key has; set it again, "
            "without quotation marks and line breaks"
        )
    return key or None


def redact(text: str, *keys: str | None) -> str:
    """Return `text` without the keys and without words that look like one.

    A key is found in whatever way its characters are written: as themselves, as \\u escapes, in
    percent or HTML encoding, or the whole in base64.
    """
    for key in keys:
        if key and key != NO_KEY and len(key) >= SHORTEST_KEY:
            text = _written(key).sub(REDACTED, text)
    return KEY_LIKE.sub(REDACTED, text)


@functools.lru_cache(maxsize=64)
def _written(key: str) -> re.Pattern[str]:
    """Return a pattern of every way to write a key."""
    characters = []
    for character in key:
        code = ord(character)
        digits = "".join(f"[{d}{d.upper()}]" for d in f"{code:x}")
        characters.append(
            rf"(?:{re.escape(character)}|\\+u\{{?0*{digits}\}}?|\\+[xX]0*{digits}|%{digits}"
            rf"|&\#0*{code};|&\#[xX]0*{digits};|\\+0*{code:o})"
        )
    wholes = ["".join(characters)]
    for lead in range(3):  # base64 of a text in which the key begins at any byte
        packed = base64.b64encode(b"\x00" * lead + key.encode()).decode().rstrip("=")
        first = (0, 2, 3)[lead]  # characters that hold bits of what stands before
        inner = packed[first : len(packed) - 1]  # the last one may hold bits of what follows
        if len(inner) >= SHORTEST_KEY + 2:
            wholes += [re.escape(inner), re.escape(inner.translate(URL_SAFE))]
    return re.compile("|".join(dict.fromkeys(wholes)))


URL_SAFE = str.maketrans("+/", "-_")
