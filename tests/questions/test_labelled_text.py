import numpy as np
import pytest

from autointerp.errors import CorpusError
from autointerp.questions.labelled_text import LabelledText, load_labelled_text


def text(*documents, domain=None):
    """Return documents given as lists of token texts."""
    vocabulary = tuple(sorted({token for tokens in documents for token in tokens}))
    return LabelledText(
        tokens=np.array([vocabulary.index(token) for tokens in documents for token in tokens]),
        starts=np.cumsum([0, *map(len, documents)]),
        texts=vocabulary,
        domain=tuple(domain or ["speech"] * len(documents)),
    )


def where(mask):
    return np.flatnonzero(mask).tolist()


def test_a_word_is_the_letters_that_no_space_divides():
    said = text([" as", "semb", "les", " in", " 194", "5", ",", "x"])
    assert said.words == ["assembles", "in", "x"]
    assert where(said.word_ends(word == "assembles" for word in said.words)) == [2]
    assert where(said.word_begins(word == "assembles" for word in said.words)) == [0]
    assert said.numbers == ["1945"]
    assert where(said.number_ends([True])) == [5]


def test_no_word_reaches_over_the_end_of_a_document():
    said = text([" half"], ["way", " there"])
    assert said.words == ["half", "there", "way"]
    assert where(said.after(np.array([True, True, True]))) == [2]
    assert where(said.before(np.array([True, True, True]))) == [1]


def test_words_are_counted_in_any_case():
    assert text(["THE", " The", " the", "."]).word_counts == {"the": 3}


def test_the_next_and_the_previous_word_stand_a_space_away():
    said = text([" of", " the", "m", " all", "-", "of", "x"])
    ends = said.ends_of(["of"])
    assert where(said.next_word(ends)) == [2]
    assert where(said.next_word(said.ends_of(["them"]))) == [3]
    assert where(said.previous_word(said.ends_of(["all"]))) == [2]
    assert where(said.previous_word(said.ends_of(["ofx"]))) == []  # a dash is no space


def test_what_stands_between_marks_ends_at_the_document():
    said = text(["(", " a", ")", " b", "("], [" c", "(", " d"])
    opens, ends = (said.of_vocabulary(t == mark for t in said.texts) for mark in "()")
    assert where(said.since(opens, ends)) == [1, 7]


def test_a_line_begins_behind_its_indentation():
    said = text(["a", "\n", "   ", " b", " c", "\n\n", "d"])
    assert where(said.line_begins) == [0, 3, 6]
    assert where(said.blank_lines) == [5]


def test_numbers_behind_a_mark():
    said = text(["$", "12", "3", " 4"])
    assert where(said.before_numbers(said.of_vocabulary(t == "$" for t in said.texts))) == [2]


def test_documents_of_a_domain():
    said = text(["a"], ["b", "c"], domain=["polish", "speech"])
    assert where(said.within(["speech"])) == [1, 2]


def test_a_text_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.npz"):
        load_labelled_text(tmp_path / "none.npz")
