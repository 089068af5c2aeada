import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from autointerp.questions.forms import answers_in
from autointerp.questions.scorers.embedding import TASK
from autointerp.raters._cosines import cosines, cosines_reply, texts_to_embed
from autointerp.records import Item, ItemContext, Reply

VALUES = st.floats(-100, 100).filter(lambda value: abs(value) > 1e-3)
VECTORS = st.lists(VALUES, min_size=3, max_size=3)


@given(VECTORS, st.lists(VECTORS, min_size=1, max_size=4))
def test_cosines_are_those_of_scipy(description, texts):
    found = cosines(description, texts)
    assert found == pytest.approx([1 - cosine(description, text) for text in texts], abs=1e-9)
    read = answers_in(TASK, Reply(cosines_reply(found)))
    assert list(read) == list(range(1, len(texts) + 1))
    assert list(read.values()) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize(
    ("description", "texts"),
    [([0.0, 0.0], [[1.0, 0.0]]), ([1.0, 0.0], [[0.0, 0.0]]), ([1.0, math.nan], [[1.0, 0.0]])],
)
def test_a_vector_without_a_direction_has_no_cosine(description, texts):
    with pytest.raises(ValueError, match="0 or not finite"):
        cosines(description, texts)


@pytest.mark.parametrize("texts", [[[1.0]], [[1.0, 0.0, 0.0]], [1.0, 0.0]])
def test_vectors_of_other_sizes_are_refused(texts):
    with pytest.raises(ValueError, match="different sizes"):
        cosines([1.0, 0.0], np.array(texts))


def test_the_description_is_one_line_and_a_text_of_spaces_is_nothing_to_embed():
    def item(*texts):
        contexts = tuple(ItemContext((text,), None, None, "score", False) for text in texts)
        return Item("aa", TASK.id, contexts, description=" cats,\n mostly ")

    assert texts_to_embed(item("a\nb", "c"), TASK) == {
        "description": "cats, mostly",
        "texts": ["a\nb", "c"],
    }
    assert texts_to_embed(item("a", " \n"), TASK) == {"lack": "a text is empty"}
