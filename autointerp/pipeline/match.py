"""The verb `match`: the dictionaries of two runs, vector by vector."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import BadInput
from autointerp.findings.json_values import plain
from autointerp.findings.match import (
    FEATURES,
    RELATED,
    Match,
    Side,
    families_of,
    match_dictionaries,
    median,
)
from autointerp.pipeline.asked import check_match
from autointerp.pipeline.counts import count_units
from autointerp.pipeline.events import Note, On, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.pipeline.report import REPORTS
from autointerp.reports.match import write_match
from autointerp.reports.write import check_folder
from autointerp.stats.results import or_none
from autointerp.store.run import RUNS, Run, open_run
from autointerp.text import count
from autointerp.units.reopen import dictionary_again


@dataclass(frozen=True)
class Matched:
    """What was found, and the page of it.

    Attributes:
        page: None where none was asked for.
    """

    match: Match
    page: Path | None


def match(
    first: str,
    second: str,
    out: Path | str | None = None,
    related: float = RELATED,
    page: bool = True,
    runs: Path | str = RUNS,
    on: On = ignore,
    count_all: bool = False,
) -> Matched:
    """Match the dictionary of one run with that of another, store the result in both.

    Both runs must read the same site of the same model. The table `match` of either run holds, for
    every feature, the nearest one of the other run and its one-to-one partner. Whether similar
    features score higher is a look at the ratings, and a line in the run's ledger.

    Args:
        out: Folder of the page; None for reports/match-FIRST-SECOND.
        related: Cosine from which two features are relatives.
        page: Whether a page is written.
        count_all: Count first on how many of its tokens each feature of either run fires, where
            that was not done before: a pass over the corpus.

    Raises BadInput if the runs are one and the same, of different models or sites, or without an
    SAE, or if `out` holds something else than a report; RunMismatch if a part of a subject is not
    as it was.
    """
    check_match(first, second, related)
    place = REPORTS / f"match-{first}-{second}" if out is None else Path(out)
    if page:
        check_folder(place)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(open_run(name, folder=Path(runs))) for name in (first, second)
        ]
        one, other = opened
        for run in opened:
            say_opened(run, on)
        _check_same_site(one, other)
        vectors = dictionary_again(one, "match"), dictionary_again(other, "match")
        if count_all:
            for run in opened:
                count_units(run, [FEATURES], "match --count", on)
        on(Step(f"matching {len(vectors[0]):,} with {len(vectors[1]):,} dictionary vectors"))
        found = match_dictionaries((one, other), vectors, related)
        for run, side, against in (
            (one, found.first, found.second),
            (other, found.second, found.first),
        ):
            run.replace_match(
                against.run,
                _rows(side, against.sae, found.is_exact),
                _side_row(found, side, against),
                _score_rows(side),
            )
            run.log("matched", other=against.run, features=len(side.number))
        for note in found.notes:
            on(Note(note))
    return Matched(found, write_match(found, place) if page else None)


def as_text(found: Match) -> str:
    """Return the finding as lines for a terminal."""
    lines = [_line(found, found.first, found.second), _line(found, found.second, found.first)]
    for side in (found.first, found.second):
        for score in side.scores:
            lines.append(
                f"run '{side.run}', {score.rater} on {score.rubric}, {count(score.n, 'feature')}: "
                f"P(more similar scores higher) {score.higher}; Spearman's rho {score.rho}"
            )
    small, large = found.small, found.large
    lines.append(
        f"{count(len(found.families), 'feature')} of '{small.run}' with several relatives in "
        f"'{large.run}'; {count(len(found.unrelated), 'feature')} of '{large.run}' with none in "
        f"'{small.run}'"
    )
    return "\n".join(lines)


def _line(found: Match, side: Side, other: Side) -> str:
    def percent(share: float | None) -> str:
        return "unknown" if share is None else f"{100 * share:.1f} %"

    dead = f", {count(int(side.dead.sum()), 'dead one')} apart" if side.dead.any() else ""
    return (
        f"'{side.run}' in '{other.run}': {count(len(side.number), 'feature')}{dead}; cosine of at "
        f"least {found.related:g} for {percent(side.share_related(found.related))}, one to one "
        f"for {percent(side.share_related(found.related, one_to_one=True))}; chance "
        f"{side.chance_at(0.5):.2f}"
    )


def _check_same_site(one: Run, other: Run) -> None:
    """Raise BadInput unless two runs read the same site of the same model."""
    for run in (one, other):
        if run.is_imported:
            raise BadInput(
                f"match needs dictionary vectors of a model, and run '{run.name}' was "
                f"{run.without_model}; name a run that `autointerp harvest` or `rate` made"
            )
    models = [run.about["digests"].get("model") for run in (one, other)]
    if models[0] != models[1]:
        raise BadInput(
            f"runs '{one.name}' and '{other.name}' are of different models, whose directions have "
            "nothing in common; match two dictionaries of one model"
        )
    sites = [run.settings.subject.site for run in (one, other)]
    if sites[0] != sites[1]:
        raise BadInput(
            f"run '{one.name}' reads {sites[0]} and '{other.name}' {sites[1]}; match two "
            "dictionaries of one site"
        )


def _rows(side: Side, other_sae: str, is_exact: bool) -> list[dict[str, Any]]:
    columns = zip(
        side.number.tolist(),
        side.cosine.tolist(),
        side.nearest.tolist(),
        side.partner_cosine.tolist(),
        side.partner.tolist(),
        strict=True,
    )
    return [
        {
            "other_sae": other_sae,
            "idx": number,
            "cosine": cosine,
            "nearest": nearest,
            "partner_cosine": or_none(partner_cosine),
            "partner": None if partner < 0 else partner,
            "is_exact": is_exact,
        }
        for number, cosine, nearest, partner_cosine, partner in columns
    ]


def _side_row(found: Match, side: Side, against: Side) -> dict[str, Any]:
    return {
        "other_sae": against.sae,
        "features": side.size,
        "directed": len(side.number),
        "counted": int((~np.isnan(side.fires)).sum()),
        "dead": int(side.dead.sum()),
        "related": found.related,
        "share_related": side.share_related(found.related),
        "share_related_one_to_one": side.share_related(found.related, one_to_one=True),
        "median": median(side.cosine[side.counted]),
        "median_one_to_one": median(side.partner_cosine[side.counted]),
        "chance_median": side.chance_at(0.5),
        "chance_99": side.chance_at(0.99),
        "splits": len(families_of(against, found.related)),
        "is_exact": found.is_exact,
    }


def _score_rows(side: Side) -> list[dict[str, Any]]:
    return [
        {
            "rubric": one.rubric,
            "rater": one.rater,
            "n": one.n,
            "median": one.median,
            "look": None if one.reading is None else one.reading.number,
            "higher": plain(one.higher),
            "rho": plain(one.rho),
        }
        for one in side.scores
    ]
