"""What people should rate next, so that a model's ratings can be calibrated by theirs.

A random subset, by source and by the model's score: small strata get more than their share, so
that people see all of the scale. Or by its uncertainty: people's time goes where the model does not
know. How likely each item was to be drawn is kept, for whatever is estimated from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.errors import BadInput, TooFewRatings
from autointerp.people.session import shown_alike
from autointerp.questions.rubric import Rubric
from autointerp.records import is_person
from autointerp.stats.ppi_drawn import (
    draw_with_probabilities,
    inclusion_probabilities,
    unsure_sizes,
)
from autointerp.store.run import Run
from autointerp.store.tables import now

LEAST = 2  # of each stratum, where it has as many: with one there is no spread

Stratum = tuple[str, int]


@dataclass(frozen=True)
class HumanDraw:
    """What was drawn for people.

    Attributes:
        rater: That it calibrates.
        contexts: That every item shows to people: the number would tell rare units from others.
        left_out: Units with fewer, which could not be drawn.
    """

    rater: str
    items: tuple[Drawn, ...]
    contexts: int
    left_out: int


@dataclass(frozen=True)
class Drawn:
    """An item that people should rate, and how it was drawn.

    Attributes:
        stratum_size, stratum_drawn: Items of the stratum, and drawn from it: of the source and
            score, or of the source where they were drawn by uncertainty.
        inclusion: Probability with which it was drawn.
        uncertainty: The rater's on the unit; None where it had no part in the draw.
    """

    item: str
    source: str
    score: int
    stratum_size: int
    stratum_drawn: int
    inclusion: float
    uncertainty: float | None = None


def allocate(sizes: Mapping[Stratum, int], n: int) -> dict[Stratum, int]:
    """Return how many to draw from each stratum, `n` in all, or all there are.

    Sources share equally. Within a source each stratum gets `LEAST`, and the rest goes by the
    square root of its size: between equal shares, which serve the calibration curve, and
    proportional ones, which serve the mean (power allocation). Where `n` is too small for
    `LEAST`, large strata come first.

    Source: Bankier 1988, Am. Stat. 42:174.
    """
    drawn = dict.fromkeys(sizes, 0)
    sources = sorted({source for source, _ in sizes})
    for _ in range(min(n, sum(sizes.values()))):
        totals = {s: sum(k for (source, _), k in drawn.items() if source == s) for s in sources}
        open_strata = [stratum for stratum in sizes if drawn[stratum] < sizes[stratum]]
        source = min((s for s, _ in open_strata), key=lambda s: (totals[s], s))
        # Each next one goes where it is scarcest for what the stratum should have.
        stratum = min(
            (stratum for stratum in open_strata if stratum[0] == source),
            key=lambda one: (
                drawn[one] >= min(LEAST, sizes[one]),
                (drawn[one] + 0.5) / sizes[one] ** 0.5,
                one,
            ),
        )
        drawn[stratum] += 1
    return drawn


def draw_for_people(scores: Mapping[str, Stratum], n: int, rng: np.random.Generator) -> list[Drawn]:
    """Return `n` items drawn at random within strata; `scores` gives each item's stratum."""
    strata: dict[Stratum, list[str]] = {}
    for item in sorted(scores):
        strata.setdefault(scores[item], []).append(item)
    drawn = []
    taken = allocate({stratum: len(items) for stratum, items in strata.items()}, n)
    for stratum in sorted(strata):
        items, count = strata[stratum], taken[stratum]
        for place in rng.choice(len(items), size=count, replace=False):
            probability = count / len(items)
            drawn.append(Drawn(items[place], *stratum, len(items), count, probability))
    return drawn


def draw_by_uncertainty(
    scores: Mapping[str, Stratum],
    uncertainty: Mapping[str, float],
    n: int,
    rng: np.random.Generator,
) -> list[Drawn]:
    """Return `n` items, sources alike, those drawn more often on which the rater is less sure.

    `uncertainty` gives each item's. See `stats.ppi_drawn.unsure_sizes` for the probabilities.
    """
    of_source: dict[str, list[str]] = {}
    for item in sorted(scores):
        of_source.setdefault(scores[item][0], []).append(item)
    shares = allocate({(source, 0): len(items) for source, items in of_source.items()}, n)
    drawn = []
    for source, items in sorted(of_source.items()):
        count = shares[source, 0]
        unsure = [uncertainty[item] for item in items]
        probability = inclusion_probabilities(unsure_sizes(unsure), count)
        for place in draw_with_probabilities(probability, rng):
            item = items[place]
            drawn.append(
                Drawn(
                    item, source, scores[item][1], len(items), count, float(probability[place]),
                    unsure[place],
                )
            )  # fmt: skip
    return drawn


def plan_humans(
    run: Run,
    rubric: Rubric,
    n: int,
    rng: np.random.Generator,
    rater: str | None = None,
    uncertainty: Mapping[int, float] | None = None,
) -> HumanDraw:
    """Draw, store and return what people should rate next.

    Only units that are no controls, that nobody has rated yet and that have as many contexts as
    people are shown are drawn: the inclusion probabilities speak of those. `rater` None takes the
    one with the most ratings. With
    `uncertainty`, the rater's by unit, units are drawn by that and not by its score.
    Raises TooFewRatings if the rater has rated nothing on the rubric, or its uncertainty on a unit
    is not known, BadInput for `n` under 1 or a person.
    """
    if n < 1:
        raise BadInput(f"--n {n}: ask for at least 1 item")
    rater = rater or busiest(run, rubric)
    if is_person(rater):
        raise BadInput(f"{rater} is a person; name the judge that people's ratings calibrate")
    rows = run.rows(
        "SELECT unit_id, source, score FROM unit_rating WHERE rater = ? AND rubric_digest = ?"
        " AND status = 'ok' AND repeat = 0 AND NOT is_control",
        [rater, rubric.digest],
    )
    if not rows:
        raise TooFewRatings(f"{rater} has rated nothing on {rubric.id}; let it rate first")
    # A rater that reads all contexts has items of its own: people get the unit's shown item.
    shown = _shown_items(run, [row[0] for row in rows], rubric)
    rated = _rated_by_people(run)
    has = _contexts_of(run, shown.values())
    number = min(shown_alike(has.values()), max(has.values()))  # 0 where no item has a context
    strata = {
        shown[unit]: (source, int(score))
        for unit, source, score in rows
        if unit in shown and shown[unit] not in rated and has[shown[unit]] >= number
    }
    if not strata:
        raise TooFewRatings(f"people have rated all that {rater} has on {rubric.id}")
    if uncertainty is None:
        drawn = draw_for_people(strata, n, rng)
    else:
        by_item = {shown[unit]: uncertainty.get(unit) for unit, *_ in rows if unit in shown}
        known = {item: spread for item, spread in by_item.items() if spread is not None}
        unknown = sum(item not in known for item in strata)
        if unknown:
            raise TooFewRatings(
                f"how sure {rater} is of {unknown} of {len(strata)} units is not known; rate them "
                "as the others were rated, or draw by the score"
            )
        drawn = draw_by_uncertainty(strata, known, n, rng)
    _store(run, rubric, rater, drawn, number)
    return HumanDraw(rater, tuple(drawn), number, sum(n < number for n in has.values()))


def busiest(run: Run, rubric: Rubric) -> str:
    """Return the rater, no person, with the most ratings on a rubric; raises TooFewRatings."""
    rows = run.rows(
        "SELECT rater FROM current_rating WHERE rubric_digest = ? AND status = 'ok'"
        " AND NOT is_person(rater)"
        " GROUP BY rater ORDER BY count(*) DESC, rater LIMIT 1",
        [rubric.digest],
    )
    if not rows:
        raise TooFewRatings(f"no model has rated on {rubric.id}; let one rate first")
    return str(rows[0][0])


def _shown_items(run: Run, units: Sequence[int], rubric: Rubric) -> dict[int, str]:
    """Return the item of each unit that shows what the rubric shows, made if it is not there."""
    from autointerp.questions.items import item_id, make_items

    wanted = set(units)
    names = [row[0] for row in run.rows("SELECT source FROM source WHERE NOT is_control")]
    stored = [unit for name in names for unit in run.units(name) if unit.unit_id in wanted]
    make_items(run, stored, rubric, "shown")
    seed = run.settings.seed
    return {u.unit_id: item_id(seed, u.unit_id, rubric.digest, "shown") for u in stored}


def _contexts_of(run: Run, items: Iterable[str]) -> dict[str, int]:
    """Return how many contexts each item has to show."""
    return dict(
        run.rows(
            "SELECT item_id, len(contexts) FROM unit_item"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[]))",
            [sorted(items)],
        )
    )


def _rated_by_people(run: Run) -> set[str]:
    rows = run.rows(
        "SELECT DISTINCT item_id FROM current_rating WHERE status = 'ok' AND is_person(rater)"
    )
    return {row[0] for row in rows}


def _store(run: Run, rubric: Rubric, rater: str, drawn: Sequence[Drawn], contexts: int) -> None:
    plan = int(run.rows("SELECT coalesce(max(plan) + 1, 0) FROM human_plan")[0][0])
    at = now()
    with run.transaction():
        run.insert(
            "human_plan",
            [
                {
                    "plan": plan,
                    "item_id": one.item,
                    "rubric": rubric.id,
                    "rubric_digest": rubric.digest,
                    "rater": rater,
                    "source": one.source,
                    "score": one.score,
                    "stratum_size": one.stratum_size,
                    "stratum_drawn": one.stratum_drawn,
                    "inclusion": one.inclusion,
                    "made_at": at,
                    "drawn_by": "score" if one.uncertainty is None else "uncertainty",
                    "uncertainty": one.uncertainty,
                    "contexts": contexts,
                }
                for one in drawn
            ],
        )
