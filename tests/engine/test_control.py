"""Limits that are changed while a rater is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.loopback.client import RUBRIC, item_names, items
from support.loopback.server import Call, LoopbackServer

from autointerp.engine import loop
from autointerp.engine.control import Limits
from autointerp.engine.work import RatingCounts, RatingPolicy, Tally, rate_items
from autointerp.errors import BadInput
from autointerp.raters import RaterOptions
from autointerp.raters.openai import create
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run


@dataclass
class Wanted:
    """A control that a test turns."""

    now: Limits = field(default_factory=Limits)

    def limits(self) -> Limits:
        return self.now


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with open_run("r", RunSettings(), folder=tmp_path) as opened:
        yield opened


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    monkeypatch.setattr(loop, "EVERY_S", 0.01)
    with LoopbackServer(latency_s=0.01) as serving:
        yield serving


def rate(
    run: Run, server: LoopbackServer, wanted: Wanted, n: int, **options: float
) -> RatingCounts:
    rater = create(
        "m", RaterOptions(base_url=server.openai_url, structured="json_schema", **options)
    )
    policy = RatingPolicy(concurrency=4, control=wanted)
    return rate_items(run, item_names(n), RUBRIC, rater, policy=policy, load=items)


def test_a_pause_ends_new_calls_and_resuming_goes_on(run: Run, server: LoopbackServer) -> None:
    wanted, told = Wanted(), []
    asked_when_paused: list[int] = []

    def progress(tally: Tally) -> None:
        told.append(tally.waiting)
        if tally.waiting.startswith("paused"):
            asked_when_paused.append(len(server.completions))
            wanted.now = Limits()  # resumed at the next look

    def turn(call: Call) -> None:
        if len(server.completions) == 10:
            wanted.now = Limits(paused=True)

    server.fault_for = turn
    rater = create("m", RaterOptions(base_url=server.openai_url, structured="json_schema"))
    policy = RatingPolicy(concurrency=4, control=wanted)
    counts = rate_items(
        run, item_names(60), RUBRIC, rater, progress=progress, policy=policy, load=items
    )
    assert counts.statuses == {"ok": 60}
    assert len(asked_when_paused) == 1
    assert asked_when_paused[0] < 60


def test_fewer_calls_in_flight_are_kept_to_from_the_next_look_on(
    run: Run, server: LoopbackServer
) -> None:
    wanted = Wanted()
    late: list[int] = []

    def turn(call: Call) -> None:
        if len(server.completions) == 10:
            wanted.now = Limits(concurrency=1)
        if len(server.completions) > 60:
            late.append(server.in_flight)

    server.fault_for = turn
    assert rate(run, server, wanted, 100).statuses == {"ok": 100}
    assert set(late) == {0}  # no other call is in flight while one is answered


def test_a_budget_that_is_set_meanwhile_is_kept_to_and_counts_what_was_spent(
    run: Run, server: LoopbackServer
) -> None:
    wanted = Wanted()

    def turn(call: Call) -> None:
        if len(server.completions) == 10:
            wanted.now = Limits(budget_usd=0.0)  # less than what was spent: nothing more

    server.fault_for = turn
    counts = rate(run, server, wanted, 200, price_in=1.0, price_out=1.0)
    assert counts.stopped == "budget"
    assert 10 <= sum(counts.statuses.values()) < 200


def test_a_paused_rating_that_is_stopped_ends_at_once(run: Run, server: LoopbackServer) -> None:
    import os
    import signal
    import threading
    import time

    wanted = Wanted(Limits(paused=True))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        rate(run, server, wanted, 20)
    assert server.completions == []
    assert time.monotonic() - began < RatingPolicy().drain_s  # it does not wait for calls to land


@pytest.mark.parametrize("wrong", [{"concurrency": -1}, {"budget_usd": float("nan")}])
def test_limits_are_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Limits(**wrong)
