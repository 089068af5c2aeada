"""Draw docs/terminal.svg: an item of a person's session, as the screen shows it.

    python tools/picture_terminal.py runs/main/journals/human-ann.*.jsonl

The first item of a fresh rater's order is drawn whose contexts share a word and fit the screen;
what is drawn is read from a copy, so the journal stays as it is.
"""

from __future__ import annotations

import asyncio
import datetime
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from autointerp.apps.terminal.layout import item_lines
from autointerp.apps.terminal.screen import RatingApp
from autointerp.people.journal import open_journal
from autointerp.people.machine import Machine

TARGET = Path(__file__).parents[1] / "docs" / "terminal.svg"
RATER = "human:zoe"
SIZE = (80, 24)
EARLIER = 17  # ratings before the picture is taken, so that there is a pace to show


class SteadyClock:
    """Half a minute an item."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)


def worth_showing(machine: Machine) -> bool:
    """Return whether the item fits the screen and most of its marked tokens are one word."""
    if machine.item is None:
        raise SystemExit("no item of this session is worth showing")
    tokens = [c.tokens[c.focus].strip().lower() for c in machine.item.contexts if c.focus]
    if not tokens or len(item_lines(machine.item, SIZE[0])) > SIZE[1] - 7:
        return False
    word, count = Counter(tokens).most_common(1)[0]
    return word.isalpha() and len(word) > 2 and 5 <= count < len(tokens)


async def screenshot(machine: Machine) -> str:
    """Return the screen as SVG, with nothing in it to be fetched."""
    app = RatingApp(machine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        svg = app.export_screenshot(title=f"autointerp rate --rater {RATER}")
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(sys.argv[1], Path(folder) / "copy.jsonl"))
        with open_journal(copy, RATER) as journal:
            clock = SteadyClock()
            machine = Machine(journal, clock)
            while machine.progress.done < EARLIER or not worth_showing(machine):
                clock.seconds += 30
                machine.rate(machine.session.rubric.scores[-1])
                machine.go_on()
            TARGET.parent.mkdir(exist_ok=True)
            TARGET.write_text(asyncio.run(screenshot(machine)), encoding="utf-8")


if __name__ == "__main__":
    main()
