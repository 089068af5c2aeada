"""A small embedding model, for scorer `embedding`: `embed:FOLDER`, or a hub id.

The model is one of the library sentence-transformers (a transformer, then pooling); its folder
says how its vectors are pooled. transformers runs it, on the CPU.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput, RaterError, install_hint
from autointerp.files import json_value
from autointerp.questions.question import Question
from autointerp.raters import RaterOptions, call_key, require_form
from autointerp.raters._cosines import cosines, cosines_reply, texts_to_embed
from autointerp.raters.local import file_fingerprint, require_place, require_weights
from autointerp.records import Item, Reply, Request
from autointerp.text import CONTROL

WHAT = "an embedding model"
OPTIONS = ()
LIBRARIES = ("transformers",)

VERSION = 1
KEPT = 4096  # texts whose vectors are kept: a description is asked about again and again
POOLINGS = ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
# What says how vectors are made; `modules.json` of sentence-transformers lists the steps.
DECIDING = ("modules.json", "1_Pooling/config.json", "config_sentence_transformers.json")
STEPS = ("Transformer", "Pooling", "Normalize")  # a cosine does not know of the last
PASSAGES = ("document", "passage", "corpus")  # names of the prompt of a text that is searched

Floats = NDArray[np.float64]


class Embed:
    """A rater by the cosine of a description with texts."""

    evidence: Literal["shown", "all"] = "shown"
    is_llm = False
    concurrency: ClassVar[int] = 1

    def __init__(self, model: str, options: RaterOptions) -> None:
        path = Path(model).expanduser()
        self.model = model
        is_there = path.exists()
        self.name = f"embed:{_name_of(path) if is_there else model}"
        self.place = _fingerprint(path) if is_there else model
        self.version = f"{VERSION} {self.place[:12]}" if is_there else f"{VERSION}"

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Return the description and the texts as the call's body."""
        require_form(self.name, question, "embed", "embedding")
        body = {"version": VERSION, **texts_to_embed(item, question)}
        return Request(call_key("embed", self.place, body, question, repeat), item.id, body, repeat)

    async def send(self, request: Request) -> Reply:
        body = request.body
        if "lack" in body:
            return Reply("", "error", error=body["lack"], cost_usd=0.0)
        began = time.perf_counter()
        embedder = load_embedder(self.model)
        try:
            found = await asyncio.to_thread(embedder.cosines, body["description"], body["texts"])
        except ValueError as error:
            return Reply("", "error", error=str(error), cost_usd=0.0)
        latency_s = time.perf_counter() - began
        details = {"pooling": embedder.pooling}
        return Reply(
            cosines_reply(found),
            model=self.name,
            cost_usd=0.0,
            latency_s=latency_s,
            details=details,
        )


def _name_of(folder: Path) -> str:
    """Return what a folder's model is called: `model` says nothing, so the folder above it does."""
    folder = folder.resolve()
    return folder.parent.name if folder.name in ("model", "") else folder.name


def _fingerprint(folder: Path) -> str:
    """Return a digest of the weights, by size, first and last megabyte, and of what decides."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(file_fingerprint(path).encode())
    for name in (*DECIDING, "config.json", "tokenizer.json", "sentence_bert_config.json"):
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------ model


@dataclass(frozen=True)
class Embedder:
    """A model that embeds texts.

    Attributes:
        model, tokenizer: Of transformers.
        pooling: How a text's vector is made of its tokens': one of `POOLINGS`.
        longest: Tokens of a text that are read, at most.
        before_query, before_text: What the model was trained to find before either.
        kept: Vectors of the last `KEPT` texts.
    """

    model: Any
    tokenizer: Any
    pooling: str
    longest: int
    before_query: str = ""
    before_text: str = ""
    kept: OrderedDict[str, Floats] = field(default_factory=OrderedDict)

    def cosines(self, description: str, texts: Sequence[str]) -> list[float]:
        """Return the cosine of the description with each text. Raises ValueError for a vector of
        0, or one that is not finite."""
        first, *others = self.embed(
            [self.before_query + description, *(self.before_text + text for text in texts)]
        )
        return cosines(first, others)

    def embed(self, texts: Sequence[str]) -> list[Floats]:
        """Return each text's vector, [size]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.kept]
        # One at a time: beside a longer text, one would be padded, and its vector another by
        # rounding, so that the same call would not have the same answer.
        found = {text: self._vector(text) for text in new}
        vectors = [found[text] if text in found else self.kept[text] for text in texts]
        for text, vector in zip(texts, vectors, strict=True):
            self.kept[text] = vector
            self.kept.move_to_end(text)
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return vectors

    def _vector(self, text: str) -> Floats:
        import torch

        # A control token in the text is text.
        options = {"split_special_tokens": True} if CONTROL.search(text) else {}
        ids = self.tokenizer(
            text, truncation=True, max_length=self.longest, return_tensors="pt", **options
        )
        with torch.inference_mode():
            states = self.model(**ids).last_hidden_state[0].double().numpy()  # [tokens, size]
        if self.pooling == "cls_token":
            return np.asarray(states[0])
        if self.pooling == "lasttoken":
            return np.asarray(states[-1])
        return np.asarray(states.max(0) if self.pooling == "max_tokens" else states.mean(0))


@functools.lru_cache(maxsize=1)
def load_embedder(model: str) -> Embedder:
    """Return the model in a folder or of a hub id, in float32 on the CPU.

    Raises RaterError if the library or the model are not there, or the model has a step that is
    none of `STEPS`.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise RaterError(f"embed needs transformers: {install_hint('models')}") from None
    progress_bars: Any = logging
    progress_bars.disable_progress_bar()  # it would cross our own
    path = Path(model).expanduser()
    place = str(path) if path.exists() else model
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        loaded: Any = AutoModel.from_pretrained(
            place, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise RaterError(f"embed:{model} cannot be loaded ({str(error).splitlines()[0]})") from None
    reader, loading_info = loaded
    used = (k for k in loading_info["missing_keys"] if not k.startswith("pooler."))
    require_weights(f"embed:{model}", used, "fetch it again")
    read = functools.partial(_read, place)
    pooling = _pooling(model, read("modules.json"), read("1_Pooling/config.json"))
    settings = read("config_sentence_transformers.json") or {}
    prompts = settings.get("prompts") if isinstance(settings, dict) else None
    prompts = prompts if isinstance(prompts, dict) else {}
    return Embedder(
        reader.eval(),
        tokenizer,
        pooling,
        _longest(read("sentence_bert_config.json"), tokenizer, reader.config),
        str(prompts.get("query") or ""),
        next((str(prompts[name]) for name in PASSAGES if prompts.get(name)), ""),
    )


def _read(place: str, name: str) -> Any:
    """Return the JSON file of a model; None if it has none."""
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(place, name)
        return json_value(Path(found).read_text("utf-8")) if found else None
    except (OSError, ValueError):
        return None


def _pooling(model: str, modules: Any, config: Any) -> str:
    """Return how the model pools. Raises RaterError where it cannot be done as its files say."""
    steps = [
        str(step.get("type", "")).rpartition(".")[2]
        for step in (modules if isinstance(modules, list) else [])
        if isinstance(step, dict)
    ]
    if steps[:2] != ["Transformer", "Pooling"]:
        raise RaterError(
            f"embed:{model} has no modules.json that begins with Transformer and Pooling; give a "
            "model of sentence-transformers, or serve it: openai-embeddings:MODEL --base-url URL"
        )
    other = [step for step in steps if step not in STEPS]
    if other:
        raise RaterError(
            f"embed:{model} has a step that is not supported here, {other[0]}; serve it: "
            "openai-embeddings:MODEL --base-url URL"
        )
    fields = config if isinstance(config, dict) else {}
    named = [name for name, value in fields.items() if name.startswith("pooling_mode_") and value]
    chosen = [name.removeprefix("pooling_mode_") for name in named]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise RaterError(
            f"embed:{model}: 1_Pooling/config.json has the pooling {', '.join(chosen) or 'of none'}"
            f"; supported is one of {', '.join(POOLINGS)}"
        )
    return str(chosen[0])


def _longest(config: Any, tokenizer: Any, of_model: Any) -> int:
    """Return the tokens of a text that the model was made to read."""
    said = config.get("max_seq_length") if isinstance(config, dict) else None
    places = getattr(of_model, "max_position_embeddings", None)
    known = [n for n in (said, places, tokenizer.model_max_length) if isinstance(n, int) and n > 0]
    return min(known)


def create(model: str | None, options: RaterOptions) -> Embed:
    if not model:
        raise BadInput("rater 'embed': name a model, as in embed:FOLDER")
    if Path(model).expanduser().is_file():
        raise BadInput(f"rater 'embed:{model}' is a file; give the folder of a model")
    require_place("embed", model)
    return Embed(model, options)
