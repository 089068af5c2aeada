"""The answer in words, with its conditions; what speaks against the rater comes first."""

from __future__ import annotations

from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Contrast, Group, Judgement
from autointerp.reports.panels import Block, Heading, Material, Prose
from autointerp.reports.words import (
    finding,
    interval,
    label,
    listed,
    number,
    p_value,
    percent,
    plural,
    rater_kind,
    trust_text,
    what,
)
from autointerp.units.sources import kind_of

AFTER = ""
TITLE = "Verdict"


def show(material: Material) -> list[Block]:
    # What speaks against a rater stands before anything else.
    blocks: list[Block] = [
        warning for judgement in material.judgements for warning in doubts(judgement)
    ]
    blocks += [_unrated(one) for one in material.comparisons if not one.judgements]
    several = len(list(material.judgements)) > 1
    for judgement in material.judgements:
        if several:
            blocks.append(Heading(label(judgement, material)))
        blocks.extend(verdict(judgement, material))
    for comparison in material.comparisons:
        for pooled in comparison.pooled:
            blocks.append(
                Prose(
                    f"On {pooled.rubric} over {listed(pooled.raters)}: "
                    f"P({pooled.first} > {pooled.second}) = {interval(pooled.superiority)}, units "
                    "and raters both resampled.",
                    lead="All raters together.",
                )
            )
    return blocks


def _unrated(comparison: Comparison) -> Prose:
    """Return what is said of a run in which only descriptions were asked for or tried."""
    return Prose(
        f"Nobody was asked how interpretable a unit of run '{comparison.run}' is, so nothing is "
        "compared here. Its descriptions, and what they are worth, are in this report. "
        f"`autointerp rate --run {comparison.run}` rates units.",
        lead="No unit was rated.",
        tone="warning",
    )


def verdict(judgement: Judgement, material: Material) -> list[Prose]:
    """Return the paragraphs on one judgement: the finding, the rater, controls, conditions."""
    trust = judgement.trust
    said: list[Prose] = []
    contrast = judgement.decisive
    if contrast is None:
        said.append(Prose(_single(judgement), lead="Nothing to compare."))
    else:
        good = trust.state == "held" and contrast.superiority.low is not None
        said.append(
            Prose(
                _tested(contrast, material.comparison(judgement.run).declared),
                lead=finding(contrast) + ".",
                tone="good" if good and contrast.superiority.low != 0.5 else "plain",
            )
        )
    said.append(Prose(_rater(judgement, material), lead="The rater."))
    if trust.state != "broken":
        said.append(
            Prose(
                " ".join([trust_text(trust), *_random(judgement)]),
                lead="The controls.",
                tone="warning" if trust.state == "unknown" else "plain",
            )
        )
    if contrast is not None:
        said.append(Prose(" ".join(_conditions(judgement, contrast)), lead="The conditions."))
    return said


def doubts(judgement: Judgement) -> list[Prose]:
    """Return the warning that a rater's controls call for, if they do."""
    if judgement.trust.state != "broken":
        return []
    controls = trust_text(judgement.trust)
    text = f"{controls} Its scores on {judgement.rubric} say nothing of the units."
    lead = f"The rater {judgement.rater} cannot be trusted."
    return [Prose(text, lead=lead, tone="warning")]


def _single(judgement: Judgement) -> str:
    sentences = [
        f"{g.source}: mean {interval(g.mean)}, n = {g.n}" for g in judgement.groups.values()
    ]
    return "; ".join(sentences) + ". Rate a second source to compare with."


def _tested(contrast: Contrast, declared: bool) -> str:
    one, other = contrast.first, contrast.second
    test = contrast.brunner_munzel
    if test.p_value is None:
        tested = f"Brunner-Munzel's test is undefined: {test.note}."
    else:
        standing = (
            "the primary test, declared before anything was rated"
            if contrast.primary and declared
            else "the test named in run.toml, after the ratings were known"
            if contrast.primary
            else "not the declared primary test"
        )
        tested = (
            f"Brunner-Munzel p {_equals(p_value(test.p_value))}, adjusted by Holm "
            f"{p_value(contrast.holm_p)} ({standing})."
        )
    return (
        f"P({one} > {other}), ties halved, is {interval(contrast.superiority)} with its 95 % "
        f"interval; Cliff's delta {interval(contrast.delta)}; difference of means "
        f"{interval(contrast.difference)}. {tested}"
    )


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _rater(judgement: Judgement, material: Material) -> str:
    rater = judgement.rater
    provenance = material.comparison(judgement.run).provenance
    if provenance:
        return f"{rater} is {what(judgement)}. {provenance}"
    often = "once" if judgement.repeats == 1 else f"up to {judgement.repeats} times"
    said = (
        f"{rater} is {what(judgement)}. Each unit was rated {often}, blind, on {judgement.rubric}."
    )
    if rater_kind(rater) in ("human", "scripted"):
        return said
    if judgement.check is None:
        return said + " It was never checked against known answers."
    return f"{said} Its latest check: {judgement.check}."


def _random(judgement: Judgement) -> list[str]:
    sentences = []
    for one in judgement.contrasts:
        if kind_of(one.second).role == "control" and one.first in judgement.sources:
            ones, controls = plural(one.first)[1], plural(one.second)[1]
            sentences.append(
                f"Against {controls} of like density, P({ones} higher) = "
                f"{interval(one.superiority)}."
            )
    return sentences


def _conditions(judgement: Judgement, contrast: Contrast) -> list[str]:
    one, other = (judgement.groups[name] for name in (contrast.first, contrast.second))
    sentences = [
        f"Compared are {one.n} {plural(one.source)[1]} and {other.n} {plural(other.source)[1]} "
        f"of run '{judgement.run}'."
    ]
    if contrast.matched is not None and contrast.matched.superiority.value is not None:
        sentences.append(
            f"Within strata of like density P is {interval(contrast.matched.superiority)}."
        )
    sentences.extend(_single_tokens(one, other, contrast))
    missing = contrast.bounds.missing
    if any(missing):
        worst, best = contrast.bounds.worst.value, contrast.bounds.best.value
        sentences.append(
            f"{missing[0]} {plural(one.source)[1]} and {missing[1]} {plural(other.source)[1]} "
            f"have no score; whatever it would have been, P lies between {number(worst)} and "
            f"{number(best)}."
        )
    left_out = [
        f"{k} {why} {plural(group.source)[1]}"
        for group in (one, other)
        for why, k in group.excluded.items()
    ]
    if left_out:
        sentences.append(f"Drawn but left out by the density filter: {listed(left_out)}.")
    return sentences


def _single_tokens(one: Group, other: Group, contrast: Contrast) -> list[str]:
    if one.single_token_share is None or other.single_token_share is None:
        return []
    sentence = (
        f"One token stands at every peak of {percent(one.single_token_share)} of the "
        f"{plural(one.source)[1]} and {percent(other.single_token_share)} of the "
        f"{plural(other.source)[1]}"
    )
    if contrast.several_tokens is None:
        return [sentence + "."]
    return [f"{sentence}; without these P is {interval(contrast.several_tokens)}."]
