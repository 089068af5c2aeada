"""What runs were made of and what raters were shown: what differs, and whether scores compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Judgement
from autointerp.findings.subject import STAND_FOR
from autointerp.store.run import Run
from autointerp.text import count

Weight = Literal["subject", "caution", "refusal"]

ENOUGH_ALIKE = 0.1  # relative difference in contexts shown that is no difference in evidence
NOBODY = "human"  # a person without a name
CORPUS = ("corpus", "corpus_field", "corpus_separator", "corpus_seed")
LABELS = {
    "corpus_field": "field ",
    "corpus_separator": "separator ",
    "corpus_seed": "seed ",
    "revision": "revision ",
}
OWN = "the model's own"
DECIDE_CONTEXTS = ("fires", "explain_share", "top", "intervals", "per_interval", "random")


@dataclass(frozen=True)
class Difference:
    """What is not the same in all runs that are compared.

    Attributes:
        weight: `subject`: what is studied differs, which may be why one compares; `caution`:
            scores may differ for it; `refusal`: scores of these runs are not compared.
        what: In a few words.
        by_run: Its value in each run.
    """

    weight: Weight
    what: str
    by_run: dict[str, str]


@dataclass(frozen=True)
class Evidence:
    """What a rater was shown of the studied units of a run.

    Attributes:
        kind: `shown` for what the rubric shows, `all` for every context; empty where no unit has a
            score.
        contexts, usual_contexts: Of an item, at most and in the median.
        tokens: Of a context, at most.
        models: As the provider returned them.
    """

    kind: str
    contexts: int
    usual_contexts: float
    tokens: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """A run that the rater rated: its judgement, and what was shown."""

    judgement: Judgement
    comparison: Comparison
    shown: Evidence
    run: Run


def evidence_of(run: Run, judgement: Judgement) -> Evidence:
    """Return what a rater was shown, as the run holds it."""
    where = "r.rubric_digest = ? AND r.rater = ? AND r.status = 'ok' AND NOT i.is_control"
    asked = [judgement.rubric_digest, judgement.rater]
    ((kinds, contexts, usual),) = run.rows(
        "SELECT list(DISTINCT i.evidence ORDER BY i.evidence), max(len(i.contexts)),"
        " median(len(i.contexts))"
        f" FROM current_rating r JOIN unit_item i USING (item_id) WHERE {where}",
        asked,
    )
    ((tokens,),) = run.rows(
        "SELECT max(len(tokens)) FROM context WHERE context_id IN (SELECT unnest(i.contexts)"
        f" FROM current_rating r JOIN unit_item i USING (item_id) WHERE {where})",
        asked,
    )
    models = run.rows(
        "SELECT DISTINCT c.model FROM current_rating r JOIN call c USING (call_key)"
        " WHERE r.rubric_digest = ? AND r.rater = ? AND r.status = 'ok' AND c.model IS NOT NULL"
        " ORDER BY 1",
        asked,
    )
    rubric = judgement.scale.rubric
    kind = "+".join(kinds or [])
    shown = int(tokens or 0)
    if rubric is not None and kind == "shown":
        shown = min(shown, 2 * rubric.shows.each_side + 1)
    usual = float(usual or 0)
    return Evidence(kind, int(contexts or 0), usual, shown, tuple(row[0] for row in models))


def refusal(rater: str, pair: tuple[str, str], held: Mapping[str, Held]) -> str:
    """Return why scores of two runs are not compared; empty if they are."""
    a, b = (held[run].shown for run in pair)
    names = f"'{pair[0]}' and '{pair[1]}'"
    if rater == NOBODY:
        return (
            f"'{rater}' names nobody, so whether one person rated {names} is not known; rate as "
            f"{rater}:NAME"
        )
    if a.models and b.models and a.models != b.models:
        return (
            f"{rater} was {', '.join(a.models)} in '{pair[0]}' and {', '.join(b.models)} in "
            f"'{pair[1]}': another judge; rate both with one of these named as the model"
        )
    versions = [held[run].judgement.known_versions for run in pair]
    if all(versions) and versions[0] != versions[1]:
        one, other = (" and ".join(map(repr, sorted(known))) for known in versions)
        return (
            f"{rater} was version {one} in '{pair[0]}' and {other} in '{pair[1]}': another judge; "
            "rate one of them again"
        )
    if a.kind != b.kind:
        return f"{rater} read {a.kind} contexts in '{pair[0]}' and {b.kind} in '{pair[1]}'"
    most = max(a.contexts, b.contexts, 1)
    apart = abs(a.contexts - b.contexts) / most
    alike = a.kind == "all" and _drawn_alike(*(held[run].comparison for run in pair))
    if apart > (ENOUGH_ALIKE if a.kind == "all" else 0) and not alike:
        return (
            f"{rater} was shown up to {count(a.contexts, 'context')} of a unit in '{pair[0]}' and "
            f"{b.contexts} in '{pair[1]}'; scores of {names} rest on different evidence"
        )
    if a.tokens != b.tokens:
        return (
            f"{rater} was shown contexts of up to {a.tokens} tokens in '{pair[0]}' and "
            f"{b.tokens} in '{pair[1]}'; scores of {names} rest on different evidence"
        )
    return ""


def differing(held: Mapping[str, Held]) -> Iterator[Difference]:
    """Yield what differs between runs, what is studied first, then what scores may differ for."""
    for weight, what, values in _compared_values(held):
        if len(set(values.values())) > 1:
            yield Difference(weight, what, {run: value or "none" for run, value in values.items()})


def _drawn_alike(one: Comparison, other: Comparison) -> bool:
    """Return whether two harvests keep contexts by one rule from as many tokens of one corpus.

    Then all contexts of a unit are as many as it has, as within a run.
    """
    if len(one.imported) or len(other.imported):
        return False
    corpora = [c.about["digests"].get("corpus") for c in (one, other)]
    if None in corpora or len({*corpora}) > 1 or one.subject.tokens != other.subject.tokens:
        return False
    rules = [c.about["settings"]["harvest"] for c in (one, other)]
    return all(rules[0].get(name) == rules[1].get(name) for name in DECIDE_CONTEXTS)


def _compared_values(
    held: Mapping[str, Held],
) -> Iterator[tuple[Weight, str, dict[str, str]]]:
    runs = {run: one.comparison for run, one in held.items()}
    about = {run: comparison.about for run, comparison in runs.items()}

    def setting(section: str, *names: str) -> dict[str, str]:
        """Return what settings say, in words; empty where they say nothing."""
        values = {}
        for run, content in about.items():
            texts = []
            for name in names:
                text = str(content["settings"][section].get(name, ""))
                stands_for = STAND_FOR.get((f"settings.{section}.{name}", text))
                if stands_for is not None:
                    texts.append(stands_for if len(names) == 1 else "")
                elif text:
                    texts.append(LABELS.get(name, "") + text)
            values[run] = ", ".join(filter(None, texts))
        return values

    def own(values: dict[str, str], part: str) -> dict[str, str]:
        """Name what belongs to the embedded model, of which the settings say nothing."""
        return {
            run: value or (OWN if getattr(runs[run].subject, part) == "embedded" else "")
            for run, value in values.items()
        }

    def digest(part: str) -> dict[str, str]:
        return {run: str(content["digests"].get(part, ""))[:12] for run, content in about.items()}

    def beside(values: dict[str, str], digests: dict[str, str]) -> dict[str, str]:
        """Name what is called alike by its digest, too, where that differs."""
        alike = len(set(values.values())) == 1 and len(set(digests.values())) > 1
        return {r: f"{v} ({digests[r] or 'no digest'})" if alike else v for r, v in values.items()}

    origin = {
        run: "published elsewhere"
        if comparison.provenance
        else "imported from " + ", ".join(map(str, comparison.imported.file))
        if len(comparison.imported)
        else "harvested"
        for run, comparison in runs.items()
    }
    yield "caution", "where the units come from", origin
    yield "subject", "the model", beside(setting("subject", "model", "revision"), digest("model"))
    yield "subject", "the site", setting("subject", "site")
    yield "subject", "the SAE", beside(own(setting("subject", "sae"), "sae"), digest("sae"))
    corpora = beside(own(setting("subject", *CORPUS), "corpus"), digest("corpus"))
    yield "caution", "the corpus", corpora
    yield (
        "caution",
        "the tokens read",
        {
            run: "not recorded" if c.subject.tokens is None else f"{c.subject.tokens:,}"
            for run, c in runs.items()
        },
    )
    for name in ("window", "fires", "explain_share", "top", "intervals", "per_interval", "random",
                 "each_side", "mask_first"):  # fmt: skip
        yield "caution", f"harvest.{name}", setting("harvest", name)
    for name in ("min_density", "max_density"):
        yield "caution", f"sample.{name}", setting("sample", name)
    for name in ("bos", "dtype"):
        yield "caution", f"subject.{name}", setting("subject", name)
    tokenizers = {run: value or OWN for run, value in setting("subject", "tokenizer").items()}
    yield "caution", "subject.tokenizer", tokenizers
    usual = {run: one.shown.usual_contexts for run, one in held.items()}
    if min(usual.values(), default=0) < (1 - ENOUGH_ALIKE) * max(usual.values(), default=0):
        shown = {run: f"{contexts:g}" for run, contexts in usual.items()}
        yield "caution", "the contexts shown of a unit, in the median", shown
    repeats = {run: str(one.judgement.repeats) for run, one in held.items()}
    yield "caution", "how often a unit was rated", repeats
