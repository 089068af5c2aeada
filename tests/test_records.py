import pytest

from autointerp.errors import BadInput
from autointerp.records import check_person, is_person


@pytest.mark.parametrize("name", ["human", "human:ann", "human:A.b-1_2"])
def test_people_have_names(name: str):
    assert check_person(name) == name


@pytest.mark.parametrize(
    "name", ["human:", "human:a b", "human:../x", "humans", "human:" + "x" * 41]
)
def test_names_that_could_be_paths_are_refused(name: str):
    with pytest.raises(BadInput, match="human:NAME"):
        check_person(name)


@pytest.mark.parametrize(
    ("rater", "person"),
    [
        ("human", True),
        ("human:ann", True),
        ("humans", False),
        ("lexical", False),
        ("openai:human", False),
    ],
)
def test_a_rater_is_a_person_by_its_name(rater: str, person: bool):
    assert is_person(rater) is person
