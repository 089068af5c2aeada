import dataclasses
import datetime
import shutil
from collections import Counter

import pytest

from autointerp.errors import StorageError
from autointerp.people.journal import open_journal, read_journal
from autointerp.people.machine import IDLE_S, Machine
from autointerp.people.session import Step, steps_for


def test_a_session_runs_through_training_ratings_and_guesses(make_session, journal_of):
    with journal_of(make_session(2, training=1)) as journal:
        machine = Machine(journal)
        kinds = []
        while machine.step is not None:
            kinds.append(machine.step.kind)
            if machine.step.kind == "guess":
                machine.guess("unknown")
            else:
                machine.rate(4)
                machine.go_on()
    assert kinds == ["training", "rating", "rating", "guess", "guess"]
    assert machine.counts == {"training": 1, "score": 2, "guess": 2}


def test_the_machine_says_the_answer_of_a_practice_item_and_of_no_other(make_session, journal_of):
    with journal_of(make_session(1, training=1)) as journal:
        machine = Machine(journal)
        machine.rate(2)
        assert machine.feedback is not None
        assert machine.feedback.score == 5
        machine.go_on()
        machine.rate(2)
        assert machine.feedback is None


def test_an_answer_taken_back_is_asked_again_and_nothing_is_erased(make_session, journal_of):
    with journal_of(make_session(3)) as journal:
        machine = Machine(journal)
        first = machine.step
        machine.rate(1)
        assert machine.undo()
        assert machine.step == first
        machine.rate(5)
        assert [(e.verb, e.score) for e in journal.entries] == [
            ("score", 1),
            ("undo", None),
            ("score", 5),
        ]
        assert machine.counts == {"score": 1}


def test_nothing_is_taken_back_out_of_another_phase(make_session, journal_of):
    with journal_of(make_session(1, training=1)) as journal:
        machine = Machine(journal)
        assert not machine.undo()
        machine.rate(3)
        machine.go_on()
        assert not machine.undo()  # practice is told its answer
        machine.rate(3)
        assert machine.step is not None
        assert machine.step.kind == "guess"
        assert not machine.undo()  # knowing what is asked now might change a rating


def test_a_session_goes_on_exactly_where_it_stopped(make_session, journal_of):
    session = make_session(6, repeat_share=0.5)
    with journal_of(session) as journal:
        machine = Machine(journal)
        machine.rate(2)
        machine.describe("cats and dogs")
        left, step = machine.left, machine.step
    with journal_of(session) as journal:
        machine = Machine(journal)
        assert (machine.left, machine.step) == (left, step)
        assert machine.description == "cats and dogs"


def test_what_is_cut_off_anywhere_loses_at_most_the_answer_in_writing(
    make_session, journal_of, tmp_path
):
    session = make_session(3)
    with journal_of(session) as journal:
        machine = Machine(journal)
        for score in (1, 2, 3):
            machine.rate(score)
        path = journal.path
    content = path.read_bytes()
    head = content.index(b"\n") + 1
    for end in range(head, len(content) + 1):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(content[:end])
        whole = content[head:end].count(b"\n")
        with open_journal(torn, "human:ann") as journal:
            machine = Machine(journal)
            assert machine.counts["score"] == whole
            if machine.step is not None and machine.step.kind == "rating":
                machine.rate(5)  # the line after a torn one is whole
        assert len(read_journal(torn).entries["human:ann"]) == min(whole + 1, 3)


def test_a_disk_that_is_full_stops_before_the_next_item(make_session, journal_of, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with journal_of(make_session(2)) as journal:
        machine = Machine(journal)
        machine.rate(1)
        step, size = machine.step, journal.path.stat().st_size
        monkeypatch.setattr("autointerp.people.journal.os.fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            machine.rate(2)
        assert machine.step == step
        assert journal.path.stat().st_size == size
        monkeypatch.undo()
        machine.rate(2)
        assert machine.counts == {"score": 2}


def test_pauses_and_idle_time_are_not_counted(make_session, journal_of, clock):
    with journal_of(make_session(3)) as journal:
        machine = Machine(journal, clock)
        clock.seconds += 10
        machine.pause()
        clock.seconds += 5000
        machine.resume()
        clock.seconds += 5
        machine.rate(3)
        assert journal.entries[-1].seconds == 15
        clock.seconds += 10 * IDLE_S
        machine.rate(3)
        assert journal.entries[-1].seconds == IDLE_S


@pytest.mark.parametrize("jump_hours", [-10_000, 10_000])
def test_a_clock_that_jumps_changes_stamps_and_nothing_else(
    make_session, journal_of, clock, jump_hours
):
    with journal_of(make_session(3)) as journal:
        machine = Machine(journal, clock)
        clock.seconds += 7
        machine.rate(3)
        clock.wall += datetime.timedelta(hours=jump_hours)
        clock.seconds += 9
        machine.rate(4)
        clock.seconds += 8
        machine.rate(4)
        assert [(e.seq, e.seconds) for e in journal.entries] == [(0, 7), (1, 9), (2, 8)]
        assert machine.progress.phase == "guess"


def test_progress_tells_pace_and_time_left(make_session, journal_of, clock):
    with journal_of(make_session(6, to_guess=())) as journal:
        machine = Machine(journal, clock)
        assert machine.progress.per_minute is None
        assert machine.progress.left_s == 6 * 30  # a typical rating takes half a minute
        for seconds in (10, 20, 60):
            clock.seconds += seconds
            machine.rate(3)
        progress = machine.progress
        assert (progress.done, progress.total) == (3, 6)
        assert progress.per_minute == 2  # the mean of 10, 20 and 60 s is 30 s
        assert progress.left_s == 90


def test_answers_that_nobody_can_have_read_for_make_no_pace(make_session, journal_of, clock):
    with journal_of(make_session(9, to_guess=())) as journal:
        machine = Machine(journal, clock)
        for _ in range(6):  # typed ahead, or piped in
            clock.seconds += 0.001
            machine.rate(3)
        assert machine.progress.per_minute is None
        assert machine.progress.left_s == 3 * 30


def test_reading_the_rubric_is_not_the_first_items_time(make_session, journal_of, clock):
    with journal_of(make_session(2)) as journal:
        machine = Machine(journal, clock)
        clock.seconds += 100
        machine.go_on()
        clock.seconds += 6
        machine.rate(3)
        assert journal.entries[-1].seconds == 6


def test_a_part_can_be_left_out_and_taken_up_again_in_a_later_sitting(make_session, journal_of):
    session = make_session(8, training=2, repeat_share=0.5)
    with journal_of(session) as journal:
        machine = Machine(journal)
        assert machine.parts == {"practice": 2, "ratings": 8, "repeats": 4, "guesses": 8}
        assert machine.decline("practice")
        assert machine.decline("repeats")
        assert machine.decline("guesses")
        assert not machine.decline("guesses")
        assert not machine.decline("ratings")  # that would be no sitting
        assert machine.left == 8
        for _ in range(8):
            machine.rate(3)
        assert machine.step is None
        assert machine.counts == {"score": 8}
    with journal_of(session) as journal:
        machine = Machine(journal)
        assert machine.declined == {"practice", "repeats", "guesses"}
        assert machine.accept("guesses")
        assert {step.kind for step in machine.upcoming} == {"guess"}


def test_guesses_have_a_way_out_when_they_have_begun(make_session, journal_of):
    with journal_of(make_session(3)) as journal:
        machine = Machine(journal)
        for _ in range(3):
            machine.rate(3)
        machine.guess("unknown")
        machine.decline("guesses")
        assert machine.step is None
        assert machine.counts == {"score": 3, "guess": 1}


def test_more_of_a_context_is_noted_once_and_changes_no_answer(make_session, journal_of):
    session = make_session(2)
    session = dataclasses.replace(session, around={"item000": (("before", "after"),) * 10})
    with journal_of(session) as journal:
        machine = Machine(journal)
        seen = {}
        while machine.step is not None and machine.step.kind == "rating":
            item = machine.step.item
            seen[item] = (machine.widen(), machine.widen())
            assert machine.widened == seen[item][0]
            machine.rate(3)
        assert seen == {"item000": (True, True), "item001": (False, False)}
        assert [e.verb for e in journal.entries].count("widen") == 1
        assert machine.counts == {"score": 2}


def test_an_overlap_fills_evenly_however_early_people_stop(make_session, journal_of):
    # 5 people of 30 items: 3 each by 7 answers, and one that has 2; no item has 5 while one has 1.
    session = make_session(30, to_guess=(), overlap=5, repeat_share=0.2)
    rated: Counter[str] = Counter()
    for name, answers in (("ann", 20), ("bob", 11), ("cy", 30), ("di", 7), ("eve", 13)):
        with journal_of(session, f"human:{name}") as journal:
            machine = Machine(journal, rated_by_others=lambda seen=Counter(rated): seen)
            given = 0
            while given < answers and machine.step is not None:
                step = machine.step
                machine.rate(3)
                if step.repeat == 0:
                    rated[step.item] += 1
                    given += 1
        assert max(rated.values()) - min(rated[name] for name in session.to_rate) <= 1


def test_an_evened_order_keeps_repeats_apart_and_gold_in_its_places(make_session, journal_of):
    gold = tuple(f"item{i:03}" for i in range(0, 30, 5))
    session = make_session(30, to_guess=(), overlap=2, always=gold, repeat_share=0.3)
    counts = {f"item{i:03}": i % 2 for i in range(30)} | dict.fromkeys(gold, 9)
    with journal_of(session) as journal:
        machine = Machine(journal, rated_by_others=lambda: counts)
        steps = []
        while machine.step is not None:
            steps.append(machine.step)
            machine.rate(3)
    order = [step.item for step in steps if step.repeat == 0]
    assert sorted(order) == sorted(session.to_rate)
    own = [step.item for step in steps_for(session, "human:ann") if step.repeat == 0]
    assert [order.index(item) for item in gold] == [own.index(item) for item in gold]
    repeats = [(step.item, place) for place, step in enumerate(steps) if step.repeat == 1]
    assert len(repeats) == 9
    first = {step.item: place for place, step in enumerate(steps) if step.repeat == 0}
    assert all(place - first[item] > 10 for item, place in repeats)


def test_what_is_taken_back_is_asked_next_in_an_evened_order_too(make_session, journal_of):
    counts: dict[str, int] = {}
    session = make_session(9, overlap=3)
    with journal_of(session) as journal:
        machine = Machine(journal, rated_by_others=lambda: counts)
        machine.rate(3)
        step = machine.step
        machine.rate(3)
        counts[step.item] = 2
        machine.undo()
        assert machine.step == step
    with journal_of(session) as journal:
        assert Machine(journal, rated_by_others=lambda: counts).step == step


def test_items_that_enough_others_have_rated_are_passed_over(make_session, journal_of):
    others = {"item000": 2, "item001": 2, "item002": 1}
    session = make_session(4, overlap=2, always=("item001",))
    with journal_of(session) as journal:
        machine = Machine(journal, rated_by_others=lambda: others)
        asked = set()
        while machine.step is not None and machine.step.kind == "rating":
            asked.add(machine.step.item)
            machine.rate(3)
        assert asked == {"item001", "item002", "item003"}  # gold is everybody's
        others["item003"] = 2  # somebody else comes later: what is given stands
        assert machine.counts["score"] == 3


def test_repeats_and_guesses_of_skipped_items_are_not_asked(make_session, journal_of):
    with journal_of(make_session(5, repeat_share=1.0)) as journal:
        machine = Machine(journal)
        skipped = machine.step.item
        machine.skip("broken or unreadable text")
        while machine.step is not None and machine.step.kind == "rating":
            assert machine.step.item != skipped
            machine.rate(3)
        assert machine.left == 4
        assert Step("guess", skipped) not in machine._remaining


@pytest.mark.parametrize(
    "wrong",
    [
        lambda machine: machine.rate(6),
        lambda machine: machine.guess("feature"),
        lambda machine: machine.skip("  "),
    ],
)
def test_answers_that_do_not_fit_are_refused_and_not_written(make_session, journal_of, wrong):
    with journal_of(make_session(2)) as journal:
        machine = Machine(journal)
        with pytest.raises(ValueError, match=r"\w"):
            wrong(machine)
        assert journal.entries == []


def test_a_copied_journal_is_a_journal(make_session, journal_of, tmp_path):
    with journal_of(make_session(2)) as journal:
        Machine(journal).rate(3)
        shutil.copy(journal.path, tmp_path / "copy.jsonl")
    with open_journal(tmp_path / "copy.jsonl", "human:ann") as journal:
        assert Machine(journal).counts == {"score": 1}
