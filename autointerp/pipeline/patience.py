"""Waiting a while for a run that another process has open."""

from __future__ import annotations

import time
from collections.abc import Callable

from autointerp.errors import RunLocked
from autointerp.pipeline.events import On, Waiting, ignore
from autointerp.store.run import Run

PATIENCE_S = 20.0  # for another process to close the run
PAUSE_S = 0.2


def patiently(open_one: Callable[[], Run], on: On = ignore) -> Run:
    """Return the run that a function opens, called again while another process has it open.

    Raises RunLocked after PATIENCE_S seconds.
    """
    give_up = time.monotonic() + PATIENCE_S
    waited = False
    while True:
        try:
            return open_one()
        except RunLocked as error:
            if time.monotonic() > give_up:
                raise
            if not waited:
                on(Waiting(str(error)))
                waited = True
            time.sleep(PAUSE_S)
