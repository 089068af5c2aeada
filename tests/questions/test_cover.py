import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.conformance import check_question

from autointerp.errors import BadInput
from autointerp.questions.cover import COVER, Concept, cover_item, read_concepts, shown_contexts
from autointerp.records import Context, Reply


def context(focus: int, *activations: float) -> Context:
    tokens = tuple(f" t{place}" for place in range(len(activations)))
    return Context(tokens, activations, focus, "top", 1, "explain", False, 0, focus)


CONTEXTS = [context(1, 0.0, 2.0, 1.0), context(0, 4.0, 0.0)]


def item(concept="king", description="royalty"):
    return cover_item(0, "features/3", concept, description, shown_contexts(CONTEXTS, 4.0))


def test_the_question_agrees_with_its_schema_and_reader():
    check_question(COVER, item())
    assert COVER.read(Reply('{"rationale": "r", "score": 1}')).score == 1
    assert COVER.read(Reply('{"rationale": "r", "score": 2}')).status == "unparsed"


def test_the_judge_reads_concept_description_and_strongest_contexts_in_a_fence():
    lines = COVER.user(item()).splitlines()
    assert lines[0].startswith("<<<quoted ")
    parsed = [json.loads(line) for line in lines[1:-1]]
    assert parsed[:2] == [{"concept": "king"}, {"description": "royalty"}]
    # The strongest first, its peak as 10; the other's peak of 2 is 5 of 10.
    assert [one["token"] for one in parsed[2:]] == [" t0", " t1"]
    levels = [[level for _, level in one["activations"]] for one in parsed[2:]]
    assert levels == [[10, 0], [0, 5, 2]]  # 2.5 is rounded to the even number
    assert json.loads(COVER.user(item(description=None)).splitlines()[2]) == {
        "description": "Unknown"
    }


def test_the_prompt_s_bytes_are_pinned():
    # Stored answers are found by them: change them with the question's version only.
    text = COVER.system() + COVER.user(item())
    assert hashlib.sha256(text.encode()).hexdigest()[:24] == "f948e0e089795fa7d8c674d2"


def test_an_item_is_the_same_for_the_same_and_another_for_any_part():
    ids = {
        item().id,
        item("queen").id,
        item(description="kings").id,
        cover_item(1, "features/3", "king", "royalty", shown_contexts(CONTEXTS, 4.0)).id,
        cover_item(0, "features/4", "king", "royalty", shown_contexts(CONTEXTS, 4.0)).id,
        cover_item(0, "features/3", "king", "royalty", shown_contexts(CONTEXTS[:1], 4.0)).id,
    }
    assert len(ids) == 6
    assert item().id == item().id
    assert "features" not in item().id


def test_a_concept_ends_where_it_is_named_last_or_at_the_prompt_s_end():
    king = Concept("King", ("",))
    assert king.end_in("The king saw the king of old") == len("The king saw the king")
    assert king.end_in("The ruler") == len("The ruler")
    # İ is two characters in lower case: places would move, so the end is taken.
    assert king.end_in("İ king of") == len("İ king of")


def test_a_file_is_read_line_by_line(tmp_path):
    file = tmp_path / "concepts.txt"
    file.write_text("\ufeff# boroughs\n\nHackney: I live in Hackney | Hackney \n Tower  Hamlets\n")
    assert read_concepts(file) == [
        Concept("Hackney", ("I live in Hackney", "Hackney")),
        Concept("Tower Hamlets", ("Tower Hamlets",)),
    ]


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_concepts(tmp_path / "latin")
    with pytest.raises(BadInput, match="directory"):
        read_concepts(tmp_path)


NAMES = st.text(
    st.characters(exclude_characters=":|#", exclude_categories=["Z", "C"]), min_size=1, max_size=8
)


@given(st.dictionaries(NAMES.map(str.lower), st.lists(NAMES, min_size=1, max_size=3), min_size=1))
def test_what_is_written_is_read_back(tmp_path_factory, concepts):
    file = tmp_path_factory.mktemp("concepts") / "c.txt"
    concepts = {name.lower(): prompts for name, prompts in concepts.items()}
    file.write_text("\n".join(f"{n}: {' | '.join(p)}" for n, p in concepts.items()), "utf-8")
    read = read_concepts(file)
    assert {one.name: list(one.prompts) for one in read} == concepts
