"""Rate two sources in batches, look, and go on until a rule says that one may stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autointerp.engine.work import SETTLED, RatingCounts
from autointerp.findings.looks import (
    Compared,
    Look,
    Reading,
    compared_in,
    looks_of,
    stopped_at,
    take_look,
)
from autointerp.findings.plan import Plan, Stopping, declare, is_rated, plan_of
from autointerp.people.ingest import ingest_journals
from autointerp.pipeline.ask import ask_pending
from autointerp.pipeline.events import Looked, Note, On
from autointerp.pipeline.job import Resolved
from autointerp.questions.items import make_items
from autointerp.raters import version_of
from autointerp.stats.results import Statistic
from autointerp.stats.sequential import LEAST_A_SOURCE, boundaries, fixed_share, units_for_width
from autointerp.store.run import Run
from autointerp.store.units import StoredUnit
from autointerp.text import count

STEP = 10  # units of each source between two looks
POWER = 0.8  # of the fixed n that a rule is compared with


@dataclass(frozen=True)
class UntilResult:
    """Where a stopping rule ended.

    Attributes:
        stopped: Whether the rule stopped; else the budget did, or there were no more units.
        n: Units of each source that were asked about at the last look.
        looks: Looks at these two sources so far.
        interval: Of P(first > second) at the last look; None where there was none.
        why: What the rule says of the last look.
        bias: What is known of the error of the estimate; empty where there is none to speak of.
        fixed_n: Units of each source that a fixed n would have needed for the same.
    """

    first: str
    second: str
    stopping: Stopping
    stopped: bool
    n: int
    looks: int
    interval: Statistic | None
    why: str
    bias: str
    fixed_n: int

    def __str__(self) -> str:
        verb = "stopped" if self.stopped else "not stopped"
        at = f"{verb} at {self.n} a source after {count(self.looks, 'look')}"
        estimate = f"probability of superiority, {self.first} over {self.second}, {self.interval}"
        lines = [f"{at}: {estimate}; {self.why}" if self.interval else f"{at}: {self.why}"]
        if self.stopped:
            same = (
                f"the same power ({POWER:g} where the difference is as small as the rule can find)"
                if self.stopping.rule == "clear"
                else "this width whatever the scores"
            )
            saved = self.fixed_n - self.n
            lines.append(
                f"a fixed n for {same} would have needed {self.fixed_n} a source: "
                + (f"{saved} a source saved" if saved > 0 else "nothing saved this time")
            )
        if self.bias:
            lines.append(self.bias)
        return "\n".join(lines)


def schedule(most: int, rated: int) -> list[int]:
    """Return the units of each source at which one looks: 20, then every 10 up to `most`.

    Those before `rated`, which are rated already, are left out.
    """
    steps = [*range(LEAST_A_SOURCE, most, STEP), most]
    return [n for n in steps if n >= min(rated, most)]


def fixed_n(stopping: Stopping, alpha: float, compared: Compared) -> int:
    """Return the units of each source, asked about, that give what the rule gives without a look:
    its power, or its width whatever the scores. As many are taken to give no score as did."""
    if stopping.half_width is not None:
        scored = min(compared.n) / max(1, min(compared.asked)) or 1.0
        return round(units_for_width(stopping.half_width, alpha) / scored)
    looks = schedule(stopping.n, 0)
    fractions = [n / stopping.n for n in looks]
    share = fixed_share(fractions, boundaries(fractions, alpha), alpha, POWER)
    return round(stopping.n * share)


def declared_plan(run: Run, resolved: Resolved, on: On) -> Plan | None:
    """Return the run's plan; one is written where the run has none and was never rated.

    Says so, and where the job differs from the plan or comes too late for one.
    """
    plan = plan_of(run)
    if plan is None:
        ingest_journals(run)  # what people have rated may not be in the run yet
    say_deviations(run, resolved, on)
    if plan is not None or is_rated(run):
        return plan
    stopping, question = resolved.stopping, resolved.question
    assert stopping is not None
    first, second = resolved.pair
    plan = declare(
        run,
        Plan(
            raters=(resolved.rater.name,),
            rubric=question.id,
            rubric_digest=question.digest,
            first=first,
            second=second,
            stopping=stopping,
            repeats=resolved.job.repeats,
        ),
    )
    on(Note(f"plan {plan.digest} is written: {plan}"))
    return plan


def say_deviations(
    run: Run, resolved: Resolved, on: On, units: Mapping[str, int] | None = None
) -> None:
    """Say, before anybody is asked, what `deviations` returns."""
    for text in deviations(run, resolved, units):
        on(Note(text))


def deviations(
    run: Run, resolved: Resolved, units: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """Return in what the job differs from the run's plan, a line each; of a run without one,
    whether the job's rule comes too late to be declared.

    `units`: that are asked about, by source; None for those that the job wants.
    """
    plan = plan_of(run)
    if plan is None:
        if resolved.stopping is None or not is_rated(run):
            return ()
        return (
            f"run '{run.name}' was rated before, without a plan, so the rule is not declared: "
            "from the second look on, intervals are those of a confidence sequence",
        )
    question, rater, pair = resolved.question, resolved.rater.name, (plan.first, plan.second)
    wanted = resolved.wanted if units is None else units
    asked = {name: n for name, n in wanted.items() if name in pair}
    texts = [
        *plan.deviations(
            rater,
            question.id,
            question.digest,
            asked,
            resolved.job.repeats,
            resolved.stopping,
        )
    ]
    judge = (plan.rubric_digest, rater, *pair)
    at = stopped_at([look for look in looks_of(run) if look.judge == judge])
    if (
        at is not None
        and resolved.stopping != plan.stopping
        and max(asked.values(), default=0) > at
    ):
        texts.append(f"rating goes on after the rule has stopped it at {at} units a source")
    return tuple(f"deviates from the plan {plan.digest[:12]}: {text}" for text in texts)


def rate_until(
    run: Run, resolved: Resolved, drawn: Mapping[str, Sequence[StoredUnit]], on: On
) -> tuple[RatingCounts, UntilResult]:
    """Ask about the next units of both sources, look, and go on until the rule stops, the budget
    does, or all that were `drawn` are rated.

    The first batch has 20 units of each source and all controls. Within a batch sources are
    mixed. Stopped anywhere, it goes on from there.
    """
    stopping, rater, question = resolved.stopping, resolved.rater, resolved.question
    assert stopping is not None
    plan = declared_plan(run, resolved, on)
    first, second = pair = resolved.pair
    most = min(stopping.n, len(drawn[first]), len(drawn[second]))
    others = [unit for name, units in drawn.items() if name not in pair for unit in units]
    level = 1 - (plan.alpha if plan else 0.05)
    compared = compared_in(run, question.id, question.digest, rater.name, pair)
    all_of_them = [*(unit for name in pair for unit in drawn[name][:most]), *others]
    done = 0
    counts = RatingCounts(0, Counter())
    last: tuple[Reading, Look] | None = None
    for place, n in enumerate(schedule(most, min(compared.asked))):
        units = [unit for name in pair for unit in drawn[name][done:n]]
        batch = [*units, *(others if place == 0 else [])]
        ids = make_items(run, batch, question, rater.evidence)
        repeats = resolved.job.repeats
        left = repeats * len(all_of_them) - not_pending(run, resolved, all_of_them, repeats)
        done = n
        width = "" if last is None else f", half-width {_half_width(last[1])}"
        asked = ask_pending(
            run,
            ids,
            question,
            resolved,
            on,
            label=f"rate up to {n} a source{width}",
            expected=left if place == 0 else 0,
        )
        counts = _sum(counts, asked)
        if asked.stopped:
            break
        compared = compared_in(run, question.id, question.digest, rater.name, pair)
        if min(compared.n) < 2:
            continue
        last = take_look(run, compared, plan, level, "rate", stopping=stopping)
        on(_looked(compared, *last))
        stop = last[0].stopped
        if stop is not None and stop.stop:
            break
    return counts, _result(stopping, pair, compared, last, counts, level)


def not_pending(run: Run, resolved: Resolved, units: Iterable[StoredUnit], repeats: int) -> int:
    """Return how many ratings of these units, each up to so many times, the rater is not asked for
    any more on the rubric: it has given them, without those that failed, or a provider has them in
    a batch."""
    rater = resolved.rater
    ids = [unit.unit_id for unit in units]
    ((given,),) = run.rows(
        "SELECT count(*) FROM unit_rating WHERE rater = ? AND rubric_digest = ?"
        f" AND coalesce(rater_version, '') = ? AND {SETTLED} AND repeat < ?"
        " AND unit_id IN (SELECT unnest(?::INTEGER[]))",
        [rater.name, resolved.question.digest, version_of(rater), repeats, ids],
    )
    handed_over = [item for item, repeat in run.work_in_batches(rater.name) if repeat < repeats]
    ((awaited,),) = run.rows(
        "SELECT count(*) FROM unit_item JOIN (SELECT unnest(?::VARCHAR[]) AS item_id)"
        " USING (item_id) WHERE rubric_digest = ? AND unit_id IN (SELECT unnest(?::INTEGER[]))",
        [handed_over, resolved.question.digest, ids],
    )
    return int(given) + int(awaited)


def _result(
    stopping: Stopping,
    pair: tuple[str, str],
    compared: Compared,
    last: tuple[Reading, Look] | None,
    counts: RatingCounts,
    level: float,
) -> UntilResult:
    first, second = pair
    reading = None if last is None else last[0]
    stop = None if reading is None else reading.stopped
    stopped = stop is not None and stop.stop and not counts.stopped
    why = stop.why if stop is not None else "fewer than two scored units of a source"
    if counts.stopped:
        why = f"the {counts.stopped} stopped it before the rule did"
    elif not stopped:
        why = f"{why}; there are no more units to ask about"
    return UntilResult(
        first=first,
        second=second,
        stopping=stopping,
        stopped=stopped,
        n=min(compared.asked),
        looks=0 if reading is None else reading.number,
        interval=None if last is None else _interval(last[1]),
        why=why,
        bias="" if reading is None else reading.bias,
        fixed_n=fixed_n(stopping, 1 - level, compared),
    )


def _looked(compared: Compared, reading: Reading, look: Look) -> Looked:
    assert reading.stopped is not None
    return Looked(
        reading.number,
        look.first,
        look.second,
        min(compared.asked),
        _interval(look),
        reading.stopped,
    )


def _interval(look: Look) -> Statistic:
    note = "" if look.low is not None else "too few units for an interval"
    return Statistic(look.value, look.low, look.high, look.n, look.method, look.level, note)


def _half_width(look: Look) -> str:
    if look.low is None or look.high is None:
        return "unknown"
    return f"{(look.high - look.low) / 2:.3f}"


def _sum(one: RatingCounts, other: RatingCounts) -> RatingCounts:
    return replace(
        one,
        before=one.before + other.before,
        statuses=one.statuses + other.statuses,
        calls=one.calls + other.calls,
        reused=one.reused + other.reused,
        spent_usd=one.spent_usd + other.spent_usd,
        charged_usd=one.charged_usd + other.charged_usd,
        stopped=other.stopped,
        budget_usd=other.budget_usd,
        without=one.without + other.without,
    )
