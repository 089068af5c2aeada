"""The ledger of looks: whoever computes a contrast leaves a line, and reads it by those before.

What an interval is worth depends on how often one has looked and by which rule one stops. A look
is a comparison of two sources on scores that had not been compared before; the same scores again
are the same look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy

from autointerp.findings.plan import Plan, Rule, Stopping
from autointerp.stats.results import Floats, HypothesisTest, Integers, Statistic
from autointerp.stats.sequential import (
    LEAST_A_SOURCE,
    STOPPED_EARLY,
    Stop,
    boundaries,
    confidence_sequence_multiplier,
    narrow_enough,
    narrow_multiplier,
    repeated_interval,
    repeated_p_value,
    sequence_p_value,
    sign_is_clear,
    size_of,
)
from autointerp.stats.superiority import superiority, superiority_test
from autointerp.store.run import Run
from autointerp.store.tables import now

RESAMPLES = 9_999
BY_INTERVAL = "p by the interval, which holds at all looks"  # a test's method ends so
SMALLEST_P = 1e-300  # of a test whose p is too small for a number

# The estimate, and its p, as a reading has them.
Estimate = Callable[["Reading"], tuple[Statistic, float | None]]


@dataclass(frozen=True)
class Compared:
    """The scores of two sources, by one rater on one rubric: what a look is at.

    Attributes:
        first, second: Sources; of a comparison across runs, with the runs: `features of main`.
        unit_ids, scores: Of the scored units of each source, [units].
        asked: Units of each source that the rater was asked about.
        repeats: Ratings of a unit at most.
        beside: What else the comparison rests on, such as the judge's scores beside people's.
    """

    rubric: str
    rubric_digest: str
    rater: str
    first: str
    second: str
    unit_ids: tuple[Integers, Integers]
    scores: tuple[Floats, Floats]
    asked: tuple[int, int]
    repeats: int
    beside: tuple[Floats, ...] = ()

    @property
    def n(self) -> tuple[int, int]:
        """Scored units of each source."""
        return len(self.scores[0]), len(self.scores[1])

    @property
    def judge(self) -> tuple[str, str, str, str]:
        """Who compares what: looks of another judge or pair are others'."""
        return self.rubric_digest, self.rater, self.first, self.second

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of the scores, by unit."""
        tables = [
            sorted(zip(ids.tolist(), np.round(scores, 9).tolist(), strict=True))
            for ids, scores in zip(self.unit_ids, self.scores, strict=True)
        ]
        beside = [np.round(scores, 9).tolist() for scores in self.beside]
        text = json.dumps([*self.judge, *tables, *beside], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Declared:
    """What a sweep's plan declares of two arms of its runs: a fixed n of each.

    Attributes:
        digest: Of the plan.
        n: Units that each arm is asked about; all there are where those are fewer.
        deviations: In what the plan was not followed, a clause each.
    """

    digest: str
    n: tuple[int, int]
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """A line of the ledger: a comparison as it was when it was first made.

    Attributes:
        number: Of this rater's looks at this pair on this rubric, from 1.
        made_at: UTC; empty where the look could not be written to the run.
        verb: What computed it: report, compare, rate, …
        n, asked: Scored units of each source, and units asked about.
        value, low, high: P(first > second) with ties halved, and its interval at `level`.
        p: As this look may read it, before the adjustment for other tests.
        method: Of the interval.
        rule: By which it was read.
        stopped: Whether the rule let it be the last.
        stopping: The rule that `rate` followed, in words; empty where it was no rating.
        digest: Of the scores that were compared.
        plan: Digest of the plan, the run's or, of a look across runs, a sweep's; empty where there
            was none.
    """

    number: int
    made_at: str
    verb: str
    rubric: str
    rubric_digest: str
    rater: str
    first: str
    second: str
    n: tuple[int, int]
    asked: tuple[int, int]
    value: float
    low: float | None
    high: float | None
    p: float | None
    level: float
    method: str
    rule: str
    stopped: bool
    stopping: str
    digest: str
    plan: str

    @property
    def judge(self) -> tuple[str, str, str, str]:
        """Who compares what; see `Compared.judge`."""
        return self.rubric_digest, self.rater, self.first, self.second

    @property
    def is_across(self) -> bool:
        """Whether sources of several runs are compared, and stand here with their runs."""
        return " of " in self.first

    @property
    def recorded(self) -> bool:
        """Whether the ledger has it: a run that cannot be written keeps no look."""
        return bool(self.made_at)


@dataclass(frozen=True)
class Reading:
    """How a look may be read.

    Attributes:
        rule: Of the plan; `undeclared` where there is none, or where it was not followed.
        number: Which look at these sources it is; the same scores again are the same look.
        multiplier: Of the standard error; None for an ordinary interval, which one look has.
        deviations: In what the plan was not followed; empty without a plan.
        interim: Why nothing is decided yet; empty where this look may decide.
        stopped: Whether the rule lets it be the last, and why or why not; None without a rule.
        fractions: Information at each look, as a share of the most; of the rule `clear`.
    """

    rule: Rule | Literal["undeclared"]
    number: int
    n: tuple[int, int]
    level: float
    multiplier: float | None = None
    deviations: tuple[str, ...] = ()
    interim: str = ""
    stopped: Stop | None = None
    fractions: tuple[float, ...] = ()
    recorded: bool = True

    @property
    def declared(self) -> bool:
        """Whether the plan was followed."""
        return self.rule != "undeclared"

    @property
    def bias(self) -> str:
        """What is known of the error of the estimate; empty where it has none to speak of."""
        early = self.rule == "clear" and self.stopped is not None and self.stopped.stop
        return STOPPED_EARLY if early else ""

    @property
    def method(self) -> str:
        """How the interval is made; empty for an ordinary one."""
        if self.multiplier is None:
            return ""
        at = f"{self.multiplier:.3f} standard errors on Brunner-Munzel's t scale"
        return {
            "fixed": "",
            "width": f"{at}, for stopping by the half-width (Chow & Robbins 1965)",
            "clear": f"repeated interval of look {len(self.fractions)}, {at} (Jennison & Turnbull "
            "1989; Lan & DeMets 1983 with Kim & DeMets' power 2)",
            "undeclared": f"asymptotic confidence sequence, {at} (Waudby-Smith et al. 2024)",
        }[self.rule]

    @property
    def ordinary(self) -> float:
        """Multiplier of the standard error of one look alone at this level: 1.96 at 95 %."""
        return float(scipy.stats.norm.isf((1 - self.level) / 2))

    @property
    def tail_level(self) -> float:
        """Level at which an ordinary interval is as wide as this reading's, about."""
        if self.multiplier is None:
            return self.level
        return float(1 - 2 * scipy.stats.norm.sf(self.multiplier))

    def p_value(self, p: float | None) -> float | None:
        """Return the p-value of an ordinary two-sided test as this look may read it.

        It is at most 1 - level where an interval at `tail_level` leaves the null out.
        """
        if self.multiplier is None or p is None:
            return p
        size = float(scipy.stats.norm.isf(max(p, SMALLEST_P) / 2))
        return max(p, self._p_of_size(size))

    def _p_of_size(self, size: float) -> float:
        """Return p of an estimate so many standard errors off, as it holds at all looks."""
        if self.rule == "clear":
            return repeated_p_value(size, self.fractions)
        if self.rule == "width":
            assert self.multiplier is not None
            return float(2 * scipy.stats.norm.sf(size * self.ordinary / self.multiplier))
        return sequence_p_value(size, middle(self.n))

    def interval(self, first: Floats, second: Floats) -> Statistic:
        """Return P(superiority) of two groups of scores, [units], with the interval that holds."""
        if self.multiplier is None:
            return superiority(first, second, self.level)
        interval = repeated_interval(first, second, self.multiplier, 1 - self.level)
        return replace(interval, method=self.method)

    def test(self, test: HypothesisTest, first: Floats, second: Floats) -> HypothesisTest:
        """Return a test of one look with the p-value that holds at this one.

        It is at most 1 - level where the interval of `interval` leaves ½ out, and not elsewhere.
        """
        if self.multiplier is None or test.p_value is None:
            return test
        p = self._p_of_size(size_of(first, second))
        method = f"{test.method}; {BY_INTERVAL}"
        return replace(test, p_value=max(p, test.p_value), method=method)


def middle(n: Sequence[int]) -> float:
    """Return the harmonic mean of the units of two sources: what their comparison is worth."""
    return 2 / (1 / n[0] + 1 / n[1])


def take_look(
    run: Run,
    compared: Compared,
    plan: Plan | None,
    level: float,
    verb: str,
    test: HypothesisTest | None = None,
    stopping: Stopping | None = None,
) -> tuple[Reading, Look]:
    """Return how a look may be read, and its line of the ledger; a new look is written there.

    Args:
        level: Nominal coverage of the interval.
        test: Of one look; None to compute it.
        stopping: The rule that `rate` follows; None for another verb.
    """

    def estimate(reading: Reading) -> tuple[Statistic, float | None]:
        one = test
        if one is None:
            rng = np.random.default_rng(reading.number - 1)
            one = superiority_test(*compared.scores, rng, RESAMPLES)
        return reading.interval(*compared.scores), reading.test(one, *compared.scores).p_value

    return take_look_across([run], compared, plan, level, verb, estimate, stopping)


def take_look_across(
    runs: Sequence[Run],
    compared: Compared,
    plan: Plan | Declared | None,
    level: float,
    verb: str,
    estimate: Estimate,
    stopping: Stopping | None = None,
) -> tuple[Reading, Look]:
    """Return how a look at the ratings of several runs may be read, and its line of the ledgers.

    A look in the ledger of any of them counts. A new one is written to each that can be written;
    where none can, it is not recorded.

    Args:
        estimate: Called for a new look.
    """
    ledgers = [looks_of(run) for run in runs]
    by_digest = {
        look.digest: look for ledger in ledgers for look in ledger if look.judge == compared.judge
    }
    # In one ledger the order of lines counts, for a second may hold several.
    earlier = list(by_digest.values())
    if len(runs) > 1:
        earlier.sort(key=lambda look: (look.number, look.made_at))
    same = by_digest.get(compared.digest)
    before = earlier if same is None else earlier[: earlier.index(same)]
    reading = read(compared, plan, before, level, stopping)
    if same is None:
        statistic, p = estimate(reading)
        assert statistic.value is not None
        same = Look(
            number=reading.number,
            made_at="",
            verb=verb,
            rubric=compared.rubric,
            rubric_digest=compared.rubric_digest,
            rater=compared.rater,
            first=compared.first,
            second=compared.second,
            n=compared.n,
            asked=compared.asked,
            value=statistic.value,
            low=statistic.low,
            high=statistic.high,
            p=p,
            level=level,
            method=statistic.method,
            rule=reading.rule,
            stopped=reading.stopped is not None and reading.stopped.stop,
            stopping="" if stopping is None else str(stopping),
            digest=compared.digest,
            plan=plan.digest if plan else "",
        )
    lacking = [
        run
        for run, ledger in zip(runs, ledgers, strict=True)
        if not any(look.digest == same.digest for look in ledger) and not run.is_read_only
    ]
    if lacking and not same.made_at:
        same = replace(same, made_at=now().isoformat(timespec="seconds"))
    for run in lacking:
        row = {name: getattr(same, name) for name in Look.__dataclass_fields__}
        row |= {"n": list(same.n), "asked": list(same.asked)}
        row |= {"stopping": same.stopping or None, "plan": same.plan or None}
        run.add_look(row)
    return replace(reading, recorded=same.recorded), same


def read(
    compared: Compared,
    plan: Plan | Declared | None,
    before: Sequence[Look],
    level: float,
    stopping: Stopping | None = None,
) -> Reading:
    """Return how a look may be read, after those `before` it at the same sources.

    By the rule of the plan where it was followed. Else one look has an ordinary interval, and the
    later ones the confidence sequence's, which holds however often one looks.
    """
    number = len(before) + 1
    if plan is None:
        return _undeclared(compared, number, level, (), stopping)
    if isinstance(plan, Declared):
        return _in_sweep(compared, plan, number, level)
    deviations = _deviations(compared, plan, before, level, stopping)
    if deviations:
        return _undeclared(compared, number, level, deviations, stopping)
    if (compared.first, compared.second) != (plan.first, plan.second):
        interim = f"not the declared pair ({plan.first} and {plan.second}, not both rated yet)"
        return Reading("undeclared", number, compared.n, level, interim=interim)
    if compared.repeats < plan.repeats:
        interim = f"not all ratings yet ({compared.repeats} of {plan.repeats} of each unit)"
        stop = Stop(False, interim)
        return Reading(plan.stopping.rule, number, compared.n, level, interim=interim, stopped=stop)
    if plan.stopping.rule == "fixed":
        return _fixed(compared, plan.stopping, number, level)
    if plan.stopping.rule == "width":
        return _until_narrow(compared, plan.stopping, number, level)
    return _until_clear(compared, plan.stopping, before, level, len(set(plan.raters)))


def _deviations(
    compared: Compared,
    plan: Plan,
    before: Sequence[Look],
    level: float,
    stopping: Stopping | None,
) -> tuple[str, ...]:
    """Return in what the rating, or a look at it, differs from the plan."""
    units = dict(zip((compared.first, compared.second), compared.asked, strict=True))
    repeats = max(compared.repeats, plan.repeats)  # fewer may still become as many
    texts = [
        *plan.deviations(
            compared.rater, compared.rubric, compared.rubric_digest, units, repeats, stopping
        )
    ]
    if abs(1 - plan.alpha - level) > 1e-9:
        texts.append(f"intervals are at {level:g}, not {1 - plan.alpha:g}")
    followed = dict.fromkeys(look.stopping for look in before if look.stopping)
    others = [rule for rule in followed if rule != str(plan.stopping)]
    if others and stopping in (None, plan.stopping):
        texts.append(f"one stops by another rule ({others[0]})")
    at = stopped_at(before)
    if at is not None and min(compared.asked) > at:
        texts.append(f"rating went on after the rule had stopped it at {at} units a source")
    return tuple(texts)


def stopped_at(looks: Sequence[Look]) -> int | None:
    """Return the units a source at which `until narrow` has stopped, in a judge's looks at a pair;
    None where it has not. The other rules' intervals hold after a stop, too.
    """
    stops = [look for look in looks if look.stopped and look.rule == "width"]
    return min(stops[0].asked) if stops else None


def _undeclared(
    compared: Compared,
    number: int,
    level: float,
    deviations: tuple[str, ...],
    stopping: Stopping | None,
) -> Reading:
    multiplier = None
    if number > 1:
        multiplier = float(confidence_sequence_multiplier(middle(compared.n), alpha=1 - level))
    reading = Reading("undeclared", number, compared.n, level, multiplier, deviations)
    if stopping is None:
        return reading
    return replace(reading, stopped=_stop(reading.interval(*compared.scores), stopping))


def _fixed(compared: Compared, stopping: Stopping, number: int, level: float) -> Reading:
    fewest = min(compared.asked)
    if fewest < stopping.n:
        interim = f"not at its declared n yet ({fewest} of {stopping.n} units of each source)"
        return Reading(
            "fixed", number, compared.n, level, interim=interim, stopped=Stop(False, interim)
        )
    at = Stop(True, f"the declared {stopping.n} units of each source were asked about")
    return Reading("fixed", number, compared.n, level, stopped=at)


def _in_sweep(compared: Compared, plan: Declared, number: int, level: float) -> Reading:
    pairs = list(zip(compared.asked, plan.n, strict=True))
    more = [f"{asked} units of an arm are asked about, not {n}" for asked, n in pairs if asked > n]
    if compared.repeats > 1:
        more.append(f"units are rated {compared.repeats} times, not once")
    if deviations := (*plan.deviations, *more):
        return _undeclared(compared, number, level, deviations, None)
    fewer = [f"{asked} of {n} units of an arm" for asked, n in pairs if asked < n]
    if fewer:
        interim = f"not at its declared n yet ({' and '.join(fewer)})"
        stop = Stop(False, interim)
        return Reading("fixed", number, compared.n, level, interim=interim, stopped=stop)
    at = Stop(True, "all units that the sweep's plan declares were asked about")
    return Reading("fixed", number, compared.n, level, stopped=at)


def _until_narrow(compared: Compared, stopping: Stopping, number: int, level: float) -> Reading:
    reading = Reading("width", number, compared.n, level, narrow_multiplier(1 - level))
    stop = _stop(reading.interval(*compared.scores), stopping)
    if stop.stop or min(compared.asked) >= stopping.n:
        return replace(reading, stopped=stop)
    return replace(reading, stopped=stop, interim=f"not narrow enough yet ({stop.why})")


def _until_clear(
    compared: Compared, stopping: Stopping, before: Sequence[Look], level: float, raters: int
) -> Reading:
    """Return how a look by this rule may be read. One of several raters stops at alpha over their
    number: Holm's adjustment asks that of the smallest p, and the others may reject nothing."""
    number = len(before) + 1
    if min(compared.n) < LEAST_A_SOURCE:
        have = f"{min(compared.n)} scored units of a source, at least {LEAST_A_SOURCE}"
        interim = f"too early to look ({have})"
        stop = Stop(False, interim)
        return Reading("clear", number, compared.n, level, interim=interim, stopped=stop)
    # Units asked about stand for information, so that it is all in at n whatever was lost.
    spending = [look.asked for look in before if min(look.n) >= LEAST_A_SOURCE]
    present = min(1.0, middle(compared.asked) / stopping.n)
    shares = {min(1.0, middle(asked) / stopping.n) for asked in spending}
    fractions = (*sorted(share for share in shares if share < present - 1e-9), present)
    multiplier = float(boundaries(fractions, 1 - level)[-1])
    reading = Reading("clear", number, compared.n, level, multiplier, fractions=fractions)
    if raters == 1:
        return replace(reading, stopped=_stop(reading.interval(*compared.scores), stopping))
    alpha = (1 - level) / raters
    strict = float(boundaries(fractions, alpha)[-1])
    stop = sign_is_clear(repeated_interval(*compared.scores, strict, alpha))
    of = f"{stop.why}, at alpha over {raters} raters"
    return replace(reading, stopped=replace(stop, why=of))


def _stop(interval: Statistic, stopping: Stopping) -> Stop:
    """Return whether a look may be the last by the rule of `rate`, with the interval it has."""
    if stopping.rule == "width":
        assert stopping.half_width is not None
        return narrow_enough(interval, stopping.half_width)
    return sign_is_clear(interval)


# ------------------------------------------------------------------------------ the ledger


def looks_of(run: Run) -> list[Look]:
    """Return the looks that the run's ledger holds, the first one first."""
    return [
        Look(
            **{
                **{name: row[name] for name in Look.__dataclass_fields__},
                "made_at": row["made_at"].isoformat(timespec="seconds"),
                "n": tuple(row["n"]),
                "asked": tuple(row["asked"]),
                "stopping": row["stopping"] or "",
                "plan": row["plan"] or "",
            }
        )
        for row in run.stored_looks()
    ]


def compared_in(
    run: Run, rubric: str, rubric_digest: str, rater: str, pair: tuple[str, str]
) -> Compared:
    """Return the scores of two sources as the run holds them, repeats averaged."""
    rows = run.rows(
        "SELECT source, unit_id, avg(score)::DOUBLE, count(*) FROM unit_rating"
        " WHERE rubric_digest = ? AND rater = ? AND source IN (?, ?)"
        " GROUP BY source, unit_id ORDER BY unit_id",
        [rubric_digest, rater, *pair],
    )
    of = {name: [row for row in rows if row[0] == name] for name in pair}
    scored = {name: [row for row in of[name] if row[2] is not None] for name in pair}
    first, second = pair
    return Compared(
        rubric=rubric,
        rubric_digest=rubric_digest,
        rater=rater,
        first=first,
        second=second,
        unit_ids=(_ids(scored[first]), _ids(scored[second])),
        scores=(_scores(scored[first]), _scores(scored[second])),
        asked=(len(of[first]), len(of[second])),
        repeats=max((row[3] for row in rows), default=1),
    )


def _ids(rows: Sequence[tuple[object, ...]]) -> Integers:
    return np.array([row[1] for row in rows], dtype=np.int64)


def _scores(rows: Sequence[tuple[object, ...]]) -> Floats:
    return np.array([row[2] for row in rows], dtype=np.float64)
