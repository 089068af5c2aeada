import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.fabricate import fabricate_run

from autointerp.errors import BadInput
from autointerp.people.assign import contexts_text, run_identity
from autointerp.people.ingest import ingest
from autointerp.people.journal import open_journal, read_journal, write_session
from autointerp.people.machine import Machine
from autointerp.people.packs import make_pack, units_to_pack
from autointerp.people.session import Sitting
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import open_run

RUBRIC = load_rubric("interpretability-1-5")
RATINGS = (
    "SELECT item_id, rater, repeat, version, status, score FROM rating"
    " WHERE starts_with(rater, 'human') ORDER BY ALL"
)


@pytest.fixture
def run(own_runs, tiny_run_name):
    with open_run(tiny_run_name, folder=own_runs) as opened:
        yield opened


@pytest.fixture
def pack(run, tmp_path) -> Path:
    path = tmp_path / "for-ann.pack"
    make_pack(run, RUBRIC, units_to_pack(run), Sitting(), path)
    return path


def answer(path: Path, ratings: int, rater: str = "human:ann", score: int = 4) -> None:
    """Rate so many items of a pack, practice before them."""
    with open_journal(path, rater) as journal:
        machine = Machine(journal)
        given = 0
        while given < ratings and machine.step is not None and machine.step.kind != "guess":
            given += machine.step.kind == "rating"
            machine.rate(score)
            machine.go_on()


def test_a_pack_has_nothing_in_it_that_tells_what_is_rated(run, pack):
    content = pack.read_text()
    tables = (
        "SELECT item_id FROM item UNION ALL SELECT DISTINCT source FROM unit"
        " UNION ALL SELECT site FROM (SELECT 'layers.0' AS site)"
    )
    told = [row[0] for row in run.rows(tables) if row[0] in content]
    # `random` and `features` are words of the rubric and of practice, not of any item.
    items = json.loads(content.splitlines()[0])["session"]["items"]
    assert [name for name in told if name in json.dumps(items)] == []
    assert not [row for row in run.rows("SELECT item_id FROM item") if row[0] in content]
    assert {frozenset(item) for item in items} == {frozenset({"id", "description", "contexts"})}
    shown = {frozenset(c) for item in items for c in item["contexts"]}
    assert shown == {frozenset({"tokens", "activations", "focus"})}
    assert {c["activations"] for item in items for c in item["contexts"]} == {None}
    head = json.loads(content.splitlines()[0])["session"]
    assert head["always"] == []  # would mark the gold items
    assert str(run.path) not in content


def test_every_item_of_a_pack_shows_as_many_contexts(pack):
    session = read_journal(pack).session
    assert {len(item.contexts) for item in session.items} == {session.contexts}


def test_answers_come_home_once_however_often_they_are_read(run, pack):
    answer(pack, 3)
    assert ingest(run, pack) == 7  # and 4 of practice
    first = run.rows(RATINGS)
    assert ingest(run, pack) == 0
    assert run.rows(RATINGS) == first
    assert [row[1:] for row in first] == [("human:ann", 0, 0, "ok", 4)] * 3
    known = {row[0] for row in run.rows("SELECT item_id FROM item")}
    assert {row[0] for row in first} <= known


def test_a_pack_that_grew_brings_what_is_new_and_an_old_copy_nothing(run, pack, tmp_path):
    answer(pack, 2)
    old = Path(shutil.copy(pack, tmp_path / "old.pack"))
    answer(pack, 3)
    assert ingest(run, pack) == 9
    assert ingest(run, old) == 0


def test_two_people_may_rate_two_copies(run, pack, tmp_path):
    other = Path(shutil.copy(pack, tmp_path / "for-bob.pack"))
    answer(pack, 3)
    answer(other, 2, "human:bob")
    ingest(run, pack)
    ingest(run, other)
    assert [row[1] for row in run.rows(RATINGS)].count("human:bob") == 2


def test_one_person_s_two_stories_are_refused_and_nothing_is_half_read(run, pack, tmp_path):
    other = Path(shutil.copy(pack, tmp_path / "copy.pack"))
    answer(pack, 3, score=4)
    answer(other, 3, score=5)
    ingest(run, pack)
    before = run.rows(RATINGS)
    with pytest.raises(BadInput, match=r"gave other answers in another copy.*; those stand, and"):
        ingest(run, other)
    assert run.rows(RATINGS) == before


def test_a_pack_of_another_run_is_refused(run, pack, tmp_path, own_runs):
    answer(pack, 1)
    stranger = own_runs / "stranger"
    shutil.copytree(run.path, stranger)
    text = (stranger / "run.toml").read_text().replace('"tiny"', '"stranger"')
    (stranger / "run.toml").write_text(text)
    with open_run("stranger", folder=own_runs) as other:
        assert run_identity(other) != run_identity(run)
        with pytest.raises(BadInput, match="not made from run 'stranger'"):
            ingest(other, pack)


def test_a_pack_that_the_run_never_gave_out_is_refused(run, pack, tmp_path):
    session = read_journal(pack).session
    forged = tmp_path / "forged.pack"
    write_session(forged, replace(session, seed="another"))
    with pytest.raises(BadInput, match="not made from run"):
        ingest(run, forged)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"focus":8', '"focus":7', 1),  # an item
        lambda text: text.replace('"score":4,"seconds"', '"score":5,"seconds"', 1),  # an answer
        lambda text: "\n".join([*text.split("\n")[:1], *text.split("\n")[2:]]),  # a line taken out
        lambda text: text.replace("human:ann", "human:bob"),  # somebody else's name
        lambda text: text + "{}\n",
        lambda text: text.replace("{", "", 1),
        lambda text: "",
    ],
)
def test_an_edited_pack_is_refused(run, pack, edit):
    answer(pack, 3)
    content = pack.read_text()
    edited = edit(content)
    assert edited != content
    pack.write_text(edited)
    with pytest.raises(BadInput, match=r"edited|not a session"):
        ingest(run, pack)
    assert run.rows(RATINGS) == []


def test_a_pack_is_never_written_over(run, pack):
    with pytest.raises(BadInput, match="might hold answers"):
        make_pack(run, RUBRIC, units_to_pack(run), Sitting(), pack)


def test_taken_back_answers_are_superseded_not_erased(run, pack):
    with open_journal(pack, "human:ann") as journal:
        machine = Machine(journal)
        while machine.step is not None and machine.step.kind == "training":
            machine.rate(1)
            machine.go_on()
        machine.rate(1)
        machine.undo()
        machine.describe("cats")
        machine.rate(5)
        machine.describe("dogs")
        machine.describe("")
        machine.rate(2)
        machine.undo()
    ingest(run, pack)
    rows = run.rows(
        "SELECT version, status, score, description FROM rating"
        " WHERE rater = 'human:ann' ORDER BY item_id, version"
    )
    assert sorted(rows, key=str) == sorted(
        [
            (0, "ok", 1, None),
            (1, "skipped", None, None),
            (2, "ok", 5, "cats"),
            (0, "ok", 2, None),
            (1, "skipped", None, None),
        ],
        key=str,
    )


def test_what_is_taken_back_in_one_pack_stands_as_it_was_answered_in_another(run, pack, tmp_path):
    """A second pack of the same units: its one rating and one guess are given and taken back."""
    with open_journal(pack, "human:ann") as journal:
        machine = Machine(journal)
        while (step := machine.step) is not None:
            if step.kind == "guess":
                machine.guess("neuron")
                continue
            if step.kind == "rating":
                machine.describe("cats")
            machine.rate(4)
            machine.go_on()
    ingest(run, pack)
    standing = "SELECT * EXCLUDE (version, made_at) FROM current_rating WHERE is_person(rater)"
    guesses = "SELECT item_id, guess FROM current_guess ORDER BY ALL"
    before = run.rows(f"{standing} ORDER BY ALL"), run.rows(guesses)
    second = tmp_path / "second.pack"
    make_pack(run, RUBRIC, units_to_pack(run), Sitting(practice=False), second)
    with open_journal(second, "human:ann") as journal:
        item = journal.session.to_rate[0]
        journal.append("rating", "score", item, score=1)
        journal.append("rating", "undo", item)
        journal.append("guess", "guess", item, text="control")
        journal.append("guess", "undo", item)
    assert ingest(run, second) == 4
    assert (run.rows(f"{standing} ORDER BY ALL"), run.rows(guesses)) == before


@pytest.mark.parametrize("late", ["first", "second"])
def test_of_two_packs_the_answer_that_was_given_last_stands_in_whichever_order_they_come(
    run, pack, tmp_path, monkeypatch, late
):
    """Score 4 and a guess in the first pack, score 1 and another in the second, made a day later.
    What is dated before its pack was made, or in the future, counts as given when it was made."""
    second = tmp_path / "second.pack"
    made = make_pack(run, RUBRIC, units_to_pack(run), Sitting(practice=False), second)
    start = datetime.datetime(2026, 3, 1)
    # Days after the first pack was made: of its answer, of the second one's, and the score that
    # stands. In the last four, days that cannot be count as 0 and 1, when the packs were made.
    cases = [(1, 2, 1), (3, 2, 4), (-3, -5, 1), (2, -4, 4), (400, 2, 1), (-1, 400, 1)]
    names = dict(run.rows("SELECT name, item_id FROM pack_item"))
    both = {names[name] for name in read_journal(pack).session.to_rate}
    both &= {names[name] for name in read_journal(second).session.to_rate}
    items = sorted(both)[: len(cases)]
    for place, path in enumerate((pack, second)):
        session = read_journal(path).session
        mine = {names[name]: name for name in session.to_rate}
        with open_journal(path, "human:ann") as journal:
            for item, case in zip(items, cases, strict=True):
                at = (start + datetime.timedelta(days=case[place])).replace(tzinfo=datetime.UTC)
                score, guess = ((4, "neuron"), (1, "feature"))[place]
                journal.append("rating", "score", mine[item], score=score, at=at)
                journal.append("guess", "guess", mine[item], text=guess, at=at)
    run.execute(
        "UPDATE human_session SET made_at = CASE session_id WHEN ? THEN ?::TIMESTAMP ELSE ? END",
        [made.session.digest, start + datetime.timedelta(days=1), start],
    )
    later = start + datetime.timedelta(days=300)
    monkeypatch.setattr("autointerp.people.ingest.now", lambda: later)
    told: list[str] = []
    for path in (pack, second)[:: 1 if late == "second" else -1]:
        ingest(run, path, told.append)
    scores = dict(run.rows("SELECT item_id, score FROM current_rating WHERE is_person(rater)"))
    guesses = dict(run.rows("SELECT item_id, guess FROM current_guess"))
    assert [scores[item] for item in items] == [case[2] for case in cases]
    assert guesses == {i: "neuron" if scores[i] == 4 else "feature" for i in items}
    assert told == [
        "human:ann answered 12 questions in several sittings or packs; of each the answer that was "
        "given last stands. 8 questions have answers dated in the future, or before the sitting "
        "was made: such an answer counts as given when its sitting was made"
    ]


def test_practice_quotes_no_note_of_a_file_that_units_were_imported_from(tmp_path):
    with fabricate_run(tmp_path, {"features": 3, "planted": 4}, imported=True) as run:
        planned = make_pack(run, RUBRIC, units_to_pack(run), Sitting(), tmp_path / "a.pack")
    (why,) = {one.why for one in planned.session.training}
    assert why == "This unit was made to order: it fires on one thing, and on nothing else."


def test_fewer_contexts_than_the_rubric_shows_are_said_and_so_are_units_left_out(run, tmp_path):
    made = make_pack(run, RUBRIC, units_to_pack(run), Sitting(), tmp_path / "a.pack")
    session = replace(made.session, contexts=10)
    assert contexts_text(replace(made, session=session, left_out={})) == ""
    short = replace(made, session=replace(session, contexts=2), left_out={"features": 1})
    assert contexts_text(short) == (
        "each item shows 2 contexts and not 10, because some units have no more; "
        "left out, with fewer contexts than the others: 1 features"
    )
