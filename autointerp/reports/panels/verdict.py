"""The answer in words, with its conditions; what speaks against the rater comes first."""

from __future__ import annotations

from autointerp.findings.comparison import Comparison, Pooled
from autointerp.findings.groups import Contrast, Group, Judgement
from autointerp.findings.looks import BY_INTERVAL
from autointerp.findings.plan import PRIMARY
from autointerp.findings.subject import SubjectFacts
from autointerp.records import rater_kind
from autointerp.reports.answer import answer
from autointerp.reports.look_words import plan_prose, standing
from autointerp.reports.panels import Block, Heading, Material, Prose
from autointerp.reports.words import (
    SUPERIORITY,
    check_doubt,
    counted,
    drawn_text,
    equals,
    finding,
    full_finding,
    interval,
    label,
    listed,
    missing_could_turn,
    number,
    p_value,
    percent,
    plural,
    refusal,
    score_errors_text,
    subject_text,
    trust_text,
    uncompared,
    versions_doubt,
    what,
    wins_ties_losses,
)
from autointerp.stats.density import DensityAdjusted
from autointerp.stats.results import HypothesisTest, Statistic
from autointerp.subjects.sites import hidden_site
from autointerp.text import capital, count
from autointerp.units.sources import baseline_of, kind_of

AFTER = ""
TITLE = "Verdict"


def show(material: Material) -> list[Block]:
    # What speaks against a rater stands before anything else, where no other rater gives an answer;
    # else the answer, which says who does not count, is not pushed off the first screen.
    warnings = [warning for judgement in material.judgements for warning in doubts(judgement)]
    answered = not all(judgement.fails for judgement in material.judgements)
    blocks: list[Block] = [] if answered else [*warnings]
    blocks += [_unrated(item) for item in material.comparisons if not item.judgements]
    first_screen = answer(material)
    blocks += [first_screen] if first_screen else []
    blocks += warnings if answered else []
    blocks += [fact for item in material.comparisons for fact in _subject(item, material)]
    several = len(list(material.judgements)) > 1
    for judgement in material.judgements:
        if several:
            blocks.append(Heading(label(judgement, material)))
        blocks.extend(verdict(judgement, material))
    for comparison in material.comparisons:
        blocks += [Prose(pooled_text(item), lead="All raters.") for item in comparison.pooled]
    return blocks


def _subject(comparison: Comparison, material: Material) -> list[Block]:
    """Return what was studied, what is called a neuron there, and what speaks against the SAE."""
    facts = comparison.subject
    text = subject_text(facts)
    lead = f"The subject of {comparison.run}." if material.several_runs else "The subject."
    blocks: list[Block] = [Prose(f"{capital(text)}.", lead=lead)] if text else []
    studied = {name for judgement in comparison.judgements for name in judgement.sources}
    if PRIMARY[1] in studied and facts.neurons is not None and not facts.neurons.are_neurons:
        blocks.append(Prose(not_neurons(facts), lead="Not neurons.", tone="warning"))
    blocks += [Prose(doubt, lead="About the SAE:", tone="warning") for doubt in facts.doubts]
    return blocks


def not_neurons(facts: SubjectFacts) -> str:
    """Return what the units called neurons are, at a site whose axes are no neurons."""
    assert facts.basis is not None
    hidden = hidden_site(facts.site)
    remedy = (
        f" For the hidden neurons of the same layer, {hidden}, make a run with subject.neurons = "
        "'hidden'."
        if hidden
        else ""
    )
    return (
        f"At {facts.site} the units called 'neurons' are {facts.basis.name}: no nonlinearity "
        f"singles these axes out.{remedy}"
    )


def pooled_text(pooled: Pooled) -> str:
    """Return the primary pair within each rater and combined, and which raters are left out."""
    sentences = []
    if pooled.superiority.value is None:
        sentences.append(f"On {pooled.rubric} no estimate: {pooled.superiority.note}.")
    else:
        each = listed(
            f"{own.rater} {interval(own.superiority)}" for own in pooled.by_rater if own.superiority
        )
        sentences.append(
            f"On {pooled.rubric}, the {SUPERIORITY} of {plural(pooled.first)[1]} over "
            f"{plural(pooled.second)[1]} is taken within each rater ({each})"
            + (
                f"; combined (van Elteren) it is {interval(pooled.superiority)}. It speaks of "
                f"these raters and not of others.{_on_both_sides(pooled)}"
                if len(pooled.raters) > 1
                else "; there is nothing to combine."
            )
        )
    if pooled.left_out:
        sentences.append(
            f"Left out, for they fail their controls or their check: {listed(pooled.left_out)}."
        )
    if pooled.unchecked:
        sentences.append(
            f"Too few controls were rated to check {listed(pooled.unchecked)}, "
            "which count all the same."
        )
    return " ".join(sentences)


def _on_both_sides(pooled: Pooled) -> str:
    """Return what a combined figure of raters that contradict each other is worth."""
    ends = [one.superiority for one in pooled.by_rater if one.superiority is not None]
    over = any(one.low is not None and one.low > 0.5 for one in ends)
    under = any(one.high is not None and one.high < 0.5 for one in ends)
    if not (over and under):
        return ""
    return " They contradict one another, so it describes none of them."


def _unrated(comparison: Comparison) -> Prose:
    """Return what is said of a run in which units were described or measured, and not rated."""
    here = [
        text
        for text, is_here in (
            (
                "its descriptions and what they are worth",
                comparison.explained or comparison.scorers or comparison.specificity,
            ),
            (
                "what was measured of its units",
                comparison.labs
                or comparison.attributions
                or comparison.known
                or comparison.covers
                or comparison.matches
                or comparison.maps,
            ),
        )
        if is_here
    ]
    report = f"This report shows {listed(here)}. " if here else ""
    return Prose(
        f"No rater was asked how interpretable a unit of run '{comparison.run}' is, so nothing is "
        f"compared here. {report}`autointerp rate --run {comparison.run}` rates units.",
        lead="No unit was rated.",
        tone="warning",
    )


def verdict(judgement: Judgement, material: Material) -> list[Prose]:
    """Return the paragraphs on one judgement: the finding, the rater, controls, conditions."""
    trust = judgement.trust
    paragraphs: list[Prose] = []
    contrast = judgement.decisive
    if contrast is None:
        paragraphs.append(Prose(_single(judgement, material), lead=_alone(judgement)))
    else:
        resolved = contrast.outcome in ("higher", "lower") and trust.state == "held"
        resolved = resolved and not judgement.fails
        resolved = resolved and judgement.survives_baseline is not False
        paragraphs.append(
            Prose(
                _tested(contrast, judgement, material.comparison(judgement.run)),
                lead=full_finding(judgement, contrast) + ".",
                tone="good" if resolved else "plain",
            )
        )
        paragraphs += _against_untrained(judgement, material)
        paragraphs += plan_prose(judgement, material.comparison(judgement.run))
    paragraphs.append(Prose(_rater(judgement, material), lead="The rater."))
    if judgement.drawn is not None:
        paragraphs.append(Prose(drawn_text(judgement), lead="Not drawn alike.", tone="warning"))
    paragraphs += [
        Prose(doubt[1], lead=doubt[0], tone="warning")
        for doubt in (_check_doubt(judgement, material), versions_doubt(judgement))
        if doubt is not None
    ]
    if trust.state != "broken" and judgement.has_scores:
        paragraphs.append(
            Prose(
                " ".join([trust_text(trust), *_random(judgement)]),
                lead="The controls.",
                tone="warning" if trust.state == "unknown" else "plain",
            )
        )
    if judgement.score_errors is not None:
        text = score_errors_text(judgement, judgement.score_errors)
        paragraphs.append(Prose(text, lead="Scores from few contexts.", tone="warning"))
    if contrast is not None:
        paragraphs.append(
            Prose(
                " ".join(_conditions(judgement, contrast)),
                lead="The conditions.",
                tone="warning" if missing_could_turn(contrast) else "plain",
            )
        )
    return paragraphs


def _against_untrained(judgement: Judgement, material: Material) -> list[Prose]:
    """Return a studied source's contrast with its untrained baseline, a paragraph each."""
    paragraphs = []
    comparison = material.comparison(judgement.run)
    for contrast in judgement.contrasts:
        if contrast is judgement.decisive or baseline_of(contrast.first) != contrast.second:
            continue
        others = plural(contrast.second)[1]
        survives = judgement.survives_baseline
        adjusted = contrast.adjusted
        density = "" if adjusted is None else f" {density_text(contrast, adjusted)}"
        falls = judgement.survives_at_like_density is False
        alike = contrast.outcome == "equivalent"
        says = {
            None: "",
            True: " What is found above holds against this baseline"
            + (", but not among units of like density." if falls else "."),
            False: " What is found above does not stand as a finding about what the model learnt: "
            "an untrained model's features "
            + ("score alike." if alike else "are not shown to score lower."),
        }[survives if contrast is judgement.baseline else None]
        paragraphs.append(
            Prose(
                f"{finding(contrast)}. {_tested(contrast, judgement, comparison)}{density}{says}",
                lead=f"Against {others}.",
                tone="warning" if contrast is judgement.baseline and survives is False else "plain",
            )
        )
    return paragraphs


def doubts(judgement: Judgement) -> list[Prose]:
    """Return the warning that a rater's controls call for, if they do."""
    if judgement.trust.state != "broken":
        return []
    rested = sum(check.n or 0 for check in judgement.trust.controls if check.state == "broken")
    text = (
        f"{trust_text(judgement.trust)} Until that is explained, its scores on {judgement.rubric} "
        f"are no evidence about the units. This rests on {count(rested, 'control unit')}."
    )
    lead = f"The rater {judgement.rater} cannot be trusted."
    return [Prose(text, lead=lead, tone="warning")]


def _alone(judgement: Judgement) -> str:
    """Return what a run with a single source says of it."""
    if len(judgement.sources) != 1 or not judgement.has_scores:
        return uncompared(judgement)[0]
    group = judgement.groups[judgement.sources[0]]
    return f"{capital(group.source)}: mean score {interval(group.mean)}."


def _single(judgement: Judgement, material: Material) -> str:
    sentences = [
        f"{g.source}: mean {interval(g.mean)}, n = {g.n}" for g in judgement.groups.values() if g.n
    ]
    across = material.across
    compared = {run for judged in across.judged for run in judged.runs} if across else set()
    rest = (
        "It is compared with the other runs below."
        if judgement.run in compared
        else uncompared(judgement)[1]
    )
    return " ".join([*([f"{'; '.join(sentences)}."] if sentences else []), rest])


def _tested(contrast: Contrast, judgement: Judgement, comparison: Comparison) -> str:
    test = contrast.test
    if test.p_value is None:
        tested = f"The test is undefined: {test.note}."
    else:
        tested = (
            f"{_test_name(test)}: p {equals(p_value(test.p_value))}, adjusted by Holm "
            f"{p_value(contrast.holm_p)} ({standing(contrast, judgement, comparison)})."
        )
    shares = wins_ties_losses(contrast)
    low, high = contrast.equivalence
    within = (
        f" The whole interval lies within {number(low)} to {number(high)}, the bounds within which "
        "a difference does not matter."
        if contrast.outcome == "equivalent"
        else ""
    )
    return (
        f"{capital(shares)}. {_about_interval(contrast.superiority)} Cliff's delta "
        f"{interval(contrast.delta)}; difference of means {interval(contrast.difference)}. "
        f"{tested}{within}"
    )


def _about_interval(superiority: Statistic) -> str:
    """Return how ties count, and the level of the interval or why there is none."""
    if superiority.low is None:
        return f"The {SUPERIORITY} counts ties as half; it has no interval: {superiority.note}."
    return (
        f"The {SUPERIORITY} counts ties as half; its interval is at {percent(superiority.level)}."
    )


def _test_name(test: HypothesisTest) -> str:
    """Return a test's name, the first part of how it was made; of several looks, whose p is no
    longer the test's own, where it comes from."""
    if test.method.endswith(BY_INTERVAL):
        return "By the interval, which holds at all looks"
    name = test.method.partition(",")[0]
    return capital(name)


def _rater(judgement: Judgement, material: Material) -> str:
    rater = judgement.rater
    provenance = material.comparison(judgement.run).provenance
    if provenance:
        return f"{rater} is {what(judgement)}. {provenance}"
    often = "once" if judgement.repeats == 1 else f"up to {judgement.repeats} times"
    sentence = (
        f"{rater} is {what(judgement)}. Each unit was rated {often}, blind, on {judgement.rubric}."
    )
    if rater_kind(rater) in ("human", "scripted"):
        return sentence
    if judgement.check is None:
        return sentence
    return f"{sentence} Its check: {judgement.check}."


def _check_doubt(judgement: Judgement, material: Material) -> tuple[str, str] | None:
    """Return what speaks against the rater by its check; not where others took the ratings."""
    provenance = material.comparison(judgement.run).provenance
    return None if provenance else check_doubt(judgement)


def _random(judgement: Judgement) -> list[str]:
    """Return the contrasts with controls that are matched in density to what they stand beside.

    A control that is matched to another source is no control for this one.
    """
    sentences = []
    for contrast in judgement.contrasts:
        is_control = (
            kind_of(contrast.second).role == "control" and contrast.first in judgement.sources
        )
        if is_control and contrast.like_density:
            ones, controls = plural(contrast.first)[1], plural(contrast.second)[1]
            sentences.append(
                f"Against {controls} of like density, the {SUPERIORITY} of {ones} is "
                f"{interval(contrast.superiority)}."
            )
    return sentences


def _conditions(judgement: Judgement, contrast: Contrast) -> list[str]:
    first, second = (judgement.groups[name] for name in (contrast.first, contrast.second))
    sentences = [
        f"Compared are {counted(first.n, first.source)} and "
        f"{counted(second.n, second.source)} of run '{judgement.run}'."
    ]
    if contrast.adjusted is not None:
        sentences.append(density_text(contrast, contrast.adjusted))
    sentences.extend(_single_tokens(first, second, contrast))
    missing = contrast.bounds.missing
    if any(missing):
        worst, best = contrast.bounds.worst.value, contrast.bounds.best.value
        sentences.append(
            f"{counted(missing[0], first.source)} and {counted(missing[1], second.source)} have no "
            f"score; whatever it would have been, the {SUPERIORITY} lies between {number(worst)} "
            f"and {number(best)}."
        )
    left_out = [
        counted(k, group.source, f"{why} ")
        for group in (first, second)
        for why, k in group.excluded.items()
    ]
    if left_out:
        sentences.append(f"Drawn but left out by the density filter: {listed(left_out)}.")
    short = [
        counted(n, name)
        for name in (contrast.first, contrast.second)
        if (n := judgement.short.get(name, 0))
    ]
    if short:
        sentences.append(
            f"Not asked about, for they have fewer contexts than people are shown: {listed(short)}."
        )
    return sentences


def density_text(contrast: Contrast, adjusted: DensityAdjusted) -> str:
    """Return what the contrast is at like density, for how many units that is known, and what is
    not known; or why nothing can be said."""
    firsts, seconds = plural(contrast.first)[1], plural(contrast.second)[1]
    if adjusted.refused:
        return f"No adjustment for density: {refusal(contrast, adjusted)}."
    balance = adjusted.balance
    kept = f"{balance.kept[0]} of {balance.n[0]} {firsts} and {balance.kept[1]} of {balance.n[1]}"
    odds = adjusted.odds_ratio
    opinion = (
        f"A regression of the score on source and density gives an odds ratio of {interval(odds)}."
        if odds.value is not None
        else "A regression of the score on source and density gives no second opinion."
    )
    rest = sum(balance.n) - sum(balance.kept)
    unknown = f" Of {count(rest, 'other unit')} nothing is known at like density." if rest else ""
    decided = {
        "higher": f"{firsts} score higher, by both",
        "lower": f"{firsts} score lower, by both",
        "not resolved": "the two together do not resolve which scores higher",
    }[adjusted.decision]
    there = "" if contrast.interim else f" There, {decided}."
    return (
        f"At like density the {SUPERIORITY} is {interval(adjusted.superiority)}, which rests on "
        f"{kept} {seconds}. {opinion}{there}{unknown}"
    )


def _single_tokens(first: Group, second: Group, contrast: Contrast) -> list[str]:
    if first.single_token_share is None or second.single_token_share is None:
        return []
    sentence = (
        f"One token stands at every peak of {percent(first.single_token_share)} of the "
        f"{plural(first.source)[1]} and {percent(second.single_token_share)} of the "
        f"{plural(second.source)[1]}"
    )
    if contrast.several_tokens is None or contrast.several_tokens.n == contrast.superiority.n:
        return [sentence + "."]
    several = contrast.several_tokens
    n = f"{several.n[0]} and {several.n[1]} units"
    return [f"{sentence}; without these ({n} are left) the {SUPERIORITY} is {interval(several)}."]
