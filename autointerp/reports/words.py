"""How numbers, names and findings are written in a report."""

from __future__ import annotations

from collections.abc import Iterable

from autointerp.findings.groups import Contrast, Judgement
from autointerp.findings.trust import ControlCheck, Trust
from autointerp.reports.panels import Material
from autointerp.stats.results import Statistic
from autointerp.text import count
from autointerp.units.sources import kind_of

NOT_LLM = {
    "lexical": "a fixed rule on words and no language model",
    "scripted": "a script that gives a fixed score",
    "human": "a person",
}


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a real minus sign, none before 0.00; a dash where there is none."""
    return "–" if value is None else f"{value:z.{digits}f}".replace("-", "−")


def interval(statistic: Statistic | None, digits: int = 2) -> str:
    """Return `0.81 [0.72, 0.88]`; the value alone where no interval is defined."""
    if statistic is None or statistic.value is None:
        return "–"
    if statistic.low is None:
        return number(statistic.value, digits)
    low, high = number(statistic.low, digits), number(statistic.high, digits)
    return f"{number(statistic.value, digits)} [{low}, {high}]"


def p_value(p: float | None) -> str:
    """Return `0.012`, `< 0.001`, or a dash."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def listed(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    words = list(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def rater_kind(rater: str) -> str:
    """Return the part of a rater's name before the colon."""
    return rater.partition(":")[0]


def what(judgement: Judgement) -> str:
    """Return what a judgement's rater is, in a few words, as the run says."""
    if judgement.is_llm:
        return "a language model"
    known = NOT_LLM.get(rater_kind(judgement.rater))
    if known is None:
        known = "a rater of which the run does not say what it is"
        if judgement.is_llm is False:
            known = "no language model"
    return known


def label(judgement: Judgement, material: Material) -> str:
    """Return what tells this judgement from the others of the report: run, rubric, rater."""
    parts = [judgement.run] if material.several_runs else []
    return " · ".join([*parts, judgement.rubric, judgement.rater])


def slug(judgement: Judgement, material: Material) -> str:
    """Return a file name's part for this judgement; empty where the report has only one."""
    everything = list(material.judgements)
    if len(everything) == 1:
        return ""
    runs = [c.run for c in material.comparisons]
    several = (
        sum(
            j.rubric == judgement.rubric and j.rater == judgement.rater and j.run == judgement.run
            for j in everything
        )
        > 1
    )
    parts = [judgement.run] if len(runs) > 1 else []
    parts += [judgement.rubric, judgement.rater]
    parts += [judgement.rubric_digest[:8]] if several else []
    return "-" + "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


def plural(source: str) -> tuple[str, str]:
    """Return how one unit and several of a source are called in a sentence."""
    return kind_of(source).names


CONTROL = {
    "floor": "units that fire with no regard to the text",
    "ceiling": "units that fire on one known word",
}


def trust_text(trust: Trust) -> str:
    """Return what the controls say of a rater, in sentences."""
    return " ".join(map(_control, trust.controls))


def _control(check: ControlCheck) -> str:
    if check.mean is None:
        have = "was not rated" if check.n is None else f"has only {count(check.n, 'scored unit')}"
        return f"The control '{check.control}' {have}, so nothing shows where the {check.end} lies."
    side = "or less" if check.end == "floor" else "or more"
    return (
        f"'{check.control}' ({CONTROL[check.end]}) has mean {interval(check.mean)} of "
        f"{check.n}: "
        + (
            f"at the {check.end}."
            if check.state == "held"
            else f"not at the {check.end} ({number(check.limit)} {side})."
        )
    )


def finding(contrast: Contrast) -> str:
    """Return the contrast as a sentence, with P(superiority) and its interval."""
    one, ones = plural(contrast.first)
    other, others = plural(contrast.second)
    statistic = contrast.superiority
    if contrast.outcome == "all scores equal" or statistic.low is None or statistic.high is None:
        return f"{ones.capitalize()} and {others}: every score is the same"
    start = {
        "higher": f"{ones.capitalize()} score higher than {others}",
        "lower": f"{ones.capitalize()} score lower than {others}",
        "too few units": (
            f"Too few units to tell {ones} from {others}, {statistic.n[0]} and {statistic.n[1]}"
        ),
        "unclear": f"No clear difference between {ones} and {others}",
    }[contrast.outcome]
    beats = f"{one} outscores {other} in {percent(statistic.value)} of pairs"
    return f"{start}: {beats} [{100 * statistic.low:.0f}–{100 * statistic.high:.0f} %]"


def flat(name: str, statistic: Statistic | None) -> dict[str, float | None]:
    """Return a statistic as columns of a table: its value, and the ends of its interval."""
    return {
        name: statistic.value if statistic else None,
        f"{name}_low": statistic.low if statistic else None,
        f"{name}_high": statistic.high if statistic else None,
    }
