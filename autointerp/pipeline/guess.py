"""The blinding check of a model: each item that it has rated is asked about once more.

Questions go through the engine like any others: what was asked is not paid twice, and the budget
holds. Their items have names of their own, which stand in no key, so no reply is a rating of a
unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autointerp.engine.work import RatingCounts, RatingPolicy, rate_items
from autointerp.errors import BadInput
from autointerp.people.assign import add_guesses
from autointerp.questions.guess import GUESSES, guess_rubric
from autointerp.questions.items import load_items
from autointerp.questions.rubric import Rubric, load_rubric
from autointerp.raters import Rater
from autointerp.records import Item
from autointerp.store.run import Run, open_run

if TYPE_CHECKING:
    from rich.console import Console

    from autointerp.pipeline.rate import Wish

ASKED = "guess-"


def ask_guesses(
    run: Run, rubric: Rubric, rater: Rater, policy: RatingPolicy | None = None
) -> RatingCounts:
    """Ask what each item is that the rater has rated on the rubric, and store its guesses.

    Raises BadInput for a rater that is no language model: it would not read the question.
    """
    if not rater.is_llm:
        raise BadInput(f"--guess: {rater.name} is no language model and cannot be asked")
    rated = run.rows(
        "SELECT item_id FROM current_rating JOIN key USING (item_id)"
        " WHERE rater = ? AND rubric_digest = ? AND repeat = 0 AND status = 'ok' ORDER BY item_id",
        [rater.name, rubric.digest],
    )
    names = [ASKED + row[0] for row in rated]

    def load(wanted: Sequence[str]) -> list[Item]:
        items = load_items(run, [name.removeprefix(ASKED) for name in wanted], rubric)
        return [replace(item, id=ASKED + item.id) for item in items]

    question = guess_rubric(rubric)
    counts = rate_items(run, names, question, rater, policy=policy, load=load)
    found = run.rows(
        "SELECT r.item_id, r.score FROM current_rating r LEFT JOIN current_guess g"
        " ON r.item_id = ? || g.item_id AND g.rater = r.rater"
        " WHERE r.rater = ? AND r.rubric_digest = ? AND r.status = 'ok' AND g.guess IS NULL",
        [ASKED, rater.name, question.digest],
    )
    add_guesses(
        run, rater.name, {name.removeprefix(ASKED): GUESSES[score - 1] for name, score in found}
    )
    return counts


def guess_by_model(wish: Wish, console: Console) -> None:
    """Ask the rater of a wish what it has rated, and say what became of it."""
    from autointerp.pipeline.rate import load_rater

    rater = load_rater(wish.rater, wish.options)
    with open_run(wish.run, folder=wish.runs) as run:
        counts = ask_guesses(run, load_rubric(wish.rubric), rater, wish.policy)
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.statuses.items()))
    console.print(f"run '{wish.run}': blinding check of {rater.name}: {told or 'nothing new'}")
