import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autointerp
from autointerp.text import (
    ON_PAGE,
    count,
    distinct_names,
    dollars,
    exact_dollars,
    is_control_token,
    statuses_text,
    visible,
    visible_lines,
    whole_characters,
    without_surrogates,
)

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本", "naïve 日本"),
        ("a\nb\tc\r", "a⏎b⇥c␍"),
        ("\x00\x1b", "␀␛"),
        ("\u202e\u2066\u200b\ufeff", "⟨U+202E⟩⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩"),
        ("\udc80", "⟨U+DC80⟩"),
        ("न\u200d", "न\u200d"),  # joiners belong to scripts and to emoji
    ],
)
def test_on_a_page_unseen_characters_are_written_by_number_and_others_left(text: str, shown: str):
    assert visible(text, ON_PAGE) == shown


@given(st.text(st.characters(max_codepoint=sys.maxunicode)))
def test_a_page_shows_nothing_that_a_browser_obeys(text: str):
    shown = visible(text, ON_PAGE)
    joiners = {"\u200c", "\u200d"}
    assert not {unicodedata.category(character) for character in set(shown) - joiners} & OBEYED


def test_lines_of_a_longer_text_stay_lines():
    assert visible_lines("a\tb\r\nc\n") == ["a⇥b", "c", ""]


def test_counts_are_written_with_their_noun():
    assert count(1, "unit") == "1 unit"
    assert count(1000, "reply", "replies") == "1,000 replies"
    assert statuses_text({"ok": 20, "failed": 1}) == "1 failed, 20 ok"
    assert statuses_text({}) == ""


def test_dollars_under_a_cent_are_not_nothing_and_a_given_amount_keeps_its_digits():
    assert [dollars(n) for n in (0, 3.2e-7, 0.00005, 0.0032, 0.0149, 5, 1234.5)] == [
        "$0.00", "$0.0000003", "$0.00005", "$0.0032", "$0.01", "$5.00", "$1,234.50",
    ]  # fmt: skip
    assert [exact_dollars(n) for n in (0, 0.004, 0.012, 0.5, 5, 1000.125)] == [
        "$0.00", "$0.004", "$0.012", "$0.50", "$5.00", "$1,000.125",
    ]  # fmt: skip


def test_amounts_are_written_by_one_function_in_python_on_pages_and_by_scripts():
    """Each of three wrote its own digits: $0.0032 here was $0.00 there. Scripts get words."""
    own = re.compile(r"\$\{[^}]*:[^}]*f\}|\$\{\{|usd[^\n]*(toFixed|format\()")
    root = Path(autointerp.__file__).parent
    files = [path for kind in ("py", "html", "js") for path in root.rglob(f"*.{kind}")]
    found = {path.name for path in files if own.search(path.read_text("utf-8"))}
    assert found == {"text.py"}


# ------------------------------------------------------------------------------- tokens as text


@pytest.mark.parametrize("text", ["<bos>", "<|endoftext|>", "</s>", "[INST]", "<|im_end|>"])
def test_control_tokens_are_known_by_their_names(text: str):
    assert is_control_token(text)
    assert not is_control_token(f"{text} ")
    assert not is_control_token(f"a{text}")


@given(st.text(st.characters(max_codepoint=sys.maxunicode)))
def test_text_without_lone_surrogates_can_be_written(text: str):
    clean = without_surrogates(text)
    clean.encode("utf-8")
    if not any(unicodedata.category(character) == "Cs" for character in text):
        assert clean == text
    assert without_surrogates(clean) == clean


def test_the_halves_of_a_character_are_joined_and_one_alone_is_replaced():
    assert without_surrogates("\ud83d\ude00 \ud83d") == "😀 \N{REPLACEMENT CHARACTER}"


def test_tokens_of_one_character_are_shown_as_one_with_the_mark_and_the_largest_activation():
    tokens, levels = [" a", "今", "", "", "b", "é", ""], [0.0, 1.0, 4.0, 2.0, 0.0, 0.0, 3.0]
    for focus, shown in enumerate([0, 1, 1, 1, 2, 3, 3]):
        assert whole_characters(tokens, levels, focus) == (
            (" a", "今", "b", "é"), (0.0, 4.0, 0.0, 3.0), shown,
        )  # fmt: skip
    assert whole_characters(tokens, None, None) == ((" a", "今", "b", "é"), None, None)


def test_what_is_left_of_a_character_before_the_first_token_is_left_out():
    assert whole_characters(["", "", "b"], [5.0, 0.0, 1.0], 2) == (("b",), (1.0,), 0)


def test_tokens_without_cut_characters_stay_as_they_are():
    assert whole_characters([" a", " b"], [0.0, 1.0], 1) == ((" a", " b"), (0.0, 1.0), 1)


@given(st.sets(st.text("aA-_ /", min_size=1, max_size=3) | st.text(max_size=200)))
def test_no_two_names_of_files_are_alike_even_where_case_does_not_count(names: set[str]):
    cleaned = {name: "".join(c if c.isalnum() else "_" for c in name) for name in names}
    files = distinct_names(cleaned)
    assert files.keys() == names
    assert len({file.casefold() for file in files.values()}) == len(names)
    assert max((len(file) for file in files.values()), default=0) <= 129  # 120, a dash, 8 digits


def test_a_name_of_a_file_changes_only_where_another_is_alike():
    files = distinct_names({"a-b": "a_b", "a_b": "a_b", "c:d": "c_d"})
    assert files["c:d"] == "c_d"
    assert files["a-b"].startswith("a_b-")
    assert files["a-b"] != files["a_b"]
