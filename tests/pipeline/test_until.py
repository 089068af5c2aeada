"""Rating in batches until a rule stops: an imported run, a server that reads what it is shown.

Contexts of features and neurons are made of different words, so that the server can tell them
apart (a clear difference) or not look at all (none).
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import fabricate_run
from support.loopback.server import Call, Fault, LoopbackServer

import autointerp
from autointerp.engine.loop import RatingPolicy
from autointerp.engine.retry import RetryPolicy
from autointerp.errors import BadInput, RaterError
from autointerp.findings.looks import looks_of
from autointerp.findings.plan import Stopping, plan_of
from autointerp.pipeline.events import Event, Forecasted, Looked, Note
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import forecast
from autointerp.pipeline.until import schedule
from autointerp.raters import RaterOptions
from autointerp.stats.sequential import STOPPED_EARLY
from autointerp.store.run import open_run

WORDS = {"features": ("apple", "pear", "plum"), "neurons": ("of", "the", "by")}


@pytest.fixture(scope="module")
def unrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `main`: 60 features, 60 neurons and 4 planted units, unrated."""
    folder = tmp_path_factory.mktemp("unrated")
    for source, n in (("features", 60), ("neurons", 60), ("planted", 4)):
        text = WORDS.get(source, ("x", "y"))
        fabricate_run(folder, {source: n}, contexts=8, text=text, imported=True).close()
    return folder


@pytest.fixture
def runs(unrated: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(unrated / "main", tmp_path / "main")
    return tmp_path


def prefers_fruit(call: Call) -> Fault:
    """Score what shows fruit 3 to 5, all else 1 to 3."""
    low = 3 if "apple" in call.user or "plum" in call.user else 1
    score = low + hash_of(call) % 3
    return Fault(text=json.dumps({"rationale": "", "description": "", "score": score}))


def blind(call: Call) -> Fault:
    """Score anything 1 to 5, whatever it shows."""
    score = 1 + hash_of(call) % 5
    return Fault(text=json.dumps({"rationale": "", "description": "", "score": score}))


def hash_of(call: Call) -> int:
    """A number of the text that is quoted; the fence round it has another code in every run."""
    quoted = "\n".join(line for line in call.user.splitlines() if "quoted " not in line)
    return sum(ord(c) * place for place, c in enumerate(quoted, 1))


def job(runs: Path, server: LoopbackServer, **more: Any) -> Job:
    prices = {"price_in": 1.0, "price_out": 1.0, "max_output_tokens": 100}
    options = RaterOptions(base_url=server.openai_url, structured="json_schema", **prices)
    fields = {"rater": "openai:m", "options": options, "runs": runs, "controls": 4}
    return Job(**{**fields, **more})


def rate(of: Job) -> tuple[Any, list[Event]]:
    events: list[Event] = []
    return autointerp.rate(of, events.append), events


def test_a_clear_difference_stops_early_says_what_that_saved_and_is_not_asked_again(
    runs: Path, server: LoopbackServer
):
    server.fault_for = prefers_fruit
    asked = job(runs, server, until_clear=True, max_n=60)
    result, events = rate(asked)
    until = result.until
    assert until.stopped
    assert until.n == 20
    assert until.interval.low > 0.5
    # Both sources up to the stop, and the controls once.
    assert len(server.completions) == 2 * until.n + 4
    assert result.units == {"features": 20, "neurons": 20, "planted": 4}
    # Five looks of power 2 up to 60 need a tenth more than a fixed n, or less.
    assert 54 <= until.fixed_n < 60
    assert f"{until.fixed_n - 20} a source saved" in str(result)
    assert STOPPED_EARLY in str(result)
    (look,) = [event for event in events if isinstance(event, Looked)]
    assert str(look).startswith(
        "look 1 at 20 a source: probability of superiority, features over neurons, 0."
    )
    with open_run("main", folder=runs) as run:
        plan = plan_of(run)
        assert plan.stopping == Stopping("clear", 60)
        (line,) = looks_of(run)
    assert (line.verb, line.stopped, line.plan) == ("rate", True, plan.digest)
    again, _ = rate(asked)
    assert again.until == until
    assert len(server.completions) == 44
    comparison = autointerp.compare("main", folder=runs)
    assert len(comparison.looks) == 1  # the report looks at the same ratings
    (judgement,) = comparison.judgements
    assert judgement.primary.outcome == "higher"
    assert judgement.verdict.declared


def test_where_there_is_no_difference_all_units_are_rated_and_nothing_is_found(
    runs: Path, server: LoopbackServer
):
    server.fault_for = blind
    result, events = rate(job(runs, server, until_clear=True, max_n=60))
    assert not result.until.stopped
    assert (result.until.n, result.until.looks) == (60, 5)  # at 20, 30, 40, 50 and 60
    assert "there are no more units to ask about" in str(result)
    assert [event.n for event in events if isinstance(event, Looked)] == [20, 30, 40, 50, 60]
    assert sum(isinstance(event, Forecasted) for event in events) == 1
    (judgement,) = autointerp.compare("main", folder=runs).judgements
    assert judgement.reading.fractions == pytest.approx((1 / 3, 1 / 2, 2 / 3, 5 / 6, 1))
    assert judgement.primary.outcome == "not resolved"


def test_until_narrow_stops_at_its_width_whatever_the_sign(runs: Path, server: LoopbackServer):
    server.fault_for = blind
    result, _ = rate(job(runs, server, until_width=0.15, max_n=60))
    until = result.until
    assert until.stopped
    assert (until.interval.high - until.interval.low) / 2 <= 0.15
    assert until.fixed_n == 45  # (2 / 0.15)² / 4 = 44.4
    assert until.bias == ""
    (judgement,) = autointerp.compare("main", folder=runs).judgements
    assert judgement.reading.rule == "width"
    assert judgement.reading.interim == ""


def test_what_breaks_off_in_a_batch_goes_on_there_and_pays_nothing_twice(
    runs: Path, server: LoopbackServer
):
    wrong_key = Fault(status=401, body={"error": {"message": "wrong key"}})
    server.fault_for = lambda call: blind(call) if len(server.completions) <= 50 else wrong_key
    asked = job(runs, server, until_width=0.15, max_n=60)
    with pytest.raises(RaterError):
        autointerp.rate(asked)
    paid = server.completions[:50]
    with open_run("main", folder=runs) as run:
        assert [look.asked for look in looks_of(run)] == [(20, 20)]
    server.fault_for = blind
    before = len(server.completions)
    result, events = rate(asked)
    numbers = [event.number for event in events if isinstance(event, Looked)]
    assert numbers == list(range(2, result.until.looks + 1))  # the first look stays as it was
    answered = {call.user for call in paid}
    assert answered.isdisjoint(call.user for call in server.completions[before:])


def test_the_budget_stops_it_and_says_so(runs: Path, server: LoopbackServer):
    server.fault_for = blind
    asked = job(runs, server, until_clear=True, max_n=60)
    policy = RatingPolicy(RetryPolicy(retries=0), budget_usd=0.05)
    result, _ = rate(Job(**{**vars(asked), "policy": policy}))
    assert 4 < len(server.completions) < 124
    assert "the budget stopped it before the rule did" in str(result)
    assert "give a larger --budget-usd" in str(result)


def test_on_a_run_that_was_rated_before_the_rule_is_undeclared(runs: Path, server: LoopbackServer):
    server.fault_for = prefers_fruit
    autointerp.rate(job(runs, server, sources=("features", "neurons"), n=20))
    autointerp.compare("main", folder=runs)
    result, events = rate(job(runs, server, until_clear=True, max_n=60))
    (note,) = [str(event) for event in events if isinstance(event, Note)]
    assert "was rated before, without a plan" in note
    (judgement,) = autointerp.compare("main", folder=runs).judgements
    assert judgement.reading.rule == "undeclared"
    assert result.until.stopped  # at the look that had been taken, by its ordinary interval
    assert result.until.looks == 1


def test_a_plans_rule_is_followed_where_the_job_asks_for_nothing_else(
    runs: Path, server: LoopbackServer
):
    server.fault_for = prefers_fruit
    from autointerp.pipeline.plan import write_plan

    write_plan(job(runs, server, until_clear=True, max_n=40))
    assert forecast(job(runs, server)).items == 2 * 40 + 4
    assert "until the sign is clear" in str(forecast(job(runs, server)))
    result, events = rate(job(runs, server))
    assert result.until.stopping == Stopping("clear", 40)
    assert not [event for event in events if isinstance(event, Note)]
    other, events = rate(job(runs, server, rater="scripted:3", options=RaterOptions()))
    (note,) = [str(event) for event in events if isinstance(event, Note)]
    assert "deviates from the plan" in note
    assert "the rater is scripted:3, not openai:m" in note
    assert other.until.n == 40


def test_what_differs_from_the_plan_is_said_by_the_forecast_before_anybody_is_asked(runs: Path):
    from autointerp.pipeline.plan import write_plan

    plan = write_plan(Job(rater="lexical", n=20, runs=runs))
    planned = forecast(Job(rater="lexical", runs=runs))
    assert planned.deviations == ()
    begin = f"deviates from the plan {plan.digest[:12]}: "
    expected = (
        f"{begin}the rater is scripted:3, not lexical",
        f"{begin}30 units of a source are asked about, not 20",
        f"{begin}units are rated 2 times, not once",
    )
    asked = Job(n=30, rater="scripted:3", repeats=2, runs=runs)
    found = forecast(asked)
    assert found.deviations == expected
    assert str(found).endswith("\n" + "\n".join(expected))
    _, events = rate(asked)
    notes = [str(event) for event in events if isinstance(event, Note)]
    assert all(any(text in note for note in notes) for text in expected)
    late = forecast(Job(rater="scripted:3", until_clear=True, max_n=30, runs=runs))
    assert f"{begin}one stops by another rule" in str(late)


def test_a_forecast_says_that_a_rule_comes_too_late_to_be_declared(runs: Path):
    autointerp.rate(Job("features", rater="scripted:3", n=5, runs=runs))
    (text,) = forecast(Job(rater="scripted:3", until_clear=True, max_n=30, runs=runs)).deviations
    assert "was rated before, without a plan" in text


def test_a_person_is_told_what_differs_from_the_plan_before_the_first_question(runs: Path):
    from autointerp.pipeline.plan import write_plan

    plan = write_plan(Job(rater="human:ann", n=10, runs=runs))
    asked = Job(rater="human:ann", n=12, runs=runs)
    text = (
        f"deviates from the plan {plan.digest[:12]}: 12 units of a source are asked about, not 10"
    )
    assert forecast(asked).deviations == (text,)
    assert forecast(Job(n=10, rater="human:ann", runs=runs)).deviations == ()
    events: list[Event] = []
    autointerp.rate(asked, on=events.append, ask=lambda machine: None)
    assert [str(event) for event in events if text in str(event)]


def test_looks_are_at_twenty_then_every_ten_and_at_the_last_unit():
    assert schedule(45, 0) == [20, 30, 40, 45]
    assert schedule(20, 0) == [20]
    assert schedule(45, 31) == [40, 45]
    assert schedule(45, 200) == [45]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch": True}, "--batch answers within a day"),
        ({"rubric": "specificity-0-3"}, "is about descriptions"),
        ({"sources": ("planted",)}, "compares two sources, here features and neurons"),
        ({"sources": ("features", "neurons", "planted")}, "or name two"),
    ],
)
def test_what_no_rule_can_do_is_refused_in_one_line(
    runs: Path, server: LoopbackServer, fields: dict[str, Any], words: str
):
    asked = job(runs, server, until_width=0.1, **fields)
    for verb in (autointerp.rate, forecast):
        with pytest.raises(BadInput, match=words):
            verb(asked)
    assert not server.calls


def test_a_rule_excludes_a_number_another_rule_and_a_person():
    with pytest.raises(BadInput, match="--n 30: with --until-width or --until-clear the rule says"):
        Job(n=30, until_width=0.1)
    with pytest.raises(BadInput, match="are two rules"):
        Job(until_clear=True, until_width=0.1, max_n=50)
    with pytest.raises(BadInput, match="--until-width: a person's ratings are looked at"):
        Job(rater="human:ann", until_width=0.1)


def test_one_source_that_is_named_brings_its_partner_and_one_harvest_serves_all_looks(
    tiny_settings: Path, tmp_path: Path
):
    asked = Job(
        "features", until_width=0.2, max_n=22, rater="scripted:4", run="new",
        subject=str(tiny_settings), controls=2, runs=tmp_path,
    )  # fmt: skip
    result, _ = rate(asked)
    # One score for all: there is no interval, so nothing stops.
    assert (result.until.n, result.until.stopped) == (22, False)
    assert {name: result.units[name] for name in ("features", "neurons")} == {
        "features": 22,
        "neurons": 22,
    }
    log = [json.loads(line) for line in (tmp_path / "new" / "log.jsonl").read_text().splitlines()]
    assert (
        sum(line["event"] == "harvested" for line in log) <= 2
    )  # the second for want of eligibles
    assert result.until.looks == 2
