from collections.abc import Iterator
from pathlib import Path

import pytest

from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with open_run("one", RunSettings(), folder=tmp_path) as opened:
        yield opened
