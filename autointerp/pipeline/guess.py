"""The blinding check of a model: it is asked what each item is that it has rated.

The questions go through the engine like all others, so nothing is paid twice and the budget holds.
Their items have ids of their own, which are not in the key, so no reply counts as a rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autointerp.engine.work import RatingCounts, RatingPolicy, rate_items
from autointerp.errors import BadInput
from autointerp.people.ingest import add_guesses
from autointerp.pipeline.events import On, ignore, tell_asking
from autointerp.questions.guess import GUESSES, guess_rubric
from autointerp.questions.items import load_items
from autointerp.questions.rubric import Rubric
from autointerp.raters import ComposedRater, Rater
from autointerp.records import Item
from autointerp.store.run import Run
from autointerp.text import statuses_text

ASKED = "guess-"
RATED = (  # what a rater has rated on a rubric
    "SELECT item_id FROM unit_rating"
    " WHERE rater = ? AND rubric_digest = ? AND repeat = 0 AND status = 'ok'"
)


@dataclass(frozen=True)
class GuessResult:
    """What a model's blinding check brought: its guesses by status."""

    run: str
    rater: str
    counts: RatingCounts

    def __str__(self) -> str:
        statuses = statuses_text(self.counts.statuses)
        text = f"run '{self.run}': blinding check of {self.rater}: {statuses or 'nothing new'}"
        text += f", {self.counts.spent_text}" if self.counts.spent_text else ""
        return "\n".join(filter(None, (text, self.counts.budget_text)))


def require_model(rater: Rater) -> None:
    """Raise BadInput for a rater that is no language model: it would not read the question."""
    if isinstance(rater, ComposedRater):
        raise BadInput(f"--guess: {rater.name} is several raters; rate by one of them to ask it")
    if not rater.is_llm:
        raise BadInput(f"--guess: {rater.name} is no language model and cannot be asked")


def unguessed_of(run: Run, rubric: Rubric, rater: Rater) -> int:
    """Return of how many items that it has rated on the rubric the rater has not said what they
    are: `ask_guesses` asks about these."""
    return int(
        run.rows(
            f"SELECT count(*) FROM ({RATED}) rated ANTI JOIN current_rating g"
            " ON g.item_id = ? || rated.item_id AND g.rater = ? AND g.rubric_digest = ?"
            " AND g.status <> 'failed'",
            [rater.name, rubric.digest, ASKED, rater.name, guess_rubric(rubric).digest],
        )[0][0]
    )


def ask_guesses(
    run: Run,
    rubric: Rubric,
    rater: Rater,
    policy: RatingPolicy | None = None,
    on: On = ignore,
) -> RatingCounts:
    """Ask what each item is that the rater has rated on the rubric, and store its guesses.

    Raises BadInput for a rater that is no language model.
    """
    require_model(rater)
    rated = run.rows(f"{RATED} ORDER BY item_id", [rater.name, rubric.digest])
    names = [ASKED + row[0] for row in rated]

    def load(wanted: Sequence[str]) -> list[Item]:
        items = load_items(run, [name.removeprefix(ASKED) for name in wanted], rubric)
        return [replace(item, id=ASKED + item.id) for item in items]

    question = guess_rubric(rubric)
    progress = tell_asking(f"guess by {rater.name}", on)
    counts = rate_items(run, names, question, rater, 1, progress, policy, load)
    answers = run.rows(
        "SELECT r.item_id, r.score FROM current_rating r LEFT JOIN current_guess g"
        " ON r.item_id = ? || g.item_id AND g.rater = r.rater"
        " WHERE r.rater = ? AND r.rubric_digest = ? AND r.status = 'ok' AND g.guess IS NULL",
        [ASKED, rater.name, question.digest],
    )
    add_guesses(
        run, rater.name, {name.removeprefix(ASKED): GUESSES[score - 1] for name, score in answers}
    )
    return counts
