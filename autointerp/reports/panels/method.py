"""Enough to repeat it: versions, seeds, digests, rubric and prompt verbatim, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from autointerp.errors import RubricError, UnknownName
from autointerp.findings.comparison import Comparison, awaited_raters, is_planned
from autointerp.findings.density import LIKE
from autointerp.findings.groups import Judgement
from autointerp.findings.subject import STAND_FOR
from autointerp.findings.trust import EDGE, LEAST_CONTROLS
from autointerp.questions.explain import EXPLAIN_LOGITS
from autointerp.questions.items import load_items
from autointerp.questions.rubric import Rubric
from autointerp.questions.scorers import load_question
from autointerp.questions.trials import load_trials
from autointerp.reports.panels import Block, Heading, Material, Prose, Table, Verbatim
from autointerp.reports.panels._silence import assumed_silence
from autointerp.reports.words import listed, number, percent, plural
from autointerp.store.run import Run
from autointerp.subjects.passages import near_copies_text
from autointerp.text import ON_PAGE, capital, count, first_tokens, visible

AFTER = "cost"
TITLE = "Method"


def show(material: Material) -> list[Block]:
    drawn = (
        "Units came from files, and where fewer were asked for than there are, they were drawn at "
        "random, by seed."
        if all(run.is_imported and not run.is_from_memory for run in material.runs)
        else "Units were drawn at random, by seed, from those of each source that pass the density "
        "filter."
    )
    foreign = [comparison for comparison in material.comparisons if comparison.provenance]
    blocks: list[Block] = [
        Prose(comparison.provenance, lead=f"{comparison.run}.") for comparison in foreign
    ]
    if len(foreign) < len(material.comparisons):
        text = (
            f"{drawn}{drawn_unlike_text(material)} Raters saw opaque ids in mixed order, and "
            "nothing of source, index, layer, density or absolute activation. "
            f"{activations_text(material)}".strip()
        )
        blocks.append(Prose(text))
    for comparison in material.comparisons:
        lead = f"{comparison.run}:" if material.several_runs else ""
        facts = comparison.subject
        if facts.is_cut and facts.tokens:
            text = f"Read were {first_tokens(facts.tokens)}, which has more (harvest.tokens)."
            blocks.append(Prose(text, lead=lead))
        if facts.near_copies:
            blocks.append(Prose(near_copies_text(facts.near_copies), lead=lead))
    blocks += assumed_silence(material)
    entries = [
        {"run": comparison.run, "what": name, "value": value}
        for comparison in material.comparisons
        for name, value in flattened(comparison.about)
        if not (comparison.provenance and name.startswith("settings."))  # nothing was made by them
    ]
    blocks.append(
        Table(
            name="method",
            caption="run.toml",
            frame=pd.DataFrame(entries),
            headings=[*(["run"] if material.several_runs else []), "what", "value"],
            rows=[
                [*([f["run"]] if material.several_runs else []), f["what"], text]
                for f in entries
                if (text := setting_text(f["what"], f["value"]))
            ],
        )
    )
    if any(True for _ in material.judgements):
        blocks += [Heading("Statistics"), *_statistics(material)]
    blocks.append(Heading("What raters were asked"))
    shown: set[str] = set()
    for comparison, run in zip(material.comparisons, material.runs, strict=True):
        for judgement in comparison.judgements:
            if judgement.rubric_digest in shown:
                continue
            shown.add(judgement.rubric_digest)
            blocks.extend(
                _published(judgement)
                if comparison.provenance
                else _asked(judgement, comparison, run)
            )
    for run in material.runs:
        blocks.extend(_asked_of_descriptions(run, shown))
    explained = list(_explained(material))
    return [*blocks, Heading("Who described the units"), *explained] if explained else blocks


def drawn_unlike_text(material: Material) -> str:
    """Return who rated units that were drawn from these again, some likelier than others."""
    drawn = [one for one in material.judgements if one.drawn is not None]
    by_one = dict.fromkeys(one.rater for one in drawn if one.drawn and one.drawn.by != "several")
    by_several = dict.fromkeys(one.rater for one in drawn if one.rater not in by_one)
    sentences = [
        f" From those, `plan-humans` drew {what} {listed(who)} rated, {how}."
        for who, what, how in (
            (by_one, "what", "with known probabilities"),
            (by_several, "some of what", "and others were rated beside them"),
        )
        if who
    ]
    return "".join(sentences)


def flattened(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield `a.b.c` and the value, as text, of every leaf of nested tables."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def setting_text(name: str, value: str) -> str:
    """Return how the page writes an entry of run.toml; empty for one that says nothing."""
    return STAND_FOR.get((name, value), value)


def activations_text(material: Material) -> str:
    """Return on which rubrics raters saw activations, and who read all contexts with them instead
    of what a rubric shows; empty where no rubric is at hand."""
    rubrics = {j.rubric: j.scale.rubric for j in material.judgements}
    everything = dict.fromkeys(one.rater for one in material.judgements if one.reads_all)
    by_items = {one.rubric for one in material.judgements if not one.reads_all}
    shown = {
        name: rubric.shows.activations
        for name, rubric in rubrics.items()
        if rubric is not None and name in by_items
    }
    sentences = []
    scaled = [name for name, how in shown.items() if how == "scaled"]
    hidden = [name for name, how in shown.items() if how == "hidden"]
    if scaled:
        sentences.append(f"On {listed(scaled)} activations are scaled to each unit's own maximum.")
    if hidden:
        sentences.append(f"On {listed(hidden)} no activations are shown.")
    if everything:
        one = len(everything) == 1
        sentences.append(
            f"{listed(everything)} {'reads' if one else 'read'} all stored contexts of a unit, of "
            "both splits, with the activation on each token scaled to the unit's own maximum"
            + (", and not what a rubric shows." if shown else ".")
        )
    return " ".join(sentences)


def _published(judgement: Judgement) -> Iterator[Block]:
    """Yield what is known of a question that autointerp did not ask."""
    rubric = judgement.scale.rubric
    if rubric is not None:
        scale = "\n".join(f"{score} = {text or '(not text)'}" for score, text in rubric.scale)
        yield Verbatim(f"What is known of {rubric.id}, not verbatim", f"{rubric.text}\n\n{scale}")


def _asked(judgement: Judgement, comparison: Comparison, run: Run) -> Iterator[Block]:
    digest = judgement.rubric_digest
    rubric = judgement.scale.rubric
    if rubric is None:
        yield Prose(
            f"The text of {judgement.rubric} (digest {digest[:16]}…) is neither in the run nor "
            "among the shipped rubrics of this version, so it cannot be printed here; its scale "
            "is taken from the scores that were given.",
            tone="warning",
        )
        return
    name = f"{rubric.id}, version {rubric.version} (digest {digest[:16]}…)"
    judged = [one for one in comparison.judgements if one.rubric_digest == digest]
    everything = [one.rater for one in judged if one.reads_all]
    if everything:
        yield Prose(
            f"{listed(everything)} {'does' if len(everything) == 1 else 'do'} not read these "
            "instructions: a rater of that kind goes by all stored contexts of a unit in its own "
            f"way, and gives its score on the scale of {rubric.id}."
        )
    yield Verbatim(f"The instructions of {name}, verbatim", rubric.system())
    prompt = _prompt(run, rubric) if len(everything) < len(judged) else ""
    if prompt:
        yield Verbatim("The first item as it was shown, verbatim but for unseen characters", prompt)


def _prompt(run: Run, rubric: Rubric) -> str:
    first = run.rows(
        "SELECT item_id FROM item WHERE rubric_digest = ? AND evidence = 'shown'"
        " ORDER BY ord LIMIT 1",
        [rubric.digest],
    )
    if not first:
        return ""
    text = rubric.user(load_items(run, [first[0][0]], rubric)[0])
    return "\n".join(visible(line, ON_PAGE) for line in text.split("\n"))


def _asked_of_descriptions(run: Run, shown: set[str]) -> Iterator[Block]:
    """Yield what explainers and scorers were asked, and judges of descriptions; once each."""
    for name, digest, item in run.rows(
        "SELECT task, task_digest, min(item_id) FROM probe"
        " WHERE item_id IN (SELECT item_id FROM rating) GROUP BY ALL ORDER BY ALL"
    ):
        try:
            task = load_question(name)
        except (UnknownName, RubricError):
            continue
        if digest in shown or task.digest != digest:
            continue
        shown.add(digest)
        yield Verbatim(
            f"The instructions of {name}, version {task.version} (digest {digest[:16]}…), verbatim",
            task.system(),
        )
        text = task.user(load_trials(run, [item], task)[0])
        yield Verbatim(
            f"An item of {name} as it was shown, verbatim but for unseen characters",
            "\n".join(visible(line, ON_PAGE) for line in text.split("\n")),
        )


def _explained(material: Material) -> Iterator[Block]:
    """Yield who described units, and what each explainer saw."""
    for comparison in material.comparisons:
        of_task = {(asked.explainer, asked.task) for asked in comparison.explained}
        for name, task in sorted(of_task):
            by_source = [asked for asked in comparison.explained if asked.explainer == name]
            units = listed([f"{asked.units:,} {plural(asked.source)[1]}" for asked in by_source])
            most = count(max(asked.most_contexts for asked in by_source), "context")
            text = f"was asked about {units}, each shown by {most} at most, none held out"
            if task == EXPLAIN_LOGITS.id:
                shown_effects = [
                    plural(asked.source)[1] for asked in by_source if asked.with_effects
                ]
                others = [plural(asked.source)[1] for asked in by_source if not asked.with_effects]
                text += (
                    f", and, of {listed(shown_effects or ['none'])}, by the tokens that the unit's "
                    "direction promotes and suppresses most by its direct effect on the logits: "
                    "through the final norm's weights and the unembedding, the norm's scale and "
                    "all later layers left out, in order of strength, without figures"
                )
                if others:
                    text += f". {capital(listed(others))} have none, so their items look other"
            lead = f"{comparison.run}: {name}" if material.several_runs else name
            yield Prose(f"{text}.", lead=lead)


def _statistics(material: Material) -> Iterator[Block]:
    used = sorted(
        {
            (name, estimate.method)
            for judgement in material.judgements
            for name, estimate in _methods(judgement)
            if estimate.method
        }
    )
    yield Table(
        name="statistics",
        caption="How each number was made",
        frame=pd.DataFrame(used, columns=["number", "method"]),
        headings=["number", "method"],
        rows=[list(row) for row in used],
    )
    yield Prose(f"{rule_text(material)} {families_text(material)}")
    yield Prose(
        f"A rater cannot be trusted where the mean of a control that is a floor lies outside the "
        f"lowest, or that of a ceiling outside the highest, {EDGE:.0%} of the scale's range, with "
        f"{LEAST_CONTROLS} units or more. A control is said to be of like density where mean log "
        f"densities differ by {LIKE:g} standard deviations at most. A unit is explained by a "
        "single token where the same one, case and spaces aside, stands at the peak of all of its "
        "strongest contexts, 20 at most."
    )
    yield Prose(
        "References: Brunner & Munzel 2000, Biometrical J. 42:17; Mann & Whitney 1947, Ann. Math. "
        "Stat. 18:50; Neubert & Brunner 2007, CSDA 51:5192 (permutation); Cliff 1993, Psychol. "
        "Bull. 114:494; Holm 1979, Scand. J. Stat. 6:65; van Elteren 1960, Bull. Int. Stat. Inst. "
        "37:351 (strata); Manski 1990, Am. Econ. Rev. 80:319 (bounds); Krippendorff 2011 (alpha); "
        "Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453 (PPI++); Chow & Robbins 1965, Ann. "
        "Math. Stat. 36:457, Jennison & Turnbull 1989, JRSS B 51:305, and Waudby-Smith et al. "
        "2024, Ann. Stat. 52:2613 (several looks)."
    )


def rule_text(material: Material) -> str:
    """Return the rule by which a contrast is called higher, lower or alike."""
    contrasts = [c for j in material.judgements for c in j.contrasts]
    bounds = {c.equivalence for c in contrasts}
    levels = sorted({c.superiority.level for c in contrasts}, reverse=True) or [0.95]
    within = listed(f"{number(low)} to {number(high)}" for low, high in sorted(bounds))
    alphas = listed(f"{1 - level:.2g}" for level in levels)
    return (
        f"A source is called higher or lower where the adjusted p is {alphas} or less and the "
        f"{listed(percent(level) for level in levels)} interval of the probability of superiority "
        "lies on one side of 0.5; two sources are called alike where the interval lies within "
        f"{within or 'the equivalence bounds'}; all else is not resolved, and nothing is decided "
        "before the plan's stopping rule allows it."
    )


def families_text(material: Material) -> str:
    """Return how many tests Holm's adjustment runs over, in each run: those that have a p-value."""
    sentences = []
    for comparison in material.comparisons:
        contrasts = [c for j in comparison.judgements for c in j.contrasts if c.holm_p is not None]
        if not contrasts:
            continue
        primary = sum(c.primary for c in contrasts)
        planned = sum(
            c.primary and c.holm_p is not None
            for j in comparison.judgements
            if is_planned(comparison.plan, j)
            for c in j.contrasts
        )
        of = f" of run '{comparison.run}'" if material.several_runs else ""
        awaited = len(awaited_raters(comparison.plan, comparison.judgements))
        to_come = f", {awaited} more of the plan" if awaited else ""
        whose = "the plan's raters" if planned else "every rubric and rater"
        beside = f", for raters beside the plan over all {primary}" if 0 < planned < primary else ""
        sentences.append(
            f"Holm's adjustment (1979) runs over the {count(planned or primary, 'primary test')}"
            f"{of} ({' against '.join(comparison.primary)}, {whose}{to_come}){beside} and, apart, "
            f"over the {count(len(contrasts) - primary, 'other pair')}."
        )
    return " ".join(sentences)


def _methods(judgement: Judgement) -> Iterator[tuple[str, Any]]:
    for group in judgement.groups.values():
        yield "mean", group.mean
        yield "median", group.median
    for contrast in judgement.contrasts:
        yield "probability of superiority", contrast.superiority
        yield "difference of means", contrast.difference
        yield "wins, ties, losses", contrast.pairs.wins
        yield "test", contrast.test
        yield "beside it", contrast.mann_whitney
        if contrast.adjusted:
            yield "at like density", contrast.adjusted.superiority
            yield "at like density, second opinion", contrast.adjusted.odds_ratio
