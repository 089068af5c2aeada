"""A panel in a run: each member is asked and stored as the rater that it is, then one rating."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.judges import Judge, lessons, panel_of, taught
from support.loopback.server import Fault, LoopbackServer
from support.made_up import UNITS, made_up_run

from autointerp.engine.forecast import forecast_calls
from autointerp.engine.loop import RatingPolicy, Tally
from autointerp.engine.work import rate_items
from autointerp.errors import BadInput, RaterError
from autointerp.questions.items import items_beside, make_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import Lesson, RaterOptions, load_rater
from autointerp.raters.panel import Panel
from autointerp.store.run import Run

RUBRIC = load_rubric("interpretability-1-5")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with made_up_run(tmp_path) as made:
        yield made


def scored_lessons() -> list[Lesson]:
    """Lessons of two members, the second of which gives scores alone."""
    return [replace(lesson, are_scores=(False, True)) for lesson in lessons(2)]


def items(run: Run, panel: Panel) -> list[str]:
    units = [unit for source in UNITS for unit in run.units(source)]
    return make_items(run, units, RUBRIC, panel.evidence)


def statuses(run: Run, rater: str) -> dict[str, int]:
    return dict(
        run.rows(
            "SELECT status, count(*) FROM current_rating WHERE rater = ? GROUP BY ALL", [rater]
        )
    )


def test_members_are_rated_under_their_own_names_and_the_panel_of_what_they_say(run: Run):
    a, b = Judge("a", lambda item: int(item, 16) / 2**64), Judge("b", evidence="shown")
    panel = taught(panel_of(a, b), run.checks, RUBRIC)
    ids = items(run, panel)
    tallies: list[Tally] = []
    counts = rate_items(run, ids, RUBRIC, panel, progress=tallies.append)
    assert counts.statuses == {"ok": 10}
    assert counts.calls == 20  # of either member, and none of the panel's own
    assert [statuses(run, name) for name in ("a", "b", panel.name)] == [{"ok": 10}] * 3
    assert tallies[-1].done == 10
    # b sees other items, of the same units
    assert not set(a.asked) & set(b.asked)
    pairs = run.rows(
        "SELECT p.unit_id, p.expected_score, p.rater_version, c.details ->> '$.statistic'"
        " FROM unit_rating p JOIN call c USING (call_key) WHERE p.rater = ?",
        [panel.name],
    )
    asked = dict(run.rows("SELECT unit_id, item_id FROM unit_rating WHERE rater = 'a'"))
    for unit, expected, version, statistic in pairs:
        p = panel.probability([int(asked[unit], 16) / 2**64, 0.5])
        assert float(statistic) == pytest.approx(p)
        assert expected == pytest.approx(1 + 4 * p)
        assert version == panel.version


def test_what_a_member_rated_before_is_used_and_nothing_is_asked_twice(run: Run):
    a, b = Judge("a"), Judge("b")
    panel = taught(panel_of(a, b), run.checks, RUBRIC)
    ids = items(run, panel)
    rate_items(run, ids, RUBRIC, a)
    first = rate_items(run, ids, RUBRIC, panel)
    assert (len(a.asked), len(b.asked)) == (10, 10)
    assert first.calls == 10
    again = rate_items(run, ids, RUBRIC, panel)
    assert (again.before, again.calls, again.statuses) == (10, 0, {})
    other = taught(panel_of(Judge("b"), Judge("c")), run.checks, RUBRIC)
    rate_items(run, ids, RUBRIC, other)
    assert len(b.asked) == 10  # a second panel uses what the first one asked
    assert other.members[0].asked == []  # type: ignore[attr-defined]


def test_repeats_of_a_panel_are_made_of_the_members_repeats(run: Run):
    panel = taught(panel_of(Judge("a"), Judge("b")), run.checks, RUBRIC)
    counts = rate_items(run, items(run, panel), RUBRIC, panel, repeats=2)
    assert counts.statuses == {"ok": 20}
    assert counts.calls == 40


@pytest.mark.parametrize("may_fail", [False, True])
def test_a_member_that_fails_for_an_item_leaves_it_without_a_score_unless_declared(
    run: Run, may_fail: bool
):
    b = Judge("b")
    panel = taught(panel_of(Judge("a"), b, optional={"b": may_fail}), run.checks, RUBRIC)
    ids = items(run, panel)
    fails = {ids[2], ids[6]}
    b.says = lambda item: None if item in fails else 0.5
    counts = rate_items(run, ids, RUBRIC, panel)
    assert counts.without == ({"b": 2} if may_fail else {})
    assert statuses(run, "b") == {"ok": 8, "failed": 2}
    expected = {"ok": 10} if may_fail else {"ok": 8, "failed": 2}
    assert statuses(run, panel.name) == expected
    missing = run.rows(
        "SELECT count(*) FROM call WHERE rater = ? AND details ->> '$.missing' = '[\"b\"]'",
        [panel.name],
    )
    assert missing == [(2 if may_fail else 0,)]
    if not may_fail:
        why = run.rows("SELECT DISTINCT rationale FROM current_rating WHERE status = 'failed'"
                       " AND rater = ?", [panel.name])  # fmt: skip
        assert "b: failed (no verdict)" in why[0][0]
        b.says = lambda item: 0.5  # what failed is asked again, and only that
        asked = len(b.asked)
        rate_items(run, ids, RUBRIC, panel)
        assert len(b.asked) == asked + 2
        assert statuses(run, panel.name) == {"ok": 10}


def test_a_failure_that_stays_is_not_stored_again_and_again(run: Run):
    panel = taught(panel_of(Judge("a"), Judge("b")), run.checks, RUBRIC)
    ids = items(run, panel)
    panel.members[1].says = lambda item: None if item == ids[0] else 0.5  # type: ignore[attr-defined]
    for _ in range(3):
        rate_items(run, ids, RUBRIC, panel)
    rows = run.rows("SELECT count(*) FROM rating WHERE rater = ?", [panel.name])
    assert rows == [(10,)]


def test_a_member_that_cannot_be_asked_at_all_stops_the_panel_unless_declared(run: Run):
    def gives_up(item: str) -> float:
        raise RaterError("b: no model file; give one")

    for may_fail in (True, False):
        b = Judge("b", gives_up)
        panel = panel_of(Judge("a"), b, optional={"b": may_fail})
        taught(panel, run.checks, RUBRIC)
        ids = items(run, panel)
        if not may_fail:
            with pytest.raises(RaterError, match="no model file"):
                rate_items(run, ids, RUBRIC, panel)
            continue
        assert rate_items(run, ids, RUBRIC, panel).statuses == {"ok": 10}
        said = run.rows("SELECT DISTINCT rationale FROM rating WHERE rater = ?", [panel.name])
        assert all("Without b: b: no model file" in text for (text,) in said)


def test_an_optional_member_that_answers_later_by_itself_is_taken_in_and_nobody_is_asked_twice(
    run: Run,
):
    def gives_up(item: str) -> float:
        raise RaterError("b: the server is down")

    a, b, c = Judge("a"), Judge("b", gives_up, evidence="shown"), Judge("c", lambda item: None)
    panel = taught(panel_of(a, b, c, optional={"b": True, "c": True}), run.checks, RUBRIC)
    ids = items(run, panel)
    assert rate_items(run, ids, RUBRIC, panel).without == {"b": 10, "c": 10}
    b.says = lambda item: 0.9
    again = rate_items(run, ids, RUBRIC, panel)
    assert (again.before, again.statuses, b.asked.count(ids[0])) == (10, {}, 0)
    of_b = sorted(items_beside(run, ids, RUBRIC, "shown").values())
    rate_items(run, of_b[:7], RUBRIC, b)
    asked = len(a.asked), len(b.asked), len(c.asked)
    taken_in = rate_items(run, ids, RUBRIC, panel)
    assert (taken_in.before, taken_in.statuses, taken_in.calls) == (3, {"ok": 7}, 0)
    assert taken_in.without == {"c": 7}
    assert (len(a.asked), len(b.asked), len(c.asked)) == asked
    done = rate_items(run, ids, RUBRIC, panel)
    assert (done.before, done.statuses) == (10, {})


def test_a_member_of_a_new_version_is_asked_anew_and_the_panel_with_it(run: Run):
    a, b = Judge("a"), Judge("b")
    panel = taught(panel_of(a, b), run.checks, RUBRIC)
    ids = items(run, panel)
    rate_items(run, ids, RUBRIC, panel)
    before = panel.version
    b.version = "2"
    with pytest.raises(RaterError, match="check-rater"):
        rate_items(run, ids, RUBRIC, panel)
    taught(panel, run.checks, RUBRIC)
    rate_items(run, ids, RUBRIC, panel)
    assert (len(a.asked), len(b.asked)) == (10, 20)
    versions = run.rows("SELECT rater_version, count(*) FROM rating WHERE rater = ? GROUP BY ALL"
                        " ORDER BY max(made_at)", [panel.name])  # fmt: skip
    assert versions == [(before, 10), (panel.version, 10)]


def test_members_on_servers_are_paid_within_the_budget_and_what_is_left_is_asked_later(run: Run):
    with LoopbackServer() as server:
        options = RaterOptions(
            base_url=server.openai_url, structured="json_schema", price_in=1000.0, price_out=1000.0
        )
        served = load_rater("openai:m", options)
        panel = panel_of(Judge("a"), served)  # type: ignore[arg-type]
        ids = items(run, panel)
        panel.learn(run.checks, RUBRIC, scored_lessons())
        free = RatingPolicy(budget_usd=1.0)
        stopped = rate_items(run, ids, RUBRIC, panel, policy=free)
        assert stopped.stopped == "budget"
        assert run.spent_usd() <= 1.0
        done = sum(stopped.statuses.values())
        assert done == len(server.calls) < 10
        rest = rate_items(run, ids, RUBRIC, panel, policy=RatingPolicy(budget_usd=1e6))
        assert rest.before == done
        assert statuses(run, panel.name) == {"ok": 10}
        assert len(server.calls) == 10  # each once


def test_a_budget_needs_the_price_of_each_member(run: Run):
    served = load_rater("openai:m", RaterOptions(base_url="http://127.0.0.1:9/v1"))
    panel = panel_of(Judge("a"), served)  # type: ignore[arg-type]
    panel.learn(run.checks, RUBRIC, lessons(2))
    with pytest.raises(BadInput, match="no price is known for openai:m"):
        rate_items(run, items(run, panel), RUBRIC, panel, policy=RatingPolicy(budget_usd=1.0))


def test_a_forecast_sums_the_members():
    served = load_rater(
        "openai:m", RaterOptions(base_url="http://127.0.0.1:9/v1", price_in=1.0, price_out=2.0)
    )
    alone = forecast_calls(served, RUBRIC, 10)
    panel = panel_of(Judge("a"), served, Judge("b"))  # type: ignore[arg-type]
    told = forecast_calls(panel, RUBRIC, 10)
    assert told.calls == 30
    assert (told.tokens_in, told.cost_usd) == (alone.tokens_in, alone.cost_usd)
    assert told.price == alone.price
    assert forecast_calls(panel_of(Judge("a"), Judge("b")), RUBRIC, 10).cost_usd is None


def test_refusals_of_a_server_are_missing_data_of_the_panel(run: Run):
    with LoopbackServer() as server:
        options = RaterOptions(base_url=server.openai_url, structured="json_schema")
        panel = panel_of(Judge("a"), load_rater("openai:m", options))  # type: ignore[arg-type]
        panel.learn(run.checks, RUBRIC, scored_lessons())
        server.faults.extend([Fault(text="no", stop="refusal")] * 2)
        rate_items(run, items(run, panel), RUBRIC, panel)
    assert statuses(run, panel.name) == {"ok": 8, "failed": 2}
