"""How numbers, names and findings are written in a report."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence

from autointerp.findings.across import RunContrast
from autointerp.findings.blinding import Blinding
from autointerp.findings.checks import LEAST_AUC
from autointerp.findings.groups import Contrast, Judgement, ScoreErrors
from autointerp.findings.looks import Look
from autointerp.findings.subject import SubjectFacts
from autointerp.findings.trust import ControlCheck, Trust
from autointerp.questions.rubric_files import rubric_argument
from autointerp.records import rater_kind
from autointerp.reports.panels import Material
from autointerp.stats.density import DensityAdjusted
from autointerp.stats.results import Statistic
from autointerp.text import capital, count, distinct_names, first_tokens
from autointerp.units.sources import kind_of

# Commands and options that our own words name: a span of harmless characters alone.
CODE = re.compile(r"(`(?:autointerp |--|plan-humans)[\w .:=/,+@'-]*`)")
NOT_LLM = {
    "lexical": "a fixed rule on words and no language model",
    "scripted": "a script that gives the scores it was told",
    "human": "a person",
}


# Why the density filter leaves a unit out, in place of a score.
LEFT_OUT = {"dead": "never fires", "ultralow": "fires too rarely", "dense": "fires too often"}


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


def equals(p: str) -> str:
    """Return `= 0.012` or `< 0.001`, to stand behind `p`."""
    return p if p.startswith("<") else f"= {p}"


def percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def by_chance_text(blindings: Sequence[Blinding]) -> str:
    """Return how many raters would be held to recognise a source if all guessed, as a sentence;
    empty where one alone was asked."""
    tested = sum(blinding.can_tell for blinding in blindings)
    if tested < 2:
        return ""
    return (
        f" Each of {tested} raters is tested by itself: if all guessed, up to {0.05 * tested:.1f} "
        "of them would be held to recognise a source on average."
    )


def percents(shares: Iterable[float | None]) -> list[str]:
    """Return the parts of a whole as `72 %` each, rounded so that they add up to 100 %.

    All are rounded down, and the largest remainders up. Dashes where a part is not known.
    """
    parts = [None if part is None or part != part else 100 * part for part in shares]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return ["–" for _ in parts]
    # A share that is whole but for the last bits of a float is not rounded down.
    rounded = [math.floor(round(part, 9)) for part in known]
    lacking = round(sum(known)) - sum(rounded)
    by_remainder = sorted(range(len(known)), key=lambda place: rounded[place] - known[place])
    for place in by_remainder[:lacking]:
        rounded[place] += 1
    return [f"{part} %" for part in rounded]


def share(value: float | None) -> str:
    """Return a share of tokens as `12 %` or `1.2 %`, or below 1 % as `1 in 4,300`, two digits each;
    a dash where it is not known."""
    if value is None or value != value:
        return "–"
    if value <= 0:
        return "never"
    if value >= 0.0995:
        return f"{100 * value:.0f} %"
    if value >= 0.00995:
        return f"{100 * value:.1f} %"
    return f"1 in {float(f'{1 / value:.2g}'):,.0f}"


def listed(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`; nothing for no words."""
    words = list(words)
    return "".join(words) if len(words) < 2 else ", ".join(words[:-1]) + " and " + words[-1]


def level_text(material: Material) -> str:
    """Return the level of the intervals about ratings: `95 %`."""
    levels = {comparison.level for comparison in material.comparisons} or {0.95}
    return listed(percent(level) for level in sorted(levels))


def check_command(judgement: Judgement) -> str:
    """Return the command that checks a judgement's rater. A model's file goes by its name alone in
    a run, a server by its address without the usual path, and a rubric by its id; PATH stands for
    the rest."""
    name = judgement.rater.replace("+choice", "")
    options = " --structured choice" if name != judgement.rater else ""
    name = re.sub(r"\b(local|likelihood):([^/,@:]+)", r"\1:PATH/\2.gguf", name)
    # Behind the last @ of a member, for a gateway's models have some of their own: @cf/x/y.
    address = re.compile(r"@([^,/@]+)(/[^,@]*)?(?=,|$)")
    name = address.sub(lambda at: f"@http://{at[1]}{at[2] or '/PATH'}", name)
    rubric = rubric_argument(judgement.rubric)
    return f"`autointerp check-rater {shlex.quote(name)}{options} --rubric {rubric}`"


def check_doubt(judgement: Judgement) -> tuple[str, str] | None:
    """Return what speaks against a rater by its check on planted units, or the lack of one: a lead
    and a text. None where nothing does, or where raters of its kind have no check."""
    state, check, rater = judgement.check_state, judgement.check, judgement.rater
    if state in (None, "passed"):
        return None
    command = check_command(judgement)
    if check is None:
        return (
            "The rater was never checked.",
            f"Nothing shows whether {rater} tells a unit of one concept from a mixture: "
            f"{command} tries it on planted units of known grade.",
        )
    if state == "other version":
        now = listed(_version(version) for version, _ in judgement.versions)
        return (
            "The rater was checked as another version.",
            f"{rater} rated as {now} and was checked as {_version(check.version)}: {command} "
            "checks the present one.",
        )
    if state == "other model":
        return (
            "Another model was checked.",
            f"When {rater} was checked, {check.model} answered; when it rated, another model did. "
            f"{command} checks what answers now. Name a model with its date.",
        )
    auc = check.auc["unclean"]
    told = f"on {check.units} planted units AUC {auc}, clean against several concepts or none"
    if state == "chance":
        return (
            "The rater failed its check.",
            f"{rater}, {told}: not shown to be better than chance. Its scores are no evidence.",
        )
    if state == "weak":
        return (
            "The rater failed its check.",
            f"{rater}, {told}: under {LEAST_AUC:.2f}, the least that is worth reading.",
        )
    if state == "design side":
        return (
            "The rater was checked where raters are designed.",
            f"{rater}, {told}, of the design side alone; {command} tries it on the test side.",
        )
    return (
        "The rater's check says nothing.",
        f"Too few planted units have a score by {rater} to leave chance out (AUC {auc}); {command} "
        "tries the whole kit.",
    )


def versions_doubt(judgement: Judgement) -> tuple[str, str] | None:
    """Return a lead and a text where several versions of a rater, or several models, gave the
    ratings; None where that is not known to be so."""
    if judgement.mixes_versions:
        each = listed(f"{n:,} by {_version(version)}" for version, n in judgement.versions)
        return (
            "Several versions of the rater are mixed.",
            f"Of the scores of {judgement.rater} on {judgement.rubric}, {each}: units were not "
            "rated alike. Rate the same units again; those of another version are made anew.",
        )
    if judgement.models:
        return (
            "Several models answered to one name.",
            f"{judgement.rater} was answered by {listed(judgement.models)}: units were not rated "
            "alike. Name one of them as the model.",
        )
    return None


def uncompared(judgement: Judgement) -> tuple[str, str]:
    """Return why a rater's ratings compare no two studied sources, where they do not: a lead and a
    sentence."""
    scored = {name: judgement.groups[name].n for name in judgement.sources}
    if not any(group.n for group in judgement.groups.values()):
        lost = listed(f"{n:,} {status}" for status, n in sorted(judgement.statuses.items()))
        return "No unit has a score.", f"What became of its ratings: {lost}."
    if len(scored) > 1:
        each = listed(counted(n, name) for name, n in scored.items())
        return (
            "Too few scores to compare.",
            f"{each} have a score; a comparison needs two of each of two sources.",
        )
    if not scored:
        controls = listed(plural(name)[1] for name in judgement.controls)
        return "Nothing to compare with.", f"Only controls were rated, {controls}."
    (name,) = scored
    return (
        "Nothing to compare with.",
        f"Only {plural(name)[1]} were rated; a second source would show what is high or low.",
    )


def drawn_text(judgement: Judgement) -> str:
    """Return how the units that a person rated were drawn, where some were likelier to be."""
    assert judgement.drawn is not None
    if judgement.drawn.by == "several":
        return (
            f"{judgement.rater} rated units of a draw by `plan-humans` and others beside it: some "
            "were likelier to be rated, and how much is not known. These figures count each unit "
            "alike, so they speak of the units rated and not of all."
        )
    by = {"score": "scores", "uncertainty": "uncertainty"}[judgement.drawn.by]
    return (
        f"{judgement.rater} rated units that `plan-humans` drew by the {by} of "
        f"{judgement.drawn.judge}, some more often than others. These figures count each unit "
        "alike, so they speak of the units drawn and not of all; under 'Calibration' each counts "
        "by the inverse of its probability."
    )


def score_errors_text(judgement: Judgement, errors: ScoreErrors) -> str:
    """Return how sure a rater is of the scores of units with few contexts."""
    units = sum(group.n for group in judgement.groups.values())
    of = f"{errors.units:,} of {count(units, 'unit')}" if units > errors.units else "all units"
    return (
        f"{judgement.rater} had too few contexts to keep some apart for {of}: the numbers behind "
        f"their scores have a standard error of {number(errors.mean)} on average, and one standard "
        f"error would put {count(errors.unsettled, 'unit')} on another level. The rationale of "
        "each gives its own. The intervals over units above hold this noise already; what single "
        "units are called may change with more contexts."
    )


def _version(version: str | None) -> str:
    if version is None:
        return "a version that was not kept"
    return f"version {version}" if version else "no version"


def what(judgement: Judgement) -> str:
    """Return what a judgement's rater is, in a few words, as the run says."""
    if rater_kind(judgement.rater) == "panel":
        return "a panel of several judges"
    if judgement.is_llm:
        return "a language model"
    if rater_kind(judgement.rater) in NOT_LLM:
        return NOT_LLM[rater_kind(judgement.rater)]
    if judgement.is_llm is False:
        return "no language model"
    return "a rater of which the run does not say what it is"


def label(judgement: Judgement, material: Material) -> str:
    """Return a label that distinguishes this judgement from the others: run, rubric, rater."""
    parts = [judgement.run] if material.several_runs else []
    return " · ".join([*parts, rubric_name(judgement, list(material.judgements)), judgement.rater])


def brief_label(judgement: Judgement, material: Material) -> str:
    """Return a judgement's rater, with run and rubric only where these distinguish it too."""
    everything = list(material.judgements)
    parts = [judgement.run] if material.several_runs else []
    if len({one.rubric_digest for one in everything}) > 1:
        parts.append(rubric_name(judgement, everything))
    return " · ".join([*parts, judgement.rater])


def rubric_name(asked: Judgement | Look, among: Sequence[Judgement | Look]) -> str:
    """Return a rubric's id, with its digest where another text among these has the same id."""
    digests = {one.rubric_digest for one in among if one.rubric == asked.rubric}
    return f"{asked.rubric} ({asked.rubric_digest[:8]}…)" if len(digests) > 1 else asked.rubric


def slug(judgement: Judgement, material: Material) -> str:
    """Return a file name's part for this judgement; empty where the report has only one.

    No two judgements have the same.
    """
    everything = list(material.judgements)
    if len(everything) == 1:
        return ""
    named = [(one.run, one.rubric, one.rater) for one in everything]

    def parts(one: Judgement) -> list[str]:
        several = named.count((one.run, one.rubric, one.rater)) > 1
        return [
            *([one.run] if material.several_runs else []),
            one.rubric,
            one.rater,
            *([one.rubric_digest[:8]] if several else []),
        ]

    def own(one: Judgement) -> str:
        return "\0".join((one.run, one.rubric, one.rater, one.rubric_digest))

    names = distinct_names(
        {
            own(one): "-".join("".join(c if c.isalnum() else "_" for c in p) for p in parts(one))
            for one in everything
        }
    )
    return "-" + names[own(judgement)]


def plural(source: str) -> tuple[str, str]:
    """Return how one unit and several of a source are called in a sentence."""
    return kind_of(source).names


def counted(n: int, source: str, before: str = "") -> str:
    """Return `1 neuron`, `20 features`, with `before` in front of the noun."""
    one, several = plural(source)
    return f"{n:,} {before}{several if n != 1 else one.partition(' ')[2]}"


CONTROL = {
    "floor": "units that fire with no regard to the text",
    "ceiling": "units that fire on one known word",
}


def trust_text(trust: Trust) -> str:
    """Return what the controls say of a rater, in sentences."""
    return " ".join(map(_control, trust.controls))


def _control(check: ControlCheck) -> str:
    if check.mean is None:
        have = "was not rated"
        if check.n is not None:
            have = f"has only {count(check.n, 'scored unit')}" if check.n else "has no scored unit"
        return f"The control '{check.control}' {have}, so nothing shows where the {check.end} lies."
    side = "or less" if check.end == "floor" else "or more"
    where = f"at the {check.end}"
    if check.state != "held":
        where = f"not {where} ({number(check.limit)} {side})"
    elif not check.is_sure:
        where += f" ({number(check.limit)} {side}) by its mean, but too few units to be sure"
    return (
        f"'{check.control}' ({CONTROL[check.end]}) has mean {interval(check.mean)} over "
        f"{count(check.n or 0, 'unit')}: {where}."
    )


SUPERIORITY = "probability of superiority"
NEARLY_ALL_TIES = 0.8  # of pairs: so many where nine of ten scores are on one value
NOT_COUNTED = ", does not count"  # behind the name of a rater that fails its controls or its check


def claim(contrast: Contrast) -> str:
    """Return what may be said of a contrast, as a sentence without its estimate or full stop.

    The words follow the decision rule: see `Contrast.outcome`.
    """
    ones, others = plural(contrast.first)[1], plural(contrast.second)[1]
    if contrast.is_one_value:
        return f"{capital(ones)} and {others}: every score is the same"
    if contrast.interim:
        return f"{capital(ones)} and {others}, {contrast.interim}"
    if contrast.outcome == "higher":
        return f"{capital(ones)} score higher than {others}"
    if contrast.outcome == "lower":
        return f"{capital(ones)} score lower than {others}"
    if contrast.outcome == "equivalent":
        return f"{capital(ones)} and {others} score alike"
    if contrast.superiority.low is None and (contrast.pairs.ties.value or 0) >= NEARLY_ALL_TIES:
        return f"Nearly every score of {ones} and {others} is the same"
    if contrast.tells_nothing:
        first, second = contrast.superiority.n
        return f"Too few units to tell {ones} from {others}, {first} and {second}"
    return f"Whether {ones} or {others} score higher is not resolved"


def full_claim(judgement: Judgement, pair: Contrast) -> str:
    """Return `claim` of the pair, and whether it survives the untrained baseline, where the pair
    is the judgement's and the baseline was rated."""
    baseline = judgement.baseline if pair is judgement.decisive else None
    if baseline is None:
        return claim(pair)
    others = plural(baseline.second)[1]
    if baseline.interim:
        return f"{claim(pair)}; against {others}, {baseline.interim}"
    if baseline.is_one_value or baseline.outcome == "equivalent":
        return f"{claim(pair)}, but about as high as {others}"
    if baseline.outcome == "not resolved":
        return f"{claim(pair)}, but whether higher than {others} is not resolved"
    than = "and than" if baseline.outcome == "higher" else "but lower than"
    return f"{claim(pair)}, {than} {others}"


def not_higher(contrast: Contrast, like: str = "") -> str:
    """Return how the first source of a contrast compares that is not higher, without its estimate
    or full stop: alike, within what does not matter, is more than not shown to be higher.

    `like` stands behind the second source's name."""
    ones, others = plural(contrast.first)[1], plural(contrast.second)[1]
    if contrast.outcome == "equivalent":
        return f"{capital(ones)} and {others}{like} score alike"
    return f"{capital(ones)} are not shown to score higher than {others}{like}"


def missing_could_turn(contrast: Contrast) -> bool:
    """Return whether the scores that are missing could take back what is said of a contrast."""
    worst, best = contrast.bounds.worst.value, contrast.bounds.best.value
    if not any(contrast.bounds.missing) or worst is None or best is None:
        return False
    low, high = contrast.equivalence
    return {
        "higher": worst < 0.5,
        "lower": best > 0.5,
        "equivalent": worst < low or best > high,
        "not resolved": False,
    }[contrast.outcome]


def full_finding(judgement: Judgement, pair: Contrast) -> str:
    """Return `full_claim`, with the pair's probability of superiority where its scores differ; of
    a rater that fails, that its scores are no evidence."""
    said = full_claim(judgement, pair)
    if judgement.fails:
        said = f"By scores that are no evidence, {said[0].lower()}{said[1:]}"
    return said if pair.is_one_value else f"{said}: {SUPERIORITY} {interval(pair.superiority)}"


def finding(contrast: Contrast) -> str:
    """Return `claim`, with the probability of superiority where the scores differ at all."""
    if contrast.is_one_value:
        return claim(contrast)
    return f"{claim(contrast)}: {SUPERIORITY} {interval(contrast.superiority)}"


def studied_pair(judgement: Judgement) -> Contrast | None:
    """Return the contrast that answers a report's question, of two sources that are studied.

    None where only one was rated: a control is nothing that its units are compared with.
    """
    contrast = judgement.decisive
    if contrast is None or contrast.second not in judgement.sources:
        return None
    return contrast


def run_finding(contrast: RunContrast) -> str:
    """Return what may be said of sources of two runs, as a sentence, like `finding`."""
    first, second = contrast.first.label, contrast.second.label
    if contrast.is_one_value:
        return f"{first} and {second}: every score is the same"
    said = {
        "higher": f"{first} score higher than {second}",
        "lower": f"{first} score lower than {second}",
        "equivalent": f"{first} and {second} score alike",
        "not resolved": f"Whether {first} or {second} score higher is not resolved",
    }[contrast.outcome]
    return f"{capital(said)}: {SUPERIORITY} {interval(contrast.superiority)}"


def wins_ties_losses(contrast: Contrast) -> str:
    """Return the shares of pairs that the first source wins, ties and loses, as a clause."""
    one, other = plural(contrast.first)[0], plural(contrast.second)[0]
    wins, ties, losses = percents(share.value for share in contrast.pairs.shares)
    return (
        f"{one} scores higher than {other} in {wins} of pairs, the same in {ties}, lower in "
        f"{losses}"
    )


def refusal(contrast: Contrast, adjusted: DensityAdjusted) -> str:
    """Return why nothing is said of a contrast at like density, with the sources' names."""
    text = adjusted.refused
    pair = (contrast.first, contrast.second)
    for group, (source, other) in (("first", pair), ("second", pair[::-1])):
        text = text.replace(f"units of the {group} group", plural(source)[1])
        text = text.replace(f"a unit not of the {group} group", plural(other)[0])
    return text


def subject_text(facts: SubjectFacts, brief: bool = False) -> str:
    """Return what was studied, in a sentence; empty where nothing is known.

    `brief`: model, site and width of the SAE alone, and what was read where the corpus has more.
    """
    parts = []
    if facts.model:
        named = "the embedded one-layer transformer" if facts.model == "embedded" else facts.model
        revision = f" (revision {facts.revision})" if facts.revision else ""
        parts.append(f"{named}{revision}")
    if facts.site and facts.basis:
        parts.append(f"site {facts.site} ({facts.basis.name})")
        if facts.hidden:
            parts.append(f"neurons of {facts.hidden}, read in the same pass")
    if facts.sae:
        named = "its own SAE" if facts.sae == "embedded" else f"SAE {facts.sae}"
        parts.append(f"{named}{_latents(facts, brief)}")
    if facts.untrained and not brief:
        own = facts.untrained == "embedded"
        parts.append(f"untrained twin: {'its own' if own else facts.untrained}")
    if facts.corpus and not brief:
        parts.append("its own corpus" if facts.corpus == "embedded" else f"corpus {facts.corpus}")
    if facts.tokens and facts.is_cut:
        parts.append(f"read: {first_tokens(facts.tokens)}")
    elif facts.tokens and not brief:
        parts.append(f"{facts.tokens:,} tokens read")
    return "; ".join(parts)


def _latents(facts: SubjectFacts, brief: bool) -> str:
    """Return the SAE's width, its active and its dead latents, as far as they are known."""
    if facts.latents is None:
        return ""
    parts = [f"{facts.latents:,} latents"]
    if facts.active is not None and not brief:
        parts.append(f"about {number(facts.active, 0 if facts.active >= 10 else 2)} active a token")
    if facts.dead_share is not None and not brief:
        parts.append(f"{percent(facts.dead_share)} of {facts.drawn:,} drawn at random dead")
    return f" ({', '.join(parts)})"


def flat(name: str, statistic: Statistic | None) -> dict[str, float | None]:
    """Return a statistic as columns of a table: its value, and the ends of its interval."""
    return {
        name: statistic.value if statistic else None,
        f"{name}_low": statistic.low if statistic else None,
        f"{name}_high": statistic.high if statistic else None,
    }
