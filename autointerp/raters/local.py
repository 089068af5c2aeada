"""A local model file, `local:PATH.gguf`; llama.cpp runs it in this process."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import importlib
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from autointerp.errors import BadInput, RaterError, install_hint
from autointerp.questions.forms import WRITTEN
from autointerp.questions.question import Question
from autointerp.raters import RaterOptions, call_key
from autointerp.raters._grammar import reply_grammar
from autointerp.raters._prices import FREE
from autointerp.raters.openai import CHOICE, OpenAIRater
from autointerp.records import Item, Reply, Request
from autointerp.text import count

WHAT = "a language model"
OPTIONS = ("timeout_s", "max_output_tokens", "structured", "effort")
LIBRARIES = ("xllamacpp",)

MANY_LOGPROBS = 200  # of a forced choice
SLOTS = 2
CONTEXT_TOKENS = 4096  # of each slot: a prompt takes 1,300
LIST_TOKENS = 2048  # of a reply that its grammar ends: four contexts with every token listed
LONGEST_WRITTEN = 300  # characters of each text that is written to a description
LONGEST_TEXT = (
    400  # characters of a rationale or description: small models do not stop by themselves
)
SAMPLED = 1 << 20


def model_path(model: str | None) -> Path:
    """Return the model file. Raises BadInput if there is none."""
    path = Path(model or "").expanduser()
    if not model or not path.is_file():
        raise BadInput(f"rater 'local:{model or ''}': no such file; give one, as in local:x.gguf")
    return path


def require_place(kind: str, model: str) -> None:
    """Raise BadInput if a model is named by a path, of a file or a folder, at which nothing is.

    A hub's id, such as "organisation/model", is known when it is loaded.
    """
    path = Path(model).expanduser()
    named = path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
    if (named or path.suffix == ".gguf") and not path.exists():
        raise BadInput(f"rater '{kind}:{model}': no such file or folder; give an existing one")


def require_weights(rater: str, missing: Iterable[str], remedy: str) -> None:
    """Raise RaterError if a model's files lack weights, of which transformers makes random ones."""
    lacking = sorted(missing)
    if lacking:
        raise RaterError(
            f"{rater}: its files lack {count(len(lacking), 'weight')}, such as {lacking[0]}; "
            f"{remedy}"
        )


def file_fingerprint(path: Path) -> str:
    """Return a digest of a file's size, first and last megabyte: all of it may be gigabytes."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(SAMPLED))
        file.seek(max(0, size - SAMPLED))
        digest.update(file.read(SAMPLED))
    return digest.hexdigest()


def folder_fingerprint(path: Path) -> str:
    """Return a digest of the names and fingerprints of a model folder's own files."""
    digest = hashlib.sha256()
    for file in sorted(one for one in path.iterdir() if one.is_file() and one.name[0] != "."):
        digest.update(f"{file.name}\0{file_fingerprint(file)}\0".encode())
    return digest.hexdigest()


class LocalRater(OpenAIRater):
    """A rater that starts a llama.cpp server and calls it like any other server."""

    provider: ClassVar[str] = "openai"
    slots = SLOTS  # calls at once

    def __init__(self, path: Path, options: RaterOptions) -> None:
        chosen = options.structured or "json_schema"  # llama.cpp enforces it, nothing to probe
        options = replace(options, base_url="http://127.0.0.1", structured=chosen)
        super().__init__(path.stem, options)
        self.path = path
        self.name = f"local:{path.stem}{CHOICE if chosen == 'choice' else ''}"
        fingerprint = file_fingerprint(path)
        self.place = f"local {fingerprint}"
        self.version = fingerprint[:12]
        self.price = FREE
        self.concurrency = self.slots
        self._server: Any = None

    def schema(self, question: Question) -> dict[str, Any]:
        bounded = copy.deepcopy(question.schema())
        for field in bounded["properties"].values():
            if field["type"] == "string":
                field["maxLength"] = LONGEST_TEXT
        if question.form == "write":
            bounded["properties"]["texts"] |= {
                "minItems": WRITTEN,
                "maxItems": WRITTEN,
                "items": {"type": "string", "maxLength": LONGEST_WRITTEN},
            }
        return bounded

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        request = super().request(item, question, repeat)
        if self.structured == "choice":
            # A small model may think of many words before a number: as many are looked at.
            body = {**request.body, "top_logprobs": MANY_LOGPROBS}
            key = call_key(self.provider, self.place, body, question, repeat)
            return replace(request, key=key, body=body)
        grammar = reply_grammar(question, item)
        if grammar is None:
            return request
        body = {k: v for k, v in request.body.items() if k != "response_format"}
        body |= {"grammar": grammar, "max_tokens": max(self.most_tokens, LIST_TOKENS)}
        return replace(
            request, key=call_key(self.provider, self.place, body, question, repeat), body=body
        )

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        if "grammar" in request.body:
            reply.details["structured"] = "grammar"
        return reply

    async def open(self, remembered: str | None) -> str | None:
        self._key = secrets.token_urlsafe(24)
        self.url = await asyncio.to_thread(self._start, self._key) + "/v1"
        self.connect(self._key)
        return None

    def _start(self, key: str) -> str:
        """Start the server; return its address."""
        try:
            xllamacpp: Any = importlib.import_module("xllamacpp")
        except ImportError:
            raise RaterError(
                f"local models need llama.cpp: {install_hint('local')}; or run your own server "
                "and use openai:MODEL --base-url"
            ) from None
        params = xllamacpp.CommonParams()
        params.model.path = str(self.path)
        params.model_alias = {self.path.stem}
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.n_parallel = self.slots
        params.n_ctx = self.slots * CONTEXT_TOKENS
        # One thread a core spins while it waits for the others: leave one core to everybody else.
        params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
        params.verbosity = -1
        try:
            self._server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise RaterError(f"{self.name}: llama.cpp cannot run {self.path} ({error})") from None
        return str(self._server.listening_address)

    async def close(self) -> None:
        await super().close()
        self._server = None

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Do nothing: the server ends with this process."""


def create(model: str | None, options: RaterOptions) -> LocalRater:
    return LocalRater(model_path(model), options)
