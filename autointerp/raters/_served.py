"""Base of raters behind an HTTP server: key, errors, rate limits, probe."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NoReturn

from autointerp.errors import BadInput, RaterError
from autointerp.questions.question import Question
from autointerp.raters import (
    STRUCTURED,
    AttemptFailed,
    Extent,
    Finding,
    Headroom,
    RaterOptions,
    Structured,
    call_key,
)
from autointerp.raters._keys import (
    NO_KEY,
    find_key,
    normal_url,
    own_variable,
    place_of,
    redact,
)
from autointerp.raters._prices import Price, find_price
from autointerp.records import Item, Reply, Request, storable

LONGEST_REPLY = 200_000  # characters; a reply of any rubric is under a twentieth of it
LONGEST_ERROR = 500
SPENT = re.compile(
    r"insufficient_quota|exceeded your current quota|credit balance is too low|billing", re.I
)
PROBE_TEXT = "What colour is the sky? Answer in one short English sentence, not in JSON."
PROBE_SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "enum": [0, 1, 2, 3]}},
    "required": ["score"],
    "additionalProperties": False,
}
UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
TIMEOUTS = ("ReadTimeout", "WriteTimeout", "PoolTimeout")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class ServedRaterBase:
    """A rater that asks a server; the providers' modules say how.

    A subclass has these four and the methods that raise NotImplementedError.

    Attributes:
        provider: The rater's name, and that of its table in `prices.toml`.
        provider_url: Its own address.
        variable: The environment variable of its key.
        headers_variable: The one by which the SDK adds headers of the user's.
    """

    provider: ClassVar[str]
    provider_url: ClassVar[str]
    variable: ClassVar[str]
    headers_variable: ClassVar[str]
    evidence: Literal["shown", "all"] = "shown"
    is_llm = True

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        if not model:
            raise BadInput(f"rater '{self.provider}': name a model, as in {self.provider}:MODEL")
        if options.structured is not None and options.structured not in STRUCTURED:
            raise BadInput(
                f"--structured {options.structured} is not supported; "
                f"give one of {', '.join(STRUCTURED)}"
            )
        self.model = model
        self.options = options
        given = options.base_url
        self.url = self.provider_url if given is None else normal_url(given)
        self.official = self.url == self.provider_url
        self.name = f"{self.provider}:{model}" + ("" if self.official else f"@{place_of(self.url)}")
        self.place = self.url
        self.price: Price | None = find_price(
            self.provider if self.official else "", model, options.price_in, options.price_out
        )
        self.headroom: Headroom | None = None
        self.concurrency = 64
        self.structured: Structured = options.structured or "json_schema"
        self.most_tokens = options.max_output_tokens
        self._systems: dict[tuple[str, int], str] = {}
        self._key: str | None = None

    @property
    def key_variable(self) -> str:
        """The environment variable that holds this address's key."""
        return self.variable if self.official else own_variable(self.url)

    # ------------------------------------------------------------------------- requests

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        which = (question.digest, repeat)
        if which not in self._systems:
            self._systems[which] = question.system(repeat)
        body = self.body(
            self._systems[which], question.user(item), self.schema(question), question, repeat
        )
        key = call_key(self.provider, self.place, body, question, repeat)
        return Request(key, item.id, body, repeat)

    def schema(self, question: Question) -> dict[str, Any]:
        """Return the schema of a reply as this server is sent it."""
        return question.schema()

    def body(
        self, system: str, user: str, schema: dict[str, Any], question: Question | None, repeat: int
    ) -> dict[str, Any]:
        """Return the full body of a call; `question` is None for the probe."""
        raise NotImplementedError

    def extent(self, request: Request) -> Extent:
        size = len(json.dumps(request.body, ensure_ascii=False).encode("utf-8", "replace"))
        return Extent(size, self.most_tokens)

    # ------------------------------------------------------------------------- opening

    def require_key(self) -> None:
        self._key = find_key(self.key_variable)
        if self._key is None and self.official:
            raise RaterError(
                f"{self.name} needs a key: set {self.key_variable}; "
                "`autointerp doctor` shows which keys are there"
            )

    async def open(self, remembered: str | None) -> str | None:
        self.require_key()
        if not self.official and os.environ.get(self.headers_variable):
            raise RaterError(
                f"{self.headers_variable} is set and would be sent to {self.url}; unset it"
            )
        self.connect(self._key or NO_KEY)
        if self.options.structured is not None or self.official:
            return None
        if remembered is not None:
            self.recall(json.loads(remembered))
            return None
        return json.dumps(await self.probe())

    def connect(self, key: str) -> None:
        """Make the SDK's client; nothing is sent."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Set the result of an earlier probe."""
        self.structured = remembered["structured"]

    async def probe(self) -> dict[str, Any]:
        """Return what the server can do, found by at most three small calls.

        The question asks for prose: JSON comes back only where the server enforces it.
        """
        for mode in ("json_schema", "tool"):
            self.structured = mode
            if await self.obeys():
                break
        else:
            self.structured = "text"
        return {"structured": self.structured}

    async def obeys(self) -> bool:
        """Return whether the server enforces a reply's form in the present mode."""
        body = self.body("You are a helpful assistant.", PROBE_TEXT, PROBE_SCHEMA, None, 0)
        try:
            reply = await self.send(Request("probe", "probe", body))
        except AttemptFailed as failed:
            if failed.kind == "rejected":
                return False
            raise RaterError(f"{self.name} cannot be asked: {failed}") from None
        self.probed = reply
        return self.enforced(reply)

    def enforced(self, reply: Reply) -> bool:
        """Return whether a reply to the probe has the probe's form, against its words."""
        try:
            fields = json.loads(reply.text)
        except ValueError:
            return False
        return isinstance(fields, dict) and fields.get("score") in (0, 1, 2, 3)

    async def check(self) -> list[Finding]:
        """Ask once for a reply in the form of a schema, and return what came.

        Raises RaterError if the server cannot be asked.
        """
        await self.open(json.dumps({"structured": "json_schema", "logprobs": False}))
        try:
            body = self.body("You are a helpful assistant.", PROBE_TEXT, PROBE_SCHEMA, None, 0)
            reply = await self.send(Request("doctor", "doctor", body))
        except AttemptFailed as failed:
            rejected = failed.kind == "rejected"
            remedy = "`rate` will try a forced tool, then plain text"
            return [
                Finding(rejected, self.name, str(failed), remedy if rejected else "is it running?")
            ]
        finally:
            await self.close()
        enforced = self.enforced(reply)
        words = "enforced by the server" if enforced else "not enforced: replies are checked here"
        priced = "known" if self.price is not None else "unknown (--price-in, --price-out)"
        return [
            Finding(True, self.name, f"answers as {reply.model} in {reply.latency_s or 0:.1f} s"),
            Finding(True, "structured output", words),
            Finding(True, "price", priced),
        ]

    # ------------------------------------------------------------------------- sending

    async def send(self, request: Request) -> Reply:
        started = time.perf_counter()
        with self._failures():
            async with asyncio.timeout(self.options.timeout_s):
                status_headers, text = await self.exchange(request.body)
        latency_s = time.perf_counter() - started
        self.headroom = self.read_headroom(status_headers) or self.headroom
        try:
            content = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError("not an object")
            reply = self.read(content, latency_s)
        except UNREADABLE as error:
            raise AttemptFailed(
                self.clean(f"the body is no reply of this protocol ({type(error).__name__})"),
                "server",
                transient=True,
                perhaps_billed=True,
                text=self.clean(text[:LONGEST_REPLY]),
            ) from None
        request_id = status_headers.get("x-request-id") or status_headers.get("request-id")
        if request_id:
            reply.details["request_id"] = self.clean(request_id)
        return reply

    async def exchange(self, body: dict[str, Any]) -> tuple[Mapping[str, str], str]:
        """Send a body; return the reply's headers and text."""
        raise NotImplementedError

    def read(self, content: dict[str, Any], latency_s: float | None, batch: bool = False) -> Reply:
        """Return a reply from the parsed body of a response."""
        raise NotImplementedError

    def read_headroom(self, headers: Mapping[str, str]) -> Headroom | None:
        """Return what the headers say of the limits."""
        raise NotImplementedError

    def finished(
        self,
        text: str,
        stop: Literal["end", "length", "refusal"],
        model: Any,
        latency_s: float | None,
        tokens: tuple[int, int, int, int] | None,
        details: dict[str, Any],
        batch: bool,
    ) -> Reply:
        """Return a reply, priced and rid of keys; `tokens` are in, out, cache read, cache write."""
        if len(text) > LONGEST_REPLY:
            details["characters"] = len(text)
            text, stop = text[:LONGEST_REPLY], "length"
        cost = None
        if tokens is not None and self.price is not None:
            cost = self.price.cost_usd(*tokens, batch=batch)
        if tokens is not None:
            details["cached_tokens"] = tokens[2]
        details["structured"] = self.structured
        if batch:
            details["tier"] = "batch"
        return Reply(
            text=self.clean(text),
            stop=stop,
            model=self.clean(model) if isinstance(model, str) else None,
            tokens_in=tokens[0] if tokens else None,
            tokens_out=tokens[1] if tokens else None,
            cost_usd=cost,
            latency_s=latency_s,
            details=details,
        )

    def clean(self, text: str) -> str:
        """Return `text` without the key, and such as a database can hold."""
        return redact(storable(text), self._key)

    # ------------------------------------------------------------------------- failures

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what the SDK raises into AttemptFailed or RaterError, without the key."""
        module = self.sdk()
        try:
            yield
        except module.APIStatusError as error:
            headers = error.response.headers
            self.headroom = self.read_headroom(headers) or self.headroom
            self._rejected(error.status_code, headers, self._error_text(error.body, error.message))
        except (module.APIConnectionError, TimeoutError) as error:
            causes = list(chain(error))
            # The SDKs' aiohttp transport calls every lost connection a time-out.
            if any(isinstance(c, TimeoutError) or type(c).__name__ in TIMEOUTS for c in causes):
                raise AttemptFailed(
                    f"no reply within {self.options.timeout_s:g} s", "timeout", True, None, True
                ) from None
            words = self.clean(str(causes[-1]) or type(causes[-1]).__name__)
            words = " ".join(words.split())[:LONGEST_ERROR]
            raise AttemptFailed(
                f"the connection to {self.url} failed ({words})", "connection", True, None, True
            ) from None

    def sdk(self) -> Any:
        """Return the SDK's module."""
        raise NotImplementedError

    def _error_text(self, body: object, otherwise: str) -> str:
        """Return the server's own words, in one line."""
        error = body.get("error", body) if isinstance(body, dict) else body
        if isinstance(error, dict):
            parts = [str(error[k]) for k in ("code", "type", "message") if error.get(k)]
            words = ": ".join(dict.fromkeys(parts))
        else:
            words = str(error or otherwise)
        return " ".join(self.clean(words).split())[:LONGEST_ERROR]

    def _rejected(self, status: int, headers: Mapping[str, str], words: str) -> NoReturn:
        variable = self.key_variable
        if status in (401, 403):
            held = "refused" if self._key else "is empty and the server wants one"
            raise RaterError(f"{self.name}: the key in {variable} {held} ({status} {words})")
        if status == 402 or (status in (400, 429) and SPENT.search(words)):
            raise RaterError(f"{self.name}: the quota is spent ({status} {words})")
        if status == 404:
            raise RaterError(f"{self.name}: no such model or address at {self.url} ({words})")
        transient = status in (408, 409, 429) or status >= 500
        advice = headers.get("x-should-retry", "").lower()
        if advice in ("true", "false"):
            transient = advice == "true"
        kind: Literal["busy", "server", "timeout", "rejected"] = (
            "busy"
            if status in (429, 529)
            else "timeout"
            if status == 408
            else "server"
            if status >= 500
            else "rejected"
        )
        raise AttemptFailed(
            f"{status} {words}", kind, transient, retry_after(headers), False, status
        )


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came of, the first cause last."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, from any of the three forms of header."""
    exact = headers.get("retry-after-ms", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(exact) / 1000)
    value = headers.get("retry-after", "").strip()
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(value)
        return max(0.0, (until - datetime.datetime.now(datetime.UTC)).total_seconds())
    return None


def seconds_until(value: str | None) -> float | None:
    """Return seconds from `6m0s`, `12ms`, a number, or a moment in RFC 3339."""
    if not value:
        return None
    parts = DURATION.findall(value)
    if parts and "".join(a + b for a, b in parts) == value:
        return sum(float(amount) * UNIT_S[unit] for amount, unit in parts)
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError):
        until = datetime.datetime.fromisoformat(value)
        if until.tzinfo is not None:
            return max(0.0, (until - datetime.datetime.now(datetime.UTC)).total_seconds())
    return None


def counted(value: object) -> int | None:
    """Return a count of tokens, or None if it is none."""
    right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40
    return value if right and isinstance(value, int) else None


def whole_number(value: str | None) -> int | None:
    """Return a header's whole number, or None."""
    return int(value) if value and value.strip().isdigit() else None
