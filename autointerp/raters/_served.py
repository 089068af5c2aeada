"""Base of raters behind an HTTP server: key, errors, rate limits, probe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
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
    require_written,
)
from autointerp.raters._faults import (
    ServerError,
    chain,
    is_bad_body,
    is_hopeless,
    is_timeout,
    retry_after,
    server_error,
    transport_errors,
)
from autointerp.raters._keys import (
    NO_KEY,
    OWN_ADDRESS,
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
PROBE_TEXT = "What colour is the sky? Answer in one short English sentence, not in JSON."
PROBE_SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "enum": [0, 1, 2, 3]}},
    "required": ["score"],
    "additionalProperties": False,
}
UNREADABLE = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip
NOT_SPOKEN = (TypeError, AttributeError, LookupError)  # of the SDK, on what a server sent
LONGEST_TIMEOUT_S = 24 * 3600.0
HEAD = 160  # characters of a body that is no reply, in an error
CUSTOM_ID = re.compile(r'"custom_id"\s*:\s*"([0-9a-f]{64})"')  # a call key, in a broken line


class Declined(Exception):
    """Raised where a filter kept an item from the model; the text is the server's own."""

    def __init__(self, error: ServerError, words: str) -> None:
        super().__init__(words)
        self.status = error.status


class ServedRaterBase:
    """A rater that asks a server; the providers' modules say how.

    A subclass has these four and the methods that raise NotImplementedError.

    Attributes:
        provider: The rater's name, and that of its table in `prices.toml`.
        provider_url: Its own address.
        variable: The environment variable of its key.
        headers_variable: The one by which the SDK adds headers of the user's.
        writes: Whether it can be asked for words.
    """

    provider: ClassVar[str]
    provider_url: ClassVar[str]
    variable: ClassVar[str]
    headers_variable: ClassVar[str]
    writes: ClassVar[bool] = True
    evidence: Literal["shown", "all"] = "shown"
    is_llm = True

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        model, *address = OWN_ADDRESS.split(model or "", maxsplit=1)
        if address:
            options = replace(options, base_url=address[0])
        if not model:
            raise BadInput(f"rater '{self.provider}': name a model, as in {self.provider}:MODEL")
        if options.structured is not None and options.structured not in STRUCTURED:
            raise BadInput(
                f"--structured {options.structured} is not supported; "
                f"give one of {', '.join(STRUCTURED)}"
            )
        if not 0 < options.timeout_s <= LONGEST_TIMEOUT_S:
            raise BadInput(
                f"--timeout {options.timeout_s:g} must be over 0 and at most "
                f"{LONGEST_TIMEOUT_S:.0f} seconds"
            )
        for name, price in (("in", options.price_in), ("out", options.price_out)):
            if price is not None and not 0 <= price < math.inf:
                raise BadInput(f"--price-{name} {price:g} must be 0 or more US dollars")
        self.model = model
        self.options = options
        given = options.base_url
        self.url = self.provider_url if given is None else normal_url(given)
        self.official = self.url == self.provider_url
        if self.official and "@" in model:  # else a name would have two readings
            raise BadInput(
                f"rater '{self.provider}:{model}': {self.provider_url} has no model with an @; a "
                "server of your own is named by its whole address, as in "
                f"{self.provider}:MODEL@http://HOST:PORT/v1"
            )
        self.name = f"{self.provider}:{model}" + ("" if self.official else f"@{place_of(self.url)}")
        self.place = self.url
        self.price: Price | None = find_price(
            self.provider if self.official else "", model, options.price_in, options.price_out
        )
        self.headroom: Headroom | None = None
        self.concurrency = 64
        self.structured: Structured = options.structured or "json_schema"
        self.most_tokens = options.max_output_tokens
        self.broke = False  # the server answered 500 to a probe
        self._systems: dict[tuple[str, int], str] = {}
        self._key: str | None = None
        self._client: Any = None

    @property
    def written(self) -> str:
        """How a command names the rater, with its address."""
        return f"{self.provider}:{self.model}" + ("" if self.official else f"@{self.url}")

    @property
    def key_variable(self) -> str:
        """The environment variable that holds this address's key."""
        return self.variable if self.official else own_variable(self.url)

    # ------------------------------------------------------------------------- requests

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        require_written(self.name, question)
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
        try:
            return json.dumps(await self.probe())
        except BaseException:
            await self.close()
            raise

    def connect(self, key: str) -> None:
        """Make the SDK's client, `_client`; nothing is sent."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

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
            if self.broke:  # or is it the server that is broken, whatever it is asked?
                await self.send(self._probe_request())
        return {"structured": self.structured}

    def _probe_request(self) -> Request:
        body = self.body("You are a helpful assistant.", PROBE_TEXT, PROBE_SCHEMA, None, 0)
        return Request("probe", "probe", body)

    async def obeys(self) -> bool:
        """Return whether the server enforces a reply's form in the present mode.

        A server that breaks (500) on the form, twice, does not have it. Raises AttemptFailed where
        nothing can be found out now, RaterError where it never can.
        """
        for is_last in (False, True):
            try:
                self.probed = await self.send(self._probe_request())
            except AttemptFailed as failed:
                if failed.kind == "rejected":
                    return False
                if failed.status != 500:
                    raise
                self.broke = True
                if is_last:
                    return False
            else:
                return self.enforced(self.probed)
        return False

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
            reply = await self.send(self._probe_request())
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
        try:
            with self._failures():
                async with asyncio.timeout(self.options.timeout_s):
                    headers, text = await self.exchange(request.body)
            latency_s = time.perf_counter() - started
            self.headroom = self.read_headroom(headers) or self.headroom
            reply = self._read_body(headers, text, latency_s)
        except Declined as declined:
            return self.refusal(declined)
        request_id = headers.get("x-request-id") or headers.get("request-id")
        if request_id:
            reply.details["request_id"] = self.clean(request_id)
        return reply

    def _read_body(self, headers: Mapping[str, str], text: str, latency_s: float) -> Reply:
        """Return the reply in the body of a response with status 200.

        What has another form has it the next time, too: only a body that was cut short passes.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip() or "no type"
        is_cut = False
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            is_cut = not text.strip() or (
                text.lstrip().startswith(("{", "["))
                and (error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"))
            )
            problem = "is cut short" if is_cut else f"is no JSON but {kind}"
        except (ValueError, RecursionError) as error:  # figures, or brackets, without end
            problem = f"is no JSON of this protocol ({type(error).__name__})"
        else:
            if not isinstance(content, dict):
                problem = "is JSON, but no object"
            else:
                error_in_body = self.error_in(content)
                if error_in_body:
                    told = server_error(error_in_body, "an error without words")
                    self._rejected(told, headers, in_body=True, text=text)
                try:
                    return self.read(content, latency_s)
                except UNREADABLE as error:
                    problem = f"is no reply of this protocol ({type(error).__name__})"
        head = " ".join(self.clean(text[: 4 * HEAD]).split())[:HEAD]
        raise AttemptFailed(
            self.clean(f"the body {problem}" + (f": {head}" if head else "")),
            "server",
            transient=is_cut,
            perhaps_billed=True,
            text=self.clean(text[:LONGEST_REPLY]),
        ) from None

    def error_in(self, content: Mapping[str, Any]) -> object:
        """Return what a body with status 200 holds in place of a reply; false if nothing."""
        return content.get("error")

    def refusal(self, declined: Declined) -> Reply:
        """Return the reply that a filter's refusal amounts to."""
        words = str(declined)
        details = {"status": declined.status, "declined": True}
        return Reply(words, "refusal", cost_usd=0.0, details=details)

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

    def batch_failure(self, error: ServerError) -> Reply:
        """Return the reply that an error of one call of a batch amounts to."""
        details = {"tier": "batch"}
        if error.is_refusal:
            return Reply(self._words(error), "refusal", cost_usd=0.0, details=details)
        return Reply("", "error", error=self._words(error), details=details)

    def batch_unread(self, text: str, problem: str) -> Reply:
        """Return the reply that a call of a batch has whose results hold `text`, which is none."""
        details = {"tier": "batch", "perhaps_billed": True}
        return Reply(self.clean(text[:LONGEST_REPLY]), "error", error=problem, details=details)

    def batch_broken(self, line: str) -> tuple[str, Reply]:
        """Return what a line of a batch's results amounts to that is no JSON object with an id.

        Its call is the one that it names all the same; an empty key if it names none.
        """
        named = CUSTOM_ID.search(line)
        head = " ".join(self.clean(line[: 4 * HEAD]).split())[:HEAD]
        problem = f"the line of the batch's results cannot be read: {head}"
        return named[1] if named else "", self.batch_unread(line, problem)

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
            told = server_error(error.body, error.message, error.status_code)
            self._rejected(told, headers)
        except (module.APIError.__base__, TimeoutError, *transport_errors()) as error:
            self._unconnected(error)

    def _unconnected(self, error: BaseException) -> NoReturn:
        """Raise what an error means that is no answer of the server's."""
        causes = list(chain(error))
        if is_timeout(causes):
            raise AttemptFailed(
                f"no reply within {self.options.timeout_s:g} s", "timeout", True, None, True
            ) from None
        # aiohttp's text of a broken body begins with a status that no server has sent.
        words = str(getattr(causes[-1], "message", "") or causes[-1]) or type(causes[-1]).__name__
        words = self.clean(words)
        words = " ".join(words.split())[:LONGEST_ERROR]
        if is_bad_body(causes) or isinstance(error, NOT_SPOKEN):
            raise AttemptFailed(
                f"{self.url} gives no reply of this protocol: {words}",
                "server",
                transient=False,
                perhaps_billed=True,
            ) from None
        if is_hopeless(causes):
            raise RaterError(
                f"{self.name}: no connection to {self.url} ({words}); check http or https, the "
                "certificate and the address"
            ) from None
        raise AttemptFailed(
            f"the connection to {self.url} failed ({words})", "connection", True, None, True
        ) from None

    def sdk(self) -> Any:
        """Return the SDK's module."""
        raise NotImplementedError

    def _words(self, error: ServerError) -> str:
        """Return the server's own words, in one line and rid of keys."""
        return " ".join(self.clean(error.words).split())[:LONGEST_ERROR]

    def _rejected(
        self,
        error: ServerError,
        headers: Mapping[str, str],
        in_body: bool = False,
        text: str = "",
    ) -> NoReturn:
        """Raise what an error amounts to: for this item, for now, or for good.

        `in_body`: the error came with status 200; `text` is that body.
        """
        status, words = error.status, self._words(error)
        variable = self.key_variable
        if error.is_refusal:
            raise Declined(error, f"{status} {words}")
        if error.is_spent:
            raise RaterError(f"{self.name}: the quota is spent ({status} {words})")
        if status in (401, 403):
            held = "refused" if self._key else "is empty and the server wants one"
            raise RaterError(f"{self.name}: the key in {variable} {held} ({status} {words})")
        if status == 404:
            raise RaterError(f"{self.name}: no such model or address at {self.url} ({words})")
        if 300 <= status < 400:
            place = " ".join(self.clean(headers.get("location", "elsewhere")).split())[:200]
            raise RaterError(
                f"{self.name}: {self.url} sends calls on to {place} ({status}), where the key is "
                "not to go; give the final address as --base-url"
            )
        transient = error.is_transient
        advice = headers.get("x-should-retry", "").lower()
        if advice in ("true", "false"):
            transient = advice == "true"
        raise AttemptFailed(
            f"{status} {words}",
            error.kind,
            transient,
            retry_after(headers),
            in_body,
            status,
            self.clean(text[:LONGEST_REPLY]),
        )
