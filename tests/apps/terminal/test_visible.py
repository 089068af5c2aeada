import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from autointerp.apps.terminal.visible import visible

OBEYED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text(st.characters(max_codepoint=sys.maxunicode)))
def test_nothing_that_a_terminal_obeys_is_left(text: str):
    assert not {unicodedata.category(character) for character in visible(text)} & OBEYED


def test_line_ends_tabs_and_escapes_are_written_as_pictures():
    assert visible("a\r\n\tb\x1b[31m\x00") == "a␍↵⇥b␛[31m␀"


def test_marks_of_direction_and_invisible_characters_are_written_by_number():
    assert visible("x\u202ey\u200bz\u2066\ufeff") == "x\\u{202e}y\\u{200b}z\\u{2066}\\u{feff}"
    assert visible("\x9b31m\x7f\u2028\xa0") == "\\u{9b}31m\\u{7f}\\u{2028}\\u{a0}"


def test_lone_surrogates_can_be_written_out():
    assert visible("\ud800").encode("utf-8") == b"\\u{d800}"


def test_a_token_that_begins_with_a_combining_mark_gets_something_to_sit_on():
    assert visible("\u0301a") == "◌\u0301a"


def test_stacks_of_combining_marks_are_cut_to_what_fits_a_line():
    assert visible("e\u0301\u0302\u0303") == "e\u0301\u0302\\u{303}"


def test_text_cannot_forge_the_screen_s_own_marks():
    assert visible("▸cat◂", reserved="▸◂") == "\\u{25b8}cat\\u{25c2}"


def test_markup_is_text_like_any_other():
    assert visible("[bold]x[/] [@click=app.exit]") == "[bold]x[/] [@click=app.exit]"
