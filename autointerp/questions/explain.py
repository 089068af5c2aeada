"""Contexts → a description of each unit, by any rater; and what a description may be tried on.

An explainer sees contexts of the `explain` split alone. What it saw is kept with its description,
and nothing that shares a document with it is ever used to try it: `check_held_out`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autointerp.errors import BadInput
from autointerp.questions.forms import EXPLAIN, EXPLAIN_LOGITS, UNKNOWN
from autointerp.questions.trials import Probe, over_intervals, unique_places, whole
from autointerp.records import Context, LogitEffects, Status
from autointerp.store.run import Run

TOP, OF_INTERVALS = 10, 10  # contexts that an explainer sees: strongest, and over all intervals


@dataclass(frozen=True)
class Explanation:
    """What an explainer made of a unit. `text` is None unless `status` is ok.

    Attributes:
        explainer: Its name, and `+logits` where it was asked with logit effects.
        contexts: The contexts' numbers that the explainer saw.
    """

    unit_id: int
    source: str
    explainer: str
    status: Status
    text: str | None
    contexts: tuple[int, ...]

    @property
    def says_something(self) -> bool:
        return self.text is not None and self.text != UNKNOWN


def eligible_units(run: Run, sources: Sequence[str] = (), n: int | None = None) -> dict[int, str]:
    """Return unit_id → source of the run's units, the first `n` of each source's random order.

    Where units were rated it is those, else all that were harvested: a harvest draws a few more
    than it is asked for. Raises BadInput if the run has none of them.
    """
    rows = run.rows(
        "SELECT unit_id, source, row_number() OVER (PARTITION BY source ORDER BY ord) AS place"
        " FROM unit WHERE outcome = 'eligible' AND (unit_id IN (SELECT unit_id FROM unit_item)"
        "  OR NOT EXISTS (SELECT 1 FROM unit_item)) ORDER BY source, ord"
    )
    held = sorted({row[1] for row in rows})
    for source in sources:
        if source not in held:
            raise BadInput(
                f"run '{run.name}' has no units of source '{source}' "
                f"(it has: {', '.join(held) or 'none'}); rate some first: `autointerp rate`"
            )
    if not rows:
        raise BadInput(f"run '{run.name}' holds no units; rate some first: `autointerp rate`")
    return {
        unit_id: source
        for unit_id, source, place in rows
        if (not sources or source in sources) and (n is None or place <= n)
    }


def explained_contexts(
    contexts: dict[int, Context], evidence: Literal["shown", "all"] = "shown"
) -> list[int]:
    """Return the numbers of the `explain` contexts that an explainer sees.

    `shown`: the strongest, then some of each interval from strong to weak. `all`: every one, for
    raters that learn from silence as well.
    """
    able = {n: c for n, c in contexts.items() if c.split == "explain"}
    if evidence == "all":
        return unique_places(able, list(able))
    by_strength = sorted(able, key=lambda n: (-able[n].activation, n))
    top = unique_places(able, [n for n in by_strength if able[n].draw == "top"])[:TOP]
    spread = over_intervals({n: c for n, c in able.items() if n not in top}, OF_INTERVALS)
    spread.sort(key=lambda n: (-able[n].activation, n))
    return unique_places(able, [*top, *spread])


def explain_probes(
    run: Run,
    unit_ids: Iterable[int],
    evidence: Literal["shown", "all"],
    effects: Mapping[int, LogitEffects] | None = None,
) -> list[Probe]:
    """Return the probes that ask for descriptions of units.

    `effects`: logit effects by unit, to be shown; units without any are asked about all the same.
    None to show none.
    """
    ids = list(unit_ids)
    task = EXPLAIN if effects is None else EXPLAIN_LOGITS
    peaks = dict(run.rows("SELECT unit_id, peak FROM unit"))
    probes = []
    for begin in range(0, len(ids), 200):
        for unit_id, contexts in run.contexts(ids[begin : begin + 200]).items():
            questions = tuple(
                whole(number, contexts[number], None, contexts[number].draw, mark=False)
                for number in explained_contexts(contexts, evidence)
            )
            shown = None if effects is None else effects.get(unit_id)
            probes.append(
                Probe(
                    task.id,
                    task.digest,
                    evidence,
                    unit_id,
                    peaks[unit_id],
                    questions,
                    effects=shown,
                )
            )
    return probes


def explainer_name(rater: str, with_effects: bool) -> str:
    """Return what a rater is called as an explainer, as the view `explanation` does."""
    return f"{rater}+logits" if with_effects else rater


def explainers(run: Run) -> list[str]:
    """Return who described units of the run, sorted."""
    return [row[0] for row in run.rows("SELECT DISTINCT explainer FROM explanation ORDER BY 1")]


def choose_explainer(run: Run, name: str | None) -> str:
    """Return `name`, or the only explainer of the run.

    Raises BadInput if it described nothing, or if there are several and none is named.
    """
    known = explainers(run)
    if name is None and len(known) == 1:
        return known[0]
    if name is None and known:
        raise BadInput(
            f"run '{run.name}' was explained by {', '.join(known)}; choose one by --explainer"
        )
    if name is None or name not in known:
        who = f"by {name} " if name else ""
        told = f" (there are: {', '.join(known)})" if known else ""
        raise BadInput(
            f"run '{run.name}' has no explanations {who}yet{told}; "
            f"`autointerp explain {run.name}` writes them"
        )
    return name


def explanations(
    run: Run, explainer: str, sources: Sequence[str] = (), n: int | None = None
) -> list[Explanation]:
    """Return what an explainer made of units, whatever became of it, in order of unit_id."""
    units = eligible_units(run, sources, n)
    return [
        Explanation(unit_id, units[unit_id], name, status, text, tuple(contexts))
        for unit_id, name, status, text, contexts in run.rows(
            "SELECT unit_id, explainer, status, description, contexts FROM explanation"
            " WHERE explainer = ? ORDER BY unit_id",
            [explainer],
        )
        if unit_id in units
    ]


def check_held_out(run: Run, probes: Sequence[Probe]) -> None:
    """Check that no probe shows a document that the description's writer saw of its unit.

    Raises ValueError if one does: that is a defect of this program, or of an import.
    """
    seen: dict[tuple[str, int], set[int]] = {}
    needed = {(p.described.explainer, p.described.unit_id) for p in probes if p.described}
    rows = run.rows("SELECT explainer, unit_id, contexts FROM explanation")
    shown = {(name, unit): contexts for name, unit, contexts in rows if (name, unit) in needed}
    numbers = {n for contexts in shown.values() for n in contexts}
    numbers |= {q.context for probe in probes for q in probe.questions}
    place = dict(
        run.rows(
            "SELECT context_id, struct_pack(d := document, s := split) FROM context"
            " WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
            [sorted(numbers)],
        )
    )
    for key, contexts in shown.items():
        seen[key] = {place[n]["d"] for n in contexts}
    for probe in probes:
        told = probe.described
        known = seen.get((told.explainer, told.unit_id), set()) if told else set()
        for question in probe.questions:
            here = place[question.context]
            if here["s"] != "score" or here["d"] in known:
                raise ValueError(
                    f"context {question.context} of unit {probe.unit_id} is not held out: its "
                    "document served to explain"
                )
