"""Whether the hub answers is known from one request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from autointerp.subjects.hub import out_of_reach

pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    out_of_reach.cache_clear()
    yield
    out_of_reach.cache_clear()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx2.Response(404), None),
        (httpx2.ConnectError("no such host"), "no such host"),
        (httpx2.ConnectTimeout(""), "ConnectTimeout"),
    ],
)
def test_the_hub_is_asked_once(
    answer: Any, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def head(url: str, timeout: float) -> Any:
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(httpx2, "head", head)
    assert [out_of_reach(), out_of_reach()] == [message, message]
    assert len(asked) == 1


def test_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delattr(httpx2, "head")
    assert out_of_reach() == "HF_HUB_OFFLINE is set"
