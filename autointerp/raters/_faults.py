"""What a server's error means: which status, whether it passes, refusals, quotas, times to wait."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
import math
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["busy", "server", "timeout", "connection", "rejected"]

LONGEST_WAIT_S = 24 * 3600.0  # a server that names a later moment is not believed
EPOCH_S = 1e9  # from here on a number of seconds is a moment: 1e9 s are 31 years
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|\u00b5s|ns|s|m|h|d)", re.IGNORECASE)
UNIT_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0}
UNIT_S |= {"h": 3600.0, "d": 86400.0}
TIMEOUTS = ("ReadTimeout", "WriteTimeout", "PoolTimeout")

# Codes and types (never the message, which may quote the prompt) of a quota that is spent.
SPENT = frozenset(
    {
        "insufficient_quota",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_funds",
        "exceeded_current_quota_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "credit_balance_too_low",
        "payment_required",
        "arrearage",
    }
)
# Anthropic gives a spent balance no code of its own, only these words at the beginning.
SPENT_WORDS = re.compile(r"\s*your credit balance is too low", re.IGNORECASE)

# Codes and types of an item that a filter keeps from the model.
REFUSED = frozenset(
    {
        "content_policy_violation",
        "content_filter",
        "content_filtered",
        "content_blocked",
        "content_moderation",
        "content_violation",
        "responsibleaipolicyviolation",
        "moderation_blocked",
        "moderation_error",
        "moderation",
        "input_moderation",
        "prompt_blocked",
        "prohibited_content",
        "blocklist",
        "safety",
        "recitation",
        "spii",
        "invalid_prompt",
        "data_inspection_failed",
        "datainspectionfailed",
        "guardrail_intervened",
        "cyber_policy_violation",
    }
)
REFUSED_WORDS = re.compile(
    r"(?i:content management policy|content[ _-]filter|content[ _-]policy|requires moderation"
    r"|responsible ai|inappropriate content|potentially violating"
    r"|(?:flagged|blocked|rejected) (?:by|for|as|due to) (?:the |our |its )?"
    r"(?:input |output |content |prompt )?(?:moderation|filter|safety|policy|guardrail|harmful)"
    r"|(?:input|prompt|content|message|output|request) (?:was |has been |is )?(?:flagged|blocked))"
    r"|\bSAFETY\b|PROHIBITED_CONTENT|blockReason"
)
REFUSED_STATUSES = (400, 403, 422, 451)

# Names of errors in bodies with status 200, with the status that they stand for.
NAMED = (
    (re.compile(r"overloaded"), 529),
    (re.compile(r"rate_?limit|too_?many|throttl|resource_?exhausted"), 429),
    (re.compile(r"time_?d?_?out|deadline"), 408),
    (re.compile(r"unavailable|server_?error|api_error|internal|bad_?gateway|upstream"), 500),
    (re.compile(r"authentication|unauthorized|invalid_?api_?key|invalid_?key"), 401),
    (re.compile(r"permission|forbidden"), 403),
    (re.compile(r"not_?found"), 404),
)


@dataclass(frozen=True)
class ServerError:
    """An error in a server's own words.

    Attributes:
        status: Of HTTP, or the one that the error's own code stands for.
        words: Code, type and message in one line, not yet rid of keys.
        codes: What it calls itself, in small letters.
        message: Without code and type.
    """

    status: int
    words: str
    codes: frozenset[str] = frozenset()
    message: str = ""

    @property
    def is_refusal(self) -> bool:
        """Whether a filter or a moderator kept this one item from the model."""
        if self.status not in REFUSED_STATUSES or self.is_spent:
            return False
        return bool(self.codes & REFUSED) or REFUSED_WORDS.search(self.message) is not None

    @property
    def is_spent(self) -> bool:
        """Whether no call will be taken before somebody pays."""
        if self.status == 402 or self.codes & SPENT:
            return True
        return self.status == 400 and SPENT_WORDS.match(self.message) is not None

    @property
    def kind(self) -> Kind:
        if self.status in (429, 529):
            return "busy"
        if self.status == 408:
            return "timeout"
        return "server" if self.status >= 500 and self.status not in (501, 505) else "rejected"

    @property
    def is_transient(self) -> bool:
        """Whether the same call may be taken another time."""
        return self.kind != "rejected" or self.status in (409, 425)


def server_error(body: object, otherwise: str, status: int | None = None) -> ServerError:
    """Return the error in a body; `status` is that of HTTP, None where it was 200."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return ServerError(status or 400, str(error or otherwise), message=str(error or otherwise))
    message = _text(error.get("message")) or _text(error.get("detail")) or ""
    inner = error.get("innererror")
    named = [error.get("code"), error.get("type"), error.get("status")]
    named += [inner.get("code")] if isinstance(inner, dict) else []
    names = [name for name in map(_text, named) if name]
    parts = [
        part for part in (*map(_text, (error.get("code"), error.get("type"))), message) if part
    ]
    codes = frozenset(name.lower() for name in names)
    number = str(status or _status_of(names, codes))
    words = ": ".join(part for part in dict.fromkeys(parts) if part != number) or otherwise
    return ServerError(status or _status_of(names, codes), words, codes, message or words)


def _status_of(names: list[str], codes: frozenset[str]) -> int:
    """Return the status that an error stands for; 400, which is not tried again, if none."""
    for name in names:
        if name.isdigit() and 400 <= int(name[:9]) < 600:
            return int(name)
    for pattern, status in NAMED:
        if any(pattern.search(code) for code in codes):
            return status
    return 400


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**9 else ""
    return json.dumps(value)[:200] if isinstance(value, list | dict) and value else ""


# -------------------------------------------------------------------------------- connections


def transport_errors() -> tuple[type[Exception], ...]:
    """Return what the SDKs let through of their transport, and of a server of another protocol."""
    import httpx2

    from autointerp.raters._bounds import BadBody

    found: list[type[Exception]] = [httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError]
    with contextlib.suppress(ImportError):
        import aiohttp
        from aiohttp.http_exceptions import HttpProcessingError

        found += [aiohttp.ClientError, HttpProcessingError]
    return (*found, BadBody, OSError, ValueError, TypeError, AttributeError, LookupError)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came of, the first cause last.

    What the system refused came of nothing else: what a library had caught before is no cause.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        is_first = cause.__suppress_context__ or isinstance(cause, OSError)
        cause = cause.__cause__ or (None if is_first else cause.__context__)


def is_timeout(causes: list[BaseException]) -> bool:
    """Whether the time ran out; the SDKs' aiohttp transport calls every lost connection so."""
    return any(isinstance(c, TimeoutError) or type(c).__name__ in TIMEOUTS for c in causes)


def is_bad_body(causes: list[BaseException]) -> bool:
    """Whether a reply came that is too long or cannot be unpacked: it will come again."""
    return any(type(cause).__name__ == "BadBody" for cause in causes)


def is_hopeless(causes: list[BaseException]) -> bool:
    """Whether a failed connection will fail again: a certificate, or no TLS at the other end."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError | ssl.CertificateError)
        or (isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause))
        or type(cause).__name__ in ("UnsupportedProtocol", "InvalidURL", "InvalidUrlClientError")
        for cause in causes
    )


# -------------------------------------------------------------------------------------- times


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, from any of the forms of header."""
    exact = headers.get("retry-after-ms", "")
    with contextlib.suppress(ValueError):
        milliseconds = float(exact)
        if math.isfinite(milliseconds):
            return _believed(milliseconds / 1000)
    return seconds_until(headers.get("retry-after", ""))


def seconds_until(value: str | None) -> float | None:
    """Return seconds from `6m0s`, a number of seconds, or a moment in any usual form.

    A moment is a number of seconds, milliseconds or less since 1970, an HTTP date or RFC 3339. It
    is never negative, and at most a day. None for what is none of these.
    """
    value = (value or "").strip()
    if not value or len(value) > 100:
        return None
    parts = DURATION.findall(value)
    if parts and "".join(DURATION.sub("", value).split()) == "":
        return _believed(sum(float(amount) * UNIT_S[unit.lower()] for amount, unit in parts))
    with contextlib.suppress(ValueError):
        return _from_number(float(value))
    now = datetime.datetime.now(datetime.UTC)
    with contextlib.suppress(ValueError, OverflowError):
        until = datetime.datetime.fromisoformat(value)
        until = until if until.tzinfo is not None else until.replace(tzinfo=datetime.UTC)
        return _believed((until - now).total_seconds())
    with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
        until = email.utils.parsedate_to_datetime(value)
        until = until if until.tzinfo is not None else until.replace(tzinfo=datetime.UTC)
        return _believed((until - now).total_seconds())
    return None


def _from_number(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    if value < EPOCH_S:
        return _believed(value)
    while value >= 1e11:  # milliseconds, microseconds, nanoseconds: 1e11 s is the year 5138
        value /= 1000
    return _believed(value - datetime.datetime.now(datetime.UTC).timestamp())


def _believed(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_WAIT_S)


# ------------------------------------------------------------------------------------- counts


def counted(value: object) -> int | None:
    """Return a count of tokens, or None if it is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40
    return value if right and isinstance(value, int) else None


def whole_number(value: str | None) -> int | None:
    """Return a header's whole number, or None."""
    return (
        counted(float(value)) if value and re.fullmatch(r"\s*\d{1,12}(\.0*)?\s*", value) else None
    )
