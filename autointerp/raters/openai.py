"""A model of OpenAI, or with --base-url of any server that speaks its protocol: `openai:MODEL`."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Literal

from autointerp.errors import BadInput, RaterError
from autointerp.questions.question import Question
from autointerp.questions.rubric import Rubric
from autointerp.raters import BatchState, Headroom, RaterOptions, call_key
from autointerp.raters._faults import counted, seconds_until, server_error, whole_number
from autointerp.raters._logprobs import (
    expected_activations,
    expected_matches,
    likeliest_score,
    listed_alternatives,
    score_alternatives,
    tokens_of,
)
from autointerp.raters._served import LONGEST_ERROR, UNREADABLE, ServedRaterBase
from autointerp.records import Item, Reply, Request

WHAT = "a language model"
URL = "https://api.openai.com/v1"
VARIABLE = "OPENAI_API_KEY"
HEADERS_VARIABLE = "OPENAI_CUSTOM_HEADERS"
LIBRARIES = ("openai",)

REASONS = re.compile(r"^(o\d|gpt-5|gpt-[6-9])")
REASONING_TOKENS = 8192  # thoughts count as output
# The SDK draws a random key for each call, and sends it nowhere: a quarter of a millisecond saved.
UNDRAWN = {"idempotency_key": ""}
TOP_LOGPROBS = 20
CHOICE = "+choice"  # at the end of a rater's name, where --structured choice is asked
SPOKEN = ("text", "output_text")  # parts of a message that are its answer
CUT = ("length", "max_tokens", "max_output_tokens", "model_length")
FILTERED = (
    "content_filter",
    "content_filtered",
    "safety",
    "prohibited_content",
    "blocklist",
    "recitation",
    "spii",
    "refusal",
    "guardrail_intervened",
)
BATCH_REASONS = 3  # of why a batch failed, that are shown
A_DAY = datetime.timedelta(days=1)


class OpenAIRater(ServedRaterBase):
    """Calls the chat completions API."""

    provider: ClassVar[str] = "openai"
    provider_url: ClassVar[str] = URL
    variable: ClassVar[str] = VARIABLE
    headers_variable: ClassVar[str] = HEADERS_VARIABLE
    endpoint: ClassVar[str] = "/chat/completions"

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        super().__init__(model, options)
        thinks = self.official and bool(REASONS.match(self.model)) and options.effort != "none"
        # Sampling parameters and log probabilities are errors on a model that reasons.
        self.samples = not thinks
        self.logprobs = not thinks
        self.most_tokens = max(options.max_output_tokens, REASONING_TOKENS if thinks else 0)
        if options.structured == "choice":
            if thinks:
                raise BadInput(
                    f"{self.name}: --structured choice needs a model that does not reason"
                )
            self.name += CHOICE  # other questions than those of the same model when it writes
            self.most_tokens = 1

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        if self.structured != "choice":
            return super().request(item, question, repeat)
        if not isinstance(question, Rubric) or not set(question.scores) <= set(range(10)):
            raise RaterError(
                f"{self.name}: --structured choice is for rubrics with levels of one digit, and "
                f"'{question.id}' is none; leave the option out"
            )
        body = self.body(
            question.system_of_choice(repeat), question.user(item), {}, question, repeat
        )
        body["levels"] = list(question.scores)  # for `send`; the server does not see it
        key = call_key(self.provider, self.place, body, question, repeat)
        return Request(key, item.id, body, repeat)

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        token = reply.details.get("score_token")
        if "levels" not in request.body or token is None or reply.stop != "end":
            return reply
        score = likeliest_score(token, request.body["levels"])
        return reply if score is None else replace(reply, text=json.dumps({"score": score}))

    def body(
        self, system: str, user: str, schema: dict[str, Any], question: Question | None, repeat: int
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": user},
            ],
        }
        body["max_completion_tokens" if self.official else "max_tokens"] = self.most_tokens
        if self.samples:
            # Servers have sampling defaults of their own, so this is said.
            body.update({"temperature": 0, "seed": repeat})
        if self.logprobs and self.structured != "tool":
            body.update({"logprobs": True, "top_logprobs": TOP_LOGPROBS})
        if self.options.effort is not None:
            body["reasoning_effort"] = self.options.effort
        if self.official and question is not None:
            body["prompt_cache_key"] = f"autointerp-{question.digest[:16]}-{repeat}"
        if self.structured == "json_schema":
            named = {"name": "rating", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif self.structured == "tool":
            function = {"name": "rate", "parameters": schema, "strict": True}
            body["tools"] = [{"type": "function", "function": function}]
            body["tool_choice"] = {"type": "function", "function": {"name": "rate"}}
        return body

    async def probe(self) -> dict[str, Any]:
        """Return what the server can do; log probabilities are asked for with the first call."""
        self.structured, self.logprobs = "json_schema", True
        if await self.obeys():
            self.logprobs = bool(self.probed.details.pop("logprobs", False))
            return {"structured": self.structured, "logprobs": self.logprobs}
        self.logprobs = False
        return {**await super().probe(), "logprobs": False}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        super().recall(remembered)
        self.logprobs = bool(remembered["logprobs"])

    def sdk(self) -> Any:
        import openai

        return openai

    def connect(self, key: str) -> None:
        import openai

        http = http_client(openai, self.most_tokens)
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=self.url,
            timeout=self.options.timeout_s,
            max_retries=0,
            http_client=http,
        )
        if not self.official:  # the environment's own must not travel
            self._client.organization = self._client.project = None
            self._client.admin_api_key = None

    async def exchange(self, body: dict[str, Any]) -> tuple[Mapping[str, str], str]:
        import httpx2

        # Not `.create()`: half of its time goes into models that we never read.
        sent = {name: value for name, value in body.items() if name != "levels"}
        path = "/completions" if "prompt" in body else self.endpoint
        response = await self._client.post(
            path, cast_to=httpx2.Response, body=sent, options=UNDRAWN
        )
        return response.headers, response.content.decode("utf-8-sig", "replace")

    def read(self, content: dict[str, Any], latency_s: float | None, batch: bool = False) -> Reply:
        if content.get("object") == "text_completion":
            return self._read_completions(content, latency_s)
        choice = content["choices"][0]
        text, refusal = spoken(choice["message"])
        finish = str(choice.get("finish_reason")).lower()
        stop: Literal["end", "length", "refusal"] = "length" if finish in CUT else "end"
        if refusal:
            text, stop = refusal, "refusal"
        elif finish in FILTERED:
            stop = "refusal"
        details: dict[str, Any] = {"sdk": f"openai {self.sdk().__version__}"}
        details["temperature"] = 0 if self.samples else "unsupported"
        if content.get("system_fingerprint"):
            details["fingerprint"] = self.clean(str(content["system_fingerprint"]))
        tokens = tokens_of(choice.get("logprobs"))
        if self.structured == "choice":
            if tokens is None:
                raise RaterError(
                    f"{self.name}: {self.url} gives no log probabilities, which "
                    "--structured choice reads; leave the option out"
                )
            if stop == "length":  # after the one token that was asked for
                stop = "end"
            top = [[self.clean(token), logprob] for token, logprob in tokens[0]["alternatives"]]
            details["score_token"] = {"before": "", "top": top}
        elif tokens is not None:
            alternatives = score_alternatives(text, tokens)
            if alternatives is not None:
                named = [[self.clean(token), logprob] for token, logprob in alternatives["top"]]
                details["score_token"] = {**alternatives, "top": named}
            expected = expected_activations(text, tokens)
            if expected is not None:
                details["expected_activations"] = [round(mean, 3) for mean in expected]
            matched = expected_matches(text, tokens)
            if matched is not None:
                details["expected_matches"] = matched
            details["logprobs"] = True
            fits = listed_alternatives(text, tokens, "fits")
            if fits is not None:
                details["first_tokens"] = fits
        spent = spent_tokens(content)
        model = content.get("model")
        return self.finished(text, stop, model, latency_s, spent, details, batch)

    def _read_completions(self, content: dict[str, Any], latency_s: float | None) -> Reply:
        """Return the texts that continue the prompts of one call, as one JSON object.

        `details` has the alternatives at the first token of each, as far as the server gives them.
        """
        choices = sorted(content["choices"], key=lambda choice: choice["index"])
        firsts = [tokens_of(choice.get("logprobs")) for choice in choices]
        details: dict[str, Any] = {"sdk": f"openai {self.sdk().__version__}", "temperature": 0}
        if all(firsts):
            details["first_tokens"] = [
                [[self.clean(token), logprob] for token, logprob in tokens[0]["alternatives"]]
                for tokens in firsts
                if tokens
            ]
        text = json.dumps({"texts": [choice["text"] for choice in choices]}, ensure_ascii=False)
        model = content.get("model")
        return self.finished(text, "end", model, latency_s, spent_tokens(content), details, False)

    def error_in(self, content: Mapping[str, Any]) -> object:
        """Return an error in place of a reply, or of its one choice."""
        blocked = mapping(content.get("promptFeedback") or content.get("prompt_feedback"))
        reason = blocked.get("blockReason") or blocked.get("block_reason")
        if reason and not content.get("choices"):
            return {"code": "safety", "message": f"the prompt was blocked: {reason}"}
        choices = content.get("choices")
        choice = mapping(choices[0]) if isinstance(choices, list) and choices else {}
        whole = content if content.get("object") == "error" else None  # vLLM's, FastChat's
        return content.get("error") or choice.get("error") or whole

    # ------------------------------------------------------------------------- batches

    batch_calls: ClassVar[int] = 50_000
    batch_bytes: ClassVar[int] = 200_000_000

    async def submit_batch(self, label: str, requests: Sequence[Request]) -> str:
        if self.structured == "choice":
            raise RaterError(f"{self.name}: --structured choice is not read from batches; drop one")
        lines = [
            json.dumps(
                {
                    "custom_id": request.key,
                    "method": "POST",
                    "url": f"/v1{self.endpoint}",
                    "body": request.body,
                }
            )
            for request in requests
        ]
        content = ("\n".join(lines) + "\n").encode()
        with self._failures():
            file = await self._client.files.create(
                file=(f"autointerp-{label}.jsonl", content), purpose="batch"
            )
            batch = await self._client.batches.create(
                input_file_id=file.id,
                endpoint=f"/v1{self.endpoint}",
                completion_window="24h",
                metadata={"autointerp": label},
            )
        return str(batch.id)

    async def find_batch(
        self, label: str, calls: int, since: datetime.datetime, others: Collection[str]
    ) -> str | None:
        with self._failures():
            async for batch in self._client.batches.list(limit=100):
                is_ours = (batch.metadata or {}).get("autointerp") == label
                if is_ours and batch.id not in others:
                    return str(batch.id)
                created = datetime.datetime.fromtimestamp(batch.created_at, datetime.UTC)
                if created.replace(tzinfo=None) < since - A_DAY:
                    break  # newest first
        return None

    async def batch_state(self, provider_id: str) -> BatchState:
        with self._failures():
            batch = await self._client.batches.retrieve(provider_id)
        ended = batch.status in ("completed", "failed", "expired", "cancelled")
        counts = batch.request_counts
        done = f", {counts.completed} of {counts.total} done" if counts else ""
        unmade = batch.status != "completed"  # what was made of it is in its files
        return BatchState(ended, f"{batch.status}{done}", self._batch_reason(batch), unmade)

    def _batch_reason(self, batch: Any) -> str:
        """Return why a batch as a whole has no replies, in the provider's words."""
        if batch.status == "completed":
            return ""
        told = (batch.errors.data if batch.errors else None) or []
        reasons = [
            ": ".join(filter(None, (error.code, error.message)))
            + (f" (line {error.line})" if error.line is not None else "")
            for error in told[:BATCH_REASONS]
        ]
        more = f" and {len(told) - BATCH_REASONS} more" if len(told) > BATCH_REASONS else ""
        words = "; ".join(filter(None, reasons)) + more
        said = f"the batch {batch.status}" + (f": {words}" if words else "")
        return " ".join(self.clean(said).split())[:LONGEST_ERROR]

    async def batch_results(self, provider_id: str) -> AsyncIterator[tuple[str, Reply]]:
        with self._failures():
            batch = await self._client.batches.retrieve(provider_id)
            for name in (batch.output_file_id, batch.error_file_id):
                if name is None:
                    continue
                streaming = self._client.files.with_streaming_response.content(name)
                is_gone = True
                with contextlib.suppress(self.sdk().NotFoundError):  # kept for some weeks only
                    async with streaming as response:
                        async for line in lines_of(response.iter_bytes()):
                            if line.strip():
                                row = batch_line(line)
                                yield self._batch_row(row) if row else self.batch_broken(line)
                    is_gone = False
                if is_gone and name == batch.output_file_id:
                    yield "", Reply("", "error", error="the provider has deleted the results")

    def _batch_row(self, row: dict[str, Any]) -> tuple[str, Reply]:
        response, error = mapping(row.get("response")), row.get("error")
        body, status = mapping(response.get("body")), counted(response.get("status_code"))
        if status == 200:
            status = None
            try:
                if not self.error_in(body):
                    return row["custom_id"], self.read(body, None, batch=True)
            except UNREADABLE as broken:
                words = f"no reply of this protocol ({type(broken).__name__})"
                return row["custom_id"], self.batch_unread(json.dumps(body), words)
        told = server_error(error or body, "the batch has no reply to this call", status)
        return row["custom_id"], self.batch_failure(told)

    def read_headroom(self, headers: Mapping[str, str]) -> Headroom | None:
        if "x-ratelimit-remaining-requests" not in headers:
            return None
        return Headroom(
            whole_number(headers.get("x-ratelimit-remaining-requests")),
            whole_number(headers.get("x-ratelimit-limit-requests")),
            seconds_until(headers.get("x-ratelimit-reset-requests")),
            whole_number(headers.get("x-ratelimit-remaining-tokens")),
            whole_number(headers.get("x-ratelimit-limit-tokens")),
            seconds_until(headers.get("x-ratelimit-reset-tokens")),
        )


def spent_tokens(content: Mapping[str, Any]) -> tuple[int, int, int, int] | None:
    """Return tokens in, out, read from a cache, written to it; None where a server counts none.

    What the total has beyond prompt and reply counts as reply: xAI and Gemini leave the thoughts
    out of `completion_tokens`, and bill them. No call has a prompt of 0 tokens: some gateways
    write zeros for what they do not know.
    """
    usage = mapping(content.get("usage"))
    tokens_in, tokens_out, total = (
        counted(usage.get(f"{kind}_tokens")) for kind in ("prompt", "completion", "total")
    )
    if not tokens_in or (tokens_out is None and total is None):
        return None
    details_in = mapping(usage.get("prompt_tokens_details"))
    cached = counted(details_in.get("cached_tokens")) or 0
    return tokens_in, max(tokens_out or 0, (total or 0) - tokens_in), cached, 0


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the lines of what comes in pieces.

    The SDK's own lines end at U+2028, U+0085 and the like, too, which JSON may hold as they are.
    """
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def batch_line(line: str) -> dict[str, Any] | None:
    """Return a line of a batch's results, or None for what is no object with an id."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    named = isinstance(row, dict) and isinstance(row.get("custom_id"), str)
    return row if named else None


def spoken(message: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a message says, and its refusal; each may be empty.

    Content is a text, or a list of parts of which the texts count: what the model thought is not
    its answer. A forced tool's arguments are the answer, as a text or as the object itself.
    """
    refusals = [_said(message.get("refusal"))]
    calls = message.get("tool_calls")
    if calls:
        return _said(calls[0]["function"]["arguments"]), "".join(refusals)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or "", "".join(refusals)
    if isinstance(content, dict) and "type" not in content:
        return json.dumps(content, ensure_ascii=False), "".join(refusals)  # parsed by the server
    texts = []
    for part in [content] if isinstance(content, dict) else list(content):
        if isinstance(part, str) or part.get("type", "text") in SPOKEN:
            texts.append(part if isinstance(part, str) else _said(part["text"]))
        elif part.get("type") == "refusal":
            refusals.append(_said(part.get("refusal") or part.get("text")))
    return "".join(texts), "".join(refusals)


def _said(value: object) -> str:
    """Return a text; an object or a list as JSON. Raises TypeError for anything else but None."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"{type(value).__name__} is no text")


def mapping(value: object) -> dict[str, Any]:
    """Return an object's fields; none where a server sent something else in its place."""
    return value if isinstance(value, dict) else {}


def http_client(sdk: Any, most_tokens: int) -> Any:
    """Return the SDK's client over aiohttp, which takes half the time; its plain one without.

    Replies are bounded, and no call follows a redirect: its key is for one address.
    """
    import httpx2

    from autointerp.raters._bounds import ACCEPTED, bound_replies

    try:
        import aiohttp  # noqa: F401
    except ImportError:
        kind = sdk.DefaultAsyncHttpxClient
    else:
        kind = sdk.DefaultAioHttpClient
    return kind(
        verify=_trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        headers=ACCEPTED,
        follow_redirects=False,
        event_hooks={"response": [bound_replies(most_tokens)]},
    )


@cache
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Return the certificates that httpx trusts, read once for all clients of a process: 25 ms.

    `file` and `folder` are what the environment says, which httpx reads itself.
    """
    import httpx2

    return httpx2.create_ssl_context()


def create(model: str | None, options: RaterOptions) -> OpenAIRater:
    return OpenAIRater(model, options)
