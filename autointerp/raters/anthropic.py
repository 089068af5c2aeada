"""A model of Anthropic, or of a server that speaks its messages protocol: `anthropic:MODEL`."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

from autointerp.errors import BadInput
from autointerp.questions.question import Question
from autointerp.raters import BatchState, Headroom, RaterOptions
from autointerp.raters._faults import counted, seconds_until, server_error, whole_number
from autointerp.raters._served import UNREADABLE, ServedRaterBase
from autointerp.raters.openai import batch_line, http_client, lines_of, mapping
from autointerp.records import Reply, Request

WHAT = "a language model"
URL = "https://api.anthropic.com"
VARIABLE = "ANTHROPIC_API_KEY"
HEADERS_VARIABLE = "ANTHROPIC_CUSTOM_HEADERS"
LIBRARIES = ("anthropic",)

CLOCKS_DIFFER = datetime.timedelta(minutes=10)


class AnthropicRater(ServedRaterBase):
    """Calls the messages API."""

    provider: ClassVar[str] = "anthropic"
    provider_url: ClassVar[str] = URL
    variable: ClassVar[str] = VARIABLE
    headers_variable: ClassVar[str] = HEADERS_VARIABLE

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        super().__init__(model, options)
        if options.structured == "choice":
            raise BadInput(
                f"{self.name}: --structured choice reads log probabilities, which this protocol "
                "does not give; leave the option out"
            )

    def body(
        self, system: str, user: str, schema: dict[str, Any], question: Question | None, repeat: int
    ) -> dict[str, Any]:
        # The mark stands on the system block: on the top level it would cover the item too.
        instructions = {"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.most_tokens,
            "system": [instructions],
            "messages": [{"role": "user", "content": user}],
        }
        output: dict[str, Any] = {}
        if self.options.effort is not None:
            output["effort"] = self.options.effort
        if self.structured == "json_schema":
            output["format"] = {"type": "json_schema", "schema": schema}
        elif self.structured == "tool":
            body["tools"] = [
                {"name": "rate", "description": "Give the rating.", "input_schema": schema}
            ]
            body["tool_choice"] = {"type": "tool", "name": "rate"}
        if output:
            body["output_config"] = output
        return body

    def sdk(self) -> Any:
        import anthropic

        return anthropic

    def connect(self, key: str) -> None:
        import anthropic

        http = http_client(anthropic, self.most_tokens)
        self._client = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=self.url,
            timeout=self.options.timeout_s,
            max_retries=0,
            http_client=http,
        )

    async def exchange(self, body: dict[str, Any]) -> tuple[Mapping[str, str], str]:
        import httpx2

        response = await self._client.post("/v1/messages", cast_to=httpx2.Response, body=body)
        return response.headers, response.content.decode("utf-8-sig", "replace")

    def read(self, content: dict[str, Any], latency_s: float | None, batch: bool = False) -> Reply:
        given = content["content"]
        blocks = [{"type": "text", "text": given}] if isinstance(given, str) else given
        used = [block["input"] for block in blocks if block.get("type") == "tool_use"]
        spoken = "".join(block["text"] for block in blocks if block.get("type") == "text")
        text = json.dumps(used[0], ensure_ascii=False) if used else spoken
        reason = content.get("stop_reason")
        stop: Literal["end", "length", "refusal"] = "end"
        if reason in ("max_tokens", "model_context_window_exceeded", "pause_turn"):
            stop = "length"
        elif reason == "refusal":
            stop = "refusal"
        # The SDK takes no temperature (2.x): it is the provider's own, and repeats will differ.
        details: dict[str, Any] = {
            "sdk": f"anthropic {self.sdk().__version__}",
            "temperature": "unsupported",
        }
        usage = mapping(content.get("usage"))
        spent = None
        fresh, out = (counted(usage.get(f"{kind}_tokens")) for kind in ("input", "output"))
        read = counted(usage.get("cache_read_input_tokens")) or 0
        written = counted(usage.get("cache_creation_input_tokens")) or 0
        if fresh is not None and out is not None and fresh + read + written:
            spent = (fresh + read + written, out, read, written)
        model = content.get("model")
        return self.finished(text, stop, model, latency_s, spent, details, batch)

    # ------------------------------------------------------------------------- batches

    batch_calls: ClassVar[int] = 100_000
    batch_bytes: ClassVar[int] = 256_000_000

    async def submit_batch(self, label: str, requests: Sequence[Request]) -> str:
        rows = [{"custom_id": request.key, "params": request.body} for request in requests]
        with self._failures():
            batch = await self._client.messages.batches.create(requests=rows)
        return str(batch.id)

    async def find_batch(
        self, label: str, calls: int, since: datetime.datetime, others: Collection[str]
    ) -> str | None:
        """Return a batch of the right size and time that is none of `others`.

        Anthropic keeps no label of ours; when the batch is collected, its call keys decide.
        """
        earliest = since.replace(tzinfo=datetime.UTC) - CLOCKS_DIFFER
        with self._failures():
            async for batch in self._client.messages.batches.list(limit=100):
                if batch.created_at < earliest:
                    break  # newest first
                counts = batch.request_counts
                held = counts.processing + counts.succeeded + counts.errored
                held += counts.canceled + counts.expired
                if held == calls and batch.id not in others:
                    return str(batch.id)
        return None

    async def batch_state(self, provider_id: str) -> BatchState:
        with self._failures():
            batch = await self._client.messages.batches.retrieve(provider_id)
        counts = batch.request_counts
        words = f"{batch.processing_status}, {counts.processing} still to do"
        ended = batch.processing_status == "ended"
        failure, unmade = "", False
        if ended and batch.archived_at is not None:
            failure = f"the batch's results were archived on {batch.archived_at:%Y-%m-%d}"
        elif ended and batch.cancel_initiated_at is not None:
            failure, unmade = "the batch was cancelled before this call was made", True
        elif ended and batch.results_url is None:
            failure = "the batch ended without results"
        return BatchState(ended, words, failure, unmade)

    async def batch_results(self, provider_id: str) -> AsyncIterator[tuple[str, Reply]]:
        with self._failures():
            batch = await self._client.messages.batches.retrieve(provider_id)
            if batch.results_url is None:
                return
            streaming = self._client.messages.batches.with_streaming_response.results(provider_id)
            async with streaming as response:  # not the SDK's own lines, which end at a broken one
                async for line in lines_of(response.iter_bytes()):
                    if line.strip():
                        row = batch_line(line)
                        yield self._batch_row(row) if row else self.batch_broken(line)

    def _batch_row(self, row: dict[str, Any]) -> tuple[str, Reply]:
        key, result = row["custom_id"], mapping(row.get("result"))
        kind = result.get("type")
        if kind == "succeeded":
            try:
                return key, self.read(result["message"], None, batch=True)
            except UNREADABLE as broken:
                words = f"no reply of this protocol ({type(broken).__name__})"
                return key, self.batch_unread(json.dumps(result), words)
        if kind == "errored":
            return key, self.batch_failure(server_error(result.get("error"), "errored"))
        if kind in ("canceled", "expired"):
            words = f"the batch {kind} before this call was made"
            return key, Reply("", "error", error=words, details={"tier": "batch"})
        return key, self.batch_unread(json.dumps(row), "no result of this protocol")

    def read_headroom(self, headers: Mapping[str, str]) -> Headroom | None:
        if "anthropic-ratelimit-requests-remaining" not in headers:
            return None
        kind = "input-tokens" if "anthropic-ratelimit-input-tokens-limit" in headers else "tokens"
        return Headroom(
            whole_number(headers.get("anthropic-ratelimit-requests-remaining")),
            whole_number(headers.get("anthropic-ratelimit-requests-limit")),
            seconds_until(headers.get("anthropic-ratelimit-requests-reset")),
            whole_number(headers.get(f"anthropic-ratelimit-{kind}-remaining")),
            whole_number(headers.get(f"anthropic-ratelimit-{kind}-limit")),
            seconds_until(headers.get(f"anthropic-ratelimit-{kind}-reset")),
        )


def create(model: str | None, options: RaterOptions) -> AnthropicRater:
    return AnthropicRater(model, options)
