"""Headless Chromium for tests of pages. Skips them where there is none, or no playwright."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """Yield a browser; skip the test where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """An open page, with what it complained of and what it asked for.

    Attributes:
        complaints: Messages on the console, and errors of scripts.
        requests: Addresses, in order.
    """

    def __init__(self, browser: Any, url: str, ready: str = "", **context: Any) -> None:
        """Open `url` in a window of its own, and wait for the selector `ready`."""
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        if ready:
            self.page.wait_for_selector(ready)

    @property
    def asked_outside(self) -> list[str]:
        """Addresses that are not in the page or in files beside it."""
        inside = ("file:", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(inside)]
