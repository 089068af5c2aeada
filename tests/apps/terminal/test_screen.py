import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from autointerp.apps.terminal.layout import item_lines
from autointerp.apps.terminal.screen import Page, Question, RatingApp
from autointerp.errors import StorageError
from autointerp.people.machine import Machine
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Item, ItemContext


def drive(
    machine: Machine,
    story: Callable[[Pilot[None], RatingApp], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
) -> RatingApp:
    """Run the app headlessly while `story` presses its keys."""
    app = RatingApp(machine)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await story(pilot, app)

    asyncio.run(run())
    return app


async def press(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


def screen_text(app: RatingApp) -> str:
    """Return what the screen shows, as text."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line) for line in lines)


def test_keys_drive_a_whole_session(make_session, journal_of):
    async def story(pilot, app):
        assert "27 questions" not in screen_text(app)
        await press(pilot, "enter")
        assert "practice 1 of 1" in screen_text(app)
        await press(pilot, "4")
        assert "The rubric's answer is 5." in screen_text(app)
        await press(pilot, "enter", "3", "4")
        assert "item 3 of 3" in screen_text(app)
        await press(pilot, "u", "1")
        await press(pilot, "n", *"cats", "enter")
        assert "Your description: cats" in screen_text(app)
        await press(pilot, "s", "2", "enter")
        assert "One last question" in screen_text(app)
        await press(pilot, "enter", "1", "4")
        assert "Thank you" in screen_text(app)
        await press(pilot, "enter")

    with journal_of(make_session(3, training=1)) as journal:
        drive(Machine(journal), story)
        assert [(e.kind, e.verb, e.score or e.text) for e in journal.entries] == [
            ("training", "score", 4),
            ("rating", "score", 3),
            ("rating", "score", 4),
            ("rating", "undo", None),
            ("rating", "score", 1),
            ("rating", "describe", "cats"),
            ("rating", "skip", "broken or unreadable text"),
            ("guess", "guess", "feature"),
            ("guess", "guess", "unknown"),
        ]


def test_a_description_is_cleared_by_keeping_nothing_and_kept_by_escape(make_session, journal_of):
    async def story(pilot, app):
        await press(pilot, "enter", "n", *"cat", "enter")
        await press(pilot, "n", *["backspace"] * 3, "escape")
        assert "Your description: cat" in screen_text(app)
        await press(pilot, "n", *["backspace"] * 3, "enter")
        assert "Your description" not in screen_text(app)
        await press(pilot, "n", "enter")  # nothing was there, so nothing is written
        await press(pilot, "q")

    with journal_of(make_session(3)) as journal:
        drive(Machine(journal), story)
        assert [(e.verb, e.text) for e in journal.entries] == [
            ("describe", "cat"),
            ("describe", ""),
        ]


def test_q_leaves_and_the_next_sitting_goes_on(make_session, journal_of):
    async def first(pilot, app):
        await press(pilot, "enter", "2", "q")

    async def second(pilot, app):
        assert "Welcome back" in screen_text(app)
        await press(pilot, "enter")
        assert "item 2 of 3" in screen_text(app)

    session = make_session(3)
    with journal_of(session) as journal:
        drive(Machine(journal), first)
    with journal_of(session) as journal:
        drive(Machine(journal), second)


def test_keys_that_come_twice_before_a_page_has_gone_do_no_harm(make_session, journal_of):
    async def story(pilot, app):
        await pilot.press("enter", "enter", "enter")
        await pilot.pause()
        assert "item 1 of 2" in screen_text(app)
        await pilot.press("p", "p", "p")
        await pilot.pause()

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story)
        assert journal.entries == []


def test_a_pause_hides_the_item_and_any_digit(make_session, journal_of):
    async def story(pilot, app):
        await press(pilot, "enter", "p")
        assert isinstance(app.screen, Page)
        assert app.machine.paused
        assert "cat" not in screen_text(app)
        await press(pilot, "3", "enter")
        assert not app.machine.paused

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story)
        assert journal.entries == []


def test_the_rubric_is_a_key_away_and_digits_in_a_question_are_text(make_session, journal_of):
    async def story(pilot, app):
        await press(pilot, "enter", "question_mark")
        assert "You are shown where one unit" in screen_text(app)
        await press(pilot, "escape", "n", "3", "q")
        assert isinstance(app.screen, Question)
        await press(pilot, "escape")
        assert not isinstance(app.screen, Question)

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story)
        assert journal.entries == []


def test_the_screen_follows_its_size_and_tells_what_lies_below(make_session, journal_of):
    async def story(pilot, app):
        await press(pilot, "enter")
        assert "more lines below" in screen_text(app)
        await pilot.resize_terminal(60, 15)
        await pilot.pause()
        lines = screen_text(app).split("\n")
        assert len(lines) == 15
        assert "item 1 of 2" in lines[0]
        for _ in range(12):
            await press(pilot, "space")
        assert "below" not in screen_text(app)
        assert "10 " in screen_text(app)
        await pilot.resize_terminal(132, 50)
        await pilot.pause()
        assert "below" not in screen_text(app)
        await press(pilot, "3")
        assert "item 2 of 2" in screen_text(app)

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story)


SIZES = ((60, 20), (200, 50), (80, 24), (60, 20), (132, 43), (60, 15), (120, 30), (200, 50))


def rows_of_contexts(app: RatingApp) -> tuple[int, str]:
    """Return how many lines of contexts are seen, and what is said of the others."""
    region = app.screen_stack[0].query_one("#contexts").region
    lines = screen_text(app).split("\n")
    return region.height, lines[region.bottom].strip()


@pytest.mark.parametrize("scrolled", [0, 3])
def test_every_size_says_how_many_lines_are_hidden_and_is_right(make_session, journal_of, scrolled):
    async def story(pilot, app):
        await press(pilot, "enter", *["down"] * scrolled)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            height, said = rows_of_contexts(app)
            lines = len(item_lines(app.machine.item, size[0], height=height))
            above = round(app.query_one("#contexts").scroll_y)
            below = max(0, lines - height - above)
            assert (f"{below} more line" in said) == bool(below), (size, said)
            assert ("above" in said) == bool(above), (size, said)
            # All that is said to be seen is: the last context's number is on the screen or below.
            last = any(line.startswith("10 ") for line in screen_text(app).split("\n"))
            assert last or below, (size, said)

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story)


def test_what_a_key_came_to_hides_no_word_of_what_is_below(make_session, journal_of):
    async def story(pilot, app):
        await press(pilot, "enter", "u")
        height, said = rows_of_contexts(app)
        assert "there is nothing to take back here" in said
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        height, said = rows_of_contexts(app)
        below = len(item_lines(app.machine.item, 60, height=height)) - height
        assert said.startswith(f"── {below} more lines below ── there is nothing")

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story, size=(132, 50))


def test_a_page_says_what_of_it_is_below(make_session, journal_of):
    async def story(pilot, app):
        assert "more lines below" in screen_text(app)
        await press(pilot, "space", "space", "space")
        await pilot.resize_terminal(120, 50)
        await pilot.pause()
        assert "below" not in screen_text(app)

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story, size=(60, 20))


def test_more_of_the_contexts_is_a_key_away_and_back(make_session, journal_of):
    session = make_session(2)
    around = {item.id: (("long before ", " long after"),) * 10 for item in session.items}

    async def story(pilot, app):
        await press(pilot, "enter")
        assert "long before" not in screen_text(app)
        await press(pilot, "m")
        assert "long before" in screen_text(app)
        await press(pilot, "m")
        assert "long before" not in screen_text(app)
        await press(pilot, "m", "3")
        assert "long before" not in screen_text(app)  # the next item is shown as it is rated

    with journal_of(dataclasses.replace(session, around=around)) as journal:
        drive(Machine(journal), story, size=(120, 50))
        assert [entry.verb for entry in journal.entries] == ["widen", "score"]


def test_parts_are_left_out_from_the_welcome_and_later(make_session, journal_of):
    async def story(pilot, app):
        assert "11 questions: 1 item for practice" in " ".join(screen_text(app).split())
        await press(pilot, "x")
        assert "[x] t  1 item for practice" in screen_text(app)
        await press(pilot, "t")
        assert "[ ] t  1 item for practice" in screen_text(app)
        assert "Left out: 1 item for practice" in screen_text(app)
        await press(pilot, "t", "t", "enter")  # taken up again, and left out
        assert "item 1 of 5" in screen_text(app)
        await press(pilot, *"34343", "enter")
        assert "last question 1 of 5" in screen_text(app)
        await press(pilot, "x", "g", "enter")
        assert "Thank you" in screen_text(app)

    with journal_of(make_session(5, training=1)) as journal:
        drive(Machine(journal), story)
        assert [e.kind for e in journal.entries if e.verb == "decline"] == [
            "training", "training", "guess",
        ]  # fmt: skip


def test_a_digit_leaves_the_words_before_the_last_question_and_answers_nothing(
    make_session, journal_of
):
    async def story(pilot, app):
        await press(pilot, "enter", *"345", "2")
        assert "last question 1 of 3" in screen_text(app)
        await press(pilot, "2")
        assert "last question 2 of 3" in screen_text(app)

    with journal_of(make_session(3)) as journal:
        drive(Machine(journal), story)
        assert [e.text for e in journal.entries if e.kind == "guess"] == ["neuron"]


def test_a_click_on_a_level_is_its_key_where_the_mouse_is_wanted(make_session, journal_of):
    async def story(pilot, app):
        await pilot.click("#page")
        await pilot.pause()
        text = screen_text(app).split("\n")
        row = next(i for i, line in enumerate(text) if "1 seemingly random" in line)
        await pilot.click(offset=(text[row].index("4 mostly") + 1, row))
        await pilot.pause()

    with journal_of(make_session(2)) as journal:
        drive(Machine(journal), story, size=(120, 40))
        assert [entry.score for entry in journal.entries] == [4]


def test_markup_and_control_characters_of_the_corpus_are_shown_as_text(make_session, journal_of):
    token = "[@click=app.exit]x[/]\x1b[2J\u202e"

    async def story(pilot, app):
        await press(pilot, "enter")
        assert "▸[@click=app.exit]x[/]␛[2J\\u{202e}◂" in screen_text(app).replace("\n", "")

    with journal_of(make_session(1, token=token)) as journal:
        drive(Machine(journal), story, size=(132, 40))


def test_strength_is_told_without_colour(make_session, journal_of):
    context = ItemContext((" a", " b", " c"), (0.0, 4.0, 10.0), 2, "explain", False)
    item = Item("item000", "interpretability-1-5", (context,))
    session = make_session(1, items=(item,))

    async def story(pilot, app):
        await press(pilot, "enter")
        assert " a b₄▸ c₁₀◂" in screen_text(app)
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    assert colour is None or colour.is_default

    with journal_of(session) as journal:
        drive(Machine(journal), story)


def test_a_disk_that_is_full_ends_the_session_with_its_error(make_session, journal_of, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async def story(pilot, app):
        await press(pilot, "enter")
        monkeypatch.setattr("autointerp.people.journal.os.fsync", full)
        await press(pilot, "3")

    with journal_of(make_session(2)) as journal:
        app = drive(Machine(journal), story)
        assert isinstance(app.failure, StorageError)
        assert journal.entries == []


def test_gold_items_and_repeats_look_like_any_other(make_session, journal_of):
    # Every rating screen has the same words round the contexts, whatever the item is.
    seen = set()

    async def story(pilot, app):
        await press(pilot, "enter")
        while app.machine.step.kind == "rating":
            lines = screen_text(app).split("\n")
            seen.add((*lines[1:3], *lines[-4:]))
            await press(pilot, "3")

    with journal_of(make_session(4, always=("item001",), overlap=1, repeat_share=1.0)) as journal:
        drive(Machine(journal), story)
    assert len(seen) == 1


SCREENS = {
    "welcome": (),
    "item": ("enter",),
    "practice": ("enter", "4"),
    "described": ("enter", "4", "enter", "n", "c", "a", "t", "enter"),
    "skip": ("enter", "4", "enter", "s"),
    "guess": ("enter", "4", "enter", "3", "3", "enter"),
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_looks_as_it_did(name, make_session, journal_of, clock, snap_compare):
    with journal_of(make_session(2, training=1)) as journal:
        app = RatingApp(Machine(journal, clock))
        assert snap_compare(app, press=SCREENS[name], terminal_size=(80, 24))


def test_points_of_two_digits_are_typed_and_given_by_enter(make_session, journal_of):
    async def story(pilot, app):
        await press(pilot, "enter")
        assert "13 very clear" in " ".join(screen_text(app).split())
        await press(pilot, "1")
        assert "1, Enter gives it" in screen_text(app)
        await press(pilot, "2", "enter", "9", "enter")
        await press(pilot, "1", "5", "enter")
        assert "15 is not on the scale" in screen_text(app)
        await press(pilot, "1", "4", "backspace", "0", "enter")
        await press(pilot, "7", "u")  # another key drops what was typed, and does nothing else
        assert "nothing is typed" in screen_text(app)
        await press(pilot, "enter", "0", "enter")

    session = make_session(5, rubric=load_rubric("interpretability-0-14"))
    with journal_of(session) as journal:
        drive(Machine(journal), story)
        assert [entry.score for entry in journal.entries] == [12, 9, 10, 0]
