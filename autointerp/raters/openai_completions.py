"""A base model behind OpenAI's completions protocol, for `surprisal`: `openai-completions:MODEL`.

The server must give log probabilities of the prompt itself (`echo` with `logprobs`), as vLLM does;
one that does not is refused when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

import numpy as np

from autointerp.errors import RaterError
from autointerp.questions.question import Question
from autointerp.raters import AttemptFailed, Extent, Finding, RaterOptions, call_key, require_form
from autointerp.raters._losses import losses_reply, texts_to_expect
from autointerp.raters.openai import URL, VARIABLE, OpenAIRater, mapping, spent_tokens
from autointerp.records import Item, Reply, Request

WHAT = "a language model"
OPTIONS = ("base_url", "timeout_s", "price_in", "price_out")
LIBRARIES = ("openai",)

PROBE = {"head": "", "given": "The sky is", "without": "The sea is", "texts": [" blue today."]}

__all__ = ["URL", "VARIABLE", "OpenAICompletions", "create"]


class OpenAICompletions(OpenAIRater):
    """Calls the completions API: each text of a call twice, after either description."""

    provider: ClassVar[str] = "openai-completions"
    endpoint: ClassVar[str] = "/completions"
    writes: ClassVar[bool] = False

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        super().__init__(model, replace(options, structured=None))  # it writes nothing
        self.most_tokens = 1

    # ------------------------------------------------------------------------- requests

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        require_form(self.written, question, "expect", "surprisal")
        body = {"model": self.model, **texts_to_expect(item, question)}
        key = call_key(self.provider, self.place, body, question, repeat)
        return Request(key, item.id, body, repeat)

    def extent(self, request: Request) -> Extent:
        prompts = _prompts(request.body)
        size = sum(len(prompt.encode("utf-8", "replace")) for prompt in prompts)
        return Extent(size, len(prompts))

    # ------------------------------------------------------------------------- opening

    async def open(self, remembered: str | None) -> str | None:
        told = await super().open(remembered)
        if told is not None or remembered is not None:
            return told
        try:  # the provider's own address is not tried by the base
            return json.dumps(await self.probe())
        except BaseException:
            await self.close()
            raise

    async def probe(self) -> dict[str, Any]:
        """Return nothing. Raises RaterError if the server gives no log probabilities of prompts."""
        try:
            reply = await self.send(Request("probe", "probe", {"model": self.model, **PROBE}))
        except AttemptFailed as failed:
            if failed.transient:
                raise
            self._refuse(str(failed))
        if reply.stop == "error":
            self._refuse(str(reply.error))
        return {}

    def _refuse(self, reason: str) -> NoReturn:
        raise RaterError(
            f"{self.name}: {self.url} gives no log probabilities of a prompt, which scorer "
            f"'surprisal' needs ({reason}); serve the model by vLLM, or use likelihood:PATH"
        ) from None

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Do nothing: a server that does not give them is not remembered."""

    async def check(self) -> list[Finding]:
        try:
            await self.open(None)
        except AttemptFailed as failed:
            return [Finding(False, self.name, str(failed), "is it running?")]
        await self.close()
        priced = "known" if self.price is not None else "unknown (--price-in, --price-out)"
        return [
            Finding(True, self.name, "gives log probabilities of prompts"),
            Finding(True, "price", priced),
        ]

    # ------------------------------------------------------------------------- sending

    async def send(self, request: Request) -> Reply:
        if "lack" in request.body:
            return Reply("", "error", error=request.body["lack"], cost_usd=0.0)
        reply = await super().send(request)
        if reply.stop != "end":
            return reply
        texts = request.body["texts"]
        rows = json.loads(reply.text)
        if len(rows) != 2 * len(texts):
            problem = f"{len(rows)} of {2 * len(texts)} prompts came back"
            return replace(reply, text="", stop="error", error=problem)
        losses: dict[str, list[float]] = {"given": [], "without": []}
        for number, (tokens, logprobs) in enumerate(rows):
            loss = loss_of(texts[number // 2], tokens, logprobs)
            if loss is None:
                problem = "the reply's tokens do not spell a text with log probabilities"
                return replace(reply, text="", stop="error", error=problem)
            losses["without" if number % 2 else "given"].append(loss)
        return replace(reply, text=losses_reply(**losses))

    async def exchange(self, body: dict[str, Any]) -> tuple[Mapping[str, str], str]:
        return await super().exchange(
            {
                "model": body["model"],
                "prompt": _prompts(body),
                "max_tokens": 1,  # some servers refuse 0
                "temperature": 0,
                "echo": True,
                "logprobs": 1,
            }
        )

    def read(self, content: dict[str, Any], latency_s: float | None, batch: bool = False) -> Reply:
        """Return for each prompt its tokens, the generated one included, and their log
        probabilities."""
        choices = sorted(content["choices"], key=lambda choice: int(choice["index"]))
        rows = []
        for choice in choices:
            logprobs = mapping(choice.get("logprobs"))
            rows.append([logprobs.get("tokens"), logprobs.get("token_logprobs")])
        details: dict[str, Any] = {"sdk": f"openai {self.sdk().__version__}"}
        spent = spent_tokens(content)
        model = content.get("model")
        reply = self.finished(json.dumps(rows), "end", model, latency_s, spent, details, batch)
        del reply.details["structured"]
        return reply

    async def submit_batch(self, label: str, requests: Sequence[Request]) -> str:
        raise RaterError(f"{self.name}: batches give no log probabilities of prompts; drop --batch")


def _prompts(body: Mapping[str, Any]) -> list[str]:
    """Return what is read: each text after the description, then without it."""
    if "lack" in body:
        return []
    prefixes = [body["head"] + body[last] for last in ("given", "without")]
    return [prefix + text for text in body["texts"] for prefix in prefixes]


def loss_of(text: str, tokens: object, logprobs: object) -> float | None:
    """Return the loss on a text in nats a token, from an echoed prompt that ends with it.

    The last of `tokens` was generated. A token that begins before the text counts too. None where
    the tokens do not spell the text, or a log probability is missing.
    """
    if not (isinstance(tokens, list) and isinstance(logprobs, list)):
        return None
    if len(tokens) != len(logprobs) or not all(isinstance(token, str) for token in tokens):
        return None
    read = tokens[:-1]
    if not "".join(read).endswith(text):
        return None
    first, left = len(read), len(text)
    while left > 0:
        first -= 1
        left -= len(read[first])
    given = logprobs[first : len(read)]
    if not given or any(isinstance(one, bool) or not isinstance(one, int | float) for one in given):
        return None
    loss = -float(np.mean(given))
    return max(0.0, loss) if np.isfinite(loss) else None


def create(model: str | None, options: RaterOptions) -> OpenAICompletions:
    return OpenAICompletions(model, options)
