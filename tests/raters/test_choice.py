"""`--structured choice`: one token of reply, and the level with most probability there."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.loopback.server import Fault, LoopbackServer

from autointerp.engine.loop import read_rating
from autointerp.errors import BadInput, RaterError
from autointerp.questions.explain import EXPLAIN
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions, anthropic, detector, local, openai
from autointerp.records import Item, ItemContext, Reply

RUBRIC = load_rubric("interpretability-1-5")
CONTEXT = ItemContext(("a", " cat", " sat"), None, 1, "explain", False)
ITEM = Item("00000000000000aa", RUBRIC.id, (CONTEXT,))


def choosing(server: LoopbackServer) -> Any:
    return openai.create("m", RaterOptions(base_url=server.openai_url, structured="choice"))


def ask(server: LoopbackServer, top: list[tuple[str, float]] | None) -> tuple[Any, Reply]:
    """Return the rater and its reply where the server gives these alternatives."""
    token = top[0][0] if top else "4"
    listed = [{"token": text, "logprob": math.log(share)} for text, share in top or ()]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": token},
        "finish_reason": "length",
    }
    if top is not None:
        choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 9}}
    server.faults.append(Fault(raw=json.dumps(body).encode()))
    rater = choosing(server)

    async def run() -> Reply:
        assert await rater.open(None) is None
        try:
            return await rater.send(rater.request(ITEM, RUBRIC))
        finally:
            await rater.close()

    return rater, asyncio.run(run())


def test_the_score_is_the_level_with_most_probability_and_its_mean_stands_beside_it() -> None:
    with LoopbackServer() as server:
        # `The` is likelier than any level; " 4" and "4" are one level: .15 + .15 over .2
        top = [("The", 0.4), ("2", 0.2), (" 4", 0.15), ("4", 0.15), ("7", 0.1)]
        rater, reply = ask(server, top)
        (call,) = server.calls
    rating = read_rating(RUBRIC, rater, rater.request(ITEM, RUBRIC), reply)
    assert (rating.status, rating.score) == ("ok", 4)
    # (2·.2 + 4·.3) / .5; half of the probability went to no level of this rubric
    assert rating.expected_score == pytest.approx(3.2)
    assert rating.unassigned_mass == pytest.approx(0.5)
    assert call.body["max_tokens"] == 1
    assert call.body["logprobs"] is True
    assert {"levels", "response_format", "tools"}.isdisjoint(call.body)
    system = call.body["messages"][0]["content"]
    assert "Reply with the score alone, one of 1, 2, 3, 4, 5" in system
    assert "JSON object, in this order" not in system


def test_levels_are_listed_the_other_way_round_in_the_second_repeat() -> None:
    rater = openai.create("m", RaterOptions(structured="choice"))
    bodies = [rater.request(ITEM, RUBRIC, repeat).body for repeat in (0, 1)]
    assert "one of 5, 4, 3, 2, 1:" in bodies[1]["messages"][0]["content"]
    assert [body["levels"] for body in bodies] == [[1, 2, 3, 4, 5]] * 2


def test_a_token_that_is_no_level_is_no_score() -> None:
    with LoopbackServer() as server:
        _, reply = ask(server, [("The", 0.9), ("9", 0.1)])
    assert RUBRIC.read(reply).status == "unparsed"


def test_ratings_by_choice_have_a_name_and_keys_of_their_own(tmp_path: Path) -> None:
    plain, choice = (
        openai.create("m", RaterOptions(structured=how)) for how in ("json_schema", "choice")
    )
    assert (plain.name, choice.name) == ("openai:m", "openai:m+choice")
    assert plain.request(ITEM, RUBRIC).key != choice.request(ITEM, RUBRIC).key
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    rater = local.create(str(path), RaterOptions(structured="choice"))
    assert rater.name == "local:m+choice"
    body = rater.request(ITEM, RUBRIC).body
    assert (body["max_tokens"], body["top_logprobs"]) == (1, local.MANY_LOGPROBS)
    assert rater.extent(rater.request(ITEM, RUBRIC)).most_tokens_out == 1


def test_what_cannot_be_chosen_in_one_token_is_refused_in_one_line() -> None:
    rater = openai.create("m", RaterOptions(structured="choice"))
    for question in (EXPLAIN, load_rubric("interpretability-0-14")):
        with pytest.raises(RaterError, match="levels of one digit") as refused:
            rater.request(ITEM, question)
        assert "\n" not in str(refused.value)
    with pytest.raises(BadInput, match="does not reason"):
        openai.create("gpt-5-mini", RaterOptions(structured="choice"))
    with pytest.raises(BadInput, match="log probabilities"):
        anthropic.create("m", RaterOptions(structured="choice"))
    with pytest.raises(BadInput, match="decides by probabilities already"):
        detector.create("openai:m", RaterOptions(structured="choice"))
    with pytest.raises(RaterError, match="batches"):
        asyncio.run(rater.submit_batch("b", []))


def test_a_server_without_log_probabilities_is_refused_by_name() -> None:
    with (
        LoopbackServer() as server,
        pytest.raises(RaterError, match=r"openai:m@.*no log probabilities"),
    ):
        ask(server, None)
