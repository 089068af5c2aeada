"""The first screen: what came out, in words; `answer_picture` draws it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from autointerp.findings.across import RunContrast
from autointerp.findings.groups import Contrast, Judgement, on_first_rubric
from autointerp.records import is_person
from autointerp.reports.against import NOTHING_KNOWN, objections
from autointerp.reports.panels import Answer, Figure, Material
from autointerp.reports.words import (
    NOT_COUNTED,
    SUPERIORITY,
    brief_label,
    claim,
    full_claim,
    interval,
    label,
    listed,
    number,
    p_value,
    percent,
    plural,
    run_finding,
    studied_pair,
    what,
    wins_ties_losses,
)
from autointerp.stats.results import Statistic
from autointerp.text import capital

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MOST = 6  # judgements in the picture, and in the list of what each found


def answer(material: Material) -> Answer | None:
    """Return the first screen of a report; None where no unit was rated."""
    judgements = [judgement for judgement in material.judgements if judgement.has_scores]
    if not judgements:
        return None
    judgements.sort(key=lambda judgement: bool(judgement.fails))  # those that count come first
    pairs = {place: pair for place, j in enumerate(judgements) if (pair := studied_pair(j))}
    held = {place for place, j in enumerate(judgements) if not j.fails}
    against = objections(material)
    contrasts = (
        [contrast for judged in material.across.judged for contrast in judged.contrasts]
        if material.across is not None and not pairs
        else []
    )
    outcomes = [pair.outcome for place, pair in pairs.items() if place in held]
    outcomes += [contrast.outcome for contrast in contrasts]
    unresolved = not outcomes or "not resolved" in outcomes or not held
    claimed, tone = _claim(judgements, pairs, held, contrasts)
    return Answer(
        claim=claimed,
        support=_support(judgements, pairs, material),
        heading="What to keep in mind" if unresolved else "What speaks against it",
        against=[(one.lead, one.text) for one in against[:3]] or [NOTHING_KNOWN],
        figure=Figure(
            name="answer",
            caption=_caption(judgements, pairs, material),
            alt=_alt(judgements, pairs),
            draw=lambda: _drawn(judgements, material),
        ),
        tone=tone,  # type: ignore[arg-type]
    )


def _drawn(judgements: Sequence[Judgement], material: Material) -> Drawing:
    from autointerp.reports.answer_picture import draw  # matplotlib: only where it is drawn

    return draw(judgements[:MOST], material)


def _claim(
    judgements: Sequence[Judgement],
    pairs: Mapping[int, Contrast],
    held: set[int],
    contrasts: Sequence[RunContrast],
) -> tuple[str, str]:
    """Return what may be said, and its tone: by the raters whose controls are in their places.

    `contrasts` are those across runs, which speak where no run holds both sides.
    """
    if not held:
        raters = list(dict.fromkeys(judgement.rater for judgement in judgements))
        why = {judgement.fails for judgement in judgements}
        if len(raters) == 1 and len(why) == 1:
            return f"No answer from {raters[0]}: {why.pop()}.", "warning"
        return "No answer: every rater fails its controls or its check.", "warning"
    counted = {place: pair for place, pair in pairs.items() if place in held}
    if not counted and contrasts:
        said = list(dict.fromkeys(run_finding(contrast) for contrast in contrasts))
        resolved = len(said) == 1 and contrasts[0].outcome in ("higher", "lower")
        if len(said) > MOST:
            return f"{len(said)} contrasts across runs: see the forest below.", "plain"
        good = resolved and len(held) == len(judgements)
        return f"{'; '.join(said)}.", "good" if good else "plain"
    if not counted:
        alone = list(dict.fromkeys(_alone(judgements[place]) for place in sorted(held)))
        if len(alone) > 1:
            return "Nothing is compared: each rating is reported for itself.", "plain"
        return f"{alone[0]}.", "plain"
    claims = list(dict.fromkeys(full_claim(judgements[at], pair) for at, pair in counted.items()))
    outcomes = {pair.outcome for pair in counted.values()}
    resolved = outcomes in ({"higher"}, {"lower"}) and not any(
        judgements[place].survives_baseline is False for place in counted
    )
    checked = all(judgements[place].trust.state == "held" for place in counted)
    by = ""
    if len(held) < len(judgements):  # not in green, where raters had to be left out
        counts = "counts" if len(held) == 1 else "count"
        by = f", by the {len(held)} of {len(judgements)} ratings that {counts}"
    tone = "good" if resolved and checked and not by else "plain"
    if len(claims) == 1:
        return f"{claims[0]}{by}.", tone
    alike = {claim(pair) for pair in counted.values()}
    if len(alike) == 1:  # of the baseline alone they differ
        told = {
            full_claim(judgements[at], pair)
            for at, pair in counted.items()
            if judgements[at].baseline is not None
        }
        if len(told) == 1:
            return f"{told.pop()} where these were rated{by}.", tone
        others = plural(next(j.baseline.second for j in judgements if j.baseline is not None))[1]
        return f"{alike.pop()}{by}; of {others} the ratings do not agree.", "plain"
    if {"higher", "lower"} <= outcomes:
        return "The ratings contradict one another.", "plain"
    if (
        len(outcomes - {"not resolved"}) <= 1
        and len({(pair.first, pair.second) for pair in counted.values()}) == 1
    ):
        those = f"the {len(counted)} ratings that count" if by else f"{len(counted)} ratings"
        resolved_ones = {at: p for at, p in counted.items() if p.outcome != "not resolved"}
        if not resolved_ones:
            pair = next(iter(counted.values()))
            first, second = plural(pair.first)[1], plural(pair.second)[1]
            none = f"Whether {first} or {second} score higher is resolved by none of {those}."
            return none, "plain"
        found = claim(next(iter(resolved_ones.values())))
        ones = [judgements[at] for at in resolved_ones]
        beside = "" if "equivalent" in outcomes else _beside_baseline(ones)
        return (
            f"{found} by {len(resolved_ones)} of {those}; by the others it is not resolved."
            f"{beside}",
            "plain",
        )
    return "The ratings do not agree on an answer.", "plain"


def _beside_baseline(judgements: Sequence[Judgement]) -> str:
    """Return by how many ratings that find a source higher it is so against its untrained baseline
    too, as a sentence; empty where none of them had that rated."""
    baselines = [one.baseline for one in judgements if one.baseline is not None]
    if not baselines:
        return ""
    higher = sum(baseline.outcome == "higher" for baseline in baselines)
    others = plural(baselines[0].second)[1]
    return f" Than {others} they score higher by {higher} of {len(baselines)}."


def _alone(judgement: Judgement) -> str:
    """Return the means of what is studied, where there is nothing to compare them with."""
    every = judgement.sources or judgement.controls
    names = [name for name in every if judgement.groups[name].n]
    if not names:
        return "No studied unit has a score"
    means = listed(
        f"{plural(name)[1]} score {number(judgement.groups[name].mean.value)}" for name in names
    )
    low, high = judgement.scale.lowest, judgement.scale.highest
    without = listed(plural(name)[1] for name in every if name not in names)
    rest = f"; no score of {without}" if without else ""
    return f"{capital(means)} on average, on a scale of {low} to {high}{rest}"


def _support(
    judgements: Sequence[Judgement], pairs: Mapping[int, Contrast], material: Material
) -> list[str]:
    if len(judgements) > 1:
        lines = [
            f"{brief_label(judgement, material)}: {_brief(judgement, pairs.get(place))}."
            for place, judgement in enumerate(judgements[:MOST])
        ]
        rest = len(judgements) - MOST
        return [*lines, *([f"{rest} more below."] if rest > 0 else [])]
    (judgement,) = judgements
    sentences = []
    pair = pairs.get(0)
    if pair is not None and not pair.is_one_value:
        shares = wins_ties_losses(pair)
        sentences.append(f"{capital(shares)}.")
        adjusted = "" if pair.holm_p is None else f"; p {p_value(pair.holm_p)} after Holm"
        sentences.append(
            f"{SUPERIORITY.capitalize()}, ties halved: {interval(pair.superiority)}{adjusted}."
        )
        if (baseline := judgement.baseline) is not None:
            others = plural(baseline.second)[1]
            sentences.append(f"Against {others} it is {interval(baseline.superiority)}.")
    controls = [
        f"{plural(name)[1]} {number(judgement.groups[name].mean.value)}"
        for name in judgement.controls
        if judgement.groups[name].n
    ]
    means = [
        f"{plural(name)[1]} {number(judgement.groups[name].mean.value)}"
        for name in judgement.sources
        if judgement.groups[name].n
    ]
    low, high = judgement.scale.lowest, judgement.scale.highest
    if pair is None:
        means = [
            f"{plural(name)[1]} {interval(judgement.groups[name].mean)}, "
            f"n = {judgement.groups[name].n:,}"
            for name in judgement.sources
            if judgement.groups[name].n
        ]
    beside = f"; the controls beside them: {listed(controls)}" if controls else ""
    if means:
        sentences.append(f"Means on the scale of {low} to {high}: {listed(means)}{beside}.")
    if judgement.is_llm is not False or is_person(judgement.rater):  # else an objection
        sentences.append(f"The rater is {judgement.rater}, {what(judgement)}.")
    return sentences


def _brief(judgement: Judgement, pair: Contrast | None) -> str:
    if judgement.fails:
        return f"{judgement.fails}, so it does not count"
    if pair is None:
        text = _alone(judgement)
        return f"{text[0].lower()}{text[1:]}"
    text = full_claim(judgement, pair)
    estimate = "" if pair.is_one_value else f", {interval(pair.superiority)}"
    return f"{text[0].lower()}{text[1:]}{estimate}"


def _caption(
    judgements: Sequence[Judgement], pairs: Mapping[int, Contrast], material: Material
) -> str:
    parts = []
    if pairs:
        parts.append(
            f"Bars: of all pairs of units, one of each source, how often either scores higher; "
            f"grey: the same. Dots: {SUPERIORITY}, ties halved, with its "
            f"{_levels(pair.superiority for pair in pairs.values())} interval where one is known; "
            "shaded: differences too small to matter."
        )
    drawn = judgements[:MOST]
    alike = on_first_rubric(drawn)
    means = _levels(group.mean for one in alike for group in one.groups.values())
    by = listed(brief_label(one, material) for one in alike)
    parts.append(
        f"{'Below: mean' if pairs else 'Mean'} scores"
        + (f" by {by} alone," if len(alike) < len(drawn) else "")
        + f" with {means} intervals"
        + (", controls (*) on the same axis" if any(one.controls for one in alike) else "")
        + ("; a circle's area is the share of units at a score." if len(alike) == 1 else ".")
    )
    if len(judgements) > MOST:
        parts.append(f"Drawn for the first {MOST} of {len(judgements)} ratings.")
    if len(judgements) == 1:
        parts.append(f"{label(judgements[0], material)}.")
    return " ".join(parts)


def _levels(statistics: Iterable[Statistic]) -> str:
    return listed(percent(level) for level in sorted({one.level for one in statistics}))


def _alt(judgements: Sequence[Judgement], pairs: Mapping[int, Contrast]) -> str:
    parts = []
    for place, judgement in enumerate(judgements[:MOST]):
        pair = pairs.get(place)
        if pair is not None:
            without = NOT_COUNTED if judgement.fails else ""
            parts.append(
                f"{judgement.rater}{without}: {wins_ties_losses(pair)}; {SUPERIORITY} "
                f"{interval(pair.superiority)}"
            )
        if pair is not None and len(judgements) == 1 and (baseline := judgement.baseline):
            parts.append(
                f"{wins_ties_losses(baseline)}; {SUPERIORITY} {interval(baseline.superiority)}"
            )
        means = "; ".join(
            f"{name} {interval(group.mean)}" for name, group in judgement.groups.items() if group.n
        )
        parts.append(f"{judgement.rater}, mean scores: {means}")
    return ". ".join(parts) + "."
