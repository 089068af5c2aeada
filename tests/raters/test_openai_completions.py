from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.loopback.server import Fault, LoopbackServer

from autointerp.engine.forecast import forecast_calls
from autointerp.errors import BadInput, RaterError
from autointerp.questions.forms import answers_in
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import AttemptFailed, RaterOptions, load_rater
from autointerp.raters.openai_completions import create, loss_of
from autointerp.records import Item, ItemContext, Reply

TASK = scorer("surprisal").TASK
TEXTS = (" zebras graze", " unrelated zebras")


def item(*texts: str, description: str = "zebras") -> Item:
    contexts = tuple(ItemContext((text,), None, None, "score", False) for text in texts)
    return Item("aa", TASK.id, contexts, description=description)


def ask(server: LoopbackServer, *texts: str, remembered: str | None = None) -> Reply:
    rater = create("m", RaterOptions(base_url=server.openai_url))

    async def run() -> Reply:
        assert await rater.open(remembered) == (None if remembered else "{}")
        try:
            return await rater.send(rater.request(item(*texts), TASK))
        finally:
            await rater.close()

    return asyncio.run(run())


def test_each_text_is_read_after_its_description_and_after_the_neutral_one() -> None:
    with LoopbackServer() as server:
        reply = ask(server, *TEXTS)
        call = server.calls[-1]  # the first was the probe
    assert call.path == "/v1/completions"
    asked = {k: v for k, v in call.body.items() if k != "prompt"}
    assert asked == {"model": "m", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    first, second, *_ = call.body["prompt"]
    assert first.endswith("Description: zebras\nSentences:\n zebras graze")
    assert second.endswith("Description: Various unrelated sentences.\nSentences:\n zebras graze")
    # A word that stood in the prompt costs 1 nat, another 2. " zebras graze": (1 + 2) / 2 against
    # (2 + 2) / 2; " unrelated zebras": (2 + 1) / 2 against (1 + 2) / 2.
    assert answers_in(TASK, reply) == {1: 0.5, 2: 0.0}
    assert reply.tokens_out == 4


def test_a_server_without_log_probabilities_of_prompts_is_refused_when_it_is_opened() -> None:
    with LoopbackServer() as server:
        server.logprobs = False  # as llama.cpp's server answers
        with pytest.raises(RaterError, match=r"openai-completions:m@.*vLLM.*likelihood:PATH"):
            ask(server, *TEXTS)
        assert len(server.calls) == 1
        server.logprobs = True
        server.rejects = ("echo",)
        with pytest.raises(RaterError, match="no log probabilities of a prompt"):
            ask(server, *TEXTS)
        server.rejects = ()
        server.faults.append(Fault(status=404))
        with pytest.raises(RaterError, match="no such model or address"):
            ask(server, *TEXTS)


def test_a_busy_server_may_be_opened_later() -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(status=503))
        with pytest.raises(AttemptFailed) as failed:
            ask(server, *TEXTS)
        assert failed.value.transient


def test_what_a_server_stops_giving_is_missing_and_no_loss_of_0() -> None:
    with LoopbackServer() as server:
        server.logprobs = False
        reply = ask(server, *TEXTS, remembered="{}")
    assert (reply.stop, reply.text) == ("error", "")
    assert TASK.read(reply).status == "failed"


# As vLLM 0.16.0 answered to `echo`, with `logprobs` and one token (llama.cpp, pull request 15189).
TOKENS = ["The", " step", " of", " boiling", " water", " is", ":", " ", "1"]
LOGPROBS = [None, -8.8188, -1.5526, -13.5599, -2.0115, -2.2331, -8.5370, -1.2871, -0.4106]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" water is: ", (2.0115 + 2.2331 + 8.5370 + 1.2871) / 4),
        (": ", (8.5370 + 1.2871) / 2),
        ("ing water is: ", (13.5599 + 2.0115 + 2.2331 + 8.5370 + 1.2871) / 5),  # within a token
    ],
)
def test_the_loss_on_a_text_is_that_of_the_tokens_that_spell_it(text: str, expected: float) -> None:
    assert loss_of(text, TOKENS, LOGPROBS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tokens", "logprobs"),
    [
        (None, None),
        (["1"], [-0.4]),  # of the generated token alone
        (TOKENS, LOGPROBS[1:]),
        (TOKENS, [None] * 9),
        (TOKENS, [True] * 9),
        (TOKENS, [float("-inf")] * 9),
        ([*TOKENS[:4], "�", *TOKENS[5:]], LOGPROBS),
        ([*TOKENS[:-1], 3], LOGPROBS),
    ],
)
def test_tokens_without_numbers_or_of_another_text_give_no_loss(tokens: Any, logprobs: Any) -> None:
    assert loss_of(" water is: ", tokens, logprobs) is None


@pytest.mark.parametrize("kind", ["openai-completions", "openai-embeddings"])
def test_it_cannot_be_asked_for_words(kind: str) -> None:
    with pytest.raises(BadInput, match="cannot be asked for words"):
        load_rater(f"detector:{kind}:m", RaterOptions())


def test_other_questions_batches_and_empty_texts_are_refused() -> None:
    rater = create("m", RaterOptions())
    with pytest.raises(RaterError, match="--scorer surprisal --rater openai-completions:m"):
        rater.request(item("a"), load_rubric("interpretability-1-5"))
    own = create("m", RaterOptions(base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(RaterError, match=r"--rater openai-completions:m@http://127\.0\.0\.1:9/v1$"):
        own.request(item("a"), load_rubric("interpretability-1-5"))
    with pytest.raises(RaterError, match="drop --batch"):
        asyncio.run(rater.submit_batch("b", []))
    reply = asyncio.run(rater.send(rater.request(item("a", ""), TASK)))
    assert (reply.stop, reply.error) == ("error", "a text is empty")


def test_the_forecast_counts_every_prompt_and_the_token_behind_each() -> None:
    rater = create("m", RaterOptions(base_url="http://127.0.0.1:1/v1", price_in=1.0, price_out=2.0))
    asked = item("x" * 20, "y" * 20)
    body = rater.request(asked, TASK).body
    size = 2 * (2 * len(body["head"]) + len(body["given"]) + len(body["without"]) + 40)
    expected = forecast_calls(rater, TASK, 10, [asked])
    assert (expected.tokens_in, expected.tokens_out) == (round(10 * size / 3.6), 40)
