"""`autointerp plan`: how many units, calls and dollars."""

from collections.abc import Callable
from typing import Any

import pytest


def test_plan_says_units_calls_and_cost(command_line: Callable[..., Any]):
    result = command_line(
        "plan", "--effect", "0.65", "--power", "0.8", "--lost", "0", "--controls", "10",
        "--usd-per-call", "0.01", "--rubric", "interpretability-0-3",
    )  # fmt: skip
    assert result.code == 0, result.err
    units = int(result.out.split()[0])
    assert units == pytest.approx(52, abs=4)  # the figure for this scale
    assert f"{2 * units + 30} calls" in result.out
    assert f"{0.01 * (2 * units + 30):.2f} US dollars" in result.out
    assert command_line("plan", "--effect", "0.99").code == 2
