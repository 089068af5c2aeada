"""Raters made of others: each member is asked as the rater that it is, then one answer is made.

What a member answers is stored under its own name, so it is paid once: by the panel, by another
panel or when it rates alone. Making one answer of several costs nothing; a kill between the two
loses nothing that was paid.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from autointerp.engine.loop import Tally, read_rating
from autointerp.errors import RaterError
from autointerp.questions.question import Question
from autointerp.raters import ComposedRater, MemberAnswer, Rater, version_of
from autointerp.records import Rating, Reply, Request
from autointerp.store.run import Run

AT_ONCE = 500


@dataclass(frozen=True)
class Said:
    """A member's answers.

    Attributes:
        items: The item that the member sees, by the panel's item.
        answers: By the member's item and repeat; what was not asked is lacking.
        failure: Why the member could not be asked at all; empty if it could.
    """

    items: dict[str, str]
    answers: dict[tuple[str, int], MemberAnswer]
    failure: str = ""


def member_answers(
    run: Run, member: Rater, items: dict[str, str], repeats: int, failure: str = ""
) -> Said:
    """Return what the run holds of a member's answers, as the rater that it is now."""
    rows = run.rows(
        "SELECT r.item_id, r.repeat, r.status, r.score, r.expected_score, r.description,"
        " r.rationale, w.latency_s,"
        " coalesce(try_cast(c.details ->> '$.statistic' AS DOUBLE),"
        "  try_cast(c.details ->> '$.auroc' AS DOUBLE))"
        " FROM current_rating r LEFT JOIN ("
        "  SELECT call_key, arg_max(details, attempt) AS details"
        "  FROM call WHERE rater = ? GROUP BY call_key"
        " ) c USING (call_key) LEFT JOIN ("  # of all calls that a judgement took
        "  SELECT item_id, repeat, sum(latency_s) AS latency_s FROM call"
        "  WHERE rater = ? AND stop <> 'error' GROUP BY ALL"
        " ) w USING (item_id, repeat)"
        " WHERE r.rater = ? AND r.repeat < ? AND coalesce(r.rater_version, '') = ?"
        " AND r.item_id IN (SELECT unnest(?::VARCHAR[]))",
        [member.name, member.name, member.name, repeats, version_of(member), list(items.values())],
    )
    answers = {}
    for item, repeat, status, score, expected, description, rationale, latency, statistic in rows:
        if status == "ok":
            value = next(v for v in (statistic, expected, float(score)) if v is not None)
            is_score = statistic is None
            answers[item, repeat] = MemberAnswer(value, is_score, score, description, latency)
        else:
            problem = f"{status}{f' ({rationale})' if rationale else ''}"
            answers[item, repeat] = MemberAnswer(None, latency_s=latency, problem=problem)
    return Said(items, answers, failure)


def answered_late(
    run: Run,
    rater: ComposedRater,
    question: Question,
    wanted: Sequence[str],
    beside: Callable[[Sequence[str], Any], dict[str, str]],
    repeats: int,
) -> tuple[list[tuple[str, int]], list[Said]]:
    """Return items and repeats whose rating lacks an optional member that has answered since, as a
    rater of its own, and what all members say of them. Nobody is asked.
    """
    lacking = {
        (item, repeat): set(json.loads(missing))
        for item, repeat, missing in run.rows(
            "SELECT r.item_id, r.repeat, c.details -> '$.missing'"
            " FROM current_rating r JOIN call c USING (call_key)"
            " WHERE r.rater = ? AND r.repeat < ? AND coalesce(r.rater_version, '') = ?"
            " AND json_array_length(c.details, '$.missing') > 0"
            " AND r.item_id IN (SELECT unnest(?::VARCHAR[]))",
            [cast(Rater, rater).name, repeats, rater.version, list(wanted)],
        )
    }
    if not lacking:
        return [], []
    items = sorted({item for item, _ in lacking})
    said = [
        member_answers(run, member, beside(items, member.evidence), repeats, "no answer")
        for member in rater.members
    ]

    late = []
    for (item, repeat), missing in lacking.items():
        _, reply = rater.compose(item, question, repeat, _given(said, item, repeat))
        if set(reply.details.get("missing", missing)) < missing:
            late.append((item, repeat))
    return late, said


def _given(said: Sequence[Said], item: str, repeat: int) -> list[MemberAnswer]:
    """Return what members say of an item, those left out that were not asked."""
    answers = [
        one.answers.get((one.items[item], repeat))
        or (MemberAnswer(None, problem=one.failure) if one.failure else None)
        for one in said
    ]
    return [answer for answer in answers if answer is not None]


def ask_members(
    rater: ComposedRater,
    wanted: Sequence[str],
    beside: Callable[[Sequence[str], Any], dict[str, str]],
    ask: Callable[[Rater, Sequence[str]], Any],
) -> tuple[list[tuple[Rater, dict[str, str], str]], list[Any]]:
    """Ask each member in turn about its items; return members with items and failures, and what
    `ask` gave of each.

    A member that gives up is a failure where the others may decide, else its error is raised. A
    member that was stopped is the last one that is asked.
    """
    members, counts = [], []
    for member, may_fail in zip(rater.members, rater.optional, strict=True):
        items = beside(wanted, member.evidence)
        failure = ""
        try:
            asked = ask(member, sorted(items.values()))
        except RaterError as error:
            if not may_fail:
                raise
            failure = str(error)
        else:
            counts.append(asked)
        members.append((member, items, failure))
        if counts and counts[-1].stopped:
            break
    return members, counts


def compose_items(
    run: Run,
    rater: Any,
    question: Question,
    work: Sequence[tuple[str, int]],
    said: Sequence[Said],
    progress: Callable[[Tally], None],
) -> tuple[Counter[str], Counter[str]]:
    """Make one rating of the members' answers for each item and repeat, and store them; return how
    many have each status, and how many are without each member.

    An item of which a member was not asked stays as it is: a budget or Ctrl-C came before.
    """
    statuses: Counter[str] = Counter()
    without: Counter[str] = Counter()
    tally = Tally(total=len(work), statuses=statuses)
    for begin in range(0, len(work), AT_ONCE):
        made: list[tuple[Request, Reply]] = []
        for item, repeat in work[begin : begin + AT_ONCE]:
            given = _given(said, item, repeat)
            if len(given) == len(rater.members):
                made.append(rater.compose(item, question, repeat, given))
        statuses.update(_store(run, rater, question, made))
        without.update(name for _, reply in made for name in reply.details.get("missing", ()))
        tally.done = sum(statuses.values())
        progress(tally)
    return statuses, without


def _store(
    run: Run, rater: Rater, question: Question, made: Sequence[tuple[Request, Reply]]
) -> Counter[str]:
    """Store calls and ratings; a failure that is there already is not written again."""
    stored = run.stored_calls([request.key for request, _ in made])
    failed = set(
        run.rows(
            "SELECT call_key FROM current_rating WHERE rater = ? AND status = 'failed'",
            [rater.name],
        )
    )
    ratings: list[Rating] = []
    attempts: list[tuple[Request, int, Reply]] = []
    statuses: Counter[str] = Counter()
    for request, reply in made:
        rating = read_rating(question, rater, request, reply)
        statuses[rating.status] += 1
        if rating.status == "failed" and (request.key,) in failed:
            continue
        ratings.append(rating)
        if request.key not in stored:
            attempts.append((request, 0, reply))
    run.add_ratings(ratings, attempts, rater.name)
    return statuses
