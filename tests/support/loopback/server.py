"""A server on loopback that speaks both providers' protocols, and can be told to misbehave.

    with LoopbackServer() as server:
        server.faults.append(Fault(status=429, headers={"retry-after": "0.1"}))   # the first call
        ... --base-url server.openai_url ...
        server.calls                                                          # what came in

Run as a module it serves alone, for measurements:
`python -m support.loopback.server --latency 0.2`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What is done in place of a proper reply.

    Attributes:
        status: With `body` and `headers`; 200 for a proper reply changed by what follows.
        drop: Close the connection `before` any byte, or in the `middle` of the body.
        text: The reply's text, whatever was asked; None for a proper one.
        stop: `length` or `refusal`.
        raw: The whole body, as it is.
        delay_s: Before anything.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    drop: str = ""
    text: str | None = None
    stop: str = "end"
    raw: bytes | None = None
    delay_s: float = 0.0


@dataclass(frozen=True)
class Call:
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def user(self) -> str:
        return str(self.body["messages"][-1]["content"])


def score_of(user: str, scores: list[int]) -> int:
    """Return the score that this server gives to a text: any, and always the same."""
    return scores[int(hashlib.sha256(user.encode()).hexdigest(), 16) % len(scores)]


class LoopbackServer:
    """Serves in a thread of its own until closed.

    Attributes:
        faults: Taken one a completion call, in order; None is no fault.
        probe_faults: Likewise for the calls that find out what the server can do.
        fault_for: Asked for each completion call once `faults` are used up.
        latency_s: Of every completion.
        enforces: What it obeys: `json_schema`, `tool`; without either it answers in prose.
        logprobs: Whether it gives them.
        rejects: Body keys on which it answers `rejects_with`.
        headers: With every reply.
        in_flight, most_in_flight: Completions being served.
        batches: By id.
        batch_fields: Of every batch, in place of what it would have.
        fits: What it decides of a text where it is asked for a list of 0 and 1.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.faults: deque[Fault | None] = deque()
        self.probe_faults: deque[Fault | None] = deque()
        self.fault_for: Callable[[Call], Fault | None] = lambda call: None
        self.enforces: tuple[str, ...] = ("json_schema", "tool")
        self.logprobs = True
        self.rejects: tuple[str, ...] = ()
        self.rejects_with = 400
        self.headers: dict[str, str] = {}
        self.calls: list[Call] = []
        self.keep_calls = True
        self.in_flight = self.most_in_flight = 0
        self.batches: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.batches_end = True
        self.batch_fields: dict[str, Any] = {}
        self.batch_row: Callable[[str, dict[str, Any]], str] = lambda custom_id, body: "succeeded"
        self.change_results: Callable[[bytes], bytes] = lambda content: content
        self.fits: Callable[[str], bool] = lambda text: "cat" in text
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def completions(self) -> list[Call]:
        """The completion calls, probes left out."""
        return [c for c in self.calls if "messages" in c.body and "sky" not in c.user]

    def __enter__(self) -> LoopbackServer:
        started = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=2**24)
            )
            self.port = self._server.sockets[0].getsockname()[1]
            started.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        self.drop_connections()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop_connections(self) -> None:
        """Cut every connection, as a sleeping machine finds them."""
        for writer in list(self._writers):
            writer.transport.abort()

    # ------------------------------------------------------------------------------ http

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines)
                }
                content = await self._body(reader, headers)
                if not await self._serve(writer, method, path, headers, content):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int((await reader.readline()).split(b";")[0], 16):
                parts.append(await reader.readexactly(size))
                await reader.readline()
            await reader.readline()
            return b"".join(parts)
        return await reader.readexactly(int(headers.get("content-length", 0)))

    async def _serve(
        self,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        headers: dict[str, str],
        content: bytes,
    ) -> bool:
        """Answer one request; False closes the connection."""
        path = path.partition("?")[0]
        is_chat = path in ("/v1/chat/completions", "/v1/messages")
        completion = is_chat or path in ("/v1/embeddings", "/v1/completions")
        is_json = headers.get("content-type", "").startswith("application/json")
        body = json.loads(content) if content and is_json else {}
        call = Call(path, headers, body, self._loop.time())
        if self.keep_calls:
            self.calls.append(call)
        if not completion:
            status, reply = self._side(method, path, headers, content, body)
            return await self._answer(writer, status, {}, reply)
        probe = (
            is_chat and "sky" in json.dumps(body["messages"]) and "Answer in one short" in call.user
        )
        if probe:
            fault = self.probe_faults.popleft() if self.probe_faults else None
        else:
            fault = self.faults.popleft() if self.faults else self.fault_for(call)
        fault = fault or Fault()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s + fault.delay_s)
        finally:
            self.in_flight -= 1
        if fault.drop == "before":
            writer.transport.abort()
            return False
        rejected = [key for key in self.rejects if key in body]
        if rejected:
            words = {"type": "invalid_request_error", "message": f"unknown field {rejected[0]}"}
            return await self._answer(writer, self.rejects_with, {}, {"error": words})
        if fault.status != 200:
            default = {"error": {"type": "error", "message": f"told to answer {fault.status}"}}
            return await self._answer(writer, fault.status, fault.headers, fault.body or default)
        if fault.raw is not None:
            return await self._answer(writer, 200, fault.headers, fault.raw)
        reply = completion_reply(self, path, body, fault)
        return await self._answer(writer, 200, fault.headers, reply, cut=fault.drop == "middle")

    async def _answer(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        headers: dict[str, str],
        body: dict[str, Any] | bytes,
        cut: bool = False,
    ) -> bool:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {**self.headers, **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        head = (
            f"HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n{lines}\r\n"
        ).encode()
        if cut:
            writer.write(head + content[: len(content) // 2])
            await writer.drain()
            writer.transport.abort()
            return False
        writer.write(head + content)
        await writer.drain()
        return True

    # ----------------------------------------------------------------------- other paths

    def _side(
        self, method: str, path: str, headers: dict[str, str], content: bytes, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | bytes]:
        """Answer models, files and batches."""
        anthropic = "anthropic-version" in headers
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": "m", "object": "model"}]}
        if path == "/v1/files":
            name = f"file-{len(self.files)}"
            self.files[name] = form_file(content)
            return 200, file_object(name, len(self.files[name]))
        found = re.fullmatch(r"/v1/files/([^/]+)/content", path)
        if found and found[1] in self.files:
            return 200, self.files[found[1]]
        if path in ("/v1/batches", "/v1/messages/batches"):
            if method == "POST":
                return 200, self._new_batch(anthropic, body)
            listed = [self._batch(name) for name in reversed(self.batches)]
            shape = {"object": "list"} if not anthropic else {"first_id": None, "last_id": None}
            return 200, {**shape, "data": listed, "has_more": False}
        if found := re.fullmatch(r"/v1/(?:messages/)?batches/([^/]+)", path):
            if found[1] not in self.batches:
                return 404, {"error": {"message": "no such batch"}}
            return 200, self._batch(found[1])
        if found := re.fullmatch(r"/v1/messages/batches/([^/]+)/results", path):
            return 200, self._anthropic_results(found[1])
        return 404, {"error": {"message": f"no such path {path}"}}

    def _new_batch(self, anthropic: bool, body: dict[str, Any]) -> dict[str, Any]:
        name = f"{'msgbatch' if anthropic else 'batch'}_{secrets.token_hex(4)}"
        if anthropic:
            rows = [(row["custom_id"], row["params"]) for row in body["requests"]]
        else:
            lines = self.files[body["input_file_id"]].decode().splitlines()
            rows = [(row["custom_id"], row["body"]) for row in map(json.loads, lines)]
        self.batches[name] = {"anthropic": anthropic, "rows": rows, "asked": body}
        return self._batch(name)

    def _batch(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        rows = batch["rows"]
        ended = self.batches_end
        if batch["anthropic"]:
            counts = dict.fromkeys(("processing", "errored", "canceled", "expired"), 0)
            counts["succeeded"] = len(rows) if ended else 0
            counts["processing"] = 0 if ended else len(rows)
            results = f"{self.anthropic_url}/v1/messages/batches/{name}/results"
            return {
                "id": name,
                "type": "message_batch",
                "processing_status": "ended" if ended else "in_progress",
                "request_counts": counts,
                "created_at": "2999-01-01T00:00:00Z",
                "expires_at": "2999-01-02T00:00:00Z",
                "ended_at": "2999-01-01T01:00:00Z" if ended else None,
                "cancel_initiated_at": None,
                "archived_at": None,
                "results_url": results if ended else None,
                **self.batch_fields,
            }
        output, errors = [], []
        for custom_id, body in rows:
            outcome = self.batch_row(custom_id, body)
            row: dict[str, Any] = {"id": f"r-{custom_id[:8]}", "custom_id": custom_id}
            if outcome == "succeeded":
                reply = completion_reply(self, "/v1/chat/completions", body, Fault())
                row["response"] = {"status_code": 200, "request_id": "r", "body": reply}
                output.append({**row, "error": None})
            elif outcome != "missing":
                row.update(response=None, error={"code": f"batch_{outcome}", "message": outcome})
                errors.append(row)
        for kind, lines in (("output", output), ("errors", errors)):
            content = "".join(json.dumps(r) + "\n" for r in lines).encode()
            self.files[f"{kind}-{name}"] = self.change_results(content) if lines else b""
        return {
            "id": name,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "status": "completed" if ended else "in_progress",
            "input_file_id": batch["asked"]["input_file_id"],
            "completion_window": "24h",
            "created_at": 32472144000,
            "metadata": batch["asked"].get("metadata"),
            "output_file_id": f"output-{name}" if ended and output else None,
            "error_file_id": f"errors-{name}" if ended and errors else None,
            "request_counts": {"total": len(rows), "completed": len(output), "failed": len(errors)},
            **self.batch_fields,
        }

    def _anthropic_results(self, name: str) -> bytes:
        lines = []
        for custom_id, body in self.batches[name]["rows"]:
            outcome = self.batch_row(custom_id, body)
            result: dict[str, Any] = {"type": outcome}
            if outcome == "succeeded":
                result["message"] = completion_reply(self, "/v1/messages", body, Fault())
            elif outcome == "errored":
                words = {"type": "invalid_request_error", "message": "errored"}
                result["error"] = {"type": "error", "error": words}
            if outcome != "missing":
                lines.append(json.dumps({"custom_id": custom_id, "result": result}))
        return self.change_results("\n".join(lines).encode())


def form_file(content: bytes) -> bytes:
    """Return the file in a multipart form."""
    boundary = content.partition(b"\r\n")[0]
    for part in content.split(boundary):
        head, _, inner = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return inner.removesuffix(b"\r\n")
    raise ValueError("no file in the form")


def file_object(name: str, size: int) -> dict[str, Any]:
    return {
        "id": name,
        "object": "file",
        "bytes": size,
        "created_at": 1,
        "filename": "batch.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def completion_reply(
    server: LoopbackServer, path: str, body: dict[str, Any], fault: Fault
) -> dict[str, Any]:
    """Return the body of a reply in the protocol of `path`."""
    if path == "/v1/embeddings":
        return embeddings_reply(body)
    if path == "/v1/completions":
        return echo_reply(body, server.logprobs)
    chat = path == "/v1/chat/completions"
    schema, mode = asked_schema(body)
    user = body["messages"][-1]["content"]
    text = "The sky is blue."
    if schema and mode in server.enforces and "score" not in schema["properties"]:  # a task
        text = json.dumps(instance(schema, user, server.fits))
    elif mode in server.enforces or (schema and mode == "text"):
        scores = schema["properties"]["score"]["enum"]
        fields = {name: "as told" for name in schema["required"] if name != "score"}
        text = json.dumps({**fields, "score": score_of(user, scores)})
    elif mode == "text" and "sky" not in user:
        text = json.dumps({"rationale": "as told", "score": score_of(user, [1, 2, 3])})
    text = text if fault.text is None else fault.text
    used = {"in": len(json.dumps(body["messages"])) // 4, "out": max(1, len(text) // 4)}
    as_tool = mode == "tool" and "tool" in server.enforces and fault.text is None
    if chat:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if as_tool:
            call = {"id": "c", "type": "function", "function": {"name": "rate", "arguments": text}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        if fault.stop == "refusal":
            message = {"role": "assistant", "content": None, "refusal": text}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": {"end": "stop", "length": "length", "refusal": "stop"}[fault.stop],
        }
        if body.get("logprobs") and server.logprobs and len(text) < 10_000:
            choice["logprobs"] = {"content": token_logprobs(text)}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": f"{body['model']}-2026-01-01",
            "system_fingerprint": "fp_loopback",
            "choices": [choice],
            "usage": {
                "prompt_tokens": used["in"],
                "completion_tokens": used["out"],
                "total_tokens": used["in"] + used["out"],
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }
    block: dict[str, Any] = {"type": "text", "text": text}
    if as_tool:
        block = {"type": "tool_use", "id": "t", "name": "rate", "input": json.loads(text)}
    stops = {"end": "end_turn", "length": "max_tokens", "refusal": "refusal"}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": f"{body['model']}-20260101",
        "content": [block] if text else [],
        "stop_reason": stops[fault.stop],
        "stop_sequence": None,
        "usage": {
            "input_tokens": used["in"],
            "output_tokens": used["out"],
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        },
    }


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def embedding_of(text: str) -> list[float]:
    """Return how often a text has each letter."""
    return [float(text.lower().count(letter)) for letter in LETTERS]


def embeddings_reply(body: dict[str, Any]) -> dict[str, Any]:
    """Return the embeddings of inputs, in any order, as the protocol allows."""
    rows = [
        {"object": "embedding", "index": place, "embedding": embedding_of(text)}
        for place, text in enumerate(body["input"])
    ]
    used = sum(len(text) for text in body["input"]) // 4
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": rows[::-1], "model": body["model"], "usage": usage}


def echo_reply(body: dict[str, Any], logprobs: bool) -> dict[str, Any]:
    """Return prompts with one more word, as vLLM does with `echo`.

    A token of the prompt is a word with the space before it. Its log probability is -1 where the
    word was in the prompt before, -2 elsewhere, and null for the first. Without `logprobs` only
    the generated word has one, as llama.cpp's server answers.
    """
    choices = []
    for index, prompt in enumerate(body["prompt"]):
        tokens = re.findall(r"\s?[^\s]+|\s", prompt)
        seen: set[str] = set()
        given: list[float | None] = []
        for token in tokens:
            given.append(-1.0 if token.strip() in seen else -2.0)
            seen.add(token.strip())
        given[0] = None
        if not logprobs:
            tokens, given = [], []
        echoed = {"tokens": [*tokens, " end"], "token_logprobs": [*given, -0.5]}
        offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens) + 1)]
        choice = {"index": index, "text": f"{prompt} end", "finish_reason": "length"}
        choices.append({**choice, "logprobs": {**echoed, "text_offset": offsets}})
    used = sum(len(prompt) for prompt in body["prompt"]) // 4
    usage = {"prompt_tokens": used, "completion_tokens": len(choices), "total_tokens": used}
    return {"object": "text_completion", "model": body["model"], "choices": choices, "usage": usage}


def instance(schema: dict[str, Any], user: str, fits: Callable[[str], bool]) -> Any:
    """Return a value of this schema; lists have an entry for each context in `user`.

    A list of numbers has 1 for a context whose text fits, else 0.
    """
    if schema["type"] == "object":
        if set(schema["properties"]) == set("12345678"):  # which texts fit which description
            letters = re.findall(r'^\["([A-Za-z])",', user, re.MULTILINE)
            return {name: " ".join(letters[int(name) % 2 :: 2]) for name in schema["properties"]}
        return {name: instance(part, user, fits) for name, part in schema["properties"].items()}
    if schema["type"] == "array" and schema["items"]["type"] == "integer":
        return [int(fits(json.loads(line)["text"])) for line in user.split("\n")[1:-1]]
    if schema["type"] == "array" and schema["items"]["type"] == "string":
        return [f"as told, {number}" for number in range(8)]
    if schema["type"] == "array":
        numbers = re.findall(r'"context": (\d+)', user)
        if "context" not in schema["items"]["properties"]:
            return [instance(schema["items"], user, fits)]
        return [{**instance(schema["items"], user, fits), "context": int(n)} for n in numbers]
    return {"string": "as told", "integer": 1, "boolean": len(user) % 2 == 0}[schema["type"]]


def asked_schema(body: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the schema that a call asks for, and how."""
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"], "json_schema"
    if "format" in body.get("output_config", {}):
        return body["output_config"]["format"]["schema"], "json_schema"
    if body.get("tools"):
        tool = body["tools"][0]
        return tool.get("input_schema") or tool["function"]["parameters"], "tool"
    return None, "text"


def token_logprobs(text: str) -> list[dict[str, Any]]:
    """Return tokens of at most four characters; a digit stands alone.

    The digit that the text has gets 0.7 of the probability, the next one 0.2, the rest goes to
    a word.
    """
    tokens = []
    for token in re.findall(r"\d|[^\d]{1,4}", text):
        top = [{"token": token, "logprob": 0.0}]
        if token.isdigit():
            near = str(int(token) - 1 if int(token) > 1 else int(token) + 1)
            top = [
                {"token": token, "logprob": -0.35667494},
                {"token": near, "logprob": -1.60943791},
                {"token": "no", "logprob": -2.30258509},
            ]
        tokens.append({**top[0], "bytes": list(token.encode()), "top_logprobs": top})
    return tokens


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--permanent", type=int, default=0, help="answer this status to all")
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    server = LoopbackServer(options.latency)
    server.keep_calls = False
    if options.permanent:
        server.fault_for = lambda call: Fault(status=options.permanent)
    with server:
        print(server.port, flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
