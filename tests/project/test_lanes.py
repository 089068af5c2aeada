"""Tests are marked slow by what they start, not by a list."""

import pytest
from support.lanes import is_slow

pytest_plugins = ("pytester",)


@pytest.fixture
def marked(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Return a function that says which tests of a module are slow."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # syrupy's hook fails in here
    # At its end that would collect all garbage of this process five times.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:unraisableexception")

    def ask(source: str) -> dict[str, bool]:
        items = pytester.getitems(source)
        return {item.name: is_slow(item) for item in items if isinstance(item, pytest.Function)}

    return ask


def test_a_process_makes_a_test_slow_and_its_neighbours_not(marked):
    assert marked(
        """
        import subprocess
        def helper():
            return subprocess.run(["true"])
        def test_itself():
            subprocess.run(["true"])
        def test_through_a_helper():
            assert helper().returncode == 0
        def test_neither():
            assert 1 + 1 == 2
        """
    ) == {"test_itself": True, "test_through_a_helper": True, "test_neither": False}


def test_a_fixture_and_an_import_within_a_function_count(marked):
    assert marked(
        """
        import pytest
        @pytest.fixture
        def model():
            from transformers import AutoConfig
            return AutoConfig
        def test_with_the_model(model):
            pass
        def test_within():
            import playwright.sync_api
        def test_without():
            pass
        """
    ) == {"test_with_the_model": True, "test_within": True, "test_without": False}
