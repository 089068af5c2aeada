"""Where a sitting stands: a plain state machine that screen and lines both drive.

All that it knows follows from the session and the journal's entries, so that pausing and
resuming a session is no special case. Every answer is in the journal before the machine
moves on.
"""

from __future__ import annotations

import datetime
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autointerp.people.journal import Entry, Journal
from autointerp.people.session import (
    Around,
    Part,
    Step,
    StepKind,
    Training,
    answer_keys,
    gap_of,
    steps_for,
)
from autointerp.questions.guess import GUESSES
from autointerp.records import Item
from autointerp.text import count, without_surrogates

IDLE_S = 120.0  # without a key for longer than this, the rest is not counted as work
RECENT = 20  # answers from which the pace is taken
FEWEST = 3  # answers that make a pace
FASTEST_S = 0.5  # nobody reads an item in less: such an answer was typed ahead
TYPICAL_S: dict[StepKind, float] = {"training": 30.0, "rating": 30.0, "guess": 10.0}
# What a rater may leave out as a whole, as the step that stands for all of it.
DECLINABLE: dict[Part, Step] = {
    "practice": Step("training", ""),
    "repeats": Step("rating", "", 1),
    "guesses": Step("guess", ""),
}


class Clock(Protocol):
    """Two clocks: one that only goes forward, for durations; one that people set, for stamps."""

    def monotonic(self) -> float: ...

    def now(self) -> datetime.datetime: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Progress:
    """How far a phase has come.

    Attributes:
        done, total: Steps of the present phase.
        per_minute: None before there are `FEWEST` answers that somebody can have thought about.
        left_s: Seconds of work left in the session, as answers have gone so far.
    """

    phase: StepKind | None
    done: int
    total: int
    per_minute: float | None
    left_s: float


@dataclass
class _Answers:
    """What the journal amounts to."""

    given: dict[Step, Entry] = field(default_factory=dict)
    order: list[Step] = field(default_factory=list)
    descriptions: dict[Step, str] = field(default_factory=dict)
    declined: set[Part] = field(default_factory=set)
    widened: set[Step] = field(default_factory=set)
    consents: set[str] = field(default_factory=set)
    again: Step | None = None  # taken back last, so it is asked next

    def add(self, entry: Entry) -> None:
        step = Step(entry.kind, entry.item, entry.repeat)
        if not entry.item:  # a whole part
            if entry.verb == "consent":
                self.consents.add(entry.text or "")
            elif entry.verb == "decline":
                self.declined.add(step.part)
            else:
                self.declined.discard(step.part)
        elif entry.verb == "describe":
            self.descriptions[step] = entry.text or ""
        elif entry.verb == "widen":
            self.widened.add(step)
        elif entry.verb == "undo":
            self.given.pop(step, None)
            if step in self.order:
                self.order.remove(step)
            self.again = step
        else:
            self.given[step] = entry
            self.order.append(step)
            self.again = None


class Machine:
    """A sitting. `step` is what is asked now; None when all is done."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock | None = None,
        rated_by_others: Callable[[], Mapping[str, int]] = Counter,
    ) -> None:
        self.session = journal.session
        self.rater = journal.rater
        self.keys = answer_keys(self.session.rubric)
        self.paused = False
        self.feedback: Training | None = None
        self._journal = journal
        self._clock = clock or SystemClock()
        self._others = rated_by_others
        self._steps = steps_for(self.session, self.rater)
        self._to_rate = frozenset(self.session.to_rate)
        self._training = {one.item: one for one in self.session.training}
        self._answers = _Answers()
        for entry in journal.entries:
            self._answers.add(entry)
        self._spent_s = 0.0
        self._last_key = self._clock.monotonic()
        self.sent_as: str | None = None  # the id of what is written next, where it has one
        self._advance()

    # --------------------------------------------------------------------------- looking

    @property
    def step(self) -> Step | None:
        return self._remaining[0] if self._remaining else None

    @property
    def item(self) -> Item | None:
        return self.session.by_id[self.step.item] if self.step else None

    @property
    def left(self) -> int:
        """Questions still to be asked."""
        return len(self._remaining)

    @property
    def upcoming(self) -> tuple[Step, ...]:
        """The steps still to be asked, in order as it is now: the first one is `step`."""
        return tuple(self._remaining)

    @property
    def parts(self) -> Counter[Part]:
        """Questions still to be asked of each part, those that were declined included."""
        return Counter(step.part for step in self._wanted(self._rated_by_others()))

    @property
    def declined(self) -> frozenset[Part]:
        """Parts that the rater has left out."""
        return frozenset(self._answers.declined)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Every step of the session, in the rater's own order."""
        return self._steps

    @property
    def again(self) -> Step | None:
        """The step whose answer was taken back last; it is asked next."""
        return self._answers.again

    @property
    def last(self) -> Step | None:
        """The step that was answered last and may be taken back; None where there is none."""
        return self._last()

    def training_of(self, step: Step) -> Training | None:
        """Return what is said after a practice item was answered; None of any other."""
        return self._training.get(step.item) if step.kind == "training" else None

    def has_consented(self, digest: str) -> bool:
        """Whether the rater has agreed to the text with this digest."""
        return digest in self._answers.consents

    def is_answered(self, step: Step) -> bool:
        """Whether the rater's answer to a step stands."""
        return step in self._answers.given

    @property
    def around(self) -> tuple[Around, ...]:
        """The text round each context of the present item; empty where there is no more of it."""
        return self.session.around.get(self.step.item, ()) if self.step else ()

    @property
    def widened(self) -> bool:
        """Whether the rater has asked for more of the present item's contexts."""
        return self.step is not None and self.is_widened(self.step)

    def is_widened(self, step: Step) -> bool:
        """Whether the rater has asked for more of the contexts of a step."""
        return step in self._answers.widened

    @property
    def description(self) -> str:
        """What the rater has written of the present item."""
        return self.description_of(self.step) if self.step else ""

    def description_of(self, step: Step) -> str:
        """What the rater has written of the item of a step."""
        return self._answers.descriptions.get(step, "")

    @property
    def can_undo(self) -> bool:
        """Whether the answer before this one may be taken back: not out of another phase."""
        last = self._last()
        return last is not None and self.step is not None and self.step.kind == last.kind

    @property
    def progress(self) -> Progress:
        phase = self.step.kind if self.step else None
        done = sum(step.kind == phase for step in self._answers.given)
        left = Counter(step.kind for step in self._remaining)
        pace = self._pace_s(phase) if phase else None
        return Progress(
            phase=phase,
            done=done,
            total=done + (left[phase] if phase else 0),
            per_minute=60 / pace if pace else None,
            left_s=sum((self._pace_s(k) or TYPICAL_S[k]) * n for k, n in left.items()),
        )

    @property
    def counts(self) -> Counter[str]:
        """Answers that stand: `score`, `skip`, `guess` and `training`."""
        return Counter(
            entry.kind if entry.kind != "rating" else entry.verb
            for entry in self._answers.given.values()
        )

    # --------------------------------------------------------------------------- answering

    def touch(self) -> None:
        """A key was pressed: the time since the last one was work, up to `IDLE_S`."""
        now = self._clock.monotonic()
        if not self.paused:
            self._spent_s += min(max(0.0, now - self._last_key), IDLE_S)
        self._last_key = now

    def rate(self, score: int) -> None:
        """Give the present item a score.

        Raises ValueError for a score off the scale or while a guess is asked.
        """
        step = self._expect("rating", "training")
        if score not in self.session.rubric.scores:
            raise ValueError(f"{score} is not on the scale {self.session.rubric.scores}")
        self._answer(step, "score", score=score)
        self.feedback = self._training.get(step.item) if step.kind == "training" else None

    def skip(self, reason: str) -> None:
        """Pass the present item over, saying why."""
        step = self._expect("rating")
        if not reason.strip():
            raise ValueError("say why it is skipped")
        self._answer(step, "skip", text=without_surrogates(reason.strip()))

    def guess(self, guess: str) -> None:
        """Answer the blinding check."""
        step = self._expect("guess")
        if guess not in GUESSES:
            raise ValueError(f"{guess} is none of {GUESSES}")
        self._answer(step, "guess", text=guess)

    def describe(self, text: str) -> None:
        """Write down what the present item is about; it goes with its score. Empty clears it."""
        step = self._expect("rating", "training")
        self._write(step, "describe", text=without_surrogates(" ".join(text.split())))

    def turn_to(self, step: Step) -> bool:
        """Make a step the present one, out of order; False where it is answered or left out.

        A page that was cut off has asked it already, whatever would come first by now.
        """
        if step not in self._steps or self.is_answered(step) or step.part in self.declined:
            return False
        if step in self._remaining:
            self._remaining.remove(step)
        self._remaining.insert(0, step)
        return True

    def look_again(self) -> None:
        """Order what remains by what the others have rated by now."""
        self._advance()

    def consent(self, digest: str) -> None:
        """Note that the rater has agreed to the text with this digest."""
        if not self.has_consented(digest):
            self._write(DECLINABLE["practice"], "consent", text=digest)

    def widen(self) -> bool:
        """Note that more of the present item's contexts is shown; False where there is no more.

        A model has not seen it, so that the record must say who has.
        """
        if self.step is None or not self.around:
            return False
        if not self.widened:
            self.touch()
            self._write(self.step, "widen")
        return True

    def decline(self, part: Part) -> bool:
        """Leave out what remains of a part; False where nothing does, or it cannot be left out."""
        if part not in DECLINABLE or part in self.declined or not self.parts[part]:
            return False
        self._write(DECLINABLE[part], "decline")
        self._advance()
        return True

    def accept(self, part: Part) -> bool:
        """Take up again what was left out; False where it was not."""
        if part not in self.declined:
            return False
        self._write(DECLINABLE[part], "undo")
        self._advance()
        return True

    def undo(self) -> bool:
        """Take back the answer before this one and ask it again; False where there is none."""
        last = self._last()
        if last is None or not self.can_undo:
            return False
        self._write(last, "undo")
        self._advance()
        return True

    def go_on(self) -> None:
        """Leave a page of words, such as the explanation of a training item: the time that it took
        is not the next item's."""
        self.touch()
        self.feedback = None
        self._spent_s = 0.0

    def pause(self) -> None:
        self.touch()
        self.paused = True

    def resume(self) -> None:
        self.touch()
        self.paused = False

    # ------------------------------------------------------------------------------ inside

    def _expect(self, *kinds: StepKind) -> Step:
        if self.step is None or self.step.kind not in kinds:
            raise ValueError(f"nothing to answer with this: {self.step}")
        return self.step

    def _answer(
        self, step: Step, verb: str, score: int | None = None, text: str | None = None
    ) -> None:
        self.touch()
        self._write(step, verb, score=score, text=text, seconds=self._spent_s)
        self._spent_s = 0.0
        self._advance()

    def _write(
        self,
        step: Step,
        verb: str,
        score: int | None = None,
        text: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        entry = self._journal.append(
            step.kind,
            verb,  # type: ignore[arg-type]
            step.item,
            step.repeat,
            seconds=seconds,
            score=score,
            text=text,
            at=self._clock.now(),
            answer=self.sent_as,
        )
        self.sent_as = None
        self._answers.add(entry)

    def _last(self) -> Step | None:
        """Return the step answered last; training shows its answer and cannot be taken back."""
        last = self._answers.order[-1] if self._answers.order else None
        return None if last is None or last.kind == "training" else last

    def _rated_by_others(self) -> Counter[str]:
        """Return how many others have rated each item; nothing where that decides nothing."""
        if not self.session.overlap:
            return Counter()
        return Counter(self._others()) + Counter(self.session.rated)

    def _advance(self) -> None:
        counts = self._rated_by_others()
        remaining = [s for s in self._wanted(counts) if s.part not in self._answers.declined]
        if self.session.overlap:
            remaining = self._evened(remaining, counts)
        again = self._answers.again
        if again in remaining:
            remaining.remove(again)
            remaining.insert(0, again)
        self._remaining = remaining

    def _wanted(self, counts: Mapping[str, int]) -> list[Step]:
        """Return the steps that are not answered and need to be, in the rater's order."""
        return [
            step
            for step in self._steps
            if step not in self._answers.given and not self._passed_over(step, counts)
        ]

    def _evened(self, remaining: list[Step], counts: Mapping[str, int]) -> list[Step]:
        """Return the steps so that items which fewest people have rated come first.

        Where several people share the items and stop when they like, each item then has as many
        ratings as any other, or one less. Items that everybody rates keep their places, since they
        would stand out behind all others, and a repeat keeps its distance from the first time.
        """
        always = self.session.always

        def is_shared(step: Step) -> bool:
            return step.part == "ratings" and step.item not in always

        firsts = [step for step in self._steps if step.part == "ratings"]
        remains = {step for step in remaining if step.part == "ratings"}
        shared = [step for step in firsts if step in remains and is_shared(step)]
        shared.sort(key=lambda step: counts.get(step.item, 0))  # stable: the rater's own order
        own = deque(step for step in firsts if step in remains and not is_shared(step))
        # How many shared items, and how many first ratings, go before each step in the own order.
        shared_before, firsts_before = self._before(is_shared)
        shared_done = sum(map(is_shared, firsts)) - len(shared)
        firsts_done = len(firsts) - len(remains)
        asked = [step.item for step in self._answers.order if step.kind == "rating"]
        place = {item: at for at, item in reversed(list(enumerate(asked)))}
        gap = gap_of(len(self.session.to_rate))
        at = len(asked)
        waiting = deque(step for step in remaining if step.part == "repeats")
        ratings: list[Step] = []
        queue = deque(shared)
        while queue or own or waiting:
            due = next(
                (
                    step
                    for step in waiting
                    if firsts_before[step] <= firsts_done
                    and step.item in place
                    and at - place[step.item] > gap
                ),
                None,
            )
            if due is None and not queue and not own:
                due = waiting[0]
            if due is not None:
                waiting.remove(due)
                ratings.append(due)
            else:
                is_own = bool(own) and (not queue or shared_before[own[0]] <= shared_done)
                step = own.popleft() if is_own else queue.popleft()
                shared_done += not is_own
                firsts_done += 1
                place[step.item] = at
                ratings.append(step)
            at += 1
        return [
            *(step for step in remaining if step.kind == "training"),
            *ratings,
            *(step for step in remaining if step.kind == "guess"),
        ]

    def _before(self, is_shared: Callable[[Step], bool]) -> tuple[dict[Step, int], dict[Step, int]]:
        """Return how many shared items, and how many first ratings, go before each rating in the
        rater's own order."""
        shared_before: dict[Step, int] = {}
        firsts_before: dict[Step, int] = {}
        shared = firsts = 0
        for step in self._steps:
            shared_before[step], firsts_before[step] = shared, firsts
            shared += is_shared(step)
            firsts += step.part == "ratings"
        return shared_before, firsts_before

    def _passed_over(self, step: Step, counts: Mapping[str, int]) -> bool:
        """Return whether a step need not be asked: enough others have rated it, or the rating
        that it repeats or guesses about was not given."""
        first = Step("rating", step.item)
        if step.kind == "training":
            return False
        if step.kind == "rating" and step.repeat == 0:
            overlap = self.session.overlap
            enough = overlap is not None and counts.get(step.item, 0) >= overlap
            return enough and step.item not in self.session.always
        if step.item not in self._to_rate:
            return False  # rated in an earlier session
        given = self._answers.given.get(first)
        if given is not None:
            return given.verb == "skip"
        return self._passed_over(first, counts)

    def _pace_s(self, kind: StepKind) -> float | None:
        """Return the seconds that an answer takes: the mean of the recent ones without the slowest
        tenth. Answers faster than anybody reads do not count."""
        times = [
            entry.seconds
            for step, entry in self._answers.given.items()
            if step.kind == kind and entry.seconds >= FASTEST_S
        ][-RECENT:]
        if len(times) < FEWEST:
            return None
        times = sorted(times)[: len(times) - len(times) // 10]
        return sum(times) / len(times)


def many_words(part: Part, n: int) -> str:
    """Return so many questions of a part in words, such as `52 quick guesses at the end`."""
    words: dict[Part, tuple[str, str]] = {
        "practice": (
            "item for practice, with its answer shown",
            "items for practice, with the answers shown",
        ),
        "ratings": ("item to rate", "items to rate"),
        "repeats": (
            "of them a second time, unannounced",
            "of them a second time, unannounced",
        ),
        "guesses": ("quick guess at the end", "quick guesses at the end"),
    }
    return count(n, *words[part])


def parts_text(parts: Mapping[Part, int], declined: Collection[Part] = ()) -> str:
    """Return what is to be asked, part by part, such as `113 questions: 52 items to rate, …`."""
    order: tuple[Part, ...] = ("practice", "ratings", "repeats", "guesses")
    asked = {part: parts[part] for part in order if parts.get(part) and part not in declined}
    listed = ", ".join(many_words(part, n) for part, n in asked.items())
    return f"{count(sum(asked.values()), 'question')}: {listed}"
