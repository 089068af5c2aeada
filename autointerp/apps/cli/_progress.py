"""Events on a terminal: one bar for what is going on, lines for what should stay on the screen."""

from __future__ import annotations

import textwrap
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as BarTask
from rich.text import Text

from autointerp.engine.work import Tally
from autointerp.pipeline.events import (
    Ablating,
    Asking,
    Event,
    Harvesting,
    Measuring,
    Note,
    Probed,
    Probing,
    Waiting,
)
from autointerp.text import visible, visible_lines

if TYPE_CHECKING:
    from autointerp.apps.cli._options import Output

BESIDE_LABEL = 48  # characters of the bar beside what is harvested
EVERY_S = 5.0  # between lines where there is no terminal


def open_console() -> Console:
    """Return the console for what a command says: standard error, names shown as they are."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


class Show:
    """Shows events while a verb works: `with Show(output) as on: verb(job, on)`.

    On a terminal there is a bar; elsewhere a line every few seconds. Quiet leaves notes alone;
    verbose puts the elapsed seconds before each line and says when each stage ends.
    """

    def __init__(self, output: Output, console: Console | None = None) -> None:
        self.output = output
        self.console = console or open_console()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""
        self._last = ""  # of the present stage, for its end
        self._began = self._stage_began = time.monotonic()
        self._spoke = self._began

    def __enter__(self) -> Show:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_stage()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Harvesting):
            if not self.output.quiet:
                self._harvesting(event)
        elif isinstance(event, Asking):
            if not self.output.quiet:
                self._asking(event)
        elif isinstance(event, Measuring):
            if not self.output.quiet:
                self._start_stage(event.lab)
                self._update(event.done, event.total, f"{event.done}/{event.total}", "", str(event))
        elif isinstance(event, Ablating):
            if not self.output.quiet:
                self._start_stage(f"ablating {event.source}")
                beside = f"{event.done:,}/{event.total:,}"
                self._update(event.done, event.total, beside, "", str(event))
        elif isinstance(event, Probing):
            if not self.output.quiet:
                self._start_stage(f"vocabulary on {event.unit}")
                beside = f"{event.done:,}/{event.total:,} tokens"
                self._update(event.done, event.total, beside, "", str(event))
        elif isinstance(event, Probed):
            self._probed(event)
        elif not self.output.quiet or isinstance(event, Note | Waiting):
            self.say(str(event))

    def say(self, text: str) -> None:
        """Print a line, with the time in front if verbose."""
        elapsed = time.monotonic() - self._began
        text = "\n".join(visible_lines(text))
        line = f"[{elapsed:6.1f} s] {text}" if self.output.verbose else text
        self.console.print(line, soft_wrap=True)
        self._spoke = time.monotonic()

    def _probed(self, event: Probed) -> None:
        """Print a sentence, with the activation behind each token on which the unit fires, and a
        colour where the terminal has any.
        """
        line = Text(f"{visible(event.unit)}: ")
        for token, value in zip(event.tokens, event.activations, strict=True):
            share = min(1.0, value / event.peak) if event.peak > 0 else 0.0
            shade = f"on rgb({int(80 + 150 * share)},{int(50 + 90 * share)},20)"
            line.append(visible(token), style=f"bold white {shade}" if value > 0 else "")
            if value > 0:
                line.append(f"[{value:.3g}]", style="dim")
        self.console.print(line, soft_wrap=True)
        self._spoke = time.monotonic()

    # ------------------------------------------------------------------------------ stages

    def _harvesting(self, event: Harvesting) -> None:
        # Otherwise a narrow terminal would cut the count of tokens.
        room = max(12, self.console.width - BESIDE_LABEL)
        short = textwrap.shorten(event.label, room, placeholder=" …")
        self._start_stage(f"{event.verb} {short}")
        # An estimate may be too low: the bar then stays full until the pass ends.
        done = event.tokens if event.total is None else min(event.tokens, event.total)
        self._update(done, event.total, event.amount, "", str(event) + self._time_left(event))

    def _time_left(self, event: Harvesting) -> str:
        """Return `, about 12 s left`, where that can be told."""
        elapsed = time.monotonic() - self._stage_began
        if event.total is None or not event.tokens or elapsed < 1:
            return ""
        left = elapsed * max(0, event.total - event.tokens) / event.tokens
        return f", about {left:.0f} s left" if left >= 1 else ""

    def _asking(self, event: Asking) -> None:
        self._start_stage(event.label)
        tally = event.tally
        beside = f"{tally.done}/{tally.total} {event.spent}".rstrip()
        trouble = trouble_text(tally)
        line = ", ".join(filter(None, [str(event), trouble]))
        self._update(tally.done, tally.total, beside, trouble, line)

    def _start_stage(self, label: str) -> None:
        if label == self._label:
            return
        self._end_stage()
        self._label = label
        label = visible(label)
        self._stage_began = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=10),
                TextColumn("{task.fields[beside]}", markup=False),
                _Rate(),
                TextColumn("{task.fields[trouble]}", style="red", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(label, total=None, beside="", trouble="")

    def _update(self, done: int, total: int | None, beside: str, trouble: str, line: str) -> None:
        self._last = line
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=done, total=total, beside=beside, trouble=trouble
            )
        elif time.monotonic() - self._spoke > EVERY_S:
            self.say(line)

    def _end_stage(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._last and self.output.verbose:
            self.say(self._last)
        self._bar, self._task, self._label, self._last = None, None, "", ""


class _Rate(ProgressColumn):
    """Steps a second, where they are items."""

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None or task.fields["beside"].endswith("tokens"):
            return Text("")
        return Text(f"{speed:.1f}/s")


def trouble_text(tally: Tally) -> str:
    """Return the counts of what is no rating."""
    return ", ".join(f"{n} {status}" for status, n in tally.statuses.items() if status != "ok")
