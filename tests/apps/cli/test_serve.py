import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("library", ["fastapi", "uvicorn"])
def test_without_the_extra_one_line_says_how_to_install_it(
    command_line: Callable, monkeypatch: pytest.MonkeyPatch, library: str
):
    for name in [name for name in sys.modules if name.startswith("autointerp.apps.service")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    refused = command_line("serve")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert f"{library} is not installed" in refused.err
    assert "[serve]" in refused.err


def test_a_port_that_is_taken_is_one_line_and_makes_nothing(command_line: Callable, own_runs: Path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = command_line("serve", "--port", taken.getsockname()[1])
    assert refused.code == 2
    assert "give another --port" in refused.err
    assert not (own_runs / ".service").exists()
