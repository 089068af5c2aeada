"""A run's plan: who compares what, by which test, and when one stops; hashed before it is rated."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autointerp.errors import BadInput, StorageError
from autointerp.records import is_person
from autointerp.stats.decision import EQUIVALENT
from autointerp.stats.sequential import LEAST_A_SOURCE, units_for_width
from autointerp.store.run import Run
from autointerp.store.tables import now
from autointerp.text import count, first_tokens
from autointerp.units.sources import kind_of

Rule = Literal["fixed", "width", "clear"]

TEST = (
    "Brunner-Munzel, two-sided; its permutation version where a source has fewer than 50 units or "
    "the other at least half as many again"
)
LEVEL = 0.95  # nominal coverage of intervals, where no plan says another
PRIMARY = ("features", "neurons")  # where no plan names another pair
SPARE = 1.25  # of `until narrow`: units without a score come on top of what any scores need


@dataclass(frozen=True)
class Stopping:
    """When to stop rating.

    Attributes:
        rule: `fixed`: at `n` units of each source; `width`: as soon as the interval is narrow
            enough; `clear`: as soon as the interval leaves ½ out.
        n: Units of each source: so many (`fixed`), or at most.
        half_width: Of the interval at the stop, at most; None unless the rule is `width`.

    Raises BadInput for what is no rule.
    """

    rule: Rule
    n: int
    half_width: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in ("fixed", "width", "clear"):
            raise BadInput(f"stopping rule '{self.rule}'; known: fixed, width, clear")
        if (self.half_width is not None) != (self.rule == "width"):
            raise BadInput("a half-width goes with the stopping rule 'width', and only with it")
        if self.half_width is not None and not 0 < self.half_width < 0.5:
            raise BadInput(f"--until-width {self.half_width:g}: give a half-width from 0 to 0.5")
        least, option = (2, "--n") if self.rule == "fixed" else (LEAST_A_SOURCE, "--max-n")
        if self.n < least:
            why = "nothing stops before" if self.rule != "fixed" else "a test needs"
            raise BadInput(f"{option} {self.n}: {why} {least} units of each source")

    def __str__(self) -> str:
        if self.rule == "fixed":
            return f"a fixed n, {count(self.n, 'unit')} of each source"
        until = (
            f"until the interval's half-width is {self.half_width:g} at most"
            if self.rule == "width"
            else "until the sign is clear"
        )
        return f"{until}, with {count(self.n, 'unit')} of each source at most"


def until(
    half_width: float | None = None, clear: bool = False, max_n: int | None = None
) -> Stopping | None:
    """Return the rule that the options --until-width, --until-clear and --max-n make; None
    without them.

    Raises BadInput where they contradict one another.
    """
    if half_width is not None and clear:
        raise BadInput("--until-width and --until-clear are two rules; give one of them")
    if half_width is not None:
        if max_n is None and 0 < half_width < 0.5:
            max_n = max(LEAST_A_SOURCE, round(SPARE * units_for_width(half_width)))
        return Stopping("width", max_n or LEAST_A_SOURCE, half_width)
    if clear:
        if max_n is None:
            raise BadInput("--until-clear needs --max-n, the units of each source at most")
        return Stopping("clear", max_n)
    if max_n is not None:
        raise BadInput(f"--max-n {max_n} goes with --until-width or --until-clear")
    return None


@dataclass(frozen=True)
class Plan:
    """What was declared.

    Attributes:
        raters: Names, as in the ratings.
        first, second: The sources that are compared, in the order of reports.
        equivalence: Bounds of P(superiority) between which a difference does not matter.
        repeats: Ratings of each unit.
        tokens: Tokens of the corpus that are read at most; 0 for all.
        made_at: UTC, to the second; empty before it is stored.
        altered: Whether the run holds it with another digest than its own: then it was changed
            after it was stored.
    """

    raters: tuple[str, ...]
    rubric: str
    rubric_digest: str
    first: str
    second: str
    stopping: Stopping
    alpha: float = 0.05
    equivalence: tuple[float, float] = EQUIVALENT
    repeats: int = 1
    test: str = TEST
    tokens: int = 0
    made_at: str = ""
    altered: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        low, high = self.equivalence
        if not self.raters:
            raise BadInput("a plan names at least one rater: --rater NAME")
        if self.first == self.second:
            raise BadInput(f"--source {self.first} twice: a plan compares two sources")
        if not 0 < self.alpha < 0.5:
            raise BadInput(f"--alpha {self.alpha:g}: give a level from 0 to 0.5")
        if not 0 <= low < 0.5 < high <= 1:
            raise BadInput(f"--equivalence {low:g} {high:g}: the bounds must enclose 0.5")

    def content(self) -> dict[str, Any]:
        """Return what was declared, as JSON values, without when."""
        fields = dataclasses.asdict(self)
        del fields["made_at"], fields["altered"]
        if not self.tokens:  # younger than digests that are stored
            del fields["tokens"]
        return {
            **fields,
            "raters": list(self.raters),
            "equivalence": [float(end) for end in self.equivalence],
        }

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of the content and the time."""
        return declared_digest(self.content(), self.made_at)

    def __str__(self) -> str:
        low, high = self.equivalence
        repeats = f", {self.repeats} times each" if self.repeats > 1 else ""
        return (
            f"{' and '.join(self.raters)} on {self.rubric} (digest {self.rubric_digest[:12]}), "
            f"{self.first} against {self.second}{repeats}; {self.stopping}; {self.test}; "
            f"alpha {self.alpha:g}; alike within {low:g} to {high:g}"
            + (f"; from {first_tokens(self.tokens)} at most" if self.tokens else "")
        )

    def deviations(
        self,
        rater: str,
        rubric: str,
        rubric_digest: str,
        units: Mapping[str, int],
        repeats: int,
        stopping: Stopping | None = None,
    ) -> tuple[str, ...]:
        """Return in what a rating differs from the plan, a clause each; none if in nothing.

        Args:
            units: Units asked about, by source.
            stopping: The rule that was followed; None where nobody followed one.
        """
        texts = []
        if rater not in self.raters:
            texts.append(f"the rater is {rater}, not {' or '.join(self.raters)}")
        if rubric_digest != self.rubric_digest:
            same_name = ", with another text" if rubric == self.rubric else ""
            texts.append(f"the rubric is {rubric}{same_name}, not {self.rubric}")
        most = max(units.get(self.first, 0), units.get(self.second, 0))
        if most > self.stopping.n:
            at_most = "" if self.stopping.rule == "fixed" else " at most"
            texts.append(
                f"{most} units of a source are asked about, not {self.stopping.n}{at_most}"
            )
        if repeats != self.repeats and not is_person(rater):  # theirs are a check
            texts.append(f"units are rated {_times(repeats)}, not {_times(self.repeats)}")
        if stopping is not None and stopping != self.stopping:
            texts.append(f"one stops by another rule ({stopping})")
        if self.altered:
            texts.append("the plan was changed after it was stored: its digest is another")
        return tuple(texts)


def declared_digest(content: Mapping[str, Any], made_at: str) -> str:
    """Return the sha256 of the canonical JSON of what was declared, and when."""
    declared = {**content, "made_at": made_at}
    text = json.dumps(declared, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def in_order(sources: Mapping[str, bool]) -> list[str]:
    """Return sources (name → is it a control) in the order of reports: the primary pair, the
    other sources, then the controls from ceiling to floor."""

    def place(name: str) -> int:
        if not sources[name]:
            return PRIMARY.index(name) if name in PRIMARY else len(PRIMARY)
        return ("ceiling", "control", "floor").index(kind_of(name, is_control=True).role)

    return sorted(sources, key=lambda name: (sources[name], place(name), name))


def plan_of(run: Run) -> Plan | None:
    """Return the plan that counts, the last; None where there is none."""
    stored = run.stored_plans()
    if not stored:
        return None
    digest, made_at, content = stored[-1]
    try:
        values = {
            **content,
            "raters": tuple(content["raters"]),
            "stopping": Stopping(**content["stopping"]),
            "equivalence": tuple(content["equivalence"]),
            "made_at": made_at,
        }
        plan = Plan(**values)
    except (KeyError, TypeError, BadInput) as error:
        raise StorageError(
            f"run '{run.name}' holds a plan that cannot be read ({error}); it was changed after it "
            "was stored: restore the run from a copy"
        ) from None
    return dataclasses.replace(plan, altered=plan.digest != digest)


def level_of(plan: Plan | None) -> float:
    """Return the nominal coverage of a run's intervals: that of its plan, 95 % without one."""
    return 1 - plan.alpha if plan else LEVEL


def primary_pair(plan: Plan | None) -> tuple[str, str]:
    """Return the two sources that are compared before all others: a plan's, else features and
    neurons."""
    return (plan.first, plan.second) if plan else PRIMARY


def is_rated(run: Run) -> bool:
    """Whether a unit of the run was rated, with or without a score, or is in a provider's batch."""
    handed_over = "SELECT 1 FROM batch_call JOIN item USING (item_id) LIMIT 1"
    return run.has_rows("unit_rating") or bool(run.rows(handed_over))


def declare(run: Run, plan: Plan) -> Plan:
    """Store a plan and return it as stored; the same plan is not stored twice.

    Another plan is superseded while nothing was rated. Raises BadInput once something was.
    """
    earlier = plan_of(run)
    if earlier is not None and not earlier.altered and earlier.content() == plan.content():
        return earlier
    if is_rated(run):
        held = f"has the plan {earlier.digest[:12]} and " if earlier else "has "
        raise BadInput(
            f"run '{run.name}' {held}ratings; a plan is written before the first one: give this "
            "work another run"
        )
    made_at = now().isoformat(timespec="seconds")
    stored = dataclasses.replace(plan, made_at=made_at, altered=False)
    run.add_plan(stored.digest, made_at, stored.content())
    return stored
