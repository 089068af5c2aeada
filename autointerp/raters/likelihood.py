"""A small language model's likelihood of firing lines: `likelihood:PATH.gguf`, or a hub id.

After a list of lines in which the unit fires, each with its firing token marked, other lines in
which it fires become more probable to the model, if they have anything in common that it can see.
How much more, against a list of lines marked at random, is the line's gain. The AUROC of the
gains of held-out firing lines against held-out silent ones, mapped to the scale as `lexical`
maps its own, is the score. There is no prompt, so nothing in the text can be obeyed.

It answers scorer `surprisal` too: by the loss on a text after its description, and without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import hashlib
import io
import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput, RaterError, install_hint
from autointerp.questions.question import Question
from autointerp.raters import RaterOptions, call_key, require_written
from autointerp.raters._evidence import score_of
from autointerp.raters._losses import losses_reply, texts_to_expect
from autointerp.raters.local import (
    file_fingerprint,
    folder_fingerprint,
    require_place,
    require_weights,
)
from autointerp.records import Item, ItemContext, Reply, Request
from autointerp.stats.ranks import auc
from autointerp.text import CONTROL, count

WHAT = "a language model"
OPTIONS = ()
LIBRARIES = ("transformers", "gguf")

VERSION = 1
SHOTS = 8  # lines in a list
HELD_OUT = 16  # firing lines that are measured, and as many silent ones
SEEDS = 2  # pairs of lists; the gain of a line is the mean over them
BEFORE = 5  # tokens of the subject before the marked one
AFTER = 0
OPEN, CLOSE = " <<", ">>"
LEAST = 5  # firing lines in either split, and silent ones
# Fixed with SmolLM2-135M on planted units (`questions/planter.py`, seed 7, 32 units), never on a
# subject: noise lies under LOW, HIGH is midway between the medians of clean and mostly clean.
LOW, HIGH = 0.66, 0.88

# Prefixes whose keys and values are kept: the examples, those with the neutral description, and
# with descriptions that are asked about now.
PREFIXES = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A context as a line: text before the marked token, it, and text after."""

    before: str
    token: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}{OPEN}{self.token}{CLOSE}{self.after}"


class Likelihood:
    """A rater by the gain in likelihood of held-out firing lines."""

    evidence: Literal["shown", "all"] = "all"
    is_llm = True
    concurrency: ClassVar[int] = 1

    def __init__(self, model: str, options: RaterOptions) -> None:
        path = Path(model).expanduser()
        self.model = model
        self.path = path if path.exists() else None
        self.name = f"likelihood:{path.stem if self.path else model}"
        self.seed = options.seed
        self.place = model
        if self.path is not None and self.path.is_file():
            self.place = file_fingerprint(self.path)
        elif self.path is not None:
            self.place = folder_fingerprint(self.path)
        # A hub's model is known by its name alone.
        self.version = f"{VERSION}" if self.path is None else f"{VERSION} {self.place[:12]}"

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Return the lines to compare as the call's body; repeats draw other lists."""
        if question.form == "expect":
            expected = {"version": VERSION, **texts_to_expect(item, question)}
            key = call_key("likelihood", self.place, expected, question, repeat)
            return Request(key, item.id, expected, repeat)
        require_written(self.name, question)
        if question.about == "description":
            raise RaterError(
                f"{self.name} cannot judge a given description, as rubric '{question.id}' asks; "
                "choose another rater"
            )
        content = json.dumps([self.seed, repeat, item.id])
        rng = np.random.default_rng(int(hashlib.sha256(content.encode()).hexdigest()[:16], 16))
        body: dict[str, Any] = {"version": VERSION, "scores": list(question.scores)}
        if any(context.activations is None for context in item.contexts):
            body["lack"] = "the item hides its activations"
        else:
            body |= draw_lines(item.contexts, rng)
        key = call_key("likelihood", self.place, body, question, repeat)
        return Request(key, item.id, body, repeat)

    async def send(self, request: Request) -> Reply:
        body = request.body
        if "lack" in body:
            return Reply("", "error", error=body["lack"], cost_usd=0.0)
        began = time.perf_counter()
        try:
            if "texts" in body:
                given, without = await asyncio.to_thread(self._losses, body)
                latency_s = time.perf_counter() - began
                return Reply(
                    losses_reply(given, without), model=self.name, cost_usd=0.0, latency_s=latency_s
                )
            gains = await asyncio.to_thread(self._gains, body)
        except TooLong as error:
            return Reply("", "error", error=str(error), cost_usd=0.0)
        firing = [gain for gain, fires in gains if fires]
        silent = [gain for gain, fires in gains if not fires]
        statistic = auc(firing, silent)
        answer = {
            "rationale": (
                f"AUROC {statistic:.2f}: {len(firing)} held-out firing lines gained "
                f"{np.mean(firing):+.2f} nats a token after firing lines, {len(silent)} silent "
                f"ones {np.mean(silent):+.2f}."
            ),
            "description": "Unknown",
            "score": score_of(statistic, body["scores"], LOW, HIGH),
        }
        details = {"auroc": statistic, "firing": firing, "silent": silent}
        latency_s = time.perf_counter() - began
        return Reply(
            json.dumps(answer), model=self.name, cost_usd=0.0, latency_s=latency_s, details=details
        )

    def _losses(self, body: dict[str, Any]) -> list[Floats]:
        """Return [texts] the loss in nats a token after the description, and without it."""
        reader = load_reader(self.model)
        return [
            np.array([-np.mean(each) for each in reader.text_likelihoods(parts, body["texts"])])
            for parts in ((body["head"], body["given"]), (body["head"], body["without"]))
        ]

    def _gains(self, body: dict[str, Any]) -> list[tuple[float, bool]]:
        reader = load_reader(self.model)
        held = [(Line(*line), True) for line in body["held_firing"]]
        held += [(Line(*line), False) for line in body["held_silent"]]
        lines = [line for line, _ in held]
        total = np.zeros(len(lines))
        for firing, neutral in zip(body["firing_lists"], body["neutral_lists"], strict=True):
            after = [
                reader.line_likelihoods([Line(*line) for line in shots], lines)
                for shots in (firing, neutral)
            ]
            total += after[0] - after[1]
        mean = total / len(body["firing_lists"])
        return [(round(float(g), 5), fires) for g, (_, fires) in zip(mean, held, strict=True)]


# ------------------------------------------------------------------------------------ lines


def draw_lines(contexts: Sequence[ItemContext], rng: np.random.Generator) -> dict[str, Any]:
    """Return the lists and the held-out lines of a unit, or why there are too few (`lack`).

    Lists come from `explain`, held-out lines from `score`. Firing lines are spread over the
    unit's whole range of activation. A silent line is one marked on a token on which the unit is
    silent; those in lists teach the form, and nothing of the unit.
    """
    # Sorted, so that the order in which contexts come decides nothing.
    ordered = sorted(contexts, key=lambda context: (context.tokens, context.focus or 0))
    firing: dict[str, list[ItemContext]] = {"explain": [], "score": []}
    silent: dict[str, list[ItemContext]] = {"explain": [], "score": []}
    for context in ordered:
        if context.focus is None or context.activations is None:
            continue
        fires = context.activations[context.focus] > 0
        (firing if fires else silent)[context.split].append(context)
    for split in ("explain", "score"):
        for kind, drawn in (("firing", firing[split]), ("silent", silent[split])):
            if len(drawn) < LEAST:
                few = count(len(drawn), f"{kind} context")
                return {"lack": f"{few} in `{split}`, {LEAST} are needed"}
    lists: dict[str, Any] = {"firing_lists": [], "neutral_lists": []}
    for _ in range(SEEDS):
        for name, pool in (("firing_lists", firing), ("neutral_lists", silent)):
            lists[name].append([_line(c) for c in spread(pool["explain"], SHOTS, rng)])
    lists["held_firing"] = [_line(c) for c in spread(firing["score"], HELD_OUT, rng)]
    lists["held_silent"] = [_line(c) for c in spread(silent["score"], HELD_OUT, rng)]
    return lists


def spread(
    contexts: Sequence[ItemContext], count: int, rng: np.random.Generator
) -> list[ItemContext]:
    """Return up to `count` contexts in random order, taken in turn from each activation level."""
    levels: dict[int, list[ItemContext]] = {}
    for place in rng.permutation(len(contexts)):
        context = contexts[place]
        assert context.activations is not None
        assert context.focus is not None
        levels.setdefault(int(np.ceil(context.activations[context.focus])), []).append(context)
    chosen: list[ItemContext] = []
    while len(chosen) < min(count, len(contexts)):
        for level in sorted(levels, reverse=True):
            if levels[level] and len(chosen) < count:
                chosen.append(levels[level].pop())
    return [chosen[place] for place in rng.permutation(len(chosen))]


def _line(context: ItemContext) -> tuple[str, str, str]:
    assert context.focus is not None
    focus = context.focus
    before = "".join(context.tokens[max(0, focus - BEFORE) : focus])
    after = "".join(context.tokens[focus + 1 : focus + 1 + AFTER])
    flat = [
        text.replace("\n", " ").replace("\r", " ")
        for text in (before, context.tokens[focus], after)
    ]
    return flat[0], flat[1], flat[2]


# ------------------------------------------------------------------------------------ model


class TooLong(Exception):
    """A text is longer than the model can read."""


@dataclass(frozen=True)
class Reader:
    """A causal language model that says how probable lines are.

    Attributes:
        model, tokenizer: Of transformers.
        prefixes: What `_read` returned of the last `PREFIXES` prefixes of `text_likelihoods`.
    """

    model: Any
    tokenizer: Any
    prefixes: OrderedDict[tuple[str, ...], tuple[Any, Any]] = field(default_factory=OrderedDict)

    def line_likelihoods(self, shots: Sequence[Line], lines: Sequence[Line]) -> Floats:
        """Return [lines] the mean log probability (nats) of a line's tokens after the list."""
        gains = self.token_likelihoods(shots, lines)
        return np.array([float(np.mean(of_line)) for of_line in gains])

    def token_likelihoods(self, shots: Sequence[Line], lines: Sequence[Line]) -> list[Floats]:
        """Return for each line the log probabilities of its tokens after the list.

        The list is read once; its keys and values serve every line.
        """
        listed = self._read("".join(f"{shot}\n" for shot in shots))
        return self._after(listed, [f"{line}\n" for line in lines])

    def text_likelihoods(self, parts: tuple[str, ...], texts: Sequence[str]) -> list[Floats]:
        """Return for each text the log probabilities of its tokens after a prefix, in parts.

        Parts that a prefix shares with one that was read lately are not read again.
        """
        cache, logits = self._kept(parts)
        return self._after((copy.deepcopy(cache), logits), texts)  # reading on adds to the cache

    def _kept(self, parts: tuple[str, ...]) -> tuple[Any, Any]:
        """Return what `_read` returns of a prefix, and keep it."""
        if parts not in self.prefixes:
            before = copy.deepcopy(self._kept(parts[:-1])[0]) if len(parts) > 1 else None
            self.prefixes[parts] = self._read(parts[-1], before)
            while len(self.prefixes) > PREFIXES:
                self.prefixes.popitem(last=False)
        self.prefixes.move_to_end(parts)
        return self.prefixes[parts]

    def _read(self, prefix: str, before: Any = None) -> tuple[Any, Any]:
        """Return the keys and values of a prefix, and the logits at its end, [1, 1, tokens].

        `before`: keys and values of what stands before it; None for nothing.
        """
        import torch

        begins = before is None and self.tokenizer.bos_token_id is not None
        start = [self.tokenizer.bos_token_id] if begins else []
        ids = torch.tensor([start + self._encode(prefix)])
        self._require_places(before, ids)
        with torch.inference_mode():
            read = self.model(ids, past_key_values=before, use_cache=True, logits_to_keep=1)
        return read.past_key_values, read.logits[:, -1:]

    def _after(self, read: tuple[Any, Any], texts: Sequence[str]) -> list[Floats]:
        """Return for each text the log probabilities of its tokens after what was read."""
        import torch

        cache, last = read
        encoded = [self._encode(text) for text in texts]
        longest = max(len(ids) for ids in encoded)
        ids = torch.zeros((len(texts), longest), dtype=torch.int64)
        self._require_places(cache, ids)
        with torch.inference_mode():
            cache.batch_repeat_interleave(len(texts))
            for row, text in enumerate(encoded):
                ids[row, : len(text)] = torch.tensor(text)
            # Padding stands behind the text, where causal attention does not see it.
            logits = self.model(ids, past_key_values=cache, use_cache=True).logits
            logits = torch.cat([last.expand(len(texts), 1, -1), logits[:, :-1]], 1).float()
            picked = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        return [picked[row, : len(text)].double().numpy() for row, text in enumerate(encoded)]

    def _require_places(self, before: Any, ids: Any) -> None:
        """Raise TooLong if the model has no places for more tokens than it has read."""
        places = getattr(self.model.config, "max_position_embeddings", None)
        tokens = ids.shape[1] + (0 if before is None else int(before.get_seq_length()))
        if places is not None and tokens > places:
            raise TooLong(
                f"{tokens:,} tokens, and the model reads {places:,} at most; name one that reads "
                "longer texts"
            )

    def _encode(self, text: str) -> list[int]:
        # A control token in the text is text: it does not end the list for the model.
        options = {"split_special_tokens": True} if CONTROL.search(text) else {}
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, **options)["input_ids"]
        return ids


def _libraries_missing() -> RaterError:
    return RaterError(f"likelihood needs transformers and gguf: {install_hint('local')}")


@functools.lru_cache(maxsize=1)
def load_reader(model: str) -> Reader:
    """Return the model at a path or hub id, in float32 on the CPU.

    Raises RaterError if the libraries or the model are not there.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise _libraries_missing() from None
    from autointerp.subjects.language_model import keeps_all  # imports torch

    progress_bars: Any = logging
    progress_bars.disable_progress_bar()  # it would cross our own
    path = Path(model).expanduser()
    where: dict[str, str] = {}
    name = model
    if path.is_file():
        name, where = str(path.parent), {"gguf_file": path.name}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a GGUF's bar heeds no setting
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                name,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
                **where,
            )
    except ImportError:
        raise _libraries_missing() from None
    except (OSError, ValueError) as error:
        raise RaterError(
            f"likelihood:{model} cannot be loaded ({str(error).splitlines()[0]})"
        ) from None
    reader, loading_info = loaded
    remedy = "fetch a causal language model with its head"
    require_weights(f"likelihood:{model}", loading_info["missing_keys"], remedy)
    with torch.inference_mode():
        read = reader.eval()(torch.zeros((1, 1), dtype=torch.int64), use_cache=True)
    if not keeps_all(getattr(read, "past_key_values", None), 1):
        raise RaterError(
            f"likelihood:{model} keeps a state of what it has read, which several lines cannot "
            "share; name a model whose layers all keep keys and values"
        )
    return Reader(reader, tokenizer)


def create(model: str | None, options: RaterOptions) -> Likelihood:
    if not model:
        raise BadInput("rater 'likelihood': name a model, as in likelihood:PATH.gguf")
    require_place("likelihood", model)
    return Likelihood(model, options)
