import dataclasses
import io

from autointerp.apps.terminal.plain import run_plain
from autointerp.people.machine import Machine
from autointerp.questions.rubric_files import load_rubric


def say(session, journal_of, *lines: str) -> tuple[str, list]:
    out = io.StringIO()
    with journal_of(session) as journal:
        run_plain(Machine(journal), io.StringIO("".join(line + "\n" for line in lines)), out)
        return out.getvalue(), list(journal.entries)


def test_lines_drive_a_whole_session(make_session, journal_of):
    session = make_session(3, training=1)
    lines = ["4", "", "3", "u", "5", "n small animals", "2", "s 2", "p", "", "1", "3"]
    out, entries = say(session, journal_of, *lines)
    assert [(e.kind, e.verb, e.score, e.text) for e in entries] == [
        ("training", "score", 4, None),
        ("rating", "score", 3, None),
        ("rating", "undo", None, None),
        ("rating", "score", 5, None),
        ("rating", "describe", None, "small animals"),
        ("rating", "score", 2, None),
        ("rating", "skip", None, "broken or unreadable text"),
        ("guess", "guess", None, "feature"),
        ("guess", "guess", None, "control"),
    ]
    assert "The rubric's answer is 5." in out
    assert out.endswith("Thank you.\n")


def test_a_rubric_of_fifteen_levels_takes_its_points_as_numbers(make_session, journal_of):
    session = make_session(3, rubric=load_rubric("interpretability-0-14"))
    out, entries = say(session, journal_of, "12", "15", "0", "q")
    assert [entry.score for entry in entries] == [12, 0]
    assert "'15' is no answer here." in out
    assert "Answer with the number and Enter." in out


def test_the_end_of_the_answers_is_a_way_to_stop(make_session, journal_of):
    session = make_session(3)
    _, entries = say(session, journal_of, "3")
    assert len(entries) == 1
    out, entries = say(session, journal_of, "4", "q")
    assert out.startswith("Welcome back.")
    assert [e.score for e in entries] == [3, 4]


def test_what_is_no_answer_is_said_and_changes_nothing(make_session, journal_of):
    out, entries = say(make_session(2), journal_of, "7", "n", "s", "\x1b[2J", "3 4", "q")
    assert entries == []
    assert "'7' is no answer here." in out
    assert "'␛[2J' is no answer here." in out
    assert "Say why: s 1" in out


def test_n_alone_clears_what_was_described(make_session, journal_of):
    out, entries = say(make_session(2), journal_of, "n cats", "n", "n", "q")
    assert [(e.verb, e.text) for e in entries] == [("describe", "cats"), ("describe", "")]
    assert out.count("'n' is no answer here.") == 1


def test_lines_carry_no_control_characters_whatever_the_corpus_holds(make_session, journal_of):
    out, _ = say(make_session(1, token="\x1b]0;owned\x07\u202e"), journal_of, "q")
    assert "▸␛]0;owned␇\\u{202e}◂" in out
    assert not {c for c in out if ord(c) < 32 or ord(c) == 0x202E} - {"\n"}


def test_nothing_before_the_last_question_says_what_units_there_are(make_session, journal_of):
    out, _ = say(make_session(2), journal_of, "?", "3", "q")
    assert not [word for word in ("feature", "neuron", "control", "autoencoder") if word in out]


def test_parts_are_left_out_and_more_is_shown_by_a_line(make_session, journal_of):
    session = make_session(3, training=1, repeat_share=0.4)
    around = {item.id: (("long before", "long after"),) * 10 for item in session.items}
    lines = ["x t", "m", "3", "x r", "4", "x g", "5", "3"]
    out, entries = say(dataclasses.replace(session, around=around), journal_of, *lines)
    assert out.endswith("Thank you.\n")
    assert [(e.kind, e.verb, e.score) for e in entries] == [
        ("training", "decline", None),
        ("rating", "widen", None),
        ("rating", "score", 3),
        ("rating", "decline", None),
        ("rating", "score", 4),
        ("guess", "decline", None),
        ("rating", "score", 5),
    ]
    assert out.count("long before") == 10
    assert "Left out: 3 quick guesses at the end." in out
    assert "[ ] g  3 quick guesses at the end" in out


def test_the_parts_are_listed_with_marks(make_session, journal_of):
    out, _ = say(make_session(3, training=1, repeat_share=0.4), journal_of, "x", "x t", "x", "q")
    assert "[x] t  1 item for practice" in out
    assert out.count("[ ] t  1 item for practice") == 2
    assert "[x] g  3 quick guesses at the end" in out


def test_what_is_asked_is_said_before_part_by_part(make_session, journal_of):
    out, _ = say(make_session(20, training=2, repeat_share=0.1), journal_of, "q")
    assert (
        "44 questions: 2 items for practice, with the answers shown, 20 items to rate, 2 of them a "
        "second time, unannounced, 20 quick guesses at the end." in out
    )


def test_answers_that_are_piped_in_claim_no_pace(make_session, journal_of):
    out, _ = say(make_session(9), journal_of, *"345345345")
    assert "a minute ·" not in out
