from __future__ import annotations

import datetime
import email.utils
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.raters._faults import (
    chain,
    counted,
    retry_after,
    seconds_until,
    server_error,
    whole_number,
)

A_DAY_S = 86400.0


def test_retry_after_is_read_in_all_its_forms() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    date = email.utils.format_datetime(soon)
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "7s"}) == 7
    assert retry_after({"retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": date}) == pytest.approx(60, abs=3)
    assert retry_after({"retry-after": str(int(time.time() + 60))}) == pytest.approx(60, abs=3)
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after-ms": "nan", "retry-after": "3"}) == 3
    assert retry_after({}) is None


def test_durations_are_read_in_the_providers_forms() -> None:
    assert seconds_until("6m0s") == 360
    assert seconds_until("12ms") == pytest.approx(0.012)
    assert seconds_until("1h2m3.5s") == pytest.approx(3723.5)
    assert seconds_until("1h 2m") == 3720
    assert seconds_until("1.5") == 1.5
    assert seconds_until("-1") == 0


def moments(after_s: float) -> dict[str, str]:
    """Return a moment in every form in which servers tell it."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=after_s)
    epoch_s = moment.timestamp()
    return {
        "seconds": str(int(epoch_s)),
        "with a fraction": f"{epoch_s:.3f}",
        "milliseconds": str(int(epoch_s * 1e3)),
        "microseconds": str(int(epoch_s * 1e6)),
        "nanoseconds": str(int(epoch_s * 1e9)),
        "RFC 3339": moment.isoformat().replace("+00:00", "Z"),
        "RFC 3339 with an offset": moment.isoformat(),
        "no zone": moment.replace(tzinfo=None).isoformat(),
        "HTTP date": email.utils.format_datetime(moment, usegmt=True),
    }


@pytest.mark.parametrize("form", list(moments(0)))
def test_a_moment_is_as_many_seconds_as_it_lies_ahead(form: str) -> None:
    assert seconds_until(moments(90)[form]) == pytest.approx(90, abs=3)
    assert seconds_until(moments(-90)[form]) == 0  # past: wait no longer
    assert seconds_until(moments(40 * A_DAY_S)[form]) == A_DAY_S  # absurd: not believed


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "inf", "1e999", "5 apples", "9" * 200])
def test_what_is_no_time_is_none(value: str | None) -> None:
    assert seconds_until(value) is None


@given(st.text() | st.integers().map(str) | st.floats().map(str))
def test_a_time_to_wait_is_from_0_to_a_day_whatever_a_header_says(value: str) -> None:
    wait_s = seconds_until(value)
    assert wait_s is None or 0 <= wait_s <= A_DAY_S


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "content_filter", "message": "The response was filtered"}),
        (400, {"code": "content_policy_violation", "message": "no"}),
        (400, {"innererror": {"code": "ResponsibleAIPolicyViolation"}, "message": "no"}),
        (400, {"message": "triggering Azure OpenAI's content management policy."}),
        (400, {"type": "invalid_request_error", "message": "Output blocked by content filtering"}),
        (403, {"code": 403, "message": "Input flagged by moderation"}),
        (403, {"code": 403, "message": "m requires moderation on OpenRouter."}),
        (400, {"status": "SAFETY", "message": "blocked"}),
        (400, {"code": "invalid_prompt", "message": "flagged as potentially violating our policy"}),
        (
            400,
            {"code": "data_inspection_failed", "message": "Input data may contain inappropriate"},
        ),
        (None, {"code": "content_filter", "message": "no"}),
    ],
)
def test_a_filters_no_is_a_refusal_of_the_item(status: int | None, error: dict[str, Any]) -> None:
    told = server_error({"error": error}, "", status)
    assert told.is_refusal
    assert not told.is_spent


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"message": "Your account is not active"}),
        (403, {"type": "permission_error", "message": "no access to this model"}),
        (401, {"code": "content_filter", "message": "bad key"}),
        (400, {"message": "unknown field: response_format"}),
        (400, {"code": "context_length_exceeded", "message": "the prompt has 900 tokens"}),
        (402, {"message": "content policy"}),
    ],
)
def test_any_other_no_is_no_refusal(status: int, error: dict[str, Any]) -> None:
    assert not server_error({"error": error}, "", status).is_refusal


@pytest.mark.parametrize(
    ("status", "error", "spent"),
    [
        (429, {"code": "insufficient_quota", "message": "no"}, True),
        (402, {"message": "no"}, True),
        (400, {"type": "billing_error", "message": "no"}, True),
        (400, {"message": "Your credit balance is too low to access the API"}, True),
        (400, {"message": "cannot parse 'billing: your credit balance is too low'"}, False),
        (400, {"message": "unknown field billing"}, False),
        # Gemini says so of a minute's limit, too.
        (
            429,
            {"status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota"},
            False,
        ),
    ],
)
def test_a_quota_is_spent_where_the_code_says_so(
    status: int, error: dict[str, Any], spent: bool
) -> None:
    assert server_error({"error": error}, "", status).is_spent is spent


@pytest.mark.parametrize(
    ("error", "status", "transient"),
    [
        ({"code": 502, "message": "Provider returned error"}, 502, True),
        ({"code": "429", "message": "slow down"}, 429, True),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, 429, True),
        ({"type": "overloaded_error", "message": "Overloaded"}, 529, True),
        ({"type": "server_error", "message": "oops"}, 500, True),
        ({"status": "UNAVAILABLE", "message": "oops"}, 500, True),
        ({"type": "invalid_request_error", "message": "no"}, 400, False),
        ({"type": "authentication_error", "message": "no"}, 401, False),
        ({"code": 404, "message": "no model"}, 404, False),
        ({"message": "something"}, 400, False),
        ("something", 400, False),
        (["something"], 400, False),
    ],
)
def test_the_code_of_an_error_with_status_200_says_whether_it_passes(
    error: object, status: int, transient: bool
) -> None:
    told = server_error(error, "")
    assert (told.status, told.is_transient) == (status, transient)
    assert "something" in told.words or str(status) in told.words or told.message in told.words


def test_a_count_is_a_whole_number_in_whatever_way_it_is_written() -> None:
    assert [counted(value) for value in (40, 40.0, "40")] == [40, 40, 40]
    assert [counted(value) for value in (-1, 1.5, True, None, "x", 1e99, [4])] == [None] * 7
    assert [whole_number(value) for value in ("40", "40.0", " 40 ")] == [40, 40, 40]
    assert [whole_number(value) for value in ("-1", "1.5", "", None, "inf")] == [None] * 5


def test_what_the_system_refused_is_the_first_cause() -> None:
    refused = ConnectionRefusedError(111, "Connect call failed")
    refused.__context__ = RuntimeError("no running event loop")  # that aiohttp met before
    assert list(chain(refused)) == [refused]
