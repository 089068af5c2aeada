"""Explanations: contexts → a description of each unit by a rater; held-out contexts to score it.

An explainer sees contexts of the `explain` split alone. What it saw is kept with its description,
and nothing that shares a document with it is ever used to try it: `check_held_out`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autointerp.errors import BadInput
from autointerp.questions.contexts import over_intervals, unique_texts
from autointerp.questions.forms import UNKNOWN, make_task
from autointerp.questions.trials import Described, Trial, whole_context
from autointerp.records import Context, LogitEffects, Status
from autointerp.store.run import Run

TOP, OF_INTERVALS = 10, 10  # contexts that an explainer sees: strongest, and over all intervals

EXPLAIN = make_task(
    "explain",
    1,
    "What does this unit respond to?",
    "describe",
    """
You are shown where one unit of a language model fires. A unit is a number that the model computes \
at every token of a text; it fires where that number is above zero. Say in a few words what the \
unit responds to.

{shown}

The first contexts are those in which it fires most strongly; the rest are drawn over the whole \
range of its firing, from strong to weak.

How to describe

- Say what the tokens on which it fires have in common, or what stands round them: form, grammar, \
meaning, subject, kind of text. A good description tells somebody who has never seen these \
contexts on which tokens of a new text the unit fires, and on which it does not.
- Be as specific as the contexts allow and as short as that permits. Name exact tokens where the \
unit responds to exact tokens.
- Weak firing may be about something else than strong firing. If one description does not fit \
both, describe the strong firing.
- If the contexts share nothing that can be named, the description is "Unknown".

{reply}""",
    description=False,
)

EXPLAIN_LOGITS = make_task(
    "explain-logits",
    1,
    EXPLAIN.title,
    "describe",
    EXPLAIN.text.replace(
        "\n\nHow to describe\n",
        """

Where it is known what the unit does to the model's prediction of the next token, a line before \
the contexts says so: `promotes` lists the tokens that it makes likelier when it fires, \
`suppresses` those that it makes less likely, each list from the strongest effect on. That is its \
direct effect; what later parts of the model make of it is not in it.

How to describe
""",
    ).replace(
        "\n- If the contexts share",
        """
- The description is of what the unit responds to. What it promotes and suppresses may help to \
understand that, but these tokens are not those on which it fires.
- If the contexts share""",
    ),
    description=False,
)
EXPLAINING = (EXPLAIN, EXPLAIN_LOGITS)  # the view `explanation` has their ids


@dataclass(frozen=True)
class Explanation:
    """An explainer's description of a unit. `text` is None unless `status` is ok.

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

    Those that were rated; where none was, those that a rater was to be asked about; where there
    are none of those either, all that were harvested: a harvest draws more than it is asked for.
    Raises BadInput if the run has none of them.
    """
    rows = run.eligible_in_turn()
    held = sorted({row[1] for row in rows})
    for source in sources:
        if source not in held:
            raise BadInput(
                f"run '{run.name}' has no units of source '{source}' "
                f"(it has: {', '.join(held) or 'none'}); add some with `autointerp rate`"
            )
    if not rows:
        raise BadInput(f"run '{run.name}' holds no units; add some with `autointerp rate`")
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
    seen = {n: c for n, c in contexts.items() if c.split == "explain"}
    if evidence == "all":
        return unique_texts(seen, seen)
    by_strength = sorted(seen, key=lambda n: (-seen[n].activation, n))
    top = unique_texts(seen, [n for n in by_strength if seen[n].draw == "top"])[:TOP]
    spread = over_intervals({n: c for n, c in seen.items() if n not in top}, OF_INTERVALS)
    spread.sort(key=lambda n: (-seen[n].activation, n))
    return unique_texts(seen, [*top, *spread])


def explain_trials(
    run: Run,
    unit_ids: Iterable[int],
    evidence: Literal["shown", "all"],
    effects: Mapping[int, LogitEffects] | None = None,
) -> list[Trial]:
    """Return the trials that ask for descriptions of units.

    `effects`: logit effects by unit, to be shown; units without any are asked about all the same.
    None to show none.
    """
    ids = list(unit_ids)
    task = EXPLAIN if effects is None else EXPLAIN_LOGITS
    peaks = dict(run.rows("SELECT unit_id, peak FROM unit"))
    trials = []
    for begin in range(0, len(ids), 200):
        for unit_id, contexts in run.contexts(ids[begin : begin + 200]).items():
            pieces = tuple(
                whole_context(number, contexts[number], None, contexts[number].draw, mark=False)
                for number in explained_contexts(contexts, evidence)
            )
            shown = None if effects is None else effects.get(unit_id)
            trials.append(
                Trial(
                    task.id,
                    task.digest,
                    evidence,
                    unit_id,
                    peaks[unit_id],
                    pieces,
                    effects=shown,
                )
            )
    return trials


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
    names = explainers(run)
    if name is None and len(names) == 1:
        return names[0]
    if name is None and names:
        raise BadInput(
            f"run '{run.name}' was explained by {', '.join(names)}; choose one by --explainer"
        )
    if name is None or name not in names:
        who = f"by {name} " if name else ""
        there = f" (there are: {', '.join(names)})" if names else ""
        raise BadInput(
            f"run '{run.name}' has no explanations {who}yet{there}; "
            f"`autointerp explain {run.name}` writes them"
        )
    return name


def explanations(
    run: Run, explainer: str, sources: Sequence[str] = (), n: int | None = None
) -> list[Explanation]:
    """Return what an explainer made of units, failed attempts included, in order of unit_id."""
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


def check_held_out(run: Run, trials: Sequence[Trial]) -> None:
    """Check that no trial shows a document that the description's writer saw of its unit.

    Raises ValueError if one does: that is a defect of this program, or of an import.
    """
    seen: dict[tuple[str, int], set[int]] = {}
    needed = {(one.explainer, one.unit_id) for trial in trials for one in _described_in(trial)}
    rows = run.rows("SELECT explainer, unit_id, contexts FROM explanation")
    shown = {(name, unit): contexts for name, unit, contexts in rows if (name, unit) in needed}
    numbers = {n for contexts in shown.values() for n in contexts}
    numbers |= {p.context for trial in trials for p in trial.pieces if p.context >= 0}
    place = dict(
        run.rows(
            "SELECT context_id, struct_pack(d := document, s := split) FROM context"
            " WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
            [sorted(numbers)],
        )
    )
    for key, contexts in shown.items():
        seen[key] = {place[n]["d"] for n in contexts}
    for trial in trials:
        explained = set[int]().union(
            *(seen.get((one.explainer, one.unit_id), set()) for one in _described_in(trial))
        )
        for piece in trial.pieces:
            if piece.context < 0:  # a passage is of no document
                continue
            context = place[piece.context]
            if context["s"] != "score" or context["d"] in explained:
                raise ValueError(
                    f"context {piece.context} of unit {trial.unit_id} is not held out: its "
                    "document served to explain"
                )


def _described_in(trial: Trial) -> tuple[Described, ...]:
    return (*((trial.described,) if trial.described else ()), *trial.candidates)
