"""What made something is known by code and by what is installed."""

import os
from pathlib import Path

import pytest

from autointerp.subjects.provenance import installation_digest

LIBRARY = "library_of_nobody"


def digest() -> str | None:
    return installation_digest.__wrapped__((LIBRARY,), "text.py")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in which a library is installed."""
    place = tmp_path / "packages"
    (place / LIBRARY).mkdir(parents=True)
    (place / LIBRARY / "__init__.py").write_text("")
    (place / f"{LIBRARY}-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(place))
    return place


def test_an_upgrade_a_new_installation_and_another_package_change_the_digest(installed: Path):
    first = digest()
    assert first is not None
    assert digest() == first
    info = installed / f"{LIBRARY}-1.0.dist-info"
    os.utime(info, ns=(1, 1))  # the same version, installed again
    second = digest()
    info.rename(installed / f"{LIBRARY}-1.1.dist-info")
    third = digest()
    (installed / "another-2.0.dist-info").mkdir()
    assert len({first, second, third, digest()}) == 4


def test_code_of_this_package_counts(installed: Path):
    of_other = installation_digest.__wrapped__((LIBRARY,), "errors.py")
    assert of_other not in (None, digest())


def test_a_library_that_does_not_come_from_its_installation_has_no_digest(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "source"
    (source / LIBRARY).mkdir(parents=True)
    (source / LIBRARY / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(source))  # as an editable installation, or PYTHONPATH, does
    assert digest() is None


def test_a_library_that_is_not_there_is_no_doubt():
    assert installation_digest.__wrapped__(("library_of_nobody_else",), "text.py") is not None
