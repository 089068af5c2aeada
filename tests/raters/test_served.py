from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
from typing import Any

import pytest
from support.loopback.server import Fault, LoopbackServer

from autointerp.errors import BadInput, RaterError
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import AttemptFailed, RaterOptions, ServedRater
from autointerp.raters import anthropic as anthropic_module
from autointerp.raters import openai as openai_module
from autointerp.raters._served import retry_after, seconds_until
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
        (Fault(raw=b"[]"), "server", True),
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


def test_a_rater_without_a_model_says_how_to_name_one() -> None:
    with pytest.raises(BadInput, match="openai:MODEL"):
        openai_module.create(None, RaterOptions())


def test_retry_after_is_read_in_all_its_forms() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": email.utils.format_datetime(soon)}) == pytest.approx(
        60, abs=3
    )
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


def test_reset_times_are_read_in_both_providers_forms() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    assert seconds_until("6m0s") == 360
    assert seconds_until("12ms") == pytest.approx(0.012)
    assert seconds_until("1h2m3.5s") == pytest.approx(3723.5)
    assert seconds_until(later.isoformat().replace("+00:00", "Z")) == pytest.approx(90, abs=3)
    assert seconds_until("soon") is None


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
        b'{"choices": [{"message": {"content": ["a"]}}]}',
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
