"""The rating page: a rater's sitting over HTTP, and nothing of what is rated but its text.

What a rater is sent is listed here whole, in the models below: contexts, the own answers' progress,
the rubric. Steps have keys that tell neither item nor repeat. The last question is sent when it
is asked, not before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from autointerp.apps.service._access import COOKIE_DAYS, Access, Rater, Service
from autointerp.apps.service._pages import ASSETS, asset, page
from autointerp.apps.service._problems import Problem
from autointerp.apps.service._tokens import place_label, service_folder
from autointerp.apps.terminal.words import (
    GUESS_KEYS,
    GUESS_QUESTION,
    GUESS_WORDS,
    SKIP_REASONS,
    duration,
    feedback_words,
    guess_intro_words,
    level_words,
    progress_words,
    rubric_words,
)
from autointerp.errors import BadInput, RunLocked
from autointerp.files import PRIVATE_FILE
from autointerp.people.ingest import journals_folder
from autointerp.people.invitations import join, joined
from autointerp.people.machine import DECLINABLE, many_words
from autointerp.people.seats import Deed, Doing, Outcome, Seat, Seating
from autointerp.people.session import Step, answer_keys, typed_in_full
from autointerp.text import ON_PAGE, visible

FOLDER = ASSETS / "rating"
MOST_DEEDS = 50  # in one request
MOST_HELD = 100  # steps that a page says it holds, so that they are not sent again
LONGEST_ID = 200  # of somebody who comes by a crowd platform
# What stands in place of an id where no platform has put one: that of the link that we print, or
# its own, as {{%PROLIFIC_PID%}} and ${workerId}. By one of these, all people would be one person.
UNFILLED = re.compile(r"ID|.*[{}<>\[\]$%].*", re.DOTALL)
DAYS_OF_A_PLACE = 30

router = APIRouter(prefix="/rate", tags=["rating"])


class ShownContext(BaseModel):
    """A context: its tokens, and 0 to 10 for each where the rubric shows how strongly the unit
    fires."""

    tokens: list[str]
    levels: list[int] | None
    focus: int | None
    before: str = Field("", description="Text before it, for who asks for more.")
    after: str = ""


class ShownStep(BaseModel):
    """One question."""

    key: str
    kind: str = Field(description="training, rating or guess")
    proposed: str | None = Field(description="The description that the rubric asks about.")
    description: str = Field(description="What the rater has written of it.")
    widened: bool
    contexts: list[ShownContext]


class GuessQuestion(BaseModel):
    """The last question, sent when it is asked."""

    title: str
    intro: str
    answers: list[tuple[str, str, str]] = Field(description="Key, value and words of each.")


class PartLeft(BaseModel):
    """A part of the sitting that may be left out."""

    part: str
    words: str
    left: int
    declined: bool


class State(BaseModel):
    """Where a sitting stands."""

    sitting: str = Field(description="The same each time; a page keeps its unsent answers by it.")
    phase: str | None
    progress: str
    done: int
    total: int
    left: int
    work: str = Field(description="Time that what is left takes, in words.")
    begun: bool
    parts: list[PartLeft]
    to_rate: int
    last: str | None = Field(description="Key of the answer that may be taken back.")
    order: list[str] = Field(description="Keys of the present question and of some ahead.")
    steps: list[ShownStep] = Field(description="Those of them that the page does not hold.")
    guess: GuessQuestion | None = None
    consent: str = Field("", description="Text to be agreed to before anything is shown.")
    finished: bool = False
    code: str = ""
    return_url: str = ""


class Level(BaseModel):
    """A level of the scale."""

    key: str
    score: int
    name: str
    label: str


class RatingQuestion(BaseModel):
    """What is asked of every item."""

    title: str
    rubric: str
    levels: list[Level]
    typed: bool = Field(description="Whether an answer is typed and then given by Enter.")
    skip_reasons: list[str]


class SentDeed(BaseModel):
    """One thing that the rater did."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    step: str = Field(max_length=64)
    verb: Doing
    score: int | None = None
    text: str = Field("", max_length=2000)
    seconds: float = Field(0.0, ge=0, le=86_400, allow_inf_nan=False)


class Deeds(BaseModel):
    """What the rater did, in order."""

    deeds: list[SentDeed] = Field(max_length=MOST_DEEDS)
    held: list[str] = Field([], max_length=MOST_HELD, description="Keys of steps that it holds.")


class Feedback(BaseModel):
    """What is said after a practice item."""

    words: str
    right: bool


class DeedOutcome(BaseModel):
    """What became of a deed: on the disk, or refused and why."""

    id: str
    refused: str = ""
    feedback: Feedback | None = None


class Answered(BaseModel):
    """What became of each deed, and where the sitting stands after them."""

    outcomes: list[DeedOutcome]
    state: State


class Seats:
    """The seatings of all runs of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_run: dict[Path, Seating] = {}

    def of(self, run: Path) -> Seating:
        with self._lock:
            if run not in self._by_run:
                self._by_run[run] = Seating(journals_folder(run))
            return self._by_run[run]

    def close(self) -> None:
        with self._lock:
            for seating in self._by_run.values():
                seating.close()
            self._by_run.clear()


@contextlib.asynccontextmanager
async def opened(service: Service) -> AsyncIterator[None]:
    """Keep journals open while the server runs; release them when it stops."""
    seats = SEATS.setdefault(service.runs, Seats())
    try:
        yield
    finally:
        seats.close()
        SEATS.pop(service.runs, None)


SEATS: dict[Path, Seats] = {}  # of the servers in this process, by their folder of runs


def seat_of(rater: Access) -> Seat:
    """Return a rater's seat. Raises Problem where it is taken, or the invitation names none."""
    name = rater.details.get("journal", "")
    path = journals_folder(rater.run) / Path(name).name
    if not name or not path.is_file():
        raise Problem(404, "this invitation has no sitting; ask for another link")
    seats = SEATS.setdefault(rater.service.runs, Seats())
    try:
        return seats.of(rater.run).seat(path, rater.name)
    except RunLocked:
        raise Problem(
            409, "this sitting is open in a terminal or another server; finish there, then reload"
        ) from None
    except BadInput:
        raise Problem(409, "this sitting cannot be read; tell who invited you") from None


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def sitting(rater: Rater, request: Request) -> Response:
    """The page; who comes by an open invitation is given a place first."""
    if "invitation" in rater.details:
        return _give_place(rater, request)
    seat_of(rater)  # a link that leads nowhere says so at once
    return page("rating.html", rater, FOLDER)


@router.get("/files/{name}", include_in_schema=False)
async def file(name: str, request: Request, rater: Rater) -> Response:
    """A script or style of the page."""
    return asset(request, name, FOLDER)


@router.get("/question")
def question(rater: Rater) -> RatingQuestion:
    """What is asked of every item: the rubric, as people read it."""
    rubric = seat_of(rater).session.rubric
    keys = answer_keys(rubric)
    names = level_words(rubric)
    labels = dict(rubric.scale)
    return RatingQuestion(
        title=visible(rubric.title, ON_PAGE),
        rubric="\n".join(visible(line, ON_PAGE) for line in rubric_words(rubric, True).split("\n")),
        levels=[
            Level(
                key=key,
                score=score,
                name=visible(names[key], ON_PAGE),
                label=visible(labels[score], ON_PAGE),
            )
            for key, score in keys.items()
        ],
        typed=typed_in_full(keys),
        skip_reasons=list(SKIP_REASONS),
    )


@router.get("/state")
def state(rater: Rater) -> State:
    """Where the sitting stands: the present question, some ahead, and progress."""
    return state_of(seat_of(rater), rater)


@router.post("/consent")
def consent(rater: Rater) -> State:
    """Agree to the text of the invitation; it is on the disk when this is answered."""
    seat = seat_of(rater)
    text = rater.details.get("consent", "")
    if text:
        seat.consent(_digest(text))
    return state_of(seat, rater)


@router.post("/deeds")
def deeds(sent: Deeds, rater: Rater) -> Answered:
    """Take what the rater did, in order; what is acknowledged is on the disk.

    The same id may be sent again, as often as one likes: it is written once.
    """
    seat = seat_of(rater)
    if not _agreed(seat, rater):
        raise Problem(403, "nothing is taken before you agree to the text; load the page again")
    outcomes = []
    for one in sent.deeds:
        outcome = seat.do(Deed(one.id, one.step, one.verb, one.score, one.text, one.seconds))
        outcomes.append(_outcome(seat, outcome))
    return Answered(outcomes=outcomes, state=state_of(seat, rater, frozenset(sent.held)))


# ----------------------------------------------------------------------------------- inside


def state_of(seat: Seat, rater: Access, held: frozenset[str] = frozenset()) -> State:
    """Return where a sitting stands, with no more than its rater may know; without the text of
    steps that are `held`."""
    machine = seat.machine
    text = rater.details.get("consent", "")
    agreed = _agreed(seat, rater)
    steps = seat.ahead() if agreed else []
    progress = machine.progress
    parts = machine.parts
    is_guess = bool(steps) and steps[0].kind == "guess"
    last = machine.last if machine.can_undo else None
    finished = agreed and machine.step is None
    return State(
        sitting=seat.name,
        phase=progress.phase,
        progress=progress_words(progress),
        done=progress.done,
        total=progress.total,
        left=machine.left,
        work=duration(progress.left_s),
        begun=bool(machine.counts),
        parts=[
            PartLeft(
                part=part,
                words=many_words(part, parts[part]),
                left=parts[part],
                declined=part in machine.declined,
            )
            for part in DECLINABLE
            if parts[part]
        ],
        to_rate=parts["ratings"],
        last=None if last is None else seat.key(last),
        order=[seat.key(step) for step in steps],
        steps=[_shown(seat, step) for step in steps if seat.key(step) not in held],
        guess=_guess_question() if is_guess else None,
        consent="" if agreed else text,
        finished=finished,
        code=rater.details.get("code", "") if finished else "",
        return_url=rater.details.get("return_url", "") if finished else "",
    )


def _shown(seat: Seat, step: Step) -> ShownStep:
    item = seat.session.by_id[step.item]
    around = seat.session.around.get(step.item, ())
    contexts = []
    for place, context in enumerate(item.contexts):
        before, after = around[place] if around else ("", "")
        contexts.append(
            ShownContext(
                tokens=[visible(token, ON_PAGE) for token in context.tokens],
                levels=None
                if context.activations is None
                else [round(level) for level in context.activations],
                focus=context.focus,
                before=visible(before, ON_PAGE),
                after=visible(after, ON_PAGE),
            )
        )
    proposed = item.description
    return ShownStep(
        key=seat.key(step),
        kind=step.kind,
        proposed=None if proposed is None else visible(proposed, ON_PAGE),
        description=seat.machine.description_of(step),
        widened=seat.machine.is_widened(step),
        contexts=contexts,
    )


def _guess_question() -> GuessQuestion:
    return GuessQuestion(
        title=GUESS_QUESTION,
        intro=guess_intro_words(),
        answers=[(key, guess, GUESS_WORDS[guess]) for key, guess in GUESS_KEYS.items()],
    )


def _outcome(seat: Seat, outcome: Outcome) -> DeedOutcome:
    feedback = None
    if outcome.feedback is not None:
        words = feedback_words(seat.session.rubric, outcome.feedback, outcome.given)
        feedback = Feedback(
            words="\n".join(visible(line, ON_PAGE) for line in words.split("\n")),
            right=outcome.given == outcome.feedback.score,
        )
    return DeedOutcome(id=outcome.id, refused=outcome.refused, feedback=feedback)


def _agreed(seat: Seat, rater: Access) -> bool:
    text = rater.details.get("consent", "")
    return not text or seat.machine.has_consented(_digest(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_places = threading.Lock()


def _give_place(rater: Access, request: Request) -> Response:
    """Begin or take up the journal of somebody who came by an open invitation.

    The id that the platform gave stays out of journals and reports: the rater's name is drawn from
    it by a hash, and a private file beside the tokens says whose it is.
    """
    parameter, invitation = rater.details["parameter"], rater.details["invitation"]
    given = request.query_params.get(parameter, "").strip()
    if not given or len(given) > LONGEST_ID:
        raise Problem(
            400, f"the address lacks {parameter}, which says who you are; open it from the platform"
        )
    if UNFILLED.fullmatch(given):
        raise Problem(
            400,
            f"nobody has put your id in place of what {parameter} is in the address; open it from "
            "the platform, or tell who invited you",
        )
    text = f"{invitation}/{given}"
    name = f"human:p-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    with _places:
        stem = invitation.removesuffix(".jsonl")
        known = journals_folder(rater.run) / f"{name.replace(':', '-')}.{stem}.jsonl"
        is_new = not known.exists()
        if is_new and joined(rater.run, invitation) >= int(rater.details.get("places", "1")):
            raise Problem(403, "all places are taken; thank you for coming")
        try:
            path = join(rater.run, invitation, name)
        except BadInput:
            raise Problem(404, "this invitation is gone; tell who invited you") from None
        if is_new:
            _note_participant(rater, invitation, name, parameter, given)
    details = {n: rater.details.get(n, "") for n in ("code", "return_url", "consent")}
    _, token = rater.service.tokens.issue(
        "rater",
        run=rater.run.name,
        rater=name,
        label=place_label(invitation),
        days=DAYS_OF_A_PLACE,
        details={**details, "journal": path.name},
    )
    response = RedirectResponse("/rate/", 303)
    response.set_cookie(
        rater.service.cookie("rater"),
        token,
        max_age=COOKIE_DAYS * 24 * 3600,
        httponly=True,
        samesite="lax",
        secure=rater.service.is_secure,
    )
    return response


def _note_participant(
    rater: Access, invitation: str, name: str, parameter: str, given: str
) -> None:
    """Write down, on the disk, whose name in the ratings is whose id on the platform."""
    path = service_folder(rater.service.runs) / "participants.jsonl"
    fields = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": rater.run.name,
        "invitation": invitation,
        "rater": name,
        parameter: given,
    }
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
    try:
        os.write(handle, json.dumps(cast(Any, fields)).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
