"""A model of OpenAI, or with --base-url of any server that speaks its protocol: `openai:MODEL`."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

from autointerp.questions.question import Question
from autointerp.raters import BatchState, Headroom, RaterOptions
from autointerp.raters._logprobs import expected_activations, score_alternatives
from autointerp.raters._served import (
    UNREADABLE,
    ServedRaterBase,
    counted,
    seconds_until,
    whole_number,
)
from autointerp.records import Reply, Request

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
A_DAY = datetime.timedelta(days=1)


class OpenAIRater(ServedRaterBase):
    """Calls the chat completions API."""

    provider: ClassVar[str] = "openai"
    provider_url: ClassVar[str] = URL
    variable: ClassVar[str] = VARIABLE
    headers_variable: ClassVar[str] = HEADERS_VARIABLE

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        super().__init__(model, options)
        thinks = self.official and bool(REASONS.match(self.model)) and options.effort != "none"
        # Sampling parameters and log probabilities are errors on a model that reasons.
        self.samples = not thinks
        self.logprobs = not thinks
        self.most_tokens = max(options.max_output_tokens, REASONING_TOKENS if thinks else 0)
        self._client: Any = None

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
        import httpx2
        import openai

        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        http = _async_client(openai)(limits=limits)
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

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def exchange(self, body: dict[str, Any]) -> tuple[Mapping[str, str], str]:
        import httpx2

        # Not `.create()`: half of its time goes into models that we never read.
        response = await self._client.post(
            "/chat/completions", cast_to=httpx2.Response, body=body, options=UNDRAWN
        )
        return response.headers, response.text

    def read(self, content: dict[str, Any], latency_s: float | None, batch: bool = False) -> Reply:
        choice = content["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls")
        text = calls[0]["function"]["arguments"] if calls else message.get("content") or ""
        finish = choice.get("finish_reason")
        stop: Literal["end", "length", "refusal"] = "length" if finish == "length" else "end"
        if message.get("refusal"):
            text, stop = message["refusal"], "refusal"
        elif finish == "content_filter":
            stop = "refusal"
        details: dict[str, Any] = {"sdk": f"openai {self.sdk().__version__}"}
        details["temperature"] = 0 if self.samples else "unsupported"
        if content.get("system_fingerprint"):
            details["fingerprint"] = self.clean(str(content["system_fingerprint"]))
        tokens = (choice.get("logprobs") or {}).get("content")
        if tokens:
            alternatives = score_alternatives(text, tokens)
            if alternatives is not None:
                named = [[self.clean(token), logprob] for token, logprob in alternatives["top"]]
                details["score_token"] = {**alternatives, "top": named}
            expected = expected_activations(text, tokens)
            if expected is not None:
                details["expected_activations"] = [round(mean, 3) for mean in expected]
            details["logprobs"] = True
        usage = content.get("usage") or {}
        spent = None
        tokens_in, tokens_out = (
            counted(usage.get(f"{k}_tokens")) for k in ("prompt", "completion")
        )
        if tokens_in is not None:
            details_in = usage.get("prompt_tokens_details") or {}
            spent = (tokens_in, tokens_out or 0, counted(details_in.get("cached_tokens")) or 0, 0)
        model = content.get("model")
        return self.finished(text, stop, model, latency_s, spent, details, batch)

    # ------------------------------------------------------------------------- batches

    batch_calls: ClassVar[int] = 50_000
    batch_bytes: ClassVar[int] = 200_000_000

    async def submit_batch(self, label: str, requests: Sequence[Request]) -> str:
        lines = [
            json.dumps(
                {
                    "custom_id": request.key,
                    "method": "POST",
                    "url": "/v1/chat/completions",
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
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"autointerp": label},
            )
        return str(batch.id)

    async def find_batch(
        self, label: str, calls: int, since: datetime.datetime, others: Collection[str]
    ) -> str | None:
        with self._failures():
            async for batch in self._client.batches.list(limit=100):
                if (batch.metadata or {}).get("autointerp") == label:
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
        return BatchState(ended, f"{batch.status}{done}")

    async def batch_results(self, provider_id: str) -> AsyncIterator[tuple[str, Reply]]:
        with self._failures():
            batch = await self._client.batches.retrieve(provider_id)
            for name in (batch.output_file_id, batch.error_file_id):
                if name is None:
                    continue
                streaming = self._client.files.with_streaming_response.content(name)
                async with streaming as response:
                    async for line in response.iter_lines():
                        if line.strip():
                            yield self._batch_row(json.loads(line))

    def _batch_row(self, row: dict[str, Any]) -> tuple[str, Reply]:
        response, error = row.get("response"), row.get("error")
        body = (response or {}).get("body") or {}
        if response and response.get("status_code") == 200:
            try:
                return row["custom_id"], self.read(body, None, batch=True)
            except UNREADABLE as broken:
                error = f"no reply of this protocol ({type(broken).__name__})"
        words = self._error_text(error or body, "the batch has no reply to this call")
        return row["custom_id"], Reply("", "error", error=words, details={"tier": "batch"})

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


def _async_client(sdk: Any) -> Any:
    """Return the SDK's client over aiohttp, which takes half the time; its plain one without."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        return sdk.DefaultAsyncHttpxClient
    return sdk.DefaultAioHttpClient


def create(model: str | None, options: RaterOptions) -> OpenAIRater:
    return OpenAIRater(model, options)
