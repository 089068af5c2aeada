"""Calls that a process of its own answers, since they load a model or write a run."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from autointerp import errors
from autointerp.apps.service._access import Service
from autointerp.apps.service._problems import Problem
from autointerp.errors import AutointerpError

LIMIT_S = 120.0
MOST_CALLS = 2  # at once


async def ask_child(
    service: Service, call: str, fields: Mapping[str, Any], too_slow: str
) -> dict[str, Any]:
    """Return what `_child.CALLS` says to some fields.

    `too_slow` is the remedy where no answer comes within LIMIT_S seconds. Raises the child's
    AutointerpError, Problem where too many are asked at once.
    """
    tails = service.tails
    if tails.calls >= MOST_CALLS:
        raise Problem(429, "others are being answered; wait", {"Retry-After": "5"})
    tails.calls += 1
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "autointerp.apps.service._child",
            "--call",
            call,
            str(service.runs.absolute()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            given = json.dumps(dict(fields)).encode()
            said, _ = await asyncio.wait_for(child.communicate(given), LIMIT_S)
        except TimeoutError:
            raise Problem(503, f"no {call} within {LIMIT_S:.0f} s; {too_slow}") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    finally:
        tails.calls -= 1
    answered: dict[str, Any] = (
        json.loads(said) if said else {"error": f"the {call} failed; try the command line"}
    )
    if "error" in answered:
        kind = getattr(errors, answered.get("kind", ""), AutointerpError)
        raise _again(kind, answered["error"])
    return answered


def _again(kind: type[AutointerpError], text: str) -> AutointerpError:
    """Return an error of another process: of its class, with its line."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    return error
