import inspect
import re

import pytest

from autointerp import errors
from autointerp.errors import AutointerpError, UnknownName

CLASSES = {
    name: found
    for name, found in vars(errors).items()
    if inspect.isclass(found) and issubclass(found, AutointerpError)
}


def drawn_tree() -> dict[str, str]:
    """Return the parent of each class in the tree at the top of errors.py."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([│├└─ ]*)([A-Z]\w+)", line)
        if found is None:
            continue
        depth, name = len(found[1]), found[2]
        while path and path[-1][0] >= depth:
            path.pop()
        if path:
            parents[name] = path[-1][1]
        path.append((depth, name))
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    tree = {name: found.__base__.__name__ for name, found in CLASSES.items()}
    del tree["AutointerpError"]
    assert drawn_tree() == tree


def test_bad_input_exits_with_2_and_every_other_failure_with_1():
    for name, found in CLASSES.items():
        assert found.exit_code == (2 if issubclass(found, errors.BadInput) else 1), name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "featurs",
            "unknown source 'featurs'; did you mean 'features'? (known: features, neurons)",
        ),
        ("zzz", "unknown source 'zzz' (known: features, neurons)"),
    ],
)
def test_an_unknown_name_lists_what_is_known_and_guesses_what_was_meant(name: str, text: str):
    assert str(UnknownName("source", name, ["neurons", "features"])) == text


def test_an_unknown_name_where_nothing_is_known_says_none_and_the_remedy():
    error = UnknownName("run", "a", [], "`autointerp rate` makes one")
    assert str(error) == "unknown run 'a' (known: none); `autointerp rate` makes one"
