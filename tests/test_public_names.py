import pytest
from support.processes import printed

import autointerp


@pytest.mark.parametrize("name", autointerp.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    found = getattr(autointerp, name)
    assert callable(found)
    assert (found.__doc__ or "").strip(), f"{name} has no docstring"


def test_the_public_names_are_those_of_the_design():
    wanted = {"open_run", "harvest", "sample", "rate", "compare", "report", "load_rubric"}
    assert wanted <= set(autointerp.__all__)
    assert sorted(autointerp.__all__) == list(autointerp.__all__)
    assert set(autointerp.__all__) <= set(dir(autointerp))


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="'autointerp' has no attribute 'harvst'"):
        autointerp.harvst  # noqa: B018


def test_a_star_import_gives_the_public_names():
    assert printed("from autointerp import *; print(load_rubric.__name__)") == "load_rubric\n"
