"""How numbers and names are written in a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autointerp.findings.groups import Judgement
from autointerp.reports.panels import Material
from autointerp.stats.results import HypothesisTest, Statistic

NOT_LLM = {
    "lexical": "a fixed rule on words and no language model",
    "scripted": "a script that gives the score it is told",
    "human": "a person",
}


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a real minus sign, none before 0.00; a dash where there is none."""
    return "–" if value is None else f"{value:z.{digits}f}".replace("-", "−")


def interval(found: Statistic | None, digits: int = 2) -> str:
    """Return `0.81 [0.72, 0.88]`; the value alone where no interval is defined."""
    if found is None or found.value is None:
        return "–"
    if found.low is None:
        return number(found.value, digits)
    low, high = number(found.low, digits), number(found.high, digits)
    return f"{number(found.value, digits)} [{low}, {high}]"


def p_value(p: float | None) -> str:
    """Return `0.012`, `< 0.001`, or a dash."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def test_p(found: HypothesisTest) -> str:
    return p_value(found.p_value)


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
    known = {
        "features": ("a feature", "features"),
        "neurons": ("a neuron", "neurons"),
        "planted": ("a planted unit", "planted units"),
        "random": ("a random direction", "random directions"),
        "shuffled": ("a shuffled unit", "shuffled units"),
    }
    return known.get(source, (f"a unit of {source}", source))


def columns(rows: Sequence[dict[str, object]]) -> list[str]:
    """Return the keys of rows in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))
