"""A run whose units were described, and the descriptions tried and rated."""

import shutil
from pathlib import Path

import pytest

from autointerp.pipeline.describe import score
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import rate
from autointerp.questions.score import Design


@pytest.fixture(scope="session")
def tried_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run, explained, scored and rated by `lexical`; read it only."""
    runs = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("tried") / "runs"))
    score(Job(run="tiny", runs=runs, scorers=("detection", "simulation"), design=Design(6, 4)))
    rate(Job(run="tiny", runs=runs, rubric="specificity-0-3", contexts=20))
    return runs
