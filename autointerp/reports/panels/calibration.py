"""What people would say of all units, from their ratings of some and a judge's of all (PPI++)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from autointerp.errors import TooFewRatings
from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import PRIMARY, Scale, nearest_level
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import CELL_DARK, CELL_LIGHT, MUTED, headline, sheet
from autointerp.reports.words import interval, number, rater_kind
from autointerp.stats.ppi import (
    predict_difference,
    predict_difference_stratified,
    predict_mean,
    predict_mean_stratified,
)
from autointerp.stats.results import Floats, Statistic

ORDER = 57
TITLE = "Calibration: people and judges"


@dataclass(frozen=True)
class Drawn:
    """How the units that people rated were drawn from those that the judge rated.

    Attributes:
        strata: Of each unit that both rated, [units]; empty if they are a simple random subset.
        sizes: Units in each stratum, rated or not.
        why_not: Why no prediction can be made from them; empty if one can.
    """

    strata: tuple[int, ...] = ()
    sizes: Mapping[Hashable, int] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True)
class Calibrated:
    """One judge beside the people who rated some of its units.

    Attributes:
        both: By source: the human and the judge's score of each unit that both rated, [units].
        judge_only: By source: the judge's scores of the other units, [units].
        drawn: By source: how the units that both rated were drawn.
    """

    run: str
    rubric: str
    judge: str
    humans: tuple[str, ...]
    scale: Scale
    both: dict[str, tuple[Floats, Floats]]
    judge_only: dict[str, Floats]
    drawn: dict[str, Drawn]


def show(material: Material) -> list[Block]:
    found = [one for comparison in material.comparisons for one in calibrations(comparison)]
    if not found:
        return []
    blocks: list[Block] = [
        Prose(
            "The judge's mean over all units is put right by the difference between people and "
            "judge on the units that both rated (prediction-powered inference). It holds however "
            "biased the judge is, provided that the units people rated were drawn at random; it "
            "is narrower than people's ratings alone where the judge is any good. λ is the weight "
            "that the judge gets: 0 leaves it out. Where `plan-humans` drew the units by the "
            "judge's score, each stratum counts by its size, and λ has no part in it."
        )
    ]
    rows = [row for one in found for row in _rows(one)]
    for place, one in enumerate(found):
        blocks.append(
            Figure(
                name="calibration" + (f"-{place + 1}" if len(found) > 1 else ""),
                caption=f"{one.rubric}: {one.judge} against {', '.join(one.humans)} on the units "
                "that both rated. The number of units in each cell; on the diagonal they agree.",
                alt=_alt(one),
                draw=lambda one=one: draw(one),  # type: ignore[misc]
            )
        )
    blocks.append(
        Table(
            name="calibration",
            caption="People's mean, by prediction",
            frame=pd.DataFrame(rows),
            headings=[
                "judge", "of", "rated by both", "by the judge alone", "people's mean, predicted",
                "from people alone", "judge's mean", "λ", "correlation", "worth so many ratings",
            ],
            rows=[
                [
                    str(row["judge"]),
                    str(row["of"]),
                    str(row["n_both"]),
                    str(row["n_judge_only"]),
                    str(row["predicted_text"]),
                    str(row["human_only_text"]),
                    number(_float(row["judge_mean"])),
                    number(_float(row["power"])),
                    number(_float(row["correlation"])),
                    number(_float(row["effective_n"]), 0),
                ]
                for row in rows
            ],
        )
    )  # fmt: skip
    return blocks


def calibrations(comparison: Comparison) -> Iterator[Calibrated]:
    """Yield each rater that is no person beside the people of the same rubric."""
    source = comparison.units.source
    scales = {j.rubric_digest: j.scale for j in comparison.judgements}
    for (rubric, digest), part in comparison.scores.groupby(["rubric", "rubric_digest"]):
        table = part.pivot(index="unit_id", columns="rater", values="score")
        humans = [rater for rater in table if rater_kind(rater) == "human"]
        if not humans:
            continue
        people = table[humans].mean(axis=1)
        for judge in (rater for rater in table if rater not in humans):
            scores = table[judge]
            rated = people.notna() & scores.notna()
            both, alone, drawn = {}, {}, {}
            for name in dict.fromkeys(source.loc[table.index]):
                mine = source.loc[table.index] == name
                pair = (people[mine & rated].to_numpy(), scores[mine & rated].to_numpy())
                if len(pair[0]):
                    both[name] = pair
                    alone[name] = scores[mine & ~rated].dropna().to_numpy()
                    ids = table.index[mine & rated]
                    others = table.index[mine & scores.notna() & ~rated]
                    drawn[name] = how_drawn(comparison, digest, judge, ids, others)
            if both:
                yield Calibrated(
                    comparison.run, rubric, judge, tuple(humans), scales[digest], both, alone, drawn
                )


def how_drawn(
    comparison: Comparison, digest: str, judge: str, rated: pd.Index, others: pd.Index
) -> Drawn:
    """Return how the `rated` units of a source came to be rated by people.

    Units that no plan drew are the first of a random order, or a random part of these. Where
    some were planned and some not, or by several plans, the probabilities are not known.
    """
    plans = comparison.plans
    plans = plans[(plans.rubric_digest == digest) & plans.unit_id.isin(rated)]
    if plans.empty:
        return Drawn()
    if plans.plan.nunique() > 1 or set(plans.unit_id) != set(rated):
        return Drawn(why_not="people rated units of several draws, with no probability known")
    if set(plans.rater) != {judge}:
        return Drawn(why_not=f"people rated units that were drawn by the scores of "
                     f"{plans.rater.iloc[0]}, and no random subset")  # fmt: skip
    by_unit = plans.set_index("unit_id")
    sizes: dict[Hashable, int] = dict(by_unit.groupby("stratum").stratum_size.first().items())
    if sum(sizes.values()) < len(rated) + len(others):
        return Drawn(why_not="people rated no unit of some of the judge's scores")
    strata = tuple(int(stratum) for stratum in by_unit.stratum.loc[rated])
    return Drawn(strata, {int(str(one)): int(size) for one, size in sizes.items()})


def draw(one: Calibrated) -> Drawing:
    """Return for each source how often each pair of scores was given."""
    names = [name for name in one.both if name in PRIMARY] or list(one.both)[:3]
    levels = one.scale.scores
    figure = sheet(3.6 * len(names) + 0.6, 3.7)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        human, judge = (nearest_level(scores, levels) for scores in one.both[name])
        counts = np.array([[((human == h) & (judge == j)).sum() for j in levels] for h in levels])
        axes.imshow(counts, cmap="Blues", origin="lower", vmin=0, vmax=max(1, counts.max()) * 1.25)
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j]:
                dark = counts[i, j] > 0.6 * counts.max()
                ink = CELL_LIGHT if dark else CELL_DARK
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=ink)
        for k in range(len(levels)):
            axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, edgecolor=MUTED))
        axes.set_xticks(range(len(levels)), [str(level) for level in levels])
        axes.set_yticks(range(len(levels)), [str(level) for level in levels])
        axes.tick_params(length=0)
        axes.set_title(f"{name}, {len(human)} units")
        axes.set_xlabel(one.judge)
    figure.axes[0].set_ylabel("people")
    headline(figure, "", f"{one.rubric}, run {one.run}")
    return figure


def _rows(one: Calibrated) -> Iterator[dict[str, object]]:
    for name, (human, judge) in one.both.items():
        alone = one.judge_only[name]

        def whole(
            human: Floats = human,
            judge: Floats = judge,
            alone: Floats = alone,
            drawn: Drawn = one.drawn[name],
        ) -> dict[str, object]:
            if drawn.why_not:
                raise TooFewRatings(drawn.why_not)
            found = (
                predict_mean_stratified(human, drawn.strata, drawn.sizes)
                if drawn.strata
                else predict_mean(human, judge, alone)
            )
            return {
                **_flat("predicted", found.mean),
                **_flat("human_only", found.human_only),
                "power": None if drawn.strata else found.power,
                "correlation": found.correlation,
                "effective_n": found.effective_n,
            }

        yield {
            "run": one.run,
            "rubric": one.rubric,
            "judge": one.judge,
            "of": name,
            "n_both": len(human),
            "n_judge_only": len(alone),
            "judge_mean": float(np.concatenate([judge, alone]).mean()),
            **_or_why(whole),
        }
    if all(name in one.both for name in PRIMARY):
        groups = [(*one.both[name], one.judge_only[name]) for name in PRIMARY]

        def difference() -> dict[str, object]:
            drawn = [one.drawn[name] for name in PRIMARY]
            for each in drawn:
                if each.why_not:
                    raise TooFewRatings(each.why_not)
            if all(each.strata for each in drawn):
                found = predict_difference_stratified(
                    *((one.both[name][0], one.drawn[name].strata, one.drawn[name].sizes)
                      for name in PRIMARY)
                )  # fmt: skip
            elif any(each.strata for each in drawn):
                raise TooFewRatings("people's units of the two sources were drawn in two ways")
            else:
                found = predict_difference(*groups)
            return {
                **_flat("predicted", found.difference),
                **_flat("human_only", found.human_only),
                "effective_n": found.effective_n,
            }

        means = [float(np.concatenate([g[1], g[2]]).mean()) for g in groups]
        yield {
            "run": one.run,
            "rubric": one.rubric,
            "judge": one.judge,
            "of": f"{PRIMARY[0]} less {PRIMARY[1]}",
            "n_both": sum(len(g[0]) for g in groups),
            "n_judge_only": sum(len(g[2]) for g in groups),
            "judge_mean": means[0] - means[1],
            **_or_why(difference),
        }


def _or_why(found: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Return what was found, or the reason why nothing can be."""
    empty: dict[str, object] = dict.fromkeys(("power", "correlation", "effective_n"))
    try:
        return {**empty, **found()}
    except TooFewRatings as too_few:
        return {**empty, "predicted_text": str(too_few), "human_only_text": "–"}


def _flat(name: str, found: Statistic) -> dict[str, object]:
    return {
        name: found.value,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_text": interval(found),
    }


def _float(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _alt(one: Calibrated) -> str:
    told = [
        f"{name}: {sum(nearest_level(h, one.scale.scores) == nearest_level(j, one.scale.scores))} "
        f"of {len(h)} units scored alike"
        for name, (h, j) in one.both.items()
    ]
    return "Counts of people's scores against the judge's. " + "; ".join(told) + "."
