from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import email.utils
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from support.loopback.client import RUBRIC, SLOTS, item_names, items
from support.loopback.server import Call, Fault, LoopbackServer
from support.processes import Forked, printed

from autointerp.engine.budget import Budget
from autointerp.engine.loop import NOTHING_SHOWN
from autointerp.engine.retry import RetryPolicy
from autointerp.engine.work import RatingCounts, RatingPolicy, Tally, rate_items
from autointerp.errors import BadInput, RaterError, RunLocked
from autointerp.pipeline.summary import summarise
from autointerp.raters import RaterOptions
from autointerp.raters import anthropic as anthropic_module
from autointerp.raters import openai as openai_module
from autointerp.raters.scripted import Scripted
from autointerp.records import Item, Reply
from autointerp.settings import RunSettings
from autointerp.store.replies import read_replies
from autointerp.store.run import Run, open_run
from autointerp.text import dollars

QUICK = RetryPolicy(retries=3, first_wait_s=0.01)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with open_run("r", RunSettings(), folder=tmp_path) as opened:
        yield opened


def openai_rater(server: LoopbackServer, **options: Any) -> Any:
    chosen = {"base_url": server.openai_url, "structured": "json_schema", "timeout_s": 20.0}
    return openai_module.create("m", RaterOptions(**{**chosen, **options}))


def anthropic_rater(server: LoopbackServer, **options: Any) -> Any:
    chosen = {"base_url": server.anthropic_url, "structured": "json_schema", "timeout_s": 20.0}
    return anthropic_module.create("m", RaterOptions(**{**chosen, **options}))


def rate(
    run: Run,
    rater: Any,
    count: int = 1,
    repeats: int = 1,
    retry: RetryPolicy = QUICK,
    progress: Callable[[Tally], None] = lambda tally: None,
    **policy: Any,
) -> RatingCounts:
    chosen = RatingPolicy(retry, **policy)
    return rate_items(
        run, item_names(count), RUBRIC, rater, repeats, progress=progress, policy=chosen, load=items
    )


def signal_once(number: signal.Signals) -> Callable[[Tally], None]:
    """Return a `progress` that sends this process a signal once something is rated."""
    sent: list[int] = []

    def send(tally: Tally) -> None:
        if tally.done and not sent:
            sent.append(tally.done)
            os.kill(os.getpid(), number)

    return send


def attempts(run: Run) -> list[tuple[int, str]]:
    found = run.rows("SELECT attempt, stop FROM call ORDER BY call_key, attempt")
    return [(number, stop) for number, stop in found]


def statuses(run: Run) -> list[str]:
    return [row[0] for row in run.rows("SELECT status FROM current_rating ORDER BY item_id")]


# ------------------------------------------------------------------------------ end to end


@pytest.mark.parametrize("make", [openai_rater, anthropic_rater])
def test_items_are_rated_end_to_end_and_nothing_is_asked_twice(
    run: Run, server: LoopbackServer, make: Any
) -> None:
    counts = rate(run, make(server), count=100, repeats=2)
    assert counts.statuses == {"ok": 200}
    assert len(server.completions) == 200
    again = rate(run, make(server), count=100, repeats=2)
    assert again.before == 200
    assert again.calls == 0
    assert len(server.completions) == 200
    told = {json.loads(r)["score"] for (r,) in run.rows("SELECT reply FROM call")}
    assert told <= set(RUBRIC.scores)
    kept = run.rows(
        "SELECT count(*) FROM current_rating r JOIN call c USING (call_key)"
        " WHERE r.score = (c.reply::JSON ->> 'score')::INTEGER"
    )
    assert kept == [(200,)]


def test_an_item_that_shows_nothing_fails_without_a_call(run: Run, server: LoopbackServer) -> None:
    def load(ids: Sequence[str]) -> list[Item]:
        first, *others = items(ids)
        return [replace(first, contexts=()), *others]

    counts = rate_items(run, item_names(3), RUBRIC, openai_rater(server), load=load)
    assert counts.statuses == {"failed": 1, "ok": 2}
    assert len(server.completions) == 2
    assert run.rows("SELECT rationale FROM current_rating WHERE status = 'failed'") == [
        (NOTHING_SHOWN.error,)
    ]
    run.execute("UPDATE rating SET rationale = 'as an earlier version said it' WHERE score IS NULL")
    again = rate_items(run, item_names(3), RUBRIC, openai_rater(server), load=load)
    assert again.statuses == {}
    assert run.rows("SELECT count(*) FROM rating") == [(3,)]


def test_repeats_list_the_levels_in_another_order_and_record_it(
    run: Run, server: LoopbackServer
) -> None:
    rate(run, openai_rater(server), repeats=3)
    orders = run.rows("SELECT details ->> 'anchors' FROM call ORDER BY repeat")
    listed = [json.loads(order[0]) for order in orders]
    assert listed[:2] == [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]
    assert len({tuple(order) for order in listed}) == 3


def test_the_expected_score_stands_in_columns_of_its_own(run: Run, server: LoopbackServer) -> None:
    rate(run, openai_rater(server))
    ((score, expected, lost),) = run.rows(
        "SELECT score, expected_score, unassigned_mass FROM current_rating"
    )
    near = score - 1 if score > 1 else 2
    # The server gives 0.7 to the score, 0.2 to a neighbour, 0.1 to a word.
    assert expected == pytest.approx((0.7 * score + 0.2 * near) / 0.9, abs=1e-5)
    assert lost == pytest.approx(0.1, abs=1e-5)


def test_a_rater_without_log_probabilities_has_no_expected_score(
    run: Run, server: LoopbackServer
) -> None:
    rate(run, anthropic_rater(server))
    assert run.rows("SELECT expected_score, unassigned_mass FROM current_rating") == [(None, None)]


# ---------------------------------------------------------------------------------- retries


def test_one_permanent_429_with_one_retry_makes_exactly_two_calls(
    run: Run, server: LoopbackServer
) -> None:
    server.fault_for = lambda call: Fault(status=429)
    counts = rate(run, openai_rater(server), retry=RetryPolicy(retries=1, first_wait_s=0.01))
    assert len(server.calls) == 2
    assert counts.statuses == {"failed": 1}
    assert attempts(run) == [(0, "error"), (1, "error")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=429, headers={"retry-after": "0"}),
        Fault(status=500),
        Fault(status=529),
        Fault(status=408),
        Fault(drop="before"),
        Fault(drop="middle"),
        Fault(raw=b'{"id": "x", "choi'),
        Fault(raw=b""),
    ],
)
@pytest.mark.parametrize("make", [openai_rater, anthropic_rater])
def test_a_passing_failure_is_survived_and_stored(
    run: Run, server: LoopbackServer, make: Any, fault: Fault
) -> None:
    server.faults.append(fault)
    assert rate(run, make(server)).statuses == {"ok": 1}
    assert attempts(run) == [(0, "error"), (1, "end")]


def test_retry_after_is_honoured(run: Run, server: LoopbackServer) -> None:
    server.faults.append(Fault(status=429, headers={"retry-after": "0.6"}))
    rate(run, openai_rater(server))
    first, second = server.calls
    assert second.at - first.at >= 0.6


def test_a_time_out_is_tried_again(run: Run, server: LoopbackServer) -> None:
    server.faults.append(Fault(delay_s=30))
    assert rate(run, openai_rater(server, timeout_s=0.5)).statuses == {"ok": 1}


def test_a_call_that_waits_for_its_retry_holds_no_slot(run: Run, server: LoopbackServer) -> None:
    server.faults.append(Fault(status=500))
    retry = RetryPolicy(retries=2, first_wait_s=0.8)
    rate(run, openai_rater(server), count=5, retry=retry, concurrency=1)
    asked = [call.user for call in server.calls]
    assert len(asked) == 6
    assert asked[-1] == asked[0]  # the others went by while the first one slept


def test_a_rejected_request_fails_at_once_and_the_others_go_on(
    run: Run, server: LoopbackServer
) -> None:
    server.faults.append(Fault(status=400))
    counts = rate(run, openai_rater(server), count=4, concurrency=1)
    assert counts.statuses == {"ok": 3, "failed": 1}
    assert len(server.calls) == 4


def test_a_failed_item_is_asked_again_by_the_next_command_and_attempts_go_on(
    run: Run, server: LoopbackServer
) -> None:
    server.faults.extend([Fault(status=500)] * 2)
    retry = RetryPolicy(retries=1, first_wait_s=0.01)
    assert rate(run, openai_rater(server), retry=retry).statuses == {"failed": 1}
    assert rate(run, openai_rater(server), retry=retry).statuses == {"ok": 1}
    assert attempts(run) == [(0, "error"), (1, "error"), (2, "end")]
    assert statuses(run) == ["ok"]


def test_a_server_that_is_not_there_ends_the_work_in_one_line(run: Run) -> None:
    nobody = RaterOptions(base_url="http://127.0.0.1:9/v1", structured="json_schema")
    with pytest.raises(RaterError) as failed:
        rate(run, openai_module.create("m", nobody), count=50)
    assert "\n" not in str(failed.value)
    assert "127.0.0.1:9" in str(failed.value)


def test_a_spent_quota_ends_the_work_and_keeps_what_was_rated(
    run: Run, server: LoopbackServer
) -> None:
    spent = {"error": {"code": "insufficient_quota", "message": "quota"}}
    server.faults.extend([None] * 10)
    server.fault_for = lambda call: Fault(status=429, body=spent)
    with pytest.raises(RaterError, match="quota is spent"):
        rate(run, openai_rater(server), count=200, concurrency=4)
    assert statuses(run) == ["ok"] * 10
    assert len(server.calls) < 30


# ---------------------------------------------------------------------------------- content


@pytest.mark.parametrize(
    "text", ["", "{", "prose", '{"rationale": "r", "score": 9}', '{"score": "4"}', "[4]", "null"]
)
def test_a_reply_that_cannot_be_read_is_asked_for_once_more(
    run: Run, server: LoopbackServer, text: str
) -> None:
    server.faults.append(Fault(text=text))
    assert rate(run, openai_rater(server)).statuses == {"ok": 1}
    assert run.rows("SELECT attempt, stop, reply FROM call ORDER BY attempt")[0] == (0, "end", text)


def test_unread_replies_become_unparsed_and_none_a_number(run: Run, server: LoopbackServer) -> None:
    server.fault_for = lambda call: Fault(text='{"rationale": "r", "score": 9}')
    assert rate(run, openai_rater(server)).statuses == {"unparsed": 1}
    assert len(server.calls) == 2  # one content retry
    ((score, raw),) = run.rows(
        "SELECT score, reply FROM current_rating JOIN call USING (call_key) LIMIT 1"
    )
    assert score is None
    assert "9" in raw
    assert rate(run, openai_rater(server)).calls == 0


def test_a_refusal_is_no_content_retry_and_no_number(run: Run, server: LoopbackServer) -> None:
    server.faults.append(Fault(text="no", stop="refusal"))
    assert rate(run, openai_rater(server)).statuses == {"refused": 1}
    assert len(server.calls) == 1
    assert run.rows("SELECT score, status FROM current_rating") == [(None, "refused")]


def test_a_cut_reply_is_unparsed(run: Run, server: LoopbackServer) -> None:
    server.fault_for = lambda call: Fault(text='{"rationale": "r", "score": 1}', stop="length")
    assert rate(run, openai_rater(server)).statuses == {"unparsed": 1}


def test_a_reply_of_a_megabyte_is_survived(run: Run, server: LoopbackServer) -> None:
    server.fault_for = lambda call: Fault(text="x" * 1_000_000)
    assert rate(run, openai_rater(server)).statuses == {"unparsed": 1}
    assert run.rows("SELECT max(length(reply)) FROM call") == [(200_000,)]


def test_a_stored_reply_is_used_again_but_a_refusal_never(run: Run, server: LoopbackServer) -> None:
    rater = openai_rater(server)
    server.faults.extend([None, Fault(text="no", stop="refusal")])
    rate(run, rater, count=2, concurrency=1)
    run.connection.execute("DELETE FROM rating")  # as if the rubric's ratings had been lost
    counts = rate(run, openai_rater(server), count=2)
    assert counts.statuses == {"ok": 2}
    assert counts.reused == 1
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (None, "returned None; it must return autointerp.records.Reply"),
        ('{"score": 3}', "returned a value of type str; it must return"),
        ({"score": 3}, "returned a value of type dict; it must return"),
        (3, "returned a value of type int; it must return"),
        (Reply({"score": 3}), "returned a Reply whose text is a value of type dict"),
    ],
)
def test_a_rater_that_sends_no_reply_is_named_and_what_was_rated_is_kept(
    run: Run, reply: Any, words: str
) -> None:
    class Forgetful(Scripted):
        async def send(self, request: Any) -> Any:
            return await super().send(request) if self.sent < 2 else reply

    rater = Forgetful("forgetful", [{"score": 4}])
    with pytest.raises(RaterError, match=rf"rater 'forgetful': send\(\) {words}"):
        rate(run, rater, count=5, concurrency=1)
    assert run.rows("SELECT count(*) FROM current_rating WHERE status = 'ok'") == [(2,)]


def test_a_rater_that_makes_no_request_is_named(run: Run) -> None:
    class Forgetful(Scripted):
        def request(self, item: Any, question: Any, repeat: int = 0) -> Any:
            return None

    with pytest.raises(RaterError, match=r"rater 'forgetful': request\(\) returned None"):
        rate(run, Forgetful("forgetful", []))


@pytest.mark.parametrize(
    ("walk", "verb"),
    [
        (None, "returned None"),
        ((_ for _ in ()), "returned None"),
        ((word for word in ("Step",)), "yielded a value of type str"),
    ],
)
def test_a_rater_by_steps_that_yields_or_returns_something_else_is_named(
    run: Run, walk: Any, verb: str
) -> None:
    class Stepped(Scripted):
        expected_steps = 1

        def steps(self, item: Any, question: Any, repeat: int = 0) -> Any:
            return walk

    rater = Stepped("stepped", [])
    with pytest.raises(RaterError, match=rf"rater 'stepped': steps\(\) {verb}; it must"):
        rate(run, rater)


# ----------------------------------------------------------------------------------- budget


def test_the_budget_stops_before_the_call_that_would_pass_it(
    run: Run, server: LoopbackServer
) -> None:
    prices = {"price_in": 1000.0, "price_out": 1000.0, "max_output_tokens": 100}
    one = openai_rater(server, **prices)
    rate(run, one, count=1)
    each = run.spent_usd()
    assert each > 0
    counts = rate(run, openai_rater(server, **prices), count=50, budget_usd=each * 6.5)
    assert counts.stopped == "budget"
    assert run.spent_usd() <= each * 6.5
    assert 2 <= len(statuses(run)) <= 6  # a call is reserved at its most, so some is left over
    before = len(server.calls)
    again = rate(run, openai_rater(server, **prices), count=50, budget_usd=each * 6.5)
    assert again.stopped == "budget"
    assert again.budget_usd == each * 6.5
    assert "could exceed the budget of $" in again.budget_text
    assert len(server.calls) <= before + 4
    assert run.spent_usd() <= each * 6.5


def test_calls_in_an_open_batch_count_for_the_budget_at_their_most(
    run: Run, server: LoopbackServer
) -> None:
    run.add_batch({"label": "b", "state": "submitted", "provider_id": "p", "rater": "other",
                   "asked": "other", "options": "{}", "rubric": RUBRIC.id,
                   "rubric_digest": RUBRIC.digest, "calls": 1, "most_usd": 1.0})  # fmt: skip
    priced = openai_rater(server, price_in=1.0, price_out=1.0)
    assert rate(run, priced, budget_usd=1.0).stopped == "budget"
    assert rate(run, priced, budget_usd=1.1).statuses == {"ok": 1}


def test_a_rater_that_costs_nothing_rates_under_a_budget_that_is_spent(
    run: Run, server: LoopbackServer
) -> None:
    rate(run, openai_rater(server, price_in=1000.0, price_out=1000.0))
    for free in (
        Scripted("scripted:4", [{"score": 4}]),
        openai_rater(server, price_in=0.0, price_out=0.0),
    ):
        run.execute("DELETE FROM rating")
        counts = rate(run, free, count=3, budget_usd=run.spent_usd() / 2)
        assert (counts.statuses, counts.stopped, counts.budget_text) == ({"ok": 3}, "", "")


# -------------------------------------------------------------------------- pace and limits


def test_refusals_lower_the_number_of_calls_at_once(run: Run, server: LoopbackServer) -> None:
    server.latency_s = 0.01

    def crowded(call: Call) -> Fault | None:
        return Fault(status=429) if server.in_flight > 4 else None

    server.fault_for = crowded
    retry = RetryPolicy(retries=20, first_wait_s=0.05, longest_wait_s=0.3)
    counts = rate(run, openai_rater(server), count=300, retry=retry)
    assert counts.statuses == {"ok": 300}
    refused = sum(stop == "error" for _, stop in attempts(run))
    assert refused < 350  # about 130; without halving about 900


@pytest.mark.parametrize("how", ["duration", "epoch s", "epoch ms", "HTTP date", "absurd"])
def test_the_headers_limits_are_kept_in_whatever_way_a_reset_is_told(
    run: Run, server: LoopbackServer, how: str
) -> None:
    # A bucket of 10 requests that 50 a second fill; its headers say so, and it refuses over that.
    level, filled_at, refused = 10.0, time.time(), 0

    def bucket(call: Call) -> Fault:
        nonlocal level, filled_at, refused
        now = time.time()
        level, filled_at = min(10.0, level + 50 * (now - filled_at)), now
        reset_s = (10 - max(level - 1, 0)) / 50
        moment = now + reset_s
        headers = {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": str(max(0, int(level - 1))),
            "x-ratelimit-reset-requests": {
                "duration": f"{reset_s:.3f}s",
                "epoch s": f"{moment:.3f}",
                "epoch ms": str(int(moment * 1000)),
                "HTTP date": email.utils.formatdate(moment, usegmt=True),
                "absurd": "-1",
            }[how],
        }
        if level < 1:
            refused += 1
            return Fault(status=429, headers={**headers, "retry-after": "0.1"})
        level -= 1
        return Fault(headers=headers)

    server.fault_for = bucket
    patient = dataclasses.replace(QUICK, retries=40)  # a slow machine is refused more often
    counts = rate(run, openai_rater(server), count=60, concurrency=20, retry=patient)
    assert counts.statuses == {"ok": 60}
    assert refused < 120


def test_no_more_calls_than_asked_are_in_flight(run: Run, server: LoopbackServer) -> None:
    server.latency_s = 0.02
    rate(run, openai_rater(server), count=40, concurrency=3)
    assert server.most_in_flight == 3


# ------------------------------------------------------------------------ sleep and signals


def test_connections_cut_while_the_machine_slept_are_made_anew(
    run: Run, server: LoopbackServer
) -> None:
    server.latency_s = 0.05
    cut = threading.Timer(0.15, lambda: server._loop.call_soon_threadsafe(server.drop_connections))
    cut.start()
    assert rate(run, openai_rater(server), count=60, concurrency=8).statuses == {"ok": 60}
    cut.join()


def test_ctrl_c_waits_for_the_calls_in_flight_and_keeps_them(
    run: Run, server: LoopbackServer
) -> None:
    server.latency_s = 0.2
    interrupt = signal_once(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        rate(run, openai_rater(server), count=100, progress=interrupt, concurrency=4)
    assert len(statuses(run)) == len(server.calls)  # every call that was made is kept
    assert len(server.calls) < 100
    before = len(server.calls)
    counts = rate(run, openai_rater(server), count=100)
    assert counts.before == before
    assert len(server.calls) == 100


def test_a_notebook_rates_and_its_ctrl_c_waits_for_the_calls_in_flight(
    run: Run, server: LoopbackServer
) -> None:
    server.latency_s = 0.1
    interrupt = signal_once(signal.SIGINT)

    async def cell() -> RatingCounts:
        return rate(run, openai_rater(server), count=100, progress=interrupt, concurrency=4)

    loop = asyncio.new_event_loop()  # not asyncio.run, which takes Ctrl-C for itself
    with contextlib.closing(loop):
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
        assert 0 < len(statuses(run)) == len(server.calls) < 100
        server.latency_s = 0
        counts = loop.run_until_complete(cell())
    assert counts.before + counts.statuses["ok"] == 100 == len(server.calls)


def test_a_second_ctrl_c_drops_the_calls_in_flight(run: Run, server: LoopbackServer) -> None:
    server.latency_s = 8
    began: list[float] = []

    def interrupt_twice() -> None:
        while not server.calls:
            time.sleep(0.01)
        began.append(time.monotonic())
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    interrupting = threading.Thread(target=interrupt_twice, daemon=True)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        rate(run, openai_rater(server), count=20)
    assert time.monotonic() - began[0] < 6
    interrupting.join()
    assert run.rows("SELECT count(*) FROM rating") == [(0,)]
    server.latency_s = 0
    assert rate(run, openai_rater(server), count=20).statuses == {"ok": 20}


def client(folder: Path, server: LoopbackServer, count: int, **options: Any) -> Any:
    program = Path(__file__).parents[1] / "support" / "loopback" / "client.py"
    return subprocess.Popen(
        [sys.executable, str(program), str(folder), server.openai_url, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_kill_9_loses_no_acknowledged_rating_and_repeats_only_calls_in_flight(
    tmp_path: Path, server: LoopbackServer
) -> None:
    server.latency_s = 0.02
    process = client(tmp_path, server, count=300)
    acknowledged = 0
    while acknowledged < 60:
        acknowledged = int(process.stdout.readline().split()[1])
    process.kill()
    process.communicate()
    asked_before = len(server.calls)
    written = len(read_replies(tmp_path / "r" / "replies.jsonl").records)
    with open_run("r", folder=tmp_path) as run:
        kept = len(statuses(run))
        assert kept == written >= acknowledged
        assert asked_before - kept <= SLOTS  # a reply is written before the slot's next call
        rate(run, openai_rater(server), count=300)
        assert statuses(run) == ["ok"] * 300
    asked = [call.user for call in server.calls]
    assert len(asked) - len(set(asked)) == asked_before - kept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_waits_for_the_calls_in_flight_and_is_passed_on(
    run: Run, server: LoopbackServer, number: int
) -> None:
    server.latency_s = 0.2
    passed_on: list[int] = []
    interrupt = signal_once(number)
    former = signal.signal(number, lambda received, _: passed_on.append(received))
    try:
        with pytest.raises(KeyboardInterrupt):
            rate(run, openai_rater(server), count=100, progress=interrupt, concurrency=4)
    finally:
        signal.signal(number, former)
    assert passed_on == [number]
    assert 0 < len(statuses(run)) == len(server.calls) < 100


def test_an_ignored_signal_stays_ignored(run: Run, server: LoopbackServer) -> None:
    server.latency_s = 0.1
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGHUP)).start()
    try:
        assert rate(run, openai_rater(server), count=40, concurrency=8).statuses == {"ok": 40}
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize("fault", [None, Fault(delay_s=30.0), Fault(drop="middle")])
def test_the_budget_holds_over_kills_and_calls_without_a_reply(
    tmp_path: Path, server: LoopbackServer, fault: Fault | None
) -> None:
    """A call that may be billed is charged at the most that it can cost, now and later."""
    prices = {"price_in": 10.0, "price_out": 10.0, "timeout_s": 0.4, "max_output_tokens": 200}
    server.fault_for = lambda call: fault
    with open_run("r", RunSettings(), folder=tmp_path) as run:
        rater = openai_rater(server, **prices)
        most = Budget(None, 0, rater.price).most_usd(
            rater.extent(rater.request(items(item_names(1))[0], RUBRIC, 0))
        )
        retry = RetryPolicy(retries=0, first_wait_s=0.01)
        budget = 5.5 * most
        for _ in range(3):
            with contextlib.suppress(RaterError):
                rate(run, openai_rater(server, **prices), 30, retry=retry, budget_usd=budget)
            assert run.spent_usd() <= budget
        if fault is not None:
            assert len(server.completions) == 5  # each charged at the most
            assert run.spent_usd() == pytest.approx(5 * most)
        else:
            assert len(server.completions) > 5


def test_what_calls_of_unknown_cost_count_as_is_said(run: Run, server: LoopbackServer) -> None:
    message = {"content": '{"rationale": "as ever", "description": "cats", "score": 3}'}
    uncounted = {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    server.faults.extend([Fault(drop="middle"), Fault(raw=json.dumps(uncounted).encode()), None])
    rater = openai_rater(server, price_in=1000.0, price_out=1000.0, max_output_tokens=100)
    counts = rate(run, rater, 2, concurrency=1)
    assert counts.statuses == {"ok": 2}
    assert counts.spent_usd > 0
    assert counts.charged_usd > 0
    assert run.charged_usd() == pytest.approx(counts.charged_usd)
    assert run.spent_usd() == pytest.approx(counts.spent_usd + counts.charged_usd)
    of_it = f"at most {dollars(counts.charged_usd)} of it for calls of unknown cost"
    assert str(summarise(run)).endswith(f"  cost       {dollars(run.spent_usd())}, {of_it}")
    known, _, unknown = counts.spent_text.partition(" and ")
    assert known == dollars(counts.spent_usd)
    assert unknown == f"at most {dollars(counts.charged_usd)} for calls of unknown cost"


KILLED_IN_FLIGHT = """
import sys
from pathlib import Path
from support.loopback.client import RUBRIC, SLOTS, item_names, items
from autointerp.engine.work import RatingPolicy, rate_items
from autointerp.raters import RaterOptions
from autointerp.raters.openai import create
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
options = RaterOptions(base_url=sys.argv[2], structured="json_schema", price_in=10, price_out=10)
with open_run("r", RunSettings(), folder=Path(sys.argv[1])) as run:
    policy = RatingPolicy(concurrency=3, budget_usd=float(sys.argv[3]))
    rate_items(run, item_names(50), RUBRIC, create("m", options), policy=policy, load=items)
"""


def test_calls_that_a_kill_cut_off_are_charged_and_kill_after_kill_stays_in_the_budget(
    tmp_path: Path, server: LoopbackServer, process_environment: dict[str, str]
) -> None:
    server.latency_s = 30.0  # nothing comes back before the kill
    rater = openai_rater(server, price_in=10.0, price_out=10.0)
    extent = rater.extent(rater.request(items(item_names(1))[0], RUBRIC, 0))
    most = Budget(None, 0, rater.price).most_usd(extent)
    budget, called = str(7.5 * most), 0
    for expected in (3, 6, 7, 7):  # three at a time, and seven is all that the budget allows
        process = Forked(
            KILLED_IN_FLIGHT, tmp_path, server.openai_url, budget,
            cwd=tmp_path, environment=process_environment,
        )  # fmt: skip
        until = time.monotonic() + 60
        while len(server.completions) < expected and time.monotonic() < until:
            time.sleep(0.02)
        if called == expected:  # the budget is spent: it ends by itself
            assert process.wait(60) == 0
        process.kill()
        process.wait()
        called = len(server.completions)
        assert called == expected
        with open_run("r", folder=tmp_path) as run:
            assert run.spent_usd() == pytest.approx(called * most)


def test_a_stopped_and_continued_process_goes_on(tmp_path: Path, server: LoopbackServer) -> None:
    server.latency_s = 0.02
    process = client(tmp_path, server, count=150)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    server._loop.call_soon_threadsafe(server.drop_connections)
    time.sleep(0.5)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert "finished" in out, err
    with open_run("r", folder=tmp_path) as run:
        assert statuses(run) == ["ok"] * 150


def test_a_full_disk_is_one_clear_error_and_what_was_acknowledged_stays(
    tmp_path: Path, server: LoopbackServer
) -> None:
    # Files may grow to 2 MB: for the process that is a disk with no room left.
    long = "x" * 20_000
    server.fault_for = lambda call: Fault(text=json.dumps({"rationale": long, "score": 1}))
    limit = 2_000_000
    process = client(
        tmp_path,
        server,
        count=400,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "StorageError" in err
    assert "cannot write" in err
    acknowledged = [int(line.split()[1]) for line in out.splitlines() if line.startswith("done")]
    with open_run("r", folder=tmp_path) as run:
        assert len(statuses(run)) >= max(acknowledged, default=0)
        server.fault_for = lambda call: None
        rate(run, openai_rater(server), count=400)
        assert statuses(run) == ["ok"] * 400


def test_a_second_process_on_a_run_is_told_so(run: Run, tmp_path: Path) -> None:
    code = f"""
from autointerp.store.run import open_run
from autointerp.errors import RunLocked
from pathlib import Path
try:
    open_run("r", folder=Path({str(tmp_path)!r}))
except RunLocked as error:
    print(error)
"""
    assert f"in use by process {os.getpid()}" in printed(code)
    assert RunLocked.exit_code == 1


# ------------------------------------------------------------------------- raters in process


class Instant(Scripted):
    evidence: Literal["shown", "all"] = "shown"


def test_a_rater_in_this_process_goes_through_the_same_engine(run: Run) -> None:
    rater = Instant("scripted:4", [{"score": 4}])
    started = time.process_time()
    assert rate(run, rater, count=300).statuses == {"ok": 300}
    assert time.process_time() - started < 2.0
    assert rate(run, rater, count=300).before == 300


def test_a_scripted_failure_is_retried_like_any_other(run: Run) -> None:
    rater = Scripted("scripted:f", [{"fail": "busy", "retry_after_s": 0.01}, {"score": 2}])
    assert rate(run, rater).statuses == {"ok": 1}
    assert attempts(run) == [(0, "error"), (1, "end")]


def test_progress_counts_only_what_is_on_the_disk(run: Run) -> None:
    seen: list[tuple[int, int]] = []

    def look(tally: Tally) -> None:
        records = read_replies(run.path / "replies.jsonl").records
        seen.append((tally.done, sum(record["rating"] is not None for record in records)))

    rate_items(
        run,
        item_names(200),
        RUBRIC,
        Scripted("scripted:1", [{"score": 1}]),
        progress=look,
        load=items,
    )
    assert seen[-1] == (200, 200)
    assert all(done <= written for done, written in seen)
    assert len(statuses(run)) == 200


def test_what_no_database_can_hold_is_stored_as_escapes(run: Run, server: LoopbackServer) -> None:
    server.faults.append(Fault(text='{"rationale": "\\ud800 \\u0000", "score": 2}'))
    assert rate(run, openai_rater(server)).statuses == {"ok": 1}
    ((told,),) = run.rows("SELECT rationale FROM current_rating")
    assert told.startswith("\\ud800")


def test_a_budget_without_a_price_is_refused(run: Run, server: LoopbackServer) -> None:
    with pytest.raises(BadInput, match="--price-in"):
        rate(run, openai_rater(server), budget_usd=1.0)
    assert not server.calls


# ----------------------------------------------------------------------- replies of no use


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(text="I would say four."), "could not be read"),
        (Fault(text="\x1b[31mI will not.", stop="refusal"), "refused"),
        (Fault(status=400, body={"error": {"code": "content_filter", "message": "no"}}), "refused"),
    ],
)
def test_replies_of_which_none_can_be_read_end_the_work_after_a_few(
    run: Run, server: LoopbackServer, fault: Fault, words: str
) -> None:
    server.fault_for = lambda call: fault
    with pytest.raises(RaterError, match=words) as ended:
        rate(run, openai_rater(server), count=200)
    assert "\x1b" not in str(ended.value)
    assert "\n" not in str(ended.value)
    # 5 items, each asked twice where its reply could not be read, and 4 at once.
    assert len(server.completions) <= 2 * (5 + 4)
    assert 5 <= len(statuses(run)) <= 5 + 4  # what came is stored, and counts as asked
    assert not {"ok", "failed"} & set(statuses(run))


def test_one_reply_is_shown_where_none_can_be_read(run: Run, server: LoopbackServer) -> None:
    server.fault_for = lambda call: Fault(text="I would say \x1b]0;four\x07 " + "x" * 1000)
    with pytest.raises(RaterError) as ended:
        rate(run, openai_rater(server), count=20)
    assert '"I would say \\u001b]0;four\\u0007 xxx' in str(ended.value)
    assert len(str(ended.value)) < 700


def test_few_items_of_which_none_could_be_read_are_no_success(
    run: Run, server: LoopbackServer
) -> None:
    server.fault_for = lambda call: Fault(text="I would say four.")
    with pytest.raises(RaterError, match="could not be read"):
        rate(run, openai_rater(server), count=2)
    assert statuses(run) == ["unparsed"] * 2


def test_what_none_could_read_is_asked_again_in_another_way_and_paid_once_in_the_same(
    run: Run, server: LoopbackServer
) -> None:
    cut = Fault(text="I would", stop="length")
    server.fault_for = lambda call: cut if call.body["max_tokens"] < 500 else None
    with pytest.raises(RaterError, match="a larger --max-output-tokens"):
        rate(run, openai_rater(server, max_output_tokens=100), count=2)
    before = len(server.completions)
    assert rate(run, openai_rater(server, max_output_tokens=100), count=2).calls == 0
    assert len(server.completions) == before
    counts = rate(run, openai_rater(server, max_output_tokens=1000), count=2)
    assert (counts.before, counts.statuses) == (0, {"ok": 2})


def test_a_model_that_is_read_now_and_then_goes_on(run: Run, server: LoopbackServer) -> None:
    server.faults.extend([Fault(text="no")] * 8)  # four items at most, each asked twice
    counts = rate(run, openai_rater(server), count=30, concurrency=1)
    assert counts.statuses["ok"] == 30 - counts.statuses["unparsed"] >= 26


def test_a_model_that_stops_making_sense_is_stopped(run: Run, server: LoopbackServer) -> None:
    server.faults.extend([None] * 10)
    server.fault_for = lambda call: Fault(text="no")
    with pytest.raises(RaterError, match="20 items in a row"):
        rate(run, openai_rater(server), count=200, concurrency=2)
    assert len(server.completions) < 10 + 2 * (20 + 6)


def test_a_protocol_of_another_kind_is_not_asked_again_and_again(
    run: Run, server: LoopbackServer
) -> None:
    server.fault_for = lambda call: Fault(raw=b'{"object": "completion", "choices": [{}]}')
    with pytest.raises(RaterError, match="no reply of this protocol"):
        rate(run, openai_rater(server), count=60)
    assert len(server.completions) <= 3 + 4


def test_a_filter_refuses_one_item_for_good_and_the_others_go_on(
    run: Run, server: LoopbackServer
) -> None:
    no = {"error": {"code": 403, "message": "Input flagged by moderation"}}
    server.fault_for = lambda call: Fault(status=403, body=no) if f"{5:016x}" in call.user else None
    assert rate(run, openai_rater(server), count=20).statuses == {"ok": 19, "refused": 1}
    before = len(server.completions)
    assert rate(run, openai_rater(server), count=20).calls == 0
    assert len(server.completions) == before


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_ends_the_work_leaves_an_attempt(
    run: Run, server: LoopbackServer, status: int
) -> None:
    server.fault_for = lambda call: Fault(status=status)
    with pytest.raises(RaterError):
        rate(run, openai_rater(server), concurrency=1)
    assert attempts(run) == [(0, "error")]
    ((error, kind),) = run.rows("SELECT error, details ->> 'kind' FROM call")
    assert str(status) in error or "no such model" in error
    assert kind == "fatal"


# ----------------------------------------------------------------------------- first calls


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, body={"error": {"code": 503, "message": "Loading model"}}),
        Fault(status=429, headers={"retry-after": "0.05"}),
        Fault(drop="before"),
    ],
)
@pytest.mark.parametrize("make", [openai_rater, anthropic_rater])
def test_the_probing_call_is_made_again_as_all_others(
    run: Run, server: LoopbackServer, make: Any, fault: Fault
) -> None:
    server.probe_faults.extend([fault, fault])
    assert rate(run, make(server, structured=None), count=2).statuses == {"ok": 2}


def test_a_server_that_never_loads_is_given_up_in_one_line(
    run: Run, server: LoopbackServer
) -> None:
    server.probe_faults.extend([Fault(status=503)] * 50)
    with pytest.raises(RaterError, match="cannot be asked: 503"):
        rate(run, openai_rater(server, structured=None))
    assert len(server.calls) == 1 + QUICK.retries


# ------------------------------------------------------------------------------ equal calls


class Same(Scripted):
    """A rater that leaves the item out of its calls, as one that sees equal evidence."""

    def request(self, item: Any, question: Any, repeat: int = 0) -> Any:
        made = super().request(items([item_names(1)[0]])[0], question, repeat)
        return replace(made, item=item.id)


@pytest.mark.parametrize("count", [2, 300])
def test_items_of_equal_content_share_one_call(run: Run, count: int) -> None:
    rater = Same("scripted:same", [{"score": 3}])
    assert rate(run, rater, count=count).statuses == {"ok": count}
    assert rater.sent == 1
    assert run.rows("SELECT count(*), count(DISTINCT call_key) FROM call") == [(1, 1)]
    assert rate(run, rater, count=count).before == count


def test_items_of_equal_content_without_an_answer_fail_alike_and_go_on_next_time(run: Run) -> None:
    lacking = Same("scripted:same", [{"fail": "rejected"}])
    assert rate(run, lacking, count=2).statuses == {"failed": 2}
    assert attempts(run) == [(0, "error"), (1, "error")]
    assert rate(run, Same("scripted:same", [{"score": 2}]), count=2).statuses == {"ok": 2}


def test_items_of_equal_content_share_what_could_not_be_read(run: Run) -> None:
    rater = Same("scripted:same", [{"text": "no"}, {"text": "no"}, {"score": 2}])
    assert rate(run, rater, count=2).statuses == {"unparsed": 2}
    assert rater.sent == 2  # once, and once again
    assert statuses(run) == ["unparsed"] * 2


# --------------------------------------------------------------------------------- silence


def test_a_long_wait_is_said(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.engine.silence.FIRST_S", 0.1)
    monkeypatch.setattr("autointerp.engine.silence.EVERY_S", 0.05)
    server.faults.append(Fault(status=429, headers={"retry-after": "1"}))
    said: list[str] = []
    policy = RatingPolicy(QUICK)
    rate_items(
        run,
        item_names(1),
        RUBRIC,
        openai_rater(server),
        progress=lambda tally: said.append(tally.waiting),
        policy=policy,
        load=items,
    )
    assert any("429" in words and "next attempt in 1 s" in words for words in said)
    assert said[-1] == ""
