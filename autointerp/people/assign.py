"""Sessions go out: what a person or a pack is asked of the units that a run holds.

Nothing here is open while somebody rates.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from autointerp.errors import BadInput, TooFewUnits
from autointerp.people.session import (
    Around,
    Session,
    Sitting,
    Training,
    answer_keys,
    digest_of,
    matched,
    shown_item,
    text_beside,
)
from autointerp.questions.items import item_id, load_items, make_items
from autointerp.questions.rubric import Rubric
from autointerp.records import SourceKind
from autointerp.store.run import Run
from autointerp.store.tables import now
from autointerp.store.units import StoredUnit
from autointerp.text import count
from autointerp.units.sources import kind_of, source_kinds

GOLD_SHARE = 0.1  # of each control, of the units that are not controls: people's time is dear
LEAST_GOLD = 2
TRAINING_EACH = 2  # of each source of a role below
TRAINED_ON = ("ceiling", "floor")  # roles whose answers are known
UNDONE = "taken back, and not answered again"

Place = tuple[int, int, int, int]  # document, token in it, tokens of the context before and after
ReadAround = Callable[[Collection[Place]], Mapping[Place, Around]]  # text beyond stored contexts


@dataclass(frozen=True)
class Planned:
    """A session and what the run keeps of it.

    Attributes:
        gold: Control units among those to be rated.
        left_out: Items with fewer contexts than the others, by source.
    """

    session: Session
    gold: int
    left_out: Mapping[str, int]


def run_identity(run: Run) -> str:
    """Return what ties sessions and packs to the run; it tells nothing of the run."""
    about = run.about["run"]
    return digest_of([about["name"], str(about["made"]), about["settings_digest"]])[:32]


def most_gold(ordinary: int) -> int:
    """Return how many units of each control a session has at most beside ordinary ones."""
    return max(LEAST_GOLD, round(GOLD_SHARE * ordinary))


def with_training(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return the units to draw: those wanted, and some more controls to practise on."""
    trained = {name for name in wanted if kind_of(name).role in TRAINED_ON}
    return {name: n + TRAINING_EACH if name in trained and n else n for name, n in wanted.items()}


def plan_session(
    run: Run,
    rubric: Rubric,
    wanted: Mapping[str, int],
    sitting: Sitting,
    rater: str | None,
    seed: str,
    read_around: ReadAround | None = None,
) -> Planned:
    """Return the session of a rater, or of a pack (`rater` None), over units that the run holds.

    Args:
        read_around: Reads text of the corpus beyond what the run holds, for raters who ask for more
            of a context; None to show no more than the run holds.
        wanted: Units of each source. Of control sources fewer are taken, see `GOLD_SHARE`; two
            more of the ceiling's and the floor's, if the run holds them, are for practice.

    Items that the rater has rated are left out, but come into the blinding check if they were
    never guessed; of skipped ones no more is asked. Raises TooFewUnits if nothing is left to rate,
    or nothing but controls where others have rated all else often enough.
    """
    answer_keys(rubric)  # a scale that people cannot answer is refused before anything is made
    kinds = source_kinds(run)
    controls = {name for name, kind in kinds.items() if kind.is_control}
    rated = rated_by(run, rater, rubric) if rater else {}
    trained = trained_on(run, rater, rubric) if rater else set()
    drawn, practice = _units(run, wanted, kinds, sitting.practice)
    number = None
    if sitting.planned:
        chosen, number = latest_plan(run, rubric)
        drawn = {
            name: [unit for unit in _all_units(run, name) if _id(run, unit, rubric) in chosen]
            for name in kinds
            if name not in controls
        } | {name: units for name, units in drawn.items() if name in controls}
    ordinary = sum(len(units) for name, units in drawn.items() if name not in controls)
    most = most_gold(ordinary) if sitting.gold is None else sitting.gold
    ids: dict[str, str] = {}  # item → source
    for name, units in drawn.items():
        mine = [_id(run, unit, rubric) for unit in units]
        mine = [item for item in mine if item not in trained]
        ids |= dict.fromkeys(mine[:most] if name in controls else mine, name)
    every_unit = [unit for units in (*drawn.values(), *practice.values()) for unit in units]
    make_items(run, every_unit, rubric, "shown")
    training = [] if trained else _training(run, practice, rubric, kinds, seed)
    needed = sorted({*ids, *(one.item for one in training)})
    whole = {item.id: item for item in load_items(run, needed, rubric)}
    shown = {name: shown_item(item, rubric) for name, item in whole.items()}
    contexts, alike, short = matched(list(shown.values()), number)
    shown = {item.id: item for item in alike}
    left_out = Counter(ids[item.id] for item in short if item.id in ids)
    kept = [item for item in ids if item in shown]
    training = [one for one in training if one.item in shown]
    to_rate = sorted(item for item in kept if item not in rated)
    if sitting.overlap:
        shared = {item for item in to_rate if ids[item] not in controls}
        enough = shared & _rated_enough(run, rater or "", sitting.overlap)
        if shared and shared == enough:
            raise TooFewUnits(
                f"--overlap {sitting.overlap}: as many people have rated each unit that is asked "
                "for; ask for more units"
            )
        to_rate = [item for item in to_rate if item not in enough]
    guessed = {r[0] for r in run.rows("SELECT item_id FROM current_guess WHERE rater = ?", [rater])}
    to_guess = sorted({*to_rate, *(i for i in kept if rated.get(i) and i not in guessed)})
    if not sitting.guess:
        to_guess = []
    if not to_rate and not to_guess:
        raise TooFewUnits(
            f"nothing is left for {rater or 'a pack'} to rate on {rubric.id}; ask for more units"
        )
    asked = sorted({*to_rate, *to_guess, *(one.item for one in training)})
    items = [shown[item] for item in asked]
    beside = {item.id: text_beside(whole[item.id], rubric)[:contexts] for item in items}
    return Planned(
        Session(
            run=run_identity(run),
            rubric=rubric,
            items=tuple(items),
            to_rate=tuple(to_rate),
            to_guess=tuple(to_guess),
            training=tuple(training),
            always=tuple(item for item in to_rate if sitting.overlap and ids[item] in controls),
            overlap=sitting.overlap,
            repeat_share=sitting.repeat_share,
            contexts=contexts,
            seed=seed,
            around=_around(run, beside, rubric, read_around),
            rated=_rated_in_packs(run, rater or "", to_rate) if sitting.overlap else {},
        ),
        sum(ids[item] in controls for item in to_rate),
        dict(left_out),
    )


def _units(
    run: Run, wanted: Mapping[str, int], kinds: Mapping[str, SourceKind], practises: bool
) -> tuple[dict[str, list[StoredUnit]], dict[str, list[StoredUnit]]]:
    """Return the units to rate and those to practise on, by source."""
    drawn = {name: run.sampled(name, n) for name, n in wanted.items()}
    practice: dict[str, list[StoredUnit]] = {}
    for name, kind in kinds.items():
        if not practises or name not in drawn or kind.role not in TRAINED_ON:
            continue
        beyond = run.sampled(name, len(drawn[name]) + TRAINING_EACH)[len(drawn[name]) :]
        if len(beyond) < TRAINING_EACH < len(drawn[name]):  # a run that holds no more than that
            drawn[name], beyond = drawn[name][:-TRAINING_EACH], drawn[name][-TRAINING_EACH:]
        practice[name] = beyond
    return drawn, practice


def _around(
    run: Run,
    beside: Mapping[str, tuple[Around, ...]],
    rubric: Rubric,
    read_around: ReadAround | None,
) -> dict[str, tuple[Around, ...]]:
    """Return the text round the contexts of items: what is stored beyond what they show, which is
    `beside`, and then what can be read of the corpus. Items without any are left out."""
    around = dict(beside)
    if read_around is not None:
        places: dict[str, list[Place]] = {}
        rows = run.rows(
            "SELECT item_id, unit_id, contexts FROM unit_item"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[]))",
            [sorted(beside)],
        )
        stored = run.contexts(sorted({row[1] for row in rows}))
        for item, unit_id, numbers in rows:
            contexts = [stored[unit_id][n] for n in numbers]
            contexts = [c for c in contexts if c.split == rubric.shows.split]
            contexts = contexts[: len(beside[item])]
            places[item] = [
                (c.document, c.position, c.focus, len(c.tokens) - c.focus - 1) for c in contexts
            ]
        texts = read_around({place for one in places.values() for place in one})
        for item, here in places.items():
            further = [texts.get(place, ("", "")) for place in here]
            around[item] = tuple(
                (before + inner, outer + after)
                for (before, after), (inner, outer) in zip(further, beside[item], strict=True)
            )
    return {item: texts for item, texts in around.items() if any(map(any, texts))}


def _training(
    run: Run,
    practice: Mapping[str, list[StoredUnit]],
    rubric: Rubric,
    kinds: Mapping[str, SourceKind],
    seed: str,
) -> list[Training]:
    """Return the practice items, mixed, each with the rubric's answer and the reason for it."""
    training = []
    for name, units in practice.items():
        for unit in units:
            if kinds[name].role == "ceiling":
                score = rubric.scores[-1]
                # A file's note says what its author liked.
                fires = "fires on one thing" if run.is_imported else unit.summary.note
                why = f"This unit was made to order: it {fires}, and on nothing else."
            else:
                score = rubric.scores[0]
                why = (
                    "This unit fires at places that were drawn at random: whatever the contexts "
                    "seem to share is chance."
                )
            training.append(Training(_id(run, unit, rubric), score, why))
    training.sort(key=lambda one: one.item)
    order = np.random.default_rng(list(seed.encode())).permutation(len(training))
    return [training[place] for place in order]


def _id(run: Run, unit: StoredUnit, rubric: Rubric) -> str:
    return item_id(run.settings.seed, unit.unit_id, rubric.digest, "shown")


def _all_units(run: Run, source: str) -> list[StoredUnit]:
    return [unit for unit in run.units(source) if unit.summary.outcome == "eligible"]


def rated_by(run: Run, rater: str, rubric: Rubric) -> dict[str, bool]:
    """Return the items that a person has rated or skipped, and not taken back; True where rated."""
    rows = run.rows(
        "SELECT item_id, status = 'ok' FROM current_rating"
        " WHERE rater = ? AND rubric_digest = ? AND repeat = 0 AND rationale IS DISTINCT FROM ?",
        [rater, rubric.digest, UNDONE],
    )
    return dict(rows)


def trained_on(run: Run, rater: str, rubric: Rubric) -> set[str]:
    """Return the items that a person has practised on under the rubric."""
    rows = run.rows(
        "SELECT DISTINCT item_id FROM human_answer JOIN human_session USING (session_id)"
        " WHERE human_answer.rater = ? AND kind = 'training' AND rubric_digest = ?",
        [rater, rubric.digest],
    )
    return {row[0] for row in rows}


def _rated_enough(run: Run, rater: str, overlap: int) -> set[str]:
    """Return the items that enough other people have rated, packs included."""
    rows = run.rows(
        "SELECT item_id FROM current_rating WHERE status = 'ok' AND repeat = 0 AND rater <> ?"
        " AND is_person(rater)"
        " GROUP BY item_id HAVING count(DISTINCT rater) >= ?",
        [rater, overlap],
    )
    return {row[0] for row in rows}


def _rated_in_packs(run: Run, rater: str, items: Collection[str]) -> dict[str, int]:
    """Return how many other people have rated each of the items in packs, of whom no journal of the
    run tells."""
    return dict(
        run.rows(
            "SELECT item_id, count(DISTINCT rater) FROM current_rating WHERE status = 'ok'"
            " AND repeat = 0 AND rater <> ? AND is_person(rater)"
            " AND item_id IN (SELECT unnest(?::VARCHAR[])) AND (item_id, rater) NOT IN ("
            "  SELECT item_id, human_answer.rater FROM human_answer JOIN human_session"
            "   USING (session_id) WHERE NOT is_pack) GROUP BY item_id ORDER BY item_id",
            [rater, list(items)],
        )
    )


def latest_plan(run: Run, rubric: Rubric) -> tuple[set[str], int | None]:
    """Return the items that `plan-humans` drew last, and the contexts that each of them has at
    least; None where it was not looked at.

    Raises BadInput if it drew none for the rubric.
    """
    rows = run.rows(
        "SELECT item_id, contexts FROM human_plan WHERE rubric_digest = ? AND plan ="
        " (SELECT max(plan) FROM human_plan WHERE rubric_digest = ?)",
        [rubric.digest, rubric.digest],
    )
    if not rows:
        raise BadInput(
            f"run '{run.name}' has no plan for {rubric.id}; make one with "
            f"`autointerp plan-humans --run {run.name}`"
        )
    return {row[0] for row in rows}, rows[0][1]


def planned_units(run: Run, rubric: Rubric) -> dict[str, int]:
    """Return how many units of each source `plan-humans` drew last.

    Raises BadInput if it drew none for the rubric.
    """
    chosen, _ = latest_plan(run, rubric)
    rows = run.rows(
        "SELECT source, count(DISTINCT item_id) FROM human_plan"
        " WHERE item_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY source ORDER BY source",
        [sorted(chosen)],
    )
    return dict(rows)


def register(
    run: Run, planned: Planned, rater: str | None, names: Mapping[str, str] | None = None
) -> None:
    """Note down that the run gave this session out; `names` are a pack's, name → item."""
    session = planned.session
    with run.transaction():
        run.insert(
            "human_session",
            [
                {
                    "session_id": session.digest,
                    "is_pack": names is not None,
                    "rater": rater,
                    "rubric": session.rubric.id,
                    "rubric_digest": session.rubric.digest,
                    "contexts": session.contexts,
                    "to_rate": len(session.to_rate),
                    "gold": planned.gold,
                    "left_out": json.dumps(planned.left_out),
                    "made_at": now(),
                }
            ],
            ignore=True,
        )
        run.insert(
            "pack_item",
            [
                {"session_id": session.digest, "name": name, "item_id": item}
                for name, item in (names or {}).items()
            ],
            ignore=True,
        )


def contexts_text(planned: Planned) -> str:
    """Return how many contexts items show where the rubric shows more, and how many items were left
    out for having fewer; empty if all are as the rubric says."""
    session = planned.session
    counts = ", ".join(f"{n} {name}" for name, n in sorted(planned.left_out.items()))
    short = session.contexts < session.rubric.shows.contexts
    said = [
        f"each item shows {count(session.contexts, 'context')} and not "
        f"{session.rubric.shows.contexts}, because some units have no more" if short else "",
        f"left out, with fewer contexts than the others: {counts}" if counts else "",
    ]  # fmt: skip
    return "; ".join(text for text in said if text)
