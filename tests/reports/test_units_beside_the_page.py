"""Units in files beside a page, in headless Chromium, from file://. Skipped where there is none."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.browser import Watched
from support.fabricate import SCRIPT, WORDS, add_all_scores, fabricate_run

from autointerp.pipeline.report import report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 300 units that carries 12 of them, in two files the others."""
    place = tmp_path_factory.mktemp("beside")
    with fabricate_run(
        place / "runs", {"features": 150, "neurons": 150}, contexts=2, text=[*WORDS, SCRIPT]
    ) as run:
        add_all_scores(
            run,
            "model:a",
            {source: [40, 40, 40, 20, 10] for source in ("features", "neurons")},
            description=f"of {SCRIPT}",
        )
    return report(["main"], place / "out", units_shown=12, folder=place / "runs").folder


def opened(browser: Any, folder: Path) -> tuple[Any, list[str], list[str]]:
    """Open the report; return its page, what it complains of, and which files it asks for."""
    url = (folder / "index.html").as_uri()
    watched = Watched(browser, url, "#browser[data-ready]", offline=True)
    return watched.page, watched.complaints, watched.requests


def files(requests: list[str]) -> list[str]:
    return [url.rpartition("/out")[2] for url in requests]


def test_units_are_read_from_files_as_they_are_opened(chromium: Any, folder: Path):
    page, complaints, requests = opened(chromium, folder)
    status = page.locator("#browser [role=status]")
    assert status.inner_text() == "300 of 300 units"
    assert files(requests) == ["/index.html", "/units/index.js"]
    page.fill("#browser input[type=search]", "neurons/149")
    assert "contexts are not" in status.inner_text()
    page.locator("tbody button.open").first.click()
    page.wait_for_selector("#browser .contexts li")
    assert files(requests)[2:] == ["/units/1.js"]
    assert page.locator("#browser .token.focus").count() >= 1
    assert complaints == []
    page.context.close()


def test_without_its_folder_the_page_shows_what_it_carries(
    chromium: Any, folder: Path, tmp_path: Path
):
    alone = tmp_path / "out"
    alone.mkdir()
    shutil.copy(folder / "index.html", alone)
    page, _, _ = opened(chromium, alone)
    assert (
        "12 of 12 units; the folder units is not beside"
        in page.locator("#browser [role=status]").inner_text()
    )
    page.locator("tbody button.open").first.click()
    page.wait_for_selector("#browser .contexts li")
    page.context.close()
