"""The tiny subject and its settings; a module may have settings of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.settings import RunSettings, load_settings
from autointerp.subjects import Subject
from autointerp.subjects.load import load_subject


@pytest.fixture(scope="module")
def settings(tiny_settings: Path) -> RunSettings:
    return load_settings(str(tiny_settings))


@pytest.fixture(scope="module")
def subject(settings: RunSettings) -> Subject:
    return load_subject(settings.subject)


@pytest.fixture(scope="module")
def tiny(settings: RunSettings, subject: Subject) -> tuple[RunSettings, Subject]:
    return settings, subject
