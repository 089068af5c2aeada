"""The answer in words, with its conditions; what speaks against the rater comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Contrast, Group, Judgement
from autointerp.reports.checks import latest_check
from autointerp.reports.panels import Block, Heading, Material, Prose
from autointerp.reports.panels.scores import finding
from autointerp.reports.words import (
    interval,
    label,
    listed,
    number,
    p_value,
    percent,
    plural,
    rater_kind,
    what,
)
from autointerp.text import count

ORDER = 10
TITLE = "Verdict"

EDGE = 0.25
LEAST_CONTROLS = 5


@dataclass(frozen=True)
class Trust:
    """What the controls say of a rater.

    Attributes:
        state: `broken` if a control is not where it must be, `unknown` if one is lacking,
            `held` if the floor is at the floor and the ceiling at the ceiling.
        told: In sentences.
    """

    state: Literal["held", "broken", "unknown"]
    told: tuple[str, ...]


def trust(judgement: Judgement) -> Trust:
    """Return whether the rater puts `shuffled` at the floor and `planted` at the ceiling.

    At the floor means a mean in the lowest quarter of the scale's range, at the ceiling in the
    highest quarter; fewer than five scored units cannot say.
    """
    scale = judgement.scale
    span = scale.highest - scale.lowest
    told, states = [], []
    for name, end, limit in (
        ("shuffled", "floor", scale.lowest + EDGE * span),
        ("planted", "ceiling", scale.highest - EDGE * span),
    ):
        group = judgement.groups.get(name)
        if group is None or group.n < LEAST_CONTROLS or group.mean.value is None:
            have = "was not rated" if group is None else f"has only {count(group.n, 'scored unit')}"
            told.append(f"The control '{name}' {have}, so nothing shows where the {end} lies.")
            states.append("unknown")
            continue
        value = group.mean.value
        holds = value <= limit if end == "floor" else value >= limit
        side = "or less" if end == "floor" else "or more"
        told.append(
            f"'{name}' ({_what(name)}) has mean {interval(group.mean)} of {group.n}: "
            + (f"at the {end}." if holds else f"not at the {end} ({number(limit)} {side}).")
        )
        states.append("held" if holds else "broken")
    for state in ("broken", "unknown"):
        if state in states:
            return Trust(state, tuple(told))
    return Trust("held", tuple(told))


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
    trusted = trust(judgement)
    said: list[Prose] = []
    contrast = judgement.primary or _first_studied(judgement)
    if contrast is None:
        said.append(Prose(_single(judgement), lead="Nothing to compare."))
    else:
        good = trusted.state == "held" and contrast.superiority.low is not None
        said.append(
            Prose(
                _tested(contrast, material.comparison(judgement.run).declared),
                lead=finding(contrast) + ".",
                tone="good" if good and contrast.superiority.low != 0.5 else "plain",
            )
        )
    said.append(Prose(_rater(judgement, material), lead="The rater."))
    if trusted.state != "broken":
        said.append(
            Prose(
                " ".join([*trusted.told, *_random(judgement)]),
                lead="The controls.",
                tone="warning" if trusted.state == "unknown" else "plain",
            )
        )
    if contrast is not None:
        said.append(Prose(" ".join(_conditions(judgement, contrast)), lead="The conditions."))
    return said


def doubts(judgement: Judgement) -> list[Prose]:
    """Return the warning that a rater's controls call for, if they do."""
    trusted = trust(judgement)
    if trusted.state != "broken":
        return []
    told = f"{' '.join(trusted.told)} Its scores on {judgement.rubric} say nothing of the units."
    lead = f"The rater {judgement.rater} cannot be trusted."
    return [Prose(told, lead=lead, tone="warning")]


def _first_studied(judgement: Judgement) -> Contrast | None:
    """Return a contrast of what is studied, or else of that with a control."""
    studied = judgement.sources
    return next(
        (c for c in judgement.contrasts if c.first in studied and c.second in studied),
        next((c for c in judgement.contrasts if c.first in studied), None),
    )


def _what(control: str) -> str:
    return {
        "shuffled": "units that fire with no regard to the text",
        "planted": "units that fire on one known word",
    }[control]


def _single(judgement: Judgement) -> str:
    told = [f"{g.source}: mean {interval(g.mean)}, n = {g.n}" for g in judgement.groups.values()]
    return "; ".join(told) + ". Rate a second source to compare with."


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
    found = latest_check(judgement, material)
    if found is None:
        return said + " It was never checked against known answers."
    return f"{said} Its latest check: {found}."


def _random(judgement: Judgement) -> list[str]:
    told = []
    for one in judgement.contrasts:
        if one.second == "random" and one.first in judgement.sources:
            ones = plural(one.first)[1]
            told.append(
                f"Against random directions of like density, P({ones} higher) = "
                f"{interval(one.superiority)}."
            )
    return told


def _conditions(judgement: Judgement, contrast: Contrast) -> list[str]:
    one, other = (judgement.groups[name] for name in (contrast.first, contrast.second))
    told = [
        f"Compared are {one.n} {plural(one.source)[1]} and {other.n} {plural(other.source)[1]} "
        f"of run '{judgement.run}'."
    ]
    if contrast.matched is not None and contrast.matched.superiority.value is not None:
        told.append(f"Within strata of like density P is {interval(contrast.matched.superiority)}.")
    told.extend(_single_tokens(one, other, contrast))
    missing = [sum(group.unrated.values()) for group in (one, other)]
    if sum(missing):
        worst, best = contrast.bounds.worst.value, contrast.bounds.best.value
        told.append(
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
        told.append(f"Drawn but left out by the density filter: {listed(left_out)}.")
    return told


def _single_tokens(one: Group, other: Group, contrast: Contrast) -> list[str]:
    if one.single_token_share is None or other.single_token_share is None:
        return []
    told = (
        f"One token stands at every peak of {percent(one.single_token_share)} of the "
        f"{plural(one.source)[1]} and {percent(other.single_token_share)} of the "
        f"{plural(other.source)[1]}"
    )
    if contrast.several_tokens is None:
        return [told + "."]
    return [f"{told}; without these P is {interval(contrast.several_tokens)}."]
