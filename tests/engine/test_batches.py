from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.loopback.client import RUBRIC, item_names, items
from support.loopback.server import LoopbackServer

from autointerp.engine import batches as batching
from autointerp.engine.batches import (
    BatchCounts,
    collect_batches,
    forget_batches,
    submit_batches,
)
from autointerp.engine.budget import Budget
from autointerp.engine.retry import RetryPolicy
from autointerp.engine.work import pending_work
from autointerp.errors import BadInput
from autointerp.pipeline.rate import CollectResult
from autointerp.raters import AttemptFailed, RaterOptions, load_rater
from autointerp.records import Item
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run

BOTH = pytest.mark.parametrize("provider", ["openai", "anthropic"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    def load(run: Run, ids: Sequence[str], rubric: Any) -> list[Item]:
        return items(ids)

    monkeypatch.setattr(batching, "load_items", load)
    with open_run("r", RunSettings(), folder=tmp_path) as opened:
        yield opened


def options(provider: str, server: LoopbackServer, **others: Any) -> RaterOptions:
    url = server.openai_url if provider == "openai" else server.anthropic_url
    return RaterOptions(**{"base_url": url, "structured": "json_schema", **others})


def submit(
    run: Run, provider: str, server: LoopbackServer, count: int = 5, **others: Any
) -> BatchCounts:
    budget = others.pop("budget_usd", None)
    chosen = options(provider, server, **others)
    rater = load_rater(f"{provider}:m", chosen)
    return submit_batches(
        run,
        item_names(count),
        RUBRIC,
        rater,
        f"{provider}:m",
        RUBRIC.id,
        chosen,
        budget_usd=budget,
    )


def statuses(run: Run) -> dict[str, str]:
    return dict(run.rows("SELECT item_id, status FROM current_rating"))


def test_an_item_that_shows_nothing_is_in_no_batch(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(run: Run, ids: Sequence[str], rubric: Any) -> list[Item]:
        first, *others = items(ids)
        return [dataclasses.replace(first, contexts=()), *others]

    monkeypatch.setattr(batching, "load_items", load)
    assert submit(run, "openai", server).calls == 4
    assert statuses(run) == {item_names(1)[0]: "failed"}


@BOTH
def test_a_batch_is_handed_over_and_collected(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    server.batches_end = False
    counts = submit(run, provider, server, price_in=2.0, price_out=2.0)
    assert (counts.calls, counts.batches) == (5, 1)
    waiting = collect_batches(run, load_rater)
    assert len(waiting.open) == 1
    assert not statuses(run)
    server.batches_end = True
    collected = collect_batches(run, load_rater)
    assert collected.statuses == {"ok": 5}
    assert collected.spent_usd == pytest.approx(run.spent_usd()) != 0
    assert not run.open_batches()
    assert collect_batches(run, load_rater) == BatchCounts()
    tiers = run.rows("SELECT DISTINCT details ->> 'tier', details ->> 'anchors' FROM call")
    assert tiers == [("batch", "[1,2,3,4,5]")]


@BOTH
def test_what_is_in_a_batch_is_not_asked_again(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    server.batches_end = False
    submit(run, provider, server)
    rater = load_rater(f"{provider}:m", options(provider, server))
    assert pending_work(run, item_names(7), rater, 1) == [(i, 0) for i in item_names(7)[5:]]
    assert submit(run, provider, server).calls == 0
    assert len(server.batches) == 1


@BOTH
def test_a_batch_of_which_nothing_could_be_read_is_handed_over_again_in_other_words_alone(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    server.change_results = lambda content: content.replace(b"score", b"grade")
    submit(run, provider, server)
    assert collect_batches(run, load_rater).statuses == {"unparsed": 5}
    assert submit(run, provider, server).calls == 0
    assert set(statuses(run).values()) == {"unparsed"}
    assert submit(run, provider, server, max_output_tokens=2000).calls == 5


@BOTH
def test_rows_that_failed_expired_or_are_missing_are_asked_again_later(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    outcomes = iter(["succeeded", "errored", "expired", "missing", "succeeded"])
    told: dict[str, str] = {}
    server.batch_row = lambda key, body: told.setdefault(key, next(outcomes, "succeeded"))
    submit(run, provider, server)
    counts = collect_batches(run, load_rater)
    assert counts.statuses == {"ok": 2, "failed": 3}
    assert sum(counts.reasons.values()) == 3
    rater = load_rater(f"{provider}:m", options(provider, server))
    assert len(pending_work(run, item_names(5), rater, 1)) == 3
    told.clear()
    submit(run, provider, server)
    assert collect_batches(run, load_rater).statuses == {"ok": 3}
    assert set(statuses(run).values()) == {"ok"}
    assert run.rows("SELECT max(attempt) FROM call") == [(1,)]


def submit_and_crash(
    run: Run, provider: str, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hand over a batch that arrives, though nothing notes it: the process ends before."""
    kept = Run.add_batch

    def crash(self: Run, batch: dict[str, Any], calls: Any = ()) -> None:
        if batch["state"] == "submitted":
            raise KeyboardInterrupt  # the process ends just here
        kept(self, batch, calls)

    monkeypatch.setattr(Run, "add_batch", crash)
    with pytest.raises(KeyboardInterrupt):
        submit(run, provider, server)
    monkeypatch.setattr(Run, "add_batch", kept)


@BOTH
def test_a_batch_that_arrived_before_a_crash_is_found_again(
    run: Run, server: LoopbackServer, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_and_crash(run, provider, server, monkeypatch)
    assert [batch["state"] for batch in run.open_batches()] == ["intended"]
    assert submit(run, provider, server).calls == 0
    assert len(server.batches) == 1
    assert collect_batches(run, load_rater).statuses == {"ok": 5}


@BOTH
def test_a_batch_that_never_arrived_is_given_up_and_sent_anew(
    run: Run, server: LoopbackServer, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rater_class = type(load_rater(f"{provider}:m", options(provider, server)))
    real = rater_class.submit_batch

    async def crash(self: Any, label: str, requests: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(rater_class, "submit_batch", crash)
    with pytest.raises(KeyboardInterrupt):
        submit(run, provider, server)
    monkeypatch.setattr(rater_class, "submit_batch", real)
    assert submit(run, provider, server).calls == 5
    assert len(server.batches) == 1


def test_anothers_batch_of_the_same_size_is_not_taken_for_ours(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Anthropic keeps no label, so a batch of as many calls looks like ours until it is read.
    with open_run("other", RunSettings(), folder=run.path.parent) as other:
        submit(other, "anthropic", server, count=5, max_output_tokens=99)
    rater_class = type(load_rater("anthropic:m", options("anthropic", server)))
    real = rater_class.submit_batch

    async def crash(self: Any, label: str, requests: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(rater_class, "submit_batch", crash)
    with pytest.raises(KeyboardInterrupt):
        submit(run, "anthropic", server)
    monkeypatch.setattr(rater_class, "submit_batch", real)
    assert not collect_batches(run, load_rater).statuses
    assert not statuses(run)
    assert not run.open_batches()
    assert submit(run, "anthropic", server).calls == 5


@pytest.mark.parametrize("looked_at_first", ["intended", "submitted"])
def test_ours_is_found_behind_anothers_batch_of_the_same_size(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, looked_at_first: str
) -> None:
    submit_and_crash(run, "anthropic", server, monkeypatch)
    with open_run("other", RunSettings(), folder=run.path.parent) as other:
        submit(other, "anthropic", server, max_output_tokens=99)  # newer, so it is listed first
    if looked_at_first == "submitted":
        assert submit(run, "anthropic", server).calls == 0
    assert collect_batches(run, load_rater).statuses == {"ok": 5}
    assert submit(run, "anthropic", server).calls == 0
    assert len(server.batches) == 2


def test_a_batch_that_cannot_be_collected_holds_up_no_other(
    run: Run, server: LoopbackServer
) -> None:
    submit(run, "anthropic", server)
    server.batches.clear()
    submit(run, "openai", server)
    counts = collect_batches(run, load_rater)
    assert counts.statuses == {"ok": 5}
    assert "no such batch" in str(counts.errors[0])
    assert [batch["rater"] for batch in run.open_batches()] == [
        load_rater("anthropic:m", options("anthropic", server)).name
    ]


def test_results_that_a_provider_keeps_no_longer_fail_and_are_asked_again(
    run: Run, server: LoopbackServer
) -> None:
    submit(run, "openai", server)
    server.batch_fields = {"output_file_id": "gone"}
    counts = collect_batches(run, load_rater)
    assert counts.statuses == {"failed": 5}
    assert "without a reply: the provider has deleted the results" in counts.failures[0]
    assert not run.open_batches()
    assert submit(run, "openai", server).calls == 5


def collect_and_crash_at_the_second_store(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Run.add_ratings
    calls: list[int] = []

    def crash(self: Run, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        kept(self, *arguments)

    monkeypatch.setattr(Run, "add_ratings", crash)
    with pytest.raises(KeyboardInterrupt):
        collect_batches(run, load_rater)
    monkeypatch.setattr(Run, "add_ratings", kept)


def test_a_broken_off_collection_is_not_stored_twice(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "ROWS_AT_ONCE", 2)
    submit(run, "openai", server)
    collect_and_crash_at_the_second_store(run, monkeypatch)
    assert collect_batches(run, load_rater).statuses == {"ok": 3}
    assert run.rows("SELECT count(*), max(attempt) FROM call") == [(5, 0)]


def test_the_budget_limits_what_is_handed_over(run: Run, server: LoopbackServer) -> None:
    prices = {"price_in": 1000.0, "price_out": 1000.0, "max_output_tokens": 50}
    all_of_it = submit(run, "openai", server, count=20, budget_usd=5.0, **prices)
    assert all_of_it.stopped == "budget"
    assert 0 < all_of_it.calls < 20
    most = sum(batch["most_usd"] for batch in run.open_batches())
    assert most <= 5.0
    # What is on its way counts, so a second command hands over nothing that could pass it.
    assert submit(run, "openai", server, count=20, budget_usd=5.0, **prices).calls == 0


def test_calls_that_come_to_the_budget_exactly_are_handed_over(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In floats 0.1 + 0.1 + 0.1 is over 0.3, by 6e-17.
    monkeypatch.setattr(Budget, "most_usd", lambda self, extent, batch=False: 0.1)
    prices = {"price_in": 1.0, "price_out": 1.0}
    assert submit(run, "openai", server, count=4, budget_usd=0.3, **prices).calls == 3


def test_a_batch_is_charged_at_the_batch_price() -> None:
    price = load_rater("openai:gpt-4o-mini", RaterOptions()).price  # type: ignore[attr-defined]
    assert price.cost_usd(1_000_000, 0) == pytest.approx(0.15)
    assert price.cost_usd(1_000_000, 0, batch=True) == pytest.approx(0.075)


def test_the_keys_of_a_batch_are_the_keys_of_its_calls(run: Run, server: LoopbackServer) -> None:
    submit(run, "anthropic", server, count=2)
    ((_, batch),) = server.batches.items()
    keys = [custom_id for custom_id, _ in batch["rows"]]
    assert {len(key) for key in keys} == {64}
    assert set(keys) == {key for (key,) in run.rows("SELECT call_key FROM batch_call")}
    assert "messages" in json.dumps(batch["rows"][0][1])


def test_a_rater_without_a_batch_api_says_so(run: Run) -> None:
    rater = load_rater("scripted:3", RaterOptions())
    with pytest.raises(BadInput, match="no batch API"):
        submit_batches(run, item_names(2), RUBRIC, rater, "scripted:3", RUBRIC.id, RaterOptions())


WHOLE = {
    "status": "failed",
    "output_file_id": None,
    "error_file_id": None,
    "errors": {
        "object": "list",
        "data": [
            {
                "code": "token_limit_exceeded",
                "message": "Enqueued token limit reached",
                "param": None,
                "line": None,
            },
            {"code": "invalid_json_line", "message": "no JSON", "param": None, "line": 3},
        ],
    },
}


@pytest.mark.parametrize(
    ("provider", "fields", "words"),
    [
        ("openai", WHOLE, "the batch failed: token_limit_exceeded: Enqueued token limit reached"),
        ("openai", WHOLE, "invalid_json_line: no JSON (line 3)"),
        ("openai", {**WHOLE, "errors": None, "status": "cancelled"}, "the batch cancelled"),
        ("openai", {**WHOLE, "errors": {"data": []}, "status": "expired"}, "the batch expired"),
        ("anthropic", {"results_url": None}, "without results"),
        (
            "anthropic",
            {"results_url": None, "archived_at": "2026-01-02T00:00:00Z"},
            "archived on 2026-01-02",
        ),
        (
            "anthropic",
            {"results_url": None, "cancel_initiated_at": "2026-01-02T00:00:00Z"},
            "was cancelled",
        ),
    ],
)
def test_a_batch_that_fails_as_a_whole_gives_its_reason(
    run: Run, server: LoopbackServer, provider: str, fields: dict[str, Any], words: str
) -> None:
    server.batch_fields = fields
    submit(run, provider, server)
    counts = collect_batches(run, load_rater)
    assert counts.statuses == {"failed": 5}
    ((rationale,),) = run.rows("SELECT DISTINCT rationale FROM current_rating")
    assert words in rationale
    assert words in counts.failures[0]
    assert str(CollectResult("r", counts)).count(words) == 1
    assert not run.open_batches()


@BOTH
def test_why_most_calls_of_a_batch_failed_or_could_not_be_read_is_said(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    server.batch_row = lambda key, body: "expired"
    submit(run, provider, server)
    counts = collect_batches(run, load_rater)
    assert counts.failures == []  # the batch itself came back whole
    reason = counts.most_common_reason("failed")
    assert "expired" in reason
    assert f"most failed with: {reason}" in str(CollectResult("r", counts))
    counts.reasons["unparsed", "no JSON"] = 1
    assert "most replies that are unparsed: no JSON" in str(CollectResult("r", counts))


@BOTH
def test_a_broken_line_of_a_batchs_results_costs_its_call_alone(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    """Its call fails with what was read, may be billed, and can be asked again."""
    submit(run, provider, server, price_in=2.0, price_out=2.0)
    share_usd = run.committed_usd() / 5
    cut: list[str] = []

    def broken(content: bytes) -> bytes:
        first, *others = content.splitlines()
        cut.append(first[:-9].decode())
        return b"\n".join([first[:-9], b"[]", *others, b"", b"{}"])

    server.change_results = broken
    assert collect_batches(run, load_rater).statuses == {"ok": 4, "failed": 1}
    assert not run.open_batches()
    ((reply, error),) = run.rows("SELECT reply, error FROM call WHERE stop = 'error'")
    assert reply == cut[-1]
    assert error.startswith(f"the line of the batch's results cannot be read: {reply[:50]}")
    charged = run.rows("SELECT count(*), sum(usd) FROM charge")
    assert charged == [(1, pytest.approx(share_usd))]
    server.change_results = lambda content: content
    assert submit(run, provider, server).calls == 1
    assert collect_batches(run, load_rater).statuses == {"ok": 1}


@BOTH
def test_a_line_that_names_no_call_is_the_reason_of_the_call_that_lacks_one(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    submit(run, provider, server, count=2)
    server.change_results = lambda content: b"<html>\n" + content.splitlines()[1]
    counts = collect_batches(run, load_rater)
    assert counts.statuses == {"ok": 1, "failed": 1}
    assert (
        "1 call without a reply: the line of the batch's results cannot be read: <html>"
        in (counts.failures[0])
    )


@BOTH
def test_a_result_of_another_form_fails_with_what_was_read(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    submit(run, provider, server, count=2)
    odd = b'"result": {"type": "succeeded", "message": []}, "response": {"status_code": 200}}'

    def changed(content: bytes) -> bytes:
        first, second = content.splitlines()
        key = json.loads(first)["custom_id"].encode()
        return b'{"custom_id": "' + key + b'", ' + odd + b"\n" + second

    server.change_results = changed
    assert collect_batches(run, load_rater).statuses == {"ok": 1, "failed": 1}
    ((error, details),) = run.rows("SELECT error, details FROM call WHERE stop = 'error'")
    assert "no reply of this protocol" in error
    assert json.loads(details)["perhaps_billed"]


def test_a_batch_that_its_provider_lost_is_given_up_charged_and_asked_again(
    run: Run, server: LoopbackServer
) -> None:
    submit(run, "anthropic", server, price_in=2.0, price_out=2.0)
    (name,) = server.batches
    most_usd = run.committed_usd()
    lost = server.batches.pop(name)
    (error,) = collect_batches(run, load_rater).errors
    assert str(error).startswith(f"batch {name}: anthropic:m@")
    assert f"`autointerp rate --resume --run r --forget {name}` gives it up" in str(error)
    with pytest.raises(BadInput, match=f"--forget x: .* it has {name}"):
        forget_batches(run, [name, "x"])
    assert len(run.open_batches()) == 1  # a name that is none gives up no other
    (gone,) = forget_batches(run, [name, name])
    assert (gone.calls, gone.usd) == (5, pytest.approx(most_usd))
    assert not run.open_batches()
    assert run.spent_usd() == pytest.approx(most_usd)
    with pytest.raises(BadInput, match="none is open"):
        forget_batches(run, [name])
    assert submit(run, "anthropic", server).calls == 5
    server.batches[name] = lost  # as large as the new one, and never taken for it
    assert collect_batches(run, load_rater).statuses == {"ok": 5}
    assert run.rows("SELECT count(*) FROM charge") == [(5,)]


def test_calls_of_a_batch_that_were_collected_before_it_was_lost_are_not_charged_again(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "ROWS_AT_ONCE", 2)
    submit(run, "anthropic", server, price_in=2.0, price_out=2.0)
    (name,) = server.batches
    most_usd = run.committed_usd()
    collect_and_crash_at_the_second_store(run, monkeypatch)
    collected_usd = run.spent_usd()
    assert forget_batches(run, [name])[0].calls == 3
    assert run.spent_usd() == pytest.approx(collected_usd + most_usd * 3 / 5)
    assert submit(run, "anthropic", server).calls == 3


@pytest.mark.parametrize(
    ("fields", "charged"),
    [
        ({"status": "expired", "output_file_id": None}, 0),
        ({"status": "expired", "output_file_id": "gone"}, 5),  # some may have been made
        ({"status": "cancelled", "output_file_id": "broken"}, 5),
        ({"output_file_id": "gone"}, 5),
    ],
)
def test_calls_without_a_reply_are_charged_unless_the_provider_never_made_them(
    run: Run, server: LoopbackServer, fields: dict[str, Any], charged: int
) -> None:
    submit(run, "openai", server, price_in=2.0, price_out=2.0)
    most_usd = run.committed_usd()
    server.files["broken"] = b"a line that was cut"
    server.batch_fields = fields
    assert collect_batches(run, load_rater).statuses == {"failed": 5}
    assert run.spent_usd() == pytest.approx(most_usd * charged / 5)


@BOTH
def test_replies_of_a_batch_that_count_no_tokens_are_charged_at_their_most(
    run: Run, server: LoopbackServer, provider: str
) -> None:
    server.change_results = lambda content: content.replace(b'"usage"', b'"used"')
    submit(run, provider, server, price_in=2.0, price_out=2.0)
    most_usd = run.committed_usd()
    collected = collect_batches(run, load_rater)
    assert collected.statuses == {"ok": 5}
    assert run.spent_usd() == pytest.approx(most_usd)
    assert (collected.spent_usd, collected.charged_usd) == (0, pytest.approx(most_usd))
    assert collected.spent_text.startswith("at most $0.0")


def test_a_filter_refuses_one_call_of_a_batch(run: Run, server: LoopbackServer) -> None:
    submit(run, "openai", server, count=1, price_in=2.0, price_out=2.0)
    ((key,),) = run.rows("SELECT call_key FROM batch_call")
    no = {"error": {"code": "content_filter", "message": "filtered"}}
    row = {"custom_id": key, "error": None, "response": {"status_code": 400, "body": no}}
    server.files["refused"] = json.dumps(row).encode()
    server.batch_fields = {"output_file_id": "refused"}
    assert collect_batches(run, load_rater).statuses == {"refused": 1}
    assert run.spent_usd() == 0.0


def test_calls_of_one_key_are_in_a_batch_once(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rater = load_rater("openai:m", options("openai", server))
    same = rater.request(items(item_names(1))[0], RUBRIC).key
    made = rater.request

    def request(item: Item, question: Any, repeat: int = 0) -> Any:
        return dataclasses.replace(made(item, question, repeat), key=same)

    monkeypatch.setattr(rater, "request", request)

    def hand_over() -> int:
        chosen = options("openai", server)
        asked = ("openai:m", RUBRIC.id, chosen)
        return submit_batches(run, item_names(2), RUBRIC, rater, *asked).calls

    assert hand_over() == 1
    assert hand_over() == 0  # the second one waits for the first one's reply
    assert collect_batches(run, load_rater).statuses == {"ok": 1}
    assert hand_over() == 0
    assert set(statuses(run).values()) == {"ok"}
    assert len(statuses(run)) == 2
    assert len(server.batches) == 1


def test_what_a_batch_is_waited_for_is_said(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.engine.silence.FIRST_S", 0.02)
    monkeypatch.setattr("autointerp.engine.silence.EVERY_S", 0.01)
    submit(run, "openai", server)
    rater_class = type(load_rater("openai:m", options("openai", server)))
    real = rater_class.batch_state
    asked: list[str] = []

    async def busy_once(self: Any, provider_id: str) -> Any:
        asked.append(provider_id)
        if len(asked) == 1:
            raise AttemptFailed("the server is busy", "server", True)
        return await real(self, provider_id)

    monkeypatch.setattr(rater_class, "batch_state", busy_once)
    said: list[str] = []
    retry = RetryPolicy(first_wait_s=0.3)
    assert collect_batches(run, load_rater, retry, said.append).statuses == {"ok": 5}
    (first, *_) = [words for words in said if "asking for batch" in words]
    assert first.startswith(f"asking for batch {asked[0]}: the server is busy; next attempt in")
