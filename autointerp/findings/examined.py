"""A unit on the bench: where it fires, and what the labs measured of it and of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.findings.browse import newest_descriptions
from autointerp.findings.json_values import plain
from autointerp.findings.subject import SubjectFacts, subject_facts
from autointerp.labs import described_lab
from autointerp.records import Context, Outcome
from autointerp.store.run import Run
from autointerp.units.sources import source_kinds

# In the order of the page.
LABS = (
    "context-ablation", "vocabulary-probe", "probe-sentences", "neuron-alignment",
    "logit-differences", "neighbours",
)  # fmt: skip
STRONGEST = 10


@dataclass(frozen=True)
class Shown:
    """A context up to its end, with the unit's activation on each token.

    Attributes:
        focus: Index of the peak.
        interval: Of the activation at the peak, from 1; 0 for one of the strongest contexts.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    focus: int
    interval: int


@dataclass(frozen=True)
class ExaminedUnit:
    """A unit and all that was measured of it.

    Attributes:
        unit: Its name, such as `features/12`.
        tokens: That were read for its density.
        description: The last one; empty where nobody gave any.
        interval_tokens: Tokens on which it fires, by interval of activation.
        strongest, uniform: Its strongest contexts, and one from each interval of activation that
            has any, the weakest first.
        labs: Rows of each lab of `LABS`, as JSON values; none for a lab that did not measure it.
    """

    unit_id: int
    unit: str
    source: str
    is_control: bool
    outcome: Outcome
    density: float | None
    tokens: int
    peak: float
    note: str
    description: str
    interval_tokens: tuple[float, ...]
    strongest: tuple[Shown, ...]
    uniform: tuple[Shown, ...]
    labs: Mapping[str, Sequence[Mapping[str, Any]]]

    def rows(self, lab: str, **wanted: object) -> list[Mapping[str, Any]]:
        """Return the rows of a lab that measured something, of these values."""
        return [
            row
            for row in self.labs.get(lab, ())
            if row["outcome"] == "ok" and all(row[name] == value for name, value in wanted.items())
        ]

    def reason(self, lab: str, **wanted: object) -> str:
        """Return why a lab did not measure it; empty where it did, or was not asked."""
        rows = [
            row
            for row in self.labs.get(lab, ())
            if all(row[name] == value for name, value in wanted.items())
        ]
        reasons = [str(row["outcome"]) for row in rows if row["outcome"] != "ok"]
        return reasons[0] if reasons and len(reasons) == len(rows) else ""


@dataclass(frozen=True)
class Examined:
    """A unit of a run, and the units that it is compared with.

    Attributes:
        descriptions: The last description of every unit of the run that has one, by name.
    """

    run: str
    subject: SubjectFacts
    unit: ExaminedUnit
    controls: tuple[ExaminedUnit, ...]
    descriptions: Mapping[str, str]

    @property
    def units(self) -> tuple[ExaminedUnit, ...]:
        """The unit, then its controls."""
        return (self.unit, *self.controls)

    def as_json(self) -> dict[str, Any]:
        """Return the findings as JSON values; `labs` says what each lab's columns hold."""
        return {
            "run": self.run,
            "subject": plain(self.subject),
            "unit": plain(self.unit),
            "controls": [plain(one) for one in self.controls],
            "labs": {
                lab: {"title": title, "columns": columns}
                for lab in LABS
                for title, columns in [described_lab(lab)]
            },
        }


def examined(run: Run, unit_id: int, controls: Sequence[int] = ()) -> Examined:
    """Return what a run holds of a unit and its controls."""
    everyone = [unit_id, *controls]
    said = newest_descriptions(run)
    kinds = source_kinds(run)
    names = dict(run.rows("SELECT unit_id, unit_label(source, idx, sign, note) FROM unit"))
    rows: dict[int, dict[str, list[Mapping[str, Any]]]] = {one: {} for one in everyone}
    for lab in LABS:
        for row in run.lab_rows(lab):
            if row["unit_id"] in rows:
                rows[row["unit_id"]].setdefault(lab, []).append(row)
    contexts = run.contexts(everyone)
    units = {}
    for stored in run.units_numbered(everyone):
        one = stored.summary
        held = contexts[stored.unit_id].values()
        units[stored.unit_id] = ExaminedUnit(
            stored.unit_id,
            names[stored.unit_id],
            one.unit.source,
            kinds[one.unit.source].is_control,
            one.outcome,
            one.density,
            one.tokens,
            one.peak,
            one.note,
            said.get(stored.unit_id, ""),
            one.interval_tokens,
            *_contexts(list(held)),
            rows[stored.unit_id],
        )
    return Examined(
        run.name,
        subject_facts(run),
        units[unit_id],
        tuple(units[one] for one in controls),
        {str(one.summary.unit): said[one.unit_id] for one in run.units_numbered(list(said))},
    )


def _contexts(held: Sequence[Context]) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
    """Return the strongest contexts, and one from each interval, of those that explain."""
    explain = [one for one in held if one.split == "explain"]
    top = sorted((one for one in explain if one.draw == "top"), key=lambda one: -one.activation)
    uniform: dict[int, Context] = {}
    for one in explain:
        if one.draw == "interval" and one.interval is not None:
            uniform.setdefault(one.interval, one)
    return (
        tuple(_shown(one, 0) for one in top[:STRONGEST]),
        tuple(_shown(uniform[interval], interval) for interval in sorted(uniform)),
    )


def _shown(context: Context, interval: int) -> Shown:
    return Shown(context.tokens, context.activations, context.focus, interval)
