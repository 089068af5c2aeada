"""Neuronpedia's autointerp server, by its own OpenAPI: explain and score what a request holds.

A Neuronpedia instance points at this service in place of its own server, with a token of ours as
its secret (`X-SECRET-KEY`). Nothing is stored. Models are asked at OpenRouter with the key of the
request, or at the server that AUTOINTERP_OPENROUTER_URL names; embeddings are those of the model
in the folder that AUTOINTERP_EMBEDDINGS names.

Source: hijohnnylin/neuronpedia, apps/autointerp/openapi.json.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from autointerp.apps.service._access import Owner
from autointerp.apps.service._problems import Problem
from autointerp.engine.retry import RetryPolicy
from autointerp.errors import RaterError
from autointerp.questions.explain import EXPLAIN
from autointerp.questions.forms import LOUDEST, answers_in, make_task
from autointerp.questions.question import Question
from autointerp.raters import AttemptFailed, Rater, RaterOptions, ServedRater, load_rater
from autointerp.raters.openai import OpenAIRater
from autointerp.records import Item, ItemContext, Reply

router = APIRouter(prefix="/v1", tags=["neuronpedia"])

OPENROUTER = "https://openrouter.ai/api/v1"
AT_ONCE = 5  # texts of a call, as Neuronpedia's server asks
MOST_SHOWN = 40  # contexts of an explanation
RETRY = RetryPolicy(retries=2, first_wait_s=0.5)
JUDGE = """
A unit of a language model fires on some tokens of a text and is silent on the others. Its \
description says what it responds to. You get the description and pieces of text. {asked}

Description: {{description}}

{{shown}}

{{reply}}"""
DETECTION = make_task(
    "neuronpedia-detection",
    1,
    "In which texts does the unit fire?",
    "judge",
    JUDGE.format(asked="Say for each whether the unit fires on at least one token of it."),
)
FUZZ = make_task(
    "neuronpedia-fuzz",
    1,
    "Is the marked token one on which the unit fires?",
    "judge",
    JUDGE.format(asked="Say for each whether the unit fires on its marked token."),
    mark=True,
)


class Wire(BaseModel):
    """Names are in camelCase on the wire, and taken in snake_case too, as Neuronpedia's are."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )


Number = Annotated[float, Field(allow_inf_nan=False)]


class Activation(Wire):
    """Tokens of a text, and the unit's activation on each."""

    tokens: list[str] = Field(min_length=1, max_length=5_000)
    values: list[Number] = Field(min_length=1, max_length=5_000)


Activations = Annotated[list[Activation], Field(max_length=1_000)]
Key = Annotated[str, Field(max_length=1_000, description="API key for OpenRouter service")]
Model = Annotated[str, Field(min_length=1, max_length=300, description="Model identifier")]
Explanation = Annotated[str, Field(max_length=10_000)]


class ExplainDefaultRequest(Wire):
    activations: Activations
    openrouter_key: Key
    model: Model


class ExplainDefaultResponse(Wire):
    explanation: str


class ScoreEmbeddingRequest(Wire):
    activations: Activations
    explanation: Explanation


class EmbeddingItem(Wire):
    """A text; `distance` is over 0 where the unit fires in it."""

    text: str
    distance: int
    similarity: float


class ScoreEmbeddingResponse(Wire):
    score: float
    breakdown: list[EmbeddingItem]


class FuzzOrDetection(StrEnum):
    FUZZ = "FUZZ"
    DETECTION = "DETECTION"


class ScoreFuzzDetectionRequest(Wire):
    activations: Activations
    explanation: Explanation
    openrouter_key: Key
    model: Model
    type: FuzzOrDetection


class FuzzDetectionItem(Wire):
    """A text with what was said of it; a prediction that never came is false and not correct."""

    str_tokens: list[str]
    activations: list[float]
    distance: int
    ground_truth: bool
    prediction: bool
    highlighted: bool
    probability: float
    correct: bool


class ScoreFuzzDetectionResponse(Wire):
    score: float
    breakdown: list[FuzzDetectionItem]


class OpenRouter(OpenAIRater):
    """A model at OpenRouter, asked with the key of the request and no other."""

    def __init__(self, model: str, key: str) -> None:
        url = os.environ.get("AUTOINTERP_OPENROUTER_URL", OPENROUTER)
        super().__init__(model, RaterOptions(base_url=url, structured="text"))
        self._given = key

    def require_key(self) -> None:
        """Take the key of the request. Raises Problem for one that no header can hold."""
        if re.search(r"[^!-~]", self._given):
            raise Problem(
                400, "openrouterKey: has blanks or characters that are no ASCII; send the key alone"
            )
        self._key = self._given


@router.post("/explain/default")
def explain_default(asked: ExplainDefaultRequest, owner: Owner) -> ExplainDefaultResponse:
    """Describe what the given activations have in common."""
    _check(asked.activations)
    firing = sorted((a for a in asked.activations if max(a.values) > 0), key=_peak, reverse=True)
    if not firing:
        raise Problem(400, "no activation is above 0; send some on which the unit fires")
    top = max(map(_peak, firing))
    item = Item(
        "neuronpedia",
        EXPLAIN.id,
        tuple(_context(a, int(np.argmax(a.values)), top) for a in firing[:MOST_SHOWN]),
    )
    ((reply, question),) = _asked(OpenRouter(asked.model, asked.openrouter_key), [(item, EXPLAIN)])
    read = question.read(reply)
    if read.status != "ok":
        raise Problem(502, f"the model's reply is no description ({read.problem}); try again")
    return ExplainDefaultResponse(explanation=read.description or "")


@router.post("/score/fuzz-detection")
def score_fuzz_detection(
    asked: ScoreFuzzDetectionRequest, owner: Owner
) -> ScoreFuzzDetectionResponse:
    """Score a description by how well a model tells by it where the unit fires: the mean of the
    shares that it tells right of firing and of silent texts."""
    _check(asked.activations)
    if not asked.activations:
        raise Problem(400, "there are no activations; send some")
    is_fuzz = asked.type is FuzzOrDetection.FUZZ
    task = FUZZ if is_fuzz else DETECTION
    # In a random order that is always the same, so that a place says nothing.
    order = np.random.default_rng(_seed(asked.explanation)).permutation(len(asked.activations))
    calls = [order[at : at + AT_ONCE].tolist() for at in range(0, len(order), AT_ONCE)]
    items = [
        Item(
            f"neuronpedia-{number}",
            task.id,
            tuple(
                _context(a, _marked(a) if is_fuzz else None)
                for a in (asked.activations[place] for place in call)
            ),
            asked.explanation,
        )
        for number, call in enumerate(calls)
    ]
    replies = _asked(
        OpenRouter(asked.model, asked.openrouter_key), [(item, task) for item in items]
    )
    said: dict[int, bool] = {}
    for call, (reply, _) in zip(calls, replies, strict=True):
        answers = answers_in(task, reply)
        said.update({place: bool(answers[n]) for n, place in enumerate(call, 1) if n in answers})
    if not said:
        raise Problem(
            400, "the model answered nothing that can be read; check the OpenRouter key and model"
        )
    breakdown = [
        FuzzDetectionItem(
            str_tokens=a.tokens,
            activations=a.values,
            distance=1 if _fires(a) else -1,
            ground_truth=_fires(a),
            prediction=said.get(place, False),
            highlighted=is_fuzz,
            probability=float(said.get(place, False)),
            correct=place in said and said[place] == _fires(a),
        )
        for place, a in enumerate(asked.activations)
    ]
    right = {truth: [one.correct for place, one in enumerate(breakdown)
                     if place in said and one.ground_truth == truth]
             for truth in (True, False)}  # fmt: skip
    # As Neuronpedia's server has it: 0 without silent texts, and no recall without firing ones.
    recall = float(np.mean(right[True])) if right[True] else 0.0
    score = (recall + float(np.mean(right[False]))) / 2 if right[False] else 0.0
    return ScoreFuzzDetectionResponse(score=score, breakdown=breakdown)


@router.post("/score/embedding")
def score_embedding(asked: ScoreEmbeddingRequest, owner: Owner) -> ScoreEmbeddingResponse:
    """Score a description by how much nearer it is to firing texts than to silent ones: the AUROC
    of the cosines."""
    from autointerp.questions.scorers.embedding import TASK as EMBEDDING
    from autointerp.stats.ranks import auc

    _check(asked.activations)
    fires = [_fires(a) for a in asked.activations]
    if all(fires) or not any(fires):
        raise Problem(400, "embeddings compare firing with silent texts; send some of both")
    folder = os.environ.get("AUTOINTERP_EMBEDDINGS", "")
    if not folder or not Path(folder).is_dir():
        raise Problem(
            503, "no model of embeddings; start the service with AUTOINTERP_EMBEDDINGS=FOLDER"
        )
    item = Item(
        "neuronpedia",
        EMBEDDING.id,
        tuple(_context(a, None) for a in asked.activations),
        asked.explanation,
    )
    ((reply, _),) = _asked(load_rater(f"embed:{folder}", RaterOptions()), [(item, EMBEDDING)])
    cosines = answers_in(EMBEDDING, reply)
    if len(cosines) != len(fires):
        raise Problem(
            502, "the embeddings are incomplete; check the model in AUTOINTERP_EMBEDDINGS"
        )
    values = [float(cosines[place + 1]) for place in range(len(fires))]
    return ScoreEmbeddingResponse(
        score=auc(
            [v for v, fired in zip(values, fires, strict=True) if fired],
            [v for v, fired in zip(values, fires, strict=True) if not fired],
        ),
        breakdown=[
            EmbeddingItem(text="".join(a.tokens), distance=1 if fired else -1, similarity=value)
            for a, fired, value in zip(asked.activations, fires, values, strict=True)
        ],
    )


def _check(activations: Sequence[Activation]) -> None:
    for number, activation in enumerate(activations):
        if len(activation.tokens) != len(activation.values):
            raise Problem(
                400,
                f"activation {number} has {len(activation.tokens)} tokens and "
                f"{len(activation.values)} values; send one value a token",
            )


def _peak(activation: Activation) -> float:
    return max(activation.values)


def _fires(activation: Activation) -> bool:
    return sum(activation.values) > 0


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")


def _marked(activation: Activation) -> int:
    """Return the token to mark: that of the peak, or any of a text in which the unit is silent."""
    if _fires(activation):
        return int(np.argmax(activation.values))
    return _seed("".join(activation.tokens)) % len(activation.tokens)


def _context(activation: Activation, focus: int | None, top: float | None = None) -> ItemContext:
    levels = None
    if top is not None:
        levels = tuple(LOUDEST * max(0.0, value) / top for value in activation.values)
    return ItemContext(
        tokens=tuple(activation.tokens),
        activations=levels,
        focus=focus,
        split="explain" if top is not None else "score",
        silent=False,  # what is true is not the rater's to know
    )


def _asked(rater: Rater, calls: list[tuple[Item, Question]]) -> list[tuple[Reply, Question]]:
    """Return a reply to each call; raise Problem where none comes."""

    async def ask() -> list[tuple[Reply, Question]]:
        served = rater if isinstance(rater, ServedRater) else None
        try:
            if served:
                await served.open(None)
            return list(await asyncio.gather(*(_one(rater, *call) for call in calls)))
        finally:
            if served:
                await served.close()

    try:
        return asyncio.run(ask())
    except (AttemptFailed, RaterError) as error:
        raise Problem(502, f"{error}; check the key and the model, or try again") from None


async def _one(rater: Rater, item: Item, question: Question) -> tuple[Reply, Question]:
    reply: Reply = await RETRY.retrying(asyncio.sleep)(rater.send, rater.request(item, question))
    return reply, question
