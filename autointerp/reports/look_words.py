"""How a plan and the looks at a run are written in a report."""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.findings.comparison import Comparison, awaited_raters
from autointerp.findings.groups import Contrast, Judgement
from autointerp.findings.looks import Look, Reading
from autointerp.findings.plan import Plan
from autointerp.reports.panels import Prose
from autointerp.reports.words import interval, listed, p_value, percent, rubric_name
from autointerp.stats.results import Statistic
from autointerp.text import first_tokens

DIGEST = 12  # characters of a digest in a sentence


def standing(contrast: Contrast, judgement: Judgement, comparison: Comparison) -> str:
    """Return, in a few words, whether a test was declared before anything was rated."""
    reading, plan = judgement.reading, comparison.plan
    if plan is None or reading is None:
        return "undeclared: no plan was written before the first rating"
    if not contrast.primary:
        return "not the declared primary test"
    if reading.declared:
        return f"the primary test, declared in plan {plan.digest[:DIGEST]} before the first rating"
    return f"the primary test, which deviates from plan {plan.digest[:DIGEST]}"


def plan_prose(judgement: Judgement, comparison: Comparison) -> list[Prose]:
    """Return what was declared of a judgement, whether that was followed, and which look it is."""
    reading, plan = judgement.reading, comparison.plan
    if reading is None:
        return []
    facts = comparison.subject
    text = f", on {first_tokens(facts.tokens)}" if facts.is_cut and facts.tokens else ""
    by = " by this rater's scores" if len(comparison.judgements) > 1 else ""
    rest = [*_looks(reading, judgement, f"{by}{text}"), *_unrecorded(reading)]
    if plan is None:
        how = (
            ""
            if comparison.provenance
            else f" (`autointerp plan --write {comparison.run}` declares one before that)"
        )
        text = f"No plan of raters, units and stopping was written before the first rating{how}."
        several = reading.multiplier is not None
        return [Prose(" ".join([text, *rest]), "Undeclared.", "warning" if several else "plain")]
    declared = f"Plan {plan.digest[:DIGEST]} was written on {when(plan.made_at)}: {plan}."
    if reading.deviations:
        lead = f"Deviates from the plan: {listed(reading.deviations)}."
        text = f"So it is read as undeclared. {declared}"
        return [Prose(" ".join([text, *rest]), lead, "warning")]
    awaited = awaited_raters(plan, comparison.judgements)
    if awaited:
        rest.append(
            f"Still to rate by the plan: {listed(awaited)}. Until then p is adjusted as if their "
            "tests rejected nothing."
        )
    return [Prose(" ".join([declared, *rest]), lead="Declared.")]


def when(made_at: str) -> str:
    """Return `2026-11-28 02:28 UTC` of an ISO time."""
    return f"{made_at[:16].replace('T', ' ')} UTC" if made_at else "not recorded"


def _looks(reading: Reading, judgement: Judgement, read: str) -> list[str]:
    """Return which look it is, what its interval allows for, and whether the rule has stopped.

    `read` says by whose scores, where several rated, and on what text, where the corpus has more.
    """
    nth = "the first look" if reading.number == 1 else f"look {reading.number}"
    sentences = [f"In the run's ledger this is {nth} at these two sources{read}."]
    if reading.rule == "undeclared" and reading.multiplier is not None:
        sentences.append(
            "No plan that was followed says when to stop, and stopping at a look because of its "
            f"answer errs in more than {percent(1 - reading.level)}: shown is the last look, with "
            f"the interval of an asymptotic confidence sequence ({reading.multiplier:.2f} standard "
            f"errors in place of {reading.ordinary:.2f}), which holds at all looks, and the "
            "decision follows it."
        )
    if reading.rule == "width" and reading.multiplier is not None:
        sentences.append(
            f"The interval is {reading.multiplier:.2f} standard errors wide on either side, which "
            "allows for stopping by its width."
        )
    if reading.rule == "clear" and reading.multiplier is not None:
        sentences.append(
            f"The interval is a repeated one ({reading.multiplier:.2f} standard errors at look "
            f"{len(reading.fractions)} that spends error): it holds at all looks."
        )
    if reading.interim:
        sentences.append(f"Nothing is decided: {reading.interim}.")
    elif reading.stopped is not None:
        verb = "has stopped" if reading.stopped.stop else "has not stopped"
        sentences.append(f"The rule {verb}: {reading.stopped.why}.")
    if reading.bias:
        sentences.append(f"It {reading.bias}.")
    if reading.multiplier is not None and len(judgement.groups) > 1:
        sentences.append(
            "Intervals and p-values of other figures than the probability of superiority, Cliff's "
            "delta and the test, and all of comparisons with controls, are those of one look."
        )
    return sentences


def _unrecorded(reading: Reading) -> list[str]:
    return [] if reading.recorded else ["The run cannot be written, so this look is not recorded."]


def plan_rows(plan: Plan) -> list[list[str]]:
    """Return a plan as rows of what and value."""
    low, high = plan.equivalence
    return [
        ["sha256", plan.digest],
        ["written", f"{when(plan.made_at)}, before the first rating"],
        ["raters", ", ".join(plan.raters)],
        ["rubric", f"{plan.rubric} (digest {plan.rubric_digest[:DIGEST]})"],
        ["sources", f"{plan.first} against {plan.second}"],
        ["ratings of a unit", str(plan.repeats)],
        ["stopping rule", str(plan.stopping)],
        ["test", plan.test],
        ["alpha", f"{plan.alpha:g}"],
        ["alike within", f"{low:g} to {high:g}"],
    ]


LOOK_HEADINGS = (
    "look", "when", "by", "rater", "rubric", "sources", "n", "superiority", "p", "read as",
)  # fmt: skip
COMMON = ("rater", "rubric", "sources")


def look_table(looks: Sequence[Look]) -> tuple[str, list[str], list[list[str]]]:
    """Return looks as a caption, headings and rows; what they have in common is in the caption."""
    cells = [_look_row(look, looks) for look in looks]
    said = []
    kept = []
    for place, name in enumerate(LOOK_HEADINGS):
        values = {row[place] for row in cells}
        if name in COMMON and len(values) == 1:
            said.append(values.pop())
        else:
            kept.append(place)
    of = f" ({', '.join(said)})" if said else ""
    caption = (
        "Looks: each comparison of two sources, when its ratings were new, with the first's "
        f"probability of superiority{of}"
    )
    return (
        caption,
        [LOOK_HEADINGS[place] for place in kept],
        [[row[place] for place in kept] for row in cells],
    )


def _look_row(look: Look, looks: Sequence[Look]) -> list[str]:
    """Return a look as cells under `LOOK_HEADINGS`."""
    ends = "" if look.low is not None else "no interval"
    statistic = Statistic(look.value, look.low, look.high, look.n, look.method, look.level, ends)
    return [
        str(look.number),
        when(look.made_at),
        look.verb,
        look.rater,
        rubric_name(look, looks),
        f"{look.first} – {look.second}",
        " + ".join(map(str, look.n)),
        interval(statistic),
        p_value(look.p),
        read_as(look),
    ]


def read_as(look: Look) -> str:
    """Return the rule by which a look was read, and by which sweep's plan."""
    if look.is_across and look.rule != "undeclared":
        return f"{RULES[look.rule]}, plan {look.plan[:DIGEST]}"
    return RULES[look.rule] + (", stopped" if look.stopped else "")


RULES = {
    "fixed": "fixed n",
    "width": "until narrow",
    "clear": "until clear",
    "undeclared": "undeclared",
}
