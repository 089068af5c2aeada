"""People over a line that fails: nothing lost, nothing twice, nothing given away."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadInput, RunLocked, StorageError
from autointerp.people.journal import open_journal, read_journal
from autointerp.people.machine import IDLE_S
from autointerp.people.seats import AHEAD, LEASE_S, Deed, Leases, Seat, Seating, sit_down


@pytest.fixture
def seating(tmp_path: Path):
    made = Seating(tmp_path)
    yield made
    made.close()


def seat_at(seating: Seating, session, rater: str = "human:ann") -> Seat:
    return seating.seat(sit_down(seating.folder, rater, session), rater)


def deed(number: int, step: str, verb: str = "score", **fields) -> Deed:
    if verb == "score":
        fields.setdefault("score", 3)
    return Deed(f"answer-{number:06}", step, verb, **fields)  # type: ignore[arg-type]


def entries(seating: Seating, rater: str = "human:ann"):
    (path,) = seating.folder.glob(f"{rater.replace(':', '-')}.*.jsonl")
    return read_journal(path).entries.get(rater, [])


def test_what_is_sent_twice_is_written_once_also_after_the_server_was_killed(seating, make_session):
    session = make_session(6, training=1)
    seat = seat_at(seating, session)
    practice = deed(0, seat.key(seat.ahead()[0]), score=2)
    first = seat.do(practice)
    assert first.feedback is not None
    assert seat.do(practice) == first
    rating = deed(1, seat.key(seat.ahead()[0]))
    assert seat.do(rating).refused == ""
    seating.close()  # no more than a kill leaves: every line was on the disk
    seating = Seating(seating.folder)
    again = seat_at(seating, session)
    assert again.do(practice) == first
    assert again.do(rating).refused == ""
    assert [entry.answer for entry in entries(seating)] == [practice.id, rating.id]
    assert again.machine.counts == {"training": 1, "score": 1}
    seating.close()


def test_an_answer_is_on_the_disk_before_it_is_acknowledged(seating, make_session, monkeypatch):
    seat = seat_at(seating, make_session(3))
    one = deed(1, seat.key(seat.ahead()[0]))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("autointerp.people.journal.os.fsync", full)
        with pytest.raises(StorageError):
            seat.do(one)
    assert entries(seating) == []
    assert seat.do(one).refused == ""  # sent again once there is room
    assert len(entries(seating)) == 1


def test_answers_that_waited_are_taken_whatever_is_asked_by_now(seating, make_session):
    session = make_session(9, overlap=2)
    ann, bob = (seat_at(seating, session, f"human:{name}") for name in ("ann", "bob"))
    held = ann.ahead()
    for number in range(9):  # bob's answers change what ann would be asked next
        bob.do(deed(number, bob.key(bob.ahead()[0])))
    for number, step in enumerate(reversed(held), 100):
        assert ann.do(deed(number, ann.key(step))).refused == ""
    assert [entry.item for entry in entries(seating)] == [step.item for step in reversed(held)]


def test_a_second_answer_to_a_step_is_refused_and_said(seating, make_session):
    seat = seat_at(seating, make_session(3))
    key = seat.key(seat.ahead()[0])
    assert seat.do(deed(1, key)).refused == ""
    assert seat.do(deed(2, key, score=5)).refused == "answered already"
    assert seat.do(deed(3, "no such step")).refused == "not asked"
    assert seat.do(deed(4, seat.key(seat.ahead()[0]), score=9)).refused == "does not fit"
    assert seat.do(deed(5, seat.key(seat.ahead()[0]), "skip", text=" ")).refused == "does not fit"
    assert [entry.score for entry in entries(seating)] == [3]
    with pytest.raises(BadInput, match="answer id"):
        seat.do(Deed('"},{"', key, "score", 3))


def test_only_the_last_answer_is_taken_back_and_it_is_asked_next(seating, make_session):
    seat = seat_at(seating, make_session(5))
    first, second = seat.ahead()[:2]
    seat.do(deed(1, seat.key(first)))
    seat.do(deed(2, seat.key(second)))
    assert seat.do(deed(3, seat.key(first), "undo")).refused == "not the last answer"
    undo = deed(4, seat.key(second), "undo")
    assert seat.do(undo).refused == ""
    assert seat.do(undo).refused == ""
    assert seat.ahead()[0] == second
    assert seat.machine.counts == {"score": 1}


def test_skips_descriptions_guesses_and_parts_come_by_the_same_way(seating, make_session):
    around = {f"item{i:03}": (("before", "after"),) * 10 for i in range(3)}
    seat = seat_at(seating, dataclasses.replace(make_session(3), around=around))
    key = seat.key(seat.ahead()[0])
    assert seat.do(deed(1, key, "widen")).refused == ""
    assert seat.do(deed(2, key, "describe", text="small\n animals")).refused == ""
    assert seat.do(deed(3, key, "skip", text="unreadable")).refused == ""
    for number in (4, 5):
        seat.do(deed(number, seat.key(seat.ahead()[0])))
    assert {step.kind for step in seat.ahead()} == {"guess"}
    assert seat.do(deed(6, seat.key(seat.ahead()[0]), "guess", text="unknown")).refused == ""
    assert seat.do(deed(7, "guesses", "decline")).refused == ""
    assert seat.ahead() == []
    assert seat.do(deed(8, "guesses", "accept")).refused == ""
    assert seat.do(deed(9, "ratings", "decline")).refused == "not asked"
    verbs = [entry.verb for entry in entries(seating)]
    assert verbs == ["widen", "describe", "skip", "score", "score", "guess", "decline", "undo"]


def test_what_is_handed_out_ahead_tells_no_repeat_and_no_later_question(seating, make_session):
    seat = seat_at(seating, make_session(12, training=2, repeat_share=1.0))
    keys, kinds = [], []
    while seat.ahead():
        steps = seat.ahead()
        assert len({step.kind for step in steps}) == 1
        assert len(steps) <= (1 if steps[0].kind == "training" else AHEAD)
        kinds.append(steps[0].kind)
        keys.append(seat.key(steps[0]))
        verb = "guess" if steps[0].kind == "guess" else "score"
        seat.do(deed(len(keys), keys[-1], verb, text="unknown"))
    assert sorted(set(kinds), key=kinds.index) == ["training", "rating", "guess"]
    assert len(set(keys)) == len(keys) == 2 + 12 + 8 + 12
    assert not [key for key in keys if "item" in key or "gold" in key]


def test_two_people_at_once_are_not_asked_about_the_same_item(seating, make_session):
    session = make_session(40, overlap=1, to_guess=())
    seats = [seat_at(seating, session, f"human:{name}") for name in ("ann", "bob", "cy")]
    number = 0
    while any(seat.ahead() for seat in seats):
        held = [{step.item for step in seat.ahead()} for seat in seats]
        assert sum(map(len, held)) == len(set().union(*held))
        for seat in seats:
            if seat.ahead():
                number += 1
                assert seat.do(deed(number, seat.key(seat.ahead()[0]))).refused == ""
    rated = Counter(
        entry.item for name in ("ann", "bob", "cy") for entry in entries(seating, f"human:{name}")
    )
    assert rated == dict.fromkeys(session.to_rate, 1)


def test_a_lease_ends_so_that_who_leaves_hinders_nobody(make_session, tmp_path):
    seconds = 0.0
    seating = Seating(tmp_path, clock=lambda: seconds)
    session = make_session(8, overlap=1)
    ann, bob = (seat_at(seating, session, f"human:{name}") for name in ("ann", "bob"))
    held = ann.ahead()
    assert len(held) == 8
    assert [step.kind for step in bob.ahead()] == []
    seconds = LEASE_S + 1
    assert len(bob.ahead()) == 8
    # Ann comes back with an answer that she had given: it is not lost.
    assert ann.do(deed(1, ann.key(held[0]))).refused == ""
    seating.close()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=30))
def test_leases_count_what_others_hold_until_they_end(events):
    now = 0.0
    leases = Leases(lambda: now, lasts_s=10)
    held: dict[str, tuple[float, set[str]]] = {}
    for rater, items in events:
        now += 1
        names = {f"i{n}" for n in range(items)}
        leases.take(rater, names)
        held[rater] = (now, names)
    expected = Counter(i for r, (at, names) in held.items() if r != "a" and now < at + 10
                       for i in names)  # fmt: skip
    assert leases.counts("a") == expected


def test_a_journal_in_a_terminal_is_refused_and_one_that_rests_is_let_go(make_session, tmp_path):
    seconds = 0.0
    seating = Seating(tmp_path, clock=lambda: seconds)
    session = make_session(3)
    path = sit_down(tmp_path, "human:ann", session)
    with open_journal(path, "human:ann"), pytest.raises(RunLocked):
        seating.seat(path, "human:ann")
    seating.seat(path, "human:ann")
    with pytest.raises(RunLocked), open_journal(path, "human:ann"):
        pass
    seconds = 10_000.0
    seat_at(seating, session, "human:bob")
    with open_journal(path, "human:ann"):  # after half an hour without a request
        pass
    seating.close()


def test_a_journal_that_a_backup_replaced_is_the_one_that_answers_go_to(seating, make_session):
    session = make_session(3)
    seat = seat_at(seating, session)
    path = sit_down(seating.folder, "human:ann", session)
    backup = path.read_bytes()
    one = deed(1, seat.key(seat.ahead()[0]))
    path.unlink()
    path.write_bytes(backup)
    with pytest.raises(StorageError, match="removed or replaced"):
        seat.do(one)
    again = seat_at(seating, session)
    assert again is not seat
    assert again.do(one).refused == ""
    assert [entry.answer for entry in entries(seating)] == [one.id]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_no_answer_is_acknowledged_that_nobody_would_find(seating, make_session, spoil):
    session = make_session(3)
    seat = seat_at(seating, session)
    one = deed(1, seat.key(seat.ahead()[0]))
    spoil(sit_down(seating.folder, "human:ann", session))
    with pytest.raises(StorageError, match="removed or replaced"):
        seat.do(one)


def test_an_answer_that_comes_as_the_server_stops_is_not_refused_for_good(seating, make_session):
    """A page drops what is refused, and sends again what was not answered."""
    session = make_session(3)
    seat = seat_at(seating, session)
    one = deed(1, seat.key(seat.ahead()[0]))
    seating.close()
    with pytest.raises(RunLocked):
        seat.do(one)
    with pytest.raises(RunLocked):
        seat.ahead()
    assert seat_at(seating, session).do(one).refused == ""


def test_the_time_of_an_answer_is_what_its_page_saw(seating, make_session):
    seat = seat_at(seating, make_session(5))
    for number, seconds in enumerate((12.5, 500.0, -3.0, float("nan"), 1e9)):
        seat.do(deed(number, seat.key(seat.ahead()[0]), seconds=seconds))
    assert [entry.seconds for entry in entries(seating)] == [12.5, 500, 0, 0, 3600]
    assert IDLE_S < 500  # a long look is no pause: the page leaves pauses out itself


def test_a_line_with_an_id_that_was_cut_off_costs_no_line_behind_it(seating, make_session):
    seat = seat_at(seating, make_session(4))
    for number in range(3):
        seat.do(deed(number, seat.key(seat.ahead()[0])))
    seating.close()
    (path,) = seating.folder.glob("*.jsonl")
    lines = path.read_bytes().split(b"\n")
    assert lines[1].startswith(b'{"answer":"answer-000000","at":"')
    path.write_bytes(b"\n".join([lines[0], lines[1][:40] + lines[2], *lines[3:]]))
    read = read_journal(path)
    assert [entry.answer for entry in read.entries["human:ann"]] == [
        "answer-000001", "answer-000002",
    ]  # fmt: skip
    assert read.torn == (2,)
    assert "answer" not in json.loads(path.read_bytes().split(b"\n")[0])
