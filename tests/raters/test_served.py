from __future__ import annotations

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.loopback.raw import raw_server
from support.loopback.server import Fault, LoopbackServer

from autointerp.errors import BadInput, RaterError
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import (
    AttemptFailed,
    RaterOptions,
    ServedRater,
    load_rater,
    openai_completions,
)
from autointerp.raters import anthropic as anthropic_module
from autointerp.raters import openai as openai_module
from autointerp.raters.openai import lines_of
from autointerp.records import Item, ItemContext, Reply

RUBRIC = load_rubric("interpretability-1-5")
CONTEXT = ItemContext(("a", " cat", " sat"), None, 1, "explain", False)
ITEM = Item("00000000000000aa", RUBRIC.id, (CONTEXT,))
BOTH = pytest.mark.parametrize("provider", ["openai", "anthropic"])
KEY = "sk-test-0123456789abcdef"


def make(provider: str, server: LoopbackServer, **options: Any) -> Any:
    module = {"openai": openai_module, "anthropic": anthropic_module}[provider]
    url = {"openai": server.openai_url, "anthropic": server.anthropic_url}[provider]
    return module.create("m", RaterOptions(**{"base_url": url, "timeout_s": 20.0, **options}))


def ask(rater: Any, times: int = 1, remembered: str | None = None) -> list[Reply]:
    async def run() -> list[Reply]:
        await rater.open(remembered)
        try:
            return [await rater.send(rater.request(ITEM, RUBRIC)) for _ in range(times)]
        finally:
            await rater.close()

    return asyncio.run(run())


@BOTH
def test_a_reply_carries_text_model_tokens_and_request_id(provider: str) -> None:
    with LoopbackServer() as server:
        server.headers = {"x-request-id": "r7", "request-id": "r7"}
        rater = make(provider, server)
        assert isinstance(rater, ServedRater)
        (reply,) = ask(rater)
    assert json.loads(reply.text)["score"] in RUBRIC.scores
    assert reply.stop == "end"
    assert reply.model is not None
    assert reply.model.startswith("m-2026")
    assert reply.tokens_in
    assert reply.tokens_out
    assert reply.cost_usd is None  # no price is known for a server of one's own
    assert reply.details["request_id"] == "r7"


@BOTH
def test_the_rubric_is_the_prefix_and_the_item_comes_after(provider: str) -> None:
    with LoopbackServer() as server:
        rater = make(provider, server)
        first = rater.request(ITEM, RUBRIC).body
        other = rater.request(Item("00000000000000bb", RUBRIC.id, (CONTEXT,)), RUBRIC).body
    if provider == "openai":
        assert first["messages"][0] == other["messages"][0]
        assert first["messages"][0]["role"] == "system"
    else:
        assert first["system"] == other["system"]
        assert first["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert first["messages"][-1] != other["messages"][-1]


@BOTH
def test_equal_requests_have_equal_keys_and_repeats_or_servers_others(provider: str) -> None:
    with LoopbackServer() as server:
        rater = make(provider, server)
        key = rater.request(ITEM, RUBRIC).key
        assert rater.request(ITEM, RUBRIC).key == key
        assert rater.request(ITEM, RUBRIC, repeat=1).key != key
        assert make(provider, server, timeout_s=9.0).request(ITEM, RUBRIC).key == key
        elsewhere = make(provider, server, base_url="http://127.0.0.1:1/v1")
        assert elsewhere.request(ITEM, RUBRIC).key != key
        assert len(key) == 64


@BOTH
def test_the_second_repeat_lists_the_levels_the_other_way_round(provider: str) -> None:
    with LoopbackServer() as server:
        rater = make(provider, server)
        texts = [json.dumps(rater.request(ITEM, RUBRIC, repeat).body) for repeat in (0, 1)]
    assert texts[0].index("1 = seemingly") < texts[0].index("5 = clearly")
    assert texts[1].index("1 = seemingly") > texts[1].index("5 = clearly")


@BOTH
@pytest.mark.parametrize(
    ("enforces", "mode"),
    [(("json_schema", "tool"), "json_schema"), (("tool",), "tool"), ((), "text")],
)
def test_the_probe_finds_what_the_server_enforces(
    provider: str, enforces: tuple[str, ...], mode: str
) -> None:
    with LoopbackServer() as server:
        server.enforces = enforces
        rater = make(provider, server)
        (reply,) = ask(rater)
        assert rater.structured == mode
        assert json.loads(reply.text)["score"] in RUBRIC.scores


@BOTH
def test_a_server_that_rejects_the_parameter_is_asked_in_another_way(provider: str) -> None:
    with LoopbackServer() as server:
        server.rejects = ("response_format", "output_config", "logprobs")
        rater = make(provider, server)
        ask(rater)
        assert rater.structured == "tool"


@BOTH
def test_what_is_remembered_of_a_server_is_not_asked_again(provider: str) -> None:
    with LoopbackServer() as server:
        rater = make(provider, server)

        async def opened() -> str | None:
            found: str | None = await rater.open(None)
            await rater.close()
            return found

        known = asyncio.run(opened())
        assert known is not None
        before = len(server.calls)
        again = make(provider, server)
        ask(again, remembered=known)
        assert len(server.calls) == before + 1
        assert again.structured == "json_schema"


def test_log_probabilities_give_the_alternatives_at_the_score() -> None:
    with LoopbackServer() as server:
        (reply,) = ask(make("openai", server))
        score = json.loads(reply.text)["score"]
    assert reply.details["score_token"]["top"][0][0] == str(score)


def test_a_server_that_rejects_log_probabilities_is_asked_without() -> None:
    with LoopbackServer() as server:
        server.rejects = ("logprobs",)
        rater = make("openai", server)
        (reply,) = ask(rater)
        assert rater.structured == "json_schema"
        assert "score_token" not in reply.details


@BOTH
def test_a_refusal_and_a_cut_reply_keep_their_text(provider: str) -> None:
    with LoopbackServer() as server:
        server.faults.extend(
            [Fault(text="I will not.", stop="refusal"), Fault(text='{"r', stop="length")]
        )
        refused, cut = ask(make(provider, server), times=2)
    assert (refused.stop, refused.text) == ("refusal", "I will not.")
    assert (cut.stop, cut.text) == ("length", '{"r')
    assert refused.tokens_in


@BOTH
@pytest.mark.parametrize(
    ("fault", "kind", "transient"),
    [
        (Fault(status=429), "busy", True),
        (Fault(status=529), "busy", True),
        (Fault(status=500), "server", True),
        (Fault(status=503, headers={"x-should-retry": "false"}), "server", False),
        (Fault(status=408), "timeout", True),
        (Fault(status=400), "rejected", False),
        (Fault(drop="before"), "connection", True),
        (Fault(drop="middle"), "connection", True),
        (Fault(raw=b'{"choices": [{"mess'), "server", True),
        (Fault(raw=b"[]"), "server", False),
        (Fault(raw=b"<html>please log in</html>"), "server", False),
        (Fault(raw=b"{}"), "server", False),
        (Fault(status=501), "rejected", False),
        (Fault(delay_s=3.0), "timeout", True),
    ],
)
def test_each_failure_has_its_kind(provider: str, fault: Fault, kind: str, transient: bool) -> None:
    with LoopbackServer() as server:
        server.faults.append(fault)
        rater = make(
            provider, server, structured="json_schema", timeout_s=0.5 if fault.delay_s else 20
        )
        with pytest.raises(AttemptFailed) as failed:
            ask(rater)
    assert (failed.value.kind, failed.value.transient) == (kind, transient)
    assert "\n" not in str(failed.value)


@BOTH
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_bad_key_or_address_ends_the_work_in_one_line(provider: str, status: int) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(status=status))
        with pytest.raises(RaterError) as failed:
            ask(make(provider, server, structured="json_schema"))
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("provider", "status", "error"),
    [
        ("openai", 429, {"code": "insufficient_quota", "message": "You exceeded your quota"}),
        ("anthropic", 400, {"message": "Your credit balance is too low to access the API"}),
    ],
)
def test_a_spent_quota_is_fatal(provider: str, status: int, error: dict[str, str]) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(status=status, body={"error": error}))
        with pytest.raises(RaterError, match="quota is spent"):
            ask(make(provider, server, structured="json_schema"))


@BOTH
def test_a_key_that_the_server_echoes_is_shown_to_nobody(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer() as server:
        monkeypatch.setenv(f"AUTOINTERP_KEY_127_0_0_1_{server.port}", KEY)
        echo = {"error": {"message": f"bad key {KEY}, really {KEY}"}}
        server.faults.extend(
            [Fault(text=f'{{"score": 1, "rationale": "{KEY}"}}'), Fault(status=400, body=echo)]
        )
        rater = make(provider, server, structured="json_schema")
        (reply,) = ask(rater)
        with pytest.raises(AttemptFailed) as failed:
            ask(rater)
        sent = json.dumps(server.calls[0].headers)
    assert KEY in sent  # it did travel to its own server
    assert KEY not in repr(reply)
    assert KEY not in str(failed.value)
    assert "[key]" in str(failed.value)


@pytest.mark.parametrize(
    "written",
    [
        "".join(f"\\u{ord(character):04x}" for character in KEY),
        KEY[:5] + f"\\u{ord(KEY[5]):04X}" + KEY[6:],
        "".join(f"%{ord(character):02x}" for character in KEY),
    ],
)
def test_a_key_that_comes_back_as_escapes_is_stored_in_no_form(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer() as server:
        monkeypatch.setenv(f"AUTOINTERP_KEY_127_0_0_1_{server.port}", KEY)
        server.faults.append(Fault(text=f'{{"score": 1, "rationale": "{written}"}}'))
        (reply,) = ask(make("openai", server, structured="json_schema"))
    read = RUBRIC.read(reply)
    assert read.score == 1
    assert read.rationale == "[key]"


@BOTH
def test_the_providers_key_never_travels_to_another_address(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_ADMIN_KEY",
    ):
        monkeypatch.setenv(name, KEY)
    with LoopbackServer() as server:
        ask(make(provider, server))
        assert all(KEY not in json.dumps(call.headers) for call in server.calls)


@BOTH
def test_headers_of_the_environment_do_not_travel_to_another_address(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{provider.upper()}_CUSTOM_HEADERS", f"x-secret: {KEY}")
    with LoopbackServer() as server:
        with pytest.raises(RaterError, match="CUSTOM_HEADERS"):
            ask(make(provider, server))
        assert not server.calls


@BOTH
def test_without_a_key_the_provider_is_not_called(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{provider.upper()}_API_KEY", raising=False)
    module = {"openai": openai_module, "anthropic": anthropic_module}[provider]
    rater = module.create("m", RaterOptions())
    with pytest.raises(RaterError, match=f"{provider.upper()}_API_KEY"):
        asyncio.run(rater.open(None))


@BOTH
def test_a_reply_of_a_megabyte_is_cut_and_said_to_be(provider: str) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(text="x" * 1_000_000))
        (reply,) = ask(make(provider, server, structured="json_schema"))
    assert reply.stop == "length"
    assert len(reply.text) == 200_000
    assert reply.details["characters"] == 1_000_000


def test_a_model_that_reasons_is_sent_no_sampling_parameters() -> None:
    thinking = openai_module.create("gpt-5-mini", RaterOptions()).request(ITEM, RUBRIC).body
    plain = openai_module.create("gpt-4.1", RaterOptions()).request(ITEM, RUBRIC).body
    assert not {"temperature", "seed", "logprobs"} & set(thinking)
    assert thinking["max_completion_tokens"] >= 4096
    assert {"temperature", "seed", "logprobs"} <= set(plain)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "openai-completions"])
def test_a_model_at_an_address_is_that_of_the_option(kind: str) -> None:
    at = load_rater(f"{kind}:a/m@http://127.0.0.1:9/v1", RaterOptions())
    given = load_rater(f"{kind}:a/m", RaterOptions(base_url="http://127.0.0.1:9/v1"))
    assert at.name == given.name == f"{kind}:a/m@127.0.0.1:9"
    assert at.url == given.url == "http://127.0.0.1:9/v1"
    assert at.model == given.model == "a/m"
    with pytest.raises(BadInput, match="name a model"):
        load_rater(f"{kind}:@http://127.0.0.1:9/v1", RaterOptions())


def test_a_rater_without_a_model_says_how_to_name_one() -> None:
    with pytest.raises(BadInput, match="openai:MODEL"):
        openai_module.create(None, RaterOptions())


def chat_body(**message: Any) -> bytes:
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {}, "model": "m"}
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": [5]}}]}',
        b'{"choices": [{"message": {"content": [{"type": "text"}]}}]}',
        b'{"choices": [{"message": {"content": true}}]}',
        b'{"choices": [{"message": {"tool_calls": [{}]}}]}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_body_of_another_shape_is_a_failed_attempt_and_no_crash(raw: bytes) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=raw))
        with pytest.raises(AttemptFailed) as failed:
            ask(make("openai", server, structured="json_schema"))
    assert failed.value.kind == "server"


def test_odd_counts_are_no_counts_and_odd_characters_are_written_out() -> None:
    content = chat_body(content="\ud800x").replace(
        b'"usage": {}', b'"usage": {"prompt_tokens": 1e99, "completion_tokens": true}'
    )
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=content))
        (reply,) = ask(make("openai", server, structured="json_schema"))
    assert reply.tokens_in is None
    assert reply.text == "\\ud800x"


# --------------------------------------------------------------------------- forms of a reply

GOOD = '{"rationale": "cats", "score": 4}'


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "text", "text": GOOD}]},
        {"content": [{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}]},
        {"content": [{"type": "thinking", "thinking": [{"text": "5?"}]}, {"text": GOOD}]},
        {"content": [{"type": "reasoning", "text": "5?"}, {"type": "output_text", "text": GOOD}]},
        {"content": {"type": "text", "text": GOOD}},
        {"content": [GOOD]},
        {"content": json.loads(GOOD)},
        {"content": GOOD, "refusal": None, "tool_calls": []},
        {"content": GOOD, "reasoning_content": '{"score": 1}'},
        {"content": None, "tool_calls": [{"function": {"arguments": GOOD}}]},
        {"content": "", "tool_calls": [{"function": {"arguments": json.loads(GOOD)}}]},
    ],
)
def test_the_answer_is_found_in_whatever_parts_a_message_has(message: dict[str, Any]) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=chat_body(**message)))
        (reply,) = ask(make("openai", server, structured="text"))
    assert RUBRIC.read(reply).score == 4


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "thinking", "thinking": "5?"}, {"type": "text", "text": GOOD}],
        [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": GOOD}],
        [{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}],
        [{"type": "tool_use", "input": json.loads(GOOD)}],
        GOOD,
    ],
)
def test_the_answer_is_found_in_whatever_blocks_anthropic_sends(content: Any) -> None:
    body = {"content": content, "stop_reason": "end_turn", "model": "m", "usage": None}
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        (reply,) = ask(make("anthropic", server, structured="text"))
    assert RUBRIC.read(reply).score == 4


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "refusal", "refusal": "I will not."}]},
        {"content": None, "refusal": "I will not."},
    ],
)
def test_a_refusal_among_the_parts_is_a_refusal(message: dict[str, Any]) -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=chat_body(**message)))
        (reply,) = ask(make("openai", server, structured="text"))
    assert (reply.stop, reply.text) == ("refusal", "I will not.")


@pytest.mark.parametrize("usage", [None, [], 5, {"prompt_tokens": "x"}])
def test_a_usage_of_another_form_costs_the_count_and_not_the_reply(usage: Any) -> None:
    body = json.loads(chat_body(content=GOOD)) | {"usage": usage}
    body["choices"][0]["logprobs"] = {"content": [{"token": "x", "top_logprobs": [None]}]}
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        (reply,) = ask(make("openai", server, structured="text"))
    assert RUBRIC.read(reply).score == 4
    assert reply.tokens_in is None


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        # xAI and Gemini: thoughts are in the total alone
        ({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 905}, (100, 805)),
        ({"prompt_tokens": 100, "total_tokens": 120}, (100, 20)),
        ({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 100}, (100, 5)),
        ({"prompt_tokens": 100}, (None, None)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (None, None)),
    ],
)
def test_all_tokens_of_a_total_count_and_what_is_not_counted_is_not_known(
    usage: dict[str, int], tokens: tuple[int | None, int | None]
) -> None:
    body = json.loads(chat_body(content=GOOD)) | {"usage": usage}
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        (reply,) = ask(make("openai", server, structured="text"))
    assert (reply.tokens_in, reply.tokens_out) == tokens


@pytest.mark.parametrize("usage", [{"input_tokens": 9}, {"input_tokens": 0, "output_tokens": 0}])
def test_what_a_server_of_anthropics_protocol_does_not_count_is_not_known(
    usage: dict[str, int],
) -> None:
    body = {"content": GOOD, "stop_reason": "end_turn", "model": "m", "usage": usage}
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        (reply,) = ask(make("anthropic", server, structured="text"))
    assert (reply.tokens_in, reply.tokens_out) == (None, None)


def test_a_body_that_breaks_off_is_told_in_words_without_a_status_of_ours() -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(drop="middle"))
        with pytest.raises(AttemptFailed, match=r"the connection to .* failed") as failed:
            ask(make("openai", server, structured="text"))
    assert "400" not in str(failed.value)


@BOTH
def test_an_error_with_status_200_keeps_its_words_and_its_code_decides(provider: str) -> None:
    passing = {"error": {"code": 502, "message": "Provider returned error"}}
    lasting = {"error": {"code": 400, "message": "no such form"}}
    with LoopbackServer() as server:
        for body, transient in ((passing, True), (lasting, False)):
            server.faults.append(Fault(raw=json.dumps(body).encode()))
            with pytest.raises(AttemptFailed, match=body["error"]["message"]) as failed:
                ask(make(provider, server, structured="json_schema"))
            assert failed.value.transient is transient
        server.faults.append(Fault(raw=b'{"error": {"code": 401, "message": "bad key"}}'))
        with pytest.raises(RaterError, match="bad key"):
            ask(make(provider, server, structured="json_schema"))


def test_an_object_that_is_itself_an_error_is_an_error() -> None:
    body = {"object": "error", "message": "engine died", "type": "InternalServerError", "code": 500}
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        with pytest.raises(AttemptFailed, match="engine died") as failed:
            ask(make("openai", server, structured="json_schema"))
    assert failed.value.transient


def test_an_error_in_the_choice_is_an_error() -> None:
    body = json.loads(chat_body(content=""))
    body["choices"][0] |= {"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        with pytest.raises(AttemptFailed, match="upstream") as failed:
            ask(make("openai", server, structured="json_schema"))
    assert failed.value.transient


# --------------------------------------------------------------------------------- refusals


@BOTH
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "content_filter", "message": "filtered"}),
        (403, {"code": 403, "message": "Input flagged by moderation"}),
        (200, {"code": "content_filter", "message": "filtered"}),
    ],
)
def test_a_filter_refuses_one_item_and_its_words_are_kept(
    provider: str, status: int, error: dict[str, Any]
) -> None:
    raw = json.dumps({"error": error}).encode() if status == 200 else None
    with LoopbackServer() as server:
        server.faults.append(Fault(status=status, body={"error": error}, raw=raw))
        (reply,) = ask(make(provider, server, structured="json_schema"))
    assert reply.stop == "refusal"
    assert error["message"] in reply.text
    assert RUBRIC.read(reply).status == "refused"


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "PROHIBITED_CONTENT"])
def test_a_filters_reason_to_stop_is_a_refusal(reason: str) -> None:
    body = json.loads(chat_body(content=None))
    body["choices"][0]["finish_reason"] = reason
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=json.dumps(body).encode()))
        (reply,) = ask(make("openai", server, structured="text"))
    assert reply.stop == "refusal"


def test_a_blocked_prompt_without_choices_is_a_refusal() -> None:
    with LoopbackServer() as server:
        server.faults.append(Fault(raw=b'{"promptFeedback": {"blockReason": "SAFETY"}}'))
        (reply,) = ask(make("openai", server, structured="text"))
    assert reply.stop == "refusal"


# ------------------------------------------------------------------------------------- probe


@BOTH
def test_a_server_that_breaks_on_a_form_is_asked_in_another_way(provider: str) -> None:
    with LoopbackServer() as server:
        server.rejects = ("response_format", "output_config", "logprobs")
        server.rejects_with = 500
        rater = make(provider, server)
        ask(rater)
        assert rater.structured == "tool"


@BOTH
def test_a_server_that_breaks_on_everything_is_not_taken_for_one_of_plain_text(
    provider: str,
) -> None:
    with LoopbackServer() as server:
        server.rejects = ("messages",)
        server.rejects_with = 500
        with pytest.raises(AttemptFailed) as failed:
            ask(make(provider, server))
    assert failed.value.transient


# ------------------------------------------------------------------ servers that are none

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def fails(provider: str, url: str, **options: Any) -> AttemptFailed | RaterError:
    """Return what a call of this server raises: one line, and never anything else."""
    module = {"openai": openai_module, "anthropic": anthropic_module}[provider]
    chosen = {"base_url": url, "timeout_s": 20.0, "structured": "json_schema", **options}
    with pytest.raises((AttemptFailed, RaterError)) as failed:
        ask(module.create("m", RaterOptions(**chosen)))
    assert "\n" not in str(failed.value)
    return failed.value


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.org ESMTP\r\n",
        b"\x00\x01\x02\x03" * 20,
        b"",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nab",
        HEAD + b'content-length: 999\r\n\r\n{"a":',
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd",
        HEAD + b"content-encoding: br\r\ncontent-length: 4\r\n\r\nabcd",
        HEAD + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        HEAD.replace(b"json", b"json; charset=rot13") + b"content-length: 4\r\n\r\nabcd",
        HEAD + b"content-length: 4\r\n\r\n\xff\xfe\x80\x81",
    ],
)
def test_a_server_of_another_protocol_is_a_failure_in_one_line(
    provider: str, answer: bytes
) -> None:
    with raw_server(answer) as place:
        fails(provider, f"http://{place}/v1")


@BOTH
def test_a_server_without_tls_is_said_at_once(provider: str) -> None:
    with raw_server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as place:
        failed = fails(provider, f"https://{place}/v1")
    assert isinstance(failed, RaterError)
    assert "check http or https" in str(failed)


@BOTH
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_for_the_key_would_go_with_it(
    provider: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer() as elsewhere:
        told = f"HTTP/1.1 {status} Moved\r\nlocation: {elsewhere.openai_url}\r\n"
        with raw_server(told.encode() + b"content-length: 0\r\n\r\n") as place:
            variable = "AUTOINTERP_KEY_" + place.replace(".", "_").replace(":", "_")
            monkeypatch.setenv(variable, KEY)
            failed = fails(provider, f"http://{place}/v1")
        assert isinstance(failed, RaterError)
        assert elsewhere.openai_url in str(failed)
        assert not elsewhere.calls


# --------------------------------------------------------------------------------- bounds


def grown_mb(before_kb: int) -> float:
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024


@BOTH
def test_a_reply_without_end_is_refused_while_it_comes(provider: str) -> None:
    def endless() -> Any:
        for _ in range(2_000):  # 125 MB, if it were read
            yield b"x" * 2**16

    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw_server(HEAD + b"\r\n", repeats=endless()) as place:
        failed = fails(provider, f"http://{place}/v1")
    assert "longer than" in str(failed)
    assert isinstance(failed, AttemptFailed)
    assert not failed.transient
    assert grown_mb(before_kb) < 60


@BOTH
@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_a_small_reply_that_unpacks_to_gigabytes_is_refused(provider: str, packing: str) -> None:
    # 128 MB of spaces, in a seventh of a megabyte.
    packer = zlib.compressobj(6, wbits=31 if packing == "gzip" else 15)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(128)) + packer.flush()
    assert len(bomb) < 2**20
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = f"content-encoding: {packing}\r\ncontent-length: {len(bomb)}\r\n\r\n".encode()
    with raw_server(HEAD + head, bomb) as place:
        failed = fails(provider, f"http://{place}/v1")
    assert "longer than" in str(failed)
    assert grown_mb(before_kb) < 60


@pytest.mark.parametrize("packing", ["gzip", "deflate", "identity"])
def test_a_packed_reply_is_unpacked(packing: str) -> None:
    plain = chat_body(content=GOOD)
    body = {"gzip": gzip.compress(plain), "deflate": zlib.compress(plain), "identity": plain}[
        packing
    ]
    head = f"content-encoding: {packing}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with raw_server(HEAD + head + body) as place:
        rater = openai_module.create(
            "m", RaterOptions(base_url=f"http://{place}/v1", structured="text")
        )
        (reply,) = ask(rater)
    assert RUBRIC.read(reply).score == 4


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan"), 1e9])
def test_a_time_out_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(BadInput, match=r"--timeout|timeout_s"):
        openai_module.create("m", RaterOptions(timeout_s=timeout_s))


@pytest.mark.parametrize("price", [-1, float("inf"), float("nan")])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(BadInput, match="price_in"):
        openai_module.create("m", RaterOptions(price_in=price, price_out=1.0))


def test_a_line_separator_inside_a_batchs_results_ends_no_line():
    # JSON may hold U+2028 and U+0085 as they are; cut there, a paid reply would be no row.
    row = '{"custom_id": "a", "text": "one\u2028two\x85three"}'
    content = f"{row}\n{row}".encode()

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for begin in range(0, len(content), size):
            yield content[begin : begin + size]

    async def lines(size: int) -> list[str]:
        return [line async for line in lines_of(pieces(size))]

    for size in (1, 7, len(content)):
        assert asyncio.run(lines(size)) == [row, row]


def test_an_infinite_number_where_a_reply_has_an_index_is_no_reply_of_the_protocol():
    # json.loads reads Infinity, and int() of it is an OverflowError.
    rater = openai_completions.create("m", RaterOptions(base_url="http://127.0.0.1:9/v1"))
    body = '{"choices": [{"index": Infinity, "text": "a"}]}'
    with pytest.raises(AttemptFailed, match="no reply of this protocol"):
        rater._read_body({}, body, 0.1)
