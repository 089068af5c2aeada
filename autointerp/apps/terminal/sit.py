"""Asking a person, with nothing loaded but what that takes: packs are rated on small machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from autointerp.people.journal import open_journal
from autointerp.people.machine import Machine
from autointerp.records import check_person


def rate_pack(path: Path, rater: str, plain: bool, console: Console) -> None:
    """Let a person rate a pack; the answers go into the same file."""
    with open_journal(path, check_person(rater)) as journal:
        before = len(journal.entries)
        machine = Machine(journal)
        run_sitting(machine, plain)
        new = len(journal.entries) - before
    report(machine, new, console)
    if machine.step is None:
        console.print(
            f"send {path} back; its owner reads it with: autointerp ingest RUN {path.name}",
            markup=False,
        )


def run_sitting(machine: Machine, plain: bool) -> None:
    """Ask on the screen; as plain lines if asked for, or where there is no screen."""
    # All three: Textual writes to stderr, and lines that are piped on are for stdout.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    screen = all(one.isatty() for one in streams) and os.environ.get("TERM") != "dumb"
    if plain or not screen:
        from autointerp.apps.terminal.plain import run_plain

        run_plain(machine, sys.stdin, sys.stdout)
    else:
        from autointerp.apps.terminal.screen import run_screen

        run_screen(machine)


def report(machine: Machine, new: int, console: Console) -> None:
    """Say what was done and what is left."""
    counts = machine.counts
    told = f"{machine.rater}: {counts['score']} rated, {counts['skip']} skipped"
    if machine.step is None:
        console.print(f"{told}; all done", markup=False)
    else:
        console.print(
            f"{told}; {machine.left} questions to go: the same command goes on from here",
            markup=False,
        )
