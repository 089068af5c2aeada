from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from support.loopback.server import Fault, LoopbackServer, embedding_of

from autointerp.engine.forecast import forecast_calls
from autointerp.errors import RaterError
from autointerp.questions.forms import answers_in
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import AttemptFailed, RaterOptions
from autointerp.raters.openai_embeddings import create
from autointerp.records import Item, ItemContext, Reply

TASK = scorer("embedding").TASK


def item(*texts: str) -> Item:
    contexts = tuple(ItemContext((text,), None, None, "score", False) for text in texts)
    return Item("aa", TASK.id, contexts, description="a cat")


def ask(server: LoopbackServer, *texts: str, **options: Any) -> Reply:
    rater = create("m", RaterOptions(base_url=server.openai_url, **options))

    async def run() -> Reply:
        assert await rater.open(None) == "{}"
        try:
            return await rater.send(rater.request(item(*texts), TASK))
        finally:
            await rater.close()

    return asyncio.run(run())


def test_one_request_embeds_the_description_and_the_texts_of_a_call() -> None:
    with LoopbackServer() as server:
        reply = ask(server, "the cat sat", "dogs", price_in=2.0, price_out=0.0)
        (call,) = server.calls
    assert (call.path, call.body) == (
        "/v1/embeddings",
        {"model": "m", "input": ["a cat", "the cat sat", "dogs"], "encoding_format": "float"},
    )
    query, *others = (np.array(embedding_of(text)) for text in call.body["input"])
    norms = [np.linalg.norm(other) * np.linalg.norm(query) for other in others]
    expected = [float(query @ o / n) for o, n in zip(others, norms, strict=True)]
    assert list(answers_in(TASK, reply).values()) == pytest.approx(expected, abs=1e-6)
    # 20 characters are 5 tokens of the loopback's; at 2 dollars a million
    assert (reply.tokens_in, reply.tokens_out, reply.cost_usd) == (5, 0, 1e-5)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [0.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": ["x"]}],
        [{"index": 0, "embedding": "AACAPw=="}, {"index": 1, "embedding": "AACAPw=="}],
    ],
)
def test_embeddings_that_are_not_all_there_are_no_reply(rows: list[dict[str, Any]]) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps({"data": rows, "model": "m"}).encode()))
        with pytest.raises(AttemptFailed, match="no reply of this protocol"):
            ask(server, "a", "b")


def test_a_server_without_the_api_is_refused_by_name() -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(status=404))
        with pytest.raises(RaterError, match="openai-embeddings:m@"):
            ask(server, "a", "b")


def test_other_questions_are_refused_and_an_empty_text_is_not_sent() -> None:
    rater = create("m", RaterOptions())
    with pytest.raises(RaterError, match="--scorer embedding --rater openai-embeddings:m"):
        rater.request(item("a"), load_rubric("interpretability-1-5"))
    reply = asyncio.run(rater.send(rater.request(item("a", "\n"), TASK)))
    assert (reply.stop, reply.error) == ("error", "a text is empty")


def test_the_forecast_counts_bytes_of_the_texts_and_nothing_written() -> None:
    rater = create("text-embedding-3-small", RaterOptions())
    asked = item("x" * 31, "y" * 36)  # with `a cat` 72 bytes: 20 tokens at 3.6 bytes
    expected = forecast_calls(rater, TASK, 1000, [asked])
    assert (expected.tokens_in, expected.tokens_out) == (20_000, 0)
    assert expected.cost_usd == pytest.approx(20_000 * 0.02 / 1e6)


def test_the_doctor_embeds_once() -> None:
    with LoopbackServer() as server:
        rater = create("m", RaterOptions(base_url=server.openai_url))
        first, price = asyncio.run(rater.check())
        assert first.ok
        assert "embeds as m" in first.words
        assert "unknown" in price.words
        assert len(server.calls) == 1
