"""Every unit: searched, filtered and sorted; its contexts, its ratings and what was said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autointerp.findings.browse import (
    ListedDescription,
    descriptions_table,
    listed_contexts,
    listed_descriptions,
    listed_ratings,
    listed_units,
    logit_effects,
    window_tokens,
)
from autointerp.findings.comparison import Comparison
from autointerp.findings.plan import in_order
from autointerp.questions.forms import UNKNOWN
from autointerp.reports.colours import colour, on_page
from autointerp.reports.panels import Block, Material, Prose, Table, UnitBrowser
from autointerp.reports.words import LEFT_OUT, brief_label, number, share
from autointerp.store.run import Run
from autointerp.text import ON_PAGE, count, visible
from autointerp.units.sources import kind_of

AFTER = "verdict"
TITLE = "Units"

AT_ONCE = 1_000  # units that are asked for together: each query walks the whole run
PAGE, PAGE_BESIDE = 25, 250  # units that are unpacked together: on the page, in a file beside it
TOP = 10  # strongest contexts of a unit, and as many intervals of activation
MOST_TOKENS = 1_200_000  # of all contexts on a page: packed, about 3 bytes each
FEWEST = 3
RATINGS = 3
EXCERPT = {"studied": 10, "control": 3}  # units of a source in print
EXCERPT_SCORES = 3  # ratings beside them
SAID, TEXT = 120, 600
LEVELS = "0123456789a"
Carried = NDArray[np.bool_]
DESCRIBED = "described"  # in place of a rubric's digest: who described, in the list's columns


def show(material: Material) -> list[Block]:
    if all(comparison.provenance for comparison in material.comparisons):
        return []  # of published counts there are no units to look at
    frames = list(map(listed_units, material.comparisons, material.runs))
    units = pd.concat(frames, ignore_index=True)
    carried = choose(units, material)
    judgements = list(material.judgements)
    described = [(item.run, name) for item in material.comparisons for name in item.explainers]
    columns = [*((j.run, j.rubric_digest, j.rater) for j in judgements),
               *((run, DESCRIBED, name) for run, name in described)]  # fmt: skip
    numbers = {column: place for place, column in enumerate(columns)}
    scores = _scores(material, numbers, units)
    eligible = (units.outcome == "eligible").to_numpy()
    # With none carried nobody wants contexts: then there are no files of them either.
    is_part = bool(eligible.sum() > carried.sum() > 0)
    makers = [
        _Details(comparison, run, numbers)
        for comparison, run in zip(material.comparisons, material.runs, strict=True)
    ]
    window = max(map(window_tokens, material.runs))
    top = contexts_each(int(carried.sum()), window)
    details = [detail for page in _pages(units[carried], makers, PAGE, top) for detail in page]
    names = [comparison.run for comparison in material.comparisons]
    heads = {
        "runs": names,
        "colours": _colours(list(dict.fromkeys(units.source))),
        "judgements": [
            *(
                {
                    "label": brief_label(j, material),
                    "levels": [list(level) for level in j.scale.levels],
                }
                for j in judgements
            ),
            *(
                {
                    "label": " · ".join(
                        [*([run] if material.several_runs else []), f"described by {name}"]
                    ),
                    "levels": [],
                }
                for run, name in described
            ),
        ],
        "judged_in": [run for run, *_ in columns],
    }
    most = contexts_each(int(eligible.sum()), window)
    sampled = (
        f" All of them are in the folder `units`, which belongs to this page and is read as you "
        f"look: {most} strongest contexts of each. Without it the list holds the "
        f"{carried.sum():,} that this file carries, drawn evenly over sources and scores; "
        "`report --units N` makes it carry more."
        if is_part
        else ""
    )
    return [
        Prose(
            f"{count(len(units), 'unit')}: the {top} strongest contexts of each, then one of "
            f"{'each interval' if top == TOP else f'{top} intervals'} of activation. The deeper "
            "the colour behind a token, the more strongly the unit fires on it; the framed token "
            f"is the peak.{_seen(details)}{sampled}"
        ),
        UnitBrowser(
            index={
                **heads,
                "units": _columns(
                    units, scores, carried, PAGE, carried if is_part else None, names
                ),
            },
            pages=[details[at : at + PAGE] for at in range(0, len(details), PAGE)],
            excerpt=_excerpt(units, scores, [brief_label(j, material) for j in judgements]),
            whole={**heads, "units": _columns(units, scores, eligible, PAGE_BESIDE, None, names)}
            if is_part
            else None,
            beside=_pages(units[eligible], makers, PAGE_BESIDE, most) if is_part else (),
        ),
        Table(name="units", caption="Units", frame=_unit_table(units, material)),
        *(
            [Table(name="descriptions", caption="Descriptions", frame=_descriptions(material))]
            if described
            else []
        ),
    ]


def _colours(sources: Sequence[str]) -> dict[str, str]:
    studied = [name for name in sources if not kind_of(name).is_control]
    return {name: on_page(colour(name, studied)) for name in sources}


def _columns(
    units: pd.DataFrame,
    scores: Mapping[str, list[list[Any]]],
    carried: Carried,
    size: int,
    kept: Carried | None,
    runs: Sequence[str],
) -> dict[str, Any]:
    """Return the columns of a list: of all units, or of those `kept`. Those that are `carried` have
    a page of so many, and a place on it; the others the page -1.
    """
    before = np.cumsum(carried) - 1
    page = np.where(carried, before // size, -1)
    place = np.where(carried, before % size, -1)
    at = np.arange(len(units)) if kept is None else np.flatnonzero(kept)
    chosen = units.iloc[at]
    return {
        "name": [visible(name, ON_PAGE) for name in chosen.unit],
        "run": _codes(chosen.run, runs),
        "source": list(chosen.source),
        "outcome": [LEFT_OUT.get(outcome, outcome) for outcome in chosen.outcome],
        "density": [
            _rounded(d) if tokens or d > 0 else None  # not known
            for d, tokens in zip(chosen.density, chosen.tokens, strict=True)
        ],
        "peak": [_rounded(p) for p in chosen.peak],
        "token": [visible(t, ON_PAGE) if isinstance(t, str) else "" for t in chosen.token],
        "page": page[at].tolist(),
        "place": place[at].tolist(),
        **{
            name: [[of[number] for number in at.tolist()] for of in several]
            for name, several in scores.items()
        },
    }


def _pages(
    units: pd.DataFrame, makers: Sequence[_Details], size: int, top: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the contexts and ratings of units, so many at a time, in their order."""
    by_run = {maker.comparison.run: maker for maker in makers}
    at_once = size * max(1, AT_ONCE // size)
    for begin in range(0, len(units), at_once):
        part = units.iloc[begin : begin + at_once]
        details = [
            detail
            for run, of_run in part.groupby("run", sort=False)
            for detail in by_run[str(run)].of(of_run, top)
        ]
        for first in range(0, len(details), size):
            yield details[first : first + size]


def _seen(details: Sequence[Mapping[str, Any]]) -> str:
    """Return that some contexts, or all, were never shown to a rater; empty where all were."""
    shown = [bool(context[-1]) for unit in details for context in unit["contexts"]]
    if all(shown):
        return ""
    return (
        f" Of the {len(shown):,} contexts here {shown.count(False):,} were shown to no rater, and "
        "say so."
    )


def contexts_each(units: int, window: int) -> int:
    """Return how many of the strongest contexts of a unit a page carries, and how many intervals:
    `TOP`, or fewer where many units with long windows would make the page too large."""
    if not units or not window:
        return TOP
    return max(FEWEST, min(TOP, MOST_TOKENS // (2 * units * window)))


def _excerpt(units: pd.DataFrame, scores: Mapping[str, list[Any]], names: Sequence[str]) -> Table:
    """Return the first units of each source that were asked about, with what was said of them."""
    kept = units[units.outcome == "eligible"]
    most = kept.is_control.map({True: EXCERPT["control"], False: EXCERPT["studied"]})
    kept = kept[kept.groupby(["run", "source"]).cumcount() < most]
    order = in_order(dict(zip(kept.source, kept.is_control, strict=True)))
    kept = kept.sort_values("source", key=lambda source: source.map(order.index), kind="stable")
    shown = names[:EXCERPT_SCORES]
    rows = [
        [
            visible(row.unit, ON_PAGE),
            *(_score(scores, place, at) for place in range(len(shown))),
            share(row.density if row.tokens or row.density > 0 else None),
            next((said[at] for said in scores["said"] if said[at]), ""),
        ]
        for at, row in zip(kept.index, kept.itertuples(), strict=True)
    ]
    headings = ["unit", *shown, "fires on", "description"]
    caption = f"The first {len(rows):,} of {len(units):,} units; tables/units.csv holds all"
    return Table("excerpt", caption, pd.DataFrame(rows, columns=headings), headings, rows)


def _score(scores: Mapping[str, list[Any]], judgement: int, at: int) -> str:
    value = scores["scores"][judgement][at]
    if value is None:
        return scores["outcomes"][judgement][at] or "not asked"
    return number(value, 0 if value == int(value) else 2)


def choose(units: pd.DataFrame, material: Material) -> Carried:
    """Return which units' contexts the page carries, [units].

    All eligible ones where they are few enough; else evenly over sources and scores, at random.
    """
    eligible: Carried = (units.outcome == "eligible").to_numpy()
    if eligible.sum() <= material.units_shown:
        return eligible
    order = np.random.default_rng(0).permutation(len(units))
    shuffled = units.iloc[order]
    shuffled = shuffled[shuffled.outcome == "eligible"]
    strata = [shuffled.run, shuffled.source, shuffled.first_score.round()]
    turn = shuffled.groupby(strata, dropna=False).cumcount()
    chosen = turn.sort_values(kind="stable").index[: material.units_shown]
    kept: Carried = units.index.isin(chosen)
    return kept


def _scores(
    material: Material, numbers: dict[tuple[str, str, str], int], units: pd.DataFrame
) -> dict[str, list[Any]]:
    """Return columns of scores, outcomes and descriptions, [judgements][units] each."""
    place = {key: at for at, key in enumerate(zip(units.run, units.unit_id, strict=True))}
    scores: list[list[float | None]] = [[None] * len(units) for _ in numbers]
    outcomes: list[list[str]] = [[""] * len(units) for _ in numbers]
    said: list[list[str]] = [[""] * len(units) for _ in numbers]
    for comparison in material.comparisons:
        table = comparison.scores
        names = ("unit_id", "rubric_digest", "rater", "score", "outcome", "description")
        columns = [table[name].to_numpy(dtype=object).tolist() for name in names]
        for row in zip(*columns, strict=True):
            at = place[comparison.run, row[0]]
            judgement = numbers[comparison.run, row[1], row[2]]
            scores[judgement][at] = None if np.isnan(row[3]) else round(row[3], 2)
            outcomes[judgement][at] = row[4]
            said[judgement][at] = visible(row[5][:SAID], ON_PAGE) if isinstance(row[5], str) else ""
    for run in material.runs:
        for described in listed_descriptions(run):
            at, column = (
                place[run.name, described.unit_id],
                numbers[run.name, DESCRIBED, described.explainer],
            )
            outcomes[column][at] = _outcome(described.status, described.description)
            said[column][at] = visible((described.description or "")[:SAID], ON_PAGE)
    return {"scores": scores, "outcomes": outcomes, "said": said}


class _Details:
    """Makes what the page shows of single units of a run."""

    def __init__(
        self, comparison: Comparison, run: Run, numbers: Mapping[tuple[str, str, str], int]
    ) -> None:
        self.comparison, self.run, self.numbers = comparison, run, numbers
        self.effects = logit_effects(comparison, run)
        self.descriptions: dict[int, list[ListedDescription]] = {}
        for described in listed_descriptions(run):
            self.descriptions.setdefault(described.unit_id, []).append(described)

    def of(self, units: pd.DataFrame, top: int) -> list[dict[str, Any]]:
        """Return the contexts and ratings of units, in their order."""
        run = self.run
        unit_ids = units.unit_id.tolist()
        peaks = dict(zip(units.unit_id, units.peak, strict=True))
        intervals = {unit.unit_id: len(unit.interval_tokens) for unit in units.itertuples()}
        contexts: dict[int, list[Any]] = {unit_id: [] for unit_id in unit_ids}
        for context in listed_contexts(run, unit_ids, top):
            if not is_carried(context.interval, intervals[context.unit_id], top):
                continue
            peak = peaks[context.unit_id]
            scale = 10 / peak if peak > 0 else 0.0
            levels = "".join(
                LEVELS[min(10, max(1, round(a * scale)))] if a > 0 else "0"
                for a in context.activations
            )
            contexts[context.unit_id].append(
                [
                    [visible(token, ON_PAGE) for token in context.tokens],
                    levels,
                    context.focus,
                    context.interval,
                    int(context.was_shown),
                ]
            )
        ratings: dict[int, list[Any]] = {unit_id: [] for unit_id in unit_ids}
        for rating in listed_ratings(run, unit_ids, RATINGS):
            ratings[rating.unit_id].append(
                [
                    self.numbers[run.name, rating.rubric_digest, rating.rater],
                    rating.repeat,
                    rating.status,
                    rating.score,
                    visible((rating.description or "")[:TEXT], ON_PAGE),
                    visible((rating.rationale or "")[:TEXT], ON_PAGE),
                ]
            )
        for unit_id in unit_ids:
            for described in self.descriptions.get(unit_id, ()):
                ratings[unit_id].append(
                    [
                        self.numbers[run.name, DESCRIBED, described.explainer],
                        0,
                        _outcome(described.status, described.description),
                        None,
                        visible((described.description or "")[:TEXT], ON_PAGE),
                        visible((described.rationale or "")[:TEXT], ON_PAGE),
                    ]
                )
        return [
            {
                "contexts": contexts[unit.unit_id],
                "ratings": ratings[unit.unit_id],
                "intervals": [round(float(n), 1) for n in unit.interval_tokens],
                "note": visible(unit.note, ON_PAGE),
                "effects": [
                    [visible(token, ON_PAGE) for token in tokens]
                    for tokens in self.effects.get(unit.unit_id, ())
                ],
            }
            for unit in units.itertuples()
        ]


def is_carried(interval: int, intervals: int, top: int) -> bool:
    """Return whether a page carries the context of this interval of activation: all, or where it
    carries few contexts a unit, `top` of them at even steps and the strongest among them.

    Interval 0 is a strongest context, which `listed_contexts` has counted.
    """
    if not interval or top == TOP or intervals <= top:
        return True
    return interval * top // intervals > (interval - 1) * top // intervals


def _unit_table(units: pd.DataFrame, material: Material) -> pd.DataFrame:
    """Return one row a unit and judgement, for the CSV."""
    kept = units[
        ["run", "unit_id", "unit", "source", "is_control", "idx", "sign", "outcome", "density",
         "peak", "token", "token_share", "single_token"]
    ]  # fmt: skip
    scores = pd.concat([c.scores.assign(run=c.run) for c in material.comparisons])
    scores = scores.rename(columns={"outcome": "status"})
    return kept.merge(scores, on=["run", "unit_id"], how="left").drop(columns="unit_id")


def _outcome(status: str, description: str | None) -> str:
    """Return what became of a unit that somebody was asked to describe."""
    if status != "ok":
        return status
    return "Unknown" if description == UNKNOWN else "described"


def _descriptions(material: Material) -> pd.DataFrame:
    """Return one row a unit and explainer, for the CSV."""
    return pd.concat(
        [descriptions_table(run).assign(run=run.name) for run in material.runs], ignore_index=True
    )


def _codes(values: pd.Series, names: Sequence[str]) -> list[int]:
    places = {name: place for place, name in enumerate(names)}
    return [places[value] for value in values]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")
