"""What speaks against the answer of a report, in single lines, the gravest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autointerp.findings.across import RunContrast
from autointerp.findings.agreement import TableAgreement
from autointerp.findings.comparison import Comparison, awaited_raters
from autointerp.findings.groups import Contrast, Judgement
from autointerp.findings.plan import PRIMARY
from autointerp.findings.trust import Trust
from autointerp.records import is_person
from autointerp.reports.panels import Material
from autointerp.reports.words import (
    SUPERIORITY,
    brief_label,
    by_chance_text,
    check_doubt,
    drawn_text,
    interval,
    listed,
    missing_could_turn,
    not_higher,
    number,
    percent,
    plural,
    refusal,
    studied_pair,
    trust_text,
    uncompared,
    versions_doubt,
    what,
)
from autointerp.stats.density import DensityAdjusted
from autointerp.stats.results import Statistic
from autointerp.text import capital, count, first_tokens
from autointerp.units.sources import kind_of

# Krippendorff 2004, Content Analysis, 11.4: below it not even tentative conclusions.
LEAST_ALPHA = 0.667
FEW_UNITS = 10  # of a source: below it two or three units decide
LITTLE_TEXT = 1_000_000  # tokens: below it the density filter's default asks for under 100 of them
NOTHING_KNOWN = ("Nothing was found.", "No check of this report speaks against its answer.")


@dataclass(frozen=True)
class Objection:
    """A reason to doubt an answer; those of a lower `rank` weigh more."""

    rank: int
    lead: str
    text: str


def objections(material: Material) -> list[Objection]:
    """Return what speaks against the answer, each reason once, the gravest first."""
    judgements = list(material.judgements)
    found = [
        one
        for comparison in material.comparisons
        for one in _of_run(comparison, material.several_runs)
    ]
    raised: dict[Objection, list[Judgement]] = {}
    across = material.across is not None and material.across.family > 0
    for judgement in judgements:
        for one in _of_judgement(judgement, material.comparison(judgement.run), across):
            raised.setdefault(one, []).append(judgement)
    if material.across is not None and not any(studied_pair(one) for one in judgements):
        # Then the answer is theirs; see `reports.answer`.
        for judged in material.across.judged:
            found += [one for contrast in judged.contrasts for one in _of_run_contrast(contrast)]
    of_kind: dict[str, set[int]] = {}
    for one, by in raised.items():
        of_kind.setdefault(one.lead, set()).update(map(id, by))
    for one, by in raised.items():
        is_named = len(by) == len(judgements) or one.text.startswith(by[0].rater)
        names = listed(brief_label(judgement, material) for judgement in by)
        text = one.text if is_named else f"{names}: {one.text}"
        others = of_kind.pop(one.lead, set()) - set(map(id, by))
        if others:  # with other figures: said once, with the first of its kind
            text += f" {count(len(others), 'more rating')} likewise."
        found.append(replace(one, text=text))
    found = list(dict.fromkeys(found))
    # The same kind of reason once before any comes twice: three lines are all that is read.
    seen: Counter[str] = Counter()
    turns = []
    for one in sorted(found, key=lambda one: one.rank):
        turns.append((seen[one.lead], one))
        seen[one.lead] += 1
    return [one for _, one in sorted(turns, key=lambda pair: (pair[0], pair[1].rank))]


def _of_run(comparison: Comparison, several: bool) -> Iterator[Objection]:
    facts = comparison.subject
    studied = {name for judgement in comparison.judgements for name in judgement.sources}
    where = f"{comparison.run}: " if several else ""
    if PRIMARY[1] in studied and facts.neurons is not None and not facts.neurons.are_neurons:
        yield Objection(2, "Not neurons.", f"{where}At {facts.site} they are {facts.neurons.name}.")
    if facts.is_cut and facts.tokens:
        is_little = facts.tokens < LITTLE_TEXT
        yield Objection(
            2 if is_little else 10,
            "Little text." if is_little else "Part of the corpus.",
            f"{where}Only {first_tokens(facts.tokens)} were read: densities, and which units are "
            f"rare or dead, are judged on {'little text' if is_little else 'these alone'}.",
        )
    for doubt in facts.doubts:
        yield Objection(3, "The SAE.", f"{where}{doubt}")
    awaited = awaited_raters(comparison.plan, comparison.judgements) if studied else ()
    if awaited:
        yield Objection(
            1,
            "Not at its end yet.",
            f"{where}By the plan {listed(awaited)} still {'has' if len(awaited) == 1 else 'have'} "
            "to rate, and p is adjusted for their tests.",
        )
    broken = [
        f"{blinding.rater} recognises {listed(blinding.recognised)}"
        for blinding in comparison.blinding
        if blinding.is_broken
    ]
    if broken:
        by_chance = by_chance_text(comparison.blinding)
        yield Objection(1, "The blind did not hold.", f"{where}{'; '.join(broken)}.{by_chance}")
    for table in comparison.agreement:
        if table.of != "raters" or table.units != "studied":
            continue
        of, alpha = _least_alpha(table, comparison.judgements)
        if alpha is not None and alpha.value is not None and alpha.value < LEAST_ALPHA:
            yield Objection(
                8,
                "Raters agree little.",
                f"{where}Alpha{of} {interval(alpha)} on {table.rubric}; under 0.67 not even "
                "tentative conclusions are advised (Krippendorff).",
            )
    if facts.model and facts.site and not several:
        yield Objection(
            13,
            "One site.",
            f"{facts.site} of one model: other layers and models may differ.",
        )


def _least_alpha(
    table: TableAgreement, judgements: Sequence[Judgement]
) -> tuple[str, Statistic | None]:
    """Return how the raters that count agree: all of them, or where some do not count the two that
    agree least of those that do, by name. None where fewer than two count."""
    failing = {one.rater for one in judgements if one.rubric == table.rubric and one.fails}
    if not failing & set(table.names):
        return "", table.agreement.alpha
    pairs = [
        pair
        for pair in table.agreement.pairs
        if not failing & set(pair.raters) and pair.alpha.value is not None
    ]
    if not pairs:
        return "", None
    least = min(pairs, key=lambda pair: pair.alpha.value or 0.0)
    return f" of {listed(least.raters)}", least.alpha


def _of_judgement(
    judgement: Judgement, comparison: Comparison, across: bool
) -> Iterator[Objection]:
    trust = judgement.trust
    if trust.state == "broken":
        failed = Trust("broken", tuple(c for c in trust.controls if c.state == "broken"))
        yield Objection(0, "The rater fails its controls.", trust_text(failed))
    if trust.state == "unknown" and judgement.has_scores:
        yield Objection(4, "The controls say too little.", trust_text(trust))
    if not is_person(judgement.rater) and judgement.is_llm is False:
        yield Objection(5, "The rater.", f"{judgement.rater} is {what(judgement)}.")
    contrast = judgement.decisive
    if contrast is not None and contrast.second in judgement.sources:
        yield from _of_contrast(judgement, contrast)
    elif not across:  # else the other side is in another run
        yield Objection(4, *uncompared(judgement))
    yield from _of_looks(judgement)
    if judgement.drawn is not None:
        yield Objection(3, "Not drawn alike.", drawn_text(judgement))
    of_interest = judgement.sources if contrast is None else [contrast.first, contrast.second]
    for control in judgement.contrasts:
        is_control = kind_of(control.second).role == "control"
        if (
            is_control
            and control.first in of_interest
            and control.like_density
            and control.outcome != "higher"
        ):
            yield Objection(
                7,
                f"A control {_comes_as_far(control)}.",
                f"{not_higher(control, ' of like density')}, {interval(control.superiority)}.",
            )
    versions = versions_doubt(judgement)
    if versions is not None:
        yield Objection(2, *versions)
    doubt = None if comparison.provenance else check_doubt(judgement)
    if doubt is not None:
        is_grave = judgement.check_state in ("chance", "weak")
        yield Objection(1 if is_grave else 11, *doubt)
    left_out = sum(sum(judgement.groups[name].excluded.values()) for name in judgement.sources)
    drawn = sum(judgement.groups[name].drawn for name in judgement.sources)
    if left_out:
        yield Objection(
            12,
            "Some units are left out.",
            f"{left_out:,} of {count(drawn, 'unit')} drawn are dead or outside the density filter.",
        )


def _comes_as_far(contrast: Contrast, at_like_density: bool = False) -> str:
    """Return what may be said of a second source that the first does not outscore."""
    adjusted = contrast.adjusted if at_like_density else None
    outcome = contrast.outcome if adjusted is None else adjusted.decision
    return "may come as far" if outcome == "not resolved" else "comes as far"


def _turns_at_like_density(contrast: Contrast, adjusted: DensityAdjusted) -> bool:
    """Return whether units of like density do not say what all say: a difference that is not
    resolved there, or turned round, or one where all score alike."""
    if contrast.outcome in ("higher", "lower"):
        return adjusted.decision != contrast.outcome
    return contrast.outcome == "equivalent" and adjusted.decision != "not resolved"


def _at_like_density(adjusted: DensityAdjusted | None, firsts: str, seconds: str) -> str:
    """Return what is found among units of like density, and of how many, as the end of a
    sentence."""
    assert adjusted is not None
    kept, n = adjusted.balance.kept, adjusted.balance.n
    says = {
        "higher": f"{firsts} score higher",
        "lower": f"{firsts} score lower",
        "not resolved": "the difference has no second opinion"
        if adjusted.has_one_opinion
        else "no difference is resolved",
    }[adjusted.decision]
    return (
        f"{says}: {interval(adjusted.superiority)}, on {kept[0]} of {n[0]} {firsts} and {kept[1]} "
        f"of {n[1]} {seconds}."
    )


def _of_run_contrast(contrast: RunContrast) -> Iterator[Objection]:
    """Yield what density says against a difference of sources of two runs."""
    if contrast.outcome not in ("higher", "lower"):
        return
    adjusted, (first, second) = contrast.adjusted, (contrast.first.label, contrast.second.label)
    if adjusted is None:
        text = f"{first} and {second} are not compared at like density, which may explain it."
    elif adjusted.refused:
        text = f"{first} and {second} have too few units of like density to compare there."
    elif adjusted.decision != contrast.outcome:
        text = f"At like density {_at_like_density(adjusted, first, second)}"
    else:
        return
    yield Objection(6, "Density.", capital(text))


def _of_looks(judgement: Judgement) -> Iterator[Objection]:
    reading = judgement.reading
    if reading is None:
        return
    if reading.interim:
        yield Objection(1, "Not at its end yet.", f"{reading.interim}.")
    if reading.deviations:
        yield Objection(3, "Deviates from the plan.", f"{listed(reading.deviations)}.")
    elif not reading.declared and reading.multiplier is not None:
        yield Objection(
            3,
            "Looked at more than once.",
            f"Without a plan this is look {reading.number}; the interval is wide enough for "
            "stopping at any of them.",
        )
    elif not reading.declared:
        yield Objection(9, "Undeclared.", "No plan was written before the first rating.")


def _of_contrast(judgement: Judgement, contrast: Contrast) -> Iterator[Objection]:
    firsts, seconds = plural(contrast.first)[1], plural(contrast.second)[1]
    baseline = judgement.baseline
    if baseline is not None and not judgement.survives_baseline:
        yield Objection(
            1,
            f"An untrained model {_comes_as_far(baseline)}.",
            f"{not_higher(baseline)}: {SUPERIORITY} {interval(baseline.superiority)}.",
        )
    elif baseline is not None and judgement.survives_at_like_density is False:
        yield Objection(
            2,
            f"An untrained model {_comes_as_far(baseline, at_like_density=True)} at like density.",
            f"Against {plural(baseline.second)[1]} of like density "
            f"{_at_like_density(baseline.adjusted, firsts, plural(baseline.second)[1])}",
        )
    adjusted = contrast.adjusted
    if contrast.is_one_value:
        yield Objection(
            4,
            "One score for all.",
            f"{judgement.rater} gave all {sum(contrast.superiority.n):,} units the same score, so "
            "it tells none of them from another here.",
        )
    elif contrast.tells_nothing or min(contrast.superiority.n) < FEW_UNITS:
        first, second = contrast.superiority.n
        why = f": {contrast.superiority.note}" if contrast.superiority.low is None else ""
        text = f"{first} {firsts} and {second} {seconds} were rated{why}."
        flat = why and min(first, second) >= FEW_UNITS
        yield Objection(4, "Hardly a spread." if flat else "Few units.", text)
    if adjusted is None:
        yield Objection(
            6, "Density.", "How often these units fire is not known, and may explain the scores."
        )
    elif adjusted.refused:
        yield Objection(
            6, "Density.", f"No comparison at like density: {refusal(contrast, adjusted)}."
        )
    elif _turns_at_like_density(contrast, adjusted):
        text = _at_like_density(adjusted, firsts, seconds)
        yield Objection(6, "Density.", f"At like density {text}")
    if missing_could_turn(contrast):
        worst, best = contrast.bounds.worst.value, contrast.bounds.best.value
        yield Objection(
            6,
            "Missing scores.",
            f"{count(sum(contrast.bounds.missing), 'unit')} without one could bring the "
            f"{SUPERIORITY} anywhere from {number(worst)} to {number(best)}.",
        )
    several = contrast.several_tokens
    groups = [judgement.groups[name] for name in (contrast.first, contrast.second)]
    shares = [group.single_token_share for group in groups]
    if several is not None and several.n != contrast.superiority.n and any(shares):
        yield Objection(
            9,
            "Single tokens.",
            f"One token stands at every peak of {percent(shares[0])} of {firsts} and "
            f"{percent(shares[1])} of {seconds}; without them the {SUPERIORITY} is "
            f"{interval(several)} ({several.n[0]} and {several.n[1]} units).",
        )
