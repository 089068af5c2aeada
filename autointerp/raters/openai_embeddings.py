"""An embedding model behind OpenAI's protocol, for `embedding`: `openai-embeddings:MODEL`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from autointerp.questions.question import Question
from autointerp.raters import AttemptFailed, Extent, Finding, RaterOptions, call_key, require_form
from autointerp.raters._cosines import cosines, cosines_reply, texts_to_embed
from autointerp.raters._faults import counted
from autointerp.raters.openai import URL, VARIABLE, OpenAIRater, mapping
from autointerp.records import Item, Reply, Request

WHAT = "an embedding model"
OPTIONS = ("base_url", "timeout_s", "price_in", "price_out")
LIBRARIES = ("openai",)

__all__ = ["URL", "VARIABLE", "OpenAIEmbeddings", "create"]


class OpenAIEmbeddings(OpenAIRater):
    """Calls the embeddings API: the description and the texts of a call in one request."""

    provider: ClassVar[str] = "openai-embeddings"
    endpoint: ClassVar[str] = "/embeddings"
    writes: ClassVar[bool] = False
    is_llm = False

    def __init__(self, model: str | None, options: RaterOptions) -> None:
        super().__init__(model, replace(options, structured=None))  # it writes nothing
        self.most_tokens = 0

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        require_form(self.written, question, "embed", "embedding")
        texts = texts_to_embed(item, question)
        inputs = [texts["description"], *texts["texts"]] if "lack" not in texts else []
        body = self._inputs(inputs)
        return Request(
            call_key(self.provider, self.place, body, question, repeat), item.id, body, repeat
        )

    def _inputs(self, inputs: list[str]) -> dict[str, Any]:
        return {"model": self.model, "input": inputs, "encoding_format": "float"}

    def extent(self, request: Request) -> Extent:
        return Extent(
            sum(len(text.encode("utf-8", "replace")) for text in request.body["input"]), 0
        )

    async def send(self, request: Request) -> Reply:
        if not request.body["input"]:
            return Reply("", "error", error="a text is empty", cost_usd=0.0)
        return await super().send(request)

    async def probe(self) -> dict[str, Any]:
        """Return nothing: where a server has no embeddings API, the first call says so."""
        return {}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Do nothing: nothing was found out."""

    async def check(self) -> list[Finding]:
        await self.open(None)
        try:
            reply = await self.send(Request("probe", "probe", self._inputs(["sky", "a blue sky"])))
        except AttemptFailed as failed:
            return [Finding(False, self.name, str(failed), "is it running?")]
        finally:
            await self.close()
        priced = "known" if self.price is not None else "unknown (--price-in, --price-out)"
        return [
            Finding(True, self.name, f"embeds as {reply.model} in {reply.latency_s or 0:.1f} s"),
            Finding(True, "price", priced),
        ]

    def read(self, content: dict[str, Any], latency_s: float | None, batch: bool = False) -> Reply:
        """Return the cosines of the first embedding with the others. Raises ValueError where they
        are not all there."""
        rows = {counted(row["index"]): row["embedding"] for row in content["data"]}
        if len(rows) < 2 or set(rows) != set(range(len(content["data"]))):
            raise ValueError("embeddings are missing")
        first, *others = (rows[place] for place in range(len(rows)))
        found = cosines(first, others)
        tokens = counted(mapping(content.get("usage")).get("prompt_tokens"))
        spent = (tokens, 0, 0, 0) if tokens else None
        details: dict[str, Any] = {"sdk": f"openai {self.sdk().__version__}", "size": len(first)}
        reply = self.finished(
            cosines_reply(found), "end", content.get("model"), latency_s, spent, details, batch
        )
        del reply.details["structured"]
        return reply


def create(model: str | None, options: RaterOptions) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(model, options)
