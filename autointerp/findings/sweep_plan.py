"""A sweep's one plan: what is compared, by whom and on what; hashed before the first rating."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput, StorageError
from autointerp.files import json_value, write_text
from autointerp.findings.plan import declared_digest, is_rated
from autointerp.stats.decision import EQUIVALENT
from autointerp.store.run import Run
from autointerp.store.tables import now
from autointerp.text import count, first_tokens

PLANS = ".plans"  # beside the runs
TEST = (
    "features of each recipe against neurons, untrained twins and the reference; Brunner-Munzel, "
    "two-sided, with seeds nested in recipes; p adjusted by Holm over all of these"
)
KNOWN_BY = 12  # digits of a digest that are shown


@dataclass(frozen=True)
class SweepPlan:
    """What was declared of a sweep.

    Attributes:
        saes: Name, recipe and site of each SAE.
        n: Units of each SAE, twin and site's neurons; `controls` of each control.
        tokens: Of the corpus, at most; 0 for all.
        settings: Digest of what is harvested and how units are drawn, by run.
        made_at: UTC, to the second; empty before it is stored.
        altered: Whether it is stored with another digest than its own.
    """

    name: str
    saes: tuple[tuple[str, str, str], ...]
    reference: str
    rater: str
    rubric: str
    rubric_digest: str
    n: int
    controls: int
    tokens: int
    settings: Mapping[str, str]
    alpha: float = 0.05
    equivalence: tuple[float, float] = EQUIVALENT
    test: str = TEST
    made_at: str = ""
    altered: bool = dataclasses.field(default=False, compare=False)

    def content(self) -> dict[str, Any]:
        """Return what was declared, as JSON values, without when."""
        fields = dataclasses.asdict(self)
        del fields["made_at"], fields["altered"]
        content: dict[str, Any] = json.loads(json.dumps(fields))
        return content

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of the content and the time."""
        return declared_digest(self.content(), self.made_at)

    def __str__(self) -> str:
        names = ", ".join(name for name, _, _ in self.saes)
        return (
            f"{count(len(self.saes), 'SAE')} ({names}), {self.n} units of each and of a site's "
            f"neurons, {self.controls} of each control; {self.rater} on {self.rubric} (digest "
            f"{self.rubric_digest[:KNOWN_BY]}); reference {self.reference}; {self.test}; alpha "
            f"{self.alpha:g}; from {first_tokens(self.tokens)}"
        )

    def deviations(self, now_asked: SweepPlan, digests: Mapping[str, str]) -> tuple[str, ...]:
        """Return in what a sweep as it is asked for differs, a clause each; none if in nothing.

        `digests` are those of its settings by run, with as many tokens as were planned.
        """
        texts = []
        for what in ("rater", "reference", "n", "controls"):
            planned, asked = getattr(self, what), getattr(now_asked, what)
            if planned != asked:
                texts.append(f"{what} is {asked}, not {planned}")
        if self.rubric_digest != now_asked.rubric_digest:
            same_name = ", with another text" if self.rubric == now_asked.rubric else ""
            texts.append(f"the rubric is {now_asked.rubric}{same_name}, not {self.rubric}")
        if self.tokens != now_asked.tokens:
            texts.append(
                f"{first_tokens(now_asked.tokens)} are read, not {first_tokens(self.tokens)}"
            )
        planned_saes = {name: rest for name, *rest in self.saes}
        asked_saes = {name: rest for name, *rest in now_asked.saes}
        texts += [f"SAE '{name}' joined later" for name in asked_saes.keys() - planned_saes.keys()]
        texts += [f"SAE '{name}' is left out" for name in planned_saes.keys() - asked_saes.keys()]
        for name in planned_saes.keys() & asked_saes.keys():
            if planned_saes[name] != asked_saes[name]:
                texts.append(f"SAE '{name}' has another recipe or site")
            run = f"{self.name}.{name}"
            if self.settings.get(run) != digests.get(run):
                texts.append(f"SAE '{name}' is another file, or is harvested with other settings")
        if self.altered:
            texts.append("the plan was changed after it was stored: its digest is another")
        return tuple(sorted(texts))


def plan_path(name: str, runs: Path) -> Path:
    """Return the file of a sweep's plan, beside the runs."""
    return runs / PLANS / f"{name}.json"


def stored_plan(name: str, runs: Path) -> SweepPlan | None:
    """Return the plan of a sweep; None where there is none.

    Raises StorageError if it cannot be read.
    """
    path = plan_path(name, runs)
    if not path.exists():
        return None
    try:
        values = json_value(path.read_bytes())
        digest = values.pop("digest")
        values["saes"] = tuple(tuple(sae) for sae in values["saes"])
        values["equivalence"] = tuple(values["equivalence"])
        plan = SweepPlan(**values)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{path} is no plan of a sweep ({error}); restore it from a copy, or remove it: then "
            "the sweep has no plan"
        ) from None
    return dataclasses.replace(plan, altered=plan.digest != digest)


def plans_of_runs(names: Collection[str], runs: Path) -> list[SweepPlan]:
    """Return the plans of sweeps that declare contrasts of two of these runs or more; those that
    cannot be read are left out."""
    plans = []
    for path in sorted((runs / PLANS).glob("*.json")):
        with contextlib.suppress(StorageError):
            plan = stored_plan(path.stem, runs)
            if plan is not None and len(plan.settings.keys() & set(names)) > 1:
                plans.append(plan)
    return plans


def declare_sweep(plan: SweepPlan, runs: Path, opened: Iterable[Run]) -> SweepPlan:
    """Store a sweep's plan and return it as stored; the same plan is not stored twice.

    Another plan is superseded while nothing was rated. `opened` are the runs of the sweep that
    there are. Raises BadInput once a unit of one was rated.
    """
    earlier = stored_plan(plan.name, runs)
    if earlier is not None and not earlier.altered and earlier.content() == plan.content():
        return earlier
    for run in opened:
        if is_rated(run):
            held = (
                f"has the plan {earlier.digest[:KNOWN_BY]}, and "
                if earlier
                else "has no plan, and "
            )
            raise BadInput(
                f"sweep '{plan.name}' {held}run '{run.name}' has ratings; a plan is written before "
                "the first one: give the sweep another name"
            )
    made = dataclasses.replace(plan, made_at=now().isoformat(timespec="seconds"), altered=False)
    path = plan_path(plan.name, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**made.content(), "made_at": made.made_at, "digest": made.digest}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return made
