from pathlib import Path

import pytest

from autointerp.errors import ExchangeError
from autointerp.exchange import ImportOptions
from autointerp.exchange.features_md import read, recognises

# Rows as they were published: padded Python literals in backquotes.
HEAD = "| Token ID | Activation | Token | Context |\n| :--- | :--- | :--- | :--- |\n"
CAN = "| 460 | 2.89 | `' can'         ` | `\" 5 bras and it can't be shipped as\"        ` |\n"
PIPE = "| 91 | 1.5 | `'|'            ` | `'a | b `c`\\\\n'                           ` |\n"
POLISH = "| 128 | 7.74 | `'\N{REPLACEMENT CHARACTER}'            ` | `' i zrobię sobie pr'   ` |\n"
TWICE = "| 264 | 2.0 | `' a'           ` | `' a cat and a dog saw a'                       ` |\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "features.md"
    path.write_text(
        f"### Feature ID: 0\n{HEAD}{CAN}{TWICE}\n\n### Feature ID: 7\n{HEAD}{PIPE}{POLISH}"
    )
    return path


def test_features_and_their_contexts_are_read_in_order(file: Path):
    units = list(read(file, ImportOptions()))
    assert [(unit.source, unit.name) for unit in units] == [("features", "0"), ("features", "7")]
    first = units[0].contexts[0]
    assert "|".join(first.tokens) == " 5| bras| and| it| can|'|t| be| shipped| as"
    assert first.activations == (0, 0, 0, 0, 2.89, 0, 0, 0, 0, 0)
    assert first.focus == 4
    assert units[0].density is None


def test_a_token_that_occurs_more_than_once_is_the_one_nearest_the_middle(file: Path):
    second = next(read(file, ImportOptions())).contexts[1]
    assert second.tokens == (" a", " cat", " and", " a", " dog", " saw", " a")
    assert second.focus == 3


def test_bars_and_backquotes_in_a_token_or_context_are_text(file: Path):
    pipe = list(read(file, ImportOptions()))[1].contexts[0]
    assert "".join(pipe.tokens) == "a | b `c`\\n"
    assert pipe.tokens[pipe.focus or 0] == "|"


def test_a_part_of_a_character_stands_for_the_whole_one(file: Path):
    polish = list(read(file, ImportOptions()))[1].contexts[1]
    assert "".join(polish.tokens) == " i zrobię sobie pr"
    assert polish.tokens[polish.focus or 0] == "ę"


def test_windows_can_be_cut_and_the_source_be_named(file: Path):
    unit = next(read(file, ImportOptions(source="neurons", each_side=1)))
    assert unit.source == "neurons"
    assert unit.contexts[0].tokens == (" it", " can", "'")


def test_the_form_is_told_by_its_headings(file: Path, tmp_path: Path):
    assert recognises(file)
    other = tmp_path / "notes.md"
    other.write_text("# Notes\n\nOn features.\n")
    assert not recognises(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Notes\n", "has no '### Feature ID: N'"),
        (HEAD + CAN, "line 1: a table before any '### Feature ID: N'"),
        (f"### Feature ID: x\n{HEAD}{CAN}", "line 1: feature 'x' has no number"),
        ("### Feature ID: 1\n\n", "line 1: feature 1 has no table"),
        (
            f"### Feature ID: 1\n\n### Feature ID: 2\n{HEAD}{CAN}",
            "line 1: feature 1 has no table",
        ),
        (
            f"### Feature ID: 1\n{HEAD}{CAN}### Feature ID: 1\n{HEAD}{CAN}",
            "line 5: feature 1 for the second time",
        ),
        (
            "### Feature ID: 1\n| Token ID | Token | Context |\n",
            "line 2: the table's columns are Token ID, Token, Context; they must be Token ID, "
            "Activation, Token, Context",
        ),
        (f"### Feature ID: 1\n{HEAD}{CAN[:60]}\n", "line 4: not a row"),
        (f"### Feature ID: 1\n{HEAD}{CAN.replace('2.89', 'high')}", "line 4: not a row"),
        (f"### Feature ID: 1\n{HEAD}{CAN.replace('2.89', '-1')}", "line 4: not a row"),
        (f"### Feature ID: 1\n{HEAD}{CAN.replace('2.89', '0.00')}", "a listed token must fire"),
        (
            f"### Feature ID: 1\n{HEAD}" + CAN.replace("' can'", "' cannot'"),
            "line 4: token ' cannot' is not in its context",
        ),
        (
            f"### Feature ID: 1\n{HEAD}" + CAN.replace("' can'", r"'\x'"),
            "line 4: a token or context is not a Python literal",
        ),
    ],
)
def test_what_is_not_of_the_form_is_refused_with_its_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "features.md"
    path.write_text(text)
    with pytest.raises(ExchangeError) as refused:
        list(read(path, ImportOptions()))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path):
    path = tmp_path / "features.md"
    path.write_bytes(b"### Feature ID: 1\n\xff\xfe\n")
    with pytest.raises(ExchangeError, match="is not UTF-8 text"):
        list(read(path, ImportOptions()))


def test_a_control_token_is_no_part_of_a_context_and_no_place_of_firing(tmp_path: Path):
    ends = "| 1 | 2.0 | `' cat'` | `'the end<|endoftext|>a cat sat<|endoftext|>then'` |\n"
    about = "| 0 | 9.0 | `'<|endoftext|>'` | `'the end<|endoftext|>a cat'` |\n"
    path = tmp_path / "features.md"
    path.write_text(f"### Feature ID: 3\n{HEAD}{ends}{about}")
    (unit,) = read(path, ImportOptions())
    (context,) = unit.contexts
    assert "".join(context.tokens) == "a cat sat"
    assert context.tokens[context.focus or 0] == " cat"


@pytest.mark.parametrize(
    "text",
    [
        # Each took a pattern of the former reader minutes to years.
        f"### Feature ID: 1{' ' * 100_000}x\n{HEAD}",
        f"{'#' * 100_000} Feature ID: 1\n",
        f"### Feature ID: 1\n{HEAD}| 1 | 1.0 | `{' ' * 100_000}x\n",
        f"### Feature ID: 1\n{HEAD}| 1 | 1.0 | `'{chr(92) * 100_001}a` | `x` |\n",
    ],
    ids=["a heading of blanks", "a heading of marks", "a row of blanks", "a row of backslashes"],
)
def test_a_line_that_is_made_to_take_for_ever_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "features.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ExchangeError) as refused:
        list(read(path, ImportOptions()))
    assert len(str(refused.value)) < 600 + len(str(path))


def test_a_token_of_forty_pieces_of_characters_does_not_multiply_the_steps(tmp_path: Path):
    pieces, letters = "\u4e2d\ufffd" * 40, "\u4e2d" * 5_000  # 5,000 to the power of 40, before
    row = f"| 1 | 1.0 | `'{pieces}'` | `'{letters}'` |\n"
    path = tmp_path / "features.md"
    path.write_text(f"### Feature ID: 1\n{HEAD}{row}", encoding="utf-8")
    (unit,) = read(path, ImportOptions())
    assert unit.contexts[0].tokens[unit.contexts[0].focus or 0] == "\u4e2d"


def test_a_token_of_many_pieces_of_characters_stands_where_its_longest_piece_does(tmp_path: Path):
    mark = "\N{REPLACEMENT CHARACTER}"
    row = f"| 1 | 1.0 | `'a{mark}b{mark}c{mark}d{mark}word'` | `'it was a word'` |\n"
    path = tmp_path / "features.md"
    path.write_text(f"### Feature ID: 1\n{HEAD}{row}", encoding="utf-8")
    (unit,) = read(path, ImportOptions())
    (context,) = unit.contexts
    assert context.tokens[context.focus or 0] == "word"


def test_a_byte_order_mark_is_no_part_of_the_first_heading(tmp_path: Path):
    path = tmp_path / "features.md"
    text = f"### Feature ID: 1\n{HEAD}| 1 | 1.0 | `'word'` | `'a word'` |\n"
    path.write_text(text, encoding="utf-8-sig")
    (unit,) = read(path, ImportOptions())
    assert unit.name == "1"


def test_a_feature_of_more_text_than_memory_holds_is_refused(tmp_path: Path):
    file = tmp_path / "features.md"
    head = "### Feature ID: 1\n\n| Token ID | Activation | Token | Context |\n|---|---|---|---|\n"
    row = f"| 5 | 1.0 | `'cat'` | `'{'a b ' * 100_000}cat'` |\n"  # 200,001 words
    file.write_text(head + row * 10)
    assert len(next(read(file, ImportOptions(each_side=5))).contexts) == 10
    file.write_text(head + row * 11)  # 2,200,011
    with pytest.raises(ExchangeError, match=r"line 15, feature 1: its contexts have over 2,097,15"):
        next(read(file, ImportOptions()))
