"""What a run holds, in counts: for `runs`, `show` and the `repr` of an open run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autointerp.errors import AutointerpError
from autointerp.findings.plan import plan_of
from autointerp.store.run import RUNS, Run, read_about, runs_in
from autointerp.store.snapshots import open_to_read
from autointerp.text import count, dollars


@dataclass(frozen=True)
class RunSummary:
    """What a run holds.

    Attributes:
        subject: Model of the subject: a hub id, a path, `embedded` or `imported`.
        made: When the run was created, in UTC.
        units: Units by source and outcome (`eligible`, `dead`, …).
        asked: Units of each source that a rater was asked about, whatever came of it; those in a
            pack or sitting count once they are answered.
        ratings: Ratings by rater, rubric and status.
        answers: Answers to other questions than a unit's rating, likewise: explanations, scorers,
            rubrics about descriptions.
        descriptions: Units that each explainer described.
        plan: Digest and words of what was declared before the first rating; empty without a plan.
        looks: Comparisons of two sources on new ratings, so far.
        cost_usd: What the run's calls have cost, as far as prices are known.
        charged_usd: Of that, the most that calls of unknown cost can have cost.
        problem: Why the run cannot be read; empty if it can.
    """

    run: str
    subject: str = ""
    made: str = ""
    seed: int = 0
    units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)
    ratings: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    descriptions: Mapping[str, int] = field(default_factory=dict)
    plan: str = ""
    looks: int = 0
    cost_usd: float = 0.0
    charged_usd: float = 0.0
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return asdict(self)

    @property
    def by_rater(self) -> dict[str, dict[str, int]]:
        """Ratings by rater and status, all rubrics together."""
        totals: dict[str, dict[str, int]] = {}
        for rater, rubrics in self.ratings.items():
            totals[rater] = {}
            for statuses in rubrics.values():
                for status, n in statuses.items():
                    totals[rater][status] = totals[rater].get(status, 0) + n
        return totals

    def __str__(self) -> str:
        if self.problem:
            return f"run '{self.run}': {self.problem}"
        lines = [f"run '{self.run}', subject {self.subject}, made {self.made}, seed {self.seed}"]
        for source, outcomes in self.units.items():
            counts = ", ".join(f"{n:,} {outcome}" for outcome, n in outcomes.items())
            lines.append(f"  units      {source}: {counts}; {self.asked.get(source, 0):,} asked")
        for label, answers in (("ratings  ", self.ratings), ("answers  ", self.answers)):
            for rater, rubrics in answers.items():
                for rubric, statuses in rubrics.items():
                    counts = ", ".join(f"{n:,} {status}" for status, n in statuses.items())
                    lines.append(f"  {label}  {rater} on {rubric}: {counts}")
        for explainer, n in self.descriptions.items():
            lines.append(f"  described  {explainer}: {count(n, 'unit')}")
        if self.plan:
            lines.append(f"  plan       {self.plan}")
        lines.append(f"  looks      {self.looks}{'' if self.plan else ', undeclared'}")
        most = f", at most {dollars(self.charged_usd)} of it for calls of unknown cost"
        lines.append(f"  cost       {dollars(self.cost_usd)}{most if self.charged_usd else ''}")
        return "\n".join(lines)


def summarise(run: Run) -> RunSummary:
    """Return what an open run holds."""
    units: dict[str, dict[str, int]] = {}
    for source, outcome, n in run.rows(
        "SELECT source, outcome, count(*) FROM unit GROUP BY ALL ORDER BY ALL"
    ):
        units.setdefault(source, {})[outcome] = n
    ratings = _by_rater(
        run, "SELECT rater, rubric, status, count(*) FROM unit_rating GROUP BY ALL ORDER BY ALL"
    )
    answers = _by_rater(
        run,
        "SELECT rater, rubric, status, count(*) FROM current_rating"
        " WHERE item_id NOT IN (SELECT item_id FROM unit_item) GROUP BY ALL ORDER BY ALL",
    )
    plan = plan_of(run)
    return RunSummary(
        run=run.name,
        subject=run.settings.subject.model,
        made=str(run.about["run"]["made"]),
        seed=run.settings.seed,
        units=units,
        asked=dict(
            run.rows(
                "SELECT source, count(DISTINCT unit_id) FROM unit_rating GROUP BY 1 ORDER BY 1"
            )
        ),
        ratings=ratings,
        answers=answers,
        descriptions=dict(
            run.rows(
                "SELECT explainer, count(*) FROM explanation"
                " WHERE status = 'ok' AND description <> 'Unknown' GROUP BY 1 ORDER BY 1"
            )
        ),
        plan="" if plan is None else f"{plan.digest[:12]} of {plan.made_at} UTC: {plan}",
        looks=len(run.stored_looks()),
        cost_usd=run.spent_usd(),
        charged_usd=run.charged_usd(),
    )


def _by_rater(run: Run, query: str) -> dict[str, dict[str, dict[str, int]]]:
    """Return counts by rater, rubric and status."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for rater, rubric, status, n in run.rows(query):
        counts.setdefault(rater, {}).setdefault(rubric, {})[status] = n
    return counts


def summarise_runs(folder: Path = RUNS) -> list[RunSummary]:
    """Return what each run in a folder holds; one that cannot be read says why in `problem`."""
    return [_summary_of(name, folder) for name in runs_in(folder)]


def _summary_of(name: str, folder: Path) -> RunSummary:
    subject = made = ""
    try:
        about = read_about(folder / name)
        subject, made = about["settings"]["subject"]["model"], str(about["run"]["made"])
        with open_to_read(name, folder) as run:
            return summarise(run)
    except AutointerpError as error:
        return RunSummary(name, subject, made, problem=str(error))
