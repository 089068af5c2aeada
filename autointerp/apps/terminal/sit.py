"""Ask a person: on a full screen, or as plain lines where there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from autointerp.people.machine import Machine


def asker(plain: bool, mouse: bool = False) -> Callable[[Machine], None]:
    """Return what shows the questions of a session until the person stops.

    A full screen, with the mouse if `mouse`, or plain lines if `plain` or where there is no
    terminal.
    """

    def ask(machine: Machine) -> None:
        # All three: Textual writes to stderr, and lines that are piped on are for stdout.
        streams = (sys.stdin, sys.stdout, sys.stderr)
        screen = all(one.isatty() for one in streams) and os.environ.get("TERM") != "dumb"
        if plain or not screen:
            from autointerp.apps.terminal.plain import run_plain

            run_plain(machine, sys.stdin, sys.stdout)
        else:
            from autointerp.apps.terminal.screen import run_screen

            run_screen(machine, mouse)

    return ask
