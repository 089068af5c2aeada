"""Would a second rater agree? Raters with one another, and each with itself.

`between_raters` and `within_raters` take all raters alike, on unit scores and on repeats. Of
people, `agreements` says more: first ratings one by one, a person with oneself on hidden repeats,
and each person with each model; `attention` how they rated the gold items, and `contexts_shown`
whether they saw as many contexts of a unit as one another and as judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from autointerp.errors import TooFewRatings
from autointerp.findings.groups import Judgement, Scale, nearest_level
from autointerp.questions.rubric import Rubric
from autointerp.records import is_person, without_panels
from autointerp.stats.agreement import (
    Agreement,
    agreement,
    intraclass_correlation,
    krippendorff_alpha,
    quadratic_kappa,
    spearman,
)
from autointerp.stats.results import Floats, Statistic
from autointerp.store.run import Run
from autointerp.units.sources import source_kinds

Kind = Literal["people", "oneself", "person and model"]
UnitKind = Literal["studied", "controls"]
UNIT_KINDS: tuple[UnitKind, ...] = ("studied", "controls")

MOST_REPEATS = 5


@dataclass(frozen=True)
class TableAgreement:
    """How the columns of a table of ratings agree; a column is a rater, or a repeat of one.

    Attributes:
        of: `raters`, or `RATER with itself`.
        units: Which units: those that are studied, or the controls. Controls are easy to agree on,
            so they never count among the others.
        names: Of the columns.
    """

    run: str
    rubric: str
    of: str
    units: UnitKind
    names: tuple[str, ...]
    agreement: Agreement


@dataclass(frozen=True)
class RatersAgreement:
    """How two raters agree, or one with oneself.

    Attributes:
        units: Rated by both (or twice).
    """

    rubric: str
    kind: Kind
    raters: tuple[str, str]
    units: int
    alpha: Statistic
    kappa: Statistic
    spearman: Statistic


@dataclass(frozen=True)
class Attention:
    """How a person rated the gold items.

    Attributes:
        planted, shuffled: Mean score of the ceiling's and of the floor's items, those that were
            rated twice counted once, by their mean; None where none was rated.
        pairs_right: Share of pairs (planted, shuffled) where the planted one got more, ties
            counting half; 0.5 is what inattention gives. None without pairs.
        n: Planted and shuffled items rated.
    """

    rubric: str
    rater: str
    planted: float | None
    shuffled: float | None
    pairs_right: float | None
    n: tuple[int, int]


@dataclass(frozen=True)
class TextAskedFor:
    """How often a person asked for more of an item's contexts than a judge is shown.

    Attributes:
        items: Answered, hidden repeats not counted.
        asked: Of these, items of which more was asked for.
    """

    rubric: str
    rater: str
    items: int
    asked: int

    @property
    def share(self) -> float:
        """Share of the items, 0 to 1."""
        return self.asked / self.items


@dataclass(frozen=True)
class ContextsShown:
    """How many contexts of each unit a person was shown, in sittings that had so many.

    Attributes:
        contexts: Of each unit, one number for all of a sitting.
        units: That the person rated there.
        of_rubric: Contexts that the rubric shows; judges are shown as many, where a unit has them.
    """

    rubric: str
    rater: str
    contexts: int
    units: int
    of_rubric: int


# ------------------------------------------------------------------------------ all raters


def between_raters(
    run: str,
    judgements: Sequence[Judgement],
    scores: pd.DataFrame,
    units: pd.DataFrame,
    level: float = 0.95,
) -> Iterator[TableAgreement]:
    """Yield the agreement of the raters of each rubric that several rated, on unit scores.

    On the units that are studied, then on the controls; a panel is left out where a member of it
    rated too. Repeats of a unit are averaged and taken
    to the nearest level first. `units` are those of a `Comparison`.
    """
    scales = {j.rubric_digest: j.scale for j in judgements}
    for (rubric, digest), part in scores.groupby(["rubric", "rubric_digest"]):
        if part.rater.nunique() < 2:
            continue
        every = part.pivot(index="unit_id", columns="rater", values="score")
        every = every[without_panels(every)]
        for kind, table in _by_kind(every, units):
            ratings = _on_levels(table.to_numpy(np.float64), scales[digest])
            names = tuple(map(str, table.columns))
            agreed = agreement(ratings, names, level=level)
            yield TableAgreement(run, rubric, "raters", kind, names, agreed)


def within_raters(
    run: Run, judgements: Sequence[Judgement], units: pd.DataFrame, level: float = 0.95
) -> Iterator[TableAgreement]:
    """Yield the agreement of each rater with itself over its repeats, all together.

    On the units that are studied, then on the controls. Reads the table `rated` that `compare`
    makes; `units` are those of a `Comparison`.
    """
    for judgement in judgements:
        if judgement.repeats < 2:
            continue
        rows = run.frame(
            "SELECT unit_id, repeat, score FROM rated WHERE rubric_digest = ? AND rater = ?"
            " AND score IS NOT NULL AND repeat < ?",
            [judgement.rubric_digest, judgement.rater, MOST_REPEATS],
        )
        every = rows.pivot(index="unit_id", columns="repeat", values="score")
        for kind, table in _by_kind(every, units):
            ratings = table.to_numpy(np.float64)
            alpha = krippendorff_alpha(ratings, level=level)
            complete = ratings[~np.isnan(ratings).any(axis=1)]
            icc = (
                intraclass_correlation(complete, level=level)
                if len(complete) > 1
                else Statistic(None, None, None, (0,), "", level, "no unit has all repeats")
            )
            yield TableAgreement(
                run=run.name,
                rubric=judgement.rubric,
                of=f"{judgement.rater} with itself",
                units=kind,
                names=tuple(f"repeat {place + 1}" for place in table.columns),
                agreement=Agreement(alpha, icc, ()),
            )


def _by_kind(every: pd.DataFrame, units: pd.DataFrame) -> Iterator[tuple[UnitKind, pd.DataFrame]]:
    """Yield the rows of studied units, then of controls, where enough of them have two ratings."""
    is_control = units.is_control.loc[every.index].astype(bool)
    for kind in UNIT_KINDS:
        table = every[is_control == (kind == "controls")].dropna(axis=1, how="all")
        if not _too_little(table):
            yield kind, table


def _too_little(table: pd.DataFrame) -> bool:
    """Return whether fewer than two units have two ratings."""
    return table.shape[1] < 2 or int((table.notna().sum(axis=1) > 1).sum()) < 2


def _on_levels(ratings: Floats, scale: Scale) -> Floats:
    levels = nearest_level(np.nan_to_num(ratings.ravel()), scale.scores).reshape(ratings.shape)
    return np.where(np.isnan(ratings), np.nan, levels)


# ------------------------------------------------------------------------------ people


def people_rubrics(judgements: Sequence[Judgement]) -> list[Rubric]:
    """Return the rubrics that people have rated on, as far as they are at hand."""
    rubrics = {j.rubric_digest: j.scale.rubric for j in judgements if is_person(j.rater)}
    return [rubric for rubric in rubrics.values() if rubric is not None]


def agreements(
    run: Run,
    rubric: Rubric,
    level: float = 0.95,
) -> list[RatersAgreement]:
    """Return the agreement of each pair of people, of each with oneself, and with each model.

    Control units are left out: they are easy, and flatter the figures.
    Statistics that the data cannot give have the value None and a note.
    """
    scores = _scores(run, rubric)
    people = sorted({rater for rater, _ in scores if is_person(rater)})
    models = sorted({rater for rater, _ in scores if not is_person(rater)})
    pairs: list[tuple[Kind, tuple[str, int], tuple[str, int]]] = []
    pairs += [("people", (a, 0), (b, 0)) for a, b in combinations(people, 2)]
    pairs += [("oneself", (person, 0), (person, 1)) for person in people]
    pairs += [
        ("person and model", (person, 0), (model, 0)) for person in people for model in models
    ]
    agreeing: list[RatersAgreement] = []
    for kind, first, second in pairs:
        a, b = scores.get(first, {}), scores.get(second, {})
        both = sorted(a.keys() & b.keys())
        if not both and kind == "oneself":
            continue  # no repeats were asked for
        x = np.array([a[unit] for unit in both], dtype=np.float64)
        y = np.array([b[unit] for unit in both], dtype=np.float64)
        agreeing.append(
            RatersAgreement(
                rubric.id,
                kind,
                (first[0], second[0]),
                len(both),
                *_pair(x, y, level),
            )
        )
    return agreeing


def attention(run: Run, rubric: Rubric) -> list[Attention]:
    """Return how each person rated the gold items: those of the ceiling and of the floor."""
    roles = {name: kind.role for name, kind in source_kinds(run).items()}
    rows = run.rows(
        "SELECT rater, source, avg(score)::DOUBLE FROM unit_rating"
        " WHERE rubric_digest = ? AND status = 'ok' AND is_control GROUP BY rater, source, unit_id"
        " ORDER BY ALL",
        [rubric.digest],
    )
    watched: list[Attention] = []
    for rater in sorted({row[0] for row in rows if is_person(row[0])}):
        high, low = (
            np.array(
                [s for r, source, s in rows if r == rater and roles[source] == role],
                dtype=np.float64,
            )
            for role in ("ceiling", "floor")
        )
        if not len(high) and not len(low):
            continue
        right = None
        if len(high) and len(low):
            gaps = np.sign(high[:, None] - low[None, :])
            right = float((gaps + 1).mean() / 2)
        means = [float(golden.mean()) if len(golden) else None for golden in (high, low)]
        watched.append(
            Attention(rubric.id, rater, means[0], means[1], right, (len(high), len(low)))
        )
    return watched


def text_asked_for(run: Run, rubric: Rubric) -> list[TextAskedFor]:
    """Return for each person who answered items in a sitting, of how many more text was asked for:
    what no judge has seen. In the terminal, in a browser and in packs alike."""
    rows = run.rows(
        "WITH sat AS (SELECT human_answer.rater, item_id, arg_max(verb, seq)"
        "   FILTER (verb IN ('score', 'skip', 'undo')) AS answer, bool_or(verb = 'widen') AS asked"
        " FROM human_answer JOIN human_session USING (session_id) WHERE kind = 'rating'"
        " AND repeat = 0 AND rubric_digest = ? AND item_id <> '' GROUP BY 1, 2, session_id),"
        " item AS (SELECT rater, bool_or(asked) AS asked FROM sat GROUP BY rater, item_id"
        "  HAVING bool_or(answer IN ('score', 'skip')))"
        " SELECT rater, count(*), count(*) FILTER (asked) FROM item GROUP BY 1 ORDER BY 1",
        [rubric.digest],
    )
    return [TextAskedFor(rubric.id, rater, items, asked) for rater, items, asked in rows]


def contexts_shown(run: Run, rubric: Rubric) -> list[ContextsShown]:
    """Return how many contexts of a unit each person was shown, a row for each number."""
    rows = run.rows(
        "WITH sat AS (SELECT human_answer.rater, contexts, item_id, arg_max(verb, seq) AS answer"
        " FROM human_answer JOIN human_session USING (session_id) WHERE kind = 'rating'"
        " AND repeat = 0 AND rubric_digest = ? AND item_id <> ''"
        " AND verb IN ('score', 'skip', 'undo') GROUP BY 1, 2, 3, session_id)"
        " SELECT rater, contexts, count(DISTINCT item_id) FROM sat WHERE answer = 'score'"
        " GROUP BY 1, 2 ORDER BY 1, 2 DESC",
        [rubric.digest],
    )
    most = rubric.shows.contexts
    return [ContextsShown(rubric.id, rater, n, units, most) for rater, n, units in rows]


def _scores(run: Run, rubric: Rubric) -> Mapping[tuple[str, int], dict[int, float]]:
    """Return scores by (rater, repeat) and unit: raters with other evidence have other items."""
    rows = run.rows(
        "SELECT rater, repeat, unit_id, score FROM unit_rating"
        " WHERE rubric_digest = ? AND status = 'ok' AND NOT is_control",
        [rubric.digest],
    )
    scores: dict[tuple[str, int], dict[int, float]] = {}
    for rater, repeat, unit, score in rows:
        scores.setdefault((rater, repeat), {})[unit] = float(score)
    return scores


def _pair(x: Floats, y: Floats, level: float) -> tuple[Statistic, Statistic, Statistic]:
    def none(error: TooFewRatings) -> Statistic:
        return Statistic(None, None, None, (len(x),), "", level, str(error))

    both = np.stack([x, y], axis=1)
    try:
        alpha = krippendorff_alpha(both, level=level)
    except TooFewRatings as error:
        alpha = none(error)
    try:
        kappa = quadratic_kappa(x, y, level=level)
    except TooFewRatings as error:
        kappa = none(error)
    try:
        rho = spearman(x, y, level)
    except TooFewRatings as error:
        rho = none(error)
    return alpha, kappa, rho
